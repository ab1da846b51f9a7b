/* client.c - one call: a request out, an answer in; see client.h.
 *
 *   STARTING --> WAITING (for a connection) --> HEAD (sending, awaiting one) --> BODY --> OVER
 *
 * This is what both transports have in common: how a call begins, waits and ends. What happens in
 * HEAD and BODY is theirs.
 */
#include "http/pool_int.h"

#include "base/mem.h"

static void bury(struct deferred *d)
{
    struct call *c = CONTAINER_OF(d, struct call, funeral);
    buf_done(&c->head);
    buf_done(&c->in);
    mem_free(c);
}

void call_finish(struct call *c)
{
    c->state = OVER;
    c->transport = NULL;
    deferred_cancel(&c->work);
    deferred_init(&c->funeral, bury);
    loop_defer(c->pool->loop, &c->funeral);
}

void call_fail(struct call *c, enum call_failure why, const char *error)
{
    if (c->transport)
        c->transport->drop(c);
    call_finish(c);
    c->handler->on_fail(c->ctx, why, error);
}

bool call_sent(const struct call *c)
{
    return c->sent == c->total;
}

/* What that means depends on how far things had got. */
void call_broken(struct call *c, const char *error)
{
    if (c->state == BODY)
        call_fail(c, CALL_CUT, error);
    else if (!c->answered && !call_sent(c))
        call_fail(c, CALL_UNSENT, error);
    else
        call_fail(c, CALL_BROKEN, error);
}

void call_no_connection(struct list *waiting_node, const char *error)
{
    call_fail(CONTAINER_OF(waiting_node, struct call, waiting), CALL_CONNECT_FAILED, error);
}

static void on_work(struct deferred *d)
{
    struct call *c = CONTAINER_OF(d, struct call, work);
    if (c->state == STARTING) {
        c->state = WAITING;
        pool_want(c->pool, &c->waiting);
    } else if (call_is_open(c)) {
        c->transport->go_on(c);
    }
}

struct call *call_start(struct pool *p, struct str head, const struct rope *body,
                        const struct call_handler *handler, void *ctx)
{
    struct call *c = mem_zalloc(sizeof(*c));
    c->pool = p;
    c->handler = handler;
    c->ctx = ctx;
    list_init(&c->waiting);
    buf_init(&c->head, size_max(head.n, 1));
    bool fits = buf_append(&c->head, head);
    ASSERT(fits);
    c->head_len = head.n;
    c->body = body;
    c->total = head.n + (body ? rope_len(body) : 0);
    buf_init(&c->in, p->options.head_max + CALL_IN_MAX);
    deferred_init(&c->work, on_work);
    loop_defer(p->loop, &c->work);
    return c;
}

void call_cancel(struct call *c)
{
    if (c->state == OVER)
        return;
    if (c->state == WAITING)
        pool_unwant(c->pool, &c->waiting);
    if (c->transport)
        c->transport->drop(c);
    call_finish(c);
}

void call_pause(struct call *c)
{
    c->paused = true;
}

void call_resume(struct call *c)
{
    c->paused = false;
    loop_defer(c->pool->loop, &c->work);
}
