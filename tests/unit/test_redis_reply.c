/* test_redis_reply.c - replies whole and byte by byte, what is no reply, and the bounds. */
#include "store/redis_reply.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/mem.h"

enum { BYTES_MAX = 4096, ITEMS_MAX = 64 };

static void print(struct buf *out, const struct redis_reply *r)
{
    switch (r->type) {
    case REDIS_NIL: buf_lit(out, "nil"); return;
    case REDIS_INTEGER: buf_printf(out, "%lld", (long long)r->integer); return;
    case REDIS_STRING: buf_printf(out, "'%.*s'", STR_FMT(r->text)); return;
    case REDIS_STATUS: buf_printf(out, "+%.*s", STR_FMT(r->text)); return;
    case REDIS_ERROR: buf_printf(out, "-%.*s", STR_FMT(r->text)); return;
    case REDIS_ARRAY:
        buf_lit(out, "[");
        for (size_t i = 0; i < r->n; i++) {
            buf_append(out, i ? STR(" ") : STR(""));
            print(out, r->items[i]);
        }
        buf_lit(out, "]");
        return;
    }
    fail();
}

/* All replies of bytes, fed step bytes at a time, and how it ended. */
static void read_all(struct str bytes, size_t step, struct buf *out)
{
    struct redis_reader *reader = redis_reader_new(BYTES_MAX, ITEMS_MAX);
    enum redis_read how = REDIS_READ_MORE;
    for (size_t at = 0; at < bytes.n && how != REDIS_READ_BAD; at += step) {
        const struct redis_reply *r;
        redis_reader_feed(reader, str_head(str_skip(bytes, at), size_min(step, bytes.n - at)));
        while ((how = redis_reader_next(reader, &r)) == REDIS_READ_DONE) {
            print(out, r);
            buf_lit(out, ";");
        }
    }
    if (how == REDIS_READ_BAD) {
        buf_lit(out, "BAD");
        assert_true(strlen(redis_reader_error(reader)) > 0);
        assert_int_equal(redis_reader_next(reader, &(const struct redis_reply *){0}),
                         REDIS_READ_BAD);
    }
    redis_reader_free(reader);
}

static void expect(struct str bytes, const char *expected)
{
    static const size_t steps[] = {1, 2, 3, 7, 100000};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct buf out;
        buf_init(&out, 65536);
        read_all(bytes, steps[i], &out);
        if (!str_eq(buf_str(&out), str_c(expected)))
            fail_msg("%.*s in steps of %zu: got %.*s", STR_FMT(bytes), steps[i],
                     STR_FMT(buf_str(&out)));
        buf_done(&out);
    }
}

static void test_replies(void **state)
{
    static const struct {
        struct str bytes;
        const char *expected;
    } cases[] = {
        {STR_INIT("+OK\r\n"), "+OK;"},
        {STR_INIT("+\r\n"), "+;"},
        {STR_INIT("-ERR no\r\n:7\r\n"), "-ERR no;7;"},
        {STR_INIT(":-9223372036854775808\r\n:9223372036854775807\r\n"),
         "-9223372036854775808;9223372036854775807;"},
        {STR_INIT("$0\r\n\r\n$3\r\na\r\n\r\n$-1\r\n"), "'';'a\r\n';nil;"},
        {STR_INIT("*0\r\n*-1\r\n"), "[];nil;"},
        {STR_INIT("*3\r\n:1\r\n$1\r\nx\r\n*2\r\n+a\r\n-b\r\n:2\r\n"), "[1 'x' [+a -b]];2;"},
        {STR_INIT("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"), "[[[[[[[1]]]]]]];"},
        {STR_INIT("$5\r\nab"), ""},
        {STR_INIT("*2\r\n:1\r\n"), ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect(cases[i].bytes, cases[i].expected);
    assert_int_equal(mem_live(), 0);
}

static void test_wrong(void **state)
{
    static const struct {
        struct str bytes;
        const char *expected;
    } cases[] = {
        {STR_INIT("HTTP/1.1 400 Bad Request\r\n\r\n"), "BAD"},
        {STR_INIT("\r\n"), "BAD"},
        {STR_INIT(":1\r\n!\r\n"), "1;BAD"},
        {STR_INIT(">2\r\n"), "BAD"},
        {STR_INIT(":x\r\n"), "BAD"},
        {STR_INIT(":99999999999999999999\r\n"), "BAD"},
        {STR_INIT("$x\r\n"), "BAD"},
        {STR_INIT("$-2\r\n"), "BAD"},
        {STR_INIT("*x\r\n"), "BAD"},
        {STR_INIT("*-2\r\n"), "BAD"},
        {STR_INIT("*64\r\n"), "BAD"},
        {STR_INIT("*2147483647\r\n"), "BAD"},
        {STR_INIT("*1152921504606846977\r\n"), "BAD"},
        {STR_INIT("*2\r\n*61\r\n*1\r\n*61\r\n"), "BAD"},
        {STR_INIT("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"), "BAD"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect(cases[i].bytes, cases[i].expected);
    assert_int_equal(mem_live(), 0);
}

static void test_too_long(void **state)
{
    struct buf bytes;
    (void)state;
    buf_init(&bytes, 100000);
    buf_lit(&bytes, "$5000\r\n");
    for (int i = 0; i < 4990; i++)
        buf_lit(&bytes, "x");
    expect(buf_str(&bytes), "BAD");
    buf_clear(&bytes);
    buf_lit(&bytes, "+");
    for (int i = 0; i < 4990; i++)
        buf_lit(&bytes, "x");
    expect(buf_str(&bytes), "BAD"); /* a line without an end */
    buf_done(&bytes);
    assert_int_equal(mem_live(), 0);
}

static void test_code(void **state)
{
    struct redis_reply r = {.type = REDIS_ERROR, .text = STR("NOSCRIPT No matching script.")};
    (void)state;
    assert_true(str_eq(redis_reply_code(&r), STR("NOSCRIPT")));
    r.text = STR("OOM");
    assert_true(str_eq(redis_reply_code(&r), STR("OOM")));
    r.type = REDIS_STATUS;
    assert_null(redis_reply_code(&r).p);
    assert_null(redis_reply_code(NULL).p);
}

static void test_format(void **state)
{
    const struct str words[] = {STR("SET"), STR("a\r\nb\0c"), STR_NONE, STR("")};
    struct buf out;
    (void)state;
    buf_init(&out, 160);
    assert_true(redis_format(&out, words, ARRAY_LEN(words)));
    assert_true(
        str_eq(buf_str(&out), STR("*4\r\n$3\r\nSET\r\n$6\r\na\r\nb\0c\r\n$0\r\n\r\n$0\r\n\r\n")));
    assert_false(redis_format(&out, words, ARRAY_LEN(words)));
    assert_int_equal(buf_len(&out), 37);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),  cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_too_long), cmocka_unit_test(test_code),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
