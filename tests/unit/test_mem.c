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

/* Freed blocks of middling size come back, for that size only, and zeroed where that was asked. */
static void test_spares(void **state)
{
    static const size_t sizes[] = {1024, 1025, 1056, 1088, 1464, 2048, 4032, 4095, 4096, 4097};

    enum { EACH = 100 };

    char *p[EACH];

    (void)state;
    for (size_t round = 0; round < 2; round++) {
        for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
            for (size_t i = 0; i < EACH; i++) {
                p[i] = i % 2 ? mem_alloc(sizes[s]) : mem_zalloc(sizes[s]);
                for (size_t k = 0; i % 2 == 0 && k < sizes[s]; k++)
                    assert_int_equal(p[i][k], 0);
                memset(p[i], 'x', sizes[s]);
            }
            for (size_t i = 0; i < EACH; i++)
                mem_free(p[i]);
        }
    }
    assert_int_equal(mem_live(), 0);
}

/* What fits is moved whole, from every size to every other. */
static void test_resize(void **state)
{
    static const size_t sizes[] = {1, 24, 256, 1024, 1056, 2048, 4096, 4097, 100000};

    (void)state;
    for (size_t a = 0; a < ARRAY_LEN(sizes); a++) {
        for (size_t b = 0; b < ARRAY_LEN(sizes); b++) {
            char *p = mem_realloc(NULL, sizes[a]);
            memset(p, 'y', sizes[a]);
            p = mem_realloc(p, sizes[b]);
            for (size_t k = 0; k < size_min(sizes[a], sizes[b]); k++)
                assert_int_equal(p[k], 'y');
            memset(p, 'z', sizes[b]);
            mem_free(p);
        }
    }
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
        cmocka_unit_test(test_count),  cmocka_unit_test(test_realloc_keeps),
        cmocka_unit_test(test_spares), cmocka_unit_test(test_resize),
        cmocka_unit_test(test_wipe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
