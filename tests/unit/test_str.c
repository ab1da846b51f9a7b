/* test_str.c - comparing, searching, cutting and reading numbers from spans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

static const struct {
    struct str a, b;
    bool eq, eq_nocase, starts, starts_nocase, ends;
    int cmp; /* sign */
} pairs[] = {
    {STR_INIT(""), STR_INIT(""), true, true, true, true, true, 0},
    {{NULL, 0}, STR_INIT(""), true, true, true, true, true, 0},
    {STR_INIT("a"), {NULL, 0}, false, false, true, true, true, 1},
    {{NULL, 0}, STR_INIT("a"), false, false, false, false, false, -1},
    {STR_INIT("abc"), STR_INIT("abc"), true, true, true, true, true, 0},
    {STR_INIT("abc"), STR_INIT("ABC"), false, true, false, true, false, 1},
    {STR_INIT("Abcd"), STR_INIT("abc"), false, false, false, true, false, -1},
    {STR_INIT("abcd"), STR_INIT("cd"), false, false, false, false, true, -1},
    {STR_INIT("ab"), STR_INIT("abc"), false, false, false, false, false, -1},
    {STR_INIT("[a"), STR_INIT("{a"), false, false, false, false, false, -1},
    {STR_INIT("@"), STR_INIT("`"), false, false, false, false, false, -1},
    {STR_INIT("\xe4"), STR_INIT("\xc4"), false, false, false, false, false, 1},
    {STR_INIT("a\0b"), STR_INIT("a\0b"), true, true, true, true, true, 0},
    {STR_INIT("a\0b"), STR_INIT("a\0c"), false, false, false, false, false, -1},
};

static void test_pairs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct str a = pairs[i].a, b = pairs[i].b;
        int cmp = str_cmp(a, b);
        assert_int_equal(str_eq(a, b), pairs[i].eq);
        assert_int_equal(str_eq_secret(a, b), pairs[i].eq);
        assert_int_equal(str_eq_nocase(a, b), pairs[i].eq_nocase);
        assert_int_equal(str_starts(a, b), pairs[i].starts);
        assert_int_equal(str_starts_nocase(a, b), pairs[i].starts_nocase);
        assert_int_equal(str_ends(a, b), pairs[i].ends);
        assert_int_equal((cmp > 0) - (cmp < 0), pairs[i].cmp);
    }
}

static const struct {
    struct str s, needle;
    size_t at;
} finds[] = {
    {STR_INIT(""), STR_INIT("a"), 0},     {{NULL, 0}, STR_INIT("a"), 0},
    {STR_INIT("abc"), STR_INIT(""), 0},   {STR_INIT("abc"), STR_INIT("a"), 0},
    {STR_INIT("abc"), STR_INIT("c"), 2},  {STR_INIT("abc"), STR_INIT("x"), 3},
    {STR_INIT("aab"), STR_INIT("ab"), 1}, {STR_INIT("a\0b"), STR_INIT("b"), 2},
    {STR_INIT("ab"), STR_INIT("abc"), 2},
};

static void test_find(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(finds); i++) {
        assert_int_equal(str_find_str(finds[i].s, finds[i].needle), finds[i].at);
        if (finds[i].needle.n == 1)
            assert_int_equal(str_find(finds[i].s, finds[i].needle.p[0]), finds[i].at);
    }
}

/* Of every length, and not a byte beside it. */
static void test_copy(void **state)
{
    char from[80], to[82];
    (void)state;
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (char)(1 + i);
    assert_ptr_equal(str_copy(to, STR_NONE), to);
    for (size_t n = 0; n <= sizeof(from); n++) {
        memset(to, 0, sizeof(to));
        assert_ptr_equal(str_copy(to + 1, str_of(from, n)), to + 1 + n);
        assert_int_equal(to[0], 0);
        assert_memory_equal(to + 1, from, n);
        for (size_t i = n + 1; i < sizeof(to); i++)
            assert_int_equal(to[i], 0);
    }
}

static void test_trim(void **state)
{
    (void)state;
    assert_true(str_eq(str_trim(STR(" \t\r\na b\r\n ")), STR("a b")));
    assert_true(str_eq(str_trim(STR("\v")), STR("\v")));
    assert_int_equal(str_trim(STR("   ")).n, 0);
    assert_null(str_trim(STR_NONE).p);
}

static const struct {
    const char *s;
    const char *parts[4];
} splits[] = {
    {"a,b,c", {"a", "b", "c"}}, {"", {""}}, {",", {"", ""}}, {"a,", {"a", ""}}, {"abc", {"abc"}},
};

static void test_split(void **state)
{
    struct str rest, part;
    size_t n;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(splits); i++) {
        rest = str_c(splits[i].s);
        for (n = 0; str_split(&rest, ',', &part); n++)
            assert_true(str_eq(part, str_c(splits[i].parts[n])));
        assert_null(splits[i].parts[n]);
    }
    rest = STR_NONE;
    assert_false(str_split(&rest, ',', &part));
}

static const struct {
    const char *s;
    bool u64_ok, i64_ok;
    uint64_t u64;
    int64_t i64;
} numbers[] = {
    {"", false, false, 0, 0},
    {"-", false, false, 0, 0},
    {"+1", false, false, 0, 0},
    {" 1", false, false, 0, 0},
    {"1 ", false, false, 0, 0},
    {"1a", false, false, 0, 0},
    {"--1", false, false, 0, 0},
    {"0", true, true, 0, 0},
    {"-0", false, true, 0, 0},
    {"007", true, true, 7, 7},
    {"-42", false, true, 0, -42},
    {"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
    {"9223372036854775808", true, false, (uint64_t)INT64_MAX + 1, 0},
    {"-9223372036854775808", false, true, 0, INT64_MIN},
    {"-9223372036854775809", false, false, 0, 0},
    {"18446744073709551615", true, false, UINT64_MAX, 0},
    {"18446744073709551616", false, false, 0, 0},
    {"184467440737095516150", false, false, 0, 0},
    {"99999999999999999999999", false, false, 0, 0},
};

static void test_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct str s = str_c(numbers[i].s);
        uint64_t u = 0;
        int64_t n = 0;
        assert_int_equal(str_to_u64(s, &u), numbers[i].u64_ok);
        assert_true(u == numbers[i].u64);
        assert_int_equal(str_to_i64(s, &n), numbers[i].i64_ok);
        assert_true(n == numbers[i].i64);
    }
}

static const struct {
    const char *a, *b;
    size_t cap, distance;
} distances[] = {
    {"", "", 3, 0},
    {"a", "a", 3, 0},
    {"", "ab", 3, 2},
    {"ab", "ba", 3, 1},
    {"listen", "lsiten", 3, 1},
    {"ca", "abc", 9, 3}, /* optimal string alignment: no edit inside a swap */
    {"kitten", "sitting", 9, 3},
    {"kitten", "sitting", 3, 3},
    {"kitten", "sitting", 2, 2},
    {"abc", "xyz", 9, 3},
    {"timeout", "timeouts", 3, 1},
    {"a", "abcdef", 3, 3},
    {"same", "same", 0, 0},
};

static void test_distance(void **state)
{
    static const char thousand[1000];
    struct str even = str_of(thousand, 1000);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(distances); i++) {
        struct str a = str_c(distances[i].a), b = str_c(distances[i].b);
        assert_int_equal(str_distance(a, b, distances[i].cap), distances[i].distance);
        assert_int_equal(str_distance(b, a, distances[i].cap), distances[i].distance);
    }
    assert_int_equal(str_distance(even, even, 5), 0);
    assert_int_equal(str_distance(even, str_head(even, 999), 5), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),   cmocka_unit_test(test_find),
        cmocka_unit_test(test_trim),    cmocka_unit_test(test_split),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_distance),
        cmocka_unit_test(test_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
