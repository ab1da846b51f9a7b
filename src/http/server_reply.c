/* server_reply.c - what a handler writes: the head, the body in its framing, the end.
 *
 * A stream of unknown length goes out in chunks (RFC 9112 section 7.1), to HTTP/1.0 until the
 * connection closes. Room for a chunk's head is left before its data and closed up when its size is
 * known. All of it is only queued here; server_h1.c writes it at the end of the turn.
 */
#include "base/clock.h"
#include "http/server_h1_int.h"

enum { CHUNK_HEAD = 10 }; /* room for "ffffffff\r\n" */

static void queue(struct conn *c, bool ok)
{
    ASSERT(ok); /* OUT_MAX is far above what one reply may hold: the relay stops at the high mark */
    loop_defer(c->server->loop, &c->work);
}

void reply_start(struct request *r, int status)
{
    ASSERT(r->reply == REPLY_NONE);
    r->reply = REPLY_HEAD;
    char date[CLOCK_TEXT];
    struct conn *c = r->conn;
    queue(c, h1_write_status_line(&c->out, status) &&
                 h1_write_field(&c->out, STR("Date"), clock_http_date(clock_wall_us(), date)));
}

void reply_field(struct request *r, struct str name, struct str value)
{
    ASSERT(r->reply == REPLY_HEAD);
    queue(r->conn, h1_write_field(&r->conn->out, name, value));
}

void reply_field_u64(struct request *r, struct str name, uint64_t value)
{
    ASSERT(r->reply == REPLY_HEAD);
    queue(r->conn, h1_write_field_u64(&r->conn->out, name, value));
}

void reply_head_end(struct request *r, int64_t length)
{
    ASSERT(r->reply == REPLY_HEAD);
    struct conn *c = r->conn;
    bool ok = true;
    if (c->state == CONN_BODY || (length < 0 && r->http10) || c->server->draining)
        c->close_after = true; /* what is left of the body will not be read */
    r->reply = length < 0 ? REPLY_STREAM : REPLY_SIZED;
    if (length >= 0)
        ok = h1_write_field_u64(&c->out, STR("Content-Length"), (uint64_t)length);
    else if (!r->http10)
        ok = h1_write_field(&c->out, STR("Transfer-Encoding"), STR("chunked"));
    if (c->close_after)
        ok = ok && h1_write_field(&c->out, STR("Connection"), STR("close"));
    else if (r->http10)
        ok = ok && h1_write_field(&c->out, STR("Connection"), STR("keep-alive"));
    queue(c, ok && buf_lit(&c->out, "\r\n"));
}

static bool is_chunking(const struct request *r)
{
    return r->reply == REPLY_STREAM && !r->http10;
}

struct buf *reply_body_begin(struct request *r)
{
    ASSERT(r->reply == REPLY_SIZED || r->reply == REPLY_STREAM);
    struct buf *out = &r->conn->out;
    r->chunk_at = buf_len(out);
    if (is_chunking(r)) {
        char *room = buf_reserve(out, CHUNK_HEAD);
        ASSERT(room);
        buf_commit(out, CHUNK_HEAD);
    }
    return out;
}

/* "c8\r\n": the size in hex; returns its length. */
static size_t format_chunk_head(size_t n, char out[CHUNK_HEAD])
{
    static const char digits[] = "0123456789abcdef";
    size_t len = 1;
    while (n >> (4 * len))
        len++;
    for (size_t i = 0; i < len; i++)
        out[i] = digits[(n >> (4 * (len - 1 - i))) & 15];
    memcpy(out + len, "\r\n", 2);
    return len + 2;
}

static void close_chunk(struct request *r)
{
    struct buf *out = &r->conn->out;
    char *at = out->data + out->start + r->chunk_at;
    size_t n = buf_len(out) - r->chunk_at - CHUNK_HEAD;
    if (n == 0) { /* an empty chunk would end the body */
        out->end -= CHUNK_HEAD;
        return;
    }
    char head[CHUNK_HEAD];
    size_t head_len = format_chunk_head(n, head);
    memcpy(at, head, head_len);
    memmove(at + head_len, at + CHUNK_HEAD, n);
    out->end -= CHUNK_HEAD - head_len;
    queue(r->conn, buf_lit(out, "\r\n"));
}

void reply_body_end(struct request *r)
{
    struct conn *c = r->conn;
    r->body_bytes += buf_len(&c->out) - r->chunk_at - (is_chunking(r) ? CHUNK_HEAD : 0);
    if (r->is_head)
        c->out.end = c->out.start + r->chunk_at;
    else if (is_chunking(r))
        close_chunk(r);
    if (buf_len(&c->out) >= SERVER_HIGH_MARK)
        c->above_mark = true;
    loop_defer(c->server->loop, &c->work);
}

void reply_body(struct request *r, struct str bytes)
{
    struct buf *out = reply_body_begin(r);
    bool ok = buf_append(out, bytes);
    ASSERT(ok);
    reply_body_end(r);
}

void reply_end(struct request *r)
{
    ASSERT(r->reply == REPLY_SIZED || r->reply == REPLY_STREAM);
    struct conn *c = r->conn;
    bool ok = !is_chunking(r) || r->is_head || buf_lit(&c->out, "0\r\n\r\n");
    r->reply = REPLY_OVER;
    conn_drop_request(c);
    c->state = CONN_FLUSHING;
    queue(c, ok);
}

void reply_abort(struct request *r)
{
    struct conn *c = r->conn;
    r->reply = REPLY_OVER;
    conn_drop_request(c);
    stream_reset(&c->stream);
    conn_die(c);
}

size_t reply_queued(const struct request *r)
{
    return buf_len(&r->conn->out);
}

struct stream *server_hijack(struct request *r)
{
    struct conn *c = r->conn;
    struct stream *s = c->stream;
    c->stream = NULL;
    r->reply = REPLY_OVER;
    conn_drop_request(c);
    conn_die(c);
    return s;
}
