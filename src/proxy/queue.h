/* queue.h - requests of one worker that wait for a free place instead of being refused.
 *
 *   round --> [line of client a] --> [line of client c] --> ...    a turn for each client
 *                 |
 *              waiter, waiter, ...                                 first come, first served
 *
 * Lines take turns: who got a place goes behind the others, so that a client with a thousand requests
 * and one with two get places alike. Places that become free here are given on at once. Those that
 * other workers or nodes free are looked for every period, and only while somebody waits.
 *
 * It knows nothing of what it queues: the owner tries, and says what came of it.
 */
#ifndef CCPROXY_PROXY_QUEUE_H
#define CCPROXY_PROXY_QUEUE_H

#include "base/list.h"
#include "io/loop.h"

struct queue_line;

struct waiter {
    struct list node;
    struct queue_line *line; /* NULL: does not wait */
};

enum queue_try {
    QUEUE_GONE,  /* it has left the queue, for better or worse */
    QUEUE_FULL,  /* no place for this client */
    QUEUE_STUCK, /* no place for anybody */
    QUEUE_ASKED, /* queue_told will say */
};

typedef enum queue_try queue_fn(struct waiter *w);

struct queue;

struct queue *queue_new(struct loop *l, size_t max, uint64_t period_us, queue_fn *fn);
void queue_free(struct queue *q); /* nobody waits; NULL is fine */

/* Behind the others of the client; false when there is no room. */
NODISCARD bool queue_join(struct queue *q, struct waiter *w, uint64_t client);
/* Harmless for one that does not wait. */
void queue_leave(struct queue *q, struct waiter *w);
/* What became of a try that was QUEUE_ASKED; not when it has left meanwhile. */
void queue_told(struct queue *q, struct waiter *w, enum queue_try how);
/* A place may be free: tries are made in the next turn of the loop. */
void queue_poke(struct queue *q);

size_t queue_length(const struct queue *q);

#endif
