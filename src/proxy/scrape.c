/* scrape.c - operators' pages that can be large, GET /metrics and GET /stats: they are written in
 * pieces between the loop's turns, so that one keeps nobody waiting, and no faster than its reader
 * takes it. */
#include "proxy/scrape.h"

#include "proxy/exchange.h"
#include "proxy/proxy_int.h"
#include "proxy/stats.h"

enum { SERIES_A_PIECE = 1000 };

struct scrape {
    struct exchange *exchange;
    struct stats *stats; /* NULL: the metrics */
    struct metrics_cursor cursor;
    struct timer timer;
};

static bool write_piece(struct scrape *s, struct buf *out)
{
    if (s->stats)
        return stats_write(s->stats, out);
    return metrics_write(s->exchange->proxy->meter.metrics, &s->cursor, SERIES_A_PIECE, out);
}

static void go_on(struct scrape *s)
{
    struct exchange *x = s->exchange;
    bool more = write_piece(s, reply_body_begin(x->request));
    reply_body_end(x->request);
    if (!more) {
        reply_end(x->request);
        exchange_end(x, FAIL_DONE);
    } else if (reply_queued(x->request) < SERVER_HIGH_MARK) {
        timer_after(x->proxy->loop, &s->timer, 0);
    }
}

static void on_timer(struct timer *t)
{
    go_on(CONTAINER_OF(t, struct scrape, timer));
}

static void begin(struct exchange *x, struct stats *stats, struct str type)
{
    struct scrape *s = x->scrape = ARENA_NEW(&x->keep, struct scrape);
    *s = (struct scrape){.exchange = x, .stats = stats, .cursor.openmetrics = x->openmetrics};
    timer_init(&s->timer, "scrape", on_timer);
    reply_head(x, 200, type);
    reply_head_end(x->request, -1);
    go_on(s);
}

void scrape_metrics(struct exchange *x)
{
    begin(x, NULL,
          x->openmetrics ? STR("application/openmetrics-text; version=1.0.0; charset=utf-8")
                         : STR("text/plain; version=0.0.4; charset=utf-8"));
}

void scrape_stats(struct exchange *x)
{
    begin(x, stats_new(x), STR("application/json"));
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
