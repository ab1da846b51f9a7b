/* adapt.h - the last net under the table of models: what a refusal by upstream asks to leave out.
 *
 * The table says what a model takes, and nothing else is sent. When upstream refuses something all
 * the same, the table was wrong, or thinking that was replayed is bound to another conversation. Such
 * a request is sent once more without what was named; the refusal has cost nothing.
 */
#ifndef CCPROXY_LLM_ADAPT_H
#define CCPROXY_LLM_ADAPT_H

#include "llm/messages.h"

/* message: upstream's words for a 400. Changes m and returns the name of what is gone, for
 * x-ccproxy-dropped, or absent when nothing can be left out. *ret_bit: what the model turned out not
 * to do (enum model_can), or 0. */
struct str messages_adapt(struct messages_request *m, struct str message, struct arena *a,
                          uint32_t *ret_bit);

#endif
