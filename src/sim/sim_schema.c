/* sim_schema.c - JSON Schema, as far as the service looks at it.
 *
 * Three walks over a schema: whether it is one (tools), whether constrained decoding can follow it
 * (strict tools, output formats), and an example of what it allows. The first follows the document,
 * whose depth the reader bounds; the others follow $ref too and carry a budget.
 */
#include "sim/sim_schema.h"

#include "sim/sim_rules.h"
#include "wire/jsonw.h"

/* ---- is it a schema? ---- */

enum keyword_kind { KEY_SCHEMA, KEY_MAP, KEY_LIST, KEY_TYPE, KEY_NAMES, KEY_COUNT, KEY_STRING };

static const struct keyword {
    struct str name;
    enum keyword_kind kind;
} keywords[] = {
    {STR_INIT("type"), KEY_TYPE},
    {STR_INIT("properties"), KEY_MAP},
    {STR_INIT("description"), KEY_STRING},
    {STR_INIT("required"), KEY_NAMES},
    {STR_INIT("items"), KEY_SCHEMA},
    {STR_INIT("additionalProperties"), KEY_SCHEMA},
    {STR_INIT("anyOf"), KEY_LIST},
    {STR_INIT("oneOf"), KEY_LIST},
    {STR_INIT("allOf"), KEY_LIST},
    {STR_INIT("not"), KEY_SCHEMA},
    {STR_INIT("$defs"), KEY_MAP},
    {STR_INIT("$ref"), KEY_STRING},
    {STR_INIT("title"), KEY_STRING},
    {STR_INIT("pattern"), KEY_STRING},
    {STR_INIT("patternProperties"), KEY_MAP},
    {STR_INIT("prefixItems"), KEY_LIST},
    {STR_INIT("minItems"), KEY_COUNT},
    {STR_INIT("maxItems"), KEY_COUNT},
    {STR_INIT("minLength"), KEY_COUNT},
    {STR_INIT("maxLength"), KEY_COUNT},
};

static bool is_type_name(struct jval v)
{
    static const struct str names[] = {STR_INIT("string"),  STR_INIT("object"), STR_INIT("integer"),
                                       STR_INIT("boolean"), STR_INIT("array"),  STR_INIT("number"),
                                       STR_INIT("null")};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (json_str_is(v, names[i]))
            return true;
    }
    return false;
}

static bool is_type(struct jval v)
{
    if (!json_is(v, JSON_ARRAY))
        return is_type_name(v);
    json_each (t, v) {
        if (!is_type_name(t))
            return false;
    }
    return !json_empty(v);
}

static bool is_name_list(struct jval v)
{
    if (!json_is(v, JSON_ARRAY))
        return false;
    json_each (name, v) {
        if (!json_is(name, JSON_STRING))
            return false;
    }
    return true;
}

static bool is_schema(struct jval v);

static bool is_schema_map(struct jval v)
{
    if (!json_is(v, JSON_OBJECT))
        return false;
    json_each_member (key, v) {
        if (!is_schema(json_value(key)))
            return false;
    }
    return true;
}

static bool is_schema_list(struct jval v)
{
    if (!json_is(v, JSON_ARRAY) || json_empty(v))
        return false;
    json_each (s, v) {
        if (!is_schema(s))
            return false;
    }
    return true;
}

static bool is_keyword_value(enum keyword_kind kind, struct jval v)
{
    int64_t n;
    switch (kind) {
    case KEY_SCHEMA: return is_schema(v);
    case KEY_MAP: return is_schema_map(v);
    case KEY_LIST: return is_schema_list(v);
    case KEY_TYPE: return is_type(v);
    case KEY_NAMES: return is_name_list(v);
    case KEY_COUNT: return json_is(v, JSON_NUMBER) && json_i64(v, &n) && n >= 0;
    case KEY_STRING: return json_is(v, JSON_STRING);
    }
    UNREACHABLE();
}

static bool is_schema(struct jval v)
{
    if (json_is(v, JSON_TRUE) || json_is(v, JSON_FALSE))
        return true;
    if (!json_is(v, JSON_OBJECT))
        return false;
    json_each_member (key, v) {
        for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
            if (!json_str_is(key, keywords[i].name))
                continue;
            if (!is_keyword_value(keywords[i].kind, json_value(key)))
                return false;
            break;
        }
    }
    return true;
}

static bool is_property_name(struct str s)
{
    if (s.n == 0 || s.n > 64)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!rule_is_name_char(s.p[i]) && s.p[i] != '.')
            return false;
    }
    return true;
}

bool rule_tool_schema(struct check *c, struct jval v, const struct shape_path *path)
{
    struct shape_path at = {.up = path, .name = STR("type")};
    struct jval type = json_get(v, STR("type"));
    if (!json_present(type))
        return check_fail(c, &at, "Field required");
    if (!json_str_is(type, STR("object")))
        return check_fail(c, &at, "Input should be 'object'");
    if (json_present(json_get(v, STR("oneOf"))) || json_present(json_get(v, STR("allOf"))) ||
        json_present(json_get(v, STR("anyOf"))))
        return check_fail(c, path,
                          "input_schema does not support oneOf, allOf, or anyOf at the top level");
    at.name = STR("properties");
    struct jval properties = json_get(v, STR("properties"));
    if (json_is(properties, JSON_OBJECT)) {
        json_each_member (key, properties) {
            if (!is_property_name(json_str(key, c->a)))
                return check_fail(c, &at,
                                  "Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'");
        }
    }
    if (!is_schema(v))
        return check_fail(c, path,
                          "JSON schema is invalid. It must match JSON Schema draft 2020-12 "
                          "(https://json-schema.org/draft/2020-12).");
    return true;
}

/* ---- can decoding be held to it? ---- */

enum { STRICT_BUDGET = 5000, STRICT_DEPTH = 60 };

struct strict {
    struct check *c;
    const struct shape_path *path;
    struct jval root;
    unsigned budget, depth;
    unsigned refs; /* depth of $ref: what is behind one is counted at its own place */
    unsigned *optional, *unions;
};

/* What a local reference means: "#", "#/$defs/Name", "#/definitions/Name". */
static struct jval resolve(struct jval root, struct jval ref)
{
    struct str s = json_str_raw(ref);
    if (str_eq(s, STR("#")))
        return root;
    if (json_is_escaped(ref) || !str_starts(s, STR("#/")))
        return JVAL_NONE;
    struct str rest = str_skip(s, 2), part;
    struct jval v = root;
    while (str_split(&rest, '/', &part)) {
        if (!json_is(v, JSON_OBJECT))
            return JVAL_NONE;
        v = json_get(v, part);
    }
    return v;
}

static bool strict_walk(struct strict *w, struct jval v);

static bool strict_map(struct strict *w, struct jval v)
{
    json_each_member (key, v) {
        if (!strict_walk(w, json_value(key)))
            return false;
    }
    return true;
}

static bool strict_list(struct strict *w, struct jval v)
{
    json_each (s, v) {
        if (!strict_walk(w, s))
            return false;
    }
    return true;
}

/* Keywords that decoding cannot follow, and the type that the message names. */
static bool strict_keywords(struct strict *w, struct jval v)
{
    static const struct {
        struct str name;
        const char *type;
    } refused[] = {
        {STR_INIT("minimum"), "number"},          {STR_INIT("maximum"), "number"},
        {STR_INIT("exclusiveMinimum"), "number"}, {STR_INIT("exclusiveMaximum"), "number"},
        {STR_INIT("multipleOf"), "number"},       {STR_INIT("minLength"), "string"},
        {STR_INIT("maxLength"), "string"},        {STR_INIT("maxItems"), "array"},
        {STR_INIT("uniqueItems"), "array"},       {STR_INIT("contains"), "array"},
        {STR_INIT("prefixItems"), "array"},       {STR_INIT("minProperties"), "object"},
        {STR_INIT("maxProperties"), "object"},    {STR_INIT("patternProperties"), "object"},
        {STR_INIT("propertyNames"), "object"},
    };

    json_each_member (key, v) {
        for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
            if (json_str_is(key, refused[i].name))
                return check_fail(w->c, w->path, "For '%s' type, property '%.*s' is not supported",
                                  refused[i].type, STR_FMT(refused[i].name));
        }
        if (json_str_is(key, STR("oneOf")) || json_str_is(key, STR("not")) ||
            json_str_is(key, STR("if")))
            return check_fail(w->c, w->path, "Schema keyword '%.*s' is not supported",
                              STR_FMT(json_str_raw(key)));
    }
    int64_t n;
    struct jval min_items = json_get(v, STR("minItems"));
    if (json_present(min_items) && (!json_i64(min_items, &n) || n < 0 || n > 1))
        return check_fail(
            w->c, w->path,
            "For 'array' type, 'minItems' values other than 0 or 1 are not supported");
    return true;
}

static bool strict_format(struct strict *w, struct jval v)
{
    static const struct str known[] = {
        STR_INIT("date-time"), STR_INIT("time"),     STR_INIT("date"), STR_INIT("duration"),
        STR_INIT("email"),     STR_INIT("hostname"), STR_INIT("uri"),  STR_INIT("ipv4"),
        STR_INIT("ipv6"),      STR_INIT("uuid"),
    };
    struct jval format = json_get(v, STR("format"));
    if (!json_present(format))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (json_str_is(format, known[i]))
            return true;
    }
    return check_fail(w->c, w->path, "For 'string' type, this 'format' value is not supported");
}

static bool names_property(struct jval required, struct jval key)
{
    json_each (name, required) {
        if (str_eq(json_str_raw(name), json_str_raw(key)))
            return true;
    }
    return false;
}

static bool strict_object(struct strict *w, struct jval v)
{
    struct jval properties = json_get(v, STR("properties"));
    bool object =
        json_str_is(json_get(v, STR("type")), STR("object")) || json_is(properties, JSON_OBJECT);
    struct jval additional = json_get(v, STR("additionalProperties"));
    if (object && !json_is(additional, JSON_FALSE))
        return check_fail(
            w->c, w->path,
            "For 'object' type, 'additionalProperties' must be explicitly set to false");
    if (!json_is(properties, JSON_OBJECT))
        return true;
    if (w->refs == 0) {
        struct jval required = json_get(v, STR("required"));
        json_each_member (key, properties)
            *w->optional += !names_property(required, key);
    }
    return strict_map(w, properties);
}

static bool strict_ref(struct strict *w, struct jval ref)
{
    struct jval target = resolve(w->root, ref);
    if (!json_present(target))
        return check_fail(w->c, w->path,
                          "Only local `$ref`s to existing definitions are supported");
    w->refs++;
    bool ok = strict_walk(w, target);
    w->refs--;
    return ok;
}

static bool strict_parts(struct strict *w, struct jval v)
{
    struct jval any_of = json_get(v, STR("anyOf"));
    if (w->refs == 0 && (json_present(any_of) || json_is(json_get(v, STR("type")), JSON_ARRAY)))
        *w->unions += 1;
    struct jval ref = json_get(v, STR("$ref"));
    return strict_keywords(w, v) && strict_format(w, v) && strict_object(w, v) &&
           strict_list(w, any_of) && strict_list(w, json_get(v, STR("allOf"))) &&
           strict_map(w, json_get(v, STR("$defs"))) &&
           strict_map(w, json_get(v, STR("definitions"))) &&
           (!json_present(json_get(v, STR("items"))) ||
            strict_walk(w, json_get(v, STR("items")))) &&
           (!json_present(ref) || strict_ref(w, ref));
}

static bool strict_walk(struct strict *w, struct jval v)
{
    if (!json_is(v, JSON_OBJECT))
        return check_fail(w->c, w->path, "Schema should be an object");
    if (w->depth == STRICT_DEPTH)
        return check_fail(w->c, w->path, "Recursive schemas are not supported");
    if (w->budget == 0)
        return check_fail(w->c, NULL, "Schema is too complex for compilation.");
    w->budget--;
    w->depth++;
    bool ok = strict_parts(w, v);
    w->depth--;
    return ok;
}

/* NOLINTBEGIN(readability-non-const-parameter): the walk counts into them */
bool rule_strict_schema(struct check *c, struct jval schema, const struct shape_path *path,
                        unsigned *optional, unsigned *unions)
{
    struct strict w = {
        .c = c,
        .path = path,
        .root = schema,
        .budget = STRICT_BUDGET,
        .optional = optional,
        .unions = unions,
    };
    return strict_walk(&w, schema);
}

/* NOLINTEND(readability-non-const-parameter) */

/* ---- an example ---- */

enum { EXAMPLE_DEPTH = 24, EXAMPLE_SIZE = 16 * 1024 };

struct example {
    struct jsonw w;
    struct buf *out;
    struct jval root;
    struct str word;
    size_t start;
};

static struct str format_example(struct jval format, struct str word)
{
    static const struct {
        struct str format, value;
    } known[] = {
        {STR_INIT("date-time"), STR_INIT("2026-11-23T12:00:00Z")},
        {STR_INIT("time"), STR_INIT("12:00:00Z")},
        {STR_INIT("date"), STR_INIT("2026-11-23")},
        {STR_INIT("duration"), STR_INIT("PT1H")},
        {STR_INIT("email"), STR_INIT("ann@example.com")},
        {STR_INIT("hostname"), STR_INIT("example.com")},
        {STR_INIT("uri"), STR_INIT("https://example.com/")},
        {STR_INIT("ipv4"), STR_INIT("192.0.2.1")},
        {STR_INIT("ipv6"), STR_INIT("2001:db8::1")},
        {STR_INIT("uuid"), STR_INIT("00000000-0000-4000-8000-000000000000")},
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (json_str_is(format, known[i].format))
            return known[i].value;
    }
    return word;
}

static void example(struct example *e, struct jval s, unsigned depth);

static void example_object(struct example *e, struct jval s, unsigned depth)
{
    struct jval required = json_get(s, STR("required"));
    struct jval properties = json_get(s, STR("properties"));
    jsonw_object(&e->w);
    json_each_member (key, properties) {
        if (!names_property(required, key))
            continue;
        jsonw_key(&e->w, json_str_raw(key));
        example(e, json_value(key), depth);
    }
    jsonw_object_end(&e->w);
}

static void example_array(struct example *e, struct jval s, unsigned depth)
{
    enum { ITEMS_MAX = 8 };

    int64_t min;
    if (!json_i64(json_get(s, STR("minItems")), &min) || min < 1)
        min = 1;
    jsonw_array(&e->w);
    for (int64_t i = 0; i < min && i < ITEMS_MAX; i++)
        example(e, json_get(s, STR("items")), depth);
    jsonw_array_end(&e->w);
}

static void example_number(struct example *e, struct jval s)
{
    int64_t n = 1, bound;
    if (json_i64(json_get(s, STR("minimum")), &bound) && bound > n)
        n = bound;
    if (json_i64(json_get(s, STR("exclusiveMinimum")), &bound) && bound >= n)
        n = bound + 1;
    if (json_i64(json_get(s, STR("maximum")), &bound) && bound < n)
        n = bound;
    jsonw_i64(&e->w, n);
}

static void example_typed(struct example *e, struct jval s, unsigned depth)
{
    struct jval type = json_get(s, STR("type"));
    if (json_is(type, JSON_ARRAY))
        type = json_first(type);
    if (json_str_is(type, STR("object")) ||
        (!json_present(type) && json_present(json_get(s, STR("properties")))))
        example_object(e, s, depth);
    else if (json_str_is(type, STR("array")))
        example_array(e, s, depth);
    else if (json_str_is(type, STR("integer")) || json_str_is(type, STR("number")))
        example_number(e, s);
    else if (json_str_is(type, STR("boolean")))
        jsonw_bool(&e->w, true);
    else if (json_str_is(type, STR("null")))
        jsonw_null(&e->w);
    else
        jsonw_str(&e->w, format_example(json_get(s, STR("format")), e->word));
}

static void example(struct example *e, struct jval s, unsigned depth)
{
    if (depth == EXAMPLE_DEPTH || buf_len(e->out) - e->start > EXAMPLE_SIZE) {
        jsonw_null(&e->w);
        return;
    }
    static const struct str first_of[] = {STR_INIT("enum"), STR_INIT("anyOf"), STR_INIT("oneOf"),
                                          STR_INIT("allOf")};
    struct jval fixed = json_get(s, STR("const"));
    struct jval ref = json_get(s, STR("$ref"));
    if (json_present(fixed)) {
        jsonw_raw(&e->w, json_raw(fixed));
        return;
    }
    if (json_is(ref, JSON_STRING)) {
        example(e, resolve(e->root, ref), depth + 1);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(first_of); i++) {
        struct jval list = json_get(s, first_of[i]);
        if (!json_is(list, JSON_ARRAY) || json_empty(list))
            continue;
        if (i == 0)
            jsonw_raw(&e->w, json_raw(json_first(list)));
        else
            example(e, json_first(list), depth + 1);
        return;
    }
    example_typed(e, s, depth + 1);
}

void schema_example(struct buf *out, struct jval schema, struct str word)
{
    struct example e = {.out = out, .root = schema, .word = word, .start = buf_len(out)};
    jsonw_to_buf(&e.w, out);
    example(&e, schema, 0);
    if (jsonw_ok(&e.w))
        return;
    out->end = out->start + e.start; /* a constant longer than the buffer */
    buf_lit(out, "{}");
}
