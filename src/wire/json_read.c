/* json_read.c - what the values on a tape mean; json.c makes the tape.
 *
 * A string is unescaped and a number converted only here, when somebody asks. All of it may rely on
 * what the parser has checked.
 */
#include <errno.h>

#include "base/scan.h"
#include "base/text.h"
#include "wire/json.h"
#include "wire/json_int.h"

enum { DIGITS_MAX = 18, NUMBER_MAX = 1024, EXPONENT_MAX = 19 /* 10^19 does not fit in 63 bits */ };

/* What the escape behind a backslash means, into out; moves *at behind it. */
static size_t put_escape(const char **at, char *out)
{
    const char *p = *at;
    uint32_t u = 0, low = 0;
    bool ok;
    if (*p != 'u') {
        *out = json_escapes[(unsigned char)*p];
        *at = p + 1;
        return 1;
    }
    ok = json_hex4(p + 1, p + 5, &u);
    p += 5;
    if (ok && json_is_high(u)) {
        ok = json_hex4(p + 2, p + 6, &low);
        u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
        p += 6;
    }
    ASSERT(ok); /* the string was parsed before */
    *at = p;
    return text_utf8_encode(u, out);
}

size_t json_unescape(struct str raw, char *out)
{
    const char *p = raw.p, *end = p ? p + raw.n : NULL;
    char *o = out;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((slash ? slash : end) - p);
        memmove(o, p, plain);
        o += plain;
        p += plain;
        if (!slash)
            break;
        p++;
        o += put_escape(&p, o);
    }
    return (size_t)(o - out);
}

static const struct json_node *node_of(struct jval v)
{
    return &v.doc->nodes[v.i];
}

struct str json_raw(struct jval v)
{
    if (!v.doc)
        return STR_NONE;
    const struct json_node *node = node_of(v);
    if (node->type == JSON_STRING)
        return str_of(v.doc->text.p + node->at - 1, node->len + 2);
    return str_of(v.doc->text.p + node->at, node->len);
}

struct str json_str_raw(struct jval v)
{
    return json_is(v, JSON_STRING) ? json_node_text(v.doc, v.i) : STR_NONE;
}

bool json_is_escaped(struct jval v)
{
    return json_is(v, JSON_STRING) && node_of(v)->escaped;
}

struct str json_str(struct jval v, struct arena *a)
{
    struct str raw = json_str_raw(v);
    if (!json_is_escaped(v))
        return raw;
    char *out = arena_alloc(a, raw.n);
    return str_of(out, json_unescape(raw, out));
}

/* Compares piece by piece, so that a long string needs no room. Apart, for it is rare and would make
 * its callers save and guard more than they need. */
NOINLINE static bool escaped_is(struct str raw, struct str s)
{
    const char *p = raw.p, *end = raw.p + raw.n;
    while (p < end) {
        char piece[4];
        size_t n = 1;
        if (*p == '\\') {
            p++;
            n = put_escape(&p, piece);
        } else {
            piece[0] = *p++;
        }
        if (s.n < n || memcmp(s.p, piece, n) != 0)
            return false;
        s = str_skip(s, n);
    }
    return s.n == 0;
}

bool json_string_is(struct jval v, struct str s)
{
    struct str raw = json_node_text(v.doc, v.i);
    return node_of(v)->escaped ? escaped_is(raw, s) : str_eq(raw, s);
}

/* A number as value * 10^exponent, without zeros at the end of value. */
struct decimal {
    bool negative;
    uint64_t value;
    int64_t exponent;
};

/* False when there are more digits than a word holds: then it is no integer that fits either. */
static bool read_decimal(struct str s, struct decimal *d)
{
    int64_t zeros = 0, behind_point = 0;
    bool seen_point = false;
    *d = (struct decimal){.negative = s.n && s.p[0] == '-'};
    size_t i = d->negative;
    for (; i < s.n && s.p[i] != 'e' && s.p[i] != 'E'; i++) {
        if (s.p[i] == '.') {
            seen_point = true;
            continue;
        }
        behind_point += seen_point;
        zeros++;
        if (s.p[i] == '0')
            continue;
        for (; zeros > 0; zeros--)
            if (__builtin_mul_overflow(d->value, 10, &d->value))
                return false;
        if (__builtin_add_overflow(d->value, (uint64_t)(s.p[i] - '0'), &d->value))
            return false;
    }
    d->exponent = zeros - behind_point;
    if (i >= s.n || d->value == 0)
        return true;
    int64_t written;
    i += s.p[i + 1] == '+' ? 2 : 1;
    return str_to_i64(str_skip(s, i), &written) &&
           !__builtin_add_overflow(d->exponent, written, &d->exponent);
}

/* A number that is written in another way than most are. */
NOINLINE static bool integer_of(struct str s, int64_t *ret)
{
    struct decimal d;
    if (!read_decimal(s, &d))
        return false;
    if (d.value == 0)
        return *ret = 0, true;
    if (d.exponent < 0 || d.exponent >= EXPONENT_MAX)
        return false;
    for (; d.exponent > 0; d.exponent--)
        if (__builtin_mul_overflow(d.value, 10, &d.value))
            return false;
    if (d.value > (uint64_t)INT64_MAX + d.negative)
        return false;
    *ret = d.negative ? (int64_t)(0 - d.value) : (int64_t)d.value;
    return true;
}

bool json_i64(struct jval v, int64_t *ret)
{
    uint64_t n;
    if (!json_is(v, JSON_NUMBER))
        return false;
    struct str s = json_node_text(v.doc, v.i);
    if (s.n > DIGITS_MAX || !str_to_u64(s, &n))
        return integer_of(s, ret);
    *ret = (int64_t)n;
    return true;
}

bool json_is_whole(struct jval v)
{
    int64_t n;
    if (!json_is(v, JSON_NUMBER))
        return false;
    struct str s = json_raw(v);
    return json_i64(v, &n) ||
           (str_find(s, '.') == s.n && str_find(s, 'e') == s.n && str_find(s, 'E') == s.n);
}

bool json_f64(struct jval v, double *ret)
{
    if (!json_is(v, JSON_NUMBER))
        return false;
    struct str raw = json_node_text(v.doc, v.i);
    char text[NUMBER_MAX];
    if (raw.n >= sizeof(text))
        return false;
    memcpy(text, raw.p, raw.n);
    text[raw.n] = '\0';
    errno = 0;
    double value = strtod(text, NULL);
    if (errno == ERANGE && (value > 1 || value < -1))
        return false;
    *ret = value;
    return true;
}

struct jval json_first(struct jval container)
{
    enum json_type type = json_type(container);
    if ((type != JSON_ARRAY && type != JSON_OBJECT) || json_empty(container))
        return JVAL_NONE;
    return (struct jval){container.doc, container.i + 1};
}

struct jval json_next(struct jval container, struct jval v)
{
    if (!v.doc)
        return JVAL_NONE;
    uint32_t i = node_of(v)->next;
    return i < node_of(container)->next ? (struct jval){container.doc, i} : JVAL_NONE;
}

bool json_empty(struct jval container)
{
    return !container.doc || node_of(container)->next == container.i + 1;
}

uint32_t json_count(struct jval container)
{
    uint32_t n = 0;
    if (json_is(container, JSON_OBJECT)) {
        json_each_member (key, container)
            n++;
        return n;
    }
    if (json_is(container, JSON_ARRAY))
        json_each (v, container)
            n++;
    return n;
}

/* From the key at i on, of which some are escaped; apart, so that the rest needs no room for a call. */
NOINLINE static struct jval get_escaped(struct jval object, uint32_t i, struct str key)
{
    uint32_t end = node_of(object)->next;
    for (; i < end; i = json_next_key(object.doc, i))
        if (json_string_is((struct jval){object.doc, i}, key))
            return (struct jval){object.doc, i + 1};
    return JVAL_NONE;
}

struct jval json_get(struct jval object, struct str key)
{
    if (!json_is(object, JSON_OBJECT))
        return JVAL_NONE;
    const struct json *doc = object.doc;
    uint32_t end = node_of(object)->next;
    for (uint32_t i = object.i + 1; i < end; i = json_next_key(doc, i)) {
        const struct json_node *node = &doc->nodes[i];
        if (UNLIKELY(node->escaped))
            return get_escaped(object, i, key);
        if (node->len == key.n && scan_same(doc->text.p + node->at, key.p, key.n))
            return (struct jval){doc, i + 1};
    }
    return JVAL_NONE;
}
