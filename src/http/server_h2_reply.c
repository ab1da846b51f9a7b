/* server_h2_reply.c - replies of HTTP/2: they wait in s->out until nghttp2 asks for them, which it does as
 * the client's windows allow. That is the back-pressure.
 */
#include "base/clock.h"
#include "http/server_h2_int.h"

enum { FIELDS_MAX = 64 }; /* of a reply's head */

static struct h2_stream *stream_of(const struct request *r)
{
    return CONTAINER_OF(r->out, struct h2_stream, out);
}

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
    if (s->is_broken || (n == 0 && !h2_is_over(s))) {
        s->waits = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (h2_is_over(s) && n == buf_len(&s->out))
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
    h2_end_request(s);
    if (s->waits)
        (void)nghttp2_session_resume_data(s->conn->ng, s->id);
    s->waits = false;
    h2_touch(s->conn);
}

void h2_reply_abort(struct request *r)
{
    struct h2_stream *s = stream_of(r);
    h2_end_request(s);
    h2_reset(s, NGHTTP2_INTERNAL_ERROR);
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

void h2_set_reply_callbacks(nghttp2_session_callbacks *on)
{
    nghttp2_session_callbacks_set_send_data_callback(on, send_data);
}
