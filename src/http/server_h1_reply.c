/* server_h1_reply.c - the framing of replies in HTTP/1.1.
 *
 * A stream of unknown length goes out in chunks (RFC 9112 section 7.1), to HTTP/1.0 until the
 * connection closes. Room for a chunk's head is left before its data and closed up when its size is
 * known. All of it is only queued here; server_h1.c writes it at the end of the turn.
 */
#include "http/server_h1_int.h"

enum { CHUNK_HEAD = 10 }; /* room for "ffffffff\r\n" */

static void queue(struct conn *c, bool ok)
{
    ASSERT(ok); /* OUT_MAX is far above what one reply may hold */
    loop_defer(c->server->loop, &c->work);
}

static void head_end(struct request *r, int64_t length)
{
    struct conn *c = conn_of(r);
    bool ok = true;
    if (c->state == CONN_BODY || (length < 0 && r->http10) || c->server->draining)
        c->close_after = true; /* what is left of the body will not be read */
    if (length < 0 && !r->http10)
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

static void body_begin(struct request *r)
{
    if (!is_chunking(r))
        return;
    char *room = buf_reserve(r->out, CHUNK_HEAD);
    ASSERT(room);
    buf_commit(r->out, CHUNK_HEAD);
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
    struct buf *out = r->out;
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
    queue(conn_of(r), buf_lit(out, "\r\n"));
}

static void body_end(struct request *r)
{
    struct conn *c = conn_of(r);
    r->body_bytes += buf_len(&c->out) - r->chunk_at - (is_chunking(r) ? CHUNK_HEAD : 0);
    if (r->is_head)
        c->out.end = c->out.start + r->chunk_at;
    else if (is_chunking(r))
        close_chunk(r);
    if (buf_len(&c->out) >= SERVER_HIGH_MARK)
        c->above_mark = true;
    loop_defer(c->server->loop, &c->work);
}

static void end(struct request *r)
{
    struct conn *c = conn_of(r);
    bool ok = !is_chunking(r) || r->is_head || buf_lit(&c->out, "0\r\n\r\n");
    r->reply = REPLY_OVER;
    conn_drop_request(c);
    c->state = CONN_FLUSHING;
    queue(c, ok);
}

static void abort_reply(struct request *r)
{
    struct conn *c = conn_of(r);
    r->reply = REPLY_OVER;
    conn_drop_request(c);
    stream_reset(&c->stream);
    conn_die(c);
}

static struct stream *hijack(struct request *r)
{
    struct conn *c = conn_of(r);
    struct stream *s = c->stream;
    c->stream = NULL;
    r->reply = REPLY_OVER;
    conn_drop_request(c);
    conn_die(c);
    return s;
}

const struct transport transport_h1 = {
    .protocol = STR_INIT("HTTP/1.1"),
    .is_idle = conn_is_idle,
    .kill = conn_kill,
    .retire = conn_retire,
    .head_end = head_end,
    .body_begin = body_begin,
    .body_end = body_end,
    .end = end,
    .abort = abort_reply,
    .hijack = hijack,
};
