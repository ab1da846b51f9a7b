/* pool_int.h - what the pool, the calls and their two transports share.
 *
 *                      +-- client_h1.c: one call has a pconn to itself
 *   pool.c -- client.c-+
 *                      +-- client_h2.c: a session carries the streams of many calls
 */
#ifndef CCPROXY_HTTP_POOL_INT_H
#define CCPROXY_HTTP_POOL_INT_H

#include "http/client.h"

struct session; /* an HTTP/2 connection, client_h2.c */

struct pool {
    struct loop *loop;
    struct dns *dns;
    struct pool_options options;
    struct list idle; /* pconns, the one used last first */
    struct list busy;
    struct list dials;
    struct list waiting;  /* calls, oldest first */
    struct list sessions; /* HTTP/2 connections */
    size_t n_idle, n_busy, n_dials, n_waiting;
    size_t per_dial; /* calls that a new connection is expected to take */
};

/* One HTTP/1.1 connection: idle, or busy with one call. Which of the two is the list it is on. */
struct pconn {
    struct pool *pool;
    struct list node;
    struct stream *stream;
    struct call *call; /* while busy */
    uint64_t idle_since_us;
    struct timer timer;
    struct deferred funeral;
};

/* How a call that has a connection uses it. */
struct call_transport {
    void (*go_on)(struct call *c); /* no longer paused */
    void (*drop)(struct call *c);  /* the rest of the answer is not wanted */
};

struct call {
    struct pool *pool;
    struct list waiting; /* pool->waiting, in WAITING; of a session's calls later */

    enum { STARTING, WAITING, HEAD, BODY, OVER } state;
    const struct call_transport *transport; /* in HEAD and BODY */
    const struct call_handler *handler;
    void *ctx;

    struct buf head; /* of the request */
    size_t head_len;
    const struct rope *body;
    size_t sent, total;

    struct buf in;
    bool answered; /* a byte of the answer has come */
    bool paused;
    struct deferred work, funeral;

    union {
        struct {
            struct pconn *conn;
            size_t scanned;
            bool readable, hup;
            bool keep_alive;
            enum h1_framing framing;
            uint64_t left;
            struct h1_chunked chunks;
        } h1;

        struct {
            struct session *session;
            int32_t id;
            size_t trailers; /* bytes */
            bool ended;      /* the answer is whole, though perhaps not taken yet */
            bool was_reset;  /* by the upstream */
            bool closed;     /* nghttp2 has forgotten the stream */
        } h2;
    };
};

enum { CALL_IN_MAX = 64 * 1024 }; /* of an answer's body kept by a call, about */

/* pool.c */
void pool_want(struct pool *p, struct list *waiting_node); /* a call waits for a connection */
void pool_unwant(struct pool *p, struct list *waiting_node);
void pool_serve(struct pool *p, struct session *s); /* s may have room for calls that wait */
void pool_redial(struct pool *p);                   /* a connection that calls counted on is gone */
void pool_fall_back(struct pool *p);   /* the upstream asks for HTTP/1.1 instead of HTTP/2 */
void pconn_give_back(struct pconn *c); /* after a complete exchange */
bool pconn_is_quiet(struct pconn *c);  /* open, and nothing to read; takes a byte if there is one */
void pconn_close(struct pconn *c);

/* client.c */
void call_no_connection(struct list *waiting_node, const char *error);
void call_finish(struct call *c); /* it has left its connection, and ends */
void call_fail(struct call *c, enum call_failure why, const char *error);
void call_broken(struct call *c, const char *error); /* the connection is gone */

static inline bool call_is_open(const struct call *c)
{
    return c->state == HEAD || c->state == BODY;
}

/* client_h1.c */
void call_take_h1(struct list *waiting_node, struct pconn *c); /* c is busy with it from now on */
void call_ready(struct call *call, unsigned events);

/* client_h2.c */
struct session *session_new(struct pool *p, struct stream *s); /* on p->sessions */
void session_free(struct session *s);                          /* without calls; for pool_free */
struct session *session_of(struct list *node);                 /* of p->sessions */
void session_leave(struct session *s); /* takes no more calls, and ends with those it has */
bool session_has_room(const struct session *s);
size_t session_load(const struct session *s); /* streams in flight */
void call_take_h2(struct list *waiting_node, struct session *s);

#endif
