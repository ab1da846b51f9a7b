/* h1_feed.h - feeds a head to the parser whole and byte by byte, for the tests of HTTP/1.1.
 *
 * Inputs stand in blocks of their exact size, so that a sanitizer sees a read behind the end. The
 * answer must be the same both ways. Included by one test program each, hence the definitions.
 */
#ifndef CCPROXY_TESTS_H1_FEED_H
#define CCPROXY_TESTS_H1_FEED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wire/h1.h"

enum { HEAD_MAX = 32 * 1024 };

struct outcome {
    enum h1_result result;
    enum h1_error error;
    size_t used;
};

enum kind { REQUEST, RESPONSE, RESPONSE_TO_HEAD };

static struct h1_head head; /* of the last parse; its spans die with the input's copy */

static enum h1_result parse(enum kind kind, struct str in, size_t head_max, size_t *scanned,
                            struct outcome *o)
{
    if (kind == REQUEST)
        return h1_parse_request(in, head_max, scanned, &head, &o->used, &o->error);
    return h1_parse_response(in, head_max, kind == RESPONSE_TO_HEAD, scanned, &head, &o->used,
                             &o->error);
}

static struct outcome parse_whole(enum kind kind, struct str in, size_t head_max)
{
    struct outcome o = {.error = H1_OK};
    size_t scanned = 0;
    char *copy = mem_alloc(in.n + 1);

    memcpy(copy + 1, in.p, in.n);
    o.result = parse(kind, str_of(copy + 1, in.n), head_max, &scanned, &o);
    if (o.result == H1_DONE)
        assert_int_equal(scanned, 0);
    mem_free(copy);
    return o;
}

static struct outcome parse_bytes(enum kind kind, struct str in, size_t head_max)
{
    struct outcome o = {.error = H1_OK};
    size_t scanned = 0;

    for (size_t n = 0; n <= in.n; n++) {
        char *copy = mem_alloc(n + 1);
        memcpy(copy + 1, in.p, n);
        o.result = parse(kind, str_of(copy + 1, n), head_max, &scanned, &o);
        mem_free(copy);
        if (o.result != H1_MORE)
            break;
        assert_true(scanned <= n);
    }
    return o;
}

/* Both ways; the last parse was of in itself, so that the spans in head can be looked at. */
static struct outcome parse_head_max(enum kind kind, struct str in, size_t head_max)
{
    struct outcome whole = parse_whole(kind, in, head_max);
    struct outcome bytes = parse_bytes(kind, in, head_max);
    size_t scanned = 0;

    if (whole.result != bytes.result || (whole.result == H1_BAD && whole.error != bytes.error))
        fail_msg("fed byte by byte it differs: %.*s", STR_FMT(in));
    if (whole.result == H1_DONE)
        assert_int_equal(whole.used, bytes.used);
    (void)parse(kind, in, head_max, &scanned, &whole);
    return whole;
}

static struct outcome parse_head(enum kind kind, struct str in)
{
    return parse_head_max(kind, in, HEAD_MAX);
}

#endif
