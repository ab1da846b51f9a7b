/* chat_answer.h - private to the encoder of Chat Completions: its state, shared by the two forms.
 *
 *   chat_encode.c   what both forms share: names, finish reason, usage, code fences, annotations
 *   chat_stream.c   events as chunks
 *   chat_whole.c    events as one body
 *   chat_stop.c     stop sequences that upstream does not take
 *
 * completions_encode.c has the two forms of the older API.
 *
 * All strings are insides of JSON strings unless said otherwise; they live in keep.
 */
#ifndef CCPROXY_LLM_CHAT_ANSWER_H
#define CCPROXY_LLM_CHAT_ANSWER_H

#include "llm/chat.h"

enum { FENCE_HOLD = 64, NOTES_MAX = 256 };

/* Takes a code fence off a text that comes in pieces: what may be part of one is held back. */
struct fence {
    enum { FENCE_START, FENCE_INSIDE, FENCE_NONE } state;

    size_t n;
    char held[FENCE_HOLD];
};

/* A cited source: {"type":"url_citation",...} once its text is complete. */
struct note {
    struct note *next;
    struct str url, title;
    uint64_t start, end; /* characters of the content */
    bool complete;
};

struct encoder;

/* Text on its way out, looked through for stop sequences: what may be the beginning of one waits. */
struct stop_watch {
    const struct chat_stop *stops;
    struct buf text;
    bool met; /* the answer has ended */
};

/* What one form does with the pieces of an answer. False: full. */
struct chat_form {
    const char *id_prefix;
    bool streams;
    bool (*start)(struct encoder *e, struct buf *out);
    bool (*text)(struct encoder *e, struct str inside, struct buf *out);
    bool (*thinking_start)(struct encoder *e, int64_t index, struct buf *out);
    bool (*thinking)(struct encoder *e, int64_t index, struct str inside, struct buf *out);
    bool (*signature)(struct encoder *e, int64_t index, struct str inside, struct buf *out);
    bool (*thinking_stop)(struct encoder *e, int64_t index, struct buf *out);
    bool (*redacted)(struct encoder *e, int64_t index, struct str data, struct buf *out);
    /* A call of the client's tool: its k-th. */
    bool (*call_start)(struct encoder *e, uint32_t k, struct str id, struct str name,
                       struct buf *out);
    bool (*call_input)(struct encoder *e, uint32_t k, struct str inside, struct buf *out);
    bool (*call_stop)(struct encoder *e, uint32_t k, struct buf *out);
    bool (*finish)(struct encoder *e, const struct answer *a, struct buf *out);
};

struct encoder {
    const struct chat_form *form;
    const struct chat_reply *reply;
    struct arena *keep;
    size_t whole_max;
    int64_t created;
    struct str id, model; /* set by message_start */
    struct str fallback_id, fallback_model;
    struct str tier;     /* absent when it is not to be told */
    struct str refusal;  /* absent when there is none */
    struct str head;     /* streamed: everything before the delta */
    size_t head_fixed;   /* the part of it before "choices" */
    bool custom;         /* the open call is of a custom tool */
    bool input_seen;     /* the open call has had input */
    bool signature_seen; /* of the open thinking block */
    bool thought_text;   /* the open thinking block has had text */
    bool any_text;       /* content was produced */
    struct fence fence;
    struct stop_watch *stop; /* NULL: nothing to look for */
    struct note *notes, *last_note;
    size_t n_notes;
    uint64_t chars, block_chars;                /* of content so far; when the open block began */
    struct buf input;                           /* of a custom call, until it is complete */
    struct buf text, reasoning, details, calls; /* whole */
};

extern const struct chat_form chat_form_stream, chat_form_whole;

/* An encoder that writes in a given form. */
struct encoder *chat_open_form(struct arena *keep, const struct decoded *d,
                               const struct encoder_options *o, const struct chat_form *form);

/* completions_encode.c */
struct encoder *completions_open(struct arena *keep, const struct decoded *d,
                                 const struct encoder_options *o);

/* chat_stop.c: how many bytes at the start of the text cannot belong to a stop sequence any more.
 * Notes it when one is complete: then these are the last ones. */
size_t chat_stop_find(struct stop_watch *w);

/* chat_stream.c: the head of all chunks, up to and with what opens the choice. */
void chat_make_head(struct encoder *e, const char *object, const char *choice);
/* The chunk with the usage, if the client wants it, and the end of the stream. */
bool chat_write_end(const struct encoder *e, const struct answer *a, struct buf *out);

/* chat_whole.c */
bool chat_whole_text(struct encoder *e, struct str inside, struct buf *out);

/* Appends several spans at once; false, and nothing appended, when out is full. */
bool chat_put(struct buf *out, const struct str *parts, size_t n);
#define PUT(out, ...)                                                                              \
    chat_put((out), (const struct str[]){__VA_ARGS__},                                             \
             sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))

enum { DECIMAL = 24 };
struct str chat_decimal(char out[DECIMAL], int64_t n);

/* {"id":..,"object":..,"created":..,"model":.. and no end */
bool chat_write_ids(const struct encoder *e, const char *object, struct buf *out);
const char *chat_finish_reason(const struct encoder *e, const struct answer *a);
/* {"prompt_tokens":...} */
bool chat_write_usage(const struct answer *a, struct buf *out);
/* [{"type":"url_citation",...}]; only when e->notes. */
bool chat_write_notes(const struct encoder *e, struct buf *out);

#endif
