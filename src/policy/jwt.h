/* jwt.h - tokens that an identity provider signed: JSON Web Tokens (RFC 7519) in the compact form of
 * JWS (RFC 7515), under the rules of RFC 8725.
 *
 * Which algorithms count is said by the configuration and by each key, never by the token. What a
 * token names for finding keys (jku, x5u, jwk, x5c) is never looked at.
 */
#ifndef CCPROXY_POLICY_JWT_H
#define CCPROXY_POLICY_JWT_H

#include "base/arena.h"
#include "base/verify.h"

enum { JWT_MAX = 8192, JWT_KEYS_MAX = 100, JWT_SETTINGS_MAX = 2048 };

struct jwt_key {
    struct str kid; /* absent: fits any token */
    struct verify_key *key;
    uint32_t algs; /* that it may be used with */
};

struct jwt_keys {
    struct jwt_key keys[JWT_KEYS_MAX];
    size_t n;
    struct arena arena; /* of the kids */
};

void jwt_keys_init(struct jwt_keys *k);
void jwt_keys_done(struct jwt_keys *k);
/* One key, which now belongs to the set; false when the set is full. */
bool jwt_keys_add(struct jwt_keys *k, struct str kid, struct verify_key *key, uint32_t algs);
/* The keys of a JWK set (RFC 7517) that can verify: secrets, keys for encryption, weak ones and those
 * whose kid has come before are skipped. False when the text is no key set, or holds none of use. */
NODISCARD bool jwt_keys_read(struct jwt_keys *k, struct str jwks);

struct jwt_rules {
    struct str issuer;   /* iss must be it; absent: any */
    struct str audience; /* aud must have it; absent: any */
    uint32_t algs;       /* that count (enum verify_alg); 0: whatever the keys are for */
    int64_t leeway_s;
    int64_t lifetime_max_s; /* from iat, or from now, to exp; 0: any */
    struct str settings;    /* the name of the claim that says more of the client; absent: none */
};

enum jwt_result {
    JWT_OK,
    JWT_MALFORMED,   /* not three parts of base64url, or not JSON in them, or too long */
    JWT_BAD_HEADER,  /* asks for what is not done here: crit, b64, zip, cty, another typ */
    JWT_UNKNOWN_KEY, /* no key of that kid: a newer key set may have it */
    JWT_BAD_ALGORITHM,
    JWT_BAD_SIGNATURE,
    JWT_BAD_CLAIMS, /* the signature is right, as it is in all that follow; no JSON object */
    JWT_BAD_TIMES,  /* exp is missing, or exp, nbf or iat is no date */
    JWT_EXPIRED,
    JWT_NOT_YET,
    JWT_TOO_LONG_LIVED,
    JWT_BAD_ISSUER,
    JWT_BAD_AUDIENCE,
    JWT_NO_SUBJECT,
    JWT_BAD_SETTINGS, /* what the claim of the settings says is not to be understood */
};

struct jwt_claims { /* plain text, in the arena */
    struct str subject;
    struct str scope;    /* words between spaces, or absent */
    struct str settings; /* JSON, or absent */
    int64_t expires_s;
};

/* "RS256" and so on; 0 when there is no such algorithm here, as "none". */
uint32_t jwt_alg_of(struct str name);

/* now_s: seconds since 1970. Claims are filled on JWT_OK only. */
enum jwt_result jwt_verify(const struct jwt_keys *keys, const struct jwt_rules *rules,
                           struct str token, int64_t now_s, struct arena *a,
                           struct jwt_claims *ret);
const char *jwt_result_name(enum jwt_result r); /* for the log */
/* Whether the signature was found right, whatever was wrong besides. */
bool jwt_is_signed(enum jwt_result r);

/* The JSON of header and payload, in a: nobody has verified them, they are for people's eyes only.
 * False when the token is malformed. */
NODISCARD bool jwt_peek(struct str token, struct arena *a, struct str *ret_header,
                        struct str *ret_payload);

#endif
