/* proxy_header.h - the PROXY protocol, versions 1 and 2: whom a proxy connects for, said before
 * anything else on a connection.
 *
 *   PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n                           version 1: a line
 *   \r\n\r\n\0\r\nQUIT\n | 2, command | family | length | addresses | TLVs      version 2: binary
 *
 * What is read: HAProxy's "The PROXY protocol", of 2020. A header is taken whole or not at all, and
 * what follows it is not looked at.
 */
#ifndef CCPROXY_WIRE_PROXY_HEADER_H
#define CCPROXY_WIRE_PROXY_HEADER_H

#include "base/str.h"

enum {
    PROXY_V1_MAX = 107,  /* with its line end */
    PROXY_V2_MAX = 4096, /* with its first 16 bytes; proxies send some 500 at most */
    PROXY_HEADER_MAX = PROXY_V2_MAX,
};

enum proxy_header_result {
    PROXY_HEADER_MORE, /* as far as it goes it is right */
    PROXY_HEADER_DONE,
    PROXY_HEADER_NONE, /* this is something else */
    PROXY_HEADER_BAD,  /* fault says which rule is broken */
};

struct proxy_header {
    size_t size; /* bytes of it, when done */
    bool marked; /* no other protocol begins like what has come */

    enum proxy_source {
        PROXY_SOURCE_NONE, /* UNKNOWN, LOCAL: it is as if the proxy were the client */
        PROXY_SOURCE_IP4,
        PROXY_SOURCE_IP6,
        PROXY_SOURCE_UNIX, /* its path tells nobody anything and is not kept */
    } source;

    uint8_t address[16]; /* the client's: 4 bytes or 16, as on the wire */
    uint16_t port;

    const char *fault;
};

/* bytes: all that has come so far. */
enum proxy_header_result proxy_header_read(struct str bytes, struct proxy_header *ret);

#endif
