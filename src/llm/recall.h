/* recall.h - gives tool calls in a conversation the thinking back that stands in front of them.
 *
 * An assistant turn with a call that the stash knows is replaced by what the model really said, when
 * the client's version says the same in texts and calls, for the same model, and, where thinking is
 * bound to what precedes it, behind the same conversation. When it is known but does not fit any
 * more, thinking that the client brought is taken out of the turn: upstream would refuse it. Turns
 * that the stash does not know stay as they are.
 */
#ifndef CCPROXY_LLM_RECALL_H
#define CCPROXY_LLM_RECALL_H

#include "llm/binding.h"
#include "llm/content.h"
#include "llm/stash.h"

struct recall {
    struct stash *stash; /* NULL: nothing is recalled */
    struct str owner;    /* whose conversation it is */
    int64_t now_s;
};

/* Works on all turns of m; nodes and spans go into a. */
void recall_thinking(const struct recall *r, struct messages_request *m, struct arena *a);

/* Whether an answer to m may contain what must be kept. */
bool recall_expects(const struct messages_request *m);
/* What is to be kept with an answer to m, which must be complete. */
struct fingerprint recall_binding(const struct recall *r, struct messages_request *m,
                                  struct arena *a);
/* Keeps a complete answer, when it has both thinking and a call. */
void recall_keep(const struct recall *r, const struct model *model,
                 const struct fingerprint *binding, const struct content *content);

#endif
