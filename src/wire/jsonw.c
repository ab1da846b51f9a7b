/* jsonw.c - see jsonw.h.
 *
 * An item is written in one piece where it can be: the comma that is due, the quotes and the text
 * share one reservation, because a streamed event is made of many short items. Only a span that the
 * rope would borrow, or a string that needs escapes, is put in by parts.
 */
#include "wire/jsonw.h"

#include "base/scan.h"

enum { ESCAPE_MAX = 6, I64_TEXT = 20 };

void jsonw_to_buf(struct jsonw *w, struct buf *out)
{
    *w = (struct jsonw){.buf = out};
}

void jsonw_to_rope(struct jsonw *w, struct rope *out)
{
    *w = (struct jsonw){.buf = &out->text, .rope = out};
}

bool jsonw_ok(const struct jsonw *w)
{
    ASSERT(w->depth == 0 && !w->after_key);
    return !w->full;
}

/* Whether a comma belongs before the item that begins now. */
static size_t take_comma(struct jsonw *w)
{
    uint64_t bit = UINT64_C(1) << w->depth;
    size_t due = w->depth > 0 && !w->after_key && w->has_items & bit;
    w->after_key = false;
    w->has_items |= bit;
    return due;
}

/* head, middle and tail (short) as one piece, with the comma that is due in front of an item. */
static inline void put(struct jsonw *w, size_t comma, struct str head, struct str middle,
                       struct str tail)
{
    char *p = buf_reserve(w->buf, comma + head.n + middle.n + tail.n);
    if (UNLIKELY(!p)) {
        w->full = true;
        return;
    }
    char *at = p;
    if (comma)
        *at++ = ',';
    memcpy(at, head.p, head.n);
    at += head.n;
    if (middle.n)
        memcpy(at, middle.p, middle.n);
    at += middle.n;
    memcpy(at, tail.p, tail.n);
    at += tail.n;
    buf_commit(w->buf, (size_t)(at - p));
}

static void put_text(struct jsonw *w, struct str s)
{
    put(w, 0, STR(""), s, STR(""));
}

static bool is_borrowed(const struct jsonw *w, struct str s)
{
    return w->rope && s.n >= ROPE_BORROW_MIN;
}

/* Text of somebody else's, spliced in: what is long is borrowed. */
static void splice(struct jsonw *w, struct str s)
{
    if (!is_borrowed(w, s))
        put_text(w, s);
    else if (!rope_add(w->rope, s))
        w->full = true;
}

static void open_container(struct jsonw *w, struct str bracket)
{
    put(w, take_comma(w), STR(""), bracket, STR(""));
    ASSERT(w->depth < JSONW_DEPTH_MAX);
    w->depth++;
    w->has_items &= ~(UINT64_C(1) << w->depth);
}

static void close_container(struct jsonw *w, struct str bracket)
{
    ASSERT(w->depth > 0 && !w->after_key);
    w->depth--;
    put_text(w, bracket);
}

void jsonw_object(struct jsonw *w)
{
    open_container(w, STR("{"));
}

void jsonw_object_end(struct jsonw *w)
{
    close_container(w, STR("}"));
}

void jsonw_array(struct jsonw *w)
{
    open_container(w, STR("["));
}

void jsonw_array_end(struct jsonw *w)
{
    close_container(w, STR("]"));
}

void jsonw_key(struct jsonw *w, struct str key)
{
    ASSERT(!w->after_key && w->depth > 0);
    put(w, take_comma(w), STR("\""), key, STR("\":"));
    w->after_key = true;
}

/* Where the text that can stand as it is ends: at an escape, or at what is no UTF-8. */
static const char *skip_verbatim(const char *p, const char *end)
{
    for (;;) {
        p = scan_plain(p, end);
        if (p == end || (unsigned char)*p < 0x80)
            return p;
        const char *next = scan_rune(p, end);
        if (!next)
            return p;
        p = next;
    }
}

/* What stands for a byte that cannot stand as it is; at most ESCAPE_MAX bytes. */
static size_t make_escape(unsigned char c, char *out)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[128] = {
        ['"'] = '"',  ['\\'] = '\\', ['\n'] = 'n', ['\t'] = 't',
        ['\r'] = 'r', ['\b'] = 'b',  ['\f'] = 'f',
    };
    if (c >= 0x80) {
        memcpy(out, "\xef\xbf\xbd", 3); /* U+FFFD */
        return 3;
    }
    out[0] = '\\';
    if (letters[c]) {
        out[1] = letters[c];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = digits[c >> 4];
    out[5] = digits[c & 15];
    return 6;
}

bool jsonw_escape(struct buf *out, struct str s)
{
    if (s.n == 0)
        return true;
    const char *p = s.p, *end = s.p + s.n;
    for (;;) {
        const char *stop = skip_verbatim(p, end);
        size_t plain = (size_t)(stop - p), n = 0;
        char escape[ESCAPE_MAX];
        if (stop < end)
            n = make_escape((unsigned char)*stop, escape);
        char *to = buf_reserve(out, plain + n);
        if (!to)
            return false;
        memcpy(to, p, plain);
        memcpy(to + plain, escape, n);
        buf_commit(out, plain + n);
        if (stop == end)
            return true;
        p = stop + 1;
    }
}

void jsonw_str_open(struct jsonw *w)
{
    put(w, take_comma(w), STR(""), STR("\""), STR(""));
}

void jsonw_str_part(struct jsonw *w, struct str inside)
{
    splice(w, inside);
}

void jsonw_str_part_escaped(struct jsonw *w, struct str plain)
{
    if (!jsonw_escape(w->buf, plain))
        w->full = true;
}

void jsonw_str_close(struct jsonw *w)
{
    put_text(w, STR("\""));
}

void jsonw_str(struct jsonw *w, struct str s)
{
    if (s.n == 0 || skip_verbatim(s.p, s.p + s.n) == s.p + s.n) {
        put(w, take_comma(w), STR("\""), s, STR("\""));
        return;
    }
    jsonw_str_open(w);
    jsonw_str_part_escaped(w, s);
    jsonw_str_close(w);
}

void jsonw_str_raw(struct jsonw *w, struct str inside)
{
    if (!is_borrowed(w, inside)) {
        put(w, take_comma(w), STR("\""), inside, STR("\""));
        return;
    }
    jsonw_str_open(w);
    splice(w, inside);
    jsonw_str_close(w);
}

void jsonw_raw(struct jsonw *w, struct str value)
{
    if (!is_borrowed(w, value)) {
        put(w, take_comma(w), STR(""), value, STR(""));
        return;
    }
    if (take_comma(w))
        put_text(w, STR(","));
    splice(w, value);
}

void jsonw_i64(struct jsonw *w, int64_t n)
{
    char text[I64_TEXT];
    size_t at = sizeof(text);
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (n < 0)
        text[--at] = '-';
    put(w, take_comma(w), STR(""), str_of(text + at, sizeof(text) - at), STR(""));
}

void jsonw_bool(struct jsonw *w, bool b)
{
    put(w, take_comma(w), STR(""), b ? STR("true") : STR("false"), STR(""));
}

void jsonw_null(struct jsonw *w)
{
    put(w, take_comma(w), STR(""), STR("null"), STR(""));
}
