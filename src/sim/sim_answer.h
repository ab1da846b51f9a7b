/* sim_answer.h - what the simulator answers, as a function of the request.
 *
 * The same request gives the same answer, ids and all; only the prompt cache remembers.
 */
#ifndef CCPROXY_SIM_SIM_ANSWER_H
#define CCPROXY_SIM_SIM_ANSWER_H

#include "sim/sim_validate.h"

enum { SIM_BLOCKS_MAX = 4 };

struct sim_block {
    enum { SIM_TEXT, SIM_THINKING, SIM_TOOL } type;
    struct str text;      /* of a tool: its input as JSON */
    struct str tail;      /* of a text: how it goes on; shared by all answers */
    struct str id, name;  /* of a tool */
    struct str signature; /* of thinking */
};

struct sim_usage {
    int64_t input, output, thinking; /* input: without what the cache read and wrote */
    struct cache_usage cache;
};

struct sim_answer {
    struct str id, model;
    struct sim_block blocks[SIM_BLOCKS_MAX];
    size_t n_blocks;
    const char *stop_reason;
    struct str stop_sequence; /* absent when none was met */
    struct sim_usage usage;
};

/* What the answer depends on besides the request. */
struct sim_setting {
    struct str filler; /* words that lengthen answers */
    size_t answer_tokens;
    struct prompt_cache *cache;
    uint64_t now_us;
};

/* Strings live in a, in the document's text, or in the filler. */
void sim_answer_make(struct sim_request *q, const struct sim_setting *s, struct arena *a,
                     struct sim_answer *ret);

/* The first n words of s; all of it when there are fewer. *ret_words: how many those are. */
struct str sim_words(struct str s, size_t n, size_t *ret_words);

#endif
