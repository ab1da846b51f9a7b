/* sim_script.h - answers that a test has written down beforehand, well behaved or not.
 *
 * POST /_sim/script {"answers":[A,...]} queues answers for the next calls of POST /v1/messages.
 * Members of A:
 *
 *   status, headers (object, or list of pairs: instead of the usual ones)
 *   body | body_base64 | events (list of objects) | sse       the content; body may be any JSON
 * value first_delay_ms, delay_ms                                  before the answer; between its
 * pieces match {"contains": text}                                  only for a request with that in
 * its body and those for which the connection is taken from HTTP, and closed afterwards: raw_head
 * the head's exact bytes split n | chunks [n,...]  the sizes of single writes cut_after n,
 * reset_after n    close, or reset, after n bytes behind the head keep_open everything but the end
 * of the body, and the connection stays garbage                   these bytes instead of an answer
 *   close_before_answer       nothing at all
 *   silence                   nothing, for as long as the client waits
 */
#ifndef CCPROXY_SIM_SIM_SCRIPT_H
#define CCPROXY_SIM_SIM_SCRIPT_H

#include "sim/sim_call.h"

struct sim_script *script_new(void);
void script_free(struct sim_script *s);
void script_clear(struct sim_script *s);
/* Queues the answers of a document; false when it is none, and nothing is queued. */
bool script_add(struct sim_script *s, const struct json *doc, size_t *ret_queued);

/* Plays the first answer that is for this body; false when there is none. */
bool script_play(struct sim_script *s, struct sim_call *c);
void play_drop(struct sim_play *p); /* the call is ending */

#endif
