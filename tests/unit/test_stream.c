/* test_stream.c - plain streams over socket pairs, loopback TCP and unix sockets: opening, refusal,
 * both ways of ending, back-pressure, and owners that close in the middle of their callbacks. */
#include "io/stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "io/sys.h"

enum { TURNS_MAX = 10000 };

/* One end as its owner sees it. */
struct end {
    struct stream *s;
    unsigned events;
    int opened, failed, calls;
    bool opened_before_return;
    bool close_on_open, close_on_ready;
};

static struct loop *loop;
static bool connecting;

static void on_ready(struct stream *s, void *ctx, unsigned events)
{
    struct end *e = ctx;

    assert_ptr_equal(s, e->s);
    e->events |= events;
    e->calls++;
    if (e->close_on_ready)
        stream_close(&e->s);
}

static void on_open(struct stream *s, void *ctx, bool ok)
{
    struct end *e = ctx;

    (void)s;
    assert_int_equal(e->calls, 0);
    e->opened += ok;
    e->failed += !ok;
    e->opened_before_return = connecting;
    if (e->close_on_open)
        stream_close(&e->s);
}

static const struct stream_owner owner = {.on_ready = on_ready, .on_open = on_open, .name = "end"};

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(loop);
    assert_int_equal(mem_live(), 0);
    return 0;
}

#define RUN_UNTIL(cond)                                                                            \
    do {                                                                                           \
        for (int turn_ = 0; !(cond) && turn_ < TURNS_MAX; turn_++)                                 \
            loop_turn(loop, 1000 * 1000);                                                          \
        assert_true(cond);                                                                         \
    } while (0)

static void adopt(struct end *e, int fd)
{
    struct sock_addr peer;

    assert_true(sock_addr_unix(STR("pair"), &peer));
    *e = (struct end){0};
    e->s = stream_accept(loop, fd, &peer, &owner, e);
}

static void make_pair(struct end *a, struct end *b)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    adopt(a, fds[0]);
    adopt(b, fds[1]);
}

static void open_end(struct end *e, const struct sock_addr *addr)
{
    connecting = true;
    e->s = stream_connect(loop, addr, &owner, e);
    connecting = false;
}

/* Connects a to a listener on loopback; b is what was accepted. */
static void make_tcp(struct end *a, struct end *b)
{
    struct sock_addr addr;
    struct sockaddr_storage from;
    socklen_t len;
    int fd, conn = -1;

    assert_true(sock_addr_ip(STR("127.0.0.1"), 0, &addr));
    fd = sock_listen(&addr, false, 8);
    assert_true(fd >= 0 && sock_local(fd, &addr));
    *a = (struct end){0};
    open_end(a, &addr);
    assert_non_null(a->s);
    RUN_UNTIL((conn >= 0 || (conn = sys_accept(fd, &from, &len)) >= 0) && a->opened == 1);
    adopt(b, conn);
    (void)sys_close(fd);
}

static ssize_t send_text(struct end *e, const char *text)
{
    char copy[64];
    struct iovec iov = {.iov_base = copy, .iov_len = strlen(text)};

    memcpy(copy, text, iov.iov_len);
    return stream_writev(e->s, &iov, 1);
}

static void check_read(struct end *e, const char *want)
{
    char in[64];
    ssize_t n = stream_read(e->s, in, sizeof(in));

    assert_int_equal(n, strlen(want));
    assert_memory_equal(in, want, strlen(want));
}

static void close_both(struct end *a, struct end *b)
{
    stream_close(&a->s);
    stream_close(&b->s);
    assert_null(a->s);
    stream_close(&a->s); /* NULL is fine */
}

static void test_pair_talks(void **state)
{
    struct end a, b;
    char c;

    (void)state;
    make_pair(&a, &b);
    RUN_UNTIL(a.events & IO_WRITE);
    assert_int_equal(stream_read(b.s, &c, 1), STREAM_AGAIN);
    b.events = 0;
    assert_int_equal(send_text(&a, "hello"), 5);
    RUN_UNTIL(b.events & IO_READ);
    check_read(&b, "hello");
    assert_int_equal(stream_read(b.s, &c, 1), STREAM_AGAIN);
    assert_false(stream_is_tls(a.s));
    assert_string_equal(stream_error_text(a.s), "no error");
    close_both(&a, &b);
}

static void test_tcp_talks(void **state)
{
    char out[SOCK_TEXT];
    struct end a, b;

    (void)state;
    make_tcp(&a, &b);
    assert_false(a.opened_before_return);
    assert_int_equal(a.failed, 0);
    assert_true(a.events & IO_WRITE); /* the event that opened it is not lost */
    assert_true(str_starts(sock_addr_text(stream_peer(a.s), out), STR("127.0.0.1:")));
    assert_int_equal(send_text(&a, "ping"), 4);
    RUN_UNTIL(b.events & IO_READ);
    check_read(&b, "ping");
    a.events = 0;
    assert_int_equal(send_text(&b, "pong"), 4);
    RUN_UNTIL(a.events & IO_READ);
    check_read(&a, "pong");
    close_both(&a, &b);
}

static void test_connect_refused(void **state)
{
    struct end a = {0};
    struct sock_addr addr;
    struct iovec iov = {.iov_base = &a, .iov_len = 1};
    char c;
    int fd;

    (void)state;
    assert_true(sock_addr_ip(STR("127.0.0.1"), 0, &addr));
    fd = sock_listen(&addr, false, 8);
    assert_true(fd >= 0 && sock_local(fd, &addr));
    (void)sys_close(fd);
    open_end(&a, &addr);
    assert_non_null(a.s);
    assert_int_equal(stream_read(a.s, &c, 1), STREAM_AGAIN); /* not yet known */
    RUN_UNTIL(a.failed == 1);
    assert_int_equal(a.opened, 0);
    assert_int_equal(a.calls, 0);
    assert_string_equal(stream_error_text(a.s), "connection refused");
    assert_int_equal(stream_read(a.s, &c, 1), STREAM_ERROR);
    assert_int_equal(stream_writev(a.s, &iov, 1), STREAM_ERROR);
    stream_end_write(a.s);
    stream_close(&a.s);
}

static void test_connect_cannot_start(void **state)
{
    struct end a = {0};
    struct sock_addr addr;

    (void)state;
    assert_true(sock_addr_unix(STR("/nonexistent/socket"), &addr));
    open_end(&a, &addr);
    assert_null(a.s);
    assert_int_equal(errno, ENOENT);
    addr.sa.sa_family = AF_MAX;
    open_end(&a, &addr);
    assert_null(a.s);
    assert_int_equal(errno, EAFNOSUPPORT);
}

static void test_connect_unix_opens_later(void **state)
{
    char dir[] = P_tmpdir "/test_stream.XXXXXX", path[64];
    struct end a = {0};
    struct sock_addr addr;
    int fd;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/s", dir);
    assert_true(sock_addr_unix(str_c(path), &addr));
    fd = sock_listen(&addr, false, 8);
    assert_true(fd >= 0);
    open_end(&a, &addr);
    assert_non_null(a.s);
    assert_int_equal(a.opened, 0);
    RUN_UNTIL(a.opened == 1);
    assert_int_equal(send_text(&a, "x"), 1);
    stream_close(&a.s);
    (void)sys_close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_close_while_connecting(void **state)
{
    struct end a = {0};
    struct sock_addr addr;
    int fd;

    (void)state;
    assert_true(sock_addr_ip(STR("::1"), 0, &addr));
    fd = sock_listen(&addr, false, 8);
    if (fd < 0)
        skip(); /* no IPv6 here */
    assert_true(sock_local(fd, &addr));
    open_end(&a, &addr);
    stream_close(&a.s);
    loop_turn(loop, 0);
    loop_turn(loop, 0);
    assert_int_equal(a.opened + a.failed, 0);
    (void)sys_close(fd);
}

static void test_half_close(void **state)
{
    struct end a, b;
    char c;

    (void)state;
    make_tcp(&a, &b);
    assert_int_equal(send_text(&a, "last"), 4);
    stream_end_write(a.s);
    RUN_UNTIL(b.events & IO_HUP);
    check_read(&b, "last");
    assert_int_equal(stream_read(b.s, &c, 1), STREAM_EOF);
    assert_int_equal(stream_read(b.s, &c, 1), STREAM_EOF);
    assert_int_equal(send_text(&a, "x"), STREAM_ERROR);
    assert_string_equal(stream_error_text(a.s), "broken pipe");
    a.events = 0;
    assert_int_equal(send_text(&b, "answer"), 6); /* the other direction goes on */
    RUN_UNTIL(a.events & IO_READ);
    check_read(&a, "answer");
    close_both(&a, &b);
}

static void test_reset(void **state)
{
    struct end a, b;
    char c;

    (void)state;
    make_tcp(&a, &b);
    stream_reset(&a.s);
    assert_null(a.s);
    RUN_UNTIL(b.events & IO_HUP);
    assert_true(b.events & IO_READ);
    assert_int_equal(stream_read(b.s, &c, 1), STREAM_ERROR);
    assert_string_equal(stream_error_text(b.s), "connection reset by peer");
    /* And writing to it is an error, not a signal. */
    assert_int_equal(send_text(&b, "x"), STREAM_ERROR);
    stream_close(&b.s);
}

static void test_close_in_order(void **state)
{
    struct end a, b;
    char c;

    (void)state;
    make_tcp(&a, &b);
    assert_int_equal(send_text(&a, "bye"), 3);
    stream_close(&a.s);
    RUN_UNTIL(b.events & IO_HUP);
    check_read(&b, "bye");
    assert_int_equal(stream_read(b.s, &c, 1), STREAM_EOF);
    stream_close(&b.s);
}

/* The byte at an offset of a long message. */
static unsigned char pattern(size_t at)
{
    return (unsigned char)(at * 31 + at / 251);
}

enum { LONG = 8 * 1024 * 1024, CHUNK = 64 * 1024, VECTORS = 3 };

/* Writes from offset *at until it would block or is done; true: it would block. */
static bool pump_out(struct end *e, size_t *at)
{
    static unsigned char out[CHUNK];

    while (*at < LONG) {
        size_t n = size_min(LONG - *at, CHUNK), third = n / VECTORS;
        struct iovec iov[VECTORS] = {
            {out, third}, {out + third, third}, {out + 2 * third, n - 2 * third}};
        ssize_t sent;

        for (size_t i = 0; i < n; i++)
            out[i] = pattern(*at + i);
        sent = stream_writev(e->s, iov, VECTORS);
        if (sent == STREAM_AGAIN)
            return true;
        assert_true(sent > 0);
        *at += (size_t)sent;
    }
    return false;
}

static void pump_in(struct end *e, size_t *at)
{
    static unsigned char in[CHUNK];
    ssize_t n;

    while ((n = stream_read(e->s, in, sizeof(in))) > 0) {
        bool same = true;

        for (size_t i = 0; i < (size_t)n; i++)
            same = same && in[i] == pattern(*at + i);
        assert_true(same);
        *at += (size_t)n;
    }
    assert_int_equal(n, STREAM_AGAIN);
}

static void test_back_pressure(void **state)
{
    struct end a, b;
    size_t sent = 0, got = 0, stopped_at;

    (void)state;
    make_tcp(&a, &b);
    assert_true(pump_out(&a, &sent));
    stopped_at = sent;
    a.events = 0;
    for (int i = 0; i < 3; i++) /* nobody reads, nothing moves */
        loop_turn(loop, 0);
    pump_in(&b, &got);
    RUN_UNTIL(a.events & IO_WRITE);
    assert_true(stopped_at < LONG);
    for (int i = 0; got < LONG && i < TURNS_MAX; i++) {
        if (a.events & IO_WRITE)
            (void)pump_out(&a, &sent);
        if (b.events & IO_READ)
            pump_in(&b, &got);
        a.events = b.events = 0;
        if (got < LONG)
            loop_turn(loop, 1000 * 1000);
    }
    assert_int_equal(got, LONG);
    close_both(&a, &b);
}

static void test_more_vectors_than_the_kernel_takes(void **state)
{
    enum { MANY = 2000 };

    static struct iovec iov[MANY];
    static char byte = 'v';
    struct end a, b;

    (void)state;
    make_pair(&a, &b);
    for (int i = 0; i < MANY; i++)
        iov[i] = (struct iovec){&byte, 1};
    assert_in_range(stream_writev(a.s, iov, MANY), 1, MANY - 1);
    close_both(&a, &b);
}

static void test_owner_closes_in_callbacks(void **state)
{
    struct end a, b;
    struct sock_addr addr;
    int fd;

    (void)state;
    make_pair(&a, &b);
    a.close_on_ready = b.close_on_ready = true;
    RUN_UNTIL(!a.s && !b.s);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);

    assert_true(sock_addr_ip(STR("127.0.0.1"), 0, &addr));
    fd = sock_listen(&addr, false, 8);
    assert_true(fd >= 0 && sock_local(fd, &addr));
    a = (struct end){.close_on_open = true};
    open_end(&a, &addr);
    RUN_UNTIL(!a.s);
    assert_int_equal(a.opened, 1);
    assert_int_equal(a.calls, 0);
    (void)sys_close(fd);
}

static void test_another_owner(void **state)
{
    static const struct stream_owner second = {.on_ready = on_ready, .name = "second"};
    struct end a, b, c = {0};

    (void)state;
    make_pair(&a, &b);
    RUN_UNTIL(a.events && b.events);
    c.s = b.s;
    stream_set_owner(b.s, &second, &c);
    b.events = 0;
    assert_int_equal(send_text(&a, "x"), 1);
    RUN_UNTIL(c.events & IO_READ);
    assert_int_equal(b.events, 0);
    stream_close(&a.s);
    stream_close(&c.s);
}

static void test_accept_of_a_bad_descriptor(void **state)
{
    struct end a;
    char c;

    (void)state;
    adopt(&a, 1 << 20);
    assert_non_null(a.s);
    RUN_UNTIL(a.events & IO_HUP);
    assert_int_equal(stream_read(a.s, &c, 1), STREAM_ERROR);
    assert_int_equal(send_text(&a, "x"), STREAM_ERROR);
    stream_close(&a.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pair_talks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tcp_talks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connect_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connect_cannot_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connect_unix_opens_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_while_connecting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_close, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_pressure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_more_vectors_than_the_kernel_takes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_owner_closes_in_callbacks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(test_accept_of_a_bad_descriptor, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
