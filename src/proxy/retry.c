/* retry.c - see retry.h; what may be retried at all stands in fail.def. */
#include "proxy/retry.h"

#include "base/clock.h"
#include "base/rand.h"

enum {
    COST = 100,
    DELAY_FIRST_US = 500 * 1000,
    DELAY_MAX_US = 8 * 1000 * 1000,
    WAIT_MAX_US = 10 * 1000 * 1000, /* asked to wait longer: the client's to decide */
};

void retry_budget_init(struct retry_budget *b, int64_t per_hundred)
{
    *b = (struct retry_budget){.credit = RETRY_BURST * COST, .per_request = per_hundred};
}

void retry_budget_earn(struct retry_budget *b)
{
    b->credit += b->per_request;
    if (b->credit > RETRY_BURST * COST)
        b->credit = RETRY_BURST * COST;
}

static bool may_retry(const struct retry_facts *f)
{
    enum retry rule = fail_row(f->why)->retry;
    if (rule == RETRY_KEY)
        return f->other_key;
    if (rule == RETRY_NEVER || f->asked == SHOULD_RETRY_NO)
        return false;
    return rule == RETRY_UNSENT || f->asked == SHOULD_RETRY_YES;
}

/* 0.5 s, doubled each time up to 8 s, less up to a quarter at random. */
static uint64_t backoff_us(unsigned attempts)
{
    uint64_t delay = DELAY_FIRST_US;
    for (unsigned i = 1; i < attempts && delay < DELAY_MAX_US; i++)
        delay *= 2;
    return delay - rand_below(delay / 4);
}

bool retry_plan(struct retry_budget *b, const struct retry_facts *f, uint64_t *ret_delay_us)
{
    if (f->attempts > f->retries_max || !may_retry(f))
        return false;
    uint64_t delay = 0;
    if (f->why != FAIL_UPSTREAM_UNSENT && !f->other_key)
        delay = f->retry_after_us >= 0 ? (uint64_t)f->retry_after_us : backoff_us(f->attempts);
    if (delay > WAIT_MAX_US || b->credit < COST)
        return false;
    b->credit -= COST;
    *ret_delay_us = delay;
    return true;
}

/* "3", "0.5": seconds with an optional fraction, as microseconds. */
static bool parse_seconds(struct str s, int64_t *ret_us)
{
    struct str whole = s, fraction = STR_NONE;
    size_t dot = str_find(s, '.');
    if (dot < s.n) {
        whole = str_head(s, dot);
        fraction = str_skip(s, dot + 1);
    }
    uint64_t n;
    if (!str_to_u64(whole, &n) || n > INT32_MAX)
        return false;
    int64_t us = (int64_t)n * 1000000;
    int64_t unit = 100000;
    for (size_t i = 0; i < fraction.n; i++, unit /= 10) {
        if (fraction.p[i] < '0' || fraction.p[i] > '9')
            return false;
        us += unit * (fraction.p[i] - '0');
    }
    *ret_us = us;
    return true;
}

int64_t retry_after_us(struct str after_ms, struct str after)
{
    int64_t us;
    if (after_ms.n && parse_seconds(after_ms, &us))
        return us / 1000;
    if (after.n && parse_seconds(after, &us))
        return us;
    uint64_t date;
    if (after.n && clock_parse_http_date(after, &date))
        return date > clock_wall_us() ? (int64_t)(date - clock_wall_us()) : 0;
    return -1;
}
