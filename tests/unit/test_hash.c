/* test_hash.c - published vectors for SHA-256, HMAC and SipHash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.c" /* for siphash under a fixed key */
#include "base/text.h"

static void check_hex(struct sha256 got, const char *expect)
{
    char hex[2 * sizeof(got.bytes) + 1] = {0};

    text_hex(got.bytes, sizeof(got.bytes), hex);
    assert_string_equal(hex, expect);
}

static void test_sha256(void **state)
{
    static const struct { /* FIPS 180-2 appendix B, and the empty message */
        struct str s;
        const char *hex;
    } cases[] = {
        {{NULL, 0}, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {STR_INIT(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {STR_INIT("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {STR_INIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };

    (void)state;
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < ARRAY_LEN(cases); i++)
            check_hex(hash_sha256(cases[i].s), cases[i].hex);
}

static void test_hmac(void **state)
{
    static const struct { /* RFC 4231 */
        struct str key, s;
        size_t key_repeat;
        const char *hex;
    } cases[] = {
        {STR_INIT("\x0b"), STR_INIT("Hi There"), 20,
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {STR_INIT("Jefe"), STR_INIT("what do ya want for nothing?"), 1,
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {STR_INIT("\xaa"), STR_INIT("Test Using Larger Than Block-Size Key - Hash Key First"), 131,
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    };

    char key[131];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t n = cases[i].key.n;
        for (size_t j = 0; j < cases[i].key_repeat; j++)
            memcpy(key + j * n, cases[i].key.p, n);
        check_hex(hash_hmac(str_of(key, n * cases[i].key_repeat), cases[i].s), cases[i].hex);
    }
}

static void test_equal(void **state)
{
    struct sha256 a = hash_sha256(STR("a")), b = a;

    (void)state;
    assert_true(hash_equal(&a, &b));
    b.bytes[31] ^= 1;
    assert_false(hash_equal(&a, &b));
    b = a;
    b.bytes[0] ^= 0x80;
    assert_false(hash_equal(&a, &b));
}

/* The key 00..0f over the messages "", 00, 00 01, ... of the algorithm's authors. */
static void test_siphash(void **state)
{
    static const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

    static const struct {
        size_t n;
        uint64_t hash;
    } cases[] = {
        {0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd},  {7, 0xab0200f58b01d137},
        {8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5},
    };

    char message[15];

    (void)state;
    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (char)i;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_true(siphash(key, str_of(message, cases[i].n)) == cases[i].hash);
    assert_true(siphash(key, STR_NONE) == cases[0].hash);
}

static void test_sip_keyed(void **state)
{
    static const uint64_t zero[2];

    (void)state;
    assert_true(hash_sip(STR("a")) == hash_sip(STR("a")));
    assert_true(hash_sip(STR("a")) != hash_sip(STR("b")));
    assert_true(hash_sip(STR("a")) != siphash(zero, STR("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),    cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_equal),     cmocka_unit_test(test_siphash),
        cmocka_unit_test(test_sip_keyed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
