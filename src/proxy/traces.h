/* traces.h - the spans of an exchange, when it is sampled and spans are exported.
 *
 *   traceparent in --> SERVER span: the request
 *                         +-- CLIENT span: an attempt --traceparent out--> upstream
 *                         +-- CLIENT span: the next one, after a failure or a pause
 *
 * The sampled flag of an incoming traceparent decides; a request without one begins a trace, by the
 * configured ratio. As in the usage database, strangers leave nothing.
 */
#ifndef CCPROXY_PROXY_TRACES_H
#define CCPROXY_PROXY_TRACES_H

#include "proxy/exchange.h"

/* The head was read, x->trace too. */
void traces_begin(struct exchange *x);
/* An attempt is about to be sent; the result names it in the upstream's head. */
struct trace traces_attempt(struct exchange *x);
/* Its answer begins. */
void traces_answer(struct exchange *x, const struct event *start);
/* The attempt under way is over, if there is one; FAIL_DONE: well. */
void traces_attempt_end(struct exchange *x, enum fail why);
/* From exchange_end. */
void traces_end(struct exchange *x);

#endif
