/* test_content.c - events of an answer become the array that upstream takes back; the same from a
 * stream and from an answer in one piece. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "llm/content.h"

#define START(block) "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":" block "}"
#define DELTA(delta) "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":" delta "}"
#define TEXT(s)      DELTA("{\"type\":\"text_delta\",\"text\":\"" s "\"}")
#define INPUT(s)     DELTA("{\"type\":\"input_json_delta\",\"partial_json\":\"" s "\"}")
#define THINK(s)     DELTA("{\"type\":\"thinking_delta\",\"thinking\":\"" s "\"}")
#define SIGN(s)      DELTA("{\"type\":\"signature_delta\",\"signature\":\"" s "\"}")
#define CITE(s)      DELTA("{\"type\":\"citations_delta\",\"citation\":" s "}")
#define TEXT_BLOCK   START("{\"type\":\"text\",\"text\":\"\"}")
#define THINK_BLOCK  START("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
#define CALL_BLOCK                                                                                 \
    START("{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{},\"caller\":{}}")
#define STOP "{\"type\":\"content_block_stop\",\"index\":0}"

static const struct {
    const char *events[8];
    const char *expected; /* NULL: spoiled */
    bool has_thinking;
    const char *call;
} cases[] = {
    {{NULL}, "", false, ""},
    {{TEXT_BLOCK, TEXT("a\\n"), TEXT("\\\"b"), STOP},
     "{\"type\":\"text\",\"text\":\"a\\n\\\"b\"}",
     false,
     ""},
    {{TEXT_BLOCK, STOP}, "", false, ""},
    {{TEXT_BLOCK, TEXT(" \\n"), STOP}, "", false, ""},
    {{TEXT_BLOCK, TEXT("a"), CITE("{\"x\":1}"), CITE("{}"), STOP},
     "{\"type\":\"text\",\"text\":\"a\",\"citations\":[{\"x\":1},{}]}",
     false,
     ""},
    {{THINK_BLOCK, THINK("a"), THINK("b"), SIGN("S"), STOP},
     "{\"type\":\"thinking\",\"thinking\":\"ab\",\"signature\":\"S\"}",
     true,
     ""},
    {{THINK_BLOCK, SIGN("S"), STOP},
     "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"S\"}",
     true,
     ""},
    {{THINK_BLOCK, THINK("a"), STOP}, NULL, true, ""}, /* unsigned: cannot go back */
    {{START("{\"type\":\"redacted_thinking\",\"data\":\"D\"}"), STOP},
     "{\"type\":\"redacted_thinking\",\"data\":\"D\"}",
     true,
     ""},
    {{CALL_BLOCK, STOP, CALL_BLOCK, INPUT("{\\\"a\\\":\\\"\\\\u00"), INPUT("e9\\\"}"), STOP},
     "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}},"
     "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{\"a\":\"\\u00e9\"}}",
     false,
     "toolu_1"},
    {{START("{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{},"
            "\"caller\":{\"type\":\"direct\"}}"),
      INPUT("{\\\"q\\\":1}"), STOP},
     "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{\"q\":1}}",
     false,
     ""},
    {{START("{\"type\":\"server_tool_use\",\"id\":\"s\",\"input\":{\"q\":2}}"), STOP},
     "{\"type\":\"server_tool_use\",\"id\":\"s\",\"input\":{\"q\":2}}",
     false,
     ""},
    {{START("{\"type\":\"web_search_tool_result\",\"tool_use_id\":\"s\",\"content\":[{\"a\":null}],"
            "\"caller\":null}"),
      STOP},
     "{\"type\":\"web_search_tool_result\",\"tool_use_id\":\"s\",\"content\":[{\"a\":null}]}",
     false,
     ""},
    {{START("{\"type\":\"new_kind\"}"), TEXT("x"), STOP}, NULL, false, ""},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct content c;
        struct json doc;
        content_init(&c, 4096);
        json_init(&doc);
        for (size_t k = 0; k < ARRAY_LEN(cases[i].events) && cases[i].events[k]; k++) {
            struct event e;
            assert_true(event_parse(&doc, str_c(cases[i].events[k]), &e));
            content_take(&c, &e);
        }
        struct str got = content_blocks(&c);
        struct str want = cases[i].expected ? str_c(cases[i].expected) : STR_NONE;
        if (!str_eq(got, want) || c.spoiled != (cases[i].expected == NULL))
            fail_msg("case %zu: %.*s", i, STR_FMT(got));
        assert_int_equal(c.has_thinking, cases[i].has_thinking);
        if (!c.spoiled)
            assert_true(str_eq(buf_str(&c.call), str_c(cases[i].call)));
        content_done(&c);
        json_done(&doc);
    }
    assert_int_equal(mem_live(), 0);
}

/* At its bound it gives up and holds nothing any more. */
static void test_bound(void **state)
{
    (void)state;
    struct json doc;
    struct event e;
    json_init(&doc);
    for (size_t max = 1; max < 200; max++) {
        static const char *const events[] = {TEXT_BLOCK, TEXT("0123456789"), STOP,
                                             CALL_BLOCK, INPUT("{}"),        STOP};
        struct content c;
        content_init(&c, max);
        for (size_t k = 0; k < ARRAY_LEN(events); k++) {
            assert_true(event_parse(&doc, str_c(events[k]), &e));
            content_take(&c, &e);
        }
        assert_true(c.spoiled ? !content_blocks(&c).p : content_blocks(&c).n <= max);
        content_clear(&c);
        assert_false(c.spoiled);
        content_done(&c);
    }
    json_done(&doc);
    assert_int_equal(mem_live(), 0);
}

static bool take_whole(void *ctx, const struct event *e)
{
    content_take(ctx, e);
    return true;
}

/* An answer in one piece gives the blocks that it consists of. */
static void test_whole(void **state)
{
    (void)state;
    static const char blocks[] =
        "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"S\"},"
        "{\"type\":\"text\",\"text\":\"a\",\"citations\":[{\"u\":1}]},"
        "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"n\",\"input\":{\"q\":[1, 2]}},"
        "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"a\":\"\\u00e9\\n\"}}";
    struct content whole;
    struct json doc;
    struct arena a;
    arena_init(&a);
    json_init(&doc);
    content_init(&whole, 4096);
    struct str body = arena_printf(&a, "{\"type\":\"message\",\"content\":[%s]}", blocks);
    assert_true(event_replay(&doc, body, take_whole, &whole));
    struct str got = content_blocks(&whole);
    if (!str_eq(got, str_c(blocks)))
        fail_msg("%.*s", STR_FMT(got));
    content_done(&whole);
    json_done(&doc);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
