/* fuzz_completions.c - the first line as a Completions request, the rest as the text of its answer.
 *
 * However the text is cut into deltas, the answer must be the same: stop sequences are looked for
 * across them.
 */
#include "base/mem.h"
#include "base/text.h"
#include "llm/dialect.h"
#include "wire/jsonw.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ANSWER_MAX = 16 * 1024 * 1024 };

/* Bytes of the first character. */
static size_t character(struct str s)
{
    for (size_t n = 1; n < 4 && n <= s.n; n++)
        if (text_utf8_valid(str_head(s, n)) == n)
            return n;
    return size_min(s.n, 4);
}

/* Tells one delta, as the inside of a JSON string. */
static void tell(struct encoder *e, const struct answer *a, struct str text)
{
    struct buf json;
    struct jsonw w;
    buf_init(&json, ANSWER_MAX);
    jsonw_to_buf(&w, &json);
    jsonw_str(&w, text);
    struct str quoted = buf_str(&json);
    struct event ev = {.type = EVENT_TEXT, .text = str_of(quoted.p + 1, quoted.n - 2)};
    bool fits = dialect_completions.event(e, a, &ev, NULL);
    ASSERT(fits);
    buf_done(&json);
}

static void answer(const struct decoded *d, struct str text, bool cut, struct buf *out)
{
    const struct encoder_options o = {.id = STR("x"), .created = 1, .whole_max = ANSWER_MAX};
    const struct event start = {.type = EVENT_MESSAGE_START};
    struct arena keep;
    struct answer a;
    arena_init(&keep);
    answer_init(&a);
    struct encoder *e = dialect_completions.open(&keep, d, &o);
    bool ok = dialect_completions.event(e, &a, &start, NULL);
    while (ok && text.n > 0) {
        size_t n = cut ? character(text) : text.n;
        tell(e, &a, str_head(text, n));
        text = str_skip(text, n);
    }
    ok = ok && dialect_completions.finish(e, &a, out);
    ASSERT(ok);
    dialect_completions.close(e);
    arena_done(&keep);
}

static void compare(const struct decoded *d, struct str text)
{
    struct buf whole, cut;
    struct json doc;
    buf_init(&whole, ANSWER_MAX);
    buf_init(&cut, ANSWER_MAX);
    json_init(&doc);
    answer(d, text, false, &whole);
    answer(d, text, true, &cut);
    ASSERT(str_eq(buf_str(&whole), buf_str(&cut)));
    ASSERT(json_parse(&doc, buf_str(&whole)) == JSON_OK);
    json_done(&doc);
    buf_done(&whole);
    buf_done(&cut);
}

static void fuzz_answer(struct str request, struct str text)
{
    char why[MODELS_ERROR];
    struct models *models = models_new(&(struct models_options){0}, why);
    const struct decode_options o = {.models = models};
    struct arena keep, scratch;
    struct json doc;
    struct decoded d;
    struct request_error error;
    arena_init(&keep);
    arena_init(&scratch);
    json_init(&doc);
    if (dialect_completions.decode(&o, &doc, request, &keep, &scratch, &d, &error))
        compare(&d, text);
    json_done(&doc);
    arena_done(&keep);
    arena_done(&scratch);
    models_free(models);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of((const char *)data, size);
    size_t line = str_find(in, '\n');
    struct str text = str_skip(in, size_min(line + 1, in.n));
    fuzz_answer(str_head(in, line), str_head(text, text_utf8_valid(text)));
    ASSERT(mem_live() == 0);
    return 0;
}
