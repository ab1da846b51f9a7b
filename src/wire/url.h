/* url.h - addresses of upstreams and proxies from configuration: http, https and unix. */
#ifndef CCPROXY_WIRE_URL_H
#define CCPROXY_WIRE_URL_H

#include "base/str.h"

enum url_scheme { URL_HTTP, URL_HTTPS, URL_UNIX };

struct url {
    enum url_scheme scheme;
    struct str userinfo; /* absent, or "user:password" as written */
    struct str host;     /* name or address, without brackets; the socket's path for unix */
    uint16_t port;       /* the scheme's default when none is written; 0 for unix */
    struct str path;     /* absolute, without a trailing slash: "" for the root */
    bool is_ipv6;        /* host is an IPv6 literal */
};

/* Spans point into s. Refused: control characters, spaces, a query, a fragment, an empty host,
 * a port outside 1..65535, another scheme. unix:/path and unix:///path are both accepted. */
NODISCARD bool url_parse(struct str s, struct url *ret);

/* False for what means something inside a machine or a network only: names like localhost, addresses
 * of private, local and reserved blocks, however they are spelled. */
bool url_is_public(const struct url *u);

/* Whether host (and port) is exempt from proxying by a NO_PROXY list: comma-separated names
 * (a name covers its subdomains, with or without a leading dot), addresses, CIDR blocks, name:port,
 * "*". */
bool url_no_proxy(struct str list, struct str host, uint16_t port);

#endif
