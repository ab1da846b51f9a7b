/* test_arrival.c - a door for proxies over loopback sockets: headers cut everywhere, who must bring
 * one and who must not, what is left for HTTP, and every way in which it takes too long. */
#include "http/server.h"
#include "peer.h"

enum { SECOND_US = 1000 * 1000, HANDSHAKE_US = 5 * SECOND_US, ARRIVALS_MAX = 4 };

#define LINE   "PROXY TCP4 203.0.113.9 198.51.100.7 56324 443\r\n"
#define BINARY "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xcb\0\x71\x09\xc6\x33\x64\7\xdc\4\1\xbb\4\0\0"
#define GET    "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

static struct {
    bool proxies; /* every peer is one */
    int requests, rejections;
    enum server_rejection why;
    bool proxied;
    char from[SOCK_TEXT]; /* of the last request */
} seen;

static struct server *server;
static struct sock_addr address;

static void on_head(void *ctx, struct request *r)
{
    char text[SOCK_TEXT];
    struct str from = sock_addr_text(&r->peer, text);
    (void)ctx;
    (void)snprintf(seen.from, sizeof(seen.from), "%.*s", STR_FMT(from));
    seen.proxied = r->proxied;
    seen.requests++;
    r->user = &seen;
    reply_start(r, 200);
    reply_head_end(r, 2);
    reply_body(r, STR("ok"));
    reply_end(r);
}

static void on_refused(void *ctx, struct request *r, enum server_refusal why, enum h1_error error)
{
    (void)ctx;
    (void)why;
    (void)error;
    reply_start(r, 400);
    reply_head_end(r, 0);
    reply_end(r);
}

static void not_called(void *ctx, struct request *r)
{
    (void)ctx;
    (void)r;
    fail_msg("not to be called");
}

static bool is_proxy(void *ctx, const struct sock_addr *peer)
{
    (void)ctx;
    assert_true(sock_addr_is_loopback(peer));
    return seen.proxies;
}

static void on_reject(void *ctx, const struct sock_addr *peer, enum server_rejection what,
                      const char *error)
{
    (void)ctx;
    assert_true(sock_addr_is_loopback(peer));
    assert_true(strlen(error) > 0);
    seen.why = what;
    seen.rejections++;
}

static void begin(size_t connections_max)
{
    static const struct server_door door = {.proxies = true};
    const struct server_limits limits = {
        .head_max = 4096,
        .body_max = 4096,
        .total_max = 1024 * 1024,
        .connections_max = connections_max,
        .head_timeout_us = 10 * SECOND_US,
        .idle_timeout_us = 75 * SECOND_US,
        .write_timeout_us = 30 * SECOND_US,
        .handshake_timeout_us = HANDSHAKE_US,
        .handshakes_max = ARRIVALS_MAX,
        .h2 = {.on = true},
    };
    static const struct server_handler handler = {
        .on_head = on_head,
        .on_request = not_called,
        .on_refused = on_refused,
        .on_gone = not_called,
        .is_proxy = is_proxy,
        .on_reject = on_reject,
    };
    server = server_new(loop, &limits, &handler);
    assert_true(server_listen_at(server, peer_listen(&address), &door));
}

static int setup(void **state)
{
    (void)state;
    clock_begin();
    memset(&seen, 0, sizeof(seen));
    seen.proxies = true;
    begin(16);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_free(server);
    clock_end();
    return 0;
}

static struct peer client(void)
{
    size_t before = server_connections(server);
    struct peer p = peer_connect(&address);
    RUN_UNTIL(server_connections(server) == before + 1);
    return p;
}

static void assert_answered(struct peer *p, const char *from)
{
    RUN_UNTIL(peer_has(p, "200 OK"));
    assert_string_equal(seen.from, from);
    assert_int_equal(seen.rejections, 0);
    peer_close(p);
    RUN_UNTIL(server_connections(server) == 0);
}

static void assert_rejected(struct peer *p, enum server_rejection why)
{
    RUN_UNTIL(peer_ended(p));
    assert_int_equal(p->n, 0);
    assert_int_equal(seen.rejections, 1);
    assert_int_equal(seen.why, why);
    assert_int_equal(seen.requests, 0);
    assert_int_equal(server_connections(server), 0);
    peer_close(p);
}

/* A header and its request, with a turn of the loop at each place in turn. */
static void test_cut_everywhere(void **state)
{
    static const struct str messages[] = {STR_INIT(LINE GET), STR_INIT(BINARY GET)};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        for (size_t cut = 1; cut < messages[i].n; cut++) {
            struct peer p = client();
            peer_send(&p, str_head(messages[i], cut));
            turns(3);
            peer_send(&p, str_skip(messages[i], cut));
            assert_answered(&p, "203.0.113.9:56324");
            assert_true(seen.proxied);
        }
    }
    assert_int_equal(seen.requests, sizeof(LINE GET) + sizeof(BINARY GET) - 4);
}

static void test_byte_by_byte(void **state)
{
    static const struct str messages[] = {STR_INIT(LINE GET), STR_INIT(BINARY GET)};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        struct peer p = client();
        for (size_t at = 0; at < messages[i].n; at++) {
            peer_send(&p, str_of(messages[i].p + at, 1));
            turns(1);
        }
        assert_answered(&p, "203.0.113.9:56324");
    }
}

/* A request that has come, and its client's end, before the first event. */
static void test_all_at_once(void **state)
{
    struct peer p = peer_connect(&address);
    (void)state;
    peer_say(&p, LINE GET);
    peer_half_close(&p);
    assert_answered(&p, "203.0.113.9:56324");
}

static void test_http2(void **state)
{
    struct peer p = client();
    (void)state;
    peer_say(&p, LINE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0");
    RUN_UNTIL(peer_poll(&p)->n >= 9);
    assert_int_equal(p.text[3], 4); /* its SETTINGS */
    assert_int_equal(seen.rejections, 0);
    peer_close(&p);
}

static void test_missing(void **state)
{
    struct peer p = client();
    (void)state;
    peer_say(&p, GET);
    assert_rejected(&p, REJECT_HEADER_MISSING);
}

static void test_bad(void **state)
{
    struct peer p = client();
    (void)state;
    peer_say(&p, "PROXY TCP4 203.0.113.9\r\n" GET);
    assert_rejected(&p, REJECT_HEADER_BAD);
}

static void test_broken_off(void **state)
{
    struct peer p = client();
    (void)state;
    peer_say(&p, "PROXY TCP4 203.0");
    turns(3);
    peer_half_close(&p);
    assert_rejected(&p, REJECT_HEADER_BAD);
}

/* Whoever says nothing has nothing to hide. */
static void test_ended_or_reset(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct peer p = client();
        if (reset)
            peer_reset(&p);
        else
            peer_close(&p);
        RUN_UNTIL(server_connections(server) == 0);
    }
    assert_int_equal(seen.rejections, 0);
}

static void test_late(void **state)
{
    struct peer p = client();
    (void)state;
    peer_say(&p, "PROXY TCP4 ");
    turns(3);
    advance(HANDSHAKE_US - 1);
    assert_int_equal(server_connections(server), 1);
    peer_say(&p, "203."); /* which buys no time */
    turns(3);
    advance(1);
    assert_rejected(&p, REJECT_HEADER_LATE);
}

static void test_strangers(void **state)
{
    struct peer p = client();
    (void)state;
    peer_close(&p);
    RUN_UNTIL(server_connections(server) == 0);
    seen.proxies = false;
    p = client();
    for (size_t at = 0; at < sizeof(GET) - 1; at++) {
        peer_send(&p, str_of(&GET[at], 1));
        turns(1);
    }
    RUN_UNTIL(peer_has(&p, "200 OK"));
    assert_memory_equal(seen.from, "127.0.0.1:", 10);
    assert_false(seen.proxied);
    peer_close(&p);
    RUN_UNTIL(server_connections(server) == 0);
    seen.requests = 0;
    p = client();
    peer_say(&p, "PROXY");
    turns(3);
    assert_int_equal(seen.rejections, 0);
    peer_say(&p, " ");
    assert_rejected(&p, REJECT_HEADER_UNEXPECTED);
}

static void test_stranger_is_late(void **state)
{
    struct peer p;
    (void)state;
    seen.proxies = false;
    p = client();
    advance(HANDSHAKE_US);
    RUN_UNTIL(peer_ended(&p));
    assert_int_equal(seen.rejections, 0);
    peer_close(&p);
}

/* The oldest one goes, and nobody who has arrived. */
static void test_too_many(void **state)
{
    struct peer done = client(), p[ARRIVALS_MAX + 1];
    (void)state;
    peer_say(&done, LINE GET);
    RUN_UNTIL(peer_has(&done, "200 OK"));
    for (size_t i = 0; i < ARRIVALS_MAX; i++)
        p[i] = client();
    p[ARRIVALS_MAX] = peer_connect(&address);
    RUN_UNTIL(peer_ended(&p[0]));
    assert_int_equal(server_connections(server), ARRIVALS_MAX + 1);
    for (size_t i = 1; i <= ARRIVALS_MAX; i++)
        assert_false(peer_ended(&p[i]));
    assert_false(peer_ended(&done));
    for (size_t i = 0; i <= ARRIVALS_MAX; i++)
        peer_close(&p[i]);
    peer_close(&done);
}

/* Who has nothing to say keeps nobody out, however few connections there may be. */
static void test_all_places_are_taken(void **state)
{
    struct peer silent[2], p;
    (void)state;
    server_free(server);
    begin(ARRAY_LEN(silent));
    for (size_t i = 0; i < ARRAY_LEN(silent); i++)
        silent[i] = client();
    p = peer_connect(&address);
    peer_say(&p, LINE GET);
    RUN_UNTIL(peer_has(&p, "200 OK"));
    assert_true(peer_ended(&silent[0]));
    assert_false(peer_ended(&silent[1]));
    peer_close(&p);
    for (size_t i = 0; i < ARRAY_LEN(silent); i++)
        peer_close(&silent[i]);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_cut_everywhere),
        TEST(test_byte_by_byte),
        TEST(test_all_at_once),
        TEST(test_http2),
        TEST(test_missing),
        TEST(test_bad),
        TEST(test_broken_off),
        TEST(test_ended_or_reset),
        TEST(test_late),
        TEST(test_strangers),
        TEST(test_stranger_is_late),
        TEST(test_too_many),
        TEST(test_all_places_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
