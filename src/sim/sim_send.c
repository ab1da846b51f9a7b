/* sim_send.c - sends an answer: at once, or event by event at the pace that was asked for.
 *
 *   no delay:  events -> output until it is above the high mark -> on_drained -> ...
 *   delay:     timer -> one event -> timer -> ...               a full output: on_drained first
 */
#include "base/mem.h"
#include "sim/sim_call.h"
#include "sim/sim_record.h"

static void send_message(struct sim *s, struct request *r, struct sim_record *record,
                         const struct sim_answer *an)
{
    char id[SIM_ID];
    buf_clear(&s->out);
    sim_stream_message(an, &s->out);
    size_t n = buf_len(&s->out);
    sim_reply_head(s, r, 200, STR("application/json"), (int64_t)n, sim_new_id(s, id));
    reply_body(r, buf_str(&s->out));
    reply_end(r);
    record_sent(record, n);
}

static void start_events(struct sim *s, struct request *r)
{
    char id[SIM_ID];
    sim_reply_head(s, r, 200, STR("text/event-stream; charset=utf-8"), -1, sim_new_id(s, id));
}

/* Up to max events as one piece of body; false when the answer is complete. */
static bool send_events(struct sim *s, struct request *r, struct sim_record *record,
                        const struct sim_answer *an, struct sim_cursor *c, size_t max)
{
    enum { PIECE = 16 * 1024 };

    bool more = true;
    buf_clear(&s->out);
    while (more && max > 0 && buf_len(&s->out) < PIECE) {
        more = sim_stream_next(an, c, &s->out);
        max--;
    }
    if (buf_len(&s->out) != 0)
        reply_body(r, buf_str(&s->out));
    record_sent(record, buf_len(&s->out));
    return c->at != CURSOR_END;
}

static void on_timer(struct timer *t);

/* Sends what may be sent now, and sees to it that it goes on. */
static void go_on(struct sim_call *c)
{
    struct sim *s = c->sim;
    uint64_t delay_us = s->options.event_delay_us;
    size_t max = delay_us ? 1 : SIZE_MAX;
    while (reply_queued(c->request) < SERVER_HIGH_MARK) {
        if (!send_events(s, c->request, c->record, c->answer, &c->cursor, max)) {
            reply_end(c->request);
            call_end(c, false);
            return;
        }
        if (delay_us) {
            timer_after(s->loop, &c->timer, delay_us);
            return;
        }
    }
}

void sim_send_drained(struct sim_call *c)
{
    bool started = c->streams && reply_started(c->request);
    if (c->answer && started && !timer_is_set(&c->timer))
        go_on(c);
}

static void on_timer(struct timer *t)
{
    struct sim_call *c = CONTAINER_OF(t, struct sim_call, timer);
    if (!c->streams) {
        send_message(c->sim, c->request, c->record, c->answer);
        call_end(c, false);
        return;
    }
    if (!reply_started(c->request))
        start_events(c->sim, c->request);
    go_on(c);
}

/* Keeps the answer for later, and gives back what the request held. */
static void keep(struct request *r, struct sim_call *c, const struct sim_answer *an, bool streams)
{
    c->answer = sim_stream_pack(an);
    c->streams = streams;
    timer_init(&c->timer, "sim answer", on_timer);
    buf_clear(&r->body);
    buf_release(&r->body);
}

void sim_send(struct sim *s, struct request *r, struct sim_call *c, const struct sim_answer *an,
              bool streams)
{
    if (s->options.first_delay_us || (streams && s->options.event_delay_us)) {
        keep(r, c, an, streams);
        timer_after(s->loop, &c->timer, s->options.first_delay_us);
        return;
    }
    struct sim_record *record = c->record;
    struct sim_cursor cursor = {.at = CURSOR_START};
    if (streams)
        start_events(s, r);
    else
        send_message(s, r, record, an);
    while (streams && send_events(s, r, record, an, &cursor, SIZE_MAX)) {
        if (reply_queued(r) < SERVER_HIGH_MARK)
            continue;
        keep(r, c, an, true);
        c->cursor = cursor;
        return;
    }
    if (streams)
        reply_end(r);
    call_end(c, false);
}
