/* journal.c - see journal.h. Lengths are cut when they are read, since workers answer strangers. */
#include "store/journal.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "base/rand.h"

struct journal {
    int64_t server;
    _Atomic int state;
    struct rings *rings; /* mapped at the same place in all processes */
};

struct journal *journal_new(void)
{
    struct journal *j = mem_share(sizeof(*j));
    j->server = (int64_t)(rand_u64() >> 1);
    j->rings = rings_new(JOURNAL_RECORDS, sizeof(struct journal_record));
    return j;
}

void journal_free(struct journal *j)
{
    rings_free(j->rings);
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
    return rings_put(j->rings, ring, r);
}

uint64_t journal_tail(const struct journal *j, unsigned ring)
{
    return rings_tail(j->rings, ring);
}

uint64_t journal_head(const struct journal *j, unsigned ring)
{
    return rings_head(j->rings, ring);
}

const struct journal_record *journal_at(const struct journal *j, unsigned ring, uint64_t position)
{
    return rings_at(j->rings, ring, position);
}

void journal_release(struct journal *j, unsigned ring, uint64_t tail)
{
    rings_release(j->rings, ring, tail);
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
    return rings_waiting(j->rings);
}

uint64_t journal_lost(const struct journal *j)
{
    return rings_lost(j->rings);
}
