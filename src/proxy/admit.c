/* admit.c - see admit.h; the arithmetic is policy/limit.c's.
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
    OUTPUT
};

/* What an item counts, for settling. */
enum unit { REQUESTS, TOKENS, MICRO_USD };

struct admission {
    struct limit_item items[LIMIT_ITEMS_MAX];
    struct limit_result results[LIMIT_ITEMS_MAX];
    uint8_t which[LIMIT_ITEMS_MAX];
    size_t n;
};

static const struct row {
    enum limit_kind kind;
    enum unit unit;
    bool node; /* of all clients together */
    enum fail why;
    const char *name; /* for the client: "on requests per min (RPM)" */
} rows[] = {
    [RPM] = {LIMIT_RATE, REQUESTS, false, FAIL_LIMIT_REQUESTS, "requests per min (RPM)"},
    [TPM] = {LIMIT_RATE, TOKENS, false, FAIL_LIMIT_TOKENS, "tokens per min (TPM)"},
    [OPEN] = {LIMIT_LEASE, REQUESTS, false, FAIL_LIMIT_CONCURRENT, "concurrent requests"},
    [DAY_TOKENS] = {LIMIT_DAY, TOKENS, false, FAIL_BUDGET, "tokens per day"},
    [DAY_USD] = {LIMIT_DAY, MICRO_USD, false, FAIL_BUDGET, "money per day"},
    [MONTH_USD] = {LIMIT_MONTH, MICRO_USD, false, FAIL_BUDGET, "money per month"},
    [NODE_RPM] = {LIMIT_RATE, REQUESTS, true, FAIL_NODE_BUSY, "requests per min of the gateway"},
    [NODE_TPM] = {LIMIT_RATE, TOKENS, true, FAIL_NODE_BUSY, "tokens per min of the gateway"},
    [NODE_OPEN] = {LIMIT_LEASE, REQUESTS, true, FAIL_NODE_BUSY,
                   "concurrent requests of the gateway"},
};

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

static void add(struct exchange *x, enum which which, int64_t limit, uint64_t tokens)
{
    struct admission *a = x->admission;
    const struct row *row = &rows[which];
    if (limit <= 0)
        return;
    a->which[a->n] = (uint8_t)which;
    a->items[a->n++] = (struct limit_item){
        .kind = row->kind,
        .key = limit_key(row->node ? 0 : x->client->limit_id, which),
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

static void collect(struct exchange *x)
{
    const struct config *c = x->proxy->config;
    const struct client_limits *own = &x->client->limits;
    uint64_t tokens = prompt_tokens(x) + answer_tokens(x);
    add(x, RPM, or_else(own->rpm, c->rate_limit_rpm), 0);
    add(x, TPM, or_else(own->tpm, c->rate_limit_tpm), tokens);
    add(x, OPEN, or_else(own->concurrent, c->concurrent_requests), 0);
    add(x, DAY_TOKENS, or_else(own->tokens_per_day, c->tokens_per_day), tokens);
    add(x, DAY_USD, or_else(own->usd_per_day, c->usd_per_day * MICRO), 0);
    add(x, MONTH_USD, or_else(own->usd_per_month, c->usd_per_month * MICRO), 0);
    add(x, NODE_RPM, c->node_rpm, 0);
    add(x, NODE_TPM, c->node_tpm, tokens);
    add(x, NODE_OPEN, c->node_concurrent, 0);
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
    x->admission = NULL; /* nothing was taken */
    x->retry_after_us = (int64_t)retry_us;
    LOG(LOG_DEBUG, "limit reached", LOG_STR("id", x->id), LOG_CSTR("limit", row->name));
    if (row->why == FAIL_BUDGET)
        return exchange_fail_with(
            x, FAIL_BUDGET, STR_NONE, STR_NONE,
            arena_printf(&x->keep, "The budget of this key is used up: %s.", row->name));
    struct str message = arena_printf(
        &x->keep, "Rate limit reached on %s: Limit %llu, Requested %llu. Please try again in %.*s.",
        row->name, (unsigned long long)it->limit, (unsigned long long)it->cost,
        STR_FMT(upstream_duration(retry_us, wait)));
    return exchange_fail_with(x, row->why, STR_NONE, STR_NONE, message);
}

enum step_result step_admit(struct exchange *x)
{
    const struct limit_clock clock = now();
    struct proxy *p = x->proxy;
    x->admission = ARENA_NEW(&x->keep, struct admission);
    struct admission *a = x->admission;
    collect(x);
    bool fits = limits_take(p->shared->limits, a->items, a->n, &clock, p->owner, a->results);
    remember(x);
    return fits ? STEP_NEXT : refuse(x);
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

void admit_settle(struct exchange *x)
{
    struct admission *a = x->admission;
    uint64_t actual[LIMIT_ITEMS_MAX];
    const struct limit_clock clock = now();
    struct limits *l = x->proxy->shared->limits;
    if (!a)
        return;
    x->admission = NULL;
    for (size_t i = 0; i < a->n; i++)
        actual[i] = actual_of(x, rows[a->which[i]].unit);
    limits_settle(l, a->items, a->n, actual, &clock, x->proxy->owner);
    if (x->answer.state == ANSWER_DONE && x->answer.usage.output >= 0)
        limits_learn(l, output_key(x), OUTPUT_PRIOR, (uint64_t)x->answer.usage.output);
}
