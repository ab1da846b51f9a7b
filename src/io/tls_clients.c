/* tls_clients.c - certificates of clients: who may sign them, and what they call whom they are for.
 *
 *   CertificateRequest --> the client's chain --> verified against the file --> struct tls_identity
 *                             none: optional goes on, required ends          wrong: both end
 *
 * A chain ends at any certificate of the file, be it a root, an authority below one, or the client's
 * own. What a session was resumed with was verified when it began; it counts only where the same file
 * is asked for, and only until it expires, which is for whoever uses it to look at.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/text.h"
#include "io/tls_int.h"

enum { NAME_LONGEST = 512, HASH_TEXT = 2 * sizeof(struct sha256) };

/* --- whom to believe --- */

static struct str der_of(X509 *cert, unsigned char **ret)
{
    int n = i2d_X509(cert, ret);

    ASSERT(n > 0);
    return str_of((const char *)*ret, (size_t)n);
}

static void trust(SSL_CTX *ssl, X509_STORE *store, X509 *cert, struct sha256 *sessions)
{
    unsigned char *der = NULL;
    bool ok =
        X509_STORE_add_cert(store, cert) == 1 &&
        SSL_CTX_add_client_CA(ssl, cert) == 1; /* its name is sent, for clients to choose by */

    ASSERT(ok);
    hash_chain(sessions, der_of(cert, &der));
    OPENSSL_free(der);
}

bool tls_ask_clients(SSL_CTX *ssl, const struct tls_server_options *o, struct sha256 *ret_sessions,
                     char *ret_error, size_t size)
{
    int required = o->client_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    STACK_OF(X509) *certs = tls_read_certs(o->client_ca);
    X509_STORE *store;

    if (!certs)
        return tls_set_failed(ret_error, size, "cannot read certificates from", o->client_ca);
    *ret_sessions = hash_sha256(required ? STR("required") : STR("optional"));
    store = X509_STORE_new();
    ASSERT(store);
    for (int i = 0; i < sk_X509_num(certs); i++)
        trust(ssl, store, sk_X509_value(certs, i), ret_sessions);
    sk_X509_pop_free(certs, X509_free);
    (void)SSL_CTX_set0_verify_cert_store(ssl, store); /* our own chain is not looked for there */
    (void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl), X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | required, NULL);
    return true;
}

/* --- what a certificate says --- */

struct identity {
    struct tls_identity public;
    struct arena arena;
};

static void add_name(struct identity *id, const char *kind, struct str name)
{
    struct tls_identity *p = &id->public;

    if (name.n > 0 && name.n <= NAME_LONGEST && p->n < TLS_NAMES_MAX)
        p->names[p->n++] = arena_join(&id->arena, str_c(kind), name);
}

static void add_fingerprint(struct identity *id, X509 *cert)
{
    unsigned char *der = NULL;
    struct sha256 hash = hash_sha256(der_of(cert, &der));
    char text[HASH_TEXT];

    OPENSSL_free(der);
    text_hex(hash.bytes, sizeof(hash.bytes), text);
    add_name(id, "sha256:", str_of(text, sizeof(text)));
}

/* As RFC 2253 writes it; one that is empty names nobody. */
static void add_subject(struct identity *id, const X509 *cert)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *text = NULL;
    long n;

    ASSERT(out);
    (void)X509_NAME_print_ex(out, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253);
    n = BIO_get_mem_data(out, &text);
    add_name(id, "subject:", str_of(text, n > 0 ? (size_t)n : 0));
    (void)BIO_free(out);
}

static struct str lower(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);

    for (size_t i = 0; i < s.n; i++)
        p[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 0x20 : s.p[i]);
    return str_of(p, s.n);
}

static void add_alternative(struct identity *id, const GENERAL_NAME *name)
{
    const ASN1_STRING *s = name->type == GEN_DNS || name->type == GEN_URI || name->type == GEN_EMAIL
                               ? name->d.ia5
                               : NULL;
    struct str text =
        s ? str_of((const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)) : STR("");

    if (text.n > NAME_LONGEST)
        return;
    if (name->type == GEN_DNS)
        add_name(id, "dns:", lower(&id->arena, text));
    else
        add_name(id, name->type == GEN_URI ? "uri:" : "email:", text);
}

static void add_alternatives(struct identity *id, const X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) /* -1 for NULL */
        add_alternative(id, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
}

struct tls_identity *tls_identity_new(X509 *cert)
{
    struct identity *id = mem_zalloc(sizeof(*id));
    struct tm end;

    arena_init(&id->arena);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end) == 1)
        id->public.ends_s = timegm(&end);
    add_fingerprint(id, cert);
    add_subject(id, cert);
    add_alternatives(id, cert);
    ERR_clear_error();
    return &id->public;
}

void tls_identity_free(struct tls_identity *p)
{
    struct identity *id = CONTAINER_OF(p, struct identity, public);

    if (!p)
        return;
    arena_done(&id->arena);
    mem_free(id);
}

void tls_identify(struct tls *t)
{
    X509 *cert = SSL_get0_peer_certificate(t->ssl);

    if (cert && SSL_get_verify_result(t->ssl) == X509_V_OK)
        t->identity = tls_identity_new(cert);
}
