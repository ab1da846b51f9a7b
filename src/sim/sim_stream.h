/* sim_stream.h - an answer as bytes: one JSON message, or server-sent events one by one.
 *
 * Between two events only a cursor is kept; an answer that has to wait is packed into one block of
 * memory (about 1 KiB), so that thousands of slow streams are cheap.
 */
#ifndef CCPROXY_SIM_SIM_STREAM_H
#define CCPROXY_SIM_SIM_STREAM_H

#include "base/buf.h"
#include "sim/sim_answer.h"

struct sim_cursor {
    enum {
        CURSOR_START,
        CURSOR_BLOCK,
        CURSOR_PING,
        CURSOR_DELTA,
        CURSOR_BLOCK_STOP,
        CURSOR_DELTA_LAST,
        CURSOR_STOP,
        CURSOR_END,
    } at;

    size_t block;
    size_t offset;    /* in the block's text and tail */
    bool first_delta; /* of a tool: the empty piece has been sent */
};

/* Appends the next event. False, and nothing appended, when there is none left. */
bool sim_stream_next(const struct sim_answer *an, struct sim_cursor *c, struct buf *out);
/* The whole answer as a Message. */
void sim_stream_message(const struct sim_answer *an, struct buf *out);
/* A copy in one allocation (mem_free); tails stay borrowed. */
struct sim_answer *sim_stream_pack(const struct sim_answer *an);

#endif
