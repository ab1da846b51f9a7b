/* server_reply.c - what a handler writes: the head, the body, the end. How they are framed is the
 * transport's; here they gather in the order of server.h, and that order is kept.
 */
#include "base/clock.h"
#include "http/server_int.h"

/* OUT_MAX is far above what one reply may hold: the relay stops at the high mark. */
static void hold(bool ok)
{
    ASSERT(ok);
}

void reply_start(struct request *r, int status)
{
    ASSERT(r->reply == REPLY_NONE);
    r->reply = REPLY_HEAD;
    char date[CLOCK_TEXT];
    hold(h1_write_status_line(r->out, status) &&
         h1_write_field(r->out, STR("Date"), clock_http_date(clock_wall_us(), date)));
}

void reply_field(struct request *r, struct str name, struct str value)
{
    ASSERT(r->reply == REPLY_HEAD);
    hold(h1_write_field(r->out, name, value));
}

void reply_field_u64(struct request *r, struct str name, uint64_t value)
{
    ASSERT(r->reply == REPLY_HEAD);
    hold(h1_write_field_u64(r->out, name, value));
}

void reply_lines(struct request *r, struct str lines)
{
    ASSERT(r->reply == REPLY_HEAD);
    hold(buf_append(r->out, lines));
}

void reply_head_end(struct request *r, int64_t length)
{
    ASSERT(r->reply == REPLY_HEAD);
    r->reply = length < 0 ? REPLY_STREAM : REPLY_SIZED;
    if (length >= 0)
        hold(h1_write_field_u64(r->out, STR("Content-Length"), (uint64_t)length));
    r->transport->head_end(r, length);
}

struct buf *reply_body_begin(struct request *r)
{
    ASSERT(r->reply == REPLY_SIZED || r->reply == REPLY_STREAM);
    r->chunk_at = buf_len(r->out);
    r->transport->body_begin(r);
    return r->out;
}

void reply_body_end(struct request *r)
{
    r->transport->body_end(r);
}

void reply_body(struct request *r, struct str bytes)
{
    hold(buf_append(reply_body_begin(r), bytes));
    reply_body_end(r);
}

void reply_end(struct request *r)
{
    ASSERT(r->reply == REPLY_SIZED || r->reply == REPLY_STREAM);
    r->transport->end(r);
}

void reply_abort(struct request *r)
{
    r->transport->abort(r);
}

size_t reply_queued(const struct request *r)
{
    return buf_len(r->out);
}

struct str request_protocol(const struct request *r)
{
    return r->http10 ? STR("HTTP/1.0") : r->transport->protocol;
}

struct stream *server_hijack(struct request *r)
{
    return r->transport->hijack(r);
}
