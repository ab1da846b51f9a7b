/* binding.h - what a thinking block is bound to, as a hash.
 *
 * The newest models check that a thinking block that is sent back stands behind the same tools,
 * system texts and messages as when it was made. Formatting and cache marks do not count.
 */
#ifndef CCPROXY_LLM_BINDING_H
#define CCPROXY_LLM_BINDING_H

#include "base/hash.h"
#include "llm/messages.h"

enum { BINDING_HELD = 512 };

struct binding {
    struct sha256 hash;
    size_t n;
    char held[BINDING_HELD]; /* short pieces, hashed together */
};

/* Tools and system texts; turns follow one by one. */
void binding_begin(struct binding *b, const struct messages_request *m);
void binding_turn(struct binding *b, const struct turn *t);
/* Of all that has been taken so far. */
struct sha256 binding_hash(const struct binding *b);

#endif
