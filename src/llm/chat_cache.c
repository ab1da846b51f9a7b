/* chat_cache.c - which parts of a prompt are marked to be cached.
 *
 *   tools -> system -> messages -> the automatic mark      the order in which upstream reads them
 *
 * A client's marks come from parts, messages, tools, results, Anthropic's own blocks, or hold for the
 * whole request. Upstream takes four at most, those of an hour before those of five minutes. Where
 * the client has none, the whole prompt is marked if it is likely to come again.
 */
#include "llm/chat.h"

enum { CACHE_MARKS_MAX = 4 };

static const struct str minutes = STR_INIT("{\"type\":\"ephemeral\"}");
static const struct str hour = STR_INIT("{\"type\":\"ephemeral\",\"ttl\":\"1h\"}");

/* Only what upstream knows of it: it refuses any other member, and any other time. */
struct str chat_cache_mark(struct jval v)
{
    struct jval type = json_get(v, STR("type"));
    if (!json_is(v, JSON_OBJECT) || (json_present(type) && !json_str_is(type, STR("ephemeral"))))
        return STR_NONE;
    return json_str_is(json_get(v, STR("ttl")), STR("1h")) ? hour : minutes;
}

/* OpenAI's times are of half an hour and more: the nearest is the longest there is. */
struct str chat_cache_breakpoint(struct jval v)
{
    struct jval ttl = json_get(v, STR("ttl"));
    if (!json_is(v, JSON_OBJECT))
        return STR_NONE;
    return json_is(ttl, JSON_STRING) && !json_str_is(ttl, STR("5m")) ? hour : minutes;
}

static size_t text_bytes(const struct block *b)
{
    size_t n = 0;
    for (; b; b = b->next)
        n += b->text.n;
    return n;
}

/* Caching pays when the same beginning is likely to come again and long enough to be kept: tools, a
 * conversation, or a long system text (four bytes make about a token). */
static bool is_worth_caching(const struct messages_request *m)
{
    enum { CACHE_MIN = 1024 };

    int64_t least = m->model->cache_min > 0 ? m->model->cache_min : CACHE_MIN;
    bool conversation = m->turns && m->turns->next;
    return m->tools || conversation || (int64_t)text_bytes(m->system.first) / 4 >= least;
}

/* Automatic caching: as the client asks in OpenAI's words or in Anthropic's, or by default. Marks of
 * the client's own put an end to it (chat_settle_cache_marks). */
bool chat_read_caching(struct chat *c)
{
    struct jval own = chat_field(c, STR("cache_control"));
    struct jval options = chat_field(c, STR("prompt_cache_options"));
    struct jval retention = chat_field(c, STR("prompt_cache_retention"));
    c->m->cache = chat_cache_mark(own);
    if (c->m->cache.p)
        return true;
    if (!json_present(options) && !json_present(retention)) {
        if (c->o->auto_cache && is_worth_caching(c->m))
            c->m->cache = minutes;
        return true;
    }
    if (json_str_is(json_get(options, STR("mode")), STR("explicit")))
        return true;
    struct jval ttl = json_get(options, STR("ttl"));
    bool longer = (json_is(ttl, JSON_STRING) && !json_str_is(ttl, STR("5m"))) ||
                  json_str_is(retention, STR("24h"));
    c->m->cache = longer ? hour : minutes;
    return true;
}

static size_t count_marks(const struct block *b)
{
    size_t n = 0;
    for (; b; b = b->next)
        n += b->cache.p != NULL;
    return n;
}

/* Takes marks off from the front until at most keep of n are left. */
static void thin_marks(struct block *b, size_t *n, size_t keep)
{
    for (; b && *n > keep; b = b->next) {
        *n -= b->cache.p != NULL;
        b->cache = STR_NONE;
    }
}

/* Upstream: a mark of an hour may not stand behind one of five minutes. */
static void order_mark(struct chat *c, struct str *cache, bool *short_seen)
{
    bool is_long = str_eq(*cache, hour);
    if (is_long && *short_seen) {
        *cache = minutes;
        chat_drop(c, STR("cache_control.ttl"));
    }
    *short_seen |= cache->p && !is_long;
}

static void order_marks(struct chat *c)
{
    bool short_seen = false;
    for (struct tool *t = c->m->tools; t; t = t->next)
        order_mark(c, &t->cache, &short_seen);
    for (struct block *b = c->m->system.first; b; b = b->next)
        order_mark(c, &b->cache, &short_seen);
    for (struct turn *t = c->m->turns; t; t = t->next)
        for (struct block *b = t->blocks.first; b; b = b->next)
            order_mark(c, &b->cache, &short_seen);
    order_mark(c, &c->m->cache, &short_seen);
}

/* At most four: those that later requests profit from most. */
static void limit_marks(struct chat *c)
{
    struct messages_request *m = c->m;
    size_t in_front = count_marks(m->system.first), in_turns = 0;
    for (const struct tool *t = m->tools; t; t = t->next)
        in_front += t->cache.p != NULL;
    for (const struct turn *t = m->turns; t; t = t->next)
        in_turns += count_marks(t->blocks.first);
    if (in_front + in_turns > 0 && !chat_cache_mark(chat_field(c, STR("cache_control"))).p)
        m->cache = STR_NONE; /* the client marks by itself */
    size_t most = CACHE_MARKS_MAX - (m->cache.p != NULL);
    if (in_front + in_turns <= most)
        return;
    size_t keep_turns = size_min(in_turns, most - (in_front > 0));
    size_t keep_front = most - keep_turns;
    for (struct tool *t = m->tools; t && in_front > keep_front; t = t->next) {
        in_front -= t->cache.p != NULL;
        t->cache = STR_NONE;
    }
    thin_marks(m->system.first, &in_front, keep_front);
    for (struct turn *t = m->turns; t; t = t->next)
        thin_marks(t->blocks.first, &in_turns, keep_turns);
}

void chat_settle_cache_marks(struct chat *c)
{
    limit_marks(c);
    order_marks(c);
}
