/* check_keys.c - the rules of credentials: the upstream's keys, and how clients are known.
 *
 *   upstream key | base URL   | client keys | then
 *   -------------+------------+-------------+---------------------------------------
 *   none         | default    | none        | demo
 *   none         | any        | any         | fault: ANTHROPIC_API_KEY
 *   some         | any        | none        | fault: CCPROXY_API_KEYS
 *
 * Upstream keys stay spans of the option's text, which config_free wipes; client keys are kept as hashes
 * only.
 */
#include "config/check_int.h"
#include "policy/route.h"

enum { KEY_MIN = 8 };

/* What an HTTP field can carry between spaces. */
static bool is_visible(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    return true;
}

/* "aaaaaaaa" is as long as a key, and nobody's secret. */
static bool is_simple(struct str s)
{
    enum { DISTINCT = 5 };

    bool seen[UINT8_MAX + 1] = {false};
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        n += !seen[(unsigned char)s.p[i]];
        seen[(unsigned char)s.p[i]] = true;
    }
    return n < DISTINCT;
}

static void check_upstream_keys(struct config *c, struct report *r)
{
    struct str rest = c->anthropic_api_key, part;
    struct str at = where(c, OPT_anthropic_api_key);

    c->upstream_keys = arena_zalloc(&c->arena, check_count_parts(rest) * sizeof(struct str));
    while (str_split(&rest, ',', &part)) {
        struct str key = str_trim(part);
        size_t n = c->n_upstream_keys;

        if (!key.n || !is_visible(key))
            report_fault(r, at, "key %zu is empty or no key", n + 1);
        for (size_t i = 0; i < n; i++)
            if (str_eq_secret(c->upstream_keys[i], key))
                report_fault(r, at, "keys %zu and %zu are the same", i + 1, n + 1);
        c->upstream_keys[c->n_upstream_keys++] = key;
    }
    if (c->n_upstream_keys > ROUTE_KEYS_MAX)
        report_fault(r, at, "has %zu keys, at most %d are possible", c->n_upstream_keys,
                     ROUTE_KEYS_MAX);
}

static bool is_upstreams(const struct config *c, struct str key)
{
    bool found = false;

    for (size_t i = 0; i < c->n_upstream_keys; i++)
        found |= str_eq_secret(c->upstream_keys[i], key);
    return found;
}

static void add_client_key(struct config *c, struct report *r, struct str part, size_t n)
{
    struct str at = where(c, OPT_api_keys);
    size_t colon = str_find(part, ':');
    bool named = colon < part.n;
    struct str key = named ? str_trim(str_skip(part, colon + 1)) : part;
    struct str name =
        named ? str_trim(str_head(part, colon)) : arena_printf(&c->arena, "client-%zu", n);
    struct sha256 hash = hash_sha256(key);
    char error[CLIENTS_ERROR];

    if (!clients_add(&c->clients, name, &hash, &c->arena, error))
        report_fault(r, at, "key %zu: %s", n, error);
    if (key.n < KEY_MIN)
        report_fault(r, at, "key %zu is shorter than %d characters", n, KEY_MIN);
    else if (is_simple(key))
        report_fault(r, at, "key %zu is too simple, anybody can guess it", n);
    if (is_upstreams(c, key))
        report_fault(r, at, "key %zu is the upstream's: clients must not have it", n);
    if (!is_visible(key))
        report_fault(r, at, "key %zu holds a space or a character that no header can carry", n);
}

static void check_client_keys(struct config *c, struct report *r)
{
    struct str rest = c->api_keys, part;
    char error[CLIENTS_ERROR];
    size_t n = 0;

    clients_init(&c->clients, check_count_parts(rest) + 1, &c->arena);
    if (c->clients_map.n && !clients_read(&c->clients, c->clients_map, &c->arena, error)) {
        report_fault(r, where(c, OPT_clients_map), "%s", error);
        return;
    }
    while (str_split(&rest, ',', &part))
        add_client_key(c, r, str_trim(part), ++n);
    if (!clients_seal(&c->clients, error))
        report_fault(r, where(c, OPT_api_keys), "%s", error);
}

static void check_token(struct config *c, struct report *r)
{
    struct sha256 hash = hash_sha256(c->bearer_token);
    struct str at = where(c, OPT_bearer_token);
    char error[CLIENTS_ERROR];

    clients_init(&c->clients, 1, &c->arena);
    (void)clients_add(&c->clients, STR("bearer"), &hash, &c->arena, error);
    if (!c->bearer_token.n)
        report_fault(r, at, "is required with the method bearer_token");
    else if (c->bearer_token.n < KEY_MIN || !is_visible(c->bearer_token))
        report_fault(r, at, "is not at least %d visible characters", KEY_MIN);
    else if (is_simple(c->bearer_token))
        report_fault(r, at, "is too simple, anybody can guess it");
    else if (is_upstreams(c, c->bearer_token))
        report_fault(r, at, "is the upstream's key: clients must not have it");
}

static void add_jwt_key(struct config *c, struct report *r, enum option_id id,
                        struct verify_key *key, const char *error)
{
    if (!key) {
        report_fault(r, where(c, id), "%s", error);
        return;
    }
    if (!(verify_key_algs(key) & c->jwt_algs))
        report_fault(r, where(c, id), "is for none of CCPROXY_JWT_ALGORITHMS");
    if (!jwt_keys_add(c->jwt_keys, STR_NONE, key, UINT32_MAX))
        verify_key_free(key);
}

static void check_jwt_algorithms(struct config *c, struct report *r)
{
    struct str rest = c->jwt_algorithms, part;

    c->jwt_algs = rest.n ? 0 : UINT32_MAX;
    while (rest.n && str_split(&rest, ',', &part)) {
        uint32_t alg = jwt_alg_of(str_trim(part));

        if (!alg)
            report_fault(r, where(c, OPT_jwt_algorithms),
                         "\"%.*s\" is not HS256, RS256, PS256, ES256 or their like, or EdDSA",
                         STR_FMT(str_trim(part)));
        c->jwt_algs |= alg;
    }
}

/* Whoever could write the key set on its way could write tokens. */
static void check_provider(struct config *c, struct report *r, enum option_id id, struct str text)
{
    struct url url;

    check_url(c, r, id, text);
    if (text.n && url_parse(text, &url) && url.scheme == URL_HTTP &&
        !url_no_proxy(STR("localhost,127.0.0.0/8,::1"), url.host, url.port))
        report_warning(r, where(c, id),
                       "is not https: the keys of tokens could be replaced on their way");
}

/* Clients of the map need no keys here: they are settings for subjects of that name. */
static void check_jwt(struct config *c, struct report *r)
{
    char error[CLIENTS_ERROR];

    clients_init(&c->clients, 1, &c->arena);
    bool ok = !c->clients_map.n || clients_read(&c->clients, c->clients_map, &c->arena, error);
    if (!ok || !clients_seal(&c->clients, error))
        report_fault(r, where(c, OPT_clients_map), "%s", error);
    c->jwt_keys = arena_zalloc(&c->arena, sizeof(*c->jwt_keys));
    jwt_keys_init(c->jwt_keys);
    check_jwt_algorithms(c, r);
    if (c->jwt_secret.n)
        add_jwt_key(c, r, OPT_jwt_secret, verify_key_secret(c->jwt_secret, error), error);
    if (c->jwt_secret.n && is_simple(c->jwt_secret))
        report_fault(r, where(c, OPT_jwt_secret), "is too simple, anybody can guess it");
    if (c->jwt_public_key.n)
        add_jwt_key(c, r, OPT_jwt_public_key, verify_key_pem(c->jwt_public_key, error), error);
    if (c->jwks.n && !jwt_keys_read(c->jwt_keys, c->jwks))
        report_fault(r, where(c, OPT_jwks), "holds no key that can verify tokens");
    check_provider(c, r, OPT_jwks_url, c->jwks_url);
    check_provider(c, r, OPT_oidc_issuer, c->oidc_issuer);
    if (!c->jwt_secret.n && !c->jwt_public_key.n && !c->jwks.n && !c->jwks_url.n &&
        !c->oidc_issuer.n)
        report_fault(r, where(c, OPT_auth_method),
                     "oauth2 needs a key: CCPROXY_JWT_SECRET, CCPROXY_JWT_PUBLIC_KEY, "
                     "CCPROXY_JWKS, CCPROXY_JWKS_URL or CCPROXY_OIDC_ISSUER");
}

static void check_method(struct config *c, struct report *r)
{
    static const struct {
        struct str name;
        enum auth_method method;
        void (*check)(struct config *c, struct report *r);
    } methods[] = {
        {STR_INIT("api_key"), AUTH_BY_KEY, check_client_keys},
        {STR_INIT("bearer_token"), AUTH_BY_TOKEN, check_token},
        {STR_INIT("oauth2"), AUTH_BY_JWT, check_jwt},
    };

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (!str_eq(c->auth_method, methods[i].name))
            continue;
        c->auth = methods[i].method;
        methods[i].check(c, r);
        return;
    }
    report_fault(r, where(c, OPT_auth_method), "\"%.*s\" is not api_key, bearer_token or oauth2",
                 STR_FMT(c->auth_method));
}

void check_keys(struct config *c, struct report *r)
{
    const struct str base = c->given[OPT_anthropic_base_url].text;

    check_upstream_keys(c, r);
    check_method(c, r);
    bool known = c->clients.keys.n || c->clients.certificates.n || c->auth != AUTH_BY_KEY;
    if (c->n_upstream_keys && known)
        return;
    c->demo = !c->n_upstream_keys && c->auth == AUTH_BY_KEY && !c->clients.n &&
              str_eq(base, options[OPT_anthropic_base_url].def);
    if (c->demo)
        return;
    if (!c->n_upstream_keys)
        report_fault(r, where(c, OPT_anthropic_api_key), "is required: the upstream's key");
    if (!known && !c->api_keys.n)
        report_fault(r, where(c, OPT_api_keys),
                     "is required: keys for your clients, separated by commas");
}
