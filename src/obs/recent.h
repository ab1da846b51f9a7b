/* recent.h - the last requests, without a word of what was in them.
 *
 *   worker --recent_add--> a ring of its own --+-- recent_read, the latest first --> /stats
 *
 * In shared memory; each ring has one writer, and entries are boxes (box.h), so nobody waits and a
 * worker that dies takes nothing with it but what it was writing.
 */
#ifndef CCPROXY_OBS_RECENT_H
#define CCPROXY_OBS_RECENT_H

#include "base/str.h"

enum { RECENT_KEPT = 32, RECENT_ID = 48, RECENT_CLIENT = 64 }; /* entries of a ring; bytes */

struct recent_entry {
    uint64_t ended_us; /* clock_wall_us() */
    uint64_t duration_us, first_token_us;
    uint64_t prompt_tokens, output_tokens;
    uint64_t cost; /* millionths of a dollar */
    uint32_t status, ending;
    uint32_t model; /* number of the metrics' label */
    uint8_t n_id, n_client;
    bool stream;
    char id[RECENT_ID], client[RECENT_CLIENT]; /* cut where they are longer */
    char pad[1];
};

_Static_assert(sizeof(struct recent_entry) % sizeof(uint64_t) == 0, "an entry is words");

struct recent;

struct recent *recent_new(void);
void recent_free(struct recent *r); /* NULL is fine */

/* ring: the writer's shard of the metrics. */
void recent_add(struct recent *r, unsigned ring, const struct recent_entry *e);
/* The latest, at most n; returns how many. */
unsigned recent_read(const struct recent *r, struct recent_entry *out, unsigned n);

#endif
