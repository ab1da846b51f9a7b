/* completions_decode.c - the older Completions API: a prompt that is to be continued.
 *
 *   prompt --> one user turn, behind a system line that says what to do with it
 *
 * Settings are those of Chat Completions, read by the same rows and steps. max_tokens is the
 * exception that needs none: OpenAI's default of 16 would be spent on thinking, so that the default
 * is the one of all requests. A client's own `system` takes the place of ours.
 */
#include "llm/chat_answer.h"
#include "llm/chat_fields.h"

#define SYSTEM_LINE "Continue the user's text. Output only the continuation."

static bool refuse_suffix(struct chat *c, const struct field *f, struct jval v)
{
    if (json_str_raw(v).n == 0)
        return true;
    return chat_refuse(c, STR("unsupported_parameter"), f->name,
                       "Unsupported parameter: 'suffix' is not supported with this model: it can "
                       "continue a text, but not fill a gap in one.");
}

/* 0 asks for the log probabilities of the chosen tokens, so it is not the same as nothing. */
static bool refuse_logprobs(struct chat *c, const struct field *f, struct jval v)
{
    if (json_is(v, JSON_FALSE))
        return true;
    return chat_refuse(c, STR("unsupported_parameter"), f->name,
                       "Unsupported parameter: 'logprobs' is not supported with this model.");
}

static const struct field rows[] = {
    {STR_INIT("prompt"), TEXT_OR_LIST, 0, 0, NULL},
    {STR_INIT("suffix"), TEXT, 0, 0, refuse_suffix},
    {STR_INIT("echo"), BOOLEAN, 0, 0, NULL},
    {STR_INIT("best_of"), INTEGER, 1, 20, chat_only_one},
    {STR_INIT("logprobs"), ANY, 0, 0, refuse_logprobs},
};

/* What only a conversation has. */
static const struct str without[] = {
    STR_INIT("messages"),        STR_INIT("tools"),
    STR_INIT("tool_choice"),     STR_INIT("parallel_tool_calls"),
    STR_INIT("functions"),       STR_INIT("function_call"),
    STR_INIT("response_format"), STR_INIT("web_search_options"),
};

static bool refuse_prompts(struct chat *c)
{
    return chat_refuse(c, STR("invalid_value"), STR("prompt"),
                       "Invalid value for 'prompt': only one prompt, as text, is supported with "
                       "this model; several prompts and arrays of tokens are not.");
}

/* The prompt as a string, alone or in an array. */
static bool find_prompt(struct chat *c, struct jval *ret)
{
    struct jval v = chat_field(c, STR("prompt"));
    if (!json_present(v))
        return chat_refuse_missing(c, STR("prompt"));
    if (json_is(v, JSON_ARRAY)) {
        if (json_empty(v))
            return chat_refuse_empty(c, STR("prompt"));
        struct jval first = json_first(v);
        if (json_count(v) > 1 || json_is(first, JSON_NUMBER) || json_is(first, JSON_ARRAY))
            return refuse_prompts(c);
        if (!json_is(first, JSON_STRING))
            return chat_refuse_type(c, STR("prompt"), "a string or an array of strings", first);
        v = first;
    }
    *ret = v;
    return true;
}

static bool read_prompt(struct chat *c)
{
    struct jval v;
    if (!find_prompt(c, &v))
        return false;
    struct str prompt = json_str_raw(v);
    if (chat_blank(prompt))
        return chat_refuse(c, STR("invalid_value"), STR("prompt"),
                           "Invalid value for 'prompt': it is empty or all white space, and this "
                           "model needs some text to continue.");
    struct turn *turn = messages_turn(c->scratch, c->m, ROLE_USER);
    blocks_add(c->scratch, &turn->blocks, BLOCK_TEXT)->text = prompt;
    if (!c->m->system.first)
        blocks_add(c->scratch, &c->m->system, BLOCK_TEXT)->text = STR(SYSTEM_LINE);
    if (json_true(chat_field(c, STR("echo"))))
        c->reply->echo = arena_dup(c->keep, prompt);
    return true;
}

/* An answer here is text alone. */
static bool settle_reply(struct chat *c)
{
    c->reply->hide_reasoning = true;
    c->reply->tier_asked = false;
    return true;
}

static bool (*const steps[])(struct chat *c) = {
    chat_collect_fields,  chat_check_model,    chat_check_types,   chat_resolve_model,
    chat_read_max_tokens, chat_apply_fields,   chat_read_user,     chat_read_wish,
    read_prompt,          chat_think,          chat_read_sampling, chat_read_caching,
    settle_reply,         chat_settle_dropped,
};

static const struct chat_api api = {
    .steps = steps,
    .n_steps = ARRAY_LEN(steps),
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
    .without = without,
    .n_without = ARRAY_LEN(without),
};

/* NOLINTNEXTLINE(readability-function-size): the parameters are the dialect's interface */
static bool decode(const struct decode_options *o, struct json *doc, struct str body,
                   struct arena *keep, struct arena *scratch, struct decoded *ret,
                   struct request_error *ret_error)
{
    return chat_decode(&api, o, doc, body, keep, scratch, ret, ret_error);
}

const struct dialect dialect_completions = {
    .name = "completions",
    .stream_type = STR_INIT("text/event-stream; charset=utf-8"),
    .decode = decode,
    .open = completions_open,
    .event = chat_event,
    .finish = chat_finish,
    .close = chat_close,
    .error_frame = openai_error_frame,
    .keepalive = openai_keepalive,
    .error_body = openai_error_body,
};
