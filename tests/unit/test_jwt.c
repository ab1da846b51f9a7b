/* test_jwt.c - tokens: the RFCs' own examples, every claim, and the attacks that are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"
#include "policy/jwt.h"

enum { NOW = 1300000000, DAY = 86400 };

#define JOE                                                                                        \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ"

/* RFC 7515 appendix A.1 to A.3 and RFC 8037 appendix A.4. Their payload names no subject, or is no
 * JSON: a result that says so has passed the signature. */
static const char set[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"rsa\",\"n\":"
    "\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4"
    "d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexM"
    "dbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK"
    "-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\"},"
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"ec\",\"use\":\"sig\",\"x\":"
    "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":"
    "\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\",\"key_ops\":[\"verify\"],\"x\":"
    "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

#define RS256                                                                                      \
    "eyJhbGciOiJSUzI1NiJ9." JOE ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__"                                  \
    "dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5"                               \
    "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_"                                           \
    "nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L"                                                 \
    "07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-"                                                \
    "eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUi"                                            \
    "pUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
#define ES256                                                                                      \
    "eyJhbGciOiJFUzI1NiJ9." JOE                                                                    \
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define EDDSA                                                                                      \
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."                                    \
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
#define HS256                                                                                      \
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." JOE ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

static const char secret[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static struct jwt_keys keys;

static void load_set(void)
{
    jwt_keys_init(&keys);
    assert_true(jwt_keys_read(&keys, str_c(set)));
    assert_int_equal(keys.n, 3);
}

static void load_secret(struct str s)
{
    char error[VERIFY_ERROR];
    jwt_keys_init(&keys);
    struct verify_key *k = verify_key_secret(s, error);
    assert_non_null(k);
    assert_true(jwt_keys_add(&keys, STR_NONE, k, UINT32_MAX));
}

static enum jwt_result verify_at(struct str token, const struct jwt_rules *rules, int64_t now)
{
    struct arena a;
    struct jwt_claims claims;
    static const struct jwt_rules none;
    arena_init(&a);
    enum jwt_result r = jwt_verify(&keys, rules ? rules : &none, token, now, &a, &claims);
    arena_done(&a);
    return r;
}

static enum jwt_result verify(const char *token)
{
    return verify_at(str_c(token), NULL, NOW);
}

static void test_rfc_examples(void **state)
{
    (void)state;
    load_set();
    assert_int_equal(verify(RS256), JWT_NO_SUBJECT);
    assert_int_equal(verify(ES256), JWT_NO_SUBJECT);
    assert_int_equal(verify(EDDSA), JWT_BAD_CLAIMS);
    assert_int_equal(verify(HS256), JWT_BAD_ALGORITHM);
    assert_int_equal(verify_at(STR(RS256), NULL, 1300819380), JWT_EXPIRED);
    jwt_keys_done(&keys);
    char bytes[64];
    ssize_t n = text_base64_decode(STR("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-"
                                       "1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"),
                                   bytes, sizeof(bytes));
    assert_int_equal(n, 64);
    load_secret(str_of(bytes, 64));
    assert_int_equal(verify(HS256), JWT_NO_SUBJECT);
    assert_int_equal(verify(RS256), JWT_BAD_ALGORITHM);
    jwt_keys_done(&keys);
    assert_int_equal(mem_live(), 0);
}

/* No other token than the one that was signed: every byte changed in every bit, every beginning. */
static void test_altered(void **state)
{
    (void)state;
    static const char *const tokens[] = {RS256, ES256, EDDSA};
    load_set();
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        char token[1024];
        size_t n = strlen(tokens[i]);
        enum jwt_result good = verify(tokens[i]);
        memcpy(token, tokens[i], n);
        for (size_t at = 0; at < n; at++) {
            token[at] = (char)(token[at] ^ (1 << at % 7));
            enum jwt_result r = verify_at(str_of(token, n), NULL, NOW);
            assert_true(r == JWT_MALFORMED || r == JWT_BAD_HEADER || r == JWT_BAD_SIGNATURE ||
                        r == JWT_BAD_ALGORITHM);
            token[at] = tokens[i][at];
            r = verify_at(str_of(token, at), NULL, NOW);
            assert_true(r == JWT_MALFORMED || r == JWT_BAD_SIGNATURE);
        }
        token[n] = 'A';
        assert_true(jwt_is_signed(good));
        assert_false(jwt_is_signed(verify_at(str_of(token, n + 1), NULL, NOW)));
    }
    jwt_keys_done(&keys);
}

static void put64(struct buf *out, struct str s)
{
    struct arena a;
    arena_init(&a);
    struct str text = text_base64_encode(&a, s.p, s.n);
    for (size_t i = 0; i < text.n && text.p[i] != '='; i++)
        buf_append(out, text.p[i] == '+'   ? STR("-")
                        : text.p[i] == '/' ? STR("_")
                                           : str_of(text.p + i, 1));
    arena_done(&a);
}

/* A token under the test's secret; header and payload as they are given. */
static void make(struct buf *out, const char *header, const char *payload)
{
    buf_clear(out);
    put64(out, str_c(header));
    buf_lit(out, ".");
    put64(out, str_c(payload));
    struct sha256 mac = hash_hmac(str_c(secret), buf_str(out));
    buf_lit(out, ".");
    put64(out, str_of((const char *)mac.bytes, sizeof(mac.bytes)));
}

#define HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define GOOD   "\"sub\":\"ann\",\"iss\":\"https://idp\",\"aud\":\"ccproxy\",\"exp\":1300000100"

static const struct {
    const char *header, *payload;
    enum jwt_result result;
} cases[] = {
    {HEADER, "{" GOOD "}", JWT_OK},
    {HEADER, "{" GOOD ",\"nbf\":1299999999.5,\"iat\":1299999999}", JWT_OK},
    {"{\"alg\":\"HS256\",\"kid\":\"any\"}", "{" GOOD "}", JWT_OK},
    {"{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", "{" GOOD "}", JWT_OK},
    {HEADER,
     "{\"sub\":\"a\",\"iss\":\"https://idp\",\"aud\":[\"x\",\"ccproxy\"],\"exp\":1300000100}",
     JWT_OK},
    /* time, with a leeway of 30 seconds */
    {HEADER, "{\"sub\":\"a\",\"iss\":\"https://idp\",\"aud\":\"ccproxy\",\"exp\":1299999971}",
     JWT_OK},
    {HEADER, "{\"sub\":\"a\",\"iss\":\"https://idp\",\"aud\":\"ccproxy\",\"exp\":1299999970}",
     JWT_EXPIRED},
    {HEADER, "{" GOOD ",\"nbf\":1300000031}", JWT_NOT_YET},
    {HEADER, "{" GOOD ",\"iat\":1300000031}", JWT_NOT_YET},
    {HEADER, "{\"sub\":\"a\",\"iss\":\"https://idp\",\"aud\":\"ccproxy\",\"exp\":1300090000}",
     JWT_TOO_LONG_LIVED}, /* than a day */
    {HEADER, "{\"sub\":\"a\",\"iss\":\"https://idp\",\"aud\":\"ccproxy\"}", JWT_BAD_TIMES},
    {HEADER, "{\"sub\":\"a\",\"exp\":\"1300000100\"}", JWT_BAD_TIMES},
    {HEADER, "{\"sub\":\"a\",\"exp\":-1}", JWT_BAD_TIMES},
    {HEADER, "{\"sub\":\"a\",\"exp\":1e400}", JWT_BAD_TIMES},
    {HEADER, "{\"sub\":\"a\",\"exp\":9223372036854775808}", JWT_BAD_TIMES},
    {HEADER, "{" GOOD ",\"nbf\":\"now\"}", JWT_BAD_TIMES},
    /* who, for whom */
    {HEADER, "{\"sub\":\"a\",\"iss\":\"https://idp/\",\"aud\":\"ccproxy\",\"exp\":1300000100}",
     JWT_BAD_ISSUER},
    {HEADER, "{\"sub\":\"a\",\"aud\":\"ccproxy\",\"exp\":1300000100}", JWT_BAD_ISSUER},
    {HEADER, "{\"sub\":\"a\",\"iss\":\"https://idp\",\"aud\":\"ccproxy2\",\"exp\":1300000100}",
     JWT_BAD_AUDIENCE},
    {HEADER, "{\"sub\":\"a\",\"iss\":\"https://idp\",\"aud\":[],\"exp\":1300000100}",
     JWT_BAD_AUDIENCE},
    {HEADER, "{\"sub\":\"a\",\"iss\":\"https://idp\",\"exp\":1300000100}", JWT_BAD_AUDIENCE},
    {HEADER, "{\"iss\":\"https://idp\",\"aud\":\"ccproxy\",\"exp\":1300000100}", JWT_NO_SUBJECT},
    {HEADER, "{\"sub\":\"\",\"iss\":\"https://idp\",\"aud\":\"ccproxy\",\"exp\":1300000100}",
     JWT_NO_SUBJECT},
    {HEADER, "{\"sub\":7,\"iss\":\"https://idp\",\"aud\":\"ccproxy\",\"exp\":1300000100}",
     JWT_NO_SUBJECT},
    {HEADER, "{" GOOD ",\"sub\":\"bob\"}", JWT_BAD_CLAIMS}, /* a claim twice */
    {HEADER, "[]", JWT_BAD_CLAIMS},
    {HEADER, "\xef\xbb\xbf{" GOOD "}", JWT_BAD_CLAIMS},
    /* the header */
    {"{\"alg\":\"none\"}", "{" GOOD "}", JWT_BAD_ALGORITHM},
    {"{\"alg\":\"None\"}", "{" GOOD "}", JWT_BAD_ALGORITHM},
    {"{\"alg\":\"\"}", "{" GOOD "}", JWT_BAD_ALGORITHM},
    {"{\"alg\":[\"HS256\"]}", "{" GOOD "}", JWT_BAD_ALGORITHM},
    {"{\"typ\":\"JWT\"}", "{" GOOD "}", JWT_BAD_ALGORITHM},
    {"{\"alg\":\"RS256\"}", "{" GOOD "}", JWT_BAD_ALGORITHM},
    {"{\"alg\":\"hs256\"}", "{" GOOD "}", JWT_BAD_ALGORITHM},
    {"{\"alg\":\"HS512\"}", "{" GOOD "}", JWT_BAD_SIGNATURE},
    {"{\"alg\":\"HS256\",\"alg\":\"none\"}", "{" GOOD "}", JWT_MALFORMED},
    {"{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", "{" GOOD "}", JWT_BAD_HEADER},
    {"{\"alg\":\"HS256\",\"b64\":false}", "{" GOOD "}", JWT_BAD_HEADER},
    {"{\"alg\":\"HS256\",\"zip\":\"DEF\"}", "{" GOOD "}", JWT_BAD_HEADER},
    {"{\"alg\":\"HS256\",\"cty\":\"JWT\"}", "{" GOOD "}", JWT_BAD_HEADER},
    {"{\"alg\":\"HS256\",\"typ\":\"JWE\"}", "{" GOOD "}", JWT_BAD_HEADER},
    /* looked at by nobody */
    {"{\"alg\":\"HS256\",\"jku\":\"https://evil\",\"jwk\":{},\"x5u\":\"https://evil\"}",
     "{" GOOD "}", JWT_OK},
};

static const struct jwt_rules rules = {.issuer = STR_INIT("https://idp"),
                                       .audience = STR_INIT("ccproxy"),
                                       .leeway_s = 30,
                                       .lifetime_max_s = DAY};

static void test_claims(void **state)
{
    (void)state;
    struct buf token;
    buf_init(&token, 65536);
    load_secret(str_c(secret));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        make(&token, cases[i].header, cases[i].payload);
        enum jwt_result r = verify_at(buf_str(&token), &rules, NOW);
        if (r != cases[i].result)
            fail_msg("%s %s: %s", cases[i].header, cases[i].payload, jwt_result_name(r));
    }
    jwt_keys_done(&keys);
    buf_done(&token);
}

static void test_encodings(void **state)
{
    (void)state;
    struct buf token, odd;
    buf_init(&token, 65536);
    buf_init(&odd, 65536);
    load_secret(str_c(secret));
    make(&token, HEADER, "{" GOOD "}");
    struct str good = buf_str(&token);

    static const struct {
        const char *before, *after;
    } wrapped[] = {{"", "="}, {" ", ""}, {"", " "}, {"", "."}, {".", ""}, {"", ".x"}, {"", "\n"}};

    for (size_t i = 0; i < ARRAY_LEN(wrapped); i++) {
        buf_clear(&odd);
        buf_printf(&odd, "%s%.*s%s", wrapped[i].before, STR_FMT(good), wrapped[i].after);
        assert_int_equal(verify_at(buf_str(&odd), &rules, NOW), JWT_MALFORMED);
    }
    /* the last character has bits to spare: another one for the same bytes is another token */
    buf_clear(&odd);
    buf_append(&odd, good);
    char *last = odd.data + odd.end - 1;
    *last = (char)(*last + 1);
    assert_true(verify_at(buf_str(&odd), &rules, NOW) != JWT_OK);
    /* a character too many is no byte, even where its bits are zero and the MAC is right */
    buf_clear(&odd);
    buf_lit(&odd, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhYiJ9A");
    struct sha256 mac = hash_hmac(str_c(secret), buf_str(&odd));
    buf_lit(&odd, ".");
    put64(&odd, str_of((const char *)mac.bytes, sizeof(mac.bytes)));
    assert_int_equal(verify_at(buf_str(&odd), NULL, NOW), JWT_MALFORMED);
    /* five parts are an encrypted token; a long one is not looked at */
    assert_int_equal(verify("a.b.c.d.e"), JWT_MALFORMED);
    assert_int_equal(verify(""), JWT_MALFORMED);
    assert_int_equal(verify(".."), JWT_MALFORMED);
    buf_clear(&odd);
    buf_append(&odd, str_head(good, str_find(good, '.') + 1));
    while (buf_len(&odd) < JWT_MAX)
        buf_lit(&odd, "AAAA");
    buf_append(&odd, STR(".AAAA"));
    assert_int_equal(verify_at(buf_str(&odd), &rules, NOW), JWT_MALFORMED);
    jwt_keys_done(&keys);
    buf_done(&odd);
    buf_done(&token);
}

/* CVE-2022-21449: r and s of nothing verify anything, where nobody looks. */
static void test_psychic_signature(void **state)
{
    (void)state;
    char zeros[64] = {0};
    struct buf b;
    buf_init(&b, 512);
    load_set();
    buf_lit(&b, "eyJhbGciOiJFUzI1NiJ9." JOE ".");
    put64(&b, str_of(zeros, 64));
    assert_int_equal(verify_at(buf_str(&b), NULL, NOW), JWT_BAD_SIGNATURE);
    jwt_keys_done(&keys);
    buf_done(&b);
}

/* The public key as the secret of an HMAC. */
static void test_confused_algorithm(void **state)
{
    (void)state;
    struct buf token;
    buf_init(&token, 4096);
    load_set();
    buf_lit(&token, "eyJhbGciOiJIUzI1NiJ9." JOE);
    struct sha256 mac = hash_hmac(str_c(set), buf_str(&token));
    buf_lit(&token, ".");
    put64(&token, str_of((const char *)mac.bytes, 32));
    assert_int_equal(verify_at(buf_str(&token), NULL, NOW), JWT_BAD_ALGORITHM);
    jwt_keys_done(&keys);
    buf_done(&token);
}

/* What a key is for goes before what is asked of it, and what is configured before both. */
static void test_algorithms(void **state)
{
    (void)state;
    static const struct jwt_rules only_es256 = {.algs = ALG_ES256};
    char error[VERIFY_ERROR];
    struct verify_key *k = verify_key_secret(str_c(secret), error);
    struct sha256 mac = hash_hmac(str_c(secret), STR("text"));
    struct str signature = str_of((const char *)mac.bytes, sizeof(mac.bytes));
    for (uint32_t alg = 1; alg <= ALG_EDDSA; alg <<= 1)
        assert_int_equal(verify_signature(k, (enum verify_alg)alg, STR("text"), signature),
                         alg == ALG_HS256);
    verify_key_free(k);
    load_set();
    assert_int_equal(verify_at(STR(ES256), &only_es256, NOW), JWT_NO_SUBJECT);
    assert_int_equal(verify_at(STR(RS256), &only_es256, NOW), JWT_BAD_ALGORITHM);
    assert_int_equal(verify_at(STR(EDDSA), &only_es256, NOW), JWT_BAD_ALGORITHM);
    jwt_keys_done(&keys);
    assert_int_equal(jwt_alg_of(STR("Ed25519")), ALG_EDDSA);
    assert_int_equal(jwt_alg_of(STR("none")), 0);
}

static void test_kid(void **state)
{
    (void)state;
    struct buf token;
    buf_init(&token, 4096);
    load_set();
    make(&token, "{\"alg\":\"RS256\",\"kid\":\"nobody\"}", "{" GOOD "}");
    assert_int_equal(verify_at(buf_str(&token), &rules, NOW), JWT_UNKNOWN_KEY);
    make(&token, "{\"alg\":\"RS256\",\"kid\":\"ec\"}", "{" GOOD "}");
    assert_int_equal(verify_at(buf_str(&token), &rules, NOW), JWT_BAD_ALGORITHM);
    jwt_keys_done(&keys);
    buf_done(&token);
}

static void test_key_sets(void **state)
{
    (void)state;
    static const char *const useless[] = {
        "",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[]}",
        "{\"keys\":[1,null,{}]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
        "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
        "\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}]}", /* not on the curve */
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"enc\",\"x\":"
        "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"key_ops\":[\"sign\"],\"x\":"
        "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"x\",\"x\":"
        "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"RS256\",\"x\":"
        "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(useless); i++) {
        jwt_keys_init(&keys);
        if (jwt_keys_read(&keys, str_c(useless[i])) || keys.n)
            fail_msg("taken: %s", useless[i]);
        jwt_keys_done(&keys);
    }
    jwt_keys_init(&keys);
    assert_true(jwt_keys_read(&keys, str_c(set)));
    assert_false(jwt_keys_read(&keys, str_c(set))); /* every kid has come before */
    assert_int_equal(keys.n, 3);
    jwt_keys_done(&keys);
    assert_int_equal(mem_live(), 0);
}

static void test_a_set_has_a_most(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 65536);
    buf_lit(&b, "{\"keys\":[");
    for (int i = 0; i <= JWT_KEYS_MAX; i++)
        buf_printf(&b,
                   "%s{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"%d\",\"x\":"
                   "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
                   i ? "," : "", i);
    buf_lit(&b, "]}");
    jwt_keys_init(&keys);
    assert_true(jwt_keys_read(&keys, buf_str(&b)));
    assert_int_equal(keys.n, JWT_KEYS_MAX);
    assert_int_equal(verify(EDDSA), JWT_BAD_CLAIMS);
    jwt_keys_done(&keys);
    buf_done(&b);
    assert_int_equal(mem_live(), 0);
}

/* Text that says it is encrypted must not make OpenSSL ask for a password. */
static void test_pem(void **state)
{
    (void)state;
    static const char p256[] = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
                               "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n";

    static const struct {
        const char *head;
        bool ok;
    } heads[] = {
        {"", true},
        {"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n",
         false},
    };

    char error[VERIFY_ERROR];
    struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        buf_clear(&b);
        buf_printf(&b, "-----BEGIN PUBLIC KEY-----\n%s%s-----END PUBLIC KEY-----\n", heads[i].head,
                   p256);
        struct verify_key *k = verify_key_pem(buf_str(&b), error);
        assert_int_equal(k != NULL, heads[i].ok);
        jwt_keys_init(&keys);
        assert_true(!k || jwt_keys_add(&keys, STR_NONE, k, UINT32_MAX));
        assert_int_equal(verify(ES256), k ? JWT_NO_SUBJECT : JWT_UNKNOWN_KEY);
        jwt_keys_done(&keys);
    }
    buf_done(&b);
    assert_int_equal(mem_live(), 0);
}

/* RSA with the exponent 1: everything is its own signature. */
static const char exponent_one[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MIIBIDANBgkqhkiG9w0BAQEFAAOCAQ0AMIIBCAKCAQEAu+SfdHPjFtGmzuoH6ghe\n"
    "IIZ4nLwUHBQEtFGqOe0N8JuZUc5VOzlI8yl0r8ESilAouttkdftexj4VFJz5R9FH\n"
    "90ypVQDPL0H4mC/RtkcJ1DBB8MriU8dmzqSXP1SBs4s5L+pJWxKKLjXddD6gXJZ7\n"
    "HT/aPl2olvlLh8JkD/52U6sjdeP3OWDKvMu5GsrMlS9XJCVaCx8r9698OEElwK+Z\n"
    "W9PztgTSb+MvyTuyzis5Yc13n/z0wMLahpDilI2fzNsZ3yH6htu4VXPraSEZV6C0\n"
    "Z7epAAAUqiUnxh3WRupEICaewYEnW3MVS2hHwLwtPu/RR0XHoZr1oPSlQMP3Zi2Q\n"
    "KwIBAQ==\n"
    "-----END PUBLIC KEY-----\n";

static void test_weak_keys(void **state)
{
    (void)state;
    char error[VERIFY_ERROR];
    assert_null(verify_key_pem(str_c(exponent_one), error));
    assert_string_equal(error, "the numbers make no RSA key");
    assert_null(verify_key_secret(str_head(str_c(secret), 31), error));
    struct verify_key *k = verify_key_secret(str_head(str_c(secret), 47), error);
    assert_int_equal(verify_key_algs(k), ALG_HS256);
    verify_key_free(k);
    assert_null(verify_key_pem(STR("-----BEGIN PUBLIC KEY-----\n"), error));
    assert_string_equal(error, "not a public key in PEM");
    assert_null(verify_key_pem(STR(""), error));
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_examples),
        cmocka_unit_test(test_altered),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_psychic_signature),
        cmocka_unit_test(test_confused_algorithm),
        cmocka_unit_test(test_algorithms),
        cmocka_unit_test(test_kid),
        cmocka_unit_test(test_key_sets),
        cmocka_unit_test(test_a_set_has_a_most),
        cmocka_unit_test(test_pem),
        cmocka_unit_test(test_weak_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
