/* endpoint.h - the table of URLs: what is served, to whom, and by which dialect or function. */
#ifndef CCPROXY_PROXY_ENDPOINT_H
#define CCPROXY_PROXY_ENDPOINT_H

#include "llm/dialect.h"
#include "policy/clients.h"
#include "wire/h1.h"

struct exchange;

/* HEAD comes with GET, OPTIONS with all. DELETE is not in Allow: it is only ever refused. */
enum { METHOD_GET = 1, METHOD_POST = 2, METHOD_DELETE = 4 };

struct endpoint {
    struct str path; /* without /v1 and a trailing slash; ends in '/' when an id follows */
    unsigned methods;
    uint32_t
        right; /* one of these (enum right) a client needs; 0: anybody, nothing in it is secret */
    const struct dialect *dialect;      /* a call to Claude, or NULL */
    void (*answer)(struct exchange *x); /* served here, or NULL */
    bool slow;                          /* answer ends the exchange later */
};

/* The endpoint of a path as it came. Any number of /v1 prefixes, a leading /openai, doubled and
 * trailing slashes are skipped. *ret_rest is what follows the endpoint's own path (an id), or the
 * model that an Azure path names. NULL: unknown; *ret_unsupported then says why it is not here ("Claude has no
 * embeddings"), or is NULL. */
const struct endpoint *endpoint_find(struct str path, struct str *ret_rest,
                                     const char **ret_unsupported);
/* The table, in order. */
size_t endpoint_count(void);
const struct endpoint *endpoint_at(size_t i);
size_t endpoint_index(const struct endpoint *e);
/* Whether it is what clients come for, and no probe or operators' page; NULL, an unknown one, is. */
bool endpoint_is_clients(const struct endpoint *e);
/* Whether a door that is for those (enum serves) has it: probes are at every door. */
bool endpoint_is_at(const struct endpoint *e, unsigned serves);
bool endpoint_allows(const struct endpoint *e, const struct h1_head *head);
const char *endpoint_allow_list(const struct endpoint *e); /* for Allow; NULL: anywhere */

#endif
