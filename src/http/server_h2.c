/* server_h2.c - one client connection that speaks HTTP/2, by nghttp2.
 *
 *   OPEN --> LINGER --> DEAD        LINGER: a last GOAWAY is said, by us or because of us; what
 *     \___________________^         still comes is thrown away, so that it reaches the client
 *
 * It begins as one of HTTP/1.1, which knows the preface by its first bytes; ALPN may say so before.
 * Bytes are read into a scratch of the process, walked and counted frame by frame (h2_guard_*), and
 * only then given to nghttp2. Output gathers in c->out, no more of it than is worth one write, and
 * goes to the socket at the end of the turn (c->work). nghttp2 is told neither to open windows nor
 * to end connections by itself.
 *
 * Draining says GOAWAY twice (RFC 9113 section 6.8): first with the highest id there is, then, when
 * the client has answered a PING or a second is over, with the last that was taken.
 *
 * Time: deadlines of the connection and of its streams share one timer, which is set to the nearest
 * that was asked for and looks for the next one when it fires.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "http/server_h2_int.h"

enum {
    SCRATCH = 64 * 1024,
    READS_PER_TURN = 4,
    PIECE = 4 * 1024, /* is read at once while requests come; of bodies as much as there is */
    OUT_MAX = 4 * H2_OUT_ENOUGH,
    OUT_KEPT = 512, /* an empty output buffer up to this size is kept */
    LINGER_BYTES = 64 * 1024,
    LINGER_US = 2 * 1000 * 1000,
    LEAVE_US = 1000 * 1000, /* between the two GOAWAYs, without an answer to PING */
    CROSSING_US = 10 * 1000 * 1000,
};

static char scratch[SCRATCH];

static struct h2_conn *conn_of(struct link *link)
{
    return CONTAINER_OF(link, struct h2_conn, link);
}

void h2_watch(struct h2_conn *c, uint64_t at_us)
{
    if (!timer_is_set(&c->timer) || c->timer.node.key > at_us)
        timer_set(c->server->loop, &c->timer, at_us);
}

void h2_touch(struct h2_conn *c)
{
    if (c->state != H2_DEAD)
        loop_defer(c->server->loop, &c->work);
}

/* --- the end -------------------------------------------------------------------------------- */

static void free_conn(struct deferred *d)
{
    struct h2_conn *c = CONTAINER_OF(d, struct h2_conn, funeral);
    nghttp2_session_del(c->ng);
    buf_done(&c->out);
    mem_free(c);
}

/* on_gone for what is open. Not from within nghttp2. */
static void lose(struct h2_conn *c)
{
    const struct server_handler *h = &c->server->handler;
    ASSERT(c->state != H2_DEAD);
    c->state = H2_DEAD;
    if (c->guard.glitches > 0 && h->on_glitches)
        h->on_glitches(h->ctx, c->guard.glitches);
    stream_close(&c->stream);
    timer_stop(c->server->loop, &c->timer);
    deferred_cancel(&c->work);
    link_end(c->server, &c->link);
    h2_drop_head(c);
    h2_lose_streams(c);
    deferred_init(&c->funeral, free_conn);
    loop_defer(c->server->loop, &c->funeral);
}

/* Nothing is read any more; what is queued, a GOAWAY last, still goes out. */
static void end(struct h2_conn *c)
{
    c->state = H2_LINGER;
    c->lingered = 0;
    h2_drop_head(c);
    h2_lose_streams(c);
    c->idle_since_us = clock_us();
    h2_watch(c, c->idle_since_us + LINGER_US);
    h2_touch(c);
}

void h2_send_away(struct h2_conn *c, enum server_flood why)
{
    if (c->flood == FLOOD_NONE)
        c->flood = why;
    h2_touch(c);
}

static void punish(struct h2_conn *c)
{
    const struct server_handler *h = &c->server->handler;
    if (h->on_flood)
        h->on_flood(h->ctx, stream_peer(c->stream), c->flood);
    (void)nghttp2_session_terminate_session(
        c->ng, c->flood == FLOOD_CLOSED ? NGHTTP2_STREAM_CLOSED : NGHTTP2_ENHANCE_YOUR_CALM);
    end(c);
}

/* --- reading -------------------------------------------------------------------------------- */

/* RFC 9113 section 5.1: a stream is over when both sides have ended it. Nothing of its request may
 * come then, unless we have reset it and that crossed with the frame; nghttp2 remembers neither. */
static bool is_stray(struct h2_conn *c, const struct h2_frame *f)
{
    int32_t id = (int32_t)f->stream;
    bool crossed = c->reset_at_us && clock_us() < c->reset_at_us + CROSSING_US;
    if (f->type != H2_HEADERS && f->type != H2_DATA)
        return false;
    if (id > c->last_id) {
        c->last_id = f->type == H2_HEADERS ? id : c->last_id;
        return false;
    }
    return id > 0 && !crossed && !c->has_left && !nghttp2_session_find_stream(c->ng, id);
}

static void give(struct h2_conn *c, struct str in)
{
    ssize_t used = nghttp2_session_mem_recv(c->ng, (const uint8_t *)in.p, in.n);
    if (used == NGHTTP2_ERR_BAD_CLIENT_MAGIC) /* over TLS: else it would be HTTP/1.1 */
        (void)nghttp2_session_terminate_session(c->ng, NGHTTP2_PROTOCOL_ERROR);
    else if (used < 0 && c->flood == FLOOD_NONE)
        c->flood = FLOOD_GLITCHES; /* so broken that nghttp2 gives up */
}

/* Each frame is judged when those before it have been read, and before it is. */
static void feed(struct h2_conn *c, struct str in)
{
    struct h2_frame frame;
    size_t at = 0, given = 0;
    for (;;) {
        bool found = h2_walk_next(&c->walk, in, &at, &frame);
        size_t end = found ? at - 1 : in.n; /* a head is nothing to nghttp2 before its last byte */
        give(c, str_of(in.p + given, end - given));
        given = end;
        if (found && c->flood == FLOOD_NONE)
            c->flood = is_stray(c, &frame) ? FLOOD_CLOSED
                                           : h2_guard_frame(&c->guard, &c->server->limits, &frame);
        if (!found || c->flood != FLOOD_NONE)
            break;
    }
    h2_touch(c);
}

static ssize_t read_some(struct h2_conn *c)
{
    ssize_t n = stream_read(c->stream, scratch, c->piece);
    bool is_all = n > 0 && (size_t)n < c->piece;
    if (n == STREAM_AGAIN || (is_all && !c->hup && !stream_is_tls(c->stream)))
        c->readable = false; /* the next byte makes a new edge */
    return n;
}

/* A request costs far more than its bytes: those of one client may not keep the others waiting. Less
 * than a piece is what there was, or over TLS most of it. */
static bool has_had_its_turn(struct h2_conn *c, int reads, uint64_t streams, ssize_t last)
{
    bool asks = c->guard.streams > streams, was_full = last == (ssize_t)c->piece;
    if (reads > 0)
        c->piece = asks ? PIECE : SCRATCH;
    return reads == READS_PER_TURN || (asks && was_full);
}

/* False when the connection is gone. */
static bool read_frames(struct h2_conn *c)
{
    uint64_t streams = c->guard.streams;
    ssize_t n = 0;
    for (int reads = 0; c->readable && (c->flood == FLOOD_NONE || c->state == H2_LINGER); reads++) {
        if (has_had_its_turn(c, reads, streams, n)) {
            h2_watch(c, clock_us()); /* behind the others' events, which a deferred call is not */
            return true;
        }
        n = read_some(c);
        if (n == STREAM_EOF || n == STREAM_ERROR) {
            lose(c);
            return false;
        }
        if (n > 0 && c->state == H2_LINGER)
            c->lingered += (size_t)n;
        else if (n > 0)
            feed(c, str_of(scratch, (size_t)n));
        if (c->lingered > LINGER_BYTES) {
            lose(c);
            return false;
        }
    }
    return true;
}

/* --- writing -------------------------------------------------------------------------------- */

/* Lets nghttp2 say what it has to, as far as it is worth a write. False when it cannot go on. */
static bool gather(struct h2_conn *c)
{
    while (buf_len(&c->out) < H2_OUT_ENOUGH) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(c->ng, &data);
        if (n == 0)
            return true;
        if (n < 0 || !buf_append(&c->out, str_of((const char *)data, (size_t)n)))
            return false;
    }
    return true;
}

/* Bytes that the socket took, STREAM_AGAIN or STREAM_ERROR. */
static ssize_t write_some(struct h2_conn *c)
{
    struct str s = buf_str(&c->out);
    struct iovec iov = {.iov_base = (char *)(uintptr_t)s.p, .iov_len = s.n};
    ssize_t n = stream_writev(c->stream, &iov, 1);
    if (n > 0) {
        buf_consume(&c->out, (size_t)n);
        c->progress_us = clock_us();
    }
    return n;
}

/* False when the connection is gone. */
static bool flush(struct h2_conn *c)
{
    for (;;) {
        bool was_empty = buf_len(&c->out) == 0;
        if (!gather(c)) {
            lose(c);
            return false;
        }
        if (was_empty)
            c->progress_us = clock_us();
        if (buf_len(&c->out) == 0)
            break;
        ssize_t n = write_some(c);
        if (n == STREAM_AGAIN) {
            h2_watch(c, c->progress_us + c->server->limits.write_timeout_us);
            return true;
        }
        if (n < 0) {
            lose(c);
            return false;
        }
    }
    if (c->out.cap > OUT_KEPT)
        buf_release(&c->out);
    return true;
}

/* All that there was to say is out: either side has said GOAWAY, and no stream is open. */
static void end_if_done(struct h2_conn *c)
{
    bool is_done = !nghttp2_session_want_read(c->ng) && !nghttp2_session_want_write(c->ng);
    if (buf_len(&c->out) > 0 || (c->state == H2_OPEN && !is_done))
        return;
    if (c->state == H2_OPEN)
        end(c);
    /* Closing with input unread resets, and the client may lose the GOAWAY. */
    stream_end_write(c->stream);
}

/* The end of a turn in which something came or is to be written. */
static void on_work(struct deferred *d)
{
    struct h2_conn *c = CONTAINER_OF(d, struct h2_conn, work);
    if (!read_frames(c))
        return;
    if (c->flood != FLOOD_NONE && c->state == H2_OPEN)
        punish(c);
    if (c->state == H2_OPEN)
        h2_hand_over(c);
    if (!flush(c))
        return;
    h2_report_drained(c);
    if (c->flood != FLOOD_NONE && c->state == H2_OPEN)
        h2_touch(c); /* it was in what we had to send */
    end_if_done(c);
}

/* --- events --------------------------------------------------------------------------------- */

static void on_ready(struct stream *s, void *ctx, unsigned events)
{
    (void)s;
    struct h2_conn *c = ctx;
    if (events & (IO_READ | IO_HUP))
        c->readable = true;
    if (events & IO_HUP)
        c->hup = true;
    if (c->readable || buf_len(&c->out) > 0)
        h2_touch(c);
}

static const struct stream_owner owner = {.on_ready = on_ready, .name = "client h2"};

static void leave(struct h2_conn *c)
{
    int32_t last = nghttp2_session_get_last_proc_stream_id(c->ng);
    c->leave_at_us = 0;
    c->has_left = true;
    (void)nghttp2_submit_goaway(c->ng, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
    h2_touch(c);
}

static uint64_t nearest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The next deadline of the connection itself. */
static uint64_t due_us(const struct h2_conn *c)
{
    const struct server_limits *l = &c->server->limits;
    uint64_t due = UINT64_MAX;
    if (c->head_began_us)
        due = nearest(due, c->head_began_us + l->head_timeout_us);
    if (c->leave_at_us)
        due = nearest(due, c->leave_at_us);
    if (buf_len(&c->out) > 0)
        due = nearest(due, c->progress_us + l->write_timeout_us);
    if (list_empty(&c->streams))
        due = nearest(due, c->idle_since_us + l->idle_timeout_us);
    return due;
}

/* Acts on what of the connection is late. False when it is gone. */
static bool meet_deadlines(struct h2_conn *c)
{
    const struct server_limits *l = &c->server->limits;
    uint64_t now_us = clock_us();
    bool is_stalled = buf_len(&c->out) > 0 && c->progress_us + l->write_timeout_us <= now_us;
    if (is_stalled || (c->state == H2_LINGER && c->idle_since_us + LINGER_US <= now_us)) {
        lose(c);
        return false;
    }
    if (c->leave_at_us && c->leave_at_us <= now_us)
        leave(c);
    if (c->head_began_us && c->head_began_us + l->head_timeout_us <= now_us) {
        c->head_began_us = 0;
        h2_send_away(c, FLOOD_SLOW_HEAD);
    }
    if (c->state == H2_OPEN && list_empty(&c->streams) &&
        c->idle_since_us + l->idle_timeout_us <= now_us) {
        (void)nghttp2_session_terminate_session(c->ng, NGHTTP2_NO_ERROR);
        end(c);
    }
    return true;
}

/* Acts on what of a stream is late; returns when the next one will be. */
static uint64_t meet_streams(struct h2_conn *c)
{
    uint64_t due = UINT64_MAX;
    list_each (node, &c->streams) {
        struct h2_stream *s = CONTAINER_OF(node, struct h2_stream, node);
        if (h2_stream_due_us(s) <= clock_us())
            h2_stream_late(s);
        due = nearest(due, h2_stream_due_us(s));
    }
    return due;
}

static void on_timer(struct timer *t)
{
    struct h2_conn *c = CONTAINER_OF(t, struct h2_conn, timer);
    if (c->readable)
        h2_touch(c); /* it waited for its turn */
    if (!meet_deadlines(c))
        return;
    uint64_t due = nearest(meet_streams(c), due_us(c));
    if (c->state == H2_LINGER)
        due = nearest(due, c->idle_since_us + LINGER_US);
    if (due != UINT64_MAX)
        timer_set(c->server->loop, t, size_max(due, clock_us()));
}

/* --- the server's ---------------------------------------------------------------------------- */

static bool is_idle(struct link *link)
{
    return list_empty(&conn_of(link)->streams);
}

/* A client that is told so knows that what it sends meanwhile was not taken. */
static void kill_conn(struct link *link)
{
    struct h2_conn *c = conn_of(link);
    (void)nghttp2_session_terminate_session(c->ng, NGHTTP2_NO_ERROR);
    if (gather(c) && buf_len(&c->out) > 0)
        (void)write_some(c);
    lose(c);
}

static void retire(struct link *link)
{
    struct h2_conn *c = conn_of(link);
    if (c->state != H2_OPEN)
        return;
    (void)nghttp2_submit_shutdown_notice(c->ng);
    (void)nghttp2_submit_ping(c->ng, NGHTTP2_FLAG_NONE, NULL);
    c->leave_at_us = clock_us() + LEAVE_US;
    h2_watch(c, c->leave_at_us);
    h2_touch(c);
}

/* Only HTTP/1.1 can be misbehaved with, byte by byte. */
static struct stream *hijack(struct request *r)
{
    (void)r;
    UNREACHABLE();
}

const struct transport transport_h2 = {
    .protocol = STR_INIT("HTTP/2"),
    .is_idle = is_idle,
    .kill = kill_conn,
    .retire = retire,
    .head_end = h2_reply_head,
    .body_begin = h2_reply_body_begin,
    .body_end = h2_reply_body_end,
    .end = h2_reply_end,
    .abort = h2_reply_abort,
    .hijack = hijack,
};

static void *ng_alloc(size_t n, void *ctx)
{
    (void)ctx;
    return mem_alloc(size_max(n, 1));
}

static void ng_free(void *p, void *ctx)
{
    (void)ctx;
    mem_free(p);
}

static void *ng_calloc(size_t n, size_t size, void *ctx)
{
    (void)ctx;
    ASSERT(size == 0 || n <= SIZE_MAX / size);
    return mem_zalloc(size_max(n * size, 1));
}

static void *ng_realloc(void *p, size_t n, void *ctx)
{
    (void)ctx;
    return mem_realloc(p, size_max(n, 1));
}

static nghttp2_session *new_ng(struct h2_conn *c)
{
    static nghttp2_mem mem = {NULL, ng_alloc, ng_free, ng_calloc, ng_realloc};
    const struct h2_limits *l = &c->server->limits.h2;
    nghttp2_session_callbacks *on;
    nghttp2_option *option;
    nghttp2_session *ng;
    bool ok = nghttp2_session_callbacks_new(&on) == 0 && nghttp2_option_new(&option) == 0;
    ASSERT(ok);
    h2_set_callbacks(on);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_deflate_dynamic_table_size(option, l->table);
    /* The guard comes first; nghttp2 counts a frame again for each piece in which its head comes. */
    nghttp2_option_set_max_outbound_ack(option, l->controls + 1);
    nghttp2_option_set_max_continuations(option, (l->continuations + 1) * (H2_FRAME_HEAD + 1));
    ok = nghttp2_session_server_new3(&ng, on, c, option, &mem) == 0;
    ASSERT(ok);
    nghttp2_session_callbacks_del(on);
    nghttp2_option_del(option);
    return ng;
}

static void say_settings(struct h2_conn *c)
{
    const struct server_limits *l = &c->server->limits;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, l->h2.table},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, l->h2.streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, l->h2.stream_window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)l->head_max},
    };
    (void)nghttp2_submit_settings(c->ng, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
    (void)nghttp2_session_set_local_window_size(c->ng, NGHTTP2_FLAG_NONE, 0, (int32_t)l->h2.window);
}

void h2_begin(struct server *s, struct stream *stream, const struct server_door *door,
              struct str bytes)
{
    struct h2_conn *c = mem_zalloc(sizeof(*c));
    c->server = s;
    c->stream = stream;
    c->door = door;
    c->ng = new_ng(c);
    list_init(&c->streams);
    list_init(&c->ready);
    list_init(&c->ripe);
    list_init(&c->full);
    h2_walk_init(&c->walk);
    buf_init(&c->out, OUT_MAX);
    timer_init(&c->timer, "client h2", on_timer);
    deferred_init(&c->work, on_work);
    link_begin(s, &c->link, &transport_h2);
    stream_set_owner(stream, &owner, c);
    c->readable = true;
    c->piece = PIECE;
    c->idle_since_us = c->progress_us = clock_us();
    h2_watch(c, c->idle_since_us + s->limits.idle_timeout_us);
    say_settings(c);
    if (s->draining)
        retire(&c->link);
    feed(c, bytes);
}
