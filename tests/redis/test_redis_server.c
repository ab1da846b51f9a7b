/* test_redis_server.c - the client against a real redis-server that is locked, encrypted, killed,
 * stopped, restarted, full, or a replica. */
#include <sys/stat.h>

#include "server.h"

static struct server server;
static struct redis *redis;

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    dns = dns_new(loop, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    redis_free(redis);
    redis = NULL;
    dns_free(dns);
    loop_free(loop);
    server_end(&server);
    assert_int_equal(mem_live(), 0);
    return 0;
}

static enum redis_state state_of(void)
{
    return redis_health(redis).state;
}

static const char *error_of(void)
{
    return redis_health(redis).last_error;
}

/* --- who may come in --- */

static void expect_refusal(const char *url, const char *error)
{
    struct redis *r = client_of(url, NULL, PATIENT_US);
    RUN_UNTIL(redis_health(r).stats.failures > 0 && strcmp(redis_health(r).last_error, error) == 0);
    assert_false(redis_is_up(r));
    redis_free(r);
}

static void test_passwords_and_users(void **state)
{
    static const char *const words[] = {"--requirepass", "op en/sesame", NULL};
    char url[256];
    (void)state;
    server_start(&server, words);
    (void)snprintf(url, sizeof(url), "unix://:op%%20en%%2Fsesame@%s?db=3", server.socket_path);
    redis = client_of(url, NULL, PATIENT_US);
    assert_string_equal(ask(redis, "SET where three"), "OK");
    assert_string_equal(ask(redis, "SELECT 3"), "OK");
    assert_string_equal(ask(redis, "GET where"), "three");
    (void)ask(redis, "ACL SETUSER proxy on >pass ~ccp:* +@all -@dangerous");

    (void)snprintf(url, sizeof(url), "unix://proxy:pass@%s", server.socket_path);
    struct redis *limited = client_of(url, NULL, PATIENT_US);
    assert_string_equal(ask(limited, "SET ccp:x 1"), "OK");
    assert_true(str_starts(str_c(ask(limited, "SET other 1")), STR("NOPERM")));
    assert_true(redis_is_up(limited));
    /* The server closes what a deleted user has open. */
    (void)ask(redis, "ACL DELUSER proxy");
    RUN_UNTIL(redis_health(limited).state != REDIS_UP);
    RUN_UNTIL(strcmp(redis_health(limited).last_error, "AUTH: WRONGPASS") == 0);
    (void)ask(redis, "ACL SETUSER proxy on >pass ~* +@all");
    RUN_UNTIL(redis_is_up(limited));
    redis_free(limited);

    expect_refusal(server.url, "PING: NOAUTH");
    (void)snprintf(url, sizeof(url), "unix://:wrong@%s", server.socket_path);
    expect_refusal(url, "AUTH: WRONGPASS");
    (void)snprintf(url, sizeof(url), "unix://:op%%20en%%2Fsesame@%s?db=99", server.socket_path);
    expect_refusal(url, "SELECT: ERR");
}

static void test_no_password_wanted(void **state)
{
    char url[256];
    (void)state;
    server_start(&server, NULL);
    (void)snprintf(url, sizeof(url), "unix://:hush@%s", server.socket_path);
    expect_refusal(url, "AUTH: ERR");
}

/* --- TLS --- */

static void make_certificate(const char *name, char cert[128], char key[128])
{
    char command[512];
    (void)snprintf(cert, 128, "%s/%s.pem", server.dir, name);
    (void)snprintf(key, 128, "%s/%s.key", server.dir, name);
    (void)snprintf(command, sizeof(command),
                   "exec openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
                   "-days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s "
                   ">/dev/null 2>&1",
                   key, cert);
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        (void)execlp("sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_tls(void **state)
{
    char cert[128], key[128], other_cert[128], other_key[128], port[16], url[64], error[256];
    (void)state;
    (void)snprintf(server.dir, sizeof(server.dir), "%s", P_tmpdir "/test_redis.XXXXXX");
    assert_non_null(mkdtemp(server.dir));
    struct server files = server; /* its certificates are made before it starts */
    make_certificate("ca", cert, key);
    make_certificate("other", other_cert, other_key);
    (void)snprintf(port, sizeof(port), "%u", free_port());
    const char *const words[] = {
        "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients",
        "no",         NULL};
    server_start(&server, words);
    (void)snprintf(url, sizeof(url), "rediss://127.0.0.1:%s", port);

    struct tls_options o = {.ca_file = cert, .alpn = ALPN_NONE};
    struct tls_ctx *trusting = tls_ctx_new(&o, error, sizeof(error));
    o.ca_file = other_cert;
    struct tls_ctx *strict = tls_ctx_new(&o, error, sizeof(error));
    assert_true(trusting && strict);
    redis = client_of(url, trusting, PATIENT_US);
    assert_string_equal(ask(redis, "PING"), "PONG");
    for (int i = 0; i < 50; i++)
        assert_string_equal(ask(redis, "INCR n") ? "ok" : "", "ok");
    assert_string_equal(ask(redis, "GET n"), "50");

    struct redis *r = client_of(url, strict, PATIENT_US);
    RUN_UNTIL(strstr(redis_health(r).last_error, "certificate verify failed") != NULL);
    redis_free(r);
    (void)snprintf(url, sizeof(url), "rediss://localhost:%s", port); /* not a name it has */
    r = client_of(url, trusting, PATIENT_US);
    RUN_UNTIL(strstr(redis_health(r).last_error, "certificate verify failed") != NULL);
    redis_free(r);
    redis_free(redis);
    redis = NULL;
    loop_turn(loop, 0); /* streams end before what they speak through */
    tls_ctx_free(trusting);
    tls_ctx_free(strict);
    server_end(&files);
}

/* --- what servers suffer --- */

static void test_restart(void **state)
{
    (void)state;
    server_start(&server, NULL);
    redis = client_of(server.url, NULL, PATIENT_US);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(ask(redis, "SET a b"), "OK");
        (void)say(redis, "DEBUG SLEEP 5", PATIENT_US);
        loop_turn(loop, 0);
        server_kill(&server);
        RUN_UNTIL(has_said);
        assert_int_equal(said_how, REDIS_LOST);
        assert_int_equal(state_of(), REDIS_WAITING);
        assert_false(say(redis, "PING", 0));
        RUN_UNTIL(redis_health(redis).stats.failures >= 3 * (unsigned)(i + 1));
        server_run(&server);
        assert_string_equal(ask(redis, "GET a"), "nil");
    }
    assert_int_equal(redis_health(redis).stats.connects, 4);
}

/* A server that stands still costs one deadline and then nothing, and is back when it goes on. */
static void stand_still(void (*stop)(void), void (*go)(void))
{
    (void)ask(redis, "PING");
    stop();
    bool sent = say(redis, "GET a", 5000);
    if (sent)
        RUN_UNTIL(has_said);
    if (sent && said_how == REDIS_TIMED_OUT)
        assert_false(say(redis, "GET a", 5000));
    RUN_UNTIL(state_of() != REDIS_UP);
    assert_false(say(redis, "GET a", 5000));
    assert_true(strlen(error_of()) > 0);
    go();
    assert_non_null(ask(redis, "GET a"));
}

static void stop_process(void)
{
    (void)kill(server.pid, SIGSTOP);
}

static void continue_process(void)
{
    (void)kill(server.pid, SIGCONT);
}

static void pause_clients(void)
{
    (void)ask(redis, "CLIENT PAUSE 1500 ALL");
}

static void sleep_inside(void)
{
    struct redis *other = client_of(server.url, NULL, PATIENT_US);
    RUN_UNTIL(redis_is_up(other));
    (void)say(other, "DEBUG SLEEP 1.5", PATIENT_US);
    loop_turn(loop, 0);
    redis_free(other);
    has_said = false;
}

static void nothing(void)
{
}

static void test_stands_still(void **state)
{
    (void)state;
    server_start(&server, NULL);
    redis = client_of(server.url, NULL, 5000);
    stand_still(stop_process, continue_process);
    stand_still(pause_clients, nothing);
    stand_still(sleep_inside, nothing);
}

/* Late answers never become those of later calls. */
static void test_order_survives_pauses(void **state)
{
    char line[64], expected[32];
    unsigned answered = 0;
    (void)state;
    server_start(&server, NULL);
    redis = client_of(server.url, NULL, 5000);
    for (int i = 0; i < 2000; i++) {
        if (i % 100 == 50)
            stop_process();
        if (i % 100 == 60)
            continue_process();
        (void)snprintf(expected, sizeof(expected), "n%d", i);
        (void)snprintf(line, sizeof(line), "ECHO %s", expected);
        if (!say(redis, line, 1000)) {
            loop_turn(loop, 1000);
            continue;
        }
        RUN_UNTIL(has_said);
        if (said_how != REDIS_ANSWERED)
            continue;
        assert_string_equal(said, expected);
        answered++;
    }
    continue_process();
    (void)ask(redis, "PING");
    assert_true(answered > 0);
    assert_true(redis_health(redis).stats.timeouts > 0);
}

static void test_full(void **state)
{
    static const char *const words[] = {"--maxmemory", "1kb", NULL};
    (void)state;
    server_start(&server, words);
    redis = client_of(server.url, NULL, PATIENT_US);
    for (int i = 0; i < 5; i++)
        assert_true(str_starts(str_c(ask(redis, "SET a b")), STR("OOM")));
    assert_int_equal(state_of(), REDIS_WAITING);
    (void)ask(redis, "CONFIG SET maxmemory 0");
    assert_string_equal(ask(redis, "SET a b"), "OK");
}

static void test_becomes_a_replica(void **state)
{
    (void)state;
    server_start(&server, NULL);
    redis = client_of(server.url, NULL, PATIENT_US);
    (void)ask(redis, "REPLICAOF 127.0.0.1 1");
    assert_true(str_starts(str_c(ask(redis, "SET a b")), STR("READONLY")));
    assert_int_equal(state_of(), REDIS_WAITING);
    (void)ask(redis, "REPLICAOF NO ONE");
    assert_string_equal(ask(redis, "SET a b"), "OK");
}

/* Settling waits for the server, and is done once. */
static void on_admitted(void *ctx, const struct redis_limit_answer *a)
{
    if (a)
        *(struct redis_limit_answer *)ctx = *a;
}

static void test_settling_outlives_a_pause(void **state)
{
    const struct redis_limit_item items[] = {
        {.kind = REDIS_LIMIT_CELL,
         .key = STR("c"),
         .limit = 1,
         .burst = 100,
         .period_us = 60 * 1000 * 1000,
         .cost = 60},
        {.kind = REDIS_LIMIT_LEASE, .key = STR("l"), .limit = 1, .period_us = 600 * 1000 * 1000},
    };
    const uint64_t actual[] = {10, 0};
    struct redis_limit_answer a = {0};
    struct redis_limit_ticket t;
    (void)state;
    server_start(&server, NULL);
    redis = client_of(server.url, NULL, PATIENT_US);
    struct redis_limit *limits = redis_limit_new(loop, redis, STR(REDIS_LIMIT_PREFIX));
    RUN_UNTIL(redis_is_up(redis));
    redis_limit_ticket(&t);
    assert_non_null(redis_limit_admit(limits, &t, items, 2, on_admitted, &a));
    RUN_UNTIL(a.admitted);
    stop_process();
    redis_limit_settle(limits, &a.ticket, items, 2, actual); /* sent, and no answer */
    RUN_UNTIL(redis_limit_stats(limits).waiting == 1);
    redis_limit_settle(limits, &a.ticket, items, 2, actual); /* not even sent */
    assert_int_equal(redis_limit_stats(limits).waiting, 2);
    continue_process();
    RUN_UNTIL(redis_limit_stats(limits).settled == 2);
    assert_int_equal(redis_limit_stats(limits).waiting, 0);
    redis_limit_ticket(&t);
    memset(&a, 0, sizeof(a));
    RUN_UNTIL(redis_is_up(redis));
    assert_non_null(redis_limit_admit(limits, &t, items, 2, on_admitted, &a));
    RUN_UNTIL(a.admitted);
    assert_int_equal(a.items[0].remaining, 30);
    redis_limit_free(limits);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_passwords_and_users),
        TEST(test_no_password_wanted),
        TEST(test_tls),
        TEST(test_restart),
        TEST(test_stands_still),
        TEST(test_order_survives_pauses),
        TEST(test_full),
        TEST(test_becomes_a_replica),
        TEST(test_settling_outlives_a_pause),
    };
    if (server_missing())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
