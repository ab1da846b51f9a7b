/* ledger_url.h - the address of a usage database on a PostgreSQL server.
 *
 *   postgresql://[user[:password]@][host[:port],...][/database][?sslmode=verify-full&...]
 *
 * libpq reads it; its parameters are libpq's. What libpq would take for a host or a port although it
 * is half of a password is refused here, because libpq's complaints repeat it.
 */
#ifndef CCPROXY_STORE_LEDGER_URL_H
#define CCPROXY_STORE_LEDGER_URL_H

#include "base/str.h"

enum { LEDGER_SHOWN = 256 };

/* Whether it is meant to be one: postgres:// or postgresql://. */
bool ledger_is_url(struct str s);
/* What is wrong with it, static text that repeats nothing of it; NULL: nothing. */
const char *ledger_url_fault(struct str s);
/* For people: a path as it is, an address without password and parameters. Returns out. */
const char *ledger_shown(struct str where, char out[LEDGER_SHOWN]);

#endif
