/* stream.c - one connection, plain or TLS, as a small state machine over one watch.
 *
 *   stream_accept ----------------------------------------------v
 *   stream_connect --> CONNECTING --> (on_open) ---------------> OPEN --> CLOSED --> freed
 *                          |        start_tls, accept_tls |       ^          ^
 *                          v                              v       | on_open  | stream_close
 *                       FAILED <------------------- HANDSHAKING --+        any state
 *
 * The state changes in enter() only. The descriptor belongs to the stream from the start; it is
 * closed at once by stream_close and the memory goes with the deferred calls, so whoever is on the
 * stack may still hold the pointer. No bytes are kept here: plain ones stay in the kernel, TLS
 * keeps at most one record. Deadlines and limits are left to the owner.
 */
#include "io/stream.h"

#include <errno.h>

#include "base/mem.h"
#include "io/sys.h"
#include "io/tls.h"

enum state { STREAM_CONNECTING, STREAM_HANDSHAKING, STREAM_OPEN, STREAM_FAILED, STREAM_CLOSED };

struct stream {
    struct loop *loop;
    struct io_watch watch;
    struct deferred later; /* a first event that epoll will not bring, or the end */
    const struct stream_owner *owner;
    void *ctx;
    struct tls *tls; /* NULL: plain */
    int err;         /* errno of the last failure below TLS */
    unsigned missed; /* events that the owner is to be told of */
    enum state state;
    bool proxied; /* peer is what a proxy says */
    struct sock_addr peer;
};

static void enter(struct stream *s, enum state next)
{
    static const unsigned allowed[] = {
        [STREAM_CONNECTING] = 1U << STREAM_OPEN | 1U << STREAM_FAILED | 1U << STREAM_CLOSED,
        [STREAM_HANDSHAKING] = 1U << STREAM_OPEN | 1U << STREAM_FAILED | 1U << STREAM_CLOSED,
        [STREAM_OPEN] = 1U << STREAM_HANDSHAKING | 1U << STREAM_FAILED | 1U << STREAM_CLOSED,
        [STREAM_FAILED] = 1U << STREAM_CLOSED,
        [STREAM_CLOSED] = 0,
    };

    ASSERT(allowed[s->state] & 1U << next);
    s->state = next;
}

/* The owner may close the stream, change its owner or start TLS in here. */
static void opened(struct stream *s, bool ok, unsigned events)
{
    enter(s, ok ? STREAM_OPEN : STREAM_FAILED);
    s->owner->on_open(s, s->ctx, ok);
    if (s->state == STREAM_OPEN && s->owner->on_ready)
        s->owner->on_ready(s, s->ctx, events);
}

static void continue_connect(struct stream *s, unsigned events)
{
    if (!(events & (IO_WRITE | IO_HUP)))
        return;
    s->err = sys_socket_error(s->watch.fd);
    opened(s, s->err == 0, events);
}

static void continue_handshake(struct stream *s, unsigned events)
{
    int rc = tls_handshake(s->tls);

    if (rc == STREAM_AGAIN)
        return;
    /* The handshake took the edges, and perhaps the first data with them: all is worth a try. */
    opened(s, rc > 0, events | IO_READ | IO_WRITE);
}

static void ready(struct stream *s, unsigned events)
{
    switch (s->state) {
    case STREAM_CONNECTING: continue_connect(s, events); return;
    case STREAM_HANDSHAKING: continue_handshake(s, events); return;
    case STREAM_OPEN:
        /* TLS may need to read before it can write, and the other way round. */
        if (s->tls)
            events |= IO_READ | IO_WRITE;
        if (s->owner->on_ready)
            s->owner->on_ready(s, s->ctx, events);
        return;
    case STREAM_FAILED:
    case STREAM_CLOSED: return;
    }
}

static void on_watch(struct io_watch *w, unsigned events)
{
    ready(CONTAINER_OF(w, struct stream, watch), events);
}

static void free_stream(struct stream *s)
{
    tls_free(s->tls);
    mem_free(s);
}

static void on_later(struct deferred *d)
{
    struct stream *s = CONTAINER_OF(d, struct stream, later);

    if (s->state == STREAM_CLOSED)
        free_stream(s);
    else
        ready(s, s->missed | (s->err ? IO_READ | IO_WRITE | IO_HUP : IO_READ | IO_WRITE));
}

static struct stream *make(struct loop *l, const struct sock_addr *peer, enum state state,
                           const struct stream_owner *owner, void *ctx)
{
    struct stream *s = mem_alloc(sizeof(*s));

    *s = (struct stream){
        .loop = l,
        .watch = {.fd = -1, .fn = on_watch, .name = owner->name},
        .owner = owner,
        .ctx = ctx,
        .state = state,
        .peer = *peer,
    };
    deferred_init(&s->later, on_later);
    return s;
}

struct stream *stream_accept(struct loop *l, int fd, const struct sock_addr *peer,
                             const struct stream_owner *owner, void *ctx)
{
    struct stream *s = make(l, peer, STREAM_OPEN, owner, ctx);

    s->watch.fd = fd;
    if (loop_watch(l, &s->watch))
        return s;
    s->err = errno;
    (void)sys_close(fd);
    loop_defer(l, &s->later);
    return s;
}

static struct stream *refuse(int fd, int err)
{
    (void)sys_close(fd);
    errno = err;
    return NULL;
}

struct stream *stream_connect(struct loop *l, const struct sock_addr *addr,
                              const struct stream_owner *owner, void *ctx)
{
    int fd = sys_socket(addr->sa.sa_family, SOCK_STREAM);
    struct stream *s;

    ASSERT(owner->on_open);
    if (fd < 0)
        return NULL;
    sock_tune(fd, addr->sa.sa_family);
    if (sys_connect(fd, &addr->sa, addr->len) < 0 && errno != EINPROGRESS)
        return refuse(fd, errno);
    /* Watched only now: before connect() epoll reports a hang-up. When it has connected at once,
     * the next wait says so, and on_open comes from there like in the other case. */
    s = make(l, addr, STREAM_CONNECTING, owner, ctx);
    s->watch.fd = fd;
    if (!loop_watch(l, &s->watch)) {
        int err = errno;

        mem_free(s);
        return refuse(fd, err);
    }
    return s;
}

static void handshake(struct stream *s, struct tls *tls)
{
    ASSERT(!s->tls && s->owner->on_open);
    enter(s, STREAM_HANDSHAKING);
    s->tls = tls;
    loop_defer(s->loop, &s->later); /* edges may have been and gone */
}

void stream_start_tls(struct stream *s, struct tls_ctx *tls, struct str server_name)
{
    handshake(s, tls_client(tls, s->watch.fd, server_name));
}

void stream_offer_http1(struct stream *s)
{
    tls_offer_http1(s->tls);
}

void stream_accept_tls(struct stream *s, struct tls_server *tls)
{
    handshake(s, tls_accept(tls, s->watch.fd));
}

void stream_set_owner(struct stream *s, const struct stream_owner *owner, void *ctx)
{
    s->owner = owner;
    s->ctx = ctx;
    s->watch.name = owner->name;
}

static ssize_t failed(struct stream *s, int err)
{
    if (err == EAGAIN)
        return STREAM_AGAIN;
    s->err = err;
    return STREAM_ERROR;
}

/* What to answer when the stream is not open, or could not be watched. */
static ssize_t not_open(const struct stream *s)
{
    ASSERT(s->state != STREAM_CLOSED);
    return s->state == STREAM_FAILED || s->state == STREAM_OPEN ? STREAM_ERROR : STREAM_AGAIN;
}

ssize_t stream_read(struct stream *s, void *p, size_t n)
{
    ssize_t got;

    ASSERT(n > 0);
    if (s->state != STREAM_OPEN || s->watch.fd < 0)
        return not_open(s);
    if (s->tls)
        return tls_read(s->tls, p, n);
    got = sys_recv(s->watch.fd, p, n);
    return got >= 0 ? got : failed(s, errno);
}

ssize_t stream_peek(struct stream *s, void *p, size_t n)
{
    ssize_t got;

    ASSERT(n > 0 && !s->tls);
    if (s->state != STREAM_OPEN || s->watch.fd < 0)
        return not_open(s);
    got = sys_peek(s->watch.fd, p, n);
    return got >= 0 ? got : failed(s, errno);
}

void stream_rouse(struct stream *s, unsigned events)
{
    s->missed = events;
    loop_defer(s->loop, &s->later);
}

ssize_t stream_writev(struct stream *s, const struct iovec *iov, int n)
{
    ssize_t sent;

    if (s->state != STREAM_OPEN || s->watch.fd < 0)
        return not_open(s);
    if (s->tls)
        return tls_writev(s->tls, iov, n);
    sent = sys_writev(s->watch.fd, iov, n);
    return sent >= 0 ? sent : failed(s, errno);
}

void stream_end_write(struct stream *s)
{
    if (s->state != STREAM_OPEN || s->watch.fd < 0)
        return;
    if (s->tls)
        tls_end_write(s->tls);
    (void)sys_shutdown_write(s->watch.fd);
}

static void finish(struct stream **ref, bool reset)
{
    struct stream *s = *ref;
    int fd;

    if (!s)
        return;
    *ref = NULL;
    fd = s->watch.fd;
    if (fd >= 0) {
        if (reset)
            sys_set_reset_on_close(fd);
        else if (s->tls && s->state == STREAM_OPEN)
            tls_end_write(s->tls);
        loop_unwatch(s->loop, &s->watch);
        (void)sys_close(fd);
    }
    enter(s, STREAM_CLOSED);
    loop_defer(s->loop, &s->later);
}

void stream_close(struct stream **s)
{
    finish(s, false);
}

void stream_reset(struct stream **s)
{
    finish(s, true);
}

bool stream_is_tls(const struct stream *s)
{
    return s->tls != NULL;
}

struct str stream_protocol(const struct stream *s)
{
    return s->tls ? tls_protocol(s->tls) : STR("");
}

bool stream_is_resumed(const struct stream *s)
{
    return s->tls && tls_is_resumed(s->tls);
}

const struct tls_identity *stream_identity(const struct stream *s)
{
    return s->tls ? tls_identity(s->tls) : NULL;
}

bool stream_lacks_certificate(const struct stream *s)
{
    return s->tls && tls_lacks_certificate(s->tls);
}

const struct sock_addr *stream_peer(const struct stream *s)
{
    return &s->peer;
}

void stream_set_peer(struct stream *s, const struct sock_addr *peer)
{
    s->peer = *peer;
    s->proxied = true;
}

bool stream_is_proxied(const struct stream *s)
{
    return s->proxied;
}

const char *stream_error_text(const struct stream *s)
{
    return s->tls ? tls_error_text(s->tls) : sock_error_text(s->err);
}
