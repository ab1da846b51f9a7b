/* test_adapt.c - what a refusal in upstream's words takes out of a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "llm/adapt.h"

static const struct model model = {.id = STR_INIT("m"), .max_output = 9};

/* A request with everything in it that can go. */
static struct messages_request full(struct arena *a)
{
    struct messages_request m = {
        .model = &model,
        .temperature = STR("0.5"),
        .top_p = STR("1"),
        .top_k = STR("4"),
        .service_tier = STR("auto"),
        .user_id = STR("u"),
        .thinking = THINKING_ADAPTIVE,
        .effort = EFFORT_HIGH,
        .choice = CHOICE_ANY,
        .no_parallel = true,
        .fast = true,
        .format = STR("{\"type\":\"object\"}"),
        .cache = STR("{\"type\":\"ephemeral\"}"),
    };
    struct tool *t = messages_add_tool(a, &m);
    *t = (struct tool){.name = STR("f"),
                       .schema = STR("{}"),
                       .extras = STR(",\"defer_loading\":true"),
                       .strict = true};
    blocks_add(a, &messages_turn(a, &m, ROLE_USER)->blocks, BLOCK_TEXT)->text = STR("hi");
    blocks_add(a, &messages_turn(a, &m, ROLE_SYSTEM)->blocks, BLOCK_TEXT)->text = STR("late");
    struct turn *said = messages_turn(a, &m, ROLE_ASSISTANT);
    struct block *thought = blocks_add(a, &said->blocks, BLOCK_THINKING);
    thought->text = STR("");
    thought->signature = STR("S");
    blocks_add(a, &said->blocks, BLOCK_TEXT)->text = STR("yes");
    return m;
}

static const struct {
    const char *message, *name;
    uint32_t bit;
    const char *gone; /* stood in the body before, and does not now */
    const char *there;
} cases[] = {
    {"`temperature` is deprecated for this model.", "temperature", CAN_SAMPLE, "temperature", NULL},
    {"top_p: no", "top_p", CAN_SAMPLE, "top_p", NULL},
    {"top_k: no", "top_k", CAN_SAMPLE, "top_k", NULL},
    {"service_tier: Extra inputs are not permitted", "service_tier", 0, "service_tier", NULL},
    {"metadata.user_id: looks like an address", "user", 0, "metadata", NULL},
    {"This model does not support the effort parameter.", "reasoning_effort", 0, "effort", NULL},
    {"adaptive thinking is not supported on this model", "thinking", CAN_THINK_ADAPTIVE, "adaptive",
     NULL},
    {"tool_choice: forcing is not possible", "tool_choice", CAN_FORCE_TOOL, "\"any\"", "\"auto\""},
    {"tools.0.custom.strict: Extra inputs are not permitted", "tools.strict", 0, "strict", NULL},
    {"tools.0.custom.defer_loading: Extra inputs are not permitted", "tools", 0, "defer_loading",
     NULL},
    {"tool_choice.disable_parallel_tool_use: Extra inputs are not permitted", "parallel_tool_calls",
     0, "disable_parallel_tool_use", "\"any\""},
    {"output_config.format: not supported by this model", "response_format", 0, "json_schema",
     "schema, no prose, no code fence:\\n{\\\"type\\\":\\\"object\\\"}"},
    {"Schema is too complex for compilation.", "response_format", 0, "json_schema", NULL},
    {"cache_control.ttl: not supported", "cache_control", 0, "cache_control", NULL},
    {"speed: Extra inputs are not permitted", "speed", 0, "speed", NULL},
    {"messages.2.content.0: Invalid `signature` in `thinking` block", "messages.thinking", 0,
     "signature", "yes"},
    {"`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified",
     "messages.thinking", 0, "signature", "yes"},
    {"messages: Unexpected role \"system\".", "messages.system", CAN_MID_SYSTEM, "\"system\"",
     "<system-reminder>late</system-reminder>"},
    {"This model does not support assistant message prefill.", "messages.prefill", CAN_PREFILL,
     NULL, "Continue."},
};

static bool contains(struct str s, const char *word)
{
    return str_find_str(s, str_c(word)) < s.n;
}

static struct str written(const struct messages_request *m, struct arena *a)
{
    struct rope out;
    rope_init(&out, 1 << 20);
    messages_write(m, &out);
    struct str text = rope_flatten(&out, a);
    rope_done(&out);
    return text;
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a;
        uint32_t bit;
        arena_init(&a);
        struct messages_request m = full(&a);
        struct str before = written(&m, &a);
        struct str name = messages_adapt(&m, str_c(cases[i].message), &a, &bit);
        struct str after = written(&m, &a);
        if (!str_eq(name, str_c(cases[i].name)) || bit != cases[i].bit)
            fail_msg("case %zu: %.*s %u", i, STR_FMT(name), bit);
        if (cases[i].gone && (!contains(before, cases[i].gone) || contains(after, cases[i].gone)))
            fail_msg("case %zu: %.*s", i, STR_FMT(after));
        if (cases[i].there && !contains(after, cases[i].there))
            fail_msg("case %zu: %.*s", i, STR_FMT(after));
        /* and what is gone already cannot go again */
        struct str again = messages_adapt(&m, str_c(cases[i].message), &a, &bit);
        assert_false(str_eq(again, name));
        arena_done(&a);
    }
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    static const char *const messages[] = {"", "messages: at least one message is required",
                                           "max_tokens: 9 > 8", "temperature: no"};
    struct arena a;
    uint32_t bit;
    arena_init(&a);
    struct messages_request m = {.model = &model};
    blocks_add(&a, &messages_turn(&a, &m, ROLE_USER)->blocks, BLOCK_TEXT)->text = STR("hi");
    for (size_t i = 0; i < ARRAY_LEN(messages); i++)
        assert_null(messages_adapt(&m, str_c(messages[i]), &a, &bit).p);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_nothing_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
