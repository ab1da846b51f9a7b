/* tls_int.h - what client and server sides of TLS share: tls.c is the connection and the client,
 * tls_server.c the server, tls_clients.c what it wants to know of clients. */
#ifndef CCPROXY_IO_TLS_INT_H
#define CCPROXY_IO_TLS_INT_H

#include <openssl/ssl.h>

#include "base/hash.h"
#include "io/staples.h"
#include "io/tickets.h"
#include "io/tls.h"

struct tls {
    SSL *ssl;
    struct tls_ctx *ctx; /* NULL: we are the server */
    char *error;         /* NULL while nothing went wrong; nothing is written after that */
    int fd;
    int err;           /* errno of the last call to sys.h that failed */
    uint64_t ahead_us; /* how far ahead of the clock records without data would bring us */
    bool open;         /* the handshake is over */
    bool eof;
    bool dead; /* the protocol failed. A socket that takes no more may still give an answer. */
    bool uncertified;              /* ... for want of a certificate that can be verified */
    struct tls_identity *identity; /* of the client; NULL: it has shown none */
    char name[];
};

/* A connection over our BIO; name is kept. */
struct tls *tls_new(SSL_CTX *ctx, int fd, struct str name);
/* What both sides keep to: versions, no compression, no renegotiation, memory. */
void tls_configure(SSL_CTX *ssl);
/* Every certificate in a PEM file; NULL, with the reason queued, when there is none or a broken
 * one. */
STACK_OF(X509) * tls_read_certs(const char *path);
/* tls_tickets.c: clients may resume, by tickets that are sealed with these keys. */
void tls_use_tickets(SSL_CTX *ssl, struct tickets *t);

/* tls_staple.c: what the authority is asked about a certificate; zero at first. */
struct tls_staple {
    char *url;              /* of the responder; NULL: there is nobody to ask */
    unsigned char *request; /* DER */
    int request_n;
    uint8_t cert[SHELF_NAME]; /* SHA-256 */
    bool must;                /* it says itself that clients refuse it without an answer */
};

void tls_staple_read(struct tls_staple *s, X509 *cert, X509 *issuer); /* issuer may be NULL */
void tls_staple_drop(struct tls_staple *s);
enum tls_verdict tls_staple_judge(X509 *cert, X509 *issuer, struct str der, struct staple *ret,
                                  const char **ret_why);
/* Since 1970; what lies before that is its beginning. */
uint64_t tls_time_us(const ASN1_TIME *t);
/* A callback for passphrases: fails rather than asks on the terminal. */
int tls_no_passphrase(char *out, int size, int writing, void *ctx);
/* "what path: reason", the reason from OpenSSL's queue. False. */
bool tls_set_failed(char *ret_error, size_t size, const char *what, const char *path);

/* tls_clients.c: has clients asked for certificates, by the options' client_ca. Sessions are to be
 * resumed within ret_sessions only, the context in which what they brought was verified. */
bool tls_ask_clients(SSL_CTX *ssl, const struct tls_server_options *o, struct sha256 *ret_sessions,
                     char *ret_error, size_t size);
/* After a handshake as a server: who the client is. */
void tls_identify(struct tls *t);
struct tls_identity *tls_identity_new(X509 *cert);
void tls_identity_free(struct tls_identity *p); /* NULL is fine */

#endif
