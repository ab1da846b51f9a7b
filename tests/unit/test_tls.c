/* test_tls.c - our TLS client against a server made of OpenSSL in the same process.
 *
 *   stream (client) ---socket pair--- SSL (server), driven by serve() after each turn of the loop
 *
 * All certificates are made when the program starts: a CA, leaves it signed, and a client's.
 */
#include "io/tls.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/stream.h"
#include "io/sys.h"
#include "io/tickets.h"

enum { TURNS_MAX = 20000, DAY_S = 24 * 3600 };

/* --- certificates --- */

struct identity {
    EVP_PKEY *key;
    X509 *cert;
    char cert_file[64], key_file[64];
};

static struct identity ca, good, expired, client, stranger;
static char dir[] = P_tmpdir "/test_tls.XXXXXX";

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(ext);
    assert_int_equal(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static void write_files(struct identity *id, const char *name)
{
    FILE *f;

    (void)snprintf(id->cert_file, sizeof(id->cert_file), "%s/%s.pem", dir, name);
    (void)snprintf(id->key_file, sizeof(id->key_file), "%s/%s.key", dir, name);
    f = fopen(id->cert_file, "we");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, id->cert), 1);
    (void)fclose(f);
    f = fopen(id->key_file, "we");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(f);
}

/* by NULL: signs itself, as an authority. */
static void make_identity(struct identity *id, const char *name, const struct identity *by,
                          const char *alt_names, long until_s)
{
    static long serial;
    const struct identity *issuer = by ? by : id;
    const unsigned char *cn = (const unsigned char *)name;

    id->key = EVP_EC_gen("P-256");
    id->cert = X509_new();
    assert_non_null(id->key);
    assert_non_null(id->cert);
    assert_int_equal(X509_set_version(id->cert, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(id->cert), ++serial), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(id->cert), -2L * DAY_S));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(id->cert), until_s));
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(id->cert), "CN", MBSTRING_ASC,
                                                cn, -1, -1, 0),
                     1);
    assert_int_equal(
        X509_set_issuer_name(id->cert, X509_get_subject_name(by ? by->cert : id->cert)), 1);
    assert_int_equal(X509_set_pubkey(id->cert, id->key), 1);
    add_extension(id->cert, issuer->cert, NID_basic_constraints,
                  by ? "critical,CA:FALSE" : "critical,CA:TRUE");
    add_extension(id->cert, issuer->cert, NID_subject_key_identifier, "hash");
    if (alt_names)
        add_extension(id->cert, issuer->cert, NID_subject_alt_name, alt_names);
    assert_true(X509_sign(id->cert, issuer->key, EVP_sha256()) > 0);
    write_files(id, name);
}

static void drop_identity(struct identity *id)
{
    assert_int_equal(unlink(id->cert_file), 0);
    assert_int_equal(unlink(id->key_file), 0);
    X509_free(id->cert);
    EVP_PKEY_free(id->key);
}

static int make_identities(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    make_identity(&ca, "ca", NULL, NULL, DAY_S);
    make_identity(&good, "good", &ca, "DNS:good.test,DNS:*.wild.test,IP:127.0.0.1,IP:::1", DAY_S);
    make_identity(&expired, "expired", &ca, "DNS:good.test", -DAY_S);
    make_identity(&client, "client", &ca, NULL, DAY_S);
    make_identity(&stranger, "stranger", NULL, "DNS:good.test", DAY_S);
    return 0;
}

static int drop_identities(void **state)
{
    struct identity *all[] = {&ca, &good, &expired, &client, &stranger};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        drop_identity(all[i]);
    return rmdir(dir);
}

/* --- both ends --- */

static struct loop *loop;

static struct {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    bool open, failed, eof;
    const char *alpn;
    size_t got, sent, to_send; /* bytes of the pattern */
    bool same;
} server;

static struct {
    struct tls_ctx *tls;
    struct stream *s;
    int opened, failed;
    unsigned events;
} near;

static unsigned char pattern(size_t at)
{
    return (unsigned char)(at * 31 + at / 251);
}

static void on_ready(struct stream *s, void *ctx, unsigned events)
{
    (void)s;
    (void)ctx;
    near.events |= events;
}

static void on_open(struct stream *s, void *ctx, bool ok)
{
    (void)s;
    (void)ctx;
    near.opened += ok;
    near.failed += !ok;
}

static const struct stream_owner owner = {.on_ready = on_ready, .on_open = on_open, .name = "near"};

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *n,
                       const unsigned char *in, unsigned in_n, void *arg)
{
    (void)ssl;
    (void)arg;
    assert_int_equal(in_n, 9);
    assert_memory_equal(in, "\x08http/1.1", 9);
    *out = (const unsigned char *)server.alpn;
    *n = (unsigned char)strlen(server.alpn);
    return SSL_TLSEXT_ERR_OK;
}

static int setup(void **state)
{
    (void)state;
    memset(&server, 0, sizeof(server));
    memset(&near, 0, sizeof(near));
    loop = loop_new();
    server.fd = -1;
    server.alpn = "http/1.1";
    server.same = true;
    server.ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(server.ctx);
    SSL_CTX_set_alpn_select_cb(server.ctx, choose_alpn, NULL);
    assert_int_equal(SSL_CTX_set_session_id_context(server.ctx, (const unsigned char *)"t", 1), 1);
    (void)SSL_CTX_set_mode(server.ctx,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return 0;
}

static void hang_up(void)
{
    SSL_free(server.ssl);
    server.ssl = NULL;
    if (server.fd >= 0)
        (void)close(server.fd);
    server.fd = -1;
    stream_close(&near.s);
    loop_turn(loop, 0);
}

static int teardown(void **state)
{
    (void)state;
    hang_up();
    tls_ctx_free(near.tls);
    SSL_CTX_free(server.ctx);
    loop_free(loop);
    assert_int_equal(mem_live(), 0);
    ERR_clear_error();
    return 0;
}

static void trust_ca(const struct identity *cert)
{
    const struct tls_options o = {
        .ca_file = ca.cert_file,
        .cert_file = cert ? cert->cert_file : NULL,
        .key_file = cert ? cert->key_file : NULL,
    };
    char error[256];

    near.tls = tls_ctx_new(&o, error, sizeof(error));
    assert_non_null(near.tls);
}

/* Starts a handshake for name with a server that is id. */
static void start(const char *name, const struct identity *id)
{
    struct sock_addr peer;
    int fds[2];

    hang_up();
    near.opened = near.failed = 0;
    near.events = 0;
    server.open = server.failed = server.eof = false;
    server.got = server.sent = server.to_send = 0;
    assert_true(sock_addr_unix(STR("pair"), &peer));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    near.s = stream_accept(loop, fds[0], &peer, &owner, NULL);
    stream_start_tls(near.s, near.tls, str_c(name));
    server.fd = fds[1];
    server.ssl = SSL_new(server.ctx);
    assert_non_null(server.ssl);
    assert_int_equal(SSL_use_certificate(server.ssl, id->cert), 1);
    assert_int_equal(SSL_use_PrivateKey(server.ssl, id->key), 1);
    assert_int_equal(SSL_set_fd(server.ssl, server.fd), 1);
    SSL_set_accept_state(server.ssl);
}

static void serve_reads(void)
{
    static unsigned char in[64 * 1024];
    int n;

    ERR_clear_error();
    while ((n = SSL_read(server.ssl, in, sizeof(in))) > 0) {
        for (size_t i = 0; i < (size_t)n; i++)
            server.same = server.same && in[i] == pattern(server.got + i);
        server.got += (size_t)n;
    }
    server.eof = server.eof || SSL_get_error(server.ssl, n) == SSL_ERROR_ZERO_RETURN;
}

static void serve_writes(void)
{
    static unsigned char out[64 * 1024];
    int n = 1;

    while (server.sent < server.to_send && n > 0) {
        size_t want = size_min(sizeof(out), server.to_send - server.sent);

        for (size_t i = 0; i < want; i++)
            out[i] = pattern(server.sent + i);
        ERR_clear_error();
        n = SSL_write(server.ssl, out, (int)want);
        if (n > 0)
            server.sent += (size_t)n;
    }
}

static void serve(void)
{
    int rc;

    if (!server.ssl || server.failed)
        return;
    ERR_clear_error();
    if (!server.open) {
        rc = SSL_accept(server.ssl);
        server.open = rc == 1;
        server.failed = rc != 1 && SSL_get_error(server.ssl, rc) != SSL_ERROR_WANT_READ &&
                        SSL_get_error(server.ssl, rc) != SSL_ERROR_WANT_WRITE;
    }
    if (server.open) {
        serve_reads();
        serve_writes();
    }
}

#define RUN_UNTIL(cond)                                                                            \
    do {                                                                                           \
        for (int turn_ = 0; !(cond) && turn_ < TURNS_MAX; turn_++) {                               \
            loop_turn(loop, 0);                                                                    \
            serve();                                                                               \
        }                                                                                          \
        assert_true(cond);                                                                         \
    } while (0)

static void open_good(void)
{
    start("good.test", &good);
    RUN_UNTIL(near.opened == 1 && server.open);
}

/* Reads, and checks the pattern, until the answer is not a number of bytes. */
static ssize_t read_all(size_t *at)
{
    static unsigned char in[48 * 1024];
    ssize_t n;

    while ((n = stream_read(near.s, in, sizeof(in))) > 0) {
        for (size_t i = 0; i < (size_t)n; i++)
            server.same = server.same && in[i] == pattern(*at + i);
        *at += (size_t)n;
    }
    return n;
}

/* --- tests --- */

static void test_verification(void **state)
{
    static const struct {
        const char *name;
        const struct identity *id;
        const char *error; /* NULL: it opens */
        const char *sni;
    } cases[] = {
        {"good.test", &good, NULL, "good.test"},
        {"GOOD.test.", &good, NULL, "GOOD.test"},
        {"a.wild.test", &good, NULL, "a.wild.test"},
        {"127.0.0.1", &good, NULL, NULL},
        {"::1", &good, NULL, NULL},
        {"[::1]", &good, NULL, NULL},
        {"wrong.test", &good, "certificate verify failed: hostname mismatch", NULL},
        {"a.b.wild.test", &good, "certificate verify failed: hostname mismatch", NULL},
        {"127.0.0.2", &good, "certificate verify failed: IP address mismatch", NULL},
        {"good.test", &expired, "certificate verify failed: certificate has expired", NULL},
        {"good.test", &stranger, "certificate verify failed: self-signed certificate", NULL},
        {"", &good, "not a server name", NULL},
    };

    (void)state;
    trust_ca(NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        start(cases[i].name, cases[i].id);
        RUN_UNTIL(near.opened + near.failed == 1);
        if (cases[i].error) {
            assert_int_equal(near.failed, 1);
            assert_string_equal(stream_error_text(near.s), cases[i].error);
            assert_int_equal(stream_read(near.s, &(char){0}, 1), STREAM_ERROR);
            continue;
        }
        assert_int_equal(near.opened, 1);
        assert_true(stream_is_tls(near.s));
        assert_string_equal(stream_error_text(near.s), "no error");
        RUN_UNTIL(server.open);
        if (cases[i].sni)
            assert_string_equal(SSL_get_servername(server.ssl, TLSEXT_NAMETYPE_host_name),
                                cases[i].sni);
        else
            assert_null(SSL_get_servername(server.ssl, TLSEXT_NAMETYPE_host_name));
    }
}

static void test_unknown_authority(void **state)
{
    const struct tls_options o = {0};
    char error[256];

    (void)state;
    near.tls = tls_ctx_new(&o, error, sizeof(error));
    assert_non_null(near.tls);
    start("good.test", &good);
    RUN_UNTIL(near.failed == 1);
    assert_string_equal(stream_error_text(near.s),
                        "certificate verify failed: unable to get local issuer certificate");
}

static void test_bad_files(void **state)
{
    const struct {
        struct tls_options o;
        const char *error; /* how it starts */
    } cases[] = {
        {{.ca_file = "/nonexistent.pem"},
         "cannot read certificates from /nonexistent.pem: no such file or directory"},
        {{.ca_file = ca.key_file}, "cannot read certificates from "},
        {{.cert_file = "/nonexistent.pem"},
         "cannot use certificate /nonexistent.pem: no such file or directory"},
        {{.cert_file = client.cert_file}, "cannot use key "},
        {{.cert_file = client.cert_file, .key_file = good.key_file}, "cannot use key "},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char error[256] = "";

        assert_null(tls_ctx_new(&cases[i].o, error, sizeof(error)));
        assert_true(str_starts(str_c(error), str_c(cases[i].error)));
        assert_int_equal(ERR_peek_error(), 0);
    }
}

static void test_old_versions_are_refused(void **state)
{
    (void)state;
    trust_ca(NULL);
    assert_int_equal(SSL_CTX_set_cipher_list(server.ctx, "ALL:@SECLEVEL=0"), 1);
    assert_int_equal(SSL_CTX_set_min_proto_version(server.ctx, TLS1_VERSION), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(server.ctx, TLS1_1_VERSION), 1);
    start("good.test", &good);
    RUN_UNTIL(near.failed == 1);
    assert_true(str_starts(str_c(stream_error_text(near.s)), STR("tls: ")));
}

static void test_not_tls(void **state)
{
    (void)state;
    trust_ca(NULL);
    start("good.test", &good);
    server.failed = true; /* not served */
    assert_int_equal(write(server.fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28), 28);
    RUN_UNTIL(near.failed == 1);
    assert_string_equal(stream_error_text(near.s), "tls: wrong version number");
    start("good.test", &good);
    server.failed = true;
    assert_int_equal(shutdown(server.fd, SHUT_WR), 0);
    RUN_UNTIL(near.failed == 1);
    assert_non_null(strstr(stream_error_text(near.s), "close"));
}

static void test_another_protocol_is_refused(void **state)
{
    (void)state;
    trust_ca(NULL);
    server.alpn = "h2";
    start("good.test", &good);
    RUN_UNTIL(near.failed == 1);
    assert_string_equal(stream_error_text(near.s), "tls: bad extension");
}

static void demand_client_cert(void)
{
    SSL_CTX_set_verify(server.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    assert_int_equal(SSL_CTX_load_verify_file(server.ctx, ca.cert_file), 1);
}

static void test_client_certificate(void **state)
{
    (void)state;
    demand_client_cert();
    trust_ca(&client);
    open_good();
    assert_int_equal(SSL_get_verify_result(server.ssl), X509_V_OK);
    assert_non_null(SSL_get0_peer_certificate(server.ssl));
}

/* With TLS 1.3 the client is done before the server has looked: the refusal comes with the data. */
static void test_missing_client_certificate(void **state)
{
    (void)state;
    demand_client_cert();
    trust_ca(NULL);
    start("good.test", &good);
    RUN_UNTIL(server.failed);
    RUN_UNTIL(near.opened == 1 && stream_read(near.s, &(char){0}, 1) == STREAM_ERROR);
    assert_non_null(strstr(stream_error_text(near.s), "certificate required"));
}

static void test_resumption(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    trust_ca(NULL);
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        size_t at = 0;

        assert_int_equal(SSL_CTX_set_min_proto_version(server.ctx, versions[i]), 1);
        assert_int_equal(SSL_CTX_set_max_proto_version(server.ctx, versions[i]), 1);
        /* A session of 1.2 stays for the first handshake of 1.3, which cannot use it. */
        for (int round = 0; round < 4; round++) {
            open_good();
            assert_int_equal(SSL_version(server.ssl), versions[i]);
            assert_int_equal(SSL_session_reused(server.ssl), round > 0);
            assert_int_equal(read_all(&at), STREAM_AGAIN); /* takes the tickets of 1.3 */
            if (round == 2)
                stream_reset(&near.s); /* being cut off does not spoil the session */
        }
        start("a.wild.test", &good); /* not under another name */
        RUN_UNTIL(near.opened == 1 && server.open);
        assert_false(SSL_session_reused(server.ssl));
    }
}

static void test_many_sessions_are_bounded(void **state)
{
    size_t at = 0, live = 0;

    (void)state;
    trust_ca(NULL);
    for (int i = 0; i < 40; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "n%d.wild.test", i);
        start(name, &good);
        RUN_UNTIL(near.opened == 1 && server.open);
        assert_int_equal(read_all(&at), STREAM_AGAIN);
        if (i == 20)
            live = mem_live();
    }
    assert_int_equal(mem_live(), live);
}

enum { LONG = 3 * 1024 * 1024, SMALL = 100, VECTORS = 64 };

/* Writes small vectors until it would block or is done; true: it would block. */
static bool pump_out(size_t *at)
{
    static unsigned char out[VECTORS][SMALL];
    struct iovec iov[VECTORS];

    while (*at < LONG) {
        size_t n = 0;
        ssize_t sent;
        int v = 0;

        for (; v < VECTORS && *at + n < LONG; v++) {
            size_t len = size_min((size_t)v, LONG - *at - n); /* one is empty */

            for (size_t i = 0; i < len; i++)
                out[v][i] = pattern(*at + n + i);
            iov[v] = (struct iovec){out[v], len};
            n += len;
        }
        sent = stream_writev(near.s, iov, v);
        if (sent == STREAM_AGAIN)
            return true;
        assert_true(sent > 0);
        *at += (size_t)sent;
    }
    return false;
}

static void test_big_transfer_both_ways(void **state)
{
    size_t sent = 0, got = 0;

    (void)state;
    trust_ca(NULL);
    open_good();
    assert_true(pump_out(&sent)); /* the server is not looking: it must block */
    assert_true(sent < LONG);
    server.to_send = LONG;
    near.events = 0;
    for (int i = 0; (server.got < LONG || got < LONG) && i < TURNS_MAX; i++) {
        loop_turn(loop, 0);
        if (near.events & IO_WRITE)
            (void)pump_out(&sent);
        if (near.events & IO_READ)
            assert_int_equal(read_all(&got), STREAM_AGAIN);
        near.events = 0;
        serve();
    }
    assert_int_equal(server.got, LONG);
    assert_int_equal(got, LONG);
    assert_true(server.same);
}

static void test_one_large_vector(void **state)
{
    static unsigned char out[LONG];
    struct iovec iov = {out, LONG};
    size_t sent = 0;

    (void)state;
    trust_ca(NULL);
    open_good();
    for (size_t i = 0; i < LONG; i++)
        out[i] = pattern(i);
    for (int i = 0; sent < LONG && i < TURNS_MAX; i++) {
        ssize_t n = stream_writev(near.s, &iov, 1);

        assert_true(n > 0 || n == STREAM_AGAIN);
        sent += n > 0 ? (size_t)n : 0;
        iov = (struct iovec){out + sent, LONG - sent};
        loop_turn(loop, 0);
        serve();
    }
    RUN_UNTIL(server.got == LONG);
    assert_true(server.same);
    stream_end_write(near.s);
    RUN_UNTIL(server.eof);
    assert_int_equal(stream_writev(near.s, &(struct iovec){out, 1}, 1), STREAM_ERROR);
}

static void test_end_with_and_without_close_notify(void **state)
{
    size_t at = 0;

    (void)state;
    trust_ca(NULL);
    open_good();
    server.to_send = 1000;
    RUN_UNTIL(server.sent == 1000);
    (void)SSL_shutdown(server.ssl);
    RUN_UNTIL(near.events & IO_READ && read_all(&at) == STREAM_EOF);
    assert_int_equal(at, 1000);
    assert_int_equal(read_all(&at), STREAM_EOF);

    at = 0;
    open_good();
    server.to_send = 1000;
    RUN_UNTIL(server.sent == 1000);
    assert_int_equal(shutdown(server.fd, SHUT_WR), 0); /* cut: the rest may be missing */
    RUN_UNTIL(near.events & IO_HUP);
    assert_int_equal(read_all(&at), STREAM_ERROR);
    assert_int_equal(at, 1000);
    assert_string_equal(stream_error_text(near.s), "connection closed without close_notify");
}

static void test_close_says_so(void **state)
{
    (void)state;
    trust_ca(NULL);
    open_good();
    stream_close(&near.s);
    RUN_UNTIL(server.eof);
}

static void test_no_signal_when_the_peer_is_gone(void **state)
{
    char byte = 'x';
    struct iovec iov = {&byte, 1};

    (void)state;
    trust_ca(NULL);
    open_good();
    assert_ptr_equal(signal(SIGPIPE, SIG_DFL), SIG_DFL);
    (void)close(server.fd);
    server.fd = -1;
    SSL_free(server.ssl);
    server.ssl = NULL;
    RUN_UNTIL(stream_writev(near.s, &iov, 1) == STREAM_ERROR);
    assert_string_equal(stream_error_text(near.s), "broken pipe");
}

/* A server that refuses a long body answers and closes: the answer counts, not the broken pipe. */
static void test_answer_is_read_after_a_failed_write(void **state)
{
    char byte = 'x';
    struct iovec iov = {&byte, 1};
    size_t at = 0;

    (void)state;
    trust_ca(NULL);
    open_good();
    server.to_send = 1000;
    RUN_UNTIL(server.sent == 1000);
    (void)SSL_shutdown(server.ssl);
    (void)close(server.fd);
    server.fd = -1;
    SSL_free(server.ssl);
    server.ssl = NULL;
    assert_int_equal(stream_writev(near.s, &iov, 1), STREAM_ERROR);
    assert_int_equal(read_all(&at), STREAM_EOF);
    assert_int_equal(at, 1000);
}

static void test_close_during_handshake(void **state)
{
    (void)state;
    trust_ca(NULL);
    start("good.test", &good);
    assert_int_equal(stream_read(near.s, &(char){0}, 1), STREAM_AGAIN);
    loop_turn(loop, 0);
    stream_close(&near.s);
    for (int i = 0; i < 10; i++)
        loop_turn(loop, 0);
    assert_int_equal(near.opened + near.failed, 0);
}

/* --- our server: sessions over workers, and over time --- */

static uint64_t
    passed_us; /* since the test began, as far as we are told; OpenSSL has its own clock */

static uint64_t later(void)
{
    return UINT64_C(1800000000000000) + passed_us;
}

/* What passes meanwhile is noticed by the master every so often. */
static void pass_hours(struct tickets *tickets, unsigned hours)
{
    for (unsigned i = 0; i < hours * 60; i++) {
        passed_us += UINT64_C(60) * 1000000;
        clock_refresh();
        tickets_keep(tickets);
    }
}

static struct tls_server *new_worker(struct tickets *tickets, bool modern)
{
    const struct tls_files files = {good.cert_file, good.key_file};
    const struct tls_server_options o = {.files = &files, .n = 1, .modern = modern};
    char error[TLS_ERROR];
    struct tls_server *s = tls_server_new(&o, error, sizeof(error));

    assert_non_null(s);
    if (tickets)
        tls_server_use_tickets(s, tickets);
    return s;
}

/* A connection from the test's client to one of the workers. Whether it resumed a session. */
static bool visit(struct tls_server *worker)
{
    int fds[2], near_done = 0, far_done = 0;
    struct tls *ends[2];
    char byte;
    bool resumed;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    ends[0] = tls_client(near.tls, fds[0], STR("good.test"));
    ends[1] = tls_accept(worker, fds[1]);
    for (int i = 0; i < 10 && !(near_done == 1 && far_done == 1); i++) {
        near_done = tls_handshake(ends[0]);
        far_done = tls_handshake(ends[1]);
    }
    assert_int_equal(near_done, 1);
    assert_int_equal(far_done, 1);
    assert_int_equal(tls_read(ends[0], &byte, 1), STREAM_AGAIN); /* takes the tickets */
    resumed = tls_is_resumed(ends[1]);
    assert_int_equal(tls_is_resumed(ends[0]), resumed);
    for (int i = 0; i < 2; i++) {
        tls_end_write(ends[i]); /* else OpenSSL holds the session for a bad one */
        tls_free(ends[i]);
        (void)close(fds[i]);
    }
    return resumed;
}

static struct tickets *begin_sessions(void)
{
    struct tickets *tickets = tickets_new();

    passed_us = 0;
    clock_set_source(later, later);
    clock_refresh();
    tickets_keep(tickets);
    return tickets;
}

static void end_sessions(struct tickets *tickets)
{
    tickets_free(tickets);
    clock_set_source(NULL, NULL);
    clock_refresh();
}

static void test_any_worker_resumes(void **state)
{
    struct tickets *tickets = begin_sessions();
    struct tls_server *one = new_worker(tickets, false), *two = new_worker(tickets, true),
                      *reloaded;

    (void)state;
    trust_ca(NULL);
    assert_false(visit(one));
    assert_true(visit(two));
    assert_true(visit(one));
    tls_server_free(one);
    reloaded = new_worker(tickets, false);
    assert_true(visit(reloaded));
    tls_server_free(two);
    tls_server_free(reloaded);
    end_sessions(tickets);
}

static void test_without_tickets(void **state)
{
    struct tls_server *one = new_worker(NULL, false);

    (void)state;
    trust_ca(NULL);
    assert_false(visit(one));
    assert_false(visit(one));
    tls_server_free(one);
}

static void test_another_server_knows_nothing(void **state)
{
    struct tickets *ours = begin_sessions(), *theirs = tickets_new();
    struct tls_server *here = new_worker(ours, false), *there = new_worker(theirs, false);

    (void)state;
    tickets_keep(theirs);
    trust_ca(NULL);
    assert_false(visit(here));
    assert_false(
        visit(there)); /* with here's ticket; and what there gives comes first from now on */
    assert_true(visit(there));
    tls_server_free(here);
    tls_server_free(there);
    tickets_free(theirs);
    end_sessions(ours);
}

static void test_tickets_end_with_their_keys(void **state)
{
    struct tickets *tickets = begin_sessions();
    struct tls_server *worker = new_worker(tickets, false);

    (void)state;
    trust_ca(NULL);
    assert_false(visit(worker));
    pass_hours(tickets, 7); /* one key later */
    assert_true(visit(worker));
    tls_ctx_free(near.tls); /* and all that it kept */
    trust_ca(NULL);
    assert_false(visit(worker));
    pass_hours(tickets, 12); /* two keys later */
    assert_false(visit(worker));
    tls_server_free(worker);
    end_sessions(tickets);
}

/* New tickets do not make a session live on: a day after its full handshake there is another. */
static void test_sessions_end(void **state)
{
    struct tickets *tickets = begin_sessions();
    struct tls_server *worker = new_worker(tickets, false);

    (void)state;
    trust_ca(NULL);
    for (int day = 0; day < 2; day++) {
        assert_false(visit(worker));
        for (int i = 0; i < 23; i++) {
            pass_hours(tickets, 1);
            assert_true(visit(worker));
        }
        pass_hours(tickets, 1);
    }
    tls_server_free(worker);
    end_sessions(tickets);
}

/* --- records without data --- */

/* A client that goes its way without our layer; its handshake with a worker is over. */
static SSL *rude_client(SSL_CTX *ctx, int fd, struct tls *worker)
{
    SSL *ssl = SSL_new(ctx);
    int near_done = 0, far_done = 0;

    assert_non_null(ssl);
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    SSL_set_connect_state(ssl);
    for (int i = 0; i < 10 && !(near_done == 1 && far_done == 1); i++) {
        near_done = SSL_do_handshake(ssl);
        far_done = tls_handshake(worker);
    }
    assert_int_equal(near_done, 1);
    assert_int_equal(far_done, 1);
    return ssl;
}

static void renew_keys(SSL *ssl)
{
    assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(ssl), 1);
}

/* However fast they come, a read of them ends, and with it the connection; one each second is taken
 * for ever. */
static void check_renewals(struct tls *worker, SSL *ssl)
{
    char byte;

    for (int i = 0; i < 100; i++) {
        renew_keys(ssl);
        assert_int_equal(tls_read(worker, &byte, 1), STREAM_AGAIN);
        passed_us += UINT64_C(1000000);
        clock_refresh();
    }
    assert_int_equal(SSL_write(ssl, "x", 1), 1);
    assert_int_equal(tls_read(worker, &byte, 1), 1);
    for (int i = 0; i < 40; i++)
        renew_keys(ssl);
    assert_int_equal(SSL_write(ssl, "x", 1), 1);
    assert_int_equal(tls_read(worker, &byte, 1), STREAM_ERROR);
    assert_string_equal(tls_error_text(worker), "too many records without data");
    assert_int_equal(tls_writev(worker, &(struct iovec){&byte, 1}, 1), STREAM_ERROR);
}

static void test_keys_renewed_too_often(void **state)
{
    struct tickets *tickets = begin_sessions();
    struct tls_server *s = new_worker(tickets, false);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct tls *worker;
    int fds[2];
    SSL *ssl;

    (void)state;
    assert_non_null(ctx);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    worker = tls_accept(s, fds[1]);
    ssl = rude_client(ctx, fds[0], worker);
    check_renewals(worker, ssl);
    tls_free(worker);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    (void)close(fds[0]);
    (void)close(fds[1]);
    tls_server_free(s);
    end_sessions(tickets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_verification, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_authority, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_versions_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_tls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_protocol_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_certificate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_client_certificate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resumption, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_sessions_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_big_transfer_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_large_vector, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_with_and_without_close_notify, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_signal_when_the_peer_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_is_read_after_a_failed_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_during_handshake, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_worker_resumes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_tickets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_server_knows_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tickets_end_with_their_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sessions_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_renewed_too_often, setup, teardown),
    };

    return cmocka_run_group_tests(tests, make_identities, drop_identities);
}
