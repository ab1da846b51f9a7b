/* loop.h - one epoll loop: descriptors, timers, things to do at the end of the turn.
 *
 *   turn:  wait -> refresh the clock -> ready descriptors -> due timers -> deferred calls
 *
 * Descriptors are edge-triggered and registered once, for reading and writing together; the owner
 * reads or writes until it would block. Nothing is freed inside a callback: an object that dies
 * unwatches itself at once and frees itself through loop_defer, so that pointers gathered for this
 * turn stay valid. Watches, timers and deferred calls live inside their owners.
 */
#ifndef CCPROXY_IO_LOOP_H
#define CCPROXY_IO_LOOP_H

#include "base/heap.h"
#include "base/list.h"

struct loop;

enum { IO_READ = 1, IO_WRITE = 2, IO_HUP = 4 }; /* HUP: the peer has closed, or an error stands */

struct io_watch {
    int fd; /* -1 when not watched */
    void (*fn)(struct io_watch *w, unsigned events);
    const char *name; /* what is being done then, for the log and the watchdog */
};

struct timer {
    struct heap_node node; /* key: microseconds on clock_us() */
    void (*fn)(struct timer *t);
    const char *name;
};

struct deferred {
    struct list node;
    void (*fn)(struct deferred *d);
};

struct loop *loop_new(void);
void loop_free(struct loop *l);

/* Runs turns until loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* One turn; waits at most max_wait_us for something to happen. */
void loop_turn(struct loop *l, uint64_t max_wait_us);

/* Called after a callback that took longer than limit_us, with its name. */
void loop_set_watchdog(struct loop *l, uint64_t limit_us,
                       void (*fn)(const char *name, uint64_t us));

/* w->fd, fn and name are set. False with errno, and w->fd -1, when the kernel has no room for it.
 */
NODISCARD bool loop_watch(struct loop *l, struct io_watch *w);
/* Level-triggered reading only: for listeners and signal descriptors. */
NODISCARD bool loop_watch_level(struct loop *l, struct io_watch *w);
void loop_unwatch(struct loop *l, struct io_watch *w); /* does not close the descriptor */

void timer_init(struct timer *t, const char *name, void (*fn)(struct timer *t));
void timer_set(struct loop *l, struct timer *t, uint64_t at_us); /* sets or moves it */
void timer_after(struct loop *l, struct timer *t, uint64_t delay_us);
void timer_stop(struct loop *l, struct timer *t); /* harmless when not set */

static inline bool timer_is_set(const struct timer *t)
{
    return t->node.pos != 0;
}

void deferred_init(struct deferred *d, void (*fn)(struct deferred *d));
/* Runs d->fn at the end of this turn; harmless when it is waiting already. */
void loop_defer(struct loop *l, struct deferred *d);
void deferred_cancel(struct deferred *d);

#endif
