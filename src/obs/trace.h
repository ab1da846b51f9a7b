/* trace.h - the trace that a request belongs to: W3C Trace Context's traceparent.
 *
 *   client --00-TRACE-PARENT-01--> gateway --00-TRACE-SPAN-01--> upstream
 *
 * Source: https://www.w3.org/TR/trace-context-2/
 */
#ifndef CCPROXY_OBS_TRACE_H
#define CCPROXY_OBS_TRACE_H

#include "base/str.h"

enum {
    TRACE_ID = 32,
    TRACE_SPAN = 16,
    TRACEPARENT = 55,
    TRACESTATE_MAX = 512,
    REQUEST_ID_MAX = 128
};

struct trace {
    char id[TRACE_ID];       /* lower-case hex, as all of them */
    char parent[TRACE_SPAN]; /* the caller's span, when has_parent */
    char span[TRACE_SPAN];   /* ours, fresh */
    char flags[2];
    bool has_parent;
    bool known;
};

/* Reads the field's value. False, and not known, when it is absent or breaks the rules; of a version
 * above 00 what 00 has is read (section 4.3). */
bool trace_read(struct str traceparent, struct trace *ret);
/* A client's request id is kept when it is short and visible ASCII: it goes into logs and headers. */
bool trace_takes_request_id(struct str id);
/* Begins a trace of our own, which is sampled in so many of a million cases. */
void trace_begin(uint32_t sampled_ppm, struct trace *ret);
/* Whether it is to be recorded. */
bool trace_is_sampled(const struct trace *t);
/* Gives it a fresh span, for something that happens within. */
void trace_child(struct trace *t);
/* The value for the next hop. */
struct str trace_write(const struct trace *t, char out[TRACEPARENT]);

#endif
