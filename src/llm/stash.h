/* stash.h - what assistants said before their tool calls, for clients that forget half of it.
 *
 * Claude's thinking belongs in front of the tool call it led to and has to be sent back with it, but
 * OpenAI's clients drop what they do not know. So the exact content of such an answer is kept here
 * for a day, under the client's name and the id of its first tool call, and put back when the
 * conversation goes on (recall.h).
 *
 * One region of memory, shared by all workers and made before they are forked. Bounded: the oldest
 * entries are overwritten. Every entry is sealed with a key that only these processes have, and its
 * label names its owner, so no client can be given another one's.
 */
#ifndef CCPROXY_LLM_STASH_H
#define CCPROXY_LLM_STASH_H

#include "base/arena.h"

enum { STASH_MIN = 64 * 1024, STASH_DAYS = 1 };

struct stash;

/* size: bytes for entries, at least STASH_MIN. */
struct stash *stash_new(size_t size);
void stash_free(struct stash *s); /* NULL is fine */
/* The key of its boxes, SEAL_KEY bytes: for fingerprints that are kept in them. */
const uint8_t *stash_secret(const struct stash *s);

struct stash_key {
    struct str owner; /* the client's name */
    struct str call;  /* id of the tool call, as upstream made it */
};

/* now_s: seconds since 1970. What is larger than an eighth of the stash is not kept: false. */
bool stash_put(struct stash *s, const struct stash_key *key, struct str value, int64_t now_s);
/* The newest value under that key, in a; absent when there is none, or no more. */
struct str stash_get(struct stash *s, const struct stash_key *key, int64_t now_s, struct arena *a);

#endif
