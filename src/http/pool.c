/* pool.c - see pool.h. Calls wait in one line; connections, new or given back, serve its head. */
#include "http/pool_int.h"

#include "base/clock.h"
#include "base/mem.h"

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
    call_take(first, c);
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

static void on_dialed(void *ctx, struct stream *s, const char *error)
{
    struct dialing *d = ctx;
    struct pool *p = d->pool;
    forget_dialing(d);
    if (s) {
        struct pconn *c = mem_zalloc(sizeof(*c));
        c->pool = p;
        c->stream = s;
        list_init(&c->node);
        timer_init(&c->timer, "upstream idle", on_idle_timer);
        stream_set_owner(s, &owner, c);
        offer(c);
        return;
    }
    if (p->n_waiting <= p->n_dials)
        return; /* each call still has a dial to wait for */
    struct list *first = list_pop(&p->waiting);
    p->n_waiting--;
    call_no_connection(first, error);
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

void pool_want(struct pool *p, struct list *waiting_node)
{
    struct list *idle = p->idle.next;
    if (idle != &p->idle) {
        struct pconn *c = CONTAINER_OF(idle, struct pconn, node);
        leave_list(c);
        list_push(&p->busy, &c->node);
        p->n_busy++;
        call_take(waiting_node, c);
        return;
    }
    list_push(&p->waiting, waiting_node);
    p->n_waiting++;
    if (p->n_dials < p->n_waiting)
        start_dial(p);
}

void pool_unwant(struct pool *p, struct list *waiting_node)
{
    list_remove(waiting_node);
    p->n_waiting--;
    if (p->n_dials > p->n_waiting) { /* the newest dial is for nobody now */
        struct dialing *d = CONTAINER_OF(p->dials.prev, struct dialing, node);
        dial_cancel(d->dial);
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
    return p;
}

void pool_free(struct pool *p)
{
    ASSERT(p->n_busy == 0 && p->n_waiting == 0);
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

size_t pool_idle(const struct pool *p)
{
    return p->n_idle;
}

size_t pool_busy(const struct pool *p)
{
    return p->n_busy;
}
