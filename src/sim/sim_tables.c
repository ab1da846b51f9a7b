/* sim_tables.c - the request bodies of the Messages API as tables; see sim_shape.h for how to read
 * them. A change of the API is a line here.
 *
 * Rules that a table cannot say stand in sim_rules.h, by name beside the shape that they belong to.
 */
#include "sim/sim_rules.h"
#include "sim/sim_shape.h"

#define REQ        MEMBER_REQUIRED
#define NULLABLE   MEMBER_NULLABLE
#define M(s)       STR_INIT(s)
#define MEMBERS(m) .members = (m), .n = ARRAY_LEN(m)
#define CHOICES(m) .kind = SHAPE_STR, .choices = (m), .n = ARRAY_LEN(m)

/* The shapes that have no name of their own. */
static const struct shape str = {.kind = SHAPE_STR};
static const struct shape str_1 = {.kind = SHAPE_STR, .min = 1};
static const struct shape boolean = {.kind = SHAPE_BOOL};
static const struct shape integer = {.kind = SHAPE_INT};
static const struct shape natural = {.kind = SHAPE_INT, .min = 0, .max = INT64_MAX};
static const struct shape positive = {.kind = SHAPE_INT, .min = 1, .max = INT64_MAX};
static const struct shape unit = {.kind = SHAPE_NUM, .min = 0, .max = 1};
static const struct shape dict = {.kind = SHAPE_DICT};
static const struct shape any = {.kind = SHAPE_ANY};
static const struct shape strings = {.kind = SHAPE_LIST, .of = &str};
static const struct shape dicts = {.kind = SHAPE_LIST, .of = &dict};

static bool id_matches(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!rule_is_name_char(s.p[i]))
            return false;
    }
    return s.n > 0;
}

static bool server_id_matches(struct str s)
{
    if (!str_starts(s, STR("srvtoolu_")) || s.n == 9)
        return false;
    return id_matches(s) && str_find(s, '-') == s.n;
}

static bool name_matches(struct str s)
{
    return s.n <= 64 && id_matches(s);
}

static const struct shape tool_id = {
    .kind = SHAPE_STR, .matches = id_matches, .pattern = "^[a-zA-Z0-9_-]+$"};
static const struct shape server_tool_id = {
    .kind = SHAPE_STR, .matches = server_id_matches, .pattern = "^srvtoolu_[a-zA-Z0-9_]+$"};
static const struct shape tool_name = {
    .kind = SHAPE_STR, .matches = name_matches, .pattern = "^[a-zA-Z0-9_-]{1,64}$"};

/* ---- cache_control, citations ---- */

static const struct str ttls[] = {M("5m"), M("1h")};
static const struct shape ttl = {CHOICES(ttls)};
static const struct shape_member ephemeral_m[] = {{M("ttl"), &ttl, NULLABLE, NULL}};
static const struct shape ephemeral = {
    .kind = SHAPE_OBJECT, MEMBERS(ephemeral_m), .rule = rule_count_cache};
static const struct shape_variant cache_v[] = {{M("ephemeral"), &ephemeral, NULL}};
static const struct shape cache = {.kind = SHAPE_TAGGED, .variants = cache_v, .n = 1};
#define CACHE                                                                                      \
    {                                                                                              \
        M("cache_control"), &cache, NULLABLE, NULL                                                 \
    }

static const struct shape_member enabled_m[] = {{M("enabled"), &boolean, 0, NULL}};
static const struct shape citations_switch = {.kind = SHAPE_OBJECT, MEMBERS(enabled_m)};

/* ---- sources ---- */

static const struct str image_types[] = {M("image/jpeg"), M("image/png"), M("image/gif"),
                                         M("image/webp")};
static const struct shape image_type = {CHOICES(image_types)};
static const struct str pdf_types[] = {M("application/pdf")};
static const struct shape pdf_type = {CHOICES(pdf_types)};
static const struct str plain_types[] = {M("text/plain")};
static const struct shape plain_type = {CHOICES(plain_types)};

static const struct shape_member image_base64_m[] = {
    {M("media_type"), &image_type, REQ, NULL},
    {M("data"), &str, REQ, NULL},
};
static const struct shape image_base64 = {
    .kind = SHAPE_OBJECT, MEMBERS(image_base64_m), .rule = rule_image};
static const struct shape_member url_m[] = {{M("url"), &str_1, REQ, NULL}};
static const struct shape url = {.kind = SHAPE_OBJECT, MEMBERS(url_m), .rule = rule_url};
static const struct shape_member file_m[] = {{M("file_id"), &str_1, REQ, NULL}};
static const struct shape file = {.kind = SHAPE_OBJECT, MEMBERS(file_m)};
static const struct shape_variant image_source_v[] = {
    {M("base64"), &image_base64, NULL},
    {M("url"), &url, NULL},
    {M("file"), &file, NULL},
};
static const struct shape image_source = {
    .kind = SHAPE_TAGGED, .variants = image_source_v, .n = ARRAY_LEN(image_source_v)};

static const struct str oversized_names[] = {M("downsize"), M("error")};
static const struct shape oversized = {CHOICES(oversized_names)};
static const struct shape_member transformations_m[] = {
    {M("oversized_image"), &oversized, NULLABLE, NULL}};
static const struct shape transformations = {.kind = SHAPE_OBJECT, MEMBERS(transformations_m)};

/* ---- content blocks ---- */

static const struct shape_member text_m[] = {
    {M("text"), &str, REQ, NULL},
    {M("citations"), &dicts, NULLABLE, NULL},
    CACHE,
};
static const struct shape text = {.kind = SHAPE_OBJECT, MEMBERS(text_m), .rule = rule_text};
static const struct shape_variant texts_v[] = {{M("text"), &text, NULL}};
static const struct shape text_block = {.kind = SHAPE_TAGGED, .variants = texts_v, .n = 1};
static const struct shape text_blocks = {.kind = SHAPE_LIST, .of = &text_block};

static const struct shape_member image_m[] = {
    {M("source"), &image_source, REQ, NULL},
    {M("transformations"), &transformations, NULLABLE, NULL},
    CACHE,
};
static const struct shape image = {
    .kind = SHAPE_OBJECT, MEMBERS(image_m), .rule = rule_count_image};

static const struct shape_variant inner_v[] = {{M("text"), &text, NULL},
                                               {M("image"), &image, NULL}};
static const struct shape inner_block = {.kind = SHAPE_TAGGED, .variants = inner_v, .n = 2};
static const struct shape inner_blocks = {.kind = SHAPE_LIST, .of = &inner_block};
static const struct shape inner_content = {.kind = SHAPE_STR_OR, .of = &inner_blocks};

static const struct shape_member pdf_m[] = {
    {M("media_type"), &pdf_type, REQ, NULL},
    {M("data"), &str, REQ, NULL},
};
static const struct shape pdf = {.kind = SHAPE_OBJECT, MEMBERS(pdf_m), .rule = rule_pdf};
static const struct shape_member plain_m[] = {
    {M("media_type"), &plain_type, REQ, NULL},
    {M("data"), &str, REQ, NULL},
};
static const struct shape plain = {.kind = SHAPE_OBJECT, MEMBERS(plain_m)};
static const struct shape_member source_content_m[] = {{M("content"), &inner_content, REQ, NULL}};
static const struct shape source_content = {.kind = SHAPE_OBJECT, MEMBERS(source_content_m)};
static const struct shape_variant document_source_v[] = {
    {M("base64"), &pdf, NULL},
    {M("text"), &plain, NULL},
    {M("url"), &url, NULL},
    {M("file"), &file, NULL},
    {M("content"), &source_content, NULL},
};
static const struct shape document_source = {
    .kind = SHAPE_TAGGED, .variants = document_source_v, .n = ARRAY_LEN(document_source_v)};
static const struct shape_member document_m[] = {
    {M("source"), &document_source, REQ, NULL},
    {M("title"), &str, NULLABLE, NULL},
    {M("context"), &str, NULLABLE, NULL},
    {M("citations"), &citations_switch, NULLABLE, NULL},
    CACHE,
};
static const struct shape document = {
    .kind = SHAPE_OBJECT, MEMBERS(document_m), .rule = rule_count_document};

static const struct shape_member search_result_m[] = {
    {M("source"), &str, REQ, NULL},
    {M("title"), &str, REQ, NULL},
    {M("content"), &text_blocks, REQ, NULL},
    {M("citations"), &citations_switch, 0, NULL},
    CACHE,
};
static const struct shape search_result = {.kind = SHAPE_OBJECT, MEMBERS(search_result_m)};

static const struct shape_member thinking_m[] = {
    {M("thinking"), &str, REQ, NULL},
    {M("signature"), &str, REQ, NULL},
};
static const struct shape thinking = {.kind = SHAPE_OBJECT, MEMBERS(thinking_m)};
static const struct shape_member redacted_m[] = {{M("data"), &str, REQ, NULL}};
static const struct shape redacted = {.kind = SHAPE_OBJECT, MEMBERS(redacted_m)};

static const struct shape_member tool_use_m[] = {
    {M("id"), &tool_id, REQ, NULL},
    {M("name"), &str_1, REQ, NULL},
    {M("input"), &dict, REQ, NULL},
    {M("caller"), &dict, 0, NULL},
    {M("toolset_name"), &str, NULLABLE, NULL},
    CACHE,
};
static const struct shape tool_use = {.kind = SHAPE_OBJECT, MEMBERS(tool_use_m)};

static const struct shape_member reference_m[] = {{M("tool_name"), &str, REQ, NULL}, CACHE};
static const struct shape reference = {.kind = SHAPE_OBJECT, MEMBERS(reference_m)};
static const struct shape_variant result_v[] = {
    {M("text"), &text, NULL},
    {M("image"), &image, NULL},
    {M("search_result"), &search_result, NULL},
    {M("document"), &document, NULL},
    {M("tool_reference"), &reference, NULL},
};
static const struct shape result_block = {
    .kind = SHAPE_TAGGED, .variants = result_v, .n = ARRAY_LEN(result_v)};
static const struct shape result_blocks = {.kind = SHAPE_LIST, .of = &result_block};
static const struct shape result_content = {.kind = SHAPE_STR_OR, .of = &result_blocks};
static const struct shape_member tool_result_m[] = {
    {M("tool_use_id"), &tool_id, REQ, NULL},
    {M("content"), &result_content, NULLABLE, NULL},
    {M("is_error"), &boolean, NULLABLE, NULL},
    {M("toolset_name"), &str, NULLABLE, NULL},
    CACHE,
};
static const struct shape tool_result = {.kind = SHAPE_OBJECT, MEMBERS(tool_result_m)};

static const struct shape_member server_use_m[] = {
    {M("id"), &server_tool_id, REQ, NULL},
    {M("name"), &str_1, REQ, NULL},
    {M("input"), &dict, REQ, NULL},
    {M("caller"), &dict, 0, NULL},
    CACHE,
};
static const struct shape server_use = {.kind = SHAPE_OBJECT, MEMBERS(server_use_m)};
static const struct shape_member server_result_m[] = {
    {M("tool_use_id"), &server_tool_id, REQ, NULL},
    {M("content"), &any, REQ, NULL},
    {M("caller"), &dict, 0, NULL},
    CACHE,
};
static const struct shape server_result = {.kind = SHAPE_OBJECT, MEMBERS(server_result_m)};
static const struct shape_member upload_m[] = {{M("file_id"), &str_1, REQ, NULL}, CACHE};
static const struct shape upload = {.kind = SHAPE_OBJECT, MEMBERS(upload_m)};

static const struct shape_variant block_v[] = {
    {M("text"), &text, NULL},
    {M("tool_use"), &tool_use, NULL},
    {M("tool_result"), &tool_result, NULL},
    {M("thinking"), &thinking, NULL},
    {M("image"), &image, NULL},
    {M("document"), &document, NULL},
    {M("redacted_thinking"), &redacted, NULL},
    {M("search_result"), &search_result, NULL},
    {M("server_tool_use"), &server_use, NULL},
    {M("web_search_tool_result"), &server_result, NULL},
    {M("web_fetch_tool_result"), &server_result, NULL},
    {M("code_execution_tool_result"), &server_result, NULL},
    {M("bash_code_execution_tool_result"), &server_result, NULL},
    {M("text_editor_code_execution_tool_result"), &server_result, NULL},
    {M("tool_search_tool_result"), &server_result, NULL},
    {M("container_upload"), &upload, NULL},
};
static const struct shape block = {
    .kind = SHAPE_TAGGED, .variants = block_v, .n = ARRAY_LEN(block_v)};
static const struct shape blocks = {.kind = SHAPE_LIST, .of = &block};
static const struct shape content = {.kind = SHAPE_STR_OR, .of = &blocks};
static const struct shape system_prompt = {.kind = SHAPE_STR_OR, .of = &text_blocks};

static const struct str role_names[] = {M("user"), M("assistant"), M("system")};
static const struct shape role = {CHOICES(role_names)};
static const struct shape_member message_m[] = {
    {M("role"), &role, REQ, NULL},
    {M("content"), &content, REQ, NULL},
    {M("clear_at"), &str, NULLABLE, "mid-conversation-system-clear-at"},
    {M("output_config"), &dict, NULLABLE, "mid-conversation-output-config"},
};
static const struct shape message = {.kind = SHAPE_OBJECT, MEMBERS(message_m)};
static const struct shape messages = {.kind = SHAPE_LIST, .of = &message, .max = 100000};

/* ---- tools ---- */

static const struct shape schema = {.kind = SHAPE_DICT, .rule = rule_tool_schema};
static const struct shape_member custom_m[] = {
    {M("name"), &tool_name, REQ, NULL},
    {M("description"), &str, 0, NULL},
    {M("input_schema"), &schema, REQ, NULL},
    {M("strict"), &boolean, NULLABLE, NULL},
    {M("eager_input_streaming"), &boolean, NULLABLE, NULL},
    {M("defer_loading"), &boolean, 0, NULL},
    {M("allowed_callers"), &strings, 0, NULL},
    {M("input_examples"), &dicts, 0, NULL},
    CACHE,
};
static const struct shape custom = {.kind = SHAPE_OBJECT, MEMBERS(custom_m)};

/* What all of Anthropic's own tools take. */
#define OWN_TOOL                                                                                   \
    {M("name"), &tool_name, REQ, NULL}, {M("strict"), &boolean, NULLABLE, NULL},                   \
        {M("defer_loading"), &boolean, 0, NULL}, {M("allowed_callers"), &strings, 0, NULL}, CACHE
static const struct shape_member client_m[] = {
    OWN_TOOL,
    {M("max_characters"), &positive, NULLABLE, NULL},
    {M("input_examples"), &dicts, 0, NULL},
};
static const struct shape client = {.kind = SHAPE_OBJECT, MEMBERS(client_m)};
static const struct shape_member computer_m[] = {
    OWN_TOOL,
    {M("display_width_px"), &positive, REQ, NULL},
    {M("display_height_px"), &positive, REQ, NULL},
    {M("display_number"), &natural, NULLABLE, NULL},
    {M("enable_zoom"), &boolean, 0, NULL},
    {M("input_examples"), &dicts, 0, NULL},
};
static const struct shape computer = {.kind = SHAPE_OBJECT, MEMBERS(computer_m)};
static const struct shape_member toolset_m[] = {
    {M("display_width_px"), &positive, 0, NULL},
    {M("display_height_px"), &positive, 0, NULL},
    {M("configs"), &any, 0, NULL},
    {M("default_config"), &any, 0, NULL},
    CACHE,
};
static const struct shape toolset = {.kind = SHAPE_OBJECT, MEMBERS(toolset_m)};
static const struct shape_member server_m[] = {
    OWN_TOOL,
    {M("max_uses"), &positive, NULLABLE, NULL},
    {M("allowed_domains"), &strings, NULLABLE, NULL},
    {M("blocked_domains"), &strings, NULLABLE, NULL},
    {M("user_location"), &dict, NULLABLE, NULL},
    {M("response_inclusion"), &any, NULLABLE, NULL},
    {M("citations"), &citations_switch, NULLABLE, NULL},
    {M("max_content_tokens"), &positive, NULLABLE, NULL},
    {M("url_sources"), &any, NULLABLE, NULL},
    {M("use_cache"), &boolean, NULLABLE, NULL},
};
static const struct shape server = {
    .kind = SHAPE_OBJECT, MEMBERS(server_m), .rule = rule_server_tool};
static const struct shape_member mcp_toolset_m[] = {
    {M("mcp_server_name"), &str_1, REQ, NULL},
    {M("default_config"), &dict, NULLABLE, NULL},
    {M("configs"), &any, NULLABLE, NULL},
    {M("tools"), &any, NULLABLE, "mcp-client-2026-09-15"},
    CACHE,
};
static const struct shape mcp_toolset = {.kind = SHAPE_OBJECT, MEMBERS(mcp_toolset_m)};
static const struct shape_member advisor_m[] = {
    OWN_TOOL,
    {M("model"), &str_1, REQ, NULL},
    {M("max_uses"), &positive, NULLABLE, NULL},
    {M("caching"), &any, NULLABLE, NULL},
};
static const struct shape advisor = {.kind = SHAPE_OBJECT, MEMBERS(advisor_m)};

static const struct shape_variant tool_v[] = {
    {M("custom"), &custom, NULL},
    {M("bash_20250124"), &client, NULL},
    {M("text_editor_20250124"), &client, NULL},
    {M("text_editor_20250429"), &client, NULL},
    {M("text_editor_20250728"), &client, NULL},
    {M("memory_20250818"), &client, NULL},
    {M("computer_20241022"), &computer, "computer-use-2024-10-22"},
    {M("computer_20250124"), &computer, "computer-use-2025-01-24"},
    {M("computer_20251124"), &computer, "computer-use-2025-11-24"},
    {M("computer_toolset_20260801"), &toolset, NULL},
    {M("browser_toolset_20260801"), &toolset, NULL},
    {M("web_search_20250305"), &server, NULL},
    {M("web_search_20260209"), &server, NULL},
    {M("web_search_20260318"), &server, NULL},
    {M("web_fetch_20250910"), &server, NULL},
    {M("web_fetch_20260209"), &server, NULL},
    {M("web_fetch_20260309"), &server, NULL},
    {M("web_fetch_20260318"), &server, NULL},
    {M("code_execution_20250522"), &server, NULL},
    {M("code_execution_20250825"), &server, NULL},
    {M("code_execution_20260120"), &server, NULL},
    {M("code_execution_20260521"), &server, NULL},
    {M("tool_search_tool_regex"), &server, NULL},
    {M("tool_search_tool_regex_20251119"), &server, NULL},
    {M("tool_search_tool_bm25"), &server, NULL},
    {M("tool_search_tool_bm25_20251119"), &server, NULL},
    {M("advisor_20260301"), &advisor, "advisor-tool-2026-03-01"},
    {M("mcp_toolset"), &mcp_toolset, "mcp-client-2025-11-20"},
    {M("mcp_toolset"), &mcp_toolset, "mcp-client-2026-09-15"},
};
static const struct shape tool = {
    .kind = SHAPE_TAGGED, .variants = tool_v, .n = ARRAY_LEN(tool_v), .default_tag = "custom"};
static const struct shape tools = {.kind = SHAPE_LIST, .of = &tool};

static const struct shape_member choice_m[] = {{M("disable_parallel_tool_use"), &boolean, 0, NULL}};
static const struct shape choice = {.kind = SHAPE_OBJECT, MEMBERS(choice_m)};
static const struct shape_member choice_tool_m[] = {
    {M("name"), &str, REQ, NULL},
    {M("disable_parallel_tool_use"), &boolean, 0, NULL},
};
static const struct shape choice_tool = {.kind = SHAPE_OBJECT, MEMBERS(choice_tool_m)};
static const struct shape choice_none = {.kind = SHAPE_OBJECT};
static const struct shape_variant tool_choice_v[] = {
    {M("auto"), &choice, NULL},
    {M("any"), &choice, NULL},
    {M("tool"), &choice_tool, NULL},
    {M("none"), &choice_none, NULL},
};
static const struct shape tool_choice = {
    .kind = SHAPE_TAGGED, .variants = tool_choice_v, .n = ARRAY_LEN(tool_choice_v)};

/* ---- thinking, output_config ---- */

static const struct str display_names[] = {M("summarized"), M("omitted"), M("updates")};
static const struct shape display = {CHOICES(display_names)};
static const struct str mismatch_names[] = {M("error"), M("drop_block")};
static const struct shape mismatch = {CHOICES(mismatch_names)};
static const struct shape_member binding_m[] = {
    {M("prefix_mismatch_behavior"), &mismatch, NULLABLE, NULL}};
static const struct shape binding = {.kind = SHAPE_OBJECT, MEMBERS(binding_m)};
static const struct shape_member adaptive_m[] = {
    {M("display"), &display, NULLABLE, NULL},
    {M("block_binding"), &binding, NULLABLE, "thinking-binding-controls-2026-08-01"},
};
static const struct shape adaptive = {.kind = SHAPE_OBJECT, MEMBERS(adaptive_m)};
static const struct shape budget = {.kind = SHAPE_INT, .min = 1024, .max = INT64_MAX};
static const struct shape_member enabled_thinking_m[] = {
    {M("budget_tokens"), &budget, REQ, NULL},
    {M("display"), &display, NULLABLE, NULL},
};
static const struct shape enabled_thinking = {.kind = SHAPE_OBJECT, MEMBERS(enabled_thinking_m)};
static const struct shape nothing_more = {.kind = SHAPE_OBJECT};
static const struct shape_variant thinking_mode_v[] = {
    {M("adaptive"), &adaptive, NULL},
    {M("enabled"), &enabled_thinking, NULL},
    {M("disabled"), &nothing_more, NULL},
    {M("between_tools"), &nothing_more, NULL},
};
static const struct shape thinking_mode = {
    .kind = SHAPE_TAGGED, .variants = thinking_mode_v, .n = ARRAY_LEN(thinking_mode_v)};

static const struct str effort_names[] = {M("low"), M("medium"), M("high"), M("xhigh"), M("max")};
static const struct shape effort = {CHOICES(effort_names)};
static const struct shape_member json_schema_m[] = {{M("schema"), &dict, REQ, NULL}};
static const struct shape json_schema = {.kind = SHAPE_OBJECT, MEMBERS(json_schema_m)};
static const struct shape_variant format_v[] = {{M("json_schema"), &json_schema, NULL}};
static const struct shape format = {.kind = SHAPE_TAGGED, .variants = format_v, .n = 1};
static const struct shape_member budget_m[] = {
    {M("total"), &positive, REQ, NULL},
    {M("remaining"), &natural, NULLABLE, NULL},
};
static const struct shape token_budget = {.kind = SHAPE_OBJECT, MEMBERS(budget_m)};
static const struct shape_variant task_budget_v[] = {{M("tokens"), &token_budget, NULL}};
static const struct shape task_budget = {.kind = SHAPE_TAGGED, .variants = task_budget_v, .n = 1};
static const struct shape_member output_config_m[] = {
    {M("effort"), &effort, NULLABLE, NULL},
    {M("format"), &format, NULLABLE, NULL},
    {M("task_budget"), &task_budget, NULLABLE, "task-budgets-2026-03-13"},
};
static const struct shape output_config = {.kind = SHAPE_OBJECT, MEMBERS(output_config_m)};

/* ---- the body ---- */

static const struct shape user_id = {.kind = SHAPE_STR, .max = 256};
static const struct shape_member metadata_m[] = {{M("user_id"), &user_id, NULLABLE, NULL}};
static const struct shape metadata = {
    .kind = SHAPE_OBJECT, MEMBERS(metadata_m), .rule = rule_metadata};
static const struct str tier_names[] = {M("auto"), M("standard_only")};
static const struct shape tier = {CHOICES(tier_names)};
static const struct str speed_names[] = {M("standard"), M("fast")};
static const struct shape speed = {CHOICES(speed_names)};
static const struct shape_member container_m[] = {
    {M("id"), &str, NULLABLE, NULL},
    {M("skills"), &dicts, NULLABLE, NULL},
};
static const struct shape container_object = {.kind = SHAPE_OBJECT, MEMBERS(container_m)};
static const struct shape container = {.kind = SHAPE_STR_OR, .of = &container_object};
static const struct shape_member diagnostics_m[] = {
    {M("previous_message_id"), &str, NULLABLE, NULL}};
static const struct shape diagnostics = {.kind = SHAPE_OBJECT, MEMBERS(diagnostics_m)};

/* Members that count_tokens does not take. */
#define SEND MEMBER_NO_COUNT
static const struct shape_member request_m[] = {
    {M("model"), &str_1, REQ, NULL},
    {M("messages"), &messages, REQ, NULL},
    {M("max_tokens"), &natural, REQ | SEND, NULL},
    {M("system"), &system_prompt, 0, NULL},
    {M("stream"), &boolean, SEND, NULL},
    {M("tools"), &tools, 0, NULL},
    {M("tool_choice"), &tool_choice, 0, NULL},
    {M("thinking"), &thinking_mode, 0, NULL},
    {M("output_config"), &output_config, 0, NULL},
    {M("stop_sequences"), &strings, SEND, NULL},
    {M("metadata"), &metadata, SEND, NULL},
    {M("temperature"), &unit, SEND, NULL},
    {M("top_p"), &unit, SEND, NULL},
    {M("top_k"), &integer, SEND, NULL},
    {M("service_tier"), &tier, SEND, NULL},
    CACHE,
    {M("container"), &container, NULLABLE | SEND, NULL},
    {M("diagnostics"), &diagnostics, NULLABLE | SEND, NULL},
    {M("inference_geo"), &str, NULLABLE | SEND, NULL},
    {M("speed"), &speed, NULLABLE, NULL},
    {M("mcp_servers"), &dicts, 0, "mcp-client-"},
    {M("context_management"), &dict, NULLABLE, "context-management-2025-06-27"},
    {M("compaction"), &dict, NULLABLE, "compact-2026-09-04"},
    {M("fallbacks"), &any, NULLABLE | SEND, "server-side-fallback-"},
    {M("fallback_credit_token"), &any, NULLABLE | SEND, "fallback-credit-"},
    {M("thread"), &dict, NULLABLE | SEND, "message-threads-2026-08-12"},
    {M("billing_policy"), &dict, NULLABLE | SEND, "user-profiles-billing-2026-10-01"},
    {M("output_format"), &format, NULLABLE, "structured-outputs-2025-11-13"},
};
const struct shape shape_request = {.kind = SHAPE_OBJECT, MEMBERS(request_m)};
