/* refresh.c - asks the upstream which models it has, at start and every hour.
 *
 * It is a help, not a need: when it fails the table stays as it is, and a minute later it is tried
 * again.
 */
#include "base/log.h"
#include "proxy/proxy_int.h"

enum { ANSWER_MAX = 4 * 1024 * 1024 };

static const uint64_t EVERY_US = 3600ull * 1000 * 1000, AGAIN_US = 60ull * 1000 * 1000;

static void finish(struct proxy *p, uint64_t next_us)
{
    p->refresh.call = NULL;
    buf_done(&p->refresh.answer);
    timer_after(p->loop, &p->refresh.timer, next_us);
}

static void on_head(void *ctx, const struct h1_head *head)
{
    struct proxy *p = ctx;
    p->refresh.status = head->status;
}

static void on_body(void *ctx, struct str bytes)
{
    struct proxy *p = ctx;
    if (!buf_append(&p->refresh.answer, bytes))
        p->refresh.status = 0;
}

static void on_end(void *ctx)
{
    struct proxy *p = ctx;
    size_t n = 0;
    if (p->refresh.status == 200 && json_parse(&p->doc, buf_str(&p->refresh.answer)) == JSON_OK)
        n = models_refresh(p->models, &p->doc);
    proxy_saw_upstream(p, p->refresh.status > 0 && p->refresh.status < 500);
    LOG(LOG_DEBUG, "models refreshed", LOG_INT("status", p->refresh.status), LOG_INT("models", n));
    finish(p, n ? EVERY_US : AGAIN_US);
}

static void on_fail(void *ctx, enum call_failure why, const char *error)
{
    (void)why;
    proxy_saw_upstream(ctx, false);
    LOG(LOG_DEBUG, "models not refreshed", LOG_CSTR("error", error));
    finish(ctx, AGAIN_US);
}

static const struct call_handler handler = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

static void ask(struct timer *t)
{
    struct proxy *p = CONTAINER_OF(t, struct proxy, refresh.timer);
    struct platform_call call = p->upstream;
    call.key = p->config->upstream_keys[0];
    buf_clear(&p->scratch);
    if (!p->platform->models_head(&call, &p->scratch))
        return;
    buf_init(&p->refresh.answer, ANSWER_MAX);
    p->refresh.call = call_start(p->pool, buf_str(&p->scratch), NULL, &handler, p);
}

void refresh_start(struct proxy *p)
{
    timer_init(&p->refresh.timer, "refresh", ask);
    if (p->config->refresh_models)
        timer_after(p->loop, &p->refresh.timer, 0);
}

void refresh_stop(struct proxy *p)
{
    timer_stop(p->loop, &p->refresh.timer);
    if (p->refresh.call) {
        call_cancel(p->refresh.call);
        buf_done(&p->refresh.answer);
    }
    p->refresh.call = NULL;
}
