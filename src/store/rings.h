/* rings.h - records on their way from the workers to the scribe, in memory that outlives both.
 *
 *   worker 1 --rings_put--> ring 0  [ tail ..... head ]  --+
 *   worker 2 --rings_put--> ring 1  [ tail ..... head ]  --+--> scribe --> rings_release
 *   worker n --rings_put--> ring .  [ tail ..... head ]  --+
 *
 * Mapped before the first fork. One writer and one reader for each ring, no locks: a put is a copy and one
 * store, so a writer that is killed loses nothing it had put, and what a killed reader had not released
 * is there for the next. Positions count records from the beginning. A ring that is full drops and counts.
 *
 * Workers answer strangers, so nothing that stands in a ring is taken on trust: a head that cannot be is
 * taken for an empty ring.
 */
#ifndef CCPROXY_STORE_RINGS_H
#define CCPROXY_STORE_RINGS_H

#include "base/base.h"

enum { RINGS_MAX = 128 };

struct rings;

/* Each has room for so many records of that size, in bytes, a multiple of 8. */
struct rings *rings_new(size_t records, size_t size);
void rings_free(struct rings *r);

/* For the one process that writes this ring. False: there was no room, and it is counted. */
bool rings_put(struct rings *r, unsigned ring, const void *record);

/* For the scribe: records from tail to head, at most a ring full, wait; they may be read until they are
 * released. */
uint64_t rings_tail(const struct rings *r, unsigned ring);
uint64_t rings_head(const struct rings *r, unsigned ring);
const void *rings_at(const struct rings *r, unsigned ring, uint64_t position);
void rings_release(struct rings *r, unsigned ring, uint64_t tail);

/* Over all rings: records that wait, and those dropped since the start. */
uint64_t rings_waiting(const struct rings *r);
uint64_t rings_lost(const struct rings *r);

#endif
