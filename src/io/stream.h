/* stream.h - one connection as two directions of bytes, over TCP, a unix socket, or TLS.
 *
 * The owner pulls and pushes; the stream has no queues of its own. Reads and writes are tried until
 * they answer STREAM_AGAIN; then the owner is called once more is possible (edges, as in loop.h).
 * What the owner does not read stays in the kernel: that is the back-pressure.
 *
 *   owner --stream_writev--> [TLS] --> socket          on_ready(READ | WRITE | HUP) --> owner
 *
 * The owner closes; after stream_close no callback comes and the memory goes at the end of the
 * turn.
 */
#ifndef CCPROXY_IO_STREAM_H
#define CCPROXY_IO_STREAM_H

#include <sys/uio.h>

#include "io/loop.h"
#include "io/sock.h"

enum {
    STREAM_EOF = 0,
    STREAM_AGAIN = -1,
    STREAM_ERROR = -2, /* stream_error_text says what */
};

struct stream;
struct tls_ctx;
struct tls_server;
struct tls_identity;

struct stream_owner {
    /* events: IO_READ, IO_WRITE, IO_HUP. HUP also comes when the peer only ended its sending side.
     */
    void (*on_ready)(struct stream *s, void *ctx, unsigned events);
    /* For stream_connect, stream_start_tls and stream_accept_tls: once, before any on_ready. */
    void (*on_open)(struct stream *s, void *ctx, bool ok);
    const char *name; /* for the watchdog */
};

/* Takes over a connected descriptor. Never NULL: what goes wrong shows in the first read. */
struct stream *stream_accept(struct loop *l, int fd, const struct sock_addr *peer,
                             const struct stream_owner *owner, void *ctx);
/* Starts connecting; on_open tells how it went. NULL with errno when it cannot even start. */
struct stream *stream_connect(struct loop *l, const struct sock_addr *addr,
                              const struct stream_owner *owner, void *ctx);
/* Puts TLS on an open stream, as a client; server_name is for SNI and verification (a name or an IP
 * address), and sessions are kept and reused under it. on_open comes again. */
void stream_start_tls(struct stream *s, struct tls_ctx *tls, struct str server_name);
void stream_offer_http1(struct stream *s); /* nothing else, by ALPN; at once after it */

/* The same as a server, on a stream that was accepted. */
void stream_accept_tls(struct stream *s, struct tls_server *tls);

/* Events are not repeated for the new owner: it tries first. */
void stream_set_owner(struct stream *s, const struct stream_owner *owner, void *ctx);

ssize_t stream_read(struct stream *s, void *p, size_t n);
/* What stream_read would give, and gives again; of a stream without TLS. */
ssize_t stream_peek(struct stream *s, void *p, size_t n);
/* Has the owner told of these events, as if they came now: who hands a stream on may have taken
 * them. */
void stream_rouse(struct stream *s, unsigned events);
/* Bytes taken, or AGAIN, or ERROR. After AGAIN or a short count the bytes that were not taken are
 * offered again, at least as many of them (TLS may have put them into a record already). */
ssize_t stream_writev(struct stream *s, const struct iovec *iov, int n);
/* Ends our sending side (close_notify and FIN). */
void stream_end_write(struct stream *s);
/* Closes in order; stream_reset closes with a TCP reset. Both take *s and set it to NULL; NULL is
 * fine. Unread input makes the kernel reset too: who must not lose its last bytes ends its side and
 * reads on until EOF (RFC 9112 section 9.6). */
void stream_close(struct stream **s);
void stream_reset(struct stream **s);

bool stream_is_tls(const struct stream *s);
/* What ALPN chose: "h2", "http/1.1"; empty when nothing. */
struct str stream_protocol(const struct stream *s);
/* Whether the handshake took up a session that had been begun before. */
bool stream_is_resumed(const struct stream *s);
/* Of the certificate that a client has shown and that was verified; NULL when there is none. */
const struct tls_identity *stream_identity(const struct stream *s);
/* Whether stream_accept_tls failed for want of such a certificate. */
bool stream_lacks_certificate(const struct stream *s);
const struct sock_addr *stream_peer(const struct stream *s);
/* Whom the stream is for, when a proxy at the other end has said so: stream_peer from now on. */
void stream_set_peer(struct stream *s, const struct sock_addr *peer);
/* Whether a proxy has said anything, be it that it knows nobody. */
bool stream_is_proxied(const struct stream *s);
/* The last failure, for logs: "connection refused", "certificate has expired". Never NULL. */
const char *stream_error_text(const struct stream *s);

#endif
