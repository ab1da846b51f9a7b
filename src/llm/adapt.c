/* adapt.c - see adapt.h: a table from upstream's words to what can go. */
#include "llm/adapt.h"

#include "wire/jsonw.h"

static bool drop_history_thinking(struct messages_request *m, struct arena *a)
{
    bool had = false;
    for (const struct turn *t = m->turns; t; t = t->next)
        for (const struct block *b = t->blocks.first; b; b = b->next)
            had |= b->type == BLOCK_THINKING || b->type == BLOCK_REDACTED;
    bool manual = m->thinking == THINKING_ENABLED; /* wants its thinking back, so it goes too */
    messages_strip_thinking(m, a);
    if (manual)
        m->thinking = THINKING_NONE_GIVEN;
    return had || manual;
}

static bool drop_thinking(struct messages_request *m, struct arena *a)
{
    (void)a;
    bool had = m->thinking != THINKING_NONE_GIVEN;
    m->thinking = THINKING_NONE_GIVEN;
    m->show_thinking = false;
    return had;
}

static bool drop_effort(struct messages_request *m, struct arena *a)
{
    (void)a;
    bool had = m->effort != 0;
    m->effort = 0;
    return had;
}

static bool drop_value(struct str *value)
{
    bool had = value->p != NULL;
    *value = STR_NONE;
    return had;
}

static bool drop_temperature(struct messages_request *m, struct arena *a)
{
    (void)a;
    return drop_value(&m->temperature);
}

static bool drop_top_p(struct messages_request *m, struct arena *a)
{
    (void)a;
    return drop_value(&m->top_p);
}

static bool drop_top_k(struct messages_request *m, struct arena *a)
{
    (void)a;
    return drop_value(&m->top_k);
}

static bool drop_tier(struct messages_request *m, struct arena *a)
{
    (void)a;
    return drop_value(&m->service_tier);
}

static bool drop_user(struct messages_request *m, struct arena *a)
{
    (void)a;
    return drop_value(&m->user_id);
}

static bool drop_force(struct messages_request *m, struct arena *a)
{
    (void)a;
    bool had = m->choice == CHOICE_ANY || m->choice == CHOICE_TOOL;
    if (had)
        m->choice = CHOICE_AUTO;
    return had;
}

/* Tools, system and turns are not what thinking was bound to any more. */
static bool unbind(struct messages_request *m, bool changed, struct arena *a)
{
    if (changed && m->model->binds_thinking)
        messages_strip_thinking(m, a);
    return changed;
}

static bool drop_strict(struct messages_request *m, struct arena *a)
{
    bool had = false;
    for (struct tool *t = m->tools; t; t = t->next) {
        had |= t->strict;
        t->strict = false;
    }
    return unbind(m, had, a);
}

static bool drop_extras(struct messages_request *m, struct arena *a)
{
    bool had = false;
    for (struct tool *t = m->tools; t; t = t->next)
        had |= drop_value(&t->extras);
    return unbind(m, had, a);
}

static bool drop_one_call(struct messages_request *m, struct arena *a)
{
    (void)a;
    bool had = m->no_parallel;
    m->no_parallel = false;
    return had;
}

static bool drop_fast(struct messages_request *m, struct arena *a)
{
    (void)a;
    bool had = m->fast;
    m->fast = false;
    return had;
}

/* What cannot be enforced is asked for. */
static bool drop_format(struct messages_request *m, struct arena *a)
{
    struct buf schema;
    if (!m->format.p)
        return false;
    buf_init(&schema, 2 * m->format.n + 1);
    bool escaped = jsonw_escape(&schema, m->format);
    if (escaped)
        blocks_add(a, &m->system, BLOCK_TEXT)->text =
            arena_join(a, messages_schema_words, buf_str(&schema));
    buf_done(&schema);
    return unbind(m, escaped && drop_value(&m->format), a);
}

static bool unmark(struct block *b)
{
    bool had = false;
    for (; b; b = b->next)
        had |= drop_value(&b->cache);
    return had;
}

static bool drop_marks(struct messages_request *m, struct arena *a)
{
    (void)a;
    bool had = drop_value(&m->cache);
    for (struct tool *t = m->tools; t; t = t->next)
        had |= drop_value(&t->cache);
    had |= unmark(m->system.first);
    for (struct turn *t = m->turns; t; t = t->next)
        had |= unmark(t->blocks.first);
    return had;
}

static bool drop_prefill(struct messages_request *m, struct arena *a)
{
    if (m->last_turn->role != ROLE_ASSISTANT)
        return false;
    blocks_add(a, &messages_turn(a, m, ROLE_USER)->blocks, BLOCK_TEXT)->text = STR("Continue.");
    return true;
}

/* System turns become what they are where models do not take them: the user's, and marked. */
static bool drop_mid_system(struct messages_request *m, struct arena *a)
{
    bool had = false;
    for (struct turn *t = m->turns; t; t = t->next) {
        if (t->role != ROLE_SYSTEM)
            continue;
        had = true;
        t->role = ROLE_USER;
        for (struct block *b = t->blocks.first; b; b = b->next)
            if (b->type == BLOCK_TEXT)
                b->text = arena_join(a, arena_join(a, STR("<system-reminder>"), b->text),
                                     STR("</system-reminder>"));
    }
    return unbind(m, had, a);
}

/* The first rule whose words stand in the message and that has something to take away. Longer
 * words stand before those that they contain. */
static const struct {
    struct str words, name;
    bool (*drop)(struct messages_request *m, struct arena *a);
    uint32_t bit;
} rules[] = {
    {STR_INIT("`signature` in `thinking`"), STR_INIT("messages.thinking"), drop_history_thinking,
     0},
    {STR_INIT("bound to a different conversation"), STR_INIT("messages.thinking"),
     drop_history_thinking, 0},
    {STR_INIT("`redacted_thinking` block"), STR_INIT("messages.thinking"), drop_history_thinking,
     0},
    {STR_INIT("`thinking` block"), STR_INIT("messages.thinking"), drop_history_thinking, 0},
    {STR_INIT("Expected `thinking`"), STR_INIT("messages.thinking"), drop_history_thinking, 0},
    {STR_INIT("adaptive thinking is not supported"), STR_INIT("thinking"), drop_thinking,
     CAN_THINK_ADAPTIVE},
    {STR_INIT("thinking.type.enabled"), STR_INIT("thinking"), drop_thinking, CAN_THINK_ENABLED},
    {STR_INIT("thinking.type.disabled"), STR_INIT("thinking"), drop_thinking, CAN_THINK_DISABLED},
    {STR_INIT("between_tools"), STR_INIT("thinking"), drop_thinking, CAN_THINK_BETWEEN},
    {STR_INIT("cache_control"), STR_INIT("cache_control"), drop_marks, 0},
    {STR_INIT("disable_parallel_tool_use"), STR_INIT("parallel_tool_calls"), drop_one_call, 0},
    {STR_INIT("tool_choice"), STR_INIT("tool_choice"), drop_force, CAN_FORCE_TOOL},
    {STR_INIT("output_config.format"), STR_INIT("response_format"), drop_format, 0},
    {STR_INIT("output format"), STR_INIT("response_format"), drop_format, 0},
    {STR_INIT("too complex for compilation"), STR_INIT("response_format"), drop_format, 0},
    {STR_INIT("too complex for compilation"), STR_INIT("tools.strict"), drop_strict, 0},
    {STR_INIT("eager_input_streaming"), STR_INIT("tools"), drop_extras, 0},
    {STR_INIT("defer_loading"), STR_INIT("tools"), drop_extras, 0},
    {STR_INIT("input_examples"), STR_INIT("tools"), drop_extras, 0},
    {STR_INIT("allowed_callers"), STR_INIT("tools"), drop_extras, 0},
    {STR_INIT("speed"), STR_INIT("speed"), drop_fast, 0},
    {STR_INIT("effort"), STR_INIT("reasoning_effort"), drop_effort, 0},
    {STR_INIT("prefill"), STR_INIT("messages.prefill"), drop_prefill, CAN_PREFILL},
    {STR_INIT("must end with a user message"), STR_INIT("messages.prefill"), drop_prefill,
     CAN_PREFILL},
    {STR_INIT("role \"system\""), STR_INIT("messages.system"), drop_mid_system, CAN_MID_SYSTEM},
    {STR_INIT("temperature"), STR_INIT("temperature"), drop_temperature, CAN_SAMPLE},
    {STR_INIT("top_p"), STR_INIT("top_p"), drop_top_p, CAN_SAMPLE},
    {STR_INIT("top_k"), STR_INIT("top_k"), drop_top_k, CAN_SAMPLE},
    {STR_INIT("service_tier"), STR_INIT("service_tier"), drop_tier, 0},
    {STR_INIT("metadata"), STR_INIT("user"), drop_user, 0},
    {STR_INIT("strict"), STR_INIT("tools.strict"), drop_strict, 0},
    {STR_INIT("thinking"), STR_INIT("thinking"), drop_thinking, 0},
};

struct str messages_adapt(struct messages_request *m, struct str message, struct arena *a,
                          uint32_t *ret_bit)
{
    *ret_bit = 0;
    m->hashed = NULL;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (str_find_str(message, rules[i].words) >= message.n || !rules[i].drop(m, a))
            continue;
        *ret_bit = rules[i].bit;
        return rules[i].name;
    }
    return STR_NONE;
}
