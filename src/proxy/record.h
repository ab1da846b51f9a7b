/* record.h - what the usage database is told of an exchange. */
#ifndef CCPROXY_PROXY_RECORD_H
#define CCPROXY_PROXY_RECORD_H

#include "proxy/exchange.h"

/* Once, from exchange_end: puts the record of a known client's call into the journal, when there is
 * a database. */
void record_end(const struct exchange *x);

#endif
