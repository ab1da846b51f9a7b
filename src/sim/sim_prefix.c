/* sim_prefix.c - digests of prefixes, signatures over them, and the prompt cache; see sim_prefix.h.
 */
#include "sim/sim_prefix.h"

#include "base/mem.h"
#include "base/text.h"
#include "sim/sim_validate.h"

#define SEED UINT64_C(0x9e3779b97f4a7c15)
#define STEP UINT64_C(0xd6e8feb86659fd93)

static uint64_t mix(uint64_t h, uint64_t w)
{
    h = (h ^ w) * STEP;
    return h ^ h >> 32;
}

uint64_t prefix_bytes(uint64_t h, struct str s)
{
    size_t i = 0;
    uint64_t w;
    for (; i + 8 <= s.n; i += 8) {
        memcpy(&w, s.p + i, 8);
        h = mix(h, w);
    }
    w = 0;
    if (s.n > i)
        memcpy(&w, s.p + i, s.n - i);
    return mix(mix(h, w), s.n);
}

/* ---- canonical digest of a value ---- */

static uint64_t digest(struct jval v, struct arena *a)
{
    uint64_t h = mix(SEED, (uint64_t)json_type(v));
    switch (json_type(v)) {
    case JSON_STRING: return prefix_bytes(h, json_str(v, a));
    case JSON_NUMBER: return prefix_bytes(h, json_raw(v));
    case JSON_ARRAY:
        json_each (e, v)
            h = mix(h, digest(e, a));
        return h;
    case JSON_OBJECT:
        json_each_member (key, v) {
            /* A sum: the order of members does not count. */
            if (!json_str_is(key, STR("cache_control")))
                h += mix(prefix_bytes(SEED, json_str(key, a)), digest(json_value(key), a));
        }
        return mix(SEED, h);
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE: return h;
    }
    UNREACHABLE();
}

/* The digest of {"type":"text","text":s}, which a string stands for. */
static uint64_t digest_text(struct jval s, struct arena *a)
{
    uint64_t type = prefix_bytes(mix(SEED, JSON_STRING), STR("text"));
    uint64_t h = mix(SEED, JSON_OBJECT);
    h += mix(prefix_bytes(SEED, STR("type")), type);
    h += mix(prefix_bytes(SEED, STR("text")), digest(s, a));
    return mix(SEED, h);
}

static uint64_t fold_content(uint64_t h, struct jval content, struct arena *a)
{
    if (json_is(content, JSON_STRING))
        return mix(h, digest_text(content, a));
    json_each (b, content)
        h = mix(h, digest(b, a));
    return h;
}

static uint64_t fold_message(uint64_t h, struct jval message, struct arena *a)
{
    h = prefix_bytes(h, json_str_raw(json_get(message, STR("role"))));
    return fold_content(h, json_get(message, STR("content")), a);
}

uint64_t prefix_before(struct sim_request *q, struct jval message, struct arena *a)
{
    struct prefix *p = &q->prefix;
    if (!p->started) {
        uint64_t h = json_present(q->tools) ? mix(SEED, digest(q->tools, a)) : SEED;
        p->digest = fold_content(h, q->system, a);
        p->next = json_first(q->messages);
        p->started = true;
    }
    while (json_present(p->next) && !(json_present(message) && p->next.i == message.i)) {
        p->digest = fold_message(p->digest, p->next, a);
        p->next = json_next(q->messages, p->next);
    }
    return p->digest;
}

/* ---- signatures ---- */

struct seal { /* what a signature decodes to */
    uint8_t magic[4];
    uint32_t model;
    uint64_t prefix, mac;
};

static const uint8_t magic[4] = {0x12, 0xb4, 0x01, 0x0a};

static uint32_t model_tag(struct str model)
{
    return (uint32_t)prefix_bytes(SEED, model);
}

static uint64_t seal_mac(const struct seal *s, struct str text)
{
    static const struct str key = STR_INIT("the simulator's signing key");
    return prefix_bytes(mix(mix(prefix_bytes(SEED, key), s->model), s->prefix), text);
}

struct str signature_make(struct arena *a, struct str model, uint64_t prefix, struct str text)
{
    struct seal s = {.model = model_tag(model), .prefix = prefix};
    memcpy(s.magic, magic, sizeof(magic));
    s.mac = seal_mac(&s, text);
    return text_base64_encode(a, &s, sizeof(s));
}

static bool seal_open(struct str signature, struct seal *ret)
{
    char bytes[sizeof(*ret) + 1];
    ssize_t n = text_base64_decode(signature, bytes, sizeof(bytes));
    if (n != (ssize_t)sizeof(*ret))
        return false;
    memcpy(ret, bytes, sizeof(*ret));
    return memcmp(ret->magic, magic, sizeof(magic)) == 0;
}

bool signature_is_ours(struct str signature, struct str model)
{
    struct seal s;
    return seal_open(signature, &s) && s.model == model_tag(model);
}

enum signature signature_check(struct str signature, struct str model, uint64_t prefix,
                               bool prefix_matters, struct str text)
{
    struct seal s;
    char any;
    if (!seal_open(signature, &s))
        return signature.n == 0 || text_base64_decode(signature, &any, 1) < 0 ? SIGNATURE_ALTERED
                                                                              : SIGNATURE_FOREIGN;
    if (s.mac != seal_mac(&s, text))
        return SIGNATURE_ALTERED;
    if (s.model != model_tag(model))
        return SIGNATURE_FOREIGN;
    return prefix_matters && s.prefix != prefix ? SIGNATURE_MOVED : SIGNATURE_GOOD;
}

/* ---- walking breakpoints ---- */

static struct jval cache_of(struct jval block)
{
    struct jval cache = json_get(block, STR("cache_control"));
    if (json_is(cache, JSON_OBJECT))
        return cache;
    struct jval inner = json_get(block, STR("content"));
    if (!json_is(inner, JSON_ARRAY))
        return JVAL_NONE;
    json_each (b, inner) {
        cache = json_is(b, JSON_OBJECT) ? json_get(b, STR("cache_control")) : JVAL_NONE;
        if (json_is(cache, JSON_OBJECT))
            return cache;
    }
    return JVAL_NONE;
}

static bool each_block(struct jval content, prefix_fn *fn, void *ctx)
{
    if (json_is(content, JSON_STRING))
        return fn(ctx, content, JVAL_NONE);
    json_each (b, content) {
        if (!fn(ctx, b, cache_of(b)))
            return false;
    }
    return true;
}

bool prefix_each(const struct sim_request *q, prefix_fn *fn, void *ctx)
{
    if (!each_block(q->tools, fn, ctx) || !each_block(q->system, fn, ctx))
        return false;
    json_each (m, q->messages) {
        if (!each_block(json_get(m, STR("content")), fn, ctx))
            return false;
    }
    return true;
}

/* ---- the cache ---- */

enum {
    CACHE_SETS = 256,
    CACHE_WAYS = 4,
    LOOKBACK = 20, /* blocks before a breakpoint at which a cached prefix may end */
};

struct cache_entry {
    uint64_t digest, expires_us;
};

struct prompt_cache {
    struct cache_entry sets[CACHE_SETS][CACHE_WAYS]; /* a set's newest first */
};

struct prompt_cache *prompt_cache_new(void)
{
    return mem_zalloc(sizeof(struct prompt_cache));
}

void prompt_cache_free(struct prompt_cache *pc)
{
    mem_free(pc);
}

static struct cache_entry *set_of(struct prompt_cache *pc, uint64_t h)
{
    return pc->sets[(h >> 20) % CACHE_SETS];
}

static bool cache_has(struct prompt_cache *pc, uint64_t h, uint64_t now_us)
{
    struct cache_entry *set = set_of(pc, h);
    for (size_t i = 0; i < CACHE_WAYS; i++) {
        if (set[i].digest == h && set[i].expires_us > now_us)
            return true;
    }
    return false;
}

static void cache_put(struct prompt_cache *pc, uint64_t h, uint64_t expires_us)
{
    struct cache_entry *set = set_of(pc, h);
    size_t at = 0;
    while (at < CACHE_WAYS - 1 && set[at].digest != h)
        at++;
    memmove(set + 1, set, at * sizeof(*set));
    set[0] = (struct cache_entry){.digest = h, .expires_us = expires_us};
}

struct cache_walk {
    struct prompt_cache *pc;
    const struct sim_request *q;
    struct arena *a;
    uint64_t now_us, digest;
    size_t bytes, all_bytes;
    struct jval last, automatic; /* the last block; top-level cache_control */

    struct {
        uint64_t digest;
        int64_t tokens;
    } seen[LOOKBACK];

    size_t n_seen;
    int64_t covered; /* tokens up to the last breakpoint that were read or will be written */
    struct cache_usage usage;
};

static bool sum_bytes(void *ctx, struct jval block, struct jval cache)
{
    (void)cache;
    struct cache_walk *w = ctx;
    w->all_bytes += json_raw(block).n;
    w->last = block;
    return true;
}

/* The longest prefix ending at one of the last blocks that is cached, in tokens. */
static int64_t cached_tokens(struct cache_walk *w)
{
    for (size_t i = 0; i < size_min(w->n_seen, LOOKBACK); i++) {
        size_t at = (w->n_seen - 1 - i) % LOOKBACK;
        if (cache_has(w->pc, w->seen[at].digest, w->now_us))
            return w->seen[at].tokens;
    }
    return 0;
}

static void at_breakpoint(struct cache_walk *w, struct jval cache, int64_t tokens)
{
    enum { MINUTE_US = 60 * 1000 * 1000 };

    if (tokens < w->q->model->cache_min)
        return;
    int64_t cached = cached_tokens(w);
    if (cached > w->covered) {
        w->usage.read += cached - w->covered;
        w->covered = cached;
    }
    bool hour = json_str_is(json_get(cache, STR("ttl")), STR("1h"));
    if (tokens > w->covered)
        *(hour ? &w->usage.write_1h : &w->usage.write_5m) += tokens - w->covered;
    w->covered = (int64_t)size_max((size_t)tokens, (size_t)w->covered);
    cache_put(w->pc, w->digest, w->now_us + (uint64_t)(hour ? 60 : 5) * MINUTE_US);
}

static bool account(void *ctx, struct jval block, struct jval cache)
{
    struct cache_walk *w = ctx;
    uint64_t h = json_is(block, JSON_STRING) ? digest_text(block, w->a) : digest(block, w->a);
    w->digest = mix(w->digest, h);
    w->bytes += json_raw(block).n;
    double part = (double)w->bytes / (double)size_max(w->all_bytes, 1);
    int64_t tokens = (int64_t)(part * (double)w->q->input_tokens);
    w->seen[w->n_seen % LOOKBACK].digest = w->digest;
    w->seen[w->n_seen % LOOKBACK].tokens = tokens;
    w->n_seen++;
    if (!json_present(cache) && block.i == w->last.i)
        cache = w->automatic;
    if (json_present(cache))
        at_breakpoint(w, cache, tokens);
    return true;
}

struct cache_usage prompt_cache_use(struct prompt_cache *pc, const struct sim_request *q,
                                    uint64_t now_us, struct arena *a)
{
    if (q->breakpoints == 0)
        return (struct cache_usage){0};
    struct cache_walk w = {
        .pc = pc,
        .q = q,
        .a = a,
        .now_us = now_us,
        .digest = prefix_bytes(SEED, q->model->id),
        .automatic = json_get(q->root, STR("cache_control")),
    };
    if (!json_is(w.automatic, JSON_OBJECT))
        w.automatic = JVAL_NONE;
    (void)prefix_each(q, sum_bytes, &w);
    (void)prefix_each(q, account, &w);
    return w.usage;
}
