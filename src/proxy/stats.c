/* stats.c - see stats.h. The pieces of the answer, in their order:
 *
 *   {"total_requests": ..., "upstream": {...}, "processes": {...},                   the head
 *    "windows": {"1m": {..., "clients": [...], "models": [...]}, "5m", "1h", "total"},
 *    "history": {"minutes": {"requests": [...], ...}, "hour": {...}},
 *    "recent": [...]}
 *
 * Sums are taken once, at the first piece; a window is what they are more than at its beginning.
 */
#include "proxy/stats.h"

#include <inttypes.h>

#include "base/clock.h"
#include "proxy/endpoint.h"
#include "proxy/exchange.h"
#include "proxy/proxy_int.h"
#include "proxy/sample.h"
#include "wire/jsonw.h"

enum { SECOND = 1000000, RECENT_SHOWN = 50, NUMBER = 48 };

static const struct window {
    struct str name;
    uint64_t span_us; /* 0: since the start */
} windows[] = {
    {STR_INIT("1m"), UINT64_C(60) * SECOND},
    {STR_INIT("5m"), UINT64_C(300) * SECOND},
    {STR_INIT("1h"), UINT64_C(3600) * SECOND},
    {STR_INIT("total"), 0},
};

enum piece {
    HEAD,
    WINDOWS,
    HISTORY = WINDOWS + ARRAY_LEN(windows),
    RECENT = HISTORY + HISTORY_RINGS
};

struct stats {
    const struct proxy *proxy;
    const struct metrics *metrics;
    bool admin; /* may see single requests */
    unsigned piece;
    struct jsonw w;
    struct sample now, window;
};

/* --- numbers -------------------------------------------------------------------------------- */

/* Millionths as decimals: seconds, dollars. */
static void put_micro(struct jsonw *w, uint64_t n)
{
    char text[NUMBER];
    int len = snprintf(text, sizeof(text), "%" PRIu64 ".%06" PRIu64, n / SECOND, n % SECOND);
    while (text[len - 1] == '0' && text[len - 2] != '.')
        len--;
    jsonw_raw(w, str_of(text, (size_t)len));
}

static void field_u64(struct jsonw *w, struct str key, uint64_t n)
{
    jsonw_key(w, key);
    jsonw_i64(w, n < INT64_MAX ? (int64_t)n : INT64_MAX);
}

static void field_micro(struct jsonw *w, struct str key, uint64_t n)
{
    jsonw_key(w, key);
    put_micro(w, n);
}

static uint64_t average(enum metric id, const uint64_t *cells)
{
    uint64_t n = metrics_count(id, cells);
    return n ? metrics_cells_sum(id, cells) / n : 0;
}

/* null where nothing was measured. */
static void put_times(struct jsonw *w, struct str key, enum metric id, const uint64_t *cells)
{
    static const struct {
        struct str name;
        unsigned permille;
    } quantiles[] = {{STR_INIT("p50"), 500}, {STR_INIT("p90"), 900}, {STR_INIT("p99"), 990}};

    jsonw_key(w, key);
    if (metrics_count(id, cells) == 0) {
        jsonw_null(w);
        return;
    }
    jsonw_object(w);
    field_u64(w, STR("count"), metrics_count(id, cells));
    field_micro(w, STR("average"), average(id, cells));
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
        field_micro(w, quantiles[i].name, metrics_quantile(id, cells, quantiles[i].permille));
    jsonw_object_end(w);
}

static void put_tokens(const struct stats *s, struct jsonw *w, const uint64_t tokens[MOST_TOKENS])
{
    jsonw_key(w, STR("tokens"));
    jsonw_object(w);
    for (unsigned i = 1; i < metrics_values(s->metrics, LABEL_TOKENS); i++)
        field_u64(w, metrics_name(s->metrics, LABEL_TOKENS, i), tokens[i]);
    jsonw_object_end(w);
}

/* --- errors --------------------------------------------------------------------------------- */

static uint64_t sum_of(const uint64_t *n, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += n[i];
    return sum;
}

/* A type is named after whose fault it is: upstream_overloaded. */
static uint64_t errors_of(const struct stats *s, const struct sample_node *n, enum fault fault)
{
    struct str prefix = str_c(fault_name(fault));
    uint64_t sum = 0;
    for (unsigned i = 1; i < metrics_values(s->metrics, LABEL_ERROR); i++)
        if (str_starts(metrics_name(s->metrics, LABEL_ERROR, i), prefix))
            sum += n->errors[i];
    return sum;
}

static void put_errors(const struct stats *s, struct jsonw *w, const struct sample_node *n)
{
    jsonw_key(w, STR("errors"));
    jsonw_object(w);
    for (enum fault f = FAULT_CALLER; f <= FAULT_GATEWAY; f++)
        field_u64(w, str_c(fault_name(f)), errors_of(s, n, f));
    jsonw_object_end(w);
    jsonw_key(w, STR("error_types"));
    jsonw_object(w);
    for (unsigned i = 1; i < metrics_values(s->metrics, LABEL_ERROR); i++)
        if (n->errors[i])
            field_u64(w, metrics_name(s->metrics, LABEL_ERROR, i), n->errors[i]);
    jsonw_object_end(w);
}

static uint64_t failed(const struct sample_node *n)
{
    return sum_of(n->errors, MOST_ERROR);
}

/* --- the head ------------------------------------------------------------------------------- */

/* As the calls of the last minute were. */
static struct str upstream_state(const struct sample *lately)
{
    uint64_t calls = 0, bad = 0;
    for (unsigned i = 0; i < MOST_MODEL; i++) {
        calls += lately->models[i].calls;
        bad += lately->models[i].failed_calls;
    }
    if (calls == 0)
        return STR("idle");
    return bad == 0 ? STR("healthy") : bad * 2 < calls ? STR("degraded") : STR("failing");
}

static uint64_t gauge(const struct stats *s, enum metric id, const char *side)
{
    unsigned value = side ? metrics_find(s->metrics, LABEL_SIDE, str_c(side)) : 0;
    return metrics_sum(s->metrics, id, value, 0, 0);
}

static void put_upstream(const struct stats *s, struct jsonw *w)
{
    jsonw_key(w, STR("upstream"));
    jsonw_object(w);
    jsonw_field_str(w, "state", upstream_state(&s->window));
    field_u64(w, STR("keys"), metrics_values(s->metrics, LABEL_KEY) - 1);
    field_u64(w, STR("keys_up"), metrics_total(s->metrics, METRIC_KEY_UP));
    field_u64(w, STR("connections_busy"), gauge(s, METRIC_CONNECTIONS, "upstream_busy"));
    field_u64(w, STR("connections_idle"), gauge(s, METRIC_CONNECTIONS, "upstream_idle"));
    jsonw_object_end(w);
}

static void put_processes(const struct stats *s, struct jsonw *w)
{
    jsonw_key(w, STR("processes"));
    jsonw_object(w);
    field_u64(w, STR("workers"), gauge(s, METRIC_WORKERS, NULL));
    field_u64(w, STR("worker_restarts"), gauge(s, METRIC_RESTARTS, NULL));
    field_u64(w, STR("client_connections"), gauge(s, METRIC_CONNECTIONS, "client"));
    field_u64(w, STR("buffered_bytes"), gauge(s, METRIC_BUFFERED, NULL));
    field_u64(w, STR("log_lines_dropped"), gauge(s, METRIC_LOG_DROPPED, NULL));
    jsonw_field_bool(w, "last_reload_successful", gauge(s, METRIC_RELOADED, NULL) == 1);
    jsonw_key(w, STR("redis_up_workers"));
    if (s->proxy->redis)
        jsonw_i64(w, (int64_t)gauge(s, METRIC_REDIS_UP, NULL));
    else
        jsonw_null(w);
    jsonw_object_end(w);
}

static void put_head(struct stats *s)
{
    const struct sample_node *n = &s->now.node;
    struct jsonw *w = &s->w;
    uint64_t bad = failed(n), started_us = history_started_us(s->proxy->shared->history);
    char when[CLOCK_TEXT];
    history_since(s->proxy->shared->history, &s->now, windows[0].span_us, &s->window);
    jsonw_object(w);
    field_u64(w, STR("total_requests"), n->requests);
    field_u64(w, STR("successful_requests"), n->requests > bad ? n->requests - bad : 0);
    field_u64(w, STR("failed_requests"), bad);
    field_micro(w, STR("average_response_time"), average(METRIC_DURATION, n->duration));
    field_u64(w, STR("current_active_requests"),
              n->active - (n->active > 0)); /* without this one */
    field_u64(w, STR("current_active_streams"), gauge(s, METRIC_STREAMS, NULL));
    field_u64(w, STR("current_queued_requests"), gauge(s, METRIC_QUEUED, NULL));
    field_u64(w, STR("rate_limit_hits"), n->limited);
    field_micro(w, STR("uptime_seconds"), s->now.at_us - started_us);
    jsonw_field_str(w, "timestamp", clock_rfc3339(clock_wall_us(), when));
    jsonw_field_str(w, "version", metrics_name(s->metrics, LABEL_VERSION, 1));
    put_upstream(s, w);
    put_processes(s, w);
}

/* --- windows -------------------------------------------------------------------------------- */

static void put_client(const struct stats *s, struct jsonw *w, unsigned i)
{
    const struct sample_client *c = &s->window.clients[i];
    if (c->requests == 0 && sum_of(c->tokens, MOST_TOKENS) == 0)
        return;
    jsonw_object(w);
    jsonw_field_str(w, "client", metrics_name(s->metrics, LABEL_CLIENT, i));
    field_u64(w, STR("requests"), c->requests);
    field_u64(w, STR("failed_requests"), c->failures);
    put_tokens(s, w, c->tokens);
    field_micro(w, STR("cost_usd"), c->cost);
    field_micro(w, STR("budget_used_ratio"), metrics_sum(s->metrics, METRIC_BUDGET_USED, i, 0, 0));
    put_times(w, STR("answer_seconds"), METRIC_CLIENT_DURATION, c->answered);
    jsonw_object_end(w);
}

static void put_model(const struct stats *s, struct jsonw *w, unsigned i)
{
    const struct sample_model *m = &s->window.models[i];
    if (m->calls == 0 && sum_of(m->tokens, MOST_TOKENS) == 0)
        return;
    jsonw_object(w);
    jsonw_field_str(w, "model", metrics_name(s->metrics, LABEL_MODEL, i));
    field_u64(w, STR("calls"), m->calls);
    field_u64(w, STR("failed_calls"), m->failed_calls);
    put_tokens(s, w, m->tokens);
    field_micro(w, STR("cost_usd"), m->cost);
    put_times(w, STR("call_seconds"), METRIC_UPSTREAM_DURATION, m->duration);
    put_times(w, STR("time_to_first_token_seconds"), METRIC_FIRST_TOKEN, m->first_token);
    jsonw_object_end(w);
}

static void put_node(const struct stats *s, struct jsonw *w)
{
    const struct sample_node *n = &s->window.node;
    field_micro(w, STR("seconds"), s->window.at_us);
    field_u64(w, STR("requests"), n->requests);
    field_u64(w, STR("failed_requests"), failed(n));
    put_errors(s, w, n);
    field_u64(w, STR("rate_limit_hits"), n->limited);
    field_u64(w, STR("cancelled"), n->cancelled);
    field_u64(w, STR("retries"), n->retries);
    put_tokens(s, w, n->tokens);
    field_micro(w, STR("cost_usd"), n->cost);
    field_micro(w, STR("cache_saved_usd"), n->saved);
    put_times(w, STR("duration_seconds"), METRIC_DURATION, n->duration);
    put_times(w, STR("answer_seconds"), METRIC_CLIENT_DURATION, n->answered);
    put_times(w, STR("time_to_first_token_seconds"), METRIC_FIRST_TOKEN, n->first_token);
}

static void put_window(struct stats *s, unsigned i)
{
    struct jsonw *w = &s->w;
    history_since(s->proxy->shared->history, &s->now, windows[i].span_us, &s->window);
    if (i == 0) {
        jsonw_key(w, STR("windows"));
        jsonw_object(w);
    }
    jsonw_key(w, windows[i].name);
    jsonw_object(w);
    put_node(s, w);
    jsonw_key(w, STR("clients"));
    jsonw_array(w);
    for (unsigned c = 0; c < metrics_values(s->metrics, LABEL_CLIENT); c++)
        put_client(s, w, c);
    jsonw_array_end(w);
    jsonw_key(w, STR("models"));
    jsonw_array(w);
    for (unsigned m = 0; m < metrics_values(s->metrics, LABEL_MODEL); m++)
        put_model(s, w, m);
    jsonw_array_end(w);
    jsonw_object_end(w);
    if (i + 1 == ARRAY_LEN(windows))
        jsonw_object_end(w);
}

/* --- history -------------------------------------------------------------------------------- */

enum column {
    COLUMN_SECONDS,
    COLUMN_REQUESTS,
    COLUMN_FAILED,
    COLUMN_LIMITED,
    COLUMN_CALLER,
    COLUMN_POLICY,
    COLUMN_UPSTREAM,
    COLUMN_GATEWAY,
    COLUMN_INPUT,
    COLUMN_CACHED,
    COLUMN_OUTPUT,
    COLUMN_COST,
    COLUMN_ACTIVE,
    COLUMN_P50,
    COLUMN_P90,
    COLUMN_ANSWER_P50,
    COLUMN_ANSWER_P90,
    COLUMN_FIRST_P50,
    COLUMN_FIRST_P90,
    COLUMNS
};

static const struct str column_names[COLUMNS] = {
    [COLUMN_SECONDS] = STR_INIT("seconds"),
    [COLUMN_REQUESTS] = STR_INIT("requests"),
    [COLUMN_FAILED] = STR_INIT("failed_requests"),
    [COLUMN_LIMITED] = STR_INIT("rate_limit_hits"),
    [COLUMN_CALLER] = STR_INIT("caller_errors"),
    [COLUMN_POLICY] = STR_INIT("policy_errors"),
    [COLUMN_UPSTREAM] = STR_INIT("upstream_errors"),
    [COLUMN_GATEWAY] = STR_INIT("gateway_errors"),
    [COLUMN_INPUT] = STR_INIT("input_tokens"),
    [COLUMN_CACHED] = STR_INIT("cached_tokens"),
    [COLUMN_OUTPUT] = STR_INIT("output_tokens"),
    [COLUMN_COST] = STR_INIT("cost_usd"),
    [COLUMN_ACTIVE] = STR_INIT("active_requests"),
    [COLUMN_P50] = STR_INIT("duration_p50"),
    [COLUMN_P90] = STR_INIT("duration_p90"),
    [COLUMN_ANSWER_P50] = STR_INIT("answer_p50"),
    [COLUMN_ANSWER_P90] = STR_INIT("answer_p90"),
    [COLUMN_FIRST_P50] = STR_INIT("first_token_p50"),
    [COLUMN_FIRST_P90] = STR_INIT("first_token_p90"),
};

static void put_quantile(struct jsonw *w, enum metric id, const uint64_t *cells, unsigned permille)
{
    if (metrics_count(id, cells))
        put_micro(w, metrics_quantile(id, cells, permille));
    else
        jsonw_null(w);
}

static void put_tokens_of(const struct stats *s, struct jsonw *w, const struct sample_node *n,
                          struct str kind)
{
    jsonw_i64(w, (int64_t)n->tokens[metrics_find(s->metrics, LABEL_TOKENS, kind)]);
}

/* What was read of prompts, however it is paid for. */
static uint64_t prompt_tokens(const struct stats *s, const struct sample_node *n)
{
    static const struct str kinds[] = {STR_INIT("input"), STR_INIT("cache_read"),
                                       STR_INIT("cache_write")};
    uint64_t sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        sum += n->tokens[metrics_find(s->metrics, LABEL_TOKENS, kinds[i])];
    return sum;
}

static void put_cell(const struct stats *s, struct jsonw *w, enum column column,
                     const struct history_point *p)
{
    const struct sample_node *n = &p->node;
    switch (column) {
    case COLUMN_SECONDS: put_micro(w, p->at_us); break;
    case COLUMN_REQUESTS: jsonw_i64(w, (int64_t)n->requests); break;
    case COLUMN_FAILED: jsonw_i64(w, (int64_t)failed(n)); break;
    case COLUMN_LIMITED: jsonw_i64(w, (int64_t)n->limited); break;
    case COLUMN_INPUT: jsonw_i64(w, (int64_t)prompt_tokens(s, n)); break;
    case COLUMN_CALLER: jsonw_i64(w, (int64_t)errors_of(s, n, FAULT_CALLER)); break;
    case COLUMN_POLICY: jsonw_i64(w, (int64_t)errors_of(s, n, FAULT_POLICY)); break;
    case COLUMN_UPSTREAM: jsonw_i64(w, (int64_t)errors_of(s, n, FAULT_UPSTREAM)); break;
    case COLUMN_GATEWAY: jsonw_i64(w, (int64_t)errors_of(s, n, FAULT_GATEWAY)); break;
    case COLUMN_CACHED: put_tokens_of(s, w, n, STR("cache_read")); break;
    case COLUMN_OUTPUT: put_tokens_of(s, w, n, STR("output")); break;
    case COLUMN_COST: put_micro(w, n->cost); break;
    case COLUMN_ACTIVE: jsonw_i64(w, (int64_t)n->active); break;
    case COLUMN_P50: put_quantile(w, METRIC_DURATION, n->duration, 500); break;
    case COLUMN_P90: put_quantile(w, METRIC_DURATION, n->duration, 900); break;
    case COLUMN_ANSWER_P50: put_quantile(w, METRIC_CLIENT_DURATION, n->answered, 500); break;
    case COLUMN_ANSWER_P90: put_quantile(w, METRIC_CLIENT_DURATION, n->answered, 900); break;
    case COLUMN_FIRST_P50: put_quantile(w, METRIC_FIRST_TOKEN, n->first_token, 500); break;
    case COLUMN_FIRST_P90: put_quantile(w, METRIC_FIRST_TOKEN, n->first_token, 900); break;
    case COLUMNS: break;
    }
}

/* The samples of a ring as what was added between each and the one before; returns how many. */
static unsigned read_steps(const struct stats *s, enum history_ring ring,
                           struct history_point points[HISTORY_SLOTS])
{
    unsigned n = history_points(s->proxy->shared->history, ring, points);
    for (unsigned i = n; i-- > 1;) {
        points[i].at_us -= points[i - 1].at_us;
        sample_subtract(&points[i].node, &points[i - 1].node);
    }
    return n;
}

static void put_history(struct stats *s, enum history_ring ring)
{
    static const struct str names[HISTORY_RINGS] = {STR_INIT("minutes"), STR_INIT("hour")};
    static struct history_point points[HISTORY_SLOTS]; /* too large for the stack */
    unsigned n = read_steps(s, ring, points);
    struct jsonw *w = &s->w;
    if (ring == 0) {
        jsonw_key(w, STR("history"));
        jsonw_object(w);
    }
    jsonw_key(w, names[ring]);
    jsonw_object(w);
    field_micro(w, STR("step_seconds"), history_step_us(ring));
    for (enum column c = 0; c < COLUMNS; c++) {
        jsonw_key(w, column_names[c]);
        jsonw_array(w);
        for (unsigned i = 1; i < n; i++)
            put_cell(s, w, c, &points[i]);
        jsonw_array_end(w);
    }
    jsonw_object_end(w);
    if (ring + 1 == HISTORY_RINGS)
        jsonw_object_end(w);
}

/* --- recent requests ------------------------------------------------------------------------ */

static void put_request(const struct stats *s, struct jsonw *w, const struct recent_entry *e)
{
    char when[CLOCK_TEXT];
    const struct fail_row *row = fail_row((enum fail)e->ending);
    jsonw_object(w);
    jsonw_field_str(w, "id", str_of(e->id, e->n_id));
    jsonw_field_str(w, "ended", clock_rfc3339(e->ended_us, when));
    jsonw_field_str(w, "client", str_of(e->client, e->n_client));
    jsonw_field_str(w, "model",
                    e->model ? metrics_name(s->metrics, LABEL_MODEL, e->model) : STR(""));
    field_u64(w, STR("status"), e->status);
    jsonw_field_str(w, "ending", str_c(row->name));
    jsonw_field_str(w, "fault", str_c(fault_name(row->fault)));
    jsonw_field_bool(w, "stream", e->stream);
    field_micro(w, STR("duration_seconds"), e->duration_us);
    jsonw_key(w, STR("time_to_first_token_seconds"));
    if (e->first_token_us)
        put_micro(w, e->first_token_us);
    else
        jsonw_null(w);
    field_u64(w, STR("prompt_tokens"), e->prompt_tokens);
    field_u64(w, STR("output_tokens"), e->output_tokens);
    field_micro(w, STR("cost_usd"), e->cost);
    jsonw_object_end(w);
}

static void put_recent(struct stats *s)
{
    struct recent_entry entries[RECENT_SHOWN];
    struct jsonw *w = &s->w;
    unsigned n = recent_read(s->proxy->shared->recent, entries, RECENT_SHOWN);
    jsonw_key(w, STR("recent"));
    if (s->admin) {
        jsonw_array(w);
        for (unsigned i = 0; i < n; i++)
            put_request(s, w, &entries[i]);
        jsonw_array_end(w);
    } else {
        jsonw_null(w);
    }
    jsonw_object_end(w);
}

/* --- pieces --------------------------------------------------------------------------------- */

struct stats *stats_new(struct exchange *x)
{
    struct stats *s = ARENA_NEW(&x->keep, struct stats);
    s->proxy = x->proxy;
    s->metrics = x->proxy->meter.metrics;
    s->admin = !x->client || x->client->rights & RIGHT_ADMIN;
    jsonw_to_buf(&s->w, NULL);
    sample_take(s->metrics, &s->now);
    return s;
}

bool stats_write(struct stats *s, struct buf *out)
{
    unsigned piece = s->piece++;
    s->w.buf = out;
    if (piece == HEAD)
        put_head(s);
    else if (piece < HISTORY)
        put_window(s, piece - WINDOWS);
    else if (piece < RECENT)
        put_history(s, piece - HISTORY);
    else
        put_recent(s);
    return piece < RECENT;
}
