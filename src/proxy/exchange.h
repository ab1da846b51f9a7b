/* exchange.h - one request and its answer, from the client's head to the last byte and the log
 * line.
 *
 * Who owns what:
 *
 *   request    the transport (http/server); NULL once the reply is over or the client gone
 *   body       the exchange, taken from the request; every span of the upstream body points into it
 *   scratch    arena: what is needed while the request can still be sent (again): the hub's tree
 *   keep       arena: what is needed to the end: ids, the encoder, names for the log
 *   upstream   rope: the body as sent upstream; borrows from body and scratch
 *   call       http/client; NULL when none is open
 *   pending    bytes of an upstream event that is not complete, or of an error body
 *
 * body, scratch and upstream are given back as soon as the answer has begun (exchange_commit), so
 * that an open stream costs a few kilobytes.
 */
#ifndef CCPROXY_PROXY_EXCHANGE_H
#define CCPROXY_PROXY_EXCHANGE_H

#include "http/client.h"
#include "http/server.h"
#include "llm/content.h"
#include "llm/dialect.h"
#include "llm/upstream_error.h"
#include "llm/upstream_limits.h"
#include "obs/trace.h"
#include "policy/address.h"
#include "policy/auth.h"
#include "proxy/fail.h"
#include "proxy/retry.h"
#include "wire/sse.h"

struct proxy;
struct endpoint;
struct span;

/* The steps, in the order in which an exchange walks them; exchange.c has the table. */
enum step_id {
    STEP_IDENTIFY,     /* which endpoint, which request id */
    STEP_AUTHENTICATE, /* who is asking */
    STEP_RECEIVE,      /* waits for the body */
    STEP_ANSWER,       /* endpoints that need no upstream reply here and are done */
    STEP_DECODE,       /* the client's dialect becomes a Messages request */
    STEP_ADMIT,        /* limits and budgets */
    STEP_ROUTE,        /* which key; waits out the pause before a retry */
    STEP_SEND,         /* waits for the first event, or for the error that comes instead */
    STEP_RELAY,        /* moves events until message_stop */
    STEP_SETTLE,       /* the client has everything; waits for the upstream's end of message */
    STEP_END,          /* exchange_end has run */
};

enum step_result {
    STEP_NEXT, /* go on with the next step of the table */
    STEP_WAIT, /* a callback will go on */
    STEP_OVER, /* the exchange has ended */
};

/* What the upstream's head announces. */
enum answer_kind {
    ANSWER_ERROR,  /* not a success, or nothing yet */
    ANSWER_STREAM, /* 200 and an event stream */
    ANSWER_WHOLE,  /* 200 and one message, as asked for */
};

struct exchange {
    struct proxy *proxy;
    struct list node; /* proxy->open */
    struct request *request;
    enum step_id step;

    const struct endpoint *endpoint;
    const struct client *client;
    struct str id;          /* x-request-id */
    bool anthropic;         /* the client speaks Anthropic's API: it sent anthropic-version */
    struct str betas;       /* anthropic-beta: the client's, then what of it is sent */
    struct address address; /* the client's, as far as proxies are trusted */
    struct str origin;      /* of the page that calls, when it may; else absent */
    struct str wanted;      /* fields that it wants to send, of a preflight */
    struct door *door;      /* a refusal that is held back; see door.c */
    struct trace trace;
    struct str tracestate;
    bool traced;       /* its spans are exported */
    struct span *span; /* of the attempt under way, in keep; see traces.c */
    enum h1_method verb;
    struct str method, path; /* as they came, for the log */
    struct str protocol;
    struct str rest; /* of the path, behind the endpoint's own: an id; or a model in it */

    struct arena keep, scratch;
    struct buf body;
    struct rope upstream;
    struct decoded decoded;
    bool asks_whole; /* the upstream is asked for one message, not for a stream */
    bool resumable;  /* the answer may pause and be continued: the request is kept to the end */
    bool keeps;      /* thinking in the answer goes into the stash */
    unsigned rounds; /* how often the answer was continued */
    bool adapted;    /* the request was changed after upstream refused it */
    uint32_t unable; /* what the model refused then: enum model_can */
    struct fingerprint binding;
    struct content content; /* of this round, when resumable or keeps */
    struct encoder *encoder;
    struct answer answer;

    /* The current attempt. */
    struct call *call;
    bool paused; /* the client is behind, so the upstream is not read */
    unsigned attempts;
    size_t key;
    uint64_t keys_tried;
    int upstream_status;

    enum answer_kind upstream_answer;
    enum should_retry should_retry;
    int64_t retry_after_us;
    struct str upstream_id;         /* request-id of the upstream */
    struct upstream_limits *limits; /* in keep; NULL: it said nothing of them */
    struct upstream_limits own_limits;
    uint64_t body_kib;           /* of the body, held against the client; see admit_body */
    uint64_t lowered_to;         /* the answer's bound, when it was cut to what is left; or 0 */
    struct admission *admission; /* what was taken and is to be settled, in keep; see admit.c */
    struct sse sse;
    struct buf pending;

    /* Time, in microseconds on clock_us(). One timer, set to the earliest of these; see watch.c. */
    struct timer timer;
    uint64_t started_us, total_at_us;
    uint64_t phase_at_us; /* end of waiting for a place, a retry pause, first byte, or settling */
    uint64_t progress_us; /* last event that carried something */
    uint64_t sent_us;     /* last bytes given to the client */
    uint64_t first_event_us; /* since started_us */

    uint64_t received_us;    /* the request is whole; clock_precise_us() */
    uint64_t waited_us;      /* how long, for a free place */
    uint64_t called_us;      /* the attempt under way was sent; 0: none */
    uint64_t sent_at_us;     /* the first attempt was */
    uint64_t first_token_us; /* first piece of a streamed answer's content */

    bool streaming;                    /* counts among proxy->n_streams */
    bool is_page;                      /* the answer is for a browser to show */
    struct scrape *scrape;             /* of GET /metrics, while it is written; in keep */
    bool openmetrics;                  /* wanted in that format */
    const struct model *counted_model; /* NULL, or whose label's value this is: */
    unsigned model_value;
    size_t relayed_chars;         /* of answer text, to estimate what a broken answer has cost */
    uint64_t bytes_in, bytes_out; /* of the bodies */
    uint64_t budget_used_ppm;     /* of the client's budget that is nearest its end, when it came */
    int status;                   /* sent to the client */
    enum fail ending;
    struct deferred funeral;
};

/* A client's head has come: makes the exchange and runs it. */
void exchange_begin(struct proxy *p, struct request *r);
/* The transport has refused a message that never became a request: logs and answers it. */
void exchange_refuse(struct proxy *p, struct request *r, enum fail why);
/* A request id for who sent none that can be kept. */
struct str exchange_make_id(struct exchange *x);
/* Something a step waited for has come: leaves that step for the next one and runs on. */
void exchange_continue(struct exchange *x);
/* Goes to a step that is not the next one. Asserts that the table allows it. */
void exchange_goto(struct exchange *x, enum step_id to);
/* What follows is about this exchange: its step is what is being done. */
void exchange_doing(const struct exchange *x);
/* Runs the current step and those that follow until one waits. */
void exchange_run(struct exchange *x);

/* Ends it badly: the client gets the row's error, as a body or, when the answer has begun, as a
 * frame. The result is STEP_OVER, for a step to return. */
enum step_result exchange_fail(struct exchange *x, enum fail why);
/* The same with something more exact to say; absent parts come from the row. */
enum step_result exchange_fail_with(struct exchange *x, enum fail why, struct str code,
                                    struct str param, struct str message);
/* Ends it; called once, by whoever knows that nothing is left to do. */
void exchange_end(struct exchange *x, enum fail ending);

/* The client has its answer, or is gone: nothing more is written to it. */
void exchange_part(struct exchange *x);

/* Whose thinking is recalled and kept. */
struct recall exchange_recall(const struct exchange *x);
/* Notes what the thinking of the answer is bound to, when it is kept: the request as it is now. */
void exchange_bind(struct exchange *x);
/* Writes the request anew after it was changed. */
void exchange_rewrite(struct exchange *x);
/* Tokens of the answer; of one that broke off, by what was relayed of it. */
int64_t exchange_output_tokens(const struct exchange *x, bool *ret_estimated);
/* What the answer has cost so far, in millionths of a dollar; there is one. */
int64_t exchange_cost(const struct exchange *x);
/* The request cannot be sent again from here on: its memory goes. */
void exchange_commit(struct exchange *x);

/* steps.c */
enum step_result step_identify(struct exchange *x);
enum step_result step_receive(struct exchange *x);
enum step_result step_answer(struct exchange *x);
enum step_result step_decode(struct exchange *x);
enum step_result step_route(struct exchange *x);
enum step_result step_send(struct exchange *x);
/* door.c */
enum step_result step_authenticate(struct exchange *x);
/* relay.c */
enum step_result step_relay(struct exchange *x);
enum step_result step_settle(struct exchange *x);
/* The handler of upstream calls; ctx is the exchange. */
extern const struct call_handler relay_handler;
/* An attempt failed: again, or the end. error is absent unless the upstream gave one. */
void relay_failed(struct exchange *x, enum fail why, const struct upstream_error *error);

/* watch.c: (re)arms the timer; call after changing a deadline or a step. */
void watch_init(struct exchange *x);
void watch_arm(struct exchange *x);
void watch_stop(struct exchange *x);

/* reply.c: heads that every answer shares. */
void reply_head(struct exchange *x, int status, struct str content_type);
void reply_whole(struct exchange *x, int status, struct str content_type, struct str body);
void reply_error(struct exchange *x, enum fail why, const struct api_error *err);

#endif
