/* completions_encode.c - the two forms of an answer of the older Completions API.
 *
 *   {"id":"cmpl-..","object":"text_completion",..,"choices":[{"text": <text> ,"index":0,...}]}
 *
 * A chunk is the same object with a piece of the text. Reasoning never comes here (the request's
 * reply says so), and calls cannot: the request declared no tools.
 */
#include "llm/chat_answer.h"

#define CHOICE_END "\",\"index\":0,\"logprobs\":null,\"finish_reason\":"
#define CHUNK_END  CHOICE_END "null}]}\n\n"

static bool stream_text(struct encoder *e, struct str inside, struct buf *out)
{
    return PUT(out, e->head, inside, STR(CHUNK_END));
}

static bool stream_start(struct encoder *e, struct buf *out)
{
    chat_make_head(e, "text_completion", "{\"text\":\"");
    return !e->reply->echo.p || stream_text(e, e->reply->echo, out);
}

static bool stream_finish(struct encoder *e, const struct answer *a, struct buf *out)
{
    return PUT(out, e->head, STR(CHOICE_END "\""), str_c(chat_finish_reason(e, a)),
               STR("\"}]}\n\n")) &&
           chat_write_end(e, a, out);
}

static bool whole_start(struct encoder *e, struct buf *out)
{
    (void)e;
    (void)out;
    return true;
}

static bool whole_finish(struct encoder *e, const struct answer *a, struct buf *out)
{
    return chat_write_ids(e, "text_completion", out) &&
           PUT(out, STR(",\"choices\":[{\"text\":\""), e->reply->echo, buf_str(&e->text),
               STR(CHOICE_END "\""), str_c(chat_finish_reason(e, a)), STR("\"}],\"usage\":")) &&
           chat_write_usage(a, out) && buf_lit(out, "}");
}

static bool no_call_start(struct encoder *e, uint32_t k, struct str id, struct str name,
                          struct buf *out)
{
    (void)k;
    (void)id;
    (void)name;
    return whole_start(e, out);
}

static bool no_call_input(struct encoder *e, uint32_t k, struct str inside, struct buf *out)
{
    (void)k;
    (void)inside;
    return whole_start(e, out);
}

static bool no_call_stop(struct encoder *e, uint32_t k, struct buf *out)
{
    (void)k;
    return whole_start(e, out);
}

static const struct chat_form form_stream = {
    .id_prefix = "cmpl-",
    .streams = true,
    .start = stream_start,
    .text = stream_text,
    .call_start = no_call_start,
    .call_input = no_call_input,
    .call_stop = no_call_stop,
    .finish = stream_finish,
};

static const struct chat_form form_whole = {
    .id_prefix = "cmpl-",
    .start = whole_start,
    .text = chat_whole_text,
    .call_start = no_call_start,
    .call_input = no_call_input,
    .call_stop = no_call_stop,
    .finish = whole_finish,
};

struct encoder *completions_open(struct arena *keep, const struct decoded *d,
                                 const struct encoder_options *o)
{
    return chat_open_form(keep, d, o, o->stream ? &form_stream : &form_whole);
}
