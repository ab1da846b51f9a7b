/* penalty.c - see penalty.h.
 *
 *   place = tag of the address (24 bits) | when it will owe nothing (40 bits of milliseconds)
 *
 * An address may stand in any of WAYS places, found by its hash under a secret of the table; two that share
 * places and tag share their penalty, one pair in two million.
 */
#include "policy/penalty.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "base/rand.h"

enum { WAYS = 8, TIME_BITS = 40, MINUTE_MS = 60000 };

#define TIME_MAX ((UINT64_C(1) << TIME_BITS) - 1)

struct penalties {
    size_t n; /* a multiple of WAYS */
    uint64_t salt;
    _Atomic uint64_t places[];
};

struct penalties *penalties_new(size_t n)
{
    n = (n + WAYS - 1) / WAYS * WAYS;
    struct penalties *p = mem_share(sizeof(*p) + n * sizeof(p->places[0]));
    p->n = n;
    p->salt = rand_u64();
    return p;
}

void penalties_free(struct penalties *p)
{
    if (p)
        mem_unshare(p, sizeof(*p) + p->n * sizeof(p->places[0]));
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static uint64_t hash_of(const struct penalties *p, const struct address *a)
{
    uint64_t words[2];
    struct address n = address_neighbourhood(a);
    memcpy(words, n.bytes, sizeof(words));
    return mix(mix(words[0] ^ p->salt) + words[1]);
}

static uint64_t time_in(uint64_t place)
{
    return place & TIME_MAX;
}

static size_t first_place(const struct penalties *p, uint64_t hash)
{
    return hash % (p->n / WAYS) * WAYS;
}

/* Zero is a free place, so no tag is zero. */
static uint64_t tag_of(uint64_t hash)
{
    return hash >> TIME_BITS ? hash >> TIME_BITS : 1;
}

static uint64_t owed_ms(uint64_t free_at_ms, uint64_t now_ms)
{
    return free_at_ms > now_ms ? free_at_ms - now_ms : 0;
}

/* At half of what a minute allows it becomes slow; one more than all does not fit. */
static enum penalty judge(uint64_t owed, uint64_t per_minute, uint64_t *ret_us)
{
    uint64_t each = MINUTE_MS / per_minute ? MINUTE_MS / per_minute : 1;
    *ret_us = owed + each > MINUTE_MS ? (owed + each - MINUTE_MS) * 1000 : 0;
    if (*ret_us)
        return PENALTY_REFUSE;
    return owed >= MINUTE_MS / 2 ? PENALTY_SLOW : PENALTY_NONE;
}

enum penalty penalty_of(const struct penalties *p, const struct address *a, uint64_t per_minute,
                        uint64_t now_us, uint64_t *ret_us)
{
    uint64_t owed = 0, hash = hash_of(p, a), now = now_us / 1000;
    size_t first = first_place(p, hash);
    *ret_us = 0;
    if (!per_minute)
        return PENALTY_NONE;
    for (size_t i = 0; i < WAYS; i++) {
        uint64_t place = atomic_load_explicit(&p->places[first + i], memory_order_relaxed);
        if (place >> TIME_BITS == tag_of(hash))
            owed = owed_ms(time_in(place), now);
    }
    return judge(owed, per_minute, ret_us);
}

/* Its own place, else the one whose address owes least, which may be nothing. */
static _Atomic uint64_t *place_for(struct penalties *p, uint64_t hash)
{
    _Atomic uint64_t *best = &p->places[first_place(p, hash)], *first = best;
    for (size_t i = 0; i < WAYS; i++) {
        uint64_t place = atomic_load_explicit(&first[i], memory_order_relaxed);
        if (place >> TIME_BITS == tag_of(hash))
            return &first[i];
        if (time_in(place) < time_in(atomic_load_explicit(best, memory_order_relaxed)))
            best = &first[i];
    }
    return best;
}

enum penalty penalty_add(struct penalties *p, const struct address *a, uint64_t per_minute,
                         uint64_t now_us, uint64_t *ret_us)
{
    uint64_t hash = hash_of(p, a), now = now_us / 1000, owed, next;
    *ret_us = 0;
    if (!per_minute)
        return PENALTY_NONE;
    _Atomic uint64_t *place = place_for(p, hash);
    uint64_t there = atomic_load_explicit(place, memory_order_relaxed);
    enum penalty penalty;
    do {
        bool own = there >> TIME_BITS == tag_of(hash);
        owed = own ? owed_ms(time_in(there), now) : 0;
        penalty = judge(owed, per_minute, ret_us);
        if (penalty == PENALTY_REFUSE)
            return penalty; /* it owes no more for what it is not given */
        next = now + owed + MINUTE_MS / per_minute;
    } while (!atomic_compare_exchange_weak(place, &there,
                                           tag_of(hash) << TIME_BITS | (next & TIME_MAX)));
    return penalty;
}
