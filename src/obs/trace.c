/* trace.c - see trace.h. */
#include "obs/trace.h"

#include "base/rand.h"
#include "base/text.h"

enum { ID_AT = 3, PARENT_AT = 36, FLAGS_AT = 53 };

/* Digits and a to f; all zeros mean nothing, where they may not stand. */
static bool is_hex(const char *p, size_t n, bool zeros)
{
    bool any = zeros;
    for (size_t i = 0; i < n; i++) {
        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
            return false;
        any |= p[i] != '0';
    }
    return any;
}

/* version "-" trace-id "-" parent-id "-" trace-flags, and of later versions more behind a "-". */
static bool is_traceparent(struct str s)
{
    if (s.n < TRACEPARENT || s.p[2] != '-' || s.p[35] != '-' || s.p[52] != '-')
        return false;
    struct str version = str_head(s, 2);
    bool first = str_eq(version, STR("00"));
    if (!is_hex(version.p, 2, true) || str_eq(version, STR("ff")) ||
        (s.n > TRACEPARENT && (first || s.p[TRACEPARENT] != '-')))
        return false;
    return is_hex(s.p + ID_AT, TRACE_ID, false) && is_hex(s.p + PARENT_AT, TRACE_SPAN, false) &&
           is_hex(s.p + FLAGS_AT, 2, true);
}

static void random_id(char *out)
{
    uint64_t id;
    do
        id = rand_u64();
    while (id == 0);
    text_hex(&id, sizeof(id), out);
}

void trace_child(struct trace *t)
{
    random_id(t->span);
}

void trace_begin(uint32_t sampled_ppm, struct trace *ret)
{
    *ret = (struct trace){.known = true};
    random_id(ret->id);
    random_id(ret->id + TRACE_ID / 2);
    trace_child(ret);
    memcpy(ret->flags, rand_below(1000000) < sampled_ppm ? "01" : "00", sizeof(ret->flags));
}

/* The lowest bit of the last digit. */
bool trace_is_sampled(const struct trace *t)
{
    return t->known && (t->flags[1] <= '9' ? t->flags[1] - '0' : t->flags[1] - 'a' + 10) & 1;
}

bool trace_read(struct str traceparent, struct trace *ret)
{
    bool known = is_traceparent(traceparent);
    *ret = (struct trace){.known = known, .has_parent = known};
    if (!ret->known)
        return false;
    memcpy(ret->id, traceparent.p + ID_AT, TRACE_ID);
    memcpy(ret->parent, traceparent.p + PARENT_AT, TRACE_SPAN);
    memcpy(ret->flags, traceparent.p + FLAGS_AT, 2);
    trace_child(ret);
    return true;
}

struct str trace_write(const struct trace *t, char out[TRACEPARENT])
{
    memcpy(out, "00-", ID_AT);
    memcpy(out + ID_AT, t->id, TRACE_ID);
    out[PARENT_AT - 1] = '-';
    memcpy(out + PARENT_AT, t->span, TRACE_SPAN);
    out[FLAGS_AT - 1] = '-';
    memcpy(out + FLAGS_AT, t->flags, 2);
    return str_of(out, TRACEPARENT);
}

bool trace_takes_request_id(struct str id)
{
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] <= ' ' || id.p[i] > '~')
            return false;
    return id.n > 0 && id.n <= REQUEST_ID_MAX;
}
