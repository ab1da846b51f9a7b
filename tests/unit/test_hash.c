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

static ssize_t from_hex(const char *hex, char *out)
{
    size_t n = strlen(hex) / 2;

    for (size_t i = 0; i < n; i++) {
        unsigned byte = 0;
        for (size_t d = 0; d < 2; d++) {
            char ch = hex[2 * i + d];
            byte = byte << 4 | (unsigned)(ch <= '9' ? ch - '0' : ch - 'a' + 10);
        }
        out[i] = (char)byte;
    }
    return (ssize_t)n;
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

/* Test case 16 of the GCM specification's appendix (AES-256, with associated data). */
static void test_seal_vector(void **state)
{
    static const char key[] = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    static const char box[] = "cafebabefacedbaddecaf888"
                              "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                              "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
                              "76fc6ece0f4e1768cddf8853bb2d551b";
    static const char label[] = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
    static const char plain[] = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                                "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    char k[64], b[128], l[32], p[64];
    struct str out;
    (void)state;
    ssize_t kn = from_hex(key, k), bn = from_hex(box, b), ln = from_hex(label, l);
    ssize_t pn = from_hex(plain, p);
    assert_int_equal(kn, SEAL_KEY);
    assert_true(seal_open((uint8_t *)k, str_of(l, (size_t)ln), b, (size_t)bn, &out));
    assert_int_equal(out.n, pn);
    assert_memory_equal(out.p, p, out.n);
}

/* Opens a copy. */
static bool opens(const uint8_t *key, struct str label, const char *box, size_t n, struct str plain)
{
    char copy[64];
    struct str out;
    assert_true(n <= sizeof(copy));
    memcpy(copy, box, n);
    return seal_open(key, label, copy, n, &out) && str_eq(out, plain);
}

/* What was closed opens; with any byte changed, cut or added, or under another label, it does not. */
static void test_seal(void **state)
{
    static const uint8_t key[SEAL_KEY] = {1}, other[SEAL_KEY] = {2};
    struct str plain = STR("thinking"), label = STR("ann");
    char box[64];
    size_t n = plain.n + SEAL_EXTRA;
    (void)state;
    seal_close(key, label, plain, box);
    assert_true(opens(key, label, box, n, plain));
    assert_false(opens(other, label, box, n, plain));
    assert_false(opens(key, STR("bob"), box, n, plain));
    for (size_t i = 0; i < n; i++) {
        assert_false(opens(key, label, box, i, plain));
        box[i] = (char)(box[i] ^ 1);
        assert_false(opens(key, label, box, n, plain));
        box[i] = (char)(box[i] ^ 1);
    }
    assert_false(opens(key, label, box, n + 1, plain));
    seal_close(key, label, STR(""), box);
    assert_true(opens(key, label, box, SEAL_EXTRA, STR("")));
}

/* A fingerprint is the tag of an empty box whose label is the last fingerprint and the piece. */
static void test_fingerprint(void **state)
{
    static const uint8_t key[SEAL_KEY] = {1}, other[SEAL_KEY] = {2};
    struct fingerprint one = {{7}}, two = one, three = one;
    char label[16 + 3], box[SEAL_EXTRA] = {0};
    (void)state;
    memcpy(label, one.bytes, 16);
    memcpy(label + 16, "abc", 3);
    fingerprint_chain(key, &one, STR("abc"));
    memcpy(box + 12, one.bytes, 16);
    assert_true(opens(key, str_of(label, sizeof(label)), box, sizeof(box), STR("")));
    fingerprint_chain(other, &two, STR("abc"));
    assert_memory_not_equal(one.bytes, two.bytes, 16);
    fingerprint_chain(key, &three, STR("ab"));
    fingerprint_chain(key, &three, STR("c"));
    assert_memory_not_equal(one.bytes, three.bytes, 16);
}

static void test_chain(void **state)
{
    struct sha256 one = {0}, two = {0}, zero = {0};
    char joined[35] = {0};
    (void)state;
    hash_chain(&one, STR("abc"));
    memcpy(joined + 32, "abc", 3);
    zero = hash_sha256(str_of(joined, 35));
    assert_true(hash_equal(&one, &zero));
    hash_chain(&two, STR("ab"));
    hash_chain(&two, STR("c"));
    assert_false(hash_equal(&one, &two));
}

/* FIPS 180-4, the examples of its publisher. */
static void test_sha1(void **state)
{
    static const struct {
        struct str s;
        const char *hex;
    } cases[] = {
        {STR_INIT("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {STR_INIT(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
        {STR_INIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
         "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t sha[SHA1_SIZE];
        char hex[2 * SHA1_SIZE + 1] = {0};
        hash_sha1(cases[i].s, sha);
        text_hex(sha, sizeof(sha), hex);
        assert_string_equal(hex, cases[i].hex);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),      cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_equal),       cmocka_unit_test(test_siphash),
        cmocka_unit_test(test_sip_keyed),   cmocka_unit_test(test_chain),
        cmocka_unit_test(test_seal),        cmocka_unit_test(test_seal_vector),
        cmocka_unit_test(test_fingerprint), cmocka_unit_test(test_sha1),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
