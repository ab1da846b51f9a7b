/* json.h - a strict JSON reader (RFC 8259) that answers a tape of spans over the input.
 *
 *   {"a":[1,"x"]}   ->   0 object next=5 | 1 key "a" | 2 array next=5 | 3 number 1 | 4 string "x"
 *
 * One node of 16 bytes per value and per key, in document order; a container's `next` is the index
 * behind its last descendant, so skipping is one step. Strings and numbers stay as they are
 * written: nothing is unescaped or converted until somebody asks, and what passes through is
 * spliced.
 *
 * Refused, besides bad syntax: invalid UTF-8, a byte order mark, lone surrogates (escaped or not),
 * duplicate keys in one object (compared unescaped), NUL in keys, more than the limits below,
 * anything behind the document. The input must outlive the tape. No recursion; time is linear.
 */
#ifndef CCPROXY_WIRE_JSON_H
#define CCPROXY_WIRE_JSON_H

#include "base/arena.h"
#include "base/str.h"

enum { JSON_DEPTH_MAX = 64, JSON_NODES_MAX = 1000000, JSON_KEY_MAX = 1024 };

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json_node {
    uint32_t at;   /* offset in the input: of the first byte between the quotes for a string */
    uint32_t len;  /* bytes; without the quotes for a string; of the whole text for a container */
    uint32_t next; /* index of the node behind this one and all below it */
    uint8_t type;  /* enum json_type */
    bool escaped;  /* a string with at least one backslash */
    uint16_t keys; /* of an object, while it is parsed; many are not all counted */
};

enum json_error {
    JSON_OK,
    JSON_ERR_SYNTAX,
    JSON_ERR_UTF8,
    JSON_ERR_SURROGATE,
    JSON_ERR_DUPLICATE_KEY,
    JSON_ERR_KEY,
    JSON_ERR_DEPTH,
    JSON_ERR_NODES,
    JSON_ERR_EMPTY,
    JSON_ERR_TRAILING,
    JSON_ERR_SIZE, /* 4 GiB or more */
};

/* A parsed document. The node array belongs to it and is kept between parses, so that a worker can
 * reuse one; take out what must live longer. Nodes are named by index; the root is 0. */
struct json {
    struct str text;
    struct json_node *nodes;
    uint32_t n, cap;
    size_t error_at;   /* offset of the first bad byte after a failed parse */
    uint32_t *scratch; /* for the duplicate check */
    uint32_t cap_scratch;
};

/* A value in a document; {NULL, 0} is "absent", which every accessor accepts. */
struct jval {
    const struct json *doc;
    uint32_t i;
};

#define JVAL_NONE ((struct jval){NULL, 0})

void json_init(struct json *doc);
void json_done(struct json *doc);
NODISCARD enum json_error json_parse(struct json *doc, struct str text);
const char *json_error_text(enum json_error e); /* "duplicate key", for messages */

static inline struct jval json_root(const struct json *doc)
{
    return (struct jval){doc, 0};
}

static inline bool json_present(struct jval v)
{
    return v.doc != NULL;
}

/* The type; an absent value is JSON_NULL, since a null field and an absent one mean the same. */
static inline enum json_type json_type(struct jval v)
{
    return v.doc ? (enum json_type)v.doc->nodes[v.i].type : JSON_NULL;
}

static inline bool json_is(struct jval v, enum json_type t)
{
    return v.doc != NULL && json_type(v) == t;
}

/* The value's own text, as written: with quotes for a string. */
struct str json_raw(struct jval v);
/* What stands between a string's quotes, escapes as they are; STR_NONE for another type. */
struct str json_str_raw(struct jval v);
bool json_is_escaped(struct jval v);
/* A string's meaning; borrowed from the input when it has no escapes, else made in a. */
struct str json_str(struct jval v, struct arena *a);
bool json_string_is(struct jval string, struct str s); /* of json_str_is */

/* Whether a string's meaning is exactly s; no allocation. Most are not, by their length. */
static inline bool json_str_is(struct jval v, struct str s)
{
    if (!json_is(v, JSON_STRING))
        return false;
    const struct json_node *node = &v.doc->nodes[v.i];
    return (node->len == s.n || node->escaped) && json_string_is(v, s);
}

/* A number that is an integer (1, 1.0, 1e2 are; 1.5 is not) and fits. */
NODISCARD bool json_i64(struct jval v, int64_t *ret);
NODISCARD bool json_f64(struct jval v, double *ret);
bool json_is_whole(struct jval v); /* an integer, whether it fits or not */

static inline bool json_true(struct jval v)
{
    return json_is(v, JSON_TRUE);
}

/* The member of an object, or absent; linear in the members. */
struct jval json_get(struct jval object, struct str key);
/* Elements of an array, or members of an object. */
uint32_t json_count(struct jval container);
bool json_empty(struct jval container);

/* for (struct jval e = json_first(array); json_present(e); e = json_next(array, e)) */
struct jval json_first(struct jval container); /* of an object: the first key */
struct jval json_next(struct jval container, struct jval v);

static inline struct jval json_value(struct jval key) /* the value that belongs to a key */
{
    return (struct jval){key.doc, key.i + 1};
}

#define json_each(e, array)                                                                        \
    for (struct jval e = json_first(array); json_present(e); e = json_next((array), e))

static inline struct jval json_first_key(struct jval v) /* absent for what is no object */
{
    return json_is(v, JSON_OBJECT) ? json_first(v) : JVAL_NONE;
}

#define json_each_member(key, object)                                                              \
    for (struct jval key = json_first_key(object); json_present(key);                              \
         key = json_next((object), json_value(key)))

/* Unescapes the inside of a JSON string (already known to be valid) into out, which has room for
 * raw.n bytes; returns the length. */
size_t json_unescape(struct str raw, char *out);

#endif
