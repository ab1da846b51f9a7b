/* limit.c - see limit.h.
 *
 *   values   open addressing by key: { key, value, given }; a key once entered stays
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
 *
 * What was reserved in vain is given back as far as it has not been paid by time: the reservations stand
 * in line before the TAT, the first is paid first, and what is paid is gone. Else a client could let a
 * reservation lapse, use the whole burst, and get the lapsed part on top. So each knows where in the line
 * it ends, and `given` counts what others gave back since, which moved it up:
 *
 *   now |--- paid next ---|--- this one, of which it used a part ---|--- behind it ---| TAT
 *
 * Those behind that give back are counted too, for the place of one is not known to another; then less
 * is given back than could be, never more.
 *
 * Several items are judged first and taken then. Each is taken by compare-and-exchange; where another came
 * between and nothing is left, what was taken is undone and all are judged again. So a refusal was one at
 * the moment at which it was judged.
 */
#include "policy/limit.h"

#include <stdatomic.h>

#include "base/hash.h"
#include "base/mem.h"

enum { PROBES = 16, LEASES = 8192, WINDOW_BITS = 24, LEARN_PARTS = 256 };

#define USED_MAX ((UINT64_C(1) << (64 - WINDOW_BITS)) - 1)

struct value {
    _Atomic uint64_t key, value;
    _Atomic uint64_t given; /* rate: ticks that were given back with others behind them */
};

struct lease {
    _Atomic uint64_t key, total;
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

uint64_t limit_part(uint64_t id, struct str name)
{
    for (size_t at = 0; at < name.n; at += sizeof(uint64_t)) {
        uint64_t piece = 0;
        memcpy(&piece, name.p + at, size_min(name.n - at, sizeof(piece)));
        id = limit_key(id ^ piece, (unsigned)(name.n - at));
    }
    return id;
}

/* Whether this place is the key's, or free and now the key's. */
static bool is_place(_Atomic uint64_t *place, uint64_t key)
{
    uint64_t there = atomic_load(place);
    if (there == 0 && atomic_compare_exchange_strong(place, &there, key))
        return true;
    return there == key;
}

static struct value *value_at(struct limits *l, uint64_t key)
{
    for (size_t i = 0; i < PROBES; i++) {
        struct value *v = &l->values[(key + i) % l->n];
        if (is_place(&v->key, key))
            return v;
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

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
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

static uint64_t us_of(const struct limit_item *it, uint64_t burst, uint64_t ticks)
{
    return (uint64_t)(((__uint128_t)ticks * it->period_us + burst - 1) / burst);
}

/* The value after it was taken. */
static uint64_t judge_rate(const struct limit_item *it, const struct limit_clock *c, uint64_t tat,
                           struct limit_result *r)
{
    uint64_t now = ticks_of(it, c->now_us), burst = burst_of(it), step = step_of(it, it->cost);
    uint64_t ahead = later(tat, now) - now, needed = smaller(step, burst);
    r->fits = ahead + needed <= burst;
    r->retry_us = r->fits ? 0 : us_of(it, burst, ahead + needed - burst);
    if (r->fits)
        ahead += step;
    r->remaining = ahead >= burst ? 0 : (burst - ahead) / ticks_each(it);
    r->reset_us = us_of(it, burst, ahead);
    return now + ahead;
}

static void give_back(struct value *v, const struct limit_item *it, uint64_t now, uint64_t ticks)
{
    uint64_t moved = atomic_load(&v->given) - it->given, last = it->end;
    int64_t unpaid = (int64_t)(it->end - moved - now);
    uint64_t back = unpaid > 0 ? smaller(ticks, (uint64_t)unpaid) : 0;
    if (atomic_compare_exchange_strong(&v->value, &last, it->end - back))
        return; /* nobody stands behind it */
    /* in this order: who comes between counts himself moved, though he was not */
    atomic_fetch_sub(&v->value, back);
    atomic_fetch_add(&v->given, back);
}

static void move_rate(struct limits *l, const struct limit_item *it, uint64_t to,
                      const struct limit_clock *c)
{
    struct value *v = value_at(l, it->key);
    uint64_t reserved = step_of(it, it->cost), used = step_of(it, to);
    if (v && used > reserved)
        atomic_fetch_add(&v->value, used - reserved);
    else if (v && used < reserved)
        give_back(v, it, ticks_of(it, c->now_us), reserved - used);
}

/* --- budgets --- */

/* Months since the year 0, of days since 1970 (Howard Hinnant's days_from_civil, backwards: years begin
 * in March, of 400 years each has as many days). */
static uint64_t month_of(uint64_t days)
{
    uint64_t day = (days + 719468) % 146097, era = (days + 719468) / 146097;
    uint64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    uint64_t month = (5 * (day - (365 * year + year / 4 - year / 100)) + 2) / 153;
    return (era * 400 + year) * 12 + month + 2;
}

static uint64_t window_of(const struct limit_item *it, uint64_t wall_us)
{
    uint64_t days = wall_us / 1000000 / 86400;
    return it->kind == LIMIT_DAY ? days : month_of(days);
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
    return window << (64 - WINDOW_BITS) | smaller(used, USED_MAX);
}

/* Fits while anything is left: the last request may overdraw it. */
static uint64_t judge_budget(const struct limit_item *it, const struct limit_clock *c,
                             uint64_t value, struct limit_result *r)
{
    uint64_t window = window_of(it, c->wall_us), used = used_in(value, window);
    r->fits = used < it->limit;
    r->retry_us = r->reset_us = r->fits ? 0 : window_left_us(it, c->wall_us);
    if (r->fits)
        used = smaller(used + smaller(it->cost, USED_MAX), USED_MAX);
    r->remaining = used < it->limit ? it->limit - used : 0;
    return packed(window, used);
}

static void move_budget(struct limits *l, const struct limit_item *it, uint64_t to,
                        const struct limit_clock *c)
{
    struct value *v = value_at(l, it->key);
    uint64_t window = window_of(it, c->wall_us), old = v ? atomic_load(&v->value) : 0, used;
    do {
        if (!v)
            return;
        used = used_in(old, window) + to; /* what was taken in the last window is gone */
        used = used > it->cost ? used - it->cost : 0;
    } while (!atomic_compare_exchange_weak(&v->value, &old, packed(window, used)));
}

/* --- leases --- */

static _Atomic uint32_t *held_of(struct limits *l, const struct lease *e, unsigned owner)
{
    return &l->holders[e - l->leases].held[owner];
}

static uint64_t judge_lease(const struct limit_item *it, uint64_t total, struct limit_result *r)
{
    int64_t limit = (int64_t)it->limit, held = (int64_t)total, cost = (int64_t)it->cost;
    r->fits = held <= limit - cost;
    if (r->fits)
        held += cost;
    r->remaining = (uint64_t)(held < limit ? limit - held : 0);
    r->reset_us = r->retry_us = 0;
    return (uint64_t)held;
}

static void end_lease(struct limits *l, const struct limit_item *it, unsigned owner)
{
    struct lease *e = lease_at(l, it->key);
    if (!e)
        return;
    atomic_fetch_sub(held_of(l, e, owner), (uint32_t)it->cost);
    atomic_fetch_sub(&e->total, it->cost);
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
            return (int64_t)atomic_load(&e->total);
    }
    return 0;
}

int64_t limits_held(const struct limits *l)
{
    uint64_t n = 0;
    for (size_t i = 0; i < LEASES; i++)
        n += atomic_load(&l->leases[i].total);
    return (int64_t)n;
}

/* --- requests --- */

/* Where an item counts, as it was judged. */
struct spot {
    struct value *value; /* one of both; neither: the table is full */
    struct lease *lease;
    uint64_t seen, next, given;
};

static _Atomic uint64_t *counter(const struct spot *at)
{
    return at->value ? &at->value->value : at->lease ? &at->lease->total : NULL;
}

static struct spot find(struct limits *l, const struct limit_item *it)
{
    struct spot at = {.seen = 0};
    if (it->kind == LIMIT_LEASE)
        at.lease = lease_at(l, it->key);
    else
        at.value = value_at(l, it->key);
    if (at.value) /* before the counter */
        at.given = atomic_load(&at.value->given);
    if (counter(&at))
        at.seen = atomic_load(counter(&at));
    return at;
}

static bool judge(const struct limit_item *it, const struct limit_clock *c, struct spot *at,
                  struct limit_result *r)
{
    switch (it->kind) {
    case LIMIT_RATE: at->next = judge_rate(it, c, at->seen, r); return r->fits;
    case LIMIT_DAY:
    case LIMIT_MONTH: at->next = judge_budget(it, c, at->seen, r); return r->fits;
    case LIMIT_LEASE: at->next = judge_lease(it, at->seen, r); return r->fits;
    }
    UNREACHABLE();
}

/* False: another came between, and now it does not fit. */
static bool take(struct limits *l, struct limit_item *it, const struct limit_clock *c,
                 unsigned owner, struct spot *at, struct limit_result *r)
{
    _Atomic uint64_t *value = counter(at);
    while (value && !atomic_compare_exchange_strong(value, &at->seen, at->next))
        if (!judge(it, c, at, r))
            return false;
    it->end = at->next;
    it->given = at->given;
    if (at->lease)
        atomic_fetch_add(held_of(l, at->lease, owner), (uint32_t)it->cost);
    return true;
}

static void move(struct limits *l, const struct limit_item *it, uint64_t to,
                 const struct limit_clock *c, unsigned owner)
{
    if (it->kind == LIMIT_LEASE)
        end_lease(l, it, owner);
    else if (it->kind == LIMIT_RATE)
        move_rate(l, it, to, c);
    else
        move_budget(l, it, to, c);
}

/* Where those stand that fit: by taking nothing of them. */
static void look(const struct limit_item *items, size_t n, const struct limit_clock *c,
                 struct spot *spots, struct limit_result *results)
{
    for (size_t i = 0; i < n; i++) {
        struct limit_item nothing = items[i];
        nothing.cost = 0;
        if (results[i].fits)
            (void)judge(&nothing, c, &spots[i], &results[i]);
    }
}

bool limits_take(struct limits *l, struct limit_item *items, size_t n, const struct limit_clock *c,
                 unsigned owner, struct limit_result *results)
{
    ASSERT(n <= LIMIT_ITEMS_MAX && owner < LIMIT_OWNERS);
    struct spot spots[LIMIT_ITEMS_MAX];
    for (;;) {
        size_t fitting = 0, taken = 0;
        for (size_t i = 0; i < n; i++) {
            spots[i] = find(l, &items[i]);
            fitting += judge(&items[i], c, &spots[i], &results[i]);
        }
        if (fitting < n) {
            look(items, n, c, spots, results);
            return false;
        }
        while (taken < n && take(l, &items[taken], c, owner, &spots[taken], &results[taken]))
            taken++;
        if (taken == n)
            return true;
        while (taken-- > 0)
            move(l, &items[taken], 0, c, owner);
    }
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
    struct value *v = value_at(l, key);
    uint64_t parts = v ? atomic_load(&v->value) : 0;
    return parts ? parts / LEARN_PARTS : prior;
}

/* Up by nine steps when more was seen, down by one when less: at rest, nine of ten are below. A step
 * is a sixty-fourth of where it stands. */
void limits_learn(struct limits *l, uint64_t key, uint64_t prior, uint64_t seen)
{
    struct value *v = value_at(l, key);
    if (!v)
        return;
    uint64_t at = atomic_load(&v->value);
    at = at ? at : prior * LEARN_PARTS;
    uint64_t step = at / 64 + 1;
    at = seen * LEARN_PARTS > at ? at + 9 * step : at - step;
    atomic_store(&v->value, at < LEARN_PARTS ? LEARN_PARTS : at); /* two at once: one is as good */
}

/* Moves a sixteenth of the way. */
void limits_learn_mean(struct limits *l, uint64_t key, uint64_t prior, uint64_t seen)
{
    struct value *v = value_at(l, key);
    if (!v)
        return;
    uint64_t at = atomic_load(&v->value);
    at = at ? at : prior * LEARN_PARTS;
    at = at - at / 16 + seen * LEARN_PARTS / 16;
    atomic_store(&v->value, at < LEARN_PARTS ? LEARN_PARTS : at);
}
