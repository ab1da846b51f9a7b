/* steps.c - the steps of an exchange up to the call, in the order in which they run. */
#include "base/clock.h"
#include "base/rand.h"
#include "base/text.h"
#include "proxy/admit.h"
#include "proxy/count.h"
#include "proxy/door.h"
#include "proxy/endpoint.h"
#include "proxy/exchange.h"
#include "proxy/local.h"
#include "proxy/proxy_int.h"
#include "proxy/traces.h"

enum {
    PATH_SHOWN_MAX = 128,
    UPSTREAM_TEXT_FIRST = 1024, /* most requests generate less */
    /* An answer that may be longer is streamed from upstream even if the client wants it whole:
     * long silences are cut on the way, and timers would not know a slow answer from a dead one. */
    WHOLE_TOKENS_MAX = 1024,
};

/* Passed on as it is; one that is too long is none. */
static struct str read_tracestate(struct exchange *x, const struct h1_head *head)
{
    struct str state = h1_field(head, STR("tracestate"));
    return state.n <= TRACESTATE_MAX ? arena_dup(&x->keep, state) : STR_NONE;
}

static void remember_head(struct exchange *x, const struct h1_head *head)
{
    struct str id = head->known[H1_X_REQUEST_ID];
    x->id = trace_takes_request_id(id) ? arena_dup(&x->keep, id) : exchange_make_id(x);
    x->verb = head->method;
    door_read(x, head);
    if (trace_read(h1_field(head, STR("traceparent")), &x->trace))
        x->tracestate = read_tracestate(x, head);
    traces_begin(x);
    struct str accept = h1_field(head, STR("accept")), wanted = STR("application/openmetrics-text");
    x->openmetrics = str_find_str(accept, wanted) < accept.n;
    x->anthropic = h1_field(head, STR("anthropic-version")).n > 0;
    x->betas = h1_field_list(head, STR("anthropic-beta"), &x->keep);
    x->method = arena_dup(&x->keep, head->method_text);
    x->path = arena_dup(&x->keep, str_head(head->path, size_min(head->path.n, PATH_SHOWN_MAX)));
}

static enum step_result fail_unknown_url(struct exchange *x, const char *unsupported)
{
    if (!unsupported)
        return exchange_fail_with(x, FAIL_UNKNOWN_URL, STR_NONE, STR_NONE,
                                  arena_printf(&x->keep, "Unknown request URL: %.*s %.*s.",
                                               STR_FMT(x->method), STR_FMT(x->path)));
    return exchange_fail_with(
        x, FAIL_UNSUPPORTED_ENDPOINT, STR_NONE, STR_NONE,
        arena_printf(&x->keep, "%.*s is not supported: %s.", STR_FMT(x->path), unsupported));
}

/* JSON is UTF-8 (RFC 8259 section 8.1); whatever a client calls something else would be read wrongly. */
static bool is_utf8(struct str parameters)
{
    static const struct str name = STR_INIT("charset=");
    struct str one, rest = parameters.n ? parameters : STR_NONE;
    while (str_split(&rest, ';', &one)) {
        one = str_trim(one);
        if (!str_starts_nocase(one, name))
            continue;
        struct str charset = str_skip(one, name.n);
        if (charset.n > 1 && charset.p[0] == '"' && str_ends(charset, STR("\"")))
            charset = str_of(charset.p + 1, charset.n - 2);
        if (!str_eq_nocase(charset, STR("utf-8")) && !str_eq_nocase(charset, STR("utf8")) &&
            !str_eq_nocase(charset, STR("us-ascii")))
            return false;
    }
    return true;
}

static bool has_json_type(const struct h1_head *head)
{
    struct str type = head->known[H1_CONTENT_TYPE];
    struct str media = str_trim(str_head(type, str_find(type, ';')));
    if (type.n == 0)
        return true; /* curl users forget it; the body decides */
    if (!is_utf8(str_skip(type, str_find(type, ';'))))
        return false;
    return str_eq_nocase(media, STR("application/json")) || str_ends(media, STR("+json")) ||
           str_eq_nocase(media, STR("text/plain")) ||
           str_eq_nocase(media, STR("application/x-www-form-urlencoded")); /* curl -d */
}

static bool has_plain_encoding(const struct h1_head *head)
{
    struct str encoding = head->known[H1_CONTENT_ENCODING];
    return encoding.n == 0 || str_eq_nocase(encoding, STR("identity"));
}

enum step_result step_identify(struct exchange *x)
{
    const struct h1_head *head = x->request->head;
    remember_head(x, head);

    struct str rest = STR_NONE;
    const char *unsupported = NULL;
    x->endpoint = endpoint_find(head->path, &rest, &unsupported);
    if (x->endpoint && !endpoint_is_at(x->endpoint, x->request->door->serves))
        x->endpoint = NULL;
    if (!x->endpoint && (unsupported || head->method != H1_OTHER))
        return fail_unknown_url(x, unsupported);
    x->rest = arena_dup(&x->keep, rest);
    if (!endpoint_allows(x->endpoint, head))
        return exchange_fail_with(x, FAIL_METHOD, STR_NONE, STR_NONE,
                                  arena_printf(&x->keep, "Not allowed to %.*s on %.*s.",
                                               STR_FMT(x->method), STR_FMT(x->path)));
    if (head->method == H1_POST && !has_plain_encoding(head))
        return exchange_fail(x, FAIL_CONTENT_ENCODING);
    if (head->method == H1_POST && !has_json_type(head))
        return exchange_fail(x, FAIL_CONTENT_TYPE);
    return STEP_NEXT;
}

enum step_result step_receive(struct exchange *x)
{
    const struct h1_head *head = x->request->head;
    size_t most = (size_t)x->proxy->config->max_body, bytes = 0;
    if (head->framing == H1_SIZED)
        bytes = size_min((size_t)head->content_length, most);
    else if (head->framing == H1_CHUNKED)
        bytes = most;
    if (!admit_body(x, bytes))
        return exchange_fail(x, FAIL_CLIENT_BYTES);
    return STEP_WAIT; /* proxy.c goes on when the transport has the whole body */
}

enum step_result step_answer(struct exchange *x)
{
    bool is_options = x->verb == H1_OPTIONS;
    if (!is_options && x->endpoint->dialect)
        return STEP_NEXT;
    if (is_options)
        local_options(x);
    else
        x->endpoint->answer(x);
    if (is_options || !x->endpoint->slow)
        exchange_end(x, FAIL_DONE);
    return STEP_OVER;
}

static void log_model(const struct exchange *x)
{
    const struct decoded *d = &x->decoded;
    if (d->match == MODEL_SUCCEEDED)
        LOG(LOG_INFO, "model is retired, its successor answers", LOG_STR("id", x->id),
            LOG_STR("asked_model", d->asked_model), LOG_STR("model", d->request->model->id));
    if (d->match == MODEL_ASSUMED)
        LOG(LOG_INFO, "model is not in the table, treated like the newest", LOG_STR("id", x->id),
            LOG_STR("asked_model", d->asked_model));
}

/* What of the answer has to be collected, and what must be known of the request for it. */
static void prepare_content(struct exchange *x)
{
    enum { KEPT_MAX = 512 * 1024, RESUMED_MAX = 16 * 1024 * 1024 };

    struct messages_request *m = x->decoded.request;
    x->resumable = messages_has_server_tools(m);
    x->keeps = x->proxy->shared->stash && recall_expects(m);
    exchange_bind(x);
    content_init(&x->content, x->resumable ? RESUMED_MAX : KEPT_MAX);
}

/* A client may be held to models by the names it uses or by Claude's. */
static bool may_use_model(const struct exchange *x)
{
    return client_may_use(x->client, x->decoded.asked_model) ||
           client_may_use(x->client, x->decoded.model->id);
}

static enum step_result fail_model(struct exchange *x)
{
    return exchange_fail_with(x, FAIL_MODEL_FORBIDDEN, STR_NONE, STR("model"),
                              arena_printf(&x->keep, "This key may not use the model '%.*s'.",
                                           STR_FMT(x->decoded.asked_model)));
}

/* The model that the URL names, when it does; broken escapes are no name. */
static struct str path_model(struct exchange *x)
{
    struct str name = STR_NONE;
    return x->rest.n && text_percent_decode(&x->scratch, x->rest, &name) ? name : STR_NONE;
}

/* Versions are dates. */
static bool lacks_sampling(struct str version)
{
    static const struct str first = STR_INIT("2026-10-21");
    return version.n == first.n && memcmp(version.p, first.p, first.n) >= 0;
}

enum step_result step_decode(struct exchange *x)
{
    struct proxy *p = x->proxy;
    const struct recall recall = exchange_recall(x);
    const struct decode_options options = {
        .models = p->models,
        .recall = &recall,
        .aliases = x->client->aliases,
        .n_aliases = x->client->n_aliases,
        .default_max_tokens = p->config->default_max_tokens,
        .betas = x->betas,
        .path_model = path_model(x),
        .strict = p->config->strict,
        .auto_cache = p->config->auto_cache,
        .fast_mode = p->config->fast_mode,
        .eager_tools = p->config->eager_tools,
        .unsampled = lacks_sampling(p->config->anthropic_version),
    };
    struct request_error e = {0};
    if (!x->endpoint->dialect->decode(&options, &p->doc, buf_str(&x->body), &x->keep, &x->scratch,
                                      &x->decoded, &e))
        return exchange_fail_with(x, fail_of_fault(e.fault), e.code, e.param, e.message);
    x->betas = arena_dup(&x->keep, x->decoded.request->betas);
    log_model(x);
    if (!may_use_model(x))
        return fail_model(x);
    prepare_content(x);
    x->asks_whole = !x->decoded.stream && x->decoded.request->max_tokens <= WHOLE_TOKENS_MAX;
    x->decoded.request->whole = x->asks_whole;
    buf_expect(&x->upstream.text, UPSTREAM_TEXT_FIRST);
    messages_write(x->decoded.request, &x->upstream);
    retry_budget_earn(&p->retries);
    return STEP_NEXT;
}

enum step_result step_route(struct exchange *x)
{
    if (x->phase_at_us)
        return STEP_WAIT; /* the pause before a retry; watch.c goes on after it */
    return STEP_NEXT;
}

static struct encoder *open_encoder(struct exchange *x)
{
    enum { ID = 24 };

    char *id = arena_alloc(&x->keep, ID);
    rand_alnum(id, ID);
    const struct encoder_options options = {
        .stream = x->decoded.stream,
        .id = str_of(id, ID),
        .created = (int64_t)(clock_wall_us() / 1000000),
        .whole_max = (size_t)x->proxy->config->max_body,
    };
    return x->endpoint->dialect->open(&x->keep, &x->decoded, &options);
}

enum step_result step_send(struct exchange *x)
{
    struct proxy *p = x->proxy;
    if (!x->encoder)
        x->encoder = open_encoder(x);
    x->key = route_pick(&p->route, clock_us(), x->decoded.home, &x->keys_tried);
    struct platform_call call = p->upstream;
    call.key = p->config->upstream_keys[x->key];
    const struct trace trace = traces_attempt(x);
    char traceparent[TRACEPARENT];
    call.betas = x->betas;
    call.traceparent = trace.known ? trace_write(&trace, traceparent) : STR_NONE;
    call.tracestate = x->tracestate;
    call.body_len = rope_len(&x->upstream);
    buf_clear(&p->scratch);
    bool fits = p->platform->messages_head(&call, &p->scratch);
    ASSERT(fits);

    x->attempts++;
    x->upstream_status = 0;
    x->upstream_answer = ANSWER_ERROR;
    x->should_retry = SHOULD_RETRY_UNSAID;
    x->retry_after_us = -1;
    sse_init(&x->sse, x->pending.max);
    /* moved when the whole request is out: an upstream that does not even read it ends here */
    x->phase_at_us =
        clock_us() + (uint64_t)(p->config->connect_timeout + p->config->first_byte_timeout);
    count_attempt(x);
    x->call = call_start(p->pool, buf_str(&p->scratch), &x->upstream, &relay_handler, x);
    return STEP_WAIT;
}
