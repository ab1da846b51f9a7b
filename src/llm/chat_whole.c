/* chat_whole.c - an answer as one body, collected from the same events.
 *
 * Text, reasoning text, reasoning details and calls grow in a buffer each, as the JSON they will
 * be; together they stay below whole_max. The body is joined from them at the end.
 */
#include "llm/chat_answer.h"

#include <inttypes.h>

static bool fits(const struct encoder *e, size_t n)
{
    size_t used =
        buf_len(&e->text) + buf_len(&e->reasoning) + buf_len(&e->details) + buf_len(&e->calls);
    return used + n <= e->whole_max;
}

static bool add(struct encoder *e, struct buf *b, const struct str *parts, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += parts[i].n;
    return fits(e, len) && chat_put(b, parts, n);
}

#define ADD(e, b, ...)                                                                             \
    add((e), (b), (const struct str[]){__VA_ARGS__},                                               \
        sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))

static struct str comma(const struct buf *b)
{
    return buf_len(b) > 0 ? STR(",") : STR("");
}

static bool whole_start(struct encoder *e, struct buf *out)
{
    (void)e;
    (void)out;
    return true;
}

static bool whole_text(struct encoder *e, struct str inside, struct buf *out)
{
    (void)out;
    return ADD(e, &e->text, inside);
}

static bool whole_thinking_start(struct encoder *e, int64_t index, struct buf *out)
{
    (void)index;
    (void)out;
    return ADD(e, &e->details, comma(&e->details), STR("{\"type\":\"reasoning.text\",\"text\":\""));
}

/* Thoughts are set apart by a blank line. */
static bool whole_thinking(struct encoder *e, int64_t index, struct str inside, struct buf *out)
{
    (void)index;
    (void)out;
    bool apart = !e->thought_text && buf_len(&e->reasoning) > 0;
    e->thought_text = true;
    if (e->signature_seen)
        return true; /* a signature ends the text */
    return ADD(e, &e->reasoning, apart ? STR("\\n\\n") : STR(""), inside) &&
           ADD(e, &e->details, inside);
}

static bool whole_signature(struct encoder *e, int64_t index, struct str inside, struct buf *out)
{
    (void)index;
    (void)out;
    struct str before = e->signature_seen ? STR("") : STR("\",\"signature\":\"");
    e->signature_seen = true;
    return ADD(e, &e->details, before, inside);
}

static bool whole_thinking_stop(struct encoder *e, int64_t index, struct buf *out)
{
    char i[DECIMAL];
    (void)out;
    return ADD(e, &e->details, STR("\",\"format\":\"anthropic-claude-v1\",\"index\":"),
               chat_decimal(i, index), STR("}"));
}

static bool whole_redacted(struct encoder *e, int64_t index, struct str data, struct buf *out)
{
    char i[DECIMAL];
    (void)out;
    return ADD(e, &e->details, comma(&e->details),
               STR("{\"type\":\"reasoning.encrypted\",\"data\":\""), data,
               STR("\",\"format\":\"anthropic-claude-v1\",\"index\":"), chat_decimal(i, index),
               STR("}"));
}

static bool whole_call_start(struct encoder *e, uint32_t k, struct str id, struct str name,
                             struct buf *out)
{
    (void)out;
    if (e->reply->functions)
        return k > 0 || ADD(e, &e->calls, STR("{\"name\":\""), name, STR("\",\"arguments\":\""));
    return ADD(e, &e->calls, comma(&e->calls), STR("{\"id\":\""), id,
               e->custom ? STR("\",\"type\":\"custom\",\"custom\":{\"name\":\"")
                         : STR("\",\"type\":\"function\",\"function\":{\"name\":\""),
               name, e->custom ? STR("\",\"input\":\"") : STR("\",\"arguments\":\""));
}

static bool whole_call_input(struct encoder *e, uint32_t k, struct str inside, struct buf *out)
{
    (void)out;
    return (e->reply->functions && k > 0) || ADD(e, &e->calls, inside);
}

static bool whole_call_stop(struct encoder *e, uint32_t k, struct buf *out)
{
    (void)out;
    if (e->reply->functions)
        return k > 0 || ADD(e, &e->calls, STR("\"}"));
    return ADD(e, &e->calls, STR("\"}}"));
}

/* No text at all: null beside calls or a refusal, else the empty string. Never a list. */
static bool write_content(const struct encoder *e, struct buf *out)
{
    bool nothing = !e->any_text && (buf_len(&e->calls) > 0 || chat_refusal(e).p);
    if (nothing)
        return buf_lit(out, ",\"content\":null");
    return PUT(out, STR(",\"content\":\""), buf_str(&e->text), STR("\""));
}

static bool write_calls(const struct encoder *e, struct buf *out)
{
    if (buf_len(&e->calls) == 0)
        return true;
    if (e->reply->functions)
        return PUT(out, STR(",\"function_call\":"), buf_str(&e->calls));
    return PUT(out, STR(",\"tool_calls\":["), buf_str(&e->calls), STR("]"));
}

static bool write_reasoning(const struct encoder *e, struct buf *out)
{
    if (buf_len(&e->reasoning) > 0 &&
        !PUT(out, STR(",\"reasoning_content\":\""), buf_str(&e->reasoning), STR("\"")))
        return false;
    return buf_len(&e->details) == 0 ||
           PUT(out, STR(",\"reasoning_details\":["), buf_str(&e->details), STR("]"));
}

static bool write_message(const struct encoder *e, struct buf *out)
{
    struct str refusal = chat_refusal(e);
    bool ok = buf_lit(out, "{\"role\":\"assistant\"") && write_content(e, out) &&
              (refusal.p ? PUT(out, STR(",\"refusal\":\""), refusal, STR("\""))
                         : buf_lit(out, ",\"refusal\":null")) &&
              write_calls(e, out) && write_reasoning(e, out);
    return ok && chat_write_notes(e, STR(","), out) && buf_lit(out, "}");
}

static bool whole_finish(struct encoder *e, const struct answer *a, struct buf *out)
{
    char created[DECIMAL];
    return PUT(out, STR("{\"id\":\""), e->id, STR("\",\"object\":\"chat.completion\",\"created\":"),
               chat_decimal(created, e->created), STR(",\"model\":\""), e->model,
               STR("\",\"choices\":[{\"index\":0,\"message\":")) &&
           write_message(e, out) && buf_lit(out, ",\"logprobs\":null,") &&
           chat_write_finish(e, a, out) && buf_lit(out, "}],\"usage\":") &&
           chat_write_usage(a, out) &&
           (!e->tier.p || PUT(out, STR(",\"service_tier\":\""), e->tier, STR("\""))) &&
           buf_lit(out, "}");
}

const struct chat_form chat_form_whole = {
    .start = whole_start,
    .text = whole_text,
    .thinking_start = whole_thinking_start,
    .thinking = whole_thinking,
    .signature = whole_signature,
    .thinking_stop = whole_thinking_stop,
    .redacted = whole_redacted,
    .call_start = whole_call_start,
    .call_input = whole_call_input,
    .call_stop = whole_call_stop,
    .finish = whole_finish,
};
