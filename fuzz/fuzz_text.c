/* fuzz_text.c - the small parsers of base on arbitrary bytes, held to what they promise.
 *
 * Nothing may be read or written out of bounds (each input stands alone in its own allocation, as
 * the fuzzer hands it over), and what is accepted must survive the way back.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_base64(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, s.n);
    char *again = arena_alloc(a, s.n + 4);
    ssize_t n = text_base64_decode(s, out, s.n);
    struct str encoded;

    if (n < 0)
        return;
    ASSERT((size_t)n <= s.n * 3 / 4);
    encoded = text_base64_encode(a, out, (size_t)n);
    ASSERT(text_base64_decode(encoded, again, s.n + 4) == n);
    ASSERT(n == 0 || memcmp(out, again, (size_t)n) == 0);
    /* Less room gives the same bytes, fewer of them. */
    ASSERT(text_base64_decode(s, again, (size_t)n / 2) == n / 2);
    ASSERT(n < 2 || memcmp(out, again, (size_t)n / 2) == 0);
}

static void try_percent(struct arena *a, struct str s)
{
    struct str plain;

    if (!text_percent_decode(a, s, &plain))
        return;
    ASSERT(plain.n <= s.n);
    ASSERT(str_find(s, '%') < s.n || str_eq(plain, s));
}

static void try_utf8(struct str s)
{
    size_t n = text_utf8_valid(s);

    ASSERT(n <= s.n);
    ASSERT(text_utf8_valid(str_head(s, n)) == n);
    ASSERT(n == s.n || text_utf8_valid(str_skip(s, n)) == 0);
}

static void try_dates(struct str s)
{
    char out[CLOCK_TEXT];
    uint64_t us, again_us;

    if (clock_parse_rfc3339(s, &us) && us < UINT64_C(253402300800000000)) {
        ASSERT(clock_parse_rfc3339(clock_rfc3339(us, out), &again_us));
        ASSERT(again_us == us / 1000 * 1000);
    }
    if (clock_parse_http_date(s, &us) && us < UINT64_C(253402300800000000)) {
        ASSERT(clock_parse_http_date(clock_http_date(us, out), &again_us));
        ASSERT(again_us == us);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_of((const char *)data, size);
    struct arena a;

    arena_init(&a);
    try_base64(&a, s);
    try_percent(&a, s);
    try_utf8(s);
    try_dates(s);
    arena_done(&a);
    ASSERT(mem_live() == 0);
    return 0;
}
