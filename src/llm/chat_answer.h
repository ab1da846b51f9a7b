/* chat_answer.h - private to the encoder of Chat Completions: its state, shared by the two forms.
 *
 *   chat_encode.c   what both forms share: names, code fences, stops, calls
 *   chat_end.c      and what both end with: finish reason, usage, sources
 *   chat_stream.c   events as chunks
 *   chat_whole.c    events as one body
 *
 * All strings are insides of JSON strings unless said otherwise; they live in keep.
 */
#ifndef CCPROXY_LLM_CHAT_ANSWER_H
#define CCPROXY_LLM_CHAT_ANSWER_H

#include "llm/chat.h"

enum { FENCE_HOLD = 64, NOTES_MAX = 256, CITED_MAX = 64 * 1024 };

/* Takes a code fence off a text that comes in pieces: what may be part of one is held back. */
struct fence {
    enum { FENCE_START, FENCE_INSIDE, FENCE_NONE } state;

    size_t n;
    char *held; /* FENCE_HOLD bytes, when fences are looked for */
};

/* A cited source, told once its text is complete. */
struct note {
    struct note *next;
    struct str url, title; /* on the web, */
    struct str raw;        /* or else anywhere: the citation as a value */
    uint64_t start, end;   /* characters of the content */
    bool complete;
};

/* What is known of the end beside its reason; absent: not said. */
struct chat_end {
    struct str refusal; /* for the client, when it is one; and what upstream says of it */
    struct str category, explanation;
    struct str stop; /* the stop that has come, upstream's or one of reply->stops */
};

struct encoder;

/* What one form does with the pieces of an answer. False: full. */
struct chat_form {
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
    struct str tier;      /* absent when it is not to be told */
    struct chat_end *end; /* NULL until something is known */
    struct str head;      /* streamed: everything before the delta */
    size_t head_fixed;    /* the part of it before "choices" */
    bool custom;          /* the open call is of a custom tool */
    /* Of the open call, when its input must be complete before it can be told. */
    const struct chat_name *held;
    bool input_seen;     /* the open call has had input */
    bool signature_seen; /* of the open thinking block */
    bool thought_text;   /* the open thinking block has had text */
    bool any_thought;    /* streamed: some thinking block has had text */
    bool any_text;       /* content was produced */
    struct fence fence;
    bool stream, stopped; /* one of reply->stops has come: the rest is not told */
    size_t n_tail;        /* text held back, since it may begin such a stop */
    char *tail;
    struct note *notes, *last_note;
    size_t n_notes, n_cited;                    /* of all raw ones, bytes */
    uint64_t chars, block_chars;                /* of content so far; when the open block began */
    struct buf input;                           /* of the open call, when it is held */
    struct buf text, reasoning, details, calls; /* whole */
};

extern const struct chat_form chat_form_stream, chat_form_whole;
extern const struct chat_form completion_form_stream, completion_form_whole;

/* Appends several spans at once; false, and nothing appended, when out is full. */
bool chat_put(struct buf *out, const struct str *parts, size_t n);
#define PUT(out, ...)                                                                              \
    chat_put((out), (const struct str[]){__VA_ARGS__},                                             \
             sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))

enum { DECIMAL = 24 };
struct str chat_decimal(char out[DECIMAL], int64_t n);

/* Where the encoder keeps what it learns of the end. */
struct chat_end *chat_end(struct encoder *e);
void chat_refuse_answer(struct encoder *e, const struct event *ev);
/* The refusal, or absent. */
struct str chat_refusal(const struct encoder *e);
/* "finish_reason":"..." and what more is known of the end. */
bool chat_write_finish(const struct encoder *e, const struct answer *a, struct buf *out);
/* {"prompt_tokens":...} */
bool chat_write_usage(const struct answer *a, struct buf *out);
/* A citation of the open text block; its text is complete; all of them as members of an object, the
 * first one behind `before`. */
void chat_add_note(struct encoder *e, struct jval citation);
void chat_complete_notes(struct encoder *e);
bool chat_write_notes(const struct encoder *e, struct str before, struct buf *out);

#endif
