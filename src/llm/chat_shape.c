/* chat_shape.c - what parts and tools in Anthropic's own shape may hold, as tables.
 *
 * They go upstream in the client's own text, so what upstream would refuse is looked for here: a member
 * of a wrong kind, one that lacks or that there is not, base64 that is not what it is said to be.
 */
#include "llm/chat.h"

enum kind {
    ANY,
    TEXT,
    FILLED, /* a text of at least one byte */
    SAID,   /* a text with something in it */
    FLAG,
    COUNT, /* 1 or more */
    MAP,
    TEXTS, /* lists of them */
    MAPS,
    ONE,          /* an object of one of the shapes */
    LIST,         /* of such objects */
    TEXT_OR_LIST, /* of such objects */
};

enum { MEMBERS_MAX = 12 };

struct member {
    struct str name;
    enum kind kind;
    bool required;
    const struct chat_shape *of;
};

/* Of a list of shapes the one whose type the object names; the only one when it has no type. The list
 * ends with an empty one. */
struct chat_shape {
    struct str type;
    struct member members[MEMBERS_MAX];
    bool (*rule)(struct chat *c, struct jval v);
};

static struct str text_in(struct chat *c, struct jval v, struct str name)
{
    return json_str(json_get(v, name), c->scratch);
}

static bool is_pdf(struct chat *c, struct jval v)
{
    struct str is = chat_base64_type(text_in(c, v, STR("data")));
    return str_eq(is, STR("application/pdf")) && str_eq(is, text_in(c, v, STR("media_type")));
}

static bool is_image(struct chat *c, struct jval v)
{
    struct str is = chat_base64_type(text_in(c, v, STR("data")));
    return str_starts(is, STR("image/")) && str_eq(is, text_in(c, v, STR("media_type")));
}

static bool is_plain(struct chat *c, struct jval v)
{
    return str_eq(text_in(c, v, STR("media_type")), STR("text/plain"));
}

static bool is_fetched(struct chat *c, struct jval v)
{
    return chat_is_web_url(text_in(c, v, STR("url")));
}

#define REQUIRED(name, kind)                                                                       \
    {                                                                                              \
        STR_INIT(name), kind, true, NULL                                                           \
    }
#define OPTIONAL(name, kind)                                                                       \
    {                                                                                              \
        STR_INIT(name), kind, false, NULL                                                          \
    }
#define REQUIRED_OF(name, k, of)                                                                   \
    {                                                                                              \
        STR_INIT(name), k, true, of                                                                \
    }
#define OPTIONAL_OF(name, k, of)                                                                   \
    {                                                                                              \
        STR_INIT(name), k, false, of                                                               \
    }
#define END                                                                                        \
    {                                                                                              \
        {NULL, 0}, {{{NULL, 0}, ANY, false, NULL}}, NULL                                           \
    }

static const struct chat_shape switches[] = {
    {{NULL, 0}, {OPTIONAL("enabled", FLAG)}, NULL},
    END,
};
static const struct chat_shape texts[] = {
    {STR_INIT("text"), {REQUIRED("text", SAID), OPTIONAL("citations", MAPS)}, NULL},
    END,
};
static const struct chat_shape image_sources[] = {
    {STR_INIT("base64"), {REQUIRED("media_type", TEXT), REQUIRED("data", FILLED)}, is_image},
    {STR_INIT("url"), {REQUIRED("url", FILLED)}, is_fetched},
    {STR_INIT("file"), {REQUIRED("file_id", FILLED)}, NULL},
    END,
};
static const struct chat_shape sizes[] = {
    {{NULL, 0}, {OPTIONAL("oversized_image", FILLED)}, NULL},
    END,
};
#define IMAGE                                                                                      \
    {                                                                                              \
        STR_INIT("image"),                                                                         \
            {REQUIRED_OF("source", ONE, image_sources),                                            \
             OPTIONAL_OF("transformations", ONE, sizes)},                                          \
            NULL                                                                                   \
    }
static const struct chat_shape inner_parts[] = {
    {STR_INIT("text"), {REQUIRED("text", SAID), OPTIONAL("citations", MAPS)}, NULL},
    IMAGE,
    END,
};
static const struct chat_shape document_sources[] = {
    {STR_INIT("base64"), {REQUIRED("media_type", TEXT), REQUIRED("data", FILLED)}, is_pdf},
    {STR_INIT("text"), {REQUIRED("media_type", TEXT), REQUIRED("data", TEXT)}, is_plain},
    {STR_INIT("url"), {REQUIRED("url", FILLED)}, is_fetched},
    {STR_INIT("file"), {REQUIRED("file_id", FILLED)}, NULL},
    {STR_INIT("content"), {REQUIRED_OF("content", TEXT_OR_LIST, inner_parts)}, NULL},
    END,
};

/* What server tools give back is all alike; it stands last. */
static const struct chat_shape parts[] = {
    IMAGE,
    {STR_INIT("document"),
     {REQUIRED_OF("source", ONE, document_sources), OPTIONAL("title", TEXT),
      OPTIONAL("context", TEXT), OPTIONAL_OF("citations", ONE, switches)},
     NULL},
    {STR_INIT("search_result"),
     {REQUIRED("source", TEXT), REQUIRED("title", TEXT), REQUIRED_OF("content", LIST, texts),
      OPTIONAL_OF("citations", ONE, switches)},
     NULL},
    {STR_INIT("container_upload"), {REQUIRED("file_id", FILLED)}, NULL},
    {STR_INIT("server_tool_use"),
     {REQUIRED("id", TEXT), REQUIRED("name", FILLED), REQUIRED("input", MAP)},
     NULL},
    {{NULL, 0}, {REQUIRED("tool_use_id", TEXT), REQUIRED("content", ANY)}, NULL},
};

/* Newer versions of them may have members that are not known here: those pass. */
static const struct chat_shape tools = {
    {NULL, 0},
    {OPTIONAL("strict", FLAG), OPTIONAL("defer_loading", FLAG), OPTIONAL("allowed_callers", TEXTS),
     OPTIONAL("max_uses", COUNT), OPTIONAL("allowed_domains", TEXTS),
     OPTIONAL("blocked_domains", TEXTS), OPTIONAL("user_location", MAP),
     OPTIONAL("max_content_tokens", COUNT), OPTIONAL("max_characters", COUNT),
     OPTIONAL("display_width_px", COUNT), OPTIONAL("display_height_px", COUNT),
     OPTIONAL("input_examples", MAPS)},
    NULL,
};

static bool is_end(const struct chat_shape *s)
{
    return !s->type.p && !s->members[0].name.p;
}

static const struct chat_shape *shape_of(const struct chat_shape *list, struct jval v)
{
    struct jval type = json_get(v, STR("type"));
    while (!is_end(list) && list->type.p && !json_str_is(type, list->type))
        list++;
    return list;
}

static const struct member *member_of(const struct chat_shape *s, struct jval key)
{
    for (size_t i = 0; i < MEMBERS_MAX && s->members[i].name.p; i++)
        if (json_str_is(key, s->members[i].name))
            return &s->members[i];
    return NULL;
}

const struct chat_shape *chat_part_shape(struct jval part)
{
    return shape_of(parts, part);
}

bool chat_shape_has(const struct chat_shape *s, struct jval key)
{
    return member_of(s, key) != NULL || json_str_is(key, STR("type"));
}

static struct str misfit(struct chat *c, const struct member *m, struct jval v);

static struct str inside(struct chat *c, struct str name, struct str below)
{
    return arena_printf(c->scratch, ".%.*s%.*s", STR_FMT(name), STR_FMT(below));
}

/* Where v is not of the shape: a path below it, or absent. Members besides the known ones: none. */
static struct str misfit_members(struct chat *c, const struct chat_shape *s, struct jval v)
{
    json_each_member (key, v) {
        const struct member *m = member_of(s, key);
        struct str below = m ? misfit(c, m, json_value(key)) : STR_NONE;
        bool known = m || json_str_is(key, STR("cache_control")) ||
                     (s->type.p && json_str_is(key, STR("type")));
        if (!known || below.p)
            return inside(c, json_str_raw(key), below);
    }
    for (size_t i = 0; i < MEMBERS_MAX && s->members[i].name.p; i++)
        if (s->members[i].required && json_type(json_get(v, s->members[i].name)) == JSON_NULL)
            return inside(c, s->members[i].name, STR(""));
    return s->rule && !s->rule(c, v) ? STR("") : STR_NONE;
}

static struct str misfit_object(struct chat *c, const struct chat_shape *list, struct jval v)
{
    const struct chat_shape *s = shape_of(list, v);
    if (!json_is(v, JSON_OBJECT))
        return STR("");
    return is_end(s) ? STR(".type") : misfit_members(c, s, v);
}

static struct str misfit_list(struct chat *c, const struct chat_shape *list, struct jval v)
{
    size_t i = 0;
    json_each (e, v) {
        struct str below = misfit_object(c, list, e);
        if (below.p)
            return arena_printf(c->scratch, "[%zu]%.*s", i, STR_FMT(below));
        i++;
    }
    return json_is(v, JSON_ARRAY) ? STR_NONE : STR("");
}

static bool all_are(struct jval list, enum json_type type)
{
    json_each (e, list)
        if (!json_is(e, type))
            return false;
    return json_is(list, JSON_ARRAY);
}

static bool is_kind(enum kind kind, struct jval v)
{
    int64_t n = 0;
    switch (kind) {
    case ANY: return true;
    case TEXT: return json_is(v, JSON_STRING);
    case FILLED: return json_str_raw(v).n > 0;
    case SAID: return json_is(v, JSON_STRING) && !chat_blank(json_str_raw(v));
    case FLAG: return json_is(v, JSON_TRUE) || json_is(v, JSON_FALSE);
    case COUNT: return json_i64(v, &n) && n > 0;
    case MAP: return json_is(v, JSON_OBJECT);
    case TEXTS: return all_are(v, JSON_STRING);
    case MAPS: return all_are(v, JSON_OBJECT);
    case ONE:
    case LIST:
    case TEXT_OR_LIST: return false;
    }
    UNREACHABLE();
}

static struct str misfit(struct chat *c, const struct member *m, struct jval v)
{
    if (json_is(v, JSON_NULL) && !m->required)
        return STR_NONE;
    if (m->kind == ONE)
        return misfit_object(c, m->of, v);
    if (m->kind == LIST || (m->kind == TEXT_OR_LIST && !json_is(v, JSON_STRING)))
        return misfit_list(c, m->of, v);
    return m->kind == TEXT_OR_LIST || is_kind(m->kind, v) ? STR_NONE : STR("");
}

static bool refuse(struct chat *c, struct str at, struct str below, struct jval v)
{
    struct str param = arena_printf(c->scratch, "%.*s%.*s", STR_FMT(at), STR_FMT(below));
    return chat_refuse(c, STR("invalid_value"), param,
                       "Invalid value for '%.*s': it is nothing that '%.*s' takes there.",
                       STR_FMT(param), STR_FMT(json_str_raw(json_get(v, STR("type")))));
}

/* Members that are not known are left out of a part, and so is null. */
bool chat_check_part(struct chat *c, const struct chat_shape *s, struct jval part)
{
    struct str at = chat_part_param(c, "");
    for (size_t i = 0; i < MEMBERS_MAX && s->members[i].name.p; i++) {
        const struct member *m = &s->members[i];
        struct jval v = json_get(part, m->name);
        if (json_type(v) == JSON_NULL && m->required)
            return chat_refuse_missing(c, arena_join(c->scratch, at, inside(c, m->name, STR(""))));
        struct str below = json_type(v) == JSON_NULL ? STR_NONE : misfit(c, m, v);
        if (below.p)
            return refuse(c, at, inside(c, m->name, below), part);
    }
    return true;
}

bool chat_check_own_tool(struct chat *c, struct jval tool, struct str at)
{
    json_each_member (key, tool) {
        const struct member *m = member_of(&tools, key);
        struct str below = m ? misfit(c, m, json_value(key)) : STR_NONE;
        if (below.p)
            return refuse(c, at, inside(c, m->name, below), tool);
    }
    return true;
}
