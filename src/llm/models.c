/* models.c - the table of models, built from models.def and corrected by the upstream's own list.
 *
 *   client name --alias--> Claude name --row--> capabilities, limits, price
 *                             |  retired: the successor's row
 *                             |  unknown: a copy of its line's newest row, as careful as can be
 *
 * Rows are allocated one by one in the table's arena and never move or go; a refresh writes new
 * numbers into them and appends rows for ids it has not seen. Retired rows stand behind the others.
 */
#include "llm/models_int.h"

#include "base/clock.h"
#include "base/mem.h"

#define MODEL(name, other, line_, life, released, window, output, can_, efforts_, think_, omitted, \
              binds, smallest)                                                                     \
    {                                                                                              \
        .id = STR_INIT(name), .alias = STR_INIT(other), .line = LINE_##line_,                      \
        .lifecycle = MODEL_##life, .created = (released), .context = (window),                     \
        .max_output = (output), .can = (can_), .efforts = (efforts_), .think = THINK_##think_,     \
        .display_omitted = (omitted), .binds_thinking = (binds), .cache_min = (smallest),
#define USD(x) (int64_t)((x)*1e6 + 0.5)
#define FIVE(in, out, w5, w1, read)                                                                \
    {                                                                                              \
        USD(in), USD(out), USD(w5), USD(w1), USD(read)                                             \
    }
#define PRICE(...)         .price = FIVE(__VA_ARGS__),
#define ABOVE(tokens, ...) .tier_above = (tokens), .price_high = FIVE(__VA_ARGS__),
#define END                                                                                        \
    }                                                                                              \
    ,
#define RETIRED(...)
#define NAME(...)
static const struct model built_in[] = {
#include "llm/models.def"
};

struct retired {
    struct str id, prefix, successor;
    enum model_line line;
    int64_t created;
};

#define MODEL(...)
#define PRICE(...)
#define ABOVE(...)
#define END
#define RETIRED(name, family, line_, released, next)                                               \
    {STR_INIT(name), STR_INIT(family), STR_INIT(next), LINE_##line_, released},
#define NAME(...)
static const struct retired retired[] = {
#include "llm/models.def"
};

struct built_in_name {
    struct str name, model;
};

#define MODEL(...)
#define PRICE(...)
#define ABOVE(...)
#define END
#define RETIRED(...)
#define NAME(name, model) {STR_INIT(name), STR_INIT(model)},
static const struct built_in_name built_in_names[] = {
#include "llm/models.def"
};

static const struct {
    enum effort bit;
    struct str name;
} effort_names[] = {
    {EFFORT_LOW, STR_INIT("low")},   {EFFORT_MEDIUM, STR_INIT("medium")},
    {EFFORT_HIGH, STR_INIT("high")}, {EFFORT_XHIGH, STR_INIT("xhigh")},
    {EFFORT_MAX, STR_INIT("max")},
};

const char *model_effort_name(enum effort e)
{
    for (size_t i = 0; i < ARRAY_LEN(effort_names); i++)
        if (effort_names[i].bit == e)
            return effort_names[i].name.p;
    return "";
}

struct model *models_row_add(struct models *m, const struct model *like, bool living)
{
    if (m->n_rows == MODELS_MAX)
        return NULL;
    struct model *row = arena_alloc(&m->arena, sizeof(*row));
    *row = *like;
    size_t at = living ? m->n_living : m->n_rows;
    memmove(&m->rows[at + 1], &m->rows[at], (m->n_rows - at) * sizeof(m->rows[0]));
    m->rows[at] = row;
    m->n_rows++;
    m->n_living += living;
    return row;
}

struct model *models_row(const struct models *m, struct str id)
{
    for (size_t i = 0; i < m->n_rows; i++)
        if (str_eq(m->rows[i]->id, id))
            return m->rows[i];
    return NULL;
}

struct model *models_row_by_alias(const struct models *m, struct str name)
{
    for (size_t i = 0; i < m->n_living; i++)
        if (m->rows[i]->alias.n > 0 && str_eq(m->rows[i]->alias, name))
            return m->rows[i];
    return NULL;
}

static const struct model *living(const struct models *m, const struct model *row)
{
    while (row && row->lifecycle == MODEL_RETIRED && row->successor.n > 0)
        row = models_row(m, row->successor);
    return row;
}

/* The successor of a retired family that this name belongs to. */
static const struct model *row_by_family(const struct models *m, struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(retired); i++)
        if (str_starts(name, retired[i].prefix))
            return living(m, models_row(m, retired[i].successor));
    return NULL;
}

static const struct model *newest_of_line(const struct models *m, struct str name)
{
    static const struct {
        struct str word;
        enum model_line line;
    } lines[] = {
        {STR_INIT("haiku"), LINE_HAIKU},   {STR_INIT("sonnet"), LINE_SONNET},
        {STR_INIT("opus"), LINE_OPUS},     {STR_INIT("fable"), LINE_FABLE},
        {STR_INIT("mythos"), LINE_MYTHOS},
    };
    enum model_line line = LINE_OPUS;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (str_find_str(name, lines[i].word) < name.n)
            line = lines[i].line;
    const struct model *best = m->rows[0]; /* the built-in table has one of every line */
    for (size_t i = 0; i < m->n_living; i++)
        if (m->rows[i]->line == line && (best->line != line || m->rows[i]->created > best->created))
            best = m->rows[i];
    return best;
}

/* A model that nobody knows: what the newest ones agree on, so that nothing is sent it may refuse.
 */
struct model models_assumed(const struct models *m, struct str id)
{
    struct model row = *newest_of_line(m, id);
    row.id = id;
    row.alias = STR_NONE;
    row.lifecycle = MODEL_ACTIVE;
    row.can = CAN_STRUCTURED | CAN_IMAGE | CAN_PDF | CAN_THINK_ADAPTIVE;
    row.think = THINK_ALWAYS;
    row.display_omitted = true;
    row.binds_thinking = true;
    return row;
}

static struct str skip_prefix(struct str name)
{
    static const struct str prefixes[] = {STR_INIT("anthropic/"), STR_INIT("claude/")};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (str_starts(name, prefixes[i]))
            return str_skip(name, prefixes[i].n);
    return name;
}

static const struct models_alias *alias_exact(const struct models *m, struct str name)
{
    for (size_t i = 0; i < m->n_aliases; i++)
        if (str_eq(m->aliases[i].name, name))
            return &m->aliases[i];
    return NULL;
}

/* "-2024-08-06", "-0613", "-16k", "-latest" and "-preview" are variants of a name, not other names.
 */
static bool is_variant(struct str suffix)
{
    if (suffix.n < 2 || suffix.p[0] != '-')
        return false;
    struct str word = str_skip(suffix, 1);
    return (word.p[0] >= '0' && word.p[0] <= '9') || str_starts(word, STR("latest")) ||
           str_starts(word, STR("preview"));
}

static const struct models_alias *alias_variant(const struct models *m, struct str name)
{
    const struct models_alias *best = NULL;
    for (size_t i = 0; i < m->n_aliases; i++) {
        const struct models_alias *a = &m->aliases[i];
        if (str_starts(name, a->name) && is_variant(str_skip(name, a->name.n)) &&
            (!best || a->name.n > best->name.n))
            best = a;
    }
    return best;
}

static enum model_match answer(const struct models *m, const struct model *row,
                               const struct model **ret)
{
    *ret = living(m, row);
    if (!*ret)
        return MODEL_UNKNOWN;
    return *ret == row ? MODEL_FOUND : MODEL_SUCCEEDED;
}

/* A row under another id: in the arena of who asks, since the table's rows are shared. */
static const struct model *renamed(const struct model *row, struct str name, struct arena *a)
{
    struct model *copy = arena_alloc(a, sizeof(*copy));
    *copy = *row;
    copy->id = arena_dup(a, name);
    return copy;
}

/* What a name of the upstream can be: it goes there, into logs and into headers as it is. */
static bool is_plausible(struct str name)
{
    static const struct str prefix = STR_INIT("claude-");
    for (size_t i = 0; i < name.n; i++) {
        char ch = name.p[i];
        bool ok = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
        if (!ok && !memchr("-._@:[]", ch, 7))
            return false;
    }
    return str_starts(name, prefix) && name.n > prefix.n && name.n <= 64;
}

/* A claude-* name. */
static enum model_match resolve_claude(const struct models *m, struct str name, struct arena *a,
                                       const struct model **ret)
{
    const struct model *row = models_row(m, name);
    if (row)
        return answer(m, row, ret);
    row = models_row_by_alias(m, name);
    if (row) {
        *ret = renamed(row, name, a); /* the upstream knows the alias too */
        return MODEL_FOUND;
    }
    *ret = row_by_family(m, name);
    if (*ret)
        return MODEL_SUCCEEDED;
    if (!is_plausible(name))
        return MODEL_UNKNOWN;
    struct model copy = models_assumed(m, name);
    *ret = renamed(&copy, name, a);
    return MODEL_ASSUMED;
}

enum model_match models_resolve(const struct models *m, struct str name, struct arena *a,
                                const struct model **ret)
{
    *ret = NULL;
    struct str bare = skip_prefix(name);
    const struct models_alias *alias = alias_exact(m, name);
    if (!alias && bare.n < name.n)
        alias = alias_exact(m, bare);
    if (alias)
        return answer(m, alias->model, ret);
    enum model_match match = resolve_claude(m, bare, a, ret);
    if (match != MODEL_UNKNOWN)
        return match;
    alias = alias_variant(m, bare);
    if (alias)
        return answer(m, alias->model, ret);
    if (!m->fallback)
        return MODEL_UNKNOWN;
    *ret = living(m, m->fallback);
    return MODEL_DEFAULTED;
}

static void alias_set(struct models *m, struct str name, const struct model *model)
{
    for (size_t i = 0; i < m->n_aliases; i++) {
        if (str_eq(m->aliases[i].name, name)) {
            m->aliases[i].model = model;
            return;
        }
    }
    ASSERT(m->n_aliases < m->cap_aliases);
    m->aliases[m->n_aliases++] = (struct models_alias){name, model};
}

/* Only Claude names may stand behind an alias: aliases do not chain. */
static const struct model *target(struct models *m, struct str name)
{
    const struct model *row = NULL;
    enum model_match match = resolve_claude(m, skip_prefix(name), &m->arena, &row);
    return match == MODEL_UNKNOWN ? NULL : row;
}

static bool map_entry(struct models *m, struct jval key, struct str *ret_error)
{
    struct str name = arena_dup(&m->arena, json_str(key, &m->arena));
    struct jval value = json_value(key);
    if (name.n == 0 || !json_is(value, JSON_STRING)) {
        *ret_error = STR("model map: every entry must be \"client name\": \"Claude model\"");
        return false;
    }
    const struct model *row = target(m, json_str(value, &m->arena));
    if (!row) {
        *ret_error = STR("model map: an entry leads to a name that is no Claude model");
        return false;
    }
    alias_set(m, name, row);
    return true;
}

static bool map_read(struct models *m, const struct json *doc, struct str *ret_error)
{
    struct jval map = json_root(doc);
    if (!json_is(map, JSON_OBJECT) || json_count(map) > ALIASES_MAX) {
        *ret_error = STR("model map: not a JSON object of names");
        return false;
    }
    struct models_alias *old = m->aliases;
    m->cap_aliases = m->n_aliases + json_count(map);
    m->aliases = arena_alloc(&m->arena, m->cap_aliases * sizeof(*old));
    if (m->n_aliases > 0)
        memcpy(m->aliases, old, m->n_aliases * sizeof(*old));
    json_each_member (key, map)
        if (!map_entry(m, key, ret_error))
            return false;
    return true;
}

static bool map_take(struct models *m, struct str map, struct str *ret_error)
{
    struct json doc;
    json_init(&doc);
    enum json_error e = json_parse(&doc, map);
    if (e != JSON_OK)
        *ret_error = STR("model map: not valid JSON");
    bool ok = e == JSON_OK && map_read(m, &doc, ret_error);
    json_done(&doc);
    return ok;
}

static void built_in_fill(struct models *m)
{
    for (size_t i = 0; i < ARRAY_LEN(built_in); i++)
        (void)models_row_add(m, &built_in[i], true);
    for (size_t i = 0; i < ARRAY_LEN(retired); i++) {
        const struct model row = {
            .id = retired[i].id,
            .line = retired[i].line,
            .lifecycle = MODEL_RETIRED,
            .created = retired[i].created,
            .successor = retired[i].successor,
        };
        (void)models_row_add(m, &row, false);
    }
    m->cap_aliases = ARRAY_LEN(built_in_names);
    m->aliases = arena_alloc(&m->arena, sizeof(struct models_alias) * m->cap_aliases);
    for (size_t i = 0; i < ARRAY_LEN(built_in_names); i++)
        alias_set(m, built_in_names[i].name, models_row(m, built_in_names[i].model));
}

/* Settings first: names may lead to models that stand there. */
static bool fill(struct models *m, const struct models_options *o, struct str *ret_error)
{
    if (o->settings.n > 0 && !models_read_settings(m, o->settings, ret_error))
        return false;
    if (o->map.n > 0 && !map_take(m, o->map, ret_error))
        return false;
    if (o->default_model.n == 0)
        return true;
    const struct models_alias *alias = alias_exact(m, o->default_model);
    m->fallback = alias ? alias->model : target(m, o->default_model);
    if (!m->fallback)
        *ret_error = STR("default model: no Claude model of that name");
    return m->fallback != NULL;
}

struct models *models_new(const struct models_options *o, char error[MODELS_ERROR])
{
    struct models *m = mem_zalloc(sizeof(*m));
    struct str why = STR_NONE;
    arena_init(&m->arena);
    built_in_fill(m);
    if (fill(m, o, &why))
        return m;
    (void)snprintf(error, MODELS_ERROR, "%.*s", STR_FMT(why));
    models_free(m);
    return NULL;
}

void models_free(struct models *m)
{
    if (!m)
        return;
    arena_done(&m->arena);
    mem_free(m);
}

size_t models_count(const struct models *m)
{
    return m->n_rows;
}

const struct model *models_at(const struct models *m, size_t i)
{
    ASSERT(i < m->n_rows);
    return m->rows[i];
}

size_t models_alias_count(const struct models *m)
{
    return m->n_aliases;
}

struct str models_alias_at(const struct models *m, size_t i, const struct model **ret)
{
    ASSERT(i < m->n_aliases);
    *ret = living(m, m->aliases[i].model);
    return m->aliases[i].name;
}

/* Capabilities as GET /v1/models spells them: path from "capabilities" to {"supported":bool}. */
static const struct {
    struct str path[3];
    uint32_t bit;
} capability_paths[] = {
    {{STR_INIT("structured_outputs")}, CAN_STRUCTURED},
    {{STR_INIT("image_input")}, CAN_IMAGE},
    {{STR_INIT("pdf_input")}, CAN_PDF},
    {{STR_INIT("thinking"), STR_INIT("types"), STR_INIT("adaptive")}, CAN_THINK_ADAPTIVE},
    {{STR_INIT("thinking"), STR_INIT("types"), STR_INIT("enabled")}, CAN_THINK_ENABLED},
    {{STR_INIT("thinking"), STR_INIT("types"), STR_INIT("disabled")}, CAN_THINK_DISABLED},
    {{STR_INIT("thinking"), STR_INIT("types"), STR_INIT("between_tools")}, CAN_THINK_BETWEEN},
};

uint32_t models_effort(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(effort_names); i++)
        if (str_eq(effort_names[i].name, name))
            return effort_names[i].bit;
    return 0;
}

void models_learn_cannot(struct models *m, const struct model *model, uint32_t bits)
{
    struct model *row = models_row(m, model->id);
    row = row ? row : models_row_by_alias(m, model->id);
    if (!row) { /* a name that was only assumed: what was learnt of it is kept */
        struct model fresh = *model;
        fresh.id = arena_dup(&m->arena, model->id);
        row = models_row_add(m, &fresh, true);
    }
    if (!row)
        return;
    row->can &= ~bits;
    row->fixed_can |= bits;
}

static void refresh_bit(uint32_t *bits, uint32_t bit, struct jval capability)
{
    struct jval supported = json_get(capability, STR("supported"));
    if (json_is(supported, JSON_TRUE))
        *bits |= bit;
    if (json_is(supported, JSON_FALSE))
        *bits &= ~bit;
}

static void refresh_capabilities(struct model *row, struct jval capabilities)
{
    for (size_t i = 0; i < ARRAY_LEN(capability_paths); i++) {
        struct jval v = capabilities;
        for (size_t d = 0; d < ARRAY_LEN(capability_paths[i].path); d++)
            if (capability_paths[i].path[d].n > 0)
                v = json_get(v, capability_paths[i].path[d]);
        if (!(row->fixed_can & capability_paths[i].bit))
            refresh_bit(&row->can, capability_paths[i].bit, v);
    }
    struct jval effort = json_get(capabilities, STR("effort"));
    if (row->fixed_efforts)
        return;
    for (size_t i = 0; i < ARRAY_LEN(effort_names); i++)
        refresh_bit(&row->efforts, effort_names[i].bit, json_get(effort, effort_names[i].name));
    if (json_is(json_get(effort, STR("supported")), JSON_FALSE))
        row->efforts = 0;
}

static void refresh_limit(int64_t *limit, struct jval v)
{
    int64_t n;
    if (json_i64(v, &n) && n > 0 && n <= 1000000000)
        *limit = n;
}

static void refresh_row(struct model *row, struct jval entry)
{
    if (!row->fixed_context)
        refresh_limit(&row->context, json_get(entry, STR("max_input_tokens")));
    if (!row->fixed_output)
        refresh_limit(&row->max_output, json_get(entry, STR("max_tokens")));
    struct jval life = json_get(entry, STR("lifecycle"));
    if (json_str_is(life, STR("active")))
        row->lifecycle = MODEL_ACTIVE;
    if (json_str_is(life, STR("deprecated")))
        row->lifecycle = MODEL_DEPRECATED;
    refresh_capabilities(row, json_get(entry, STR("capabilities")));
}

static int64_t created_at(struct jval entry)
{
    uint64_t us = 0;
    struct str text = json_str_raw(json_get(entry, STR("created_at")));
    return clock_parse_rfc3339(text, &us) ? (int64_t)(us / 1000000) : 0;
}

static bool refresh_entry(struct models *m, struct jval entry)
{
    struct jval name = json_get(entry, STR("id"));
    struct str id = json_str_raw(name);
    if (!is_plausible(id) || json_str_is(json_get(entry, STR("lifecycle")), STR("retired")))
        return false;
    struct model *row = models_row(m, id);
    if (row && row->lifecycle == MODEL_RETIRED)
        return false; /* the table knows better what answers for it */
    if (!row) {
        if (m->n_rows == MODELS_MAX)
            return false;
        struct model fresh = models_assumed(m, arena_dup(&m->arena, id));
        fresh.created = created_at(entry);
        row = models_row_add(m, &fresh, true);
    }
    refresh_row(row, entry);
    return true;
}

size_t models_refresh(struct models *m, const struct json *answer_doc)
{
    size_t seen = 0;
    json_each (entry, json_get(json_root(answer_doc), STR("data")))
        seen += json_is(entry, JSON_OBJECT) && refresh_entry(m, entry);
    return seen;
}
