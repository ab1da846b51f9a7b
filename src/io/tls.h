/* tls.h - TLS 1.2 and 1.3 on OpenSSL. What knows SSL_* stands behind it: tls.c,
 * tls_server.c, tls_clients.c.
 *
 * As a client, one context per upstream target and worker: trust, client certificate, and the
 * sessions to resume. As a server, one for all listeners: it is made with the configuration, before
 * the workers are forked, because they read no files.
 */
#ifndef CCPROXY_IO_TLS_H
#define CCPROXY_IO_TLS_H

#include <sys/uio.h>

#include "base/str.h"

struct tickets;
struct tls_ctx;
struct tls_server;
struct tls; /* one connection's state */

/* What is offered; none where HTTP is not what is spoken. */
enum tls_alpn { ALPN_HTTP_1, ALPN_EITHER, ALPN_NONE };

enum { TLS_ERROR = 512 };

struct tls_options {
    const char *ca_file;   /* PEM certificates trusted besides the system's; NULL for none */
    const char *cert_file; /* client certificate chain, PEM; NULL for none */
    const char *key_file;  /* its key */
    enum tls_alpn alpn;
};

/* NULL, and the reason in ret_error, when a file cannot be used. */
struct tls_ctx *tls_ctx_new(const struct tls_options *o, char *ret_error, size_t error_size);
void tls_ctx_free(struct tls_ctx *c);

/* A server's certificate, with the chain behind it, and its key; PEM. */
struct tls_files {
    const char *cert, *key; /* the key may be in the same file, and then NULL */
};

struct tls_server_options {
    const struct tls_files *files; /* the first one also serves names that none has */
    size_t n;
    bool modern; /* TLS 1.3 only */
    bool http2;  /* ALPN may choose it */
    const char
        *client_ca; /* PEM certificates of whom to believe clients'; NULL: none are asked for */
    bool client_required; /* and no handshake without one */
};

/* NULL, and the reason in ret_error, when a file cannot be used. */
struct tls_server *tls_server_new(const struct tls_server_options *o, char *ret_error,
                                  size_t error_size);
void tls_server_free(struct tls_server *c); /* NULL is fine */
/* Clients may resume sessions from now on, by tickets; of whichever server has these keys. */
void tls_server_use_tickets(struct tls_server *c, struct tickets *t);

/* What the authority's responder is asked about a certificate. */
struct tls_question {
    struct str url, request; /* to be posted, as application/ocsp-request */
    size_t place;            /* of its answer among the staples */
    const uint8_t *cert;     /* by which the answer is known there */
};

enum tls_verdict { TLS_STAPLE_GOOD, TLS_STAPLE_UNUSABLE, TLS_STAPLE_REVOKED };

struct staple;
struct shelf;

/* The certificates that may have answers get places for them. For the master. */
void tls_server_adopt_staples(const struct tls_server *c, struct shelf *s);
/* Handshakes show from now on what is there. For workers: after that questions have places. */
void tls_server_use_staples(struct tls_server *c, struct shelf *s);
/* False: the certificate names no responder, its issuer is not in the file, or it has no place. */
bool tls_server_question(const struct tls_server *c, size_t i, struct tls_question *ret);
/* What an answer is worth; a good one is in *ret, of the others *ret_why says what is wrong. */
enum tls_verdict tls_server_judge(const struct tls_server *c, size_t i, struct str answer,
                                  struct staple *ret, const char **ret_why);
/* Whether there is an answer where clients insist on one. */
bool tls_server_is_stapled(const struct tls_server *c);

/* What is to be told of a certificate. */
struct tls_about {
    struct str name;             /* the first that it is for */
    uint64_t begins_us, ends_us; /* since 1970 */
    bool must_staple;            /* clients insist on an answer of the authority's */
    bool asks;                   /* for it, where it is known whom to ask */
};

/* Of as many certificates as there are files; none for NULL. */
size_t tls_server_certs(const struct tls_server *c);
struct tls_about tls_server_about(const struct tls_server *c, size_t i);
/* Whether all of them are valid, and will be for so long. */
bool tls_server_is_valid(const struct tls_server *c, uint64_t wall_us, uint64_t notice_us);

enum { TLS_NAMES_MAX = 16 };

/* What a client's certificate, which was verified, calls it: first "sha256:<hex of its hash>", then
 * "subject:CN=ann,O=Example" and its alternative names: "dns:ann.example", "email:...", "uri:...".
 */
struct tls_identity {
    struct str names[TLS_NAMES_MAX];
    size_t n;
    int64_t ends_s; /* when the certificate expires, in seconds since 1970 */
};

/* For stream.c. Results of read and writev are stream.h's codes. */
struct tls *tls_client(struct tls_ctx *c, int fd, struct str server_name);
void tls_offer_http1(struct tls *t); /* by ALPN, and nothing else; before the handshake */
struct tls *tls_accept(struct tls_server *c, int fd);
void tls_free(struct tls *t);
int tls_handshake(struct tls *t); /* 1 done, STREAM_AGAIN, STREAM_ERROR */
ssize_t tls_read(struct tls *t, void *p, size_t n);
ssize_t tls_writev(struct tls *t, const struct iovec *iov, int n);
void tls_end_write(struct tls *t);
bool tls_is_resumed(const struct tls *t);
struct str tls_protocol(const struct tls *t);                 /* that ALPN chose; empty when none */
const struct tls_identity *tls_identity(const struct tls *t); /* NULL: it has shown none */
/* Whether the handshake failed for want of a client's certificate that can be verified. */
bool tls_lacks_certificate(const struct tls *t);
const char *tls_error_text(const struct tls *t);

#endif
