/* otlp.c - see otlp.h.
 *
 * In OTLP's JSON, ids are hex, enums are numbers, and integers of 64 bits are strings.
 */
#include "store/otlp.h"

#include "base/mem.h"
#include "base/text.h"
#include "wire/h1.h"

enum { FLAG_SAMPLED = 0x001, FLAG_KNOWS_REMOTE = 0x100, FLAG_REMOTE = 0x200 };

enum { STATUS_ERROR = 2, HEADERS_MAX = 16 * 1024 };

/* --- attributes ----------------------------------------------------------------------------- */

static void put_u64(struct jsonw *w, uint64_t n)
{
    char digits[TEXT_U64];
    jsonw_str_raw(w, str_of(digits, text_u64(n, digits)));
}

static void open_attribute(struct jsonw *w, const char *key, const char *type)
{
    jsonw_object(w);
    jsonw_field_str_raw(w, "key", str_c(key));
    jsonw_key(w, STR("value"));
    jsonw_object(w);
    jsonw_key(w, str_c(type));
}

static void close_attribute(struct jsonw *w)
{
    jsonw_object_end(w);
    jsonw_object_end(w);
}

static void text_attribute(struct jsonw *w, const char *key, struct str s)
{
    if (!s.n)
        return;
    open_attribute(w, key, "stringValue");
    jsonw_str(w, s);
    close_attribute(w);
}

static void kept_attribute(struct jsonw *w, const char *key, const struct journal_text *t)
{
    text_attribute(w, key, journal_str(t));
}

static void number_attribute(struct jsonw *w, const char *key, int64_t n)
{
    if (n < 0)
        return;
    open_attribute(w, key, "intValue");
    put_u64(w, (uint64_t)n);
    close_attribute(w);
}

/* A list of one. */
static void list_attribute(struct jsonw *w, const char *key, const struct journal_text *t)
{
    if (!t->n)
        return;
    open_attribute(w, key, "arrayValue");
    jsonw_object(w);
    jsonw_key(w, STR("values"));
    jsonw_array(w);
    jsonw_object(w);
    jsonw_field_str(w, "stringValue", journal_str(t));
    jsonw_object_end(w);
    jsonw_array_end(w);
    jsonw_object_end(w);
    close_attribute(w);
}

static void add_server(struct jsonw *w, const struct span *s)
{
    kept_attribute(w, "http.request.method", &s->method);
    kept_attribute(w, "http.route", &s->route);
    kept_attribute(w, "url.path", &s->path);
    number_attribute(w, "http.response.status_code", s->status ? s->status : -1);
    kept_attribute(w, "ccproxy.request_id", &s->request_id);
    kept_attribute(w, "ccproxy.client", &s->client);
    kept_attribute(w, "ccproxy.asked_model", &s->model);
    number_attribute(w, "ccproxy.attempts", s->attempt);
    number_attribute(w, "ccproxy.cost_micro_usd", s->cost_micro_usd);
    kept_attribute(w, "error.type", &s->error);
}

static void add_client(struct jsonw *w, const struct span *s)
{
    text_attribute(w, "gen_ai.operation.name", STR("chat"));
    text_attribute(w, "gen_ai.provider.name", STR("anthropic"));
    kept_attribute(w, "gen_ai.request.model", &s->model);
    number_attribute(w, "gen_ai.request.max_tokens", s->max_tokens);
    kept_attribute(w, "gen_ai.response.id", &s->answer_id);
    kept_attribute(w, "gen_ai.response.model", &s->answer_model);
    list_attribute(w, "gen_ai.response.finish_reasons", &s->finish);
    number_attribute(w, "gen_ai.usage.input_tokens", s->input);
    number_attribute(w, "gen_ai.usage.output_tokens", s->output);
    number_attribute(w, "gen_ai.usage.cache_read.input_tokens", s->cache_read);
    number_attribute(w, "gen_ai.usage.cache_creation.input_tokens", s->cache_write);
    number_attribute(w, "gen_ai.usage.reasoning.output_tokens", s->reasoning);
    kept_attribute(w, "server.address", &s->host);
    number_attribute(w, "server.port", s->port ? s->port : -1);
    text_attribute(w, "http.request.method", STR("POST"));
    number_attribute(w, "http.response.status_code", s->status ? s->status : -1);
    number_attribute(w, "http.request.resend_count", s->attempt > 1 ? (int64_t)s->attempt - 1 : -1);
    kept_attribute(w, "ccproxy.upstream_request_id", &s->request_id);
    kept_attribute(w, "error.type", &s->error);
}

/* --- spans ---------------------------------------------------------------------------------- */

static void put_time(struct jsonw *w, const char *key, uint64_t us)
{
    jsonw_key(w, str_c(key));
    put_u64(w, us * 1000);
}

static void add_event(struct jsonw *w, const char *name, uint64_t at_us)
{
    if (!at_us)
        return;
    jsonw_object(w);
    put_time(w, "timeUnixNano", at_us);
    jsonw_field_str_raw(w, "name", str_c(name));
    jsonw_object_end(w);
}

static void put_events(struct jsonw *w, const struct span *s)
{
    jsonw_key(w, STR("events"));
    jsonw_array(w);
    add_event(w, "request received", s->received_us);
    add_event(w, "sent upstream", s->sent_us);
    add_event(w, "first event", s->first_event_us);
    add_event(w, "first token", s->first_token_us);
    jsonw_array_end(w);
}

/* "POST /chat/completions", "chat claude-sonnet-5-5": few enough for a collector to group by. */
static void put_name(struct jsonw *w, const struct span *s)
{
    struct str first = s->kind == SPAN_SERVER ? journal_str(&s->method) : STR("chat");
    struct str second = journal_str(s->kind == SPAN_SERVER ? &s->route : &s->model);
    char name[2 * JOURNAL_TEXT + 2];
    int n = snprintf(name, sizeof(name), "%.*s %.*s", STR_FMT(first), STR_FMT(second));
    jsonw_field_str(w, "name", str_of(name, (size_t)n));
}

static void put_ids(struct jsonw *w, const struct span *s)
{
    int64_t flags = FLAG_SAMPLED | FLAG_KNOWS_REMOTE;
    jsonw_field_str(w, "traceId", str_of(s->trace, SPAN_TRACE));
    jsonw_field_str(w, "spanId", str_of(s->id, SPAN_ID));
    if (s->has_parent)
        jsonw_field_str(w, "parentSpanId", str_of(s->parent, SPAN_ID));
    if (s->has_parent && s->kind == SPAN_SERVER)
        flags |= FLAG_REMOTE;
    jsonw_field_i64(w, "flags", flags);
}

void otlp_add(struct jsonw *w, const struct span *s)
{
    jsonw_object(w);
    put_ids(w, s);
    put_name(w, s);
    jsonw_field_i64(w, "kind", s->kind == SPAN_SERVER ? SPAN_SERVER : SPAN_CLIENT);
    put_time(w, "startTimeUnixNano", s->start_us);
    put_time(w, "endTimeUnixNano", s->end_us);
    jsonw_key(w, STR("attributes"));
    jsonw_array(w);
    if (s->kind == SPAN_SERVER)
        add_server(w, s);
    else
        add_client(w, s);
    jsonw_array_end(w);
    put_events(w, s);
    jsonw_key(w, STR("status"));
    jsonw_object(w);
    if (s->failed)
        jsonw_field_i64(w, "code", STATUS_ERROR);
    jsonw_object_end(w);
    jsonw_object_end(w);
}

static void open_list(struct jsonw *w, const char *key)
{
    jsonw_key(w, str_c(key));
    jsonw_array(w);
}

static void put_resource(struct jsonw *w, const struct otlp_source *source)
{
    char instance[2 * sizeof(source->instance)];
    text_hex(&source->instance, sizeof(source->instance), instance);
    jsonw_key(w, STR("resource"));
    jsonw_object(w);
    open_list(w, "attributes");
    text_attribute(w, "service.name", source->service);
    text_attribute(w, "service.version", source->version);
    text_attribute(w, "service.instance.id", str_of(instance, sizeof(instance)));
    jsonw_array_end(w);
    jsonw_object_end(w);
}

void otlp_begin(struct jsonw *w, const struct otlp_source *source)
{
    jsonw_object(w);
    open_list(w, "resourceSpans");
    jsonw_object(w);
    put_resource(w, source);
    open_list(w, "scopeSpans");
    jsonw_object(w);
    jsonw_key(w, STR("scope"));
    jsonw_object(w);
    jsonw_field_str(w, "name", STR("ccproxy"));
    jsonw_field_str(w, "version", source->version);
    jsonw_object_end(w);
    open_list(w, "spans");
}

void otlp_end(struct jsonw *w)
{
    jsonw_array_end(w);
    jsonw_object_end(w);
    jsonw_array_end(w);
    jsonw_object_end(w);
    jsonw_array_end(w);
    jsonw_object_end(w);
}

/* --- the collector's answer, and what it wants to see --------------------------------------- */

uint64_t otlp_refused(struct json *doc, struct str body)
{
    uint64_t n = 0;
    int64_t number;
    if (json_parse(doc, body) != JSON_OK)
        return 0;
    struct jval partial = json_get(json_root(doc), STR("partialSuccess"));
    struct jval refused = json_get(partial, STR("rejectedSpans"));
    if (json_i64(refused, &number) && number > 0)
        return (uint64_t)number;
    return str_to_u64(json_str_raw(refused), &n) ? n : 0;
}

/* Those that the exporter writes itself, or that would change how the request is read. */
static bool is_ours(struct str name)
{
    static const struct str ours[] = {
        STR_INIT("host"),       STR_INIT("content-type"),      STR_INIT("content-length"),
        STR_INIT("connection"), STR_INIT("transfer-encoding"), STR_INIT("content-encoding"),
        STR_INIT("expect"),     STR_INIT("upgrade"),
    };
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (str_eq_nocase(ours[i], name))
            return true;
    return false;
}

static bool add_header(struct str item, struct arena *a, struct buf *out)
{
    size_t end = str_find(item, '=');
    struct str name = str_trim(str_head(item, end)), value;
    if (end == item.n || !h1_is_token(name) || is_ours(name) ||
        !text_percent_decode(a, str_trim(str_skip(item, end + 1)), &value))
        return false;
    bool ok = value.n && h1_is_field_value(value) &&
              buf_printf(out, "%.*s: %.*s\r\n", STR_FMT(name), STR_FMT(value));
    if (value.p < item.p || value.p > item.p + item.n) /* decoded into the arena */
        mem_wipe((void *)(uintptr_t)value.p, value.n);
    return ok;
}

bool otlp_headers(struct str list, struct buf *out)
{
    struct str rest = list.n ? list : STR_NONE, item;
    struct arena a;
    bool ok = list.n <= HEADERS_MAX;
    arena_init(&a);
    while (ok && str_split(&rest, ',', &item))
        ok = add_header(str_trim(item), &a, out);
    arena_done(&a);
    return ok;
}
