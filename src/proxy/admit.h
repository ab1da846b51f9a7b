/* admit.h - whether a request may be sent now: the client's limits, the node's, and its budgets.
 *
 * Tokens are reserved by a guess and settled by what the answer says it took, once, however the
 * exchange ends.
 */
#ifndef CCPROXY_PROXY_ADMIT_H
#define CCPROXY_PROXY_ADMIT_H

#include "proxy/exchange.h"
#include "proxy/queue.h"

enum step_result step_admit(struct exchange *x);
/* One that waits for a free place tries again; it has waited long enough. */
enum queue_try admit_try(struct waiter *w);
void admit_time_over(struct exchange *x);
/* Whether the client may send a body of so many bytes (of unknown length: as many as it may have);
 * then, how many it has, or 0 when the exchange needs it no more. */
NODISCARD bool admit_body(struct exchange *x, size_t bytes);
void admit_body_is(struct exchange *x, size_t bytes);
/* Where the client's limits stand, for an answer to what was not judged by them. In Redis they are not
 * asked for. */
void admit_tell(struct exchange *x);
/* When the client's answer ends or the exchange does; once settled it does nothing. */
void admit_settle(struct exchange *x);

#endif
