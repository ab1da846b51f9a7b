/* sse.c - see sse.h.
 *
 * The end of an event (an empty line) is looked for first, with the position kept between calls; only
 * then are its lines read. A CR at the very end of the input ends its line at once; the LF that may
 * follow is skipped when it comes.
 */
#include "wire/sse.h"

void sse_init(struct sse *s, size_t event_max)
{
    *s = (struct sse){.max = event_max};
}

static size_t skip_bom(struct sse *s, const char *p, size_t n)
{
    static const char bom[] = "\xef\xbb\xbf";
    s->started = true;
    return n >= 3 && memcmp(p, bom, 3) == 0 ? 3 : 0;
}

/* A mark may be cut: with fewer than three bytes that fit it, nothing can be said yet. */
static bool may_be_bom(const char *p, size_t n)
{
    return n < 3 && memcmp(p, "\xef\xbb\xbf", n) == 0;
}

/* Looks for an empty line from s->scanned on; true when one ends at *ret_end. */
static bool find_end(struct sse *s, const char *p, size_t n, size_t *ret_end)
{
    while (s->scanned < n) {
        const char *from = p + s->scanned;
        size_t left = n - s->scanned;
        const char *lf = memchr(from, '\n', left);
        const char *cr = memchr(from, '\r', lf ? (size_t)(lf - from) : left);
        const char *eol = cr ? cr : lf;
        if (!eol) {
            s->scanned = n;
            return false;
        }
        size_t at = (size_t)(eol - p);
        bool belongs_to_cr = *eol == '\n' && at > 0 && p[at - 1] == '\r' && at == s->line_at;
        s->scanned = at + 1;
        if (belongs_to_cr) {
            s->line_at = at + 1;
            continue;
        }
        bool empty = at == s->line_at;
        s->line_at = at + 1;
        if (empty) {
            *ret_end = at + 1;
            return true;
        }
    }
    return false;
}

/* The next line of [*at, end), without its end. */
static struct str next_line(const char *p, size_t *at, size_t end)
{
    const char *from = p + *at, *lf = memchr(from, '\n', end - *at);
    size_t n = lf ? (size_t)(lf - from) : end - *at;
    const char *cr = memchr(from, '\r', n);
    if (cr)
        n = (size_t)(cr - from);
    *at += n + 1;
    if (cr && cr + 1 == lf)
        *at += 1;
    return str_of(from, n);
}

static struct str field_value(struct str line, size_t name_len)
{
    struct str value = str_skip(line, size_min(line.n, name_len + 1));
    return value.n && value.p[0] == ' ' ? str_skip(value, 1) : value;
}

/* Moves a further data line behind the data so far, with an LF between. */
static void append_data(struct sse_event *ret, char *p, struct str value)
{
    if (!ret->data.p) {
        ret->data = value;
        return;
    }
    char *end = p + (ret->data.p - p) + ret->data.n;
    *end = '\n';
    memmove(end + 1, value.p, value.n);
    ret->data.n += 1 + value.n;
}

static void read_event(char *p, size_t at, size_t end, struct sse_event *ret)
{
    *ret = (struct sse_event){0};
    bool seen_field = false;
    while (at < end) {
        struct str line = next_line(p, &at, end);
        if (line.n == 0 || line.p[0] == ':')
            continue;
        struct str name = str_head(line, str_find(line, ':'));
        seen_field = true;
        if (str_eq(name, STR("data")))
            append_data(ret, p, field_value(line, name.n));
        else if (str_eq(name, STR("event")))
            ret->name = field_value(line, name.n);
    }
    ret->comment = !seen_field;
}

enum sse_result sse_next(struct sse *s, char *p, size_t n, struct sse_event *ret, size_t *ret_used)
{
    size_t at = 0, end;
    if (!s->started) {
        if (may_be_bom(p, n))
            return SSE_MORE;
        s->scanned = s->line_at = at = skip_bom(s, p, n);
    }
    if (s->skip_lf && n > 0) {
        at = p[0] == '\n';
        s->scanned = size_max(s->scanned, at);
        s->line_at = size_max(s->line_at, at);
    }
    if (!find_end(s, p, n, &end)) {
        return n > s->max ? SSE_BAD : SSE_MORE;
    }
    if (end > s->max)
        return SSE_BAD;
    read_event(p, at, end, ret);
    s->skip_lf = p[end - 1] == '\r';
    s->scanned = s->line_at = 0;
    *ret_used = end;
    return SSE_EVENT;
}
