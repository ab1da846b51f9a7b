/* test_client.c - calls through a pool to scripted upstreams on the loopback: framing, early and
 * bad answers, every way a call can fail, pausing, cancelling in every phase, reuse of connections.
 */
#include "http/client.h"

#include "peer.h"

enum { SECOND_US = 1000 * 1000, KIB = 1024, BODY_MAX = 4 * 1024 * KIB, CALLS = 4 };

#define REQUEST "POST /v1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
#define GET     "GET /v1 HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* What the handler does besides noting it. */
enum act { NOTHING, CANCEL_IN_HEAD, CANCEL_IN_BODY, PAUSE_IN_HEAD, PAUSE_IN_BODY, CALL_IN_END };

static struct result {
    struct call *call;
    int sent, heads, ended, failed, status;
    enum call_failure why;
    enum act act;
    struct buf body;
} results[CALLS];

static struct pool *pool;
static struct dns *dns;
static struct sock_addr address;
static int listener;
static bool starting;
static const struct call_handler handler;

static void start(struct result *r, struct str head, const struct rope *body)
{
    starting = true;
    r->call = call_start(pool, head, body, &handler, r);
    starting = false;
}

static void on_sent(void *ctx)
{
    struct result *r = ctx;

    assert_false(starting);
    r->sent++;
}

static void cancel(struct result *r)
{
    call_cancel(r->call);
    r->call = NULL;
}

static void on_head(void *ctx, const struct h1_head *head)
{
    struct result *r = ctx;

    assert_false(starting);
    assert_non_null(r->call);
    r->heads++;
    r->status = head->status;
    if (r->act == CANCEL_IN_HEAD)
        cancel(r);
    else if (r->act == PAUSE_IN_HEAD)
        call_pause(r->call);
}

static void on_body(void *ctx, struct str bytes)
{
    struct result *r = ctx;

    assert_non_null(r->call);
    assert_int_equal(r->heads, 1);
    assert_true(bytes.n > 0);
    assert_true(buf_append(&r->body, bytes));
    memset((char *)(uintptr_t)bytes.p, '#', bytes.n); /* it may be written to */
    if (r->act == CANCEL_IN_BODY)
        cancel(r);
    else if (r->act == PAUSE_IN_BODY)
        call_pause(r->call);
}

static void on_end(void *ctx)
{
    struct result *r = ctx;

    assert_non_null(r->call);
    r->call = NULL;
    r->ended++;
    if (r->act == CALL_IN_END) {
        r->act = NOTHING;
        r->heads = 0;
        start(r, STR(GET), NULL);
    }
}

static void on_fail(void *ctx, enum call_failure why, const char *error)
{
    struct result *r = ctx;

    assert_false(starting);
    assert_non_null(r->call);
    assert_true(strlen(error) > 0);
    r->call = NULL;
    r->failed++;
    r->why = why;
}

static const struct call_handler handler = {
    .on_sent = on_sent,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

static struct pool_options options(void)
{
    return (struct pool_options){
        .target = {.url = {.scheme = URL_HTTP,
                           .host = STR("127.0.0.1"),
                           .port = sock_addr_port(&address)}},
        .connect_timeout_us = 5 * SECOND_US,
        .idle_timeout_us = 10 * SECOND_US,
        .idle_max = 2,
        .head_max = 4 * KIB,
    };
}

static void clear(struct result *r)
{
    buf_done(&r->body);
    *r = (struct result){0};
    buf_init(&r->body, BODY_MAX);
}

static int setup(void **state)
{
    struct pool_options o;

    (void)state;
    clock_begin();
    for (size_t i = 0; i < CALLS; i++)
        clear(&results[i]);
    listener = peer_listen(&address);
    dns = dns_new(loop, NULL);
    assert_non_null(dns);
    o = options();
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
    for (size_t i = 0; i < CALLS; i++)
        buf_done(&results[i].body);
    clock_end();
    return 0;
}

/* Starts results[0] and waits until the upstream has its whole request. */
static struct peer get(void)
{
    struct peer p;

    start(&results[0], STR(GET), NULL);
    p = peer_accept(listener);
    RUN_UNTIL(peer_has(&p, "\r\n\r\n"));
    return p;
}

static bool body_is(const struct result *r, const char *text)
{
    return str_eq(buf_str(&r->body), str_c(text));
}

/* --- requests ------------------------------------------------------------------------------- */

static void test_request_and_answer(void **state)
{
    struct result *r = &results[0];
    struct rope body;
    struct peer p;

    (void)state;
    rope_init(&body, 100);
    assert_true(rope_add(&body, STR("hello")));
    start(r, STR(REQUEST), &body);
    p = peer_accept(listener);
    RUN_UNTIL(peer_has(&p, "hello"));
    assert_string_equal(p.text, REQUEST "hello");
    assert_true(call_sent(r->call));
    assert_int_equal(r->sent, 1);
    peer_say(&p, OK);
    RUN_UNTIL(r->ended);
    assert_int_equal(r->status, 200);
    assert_true(body_is(r, "ok"));
    assert_int_equal(pool_idle(pool), 1);
    assert_int_equal(pool_busy(pool), 0);
    rope_done(&body);
    peer_close(&p);
}

/* The upstream becomes one behind a unix socket, whose small buffers fill at once. */
static void use_unix_upstream(void)
{
    static char path[64];
    struct pool_options o = options();

    snprintf(path, sizeof(path), P_tmpdir "/test_client.%d", (int)getpid());
    assert_true(sock_addr_unix(str_c(path), &address));
    (void)close(listener);
    listener = sock_listen(&address, false, 4);
    assert_true(listener >= 0);
    pool_free(pool);
    o.target.url = (struct url){.scheme = URL_UNIX, .host = str_c(path)};
    pool = pool_new(loop, dns, &o);
}

static void test_large_request(void **state)
{
    enum { PIECES = 300, PIECE = 10000 };
    struct result *r = &results[0];
    struct arena a;
    struct rope body;
    struct str whole;
    struct peer p;
    char *text = mem_alloc(PIECE);

    (void)state;
    arena_init(&a);
    for (size_t i = 0; i < PIECE; i++)
        text[i] = (char)('a' + i % 26);
    rope_init(&body, 64 * KIB);
    for (size_t i = 0; i < PIECES; i++)
        assert_true(rope_add(&body, STR("-piece-")) &&
                    rope_add(&body, str_of(text + i, PIECE - i)));
    whole = rope_flatten(&body, &a);
    use_unix_upstream();
    start(r, STR(REQUEST), &body);
    p = peer_accept(listener);
    (void)unlink(address.un.sun_path);
    turns(3);
    assert_false(call_sent(r->call));
    assert_int_equal(r->sent, 0);
    RUN_UNTIL(peer_poll(&p)->n == sizeof(REQUEST) - 1 + whole.n);
    assert_memory_equal(p.text, REQUEST, sizeof(REQUEST) - 1);
    assert_memory_equal(p.text + sizeof(REQUEST) - 1, whole.p, whole.n);
    RUN_UNTIL(call_sent(r->call));
    peer_say(&p, OK);
    RUN_UNTIL(r->ended);
    assert_int_equal(pool_idle(pool), 1);
    rope_done(&body);
    arena_done(&a);
    mem_free(text);
    peer_close(&p);
}

/* A request that the upstream does not read, because it has answered already. */
static void test_early_answer(void **state)
{
    struct result *r = &results[0];
    char *text = mem_zalloc(BODY_MAX);
    struct rope body;
    struct peer p;

    (void)state;
    for (int resets = 0; resets < 2; resets++) {
        clear(r);
        rope_init(&body, 64);
        for (int i = 0; i < 4; i++)
            assert_true(rope_add(&body, str_of(text, BODY_MAX)));
        start(r, STR(REQUEST), &body);
        p = peer_accept(listener);
        turns(5);
        peer_say(&p, "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge");
        if (resets)
            peer_close(&p); /* with input unread: a reset follows the answer */
        RUN_UNTIL(r->ended || r->failed);
        assert_int_equal(r->ended, 1);
        assert_int_equal(r->status, 413);
        assert_true(body_is(r, "large"));
        assert_int_equal(pool_idle(pool), 0);
        if (!resets)
            peer_close(&p);
        rope_done(&body);
    }
    mem_free(text);
}

/* --- answers -------------------------------------------------------------------------------- */

static void test_framing(void **state)
{
    static const struct {
        struct str answer;
        bool close; /* the upstream closes behind it */
        int status;
        const char *body;
        size_t idle;
    } cases[] = {
        {STR_INIT(OK), false, 200, "ok", 1},
        {STR_INIT("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), false, 200, "", 1},
        {STR_INIT("HTTP/1.1 204 No Content\r\n\r\n"), false, 204, "", 1},
        {STR_INIT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" OK),
         false, 200, "ok", 1},
        {STR_INIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "2\r\nab\r\n3;x\r\ncde\r\n0\r\nT: t\r\n\r\n"),
         false, 200, "abcde", 1},
        {STR_INIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), false, 200, "",
         1},
        {STR_INIT("HTTP/1.1 200 OK\r\n\r\nuntil the end"), true, 200, "until the end", 0},
        {STR_INIT("HTTP/1.0 500 Oops\r\nContent-Length: 4\r\n\r\noops"), false, 500, "oops", 0},
        {STR_INIT("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"), false,
         200, "ok", 0},
        {STR_INIT("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), true, 200, "ok", 0},
        {STR_INIT(OK "more than was announced"), false, 200, "ok", 0},
        {STR_INIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP"), false, 200,
         "", 0},
    };
    struct result *r = &results[0];

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        struct str answer = cases[i / 2].answer;
        struct peer p = get();

        if (i % 2 == 0)
            peer_send(&p, answer);
        for (size_t at = 0; i % 2 && at < answer.n; at++) {
            (void)peer_offer(&p, str_of(answer.p + at, 1));
            turns(1);
        }
        if (cases[i / 2].close)
            peer_close(&p);
        RUN_UNTIL(r->ended || r->failed);
        assert_int_equal(r->failed, 0);
        assert_int_equal(r->heads, 1);
        assert_int_equal(r->status, cases[i / 2].status);
        assert_true(body_is(r, cases[i / 2].body));
        if (cases[i / 2].close)
            RUN_UNTIL(pool_idle(pool) == 0);
        else if (i % 2 == 0)
            assert_int_equal(pool_idle(pool), cases[i / 2].idle);
        if (p.fd >= 0)
            peer_close(&p);
        RUN_UNTIL(pool_idle(pool) == 0);
        clear(r);
    }
}

static void test_failures(void **state)
{
    static const struct {
        struct str answer;
        bool close;
        enum call_failure why;
    } cases[] = {
        {STR_INIT(""), true, CALL_BROKEN},
        {STR_INIT("HTTP/1.1 200"), true, CALL_BROKEN},
        {STR_INIT("HTTP/1.1 100 Continue\r\n\r\n"), true, CALL_BROKEN},
        {STR_INIT("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), true, CALL_CUT},
        {STR_INIT("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), true, CALL_CUT},
        {STR_INIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), true,
         CALL_CUT},
        {STR_INIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"), true, CALL_CUT},
        {STR_INIT("SSH-2.0-OpenSSH\r\n\r\n"), false, CALL_BAD_ANSWER},
        {STR_INIT("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), false,
         CALL_BAD_ANSWER},
        {STR_INIT("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), false,
         CALL_BAD_ANSWER},
        {STR_INIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"), false,
         CALL_BAD_ANSWER},
    };
    struct result *r = &results[0];

    (void)state;
    for (size_t i = 0; i < 3 * ARRAY_LEN(cases); i++) {
        size_t at = i / 3;
        struct peer p = get();

        peer_send(&p, cases[at].answer);
        if (i % 3)
            turns(3);
        if (cases[at].close && i % 3 == 2)
            peer_reset(&p);
        else if (cases[at].close)
            peer_close(&p);
        RUN_UNTIL(r->failed);
        assert_int_equal(r->ended, 0);
        assert_int_equal(r->why, cases[at].why);
        assert_int_equal(pool_idle(pool) + pool_busy(pool), 0);
        if (p.fd >= 0)
            peer_close(&p);
        clear(r);
    }
}

static void test_head_too_long(void **state)
{
    struct result *r = &results[0];
    struct peer p = get();
    char some[1 * KIB];

    (void)state;
    memset(some, 'a', sizeof(some));
    peer_say(&p, "HTTP/1.1 200 OK\r\nA: ");
    for (int i = 0; i < 8; i++) {
        (void)peer_offer(&p, str_of(some, sizeof(some)));
        turns(1);
    }
    RUN_UNTIL(r->failed);
    assert_int_equal(r->why, CALL_BAD_ANSWER);
    peer_close(&p);
}

static void test_connect_fails(void **state)
{
    struct result *r = &results[0];

    (void)state;
    (void)close(listener);
    start(r, STR(GET), NULL);
    RUN_UNTIL(r->failed);
    assert_int_equal(r->why, CALL_CONNECT_FAILED);
    assert_int_equal(r->sent, 0);
    listener = dup(0);
}

/* --- pausing -------------------------------------------------------------------------------- */

static void test_pause(void **state)
{
    static const struct {
        struct str answer;
        enum act act;
        const char *before, *body;
    } cases[] = {
        {STR_INIT("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef"), PAUSE_IN_HEAD, "",
         "abcdef"},
        {STR_INIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "2\r\nab\r\n4\r\ncdef\r\n0\r\n\r\n"),
         PAUSE_IN_BODY, "ab", "abcdef"},
        {STR_INIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n"),
         PAUSE_IN_HEAD, "", "abcdef"},
    };
    struct result *r = &results[0];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer p = get();

        r->act = cases[i].act;
        peer_send(&p, cases[i].answer);
        RUN_UNTIL(r->heads);
        turns(5);
        assert_int_equal(r->ended, 0);
        assert_true(body_is(r, cases[i].before));
        r->act = NOTHING;
        call_resume(r->call);
        assert_true(body_is(r, cases[i].before)); /* not from inside */
        RUN_UNTIL(r->ended);
        assert_true(body_is(r, cases[i].body));
        assert_int_equal(pool_idle(pool), 1);
        peer_close(&p);
        RUN_UNTIL(pool_idle(pool) == 0);
        clear(r);
    }
}

/* While paused the upstream is made to wait; when it goes on, nothing is missing. */
static void test_back_pressure(void **state)
{
    enum { N = 3 * 1024 * KIB };
    struct result *r = &results[0];
    struct peer p = get();
    char *text = mem_alloc(N);
    size_t done = 0;

    (void)state;
    for (size_t i = 0; i < N; i++)
        text[i] = (char)('a' + i * 7 % 26);
    r->act = PAUSE_IN_BODY;
    peer_say(&p, "HTTP/1.1 200 OK\r\nContent-Length: 3145728\r\n\r\n");
    while (done < N) {
        size_t before = done;

        for (int idle = 0; idle < 20; idle++) {
            size_t n = peer_offer(&p, str_of(text + done, N - done));

            done += n;
            idle = n ? 0 : idle;
            loop_turn(loop, 0);
        }
        assert_true(done < N || before < N);
        assert_true(buf_total() < buf_len(&r->body) * 2 + 256 * KIB);
        call_resume(r->call);
        turns(1);
    }
    r->act = NOTHING;
    call_resume(r->call);
    RUN_UNTIL(r->ended);
    assert_int_equal(buf_len(&r->body), N);
    assert_memory_equal(buf_str(&r->body).p, text, N);
    mem_free(text);
    peer_close(&p);
}

/* --- cancelling ----------------------------------------------------------------------------- */

static void test_cancel(void **state)
{
    struct result *r = &results[0];
    struct peer p;

    (void)state;
    start(r, STR(GET), NULL); /* before anything */
    cancel(r);
    turns(3);
    start(r, STR(GET), NULL); /* while connecting */
    turns(1);
    cancel(r);
    turns(3);
    if (pool_idle(pool) + pool_busy(pool) == 0) { /* the kernel may have connected it already */
        p = peer_accept(listener);
        RUN_UNTIL(peer_ended(&p));
        peer_close(&p);
    }
    p = get(); /* while waiting for the answer */
    cancel(r);
    RUN_UNTIL(peer_ended(&p));
    peer_close(&p);
    p = get(); /* in the middle of it */
    peer_say(&p, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    RUN_UNTIL(buf_len(&r->body) == 3);
    cancel(r);
    RUN_UNTIL(peer_ended(&p));
    peer_close(&p);
    assert_int_equal(r->ended + r->failed, 0);
    assert_int_equal(pool_busy(pool), 0);
}

static void test_cancel_in_callbacks(void **state)
{
    static const enum act acts[] = {CANCEL_IN_HEAD, CANCEL_IN_BODY};
    struct result *r = &results[0];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
        struct peer p = get();

        r->act = acts[i];
        peer_say(&p, OK);
        RUN_UNTIL(peer_ended(&p));
        assert_null(r->call);
        assert_int_equal(r->ended + r->failed, 0);
        assert_int_equal(pool_idle(pool) + pool_busy(pool), 0);
        peer_close(&p);
        clear(r);
    }
}

static void test_cancel_while_paused(void **state)
{
    struct result *r = &results[0];
    struct peer p = get();

    (void)state;
    r->act = PAUSE_IN_HEAD;
    peer_say(&p, OK);
    RUN_UNTIL(r->heads);
    call_resume(r->call);
    cancel(r);
    RUN_UNTIL(peer_ended(&p));
    assert_int_equal(buf_len(&r->body), 0);
    peer_close(&p);
}

/* --- reuse ---------------------------------------------------------------------------------- */

static void test_reuse(void **state)
{
    struct result *r = &results[0];
    struct peer p = get();

    (void)state;
    for (int i = 1; i <= 5; i++) {
        peer_forget(&p);
        peer_say(&p, OK);
        RUN_UNTIL(r->ended == 1);
        clear(r);
        start(r, STR(GET), NULL);
        RUN_UNTIL(peer_has(&p, GET));
        assert_int_equal(pool_busy(pool), 1);
    }
    cancel(r);
    peer_close(&p);
}

static void test_call_from_on_end(void **state)
{
    struct result *r = &results[0];
    struct peer p = get();

    (void)state;
    peer_forget(&p);
    r->act = CALL_IN_END;
    peer_say(&p, OK);
    RUN_UNTIL(peer_has(&p, GET)); /* on the same connection */
    peer_say(&p, OK);
    RUN_UNTIL(r->ended == 2);
    peer_close(&p);
}

/* What comes behind a whole answer, even when it fills our scratch exactly, never becomes the
 * beginning of the next one. */
static void test_no_answer_before_the_request(void **state)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 65494\r\n\r\n";
    struct result *r = &results[0];
    struct peer p = get();
    struct buf text;
    char *room;

    (void)state;
    buf_init(&text, 128 * KIB);
    buf_append(&text, str_of(head, sizeof(head) - 1));
    room = buf_reserve(&text, 65494);
    assert_non_null(room);
    memset(room, 'x', 65494);
    buf_commit(&text, 65494);
    assert_int_equal(buf_len(&text), 64 * KIB);
    peer_send(&p, buf_str(&text));
    peer_say(&p, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse");
    RUN_UNTIL(r->ended);
    assert_int_equal(buf_len(&r->body), 65494);
    assert_int_equal(pool_idle(pool), 0);
    buf_done(&text);
    peer_close(&p);
}

static void test_closed_as_it_is_reused(void **state)
{
    struct result *r = &results[0];
    struct peer p = get();

    (void)state;
    peer_say(&p, OK);
    RUN_UNTIL(r->ended);
    clear(r);
    start(r, STR(GET), NULL);
    peer_reset(&p);
    RUN_UNTIL(r->failed || pool_busy(pool) == 0);
    if (!r->failed) { /* the pool saw it first, and dials */
        p = peer_accept(listener);
        RUN_UNTIL(peer_has(&p, GET));
        cancel(r);
        peer_close(&p);
        return;
    }
    assert_true(r->why == CALL_BROKEN || r->why == CALL_UNSENT);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_request_and_answer),
        TEST(test_large_request),
        TEST(test_early_answer),
        TEST(test_framing),
        TEST(test_failures),
        TEST(test_head_too_long),
        TEST(test_connect_fails),
        TEST(test_pause),
        TEST(test_back_pressure),
        TEST(test_cancel),
        TEST(test_cancel_in_callbacks),
        TEST(test_cancel_while_paused),
        TEST(test_reuse),
        TEST(test_call_from_on_end),
        TEST(test_no_answer_before_the_request),
        TEST(test_closed_as_it_is_reused),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
