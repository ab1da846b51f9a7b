/* test_keyring.c - verified tokens are remembered, by all of their bytes: a token that shares some
 * of them with one that was let in is verified like any other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "proxy/keyring.h"

enum { NOW = 1800000000, PAIRS = 100000, TOKEN_MAX = 512, SECOND = 1000000 };

static const struct str secret = STR_INIT("0123456789abcdef0123456789abcdef");

static struct config config;
static struct jwt_keys own;
static struct loop *loop;
static struct keyring *keyring;

static void make_keyring(void)
{
    char error[VERIFY_ERROR];
    jwt_keys_init(&own);
    assert_true(jwt_keys_add(&own, STR_NONE, verify_key_secret(secret, error), UINT32_MAX));
    config = (struct config){
        .jwt_keys = &own, .jwt_leeway = 30 * SECOND, .jwt_lifetime = 86400ll * SECOND};
    loop = loop_new();
    keyring = keyring_new(loop, NULL, NULL, &config);
}

static void end_keyring(void)
{
    keyring_free(keyring);
    loop_free(loop);
    jwt_keys_done(&own);
    assert_int_equal(mem_live(), 0);
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

/* The n-th subject's token; expires after a minute. */
static void make_token(struct buf *out, unsigned n)
{
    char payload[128];
    int len = snprintf(payload, sizeof(payload), "{\"sub\":\"ann-%u\",\"exp\":%d}", n, NOW + 60);
    buf_clear(out);
    put64(out, STR("{\"alg\":\"HS256\"}"));
    buf_lit(out, ".");
    put64(out, str_of(payload, (size_t)len));
    struct sha256 mac = hash_hmac(secret, buf_str(out));
    buf_lit(out, ".");
    put64(out, str_of((const char *)mac.bytes, sizeof(mac.bytes)));
}

/* The client's number, or -1. */
static int let_in(struct str token, int64_t now_s)
{
    struct arena a;
    struct judgement j;
    int64_t n = -1;
    arena_init(&a);
    if (keyring_judge(keyring, token, now_s, &a, &j) == JWT_OK)
        assert_true(str_starts(j.client->name, STR("ann-")) &&
                    str_to_i64(str_skip(j.client->name, 4), &n));
    arena_done(&a);
    return (int)n;
}

static void test_shared_bytes(void **state)
{
    (void)state;
    struct buf token;
    char other[TOKEN_MAX];
    buf_init(&token, TOKEN_MAX);
    make_keyring();
    for (unsigned i = 0; i < PAIRS; i++) {
        if (i % 16 == 0) {
            make_token(&token, i);
            assert_int_equal(let_in(buf_str(&token), NOW), i); /* remembered from here on */
        }
        struct str good = buf_str(&token);
        size_t at = i * 2654435761u % good.n, shared = 20 + i % (good.n - 20);
        memcpy(other, good.p, good.n);
        other[at] = other[at] == 'A' ? 'B' : 'A';
        assert_int_equal(let_in(str_of(other, good.n), NOW), -1);
        assert_int_equal(let_in(str_head(good, shared), NOW), -1);
        assert_int_equal(let_in(good, NOW), i - i % 16);
    }
    buf_done(&token);
    end_keyring();
}

static void test_remembered_tokens_expire(void **state)
{
    (void)state;
    struct buf token;
    buf_init(&token, TOKEN_MAX);
    make_keyring();
    make_token(&token, 1);
    assert_int_equal(let_in(buf_str(&token), NOW), 1);
    assert_int_equal(let_in(buf_str(&token), NOW + 89), 1); /* the leeway is thirty seconds */
    assert_int_equal(let_in(buf_str(&token), NOW + 90), -1);
    assert_int_equal(let_in(buf_str(&token), NOW), 1);
    buf_done(&token);
    end_keyring();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_bytes),
        cmocka_unit_test(test_remembered_tokens_expire),
    };
    clock_refresh();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
