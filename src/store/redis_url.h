/* redis_url.h - where a Redis is and who we are there, from one line of configuration.
 *
 *   redis://[user:password@]host[:port][/db]     rediss:// the same over TLS
 *   unix:[//[user:password@]]/path[?db=n]
 *
 * User, password and a socket's path may be percent-encoded. "?db=n" is understood everywhere; any
 * other parameter is refused, because many of them (elsewhere) weaken what the address promises.
 */
#ifndef CCPROXY_STORE_REDIS_URL_H
#define CCPROXY_STORE_REDIS_URL_H

#include "base/arena.h"
#include "wire/url.h"

enum { REDIS_PORT = 6379, REDIS_DB_MAX = 65535 };

struct redis_url {
    struct url server;   /* for dial.h: URL_HTTPS means over TLS; no path, no userinfo */
    struct str user;     /* absent: the default user */
    struct str password; /* absent: none is sent */
    unsigned db;
};

/* Spans point into s and the arena, which holds the decoded password. False and a reason, static
 * text that repeats nothing of s, when it is no such address. */
NODISCARD bool redis_url_parse(struct arena *a, struct str s, struct redis_url *ret,
                               const char **ret_error);

#endif
