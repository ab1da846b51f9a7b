/* relay.c - moves one answer from the upstream to the client.
 *
 *   call --bytes--> [pending] --sse--> event --answer_track--> encoder --> reply --> client
 *     ^                                                                      |
 *     +------------- paused while more than SERVER_HIGH_MARK is queued ------+
 *
 * A short answer comes in one piece (step_decode asks for it so): it is replayed as the events
 * that a stream would have had, and everything behind is the same.
 *
 * An answer that pauses (pause_turn: upstream's own tools ran long enough for one call) is sent back
 * with the request, as many rounds as it takes up to a limit; the client sees one answer.
 *
 * Invariants:
 *   1. The client gets no byte before the first event of an answer has come: until then an attempt
 *      may be given up for another, or become a real HTTP error.
 *   2. An event is translated whole or not at all; usage is counted from events only.
 *   3. An answer is complete when message_stop has come, and not before. Without it, it was cut.
 *   4. After each event x->step is looked at again: anything may have ended the exchange.
 */
#include "base/clock.h"
#include "llm/adapt.h"
#include "proxy/admit.h"
#include "proxy/count.h"
#include "proxy/endpoint.h"
#include "proxy/exchange.h"
#include "proxy/proxy_int.h"
#include "proxy/traces.h"

enum {
    ERROR_BODY_MAX = 64 * 1024,
    WHOLE_AT_ONCE = 16 * 1024, /* memory for an answer of known length, in one piece */
    SETTLE_US = 1000 * 1000,
    KEY_REST_US = 60 * 1000 * 1000, /* a key that was refused */
    KEY_PAUSE_US = 5 * 1000 * 1000, /* a key at its limit that was not told for how long */
    ROUNDS_MAX = 5,                 /* of an answer that pauses */
};

/* Whether the exchange still takes what this attempt brings. */
static bool is_relaying(const struct exchange *x, unsigned attempt)
{
    return (x->step == STEP_SEND || x->step == STEP_RELAY) && x->attempts == attempt;
}

/* --- attempts ------------------------------------------------------------------------------- */

static bool is_rate_limit(enum fail why)
{
    return why == FAIL_UPSTREAM_RATE_LIMIT || why == FAIL_UPSTREAM_RATE_REQUESTS ||
           why == FAIL_UPSTREAM_RATE_TOKENS;
}

static bool is_about_key(enum fail why)
{
    return is_rate_limit(why) || why == FAIL_UPSTREAM_AUTH || why == FAIL_UPSTREAM_QUOTA;
}

static void rest_key(struct exchange *x, enum fail why)
{
    uint64_t rest = KEY_REST_US;
    if (is_rate_limit(why))
        rest = x->retry_after_us >= 0 ? (uint64_t)x->retry_after_us : KEY_PAUSE_US;
    route_rest(&x->proxy->route, x->key, clock_us() + rest);
    count_key_rest(x, x->key, rest);
}

static void count_upstream(struct proxy *p, enum fail why)
{
    bool failed = fail_row(why)->fault == FAULT_UPSTREAM && why != FAIL_UPSTREAM_UNSENT;
    proxy_saw_upstream(p, !failed);
}

static void drop_call(struct exchange *x)
{
    if (x->call)
        call_cancel(x->call);
    x->call = NULL;
    x->paused = false;
    buf_clear(&x->pending);
}

static void send_again(struct exchange *x, uint64_t delay_us)
{
    exchange_goto(x, STEP_ROUTE);
    x->phase_at_us = delay_us ? clock_us() + delay_us : 0;
    exchange_run(x);
}

void relay_failed(struct exchange *x, enum fail why, const struct upstream_error *error)
{
    count_upstream(x->proxy, why);
    count_attempt_end(x);
    traces_attempt_end(x, why);
    drop_call(x);
    bool about_key = is_about_key(why);
    if (about_key)
        rest_key(x, why);
    const struct retry_facts facts = {
        .why = why,
        .attempts = x->attempts,
        .retries_max = (unsigned)x->proxy->config->retries,
        .asked = x->should_retry,
        .retry_after_us = x->retry_after_us,
        .other_key = about_key && route_has_other(&x->proxy->route, clock_us(), x->keys_tried),
    };
    uint64_t delay_us;
    if (x->step == STEP_SEND && retry_plan(&x->proxy->retries, &facts, &delay_us)) {
        LOG(LOG_INFO, "retry", LOG_STR("id", x->id), LOG_CSTR("why", fail_row(why)->name),
            LOG_INT("attempt", x->attempts), LOG_MS("after_ms", delay_us));
        count_retry(x, why);
        send_again(x, delay_us);
        return;
    }
    if (error)
        exchange_fail_with(x, why, error->said, error->param, error->message);
    else
        exchange_fail(x, why);
}

/* overloaded_error: a name of the API's, and not something that only stands where one should. */
static struct str name_or_none(struct str s)
{
    enum { NAME_MAX_LEN = 64 };

    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '_' && (s.p[i] < 'a' || s.p[i] > 'z'))
            return STR_NONE;
    return s.n <= NAME_MAX_LEN ? s : STR_NONE;
}

/* Upstream refuses something of the request by name: once more without it. False when there is
 * nothing that could be left out, or that was tried before; with strict only thinking goes, which
 * the client has not asked for. */
static bool adapt(struct exchange *x, struct str message)
{
    struct decoded *d = &x->decoded;
    if (x->adapted || x->step != STEP_SEND || !d->request)
        return false;
    struct str gone = messages_adapt(d->request, message, &x->scratch, &x->unable);
    bool asked_for = !str_eq(gone, STR("messages.thinking"));
    if (!gone.p || (asked_for && x->proxy->config->strict))
        return false;
    x->adapted = true;
    d->dropped = d->dropped.n
                     ? arena_printf(&x->keep, "%.*s, %.*s", STR_FMT(d->dropped), STR_FMT(gone))
                     : gone;
    exchange_bind(x);
    LOG(LOG_WARN, "upstream refused what the table of models allows, sent again without it",
        LOG_STR("id", x->id), LOG_STR("model", d->request->model->id), LOG_STR("without", gone));
    exchange_rewrite(x);
    count_attempt_end(x);
    traces_attempt_end(x, FAIL_UPSTREAM_INVALID_REQUEST);
    count_retry(x, FAIL_UPSTREAM_INVALID_REQUEST);
    drop_call(x);
    send_again(x, 0);
    return true;
}

/* Which of upstream's limits it was, as OpenAI would name it. */
static enum fail exhausted(const struct exchange *x, enum fail why)
{
    const struct upstream_limits *l = x->limits;
    if (why != FAIL_UPSTREAM_RATE_LIMIT || !l)
        return why;
    if (l->requests.known && l->requests.remaining == 0)
        return FAIL_UPSTREAM_RATE_REQUESTS;
    return l->tokens.known && l->tokens.remaining == 0 ? FAIL_UPSTREAM_RATE_TOKENS : why;
}

/* An error object instead of an answer (status set), or an error event in one (status 0). What the
 * upstream says of our credentials is never shown to a client; its words, which may quote anything,
 * never stand in the log. */
static void on_upstream_error(struct exchange *x, int status, struct str body)
{
    struct upstream_error e = {0};
    upstream_error_read(status, body, &x->proxy->doc, &x->keep, &e);
    LOG(LOG_INFO, "upstream error", LOG_STR("id", x->id), LOG_INT("status", status),
        LOG_STR("type", name_or_none(e.type)),
        log_if(e.code.n, LOG_STR("code", name_or_none(e.code))));
    if (e.kind == UPSTREAM_INVALID_REQUEST && status == 400 && adapt(x, e.message))
        return;
    if (str_eq(e.param, STR("max_tokens")) && x->decoded.max_tokens_name.n)
        e.param = x->decoded.max_tokens_name;
    relay_failed(x, exhausted(x, fail_of_upstream(e.kind)), &e);
}

/* --- events --------------------------------------------------------------------------------- */

static void begin_stream(struct exchange *x)
{
    x->streaming = true;
    x->proxy->n_streams++;
    reply_head(x, 200, x->endpoint->dialect->stream_type);
    reply_field(x->request, STR("X-Accel-Buffering"), STR("no"));
    reply_head_end(x->request, -1);
}

/* The first event of an answer, or of another round of it, is here: no other attempt will be
 * made. */
static void begin_answer(struct exchange *x)
{
    exchange_goto(x, STEP_RELAY);
    x->phase_at_us = 0;
    x->progress_us = clock_us();
    count_upstream(x->proxy, FAIL_DONE);
    if (x->unable) /* without it the request was taken: the table was wrong */
        models_learn_cannot(x->proxy->models, x->decoded.model, x->unable);
    x->unable = 0;
    if (!x->resumable && (!x->call || call_sent(x->call)))
        exchange_commit(x);
    if (x->rounds == 0) {
        x->first_event_us = clock_us() - x->started_us;
        x->sent_us = clock_us();
        if (x->decoded.stream)
            begin_stream(x);
    }
    watch_arm(x);
}

/* --- rounds --------------------------------------------------------------------------------- */

/* What was said so far joins the request as its last turn. False when it cannot. */
static bool add_said(struct exchange *x)
{
    struct proxy *p = x->proxy;
    struct messages_request *m = x->decoded.request;
    struct str blocks = content_blocks(&x->content);
    if (!blocks.p)
        return false;
    buf_clear(&p->scratch);
    bool fits =
        buf_lit(&p->scratch, "[") && buf_append(&p->scratch, blocks) && buf_lit(&p->scratch, "]");
    struct str list = arena_dup(&x->scratch, buf_str(&p->scratch));
    if (!fits || json_parse(&p->doc, list) != JSON_OK)
        return false;
    struct turn *turn = messages_turn(&x->scratch, m, ROLE_ASSISTANT);
    json_each (block, json_root(&p->doc))
        blocks_add(&x->scratch, &turn->blocks, BLOCK_RAW)->value = json_raw(block);
    return true;
}

/* False: the answer ends here. */
static bool resume(struct exchange *x)
{
    bool paused = x->answer.stop == STOP_PAUSE_TURN;
    if (!paused || !x->resumable || x->rounds == ROUNDS_MAX || !add_said(x))
        return false;
    x->rounds++;
    LOG(LOG_INFO, "answer paused, goes on", LOG_STR("id", x->id), LOG_INT("round", x->rounds));
    content_clear(&x->content);
    traces_attempt_end(x, FAIL_DONE);
    answer_resume(&x->answer);
    exchange_rewrite(x);
    count_attempt_end(x);
    drop_call(x);
    send_again(x, 0);
    return true;
}

/* The client's next request will miss it otherwise. Rounds were another request to upstream, so what
 * is bound to them cannot be put back. */
static void keep_thinking(struct exchange *x)
{
    const struct recall recall = exchange_recall(x);
    if (x->keeps && x->rounds == 0)
        recall_keep(&recall, x->decoded.model, &x->binding, &x->content);
}

/* The last event is here. The client is done; the upstream still owes the end of its message. The
 * limits are settled before the client can know, so its next request finds its lease free. */
static void end_answer(struct exchange *x)
{
    struct proxy *p = x->proxy;
    const struct dialect *d = x->endpoint->dialect;
    count_attempt_end(x);
    traces_attempt_end(x, FAIL_DONE);
    admit_settle(x);
    if (x->decoded.stream) {
        bool ok = d->finish(x->encoder, &x->answer, reply_body_begin(x->request));
        reply_body_end(x->request);
        if (!ok) {
            exchange_fail(x, FAIL_ANSWER_TOO_LARGE);
            return;
        }
        reply_end(x->request);
    } else {
        buf_clear(&p->scratch);
        if (!d->finish(x->encoder, &x->answer, &p->scratch)) {
            exchange_fail(x, FAIL_ANSWER_TOO_LARGE);
            return;
        }
        reply_whole(x, 200, STR("application/json"), buf_str(&p->scratch));
    }
    exchange_part(x);
    exchange_goto(x, STEP_SETTLE);
    x->phase_at_us = clock_us() + SETTLE_US;
    watch_arm(x);
}

static bool encode(struct exchange *x, const struct event *ev)
{
    const struct dialect *d = x->endpoint->dialect;
    if (!x->decoded.stream)
        return d->event(x->encoder, &x->answer, ev, NULL);
    bool ok = d->event(x->encoder, &x->answer, ev, reply_body_begin(x->request));
    reply_body_end(x->request);
    x->sent_us = clock_us();
    return ok;
}

static void send_keepalive(struct exchange *x)
{
    if (!x->decoded.stream)
        return;
    x->endpoint->dialect->keepalive(reply_body_begin(x->request));
    reply_body_end(x->request);
}

/* The client is told "stop": what a later version of the API may mean cannot be known. */
static void log_odd_stop(const struct exchange *x, struct str reason)
{
    LOG(LOG_WARN, "upstream ended an answer for a reason that is not known", LOG_STR("id", x->id),
        log_if(reason.n, LOG_STR("reason", name_or_none(reason))));
}

/* Message_stop: the end of the answer, or of a round of it. */
static void end_message(struct exchange *x)
{
    if (resume(x))
        return;
    if (x->answer.stop == STOP_NONE)
        log_odd_stop(x, STR_NONE);
    keep_thinking(x);
    end_answer(x);
}

/* The client gets every event but a second message_start. */
static bool relay_event(struct exchange *x, const struct event *ev)
{
    return (ev->type == EVENT_MESSAGE_START && x->rounds > 0) || encode(x, ev);
}

static bool take_numbered(struct exchange *x, const struct event *ev)
{
    if (!answer_track(&x->answer, ev)) {
        relay_failed(x, FAIL_UPSTREAM_BAD_ANSWER, NULL);
        return false;
    }
    if (ev->type == EVENT_MESSAGE_START) {
        traces_answer(x, ev);
        begin_answer(x);
    }
    if (x->step != STEP_RELAY)
        return true; /* a ping before the answer */
    if (event_is_progress(ev)) {
        count_progress(x);
        x->progress_us = clock_us();
        x->relayed_chars += ev->text.n;
    }
    if (x->keeps || x->resumable)
        content_take(&x->content, ev);
    if (ev->type == EVENT_MESSAGE_DELTA && ev->stop == STOP_OTHER)
        log_odd_stop(x, ev->stop_word);
    if (ev->type == EVENT_PING)
        send_keepalive(x);
    else if (ev->type == EVENT_MESSAGE_STOP)
        end_message(x);
    else if (!relay_event(x, ev))
        relay_failed(x, FAIL_ANSWER_TOO_LARGE, NULL);
    return x->step != STEP_END;
}

/* Blocks are numbered over all rounds of an answer. Apart, for few answers have a second one. */
NOINLINE static bool take_resumed(struct exchange *x, const struct event *event)
{
    struct event numbered = *event;
    numbered.index += x->answer.index_base;
    return take_numbered(x, &numbered);
}

/* One event that is no error. False when the exchange has ended. */
static bool take_event(void *ctx, const struct event *event)
{
    struct exchange *x = ctx;
    if (UNLIKELY(x->answer.index_base > 0) && event->index >= 0)
        return take_resumed(x, event);
    return take_numbered(x, event);
}

static void on_event(struct exchange *x, struct str data)
{
    struct event ev;
    if (!event_parse(&x->proxy->doc, data, &ev))
        relay_failed(x, FAIL_UPSTREAM_BAD_ANSWER, NULL);
    else if (ev.type == EVENT_ERROR)
        on_upstream_error(x, 0, data);
    else
        (void)take_event(x, &ev);
}

/* Handles the whole events in n bytes at p; returns how many bytes are done with. */
static size_t relay_events(struct exchange *x, char *p, size_t n)
{
    size_t done = 0;
    unsigned attempt = x->attempts;
    while (is_relaying(x, attempt)) {
        struct sse_event event;
        size_t used;
        enum sse_result result = sse_next(&x->sse, p + done, n - done, &event, &used);
        if (result == SSE_MORE)
            break;
        if (result == SSE_BAD) {
            relay_failed(x, FAIL_UPSTREAM_BAD_ANSWER, NULL);
            break;
        }
        if (event.data.n)
            on_event(x, event.data);
        done += used;
    }
    return done;
}

static void hold_back(struct exchange *x)
{
    if (x->step != STEP_RELAY || !x->decoded.stream || x->paused)
        return;
    if (reply_queued(x->request) < SERVER_HIGH_MARK)
        return;
    x->paused = true;
    call_pause(x->call);
}

/* --- what the call reports ------------------------------------------------------------------ */

static void on_sent(void *ctx)
{
    struct exchange *x = ctx;
    if (x->step != STEP_SEND)
        return; /* the answer began before all of the request was out */
    x->phase_at_us = clock_us() + (uint64_t)x->proxy->config->first_byte_timeout;
    watch_arm(x);
}

static enum should_retry parse_should_retry(struct str s)
{
    if (str_eq_nocase(s, STR("true")))
        return SHOULD_RETRY_YES;
    return str_eq_nocase(s, STR("false")) ? SHOULD_RETRY_NO : SHOULD_RETRY_UNSAID;
}

static enum answer_kind kind_of_answer(const struct exchange *x, const struct h1_head *head)
{
    struct str type = head->known[H1_CONTENT_TYPE];
    if (head->status != 200)
        return ANSWER_ERROR;
    if (!x->asks_whole && str_starts_nocase(type, STR("text/event-stream")))
        return ANSWER_STREAM;
    if (x->asks_whole && str_starts_nocase(type, STR("application/json")))
        return ANSWER_WHOLE;
    return ANSWER_ERROR;
}

static void remember_limits(struct exchange *x, const struct h1_head *head)
{
    struct upstream_limits said;
    upstream_limits_read(head, &said);
    x->limits = NULL;
    if (!said.known)
        return;
    x->limits = ARENA_NEW(&x->keep, struct upstream_limits);
    *x->limits = said;
}

static void on_head(void *ctx, const struct h1_head *head)
{
    struct exchange *x = ctx;
    x->upstream_status = head->status;
    x->upstream_answer = kind_of_answer(x, head);
    if (x->upstream_answer == ANSWER_WHOLE && head->content_length <= WHOLE_AT_ONCE)
        buf_expect(&x->pending, (size_t)head->content_length);
    x->should_retry = parse_should_retry(head->known[H1_X_SHOULD_RETRY]);
    x->retry_after_us = retry_after_us(head->known[H1_RETRY_AFTER_MS], head->known[H1_RETRY_AFTER]);
    remember_limits(x, head);
    if (head->known[H1_REQUEST_ID].n <= 128)
        x->upstream_id = arena_dup(&x->keep, head->known[H1_REQUEST_ID]);
    if (head->status < 400 && x->upstream_answer == ANSWER_ERROR)
        relay_failed(x, FAIL_UPSTREAM_BAD_ANSWER, NULL);
}

static void on_error_body(struct exchange *x, struct str bytes)
{
    size_t room = ERROR_BODY_MAX - size_min(ERROR_BODY_MAX, buf_len(&x->pending));
    buf_append(&x->pending, str_head(bytes, size_min(bytes.n, room)));
}

static void on_body(void *ctx, struct str bytes)
{
    struct exchange *x = ctx;
    unsigned attempt = x->attempts;
    exchange_doing(x);
    if (x->upstream_answer == ANSWER_ERROR) {
        on_error_body(x, bytes);
        return;
    }
    if (x->upstream_answer == ANSWER_WHOLE) {
        if (!buf_append(&x->pending, bytes))
            relay_failed(x, FAIL_ANSWER_TOO_LARGE, NULL);
        return;
    }
    if (buf_len(&x->pending) == 0) { /* the common case: whole events, parsed where they lie */
        size_t done = relay_events(x, (char *)(uintptr_t)bytes.p, bytes.n);
        bytes = str_skip(bytes, done);
        if (!is_relaying(x, attempt))
            return;
        if (bytes.n && !buf_append(&x->pending, bytes))
            relay_failed(x, FAIL_UPSTREAM_BAD_ANSWER, NULL);
    } else if (!buf_append(&x->pending, bytes)) {
        relay_failed(x, FAIL_UPSTREAM_BAD_ANSWER, NULL);
    } else {
        char *p = x->pending.data + x->pending.start;
        size_t done = relay_events(x, p, buf_len(&x->pending));
        if (!is_relaying(x, attempt))
            return;
        buf_consume(&x->pending, done);
        if (buf_len(&x->pending) == 0)
            buf_release(&x->pending);
    }
    hold_back(x);
}

static void on_whole_answer(struct exchange *x)
{
    bool ok = event_replay(&x->proxy->doc, buf_str(&x->pending), take_event, x);
    if (x->step == STEP_SETTLE)
        exchange_end(x, FAIL_DONE);
    else if (!ok && x->step != STEP_END)
        relay_failed(x, FAIL_UPSTREAM_BAD_ANSWER, NULL);
}

static void on_end(void *ctx)
{
    struct exchange *x = ctx;
    exchange_doing(x);
    x->call = NULL;
    if (x->upstream_answer == ANSWER_WHOLE && x->step == STEP_SEND)
        on_whole_answer(x);
    else if (x->step == STEP_SETTLE)
        exchange_end(x, FAIL_DONE);
    else if (x->upstream_answer == ANSWER_ERROR)
        on_upstream_error(x, x->upstream_status, buf_str(&x->pending));
    else
        relay_failed(x, FAIL_UPSTREAM_CUT, NULL);
}

static void on_fail(void *ctx, enum call_failure why, const char *error)
{
    struct exchange *x = ctx;
    exchange_doing(x);
    x->call = NULL;
    if (x->step == STEP_SETTLE) {
        exchange_end(x, FAIL_DONE);
        return;
    }
    LOG(LOG_INFO, "upstream call failed", LOG_STR("id", x->id), LOG_CSTR("error", error));
    bool is_error_answer = x->upstream_status >= 400;
    if (is_error_answer) /* its head says enough, even if the body broke off */
        on_upstream_error(x, x->upstream_status, buf_str(&x->pending));
    else
        relay_failed(x, fail_of_call(why), NULL);
}

const struct call_handler relay_handler = {
    .on_sent = on_sent,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

enum step_result step_relay(struct exchange *x)
{
    (void)x; /* driven by the call's events */
    return STEP_WAIT;
}

enum step_result step_settle(struct exchange *x)
{
    (void)x;
    return STEP_WAIT;
}
