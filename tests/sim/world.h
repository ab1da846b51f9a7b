/* world.h - a kernel in memory: sys.h with virtual time, sockets that are queues, and faults by
 * seed.
 *
 *   code under test --sys.h--> [vsock]==wire with latency==[vsock] <--world_*-- actors
 *
 * Time moves only inside sys_epoll_wait, to the next thing that happens. Everything random comes
 * from one seed, so that a run can be repeated exactly. Actors (clients, upstreams) own the other
 * ends and are called when something arrives. What a real kernel may do, this one does on purpose
 * and often: short reads, short writes, EAGAIN, spurious readiness, segments cut anywhere, resets.
 */
#ifndef CCPROXY_TESTS_SIM_WORLD_H
#define CCPROXY_TESTS_SIM_WORLD_H

#include "base/str.h"
#include "io/sock.h"

struct vsock; /* one end of a connection, as an actor holds it */

struct vsock_owner {
    void (*on_open)(void *ctx, struct vsock *s);  /* connected, for world_connect */
    void (*on_data)(void *ctx, struct vsock *s);  /* bytes, or the end, can be read */
    void (*on_space)(void *ctx, struct vsock *s); /* bytes can be written again */
};

/* Fault rates, in thousandths. */
struct world_faults {
    unsigned short_io;   /* a read or write takes only a part */
    unsigned again;      /* a read or write that could work answers EAGAIN (an event follows) */
    unsigned spurious;   /* an event without cause */
    unsigned refuse;     /* a connection is refused */
    unsigned reset;      /* a segment is replaced by a reset */
    unsigned latency_us; /* at most, for each segment */
    unsigned window;     /* bytes in a direction before writers must wait */
};

void world_start(uint64_t seed, const struct world_faults *faults);
void world_end(void); /* asserts that the code under test has closed everything */

uint64_t world_random(void);
uint64_t world_below(uint64_t n);
bool world_chance(unsigned thousandths);
uint64_t world_now_us(void);

/* Runs fn(arg) at a time from now. */
void world_after(uint64_t delay_us, void (*fn)(void *arg), void *arg);
/* Nothing is scheduled or in flight any more. */
bool world_is_quiet(void);

/* A listening descriptor for the code under test. */
int world_listen(const struct sock_addr *at);
/* An actor connects to it. */
struct vsock *world_connect(const struct sock_addr *to, const struct vsock_owner *owner, void *ctx);
/* The code under test may connect here; accept is called for each connection. */
void world_serve(const struct sock_addr *at, void (*accept)(void *ctx, struct vsock *s), void *ctx);

void vsock_set_owner(struct vsock *s, const struct vsock_owner *owner, void *ctx);
/* > 0 bytes, 0 the end, -1 nothing yet, -2 reset. */
ssize_t vsock_read(struct vsock *s, void *p, size_t n);
/* Bytes taken, perhaps fewer than n; on_space follows. */
size_t vsock_write(struct vsock *s, struct str bytes);
void vsock_end_write(struct vsock *s);
void vsock_close(struct vsock *s); /* the end is not used again */
void vsock_reset(struct vsock *s);

/* Descriptors that the code under test holds. */
size_t world_open_fds(void);

#endif
