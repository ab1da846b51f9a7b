/* chat_fields.c - the top-level fields of a request: one table of names, types, ranges and
 * handlers.
 *
 * A field that has no counterpart is dropped and named in x-ccproxy-dropped; only what would make
 * the answer wrong in its structure is refused. Fields are applied in the order of the table,
 * whatever the client's. Rows without a handler are ignored, or read by name where several decide
 * together.
 */
#include <math.h>

#include "base/hash.h"
#include "llm/chat.h"

#define UNBOUNDED 0x1p63 /* what does not fit into 64 bits */

enum {
    VALUE_SHOWN_MAX = 64,
    IDENTIFIER_MAX = 128,
    METADATA_PAIRS_MAX = 16,
    METADATA_KEY_MAX = 64,
    METADATA_VALUE_MAX = 512,
};

enum field_type { ANY, BOOLEAN, INTEGER, NUMBER, TEXT, LIST, OBJECT, TEXT_OR_LIST };

struct field {
    struct str name;
    enum field_type type;
    double min, max;
    bool (*apply)(struct chat *c, const struct field *f, struct jval v); /* NULL: ignored */
    enum chat_api api;
};

static bool drop(struct chat *c, const struct field *f, struct jval v)
{
    (void)v;
    chat_drop(c, f->name);
    return true;
}

static bool drop_unless_zero(struct chat *c, const struct field *f, struct jval v)
{
    double n;
    return (json_f64(v, &n) && n == 0.0) || drop(c, f, v);
}

static bool drop_unless_empty(struct chat *c, const struct field *f, struct jval v)
{
    return json_empty(v) || drop(c, f, v);
}

static bool drop_if_true(struct chat *c, const struct field *f, struct jval v)
{
    return !json_true(v) || drop(c, f, v);
}

static bool refuse(struct chat *c, const struct field *f)
{
    return chat_refuse(c, STR("unsupported_parameter"), f->name,
                       "Unsupported parameter: '%.*s' is not supported with this model.",
                       STR_FMT(f->name));
}

static bool refuse_text(struct chat *c, const struct field *f, struct jval v)
{
    return json_str_raw(v).n == 0 || refuse(c, f);
}

/* In Completions 0 asks for something, too. */
static bool refuse_number(struct chat *c, const struct field *f, struct jval v)
{
    (void)v;
    return refuse(c, f);
}

static bool refuse_if_set(struct chat *c, const struct field *f, struct jval v)
{
    int64_t n = 0;
    if (!json_true(v) && (!json_i64(v, &n) || n == 0))
        return true;
    return refuse(c, f);
}

static bool only_one_choice(struct chat *c, const struct field *f, struct jval v)
{
    int64_t n = 1;
    if (!json_i64(v, &n) || n == 1)
        return true;
    return chat_refuse(c, STR("unsupported_value"), f->name,
                       "Unsupported value: '%.*s' does not support %lld with this model. Only "
                       "the default (1) value is supported.",
                       STR_FMT(f->name), (long long)n);
}

static bool only_text(struct chat *c, const struct field *f, struct jval v)
{
    json_each (e, v)
        if (!json_str_is(e, STR("text")))
            return chat_refuse(c, STR("unsupported_value"), f->name,
                               "Unsupported value: 'modalities' does not support anything but "
                               "'text' with this model.");
    return true;
}

/* A safety switch that would silently do nothing is worse than an error. */
static bool moderation(struct chat *c, const struct field *f, struct jval v)
{
    struct jval policy = json_get(v, STR("policy"));
    struct jval mode = json_get(policy, STR("mode"));
    if (!json_str_is(mode, STR("block")) && !json_str_is(policy, STR("block")))
        return drop(c, f, v);
    return chat_refuse(c, STR("unsupported_parameter"), f->name,
                       "Unsupported parameter: 'moderation' cannot block with this model.");
}

static bool stream(struct chat *c, const struct field *f, struct jval v)
{
    (void)f;
    c->ret->stream = json_true(v);
    return true;
}

static bool include_usage(struct chat *c, const struct field *f, struct jval v)
{
    (void)f;
    c->reply->include_usage |=
        json_true(json_get(v, STR("include_usage"))) || json_true(json_get(v, STR("include")));
    return true;
}

static bool service_tier(struct chat *c, const struct field *f, struct jval v)
{
    static const struct {
        struct str theirs, ours;
    } tiers[] = {
        {STR_INIT("auto"), {NULL, 0}},
        {STR_INIT("default"), STR_INIT("standard_only")},
        {STR_INIT("flex"), STR_INIT("standard_only")},
        {STR_INIT("scale"), STR_INIT("standard_only")},
        {STR_INIT("standard_only"), STR_INIT("standard_only")},
        {STR_INIT("priority"), STR_INIT("auto")},
    };

    c->reply->tier_asked = true;
    for (size_t i = 0; i < ARRAY_LEN(tiers); i++) {
        if (json_str_is(v, tiers[i].theirs)) {
            c->m->service_tier = tiers[i].ours;
            return true;
        }
    }
    return chat_ask_fast(c) || drop(c, f, v);
}

static bool speed(struct chat *c, const struct field *f, struct jval v)
{
    return json_str_is(v, STR("standard")) || chat_ask_fast(c) || drop(c, f, v);
}

/* Upstream: each stop sequence must contain non-whitespace. Others are looked for in the answer. */
static void add_stop(struct chat *c, struct jval v)
{
    struct str s = json_str_raw(v);
    if (!chat_blank(s))
        c->m->stops[c->m->n_stops++] = s;
    else if (s.n > 0 && s.n <= CHAT_STOP_MAX && c->reply->n_stops < CHAT_STOPS_MAX) {
        if (!c->reply->stops)
            c->reply->stops = arena_alloc(c->keep, CHAT_STOPS_MAX * sizeof(struct str));
        c->reply->stops[c->reply->n_stops++] = arena_dup(c->keep, s);
    }
}

static bool stop(struct chat *c, const struct field *f, struct jval v)
{
    size_t n = json_is(v, JSON_ARRAY) ? json_count(v) : 1;
    c->m->stops = arena_alloc(c->scratch, size_max(n, 1) * sizeof(struct str));
    if (json_is(v, JSON_STRING)) {
        add_stop(c, v);
        return true;
    }
    json_each (e, v) {
        if (!json_is(e, JSON_STRING))
            return chat_refuse_type(c, f->name, "a string or an array of strings", e);
        add_stop(c, e);
    }
    return true;
}

/* Characters of a string's meaning. */
static size_t chars_of(struct chat *c, struct jval v)
{
    struct str s = json_str(v, c->scratch);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static bool check_length(struct chat *c, struct str param, struct jval v, size_t most)
{
    size_t n = chars_of(c, v);
    return n <= most ||
           chat_refuse(c, STR("string_above_max_length"), param,
                       "Invalid '%.*s': string too long. Expected a string with maximum length "
                       "%zu, but got a string with length %zu instead.",
                       STR_FMT(param), most, n);
}

static bool identifier(struct chat *c, const struct field *f, struct jval v)
{
    return check_length(c, f->name, v, IDENTIFIER_MAX);
}

/* It is not sent, but a program that is wrong about its limits should learn it here. Gateways' clients
 * also put lists and objects into it: they do no harm. */
static bool metadata(struct chat *c, const struct field *f, struct jval v)
{
    if (json_count(v) > METADATA_PAIRS_MAX)
        return chat_refuse(c, STR("object_above_max_properties"), f->name,
                           "Invalid 'metadata': too many properties. Expected an object with at "
                           "most %d properties, but got an object with %u properties instead.",
                           METADATA_PAIRS_MAX, json_count(v));
    json_each_member (key, v) {
        struct str name = json_str_raw(key);
        struct jval value = json_value(key);
        if (!check_length(c, f->name, key, METADATA_KEY_MAX))
            return false;
        struct str param = arena_printf(c->scratch, "metadata.%.*s", STR_FMT(name));
        if (json_is(value, JSON_STRING) && !check_length(c, param, value, METADATA_VALUE_MAX))
            return false;
    }
    return true;
}

/* effort and format are read elsewhere; what else there is needs fields that are not sent. */
static bool output_config(struct chat *c, const struct field *f, struct jval v)
{
    json_each_member (key, v) {
        bool known = json_str_is(key, STR("effort")) || json_str_is(key, STR("format"));
        if (!known && !json_is(json_value(key), JSON_NULL))
            chat_drop(c, arena_printf(c->scratch, "%.*s.%.*s", STR_FMT(f->name),
                                      STR_FMT(json_str_raw(key))));
    }
    return true;
}

/* What OpenAI sends to one machine goes to one upstream key here: caches are its workspace's. */
static bool cache_key(struct chat *c, const struct field *f, struct jval v)
{
    (void)f;
    struct sha256 hash = hash_sha256(json_str(v, c->scratch));
    memcpy(&c->ret->home, hash.bytes, sizeof(c->ret->home));
    return true;
}

/* Anthropic-minded clients put the system prompt beside the messages. */
static bool system_field(struct chat *c, const struct field *f, struct jval v)
{
    (void)f;
    return chat_read_content(c, v, IN_SYSTEM, &c->m->system);
}

/* The row's order is the order of application. */
static const struct field fields[] = {
    {STR_INIT("model"), TEXT, 0, 0, NULL, BOTH},
    {STR_INIT("messages"), LIST, 0, 0, NULL, CHAT},
    {STR_INIT("max_completion_tokens"), INTEGER, 1, UNBOUNDED, NULL, CHAT},
    {STR_INIT("max_tokens"), INTEGER, 1, UNBOUNDED, NULL, BOTH},
    {STR_INIT("stream"), BOOLEAN, 0, 0, stream, BOTH},
    {STR_INIT("stream_options"), OBJECT, 0, 0, include_usage, BOTH},
    {STR_INIT("usage"), ANY, 0, 0, include_usage, CHAT},
    {STR_INIT("n"), INTEGER, 1, 128, only_one_choice, BOTH},
    {STR_INIT("logprobs"), BOOLEAN, 0, 0, refuse_if_set, CHAT},
    {STR_INIT("top_logprobs"), INTEGER, 0, 20, refuse_if_set, CHAT},
    {STR_INIT("modalities"), LIST, 0, 0, only_text, CHAT},
    {STR_INIT("audio"), ANY, 0, 0, NULL, CHAT},
    {STR_INIT("moderation"), OBJECT, 0, 0, moderation, CHAT},
    {STR_INIT("system"), TEXT_OR_LIST, 0, 0, system_field, CHAT},
    {STR_INIT("stop"), TEXT_OR_LIST, 0, 0, stop, BOTH},
    {STR_INIT("temperature"), NUMBER, 0, 2, NULL, BOTH},
    {STR_INIT("top_p"), NUMBER, 0, 1, NULL, BOTH},
    {STR_INIT("top_k"), INTEGER, 0, UNBOUNDED, NULL, BOTH},
    {STR_INIT("frequency_penalty"), NUMBER, -2, 2, drop_unless_zero, BOTH},
    {STR_INIT("presence_penalty"), NUMBER, -2, 2, drop_unless_zero, BOTH},
    {STR_INIT("logit_bias"), OBJECT, 0, 0, drop_unless_empty, BOTH},
    {STR_INIT("seed"), INTEGER, -UNBOUNDED, UNBOUNDED, NULL, BOTH},
    {STR_INIT("tools"), LIST, 0, 0, NULL, CHAT},
    {STR_INIT("tool_choice"), ANY, 0, 0, NULL, CHAT},
    {STR_INIT("parallel_tool_calls"), BOOLEAN, 0, 0, NULL, CHAT},
    {STR_INIT("functions"), LIST, 0, 0, NULL, CHAT},
    {STR_INIT("function_call"), ANY, 0, 0, NULL, CHAT},
    {STR_INIT("response_format"), OBJECT, 0, 0, NULL, CHAT},
    {STR_INIT("web_search_options"), OBJECT, 0, 0, NULL, CHAT},
    {STR_INIT("reasoning_effort"), TEXT, 0, 0, NULL, CHAT},
    {STR_INIT("reasoning"), OBJECT, 0, 0, NULL, CHAT},
    {STR_INIT("include_reasoning"), BOOLEAN, 0, 0, NULL, CHAT},
    {STR_INIT("thinking"), OBJECT, 0, 0, NULL, CHAT},
    {STR_INIT("enable_thinking"), ANY, 0, 0, NULL, CHAT},
    {STR_INIT("think"), ANY, 0, 0, NULL, CHAT},
    {STR_INIT("output_config"), OBJECT, 0, 0, output_config, CHAT},
    {STR_INIT("effort"), TEXT, 0, 0, NULL, CHAT},
    {STR_INIT("chat_template_kwargs"), ANY, 0, 0, NULL, CHAT},
    {STR_INIT("verbosity"), TEXT, 0, 0, NULL, CHAT},
    {STR_INIT("user"), TEXT, 0, 0, NULL, BOTH},
    {STR_INIT("safety_identifier"), TEXT, 0, 0, identifier, BOTH},
    {STR_INIT("metadata"), OBJECT, 0, 0, metadata, BOTH},
    {STR_INIT("service_tier"), TEXT, 0, 0, service_tier, BOTH},
    {STR_INIT("speed"), TEXT, 0, 0, speed, BOTH},
    {STR_INIT("anthropic_beta"), TEXT_OR_LIST, 0, 0, NULL, BOTH},
    {STR_INIT("store"), BOOLEAN, 0, 0, drop_if_true, BOTH},
    {STR_INIT("prediction"), OBJECT, 0, 0, drop, CHAT},
    {STR_INIT("cache_control"), OBJECT, 0, 0, NULL, CHAT},
    {STR_INIT("prompt_cache_key"), TEXT, 0, 0, cache_key, BOTH},
    {STR_INIT("prompt_cache_options"), OBJECT, 0, 0, NULL, CHAT},
    {STR_INIT("prompt_cache_retention"), TEXT, 0, 0, NULL, CHAT},
    {STR_INIT("extra_body"), ANY, 0, 0, NULL, BOTH},
    {STR_INIT("extra_headers"), ANY, 0, 0, NULL, BOTH},
    {STR_INIT("prompt"), ANY, 0, 0, NULL, COMPLETIONS},
    {STR_INIT("echo"), BOOLEAN, 0, 0, NULL, COMPLETIONS},
    {STR_INIT("suffix"), TEXT, 0, 0, refuse_text, COMPLETIONS},
    {STR_INIT("best_of"), INTEGER, 1, 20, only_one_choice, COMPLETIONS},
    {STR_INIT("logprobs"), INTEGER, 0, 5, refuse_number, COMPLETIONS},
};

/* Looks among the few that are there; what the table does not name is nowhere. */
struct jval chat_find_field(const struct chat *c, struct str name)
{
    for (size_t i = 0; i < c->n_present; i++)
        if (str_eq(fields[c->present[i]].name, name))
            return c->fields[c->present[i]];
    return JVAL_NONE;
}

static const struct field *field_of(const struct chat *c, struct jval key)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if ((fields[i].api & c->api) && json_str_is(key, fields[i].name))
            return &fields[i];
    return NULL;
}

static void add_field(struct chat *c, const struct field *f, struct jval v)
{
    uint8_t row = (uint8_t)(f - fields);
    size_t at = c->n_present++;
    for (; at > 0 && c->present[at - 1] > row; at--)
        c->present[at] = c->present[at - 1];
    c->present[at] = row;
    c->present_bits |= chat_field_bit(f->name);
    c->fields[row] = v;
}

/* Null means absent, nearly everywhere in this API. The first object that has a field wins. */
static void collect_from(struct chat *c, struct jval object)
{
    json_each_member (key, object) {
        struct jval v = json_value(key);
        const struct field *f = field_of(c, key);
        if (json_is(v, JSON_NULL))
            continue;
        if (!f)
            chat_drop(c, json_str_raw(key));
        else if (!json_present(c->fields[f - fields]))
            add_field(c, f, v);
    }
}

bool chat_collect_fields(struct chat *c)
{
    _Static_assert(ARRAY_LEN(fields) <= UINT8_MAX, "rows are numbered by bytes");
    c->fields = arena_zalloc(c->scratch, sizeof(struct jval) * ARRAY_LEN(fields));
    c->present = arena_alloc(c->scratch, ARRAY_LEN(fields));
    collect_from(c, c->body);
    struct jval more = chat_field(c, STR("extra_body"));
    if (json_is(more, JSON_OBJECT))
        collect_from(c, more);
    return true;
}

bool chat_check_model(struct chat *c)
{
    struct jval model = chat_field(c, STR("model"));
    if (!json_present(model))
        return c->o->path_model.n > 0 || chat_refuse_missing(c, STR("model"));
    return json_is(model, JSON_STRING) || chat_refuse_type(c, STR("model"), "a string", model);
}

bool chat_check_required(struct chat *c)
{
    if (!chat_check_model(c))
        return false;
    struct jval messages = chat_field(c, STR("messages"));
    if (!json_present(messages))
        return chat_refuse_missing(c, STR("messages"));
    if (!json_is(messages, JSON_ARRAY))
        return chat_refuse_type(c, STR("messages"), "an array of objects", messages);
    if (json_empty(messages))
        return chat_refuse(c, STR("empty_array"), STR("messages"),
                           "Invalid 'messages': empty array. Expected an array with minimum "
                           "length 1, but got an empty array instead.");
    return true;
}

static bool has_type(struct jval v, enum field_type type)
{
    switch (type) {
    case ANY: return true;
    case BOOLEAN: return json_is(v, JSON_TRUE) || json_is(v, JSON_FALSE);
    case INTEGER: return json_is_whole(v);
    case NUMBER: return json_is(v, JSON_NUMBER);
    case TEXT: return json_is(v, JSON_STRING);
    case LIST: return json_is(v, JSON_ARRAY);
    case OBJECT: return json_is(v, JSON_OBJECT);
    case TEXT_OR_LIST: return json_is(v, JSON_STRING) || json_is(v, JSON_ARRAY);
    }
    UNREACHABLE();
}

static bool check_range(struct chat *c, const struct field *f, struct jval v)
{
    double n;
    int64_t whole;
    if (f->type != INTEGER && f->type != NUMBER)
        return true;
    bool fits = json_i64(v, &whole);
    if (fits)
        n = (double)whole;
    else if (!json_f64(v, &n)) /* beyond all doubles */
        n = json_raw(v).p[0] == '-' ? -HUGE_VAL : HUGE_VAL;
    if (n >= f->min && n <= f->max && (fits || f->type == NUMBER))
        return true;
    const char *kind = f->type == INTEGER ? "integer" : "decimal";
    bool below = n < f->min || (n < 0 && !fits);
    struct str value = json_raw(v);
    value = str_head(value, size_min(value.n, VALUE_SHOWN_MAX));
    return chat_refuse(
        c, arena_printf(c->scratch, "%s_%s_value", kind, below ? "below_min" : "above_max"),
        f->name, "Invalid '%.*s': %s %s value. Expected a value %s %g, but got %.*s instead.",
        STR_FMT(f->name), kind, below ? "below minimum" : "above maximum",
        below ? ">=" : "<=", below ? f->min : f->max, STR_FMT(value));
}

/* The quoted words of "'a', 'b', and 'c'". */
static bool is_listed(struct chat *c, struct jval v, struct str list)
{
    struct str word = json_str(v, c->scratch);
    return str_find(word, '\'') == word.n &&
           str_find_str(list, arena_printf(c->scratch, "'%.*s'", STR_FMT(word))) < list.n;
}

static bool check_words(struct chat *c)
{
    static const struct {
        struct str name;
        const char *supported;
    } words[] = {
        {STR_INIT("reasoning_effort"), CHAT_EFFORTS},
        {STR_INIT("effort"), CHAT_EFFORTS},
        {STR_INIT("verbosity"), "'low', 'medium', and 'high'"},
        {STR_INIT("prompt_cache_retention"), "'in_memory', 'in-memory', and '24h'"},
        {STR_INIT("service_tier"),
         "'auto', 'default', 'flex', 'scale', 'priority', 'standard_only', and 'fast'"},
        {STR_INIT("speed"), "'standard' and 'fast'"},
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct jval v = chat_field(c, words[i].name);
        if (json_present(v) && !is_listed(c, v, str_c(words[i].supported)))
            return chat_refuse_value(c, words[i].name, v, words[i].supported);
    }
    return true;
}

bool chat_check_types(struct chat *c)
{
    static const char *const expected[] = {
        [ANY] = "any value",      [BOOLEAN] = "a boolean",
        [INTEGER] = "an integer", [NUMBER] = "a decimal",
        [TEXT] = "a string",      [LIST] = "an array",
        [OBJECT] = "an object",   [TEXT_OR_LIST] = "a string or an array of strings",
    };
    for (size_t i = 0; i < c->n_present; i++) {
        const struct field *f = &fields[c->present[i]];
        struct jval v = c->fields[c->present[i]];
        if (!has_type(v, f->type))
            return chat_refuse_type(c, f->name, expected[f->type], v);
        if (!check_range(c, f, v))
            return false;
    }
    return check_words(c);
}

bool chat_apply_fields(struct chat *c)
{
    for (size_t i = 0; i < c->n_present; i++) {
        const struct field *f = &fields[c->present[i]];
        if (f->apply && !f->apply(c, f, c->fields[c->present[i]]))
            return false;
    }
    return true;
}
