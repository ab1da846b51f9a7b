/* json.c - see json.h. One pass over the text with an explicit stack of open containers.
 *
 * The tape is written as values are met; a container's length and `next` are filled in when it
 * closes. Duplicate keys are looked for when an object closes: in small ones only keys that
 * share a bit are compared, in large ones by a table of keyed hashes, so that an object made of
 * colliding keys costs no more than another. Every key costs what its own object costs and nothing
 * more: the whole stays linear.
 */
#include "wire/json.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/scan.h"
#include "wire/json_int.h"

/* A rare giant must not hold its memory for good: more than *_KEEP is given back before the next
 * document. */
enum { NODES_FIRST = 64, NODES_KEEP = 65536, SCRATCH_KEEP = 65536, PAIRWISE_MAX = 16 };

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

/* From the u of an escape to behind it; surrogates must come in pairs (RFC 8259 section 8.2). */
static enum json_error skip_unicode(const char **at, const char *end)
{
    const char *p = *at;
    uint32_t u, low;
    if (!json_hex4(p + 1, end, &u))
        return JSON_ERR_SYNTAX;
    if (json_is_low(u))
        return JSON_ERR_SURROGATE;
    p += 5;
    if (json_is_high(u)) {
        if (end - p < 2 || p[0] != '\\' || p[1] != 'u' || !json_hex4(p + 2, end, &low) ||
            !json_is_low(low))
            return JSON_ERR_SURROGATE;
        p += 6;
    }
    *at = p;
    return JSON_OK;
}

/* From a backslash to behind its escape. */
static enum json_error skip_escape(const char **at, const char *end)
{
    if (end - *at < 2)
        return JSON_ERR_SYNTAX;
    (*at)++;
    if (**at == 'u')
        return skip_unicode(at, end);
    if (!json_escapes[(unsigned char)**at])
        return JSON_ERR_SYNTAX;
    (*at)++;
    return JSON_OK;
}

/* From behind the opening quote to behind the closing one. */
static enum json_error skip_string(const char **at, const char *end, bool *ret_escaped)
{
    enum json_error e = JSON_OK;
    const char *p = *at, *next;
    bool escaped = false;
    for (;;) {
        p = scan_plain(p, end);
        if (p == end || *p == '"')
            break;
        if (*p == '\\') {
            escaped = true;
            e = skip_escape(&p, end);
        } else if ((unsigned char)*p < 0x20) {
            e = JSON_ERR_SYNTAX;
        } else {
            for (next = p; next && next < end && (unsigned char)*next >= 0x80;) {
                p = next;
                next = scan_rune(p, end);
            }
            if (next)
                p = next;
            else
                e = JSON_ERR_UTF8;
        }
        if (e != JSON_OK)
            return *at = p, e;
    }
    *ret_escaped = escaped;
    *at = p == end ? p : p + 1;
    return p == end ? JSON_ERR_SYNTAX : JSON_OK;
}

/* --- the tape ------------------------------------------------------------------------------- */

static bool fail(struct parser *s, enum json_error e)
{
    s->error = e;
    return false;
}

static bool grow_nodes(struct json *doc)
{
    if (doc->cap == JSON_NODES_MAX)
        return false;
    doc->cap = doc->cap ? (uint32_t)size_min(doc->cap * 2, JSON_NODES_MAX) : NODES_FIRST;
    doc->nodes = mem_realloc(doc->nodes, doc->cap * sizeof(*doc->nodes));
    return true;
}

static bool add_node(struct parser *s, enum json_type type, const char *from, const char *to)
{
    struct json *doc = s->doc;
    if (UNLIKELY(doc->n == doc->cap) && !grow_nodes(doc))
        return fail(s, JSON_ERR_NODES);
    struct json_node *node = &doc->nodes[doc->n++];
    *node = (struct json_node){.at = (uint32_t)(from - s->p),
                               .len = (uint32_t)(to - from),
                               .next = doc->n,
                               .type = (uint8_t)type,
                               .depth = (uint16_t)s->depth};
    return true;
}

/* Of what may stand there all but spaces is above them, and most texts have none. */
static void skip_space(struct parser *s)
{
    while (s->at < s->end && (unsigned char)*s->at <= ' ' &&
           (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
}

/* A string with more than plain characters, whose plain beginning has been passed. */
NOINLINE static bool parse_rich_string(struct parser *s, const char *from)
{
    bool escaped = false;
    enum json_error e = skip_string(&s->at, s->end, &escaped);
    if (e != JSON_OK)
        return fail(s, e);
    if (!add_node(s, JSON_STRING, from, s->at - 1))
        return false;
    s->doc->nodes[s->doc->n - 1].escaped = escaped;
    return true;
}

static bool parse_string(struct parser *s)
{
    const char *from = ++s->at;
    s->at = scan_plain(from, s->end);
    if (LIKELY(s->at < s->end && *s->at == '"'))
        return add_node(s, JSON_STRING, from, s->at++);
    return parse_rich_string(s, from);
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
    return add_node(s, JSON_NUMBER, from, s->at);
}

static bool parse_word(struct parser *s, struct str word, enum json_type type)
{
    if ((size_t)(s->end - s->at) < word.n || memcmp(s->at, word.p, word.n) != 0)
        return fail(s, JSON_ERR_SYNTAX);
    s->at += word.n;
    return add_node(s, type, s->at - word.n, s->at);
}

/* --- keys ----------------------------------------------------------------------------------- */

/* A key's meaning; bounded, since keys are. */
static struct str key_meaning(const struct json *doc, uint32_t i, char room[JSON_KEY_MAX])
{
    struct str raw = json_node_text(doc, i);
    if (!doc->nodes[i].escaped)
        return raw;
    return str_of(room, json_unescape(raw, room));
}

static bool same_key(const struct json *doc, uint32_t a, uint32_t b)
{
    const struct json_node *na = &doc->nodes[a], *nb = &doc->nodes[b];
    if (!na->escaped && !nb->escaped)
        return na->len == nb->len &&
               memcmp(doc->text.p + na->at, doc->text.p + nb->at, na->len) == 0;
    char room_a[JSON_KEY_MAX], room_b[JSON_KEY_MAX];
    return str_eq(key_meaning(doc, a, room_a), key_meaning(doc, b, room_b));
}

/* An empty table of at least size slots in doc->scratch. */
static void clear_scratch(struct json *doc, uint32_t size)
{
    if (size > doc->cap_scratch) {
        doc->scratch = mem_realloc(doc->scratch, size * sizeof(*doc->scratch));
        doc->cap_scratch = size;
    }
    memset(doc->scratch, 0, size * sizeof(*doc->scratch));
}

static uint32_t find_twin_by_hash(struct json *doc, uint32_t object)
{
    uint32_t size = 64, n = 0;
    for (uint32_t key = object + 1; key < doc->nodes[object].next; key = json_next_key(doc, key))
        n++;
    while (size < 2 * n)
        size *= 2;
    clear_scratch(doc, size);
    char room[JSON_KEY_MAX];
    for (uint32_t key = object + 1; key < doc->nodes[object].next; key = json_next_key(doc, key)) {
        uint32_t slot = (uint32_t)hash_sip(key_meaning(doc, key, room)) & (size - 1);
        for (; doc->scratch[slot]; slot = (slot + 1) & (size - 1))
            if (same_key(doc, doc->scratch[slot], key))
                return key;
        doc->scratch[slot] = key; /* never 0: that is the root */
    }
    return 0;
}

/* One of 64 bits; keys with different bits differ. Escaped keys share theirs with all. */
static uint64_t key_bits(const struct json *doc, uint32_t key)
{
    struct str k = json_node_text(doc, key);
    if (doc->nodes[key].escaped)
        return UINT64_MAX;
    if (k.n == 0)
        return 1;
    unsigned sum = (unsigned)k.n * 7 + (unsigned char)k.p[0] * 5 + (unsigned char)k.p[k.n - 1] * 3 +
                   (unsigned char)k.p[k.n / 2];
    return (uint64_t)1 << (sum & 63);
}

static bool is_among(const struct json *doc, const uint32_t *keys, uint32_t n, uint32_t key)
{
    for (uint32_t i = 0; i < n; i++)
        if (same_key(doc, keys[i], key))
            return true;
    return false;
}

/* The first key that repeats an earlier one, or 0. In small objects a key is compared with those
 * before it only when its bit has been seen. */
static uint32_t find_twin(struct json *doc, uint32_t object)
{
    uint32_t keys[PAIRWISE_MAX], n = 0, end = doc->nodes[object].next;
    uint64_t seen = 0;
    for (uint32_t key = object + 1; key < end; key = json_next_key(doc, key)) {
        uint64_t bits = key_bits(doc, key);
        if (n == PAIRWISE_MAX)
            return find_twin_by_hash(doc, object);
        if (seen & bits && is_among(doc, keys, n, key))
            return key;
        seen |= bits;
        keys[n++] = key;
    }
    return 0;
}

/* Apart, so that its room on the stack is cleared only for the rare key that has an escape. */
NOINLINE static bool has_no_nul(const struct json *doc, uint32_t i)
{
    char room[JSON_KEY_MAX];
    struct str key = key_meaning(doc, i, room);
    return str_find(key, '\0') == key.n;
}

/* A key must fit the limit and have no NUL, which only an escape can bring in. */
static bool is_good_key(const struct json *doc, uint32_t i)
{
    if (doc->nodes[i].len > JSON_KEY_MAX)
        return false;
    return !doc->nodes[i].escaped || has_no_nul(doc, i);
}

/* A key and its colon. */
static bool parse_key(struct parser *s)
{
    const char *from = s->at;
    if (s->at >= s->end || *s->at != '"')
        return fail(s, JSON_ERR_SYNTAX);
    if (!parse_string(s))
        return false;
    if (!is_good_key(s->doc, s->doc->n - 1))
        return s->at = from, fail(s, JSON_ERR_KEY);
    if (!take_char(s, ':')) { /* nearly always it follows at once */
        skip_space(s);
        if (!take_char(s, ':'))
            return fail(s, JSON_ERR_SYNTAX);
    }
    skip_space(s);
    return true;
}

/* --- values --------------------------------------------------------------------------------- */

static bool open_container(struct parser *s, enum json_type type)
{
    if (s->depth == JSON_DEPTH_MAX)
        return fail(s, JSON_ERR_DEPTH);
    if (!add_node(s, type, s->at, s->at))
        return false;
    s->at++;
    s->open[s->depth++] = s->doc->n - 1;
    return true;
}

static bool close_container(struct parser *s)
{
    uint32_t i = s->open[--s->depth];
    struct json_node *node = &s->doc->nodes[i];
    node->len = (uint32_t)(++s->at - s->p) - node->at;
    node->next = s->doc->n;
    uint32_t twin = node->type == JSON_OBJECT ? find_twin(s->doc, i) : 0;
    if (!twin)
        return true;
    s->at = s->p + s->doc->nodes[twin].at;
    return fail(s, JSON_ERR_DUPLICATE_KEY);
}

static bool parse_scalar(struct parser *s)
{
    switch (*s->at) {
    case '"': return parse_string(s);
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

static void trim(struct json *doc)
{
    if (doc->cap > NODES_KEEP) {
        mem_free(doc->nodes);
        doc->nodes = NULL;
        doc->cap = 0;
    }
    if (doc->cap_scratch > SCRATCH_KEEP) {
        mem_free(doc->scratch);
        doc->scratch = NULL;
        doc->cap_scratch = 0;
    }
}

enum json_error json_parse(struct json *doc, struct str text)
{
    doc->text = text;
    doc->n = 0;
    doc->error_at = 0;
    trim(doc);
    if (text.n == 0)
        return JSON_ERR_EMPTY;
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
