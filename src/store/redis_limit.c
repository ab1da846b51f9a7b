/* redis_limit.c - see redis_limit.h.
 *
 *   admit:  BY_NAME --NOSCRIPT--> BY_TEXT          settle:  the same; what got no answer waits in
 *              \                    /                       `waiting` and is sent again
 *               +--scripts refused-+--> PLAIN (MULTI)
 *
 * A call is on one list, under_way or waiting, or being told; it is freed where it leaves them.
 */
#include "store/redis_limit_int.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/text.h"
#include "store/redis_script.h"

enum {
    SETTLE_TIMEOUT_US = 100 * 1000, /* nobody waits for it */
    RESEND_US = 100 * 1000,
    RESEND_BATCH = 256,
    WAITING_MAX = 16 * 1024,
    ERRORS_MAX = 3, /* error replies to one settling */
    COMMAND_MAX = 16 * 1024,
};

static void on_reply(void *ctx, enum redis_outcome how, const struct redis_reply *reply);

/* --- sending -------------------------------------------------------------------------------- */

static bool send_call(struct redis_limit_call *c, uint64_t timeout_us)
{
    struct buf out;
    unsigned n = 0;
    buf_init(&out, COMMAND_MAX);
    bool ok = redis_limit_write(c, &out, &n);
    ASSERT(ok); /* few items, short keys */
    c->wire = redis_send(c->limits->redis, buf_str(&out), n, timeout_us, on_reply, c);
    buf_done(&out);
    if (!c->wire)
        return false;
    list_remove(&c->node);
    list_push(&c->limits->under_way, &c->node);
    return true;
}

static void free_call(struct redis_limit_call *c)
{
    list_remove(&c->node);
    arena_done(&c->arena);
    mem_free(c);
}

static bool scripts_refused(const struct redis_limit *l)
{
    return l->plain_connect == redis_health(l->redis).stats.connects;
}

/* Of its first lease. */
static uint64_t life_us(const struct redis_limit_call *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->items[i].kind == REDIS_LIMIT_LEASE)
            return c->items[i].period_us;
    return 0;
}

static uint64_t at_most(uint64_t n, uint64_t most)
{
    return n < most ? n : most;
}

/* What is longer than anything an operator writes goes by its hash. */
static struct str whole_key(struct redis_limit_call *c, struct str key)
{
    char hex[2 * sizeof(struct sha256)];
    if (c->limits->prefix.n + key.n <= REDIS_LIMIT_KEY_MAX)
        return arena_join(&c->arena, c->limits->prefix, key);
    struct sha256 sum = hash_sha256(key);
    text_hex(sum.bytes, sizeof(sum.bytes), hex);
    return arena_join(&c->arena, c->limits->prefix, str_of(hex, sizeof(hex)));
}

static struct redis_limit_item within_bounds(struct redis_limit_item it)
{
    uint64_t most = REDIS_LIMIT_BUDGET_MAX;
    switch (it.kind) {
    case REDIS_LIMIT_CELL:
        ASSERT(it.limit > 0 && it.period_us > 0);
        most = REDIS_LIMIT_COUNT_MAX;
        break;
    case REDIS_LIMIT_BUDGET: ASSERT(it.period_us % 1000000 == 0); break;
    case REDIS_LIMIT_LEASE: ASSERT(it.period_us >= 1000); break;
    }
    it.limit = at_most(it.limit, most);
    it.burst = at_most(it.burst, most);
    it.cost = at_most(it.cost, most);
    return it;
}

static struct redis_limit_call *make_call(struct redis_limit *l, const struct redis_limit_ticket *t,
                                          const struct redis_limit_item *items, size_t n)
{
    struct redis_limit_call *c = mem_zalloc(sizeof(*c));
    ASSERT(n > 0 && n <= REDIS_LIMIT_ITEMS_MAX);
    c->limits = l;
    c->ticket = *t;
    c->n = n;
    c->began_us = clock_us();
    c->step = scripts_refused(l) ? PLAIN : BY_NAME;
    list_init(&c->node);
    arena_init(&c->arena);
    for (size_t i = 0; i < n; i++) {
        c->items[i] = within_bounds(items[i]);
        c->items[i].key = whole_key(c, items[i].key);
    }
    ASSERT(life_us(c) > 0); /* there is a lease */
    return c;
}

/* --- settling ------------------------------------------------------------------------------- */

static void wait_to_resend(struct redis_limit_call *c)
{
    struct redis_limit *l = c->limits;
    list_remove(&c->node);
    list_push(&l->waiting, &c->node);
    if (++l->stats.waiting > WAITING_MAX) {
        free_call(CONTAINER_OF(l->waiting.next, struct redis_limit_call, node));
        l->stats.waiting--;
        l->stats.dropped++;
    }
    if (!timer_is_set(&l->resend))
        timer_after(l->loop, &l->resend, RESEND_US);
}

static void drop(struct redis_limit_call *c)
{
    c->limits->stats.dropped++;
    free_call(c);
}

/* Its leases have ended by themselves, so that it would change nothing any more. */
static bool is_stale(const struct redis_limit_call *c)
{
    return clock_us() - c->began_us > life_us(c);
}

static void on_resend(struct timer *t)
{
    struct redis_limit *l = CONTAINER_OF(t, struct redis_limit, resend);
    for (int i = 0; i < RESEND_BATCH && !list_empty(&l->waiting); i++) {
        struct redis_limit_call *c = CONTAINER_OF(l->waiting.next, struct redis_limit_call, node);
        if (is_stale(c)) {
            l->stats.waiting--;
            drop(c);
            continue;
        }
        if (!redis_is_up(l->redis) || !send_call(c, SETTLE_TIMEOUT_US))
            break;
        l->stats.waiting--;
        l->stats.resent++;
    }
    if (!list_empty(&l->waiting))
        timer_after(l->loop, &l->resend, RESEND_US);
}

static void settle(struct redis_limit *l, const struct redis_limit_ticket *ticket,
                   const struct redis_limit_item *items, size_t n, const int64_t *change)
{
    struct redis_limit_call *c = make_call(l, ticket, items, n);
    c->settles = true;
    if (ticket->at_us) /* admission and settling speak the same way, of the same keys */
        c->step = ticket->approximate ? PLAIN : BY_NAME;
    memcpy(c->change, change, n * sizeof(*change));
    if (!send_call(c, SETTLE_TIMEOUT_US))
        wait_to_resend(c);
}

static int64_t difference(uint64_t actual, const struct redis_limit_item *it)
{
    uint64_t most =
        it->kind == REDIS_LIMIT_CELL ? (uint64_t)REDIS_LIMIT_COUNT_MAX : REDIS_LIMIT_BUDGET_MAX;
    return (int64_t)at_most(actual, most) - (int64_t)at_most(it->cost, most);
}

void redis_limit_settle(struct redis_limit *l, const struct redis_limit_ticket *ticket,
                        const struct redis_limit_item *items, size_t n, const uint64_t *actual)
{
    int64_t change[REDIS_LIMIT_ITEMS_MAX] = {0};
    ASSERT(n <= REDIS_LIMIT_ITEMS_MAX);
    for (size_t i = 0; i < n; i++)
        if (items[i].kind != REDIS_LIMIT_LEASE)
            change[i] = difference(actual[i], &items[i]);
    settle(l, ticket, items, n, change);
}

/* Takes back what an admission has taken, or may have taken. Its keys have the prefix already. */
static void undo(struct redis_limit_call *admission)
{
    struct redis_limit *l = admission->limits;
    struct redis_limit_item items[REDIS_LIMIT_ITEMS_MAX];
    int64_t change[REDIS_LIMIT_ITEMS_MAX] = {0};
    for (size_t i = 0; i < admission->n; i++) {
        items[i] = admission->items[i];
        items[i].key = str_skip(items[i].key, l->prefix.n);
        if (items[i].kind != REDIS_LIMIT_LEASE)
            change[i] = -(int64_t)items[i].cost;
    }
    settle(l, &admission->ticket, items, admission->n, change);
}

/* --- answers -------------------------------------------------------------------------------- */

static void tell(struct redis_limit_call *c, const struct redis_limit_answer *a)
{
    struct redis_limit_stats *s = &c->limits->stats;
    redis_limit_fn *fn = c->fn;
    void *ctx = c->ctx;
    *(!a ? &s->unanswered : a->admitted ? &s->admitted : &s->refused) += 1;
    if (!fn && (!a || a->admitted))
        undo(c);
    free_call(c);
    if (fn)
        fn(ctx, a);
}

static void admission_answered(struct redis_limit_call *c, const struct redis_reply *reply)
{
    struct redis_limit_answer a = {.ticket = c->ticket, .n = c->n};
    if (!redis_limit_read(c, reply, &a)) {
        tell(c, NULL);
        return;
    }
    c->ticket = a.ticket;
    if (c->step == PLAIN && !a.admitted)
        undo(c);
    tell(c, &a);
}

static void settling_failed(struct redis_limit_call *c, bool replied)
{
    if (c->step == PLAIN || (replied && ++c->errors >= ERRORS_MAX) || is_stale(c))
        drop(c);
    else
        wait_to_resend(c);
}

static void settling_answered(struct redis_limit_call *c, const struct redis_reply *reply)
{
    if (reply->type != REDIS_ARRAY) {
        settling_failed(c, true);
        return;
    }
    c->limits->stats.settled++;
    free_call(c);
}

/* The next way to say it, after an error; false when there is none. */
static bool say_otherwise(struct redis_limit_call *c, const struct redis_reply *reply)
{
    struct str code = redis_reply_code(reply);
    uint64_t spent = clock_us() - c->began_us, timeout = redis_timeout_us(c->limits->redis);
    bool unknown =
        str_eq(code, STR("NOPERM")) ||
        (str_eq(code, STR("ERR")) && str_starts(reply->text, STR("ERR unknown command")));
    if (c->step == BY_NAME && str_eq(code, STR("NOSCRIPT"))) {
        c->step = BY_TEXT;
        c->limits->stats.scripts_sent++;
    } else if (c->step != PLAIN && unknown) {
        c->step = PLAIN;
        c->limits->plain_connect = redis_health(c->limits->redis).stats.connects;
    } else {
        return false;
    }
    if (c->settles)
        return send_call(c, SETTLE_TIMEOUT_US);
    return spent < timeout && send_call(c, timeout - spent);
}

static void on_reply(void *ctx, enum redis_outcome how, const struct redis_reply *reply)
{
    struct redis_limit_call *c = ctx;
    c->wire = NULL;
    bool is_error = how == REDIS_ANSWERED && reply->type == REDIS_ERROR;
    if (is_error && say_otherwise(c, reply))
        return;
    bool answered = how == REDIS_ANSWERED && !is_error;
    if (c->settles && answered)
        settling_answered(c, reply);
    else if (c->settles)
        settling_failed(c, is_error);
    else if (answered)
        admission_answered(c, reply);
    else
        tell(c, NULL);
}

/* --- the limits ----------------------------------------------------------------------------- */

void redis_limit_ticket(struct redis_limit_ticket *ret)
{
    *ret = (struct redis_limit_ticket){0};
    rand_alnum(ret->id, sizeof(ret->id));
}

struct redis_limit_call *redis_limit_admit(struct redis_limit *l,
                                           const struct redis_limit_ticket *ticket,
                                           const struct redis_limit_item *items, size_t n,
                                           redis_limit_fn *fn, void *ctx)
{
    if (!redis_is_up(l->redis)) {
        l->stats.unanswered++;
        return NULL;
    }
    struct redis_limit_call *c = make_call(l, ticket, items, n);
    c->fn = fn;
    c->ctx = ctx;
    if (send_call(c, 0))
        return c;
    l->stats.unanswered++;
    free_call(c);
    return NULL;
}

void redis_limit_cancel(struct redis_limit_call *c)
{
    c->fn = NULL;
}

static void name_script(struct str text, char out[SHA_TEXT])
{
    uint8_t sha[SHA1_SIZE];
    hash_sha1(text, sha);
    text_hex(sha, sizeof(sha), out);
}

struct redis_limit *redis_limit_new(struct loop *loop, struct redis *r, struct str prefix)
{
    struct redis_limit *l = mem_zalloc(sizeof(*l));
    char *copy = mem_alloc(prefix.n + 1);
    memcpy(copy, prefix.p, prefix.n);
    l->loop = loop;
    l->redis = r;
    l->prefix = str_of(copy, prefix.n);
    l->plain_connect = UINT64_MAX;
    list_init(&l->under_way);
    list_init(&l->waiting);
    timer_init(&l->resend, "redis resend", on_resend);
    name_script(redis_script_admit, l->sha[0]);
    name_script(redis_script_settle, l->sha[1]);
    return l;
}

void redis_limit_free(struct redis_limit *l)
{
    if (!l)
        return;
    struct list *lists[] = {&l->under_way, &l->waiting};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        while (!list_empty(lists[i])) {
            struct redis_limit_call *c =
                CONTAINER_OF(lists[i]->next, struct redis_limit_call, node);
            if (c->wire)
                redis_cancel(c->wire);
            free_call(c);
        }
    timer_stop(l->loop, &l->resend);
    mem_free((char *)(uintptr_t)l->prefix.p);
    mem_free(l);
}

struct redis_limit_stats redis_limit_stats(const struct redis_limit *l)
{
    struct redis_limit_stats s = l->stats;
    s.approximate = redis_is_up(l->redis) && scripts_refused(l);
    return s;
}
