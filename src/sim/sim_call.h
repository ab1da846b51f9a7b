/* sim_call.h - what the files of the simulator share: its state, and a request under way.
 *
 * A call lives as long as its request, and longer on a stream that a script has taken over:
 *
 *   on_head: call_new, request->user --> call_end at reply_end, on_gone, or the end of the stream
 *
 * Whatever the head says is judged in on_head, since it is gone afterwards; the reply waits for the
 * body. call_end may be called from the call's own timer; the memory goes at the end of the turn.
 */
#ifndef CCPROXY_SIM_SIM_CALL_H
#define CCPROXY_SIM_SIM_CALL_H

#include "http/server.h"
#include "sim/sim.h"
#include "sim/sim_stream.h"

enum { SIM_ID = 32 };

struct sim_script;
struct sim_play;
struct sim_log;
struct sim_record;

struct sim {
    struct loop *loop;
    struct sim_options options;
    struct server *server;
    struct server_handler handler;
    struct json doc;      /* of the request being answered */
    struct arena scratch; /* for this request; emptied behind it */
    struct buf out;
    struct buf filler; /* words for answers that are lengthened */
    struct prompt_cache *cache;
    struct sim_script *script; /* with options.control, else NULL */
    struct sim_log *log;       /* likewise */
    struct list calls;
    uint64_t id_seed, n_ids;
    uint64_t stamp_s; /* of the text below: it is made once a second */
    char stamp[24];
    uint64_t served, aborted;
};

struct sim_call {
    struct list node;
    struct sim *sim;
    struct request *request;       /* NULL when it has been answered, or hijacked */
    const struct sim_route *route; /* NULL: refused */
    struct str version, betas;
    struct str path, query;   /* of GET */
    struct sim_error refused; /* status 0: the head is good */
    struct arena arena;       /* for the spans above */
    struct sim_record *record;
    struct timer timer;
    struct deferred dead;
    struct sim_answer *answer; /* packed, for one that waits */
    struct sim_cursor cursor;
    bool streams;
    struct sim_play *play; /* a scripted answer */
};

/* Answers a request and ends its call, at once or later. */
typedef void endpoint_fn(struct sim *s, struct request *r, struct sim_call *c);

struct sim_route {
    const char *method, *path; /* a path that ends in a slash: and what is behind it */
    endpoint_fn *fn;

    enum { ROUTE_API, ROUTE_OPEN, ROUTE_CONTROL } kind; /* API: key and version are needed */
};

struct sim_call *call_new(struct sim *s, struct request *r);
/* The request is over; gone: the client left before its answer was complete. */
void call_end(struct sim_call *c, bool gone);

/* The head that every answer has, with the request's id. length as in reply_head_end. */
void sim_reply_head(struct sim *s, struct request *r, int status, struct str type, int64_t length,
                    struct str id);
struct str sim_new_id(struct sim *s, char out[SIM_ID]);
void sim_reply_error(struct sim *s, struct request *r, const struct sim_error *e);
void sim_reply_json(struct sim *s, struct request *r, struct str json);
struct sim_error sim_refusal(int status, const char *type, struct str message);

/* sim_send.c: sends an answer, now or bit by bit. */
void sim_send(struct sim *s, struct request *r, struct sim_call *c, const struct sim_answer *an,
              bool streams);
void sim_send_drained(struct sim_call *c);

#endif
