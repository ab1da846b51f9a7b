/* reply.c - the heads of answers: what every one carries, and how errors look. */
#include "base/clock.h"
#include "proxy/admit.h"
#include "proxy/door.h"
#include "proxy/endpoint.h"
#include "proxy/exchange.h"
#include "proxy/proxy_int.h"

/* On every answer, errors included: nothing is kept, and OWASP's list for an API. */
static const struct str always =
    STR_INIT("Cache-Control: no-cache, no-store\r\n"
             "X-Content-Type-Options: nosniff\r\n"
             "X-Frame-Options: DENY\r\n"
             "Referrer-Policy: no-referrer\r\n"
             "Cross-Origin-Resource-Policy: same-origin\r\n"
             "Permissions-Policy: camera=(), geolocation=(), microphone=()\r\n");

/* Nothing is to be shown, but for our own pages: those of files of ours, and nothing inline. */
static const struct str no_page =
    STR_INIT("Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n");
static const struct str own_page =
    STR_INIT("Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
             "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
             "frame-ancestors 'none'\r\n");

static void reply_limit(struct request *r, const struct upstream_limit *l, bool tokens)
{
    char text[UPSTREAM_DURATION];
    uint64_t now = clock_wall_us();
    if (!l->known)
        return;
    reply_field_u64(r, tokens ? STR("X-Ratelimit-Limit-Tokens") : STR("X-Ratelimit-Limit-Requests"),
                    (uint64_t)l->limit);
    reply_field_u64(
        r, tokens ? STR("X-Ratelimit-Remaining-Tokens") : STR("X-Ratelimit-Remaining-Requests"),
        (uint64_t)l->remaining);
    reply_field(r, tokens ? STR("X-Ratelimit-Reset-Tokens") : STR("X-Ratelimit-Reset-Requests"),
                upstream_duration(l->reset_us > now ? l->reset_us - now : 0, text));
}

static const struct upstream_limit *tighter(const struct upstream_limit *a,
                                            const struct upstream_limit *b)
{
    if (!a->known || !b->known)
        return a->known ? a : b;
    return a->remaining < b->remaining ? a : b;
}

static void reply_notices(struct exchange *x)
{
    const struct decoded *d = &x->decoded;
    if (d->dropped.n)
        reply_field(x->request, STR("X-Ccproxy-Dropped"), d->dropped);
    if (x->lowered_to)
        reply_field_u64(x->request, STR("X-Ccproxy-Max-Tokens"), x->lowered_to);
    if (d->match == MODEL_SUCCEEDED && h1_is_field_value(d->asked_model))
        reply_field(x->request, STR("X-Ccproxy-Retired-Model"), d->asked_model);
}

void reply_head(struct exchange *x, int status, struct str content_type)
{
    struct request *r = x->request;
    x->status = status;
    reply_start(r, status);
    reply_field(r, STR("Content-Type"), content_type);
    reply_field(r, STR("X-Request-Id"), x->id);
    reply_lines(r, always);
    if (r->door->tls) /* browsers are not to try without */
        reply_field(r, STR("Strict-Transport-Security"), STR("max-age=63072000"));
    reply_lines(r, x->is_page ? own_page : no_page);
    door_reply_origin(x);
    if (x->endpoint && x->endpoint->dialect) {
        reply_lines(r, STR("Openai-Version: 2020-10-01\r\n"));
        reply_field_u64(r, STR("Openai-Processing-Ms"), (clock_us() - x->started_us) / 1000);
        if (x->upstream_id.n)
            reply_field(r, STR("Request-Id"), x->upstream_id);
        static const struct upstream_limits unsaid;
        admit_tell(x);
        const struct upstream_limits *theirs = x->limits ? x->limits : &unsaid;
        reply_limit(r, tighter(&theirs->requests, &x->own_limits.requests), false);
        reply_limit(r, tighter(&theirs->tokens, &x->own_limits.tokens), true);
        reply_notices(x);
    }
}

void reply_whole(struct exchange *x, int status, struct str content_type, struct str body)
{
    reply_head(x, status, content_type);
    reply_head_end(x->request, (int64_t)body.n);
    reply_body(x->request, body);
    reply_end(x->request);
}

/* Whether the same request would fail again, or spend again what is thrown away again. */
static bool is_hopeless(enum fail why)
{
    const struct fail_row *row = fail_row(why);
    if (row->retry == RETRY_KEY || why == FAIL_BUDGET || why == FAIL_ANSWER_TOO_LARGE)
        return true;
    return row->status < 500 && row->status != 408 && row->status != 409 && row->status != 429;
}

/* Clients retry on 408, 409, 429 and 5xx by themselves, unless they are told. */
static void reply_retry_fields(struct exchange *x, enum fail why)
{
    enum { OVERLOAD_PAUSE_US = 5 * 1000 * 1000 };
    struct request *r = x->request;
    const struct fail_row *row = fail_row(why);
    int64_t after_us = x->retry_after_us;
    if (after_us < 0 && row->status == 503)
        after_us = OVERLOAD_PAUSE_US;
    if (is_hopeless(why)) {
        reply_field(r, STR("X-Should-Retry"), STR("false"));
        return;
    }
    if (x->should_retry != SHOULD_RETRY_UNSAID && x->attempts == 1)
        reply_field(r, STR("X-Should-Retry"),
                    x->should_retry == SHOULD_RETRY_YES ? STR("true") : STR("false"));
    if (after_us < 0)
        return;
    reply_field_u64(r, STR("Retry-After"), (uint64_t)(after_us + 999999) / 1000000);
    reply_field_u64(r, STR("Retry-After-Ms"), (uint64_t)(after_us + 999) / 1000);
}

static void (*error_writer(const struct exchange *x))(const struct api_error *, struct buf *)
{
    bool has_dialect = x->endpoint && x->endpoint->dialect;
    return has_dialect ? x->endpoint->dialect->error_body : openai_error_body;
}

static void reply_error_frame(struct exchange *x, const struct api_error *err)
{
    x->endpoint->dialect->error_frame(err, reply_body_begin(x->request));
    reply_body_end(x->request);
    reply_end(x->request);
}

void reply_error(struct exchange *x, enum fail why, const struct api_error *err)
{
    struct request *r = x->request;
    bool has_frames = x->endpoint && x->endpoint->dialect;
    if (reply_started(r) && !has_frames) {
        reply_abort(r);
        return;
    }
    if (reply_started(r)) {
        reply_error_frame(x, err);
        return;
    }
    struct buf *body = &x->proxy->scratch;
    buf_clear(body);
    error_writer(x)(err, body);
    reply_head(x, err->status, STR("application/json"));
    reply_retry_fields(x, why);
    if (err->status == 401)
        reply_field(r, STR("WWW-Authenticate"), STR("Bearer realm=\"ccproxy\""));
    if (why == FAIL_METHOD)
        reply_field(r, STR("Allow"), str_c(endpoint_allow_list(x->endpoint)));
    reply_head_end(r, (int64_t)buf_len(body));
    reply_body(r, buf_str(body));
    reply_end(r);
}
