/* endpoint.h - the table of URLs: what is served, to whom, and by which dialect or function. */
#ifndef CCPROXY_PROXY_ENDPOINT_H
#define CCPROXY_PROXY_ENDPOINT_H

#include "llm/dialect.h"
#include "wire/h1.h"

struct exchange;

enum access {
    ACCESS_OPEN,   /* anybody; the answer says nothing secret */
    ACCESS_CLIENT, /* a client key */
};

/* HEAD comes with GET, OPTIONS with all. DELETE is not in Allow: it is only ever refused. */
enum { METHOD_GET = 1, METHOD_POST = 2, METHOD_DELETE = 4 };

struct endpoint {
    struct str path; /* canonical; ends in '/' when an id follows */
    unsigned methods;
    enum access access;
    const struct dialect *dialect;      /* a call to Claude, or NULL */
    void (*answer)(struct exchange *x); /* served here, or NULL */
    bool anthropic;                     /* only for clients of Anthropic's API */
};

struct endpoint_match {
    const struct endpoint *endpoint; /* NULL: unknown */
    struct str id;                   /* what the path names, still percent-encoded, or empty */
    const char *unsupported; /* unknown, and Claude does not have it: "embeddings"; or NULL */
};

/* The endpoint of a path as it came. Clients spell them in many ways: any number of /v1 prefixes,
 * doubled and trailing slashes and a leading /openai are skipped, and so is Azure's
 * /openai/deployments/{model}, which is then the id. */
struct endpoint_match endpoint_find(struct str path, bool anthropic);
bool endpoint_allows(const struct endpoint *e, const struct h1_head *head);
const char *endpoint_allow_list(const struct endpoint *e); /* for Allow; NULL: anywhere */

#endif
