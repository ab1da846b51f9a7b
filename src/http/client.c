/* client.c - one call: a request out, an answer in; see client.h.
 *
 *   STARTING --> WAITING (for a connection) --> HEAD (sending, awaiting one) --> BODY --> OVER
 *
 * Bytes are read into a scratch of the process and handed on in place. What is kept (c->in) is a
 * head that is not complete, and what was read when the call was paused.
 */
#include "http/pool_int.h"

#include "base/mem.h"

enum { SCRATCH = 64 * 1024, IOV_MAX_USED = 32, READS_PER_TURN = 4 };

struct call {
    struct pool *pool;
    struct list waiting; /* pool->waiting, in WAITING */

    enum { STARTING, WAITING, HEAD, BODY, OVER } state;
    struct pconn *conn; /* in HEAD and BODY */
    const struct call_handler *handler;
    void *ctx;

    struct buf head; /* of the request */
    size_t head_len;
    const struct rope *body;
    size_t sent, total;

    struct buf in;
    size_t scanned;
    bool answered; /* a byte of the answer has come */
    bool readable, hup, paused;
    bool keep_alive;
    enum h1_framing framing;
    uint64_t left;
    struct h1_chunked chunks;
    struct deferred work, funeral;
};

static char scratch[SCRATCH];

static void bury(struct deferred *d)
{
    struct call *c = CONTAINER_OF(d, struct call, funeral);
    buf_done(&c->head);
    buf_done(&c->in);
    mem_free(c);
}

static void finish(struct call *c)
{
    c->state = OVER;
    c->conn = NULL;
    deferred_cancel(&c->work);
    deferred_init(&c->funeral, bury);
    loop_defer(c->pool->loop, &c->funeral);
}

static void fail(struct call *c, enum call_failure why, const char *error)
{
    if (c->conn)
        pconn_close(c->conn);
    finish(c);
    c->handler->on_fail(c->ctx, why, error);
}

bool call_sent(const struct call *c)
{
    return c->sent == c->total;
}

/* The connection is gone. What that means depends on how far things had got. */
static void broken(struct call *c, const char *error)
{
    if (c->state == BODY)
        fail(c, CALL_CUT, error);
    else if (!c->answered && !call_sent(c))
        fail(c, CALL_UNSENT, error);
    else
        fail(c, CALL_BROKEN, error);
}

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
        ssize_t n = stream_writev(c->conn->stream, iov, gather(c, iov));
        if (n == STREAM_AGAIN)
            return;
        if (n == STREAM_ERROR) {
            /* an answer may have come before the connection broke: see what can be read first */
            c->readable = true;
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
    struct pconn *conn = c->conn;
    bool reusable =
        c->keep_alive && call_sent(c) && !extra && !c->hup && c->framing != H1_UNTIL_CLOSE;
    /* What is unread would be taken for the next answer. TLS may hold some where no event tells. */
    if (reusable && c->readable)
        reusable = pconn_is_quiet(conn);
    finish(c);
    if (reusable)
        pconn_give_back(conn);
    else
        pconn_close(conn);
    c->handler->on_end(c->ctx);
}

static void begin_body(struct call *c, const struct h1_head *head)
{
    c->state = BODY;
    c->framing = head->framing;
    c->keep_alive = head->keep_alive;
    c->left = head->content_length;
    h1_chunked_init(&c->chunks);
    c->handler->on_head(c->ctx, head);
}

static bool has_no_body(const struct call *c)
{
    return c->framing == H1_NO_BODY || (c->framing == H1_SIZED && c->left == 0);
}

static size_t feed_head(struct call *c, struct str in)
{
    static struct h1_head head;
    size_t used;
    enum h1_error error;
    switch (h1_parse_response(in, c->pool->options.head_max, false, &c->scanned, &head, &used,
                              &error)) {
    case H1_MORE: return 0;
    case H1_BAD: fail(c, CALL_BAD_ANSWER, "not an HTTP answer"); return in.n;
    case H1_DONE: break;
    }
    c->scanned = 0;
    if (head.status < 200) {
        if (head.status == 101)
            fail(c, CALL_BAD_ANSWER, "switches protocols unasked");
        return used; /* RFC 9110 section 15.2: interim, the answer follows */
    }
    begin_body(c, &head);
    if (c->state == BODY && has_no_body(c))
        complete(c, in.n > used);
    return used;
}

static size_t feed_sized(struct call *c, struct str in)
{
    size_t n = size_min(in.n, (size_t)c->left);
    c->left -= n;
    c->handler->on_body(c->ctx, str_head(in, n));
    if (c->state == BODY && c->left == 0)
        complete(c, in.n > n);
    return n;
}

static size_t feed_chunked(struct call *c, struct str in)
{
    size_t used = 0;
    struct str data = STR_NONE;
    enum h1_result result = h1_chunked_next(&c->chunks, in, &used, &data);
    if (result == H1_BAD) {
        fail(c, CALL_BAD_ANSWER, "broken chunk");
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
    if (c->framing == H1_SIZED)
        return feed_sized(c, in);
    if (c->framing == H1_CHUNKED)
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

static bool is_open(const struct call *c)
{
    return c->state == HEAD || c->state == BODY;
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
    if (is_open(c) && rest.n && !buf_append(&c->in, rest))
        fail(c, CALL_BAD_ANSWER, "too long a head");
}

static void on_eof(struct call *c)
{
    if (c->state == BODY && c->framing == H1_UNTIL_CLOSE)
        complete(c, false);
    else
        broken(c, "closed by the upstream");
}

static void read_answer(struct call *c)
{
    if (is_open(c) && !c->paused && c->state == BODY && buf_len(&c->in) > 0)
        feed_kept(c);
    for (int reads = 0; is_open(c) && c->readable && !c->paused; reads++) {
        if (reads == READS_PER_TURN) {
            loop_defer(c->pool->loop, &c->work); /* the others' turn */
            return;
        }
        ssize_t n = stream_read(c->conn->stream, scratch, SCRATCH);
        bool drained = n == STREAM_AGAIN ||
                       (n > 0 && n < SCRATCH && !c->hup && !stream_is_tls(c->conn->stream));
        if (drained)
            c->readable = false;
        if (n == STREAM_AGAIN)
            return;
        if (n == STREAM_EOF) {
            on_eof(c);
        } else if (n == STREAM_ERROR) {
            broken(c, stream_error_text(c->conn->stream));
        } else if (buf_len(&c->in) > 0) {
            keep(c, str_of(scratch, (size_t)n));
            if (is_open(c))
                feed_kept(c);
        } else {
            size_t used = feed(c, str_of(scratch, (size_t)n));
            keep(c, str_of(scratch + used, (size_t)n - used));
        }
    }
}

/* --- the pool's side ------------------------------------------------------------------------ */

void call_take(struct list *waiting_node, struct pconn *conn)
{
    struct call *c = CONTAINER_OF(waiting_node, struct call, waiting);
    conn->call = c;
    c->conn = conn;
    c->state = HEAD;
    send_more(c);
    if (is_open(c) && c->readable)
        read_answer(c);
}

void call_no_connection(struct list *waiting_node, const char *error)
{
    fail(CONTAINER_OF(waiting_node, struct call, waiting), CALL_CONNECT_FAILED, error);
}

void call_ready(struct call *c, unsigned events)
{
    if (events & (IO_READ | IO_HUP))
        c->readable = true;
    if (events & IO_HUP)
        c->hup = true;
    if (events & IO_WRITE && !call_sent(c))
        send_more(c);
    if (is_open(c))
        read_answer(c);
}

/* --- the caller's side ---------------------------------------------------------------------- */

static void on_work(struct deferred *d)
{
    struct call *c = CONTAINER_OF(d, struct call, work);
    if (c->state == STARTING) {
        c->state = WAITING;
        pool_want(c->pool, &c->waiting);
    } else if (is_open(c)) {
        read_answer(c);
    }
}

struct call *call_start(struct pool *p, struct str head, const struct rope *body,
                        const struct call_handler *handler, void *ctx)
{
    struct call *c = mem_zalloc(sizeof(*c));
    c->pool = p;
    c->handler = handler;
    c->ctx = ctx;
    list_init(&c->waiting);
    buf_init(&c->head, size_max(head.n, 1));
    bool fits = buf_append(&c->head, head);
    ASSERT(fits);
    c->head_len = head.n;
    c->body = body;
    c->total = head.n + (body ? rope_len(body) : 0);
    buf_init(&c->in, p->options.head_max + SCRATCH);
    deferred_init(&c->work, on_work);
    loop_defer(p->loop, &c->work);
    return c;
}

void call_cancel(struct call *c)
{
    if (c->state == OVER)
        return;
    if (c->state == WAITING)
        pool_unwant(c->pool, &c->waiting);
    if (c->conn)
        pconn_close(c->conn);
    finish(c);
}

void call_pause(struct call *c)
{
    c->paused = true;
}

void call_resume(struct call *c)
{
    c->paused = false;
    loop_defer(c->pool->loop, &c->work);
}
