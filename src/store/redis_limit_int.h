/* redis_limit_int.h - one admission or settling, shared by redis_limit.c, which owns and follows it,
 * and redis_limit_wire.c, which puts it into commands and reads what comes back. */
#ifndef CCPROXY_STORE_REDIS_LIMIT_INT_H
#define CCPROXY_STORE_REDIS_LIMIT_INT_H

#include "base/hash.h"
#include "base/list.h"
#include "store/redis_limit.h"

enum { SHA_TEXT = 2 * SHA1_SIZE };

enum step { BY_NAME, BY_TEXT, PLAIN };

struct redis_limit_call {
    struct list node;
    struct redis_limit *limits;
    struct redis_call *wire; /* while under way */
    struct arena arena;      /* whole keys */
    struct redis_limit_ticket ticket;
    struct redis_limit_item items[REDIS_LIMIT_ITEMS_MAX];
    int64_t change[REDIS_LIMIT_ITEMS_MAX]; /* settle: difference of cost */
    size_t n;
    enum step step;
    bool settles;
    unsigned errors;
    uint64_t began_us;
    redis_limit_fn *fn; /* NULL: canceled */
    void *ctx;
};

struct redis_limit {
    struct loop *loop;
    struct redis *redis;
    struct str prefix;
    struct list under_way, waiting;
    struct timer resend;
    char sha[2][SHA_TEXT];  /* admit, settle */
    uint64_t plain_connect; /* the connection, by number, that refuses scripts */
    struct redis_limit_stats stats;
};

/* Appends the commands of c's step; *ret_n: how many answers they get. False when out is full. */
NODISCARD bool redis_limit_write(struct redis_limit_call *c, struct buf *out, unsigned *ret_n);
/* An admission's answer; false when it is none. */
NODISCARD bool redis_limit_read(const struct redis_limit_call *c, const struct redis_reply *r,
                                struct redis_limit_answer *a);

#endif
