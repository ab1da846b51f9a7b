/* auth.c - see auth.h. Keys are looked up by hash, so no comparison ever runs on secret bytes. */
#include "policy/auth.h"

struct auth_fields auth_fields_of(const struct h1_head *head)
{
    return (struct auth_fields){
        .authorization = head->known[H1_AUTHORIZATION],
        .x_api_key = head->known[H1_X_API_KEY],
        .api_key = head->known[H1_API_KEY],
    };
}

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

bool auth_presented(const struct auth_fields *f, struct str *ret)
{
    *ret = STR_NONE;
    return merge(ret, bearer_token(f->authorization)) && merge(ret, f->x_api_key) &&
           merge(ret, f->api_key);
}

enum auth_result auth_check(const struct clients *clients, const struct auth_fields *f,
                            int64_t now_s, const struct client **ret)
{
    struct str presented;
    if (!auth_presented(f, &presented))
        return AUTH_CONFLICT;
    if (presented.n == 0)
        return AUTH_REFUSED;
    struct sha256 hash = hash_sha256(presented);
    const struct client *found = clients_find(clients, &hash);
    if (!found || !client_is_current(found, now_s))
        return AUTH_REFUSED;
    *ret = found;
    return AUTH_OK;
}

const struct client *auth_certified(const struct clients *clients, const struct auth_certificate *c,
                                    int64_t now_s)
{
    const struct client *client =
        now_s <= c->ends_s ? clients_certified(clients, c->names, c->n) : NULL;
    return client && client_is_current(client, now_s) ? client : NULL;
}
