/* server.h - for tests against a real redis-server: one started in a directory of its own, on a unix
 * socket (and a free port where asked), ended by its pid; and a client that is waited for.
 *
 * The clock is the real one. Nothing sleeps: RUN turns the loop until something is true.
 */
#ifndef CCPROXY_TESTS_REDIS_SERVER_H
#define CCPROXY_TESTS_REDIS_SERVER_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "store/redis_limit.h"

enum { ARGS_MAX = 40, TURNS_MAX = 60 * 1000, PATIENT_US = 30 * 1000 * 1000 };

struct server {
    pid_t pid;
    char dir[64];
    char url[128];
    char socket_path[96];
    const char *argv[ARGS_MAX];
};

static struct loop *loop;
static struct dns *dns;

#define RUN_UNTIL(cond)                                                                            \
    do {                                                                                           \
        for (int turn_ = 0; !(cond) && turn_ < TURNS_MAX; turn_++)                                 \
            loop_turn(loop, 1000);                                                                 \
        assert_true(cond);                                                                         \
    } while (0)

static inline void server_run(struct server *s)
{
    s->pid = fork();
    ASSERT(s->pid >= 0);
    if (s->pid == 0) {
        if (!freopen("/dev/null", "we", stdout))
            _exit(126);
        (void)execvp(s->argv[0], (char *const *)(uintptr_t)s->argv);
        _exit(127);
    }
}

/* 77 is what Meson calls skipped. */
static inline int server_missing(void)
{
    struct server s = {.argv = {"redis-server", "--version"}};
    int status;

    server_run(&s);
    if (waitpid(s.pid, &status, 0) == s.pid && status == 0)
        return 0;
    (void)fprintf(stderr, "there is no redis-server: tools/install-packages.sh test\n");
    return 77;
}

/* words: further arguments, ended by NULL. */
static inline void server_start(struct server *s, const char *const *words)
{
    size_t n = 0;

    memset(s, 0, sizeof(*s));
    (void)snprintf(s->dir, sizeof(s->dir), "%s", P_tmpdir "/test_redis.XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->socket_path, sizeof(s->socket_path), "%s/s", s->dir);
    (void)snprintf(s->url, sizeof(s->url), "unix:%s", s->socket_path);
    const char *const base[] = {"redis-server", "--port",     "0",       "--unixsocket",
                                s->socket_path, "--save",     "",        "--dir",
                                s->dir,         "--loglevel", "warning", "--enable-debug-command",
                                "yes"};
    for (size_t i = 0; i < ARRAY_LEN(base); i++)
        s->argv[n++] = base[i];
    for (; words && *words; words++)
        s->argv[n++] = *words;
    assert_true(n < ARGS_MAX);
    server_run(s);
}

static inline void server_kill(struct server *s)
{
    if (s->pid <= 0)
        return;
    (void)kill(s->pid, SIGKILL);
    (void)waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

static inline void server_end(struct server *s)
{
    static const char *const files[] = {"s",         "users.acl", "ca.pem",  "ca.key",
                                        "other.pem", "other.key", "dump.rdb"};
    char path[160];

    server_kill(s);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", s->dir, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(s->dir);
}

/* A port below those that the system hands out, so that no connection can take it in the meantime. */
static inline uint16_t free_port(void)
{
    struct sock_addr a;

    for (;;) {
        assert_true(sock_addr_ip(STR("127.0.0.1"), (uint16_t)(10000 + rand_below(20000)), &a));
        int fd = sock_listen(&a, false, 1);
        if (fd < 0)
            continue;
        (void)close(fd);
        return sock_addr_port(&a);
    }
}

static inline struct redis *client_of(const char *url, struct tls_ctx *tls, uint64_t timeout_us)
{
    struct redis_options o = {.tls = tls,
                              .timeout_us = timeout_us,
                              .connect_timeout_us =
                                  timeout_us > 1000000 ? PATIENT_US : REDIS_CONNECT_TIMEOUT_US};
    struct arena a;
    const char *error;

    arena_init(&a);
    if (!redis_url_parse(&a, str_c(url), &o.url, &error))
        fail_msg("%s: %s", url, error);
    struct redis *r = redis_new(loop, dns, &o);
    arena_done(&a);
    return r;
}

/* --- asking and waiting for the answer --- */

static char said[4096];
static enum redis_outcome said_how;
static bool has_said;

static inline void print_reply(const struct redis_reply *r, struct buf *out)
{
    if (r->type == REDIS_NIL)
        buf_lit(out, "nil");
    else if (r->type == REDIS_INTEGER)
        buf_printf(out, "%lld", (long long)r->integer);
    else if (r->type != REDIS_ARRAY)
        buf_append(out, r->text);
    for (size_t i = 0; r->type == REDIS_ARRAY && i < r->n; i++) {
        buf_append(out, i ? STR(" ") : STR(""));
        print_reply(r->items[i], out);
    }
}

static inline void on_said(void *ctx, enum redis_outcome how, const struct redis_reply *reply)
{
    struct buf out;

    (void)ctx;
    buf_init(&out, sizeof(said) - 1);
    if (reply)
        print_reply(reply, &out);
    memset(said, 0, sizeof(said));
    if (buf_len(&out))
        memcpy(said, buf_str(&out).p, buf_len(&out));
    buf_done(&out);
    said_how = how;
    has_said = true;
}

/* Words are separated by one space. False when it was not sent. */
static inline bool say(struct redis *r, const char *line, uint64_t timeout_us)
{
    struct str words[16], rest = str_c(line);
    struct buf out;
    size_t n = 0;

    while (n < ARRAY_LEN(words) && str_split(&rest, ' ', &words[n]))
        n++;
    has_said = false;
    buf_init(&out, 4096);
    assert_true(redis_format(&out, words, n));
    bool sent = redis_send(r, buf_str(&out), 1, timeout_us, on_said, NULL) != NULL;
    buf_done(&out);
    return sent;
}

static inline const char *ask(struct redis *r, const char *line)
{
    RUN_UNTIL(redis_is_up(r));
    assert_true(say(r, line, PATIENT_US));
    RUN_UNTIL(has_said);
    assert_int_equal(said_how, REDIS_ANSWERED);
    return said;
}

#endif
