/* hash.c - SHA-256, HMAC and AES-256-GCM through OpenSSL, and SipHash-2-4.
 *
 * Algorithms are fetched and their contexts made once in a process and kept: looking one up costs
 * OpenSSL 3 more than hashing a key does. One thread, so one context serves all callers.
 */
#include "base/hash.h"

#include <limits.h>
#include <openssl/evp.h>

#include "base/mem.h"
#include "base/rand.h"

enum { SHA256_BLOCK = 64 };

static EVP_MD_CTX *context(void)
{
    static EVP_MD_CTX *ctx;
    static EVP_MD *md;

    if (!ctx) {
        md = EVP_MD_fetch(NULL, "SHA256", NULL);
        ctx = EVP_MD_CTX_new();
        ASSERT(md && ctx);
    }
    ASSERT(EVP_DigestInit_ex2(ctx, md, NULL) == 1);
    return ctx;
}

/* The hash of a followed by b. */
static struct sha256 sha256_two(struct str a, struct str b)
{
    EVP_MD_CTX *ctx = context();
    struct sha256 out;

    ASSERT(EVP_DigestUpdate(ctx, a.p, a.n) == 1);
    ASSERT(EVP_DigestUpdate(ctx, b.p, b.n) == 1);
    ASSERT(EVP_DigestFinal_ex(ctx, out.bytes, NULL) == 1);
    return out;
}

struct sha256 hash_sha256(struct str s)
{
    return sha256_two(s, STR_NONE);
}

static struct str digest_str(const struct sha256 *d)
{
    return str_of((const char *)d->bytes, sizeof(d->bytes));
}

/* RFC 2104 section 2: H(K xor opad, H(K xor ipad, text)); a key longer than a block is hashed. */
struct sha256 hash_hmac(struct str key, struct str s)
{
    char inner[SHA256_BLOCK], outer[SHA256_BLOCK];
    struct sha256 short_key, out;

    if (key.n > SHA256_BLOCK) {
        short_key = hash_sha256(key);
        key = digest_str(&short_key);
    }
    for (size_t i = 0; i < SHA256_BLOCK; i++) {
        uint8_t k = i < key.n ? (uint8_t)key.p[i] : 0;
        inner[i] = (char)(k ^ 0x36);
        outer[i] = (char)(k ^ 0x5c);
    }
    out = sha256_two(str_of(inner, SHA256_BLOCK), s);
    out = sha256_two(str_of(outer, SHA256_BLOCK), digest_str(&out));
    mem_wipe(inner, sizeof(inner));
    mem_wipe(outer, sizeof(outer));
    mem_wipe(&short_key, sizeof(short_key));
    return out;
}

void hash_chain(struct sha256 *h, struct str s)
{
    *h = sha256_two(digest_str(h), s);
}

bool hash_equal(const struct sha256 *a, const struct sha256 *b)
{
    return str_eq_secret(digest_str(a), digest_str(b));
}

void hash_sha1(struct str s, uint8_t out[SHA1_SIZE])
{
    ASSERT(EVP_Digest(s.p, s.n, out, NULL, EVP_sha1(), NULL) == 1);
}

static uint64_t rotate(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static void sip_rounds(uint64_t v[4], int rounds)
{
    while (rounds-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

static uint64_t read_le(const char *p, size_t n)
{
    uint64_t word = 0;

    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)(uint8_t)p[i] << (8 * i);
    return word;
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_rounds(v, 2);
    v[0] ^= word;
}

static uint64_t siphash(const uint64_t key[2], struct str s)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    size_t whole = s.n / 8 * 8;

    for (size_t i = 0; i < whole; i += 8)
        sip_word(v, read_le(s.p + i, 8));
    sip_word(v, (uint64_t)s.n << 56 | read_le(s.n ? s.p + whole : NULL, s.n - whole));
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_sip(struct str s)
{
    static uint64_t key[2];
    static bool keyed;

    if (UNLIKELY(!keyed)) {
        rand_bytes(key, sizeof(key));
        keyed = true;
    }
    return siphash(key, s);
}

/* --- sealed boxes --------------------------------------------------------------------------- */

enum { NONCE = 12, TAG = 16 };

/* A process has one key, mostly: it is expanded when it is another than last time. */
static EVP_CIPHER_CTX *cipher(const uint8_t *key, const char *nonce, bool encrypt)
{
    static EVP_CIPHER_CTX *ctx;
    static EVP_CIPHER *gcm;
    static uint8_t expanded[SEAL_KEY];

    bool is_known = ctx && memcmp(key, expanded, SEAL_KEY) == 0;
    if (!ctx) {
        gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
        ctx = EVP_CIPHER_CTX_new();
        ASSERT(gcm && ctx);
    }
    ASSERT(EVP_CipherInit_ex2(ctx, is_known ? NULL : gcm, is_known ? NULL : key,
                              (const uint8_t *)nonce, encrypt, NULL) == 1);
    memcpy(expanded, key, SEAL_KEY);
    return ctx;
}

static void add_label(EVP_CIPHER_CTX *ctx, struct str label)
{
    int n;

    ASSERT(label.n <= INT_MAX);
    ASSERT(EVP_CipherUpdate(ctx, NULL, &n, (const uint8_t *)label.p, (int)label.n) == 1);
}

void seal_close(const uint8_t key[SEAL_KEY], struct str label, struct str plain, char *out)
{
    int n, rest;

    ASSERT(plain.n <= INT_MAX);
    rand_bytes(out, NONCE);
    EVP_CIPHER_CTX *ctx = cipher(key, out, true);
    add_label(ctx, label);
    uint8_t *at = (uint8_t *)out + NONCE;
    ASSERT(EVP_CipherUpdate(ctx, at, &n, (const uint8_t *)plain.p, (int)plain.n) == 1);
    ASSERT(EVP_CipherFinal_ex(ctx, at + n, &rest) == 1);
    ASSERT((size_t)n + (size_t)rest == plain.n);
    ASSERT(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, at + plain.n) == 1);
}

bool seal_open(const uint8_t key[SEAL_KEY], struct str label, char *box, size_t n,
               struct str *ret_plain)
{
    int done, rest;

    if (n < SEAL_EXTRA || n > INT_MAX)
        return false;
    size_t len = n - SEAL_EXTRA;
    uint8_t *at = (uint8_t *)box + NONCE;
    EVP_CIPHER_CTX *ctx = cipher(key, box, false);
    add_label(ctx, label);
    ASSERT(EVP_CipherUpdate(ctx, at, &done, at, (int)len) == 1);
    ASSERT(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, at + len) == 1);
    *ret_plain = str_of(box + NONCE, len);
    return EVP_CipherFinal_ex(ctx, at + done, &rest) == 1;
}

void fingerprint_chain(const uint8_t key[SEAL_KEY], struct fingerprint *f, struct str s)
{
    static const char nonce[NONCE];
    int n;

    _Static_assert(sizeof(f->bytes) == TAG, "a fingerprint is a tag");
    EVP_CIPHER_CTX *ctx = cipher(key, nonce, true);
    add_label(ctx, str_of((const char *)f->bytes, TAG));
    add_label(ctx, s);
    ASSERT(EVP_CipherFinal_ex(ctx, f->bytes, &n) == 1 && n == 0);
    ASSERT(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, f->bytes) == 1);
}
