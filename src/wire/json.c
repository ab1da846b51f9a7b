/* json.c - see json.h. One pass over the text; what parses goes from a place in it to behind what
 * was taken, or answers NULL.
 *
 * The tape is written as values are met, and is the stack as well: while a container is open, its
 * `next` is the container around it, and its `len` holds a bit of every key. Only keys that share
 * a bit are compared; objects of many keys are looked through when they close, by a table of keyed
 * hashes, so that one made of colliding keys costs no more than another. Every key costs what its
 * own object costs and nothing more: the whole stays linear.
 */
#include "wire/json.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/scan.h"
#include "wire/json_int.h"

/* A rare giant must not hold its memory for good: more than *_KEEP is given back before the next
 * document. */
enum { NODES_FIRST = 64, NODES_KEEP = 65536, SCRATCH_KEEP = 65536, KEYS_FEW = 16 };

struct parser {
    struct json *doc;
    const char *p, *end;
    uint32_t top, depth;   /* the innermost open container; how many are open */
    char closer;           /* its closing bracket; NUL when none is open */
    const char *failed_at; /* with error, once something has answered NULL */
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

static const char *fail(struct parser *s, const char *at, enum json_error e)
{
    s->failed_at = at;
    s->error = e;
    return NULL;
}

NOINLINE static bool grow_nodes(struct json *doc)
{
    if (doc->cap == JSON_NODES_MAX)
        return false;
    doc->cap = doc->cap ? (uint32_t)size_min(doc->cap * 2, JSON_NODES_MAX) : NODES_FIRST;
    doc->nodes = mem_realloc(doc->nodes, doc->cap * sizeof(*doc->nodes));
    return true;
}

/* A node for what stands from p up to end; NULL when there are too many. */
static struct json_node *add_node(struct parser *s, enum json_type type, const char *p,
                                  const char *end)
{
    struct json *doc = s->doc;
    if (UNLIKELY(doc->n == doc->cap) && !grow_nodes(doc)) {
        fail(s, p, JSON_ERR_NODES);
        return NULL;
    }
    struct json_node *node = &doc->nodes[doc->n++];
    *node = (struct json_node){.at = (uint32_t)(p - s->p),
                               .len = (uint32_t)(end - p),
                               .next = doc->n,
                               .type = (uint8_t)type};
    return node;
}

/* Of what may stand there all but spaces is above them, and most texts have none. */
static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (unsigned char)*p <= ' ' &&
           (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    return p;
}

static bool is_at(const char *p, const char *end, char c)
{
    return p < end && *p == c;
}

/* A string with more than plain characters: from behind its quote; the plain ones end at p. */
NOINLINE static const char *parse_rich_string(struct parser *s, const char *from, const char *p)
{
    bool escaped = false;
    enum json_error e = skip_string(&p, s->end, &escaped);
    if (e != JSON_OK)
        return fail(s, p, e);
    struct json_node *node = add_node(s, JSON_STRING, from, p - 1);
    if (!node)
        return NULL;
    node->escaped = escaped;
    return p;
}

ALWAYS_INLINE const char *parse_string(struct parser *s, const char *p)
{
    const char *from = p + 1, *end = scan_plain(from, s->end);
    if (LIKELY(is_at(end, s->end, '"')))
        return add_node(s, JSON_STRING, from, end) ? end + 1 : NULL;
    return parse_rich_string(s, from, end);
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* RFC 8259 section 6: no plus, no leading zeros, digits on both sides of the point. */
static const char *parse_number(struct parser *s, const char *from)
{
    const char *end = s->end, *digits = from + is_at(from, end, '-'), *p = skip_digits(digits, end);
    if (p == digits)
        return fail(s, p, JSON_ERR_SYNTAX);
    if (*digits == '0') /* what follows it is wrong, and found by whoever goes on */
        p = digits + 1;
    if (is_at(p, end, '.')) {
        digits = p + 1;
        p = skip_digits(digits, end);
        if (p == digits)
            return fail(s, p, JSON_ERR_SYNTAX);
    }
    if (is_at(p, end, 'e') || is_at(p, end, 'E')) {
        p++;
        digits = p + (is_at(p, end, '+') || is_at(p, end, '-'));
        p = skip_digits(digits, end);
        if (p == digits)
            return fail(s, p, JSON_ERR_SYNTAX);
    }
    return add_node(s, JSON_NUMBER, from, p) ? p : NULL;
}

static const char *parse_word(struct parser *s, const char *p, struct str word, enum json_type type)
{
    if ((size_t)(s->end - p) < word.n || memcmp(p, word.p, word.n) != 0)
        return fail(s, p, JSON_ERR_SYNTAX);
    return add_node(s, type, p, p + word.n) ? p + word.n : NULL;
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

NOINLINE static bool same_meaning(const struct json *doc, uint32_t a, uint32_t b)
{
    char room_a[JSON_KEY_MAX], room_b[JSON_KEY_MAX];
    return str_eq(key_meaning(doc, a, room_a), key_meaning(doc, b, room_b));
}

static bool same_key(const struct json *doc, uint32_t a, uint32_t b)
{
    if (doc->nodes[a].escaped || doc->nodes[b].escaped)
        return same_meaning(doc, a, b);
    return str_eq(json_node_text(doc, a), json_node_text(doc, b));
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

/* The first key of a closed object that repeats an earlier one, or 0. */
NOINLINE static uint32_t find_twin(struct json *doc, uint32_t object)
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

/* One of 32 bits; keys with different bits differ. Escaped keys share theirs with all. */
static uint32_t key_bits(const struct json *doc, uint32_t key)
{
    struct str k = json_node_text(doc, key);
    if (doc->nodes[key].escaped)
        return UINT32_MAX;
    if (k.n == 0)
        return 1;
    unsigned sum = (unsigned)k.n + (unsigned char)k.p[0] * 5 + (unsigned char)k.p[k.n - 1] * 3;
    return UINT32_C(1) << (sum & 31);
}

static bool has_twin(const struct json *doc, uint32_t object, uint32_t key)
{
    for (uint32_t i = object + 1; i < key; i = json_next_key(doc, i))
        if (same_key(doc, i, key))
            return true;
    return false;
}

/* Whether a key is another than those before it, as far as that is asked before the object closes:
 * while it has few. */
static bool is_new_key(struct json *doc, uint32_t object, uint32_t key)
{
    struct json_node *node = &doc->nodes[object];
    if (node->keys == KEYS_FEW + 1)
        return true;
    uint32_t bits = key_bits(doc, key);
    if (node->len & bits && has_twin(doc, object, key))
        return false;
    node->len |= bits;
    node->keys++;
    return true;
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

/* A key, its colon and the spaces behind that. */
static const char *parse_key(struct parser *s, const char *from)
{
    uint32_t key = s->doc->n;
    if (!is_at(from, s->end, '"'))
        return fail(s, from, JSON_ERR_SYNTAX);
    const char *p = parse_string(s, from);
    if (!p)
        return NULL;
    if (!is_good_key(s->doc, key))
        return fail(s, from, JSON_ERR_KEY);
    if (!is_new_key(s->doc, s->top, key))
        return fail(s, from + 1, JSON_ERR_DUPLICATE_KEY);
    p = skip_space(p, s->end);
    return is_at(p, s->end, ':') ? skip_space(p + 1, s->end) : fail(s, p, JSON_ERR_SYNTAX);
}

/* --- values --------------------------------------------------------------------------------- */

/* Goes on in the container at i, or outside of all. */
static void enter(struct parser *s, uint32_t i)
{
    s->top = i;
    s->closer = s->depth == 0 ? '\0' : s->doc->nodes[i].type == JSON_OBJECT ? '}' : ']';
}

/* An opening bracket and the spaces behind it. */
static const char *open_container(struct parser *s, const char *p)
{
    if (s->depth == JSON_DEPTH_MAX)
        return fail(s, p, JSON_ERR_DEPTH);
    struct json_node *node = add_node(s, *p == '{' ? JSON_OBJECT : JSON_ARRAY, p, p);
    if (!node)
        return NULL;
    node->next = s->top;
    s->depth++;
    enter(s, s->doc->n - 1);
    return skip_space(p + 1, s->end);
}

static const char *close_container(struct parser *s, const char *p)
{
    uint32_t i = s->top, twin;
    struct json_node *node = &s->doc->nodes[i];
    s->depth--;
    enter(s, node->next);
    node->len = (uint32_t)(p + 1 - s->p) - node->at;
    node->next = s->doc->n;
    if (UNLIKELY(node->keys > KEYS_FEW) && (twin = find_twin(s->doc, i)))
        return fail(s, s->p + s->doc->nodes[twin].at, JSON_ERR_DUPLICATE_KEY);
    return p + 1;
}

static const char *parse_scalar(struct parser *s, const char *p)
{
    switch (*p) {
    case '"': return parse_string(s, p);
    case 't': return parse_word(s, p, STR("true"), JSON_TRUE);
    case 'f': return parse_word(s, p, STR("false"), JSON_FALSE);
    case 'n': return parse_word(s, p, STR("null"), JSON_NULL);
    default: return parse_number(s, p);
    }
}

/* What may follow a value: containers end, and a comma if one is still open. */
static const char *parse_ends(struct parser *s, const char *p)
{
    while (p && s->closer) {
        p = skip_space(p, s->end);
        if (is_at(p, s->end, ','))
            return skip_space(p + 1, s->end);
        if (!is_at(p, s->end, s->closer))
            return fail(s, p, JSON_ERR_SYNTAX);
        p = close_container(s, p);
    }
    return p;
}

/* From the first value to behind the last. */
static const char *parse_values(struct parser *s, const char *p)
{
    do {
        if (s->closer == '}')
            p = parse_key(s, p);
        if (!p)
            return NULL;
        if (p == s->end)
            return fail(s, p, JSON_ERR_SYNTAX);
        if (*p == '{' || *p == '[') {
            p = open_container(s, p);
            if (!p || !is_at(p, s->end, s->closer))
                continue;
        } else {
            p = parse_scalar(s, p);
        }
        p = parse_ends(s, p);
    } while (p && s->closer);
    return p;
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
    struct parser s = {.doc = doc, .p = text.p, .end = text.p + text.n};
    const char *p = skip_space(text.p, s.end);
    if (p == s.end)
        return JSON_ERR_EMPTY;
    p = parse_values(&s, p);
    if (p)
        p = skip_space(p, s.end);
    if (p == s.end)
        return JSON_OK;
    if (p)
        fail(&s, p, JSON_ERR_TRAILING);
    doc->error_at = (size_t)(s.failed_at - s.p);
    return s.error;
}
