/* yaml.c - loads one document with libyaml and copies out what options need: texts, lists of texts,
 * and mappings as JSON.
 *
 * Aliases are the library's business: it shares nodes, and what is made of them has a maximum. Scalars
 * of options and lists are texts: what "8000" or "yes" means is decided by the option, not by YAML's
 * rules; inside of a mapping, plain numbers, true, false and null are what they are in JSON. Which
 * keys exist is left to config.c.
 */
#include "config/yaml.h"

#include <yaml.h>

#include "wire/json.h"
#include "wire/jsonw.h"

enum { PARTS_MAX = 10000, DEPTH_MAX = 8, JSON_MAX = 1024 * 1024 };

struct reader {
    yaml_document_t doc;
    struct arena *arena;
    struct yaml_file *file;
};

static bool refuse(struct yaml_file *f, const yaml_mark_t *at, const char *why)
{
    f->error_line = (unsigned)at->line + 1;
    (void)snprintf(f->error, sizeof(f->error), "%s", why);
    return false;
}

/* A plain null is absent; a quoted one is the word. */
static bool is_null(const yaml_node_t *n, struct str s)
{
    return n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!s.n || str_eq(s, STR("~")) || str_eq(s, STR("null")));
}

static bool scalar(struct reader *r, const yaml_node_t *n, struct str *ret)
{
    struct str s;

    if (n->type != YAML_SCALAR_NODE)
        return refuse(r->file, &n->start_mark, "one value was expected here");
    s = str_of((const char *)n->data.scalar.value, n->data.scalar.length);
    *ret = is_null(n, s) ? STR_NONE : arena_dup(r->arena, s);
    return true;
}

static bool pair(struct reader *r, const yaml_node_pair_t *p, struct yaml_part *ret)
{
    return scalar(r, yaml_document_get_node(&r->doc, p->key), &ret->key) &&
           scalar(r, yaml_document_get_node(&r->doc, p->value), &ret->value);
}

static bool json_of(struct reader *r, const yaml_node_t *n, struct jsonw *w, unsigned depth);

/* What YAML 1.2 reads as a number, a truth or nothing when it stands there plain. */
static bool is_plain_json(const yaml_node_t *n, struct str s)
{
    struct json doc;
    bool ok;

    if (n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || !s.n)
        return false;
    json_init(&doc);
    ok = json_parse(&doc, s) == JSON_OK && !json_is(json_root(&doc), JSON_STRING);
    json_done(&doc);
    return ok;
}

static bool json_of_scalar(struct reader *r, const yaml_node_t *n, struct jsonw *w)
{
    struct str s;

    if (!scalar(r, n, &s))
        return false;
    if (!s.p)
        jsonw_null(w);
    else if (is_plain_json(n, s))
        jsonw_raw(w, s);
    else
        jsonw_str(w, s);
    return true;
}

static bool json_of_map(struct reader *r, const yaml_node_t *n, struct jsonw *w, unsigned depth)
{
    const yaml_node_pair_t *p = n->data.mapping.pairs.start;
    bool ok = true;

    jsonw_object(w);
    for (; ok && p < n->data.mapping.pairs.top; p++) {
        struct str name;
        struct buf key;

        buf_init(&key, JSON_MAX);
        ok = scalar(r, yaml_document_get_node(&r->doc, p->key), &name) && jsonw_escape(&key, name);
        if (ok)
            jsonw_key(w, buf_str(&key));
        buf_done(&key);
        ok = ok && json_of(r, yaml_document_get_node(&r->doc, p->value), w, depth + 1);
    }
    if (ok)
        jsonw_object_end(w);
    return ok;
}

static bool json_of_list(struct reader *r, const yaml_node_t *n, struct jsonw *w, unsigned depth)
{
    const yaml_node_item_t *item = n->data.sequence.items.start;

    jsonw_array(w);
    for (; item < n->data.sequence.items.top; item++)
        if (!json_of(r, yaml_document_get_node(&r->doc, *item), w, depth + 1))
            return false;
    jsonw_array_end(w);
    return true;
}

/* Aliases can make a small file large: the writer's maximum ends that. */
static bool json_of(struct reader *r, const yaml_node_t *n, struct jsonw *w, unsigned depth)
{
    if (depth > DEPTH_MAX || w->full)
        return refuse(r->file, &n->start_mark, w->full ? "too large" : "nested too deeply");
    switch (n->type) {
    case YAML_MAPPING_NODE: return json_of_map(r, n, w, depth);
    case YAML_SEQUENCE_NODE: return json_of_list(r, n, w, depth);
    case YAML_SCALAR_NODE: return json_of_scalar(r, n, w);
    case YAML_NO_NODE: break;
    }
    return refuse(r->file, &n->start_mark, "a value was expected here");
}

static bool map(struct reader *r, const yaml_node_t *n, struct yaml_item *item)
{
    struct buf json;
    struct jsonw w;
    bool ok;

    buf_init(&json, JSON_MAX);
    jsonw_to_buf(&w, &json);
    ok = json_of_map(r, n, &w, 0);
    if (ok && !jsonw_ok(&w))
        ok = refuse(r->file, &n->start_mark, "too large");
    item->kind = YAML_MAP;
    item->value = ok ? arena_dup(r->arena, buf_str(&json)) : STR_NONE;
    buf_done(&json);
    return ok;
}

/* In a list, "- alice: key" is a mapping to YAML; it means the text "alice:key" to whoever wrote
 * it. */
static bool element(struct reader *r, const yaml_node_t *n, struct yaml_part *ret)
{
    if (n->type != YAML_MAPPING_NODE)
        return scalar(r, n, &ret->value);
    if (n->data.mapping.pairs.top - n->data.mapping.pairs.start != 1)
        return refuse(r->file, &n->start_mark, "one value was expected here");
    return pair(r, n->data.mapping.pairs.start, ret);
}

static bool list(struct reader *r, const yaml_node_t *n, struct yaml_item *item)
{
    const yaml_node_item_t *start = n->data.sequence.items.start;
    size_t count = (size_t)(n->data.sequence.items.top - start);

    if (count > PARTS_MAX)
        return refuse(r->file, &n->start_mark, "too many entries");
    item->kind = YAML_LIST;
    item->parts = arena_zalloc(r->arena, count * sizeof(*item->parts));
    for (item->n_parts = 0; item->n_parts < count; item->n_parts++)
        if (!element(r, yaml_document_get_node(&r->doc, start[item->n_parts]),
                     &item->parts[item->n_parts]))
            return false;
    return true;
}

static bool value(struct reader *r, const yaml_node_t *n, struct yaml_item *item)
{
    switch (n->type) {
    case YAML_SEQUENCE_NODE: return list(r, n, item);
    case YAML_MAPPING_NODE: return map(r, n, item);
    case YAML_SCALAR_NODE:
    case YAML_NO_NODE: break;
    }
    item->kind = YAML_VALUE;
    return scalar(r, n, &item->value);
}

static bool document(struct reader *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    const yaml_node_pair_t *start;
    size_t count;

    if (!root)
        return true;
    if (root->type != YAML_MAPPING_NODE)
        return refuse(r->file, &root->start_mark, "the file must be lines of \"option: value\"");
    start = root->data.mapping.pairs.start;
    count = (size_t)(root->data.mapping.pairs.top - start);
    r->file->items = arena_zalloc(r->arena, count * sizeof(*r->file->items));
    for (; r->file->n < count; r->file->n++) {
        const yaml_node_t *key = yaml_document_get_node(&r->doc, start[r->file->n].key);
        struct yaml_item *item = &r->file->items[r->file->n];

        item->line = (unsigned)key->start_mark.line + 1;
        if (!scalar(r, key, &item->key) ||
            !value(r, yaml_document_get_node(&r->doc, start[r->file->n].value), item))
            return false;
    }
    return true;
}

static bool load(yaml_parser_t *parser, struct reader *r, bool (*then)(struct reader *r))
{
    bool ok;

    if (!yaml_parser_load(parser, &r->doc))
        return refuse(r->file, &parser->problem_mark,
                      parser->problem ? parser->problem : "not YAML");
    ok = then(r);
    yaml_document_delete(&r->doc);
    return ok;
}

static bool nothing(struct reader *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);

    return !root || refuse(r->file, &root->start_mark, "a second document begins here");
}

bool yaml_read(struct str text, struct arena *a, struct yaml_file *ret)
{
    struct reader r = {.arena = a, .file = ret};
    yaml_parser_t parser;
    bool ok;

    *ret = (struct yaml_file){0};
    if (!yaml_parser_initialize(&parser))
        return false;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.n);
    ok = load(&parser, &r, document) && load(&parser, &r, nothing);
    yaml_parser_delete(&parser);
    return ok;
}
