/* test_redis.c - the client, and limits over it, against a scripted server: greeting, order,
 * deadlines, the breaker, and servers that say what they should not. The clock is the test's. */
#include "store/redis.h"

#include "peer.h"

#include "store/redis_limit.h"

enum { MS = 1000, SECOND = 1000 * MS };

static struct dns *dns;
static struct sock_addr address;
static int listener, changes;
static bool was_up, was_told;
static struct redis *redis;
static struct peer server;

/* --- what calls came to --- */

struct result {
    int calls;
    enum redis_outcome how;
    char text[64];
};

static struct result results[8];

static void on_result(void *ctx, enum redis_outcome how, const struct redis_reply *reply)
{
    struct result *res = ctx;
    res->calls++;
    res->how = how;
    assert_true((reply != NULL) == (how == REDIS_ANSWERED));
    if (reply)
        (void)snprintf(res->text, sizeof(res->text), "%.*s", STR_FMT(reply->text));
}

static void on_change(void *ctx, bool up)
{
    assert_ptr_equal(ctx, results);
    assert_true(!was_told || up != was_up);
    was_told = true;
    was_up = up;
    changes++;
}

static struct redis_call *call(int i, const char *word)
{
    const struct str words[] = {STR("ECHO"), str_c(word)};
    struct buf out;
    buf_init(&out, 1024);
    assert_true(redis_format(&out, words, 2));
    memset(&results[i], 0, sizeof(results[i]));
    struct redis_call *c = redis_send(redis, buf_str(&out), 1, 0, on_result, &results[i]);
    buf_done(&out);
    return c;
}

/* --- the client and its server --- */

static void start(const char *credentials, const char *path)
{
    struct redis_options o = {.timeout_us = REDIS_TIMEOUT_US,
                              .connect_timeout_us = REDIS_CONNECT_TIMEOUT_US,
                              .on_change = on_change,
                              .ctx = results};
    struct arena a;
    const char *error;
    arena_init(&a);
    struct str url =
        arena_printf(&a, "redis://%s127.0.0.1:%u%s", credentials, sock_addr_port(&address), path);
    assert_true(redis_url_parse(&a, url, &o.url, &error));
    redis = redis_new(loop, dns, &o);
    arena_done(&a);
}

static enum redis_state state_of(void)
{
    return redis_health(redis).state;
}

static const char *error_of(void)
{
    static char text[200];
    (void)snprintf(text, sizeof(text), "%s", redis_health(redis).last_error);
    return text;
}

static void greet_back(void)
{
    server = peer_accept(listener);
    RUN_UNTIL(peer_has(&server, "PING\r\n"));
    peer_forget(&server);
    peer_say(&server, "+PONG\r\n");
    RUN_UNTIL(state_of() == REDIS_UP);
}

/* Waits out the backoff. */
static void reconnect(void)
{
    assert_int_equal(state_of(), REDIS_WAITING);
    peer_close(&server);
    advance(redis_health(redis).retry_us);
    assert_int_equal(state_of(), REDIS_CONNECTING);
    greet_back();
}

static void open_up(void)
{
    start("", "");
    greet_back();
}

static int setup(void **state)
{
    (void)state;
    clock_begin();
    listener = peer_listen(&address);
    dns = dns_new(loop, NULL);
    server = (struct peer){.fd = -1};
    changes = 0;
    was_up = was_told = false;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    redis_free(redis);
    redis = NULL;
    if (server.fd >= 0)
        peer_close(&server);
    dns_free(dns);
    (void)close(listener);
    clock_end();
    return 0;
}

/* --- greeting --- */

static void test_greetings(void **state)
{
    static const struct {
        const char *credentials, *path, *expected;
        int answers;
    } cases[] = {
        {"", "", "*1\r\n$4\r\nPING\r\n", 1},
        {"", "/2", "*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n*1\r\n$4\r\nPING\r\n", 2},
        {":s%20e@", "", "*2\r\n$4\r\nAUTH\r\n$3\r\ns e\r\n*1\r\n$4\r\nPING\r\n", 2},
        {"bob:pw@", "/12",
         "*3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$2\r\npw\r\n*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n"
         "*1\r\n$4\r\nPING\r\n",
         3},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        start(cases[i].credentials, cases[i].path);
        server = peer_accept(listener);
        RUN_UNTIL(peer_has(&server, "PING\r\n"));
        assert_string_equal(server.text, cases[i].expected);
        assert_null(call(0, "early"));
        for (int n = 0; n < cases[i].answers; n++) {
            assert_int_equal(state_of(), REDIS_CONNECTING);
            peer_say(&server, "+O");
            turns(2);
            peer_say(&server, "K\r\n");
            turns(2);
        }
        RUN_UNTIL(state_of() == REDIS_UP);
        assert_true(was_up);
        redis_free(redis);
        redis = NULL;
        was_up = was_told = false;
        peer_close(&server);
    }
}

static void test_refused_greetings(void **state)
{
    static const struct {
        const char *credentials;
        struct str answer;
        const char *error;
    } cases[] = {
        {":hush@", STR_INIT("-WRONGPASS invalid username-password pair\r\n"), "AUTH: WRONGPASS"},
        {":hush@", STR_INIT("-ERR unknown command 'AUTH', with args beginning with: 'hush'\r\n"),
         "AUTH: ERR"},
        {":hush@", STR_INIT("-hush\r\n"), "AUTH: error"},
        {":hush@", STR_INIT("+OK\r\n-LOADING Redis is loading\r\n"), "PING: LOADING"},
        {"", STR_INIT("-NOAUTH Authentication required.\r\n"), "PING: NOAUTH"},
        {"", STR_INIT("-DENIED Redis is running in protected mode\r\n"), "PING: DENIED"},
        {"", STR_INIT("-ERR max number of clients reached\r\n"), "PING: ERR"},
        {"", STR_INIT("HTTP/1.1 400 Bad Request\r\n"),
         "protocol: Protocol error, got \"H\" as reply type byte"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        start(cases[i].credentials, "");
        server = peer_accept(listener);
        RUN_UNTIL(peer_has(&server, "PING\r\n"));
        peer_send(&server, cases[i].answer);
        RUN_UNTIL(state_of() == REDIS_WAITING);
        assert_string_equal(error_of(), cases[i].error);
        RUN_UNTIL(peer_ended(&server));
        if (!cases[i].credentials[0])
            reconnect();
        redis_free(redis);
        redis = NULL;
        was_up = was_told = false;
        peer_close(&server);
    }
}

/* A user who may not PING is served all the same. */
static void test_ping_not_permitted(void **state)
{
    (void)state;
    start("", "");
    server = peer_accept(listener);
    RUN_UNTIL(peer_has(&server, "PING\r\n"));
    peer_say(&server, "-NOPERM this user has no permissions to run the 'ping' command\r\n");
    RUN_UNTIL(state_of() == REDIS_UP);
}

static void test_backoff(void **state)
{
    uint64_t sum = 0;
    (void)state;
    (void)close(listener);
    start("", "");
    for (unsigned i = 0; i < 12; i++) {
        uint64_t full = (uint64_t)50 * MS << (i < 7 ? i : 7);
        full = full < 5 * SECOND ? full : 5 * SECOND;
        RUN_UNTIL(state_of() == REDIS_WAITING);
        assert_string_equal(error_of(), "connect: connection refused");
        uint64_t wait = redis_health(redis).retry_us;
        assert_in_range(wait, full / 2, full);
        sum += wait;
        advance(wait - 1);
        assert_int_equal(state_of(), REDIS_WAITING);
        advance(1);
        if (state_of() == REDIS_WAITING) /* refused at once */
            assert_int_equal(redis_health(redis).stats.failures, i + 2);
    }
    assert_true(sum > 15 * SECOND);
    listener = peer_listen(&address);
}

static void test_silent_greeting(void **state)
{
    (void)state;
    start("", "");
    server = peer_accept(listener);
    RUN_UNTIL(peer_has(&server, "PING\r\n"));
    advance(REDIS_CONNECT_TIMEOUT_US - 1);
    assert_int_equal(state_of(), REDIS_CONNECTING);
    advance(1);
    assert_int_equal(state_of(), REDIS_WAITING);
    assert_string_equal(error_of(), "connect: timed out");
    reconnect();
}

/* --- calls --- */

static void test_pipeline(void **state)
{
    static const struct str answers = STR_INIT("$1\r\na\r\n-ERR b\r\n*1\r\n:1\r\n");
    (void)state;
    open_up();
    for (int i = 0; i < 3; i++)
        assert_non_null(call(i, (const char *[]){"a", "b", "c"}[i]));
    turns(1);
    RUN_UNTIL(peer_count(&server, "ECHO") == 3); /* in one write */
    for (size_t at = 0; at < answers.n; at++) {
        peer_send(&server, str_of(answers.p + at, 1));
        turns(2);
    }
    RUN_UNTIL(results[2].calls);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(results[i].calls, 1);
        assert_int_equal(results[i].how, REDIS_ANSWERED);
    }
    assert_string_equal(results[0].text, "a");
    assert_string_equal(results[1].text, "ERR b");
    assert_int_equal(redis_health(redis).stats.answers, 3);
    assert_int_equal(redis_health(redis).stats.errors, 1);
    advance(10 * MS);
    assert_int_equal(state_of(), REDIS_UP);
}

static void test_last_of_several(void **state)
{
    (void)state;
    open_up();
    memset(results, 0, sizeof(results));
    assert_non_null(redis_send(redis, STR("*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n"), 2, 0,
                               on_result, &results[0]));
    assert_non_null(call(1, "x"));
    peer_say(&server, "+OK\r\n");
    turns(5);
    assert_int_equal(results[0].calls, 0);
    peer_say(&server, "+two\r\n+three\r\n");
    RUN_UNTIL(results[1].calls);
    assert_string_equal(results[0].text, "two");
    assert_string_equal(results[1].text, "three");
}

static void test_deadline(void **state)
{
    (void)state;
    open_up();
    assert_non_null(call(0, "slow"));
    advance(2 * MS);
    assert_non_null(call(1, "behind"));
    advance(REDIS_TIMEOUT_US - 2 * MS - 1);
    assert_int_equal(results[0].calls, 0);
    advance(1);
    assert_int_equal(results[0].how, REDIS_TIMED_OUT);
    assert_false(redis_is_up(redis));
    assert_null(call(2, "not now"));
    peer_say(&server, "+slow\r\n"); /* is dropped; what is behind it is in time */
    turns(5);
    RUN_UNTIL(redis_is_up(redis));
    assert_int_equal(results[0].calls, 1);
    assert_non_null(call(3, "again"));
    peer_say(&server, "+behind\r\n+again\r\n");
    RUN_UNTIL(results[3].calls);
    assert_string_equal(results[1].text, "behind");
    assert_string_equal(results[3].text, "again");
    struct redis_health h = redis_health(redis);
    assert_int_equal(h.stats.timeouts, 1);
    assert_int_equal(h.stats.late, 1);
    assert_int_equal(h.stats.refused, 1);
    assert_int_equal(h.missed, 0);
    advance(500 * MS); /* no silence is left running */
    assert_int_equal(state_of(), REDIS_UP);
}

static void test_five_in_a_row(void **state)
{
    (void)state;
    open_up();
    for (int i = 0; i < 5; i++) {
        assert_int_equal(state_of(), REDIS_UP);
        assert_non_null(call(0, "x"));
        advance(REDIS_TIMEOUT_US);
        assert_int_equal(results[0].how, REDIS_TIMED_OUT);
        if (i == 4)
            break;
        peer_say(&server, "+late\r\n");
        RUN_UNTIL(redis_is_up(redis));
    }
    assert_int_equal(state_of(), REDIS_WAITING);
    assert_string_equal(error_of(), "too many failures: deadlines missed");
    assert_null(call(0, "x"));
    reconnect();
    assert_non_null(call(0, "x")); /* on probation one is enough */
    advance(REDIS_TIMEOUT_US);
    assert_int_equal(state_of(), REDIS_WAITING);
    reconnect();
    assert_non_null(call(0, "x"));
    peer_say(&server, "+in time\r\n");
    RUN_UNTIL(results[0].calls);
    assert_non_null(call(0, "x"));
    advance(REDIS_TIMEOUT_US);
    assert_int_equal(state_of(), REDIS_UP);
    assert_int_equal(changes, 5);
}

static void test_silence(void **state)
{
    (void)state;
    open_up();
    assert_non_null(call(0, "x"));
    advance(REDIS_TIMEOUT_US);
    advance(99 * MS);
    assert_int_equal(state_of(), REDIS_UP);
    advance(1 * MS);
    assert_int_equal(state_of(), REDIS_WAITING);
    assert_string_equal(error_of(), "the server: no answer");
    assert_int_equal(results[0].calls, 1);
    RUN_UNTIL(peer_ended(&server));
    reconnect();
    assert_non_null(call(1, "y"));
    peer_say(&server, "+y\r\n");
    RUN_UNTIL(results[1].calls);
    assert_string_equal(results[1].text, "y");
}

static void test_lost(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        open_up();
        assert_non_null(call(0, "x"));
        assert_non_null(call(1, "y"));
        RUN_UNTIL(peer_has(&server, "y"));
        peer_say(&server, "+x\r\n");
        RUN_UNTIL(results[0].calls);
        if (way)
            peer_reset(&server);
        else
            peer_close(&server);
        RUN_UNTIL(results[1].calls);
        assert_int_equal(results[1].how, REDIS_LOST);
        assert_int_equal(results[0].how, REDIS_ANSWERED);
        assert_string_equal(error_of(), way ? "connection: connection reset by peer"
                                            : "connection: closed by the server");
        assert_null(call(2, "z"));
        reconnect();
        redis_free(redis);
        redis = NULL;
        was_up = was_told = false;
        peer_close(&server);
    }
}

static void test_wrong_servers(void **state)
{
    static char huge[70000];
    memset(huge, 'x', sizeof(huge));
    memcpy(huge, "$90000\r\n", 8);
    const struct str cases[] = {
        STR("garbage\r\n"),
        STR("*100000\r\n"),
        STR("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"),
        STR("$99999999999999999999\r\n"),
        STR("+fine\r\n+unasked\r\n"),
        str_of(huge, sizeof(huge)),
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        open_up();
        assert_non_null(call(0, "x"));
        RUN_UNTIL(peer_has(&server, "x\r\n"));
        for (size_t at = 0; at < cases[i].n && state_of() == REDIS_UP; at += 8192) {
            (void)peer_offer(&server, str_of(cases[i].p + at, size_min(8192, cases[i].n - at)));
            turns(2);
        }
        RUN_UNTIL(state_of() == REDIS_WAITING);
        assert_true(str_starts(str_c(error_of()), STR("protocol: ")));
        assert_int_equal(results[0].calls, 1);
        redis_free(redis);
        redis = NULL;
        was_up = was_told = false;
        peer_close(&server);
    }
}

static void test_error_replies(void **state)
{
    static const struct {
        struct str answer;
        int times; /* until the connection is replaced; 0: it is not */
    } cases[] = {
        {STR_INIT("-ERR no such thing\r\n"), 0},
        {STR_INIT("-NOSCRIPT No matching script.\r\n"), 0},
        {STR_INIT("-NOPERM no\r\n"), 0},
        {STR_INIT("-WRONGTYPE no\r\n"), 0},
        {STR_INIT("-EXECABORT no\r\n"), 0},
        {STR_INIT("-OOM command not allowed\r\n"), 5},
        {STR_INIT("-BUSY Redis is busy running a script\r\n"), 5},
        {STR_INIT("-MISCONF disk\r\n"), 5},
        {STR_INIT("-LOADING Redis is loading\r\n"), 1},
        {STR_INIT("-READONLY You can't write\r\n"), 1},
        {STR_INIT("-NOAUTH Authentication required.\r\n"), 1},
        {STR_INIT("-CLUSTERDOWN\r\n"), 1},
        {STR_INIT("-MOVED\r\n"), 1},
        {STR_INIT("-MOVED 1 nowhere\r\n"), 1},
        {STR_INIT("-MOVED 1 h:0\r\n"), 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        open_up();
        for (int n = 1; n <= 7 && state_of() == REDIS_UP; n++) {
            assert_non_null(call(0, "x"));
            peer_send(&server, cases[i].answer);
            RUN_UNTIL(results[0].calls);
            assert_int_equal(results[0].how, REDIS_ANSWERED); /* the caller is told in any case */
            assert_int_equal(state_of(), n == cases[i].times ? REDIS_WAITING : REDIS_UP);
        }
        assert_int_equal(state_of() == REDIS_UP, cases[i].times == 0);
        redis_free(redis);
        redis = NULL;
        was_up = was_told = false;
        peer_close(&server);
    }
}

static void test_error_inside_multi(void **state)
{
    (void)state;
    open_up();
    memset(results, 0, sizeof(results));
    assert_non_null(redis_send(redis, STR("*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n"), 2, 0,
                               on_result, &results[0]));
    peer_say(&server, "-READONLY no\r\n-EXECABORT no\r\n");
    RUN_UNTIL(results[0].calls);
    assert_int_equal(results[0].how, REDIS_LOST);
    assert_int_equal(state_of(), REDIS_WAITING);
}

static void test_moved(void **state)
{
    struct sock_addr there;
    int other = peer_listen(&there);
    char text[64];
    (void)state;
    open_up();
    assert_non_null(call(0, "x"));
    int n = snprintf(text, sizeof(text), "-MOVED 3999 127.0.0.1:%u\r\n", sock_addr_port(&there));
    peer_send(&server, str_of(text, (size_t)n));
    RUN_UNTIL(results[0].calls);
    peer_close(&server);
    advance(redis_health(redis).retry_us);
    server = peer_accept(other);
    RUN_UNTIL(peer_has(&server, "PING\r\n"));
    peer_say(&server, "+PONG\r\n");
    RUN_UNTIL(state_of() == REDIS_UP);
    /* When it is gone, the configured one is asked again. */
    (void)close(other);
    peer_close(&server);
    RUN_UNTIL(state_of() == REDIS_WAITING);
    uint64_t failures = redis_health(redis).stats.failures;
    advance(redis_health(redis).retry_us);
    RUN_UNTIL(redis_health(redis).stats.failures > failures);
    advance(redis_health(redis).retry_us);
    greet_back();
}

static void test_cancel(void **state)
{
    (void)state;
    open_up();
    redis_cancel(call(0, "x"));
    assert_non_null(call(1, "y"));
    peer_say(&server, "+x\r\n+y\r\n");
    RUN_UNTIL(results[1].calls);
    assert_int_equal(results[0].calls, 0);
    assert_string_equal(results[1].text, "y");
}

static void test_idle(void **state)
{
    (void)state;
    open_up();
    advance(1 * SECOND);
    RUN_UNTIL(peer_has(&server, "PING\r\n"));
    peer_say(&server, "+PONG\r\n");
    RUN_UNTIL(redis_health(redis).stats.answers == 1);
    peer_forget(&server);
    advance(1 * SECOND);
    RUN_UNTIL(peer_has(&server, "PING\r\n"));
    advance(REDIS_TIMEOUT_US); /* nobody answers */
    advance(100 * MS);
    assert_int_equal(state_of(), REDIS_WAITING);
}

static void test_too_many_calls(void **state)
{
    (void)state;
    open_up();
    for (int i = 0; i < REDIS_CALLS_MAX; i++)
        assert_non_null(call(0, "x"));
    assert_null(call(0, "x"));
    turns(5);
}

/* Calling from inside a call that is told the end is refused, not lost. */
static int rounds;

static void on_again(void *ctx, enum redis_outcome how, const struct redis_reply *reply)
{
    (void)ctx;
    (void)reply;
    if (++rounds < 20)
        assert_true((redis_send(redis, STR("*1\r\n$4\r\nPING\r\n"), 1, 0, on_again, NULL) !=
                     NULL) == (how == REDIS_ANSWERED));
}

static void test_calls_inside_calls(void **state)
{
    (void)state;
    rounds = 0;
    open_up();
    assert_non_null(redis_send(redis, STR("*1\r\n$4\r\nPING\r\n"), 1, 0, on_again, NULL));
    for (int i = 0; i < 10; i++) {
        RUN_UNTIL(peer_has(&server, "PING"));
        peer_forget(&server);
        peer_say(&server, "+PONG\r\n");
        turns(3);
    }
    peer_close(&server);
    RUN_UNTIL(state_of() == REDIS_WAITING);
    assert_int_equal(rounds, 11);
}

/* --- limits --- */

static struct redis_limit *limits;
static struct redis_limit_answer last;
static int told, nothings;

static void on_limit(void *ctx, const struct redis_limit_answer *a)
{
    assert_ptr_equal(ctx, &last);
    told++;
    nothings += a == NULL;
    if (a)
        last = *a;
}

static const struct redis_limit_item two[] = {
    {.kind = REDIS_LIMIT_LEASE, .key = STR_INIT("l"), .limit = 5, .period_us = 60 * SECOND},
    {.kind = REDIS_LIMIT_CELL,
     .key = STR_INIT("c"),
     .limit = 60,
     .burst = 7,
     .period_us = 60 * SECOND,
     .cost = 3},
};

static struct redis_limit_call *admit(void)
{
    struct redis_limit_ticket t;
    redis_limit_ticket(&t);
    told = nothings = 0;
    memset(&last, 0, sizeof(last));
    return redis_limit_admit(limits, &t, two, ARRAY_LEN(two), on_limit, &last);
}

static int setup_limits(void **state)
{
    (void)setup(state);
    open_up();
    limits = redis_limit_new(loop, redis, STR("{t}:"));
    return 0;
}

static int teardown_limits(void **state)
{
    redis_limit_free(limits);
    return teardown(state);
}

/* Cells stand before leases on the wire, whatever the caller's order. */
static void test_limit_words(void **state)
{
    (void)state;
    assert_non_null(admit());
    RUN_UNTIL(peer_has(&server, "60000\r\n"));
    assert_true(str_starts(str_c(server.text), STR("*17\r\n$4\r\nEVAL\r\n$")));
    assert_non_null(strstr(server.text, "\r\n$1\r\n2\r\n$5\r\n{t}:c\r\n$5\r\n{t}:l\r\n$16\r\n"));
    assert_non_null(strstr(server.text, "$2\r\n60\r\n$1\r\n7\r\n$8\r\n60000000\r\n$1\r\n1\r\n"
                                        "$1\r\n3\r\n$1\r\n5\r\n$5\r\n60000\r\n"));
    peer_say(&server, "*10\r\n:1\r\n:1700000000000000\r\n:4\r\n:3000000\r\n:-1\r\n"
                      ":2\r\n:0\r\n:-1\r\n:180000000\r\n:12\r\n");
    RUN_UNTIL(told);
    assert_true(last.admitted && last.items[0].fits && last.items[1].fits);
    assert_int_equal(last.ticket.line[1].owed, 180000000);
    assert_int_equal(last.ticket.line[1].given, 12);
    assert_int_equal(last.ticket.at_us, 1700000000000000);
    assert_int_equal(last.items[0].remaining, 2);
    assert_int_equal(last.items[1].remaining, 4);
    assert_int_equal(last.items[1].reset_us, 3000000);

    peer_forget(&server);
    assert_non_null(admit()); /* this connection knows the text now */
    RUN_UNTIL(peer_has(&server, "60000\r\n"));
    assert_true(str_starts(str_c(server.text), STR("*17\r\n$7\r\nEVALSHA\r\n$40\r\n")));
}

static void test_limit_wrong_answers(void **state)
{
    static const struct str cases[] = {
        STR_INIT("+OK\r\n"),
        STR_INIT(":1\r\n"),
        STR_INIT("$-1\r\n"),
        STR_INIT("*0\r\n"),
        STR_INIT("*2\r\n:1\r\n:1\r\n"),
        STR_INIT("*8\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n"),
        STR_INIT("*10\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n+1\r\n:1\r\n:1\r\n"),
        STR_INIT("*10\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n+1\r\n"),
        STR_INIT("*10\r\n*0\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n"),
        STR_INIT("*9\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n"),
        STR_INIT("-ERR Error running script\r\n"),
        STR_INIT("-WRONGTYPE x\r\n"),
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_non_null(admit());
        peer_send(&server, cases[i]);
        RUN_UNTIL(told);
        assert_int_equal(nothings, 1);
        assert_int_equal(state_of(), REDIS_UP);
    }
}

static void test_limit_script_unknown(void **state)
{
    (void)state;
    assert_non_null(admit());
    peer_say(&server, "*0\r\n");
    RUN_UNTIL(told);
    peer_forget(&server);

    assert_non_null(admit());
    RUN_UNTIL(peer_has(&server, "EVALSHA"));
    peer_forget(&server);
    advance(2 * MS);
    peer_say(&server, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    RUN_UNTIL(peer_has(&server, "$4\r\nEVAL\r\n") && peer_has(&server, "60000\r\n"));
    assert_int_equal(told, 0);
    peer_say(&server, "-NOSCRIPT again\r\n"); /* never in a circle */
    RUN_UNTIL(told);
    assert_int_equal(nothings, 1);

    assert_non_null(admit());
    RUN_UNTIL(peer_has(&server, "EVALSHA"));
    advance(2 * MS);
    peer_say(&server, "-NOSCRIPT\r\n");
    turns(5);
    advance(3 * MS - 1);
    assert_int_equal(told, 0);
    advance(1); /* one deadline for both */
    assert_int_equal(nothings, 1);
}

static void test_limit_scripts_refused(void **state)
{
    static const struct str refusals[] = {
        STR_INIT("-NOPERM this user has no permissions to run the 'eval' command\r\n"),
        STR_INIT("-ERR unknown command 'eval', with args beginning with: \r\n"),
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        assert_non_null(admit());
        RUN_UNTIL(peer_has(&server, "$4\r\nEVAL\r\n"));
        peer_send(&server, refusals[i]);
        RUN_UNTIL(peer_has(&server, "MULTI") && peer_has(&server, "EXEC"));
        assert_true(redis_limit_stats(limits).approximate);
        peer_say(&server, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
                          "+QUEUED\r\n+QUEUED\r\n"
                          "*7\r\n:0\r\n:1\r\n:1\r\n:2\r\n+OK\r\n:9\r\n:59000\r\n");
        RUN_UNTIL(told);
        assert_int_equal(nothings, 0);
        assert_true(last.admitted && last.ticket.approximate);
        assert_int_equal(last.items[0].remaining, 3);
        assert_int_equal(last.items[1].remaining, 51);
        peer_forget(&server);
        peer_close(&server); /* the next connection is asked again */
        RUN_UNTIL(state_of() == REDIS_WAITING);
        reconnect();
        assert_false(redis_limit_stats(limits).approximate);
    }
}

static void test_limit_down(void **state)
{
    static const uint64_t actual[] = {0, 3};
    struct redis_limit_ticket t;
    (void)state;
    redis_limit_ticket(&t);
    peer_close(&server);
    RUN_UNTIL(state_of() == REDIS_WAITING);
    assert_null(admit());
    for (int i = 0; i < 5; i++)
        redis_limit_settle(limits, &t, two, 2, actual);
    assert_int_equal(redis_limit_stats(limits).waiting, 5);
    reconnect();
    advance(100 * MS);
    RUN_UNTIL(peer_count(&server, "EVALSHA") == 4);
    assert_int_equal(peer_count(&server, "$4\r\nEVAL\r\n"), 1);
    for (int i = 0; i < 3; i++)
        peer_say(&server, "*2\r\n:1\r\n:1\r\n");
    RUN_UNTIL(redis_limit_stats(limits).settled == 3);
    peer_close(&server); /* two had no answer, and are said again */
    RUN_UNTIL(redis_limit_stats(limits).waiting == 2);
    reconnect();
    advance(100 * MS);
    RUN_UNTIL(peer_count(&server, "EVALSHA") == 1 && peer_has(&server, "$4\r\nEVAL\r\n"));
    peer_say(&server, "*2\r\n:0\r\n:1\r\n-OOM\r\n");
    RUN_UNTIL(redis_limit_stats(limits).settled == 4);
    assert_int_equal(redis_limit_stats(limits).waiting, 1);
    peer_close(&server);
    RUN_UNTIL(state_of() == REDIS_WAITING);
    for (int i = 0; i < 70; i++) /* until its leases would have ended */
        advance(1 * SECOND);
    RUN_UNTIL(redis_limit_stats(limits).waiting == 0);
    assert_int_equal(redis_limit_stats(limits).dropped, 1);
}

/* Who hangs up while Redis decides leaves nothing taken. */
static void test_limit_cancel(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        redis_limit_cancel(admit());
        RUN_UNTIL(peer_has(&server, "60000\r\n"));
        peer_forget(&server);
        if (way == 0)
            peer_say(&server,
                     "*10\r\n:1\r\n:1\r\n:4\r\n:3\r\n:-1\r\n:2\r\n:0\r\n:-1\r\n:9\r\n:0\r\n");
        if (way == 1)
            peer_say(&server,
                     "*10\r\n:0\r\n:1\r\n:4\r\n:3\r\n:-1\r\n:0\r\n:0\r\n:0\r\n:9\r\n:0\r\n");
        if (way == 2) {
            advance(REDIS_TIMEOUT_US);
            peer_say(&server, "+late\r\n");
            RUN_UNTIL(redis_is_up(redis));
            advance(100 * MS);
        }
        turns(10);
        if (way == 1) {
            assert_false(peer_has(&server, "EVALSHA")); /* refused: there is nothing to give back */
            continue;
        }
        RUN_UNTIL(peer_has(&server, "\r\n-3\r\n"));
        peer_forget(&server);
        peer_say(&server, "*2\r\n:1\r\n:1\r\n");
        turns(10);
    }
    assert_int_equal(told, 0);
    assert_non_null(admit()); /* and one that is under way when all ends */
    turns(2);
}

int main(void)
{
#define LIMIT_TEST(name) cmocka_unit_test_setup_teardown(name, setup_limits, teardown_limits)
#define TEST(name)       cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_greetings),
        TEST(test_refused_greetings),
        TEST(test_ping_not_permitted),
        TEST(test_backoff),
        TEST(test_silent_greeting),
        TEST(test_pipeline),
        TEST(test_last_of_several),
        TEST(test_deadline),
        TEST(test_five_in_a_row),
        TEST(test_silence),
        TEST(test_lost),
        TEST(test_wrong_servers),
        TEST(test_error_replies),
        TEST(test_error_inside_multi),
        TEST(test_moved),
        TEST(test_cancel),
        TEST(test_idle),
        TEST(test_too_many_calls),
        TEST(test_calls_inside_calls),
        LIMIT_TEST(test_limit_words),
        LIMIT_TEST(test_limit_wrong_answers),
        LIMIT_TEST(test_limit_script_unknown),
        LIMIT_TEST(test_limit_scripts_refused),
        LIMIT_TEST(test_limit_down),
        LIMIT_TEST(test_limit_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
