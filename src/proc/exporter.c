/* exporter.c - see exporter.h.
 *
 * A batch is what waits in all rings up to BATCH spans; how far it reached into each ring is kept, and
 * released when the collector has answered. Failures are told once, and so is their end.
 */
#include "proc/exporter.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "ccproxy_version.h"
#include "http/client.h"
#include "proxy/retry.h"
#include "store/otlp.h"

enum {
    BATCH = 512,
    BODY_MAX = 8 * 1024 * 1024, /* more than a batch can take */
    HEAD_MAX = 64 * 1024,
    ANSWER_MAX = 64 * 1024,
    LOOK_US = 100 * 1000,   /* whether there is a whole batch */
    LINGER_US = 500 * 1000, /* for less than one */
    POST_US = 10 * 1000 * 1000,
    CONNECT_US = 5 * 1000 * 1000,
    IDLE_US = 5 * 1000 * 1000,
    AGAIN_FIRST_US = 500 * 1000,
    AGAIN_MAX_US = 30 * 1000 * 1000,
    TOLD_AFTER = 2, /* failures: the first may be a connection that the collector had given up */
};

struct exporter {
    struct loop *loop;
    struct spans *spans;
    struct dns *dns;
    struct tls_ctx *tls;
    struct pool *pool;
    struct call *call;  /* NULL: resting */
    struct timer timer; /* to the next batch; of one that is posted: its deadline */
    struct url url;
    struct otlp_source source;
    struct buf headers, head, answer;
    struct rope body;
    struct json doc;
    uint64_t at[SPANS_RINGS]; /* behind the batch */
    uint64_t n;               /* spans in it */
    int status;
    int64_t retry_after_us;
    uint64_t posted_us;
    unsigned failures; /* in a row */
    bool hurries, finishes, told;
};

/* --- settings ------------------------------------------------------------------------------- */

static struct str text_of(const struct config *c, enum export_text which)
{
    if (!c->spans)
        return STR("");
    switch (which) {
    case EXPORT_URL: return c->spans_url;
    case EXPORT_HEADERS: return c->otlp_headers;
    case EXPORT_SERVICE: return c->service_name;
    case EXPORT_PROXY: return c->https_proxy;
    case EXPORT_NO_PROXY: return c->no_proxy;
    case EXPORT_CA_FILE: return c->ca_file;
    case EXPORT_DNS_SERVERS: return c->dns_servers;
    case EXPORT_TEXTS: break;
    }
    UNREACHABLE();
}

void export_settings_take(struct export_settings *s, const struct config *c)
{
    export_settings_done(s);
    for (unsigned i = 0; i < EXPORT_TEXTS; i++) {
        struct str text = text_of(c, (enum export_text)i);
        if (!text.n)
            continue;
        s->texts[i] = mem_zalloc(text.n + 1);
        memcpy(s->texts[i], text.p, text.n);
    }
}

void export_settings_done(struct export_settings *s)
{
    for (unsigned i = 0; i < EXPORT_TEXTS; i++) {
        if (s->texts[i])
            mem_wipe(s->texts[i], strlen(s->texts[i]));
        mem_free(s->texts[i]);
        s->texts[i] = NULL;
    }
}

bool export_settings_fit(const struct export_settings *s, const struct config *c)
{
    for (unsigned i = 0; i < EXPORT_TEXTS; i++)
        if (!str_eq(str_c(s->texts[i]), text_of(c, (enum export_text)i)))
            return false;
    return true;
}

bool export_settings_on(const struct export_settings *s)
{
    return s->texts[EXPORT_URL] != NULL;
}

/* --- telling -------------------------------------------------------------------------------- */

static void say_works(struct exporter *e)
{
    if (e->told || !e->failures)
        LOG(e->told ? LOG_INFO : LOG_DEBUG, "spans are exported", LOG_STR("host", e->url.host),
            LOG_INT("spans", e->n), LOG_INT("dropped", spans_dropped(e->spans)));
    e->told = false;
}

static void say_fails(struct exporter *e, const char *error)
{
    if (e->told || e->failures < TOLD_AFTER)
        return;
    e->told = true;
    LOG(LOG_WARN, "spans cannot be exported, they wait", LOG_STR("host", e->url.host),
        log_if(e->status, LOG_INT("status", e->status)), log_if(error, LOG_CSTR("error", error)),
        LOG_INT("waiting", spans_waiting(e->spans)));
}

/* --- a batch -------------------------------------------------------------------------------- */

static void take_ring(struct exporter *e, struct jsonw *w, unsigned ring)
{
    uint64_t head = spans_head(e->spans, ring);
    e->at[ring] = spans_tail(e->spans, ring);
    for (; e->n < BATCH && e->at[ring] < head; e->at[ring]++, e->n++)
        otlp_add(w, spans_at(e->spans, ring, e->at[ring]));
}

/* Every ring's turn comes first, so that a busy one does not shut out the others. */
static void take_batch(struct exporter *e)
{
    struct jsonw w;
    unsigned first = (unsigned)rand_below(SPANS_RINGS);
    rope_done(&e->body);
    rope_init(&e->body, BODY_MAX);
    jsonw_to_rope(&w, &e->body);
    otlp_begin(&w, &e->source);
    e->n = 0;
    for (unsigned i = 0; i < SPANS_RINGS; i++)
        take_ring(e, &w, (first + i) % SPANS_RINGS);
    otlp_end(&w);
    ASSERT(jsonw_ok(&w));
}

static void release_batch(struct exporter *e)
{
    for (unsigned i = 0; i < SPANS_RINGS; i++)
        if (e->at[i] != spans_tail(e->spans, i))
            spans_release(e->spans, i, e->at[i]);
}

static void write_head(struct exporter *e)
{
    const struct url *u = &e->url;
    buf_clear(&e->head);
    bool fits = buf_printf(&e->head,
                           "POST %.*s HTTP/1.1\r\nhost: %s%.*s%s:%u\r\n"
                           "content-type: application/json\r\nuser-agent: ccproxy/%s\r\n",
                           STR_FMT(u->path.n ? u->path : STR("/")), u->is_ipv6 ? "[" : "",
                           STR_FMT(u->host), u->is_ipv6 ? "]" : "", u->port, CCPROXY_VERSION) &&
                buf_append(&e->head, buf_str(&e->headers)) &&
                buf_printf(&e->head, "content-length: %zu\r\n\r\n", rope_len(&e->body));
    ASSERT(fits);
}

static const struct call_handler handler;

static void post(struct exporter *e)
{
    take_batch(e);
    write_head(e);
    e->status = 0;
    e->retry_after_us = -1;
    buf_clear(&e->answer);
    e->call = call_start(e->pool, buf_str(&e->head), &e->body, &handler, e);
    timer_after(e->loop, &e->timer, POST_US);
}

/* --- what became of it ---------------------------------------------------------------------- */

static bool is_passing(int status)
{
    return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

/* Half a second, doubled up to half a minute, less up to a quarter; or as long as it asks for. */
static uint64_t pause_us(const struct exporter *e)
{
    uint64_t us = AGAIN_FIRST_US;
    for (unsigned i = 1; i < e->failures && us < AGAIN_MAX_US; i++)
        us *= 2;
    us = us < AGAIN_MAX_US ? us : AGAIN_MAX_US;
    if (e->retry_after_us >= 0)
        return (uint64_t)e->retry_after_us < 10 * (uint64_t)AGAIN_MAX_US
                   ? (uint64_t)e->retry_after_us
                   : 10 * (uint64_t)AGAIN_MAX_US;
    return us - rand_below(us / 4);
}

static void accepted(struct exporter *e)
{
    uint64_t refused = otlp_refused(&e->doc, buf_str(&e->answer));
    refused = refused < e->n ? refused : e->n;
    spans_count(e->spans, e->n - refused, refused);
    if (refused)
        LOG(LOG_WARN, "the collector refused spans", LOG_INT("spans", refused));
    say_works(e);
    e->failures = 0;
}

static void refused(struct exporter *e)
{
    spans_count(e->spans, 0, e->n);
    LOG(LOG_ERROR, "the collector refused spans", LOG_STR("host", e->url.host),
        LOG_INT("status", e->status), LOG_INT("spans", e->n));
}

/* A whole batch waits, or something does and has for long enough. */
static bool is_due(const struct exporter *e)
{
    uint64_t n = spans_waiting(e->spans);
    return n >= BATCH || (n && (e->hurries || clock_us() - e->posted_us >= LINGER_US));
}

/* The post is over. */
static void conclude(struct exporter *e, const char *error)
{
    e->call = NULL;
    e->posted_us = clock_us();
    if (is_passing(e->status)) {
        e->failures++;
        say_fails(e, error);
        timer_after(e->loop, &e->timer, pause_us(e));
        return;
    }
    if (e->status >= 200 && e->status < 300)
        accepted(e);
    else
        refused(e);
    release_batch(e);
    timer_after(e->loop, &e->timer, is_due(e) ? 0 : LOOK_US);
}

static void on_head(void *ctx, const struct h1_head *head)
{
    struct exporter *e = ctx;
    e->status = head->status;
    e->retry_after_us = retry_after_us(STR(""), head->known[H1_RETRY_AFTER]);
}

static void on_body(void *ctx, struct str bytes)
{
    struct exporter *e = ctx;
    (void)buf_append(&e->answer, bytes); /* a longer one says nothing more that is wanted */
}

static void on_end(void *ctx)
{
    conclude(ctx, NULL);
}

static void on_fail(void *ctx, enum call_failure why, const char *error)
{
    struct exporter *e = ctx;
    (void)why;
    e->status = 0;
    conclude(e, error);
}

static const struct call_handler handler = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

static void on_timer(struct timer *t)
{
    struct exporter *e = CONTAINER_OF(t, struct exporter, timer);
    if (e->call) {
        call_cancel(e->call);
        e->status = 0;
        conclude(e, "no answer in time");
    } else if (!e->finishes && (e->failures || is_due(e))) {
        post(e);
    } else if (!e->finishes) {
        timer_after(e->loop, t, LOOK_US);
    }
}

/* --- its life ------------------------------------------------------------------------------- */

static bool use_proxy(const struct exporter *e, const struct export_settings *s, struct url *ret)
{
    return e->url.scheme == URL_HTTPS && s->texts[EXPORT_PROXY] &&
           url_parse(str_c(s->texts[EXPORT_PROXY]), ret) &&
           !url_no_proxy(str_c(s->texts[EXPORT_NO_PROXY]), e->url.host, e->url.port);
}

static bool set_up(struct exporter *e, const struct export_settings *s, char error[EXPORTER_ERROR])
{
    const struct tls_options tls = {.ca_file = s->texts[EXPORT_CA_FILE]};
    (void)snprintf(error, EXPORTER_ERROR, "the address or the headers are wrong");
    if (!url_parse(str_c(s->texts[EXPORT_URL]), &e->url) ||
        !otlp_headers(str_c(s->texts[EXPORT_HEADERS]), &e->headers))
        return false;
    if (e->url.scheme == URL_HTTPS) {
        e->tls = tls_ctx_new(&tls, error, EXPORTER_ERROR);
        if (!e->tls)
            return false;
    }
    e->dns = dns_new(e->loop, s->texts[EXPORT_DNS_SERVERS]);
    struct pool_options options = {
        .target = {.url = e->url, .tls = e->tls},
        .connect_timeout_us = CONNECT_US,
        .idle_timeout_us = IDLE_US,
        .idle_max = 1,
        .head_max = HEAD_MAX,
    };
    options.target.has_proxy = use_proxy(e, s, &options.target.proxy);
    e->pool = pool_new(e->loop, e->dns, &options);
    return true;
}

struct exporter *exporter_new(struct loop *l, struct spans *spans, const struct export_settings *s,
                              char error[EXPORTER_ERROR])
{
    struct exporter *e = mem_zalloc(sizeof(*e));
    e->loop = l;
    e->spans = spans;
    e->source = (struct otlp_source){.service = str_c(s->texts[EXPORT_SERVICE]),
                                     .version = STR(CCPROXY_VERSION),
                                     .instance = spans_server(spans)};
    buf_init(&e->headers, HEAD_MAX / 2);
    buf_init(&e->head, HEAD_MAX);
    buf_init(&e->answer, ANSWER_MAX);
    rope_init(&e->body, BODY_MAX);
    json_init(&e->doc);
    timer_init(&e->timer, "spans", on_timer);
    if (!set_up(e, s, error)) {
        exporter_free(e);
        return NULL;
    }
    timer_after(l, &e->timer, LOOK_US);
    return e;
}

void exporter_free(struct exporter *e)
{
    if (!e)
        return;
    timer_stop(e->loop, &e->timer);
    if (e->call)
        call_cancel(e->call);
    if (e->pool)
        pool_free(e->pool);
    if (e->dns)
        dns_free(e->dns);
    tls_ctx_free(e->tls);
    buf_done(&e->headers);
    buf_done(&e->head);
    buf_done(&e->answer);
    rope_done(&e->body);
    json_done(&e->doc);
    mem_free(e);
}

void exporter_hurry(struct exporter *e)
{
    if (!e || e->hurries)
        return;
    e->hurries = true;
    if (!e->call)
        timer_after(e->loop, &e->timer, 0);
}

void exporter_finish(struct exporter *e)
{
    if (e)
        e->finishes = true;
}

bool exporter_is_posting(const struct exporter *e)
{
    return e && e->call;
}

bool exporter_is_done(const struct exporter *e)
{
    return !e || (!e->call && !spans_waiting(e->spans));
}
