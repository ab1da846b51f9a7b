/* tls.h - TLS 1.2 and 1.3 as a client, on OpenSSL. The only file that knows SSL_*.
 *
 * One context per upstream target and worker: trust, client certificate, and the sessions to
 * resume.
 */
#ifndef CCPROXY_IO_TLS_H
#define CCPROXY_IO_TLS_H

#include <sys/uio.h>

#include "base/str.h"

struct tls_ctx;
struct tls; /* one connection's state */

struct tls_options {
    const char *ca_file;   /* PEM certificates trusted besides the system's; NULL for none */
    const char *cert_file; /* client certificate chain, PEM; NULL for none */
    const char *key_file;  /* its key */
    bool no_alpn;          /* what is spoken is not HTTP/1.1 */
};

/* NULL, and the reason in ret_error, when a file cannot be used. */
struct tls_ctx *tls_ctx_new(const struct tls_options *o, char *ret_error, size_t error_size);
void tls_ctx_free(struct tls_ctx *c);

/* For stream.c. Results of read and writev are stream.h's codes. */
struct tls *tls_client(struct tls_ctx *c, int fd, struct str server_name);
void tls_free(struct tls *t);
int tls_handshake(struct tls *t); /* 1 done, STREAM_AGAIN, STREAM_ERROR */
ssize_t tls_read(struct tls *t, void *p, size_t n);
ssize_t tls_writev(struct tls *t, const struct iovec *iov, int n);
void tls_end_write(struct tls *t);
struct str tls_protocol(const struct tls *t); /* that ALPN chose; empty when none */
const char *tls_error_text(const struct tls *t);

#endif
