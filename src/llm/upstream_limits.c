/* upstream_limits.c - see upstream_limits.h. */
#include "llm/upstream_limits.h"

#include <inttypes.h>

#include "base/clock.h"

enum { INPUT_TOKENS, TOKENS, REQUESTS, KINDS };

static const struct str kinds[KINDS] = {
    [INPUT_TOKENS] = STR_INIT("input-tokens-"),
    [TOKENS] = STR_INIT("tokens-"),
    [REQUESTS] = STR_INIT("requests-"),
};

/* Two of the three parts make a limit; the time of reset may be missing. */
struct seen {
    struct upstream_limit limit;
    bool has_limit, has_remaining;
};

static void take(struct seen *s, struct str part, struct str value)
{
    uint64_t n;
    if (str_eq_nocase(part, STR("reset"))) {
        if (!clock_parse_rfc3339(value, &s->limit.reset_us))
            s->limit.reset_us = 0;
        return;
    }
    if (!str_to_u64(value, &n) || n > INT64_MAX)
        return;
    if (str_eq_nocase(part, STR("limit"))) {
        s->limit.limit = (int64_t)n;
        s->has_limit = true;
    } else if (str_eq_nocase(part, STR("remaining"))) {
        s->limit.remaining = (int64_t)n;
        s->has_remaining = true;
    }
}

void upstream_limits_read(const struct h1_head *head, struct upstream_limits *ret)
{
    static const struct str prefix = STR_INIT("anthropic-ratelimit-");
    struct seen seen[KINDS] = {0};
    *ret = (struct upstream_limits){.known = false};
    for (size_t i = 0; i < head->n_fields; i++) {
        struct str name = head->fields[i].name;
        if (!str_starts_nocase(name, prefix))
            continue;
        name = str_skip(name, prefix.n);
        for (size_t k = 0; k < KINDS; k++)
            if (str_starts_nocase(name, kinds[k]))
                take(&seen[k], str_skip(name, kinds[k].n), head->fields[i].value);
    }
    for (size_t k = 0; k < KINDS; k++) {
        seen[k].limit.known = seen[k].has_limit && seen[k].has_remaining;
        if (seen[k].limit.known)
            *(k == REQUESTS ? &ret->requests : &ret->tokens) = seen[k].limit;
    }
    ret->known = ret->requests.known || ret->tokens.known;
}

struct str upstream_duration(uint64_t us, char out[UPSTREAM_DURATION])
{
    uint64_t ms = us / 1000, s = ms / 1000;
    int n;
    if (ms == 0)
        n = snprintf(out, UPSTREAM_DURATION, "0s");
    else if (s == 0)
        n = snprintf(out, UPSTREAM_DURATION, "%" PRIu64 "ms", ms);
    else if (s < 60)
        n = ms % 1000 ? snprintf(out, UPSTREAM_DURATION, "%" PRIu64 ".%03" PRIu64 "s", s, ms % 1000)
                      : snprintf(out, UPSTREAM_DURATION, "%" PRIu64 "s", s);
    else if (s < 3600)
        n = snprintf(out, UPSTREAM_DURATION, "%" PRIu64 "m%" PRIu64 "s", s / 60, s % 60);
    else
        n = snprintf(out, UPSTREAM_DURATION, "%" PRIu64 "h%" PRIu64 "m%" PRIu64 "s", s / 3600,
                     s / 60 % 60, s % 60);
    return str_of(out, (size_t)n);
}
