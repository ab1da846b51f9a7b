/* exchange.c - the life of one exchange: the table of steps and its driver. Read this file first.
 *
 *   identify > authenticate > receive > answer > decode > admit > route > send > relay > settle > end
 *                                          |                        ^______|       |               ^
 *                                          |                        ^ retry        |               |
 *                                          |                        +--------------+ pause_turn    |
 *                                          +-------------------------------------------------------+
 *                                            (from any step: an error, or the client leaves)
 *
 * A step is a short function that returns next, wait or over. Nothing but exchange_goto changes
 * x->step, and it asserts that the edge is one of those drawn above. exchange_end runs exactly
 * once, whatever happened: it is the only place where an exchange is logged, recorded, counted and freed.
 */
#include "proxy/exchange.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "llm/price.h"
#include "proxy/admit.h"
#include "proxy/count.h"
#include "proxy/door.h"
#include "proxy/endpoint.h"
#include "proxy/proxy_int.h"
#include "proxy/record.h"
#include "proxy/scrape.h"
#include "proxy/traces.h"

enum { PENDING_MAX = 16 * 1024 * 1024, UPSTREAM_TEXT_MAX = 64 * 1024 * 1024 };

#define TO(step) (1u << STEP_##step)

static const struct step {
    const char *name;
    enum step_result (*run)(struct exchange *x);
    unsigned edges; /* where it may go besides STEP_END */
} steps[] = {
    [STEP_IDENTIFY] = {"identify", step_identify, TO(AUTHENTICATE)},
    [STEP_AUTHENTICATE] = {"authenticate", step_authenticate, TO(RECEIVE)},
    [STEP_RECEIVE] = {"receive", step_receive, TO(ANSWER)},
    [STEP_ANSWER] = {"answer", step_answer, TO(DECODE)},
    [STEP_DECODE] = {"decode", step_decode, TO(ADMIT)},
    [STEP_ADMIT] = {"admit", step_admit, TO(ROUTE)},
    [STEP_ROUTE] = {"route", step_route, TO(SEND)},
    [STEP_SEND] = {"send", step_send, TO(RELAY) | TO(ROUTE)},
    [STEP_RELAY] = {"relay", step_relay, TO(SETTLE) | TO(ROUTE)},
    [STEP_SETTLE] = {"settle", step_settle, 0},
    [STEP_END] = {"end", NULL, 0},
};

void exchange_goto(struct exchange *x, enum step_id to)
{
    ASSERT(x->step != STEP_END);
    ASSERT(to == STEP_END || steps[x->step].edges & (1u << to));
    x->step = to;
    if (to != STEP_END) /* the line at the end tells where it ended */
        exchange_doing(x);
}

void exchange_doing(const struct exchange *x)
{
    doing = steps[x->step].name;
}

void exchange_run(struct exchange *x)
{
    const char *before = doing;
    for (;;) {
        enum step_result result = steps[x->step].run(x);
        if (result == STEP_WAIT)
            watch_arm(x);
        if (result != STEP_NEXT)
            break;
        exchange_goto(x, x->step + 1);
    }
    doing = before;
}

void exchange_continue(struct exchange *x)
{
    exchange_goto(x, x->step + 1);
    exchange_run(x);
}

static struct exchange *exchange_new(struct proxy *p, struct request *r)
{
    struct exchange *x = mem_zalloc(sizeof(*x));
    x->proxy = p;
    x->request = r;
    x->address = door_peer(&r->peer);
    x->protocol = request_protocol(r);
    r->user = x;
    x->started_us = r->started_us;
    x->total_at_us = clock_us() + (uint64_t)p->config->total_timeout;
    x->retry_after_us = -1;
    arena_init(&x->keep);
    arena_init(&x->scratch);
    buf_init(&x->body, 1);
    rope_init(&x->upstream, UPSTREAM_TEXT_MAX);
    buf_init(&x->pending, PENDING_MAX);
    answer_init(&x->answer);
    watch_init(x);
    list_push(&p->open, &x->node);
    p->n_open++;
    count_gauges(p);
    return x;
}

struct str exchange_make_id(struct exchange *x)
{
    enum { PREFIX = 4, RANDOM = 24 };

    char *p = arena_alloc(&x->keep, PREFIX + RANDOM);
    memcpy(p, "req_", PREFIX);
    rand_alnum(p + PREFIX, RANDOM);
    return str_of(p, PREFIX + RANDOM);
}

void exchange_begin(struct proxy *p, struct request *r)
{
    exchange_run(exchange_new(p, r));
}

void exchange_refuse(struct proxy *p, struct request *r, enum fail why)
{
    struct exchange *x = exchange_new(p, r);
    x->id = exchange_make_id(x);
    exchange_fail(x, why);
}

void exchange_part(struct exchange *x)
{
    if (x->request)
        x->bytes_out = x->request->body_bytes;
    x->request = NULL;
}

struct recall exchange_recall(const struct exchange *x)
{
    return (struct recall){
        .stash = x->proxy->shared->stash,
        .owner = x->client ? x->client->name : STR(""),
        .now_s = (int64_t)(clock_wall_us() / 1000000),
    };
}

void exchange_bind(struct exchange *x)
{
    const struct recall recall = exchange_recall(x);
    if (x->keeps)
        x->binding = recall_binding(&recall, x->decoded.request, &x->scratch);
}

void exchange_rewrite(struct exchange *x)
{
    rope_done(&x->upstream);
    rope_init(&x->upstream, UPSTREAM_TEXT_MAX);
    messages_write(x->decoded.request, &x->upstream);
}

void exchange_commit(struct exchange *x)
{
    admit_body_is(x, 0);
    rope_done(&x->upstream);
    arena_done(&x->scratch);
    buf_done(&x->body);
    x->decoded.request = NULL;
}

enum step_result exchange_fail_with(struct exchange *x, enum fail why, struct str code,
                                    struct str param, struct str message)
{
    if (x->step == STEP_END)
        return STEP_OVER;
    struct api_error err = fail_error(why, code, param, message);
    if (x->request)
        reply_error(x, why, &err);
    exchange_end(x, why);
    return STEP_OVER;
}

enum step_result exchange_fail(struct exchange *x, enum fail why)
{
    return exchange_fail_with(x, why, STR_NONE, STR_NONE, STR_NONE);
}

/* An answer that broke off was not told what it cost; four characters of text are about a token. */
int64_t exchange_output_tokens(const struct exchange *x, bool *ret_estimated)
{
    int64_t estimate = (int64_t)(x->relayed_chars / 4);
    *ret_estimated = x->answer.state == ANSWER_OPEN && estimate > x->answer.usage.output;
    return *ret_estimated ? estimate : x->answer.usage.output;
}

int64_t exchange_cost(const struct exchange *x)
{
    bool estimated;
    struct usage known = x->answer.usage;
    known.output = exchange_output_tokens(x, &estimated);
    return price_micro_usd(x->decoded.model, &known);
}

static void log_access(const struct exchange *x)
{
    static const struct client nobody = {.name = {NULL, 0}};
    const struct fail_row *row = fail_row(x->ending);
    const struct client *client = x->client ? x->client : &nobody;
    const struct upstream_limits *own = &x->own_limits;
    char address[ADDRESS_TEXT];
    struct str endpoint = x->endpoint ? x->endpoint->path : STR("");
    struct str model = x->decoded.model ? x->decoded.model->id : STR("");
    bool used = x->answer.state != ANSWER_EMPTY, estimated;
    int64_t output = exchange_output_tokens(x, &estimated);
    bool cached = used && (x->answer.usage.cache_read > 0 || x->answer.usage.cache_write > 0);
    int64_t cost = used ? exchange_cost(x) : 0;
    int64_t saved = cached ? price_cache_saved_micro_usd(x->decoded.model, &x->answer.usage) : 0;
    LOG(row->level, "request", LOG_STR("id", x->id),
        log_if(x->upstream_id.n, LOG_STR("upstream_id", x->upstream_id)),
        log_if(x->trace.known, LOG_STR("trace_id", str_of(x->trace.id, TRACE_ID))),
        log_if(client->name.n, LOG_STR("client", client->name)),
        LOG_STR("address", address_text(&x->address, address)), LOG_STR("method", x->method),
        LOG_STR("path", x->path), log_if(x->endpoint, LOG_STR("endpoint", endpoint)),
        LOG_STR("protocol", x->protocol), LOG_INT("status", x->status),
        LOG_CSTR("ending", row->name), LOG_CSTR("fault", fault_name(row->fault)),
        log_if(x->decoded.asked_model.n, LOG_STR("asked_model", x->decoded.asked_model)),
        log_if(x->decoded.model, LOG_STR("model", model)),
        log_if(x->attempts, LOG_CSTR("platform", x->proxy->platform->name)),
        log_if(x->attempts, LOG_INT("attempts", x->attempts)),
        log_if(x->upstream_status, LOG_INT("upstream_status", x->upstream_status)),
        log_if(used, LOG_INT("prompt_tokens", usage_prompt_tokens(&x->answer.usage))),
        log_if(cached, LOG_INT("cache_read_tokens", x->answer.usage.cache_read)),
        log_if(cached, LOG_INT("cache_write_tokens", x->answer.usage.cache_write)),
        log_if(cached, LOG_INT("cache_saved_micro_usd", saved)),
        log_if(used, LOG_INT("output_tokens", output)),
        log_if(estimated, LOG_BOOL("estimated", true)),
        log_if(used && x->answer.usage.thinking > 0,
               LOG_INT("reasoning_tokens", x->answer.usage.thinking)),
        log_if(used, LOG_INT("cost_micro_usd", cost)),
        log_if(own->requests.known, LOG_INT("requests_left", own->requests.remaining)),
        log_if(own->tokens.known, LOG_INT("tokens_left", own->tokens.remaining)),
        log_if(x->bytes_in, LOG_INT("bytes_in", x->bytes_in)), LOG_INT("bytes_out", x->bytes_out),
        log_if(x->budget_used_ppm, LOG_INT("budget_used_percent", x->budget_used_ppm / 10000)),
        log_if(x->received_us, LOG_MS("received_ms", x->received_us - x->started_us)),
        log_if(x->waited_us, LOG_MS("waited_ms", x->waited_us)),
        log_if(x->sent_at_us, LOG_MS("sent_ms", x->sent_at_us - x->started_us)),
        log_if(x->first_event_us, LOG_MS("first_event_ms", x->first_event_us)),
        log_if(x->first_token_us, LOG_MS("first_token_ms", x->first_token_us - x->started_us)),
        LOG_MS("duration_ms", clock_us() - x->started_us));
}

static void bury(struct deferred *d)
{
    struct exchange *x = CONTAINER_OF(d, struct exchange, funeral);
    exchange_commit(x);
    content_done(&x->content);
    buf_done(&x->pending);
    arena_done(&x->keep);
    mem_free(x);
}

void exchange_end(struct exchange *x, enum fail ending)
{
    exchange_doing(x);
    exchange_goto(x, STEP_END);
    x->ending = ending;
    watch_stop(x);
    if (x->call)
        call_cancel(x->call);
    x->call = NULL;
    exchange_part(x);
    admit_settle(x);
    admit_body_is(x, 0);
    log_access(x);
    record_end(x);
    traces_end(x);
    if (x->scrape)
        scrape_stop(x);
    if (x->door)
        door_let_go(x);
    if (x->encoder)
        x->endpoint->dialect->close(x->encoder);
    list_remove(&x->node);
    x->proxy->n_open--;
    x->proxy->n_streams -= x->streaming;
    count_end(x);
    deferred_init(&x->funeral, bury);
    loop_defer(x->proxy->loop, &x->funeral);
}
