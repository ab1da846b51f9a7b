/* tls_server.c - TLS as a server: certificates by name, and Mozilla's profiles.
 *
 *   ClientHello --> ALPN --> choose_certificate --> SSL_use_cert_and_key --> the handshake goes on
 *                               by SNI, else the first
 *
 * A certificate is not part of the context: each handshake is given those that are for its name (of
 * different kinds, say ECDSA and RSA, OpenSSL takes what the client can verify). Files are read in
 * tls_server_new and never again. Nothing of a client is kept between connections: tls_tickets.c.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "io/tls_int.h"

#define US_PER_S  UINT64_C(1000000)
#define S_PER_DAY UINT64_C(86400)

/* Mozilla's "Server Side TLS": intermediate; modern is TLS 1.3 alone, whose suites are all good.
 * The order is ours, but a client that prefers ChaCha20, since AES is slow on it, gets that. */
#define INTERMEDIATE_CIPHERS                                                                       \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SUITES_OF_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

/* What ALPN may choose, best first, each behind its length. */
static const unsigned char protocols[] = {2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

enum { NAME_SHOWN = 64 };

struct certificate {
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* without cert itself */
    uint64_t begins_us, ends_us;
    struct tls_staple staple;
    size_t place; /* of what is stapled */
    char name[NAME_SHOWN + 1];
};

struct tls_server {
    SSL_CTX *ssl;
    struct certificate *certs;
    size_t n;
    bool http2;
    bool asks;                   /* clients for certificates */
    struct sha256 sessions;      /* then the context of their sessions */
    const struct shelf *staples; /* NULL: nothing is stapled */
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

/* --- what is told of a certificate --- */

static void set_name(struct certificate *c, struct str name)
{
    (void)snprintf(c->name, sizeof(c->name), "%.*s", STR_FMT(name));
}

static bool name_by(struct certificate *c, const GENERAL_NAME *name)
{
    const ASN1_STRING *s = name->type == GEN_DNS     ? name->d.dNSName
                           : name->type == GEN_IPADD ? name->d.iPAddress
                                                     : NULL;
    size_t n = s ? (size_t)ASN1_STRING_length(s) : 0;
    char text[INET6_ADDRSTRLEN];

    if (n > 0 && name->type == GEN_DNS)
        set_name(c, str_of((const char *)ASN1_STRING_get0_data(s), n));
    else if ((n == 4 || n == 16) &&
             inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), text, sizeof(text)))
        set_name(c, str_c(text));
    return c->name[0] != '\0';
}

/* By the first host or address that it is for; else by its subject's common name. */
static void name_it(struct certificate *c)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(c->cert, NID_subject_alt_name, NULL, NULL);
    char text[NAME_SHOWN + 1] = "";
    bool found = false;

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++)
        found = name_by(c, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
    if (!found && X509_NAME_get_text_by_NID(X509_get_subject_name(c->cert), NID_commonName, text,
                                            sizeof(text)) > 0)
        set_name(c, str_c(text));
    if (!c->name[0])
        set_name(c, STR("unnamed"));
}

uint64_t tls_time_us(const ASN1_TIME *t)
{
    int days = 0, seconds = 0;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    bool ok = epoch && ASN1_TIME_diff(&days, &seconds, epoch, t) == 1;

    ASN1_TIME_free(epoch);
    return ok && days >= 0 && seconds >= 0
               ? ((uint64_t)days * S_PER_DAY + (uint64_t)seconds) * US_PER_S
               : 0;
}

/* The next one in the file, if it is the one that has signed it. */
static X509 *issuer_of(const struct certificate *c)
{
    X509 *next = sk_X509_num(c->chain) > 0 ? sk_X509_value(c->chain, 0) : NULL;

    return next && X509_check_issued(next, c->cert) == X509_V_OK ? next : NULL;
}

static void read_about(struct certificate *c)
{
    tls_staple_read(&c->staple, c->cert, issuer_of(c));
    name_it(c);
    c->begins_us = tls_time_us(X509_get0_notBefore(c->cert));
    c->ends_us = tls_time_us(X509_get0_notAfter(c->cert));
}

size_t tls_server_certs(const struct tls_server *c)
{
    return c ? c->n : 0;
}

struct tls_about tls_server_about(const struct tls_server *c, size_t i)
{
    const struct certificate *row = &c->certs[i];

    return (struct tls_about){
        .name = str_c(row->name),
        .begins_us = row->begins_us,
        .ends_us = row->ends_us,
        .must_staple = row->staple.must,
        .asks = row->staple.request_n > 0,
    };
}

bool tls_server_is_valid(const struct tls_server *c, uint64_t wall_us, uint64_t notice_us)
{
    for (size_t i = 0; i < tls_server_certs(c); i++)
        if (wall_us < c->certs[i].begins_us || wall_us + notice_us >= c->certs[i].ends_us)
            return false;
    return true;
}

/* --- the files --- */

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
    read_about(row);
    return true;
}

/* --- the context --- */

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
    ASSERT(SSL_CTX_set_ciphersuites(ssl, SUITES_OF_1_3) == 1);
    (void)SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    set_groups(ssl);
    (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET); /* until there are keys for them */
    (void)SSL_CTX_set_num_tickets(ssl, 0);
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

void tls_server_use_tickets(struct tls_server *c, struct tickets *t)
{
    tls_use_tickets(c->ssl, t);
}

static void drop_certificate(struct certificate *row)
{
    X509_free(row->cert);
    EVP_PKEY_free(row->key);
    sk_X509_pop_free(row->chain, X509_free);
    tls_staple_drop(&row->staple);
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

/* --- what is stapled --- */

static const struct certificate *chosen(const struct tls_server *c, SSL *ssl)
{
    const X509 *cert = SSL_get_certificate(ssl);

    for (size_t i = 0; i < c->n; i++)
        if (c->certs[i].cert == cert)
            return &c->certs[i];
    return NULL;
}

/* A client wants to know what the authority says of the certificate that it gets. */
static int staple(SSL *ssl, void *ctx)
{
    const struct tls_server *c = ctx;
    const struct certificate *row = chosen(c, ssl);
    struct staple s;
    void *copy;

    if (!row || !staples_get(c->staples, row->place, row->staple.cert, &s))
        return SSL_TLSEXT_ERR_NOACK;
    copy = OPENSSL_memdup(s.der, s.n);
    ASSERT(copy);
    (void)SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)s.n); /* takes it */
    return SSL_TLSEXT_ERR_OK;
}

void tls_server_adopt_staples(const struct tls_server *c, struct shelf *s)
{
    for (size_t i = 0; i < tls_server_certs(c); i++)
        if (c->certs[i].staple.request_n > 0)
            shelf_adopt(s, c->certs[i].staple.cert);
}

void tls_server_use_staples(struct tls_server *c, struct shelf *s)
{
    c->staples = s;
    for (size_t i = 0; i < c->n; i++)
        c->certs[i].place = shelf_place(s, c->certs[i].staple.cert);
    (void)SSL_CTX_set_tlsext_status_cb(c->ssl, staple);
    (void)SSL_CTX_set_tlsext_status_arg(c->ssl, c);
}

bool tls_server_question(const struct tls_server *c, size_t i, struct tls_question *ret)
{
    const struct certificate *row = &c->certs[i];

    if (!c->staples || row->staple.request_n <= 0 || row->place == STAPLES_MAX)
        return false;
    *ret = (struct tls_question){
        .url = str_c(row->staple.url),
        .request = str_of((const char *)row->staple.request, (size_t)row->staple.request_n),
        .place = row->place,
        .cert = row->staple.cert,
    };
    return true;
}

enum tls_verdict tls_server_judge(const struct tls_server *c, size_t i, struct str answer,
                                  struct staple *ret, const char **ret_why)
{
    const struct certificate *row = &c->certs[i];
    enum tls_verdict verdict;

    memcpy(ret->cert, row->staple.cert, SHELF_NAME);
    verdict = tls_staple_judge(row->cert, issuer_of(row), answer, ret, ret_why);
    ERR_clear_error();
    return verdict;
}

bool tls_server_is_stapled(const struct tls_server *c)
{
    struct staple s;

    for (size_t i = 0; i < tls_server_certs(c); i++) {
        const struct certificate *row = &c->certs[i];

        if (row->staple.must &&
            (!c->staples || !staples_get(c->staples, row->place, row->staple.cert, &s)))
            return false;
    }
    return true;
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
