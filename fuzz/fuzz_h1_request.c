/* fuzz_h1_request.c - request heads from arbitrary bytes.
 *
 * Fed whole and byte by byte the answer must be the same. An accepted head holds what h1.h
 * promises: spans inside the input, one framing that its fields say, no control characters; and
 * written again from its parts it is read as the same message.
 */
#include "base/mem.h"
#include "wire/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD_MAX = 2048 }; /* small, so that inputs reach it */

static bool is_inside(struct str s, struct str in)
{
    return !s.p || (s.p >= in.p && s.p + s.n <= in.p + in.n);
}

static void check_lines(struct str used)
{
    ASSERT(str_ends(used, STR("\r\n\r\n")));
    for (size_t i = 0; i < used.n; i++) {
        ASSERT(used.p[i] != '\0');
        ASSERT(used.p[i] != '\n' || (i > 0 && used.p[i - 1] == '\r'));
        ASSERT(used.p[i] != '\r' || used.p[i + 1] == '\n');
    }
}

static void check_fields(const struct h1_head *head, struct str used)
{
    ASSERT(head->n_fields <= H1_FIELDS_MAX);
    for (size_t i = 0; i < head->n_fields; i++) {
        const struct h1_field *f = &head->fields[i];
        ASSERT(f->name.n > 0 && is_inside(f->name, used) && is_inside(f->value, used));
        ASSERT(str_find(f->name, '_') == f->name.n && h1_is_field_value(f->value));
        ASSERT(str_eq(str_trim(f->value), f->value));
    }
    static const struct str names[] = {
#define X(id, name) STR_INIT(name),
        H1_KNOWN_FIELDS(X)
#undef X
    };
    for (size_t k = 0; k < H1_KNOWN_COUNT; k++) {
        struct str first = h1_field(head, names[k]);
        ASSERT(first.p == head->known[k].p && first.n == head->known[k].n);
    }
}

static void check_framing(const struct h1_head *head)
{
    struct str length = head->known[H1_CONTENT_LENGTH];
    struct str encoding = head->known[H1_TRANSFER_ENCODING];
    uint64_t n = 0;

    ASSERT(head->framing != H1_UNTIL_CLOSE);
    ASSERT((head->framing == H1_CHUNKED) == (encoding.p != NULL));
    ASSERT((head->framing == H1_SIZED) == (length.p != NULL));
    if (encoding.p)
        ASSERT(str_eq_nocase(encoding, STR("chunked")) && !head->http10);
    if (length.p)
        ASSERT(str_to_u64(length, &n));
    ASSERT(n == head->content_length);
    ASSERT(!head->expect_continue || head->framing == H1_CHUNKED || n > 0);
    ASSERT(head->http10 || head->known[H1_HOST].n > 0);
}

static void check_target(const struct h1_head *head, struct str used)
{
    ASSERT(head->target.n > 0 && is_inside(head->target, used));
    ASSERT(is_inside(head->authority, used) && is_inside(head->query, head->target));
    ASSERT(is_inside(head->path, head->target) || head->path.n == 1);
    ASSERT(head->path.n > 0);
    ASSERT(head->path.p[0] == '/' || head->method == H1_OPTIONS || head->method == H1_OTHER);
    ASSERT(head->method_text.n > 0 && head->method_text.n <= H1_METHOD_MAX);
}

static void check_written_again(const struct h1_head *head)
{
    static struct h1_head again;
    size_t used = 0, scanned = 0;
    enum h1_error error;
    struct buf b;

    if (head->http10)
        return;
    buf_init(&b, HEAD_MAX * 2);
    ASSERT(h1_write_request_line(&b, head->method_text, head->target));
    for (size_t i = 0; i < head->n_fields; i++)
        ASSERT(h1_write_field(&b, head->fields[i].name, head->fields[i].value));
    ASSERT(buf_lit(&b, "\r\n"));
    ASSERT(h1_parse_request(buf_str(&b), HEAD_MAX * 2, &scanned, &again, &used, &error) == H1_DONE);
    ASSERT(used == buf_len(&b) && again.n_fields == head->n_fields);
    ASSERT(again.method == head->method && again.framing == head->framing);
    ASSERT(again.content_length == head->content_length);
    ASSERT(again.keep_alive == head->keep_alive && str_eq(again.path, head->path));
    ASSERT(str_eq(again.query, head->query) && str_eq(again.authority, head->authority));
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct h1_head head;
    struct str in = str_of((const char *)data, size);
    size_t whole_used = 0, used = 0, scanned = 0;
    enum h1_error whole_error = H1_OK, error = H1_OK;
    enum h1_result result = H1_MORE, whole;

    for (size_t n = 0; n <= size && result == H1_MORE; n++)
        result = h1_parse_request(str_head(in, n), HEAD_MAX, &scanned, &head, &used, &error);
    scanned = 0;
    whole = h1_parse_request(in, HEAD_MAX, &scanned, &head, &whole_used, &whole_error);
    ASSERT(whole == result);
    if (whole == H1_BAD)
        ASSERT(whole_error == error && error != H1_OK);
    if (whole == H1_DONE) {
        struct str text = str_head(in, used);
        ASSERT(used == whole_used && used <= HEAD_MAX);
        check_lines(text);
        check_fields(&head, text);
        check_framing(&head);
        check_target(&head, text);
        check_written_again(&head);
    }
    ASSERT(mem_live() == 0);
    return 0;
}
