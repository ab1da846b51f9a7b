/* client_h1.c - a call over HTTP/1.1: it has a connection to itself; see client.h.
 *
 * Bytes are read into a scratch of the process and handed on in place. What is kept (c->in) is a
 * head that is not complete, and what was read when the call was paused.
 */
#include "http/pool_int.h"

enum {
    SCRATCH = 16 * 1024, /* what one read of an answer may bring beyond the mark of its client */
    IOV_MAX_USED = 32,
    READS_PER_TURN = 8,
};

static char scratch[SCRATCH];

/* --- the request ---------------------------------------------------------------------------- */

static int gather(const struct call *c, struct iovec iov[IOV_MAX_USED])
{
    int n = 0;
    size_t in_head = size_min(c->sent, c->head_len);
    if (in_head < c->head_len)
        iov[n++] = (struct iovec){.iov_base = c->head.data + c->head.start + in_head,
                                  .iov_len = c->head_len - in_head};
    if (c->body)
        n += rope_iov(c->body, c->sent - in_head, iov + n, IOV_MAX_USED - n);
    return n;
}

static void send_more(struct call *c)
{
    while (!call_sent(c)) {
        struct iovec iov[IOV_MAX_USED];
        ssize_t n = stream_writev(c->h1.conn->stream, iov, gather(c, iov));
        if (n == STREAM_AGAIN)
            return;
        if (n == STREAM_ERROR) {
            /* an answer may have come before the connection broke: see what can be read first */
            c->h1.readable = true;
            return;
        }
        c->sent += (size_t)n;
    }
    buf_done(&c->head);
    if (c->handler->on_sent)
        c->handler->on_sent(c->ctx);
}

/* --- the answer ----------------------------------------------------------------------------- */

/* The whole answer is in; extra: bytes behind it. The connection goes back before on_end, so that a
 * call made there can use it. */
static void complete(struct call *c, bool extra)
{
    struct pconn *conn = c->h1.conn;
    bool reusable =
        c->h1.keep_alive && call_sent(c) && !extra && !c->h1.hup && c->h1.framing != H1_UNTIL_CLOSE;
    /* What is unread would be taken for the next answer. TLS may hold some where no event tells. */
    if (reusable && c->h1.readable)
        reusable = pconn_is_quiet(conn);
    call_finish(c);
    if (reusable)
        pconn_give_back(conn);
    else
        pconn_close(conn);
    c->handler->on_end(c->ctx);
}

static void begin_body(struct call *c, const struct h1_head *head)
{
    c->state = BODY;
    c->h1.framing = head->framing;
    c->h1.keep_alive = head->keep_alive;
    c->h1.left = head->content_length;
    h1_chunked_init(&c->h1.chunks);
    c->handler->on_head(c->ctx, head);
}

static bool has_no_body(const struct call *c)
{
    return c->h1.framing == H1_NO_BODY || (c->h1.framing == H1_SIZED && c->h1.left == 0);
}

static size_t feed_head(struct call *c, struct str in)
{
    static struct h1_head head;
    size_t used;
    enum h1_error error;
    switch (h1_parse_response(in, c->pool->options.head_max, false, &c->h1.scanned, &head, &used,
                              &error)) {
    case H1_MORE: return 0;
    case H1_BAD: call_fail(c, CALL_BAD_ANSWER, "not an HTTP answer"); return in.n;
    case H1_DONE: break;
    }
    c->h1.scanned = 0;
    if (head.status < 200) {
        if (head.status == 101)
            call_fail(c, CALL_BAD_ANSWER, "switches protocols unasked");
        return used; /* RFC 9110 section 15.2: interim, the answer follows */
    }
    begin_body(c, &head);
    if (c->state == BODY && has_no_body(c))
        complete(c, in.n > used);
    return used;
}

static size_t feed_sized(struct call *c, struct str in)
{
    size_t n = size_min(in.n, (size_t)c->h1.left);
    c->h1.left -= n;
    c->handler->on_body(c->ctx, str_head(in, n));
    if (c->state == BODY && c->h1.left == 0)
        complete(c, in.n > n);
    return n;
}

static size_t feed_chunked(struct call *c, struct str in)
{
    size_t used = 0;
    struct str data = STR_NONE;
    enum h1_result result = h1_chunked_next(&c->h1.chunks, in, &used, &data);
    if (result == H1_BAD) {
        call_fail(c, CALL_BAD_ANSWER, "broken chunk");
        return in.n;
    }
    if (data.n)
        c->handler->on_body(c->ctx, data);
    if (c->state == BODY && result == H1_DONE)
        complete(c, in.n > used);
    return used;
}

static size_t feed_body(struct call *c, struct str in)
{
    if (c->h1.framing == H1_SIZED)
        return feed_sized(c, in);
    if (c->h1.framing == H1_CHUNKED)
        return feed_chunked(c, in);
    c->handler->on_body(c->ctx, in);
    return in.n;
}

/* Uses what it can of in; returns how much. Stops when the call ends or is paused. */
static size_t feed(struct call *c, struct str in)
{
    size_t done = 0;
    c->answered = true;
    while (done < in.n && (c->state == HEAD || c->state == BODY) && !c->paused) {
        struct str rest = str_skip(in, done);
        size_t used = c->state == HEAD ? feed_head(c, rest) : feed_body(c, rest);
        if (used == 0)
            break;
        done += used;
    }
    return done;
}

static void feed_kept(struct call *c)
{
    size_t used = feed(c, buf_str(&c->in));
    if (c->state == OVER)
        return;
    buf_consume(&c->in, used);
    if (buf_len(&c->in) == 0)
        buf_release(&c->in);
}

static void keep(struct call *c, struct str rest)
{
    if (call_is_open(c) && rest.n && !buf_append(&c->in, rest))
        call_fail(c, CALL_BAD_ANSWER, "too long a head");
}

static void on_eof(struct call *c)
{
    if (c->state == BODY && c->h1.framing == H1_UNTIL_CLOSE)
        complete(c, false);
    else
        call_broken(c, "closed by the upstream");
}

static void read_answer(struct call *c)
{
    if (call_is_open(c) && !c->paused && c->state == BODY && buf_len(&c->in) > 0)
        feed_kept(c);
    for (int reads = 0; call_is_open(c) && c->h1.readable && !c->paused; reads++) {
        if (reads == READS_PER_TURN) {
            loop_defer(c->pool->loop, &c->work); /* the others' turn */
            return;
        }
        ssize_t n = stream_read(c->h1.conn->stream, scratch, SCRATCH);
        bool drained = n == STREAM_AGAIN ||
                       (n > 0 && n < SCRATCH && !c->h1.hup && !stream_is_tls(c->h1.conn->stream));
        if (drained)
            c->h1.readable = false;
        if (n == STREAM_AGAIN)
            return;
        if (n == STREAM_EOF) {
            on_eof(c);
        } else if (n == STREAM_ERROR) {
            call_broken(c, stream_error_text(c->h1.conn->stream));
        } else if (buf_len(&c->in) > 0) {
            keep(c, str_of(scratch, (size_t)n));
            if (call_is_open(c))
                feed_kept(c);
        } else {
            size_t used = feed(c, str_of(scratch, (size_t)n));
            keep(c, str_of(scratch + used, (size_t)n - used));
        }
    }
}

/* --- the pool's side ------------------------------------------------------------------------ */

static void drop(struct call *c)
{
    pconn_close(c->h1.conn);
}

static const struct call_transport transport = {.go_on = read_answer, .drop = drop};

void call_take_h1(struct list *waiting_node, struct pconn *conn)
{
    struct call *c = CONTAINER_OF(waiting_node, struct call, waiting);
    conn->call = c;
    c->h1.conn = conn;
    c->transport = &transport;
    c->state = HEAD;
    send_more(c);
    if (call_is_open(c) && c->h1.readable)
        read_answer(c);
}

void call_ready(struct call *c, unsigned events)
{
    if (events & (IO_READ | IO_HUP))
        c->h1.readable = true;
    if (events & IO_HUP)
        c->h1.hup = true;
    if (events & IO_WRITE && !call_sent(c))
        send_more(c);
    if (call_is_open(c))
        read_answer(c);
}
