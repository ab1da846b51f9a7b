/* fuzz_redis_reply.c - a server's bytes, whole and in two pieces: the same replies, within bounds. */
#include "base/hash.h"
#include "base/mem.h"
#include "store/redis_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BYTES_MAX = 2048, ITEMS_MAX = 128 };

static size_t count(const struct redis_reply *r)
{
    size_t n = 1;
    ASSERT(r);
    if (r->type != REDIS_ARRAY)
        return n;
    for (size_t i = 0; i < r->n; i++)
        n += count(r->items[i]);
    return n;
}

/* Replies taken; *ret_bad: the rest is none. */
static size_t take(struct redis_reader *reader, bool *ret_bad)
{
    const struct redis_reply *r;
    enum redis_read how;
    size_t n = 0;
    while ((how = redis_reader_next(reader, &r)) == REDIS_READ_DONE) {
        ASSERT(count(r) <= ITEMS_MAX);
        ASSERT(r->text.n <= BYTES_MAX);
        n++;
    }
    *ret_bad = how == REDIS_READ_BAD;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_of((const char *)data, size_min(size, BYTES_MAX));
    bool bad;
    if (s.n == 0)
        return 0;
    struct redis_reader *whole = redis_reader_new(BYTES_MAX, ITEMS_MAX);
    redis_reader_feed(whole, s);
    size_t n = take(whole, &bad);
    redis_reader_free(whole);

    struct redis_reader *cut = redis_reader_new(BYTES_MAX, ITEMS_MAX);
    size_t at = (size_t)hash_sip(s) % s.n, m = 0;
    bool bad_cut = false;
    redis_reader_feed(cut, str_head(s, at));
    m = take(cut, &bad_cut);
    if (!bad_cut) {
        redis_reader_feed(cut, str_skip(s, at));
        m += take(cut, &bad_cut);
    }
    redis_reader_free(cut);
    ASSERT(n == m && bad == bad_cut);
    ASSERT(mem_live() == 0);
    return 0;
}
