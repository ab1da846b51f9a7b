/* test_pool.c - which connection serves which call, and when connections are closed. The upstream
 * is reached through a scripted proxy, so that the test decides when a dial is over. */
#include "http/client.h"

#include "peer.h"

enum { SECOND_US = 1000 * 1000, CALLS = 4, IDLE_MAX = 2 };

#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static struct result {
    struct call *call;
    int ended, failed;
    enum call_failure why;
} results[CALLS];

static struct pool *pool;
static struct dns *dns;
static struct sock_addr address;
static int listener;

static void on_head(void *ctx, const struct h1_head *head)
{
    (void)ctx;
    assert_int_equal(head->status, 200);
}

static void on_body(void *ctx, struct str bytes)
{
    (void)ctx;
    assert_true(str_eq(bytes, STR("ok")));
}

static void on_end(void *ctx)
{
    struct result *r = ctx;

    r->call = NULL;
    r->ended++;
}

static void on_fail(void *ctx, enum call_failure why, const char *error)
{
    struct result *r = ctx;

    (void)error;
    r->call = NULL;
    r->failed++;
    r->why = why;
}

static const struct call_handler handler = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

static struct result *start(int i)
{
    results[i] = (struct result){0};
    results[i].call = call_start(pool, STR(GET), NULL, &handler, &results[i]);
    return &results[i];
}

static int setup(void **state)
{
    struct pool_options o = {
        .target = {.url = {.scheme = URL_HTTP, .host = STR("far.example"), .port = 80},
                   .has_proxy = true,
                   .proxy = {.scheme = URL_HTTP, .host = STR("127.0.0.1")}},
        .connect_timeout_us = 60 * SECOND_US,
        .idle_timeout_us = 10 * SECOND_US,
        .idle_max = IDLE_MAX,
        .head_max = 4096,
    };

    (void)state;
    clock_begin();
    memset(results, 0, sizeof(results));
    listener = peer_listen(&address);
    o.target.proxy.port = sock_addr_port(&address);
    dns = dns_new(loop, NULL);
    assert_non_null(dns);
    pool = pool_new(loop, dns, &o);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < CALLS; i++)
        if (results[i].call)
            call_cancel(results[i].call);
    pool_free(pool);
    dns_free(dns);
    (void)close(listener);
    clock_end();
    return 0;
}

/* The far end of the next dial, at the point where the tunnel is asked for. */
static struct peer next_dial(void)
{
    struct peer p = peer_accept(listener);

    RUN_UNTIL(peer_has(&p, "\r\n\r\n"));
    peer_forget(&p);
    return p;
}

static void open_tunnel(struct peer *p)
{
    peer_say(p, "HTTP/1.1 200 OK\r\n\r\n");
}

static void serve(struct peer *p, const struct result *r)
{
    RUN_UNTIL(peer_has(p, GET));
    peer_forget(p);
    peer_say(p, OK);
    RUN_UNTIL(r->ended);
}

static struct peer first_connection(void)
{
    struct result *r = start(0);
    struct peer p = next_dial();

    open_tunnel(&p);
    serve(&p, r);
    assert_int_equal(pool_idle(pool), 1);
    return p;
}

static void test_idle_connection_is_used(void **state)
{
    struct peer p = first_connection();

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct result *r = start(1);

        RUN_UNTIL(pool_busy(pool) == 1);
        assert_int_equal(pool_idle(pool), 0);
        serve(&p, r);
    }
    peer_close(&p);
}

static void test_freed_connection_serves_the_waiting(void **state)
{
    struct peer p = first_connection(), late;
    struct result *a = start(0), *b;

    (void)state;
    RUN_UNTIL(peer_has(&p, GET));
    b = start(1);
    late = next_dial();
    serve(&p, a);
    serve(&p, b); /* its own dial is not over yet */
    assert_int_equal(pool_idle(pool), 1);
    open_tunnel(&late);
    RUN_UNTIL(pool_idle(pool) == 2);
    peer_close(&p);
    peer_close(&late);
}

static void test_last_used_first(void **state)
{
    struct peer a, b;
    struct result *r, *q;

    (void)state;
    r = start(0);
    a = next_dial();
    q = start(1);
    b = next_dial();
    open_tunnel(&a);
    RUN_UNTIL(peer_has(&a, GET));
    open_tunnel(&b);
    RUN_UNTIL(peer_has(&b, GET));
    serve(&a, r);
    serve(&b, q);
    assert_int_equal(pool_idle(pool), 2);
    r = start(0);
    serve(&b, r);
    peer_close(&a);
    peer_close(&b);
}

static void test_idle_max(void **state)
{
    struct peer p[IDLE_MAX + 1];

    (void)state;
    for (int i = 0; i <= IDLE_MAX; i++) {
        start(i);
        p[i] = next_dial();
        open_tunnel(&p[i]);
        RUN_UNTIL(peer_has(&p[i], GET));
    }
    assert_int_equal(pool_busy(pool), IDLE_MAX + 1);
    for (int i = 0; i <= IDLE_MAX; i++)
        serve(&p[i], &results[i]);
    assert_int_equal(pool_idle(pool), IDLE_MAX);
    RUN_UNTIL(peer_ended(&p[0])); /* the one idle longest */
    for (int i = 0; i <= IDLE_MAX; i++)
        peer_close(&p[i]);
}

static void test_idle_timeout(void **state)
{
    struct peer p = first_connection();

    (void)state;
    advance(9 * SECOND_US);
    assert_int_equal(pool_idle(pool), 1);
    serve(&p, start(1)); /* it starts anew */
    advance(9 * SECOND_US);
    assert_int_equal(pool_idle(pool), 1);
    advance(2 * SECOND_US);
    assert_int_equal(pool_idle(pool), 0);
    RUN_UNTIL(peer_ended(&p));
    peer_close(&p);
}

static void test_a_busy_connection_has_no_timeout(void **state)
{
    struct peer p = first_connection();
    struct result *r = start(1);

    (void)state;
    RUN_UNTIL(peer_has(&p, GET));
    advance(600ull * SECOND_US);
    serve(&p, r);
    assert_int_equal(pool_idle(pool), 1);
    advance(11 * SECOND_US);
    assert_int_equal(pool_idle(pool), 0);
    peer_close(&p);
}

static void test_closed_while_idle(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        struct peer p = first_connection();

        switch (how) {
        case 0: peer_close(&p); break;
        case 1: peer_reset(&p); break;
        case 2: peer_half_close(&p); break;
        case 3: peer_say(&p, "HTTP/1.1 408 Request Timeout\r\n\r\n"); break;
        }
        RUN_UNTIL(pool_idle(pool) == 0);
        if (p.fd >= 0)
            peer_close(&p);
    }
}

static void test_failed_dials(void **state)
{
    struct result *a = start(0), *b;
    struct peer p = next_dial(), q;

    (void)state;
    b = start(1);
    q = next_dial();
    peer_close(&p);
    RUN_UNTIL(a->failed);
    assert_int_equal(a->why, CALL_CONNECT_FAILED);
    assert_int_equal(b->failed, 0);
    open_tunnel(&q);
    serve(&q, b);
    peer_close(&q);
}

/* A dial that nobody waits for any more may fail without harm to those who wait for another. */
static void test_surplus_dial_fails(void **state)
{
    struct peer p = first_connection(), surplus, q;
    struct result *a = start(0), *b, *c;

    (void)state;
    RUN_UNTIL(peer_has(&p, GET));
    b = start(1);
    surplus = next_dial();
    serve(&p, a);
    RUN_UNTIL(peer_has(&p, GET)); /* b has it now */
    c = start(2);
    turns(3);
    peer_close(&surplus);
    turns(5);
    if (c->failed) {
        assert_int_equal(c->why, CALL_CONNECT_FAILED); /* it was the only dial */
    } else {
        q = next_dial();
        open_tunnel(&q);
        serve(&q, c);
        peer_close(&q);
    }
    serve(&p, b);
    peer_close(&p);
}

static void test_cancelled_call_leaves_the_others(void **state)
{
    struct result *a = start(0), *b;
    struct peer p = next_dial(), q;

    (void)state;
    b = start(1);
    q = next_dial();
    call_cancel(a->call);
    a->call = NULL;
    open_tunnel(&p);
    open_tunnel(&q);
    RUN_UNTIL(peer_has(&p, GET) || peer_has(&q, GET));
    serve(peer_has(&p, GET) ? &p : &q, b);
    assert_int_equal(a->ended + a->failed, 0);
    peer_close(&p);
    peer_close(&q);
}

static void test_freed_while_dialling(void **state)
{
    struct result *a = start(0);
    struct peer p = next_dial(), q;

    (void)state;
    start(1);
    q = next_dial();
    call_cancel(a->call);
    call_cancel(results[1].call);
    a->call = results[1].call = NULL;
    RUN_UNTIL(pool_busy(pool) == 0);
    peer_close(&p);
    peer_close(&q);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_idle_connection_is_used),
        TEST(test_freed_connection_serves_the_waiting),
        TEST(test_last_used_first),
        TEST(test_idle_max),
        TEST(test_idle_timeout),
        TEST(test_a_busy_connection_has_no_timeout),
        TEST(test_closed_while_idle),
        TEST(test_failed_dials),
        TEST(test_surplus_dial_fails),
        TEST(test_cancelled_call_leaves_the_others),
        TEST(test_freed_while_dialling),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
