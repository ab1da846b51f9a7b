/* admit.c - see admit.h; the arithmetic is policy/limit.c's.
 *
 *   node's limits --fit--> client's limits: here, or in Redis, which all nodes ask --fit--> route
 *                                             \-- no answer: local, open or closed
 *
 * The guess: four bytes of text are about a token, a picture is a fixed number, base64 of a document
 * shrinks by what its text is. What an answer will take: the client's own bound; without one, what nine
 * of ten of its answers have been taking, so that nobody is refused for a maximum that he never uses.
 */
#include "proxy/admit.h"

#include "base/clock.h"
#include "llm/price.h"
#include "proxy/proxy_int.h"

enum {
    BYTES_PER_TOKEN = 4,
    IMAGE_TOKENS = 1600,
    PDF_BYTES_PER_TOKEN = 40, /* of base64: pages are mostly pictures and fonts */
    OUTPUT_PRIOR = 1000,
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
    OUTPUT
};

/* What an item counts, for settling. */
enum unit { REQUESTS, TOKENS, MICRO_USD };

/* Of the items, the node's stand first. */
struct admission {
    struct limit_item items[LIMIT_ITEMS_MAX];
    struct limit_result results[LIMIT_ITEMS_MAX];
    uint8_t which[LIMIT_ITEMS_MAX];
    size_t n, n_node;
    size_t n_taken;        /* of them, here; the first ones */
    struct remote *remote; /* the same limits in Redis; NULL: not asked */
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

static uint64_t media_tokens(const struct block *b, size_t *ret_bytes)
{
    uint64_t n = 0;
    for (; b; b = b->next) {
        bool inlined = b->source == SOURCE_BASE64;
        if (b->type == BLOCK_IMAGE || b->type == BLOCK_DOCUMENT)
            *ret_bytes += inlined ? b->text.n : 0;
        if (b->type == BLOCK_IMAGE || (b->type == BLOCK_DOCUMENT && b->source == SOURCE_URL))
            n += IMAGE_TOKENS;
        else if (b->type == BLOCK_DOCUMENT && inlined)
            n += b->text.n / PDF_BYTES_PER_TOKEN;
        n += media_tokens(b->content, ret_bytes);
    }
    return n;
}

static uint64_t prompt_tokens(const struct exchange *x)
{
    uint64_t tokens = 0;
    size_t media = 0;
    for (const struct turn *t = x->decoded.request->turns; t; t = t->next)
        tokens += media_tokens(t->blocks.first, &media);
    size_t all = rope_len(&x->upstream);
    return tokens + (all > media ? all - media : 0) / BYTES_PER_TOKEN;
}

static uint64_t output_key(const struct exchange *x)
{
    return limit_key(x->client->limit_id, OUTPUT);
}

static uint64_t answer_tokens(const struct exchange *x)
{
    if (x->decoded.max_tokens_name.n)
        return (uint64_t)x->decoded.request->max_tokens;
    uint64_t usual = limits_learnt(x->proxy->shared->limits, output_key(x), OUTPUT_PRIOR);
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

static void collect_model(struct exchange *x, uint64_t tokens)
{
    const struct model_limit *own = of_model(x, &x->client->model_limits);
    const struct model_limit *all = of_model(x, &x->proxy->config->model_limits);
    add(x, MODEL_RPM, or_else(own->rpm, all->rpm), 0);
    add(x, MODEL_TPM, or_else(own->tpm, all->tpm), tokens);
    add(x, MODEL_OPEN, or_else(own->concurrent, all->concurrent), 0);
}

static void collect(struct exchange *x)
{
    const struct config *c = x->proxy->config;
    const struct client_limits *own = &x->client->limits;
    uint64_t tokens = prompt_tokens(x) + answer_tokens(x);
    add(x, NODE_RPM, c->node_rpm, 0);
    add(x, NODE_TPM, c->node_tpm, tokens);
    add(x, NODE_OPEN, c->node_concurrent, 0);
    x->admission->n_node = x->admission->n;
    add(x, RPM, or_else(own->rpm, c->rate_limit_rpm), 0);
    add(x, TPM, or_else(own->tpm, c->rate_limit_tpm), tokens);
    add(x, OPEN, or_else(own->concurrent, c->concurrent_requests), 0);
    add(x, DAY_TOKENS, or_else(own->tokens_per_day, c->tokens_per_day), tokens);
    add(x, DAY_USD, or_else(own->usd_per_day, c->usd_per_day * MICRO), 0);
    add(x, MONTH_USD, or_else(own->usd_per_month, c->usd_per_month * MICRO), 0);
    collect_model(x, tokens);
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

static void remember(struct exchange *x)
{
    const struct admission *a = x->admission;
    for (size_t i = 0; i < a->n; i++) {
        if (a->which[i] == RPM)
            tell(&a->items[i], &a->results[i], &x->own_limits.requests);
        if (a->which[i] == TPM)
            tell(&a->items[i], &a->results[i], &x->own_limits.tokens);
    }
}

static enum step_result refuse(struct exchange *x)
{
    const struct admission *a = x->admission;
    char wait[UPSTREAM_DURATION];
    size_t i = 0;
    while (i + 1 < a->n && a->results[i].fits)
        i++;
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

/* Takes the items from `from` on, here. */
static bool take_here(struct exchange *x, size_t from, size_t n)
{
    const struct limit_clock clock = now();
    struct proxy *p = x->proxy;
    struct admission *a = x->admission;
    if (!limits_take(p->shared->limits, a->items + from, n, &clock, p->owner, a->results + from))
        return false;
    a->n_taken = from + n;
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
    redis_limit_ticket(&r->ticket);
    return r;
}

/* Without Redis, or while it is away. */
static enum step_result decide(struct exchange *x)
{
    struct admission *a = x->admission;
    switch (x->proxy->redis_limit ? x->proxy->config->fallback : FALLBACK_LOCAL) {
    case FALLBACK_OPEN: return STEP_NEXT;
    case FALLBACK_CLOSED: return exchange_fail(x, FAIL_LIMITER_AWAY);
    case FALLBACK_LOCAL: break;
    }
    bool fits = take_here(x, a->n_node, a->n - a->n_node);
    remember(x);
    return fits ? STEP_NEXT : refuse(x);
}

static void on_redis(void *ctx, const struct redis_limit_answer *answer)
{
    struct exchange *x = ctx;
    struct admission *a = x->admission;
    struct remote *r = a->remote;
    enum step_result result;
    r->call = NULL;
    if (answer) {
        r->ticket = answer->ticket;
        for (size_t i = a->n_node; i < a->n; i++) {
            const struct redis_limit_result *said = &answer->items[i - a->n_node];
            a->results[i] =
                (struct limit_result){said->fits, said->remaining, said->reset_us, said->retry_us};
        }
        remember(x);
        if (!answer->admitted)
            a->remote = NULL; /* nothing was taken there */
        result = answer->admitted ? STEP_NEXT : refuse(x);
    } else {
        result = decide(x);
    }
    if (result == STEP_NEXT)
        exchange_continue(x);
}

enum step_result step_admit(struct exchange *x)
{
    struct proxy *p = x->proxy;
    struct admission *a = x->admission = ARENA_NEW(&x->keep, struct admission);
    collect(x);
    for (size_t i = 0; i < a->n; i++)
        a->results[i].fits = true;
    if (!take_here(x, 0, a->n_node))
        return refuse(x);
    if (!p->redis_limit)
        return decide(x);
    a->remote = remote_of(x);
    a->remote->call = redis_limit_admit(p->redis_limit, &a->remote->ticket, a->remote->items,
                                        a->remote->n, on_redis, x);
    return a->remote->call ? STEP_WAIT : decide(x);
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

static void settle_remote(struct exchange *x, const uint64_t *actual)
{
    struct admission *a = x->admission;
    struct remote *r = a->remote;
    uint64_t units[REDIS_LIMIT_ITEMS_MAX] = {0};
    if (!r)
        return;
    if (r->call) { /* left while it was asked */
        redis_limit_cancel(r->call);
        return;
    }
    for (size_t i = a->n_node; i < a->n; i++)
        units[i - a->n_node] = actual[i];
    redis_limit_settle(x->proxy->redis_limit, &r->ticket, r->items, r->n, units);
}

void admit_settle(struct exchange *x)
{
    struct admission *a = x->admission;
    uint64_t actual[LIMIT_ITEMS_MAX] = {0};
    const struct limit_clock clock = now();
    struct limits *l = x->proxy->shared->limits;
    if (!a)
        return;
    bool policy = fail_row(x->ending)->fault == FAULT_POLICY; /* refused: it took nothing at all */
    for (size_t i = 0; i < a->n && !policy; i++)
        actual[i] = actual_of(x, rows[a->which[i]].unit);
    limits_settle(l, a->items, a->n_taken, actual, &clock, x->proxy->owner);
    settle_remote(x, actual);
    x->admission = NULL;
    if (x->answer.state == ANSWER_DONE && x->answer.usage.output >= 0)
        limits_learn(l, output_key(x), OUTPUT_PRIOR, (uint64_t)x->answer.usage.output);
}
