/* test_json.c - the reader against tables of documents, its limits, and the way back through jsonw.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scan.h"
#include "json_cases.h"
#include "wire/jsonw.h"

enum { TEXT_MAX = 64 * 1024 * 1024, MANY = 1000000 };

static struct json doc;

/* Parses a copy in a block of its own size, so that a sanitizer sees a read behind it. */
static enum json_error parse_copy(struct str text, size_t *ret_at)
{
    char *copy = mem_alloc(text.n ? text.n : 1);
    enum json_error e;

    if (text.n)
        memcpy(copy, text.p, text.n);
    e = json_parse(&doc, str_of(copy, text.n));
    if (ret_at)
        *ret_at = doc.error_at;
    mem_free(copy);
    return e;
}

static void expect(struct str text, enum json_error wanted)
{
    enum json_error e = parse_copy(text, NULL);

    if (e != wanted)
        fail_msg("%.*s: %s, not %s", STR_FMT(text), json_error_text(e), json_error_text(wanted));
}

static void expect_refused(struct str text)
{
    if (parse_copy(text, NULL) == JSON_OK)
        fail_msg("accepted: %.*s", STR_FMT(text));
}

/* The document at the top, as an element, as a member, and deep inside. */
static void in_all_places(struct str text, void (*check)(struct str text))
{
    static const char *const before[] = {"", "[", "[1,", "{\"k\":", "{\"messages\":[{\"content\":"};
    static const char *const after[] = {"", "]", ",2]", "}", "}]}"};

    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        struct buf b;
        buf_init(&b, TEXT_MAX);
        buf_append(&b, str_c(before[i]));
        buf_append(&b, text);
        buf_append(&b, str_c(after[i]));
        check(buf_str(&b));
        buf_done(&b);
    }
}

static void expect_accepted(struct str text)
{
    expect(text, JSON_OK);
}

static void test_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++)
        in_all_places(accepted[i], expect_accepted);
    assert_true(ARRAY_LEN(accepted) >= 95);
}

static void test_rejected(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rejected); i++)
        in_all_places(rejected[i], expect_refused);
    for (size_t i = 0; i < ARRAY_LEN(rejected_alone); i++)
        expect(rejected_alone[i].text, rejected_alone[i].error);
    assert_true(ARRAY_LEN(rejected) >= 188);
}

static void test_decided(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(decided); i++)
        expect(decided[i].text, decided[i].error);
}

/* A document that ends with a bracket or a quote is complete only at its last byte. */
static void test_cut_short(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
        struct str text = str_trim(accepted[i]);
        if (!strchr("]}\"", text.p[text.n - 1]))
            continue;
        for (size_t n = 0; n < text.n; n++)
            expect_refused(str_head(text, n));
    }
}

static void test_error_at(void **state)
{
    static const struct {
        const char *text;
        size_t at;
    } cases[] = {
        {"[1,x]", 3},        {"{\"a\" 1}", 5}, {"[1] x", 4},
        {"[\"a\nb\"]", 3},   {"[\"\\q\"]", 3}, {"{\"a\":1,\"a\":2}", 8},
        {"[\"ab\xff\"]", 4}, {"[1", 2},        {"{\"\\u0000\":1}", 1},
    };

    size_t at;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_not_equal(parse_copy(str_c(cases[i].text), &at), JSON_OK);
        assert_int_equal(at, cases[i].at);
    }
}

static void append_times(struct buf *b, const char *text, size_t n)
{
    while (n--)
        buf_append(b, str_c(text));
}

static enum json_error parse_nested(const char *open, const char *close, size_t depth)
{
    struct buf b;
    enum json_error e;

    buf_init(&b, TEXT_MAX);
    append_times(&b, open, depth);
    buf_lit(&b, "1");
    append_times(&b, close, depth);
    e = parse_copy(buf_str(&b), NULL);
    buf_done(&b);
    return e;
}

static void test_depth(void **state)
{
    (void)state;
    assert_int_equal(parse_nested("[", "]", 64), JSON_OK);
    assert_int_equal(parse_nested("[", "]", 65), JSON_ERR_DEPTH);
    assert_int_equal(parse_nested("{\"a\":", "}", 64), JSON_OK);
    assert_int_equal(parse_nested("{\"a\":", "}", 65), JSON_ERR_DEPTH);
    assert_int_equal(parse_nested("[{\"a\":", "}]", 32), JSON_OK);
    assert_int_equal(parse_nested("[{\"a\":", "}]", 33), JSON_ERR_DEPTH);
    assert_int_equal(parse_nested("[", "]", 500), JSON_ERR_DEPTH);
    assert_int_equal(parse_nested("[", "", MANY), JSON_ERR_DEPTH);
    assert_int_equal(parse_nested("{\"a\":", "", MANY), JSON_ERR_DEPTH);
    assert_true(doc.n <= JSON_DEPTH_MAX * 2 + 2); /* given up at once */
}

static enum json_error parse_elements(const char *item, size_t n)
{
    struct buf b;
    enum json_error e;

    buf_init(&b, TEXT_MAX);
    buf_lit(&b, "[");
    for (size_t i = 0; i < n; i++) {
        buf_append(&b, i ? STR(",") : STR(""));
        buf_append(&b, str_c(item));
    }
    buf_lit(&b, "]");
    e = parse_copy(buf_str(&b), NULL);
    buf_done(&b);
    return e;
}

static void test_nodes(void **state)
{
    (void)state;
    assert_int_equal(parse_elements("1", JSON_NODES_MAX - 1), JSON_OK);
    assert_int_equal(doc.n, JSON_NODES_MAX);
    assert_int_equal(parse_elements("1", JSON_NODES_MAX), JSON_ERR_NODES);
    assert_int_equal(parse_elements("[]", JSON_NODES_MAX), JSON_ERR_NODES);
    assert_int_equal(parse_elements("\"\"", JSON_NODES_MAX), JSON_ERR_NODES);
    assert_int_equal(parse_elements("{\"a\":1}", JSON_NODES_MAX / 3), JSON_OK);
    assert_int_equal(parse_elements("{\"a\":1}", JSON_NODES_MAX / 3 + 1), JSON_ERR_NODES);
    assert_int_equal(parse_copy(STR("[1]"), NULL), JSON_OK);
    assert_true(doc.cap < 1000); /* the giant's memory is given back */
}

static void test_size(void **state)
{
    (void)state;
    /* The text is not looked at. */
    assert_int_equal(json_parse(&doc, str_of("[]", UINT32_MAX)), JSON_ERR_SIZE);
    assert_int_equal(json_parse(&doc, STR_NONE), JSON_ERR_EMPTY);
}

/* n members k0, k1, ...; the one at `twin` (if any) repeats k0, written with an escape. */
static enum json_error parse_members(size_t n, size_t twin)
{
    struct buf b;
    enum json_error e;

    buf_init(&b, TEXT_MAX);
    buf_lit(&b, "{");
    for (size_t i = 0; i < n; i++)
        if (i == twin)
            buf_printf(&b, ",\"\\u006b0\":[{\"k0\":1},2]");
        else
            buf_printf(&b, "%s\"k%zu\":{\"k0\":%zu}", i ? "," : "", i, i);
    buf_lit(&b, "}");
    e = parse_copy(buf_str(&b), NULL);
    buf_done(&b);
    return e;
}

static void test_duplicates(void **state)
{
    (void)state;
    for (size_t n = 2; n < 70; n++) {
        assert_int_equal(parse_members(n, SIZE_MAX), JSON_OK);
        for (size_t twin = 1; twin < n; twin++)
            assert_int_equal(parse_members(n, twin), JSON_ERR_DUPLICATE_KEY);
    }
    assert_int_equal(parse_members(100000, SIZE_MAX), JSON_OK);
    assert_int_equal(parse_members(100000, 99999), JSON_ERR_DUPLICATE_KEY);
}

static enum json_error parse_key_of(const char *unit, size_t n)
{
    struct buf b;
    enum json_error e;

    buf_init(&b, TEXT_MAX);
    buf_lit(&b, "{\"");
    append_times(&b, unit, n);
    buf_lit(&b, "\":1}");
    e = parse_copy(buf_str(&b), NULL);
    buf_done(&b);
    return e;
}

static void test_key_length(void **state)
{
    (void)state;
    assert_int_equal(parse_key_of("k", JSON_KEY_MAX), JSON_OK);
    assert_int_equal(parse_key_of("k", JSON_KEY_MAX + 1), JSON_ERR_KEY);
    assert_int_equal(parse_key_of("\\n", JSON_KEY_MAX / 2), JSON_OK);
    assert_int_equal(parse_key_of("\\n", JSON_KEY_MAX / 2 + 1), JSON_ERR_KEY);
}

static void test_tape(void **state)
{
    static const char text[] = "{\"a\":[1,\"x\\n\"], \"b\" : {} }";
    static const struct json_node wanted[] = {
        {.at = 0, .len = 26, .next = 7, .type = JSON_OBJECT},
        {.at = 2, .len = 1, .next = 2, .type = JSON_STRING},
        {.at = 5, .len = 9, .next = 5, .type = JSON_ARRAY},
        {.at = 6, .len = 1, .next = 4, .type = JSON_NUMBER},
        {.at = 9, .len = 3, .next = 5, .type = JSON_STRING, .escaped = true},
        {.at = 17, .len = 1, .next = 6, .type = JSON_STRING},
        {.at = 22, .len = 2, .next = 7, .type = JSON_OBJECT},
    };

    (void)state;
    assert_int_equal(json_parse(&doc, str_c(text)), JSON_OK);
    assert_int_equal(doc.n, ARRAY_LEN(wanted));
    for (uint32_t i = 0; i < doc.n; i++) {
        assert_int_equal(doc.nodes[i].at, wanted[i].at);
        assert_int_equal(doc.nodes[i].len, wanted[i].len);
        assert_int_equal(doc.nodes[i].next, wanted[i].next);
        assert_int_equal(doc.nodes[i].type, wanted[i].type);
        assert_int_equal(doc.nodes[i].escaped, wanted[i].escaped);
    }
}

static void test_reuse(void **state)
{
    const struct json_node *nodes;

    (void)state;
    assert_int_equal(json_parse(&doc, STR("[1,2,3]")), JSON_OK);
    nodes = doc.nodes;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(json_parse(&doc, STR("{\"a\":[1,2,3],\"b\":4}")), JSON_OK);
        assert_int_not_equal(json_parse(&doc, STR("{\"a\":[1,2,")), JSON_OK);
        assert_ptr_equal(doc.nodes, nodes);
    }
}

static struct jval member(struct jval object, const char *key)
{
    return json_get(object, str_c(key));
}

static void test_access(void **state)
{
    static const char text[] =
        "{\"s\":\"a\\u0062c\",\"n\":null,\"t\":true,\"a\":[1,[2,3],{\"k\":4}],"
        "\"m\\u0065\":5,\"o\":{},\"e\":[],\"long\":\"\\ud83d\\ude39\\/x\"}";
    uint32_t n = 0, raw_lengths = 0;
    struct jval root;
    struct arena a;
    int64_t i;

    (void)state;
    arena_init(&a);
    assert_int_equal(json_parse(&doc, str_c(text)), JSON_OK);
    root = json_root(&doc);
    assert_int_equal(json_count(root), 8);
    assert_true(json_is_escaped(member(root, "s")));
    assert_true(str_eq(json_str(member(root, "s"), &a), STR("abc")));
    assert_true(str_eq(json_str_raw(member(root, "s")), STR("a\\u0062c")));
    assert_true(str_eq(json_raw(member(root, "s")), STR("\"a\\u0062c\"")));
    assert_true(json_str_is(member(root, "s"), STR("abc")));
    assert_false(json_str_is(member(root, "s"), STR("ab")));
    assert_false(json_str_is(member(root, "s"), STR("abcd")));
    assert_false(json_str_is(member(root, "s"), STR("abd")));
    assert_true(json_str_is(member(root, "long"), STR("\xf0\x9f\x98\xb9/x")));
    assert_false(json_str_is(member(root, "long"), STR("\xf0\x9f\x98\xb8/x")));
    assert_true(json_is(member(root, "n"), JSON_NULL));
    assert_true(json_true(member(root, "t")));
    assert_true(str_eq(json_raw(member(root, "a")), STR("[1,[2,3],{\"k\":4}]")));
    assert_true(json_i64(member(root, "me"), &i) && i == 5);
    assert_false(json_present(member(root, "mE")));
    assert_false(json_present(member(root, "m\\u0065")));
    assert_false(json_present(member(root, "k"))); /* only one level */
    assert_true(json_empty(member(root, "o")) && json_empty(member(root, "e")));
    assert_false(json_present(json_first(member(root, "o"))));
    json_each (e, member(root, "a")) {
        raw_lengths += (uint32_t)json_raw(e).n;
        n++;
    }
    assert_int_equal(n, 3);
    assert_int_equal(raw_lengths, 1 + 5 + 7);
    n = 0;
    json_each_member (key, root)
        n += json_present(json_get(root, json_str(key, &a)));
    assert_int_equal(n, 8);
    arena_done(&a);
}

static void test_absent(void **state)
{
    const struct jval none = JVAL_NONE;
    int64_t i;
    double d;

    (void)state;
    assert_int_equal(json_type(none), JSON_NULL);
    assert_false(json_is(none, JSON_NULL));
    assert_null(json_raw(none).p);
    assert_null(json_str_raw(none).p);
    assert_null(json_str(none, NULL).p);
    assert_false(json_str_is(none, STR("")));
    assert_false(json_is_escaped(none) || json_true(none));
    assert_false(json_i64(none, &i));
    assert_false(json_f64(none, &d));
    assert_false(json_present(json_get(none, STR("a"))));
    assert_false(json_present(json_first(none)));
    assert_false(json_present(json_next(none, none)));
    assert_int_equal(json_count(none), 0);
    assert_true(json_empty(none));
    assert_int_equal(json_parse(&doc, STR("\"x\"")),
                     JSON_OK); /* another type is as good as absent */
    assert_false(json_present(json_get(json_root(&doc), STR("a"))));
    assert_false(json_present(json_first(json_root(&doc))));
    assert_int_equal(json_count(json_root(&doc)), 0);
    assert_false(json_i64(json_root(&doc), &i));
}

static void test_i64(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t wanted;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"-0.000e-5", true, 0},
        {"0e99999999999999999999", true, 0},
        {"7", true, 7},
        {"-7", true, -7},
        {"1.0", true, 1},
        {"1.5", false, 0},
        {"-1.0", true, -1},
        {"1e2", true, 100},
        {"1E+2", true, 100},
        {"100e-2", true, 1},
        {"10.0e-1", true, 1},
        {"12.50e1", true, 125},
        {"12.50e0", false, 0},
        {"0.001e3", true, 1},
        {"1e-1", false, 0},
        {"1010.10e1", true, 10101},
        {"9007199254740993", true, INT64_C(9007199254740993)},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775809", false, 0},
        {"9223372036854775807.000", true, INT64_MAX},
        {"922337203685477580700e-2", true, INT64_MAX},
        {"922337203685477580.7e1", true, INT64_MAX},
        {"18446744073709551615", false, 0},
        {"18446744073709551616", false, 0},
        {"1e18", true, INT64_C(1000000000000000000)},
        {"1e19", false, 0},
        {"9e18", true, INT64_C(9000000000000000000)},
        {"10e18", false, 0},
        {"1e400", false, 0},
        {"1e-400", false, 0},
        {"1e9223372036854775807", false, 0},
        {"10e9223372036854775807", false, 0},
        {"1e-9223372036854775808", false, 0},
        {"1e99999999999999999999", false, 0},
        {"1.0000000000000000000000000000000000000000000000000000000000000000000000000", true, 1},
        {"10000000000000000000000000000000000000000000000000e-49", true, 1},
        {"0.00000000000000000000000000000000000000000000000001e50", true, 1},
        {"123456789012345678901234567890e-10", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
        {"null", false, 0},
    };

    int64_t i;

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
        assert_int_equal(json_parse(&doc, str_c(cases[k].text)), JSON_OK);
        if (json_i64(json_root(&doc), &i) != cases[k].ok || (cases[k].ok && i != cases[k].wanted))
            fail_msg("%s", cases[k].text);
    }
}

static void test_whole(void **state)
{
    static const char *const whole[] = {"0", "-7", "1e3", "2.0", "99999999999999999999999"};
    static const char *const not_whole[] = {"1.5", "1e-3", "99999999999999999999999.5", "\"1\"",
                                            "null"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
        assert_int_equal(json_parse(&doc, str_c(whole[i])), JSON_OK);
        assert_true(json_is_whole(json_root(&doc)));
    }
    for (size_t i = 0; i < ARRAY_LEN(not_whole); i++) {
        assert_int_equal(json_parse(&doc, str_c(not_whole[i])), JSON_OK);
        assert_false(json_is_whole(json_root(&doc)));
    }
}

static void test_f64(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        double wanted;
    } cases[] = {
        {"0", true, 0},
        {"-0.5", true, -0.5},
        {"1e2", true, 100},
        {"0.1", true, 0.1},
        {"1e400", false, 0},
        {"-1e400", false, 0},
        {"1e-400", true, 0},
        {"1.7976931348623157e308", true, 1.7976931348623157e308},
        {"\"1\"", false, 0},
        {"false", false, 0},
        {"12345678901234567890", true, 12345678901234567890.0},
    };

    double d;

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
        assert_int_equal(json_parse(&doc, str_c(cases[k].text)), JSON_OK);
        if (json_f64(json_root(&doc), &d) != cases[k].ok ||
            (cases[k].ok && (d < cases[k].wanted || d > cases[k].wanted)))
            fail_msg("%s", cases[k].text);
    }
}

static void test_endless_number(void **state)
{
    struct buf b;
    int64_t i;
    double d;

    (void)state;
    buf_init(&b, TEXT_MAX);
    append_times(&b, "9", 100000);
    assert_int_equal(json_parse(&doc, buf_str(&b)), JSON_OK);
    assert_int_equal(json_raw(json_root(&doc)).n, 100000);
    assert_false(json_i64(json_root(&doc), &i));
    assert_false(json_f64(json_root(&doc), &d));
    buf_done(&b);
}

static void test_unescape(void **state)
{
    static const struct {
        struct str raw, wanted;
    } cases[] = {
        {STR_INIT(""), STR_INIT("")},
        {STR_INIT("plain"), STR_INIT("plain")},
        {STR_INIT("\\\"\\\\\\/\\b\\f\\n\\r\\t"), STR_INIT("\"\\/\b\f\n\r\t")},
        {STR_INIT("a\\u0000b"), STR_INIT("a\0b")},
        {STR_INIT("\\u007f\\u0080\\u07FF\\u0800\\uffff"),
         STR_INIT("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf")},
        {STR_INIT("\\ud800\\udc00\\uDBFF\\uDFFF"), STR_INIT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")},
        {STR_INIT("\\\\u0041"), STR_INIT("\\u0041")},
        {STR_INIT("\\u0069gnore"), STR_INIT("ignore")},
    };

    char out[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t n = json_unescape(cases[i].raw, out);
        assert_true(str_eq(str_of(out, n), cases[i].wanted));
        memcpy(out, cases[i].raw.p, cases[i].raw.n); /* in place as well */
        n = json_unescape(str_of(out, cases[i].raw.n), out);
        assert_true(str_eq(str_of(out, n), cases[i].wanted));
    }
    assert_int_equal(json_unescape(STR_NONE, out), 0);
}

static void copy_value(struct jsonw *w, struct jval v)
{
    if (json_is(v, JSON_OBJECT)) {
        jsonw_object(w);
        json_each_member (key, v) {
            jsonw_key(w, json_str_raw(key));
            copy_value(w, json_value(key));
        }
        jsonw_object_end(w);
    } else if (json_is(v, JSON_ARRAY)) {
        jsonw_array(w);
        json_each (e, v)
            copy_value(w, e);
        jsonw_array_end(w);
    } else {
        jsonw_raw(w, json_raw(v));
    }
}

/* Everything written again gives the same tape, apart from where it stands. */
static void test_round_trip(void **state)
{
    struct json again;
    struct jsonw w;
    struct buf b;

    (void)state;
    json_init(&again);
    buf_init(&b, TEXT_MAX);
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
        assert_int_equal(json_parse(&doc, accepted[i]), JSON_OK);
        buf_clear(&b);
        jsonw_to_buf(&w, &b);
        copy_value(&w, json_root(&doc));
        assert_true(jsonw_ok(&w));
        assert_int_equal(json_parse(&again, buf_str(&b)), JSON_OK);
        assert_int_equal(doc.n, again.n);
        for (uint32_t k = 0; k < doc.n; k++) {
            assert_int_equal(doc.nodes[k].type, again.nodes[k].type);
            assert_int_equal(doc.nodes[k].next, again.nodes[k].next);
            assert_int_equal(doc.nodes[k].escaped, again.nodes[k].escaped);
            if (doc.nodes[k].type < JSON_ARRAY)
                assert_true(
                    str_eq(json_raw((struct jval){&doc, k}), json_raw((struct jval){&again, k})));
        }
    }
    buf_done(&b);
    json_done(&again);
}

static const char *plain_slowly(const char *p, const char *end)
{
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' &&
           *p != '\\')
        p++;
    return p;
}

static const char *eol_slowly(const char *p, const char *end)
{
    while (p < end && *p != '\r' && *p != '\n')
        p++;
    return p;
}

static const char *low_slowly(const char *p, const char *end)
{
    while (p < end && (unsigned char)*p > 0x0d)
        p++;
    return p;
}

static const char *printable_slowly(const char *p, const char *end)
{
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f)
        p++;
    return p;
}

static const char *name_slowly(const char *p, const char *end)
{
    static const char names[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";

    while (p < end && memchr(names, *p, sizeof(names) - 1))
        p++;
    return p;
}

static void check_scans(const char *p, const char *end)
{
    assert_ptr_equal(scan_plain_swar(p, end), plain_slowly(p, end));
    assert_ptr_equal(scan_eol_swar(p, end), eol_slowly(p, end));
    assert_ptr_equal(scan_low_swar(p, end), low_slowly(p, end));
    assert_ptr_equal(scan_printable_swar(p, end), printable_slowly(p, end));
    assert_ptr_equal(scan_name_bytes(p, end), name_slowly(p, end));
    bool printable = printable_slowly(p, end) == end;
    assert_int_equal(scan_all_printable(p, (size_t)(end - p)), printable);
    assert_int_equal(scan_all_quiet(p, (size_t)(end - p)),
                     printable && plain_slowly(p, end) == end);
#ifdef __SSE2__
    assert_ptr_equal(scan_plain_sse2(p, end), plain_slowly(p, end));
    assert_ptr_equal(scan_eol_sse2(p, end), eol_slowly(p, end));
    assert_ptr_equal(scan_low_sse2(p, end), low_slowly(p, end));
    assert_ptr_equal(scan_printable_sse2(p, end), printable_slowly(p, end));
    assert_ptr_equal(scan_name_sse2(p, end), name_slowly(p, end));
#endif
}

/* Every byte at every place of runs of every length around the width of a vector. */
static void test_scans(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 40; n++) {
        char *run = mem_alloc(n + 1);
        memset(run, 'a', n + 1);
        check_scans(run, run + n);
        for (size_t at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                run[at] = (char)c;
                check_scans(run, run + n);
            }
            run[at] = 'a';
        }
        mem_free(run);
    }
}

static int done(void **state)
{
    (void)state;
    json_done(&doc);
    return mem_live() == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),   cmocka_unit_test(test_rejected),
        cmocka_unit_test(test_decided),    cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_error_at),   cmocka_unit_test(test_depth),
        cmocka_unit_test(test_nodes),      cmocka_unit_test(test_size),
        cmocka_unit_test(test_duplicates), cmocka_unit_test(test_key_length),
        cmocka_unit_test(test_tape),       cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_access),     cmocka_unit_test(test_absent),
        cmocka_unit_test(test_i64),        cmocka_unit_test(test_f64),
        cmocka_unit_test(test_whole),      cmocka_unit_test(test_endless_number),
        cmocka_unit_test(test_unescape),   cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_scans),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}
