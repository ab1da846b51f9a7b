/* fuzz_h1_chunked.c - chunked bodies from arbitrary bytes.
 *
 * However the input is cut, the same bytes must be consumed, the same data come out and the same
 * end be found; and what was decoded must survive being written in chunks and decoded again.
 */
#include "base/mem.h"
#include "wire/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1024 * 1024 };

struct decoded {
    enum h1_result result;
    size_t used;
    struct buf data;
};

/* Feeds what has come of in up to end, from where the last call stopped. */
static void decode_up_to(struct h1_chunked *c, struct str in, struct decoded *d)
{
    do {
        struct str rest = str_skip(in, d->used), data;
        size_t used;
        d->result = h1_chunked_next(c, rest, &used, &data);
        ASSERT(used <= rest.n && (used > 0 || rest.n == 0 || d->result == H1_BAD));
        if (data.n) {
            ASSERT(data.p >= rest.p && data.p + data.n == rest.p + used);
            ASSERT(buf_append(&d->data, data));
        }
        d->used += used;
    } while (d->result == H1_MORE && d->used < in.n);
}

static void decode(struct str in, size_t piece, struct decoded *d)
{
    struct h1_chunked c;
    size_t n = 0;

    *d = (struct decoded){.result = H1_MORE};
    buf_init(&d->data, INPUT_MAX);
    h1_chunked_init(&c);
    while (d->result == H1_MORE && n < in.n) {
        n = size_min(in.n, n + piece);
        decode_up_to(&c, str_head(in, n), d);
    }
    ASSERT(c.total == buf_len(&d->data));
}

static void check_written_again(struct str data)
{
    struct decoded d;
    struct buf b;

    buf_init(&b, INPUT_MAX * 8);
    for (size_t at = 0; at < data.n;) {
        size_t n = size_min(data.n - at, 1 + at % 17);
        ASSERT(h1_write_chunk(&b, str_of(data.p + at, n)));
        at += n;
    }
    ASSERT(buf_lit(&b, "0\r\n\r\n"));
    decode(buf_str(&b), INPUT_MAX, &d);
    ASSERT(d.result == H1_DONE && d.used == buf_len(&b) && str_eq(buf_str(&d.data), data));
    buf_done(&d.data);
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 2, 7};
    struct str in = str_of((const char *)data, size);
    struct decoded whole;

    if (size == 0 || size > INPUT_MAX)
        return 0;
    decode(in, size, &whole);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct decoded d;
        decode(in, pieces[i], &d);
        ASSERT(d.result == whole.result && d.used == whole.used);
        ASSERT(str_eq(buf_str(&d.data), buf_str(&whole.data)));
        buf_done(&d.data);
    }
    if (whole.result == H1_DONE)
        check_written_again(buf_str(&whole.data));
    buf_done(&whole.data);
    ASSERT(mem_live() == 0);
    return 0;
}
