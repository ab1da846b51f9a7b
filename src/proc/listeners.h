/* listeners.h - the sockets on which clients queue, one for each worker's place.
 *
 * The master keeps them over crashes and reloads, so that nothing that is queued is lost: a socket
 * that has closed would have reset its queue. TCP has one socket for each place, among which the
 * kernel spreads connections (SO_REUSEPORT); a unix socket is one for all.
 */
#ifndef CCPROXY_PROC_LISTENERS_H
#define CCPROXY_PROC_LISTENERS_H

#include "io/sock.h"

enum { LISTENERS_MAX = 256, LISTENERS_ERROR = 256 };

struct listeners {
    struct sock_addr asked, addr; /* addr is the real one, also for port 0 */
    int fds[LISTENERS_MAX];
    size_t n;

    /* The owner's: doors.c. */
    unsigned held;
    size_t n_served;
};

/* Opens n sockets on host (options.def) and port. alone: another process that listens there is an
 * error. On failure nothing is open and error says why, naming the address. */
NODISCARD bool listeners_open(struct listeners *l, struct str host, uint16_t port, size_t n,
                              bool alone, char error[LISTENERS_ERROR]);
/* Whether they were opened for that host and port. */
bool listeners_are_for(const struct listeners *l, struct str host, uint16_t port);
/* More of them, when there are fewer than n. */
NODISCARD bool listeners_grow(struct listeners *l, size_t n, char error[LISTENERS_ERROR]);
/* Gives back all but the first n: what queued on the others is lost. */
void listeners_shrink(struct listeners *l, size_t n);
void listeners_close(struct listeners *l);
/* The sockets of one of n_places (0 first): more than one when there were more places before. */
size_t listeners_of(const struct listeners *l, size_t place, size_t n_places,
                    int out[LISTENERS_MAX]);

#endif
