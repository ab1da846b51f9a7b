/* fuzz_options.c - any bytes as the value of an option, and as what a peer says about waiting. */
#include "config/parse.h"
#include "proxy/endpoint.h"
#include "proxy/retry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_of((const char *)data, size);
    int64_t n;
    bool b;
    ASSERT(!parse_duration(s, &n) || n >= 0);
    ASSERT(!parse_bytes(s, &n) || n >= 0);
    (void)(parse_bool(s, &b) && parse_is_clean(s));
    ASSERT(retry_after_us(s, s) >= -1);
    struct endpoint_match m = endpoint_find(s, size % 2);
    ASSERT(m.id.n == 0 || (m.id.p >= s.p && m.id.p + m.id.n <= s.p + s.n));
    return 0;
}
