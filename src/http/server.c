/* server.c - listening, accepting, and the set of connections, whatever they speak; arrival.c is what
 * is not yet one. */
#include "http/server_int.h"

#include <errno.h>

#include "base/mem.h"
#include "io/sys.h"

enum {
    ACCEPTS_PER_TURN = 64,
    ACCEPTS_AT_DRAIN = 65536,
    BODY_SCALE = 1 << 20, /* body_timeout_us is for this many bytes */
};

static const uint64_t EMFILE_PAUSE_US = 100 * 1000;

static const struct server_door plain_door = {.tls = NULL};
static const struct stream_owner nobody = {.name = "client"};

void link_begin(struct server *s, struct link *c, const struct transport *t)
{
    c->transport = t;
    list_push(&s->conns, &c->node);
    s->n_conns++;
}

void link_end(struct server *s, struct link *c)
{
    list_remove(&c->node);
    s->n_conns--;
}

void link_is_idle(struct server *s, struct link *c)
{
    list_remove(&c->node);
    list_push(&s->conns, &c->node);
}

void server_request_from(struct request *r, const struct stream *s, const struct server_door *door)
{
    r->peer = *stream_peer(s);
    r->proxied = stream_is_proxied(s);
    r->identity = stream_identity(s);
    r->door = door;
}

bool server_has_room(const struct server *s, const struct buf *body, size_t n)
{
    size_t spare = body->cap - body->end;
    return buf_total() + (n > spare ? n - spare : 0) <= s->limits.total_max;
}

uint64_t server_body_due_us(const struct server *s, uint64_t began_us, const struct buf *body)
{
    uint64_t base = s->limits.body_timeout_us;
    return began_us + base + base / BODY_SCALE * buf_len(body);
}

/* The connection idle longest, or NULL when all are at work. */
static struct link *idlest(struct server *s)
{
    list_each (node, &s->conns) {
        struct link *c = link_of(node);
        if (c->transport->is_idle(c))
            return c;
    }
    return NULL;
}

/* False when all are at work. */
static bool shed_one(struct server *s)
{
    struct link *c = idlest(s);
    if (c)
        c->transport->kill(c);
    else if (s->n_arrivals > 0)
        arrival_shed(s);
    else
        return false;
    return true;
}

static void pause_accepting(struct server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++)
        loop_unwatch(s->loop, &s->listeners[i].watch);
    timer_after(s->loop, &s->pause, EMFILE_PAUSE_US);
}

static bool is_exhaustion(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void begin(const struct listener *l, int fd, const struct sock_addr *peer)
{
    struct stream *stream = stream_accept(l->server->loop, fd, peer, &nobody, NULL);
    if (l->door->tls || l->door->proxies)
        arrival_begin(l->server, stream, l->door);
    else
        h1_begin(l->server, stream, l->door);
}

static void accept_some(struct listener *l, int max)
{
    struct server *s = l->server;
    for (int i = 0; i < max; i++) {
        struct sock_addr peer = {.len = sizeof(peer.storage)};
        int fd = sys_accept(l->fd, &peer.storage, &peer.len);
        if (fd < 0 && errno == ECONNABORTED)
            continue;
        if (fd < 0 && is_exhaustion(errno)) {
            (void)shed_one(s);
            pause_accepting(s);
        }
        if (fd < 0)
            return;
        if (server_connections(s) >= s->limits.connections_max && !shed_one(s))
            (void)sys_close(fd);
        else
            begin(l, fd, &peer);
    }
}

static void on_acceptable(struct io_watch *w, unsigned events)
{
    (void)events;
    accept_some(CONTAINER_OF(w, struct listener, watch), ACCEPTS_PER_TURN);
}

static void watch_listener(struct listener *l)
{
    l->watch = (struct io_watch){.fd = l->fd, .fn = on_acceptable, .name = "accept"};
    if (!loop_watch_level(l->server->loop, &l->watch))
        timer_after(l->server->loop, &l->server->pause, EMFILE_PAUSE_US);
}

static void on_pause_over(struct timer *t)
{
    struct server *s = CONTAINER_OF(t, struct server, pause);
    for (size_t i = 0; i < s->n_listeners; i++)
        if (s->listeners[i].watch.fd < 0)
            watch_listener(&s->listeners[i]);
}

struct server *server_new(struct loop *l, const struct server_limits *limits,
                          const struct server_handler *handler)
{
    struct server *s = mem_zalloc(sizeof(*s));
    s->loop = l;
    s->limits = *limits;
    s->handler = *handler;
    list_init(&s->conns);
    list_init(&s->arrivals);
    timer_init(&s->pause, "accept pause", on_pause_over);
    return s;
}

bool server_listen_at(struct server *s, int fd, const struct server_door *door)
{
    ASSERT(s->n_listeners < LISTENERS_MAX);
    struct listener *l = &s->listeners[s->n_listeners++];
    l->server = s;
    l->fd = fd;
    l->door = door;
    watch_listener(l);
    return l->watch.fd >= 0;
}

bool server_listen(struct server *s, int fd)
{
    return server_listen_at(s, fd, &plain_door);
}

static void stop_listening(struct server *s)
{
    timer_stop(s->loop, &s->pause);
    for (size_t i = 0; i < s->n_listeners; i++) {
        struct listener *l = &s->listeners[i];
        if (l->watch.fd >= 0)
            loop_unwatch(s->loop, &l->watch);
        sys_close(l->fd);
    }
    s->n_listeners = 0;
}

void server_drain(struct server *s)
{
    if (s->draining)
        return;
    for (size_t i = 0; i < s->n_listeners; i++)
        accept_some(&s->listeners[i], ACCEPTS_AT_DRAIN);
    s->draining = true;
    stop_listening(s);
    list_each_safe (node, &s->conns) {
        link_of(node)->transport->retire(link_of(node));
    }
}

size_t server_connections(const struct server *s)
{
    return s->n_conns + s->n_arrivals;
}

void server_free(struct server *s)
{
    stop_listening(s);
    arrivals_end(s);
    list_each_safe (node, &s->conns) {
        link_of(node)->transport->kill(link_of(node));
    }
    ASSERT(server_connections(s) == 0);
    mem_free(s);
}
