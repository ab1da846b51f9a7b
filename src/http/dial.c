/* dial.c - see dial.h.
 *
 *   LOOKUP --> RACING --> TUNNEL (through a proxy) --> HANDSHAKE (https) --> done
 *
 * Each address that is tried is an attempt of its own; the first that opens ends the others. A
 * dial belongs to whoever started it until fn is called or dial_cancel; it frees itself at the end
 * of that turn.
 */
#include "http/dial.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "wire/h1.h"

enum { TUNNEL_HEAD_MAX = 8192 };

static const uint64_t NEXT_ATTEMPT_US = 250 * 1000; /* RFC 8305 section 5 */

struct attempt {
    struct dial *dial;
    struct stream *stream;
};

struct dial {
    struct loop *loop;
    struct dns *dns;
    struct dial_target target;
    dial_fn *fn;
    void *ctx;
    struct dns_query *query;
    struct sock_addr addrs[DNS_ADDRS_MAX];
    struct attempt attempts[DNS_ADDRS_MAX];
    size_t n_addrs, n_tried, n_open;
    struct stream *stream; /* the winner */
    struct buf head;       /* to and from the proxy */
    struct timer total, next;
    struct deferred start, funeral;
    const char *error;
    bool over;
};

static void bury(struct deferred *d)
{
    struct dial *dial = CONTAINER_OF(d, struct dial, funeral);
    buf_done(&dial->head);
    mem_free(dial);
}

static void stop(struct dial *d)
{
    d->over = true;
    if (d->query)
        dns_cancel(d->query);
    d->query = NULL;
    for (size_t i = 0; i < d->n_tried; i++)
        if (d->attempts[i].stream)
            stream_close(&d->attempts[i].stream);
    if (d->stream)
        stream_close(&d->stream);
    timer_stop(d->loop, &d->total);
    timer_stop(d->loop, &d->next);
    deferred_cancel(&d->start);
    deferred_init(&d->funeral, bury);
    loop_defer(d->loop, &d->funeral);
}

static void fail(struct dial *d, const char *error)
{
    if (d->over)
        return;
    char text[160]; /* the stream that says it is about to go */
    snprintf(text, sizeof(text), "%s", error);
    stop(d);
    d->fn(d->ctx, NULL, text);
}

static void succeed(struct dial *d)
{
    struct stream *s = d->stream;
    d->stream = NULL;
    stop(d);
    d->fn(d->ctx, s, NULL);
}

/* --- TLS ------------------------------------------------------------------------------------ */

static void on_handshake(struct stream *s, void *ctx, bool ok)
{
    struct dial *d = ctx;
    if (d->over)
        return;
    if (ok)
        succeed(d);
    else
        fail(d, stream_error_text(s));
}

static const struct stream_owner handshake_owner = {.on_open = on_handshake, .name = "handshake"};

static void secure(struct dial *d)
{
    if (d->target.url.scheme != URL_HTTPS) {
        succeed(d);
        return;
    }
    stream_set_owner(d->stream, &handshake_owner, d);
    stream_start_tls(d->stream, d->target.tls, d->target.url.host);
    if (d->target.only_http1)
        stream_offer_http1(d->stream);
}

/* --- the proxy's tunnel --------------------------------------------------------------------- */

static void wipe(struct str secret)
{
    mem_wipe((char *)(uintptr_t)secret.p, secret.n);
}

static void write_connect(struct dial *d)
{
    const struct url *u = &d->target.url;
    struct arena a;
    arena_init(&a);
    struct str authority = u->is_ipv6 ? arena_printf(&a, "[%.*s]:%u", STR_FMT(u->host), u->port)
                                      : arena_printf(&a, "%.*s:%u", STR_FMT(u->host), u->port);
    h1_write_request_line(&d->head, STR("CONNECT"), authority);
    h1_write_field(&d->head, STR("Host"), authority);
    if (d->target.proxy.userinfo.n) {
        struct str plain = STR_NONE;
        if (!text_percent_decode(&a, d->target.proxy.userinfo, &plain))
            plain = d->target.proxy.userinfo;
        struct str token = text_base64_encode(&a, plain.p, plain.n);
        struct str value = arena_printf(&a, "Basic %.*s", STR_FMT(token));
        h1_write_field(&d->head, STR("Proxy-Authorization"), value);
        if (plain.p != d->target.proxy.userinfo.p)
            wipe(plain);
        wipe(token);
        wipe(value);
    }
    buf_lit(&d->head, "\r\n");
    arena_done(&a);
}

/* True once a whole head has come; *ret_ok: it says 2xx and nothing follows it. */
static bool read_tunnel_answer(struct dial *d, bool *ret_ok)
{
    static struct h1_head head;
    size_t scanned = 0, used;
    enum h1_error error;
    switch (h1_parse_response(buf_str(&d->head), TUNNEL_HEAD_MAX, false, &scanned, &head, &used,
                              &error)) {
    case H1_MORE: return false;
    case H1_BAD: *ret_ok = false; return true;
    case H1_DONE: *ret_ok = head.status / 100 == 2 && used == buf_len(&d->head); return true;
    }
    UNREACHABLE();
}

static void read_tunnel(struct dial *d)
{
    for (;;) {
        char *room = buf_reserve(&d->head, 1024);
        ssize_t n = room ? stream_read(d->stream, room, 1024) : STREAM_ERROR;
        if (n == STREAM_AGAIN)
            return;
        if (n == STREAM_EOF || n == STREAM_ERROR) {
            fail(d, "the proxy closed the connection");
            return;
        }
        buf_commit(&d->head, (size_t)n);
        bool ok;
        if (!read_tunnel_answer(d, &ok))
            continue;
        if (ok)
            secure(d);
        else
            fail(d, "the proxy refused the tunnel");
        return;
    }
}

static void on_tunnel_ready(struct stream *s, void *ctx, unsigned events)
{
    (void)s;
    (void)events;
    struct dial *d = ctx;
    if (!d->over)
        read_tunnel(d);
}

static const struct stream_owner tunnel_owner = {.on_ready = on_tunnel_ready, .name = "tunnel"};

static void open_tunnel(struct dial *d)
{
    stream_set_owner(d->stream, &tunnel_owner, d);
    write_connect(d);
    struct str s = buf_str(&d->head);
    struct iovec iov = {.iov_base = (char *)(uintptr_t)s.p, .iov_len = s.n};
    ssize_t n = stream_writev(d->stream, &iov, 1);
    wipe(s);
    if (n != (ssize_t)s.n) { /* a fresh socket takes so little at once */
        fail(d, "the proxy takes no request");
        return;
    }
    buf_clear(&d->head);
    read_tunnel(d);
}

/* --- the race ------------------------------------------------------------------------------- */

static void try_next(struct dial *d);

static void on_connected(struct stream *s, void *ctx, bool ok)
{
    struct attempt *a = ctx;
    struct dial *d = a->dial;
    if (d->over)
        return;
    d->n_open--;
    if (!ok) {
        d->error = stream_error_text(s);
        if (d->n_tried == d->n_addrs && d->n_open == 0) {
            fail(d, d->error);
            return;
        }
        stream_close(&a->stream);
        d->error = "no address could be reached";
        try_next(d);
        return;
    }
    d->stream = a->stream;
    a->stream = NULL;
    timer_stop(d->loop, &d->next);
    for (size_t i = 0; i < d->n_tried; i++)
        if (d->attempts[i].stream)
            stream_close(&d->attempts[i].stream);
    if (d->target.has_proxy)
        open_tunnel(d);
    else
        secure(d);
}

static const struct stream_owner racing_owner = {.on_open = on_connected, .name = "connect"};

static void try_next(struct dial *d)
{
    while (d->n_tried < d->n_addrs) {
        struct attempt *a = &d->attempts[d->n_tried];
        a->dial = d;
        a->stream = stream_connect(d->loop, &d->addrs[d->n_tried++], &racing_owner, a);
        if (!a->stream)
            continue; /* this family is not to be had here */
        d->n_open++;
        if (d->n_tried < d->n_addrs)
            timer_after(d->loop, &d->next, NEXT_ATTEMPT_US);
        return;
    }
    if (d->n_open == 0)
        fail(d, d->error);
}

static void on_next(struct timer *t)
{
    try_next(CONTAINER_OF(t, struct dial, next));
}

/* --- start ---------------------------------------------------------------------------------- */

static void on_addresses(void *ctx, const struct sock_addr *addrs, size_t n, const char *error)
{
    struct dial *d = ctx;
    d->query = NULL;
    if (n == 0) {
        fail(d, error);
        return;
    }
    d->n_addrs = size_min(n, DNS_ADDRS_MAX);
    memcpy(d->addrs, addrs, d->n_addrs * sizeof(*addrs));
    try_next(d);
}

static void on_total(struct timer *t)
{
    fail(CONTAINER_OF(t, struct dial, total), "timed out");
}

static void on_start(struct deferred *start)
{
    struct dial *d = CONTAINER_OF(start, struct dial, start);
    const struct url *u = d->target.has_proxy ? &d->target.proxy : &d->target.url;
    if (u->scheme == URL_UNIX) {
        d->n_addrs = 1;
        if (sock_addr_unix(u->host, &d->addrs[0]))
            try_next(d);
        else
            fail(d, "the socket's path is too long");
        return;
    }
    struct dns_query *q = dns_lookup(d->dns, u->host, u->port, on_addresses, d);
    if (q)
        d->query = q;
}

struct dial *dial_start(struct loop *l, struct dns *dns, const struct dial_target *target,
                        uint64_t timeout_us, dial_fn *fn, void *ctx)
{
    struct dial *d = mem_zalloc(sizeof(*d));
    d->loop = l;
    d->dns = dns;
    d->target = *target;
    d->fn = fn;
    d->ctx = ctx;
    d->error = "no address could be reached";
    buf_init(&d->head, TUNNEL_HEAD_MAX);
    timer_init(&d->total, "dial", on_total);
    timer_init(&d->next, "next address", on_next);
    timer_after(l, &d->total, timeout_us);
    deferred_init(&d->start, on_start);
    loop_defer(l, &d->start);
    return d;
}

void dial_cancel(struct dial *d)
{
    stop(d);
}
