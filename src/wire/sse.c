/* sse.c - see sse.h.
 *
 * The end of an event (an empty line) is looked for first, with the position kept between calls;
 * only then are its lines read.
 *
 *   <BOM|LF> event: x CRLF data: 1 CRLF data: 2 CRLF CR | LF ...
 *            ^at                        ^line_at    ^scanned
 *
 * A CR ends its line at once, since waiting for the LF that may follow would hold back an event.
 * When that LF comes only with the next bytes it stands in front of the next event and is skipped
 * there, as is a byte order mark in front of the first.
 */
#include "wire/sse.h"

#include "base/scan.h"

static const char bom[] = "\xef\xbb\xbf";

enum { BOM_LEN = 3 };

void sse_init(struct sse *s, size_t event_max)
{
    *s = (struct sse){.max = event_max};
}

/* Bytes in front that belong to no line. False while a byte order mark may still be coming. */
static bool skip_front(struct sse *s, const char *p, size_t n, size_t *ret_at)
{
    *ret_at = 0;
    if (!s->started) {
        if (memcmp(p, bom, size_min(n, BOM_LEN)) == 0)
            *ret_at = BOM_LEN;
    } else if (s->skip_lf && p[0] == '\n') {
        *ret_at = 1;
    }
    if (n < *ret_at)
        return false;
    s->scanned = size_max(s->scanned, *ret_at);
    s->line_at = size_max(s->line_at, *ret_at);
    return true;
}

/* Looks for an empty line from s->scanned on; true when one ends at *ret_end. */
static bool find_end(struct sse *s, const char *p, size_t n, size_t *ret_end)
{
    while (s->scanned < n) {
        size_t at = (size_t)(scan_eol(p + s->scanned, p + n) - p);
        bool empty = at == s->line_at;
        if (at == n) {
            s->scanned = n;
            return false;
        }
        s->scanned = s->line_at = at + 1;
        if (empty && at > 0 && p[at] == '\n' && p[at - 1] == '\r')
            continue; /* the other half of a line's end */
        if (empty) {
            *ret_end = at + 1;
            return true;
        }
    }
    return false;
}

/* The line at *at without its end, which is within the event; moves *at behind both. */
static struct str next_line(const char *p, size_t *at, size_t end)
{
    const char *from = p + *at, *eol = scan_eol(from, p + end);
    ASSERT(eol < p + end);
    *at = (size_t)(eol - p) + 1;
    if (*eol == '\r' && *at < end && p[*at] == '\n')
        (*at)++;
    return str_of(from, (size_t)(eol - from));
}

static struct str field_value(struct str line, size_t name_len)
{
    struct str value = str_skip(line, size_min(line.n, name_len + 1));
    return value.n && value.p[0] == ' ' ? str_skip(value, 1) : value;
}

/* Moves a further data line behind the data so far, with an LF between. It fits: there stood at
 * least the end of a line and the field's name between them. */
static void append_data(struct sse_event *ret, char *p, struct str value)
{
    if (!ret->data.p) {
        ret->data = value;
        return;
    }
    char *end = p + (ret->data.p - p) + ret->data.n;
    ASSERT(end < value.p);
    *end = '\n';
    memmove(end + 1, value.p, value.n);
    ret->data.n += 1 + value.n;
}

static void read_event(char *p, size_t at, size_t end, struct sse_event *ret)
{
    *ret = (struct sse_event){.comment = true};
    while (at < end) {
        struct str line = next_line(p, &at, end);
        struct str name = str_head(line, str_find(line, ':'));
        if (name.n == 0)
            continue; /* a comment, or the empty line at the end */
        ret->comment = false;
        if (str_eq(name, STR("data")))
            append_data(ret, p, field_value(line, name.n));
        else if (str_eq(name, STR("event")))
            ret->name = field_value(line, name.n);
    }
}

enum sse_result sse_next(struct sse *s, char *p, size_t n, struct sse_event *ret, size_t *ret_used)
{
    size_t at, end;
    if (n == 0 || !skip_front(s, p, n, &at))
        return SSE_MORE;
    if (!find_end(s, p, n, &end))
        return n - at > s->max ? SSE_BAD : SSE_MORE;
    if (end - at > s->max)
        return SSE_BAD;
    read_event(p, at, end, ret);
    s->started = true;
    s->skip_lf = p[end - 1] == '\r';
    if (s->skip_lf && end < n) {
        s->skip_lf = false;
        end += p[end] == '\n';
    }
    s->scanned = s->line_at = 0;
    *ret_used = end;
    return SSE_EVENT;
}
