/* recent.c - see recent.h. */
#include "obs/recent.h"

#include "base/box.h"
#include "base/mem.h"
#include "obs/metrics.h"

struct recent {
    _Atomic uint32_t
        written[METRICS_SHARDS]; /* entries so far: pages of unused rings stay untouched */

    box_word entries[METRICS_SHARDS][RECENT_KEPT][BOX_WORDS(struct recent_entry)];
};

struct recent *recent_new(void)
{
    return mem_share(sizeof(struct recent));
}

void recent_free(struct recent *r)
{
    if (r)
        mem_unshare(r, sizeof(*r));
}

void recent_add(struct recent *r, unsigned ring, const struct recent_entry *e)
{
    uint32_t written = atomic_load_explicit(&r->written[ring], memory_order_relaxed);
    box_put(r->entries[ring][written % RECENT_KEPT], e, sizeof(*e));
    atomic_store_explicit(&r->written[ring], written + 1, memory_order_release);
}

/* Puts e where it belongs among the latest; returns how many there are then. */
static unsigned insert(struct recent_entry *out, unsigned have, unsigned n,
                       const struct recent_entry *e)
{
    unsigned at = have;
    while (at > 0 && out[at - 1].ended_us < e->ended_us)
        at--;
    if (at == n)
        return have;
    unsigned kept = have < n ? have : n - 1;
    memmove(out + at + 1, out + at, (kept - at) * sizeof(*out));
    out[at] = *e;
    return kept + 1;
}

unsigned recent_read(const struct recent *r, struct recent_entry *out, unsigned n)
{
    unsigned have = 0;
    for (unsigned ring = 0; ring < METRICS_SHARDS; ring++) {
        uint32_t written = atomic_load_explicit(&r->written[ring], memory_order_acquire);
        for (unsigned i = 0; i < RECENT_KEPT && i < written; i++) {
            struct recent_entry e;
            if (box_get(r->entries[ring][i], &e, sizeof(e)))
                have = insert(out, have, n, &e);
        }
    }
    return have;
}
