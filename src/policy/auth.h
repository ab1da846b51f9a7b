/* auth.h - who is asking: keys and certificates, looked up by their hashes. */
#ifndef CCPROXY_POLICY_AUTH_H
#define CCPROXY_POLICY_AUTH_H

#include "policy/clients.h"
#include "wire/h1.h"

enum auth_result {
    AUTH_OK,
    AUTH_REFUSED,  /* missing, wrong, expired: one answer for all */
    AUTH_CONFLICT, /* several credentials that are not the same */
};

/* The credentials of one request, as the fields carry them; absent where not sent. */
struct auth_fields {
    struct str authorization; /* "Bearer KEY" */
    struct str x_api_key;
    struct str api_key;
};

struct auth_fields auth_fields_of(const struct h1_head *head);
/* The one credential that was presented; absent when none was. False when several differ. */
NODISCARD bool auth_presented(const struct auth_fields *f, struct str *ret);
/* On AUTH_OK *ret is the client whose key fits. */
enum auth_result auth_check(const struct clients *clients, const struct auth_fields *f,
                            int64_t now_s, const struct client **ret);

/* What a connection has shown before its first request, and what was verified then. */
struct auth_certificate {
    const struct str *names; /* as clients_certified reads them */
    size_t n;
    int64_t ends_s; /* its last second */
};

/* Whose certificate it is, if it and its client are valid now; else NULL, as if there were none. */
const struct client *auth_certified(const struct clients *clients, const struct auth_certificate *c,
                                    int64_t now_s);

#endif
