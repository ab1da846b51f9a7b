/* spans.c - see spans.h.
 *
 * As in the journal, nothing that stands in a ring is taken on trust: a head that cannot be is taken
 * for an empty ring.
 */
#include "store/spans.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "base/rand.h"

struct ring {
    _Alignas(64) _Atomic uint64_t head; /* the worker's */
    _Atomic uint64_t lost;              /* the worker's */
    _Alignas(64) _Atomic uint64_t tail; /* the scribe's */
    struct span spans[SPANS_EACH];
};

struct spans {
    uint64_t server;
    _Atomic uint64_t exported, refused; /* the scribe's */
    _Atomic uint64_t lost;              /* of workers that have no ring */
    struct ring rings[SPANS_RINGS];
};

struct spans *spans_new(void)
{
    struct spans *s = mem_share(sizeof(*s));
    s->server = rand_u64();
    return s;
}

void spans_free(struct spans *s)
{
    mem_unshare(s, sizeof(*s));
}

uint64_t spans_server(const struct spans *s)
{
    return s->server;
}

static void add(_Atomic uint64_t *count, uint64_t n)
{
    atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

bool spans_put(struct spans *s, unsigned ring, const struct span *span)
{
    if (ring >= SPANS_RINGS) {
        add(&s->lost, 1);
        return false;
    }
    struct ring *q = &s->rings[ring];
    uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&q->tail, memory_order_acquire) >= SPANS_EACH) {
        add(&q->lost, 1);
        return false;
    }
    q->spans[head % SPANS_EACH] = *span;
    atomic_store_explicit(&q->head, head + 1, memory_order_release);
    return true;
}

uint64_t spans_tail(const struct spans *s, unsigned ring)
{
    return atomic_load_explicit(&s->rings[ring].tail, memory_order_acquire);
}

uint64_t spans_head(const struct spans *s, unsigned ring)
{
    uint64_t head = atomic_load_explicit(&s->rings[ring].head, memory_order_acquire);
    uint64_t tail = spans_tail(s, ring);
    return head - tail <= SPANS_EACH ? head : tail;
}

const struct span *spans_at(const struct spans *s, unsigned ring, uint64_t position)
{
    return &s->rings[ring].spans[position % SPANS_EACH];
}

void spans_release(struct spans *s, unsigned ring, uint64_t tail)
{
    atomic_store_explicit(&s->rings[ring].tail, tail, memory_order_release);
}

void spans_count(struct spans *s, uint64_t exported, uint64_t refused)
{
    add(&s->exported, exported);
    add(&s->refused, refused);
}

uint64_t spans_waiting(const struct spans *s)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < SPANS_RINGS; i++)
        n += spans_head(s, i) - spans_tail(s, i);
    return n;
}

uint64_t spans_exported(const struct spans *s)
{
    return get(&s->exported);
}

uint64_t spans_dropped(const struct spans *s)
{
    uint64_t n = get(&s->lost) + get(&s->refused);
    for (unsigned i = 0; i < SPANS_RINGS; i++)
        n += get(&s->rings[i].lost);
    return n;
}
