/* rings.c - see rings.h. */
#include "store/rings.h"

#include <stdatomic.h>

#include "base/mem.h"

struct ends {
    _Alignas(64) _Atomic uint64_t head; /* the worker's */
    _Atomic uint64_t lost;              /* the worker's */
    _Alignas(64) _Atomic uint64_t tail; /* the scribe's */
};

struct rings {
    size_t records, size;
    _Atomic uint64_t lost; /* of workers that have no ring */
    struct ends ends[RINGS_MAX];
    _Alignas(64) char data[];
};

static size_t bytes_of(size_t records, size_t size)
{
    return sizeof(struct rings) + RINGS_MAX * records * size;
}

struct rings *rings_new(size_t records, size_t size)
{
    ASSERT(size % sizeof(uint64_t) == 0);
    struct rings *r = mem_share(bytes_of(records, size));
    r->records = records;
    r->size = size;
    return r;
}

void rings_free(struct rings *r)
{
    mem_unshare(r, bytes_of(r->records, r->size));
}

static size_t place(const struct rings *r, unsigned ring, uint64_t position)
{
    return (ring * r->records + position % r->records) * r->size;
}

bool rings_put(struct rings *r, unsigned ring, const void *record)
{
    if (ring >= RINGS_MAX) {
        atomic_fetch_add_explicit(&r->lost, 1, memory_order_relaxed);
        return false;
    }
    struct ends *q = &r->ends[ring];
    uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&q->tail, memory_order_acquire) >= r->records) {
        atomic_fetch_add_explicit(&q->lost, 1, memory_order_relaxed);
        return false;
    }
    memcpy(r->data + place(r, ring, head), record, r->size);
    atomic_store_explicit(&q->head, head + 1, memory_order_release);
    return true;
}

uint64_t rings_tail(const struct rings *r, unsigned ring)
{
    return atomic_load_explicit(&r->ends[ring].tail, memory_order_acquire);
}

uint64_t rings_head(const struct rings *r, unsigned ring)
{
    uint64_t head = atomic_load_explicit(&r->ends[ring].head, memory_order_acquire);
    uint64_t tail = rings_tail(r, ring);
    return head - tail <= r->records ? head : tail;
}

const void *rings_at(const struct rings *r, unsigned ring, uint64_t position)
{
    return r->data + place(r, ring, position);
}

void rings_release(struct rings *r, unsigned ring, uint64_t tail)
{
    atomic_store_explicit(&r->ends[ring].tail, tail, memory_order_release);
}

uint64_t rings_waiting(const struct rings *r)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < RINGS_MAX; i++)
        n += rings_head(r, i) - rings_tail(r, i);
    return n;
}

uint64_t rings_lost(const struct rings *r)
{
    uint64_t n = atomic_load_explicit(&r->lost, memory_order_relaxed);
    for (unsigned i = 0; i < RINGS_MAX; i++)
        n += atomic_load_explicit(&r->ends[i].lost, memory_order_relaxed);
    return n;
}
