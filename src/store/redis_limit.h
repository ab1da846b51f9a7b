/* redis_limit.h - limits that hold across nodes, because Redis decides: one round trip admits a
 * request against all of its limits, or against none.
 *
 *   admit --EVALSHA--> Redis: {admitted, remaining, reset, retry}     NOSCRIPT: once more, as EVAL
 *     |
 *   settle (what it really took; its leases end) --EVALSHA--> Redis   kept and sent again until an
 *                                                                     answer comes or it is too old
 *
 * Keys are the prefix, which carries the {tag} that keeps them on one node of a Redis Cluster, and
 * the item's own. A request whose admission was not answered in time may have been admitted all the
 * same; so whoever goes on without Redis settles with the ticket at the end as if nothing had
 * happened. Settling does nothing where no lease stands under the ticket.
 *
 * Where scripts are refused (ACL -@scripting, some managed services) MULTI does what it can, and
 * answers say `approximate`:
 *   - cells are windows that start with their first request: up to twice the limit may pass around
 *     a window's end, and the burst is the limit;
 *   - a refused request counts until it has been taken out again, and what is given back after its
 *     window has ended is the next one's;
 *   - leases and calendar windows go by the nodes' clocks;
 *   - settling happens at most once, and is not repeated after a lost connection.
 * Scripts are tried again on each new connection.
 */
#ifndef CCPROXY_STORE_REDIS_LIMIT_H
#define CCPROXY_STORE_REDIS_LIMIT_H

#include "store/redis.h"

enum {
    REDIS_LIMIT_ITEMS_MAX = 10,
    REDIS_LIMIT_COUNT_MAX = 150 * 1000 * 1000, /* a cell's limit, burst and cost; more is cut */
    REDIS_LIMIT_KEY_MAX = 256,                 /* prefix and key; a longer key goes by its hash */
};

#define REDIS_LIMIT_PREFIX     "{ccproxy}:"
#define REDIS_LIMIT_BUDGET_MAX 9000000000000000ull

enum redis_limit_kind {
    REDIS_LIMIT_CELL,   /* GCRA: limit per period, burst at once; more, when nothing is owed */
    REDIS_LIMIT_BUDGET, /* limit per calendar window; fits while anything is left of it */
    REDIS_LIMIT_LEASE,  /* limit at a time, 0 for any number */
};

/* At least one item is a lease, without which settling could not be repeated. */
struct redis_limit_item {
    enum redis_limit_kind kind;
    struct str key;
    uint64_t limit; /* at least 1; 0 only for a lease */
    uint64_t burst; /* cell */
    uint64_t
        period_us;    /* cell; budget: whole seconds, 0 for a month; lease: until it ends by itself,
                           longer than any request takes */
    int64_t offset_s; /* budget: its windows start so much after UTC's (a Monday: 4 days) */
    uint64_t cost;    /* cell, budget; 0 only looks */
};

struct redis_limit_ticket {
    char id[16];
    uint64_t at_us; /* Redis' time of admission; 0: unknown */
    bool approximate;

    struct {
        uint64_t owed, given;
    } line[REDIS_LIMIT_ITEMS_MAX]; /* where each cell's units stand in line, see policy/limit.c */
};

struct redis_limit_result {
    bool fits;
    uint64_t remaining; /* tokens of a cell's burst; of a budget; free leases */
    uint64_t reset_us;  /* until all of it is there again; 0 for a lease */
    uint64_t retry_us;  /* when it does not fit: until it would; 0 for a lease */
};

struct redis_limit_answer {
    bool admitted;
    struct redis_limit_ticket ticket; /* the one to settle with */
    size_t n;
    struct redis_limit_result items[REDIS_LIMIT_ITEMS_MAX]; /* in the order of the request */
};

struct redis_limit_stats {
    uint64_t admitted, refused, unanswered; /* admissions */
    uint64_t settled, resent, dropped;      /* settlings */
    uint64_t scripts_sent; /* EVAL: the first on a connection, and after NOSCRIPT */
    size_t waiting;        /* settlings that could not be sent yet */
    bool approximate;
};

struct redis_limit;
struct redis_limit_call;

struct redis_limit *redis_limit_new(struct loop *l, struct redis *r, struct str prefix);
void redis_limit_free(struct redis_limit *l); /* before the redis; not from inside fn */

/* A new, random id. */
void redis_limit_ticket(struct redis_limit_ticket *ret);

/* a is NULL when Redis did not answer: decide without it. */
typedef void redis_limit_fn(void *ctx, const struct redis_limit_answer *a);

/* Never calls before it returns. NULL: Redis is not to be had now. Items are copied. */
struct redis_limit_call *redis_limit_admit(struct redis_limit *l,
                                           const struct redis_limit_ticket *ticket,
                                           const struct redis_limit_item *items, size_t n,
                                           redis_limit_fn *fn, void *ctx);
/* fn will not be called; what may have been taken is given back. */
void redis_limit_cancel(struct redis_limit_call *c);

/* Ends the leases, and corrects cells and budgets by actual[i] - items[i].cost. Never waits. */
void redis_limit_settle(struct redis_limit *l, const struct redis_limit_ticket *ticket,
                        const struct redis_limit_item *items, size_t n, const uint64_t *actual);

struct redis_limit_stats redis_limit_stats(const struct redis_limit *l);

#endif
