/* test_translation.c - two things that hold for every conversation, tried on made-up ones.
 *
 *   append   what is sent upstream in one round stands, block for block, at the beginning of what is
 *            sent in the next: tools, system texts, and the blocks of the messages with their roles.
 *            Prompt caches live on it, and thinking is bound to it.
 *   valid    whatever is accepted from a client is accepted by the simulator, which refuses what the
 *            Messages API refuses: for every model, with every setting.
 *
 * usage: test_translation [FIRST COUNT]. Prints the seed and the request of a failure; the seed alone
 * repeats it. The last line is "translation: N passed, N failed".
 */
#include "conversation.h"

#include "base/mem.h"
#include "llm/dialect.h"
#include "sim/sim_validate.h"

enum { ROUNDS = 6, BODY_MAX = 16 * 1024 * 1024 };

static const char *const model_names[] = {"gpt-4o",
                                          "claude-opus-5-5",
                                          "claude-fable-5-2",
                                          "claude-haiku-5-5",
                                          "claude-opus-5",
                                          "claude-sonnet-5",
                                          "claude-opus-4-8",
                                          "claude-opus-4-6",
                                          "claude-sonnet-4-6",
                                          "claude-opus-4-5",
                                          "claude-haiku-4-5",
                                          "claude-fable-5",
                                          "claude-opus-4-7",
                                          "claude-mythos-5-1",
                                          "claude-sonnet-4-5",
                                          NULL};

#define TOOLS                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"parameters\":{"        \
    "\"type\":"                                                                                    \
    "\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"my "                              \
    "city\":{\"type\":\"number\"}},"                                                               \
    "\"required\":[\"my city\"]}}},{\"type\":\"function\","                                        \
    "\"function\":{\"name\":\"a.b/"                                                                \
    "c\"}},{\"type\":\"function\",\"function\":{\"name\":\"search\"}}]"

struct sent { /* one request, as it went upstream */
    struct arena arena;
    struct json in, doc;
    struct str body;
    bool ok;
    struct str why;
};

static void translate(struct sent *s, const struct decode_options *o, struct str request)
{
    struct arena keep;
    struct decoded d;
    struct request_error error;
    struct rope rope;
    arena_init(&s->arena);
    arena_init(&keep);
    json_init(&s->in);
    json_init(&s->doc);
    rope_init(&rope, BODY_MAX);
    s->ok = dialect_chat.decode(o, &s->in, request, &keep, &s->arena, &d, &error);
    if (s->ok) {
        messages_write(d.request, &rope);
        s->body = rope_flatten(&rope, &s->arena);
        ASSERT(json_parse(&s->doc, s->body) == JSON_OK);
    } else {
        s->why = arena_dup(&s->arena, error.message);
    }
    rope_done(&rope);
    arena_done(&keep);
}

static void sent_done(struct sent *s)
{
    json_done(&s->in);
    json_done(&s->doc);
    arena_done(&s->arena);
}

static int report(uint64_t seed, const char *what, struct str request, struct str body,
                  struct str why)
{
    printf("seed %llu: %s: %.*s\n  from: %.*s\n  to: %.*s\n", (unsigned long long)seed, what,
           STR_FMT(why), STR_FMT(request), STR_FMT(body));
    return 1;
}

/* --- append --- */

/* Goes through the blocks of all messages, each with its role. */
struct walk {
    struct jval messages, message, block;
};

static bool next_block(struct walk *w, struct str *ret_role, struct str *ret_block)
{
    if (json_present(w->block))
        w->block = json_next(json_get(w->message, STR("content")), w->block);
    while (!json_present(w->block)) {
        w->message =
            json_present(w->message) ? json_next(w->messages, w->message) : json_first(w->messages);
        if (!json_present(w->message))
            return false;
        w->block = json_first(json_get(w->message, STR("content")));
    }
    *ret_role = json_str_raw(json_get(w->message, STR("role")));
    *ret_block = json_raw(w->block);
    return true;
}

static bool is_beginning(const struct sent *before, const struct sent *after)
{
    static const struct str same[] = {STR_INIT("tools"), STR_INIT("system"), STR_INIT("model")};
    struct jval a = json_root(&before->doc), b = json_root(&after->doc);
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        struct jval x = json_get(a, same[i]), y = json_get(b, same[i]);
        if (json_present(x) != json_present(y) ||
            (json_present(x) && !str_eq(json_raw(x), json_raw(y))))
            return false;
    }
    struct walk wa = {.messages = json_get(a, STR("messages"))};
    struct walk wb = {.messages = json_get(b, STR("messages"))};
    struct str role_a, role_b, block_a, block_b;
    while (next_block(&wa, &role_a, &block_a))
        if (!next_block(&wb, &role_b, &block_b) || !str_eq(role_a, role_b) ||
            !str_eq(block_a, block_b))
            return false;
    return true;
}

static int check_append(const struct models *models, uint64_t seed)
{
    struct conversation c;
    struct sent sent[2];
    struct buf body;
    const struct decode_options options = {.models = models};
    int failed = 0;
    conversation_init(&c, seed, true);
    buf_init(&body, BODY_MAX);
    const char *model = pick_of(&c, model_names);
    for (int round = 0; round < ROUNDS && !failed; round++) {
        struct sent *now = &sent[round % 2], *before = &sent[(round + 1) % 2];
        if (round > 0)
            conversation_assistant(&c);
        conversation_user(&c);
        buf_clear(&body);
        buf_printf(&body, "{\"model\":\"%s\"," TOOLS ",\"messages\":[%.*s]}", model,
                   STR_FMT(buf_str(&c.messages)));
        translate(now, &options, buf_str(&body));
        if (!now->ok)
            failed = report(seed, "refused", buf_str(&body), STR(""), now->why);
        else if (round > 0 && !is_beginning(before, now))
            failed = report(seed, "not append-only", buf_str(&body), now->body, before->body);
        if (round > 0)
            sent_done(before);
        if (failed || round == ROUNDS - 1)
            sent_done(now);
    }
    buf_done(&body);
    conversation_done(&c);
    return failed;
}

/* --- valid --- */

static void add_settings(struct conversation *c, struct buf *b)
{
    static const char *const settings[] = {
        "\"temperature\":0.7",
        "\"temperature\":2",
        "\"top_p\":0.5",
        "\"top_p\":0.99",
        "\"top_k\":3",
        "\"max_tokens\":1",
        "\"max_completion_tokens\":3000",
        "\"max_tokens\":900000",
        "\"stop\":\"\\n\"",
        "\"stop\":[\"END\",\"\",\" \"]",
        "\"user\":\"a@b.example\"",
        "\"user\":\"+47 123 45 678\"",
        "\"safety_identifier\":\"s\"",
        "\"metadata\":{\"user_id\":\"m\"}",
        "\"service_tier\":\"priority\"",
        "\"service_tier\":\"fast\"",
        "\"seed\":1",
        "\"n\":1",
        "\"reasoning_effort\":\"none\"",
        "\"reasoning_effort\":\"minimal\"",
        "\"reasoning_effort\":\"low\"",
        "\"reasoning_effort\":\"high\"",
        "\"reasoning_effort\":\"xhigh\"",
        "\"reasoning_effort\":\"max\"",
        "\"reasoning\":{\"effort\":\"medium\",\"exclude\":true}",
        "\"reasoning\":{\"max_tokens\":5000}",
        "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}",
        "\"thinking\":{\"type\":\"adaptive\"}",
        "\"thinking\":{\"type\":\"disabled\"}",
        "\"output_config\":{\"effort\":\"max\"}",
        "\"effort\":\"low\"",
        "\"enable_thinking\":false",
        "\"response_format\":{\"type\":\"json_object\"}",
        "\"response_format\":{\"type\":\"text\"}",
        "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":{"
        "\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":1},\"b\":{"
        "\"type\":[\"string\",\"null\"]}},\"required\":[\"a\"]}}}",
        "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":{"
        "\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}}}",
        "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":{"
        "\"type\":\"array\",\"items\":{\"type\":\"string\"}}}}",
        "\"parallel_tool_calls\":false",
        "\"parallel_tool_calls\":true",
        "\"web_search_options\":{\"search_context_size\":\"high\"}",
        "\"prompt_cache_retention\":\"24h\"",
        "\"prompt_cache_options\":{\"mode\":\"explicit\"}",
        "\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}",
        "\"logit_bias\":{\"1\":5}",
        "\"frequency_penalty\":1",
        "\"prediction\":{\"type\":\"content\",\"content\":\"x\"}",
        "\"store\":true",
        "\"verbosity\":\"low\"",
        "\"unknown_field\":{\"a\":[1]}",
        "\"system\":\"Be kind.\"",
        "\"anthropic_beta\":\"interleaved-thinking-2025-05-14\"",
        "\"stream\":true",
        "\"stream_options\":{\"include_usage\":true}",
        "\"speed\":\"fast\"",
        NULL};
    const char *seen[8] = {0};
    for (unsigned i = pick(c, 7); i > 0; i--) {
        const char *s = pick_of(c, settings);
        bool repeated = false; /* a member may stand in an object once */
        for (size_t k = 0; k < ARRAY_LEN(seen); k++)
            repeated |= seen[k] && strncmp(seen[k], s, strcspn(s, ":")) == 0;
        if (repeated)
            continue;
        seen[i] = s;
        buf_printf(b, ",%s", s);
    }
}

static void add_tools(struct conversation *c, struct buf *b)
{
    static const char *const schemas[] = {
        "null",
        "{}",
        "{\"type\":\"object\",\"properties\":{}}",
        "{\"properties\":{\"a\":{}}}",
        "{\"type\":[\"object\",\"null\"],\"properties\":{\"a\":{\"type\":\"string\"}}}",
        "{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}},{\"type\":"
        "\"object\",\"properties\":{\"b\":{\"type\":\"number\"}}}]}",
        "{\"oneOf\":[{\"properties\":{\"a\":true},\"required\":[\"a\"]}]}",
        "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/d\"}},\"$defs\":{\"d\":{"
        "\"type\":\"string\"}}}",
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"],"
        "\"additionalProperties\":false}",
        NULL};
    static const char *const choices[] = {
        "\"auto\"",
        "\"none\"",
        "\"required\"",
        "null",
        "{\"type\":\"function\",\"function\":{\"name\":\"weather\"}}",
        "{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[{\"type\":"
        "\"function\",\"function\":{\"name\":\"weather\"}}]}}",
        NULL};
    unsigned kind = pick(c, 4);
    if (kind == 0)
        return;
    if (kind == 1) {
        buf_lit(b, ",\"tools\":[]");
        return;
    }
    buf_printf(b,
               ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\","
               "\"description\":\"%s\",\"parameters\":%s,\"strict\":%s}}",
               pick(c, 2) ? "Says." : " ", pick_of(c, schemas), pick(c, 2) ? "true" : "false");
    if (pick(c, 2))
        buf_lit(b, ",{\"type\":\"function\",\"function\":{\"name\":\"a.b/c\"}}");
    if (pick(c, 3) == 0)
        buf_lit(
            b,
            ",{\"type\":\"custom\",\"custom\":{\"name\":\"free\",\"format\":{\"type\":\"text\"}}}");
    if (pick(c, 5) == 0)
        buf_lit(b,
                ",{\"type\":\"function\",\"function\":{\"name\":\"web_search\"},\"cache_control\":"
                "{\"type\":\"ephemeral\"}}");
    buf_lit(b, "]");
    if (pick(c, 2))
        buf_printf(b, ",\"tool_choice\":%s", pick_of(c, choices));
}

static uint64_t accepted; /* of those that check_valid made */

static int check_valid(const struct models *models, uint64_t seed)
{
    struct conversation c;
    struct sent sent;
    struct sim_error error = {.message = STR("")};
    struct buf body;
    int failed = 0;
    conversation_init(&c, seed, true);
    c.marks = pick(&c, 2);
    const struct decode_options options = {
        .models = models, .auto_cache = pick(&c, 2), .fast_mode = pick(&c, 2)};
    for (unsigned rounds = pick(&c, 5); rounds > 0; rounds--) {
        conversation_user(&c);
        conversation_assistant(&c);
    }
    if (buf_len(&c.messages) == 0 || pick(&c, 8))
        conversation_user(&c);
    buf_init(&body, BODY_MAX);
    buf_printf(&body, "{\"model\":\"%s\",\"messages\":[%.*s]", pick_of(&c, model_names),
               STR_FMT(buf_str(&c.messages)));
    add_settings(&c, &body);
    add_tools(&c, &body);
    buf_lit(&body, "}");
    translate(&sent, &options, buf_str(&body));
    struct sim_request request = {.version = SIM_VERSION_OLD, .betas = STR("fast-mode-2026-02-01")};
    if (sent.ok && !sim_validate_request(&sent.doc, &sent.arena, &request, &error))
        failed = report(seed, "refused upstream", buf_str(&body), sent.body, error.message);
    accepted += sent.ok;
    sent_done(&sent);
    buf_done(&body);
    conversation_done(&c);
    return failed;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 2 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 3000;
    static const struct models_options none;
    char why[MODELS_ERROR];
    struct models *models = models_new(&none, why);
    uint64_t failed = 0;
    for (uint64_t seed = first; seed < first + count && failed < 10; seed++)
        failed += (uint64_t)(check_append(models, seed) + check_valid(models, seed));
    models_free(models);
    sim_models_done();
    ASSERT(mem_live() == 0);
    printf("%llu of %llu requests were accepted\n", (unsigned long long)accepted,
           (unsigned long long)count);
    printf("translation: %llu passed, %llu failed\n", (unsigned long long)(2 * count - failed),
           (unsigned long long)failed);
    return failed > 0;
}
