/* fuzz_proxy_header.c - PROXY headers in arbitrary bytes.
 *
 * A header ends where it says, so it is the same whatever follows it; what is wrong stays wrong,
 * however much comes; and more is asked for only where a header can still be.
 */
#include "wire/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_cuts(struct str input, enum proxy_header_result result, size_t end)
{
    for (size_t n = 0; n < input.n && n <= PROXY_HEADER_MAX; n++) {
        struct proxy_header h;
        enum proxy_header_result part = proxy_header_read(str_head(input, n), &h);
        if (result == PROXY_HEADER_DONE)
            ASSERT(part == (n < end ? PROXY_HEADER_MORE : PROXY_HEADER_DONE));
        else
            ASSERT(part == PROXY_HEADER_MORE || part == result);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = str_of((const char *)data, size);
    struct proxy_header h;
    enum proxy_header_result result = proxy_header_read(input, &h);
    ASSERT(result != PROXY_HEADER_DONE ||
           (h.size > 0 && h.size <= size_min(size, PROXY_HEADER_MAX)));
    ASSERT(result != PROXY_HEADER_MORE || size < PROXY_HEADER_MAX);
    ASSERT((result == PROXY_HEADER_BAD) == (h.fault != NULL));
    check_cuts(input, result, h.size);
    return 0;
}
