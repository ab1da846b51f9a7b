/* address.h - where a request comes from: the peer, or the client that a trusted proxy names.
 *
 *   X-Forwarded-For: made-up, client, proxy-2        peer: proxy-1
 *                              ^ <---- trusted --------- read from the right
 *
 * IPv4 is kept as IPv6 (RFC 4291 section 2.5.5.2), so that one address has one form.
 */
#ifndef CCPROXY_POLICY_ADDRESS_H
#define CCPROXY_POLICY_ADDRESS_H

#include <netinet/in.h>

#include "base/arena.h"

enum { ADDRESS_BYTES = 16, ADDRESS_TEXT = 48 };

struct address {
    uint8_t bytes[ADDRESS_BYTES];
    bool known; /* a unix socket has none */
};

/* Addresses whose first bits are these. */
struct address_block {
    struct address address;
    unsigned bits; /* of 128 */
};

struct address_blocks {
    struct address_block *list;
    size_t n;
    bool unix_sockets; /* peers on unix sockets are meant, too */
};

/* "192.0.2.1", "2001:db8::1", and as proxies write them: "192.0.2.1:4711", "[2001:db8::1]",
 * "[2001:db8::1]:4711". */
NODISCARD bool address_parse(struct str s, struct address *ret);
struct address address_v4(const struct in_addr *in);
struct address address_v6(const struct in6_addr *in);
struct str address_text(const struct address *a, char out[ADDRESS_TEXT]);
/* The list "10.0.0.0/8, 2001:db8::/32, 192.0.2.1, unix" in a; *ret_bad is the entry that is none. */
NODISCARD bool address_blocks_parse(struct str list, struct arena *a, struct address_blocks *ret,
                                    struct str *ret_bad);
bool address_is_in(const struct address_blocks *b, const struct address *a);

/* Whose request it is. forwarded: the values of all X-Forwarded-For fields, joined by commas. Read
 * from the right while the hop before is trusted; what is no address ends it. */
struct address address_of_client(const struct address_blocks *trusted, const struct address *peer,
                                 struct str forwarded);
/* What a penalty falls on: an IPv4 address, or the /64 of an IPv6 one, since whoever has one of those
 * has them all. */
struct address address_neighbourhood(const struct address *a);

#endif
