/* spans.h - spans of sampled requests on their way from the workers to the exporter.
 *
 *   worker n --spans_put--> ring n  [ tail ..... head ]  --scribe: exporter.c--> collector
 *                                                            \--> spans_release
 *
 * A span stays until the collector has taken it, so a scribe that is killed leaves it to the next one;
 * what the collector took without its answer being seen is sent twice, with the same ids. A ring that is
 * full drops and counts: nobody waits for a collector.
 */
#ifndef CCPROXY_STORE_SPANS_H
#define CCPROXY_STORE_SPANS_H

#include "store/journal.h"

enum { SPANS_RINGS = RINGS_MAX, SPANS_EACH = 2048, SPAN_ID = 16, SPAN_TRACE = 32 };

enum span_kind { SPAN_SERVER = 2, SPAN_CLIENT = 3 }; /* OTLP's numbers */

/* What a SERVER span and a CLIENT span hold: a request; an attempt to have Claude answer it. Names,
 * numbers and times only: nothing of what was said, and no credential. Absent texts and numbers below
 * 0 are not known. */
struct span {
    enum span_kind kind;
    char trace[SPAN_TRACE], id[SPAN_ID]; /* lower-case hex */
    char parent[SPAN_ID];                /* when has_parent */
    bool has_parent;
    bool failed;               /* the status is an error */
    uint64_t start_us, end_us; /* since 1970, as these; 0: it never came to that */
    uint64_t received_us;      /* SERVER: the request was whole */
    uint64_t sent_us;          /* SERVER: the first attempt began */
    uint64_t first_event_us;   /* CLIENT: the answer began */
    uint64_t first_token_us;   /* CLIENT: the first piece of a streamed answer's content */
    int64_t input, cache_read, cache_write, output,
        reasoning;                                   /* CLIENT: tokens, as spans count them */
    int64_t max_tokens;                              /* CLIENT */
    int64_t cost_micro_usd;                          /* SERVER */
    int32_t status;                                  /* of HTTP; 0: none */
    uint32_t attempt;                                /* CLIENT: 1 is the first; SERVER: all */
    uint16_t port;                                   /* CLIENT: of the upstream */
    struct journal_text request_id;                  /* CLIENT: upstream's */
    struct journal_text client, method, path, route; /* SERVER */
    struct journal_text host, answer_id, answer_model, finish; /* CLIENT */
    struct journal_text model; /* as sent upstream; SERVER: as asked */
    struct journal_text error; /* a row of fail.def */
};

struct spans;

struct spans *spans_new(void);
void spans_free(struct spans *s);
/* A number for this server's life. */
uint64_t spans_server(const struct spans *s);

/* For the one process that writes this ring. False: there was no room, and it is counted. */
bool spans_put(struct spans *s, unsigned ring, const struct span *span);

/* For the scribe: spans from tail to head wait; they may be read until they are released. */
uint64_t spans_tail(const struct spans *s, unsigned ring);
uint64_t spans_head(const struct spans *s, unsigned ring);
const struct span *spans_at(const struct spans *s, unsigned ring, uint64_t position);
void spans_release(struct spans *s, unsigned ring, uint64_t tail);
/* What became of those that it took. */
void spans_count(struct spans *s, uint64_t exported, uint64_t refused);

/* Over all rings, since the start. */
uint64_t spans_waiting(const struct spans *s);
uint64_t spans_exported(const struct spans *s);
uint64_t spans_dropped(const struct spans *s); /* no room, or the collector refused them */

#endif
