/* staples.h - what authorities say of our certificates (OCSP), on a shelf for all workers to show to
 * clients; names are the certificates' SHA-256.
 */
#ifndef CCPROXY_IO_STAPLES_H
#define CCPROXY_IO_STAPLES_H

#include "base/shelf.h"
#include "base/str.h"

enum { STAPLES_MAX = 64, STAPLE_SIZE = 8 * 1024 - 56 };

struct staple {
    uint8_t cert[SHELF_NAME];
    uint64_t begins_us, ends_us; /* since 1970; nothing to show any more */
    uint64_t n;
    char der[STAPLE_SIZE];
};

struct shelf *staples_new(void);

/* How long a fresh answer will do: half of the time is then over for which it holds, or of what is
 * left of that. */
uint64_t staples_wait_us(const struct staple *staple);
/* What there is to show of the certificate now. */
NODISCARD bool staples_get(const struct shelf *s, size_t place, const uint8_t cert[SHELF_NAME],
                           struct staple *ret);

#endif
