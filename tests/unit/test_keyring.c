/* test_keyring.c - verified tokens are remembered, by all of their bytes: a token that shares some
 * of them with one that was let in is verified like any other. And an identity provider is asked by one
 * worker for all, what it says outlives that worker, and for a day itself; it is scripted, the clock virtual.
 */
#include "proxy/keyring.h"

#include <fcntl.h>

#include "base/text.h"
#include "peer.h"

enum { NOW = 1800000000, PAIRS = 100000, TOKEN_MAX = 512, SECOND = 1000000 };

static const struct str secret = STR_INIT("0123456789abcdef0123456789abcdef");

static struct config config;
static struct jwt_keys own;
static struct shelf *shelf;
static struct keyring *keyring;

static void make_keyring(void)
{
    char error[VERIFY_ERROR];
    jwt_keys_init(&own);
    assert_true(jwt_keys_add(&own, STR_NONE, verify_key_secret(secret, error), UINT32_MAX));
    config = (struct config){
        .jwt_keys = &own, .jwt_leeway = 30 * SECOND, .jwt_lifetime = 86400ll * SECOND};
    clock_begin();
    shelf = keyring_shelf_new();
    keyring = keyring_new(loop, NULL, NULL, &config, shelf);
}

static void end_keyring(void)
{
    keyring_free(keyring);
    shelf_free(shelf);
    clock_end();
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

/* --- a provider ----------------------------------------------------------------------------- */

enum { WORKERS = 2, THEN = 1300000000 };

#define HOUR (UINT64_C(3600) * SECOND)

/* RFC 7515 appendix A.3 */
#define RFC_KEY                                                                                    \
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"rfc\","                                \
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","                                       \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}"
static const struct str rfc_token =
    STR_INIT("eyJhbGciOiJFUzI1NiJ9."
             "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p"
             "c19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-"
             "F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-"
             "Kg6NU1Q");
/* {"alg":"ES256","kid":"7"} */
static const struct str stranger = STR_INIT("eyJhbGciOiJFUzI1NiIsImtpZCI6IjcifQ.e30.AAAA");

static struct config asking;
static struct keyring *workers[WORKERS];
static struct dns *dns;
static struct peer peer;
static int listener;
static char url[64];

static void begin_worker(int i)
{
    keyring_adopt(shelf, &asking);
    workers[i] = keyring_new(loop, dns, NULL, &asking, shelf);
}

static void end_worker(int i)
{
    keyring_free(workers[i]);
    workers[i] = NULL;
    turns(2);
}

static int setup(void **state)
{
    struct sock_addr address;
    (void)state;
    clock_begin();
    listener = peer_listen(&address);
    assert_int_equal(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/k", sock_addr_port(&address));
    asking = (struct config){.jwks_url = str_c(url), .connect_timeout = 5 * SECOND};
    shelf = keyring_shelf_new();
    dns = dns_new(loop, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < WORKERS; i++)
        end_worker(i);
    peer_close(&peer);
    shelf_free(shelf);
    dns_free(dns);
    (void)close(listener);
    clock_end();
    return 0;
}

static void expect_question(void)
{
    peer_close(&peer);
    peer = peer_accept(listener);
    RUN_UNTIL(peer_has(&peer, "\r\n\r\n"));
    assert_true(peer_has(&peer, "GET /k HTTP/1.1\r\n"));
}

static void expect_silence(void)
{
    turns(20);
    assert_int_equal(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), -1);
    assert_int_equal(errno, EAGAIN);
}

static void say(const char *status, const char *body)
{
    char text[1024];
    (void)snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status,
                   strlen(body), body);
    peer_send(&peer, str_c(text));
    RUN_UNTIL(peer_ended(&peer));
    turns(5);
}

static void answer(void)
{
    say("200 OK", RFC_KEY);
}

static void refuse(void)
{
    say("500 No", "");
}

static enum jwt_result judge(int i, struct str token)
{
    struct arena a;
    struct judgement j;
    arena_init(&a);
    enum jwt_result r = keyring_judge(workers[i], token, THEN, &a, &j);
    arena_done(&a);
    turns(3);
    return r;
}

/* It is signed, and has no sub. */
static bool has_the_key(int i)
{
    return judge(i, rfc_token) == JWT_NO_SUBJECT;
}

static void test_one_asks_for_all(void **state)
{
    (void)state;
    begin_worker(0);
    begin_worker(1);
    assert_false(keyring_settled(workers[0]) || keyring_settled(workers[1]));
    expect_question();
    expect_silence();
    assert_false(has_the_key(0) || has_the_key(1));
    answer();
    assert_true(keyring_settled(workers[0]));
    assert_true(has_the_key(0) && has_the_key(1)); /* the second took it when it was needed */
    advance(SECOND);
    assert_true(keyring_settled(workers[1]));
    advance(598 * (uint64_t)SECOND);
    expect_silence();
    advance(2 * SECOND);
    expect_question();
    expect_silence();
    answer();
}

/* Nobody needs a token for the others to see the keys. */
static void test_the_others_look(void **state)
{
    (void)state;
    begin_worker(0);
    begin_worker(1);
    expect_question();
    answer();
    advance(SECOND / 10);
    assert_int_equal(keyring_published(workers[1]), 1);
    assert_true(keyring_settled(workers[1]) && keyring_works(workers[1]));
}

/* A crash, and a reload, while the provider is dead. */
static void test_keys_outlive_a_worker(void **state)
{
    (void)state;
    begin_worker(0);
    expect_question();
    answer();
    end_worker(0);
    begin_worker(1);
    assert_true(keyring_settled(workers[1]) && has_the_key(1));
    expect_silence(); /* it was asked just now */
    end_worker(1);
    advance(31 * SECOND);
    begin_worker(1);
    assert_true(keyring_settled(workers[1]) && has_the_key(1));
    expect_question(); /* a reload may be about new keys */
    refuse();
    assert_true(has_the_key(1));
}

static void test_keys_are_kept_for_a_day(void **state)
{
    (void)state;
    begin_worker(0);
    expect_question();
    answer();
    for (int hour = 0; hour < 23; hour++) {
        advance(HOUR);
        expect_question();
        refuse();
        assert_true(has_the_key(0));
    }
    advance(HOUR);
    expect_question();
    assert_false(has_the_key(0) || keyring_works(workers[0]));
    refuse();
    begin_worker(1);
    assert_false(keyring_settled(workers[1]) || has_the_key(1));
    advance(31 * SECOND);
    expect_question();
    answer();
    assert_true(has_the_key(0) && has_the_key(1));
}

/* However many tokens name it, and to however many workers. */
static void test_an_unknown_key_is_asked_for_twice_a_minute(void **state)
{
    (void)state;
    begin_worker(0);
    begin_worker(1);
    expect_question();
    answer();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 200; i++)
            assert_int_equal(judge(i % WORKERS, stranger), JWT_UNKNOWN_KEY);
        expect_silence();
        advance(31 * SECOND);
        expect_silence();
        for (int i = 0; i < 200; i++)
            assert_int_equal(judge(i % WORKERS, stranger), JWT_UNKNOWN_KEY);
        expect_question();
        expect_silence();
        answer();
    }
}

static void test_whoever_asks_may_die(void **state)
{
    (void)state;
    begin_worker(0);
    begin_worker(1);
    expect_question();
    end_worker(0);
    RUN_UNTIL(peer_ended(&peer));
    expect_silence();
    advance(11 * SECOND);
    assert_true(keyring_settled(workers[1])); /* it waits for nobody for ever */
    advance(31 * SECOND);
    expect_question();
    answer();
    assert_true(has_the_key(1));
}

static void test_another_provider_has_other_keys(void **state)
{
    (void)state;
    begin_worker(0);
    expect_question();
    answer();
    asking.jwks_url = str_head(asking.jwks_url, asking.jwks_url.n - 2); /* without its path */
    begin_worker(1);
    assert_false(keyring_settled(workers[1]) || has_the_key(1));
    peer_close(&peer);
    peer = peer_accept(listener);
    RUN_UNTIL(peer_has(&peer, "GET / HTTP/1.1\r\n"));
    refuse();
    assert_true(keyring_settled(workers[1]));
    assert_false(has_the_key(1));
    assert_true(has_the_key(0)); /* the old worker, which drains */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_bytes),
        cmocka_unit_test(test_remembered_tokens_expire),
        cmocka_unit_test_setup_teardown(test_one_asks_for_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_others_look, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_outlive_a_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_are_kept_for_a_day, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_unknown_key_is_asked_for_twice_a_minute, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_whoever_asks_may_die, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_provider_has_other_keys, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
