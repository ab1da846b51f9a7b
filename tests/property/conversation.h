/* conversation.h - conversations as OpenAI's clients have them, made up from a seed.
 *
 * They hold what clients send and what breaks gateways: late system texts, calls without results,
 * results without calls, odd and repeated ids, blank texts, foreign blocks, thinking in pieces. A
 * conversation grows round by round: what the user side says, then what the assistant says. At the
 * end of each user side a client would send its request.
 */
#ifndef CCPROXY_TESTS_CONVERSATION_H
#define CCPROXY_TESTS_CONVERSATION_H

#include "base/buf.h"

enum { CONVERSATION_MAX = 1024 * 1024 };

struct conversation {
    uint64_t random;
    struct buf messages; /* messages separated by commas */
    char open[4][48];    /* ids of the calls that wait for results, as JSON insides */
    unsigned n_open, n_calls;
    bool wild;  /* also what only broken clients send */
    bool marks; /* also cache marks, which wander, legacy functions and Anthropic's own shapes */
};

void conversation_init(struct conversation *c, uint64_t seed, bool wild);
void conversation_done(struct conversation *c);
/* Appends the user's side of a round, or the assistant's. */
void conversation_user(struct conversation *c);
void conversation_assistant(struct conversation *c);

/* A number below n, from the seed. */
unsigned pick(struct conversation *c, unsigned n);
/* One of the texts in a NULL-terminated list. */
const char *pick_of(struct conversation *c, const char *const *list);

#endif
