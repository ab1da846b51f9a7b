/* upstream_limits.h - what an answer's head says of the upstream's own rate limits, and the same in
 * OpenAI's fields.
 *
 *   anthropic-ratelimit-tokens-reset: 2026-11-22T12:06:00Z   -->   x-ratelimit-reset-tokens: 6m0s
 */
#ifndef CCPROXY_LLM_UPSTREAM_LIMITS_H
#define CCPROXY_LLM_UPSTREAM_LIMITS_H

#include "wire/h1.h"

struct upstream_limit {
    int64_t limit, remaining;
    uint64_t reset_us; /* wall clock */
    bool known;        /* limit and remaining were said */
};

struct upstream_limits {
    struct upstream_limit requests, tokens;
    bool known; /* one of them is */
};

/* Tokens are the "tokens" fields, which name the tightest of upstream's limits, or else those of
 * input tokens. Fields that cannot be read count as absent. */
void upstream_limits_read(const struct h1_head *head, struct upstream_limits *ret);

enum { UPSTREAM_DURATION = 32 };

/* "1s", "6m0s", "1h2m3s", "120ms", "0s": as OpenAI writes durations. */
struct str upstream_duration(uint64_t us, char out[UPSTREAM_DURATION]);

#endif
