/* price.h - what an answer costs. */
#ifndef CCPROXY_LLM_PRICE_H
#define CCPROXY_LLM_PRICE_H

#include "llm/event.h"

/* In millionths of a dollar, rounded up; unknown counts are 0. Prompts above the model's tier pay
 * its high price for everything; tariffs change the price of all tokens. Web searches cost a cent
 * each. */
int64_t price_micro_usd(const struct model *model, const struct usage *u);
/* What the prompt cache has saved of it: less than nothing when it was written and not read. */
int64_t price_cache_saved_micro_usd(const struct model *model, const struct usage *u);

#endif
