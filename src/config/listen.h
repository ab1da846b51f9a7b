/* listen.h - where clients come in: the entries of CCPROXY_LISTEN.
 *
 *   0.0.0.0:8443 tls            an address and a port, and words that say what it is like
 *   [::1]:9090 operators
 *   10.0.0.5:8000 proxy_protocol
 *   unix:/run/ccproxy.sock
 */
#ifndef CCPROXY_CONFIG_LISTEN_H
#define CCPROXY_CONFIG_LISTEN_H

#include "base/str.h"

enum { LISTEN_MAX = 8 };

/* Whose endpoints are served; probes always are. */
enum serves { SERVES_CLIENTS = 1, SERVES_OPERATORS = 2 };

struct listen {
    struct str host; /* an IPv4 or IPv6 address, or unix:/path */
    uint16_t port;
    bool tls;
    bool proxies;    /* proxies that connect there begin with a PROXY header */
    unsigned serves; /* enum serves */
};

/* Whether host is one of what struct listen may have. */
bool listen_is_host(struct str host);
/* An entry, whose text is borrowed. On failure *ret_expected says what it should have been. */
NODISCARD bool listen_parse(struct str entry, struct listen *ret, const char **ret_expected);

#endif
