/* admit.c - see admit.h; the arithmetic is policy/limit.c's.
 *
 *   node's limits --fit--> client's limits: here, or in Redis, which all nodes ask --fit--> route
 *        |                        |           \-- no answer: local, open or closed
 *        +---- no free place -----+--> queue.c --a place is free--> all of it once more
 */
#include "proxy/admit.h"

#include "base/clock.h"
#include "proxy/admit_int.h"
#include "proxy/count.h"

enum {
    ANSWER_LEAST = 1024,
    LOWERINGS_MAX = 4,
    LEASE_RETRY_US = ADMIT_MICRO,
};

static struct limit_clock now(void)
{
    return (struct limit_clock){.now_us = clock_us(), .wall_us = clock_wall_us()};
}

static struct limit_item lease_of(uint64_t whose, enum which which, uint64_t limit, uint64_t cost)
{
    return (struct limit_item){
        .kind = LIMIT_LEASE, .key = limit_key(whose, which), .limit = limit, .cost = cost};
}

/* --- what the client is told --- */

static void tell(const struct limit_item *it, const struct limit_result *r,
                 struct upstream_limit *ret)
{
    *ret = (struct upstream_limit){
        .limit = (int64_t)it->limit,
        .remaining = (int64_t)r->remaining,
        .reset_us = clock_wall_us() + r->reset_us,
        .known = true,
    };
}

/* Of the first n, which were judged. */
static void remember(struct exchange *x, size_t n)
{
    const struct admission *a = x->admission;
    for (size_t i = 0; i < n; i++) {
        if (a->which[i] == RPM)
            tell(&a->items[i], &a->results[i], &x->own_limits.requests);
        if (a->which[i] == TPM)
            tell(&a->items[i], &a->results[i], &x->own_limits.tokens);
        if (admit_rows[a->which[i]].why == FAIL_BUDGET)
            count_budget(x, a->which[i] - (unsigned)DAY_TOKENS, a->items[i].limit,
                         a->results[i].remaining);
    }
}

void admit_tell(struct exchange *x)
{
    const struct limit_clock clock = now();
    struct upstream_limits *own = &x->own_limits;
    if (!x->client || own->requests.known || own->tokens.known || x->proxy->redis_limit)
        return;
    for (enum which which = RPM; which <= TPM; which++) {
        struct limit_item it = admit_look(x, which);
        struct limit_result r;
        if (it.limit == 0)
            continue;
        (void)limits_take(x->proxy->shared->limits, &it, 1, &clock, x->proxy->owner, &r);
        tell(&it, &r, which == RPM ? &own->requests : &own->tokens);
    }
}

/* What does not fit. */
static size_t lacking(const struct admission *a)
{
    size_t i = 0;
    while (i + 1 < a->n && a->results[i].fits)
        i++;
    return i;
}

static enum step_result refuse(struct exchange *x)
{
    const struct admission *a = x->admission;
    char wait[UPSTREAM_DURATION];
    size_t i = lacking(a);
    const struct limit_item *it = &a->items[i];
    const struct admit_row *row = &admit_rows[a->which[i]];
    uint64_t retry_us = a->results[i].retry_us ? a->results[i].retry_us : LEASE_RETRY_US;
    x->retry_after_us = (int64_t)retry_us;
    LOG(LOG_DEBUG, "limit reached", LOG_STR("id", x->id), LOG_CSTR("limit", row->name));
    if (row->why == FAIL_BUDGET)
        return exchange_fail_with(
            x, FAIL_BUDGET, STR_NONE, STR_NONE,
            arena_printf(&x->keep, "The budget of this key is used up: %s.", row->name));
    struct str model = admit_is_of_model(a->which[i]) ? x->decoded.model->id : STR("");
    struct str message = arena_printf(
        &x->keep,
        "Rate limit reached on %s%s%.*s: Limit %llu, Requested %llu. Please try again in %.*s.",
        row->name, model.n > 0 ? " " : "", STR_FMT(model), (unsigned long long)it->limit,
        (unsigned long long)it->cost, STR_FMT(upstream_duration(retry_us, wait)));
    return exchange_fail_with(x, row->why, STR_NONE, STR_NONE, message);
}

/* Takes the items from `from` up to `to`, here. */
static bool take_here(struct exchange *x, size_t from, size_t to)
{
    const struct limit_clock clock = now();
    struct proxy *p = x->proxy;
    struct admission *a = x->admission;
    if (!limits_take(p->shared->limits, a->items + from, to - from, &clock, p->owner,
                     a->results + from))
        return false;
    a->n_taken = to;
    return true;
}

/* --- with Redis --- */

/* "client:rpm", "client:model-rpm:claude-opus-5". */
static struct str key_in_redis(struct exchange *x, enum which which)
{
    struct arena *a = &x->keep;
    struct str what = str_c(admit_rows[which].key);
    if (admit_is_of_model(which))
        what = arena_join(a, arena_join(a, what, STR(":")), x->decoded.model->id);
    return arena_join(a, arena_join(a, x->client->name, STR(":")), what);
}

static void add_remote(struct exchange *x, struct remote *r, const struct limit_item *it,
                       enum which which)
{
    static const enum redis_limit_kind kinds[] = {
        [LIMIT_RATE] = REDIS_LIMIT_CELL,
        [LIMIT_DAY] = REDIS_LIMIT_BUDGET,
        [LIMIT_MONTH] = REDIS_LIMIT_BUDGET,
        [LIMIT_LEASE] = REDIS_LIMIT_LEASE,
    };

    const uint64_t day_us = UINT64_C(86400) * ADMIT_MICRO;
    uint64_t longest = (uint64_t)x->proxy->config->total_timeout + ADMIT_MINUTE_US;
    const uint64_t periods[] = {[LIMIT_RATE] = ADMIT_MINUTE_US,
                                [LIMIT_DAY] = day_us,
                                [LIMIT_MONTH] = 0,
                                [LIMIT_LEASE] = longest};
    r->items[r->n++] = (struct redis_limit_item){
        .kind = kinds[it->kind],
        .key = key_in_redis(x, which),
        .limit = it->limit,
        .burst = it->limit,
        .period_us = periods[it->kind],
        .cost = it->cost,
    };
}

static struct remote *remote_of(struct exchange *x)
{
    const struct admission *a = x->admission;
    struct remote *r = ARENA_NEW(&x->keep, struct remote);
    bool lease = false;
    for (size_t i = a->n_node; i < a->n; i++) {
        add_remote(x, r, &a->items[i], a->which[i]);
        lease |= a->items[i].kind == LIMIT_LEASE;
    }
    if (!lease) { /* one that only counts: settling hangs on it */
        const struct limit_item counting = {.kind = LIMIT_LEASE};
        add_remote(x, r, &counting, OPEN);
    }
    return r;
}

/* This node's share of the client's limits, when it decides alone. */
static void set_share(struct exchange *x, uint64_t nodes)
{
    struct admission *a = x->admission;
    for (size_t i = a->n_node; a->remote && i < a->n; i++) {
        uint64_t whole = a->remote->items[i - a->n_node].limit;
        a->items[i].limit = whole > nodes ? whole / nodes : 1;
    }
}

static enum verdict verdict(const struct admission *a)
{
    size_t i = lacking(a);
    return a->which[i] == OPEN ? NO_PLACE : a->which[i] == NODE_OPEN ? NO_PLACE_AT_ALL : REFUSED;
}

/* Without Redis, or while it is away. */
static enum verdict decide(struct exchange *x)
{
    struct admission *a = x->admission;
    for (size_t i = a->n_node; i < a->n; i++)
        if (admit_fallback(x, a->items[i].kind) == FALLBACK_CLOSED)
            return AWAY;
    set_share(x, (uint64_t)x->proxy->config->redis_nodes);
    bool fits = take_here(x, a->n_node, a->n_local);
    remember(x, a->n_local);
    return fits ? FITS : verdict(a);
}

static void on_redis(void *ctx, const struct redis_limit_answer *answer);

static enum verdict try_once(struct exchange *x)
{
    struct admission *a = x->admission;
    struct remote *r = a->remote;
    for (size_t i = 0; i < a->n; i++)
        a->results[i] = (struct limit_result){.fits = true};
    if (!take_here(x, 0, a->n_node))
        return verdict(a);
    if (!r)
        return decide(x);
    redis_limit_ticket(&r->ticket);
    r->call = redis_limit_admit(x->proxy->redis_limit, &r->ticket, r->items, r->n, on_redis, x);
    a->in_redis = r->call != NULL;
    return r->call ? ASKED : decide(x);
}

static void give_back(struct exchange *x, const uint64_t *actual)
{
    struct admission *a = x->admission;
    struct remote *r = a->remote;
    const struct limit_clock clock = now();
    uint64_t units[REDIS_LIMIT_ITEMS_MAX] = {0};
    limits_settle(x->proxy->shared->limits, a->items, a->n_taken, actual, &clock, x->proxy->owner);
    a->n_taken = 0;
    for (size_t i = a->n_node; i < a->n; i++)
        units[i - a->n_node] = actual[i];
    if (r && r->call) /* left while it was asked */
        redis_limit_cancel(r->call);
    else if (r && a->in_redis)
        redis_limit_settle(x->proxy->redis_limit, &r->ticket, r->items, r->n, units);
    a->in_redis = false;
}

/* --- less --- */

/* The least that an answer is cut to; upstream wants it to be more than the budget for thinking. */
static uint64_t least_answer(const struct messages_request *m)
{
    int64_t least = ANSWER_LEAST + (m->thinking == THINKING_ENABLED ? m->thinking_budget : 0);
    return (uint64_t)(least < m->max_tokens ? least : m->max_tokens);
}

/* Makes prompt and answer so many tokens, or the least; nothing is held. False: it is not less. */
static bool lower_to(struct exchange *x, uint64_t left)
{
    struct admission *a = x->admission;
    struct messages_request *m = x->decoded.request;
    uint64_t least = a->expected + least_answer(m);
    if (left < least)
        left = least;
    if (left >= a->expected + (uint64_t)m->max_tokens)
        return false;
    m->max_tokens = (int64_t)(left - a->expected);
    a->lowered = true;
    a->reserved = left;
    for (size_t i = 0; i < a->n; i++) {
        a->items[i].cost = admit_cost(x, admit_rows[a->which[i]].unit);
        if (a->remote && i >= a->n_node)
            a->remote->items[i - a->n_node].cost = a->items[i].cost;
    }
    return true;
}

/* More than the whole of a limit is never left. */
static void lower_to_limits(struct exchange *x)
{
    const struct admission *a = x->admission;
    for (size_t i = 0; i < a->n; i++)
        if (admit_rows[a->which[i]].unit == TOKENS && a->items[i].kind == LIMIT_RATE)
            (void)lower_to(x, a->items[i].limit);
}

/* Tokens are lacking, and the answer can do with what is left of them, or with the least. */
static bool lower(struct exchange *x)
{
    static const uint64_t none[LIMIT_ITEMS_MAX];
    struct admission *a = x->admission;
    size_t i = lacking(a);
    bool tokens = admit_rows[a->which[i]].unit == TOKENS && a->items[i].kind == LIMIT_RATE;
    if (x->proxy->config->reserve != RESERVE_LOWER || !tokens)
        return false;
    give_back(x, none);
    return lower_to(x, a->lowerings++ < LOWERINGS_MAX ? a->results[i].remaining : 0);
}

/* As long as less may fit; others take of what is left meanwhile. */
static enum verdict or_less(struct exchange *x, enum verdict v)
{
    while (v == REFUSED && lower(x))
        v = try_once(x);
    return v;
}

static enum verdict try_all(struct exchange *x)
{
    return or_less(x, try_once(x));
}

/* Sends the bound that was reserved, and tells the client. */
static void write_lowered(struct exchange *x)
{
    if (!x->admission->lowered)
        return;
    x->lowered_to = (uint64_t)x->decoded.request->max_tokens;
    exchange_rewrite(x);
}

/* --- waiting --- */

static void leave_queue(struct exchange *x)
{
    struct admission *a = x->admission;
    const struct limit_clock clock = now();
    const uint64_t none = 0;
    if (!a->waiter.line)
        return;
    queue_leave(x->proxy->queue, &a->waiter);
    limits_settle(x->proxy->shared->limits, &a->waiting, 1, &none, &clock, x->proxy->owner);
    x->waited_us = clock_us() + (uint64_t)x->proxy->config->queue_timeout - x->phase_at_us;
    count_waited(x->proxy, x->waited_us);
    x->phase_at_us = 0;
    count_queue(x->proxy);
}

/* Others came before, here or in another worker, and there is no place for them yet. */
static bool others_wait(const struct exchange *x)
{
    const struct limits *l = x->proxy->shared->limits;
    return x->proxy->queue && (limits_held_by(l, limit_key(x->client->limit_id, WAITING)) > 0 ||
                               limits_held_by(l, limit_key(0, WAITING)) > 0);
}

static bool has_places(const struct admission *a)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->items[i].kind == LIMIT_LEASE)
            return true;
    return false;
}

/* One that waits behind others, untried, or is being tried, is refused for want of a place. */
static void blame_places(struct admission *a)
{
    enum which why = a->waits_for == NO_PLACE_AT_ALL ? NODE_OPEN : OPEN;
    size_t blamed = 0;
    for (size_t i = 0; i < a->n; i++) {
        a->results[i].fits = true;
        if (a->which[i] == why || (a->items[i].kind == LIMIT_LEASE && a->which[blamed] != why))
            blamed = i;
    }
    a->results[blamed].fits = false;
}

static enum step_result wait_for_place(struct exchange *x, enum verdict why)
{
    static const uint64_t none[LIMIT_ITEMS_MAX];
    struct proxy *p = x->proxy;
    struct admission *a = x->admission;
    const struct limit_clock clock = now();
    struct limit_result ignored;
    give_back(x, none);
    a->waits_for = why;
    blame_places(a);
    if (!p->queue || !queue_join(p->queue, &a->waiter, x->client->limit_id))
        return refuse(x);
    uint64_t whose = why == NO_PLACE_AT_ALL ? 0 : x->client->limit_id;
    a->waiting = lease_of(whose, WAITING, INT64_MAX, 1);
    (void)limits_take(p->shared->limits, &a->waiting, 1, &clock, p->owner, &ignored);
    x->phase_at_us = clock_us() + (uint64_t)p->config->queue_timeout;
    count_queue(p);
    return STEP_WAIT;
}

static enum step_result conclude(struct exchange *x, enum verdict v)
{
    switch (v) {
    case FITS: write_lowered(x); return STEP_NEXT;
    case NO_PLACE:
    case NO_PLACE_AT_ALL: return wait_for_place(x, v);
    case REFUSED: return refuse(x);
    case AWAY: return exchange_fail(x, FAIL_LIMITER_AWAY);
    case ASKED: return STEP_WAIT;
    }
    UNREACHABLE();
}

/* A try of one that waits. */
static enum queue_try conclude_again(struct exchange *x, enum verdict v)
{
    static const uint64_t none[LIMIT_ITEMS_MAX];
    if (v == ASKED)
        return QUEUE_ASKED;
    if (v == NO_PLACE || v == NO_PLACE_AT_ALL) {
        give_back(x, none);
        x->admission->waits_for = v;
        return v == NO_PLACE ? QUEUE_FULL : QUEUE_STUCK;
    }
    leave_queue(x);
    if (conclude(x, v) == STEP_NEXT)
        exchange_continue(x);
    return QUEUE_GONE;
}

enum queue_try admit_try(struct waiter *w)
{
    struct exchange *x = CONTAINER_OF(w, struct admission, waiter)->exchange;
    return conclude_again(x, try_all(x));
}

static void on_redis(void *ctx, const struct redis_limit_answer *answer)
{
    struct exchange *x = ctx;
    struct admission *a = x->admission;
    struct remote *r = a->remote;
    enum verdict v;
    r->call = NULL;
    if (answer) {
        r->ticket = answer->ticket;
        set_share(x, 1);
        for (size_t i = a->n_node; i < a->n; i++) {
            const struct redis_limit_result *said = &answer->items[i - a->n_node];
            a->results[i] =
                (struct limit_result){said->fits, said->remaining, said->reset_us, said->retry_us};
        }
        remember(x, a->n);
        a->in_redis = answer->admitted;
        v = answer->admitted ? FITS : verdict(a);
    } else {
        v = decide(x);
    }
    v = or_less(x, v);
    if (v == ASKED)
        return;
    if (a->waiter.line) {
        queue_told(x->proxy->queue, &a->waiter, conclude_again(x, v));
        return;
    }
    enum step_result result = conclude(x, v);
    if (result == STEP_NEXT)
        exchange_continue(x);
    else if (result == STEP_WAIT)
        watch_arm(x);
}

enum step_result step_admit(struct exchange *x)
{
    struct proxy *p = x->proxy;
    struct admission *a = x->admission = ARENA_NEW(&x->keep, struct admission);
    a->exchange = x;
    list_init(&a->waiter.node);
    admit_collect(x);
    if (p->config->reserve == RESERVE_LOWER)
        lower_to_limits(x);
    if (p->redis_limit)
        a->remote = remote_of(x);
    bool wait_in_turn = has_places(a) && others_wait(x);
    return conclude(x, wait_in_turn ? NO_PLACE : try_all(x));
}

void admit_time_over(struct exchange *x)
{
    blame_places(x->admission);
    refuse(x);
}

/* --- bodies --- */

/* In KiB. One that is larger than all that a client may hold is admitted when it holds nothing. */
bool admit_body(struct exchange *x, size_t bytes)
{
    struct proxy *p = x->proxy;
    const struct limit_clock clock = now();
    struct limit_result result;
    uint64_t limit = (uint64_t)p->config->client_buffered / 1024, cost = (bytes + 1023) / 1024;
    if (!limit || !cost || !x->client)
        return true;
    struct limit_item it =
        lease_of(x->client->limit_id, BODIES, limit, cost < limit ? cost : limit);
    if (!limits_take(p->shared->limits, &it, 1, &clock, p->owner, &result)) {
        x->retry_after_us = LEASE_RETRY_US;
        return false;
    }
    x->body_kib = it.cost;
    return true;
}

void admit_body_is(struct exchange *x, size_t bytes)
{
    const struct limit_clock clock = now();
    const uint64_t none = 0, rest = (bytes + 1023) / 1024;
    if (x->body_kib <= rest)
        return;
    const struct limit_item it = lease_of(x->client->limit_id, BODIES, 0, x->body_kib - rest);
    limits_settle(x->proxy->shared->limits, &it, 1, &none, &clock, x->proxy->owner);
    x->body_kib = rest;
}

void admit_settle(struct exchange *x)
{
    struct admission *a = x->admission;
    uint64_t actual[LIMIT_ITEMS_MAX] = {0};
    if (!a)
        return;
    leave_queue(x);
    bool policy = fail_row(x->ending)->fault == FAULT_POLICY; /* refused: it took nothing at all */
    for (size_t i = 0; i < a->n && !policy; i++)
        actual[i] = admit_actual(x, admit_rows[a->which[i]].unit);
    if (a->n_taken > a->n_node || a->in_redis)
        count_settled(x, a->reserved, admit_actual(x, TOKENS));
    give_back(x, actual);
    x->admission = NULL;
    if (x->proxy->queue)
        queue_poke(x->proxy->queue);
    if (x->answer.state == ANSWER_DONE && x->answer.usage.output >= 0)
        admit_learn(x, a);
}
