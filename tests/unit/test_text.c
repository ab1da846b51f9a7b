/* test_text.c - encodings, with what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

/* Around every power of ten, against the C library. */
static void test_u64(void **state)
{
    char out[TEXT_U64 + 1], expected[TEXT_U64 + 1];
    (void)state;
    for (uint64_t power = 1;; power *= 10) {
        for (int d = -1; d <= 11; d++) {
            uint64_t n = d == 11 ? UINT64_MAX : power + (uint64_t)d;
            out[text_u64(n, out)] = '\0';
            (void)snprintf(expected, sizeof(expected), "%ju", (uintmax_t)n);
            assert_string_equal(out, expected);
        }
        if (power > UINT64_MAX / 10)
            break;
    }
}

static const struct {
    struct str plain, encoded;
} base64[] = {
    /* RFC 4648 section 10 */
    {STR_INIT(""), STR_INIT("")},
    {STR_INIT("f"), STR_INIT("Zg==")},
    {STR_INIT("fo"), STR_INIT("Zm8=")},
    {STR_INIT("foo"), STR_INIT("Zm9v")},
    {STR_INIT("foob"), STR_INIT("Zm9vYg==")},
    {STR_INIT("fooba"), STR_INIT("Zm9vYmE=")},
    {STR_INIT("foobar"), STR_INIT("Zm9vYmFy")},
    {STR_INIT("\xfb\xff\xbf\0"), STR_INIT("+/+/AA==")},
};

static void test_base64(void **state)
{
    struct arena a;
    char out[64];

    (void)state;
    arena_init(&a);
    for (size_t i = 0; i < ARRAY_LEN(base64); i++) {
        struct str plain = base64[i].plain, encoded = base64[i].encoded;
        assert_true(str_eq(text_base64_encode(&a, plain.p, plain.n), encoded));
        for (size_t max = 0; max <= plain.n + 2; max++) {
            ssize_t n = text_base64_decode(encoded, out, max);
            assert_int_equal(n, size_min(max, plain.n));
            assert_memory_equal(out, plain.p, (size_t)n);
        }
    }
    arena_done(&a);
}

static void test_base64_all_bytes(void **state)
{
    uint8_t bytes[256], out[256];
    struct arena a;

    (void)state;
    arena_init(&a);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 167);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        struct str s = text_base64_encode(&a, bytes, n);
        assert_int_equal(text_base64_decode(s, out, sizeof(out)), n);
        assert_memory_equal(out, bytes, n);
    }
    arena_done(&a);
    assert_int_equal(mem_live(), 0);
}

static const struct {
    const char *s;
    ssize_t n; /* bytes decoded, or -1 */
} loose[] = {
    {"Zg", 1},        {"Zm8", 2},       {"Zm 9\r\nv\t", 3}, {" Z g = = ", 1}, {"-_-_AA", 4},
    {"Z", -1},        {"Zm9vZ", -1},    {"=", -1},          {"==", -1},       {"Zg=", -1},
    {"Zg===", -1},    {"Zm9v=", -1},    {"Zg==Zg==", -1},   {"Z!", -1},       {"Zm9v\x01", -1},
    {"Zm9v\xc3", -1}, {"Zm9v====", -1}, {"Zm8==", -1},      {"Z=g=", -1},     {"   ", 0},
};

static void test_base64_loose(void **state)
{
    char out[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(loose); i++)
        assert_int_equal(text_base64_decode(str_c(loose[i].s), out, sizeof(out)), loose[i].n);
    assert_int_equal(text_base64_decode(STR("Zm9v!!!!"), out, 3), 3); /* not looked at */
}

static void test_hex(void **state)
{
    char out[9] = "........";

    (void)state;
    text_hex("\x00\x9f\xff\x0a", 4, out);
    assert_string_equal(out, "009fff0a");
    text_hex(NULL, 0, out);
}

static const struct {
    struct str s, plain; /* absent: refused */
} percent[] = {
    {STR_INIT(""), STR_INIT("")},
    {STR_INIT("plain+text"), STR_INIT("plain+text")},
    {STR_INIT("%41%7a%2F%2f"), STR_INIT("Az//")},
    {STR_INIT("%e2%82%AC"), STR_INIT("\xe2\x82\xac")},
    {STR_INIT("%25%32%35"), STR_INIT("%25")},
    {STR_INIT("a%"), {NULL, 0}},
    {STR_INIT("a%4"), {NULL, 0}},
    {STR_INIT("a%4g"), {NULL, 0}},
    {STR_INIT("a%g4"), {NULL, 0}},
    {STR_INIT("%%41"), {NULL, 0}},
    {STR_INIT("a%00b"), {NULL, 0}},
};

static void test_percent(void **state)
{
    struct arena a;
    struct str plain;

    (void)state;
    arena_init(&a);
    for (size_t i = 0; i < ARRAY_LEN(percent); i++) {
        assert_int_equal(text_percent_decode(&a, percent[i].s, &plain), !!percent[i].plain.p);
        if (percent[i].plain.p)
            assert_true(str_eq(plain, percent[i].plain));
    }
    arena_done(&a);
}

static const struct {
    struct str s;
    size_t valid;
} utf8[] = {
    {{NULL, 0}, 0},
    {STR_INIT("ascii only, longer than eight"), 29},
    {STR_INIT("a\0b"), 3},
    {STR_INIT("\xc2\x80\xdf\xbf"), 4},
    {STR_INIT("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"), 12},
    {STR_INIT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), 8},
    {STR_INIT("12345678\xff"), 8},
    {STR_INIT("0123456789abcdef0123456789abcdef\xff"), 32},
    {STR_INIT("0123456789abcdef0123456789abcde\xff"), 31},
    {STR_INIT("\xc3\xa4"
              "0123456789abcdef0123456789abcdefg\xff"),
     35},
    {STR_INIT("1234567\xff"), 7},
    {STR_INIT("12345678\xc3\xa4 12345678\x80"), 19},
    {STR_INIT("\x80"), 0},
    {STR_INIT("a\xbf"), 1},
    {STR_INIT("\xc0\x80"), 0},         /* overlong */
    {STR_INIT("\xc1\xbf"), 0},         /* overlong */
    {STR_INIT("\xe0\x9f\xbf"), 0},     /* overlong */
    {STR_INIT("\xf0\x8f\xbf\xbf"), 0}, /* overlong */
    {STR_INIT("\xed\xa0\x80"), 0},     /* surrogate */
    {STR_INIT("\xed\xbf\xbf"), 0},     /* surrogate */
    {STR_INIT("\xf4\x90\x80\x80"), 0}, /* above U+10FFFF */
    {STR_INIT("\xf5\x80\x80\x80"), 0},
    {STR_INIT("\xfe"), 0},
    {STR_INIT("x\xc3"), 1},
    {STR_INIT("x\xe2\x82"), 1},
    {STR_INIT("x\xf0\x9f\x98"), 1},
    {STR_INIT("x\xe2\x82x"), 1},
    {STR_INIT("x\xf0\x9f\x98x"), 1},
    {STR_INIT("x\xe2\xc2\x80"), 1},
};

static void test_utf8(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(utf8); i++)
        assert_int_equal(text_utf8_valid(utf8[i].s), utf8[i].valid);
}

/* Every scalar value is encoded to one valid sequence, whose every proper prefix is not valid. */
static void test_utf8_all(void **state)
{
    char out[4];
    size_t n;

    (void)state;
    for (uint32_t rune = 0; rune <= 0x10ffff; rune++) {
        if (rune >= 0xd800 && rune <= 0xdfff)
            continue;
        n = text_utf8_encode(rune, out);
        if (n != 1U + (rune > 0x7f) + (rune > 0x7ff) + (rune > 0xffff))
            fail_msg("U+%04X has %zu bytes", rune, n);
        if (text_utf8_valid(str_of(out, n)) != n || text_utf8_valid(str_of(out, n - 1)) != 0)
            fail_msg("U+%04X", rune);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64),       cmocka_unit_test(test_base64_all_bytes),
        cmocka_unit_test(test_base64_loose), cmocka_unit_test(test_hex),
        cmocka_unit_test(test_percent),      cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_utf8_all),     cmocka_unit_test(test_u64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
