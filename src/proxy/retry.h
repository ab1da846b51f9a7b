/* retry.h - whether a failed attempt is made again, and when. Pure: facts in, decision out. */
#ifndef CCPROXY_PROXY_RETRY_H
#define CCPROXY_PROXY_RETRY_H

#include "proxy/fail.h"

/* What all exchanges of a worker share: retries are a part of the requests, so that a failing
 * upstream gets little more load than a healthy one. */
struct retry_budget {
    int64_t credit;      /* hundredths of a retry */
    int64_t per_request; /* earned by each first attempt, in hundredths */
};

enum { RETRY_BURST = 10 }; /* retries that are always allowed */

void retry_budget_init(struct retry_budget *b, int64_t per_hundred);
void retry_budget_earn(struct retry_budget *b);

enum should_retry { SHOULD_RETRY_UNSAID, SHOULD_RETRY_YES, SHOULD_RETRY_NO };

struct retry_facts {
    enum fail why;
    unsigned attempts; /* made so far, at least 1 */
    unsigned retries_max;
    enum should_retry asked; /* the upstream's x-should-retry */
    int64_t retry_after_us;  /* the upstream's retry-after, or -1 */
    bool other_key;          /* a key is left that was not tried */
};

/* True: try again after *ret_delay_us, and the budget has paid for it. Not asked any more once the
 * answer has begun. */
NODISCARD bool retry_plan(struct retry_budget *b, const struct retry_facts *f,
                          uint64_t *ret_delay_us);

/* Reads retry-after-ms, else retry-after (seconds, fractions allowed, or a date); -1 when there is
 * neither, or nonsense. */
int64_t retry_after_us(struct str after_ms, struct str after);

#endif
