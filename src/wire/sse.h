/* sse.h - splits a byte stream into server-sent events (WHATWG HTML section 9.2).
 *
 * LF, CR and CRLF end lines, in any mixture and across any split; comments, unknown fields and a
 * leading byte order mark are skipped; several data lines are joined by LF. The caller keeps what
 * was not consumed and hands it in again with more behind it; the splitter remembers how far it has
 * looked, so that a line of megabytes that comes byte by byte costs linear time.
 */
#ifndef CCPROXY_WIRE_SSE_H
#define CCPROXY_WIRE_SSE_H

#include "base/str.h"

struct sse {
    size_t scanned; /* bytes of the current input already looked at */
    size_t line_at; /* start of the line being looked at */
    size_t max;     /* an event longer than this is an error */
    bool skip_lf;   /* the last line ended with CR: an LF now belongs to it */
    bool started;   /* past where a byte order mark may stand */
};

struct sse_event {
    struct str name; /* absent when there is no event field */
    struct str data; /* absent for a comment */
    bool comment;    /* a block of nothing but comments: traffic, but no event */
};

enum sse_result {
    SSE_EVENT, /* *ret is filled, *ret_used bytes are done with once the event has been used */
    SSE_MORE,  /* no whole event in the input */
    SSE_BAD,   /* longer than max */
};

void sse_init(struct sse *s, size_t event_max);

/* Looks for the next event in the n bytes at p, which start where the last event ended. The bytes
 * may be rearranged in place to join data lines; ret points into them. */
enum sse_result sse_next(struct sse *s, char *p, size_t n, struct sse_event *ret, size_t *ret_used);

#endif
