/* tickets.h - the keys of session tickets, the same in all workers.
 *
 *   master --tickets_keep--> [ newest | the one before ] <--tickets_seal, tickets_open-- workers
 *
 * A ticket is a client's session, sealed with such a key: the client brings it back, and the server has
 * kept nothing. The newest key seals for six hours and opens for as long again, which is as long as a
 * ticket lives; then it is overwritten, and what was recorded of its sessions cannot be opened by
 * anybody. Keys lie in memory that is mapped before the first fork, in no file.
 */
#ifndef CCPROXY_IO_TICKETS_H
#define CCPROXY_IO_TICKETS_H

#include "base/base.h"

#define TICKET_LIFE_US (UINT64_C(6) * 3600 * 1000000)

enum { TICKET_NAME = 16, TICKET_SECRET = 32 };

struct ticket_key {
    uint64_t made_us;          /* by clock_us() */
    uint8_t name[TICKET_NAME]; /* stands in the ticket */
    uint8_t cipher[TICKET_SECRET], mac[TICKET_SECRET];
};

struct tickets;

struct tickets *tickets_new(void);
void tickets_free(struct tickets *t);
/* For the master: makes a key when it is time, and forgets those that are too old. */
void tickets_keep(struct tickets *t);

/* The key for a new ticket, and the one that a ticket was sealed with. False: there is none. */
NODISCARD bool tickets_seal(const struct tickets *t, struct ticket_key *ret);
NODISCARD bool tickets_open(const struct tickets *t, const uint8_t name[TICKET_NAME],
                            struct ticket_key *ret);

#endif
