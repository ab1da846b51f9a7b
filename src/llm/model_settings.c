/* model_settings.c - what the operator says of models: new ones, and corrections.
 *
 *   {"claude-new-9": {"like": "claude-opus-5-5", "cannot": ["forced_tools"], "max_output": 64000,
 *                     "price": {"input": 4, "output": 20, "cache_write_5m": 5, "cache_write_1h": 8,
 *                               "cache_read": 0.2}}}
 *
 * "like" copies a row and stands first whatever its place; without it an id that is not in the table
 * is taken for the newest of its line. What is said here is not changed by the upstream's own list.
 */
#include "llm/models_int.h"

struct reading {
    struct models *models;
    struct model *row;
    struct str *error;
    struct str id, member;
};

static bool fault(struct reading *r, const char *expected)
{
    *r->error = arena_printf(&r->models->arena, "model \"%.*s\": %.*s is not %s", STR_FMT(r->id),
                             STR_FMT(r->member), expected);
    return false;
}

static const struct {
    struct str name;
    uint32_t bit;
} abilities[] = {
    {STR_INIT("sampling"), CAN_SAMPLE},
    {STR_INIT("forced_tools"), CAN_FORCE_TOOL},
    {STR_INIT("prefill"), CAN_PREFILL},
    {STR_INIT("mid_system"), CAN_MID_SYSTEM},
    {STR_INIT("structured_outputs"), CAN_STRUCTURED},
    {STR_INIT("thinking_adaptive"), CAN_THINK_ADAPTIVE},
    {STR_INIT("thinking_budget"), CAN_THINK_ENABLED},
    {STR_INIT("thinking_disabled"), CAN_THINK_DISABLED},
    {STR_INIT("thinking_between_tools"), CAN_THINK_BETWEEN},
    {STR_INIT("images"), CAN_IMAGE},
    {STR_INIT("pdfs"), CAN_PDF},
    {STR_INIT("fast"), CAN_FAST},
};

struct str model_ability(size_t i, uint32_t *ret_bit)
{
    if (i >= ARRAY_LEN(abilities))
        return STR_NONE;
    *ret_bit = abilities[i].bit;
    return abilities[i].name;
}

static bool read_abilities(struct reading *r, struct jval v, uint32_t *ret)
{
    static const char expected[] = "a list of abilities; ccproxy models prints their names";
    if (!json_is(v, JSON_ARRAY))
        return fault(r, expected);
    *ret = 0;
    json_each (e, v) {
        uint32_t before = *ret;
        for (size_t i = 0; i < ARRAY_LEN(abilities); i++)
            if (json_str_is(e, abilities[i].name))
                *ret |= abilities[i].bit;
        if (*ret == before)
            return fault(r, expected);
    }
    r->row->fixed_can |= *ret;
    return true;
}

static bool read_can(struct reading *r, struct jval v)
{
    uint32_t bits;
    if (!read_abilities(r, v, &bits))
        return false;
    r->row->can |= bits;
    return true;
}

static bool read_cannot(struct reading *r, struct jval v)
{
    uint32_t bits;
    if (!read_abilities(r, v, &bits))
        return false;
    r->row->can &= ~bits;
    return true;
}

static bool read_efforts(struct reading *r, struct jval v)
{
    if (!json_is(v, JSON_ARRAY))
        return fault(r, "a list of low, medium, high, xhigh and max");
    r->row->efforts = 0;
    r->row->fixed_efforts = true;
    json_each (e, v) {
        uint32_t bit = models_effort(json_str_raw(e));
        if (!bit)
            return fault(r, "a list of low, medium, high, xhigh and max");
        r->row->efforts |= bit;
    }
    return true;
}

static bool read_tokens(struct reading *r, struct jval v, int64_t *ret)
{
    int64_t n;
    if (!json_i64(v, &n) || n < 1 || n > 1000000000)
        return fault(r, "a number of tokens");
    *ret = n;
    return true;
}

static bool read_context(struct reading *r, struct jval v)
{
    r->row->fixed_context = true;
    return read_tokens(r, v, &r->row->context);
}

static bool read_max_output(struct reading *r, struct jval v)
{
    r->row->fixed_output = true;
    return read_tokens(r, v, &r->row->max_output);
}

static bool read_thinking(struct reading *r, struct jval v)
{
    static const struct {
        struct str word;
        enum think_default think;
    } words[] = {{STR_INIT("off"), THINK_OFF},
                 {STR_INIT("on"), THINK_ON},
                 {STR_INIT("always"), THINK_ALWAYS}};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!json_str_is(v, words[i].word))
            continue;
        r->row->think = words[i].think;
        return true;
    }
    return fault(r, "off, on or always");
}

/* Dollars per million tokens. */
static bool read_price(struct reading *r, struct jval v)
{
    struct model_price *p = &r->row->price;

    const struct {
        struct str name;
        int64_t *price;
    } prices[] = {
        {STR("input"), &p->input},
        {STR("output"), &p->output},
        {STR("cache_write_5m"), &p->write_5m},
        {STR("cache_write_1h"), &p->write_1h},
        {STR("cache_read"), &p->read},
    };

    if (!json_is(v, JSON_OBJECT))
        return fault(r, "an object of prices");
    r->row->tier_above = 0;
    json_each_member (key, v) {
        int64_t *price = NULL;
        double usd;
        for (size_t i = 0; i < ARRAY_LEN(prices); i++)
            if (json_str_is(key, prices[i].name))
                price = prices[i].price;
        if (!price || !json_f64(json_value(key), &usd) || !(usd >= 0) || usd > 1e6)
            return fault(r, "made of input, output, cache_write_5m, cache_write_1h and cache_read, "
                            "in dollars per million tokens");
        *price = (int64_t)(usd * 1e6 + 0.5);
    }
    return true;
}

static bool read_like(struct reading *r, struct jval v)
{
    (void)r; /* applied before the others */
    (void)v;
    return true;
}

static const struct {
    struct str name;
    bool (*read)(struct reading *r, struct jval v);
} members[] = {
    {STR_INIT("like"), read_like},         {STR_INIT("can"), read_can},
    {STR_INIT("cannot"), read_cannot},     {STR_INIT("efforts"), read_efforts},
    {STR_INIT("context"), read_context},   {STR_INIT("max_output"), read_max_output},
    {STR_INIT("thinking"), read_thinking}, {STR_INIT("price"), read_price},
};

static bool read_member(struct reading *r, struct jval key)
{
    r->member = json_str_raw(key);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (json_str_is(key, members[i].name))
            return members[i].read(r, json_value(key));
    return fault(r, "known here");
}

/* The row that is meant, or a new one. */
static bool find_row(struct reading *r, struct jval description)
{
    struct models *m = r->models;
    struct jval like = json_get(description, STR("like"));
    struct model fresh;
    r->member = STR("its id");
    if (!str_starts(r->id, STR("claude-")) || r->id.n > 64)
        return fault(r, "one that begins with claude-");
    r->row = models_row(m, r->id);
    r->row = r->row ? r->row : models_row_by_alias(m, r->id);
    if (r->row && r->row->lifecycle == MODEL_RETIRED)
        return fault(r, "that of a model which is still there");
    if (r->row && !json_present(like))
        return true;
    fresh = r->row ? *r->row : models_assumed(m, r->id);
    if (json_present(like)) {
        const struct model *from = models_row(m, json_str_raw(like));
        r->member = STR("like");
        if (!from || from->lifecycle == MODEL_RETIRED)
            return fault(r, "the id of a model in the table");
        struct str id = fresh.id, alias = fresh.alias;
        fresh = *from;
        fresh.id = id;
        fresh.alias = alias;
    }
    if (r->row)
        *r->row = fresh;
    else
        r->row = models_row_add(m, &fresh, true);
    return r->row || fault(r, "possible: the table is full");
}

bool models_read_settings(struct models *m, struct str text, struct str *ret_error)
{
    struct json doc;
    json_init(&doc);
    bool ok = json_parse(&doc, text) == JSON_OK && json_is(json_root(&doc), JSON_OBJECT);
    if (!ok)
        *ret_error = STR("not a JSON object of models");
    if (ok) {
        json_each_member (key, json_root(&doc)) {
            struct reading r = {.models = m, .error = ret_error};
            r.id = arena_dup(&m->arena, json_str(key, &m->arena));
            ok = find_row(&r, json_value(key));
            if (ok) {
                json_each_member (member, json_value(key))
                    ok = ok && read_member(&r, member);
            }
            if (!ok)
                break;
        }
    }
    json_done(&doc);
    return ok;
}
