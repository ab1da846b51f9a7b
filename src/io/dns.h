/* dns.h - names to addresses, without blocking, with a cache that keeps the records' times to live.
 *
 * Address literals, "localhost" and the names in /etc/hosts are answered without asking anybody.
 * Failures are remembered for a second; when the servers fail, the last good answer is used for up
 * to an hour more (but their "no such name" is an answer). Addresses come with IPv6 and IPv4 taking
 * turns, as RFC 8305 section 4 wants them. One resolver per worker.
 */
#ifndef CCPROXY_IO_DNS_H
#define CCPROXY_IO_DNS_H

#include "io/loop.h"
#include "io/sock.h"

enum { DNS_ADDRS_MAX = 16 };

struct dns;
struct dns_query; /* a lookup under way */

/* servers: "address[:port],..." instead of the system's, or NULL. Files (/etc/resolv.conf,
 * /etc/hosts) are read here and never again. NULL when servers is not such a list. */
struct dns *dns_new(struct loop *l, const char *servers);
void dns_free(struct dns *d); /* pending lookups end without a call; not from inside fn */

/* addrs hold the port that was asked for; n is 0 on failure and error says why. */
typedef void dns_fn(void *ctx, const struct sock_addr *addrs, size_t n, const char *error);

/* Calls fn later or, for a literal or a cached name, before it returns (then the result is NULL).
 */
struct dns_query *dns_lookup(struct dns *d, struct str host, uint16_t port, dns_fn *fn, void *ctx);
void dns_cancel(struct dns_query *q); /* fn will not be called */

#endif
