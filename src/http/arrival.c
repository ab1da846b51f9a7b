/* arrival.c - a connection between accept and its first request: a PROXY header, the TLS handshake.
 *
 *   accept --> [ header ] --> [ handshake ] --> a transport's connection
 *                  \______________\___ failed, too slow, too many ---> closed
 *
 * At a door for proxies the first bytes are looked at before they are taken, so that a header is
 * taken to the byte and what follows stays for TLS or HTTP. Who must bring one and who must not is
 * the handler's to say, by the peer's own address, and never by the bytes.
 *
 * One deadline covers all of it. When too many are under way the oldest one goes: whoever is at it for
 * longest is the one who means to be slow.
 */
#include "base/log.h"
#include "base/mem.h"
#include "http/server_int.h"
#include "wire/proxy_header.h"

static char scratch[PROXY_HEADER_MAX];

struct arrival {
    struct list node; /* of server->arrivals */
    struct server *server;
    const struct server_door *door;
    struct stream *stream;
    bool must_tell; /* the peer begins with a header */
    bool awaits;    /* it may still come */
    bool ended;     /* the peer sends nothing more */
    size_t to_skip; /* of a header that was read */
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

/* The same, where somebody is to know. */
static void reject(struct arrival *a, enum server_rejection what, const char *why)
{
    const struct server_handler *h = &a->server->handler;
    if (h->on_reject)
        h->on_reject(h->ctx, stream_peer(a->stream), what, why);
    refuse(a, why);
}

const char *server_rejection_name(enum server_rejection what)
{
    static const char *const names[] = {
        [REJECT_NONE] = "none",
        [REJECT_HEADER_MISSING] = "proxy_header_missing",
        [REJECT_HEADER_BAD] = "proxy_header_bad",
        [REJECT_HEADER_LATE] = "proxy_header_late",
        [REJECT_HEADER_UNEXPECTED] = "proxy_header_unexpected",
        [REJECT_CERTIFICATE] = "certificate",
    };

    ASSERT((size_t)what < ARRAY_LEN(names));
    return names[what];
}

/* --- the handshake -------------------------------------------------------------------------- */

/* Where what ALPN has chosen decides which transport it is. */
static void on_open(struct stream *s, void *ctx, bool ok)
{
    struct arrival *a = ctx;
    if (!ok) {
        tell(a->server, HANDSHAKE_FAILED);
        if (stream_lacks_certificate(s))
            reject(a, REJECT_CERTIFICATE, stream_error_text(s));
        else
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

/* --- the header ----------------------------------------------------------------------------- */

/* Nothing of it is left to read. */
static void go_on(struct arrival *a)
{
    a->awaits = false;
    if (a->door->tls) {
        stream_accept_tls(a->stream, a->door->tls);
        return;
    }
    leave(a);
    h1_begin(a->server, a->stream, a->door);
    stream_rouse(a->stream, a->ended ? IO_READ | IO_HUP : IO_READ);
}

static void skip(struct arrival *a)
{
    while (a->to_skip > 0) {
        ssize_t n = stream_read(a->stream, scratch, size_min(a->to_skip, sizeof(scratch)));
        if (n == STREAM_AGAIN)
            return;
        if (n <= 0) {
            refuse(a, "closed within the PROXY header");
            return;
        }
        a->to_skip -= (size_t)n;
    }
    go_on(a);
}

static struct sock_addr source_of(const struct proxy_header *h, const struct sock_addr *peer)
{
    struct sock_addr from = {.len = sizeof(from.sa.sa_family)};
    switch (h->source) {
    case PROXY_SOURCE_NONE: return *peer;
    case PROXY_SOURCE_UNIX: from.sa.sa_family = AF_UNIX; break;
    case PROXY_SOURCE_IP4:
        from.in4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(h->port)};
        memcpy(&from.in4.sin_addr, h->address, sizeof(from.in4.sin_addr));
        from.len = sizeof(from.in4);
        break;
    case PROXY_SOURCE_IP6:
        from.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(h->port)};
        memcpy(&from.in6.sin6_addr, h->address, sizeof(from.in6.sin6_addr));
        from.len = sizeof(from.in6);
        break;
    }
    return from;
}

/* What a proxy has to say. */
static void hear(struct arrival *a, struct str bytes)
{
    struct proxy_header header;
    enum proxy_header_result result = proxy_header_read(bytes, &header);
    if (result == PROXY_HEADER_NONE) {
        reject(a, REJECT_HEADER_MISSING, "there is no PROXY header");
    } else if (result == PROXY_HEADER_BAD) {
        reject(a, REJECT_HEADER_BAD, header.fault);
    } else if (result == PROXY_HEADER_DONE) {
        struct sock_addr from = source_of(&header, stream_peer(a->stream));
        stream_set_peer(a->stream, &from);
        a->to_skip = header.size;
        skip(a);
    } else if (a->ended && bytes.n > 0) {
        reject(a, REJECT_HEADER_BAD, "it breaks off");
    } else if (a->ended) {
        refuse(a, "closed before the PROXY header"); /* that somebody listens was all it asked */
    }
}

/* What anybody else says: all but a header. */
static void mistrust(struct arrival *a, struct str bytes)
{
    struct proxy_header header;
    enum proxy_header_result result = proxy_header_read(bytes, &header);
    if (header.marked)
        reject(a, REJECT_HEADER_UNEXPECTED, "a PROXY header from who may not send it");
    else if (result != PROXY_HEADER_MORE || a->ended)
        go_on(a);
}

static void on_ready(struct stream *s, void *ctx, unsigned events)
{
    struct arrival *a = ctx;
    a->ended = a->ended || (events & IO_HUP);
    if (!a->awaits || !(events & (IO_READ | IO_HUP)))
        return;
    if (a->to_skip > 0) {
        skip(a);
        return;
    }
    ssize_t n = stream_peek(s, scratch, sizeof(scratch));
    if (n == STREAM_AGAIN)
        return;
    a->ended = a->ended || n == STREAM_EOF;
    if (n < 0)
        refuse(a, stream_error_text(s));
    else if (a->must_tell)
        hear(a, str_of(scratch, (size_t)n));
    else
        mistrust(a, str_of(scratch, (size_t)n));
}

/* --- either --------------------------------------------------------------------------------- */

static void on_late(struct timer *t)
{
    struct arrival *a = CONTAINER_OF(t, struct arrival, limit);
    if (a->awaits && a->must_tell) {
        reject(a, REJECT_HEADER_LATE, "the PROXY header takes too long");
        return;
    }
    if (!a->awaits)
        tell(a->server, HANDSHAKE_LATE);
    refuse(a, "it takes too long");
}

static struct arrival *oldest(const struct server *s)
{
    return CONTAINER_OF(s->arrivals.next, struct arrival, node);
}

void arrival_shed(struct server *s)
{
    tell(s, HANDSHAKE_SHED);
    refuse(oldest(s), "too many are under way");
}

void arrival_begin(struct server *s, struct stream *stream, const struct server_door *door)
{
    static const struct stream_owner owner = {
        .on_ready = on_ready, .on_open = on_open, .name = "arrival"};
    struct arrival *a = mem_zalloc(sizeof(*a));
    *a = (struct arrival){.server = s, .door = door, .stream = stream, .awaits = door->proxies};
    timer_init(&a->limit, "arrival", on_late);
    if (s->n_arrivals >= s->limits.handshakes_max)
        arrival_shed(s);
    list_push(&s->arrivals, &a->node);
    s->n_arrivals++;
    timer_after(s->loop, &a->limit, s->limits.handshake_timeout_us);
    stream_set_owner(stream, &owner, a);
    if (door->proxies)
        a->must_tell = s->handler.is_proxy(s->handler.ctx, stream_peer(stream));
    else
        stream_accept_tls(stream, door->tls);
}

void arrivals_end(struct server *s)
{
    while (s->n_arrivals > 0)
        refuse(oldest(s), "the server ends");
}
