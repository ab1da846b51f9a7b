/* tls_server.c - TLS as a server: certificates by name, and Mozilla's profiles.
 *
 *   ClientHello --> ALPN --> choose_certificate --> SSL_use_cert_and_key --> the handshake goes on
 *                               by SNI, else the first
 *
 * A certificate is not part of the context: each handshake is given those that are for its name (of
 * different kinds, say ECDSA and RSA, OpenSSL takes what the client can verify). Files are read in
 * tls_server_new and never again. Nothing of a client is kept between connections.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "io/tls_int.h"

/* Mozilla's "Server Side TLS": intermediate; modern is TLS 1.3 alone, whose suites are all good.
 * Which one is taken is left to the client, who knows what it is fast at. */
#define INTERMEDIATE_CIPHERS                                                                       \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

/* What ALPN may choose, best first, each behind its length. */
static const unsigned char protocols[] = {2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

struct certificate {
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* without cert itself */
};

struct tls_server {
    SSL_CTX *ssl;
    struct certificate *certs;
    size_t n;
    bool http2;
    bool asks;              /* clients for certificates */
    struct sha256 sessions; /* then the context of their sessions */
};

/* --- a handshake's choices --- */

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *ctx)
{
    const struct tls_server *c = ctx;
    unsigned skipped = c->http2 ? 0 : 3;
    unsigned char *chosen;

    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_len, protocols + skipped, sizeof(protocols) - skipped,
                              in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 section 3.2 */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool is_for(const struct certificate *c, const char *name)
{
    return name &&
           X509_check_host(c->cert, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

static bool use(SSL *ssl, const struct certificate *c)
{
    return SSL_use_cert_and_key(ssl, c->cert, c->key, c->chain, 1) == 1;
}

static int choose_certificate(SSL *ssl, void *ctx)
{
    const struct tls_server *c = ctx;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    bool found = false;

    for (size_t i = 0; i < c->n; i++)
        if (is_for(&c->certs[i], name))
            found = use(ssl, &c->certs[i]) || found;
    return found || use(ssl, &c->certs[0]);
}

/* Answers that the name was understood, whether there is a certificate for it or not.
 * NOLINTNEXTLINE(readability-non-const-parameter): the parameters are OpenSSL's */
static int take_name(SSL *ssl, int *alert, void *ctx)
{
    (void)ssl;
    (void)alert;
    (void)ctx;
    return SSL_TLSEXT_ERR_OK;
}

/* --- the context --- */

static EVP_PKEY *read_key(const char *path)
{
    BIO *in = BIO_new_file(path, "r");
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, tls_no_passphrase, NULL) : NULL;

    (void)BIO_free(in);
    return key;
}

/* Whether OpenSSL takes it: the key is the certificate's, and nothing is too weak. */
static bool is_usable(SSL_CTX *ctx, const struct certificate *c)
{
    SSL *ssl = SSL_new(ctx);
    bool ok;

    ASSERT(ssl);
    ok = use(ssl, c);
    SSL_free(ssl);
    return ok;
}

static bool add_certificate(struct tls_server *c, const struct tls_files *files, char *ret_error,
                            size_t size)
{
    const char *key_file = files->key ? files->key : files->cert;
    struct certificate *row = &c->certs[c->n++];

    row->chain = tls_read_certs(files->cert);
    if (!row->chain)
        return tls_set_failed(ret_error, size, "cannot read certificates from", files->cert);
    row->cert = sk_X509_shift(row->chain);
    row->key = read_key(key_file);
    if (!row->key)
        return tls_set_failed(ret_error, size, "cannot read a key from", key_file);
    if (!is_usable(c->ssl, row))
        return tls_set_failed(ret_error, size, "cannot use certificate", files->cert);
    return true;
}

/* Key exchanges, best first; the first of these is known from OpenSSL 3.5 on. */
static void set_groups(SSL_CTX *ssl)
{
    static char best[] = "X25519MLKEM768:X25519:P-256:P-384", usual[] = "X25519:P-256:P-384";
    bool ok = SSL_CTX_set1_groups_list(ssl, best) == 1 || SSL_CTX_set1_groups_list(ssl, usual) == 1;

    ASSERT(ok);
}

static void configure(struct tls_server *c, const struct tls_server_options *o)
{
    SSL_CTX *ssl = c->ssl;

    c->http2 = o->http2;
    tls_configure(ssl);
    if (o->modern)
        (void)SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION);
    ASSERT(SSL_CTX_set_cipher_list(ssl, INTERMEDIATE_CIPHERS) == 1);
    set_groups(ssl);
    (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, c);
    SSL_CTX_set_cert_cb(ssl, choose_certificate, c);
    (void)SSL_CTX_set_tlsext_servername_callback(ssl, take_name);
    ERR_clear_error();
}

struct tls_server *tls_server_new(const struct tls_server_options *o, char *ret_error,
                                  size_t error_size)
{
    struct tls_server *c = mem_zalloc(sizeof(*c));

    ASSERT(o->n > 0);
    ERR_clear_error();
    c->ssl = SSL_CTX_new(TLS_server_method());
    ASSERT(c->ssl);
    c->certs = mem_zalloc(o->n * sizeof(*c->certs));
    configure(c, o);
    c->asks = o->client_ca != NULL;
    if (c->asks && !tls_ask_clients(c->ssl, o, &c->sessions, ret_error, error_size)) {
        tls_server_free(c);
        return NULL;
    }
    while (c->n < o->n) {
        if (add_certificate(c, &o->files[c->n], ret_error, error_size))
            continue;
        tls_server_free(c);
        return NULL;
    }
    return c;
}

static void drop_certificate(struct certificate *row)
{
    X509_free(row->cert);
    EVP_PKEY_free(row->key);
    sk_X509_pop_free(row->chain, X509_free);
}

void tls_server_free(struct tls_server *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        drop_certificate(&c->certs[i]);
    SSL_CTX_free(c->ssl);
    mem_free(c->certs);
    mem_free(c);
}

/* --- the connection --- */

struct tls *tls_accept(struct tls_server *c, int fd)
{
    struct tls *t = tls_new(c->ssl, fd, STR(""));

    SSL_set_accept_state(t->ssl);
    if (c->asks)
        (void)SSL_set_session_id_context(t->ssl, c->sessions.bytes, sizeof(c->sessions.bytes));
    return t;
}
