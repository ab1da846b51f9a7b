/* test_buf.c - the byte queue: order, maximum, reuse of memory, and the common count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

static void test_queue(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(buf_str(&b).n, 0);
    assert_int_equal(buf_total(), 0);
    assert_true(buf_append(&b, STR_NONE));
    assert_true(buf_lit(&b, "hello "));
    assert_true(buf_printf(&b, "%s", "world"));
    assert_true(str_eq(buf_str(&b), STR("hello world")));
    buf_consume(&b, 6);
    assert_true(str_eq(buf_str(&b), STR("world")));
    buf_consume(&b, 0);
    buf_consume(&b, 5);
    assert_int_equal(b.start, 0);
    assert_int_equal(b.end, 0);
    assert_true(buf_lit(&b, "again"));
    buf_clear(&b);
    assert_int_equal(buf_len(&b), 0);
    assert_true(buf_total() > 0);
    buf_release(&b);
    assert_int_equal(buf_total(), 0);
    assert_true(buf_lit(&b, "usable"));
    buf_done(&b);
    buf_done(&b);
    assert_int_equal(buf_total(), 0);
    assert_int_equal(mem_live(), 0);
}

static void test_max(void **state)
{
    static const size_t maxima[] = {1, 2, 255, 256, 257, 1000, 5000};
    struct buf b;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(maxima); i++) {
        size_t max = maxima[i];
        buf_init(&b, max);
        for (size_t n = 0; n < max; n++)
            assert_true(buf_append(&b, STR("x")));
        assert_false(buf_append(&b, STR("x")));
        assert_false(buf_printf(&b, "%d", 1));
        assert_false(buf_append_u64(&b, 7));
        assert_null(buf_reserve(&b, 1));
        assert_null(buf_reserve(&b, SIZE_MAX));
        assert_int_equal(buf_len(&b), max);
        assert_true(b.cap <= size_max(max, 256));
        buf_consume(&b, 1);
        assert_true(buf_append(&b, STR("y")));
        assert_int_equal(buf_str(&b).p[max - 1], 'y');
        buf_done(&b);
    }
    assert_int_equal(buf_total(), 0);
}

static void test_front_reused(void **state)
{
    struct buf b;
    size_t cap;

    (void)state;
    buf_init(&b, 4096);
    for (int i = 0; i < 64; i++)
        assert_true(buf_lit(&b, "0123"));
    cap = b.cap;
    buf_consume(&b, 200);
    assert_non_null(buf_reserve(&b, 200));
    assert_int_equal(b.cap, cap);
    assert_int_equal(b.start, 0);
    assert_int_equal(buf_len(&b), 56);
    assert_memory_equal(buf_str(&b).p, "01230123", 8);
    assert_non_null(buf_reserve(&b, 201));
    assert_int_equal(b.cap, 2 * cap);
    assert_int_equal(buf_total(), b.cap);
    buf_done(&b);
}

static void test_reserve(void **state)
{
    struct buf b;
    char *p;

    (void)state;
    buf_init(&b, 1 << 20);
    p = buf_reserve(&b, 100000);
    assert_non_null(p);
    memset(p, 'z', 100000);
    assert_int_equal(buf_len(&b), 0);
    buf_commit(&b, 99999);
    assert_int_equal(buf_len(&b), 99999);
    assert_true(buf_room(&b) >= 1);
    buf_done(&b);
    assert_int_equal(mem_live(), 0);
}

static void test_print(void **state)
{
    static const struct {
        uint64_t n;
        struct str text;
    } cases[] = {
        {0, STR_INIT("0")},
        {9, STR_INIT("9")},
        {10, STR_INIT("10")},
        {UINT64_MAX, STR_INIT("18446744073709551615")},
    };

    static const int widths[] = {1, 255, 256, 511, 512, 513, 9000};
    struct buf b;

    (void)state;
    buf_init(&b, 9000);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(buf_append_u64(&b, cases[i].n));
        assert_true(str_eq(buf_str(&b), cases[i].text));
        buf_clear(&b);
    }
    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        assert_true(buf_printf(&b, "%*d", widths[i], 5));
        assert_int_equal(buf_len(&b), widths[i]);
        assert_int_equal(buf_str(&b).p[widths[i] - 1], '5');
        buf_clear(&b);
    }
    assert_false(buf_printf(&b, "%9001d", 5));
    assert_int_equal(buf_len(&b), 0);
    buf_done(&b);
    assert_int_equal(mem_live(), 0);
}

/* Random appends and consumes against a counter: byte number i of the queue is i mod 251. */
static void test_stream(void **state)
{
    uint64_t in = 0, out = 0, seed = 1;
    struct buf b;

    (void)state;
    buf_init(&b, 3000);
    for (int turn = 0; turn < 5000; turn++) {
        char chunk[700];
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        size_t n = (size_t)(seed >> 33) % sizeof(chunk);
        for (size_t i = 0; i < n; i++)
            chunk[i] = (char)((in + i) % 251);
        if (buf_append(&b, str_of(chunk, n)))
            in += n;
        n = (size_t)(seed >> 20) % (buf_len(&b) + 1);
        for (size_t i = 0; i < n; i++)
            assert_int_equal((uint8_t)buf_str(&b).p[i], (out + i) % 251);
        buf_consume(&b, n);
        out += n;
        assert_int_equal(buf_len(&b), in - out);
        assert_int_equal(buf_total(), b.cap);
    }
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue),        cmocka_unit_test(test_max),
        cmocka_unit_test(test_front_reused), cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_print),        cmocka_unit_test(test_stream),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
