/* server_int.h - what the server and its transports share.
 *
 *   server.c --- struct link ---> a connection: HTTP/1.1 or HTTP/2
 *   server_reply.c --- struct request ---> its transport's table ---> framing
 */
#ifndef CCPROXY_HTTP_SERVER_INT_H
#define CCPROXY_HTTP_SERVER_INT_H

#include "http/server.h"

enum { LISTENERS_MAX = 2048 };

struct listener {
    struct io_watch watch; /* its fd is -1 while accepting is paused */
    int fd;
    struct server *server;
    const struct server_door *door;
};

struct server {
    struct loop *loop;
    struct server_limits limits;
    struct server_handler handler;
    struct listener listeners[LISTENERS_MAX];
    size_t n_listeners;
    struct timer pause; /* after EMFILE */
    struct list conns;  /* of links, those idle longest first */
    size_t n_conns;
    struct list arrivals; /* the oldest first */
    size_t n_arrivals;
    bool draining;
};

/* arrival.c: a connection that has to prove itself before it carries requests; the door is for
 * proxies, or has TLS, or both. */
void arrival_begin(struct server *s, struct stream *stream, const struct server_door *door);
void arrival_shed(struct server *s); /* closes the oldest one; there is one */
void arrivals_end(struct server *s); /* closes them all */

/* A connection as the server sees it: a node of server->conns. */
struct link {
    struct list node;
    const struct transport *transport;
};

/* How one protocol carries requests. What concerns a reply is called by server_reply.c in the order
 * of server.h, with the head or the body's bytes in r->out. */
struct transport {
    struct str protocol; /* its name in logs */
    bool (*is_idle)(struct link *c);
    void (*kill)(struct link *c);   /* closes it; on_gone for open requests */
    void (*retire)(struct link *c); /* closes it if idle, else after the current replies */

    /* r->out holds a status line and fields, as in HTTP/1.1; r->reply is set. */
    void (*head_end)(struct request *r, int64_t length);
    void (*body_begin)(struct request *r);
    void (*body_end)(struct request *r); /* behind r->chunk_at */
    void (*end)(struct request *r);
    void (*abort)(struct request *r);
    struct stream *(*hijack)(struct request *r);
};

void link_begin(struct server *s, struct link *c, const struct transport *t);
void link_end(struct server *s, struct link *c);
void link_is_idle(struct server *s, struct link *c); /* from now on, after having been at work */

static inline struct link *link_of(struct list *node)
{
    return CONTAINER_OF(node, struct link, node);
}

/* Fills in where a request of that stream comes from. */
void server_request_from(struct request *r, const struct stream *s, const struct server_door *door);

/* Whether this worker may hold n more bytes of this body; what they have memory for is counted. */
bool server_has_room(const struct server *s, const struct buf *body, size_t n);
/* When a body must be whole: what counts is what has come, not what was announced. */
uint64_t server_body_due_us(const struct server *s, uint64_t began_us, const struct buf *body);

/* server_h1.c: a connection whose stream is open. Takes it. */
void h1_begin(struct server *s, struct stream *stream, const struct server_door *door);
/* server_h2.c: one that turns out to be HTTP/2, with what has been read of it. */
void h2_begin(struct server *s, struct stream *stream, const struct server_door *door,
              struct str bytes);

#endif
