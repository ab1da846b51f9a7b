/* jwt.c - see jwt.h.
 *
 *   header . payload . signature        each base64url without padding (RFC 7515 appendix C)
 *   |------ signed ------|
 */
#include "policy/jwt.h"

#include "wire/json.h"

static const struct {
    struct str name;
    enum verify_alg alg;
} algs[] = {
    {STR_INIT("HS256"), ALG_HS256}, {STR_INIT("HS384"), ALG_HS384},
    {STR_INIT("HS512"), ALG_HS512}, {STR_INIT("RS256"), ALG_RS256},
    {STR_INIT("RS384"), ALG_RS384}, {STR_INIT("RS512"), ALG_RS512},
    {STR_INIT("PS256"), ALG_PS256}, {STR_INIT("PS384"), ALG_PS384},
    {STR_INIT("PS512"), ALG_PS512}, {STR_INIT("ES256"), ALG_ES256},
    {STR_INIT("ES384"), ALG_ES384}, {STR_INIT("ES512"), ALG_ES512},
    {STR_INIT("EdDSA"), ALG_EDDSA}, {STR_INIT("Ed25519"), ALG_EDDSA},
};

const char *jwt_result_name(enum jwt_result r)
{
    static const char *const names[] = {
        [JWT_OK] = "ok",
        [JWT_MALFORMED] = "malformed",
        [JWT_BAD_HEADER] = "bad_header",
        [JWT_UNKNOWN_KEY] = "unknown_key",
        [JWT_BAD_ALGORITHM] = "bad_algorithm",
        [JWT_BAD_SIGNATURE] = "bad_signature",
        [JWT_BAD_CLAIMS] = "bad_claims",
        [JWT_BAD_TIMES] = "bad_times",
        [JWT_EXPIRED] = "expired",
        [JWT_NOT_YET] = "not_yet",
        [JWT_TOO_LONG_LIVED] = "too_long_lived",
        [JWT_BAD_ISSUER] = "bad_issuer",
        [JWT_BAD_AUDIENCE] = "bad_audience",
        [JWT_NO_SUBJECT] = "no_subject",
        [JWT_BAD_SETTINGS] = "bad_settings",
    };
    return names[r];
}

bool jwt_is_signed(enum jwt_result r)
{
    return r == JWT_OK || r >= JWT_BAD_CLAIMS;
}

uint32_t jwt_alg_of(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(algs); i++)
        if (str_eq(name, algs[i].name))
            return (uint32_t)algs[i].alg;
    return 0;
}

static uint32_t alg_of(struct jval v, struct arena *a)
{
    return json_is(v, JSON_STRING) ? jwt_alg_of(json_str(v, a)) : 0;
}

/* RFC 4648 section 5, without padding, and strictly: no other characters, and no bits left over, so
 * that one value has one spelling. */
static bool decode(struct str s, struct arena *a, struct str *ret)
{
    char *out = arena_alloc(a, s.n + 1);
    size_t n = 0;
    uint32_t bits = 0, have = 0;
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        uint32_t v;
        if (ch >= 'A' && ch <= 'Z')
            v = (uint32_t)(ch - 'A');
        else if (ch >= 'a' && ch <= 'z')
            v = (uint32_t)(ch - 'a') + 26;
        else if (ch >= '0' && ch <= '9')
            v = (uint32_t)(ch - '0') + 52;
        else if (ch == '-' || ch == '_')
            v = ch == '-' ? 62 : 63;
        else
            return false;
        bits = bits << 6 | v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have);
            bits &= (1u << have) - 1;
        }
    }
    *ret = str_of(out, n);
    return have < 6 && bits == 0;
}

/* --- keys --- */

void jwt_keys_init(struct jwt_keys *k)
{
    *k = (struct jwt_keys){.n = 0};
    arena_init(&k->arena);
}

void jwt_keys_done(struct jwt_keys *k)
{
    for (size_t i = 0; i < k->n; i++)
        verify_key_free(k->keys[i].key);
    k->n = 0;
    arena_done(&k->arena);
}

bool jwt_keys_add(struct jwt_keys *k, struct str kid, struct verify_key *key, uint32_t allowed)
{
    if (k->n == JWT_KEYS_MAX)
        return false;
    k->keys[k->n++] = (struct jwt_key){
        .kid = kid.p ? arena_dup(&k->arena, kid) : STR_NONE,
        .key = key,
        .algs = verify_key_algs(key) & allowed,
    };
    return true;
}

static struct str number(struct jval jwk, const char *name, struct arena *a)
{
    struct str value;
    struct jval v = json_get(jwk, str_c(name));
    return json_is(v, JSON_STRING) && decode(json_str(v, a), a, &value) ? value : STR_NONE;
}

static struct verify_key *key_of(struct jval jwk, struct arena *a)
{
    char unused[VERIFY_ERROR];
    struct jval type = json_get(jwk, STR("kty")), curve = json_get(jwk, STR("crv"));
    struct str n = number(jwk, "n", a), e = number(jwk, "e", a);
    struct str x = number(jwk, "x", a), y = number(jwk, "y", a);
    if (json_present(json_get(jwk, STR("d"))))
        return NULL; /* a private key has no place in a published set */
    if (json_str_is(type, STR("RSA")) && n.n && e.n)
        return verify_key_rsa(n, e, unused);
    if (json_str_is(type, STR("EC")) && x.n && y.n)
        return verify_key_ec(json_str(curve, a), x, y, unused);
    if (json_str_is(type, STR("OKP")) && json_str_is(curve, STR("Ed25519")) && x.n)
        return verify_key_ed25519(x, unused);
    return NULL;
}

static bool may_verify(struct jval jwk)
{
    struct jval use = json_get(jwk, STR("use")), ops = json_get(jwk, STR("key_ops"));
    bool found = !json_present(ops);
    json_each (op, ops)
        found |= json_str_is(op, STR("verify"));
    return found && (!json_present(use) || json_str_is(use, STR("sig")));
}

static bool is_known(const struct jwt_keys *k, struct str kid)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->keys[i].kid.p && kid.p && str_eq(k->keys[i].kid, kid))
            return true;
    return false;
}

static void read_key(struct jwt_keys *k, struct jval jwk, struct arena *a)
{
    struct jval id = json_get(jwk, STR("kid")), alg = json_get(jwk, STR("alg"));
    struct str kid = json_is(id, JSON_STRING) ? json_str(id, a) : STR_NONE;
    uint32_t allowed = json_present(alg) ? alg_of(alg, a) : UINT32_MAX;
    if (!json_is(jwk, JSON_OBJECT) || !may_verify(jwk) || is_known(k, kid))
        return;
    struct verify_key *key = key_of(jwk, a);
    if (key && (!(verify_key_algs(key) & allowed) || !jwt_keys_add(k, kid, key, allowed)))
        verify_key_free(key);
}

bool jwt_keys_read(struct jwt_keys *k, struct str jwks)
{
    struct json doc;
    struct arena a;
    json_init(&doc);
    arena_init(&a);
    size_t before = k->n;
    if (json_parse(&doc, jwks) == JSON_OK) {
        struct jval list = json_get(json_root(&doc), STR("keys"));
        if (json_is(list, JSON_ARRAY))
            json_each (jwk, list)
                read_key(k, jwk, &a);
    }
    arena_done(&a);
    json_done(&doc);
    return k->n > before;
}

/* --- tokens --- */

struct parts {
    struct str signed_text, header, payload, signature;
};

static bool split(struct str token, struct arena *a, struct parts *ret)
{
    size_t first = str_find(token, '.');
    struct str rest = str_skip(token, size_min(first + 1, token.n));
    size_t second = str_find(rest, '.');
    if (token.n > JWT_MAX || first == token.n || second == rest.n)
        return false;
    ret->signed_text = str_head(token, first + 1 + second);
    struct str last = str_skip(rest, second + 1); /* a further '.' is no base64 */
    return decode(str_head(token, first), a, &ret->header) &&
           decode(str_head(rest, second), a, &ret->payload) && decode(last, a, &ret->signature);
}

/* RFC 7515 section 4.1.11: what must be understood is not. RFC 8725 section 3.11: a typ, if there is
 * one, is a token's. */
static bool header_is_plain(struct jval header)
{
    static const struct str odd[] = {STR_INIT("crit"), STR_INIT("b64"), STR_INIT("zip"),
                                     STR_INIT("cty")};
    struct jval type = json_get(header, STR("typ"));
    for (size_t i = 0; i < ARRAY_LEN(odd); i++)
        if (json_present(json_get(header, odd[i])))
            return false;
    if (!json_present(type))
        return true;
    struct str t = json_str_raw(type);
    return str_eq_nocase(t, STR("JWT")) || str_eq_nocase(t, STR("at+jwt")) ||
           str_eq_nocase(t, STR("application/at+jwt"));
}

static enum jwt_result check_signature(const struct jwt_keys *keys, const struct jwt_rules *rules,
                                       struct jval header, const struct parts *p, struct arena *a)
{
    struct jval id = json_get(header, STR("kid"));
    uint32_t alg = alg_of(json_get(header, STR("alg")), a);
    struct str kid = json_is(id, JSON_STRING) ? json_str(id, a) : STR_NONE;
    bool found = false, allowed = false;
    if (!alg || (rules->algs && !(rules->algs & alg)))
        return JWT_BAD_ALGORITHM; /* "none" among them */
    for (size_t i = 0; i < keys->n; i++) {
        const struct jwt_key *k = &keys->keys[i];
        if (k->kid.p && kid.p && !str_eq(k->kid, kid))
            continue;
        found = true;
        if (!(k->algs & alg))
            continue;
        allowed = true;
        if (verify_signature(k->key, (enum verify_alg)alg, p->signed_text, p->signature))
            return JWT_OK;
    }
    if (!found)
        return JWT_UNKNOWN_KEY;
    return allowed ? JWT_BAD_SIGNATURE : JWT_BAD_ALGORITHM;
}

/* RFC 7519 section 2: NumericDate, which may have a fraction. */
static bool date_of(struct jval v, int64_t *ret)
{
    double s;
    if (!json_is(v, JSON_NUMBER) || !json_f64(v, &s) || !(s >= 0) || s > 253402300799.0)
        return false;
    *ret = (int64_t)s;
    return true;
}

static enum jwt_result check_times(struct jval claims, const struct jwt_rules *r, int64_t now,
                                   int64_t *ret_expires)
{
    struct jval nbf = json_get(claims, STR("nbf")), iat = json_get(claims, STR("iat"));
    int64_t expires, from = now, begins = 0;
    if (!date_of(json_get(claims, STR("exp")), &expires))
        return JWT_BAD_TIMES;
    if ((json_present(nbf) && !date_of(nbf, &begins)) ||
        (json_present(iat) && !date_of(iat, &from)))
        return JWT_BAD_TIMES;
    if (now >= expires + r->leeway_s)
        return JWT_EXPIRED;
    if (begins > now + r->leeway_s || from > now + r->leeway_s)
        return JWT_NOT_YET;
    if (r->lifetime_max_s && expires - from > r->lifetime_max_s)
        return JWT_TOO_LONG_LIVED;
    *ret_expires = expires;
    return JWT_OK;
}

static bool has_audience(struct jval aud, struct str wanted)
{
    if (json_is(aud, JSON_STRING))
        return json_str_is(aud, wanted);
    if (json_is(aud, JSON_ARRAY))
        json_each (e, aud)
            if (json_str_is(e, wanted))
                return true;
    return false;
}

/* "scope" of RFC 8693, or "scp" as some providers have it, there perhaps a list. */
static struct str scope_of(struct jval claims, struct arena *a)
{
    struct jval scope = json_get(claims, STR("scope")), scp = json_get(claims, STR("scp"));
    scope = json_present(scope) ? scope : scp;
    if (json_is(scope, JSON_STRING))
        return arena_dup(a, json_str(scope, a));
    if (!json_is(scope, JSON_ARRAY))
        return STR_NONE;
    struct str all = STR("");
    json_each (e, scope)
        if (json_is(e, JSON_STRING))
            all = arena_join(a, arena_join(a, all, STR(" ")), json_str(e, a));
    return all;
}

static enum jwt_result check_claims(struct jval claims, const struct jwt_rules *r, int64_t now,
                                    struct arena *a, struct jwt_claims *ret)
{
    struct jval sub = json_get(claims, STR("sub"));
    struct jval settings = r->settings.n ? json_get(claims, r->settings) : JVAL_NONE;
    enum jwt_result result = check_times(claims, r, now, &ret->expires_s);
    if (result != JWT_OK)
        return result;
    if (r->issuer.n && !json_str_is(json_get(claims, STR("iss")), r->issuer))
        return JWT_BAD_ISSUER;
    if (r->audience.n && !has_audience(json_get(claims, STR("aud")), r->audience))
        return JWT_BAD_AUDIENCE;
    if (!json_is(sub, JSON_STRING) || json_str_raw(sub).n == 0)
        return JWT_NO_SUBJECT;
    ret->subject = arena_dup(a, json_str(sub, a));
    ret->scope = scope_of(claims, a);
    if (json_present(settings) && !json_is(settings, JSON_NULL))
        ret->settings = arena_dup(a, json_raw(settings));
    return ret->settings.n <= JWT_SETTINGS_MAX ? JWT_OK : JWT_BAD_SETTINGS;
}

static enum jwt_result verify_parts(const struct jwt_keys *keys, const struct jwt_rules *rules,
                                    const struct parts *p, int64_t now_s, struct arena *a,
                                    struct jwt_claims *ret)
{
    struct json header, payload;
    enum jwt_result result = JWT_MALFORMED;
    json_init(&header);
    json_init(&payload);
    if (json_parse(&header, p->header) == JSON_OK && json_is(json_root(&header), JSON_OBJECT))
        result = header_is_plain(json_root(&header))
                     ? check_signature(keys, rules, json_root(&header), p, a)
                     : JWT_BAD_HEADER;
    if (result == JWT_OK) {
        bool ok = json_parse(&payload, p->payload) == JSON_OK &&
                  json_is(json_root(&payload), JSON_OBJECT);
        result = ok ? check_claims(json_root(&payload), rules, now_s, a, ret) : JWT_BAD_CLAIMS;
    }
    json_done(&header);
    json_done(&payload);
    return result;
}

enum jwt_result jwt_verify(const struct jwt_keys *keys, const struct jwt_rules *rules,
                           struct str token, int64_t now_s, struct arena *a, struct jwt_claims *ret)
{
    struct parts p;
    *ret = (struct jwt_claims){.expires_s = 0};
    if (!split(token, a, &p))
        return JWT_MALFORMED;
    return verify_parts(keys, rules, &p, now_s, a, ret);
}

bool jwt_peek(struct str token, struct arena *a, struct str *ret_header, struct str *ret_payload)
{
    struct parts p;
    struct json doc;
    if (!split(token, a, &p))
        return false;
    json_init(&doc);
    bool ok = json_parse(&doc, p.header) == JSON_OK && json_parse(&doc, p.payload) == JSON_OK;
    json_done(&doc);
    *ret_header = p.header;
    *ret_payload = p.payload;
    return ok;
}
