/* fuzz_json.c - the JSON reader and writer on arbitrary bytes, held against each other.
 *
 * What is accepted must make a tape that nests, must be valid UTF-8, and must give the same tape
 * again when every value is written through jsonw, both as spans and as meanings. What is refused
 * must say where. The scans are held against each other at every offset of the input's start, and
 * any bytes at all must become a string that the reader accepts.
 */
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "wire/json.h"
#include "wire/jsonw.h"

enum { OUT_MAX = 64 * 1024 * 1024, OFFSETS_MAX = 48 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_scans(struct str s)
{
#ifdef __SSE2__
    const char *end = s.p + s.n;

    for (const char *p = s.p; p < end && p < s.p + OFFSETS_MAX; p++) {
        ASSERT(scan_plain_sse2(p, end) == scan_plain_swar(p, end));
        ASSERT(scan_eol_sse2(p, end) == scan_eol_swar(p, end));
    }
#else
    (void)s;
#endif
}

/* Returns how deep it is. */
static uint32_t check_tape(const struct json *doc)
{
    uint32_t open[JSON_DEPTH_MAX], depth = 0, deepest = 0;

    ASSERT(doc->n > 0 && doc->nodes[0].next == doc->n);
    for (uint32_t i = 0; i < doc->n; i++) {
        const struct json_node *node = &doc->nodes[i];
        while (depth > 0 && doc->nodes[open[depth - 1]].next <= i)
            depth--;
        ASSERT(i == 0 || depth > 0);
        ASSERT(node->at + node->len <= doc->text.n && node->next > i && node->next <= doc->n);
        if (depth > 0)
            ASSERT(node->next <= doc->nodes[open[depth - 1]].next);
        if (node->type < JSON_ARRAY)
            ASSERT(node->next == i + 1);
        else
            open[depth++] = i;
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest;
}

/* Writes v again: as it is written, or by what it means. */
static void copy_value(struct jsonw *w, struct jval v, struct arena *meanings)
{
    if (json_is(v, JSON_OBJECT)) {
        jsonw_object(w);
        json_each_member (key, v) {
            ASSERT(json_get(v, json_str(key, meanings)).i == key.i + 1);
            jsonw_key(w, json_str_raw(key));
            copy_value(w, json_value(key), meanings);
        }
        jsonw_object_end(w);
    } else if (json_is(v, JSON_ARRAY)) {
        jsonw_array(w);
        json_each (e, v)
            copy_value(w, e, meanings);
        jsonw_array_end(w);
    } else if (json_is(v, JSON_STRING) && v.i % 2) {
        jsonw_str(w, json_str(v, meanings));
    } else if (json_is(v, JSON_STRING)) {
        jsonw_str_raw(w, json_str_raw(v));
    } else {
        jsonw_raw(w, json_raw(v));
    }
}

static void compare_values(struct jval a, struct jval b, struct arena *meanings)
{
    int64_t na, nb;
    double d;

    ASSERT(json_type(a) == json_type(b));
    if (json_is(a, JSON_STRING)) {
        ASSERT(json_str_is(b, json_str(a, meanings)));
    } else if (json_is(a, JSON_NUMBER)) {
        ASSERT(str_eq(json_raw(a), json_raw(b)));
        if (json_i64(a, &na)) {
            ASSERT(json_i64(b, &nb) && na == nb);
            ASSERT(!json_f64(a, &d) || (d - (double)na < 1 && (double)na - d < 1));
        }
    }
}

static void write_again(const struct json *doc)
{
    struct arena a;
    struct json again;
    struct jsonw w;
    struct rope r;
    enum json_error e;

    arena_init(&a);
    json_init(&again);
    rope_init(&r, OUT_MAX);
    jsonw_to_rope(&w, &r);
    copy_value(&w, json_root(doc), &a);
    ASSERT(jsonw_ok(&w));
    e = json_parse(&again, rope_flatten(&r, &a));
    ASSERT(e == JSON_OK && again.n == doc->n);
    for (uint32_t i = 0; i < doc->n; i++) {
        ASSERT(doc->nodes[i].next == again.nodes[i].next);
        compare_values((struct jval){doc, i}, (struct jval){&again, i}, &a);
    }
    rope_done(&r);
    json_done(&again);
    arena_done(&a);
}

static void write_as_string(struct str s)
{
    struct json doc;
    struct jsonw w;
    struct buf b;
    enum json_error e;

    json_init(&doc);
    buf_init(&b, OUT_MAX);
    jsonw_to_buf(&w, &b);
    jsonw_str(&w, s);
    ASSERT(jsonw_ok(&w));
    e = json_parse(&doc, buf_str(&b));
    ASSERT(e == JSON_OK);
    ASSERT(json_str_is(json_root(&doc), s) == (text_utf8_valid(s) == s.n));
    json_done(&doc);
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_of((const char *)data, size);
    struct json doc;

    json_init(&doc);
    if (size > 0)
        try_scans(s);
    if (json_parse(&doc, s) == JSON_OK) {
        ASSERT(text_utf8_valid(s) == s.n);
        if (check_tape(&doc) <= JSONW_DEPTH_MAX)
            write_again(&doc);
    } else {
        ASSERT(doc.error_at <= size);
    }
    write_as_string(s);
    json_done(&doc);
    ASSERT(mem_live() == 0);
    return 0;
}
