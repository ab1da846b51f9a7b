/* doors.h - all that a crew listens on: the listeners of each entry of the configuration.
 *
 * A reload makes a new set, which holds those listeners of the old one whose address stays. What
 * nobody holds any more closes.
 */
#ifndef CCPROXY_PROC_DOORS_H
#define CCPROXY_PROC_DOORS_H

#include "config/config.h"
#include "proc/listeners.h"

enum { DOORS_SOCKETS = LISTEN_MAX * LISTENERS_MAX, DOORS_TEXT = LISTEN_MAX * (SOCK_TEXT + 2) };

struct doors {
    struct listeners *list[LISTEN_MAX]; /* in the order of the configuration */
    size_t n;
};

/* n sockets for each address of c; those that old has are held together with it. first: what listens
 * on one of them already is an error. On failure nothing has changed. */
NODISCARD bool doors_open(struct doors *d, const struct config *c, const struct doors *old,
                          size_t n, bool first, char error[LISTENERS_ERROR]);
/* They are served from now on. */
void doors_serve(const struct doors *d);
/* Lets go of them: sockets that were opened, but are not served, close. */
void doors_close(struct doors *d);
/* The sockets of one of n_places (0 first), and of which entry each one is. */
size_t doors_of(const struct doors *d, size_t place, size_t n_places, int fds[DOORS_SOCKETS],
                uint8_t entries[DOORS_SOCKETS]);
/* "127.0.0.1:8000, unix:/run/ccproxy.sock" */
struct str doors_text(const struct doors *d, char out[DOORS_TEXT]);

#endif
