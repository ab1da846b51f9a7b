/* admit_int.h - one admission, between what it asks for (admit_items.c) and how that is decided (admit.c). */
#ifndef CCPROXY_PROXY_ADMIT_INT_H
#define CCPROXY_PROXY_ADMIT_INT_H

#include "proxy/admit.h"
#include "proxy/proxy_int.h"

enum { ADMIT_MICRO = 1000 * 1000, ADMIT_MINUTE_US = 60 * ADMIT_MICRO };

enum which {
    RPM,
    TPM,
    OPEN,
    DAY_TOKENS,
    DAY_USD,
    MONTH_USD,
    NODE_RPM,
    NODE_TPM,
    NODE_OPEN,
    MODEL_RPM,
    MODEL_TPM,
    MODEL_OPEN,
    OUTPUT,
    PROMPT,
    WAITING,
    BODIES
};

/* What an item counts, for settling. */
enum unit { REQUESTS, TOKENS, MICRO_USD };

/* What came of a try. */
enum verdict { FITS, NO_PLACE, NO_PLACE_AT_ALL, REFUSED, AWAY, ASKED };

/* Of the items, the node's stand first; last, those that nobody counts while Redis is away. */
struct admission {
    struct exchange *exchange;
    uint64_t guess, expected; /* of the prompt's tokens: before it was corrected, and after */
    uint64_t reserved;        /* tokens of prompt and answer */
    struct limit_item items[LIMIT_ITEMS_MAX];
    struct limit_result results[LIMIT_ITEMS_MAX];
    uint8_t which[LIMIT_ITEMS_MAX];
    size_t n, n_node, n_local;
    size_t n_taken;        /* of them, here; the first ones */
    struct remote *remote; /* the same limits in Redis; NULL: there is none */
    bool in_redis;         /* they have been taken there, or may have been */
    bool lowered;          /* the answer's bound, to what is left */
    unsigned lowerings;
    struct waiter waiter;
    enum verdict waits_for;
    struct limit_item waiting; /* who waits, for all workers to see; key 0: nobody */
};

struct remote {
    struct redis_limit_item items[REDIS_LIMIT_ITEMS_MAX];
    size_t n; /* one more than the client's own, when none of those is a lease */
    struct redis_limit_ticket ticket;
    struct redis_limit_call *call;
};

struct admit_row {
    enum limit_kind kind;
    enum unit unit;
    bool node; /* of all clients together */
    enum fail why;
    const char *key;  /* in Redis */
    const char *name; /* for the client: "on requests per min (RPM)" */
};

extern const struct admit_row admit_rows[]; /* by enum which, up to MODEL_OPEN */

/* Whether a limit is of one model: its name is a part of the key, and of what the client is told. */
bool admit_is_of_model(enum which which);
/* What holds of a kind of limit while Redis is away. */
enum fallback admit_fallback(const struct exchange *x, enum limit_kind kind);
/* Fills the items, by what prompt and answer are expected to take. */
void admit_collect(struct exchange *x);
/* The client's RPM or TPM, of which nothing is taken; limit 0: there is none. */
struct limit_item admit_look(const struct exchange *x, enum which which);
/* What is reserved of each unit. */
uint64_t admit_cost(const struct exchange *x, enum unit unit);
/* What each unit came to. Who was not answered pays for no tokens; whose answer broke off, for what is
 * known of it. */
uint64_t admit_actual(const struct exchange *x, enum unit unit);
/* What the answer says of the guesses. */
void admit_learn(struct exchange *x, const struct admission *a);

#endif
