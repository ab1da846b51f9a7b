/* chat_draft.c - whether a schema is one of JSON Schema 2020-12, and how older ones become it.
 *
 *   {"required": null}                        -> {}
 *   {"items": [A, B], "additionalItems": C}   -> {"prefixItems": [A, B], "items": C}
 *   {"minimum": 1, "exclusiveMinimum": true}  -> {"exclusiveMinimum": 1}
 *
 * Upstream refuses a request for one keyword of a wrong kind in one tool. What the first drafts
 * allowed, or what programs write for "none", has one meaning and is rewritten; the rest is refused
 * here, where the place can be named. A schema that is fine stays byte for byte.
 *
 * Recursion is bounded by the depth of parsed documents.
 * Source: https://json-schema.org/draft/2020-12/schema
 */
#include "llm/chat.h"
#include "wire/jsonw.h"

enum kind { SCHEMA, MAP, LIST, TYPE, NAMES, COUNT, NUMBER, BOOLEAN, STRING, ARRAY };

static const struct keyword {
    struct str name;
    enum kind kind;
} keywords[] = {
    {STR_INIT("type"), TYPE},
    {STR_INIT("description"), STRING},
    {STR_INIT("properties"), MAP},
    {STR_INIT("required"), NAMES},
    {STR_INIT("items"), SCHEMA},
    {STR_INIT("enum"), ARRAY},
    {STR_INIT("additionalProperties"), SCHEMA},
    {STR_INIT("anyOf"), LIST},
    {STR_INIT("oneOf"), LIST},
    {STR_INIT("allOf"), LIST},
    {STR_INIT("not"), SCHEMA},
    {STR_INIT("if"), SCHEMA},
    {STR_INIT("then"), SCHEMA},
    {STR_INIT("else"), SCHEMA},
    {STR_INIT("$ref"), STRING},
    {STR_INIT("$defs"), MAP},
    {STR_INIT("definitions"), MAP},
    {STR_INIT("title"), STRING},
    {STR_INIT("format"), STRING},
    {STR_INIT("pattern"), STRING},
    {STR_INIT("minimum"), NUMBER},
    {STR_INIT("maximum"), NUMBER},
    {STR_INIT("exclusiveMinimum"), NUMBER},
    {STR_INIT("exclusiveMaximum"), NUMBER},
    {STR_INIT("multipleOf"), NUMBER},
    {STR_INIT("minLength"), COUNT},
    {STR_INIT("maxLength"), COUNT},
    {STR_INIT("minItems"), COUNT},
    {STR_INIT("maxItems"), COUNT},
    {STR_INIT("minProperties"), COUNT},
    {STR_INIT("maxProperties"), COUNT},
    {STR_INIT("minContains"), COUNT},
    {STR_INIT("maxContains"), COUNT},
    {STR_INIT("uniqueItems"), BOOLEAN},
    {STR_INIT("deprecated"), BOOLEAN},
    {STR_INIT("readOnly"), BOOLEAN},
    {STR_INIT("writeOnly"), BOOLEAN},
    {STR_INIT("examples"), ARRAY},
    {STR_INIT("prefixItems"), LIST},
    {STR_INIT("contains"), SCHEMA},
    {STR_INIT("propertyNames"), SCHEMA},
    {STR_INIT("patternProperties"), MAP},
    {STR_INIT("dependentSchemas"), MAP},
    {STR_INIT("unevaluatedItems"), SCHEMA},
    {STR_INIT("unevaluatedProperties"), SCHEMA},
    {STR_INIT("$schema"), STRING},
    {STR_INIT("$id"), STRING},
    {STR_INIT("$anchor"), STRING},
    {STR_INIT("$comment"), STRING},
};

static const struct keyword *keyword_of(struct jval key)
{
    struct str name = json_str_raw(key);
    bool escaped = json_is_escaped(key);
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
        if (escaped ? json_str_is(key, keywords[i].name) : str_eq(name, keywords[i].name))
            return &keywords[i];
    return NULL;
}

/* --- looking --- */

/* Where a keyword stands; the list leads outwards, to a place without a key: the whole schema. */
struct place {
    const struct place *up;
    struct jval key;
};

struct look {
    struct chat *c;
    struct str fault; /* the innermost broken place, as the client is told it */
    bool old;
};

static void look_schema(struct look *k, const struct place *at, struct jval schema);

static void print_place(struct buf *b, const struct place *p)
{
    if (!p || !p->up)
        return;
    print_place(b, p->up);
    buf_append(b, p->up->up ? STR(", '") : STR("'"));
    buf_append(b, json_str_raw(p->key));
    buf_lit(b, "'");
}

static void break_at(struct look *k, const struct place *at)
{
    if (k->fault.p)
        return;
    buf_lit(&k->c->text, "In context=(");
    print_place(&k->c->text, at->up);
    buf_printf(&k->c->text, "), '%.*s' is not valid", STR_FMT(json_str_raw(at->key)));
    k->fault = chat_take_text(k->c);
}

static bool is_type_name(struct jval v)
{
    static const struct str names[] = {STR_INIT("string"),  STR_INIT("object"), STR_INIT("integer"),
                                       STR_INIT("boolean"), STR_INIT("array"),  STR_INIT("number"),
                                       STR_INIT("null")};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (json_str_is(v, names[i]))
            return true;
    return false;
}

static bool all_are(struct jval list, bool (*is)(struct jval v))
{
    json_each (v, list)
        if (!is(v))
            return false;
    return json_is(list, JSON_ARRAY);
}

static bool is_string(struct jval v)
{
    return json_is(v, JSON_STRING);
}

static bool is_boolean(struct jval v)
{
    return json_is(v, JSON_TRUE) || json_is(v, JSON_FALSE);
}

static bool is_count(struct jval v)
{
    int64_t n;
    return json_i64(v, &n) && n >= 0;
}

static bool is_positive(struct jval v)
{
    double d;
    return json_f64(v, &d) && d > 0;
}

static bool fits(enum kind kind, struct jval key, struct jval v)
{
    switch (kind) {
    case SCHEMA: return json_is(v, JSON_OBJECT) || is_boolean(v);
    case MAP: return json_is(v, JSON_OBJECT);
    case LIST: return json_is(v, JSON_ARRAY) && !json_empty(v);
    case TYPE: return is_type_name(v) || (all_are(v, is_type_name) && !json_empty(v));
    case NAMES: return all_are(v, is_string);
    case COUNT: return is_count(v);
    case NUMBER:
        return json_str_is(key, STR("multipleOf")) ? is_positive(v) : json_is(v, JSON_NUMBER);
    case BOOLEAN: return is_boolean(v);
    case STRING: return is_string(v);
    case ARRAY: return json_is(v, JSON_ARRAY);
    }
    UNREACHABLE();
}

static bool is_limit_switch(struct jval key, struct jval v)
{
    return is_boolean(v) &&
           (json_str_is(key, STR("exclusiveMinimum")) || json_str_is(key, STR("exclusiveMaximum")));
}

static bool is_tuple(struct jval key, struct jval v)
{
    return json_str_is(key, STR("items")) && json_is(v, JSON_ARRAY);
}

static void look_inside(struct look *k, const struct place *at, enum kind kind, struct jval v)
{
    if (kind == SCHEMA) {
        look_schema(k, at, v);
    } else if (kind == LIST) {
        json_each (e, v)
            look_schema(k, at, e);
    } else if (kind == MAP) {
        json_each_member (name, v) {
            const struct place inner = {.up = at, .key = name};
            look_schema(k, &inner, json_value(name));
        }
    }
}

/* What follows a list of items in older drafts; beside anything else the word means nothing. */
static bool is_more(struct jval schema, struct jval key)
{
    return json_str_is(key, STR("additionalItems")) &&
           json_is(json_get(schema, STR("items")), JSON_ARRAY);
}

static void look_keyword(struct look *k, const struct place *up, struct jval schema,
                         struct jval key)
{
    const struct keyword *word = keyword_of(key);
    const struct place at = {.up = up, .key = key};
    struct jval v = json_value(key);
    bool tuple = is_tuple(key, v);
    if (is_more(schema, key) && fits(SCHEMA, key, v))
        look_schema(k, &at, v);
    if (!word)
        return;
    if (json_is(v, JSON_NULL) || is_limit_switch(key, v) || tuple)
        k->old = true;
    else if (!fits(word->kind, key, v))
        break_at(k, &at);
    if (!json_is(v, JSON_NULL))
        look_inside(k, &at, tuple ? LIST : word->kind, v);
}

static void look_schema(struct look *k, const struct place *at, struct jval schema)
{
    if (!fits(SCHEMA, JVAL_NONE, schema))
        break_at(k, at);
    json_each_member (key, schema)
        look_keyword(k, at, schema, key);
}

/* --- rewriting --- */

static void write_schema(struct jsonw *w, struct jval v);

static void write_map(struct jsonw *w, struct jval map)
{
    jsonw_object(w);
    json_each_member (name, map) {
        jsonw_key(w, json_str_raw(name));
        write_schema(w, json_value(name));
    }
    jsonw_object_end(w);
}

static void write_list(struct jsonw *w, struct jval list)
{
    jsonw_array(w);
    json_each (e, list)
        write_schema(w, e);
    jsonw_array_end(w);
}

/* The number that a boolean exclusiveMinimum or exclusiveMaximum makes exclusive. */
static struct jval limit_of(struct jval schema, struct jval key)
{
    bool low = json_str_is(key, STR("exclusiveMinimum"));
    return json_get(schema, low ? STR("minimum") : STR("maximum"));
}

/* A minimum or maximum that stands in its exclusive keyword instead. */
static bool is_moved(struct jval schema, struct jval key)
{
    return (json_str_is(key, STR("minimum")) &&
            json_is(json_get(schema, STR("exclusiveMinimum")), JSON_TRUE)) ||
           (json_str_is(key, STR("maximum")) &&
            json_is(json_get(schema, STR("exclusiveMaximum")), JSON_TRUE));
}

static void write_tuple(struct jsonw *w, struct jval schema, struct jval list)
{
    struct jval more = json_get(schema, STR("additionalItems"));
    if (!json_empty(list)) {
        jsonw_key(w, STR("prefixItems"));
        write_list(w, list);
    }
    if (fits(SCHEMA, JVAL_NONE, more)) {
        jsonw_key(w, STR("items"));
        write_schema(w, more);
    }
}

static void write_limit(struct jsonw *w, struct jval schema, struct jval key)
{
    struct jval limit = limit_of(schema, key);
    if (!json_is(json_value(key), JSON_TRUE) || !json_is(limit, JSON_NUMBER))
        return;
    jsonw_key(w, json_str_raw(key));
    jsonw_raw(w, json_raw(limit));
}

static void write_value(struct jsonw *w, enum kind kind, struct jval v)
{
    if (kind == SCHEMA)
        write_schema(w, v);
    else if (kind == MAP)
        write_map(w, v);
    else if (kind == LIST)
        write_list(w, v);
    else
        jsonw_raw(w, json_raw(v));
}

static void write_keyword(struct jsonw *w, struct jval schema, struct jval key)
{
    const struct keyword *word = keyword_of(key);
    struct jval v = json_value(key);
    if ((word && json_is(v, JSON_NULL)) || is_more(schema, key))
        return;
    if (is_tuple(key, v)) {
        write_tuple(w, schema, v);
    } else if (is_limit_switch(key, v)) {
        write_limit(w, schema, key);
    } else if (!is_moved(schema, key)) {
        jsonw_key(w, json_str_raw(key));
        write_value(w, word ? word->kind : ARRAY, v);
    }
}

static void write_schema(struct jsonw *w, struct jval v)
{
    if (!json_is(v, JSON_OBJECT)) {
        jsonw_raw(w, json_raw(v));
        return;
    }
    jsonw_object(w);
    json_each_member (key, v)
        write_keyword(w, v, key);
    jsonw_object_end(w);
}

bool chat_schema_modern(struct chat *c, struct jval *schema, struct str *ret_fault)
{
    struct look k = {.c = c};
    const struct place whole = {0};
    look_schema(&k, &whole, *schema);
    *ret_fault = k.fault;
    if (k.fault.p)
        return false;
    if (!k.old)
        return true;
    struct jsonw w;
    jsonw_to_buf(&w, &c->text);
    write_schema(&w, *schema);
    struct str text = chat_take_text(c);
    *ret_fault = STR("the schema is too large");
    if (json_parse(&c->draft, text) != JSON_OK)
        return false;
    *schema = json_root(&c->draft);
    return true;
}
