/* server_int.h - what the server and its transport share. */
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
    struct list conns;  /* those idle longest first */
    size_t n_conns;
    struct list arrivals; /* the oldest first */
    size_t n_arrivals;
    bool draining;
};

/* arrival.c: a connection that has to prove itself before it carries requests. */
void arrival_begin(struct server *s, struct stream *stream, const struct server_door *door);
void arrivals_end(struct server *s); /* closes them all */

/* server_h1.c: one connection, which is a node of server->conns. Takes the stream. */
void conn_begin(struct server *s, struct stream *stream, const struct server_door *door);
struct conn *conn_of_node(struct list *node);
bool conn_is_idle(const struct conn *c);
void conn_kill(struct conn *c);   /* closes it; on_gone for an open request */
void conn_retire(struct conn *c); /* closes it if idle, else after the current reply */

#endif
