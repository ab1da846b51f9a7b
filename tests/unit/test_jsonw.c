/* test_jsonw.c - the writer: commas, escapes, splices, and what happens when the buffer is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wire/json.h"
#include "wire/jsonw.h"

enum { ROOM = 1024 * 1024 };

static const struct {
    struct str plain, escaped;
} escapes[] = {
    {STR_INIT(""), STR_INIT("")},
    {STR_INIT("plain"), STR_INIT("plain")},
    {STR_INIT("say \"hi\""), STR_INIT("say \\\"hi\\\"")},
    {STR_INIT("a\\b/c"), STR_INIT("a\\\\b/c")},
    {STR_INIT("\n\t\r\b\f"), STR_INIT("\\n\\t\\r\\b\\f")},
    {STR_INIT("\0\x01\x1f"), STR_INIT("\\u0000\\u0001\\u001f")},
    {STR_INIT("\x0b"), STR_INIT("\\u000b")},
    {STR_INIT("\x7f"), STR_INIT("\x7f")},
    {STR_INIT("Gr\xc3\xbc\xc3\x9f"), STR_INIT("Gr\xc3\xbc\xc3\x9f")},
    {STR_INIT("\xf0\x9f\x91\x8b\n"), STR_INIT("\xf0\x9f\x91\x8b\\n")},
    {STR_INIT("\xe2\x80\xa8"), STR_INIT("\xe2\x80\xa8")},
    {STR_INIT("a\xff"
              "b"),
     STR_INIT("a\xef\xbf\xbd"
              "b")},
    {STR_INIT("\xc3"), STR_INIT("\xef\xbf\xbd")},
    {STR_INIT("\xc3\""), STR_INIT("\xef\xbf\xbd\\\"")},
    {STR_INIT("\x80\x80"), STR_INIT("\xef\xbf\xbd\xef\xbf\xbd")},
    {STR_INIT("\xc0\xaf"), STR_INIT("\xef\xbf\xbd\xef\xbf\xbd")},
    {STR_INIT("\xed\xa0\x80"), STR_INIT("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd")},
    {STR_INIT("sixteen bytes of it\nand sixteen more\n"),
     STR_INIT("sixteen bytes of it\\nand sixteen more\\n")},
};

static void test_escape(void **state)
{
    struct jsonw w;
    struct buf b;

    (void)state;
    buf_init(&b, ROOM);
    for (size_t i = 0; i < ARRAY_LEN(escapes); i++) {
        struct str inside = escapes[i].escaped, written;
        buf_clear(&b);
        assert_true(jsonw_escape(&b, escapes[i].plain));
        assert_true(str_eq(buf_str(&b), inside));
        buf_clear(&b);
        jsonw_to_buf(&w, &b);
        jsonw_str(&w, escapes[i].plain);
        assert_true(jsonw_ok(&w));
        written = buf_str(&b);
        assert_int_equal(written.n, inside.n + 2);
        assert_true(str_eq(str_of(written.p + 1, inside.n), inside));
        assert_true(written.p[0] == '"' && written.p[written.n - 1] == '"');
    }
    buf_clear(&b);
    assert_true(jsonw_escape(&b, STR_NONE));
    assert_int_equal(buf_len(&b), 0);
    buf_done(&b);
}

/* Whatever the bytes, the reader accepts what was written, and valid text comes back unchanged. */
static void test_all_bytes(void **state)
{
    struct arena a;
    struct json doc;
    struct jsonw w;
    struct buf b;

    (void)state;
    arena_init(&a);
    json_init(&doc);
    buf_init(&b, ROOM);
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++) {
            const char text[3] = {(char)first, (char)second, 'x'};
            buf_clear(&b);
            jsonw_to_buf(&w, &b);
            jsonw_str(&w, str_of(text, 3));
            assert_int_equal(json_parse(&doc, buf_str(&b)), JSON_OK);
            if (first < 0x80 && second < 0x80)
                assert_true(json_str_is(json_root(&doc), str_of(text, 3)));
        }
    buf_done(&b);
    json_done(&doc);
    arena_done(&a);
}

/* A megabyte of bytes that are no UTF-8, then an escape: linear, or this would not end. */
static void test_long_garbage(void **state)
{
    char *text = mem_alloc(ROOM);
    struct buf b;

    (void)state;
    memset(text, 0xff, ROOM);
    text[ROOM - 1] = '\n';
    buf_init(&b, 4 * ROOM);
    assert_true(jsonw_escape(&b, str_of(text, ROOM)));
    assert_int_equal(buf_len(&b), 3 * (ROOM - 1) + 2);
    buf_done(&b);
    mem_free(text);
}

static void write_everything(struct jsonw *w, struct str span)
{
    jsonw_object(w);
    jsonw_field_str(w, "s", STR("a\"b"));
    jsonw_field_str_raw(w, "r", STR("a\\nb"));
    jsonw_field_raw(w, "v", STR("[1.0, {}]"));
    jsonw_field_i64(w, "i", -5);
    jsonw_field_bool(w, "t", true);
    jsonw_field_bool(w, "f", false);
    jsonw_field_null(w, "n");
    jsonw_key(w, STR("a"));
    jsonw_array(w);
    jsonw_array(w);
    jsonw_array_end(w);
    jsonw_object(w);
    jsonw_object_end(w);
    jsonw_raw(w, STR("1"));
    jsonw_raw(w, STR("2"));
    jsonw_array(w);
    jsonw_null(w);
    jsonw_array_end(w);
    jsonw_array_end(w);
    jsonw_key(w, STR("p"));
    jsonw_str_open(w);
    jsonw_str_part(w, STR("x\\t"));
    jsonw_str_part_escaped(w, STR("\n"));
    jsonw_str_part(w, span);
    jsonw_str_part(w, STR_NONE);
    jsonw_str_close(w);
    jsonw_key(w, STR("l"));
    jsonw_array(w);
    jsonw_str_raw(w, span);
    jsonw_str_raw(w, STR(""));
    jsonw_str_raw(w, span);
    jsonw_array_end(w);
    jsonw_object_end(w);
}

static const char everything[] =
    "{\"s\":\"a\\\"b\",\"r\":\"a\\nb\",\"v\":[1.0, {}],\"i\":-5,\"t\":true,\"f\":false,\"n\":null,"
    "\"a\":[[],{},1,2,[null]],\"p\":\"x\\t\\n%.*s\",\"l\":[\"%.*s\",\"\",\"%.*s\"]}";

static void check_everything(size_t n_span)
{
    char *text = mem_alloc(n_span + 1);
    struct str span = str_of(text, n_span), wanted;
    struct arena a;
    struct jsonw w;
    struct rope r;
    struct buf b;

    memset(text, 'z', n_span + 1);
    arena_init(&a);
    buf_init(&b, ROOM);
    rope_init(&r, ROOM);
    wanted = arena_printf(&a, everything, STR_FMT(span), STR_FMT(span), STR_FMT(span));
    jsonw_to_buf(&w, &b);
    write_everything(&w, span);
    assert_true(jsonw_ok(&w));
    assert_true(str_eq(buf_str(&b), wanted));
    jsonw_to_rope(&w, &r);
    write_everything(&w, span);
    assert_true(jsonw_ok(&w));
    assert_true(str_eq(rope_flatten(&r, &a), wanted));
    assert_int_equal(r.n_refs, n_span < ROPE_BORROW_MIN ? 0 : 3);
    rope_done(&r);
    buf_done(&b);
    arena_done(&a);
    mem_free(text);
}

static void test_everything(void **state)
{
    (void)state;
    check_everything(0);
    check_everything(1);
    check_everything(ROPE_BORROW_MIN - 1);
    check_everything(ROPE_BORROW_MIN);
    check_everything(10000);
}

static void test_borrowed_values(void **state)
{
    char text[300];
    struct str value = str_of(text, sizeof(text));
    struct arena a;
    struct jsonw w;
    struct rope r;
    struct str all;

    (void)state;
    memset(text, '7', sizeof(text));
    arena_init(&a);
    rope_init(&r, ROOM);
    jsonw_to_rope(&w, &r);
    jsonw_array(&w);
    jsonw_raw(&w, value);
    jsonw_raw(&w, value);
    jsonw_str(&w, value); /* may be temporary, so it is copied */
    jsonw_array_end(&w);
    assert_true(jsonw_ok(&w));
    all = rope_flatten(&r, &a);
    assert_int_equal(all.n, 1 + 300 + 1 + 300 + 1 + 302 + 1);
    assert_int_equal(r.n_refs, 2);
    assert_memory_equal(all.p + 301, ",7", 2);
    rope_done(&r);
    arena_done(&a);
}

static void test_i64(void **state)
{
    static const struct {
        int64_t n;
        const char *text;
    } cases[] = {
        {0, "0"},
        {7, "7"},
        {-1, "-1"},
        {1700000000, "1700000000"},
        {INT64_MAX, "9223372036854775807"},
        {INT64_MIN, "-9223372036854775808"},
    };
    struct jsonw w;
    struct buf b;

    (void)state;
    buf_init(&b, ROOM);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&b);
        jsonw_to_buf(&w, &b);
        jsonw_i64(&w, cases[i].n);
        assert_true(jsonw_ok(&w));
        assert_true(str_eq(buf_str(&b), str_c(cases[i].text)));
    }
    buf_done(&b);
}

static void test_deepest(void **state)
{
    struct json doc;
    struct jsonw w;
    struct buf b;

    (void)state;
    json_init(&doc);
    buf_init(&b, ROOM);
    jsonw_to_buf(&w, &b);
    for (int i = 0; i < JSONW_DEPTH_MAX; i++) {
        jsonw_array(&w);
        jsonw_null(&w);
    }
    for (int i = 0; i < JSONW_DEPTH_MAX; i++) {
        jsonw_array_end(&w);
        if (i + 1 < JSONW_DEPTH_MAX)
            jsonw_null(&w);
    }
    assert_true(jsonw_ok(&w));
    assert_int_equal(json_parse(&doc, buf_str(&b)), JSON_OK);
    assert_int_equal(json_count(json_root(&doc)), 3);
    json_done(&doc);
    buf_done(&b);
}

/* With any maximum short of enough the loss is reported, and nothing goes beyond it. */
static void test_full(void **state)
{
    struct jsonw w;
    size_t whole;
    struct buf b;

    (void)state;
    buf_init(&b, ROOM);
    jsonw_to_buf(&w, &b);
    write_everything(&w, STR("some text"));
    whole = buf_len(&b);
    buf_done(&b);
    for (size_t max = 1; max <= whole; max++) {
        buf_init(&b, max);
        jsonw_to_buf(&w, &b);
        write_everything(&w, STR("some text"));
        assert_int_equal(jsonw_ok(&w), max == whole);
        assert_true(buf_len(&b) <= max);
        buf_done(&b);
    }
    buf_init(&b, 4);
    assert_false(jsonw_escape(&b, STR("a\nbcd")));
    buf_done(&b);
}

static int done(void **state)
{
    (void)state;
    return mem_live() == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),          cmocka_unit_test(test_all_bytes),
        cmocka_unit_test(test_long_garbage),    cmocka_unit_test(test_everything),
        cmocka_unit_test(test_borrowed_values), cmocka_unit_test(test_i64),
        cmocka_unit_test(test_deepest),         cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}
