/* server_h2_int.h - one HTTP/2 connection of a client, as its files see it.
 *
 *   server_h2.c         the connection: bytes in and out, time, the end
 *   server_h2_request.c its streams: from a head to the end of a request
 *   server_h2_head.c    a header block becomes a head
 *   server_h2_reply.c   replies
 *   server_h2_guard.c   what a client may cost before it is sent away
 *
 *   socket --> walk, guard --> nghttp2 --> head, body --> handler
 *   socket <-- h2_conn.out <-- nghttp2 <-- h2_stream.out <-- reply_*
 */
#ifndef CCPROXY_HTTP_SERVER_H2_INT_H
#define CCPROXY_HTTP_SERVER_H2_INT_H

#include <nghttp2/nghttp2.h>

#include "http/server_int.h"
#include "wire/h2.h"

enum { H2_OUT_ENOUGH = 64 * 1024 }; /* bytes of a connection's output: then it is written */

/* A rate with a burst: how far ahead of the clock what has come would bring us. */
struct h2_bucket {
    uint64_t ahead_us;
};

struct h2_guard {
    struct h2_bucket resets, controls;
    uint64_t streams, data_sent, updates, priorities; /* since the connection began */
    uint32_t empties;                                 /* DATA without content, in a row */
    uint32_t continuations, block;                    /* of the header block that is coming */
    uint32_t glitches;
    uint32_t foretold; /* bad frames for which a stream will be reset, and which are counted */
};

enum { PSEUDO_METHOD, PSEUDO_PATH, PSEUDO_AUTHORITY, PSEUDO_SCHEME, PSEUDO_COUNT };

/* A header block while it comes: the text of a head as HTTP/1.1 writes it, so that one parser knows
 * the rules of both. */
struct h2_head {
    struct {
        size_t at, n;
        bool said;
    } pseudo[PSEUDO_COUNT]; /* in values */

    struct buf values, text, cookie;
    size_t n_fields;
    bool has_line; /* the request line is written */
    enum h1_error error;
};

struct h2_conn {
    struct link link;
    struct server *server;
    struct stream *stream;
    const struct server_door *door;
    nghttp2_session *ng;

    enum {
        H2_OPEN,
        H2_LINGER, /* our last GOAWAY is out or on its way; what still comes is thrown away */
        H2_DEAD,
    } state;
    struct list streams, full; /* full: above the high mark */
    struct list ready, ripe;   /* to be handed over; ripe: another piece has been read since */
    struct h2_walk walk;
    struct h2_guard guard;
    struct h2_head *head; /* NULL between header blocks */
    struct buf out;
    size_t piece;            /* bytes that are read at once */
    bool readable;           /* the socket has not yet answered AGAIN */
    bool hup;                /* the client has ended its side: read on until that shows */
    bool has_left;           /* our last GOAWAY was said: further streams are passed over */
    enum server_flood flood; /* why it is to end */
    int32_t last_id;         /* the highest stream that has come */
    uint64_t reset_at_us;    /* when we last reset a stream */
    uint64_t head_began_us;
    uint64_t idle_since_us, progress_us;
    uint64_t leave_at_us; /* draining: when the last GOAWAY is due; 0: not, or it was sent */
    size_t lingered;
    struct timer timer;
    struct deferred work, funeral;
};

struct h2_stream {
    struct request request; /* over when its reply is REPLY_OVER */
    struct h2_conn *conn;
    struct list node, ready, full;
    int32_t id;
    bool input_over;          /* END_STREAM has come */
    bool waits;               /* nghttp2 asked for bytes of the reply, and there were none */
    bool is_broken;           /* a reset is on its way: nothing else may end it */
    uint64_t body_began_us;   /* 0: no body is awaited */
    uint64_t progress_us;     /* the client took something, or the queue was empty */
    uint64_t linger_until_us; /* the reply is out, the request still comes; 0: not so */
    size_t lingered;
    struct buf out;
    struct deferred funeral;
};

/* server_h2.c */
extern const struct transport transport_h2;
void h2_watch(struct h2_conn *c, uint64_t at_us); /* a deadline may be due then */
void h2_touch(struct h2_conn *c);                 /* something is to be written */
/* The client costs too much: GOAWAY, and the connection ends. */
void h2_send_away(struct h2_conn *c, enum server_flood why);

/* server_h2_head.c */
void h2_set_head_callbacks(nghttp2_session_callbacks *on);
void h2_drop_head(struct h2_conn *c);
enum h1_error h2_parse_head(struct h2_conn *c, struct h1_head *head);

/* server_h2_request.c */
void h2_set_callbacks(nghttp2_session_callbacks *on);
void h2_hand_over(struct h2_conn *c);                 /* whole requests to the handler */
void h2_lose_streams(struct h2_conn *c);              /* on_gone for all */
uint64_t h2_stream_due_us(const struct h2_stream *s); /* its next deadline, UINT64_MAX if none */
void h2_stream_late(struct h2_stream *s);
/* Its reply is complete or given up; what waits in s->out is still sent. */
void h2_end_request(struct h2_stream *s);
/* Tells the client that the stream is over, and drops what was to be sent. */
void h2_reset(struct h2_stream *s, uint32_t code);

static inline bool h2_is_over(const struct h2_stream *s)
{
    return s->request.reply == REPLY_OVER;
}

/* server_h2_reply.c */
void h2_set_reply_callbacks(nghttp2_session_callbacks *on);
void h2_report_drained(struct h2_conn *c);
void h2_reply_head(struct request *r, int64_t length);
void h2_reply_body_begin(struct request *r);
void h2_reply_body_end(struct request *r);
void h2_reply_end(struct request *r);
void h2_reply_abort(struct request *r);

/* server_h2_guard.c: each says whether it is too much. */
enum server_flood h2_guard_frame(struct h2_guard *g, const struct server_limits *l,
                                 const struct h2_frame *f);
enum server_flood h2_guard_empty(struct h2_guard *g, const struct server_limits *l);
enum server_flood h2_guard_reset(struct h2_guard *g, const struct server_limits *l);
enum server_flood h2_guard_glitch(struct h2_guard *g, const struct server_limits *l);

#endif
