/* shared.h - what all workers of a server see alike, across reloads: memory mapped before the first
 * fork, written with atomics only.
 */
#ifndef CCPROXY_PROXY_SHARED_H
#define CCPROXY_PROXY_SHARED_H

#include "config/config.h"
#include "io/staples.h"
#include "io/tickets.h"
#include "llm/stash.h"
#include "obs/history.h"
#include "obs/metrics.h"
#include "obs/recent.h"
#include "policy/limit.h"
#include "policy/penalty.h"
#include "store/journal.h"
#include "store/spans.h"

enum { BUDGETS = 3 }; /* tokens and money of a day, money of a month */

/* A budget as it was when a request was last judged by it. */
struct budget_seen {
    _Atomic uint64_t used_ppm;
    _Atomic uint64_t at_us; /* since 1970 */
};

/* Mapped. */
struct board {
    _Atomic unsigned upstream_failures;               /* in a row, of all workers */
    struct budget_seen budgets[MOST_CLIENT][BUDGETS]; /* by the client's number among labels */
    _Atomic uint64_t keys_rest_until_us[MOST_KEY];    /* likewise; clock_us() */
};

enum { UPSTREAM_DOWN_AFTER = 5 }; /* failures in a row, until it answers again */

struct shared {
    struct board *board;
    struct stash *stash; /* NULL: switched off */
    struct limits *limits;
    struct metrics *metrics;
    struct penalties *penalties;
    struct journal *journal; /* for the usage database; ring n is owner n's */
    struct spans *spans;     /* for the collector; likewise */
    struct history *history;
    struct recent *recent;
    struct tickets *tickets;   /* of TLS sessions */
    struct shelf *staples;     /* what authorities say of our certificates */
    struct shelf *keysets;     /* of identity providers */
    bool owners[LIMIT_OWNERS]; /* the master's: numbers that living workers have */
};

/* Sizes are those of the configuration at the start; a reload does not change them. */
void shared_init(struct shared *s, const struct config *c);
void shared_done(struct shared *s);

/* Clients and models of a configuration that comes into force get their labels, its certificates
 * their places. For the master. */
void shared_adopt(struct shared *s, const struct config *c);

/* Keeps what the metrics are now, and changes the keys of tickets when it is time: every
 * HISTORY_EVERY_US, by the master. */
void shared_remember(struct shared *s);

/* Where the master counts. */
struct meter shared_meter(struct shared *s);

/* In the master: a number for a new worker, and what it held when it is gone is given back. */
unsigned shared_join(struct shared *s);
void shared_leave(struct shared *s, unsigned owner);

#endif
