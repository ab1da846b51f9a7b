/* server_h2_request.c - the streams of one HTTP/2 connection: from a head to the end of a request.
 *
 *   head --> h2_parse_head --> on_head --> body --> on_request
 *
 * A whole request is handed over when all that came with it has been read, or at least the next piece
 * of that: a stream that is reset at once costs no call. A reply that is over while its request still comes
 * lets it come for a little, and then resets the stream without blame (RFC 9113 section 8.1).
 *
 * Windows open as a body is taken.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "http/server_h2_int.h"

enum {
    BODY_AT_ONCE = 16 * 1024,
    LINGER_BYTES = 64 * 1024,
    LINGER_US = 2 * 1000 * 1000,
    OUT_MAX = 64 * 1024 * 1024,
};

void h2_reset(struct h2_stream *s, uint32_t code)
{
    s->is_broken = true;
    s->linger_until_us = 0;
    buf_clear(&s->out);
    (void)nghttp2_submit_rst_stream(s->conn->ng, NGHTTP2_FLAG_NONE, s->id, code);
    h2_touch(s->conn);
}

/* --- the end of a request ------------------------------------------------------------------- */

void h2_end_request(struct h2_stream *s)
{
    s->request.reply = REPLY_OVER;
    s->body_began_us = 0;
    list_remove(&s->ready);
    list_remove(&s->full);
    buf_done(&s->request.body);
}

static void lose(struct h2_stream *s)
{
    const struct server_handler *h = &s->conn->server->handler;
    if (h2_is_over(s))
        return;
    h2_end_request(s);
    h->on_gone(h->ctx, &s->request);
}

static void free_stream(struct deferred *d)
{
    struct h2_stream *s = CONTAINER_OF(d, struct h2_stream, funeral);
    buf_done(&s->out);
    mem_free(s);
}

static void bury(struct h2_stream *s)
{
    struct h2_conn *c = s->conn;
    lose(s);
    list_remove(&s->node);
    if (list_empty(&c->streams) && c->state != H2_DEAD) {
        c->idle_since_us = clock_us();
        h2_watch(c, c->idle_since_us + c->server->limits.idle_timeout_us);
        link_is_idle(c->server, &c->link);
    }
    deferred_init(&s->funeral, free_stream);
    loop_defer(c->server->loop, &s->funeral);
}

void h2_lose_streams(struct h2_conn *c)
{
    while (!list_empty(&c->streams)) {
        struct h2_stream *s = CONTAINER_OF(c->streams.next, struct h2_stream, node);
        (void)nghttp2_session_set_stream_user_data(c->ng, s->id, NULL); /* it may have it still */
        bury(s);
    }
}

/* --- requests ------------------------------------------------------------------------------- */

static struct h2_stream *new_stream(struct h2_conn *c, int32_t id)
{
    struct h2_stream *s = mem_zalloc(sizeof(*s));
    s->conn = c;
    s->id = id;
    s->request.transport = &transport_h2;
    server_request_from(&s->request, c->stream, c->door);
    s->request.started_us = c->head_began_us;
    s->request.out = &s->out;
    buf_init(&s->request.body, size_max(c->server->limits.body_max, 1));
    buf_init(&s->out, OUT_MAX);
    list_init(&s->ready);
    list_init(&s->full);
    list_push(&c->streams, &s->node);
    (void)nghttp2_session_set_stream_user_data(c->ng, id, s);
    return s;
}

/* What follows of the body is thrown away. */
static void refuse(struct h2_stream *s, enum server_refusal why, enum h1_error error)
{
    const struct server_handler *h = &s->conn->server->handler;
    s->body_began_us = 0;
    h->on_refused(h->ctx, &s->request, why, error);
}

static void complete(struct h2_stream *s)
{
    s->body_began_us = 0;
    list_push(&s->conn->ready, &s->ready);
    h2_touch(s->conn);
}

static void hand_over(struct h2_conn *c, struct list *streams)
{
    const struct server_handler *h = &c->server->handler;
    struct list *node;
    while ((node = list_pop(streams)) != NULL)
        h->on_request(h->ctx, &CONTAINER_OF(node, struct h2_stream, ready)->request);
}

void h2_hand_over(struct h2_conn *c)
{
    struct list *node;
    hand_over(c, &c->ripe);
    if (!c->readable)
        hand_over(c, &c->ready);
    while ((node = list_pop(&c->ready)) != NULL)
        list_push(&c->ripe, node);
}

static void say_continue(struct h2_stream *s)
{
    static const nghttp2_nv fields[] = {
        {(uint8_t *)(uintptr_t) ":status", (uint8_t *)(uintptr_t) "100", 7, 3, 0}};
    (void)nghttp2_submit_headers(s->conn->ng, NGHTTP2_FLAG_NONE, s->id, NULL, fields, 1, NULL);
    h2_touch(s->conn);
}

/* Now that it was let in, a body that does not fit the first window may use the connection's. */
static void expect_body(struct h2_stream *s, const struct h1_head *head)
{
    struct h2_conn *c = s->conn;
    const struct server_limits *l = &c->server->limits;
    bool sized = head->framing == H1_SIZED;
    if (sized && head->content_length <= BODY_AT_ONCE)
        buf_expect(&s->request.body, (size_t)head->content_length); /* one piece of memory */
    if (l->h2.window > l->h2.stream_window &&
        (!sized || head->content_length > l->h2.stream_window))
        (void)nghttp2_session_set_local_window_size(c->ng, NGHTTP2_FLAG_NONE, s->id,
                                                    (int32_t)l->h2.window);
    s->body_began_us = clock_us();
    h2_watch(c, s->body_began_us + l->body_timeout_us);
    if (head->expect_continue)
        say_continue(s);
}

static void begin_request(struct h2_stream *s, struct h1_head *head)
{
    const struct server *server = s->conn->server;
    const struct server_handler *h = &server->handler;
    struct request *r = &s->request;
    r->is_head = head->method == H1_HEAD;
    if (!s->input_over && head->framing == H1_NO_BODY)
        head->framing = H1_CHUNKED; /* a body whose length nobody has said */
    r->head = head;
    h->on_head(h->ctx, r);
    r->head = NULL;
    if (h2_is_over(s))
        return; /* refused by the handler */
    if (s->input_over)
        complete(s);
    else if (head->framing == H1_SIZED && head->content_length > server->limits.body_max)
        refuse(s, SERVER_BODY_TOO_LONG, H1_BODY_TOO_LONG);
    else if (!server_has_room(server, &r->body, 0))
        refuse(s, SERVER_OVERLOADED, H1_OK);
    else
        expect_body(s, head);
}

static void take_head(struct h2_conn *c, int32_t id, bool is_last)
{
    static struct h1_head head;
    struct h2_stream *s = new_stream(c, id);
    s->input_over = is_last;
    enum h1_error error = h2_parse_head(c, &head);
    if (error)
        refuse(s, SERVER_BAD_MESSAGE, error);
    else
        begin_request(s, &head);
    h2_drop_head(c);
}

static void append_body(struct h2_stream *s, struct str data)
{
    const struct server *server = s->conn->server;
    struct buf *body = &s->request.body;
    if (buf_len(body) + data.n > server->limits.body_max)
        refuse(s, SERVER_BODY_TOO_LONG, H1_BODY_TOO_LONG);
    else if (!server_has_room(server, body, data.n))
        refuse(s, SERVER_OVERLOADED, H1_OK);
    else
        (void)buf_append(body, data);
}

/* Not before the reply is out: a reset would take it back. */
static void discard(struct h2_stream *s, size_t n)
{
    s->lingered += n;
    if (s->lingered > LINGER_BYTES && s->linger_until_us)
        h2_stream_late(s);
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
                   void *ctx)
{
    (void)flags;
    struct h2_conn *c = ctx;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(ng, id);
    (void)nghttp2_session_consume_connection(ng, n);
    if (n > 0)
        c->guard.empties = 0;
    h2_touch(c);
    if (!s)
        return 0;
    if (s->body_began_us == 0) {
        discard(s, n); /* its window stays closed */
        return 0;
    }
    (void)nghttp2_session_consume_stream(ng, id, n);
    append_body(s, str_of((const char *)data, n));
    return 0;
}

static void end_input(struct h2_stream *s)
{
    s->input_over = true;
    s->linger_until_us = 0;
    if (s->body_began_us)
        complete(s);
}

/* Nobody reads trailers, and what may not be refused must not be believed. */
static void take_trailer(struct h2_stream *s)
{
    if (s->body_began_us)
        refuse(s, SERVER_BAD_MESSAGE, H1_BAD_FIELD);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    struct h2_conn *c = ctx;
    const nghttp2_frame_hd *hd = &frame->hd;
    bool is_last = hd->flags & NGHTTP2_FLAG_END_STREAM;
    if (hd->type == NGHTTP2_PING && hd->flags & NGHTTP2_FLAG_ACK && c->leave_at_us) {
        c->leave_at_us = clock_us(); /* what was on its way when we said that we leave is here */
        h2_watch(c, c->leave_at_us);
    }
    if (hd->type != NGHTTP2_HEADERS && hd->type != NGHTTP2_DATA)
        return 0;
    if (hd->type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        take_head(c, hd->stream_id, is_last);
        return 0;
    }
    struct h2_stream *s = nghttp2_session_get_stream_user_data(ng, hd->stream_id);
    if (hd->type == NGHTTP2_HEADERS)
        c->head_began_us = 0;
    if (hd->type == NGHTTP2_DATA && hd->length > 0 && hd->length == frame->data.padlen &&
        !is_last && h2_guard_empty(&c->guard, &c->server->limits))
        h2_send_away(c, FLOOD_EMPTY);
    if (s && hd->type == NGHTTP2_HEADERS)
        take_trailer(s);
    if (s && is_last)
        end_input(s);
    return 0;
}

static int on_bad_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *ctx)
{
    (void)ng;
    (void)error;
    struct h2_conn *c = ctx;
    const struct server_limits *l = &c->server->limits;
    c->reset_at_us = clock_us(); /* from now on: there may never have been a stream */
    if (frame->hd.type == NGHTTP2_HEADERS)
        h2_drop_head(c);
    c->guard.foretold++;
    enum server_flood flood = h2_guard_glitch(&c->guard, l);
    flood = flood ? flood : h2_guard_reset(&c->guard, l);
    if (flood)
        h2_send_away(c, flood);
    return 0;
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *ctx)
{
    (void)code;
    (void)ctx;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(ng, id);
    if (s)
        bury(s);
    return 0;
}

/* --- time ----------------------------------------------------------------------------------- */

uint64_t h2_stream_due_us(const struct h2_stream *s)
{
    const struct server *server = s->conn->server;
    uint64_t due = UINT64_MAX;
    if (s->body_began_us)
        due = server_body_due_us(server, s->body_began_us, &s->request.body);
    if (buf_len(&s->out) > 0)
        due = size_min(due, s->progress_us + server->limits.write_timeout_us);
    if (s->linger_until_us)
        due = size_min(due, s->linger_until_us);
    return due;
}

/* Its next deadline has come. */
void h2_stream_late(struct h2_stream *s)
{
    bool is_stalled = buf_len(&s->out) > 0 &&
                      s->progress_us + s->conn->server->limits.write_timeout_us <= clock_us();
    if (is_stalled) {
        lose(s);
        h2_reset(s, NGHTTP2_CANCEL);
    } else if (s->body_began_us) {
        refuse(s, SERVER_SLOW_BODY, H1_OK);
    } else {
        h2_reset(s, NGHTTP2_NO_ERROR);
    }
}

/* --- what has gone out --- */

/* A reset counts whoever's fault it is; that for a bad frame has been counted with the frame. */
static void count_reset(struct h2_conn *c)
{
    c->reset_at_us = clock_us();
    if (c->guard.foretold > 0)
        c->guard.foretold--;
    else if (h2_guard_reset(&c->guard, &c->server->limits))
        h2_send_away(c, FLOOD_RESETS);
}

/* The end of a reply, or a reset. */
static int on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    struct h2_conn *c = ctx;
    bool carries = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        count_reset(c);
    if (s && carries && frame->hd.flags & NGHTTP2_FLAG_END_STREAM && !s->input_over) {
        s->linger_until_us = clock_us() + (s->lingered > LINGER_BYTES ? 0 : LINGER_US);
        h2_watch(c, s->linger_until_us);
    }
    return 0;
}

void h2_set_callbacks(nghttp2_session_callbacks *on)
{
    h2_set_head_callbacks(on);
    h2_set_reply_callbacks(on);
    nghttp2_session_callbacks_set_on_frame_recv_callback(on, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(on, on_bad_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(on, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(on, on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(on, on_sent);
}
