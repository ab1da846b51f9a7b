/* recall.c - see recall.h. What is kept is one JSON object:
 *
 *   {"model":"claude-...","binding":"<32 hex>","content":[...]}
 */
#include "llm/recall.h"

#include "base/text.h"
#include "wire/jsonw.h"

struct hashed {
    struct binding binding;
    const struct turn *next; /* the first that is not in it */
};

enum { KEPT_MAX = 1024 * 1024, HEX = 2 * sizeof(struct fingerprint) };

static struct str hex_of(const struct fingerprint *h, char out[HEX])
{
    text_hex(h->bytes, sizeof(h->bytes), out);
    return str_of(out, HEX);
}

/* --- does the client say what the model said? ----------------------------------------------- */

static bool same_value(struct jval x, struct jval y, struct arena *a);

static bool same_members(struct jval x, struct jval y, struct arena *a)
{
    if (json_count(x) != json_count(y))
        return false;
    json_each_member (key, x)
        if (!same_value(json_value(key), json_get(y, json_str(key, a)), a))
            return false;
    return true;
}

static bool same_elements(struct jval x, struct jval y, struct arena *a)
{
    struct jval other = json_first(y);
    if (json_count(x) != json_count(y))
        return false;
    json_each (e, x) {
        if (!same_value(e, other, a))
            return false;
        other = json_next(y, other);
    }
    return true;
}

static bool same_number(struct jval x, struct jval y)
{
    double a, b;
    return str_eq(json_raw(x), json_raw(y)) ||
           (json_f64(x, &a) && json_f64(y, &b) && !(a < b) && !(a > b));
}

/* Clients parse arguments and write them anew: white space, escapes and the order of members do
 * not count. */
static bool same_value(struct jval x, struct jval y, struct arena *a)
{
    if (!json_present(x) || !json_present(y) || json_type(x) != json_type(y))
        return false;
    switch (json_type(x)) {
    case JSON_STRING: return str_eq(json_str(x, a), json_str(y, a));
    case JSON_NUMBER: return same_number(x, y);
    case JSON_OBJECT: return same_members(x, y, a);
    case JSON_ARRAY: return same_elements(x, y, a);
    case JSON_NULL:
    case JSON_TRUE:
    case JSON_FALSE: return true;
    }
    UNREACHABLE();
}

static bool same_input(struct str said, struct jval kept, struct arena *a)
{
    struct json doc;
    json_init(&doc);
    bool same = str_eq(said, json_raw(kept)) ||
                (json_parse(&doc, said) == JSON_OK && same_value(json_root(&doc), kept, a));
    json_done(&doc);
    return same;
}

static bool append_meaning(struct buf *to, struct str inside)
{
    char *p = buf_reserve(to, size_max(inside.n, 1));
    if (p)
        buf_commit(to, json_unescape(inside, p));
    return p != NULL;
}

static const struct block *next_call(const struct block *b)
{
    while (b && b->type != BLOCK_TOOL_USE)
        b = b->next;
    return b;
}

/* Texts are compared joined, since clients get them joined; calls one by one. */
static bool says_same(const struct turn *t, struct jval kept, struct arena *a)
{
    struct buf theirs, ours;
    const struct block *call = next_call(t->blocks.first);
    bool same = true;
    buf_init(&theirs, KEPT_MAX);
    buf_init(&ours, KEPT_MAX);
    for (const struct block *b = t->blocks.first; b && same; b = b->next)
        if (b->type == BLOCK_TEXT)
            same = append_meaning(&theirs, b->text);
    json_each (b, kept) {
        struct jval type = json_get(b, STR("type"));
        if (json_str_is(type, STR("text")))
            same = same && append_meaning(&ours, json_str_raw(json_get(b, STR("text"))));
        if (!json_str_is(type, STR("tool_use")))
            continue;
        same = same && call && json_str_is(json_get(b, STR("id")), call->id) &&
               json_str_is(json_get(b, STR("name")), call->name) &&
               same_input(call->input, json_get(b, STR("input")), a);
        call = call ? next_call(call->next) : NULL;
    }
    same = same && !call && str_eq(str_trim(buf_str(&theirs)), str_trim(buf_str(&ours)));
    buf_done(&theirs);
    buf_done(&ours);
    return same;
}

/* --- putting it back ------------------------------------------------------------------------ */

/* The client's marks stay: on its calls one by one, on its text on the last one of ours. */
static struct str cache_for(struct jval kept, const struct block **calls, struct str *text_cache)
{
    struct str cache = STR_NONE;
    if (json_str_is(json_get(kept, STR("type")), STR("tool_use")) && *calls) {
        cache = (*calls)->cache;
        *calls = next_call((*calls)->next);
    } else if (json_str_is(json_get(kept, STR("type")), STR("text"))) {
        cache = *text_cache;
        *text_cache = STR_NONE;
    }
    return cache;
}

static struct block *put_block(struct jval kept, struct blocks *into, struct arena *a)
{
    static const struct {
        struct str name;
        enum block_type type;
    } kinds[] = {
        {STR_INIT("thinking"), BLOCK_THINKING},
        {STR_INIT("redacted_thinking"), BLOCK_REDACTED},
        {STR_INIT("tool_use"), BLOCK_TOOL_USE},
        {STR_INIT("text"), BLOCK_TEXT},
    };
    struct block *b = blocks_add(a, into, BLOCK_RAW);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (json_str_is(json_get(kept, STR("type")), kinds[i].name))
            b->type = kinds[i].type;
    if (b->type == BLOCK_TEXT && json_present(json_get(kept, STR("citations"))))
        b->type = BLOCK_RAW;
    switch ((int)b->type) {
    case BLOCK_TEXT: b->text = json_str_raw(json_get(kept, STR("text"))); break;
    case BLOCK_REDACTED: b->text = json_str_raw(json_get(kept, STR("data"))); break;
    case BLOCK_THINKING:
        b->text = json_str_raw(json_get(kept, STR("thinking")));
        b->signature = json_str_raw(json_get(kept, STR("signature")));
        break;
    case BLOCK_TOOL_USE:
        b->id = json_str_raw(json_get(kept, STR("id")));
        b->name = json_str_raw(json_get(kept, STR("name")));
        b->input = json_raw(json_get(kept, STR("input")));
        break;
    default: b->value = json_raw(kept); break;
    }
    return b;
}

static void put_back(struct turn *t, struct jval kept, struct arena *a)
{
    struct blocks whole = {0};
    struct str text_cache = STR_NONE;
    const struct block *calls = next_call(t->blocks.first);
    for (const struct block *b = t->blocks.first; b; b = b->next)
        if (b->type == BLOCK_TEXT && b->cache.p)
            text_cache = b->cache;
    json_each (e, kept) {
        struct str cache = cache_for(e, &calls, &text_cache);
        struct block *b = put_block(e, &whole, a);
        if (b->type != BLOCK_RAW)
            b->cache = cache;
    }
    t->blocks = whole;
}

/* --- the conversation ----------------------------------------------------------------------- */

/* How far the conversation has been hashed; turns are taken when a hash is wanted, each once. */
static struct fingerprint hash_before(const struct recall *r, struct messages_request *m,
                                      const struct turn *end, struct arena *a)
{
    struct hashed *h = m->hashed;
    if (!h) {
        h = m->hashed = ARENA_NEW(a, struct hashed);
        binding_begin(&h->binding, stash_secret(r->stash), m);
        h->next = m->turns;
    }
    for (; h->next != end; h->next = h->next->next)
        binding_turn(&h->binding, h->next);
    return binding_hash(&h->binding);
}

static bool is_bound_here(const struct recall *r, struct jval kept, struct messages_request *m,
                          const struct turn *t, struct arena *a)
{
    char hex[HEX];
    if (!m->model->binds_thinking)
        return true;
    struct fingerprint hash = hash_before(r, m, t, a);
    return json_str_is(json_get(kept, STR("binding")), hex_of(&hash, hex));
}

static void recall_turn(const struct recall *r, struct messages_request *m, struct turn *t,
                        struct arena *a)
{
    const struct block *call = next_call(t->blocks.first);
    if (!call)
        return;
    const struct stash_key key = {.owner = r->owner, .call = call->id};
    struct str text = stash_get(r->stash, &key, r->now_s, a);
    if (!text.p)
        return;
    struct json doc;
    json_init(&doc);
    if (json_parse(&doc, text) == JSON_OK) {
        struct jval kept = json_root(&doc), content = json_get(kept, STR("content"));
        if (json_str_is(json_get(kept, STR("model")), m->model->id) && says_same(t, content, a) &&
            is_bound_here(r, kept, m, t, a))
            put_back(t, content, a);
        else
            turn_strip_thinking(t, a);
    }
    json_done(&doc);
}

void recall_thinking(const struct recall *r, struct messages_request *m, struct arena *a)
{
    if (!r || !r->stash)
        return;
    for (struct turn *t = m->turns; t; t = t->next)
        if (t->role == ROLE_ASSISTANT)
            recall_turn(r, m, t, a);
}

bool recall_expects(const struct messages_request *m)
{
    bool thinks = m->thinking == THINKING_NONE_GIVEN ? m->model->think != THINK_OFF
                                                     : m->thinking != THINKING_DISABLED;
    return thinks && m->tools && m->choice != CHOICE_NONE;
}

struct fingerprint recall_binding(const struct recall *r, struct messages_request *m,
                                  struct arena *a)
{
    if (!m->model->binds_thinking)
        return (struct fingerprint){0};
    return hash_before(r, m, NULL, a);
}

void recall_keep(const struct recall *r, const struct model *model,
                 const struct fingerprint *binding, const struct content *content)
{
    char hex[HEX];
    struct str blocks = content_blocks(content);
    if (!r->stash || !blocks.p || !content->has_thinking || buf_len(&content->call) == 0)
        return;
    struct buf kept;
    buf_init(&kept, KEPT_MAX);
    struct jsonw w;
    jsonw_to_buf(&w, &kept);
    jsonw_object(&w);
    jsonw_field_str(&w, "model", model->id);
    jsonw_field_str_raw(&w, "binding", hex_of(binding, hex));
    jsonw_key(&w, STR("content"));
    jsonw_array(&w);
    jsonw_raw(&w, blocks);
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    const struct stash_key key = {.owner = r->owner, .call = buf_str(&content->call)};
    if (jsonw_ok(&w))
        (void)stash_put(r->stash, &key, buf_str(&kept), r->now_s);
    buf_done(&kept);
}
