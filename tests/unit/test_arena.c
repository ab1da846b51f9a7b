/* test_arena.c - many objects of all sizes, apart from each other and freed at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/mem.h"

static void test_sizes(void **state)
{
    enum { SIZES = 60 };

    uint8_t *objects[SIZES];
    struct arena a;
    size_t n = 0, sum = 0;

    (void)state;
    arena_init(&a);
    assert_int_equal(arena_size(&a), 0);
    for (size_t i = 0; i < SIZES; i++) {
        n = n * 5 / 4 + i % 3;
        sum += n;
        objects[i] = arena_alloc(&a, n);
        assert_int_equal((uintptr_t)objects[i] % 16, 0);
        memset(objects[i], (int)i, n);
    }
    assert_true(arena_size(&a) >= sum);
    n = 0;
    for (size_t i = 0; i < SIZES; i++) {
        n = n * 5 / 4 + i % 3;
        for (size_t j = 0; j < n; j++)
            assert_int_equal(objects[i][j], i);
    }
    arena_done(&a);
    assert_int_equal(arena_size(&a), 0);
    assert_int_equal(mem_live(), 0);
}

static void test_blocks(void **state)
{
    struct arena a;
    size_t live;

    (void)state;
    arena_init(&a);
    assert_non_null(arena_alloc(&a, 1));
    assert_int_equal(arena_size(&a), ARENA_FIRST);
    assert_non_null(
        arena_alloc(&a, (size_t)1 << 20)); /* stands alone; the first block is still in use */
    live = mem_live();
    assert_non_null(arena_alloc(&a, 500));
    assert_int_equal(mem_live(), live);
    for (size_t i = 0; i < 100000; i++)
        assert_non_null(arena_alloc(&a, 16));
    assert_true(mem_live() < 2 + 100000 * 16 / ARENA_BLOCK + 2);
    arena_done(&a);
    arena_done(&a);
    assert_int_equal(mem_live(), 0);
}

static void test_text(void **state)
{
    struct arena a;
    struct str s;

    (void)state;
    arena_init(&a);
    s = arena_dup(&a, STR("abc"));
    assert_true(str_eq(s, STR("abc")));
    s = arena_dup(&a, STR_NONE);
    assert_int_equal(s.n, 0);
    assert_non_null(s.p);
    s = arena_printf(&a, "%s-%d", "x", 42);
    assert_true(str_eq(s, STR("x-42")));
    s = arena_printf(&a, "%3000d|", 7);
    assert_int_equal(s.n, 3001);
    assert_memory_equal(s.p + 2998, " 7|", 3);
    arena_done(&a);
    assert_int_equal(mem_live(), 0);
}

static void test_zeroed(void **state)
{
    struct thing {
        uint64_t words[5];
    } * t;
    struct arena a;

    (void)state;
    arena_init(&a);
    memset(arena_alloc(&a, 512), 0xff, 512);
    arena_done(&a);
    for (int i = 0; i < 50; i++) {
        t = ARENA_NEW(&a, struct thing);
        for (size_t j = 0; j < 5; j++)
            assert_true(t->words[j] == 0);
        memset(t, 0xff, sizeof(*t));
    }
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_zeroed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
