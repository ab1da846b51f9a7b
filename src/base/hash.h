/* hash.h - SHA-256, HMAC and a keyed short hash, in the only file of base that calls OpenSSL. */
#ifndef CCPROXY_BASE_HASH_H
#define CCPROXY_BASE_HASH_H

#include "base/str.h"

struct sha256 {
    uint8_t bytes[32];
};

struct sha256 hash_sha256(struct str s);
struct sha256 hash_hmac(struct str key, struct str s);           /* HMAC-SHA-256 */
bool hash_equal(const struct sha256 *a, const struct sha256 *b); /* constant time */

/* SipHash-2-4 of s under the process's random key: for tables that peers can fill. */
uint64_t hash_sip(struct str s);

#endif
