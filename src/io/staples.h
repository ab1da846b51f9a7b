/* staples.h - what authorities say of our certificates (OCSP), for all workers to show to clients.
 *
 *   worker --staples_claim, asks, staples_put--> [ place | place | ... ] --staples_get--> all workers
 *
 * In memory that is mapped before the first fork, so an answer outlives the worker that fetched it,
 * and a reload. The master gives each certificate a place; of the workers one at a time claims it,
 * and only for a while: if it dies or the responder says nothing, somebody asks again.
 */
#ifndef CCPROXY_IO_STAPLES_H
#define CCPROXY_IO_STAPLES_H

#include "base/str.h"

enum { STAPLES_MAX = 64, STAPLE_CERT = 32, STAPLE_SIZE = 8 * 1024 - 56 };

struct staple {
    uint8_t cert[STAPLE_CERT];   /* its SHA-256 */
    uint64_t begins_us, ends_us; /* since 1970; nothing to show any more */
    uint64_t n;
    char der[STAPLE_SIZE];
};

struct staples;

struct staples *staples_new(void);
void staples_free(struct staples *s);

/* For the master: a certificate will be served; if it has no place, that of whichever was served
 * longest ago. */
void staples_adopt(struct staples *s, const uint8_t cert[STAPLE_CERT]);
/* Its place, or STAPLES_MAX. */
size_t staples_place(const struct staples *s, const uint8_t cert[STAPLE_CERT]);

/* Until when the answer needs no other, by clock_us(); 0 at first; never, when the place is another
 * certificate's by now. */
uint64_t staples_due(const struct staples *s, size_t place, const uint8_t cert[STAPLE_CERT]);
/* False: it is not due, or somebody else was faster. Else it is not due for so long. */
NODISCARD bool staples_claim(struct staples *s, size_t place, const uint8_t cert[STAPLE_CERT],
                             uint64_t for_us);
/* How long a fresh answer will do: half of the time is then over for which it holds, or of what is
 * left of that. */
uint64_t staples_wait_us(const struct staple *staple);
/* By whoever has claimed it. */
void staples_put(struct staples *s, size_t place, const struct staple *staple, uint64_t due_us);
/* What there is to show of the certificate now. */
NODISCARD bool staples_get(const struct staples *s, size_t place, const uint8_t cert[STAPLE_CERT],
                           struct staple *ret);

#endif
