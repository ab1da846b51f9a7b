/* sim_shape.c - holds JSON values to tables; see sim_shape.h.
 *
 * Recursion follows the tables, whose depth is fixed: free-form values (tool inputs, JSON schemas)
 * are DICT or ANY and are not walked here.
 */
#include "sim/sim_shape.h"

#include <stdarg.h>

#include "base/buf.h"

enum { MESSAGE_MAX = 16 * 1024, QUOTED_MAX = 200 };

static void put_path(struct buf *out, const struct shape_path *path)
{
    if (!path)
        return;
    put_path(out, path->up);
    if (buf_len(out) != 0)
        buf_lit(out, ".");
    if (path->name.p)
        buf_append(out, path->name);
    else
        buf_append_u64(out, path->index);
}

bool check_fail(struct check *c, const struct shape_path *path, const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);

    struct buf out;
    buf_init(&out, MESSAGE_MAX);
    put_path(&out, path);
    if (buf_len(&out) != 0)
        buf_lit(&out, ": ");
    buf_append(&out, str_of(text, size_min((size_t)n, sizeof(text) - 1)));
    *c->error = (struct sim_error){
        .status = 400,
        .type = "invalid_request_error",
        .message = arena_dup(c->a, buf_str(&out)),
    };
    buf_done(&out);
    return false;
}

bool check_has_beta(const struct check *c, const char *prefix)
{
    struct str rest = c->request->betas, part;
    while (str_split(&rest, ',', &part)) {
        if (str_starts(str_trim(part), str_c(prefix)))
            return true;
    }
    return false;
}

/* "'a', 'b' or 'c'" */
static struct str list_choices(struct arena *a, const struct str *choices, size_t n)
{
    struct str out = STR("");
    for (size_t i = 0; i < n; i++) {
        const char *sep = i == 0 ? "" : i + 1 == n ? " or " : ", ";
        out = arena_printf(a, "%.*s%s'%.*s'", STR_FMT(out), sep, STR_FMT(choices[i]));
    }
    return out;
}

static bool check_str(struct check *c, const struct shape *s, struct jval v,
                      const struct shape_path *path)
{
    if (!json_is(v, JSON_STRING))
        return check_fail(c, path, "Input should be a valid string");
    if (s->choices) {
        for (size_t i = 0; i < s->n; i++) {
            if (json_str_is(v, s->choices[i]))
                return true;
        }
        return check_fail(c, path, "Input should be %.*s",
                          STR_FMT(list_choices(c->a, s->choices, s->n)));
    }
    size_t n = json_str_raw(v).n;
    if (s->min > 0 && n < (size_t)s->min)
        return check_fail(c, path, "String should have at least %lld character%s",
                          (long long)s->min, s->min == 1 ? "" : "s");
    if (s->max > 0 && n > (size_t)s->max && json_str(v, c->a).n > (size_t)s->max)
        return check_fail(c, path, "String should have at most %lld characters", (long long)s->max);
    if (s->matches && !s->matches(json_str(v, c->a)))
        return check_fail(c, path, "String should match pattern '%s'", s->pattern);
    return true;
}

static bool check_int(struct check *c, const struct shape *s, struct jval v,
                      const struct shape_path *path)
{
    int64_t n;
    if (!json_is(v, JSON_NUMBER) || !json_i64(v, &n))
        return check_fail(c, path, "Input should be a valid integer");
    if (s->max <= s->min)
        return true;
    if (n < s->min)
        return check_fail(c, path, "Input should be greater than or equal to %lld",
                          (long long)s->min);
    if (n > s->max)
        return check_fail(c, path, "Input should be less than or equal to %lld", (long long)s->max);
    return true;
}

static bool check_num(struct check *c, const struct shape *s, struct jval v,
                      const struct shape_path *path)
{
    double d;
    if (!json_is(v, JSON_NUMBER) || !json_f64(v, &d))
        return check_fail(c, path, "Input should be a valid number");
    if (s->max <= s->min)
        return true;
    if (d < (double)s->min)
        return check_fail(c, path, "Input should be greater than or equal to %lld",
                          (long long)s->min);
    if (d > (double)s->max)
        return check_fail(c, path, "Input should be less than or equal to %lld", (long long)s->max);
    return true;
}

static bool check_list(struct check *c, const struct shape *s, struct jval v,
                       const struct shape_path *path)
{
    if (!json_is(v, JSON_ARRAY))
        return check_fail(c, path, "Input should be a valid list");
    uint32_t n = json_count(v);
    if ((int64_t)n < s->min)
        return check_fail(c, path, "List should have at least %lld item%s after validation, not %u",
                          (long long)s->min, s->min == 1 ? "" : "s", n);
    if (s->max > s->min && (int64_t)n > s->max)
        return check_fail(c, path, "List should have at most %lld items after validation, not %u",
                          (long long)s->max, n);
    struct shape_path at = {.up = path};
    json_each (item, v) {
        if (!shape_check(c, s->of, item, &at))
            return false;
        at.index++;
    }
    return true;
}

static const struct shape_member *find_member(const struct check *c, const struct shape *s,
                                              struct jval key)
{
    struct str raw = json_str_raw(key);
    bool escaped = json_is_escaped(key);
    for (size_t i = 0; i < s->n; i++) {
        const struct shape_member *m = &s->members[i];
        if (escaped ? !json_str_is(key, m->name) : !str_eq(raw, m->name))
            continue;
        if (m->beta && !check_has_beta(c, m->beta))
            return NULL;
        if ((m->flags & MEMBER_NO_COUNT) && c->request->counting)
            return NULL;
        return m;
    }
    return NULL;
}

static bool check_required(struct check *c, const struct shape *s, uint64_t seen,
                           const struct shape_path *path)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct shape_member *m = &s->members[i];
        bool here = !((m->flags & MEMBER_NO_COUNT) && c->request->counting);
        if (!(m->flags & MEMBER_REQUIRED) || (seen & UINT64_C(1) << i) || !here)
            continue;
        struct shape_path at = {.up = path, .name = m->name};
        return check_fail(c, &at, "Field required");
    }
    return true;
}

/* tagged: the object is a variant, and "type" has been looked at already. */
static bool check_members(struct check *c, const struct shape *s, struct jval v, bool tagged,
                          const struct shape_path *path)
{
    uint64_t seen = 0;
    json_each_member (key, v) {
        if (tagged && json_str_is(key, STR("type")))
            continue;
        const struct shape_member *m = find_member(c, s, key);
        struct shape_path at = {.up = path, .name = m ? m->name : STR("")};
        if (!m) {
            struct str name = json_str(key, c->a);
            at.name = str_head(name, size_min(name.n, QUOTED_MAX));
            return check_fail(c, &at, "Extra inputs are not permitted");
        }
        seen |= UINT64_C(1) << (m - s->members);
        struct jval value = json_value(key);
        if (json_is(value, JSON_NULL) && (m->flags & MEMBER_NULLABLE))
            continue;
        if (!shape_check(c, m->shape, value, &at))
            return false;
    }
    return check_required(c, s, seen, path) && (!s->rule || s->rule(c, v, path));
}

static bool fail_tag(struct check *c, const struct shape *s, struct jval tag,
                     const struct shape_path *path)
{
    if (!json_is(tag, JSON_STRING)) {
        struct shape_path at = {.up = path, .name = STR("type")};
        return check_fail(c, &at,
                          json_present(tag) ? "Input should be a valid string" : "Field required");
    }
    struct str tags = STR("");
    for (size_t i = 0; i < s->n; i++) {
        if (s->variants[i].beta && !check_has_beta(c, s->variants[i].beta))
            continue;
        tags = arena_printf(c->a, "%.*s%s'%.*s'", STR_FMT(tags), tags.n ? ", " : "",
                            STR_FMT(s->variants[i].tag));
    }
    struct str got = json_str(tag, c->a);
    got = str_head(got, size_min(got.n, QUOTED_MAX));
    return check_fail(c, path,
                      "Input tag '%.*s' found using 'type' does not match any of the expected "
                      "tags: %.*s",
                      STR_FMT(got), STR_FMT(tags));
}

static bool check_tagged(struct check *c, const struct shape *s, struct jval v,
                         const struct shape_path *path)
{
    if (!json_is(v, JSON_OBJECT))
        return check_fail(c, path, "Input should be an object");
    struct jval tag = json_get(v, STR("type"));
    bool by_default = s->default_tag && json_type(tag) == JSON_NULL;
    for (size_t i = 0; i < s->n; i++) {
        const struct shape_variant *w = &s->variants[i];
        bool match = by_default ? str_eq(w->tag, str_c(s->default_tag)) : json_str_is(tag, w->tag);
        if (!match || (w->beta && !check_has_beta(c, w->beta)))
            continue;
        struct shape_path at = {.up = path, .name = w->tag};
        return check_members(c, w->shape, v, true, &at);
    }
    return fail_tag(c, s, tag, path);
}

bool shape_check(struct check *c, const struct shape *s, struct jval v,
                 const struct shape_path *path)
{
    switch (s->kind) {
    case SHAPE_STR: return check_str(c, s, v, path);
    case SHAPE_INT: return check_int(c, s, v, path);
    case SHAPE_NUM: return check_num(c, s, v, path);
    case SHAPE_BOOL:
        if (json_is(v, JSON_TRUE) || json_is(v, JSON_FALSE))
            return true;
        return check_fail(c, path, "Input should be a valid boolean");
    case SHAPE_DICT:
        if (json_is(v, JSON_OBJECT))
            return !s->rule || s->rule(c, v, path);
        return check_fail(c, path, "Input should be a valid dictionary");
    case SHAPE_ANY: return true;
    case SHAPE_OBJECT:
        if (json_is(v, JSON_OBJECT))
            return check_members(c, s, v, false, path);
        return check_fail(c, path, "Input should be an object");
    case SHAPE_TAGGED: return check_tagged(c, s, v, path);
    case SHAPE_LIST: return check_list(c, s, v, path);
    case SHAPE_STR_OR: return json_is(v, JSON_STRING) || shape_check(c, s->of, v, path);
    }
    UNREACHABLE();
}
