/* h2_peer.h - for tests of the HTTP/2 server: frames by hand, right or wrong, and a reader of what
 * comes back. Header blocks are literals without any table, so that a byte stands for itself. */
#ifndef CCPROXY_TESTS_H2_PEER_H
#define CCPROXY_TESTS_H2_PEER_H

#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "peer.h"
#include "wire/h2.h"

enum { FRAMES_MAX = 16 * 1024 * 1024 };

static inline struct buf frames_new(void)
{
    struct buf b;

    buf_init(&b, FRAMES_MAX);
    return b;
}

static inline void put_u32(struct buf *b, uint32_t n)
{
    const char bytes[] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};

    assert_true(buf_append(b, str_of(bytes, 4)));
}

static inline void put_frame(struct buf *b, int type, int flags, uint32_t stream,
                             struct str payload)
{
    const char head[] = {(char)(payload.n >> 16), (char)(payload.n >> 8), (char)payload.n,
                         (char)type, (char)flags};

    assert_true(buf_append(b, str_of(head, 5)));
    put_u32(b, stream);
    assert_true(buf_append(b, payload));
}

static inline void put_number(struct buf *b, int type, uint32_t stream, uint32_t number)
{
    struct buf payload = frames_new();

    put_u32(&payload, number);
    put_frame(b, type, 0, stream, buf_str(&payload));
    buf_done(&payload);
}

static inline void put_length(struct buf *b, size_t n)
{
    char c = (char)size_min(n, 127);

    assert_true(buf_append(b, str_of(&c, 1)));
    if (n < 127)
        return;
    for (n -= 127; n >= 128; n >>= 7) {
        c = (char)(0x80 | (n & 127));
        assert_true(buf_append(b, str_of(&c, 1)));
    }
    c = (char)n;
    assert_true(buf_append(b, str_of(&c, 1)));
}

/* A literal that is not indexed (RFC 7541 section 6.2.2). */
static inline void put_field(struct buf *block, struct str name, struct str value)
{
    assert_true(buf_append(block, str_of("", 1)));
    put_length(block, name.n);
    assert_true(buf_append(block, name));
    put_length(block, value.n);
    assert_true(buf_append(block, value));
}

/* "name=value|name=value": into a header block. */
static inline void put_fields(struct buf *block, const char *fields)
{
    struct str rest = str_c(fields), one;

    while (fields[0] && str_split(&rest, '|', &one)) {
        size_t eq = str_find(one, '=');

        put_field(block, str_head(one, eq), str_skip(one, eq + 1));
    }
}

static inline void put_headers(struct buf *b, uint32_t stream, int flags, const char *fields)
{
    struct buf block = frames_new();

    put_fields(&block, fields);
    put_frame(b, H2_HEADERS, flags, stream, buf_str(&block));
    buf_done(&block);
}

/* Sends what was put together, and begins anew. */
static inline void send_frames(struct peer *p, struct buf *b)
{
    peer_send(p, buf_str(b));
    buf_clear(b);
}

/* The nth (from 0) frame of that type on that stream that has come. */
static inline bool find_frame(struct peer *p, int type, uint32_t stream, size_t nth,
                              struct h2_frame *ret, struct str *ret_payload)
{
    struct str in = str_of(peer_poll(p)->text, p->n);
    struct h2_walk w = {0};
    size_t at = 0;

    while (h2_walk_next(&w, in, &at, ret) && at + ret->length <= in.n) {
        *ret_payload = str_of(in.p + at, ret->length);
        if (ret->type == type && ret->stream == stream && nth-- == 0)
            return true;
    }
    return false;
}

static inline uint32_t number_at(struct str s, size_t at)
{
    const unsigned char *p = (const unsigned char *)s.p + at;

    assert_true(at + 4 <= s.n);
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline bool has_frame(struct peer *p, int type, uint32_t stream)
{
    struct h2_frame f;
    struct str payload;

    return find_frame(p, type, stream, 0, &f, &payload);
}

/* The error code of a RST_STREAM, or of the last GOAWAY (stream 0); -1: none has come. */
static inline int64_t error_of(struct peer *p, uint32_t stream)
{
    struct h2_frame f;
    struct str payload;
    int64_t code = -1;

    if (stream > 0) {
        if (find_frame(p, H2_RST_STREAM, stream, 0, &f, &payload))
            code = number_at(payload, 0);
        return code;
    }
    for (size_t i = 0; find_frame(p, H2_GOAWAY, 0, i, &f, &payload); i++)
        code = number_at(payload, 4);
    return code;
}

static inline int status_in(nghttp2_hd_inflater *inflater, struct str block)
{
    int status = 0, flags;
    nghttp2_nv nv;

    do {
        ssize_t n =
            nghttp2_hd_inflate_hd2(inflater, &nv, &flags, (const uint8_t *)block.p, block.n, 1);

        assert_true(n >= 0);
        block = str_skip(block, (size_t)n);
        if (flags & NGHTTP2_HD_INFLATE_EMIT && nv.namelen == 7 && !memcmp(nv.name, ":status", 7))
            status = (nv.value[0] - '0') * 100 + (nv.value[1] - '0') * 10 + (nv.value[2] - '0');
    } while (!(flags & NGHTTP2_HD_INFLATE_FINAL));
    nghttp2_hd_inflate_end_headers(inflater);
    return status;
}

/* The status of the nth head on a stream, 0 when it has not come. */
static inline int status_of(struct peer *p, uint32_t stream, size_t nth)
{
    struct str in = str_of(peer_poll(p)->text, p->n);
    nghttp2_hd_inflater *inflater;
    struct h2_walk w = {0};
    struct h2_frame f;
    size_t at = 0;
    int found = 0;

    assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
    while (!found && h2_walk_next(&w, in, &at, &f) && at + f.length <= in.n) {
        int status = f.type == H2_HEADERS ? status_in(inflater, str_of(in.p + at, f.length)) : 0;

        if (status && f.stream == stream && nth-- == 0)
            found = status;
    }
    nghttp2_hd_inflate_del(inflater);
    return found;
}

/* The DATA of a stream so far, as one text that lasts until the next call; NULL until END_STREAM
 * when it must be whole. */
static inline const char *body_of(struct peer *p, uint32_t stream, bool whole)
{
    static char text[PEER_TEXT];
    struct h2_frame f;
    struct str payload;
    size_t n = 0;
    bool ended = false;

    for (size_t i = 0; find_frame(p, H2_HEADERS, stream, i, &f, &payload); i++)
        ended = f.flags & H2_END_STREAM;
    for (size_t i = 0; find_frame(p, H2_DATA, stream, i, &f, &payload); i++) {
        memcpy(text + n, payload.p, payload.n);
        n += payload.n;
        ended = f.flags & H2_END_STREAM;
    }
    text[n] = 0;
    return whole && !ended ? NULL : text;
}

static inline bool has_body(struct peer *p, uint32_t stream, const char *text)
{
    const char *body = body_of(p, stream, true);

    return body && !strcmp(body, text);
}

#endif
