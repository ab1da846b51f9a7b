/* traces.c - see traces.h; what spans hold: store/spans.h.
 *
 * A span is made when what it tells of begins, and put into the worker's ring when that ends. The
 * monotonic clock's times become times of day then.
 */
#include "proxy/traces.h"

#include "base/clock.h"
#include "proxy/endpoint.h"
#include "proxy/proxy_int.h"

void traces_begin(struct exchange *x)
{
    const struct config *c = x->proxy->config;
    if (!c->spans)
        return;
    if (!x->trace.known)
        trace_begin(c->span_ppm, &x->trace);
    x->traced = trace_is_sampled(&x->trace);
}

/* When it was, on the wall: by one difference of the two clocks, so that what came later is never earlier,
 * as long as nobody sets the wall's. */
static uint64_t wall_us(uint64_t at_us)
{
    enum { JITTER_US = 1000 };

    static uint64_t difference;
    uint64_t fresh = clock_wall_us() - clock_us();
    if (fresh - difference + JITTER_US > 2 * (uint64_t)JITTER_US)
        difference = fresh;
    return at_us ? at_us + difference : 0;
}

static void put(const struct exchange *x, const struct span *s)
{
    (void)spans_put(x->proxy->shared->spans, x->proxy->owner, s); /* the loss is counted */
}

static void set_error(struct span *s, enum fail why)
{
    if (why != FAIL_DONE)
        journal_set(&s->error, str_c(fail_row(why)->name));
}

/* Neither the caller's mistakes nor what a policy refused are errors of a server. */
static bool is_servers_fault(enum fail why)
{
    enum fault fault = fail_row(why)->fault;
    return fault == FAULT_UPSTREAM || fault == FAULT_GATEWAY;
}

/* --- attempts ------------------------------------------------------------------------------- */

struct trace traces_attempt(struct exchange *x)
{
    const struct url *u = &x->proxy->config->anthropic_base_url;
    struct trace t = x->trace;
    if (!x->traced)
        return t;
    if (!x->span)
        x->span = ARENA_NEW(&x->keep, struct span);
    trace_child(&t);
    *x->span = (struct span){
        .kind = SPAN_CLIENT,
        .has_parent = true,
        .start_us = wall_us(clock_us()),
        .attempt = x->attempts + 1,
        .max_tokens = x->decoded.request->max_tokens,
        .port = u->port,
    };
    memcpy(x->span->trace, t.id, SPAN_TRACE);
    memcpy(x->span->id, t.span, SPAN_ID);
    memcpy(x->span->parent, x->trace.span, SPAN_ID);
    journal_set(&x->span->host, u->host);
    journal_set(&x->span->model, x->decoded.model->id);
    return t;
}

void traces_answer(struct exchange *x, const struct event *start)
{
    struct span *s = x->span;
    if (!s || !s->start_us)
        return;
    s->first_event_us = wall_us(clock_us());
    journal_set(&s->answer_id, start->id);
    journal_set(&s->answer_model, start->model);
}

static int64_t since(int64_t now, int64_t before)
{
    if (now < 0)
        return -1;
    return before > 0 && before <= now ? now - before : now;
}

/* Of this round alone, where an answer paused and was continued. */
static void set_usage(struct span *s, const struct exchange *x)
{
    const struct usage *u = &x->answer.usage, *before = &x->answer.before;
    bool estimated;
    int64_t output = exchange_output_tokens(x, &estimated);
    bool known = x->answer.state != ANSWER_EMPTY && s->first_event_us;
    s->input = s->output = s->cache_read = s->cache_write = s->reasoning = -1;
    if (!known)
        return;
    s->input = since(usage_prompt_tokens(u), usage_prompt_tokens(before));
    s->output = since(output, before->output);
    s->cache_read = since(u->cache_read, before->cache_read);
    s->cache_write = since(u->cache_write, before->cache_write);
    s->reasoning = since(u->thinking, before->thinking);
}

static const char *const finishes[] = {
    [STOP_NONE] = "",
    [STOP_END_TURN] = "end_turn",
    [STOP_SEQUENCE] = "stop_sequence",
    [STOP_MAX_TOKENS] = "max_tokens",
    [STOP_CONTEXT_FULL] = "model_context_window_exceeded",
    [STOP_TOOL_USE] = "tool_use",
    [STOP_PAUSE_TURN] = "pause_turn",
    [STOP_REFUSAL] = "refusal",
    [STOP_OTHER] = "other",
};

void traces_attempt_end(struct exchange *x, enum fail why)
{
    struct span *s = x->span;
    if (!s || !s->start_us)
        return;
    s->end_us = wall_us(clock_us());
    s->status = x->upstream_status;
    s->failed = is_servers_fault(why) || s->status >= 400;
    if (s->status)
        journal_set(&s->request_id, x->upstream_id);
    uint64_t token_us = wall_us(x->first_token_us);
    s->first_token_us = token_us >= s->start_us ? token_us : 0;
    set_usage(s, x);
    if (s->first_event_us)
        journal_set(&s->finish, str_c(finishes[x->answer.stop]));
    set_error(s, why);
    put(x, s);
    s->start_us = 0;
}

/* --- the request ---------------------------------------------------------------------------- */

void traces_end(struct exchange *x)
{
    traces_attempt_end(x, x->ending);
    if (!x->traced || !x->client || !x->endpoint || !x->endpoint->dialect)
        return;
    struct span s = {
        .kind = SPAN_SERVER,
        .has_parent = x->trace.has_parent,
        .failed = is_servers_fault(x->ending),
        .start_us = wall_us(x->started_us),
        .end_us = wall_us(clock_us()),
        .received_us = wall_us(x->received_us),
        .sent_us = wall_us(x->sent_at_us),
        .attempt = x->attempts,
        .status = x->status,
        .cost_micro_usd = x->answer.state == ANSWER_EMPTY ? -1 : exchange_cost(x),
    };
    memcpy(s.trace, x->trace.id, SPAN_TRACE);
    memcpy(s.id, x->trace.span, SPAN_ID);
    memcpy(s.parent, x->trace.parent, SPAN_ID);
    journal_set(&s.request_id, x->id);
    journal_set(&s.client, x->client->name);
    journal_set(&s.method, x->method);
    journal_set(&s.path, x->path);
    journal_set(&s.route, x->endpoint->path);
    journal_set(&s.model, x->decoded.asked_model);
    set_error(&s, x->ending);
    put(x, &s);
}
