/* peer.h - for tests of the HTTP layer: the far ends, as plain non-blocking sockets that the test
 * pumps between turns of the loop, and a clock that only the test moves.
 *
 * Nothing here waits for time to pass: a turn waits at most a millisecond for a socket event, and
 * RUN_UNTIL gives up after many turns. */
#ifndef CCPROXY_TESTS_PEER_H
#define CCPROXY_TESTS_PEER_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/sock.h"

enum { PEER_TEXT = 16 * 1024 * 1024, PEER_TURNS = 5000 };

struct peer {
    int fd;
    bool eof, reset;
    size_t n;
    char *text; /* what has come, NUL behind it */
};

static struct loop *loop;
static uint64_t now_us;
static size_t live_before;

static uint64_t fake_clock(void)
{
    return now_us;
}

static void clock_begin(void)
{
    now_us = 1000 * 1000;
    clock_set_source(fake_clock, fake_clock);
    clock_refresh();
    live_before = mem_live();
    loop = loop_new();
}

static void clock_end(void)
{
    loop_free(loop);
    clock_set_source(NULL, NULL);
    assert_int_equal(mem_live(), live_before);
}

static inline void turns(int n)
{
    while (n-- > 0)
        loop_turn(loop, 0);
}

static inline void advance(uint64_t us)
{
    now_us += us;
    turns(3);
}

#define RUN_UNTIL(cond)                                                                            \
    do {                                                                                           \
        for (int turn_ = 0; !(cond) && turn_ < PEER_TURNS; turn_++)                                \
            loop_turn(loop, 1000);                                                                 \
        assert_true(cond);                                                                         \
    } while (0)

static inline struct peer peer_of(int fd)
{
    struct peer p = {.fd = fd, .text = mem_zalloc(PEER_TEXT)};

    return p;
}

static inline struct peer peer_connect(const struct sock_addr *to)
{
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval few = {.tv_usec = 1};

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &to->sa, to->len), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &few, sizeof(few)), 0);
    return peer_of(fd);
}

static inline struct peer peer_accept(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0) {
        assert_int_equal(errno, EAGAIN);
        loop_turn(loop, 1000);
    }
    return peer_of(fd);
}

/* Takes what has come. */
static inline struct peer *peer_poll(struct peer *p)
{
    ssize_t n;

    while (!p->eof && !p->reset && p->n + 1 < PEER_TEXT) {
        n = recv(p->fd, p->text + p->n, PEER_TEXT - 1 - p->n, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            break;
        p->reset = n < 0;
        p->eof = n == 0;
        p->n += n > 0 ? (size_t)n : 0;
    }
    return p;
}

/* As much as the socket takes at once; returns how much. */
static inline size_t peer_offer(struct peer *p, struct str s)
{
    ssize_t n = send(p->fd, s.p, s.n, MSG_DONTWAIT | MSG_NOSIGNAL);

    return n > 0 ? (size_t)n : 0;
}

static inline void peer_send(struct peer *p, struct str s)
{
    size_t done = 0;

    for (int turn = 0; done < s.n && turn < PEER_TURNS; turn++) {
        done += peer_offer(p, str_skip(s, done));
        if (done < s.n)
            loop_turn(loop, 1000);
    }
    assert_int_equal(done, s.n);
}

#define peer_say(p, literal) peer_send((p), STR(literal))

static inline bool peer_has(struct peer *p, const char *needle)
{
    return strstr(peer_poll(p)->text, needle) != NULL;
}

static inline bool peer_ended(struct peer *p)
{
    return peer_poll(p)->eof || p->reset;
}

static inline size_t peer_count(struct peer *p, const char *needle)
{
    size_t n = 0;

    for (const char *at = peer_poll(p)->text; (at = strstr(at, needle)) != NULL; at++)
        n++;
    return n;
}

static inline void peer_forget(struct peer *p)
{
    memset(p->text, 0, p->n);
    p->n = 0;
}

static inline void peer_half_close(struct peer *p)
{
    assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
}

static inline void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        (void)close(p->fd);
    mem_free(p->text);
    *p = (struct peer){.fd = -1};
}

static inline void peer_reset(struct peer *p)
{
    const struct linger now = {.l_onoff = 1};

    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    peer_close(p);
}

/* A listener on a free port of the loopback. */
static inline int peer_listen(struct sock_addr *ret)
{
    int fd;

    assert_true(sock_addr_ip(STR("127.0.0.1"), 0, ret));
    fd = sock_listen(ret, false, 64);
    assert_true(fd >= 0);
    assert_true(sock_local(fd, ret));
    return fd;
}

#endif
