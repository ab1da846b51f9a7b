/* pool.c - see pool.h. Calls wait in one line; connections, new or given back, serve its head. How
 * many dials a line is worth depends on what a connection takes: one call by HTTP/1.1, many by
 * HTTP/2. While it is unknown which of them the upstream speaks, one dial is made to find out. */
#include "http/pool_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { UNKNOWN = 1 << 20 }; /* calls per dial, before the upstream's protocol is known */

struct dialing {
    struct pool *pool;
    struct list node;
    struct dial *dial;
    struct deferred funeral;
};

/* --- connections ---------------------------------------------------------------------------- */

static void free_pconn(struct deferred *d)
{
    mem_free(CONTAINER_OF(d, struct pconn, funeral));
}

static void leave_list(struct pconn *c)
{
    list_remove(&c->node);
    if (c->call)
        c->pool->n_busy--;
    else
        c->pool->n_idle--;
    c->call = NULL;
}

void pconn_close(struct pconn *c)
{
    leave_list(c);
    timer_stop(c->pool->loop, &c->timer);
    stream_close(&c->stream);
    deferred_init(&c->funeral, free_pconn);
    loop_defer(c->pool->loop, &c->funeral);
}

bool pconn_is_quiet(struct pconn *c)
{
    char byte;
    return stream_read(c->stream, &byte, sizeof(byte)) == STREAM_AGAIN;
}

static void on_ready(struct stream *s, void *ctx, unsigned events)
{
    (void)s;
    struct pconn *c = ctx;
    if (c->call)
        call_ready(c->call, events);
    else if (events & IO_HUP || (events & IO_READ && !pconn_is_quiet(c)))
        pconn_close(c); /* the far end has closed, or talks out of turn */
}

static const struct stream_owner owner = {.on_ready = on_ready, .name = "upstream"};

/* Set once and moved only when it fires: see server_h1.c on deadlines. */
static void on_idle_timer(struct timer *t)
{
    struct pconn *c = CONTAINER_OF(t, struct pconn, timer);
    if (c->call)
        return;
    uint64_t until = c->idle_since_us + c->pool->options.idle_timeout_us;
    if (until > clock_us())
        timer_set(c->pool->loop, t, until);
    else
        pconn_close(c);
}

static void make_idle(struct pconn *c)
{
    struct pool *p = c->pool;
    list_push_front(&p->idle, &c->node);
    p->n_idle++;
    c->idle_since_us = clock_us();
    if (!timer_is_set(&c->timer))
        timer_after(p->loop, &c->timer, p->options.idle_timeout_us);
    if (p->n_idle > p->options.idle_max)
        pconn_close(CONTAINER_OF(p->idle.prev, struct pconn, node));
}

/* To the call that waits longest, else to the idle ones. c is on no list. */
static void offer(struct pconn *c)
{
    struct pool *p = c->pool;
    struct list *first = list_pop(&p->waiting);
    if (!first) {
        make_idle(c);
        return;
    }
    p->n_waiting--;
    list_push(&p->busy, &c->node);
    p->n_busy++;
    call_take_h1(first, c);
}

void pconn_give_back(struct pconn *c)
{
    leave_list(c);
    offer(c);
}

/* --- dials ---------------------------------------------------------------------------------- */

static void free_dialing(struct deferred *d)
{
    mem_free(CONTAINER_OF(d, struct dialing, funeral));
}

static void forget_dialing(struct dialing *d)
{
    list_remove(&d->node);
    d->pool->n_dials--;
    deferred_init(&d->funeral, free_dialing);
    loop_defer(d->pool->loop, &d->funeral);
}

static void add_h1(struct pool *p, struct stream *s)
{
    struct pconn *c = mem_zalloc(sizeof(*c));
    c->pool = p;
    c->stream = s;
    list_init(&c->node);
    timer_init(&c->timer, "upstream idle", on_idle_timer);
    stream_set_owner(s, &owner, c);
    offer(c);
}

static void start_dial(struct pool *p);

void pool_redial(struct pool *p)
{
    if (p->per_dial == UNKNOWN && !list_empty(&p->sessions))
        return; /* the first session's SETTINGS are about to say how much it takes */
    while (p->n_dials * p->per_dial < p->n_waiting)
        start_dial(p);
}

/* The dial has failed, and with it the calls that no other dial is there for. */
static void refuse_waiting(struct pool *p, const char *error)
{
    while (p->n_waiting > p->n_dials * p->per_dial) {
        struct list *first = list_pop(&p->waiting);
        p->n_waiting--;
        bool more = p->n_waiting > p->n_dials * p->per_dial;
        call_no_connection(first, error);
        if (!more)
            return;
    }
}

static bool speaks_h2(const struct pool *p, const struct stream *s)
{
    if (stream_is_tls(s))
        return str_eq(stream_protocol(s), STR("h2"));
    return p->options.http == POOL_HTTP_2;
}

static void on_dialed(void *ctx, struct stream *s, const char *error)
{
    struct dialing *d = ctx;
    struct pool *p = d->pool;
    forget_dialing(d);
    if (!s) {
        refuse_waiting(p, error);
    } else if (speaks_h2(p, s) && p->options.target.only_http1) {
        stream_close(&s); /* it began before that was known */
        pool_redial(p);
    } else if (speaks_h2(p, s)) {
        pool_serve(p, session_new(p, s));
    } else if (p->options.http == POOL_HTTP_2) {
        stream_close(&s);
        refuse_waiting(p, "the upstream does not speak HTTP/2");
    } else {
        p->per_dial = 1;
        add_h1(p, s);
        pool_redial(p);
    }
}

static void start_dial(struct pool *p)
{
    struct dialing *d = mem_zalloc(sizeof(*d));
    d->pool = p;
    list_push(&p->dials, &d->node);
    p->n_dials++;
    d->dial = dial_start(p->loop, p->dns, &p->options.target, p->options.connect_timeout_us,
                         on_dialed, d);
}

void pool_fall_back(struct pool *p)
{
    if (p->options.http != POOL_HTTP_AUTO || p->options.target.only_http1)
        return; /* it is HTTP/2 or nothing, or has been asked for before */
    LOG(LOG_INFO, "the upstream asks for HTTP/1.1", LOG_STR("host", p->options.target.url.host));
    p->options.target.only_http1 = true;
    p->per_dial = 1;
    list_each (node, &p->sessions)
        session_leave(session_of(node));
}

/* --- calls ---------------------------------------------------------------------------------- */

/* Of the sessions with room the one with the fewest streams. */
static struct session *pick_session(struct pool *p)
{
    struct session *best = NULL;
    list_each (node, &p->sessions) {
        struct session *s = session_of(node);
        if (session_has_room(s) && (!best || session_load(s) < session_load(best)))
            best = s;
    }
    return best;
}

void pool_serve(struct pool *p, struct session *s)
{
    while (p->n_waiting > 0 && session_has_room(s)) {
        p->n_waiting--;
        call_take_h2(list_pop(&p->waiting), s);
    }
}

void pool_want(struct pool *p, struct list *waiting_node)
{
    struct session *s = pick_session(p);
    if (s) {
        call_take_h2(waiting_node, s);
        return;
    }
    struct list *idle = p->idle.next;
    if (idle != &p->idle) {
        struct pconn *c = CONTAINER_OF(idle, struct pconn, node);
        leave_list(c);
        list_push(&p->busy, &c->node);
        p->n_busy++;
        call_take_h1(waiting_node, c);
        return;
    }
    list_push(&p->waiting, waiting_node);
    p->n_waiting++;
    pool_redial(p);
}

void pool_unwant(struct pool *p, struct list *waiting_node)
{
    list_remove(waiting_node);
    p->n_waiting--;
    if (p->n_dials > 0 && (p->n_dials - 1) * p->per_dial >= p->n_waiting) {
        struct dialing *d = CONTAINER_OF(p->dials.prev, struct dialing, node);
        dial_cancel(d->dial); /* the newest dial is for nobody now */
        forget_dialing(d);
    }
}

/* --- the pool ------------------------------------------------------------------------------- */

struct pool *pool_new(struct loop *l, struct dns *dns, const struct pool_options *o)
{
    struct pool *p = mem_zalloc(sizeof(*p));
    p->loop = l;
    p->dns = dns;
    p->options = *o;
    list_init(&p->idle);
    list_init(&p->busy);
    list_init(&p->dials);
    list_init(&p->waiting);
    list_init(&p->sessions);
    bool may_be_either = o->http == POOL_HTTP_AUTO && o->target.url.scheme == URL_HTTPS;
    p->per_dial = may_be_either || o->http == POOL_HTTP_2 ? UNKNOWN : 1;
    return p;
}

void pool_free(struct pool *p)
{
    ASSERT(p->n_busy == 0 && p->n_waiting == 0);
    list_each_safe (session, &p->sessions) {
        session_free(session_of(session));
    }
    list_each_safe (node, &p->idle) {
        pconn_close(CONTAINER_OF(node, struct pconn, node));
    }
    list_each_safe (node, &p->dials) {
        struct dialing *d = CONTAINER_OF(node, struct dialing, node);
        dial_cancel(d->dial);
        forget_dialing(d);
    }
    mem_free(p);
}

static size_t busy_sessions(const struct pool *p)
{
    size_t n = 0;
    list_each (node, &p->sessions)
        n += session_load(session_of(node)) > 0;
    return n;
}

static size_t all_sessions(const struct pool *p)
{
    size_t n = 0;
    list_each (node, &p->sessions)
        n++;
    return n;
}

size_t pool_idle(const struct pool *p)
{
    return p->n_idle + all_sessions(p) - busy_sessions(p);
}

size_t pool_busy(const struct pool *p)
{
    return p->n_busy + busy_sessions(p);
}
