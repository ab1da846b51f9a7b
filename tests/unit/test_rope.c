/* test_rope.c - whatever the mix of text and borrowed spans, every offset gives the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rope.h"

enum { LARGE = 400 };

static char lent[LARGE];

/* One letter a piece: lower case is a short text, upper case a borrowed span. */
static const char *const recipes[] = {
    "",
    "a",
    "A",
    "aA",
    "Aa",
    "AB",
    "aAbBc",
    "ABC",
    "abc",
    "aABbCDcdE",
    "AaAaAaAaAaAaAaAaAaAaAaAaAaAa",
};

static struct str build(struct rope *r, const char *recipe, struct arena *a)
{
    char *expect = arena_alloc(a, strlen(recipe) * LARGE);
    size_t n = 0;

    for (; *recipe; recipe++) {
        bool large = *recipe >= 'A' && *recipe <= 'Z';
        size_t len = large ? LARGE - (size_t)(*recipe - 'A') : (size_t)(*recipe - 'a') + 1;
        struct str piece = arena_dup(a, str_of(lent, len));
        assert_true(rope_add(r, piece));
        memcpy(expect + n, piece.p, len);
        n += len;
    }
    return str_of(expect, n);
}

static void check_offset(const struct rope *r, struct str expect, size_t offset, int max)
{
    struct iovec iov[64];
    int n = rope_iov(r, offset, iov, max);

    assert_true(n <= max);
    for (int i = 0; i < n; i++) {
        assert_true(iov[i].iov_len > 0 && iov[i].iov_len <= expect.n - offset);
        assert_memory_equal(iov[i].iov_base, expect.p + offset, iov[i].iov_len);
        offset += iov[i].iov_len;
    }
    if (n < max)
        assert_int_equal(offset, expect.n);
}

static void test_offsets(void **state)
{
    static const int maxima[] = {1, 2, 3, 64};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(recipes); i++) {
        struct rope r;
        struct arena a;
        arena_init(&a);
        rope_init(&r, 10000);
        struct str expect = build(&r, recipes[i], &a);
        assert_int_equal(rope_len(&r), expect.n);
        assert_true(str_eq(rope_flatten(&r, &a), expect));
        for (size_t offset = 0; offset <= expect.n; offset++)
            for (size_t m = 0; m < ARRAY_LEN(maxima); m++)
                check_offset(&r, expect, offset, maxima[m]);
        rope_done(&r);
        arena_done(&a);
        assert_int_equal(mem_live(), 0);
    }
}

static void test_borrows(void **state)
{
    struct iovec iov[2];
    struct rope r;

    (void)state;
    rope_init(&r, ROPE_BORROW_MIN);
    assert_true(rope_add(&r, str_of(lent, ROPE_BORROW_MIN - 1)));
    assert_int_equal(r.n_refs, 0);
    assert_false(rope_add(&r, STR("xy"))); /* the text is full */
    assert_true(rope_add(&r, str_of(lent, ROPE_BORROW_MIN)));
    assert_int_equal(r.n_refs, 1);
    assert_int_equal(rope_len(&r), 2 * ROPE_BORROW_MIN - 1);
    assert_int_equal(rope_iov(&r, 0, iov, 2), 2);
    assert_ptr_equal(iov[1].iov_base, lent);
    assert_int_equal(rope_iov(&r, 0, iov, 0), 0);
    assert_int_equal(rope_iov(&r, rope_len(&r), iov, 2), 0);
    assert_true(buf_lit(&r.text, "z")); /* a writer may append to the text itself */
    assert_int_equal(rope_len(&r), 2 * ROPE_BORROW_MIN);
    rope_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_borrows),
    };

    for (size_t i = 0; i < LARGE; i++)
        lent[i] = (char)(i * 7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
