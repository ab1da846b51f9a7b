/* chat_schema.c - JSON schemas, made into what upstream takes.
 *
 * Tools: the root must be an object without combinators; unions of objects at the root are merged
 * and the original alternatives told in the description. Nothing below the root is touched.
 *
 * Structured output: every object is closed, keywords that upstream refuses move into the
 * description of their node, where the model still reads them. What has no such form (recursion,
 * open maps) gets none, and the caller asks for JSON in another way.
 *
 * Recursion in this file is bounded: by the depth of the parsed body, and by REFS_MAX for
 * references.
 */
#include "llm/chat.h"
#include "wire/jsonw.h"

/* Upstream's limits over all strict schemas of a request; of one schema it compiles less. */
enum { STRICT_MAX = 20, UNIONS_MAX = 16, OPTIONAL_MAX = 24, OPTIONAL_ONE_MAX = 12 };

enum { REFS_MAX = 64, REF_DEPTH_MAX = 256 };

static const struct str combinators[] = {STR_INIT("allOf"), STR_INIT("anyOf"), STR_INIT("oneOf")};

static bool is_any_of(struct jval key, const struct str *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (json_str_is(key, words[i]))
            return true;
    return false;
}

/* "object", a list with "object" in it, or nothing at all. */
static bool may_be_object(struct jval schema)
{
    struct jval type = json_get(schema, STR("type"));
    if (!json_is(schema, JSON_OBJECT))
        return false;
    if (json_type(type) == JSON_NULL || json_str_is(type, STR("object")))
        return true;
    json_each (t, type)
        if (json_str_is(t, STR("object")))
            return true;
    return false;
}

static bool has_combinator(struct jval schema)
{
    for (size_t i = 0; i < ARRAY_LEN(combinators); i++)
        if (json_present(json_get(schema, combinators[i])))
            return true;
    return false;
}

/* "#/$defs/Name" and "#/definitions/Name"; absent for any other place. */
static struct jval resolve(struct jval root, struct jval ref, struct arena *a)
{
    static const struct str places[] = {STR_INIT("$defs"), STR_INIT("definitions")};
    struct str path = json_str(ref, a);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct str prefix = arena_printf(a, "#/%.*s/", STR_FMT(places[i]));
        if (str_starts(path, prefix))
            return json_get(json_get(root, places[i]), str_skip(path, prefix.n));
    }
    return JVAL_NONE;
}

/* --- tools --- */

struct merge {
    struct chat *c;
    struct jsonw *w;
    struct strmap seen;    /* property names that are written */
    struct strmap written; /* names in "required" */
    bool open;             /* "required" has begun */
};

static void merge_properties(struct merge *g, struct jval schema)
{
    json_each_member (key, json_get(schema, STR("properties"))) {
        void **slot = strmap_at(&g->seen, json_str(key, g->c->scratch));
        if (*slot)
            continue; /* the first definition wins */
        *slot = g;
        jsonw_key(g->w, json_str_raw(key));
        jsonw_raw(g->w, json_raw(json_value(key)));
    }
}

static struct jval branch_schema(struct chat *c, struct jval root, struct jval branch)
{
    struct jval ref = json_get(branch, STR("$ref"));
    return json_is(ref, JSON_STRING) ? resolve(root, ref, c->scratch) : branch;
}

static bool can_merge(struct chat *c, struct jval root)
{
    uint32_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(combinators); i++) {
        json_each (branch, json_get(root, combinators[i])) {
            struct jval schema = branch_schema(c, root, branch);
            if (++n > REFS_MAX || !may_be_object(schema) || has_combinator(schema))
                return false;
        }
    }
    return true;
}

/* "required" is written with its first name: upstream gets no empty list. */
static void require(struct merge *g, struct jval name)
{
    void **slot = strmap_at(&g->written, json_str(name, g->c->scratch));
    if (*slot || !json_is(name, JSON_STRING))
        return;
    *slot = g;
    if (!g->open) {
        jsonw_key(g->w, STR("required"));
        jsonw_array(g->w);
        g->open = true;
    }
    jsonw_str_raw(g->w, json_str_raw(name));
}

static void require_all(struct merge *g, struct jval schema)
{
    json_each (name, json_get(schema, STR("required")))
        require(g, name);
}

/* What every branch of a union requires: names whose count reached the number of branches. */
static void require_common(struct merge *g, struct jval root, struct jval list)
{
    struct strmap counts;
    uintptr_t n = 0;
    strmap_init(&counts, g->c->scratch);
    json_each (branch, list) {
        json_each (name, json_get(branch_schema(g->c, root, branch), STR("required"))) {
            void **count = strmap_at(&counts, json_str(name, g->c->scratch));
            if ((uintptr_t)*count == n)
                *count = (void *)(n + 1);
        }
        n++;
    }
    struct jval first = branch_schema(g->c, root, json_first(list));
    json_each (name, json_get(first, STR("required")))
        if ((uintptr_t)strmap_get(&counts, json_str(name, g->c->scratch)) == n)
            require(g, name);
}

static void write_required(struct merge *g, struct jval root)
{
    require_all(g, root);
    json_each (branch, json_get(root, STR("allOf")))
        require_all(g, branch_schema(g->c, root, branch));
    require_common(g, root, json_get(root, STR("anyOf")));
    require_common(g, root, json_get(root, STR("oneOf")));
    if (g->open)
        jsonw_array_end(g->w);
}

static struct str describe_alternatives(struct chat *c, struct jval root)
{
    for (size_t i = 0; i < ARRAY_LEN(combinators); i++) {
        struct jval list = json_get(root, combinators[i]);
        if (!json_present(list))
            continue;
        if (buf_len(&c->text) > 0)
            buf_lit(&c->text, "\\n");
        buf_printf(&c->text, "The arguments must satisfy %.*s: ", STR_FMT(combinators[i]));
        jsonw_escape(&c->text, json_raw(list));
    }
    return chat_take_text(c);
}

static struct str write_merged(struct chat *c, struct jval root)
{
    static const struct str rewritten[] = {
        STR_INIT("type"),  STR_INIT("properties"), STR_INIT("required"),
        STR_INIT("allOf"), STR_INIT("anyOf"),      STR_INIT("oneOf"),
    };
    struct jsonw w;
    struct merge g = {.c = c, .w = &w};
    strmap_init(&g.seen, c->scratch);
    strmap_init(&g.written, c->scratch);
    jsonw_to_buf(&w, &c->text);
    jsonw_object(&w);
    jsonw_field_str(&w, "type", STR("object"));
    jsonw_key(&w, STR("properties"));
    jsonw_object(&w);
    merge_properties(&g, root);
    for (size_t i = 0; i < ARRAY_LEN(combinators); i++)
        json_each (branch, json_get(root, combinators[i]))
            merge_properties(&g, branch_schema(c, root, branch));
    jsonw_object_end(&w);
    write_required(&g, root);
    json_each_member (key, root) {
        if (is_any_of(key, rewritten, ARRAY_LEN(rewritten)))
            continue;
        jsonw_key(&w, json_str_raw(key));
        jsonw_raw(&w, json_raw(json_value(key)));
    }
    jsonw_object_end(&w);
    return chat_take_text(c);
}

bool chat_schema_tool(struct chat *c, struct jval parameters, struct str *ret_schema,
                      struct str *ret_note)
{
    *ret_note = STR_NONE;
    *ret_schema = STR("{\"type\":\"object\",\"properties\":{}}");
    if (json_type(parameters) == JSON_NULL)
        return true;
    if (!may_be_object(parameters))
        return false;
    if (json_empty(parameters))
        return true;
    bool combined = has_combinator(parameters);
    if (!combined && json_str_is(json_get(parameters, STR("type")), STR("object"))) {
        *ret_schema = json_raw(parameters);
        return true;
    }
    if (!can_merge(c, parameters))
        return false;
    if (combined)
        *ret_note = describe_alternatives(c, parameters);
    *ret_schema = write_merged(c, parameters);
    return true;
}

/* --- structured output --- */

struct closing {
    struct chat *c;
    struct jsonw w;
    struct jval root;
    struct strmap refs; /* reference -> state */
    uint32_t n_refs;
    struct chat_strict cost;
    bool changed, impossible;
};

enum ref_state { REF_NEW, REF_OPEN, REF_DONE }; /* kept in the map as pointers; REF_NEW is NULL */

/* No reference may lead back to where it stands, or out of the schema. */
static bool refs_end(struct closing *k, struct jval v, unsigned depth)
{
    if (depth > REF_DEPTH_MAX)
        return false;
    if (json_is(v, JSON_ARRAY)) {
        json_each (e, v)
            if (!refs_end(k, e, depth + 1))
                return false;
        return true;
    }
    if (!json_is(v, JSON_OBJECT))
        return true;
    json_each_member (key, v)
        if (!refs_end(k, json_value(key), depth + 1))
            return false;
    struct jval ref = json_get(v, STR("$ref"));
    if (!json_is(ref, JSON_STRING))
        return true;
    struct str path = json_str(ref, k->c->scratch);
    void **state = strmap_at(&k->refs, path);
    if (*state)
        return *state == (void *)(uintptr_t)REF_DONE;
    struct jval target = resolve(k->root, ref, k->c->scratch);
    if (!json_present(target) || ++k->n_refs > REFS_MAX)
        return false;
    *state = (void *)(uintptr_t)REF_OPEN;
    bool ok = refs_end(k, target, depth + 1);
    *strmap_at(&k->refs, path) = (void *)(uintptr_t)REF_DONE;
    return ok;
}

static void close_schema(struct closing *k, struct jval schema);

static void close_list(struct closing *k, struct jval list)
{
    jsonw_array(&k->w);
    json_each (e, list)
        close_schema(k, e);
    jsonw_array_end(&k->w);
}

static void close_map(struct closing *k, struct jval map)
{
    jsonw_object(&k->w);
    json_each_member (key, map) {
        jsonw_key(&k->w, json_str_raw(key));
        close_schema(k, json_value(key));
    }
    jsonw_object_end(&k->w);
}

static bool format_known(struct jval v)
{
    static const struct str formats[] = {
        STR_INIT("date-time"), STR_INIT("time"),     STR_INIT("date"), STR_INIT("duration"),
        STR_INIT("email"),     STR_INIT("hostname"), STR_INIT("uri"),  STR_INIT("ipv4"),
        STR_INIT("ipv6"),      STR_INIT("uuid"),
    };
    return is_any_of(v, formats, ARRAY_LEN(formats));
}

static bool zero_or_one(struct jval v)
{
    int64_t n;
    return json_i64(v, &n) && (n == 0 || n == 1);
}

/* No groups with special meaning, back-references or word boundaries. */
static bool pattern_simple(struct jval v)
{
    struct str raw = json_str_raw(v);
    if (str_find_str(raw, STR("(?")) < raw.n)
        return false;
    for (size_t i = 0; i + 2 < raw.n; i++) {
        if (raw.p[i] != '\\' || raw.p[i + 1] != '\\')
            continue;
        char ch = raw.p[i + 2];
        if (ch == 'b' || ch == 'B' || (ch >= '1' && ch <= '9'))
            return false;
        i += 2;
    }
    return true;
}

static bool always(struct jval v)
{
    return json_present(v);
}

enum keyword_use { COPY, SUBSCHEMA, LISTED, MAPPED, OURS };

/* Keywords upstream takes. Those without a row, or whose value does not pass, become description.
 */
static const struct keyword {
    struct str name;
    enum keyword_use use;
    bool (*passes)(struct jval v);
    struct str renamed;
} keywords[] = {
    {STR_INIT("type"), COPY, always, {NULL, 0}},
    {STR_INIT("enum"), COPY, always, {NULL, 0}},
    {STR_INIT("const"), COPY, always, {NULL, 0}},
    {STR_INIT("default"), COPY, always, {NULL, 0}},
    {STR_INIT("title"), COPY, always, {NULL, 0}},
    {STR_INIT("required"), COPY, always, {NULL, 0}},
    {STR_INIT("$ref"), COPY, always, {NULL, 0}},
    {STR_INIT("format"), COPY, format_known, {NULL, 0}},
    {STR_INIT("minItems"), COPY, zero_or_one, {NULL, 0}},
    {STR_INIT("pattern"), COPY, pattern_simple, {NULL, 0}},
    {STR_INIT("items"), SUBSCHEMA, always, {NULL, 0}},
    {STR_INIT("anyOf"), LISTED, always, {NULL, 0}},
    {STR_INIT("oneOf"), LISTED, always, STR_INIT("anyOf")},
    {STR_INIT("allOf"), LISTED, always, {NULL, 0}},
    {STR_INIT("properties"), MAPPED, always, {NULL, 0}},
    {STR_INIT("$defs"), MAPPED, always, {NULL, 0}},
    {STR_INIT("definitions"), MAPPED, always, {NULL, 0}},
    {STR_INIT("description"), OURS, always, {NULL, 0}},
    {STR_INIT("additionalProperties"), OURS, always, {NULL, 0}},
    {STR_INIT("$schema"), OURS, always, {NULL, 0}},
};

static const struct keyword *keyword_of(struct jval key)
{
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
        if (json_str_is(key, keywords[i].name) && keywords[i].passes(json_value(key)))
            return &keywords[i];
    return NULL;
}

static void write_keyword(struct closing *k, const struct keyword *word, struct jval key)
{
    struct jval v = json_value(key);
    if (word->use == OURS)
        return;
    jsonw_key(&k->w, word->renamed.p ? word->renamed : word->name);
    k->changed |= word->renamed.p != NULL;
    switch (word->use) {
    case COPY: jsonw_raw(&k->w, json_raw(v)); return;
    case SUBSCHEMA: close_schema(k, v); return;
    case LISTED: close_list(k, v); return;
    case MAPPED: close_map(k, v); return;
    case OURS: return;
    }
}

/* The node's own description, and behind it the constraints that cannot be expressed. */
static void write_description(struct closing *k, struct jval schema)
{
    struct str own = json_str_raw(json_get(schema, STR("description")));
    bool any = false, open = own.n > 0;
    if (open) {
        jsonw_key(&k->w, STR("description"));
        jsonw_str_open(&k->w);
        jsonw_str_part(&k->w, own);
    }
    json_each_member (key, schema) {
        if (keyword_of(key))
            continue;
        if (!open) {
            jsonw_key(&k->w, STR("description"));
            jsonw_str_open(&k->w);
        }
        jsonw_str_part(&k->w, any    ? STR(", ")
                              : open ? STR(" Must satisfy: ")
                                     : STR("Must satisfy: "));
        jsonw_str_part(&k->w, json_str_raw(key));
        jsonw_str_part(&k->w, STR(" "));
        jsonw_str_part_escaped(&k->w, json_raw(json_value(key)));
        any = open = true;
    }
    if (open)
        jsonw_str_close(&k->w);
    k->changed |= any;
}

static uint32_t count_optional(struct closing *k, struct jval properties, struct jval required)
{
    struct strmap names;
    uint32_t n = 0;
    strmap_init(&names, k->c->scratch);
    json_each (name, required)
        *strmap_at(&names, json_str(name, k->c->scratch)) = k;
    json_each_member (key, properties)
        n += !strmap_get(&names, json_str(key, k->c->scratch));
    return n;
}

/* An object lists its members and takes no others: upstream has no maps. */
static void close_object(struct closing *k, struct jval schema)
{
    struct jval more = json_get(schema, STR("additionalProperties"));
    struct jval properties = json_get(schema, STR("properties"));
    if (!json_is(properties, JSON_OBJECT) || (json_present(more) && !json_is(more, JSON_FALSE)))
        k->impossible = true;
    k->cost.optional += count_optional(k, properties, json_get(schema, STR("required")));
    k->changed |= !json_present(more);
    jsonw_field_bool(&k->w, "additionalProperties", false);
}

/* Upstream looks for properties, whatever the type says. */
static bool is_object_schema(struct jval schema)
{
    bool typed = json_present(json_get(schema, STR("type")));
    return json_is(json_get(schema, STR("properties")), JSON_OBJECT) ||
           (typed && may_be_object(schema));
}

/* They would become one keyword. */
static bool has_both_unions(struct jval schema)
{
    return json_present(json_get(schema, STR("anyOf"))) &&
           json_present(json_get(schema, STR("oneOf")));
}

static bool is_union(struct jval schema)
{
    return json_is(json_get(schema, STR("type")), JSON_ARRAY) ||
           json_present(json_get(schema, STR("anyOf"))) ||
           json_present(json_get(schema, STR("oneOf")));
}

static void close_schema(struct closing *k, struct jval schema)
{
    jsonw_object(&k->w);
    if (json_is(schema, JSON_OBJECT) && !has_both_unions(schema)) {
        k->cost.unions += is_union(schema);
        json_each_member (key, schema) {
            const struct keyword *word = keyword_of(key);
            if (word)
                write_keyword(k, word, key);
        }
        write_description(k, schema);
        if (is_object_schema(schema))
            close_object(k, schema);
    } else {
        k->impossible = true;
    }
    jsonw_object_end(&k->w);
}

static struct str close_root(struct closing *k)
{
    strmap_init(&k->refs, k->c->scratch);
    if (!is_object_schema(k->root) || has_combinator(k->root) || !refs_end(k, k->root, 0))
        return STR_NONE;
    jsonw_to_buf(&k->w, &k->c->text);
    close_schema(k, k->root);
    struct str closed = chat_take_text(k->c);
    return k->impossible || k->cost.optional > OPTIONAL_ONE_MAX ? STR_NONE : closed;
}

/* Whether upstream compiles this beside what it has to compile already. */
static bool afford(struct chat *c, const struct chat_strict *cost)
{
    const struct chat_strict sum = {
        .tools = c->strict.tools + cost->tools,
        .optional = c->strict.optional + cost->optional,
        .unions = c->strict.unions + cost->unions,
    };
    if (sum.tools > STRICT_MAX || sum.optional > OPTIONAL_MAX || sum.unions > UNIONS_MAX)
        return false;
    c->strict = sum;
    return true;
}

bool chat_schema_strict(struct chat *c, struct jval schema)
{
    struct closing k = {.c = c, .root = schema, .cost.tools = 1};
    return close_root(&k).p && !k.changed && afford(c, &k.cost);
}

struct str chat_schema_closed(struct chat *c, struct jval schema)
{
    struct closing k = {.c = c, .root = schema};
    struct str closed = close_root(&k);
    if (!closed.p || afford(c, &k.cost))
        return closed;
    for (struct tool *t = c->m->tools; t; t = t->next)
        t->strict = false;
    c->strict = (struct chat_strict){0};
    return afford(c, &k.cost) ? closed : STR_NONE;
}
