/* watch.c - the times of an exchange, on one timer.
 *
 * Progress moves no timer: it only writes down when it happened. When the timer fires, what is due
 * is worked out anew; if nothing is, the timer is set to the next time that something can be. So
 * an event of a stream costs no heap operation.
 */
#include "base/clock.h"
#include "proxy/admit.h"
#include "proxy/endpoint.h"
#include "proxy/exchange.h"
#include "proxy/proxy_int.h"

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a && (!b || a < b) ? a : b;
}

/* While an answer goes on in another round, the steps before relay are seen once more. */
static bool sends_keepalives(const struct exchange *x)
{
    return x->first_event_us && x->step <= STEP_RELAY && x->decoded.stream;
}

static uint64_t keepalive_at(const struct exchange *x)
{
    return sends_keepalives(x) ? x->sent_us + (uint64_t)x->proxy->config->keepalive_interval : 0;
}

static uint64_t silence_at(const struct exchange *x)
{
    if (x->step != STEP_RELAY || x->paused)
        return 0;
    return x->progress_us + (uint64_t)x->proxy->config->silence_timeout;
}

void watch_arm(struct exchange *x)
{
    uint64_t at = x->total_at_us;
    at = earlier(x->phase_at_us, at);
    at = earlier(silence_at(x), at);
    at = earlier(keepalive_at(x), at);
    timer_set(x->proxy->loop, &x->timer, at);
}

static bool is_due(uint64_t at, uint64_t now)
{
    return at && at <= now;
}

static void on_phase_over(struct exchange *x)
{
    x->phase_at_us = 0;
    switch ((int)x->step) {
    case STEP_ADMIT: admit_time_over(x); return;
    case STEP_ROUTE: exchange_continue(x); return;
    case STEP_SEND: exchange_fail(x, FAIL_UPSTREAM_FIRST_BYTE); return;
    case STEP_SETTLE: exchange_end(x, FAIL_DONE); return;
    default: UNREACHABLE();
    }
}

static void send_keepalive(struct exchange *x)
{
    x->endpoint->dialect->keepalive(reply_body_begin(x->request));
    reply_body_end(x->request);
    x->sent_us = clock_us();
}

static void on_timer(struct timer *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, timer);
    uint64_t now = clock_us();
    exchange_doing(x);
    if (is_due(x->phase_at_us, now))
        on_phase_over(x);
    else if (is_due(x->total_at_us, now))
        exchange_fail(x, FAIL_TOTAL_TIMEOUT);
    else if (is_due(silence_at(x), now))
        exchange_fail(x, FAIL_UPSTREAM_SILENT);
    else if (is_due(keepalive_at(x), now))
        send_keepalive(x);
    if (x->step != STEP_END)
        watch_arm(x);
}

void watch_init(struct exchange *x)
{
    timer_init(&x->timer, "exchange", on_timer);
}

void watch_stop(struct exchange *x)
{
    timer_stop(x->proxy->loop, &x->timer);
}
