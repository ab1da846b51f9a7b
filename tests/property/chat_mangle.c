/* chat_mangle.c - see chat_gen.h. A request is taken apart and written anew, with two or so of its
 * values replaced, left out, doubled or put elsewhere: what programs send that are wrong about a
 * type, a place or a level. */
#include "chat_gen.h"

#include "wire/json.h"
#include "wire/jsonw.h"

enum { MANGLED_MAX = 16 * 1024 * 1024 };

struct mangle {
    struct gen *g;
    struct jval root;
    struct jsonw w;
    uint32_t values; /* in the whole request */
};

static uint32_t count_values(struct jval v)
{
    uint32_t n = 1;
    if (json_is(v, JSON_ARRAY)) {
        json_each (e, v)
            n += count_values(e);
    }
    json_each_member (key, v)
        n += count_values(json_value(key));
    return n;
}

/* The n-th value below v, itself the 0th; n becomes how many are still to go. */
static struct jval nth_value(struct jval v, uint32_t *n)
{
    struct jval found = JVAL_NONE;
    if ((*n)-- == 0)
        return v;
    if (json_is(v, JSON_ARRAY)) {
        json_each (e, v)
            if (json_present(found = nth_value(e, n)))
                return found;
    }
    json_each_member (key, v)
        if (json_present(found = nth_value(json_value(key), n)))
            return found;
    return JVAL_NONE;
}

static bool strikes(struct mangle *m)
{
    return gen_below(m->g, m->values) < 2;
}

static void write_other(struct mangle *m)
{
    static const char *const others[] = {
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1.5",
        "1e99",
        "9007199254740993",
        "\"\"",
        "\" \"",
        "\"x\"",
        "[]",
        "{}",
        "[null]",
        "[{}]",
        "{\"type\":\"text\"}",
        "[\"\"]",
        "{\"a\":{}}",
        "\"0\"",
        "[[]]",
        "[1]",
        "{\"type\":1}",
        "[{\"type\":\"text\",\"text\":\"x\"}]",
    };
    uint32_t n = gen_below(m->g, m->values);
    if (gen_chance(m->g, 128))
        jsonw_raw(&m->w, json_raw(nth_value(m->root, &n)));
    else
        jsonw_raw(&m->w, str_c(others[gen_below(m->g, ARRAY_LEN(others))]));
}

static void write_value(struct mangle *m, struct jval v)
{
    if (strikes(m)) {
        write_other(m);
    } else if (json_is(v, JSON_ARRAY)) {
        jsonw_array(&m->w);
        json_each (e, v) {
            bool odd = strikes(m);
            if (odd && gen_chance(m->g, 128))
                continue;
            write_value(m, e);
            if (odd)
                write_value(m, e);
        }
        jsonw_array_end(&m->w);
    } else if (json_is(v, JSON_OBJECT)) {
        jsonw_object(&m->w);
        json_each_member (key, v) {
            if (strikes(m))
                continue;
            jsonw_key(&m->w, json_str_raw(key));
            write_value(m, json_value(key));
        }
        jsonw_object_end(&m->w);
    } else {
        jsonw_raw(&m->w, json_raw(v));
    }
}

void chat_mangle(struct gen *g)
{
    struct json doc;
    struct buf out;
    struct mangle m = {.g = g};
    json_init(&doc);
    buf_init(&out, MANGLED_MAX);
    if (json_parse(&doc, buf_str(&g->out)) == JSON_OK) { /* else a member is there twice already */
        m.root = json_root(&doc);
        m.values = count_values(m.root);
        jsonw_to_buf(&m.w, &out);
        write_value(&m, m.root);
        ASSERT(jsonw_ok(&m.w));
        buf_done(&g->out);
        g->out = out;
    }
    json_done(&doc);
}
