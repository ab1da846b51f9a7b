/* route.h - which upstream credential an attempt uses.
 *
 * Keys take turns; requests of one home begin with the same key, on every worker and node, since
 * each key may have a prompt cache of its own. One that was refused, or told to wait, rests until a given time and is passed
 * over while another is free; when all rest, the one that is free first is used. Pure: time comes
 * in.
 */
#ifndef CCPROXY_POLICY_ROUTE_H
#define CCPROXY_POLICY_ROUTE_H

#include "base/base.h"

enum { ROUTE_KEYS_MAX = 64 };

struct route {
    size_t n, next;
    uint64_t rests_until_us[ROUTE_KEYS_MAX];
};

void route_init(struct route *r, size_t n_keys); /* 1 .. ROUTE_KEYS_MAX */

/* The key for the next attempt; home: any number, 0 when the request has none; *tried is a bit set of keys this request has used already, which is
 * updated. A key that was tried is used again only when there is no other. */
size_t route_pick(struct route *r, uint64_t now_us, uint64_t home, uint64_t *tried);
void route_rest(struct route *r, size_t key, uint64_t until_us);
/* Whether a key is left that this request has not tried and that does not rest. */
bool route_has_other(const struct route *r, uint64_t now_us, uint64_t tried);

#endif
