/* dial.h - from a target's address to an open stream: resolve, race, tunnel, handshake.
 *
 *   dns -> connect to the first address; every 250 ms, or at once after a failure, to the next
 *          (RFC 8305); the first to open wins -> CONNECT through a proxy, if any -> TLS, if https
 */
#ifndef CCPROXY_HTTP_DIAL_H
#define CCPROXY_HTTP_DIAL_H

#include "io/dns.h"
#include "io/stream.h"
#include "io/tls.h"
#include "wire/url.h"

struct dial;

struct dial_target {
    struct url url; /* where to */
    bool has_proxy;
    struct url proxy;    /* through there: http, with optional userinfo for Basic authorization */
    struct tls_ctx *tls; /* for https */
    bool only_http1;     /* whatever else tls would offer by ALPN */
};

/* Calls fn with an open stream (fn sets its owner), or NULL and the reason. error stays valid
 * during the call. Never calls before it returns. */
typedef void dial_fn(void *ctx, struct stream *s, const char *error);

struct dial *dial_start(struct loop *l, struct dns *dns, const struct dial_target *target,
                        uint64_t timeout_us, dial_fn *fn, void *ctx);
void dial_cancel(struct dial *d); /* fn will not be called */

#endif
