/* chat_gen.c - see chat_gen.h. Tables of JSON fragments; the first entry of each is the plainest. */
#include "chat_gen.h"

enum {
    OUT_MAX = 16 * 1024 * 1024,
    MESSAGES_MAX = 14,
    SCHEMA_DEPTH = 3,
};

const char *const chat_gen_models[] = {
    "claude-opus-5",     "gpt-4o",          "claude-sonnet-5-5", "claude-haiku-4-5",
    "claude-sonnet-4-6", "claude-opus-4-5", "claude-opus-4-8",   "claude-fable-5-2",
    "claude-opus-5-5",   "claude-sonnet-5", "claude-haiku-5-5",  "claude-sonnet-4-5",
    "claude-fable-5",    "claude-opus-4-7", "claude-opus-4-1",   "claude-mythos-preview",
};
const uint32_t chat_gen_n_models = ARRAY_LEN(chat_gen_models);

void gen_init_seed(struct gen *g, uint64_t seed)
{
    *g = (struct gen){.state = seed * 2 + 1, .odd = 16};
    buf_init(&g->out, OUT_MAX);
    for (int i = 0; i < 8; i++)
        (void)gen_below(g, 2);
}

void gen_init_bytes(struct gen *g, struct str bytes)
{
    *g = (struct gen){.bytes = bytes, .odd = 16};
    buf_init(&g->out, OUT_MAX);
}

void gen_done(struct gen *g)
{
    buf_done(&g->out);
}

static uint32_t draw(struct gen *g)
{
    if (g->state == 0) {
        if (g->bytes.n == 0)
            return 0;
        uint8_t b = (uint8_t)g->bytes.p[0];
        g->bytes = str_skip(g->bytes, 1);
        return b;
    }
    /* splitmix64 (Steele, Lea, Flood 2014): any seed is a good one */
    uint64_t z = g->state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    z ^= z >> 31;
    return (uint32_t)(z >> 32);
}

uint32_t gen_below(struct gen *g, uint32_t n)
{
    ASSERT(n > 0);
    return draw(g) % n;
}

bool gen_chance(struct gen *g, uint32_t of)
{
    /* Zero, which bytes that ran out read as, is "no". */
    return 255 - draw(g) % 256 < of;
}

static void put(struct gen *g, const char *text)
{
    ASSERT(buf_append(&g->out, str_c(text)));
}

typedef const char *const choices[];
#define PICK(g, ...)                                                                               \
    pick((g), (choices){__VA_ARGS__}, sizeof((choices){__VA_ARGS__}) / sizeof(char *))
#define PUT(g, ...) put((g), PICK((g), __VA_ARGS__))
/* The first with ordinary chance, one of the rest rarely. */
#define PUT_ODD(g, ...)                                                                            \
    put((g), gen_chance((g), (g)->odd) ? PICK((g), __VA_ARGS__) : ((choices){__VA_ARGS__})[0])

static const char *pick(struct gen *g, const char *const *from, size_t n)
{
    return from[gen_below(g, (uint32_t)n)];
}

static void put_text(struct gen *g)
{
    if (gen_chance(g, 40)) {
        PUT(g, "\"\"", "\" \"", "\"\\n\\t \"", "\"\\u0020\"", "\" \\u00a0\"", "\"\\u200b\"");
        return;
    }
    PUT(g, "\"hello\"", "\"What is the weather?\"", "\"caf\\u00e9 \\ud83d\\ude00 \xc3\xa9\"",
        "\"trailing space  \"", "\"line\\n\"", "\"tab\\\\\\t\"",
        "\"quote \\\" and \\\\ slash \\/\"", "\"</system-reminder>\"", "\"{\\\"a\\\":1}\"",
        "\"\\u0000 nul\"", "\"```json\\n{}\\n```\"", "\",\\\"cache_control\\\":{}\"", "\"0\"",
        "\"Continue.\"", "\"(empty)\"");
}

static void put_cache_member(struct gen *g)
{
    if (g->unmarked || !gen_chance(g, 12))
        return;
    put(g, PICK(g, ",\"cache_control\":{\"type\":\"ephemeral\"}",
                ",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}",
                ",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"5m\"}",
                ",\"prompt_cache_breakpoint\":{\"mode\":\"explicit\"}",
                ",\"prompt_cache_breakpoint\":{\"mode\":\"explicit\",\"ttl\":\"30m\"}",
                ",\"cache_control\":null"));
    if (g->native && gen_chance(g, g->odd))
        put(g, ",\"x\":{\"ttl\":1}");
}

#define PNG_DATA  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"
#define PDF_DATA  "JVBERi0xLjQKMSAwIG9iago="
#define TEXT_DATA "aGVsbG8gd8O2cmxk"

static void put_image(struct gen *g)
{
    put(g, "{\"type\":\"image_url\",\"image_url\":");
    PUT_ODD(g, "{\"url\":\"data:image/png;base64," PNG_DATA "\"}",
            "{\"url\":\"https://example.com/a.png\",\"detail\":\"low\"}",
            "\"https://example.com/b.pdf?x=1\"", "{\"url\":\"HTTPS://example.com/a\\u0020b\"}",
            "{\"url\":\"data:image/jpg;name=a;base64,/9j/4GFiY2RlZmdo\"}",
            "{\"url\":\"data:;base64,R0lGODlhAQABAAAAAA\"}",
            "{\"url\":\"data:image/webp;base64,UklGRgEC\\nAwRXRUJQVlA4IA==\"}",
            "{\"url\":\"data:application/pdf;base64," PDF_DATA "\"}",
            "{\"url\":\"data:image/png;base64,\\/9j_4GFiY2RlZmdo\"}",
            "{\"url\":\"data:image/png;base64,/9j_4GFiY2RlZmdo\"}",
            "{\"url\":\"data:image/png;base64,/9j/4GFiY2Rl====\"}",
            "{\"url\":\"data:image/png;base64,/9j/4GF=iY2RlZmdo\"}",
            "{\"url\":\"data:image/png;base64,/9j/4GF\xc3\xa9Y2Rlmdo\"}",
            "{\"url\":\"http://example.com/a.png\"}", "{\"url\":\"https://\"}",
            "{\"url\":\"https://?q\"}", "{}");
    put_cache_member(g);
    put(g, "}");
}

static void put_file(struct gen *g)
{
    put(g, "{\"type\":\"file\",\"file\":");
    PUT_ODD(
        g, "{\"filename\":\"a.pdf\",\"file_data\":\"data:application/pdf;base64," PDF_DATA "\"}",
        "{\"file_data\":\"" PDF_DATA "\"}", "{\"filename\":\"\",\"file_data\":\"" PDF_DATA "\"}",
        "{\"filename\":\"a.txt\",\"file_data\":\"data:text/plain;base64," TEXT_DATA "\"}",
        "{\"filename\":\" \",\"file_data\":\"data:text/csv;base64," TEXT_DATA "\"}",
        "{\"filename\":\"a\\u0000\",\"file_data\":\"data:application/json;base64," TEXT_DATA "\"}",
        "{\"file_data\":\"data:image/png;base64," PNG_DATA "\"}",
        "{\"file_data\":\"data:text/plain;base64,IA==\"}", "{\"file_id\":\"file_011abc\"}",
        "{\"file_id\":\"file-abc\"}", "{\"file_id\":\"file_\"}", "{}");
    put_cache_member(g);
    put(g, "}");
}

static void put_text_part(struct gen *g)
{
    put(g, "{\"type\":\"text\",\"text\":");
    put_text(g);
    put_cache_member(g);
    put(g, "}");
}

static void put_native_part(struct gen *g)
{
    PUT(g,
        "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":"
        "\"" PNG_DATA "\"}}",
        "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/"
        "plain\",\"data\":"
        "\"a\"}}",
        "{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://example.com/x.png\"},"
        "\"cache_control\":{\"type\":\"ephemeral\"}}",
        "{\"type\":\"search_result\",\"source\":\"s\",\"title\":\"t\",\"content\":[{\"type\":"
        "\"text\","
        "\"text\":\"x\"}]}");
}

/* Content of a message: null, a string, or parts. */
static void put_content(struct gen *g, bool media, bool nullable)
{
    if (nullable && gen_chance(g, 20)) {
        PUT_ODD(g, "null", "[]", "[null]");
        return;
    }
    if (!gen_chance(g, 90)) {
        put_text(g);
        return;
    }
    put(g, "[");
    uint32_t n = gen_below(g, 4);
    for (uint32_t i = 0; i < n; i++) {
        put(g, i ? "," : "");
        uint32_t kind = media ? gen_below(g, 8) : 0;
        if (kind == 5)
            put_image(g);
        else if (kind == 6)
            put_file(g);
        else if (kind == 7 && g->native)
            put_native_part(g);
        else
            put_text_part(g);
    }
    put(g, "]");
}

/* ---- tools ---- */

static void put_tool_name(struct gen *g)
{
    PUT_ODD(g, "\"get_weather\"", "\"sh\"", "\"x.y\"", "\"x-y\"", "\"json\"", "\"web_search\"",
            "\"\xe5\xa4\xa9\xe6\xb0\x97\"", "\"a b\"", "\"\"", "\"x_y\"", "\"\\u0078.y\"",
            "\"a_name_that_is_much_longer_than_the_sixty_four_characters_that_are_allowed_there\"");
}

static void put_schema(struct gen *g, uint32_t depth);

static void put_property_name(struct gen *g)
{
    if (gen_chance(g, g->odd))
        PUT(g, "\"na me\"", "\"\xc3\xa9\"", "\"\"", "\"x\\\"y\"", "\"$ref\"");
    else
        PUT_ODD(g, "\"city\"", "\"a\"", "\"b\"", "\"type\"", "\"properties\"", "\"required\"");
}

static void put_members(struct gen *g, uint32_t depth)
{
    put(g, "\"properties\":{");
    uint32_t n = gen_below(g, 4) + (gen_chance(g, 6) ? 12 : 0);
    for (uint32_t i = 0; i < n; i++) {
        put(g, i ? "," : "");
        if (i == 0)
            put_property_name(g);
        else
            ASSERT(buf_printf(&g->out, "\"p%u\"", i));
        put(g, ":");
        put_schema(g, depth + 1);
    }
    put(g, "}");
    if (gen_chance(g, 128))
        PUT(g, ",\"required\":[\"p1\"]", ",\"required\":[]",
            ",\"required\":[\"city\",\"p1\",\"p2\"]", ",\"required\":[\"absent\"]",
            ",\"required\":[\"city\",\"city\"]");
    if (gen_chance(g, 128))
        PUT(g, ",\"additionalProperties\":false", ",\"additionalProperties\":true",
            ",\"additionalProperties\":{\"type\":\"string\"}", ",\"additionalProperties\":{}");
    if (gen_chance(g, 30))
        PUT(g, ",\"$defs\":{\"t\":{\"type\":\"string\"}}",
            ",\"$defs\":{\"t\":{\"type\":\"object\",\"properties\":{\"t\":{\"$ref\":\"#/$defs/"
            "t\"}}}}",
            ",\"definitions\":{\"t\":{\"type\":\"integer\"}}",
            ",\"patternProperties\":{\"^x\":{\"type\":\"string\"}}", ",\"minProperties\":1",
            ",\"$schema\":\"http://json-schema.org/draft-07/schema#\"", ",\"title\":\"T\"",
            ",\"if\":{\"required\":[\"a\"]},\"then\":{\"required\":[\"b\"]}");
}

/* One keyword of an old draft, for "none", or of a wrong kind. */
static void put_odd_keyword(struct gen *g)
{
    if (gen_chance(g, g->odd / 4))
        PUT(g, "\"required\":null,", "\"enum\":null,", "\"description\":null,", "\"items\":null,",
            "\"minimum\":1,\"exclusiveMinimum\":true,", "\"exclusiveMaximum\":false,",
            "\"items\":[{\"type\":\"string\"}],\"additionalItems\":{\"type\":[\"string\"]},",
            "\"items\":[],", "\"$defs\":null,", "\"anyOf\":null,");
    if (gen_chance(g, g->odd / 8))
        PUT(g, "\"required\":true,", "\"if\":null,\"then\":1,", "\"description\":1,",
            "\"enum\":\"a\",", "\"minLength\":-1,", "\"items\":1,", "\"anyOf\":[],",
            "\"anyOf\":[null],", "\"title\":{},", "\"multipleOf\":0,", "\"$defs\":{\"a\":1},",
            "\"not\":\"a\",", "\"pattern\":[],");
}

static void put_scalar_schema(struct gen *g)
{
    if (gen_chance(g, 12)) {
        PUT(g, "{\"type\":[\"string\",\"null\"]}", "{\"type\":[\"integer\",\"string\"]}");
        return;
    }
    PUT(g, "{\"type\":\"string\"}", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":9}",
        "{\"type\":\"string\",\"enum\":[\"a\",\"b\"]}", "{\"type\":\"boolean\",\"default\":true}",
        "{\"type\":\"number\",\"multipleOf\":0.5}", "{\"const\":1}", "{\"enum\":[1,null]}", "{}",
        "{\"description\":\"d\"}",
        "{\"type\":\"string\",\"pattern\":\"^(?=x)a+$\",\"minLength\":2}",
        "{\"type\":\"string\",\"format\":\"date-time\"}",
        "{\"type\":\"string\",\"format\":\"odd\"}", "{\"$ref\":\"#/$defs/t\"}", "{\"$ref\":\"#\"}",
        "{\"$ref\":\"http://example.com/x\"}", "{\"$ref\":\"#/definitions/t\"}",
        "{\"type\":\"null\"}", "{\"type\":\"string\",\"nullable\":true}",
        "{\"not\":{\"type\":\"string\"}}", "{\"type\":\"object\"}", "{\"type\":null}", "true",
        "{\"type\":\"array\"}");
}

static void put_union(struct gen *g, uint32_t depth)
{
    put(g, PICK(g, "{\"anyOf\":[", "{\"oneOf\":[", "{\"allOf\":[",
                "{\"type\":\"object\",\"anyOf\":["));
    uint32_t n = 1 + gen_below(g, 3);
    for (uint32_t i = 0; i < n; i++) {
        put(g, i ? "," : "");
        put_schema(g, depth + 1);
    }
    put(g, "]}");
}

static void put_schema(struct gen *g, uint32_t depth)
{
    uint32_t kind = gen_below(g, depth == 0 ? 4 : 8);
    if (depth >= SCHEMA_DEPTH) {
        put_scalar_schema(g);
    } else if (kind == 0 || kind == 1 || (depth == 0 && !gen_chance(g, 60))) {
        put(g, "{\"type\":\"object\",");
        put_odd_keyword(g);
        put_members(g, depth);
        put(g, "}");
    } else if (kind == 2) {
        put_union(g, depth);
    } else if (kind == 3 && depth == 0) {
        PUT(g, "{}", "{\"properties\":{\"a\":{\"type\":\"string\"}}}", "{\"type\":\"array\"}",
            "{\"type\":[\"object\",\"null\"],\"properties\":{}}", "{\"type\":\"object\"}",
            "{\"type\":\"object\",\"properties\":null}", "{\"properties\":[]}",
            "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":"
            "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}}}");
    } else if (kind == 4) {
        put(g, "{\"type\":\"array\",\"items\":");
        put_schema(g, depth + 1);
        PUT(g, "}", ",\"minItems\":1}", ",\"minItems\":2,\"maxItems\":3,\"uniqueItems\":true}");
    } else {
        put_scalar_schema(g);
    }
}

/* The i-th definition; two of one name would be refused. */
static void put_definition(struct gen *g, uint32_t i, bool strict)
{
    static const char *const names[] = {"\"get_weather\"", "\"sh\"", "\"x.y\"", "\"json\"",
                                        "\"web_search\""};
    put(g, "{\"name\":");
    if (gen_chance(g, g->odd / 4))
        put_tool_name(g);
    else
        put(g, names[i % ARRAY_LEN(names)]);
    if (gen_chance(g, 128)) {
        put(g, ",\"description\":");
        put_text(g);
    }
    if (gen_chance(g, 200)) {
        put(g, ",\"parameters\":");
        put_schema(g, 0);
    }
    if (strict && gen_chance(g, 80))
        PUT(g, ",\"strict\":true", ",\"strict\":false", ",\"strict\":null");
    put(g, "}");
}

static void put_custom_tool(struct gen *g)
{
    put(g, "{\"type\":\"custom\",\"custom\":{\"name\":\"apply_patch\"");
    PUT(g, "", ",\"description\":\"d\"", ",\"format\":{\"type\":\"text\"}",
        ",\"format\":{\"type\":\"grammar\",\"grammar\":{\"syntax\":\"lark\",\"definition\":\"start:"
        " "
        "\\\"a\\\"\"}}");
    put(g, "}}");
}

static void put_tool(struct gen *g, uint32_t i)
{
    uint32_t kind = gen_below(g, 8);
    if (kind == 6 && i == 0) {
        put_custom_tool(g);
        return;
    }
    if (kind == 7 && g->native) {
        PUT(g, "{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}",
            "{\"type\":\"bash_20250124\",\"name\":\"bash\"}",
            "{\"type\":\"computer_20251124\",\"name\":\"computer\",\"display_width_px\":9,"
            "\"display_height_px\":9}");
        return;
    }
    put(g, "{\"type\":\"function\",\"function\":");
    put_definition(g, i, true);
    put_cache_member(g);
    if (gen_chance(g, 6))
        PUT(g, ",\"defer_loading\":true", ",\"eager_input_streaming\":true",
            ",\"allowed_callers\":[\"direct\"]", ",\"eager_input_streaming\":\"no\"",
            ",\"allowed_callers\":\"direct\"", ",\"input_examples\":[{}]",
            ",\"input_examples\":[1]");
    put(g, "}");
}

static void put_choice(struct gen *g)
{
    if (!gen_chance(g, 110))
        return;
    put(g, ",\"tool_choice\":");
    PUT(g, "\"auto\"", "\"required\"", "\"none\"",
        "{\"type\":\"function\",\"function\":{\"name\":\"get_weather\"}}", "\"any\"",
        "{\"type\":\"function\",\"name\":\"get_weather\"}",
        "{\"type\":\"custom\",\"custom\":{\"name\":\"apply_patch\"}}",
        "{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[{\"type\":"
        "\"function\",\"function\":{\"name\":\"get_weather\"}}]}}",
        "{\"type\":\"allowed_tools\",\"mode\":\"required\",\"tools\":[{\"type\":\"function\","
        "\"name\":\"get_weather\"}]}",
        "{\"type\":\"function\",\"function\":{\"name\":\"x.y\"}}",
        "{\"type\":\"auto\",\"disable_parallel_tool_use\":true}", "{\"type\":\"any\"}", "null");
}

void chat_gen_tools(struct gen *g)
{
    uint32_t n = gen_below(g, 5);
    g->legacy = gen_chance(g, 20);
    put(g, g->legacy ? ",\"functions\":[" : ",\"tools\":[");
    for (uint32_t i = 0; i < n; i++) {
        put(g, i ? "," : "");
        if (g->legacy)
            put_definition(g, i, false);
        else
            put_tool(g, i);
    }
    put(g, "]");
    if (g->legacy && gen_chance(g, 100))
        PUT(g, ",\"function_call\":\"auto\"", ",\"function_call\":\"none\"",
            ",\"function_call\":{\"name\":\"get_weather\"}");
    else if (!g->legacy)
        put_choice(g);
    if (gen_chance(g, 50))
        PUT(g, ",\"parallel_tool_calls\":false", ",\"parallel_tool_calls\":true");
    if (gen_chance(g, 12))
        PUT(g, ",\"web_search_options\":{}",
            ",\"web_search_options\":{\"search_context_size\":\"low\",\"user_location\":{\"type\":"
            "\"approximate\",\"approximate\":{\"city\":\"Paris\",\"country\":\"FR\"}}}",
            ",\"web_search_options\":{\"user_location\":{\"approximate\":{\"country\":\"\"}}}");
}

/* ---- messages ---- */

static void put_arguments(struct gen *g)
{
    PUT_ODD(g, "\"{\\\"city\\\":\\\"Paris\\\"}\"", "\"\"", "\"{}\"", "\" {\\\"a\\\" : 1.0}\\n\"",
            "\"{\\\"city\\\":\\\"Par\"", "\"[1,2]\"", "\"null\"", "null", "{\"a\":1}",
            "\"{\\\"a\\\":1,\\\"a\\\":2}\"", "\"{\\\"a\\\":\\\"\\\\u00e9\\\\n\\\"}\"",
            "\"{\\\"a\\\":1e400}\"", "\"{\\\"\\\\u0000\\\":1}\"",
            "\"{\\\"a\\\":\\\"\\\\ud800\\\"}\"");
}

static void note_id(struct gen *g, const char *id)
{
    if (g->n_open < GEN_OPEN_MAX)
        (void)snprintf(g->open[g->n_open++], GEN_ID_MAX, "%s", id);
}

static void put_new_id(struct gen *g)
{
    char id[GEN_ID_MAX];
    if (gen_chance(g, 60))
        (void)snprintf(
            id, sizeof(id), "%s",
            PICK(g, "\"call_0\"", "\"call_0_2\"", "\"a.b\"", "\"\"", "\"a b\"",
                 "\"functions.get_weather:0\"", "\"\xc3\xa9\"", "\"call_0\"", "\"call_fn_1\"",
                 "\"t_0\"", "\"\\u0061\"",
                 "\"call_0123456789012345678901234567890123456789012345678901234567890\""));
    else
        (void)snprintf(id, sizeof(id), "\"call_%u\"", ++g->n_calls);
    note_id(g, id);
    put(g, id);
}

static void put_call(struct gen *g)
{
    bool custom = gen_chance(g, 20);
    put(g, "{\"id\":");
    put_new_id(g);
    if (custom) {
        put(g, ",\"type\":\"custom\",\"custom\":{\"name\":\"apply_patch\",\"input\":");
        put_text(g);
    } else {
        put(g, ",\"type\":\"function\",\"function\":{\"name\":");
        put_tool_name(g);
        put(g, ",\"arguments\":");
        put_arguments(g);
    }
    put(g, "}}");
}

static void put_calls(struct gen *g)
{
    g->n_open = 0;
    if (gen_chance(g, g->legacy ? 200 : 10)) {
        put(g, ",\"function_call\":{\"name\":");
        put_tool_name(g);
        put(g, ",\"arguments\":");
        put_arguments(g);
        put(g, "}");
    }
    if (!gen_chance(g, 128))
        return;
    put(g, ",\"tool_calls\":[");
    uint32_t n = gen_below(g, 4);
    for (uint32_t i = 0; i < n; i++) {
        put(g, i ? "," : "");
        put_call(g);
    }
    put(g, "]");
}

static void put_detail(struct gen *g)
{
    PUT(g,
        "{\"type\":\"reasoning.text\",\"text\":\"hm\",\"signature\":\"c2lnMQ==\",\"index\":0,"
        "\"format\":\"anthropic-claude-v1\"}",
        "{\"type\":\"reasoning.text\",\"text\":\"part\",\"index\":0}",
        "{\"type\":\"reasoning.text\",\"signature\":\"c2lnMg==\",\"index\":0}",
        "{\"type\":\"reasoning.text\",\"text\":\"\",\"signature\":\"c2lnMw==\",\"index\":2}",
        "{\"type\":\"reasoning.encrypted\",\"data\":\"ZW5j\",\"index\":1}",
        "{\"type\":\"reasoning.text\",\"text\":\"unsigned\"}",
        "{\"type\":\"reasoning.text\",\"text\":\"x\",\"signature\":\"c2ln\",\"format\":\"openai-"
        "v1\"}",
        "{\"type\":\"reasoning.summary\",\"summary\":\"s\"}",
        "{\"type\":\"reasoning.text\",\"text\":\"x\",\"signature\":\"c2ln\",\"index\":7}",
        "{\"type\":\"reasoning.encrypted\",\"data\":\"\"}",
        "{\"type\":\"reasoning.text\",\"text\":null,\"signature\":null,\"index\":-1}");
}

static void put_thinking(struct gen *g)
{
    if (!gen_chance(g, 60))
        return;
    switch (gen_below(g, 4)) {
    case 0:
        put(g, ",\"reasoning_details\":[");
        for (uint32_t i = 0, n = gen_below(g, 4); i < n; i++) {
            put(g, i ? "," : "");
            put_detail(g);
        }
        put(g, "]");
        return;
    case 1:
        PUT(g,
            ",\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":"
            "\"c2ln\"}]",
            ",\"thinking_blocks\":[{\"type\":\"redacted_thinking\",\"data\":\"ZW5j\"}]",
            ",\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"\"}]",
            ",\"thinking_blocks\":[]");
        return;
    case 2:
        PUT(g, ",\"reasoning_content\":\"r\"",
            ",\"reasoning_content\":\"r\",\"reasoning_signature\":\"c2ln\"",
            ",\"reasoning_signature\":\"c2ln\"", ",\"reasoning\":\"r\"");
        return;
    default: PUT(g, ",\"reasoning_content\":null", ",\"reasoning_details\":null"); return;
    }
}

static void put_assistant(struct gen *g)
{
    put(g, "{\"role\":\"assistant\",\"content\":");
    put_content(g, false, true);
    put_calls(g);
    put_thinking(g);
    put_cache_member(g);
    if (gen_chance(g, 10))
        PUT(g, ",\"refusal\":\"I will not\"", ",\"refusal\":null", ",\"name\":\"bot\"",
            ",\"audio\":{\"id\":\"x\"}", ",\"annotations\":[]");
    put(g, "}");
}

static void put_result(struct gen *g)
{
    if (gen_chance(g, g->legacy ? 200 : 6)) {
        put(g, "{\"role\":\"function\",\"name\":");
        put_tool_name(g);
    } else {
        put(g, "{\"role\":\"tool\",\"tool_call_id\":");
        if (g->n_open > 0 && !gen_chance(g, 16)) {
            uint32_t i = gen_below(g, g->n_open);
            put(g, g->open[i]);
            if (!gen_chance(g, 20)) /* else it may be answered again */
                memmove(g->open[i], g->open[--g->n_open], GEN_ID_MAX);
        } else {
            PUT(g, "\"call_none\"", "\"call_1\"", "\"\"", "\"a.b\"", "\"quote\\\"\\n\"");
        }
    }
    put(g, ",\"content\":");
    put_content(g, true, true);
    if (gen_chance(g, 10))
        PUT(g, ",\"is_error\":true", ",\"is_error\":false");
    put_cache_member(g);
    put(g, "}");
}

void chat_gen_message(struct gen *g)
{
    uint32_t role = gen_below(g, 16);
    if (g->n_open > 0 && !gen_chance(g, 40))
        role = 14;
    if (role == 15 || (role == 13 && gen_chance(g, 128))) {
        PUT(g, "{\"role\":\"system\",\"content\":", "{\"role\":\"developer\",\"content\":");
        put_content(g, false, false);
        put_cache_member(g);
        put(g, "}");
    } else if (role >= 13) {
        put_result(g);
    } else if (role >= 7) {
        put_assistant(g);
    } else {
        put(g, "{\"role\":\"user\",\"content\":");
        put_content(g, true, false);
        put_cache_member(g);
        put(g, "}");
    }
}

/* ---- settings ---- */

static void put_format(struct gen *g)
{
    if (gen_chance(g, 12)) {
        put(g, ",\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":");
        put_schema(g, 0);
        put(g, "}}");
        return;
    }
    if (!gen_chance(g, 60))
        return;
    put(g, ",\"response_format\":");
    if (gen_chance(g, 100)) {
        PUT(g, "{\"type\":\"json_object\"}", "{\"type\":\"text\"}", "null",
            "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\"}}");
        return;
    }
    put(g, "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"strict\":true,\"schema\":");
    put_schema(g, 0);
    put(g, "}}");
}

static void put_reasoning(struct gen *g)
{
    if (gen_chance(g, 90))
        PUT(g, ",\"reasoning_effort\":\"low\"", ",\"reasoning_effort\":\"none\"",
            ",\"reasoning_effort\":\"minimal\"", ",\"reasoning_effort\":\"medium\"",
            ",\"reasoning_effort\":\"high\"", ",\"reasoning_effort\":\"xhigh\"",
            ",\"reasoning_effort\":\"max\"", ",\"reasoning_effort\":null");
    if (gen_chance(g, 30))
        PUT(g, ",\"reasoning\":{\"effort\":\"high\"}", ",\"reasoning\":{\"max_tokens\":4000}",
            ",\"reasoning\":{\"enabled\":false}", ",\"reasoning\":{\"exclude\":true}",
            ",\"reasoning\":{\"max_tokens\":-1}", ",\"reasoning\":{\"summary\":\"auto\"}",
            ",\"reasoning\":{\"max_tokens\":9000000000000}");
    if (gen_chance(g, 30))
        PUT(g, ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":3000}",
            ",\"thinking\":{\"type\":\"adaptive\"}", ",\"thinking\":{\"type\":\"disabled\"}",
            ",\"thinking\":{\"type\":\"between_tools\"}", ",\"thinking\":{\"type\":\"enabled\"}",
            ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":200000}", ",\"thinking\":{}");
    if (gen_chance(g, 20))
        PUT(g, ",\"output_config\":{\"effort\":\"max\"}", ",\"effort\":\"xhigh\"",
            ",\"output_config\":{\"effort\":\"low\"}", ",\"output_config\":{}",
            ",\"effort\":\"none\"");
    if (gen_chance(g, 10))
        PUT(g, ",\"enable_thinking\":true", ",\"think\":false", ",\"include_reasoning\":true",
            ",\"chat_template_kwargs\":{\"enable_thinking\":false}",
            ",\"include_reasoning\":false");
}

static void put_sampling(struct gen *g)
{
    if (gen_chance(g, 60))
        PUT(g, ",\"temperature\":1", ",\"temperature\":0", ",\"temperature\":1.7",
            ",\"temperature\":0.3", ",\"temperature\":1e-400", ",\"temperature\":null",
            ",\"temperature\":-0.0", ",\"temperature\":0.99999999999999999999");
    if (gen_chance(g, 40))
        PUT(g, ",\"top_p\":1", ",\"top_p\":0.5", ",\"top_p\":0", ",\"top_p\":0.97",
            ",\"top_p\":1.0e0");
    if (gen_chance(g, 20))
        PUT(g, ",\"top_k\":40", ",\"top_k\":0", ",\"top_k\":1e3");
    if (gen_chance(g, 20))
        PUT(g, ",\"frequency_penalty\":0.5", ",\"presence_penalty\":0", ",\"logit_bias\":{\"5\":1}",
            ",\"seed\":7", ",\"n\":1", ",\"logprobs\":false", ",\"min_p\":0.1");
    if (gen_chance(g, 40))
        PUT(g, ",\"stop\":\"END\"", ",\"stop\":[\"a\",\"b\"]", ",\"stop\":\"\\n\"", ",\"stop\":[]",
            ",\"stop\":[\" \",\"x\"]", ",\"stop\":null",
            ",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]", ",\"stop\":\"\\u00a0\"",
            ",\"stop\":[\"a\",\"a\"]");
    if (gen_chance(g, 90))
        PUT(g, ",\"max_tokens\":1000", ",\"max_completion_tokens\":1", ",\"max_tokens\":100000000",
            ",\"max_tokens\":1500,\"max_completion_tokens\":2047", ",\"max_tokens\":16",
            ",\"max_tokens\":2e3", ",\"max_completion_tokens\":64000", ",\"max_tokens\":2048",
            ",\"max_tokens\":9007199254740993");
}

static void put_identity(struct gen *g)
{
    if (gen_chance(g, 60))
        PUT(g, ",\"user\":\"u-1\"", ",\"user\":\"a@example.com\"", ",\"user\":\"+1 555 123 4567\"",
            ",\"user\":\"\"", ",\"safety_identifier\":\"abc\",\"user\":\"x\"",
            ",\"metadata\":{\"user_id\":\"m\",\"k\":\"v\"}", ",\"user\":\"5551234567\"",
            ",\"user\":\"\\u00e9\\n\"", ",\"metadata\":{}", ",\"user\":\"555-123-4567\"",
            ",\"user\":\"a b\"", ",\"user\":\"x.y\"");
    if (gen_chance(g, 30))
        PUT(g, ",\"service_tier\":\"auto\"", ",\"service_tier\":\"default\"",
            ",\"service_tier\":\"flex\"", ",\"service_tier\":\"priority\"",
            ",\"service_tier\":\"fast\"", ",\"service_tier\":\"scale\"");
    if (gen_chance(g, 30))
        PUT(g, ",\"store\":true", ",\"verbosity\":\"low\"",
            ",\"prediction\":{\"type\":\"content\"}", ",\"modalities\":[\"text\"]",
            ",\"unknown_field\":{\"a\":[1]}", ",\"prompt_cache_key\":\"k\"",
            ",\"extra_body\":{\"top_k\":5,\"seed\":1}", ",\"extra_headers\":{\"a\":\"b\"}",
            ",\"audio\":null", ",\"extra_body\":{\"tools\":[],\"stop\":\"X\"}");
}

static void put_caching(struct gen *g)
{
    if (gen_chance(g, 30))
        PUT(g, ",\"prompt_cache_retention\":\"24h\"", ",\"prompt_cache_retention\":\"in_memory\"",
            ",\"prompt_cache_options\":{\"mode\":\"explicit\"}",
            ",\"prompt_cache_options\":{\"ttl\":\"30m\"}", ",\"prompt_cache_options\":{}",
            ",\"cache_control\":{\"type\":\"ephemeral\"}",
            ",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}");
    if (gen_chance(g, 20))
        PUT(g, ",\"system\":\"top\"", ",\"system\":[{\"type\":\"text\",\"text\":\"top\"}]",
            ",\"system\":\"\"", ",\"system\":[]",
            ",\"system\":[{\"type\":\"text\",\"text\":\"t\",\"cache_control\":{\"type\":"
            "\"ephemeral\"}}]");
}

void chat_gen_settings(struct gen *g)
{
    if (gen_chance(g, 128))
        PUT(g, ",\"stream\":true", ",\"stream\":false",
            ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    put_format(g);
    put_reasoning(g);
    put_sampling(g);
    put_identity(g);
    put_caching(g);
}

void chat_gen_request(struct gen *g)
{
    put(g, "{\"model\":\"");
    put(g, pick(g, chat_gen_models, chat_gen_n_models));
    put(g, "\"");
    if (gen_chance(g, 160))
        chat_gen_tools(g);
    chat_gen_settings(g);
    put(g, ",\"messages\":[");
    for (uint32_t i = 0, n = 1 + gen_below(g, MESSAGES_MAX); i < n; i++) {
        put(g, i ? "," : "");
        chat_gen_message(g);
    }
    put(g, "]}");
}
