/* limit.c - see limit.h.
 *
 *   values   open addressing by key: { key, value }; a key once entered stays
 *   leases   { key, total }, { held[owner] }: the total decides, held tells what a dead worker had
 *
 * Arithmetic of a rate, in ticks of which a whole number makes a unit, so that nothing is rounded but
 * the time:
 *
 *   tick   period / limit / k, about a nanosecond       burst = limit * k ticks, one period
 *   fits   max(TAT, now) + min(cost * k, burst) - now <= burst
 *   then   TAT = max(TAT, now) + cost * k
 *
 * A request that costs more than the burst fits when nothing else is owed, and leaves a debt: else it
 * never could. Between any two moments t apart at most burst + t / period * limit units are admitted,
 * and what settling adds to that is owed first. A limit that changes at a reload moves what is owed by
 * some microseconds.
 */
#include "policy/limit.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

enum { PROBES = 16, LEASES = 8192, WINDOW_BITS = 24, LEARN_PARTS = 256 };

#define USED_MAX ((UINT64_C(1) << (64 - WINDOW_BITS)) - 1)

struct value {
    _Atomic uint64_t key, value;
};

struct lease {
    _Atomic uint64_t key;
    _Atomic int64_t total;
};

struct holders { /* of the lease at the same place; apart, as few are ever touched */
    _Atomic uint32_t held[LIMIT_OWNERS];
};

struct limits { /* private; what it points to is shared */
    struct value *values;
    struct lease *leases;
    struct holders *holders;
    size_t n;
};

struct limits *limits_new(size_t n)
{
    struct limits *l = mem_zalloc(sizeof(*l));
    l->n = size_max(n, 64);
    l->values = mem_share(l->n * sizeof(*l->values));
    l->leases = mem_share(LEASES * sizeof(*l->leases));
    l->holders = mem_share(LEASES * sizeof(*l->holders));
    return l;
}

void limits_free(struct limits *l)
{
    if (!l)
        return;
    mem_unshare(l->values, l->n * sizeof(*l->values));
    mem_unshare(l->leases, LEASES * sizeof(*l->leases));
    mem_unshare(l->holders, LEASES * sizeof(*l->holders));
    mem_free(l);
}

uint64_t limit_id(struct str name)
{
    struct sha256 h = hash_sha256(name);
    uint64_t id;
    memcpy(&id, h.bytes, sizeof(id));
    return id;
}

/* Spread by the finisher of SplitMix64, which maps no two inputs to one. */
uint64_t limit_key(uint64_t id, unsigned which)
{
    uint64_t x = id + (uint64_t)which * 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    x ^= x >> 31;
    return x ? x : 1; /* 0 is a free place */
}

/* Whether this place is the key's, or free and now the key's. */
static bool is_place(_Atomic uint64_t *place, uint64_t key)
{
    uint64_t there = atomic_load(place);
    if (there == 0 && atomic_compare_exchange_strong(place, &there, key))
        return true;
    return there == key;
}

static _Atomic uint64_t *value_at(struct limits *l, uint64_t key)
{
    for (size_t i = 0; i < PROBES; i++) {
        struct value *v = &l->values[(key + i) % l->n];
        if (is_place(&v->key, key))
            return &v->value;
    }
    return NULL;
}

static struct lease *lease_at(struct limits *l, uint64_t key)
{
    for (size_t i = 0; i < PROBES; i++) {
        struct lease *e = &l->leases[(key + i) % LEASES];
        if (is_place(&e->key, key))
            return e;
    }
    return NULL;
}

/* --- rates --- */

/* Ticks a unit costs: as many as make a tick about a nanosecond. */
static uint64_t ticks_each(const struct limit_item *it)
{
    uint64_t n = it->period_us * 1000 / it->limit;
    return n ? n : 1;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Ticks of a whole period's units; it divides, so it is never 0. */
static uint64_t burst_of(const struct limit_item *it)
{
    return later(it->limit * ticks_each(it), 1);
}

static uint64_t cut(__uint128_t n)
{
    return n > INT64_MAX / 2 ? INT64_MAX / 2 : (uint64_t)n;
}

static uint64_t step_of(const struct limit_item *it, uint64_t units)
{
    return cut((__uint128_t)units * ticks_each(it));
}

static uint64_t ticks_of(const struct limit_item *it, uint64_t us)
{
    return cut((__uint128_t)us * burst_of(it) / it->period_us);
}

static uint64_t us_of(const struct limit_item *it, uint64_t ticks)
{
    uint64_t burst = burst_of(it);
    return (uint64_t)(((__uint128_t)ticks * it->period_us + burst - 1) / burst);
}

static void judge_rate(const struct limit_item *it, uint64_t tat, uint64_t now, uint64_t needed,
                       struct limit_result *r)
{
    uint64_t burst = burst_of(it), ahead = later(tat, now) - now;
    r->fits = ahead + needed <= burst;
    r->remaining = ahead >= burst ? 0 : (burst - ahead) / ticks_each(it);
    r->reset_us = us_of(it, ahead);
    r->retry_us = r->fits ? 0 : us_of(it, ahead + needed - burst);
}

static bool take_rate(struct limits *l, const struct limit_item *it, const struct limit_clock *c,
                      struct limit_result *r)
{
    _Atomic uint64_t *value = value_at(l, it->key);
    uint64_t now = ticks_of(it, c->now_us), burst = burst_of(it), step = step_of(it, it->cost);
    uint64_t needed = step < burst ? step : burst, tat = value ? atomic_load(value) : 0;
    for (;;) {
        judge_rate(it, tat, now, needed, r);
        if (!r->fits || !value)
            return r->fits;
        uint64_t next = later(tat, now) + step;
        if (atomic_compare_exchange_weak(value, &tat, next)) {
            struct limit_result after;
            judge_rate(it, next, now, 0, &after);
            r->remaining = after.remaining;
            r->reset_us = after.reset_us;
            return true;
        }
    }
}

static void move_rate(struct limits *l, const struct limit_item *it, uint64_t from, uint64_t to)
{
    _Atomic uint64_t *value = value_at(l, it->key);
    if (value && to >= from)
        atomic_fetch_add(value, step_of(it, to - from));
    else if (value)
        atomic_fetch_sub(value, step_of(it, from) - step_of(it, to));
}

/* --- budgets --- */

static uint64_t window_of(const struct limit_item *it, uint64_t wall_us)
{
    char text[CLOCK_TEXT]; /* "2026-11-23T..." */
    uint64_t year, month;
    if (it->kind == LIMIT_DAY)
        return wall_us / 1000000 / 86400;
    struct str date = clock_rfc3339(wall_us, text);
    bool ok =
        str_to_u64(str_head(date, 4), &year) && str_to_u64(str_head(str_skip(date, 5), 2), &month);
    ASSERT(ok);
    return year * 12 + month;
}

/* Until the window's end. */
static uint64_t window_left_us(const struct limit_item *it, uint64_t wall_us)
{
    const uint64_t day_us = UINT64_C(86400) * 1000000;
    uint64_t window = window_of(it, wall_us), end = wall_us / day_us * day_us;
    while (window_of(it, end) == window)
        end += day_us;
    return end - wall_us;
}

static uint64_t used_in(uint64_t value, uint64_t window)
{
    return value >> (64 - WINDOW_BITS) == window ? value & USED_MAX : 0;
}

static uint64_t packed(uint64_t window, uint64_t used)
{
    return window << (64 - WINDOW_BITS) | (used < USED_MAX ? used : USED_MAX);
}

/* Fits while anything is left: the last request may overdraw it. */
static bool take_budget(struct limits *l, const struct limit_item *it, const struct limit_clock *c,
                        struct limit_result *r)
{
    _Atomic uint64_t *value = value_at(l, it->key);
    uint64_t window = window_of(it, c->wall_us), old = value ? atomic_load(value) : 0, used;
    do {
        used = used_in(old, window);
        r->fits = used < it->limit;
        r->remaining = used < it->limit ? it->limit - used : 0;
        r->retry_us = r->reset_us = r->fits ? 0 : window_left_us(it, c->wall_us);
        if (!r->fits || !value)
            return r->fits;
    } while (!atomic_compare_exchange_weak(value, &old, packed(window, used + it->cost)));
    r->remaining = r->remaining > it->cost ? r->remaining - it->cost : 0;
    return true;
}

static void move_budget(struct limits *l, const struct limit_item *it, uint64_t from, uint64_t to,
                        const struct limit_clock *c)
{
    _Atomic uint64_t *value = value_at(l, it->key);
    uint64_t window = window_of(it, c->wall_us), old = value ? atomic_load(value) : 0, used;
    do {
        if (!value)
            return;
        used = used_in(old, window);
        used =
            used + to > from ? used + to - from : 0; /* what was taken in the last window is gone */
    } while (!atomic_compare_exchange_weak(value, &old, packed(window, used)));
}

/* --- leases --- */

static _Atomic uint32_t *held_of(struct limits *l, const struct lease *e, unsigned owner)
{
    return &l->holders[e - l->leases].held[owner];
}

static bool take_lease(struct limits *l, const struct limit_item *it, unsigned owner,
                       struct limit_result *r)
{
    struct lease *e = lease_at(l, it->key);
    int64_t limit = (int64_t)it->limit, cost = (int64_t)it->cost;
    int64_t before = e ? atomic_load(&e->total) : 0;
    do {
        r->fits = before <= limit - cost;
        r->remaining = (uint64_t)(before < limit ? limit - before : 0);
        if (!r->fits || !e)
            return r->fits;
    } while (!atomic_compare_exchange_weak(&e->total, &before, before + cost));
    atomic_fetch_add(held_of(l, e, owner), (uint32_t)cost);
    r->remaining -= it->cost;
    return true;
}

static void end_lease(struct limits *l, const struct limit_item *it, unsigned owner)
{
    struct lease *e = lease_at(l, it->key);
    if (!e)
        return;
    atomic_fetch_sub(held_of(l, e, owner), (uint32_t)it->cost);
    atomic_fetch_sub(&e->total, (int64_t)it->cost);
}

void limits_bury(struct limits *l, unsigned owner)
{
    for (size_t i = 0; i < LEASES; i++) {
        struct lease *e = &l->leases[i];
        uint32_t held = atomic_load(&e->key) ? atomic_exchange(held_of(l, e, owner), 0) : 0;
        if (held)
            atomic_fetch_sub(&e->total, held);
    }
}

int64_t limits_held_by(const struct limits *l, uint64_t key)
{
    for (size_t i = 0; i < PROBES; i++) {
        const struct lease *e = &l->leases[(key + i) % LEASES];
        if (atomic_load(&e->key) == key)
            return atomic_load(&e->total);
    }
    return 0;
}

int64_t limits_held(const struct limits *l)
{
    int64_t n = 0;
    for (size_t i = 0; i < LEASES; i++)
        n += atomic_load(&l->leases[i].total);
    return n;
}

/* --- requests --- */

static bool take(struct limits *l, const struct limit_item *it, const struct limit_clock *c,
                 unsigned owner, struct limit_result *r)
{
    *r = (struct limit_result){.fits = true};
    switch (it->kind) {
    case LIMIT_RATE: return take_rate(l, it, c, r);
    case LIMIT_DAY:
    case LIMIT_MONTH: return take_budget(l, it, c, r);
    case LIMIT_LEASE: return take_lease(l, it, owner, r);
    }
    UNREACHABLE();
}

static void move(struct limits *l, const struct limit_item *it, uint64_t to,
                 const struct limit_clock *c, unsigned owner)
{
    if (it->kind == LIMIT_LEASE)
        end_lease(l, it, owner);
    else if (it->kind == LIMIT_RATE)
        move_rate(l, it, it->cost, to);
    else
        move_budget(l, it, it->cost, to, c);
}

/* Where it stands: by taking nothing of it. */
static void look(struct limits *l, const struct limit_item *it, const struct limit_clock *c,
                 unsigned owner, struct limit_result *r)
{
    struct limit_item nothing = *it;
    nothing.cost = 0;
    (void)take(l, &nothing, c, owner, r);
    r->fits = true; /* the one that did not is another */
    r->retry_us = 0;
}

bool limits_take(struct limits *l, const struct limit_item *items, size_t n,
                 const struct limit_clock *c, unsigned owner, struct limit_result *results)
{
    ASSERT(n <= LIMIT_ITEMS_MAX && owner < LIMIT_OWNERS);
    size_t taken = 0;
    while (taken < n && take(l, &items[taken], c, owner, &results[taken]))
        taken++;
    if (taken == n)
        return true;
    for (size_t i = taken; i-- > 0;)
        move(l, &items[i], 0, c, owner);
    for (size_t i = 0; i < n; i++)
        if (i != taken)
            look(l, &items[i], c, owner, &results[i]);
    return false;
}

void limits_settle(struct limits *l, const struct limit_item *items, size_t n,
                   const uint64_t *actual, const struct limit_clock *c, unsigned owner)
{
    for (size_t i = 0; i < n; i++)
        move(l, &items[i], actual[i], c, owner);
}

/* --- what is learnt --- */

uint64_t limits_learnt(struct limits *l, uint64_t key, uint64_t prior)
{
    _Atomic uint64_t *value = value_at(l, key);
    uint64_t parts = value ? atomic_load(value) : 0;
    return parts ? parts / LEARN_PARTS : prior;
}

/* Up by nine steps when more was seen, down by one when less: at rest, nine of ten are below. A step
 * is a sixty-fourth of where it stands. */
void limits_learn(struct limits *l, uint64_t key, uint64_t prior, uint64_t seen)
{
    _Atomic uint64_t *value = value_at(l, key);
    if (!value)
        return;
    uint64_t at = atomic_load(value);
    at = at ? at : prior * LEARN_PARTS;
    uint64_t step = at / 64 + 1;
    at = seen * LEARN_PARTS > at ? at + 9 * step : at - step;
    atomic_store(value, at < LEARN_PARTS ? LEARN_PARTS : at); /* two at once: one is as good */
}

/* Moves a sixteenth of the way. */
void limits_learn_mean(struct limits *l, uint64_t key, uint64_t prior, uint64_t seen)
{
    _Atomic uint64_t *value = value_at(l, key);
    if (!value)
        return;
    uint64_t at = atomic_load(value);
    at = at ? at : prior * LEARN_PARTS;
    at = at - at / 16 + seen * LEARN_PARTS / 16;
    atomic_store(value, at < LEARN_PARTS ? LEARN_PARTS : at);
}
