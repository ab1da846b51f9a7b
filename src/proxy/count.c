/* count.c - see count.h; what the metrics mean: obs/metrics.def.
 *
 * Labels that tables give have their values in the tables' order, so their numbers are known without
 * looking: 0 is "other", the first row is 1.
 */
#include "proxy/count.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/text.h"
#include "io/tls.h"
#include "llm/price.h"
#include "proxy/endpoint.h"
#include "proxy/proxy_int.h"

enum { TYPE_TEXT = 64 };

enum { INPUT = 1, OUTPUT, CACHE_READ, CACHE_WRITE, REASONING };

enum { SUCCESS = 1, FAILURE };

enum { FROM_CLIENTS = 1, UPSTREAM_BUSY, UPSTREAM_IDLE };

enum { LIMIT_REQUESTS = 1, LIMIT_TOKENS, LIMIT_CONCURRENT, LIMIT_BUDGET, LIMIT_NODE };

static const char *const methods[] = {"GET", "POST", "HEAD", "OPTIONS"};
static const char *const protocols[] = {"HTTP/1.0", "HTTP/1.1", "HTTP/2"};
static const char *const tokens[] = {"input", "output", "cache_read", "cache_write", "reasoning"};
static const char *const outcomes[] = {"success", "failure"};
static const char *const sides[] = {"client", "upstream_busy", "upstream_idle"};
static const char *const limits[] = {"requests", "tokens", "concurrent", "budget", "node"};
static const char *const auths[] = {"accepted", "refused", "conflict", "penalized"};
static const char *const handshakes[] = {"full", "resumed", "failed", "late", "shed"};
static const char *const staples[] = {"good", "unanswered", "unusable", "revoked"};
static const int statuses[] = {200, 204, 400, 401, 403, 404, 405, 408, 409, 413, 415,
                               417, 429, 431, 499, 500, 501, 502, 503, 504, 505, 529};

_Static_assert(ARRAY_LEN(handshakes) == HANDSHAKE_COUNT, "each has a name");

enum { PENALIZED = ARRAY_LEN(auths) };

enum { NO_STATUS = ARRAY_LEN(statuses) + 1 };

/* --- values of labels ----------------------------------------------------------------------- */

static void name_all(struct metrics *m, enum metric_label label, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        metrics_value(m, label, str_c(names[i]));
}

/* "caller_bad_message": whose fault it was, and what; what says whose already is not doubled. */
static struct str error_type(const struct fail_row *row, char out[TYPE_TEXT])
{
    struct str name = str_c(row->name), fault = str_c(fault_name(row->fault));
    bool says = str_starts_nocase(name, fault);
    int n = snprintf(out, TYPE_TEXT, "%s%s%s", says ? "" : fault.p, says ? "" : "_", row->name);
    for (int i = 0; i < n; i++)
        if (out[i] >= 'A' && out[i] <= 'Z')
            out[i] = (char)(out[i] | 0x20);
    return str_of(out, (size_t)n);
}

void count_init(const struct meter *t)
{
    struct metrics *m = t->metrics;
    char text[TYPE_TEXT];
    name_all(m, LABEL_METHOD, methods, ARRAY_LEN(methods));
    name_all(m, LABEL_PROTOCOL, protocols, ARRAY_LEN(protocols));
    name_all(m, LABEL_TOKENS, tokens, ARRAY_LEN(tokens));
    name_all(m, LABEL_OUTCOME, outcomes, ARRAY_LEN(outcomes));
    name_all(m, LABEL_SIDE, sides, ARRAY_LEN(sides));
    name_all(m, LABEL_LIMIT, limits, ARRAY_LEN(limits));
    name_all(m, LABEL_AUTH, auths, ARRAY_LEN(auths));
    name_all(m, LABEL_STAPLE, staples, ARRAY_LEN(staples));
    name_all(m, LABEL_HANDSHAKE, handshakes, ARRAY_LEN(handshakes));
    for (enum server_flood f = FLOOD_NONE + 1; f < FLOOD_COUNT; f++)
        (void)metrics_value(m, LABEL_FLOOD, str_c(server_flood_name(f)));
    for (enum server_rejection r = REJECT_NONE + 1; r < REJECT_COUNT; r++)
        (void)metrics_value(m, LABEL_REJECTION, str_c(server_rejection_name(r)));
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        int n = snprintf(text, sizeof(text), "%d", statuses[i]);
        metrics_value(m, LABEL_STATUS, str_of(text, (size_t)n));
    }
    metrics_value(m, LABEL_STATUS, STR("none"));
    for (unsigned f = 0; f < FAIL_COUNT; f++)
        metrics_value(m, LABEL_ERROR, error_type(fail_row(f), text));
    for (size_t i = 0; i < endpoint_count(); i++)
        metrics_value(m, LABEL_ENDPOINT, endpoint_at(i)->path);
    metrics_set(t, METRIC_STARTED_AT, 0, clock_wall_us());
}

void count_adopt(struct metrics *m, const struct config *c)
{
    const struct models_options options = {.settings = c->models};
    char error[MODELS_ERROR];
    struct models *models = models_new(&options, error);
    for (size_t i = 0; models && i < models_count(models); i++)
        metrics_value(m, LABEL_MODEL, models_at(models, i)->id);
    models_free(models);
    for (size_t i = 1; i <= c->n_upstream_keys; i++) {
        int n = snprintf(error, sizeof(error), "%zu", i);
        metrics_value(m, LABEL_KEY, str_of(error, (size_t)n));
    }
    for (size_t i = 0; i < c->clients.n; i++)
        metrics_value(m, LABEL_CLIENT, c->clients.list[i].name);
}

static unsigned status_value(int status)
{
    for (unsigned i = 0; i < ARRAY_LEN(statuses); i++)
        if (statuses[i] == status)
            return i + 1;
    return status == 0 ? NO_STATUS : 0;
}

static unsigned method_value(enum h1_method method)
{
    static const unsigned values[] = {[H1_GET] = 1, [H1_POST] = 2, [H1_HEAD] = 3, [H1_OPTIONS] = 4};
    return (size_t)method < ARRAY_LEN(values) ? values[method] : 0;
}

static unsigned endpoint_value(const struct exchange *x)
{
    return x->endpoint ? (unsigned)endpoint_index(x->endpoint) + 1 : 0;
}

unsigned count_model(struct exchange *x)
{
    const struct model *model = x->decoded.model;
    if (model != x->counted_model)
        x->model_value = model ? metrics_find(x->proxy->meter.metrics, LABEL_MODEL, model->id) : 0;
    x->counted_model = model;
    return x->model_value;
}

/* --- on the way ----------------------------------------------------------------------------- */

void count_gauges(struct proxy *p)
{
    const struct meter *t = &p->meter;
    metrics_set(t, METRIC_ACTIVE, 0, p->n_open);
    metrics_set(t, METRIC_STREAMS, 0, p->n_streams);
    metrics_set(t, METRIC_CONNECTIONS, FROM_CLIENTS, server_connections(p->server));
    metrics_set(t, METRIC_CONNECTIONS, UPSTREAM_BUSY, pool_busy(p->pool));
    metrics_set(t, METRIC_CONNECTIONS, UPSTREAM_IDLE, pool_idle(p->pool));
    metrics_set(t, METRIC_BUFFERED, 0, buf_total());
}

static void count_lost_lines(struct proxy *p)
{
    uint64_t lost = log_lost();
    metrics_add(&p->meter, METRIC_LOG_DROPPED, 0, 0, 0, lost - p->log_lost);
    p->log_lost = lost;
}

enum { DAY_TEXT = 10, MONTH_TEXT = 7 }; /* of "2026-11-23T..." */

/* Whether the budget has begun anew since it was seen. */
static bool is_over(const struct budget_seen *seen, size_t which, uint64_t now)
{
    char then_text[CLOCK_TEXT], now_text[CLOCK_TEXT];
    size_t n = which == BUDGETS - 1 ? MONTH_TEXT : DAY_TEXT;
    return !str_eq(str_head(clock_rfc3339(seen->at_us, then_text), n),
                   str_head(clock_rfc3339(now, now_text), n));
}

static uint64_t used_ppm(const struct budget_seen *budgets, uint64_t now)
{
    uint64_t most = 0;
    for (size_t i = 0; i < BUDGETS; i++)
        if (budgets[i].used_ppm > most && !is_over(&budgets[i], i, now))
            most = budgets[i].used_ppm;
    return most;
}

void count_shared(const struct meter *t, const struct shared *s)
{
    const struct board *b = s->board;
    uint64_t now = clock_wall_us();
    for (unsigned i = 0; i < metrics_values(t->metrics, LABEL_CLIENT); i++)
        metrics_set(t, METRIC_BUDGET_USED, i, used_ppm(b->budgets[i], now));
    for (unsigned i = 1; i < metrics_values(t->metrics, LABEL_KEY); i++)
        metrics_set(t, METRIC_KEY_UP, i, b->keys_rest_until_us[i] <= clock_us());
    metrics_set(t, METRIC_UPSTREAM_UP, 0, b->upstream_failures < UPSTREAM_DOWN_AFTER);
    metrics_set(t, METRIC_USAGE_WAITING, 0, journal_waiting(s->journal));
    metrics_set(t, METRIC_USAGE_LOST, 0, journal_lost(s->journal));
    metrics_set(t, METRIC_SPANS_WAITING, 0, spans_waiting(s->spans));
    metrics_set(t, METRIC_SPANS_EXPORTED, 0, spans_exported(s->spans));
    metrics_set(t, METRIC_SPANS_DROPPED, 0, spans_dropped(s->spans));
}

void count_certificates(const struct meter *t, const struct tls_server *tls)
{
    uint64_t ends[MOST_CERTIFICATE] = {0};
    for (size_t i = 0; i < tls_server_certs(tls); i++) {
        struct tls_about about = tls_server_about(tls, i);
        unsigned value = metrics_value(t->metrics, LABEL_CERTIFICATE, about.name);
        if (ends[value] == 0 || about.ends_us < ends[value])
            ends[value] = about.ends_us;
    }
    for (unsigned i = 0; i < MOST_CERTIFICATE; i++) /* 0: there is none of that name */
        metrics_set(t, METRIC_CERTIFICATE_EXPIRY, i, ends[i]);
}

void count_queue(struct proxy *p)
{
    metrics_set(&p->meter, METRIC_QUEUED, 0, queue_length(p->queue));
}

void count_waited(struct proxy *p, uint64_t us)
{
    metrics_observe(&p->meter, METRIC_QUEUE_WAIT, 0, us);
}

void count_auth(struct exchange *x, enum auth_result result)
{
    metrics_add(&x->proxy->meter, METRIC_AUTH, (unsigned)result + 1, 0, 0, 1);
}

void count_flood(struct proxy *p, enum server_flood why)
{
    metrics_add(&p->meter, METRIC_FLOODS, why, 0, 0, 1);
}

void count_glitches(struct proxy *p, unsigned n)
{
    metrics_add(&p->meter, METRIC_GLITCHES, 0, 0, 0, n);
}

void count_handshake(struct proxy *p, enum server_handshake how)
{
    metrics_add(&p->meter, METRIC_HANDSHAKES, (unsigned)how + 1, 0, 0, 1);
}

void count_rejection(struct proxy *p, enum server_rejection what)
{
    metrics_add(&p->meter, METRIC_REJECTED, what, 0, 0, 1);
}

void count_staple(struct proxy *p, enum count_staple what)
{
    metrics_add(&p->meter, METRIC_STAPLES, (unsigned)what + 1, 0, 0, 1);
}

void count_penalty(struct exchange *x)
{
    metrics_add(&x->proxy->meter, METRIC_AUTH, PENALIZED, 0, 0, 1);
}

void count_attempt(struct exchange *x)
{
    x->called_us = clock_us();
    if (x->attempts > 1)
        return;
    x->sent_at_us = clock_precise_us();
    if (x->received_us)
        metrics_observe(&x->proxy->meter, METRIC_OVERHEAD, endpoint_value(x),
                        x->sent_at_us - x->received_us - x->waited_us);
}

void count_attempt_end(struct exchange *x)
{
    const struct meter *t = &x->proxy->meter;
    if (!x->called_us)
        return;
    unsigned model = count_model(x);
    metrics_add(t, METRIC_UPSTREAM_REQUESTS, status_value(x->upstream_status), model, 0, 1);
    metrics_observe(t, METRIC_UPSTREAM_DURATION, model, clock_us() - x->called_us);
    x->called_us = 0;
}

void count_guess(struct exchange *x, uint64_t expected, uint64_t actual)
{
    const struct meter *t = &x->proxy->meter;
    unsigned model = count_model(x);
    metrics_add(t, METRIC_EXPECTED, model, 0, 0, expected);
    metrics_add(t, METRIC_EXPECTED_ERROR, model, 0, 0,
                expected > actual ? expected - actual : actual - expected);
}

void count_budget(struct exchange *x, unsigned which, uint64_t limit, uint64_t left)
{
    unsigned client = metrics_find(x->proxy->meter.metrics, LABEL_CLIENT, x->client->name);
    struct budget_seen *seen = &x->proxy->shared->board->budgets[client][which];
    uint64_t ppm = (uint64_t)((double)(limit - left) / (double)limit * 1e6);
    if (ppm > x->budget_used_ppm)
        x->budget_used_ppm = ppm;
    if (client == 0)
        return;
    atomic_store_explicit(&seen->used_ppm, ppm, memory_order_relaxed);
    atomic_store_explicit(&seen->at_us, clock_wall_us(), memory_order_relaxed);
}

void count_settled(struct exchange *x, uint64_t reserved, uint64_t taken)
{
    metrics_add(&x->proxy->meter, METRIC_RESERVED, 0, 0, 0, reserved);
    metrics_add(&x->proxy->meter, METRIC_SETTLED, 0, 0, 0, taken);
}

void count_key_rest(struct exchange *x, size_t key, uint64_t rest_us)
{
    x->proxy->shared->board->keys_rest_until_us[key + 1] = clock_us() + rest_us;
    metrics_add(&x->proxy->meter, METRIC_KEY_RESTS, (unsigned)key + 1, 0, 0, 1);
}

void count_retry(struct exchange *x, enum fail why)
{
    metrics_add(&x->proxy->meter, METRIC_RETRIES, (unsigned)why + 1, 0, 0, 1);
}

void count_progress(struct exchange *x)
{
    const struct meter *t = &x->proxy->meter;
    uint64_t now = clock_us();
    if (x->upstream_answer != ANSWER_STREAM)
        return;
    if (!x->first_token_us) {
        x->first_token_us = now;
        metrics_observe(t, METRIC_FIRST_TOKEN, count_model(x), now - x->started_us);
    } else {
        metrics_observe(t, METRIC_BETWEEN, count_model(x), now - x->progress_us);
    }
}

/* --- at the end ----------------------------------------------------------------------------- */

static unsigned limit_value(enum fail ending)
{
    switch ((int)ending) {
    case FAIL_LIMIT_REQUESTS: return LIMIT_REQUESTS;
    case FAIL_LIMIT_TOKENS: return LIMIT_TOKENS;
    case FAIL_CLIENT_BYTES:
    case FAIL_LIMIT_CONCURRENT: return LIMIT_CONCURRENT;
    case FAIL_BUDGET: return LIMIT_BUDGET;
    case FAIL_NODE_BUSY: return LIMIT_NODE;
    default: return 0;
    }
}

static uint64_t positive(int64_t n)
{
    return n > 0 ? (uint64_t)n : 0;
}

static void count_tokens(struct exchange *x, unsigned client)
{
    const struct meter *t = &x->proxy->meter;
    const struct usage *u = &x->answer.usage;
    bool estimated;
    int64_t output = exchange_output_tokens(x, &estimated);
    const int64_t counts[] = {[INPUT] = u->input,
                              [OUTPUT] = output,
                              [CACHE_READ] = u->cache_read,
                              [CACHE_WRITE] = u->cache_write,
                              [REASONING] = u->thinking};
    unsigned model = count_model(x);
    for (unsigned i = INPUT; i <= REASONING; i++) {
        metrics_add(t, METRIC_TOKENS, i, model, 0, positive(counts[i]));
        metrics_add(t, METRIC_CLIENT_TOKENS, client, i, 0, positive(counts[i]));
    }
    metrics_observe(t, METRIC_PROMPT_SIZE, model, positive(usage_prompt_tokens(u)));
    metrics_observe(t, METRIC_OUTPUT_SIZE, model, positive(output));
    uint64_t cost = positive(exchange_cost(x));
    metrics_add(t, METRIC_COST, model, 0, 0, cost);
    metrics_add(t, METRIC_CLIENT_COST, client, 0, 0, cost);
    metrics_add(t, METRIC_SAVED, model, 0, 0,
                positive(price_cache_saved_micro_usd(x->decoded.model, u)));
    uint64_t took = x->progress_us - x->first_token_us;
    if (x->first_token_us && took && x->answer.state == ANSWER_DONE)
        metrics_observe(t, METRIC_SPEED, model, positive(output) * 1000000 / took);
}

static uint8_t put_text(char *out, size_t size, struct str s)
{
    size_t n = text_utf8_valid(str_head(s, size_min(s.n, size)));
    if (n)
        memcpy(out, s.p, n);
    return (uint8_t)n;
}

/* What operators see of it in /stats. */
static void remember(struct exchange *x)
{
    bool estimated;
    struct usage u = x->answer.usage;
    u.output = exchange_output_tokens(x, &estimated);
    bool used = x->answer.state != ANSWER_EMPTY;
    struct recent_entry e = {
        .ended_us = clock_wall_us(),
        .duration_us = clock_us() - x->started_us,
        .first_token_us = x->first_token_us ? x->first_token_us - x->started_us : 0,
        .prompt_tokens = used ? positive(usage_prompt_tokens(&u)) : 0,
        .output_tokens = used ? positive(u.output) : 0,
        .cost = used ? positive(price_micro_usd(x->decoded.model, &u)) : 0,
        .status = (uint32_t)x->status,
        .ending = x->ending,
        .model = count_model(x),
        .stream = x->decoded.stream,
    };
    e.n_id = put_text(e.id, sizeof(e.id), x->id);
    e.n_client = put_text(e.client, sizeof(e.client), x->client ? x->client->name : STR(""));
    recent_add(x->proxy->shared->recent, x->proxy->meter.shard, &e);
}

void count_end(struct exchange *x)
{
    const struct meter *t = &x->proxy->meter;
    const struct fail_row *row = fail_row(x->ending);
    unsigned endpoint = endpoint_value(x), client = 0;
    int status = x->status || x->ending != FAIL_CLIENT_GONE ? x->status : 499;
    count_attempt_end(x);
    if (x->client)
        client = metrics_find(t->metrics, LABEL_CLIENT, x->client->name);
    metrics_add(t, METRIC_REQUESTS, method_value(x->verb), endpoint, status_value(status), 1);
    metrics_add(t, METRIC_PROTOCOLS, metrics_find(t->metrics, LABEL_PROTOCOL, x->protocol), 0, 0,
                1);
    uint64_t took = clock_us() - x->started_us;
    if (trace_is_sampled(&x->trace)) /* others cannot be looked up */
        metrics_observe_traced(t, METRIC_DURATION, endpoint, took, str_of(x->trace.id, TRACE_ID));
    else
        metrics_observe(t, METRIC_DURATION, endpoint, took);
    if (x->client && endpoint_is_clients(x->endpoint))
        metrics_add(t, METRIC_CLIENT_REQUESTS, client, x->ending == FAIL_DONE ? SUCCESS : FAILURE,
                    0, 1);
    if (x->client && endpoint_is_clients(x->endpoint) && x->ending == FAIL_DONE)
        metrics_observe(t, METRIC_CLIENT_DURATION, client, took);
    if (x->ending != FAIL_DONE)
        metrics_add(t, METRIC_ERRORS, (unsigned)x->ending + 1, endpoint, 0, 1);
    metrics_add(t, METRIC_CANCELLED, 0, 0, 0, x->ending == FAIL_CLIENT_GONE);
    if (row->fault == FAULT_POLICY)
        metrics_add(t, METRIC_LIMITED, limit_value(x->ending), 0, 0, 1);
    if (x->answer.state != ANSWER_EMPTY)
        count_tokens(x, client);
    if (endpoint_is_clients(x->endpoint))
        remember(x);
    count_lost_lines(x->proxy);
    count_gauges(x->proxy);
}
