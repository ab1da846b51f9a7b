/* fuzz_upstream_error.c - any bytes as the body of an upstream's error, under several statuses.
 *
 * Whatever it is, it is classified, and what would be shown to a client is text that fits an
 * answer.
 */
#include "base/mem.h"
#include "base/text.h"
#include "llm/dialect.h"
#include "llm/upstream_error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int status, struct str body)
{
    struct arena a;
    struct json doc;
    struct buf out;
    struct upstream_error e = {0};
    arena_init(&a);
    json_init(&doc);
    buf_init(&out, 64 * 1024 * 1024);
    upstream_error_read(status, body, &doc, &a, &e);
    ASSERT(e.kind <= UPSTREAM_UNAVAILABLE);
    ASSERT(text_utf8_valid(e.message) == e.message.n);
    const struct api_error shown = {
        .status = 500, .type = e.type, .code = e.code, .param = e.param, .message = e.message};
    openai_error_body(&shown, &out);
    ASSERT(json_parse(&doc, buf_str(&out)) == JSON_OK);
    buf_done(&out);
    json_done(&doc);
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {0, 400, 401, 402, 403, 404, 413, 429, 500, 502, 529};
    struct str body = str_of((const char *)data, size);
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        check(statuses[i], body);
    ASSERT(mem_live() == 0);
    return 0;
}
