/* sim.c - the simulator's routes, and what every answer of it has in common.
 *
 *   on_request -> control? -> route -> (script?) -> authenticate -> parse -> validate -> answer ->
 * send
 *
 * What it knows of the API is elsewhere: sim_validate refuses, sim_answer answers, sim_send paces,
 * sim_script misbehaves on demand.
 */
#include "sim/sim.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "sim/sim_call.h"
#include "sim/sim_control.h"
#include "sim/sim_models.h"
#include "sim/sim_record.h"
#include "sim/sim_script.h"
#include "wire/jsonw.h"

enum {
    HEAD_MAX = 64 * 1024,
    TOTAL_MAX = 1024 * 1024 * 1024,
    CONNECTIONS_MAX = 60000,
    OUT_MAX = 256 * 1024 * 1024,
    SECOND_US = 1000 * 1000,
};

/* ---- calls ---- */

static void call_free(struct deferred *d)
{
    struct sim_call *c = CONTAINER_OF(d, struct sim_call, dead);
    list_remove(&c->node);
    mem_free(c);
}

struct sim_call *call_new(struct sim *s, struct request *r)
{
    struct sim_call *c = mem_zalloc(sizeof(*c));
    c->sim = s;
    c->request = r;
    r->user = c;
    arena_init(&c->arena);
    list_init(&c->node);
    list_push(&s->calls, &c->node);
    deferred_init(&c->dead, call_free);
    return c;
}

void call_end(struct sim_call *c, bool gone)
{
    timer_stop(c->sim->loop, &c->timer);
    if (c->request)
        c->request->user = NULL;
    c->request = NULL;
    if (!c->route || c->route->kind != ROUTE_CONTROL)
        *(gone ? &c->sim->aborted : &c->sim->served) += 1;
    if (gone)
        record_gone(c->record);
    record_release(c->record);
    c->record = NULL;
    mem_free(c->answer);
    c->answer = NULL;
    play_drop(c->play);
    c->play = NULL;
    arena_done(&c->arena);
    loop_defer(c->sim->loop, &c->dead);
}

/* ---- heads, errors ---- */

struct str sim_new_id(struct sim *s, char out[SIM_ID])
{
    static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

    enum { LENGTH = 28, PREFIX = 8 };

    memcpy(out, "req_011C", PREFIX);
    uint64_t n = ++s->n_ids;
    uint64_t h = prefix_bytes(s->id_seed, str_of((const char *)&n, sizeof(n)));
    for (size_t i = PREFIX; i < LENGTH; i++) {
        out[i] = digits[h % (sizeof(digits) - 1)];
        h = i == LENGTH / 2 ? prefix_bytes(h, str_of(out, i)) : h / 29;
        h = h ? h : n + i;
    }
    return str_of(out, LENGTH);
}

/* "2026-11-22T08:00:01Z": limits are full again in a second. */
static struct str reset_stamp(struct sim *s)
{
    enum { TO_SECONDS = 19 };

    uint64_t now_s = clock_wall_us() / SECOND_US;
    if (now_s != s->stamp_s) {
        char text[CLOCK_TEXT];
        struct str t = clock_rfc3339((now_s + 1) * SECOND_US, text);
        memcpy(s->stamp, t.p, TO_SECONDS);
        s->stamp[TO_SECONDS] = 'Z';
        s->stamp_s = now_s;
    }
    return str_of(s->stamp, TO_SECONDS + 1);
}

static void put_limits(struct sim *s, struct request *r)
{
#define LIMIT(name, value)                                                                         \
    {                                                                                              \
        STR_INIT("anthropic-ratelimit-" name "-limit"),                                            \
            STR_INIT("anthropic-ratelimit-" name "-remaining"),                                    \
            STR_INIT("anthropic-ratelimit-" name "-reset"), STR_INIT(value)                        \
    }

    static const struct {
        struct str limit, remaining, reset, value;
    } limits[] = {
        LIMIT("requests", "4000"),
        LIMIT("input-tokens", "2000000"),
        LIMIT("output-tokens", "400000"),
        LIMIT("tokens", "2400000"),
    };

#undef LIMIT
    struct str stamp = reset_stamp(s);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        reply_field(r, limits[i].limit, limits[i].value);
        reply_field(r, limits[i].remaining, limits[i].value);
        reply_field(r, limits[i].reset, stamp);
    }
}

void sim_reply_head(struct sim *s, struct request *r, int status, struct str type, int64_t length,
                    struct str id)
{
    reply_start(r, status);
    reply_field(r, STR("content-type"), type);
    if (length < 0)
        reply_field(r, STR("cache-control"), STR("no-cache"));
    reply_field(r, STR("request-id"), id);
    reply_field(r, STR("anthropic-organization-id"), STR("00000000-0000-4000-8000-000000000000"));
    if (status == 200)
        put_limits(s, r);
    reply_field(r, STR("server"), STR("cloudflare"));
    reply_field(r, STR("cf-ray"), STR("0000000000000000-SIM"));
    reply_head_end(r, length);
}

void sim_reply_json(struct sim *s, struct request *r, struct str json)
{
    char id[SIM_ID];
    sim_reply_head(s, r, 200, STR("application/json"), (int64_t)json.n, sim_new_id(s, id));
    reply_body(r, json);
    reply_end(r);
}

void sim_reply_error(struct sim *s, struct request *r, const struct sim_error *e)
{
    char text[SIM_ID];
    struct str id = sim_new_id(s, text);
    struct buf *out = &s->out;
    buf_clear(out);
    buf_printf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"", e->type);
    (void)jsonw_escape(out, e->message);
    buf_lit(out, "\"");
    if (e->details.p)
        buf_printf(out, ",\"details\":{%.*s}", STR_FMT(e->details));
    buf_printf(out, "},\"request_id\":\"%.*s\"}", STR_FMT(id));
    sim_reply_head(s, r, e->status, STR("application/json"), (int64_t)buf_len(out), id);
    reply_body(r, buf_str(out));
    reply_end(r);
}

struct sim_error sim_refusal(int status, const char *type, struct str message)
{
    return (struct sim_error){.status = status, .type = type, .message = message};
}

/* ---- what the head says ---- */

static struct sim_error check_key(const struct h1_head *head)
{
    struct str key = head->known[H1_X_API_KEY];
    struct str bearer = head->known[H1_AUTHORIZATION];
    struct str token = STR("");
    if (key.p) { /* with both, x-api-key counts */
        if (key.n != 0 && !str_eq(key, STR("invalid")))
            return (struct sim_error){0};
        return sim_refusal(401, "authentication_error", STR("invalid x-api-key"));
    }
    if (!bearer.p)
        return sim_refusal(401, "authentication_error", STR("x-api-key header is required"));
    if (str_starts_nocase(bearer, STR("Bearer ")))
        token = str_trim(str_skip(bearer, 7));
    if (token.n != 0 && !str_eq(token, STR("invalid")))
        return (struct sim_error){0};
    return sim_refusal(401, "authentication_error", STR("Invalid bearer token"));
}

/* All values of anthropic-beta, which may be repeated. */
static struct str join_betas(struct arena *a, const struct h1_head *head)
{
    struct str out = STR_NONE;
    for (size_t i = 0; i < head->n_fields; i++) {
        if (!str_eq_nocase(head->fields[i].name, STR("anthropic-beta")))
            continue;
        struct str value = head->fields[i].value;
        out = out.p ? arena_printf(a, "%.*s,%.*s", STR_FMT(out), STR_FMT(value))
                    : arena_dup(a, value);
    }
    return out;
}

static struct sim_error check_version(struct sim_call *c, const struct h1_head *head)
{
    const char *type = "invalid_request_error";
    struct str version = h1_field(head, STR("anthropic-version")), unknown;
    if (!version.p)
        return sim_refusal(400, type, STR("anthropic-version: header is required"));
    bool newer = str_eq(version, SIM_VERSION_NEW);
    if (!newer && !str_eq(version, SIM_VERSION_OLD))
        return sim_refusal(400, type,
                           arena_printf(&c->arena,
                                        "anthropic-version: \"%.*s\" is not a valid version",
                                        STR_FMT(version)));
    c->version = newer ? SIM_VERSION_NEW : SIM_VERSION_OLD;
    c->betas = join_betas(&c->arena, head);
    if (sim_betas_known(c->betas, &unknown))
        return (struct sim_error){0};
    return sim_refusal(400, type,
                       arena_printf(&c->arena,
                                    "Unexpected value(s) `%.*s` for the `anthropic-beta` header. "
                                    "Please consult our documentation at platform.claude.com/docs "
                                    "or try again without the header.",
                                    STR_FMT(unknown)));
}

static struct sim_error check_encoding(const struct h1_head *head)
{
    struct str encoding = head->known[H1_CONTENT_ENCODING];
    if (!encoding.p || str_eq_nocase(encoding, STR("identity")))
        return (struct sim_error){0};
    struct sim_error e = sim_refusal(400, "invalid_request_error",
                                     STR("The request body's content encoding is not supported."));
    e.details = STR("\"error_code\":\"request_body_encoding_unsupported\"");
    return e;
}

static void check_head(struct sim_call *c, const struct h1_head *head)
{
    if (c->route->kind != ROUTE_API)
        return;
    c->refused = check_key(head);
    if (c->refused.status == 0)
        c->refused = check_version(c, head);
    if (c->refused.status == 0)
        c->refused = check_encoding(head);
}

/* ---- endpoints ---- */

static bool parse_body(struct sim *s, struct request *r)
{
    enum json_error e = json_parse(&s->doc, buf_str(&r->body));
    if (e == JSON_OK)
        return true;
    struct sim_error error =
        sim_refusal(400, "invalid_request_error",
                    arena_printf(&s->scratch, "The request body is not valid JSON: %s: char %zu",
                                 json_error_text(e), s->doc.error_at));
    sim_reply_error(s, r, &error);
    return false;
}

static bool accept_request(struct sim *s, struct request *r, const struct sim_call *c,
                           struct sim_request *q)
{
    struct sim_error error = {0};
    q->version = c->version;
    q->betas = c->betas;
    if (!parse_body(s, r))
        return false;
    if (sim_validate_request(&s->doc, &s->scratch, q, &error))
        return true;
    sim_reply_error(s, r, &error);
    return false;
}

static void post_messages(struct sim *s, struct request *r, struct sim_call *c)
{
    struct sim_request q = {0};
    if (!accept_request(s, r, c, &q)) {
        call_end(c, false);
        return;
    }
    struct sim_setting setting = {
        .filler = buf_str(&s->filler),
        .answer_tokens = s->options.answer_tokens,
        .cache = s->cache,
        .now_us = clock_us(),
    };
    struct sim_answer answer;
    sim_answer_make(&q, &setting, &s->scratch, &answer);
    sim_send(s, r, c, &answer, json_true(json_get(q.root, STR("stream"))));
}

static void post_count(struct sim *s, struct request *r, struct sim_call *c)
{
    struct sim_request q = {.counting = true};
    if (accept_request(s, r, c, &q)) {
        buf_clear(&s->out);
        buf_printf(&s->out, "{\"input_tokens\":%lld}", (long long)q.input_tokens);
        sim_reply_json(s, r, buf_str(&s->out));
    }
    call_end(c, false);
}

static void get_models(struct sim *s, struct request *r, struct sim_call *c)
{
    struct sim_error error = {0};
    buf_clear(&s->out);
    if (sim_models_write(c->query, &s->scratch, &s->out, &error))
        sim_reply_json(s, r, buf_str(&s->out));
    else
        sim_reply_error(s, r, &error);
    call_end(c, false);
}

#define MODELS_PATH STR("/v1/models/")

static void get_model(struct sim *s, struct request *r, struct sim_call *c)
{
    struct str name = str_skip(c->path, MODELS_PATH.n);
    const struct model *m = sim_model_find(name);
    struct sim_error error = sim_refusal(404, "not_found_error",
                                         arena_printf(&s->scratch, "model: %.*s", STR_FMT(name)));
    buf_clear(&s->out);
    if (m)
        sim_model_write(m, &s->out);
    if (m)
        sim_reply_json(s, r, buf_str(&s->out));
    else
        sim_reply_error(s, r, &error);
    call_end(c, false);
}

static void get_hello(struct sim *s, struct request *r, struct sim_call *c)
{
    sim_reply_json(s, r, STR("{\"message\":\"hello\"}"));
    call_end(c, false);
}

/* ---- routes ---- */

static const struct sim_route routes[] = {
    {"POST", "/v1/messages", post_messages, ROUTE_API},
    {"POST", "/v1/messages/count_tokens", post_count, ROUTE_API},
    {"GET", "/v1/models", get_models, ROUTE_API},
    {"GET", "/v1/models/", get_model, ROUTE_API},
    {"HEAD", "/api/hello", get_hello, ROUTE_OPEN},
    {"GET", "/api/hello", get_hello, ROUTE_OPEN},
    {"POST", "/_sim/script", control_post_script, ROUTE_CONTROL},
    {"DELETE", "/_sim/script", control_delete_script, ROUTE_CONTROL},
    {"GET", "/_sim/requests", control_get_requests, ROUTE_CONTROL},
    {"DELETE", "/_sim/requests", control_delete_requests, ROUTE_CONTROL},
    {"GET", "/_sim/state", control_get_state, ROUTE_CONTROL},
};

static bool path_matches(struct str route, struct str path)
{
    if (str_ends(route, STR("/")))
        return path.n > route.n && str_starts(path, route);
    return str_eq(route, path);
}

/* Sets the call's route, or why there is none. */
static void find_route(struct sim_call *c, const struct h1_head *head)
{
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        const struct sim_route *route = &routes[i];
        bool open = route->kind != ROUTE_CONTROL || c->sim->options.control;
        if (!open || !path_matches(str_c(route->path), head->path))
            continue;
        known = true;
        if (!str_eq(str_c(route->method), head->method_text))
            continue;
        c->route = route;
        return;
    }
    c->refused = known ? sim_refusal(405, "invalid_request_error", STR("Method Not Allowed"))
                       : sim_refusal(404, "not_found_error", STR("Not Found"));
}

static void on_head(void *ctx, struct request *r)
{
    struct sim *s = ctx;
    struct sim_call *c = call_new(s, r);
    find_route(c, r->head);
    if (c->route)
        check_head(c, r->head);
    if (r->head->method == H1_GET) {
        c->path = arena_dup(&c->arena, r->head->path);
        c->query = r->head->query.p ? arena_dup(&c->arena, r->head->query) : STR_NONE;
    }
    if (s->log && !(c->route && c->route->kind == ROUTE_CONTROL))
        c->record = log_add(s->log, r);
}

static void on_request(void *ctx, struct request *r)
{
    struct sim *s = ctx;
    struct sim_call *c = r->user;
    record_body(c->record, buf_str(&r->body));
    bool scripted = c->route && c->route->fn == post_messages && s->script;
    if (scripted && script_play(s->script, c)) {
        arena_done(&s->scratch);
        return;
    }
    if (c->refused.status) {
        sim_reply_error(s, r, &c->refused);
        call_end(c, false);
    } else {
        ASSERT(c->route); /* no route is a refusal */
        c->route->fn(s, r, c);
    }
    arena_done(&s->scratch);
}

static void on_refused(void *ctx, struct request *r, enum server_refusal why, enum h1_error error)
{
    (void)error;

    static const struct {
        int status;
        const char *type;
        struct str message;
    } answers[] = {
        [SERVER_BAD_MESSAGE] = {400, "invalid_request_error", STR_INIT("Bad Request")},
        [SERVER_BODY_TOO_LONG] = {413, "request_too_large",
                                  STR_INIT("Request exceeds the maximum size")},
        [SERVER_OVERLOADED] = {529, "overloaded_error", STR_INIT("Overloaded")},
        [SERVER_SLOW_HEAD] = {408, "invalid_request_error", STR_INIT("Request Timeout")},
        [SERVER_SLOW_BODY] = {408, "invalid_request_error", STR_INIT("Request Timeout")},
    };

    struct sim_error e = sim_refusal(answers[why].status, answers[why].type, answers[why].message);
    sim_reply_error(ctx, r, &e);
    if (r->user)
        call_end(r->user, false);
}

static void on_gone(void *ctx, struct request *r)
{
    (void)ctx;
    if (r->user)
        call_end(r->user, true);
}

static void on_drained(void *ctx, struct request *r)
{
    (void)ctx;
    if (r->user)
        sim_send_drained(r->user);
}

/* ---- life ---- */

/* Words that make answers long, without end: what a model says when it is told to go on. */
static void fill(struct buf *out, size_t words)
{
    static const struct str vocabulary[] = {
        STR_INIT(" and"),   STR_INIT(" so"),    STR_INIT(" the"),    STR_INIT(" answer"),
        STR_INIT(" goes"),  STR_INIT(" on,"),   STR_INIT(" word"),   STR_INIT(" after"),
        STR_INIT(" word,"), STR_INIT(" until"), STR_INIT(" enough"), STR_INIT(" is"),
        STR_INIT(" said."),
    };
    for (size_t i = 0; i < words; i++)
        buf_append(out, vocabulary[i % ARRAY_LEN(vocabulary)]);
}

struct sim *sim_new(struct loop *l, const struct sim_options *o)
{
    static const struct server_limits limits = {
        .head_max = HEAD_MAX,
        .body_max = SIM_BODY_MAX,
        .total_max = TOTAL_MAX,
        .connections_max = CONNECTIONS_MAX,
        .head_timeout_us = 60ull * SECOND_US,
        .body_timeout_us = 300ull * SECOND_US,
        .idle_timeout_us = 3600ull * SECOND_US,
        .write_timeout_us = 3600ull * SECOND_US,
    };
    struct sim *s = mem_zalloc(sizeof(*s));
    s->handler = (struct server_handler){
        .ctx = s,
        .on_head = on_head,
        .on_request = on_request,
        .on_refused = on_refused,
        .on_gone = on_gone,
        .on_drained = on_drained,
    };

    enum { WORD_MAX = 8 };

    s->loop = l;
    s->options = *o;
    s->id_seed = rand_u64();
    list_init(&s->calls);
    json_init(&s->doc);
    arena_init(&s->scratch);
    buf_init(&s->out, OUT_MAX);
    buf_init(&s->filler, (o->answer_tokens + 1) * WORD_MAX);
    fill(&s->filler, o->answer_tokens);
    s->cache = prompt_cache_new();
    if (o->control) {
        s->script = script_new();
        s->log = log_new();
    }
    s->server = server_new(l, &limits, &s->handler);
    return s;
}

bool sim_listen(struct sim *s, int fd)
{
    return server_listen(s->server, fd);
}

void sim_free(struct sim *s)
{
    server_free(s->server);
    list_each_safe (node, &s->calls) {
        struct sim_call *c = CONTAINER_OF(node, struct sim_call, node);
        if (c->play) /* on a stream that the server no longer knows */
            call_end(c, true);
        deferred_cancel(&c->dead);
        call_free(&c->dead);
    }
    script_free(s->script);
    log_free(s->log);
    prompt_cache_free(s->cache);
    json_done(&s->doc);
    arena_done(&s->scratch);
    buf_done(&s->out);
    buf_done(&s->filler);
    sim_models_done();
    mem_free(s);
}
