/* penalty.h - addresses that failed to show who they are: slowed, then refused, then forgotten.
 *
 *   failures owed   0 ........ half ........ all that a minute allows
 *                   answered    answered late     refused before anything is looked at
 *
 * What an address owes drains evenly (GCRA with a burst of a minute's allowance). One table in memory
 * that all workers share, of fixed size and without locks: one 64-bit atomic for each address. An
 * address that owes nothing has no place in it; when there is no room, the one that owes least gives way.
 */
#ifndef CCPROXY_POLICY_PENALTY_H
#define CCPROXY_POLICY_PENALTY_H

#include "policy/address.h"

struct penalties;

enum penalty { PENALTY_NONE, PENALTY_SLOW, PENALTY_REFUSE };

/* Room for about n addresses; before the first fork. */
struct penalties *penalties_new(size_t n);
void penalties_free(struct penalties *p); /* NULL is fine */

/* What awaits the next failure of the address. per_minute: failures allowed, 0: any number. *ret_us: until
 * it is not refused any more. */
enum penalty penalty_of(const struct penalties *p, const struct address *a, uint64_t per_minute,
                        uint64_t now_us, uint64_t *ret_us);
/* It has failed. The same, as it was before. */
enum penalty penalty_add(struct penalties *p, const struct address *a, uint64_t per_minute,
                         uint64_t now_us, uint64_t *ret_us);

#endif
