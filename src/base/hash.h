/* hash.h - SHA-256, HMAC, a keyed short hash and sealed boxes, in the only file of base that calls
 * OpenSSL. */
#ifndef CCPROXY_BASE_HASH_H
#define CCPROXY_BASE_HASH_H

#include "base/str.h"

struct sha256 {
    uint8_t bytes[32];
};

struct sha256 hash_sha256(struct str s);
struct sha256 hash_hmac(struct str key, struct str s); /* HMAC-SHA-256 */
/* *h becomes the hash of *h followed by s: many pieces, in order, as one value. */
void hash_chain(struct sha256 *h, struct str s);
bool hash_equal(const struct sha256 *a, const struct sha256 *b); /* constant time */

/* SHA-1, which names things and protects nothing: Redis calls its scripts so. */
enum { SHA1_SIZE = 20 };

void hash_sha1(struct str s, uint8_t out[SHA1_SIZE]);

/* SipHash-2-4 of s under the process's random key: for tables that peers can fill. */
uint64_t hash_sip(struct str s);

/* AES-256-GCM (NIST SP 800-38D). A box is 12 bytes of nonce, the ciphertext and 16 bytes of tag; it
 * opens only under the same key and label, and only unaltered. */
enum { SEAL_KEY = 32, SEAL_EXTRA = 12 + 16 };

/* out has room for plain.n + SEAL_EXTRA bytes. The nonce is random: at most 2^32 boxes a key. */
void seal_close(const uint8_t key[SEAL_KEY], struct str label, struct str plain, char *out);
/* Opens a box of n bytes in its place, where *ret_plain then points. False when it is not whole and
 * ours; what stood there is spoilt. */
NODISCARD bool seal_open(const uint8_t key[SEAL_KEY], struct str label, char *box, size_t n,
                         struct str *ret_plain);

/* The same key's GMAC: a hash for what is large and never shown, many times as quick as SHA-256. All
 * have one nonce, so two that somebody saw would give the hash's key away: they stay in boxes. */
struct fingerprint {
    uint8_t bytes[16];
};

/* *f becomes the fingerprint of *f followed by s: many pieces, in order, as one value. */
void fingerprint_chain(const uint8_t key[SEAL_KEY], struct fingerprint *f, struct str s);

#endif
