/* binding.h - what a thinking block is bound to, as a fingerprint.
 *
 * The newest models check that a thinking block that is sent back stands behind the same tools,
 * system texts and messages as when it was made. Formatting and cache marks do not count.
 */
#ifndef CCPROXY_LLM_BINDING_H
#define CCPROXY_LLM_BINDING_H

#include "base/hash.h"
#include "llm/messages.h"

enum { BINDING_HELD = 16 * 1024 };

struct binding {
    const uint8_t *key;
    struct fingerprint hash;
    size_t n;
    char held[BINDING_HELD]; /* what is hashed together must not depend on when one asks */
};

/* Tools and system texts; turns follow one by one. key: SEAL_KEY bytes, which must outlive b. */
void binding_begin(struct binding *b, const uint8_t *key, const struct messages_request *m);
void binding_turn(struct binding *b, const struct turn *t);
/* Of all that has been taken so far. */
struct fingerprint binding_hash(const struct binding *b);

#endif
