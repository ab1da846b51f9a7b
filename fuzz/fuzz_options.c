/* fuzz_options.c - any bytes as the value of an option, and as what a peer says about waiting. */
#include "config/parse.h"
#include "proxy/endpoint.h"
#include "proxy/retry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_of((const char *)data, size), rest;
    int64_t n;
    bool b;
    const char *unsupported;
    ASSERT(!parse_duration(s, &n) || n >= 0);
    ASSERT(!parse_bytes(s, &n) || n >= 0);
    (void)(parse_bool(s, &b) && parse_is_clean(s));
    ASSERT(retry_after_us(s, s) >= -1);
    const struct endpoint *e = endpoint_find(s, &rest, &unsupported);
    ASSERT(!e || !rest.p || (rest.p >= s.p && rest.p + rest.n <= s.p + s.n));
    return 0;
}
