/* redis.h - one connection to one Redis, for callers that can do without: asynchronous, pipelined,
 * with a deadline of milliseconds, and out of the way at once while the server is.
 *
 *            retry timer            open, AUTH, SELECT, PING answered
 *   WAITING ------------> CONNECTING ------------------------------> UP
 *      ^                      |                                       |
 *      +----------------------+---------------------------------------+
 *        failed, or cut, or five deadlines missed in a row, or silent for 100 ms,
 *        or answers like LOADING and READONLY that no other command would escape
 *
 * That is the circuit breaker too: UP is closed, WAITING is open (a call is refused before any byte
 * moves), CONNECTING is the probe. The wait grows from 50 ms to 5 s, half of it random, and starts
 * anew after a command that was answered in time; until then one missed deadline is enough to open.
 *
 * Commands of one turn of the loop leave in one write. Answers come in order, so a command that
 * missed its deadline keeps its place until its answer has come and been dropped; while such an
 * answer is due, further calls are refused, so that a server that stands still costs one deadline
 * and not one each. An idle connection is asked to PING each second.
 *
 * A worker has one. Redis Cluster: MOVED is followed by connecting to where it points, which is
 * right for callers whose keys all carry one {tag}.
 */
#ifndef CCPROXY_STORE_REDIS_H
#define CCPROXY_STORE_REDIS_H

#include "http/dial.h"
#include "store/redis_reply.h"
#include "store/redis_url.h"

enum {
    REDIS_TIMEOUT_US = 5 * 1000,
    REDIS_CONNECT_TIMEOUT_US = 500 * 1000,
    REDIS_CALLS_MAX = 8192, /* waiting for an answer at once */
};

struct redis;
struct redis_call; /* one that waits for its answer */

struct redis_options {
    struct redis_url url; /* copied */
    struct tls_ctx *tls;  /* for rediss; outlives the client */
    uint64_t timeout_us;  /* of calls that do not say */
    uint64_t connect_timeout_us;
    /* When it comes UP or no longer is, or could not be reached at first; may call, must not free. NULL is
     * fine. */
    void (*on_change)(void *ctx, bool up);
    void *ctx;
};

enum redis_state { REDIS_WAITING, REDIS_CONNECTING, REDIS_UP };

struct redis_stats {
    uint64_t calls, answers; /* answers: in time */
    uint64_t errors;         /* of them, error replies */
    uint64_t timeouts, late; /* late: answers that came after the deadline, and were dropped */
    uint64_t lost;           /* calls that were under way when the connection ended */
    uint64_t refused;        /* calls that were not sent */
    uint64_t connects, failures;
    uint64_t wait_us; /* from call to answer, summed over answers */
};

struct redis_health {
    enum redis_state state;
    unsigned missed;        /* deadlines in a row */
    uint64_t retry_us;      /* WAITING: until the next attempt */
    const char *last_error; /* holds no secret; "" when there was none. Valid until the next turn */
    struct redis_stats stats;
};

/* How a call ended. Only ANSWERED has a reply, which may be an error reply. */
enum redis_outcome { REDIS_ANSWERED, REDIS_TIMED_OUT, REDIS_LOST };

/* reply is valid during the call. */
typedef void redis_fn(void *ctx, enum redis_outcome how, const struct redis_reply *reply);

/* Starts connecting. */
struct redis *redis_new(struct loop *l, struct dns *dns, const struct redis_options *o);
void redis_free(struct redis *r); /* calls end without a word; not from inside fn */

/* Sends n_replies commands that redis_format has written; fn gets the last reply (of a MULTI that is
 * EXEC's) and may be NULL. timeout_us 0 is the options'. Never calls before it returns. NULL: not
 * sent, nor will fn be called. */
struct redis_call *redis_send(struct redis *r, struct str commands, unsigned n_replies,
                              uint64_t timeout_us, redis_fn *fn, void *ctx);
/* The answer will be dropped and fn not be called; the command has its effect or not. */
void redis_cancel(struct redis_call *c);

/* Whether a call would be sent now. */
bool redis_is_up(const struct redis *r);
uint64_t redis_timeout_us(const struct redis *r); /* the options' */
struct redis_health redis_health(const struct redis *r);

#endif
