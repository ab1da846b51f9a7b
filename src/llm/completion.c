/* completion.c - the legacy Completions API: a prompt in, a continuation out.
 *
 * It shares fields, settings and the encoder's frame with Chat Completions (chat.h); its own are the
 * prompt, a fixed system line that asks for a continuation, and the shape of the answer.
 *
 *   {"id":..,"object":"text_completion","created":..,"model":..,
 *    "choices":[{"text":..,"index":0,"logprobs":null,"finish_reason":..}],"usage":{..}}
 */
#include "llm/chat_answer.h"

/* --- the request --- */

static bool refuse_prompt(struct chat *c, const char *why)
{
    return chat_refuse(c, STR("invalid_value"), STR("prompt"), "Invalid value for 'prompt': %s",
                       why);
}

/* One text. Tokens cannot be read without OpenAI's vocabulary; several prompts are several answers. */
static bool one_prompt(struct chat *c, struct jval v, struct jval *ret)
{
    *ret = json_is(v, JSON_ARRAY) ? json_first(v) : v;
    if (json_is(v, JSON_ARRAY) && json_count(v) > 1)
        return refuse_prompt(c, "only one prompt is supported, and no token ids.");
    if (!json_is(*ret, JSON_STRING))
        return refuse_prompt(c, "a text is expected; token ids are not supported.");
    return !chat_blank(json_str_raw(*ret)) || refuse_prompt(c, "it is empty.");
}

bool completion_read_prompt(struct chat *c)
{
    struct jval prompt;
    if (!one_prompt(c, chat_field(c, STR("prompt")), &prompt))
        return false;
    blocks_add(c->scratch, &c->m->system, BLOCK_TEXT)->text =
        STR("Continue the user's text. Output only the continuation.");
    struct turn *turn = messages_turn(c->scratch, c->m, ROLE_USER);
    blocks_add(c->scratch, &turn->blocks, BLOCK_TEXT)->text = json_str_raw(prompt);
    c->reply->completion = c->reply->hide_reasoning = true;
    if (json_true(chat_field(c, STR("echo"))))
        c->reply->echo = arena_dup(c->keep, json_str_raw(prompt));
    return true;
}

bool completion_check_required(struct chat *c)
{
    if (!chat_check_model(c))
        return false;
    return json_present(chat_field(c, STR("prompt"))) || chat_refuse_missing(c, STR("prompt"));
}

/* --- the answer --- */

#define CHOICE_END "\",\"index\":0,\"logprobs\":null,"

static bool put_head(struct encoder *e, struct buf *out)
{
    char created[DECIMAL];
    return PUT(out, STR("{\"id\":\""), e->id, STR("\",\"object\":\"text_completion\",\"created\":"),
               chat_decimal(created, e->created), STR(",\"model\":\""), e->model, STR("\""));
}

static bool stream_text(struct encoder *e, struct str inside, struct buf *out)
{
    return PUT(out, e->head, STR(",\"choices\":[{\"text\":\""), inside,
               STR(CHOICE_END "\"finish_reason\":null}]}\n\n"));
}

static bool stream_start(struct encoder *e, struct buf *out)
{
    struct buf head;
    buf_init(&head, e->id.n + e->model.n + 256);
    bool ok = buf_lit(&head, "data: ") && put_head(e, &head);
    ASSERT(ok);
    e->head = arena_dup(e->keep, buf_str(&head));
    buf_done(&head);
    return e->reply->echo.n == 0 || stream_text(e, e->reply->echo, out);
}

static bool stream_finish(struct encoder *e, const struct answer *a, struct buf *out)
{
    if (!PUT(out, e->head, STR(",\"choices\":[{\"text\":\"" CHOICE_END)) ||
        !chat_write_finish(e, a, out) || !buf_lit(out, "}]}\n\n"))
        return false;
    if (e->reply->include_usage && !(PUT(out, e->head, STR(",\"choices\":[],\"usage\":")) &&
                                     chat_write_usage(a, out) && buf_lit(out, "}\n\n")))
        return false;
    return buf_lit(out, "data: [DONE]\n\n");
}

static bool whole_start(struct encoder *e, struct buf *out)
{
    (void)out;
    return buf_append(&e->text, e->reply->echo);
}

static bool whole_text(struct encoder *e, struct str inside, struct buf *out)
{
    (void)out;
    return buf_append(&e->text, inside);
}

static bool whole_finish(struct encoder *e, const struct answer *a, struct buf *out)
{
    return put_head(e, out) &&
           PUT(out, STR(",\"choices\":[{\"text\":\""), buf_str(&e->text), STR(CHOICE_END)) &&
           chat_write_finish(e, a, out) && buf_lit(out, "}],\"usage\":") &&
           chat_write_usage(a, out) && buf_lit(out, "}");
}

/* Nothing but text has a place here; without tools upstream makes no calls. */
static bool no_index(struct encoder *e, int64_t index, struct buf *out)
{
    (void)e;
    (void)index;
    (void)out;
    return true;
}

static bool no_piece(struct encoder *e, int64_t index, struct str inside, struct buf *out)
{
    (void)inside;
    return no_index(e, index, out);
}

static bool no_call(struct encoder *e, uint32_t k, struct str id, struct str name, struct buf *out)
{
    (void)id;
    (void)name;
    return no_index(e, k, out);
}

static bool no_input(struct encoder *e, uint32_t k, struct str inside, struct buf *out)
{
    (void)inside;
    return no_index(e, k, out);
}

static bool no_stop(struct encoder *e, uint32_t k, struct buf *out)
{
    return no_index(e, k, out);
}

#define TEXT_ONLY                                                                                  \
    .thinking_start = no_index, .thinking = no_piece, .signature = no_piece,                       \
    .thinking_stop = no_index, .redacted = no_piece, .call_start = no_call,                        \
    .call_input = no_input, .call_stop = no_stop

const struct chat_form completion_form_stream = {
    .start = stream_start, .text = stream_text, .finish = stream_finish, TEXT_ONLY};

const struct chat_form completion_form_whole = {
    .start = whole_start, .text = whole_text, .finish = whole_finish, TEXT_ONLY};
