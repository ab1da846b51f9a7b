/* jsonw.h - an append-only JSON writer, balanced by construction (asserted).
 *
 * It writes into a rope, so that long spans are borrowed, or into a plain buffer. Commas are put in
 * by themselves. What it cannot append because the buffer is full is reported once, by jsonw_ok.
 */
#ifndef CCPROXY_WIRE_JSONW_H
#define CCPROXY_WIRE_JSONW_H

#include "base/buf.h"
#include "base/rope.h"

enum { JSONW_DEPTH_MAX = 62 };

struct jsonw {
    struct buf *buf;
    struct rope *rope;  /* NULL when writing to a plain buffer */
    uint64_t has_items; /* bit d: the container at depth d has an item already */
    unsigned depth;
    bool after_key;
    bool full;
};

void jsonw_to_buf(struct jsonw *w, struct buf *out);
void jsonw_to_rope(struct jsonw *w, struct rope *out);
bool jsonw_ok(const struct jsonw *w); /* nothing was lost, everything is closed */

void jsonw_object(struct jsonw *w);
void jsonw_object_end(struct jsonw *w);
void jsonw_array(struct jsonw *w);
void jsonw_array_end(struct jsonw *w);
void jsonw_key(struct jsonw *w, struct str key); /* key needs no escaping */

void jsonw_str(struct jsonw *w, struct str s); /* escapes; invalid UTF-8 becomes U+FFFD */
/* A string whose inside is already JSON: quotes are added, the bytes spliced. */
void jsonw_str_raw(struct jsonw *w, struct str inside);
/* Several such insides joined into one string. */
void jsonw_str_open(struct jsonw *w);
void jsonw_str_part(struct jsonw *w, struct str inside);
void jsonw_str_part_escaped(struct jsonw *w, struct str plain); /* escapes first */
void jsonw_str_close(struct jsonw *w);
void jsonw_raw(struct jsonw *w, struct str value); /* any JSON value, spliced */
void jsonw_i64(struct jsonw *w, int64_t n);
void jsonw_bool(struct jsonw *w, bool b);
void jsonw_null(struct jsonw *w);

/* Key and value in one. */
#define jsonw_field_str(w, key, s)     (jsonw_key((w), STR(key)), jsonw_str((w), (s)))
#define jsonw_field_str_raw(w, key, s) (jsonw_key((w), STR(key)), jsonw_str_raw((w), (s)))
#define jsonw_field_raw(w, key, s)     (jsonw_key((w), STR(key)), jsonw_raw((w), (s)))
#define jsonw_field_i64(w, key, n)     (jsonw_key((w), STR(key)), jsonw_i64((w), (n)))
#define jsonw_field_bool(w, key, b)    (jsonw_key((w), STR(key)), jsonw_bool((w), (b)))
#define jsonw_field_null(w, key)       (jsonw_key((w), STR(key)), jsonw_null((w)))

/* Appends s to out as the inside of a JSON string (no quotes). False when out is full. */
bool jsonw_escape(struct buf *out, struct str s);

#endif
