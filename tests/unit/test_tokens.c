/* test_tokens.c - the guess of a prompt's tokens: what it goes by, and that it costs the same for a small
 * prompt and a large one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "llm/tokens.h"

static const struct model coarse = {.can = 0}, fine = {.can = FINE_TOKENS};
static struct arena a;

static uint64_t guess(const struct model *model, enum block_type type, struct str text)
{
    struct messages_request m = {.model = model};
    struct turn *t = messages_turn(&a, &m, ROLE_USER);
    struct block *b = blocks_add(&a, &t->blocks, type);
    b->text = text;
    b->source = SOURCE_BASE64;
    return tokens_of_prompt(&m, text.n);
}

static struct str repeated(const char *what, size_t n)
{
    size_t len = strlen(what);
    char *p = arena_alloc(&a, n * len);
    for (size_t i = 0; i < n; i++)
        memcpy(p + i * len, what, len);
    return str_of(p, n * len);
}

static void test_texts(void **state)
{
    (void)state;
    assert_int_equal(guess(&coarse, BLOCK_TEXT, repeated("abcd", 1000)), 1052);
    assert_int_equal(guess(&fine, BLOCK_TEXT, repeated("abcd", 1000)), 1367);
    assert_int_equal(guess(&coarse, BLOCK_TEXT, repeated("12.;", 1000)), 1600);
    assert_int_equal(guess(&coarse, BLOCK_TEXT, repeated("\xe5\xa4\xa9", 1000)), 937);
    assert_int_equal(guess(&coarse, BLOCK_TEXT, STR("")), 0);
}

static struct str picture(const char *bytes, size_t n)
{
    return text_base64_encode(&a, bytes, n);
}

static void test_pictures(void **state)
{
    static const char png[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\x2c\0\0\0\xfa..............";
    static const char huge[] =
        "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xff\xff\xff\xff\xff\xff\xff......";
    static const char gif[] = "GIF89a\x2c\1\xfa\0...................................";
    static const char other[] = "\xff\xd8\xff\xe0.....................................";
    (void)state;
    assert_int_equal(guess(&fine, BLOCK_IMAGE, picture(png, sizeof(png))), 101); /* 300 x 250 */
    assert_int_equal(guess(&fine, BLOCK_IMAGE, picture(gif, sizeof(gif))), 101);
    assert_int_equal(guess(&fine, BLOCK_IMAGE, picture(huge, sizeof(huge))), 1600);
    assert_int_equal(guess(&fine, BLOCK_IMAGE, picture(other, sizeof(other))), 1600);
    assert_int_equal(guess(&fine, BLOCK_IMAGE, STR("iVBO")), 1600);
    assert_int_equal(guess(&fine, BLOCK_DOCUMENT, repeated("JVBE", 1000)), 100);
}

/* A part of each block is looked at, so what stands far behind in one is taken to be like its beginning. */
static void test_sample(void **state)
{
    (void)state;
    struct str head = repeated("abcd", 100), tail = repeated("\xe5\xa4\xa9", 1000);
    char *both = arena_alloc(&a, head.n + tail.n);
    memcpy(both, head.p, head.n);
    memcpy(both + head.n, tail.p, tail.n);
    assert_int_equal(guess(&coarse, BLOCK_TEXT, str_of(both, head.n + tail.n)), 3400 * 10 / 38);
}

/* Ten kinds of text, with what a real tokenizer makes of them. */
static void test_known_texts(void **state)
{
    enum { MOST = 1024 * 1024 };

    char *memory = mem_alloc(MOST);
    FILE *f = fopen("tests/data/tokens.json", "re");
    struct json doc;
    unsigned n = 0;
    (void)state;
    assert_non_null(f);
    struct str file = str_of(memory, fread(memory, 1, MOST, f));
    assert_int_equal(fclose(f), 0);
    json_init(&doc);
    assert_int_equal(json_parse(&doc, file), JSON_OK);
    json_each (v, json_get(json_root(&doc), STR("texts"))) {
        int64_t tokens = 0;
        assert_true(json_i64(json_get(v, STR("tokens")), &tokens));
        int64_t got = (int64_t)guess(&coarse, BLOCK_TEXT, json_str_raw(json_get(v, STR("text"))));
        assert_in_range(got * 100 / tokens, 75, 125);
        n++;
    }
    assert_int_equal(n, 10);
    json_done(&doc);
    mem_free(memory);
}

static int begin(void **state)
{
    (void)state;
    arena_init(&a);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_done(&a);
    assert_int_equal(mem_live(), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_known_texts),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
