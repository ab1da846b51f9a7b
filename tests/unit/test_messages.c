/* test_messages.c - the hub's lists, and the bytes that it writes for upstream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "llm/messages.h"

static const struct model model = {.id = STR_INIT("m"), .max_output = 9};

static void expect(const struct messages_request *m, struct arena *a, const char *want)
{
    struct rope out;
    rope_init(&out, 1 << 20);
    messages_write(m, &out);
    struct str got = rope_flatten(&out, a);
    if (!str_eq(got, str_c(want)))
        fail_msg("%.*s", STR_FMT(got));
    rope_done(&out);
}

static void test_small(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    struct messages_request m = {.model = &model, .max_tokens = 5};
    struct block *b = blocks_add(&a, &messages_turn(&a, &m, ROLE_USER)->blocks, BLOCK_TEXT);
    b->text = STR("a\\n\\u00e9");
    expect(&m, &a,
           "{\"model\":\"m\",\"max_tokens\":5,\"stream\":true,\"messages\":[{\"role\":\"user\","
           "\"content\":[{\"type\":\"text\",\"text\":\"a\\n\\u00e9\"}]}]}");
    arena_done(&a);
}

static void test_turns(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    struct messages_request m = {.model = &model};
    struct turn *user = messages_turn(&a, &m, ROLE_USER);
    assert_ptr_equal(messages_turn(&a, &m, ROLE_USER), user);
    struct turn *assistant = messages_turn(&a, &m, ROLE_ASSISTANT);
    assert_ptr_not_equal(assistant, user);
    assert_ptr_equal(user->next, assistant);
    assert_ptr_not_equal(messages_turn(&a, &m, ROLE_USER), user);
    arena_done(&a);
}

static void test_settings(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    struct str stops[] = {STR("x"), STR("\\\"")};
    struct messages_request m = {
        .model = &model,
        .max_tokens = 5,
        .stops = stops,
        .n_stops = 2,
        .temperature = STR("0.50"),
        .top_p = STR("1e-1"),
        .top_k = STR("4"),
        .user_id = STR("u"),
        .service_tier = STR("auto"),
        .thinking = THINKING_ENABLED,
        .thinking_budget = 1024,
        .show_thinking = true,
        .effort = EFFORT_XHIGH,
        .format = STR("{}"),
        .cache = STR("{\"type\":\"ephemeral\"}"),
        .choice = CHOICE_TOOL,
        .choice_name = STR("t"),
        .no_parallel = true,
    };
    struct tool *t = messages_add_tool(&a, &m);
    t->name = STR("t");
    t->description = STR("d");
    t->schema = STR("{\"type\":\"object\"}");
    t->strict = true;
    t->cache = STR("{}");
    t->extras = STR(",\"defer_loading\":true");
    messages_add_tool(&a, &m)->value = STR("{\"type\":\"bash_20250124\"}");
    blocks_add(&a, &m.system, BLOCK_TEXT)->text = STR("s");
    expect(&m, &a,
           "{\"model\":\"m\",\"max_tokens\":5,\"stream\":true,\"stop_sequences\":[\"x\",\"\\\"\"],"
           "\"temperature\":0.50,\"top_p\":1e-1,\"top_k\":4,\"metadata\":{\"user_id\":\"u\"},"
           "\"service_tier\":\"auto\",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024,"
           "\"display\":\"summarized\"},\"output_config\":{\"effort\":\"xhigh\",\"format\":"
           "{\"type\":\"json_schema\",\"schema\":{}}},"
           "\"cache_control\":{\"type\":\"ephemeral\"},\"tools\":[{\"name\":\"t\","
           "\"description\":\"d\",\"input_schema\":{\"type\":\"object\"},\"strict\":true,"
           "\"cache_control\":{},\"defer_loading\":true},{\"type\":\"bash_20250124\"}],"
           "\"tool_choice\":{\"type\":\"tool\",\"name\":\"t\",\"disable_parallel_tool_use\":true},"
           "\"system\":[{\"type\":\"text\",\"text\":\"s\"}],\"messages\":[]}");
    arena_done(&a);
}

static struct block *add(struct arena *a, struct messages_request *m, enum block_type type)
{
    return blocks_add(a, &messages_turn(a, m, ROLE_ASSISTANT)->blocks, type);
}

static void test_blocks(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    struct messages_request m = {.model = &model};
    struct block *b = add(&a, &m, BLOCK_IMAGE);
    b->source = SOURCE_BASE64;
    b->media_type = STR("image/png");
    b->text = STR("AAAA");
    b->cache = STR("{}");
    b = add(&a, &m, BLOCK_DOCUMENT);
    b->source = SOURCE_FILE;
    b->text = STR("file_1");
    b->title = STR("t");
    b = add(&a, &m, BLOCK_TOOL_USE);
    b->id = STR("i");
    b->name = STR("n");
    b->input = STR("{ \"x\":1.0}");
    b = add(&a, &m, BLOCK_TOOL_RESULT);
    b->id = STR("i");
    b->is_error = true;
    b = add(&a, &m, BLOCK_TOOL_RESULT);
    b->id = STR("j");
    struct blocks inside = {0};
    blocks_add(&a, &inside, BLOCK_TEXT)->text = STR("r");
    b->content = inside.first;
    b = add(&a, &m, BLOCK_THINKING);
    b->text = STR("");
    b->signature = STR("S");
    add(&a, &m, BLOCK_REDACTED)->text = STR("D");
    add(&a, &m, BLOCK_RAW)->value = STR("{\"type\":\"x\"}");
    expect(
        &m, &a,
        "{\"model\":\"m\",\"max_tokens\":0,\"stream\":true,\"messages\":[{\"role\":\"assistant\","
        "\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":"
        "\"image/png\",\"data\":\"AAAA\"},\"cache_control\":{}},{\"type\":\"document\","
        "\"source\":{\"type\":\"file\",\"file_id\":\"file_1\"},\"title\":\"t\"},"
        "{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"n\",\"input\":{ \"x\":1.0}},"
        "{\"type\":\"tool_result\",\"tool_use_id\":\"i\",\"is_error\":true},"
        "{\"type\":\"tool_result\",\"tool_use_id\":\"j\",\"content\":[{\"type\":\"text\","
        "\"text\":\"r\"}]},{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"S\"},"
        "{\"type\":\"redacted_thinking\",\"data\":\"D\"},{\"type\":\"x\"}]}]}");
    arena_done(&a);
}

/* A long span is not copied: the rope points at it. */
static void test_borrowed(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    static char big[100000];
    memset(big, 'x', sizeof(big));
    struct messages_request m = {.model = &model};
    add(&a, &m, BLOCK_TEXT)->text = str_of(big, sizeof(big));
    struct rope out;
    rope_init(&out, 1 << 20);
    messages_write(&m, &out);
    assert_int_equal(out.borrowed, sizeof(big));
    assert_int_equal(out.n_refs, 1);
    assert_ptr_equal(out.refs[0].span.p, big);
    rope_done(&out);
    arena_done(&a);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),    cmocka_unit_test(test_turns),
        cmocka_unit_test(test_settings), cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_borrowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
