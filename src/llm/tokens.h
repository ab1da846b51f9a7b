/* tokens.h - about how many tokens a prompt will be, before anybody has counted them. */
#ifndef CCPROXY_LLM_TOKENS_H
#define CCPROXY_LLM_TOKENS_H

#include "llm/messages.h"

/* Of the whole prompt: system, tools and turns; bytes: of the body as it is sent. Looks at a part of it
 * that does not grow with it. */
uint64_t tokens_of_prompt(const struct messages_request *m, size_t bytes);

#endif
