/* chat_tools.c - tools, their names, and which of them may or must be called.
 *
 * A name that upstream would refuse is replaced by one made from it and its hash, the same in every
 * request; the encoder puts the client's spelling back. The order of tools is kept: they are the
 * first thing that prompt caches compare.
 */
#include "base/hash.h"
#include "base/text.h"
#include "llm/chat.h"
#include "wire/jsonw.h"

enum { NAME_MAX_LEN = 64, NAME_CUT = 55 };

static struct str tool_param(struct chat *c, size_t i, const char *suffix)
{
    return arena_printf(c->scratch, "tools[%zu]%s", i, suffix);
}

static bool is_name_char(char ch, bool dots)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           ch == '_' || ch == '-' || (dots && ch == '.');
}

static bool is_clean(struct str name, bool dots)
{
    for (size_t i = 0; i < name.n; i++)
        if (!is_name_char(name.p[i], dots))
            return false;
    return name.n > 0 && name.n <= NAME_MAX_LEN;
}

static void remember_name(struct chat *c, const struct chat_name *name)
{
    struct chat_name *n = ARENA_NEW(c->keep, struct chat_name);
    *n = *name;
    n->next = c->reply->names;
    n->sent = arena_dup(c->keep, name->sent);
    n->theirs = arena_dup(c->keep, name->theirs);
    c->reply->names = n;
    if (n->keys)
        *strmap_at(&c->keyed, n->sent) = n;
}

static struct str made_name(struct chat *c, struct str plain, bool dots)
{
    char *out = arena_alloc(c->scratch, NAME_CUT + 1 + 8);
    size_t n = size_min(plain.n, NAME_CUT);
    for (size_t i = 0; i < n; i++)
        out[i] = is_name_char(plain.p[i], dots) ? plain.p[i] : '_';
    struct sha256 hash = hash_sha256(plain);
    out[n] = '_';
    text_hex(hash.bytes, 4, out + n + 1);
    return str_of(out, n + 9);
}

struct str chat_clean_name(struct chat *c, struct str plain, bool dots)
{
    return is_clean(plain, dots) ? plain : made_name(c, plain, dots);
}

struct str chat_tool_name(struct chat *c, struct jval name)
{
    struct str plain = json_str(name, c->scratch);
    bool taken = c->search_reserved && str_eq(plain, STR("web_search"));
    return taken ? made_name(c, plain, false) : chat_clean_name(c, plain, false);
}

static bool is_switch(struct jval v)
{
    return json_is(v, JSON_TRUE) || json_is(v, JSON_FALSE);
}

static bool is_list_of(struct jval v, enum json_type type)
{
    json_each (e, v)
        if (!json_is(e, type))
            return false;
    return json_is(v, JSON_ARRAY);
}

static bool is_examples(struct jval v)
{
    return is_list_of(v, JSON_OBJECT);
}

static bool is_callers(struct jval v)
{
    return is_list_of(v, JSON_STRING);
}

static struct jval get_either(struct jval outer, struct jval inner, struct str name)
{
    struct jval v = json_get(outer, name);
    return json_type(v) == JSON_NULL ? json_get(inner, name) : v;
}

/* Members of a tool that are Anthropic's own, wherever the client put them. */
static bool read_extras(struct chat *c, struct jval outer, struct jval inner, struct str at,
                        struct tool *t)
{
    static const struct {
        struct str name;
        bool (*is)(struct jval v);
        const char *expected;
    } extras[] = {
        {STR_INIT("defer_loading"), is_switch, "a boolean"},
        {STR_INIT("input_examples"), is_examples, "an array of objects"},
        {STR_INIT("eager_input_streaming"), is_switch, "a boolean"},
        {STR_INIT("allowed_callers"), is_callers, "an array of strings"},
    };
    struct str members = STR("");
    t->cache = chat_cache_mark(json_get(outer, STR("cache_control")));
    if (!t->cache.p)
        t->cache = chat_cache_mark(json_get(inner, STR("cache_control")));
    for (size_t i = 0; i < ARRAY_LEN(extras); i++) {
        struct jval v = get_either(outer, inner, extras[i].name);
        struct str value = json_raw(v);
        if (json_type(v) == JSON_NULL)
            continue;
        if (!extras[i].is(v))
            return chat_refuse_type(
                c, arena_printf(c->scratch, "%.*s.%.*s", STR_FMT(at), STR_FMT(extras[i].name)),
                extras[i].expected, v);
        if (extras[i].is == is_examples)
            value = chat_keys_in_input(c, t->name, value);
        members = arena_printf(c->scratch, "%.*s,\"%.*s\":%.*s", STR_FMT(members),
                               STR_FMT(extras[i].name), STR_FMT(value));
    }
    if (members.n > 0)
        t->extras = members;
    return true;
}

static bool same_tool(const struct tool *a, const struct tool *b)
{
    return str_eq(a->description, b->description) && str_eq(a->schema, b->schema);
}

/* Two tools of one name are one tool when they are equal, else a mistake. */
static bool admit_tool(struct chat *c, const struct tool *t, struct str param)
{
    void **slot = strmap_at(&c->tools, t->name);
    if (!*slot) {
        struct tool *kept = messages_add_tool(c->scratch, c->m);
        *kept = *t;
        *slot = kept;
        return true;
    }
    return same_tool(*slot, t) ||
           chat_refuse(c, STR("invalid_value"), param,
                       "Invalid value: tool '%.*s' is defined twice.", STR_FMT(t->name));
}

static struct str joined_description(struct chat *c, struct str first, struct str note)
{
    if (note.n == 0)
        return chat_blank(first) ? STR_NONE : first;
    if (!chat_blank(first)) {
        buf_append(&c->text, first);
        buf_lit(&c->text, "\\n\\n");
    }
    buf_append(&c->text, note);
    return chat_take_text(c);
}

/* Where a function stands in the request, and what is known of it. */
struct function {
    struct str at;     /* "tools[0].function" */
    struct str theirs; /* its name */
    struct jval parameters;
    struct str note; /* what its schema cannot say */
    const struct chat_key *keys;
};

static struct str function_param(struct chat *c, const struct function *f, const char *member)
{
    return arena_printf(c->scratch, "%.*s.%s", STR_FMT(f->at), member);
}

static bool refuse_parameters(struct chat *c, const struct function *f, struct str why)
{
    return chat_refuse(c, STR("invalid_function_parameters"), function_param(c, f, "parameters"),
                       "Invalid schema for function '%.*s': %.*s.", STR_FMT(f->theirs),
                       STR_FMT(why));
}

static bool read_parameters(struct chat *c, struct function *f, struct tool *t)
{
    struct str fault;
    if (json_is(f->parameters, JSON_OBJECT) && !chat_schema_modern(c, &f->parameters, &fault))
        return refuse_parameters(c, f, fault);
    if (!chat_schema_tool(c, f->parameters, &t->schema, &f->note))
        return refuse_parameters(c, f, STR("schema must be an object"));
    if (chat_has_odd_key(f->parameters) && !chat_keys_in_schema(c, &t->schema, &f->keys))
        return refuse_parameters(c, f, STR("too many properties have names that are refused"));
    return true;
}

static bool read_function(struct chat *c, struct jval outer, struct jval inner, struct str at)
{
    struct jval name = json_get(inner, STR("name"));
    struct function f = {
        .at = at,
        .theirs = json_str_raw(name),
        .parameters = json_get(inner, STR("parameters")),
    };
    struct tool t = {0};
    if (f.theirs.n == 0)
        return chat_refuse_missing(c, function_param(c, &f, "name"));
    t.name = chat_tool_name(c, name);
    if (!read_parameters(c, &f, &t))
        return false;
    t.description =
        joined_description(c, json_str_raw(json_get(inner, STR("description"))), f.note);
    bool strict = json_true(json_get(inner, STR("strict")));
    t.strict = strict && (c->m->model->can & CAN_STRUCTURED) && !f.note.p &&
               chat_schema_strict(c, f.parameters);
    if ((f.keys || !str_eq(f.theirs, t.name)) && !strmap_get(&c->tools, t.name))
        remember_name(c, &(struct chat_name){.sent = t.name, .theirs = f.theirs, .keys = f.keys});
    return read_extras(c, outer, inner, f.at, &t) &&
           admit_tool(c, &t, function_param(c, &f, "name"));
}

/* Flat, as in the Responses API, is understood too. */
static bool read_function_tool(struct chat *c, struct jval v, size_t i)
{
    struct jval function = json_get(v, STR("function"));
    return read_function(c, v, json_is(function, JSON_OBJECT) ? function : v,
                         tool_param(c, i, ".function"));
}

/* A custom tool takes text; upstream knows objects only. A grammar cannot be enforced, but told. */
static bool read_custom_tool(struct chat *c, struct jval v, size_t i)
{
    struct jval custom = json_get(v, STR("custom"));
    struct jval body = json_is(custom, JSON_OBJECT) ? custom : v;
    struct jval name = json_get(body, STR("name"));
    struct jval grammar = json_get(json_get(body, STR("format")), STR("grammar"));
    if (!json_is(name, JSON_STRING) || json_str_raw(name).n == 0)
        return chat_refuse_missing(c, tool_param(c, i, ".custom.name"));
    struct str note = STR_NONE;
    struct str definition = json_str_raw(json_get(grammar, STR("definition")));
    if (definition.n > 0) {
        buf_lit(&c->text, "The input must match this grammar:\\n");
        buf_append(&c->text, definition);
        note = chat_take_text(c);
    }
    struct tool t = {
        .name = chat_tool_name(c, name),
        .description =
            joined_description(c, json_str_raw(json_get(body, STR("description"))), note),
        .schema = STR("{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},"
                      "\"required\":[\"input\"],\"additionalProperties\":false}"),
    };
    if (!read_extras(c, v, body, tool_param(c, i, ""), &t))
        return false;
    if (!strmap_get(&c->tools, t.name))
        remember_name(
            c, &(struct chat_name){.sent = t.name, .theirs = json_str_raw(name), .custom = true});
    return admit_tool(c, &t, tool_param(c, i, ".custom.name"));
}

/* Anthropic's own tools, known by how their type begins. */
static const struct native {
    struct str prefix;
    bool server;   /* upstream runs it */
    bool nameless; /* a set of tools */
    struct str beta;
} natives[] = {
    {STR_INIT("web_search_"), true, false, STR_INIT("")},
    {STR_INIT("web_fetch_"), true, false, STR_INIT("")},
    {STR_INIT("code_execution_"), true, false, STR_INIT("")},
    {STR_INIT("tool_search_tool_"), true, false, STR_INIT("")},
    {STR_INIT("bash_"), false, false, STR_INIT("")},
    {STR_INIT("memory_"), false, false, STR_INIT("")},
    {STR_INIT("text_editor_"), false, false, STR_INIT("")},
    /* the beta's tools have a screen, whose size is wanted */
    {STR_INIT("computer_20241022"), false, false, STR_INIT("computer-use-2024-10-22")},
    {STR_INIT("computer_20250124"), false, false, STR_INIT("computer-use-2025-01-24")},
    {STR_INIT("computer_20251124"), false, false, STR_INIT("computer-use-2025-11-24")},
    {STR_INIT("computer_toolset_"), false, true, STR_INIT("")},
    {STR_INIT("browser_toolset_"), false, true, STR_INIT("")},
};

static const struct native *native_of(struct jval type)
{
    for (size_t i = 0; i < ARRAY_LEN(natives); i++)
        if (str_starts(json_str_raw(type), natives[i].prefix))
            return &natives[i];
    return NULL;
}

static bool read_native_tool(struct chat *c, struct jval v, size_t i, const struct native *kind)
{
    struct str name = json_str_raw(json_get(v, STR("name")));
    if (!kind->nameless && !is_clean(name, false))
        return chat_refuse(c, STR("invalid_value"), tool_param(c, i, ".name"),
                           "Invalid value: a tool of type '%.*s' needs its name.",
                           STR_FMT(json_str_raw(json_get(v, STR("type")))));
    static const char *const sizes[] = {".display_width_px", ".display_height_px"};
    for (size_t k = 0; kind->beta.n > 0 && k < ARRAY_LEN(sizes); k++)
        if (json_type(json_get(v, str_c(sizes[k] + 1))) == JSON_NULL)
            return chat_refuse_missing(c, tool_param(c, i, sizes[k]));
    if (!chat_check_own_tool(c, v, tool_param(c, i, "")))
        return false;
    void **slot = strmap_at(&c->tools, name.n > 0 ? name : json_str_raw(json_get(v, STR("type"))));
    if (*slot)
        return chat_refuse(c, STR("invalid_value"), tool_param(c, i, ".name"),
                           "Invalid value: a tool is defined twice.");
    struct tool *t = messages_add_tool(c->scratch, c->m);
    t->name = name;
    t->value = chat_own_tool(c, v, &t->cache);
    t->server = kind->server;
    c->tool_beta = kind->beta.n > 0 ? kind->beta : c->tool_beta;
    *slot = t;
    return true;
}

static bool read_tool(struct chat *c, struct jval v, size_t i)
{
    static const struct {
        struct str type;
        bool (*read)(struct chat *c, struct jval v, size_t i);
    } kinds[] = {
        {STR_INIT("function"), read_function_tool},
        {STR_INIT("custom"), read_custom_tool},
    };

    if (!json_is(v, JSON_OBJECT))
        return chat_refuse_type(c, tool_param(c, i, ""), "an object", v);
    struct jval type = json_get(v, STR("type"));
    if (!json_present(type))
        return chat_refuse_missing(c, tool_param(c, i, ".type"));
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        if (json_str_is(type, kinds[k].type))
            return kinds[k].read(c, v, i);
    const struct native *native = native_of(type);
    if (native)
        return read_native_tool(c, v, i, native);
    return chat_refuse_value(c, tool_param(c, i, ".type"), type, "'function' and 'custom'");
}

static bool read_functions(struct chat *c, struct jval functions)
{
    size_t i = 0;
    c->reply->functions = true;
    c->m->no_parallel = true; /* the legacy answer has room for one call */
    json_each (f, functions)
        if (!read_function(c, f, f, arena_printf(c->scratch, "functions[%zu]", i++)))
            return false;
    return true;
}

/* A client's tool of the name that upstream's own search has gets another one. */
static void reserve_search(struct chat *c, struct jval tools)
{
    c->search_reserved = json_present(chat_field(c, STR("web_search_options")));
    json_each (v, tools)
        c->search_reserved |=
            json_is(v, JSON_OBJECT) &&
            str_starts(json_str_raw(json_get(v, STR("type"))), STR("web_search_"));
}

bool chat_read_tools(struct chat *c)
{
    struct jval tools = chat_field(c, STR("tools")), functions = chat_field(c, STR("functions"));
    size_t i = 0;
    reserve_search(c, tools);
    if (json_empty(tools) && !json_empty(functions))
        return read_functions(c, functions);
    json_each (v, tools)
        if (!read_tool(c, v, i++))
            return false;
    return true;
}

bool chat_read_web_search(struct chat *c)
{
    struct jval v = chat_field(c, STR("web_search_options"));
    void **slot = strmap_at(&c->tools, STR("web_search"));
    if (!json_present(v) || *slot)
        return true;

    static const struct {
        struct str size;
        int64_t uses;
    } sizes[] = {{STR_INIT("low"), 1}, {STR_INIT("medium"), 5}, {STR_INIT("high"), 10}};
    static const struct str places[] = {STR_INIT("city"), STR_INIT("region"), STR_INIT("country"),
                                        STR_INIT("timezone")};
    struct jval size = json_get(v, STR("search_context_size"));
    int64_t uses = json_type(size) == JSON_NULL ? 5 : 0;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        if (json_str_is(size, sizes[i].size))
            uses = sizes[i].uses;
    if (uses == 0)
        return chat_refuse_value(c, STR("web_search_options.search_context_size"), size,
                                 "'low', 'medium', and 'high'");
    struct jval where = json_get(json_get(v, STR("user_location")), STR("approximate"));
    struct jsonw w;
    jsonw_to_buf(&w, &c->text);
    jsonw_object(&w);
    jsonw_field_str(&w, "type", STR("web_search_20250305"));
    jsonw_field_str(&w, "name", STR("web_search"));
    jsonw_field_i64(&w, "max_uses", uses);
    if (json_is(where, JSON_OBJECT)) {
        jsonw_key(&w, STR("user_location"));
        jsonw_object(&w);
        jsonw_field_str(&w, "type", STR("approximate"));
        for (size_t i = 0; i < ARRAY_LEN(places); i++) {
            struct jval place = json_get(where, places[i]);
            if (!chat_blank(json_str_raw(place))) {
                jsonw_key(&w, places[i]);
                jsonw_str_raw(&w, json_str_raw(place));
            }
        }
        jsonw_object_end(&w);
    }
    jsonw_object_end(&w);
    struct tool *t = messages_add_tool(c->scratch, c->m);
    t->name = STR("web_search");
    t->value = chat_take_text(c);
    t->server = true;
    *slot = t;
    return true;
}

/* Upstream wants declarations for calls in the history; clients that summarise leave them out. The
 * declarations differ from those that thinking is bound to, so thinking has to go. */
void chat_declare_history(struct chat *c)
{
    for (const struct turn *turn = c->m->turns; turn; turn = turn->next) {
        for (const struct block *b = turn->blocks.first; b; b = b->next) {
            if (b->type != BLOCK_TOOL_USE)
                continue;
            void **slot = strmap_at(&c->tools, b->name);
            if (*slot)
                continue;
            struct tool *t = messages_add_tool(c->scratch, c->m);
            t->name = b->name;
            t->schema = STR("{\"type\":\"object\",\"properties\":{}}");
            *slot = t;
        }
    }
    if (!c->m->tools)
        return;
    c->names_synthesised = true;
    c->m->choice = CHOICE_NONE;
    messages_strip_thinking(c->m, c->scratch);
}

static bool is_forced(enum tool_choice choice)
{
    return choice == CHOICE_ANY || choice == CHOICE_TOOL;
}

static bool choose_named(struct chat *c, struct jval name, struct str param)
{
    struct str sent = json_is(name, JSON_STRING) ? chat_tool_name(c, name) : STR("");
    struct str plain = json_str(name, c->scratch);
    if (!strmap_get(&c->tools, sent) && strmap_get(&c->tools, plain))
        sent = plain; /* upstream's own search is meant */
    if (!strmap_get(&c->tools, sent))
        return chat_refuse(c, STR("invalid_value"), param,
                           "Invalid value for '%.*s': no tool of that name is defined.",
                           STR_FMT(param));
    c->m->choice = CHOICE_TOOL;
    c->m->choice_name = sent;
    return true;
}

static struct jval name_in(struct jval v)
{
    struct jval function = json_get(v, STR("function")), custom = json_get(v, STR("custom"));
    if (json_is(function, JSON_OBJECT))
        return json_get(function, STR("name"));
    if (json_is(custom, JSON_OBJECT))
        return json_get(custom, STR("name"));
    return json_get(v, STR("name"));
}

/* Thinking that is checked against the tools as they were goes with the first of them. */
static void keep_only(struct chat *c, const struct strmap *names)
{
    struct tool *t = c->m->tools;
    bool changed = false;
    c->m->tools = c->m->last_tool = NULL;
    while (t) {
        struct tool *next = t->next;
        t->next = NULL;
        if (strmap_get(names, t->name)) {
            if (c->m->last_tool)
                c->m->last_tool->next = t;
            else
                c->m->tools = t;
            c->m->last_tool = t;
        } else {
            changed = true;
        }
        t = next;
    }
    if (changed && c->m->model->binds_thinking)
        messages_strip_thinking(c->m, c->scratch);
}

/* Upstream cannot allow some of the tools: the others are not declared. */
static bool choose_allowed(struct chat *c, struct jval v)
{
    struct jval inner = json_get(v, STR("allowed_tools"));
    struct jval allowed = json_is(inner, JSON_OBJECT) ? inner : v;
    struct strmap names;
    strmap_init(&names, c->scratch);
    json_each (t, json_get(allowed, STR("tools"))) {
        struct jval name = name_in(t);
        if (json_is(name, JSON_STRING))
            *strmap_at(&names, chat_tool_name(c, name)) = c;
    }
    keep_only(c, &names);
    if (!c->m->tools)
        return chat_refuse(
            c, STR("invalid_value"), STR("tool_choice"),
            "Invalid value for 'tool_choice': none of the allowed tools is defined.");
    struct jval mode = json_get(allowed, STR("mode"));
    bool required = json_str_is(mode, STR("required"));
    c->m->choice = required ? CHOICE_ANY : CHOICE_AUTO;
    return required || json_type(mode) == JSON_NULL || json_str_is(mode, STR("auto")) ||
           chat_refuse_value(c, STR("tool_choice"), mode, "'auto' and 'required'");
}

/* A choice that is one word, also in Anthropic's spelling: {"type":"auto"}. */
static struct jval choice_word(struct jval v)
{
    return json_is(v, JSON_OBJECT) ? json_get(v, STR("type")) : v;
}

static bool read_choice_value(struct chat *c, struct jval v, struct str param)
{
    static const struct {
        struct str word;
        enum tool_choice choice;
    } words[] = {
        {STR_INIT("auto"), CHOICE_AUTO},
        {STR_INIT("none"), CHOICE_NONE},
        {STR_INIT("required"), CHOICE_ANY},
        {STR_INIT("any"), CHOICE_ANY},
    };

    struct jval word = choice_word(v);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!json_str_is(word, words[i].word))
            continue;
        c->m->choice = words[i].choice;
        c->m->no_parallel |= json_true(json_get(v, STR("disable_parallel_tool_use")));
        return true;
    }
    if (!json_is(v, JSON_OBJECT))
        return chat_refuse_value(c, param, v, "'none', 'auto', and 'required'");
    if (json_str_is(word, STR("allowed_tools")))
        return choose_allowed(c, v);
    return choose_named(c, name_in(v), param);
}

/* A choice without tools says nothing unless it demands a call. */
static bool choice_without_tools(struct chat *c, struct jval v, struct str param)
{
    c->m->no_parallel = false;
    struct jval word = choice_word(v);
    if (!json_present(v) || json_str_is(word, STR("auto")) || json_str_is(word, STR("none")))
        return true;
    return chat_refuse(
        c, STR("invalid_value"), param,
        "Invalid value for '%.*s': '%.*s' is only allowed when 'tools' are specified.",
        STR_FMT(param), STR_FMT(param));
}

/* A model that refuses to be forced is asked kindly; a named tool is then the only one it has. */
static void soften_choice(struct chat *c)
{
    if (!is_forced(c->m->choice) || (c->m->model->can & CAN_FORCE_TOOL))
        return;
    if (c->m->choice == CHOICE_TOOL) {
        struct strmap only;
        strmap_init(&only, c->scratch);
        *strmap_at(&only, c->m->choice_name) = c;
        keep_only(c, &only);
        messages_strip_thinking(c->m, c->scratch); /* it is bound to the tools as they were */
    }
    c->m->choice = CHOICE_AUTO;
    chat_drop(c, c->reply->functions ? STR("function_call") : STR("tool_choice"));
}

bool chat_read_choice(struct chat *c)
{
    struct str param = c->reply->functions ? STR("function_call") : STR("tool_choice");
    struct jval v = chat_field(c, param);
    if (json_is(chat_field(c, STR("parallel_tool_calls")), JSON_FALSE))
        c->m->no_parallel = true;
    if (!c->m->tools || c->names_synthesised)
        return choice_without_tools(c, v, param);
    if (json_present(v) && !read_choice_value(c, v, param))
        return false;
    soften_choice(c);
    if (c->m->no_parallel && c->m->choice == CHOICE_NONE_GIVEN)
        c->m->choice = CHOICE_AUTO;
    return true;
}
