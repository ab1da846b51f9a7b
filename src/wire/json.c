/* json.c - see json.h. One pass over the text with an explicit stack of open containers.
 *
 * The tape is written as values are met; a container's length and `next` are filled in when it closes.
 * Duplicate keys are looked for when an object closes: pairwise while it is small, else by a table of
 * keyed hashes, so that an object made of colliding keys costs no more than another.
 */
#include "wire/json.h"

#include <errno.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"

enum { NODES_FIRST = 64, PAIRWISE_MAX = 16, NUMBER_MAX = 64 };

struct parser {
    struct json *doc;
    const char *p, *at, *end;
    uint32_t open[JSON_DEPTH_MAX]; /* indices of open containers */
    uint32_t depth;
    enum json_error error;
};

void json_init(struct json *doc)
{
    *doc = (struct json){0};
}

void json_done(struct json *doc)
{
    mem_free(doc->nodes);
    mem_free(doc->scratch);
    json_init(doc);
}

const char *json_error_text(enum json_error e)
{
    static const char *const texts[] = {
        [JSON_OK] = "no error",
        [JSON_ERR_SYNTAX] = "syntax error",
        [JSON_ERR_UTF8] = "invalid UTF-8",
        [JSON_ERR_SURROGATE] = "lone surrogate",
        [JSON_ERR_DUPLICATE_KEY] = "duplicate key",
        [JSON_ERR_KEY] = "unusable key",
        [JSON_ERR_DEPTH] = "nested too deeply",
        [JSON_ERR_NODES] = "too many values",
        [JSON_ERR_EMPTY] = "empty document",
        [JSON_ERR_TRAILING] = "something behind the document",
        [JSON_ERR_SIZE] = "too large",
    };
    return texts[e];
}

/* --- strings -------------------------------------------------------------------------------- */

/* Bytes that end a plain run: quote, backslash, control characters, and everything not ASCII. */
static const char *skip_plain_slowly(const char *p, const char *end)
{
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20 &&
           (unsigned char)*p < 0x80)
        p++;
    return p;
}

#ifdef __SSE2__
static const char *skip_plain(const char *p, const char *end)
{
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(0x20);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* signed: bytes of 0x80 and more are negative, so they too are below a space */
        __m128i odd = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
                                   _mm_cmplt_epi8(v, space));
        int mask = _mm_movemask_epi8(odd);
        if (mask)
            return p + __builtin_ctz((unsigned)mask);
        p += 16;
    }
    return skip_plain_slowly(p, end);
}
#else
static const char *skip_plain(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    while (end - p >= 8) {
        uint64_t v, q, s;
        memcpy(&v, p, 8);
        q = v ^ (ones * '"');
        s = v ^ (ones * '\\');
        if (((v - ones * 0x20) | (q - ones) | (s - ones) | v) & highs)
            break;
        p += 8;
    }
    return skip_plain_slowly(p, end);
}
#endif

static bool read_hex4(const char *p, const char *end, uint32_t *ret)
{
    if (end - p < 4)
        return false;
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        uint32_t d;
        if (c >= '0' && c <= '9')
            d = (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            d = (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return false;
        v = v << 4 | d;
    }
    *ret = v;
    return true;
}

static bool is_high(uint32_t u)
{
    return u >= 0xd800 && u <= 0xdbff;
}

static bool is_low(uint32_t u)
{
    return u >= 0xdc00 && u <= 0xdfff;
}

/* Behind a backslash. RFC 8259 section 7; surrogates must come in pairs. */
static enum json_error skip_escape(const char **at, const char *end)
{
    const char *p = *at;
    if (p >= end)
        return JSON_ERR_SYNTAX;
    if (*p != 'u') {
        if (*p == '\0' || !strchr("\"\\/bfnrt", *p))
            return JSON_ERR_SYNTAX;
        *at = p + 1;
        return JSON_OK;
    }
    uint32_t u, low;
    if (!read_hex4(p + 1, end, &u))
        return JSON_ERR_SYNTAX;
    p += 5;
    if (is_low(u))
        return JSON_ERR_SURROGATE;
    if (is_high(u)) {
        if (end - p < 2 || p[0] != '\\' || p[1] != 'u' || !read_hex4(p + 2, end, &low) ||
            !is_low(low))
            return JSON_ERR_SURROGATE;
        p += 6;
    }
    *at = p;
    return JSON_OK;
}

/* One well-formed UTF-8 sequence of two to four bytes (Unicode table 3-7); NULL when it is not. */
static const char *skip_rune(const char *p, const char *end)
{
    unsigned char a = (unsigned char)p[0];
    ptrdiff_t n = a >= 0xf0 ? 4 : a >= 0xe0 ? 3 : 2;
    if (a < 0xc2 || a > 0xf4 || end - p < n)
        return NULL;
    unsigned char b = (unsigned char)p[1];
    unsigned char lowest = a == 0xe0 ? 0xa0 : a == 0xf0 ? 0x90 : 0x80;
    unsigned char highest = a == 0xed ? 0x9f : a == 0xf4 ? 0x8f : 0xbf;
    if (b < lowest || b > highest)
        return NULL;
    for (ptrdiff_t i = 2; i < n; i++)
        if (((unsigned char)p[i] & 0xc0) != 0x80)
            return NULL;
    return p + n;
}

/* From behind the opening quote to behind the closing one. */
static enum json_error skip_string(const char **at, const char *end, bool *ret_escaped)
{
    const char *p = *at;
    for (;;) {
        p = skip_plain(p, end);
        if (p >= end)
            return *at = p, JSON_ERR_SYNTAX;
        if (*p == '"')
            break;
        if (*p == '\\') {
            *ret_escaped = true;
            p++;
            enum json_error e = skip_escape(&p, end);
            if (e != JSON_OK)
                return *at = p, e;
        } else if ((unsigned char)*p < 0x20) {
            return *at = p, JSON_ERR_SYNTAX;
        } else {
            const char *next = skip_rune(p, end);
            if (!next)
                return *at = p, JSON_ERR_UTF8;
            p = next;
        }
    }
    *at = p + 1;
    return JSON_OK;
}

static size_t put_escape(const char **at, char *out)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *p = *at;
    if (*p != 'u') {
        const char *known = strchr(from, *p);
        *out = known ? to[known - from] : *p;
        *at = p + 1;
        return 1;
    }
    uint32_t u = 0, low = 0;
    bool ok = read_hex4(p + 1, p + 5, &u);
    p += 5;
    if (ok && is_high(u)) {
        ok = read_hex4(p + 2, p + 6, &low);
        u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
        p += 6;
    }
    ASSERT(ok); /* the string was parsed before */
    *at = p;
    return text_utf8_encode(u, out);
}

size_t json_unescape(struct str raw, char *out)
{
    const char *p = raw.p, *end = raw.p + raw.n;
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

/* --- the tape ------------------------------------------------------------------------------- */

static bool fail(struct parser *s, enum json_error e)
{
    s->error = e;
    return false;
}

static struct json_node *add_node(struct parser *s, enum json_type type, const char *from)
{
    struct json *doc = s->doc;
    if (doc->n == doc->cap) {
        doc->cap = doc->cap ? doc->cap * 2 : NODES_FIRST;
        doc->nodes = mem_realloc(doc->nodes, doc->cap * sizeof(*doc->nodes));
    }
    struct json_node *node = &doc->nodes[doc->n++];
    *node = (struct json_node){.at = (uint32_t)(from - s->p),
                               .next = doc->n,
                               .type = (uint8_t)type,
                               .depth = (uint16_t)s->depth};
    return node;
}

static void skip_space(struct parser *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
}

static bool parse_string(struct parser *s, uint32_t *ret_index)
{
    const char *from = ++s->at;
    bool escaped = false;
    enum json_error e = skip_string(&s->at, s->end, &escaped);
    if (e != JSON_OK)
        return fail(s, e);
    struct json_node *node = add_node(s, JSON_STRING, from);
    node->len = (uint32_t)(s->at - 1 - from);
    node->escaped = escaped;
    *ret_index = s->doc->n - 1;
    return true;
}

static bool skip_digits(struct parser *s)
{
    const char *from = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > from;
}

static bool take_char(struct parser *s, char c)
{
    if (s->at >= s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

/* RFC 8259 section 6: no plus, no leading zeros, digits on both sides of the point. */
static bool parse_number(struct parser *s)
{
    const char *from = s->at;
    take_char(s, '-');
    if (!take_char(s, '0') && !skip_digits(s))
        return fail(s, JSON_ERR_SYNTAX);
    if (take_char(s, '.') && !skip_digits(s))
        return fail(s, JSON_ERR_SYNTAX);
    if (take_char(s, 'e') || take_char(s, 'E')) {
        if (!take_char(s, '+'))
            take_char(s, '-');
        if (!skip_digits(s))
            return fail(s, JSON_ERR_SYNTAX);
    }
    add_node(s, JSON_NUMBER, from)->len = (uint32_t)(s->at - from);
    return true;
}

static bool parse_word(struct parser *s, struct str word, enum json_type type)
{
    if ((size_t)(s->end - s->at) < word.n || memcmp(s->at, word.p, word.n) != 0)
        return fail(s, JSON_ERR_SYNTAX);
    add_node(s, type, s->at)->len = (uint32_t)word.n;
    s->at += word.n;
    return true;
}

/* --- keys ----------------------------------------------------------------------------------- */

static struct str node_text(const struct json *doc, uint32_t i)
{
    return str_of(doc->text.p + doc->nodes[i].at, doc->nodes[i].len);
}

/* A key's meaning; bounded, since keys are. */
static struct str key_meaning(const struct json *doc, uint32_t i, char room[JSON_KEY_MAX])
{
    struct str raw = node_text(doc, i);
    if (!doc->nodes[i].escaped)
        return raw;
    return str_of(room, json_unescape(raw, room));
}

static bool same_key(const struct json *doc, uint32_t a, uint32_t b)
{
    const struct json_node *na = &doc->nodes[a], *nb = &doc->nodes[b];
    if (!na->escaped && !nb->escaped)
        return na->len == nb->len && memcmp(doc->text.p + na->at, doc->text.p + nb->at, na->len) == 0;
    char ra[JSON_KEY_MAX], rb[JSON_KEY_MAX];
    return str_eq(key_meaning(doc, a, ra), key_meaning(doc, b, rb));
}

static bool has_twins_pairwise(const struct json *doc, uint32_t object)
{
    uint32_t end = doc->nodes[object].next;
    for (uint32_t a = object + 1; a < end; a = doc->nodes[a + 1].next)
        for (uint32_t b = doc->nodes[a + 1].next; b < end; b = doc->nodes[b + 1].next)
            if (same_key(doc, a, b))
                return true;
    return false;
}

static bool has_twins_by_hash(struct json *doc, uint32_t object, uint32_t n)
{
    uint32_t size = 64;
    while (size < 2 * n)
        size *= 2;
    if (size > doc->cap_scratch) {
        doc->scratch = mem_realloc(doc->scratch, size * sizeof(*doc->scratch));
        doc->cap_scratch = size;
    }
    memset(doc->scratch, 0, size * sizeof(*doc->scratch));
    char room[JSON_KEY_MAX];
    uint32_t end = doc->nodes[object].next;
    for (uint32_t key = object + 1; key < end; key = doc->nodes[key + 1].next) {
        uint32_t slot = (uint32_t)hash_sip(key_meaning(doc, key, room)) & (size - 1);
        for (; doc->scratch[slot]; slot = (slot + 1) & (size - 1))
            if (same_key(doc, doc->scratch[slot], key))
                return true;
        doc->scratch[slot] = key; /* never 0: that is the root */
    }
    return false;
}

static bool has_twins(struct json *doc, uint32_t object)
{
    uint32_t n = 0;
    for (uint32_t key = object + 1; key < doc->nodes[object].next; key = doc->nodes[key + 1].next)
        n++;
    return n <= PAIRWISE_MAX ? has_twins_pairwise(doc, object) : has_twins_by_hash(doc, object, n);
}

/* A key and its colon. */
static bool parse_key(struct parser *s)
{
    uint32_t i;
    if (s->at >= s->end || *s->at != '"')
        return fail(s, JSON_ERR_SYNTAX);
    if (!parse_string(s, &i))
        return false;
    const struct json_node *node = &s->doc->nodes[i];
    if (node->len > JSON_KEY_MAX)
        return fail(s, JSON_ERR_KEY);
    if (node->escaped && str_find_str(node_text(s->doc, i), STR("\\u0000")) < node->len)
        return fail(s, JSON_ERR_KEY);
    skip_space(s);
    if (!take_char(s, ':'))
        return fail(s, JSON_ERR_SYNTAX);
    skip_space(s);
    return true;
}

/* --- values --------------------------------------------------------------------------------- */

static bool open_container(struct parser *s, enum json_type type)
{
    if (s->depth == JSON_DEPTH_MAX)
        return fail(s, JSON_ERR_DEPTH);
    add_node(s, type, s->at++);
    s->open[s->depth++] = s->doc->n - 1;
    return true;
}

static bool close_container(struct parser *s)
{
    uint32_t i = s->open[--s->depth];
    struct json_node *node = &s->doc->nodes[i];
    node->len = (uint32_t)(++s->at - s->p) - node->at;
    node->next = s->doc->n;
    if (node->type == JSON_OBJECT && has_twins(s->doc, i))
        return fail(s, JSON_ERR_DUPLICATE_KEY);
    return true;
}

static bool parse_scalar(struct parser *s)
{
    uint32_t i;
    switch (*s->at) {
    case '"': return parse_string(s, &i);
    case 't': return parse_word(s, STR("true"), JSON_TRUE);
    case 'f': return parse_word(s, STR("false"), JSON_FALSE);
    case 'n': return parse_word(s, STR("null"), JSON_NULL);
    default: return parse_number(s);
    }
}

/* Behind a value: closes what ends here. True when another value must follow, *ret_over when the
 * document is complete. */
static bool after_value(struct parser *s, bool *ret_over)
{
    while (s->depth > 0) {
        bool in_object = s->doc->nodes[s->open[s->depth - 1]].type == JSON_OBJECT;
        skip_space(s);
        if (take_char(s, ',')) {
            skip_space(s);
            return !in_object || parse_key(s);
        }
        if (s->at >= s->end || *s->at != (in_object ? '}' : ']'))
            return fail(s, JSON_ERR_SYNTAX);
        if (!close_container(s))
            return false;
    }
    *ret_over = true;
    return true;
}

/* An opening bracket and what stands behind it. *ret_empty: it was closed at once. */
static bool begin_container(struct parser *s, bool *ret_empty)
{
    bool is_object = *s->at == '{';
    if (!open_container(s, is_object ? JSON_OBJECT : JSON_ARRAY))
        return false;
    skip_space(s);
    *ret_empty = s->at < s->end && *s->at == (is_object ? '}' : ']');
    if (*ret_empty)
        return close_container(s);
    return !is_object || parse_key(s);
}

static bool parse_document(struct parser *s)
{
    bool over = false;
    while (!over) {
        if (s->at >= s->end)
            return fail(s, JSON_ERR_SYNTAX);
        if (s->doc->n >= JSON_NODES_MAX)
            return fail(s, JSON_ERR_NODES);
        if (*s->at == '{' || *s->at == '[') {
            bool empty;
            if (!begin_container(s, &empty))
                return false;
            if (!empty)
                continue;
        } else if (!parse_scalar(s)) {
            return false;
        }
        if (!after_value(s, &over))
            return false;
    }
    skip_space(s);
    return s->at == s->end || fail(s, JSON_ERR_TRAILING);
}

enum json_error json_parse(struct json *doc, struct str text)
{
    doc->text = text;
    doc->n = 0;
    doc->error_at = 0;
    if (text.n >= UINT32_MAX)
        return JSON_ERR_SIZE;
    struct parser s = {.doc = doc, .p = text.p, .at = text.p, .end = text.p + text.n};
    skip_space(&s);
    if (s.at == s.end)
        return JSON_ERR_EMPTY;
    if (parse_document(&s))
        return JSON_OK;
    doc->error_at = (size_t)(s.at - s.p);
    return s.error;
}

/* --- reading -------------------------------------------------------------------------------- */

static const struct json_node *node_of(struct jval v)
{
    return &v.doc->nodes[v.i];
}

enum json_type json_type(struct jval v)
{
    return v.doc ? (enum json_type)node_of(v)->type : JSON_NULL;
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
    return json_is(v, JSON_STRING) ? node_text(v.doc, v.i) : STR_NONE;
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

/* Compares piece by piece, so that a long string needs no room. */
static bool escaped_is(struct str raw, struct str s)
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

bool json_str_is(struct jval v, struct str s)
{
    if (!json_is(v, JSON_STRING))
        return false;
    struct str raw = node_text(v.doc, v.i);
    return node_of(v)->escaped ? escaped_is(raw, s) : str_eq(raw, s);
}

/* A number's text as digits and the power of ten behind them. */
struct decimal {
    bool negative;
    char digits[NUMBER_MAX];
    size_t n;
    int64_t exponent;
};

static bool read_decimal(struct str s, struct decimal *d)
{
    *d = (struct decimal){0};
    bool behind_point = false;
    size_t i = 0;
    if (s.n && s.p[0] == '-') {
        d->negative = true;
        i++;
    }
    for (; i < s.n && s.p[i] != 'e' && s.p[i] != 'E'; i++) {
        if (s.p[i] == '.') {
            behind_point = true;
            continue;
        }
        d->exponent -= behind_point;
        if (d->n == 0 && s.p[i] == '0')
            continue;
        if (d->n == NUMBER_MAX)
            return false;
        d->digits[d->n++] = s.p[i];
    }
    if (i == s.n)
        return true;
    struct str e = str_skip(s, i + 1);
    if (e.n && e.p[0] == '+')
        e = str_skip(e, 1);
    int64_t exponent;
    if (!str_to_i64(e, &exponent) || exponent > 1000 || exponent < -1000)
        return d->n == 0; /* zero, whatever the exponent */
    d->exponent += exponent;
    return true;
}

bool json_i64(struct jval v, int64_t *ret)
{
    struct decimal d;
    if (!json_is(v, JSON_NUMBER) || !read_decimal(json_raw(v), &d))
        return false;
    if (d.n == 0)
        return *ret = 0, true;
    for (; d.exponent < 0; d.exponent++) /* 10.0 and 100e-1 are integers */
        if (d.n == 0 || d.digits[--d.n] != '0')
            return false;
    uint64_t value = 0;
    const uint64_t limit = (uint64_t)INT64_MAX + d.negative;
    for (size_t i = 0; i < d.n + (size_t)d.exponent; i++) {
        uint64_t digit = i < d.n ? (uint64_t)(d.digits[i] - '0') : 0;
        if (value > (limit - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret = d.negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

bool json_f64(struct jval v, double *ret)
{
    struct str raw = json_raw(v);
    char text[512];
    if (!json_is(v, JSON_NUMBER) || raw.n >= sizeof(text))
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
        json_each_member(key, container) n++;
        return n;
    }
    if (json_is(container, JSON_ARRAY))
        json_each(v, container) n++;
    return n;
}

struct jval json_get(struct jval object, struct str key)
{
    if (!json_is(object, JSON_OBJECT))
        return JVAL_NONE;
    json_each_member(k, object)
        if (json_str_is(k, key))
            return json_value(k);
    return JVAL_NONE;
}
