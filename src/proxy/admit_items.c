/* admit_items.c - what a request asks of the limits, and what it came to.
 *
 * The guess: llm/tokens.c's, corrected by how far it was off for this client and model. What an answer
 * will take: the client's own bound; without one, what nine of ten of its answers by this model have been
 * taking, so that nobody is refused for a maximum that he never uses.
 */
#include "llm/price.h"
#include "llm/tokens.h"
#include "proxy/admit_int.h"
#include "proxy/count.h"

enum {
    OUTPUT_PRIOR = 1000,
    PROMPT_EXACT = 1024, /* a guess that was neither too small nor too large */
};

const struct admit_row admit_rows[] = {
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

bool admit_is_of_model(enum which which)
{
    return which == MODEL_RPM || which == MODEL_TPM || which == MODEL_OPEN;
}

/* --- the guess --- */

/* What is learnt of one client and model; names that clients make up are one model, so that they fill no
 * table. */
static uint64_t learnt_key(struct exchange *x, enum which which)
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

static uint64_t answer_tokens(struct exchange *x)
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
    if (admit_rows[which].node)
        return 0;
    return admit_is_of_model(which) ? limit_part(x->client->limit_id, x->decoded.model->id)
                                    : x->client->limit_id;
}

uint64_t admit_cost(const struct exchange *x, enum unit unit)
{
    const struct admission *a = x->admission;
    const struct usage guess = {.input = (int64_t)a->expected,
                                .output = (int64_t)(a->reserved - a->expected)};
    switch (unit) {
    case REQUESTS: return 1;
    case TOKENS: return a->reserved;
    case MICRO_USD: return (uint64_t)price_micro_usd(x->decoded.model, &guess);
    }
    UNREACHABLE();
}

static struct limit_item item(const struct exchange *x, enum which which, int64_t limit)
{
    return (struct limit_item){
        .kind = admit_rows[which].kind,
        .key = limit_key(holder_of(x, which), which),
        .limit = (uint64_t)limit,
        .period_us = ADMIT_MINUTE_US,
    };
}

static void add(struct exchange *x, enum which which, int64_t limit)
{
    struct admission *a = x->admission;
    if (limit <= 0)
        return;
    a->which[a->n] = (uint8_t)which;
    a->items[a->n] = item(x, which, limit);
    a->items[a->n++].cost = admit_cost(x, admit_rows[which].unit);
}

/* The client's own limit goes before the server's. */
static int64_t or_else(int64_t own, int64_t server)
{
    return own >= 0 ? own : server;
}

static int64_t rpm_of(const struct exchange *x)
{
    return or_else(x->client->limits.rpm, x->proxy->config->rate_limit_rpm);
}

static int64_t tpm_of(const struct exchange *x)
{
    return or_else(x->client->limits.tpm, x->proxy->config->rate_limit_tpm);
}

struct limit_item admit_look(const struct exchange *x, enum which which)
{
    return item(x, which, which == RPM ? rpm_of(x) : tpm_of(x));
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

enum fallback admit_fallback(const struct exchange *x, enum limit_kind kind)
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

static void collect_own(struct exchange *x, bool open)
{
    const struct config *c = x->proxy->config;
    const struct client_limits *own = &x->client->limits;
    const struct model_limit *mine = of_model(x, &x->client->model_limits);
    const struct model_limit *any = of_model(x, &c->model_limits);
    if ((admit_fallback(x, LIMIT_RATE) == FALLBACK_OPEN) == open) {
        add(x, RPM, rpm_of(x));
        add(x, TPM, tpm_of(x));
        add(x, MODEL_RPM, or_else(mine->rpm, any->rpm));
        add(x, MODEL_TPM, or_else(mine->tpm, any->tpm));
    }
    if ((admit_fallback(x, LIMIT_LEASE) == FALLBACK_OPEN) == open) {
        add(x, OPEN, or_else(own->concurrent, c->concurrent_requests));
        add(x, MODEL_OPEN, or_else(mine->concurrent, any->concurrent));
    }
    if ((admit_fallback(x, LIMIT_DAY) == FALLBACK_OPEN) == open) {
        add(x, DAY_TOKENS, or_else(own->tokens_per_day, c->tokens_per_day));
        add(x, DAY_USD, or_else(own->usd_per_day, c->usd_per_day * ADMIT_MICRO));
        add(x, MONTH_USD, or_else(own->usd_per_month, c->usd_per_month * ADMIT_MICRO));
    }
}

void admit_collect(struct exchange *x)
{
    const struct config *c = x->proxy->config;
    struct admission *a = x->admission;
    a->reserved = prompt_tokens(x) + answer_tokens(x);
    add(x, NODE_RPM, c->node_rpm);
    add(x, NODE_TPM, c->node_tpm);
    add(x, NODE_OPEN, c->node_concurrent);
    a->n_node = a->n;
    collect_own(x, false);
    a->n_local = a->n;
    collect_own(x, true);
}

/* --- what it came to --- */

uint64_t admit_actual(const struct exchange *x, enum unit unit)
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

/* Rounds of a resumed answer count their prompt several times. */
void admit_learn(struct exchange *x, const struct admission *a)
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
