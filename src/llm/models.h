/* models.h - the table of Claude models, and the names that clients use for them.
 *
 * What a model can and cannot take is a row here, never an `if` on a name elsewhere. The built-in
 * rows come from models.def; GET /v1/models of the upstream corrects limits and capabilities and
 * adds models (models_refresh). A claude-* name that nobody knows gets the newest behaviour. One
 * table per process; rows never move, so pointers to them stay valid.
 */
#ifndef CCPROXY_LLM_MODELS_H
#define CCPROXY_LLM_MODELS_H

#include "base/arena.h"
#include "wire/json.h"

enum model_line { LINE_HAIKU, LINE_SONNET, LINE_OPUS, LINE_FABLE, LINE_MYTHOS };

enum model_lifecycle { MODEL_ACTIVE, MODEL_DEPRECATED, MODEL_RETIRED };

/* Bits of model.can */
enum model_can {
    CAN_SAMPLE = 1 << 0,     /* temperature, top_p, top_k under 2023-06-01 */
    CAN_FORCE_TOOL = 1 << 1, /* tool_choice any and tool */
    CAN_PREFILL = 1 << 2,    /* a trailing assistant turn */
    CAN_MID_SYSTEM = 1 << 3, /* role system inside messages */
    CAN_STRUCTURED = 1 << 4, /* output_config.format, strict tools */
    CAN_THINK_ADAPTIVE = 1 << 5,
    CAN_THINK_ENABLED = 1 << 6, /* with budget_tokens */
    CAN_THINK_DISABLED = 1 << 7,
    CAN_THINK_BETWEEN = 1 << 8, /* between_tools */
    CAN_IMAGE = 1 << 9,
    CAN_PDF = 1 << 10,
    CAN_FAST = 1 << 11,    /* speed "fast" */
    FINE_TOKENS = 1 << 12, /* no ability: its tokenizer makes some 30 % more of the same text */
};

enum think_default { THINK_OFF, THINK_ON, THINK_ALWAYS };

/* Bits of model.efforts, in rising order */
enum effort {
    EFFORT_LOW = 1,
    EFFORT_MEDIUM = 2,
    EFFORT_HIGH = 4,
    EFFORT_XHIGH = 8,
    EFFORT_MAX = 16
};

/* Micro-dollars per million tokens. */
struct model_price {
    int64_t input, output, write_5m, write_1h, read;
};

struct model {
    struct str id;    /* what is sent upstream */
    struct str alias; /* a dateless second name, or absent */
    enum model_line line;
    enum model_lifecycle lifecycle;
    int64_t created;             /* seconds since 1970 */
    int64_t context, max_output; /* tokens */
    uint32_t can;                /* enum model_can */
    uint32_t efforts;            /* enum effort; 0: the effort parameter is refused */
    uint32_t fixed_can;          /* bits that the upstream's list does not change, nor these: */
    bool fixed_context, fixed_output, fixed_efforts;
    enum think_default think;
    bool display_omitted; /* thinking text is left out unless asked for */
    bool binds_thinking;  /* replayed thinking is checked against what came before it */
    int64_t cache_min;    /* tokens; 0: unknown */
    struct model_price price;
    int64_t tier_above; /* prompt tokens above which price_high holds for all; 0: one price */
    struct model_price price_high;
    struct str successor; /* of a retired model: the id that answers for it */
};

/* A client's own name for a model; goes before all others. */
struct model_alias {
    struct str name, model;
};

struct models;

struct models_options {  /* each may be absent */
    struct str settings; /* JSON object of models: new ones, and corrections (model_settings.c) */
    struct str map;      /* JSON object of client name -> Claude model; goes before the built-in */
    struct str default_model; /* for unknown names */
};

enum { MODELS_ERROR = 256 };

/* NULL with a reason when one of them is bad or leads to a name that is no Claude model. */
struct models *models_new(const struct models_options *o, char error[MODELS_ERROR]);
void models_free(struct models *m);

enum model_match {
    MODEL_FOUND,
    MODEL_SUCCEEDED, /* the name means a retired model; its living successor is answered */
    MODEL_ASSUMED,   /* an unknown claude-* name: newest behaviour */
    MODEL_DEFAULTED, /* an unknown name: the configured default */
    MODEL_UNKNOWN,
};

/* The model behind a client's name (prefixes "anthropic/" and "claude/" are skipped). For
 * MODEL_ASSUMED the row is a copy in a with the client's name as its id. */
enum model_match models_resolve(const struct models *m, struct str name, struct arena *a,
                                const struct model **ret);

/* Takes over an answer of GET /v1/models: limits, capabilities, lifecycle, new models. Returns how
 * many rows it saw; entries it cannot use are skipped. */
size_t models_refresh(struct models *m, const struct json *answer);

/* The upstream has refused what the row says that the model can: believed until this process ends. */
void models_learn_cannot(struct models *m, const struct model *model, uint32_t bits);

/* Rows in table order: living ones first. */
size_t models_count(const struct models *m);
const struct model *models_at(const struct models *m, size_t i);
/* Aliases: client name and the model it means. */
size_t models_alias_count(const struct models *m);
struct str models_alias_at(const struct models *m, size_t i, const struct model **ret);

const char *model_effort_name(enum effort e);
/* The i-th ability by its name for operators, with its bit of `can`; absent behind the last. */
struct str model_ability(size_t i, uint32_t *ret_bit);

#endif
