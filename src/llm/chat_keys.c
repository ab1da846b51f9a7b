/* chat_keys.c - properties of tools whose names upstream refuses.
 *
 *   "first name"  --schema, history-->  "first_name_1b2c3d4e"  --answer-->  "first name"
 *
 * The new name is made from the old one alone, so every request has the same. Texts are spliced
 * around the names: what is not renamed stays byte for byte. A call's input is renamed at any depth,
 * but only by names that its tool's schema had.
 *
 * Recursion is bounded by the depth of parsed documents.
 */
#include "llm/chat.h"

enum { KEYS_MAX = 128 };

/* A document that is copied with some of its strings replaced, in their order. */
struct splice {
    struct chat *c; /* of schemas */
    struct buf *out;
    const char *from; /* the first byte that is not copied yet */
    const struct chat_key *keys;
    size_t n_keys;
};

static bool replace(struct splice *s, struct jval string, struct str with)
{
    struct str inside = json_str_raw(string);
    bool ok = buf_append(s->out, str_of(s->from, (size_t)(inside.p - s->from))) &&
              buf_append(s->out, with);
    s->from = inside.p + inside.n;
    return ok;
}

static bool copy_rest(struct splice *s, struct str whole)
{
    return buf_append(s->out, str_of(s->from, (size_t)(whole.p + whole.n - s->from)));
}

/* Upstream: ^[a-zA-Z0-9_.-]{1,64}$ */
static bool is_odd(struct jval name)
{
    struct str s = json_str_raw(name);
    bool odd = s.n == 0 || s.n > 64;
    for (size_t i = 0; !odd && i < s.n; i++) {
        char ch = s.p[i];
        odd = !((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
                ch == '_' || ch == '.' || ch == '-');
    }
    return odd;
}

static bool names_odd(struct jval properties)
{
    json_each_member (name, properties)
        if (is_odd(name))
            return true;
    return false;
}

bool chat_has_odd_key(struct jval v)
{
    if (json_is(v, JSON_ARRAY)) {
        json_each (e, v)
            if (chat_has_odd_key(e))
                return true;
    } else if (json_is(v, JSON_OBJECT)) {
        json_each_member (key, v) {
            bool properties = json_str_is(key, STR("properties"));
            if ((properties && names_odd(json_value(key))) || chat_has_odd_key(json_value(key)))
                return true;
        }
    }
    return false;
}

/* --- schemas --- */

static void remember_key(struct splice *s, struct jval name, struct str plain, struct str sent)
{
    for (const struct chat_key *k = s->keys; k; k = k->next)
        if (str_eq(k->sent, sent))
            return;
    struct chat_key *k = ARENA_NEW(s->c->keep, struct chat_key);
    *k = (struct chat_key){
        .next = s->keys,
        .sent = arena_dup(s->c->keep, sent),
        .theirs = arena_dup(s->c->keep, json_str_raw(name)),
        .plain = arena_dup(s->c->keep, plain),
    };
    s->keys = k;
    s->n_keys++;
}

static void rename_property(struct splice *s, struct jval name)
{
    if (!is_odd(name) || s->n_keys > KEYS_MAX)
        return;
    struct str plain = json_str(name, s->c->scratch);
    struct str sent = chat_clean_name(s->c, plain, true);
    if (str_eq(plain, sent))
        return; /* only its spelling is odd: escapes */
    replace(s, name, sent);
    remember_key(s, name, plain, sent);
}

static bool is_one_of(struct jval key, const struct str *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (json_str_is(key, words[i]))
            return true;
    return false;
}

static void rename_schema(struct splice *s, struct jval schema);

static void rename_map(struct splice *s, struct jval map, bool properties)
{
    if (!json_is(map, JSON_OBJECT))
        return;
    json_each_member (key, map) {
        if (properties)
            rename_property(s, key);
        rename_schema(s, json_value(key));
    }
}

static void rename_keyword(struct splice *s, struct jval key, struct jval v)
{
    static const struct str maps[] = {STR_INIT("$defs"), STR_INIT("definitions"),
                                      STR_INIT("patternProperties"), STR_INIT("dependentSchemas")};
    static const struct str schemas[] = {
        STR_INIT("items"), STR_INIT("additionalProperties"),
        STR_INIT("allOf"), STR_INIT("anyOf"),
        STR_INIT("oneOf"), STR_INIT("prefixItems"),
        STR_INIT("not"),   STR_INIT("contains"),
        STR_INIT("if"),    STR_INIT("then"),
        STR_INIT("else"),
    };

    if (json_str_is(key, STR("required")) && json_is(v, JSON_ARRAY)) {
        json_each (name, v)
            if (json_is(name, JSON_STRING))
                rename_property(s, name);
    } else if (json_str_is(key, STR("properties"))) {
        rename_map(s, v, true);
    } else if (is_one_of(key, maps, ARRAY_LEN(maps))) {
        rename_map(s, v, false);
    } else if (is_one_of(key, schemas, ARRAY_LEN(schemas))) {
        rename_schema(s, v);
    }
}

/* A schema, or a list of them. */
static void rename_schema(struct splice *s, struct jval schema)
{
    if (json_is(schema, JSON_ARRAY)) {
        json_each (e, schema)
            rename_schema(s, e);
    } else if (json_is(schema, JSON_OBJECT)) {
        json_each_member (key, schema)
            rename_keyword(s, key, json_value(key));
    }
}

bool chat_keys_in_schema(struct chat *c, struct str *schema, const struct chat_key **ret_keys)
{
    struct splice s = {.c = c, .out = &c->text, .from = schema->p};
    if (json_parse(&c->args, *schema) != JSON_OK)
        return false;
    rename_schema(&s, json_root(&c->args));
    copy_rest(&s, *schema);
    struct str renamed = chat_take_text(c);
    if (s.keys)
        *schema = renamed;
    *ret_keys = s.keys;
    return s.n_keys <= KEYS_MAX;
}

/* --- inputs --- */

static const struct chat_key *key_theirs(const struct chat_key *k, struct jval name)
{
    while (k && !json_str_is(name, k->plain))
        k = k->next;
    return k;
}

static const struct chat_key *key_sent(const struct chat_key *k, struct jval name)
{
    while (k && !str_eq(json_str_raw(name), k->sent))
        k = k->next;
    return k;
}

static bool rename_name(struct splice *s, struct jval name, bool back)
{
    const struct chat_key *k = NULL;
    if (back)
        k = key_sent(s->keys, name);
    else if (is_odd(name))
        k = key_theirs(s->keys, name);
    return !k || replace(s, name, back ? k->theirs : k->sent);
}

static bool rename_input(struct splice *s, struct jval v, bool back)
{
    if (json_is(v, JSON_ARRAY)) {
        json_each (e, v)
            if (!rename_input(s, e, back))
                return false;
    } else if (json_is(v, JSON_OBJECT)) {
        json_each_member (name, v)
            if (!rename_name(s, name, back) || !rename_input(s, json_value(name), back))
                return false;
    }
    return true;
}

struct str chat_keys_in_input(struct chat *c, struct str sent, struct str input)
{
    const struct chat_name *name = strmap_get(&c->keyed, sent);
    if (!name || json_parse(&c->args, input) != JSON_OK)
        return input;
    struct splice s = {.out = &c->text, .from = input.p, .keys = name->keys};
    rename_input(&s, json_root(&c->args), false);
    copy_rest(&s, input);
    return chat_take_text(c);
}

bool chat_keys_restore(const struct chat_key *keys, struct jval input, struct buf *out)
{
    struct str whole = json_raw(input);
    struct splice s = {.out = out, .from = whole.p, .keys = keys};
    return rename_input(&s, input, true) && copy_rest(&s, whole);
}
