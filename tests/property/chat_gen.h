/* chat_gen.h - makes Chat Completions requests, plausible and odd, out of bytes or of a seed.
 *
 *   bytes or seed --gen_below--> choices --chat_gen_*--> JSON text
 *
 * What is made is always JSON, and mostly what the decoder takes: refusals end early and prove
 * little. `odd` is the chance in 256 that a value is one of the strange ones. The same choices make
 * the same text on every machine. Bytes that have run out read as zero, which is the plainest choice
 * everywhere, so that a fuzzer can make its inputs shorter.
 */
#ifndef CCPROXY_TESTS_CHAT_GEN_H
#define CCPROXY_TESTS_CHAT_GEN_H

#include "base/buf.h"

enum { GEN_OPEN_MAX = 8, GEN_ID_MAX = 96 };

struct gen {
    struct str bytes; /* what is left of them */
    uint64_t state;   /* of the seeded source; 0: bytes are read */
    uint32_t odd;     /* chance in 256 */
    bool native;      /* also what is Anthropic's own and passed through unread */
    bool unmarked;    /* no cache marks: the four that are kept wander as a conversation grows */
    struct buf out;

    /* The conversation so far. */
    bool legacy;                         /* functions, not tools */
    char open[GEN_OPEN_MAX][GEN_ID_MAX]; /* calls of the last assistant message, as JSON strings */
    uint32_t n_open;
    uint32_t n_calls;
};

void gen_init_seed(struct gen *g, uint64_t seed);
void gen_init_bytes(struct gen *g, struct str bytes);
void gen_done(struct gen *g);

uint32_t gen_below(struct gen *g, uint32_t n); /* 0 .. n-1 */
/* True with a chance of `of` in 256. */
bool gen_chance(struct gen *g, uint32_t of);

/* One message; its role is drawn, with regard to what stands before it. */
void chat_gen_message(struct gen *g);
/* "tools":[...], and what goes with them, each with a comma in front. */
void chat_gen_tools(struct gen *g);
/* Everything else but model and messages, each with a comma in front. */
void chat_gen_settings(struct gen *g);
/* A whole request. */
void chat_gen_request(struct gen *g);

/* Puts odd values into the request in out, leaves some out, moves some: JSON, and mostly wrong. */
void chat_mangle(struct gen *g);

/* Models whose differences matter to the translation; client names, without quotes. */
extern const char *const chat_gen_models[];
extern const uint32_t chat_gen_n_models;

#endif
