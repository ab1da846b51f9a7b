/* chat_own.c - objects that have Anthropic's own shape already: parts of content, and tools.
 *
 * Parts pass with the members that upstream takes, in the client's own text where nothing has to
 * go: what upstream adds in answers (citations: null, caller, parsed_output) it refuses in requests,
 * and clients send answers back as they came. A cache mark leaves the object, wherever it stood in
 * it, and becomes the block's, where it is counted.
 */
#include "llm/chat.h"
#include "wire/jsonw.h"

static bool holds_mark(struct jval v)
{
    if (json_is(v, JSON_ARRAY)) {
        json_each (e, v)
            if (holds_mark(e))
                return true;
    } else if (json_is(v, JSON_OBJECT)) {
        json_each_member (key, v)
            if (json_str_is(key, STR("cache_control")) || holds_mark(json_value(key)))
                return true;
    }
    return false;
}

/* The last mark in it is kept for the block. */
static void write_unmarked(struct jsonw *w, struct jval v, struct str *mark)
{
    if (json_is(v, JSON_ARRAY)) {
        jsonw_array(w);
        json_each (e, v)
            write_unmarked(w, e, mark);
        jsonw_array_end(w);
    } else if (json_is(v, JSON_OBJECT)) {
        jsonw_object(w);
        json_each_member (key, v) {
            struct str own = chat_cache_mark(json_value(key));
            if (json_str_is(key, STR("cache_control"))) {
                *mark = own.p ? own : *mark;
                continue;
            }
            jsonw_key(w, json_str_raw(key));
            write_unmarked(w, json_value(key), mark);
        }
        jsonw_object_end(w);
    } else {
        jsonw_raw(w, json_raw(v));
    }
}

/* What a tool is called with is the model's own text, whatever its members are called. */
static bool is_marked(struct jval key)
{
    return !json_str_is(key, STR("input")) && holds_mark(json_value(key));
}

static struct str rewritten(struct chat *c, const struct chat_shape *k, struct jval part,
                            struct str *mark)
{
    struct jsonw w;
    jsonw_to_buf(&w, &c->text);
    jsonw_object(&w);
    json_each_member (key, part) {
        if (!chat_shape_has(k, key) || json_is(json_value(key), JSON_NULL))
            continue;
        jsonw_key(&w, json_str_raw(key));
        if (is_marked(key))
            write_unmarked(&w, json_value(key), mark);
        else
            jsonw_raw(&w, json_raw(json_value(key)));
    }
    jsonw_object_end(&w);
    return chat_take_text(c);
}

static bool add_raw(struct chat *c, const struct chat_shape *k, struct jval part,
                    struct blocks *into)
{
    struct block *b = blocks_add(c->scratch, into, BLOCK_RAW);
    bool whole = true;
    json_each_member (key, part)
        whole = whole && chat_shape_has(k, key) && !json_is(json_value(key), JSON_NULL) &&
                !is_marked(key);
    b->value = whole ? json_raw(part) : rewritten(c, k, part, &b->cache);
    struct str own = chat_cache_mark(json_get(part, STR("cache_control")));
    b->cache = own.p ? own : b->cache;
    return true;
}

/* Upstream: ^srvtoolu_[a-zA-Z0-9_]+$ */
static bool is_server_id(struct jval id)
{
    static const struct str prefix = STR_INIT("srvtoolu_");
    struct str s = json_str_raw(id);
    if (!str_starts(s, prefix) || s.n == prefix.n)
        return false;
    for (size_t i = prefix.n; i < s.n; i++) {
        char ch = s.p[i];
        bool letter = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
        if (!letter && !(ch >= '0' && ch <= '9') && ch != '_')
            return false;
    }
    return true;
}

static bool is_fetched(struct chat *c, struct jval source)
{
    return !json_str_is(json_get(source, STR("type")), STR("url")) ||
           chat_is_web_url(json_str(json_get(source, STR("url")), c->scratch));
}

bool chat_read_own(struct chat *c, struct jval part, struct blocks *into)
{
    const struct chat_shape *k = chat_part_shape(part);
    if (!is_fetched(c, json_get(part, STR("source"))))
        return chat_refuse(c, STR("invalid_value"), chat_part_param(c, ".source.url"),
                           "Invalid value: expected an https URL.");
    if (!chat_check_part(c, k, part))
        return false;
    bool cited = json_true(json_get(json_get(part, STR("citations")), STR("enabled")));
    c->cited |= cited;
    c->cited_document |= cited && json_str_is(json_get(part, STR("type")), STR("document"));
    c->uncited_document |= !cited && json_str_is(json_get(part, STR("type")), STR("document"));
    return add_raw(c, k, part, into);
}

/* Of another service's server tools nothing is shown: the text around them is a whole history. */
bool chat_read_server_part(struct chat *c, struct jval part, struct blocks *into)
{
    const struct chat_shape *k = chat_part_shape(part);
    struct jval use = json_get(part, STR("tool_use_id")), id = json_get(part, STR("id"));
    return chat_check_part(c, k, part) &&
           (!is_server_id(json_present(use) ? use : id) || add_raw(c, k, part, into));
}

/* The type of base64 is as often wrong here as in a data URL. */
bool chat_read_own_image(struct chat *c, struct jval part, struct blocks *into)
{
    struct jval source = json_get(part, STR("source")), type = json_get(source, STR("type"));
    struct jval data = json_get(source, STR("data"));
    struct jval how = json_get(part, STR("transformations"));
    const struct chat_shape *k = chat_part_shape(part);
    if (json_str_is(type, STR("base64")) && json_type(how) == JSON_NULL) {
        if (!json_is(data, JSON_STRING))
            return chat_refuse_missing(c, chat_part_param(c, ".source.data"));
        return chat_add_base64(c, json_str(data, c->scratch), json_is_escaped(data), ".source.data",
                               into);
    }
    if (!is_fetched(c, source))
        return chat_refuse(c, STR("invalid_image_url"), chat_part_param(c, ".source.url"),
                           "Invalid image: expected an https URL.");
    return chat_check_part(c, k, part) && chat_count_image(c) && add_raw(c, k, part, into);
}

/* --- tools --- */

static bool is_kept(struct jval key)
{
    return !json_str_is(key, STR("cache_control")) && !json_is(json_value(key), JSON_NULL);
}

/* Fit to be sent; its cache mark apart, or absent. */
static struct str own_tool(struct chat *c, struct jval tool, struct str *ret_mark)
{
    struct jsonw w;
    bool whole = true;
    *ret_mark = chat_cache_mark(json_get(tool, STR("cache_control")));
    json_each_member (key, tool)
        whole = whole && is_kept(key);
    if (whole)
        return json_raw(tool);
    jsonw_to_buf(&w, &c->text);
    jsonw_object(&w);
    json_each_member (key, tool) {
        if (!is_kept(key))
            continue;
        jsonw_key(&w, json_str_raw(key));
        jsonw_raw(&w, json_raw(json_value(key)));
    }
    jsonw_object_end(&w);
    return chat_take_text(c);
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

bool chat_is_own_tool(struct jval type)
{
    return native_of(type) != NULL;
}

static bool check_tool(struct chat *c, struct jval v, const struct native *kind, struct str at)
{
    static const char *const sizes[] = {".display_width_px", ".display_height_px"};
    struct str name = json_str_raw(json_get(v, STR("name")));
    if (!kind->nameless && !str_eq(chat_clean_name(c, name, false), name))
        return chat_refuse(c, STR("invalid_value"), arena_join(c->scratch, at, STR(".name")),
                           "Invalid value: a tool of type '%.*s' needs its name.",
                           STR_FMT(json_str_raw(json_get(v, STR("type")))));
    for (size_t i = 0; kind->beta.n > 0 && i < ARRAY_LEN(sizes); i++)
        if (json_type(json_get(v, str_c(sizes[i] + 1))) == JSON_NULL)
            return chat_refuse_missing(c, arena_join(c->scratch, at, str_c(sizes[i])));
    return chat_check_own_tool(c, v, at);
}

bool chat_read_own_tool(struct chat *c, struct jval v, struct str at)
{
    struct jval type = json_get(v, STR("type"));
    const struct native *kind = native_of(type);
    struct str name = json_str_raw(json_get(v, STR("name")));
    if (!check_tool(c, v, kind, at))
        return false;
    void **slot = strmap_at(&c->tools, name.n > 0 ? name : json_str_raw(type));
    if (*slot)
        return chat_refuse(c, STR("invalid_value"), arena_join(c->scratch, at, STR(".name")),
                           "Invalid value: a tool is defined twice.");
    struct tool *t = messages_add_tool(c->scratch, c->m);
    t->name = name;
    t->value = own_tool(c, v, &t->cache);
    t->server = kind->server;
    c->tool_beta = kind->beta.n > 0 ? kind->beta : c->tool_beta;
    *slot = t;
    return true;
}
