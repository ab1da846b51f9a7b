/* pool_int.h - what the pool and the calls share. */
#ifndef CCPROXY_HTTP_POOL_INT_H
#define CCPROXY_HTTP_POOL_INT_H

#include "http/client.h"

struct pool {
    struct loop *loop;
    struct dns *dns;
    struct pool_options options;
    struct list idle; /* pconns, the one used last first */
    struct list busy;
    struct list dials;
    struct list waiting; /* calls, oldest first */
    size_t n_idle, n_busy, n_dials, n_waiting;
};

/* One upstream connection: idle, or busy with one call. Which of the two is the list it is on. */
struct pconn {
    struct pool *pool;
    struct list node;
    struct stream *stream;
    struct call *call; /* while busy */
    uint64_t idle_since_us;
    struct timer timer;
    struct deferred funeral;
};

/* pool.c */
void pool_want(struct pool *p, struct list *waiting_node); /* a call waits for a connection */
void pool_unwant(struct pool *p, struct list *waiting_node);
void pconn_give_back(struct pconn *c); /* after a complete exchange */
bool pconn_is_quiet(struct pconn *c);  /* open, and nothing to read; takes a byte if there is one */
void pconn_close(struct pconn *c);

/* client.c */
void call_take(struct list *waiting_node, struct pconn *c); /* c is busy with it from now on */
void call_no_connection(struct list *waiting_node, const char *error);
void call_ready(struct call *call, unsigned events);

#endif
