/* server_h2_request.c - the streams of one HTTP/2 connection: heads, bodies, replies.
 *
 *   fields --> text of an HTTP/1.1 head --> h1_parse_request --> on_head --> body --> on_request
 *
 * A request's fields become the text that HTTP/1.1 would have had, and go through its parser: what a
 * path, a host, a length or a credential may be is said in one place, and refused in the same words.
 * nghttp2 has checked what is particular to HTTP/2: pseudo fields, small letters, no Connection.
 *
 * A whole request is handed over when all that came with it has been read, or at least the next piece
 * of that: a stream that is reset at once costs no call. A reply that is over while its request still comes
 * lets it come for a little, and then resets the stream without blame (RFC 9113 section 8.1).
 *
 * Windows open as a body is taken. The reply waits in s->out until nghttp2 asks for it, which it
 * does as the client's windows allow: that is the back-pressure.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "http/server_h2_int.h"

enum {
    BODY_AT_ONCE = 16 * 1024,
    LINGER_BYTES = 64 * 1024,
    LINGER_US = 2 * 1000 * 1000,
    OUT_MAX = 64 * 1024 * 1024,
    FIELDS_MAX = 64, /* of a reply's head */
};

static struct h2_stream *stream_of(const struct request *r)
{
    return CONTAINER_OF(r->out, struct h2_stream, out);
}

static bool is_over(const struct h2_stream *s)
{
    return s->request.reply == REPLY_OVER;
}

static void reset(struct h2_stream *s, uint32_t code)
{
    s->is_broken = true;
    s->linger_until_us = 0;
    buf_clear(&s->out);
    (void)nghttp2_submit_rst_stream(s->conn->ng, NGHTTP2_FLAG_NONE, s->id, code);
    h2_touch(s->conn);
}

/* --- the end of a request ------------------------------------------------------------------- */

static void end_request(struct h2_stream *s)
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
    if (is_over(s))
        return;
    end_request(s);
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

/* --- heads ---------------------------------------------------------------------------------- */

void h2_drop_head(struct h2_conn *c)
{
    if (!c->head)
        return;
    buf_done(&c->head->values);
    buf_done(&c->head->text);
    buf_done(&c->head->cookie);
    mem_free(c->head);
    c->head = NULL;
    c->head_began_us = 0;
}

static int on_head_begin(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    (void)ng;
    struct h2_conn *c = ctx;
    const struct server_limits *l = &c->server->limits;
    h2_drop_head(c);
    c->head_began_us = clock_us();
    h2_watch(c, c->head_began_us + l->head_timeout_us);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* a trailer, which is not read */
    c->head = mem_zalloc(sizeof(*c->head));
    buf_init(&c->head->values, l->head_max);
    buf_init(&c->head->text, l->head_max);
    buf_init(&c->head->cookie, l->head_max);
    return 0;
}

static struct str pseudo(const struct h2_head *h, size_t which)
{
    if (!h->pseudo[which].said)
        return STR_NONE;
    return str_of(buf_str(&h->values).p + h->pseudo[which].at, h->pseudo[which].n);
}

static bool keep_pseudo(struct h2_head *h, struct str name, struct str value)
{
    static const struct str names[PSEUDO_COUNT] = {
        [PSEUDO_METHOD] = STR_INIT(":method"),
        [PSEUDO_PATH] = STR_INIT(":path"),
        [PSEUDO_AUTHORITY] = STR_INIT(":authority"),
        [PSEUDO_SCHEME] = STR_INIT(":scheme"),
    };
    for (size_t i = 0; i < PSEUDO_COUNT; i++) {
        if (!str_eq(name, names[i]))
            continue;
        h->pseudo[i].at = buf_len(&h->values);
        h->pseudo[i].n = value.n;
        h->pseudo[i].said = true;
        return buf_append(&h->values, value) && buf_reserve(&h->values, 1);
    }
    return true;
}

static bool write_field(struct h2_head *h, struct str name, struct str value)
{
    return buf_append(&h->text, name) && buf_lit(&h->text, ": ") && buf_append(&h->text, value) &&
           buf_lit(&h->text, "\r\n");
}

/* All pseudo fields have come (RFC 9113 section 8.3). CONNECT has no path. */
static bool write_line(struct h2_head *h)
{
    struct str path = pseudo(h, PSEUDO_PATH), authority = pseudo(h, PSEUDO_AUTHORITY);
    h->has_line = true;
    return buf_append(&h->text, pseudo(h, PSEUDO_METHOD)) && buf_lit(&h->text, " ") &&
           buf_append(&h->text, path.p ? path : authority) && buf_lit(&h->text, " HTTP/1.1\r\n") &&
           (!authority.p || write_field(h, STR("Host"), authority));
}

/* RFC 9113 section 8.2.3: the pieces of a Cookie are one field to everybody else. */
static bool keep_cookie(struct h2_head *h, struct str value)
{
    return (buf_len(&h->cookie) == 0 || buf_lit(&h->cookie, "; ")) && buf_append(&h->cookie, value);
}

/* RFC 9113 section 8.3.1: Host and :authority say the same, or somebody is to be misled. */
static bool keep_field(struct h2_head *h, struct str name, struct str value)
{
    struct str authority = pseudo(h, PSEUDO_AUTHORITY);
    if (str_eq(name, STR("cookie")))
        return keep_cookie(h, value);
    if (authority.p && str_eq(name, STR("host"))) {
        if (!str_eq_nocase(authority, value))
            h->error = H1_BAD_HOST;
        return true;
    }
    return write_field(h, name, value);
}

static void take_field(struct h2_head *h, struct str name, struct str value, size_t most)
{
    bool fits;
    if (name.p[0] == ':') {
        fits = keep_pseudo(h, name, value);
    } else {
        fits = h->has_line || write_line(h);
        if (++h->n_fields > most)
            h->error = H1_TOO_MANY_FIELDS;
        fits = fits && keep_field(h, name, value);
    }
    if (!fits)
        h->error = H1_HEAD_TOO_LONG;
}

/* NOLINTNEXTLINE(readability-function-size): the parameters are nghttp2's */
static int on_field(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                    size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *ctx)
{
    (void)ng;
    (void)frame;
    (void)flags;
    struct h2_conn *c = ctx;
    struct h2_head *h = c->head;
    if (h && (h->error == H1_OK || h->error == H1_BAD_HOST))
        take_field(h, str_of((const char *)name, name_n), str_of((const char *)value, value_n),
                   c->server->limits.h2.fields);
    return 0;
}

/* NOLINTNEXTLINE(readability-function-size): the parameters are nghttp2's */
static int on_bad_field(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                        size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                        void *ctx)
{
    (void)ng;
    (void)frame;
    (void)name;
    (void)name_n;
    (void)value;
    (void)value_n;
    (void)flags;
    (void)ctx;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* or it would be dropped in silence */
}

static bool is_http(struct str scheme)
{
    return !scheme.p || str_eq_nocase(scheme, STR("http")) || str_eq_nocase(scheme, STR("https"));
}

static enum h1_error finish_text(struct h2_head *h)
{
    if (h->error)
        return h->error;
    if (!is_http(pseudo(h, PSEUDO_SCHEME)))
        return H1_BAD_TARGET;
    bool fits = (h->has_line || write_line(h)) &&
                (buf_len(&h->cookie) == 0 || write_field(h, STR("cookie"), buf_str(&h->cookie))) &&
                buf_lit(&h->text, "\r\n");
    return fits ? H1_OK : H1_HEAD_TOO_LONG;
}

static enum h1_error parse_head(struct h2_conn *c, struct h1_head *head)
{
    size_t scanned = 0, used;
    enum h1_error error = finish_text(c->head);
    if (error)
        return error;
    struct str text = buf_str(&c->head->text);
    switch (h1_parse_request(text, c->server->limits.head_max, &scanned, head, &used, &error)) {
    case H1_DONE: return used == text.n ? H1_OK : H1_BAD_FIELD;
    case H1_MORE: return H1_BAD_FIELD;
    case H1_BAD: return error;
    }
    UNREACHABLE();
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
    if (is_over(s))
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
    enum h1_error error = parse_head(c, &head);
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
        reset(s, NGHTTP2_CANCEL);
    } else if (s->body_began_us) {
        refuse(s, SERVER_SLOW_BODY, H1_OK);
    } else {
        reset(s, NGHTTP2_NO_ERROR);
    }
}

/* --- replies -------------------------------------------------------------------------------- */

/* NOLINTNEXTLINE(readability-function-size,readability-non-const-parameter): nghttp2's, too */
static ssize_t read_reply(nghttp2_session *ng, int32_t id, uint8_t *to, size_t most,
                          uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
    (void)ng;
    (void)id;
    (void)to;
    (void)ctx;
    struct h2_stream *s = source->ptr;
    size_t n = size_min(most, buf_len(&s->out));
    if (s->is_broken || (n == 0 && !is_over(s))) {
        s->waits = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (is_over(s) && n == buf_len(&s->out))
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* nghttp2 goes on from stream to stream for as long as this takes what it has. A frame that was put
 * off comes again, and its stream may have been lost or reset meanwhile. */
static int send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t n,
                     nghttp2_data_source *source, void *ctx)
{
    (void)source;
    struct h2_conn *c = ctx;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    ASSERT(frame->data.padlen == 0);
    if (!s || s->is_broken)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* it is dropped */
    if (buf_len(&c->out) >= H2_OUT_ENOUGH)
        return NGHTTP2_ERR_WOULDBLOCK;
    if (!buf_append(&c->out, str_of((const char *)head, H2_FRAME_HEAD)) ||
        !buf_append(&c->out, str_head(buf_str(&s->out), n)))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    buf_consume(&s->out, n);
    if (buf_len(&s->out) == 0)
        buf_release(&s->out);
    s->progress_us = clock_us();
    c->guard.data_sent++;
    return 0;
}

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

static nghttp2_nv field(struct str name, struct str value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.p,
        .value = (uint8_t *)(uintptr_t)value.p,
        .namelen = name.n,
        .valuelen = value.n,
    };
}

/* The head was written as text, a status line and fields; nghttp2 copies and makes names small. */
static void submit_head(struct h2_stream *s, bool has_body)
{
    nghttp2_nv fields[FIELDS_MAX];
    size_t n = 0;
    struct str text = buf_str(&s->out), line;
    const nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_reply};
    while (str_split(&text, '\n', &line) && line.n > 0) {
        ASSERT(n < FIELDS_MAX);
        size_t colon = str_find(line, ':');
        if (n == 0) /* "HTTP/1.1 200 OK" */
            fields[n++] = field(STR(":status"), str_of(line.p + 9, 3));
        else
            fields[n++] = field(str_head(line, colon), str_trim(str_skip(line, colon + 1)));
    }
    (void)nghttp2_submit_response(s->conn->ng, s->id, fields, n, has_body ? &provider : NULL);
}

void h2_reply_head(struct request *r, int64_t length)
{
    struct h2_stream *s = stream_of(r);
    submit_head(s, !r->is_head && length != 0);
    buf_clear(&s->out);
    s->body_began_us = 0; /* what is left of the body will not be read */
    h2_touch(s->conn);
}

void h2_reply_body_begin(struct request *r)
{
    (void)r;
}

void h2_reply_body_end(struct request *r)
{
    struct h2_stream *s = stream_of(r);
    struct h2_conn *c = s->conn;
    size_t n = buf_len(&s->out) - r->chunk_at;
    r->body_bytes += n;
    if (r->is_head)
        s->out.end = s->out.start + r->chunk_at;
    if (r->is_head || n == 0)
        return;
    if (r->chunk_at == 0) {
        s->progress_us = clock_us();
        h2_watch(c, s->progress_us + c->server->limits.write_timeout_us);
    }
    if (buf_len(&s->out) >= SERVER_HIGH_MARK && list_empty(&s->full))
        list_push(&c->full, &s->full);
    if (s->waits)
        (void)nghttp2_session_resume_data(c->ng, s->id);
    s->waits = false;
    h2_touch(c);
}

void h2_reply_end(struct request *r)
{
    struct h2_stream *s = stream_of(r);
    end_request(s);
    if (s->waits)
        (void)nghttp2_session_resume_data(s->conn->ng, s->id);
    s->waits = false;
    h2_touch(s->conn);
}

void h2_reply_abort(struct request *r)
{
    struct h2_stream *s = stream_of(r);
    end_request(s);
    reset(s, NGHTTP2_INTERNAL_ERROR);
}

void h2_report_drained(struct h2_conn *c)
{
    const struct server_handler *h = &c->server->handler;
    struct list *node, still;
    list_init(&still);
    while ((node = list_pop(&c->full)) != NULL) {
        struct h2_stream *s = CONTAINER_OF(node, struct h2_stream, full);
        if (buf_len(&s->out) > SERVER_LOW_MARK)
            list_push(&still, node);
        else
            h->on_drained(h->ctx, &s->request);
    }
    while ((node = list_pop(&still)) != NULL)
        list_push(&c->full, node);
}

void h2_set_callbacks(nghttp2_session_callbacks *on)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(on, on_head_begin);
    nghttp2_session_callbacks_set_on_header_callback(on, on_field);
    nghttp2_session_callbacks_set_on_invalid_header_callback(on, on_bad_field);
    nghttp2_session_callbacks_set_on_frame_recv_callback(on, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(on, on_bad_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(on, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(on, on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(on, on_sent);
    nghttp2_session_callbacks_set_send_data_callback(on, send_data);
}
