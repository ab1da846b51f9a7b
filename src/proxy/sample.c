/* sample.c - see sample.h.
 *
 * Requests are those to clients' endpoints: who watches, or probes, does not change what he sees.
 */
#include "proxy/sample.h"

#include "base/clock.h"
#include "proxy/endpoint.h"

/* Values of the label: 0 is what was no endpoint, the table begins at 1 (count.c). */
static bool is_clients(unsigned endpoint)
{
    return endpoint == 0 ||
           (endpoint <= endpoint_count() && endpoint_is_clients(endpoint_at((size_t)endpoint - 1)));
}

static void take_endpoint(const struct metrics *m, unsigned endpoint, struct sample_node *n)
{
    unsigned errors = metrics_values(m, LABEL_ERROR);
    metrics_read(m, METRIC_DURATION, endpoint, n->duration);
    for (unsigned i = 0; i < errors; i++)
        n->errors[i] += metrics_sum(m, METRIC_ERRORS, i, endpoint, 0);
}

static void take_node(const struct metrics *m, struct sample_node *n)
{
    unsigned models = metrics_values(m, LABEL_MODEL);
    for (unsigned e = 0; e < metrics_values(m, LABEL_ENDPOINT); e++)
        if (is_clients(e))
            take_endpoint(m, e, n);
    for (unsigned i = 0; i < models; i++)
        metrics_read(m, METRIC_FIRST_TOKEN, i, n->first_token);
    n->requests = metrics_count(METRIC_DURATION, n->duration);
    n->active = metrics_total(m, METRIC_ACTIVE);
    n->limited = metrics_total(m, METRIC_LIMITED);
    n->cancelled = metrics_total(m, METRIC_CANCELLED);
    n->retries = metrics_total(m, METRIC_RETRIES);
    n->cost = metrics_total(m, METRIC_COST);
    n->saved = metrics_total(m, METRIC_SAVED);
    for (unsigned kind = 0; kind < MOST_TOKENS; kind++)
        for (unsigned i = 0; i < models; i++)
            n->tokens[kind] += metrics_sum(m, METRIC_TOKENS, kind, i, 0);
}

/* What the caller did wrong is no failure of the upstream; no answer, or an odd one, is. */
static bool is_upstream_failure(struct str status)
{
    uint64_t n;
    if (!str_to_u64(status, &n))
        return true;
    return n >= 500 || n == 401 || n == 403 || n == 408 || n == 429;
}

static void take_model(const struct metrics *m, unsigned model, struct sample_model *s)
{
    for (unsigned i = 0; i < metrics_values(m, LABEL_STATUS); i++) {
        uint64_t calls = metrics_sum(m, METRIC_UPSTREAM_REQUESTS, i, model, 0);
        s->calls += calls;
        if (calls && is_upstream_failure(metrics_name(m, LABEL_STATUS, i)))
            s->failed_calls += calls;
    }
    s->cost = metrics_sum(m, METRIC_COST, model, 0, 0);
    for (unsigned kind = 0; kind < MOST_TOKENS; kind++)
        s->tokens[kind] = metrics_sum(m, METRIC_TOKENS, kind, model, 0);
    metrics_read(m, METRIC_UPSTREAM_DURATION, model, s->duration);
    metrics_read(m, METRIC_FIRST_TOKEN, model, s->first_token);
}

static void take_client(const struct metrics *m, unsigned client, struct sample_client *s)
{
    unsigned failure = metrics_find(m, LABEL_OUTCOME, STR("failure"));
    for (unsigned i = 0; i < metrics_values(m, LABEL_OUTCOME); i++)
        s->requests += metrics_sum(m, METRIC_CLIENT_REQUESTS, client, i, 0);
    s->failures = metrics_sum(m, METRIC_CLIENT_REQUESTS, client, failure, 0);
    s->cost = metrics_sum(m, METRIC_CLIENT_COST, client, 0, 0);
    for (unsigned kind = 0; kind < MOST_TOKENS; kind++)
        s->tokens[kind] = metrics_sum(m, METRIC_CLIENT_TOKENS, client, kind, 0);
    metrics_read(m, METRIC_CLIENT_DURATION, client, s->answered);
}

void sample_take(const struct metrics *m, struct sample *s)
{
    memset(s, 0, sizeof(*s));
    s->at_us = clock_us();
    take_node(m, &s->node);
    for (unsigned i = 0; i < metrics_values(m, LABEL_MODEL); i++)
        take_model(m, i, &s->models[i]);
    for (unsigned i = 0; i < metrics_values(m, LABEL_CLIENT); i++) {
        take_client(m, i, &s->clients[i]);
        for (size_t cell = 0; cell < METRICS_CELLS_MAX; cell++)
            s->node.answered[cell] += s->clients[i].answered[cell];
    }
}
