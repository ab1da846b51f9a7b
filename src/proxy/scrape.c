/* scrape.c - GET /metrics: the page is written in pieces between the loop's turns, so that a large
 * one keeps nobody waiting, and no faster than its reader takes it. */
#include "proxy/scrape.h"

#include "proxy/exchange.h"
#include "proxy/proxy_int.h"

enum { SERIES_A_PIECE = 1000 };

struct scrape {
    struct exchange *exchange;
    struct metrics_cursor cursor;
    struct timer timer;
};

static void go_on(struct scrape *s)
{
    struct exchange *x = s->exchange;
    struct proxy *p = x->proxy;
    bool more =
        metrics_write(p->meter.metrics, &s->cursor, SERIES_A_PIECE, reply_body_begin(x->request));
    reply_body_end(x->request);
    if (!more) {
        reply_end(x->request);
        exchange_end(x, FAIL_DONE);
    } else if (reply_queued(x->request) < SERVER_HIGH_MARK) {
        timer_after(p->loop, &s->timer, 0);
    }
}

static void on_timer(struct timer *t)
{
    go_on(CONTAINER_OF(t, struct scrape, timer));
}

void scrape_begin(struct exchange *x)
{
    struct scrape *s = x->scrape = ARENA_NEW(&x->keep, struct scrape);
    bool openmetrics = x->openmetrics;
    *s = (struct scrape){.exchange = x, .cursor.openmetrics = openmetrics};
    timer_init(&s->timer, "scrape", on_timer);
    reply_head(x, 200,
               openmetrics ? STR("application/openmetrics-text; version=1.0.0; charset=utf-8")
                           : STR("text/plain; version=0.0.4; charset=utf-8"));
    reply_head_end(x->request, -1);
    go_on(s);
}

void scrape_drained(struct exchange *x)
{
    if (!timer_is_set(&x->scrape->timer))
        go_on(x->scrape);
}

void scrape_stop(struct exchange *x)
{
    timer_stop(x->proxy->loop, &x->scrape->timer);
}
