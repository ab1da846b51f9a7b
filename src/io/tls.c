/* tls.c - TLS 1.2 and 1.3: the handshake, records, and as a client trust and sessions to resume.
 *
 *   stream.c --tls_read/tls_writev--> SSL --> our BIO --> sys_recv/sys_writev --> socket
 *
 * OpenSSL never sees the descriptor: its own socket BIO would raise SIGPIPE and go round sys.h.
 * Everything is read from files in tls_ctx_new (the system's roots once per process, shared by all
 * contexts), because a worker has no file access later. Each call here leaves OpenSSL's error queue
 * empty. A tls belongs to its stream; a saved session belongs to the context, which must outlive
 * its connections. The descriptor, deadlines and retries are left to stream.c and above. What a server
 * adds stands in tls_server.c.
 */
#include "io/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/sock.h"
#include "io/stream.h"
#include "io/sys.h"
#include "io/tls_int.h"

enum {
    RECORD_MAX = 16 * 1024, /* RFC 8446 section 5.1 */
    NAME_MAX_LEN = 253,     /* RFC 1035 section 2.3.4, as text */
    SESSIONS_MAX = 16,      /* per context; a context serves one target, so one name or two */
    ERROR_SIZE = 160,
    SILENT_RECORDS = 32, /* without data, at once; then one each second */
    SECOND_US = 1000 * 1000,
};

struct tls_ctx {
    SSL_CTX *ssl;
    struct list sessions; /* struct saved, newest first */
    size_t n_sessions;
};

struct saved {
    struct list node;
    SSL_SESSION *session;
    char name[];
};

/* The system's trusted certificates, once per process, never freed. */
static STACK_OF(X509) * roots;
/* Small vectors are joined here, so that they do not become a record each. */
static char scratch[RECORD_MAX];

/* --- error text --- */

static const char *queue_text(void)
{
    unsigned long code = ERR_peek_error(); /* the first is the cause */
    const char *reason = ERR_reason_error_string(code);

    if (ERR_SYSTEM_ERROR(code))
        return sock_error_text(ERR_GET_REASON(code));
    return reason ? reason : "unknown error";
}

static void set_error(struct tls *t, const char *what, const char *why)
{
    if (!t->error) {
        t->error = mem_alloc(ERROR_SIZE);
        (void)snprintf(t->error, ERROR_SIZE, "%s%s", what, why);
    }
    ERR_clear_error();
}

static bool is_uncertified(const struct tls *t, long verify)
{
    return !t->ctx && !SSL_is_init_finished(t->ssl) &&
           (verify != X509_V_OK ||
            ERR_GET_REASON(ERR_peek_error()) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE);
}

/* After a call that answered rc <= 0: AGAIN, EOF, or ERROR with its text noted. */
static int outcome(struct tls *t, int rc)
{
    long verify = SSL_get_verify_result(t->ssl);

    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return STREAM_EOF;
    case SSL_ERROR_SYSCALL: set_error(t, sock_error_text(t->err ? t->err : ECONNRESET), ""); break;
    default:
        t->dead = true;
        t->uncertified = is_uncertified(t, verify);
        if (verify != X509_V_OK && !SSL_is_init_finished(t->ssl))
            set_error(t, "certificate verify failed: ", X509_verify_cert_error_string(verify));
        else if (t->eof)
            set_error(t, "connection closed without close_notify", "");
        else
            set_error(t, "tls: ", queue_text());
    }
    return STREAM_ERROR;
}

/* --- records without data --- */

/* Renewed keys, renegotiation that is refused, alerts: OpenSSL deals with them for as long as they come,
 * and hands back no control before there is data. Then the BIO has no more for it. */
static void on_silent_record(struct tls *t)
{
    t->ahead_us = size_max(t->ahead_us, clock_us()) + SECOND_US;
    if (t->ahead_us <= clock_us() + SILENT_RECORDS * SECOND_US)
        return;
    set_error(t, "too many records without data", "");
    t->dead = true;
}

/* TLS 1.3 says what a record is within it, 1.2 in its head.
 * NOLINTNEXTLINE(readability-function-size): the parameters are OpenSSL's */
static void on_record(int written, int version, int part, const void *p, size_t n, SSL *ssl,
                      void *ctx)
{
    struct tls *t = SSL_get_app_data(ssl);
    bool says_type = part == SSL3_RT_HEADER || part == SSL3_RT_INNER_CONTENT_TYPE;

    (void)version;
    (void)ctx;
    if (!written && t->open && says_type && n > 0 &&
        *(const uint8_t *)p != SSL3_RT_APPLICATION_DATA)
        on_silent_record(t);
}

/* --- the BIO between SSL and sys.h --- */

static int bio_result(BIO *bio, struct tls *t, ssize_t n, int retry_flag)
{
    BIO_clear_retry_flags(bio);
    if (n >= 0)
        return (int)n;
    if (errno == EAGAIN)
        BIO_set_flags(bio, retry_flag | BIO_FLAGS_SHOULD_RETRY);
    else
        t->err = errno;
    return -1;
}

static int bio_read(BIO *bio, char *p, int n)
{
    struct tls *t = BIO_get_data(bio);
    ssize_t got = -1;

    if (t->dead)
        errno = ECONNABORTED;
    else
        got = sys_recv(t->fd, p, (size_t)n);
    if (got == 0)
        t->eof = true;
    return bio_result(bio, t, got, BIO_FLAGS_READ);
}

static int bio_write(BIO *bio, const char *p, int n)
{
    struct tls *t = BIO_get_data(bio);
    struct iovec iov = {.iov_len = (size_t)n};

    memcpy(&iov.iov_base, &p, sizeof(p)); /* only read, though its type cannot say so */
    return bio_result(bio, t, sys_writev(t->fd, &iov, 1), BIO_FLAGS_WRITE);
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    const struct tls *t = BIO_get_data(bio);

    (void)num;
    (void)ptr;
    switch (cmd) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return t->eof;
    default: return 0;
    }
}

static BIO *new_bio(struct tls *t)
{
    static BIO_METHOD *method; /* one per process */
    BIO *bio;

    if (!method) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sys");
        ASSERT(method);
        (void)BIO_meth_set_read(method, bio_read);
        (void)BIO_meth_set_write(method, bio_write);
        (void)BIO_meth_set_ctrl(method, bio_ctrl);
    }
    bio = BIO_new(method);
    ASSERT(bio);
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    return bio;
}

/* --- sessions --- */

static void drop_session(struct tls_ctx *c, struct saved *s)
{
    list_remove(&s->node);
    c->n_sessions--;
    SSL_SESSION_free(s->session);
    mem_free(s);
}

/* Answers 1: the reference is ours now. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    const struct tls *t = SSL_get_app_data(ssl);
    struct tls_ctx *c = t->ctx;
    size_t size = strlen(t->name) + 1;
    struct saved *s = mem_alloc(sizeof(*s) + size);

    memcpy(s->name, t->name, size);
    s->session = session;
    list_push_front(&c->sessions, &s->node);
    if (++c->n_sessions > SESSIONS_MAX)
        drop_session(c, CONTAINER_OF(c->sessions.prev, struct saved, node));
    return 1;
}

static void resume(struct tls *t)
{
    list_each (it, &t->ctx->sessions) {
        struct saved *s = CONTAINER_OF(it, struct saved, node);

        if (strcmp(s->name, t->name) != 0)
            continue;
        (void)SSL_set_session(t->ssl, s->session);
        /* "Clients SHOULD NOT reuse a ticket for multiple connections" (RFC 8446 appendix C.4). */
        if (SSL_SESSION_get_protocol_version(s->session) >= TLS1_3_VERSION)
            drop_session(t->ctx, s);
        return;
    }
}

/* --- the context --- */

int tls_no_passphrase(char *out, int size, int writing, void *ctx)
{
    (void)writing;
    (void)ctx;
    if (size > 0)
        out[0] = '\0';
    return -1; /* fail rather than ask on the terminal */
}

STACK_OF(X509) * tls_read_certs(const char *path)
{
    BIO *in = BIO_new_file(path, "r");
    STACK_OF(X509) *certs = sk_X509_new_null();
    X509 *cert;

    ASSERT(certs);
    while (in && (cert = PEM_read_bio_X509_AUX(in, NULL, tls_no_passphrase, NULL)) != NULL)
        ASSERT(sk_X509_push(certs, cert) > 0);
    (void)BIO_free(in);
    if (sk_X509_num(certs) > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
        ERR_clear_error(); /* that was the end of the file */
        return certs;
    }
    sk_X509_pop_free(certs, X509_free);
    return NULL;
}

/* OpenSSL's own default is a directory that is searched during the handshake, which a worker
 * without file access cannot do; so the distributions' bundle is read instead, now. */
static void load_roots(void)
{
    const char *const paths[] = {
        secure_getenv(X509_get_default_cert_file_env()),
        X509_get_default_cert_file(),
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    };

    tzset();
    for (size_t i = 0; i < ARRAY_LEN(paths) && !roots; i++) {
        if (paths[i])
            roots = tls_read_certs(paths[i]);
        ERR_clear_error();
    }
}

static void trust(SSL_CTX *ssl, const STACK_OF(X509) * certs)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);

    for (int i = 0; i < sk_X509_num(certs); i++) /* -1 for NULL; each is shared, not copied */
        (void)X509_STORE_add_cert(store, sk_X509_value(certs, i));
}

bool tls_set_failed(char *ret_error, size_t size, const char *what, const char *path)
{
    (void)snprintf(ret_error, size, "%s %s: %s", what, path, queue_text());
    ERR_clear_error();
    return false;
}

static bool add_ca(SSL_CTX *ssl, const char *path, char *ret_error, size_t size)
{
    STACK_OF(X509) *certs = tls_read_certs(path);

    if (!certs)
        return tls_set_failed(ret_error, size, "cannot read certificates from", path);
    trust(ssl, certs);
    sk_X509_pop_free(certs, X509_free);
    return true;
}

static bool add_client_cert(SSL_CTX *ssl, const struct tls_options *o, char *ret_error, size_t size)
{
    const char *key_file = o->key_file ? o->key_file : o->cert_file; /* both may be in one file */

    if (SSL_CTX_use_certificate_chain_file(ssl, o->cert_file) != 1)
        return tls_set_failed(ret_error, size, "cannot use certificate", o->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ssl, key_file, SSL_FILETYPE_PEM) != 1)
        return tls_set_failed(ret_error, size, "cannot use key", key_file);
    return true;
}

void tls_configure(SSL_CTX *ssl)
{
    (void)SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_msg_callback(ssl, on_record);
    SSL_CTX_set_read_ahead(ssl, 1); /* header and body of a record in one call */
}

/* For ALPN, best first, each behind its length. */
static const unsigned char protocols[] = {2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

enum { H2_PROTOCOL = 3 /* bytes */ };

static void offer_protocols(SSL_CTX *ssl, const struct tls_options *o)
{
    unsigned skipped = o->alpn == ALPN_HTTP_1 ? H2_PROTOCOL : 0;

    if (o->alpn != ALPN_NONE)
        (void)SSL_CTX_set_alpn_protos(ssl, protocols + skipped, sizeof(protocols) - skipped);
}

void tls_offer_http1(struct tls *t)
{
    (void)SSL_set_alpn_protos(t->ssl, protocols + H2_PROTOCOL, sizeof(protocols) - H2_PROTOCOL);
}

static void configure(SSL_CTX *ssl, const struct tls_options *o)
{
    tls_configure(ssl);
    offer_protocols(ssl, o);
    SSL_CTX_set_default_passwd_cb(ssl, tls_no_passphrase);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ssl, on_session);
}

struct tls_ctx *tls_ctx_new(const struct tls_options *o, char *ret_error, size_t error_size)
{
    struct tls_ctx *c = mem_zalloc(sizeof(*c));

    ERR_clear_error();
    list_init(&c->sessions);
    c->ssl = SSL_CTX_new(TLS_client_method());
    ASSERT(c->ssl);
    configure(c->ssl, o);
    if (!roots)
        load_roots();
    trust(c->ssl, roots);
    if ((!o->ca_file || add_ca(c->ssl, o->ca_file, ret_error, error_size)) &&
        (!o->cert_file || add_client_cert(c->ssl, o, ret_error, error_size)))
        return c;
    tls_ctx_free(c);
    return NULL;
}

void tls_ctx_free(struct tls_ctx *c)
{
    if (!c)
        return;
    while (!list_empty(&c->sessions))
        drop_session(c, CONTAINER_OF(c->sessions.next, struct saved, node));
    SSL_CTX_free(c->ssl);
    mem_free(c);
}

/* --- the connection --- */

struct tls *tls_new(SSL_CTX *ctx, int fd, struct str name)
{
    struct tls *t = mem_zalloc(sizeof(*t) + name.n + 1);
    BIO *bio;

    t->fd = fd;
    memcpy(t->name, name.p, name.n);
    t->ssl = SSL_new(ctx);
    ASSERT(t->ssl);
    bio = new_bio(t);
    SSL_set_bio(t->ssl, bio, bio);
    (void)SSL_set_app_data(t->ssl, t);
    return t;
}

/* RFC 6066 section 3: no trailing dot in SNI, "Literal IPv4 and IPv6 addresses are not permitted".
 */
static bool set_name(struct tls *t)
{
    X509_VERIFY_PARAM *verify = SSL_get0_param(t->ssl);
    struct sock_addr unused;

    if (sock_addr_ip(str_c(t->name), 0, &unused))
        return X509_VERIFY_PARAM_set1_ip_asc(verify, t->name) == 1;
    /* RFC 9525 section 6.2: a common name is not a name of the server. */
    X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                                X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return X509_VERIFY_PARAM_set1_host(verify, t->name, 0) == 1 &&
           SSL_set_tlsext_host_name(t->ssl, t->name) == 1;
}

static struct str bare_name(struct str name)
{
    if (name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
        return str_of(name.p + 1, name.n - 2);
    return str_ends(name, STR(".")) ? str_head(name, name.n - 1) : name;
}

struct tls *tls_client(struct tls_ctx *c, int fd, struct str server_name)
{
    struct str name = bare_name(server_name);
    bool usable = name.n > 0 && name.n <= NAME_MAX_LEN && str_find(name, '\0') == name.n;
    struct tls *t = tls_new(c->ssl, fd, usable ? name : STR(""));

    t->ctx = c;
    SSL_set_connect_state(t->ssl);
    if (usable && set_name(t))
        resume(t);
    else
        set_error(t, "not a server name", ""); /* nothing to verify: no connection */
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    /* Without this OpenSSL takes a connection that was cut for an attack on its session. */
    if (!t->error && SSL_is_init_finished(t->ssl))
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    ERR_clear_error();
    tls_identity_free(t->identity);
    mem_free(t->error);
    mem_free(t);
}

int tls_handshake(struct tls *t)
{
    int rc;

    if (t->error)
        return STREAM_ERROR;
    ERR_clear_error();
    rc = SSL_do_handshake(t->ssl);
    t->open = rc == 1;
    if (rc == 1 && !t->ctx)
        tls_identify(t);
    if (rc == 1)
        return 1;
    rc = outcome(t, rc);
    if (rc == STREAM_EOF)
        set_error(t, "connection closed during the handshake", "");
    return rc == STREAM_AGAIN ? STREAM_AGAIN : STREAM_ERROR;
}

ssize_t tls_read(struct tls *t, void *p, size_t n)
{
    size_t got = 0;
    int rc;

    if (t->dead)
        return STREAM_ERROR;
    ERR_clear_error();
    rc = SSL_read_ex(t->ssl, p, n, &got);
    if (t->dead) /* by what came before it */
        return STREAM_ERROR;
    return rc == 1 ? (ssize_t)got : outcome(t, rc);
}

/* Where the vectors are to be read next. */
struct cursor {
    const struct iovec *iov;
    int n;
    size_t skip; /* bytes of iov[0] that are gone */
};

static void advance(struct cursor *at, size_t n)
{
    at->skip += n;
    while (at->n > 0 && at->skip >= at->iov->iov_len) {
        at->skip -= at->iov->iov_len;
        at->iov++;
        at->n--;
    }
}

/* The next bytes, at most a record of them: in place when one vector fills it, else joined. */
static struct str next_record(struct cursor at)
{
    const char *first = (const char *)at.iov->iov_base + at.skip;
    size_t left = at.iov->iov_len - at.skip, n = 0;

    if (left >= RECORD_MAX || at.n == 1)
        return str_of(first, size_min(left, RECORD_MAX));
    while (at.n > 0 && n < RECORD_MAX) {
        left = size_min(at.iov->iov_len - at.skip, RECORD_MAX - n);
        memcpy(scratch + n, (const char *)at.iov->iov_base + at.skip, left);
        n += left;
        advance(&at, left);
    }
    return str_of(scratch, n);
}

ssize_t tls_writev(struct tls *t, const struct iovec *iov, int n)
{
    struct cursor at = {.iov = iov, .n = n};
    ssize_t total = 0;

    if (t->error)
        return STREAM_ERROR;
    ERR_clear_error();
    advance(&at, 0);
    while (at.n > 0) {
        struct str record = next_record(at);
        size_t taken = 0;
        int rc = SSL_write_ex(t->ssl, record.p, record.n, &taken);

        if (rc != 1) {
            rc = outcome(t, rc);
            if (total > 0) /* an error will show again in the next call */
                return total;
            return rc == STREAM_AGAIN ? STREAM_AGAIN : STREAM_ERROR;
        }
        advance(&at, taken);
        total += (ssize_t)taken;
    }
    return total;
}

void tls_end_write(struct tls *t)
{
    if (t->error || !SSL_is_init_finished(t->ssl))
        return;
    ERR_clear_error();
    (void)SSL_shutdown(t->ssl); /* best effort: when the socket is full, FIN alone has to do */
    ERR_clear_error();
}

bool tls_is_resumed(const struct tls *t)
{
    return SSL_session_reused(t->ssl) == 1;
}

struct str tls_protocol(const struct tls *t)
{
    const unsigned char *name = NULL;
    unsigned n = 0;

    SSL_get0_alpn_selected(t->ssl, &name, &n);
    return n > 0 ? str_of((const char *)name, n) : STR("");
}

const struct tls_identity *tls_identity(const struct tls *t)
{
    return t->identity;
}

bool tls_lacks_certificate(const struct tls *t)
{
    return t->uncertified;
}

const char *tls_error_text(const struct tls *t)
{
    return t->error ? t->error : "no error";
}
