/* admit.c - see admit.h; the arithmetic is policy/limit.c's.
 *
 *   node's limits --fit--> client's limits: here, or in Redis, which all nodes ask --fit--> route
 *        |                        |           \-- no answer: local, open or closed
 *        +---- no free place -----+--> queue.c --a place is free--> all of it once more
 *
 * The guess: llm/tokens.c's, corrected by how far it was off for this client and model. What an answer
 * will take: the client's own bound; without one, what nine of ten of its answers by this model have been
 * taking, so that nobody is refused for a maximum that he never uses.
 */
#include "proxy/admit.h"

#include "base/clock.h"
#include "llm/price.h"
#include "llm/tokens.h"
#include "proxy/count.h"
#include "proxy/proxy_int.h"

enum {
    OUTPUT_PRIOR = 1000,
    PROMPT_EXACT = 1024, /* a guess that was neither too small nor too large */
    ANSWER_LEAST = 1024,
    LOWERINGS_MAX = 4,
    LEASE_RETRY_US = 1000 * 1000,
    MICRO = 1000 * 1000,
    MINUTE_US = 60 * MICRO,
};

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

static const struct row {
    enum limit_kind kind;
    enum unit unit;
    bool node; /* of all clients together */
    enum fail why;
    const char *key;  /* in Redis */
    const char *name; /* for the client: "on requests per min (RPM)" */
} rows[] = {
    [RPM] = {LIMIT_RATE, REQUESTS, false, FAIL_LIMIT_REQUESTS, "rpm", "requests per min (RPM)"},
    [TPM] = {LIMIT_RATE, TOKENS, false, FAIL_LIMIT_TOKENS, "tpm", "tokens per min (TPM)"},
    [OPEN] = {LIMIT_LEASE, REQUESTS, false, FAIL_LIMIT_CONCURRENT, "open", "concurrent requests"},
    [DAY_TOKENS] = {LIMIT_DAY, TOKENS, false, FAIL_BUDGET, "day-tokens", "tokens per day"},
    [DAY_USD] = {LIMIT_DAY, MICRO_USD, false, FAIL_BUDGET, "day-usd", "money per day"},
    [MONTH_USD] = {LIMIT_MONTH, MICRO_USD, false, FAIL_BUDGET, "month-usd", "money per month"},
    [NODE_RPM] = {LIMIT_RATE, REQUESTS, true, FAIL_NODE_BUSY, "node",
                  "requests per min of the gateway"},
    [NODE_TPM] = {LIMIT_RATE, TOKENS, true, FAIL_NODE_BUSY, "node",
                  "tokens per min of the gateway"},
    [NODE_OPEN] = {LIMIT_LEASE, REQUESTS, true, FAIL_NODE_BUSY, "node",
                   "concurrent requests of the gateway"},
    [MODEL_RPM] = {LIMIT_RATE, REQUESTS, false, FAIL_LIMIT_REQUESTS, "model-rpm",
                   "requests per min (RPM) of"},
    [MODEL_TPM] = {LIMIT_RATE, TOKENS, false, FAIL_LIMIT_TOKENS, "model-tpm",
                   "tokens per min (TPM) of"},
    [MODEL_OPEN] = {LIMIT_LEASE, REQUESTS, false, FAIL_LIMIT_CONCURRENT, "model-open",
                    "concurrent requests of"},
};

/* Whether a limit is of one model: its name is a part of the key, and of what the client is told. */
static bool is_of_model(enum which which)
{
    return which == MODEL_RPM || which == MODEL_TPM || which == MODEL_OPEN;
}

static struct limit_clock now(void)
{
    return (struct limit_clock){.now_us = clock_us(), .wall_us = clock_wall_us()};
}

/* --- the guess --- */

/* What is learnt of one client and model; names that clients make up are one model, so that they fill no
 * table. */
static uint64_t learnt_key(const struct exchange *x, enum which which)
{
    return limit_key(x->client->limit_id + count_model(x), which);
}

/* The rule of thumb, corrected by how far it was off for this client and model: between a quarter and four
 * times of it. */
static uint64_t prompt_tokens(struct exchange *x)
{
    struct admission *a = x->admission;
    uint64_t off = limits_learnt(x->proxy->shared->limits, learnt_key(x, PROMPT), PROMPT_EXACT);
    a->guess = tokens_of_prompt(x->decoded.request, rope_len(&x->upstream));
    a->expected = a->guess * off / PROMPT_EXACT;
    return a->expected;
}

static void learn_prompt(struct exchange *x, uint64_t guess, uint64_t actual)
{
    uint64_t off = actual * PROMPT_EXACT / guess;
    if (off < PROMPT_EXACT / 4)
        off = PROMPT_EXACT / 4;
    if (off > PROMPT_EXACT * 4)
        off = PROMPT_EXACT * 4;
    limits_learn_mean(x->proxy->shared->limits, learnt_key(x, PROMPT), PROMPT_EXACT, off);
}

static uint64_t answer_tokens(const struct exchange *x)
{
    if (x->decoded.max_tokens_name.n || x->proxy->config->reserve != RESERVE_USUAL)
        return (uint64_t)x->decoded.request->max_tokens;
    uint64_t usual = limits_learnt(x->proxy->shared->limits, learnt_key(x, OUTPUT), OUTPUT_PRIOR);
    uint64_t most = (uint64_t)x->decoded.request->max_tokens;
    return usual < most ? usual : most;
}

/* --- the items --- */

/* Whose limit it is. */
static uint64_t holder_of(const struct exchange *x, enum which which)
{
    if (rows[which].node)
        return 0;
    return is_of_model(which) ? x->client->limit_id ^ limit_id(x->decoded.model->id)
                              : x->client->limit_id;
}

static void add(struct exchange *x, enum which which, int64_t limit, uint64_t tokens)
{
    struct admission *a = x->admission;
    const struct row *row = &rows[which];
    if (limit <= 0)
        return;
    a->which[a->n] = (uint8_t)which;
    a->items[a->n++] = (struct limit_item){
        .kind = row->kind,
        .key = limit_key(holder_of(x, which), which),
        .limit = (uint64_t)limit,
        .period_us = MINUTE_US,
        .cost = row->unit == REQUESTS ? 1
                : row->unit == TOKENS ? tokens
                                      : 0,
    };
}

/* The client's own limit goes before the server's. */
static int64_t or_else(int64_t own, int64_t server)
{
    return own >= 0 ? own : server;
}

/* The entry that means the model of this request, by whichever of its names; or one that says nothing. */
static const struct model_limit *of_model(struct exchange *x, const struct model_limits *list)
{
    static const struct model_limit unsaid = {.rpm = -1, .tpm = -1, .concurrent = -1};
    const struct model *model;
    for (size_t i = 0; i < list->n; i++)
        if (models_resolve(x->proxy->models, list->list[i].model, &x->scratch, &model) !=
                MODEL_UNKNOWN &&
            str_eq(model->id, x->decoded.model->id))
            return &list->list[i];
    return &unsaid;
}

/* What holds of a kind of limit while Redis is away. */
static enum fallback fallback_of(const struct exchange *x, enum limit_kind kind)
{
    const struct fallbacks *f = &x->proxy->config->fallbacks;
    if (!x->proxy->redis_limit)
        return FALLBACK_LOCAL;
    switch (kind) {
    case LIMIT_RATE: return f->rates;
    case LIMIT_DAY:
    case LIMIT_MONTH: return f->budgets;
    case LIMIT_LEASE: return f->concurrency;
    }
    UNREACHABLE();
}

static void collect_own(struct exchange *x, uint64_t tokens, bool open)
{
    const struct config *c = x->proxy->config;
    const struct client_limits *own = &x->client->limits;
    const struct model_limit *mine = of_model(x, &x->client->model_limits);
    const struct model_limit *any = of_model(x, &c->model_limits);
    if ((fallback_of(x, LIMIT_RATE) == FALLBACK_OPEN) == open) {
        add(x, RPM, or_else(own->rpm, c->rate_limit_rpm), 0);
        add(x, TPM, or_else(own->tpm, c->rate_limit_tpm), tokens);
        add(x, MODEL_RPM, or_else(mine->rpm, any->rpm), 0);
        add(x, MODEL_TPM, or_else(mine->tpm, any->tpm), tokens);
    }
    if ((fallback_of(x, LIMIT_LEASE) == FALLBACK_OPEN) == open) {
        add(x, OPEN, or_else(own->concurrent, c->concurrent_requests), 0);
        add(x, MODEL_OPEN, or_else(mine->concurrent, any->concurrent), 0);
    }
    if ((fallback_of(x, LIMIT_DAY) == FALLBACK_OPEN) == open) {
        add(x, DAY_TOKENS, or_else(own->tokens_per_day, c->tokens_per_day), tokens);
        add(x, DAY_USD, or_else(own->usd_per_day, c->usd_per_day * MICRO), 0);
        add(x, MONTH_USD, or_else(own->usd_per_month, c->usd_per_month * MICRO), 0);
    }
}

static void collect(struct exchange *x)
{
    const struct config *c = x->proxy->config;
    struct admission *a = x->admission;
    uint64_t tokens = a->reserved = prompt_tokens(x) + answer_tokens(x);
    add(x, NODE_RPM, c->node_rpm, 0);
    add(x, NODE_TPM, c->node_tpm, tokens);
    add(x, NODE_OPEN, c->node_concurrent, 0);
    a->n_node = a->n;
    collect_own(x, tokens, false);
    a->n_local = a->n;
    collect_own(x, tokens, true);
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
        if (rows[a->which[i]].why == FAIL_BUDGET)
            count_budget(x, a->which[i] - (unsigned)DAY_TOKENS, a->items[i].limit,
                         a->results[i].remaining);
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
    const struct row *row = &rows[a->which[i]];
    uint64_t retry_us = a->results[i].retry_us ? a->results[i].retry_us : LEASE_RETRY_US;
    x->retry_after_us = (int64_t)retry_us;
    LOG(LOG_DEBUG, "limit reached", LOG_STR("id", x->id), LOG_CSTR("limit", row->name));
    if (row->why == FAIL_BUDGET)
        return exchange_fail_with(
            x, FAIL_BUDGET, STR_NONE, STR_NONE,
            arena_printf(&x->keep, "The budget of this key is used up: %s.", row->name));
    struct str model = is_of_model(a->which[i]) ? x->decoded.model->id : STR("");
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

static void add_remote(struct exchange *x, struct remote *r, const struct limit_item *it,
                       enum which which)
{
    static const enum redis_limit_kind kinds[] = {
        [LIMIT_RATE] = REDIS_LIMIT_CELL,
        [LIMIT_DAY] = REDIS_LIMIT_BUDGET,
        [LIMIT_MONTH] = REDIS_LIMIT_BUDGET,
        [LIMIT_LEASE] = REDIS_LIMIT_LEASE,
    };

    const uint64_t day_us = UINT64_C(86400) * MICRO;
    uint64_t longest = (uint64_t)x->proxy->config->total_timeout + MINUTE_US;
    const uint64_t periods[] = {
        [LIMIT_RATE] = MINUTE_US, [LIMIT_DAY] = day_us, [LIMIT_MONTH] = 0, [LIMIT_LEASE] = longest};
    struct str model = is_of_model(which) ? x->decoded.model->id : STR("");
    r->items[r->n++] = (struct redis_limit_item){
        .kind = kinds[it->kind],
        .key = arena_printf(&x->keep, "%.*s:%s%s%.*s", STR_FMT(x->client->name), rows[which].key,
                            model.n > 0 ? ":" : "", STR_FMT(model)),
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
        if (fallback_of(x, a->items[i].kind) == FALLBACK_CLOSED)
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
        if (rows[a->which[i]].unit != TOKENS)
            continue;
        a->items[i].cost = left;
        if (a->remote && i >= a->n_node)
            a->remote->items[i - a->n_node].cost = left;
    }
    return true;
}

/* More than the whole of a limit is never left. */
static void lower_to_limits(struct exchange *x)
{
    const struct admission *a = x->admission;
    for (size_t i = 0; i < a->n; i++)
        if (rows[a->which[i]].unit == TOKENS && a->items[i].kind == LIMIT_RATE)
            (void)lower_to(x, a->items[i].limit);
}

/* Tokens are lacking, and the answer can do with what is left of them, or with the least. */
static bool lower(struct exchange *x)
{
    static const uint64_t none[LIMIT_ITEMS_MAX];
    struct admission *a = x->admission;
    size_t i = lacking(a);
    bool tokens = rows[a->which[i]].unit == TOKENS && a->items[i].kind == LIMIT_RATE;
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
    count_waited(x->proxy, clock_us() + (uint64_t)x->proxy->config->queue_timeout - x->phase_at_us);
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
    a->waiting = (struct limit_item){LIMIT_LEASE, limit_key(whose, WAITING), INT64_MAX, 0, 1};
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
    collect(x);
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
    struct limit_item it = {LIMIT_LEASE, limit_key(x->client->limit_id, BODIES), limit, 0,
                            cost < limit ? cost : limit};
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
    struct limit_item it = {.kind = LIMIT_LEASE,
                            .key = limit_key(x->client->limit_id, BODIES),
                            .cost = x->body_kib - rest};
    limits_settle(x->proxy->shared->limits, &it, 1, &none, &clock, x->proxy->owner);
    x->body_kib = rest;
}

/* What each unit came to. Who was not answered pays for no tokens; whose answer broke off, for what
 * is known of it. */
static uint64_t actual_of(const struct exchange *x, enum unit unit)
{
    const struct usage *u = &x->answer.usage;
    if (unit == REQUESTS)
        return 1;
    if (x->answer.state == ANSWER_EMPTY)
        return 0;
    bool estimated;
    int64_t output = exchange_output_tokens(x, &estimated);
    if (unit == TOKENS)
        return (uint64_t)(usage_prompt_tokens(u) + output);
    struct usage known = *u;
    known.output = output;
    return (uint64_t)price_micro_usd(x->decoded.model, &known);
}

/* What the answer says of the guesses; rounds of a resumed one count their prompt several times. */
static void learn(struct exchange *x, const struct admission *a)
{
    const struct usage *u = &x->answer.usage;
    limits_learn(x->proxy->shared->limits, learnt_key(x, OUTPUT), OUTPUT_PRIOR,
                 (uint64_t)u->output);
    if (x->rounds > 0 || a->guess == 0)
        return;
    uint64_t actual = (uint64_t)usage_prompt_tokens(u);
    learn_prompt(x, a->guess, actual);
    count_guess(x, a->expected, actual);
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
        actual[i] = actual_of(x, rows[a->which[i]].unit);
    if (a->n_taken > a->n_node || a->in_redis)
        count_settled(x, a->reserved, actual_of(x, TOKENS));
    give_back(x, actual);
    x->admission = NULL;
    if (x->proxy->queue)
        queue_poke(x->proxy->queue);
    if (x->answer.state == ANSWER_DONE && x->answer.usage.output >= 0)
        learn(x, a);
}
