/* auth.c - see auth.h. Keys are looked up by hash, so no comparison ever runs on secret bytes. */
#include "policy/auth.h"

static struct str bearer_token(struct str authorization)
{
    if (!str_starts_nocase(authorization, STR("bearer ")))
        return STR_NONE;
    return str_trim(str_skip(authorization, 7));
}

/* Adds one credential to what was presented; false when it differs from another one. */
static bool merge(struct str *presented, struct str credential)
{
    if (credential.n == 0)
        return true;
    if (presented->n != 0)
        return str_eq_secret(*presented, credential);
    *presented = credential;
    return true;
}

enum auth_result auth_check(const struct auth_key *keys, size_t n, const struct auth_fields *f,
                            const struct auth_key **ret)
{
    struct str presented = STR_NONE;
    if (!merge(&presented, bearer_token(f->authorization)) || !merge(&presented, f->x_api_key) ||
        !merge(&presented, f->api_key))
        return AUTH_CONFLICT;

    struct sha256 hash = hash_sha256(presented);
    const struct auth_key *found = NULL;
    for (size_t i = 0; i < n; i++) /* no early exit: the position of a key is not told by time */
        if (hash_equal(&keys[i].hash, &hash))
            found = &keys[i];
    if (!found || presented.n == 0)
        return AUTH_REFUSED;
    *ret = found;
    return AUTH_OK;
}
