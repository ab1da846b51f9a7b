/* test_mem.c - the allocator counts what is live. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

static void test_count(void **state)
{
    char *p, *q, *r;

    (void)state;
    assert_int_equal(mem_live(), 0);
    p = mem_alloc(0);
    q = mem_zalloc(64);
    r = mem_realloc(NULL, 8);
    assert_int_equal(mem_live(), 3);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(q[i], 0);
    r = mem_realloc(r, 100000);
    r = mem_realloc(r, 0);
    assert_int_equal(mem_live(), 3);
    mem_free(p);
    mem_free(q);
    mem_free(r);
    mem_free(NULL);
    assert_int_equal(mem_live(), 0);
}

static void test_realloc_keeps(void **state)
{
    char *p = mem_strdup("kept");

    (void)state;
    p = mem_realloc(p, 1 << 20);
    assert_string_equal(p, "kept");
    mem_free(p);
    p = mem_strdup("");
    assert_string_equal(p, "");
    mem_free(p);
    assert_int_equal(mem_live(), 0);
}

static void test_wipe(void **state)
{
    char secret[] = "secret";

    (void)state;
    mem_wipe(secret, 3);
    assert_memory_equal(secret, "\0\0\0ret", 7);
    mem_wipe(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_realloc_keeps),
        cmocka_unit_test(test_wipe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
