/* server_h1.c - one client connection that speaks HTTP/1.1.
 *
 *     +------------------------------ keep-alive --------------------------------+
 *     v                                                                          |
 *   IDLE --1st byte--> HEAD --head--> BODY --whole--> REPLYING --> FLUSHING -----+--> LINGER --> DEAD
 *     \__________________|______________|___ refused ___/   reply_end     (close, or unread input)
 *
 * Bytes are read into a scratch of the process; only what cannot be used yet is kept (c->in). A
 * body of known length is read straight into the request. While a reply is open nothing is read:
 * what a client pipelines waits in the kernel. The client leaving is noticed all the same, by the
 * event.
 *
 * A client that sends as fast as it is read gives way to others after a few reads: the timer, and
 * not a deferred call, goes on behind the others' events.
 *
 * Output gathers in c->out and goes to the socket once, at the end of the turn (c->work).
 *
 * Time: c->deadline_us is when the current state has lasted too long, 0 for never. The timer is
 * only moved when the deadline comes nearer; when it fires too early it is set again. So a
 * keep-alive request costs no heap operation.
 *
 * A request belongs to its connection; both are freed at the end of the turn in which they end.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "http/server_h1_int.h"
#include "wire/h2.h"

enum {
    SCRATCH = 64 * 1024,
    READS_PER_TURN = 4,
    OUT_MAX = 64 * 1024 * 1024,
    BODY_AT_ONCE = 16 * 1024,
    OUT_KEPT = 2048, /* an empty output buffer up to this size is kept */
    LINGER_BYTES = 64 * 1024,
    RETIRE_US = 1000 * 1000, /* for a request that left before the client saw us go */
};

static const uint64_t LINGER_US = 2 * 1000 * 1000;

static char scratch[SCRATCH];

/* --- time ----------------------------------------------------------------------------------- */

void conn_set_deadline(struct conn *c, uint64_t delay_us)
{
    c->deadline_us = clock_us() + delay_us;
    if (!timer_is_set(&c->timer) || c->timer.node.key > c->deadline_us)
        timer_set(c->server->loop, &c->timer, c->deadline_us);
}

/* --- the end of things ---------------------------------------------------------------------- */

static void free_request(struct deferred *d)
{
    struct request *r = CONTAINER_OF(d, struct request, funeral);
    buf_done(&r->body);
    mem_free(r);
}

void conn_drop_request(struct conn *c)
{
    struct request *r = c->request;
    c->request = NULL;
    r->out = NULL;
    deferred_init(&r->funeral, free_request);
    loop_defer(c->server->loop, &r->funeral);
}

static void free_conn(struct deferred *d)
{
    struct conn *c = CONTAINER_OF(d, struct conn, funeral);
    buf_done(&c->in);
    buf_done(&c->out);
    mem_free(c);
}

void conn_die(struct conn *c)
{
    ASSERT(c->state != CONN_DEAD);
    c->state = CONN_DEAD;
    if (c->stream)
        stream_close(&c->stream);
    timer_stop(c->server->loop, &c->timer);
    deferred_cancel(&c->work);
    link_end(c->server, &c->link);
    deferred_init(&c->funeral, free_conn);
    loop_defer(c->server->loop, &c->funeral);
}

/* The client has left, or is treated so. */
static void lose(struct conn *c)
{
    struct request *r = c->request;
    if (r) {
        conn_drop_request(c);
        r->reply = REPLY_OVER;
        conn_die(c);
        c->server->handler.on_gone(c->server->handler.ctx, r);
        return;
    }
    conn_die(c);
}

void conn_kill(struct link *link)
{
    lose(CONTAINER_OF(link, struct conn, link));
}

/* --- requests ------------------------------------------------------------------------------- */

static struct request *new_request(struct conn *c)
{
    struct request *r = mem_zalloc(sizeof(*r));
    r->transport = &transport_h1;
    r->out = &c->out;
    server_request_from(r, c->stream, c->door);
    r->started_us = c->head_began_us;
    buf_init(&r->body, size_max(c->server->limits.body_max, 1));
    c->request = r;
    return r;
}

static void refuse(struct conn *c, enum server_refusal why, enum h1_error error)
{
    const struct server_handler *h = &c->server->handler;
    struct request *r = c->request ? c->request : new_request(c);
    c->close_after = true;
    c->state = CONN_REPLYING;
    c->deadline_us = 0;
    h->on_refused(h->ctx, r, why, error);
}

static void complete(struct conn *c)
{
    const struct server_handler *h = &c->server->handler;
    c->state = CONN_REPLYING;
    c->deadline_us = 0;
    h->on_request(h->ctx, c->request);
}

static bool has_room(const struct conn *c, size_t n)
{
    return server_has_room(c->server, &c->request->body, n);
}

static bool append_body(struct conn *c, struct str data)
{
    if (buf_len(&c->request->body) + data.n > c->server->limits.body_max) {
        refuse(c, SERVER_BODY_TOO_LONG, H1_BODY_TOO_LONG);
        return false;
    }
    if (!has_room(c, data.n)) {
        refuse(c, SERVER_OVERLOADED, H1_OK);
        return false;
    }
    return buf_append(&c->request->body, data);
}

/* Body bytes from in; returns how many were used. The state tells whether the body goes on. */
static size_t take_sized(struct conn *c, struct str in)
{
    size_t n = size_min(in.n, (size_t)c->body_left);
    if (!append_body(c, str_head(in, n)))
        return n;
    c->body_left -= n;
    if (c->body_left == 0)
        complete(c);
    return n;
}

static size_t take_chunked(struct conn *c, struct str in)
{
    size_t used = 0;
    struct str data = STR_NONE;
    enum h1_result result = h1_chunked_next(&c->chunks, in, &used, &data);
    if (result == H1_BAD) {
        refuse(c, SERVER_BAD_MESSAGE, H1_BAD_CHUNK);
        return in.n;
    }
    if (data.n && !append_body(c, data))
        return used;
    if (result == H1_DONE)
        complete(c);
    return used;
}

static void expect_body(struct conn *c, const struct h1_head *head, bool more_is_here)
{
    c->state = CONN_BODY;
    c->is_chunked = head->framing == H1_CHUNKED;
    c->body_left = head->content_length;
    h1_chunked_init(&c->chunks);
    if (c->body_left <= BODY_AT_ONCE && !c->is_chunked)
        buf_expect(&c->request->body, (size_t)c->body_left); /* one piece of memory */
    c->body_began_us = clock_us();
    conn_set_deadline(c, c->server->limits.body_timeout_us);
    if (head->expect_continue && !more_is_here) { /* RFC 9110 section 10.1.1 */
        buf_lit(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
        loop_defer(c->server->loop, &c->work);
    }
}

static void begin_request(struct conn *c, const struct h1_head *head, bool more_is_here)
{
    const struct server_handler *h = &c->server->handler;
    struct request *r = new_request(c);
    c->has_begun = true;
    r->is_head = head->method == H1_HEAD;
    r->http10 = head->http10;
    /* Nothing serves other methods, and what follows a CONNECT need not be HTTP. */
    c->close_after = !head->keep_alive || c->server->draining || head->method == H1_OTHER;
    bool has_body =
        head->framing == H1_CHUNKED || (head->framing == H1_SIZED && head->content_length > 0);
    c->state = has_body ? CONN_BODY : CONN_REPLYING;
    c->deadline_us = 0;

    r->head = head;
    h->on_head(h->ctx, r);
    r->head = NULL;
    if (c->request != r)
        return; /* refused by the handler */
    if (!has_body)
        complete(c);
    else if (head->framing == H1_SIZED && head->content_length > c->server->limits.body_max)
        refuse(c, SERVER_BODY_TOO_LONG, H1_BODY_TOO_LONG);
    else if (!has_room(c, 0))
        refuse(c, SERVER_OVERLOADED, H1_OK);
    else
        expect_body(c, head, more_is_here);
}

/* Whether the first bytes are HTTP/2's, by prior knowledge. Over TLS it is ALPN that says so. */
static enum h2_preface is_h2(const struct conn *c, struct str in)
{
    if (!c->server->limits.h2.on || c->has_begun || stream_is_tls(c->stream))
        return H2_NOT;
    return h2_preface(in);
}

/* The stream goes on without this connection. */
static void become_h2(struct conn *c, struct str in)
{
    struct stream *s = c->stream;
    c->stream = NULL;
    conn_die(c);
    h2_begin(c->server, s, c->door, in);
}

static size_t take_head(struct conn *c, struct str in)
{
    static struct h1_head head;
    size_t used;
    enum h1_error error;
    enum h2_preface preface = is_h2(c, in);
    if (c->state == CONN_IDLE) {
        c->state = CONN_HEAD;
        c->scanned = 0;
        c->head_began_us = clock_us();
        conn_set_deadline(c, c->server->limits.head_timeout_us);
    }
    if (preface == H2_MAYBE)
        return 0;
    if (preface == H2_YES) {
        become_h2(c, in);
        return in.n;
    }
    switch (h1_parse_request(in, c->server->limits.head_max, &c->scanned, &head, &used, &error)) {
    case H1_MORE: return 0;
    case H1_BAD: refuse(c, SERVER_BAD_MESSAGE, error); return in.n;
    case H1_DONE: begin_request(c, &head, in.n > used); return used;
    }
    UNREACHABLE();
}

static bool wants_input(const struct conn *c)
{
    return c->state == CONN_IDLE || c->state == CONN_HEAD || c->state == CONN_BODY;
}

/* Between turns only who had too many reads in one of them. */
static bool reads_on(const struct conn *c)
{
    return c->readable && (wants_input(c) || c->state == CONN_LINGER);
}

/* Uses as much of in as the state allows; returns how much. */
static size_t feed(struct conn *c, struct str in)
{
    size_t done = 0;
    while (done < in.n && wants_input(c)) {
        struct str rest = str_skip(in, done);
        size_t used = c->state != CONN_BODY ? take_head(c, rest)
                      : c->is_chunked       ? take_chunked(c, rest)
                                            : take_sized(c, rest);
        if (used == 0)
            break;
        done += used;
    }
    return done;
}

/* --- reading -------------------------------------------------------------------------------- */

/* A short read leaves nothing behind in a plain socket: the next byte makes a new edge. */
static void note_read(struct conn *c, ssize_t n, size_t asked)
{
    if (n > 0 && (size_t)n < asked && !c->hup && !stream_is_tls(c->stream))
        c->readable = false;
    if (n == STREAM_AGAIN)
        c->readable = false;
}

static ssize_t read_some(struct conn *c, void *p, size_t n)
{
    ssize_t got = stream_read(c->stream, p, n);
    note_read(c, got, n);
    return got;
}

/* The rest of a large body goes where it will stay. */
static ssize_t read_body_in_place(struct conn *c)
{
    struct buf *body = &c->request->body;
    size_t want = size_min((size_t)c->body_left, size_max(buf_len(body), SCRATCH));
    if (!has_room(c, want)) {
        refuse(c, SERVER_OVERLOADED, H1_OK);
        return STREAM_AGAIN;
    }
    char *room = buf_reserve(body, want);
    ASSERT(room); /* body_left fits body_max */
    ssize_t n = read_some(c, room, want);
    if (n > 0) {
        buf_commit(body, (size_t)n);
        c->body_left -= (size_t)n;
        if (c->body_left == 0)
            complete(c);
    }
    return n;
}

static ssize_t read_kept(struct conn *c)
{
    char *room = buf_reserve(&c->in, SCRATCH / 16);
    if (!room) {
        refuse(c, SERVER_BAD_MESSAGE, H1_HEAD_TOO_LONG);
        return STREAM_AGAIN;
    }
    ssize_t n = read_some(c, room, SCRATCH / 16);
    if (n > 0) {
        buf_commit(&c->in, (size_t)n);
        buf_consume(&c->in, feed(c, buf_str(&c->in)));
    }
    return n;
}

static ssize_t read_fresh(struct conn *c)
{
    ssize_t n = read_some(c, scratch, SCRATCH);
    if (n > 0) {
        size_t used = feed(c, str_of(scratch, (size_t)n));
        bool keeps = c->state != CONN_DEAD && c->state != CONN_LINGER && !c->close_after;
        if (used < (size_t)n && (keeps || wants_input(c)))
            buf_append(&c->in, str_of(scratch + used, (size_t)n - used));
    }
    return n;
}

static ssize_t discard(struct conn *c)
{
    ssize_t n = read_some(c, scratch, SCRATCH);
    if (n > 0)
        c->lingered += (size_t)n;
    return c->lingered > LINGER_BYTES ? STREAM_EOF : n;
}

/* Gives the socket what it takes; false when it is broken. */
static bool write_out(struct conn *c)
{
    while (buf_len(&c->out) > 0) {
        struct str s = buf_str(&c->out);
        struct iovec iov = {.iov_base = (char *)(uintptr_t)s.p, .iov_len = s.n};
        ssize_t n = stream_writev(c->stream, &iov, 1);
        if (n < 0)
            return n == STREAM_AGAIN;
        buf_consume(&c->out, (size_t)n);
        c->progress_us = clock_us();
    }
    return true;
}

static void read_all(struct conn *c)
{
    for (int reads = 0; reads_on(c); reads++) {
        if (reads == READS_PER_TURN) {
            timer_set(c->server->loop, &c->timer, clock_us());
            return;
        }
        ssize_t n = c->state == CONN_LINGER ? discard(c)
                    : c->state == CONN_BODY && !c->is_chunked && buf_len(&c->in) == 0
                        ? read_body_in_place(c)
                    : buf_len(&c->in) > 0 ? read_kept(c)
                                          : read_fresh(c);
        if (c->state == CONN_DEAD)
            return;
        if (n == STREAM_EOF || n == STREAM_ERROR) {
            lose(c);
            return;
        }
    }
}

/* --- writing -------------------------------------------------------------------------------- */

/* Who drains while a reply is on its way cannot tell the client any more that it was the last: the
 * next request may already be coming, and is told then. */
static void after_reply(struct conn *c)
{
    c->state = CONN_IDLE;
    conn_set_deadline(c, c->server->draining ? RETIRE_US : c->server->limits.idle_timeout_us);
    link_is_idle(c->server, &c->link);
}

static void after_last_reply(struct conn *c)
{
    c->state = CONN_LINGER;
    conn_set_deadline(c, LINGER_US);
    /* RFC 9112 section 9.6: closing with input unread resets, and the client may lose the reply. */
    stream_end_write(c->stream);
    read_all(c);
}

static void after_flush(struct conn *c)
{
    if (buf_len(&c->out) > 0)
        return;
    if (c->out.cap > OUT_KEPT)
        buf_release(&c->out);
    if (c->state == CONN_REPLYING)
        c->deadline_us = 0;
    if (c->state == CONN_FLUSHING && c->close_after)
        after_last_reply(c);
    else if (c->state == CONN_FLUSHING)
        after_reply(c);
}

static void report_drained(struct conn *c)
{
    const struct server_handler *h = &c->server->handler;
    if (!c->above_mark || buf_len(&c->out) > SERVER_LOW_MARK)
        return;
    c->above_mark = false;
    if (c->request)
        h->on_drained(h->ctx, c->request);
}

static void flush(struct conn *c)
{
    if (!write_out(c)) {
        lose(c);
        return;
    }
    if (buf_len(&c->out) > 0 && c->deadline_us == 0)
        conn_set_deadline(c, c->server->limits.write_timeout_us);
    report_drained(c);
    after_flush(c);
}

/* The end of a turn in which something was queued or a reply ended. */
static void on_work(struct deferred *d)
{
    struct conn *c = CONTAINER_OF(d, struct conn, work);
    flush(c);
    if (c->state == CONN_IDLE && buf_len(&c->in) > 0) /* pipelined */
        buf_consume(&c->in, feed(c, buf_str(&c->in)));
    if (c->state != CONN_DEAD && buf_len(&c->in) == 0)
        buf_release(&c->in);
    if (c->state != CONN_DEAD)
        read_all(c);
    if (c->hup && c->state == CONN_REPLYING)
        lose(c); /* it was pipelined, and nobody waits for the answer */
}

/* --- events --------------------------------------------------------------------------------- */

static void on_ready(struct stream *s, void *ctx, unsigned events)
{
    (void)s;
    struct conn *c = ctx;
    if (events & (IO_READ | IO_HUP))
        c->readable = true;
    if (events & IO_HUP)
        c->hup = true;
    if (events & IO_WRITE && buf_len(&c->out) > 0)
        loop_defer(c->server->loop, &c->work);
    read_all(c);
    if (events & IO_HUP && c->state == CONN_REPLYING)
        lose(c);
}

static void on_write_stalled(struct conn *c)
{
    uint64_t until = c->progress_us + c->server->limits.write_timeout_us;
    c->deadline_us = 0;
    if (buf_len(&c->out) == 0)
        return;
    if (until <= clock_us())
        lose(c);
    else
        conn_set_deadline(c, until - clock_us());
}

static void on_body_late(struct conn *c)
{
    uint64_t due = server_body_due_us(c->server, c->body_began_us, &c->request->body);
    if (due > clock_us())
        conn_set_deadline(c, due - clock_us());
    else
        refuse(c, SERVER_SLOW_BODY, H1_OK);
}

static void on_timer(struct timer *t)
{
    struct conn *c = CONTAINER_OF(t, struct conn, timer);
    if (reads_on(c))
        loop_defer(c->server->loop, &c->work);
    if (c->deadline_us == 0)
        return;
    if (c->deadline_us > clock_us()) {
        timer_set(c->server->loop, t, c->deadline_us);
        return;
    }
    switch (c->state) {
    case CONN_IDLE: conn_die(c); return;
    case CONN_HEAD: refuse(c, SERVER_SLOW_HEAD, H1_OK); return;
    case CONN_BODY: on_body_late(c); return;
    case CONN_REPLYING:
    case CONN_FLUSHING: on_write_stalled(c); return;
    case CONN_LINGER: conn_die(c); return;
    case CONN_DEAD: break;
    }
    UNREACHABLE();
}

static const struct stream_owner owner = {.on_ready = on_ready, .name = "client"};

void h1_begin(struct server *s, struct stream *stream, const struct server_door *door)
{
    struct conn *c = mem_zalloc(sizeof(*c));
    c->server = s;
    buf_init(&c->in, size_max(s->limits.head_max, SCRATCH) + SCRATCH);
    buf_init(&c->out, OUT_MAX);
    timer_init(&c->timer, "client", on_timer);
    deferred_init(&c->work, on_work);
    link_begin(s, &c->link, &transport_h1);
    c->door = door;
    c->stream = stream;
    stream_set_owner(stream, &owner, c);
    conn_set_deadline(c, s->draining ? RETIRE_US : s->limits.idle_timeout_us);
}

bool conn_is_idle(struct link *link)
{
    const struct conn *c = CONTAINER_OF(link, struct conn, link);
    return c->state == CONN_IDLE || c->state == CONN_HEAD;
}

/* Its next reply says that the connection closes. A request may be here that nobody has looked at,
 * or on its way: closing now would break it off, and so would closing behind a reply that did not
 * say so. */
void conn_retire(struct link *link)
{
    struct conn *c = CONTAINER_OF(link, struct conn, link);
    if (c->state == CONN_IDLE)
        read_all(c);
    if (c->state == CONN_IDLE)
        conn_set_deadline(c, RETIRE_US);
}
