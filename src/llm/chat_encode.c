/* chat_encode.c - from the events of an answer to the pieces of a Chat Completions answer.
 *
 *   event --> text | thinking | call ... --> form: a chunk now, or a growing body
 *
 * Deltas are insides of JSON strings and are spliced as they come, never read: a piece of a tool's
 * input may end in the middle of an escape. Upstream's server tools are not shown: a client would
 * try to run them.
 */
#include "base/scan.h"
#include "base/text.h"
#include "llm/chat_answer.h"
#include "wire/jsonw.h"

#include <inttypes.h>

enum { CUSTOM_INPUT_MAX = 8 * 1024 * 1024 };

bool chat_put(struct buf *out, const struct str *parts, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += parts[i].n;
    char *p = buf_reserve(out, len);
    if (!p)
        return false;
    for (size_t i = 0; i < n; i++)
        p = str_copy(p, parts[i]);
    buf_commit(out, len);
    return true;
}

struct str chat_decimal(char out[DECIMAL], int64_t n)
{
    size_t sign = n < 0;
    out[0] = '-';
    return str_of(out, sign + text_u64(n < 0 ? 0 - (uint64_t)n : (uint64_t)n, out + sign));
}

/* Plain text as the inside of a JSON string: the name of a model not in the table is the client's. */
static struct str inside_of(struct arena *a, struct str text)
{
    struct buf b;
    buf_init(&b, 6 * text.n + 1);
    bool fits = jsonw_escape(&b, text);
    ASSERT(fits);
    struct str inside = arena_dup(a, buf_str(&b));
    buf_done(&b);
    return inside;
}

struct encoder *chat_open(struct arena *keep, const struct decoded *d,
                          const struct encoder_options *o)
{
    struct encoder *e = ARENA_NEW(keep, struct encoder);
    e->reply = d->state;
    e->stream = o->stream;
    if (e->reply->unfence)
        e->fence.held = arena_alloc(keep, FENCE_HOLD);
    if (e->reply->n_stops > 0)
        e->tail = arena_alloc(keep, CHAT_STOP_MAX);
    if (e->reply->completion)
        e->form = o->stream ? &completion_form_stream : &completion_form_whole;
    else
        e->form = o->stream ? &chat_form_stream : &chat_form_whole;
    e->keep = keep;
    e->created = o->created;
    e->fallback_id = o->id;
    e->fallback_model = inside_of(keep, d->request->model->id);
    e->whole_max = size_max(o->whole_max, 1);
    struct buf *const bufs[] = {&e->text, &e->reasoning, &e->details, &e->calls};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_init(bufs[i], e->whole_max);
    buf_init(&e->input, CUSTOM_INPUT_MAX);
    return e;
}

void chat_close(struct encoder *e)
{
    struct buf *const bufs[] = {&e->input, &e->text, &e->reasoning, &e->details, &e->calls};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
}

/* --- text --- */

/* Characters of the inside of a JSON string; a surrogate pair is one. */
static uint64_t count_chars(struct str s)
{
    const char *p = s.p, *end = s.p + s.n;
    uint64_t n = 0;
    while (p < end) {
        if (*p != '\\') {
            const char *plain = scan_plain(p, end);
            n += (uint64_t)(plain - p);
            for (p = plain; p < end && *p != '\\' && !scan_is_plain(*p); p++)
                n += ((unsigned char)*p & 0xc0) != 0x80;
            continue;
        }
        bool unicode = end - p > 5 && p[1] == 'u';
        bool low = unicode && (p[2] | 0x20) == 'd' && (p[3] | 0x20) >= 'c' && (p[3] | 0x20) <= 'f';
        n += !low;
        p += unicode ? 6 : 2;
    }
    return n;
}

static bool tell(struct encoder *e, struct str inside, struct buf *out)
{
    if (inside.n == 0)
        return true;
    e->any_text = true;
    e->chars += count_chars(inside);
    return e->form->text(e, inside, out);
}

/* Bytes of the character at the start of an inside. */
static size_t char_at(struct str s)
{
    ASSERT(s.n > 0 && s.p);
    size_t n = s.p[0] != '\\' ? 1 : s.n > 1 && s.p[1] == 'u' ? 6 : 2;
    return size_min(n, s.n);
}

enum match { MATCH_NOT, MATCH_PART, MATCH_WHOLE };

/* Whether one of the stops stands at the start of s, or s may be the beginning of one. */
static enum match match_stop(struct encoder *e, struct str s)
{
    const struct chat_reply *r = e->reply;
    enum match best = MATCH_NOT;
    for (size_t i = 0; i < r->n_stops && best != MATCH_WHOLE; i++) {
        if (str_starts(s, r->stops[i])) {
            best = MATCH_WHOLE;
            chat_end(e)->stop = r->stops[i];
        } else if (str_starts(r->stops[i], s)) {
            best = MATCH_PART;
        }
    }
    return best;
}

/* What of s is told: all before a stop, or before what may become one, which is held back. */
static bool tell_until_stop(struct encoder *e, struct str s, struct buf *out)
{
    size_t at = 0;
    enum match match = MATCH_NOT;
    while (at < s.n && (match = match_stop(e, str_skip(s, at))) == MATCH_NOT)
        at += char_at(str_skip(s, at));
    e->stopped = match == MATCH_WHOLE;
    e->n_tail = match == MATCH_PART ? s.n - at : 0; /* shorter than the stop that it begins */
    if (e->n_tail > 0 && s.p)
        memcpy(e->tail, s.p + at, e->n_tail);
    return tell(e, str_head(s, at), out);
}

static bool emit_text(struct encoder *e, struct str inside, struct buf *out)
{
    if (e->reply->n_stops == 0)
        return tell(e, inside, out);
    if (e->stopped || inside.n == 0)
        return true;
    if (e->n_tail == 0)
        return tell_until_stop(e, inside, out);
    struct buf joined;
    buf_init(&joined, e->n_tail + inside.n);
    bool ok = buf_append(&joined, str_of(e->tail, e->n_tail)) && buf_append(&joined, inside) &&
              tell_until_stop(e, buf_str(&joined), out);
    buf_done(&joined);
    return ok;
}

/* What was held back was no stop after all. */
static bool emit_tail(struct encoder *e, struct buf *out)
{
    struct str tail = str_of(e->tail, e->n_tail);
    e->n_tail = 0;
    return tell(e, tail, out);
}

/* Bytes of white space at the start of an inside. */
static size_t leading_space(struct str s)
{
    size_t i = 0;
    while (i < s.n) {
        if (s.p[i] == ' ')
            i++;
        else if (s.p[i] == '\\' && i + 1 < s.n && memchr("nrt", s.p[i + 1], 3))
            i += 2;
        else
            break;
    }
    return i;
}

/* Bytes at the end of an inside that may belong to a closing fence: white space and backquotes. */
static size_t trailing_fence(struct str s)
{
    size_t n = s.n;
    while (n > 0) {
        if (s.p[n - 1] == ' ' || s.p[n - 1] == '`') {
            n--;
            continue;
        }
        size_t slashes = 0;
        while (slashes + 1 < n && s.p[n - 2 - slashes] == '\\')
            slashes++;
        if (!memchr("nrt", s.p[n - 1], 3) || slashes % 2 == 0)
            break;
        n -= 2;
    }
    return s.n - n;
}

static bool fence_release(struct encoder *e, struct buf *out)
{
    struct str held = str_of(e->fence.held, e->fence.n);
    e->fence.n = 0;
    return emit_text(e, held, out);
}

/* Holds s back; what does not fit any more cannot be a fence. */
static bool fence_hold(struct encoder *e, struct str s, struct buf *out)
{
    if (e->fence.n + s.n > FENCE_HOLD)
        return fence_release(e, out) && emit_text(e, s, out);
    memcpy(e->fence.held + e->fence.n, s.p, s.n);
    e->fence.n += s.n;
    return true;
}

static bool fence_inside(struct encoder *e, struct str s, struct buf *out)
{
    size_t tail = trailing_fence(s);
    if (tail < s.n && !(fence_release(e, out) && emit_text(e, str_head(s, s.n - tail), out)))
        return false;
    return tail == 0 || fence_hold(e, str_skip(s, s.n - tail), out);
}

/* Whether what has come so far opens a fence ("```json" and a line end), cannot, or may still. */
static bool fence_start(struct encoder *e, struct str s, struct buf *out)
{
    char all[2 * FENCE_HOLD];
    size_t n = size_min(s.n, sizeof(all) - e->fence.n);
    if (e->fence.n > 0)
        memcpy(all, e->fence.held, e->fence.n);
    memcpy(all + e->fence.n, s.p, n);
    struct str seen = str_of(all, e->fence.n + n);
    struct str word = str_skip(seen, leading_space(seen));
    bool may_open = str_starts(str_of("```", 3), str_head(word, size_min(word.n, 3)));
    size_t end = str_find_str(word, STR("\\n"));
    if (may_open && word.n >= 3 && end < word.n) {
        size_t used = (size_t)(word.p - seen.p) + end + 2 - e->fence.n; /* of s */
        e->fence.state = FENCE_INSIDE;
        e->fence.n = 0;
        return fence_inside(e, str_skip(s, used), out);
    }
    if (may_open && seen.n < FENCE_HOLD)
        return fence_hold(e, s, out);
    e->fence.state = FENCE_NONE;
    return fence_release(e, out) && emit_text(e, s, out);
}

static bool take_text(struct encoder *e, struct str inside, struct buf *out)
{
    if (!e->reply->unfence || inside.n == 0)
        return emit_text(e, inside, out);
    switch (e->fence.state) {
    case FENCE_START: return fence_start(e, inside, out);
    case FENCE_INSIDE: return fence_inside(e, inside, out);
    case FENCE_NONE: return emit_text(e, inside, out);
    }
    UNREACHABLE();
}

/* At the end: a held closing fence goes, anything else was text. */
static bool fence_end(struct encoder *e, struct buf *out)
{
    struct str held = str_of(e->fence.held, e->fence.n);
    size_t ticks = str_find_str(held, STR("```"));
    if (e->fence.state == FENCE_INSIDE && ticks < held.n)
        e->fence.n = 0;
    return fence_release(e, out);
}

/* --- events --- */

static const struct chat_name *name_of(const struct encoder *e, struct str sent)
{
    const struct chat_name *n = e->reply->names;
    while (n && !str_eq(n->sent, sent))
        n = n->next;
    return n;
}

static struct str tier_of(struct str tier)
{
    static const struct {
        struct str theirs, ours;
    } tiers[] = {
        {STR_INIT("standard"), STR_INIT("default")},
        {STR_INIT("priority"), STR_INIT("priority")},
        {STR_INIT("batch"), STR_INIT("flex")},
        {STR_INIT("fast"), STR_INIT("fast")},
    };

    for (size_t i = 0; i < ARRAY_LEN(tiers); i++)
        if (str_eq(tiers[i].theirs, tier))
            return tiers[i].ours;
    return STR("default");
}

static bool on_message_start(struct encoder *e, const struct answer *a, const struct event *ev,
                             struct buf *out)
{
    (void)a;
    struct str id = str_starts(ev->id, STR("msg_")) ? str_skip(ev->id, 4) : ev->id;
    id = id.n > 0 ? id : e->fallback_id;
    e->id = arena_join(e->keep, e->reply->completion ? STR("cmpl-") : STR("chatcmpl-"), id);
    e->model = ev->model.n > 0 ? arena_dup(e->keep, ev->model) : e->fallback_model;
    if (e->reply->tier_asked)
        e->tier = tier_of(ev->service_tier);
    return e->form->start(e, out);
}

static bool start_call(struct encoder *e, const struct answer *a, const struct event *ev,
                       struct buf *out)
{
    const struct chat_name *name = name_of(e, ev->name);
    e->custom = name && name->custom;
    e->held = name && (name->custom || name->keys) ? name : NULL;
    e->input_seen = false;
    if (e->reply->json_tool)
        return true;
    return e->form->call_start(e, a->tool_uses - 1, ev->id, name ? name->theirs : ev->name, out);
}

static bool on_block_start(struct encoder *e, const struct answer *a, const struct event *ev,
                           struct buf *out)
{
    e->block_chars = e->chars;
    e->signature_seen = e->thought_text = false;
    switch (ev->block) {
    case EVENT_BLOCK_TEXT: return take_text(e, ev->text, out);
    case EVENT_BLOCK_TOOL_USE: return start_call(e, a, ev, out);
    case EVENT_BLOCK_THINKING:
        if (e->reply->hide_reasoning)
            return true;
        if (!e->form->thinking_start(e, ev->index, out))
            return false;
        return ev->text.n == 0 || e->form->thinking(e, ev->index, ev->text, out);
    case EVENT_BLOCK_REDACTED:
        return e->reply->hide_reasoning || e->form->redacted(e, ev->index, ev->text, out);
    case EVENT_BLOCK_HIDDEN: return true;
    }
    UNREACHABLE();
}

static bool on_text(struct encoder *e, const struct answer *a, const struct event *ev,
                    struct buf *out)
{
    return a->block == EVENT_BLOCK_HIDDEN || take_text(e, ev->text, out);
}

static bool on_json(struct encoder *e, const struct answer *a, const struct event *ev,
                    struct buf *out)
{
    if (a->block == EVENT_BLOCK_HIDDEN || ev->text.n == 0)
        return true;
    e->input_seen = true;
    if (e->reply->json_tool)
        return emit_text(e, ev->text, out);
    if (e->held)
        return buf_append(&e->input, ev->text);
    return e->form->call_input(e, a->tool_uses - 1, ev->text, out);
}

static bool on_thinking(struct encoder *e, const struct answer *a, const struct event *ev,
                        struct buf *out)
{
    if (a->block == EVENT_BLOCK_HIDDEN || e->reply->hide_reasoning || ev->text.n == 0)
        return true;
    return e->form->thinking(e, ev->index, ev->text, out);
}

static bool on_signature(struct encoder *e, const struct answer *a, const struct event *ev,
                         struct buf *out)
{
    if (a->block == EVENT_BLOCK_HIDDEN || e->reply->hide_reasoning || ev->text.n == 0)
        return true;
    return e->form->signature(e, ev->index, ev->text, out);
}

static bool on_citation(struct encoder *e, const struct answer *a, const struct event *ev,
                        struct buf *out)
{
    (void)out;
    if (a->block == EVENT_BLOCK_HIDDEN)
        return true;
    struct json doc;
    json_init(&doc);
    if (json_parse(&doc, ev->input) == JSON_OK)
        chat_add_note(e, json_root(&doc));
    json_done(&doc);
    return true;
}

/* An input as the client knows it: of a custom tool the text, else the object with its own names. */
static bool emit_input(struct encoder *e, uint32_t k, struct jval input, struct buf *out)
{
    struct str text = json_str_raw(json_get(input, STR("input")));
    if (e->custom)
        return e->form->call_input(e, k, text.p ? text : buf_str(&e->input), out);
    struct buf plain, inside;
    buf_init(&plain, CUSTOM_INPUT_MAX);
    buf_init(&inside, CUSTOM_INPUT_MAX);
    bool ok = chat_keys_restore(e->held->keys, input, &plain) &&
              jsonw_escape(&inside, buf_str(&plain)) &&
              e->form->call_input(e, k, buf_str(&inside), out);
    buf_done(&plain);
    buf_done(&inside);
    return ok;
}

/* A held input is a JSON text inside of a string. It is unescaped into the room behind itself; what
 * is no JSON, being cut off, goes on as it is. */
static bool flush_input(struct encoder *e, uint32_t k, struct buf *out)
{
    char *plain = buf_reserve(&e->input, size_max(buf_len(&e->input), 1));
    if (!plain)
        return false;
    struct str inside = buf_str(&e->input);
    struct json doc;
    json_init(&doc);
    bool whole =
        inside.n > 0 && json_parse(&doc, str_of(plain, json_unescape(inside, plain))) == JSON_OK;
    bool ok =
        whole ? emit_input(e, k, json_root(&doc), out) : e->form->call_input(e, k, inside, out);
    json_done(&doc);
    buf_clear(&e->input);
    return ok;
}

static bool stop_call(struct encoder *e, const struct answer *a, struct buf *out)
{
    uint32_t k = a->tool_uses - 1;
    if (e->reply->json_tool)
        return e->input_seen || emit_text(e, STR("{}"), out);
    if (e->held && (e->custom || e->input_seen) && !flush_input(e, k, out))
        return false;
    if (!e->custom && !e->input_seen && !e->form->call_input(e, k, STR("{}"), out))
        return false;
    return e->form->call_stop(e, k, out);
}

static bool on_block_stop(struct encoder *e, const struct answer *a, const struct event *ev,
                          struct buf *out)
{
    switch (a->block) {
    case EVENT_BLOCK_TEXT: chat_complete_notes(e); return true;
    case EVENT_BLOCK_TOOL_USE: return stop_call(e, a, out);
    case EVENT_BLOCK_THINKING:
        return e->reply->hide_reasoning || e->form->thinking_stop(e, ev->index, out);
    case EVENT_BLOCK_REDACTED:
    case EVENT_BLOCK_HIDDEN: return true;
    }
    UNREACHABLE();
}

static bool on_message_delta(struct encoder *e, const struct answer *a, const struct event *ev,
                             struct buf *out)
{
    (void)a;
    (void)out;
    if (ev->stop == STOP_SEQUENCE && !e->stopped)
        chat_end(e)->stop = arena_dup(e->keep, ev->stop_sequence);
    if (ev->stop == STOP_REFUSAL)
        chat_refuse_answer(e, ev);
    return true;
}

static bool on_ping(struct encoder *e, const struct answer *a, const struct event *ev,
                    struct buf *out)
{
    (void)a;
    (void)ev;
    if (e->stream)
        dialect_chat.keepalive(out);
    return true;
}

bool chat_event(struct encoder *e, const struct answer *a, const struct event *ev, struct buf *out)
{
    static bool (*const handlers[])(struct encoder * e, const struct answer *a,
                                    const struct event *ev, struct buf *out) = {
        [EVENT_MESSAGE_START] = on_message_start,
        [EVENT_BLOCK_START] = on_block_start,
        [EVENT_TEXT] = on_text,
        [EVENT_JSON] = on_json,
        [EVENT_THINKING] = on_thinking,
        [EVENT_SIGNATURE] = on_signature,
        [EVENT_CITATION] = on_citation,
        [EVENT_BLOCK_STOP] = on_block_stop,
        [EVENT_MESSAGE_DELTA] = on_message_delta,
        [EVENT_PING] = on_ping,
        [EVENT_UNKNOWN] = NULL,
    };
    if (!handlers[ev->type])
        return true;
    return handlers[ev->type](e, a, ev, out);
}

bool chat_finish(struct encoder *e, const struct answer *a, struct buf *out)
{
    return fence_end(e, out) && emit_tail(e, out) && e->form->finish(e, a, out);
}
