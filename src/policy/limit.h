/* limit.h - how much a client may use: rates, budgets and requests at a time, in memory that all
 * workers share.
 *
 *   rate     GCRA: a theoretical arrival time (TAT) that each unit moves on by period / limit; what
 *            would move it further than the burst ahead of now does not fit
 *   budget   what was used in the current day or month
 *   lease    how many are held at the moment, and by which worker: requests, or KiB
 *
 * One request is judged by several items at once: all are taken, or none. What was taken is a guess;
 * settling corrects it by what it really was, which may leave a debt that later requests wait for,
 * so that the average over time holds. No locks: every value is one 64-bit atomic (a rate has a second). A worker that dies
 * gives its leases back through limits_bury; what it had reserved counts as used.
 */
#ifndef CCPROXY_POLICY_LIMIT_H
#define CCPROXY_POLICY_LIMIT_H

#include "base/str.h"

enum limit_kind { LIMIT_RATE, LIMIT_DAY, LIMIT_MONTH, LIMIT_LEASE };

enum { LIMIT_ITEMS_MAX = 12, LIMIT_OWNERS = 512 };

struct limit_item {
    enum limit_kind kind;
    uint64_t key;        /* limit_key */
    uint64_t limit;      /* rate: units a period; budget: units a window; lease: at a time */
    uint64_t period_us;  /* rate */
    uint64_t cost;       /* units of this request; of a lease below 2^32 */
    uint64_t end, given; /* limits_take's, for limits_settle: where it stands in line */
};

/* What one item says after a request was admitted, or why not. */
struct limit_result {
    bool fits;
    uint64_t remaining; /* units */
    uint64_t reset_us;  /* until all of them are there again */
    uint64_t retry_us;  /* when it does not fit: until it would; of a lease unknown: 0 */
};

struct limit_clock {
    uint64_t now_us;  /* clock_us(): the same in all processes */
    uint64_t wall_us; /* for calendar windows, UTC */
};

struct limits;

/* Room for so many values, at least 64; before the first fork. */
struct limits *limits_new(size_t n);
void limits_free(struct limits *l); /* NULL is fine */

/* Which value an item means: of whom, by a hash of the name, and which one of theirs. A part of theirs
 * has a name that clients cannot choose: its hash is quick, and not cryptographic. */
uint64_t limit_id(struct str name);
uint64_t limit_part(uint64_t id, struct str name);
uint64_t limit_key(uint64_t id, unsigned which);

/* True: all are taken. False: none is; each result says whether its item fits, and where it stands. A
 * table that is full admits (nothing is held against a client for a lack of memory). owner <
 * LIMIT_OWNERS. */
bool limits_take(struct limits *l, struct limit_item *items, size_t n, const struct limit_clock *c,
                 unsigned owner, struct limit_result *results);
/* Once for each request that was admitted: actual[i] are the units it really took; leases end. */
void limits_settle(struct limits *l, const struct limit_item *items, size_t n,
                   const uint64_t *actual, const struct limit_clock *c, unsigned owner);
/* The leases of an owner that is no more end. */
void limits_bury(struct limits *l, unsigned owner);

/* Leases held at the moment, by all owners: under a key, or under all. */
int64_t limits_held_by(const struct limits *l, uint64_t key);
int64_t limits_held(const struct limits *l);

/* A number that is learnt: a high percentile (nine of ten are below) of what was seen, of which the
 * first guess is `prior`. */
uint64_t limits_learnt(struct limits *l, uint64_t key, uint64_t prior);
void limits_learn(struct limits *l, uint64_t key, uint64_t prior, uint64_t seen);

/* The same, but the mean of what was seen lately; read by limits_learnt. */
void limits_learn_mean(struct limits *l, uint64_t key, uint64_t prior, uint64_t seen);

#endif
