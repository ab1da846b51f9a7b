/* queue.c - see queue.h. A line exists while somebody stands in it; there are few, so it is found by
 * looking at all of them. */
#include "proxy/queue.h"

#include "base/clock.h"
#include "base/mem.h"

struct queue_line {
    struct list node; /* queue->round */
    struct list waiters;
    uint64_t client;
    struct waiter *asked; /* its first one's try is not decided yet */
};

struct queue {
    struct loop *loop;
    struct list round;
    struct timer timer;
    size_t n_lines, n, max;
    uint64_t period_us;
    queue_fn *fn;
};

static struct queue_line *line_of(struct list *node)
{
    return CONTAINER_OF(node, struct queue_line, node);
}

/* Tries the first of a line. Whatever came of it, the others are next, but for a try that failed
 * for want of any place: then it stays this line's turn. */
static enum queue_try try_line(struct queue *q, struct queue_line *line)
{
    struct waiter *w = CONTAINER_OF(line->waiters.next, struct waiter, node);
    list_remove(&line->node);
    list_push(&q->round, &line->node);
    enum queue_try how = q->fn(w); /* the line may be gone then */
    if (how == QUEUE_ASKED)
        line->asked = w;
    if (how == QUEUE_STUCK) {
        list_remove(&line->node);
        list_push_front(&q->round, &line->node);
    }
    return how;
}

/* Until each line has been tried since the last one that got a place. */
static void give(struct queue *q)
{
    size_t left = q->n_lines;
    while (left > 0 && !list_empty(&q->round)) {
        struct queue_line *line = line_of(q->round.next);
        left--;
        if (line->asked) {
            list_remove(&line->node);
            list_push(&q->round, &line->node);
            continue;
        }
        enum queue_try how = try_line(q, line);
        if (how == QUEUE_STUCK)
            break;
        if (how == QUEUE_GONE)
            left = q->n_lines;
    }
}

static void on_timer(struct timer *t)
{
    struct queue *q = CONTAINER_OF(t, struct queue, timer);
    give(q);
    if (q->n > 0 && !timer_is_set(&q->timer))
        timer_after(q->loop, &q->timer, q->period_us);
}

struct queue *queue_new(struct loop *l, size_t max, uint64_t period_us, queue_fn *fn)
{
    struct queue *q = mem_zalloc(sizeof(*q));
    q->loop = l;
    q->max = max;
    q->period_us = period_us;
    q->fn = fn;
    list_init(&q->round);
    timer_init(&q->timer, "queue", on_timer);
    return q;
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    ASSERT(q->n == 0);
    timer_stop(q->loop, &q->timer);
    mem_free(q);
}

static struct queue_line *find_line(struct queue *q, uint64_t client)
{
    list_each (node, &q->round)
        if (line_of(node)->client == client)
            return line_of(node);
    return NULL;
}

static struct queue_line *new_line(struct queue *q, uint64_t client)
{
    struct queue_line *line = mem_zalloc(sizeof(*line));
    line->client = client;
    list_init(&line->waiters);
    list_push(&q->round, &line->node);
    q->n_lines++;
    return line;
}

bool queue_join(struct queue *q, struct waiter *w, uint64_t client)
{
    if (q->n >= q->max)
        return false;
    struct queue_line *line = find_line(q, client);
    w->line = line ? line : new_line(q, client);
    list_push(&w->line->waiters, &w->node);
    q->n++;
    if (!timer_is_set(&q->timer))
        timer_after(q->loop, &q->timer, q->period_us);
    return true;
}

void queue_leave(struct queue *q, struct waiter *w)
{
    struct queue_line *line = w->line;
    if (!line)
        return;
    w->line = NULL;
    list_remove(&w->node);
    q->n--;
    if (line->asked == w)
        line->asked = NULL;
    if (!list_empty(&line->waiters))
        return;
    list_remove(&line->node);
    mem_free(line);
    q->n_lines--;
    if (q->n == 0)
        timer_stop(q->loop, &q->timer);
}

void queue_told(struct queue *q, struct waiter *w, enum queue_try how)
{
    if (w->line && w->line->asked == w)
        w->line->asked = NULL;
    if (how == QUEUE_GONE)
        queue_poke(q); /* there may be more where that came from */
}

void queue_poke(struct queue *q)
{
    if (q->n > 0)
        timer_set(q->loop, &q->timer, clock_us());
}

size_t queue_length(const struct queue *q)
{
    return q->n;
}
