/* strmap.h - a growing table from strings to pointers whose memory is an arena's.
 *
 * For names and ids that a client chooses: the hash is keyed, so nobody can aim at one bucket. Keys
 * are borrowed. It is only looked up, never walked: its order depends on the process's random key.
 */
#ifndef CCPROXY_LLM_STRMAP_H
#define CCPROXY_LLM_STRMAP_H

#include "base/arena.h"

struct strmap_slot {
    struct str key; /* key.p NULL: free */
    void *value;
};

struct strmap {
    struct arena *arena;
    struct strmap_slot *slots;
    size_t n, cap; /* cap is a power of two, or 0 */
};

void strmap_init(struct strmap *m, struct arena *a);
void *strmap_get(const struct strmap *m, struct str key); /* NULL when absent */
/* Where the value of key is kept; it is NULL when the key is new. Valid until the next call. */
void **strmap_at(struct strmap *m, struct str key);

#endif
