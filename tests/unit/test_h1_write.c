/* test_h1_write.c - the lines and chunks that are written, and what they refuse when full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/h1.h"

static void test_writers(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    assert_true(h1_write_request_line(&b, STR("POST"), STR("/v1/messages?a=b")));
    assert_true(h1_write_field(&b, STR("host"), STR("a:1")));
    assert_true(h1_write_field(&b, STR("x-empty"), STR_NONE));
    assert_true(h1_write_field_u64(&b, STR("content-length"), UINT64_MAX));
    assert_true(str_eq(buf_str(&b), STR("POST /v1/messages?a=b HTTP/1.1\r\nhost: a:1\r\n"
                                        "x-empty: \r\ncontent-length: 18446744073709551615\r\n")));
    buf_clear(&b);
    assert_true(h1_write_status_line(&b, 200));
    assert_true(h1_write_status_line(&b, 529));
    assert_true(h1_write_status_line(&b, 599));
    assert_true(str_eq(buf_str(&b), STR("HTTP/1.1 200 OK\r\nHTTP/1.1 529 Overloaded\r\n"
                                        "HTTP/1.1 599 Unknown\r\n")));
    buf_clear(&b);
    assert_true(h1_write_chunk(&b, STR("a")));
    assert_true(h1_write_chunk(&b, STR("0123456789abcdef")));
    assert_true(str_eq(buf_str(&b), STR("1\r\na\r\n10\r\n0123456789abcdef\r\n")));
    buf_done(&b);
}

static void test_writers_when_full(void **state)
{
    (void)state;
    for (size_t max = 1; max < 12; max++) {
        struct buf b;
        buf_init(&b, max);
        assert_false(h1_write_request_line(&b, STR("GET"), STR("/")));
        assert_false(h1_write_status_line(&b, 200));
        assert_false(h1_write_field(&b, STR("abcd"), STR("abcdef")));
        assert_false(h1_write_field_u64(&b, STR("abcd"), 123456));
        assert_false(h1_write_chunk(&b, STR("abcdefghijkl")));
        assert_int_equal(buf_len(&b), 0);
        buf_done(&b);
    }
}

static void test_reasons(void **state)
{
    (void)state;
    assert_string_equal(h1_reason(404), "Not Found");
    for (int status = 100; status <= 599; status++)
        assert_true(h1_is_field_value(str_c(h1_reason(status))) && h1_reason(status)[0]);
}

static void test_field_value(void **state)
{
    (void)state;
    assert_true(h1_is_field_value(STR_NONE));
    for (unsigned c = 0; c < 256; c++) {
        char text[3] = {'a', (char)c, 'b'};
        bool good = c == '\t' || (c >= ' ' && c != 0x7f);
        assert_int_equal(h1_is_field_value(str_of(text, 3)), good);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writers),
        cmocka_unit_test(test_writers_when_full),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_field_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
