/* stapler.c - see stapler.h.
 *
 * Whatever happens comes back to on_timer, since a pool is not freed inside its own callback: at the
 * end of an answer, when it takes too long, and when the next question is due.
 */
#include "proxy/stapler.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/staples.h"
#include "proxy/count.h"
#include "proxy/proxy_int.h"

enum {
    ANSWER_MAX = 64 * 1024,
    REQUEST_MAX = 16 * 1024,
    TIMEOUT_US = 10 * 1000 * 1000,
    AGAIN_US = 60 * 1000 * 1000,
    SOONEST_US = 1000 * 1000, /* others look as well */
};

struct stapler {
    struct proxy *proxy;
    struct timer timer; /* to the next question; while one is open, its end */
    struct pool *pool;  /* for one answer */
    struct call *call;
    struct buf request, answer;
    struct rope body;
    size_t cert; /* that it is about */
    int status;  /* of the answer; 0: there was none */
    bool asking;
    const char *error; /* of a question that could not be asked */
};

static const struct call_handler handler;

/* --- asking --- */

/* Only http: the answer is signed, and whoever reads along learns what the certificate says anyway. */
static bool parse(struct str text, struct url *ret)
{
    return url_parse(text, ret) && ret->scheme == URL_HTTP && !ret->userinfo.p;
}

/* Host and path as the certificate has them. */
static void write_head(struct stapler *s, const struct tls_question *q)
{
    struct str rest = str_skip(q->url, str_find(q->url, '/') + 2);
    size_t slash = str_find(rest, '/');
    struct str path = slash < rest.n ? str_skip(rest, slash) : STR("/");

    buf_clear(&s->request);
    buf_printf(&s->request,
               "POST %.*s HTTP/1.1\r\nhost: %.*s\r\ncontent-type: application/ocsp-request\r\n"
               "accept: application/ocsp-response\r\ncontent-length: %zu\r\nuser-agent: ccproxy\r\n"
               "connection: close\r\n\r\n",
               STR_FMT(path), STR_FMT(str_head(rest, slash)), q->request.n);
}

static void ask(struct stapler *s, size_t cert, const struct tls_question *q)
{
    struct pool_options options = {
        .connect_timeout_us = (uint64_t)s->proxy->config->connect_timeout,
        .idle_timeout_us = 1000,
        .idle_max = 1,
        .head_max = 64 * 1024,
    };

    s->asking = true;
    s->cert = cert;
    s->status = 0;
    s->error = "no answer";
    buf_clear(&s->answer);
    timer_after(s->proxy->loop, &s->timer, TIMEOUT_US);
    if (!parse(q->url, &options.target.url)) {
        s->error = "its address is not like http://host/path";
        timer_after(s->proxy->loop, &s->timer, 0);
        return;
    }
    write_head(s, q);
    rope_done(&s->body);
    rope_init(&s->body, REQUEST_MAX);
    (void)rope_add(&s->body, q->request);
    s->pool = pool_new(s->proxy->loop, s->proxy->dns, &options);
    s->call = call_start(s->pool, buf_str(&s->request), &s->body, &handler, s);
}

static void on_head(void *ctx, const struct h1_head *head)
{
    struct stapler *s = ctx;
    s->status = head->status;
}

static void on_end(void *ctx)
{
    struct stapler *s = ctx;
    s->call = NULL;
    timer_after(s->proxy->loop, &s->timer, 0);
}

static void on_body(void *ctx, struct str bytes)
{
    struct stapler *s = ctx;
    if (buf_append(&s->answer, bytes))
        return;
    call_cancel(s->call);
    s->status = 0;
    s->error = "the answer is too long";
    on_end(s);
}

static void on_fail(void *ctx, enum call_failure why, const char *error)
{
    struct stapler *s = ctx;
    (void)why;
    LOG(LOG_DEBUG, "ocsp responder", LOG_CSTR("error", error));
    s->status = 0;
    on_end(s);
}

static const struct call_handler handler = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

/* --- the answer --- */

static struct str name_of(const struct stapler *s)
{
    return tls_server_about(s->proxy->config->tls, s->cert).name;
}

static void refuse(struct stapler *s, enum count_staple what, const char *why)
{
    count_staple(s->proxy, what);
    LOG(what == STAPLE_REVOKED ? LOG_ERROR : LOG_WARN, "nothing new to staple",
        LOG_STR("certificate", name_of(s)), LOG_CSTR("error", why), LOG_INT("status", s->status));
}

static void take(struct stapler *s, const struct staple *staple, size_t place)
{
    char until[CLOCK_TEXT];

    shelf_put(s->proxy->shared->staples, place, staple, clock_us() + staples_wait_us(staple));
    count_staple(s->proxy, STAPLE_GOOD);
    LOG(LOG_INFO, "stapled", LOG_STR("certificate", name_of(s)),
        LOG_STR("until", clock_rfc3339(staple->ends_us, until)));
}

static void judge(struct stapler *s)
{
    struct tls_server *tls = s->proxy->config->tls;
    struct staple staple;
    struct tls_question q;
    const char *why;

    if (s->status != 200 || !tls_server_question(tls, s->cert, &q)) {
        refuse(s, STAPLE_UNANSWERED, s->status ? "the responder refuses" : s->error);
        return;
    }
    switch (tls_server_judge(tls, s->cert, buf_str(&s->answer), &staple, &why)) {
    case TLS_STAPLE_GOOD: take(s, &staple, q.place); break;
    case TLS_STAPLE_REVOKED: refuse(s, STAPLE_REVOKED, why); break;
    case TLS_STAPLE_UNUSABLE: refuse(s, STAPLE_UNUSABLE, why); break;
    }
}

static void forget_call(struct stapler *s)
{
    if (s->call)
        call_cancel(s->call);
    s->call = NULL;
    if (s->pool)
        pool_free(s->pool);
    s->pool = NULL;
}

/* Asks about the first certificate that is due; else waits until one will be. */
static void look(struct stapler *s)
{
    struct shelf *staples = s->proxy->shared->staples;
    const struct tls_server *tls = s->proxy->config->tls;
    uint64_t now = clock_us(), next = now + AGAIN_US;
    struct tls_question q;

    for (size_t i = 0; i < tls_server_certs(tls); i++) {
        if (!tls_server_question(tls, i, &q))
            continue;
        if (shelf_claim(staples, q.place, q.cert, AGAIN_US)) {
            ask(s, i, &q);
            return;
        }
        uint64_t due = shelf_due(staples, q.place, q.cert);
        next = due < next ? due : next;
    }
    timer_after(s->proxy->loop, &s->timer, next > now + SOONEST_US ? next - now : SOONEST_US);
}

static void on_timer(struct timer *t)
{
    struct stapler *s = CONTAINER_OF(t, struct stapler, timer);

    forget_call(s);
    if (s->asking)
        judge(s);
    s->asking = false;
    look(s);
}

/* --- its life --- */

static bool has_questions(const struct tls_server *tls)
{
    struct tls_question q;

    for (size_t i = 0; i < tls_server_certs(tls); i++)
        if (tls_server_question(tls, i, &q))
            return true;
    return false;
}

struct stapler *stapler_new(struct proxy *p)
{
    struct stapler *s;

    tls_server_use_staples(p->config->tls, p->shared->staples);
    if (!has_questions(p->config->tls))
        return NULL;
    s = mem_zalloc(sizeof(*s));
    s->proxy = p;
    buf_init(&s->request, REQUEST_MAX);
    buf_init(&s->answer, ANSWER_MAX);
    rope_init(&s->body, REQUEST_MAX);
    timer_init(&s->timer, "stapler", on_timer);
    timer_after(p->loop, &s->timer, 0);
    return s;
}

void stapler_free(struct stapler *s)
{
    if (!s)
        return;
    timer_stop(s->proxy->loop, &s->timer);
    forget_call(s);
    buf_done(&s->request);
    buf_done(&s->answer);
    rope_done(&s->body);
    mem_free(s);
}
