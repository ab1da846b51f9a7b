/* platform_anthropic.c - Anthropic's own API: the heads of its calls.
 *
 * A response must come as it is written: no content coding is accepted, since a coder would hold
 * events back. The credential goes into x-api-key, which every version of the API takes.
 */
#include "llm/platform.h"
#include "wire/h1.h"

static bool write_head(const struct platform_call *c, struct str method, struct str path,
                       struct buf *out)
{
    return buf_append(out, method) && buf_append(out, c->base_path) && buf_append(out, path) &&
           buf_lit(out, " HTTP/1.1\r\n") && h1_write_field(out, STR("host"), c->authority) &&
           h1_write_field(out, STR("x-api-key"), c->key) &&
           h1_write_field(out, STR("anthropic-version"), c->version) &&
           (c->betas.n == 0 || h1_write_field(out, STR("anthropic-beta"), c->betas)) &&
           (c->traceparent.n == 0 || h1_write_field(out, STR("traceparent"), c->traceparent)) &&
           (c->tracestate.n == 0 || h1_write_field(out, STR("tracestate"), c->tracestate)) &&
           buf_lit(out, "user-agent: ccproxy\r\n"
                        "accept: application/json\r\n"
                        "accept-encoding: identity\r\n");
}

static bool messages_head(const struct platform_call *c, struct buf *out)
{
    return write_head(c, STR("POST "), STR("/v1/messages"), out) &&
           buf_lit(out, "content-type: application/json\r\n") &&
           h1_write_field_u64(out, STR("content-length"), c->body_len) && buf_lit(out, "\r\n");
}

static bool models_head(const struct platform_call *c, struct buf *out)
{
    return write_head(c, STR("GET "), STR("/v1/models?limit=1000"), out) && buf_lit(out, "\r\n");
}

const struct platform platform_anthropic = {
    .name = "anthropic",
    .messages_head = messages_head,
    .models_head = models_head,
};
