/* local.c - see local.h. */
#include "proxy/local.h"

#include "base/clock.h"
#include "base/text.h"
#include "io/tls.h"
#include "proxy/door.h"
#include "proxy/endpoint.h"
#include "proxy/exchange.h"
#include "proxy/proxy_int.h"
#include "wire/jsonw.h"

static struct buf *clean_scratch(struct exchange *x)
{
    buf_clear(&x->proxy->scratch);
    return &x->proxy->scratch;
}

static void reply_json(struct exchange *x, int status, struct buf *body)
{
    reply_whole(x, status, STR("application/json"), buf_str(body));
}

void local_models(struct exchange *x)
{
    struct buf *body = clean_scratch(x);
    if (x->anthropic)
        anthropic_models_list(x->proxy->models, body);
    else
        openai_models_list(x->proxy->models, body);
    reply_json(x, 200, body);
}

/* The id in the path, decoded; absent when its escapes are broken. */
static struct str model_id(struct exchange *x)
{
    struct str id;
    return text_percent_decode(&x->scratch, x->rest, &id) ? id : STR_NONE;
}

static void refuse_model(struct exchange *x, enum fail why, struct str message)
{
    struct str param = why == FAIL_MODEL_NOT_FOUND ? STR("model") : STR_NONE;
    struct api_error err = fail_error(why, STR_NONE, param, message);
    struct buf *body = clean_scratch(x);
    if (!x->anthropic) {
        reply_error(x, why, &err);
        return;
    }
    anthropic_error_body(&err, body);
    reply_json(x, err.status, body);
}

void local_model(struct exchange *x)
{
    struct buf *body = clean_scratch(x);
    struct str id = model_id(x), shown = str_head(id, size_min(id.n, 128));
    bool (*write_one)(const struct models *, struct str, struct arena *, struct buf *) =
        x->anthropic ? anthropic_models_one : openai_models_one;
    bool reads = x->verb != H1_OTHER; /* the other is DELETE */
    if (!write_one(x->proxy->models, id, &x->scratch, body))
        refuse_model(x, FAIL_MODEL_NOT_FOUND,
                     arena_printf(&x->scratch, "The model '%.*s' does not exist.",
                                  (int)text_utf8_valid(shown), shown.p ? shown.p : ""));
    else if (reads)
        reply_json(x, 200, body);
    else
        refuse_model(x, FAIL_FORBIDDEN,
                     STR("You have insufficient permissions for this operation."));
}

void local_health(struct exchange *x)
{
    const struct proxy *p = x->proxy;
    bool upstream = proxy_upstream_works(p);
    bool limiter = !p->redis || redis_is_up(p->redis); /* else what CCPROXY_REDIS_FALLBACK says */
    bool recording = journal_state(p->shared->journal) != JOURNAL_FAILS;
    bool certificates = tls_server_is_valid(p->config->tls, clock_wall_us(),
                                            (uint64_t)p->config->tls_expiry_notice) &&
                        tls_server_is_stapled(p->config->tls);
    bool auth = !p->keyring || keyring_works(p->keyring);
    bool ready = p->state == PROXY_READY;
    bool well = upstream && limiter && auth && recording && certificates;
    char when[CLOCK_TEXT];
    struct buf *body = clean_scratch(x);
    struct jsonw w;
    jsonw_to_buf(&w, body);
    jsonw_object(&w);
    jsonw_field_str(&w, "status",
                    !ready ? STR("unhealthy")
                    : well ? STR("healthy")
                           : STR("degraded"));
    jsonw_field_i64(&w, "uptime_seconds",
                    (int64_t)((clock_wall_us() - p->started_wall_us) / 1000000));
    jsonw_key(&w, STR("checks"));
    jsonw_object(&w);
    jsonw_field_bool(&w, "claude_api", upstream);
    jsonw_field_bool(&w, "rate_limiter", limiter);
    jsonw_field_bool(&w, "auth", auth);
    if (p->config->records)
        jsonw_field_bool(&w, "usage", recording);
    if (p->config->tls)
        jsonw_field_bool(&w, "certificates", certificates);
    jsonw_field_bool(&w, "accepting", ready);
    jsonw_object_end(&w);
    jsonw_field_str(&w, "timestamp", clock_rfc3339(clock_wall_us(), when));
    jsonw_object_end(&w);
    reply_json(x, ready ? 200 : 503, body);
}

static void reply_state(struct exchange *x, int status, struct str text)
{
    struct buf *body = clean_scratch(x);
    struct jsonw w;
    jsonw_to_buf(&w, body);
    jsonw_object(&w);
    jsonw_field_str(&w, "status", text);
    jsonw_object_end(&w);
    reply_json(x, status, body);
}

void local_livez(struct exchange *x)
{
    reply_state(x, 200, STR("alive"));
}

void local_readyz(struct exchange *x)
{
    if (x->proxy->state == PROXY_READY)
        reply_state(x, 200, STR("ready"));
    else
        reply_state(x, 503, STR("draining"));
}

void local_options(struct exchange *x)
{
    struct request *r = x->request;
    reply_head(x, 204, STR("text/plain"));
    reply_field(r, STR("Allow"), str_c(endpoint_allow_list(x->endpoint)));
    door_reply_preflight(x, str_c(endpoint_allow_list(x->endpoint)));
    reply_head_end(r, 0);
    reply_end(r);
}
