/* sim_prefix.h - what stands before a place in a conversation, as a digest.
 *
 *   tools -> system -> message 0 -> message 1 -> ...        one fold over all of it, in this order
 *
 * Two things of the service hang on it: cached prompts, and thinking blocks that are bound to the
 * conversation they were made in. Formatting, the order of members and cache_control do not count,
 * and a string is the same as one text block. The digest is not cryptographic: nobody has a reason
 * to deceive a simulator.
 */
#ifndef CCPROXY_SIM_SIM_PREFIX_H
#define CCPROXY_SIM_SIM_PREFIX_H

#include "base/arena.h"
#include "wire/json.h"

struct sim_request;

struct prefix {
    bool started;
    struct jval next; /* the first message that is not in it */
    uint64_t digest;
};

uint64_t prefix_bytes(uint64_t h, struct str s);
/* The digest of everything before message (absent: of the whole request). Calls must go forward. */
uint64_t prefix_before(struct sim_request *q, struct jval message, struct arena *a);

/* Signatures of thinking blocks. */
enum signature {
    SIGNATURE_GOOD,
    SIGNATURE_FOREIGN, /* another model's, or another service's: the block is ignored */
    SIGNATURE_ALTERED, /* the text is not what was signed */
    SIGNATURE_MOVED,   /* good, but for another conversation */
};

struct str signature_make(struct arena *a, struct str model, uint64_t prefix, struct str text);
enum signature signature_check(struct str signature, struct str model, uint64_t prefix,
                               bool prefix_matters, struct str text);
/* Whether it is one of ours for that model, so that the prefix is worth asking for. */
bool signature_is_ours(struct str signature, struct str model);

/* The prompt cache: digests of prefixes that were marked, each for its time to live. */
struct prompt_cache;

struct cache_usage {
    int64_t read, write_5m, write_1h; /* tokens */
};

struct prompt_cache *prompt_cache_new(void);
void prompt_cache_free(struct prompt_cache *pc);
/* What this request reads and writes; it is remembered. */
struct cache_usage prompt_cache_use(struct prompt_cache *pc, const struct sim_request *q,
                                    uint64_t now_us, struct arena *a);

/* Calls fn for every tool, system block and message block in that order; cache is its cache_control
 * object or that of a block inside it, or absent. A string stands for one block. Stops when fn
 * answers false. */
typedef bool prefix_fn(void *ctx, struct jval block, struct jval cache);
bool prefix_each(const struct sim_request *q, prefix_fn *fn, void *ctx);

#endif
