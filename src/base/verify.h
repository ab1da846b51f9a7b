/* verify.h - public keys and the signatures made with their other half, for tokens (RFC 7518).
 *
 * The only file besides hash.c that calls OpenSSL's crypto. Keys that are too weak to be trusted are
 * refused when they are made, with the reason.
 */
#ifndef CCPROXY_BASE_VERIFY_H
#define CCPROXY_BASE_VERIFY_H

#include "base/str.h"

/* Bits, so that sets of them can be allowed. */
enum verify_alg {
    ALG_HS256 = 1 << 0,
    ALG_HS384 = 1 << 1,
    ALG_HS512 = 1 << 2,
    ALG_RS256 = 1 << 3,
    ALG_RS384 = 1 << 4,
    ALG_RS512 = 1 << 5,
    ALG_PS256 = 1 << 6,
    ALG_PS384 = 1 << 7,
    ALG_PS512 = 1 << 8,
    ALG_ES256 = 1 << 9,
    ALG_ES384 = 1 << 10,
    ALG_ES512 = 1 << 11,
    ALG_EDDSA = 1 << 12, /* Ed25519 */
};

enum { VERIFY_ERROR = 128 };

struct verify_key;

/* A shared secret, for the HS algorithms that its length is enough for (RFC 7518 section 3.2: at
 * least as long as the hash). */
struct verify_key *verify_key_secret(struct str secret, char error[VERIFY_ERROR]);
/* A public key in PEM: RSA of 2048 bits or more, P-256, P-384, P-521, Ed25519. */
struct verify_key *verify_key_pem(struct str pem, char error[VERIFY_ERROR]);
/* The same from the numbers of a JWK (RFC 7518 section 6, RFC 8037), as bytes. */
struct verify_key *verify_key_rsa(struct str n, struct str e, char error[VERIFY_ERROR]);
struct verify_key *verify_key_ec(struct str curve, struct str x, struct str y,
                                 char error[VERIFY_ERROR]);
struct verify_key *verify_key_ed25519(struct str x, char error[VERIFY_ERROR]);
void verify_key_free(struct verify_key *k); /* NULL is fine */

/* The algorithms that a key of this kind may be used with. */
uint32_t verify_key_algs(const struct verify_key *k);
/* Whether signature is that of text, under an algorithm that the key may be used with. ECDSA
 * signatures are r and s, each as long as the curve's order (RFC 7518 section 3.4). */
NODISCARD bool verify_signature(const struct verify_key *k, enum verify_alg alg, struct str text,
                                struct str signature);

#endif
