/* test_event.c - reading stream events, and the protocol that they must follow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "llm/event.h"

static const struct {
    const char *data;
    bool ok;
    enum event_type type;
    int64_t index;
    const char *text;
} events[] = {
    {"{\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"text_delta\","
     "\"text\":\"a\\n\"}}",
     true, EVENT_TEXT, 3, "a\\n"},
    {"{\"delta\":{\"partial_json\":\"{\\\"a\",\"type\":\"input_json_delta\"},\"index\":0,"
     "\"type\":\"content_block_delta\"}",
     true, EVENT_JSON, 0, "{\\\"a"},
    {"{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"thinking_delta\","
     "\"thinking\":\"t\"}}",
     true, EVENT_THINKING, 1, "t"},
    {"{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"signature_delta\","
     "\"signature\":\"S\"}}",
     true, EVENT_SIGNATURE, 1, "S"},
    {"{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"citations_delta\","
     "\"citation\":{}}}",
     true, EVENT_CITATION, 1, ""},
    {"{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"new_delta\"}}", true,
     EVENT_UNKNOWN, 1, ""},
    {"{\"type\":\"content_block_delta\",\"index\":1}", true, EVENT_UNKNOWN, 1, ""},
    {"{\"type\":\"content_block_stop\",\"index\":1}", true, EVENT_BLOCK_STOP, 1, ""},
    {"{\"type\":\"content_block_stop\",\"index\":-1}", true, EVENT_BLOCK_STOP, -1, ""},
    {"{\"type\":\"message_stop\"}", true, EVENT_MESSAGE_STOP, -1, ""},
    {"{\"type\":\"ping\"}", true, EVENT_PING, -1, ""},
    {"{\"type\":\"novelty\"}", true, EVENT_UNKNOWN, -1, ""},
    {"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"O\"}}", true,
     EVENT_ERROR, -1, "O"},
    {"{\"type\":\"error\"}", true, EVENT_ERROR, -1, ""},
    {"{\"type\":1}", false, EVENT_UNKNOWN, -1, ""},
    {"{}", false, EVENT_UNKNOWN, -1, ""},
    {"[]", false, EVENT_UNKNOWN, -1, ""},
    {"[DONE]", false, EVENT_UNKNOWN, -1, ""},
    {"", false, EVENT_UNKNOWN, -1, ""},
    {"{\"type\":\"ping\"", false, EVENT_UNKNOWN, -1, ""},
};

static void test_events(void **state)
{
    (void)state;
    struct json doc;
    struct event e;
    json_init(&doc);
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        bool ok = event_parse(&doc, str_c(events[i].data), &e);
        if (ok != events[i].ok || (ok && (e.type != events[i].type || e.index != events[i].index ||
                                          !str_eq(e.text, str_c(events[i].text)))))
            fail_msg("%s", events[i].data);
    }
    json_done(&doc);
}

static void test_blocks(void **state)
{
    (void)state;

    static const struct {
        const char *block;
        enum event_block kind;
        const char *text;
    } cases[] = {
        {"{\"type\":\"text\",\"text\":\"x\"}", EVENT_BLOCK_TEXT, "x"},
        {"{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"n\",\"input\":{}}", EVENT_BLOCK_TOOL_USE,
         ""},
        {"{\"type\":\"thinking\",\"thinking\":\"\"}", EVENT_BLOCK_THINKING, ""},
        {"{\"type\":\"redacted_thinking\",\"data\":\"D\"}", EVENT_BLOCK_REDACTED, "D"},
        {"{\"type\":\"server_tool_use\",\"id\":\"i\"}", EVENT_BLOCK_HIDDEN, ""},
        {"{\"type\":\"web_search_tool_result\"}", EVENT_BLOCK_HIDDEN, ""},
        {"{}", EVENT_BLOCK_HIDDEN, ""},
    };
    struct json doc;
    struct event e;
    json_init(&doc);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b;
        buf_init(&b, 1000);
        buf_printf(&b, "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":%s}",
                   cases[i].block);
        assert_true(event_parse(&doc, buf_str(&b), &e));
        assert_int_equal(e.block, cases[i].kind);
        assert_true(str_eq(e.text, str_c(cases[i].text)));
        buf_done(&b);
    }
    json_done(&doc);
}

static const char start[] =
    "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\",\"usage\":{"
    "\"input_tokens\":10,\"cache_creation_input_tokens\":5,\"cache_read_input_tokens\":null,"
    "\"cache_creation\":{\"ephemeral_1h_input_tokens\":2},\"output_tokens\":1,"
    "\"service_tier\":\"standard\"}}}";
static const char delta[] =
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\",\"stop_sequence\":\"s\","
    "\"stop_details\":{\"category\":\"bio\",\"explanation\":null}},\"usage\":{\"input_tokens\":12,"
    "\"cache_read_input_tokens\":-4,\"output_tokens\":9,\"output_tokens_details\":{"
    "\"thinking_tokens\":3},\"server_tool_use\":{\"web_search_requests\":1}}}";

static void test_usage(void **state)
{
    (void)state;
    struct json doc;
    struct event e;
    struct answer a;
    json_init(&doc);
    answer_init(&a);
    assert_int_equal(usage_prompt_tokens(&a.usage), 0);
    assert_true(event_parse(&doc, str_c(start), &e));
    assert_true(str_eq(e.id, STR("msg_1")) && str_eq(e.model, STR("m")));
    assert_true(str_eq(e.service_tier, STR("standard")));
    assert_true(answer_track(&a, &e));
    assert_int_equal(usage_prompt_tokens(&a.usage), 15);
    assert_true(event_parse(&doc, str_c(delta), &e));
    assert_true(str_eq(e.refusal_category, STR("bio")) && !e.refusal_text.p);
    assert_true(str_eq(e.stop_sequence, STR("s")));
    assert_true(answer_track(&a, &e));
    assert_int_equal(a.stop, STOP_REFUSAL);
    assert_int_equal(a.usage.input, 12);      /* replaced */
    assert_int_equal(a.usage.cache_write, 5); /* kept */
    assert_int_equal(a.usage.cache_write_1h, 2);
    assert_int_equal(a.usage.cache_read, -1); /* null and nonsense are unknown */
    assert_int_equal(a.usage.output, 9);
    assert_int_equal(a.usage.thinking, 3);
    assert_int_equal(a.usage.web_searches, 1);
    assert_int_equal(usage_prompt_tokens(&a.usage), 17);
    json_done(&doc);
}

static void test_stops(void **state)
{
    (void)state;

    static const struct {
        const char *word;
        enum stop_reason stop;
    } cases[] = {
        {"\"end_turn\"", STOP_END_TURN},
        {"\"stop_sequence\"", STOP_SEQUENCE},
        {"\"max_tokens\"", STOP_MAX_TOKENS},
        {"\"model_context_window_exceeded\"", STOP_CONTEXT_FULL},
        {"\"tool_use\"", STOP_TOOL_USE},
        {"\"pause_turn\"", STOP_PAUSE_TURN},
        {"\"refusal\"", STOP_REFUSAL},
        {"\"compaction\"", STOP_OTHER},
        {"null", STOP_NONE},
    };
    struct json doc;
    struct event e;
    json_init(&doc);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b;
        buf_init(&b, 1000);
        buf_printf(&b, "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":%s}}",
                   cases[i].word);
        assert_true(event_parse(&doc, buf_str(&b), &e));
        assert_int_equal(e.stop, cases[i].stop);
        buf_done(&b);
    }
    json_done(&doc);
}

/* One letter per event: S start, t/u/h open a text, tool or hidden block, T text, J input, C close,
 * D message_delta, E end, p ping, ? unknown. Upper-case X marks where the protocol must break. */
static const char *const stories[] = {
    "StTTCuJJCDE", "SDE",     "SDDE",  "SE",     "pSp?tpT?CDE", "ShTJCDE", "X:T",   "X:D",
    "X:E",         "X:SS",    "X:SC",  "X:SJ",   "X:Stt",       "X:StJ",   "X:SuT", "X:StD",
    "X:StE",       "X:StTCT", "X:SDt", "X:SDES", "X:SDEp",      "X:SDEE",
};

static struct event event_of(char letter)
{
    struct event e = {.index = 0, .type = EVENT_UNKNOWN};
    e.usage = (struct usage){-1, -1, -1, -1, -1, -1, -1, 0};
    switch (letter) {
    case 'S': e.type = EVENT_MESSAGE_START; break;
    case 't': e.type = EVENT_BLOCK_START; break;
    case 'u':
        e.type = EVENT_BLOCK_START;
        e.block = EVENT_BLOCK_TOOL_USE;
        break;
    case 'h':
        e.type = EVENT_BLOCK_START;
        e.block = EVENT_BLOCK_HIDDEN;
        break;
    case 'T': e.type = EVENT_TEXT; break;
    case 'J': e.type = EVENT_JSON; break;
    case 'C': e.type = EVENT_BLOCK_STOP; break;
    case 'D': e.type = EVENT_MESSAGE_DELTA; break;
    case 'E': e.type = EVENT_MESSAGE_STOP; break;
    case 'p': e.type = EVENT_PING; break;
    default: break;
    }
    return e;
}

static void test_protocol(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
        bool breaks = stories[i][0] == 'X', ok = true;
        struct answer a;
        answer_init(&a);
        const char *p = stories[i] + (breaks ? 2 : 0);
        for (; *p && ok; p++) {
            struct event e = event_of(*p);
            ok = answer_track(&a, &e);
        }
        if (ok == breaks || *p)
            fail_msg("%s", stories[i]);
        assert_true(breaks || a.state == ANSWER_DONE);
    }
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),   cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_usage),    cmocka_unit_test(test_stops),
        cmocka_unit_test(test_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
