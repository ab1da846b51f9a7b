/* test_h1_chunked.c - chunked bodies: a table of good and bad ones, each fed whole, byte by byte
 * and cut in two at every place; generated gadgets; and every limit at cap - 1, cap and cap + 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wire/h1.h"

enum { DATA_MAX = 4096, BODY_TEXT_MAX = 64 * 1024 };

struct decoded {
    enum h1_result result;
    size_t used, n;
    uint64_t total;
    char data[DATA_MAX];
};

/* Decodes one piece, standing in a block of its own. */
static void decode_piece(struct h1_chunked *c, struct str piece, struct decoded *d)
{
    char *copy = mem_alloc(piece.n + 1);
    struct str in = str_of(copy + 1, piece.n), data;
    size_t used;

    memcpy(copy + 1, piece.p, piece.n);
    do {
        d->result = h1_chunked_next(c, in, &used, &data);
        assert_true(used <= in.n && (used > 0 || in.n == 0 || d->result != H1_MORE));
        assert_true(data.n <= used);
        if (data.n) {
            assert_true(data.p >= in.p && data.p + data.n <= in.p + used);
            assert_true(d->n + data.n <= sizeof(d->data));
            memcpy(d->data + d->n, data.p, data.n);
            d->n += data.n;
        }
        d->used += used;
        in = str_skip(in, used);
    } while (d->result == H1_MORE && in.n > 0);
    mem_free(copy);
}

/* In pieces of that size, the first of them of another size. */
static void decode(struct str in, size_t first, size_t piece, struct decoded *d)
{
    struct h1_chunked c;
    size_t n = size_min(first, in.n);

    h1_chunked_init(&c);
    d->result = H1_MORE;
    d->used = d->n = 0;
    for (size_t at = 0; d->result == H1_MORE && at < in.n; at += n, n = size_min(piece, in.n - at))
        decode_piece(&c, str_of(in.p + at, n), d);
    d->total = c.total;
    assert_int_equal(d->total, d->n);
}

static void expect_same(struct str in, const struct decoded *a, const struct decoded *b)
{
    if (a->result != b->result || a->used != b->used || a->n != b->n ||
        memcmp(a->data, b->data, a->n) != 0)
        fail_msg("cut up it differs: %.*s", STR_FMT(in));
}

static const struct decoded *decode_all_ways(struct str in)
{
    static struct decoded whole, pieces;

    decode(in, in.n, in.n, &whole);
    decode(in, 1, 1, &pieces);
    expect_same(in, &whole, &pieces);
    for (size_t cut = 1; cut < in.n && in.n <= 512; cut++) {
        decode(in, cut, in.n, &pieces);
        expect_same(in, &whole, &pieces);
    }
    return &whole;
}

static const struct {
    struct str in, data;
    size_t rest; /* bytes behind the end */
} good[] = {
    {STR_INIT("0\r\n\r\n"), STR_INIT(""), 0},
    {STR_INIT("00000000\r\n\r\n"), STR_INIT(""), 0},
    {STR_INIT("1\r\na\r\n0\r\n\r\n"), STR_INIT("a"), 0},
    {STR_INIT("5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n"), STR_INIT("hello world"), 0},
    {STR_INIT("0000000a\r\n0123456789\r\n0\r\n\r\n"), STR_INIT("0123456789"), 0},
    {STR_INIT("A\r\n0123456789\r\n0\r\n\r\n"), STR_INIT("0123456789"), 0},
    {STR_INIT("1F\r\n0123456789012345678901234567890\r\n0\r\n\r\n"),
     STR_INIT("0123456789012345678901234567890"), 0},
    {STR_INIT("7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n"), STR_INIT("0\r\n\r\n\r\n"), 0},
    {STR_INIT("2\r\n\0\xff\r\n0\r\n\r\n"), STR_INIT("\0\xff"), 0},
    {STR_INIT("1;a\r\na\r\n0;b\r\n\r\n"), STR_INIT("a"), 0},
    {STR_INIT("1;a=b;c\r\na\r\n0\r\n\r\n"), STR_INIT("a"), 0},
    {STR_INIT("1;a=\"b\\\"\\\\c;\t\";d=\"\"\r\na\r\n0\r\n\r\n"), STR_INIT("a"), 0},
    {STR_INIT("1;a=\"\\a\"\r\na\r\n0\r\n\r\n"), STR_INIT("a"), 0},
    {STR_INIT("1\r\na\r\n0\r\nA: b\r\n\r\n"), STR_INIT("a"), 0},
    {STR_INIT("1\r\na\r\n0\r\nA:b\r\nC_D: \t e f \t\r\nE:\r\n\r\n"), STR_INIT("a"), 0},
    {STR_INIT("0\r\nHosts: a\r\nX-Content-Length: 5\r\nHos: a\r\n\r\n"), STR_INIT(""), 0},
    {STR_INIT("0\r\nTransfer-Encoding-Of-Something-Else: a\r\n\r\n"), STR_INIT(""), 0},
    {STR_INIT("0\r\n\r\nGET / HTTP/1.1\r\n"), STR_INIT(""), 16},
    {STR_INIT("1\r\na\r\n0\r\n\r\n\r\n"), STR_INIT("a"), 2},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        const struct decoded *d = decode_all_ways(good[i].in);
        if (d->result != H1_DONE || !str_eq(str_of(d->data, d->n), good[i].data))
            fail_msg("%.*s", STR_FMT(good[i].in));
        assert_int_equal(d->used, good[i].in.n - good[i].rest);
    }
}

/* Each prefix of a good body is unfinished, and each goes on to the same end. */
static void test_prefixes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        static struct decoded d;
        size_t n = good[i].in.n - good[i].rest;
        for (size_t cut = 0; cut < n; cut++) {
            decode(str_head(good[i].in, cut), cut, cut, &d);
            assert_int_equal(d.result, H1_MORE);
            assert_int_equal(d.used, cut);
        }
    }
}

static const struct str bad[] = {
    STR_INIT("\r\n"),
    STR_INIT("\n"),
    STR_INIT(" 1\r\n"),
    STR_INIT("\t1\r\n"),
    STR_INIT("+1\r\n"),
    STR_INIT("-1\r\n"),
    STR_INIT("0x1\r\n"),
    STR_INIT("x\r\n"),
    STR_INIT("g\r\n"),
    STR_INIT("1 \r\n"),
    STR_INIT("1\t\r\n"),
    STR_INIT("1_0\r\n"),
    STR_INIT("1.\r\n"),
    STR_INIT("1,1\r\n"),
    STR_INIT("1\n"),
    STR_INIT("1\ra\r\n"),
    STR_INIT("1\r\r\n"),
    STR_INIT("1\0\r\n"),
    STR_INIT("1\x85\r\n"),
    STR_INIT("1\xa0\r\n"),
    STR_INIT("1\xff\r\n"),
    STR_INIT("\xef\xbc\x91\r\n"),
    STR_INIT("80000000\r\n"),
    STR_INIT("ffffffff\r\n"),
    STR_INIT("000000001\r\n"),
    STR_INIT("100000001\r\n"),
    STR_INIT("10000000000000001\r\n"),
    STR_INIT("000000000\r\n"),
    STR_INIT(";a\r\n"),
    STR_INIT("1;\r\n"),
    STR_INIT("1;;\r\n"),
    STR_INIT("1;a;\r\n"),
    STR_INIT("1;a;;b\r\n"),
    STR_INIT("1;=b\r\n"),
    STR_INIT("1;a=\r\n"),
    STR_INIT("1;a=;b\r\n"),
    STR_INIT("1;a==b\r\n"),
    STR_INIT("1;a=b=c\r\n"),
    STR_INIT("1 ;a\r\n"),
    STR_INIT("1; a\r\n"),
    STR_INIT("1;a =b\r\n"),
    STR_INIT("1;a= b\r\n"),
    STR_INIT("1;a \r\n"),
    STR_INIT("1;\"a\"\r\n"),
    STR_INIT("1;a\"\r\n"),
    STR_INIT("1;a=b\"c\"\r\n"),
    STR_INIT("1;a=\"b\"c\r\n"),
    STR_INIT("1;a=\"b\" \r\n"),
    STR_INIT("1;a=\"b\"=c\r\n"),
    STR_INIT("1;a=\"b\r\n"),
    STR_INIT("1;a=\"b\\\r\n"),
    STR_INIT("1;a=\"b\\\"\r\n"),
    STR_INIT("1;a=\"\n\"\r\n"),
    STR_INIT("1;a=\"\0\"\r\n"),
    STR_INIT("1;a=\"\\\0\"\r\n"),
    STR_INIT("1;a=\"\x7f\"\r\n"),
    STR_INIT("1;a=\"\x80\"\r\n"),
    STR_INIT("1;a\n"),
    STR_INIT("1;a\rb\r\n"),
    STR_INIT("1;a\0\r\n"),
    STR_INIT("1;\xc3\xa9\r\n"),
    STR_INIT("1:a\r\n"),
    STR_INIT("1\r\nab\r\n"),
    STR_INIT("1\r\na\n"),
    STR_INIT("1\r\na\rb"),
    STR_INIT("1\r\na0\r\n"),
    STR_INIT("1\r\na\r\n\r\n"),
    STR_INIT("1\r\na\r\nx"),
    STR_INIT("0\n"),
    STR_INIT("0\r\r"),
    STR_INIT("0\r\n\n"),
    STR_INIT("0\r\n\ra"),
    STR_INIT("0\r\n\0"),
    STR_INIT("0\r\nA\r\n"),
    STR_INIT("0\r\n: a\r\n"),
    STR_INIT("0\r\nA : b\r\n"),
    STR_INIT("0\r\n A: b\r\n"),
    STR_INIT("0\r\nA: b\r\n c\r\n"),
    STR_INIT("0\r\nA: b\n"),
    STR_INIT("0\r\nA: b\rc"),
    STR_INIT("0\r\nA: \0"),
    STR_INIT("0\r\nA: \x01"),
    STR_INIT("0\r\nA: \x7f"),
    STR_INIT("0\r\nA: \x80"),
    STR_INIT("0\r\nA\xff: b\r\n"),
    STR_INIT("0\r\n(: b\r\n"),
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const struct decoded *d = decode_all_ways(bad[i]);
        if (d->result != H1_BAD)
            fail_msg("%.*s", STR_FMT(bad[i]));
    }
}

static void test_trailer_names(void **state)
{
    static const char *const names[] = {
        "Transfer-Encoding",
        "transfer-encoding",
        "TRANSFER_ENCODING",
        "Transfer--Encoding",
        "Content-Length",
        "content_length",
        "_Content-Length",
        "Content-Length-",
        "Connection",
        "Host",
        "Expect",
        "Authorization",
        "Authorization_",
        "Proxy-Authorization",
        "X-Api-Key",
        "x_api_key",
        "Api-Key",
        "apikey",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char text[128];
        int n = snprintf(text, sizeof(text), "0\r\nA: b\r\n%s: 5\r\n\r\n", names[i]);
        if (decode_all_ways(str_of(text, (size_t)n))->result != H1_BAD)
            fail_msg("%s", names[i]);
    }
}

/* Any byte put in before any byte of the framing of a body either breaks it, or stays in its size,
 * its extension or its trailer; the data that comes out is never more than what a chunk held. */
static void test_gadgets(void **state)
{
    struct str in = STR("2;a=b\r\nhi\r\n0\r\nA: b\r\n\r\n");
    char text[64];

    (void)state;
    for (size_t at = 0; at <= in.n; at++) {
        for (unsigned c = 0; c < 256; c++) {
            memcpy(text, in.p, at);
            text[at] = (char)c;
            memcpy(text + at + 1, in.p + at, in.n - at);
            const struct decoded *d = decode_all_ways(str_of(text, in.n + 1));
            if (c < ' ' && c != '\t' && d->result == H1_DONE && d->used > in.n)
                fail_msg("%02x at %zu was taken", c, at);
            if (d->result == H1_DONE)
                assert_true(str_eq(str_of(d->data, d->n), STR("hi")) || d->n == 0);
        }
    }
}

static void test_bad_stays_bad(void **state)
{
    struct h1_chunked c;
    struct str data;
    size_t used;

    (void)state;
    h1_chunked_init(&c);
    assert_int_equal(h1_chunked_next(&c, STR("x"), &used, &data), H1_BAD);
    assert_int_equal(h1_chunked_next(&c, STR("0\r\n\r\n"), &used, &data), H1_BAD);
    assert_int_equal(used, 0);
    assert_null(data.p);
}

static void test_done_stays_done(void **state)
{
    struct h1_chunked c;
    struct str data;
    size_t used;

    (void)state;
    h1_chunked_init(&c);
    assert_int_equal(h1_chunked_next(&c, STR_NONE, &used, &data), H1_MORE);
    assert_int_equal(h1_chunked_next(&c, STR("0\r\n\r\nGET"), &used, &data), H1_DONE);
    assert_int_equal(used, 5);
    assert_int_equal(h1_chunked_next(&c, STR("GET"), &used, &data), H1_DONE);
    assert_int_equal(used, 0);
}

/* A chunk that has come whole is handed out in one span, with the line before it. */
static void test_whole_spans(void **state)
{
    struct str in = STR("5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"), data;
    struct h1_chunked c;
    size_t used;

    (void)state;
    h1_chunked_init(&c);
    assert_int_equal(h1_chunked_next(&c, in, &used, &data), H1_MORE);
    assert_true(str_eq(data, STR("hello")));
    assert_ptr_equal(data.p, in.p + 3);
    in = str_skip(in, used);
    assert_int_equal(h1_chunked_next(&c, in, &used, &data), H1_MORE);
    assert_true(str_eq(data, STR(" world")));
    in = str_skip(in, used);
    assert_int_equal(h1_chunked_next(&c, in, &used, &data), H1_DONE);
    assert_int_equal(used, in.n);
    assert_int_equal(c.total, 11);
}

/* ---- limits ---- */

static char text[BODY_TEXT_MAX];
static size_t text_n;

static void put(const char *s)
{
    size_t n = strlen(s);

    assert_true(text_n + n <= sizeof(text));
    memcpy(text + text_n, s, n);
    text_n += n;
}

static void put_many(char c, size_t n)
{
    assert_true(text_n + n <= sizeof(text));
    memset(text + text_n, c, n);
    text_n += n;
}

static void expect_within(bool within)
{
    assert_int_equal(decode_all_ways(str_of(text, text_n))->result, within ? H1_DONE : H1_BAD);
    text_n = 0;
}

static void test_size_limits(void **state)
{
    static const struct {
        const char *size;
        enum h1_result result;
    } sizes[] = {
        {"7ffffffe\r\n", H1_MORE}, {"7fffffff\r\n", H1_MORE}, {"80000000\r\n", H1_BAD},
        {"0000001\r\n", H1_MORE},  {"00000001\r\n", H1_MORE}, {"000000001\r\n", H1_BAD},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        assert_int_equal(decode_all_ways(str_c(sizes[i].size))->result, sizes[i].result);
}

/* Names, tokens and quoted values are counted alike, from the first semicolon to the line end. */
static void test_extension_limit(void **state)
{
    (void)state;
    for (size_t n = H1_EXTENSION_MAX - 1; n <= H1_EXTENSION_MAX + 1; n++) {
        put("1;");
        put_many('a', n - 1);
        put("\r\na\r\n0\r\n\r\n");
        expect_within(n <= H1_EXTENSION_MAX);
        put("1;a=\"");
        put_many(' ', n - 5);
        put("\"\r\na\r\n0\r\n\r\n");
        expect_within(n <= H1_EXTENSION_MAX);
        put("1");
        for (size_t i = 0; i < n / 2; i++)
            put(";a");
        put(n % 2 ? "a\r\na\r\n0\r\n\r\n" : "\r\na\r\n0\r\n\r\n");
        expect_within(n <= H1_EXTENSION_MAX);
    }
}

static void test_extensions_limit(void **state)
{
    (void)state;
    for (size_t n = H1_EXTENSIONS_MAX - 1; n <= H1_EXTENSIONS_MAX + 1; n++) {
        size_t left = n;
        while (left > 0) {
            /* No part may be a ';' alone. */
            size_t part = left <= H1_EXTENSION_MAX ? left : size_min(left - 2, H1_EXTENSION_MAX);
            put("1;");
            put_many('a', part - 1);
            put("\r\na\r\n");
            left -= part;
        }
        put("0\r\n\r\n");
        expect_within(n <= H1_EXTENSIONS_MAX);
    }
}

static void test_trailer_limits(void **state)
{
    (void)state;
    for (unsigned lines = H1_TRAILER_LINES_MAX - 1; lines <= H1_TRAILER_LINES_MAX + 1; lines++) {
        put("0\r\n");
        for (unsigned i = 0; i < lines; i++)
            put("A: b\r\n");
        put("\r\n");
        expect_within(lines <= H1_TRAILER_LINES_MAX);
    }
    for (size_t n = H1_TRAILER_MAX - 1; n <= H1_TRAILER_MAX + 1; n++) {
        put("0\r\nA:");
        put_many('b', n - 4);
        put("\r\n\r\n");
        expect_within(n <= H1_TRAILER_MAX);
        put("0\r\n");
        put_many('a', n - 3 - 6);
        put(":\r\nA: b\r\n\r\n");
        expect_within(n <= H1_TRAILER_MAX);
    }
}

/* Many small chunks cost no state: only extensions and trailers are counted over the body. */
static void test_many_chunks(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4000; i++)
        put("1\r\na\r\n");
    put("0\r\n\r\n");
    assert_int_equal(decode_all_ways(str_of(text, text_n))->n, 4000);
    text_n = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_trailer_names),
        cmocka_unit_test(test_gadgets),
        cmocka_unit_test(test_bad_stays_bad),
        cmocka_unit_test(test_done_stays_done),
        cmocka_unit_test(test_whole_spans),
        cmocka_unit_test(test_size_limits),
        cmocka_unit_test(test_extension_limit),
        cmocka_unit_test(test_extensions_limit),
        cmocka_unit_test(test_trailer_limits),
        cmocka_unit_test(test_many_chunks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
