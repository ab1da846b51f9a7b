/* content.h - collects the content of an answer as the array that upstream takes back.
 *
 *   block_start, deltas, block_stop  -->  {"type":"thinking",...},{"type":"text",...},...
 *
 * Needed when the same content has to be sent again: to go on after pause_turn, and to give a
 * client's tool call the thinking back that led to it. Members that stand only in answers are left
 * out: upstream refuses them as extra inputs.
 */
#ifndef CCPROXY_LLM_CONTENT_H
#define CCPROXY_LLM_CONTENT_H

#include "llm/event.h"

struct content {
    struct buf json;              /* finished blocks, separated by commas */
    struct buf head, body, extra; /* of the open block; see content.c */
    struct buf call;              /* id of the first call of a client's tool, or empty */
    enum event_block kind;        /* of the open block */
    bool has_input;               /* deltas of its input have come */
    bool has_thinking;
    bool spoiled; /* too large, or something in it cannot be sent back */
};

/* max: bytes of the array. */
void content_init(struct content *c, size_t max);
void content_done(struct content *c);
/* Starts over, for the next round of an answer. */
void content_clear(struct content *c);
/* One event that answer_track accepted. */
void content_take(struct content *c, const struct event *e);
/* The blocks as JSON values between commas; absent when spoiled or empty. */
struct str content_blocks(const struct content *c);

#endif
