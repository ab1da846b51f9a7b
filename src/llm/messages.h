/* messages.h - the hub: one request in the terms of Anthropic's Messages API.
 *
 * Every dialect decodes into this, every platform writes it out. It is a tree of small nodes whose
 * strings are spans of what the client sent: the inside of JSON strings, escapes as they stand (so
 * they can be spliced), or whole JSON values. Each field says which:
 *
 *   inside   what stands between the quotes of a JSON string
 *   value    a whole JSON value
 *
 * Nodes live in the request's arena; spans borrow from the client's body or from that arena.
 * messages_write is deterministic: the same tree gives the same bytes.
 */
#ifndef CCPROXY_LLM_MESSAGES_H
#define CCPROXY_LLM_MESSAGES_H

#include "base/arena.h"
#include "base/rope.h"
#include "llm/models.h"

enum block_type {
    BLOCK_TEXT,        /* text */
    BLOCK_IMAGE,       /* source */
    BLOCK_DOCUMENT,    /* source, title */
    BLOCK_TOOL_USE,    /* id, name, input */
    BLOCK_TOOL_RESULT, /* id, and text or content; is_error */
    BLOCK_THINKING,    /* text, signature */
    BLOCK_REDACTED,    /* data in text */
    BLOCK_RAW,         /* value: an Anthropic block, passed through */
};

enum source_type { SOURCE_BASE64, SOURCE_URL, SOURCE_TEXT, SOURCE_FILE };

struct block {
    struct block *next;
    enum block_type type;
    struct str text;       /* inside; for a source: its data, url, text or file id */
    struct str id;         /* inside */
    struct str name;       /* inside */
    struct str input;      /* value */
    struct str value;      /* value; without its cache_control */
    struct str signature;  /* inside */
    struct str title;      /* inside */
    struct str media_type; /* inside */
    enum source_type source;
    struct block *content; /* of a tool result */
    struct str cache;      /* value of cache_control, or absent */
    bool is_error;
};

struct blocks { /* a list that is appended to */
    struct block *first, *last;
};

enum role { ROLE_USER, ROLE_ASSISTANT, ROLE_SYSTEM };

struct turn {
    struct turn *next;
    enum role role;
    struct blocks blocks;
};

struct tool {
    struct tool *next;
    struct str name;        /* inside; as sent upstream */
    struct str description; /* inside, or absent */
    struct str schema;      /* value */
    struct str value;  /* value: an Anthropic tool, passed through whole; then the rest is unused */
    struct str extras; /* members to splice, ",\"defer_loading\":true", or absent */
    struct str cache;  /* value of cache_control, or absent */
    bool strict;
    bool server; /* run by upstream, not by the client */
};

enum tool_choice { CHOICE_NONE_GIVEN, CHOICE_AUTO, CHOICE_ANY, CHOICE_TOOL, CHOICE_NONE };

enum thinking {
    THINKING_NONE_GIVEN,
    THINKING_ADAPTIVE,
    THINKING_ENABLED,
    THINKING_DISABLED,
    THINKING_BETWEEN
};

struct messages_request {
    const struct model *model;
    int64_t max_tokens;
    struct blocks system;
    struct turn *turns, *last_turn;
    struct tool *tools, *last_tool;
    enum tool_choice choice;
    struct str choice_name; /* inside */
    bool no_parallel;
    struct str *stops; /* insides */
    size_t n_stops;
    struct str temperature, top_p, top_k; /* values, or absent */
    struct str user_id;                   /* inside, or absent */
    struct str service_tier;              /* inside, or absent */
    bool fast;                            /* speed: fast */
    struct str betas;         /* of the anthropic-beta field, comma-separated, or absent */
    struct str block_binding; /* value of thinking.block_binding, or absent */
    enum thinking thinking;
    int64_t thinking_budget;
    bool show_thinking;    /* display: summarized */
    uint32_t effort;       /* one of enum effort, or 0 */
    struct str format;     /* the schema of output_config.format, or absent */
    struct str cache;      /* value of the top-level cache_control, or absent */
    bool whole;            /* ask for one answer in one piece, not for a stream */
    struct hashed *hashed; /* recall.c: how far the conversation has been hashed */
};

/* Appends to a list. */
struct block *blocks_add(struct arena *a, struct blocks *list, enum block_type type);
void blocks_move_first(struct blocks *from, struct blocks *into);
/* The last turn when it has that role, else a new one: neighbours of one role become one turn. */
struct turn *messages_turn(struct arena *a, struct messages_request *m, enum role role);
struct tool *messages_add_tool(struct arena *a, struct messages_request *m);

/* inside: asks for JSON of a schema, whose text follows. */
extern const struct str messages_schema_words;

/* Whether upstream runs tools itself: such an answer may pause (pause_turn). */
bool messages_has_server_tools(const struct messages_request *m);
/* Takes thinking out; a turn that had nothing else says "(empty)". */
void turn_strip_thinking(struct turn *t, struct arena *a);
void messages_strip_thinking(struct messages_request *m, struct arena *a);

/* The body of POST /v1/messages. Large spans are borrowed. */
void messages_write(const struct messages_request *m, struct rope *out);

#endif
