/* fuzz_jwt.c - tokens, keys and the fields that carry them, on arbitrary bytes.
 *
 *   first byte   then
 *   ----------   ----------------------------------------------------------------------
 *   T            a token, against keys of every kind
 *   M            changes to valid tokens: pairs of bytes, where and what (see below)
 *   J            a JWK set, and a line end, and a token
 *   P            a public key in PEM
 *   A            Authorization, X-API-Key and Api-Key, a line each
 *
 * The keys' other halves are in no hand here: their only right signatures are those of three published
 * tokens. So a token is taken if and only if its bytes are one of these, however it was made.
 */
#include "base/mem.h"
#include "policy/auth.h"
#include "policy/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW = 1300000000, TOKEN_MAX = 1024 };

#define JOE                                                                                        \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ"

/* RFC 7515 appendix A.2 and A.3, RFC 8037 appendix A.4 */
static const struct str signed_tokens[] = {
    STR_INIT("eyJhbGciOiJSUzI1NiJ9." JOE
             ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5Y"
             "Kt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBA"
             "rLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7"
             "noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlU"
             "PQGe77Rw"),
    STR_INIT("eyJhbGciOiJFUzI1NiJ9." JOE ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5"
             "djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"),
    STR_INIT("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPO"
             "t7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"),
};

static const char set[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"rsa\",\"e\":\"AQAB\",\"n\":"
    "\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt"
    "0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXnd"
    "S5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJ"
    "H7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\"},"
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"ec\","
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\","
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

static struct jwt_keys all; /* the set and a secret; made once, for the life of the process */
static size_t live;         /* allocations that it holds */

static void make_keys(void)
{
    char error[VERIFY_ERROR];
    if (all.n)
        return;
    jwt_keys_init(&all);
    bool ok = jwt_keys_read(&all, str_c(set));
    struct verify_key *secret = verify_key_secret(
        STR("a secret that signs nothing here: 64 bytes, for all of HS algorithms"), error);
    ASSERT(ok && secret && jwt_keys_add(&all, STR_NONE, secret, UINT32_MAX) && all.n == 4);
    live = mem_live();
}

static enum jwt_result verify(const struct jwt_keys *keys, struct str token)
{
    static const struct jwt_rules rules = {.leeway_s = 30, .lifetime_max_s = 86400};
    struct jwt_claims claims;
    struct arena a;
    arena_init(&a);
    enum jwt_result r = jwt_verify(keys, &rules, token, NOW, &a, &claims);
    ASSERT(r != JWT_OK || claims.subject.n > 0);
    arena_done(&a);
    return r;
}

static bool is_published(struct str token)
{
    for (size_t i = 0; i < ARRAY_LEN(signed_tokens); i++)
        if (str_eq(signed_tokens[i], token))
            return true;
    return false;
}

static void try_token(struct str token)
{
    struct arena a;
    struct str header, payload;
    ASSERT(jwt_is_signed(verify(&all, token)) == is_published(token));
    arena_init(&a);
    if (jwt_peek(token, &a, &header, &payload))
        ASSERT(header.n > 0 && payload.n > 0);
    arena_done(&a);
}

/* Each pair of bytes changes a place of one of the tokens: 0 to 251 there, 252 cuts it off, 253 puts a
 * byte in, 254 takes one out, 255 doubles what comes before it. */
static void try_changes(struct str pairs)
{
    char token[TOKEN_MAX];
    if (pairs.n == 0)
        return;
    struct str from = signed_tokens[(uint8_t)pairs.p[0] % ARRAY_LEN(signed_tokens)];
    size_t n = from.n;
    memcpy(token, from.p, n);
    for (size_t i = 1; i + 1 < pairs.n && n > 0 && n < TOKEN_MAX / 2; i += 2) {
        size_t at = ((uint8_t)pairs.p[i] * 5u + i) % n;
        uint8_t what = (uint8_t)pairs.p[i + 1];
        if (what < 252)
            token[at] = (char)what;
        else if (what == 252)
            n = at;
        else if (what == 254)
            memmove(token + at, token + at + 1, --n - at);
        else {
            size_t more = what == 253 ? 1 : size_min(at, 32);
            memmove(token + at + more, token + at, n - at);
            n += more;
        }
    }
    try_token(str_of(token, n));
}

static void try_set(struct str s)
{
    struct jwt_keys keys;
    size_t end = str_find(s, '\n');
    jwt_keys_init(&keys);
    bool ok = jwt_keys_read(&keys, str_head(s, end));
    ASSERT(ok == (keys.n > 0) && keys.n <= JWT_KEYS_MAX);
    for (size_t i = 0; i < keys.n; i++)
        ASSERT(keys.keys[i].algs != 0 &&
               !(keys.keys[i].algs & (ALG_HS256 | ALG_HS384 | ALG_HS512)));
    (void)verify(&keys, str_skip(s, size_min(end + 1, s.n)));
    for (size_t i = 0; i < ARRAY_LEN(signed_tokens); i++)
        (void)verify(&keys, signed_tokens[i]);
    jwt_keys_done(&keys);
}

static void try_pem(struct str s)
{
    char error[VERIFY_ERROR] = "";
    struct verify_key *k = verify_key_pem(s, error);
    ASSERT(k ? verify_key_algs(k) != 0 : strlen(error) > 0);
    uint32_t algs = k ? verify_key_algs(k) : 0;
    for (uint32_t alg = 1; alg <= ALG_EDDSA && k; alg <<= 1) {
        bool ok = verify_signature(k, (enum verify_alg)alg, STR("text"), s);
        ASSERT(!ok && !(algs & (ALG_HS256 | ALG_HS384 | ALG_HS512)));
    }
    verify_key_free(k);
}

static struct str take_line(struct str *rest)
{
    struct str line = str_head(*rest, str_find(*rest, '\n'));
    *rest = str_skip(*rest, size_min(line.n + 1, rest->n));
    return line;
}

/* Whoever is let in has shown the one key there is, whole, in a field, and nothing else beside it. */
static void try_fields(struct str s)
{
    const struct str key = STR("sk-the-only-key");
    struct auth_fields f;
    struct clients clients;
    struct arena a;
    char error[CLIENTS_ERROR];
    struct sha256 hash = hash_sha256(key);
    const struct client *who = NULL;
    struct str shown;
    arena_init(&a);
    clients_init(&clients, 1, &a);
    bool ok = clients_add(&clients, STR("ann"), &hash, &a, error) && clients_seal(&clients, error);
    ASSERT(ok);
    f.authorization = take_line(&s);
    f.x_api_key = take_line(&s);
    f.api_key = s;
    enum auth_result r = auth_check(&clients, &f, NOW, &who);
    ok = auth_presented(&f, &shown);
    ASSERT(ok == (r != AUTH_CONFLICT) && (r == AUTH_OK) == (ok && str_eq(shown, key)));
    ASSERT((r == AUTH_OK) == (who != NULL));
    ASSERT(f.x_api_key.n == 0 || r != AUTH_OK || str_eq(f.x_api_key, key));
    ASSERT(f.api_key.n == 0 || r != AUTH_OK || str_eq(f.api_key, key));
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_of((const char *)data, size);
    make_keys();
    if (size == 0)
        return 0;
    struct str rest = str_skip(s, 1);
    switch (s.p[0]) {
    case 'T': try_token(rest); break;
    case 'M': try_changes(rest); break;
    case 'J': try_set(rest); break;
    case 'P': try_pem(rest); break;
    case 'A': try_fields(rest); break;
    default: break;
    }
    ASSERT(mem_live() == live);
    return 0;
}
