/* proxy.c - puts a worker's parts together and takes them apart; see proxy.h. */
#include "proxy/proxy.h"

#include "base/clock.h"
#include "base/mem.h"
#include "io/tls.h"
#include "proxy/admit.h"
#include "proxy/count.h"
#include "proxy/door.h"
#include "proxy/endpoint.h"
#include "proxy/exchange.h"
#include "proxy/proxy_int.h"
#include "proxy/scrape.h"

enum {
    SCRATCH_MAX = 256 * 1024 * 1024,
    UPSTREAM_HEAD_MAX = 64 * 1024,
    POOL_IDLE_MAX = 256,
    /* How often places are looked for that other workers or nodes may have freed. */
    QUEUE_PERIOD_US = 5 * 1000,
    QUEUE_REDIS_PERIOD_US = 50 * 1000,
};

/* --- what the transport reports ------------------------------------------------------------- */

static void on_head(void *ctx, struct request *r)
{
    exchange_begin(ctx, r);
}

static void on_request(void *ctx, struct request *r)
{
    (void)ctx;
    struct exchange *x = r->user;
    if (x->door)
        return; /* refused already, and told so a little later */
    ASSERT(x->step == STEP_RECEIVE);
    x->body = buf_take(&r->body);
    x->received_us = clock_precise_us();
    x->bytes_in = buf_len(&x->body);
    admit_body_is(x, buf_len(&x->body));
    exchange_continue(x);
}

/* The rules of HTTP were broken, so there may be no head, and no exchange yet. */
static void on_refused(void *ctx, struct request *r, enum server_refusal why, enum h1_error error)
{
    if (!r->user)
        exchange_refuse(ctx, r, fail_of_refusal(why, error));
    else
        exchange_fail(r->user, fail_of_refusal(why, error));
}

static void on_gone(void *ctx, struct request *r)
{
    (void)ctx;
    struct exchange *x = r->user;
    if (!x)
        return;
    exchange_part(x);
    exchange_fail(x, FAIL_CLIENT_GONE);
}

static void on_drained(void *ctx, struct request *r)
{
    (void)ctx;
    struct exchange *x = r->user;
    if (x->scrape)
        scrape_drained(x);
    if (!x->paused)
        return;
    x->paused = false;
    x->progress_us = clock_us();
    watch_arm(x);
    call_resume(x->call);
}

/* There is no exchange to tell it: it was the connection. */
static void on_flood(void *ctx, const struct sock_addr *peer, enum server_flood why)
{
    const struct address address = door_peer(peer);
    char text[ADDRESS_TEXT];
    count_flood(ctx, why);
    LOG(LOG_WARN, "connection ended", LOG_STR("protocol", STR("HTTP/2")),
        LOG_CSTR("flood", server_flood_name(why)),
        LOG_STR("address", address_text(&address, text)));
}

static void on_glitches(void *ctx, unsigned n)
{
    count_glitches(ctx, n);
}

static void on_handshake(void *ctx, enum server_handshake how)
{
    count_handshake(ctx, how);
}

static bool is_proxy(void *ctx, const struct sock_addr *peer)
{
    const struct proxy *p = ctx;
    const struct address address = door_peer(peer);
    return address_is_in(&p->config->header_from, &address);
}

/* Anybody may come without a certificate; PROXY headers are between an operator's own machines. */
static void on_reject(void *ctx, const struct sock_addr *peer, enum server_rejection what,
                      const char *error)
{
    const struct address address = door_peer(peer);
    char text[ADDRESS_TEXT];
    count_rejection(ctx, what);
    LOG(what == REJECT_CERTIFICATE ? LOG_INFO : LOG_WARN, "connection ended",
        LOG_CSTR("reason", server_rejection_name(what)), LOG_CSTR("error", error),
        LOG_STR("address", address_text(&address, text)));
}

/* --- parts ---------------------------------------------------------------------------------- */

static struct h2_limits h2_limits(const struct config *c)
{
    return (struct h2_limits){
        .on = c->http2,
        .streams = (uint32_t)c->h2_streams,
        .stream_window = (uint32_t)c->h2_stream_window,
        .window = (uint32_t)c->h2_window,
        .table = (uint32_t)c->h2_table,
        .fields = (unsigned)c->h2_fields,
        .continuations = (unsigned)c->h2_continuations,
        .resets = (unsigned)c->h2_resets,
        .resets_per_s = (unsigned)c->h2_resets_per_second,
        .controls = (unsigned)c->h2_controls,
        .controls_per_s = (unsigned)c->h2_controls_per_second,
        .empties = (unsigned)c->h2_empties,
        .priorities = (unsigned)c->h2_priorities,
        .updates = (unsigned)c->h2_updates,
        .glitches = (unsigned)c->h2_glitches,
    };
}

static void init_server(struct proxy *p)
{
    const struct config *c = p->config;
    const struct server_limits limits = {
        .head_max = (size_t)c->max_head,
        .body_max = (size_t)c->max_body,
        .total_max = (size_t)c->max_buffered,
        .connections_max = (size_t)c->max_connections,
        .head_timeout_us = (uint64_t)c->head_timeout,
        .body_timeout_us = (uint64_t)c->body_timeout,
        .idle_timeout_us = (uint64_t)c->idle_timeout,
        .write_timeout_us = (uint64_t)c->write_timeout,
        .handshake_timeout_us = (uint64_t)c->handshake_timeout,
        .handshakes_max = (size_t)c->max_handshakes,
        .h2 = h2_limits(c),
    };
    const struct server_handler handler = {
        .ctx = p,
        .on_head = on_head,
        .on_request = on_request,
        .on_refused = on_refused,
        .on_gone = on_gone,
        .on_drained = on_drained,
        .on_flood = on_flood,
        .on_glitches = on_glitches,
        .on_handshake = on_handshake,
        .is_proxy = is_proxy,
        .on_reject = on_reject,
    };
    p->server = server_new(p->loop, &limits, &handler);
    if (c->tls && c->tls_tickets)
        tls_server_use_tickets(c->tls, p->shared->tickets);
    if (c->tls && c->tls_stapling)
        p->stapler = stapler_new(p);
    for (size_t i = 0; i < c->n_listen; i++)
        p->doors[i] = (struct server_door){
            .tls = c->listen[i].tls ? c->tls : NULL,
            .proxies = c->listen[i].proxies,
            .serves = c->listen[i].serves,
        };
}

static bool init_tls(struct proxy *p, char *ret_error, size_t error_size)
{
    const struct config *c = p->config;
    bool others = str_starts_nocase(c->jwks_url, STR("https:")) ||
                  str_starts_nocase(c->oidc_issuer, STR("https:"));
    if (c->anthropic_base_url.scheme != URL_HTTPS && !others)
        return true;

    static const enum tls_alpn alpn[] = {
        [UPSTREAM_HTTP_1] = ALPN_HTTP_1,
        [UPSTREAM_HTTP_AUTO] = ALPN_EITHER,
        [UPSTREAM_HTTP_2] = ALPN_EITHER, /* the same trust reaches identity providers */
    };
    const struct tls_options options = {
        .ca_file = c->ca_file.p,
        .cert_file = c->client_cert.p,
        .key_file = c->client_key.p,
        .alpn = alpn[c->protocol],
    };
    p->tls = tls_ctx_new(&options, ret_error, error_size);
    return p->tls != NULL;
}

static void on_redis(void *ctx, bool up)
{
    struct proxy *p = ctx;
    metrics_set(&p->meter, METRIC_REDIS_UP, 0, up);
    metrics_set(&p->meter, METRIC_REDIS_DOWN, 0, !up);
    metrics_add(&p->meter, METRIC_REDIS_FAILURES, 0, 0, 0, !up);
    if (up)
        LOG(LOG_INFO, "redis is there, limits hold across nodes");
    else
        LOG(LOG_WARN, "redis is away", LOG_CSTR("error", redis_health(p->redis).last_error),
            LOG_STR("limits", p->config->redis_fallback));
}

static bool init_redis(struct proxy *p, char *ret_error, size_t error_size)
{
    const struct config *c = p->config;
    if (!c->redis_url.n)
        return true;
    if (c->redis.server.scheme == URL_HTTPS) {
        const struct tls_options tls = {.ca_file = c->ca_file.p, .alpn = ALPN_NONE};
        p->redis_tls = tls_ctx_new(&tls, ret_error, error_size);
        if (!p->redis_tls)
            return false;
    }
    const struct redis_options options = {
        .url = c->redis,
        .tls = p->redis_tls,
        .timeout_us = (uint64_t)c->redis_timeout,
        .connect_timeout_us = REDIS_CONNECT_TIMEOUT_US,
        .on_change = on_redis,
        .ctx = p,
    };
    p->redis = redis_new(p->loop, p->dns, &options);
    metrics_set(&p->meter, METRIC_REDIS_DOWN, 0, 1); /* until it is reached */
    p->redis_limit = redis_limit_new(p->loop, p->redis, STR(REDIS_LIMIT_PREFIX));
    return true;
}

static void init_queue(struct proxy *p)
{
    const struct config *c = p->config;
    if (c->queue_timeout && c->queue_max)
        p->queue = queue_new(p->loop, (size_t)c->queue_max,
                             p->redis_limit ? QUEUE_REDIS_PERIOD_US : QUEUE_PERIOD_US, admit_try);
}

static bool use_proxy(const struct config *c, struct url *ret_proxy)
{
    const struct url *u = &c->anthropic_base_url;
    return c->https_proxy.n && u->scheme == URL_HTTPS && url_parse(c->https_proxy, ret_proxy) &&
           !url_no_proxy(c->no_proxy, u->host, u->port);
}

static void init_pool(struct proxy *p)
{
    const struct config *c = p->config;

    static const enum pool_http http[] = {
        [UPSTREAM_HTTP_1] = POOL_HTTP_1,
        [UPSTREAM_HTTP_AUTO] = POOL_HTTP_AUTO,
        [UPSTREAM_HTTP_2] = POOL_HTTP_2,
    };
    struct pool_options options = {
        .http = http[c->protocol],
        .target = {.url = c->anthropic_base_url, .tls = p->tls},
        .connect_timeout_us = (uint64_t)c->connect_timeout,
        .idle_timeout_us = (uint64_t)c->upstream_idle,
        .idle_max = POOL_IDLE_MAX,
        .head_max = UPSTREAM_HEAD_MAX,
    };
    options.target.has_proxy = use_proxy(c, &options.target.proxy);
    p->pool = pool_new(p->loop, p->dns, &options);
}

/* Host of requests: the port only where it is not the scheme's own (RFC 9110 section 7.2). */
static struct str authority(const struct url *u, struct buf *out)
{
    if (u->scheme == URL_UNIX)
        return STR("localhost");
    bool default_port = u->port == (u->scheme == URL_HTTPS ? 443 : 80);
    buf_printf(out, u->is_ipv6 ? "[%.*s]" : "%.*s", STR_FMT(u->host));
    if (!default_port)
        buf_printf(out, ":%u", (unsigned)u->port);
    return buf_str(out);
}

static void init_upstream(struct proxy *p)
{
    const struct config *c = p->config;
    p->platform = &platform_anthropic;
    p->upstream = (struct platform_call){
        .authority = authority(&c->anthropic_base_url, &p->authority),
        .base_path =
            c->anthropic_base_url.scheme == URL_UNIX ? STR("") : c->anthropic_base_url.path,
        .version = c->anthropic_version,
    };
    route_init(&p->route, c->n_upstream_keys);
    retry_budget_init(&p->retries, c->retry_budget);
}

static bool init_models(struct proxy *p, char *ret_error, size_t error_size)
{
    char error[MODELS_ERROR];
    const struct models_options options = {
        .settings = p->config->models,
        .map = p->config->model_map,
        .default_model = p->config->default_model,
    };
    p->models = models_new(&options, error);
    if (!p->models)
        (void)snprintf(ret_error, error_size, "%s", error);
    return p->models != NULL;
}

static void on_gauges(struct timer *t)
{
    struct proxy *p = CONTAINER_OF(t, struct proxy, gauges);
    count_gauges(p);
    timer_after(p->loop, t, GAUGES_EVERY_US);
}

struct proxy *proxy_new(struct loop *l, const struct config *c, const struct shared *s,
                        unsigned owner, char *ret_error, size_t error_size)
{
    struct proxy *p = mem_zalloc(sizeof(*p));
    p->loop = l;
    p->config = c;
    p->shared = s;
    p->owner = owner;
    p->meter = (struct meter){s->metrics, owner + 1};
    metrics_set(&p->meter, METRIC_WORKERS, 0, 1);
    p->started_wall_us = clock_wall_us();
    list_init(&p->open);
    json_init(&p->doc);
    buf_init(&p->scratch, SCRATCH_MAX);
    buf_init(&p->authority, 512);
    timer_init(&p->refresh.timer, "refresh", NULL);
    if (!init_models(p, ret_error, error_size) || !init_tls(p, ret_error, error_size)) {
        proxy_free(p);
        return NULL;
    }
    p->dns = dns_new(l, c->dns_servers.p);
    if (!init_redis(p, ret_error, error_size)) {
        proxy_free(p);
        return NULL;
    }
    init_queue(p);
    init_upstream(p);
    init_pool(p);
    init_server(p);
    refresh_start(p);
    timer_init(&p->gauges, "gauges", on_gauges);
    timer_after(l, &p->gauges, GAUGES_EVERY_US);
    if (c->auth == AUTH_BY_JWT)
        p->keyring = keyring_new(l, p->dns, p->tls, c, s->keysets);
    return p;
}

void proxy_saw_upstream(struct proxy *p, bool works)
{
    struct board *b = p->shared->board;
    if (!works)
        b->upstream_failures++;
    else if (b->upstream_failures)
        b->upstream_failures = 0;
}

bool proxy_upstream_works(const struct proxy *p)
{
    return p->shared->board->upstream_failures < UPSTREAM_DOWN_AFTER;
}

bool proxy_is_prepared(const struct proxy *p)
{
    return !p->keyring || keyring_settled(p->keyring);
}

bool proxy_listen(struct proxy *p, int fd, size_t entry)
{
    return server_listen_at(p->server, fd, &p->doors[entry]);
}

void proxy_unready(struct proxy *p)
{
    if (p->state == PROXY_READY)
        p->state = PROXY_UNREADY;
}

void proxy_drain(struct proxy *p)
{
    p->state = PROXY_DRAINING;
    refresh_stop(p);
    server_drain(p->server);
}

bool proxy_is_idle(const struct proxy *p)
{
    return p->n_open == 0 && server_connections(p->server) == 0;
}

void proxy_abort(struct proxy *p)
{
    list_each_safe (node, &p->open) {
        struct exchange *x = CONTAINER_OF(node, struct exchange, node);
        if (x->step == STEP_SETTLE)
            exchange_end(x, FAIL_DONE);
        else
            exchange_fail(x, FAIL_STOPPING);
    }
}

void proxy_free(struct proxy *p)
{
    if (!p)
        return;
    refresh_stop(p);
    timer_stop(p->loop, &p->gauges);
    proxy_abort(p);
    if (p->server)
        server_free(p->server);
    queue_free(p->queue);
    keyring_free(p->keyring);
    stapler_free(p->stapler);
    if (p->redis_limit)
        redis_limit_free(p->redis_limit);
    if (p->redis)
        redis_free(p->redis);
    if (p->pool)
        pool_free(p->pool);
    if (p->dns)
        dns_free(p->dns);
    tls_ctx_free(p->tls);
    tls_ctx_free(p->redis_tls);
    models_free(p->models);
    json_done(&p->doc);
    buf_done(&p->scratch);
    buf_done(&p->authority);
    mem_free(p);
}
