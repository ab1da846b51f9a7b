/* spans.c - see spans.h. */
#include "store/spans.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "base/rand.h"

struct spans {
    uint64_t server;
    _Atomic uint64_t exported, refused; /* the scribe's */
    struct rings *rings;                /* mapped at the same place in all processes */
};

struct spans *spans_new(void)
{
    struct spans *s = mem_share(sizeof(*s));
    s->server = rand_u64();
    s->rings = rings_new(SPANS_EACH, sizeof(struct span));
    return s;
}

void spans_free(struct spans *s)
{
    rings_free(s->rings);
    mem_unshare(s, sizeof(*s));
}

uint64_t spans_server(const struct spans *s)
{
    return s->server;
}

bool spans_put(struct spans *s, unsigned ring, const struct span *span)
{
    return rings_put(s->rings, ring, span);
}

uint64_t spans_tail(const struct spans *s, unsigned ring)
{
    return rings_tail(s->rings, ring);
}

uint64_t spans_head(const struct spans *s, unsigned ring)
{
    return rings_head(s->rings, ring);
}

const struct span *spans_at(const struct spans *s, unsigned ring, uint64_t position)
{
    return rings_at(s->rings, ring, position);
}

void spans_release(struct spans *s, unsigned ring, uint64_t tail)
{
    rings_release(s->rings, ring, tail);
}

void spans_count(struct spans *s, uint64_t exported, uint64_t refused)
{
    atomic_fetch_add_explicit(&s->exported, exported, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->refused, refused, memory_order_relaxed);
}

uint64_t spans_waiting(const struct spans *s)
{
    return rings_waiting(s->rings);
}

uint64_t spans_exported(const struct spans *s)
{
    return atomic_load_explicit(&s->exported, memory_order_relaxed);
}

uint64_t spans_dropped(const struct spans *s)
{
    return rings_lost(s->rings) + atomic_load_explicit(&s->refused, memory_order_relaxed);
}
