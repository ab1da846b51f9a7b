/* upstream_limits.c - see upstream_limits.h. */
#include "llm/upstream_limits.h"

#include "base/clock.h"
#include "base/text.h"

enum { INPUT_TOKENS, TOKENS, REQUESTS, KINDS };

static const struct str prefix = STR_INIT("anthropic-ratelimit-");
static const struct str kinds[KINDS] = {
    [INPUT_TOKENS] = STR_INIT("input-tokens-"),
    [TOKENS] = STR_INIT("tokens-"),
    [REQUESTS] = STR_INIT("requests-"),
};

/* The one kind whose name begins so; KINDS: none. */
static size_t kind_of(char c)
{
    switch (c | 0x20) {
    case 'i': return INPUT_TOKENS;
    case 't': return TOKENS;
    case 'r': return REQUESTS;
    default: return KINDS;
    }
}

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
    struct seen seen[KINDS] = {0};
    *ret = (struct upstream_limits){.known = false};
    for (size_t i = 0; i < head->n_fields; i++) {
        struct str name = head->fields[i].name;
        if (name.n <= prefix.n || !str_starts_nocase(name, prefix))
            continue;
        name = str_skip(name, prefix.n);
        size_t k = kind_of(name.p[0]);
        if (k < KINDS && str_starts_nocase(name, kinds[k]))
            take(&seen[k], str_skip(name, kinds[k].n), head->fields[i].value);
    }
    for (size_t k = 0; k < KINDS; k++) {
        seen[k].limit.known = seen[k].has_limit && seen[k].has_remaining;
        if (seen[k].limit.known)
            *(k == REQUESTS ? &ret->requests : &ret->tokens) = seen[k].limit;
    }
    ret->known = ret->requests.known || ret->tokens.known;
}

/* n and its unit behind what is there already. */
static size_t put_unit(char *out, size_t at, uint64_t n, const char *unit)
{
    at += text_u64(n, out + at);
    while (*unit)
        out[at++] = *unit++;
    return at;
}

struct str upstream_duration(uint64_t us, char out[UPSTREAM_DURATION])
{
    uint64_t ms = us / 1000, s = ms / 1000, rest = ms % 1000;
    size_t n = 0;
    if (s == 0 && rest > 0)
        return str_of(out, put_unit(out, 0, ms, "ms"));
    if (s >= 3600)
        n = put_unit(out, n, s / 3600, "h");
    if (s >= 60)
        n = put_unit(out, n, s / 60 % 60, "m");
    if (s >= 60 || rest == 0)
        return str_of(out, put_unit(out, n, s % 60, "s"));
    n = put_unit(out, n, s, ".");
    out[n++] = (char)('0' + rest / 100);
    out[n++] = (char)('0' + rest / 10 % 10);
    return str_of(out, put_unit(out, n, rest % 10, "s"));
}
