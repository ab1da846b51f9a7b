/* pool.h - connections to one upstream target, and the calls that use them.
 *
 * A connection is on one list: idle or busy; dials under way are counted. A call takes the idle
 * connection used last, or starts a dial; while it dials, a connection that becomes idle serves it
 * too, and the new one goes to the next call or to the idle list. Idle connections are closed
 * before the far end would do so, and at once when it does or sends something unasked.
 *
 * An HTTP/2 connection carries many calls. A call goes to the one with the fewest streams; when all
 * are as full as the upstream allows, another is dialled.
 */
#ifndef CCPROXY_HTTP_POOL_H
#define CCPROXY_HTTP_POOL_H

#include "http/dial.h"

struct pool;

enum pool_http {
    POOL_HTTP_1,    /* unless ALPN says otherwise */
    POOL_HTTP_AUTO, /* whichever ALPN chooses */
    POOL_HTTP_2,    /* or nothing; without TLS by prior knowledge */
};

struct pool_options {
    enum pool_http http;
    struct dial_target target;
    uint64_t connect_timeout_us;
    uint64_t idle_timeout_us; /* 10 s: api.anthropic.com closes after about 15 */
    size_t idle_max;
    size_t head_max; /* of an answer's head */
};

struct pool *pool_new(struct loop *l, struct dns *dns, const struct pool_options *o);
void pool_free(struct pool *p); /* no call may be open */
size_t pool_idle(const struct pool *p);
size_t pool_busy(const struct pool *p);

#endif
