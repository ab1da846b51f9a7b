/* server_h1_int.h - one HTTP/1.1 connection, as its two files see it. */
#ifndef CCPROXY_HTTP_SERVER_H1_INT_H
#define CCPROXY_HTTP_SERVER_H1_INT_H

#include "http/server_int.h"

struct conn {
    struct link link;
    struct server *server;
    struct stream *stream;
    const struct server_door *door;

    enum {
        CONN_IDLE, /* nothing of a request has come */
        CONN_HEAD, /* a part of a head has */
        CONN_BODY,
        CONN_REPLYING, /* the request is whole or refused, its reply is not complete */
        CONN_FLUSHING, /* the reply is complete, but not yet with the client */
        CONN_LINGER,   /* the last reply is written; what still comes is thrown away */
        CONN_DEAD,
    } state;
    struct request *request;
    struct buf in, out;
    size_t scanned;
    bool is_chunked;
    struct h1_chunked chunks;
    uint64_t body_left; /* of a sized body */
    bool has_begun;     /* there was a request: it is HTTP/1.1 to its end */
    bool readable;      /* the socket has not yet answered AGAIN */
    bool hup;           /* the client has ended its side: read on until that shows */
    bool close_after;   /* no further request on this connection */
    bool above_mark;
    uint64_t head_began_us, body_began_us;
    uint64_t deadline_us, progress_us;
    size_t lingered;
    struct timer timer;
    struct deferred work, funeral;
};

/* The connection of a request that is not over. */
static inline struct conn *conn_of(const struct request *r)
{
    return CONTAINER_OF(r->out, struct conn, out);
}

/* server_h1_reply.c: the framing of replies. */
extern const struct transport transport_h1;

bool conn_is_idle(struct link *link);
void conn_kill(struct link *link);
void conn_retire(struct link *link);

/* The time from now at which the current state has lasted too long. */
void conn_set_deadline(struct conn *c, uint64_t delay_us);
/* The request is over; it is freed at the end of the turn. */
void conn_drop_request(struct conn *c);
/* Closes the connection without telling the handler. */
void conn_die(struct conn *c);

#endif
