/* event.h - what an upstream stream says, one event at a time, and what it adds up to.
 *
 * An event borrows from its JSON text, which lives until the next one. Strings are insides of JSON
 * strings, as in messages.h, so that a delta is spliced into the client's frame without being read.
 */
#ifndef CCPROXY_LLM_EVENT_H
#define CCPROXY_LLM_EVENT_H

#include "llm/messages.h"
#include "wire/json.h"

enum event_type {
    EVENT_MESSAGE_START, /* id, model, usage */
    EVENT_BLOCK_START,   /* index, block, id, name, text (of redacted: data), input, content */
    EVENT_TEXT,          /* index, text */
    EVENT_JSON,          /* index, text: a piece of the tool's input */
    EVENT_THINKING,      /* index, text */
    EVENT_SIGNATURE,     /* index, text */
    EVENT_CITATION,      /* index, input: the citation as a value */
    EVENT_BLOCK_STOP,    /* index */
    EVENT_MESSAGE_DELTA, /* stop_reason, stop_sequence, usage */
    EVENT_MESSAGE_STOP,
    EVENT_PING,
    EVENT_ERROR,   /* error_type, error_code, text: the message */
    EVENT_UNKNOWN, /* an event or delta of a kind not known here: skipped */
};

enum event_block {
    EVENT_BLOCK_TEXT,
    EVENT_BLOCK_TOOL_USE, /* the client's tools only */
    EVENT_BLOCK_THINKING,
    EVENT_BLOCK_REDACTED,
    EVENT_BLOCK_HIDDEN, /* server tools, their results, anything unknown: not for the client */
};

enum stop_reason {
    STOP_NONE,
    STOP_END_TURN,
    STOP_SEQUENCE,
    STOP_MAX_TOKENS,
    STOP_CONTEXT_FULL, /* model_context_window_exceeded */
    STOP_TOOL_USE,
    STOP_PAUSE_TURN,
    STOP_REFUSAL,
    STOP_OTHER, /* compaction, and whatever comes */
};

/* Token counts; -1: not said. */
struct usage {
    int64_t input, output, cache_read, cache_write, cache_write_1h, thinking, web_searches;
};

struct event {
    enum event_type type;
    enum event_block block;
    int64_t index;
    struct str id, name, model, text, input;
    struct jval content; /* the whole block, as parsed */
    enum stop_reason stop;
    struct str stop_word, stop_sequence;       /* upstream's own name of stop */
    struct str refusal_category, refusal_text; /* of stop_details */
    struct str service_tier;
    struct str error_type, error_code;
    struct usage usage;
};

/* Reads the data of one server-sent event. False when it is not a JSON object with a string "type".
 * doc is the parser's memory and is overwritten. */
NODISCARD bool event_parse(struct json *doc, struct str data, struct event *ret);

/* Reads an answer that came in one piece as the events that a stream would have had, in order. take
 * is called for each; when it returns false, or the body is no message, the result is false. */
NODISCARD bool event_replay(struct json *doc, struct str body,
                            bool (*take)(void *ctx, const struct event *e), void *ctx);

/* The running state of one answer; every dialect and every record reads it. */
struct answer {
    enum { ANSWER_EMPTY, ANSWER_OPEN, ANSWER_DELTA_SEEN, ANSWER_DONE } state;
    struct usage usage;  /* counts are cumulative: later ones replace */
    struct usage before; /* of the rounds before this one, when the answer was resumed */
    int64_t index_base;  /* blocks of those rounds */
    enum stop_reason stop;
    int64_t block_index; /* of the open block, or -1 */
    enum event_block block;
    uint32_t tool_uses; /* client tools seen so far */
    int64_t n_blocks;   /* blocks seen so far, of all rounds */
};

void answer_init(struct answer *a);
/* Takes one event into account. False when it breaks the protocol (two starts, a delta without a
 * block, anything behind the end): the stream is then an error. */
NODISCARD bool answer_track(struct answer *a, const struct event *e);
/* The answer paused and another request goes on with it: the next message_start opens its next round.
 * Counts of rounds add up, and its blocks are numbered on. */
void answer_resume(struct answer *a);
/* Whether the event is progress (text, input, thinking), unlike pings and comments. */
bool event_is_progress(const struct event *e);

/* input + cache_read + cache_write, unknown counts as 0. */
int64_t usage_prompt_tokens(const struct usage *u);

#endif
