/* chat_end.c - what both forms of an answer end with: the finish reason, the usage, the sources.
 *
 * A source on the web is an annotation, as OpenAI has it. A place in a document has no shape there: it
 * stands in `citations`, as upstream tells it, with the characters of the content that it is about.
 */
#include "llm/chat_answer.h"

/* --- the end --- */

struct chat_end *chat_end(struct encoder *e)
{
    if (!e->end)
        e->end = ARENA_NEW(e->keep, struct chat_end);
    return e->end;
}

void chat_refuse_answer(struct encoder *e, const struct event *ev)
{
    struct chat_end *end = chat_end(e);
    end->category = arena_dup(e->keep, ev->refusal_category);
    end->explanation = arena_dup(e->keep, ev->refusal_text);
    if (end->explanation.n > 0)
        end->refusal = end->explanation;
    else if (end->category.n > 0)
        end->refusal =
            arena_printf(e->keep, "The model declined to answer (%.*s).", STR_FMT(end->category));
    else
        end->refusal = STR("The model declined to answer.");
}

struct str chat_refusal(const struct encoder *e)
{
    return e->end ? e->end->refusal : STR_NONE;
}

static const char *finish_reason(const struct encoder *e, const struct answer *a)
{
    if (a->stop == STOP_REFUSAL)
        return "content_filter";
    if (!e->stopped && (a->stop == STOP_MAX_TOKENS || a->stop == STOP_CONTEXT_FULL))
        return "length";
    if (a->tool_uses == 0 || e->reply->json_tool)
        return "stop";
    return e->reply->functions ? "function_call" : "tool_calls"; /* whatever upstream calls it */
}

static bool write_text_or_null(struct str inside, struct buf *out)
{
    return inside.n > 0 ? PUT(out, STR("\""), inside, STR("\"")) : buf_lit(out, "null");
}

/* Beside the reason, what OpenAI has no member for: why a refusal, and which of the stops. */
bool chat_write_finish(const struct encoder *e, const struct answer *a, struct buf *out)
{
    if (!PUT(out, STR("\"finish_reason\":\""), str_c(finish_reason(e, a)), STR("\"")))
        return false;
    const struct chat_end *end = e->end;
    if (end && a->stop == STOP_REFUSAL)
        return buf_lit(out, ",\"stop_details\":{\"type\":\"refusal\",\"category\":") &&
               write_text_or_null(end->category, out) && buf_lit(out, ",\"explanation\":") &&
               write_text_or_null(end->explanation, out) && buf_lit(out, "}");
    if (end && end->stop.n > 0 && (e->stopped || a->stop == STOP_SEQUENCE))
        return PUT(out, STR(",\"stop_reason\":\""), end->stop, STR("\""));
    return true;
}

static int64_t count(int64_t n)
{
    return n > 0 ? n : 0;
}

static bool write_searches(int64_t n, struct buf *out)
{
    char d[DECIMAL];
    return n <= 0 || PUT(out, STR(",\"server_tool_use\":{\"web_search_requests\":"),
                         chat_decimal(d, n), STR("}"));
}

bool chat_write_usage(const struct answer *a, struct buf *out)
{
    const struct usage *u = &a->usage;
    int64_t prompt = usage_prompt_tokens(u), total;
    int64_t output = count(u->output), thinking = count(u->thinking);
    if (__builtin_add_overflow(prompt, output, &total))
        total = INT64_MAX;
    char d[6][DECIMAL];
    struct str cached = chat_decimal(d[3], count(u->cache_read));
    struct str stored = chat_decimal(d[4], count(u->cache_write));
    return PUT(out, STR("{\"prompt_tokens\":"), chat_decimal(d[0], prompt),
               STR(",\"completion_tokens\":"), chat_decimal(d[1], output),
               STR(",\"total_tokens\":"), chat_decimal(d[2], total),
               STR(",\"prompt_tokens_details\":{\"cached_tokens\":"), cached,
               STR(",\"cache_write_tokens\":"), stored,
               STR(",\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":"),
               chat_decimal(d[5], thinking < output ? thinking : output),
               STR(",\"audio_tokens\":0,\"accepted_prediction_tokens\":0,"
                   "\"rejected_prediction_tokens\":0},\"cache_read_input_tokens\":"),
               cached, STR(",\"cache_creation_input_tokens\":"), stored) &&
           write_searches(u->web_searches, out) && buf_lit(out, "}");
}

/* --- sources --- */

/* A citation as a value, on one line: it will stand in a frame. Absent when there is no room. */
static struct str keep_citation(struct encoder *e, struct jval citation)
{
    struct str raw = json_raw(citation);
    if (raw.n > CITED_MAX - e->n_cited)
        return STR_NONE;
    e->n_cited += (uint32_t)raw.n;
    char *line = arena_alloc(e->keep, raw.n);
    for (size_t i = 0; i < raw.n; i++)
        line[i] = raw.p[i] == '\n' || raw.p[i] == '\r' ? ' ' : raw.p[i];
    return str_of(line, raw.n);
}

/* The same source for the same text. */
static bool is_noted(const struct encoder *e, struct str url, struct str raw)
{
    for (const struct note *n = e->notes; n; n = n->next)
        if (!n->complete && str_eq(n->url.p ? n->url : n->raw, url.p ? url : raw))
            return true;
    return false;
}

void chat_add_note(struct encoder *e, struct jval citation)
{
    bool web = json_str_is(json_get(citation, STR("type")), STR("web_search_result_location"));
    struct str url = web ? json_str_raw(json_get(citation, STR("url"))) : STR_NONE;
    struct str title = json_str_raw(json_get(citation, STR("title")));
    if ((web && url.n == 0) || e->n_notes == NOTES_MAX || is_noted(e, url, json_raw(citation)))
        return;
    struct note note = {
        .url = web ? arena_dup(e->keep, url) : STR_NONE,
        .title = web ? arena_dup(e->keep, title) : STR_NONE,
        .raw = web ? STR_NONE : keep_citation(e, citation),
    };
    if (!note.url.p && !note.raw.p)
        return;
    struct note *n = ARENA_NEW(e->keep, struct note);
    *n = note;
    if (e->last_note)
        e->last_note->next = n;
    else
        e->notes = n;
    e->last_note = n;
    e->n_notes++;
}

void chat_complete_notes(struct encoder *e)
{
    for (struct note *n = e->notes; n; n = n->next) {
        if (n->complete)
            continue;
        n->complete = true;
        n->start = e->block_chars;
        n->end = e->chars;
    }
}

static bool write_annotation(const struct note *n, struct str before, struct buf *out)
{
    char start[DECIMAL], end[DECIMAL];
    return PUT(out, before, STR("{\"type\":\"url_citation\",\"url_citation\":{\"start_index\":"),
               chat_decimal(start, (int64_t)n->start), STR(",\"end_index\":"),
               chat_decimal(end, (int64_t)n->end), STR(",\"title\":\""), n->title,
               STR("\",\"url\":\""), n->url, STR("\"}}"));
}

static bool write_citation(const struct note *n, struct str before, struct buf *out)
{
    char start[DECIMAL], end[DECIMAL];
    return PUT(out, before, STR("{\"start_index\":"), chat_decimal(start, (int64_t)n->start),
               STR(",\"end_index\":"), chat_decimal(end, (int64_t)n->end), STR(","),
               str_skip(n->raw, 1));
}

bool chat_write_notes(const struct encoder *e, struct str before, struct buf *out)
{
    static const struct {
        struct str name;
        bool web;
        bool (*write)(const struct note *n, struct str before, struct buf *out);
    } lists[] = {
        {STR_INIT("\"annotations\":["), true, write_annotation},
        {STR_INIT("\"citations\":["), false, write_citation},
    };

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        bool any = false;
        for (const struct note *n = e->notes; n; n = n->next) {
            if ((n->url.p != NULL) != lists[i].web)
                continue;
            if (!any && !PUT(out, before, lists[i].name))
                return false;
            if (!lists[i].write(n, any ? STR(",") : STR(""), out))
                return false;
            any = true;
        }
        if (any && !buf_lit(out, "]"))
            return false;
        before = any ? STR(",") : before;
    }
    return true;
}
