/* auth.h - who is asking: client keys, compared as hashes and in constant time. */
#ifndef CCPROXY_POLICY_AUTH_H
#define CCPROXY_POLICY_AUTH_H

#include "base/hash.h"
#include "base/str.h"

struct auth_key {
    struct str name;
    struct sha256 hash;
};

enum auth_result {
    AUTH_OK,
    AUTH_REFUSED,  /* missing or wrong: one answer for both */
    AUTH_CONFLICT, /* several credentials that are not the same */
};

/* The credentials of one request, as the fields carry them; absent where not sent. */
struct auth_fields {
    struct str authorization; /* "Bearer KEY" */
    struct str x_api_key;
    struct str api_key;
};

/* On AUTH_OK *ret is the key that fits. Time does not depend on which key fits, or how nearly. */
enum auth_result auth_check(const struct auth_key *keys, size_t n, const struct auth_fields *f,
                            const struct auth_key **ret);

#endif
