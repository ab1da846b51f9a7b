/* jsonw.c - see jsonw.h. */
#include "wire/jsonw.h"

#include <inttypes.h>

#include "base/text.h"

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

/* Short generated text: always copied. */
static void put(struct jsonw *w, struct str s)
{
    bool ok = w->rope ? rope_add(w->rope, s) : buf_append(w->buf, s);
    if (!ok)
        w->full = true;
}

static void put_char(struct jsonw *w, char c)
{
    put(w, str_of(&c, 1));
}

/* The comma before a value or key that is not the first of its container. */
static void begin_item(struct jsonw *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    uint64_t bit = (uint64_t)1 << w->depth;
    if (w->depth > 0 && w->has_items & bit)
        put(w, STR(","));
    w->has_items |= bit;
}

static void open_container(struct jsonw *w, struct str bracket)
{
    begin_item(w);
    ASSERT(w->depth < JSONW_DEPTH_MAX);
    w->depth++;
    w->has_items &= ~((uint64_t)1 << w->depth);
    put(w, bracket);
}

static void close_container(struct jsonw *w, struct str bracket)
{
    ASSERT(w->depth > 0 && !w->after_key);
    w->depth--;
    put(w, bracket);
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
    begin_item(w);
    put_char(w, '"');
    put(w, key);
    put(w, STR("\":"));
    w->after_key = true;
}

static bool needs_escape(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

static bool escape_char(struct buf *out, unsigned char c)
{
    static const char from[] = "\"\\\n\t\r\b\f", to[] = "\"\\ntrbf";
    const char *known = memchr(from, c, sizeof(from) - 1);
    if (known) {
        char pair[2] = {'\\', to[known - from]};
        return buf_append(out, str_of(pair, 2));
    }
    char hex[2];
    text_hex(&c, 1, hex);
    return buf_lit(out, "\\u00") && buf_append(out, str_of(hex, 2));
}

/* Bytes at the start of s that can stand as they are. */
static size_t plain_run(struct str s)
{
    size_t n = 0;
    while (n < s.n && !needs_escape((unsigned char)s.p[n]))
        n++;
    return text_utf8_valid(str_head(s, n));
}

bool jsonw_escape(struct buf *out, struct str s)
{
    while (s.n > 0) {
        size_t n = plain_run(s);
        if (!buf_append(out, str_head(s, n)))
            return false;
        s = str_skip(s, n);
        if (s.n == 0)
            return true;
        unsigned char c = (unsigned char)s.p[0];
        bool ok = needs_escape(c) ? escape_char(out, c) : buf_lit(out, "\xef\xbf\xbd");
        if (!ok)
            return false;
        s = str_skip(s, 1);
    }
    return true;
}

void jsonw_str_open(struct jsonw *w)
{
    begin_item(w);
    put_char(w, '"');
}

void jsonw_str_part(struct jsonw *w, struct str inside)
{
    put(w, inside);
}

void jsonw_str_part_escaped(struct jsonw *w, struct str plain)
{
    if (!jsonw_escape(w->buf, plain))
        w->full = true;
}

void jsonw_str_close(struct jsonw *w)
{
    put_char(w, '"');
}

void jsonw_str(struct jsonw *w, struct str s)
{
    jsonw_str_open(w);
    jsonw_str_part_escaped(w, s);
    jsonw_str_close(w);
}

void jsonw_str_raw(struct jsonw *w, struct str inside)
{
    jsonw_str_open(w);
    jsonw_str_part(w, inside);
    jsonw_str_close(w);
}

void jsonw_raw(struct jsonw *w, struct str value)
{
    begin_item(w);
    put(w, value);
}

void jsonw_i64(struct jsonw *w, int64_t n)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRId64, n);
    jsonw_raw(w, str_of(text, (size_t)len));
}

void jsonw_bool(struct jsonw *w, bool b)
{
    jsonw_raw(w, b ? STR("true") : STR("false"));
}

void jsonw_null(struct jsonw *w)
{
    jsonw_raw(w, STR("null"));
}
