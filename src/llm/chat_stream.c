/* chat_stream.c - an answer as chunks, each spliced together from constants and the event's span.
 *
 *   data: {"id":..,"model":..,"choices":[{"index":0,"delta": <delta> ,"logprobs":null,...}]}\n\n
 *   |----- head, made once per answer ----------------------|        |---- CHUNK_END ----------|
 *
 * What the strictest readers need: the role in the first delta, tool indices from 0, `function` in
 * every tool delta and id, type and name only in the first one, `choices` in every chunk.
 */
#include "llm/chat_answer.h"

#include <inttypes.h>

#define CHUNK_END          ",\"logprobs\":null,\"finish_reason\":null}]}\n\n"
#define CHUNK(e, out, ...) PUT((out), (e)->head, __VA_ARGS__, STR(CHUNK_END))
#define CLAUDE_FORMAT      "\"format\":\"anthropic-claude-v1\""

static bool stream_start(struct encoder *e, struct buf *out)
{
    char created[DECIMAL];
    const struct str parts[] = {
        STR("data: {\"id\":\""),
        e->id,
        STR("\",\"object\":\"chat.completion.chunk\",\"created\":"),
        chat_decimal(created, e->created),
        STR(",\"model\":\""),
        e->model,
        e->tier.p ? STR("\",\"service_tier\":\"") : STR(""),
        e->tier,
        STR("\""),
    };
    struct buf head;
    buf_init(&head, e->id.n + e->model.n + 256);
    bool ok = chat_put(&head, parts, ARRAY_LEN(parts));
    e->head_fixed = buf_len(&head);
    ok = ok && buf_lit(&head, ",\"choices\":[{\"index\":0,\"delta\":");
    ASSERT(ok);
    e->head = arena_dup(e->keep, buf_str(&head));
    buf_done(&head);
    return CHUNK(e, out, STR("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}"));
}

static bool stream_text(struct encoder *e, struct str inside, struct buf *out)
{
    return CHUNK(e, out, STR("{\"content\":\""), inside, STR("\"}"));
}

static bool stream_thinking_start(struct encoder *e, int64_t index, struct buf *out)
{
    (void)e;
    (void)index;
    (void)out;
    return true;
}

/* A blank line stands between the texts of two blocks, as in the whole form; the details, which come
 * back to us, have none. */
static bool stream_thinking(struct encoder *e, int64_t index, struct str inside, struct buf *out)
{
    char i[DECIMAL];
    bool apart = e->any_thought && !e->thought_text;
    e->any_thought = e->thought_text = true;
    return CHUNK(e, out, STR("{\"reasoning_content\":\""), apart ? STR("\\n\\n") : STR(""), inside,
                 STR("\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\""), inside,
                 STR("\"," CLAUDE_FORMAT ",\"index\":"), chat_decimal(i, index), STR("}]}"));
}

static bool stream_signature(struct encoder *e, int64_t index, struct str inside, struct buf *out)
{
    char i[DECIMAL];
    return CHUNK(
        e, out, STR("{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"signature\":\""),
        inside, STR("\"," CLAUDE_FORMAT ",\"index\":"), chat_decimal(i, index), STR("}]}"));
}

static bool stream_redacted(struct encoder *e, int64_t index, struct str data, struct buf *out)
{
    char i[DECIMAL];
    return CHUNK(e, out,
                 STR("{\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\""), data,
                 STR("\"," CLAUDE_FORMAT ",\"index\":"), chat_decimal(i, index), STR("}]}"));
}

static bool stream_call_start(struct encoder *e, uint32_t k, struct str id, struct str name,
                              struct buf *out)
{
    char index[DECIMAL];
    if (e->reply->functions)
        return k > 0 || CHUNK(e, out, STR("{\"function_call\":{\"name\":\""), name,
                              STR("\",\"arguments\":\"\"}}"));
    return CHUNK(e, out, STR("{\"tool_calls\":[{\"index\":"), chat_decimal(index, k),
                 STR(",\"id\":\""), id,
                 e->custom ? STR("\",\"type\":\"custom\",\"custom\":{\"name\":\"")
                           : STR("\",\"type\":\"function\",\"function\":{\"name\":\""),
                 name, e->custom ? STR("\",\"input\":\"\"}}]}") : STR("\",\"arguments\":\"\"}}]}"));
}

static bool stream_call_input(struct encoder *e, uint32_t k, struct str inside, struct buf *out)
{
    char index[DECIMAL];
    if (e->reply->functions)
        return k > 0 ||
               CHUNK(e, out, STR("{\"function_call\":{\"arguments\":\""), inside, STR("\"}}"));
    return CHUNK(e, out, STR("{\"tool_calls\":[{\"index\":"), chat_decimal(index, k),
                 e->custom ? STR(",\"custom\":{\"input\":\"")
                           : STR(",\"function\":{\"arguments\":\""),
                 inside, STR("\"}}]}"));
}

static bool stream_call_stop(struct encoder *e, uint32_t k, struct buf *out)
{
    (void)e;
    (void)k;
    (void)out;
    return true;
}

static bool write_notes(struct encoder *e, struct buf *out)
{
    if (!e->notes)
        return true;
    return PUT(out, e->head) && chat_write_notes(e, STR("{"), out) && PUT(out, STR("}" CHUNK_END));
}

static bool write_usage(struct encoder *e, const struct answer *a, struct buf *out)
{
    if (!e->reply->include_usage)
        return true;
    return PUT(out, str_head(e->head, e->head_fixed), STR(",\"choices\":[],\"usage\":")) &&
           chat_write_usage(a, out) && buf_lit(out, "}\n\n");
}

/* Exactly one finish_reason, in the last chunk that has a choice. */
static bool stream_finish(struct encoder *e, const struct answer *a, struct buf *out)
{
    if (!write_notes(e, out))
        return false;
    struct str refusal = chat_refusal(e);
    if (refusal.p && !CHUNK(e, out, STR("{\"refusal\":\""), refusal, STR("\"}")))
        return false;
    return PUT(out, e->head, STR("{},\"logprobs\":null,")) && chat_write_finish(e, a, out) &&
           buf_lit(out, "}]}\n\n") && write_usage(e, a, out) && buf_lit(out, "data: [DONE]\n\n");
}

const struct chat_form chat_form_stream = {
    .start = stream_start,
    .text = stream_text,
    .thinking_start = stream_thinking_start,
    .thinking = stream_thinking,
    .signature = stream_signature,
    .thinking_stop = stream_thinking_start,
    .redacted = stream_redacted,
    .call_start = stream_call_start,
    .call_input = stream_call_input,
    .call_stop = stream_call_stop,
    .finish = stream_finish,
};
