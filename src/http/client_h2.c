/* client_h2.c - calls over HTTP/2 (RFC 9113): many streams on one connection; see client.h.
 *
 *   call --request--> [nghttp2] --frames--> [out] --> stream      session: one connection
 *   call <--head, body-- [nghttp2] <--------------- scratch <--   stream id: one call
 *
 * The connection is always read, so that a paused call does not hold up its siblings: what comes
 * for it is kept in c->in, at most a stream's window, since the window opens only by what the
 * call's owner took. The window of the connection opens by all that was read.
 *
 * An answer's head is written out as one of HTTP/1.1 and read by the same parser: the same limits
 * hold, and who owns the call cannot tell the difference. nghttp2 has refused what HTTP/2 forbids.
 *
 * A stream that the upstream says it did not process (REFUSED_STREAM, HTTP_1_1_REQUIRED, or beyond
 * the last id of a GOAWAY) fails as unsent. nghttp2 must not be re-entered, so nothing is sent or received inside
 * its callbacks: they only submit, and on_work sends at the end of the turn.
 */
#include "http/pool_int.h"

#include <nghttp2/nghttp2.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    SCRATCH = 64 * 1024,
    STREAM_WINDOW = CALL_IN_MAX - 1, /* the protocol's own first window */
    CONNECTION_WINDOW = 16 * 1024 * 1024,
    OUT_ENOUGH = 16 * 1024, /* gathered into one write, a TLS record */
    OUT_MAX = 64 * 1024,
    STREAMS_MAX = 1000, /* on one connection, whatever it says */
    READS_PER_TURN = 4,
    PING_AFTER_US = 15 * 1000 * 1000, /* of silence; twice that and the connection is dead */
};

struct session {
    struct pool *pool;
    struct list node; /* pool->sessions */
    struct stream *stream;
    nghttp2_session *ng;
    struct list calls;
    size_t n_calls;
    struct buf out;  /* frames that the kernel has not taken */
    struct buf head; /* of an answer, while its fields come */
    bool readable, settled, leaving, pinged;
    uint64_t heard_us, idle_since_us;
    struct timer timer;
    struct deferred work, funeral;
};

static char scratch[SCRATCH];
static const struct call_transport transport;

static void touch(struct session *s)
{
    loop_defer(s->pool->loop, &s->work);
}

/* --- the end of streams and connections ----------------------------------------------------- */

static void detach(struct call *c)
{
    struct session *s = c->h2.session;
    (void)nghttp2_session_set_stream_user_data(s->ng, c->h2.id, NULL);
    list_remove(&c->waiting);
    if (--s->n_calls == 0)
        s->idle_since_us = clock_us();
    touch(s); /* there is room for another */
}

/* Tells the upstream, unless the stream is over on both sides. */
static void drop(struct call *c)
{
    struct session *s = c->h2.session;
    if (!c->h2.closed && (!c->h2.ended || !call_sent(c)))
        (void)nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, c->h2.id, NGHTTP2_CANCEL);
    detach(c);
}

static void bury(struct deferred *d)
{
    struct session *s = CONTAINER_OF(d, struct session, funeral);
    nghttp2_session_del(s->ng);
    buf_done(&s->out);
    buf_done(&s->head);
    mem_free(s);
}

void session_free(struct session *s)
{
    ASSERT(s->n_calls == 0);
    list_remove(&s->node);
    timer_stop(s->pool->loop, &s->timer);
    stream_close(&s->stream);
    deferred_cancel(&s->work);
    deferred_init(&s->funeral, bury);
    loop_defer(s->pool->loop, &s->funeral);
}

/* The connection is of no more use, and the calls on it fail. */
static void lose(struct session *s, const char *error, bool bad)
{
    char text[160]; /* the stream that says it is about to go */
    snprintf(text, sizeof(text), "%s", error);
    s->leaving = true;
    while (!list_empty(&s->calls)) {
        struct call *c = CONTAINER_OF(s->calls.next, struct call, waiting);
        if (bad)
            call_fail(c, CALL_BAD_ANSWER, text);
        else
            call_broken(c, text);
    }
    struct pool *p = s->pool;
    session_free(s);
    pool_redial(p);
}

/* --- the request ---------------------------------------------------------------------------- */

/* NOLINTNEXTLINE(readability-function-size): the parameters are nghttp2's */
static ssize_t read_body(nghttp2_session *ng, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *ctx)
{
    enum { VECTORS = 16 };

    (void)source;
    (void)ctx;
    struct call *c = nghttp2_session_get_stream_user_data(ng, id);
    if (!c)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    struct iovec iov[VECTORS];
    int n = rope_iov(c->body, c->sent - c->head_len, iov, VECTORS);
    size_t done = 0;
    for (int i = 0; i < n && done < room; i++) {
        size_t take = size_min(iov[i].iov_len, room - done);
        memcpy(to + done, iov[i].iov_base, take);
        done += take;
    }
    c->sent += done;
    if (call_sent(c))
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)done;
}

static nghttp2_nv field(struct str name, struct str value, uint8_t flags)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.p,
                        .value = (uint8_t *)(uintptr_t)value.p,
                        .namelen = name.n,
                        .valuelen = value.n,
                        .flags = flags};
}

static bool is_dropped(struct str name)
{
    /* RFC 9113 section 8.2.2; Host is :authority */
    static const struct str dropped[] = {
        STR_INIT("host"),    STR_INIT("connection"),       STR_INIT("keep-alive"),
        STR_INIT("upgrade"), STR_INIT("proxy-connection"), STR_INIT("transfer-encoding"),
        STR_INIT("te"),
    };
    for (size_t i = 0; i < ARRAY_LEN(dropped); i++)
        if (str_eq_nocase(name, dropped[i]))
            return true;
    return false;
}

/* Credentials are never put into tables, neither ours nor a proxy's (RFC 7541 section 7.1.3). */
static uint8_t index_flags(struct str name)
{
    bool secret =
        str_eq_nocase(name, STR("x-api-key")) || str_eq_nocase(name, STR("authorization"));
    return secret ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
}

/* nghttp2 copies the fields and makes their names small. */
static int32_t submit(struct session *s, struct call *c)
{
    static struct h1_head head;
    nghttp2_nv fields[4 + H1_FIELDS_MAX];
    size_t n = 0, scanned = 0, used;
    enum h1_error error;
    enum h1_result result =
        h1_parse_request(buf_str(&c->head), c->head_len, &scanned, &head, &used, &error);
    ASSERT(result == H1_DONE); /* it is our own */
    fields[n++] = field(STR(":method"), head.method_text, NGHTTP2_NV_FLAG_NONE);
    fields[n++] = field(STR(":scheme"), stream_is_tls(s->stream) ? STR("https") : STR("http"),
                        NGHTTP2_NV_FLAG_NONE);
    fields[n++] = field(STR(":authority"), head.authority, NGHTTP2_NV_FLAG_NONE);
    fields[n++] = field(STR(":path"), head.target, NGHTTP2_NV_FLAG_NONE);
    for (size_t i = 0; i < head.n_fields; i++)
        if (!is_dropped(head.fields[i].name))
            fields[n++] =
                field(head.fields[i].name, head.fields[i].value, index_flags(head.fields[i].name));
    const nghttp2_data_provider provider = {.read_callback = read_body};
    bool has_body = c->total > c->head_len;
    return nghttp2_submit_request(s->ng, NULL, fields, n, has_body ? &provider : NULL, c);
}

void call_take_h2(struct list *waiting_node, struct session *s)
{
    struct call *c = CONTAINER_OF(waiting_node, struct call, waiting);
    int32_t id = submit(s, c);
    if (id < 0) { /* no stream ids are left */
        session_leave(s);
        call_fail(c, CALL_UNSENT, nghttp2_strerror(id));
        return;
    }
    c->sent = c->head_len;
    buf_done(&c->head);
    c->h2.session = s;
    c->h2.id = id;
    c->transport = &transport;
    c->state = HEAD;
    list_push(&s->calls, &c->waiting);
    s->n_calls++;
    touch(s);
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    (void)ctx;
    bool carries = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    struct call *c = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    if (c && carries && frame->hd.flags & NGHTTP2_FLAG_END_STREAM && c->handler->on_sent)
        c->handler->on_sent(c->ctx);
    return 0;
}

/* --- the answer ----------------------------------------------------------------------------- */

static void end_if_whole(struct call *c)
{
    if (c->state != BODY || !c->h2.ended || c->paused || buf_len(&c->in) > 0)
        return;
    drop(c);
    call_finish(c);
    c->handler->on_end(c->ctx);
}

/* NOLINTNEXTLINE(readability-function-size): the parameters are nghttp2's */
static int on_field(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                    size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *ctx)
{
    (void)flags;
    struct session *s = ctx;
    struct call *c = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    if (!c)
        return 0;
    if (c->state == BODY) { /* a trailer: nobody reads it */
        c->h2.trailers += name_n + value_n;
        return c->h2.trailers <= H1_TRAILER_MAX ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    struct str n = str_of((const char *)name, name_n), v = str_of((const char *)value, value_n);
    bool is_status = str_eq(n, STR(":status"));
    bool fits = is_status ? buf_printf(&s->head, "HTTP/1.1 %.*s \r\n", STR_FMT(v))
                          : buf_printf(&s->head, "%.*s: %.*s\r\n", STR_FMT(n), STR_FMT(v));
    return fits ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_fields_begin(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    (void)ng;
    (void)frame;
    struct session *s = ctx;
    buf_clear(&s->head);
    return 0;
}

static void take_head(struct session *s, struct call *c)
{
    static struct h1_head head;
    size_t scanned = 0, used;
    enum h1_error error;
    c->answered = true;
    if (!buf_lit(&s->head, "\r\n") ||
        h1_parse_response(buf_str(&s->head), s->pool->options.head_max, false, &scanned, &head,
                          &used, &error) != H1_DONE) {
        call_fail(c, CALL_BAD_ANSWER, "not an HTTP answer");
        return;
    }
    if (head.status < 200)
        return; /* interim, the answer follows */
    c->state = BODY;
    c->handler->on_head(c->ctx, &head);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    struct session *s = ctx;
    uint8_t type = frame->hd.type;
    struct call *c = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    if (type == NGHTTP2_GOAWAY)
        s->leaving = true;
    if (type == NGHTTP2_GOAWAY && frame->goaway.error_code == NGHTTP2_HTTP_1_1_REQUIRED)
        pool_fall_back(s->pool);
    if (type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
        s->settled = true;
    if (!c)
        return 0;
    if (type == NGHTTP2_RST_STREAM)
        c->h2.was_reset = true;
    if (type == NGHTTP2_HEADERS && c->state == HEAD)
        take_head(s, c);
    if ((type == NGHTTP2_HEADERS || type == NGHTTP2_DATA) &&
        frame->hd.flags & NGHTTP2_FLAG_END_STREAM && call_is_open(c)) {
        c->h2.ended = true;
        end_if_whole(c);
    }
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
                   void *ctx)
{
    (void)flags;
    (void)ctx;
    struct call *c = nghttp2_session_get_stream_user_data(ng, id);
    struct str bytes = str_of((const char *)data, n);
    (void)nghttp2_session_consume_connection(ng, n);
    if (!c || c->state != BODY || n == 0)
        return 0;
    if (c->paused || buf_len(&c->in) > 0) {
        if (!buf_append(&c->in, bytes))
            call_fail(c, CALL_BAD_ANSWER, "more than its window");
        return 0;
    }
    c->handler->on_body(c->ctx, bytes);
    (void)nghttp2_session_consume_stream(ng, id, n);
    return 0;
}

/* Called for every stream, also for those that ended as they should. */
static int on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *ctx)
{
    struct session *s = ctx;
    struct call *c = nghttp2_session_get_stream_user_data(ng, id);
    bool refused = code == NGHTTP2_REFUSED_STREAM || code == NGHTTP2_HTTP_1_1_REQUIRED;
    if (code == NGHTTP2_HTTP_1_1_REQUIRED)
        pool_fall_back(s->pool);
    if (c)
        c->h2.closed = true;
    if (!c || c->h2.ended)
        return 0;
    if (refused && !c->answered)
        call_fail(c, CALL_UNSENT, "the upstream did not take the request");
    else if (c->h2.was_reset || refused)
        call_broken(c, "reset by the upstream");
    else
        call_fail(c, CALL_BAD_ANSWER, "not an HTTP answer");
    return 0;
}

/* What was kept while it was paused, then what comes. */
static void go_on(struct call *c)
{
    struct session *s = c->h2.session;
    size_t n = buf_len(&c->in);
    if (c->paused)
        return;
    if (n > 0) {
        c->handler->on_body(c->ctx, buf_str(&c->in));
        if (c->state == OVER)
            return;
        buf_clear(&c->in);
        buf_release(&c->in);
        (void)nghttp2_session_consume_stream(s->ng, c->h2.id, n);
    }
    end_if_whole(c);
    touch(s);
}

static const struct call_transport transport = {.go_on = go_on, .drop = drop};

/* --- the connection ------------------------------------------------------------------------- */

/* How many streams it takes. Until this connection's SETTINGS have come, as many as others took; on
 * the very first one call goes ahead, so that no burst is refused. */
static size_t streams_max(const struct session *s)
{
    if (!s->settled)
        return s->pool->per_dial <= STREAMS_MAX ? s->pool->per_dial : 1;
    return size_min(STREAMS_MAX, nghttp2_session_get_remote_settings(
                                     s->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
}

bool session_has_room(const struct session *s)
{
    return !s->leaving && s->n_calls < streams_max(s);
}

size_t session_load(const struct session *s)
{
    return s->n_calls;
}

void session_leave(struct session *s)
{
    s->leaving = true;
    touch(s);
}

struct session *session_of(struct list *node)
{
    return CONTAINER_OF(node, struct session, node);
}

/* False when nothing more can be sent now, or the session is gone. */
static bool write_out(struct session *s)
{
    struct str bytes = buf_str(&s->out);
    struct iovec iov = {.iov_base = (char *)(uintptr_t)bytes.p, .iov_len = bytes.n};
    ssize_t n = stream_writev(s->stream, &iov, 1);
    if (n == STREAM_ERROR) { /* an answer may have come before: see what can be read first */
        s->readable = true;
        touch(s);
    }
    if (n < 0)
        return false;
    buf_consume(&s->out, (size_t)n);
    return buf_len(&s->out) == 0;
}

/* False when the session is gone. */
static bool flush(struct session *s)
{
    for (;;) {
        while (buf_len(&s->out) < OUT_ENOUGH) {
            const uint8_t *data;
            ssize_t n = nghttp2_session_mem_send(s->ng, &data);
            if (n < 0 || (n > 0 && !buf_append(&s->out, str_of((const char *)data, (size_t)n)))) {
                lose(s, "HTTP/2 failed", false);
                return false;
            }
            if (n == 0)
                break;
        }
        if (buf_len(&s->out) == 0) {
            buf_release(&s->out);
            return true;
        }
        if (!write_out(s))
            return true;
    }
}

/* False when the session is gone. */
static bool take(struct session *s, size_t n)
{
    s->heard_us = clock_us();
    s->pinged = false;
    ssize_t used = nghttp2_session_mem_recv(s->ng, (const uint8_t *)scratch, n);
    if (used < 0)
        lose(s, nghttp2_strerror((int)used), true);
    return used >= 0;
}

/* False when the session is gone. */
static bool read_frames(struct session *s)
{
    for (int reads = 0; s->readable; reads++) {
        if (reads == READS_PER_TURN) {
            touch(s); /* the others' turn */
            return true;
        }
        ssize_t n = stream_read(s->stream, scratch, SCRATCH);
        if (n == STREAM_AGAIN) {
            s->readable = false;
        } else if (n == STREAM_EOF || n == STREAM_ERROR) {
            lose(s, n == STREAM_EOF ? "closed by the upstream" : stream_error_text(s->stream),
                 false);
            return false;
        } else if (!take(s, (size_t)n)) {
            return false;
        }
    }
    return true;
}

/* Calls that wait get what has become free, and further connections if the upstream takes fewer
 * streams than was thought. */
static void share_room(struct session *s)
{
    struct pool *p = s->pool;
    size_t most = size_max(1, streams_max(s));
    pool_serve(p, s);
    if (s->settled && !s->leaving && p->per_dial != most) {
        p->per_dial = most;
        pool_redial(p);
    }
}

static void on_work(struct deferred *d)
{
    struct session *s = CONTAINER_OF(d, struct session, work);
    if (!read_frames(s))
        return;
    share_room(s);
    if (!flush(s))
        return;
    if (s->leaving && s->n_calls == 0)
        lose(s, "done", false);
    else if (!nghttp2_session_want_read(s->ng)) /* our GOAWAY is out: frames were broken */
        lose(s, "broken frames", true);
}

static void on_ready(struct stream *stream, void *ctx, unsigned events)
{
    (void)stream;
    struct session *s = ctx;
    if (events & (IO_READ | IO_HUP))
        s->readable = true;
    on_work(&s->work);
}

static const struct stream_owner owner = {.on_ready = on_ready, .name = "upstream h2"};

/* Closes what was idle for long; asks after an upstream that has been silent. */
static void on_timer(struct timer *t)
{
    struct session *s = CONTAINER_OF(t, struct session, timer);
    uint64_t idle = s->pool->options.idle_timeout_us, next = s->heard_us + PING_AFTER_US;
    if (s->n_calls == 0 && clock_us() >= s->idle_since_us + idle) {
        lose(s, "idle", false);
        return;
    }
    if (clock_us() >= next) {
        if (s->pinged) {
            lose(s, "the upstream does not answer a PING", false);
            return;
        }
        s->pinged = true;
        s->heard_us = clock_us();
        next = s->heard_us + PING_AFTER_US;
        (void)nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, NULL);
        touch(s);
    }
    if (s->n_calls == 0 && s->idle_since_us + idle < next)
        next = s->idle_since_us + idle;
    else if (clock_us() + idle < next)
        next = clock_us() + idle; /* it may be idle by then */
    timer_set(s->pool->loop, t, next);
}

static nghttp2_session *new_ng(struct session *s)
{
    nghttp2_session_callbacks *on;
    nghttp2_option *option;
    nghttp2_session *ng;
    bool ok = nghttp2_session_callbacks_new(&on) == 0 && nghttp2_option_new(&option) == 0;
    ASSERT(ok);
    nghttp2_session_callbacks_set_on_begin_headers_callback(on, on_fields_begin);
    nghttp2_session_callbacks_set_on_header_callback(on, on_field);
    nghttp2_session_callbacks_set_on_frame_recv_callback(on, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(on, on_frame_send);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(on, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(on, on_close);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, STREAMS_MAX);
    ok = nghttp2_session_client_new2(&ng, on, s, option) == 0;
    ASSERT(ok);
    nghttp2_session_callbacks_del(on);
    nghttp2_option_del(option);
    return ng;
}

struct session *session_new(struct pool *p, struct stream *stream)
{
    struct session *s = mem_zalloc(sizeof(*s));
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)p->options.head_max},
    };
    s->pool = p;
    s->stream = stream;
    s->ng = new_ng(s);
    list_init(&s->calls);
    buf_init(&s->out, OUT_MAX);
    buf_init(&s->head, p->options.head_max);
    s->heard_us = s->idle_since_us = clock_us();
    s->readable = true; /* the handshake may have brought the first frames */
    timer_init(&s->timer, "upstream h2", on_timer);
    deferred_init(&s->work, on_work);
    (void)nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
    (void)nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
    stream_set_owner(stream, &owner, s);
    list_push(&p->sessions, &s->node);
    timer_after(p->loop, &s->timer, size_min(p->options.idle_timeout_us, PING_AFTER_US));
    touch(s);
    return s;
}
