/* test_sim_validate.c - what the simulator refuses, with its words, and what it takes.
 *
 * A case is a request body and the message that it must get; NULL: it must be accepted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sim/sim_prefix.h"
#include "sim/sim_validate.h"

struct validate_case {
    const char *body;
    const char *message;
};

/* The version that a case is held to; a body that starts with '+' is one for 2026-10-21. */
static void check_case(const struct validate_case *c, struct str betas, bool counting)
{
    bool newer = c->body[0] == '+';
    struct str body = str_skip(str_c(c->body), newer);
    struct json doc;
    struct arena a;
    struct sim_error error = {0};
    json_init(&doc);
    arena_init(&a);
    enum json_error parsed = json_parse(&doc, body);
    if (parsed != JSON_OK)
        fail_msg("no JSON: %s in %s", json_error_text(parsed), c->body);
    struct sim_request q = {
        .version = newer ? SIM_VERSION_NEW : SIM_VERSION_OLD,
        .betas = betas,
        .counting = counting,
    };
    bool ok = sim_validate_request(&doc, &a, &q, &error);
    if (ok != !c->message)
        fail_msg("%s\n  -> %.*s", c->body, STR_FMT(ok ? STR("accepted") : error.message));
    if (!ok && !str_eq(error.message, str_c(c->message)))
        fail_msg("%s\n  -> %.*s\n  != %s", c->body, STR_FMT(error.message), c->message);
    if (!ok)
        assert_int_equal(error.status, str_starts(error.message, STR("model: claude")) ? 404 : 400);
    arena_done(&a);
    json_done(&doc);
}

static void check_all(const struct validate_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_case(&cases[i], STR_NONE, false);
}

#define HAIKU45  "\"model\":\"claude-haiku-4-5\",\"max_tokens\":100"
#define SONNET46 "\"model\":\"claude-sonnet-4-6\",\"max_tokens\":100"
#define SONNET55 "\"model\":\"claude-sonnet-5-5\",\"max_tokens\":100"
#define OPUS55   "\"model\":\"claude-opus-5-5\",\"max_tokens\":100"
#define HI       "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"
#define WEATHER                                                                                    \
    "{\"name\":\"get_weather\",\"input_schema\":{\"type\":\"object\",\"properties\":"              \
    "{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}"
#define USER(content)      "{\"role\":\"user\",\"content\":" content "}"
#define ASSISTANT(content) "{\"role\":\"assistant\",\"content\":" content "}"
#define USE(id)            "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"f\",\"input\":{}}"
#define RESULT(id)         "{\"type\":\"tool_result\",\"tool_use_id\":\"" id "\",\"content\":\"x\"}"
#define TEXT(t)            "{\"type\":\"text\",\"text\":\"" t "\"}"
#define TALK(...)          "{" OPUS55 ",\"messages\":[" __VA_ARGS__ "]}"
#define OLD_TALK(...)      "{" HAIKU45 ",\"messages\":[" __VA_ARGS__ "]}"
#define PNG                                                                                        \
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+"                                \
    "M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
#define IMAGE(type, data)                                                                          \
    "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"" type                   \
    "\",\"data\":\"" data "\"}}"

static void test_accepted(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {"{" HAIKU45 "," HI "}", NULL},
        {"{" HAIKU45 ",\"temperature\":0.2,\"stop_sequences\":[\"\\n\\nHuman:\"],"
         "\"metadata\":{\"user_id\":\"u-3f9c\"}," HI "}",
         NULL},
        {"{" HAIKU45 ",\"top_p\":0.5,\"top_k\":5," HI "}", NULL},
        {"{" OPUS55 ",\"temperature\":1,\"top_p\":0.99," HI "}", NULL},
        {"{" OPUS55 ",\"system\":\"Be brief.\"," HI "}", NULL},
        {"{" OPUS55 ",\"system\":[" TEXT(
             "a") ",{\"type\":\"text\",\"text\":\"b\","
                  "\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}]," HI "}",
         NULL},
        {"{" OPUS55 ",\"stream\":true,\"tools\":[" WEATHER "],\"tool_choice\":{\"type\":\"auto\","
         "\"disable_parallel_tool_use\":true}," HI "}",
         NULL},
        {"{" SONNET46 ",\"tools\":[" WEATHER "],\"tool_choice\":{\"type\":\"tool\",\"name\":"
         "\"get_weather\"}," HI "}",
         NULL},
        {"{" OPUS55 ",\"tools\":[{\"type\":\"web_search_20260318\",\"name\":\"web_search\","
         "\"max_uses\":3,\"allowed_domains\":[\"example.com\"]}]," HI "}",
         NULL},
        {"{" OPUS55 ",\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\"},"
         "{\"type\":\"computer_toolset_20260801\"}]," HI "}",
         NULL},
        {TALK(USER("\"go\"") "," ASSISTANT("[" TEXT("ok") "," USE("a") "," USE("b") "]") "," USER(
             "[" RESULT("b") "," RESULT("a") "," TEXT("more") "]")),
         NULL},
        {TALK(USER("\"go\"") "," ASSISTANT("[" USE("a") "]") "," USER(
             "[{\"type\":\"tool_result\",\"tool_use_id\":\"a\"}]")),
         NULL},
        {TALK(USER("\"a\"") "," USER("\"b\"") "," ASSISTANT("\"c\"") "," ASSISTANT(
             "\"d\"") "," USER("\"e\"")),
         NULL},
        {TALK(USER("[" IMAGE("image/png", PNG) ",{\"type\":\"image\",\"source\":{\"type\":\"url\","
                                               "\"url\":\"https://example.com/cat.jpg\"}}]")),
         NULL},
        {TALK(USER("[{\"type\":\"document\",\"title\":\"t\",\"source\":{\"type\":\"text\","
                   "\"media_type\":\"text/plain\",\"data\":\"Grass.\"}}," TEXT("?") "]")),
         NULL},
        {TALK(USER("[{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":"
                   "\"application/pdf\",\"data\":\"JVBERi0xLjQK\"}}]")),
         NULL},
        {TALK(USER(
             "[{\"type\":\"search_result\",\"source\":\"s\",\"title\":\"t\",\"content\":[" TEXT(
                 "x") "],\"citations\":{\"enabled\":true}}]")),
         NULL},
        {OLD_TALK(USER("\"Give JSON.\"") "," ASSISTANT("\"{\"")), NULL},
        {"{" SONNET55 ",\"thinking\":{\"type\":\"between_tools\"},\"output_config\":{\"effort\":"
         "\"low\"}," HI "}",
         NULL},
        {"{" OPUS55 ",\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"},"
         "\"output_config\":{\"effort\":\"max\"}," HI "}",
         NULL},
        {"{\"model\":\"claude-sonnet-4-5\",\"max_tokens\":2000,\"thinking\":{\"type\":\"enabled\","
         "\"budget_tokens\":1024}," HI "}",
         NULL},
        {"{\"model\":\"claude-opus-5\",\"max_tokens\":9,\"messages\":[" USER("\"a\"") "," ASSISTANT(
             "\"b\"") "," USER("\"c\"") ",{\"role\":\"system\",\"content\":\"d\"}]}",
         NULL},
        {"{" OPUS55 ",\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":"
         "\"object\",\"properties\":{\"a\":{\"anyOf\":[{\"type\":\"string\",\"enum\":[\"x\"]},"
         "{\"type\":\"null\"}]},\"b\":{\"$ref\":\"#/$defs/d\"}},\"$defs\":{\"d\":{\"type\":"
         "\"string\",\"format\":\"email\"}},\"required\":[\"a\",\"b\"],\"additionalProperties\":"
         "false}}}," HI "}",
         NULL},
        {"{" OPUS55 ",\"cache_control\":{\"type\":\"ephemeral\"}," HI "}", NULL},
        {"{\"model\":\"claude-opus-5-5\",\"max_tokens\":0," HI "}", NULL},
        {TALK(USER("\"a\"") "," ASSISTANT(
             "[{\"type\":\"thinking\",\"thinking\":\"\","
             "\"signature\":\"RXJQQg==\"}," TEXT("b") "]") "," USER("\"c\"")),
         NULL},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_fields(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {"[]", "Input should be a valid dictionary"},
        {"{\"max_tokens\":1," HI "}", "model: Field required"},
        {"{\"model\":\"claude-opus-5-5\"," HI "}", "max_tokens: Field required"},
        {"{" OPUS55 "}", "messages: Field required"},
        {"{\"model\":7,\"max_tokens\":1," HI "}", "model: Input should be a valid string"},
        {"{" OPUS55 ",\"n\":1," HI "}", "n: Extra inputs are not permitted"},
        {"{" OPUS55 ",\"mcp_servers\":[]," HI "}", "mcp_servers: Extra inputs are not permitted"},
        {"{\"model\":\"claude-opus-5-5\",\"max_tokens\":\"9\"," HI "}",
         "max_tokens: Input should be a valid integer"},
        {"{\"model\":\"claude-opus-5-5\",\"max_tokens\":-1," HI "}",
         "max_tokens: Input should be greater than or equal to 0"},
        {"{" OPUS55 ",\"stream\":\"yes\"," HI "}", "stream: Input should be a valid boolean"},
        {"{" OPUS55 ",\"messages\":{}}", "messages: Input should be a valid list"},
        {TALK("7"), "messages.0: Input should be an object"},
        {TALK("{\"content\":\"x\"}"), "messages.0.role: Field required"},
        {TALK("{\"role\":\"tool\",\"content\":\"x\"}"),
         "messages.0.role: Input should be 'user', 'assistant' or 'system'"},
        {TALK("{\"role\":\"user\"}"), "messages.0.content: Field required"},
        {TALK("{\"role\":\"user\",\"content\":\"x\",\"name\":\"y\"}"),
         "messages.0.name: Extra inputs are not permitted"},
        {TALK(USER("7")), "messages.0.content: Input should be a valid list"},
        {TALK(USER("[{\"text\":\"x\"}]")), "messages.0.content.0.type: Field required"},
        {TALK(USER("[{\"type\":\"text\"}]")), "messages.0.content.0.text.text: Field required"},
        {TALK(USER("[{\"type\":\"text\",\"text\":\"x\",\"x\":1}]")),
         "messages.0.content.0.text.x: Extra inputs are not permitted"},
        {TALK(USER("[{\"type\":\"tool_result\",\"tool_use_id\":\"a.b\"}]")),
         "messages.0.content.0.tool_result.tool_use_id: String should match pattern "
         "'^[a-zA-Z0-9_-]+$'"},
        {TALK(USER("[{\"type\":\"image_url\"}]")),
         "messages.0.content.0: Input tag 'image_url' found using 'type' does not match any of the "
         "expected tags: 'text', 'tool_use', 'tool_result', 'thinking', 'image', 'document', "
         "'redacted_thinking', 'search_result', 'server_tool_use', 'web_search_tool_result', "
         "'web_fetch_tool_result', 'code_execution_tool_result', "
         "'bash_code_execution_tool_result', 'text_editor_code_execution_tool_result', "
         "'tool_search_tool_result', 'container_upload'"},
        {TALK(USER("[{\"type\":\"text\",\"text\":\"x\",\"cache_control\":{\"type\":\"ephemeral\","
                   "\"ttl\":\"2h\"}}]")),
         "messages.0.content.0.text.cache_control.ephemeral.ttl: Input should be '5m' or '1h'"},
        {"{" OPUS55 ",\"system\":[{\"type\":\"image\"}]," HI "}",
         "system.0: Input tag 'image' found using 'type' does not match any of the expected tags: "
         "'text'"},
        {"{" OPUS55 ",\"stop_sequences\":[\" \"]," HI "}",
         "stop_sequences: each stop sequence must contain non-whitespace"},
        {"{" OPUS55 ",\"stop_sequences\":\"x\"," HI "}",
         "stop_sequences: Input should be a valid list"},
        {"{" OPUS55 ",\"metadata\":{\"user_id\":\"ann@example.com\"}," HI "}",
         "metadata.user_id: user_id appears to contain an email address. Use an opaque "
         "identifier."},
        {"{" OPUS55 ",\"service_tier\":\"flex\"," HI "}",
         "service_tier: Input should be 'auto' or 'standard_only'"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_user_id_length(void **state)
{
    (void)state;
    char body[1024];
    for (int n = 256; n <= 257; n++) {
        char id[300];
        memset(id, 'u', sizeof(id));
        snprintf(body, sizeof(body), "{" OPUS55 ",\"metadata\":{\"user_id\":\"%.*s\"}," HI "}", n,
                 id);
        struct validate_case c = {
            body, n == 256 ? NULL : "metadata.user_id: String should have at most 256 characters"};
        check_case(&c, STR_NONE, false);
    }
}

static void test_models(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {"{\"model\":\"claude-3-5-sonnet-20241022\",\"max_tokens\":1," HI "}",
         "model: claude-3-5-sonnet-20241022"},
        {"{\"model\":\"claude-nothing\",\"max_tokens\":1," HI "}", "model: claude-nothing"},
        {"{\"model\":\"claude-opus-5-5\",\"max_tokens\":200000," HI "}",
         "max_tokens: 200000 > 128000, which is the maximum allowed number of output tokens for "
         "claude-opus-5-5"},
        {"{" OPUS55 ",\"temperature\":0.5," HI "}", "`temperature` is deprecated for this model."},
        {"{" OPUS55 ",\"top_p\":0.5," HI "}", "`top_p` is deprecated for this model."},
        {"{" OPUS55 ",\"top_k\":5," HI "}", "`top_k` is deprecated for this model."},
        {"+{" HAIKU45 ",\"temperature\":1," HI "}", "temperature: Extra inputs are not permitted"},
        {"{" HAIKU45 ",\"temperature\":2," HI "}",
         "temperature: Input should be less than or equal to 1"},
        {"{" HAIKU45 ",\"temperature\":1,\"top_p\":1," HI "}",
         "`temperature` and `top_p` cannot both be specified for this model. Please use only one."},
        {"{" SONNET46 ",\"thinking\":{\"type\":\"adaptive\"},\"temperature\":0.5," HI "}",
         "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode."},
        {"{" SONNET46 ",\"thinking\":{\"type\":\"adaptive\"},\"top_k\":5," HI "}",
         "`top_k` must be unset when thinking is enabled."},
        {"{" SONNET46 ",\"thinking\":{\"type\":\"adaptive\"},\"top_p\":0.9," HI "}",
         "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."},
        {"{" OPUS55 ",\"thinking\":{\"type\":\"disabled\"}," HI "}",
         "\"thinking.type.disabled\" is not supported for this model. Use "
         "\"thinking.type.adaptive\" and \"output_config.effort\" to control thinking behavior."},
        {"{\"model\":\"claude-opus-5-5\",\"max_tokens\":9000,\"thinking\":{\"type\":\"enabled\","
         "\"budget_tokens\":2000}," HI "}",
         "\"thinking.type.enabled\" is not supported for this model. Use "
         "\"thinking.type.adaptive\" and \"output_config.effort\" to control thinking behavior."},
        {"{" HAIKU45 ",\"thinking\":{\"type\":\"adaptive\"}," HI "}",
         "adaptive thinking is not supported on this model"},
        {"{" HAIKU45 ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":10}," HI "}",
         "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"},
        {"{" HAIKU45 ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}," HI "}",
         "`max_tokens` must be greater than `thinking.budget_tokens`."},
        {"{" SONNET55 ",\"thinking\":{\"type\":\"between_tools\",\"display\":\"omitted\"}," HI "}",
         "thinking.between_tools.display: Extra inputs are not permitted"},
        {"{" HAIKU45 ",\"output_config\":{\"effort\":\"low\"}," HI "}",
         "This model does not support the effort parameter."},
        {"{" SONNET46 ",\"output_config\":{\"effort\":\"xhigh\"}," HI "}",
         "output_config.effort: 'xhigh' is not supported for this model. Use one of: 'low', "
         "'medium', 'high', 'max'"},
        {"{\"model\":\"claude-haiku-5-5\",\"max_tokens\":9,\"thinking\":{\"type\":\"disabled\"},"
         "\"output_config\":{\"effort\":\"max\"}," HI "}",
         "output_config.effort: 'max' is not supported with \"thinking.type.disabled\""},
        {"{" HAIKU45 ",\"inference_geo\":\"us\"," HI "}",
         "inference_geo: not supported for this model"},
        {TALK(USER("\"a\"") "," ASSISTANT("\"{\"")),
         "This model does not support assistant message prefill. The conversation must end with a "
         "user message."},
        {OLD_TALK(USER("\"a\"") "," ASSISTANT("\"{ \"")),
         "messages: final assistant content cannot end with trailing whitespace"},
        {OLD_TALK(USER("\"a\"") ",{\"role\":\"system\",\"content\":\"b\"}"),
         "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` "
         "parameter, not \"system\" as an input message role."},
        {"{" OPUS55 ",\"tools\":[" WEATHER "],\"tool_choice\":{\"type\":\"any\"}," HI "}",
         "tool_choice: type \"tool\" and \"any\" are not supported for this model."},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_tools(void **state)
{
    (void)state;
#define TOOLS(t)  "{" SONNET46 ",\"tools\":[" t "]," HI "}"
#define SCHEMA(s) TOOLS("{\"name\":\"f\",\"input_schema\":" s "}")
#define STRICT(s) TOOLS("{\"name\":\"f\",\"strict\":true,\"input_schema\":" s "}")
    static const struct validate_case cases[] = {
        {TOOLS("{\"input_schema\":{\"type\":\"object\"}}"), "tools.0.custom.name: Field required"},
        {TOOLS("{\"name\":\"a b\",\"input_schema\":{\"type\":\"object\"}}"),
         "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"},
        {TOOLS("{\"name\":\"f\"}"), "tools.0.custom.input_schema: Field required"},
        {SCHEMA("{}"), "tools.0.custom.input_schema.type: Field required"},
        {SCHEMA("{\"type\":\"string\"}"),
         "tools.0.custom.input_schema.type: Input should be 'object'"},
        {SCHEMA("{\"type\":\"object\",\"anyOf\":[{}]}"),
         "tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the "
         "top level"},
        {SCHEMA("{\"type\":\"object\",\"properties\":{\"a b\":{}}}"),
         "tools.0.custom.input_schema.properties: Property keys should match pattern "
         "'^[a-zA-Z0-9_.-]{1,64}$'"},
        {SCHEMA("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"str\"}}}"),
         "tools.0.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft "
         "2020-12 (https://json-schema.org/draft/2020-12)."},
        {TOOLS(WEATHER "," WEATHER), "tools: Tool names must be unique."},
        {TOOLS("{\"type\":\"function\",\"function\":{}}"),
         "tools.0: Input tag 'function' found using 'type' does not match any of the expected "
         "tags: "
         "'custom', 'bash_20250124', 'text_editor_20250124', 'text_editor_20250429', "
         "'text_editor_20250728', 'memory_20250818', 'computer_toolset_20260801', "
         "'browser_toolset_20260801', 'web_search_20250305', 'web_search_20260209', "
         "'web_search_20260318', 'web_fetch_20250910', 'web_fetch_20260209', "
         "'web_fetch_20260309', 'web_fetch_20260318', 'code_execution_20250522', "
         "'code_execution_20250825', 'code_execution_20260120', 'code_execution_20260521', "
         "'tool_search_tool_regex', 'tool_search_tool_regex_20251119', 'tool_search_tool_bm25', "
         "'tool_search_tool_bm25_20251119'"},
        {TOOLS("{\"type\":\"web_search_20250305\",\"name\":\"w\",\"allowed_domains\":[],"
               "\"blocked_domains\":[]}"),
         "tools.0.web_search_20250305: Only one of `allowed_domains` and `blocked_domains` may be "
         "specified."},
        {"{" OPUS55 ",\"tool_choice\":{\"type\":\"auto\"}," HI "}",
         "tool_choice may only be specified while providing tools"},
        {"{" SONNET46 ",\"tools\":[" WEATHER
         "],\"tool_choice\":{\"type\":\"tool\",\"name\":\"g\"}," HI "}",
         "Tool 'g' not found in provided tools"},
        {"{" SONNET46 ",\"tools\":[" WEATHER "],\"tool_choice\":{\"type\":\"none\","
         "\"disable_parallel_tool_use\":true}," HI "}",
         "tool_choice.none.disable_parallel_tool_use: Extra inputs are not permitted"},
        {"{\"model\":\"claude-sonnet-4-6\",\"max_tokens\":9000,\"thinking\":{\"type\":\"enabled\","
         "\"budget_tokens\":1024},\"tools\":[" WEATHER "],\"tool_choice\":{\"type\":\"any\"}," HI
         "}",
         "Thinking may not be enabled when tool_choice forces tool use."},
        {STRICT("{\"type\":\"object\",\"properties\":{}}"),
         "tools.0.custom: For 'object' type, 'additionalProperties' must be explicitly set to "
         "false"},
        {STRICT("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"minLength\":1}},"
                "\"additionalProperties\":false}"),
         "tools.0.custom: For 'string' type, property 'minLength' is not supported"},
        {STRICT("{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},"
                "\"additionalProperties\":false}"),
         "tools.0.custom: Recursive schemas are not supported"},
        {STRICT("{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/b\"}},"
                "\"additionalProperties\":false}"),
         "tools.0.custom: Only local `$ref`s to existing definitions are supported"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_turns(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {TALK(""), "messages: at least one message is required"},
        {TALK(ASSISTANT("\"x\"") "," USER("\"y\"")),
         "messages: first message must use the \"user\" role"},
        {TALK(USER("\"\"")),
         "messages.0: all messages must have non-empty content except for the optional final "
         "assistant message"},
        {TALK(USER("\"a\"") "," ASSISTANT("[]") "," USER("\"b\"")),
         "messages.1: all messages must have non-empty content except for the optional final "
         "assistant message"},
        {TALK(USER("\" \\n\"")), "messages: text content blocks must contain non-whitespace text"},
        {TALK(USER("[" TEXT("") "]")), "messages: text content blocks must be non-empty"},
        {TALK(USER("[" TEXT(" ") "]")),
         "messages: text content blocks must contain non-whitespace text"},
        {TALK(USER(
             "[{\"type\":\"text\",\"text\":\"\",\"cache_control\":{\"type\":\"ephemeral\"}}]")),
         "messages.0.content.0.text: cache_control cannot be set for empty text blocks"},
        {"{" OPUS55 ",\"system\":[" TEXT("") "]," HI "}",
         "system: text content blocks must be non-empty"},
        {TALK(USER("[" USE("a") "]")),
         "messages.0.content.0: `tool_use` blocks can only be in `assistant` messages"},
        {TALK(USER("\"a\"") "," ASSISTANT("[" IMAGE("image/png", PNG) "]") "," USER("\"b\"")),
         "messages.1.content.0: `image` blocks can only be in `user` messages"},
        {TALK(USER("\"a\"") "," ASSISTANT("[" USE("t1") "," USE("t2") "]") "," USER(
             "[" RESULT("t1") "]")),
         "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: "
         "t2. "
         "Each `tool_use` block must have a corresponding `tool_result` block in the next "
         "message."},
        {TALK(USER("\"a\"") "," ASSISTANT("[" USE("t1") "]") "," USER(
             "[" TEXT("x") "," RESULT("t1") "]")),
         "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: "
         "t1. "
         "Each `tool_use` block must have a corresponding `tool_result` block in the next "
         "message."},
        {TALK(USER("\"a\"") "," ASSISTANT("[" USE("t1") "]")),
         "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: "
         "t1. "
         "Each `tool_use` block must have a corresponding `tool_result` block in the next "
         "message."},
        {TALK(USER("[" RESULT("t9") "]")),
         "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t9. Each "
         "`tool_result` block must have a corresponding `tool_use` block in the previous message."},
        {TALK(USER("\"a\"") "," ASSISTANT("[" USE("t1") "]") "," USER(
             "[" RESULT("t1") "," RESULT("t1") "]")),
         "messages.2.content.1: each tool_use must have a single result. Found multiple "
         "`tool_result` blocks with id: t1"},
        {TALK(USER("\"a\"") "," ASSISTANT("[" USE("t1") "," USE("t1") "]") "," USER(
             "[" RESULT("t1") "]")),
         "messages.1.content.1: `tool_use` ids must be unique"},
        {TALK(USER("\"a\"") "," ASSISTANT("[" USE("t1") "]") "," USER(
             "[" RESULT("t1") "]") "," ASSISTANT("[" USE("t1") "]") "," USER("[" RESULT("t1") "]")),
         "messages.3.content.0: `tool_use` ids must be unique"},
        {"{\"model\":\"claude-opus-5\",\"max_tokens\":9,\"messages\":[" USER(
             "\"a\"") ",{\"role\":\"system\",\"content\":\"d\"}," USER("\"c\"") "]}",
         "messages: a `system` message must be followed by an `assistant` message or end the "
         "conversation"},
        {"{\"model\":\"claude-sonnet-4-5\",\"max_tokens\":2000,\"thinking\":{\"type\":\"enabled\","
         "\"budget_tokens\":1024},\"messages\":[" USER("\"a\"") "," ASSISTANT(
             "[" USE("t1") "]") "," USER("[" RESULT("t1") "]") "]}",
         "messages.1.content.0: Expected `thinking` or `redacted_thinking`, but found `tool_use`. "
         "When `thinking` is enabled, a final `assistant` message must start with a thinking block "
         "(preceeding the lastmost set of `tool_use` and `tool_result` blocks)."},
        {TALK(USER("\"a\"") "," ASSISTANT("[{\"type\":\"thinking\",\"thinking\":\"\","
                                          "\"signature\":\"?\"}]") "," USER("\"c\"")),
         "messages.1.content.0: Invalid `signature` in `thinking` block"},
        {"+" TALK(USER("[{\"type\":\"text\",\"text\":\"x\",\"citations\":[{}]}]")),
         "messages.0.content.0: `citations` are not permitted on `text` blocks in `user` messages"},
        {TALK(USER("[{\"type\":\"document\",\"citations\":{\"enabled\":true},\"source\":{\"type\":"
                   "\"url\",\"url\":\"https://a/b\"}},{\"type\":\"document\",\"source\":{\"type\":"
                   "\"url\",\"url\":\"https://a/b\"}}]")),
         "messages: citations must be enabled on all or none of the documents"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_media(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {TALK(USER("[" IMAGE("image/bmp", PNG) "]")),
         "messages.0.content.0.image.source.base64.media_type: Input should be 'image/jpeg', "
         "'image/png', 'image/gif' or 'image/webp'"},
        {TALK(USER("[" IMAGE("image/png", "") "]")),
         "messages.0.content.0.image.source.base64: image cannot be empty"},
        {TALK(USER("[" IMAGE("image/png", "a*b=") "]")),
         "messages.0.content.0.image.source.base64: invalid base64 data"},
        {TALK(USER("[" IMAGE("image/png", "aGVsbG8gd29ybGQh") "]")), "Could not process image"},
        {TALK(USER("[" IMAGE("image/jpeg", PNG) "]")),
         "messages.0.content.0.image.source.base64: The image was specified using the image/jpeg "
         "media type, but the image appears to be a image/png image"},
        {TALK(USER("[" IMAGE("image/png", "iVBORw0KGgoAAAANSUhEUgAAJxAAAAAB") "]")),
         "At least one image exceeds the maximum allowed size."},
        {TALK(USER("[{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"http://a/b\"}}]")),
         "messages.0.content.0.image.source.url: Only HTTPS URLs are supported."},
        {TALK(USER("[{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":"
                   "\"application/pdf\",\"data\":\"aGVsbG8h\"}}]")),
         "messages.0.content.0.document.source.base64: The PDF specified was not valid."},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_cache(void **state)
{
    (void)state;
#define MARK(ttl)                                                                                  \
    "{\"type\":\"text\",\"text\":\"x\",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"" ttl   \
    "\"}}"
    static const struct validate_case cases[] = {
        {TALK(USER("[" MARK("1h") "," MARK("1h") "," MARK("5m") "," MARK("5m") "]")), NULL},
        {TALK(USER("[" MARK("5m") "," MARK("5m") "," MARK("5m") "," MARK("5m") "," MARK("5m") "]")),
         "A maximum of 4 blocks with cache_control may be provided. Found 5."},
        {TALK(USER("[" MARK("5m") "," MARK("1h") "]")),
         "cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' "
         "cache_control block. Note that blocks are processed in the following order: `tools`, "
         "`system`, `messages`."},
        {TALK(USER("\"a\"") "," ASSISTANT(
             "[{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":"
             "\"RXJQQg==\",\"cache_control\":{\"type\":\"ephemeral\"}}]") "," USER("\"b\"")),
         "messages.1.content.0.thinking.cache_control: Extra inputs are not permitted"},
    };
    check_all(cases, ARRAY_LEN(cases));
}

static void test_betas(void **state)
{
    (void)state;
    struct validate_case beta = {"{" OPUS55 ",\"mcp_servers\":[{\"type\":\"url\"}]," HI "}", NULL};
    check_case(&beta, STR("oauth-2025-04-20, mcp-client-2025-11-20"), false);
    struct str unknown;
    assert_true(sim_betas_known(STR_NONE, &unknown));
    assert_true(sim_betas_known(STR("mcp-client-2025-11-20,files-api-2025-04-14"), &unknown));
    assert_false(sim_betas_known(STR("files-api-2025-04-14, nonsense"), &unknown));
    assert_true(str_eq(unknown, STR("nonsense")));
}

static void test_counting(void **state)
{
    (void)state;
    static const struct validate_case cases[] = {
        {"{\"model\":\"claude-opus-5-5\"," HI "}", NULL},
        {"{" OPUS55 "," HI "}", "max_tokens: Extra inputs are not permitted"},
        {"{\"model\":\"claude-opus-5-5\",\"tools\":[" WEATHER
         "],\"tool_choice\":{\"type\":\"any\"}," HI "}",
         "tool_choice: type \"tool\" and \"any\" are not supported for this model."},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_case(&cases[i], STR_NONE, true);
}

static void test_prompt_too_long(void **state)
{
    (void)state;

    enum { TEXT_BYTES = 900 * 1000 };
    struct arena a;
    arena_init(&a);
    char *text = arena_alloc(&a, TEXT_BYTES);
    memset(text, 'x', TEXT_BYTES);
    struct str body =
        arena_printf(&a, "{" HAIKU45 ",\"messages\":[" USER("\"%.*s\"") "]}", TEXT_BYTES, text);
    char *terminated = arena_zalloc(&a, body.n + 1);
    memcpy(terminated, body.p, body.n);
    struct validate_case c = {terminated, "prompt is too long: 225008 tokens > 200000 maximum"};
    check_case(&c, STR_NONE, false);
    arena_done(&a);
}

/* A signature holds for its model, its text and, where that counts, its place. */
static void test_signatures(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    struct str model = STR("claude-opus-5-5"), text = STR("thoughts");
    struct str s = signature_make(&a, model, 7, text);
    assert_int_equal(signature_check(s, model, 7, true, text), SIGNATURE_GOOD);
    assert_int_equal(signature_check(s, model, 8, false, text), SIGNATURE_GOOD);
    assert_int_equal(signature_check(s, model, 8, true, text), SIGNATURE_MOVED);
    assert_int_equal(signature_check(s, model, 7, true, STR("others")), SIGNATURE_ALTERED);
    assert_int_equal(signature_check(s, STR("claude-haiku-5-5"), 7, true, text), SIGNATURE_FOREIGN);
    assert_int_equal(signature_check(STR("RXJQQg=="), model, 7, true, text), SIGNATURE_FOREIGN);
    assert_int_equal(signature_check(STR(""), model, 7, true, text), SIGNATURE_ALTERED);
    arena_done(&a);
}

static int tear_down(void **state)
{
    (void)state;
    sim_models_done();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_user_id_length),  cmocka_unit_test(test_models),
        cmocka_unit_test(test_tools),           cmocka_unit_test(test_turns),
        cmocka_unit_test(test_media),           cmocka_unit_test(test_cache),
        cmocka_unit_test(test_betas),           cmocka_unit_test(test_counting),
        cmocka_unit_test(test_prompt_too_long), cmocka_unit_test(test_signatures),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
