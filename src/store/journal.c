/* journal.c - see journal.h.
 *
 * Workers answer strangers, so nothing that stands in a ring is taken on trust: lengths are cut and
 * a head that cannot be is taken for an empty ring.
 */
#include "store/journal.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "base/rand.h"

struct ring {
    _Alignas(64) _Atomic uint64_t head; /* the worker's */
    _Atomic uint64_t lost;              /* the worker's */
    _Alignas(64) _Atomic uint64_t tail; /* the scribe's */
    struct journal_record records[JOURNAL_RECORDS];
};

struct journal {
    int64_t server;
    _Atomic int state;
    _Atomic uint64_t lost; /* of workers that have no ring */
    struct ring rings[JOURNAL_RINGS];
};

struct journal *journal_new(void)
{
    struct journal *j = mem_share(sizeof(*j));
    j->server = (int64_t)(rand_u64() >> 1);
    return j;
}

void journal_free(struct journal *j)
{
    mem_unshare(j, sizeof(*j));
}

int64_t journal_server(const struct journal *j)
{
    return j->server;
}

void journal_set(struct journal_text *t, struct str s)
{
    t->n = (uint8_t)size_min(s.n, JOURNAL_TEXT);
    if (t->n)
        memcpy(t->p, s.p, t->n);
}

struct str journal_str(const struct journal_text *t)
{
    return str_of(t->p, size_min(t->n, JOURNAL_TEXT));
}

bool journal_put(struct journal *j, unsigned ring, const struct journal_record *r)
{
    if (ring >= JOURNAL_RINGS) {
        atomic_fetch_add_explicit(&j->lost, 1, memory_order_relaxed);
        return false;
    }
    struct ring *q = &j->rings[ring];
    uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&q->tail, memory_order_acquire) >= JOURNAL_RECORDS) {
        atomic_fetch_add_explicit(&q->lost, 1, memory_order_relaxed);
        return false;
    }
    q->records[head % JOURNAL_RECORDS] = *r;
    atomic_store_explicit(&q->head, head + 1, memory_order_release);
    return true;
}

uint64_t journal_tail(const struct journal *j, unsigned ring)
{
    return atomic_load_explicit(&j->rings[ring].tail, memory_order_acquire);
}

uint64_t journal_head(const struct journal *j, unsigned ring)
{
    uint64_t head = atomic_load_explicit(&j->rings[ring].head, memory_order_acquire);
    uint64_t tail = journal_tail(j, ring);
    return head - tail <= JOURNAL_RECORDS ? head : tail;
}

const struct journal_record *journal_at(const struct journal *j, unsigned ring, uint64_t position)
{
    return &j->rings[ring].records[position % JOURNAL_RECORDS];
}

void journal_release(struct journal *j, unsigned ring, uint64_t tail)
{
    atomic_store_explicit(&j->rings[ring].tail, tail, memory_order_release);
}

void journal_say(struct journal *j, enum journal_state state)
{
    atomic_store_explicit(&j->state, (int)state, memory_order_relaxed);
}

enum journal_state journal_state(const struct journal *j)
{
    return (enum journal_state)atomic_load_explicit(&j->state, memory_order_relaxed);
}

uint64_t journal_waiting(const struct journal *j)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < JOURNAL_RINGS; i++)
        n += journal_head(j, i) - journal_tail(j, i);
    return n;
}

uint64_t journal_lost(const struct journal *j)
{
    uint64_t n = atomic_load_explicit(&j->lost, memory_order_relaxed);
    for (unsigned i = 0; i < JOURNAL_RINGS; i++)
        n += atomic_load_explicit(&j->rings[i].lost, memory_order_relaxed);
    return n;
}
