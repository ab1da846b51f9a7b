/* test_rand.c - the store of random bytes, its replacement, and the shape of what is drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"

static uint8_t counter;
static size_t fills;

static void fill_counting(void *p, size_t n)
{
    uint8_t *bytes = p;

    for (size_t i = 0; i < n; i++)
        bytes[i] = counter++;
    fills++;
}

static void test_source(void **state)
{
    uint8_t got[2800];

    (void)state;
    counter = 0;
    fills = 0;
    rand_set_source(fill_counting);
    rand_bytes(got, 0);
    assert_int_equal(fills, 0);
    rand_bytes(got, 3);
    rand_bytes(got + 3, sizeof(got) - 3);
    for (size_t i = 0; i < sizeof(got); i++)
        assert_int_equal(got[i], i % 256);
    assert_int_equal(fills, 3);
    rand_reseed();
    rand_bytes(got, 1);
    assert_int_equal(fills, 4);
    rand_set_source(NULL);
}

static void test_kernel(void **state)
{
    uint64_t first = rand_u64(), second = rand_u64();

    (void)state;
    assert_true(first != second);
    rand_reseed();
    assert_true(rand_u64() != first);
}

static void test_below(void **state)
{
    static const uint64_t limits[] = {1, 2, 3, 10, 256, 1000, (uint64_t)1 << 63, UINT64_MAX};
    unsigned seen[3] = {0};

    (void)state;
    counter = 7;
    rand_set_source(fill_counting);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        for (int turn = 0; turn < 100; turn++)
            assert_true(rand_below(limits[i]) < limits[i]);
    rand_set_source(NULL);
    for (int turn = 0; turn < 300; turn++)
        seen[rand_below(3)]++;
    for (size_t i = 0; i < 3; i++)
        assert_true(seen[i] > 0);
}

static void test_alnum(void **state)
{
    char out[2001];

    (void)state;
    out[2000] = '!';
    rand_alnum(out, 2000);
    for (size_t i = 0; i < 2000; i++)
        assert_true((out[i] >= '0' && out[i] <= '9') || (out[i] >= 'A' && out[i] <= 'Z') ||
                    (out[i] >= 'a' && out[i] <= 'z'));
    assert_int_equal(out[2000], '!');
    assert_non_null(memchr(out, 'A', 2000));
    assert_non_null(memchr(out, '9', 2000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source),
        cmocka_unit_test(test_kernel),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_alnum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
