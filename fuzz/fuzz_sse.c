/* fuzz_sse.c - a stream of events in one piece and in random pieces: the events must be the same.
 *
 * The first two bytes of the input choose the pieces, the third the longest event, the rest is the
 * stream.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "wire/sse.h"

enum { OUT_MAX = 64 * 1024 * 1024, HEAD = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void note_part(struct buf *seen, struct str s)
{
    size_t n = s.p ? s.n : SIZE_MAX;

    buf_append(seen, str_of((const char *)&n, sizeof(n)));
    if (s.p)
        buf_append(seen, s);
}

static bool within(struct str s, const char *p, size_t used)
{
    return !s.p || (s.p >= p && s.p + s.n <= p + used);
}

/* Takes what events there are; what was not consumed stays in pending. */
static enum sse_result take_events(struct sse *s, struct buf *pending, struct buf *seen)
{
    for (;;) {
        size_t n = buf_len(pending), used = 0;
        char *copy = mem_alloc(n); /* in a block of its own size, for the sanitizers */
        struct sse_event e;
        enum sse_result result;
        if (n)
            memcpy(copy, buf_str(pending).p, n);
        result = sse_next(s, copy, n, &e, &used);
        if (result == SSE_EVENT) {
            ASSERT(used > 0 && used <= n && within(e.name, copy, used) &&
                   within(e.data, copy, used));
            ASSERT(!e.comment || (!e.name.p && !e.data.p));
            buf_lit(seen, "E");
            note_part(seen, e.name);
            note_part(seen, e.data);
        }
        mem_free(copy);
        if (result != SSE_EVENT)
            return result;
        buf_consume(pending, used);
    }
}

/* seed 0: all at once; 1: byte by byte; else pieces of 1 to 16 bytes. */
static void feed(struct str text, uint32_t seed, size_t max, struct buf *seen)
{
    enum sse_result result = SSE_MORE;
    struct buf pending;
    struct sse s;

    buf_init(&pending, OUT_MAX);
    sse_init(&s, max);
    for (size_t at = 0; at < text.n && result == SSE_MORE;) {
        size_t n = seed == 0 ? text.n : seed == 1 ? 1 : 1 + (seed >> 16) % 16;
        n = size_min(n, text.n - at);
        buf_append(&pending, str_of(text.p + at, n));
        result = take_events(&s, &pending, seen);
        at += n;
        if (seed > 1)
            seed = (seed * 1664525 + 1013904223) | 2;
    }
    if (result == SSE_BAD)
        buf_lit(seen, "B");
    buf_done(&pending);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, bytes, pieces;
    struct str text;
    size_t max;

    if (size < HEAD)
        return 0;
    text = str_of((const char *)data + HEAD, size - HEAD);
    max = data[2] == 0xff ? OUT_MAX : (size_t)data[2] + 1;
    buf_init(&whole, OUT_MAX);
    buf_init(&bytes, OUT_MAX);
    buf_init(&pieces, OUT_MAX);
    feed(text, 0, max, &whole);
    feed(text, 1, max, &bytes);
    feed(text, 2 + data[0] + 256u * data[1], max, &pieces);
    ASSERT(str_eq(buf_str(&whole), buf_str(&bytes)));
    ASSERT(str_eq(buf_str(&whole), buf_str(&pieces)));
    buf_done(&whole);
    buf_done(&bytes);
    buf_done(&pieces);
    ASSERT(mem_live() == 0);
    return 0;
}
