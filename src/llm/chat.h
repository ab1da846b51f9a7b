/* chat.h - private to the Chat Completions dialect: what its files share.
 *
 *   chat_decode.c    the steps of decoding, in their order; the dialect itself
 *   chat_fields.c    the table of top-level fields
 *   chat_settings.c  settings that depend on several fields, or on the model
 *   chat_text.c      refusals, names of what is dropped, blank text
 *   chat_messages.c  roles, turns, tool calls and their results
 *   chat_parts.c     content: text, images, files
 *   chat_shape.c     what those in Anthropic's shape may hold
 *   chat_own.c       parts and tools that have Anthropic's shape already
 *   chat_cache.c     marks for the prompt cache
 *   chat_thinking.c  reasoning that clients hand back; how much is to be thought
 *   chat_tools.c     tools, names, tool_choice
 *   chat_keys.c      properties whose names upstream refuses
 *   chat_schema.c    JSON schemas as upstream accepts them
 *   chat_draft.c     JSON schemas of older drafts
 *   chat_format.c    response_format
 *   completion.c     the legacy API, which shares most of this
 *   chat_answer.h    the way back
 *
 * A `struct chat` lives for one call of decode. Functions that return bool return false after
 * chat_refuse: the first refusal wins and ends the decoding.
 */
#ifndef CCPROXY_LLM_CHAT_H
#define CCPROXY_LLM_CHAT_H

#include "llm/dialect.h"
#include "llm/strmap.h"

/* A property that upstream knows by another name than the client. */
struct chat_key {
    const struct chat_key *next;
    struct str sent, theirs; /* insides */
    struct str plain;        /* the client's, unescaped */
};

/* A tool whose name, kind or properties differ between the client's side and upstream's. */
struct chat_name {
    struct chat_name *next;
    struct str sent;   /* inside, as upstream knows it */
    struct str theirs; /* inside, as the client knows it */
    bool custom;       /* a custom tool: its input is {"input": text} upstream */
    const struct chat_key *keys;
};

/* What the strict schemas of a request have between them: upstream compiles so much and no more. */
struct chat_strict {
    uint32_t tools, optional, unions;
};

/* Which of the APIs that share this code; bits. */
enum chat_api { CHAT = 1, COMPLETIONS = 2, BOTH = CHAT | COMPLETIONS };

enum { CHAT_STOPS_MAX = 4, CHAT_STOP_MAX = 64 };

/* What the encoder must know of the request; in keep. */
struct chat_reply {
    bool include_usage;
    bool functions;      /* the legacy form: function_call instead of tool_calls */
    bool hide_reasoning; /* reasoning.exclude */
    bool tier_asked;
    bool unfence;      /* JSON was asked for in words: a code fence around it is taken off */
    struct str *stops; /* insides: where the text ends though upstream goes on */
    size_t n_stops;
    bool completion; /* the legacy API, which has text only */
    struct str echo; /* inside: the prompt, to stand before the answer, or absent */
    bool json_tool;  /* JSON was asked for through our own tool: its input is the content */
    struct chat_name *names;
};

#define CHAT_EFFORTS "'none', 'minimal', 'low', 'medium', 'high', 'xhigh', and 'max'"

/* What the client said about reasoning, from whichever of its fields. */
struct chat_wish {
    bool given;      /* anything at all */
    bool none;       /* do not think */
    bool exact;      /* budget is the client's own number */
    uint32_t effort; /* enum effort, or 0 */
    int64_t budget;  /* tokens, or 0 */
    struct str from; /* the field, for x-ccproxy-dropped */
    bool hidden;     /* reasoning is not wanted in the answer */
    bool shown;      /* if the model thinks by itself, its text is wanted */
    bool omitted;    /* its text is not wanted from upstream */
};

struct chat_call; /* of the open assistant turn; see chat_messages.c */

/* The conversation as far as it has been read. */
struct chat_history {
    struct strmap ids;                  /* client's tool call id -> struct call_id */
    struct strmap sent;                 /* ids already used upstream */
    struct strmap functions;            /* legacy function name -> struct function_calls */
    struct strmap names;                /* names of called tools, for synthesised declarations */
    struct chat_call *open, *last_open; /* calls of the newest assistant turn */
    uint32_t epoch;        /* counts assistant turns: tells an open call from an old one */
    uint32_t n_functions;  /* legacy calls so far, for their ids */
    struct blocks results; /* of the user turn being read: tool results, which go first, */
    struct blocks rest;    /* what the user said, */
    struct blocks late;    /* and system texts behind it */
    bool had_user;         /* a user message was read since the last assistant turn */
    bool started;          /* past the system messages at the beginning */
    struct block *system_before_last; /* last block of all leading system messages but one */
};

struct chat {
    const struct decode_options *o;
    enum chat_api api;
    struct arena *keep, *scratch;
    struct decoded *ret;
    struct request_error *error;
    struct messages_request *m;
    struct chat_reply *reply;
    struct jval body, extra_body;
    struct jval *fields; /* one per row of the table of fields */
    uint8_t *present;    /* the rows that the client sent, in the order of the table */
    size_t n_present;
    uint64_t present_bits; /* chat_field_bit of each */
    struct json args;      /* parser for JSON inside of strings */
    struct json draft;     /* a schema that had to be rewritten */
    struct buf text;       /* a string under construction */
    struct buf dropped;    /* names for x-ccproxy-dropped */
    struct strmap tools;   /* sent name -> struct tool */
    struct strmap keyed;   /* sent name -> struct chat_name that has keys */
    struct chat_history h;
    struct chat_wish wish;
    size_t message, part; /* where we are, for params of errors */
    unsigned n_images;
    uint32_t largest_side;  /* in pixels, of those whose size is known */
    struct str tool_beta;   /* one that a tool of Anthropic's needs */
    bool search_reserved;   /* web_search is upstream's own here */
    bool names_synthesised; /* declarations were made up from the history */
    bool cited;             /* a part asks for citations */
    bool cited_document, uncited_document;
    struct chat_strict strict;
};

/* chat_text.c */
PRINTF_LIKE(4, 5)
bool chat_refuse(struct chat *c, struct str code, struct str param, const char *fmt, ...);
/* "Invalid type for 'param': expected X, but got Y instead." and its kin. */
bool chat_refuse_type(struct chat *c, struct str param, const char *expected, struct jval got);
bool chat_refuse_missing(struct chat *c, struct str param);
/* supported: "'a', 'b', and 'c'" */
bool chat_refuse_value(struct chat *c, struct str param, struct jval got, const char *supported);
void chat_drop(struct chat *c, struct str name);
struct str chat_take_text(struct chat *c); /* the string under construction, into scratch */
/* https:// and a host that anybody can reach, without a user: upstream fetches nothing else. */
bool chat_is_web_url(struct str url);
/* One more image; refused when they are more than the model takes. */
bool chat_count_image(struct chat *c);
/* Whether the inside of a JSON string is empty or all white space. */
bool chat_blank(struct str inside);

/* chat_fields.c */
struct jval chat_find_field(const struct chat *c, struct str name);

/* Of 64, the one of a field's name; a constant where the name is one. */
static inline uint64_t chat_field_bit(struct str name)
{
    return UINT64_C(1) << (((uint8_t)name.p[name.n / 2] + 5 * name.n) % 64);
}

/* Absent when null, too. Most of what is looked for was not sent, which a bit tells. */
static inline struct jval chat_field(const struct chat *c, struct str name)
{
    return c->present_bits & chat_field_bit(name) ? chat_find_field(c, name) : JVAL_NONE;
}

bool chat_collect_fields(struct chat *c);
bool chat_check_model(struct chat *c);
bool chat_check_required(struct chat *c);
bool chat_check_types(struct chat *c);
bool chat_apply_fields(struct chat *c);

/* chat_settings.c */
bool chat_read_max_tokens(struct chat *c);
bool chat_read_user(struct chat *c);
bool chat_ask_fast(struct chat *c); /* false: it cannot be had */
bool chat_read_betas(struct chat *c);
bool chat_read_sampling(struct chat *c);

/* chat_cache.c */
/* What goes upstream for a cache_control, or for a prompt_cache_breakpoint; absent: it is none. */
struct str chat_cache_mark(struct jval v);
struct str chat_cache_breakpoint(struct jval v);
bool chat_read_caching(struct chat *c);
/* Marks as upstream takes them: at most four, and the long ones first. */
void chat_settle_cache_marks(struct chat *c);

/* chat_messages.c */
bool chat_read_messages(struct chat *c);
/* Anthropic-shaped parts of content. */
bool chat_read_tool_use(struct chat *c, struct jval part, struct blocks *into);
bool chat_read_tool_result(struct chat *c, struct jval part, struct blocks *into);
/* The turn that must not be the last one: prefill, or a fixed user turn behind it. */
void chat_end_conversation(struct chat *c);

/* chat_parts.c */
enum chat_place { IN_SYSTEM = 1, IN_USER = 2, IN_ASSISTANT = 4, IN_TOOL = 8 };

/* Appends the blocks of a message's content. */
bool chat_read_content(struct chat *c, struct jval content, enum chat_place place,
                       struct blocks *into);
/* A picture or PDF, whatever it is said to be; suffix: its place in the part. */
/* The media type that the first bytes tell: an image's that upstream takes, a PDF's, or absent. */
struct str chat_base64_type(struct str base64);
bool chat_add_base64(struct chat *c, struct str data, bool escaped, const char *suffix,
                     struct blocks *into);
struct str chat_message_param(struct chat *c, const char *suffix); /* messages[i]suffix */
struct str chat_part_param(struct chat *c, const char *suffix); /* messages[i].content[j]suffix */

/* chat_shape.c: what parts and tools in Anthropic's shape may hold */
struct chat_shape;

const struct chat_shape *chat_part_shape(struct jval part);
bool chat_shape_has(const struct chat_shape *s, struct jval key);
bool chat_check_part(struct chat *c, const struct chat_shape *s, struct jval part);
bool chat_check_own_tool(struct chat *c, struct jval tool, struct str at);

/* chat_own.c: parts in Anthropic's shape */
bool chat_read_own(struct chat *c, struct jval part, struct blocks *into);
bool chat_read_own_image(struct chat *c, struct jval part, struct blocks *into);
bool chat_read_server_part(struct chat *c, struct jval part, struct blocks *into);
/* A tool of Anthropic's that stands at "tools[0]". */
bool chat_is_own_tool(struct jval type);
bool chat_read_own_tool(struct chat *c, struct jval v, struct str at);

/* chat_thinking.c */
/* Puts an assistant message's thinking, texts and calls into one list, in their original order. */
void chat_merge_thinking(struct chat *c, struct jval message, struct blocks *others,
                         struct blocks *into);
bool chat_read_wish(struct chat *c);
/* Turns the wish into what the model accepts. */
void chat_apply_wish(struct chat *c);

/* chat_tools.c */
bool chat_read_tools(struct chat *c);
bool chat_read_choice(struct chat *c);
/* The name upstream gets for a client's: the same unless upstream would refuse it. Inside to
 * inside. */
struct str chat_tool_name(struct chat *c, struct jval name);
/* The same for any plain text, which may have dots. */
struct str chat_clean_name(struct chat *c, struct str plain, bool dots);
/* Declarations for tools that stand in the history when the request has none. */
void chat_declare_history(struct chat *c);
bool chat_read_web_search(struct chat *c);

/* chat_keys.c */
/* Whether it may have a property that upstream refuses. */
bool chat_has_odd_key(struct jval schema);
/* Renames such properties in a tool's schema; *ret_keys: which, in keep. False: too many. */
bool chat_keys_in_schema(struct chat *c, struct str *schema, const struct chat_key **ret_keys);
/* A call's input with the names that the tool's schema was sent with. */
struct str chat_keys_in_input(struct chat *c, struct str sent, struct str input);
/* Appends an answer's input with the client's names. False: out is full. */
bool chat_keys_restore(const struct chat_key *keys, struct jval input, struct buf *out);

/* chat_schema.c */
/* A tool's schema: an object at its root. *ret_note: text for the description, or absent. False
 * when it cannot be made one. */
bool chat_schema_tool(struct chat *c, struct jval parameters, struct str *ret_schema,
                      struct str *ret_note);
/* Whether a tool can be held to its schema as it is, beside those that are held already. */
bool chat_schema_strict(struct chat *c, struct jval schema);
/* The schema as output_config takes it; absent when no such form exists. It goes before tools: they
 * are strict no more when upstream would not compile both. */
struct str chat_schema_closed(struct chat *c, struct jval schema);

/* chat_draft.c */
/* Makes an object, which a client gave as a schema, one of JSON Schema 2020-12; valid until the
 * next. False: it is none; *ret_fault says where. */
bool chat_schema_modern(struct chat *c, struct jval *schema, struct str *ret_fault);

/* chat_format.c */
bool chat_read_format(struct chat *c);

/* completion.c */
bool completion_check_required(struct chat *c);
bool completion_read_prompt(struct chat *c);

/* chat_encode.c: the functions of the dialect */
struct encoder *chat_open(struct arena *keep, const struct decoded *d,
                          const struct encoder_options *o);
bool chat_event(struct encoder *e, const struct answer *a, const struct event *ev, struct buf *out);
bool chat_finish(struct encoder *e, const struct answer *a, struct buf *out);
void chat_close(struct encoder *e);

#endif
