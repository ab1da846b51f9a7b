/* arrival.c - a connection between accept and its first request: the TLS handshake.
 *
 *   accept --> arrival --handshake done, protocol chosen--> a transport's connection
 *                 \--failed, too slow, too many--> closed
 *
 * One deadline covers all of it. When too many are under way the oldest one goes: whoever is at it for
 * longest is the one who means to be slow.
 */
#include "base/log.h"
#include "base/mem.h"
#include "http/server_int.h"

struct arrival {
    struct list node; /* of server->arrivals */
    struct server *server;
    const struct server_door *door;
    struct stream *stream;
    struct timer limit;
    struct deferred funeral;
};

static void free_arrival(struct deferred *d)
{
    mem_free(CONTAINER_OF(d, struct arrival, funeral));
}

static void leave(struct arrival *a)
{
    list_remove(&a->node);
    a->server->n_arrivals--;
    timer_stop(a->server->loop, &a->limit);
    deferred_init(&a->funeral, free_arrival);
    loop_defer(a->server->loop, &a->funeral);
}

static void tell(const struct server *s, enum server_handshake how)
{
    if (s->handler.on_handshake)
        s->handler.on_handshake(s->handler.ctx, how);
}

static void refuse(struct arrival *a, const char *why)
{
    char text[SOCK_TEXT];
    LOG(LOG_DEBUG, "handshake failed", LOG_CSTR("error", why),
        LOG_STR("address", sock_addr_host(stream_peer(a->stream), text)));
    stream_close(&a->stream);
    leave(a);
}

/* Where what ALPN has chosen decides which transport it is. */
static void on_open(struct stream *s, void *ctx, bool ok)
{
    struct arrival *a = ctx;
    if (!ok) {
        tell(a->server, HANDSHAKE_FAILED);
        refuse(a, stream_error_text(s));
        return;
    }
    tell(a->server, stream_is_resumed(s) ? HANDSHAKE_RESUMED : HANDSHAKE_FULL);
    leave(a);
    if (str_eq(stream_protocol(s), STR("h2")))
        h2_begin(a->server, s, a->door, STR(""));
    else
        h1_begin(a->server, s, a->door);
}

static void on_late(struct timer *t)
{
    struct arrival *a = CONTAINER_OF(t, struct arrival, limit);
    tell(a->server, HANDSHAKE_LATE);
    refuse(a, "it takes too long");
}

static struct arrival *oldest(const struct server *s)
{
    return CONTAINER_OF(s->arrivals.next, struct arrival, node);
}

void arrival_begin(struct server *s, struct stream *stream, const struct server_door *door)
{
    static const struct stream_owner owner = {.on_open = on_open, .name = "arrival"};
    struct arrival *a = mem_zalloc(sizeof(*a));
    *a = (struct arrival){.server = s, .door = door, .stream = stream};
    timer_init(&a->limit, "arrival", on_late);
    if (s->n_arrivals >= s->limits.handshakes_max) {
        tell(s, HANDSHAKE_SHED);
        refuse(oldest(s), "too many are under way");
    }
    list_push(&s->arrivals, &a->node);
    s->n_arrivals++;
    timer_after(s->loop, &a->limit, s->limits.handshake_timeout_us);
    stream_set_owner(stream, &owner, a);
    stream_accept_tls(stream, door->tls);
}

void arrivals_end(struct server *s)
{
    while (s->n_arrivals > 0)
        refuse(oldest(s), "the server ends");
}
