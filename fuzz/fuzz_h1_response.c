/* fuzz_h1_response.c - response heads from arbitrary bytes: an upstream is as little trusted as a
 * client.
 *
 * Fed whole and byte by byte the answer must be the same, to a HEAD request as well. An accepted
 * head has its spans inside the input and the framing that its status and fields say.
 */
#include "base/mem.h"
#include "wire/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD_MAX = 2048 };

static struct h1_head head;

static bool is_inside(struct str s, struct str in)
{
    return s.p >= in.p && s.p + s.n <= in.p + in.n;
}

static void check_head(struct str used, bool is_head)
{
    bool has_length = head.known[H1_CONTENT_LENGTH].p != NULL;
    bool has_encoding = head.known[H1_TRANSFER_ENCODING].p != NULL;
    bool has_body = !is_head && head.status >= 200 && head.status != 204 && head.status != 304;

    ASSERT(str_ends(used, STR("\r\n\r\n")) && str_starts(used, STR("HTTP/1.")));
    ASSERT(head.status >= 100 && head.status <= 599 && head.n_fields <= H1_FIELDS_MAX);
    for (size_t i = 0; i < head.n_fields; i++) {
        const struct h1_field *f = &head.fields[i];
        ASSERT(f->name.n > 0 && is_inside(f->name, used) && is_inside(f->value, used));
        ASSERT(h1_is_field_value(f->value));
    }
    ASSERT(!(has_length && has_encoding));
    if (!has_body)
        ASSERT(head.framing == H1_NO_BODY);
    else if (has_encoding)
        ASSERT(head.framing == H1_CHUNKED && !head.http10);
    else
        ASSERT(head.framing == (has_length ? H1_SIZED : H1_UNTIL_CLOSE));
    ASSERT(head.framing != H1_UNTIL_CLOSE || !head.keep_alive);
}

static void try_response(struct str in, bool is_head)
{
    size_t whole_used = 0, used = 0, scanned = 0;
    enum h1_error whole_error = H1_OK, error = H1_OK;
    enum h1_result result = H1_MORE, whole;

    for (size_t n = 0; n <= in.n && result == H1_MORE; n++)
        result =
            h1_parse_response(str_head(in, n), HEAD_MAX, is_head, &scanned, &head, &used, &error);
    scanned = 0;
    whole = h1_parse_response(in, HEAD_MAX, is_head, &scanned, &head, &whole_used, &whole_error);
    ASSERT(whole == result);
    if (whole == H1_BAD)
        ASSERT(whole_error == error && error != H1_OK);
    if (whole != H1_DONE)
        return;
    ASSERT(used == whole_used && used <= HEAD_MAX);
    check_head(str_head(in, used), is_head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of((const char *)data, size);

    try_response(in, false);
    try_response(in, true);
    ASSERT(mem_live() == 0);
    return 0;
}
