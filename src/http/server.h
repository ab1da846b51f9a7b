/* server.h - requests from clients, whatever carries them.
 *
 * The transport (server_h1.c, server_h2.c) parses a head, makes one struct request and tells the
 * handler; it collects the body, within limits, and tells the handler again. The handler answers through the
 * reply_* functions, at once or later, and never sees framing. What violates the protocol is
 * reported to the handler too, so that even a 400 has the API's shape.
 *
 *   on_head --> (body comes in) --> on_request --> reply_* ... reply_end
 *      |                                  \--> on_gone when the client leaves before reply_end
 *      +--> reply_* at once: the body is then not read and the connection closes after the answer
 *
 * A request lives from on_head (or on_refused) until reply_end, reply_abort or on_gone; the
 * transport owns it and frees it at the end of that turn. Output is gathered and written once, at
 * the end of the turn: a head and the first event travel together.
 */
#ifndef CCPROXY_HTTP_SERVER_H
#define CCPROXY_HTTP_SERVER_H

#include "base/buf.h"
#include "io/loop.h"
#include "io/sock.h"
#include "io/stream.h"
#include "wire/h1.h"

struct server;
struct transport;
struct tls_server;
struct tls_identity;

/* What a listener is like; its connections and their requests point to it. */
struct server_door {
    struct tls_server *tls; /* NULL: plain */
    bool proxies;           /* those that the handler names begin with a PROXY header */
    unsigned serves;        /* the handler's */
};

struct request {
    const struct h1_head *head; /* during on_head only; NULL afterwards */
    struct buf body;            /* whole when on_request is called; the handler may take it */
    struct sock_addr peer;
    bool proxied;                   /* peer is what a proxy says in a PROXY header */
    const struct server_door *door; /* it came in through */
    const struct tls_identity
        *identity;       /* of the client's certificate, during on_head; NULL: none */
    uint64_t started_us; /* first byte of the head */
    void *user;          /* the handler's; NULL at first */

    /* The transport's. */
    const struct transport *transport;
    struct buf *out;      /* where the reply gathers */
    bool is_head, http10; /* the method is HEAD; the version is 1.0 */

    enum {
        REPLY_NONE,
        REPLY_HEAD,   /* reply_start was called */
        REPLY_SIZED,  /* the head is written, a counted body follows */
        REPLY_STREAM, /* ... a body in chunks, or until the connection closes */
        REPLY_OVER,
    } reply;

    size_t chunk_at;     /* where in the output the open chunk begins */
    uint64_t body_bytes; /* of the reply, without chunks' heads */
    struct deferred funeral;
};

/* Why a request was refused by the transport. */
enum server_refusal {
    SERVER_BAD_MESSAGE, /* error says which rule of h1.h was broken */
    SERVER_BODY_TOO_LONG,
    SERVER_OVERLOADED, /* total_max */
    SERVER_SLOW_HEAD,
    SERVER_SLOW_BODY,
};

/* Why an HTTP/2 connection was ended: what its client did too much of. */
enum server_flood {
    FLOOD_NONE,
    FLOOD_RESETS,       /* streams reset, by either side */
    FLOOD_CONTROL,      /* PING, SETTINGS, GOAWAY */
    FLOOD_EMPTY,        /* DATA without content */
    FLOOD_UPDATES,      /* WINDOW_UPDATE */
    FLOOD_PRIORITY,     /* PRIORITY, PRIORITY_UPDATE */
    FLOOD_CONTINUATION, /* frames of a header block */
    FLOOD_HEAD,         /* bytes of it, twice those for which 431 is the answer */
    FLOOD_SLOW_HEAD,    /* time for it */
    FLOOD_GLITCHES,     /* frames that are unknown or wrong */
    FLOOD_CLOSED,       /* any frame of a request behind the end of its stream */
    FLOOD_COUNT,
};

const char *server_flood_name(enum server_flood why);

/* What became of a TLS handshake. */
enum server_handshake {
    HANDSHAKE_FULL,
    HANDSHAKE_RESUMED, /* a session begun before */
    HANDSHAKE_FAILED,
    HANDSHAKE_LATE, /* handshake_timeout_us */
    HANDSHAKE_SHED, /* handshakes_max */
    HANDSHAKE_COUNT,
};

/* Why a connection was ended before it could carry a request, where that is worth counting. */
enum server_rejection {
    REJECT_NONE,
    REJECT_HEADER_MISSING,    /* a proxy does not begin with a PROXY header */
    REJECT_HEADER_BAD,        /* or with a wrong one */
    REJECT_HEADER_LATE,       /* or takes too long for it */
    REJECT_HEADER_UNEXPECTED, /* somebody else begins with one */
    REJECT_CERTIFICATE,       /* the client's certificate is missing, or cannot be verified */
    REJECT_COUNT,
};

const char *server_rejection_name(enum server_rejection what);

struct server_handler {
    void *ctx;
    /* Whether a peer is a proxy that must begin with a PROXY header, which nobody else may. Asked
     * at doors for proxies only. */
    bool (*is_proxy)(void *ctx, const struct sock_addr *peer);
    /* The head is complete. Reply now to refuse without reading the body; else return. */
    void (*on_head)(void *ctx, struct request *r);
    void (*on_request)(void *ctx, struct request *r);
    /* The peer broke the protocol, a limit or a timer: reply (the connection closes afterwards).
     * When r->user is NULL there was no on_head; only peer and started_us are then sure. */
    void (*on_refused)(void *ctx, struct request *r, enum server_refusal why, enum h1_error error);
    /* The client has left, or cannot be written to, before the reply was complete. No reply may
     * follow. Not called after reply_end and reply_abort. */
    void (*on_gone)(void *ctx, struct request *r);
    /* What was queued has gone below the low mark, after having been above the high one. */
    void (*on_drained)(void *ctx, struct request *r);
    /* An HTTP/2 connection ends for that; may be NULL. on_gone follows for its requests. */
    void (*on_flood)(void *ctx, const struct sock_addr *peer, enum server_flood why);
    /* One is over on which so many frames were wrong or unknown; may be NULL. */
    void (*on_glitches)(void *ctx, unsigned n);
    void (*on_handshake)(void *ctx, enum server_handshake how); /* may be NULL */
    /* A connection ends before its first request; may be NULL. error: in words. */
    void (*on_reject)(void *ctx, const struct sock_addr *peer, enum server_rejection what,
                      const char *error);
};

/* Of what is queued for a client; HTTP/2 lets one connection have a hundred of these. */
enum { SERVER_HIGH_MARK = 32 * 1024, SERVER_LOW_MARK = 8 * 1024 };

/* Of one HTTP/2 connection. What is said of HTTP/1.1 below holds too: head_max for a request's fields,
 * the deadlines of heads and bodies and of answers for each stream, idle_timeout_us without streams. */
struct h2_limits {
    bool on;
    uint32_t streams;       /* at a time */
    uint32_t stream_window; /* bytes of a body that may come before its request was let in */
    uint32_t window;        /* bytes of all bodies on their way */
    uint32_t table;         /* bytes of HPACK's table, either way */
    unsigned fields;        /* of a head: 431 above */
    unsigned continuations; /* of a header block */
    unsigned resets, resets_per_s;
    unsigned controls, controls_per_s; /* PING, SETTINGS, GOAWAY */
    unsigned empties;                  /* DATA without content, in a row */
    unsigned priorities;               /* a stream, and as many again */
    unsigned updates;                  /* pairs of WINDOW_UPDATE for a DATA frame */
    unsigned glitches;
};

struct server_limits {
    size_t head_max;          /* bytes of a request head: 431 above */
    size_t body_max;          /* bytes of a body: 413 above */
    size_t total_max;         /* bytes in all buffers of the process: 503 above, for new bodies */
    size_t connections_max;   /* above it the connection without a request for longest is closed, or
                                 else the new one */
    uint64_t head_timeout_us; /* from the first byte of a head to its end */
    uint64_t body_timeout_us; /* a whole body, and as much again for each MiB that has come */
    uint64_t idle_timeout_us; /* between requests on a connection */
    uint64_t write_timeout_us;     /* without any byte taken by the client */
    uint64_t handshake_timeout_us; /* from accepting to the end of PROXY header and TLS handshake */
    size_t handshakes_max;         /* under way; above it the oldest one is closed */
    struct h2_limits h2;
};

struct server *server_new(struct loop *l, const struct server_limits *limits,
                          const struct server_handler *handler);
/* Takes a listening descriptor and accepts from it. EMFILE pauses accepting, it never spins. The
 * door must live as long as the server; server_listen is for a plain one. */
NODISCARD bool server_listen_at(struct server *s, int fd, const struct server_door *door);
NODISCARD bool server_listen(struct server *s, int fd);
/* Accepts what is queued and then no more, closes idle connections, and ends the others after their
 * reply. */
void server_drain(struct server *s);
size_t server_connections(const struct server *s);
void server_free(struct server *s); /* closes everything; on_gone is called for open requests */

/* The reply, in this order. Field values must be valid (h1_is_field_value is asserted). */
void reply_start(struct request *r, int status);
void reply_field(struct request *r, struct str name, struct str value);
void reply_field_u64(struct request *r, struct str name, uint64_t value);
void reply_lines(struct request *r, struct str lines); /* whole fields, as HTTP/1.1 writes them */
/* Ends the head. length: bytes that will follow, or -1 for a stream of unknown length. */
void reply_head_end(struct request *r, int64_t length);
/* Appends body bytes. Replies to HEAD drop them. */
void reply_body(struct request *r, struct str bytes);
/* Direct access to the output, for encoders: bytes appended between begin and end become body. The
 * buffer may not be kept. */
struct buf *reply_body_begin(struct request *r);
void reply_body_end(struct request *r);
void reply_end(struct request *r);
/* Breaks the reply off so that the client notices: the connection is reset. */
void reply_abort(struct request *r);
/* Bytes queued and not yet taken by the client's socket. */
size_t reply_queued(const struct request *r);

/* "HTTP/1.1", "HTTP/1.0" or "HTTP/2", for logs. */
struct str request_protocol(const struct request *r);

static inline bool reply_started(const struct request *r)
{
    return r->reply != REPLY_NONE;
}

/* Takes the connection away from HTTP: the stream is now the caller's and the request is over. Only
 * the simulator does this, to misbehave exactly. */
NODISCARD struct stream *server_hijack(struct request *r);

#endif
