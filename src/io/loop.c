/* loop.c - epoll, the timers' heap and the deferred list, one turn after another.
 *
 *   events[]  |.. done ..| at |.. still to come ..| n     loop_unwatch() crosses its watch out of
 *                                                         what is still to come, so that a watch
 *                                                         put on another descriptor in the same
 *                                                         turn never gets the old one's event
 *
 * The loop owns nothing but its tables; watches, timers and deferred calls belong to their owners
 * and stay valid until the end of the turn. Single-threaded. What an event means is left to the
 * owners.
 */
#include "io/loop.h"

#include <limits.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/sys.h"

enum {
    EVENTS_MAX = 256,
    DEFER_PASSES = 32, /* calls that keep deferring each other go on in the next turn after these */
};

struct loop {
    int epfd;
    bool stopping;
    int at, n; /* the event after the one being handled, and their number */
    struct heap timers;
    struct list deferred;
    uint64_t limit_us, mark_us;
    void (*watchdog)(const char *name, uint64_t us);
    struct epoll_event events[EVENTS_MAX];
};

struct loop *loop_new(void)
{
    struct loop *l = mem_zalloc(sizeof(*l));

    l->epfd = sys_epoll_create();
    ASSERT(l->epfd >= 0);
    heap_init(&l->timers);
    list_init(&l->deferred);
    return l;
}

/* Callbacks follow each other closely, so the end of one is the beginning of the next: one reading
 * of the clock each. */
static void work_done(struct loop *l, const char *name)
{
    uint64_t now_us;

    if (!l->watchdog)
        return;
    now_us = clock_precise_us();
    if (now_us - l->mark_us > l->limit_us)
        l->watchdog(name, now_us - l->mark_us);
    l->mark_us = now_us;
}

static void run_deferred(struct loop *l)
{
    for (int i = 0; i < DEFER_PASSES && !list_empty(&l->deferred); i++) {
        struct list pass, *node;

        list_init(&pass);
        list_push(&l->deferred, &pass); /* takes the old head's place ... */
        list_remove(&l->deferred);      /* ... in the ring */
        while ((node = list_pop(&pass)) != NULL) {
            struct deferred *d = CONTAINER_OF(node, struct deferred, node);

            doing = "deferred";
            d->fn(d); /* may free d */
        }
        work_done(l, "deferred"); /* they are small, many, and have one name: timed together */
    }
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    run_deferred(l);
    heap_done(&l->timers);
    (void)sys_close(l->epfd);
    mem_free(l);
}

/* For epoll: 0 when there is something to do, -1 for ever. A timer's time is rounded up, so that it
 * is due when the wait ends and the loop does not spin through its last millisecond. */
static int wait_ms(const struct loop *l, uint64_t max_wait_us)
{
    const struct heap_node *first = heap_peek(&l->timers);
    uint64_t ms = max_wait_us / 1000;

    if (!list_empty(&l->deferred))
        return 0;
    if (first) {
        uint64_t now_us = clock_precise_us(); /* the cached time is as old as the last turn */
        uint64_t left_us = first->key > now_us ? first->key - now_us : 0;
        uint64_t left_ms = left_us / 1000 + (left_us % 1000 != 0);

        ms = left_ms < ms ? left_ms : ms;
    } else if (max_wait_us == UINT64_MAX) {
        return -1;
    }
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

static unsigned to_io(uint32_t events)
{
    unsigned io = 0;

    if (events & EPOLLIN)
        io |= IO_READ;
    if (events & EPOLLOUT)
        io |= IO_WRITE;
    if (events & EPOLLRDHUP) /* the end is found by reading up to it */
        io |= IO_READ | IO_HUP;
    if (events & (EPOLLHUP | EPOLLERR)) /* and an error by whatever is tried next */
        io |= IO_READ | IO_WRITE | IO_HUP;
    return io;
}

static void run_events(struct loop *l)
{
    for (l->at = 0; l->at < l->n;) {
        const struct epoll_event *ev = &l->events[l->at++];
        struct io_watch *w = ev->data.ptr;
        const char *name;

        if (!w)
            continue;
        doing = name = w->name;
        w->fn(w, to_io(ev->events));
        work_done(l, name);
    }
    l->at = l->n = 0;
}

static void run_timers(struct loop *l)
{
    uint64_t now_us = clock_us();

    /* At most as many as there were: one that sets itself to "now" must not keep the turn. */
    for (size_t left = l->timers.n; left > 0; left--) {
        struct heap_node *first = heap_peek(&l->timers);
        struct timer *t;
        const char *name;

        if (!first || first->key > now_us)
            return;
        heap_remove(&l->timers, first);
        t = CONTAINER_OF(first, struct timer, node);
        doing = name = t->name;
        t->fn(t);
        work_done(l, name);
    }
}

void loop_turn(struct loop *l, uint64_t max_wait_us)
{
    int n = sys_epoll_wait(l->epfd, l->events, EVENTS_MAX, wait_ms(l, max_wait_us));

    ASSERT(n >= 0);
    l->n = n;
    clock_refresh();
    l->mark_us = clock_us();
    run_events(l);
    run_timers(l);
    run_deferred(l);
}

void loop_run(struct loop *l)
{
    while (!l->stopping)
        loop_turn(l, UINT64_MAX);
    l->stopping = false;
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
}

void loop_set_watchdog(struct loop *l, uint64_t limit_us, void (*fn)(const char *name, uint64_t us))
{
    l->limit_us = limit_us;
    l->watchdog = fn;
}

static bool watch(struct loop *l, struct io_watch *w, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = w};

    ASSERT(w->fd >= 0 && w->fn && w->name);
    if (sys_epoll_ctl(l->epfd, EPOLL_CTL_ADD, w->fd, &ev) == 0)
        return true;
    w->fd = -1;
    return false;
}

bool loop_watch(struct loop *l, struct io_watch *w)
{
    return watch(l, w, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

bool loop_watch_level(struct loop *l, struct io_watch *w)
{
    return watch(l, w, EPOLLIN);
}

void loop_unwatch(struct loop *l, struct io_watch *w)
{
    struct epoll_event unused = {0};

    if (w->fd < 0)
        return;
    (void)sys_epoll_ctl(l->epfd, EPOLL_CTL_DEL, w->fd, &unused);
    w->fd = -1;
    for (int i = l->at; i < l->n; i++)
        if (l->events[i].data.ptr == w)
            l->events[i].data.ptr = NULL;
}

void timer_init(struct timer *t, const char *name, void (*fn)(struct timer *t))
{
    *t = (struct timer){.fn = fn, .name = name};
}

void timer_set(struct loop *l, struct timer *t, uint64_t at_us)
{
    ASSERT(t->fn);
    if (timer_is_set(t)) {
        heap_update(&l->timers, &t->node, at_us);
        return;
    }
    t->node.key = at_us;
    heap_push(&l->timers, &t->node);
}

void timer_after(struct loop *l, struct timer *t, uint64_t delay_us)
{
    uint64_t now_us = clock_us();

    timer_set(l, t, delay_us < UINT64_MAX - now_us ? now_us + delay_us : UINT64_MAX);
}

void timer_stop(struct loop *l, struct timer *t)
{
    heap_remove(&l->timers, &t->node);
}

void deferred_init(struct deferred *d, void (*fn)(struct deferred *d))
{
    list_init(&d->node);
    d->fn = fn;
}

void loop_defer(struct loop *l, struct deferred *d)
{
    ASSERT(d->fn);
    if (list_empty(&d->node))
        list_push(&l->deferred, &d->node);
}

void deferred_cancel(struct deferred *d)
{
    list_remove(&d->node);
}
