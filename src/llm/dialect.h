/* dialect.h - how one client API is read into Messages, and how an answer is written back in it.
 *
 *   client body --decode--> messages_request          event --event--> client bytes
 *                \--> request_error                    end --finish--> the rest, or the whole body
 *
 * A dialect is pure: bytes in, bytes out, no I/O, no clock; what varies comes in through the
 * arguments. Two arenas: `keep` lives as long as the exchange, `scratch` only until the request
 * can no longer be sent again; an encoder may hold on to keep alone.
 */
#ifndef CCPROXY_LLM_DIALECT_H
#define CCPROXY_LLM_DIALECT_H

#include "llm/event.h"
#include "llm/messages.h"
#include "llm/recall.h"

/* An error in a client's API: for OpenAI {"error":{message,type,param,code}}. Plain text, not
 * escaped. */
struct api_error {
    int status;
    struct str type;
    struct str code;  /* absent: null */
    struct str param; /* absent: null */
    struct str message;
};

enum request_fault {
    REQUEST_INVALID,         /* 400 */
    REQUEST_MODEL_NOT_FOUND, /* 404 */
    REQUEST_UNPARSABLE,      /* 400: not a JSON object */
};

/* Why a request was refused. Spans live in scratch or are constants. */
struct request_error {
    enum request_fault fault;
    struct str code, param, message;
};

struct decode_options {
    const struct models *models;
    const struct recall *recall;       /* NULL: nothing is recalled */
    const struct model_alias *aliases; /* the client's own names for models */
    size_t n_aliases;
    int64_t default_max_tokens; /* 0: the model's maximum */
    struct str path_model;      /* where the URL names the model: for bodies that do not; plain */
    struct str betas;           /* the client's anthropic-beta field, or absent */
    bool strict;                /* what would be dropped is refused */
    bool auto_cache;            /* prompts are cached unless the client marks by itself */
    bool unsampled;             /* upstream's API version has no sampling, for any model */
    bool fast_mode;             /* speed "fast", which costs more, may be asked for */
};

struct decoded {
    struct messages_request *request;
    const struct model *model; /* of the request */
    enum model_match match;
    struct str asked_model; /* the client's name for the model, plain text, in keep */
    bool stream;
    uint64_t home; /* requests of one home go to one upstream key, for its cache; 0: none */
    struct str max_tokens_name; /* the client's field for it; absent when it set none */
    struct str dropped; /* "temperature, seed": named in x-ccproxy-dropped; absent when none */
    void *state;        /* the dialect's own, in keep, for its encoder */
};

struct encoder_options {
    bool stream;
    struct str id;    /* random part, for dialects whose ids are ours, in keep */
    int64_t created;  /* seconds since 1970 */
    size_t whole_max; /* bytes of an assembled answer */
};

struct encoder; /* the dialect's own */

struct dialect {
    const char *name;
    struct str stream_type; /* content type of streamed answers */

    /* Reads a client's request. doc is parser memory. False with *ret_error. */
    bool (*decode)(const struct decode_options *o, struct json *doc, struct str body,
                   struct arena *keep, struct arena *scratch, struct decoded *ret,
                   struct request_error *ret_error);

    /* One encoder per answer, in keep. */
    struct encoder *(*open)(struct arena *keep, const struct decoded *d,
                            const struct encoder_options *o);
    /* One event, after answer_track accepted it. Streamed: frames are appended to out; whole: out
     * is not touched. False when out or the assembled answer is full. */
    bool (*event)(struct encoder *e, const struct answer *a, const struct event *ev,
                  struct buf *out);
    /* After EVENT_MESSAGE_STOP: the last frames, or the whole body. */
    bool (*finish)(struct encoder *e, const struct answer *a, struct buf *out);
    /* Gives back what the encoder holds outside of keep. */
    void (*close)(struct encoder *e);

    /* A frame that ends a broken stream; a comment that keeps a silent one alive; an error body. */
    void (*error_frame)(const struct api_error *err, struct buf *out);
    void (*keepalive)(struct buf *out);
    void (*error_body)(const struct api_error *err, struct buf *out);
};

extern const struct dialect dialect_chat;        /* OpenAI Chat Completions */
extern const struct dialect dialect_completions; /* OpenAI Completions, the legacy API */

/* The body of GET /v1/models and /v1/models/{id} in OpenAI's shape. False: no such model. */
void openai_models_list(const struct models *m, struct buf *out);
bool openai_models_one(const struct models *m, struct str name, struct arena *scratch,
                       struct buf *out);
/* GET /v1/models in Anthropic's shape: the Claude models alone. */
void anthropic_models_list(const struct models *m, struct buf *out);
bool anthropic_models_one(const struct models *m, struct str name, struct arena *scratch,
                          struct buf *out);
/* {"type":"error",...}, of the refusals that its clients can meet there: 403 and 404. */
void anthropic_error_body(const struct api_error *err, struct buf *out);
/* {"error":{...}} in OpenAI's shape. */
void openai_error_body(const struct api_error *err, struct buf *out);

#endif
