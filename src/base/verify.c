/* verify.c - see verify.h: signatures through OpenSSL's EVP. */
#include "base/verify.h"

#include <limits.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/mem.h"

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 16384, COORDINATE_MAX = 66 };

struct verify_key {
    EVP_PKEY *key;     /* NULL for a secret */
    struct str secret; /* owned */
    uint32_t algs;     /* enum verify_alg */
    size_t coordinate; /* bytes of r and of s */
};

static const struct curve {
    struct str name; /* of the JWK */
    const char *group;
    uint32_t alg;
    size_t coordinate;
} curves[] = {
    {STR_INIT("P-256"), "prime256v1", ALG_ES256, 32},
    {STR_INIT("P-384"), "secp384r1", ALG_ES384, 48},
    {STR_INIT("P-521"), "secp521r1", ALG_ES512, 66},
};

static struct verify_key *refuse(char error[VERIFY_ERROR], const char *why)
{
    (void)snprintf(error, VERIFY_ERROR, "%s", why);
    return NULL;
}

struct verify_key *verify_key_secret(struct str secret, char error[VERIFY_ERROR])
{
    uint32_t algs = (secret.n >= 32 ? ALG_HS256 : 0) | (secret.n >= 48 ? ALG_HS384 : 0) |
                    (secret.n >= 64 ? ALG_HS512 : 0);
    if (!algs)
        return refuse(error, "the secret is shorter than 32 bytes");
    struct verify_key *k = mem_zalloc(sizeof(*k));
    char *copy = mem_alloc(secret.n);
    memcpy(copy, secret.p, secret.n);
    k->secret = str_of(copy, secret.n);
    k->algs = algs;
    return k;
}

/* CVE-2017-15361: the primes of some chips are powers of 65537 modulo all small primes, and can be
 * found. So is their product then; of other numbers one in 2^27 is. */
static bool is_of_weak_chip(const BIGNUM *n)
{
    static const BN_ULONG primes[] = {11, 13, 17,  19,  37,  53,  61,  71, 73,
                                      79, 97, 103, 107, 109, 127, 151, 157};
    for (size_t i = 0; i < ARRAY_LEN(primes); i++) {
        BN_ULONG p = primes[i], rest = BN_mod_word(n, p), power = 1;
        do
            power = power * 65537 % p;
        while (power != rest && power != 1);
        if (power != rest)
            return false;
    }
    return true;
}

static const char *why_rsa_is_weak(const BIGNUM *n, const BIGNUM *e)
{
    if (BN_num_bits(n) < RSA_BITS_MIN || BN_num_bits(n) > RSA_BITS_MAX)
        return "the RSA key has less than 2048 bits, or too many";
    if (!BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > 64)
        return "the numbers make no RSA key";
    return is_of_weak_chip(n) ? "the RSA key is one of CVE-2017-15361" : NULL;
}

static const char *why_weak(const EVP_PKEY *pkey)
{
    BIGNUM *n = NULL, *e = NULL;
    bool ok = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
              EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) == 1;
    const char *why = ok ? why_rsa_is_weak(n, e) : "the numbers make no RSA key";
    BN_free(n);
    BN_free(e);
    return why;
}

/* Takes over the key, and judges it. */
static struct verify_key *adopt(EVP_PKEY *pkey, char error[VERIFY_ERROR])
{
    struct verify_key k = {.key = pkey};
    char group[64];
    size_t n;
    const char *why = NULL;
    if (EVP_PKEY_is_a(pkey, "RSA")) {
        k.algs = ALG_RS256 | ALG_RS384 | ALG_RS512 | ALG_PS256 | ALG_PS384 | ALG_PS512;
        why = why_weak(pkey);
    } else if (EVP_PKEY_is_a(pkey, "ED25519")) {
        k.algs = ALG_EDDSA;
    } else if (EVP_PKEY_is_a(pkey, "EC") &&
               EVP_PKEY_get_group_name(pkey, group, sizeof(group), &n) == 1) {
        for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
            if (strcmp(curves[i].group, group) != 0)
                continue;
            k.algs = curves[i].alg;
            k.coordinate = curves[i].coordinate;
        }
    }
    if (!why && !k.algs)
        why = "the key is not RSA, P-256, P-384, P-521 or Ed25519";
    if (why) {
        EVP_PKEY_free(pkey);
        return refuse(error, why);
    }
    struct verify_key *ret = mem_alloc(sizeof(k));
    *ret = k;
    return ret;
}

/* For a text that says it is encrypted; without this OpenSSL asks at the terminal. */
static int no_password(char *text, int size, int writing, void *ctx)
{
    (void)writing, (void)ctx;
    if (size > 0)
        text[0] = '\0';
    return -1;
}

struct verify_key *verify_key_pem(struct str pem, char error[VERIFY_ERROR])
{
    BIO *bio = pem.n <= INT_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    EVP_PKEY *pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    return pkey ? adopt(pkey, error) : refuse(error, "not a public key in PEM");
}

static struct verify_key *from_params(const char *type, OSSL_PARAM_BLD *build,
                                      char error[VERIFY_ERROR])
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;
    bool ok = params && ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
              EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (ok) { /* a point must lie on its curve */
        ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
        ok = ctx && EVP_PKEY_public_check_quick(ctx) == 1;
        EVP_PKEY_CTX_free(ctx);
    }
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    if (ok)
        return adopt(pkey, error);
    EVP_PKEY_free(pkey);
    return refuse(error, "the numbers make no key");
}

static BIGNUM *number(struct str s)
{
    return s.n <= INT_MAX ? BN_bin2bn((const unsigned char *)s.p, (int)s.n, NULL) : NULL;
}

struct verify_key *verify_key_rsa(struct str n, struct str e, char error[VERIFY_ERROR])
{
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *bn = number(n), *be = number(e);
    ASSERT(build && bn && be);
    const char *why = why_rsa_is_weak(bn, be); /* first: OpenSSL's own check takes the cube of n */
    ASSERT(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, bn) == 1 &&
           OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, be) == 1);
    struct verify_key *k = why ? refuse(error, why) : from_params("RSA", build, error);
    if (why)
        OSSL_PARAM_BLD_free(build);
    BN_free(bn);
    BN_free(be);
    return k;
}

struct verify_key *verify_key_ec(struct str curve, struct str x, struct str y,
                                 char error[VERIFY_ERROR])
{
    const struct curve *c = NULL;
    unsigned char point[1 + 2 * COORDINATE_MAX] = {4}; /* uncompressed */
    for (size_t i = 0; i < ARRAY_LEN(curves); i++)
        if (str_eq(curves[i].name, curve))
            c = &curves[i];
    if (!c || x.n != c->coordinate || y.n != c->coordinate)
        return refuse(error, "the curve is unknown, or the point not as long as it should be");
    memcpy(point + 1, x.p, x.n);
    memcpy(point + 1 + x.n, y.p, y.n);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    ASSERT(build);
    ASSERT(OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, c->group, 0) == 1 &&
           OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point,
                                            1 + 2 * c->coordinate) == 1);
    return from_params("EC", build, error);
}

struct verify_key *verify_key_ed25519(struct str x, char error[VERIFY_ERROR])
{
    EVP_PKEY *pkey = x.n == 32 ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
                                                             (const unsigned char *)x.p, x.n)
                               : NULL;
    return pkey ? adopt(pkey, error) : refuse(error, "not an Ed25519 key");
}

void verify_key_free(struct verify_key *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->key);
    if (k->secret.p)
        mem_wipe((void *)(uintptr_t)k->secret.p, k->secret.n);
    mem_free((void *)(uintptr_t)k->secret.p);
    mem_free(k);
}

uint32_t verify_key_algs(const struct verify_key *k)
{
    return k->algs;
}

static const EVP_MD *digest_of(enum verify_alg alg)
{
    if (alg & (ALG_HS256 | ALG_RS256 | ALG_PS256 | ALG_ES256))
        return EVP_sha256();
    if (alg & (ALG_HS384 | ALG_RS384 | ALG_PS384 | ALG_ES384))
        return EVP_sha384();
    return alg == ALG_EDDSA ? NULL : EVP_sha512();
}

static bool verify_mac(const struct verify_key *k, enum verify_alg alg, struct str text,
                       struct str signature)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t n;
    ASSERT(k->secret.n <= INT_MAX);
    ASSERT(EVP_Q_mac(NULL, "HMAC", NULL, EVP_MD_get0_name(digest_of(alg)), NULL, k->secret.p,
                     k->secret.n, (const unsigned char *)text.p, text.n, mac, sizeof(mac), &n));
    return str_eq_secret(str_of((const char *)mac, n), signature);
}

/* r and s as they stand in a token, as the DER that OpenSSL reads; false for lengths that are not
 * the curve's. Zero and too large numbers are refused by the check itself. */
static bool der_of(const struct verify_key *k, struct str signature, unsigned char **ret,
                   size_t *ret_n)
{
    if (signature.n != 2 * k->coordinate)
        return false;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = number(str_head(signature, k->coordinate));
    BIGNUM *s = number(str_skip(signature, k->coordinate));
    ASSERT(sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1);
    int n = i2d_ECDSA_SIG(sig, ret);
    ECDSA_SIG_free(sig);
    *ret_n = n > 0 ? (size_t)n : 0;
    return n > 0;
}

static bool verify_with_key(const struct verify_key *k, enum verify_alg alg, struct str text,
                            struct str signature)
{
    const uint32_t pss = ALG_PS256 | ALG_PS384 | ALG_PS512;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *how;
    ASSERT(ctx);
    bool ok = EVP_DigestVerifyInit(ctx, &how, digest_of(alg), NULL, k->key) == 1;
    if (ok && (alg & pss)) /* RFC 7518 section 3.5: the salt is as long as the hash */
        ok = EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok && EVP_DigestVerify(ctx, (const unsigned char *)signature.p, signature.n,
                                (const unsigned char *)text.p, text.n) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

bool verify_signature(const struct verify_key *k, enum verify_alg alg, struct str text,
                      struct str signature)
{
    if (!(k->algs & alg) || signature.n == 0)
        return false;
    if (k->secret.p)
        return verify_mac(k, alg, text, signature);
    if (!k->coordinate)
        return verify_with_key(k, alg, text, signature);
    unsigned char *der = NULL;
    size_t n;
    bool ok = der_of(k, signature, &der, &n) &&
              verify_with_key(k, alg, text, str_of((const char *)der, n));
    OPENSSL_free(der);
    return ok;
}
