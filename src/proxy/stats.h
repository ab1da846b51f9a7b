/* stats.h - GET /stats: what has happened, lately and since the start, as one JSON object; docs/operations.md. */
#ifndef CCPROXY_PROXY_STATS_H
#define CCPROXY_PROXY_STATS_H

#include "base/buf.h"

struct exchange;
struct stats;

/* Everything in it is from this moment; it lives in x->keep. */
struct stats *stats_new(struct exchange *x);
/* Appends the next piece, a few dozen kilobytes at most. False when that was the last one. */
bool stats_write(struct stats *s, struct buf *out);

#endif
