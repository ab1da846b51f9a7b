/* platform.h - how a Messages request is wrapped for the place that serves it.
 *
 * Anthropic's own API: path, version and credentials in the head. Other platforms differ in these
 * alone and each is one more row.
 */
#ifndef CCPROXY_LLM_PLATFORM_H
#define CCPROXY_LLM_PLATFORM_H

#include "base/buf.h"

struct platform_call {
    struct str authority;               /* for Host */
    struct str base_path;               /* of the base URL, "" for none */
    struct str key;                     /* credential */
    struct str version;                 /* anthropic-version */
    struct str betas;                   /* anthropic-beta, or absent */
    struct str traceparent, tracestate; /* or absent */
    size_t body_len;
};

struct platform {
    const char *name;
    /* The whole head of POST .../v1/messages; false when out is full. */
    bool (*messages_head)(const struct platform_call *c, struct buf *out);
    bool (*models_head)(const struct platform_call *c, struct buf *out); /* GET .../v1/models */
};

extern const struct platform platform_anthropic;

#endif
