/* test_dial.c - dialling scripted far ends: addresses in turn, tunnels through a proxy, time-outs,
 * and cancelling at every point. */
#include "http/dial.h"

#include "peer.h"

enum { SECOND_US = 1000 * 1000, TIMEOUT_US = 5 * SECOND_US };

static struct {
    int opened, failed;
    struct stream *s;
    char error[128];
} seen;

static struct dns *dns;
static struct sock_addr address;
static int listener;
static bool starting;
static struct dial *dial;

static void on_dialed(void *ctx, struct stream *s, const char *error)
{
    assert_ptr_equal(ctx, &seen);
    assert_false(starting);
    assert_non_null(dial);
    dial = NULL;
    seen.s = s;
    seen.opened += s != NULL;
    seen.failed += s == NULL;
    if (!s)
        snprintf(seen.error, sizeof(seen.error), "%s", error);
}

static void start(const struct dial_target *t)
{
    memset(&seen, 0, sizeof(seen));
    starting = true;
    dial = dial_start(loop, dns, t, TIMEOUT_US, on_dialed, &seen);
    starting = false;
}

static void on_ready(struct stream *s, void *ctx, unsigned events)
{
    (void)s;
    (void)ctx;
    (void)events;
}

static const struct stream_owner owner = {.on_ready = on_ready, .name = "test"};

static struct url to_listener(const char *host)
{
    return (struct url){.scheme = URL_HTTP, .host = str_c(host), .port = sock_addr_port(&address)};
}

static int setup(void **state)
{
    (void)state;
    clock_begin();
    listener = peer_listen(&address);
    dns = dns_new(loop, NULL);
    assert_non_null(dns);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (dial)
        dial_cancel(dial);
    dial = NULL;
    stream_close(&seen.s);
    dns_free(dns);
    (void)close(listener);
    clock_end();
    return 0;
}

static void test_opens(void **state)
{
    const struct dial_target t = {.url = to_listener("127.0.0.1")};
    struct peer p;

    (void)state;
    start(&t);
    RUN_UNTIL(seen.opened);
    stream_set_owner(seen.s, &owner, NULL);
    p = peer_accept(listener);
    assert_int_equal(stream_writev(seen.s, &(struct iovec){(char[]){'x'}, 1}, 1), 1);
    RUN_UNTIL(peer_has(&p, "x"));
    peer_close(&p);
    advance(2 * TIMEOUT_US); /* no timer is left */
    assert_int_equal(seen.opened + seen.failed, 1);
}

static void test_refused(void **state)
{
    const struct dial_target t = {.url = to_listener("127.0.0.1")};

    (void)state;
    (void)close(listener);
    listener = dup(0);
    start(&t);
    RUN_UNTIL(seen.failed);
    assert_string_equal(seen.error, "connection refused");
}

static void test_bad_names(void **state)
{
    static const char *const names[] = {"", "a..b", "no such name"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct dial_target t = {.url = to_listener(names[i])};

        start(&t);
        turns(3);
        advance(10 * TIMEOUT_US);
        RUN_UNTIL(seen.failed);
        assert_true(strlen(seen.error) > 0);
    }
}

/* localhost is ::1 first; nobody listens there, so 127.0.0.1 follows at once. */
static void test_next_address_after_a_failure(void **state)
{
    const struct dial_target t = {.url = to_listener("localhost")};

    (void)state;
    start(&t);
    RUN_UNTIL(seen.opened);
    assert_true(sock_addr_port(stream_peer(seen.s)) == sock_addr_port(&address));
}

/* A listener on ::1 whose queue is full: connecting to it hangs. -1 where there is no IPv6. */
static int stuck_listener(int fillers[4])
{
    struct sock_addr a;
    int fd;

    assert_true(sock_addr_ip(STR("::1"), sock_addr_port(&address), &a));
    fd = sock_listen(&a, false, 0);
    for (int i = 0; fd >= 0 && i < 4; i++) {
        fillers[i] = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fillers[i], &a.sa, a.len);
    }
    return fd;
}

static void test_race(void **state)
{
    const struct dial_target t = {.url = to_listener("localhost")};
    int fillers[4];
    int stuck = stuck_listener(fillers);

    (void)state;
    if (stuck < 0)
        skip();
    start(&t);
    turns(20);
    if (seen.opened) /* its queue took one more */
        skip();
    advance(200 * 1000);
    turns(20);
    assert_int_equal(seen.opened, 0);
    advance(60 * 1000); /* RFC 8305: a quarter of a second later the next one is tried too */
    RUN_UNTIL(seen.opened);
    assert_int_equal(stream_peer(seen.s)->sa.sa_family, AF_INET);
    for (int i = 0; i < 4; i++)
        (void)close(fillers[i]);
    (void)close(stuck);
}

static void test_unix(void **state)
{
    static char path[64];
    struct dial_target t = {.url = {.scheme = URL_UNIX}};
    struct sock_addr a;

    (void)state;
    snprintf(path, sizeof(path), P_tmpdir "/test_dial.%d", (int)getpid());
    t.url.host = str_c(path);
    assert_true(sock_addr_unix(str_c(path), &a));
    start(&t);
    RUN_UNTIL(seen.failed);
    (void)close(listener);
    listener = sock_listen(&a, false, 4);
    start(&t);
    RUN_UNTIL(seen.opened);
    (void)unlink(path);
}

/* --- tunnels -------------------------------------------------------------------------------- */

static struct dial_target through_proxy(const char *userinfo)
{
    struct dial_target t = {
        .url = {.scheme = URL_HTTP, .host = STR("far.example"), .port = 8443},
        .has_proxy = true,
        .proxy = to_listener("127.0.0.1"),
    };

    t.proxy.userinfo = str_c(userinfo);
    return t;
}

static void test_tunnel_request(void **state)
{
    static const struct {
        const char *userinfo, *authorization;
    } cases[] = {
        {NULL, ""},
        {"user:pass", "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"},
        {"us%40er:p%3Aw", "Proxy-Authorization: Basic dXNAZXI6cDp3\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dial_target t = through_proxy(cases[i].userinfo);
        struct peer p;
        char expected[256];

        start(&t);
        p = peer_accept(listener);
        RUN_UNTIL(peer_has(&p, "\r\n\r\n"));
        snprintf(expected, sizeof(expected),
                 "CONNECT far.example:8443 HTTP/1.1\r\nHost: far.example:8443\r\n%s\r\n",
                 cases[i].authorization);
        assert_string_equal(p.text, expected);
        turns(3);
        assert_int_equal(seen.opened, 0);
        peer_say(&p, "HTTP/1.1 200 Connection established\r\n\r\n");
        RUN_UNTIL(seen.opened);
        stream_set_owner(seen.s, &owner, NULL);
        assert_int_equal(stream_writev(seen.s, &(struct iovec){(char[]){'!'}, 1}, 1), 1);
        RUN_UNTIL(peer_has(&p, "!"));
        stream_close(&seen.s);
        peer_close(&p);
    }
}

static void test_tunnel_answers(void **state)
{
    static const struct {
        struct str answer;
        bool close, ok;
    } cases[] = {
        {STR_INIT("HTTP/1.1 200 OK\r\n\r\n"), false, true},
        {STR_INIT("HTTP/1.0 200 OK\r\nVia: x\r\n\r\n"), false, true},
        {STR_INIT("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), false, true},
        {STR_INIT("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"), false,
         false},
        {STR_INIT("HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n"), false, false},
        {STR_INIT("HTTP/1.1 200 OK\r\n\r\nunasked"), false, false},
        {STR_INIT("garbage\r\n\r\n"), false, false},
        {STR_INIT("HTTP/1.1 200 OK\r\n"), true, false},
        {STR_INIT(""), true, false},
    };

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        const struct dial_target t = through_proxy(NULL);
        struct str answer = cases[i / 2].answer;
        struct peer p;

        if (i % 2 && cases[i / 2].answer.n && answer.p[answer.n - 1] == 'd')
            continue; /* in pieces, the tunnel is open before the rest is there */
        start(&t);
        p = peer_accept(listener);
        RUN_UNTIL(peer_has(&p, "\r\n\r\n"));
        for (size_t at = 0; i % 2 && at < answer.n; at++) {
            peer_send(&p, str_of(answer.p + at, 1));
            turns(1);
        }
        if (i % 2 == 0)
            peer_send(&p, answer);
        if (cases[i / 2].close)
            peer_close(&p);
        RUN_UNTIL(seen.opened + seen.failed);
        assert_int_equal(seen.opened, cases[i / 2].ok);
        stream_close(&seen.s);
        if (p.fd >= 0)
            peer_close(&p);
    }
}

static void test_tunnel_answer_too_long(void **state)
{
    const struct dial_target t = through_proxy(NULL);
    struct peer p;
    char some[1024];

    (void)state;
    memset(some, 'a', sizeof(some));
    start(&t);
    p = peer_accept(listener);
    RUN_UNTIL(peer_has(&p, "\r\n\r\n"));
    peer_say(&p, "HTTP/1.1 200 OK\r\nA: ");
    for (int i = 0; i < 10; i++) {
        (void)peer_offer(&p, str_of(some, sizeof(some)));
        turns(1);
    }
    RUN_UNTIL(seen.failed);
    peer_close(&p);
}

/* --- time and cancelling -------------------------------------------------------------------- */

static void test_times_out(void **state)
{
    const struct dial_target t = through_proxy(NULL);
    struct peer p;

    (void)state;
    start(&t);
    p = peer_accept(listener);
    RUN_UNTIL(peer_has(&p, "\r\n\r\n"));
    peer_say(&p, "HTTP/1.1 200");
    advance(TIMEOUT_US - 1);
    assert_int_equal(seen.failed, 0);
    advance(1);
    assert_int_equal(seen.failed, 1);
    RUN_UNTIL(peer_ended(&p));
    peer_close(&p);
}

static void test_cancel(void **state)
{
    const struct dial_target direct = {.url = to_listener("127.0.0.1")};
    const struct dial_target tunnel = through_proxy("a:b");
    struct peer p;

    (void)state;
    for (int phase = 0; phase < 5; phase++) {
        start(phase < 2 ? &direct : &tunnel);
        p = (struct peer){.fd = -1};
        if (phase == 1)
            loop_turn(loop, 0);
        if (phase >= 3) {
            p = peer_accept(listener);
            RUN_UNTIL(peer_has(&p, "\r\n\r\n"));
        }
        if (phase == 4) {
            peer_say(&p, "HTTP/1.1 2");
            turns(2);
        }
        if (dial)
            dial_cancel(dial);
        dial = NULL;
        turns(3);
        assert_int_equal(seen.opened + seen.failed, 0);
        if (p.fd >= 0) {
            RUN_UNTIL(peer_ended(&p));
            peer_close(&p);
        }
        for (int left; (left = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
            (void)close(left); /* connected by the kernel, given up by us */
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_opens),
        TEST(test_refused),
        TEST(test_bad_names),
        TEST(test_next_address_after_a_failure),
        TEST(test_race),
        TEST(test_unix),
        TEST(test_tunnel_request),
        TEST(test_tunnel_answers),
        TEST(test_tunnel_answer_too_long),
        TEST(test_times_out),
        TEST(test_cancel),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
