/* config.c - gathers each option's text from its sources, has it parsed, and owns the result.
 *
 *   environment --+
 *   NAME_FILE ----+--> given[option] --> parse.c --> fields --> check.c --> struct config
 *   YAML file ----+     text, where                            keys, demo
 *   default ------+
 *
 * The first source that has a value keeps it; an empty variable is none. Everything lives in the
 * configuration's arena. Secrets are texts of given[] and the spans over them; config_free wipes
 * those.
 */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/check.h"
#include "config/options.h"
#include "config/parse.h"
#include "config/report.h"
#include "config/yaml.h"
#include "io/tls.h"

enum {
    FILE_MAX = 1024 * 1024,
    SHOWN_MAX = 100, /* bytes of a wrong value in a message */
};

struct loading {
    struct config *c;
    char *const *env;
    struct report report;
};

static struct str env_get(char *const *env, struct str name)
{
    for (; *env; env++) {
        struct str s = str_c(*env);

        if (str_starts(s, name) && s.n > name.n + 1 && s.p[name.n] == '=')
            return str_skip(s, name.n + 1);
    }
    return STR_NONE;
}

/* Terminated as well, because paths and addresses go to libraries that want C strings. */
static struct str dup_text(struct arena *a, struct str s)
{
    char *p = arena_zalloc(a, s.n + 1);

    if (s.p)
        memcpy(p, s.p, s.n);
    return str_of(p, s.n);
}

static void give(struct loading *l, enum option_id id, enum given_by by, struct str text,
                 struct str place)
{
    l->c->given[id] = (struct config_given){
        .by = by,
        .text = dup_text(&l->c->arena, text),
        .where = arena_dup(&l->c->arena, place),
    };
}

static bool is_given(const struct loading *l, enum option_id id)
{
    return l->c->given[id].text.n > 0;
}

/* 0, or an errno. */
static int read_all(int fd, struct buf *out)
{
    for (;;) {
        char *room = buf_reserve(out, 4096);
        ssize_t n;

        if (!room)
            return EFBIG;
        n = read(fd, room, 4096);
        if (n < 0)
            return errno;
        if (n == 0)
            return 0;
        buf_commit(out, (size_t)n);
    }
}

static bool read_file(struct loading *l, struct str path, struct str place, struct str *ret)
{
    struct str name = arena_printf(&l->c->arena, "%.*s", STR_FMT(path));
    int fd = open(name.p, O_RDONLY | O_CLOEXEC | O_NOCTTY), error = errno;
    struct buf text;

    buf_init(&text, FILE_MAX + 4096);
    if (fd >= 0) {
        error = read_all(fd, &text);
        (void)close(fd);
    }
    if (!error && buf_len(&text) > FILE_MAX)
        error = EFBIG;
    if (error)
        report_fault(&l->report, place, "\"%.*s\" cannot be read: %s", STR_FMT(path),
                     error == EFBIG ? "it is larger than 1 MiB" : strerrordesc_np(error));
    else
        *ret = dup_text(&l->c->arena, buf_str(&text));
    if (text.data)
        mem_wipe(text.data, text.cap);
    buf_done(&text);
    return !error;
}

static struct str without_newline(struct str s)
{
    if (str_ends(s, STR("\n")))
        s.n--;
    if (str_ends(s, STR("\r")))
        s.n--;
    return s;
}

static void take_file(struct loading *l, enum option_id id, struct str path, struct str place)
{
    struct str text;

    if (!read_file(l, path, place, &text))
        return;
    text = without_newline(text);
    if (!text.n)
        report_fault(&l->report, place, "\"%.*s\" is empty", STR_FMT(path));
    give(l, id, GIVEN_FILE, text, place);
}

static struct str lower_case(struct arena *a, struct str s)
{
    struct str copy = arena_dup(a, s);
    char *p = (char *)(uintptr_t)copy.p;

    for (size_t i = 0; i < copy.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] + ('a' - 'A'));
    return copy;
}

static void take_env(struct loading *l, enum option_id id)
{
    struct str name = options[id].name;
    struct str file = arena_printf(&l->c->arena, "%.*s_FILE", STR_FMT(name));
    struct str lower = lower_case(&l->c->arena, name);
    struct str text = env_get(l->env, name), path = env_get(l->env, file);

    if (text.n) {
        give(l, id, GIVEN_ENV, text, name);
        return;
    }
    if (path.n) {
        take_file(l, id, path, file);
        return;
    }
    /* Other programs' variables are written in either case; ours are not. */
    text = env_get(l->env, lower);
    if (text.n && !str_starts(name, STR("CCPROXY_")))
        give(l, id, GIVEN_ENV, text, lower);
}

static bool join_list(const struct yaml_item *item, struct buf *out)
{
    for (size_t i = 0; i < item->n_parts; i++) {
        const struct yaml_part *p = &item->parts[i];

        if (!p->value.n || str_find(p->value, ',') < p->value.n)
            return false;
        if (!buf_printf(out, "%s%.*s%s%.*s", i ? "," : "", STR_FMT(p->key), p->key.n ? ":" : "",
                        STR_FMT(p->value)))
            return false;
    }
    return true;
}

static bool is_json(enum option_id id)
{
    return options[id].type == OPTION_MAP || options[id].type == OPTION_JSON;
}

/* What a list or a mapping in the file would be as a variable. */
static void take_parts(struct loading *l, enum option_id id, const struct yaml_item *item,
                       struct str place)
{
    bool is_list = options[id].flags & OPTION_LIST;
    struct buf joined;

    if (is_json(id) && item->kind == YAML_MAP) {
        give(l, id, GIVEN_YAML, item->value, place);
        return;
    }
    if (!is_list || item->kind != YAML_LIST) {
        report_fault(&l->report, place, "one value was expected, not a list or a mapping");
        return;
    }
    buf_init(&joined, FILE_MAX);
    if (join_list(item, &joined))
        give(l, id, GIVEN_YAML, buf_str(&joined), place);
    else
        report_fault(&l->report, place, "an entry is empty, holds a comma or is too long");
    if (joined.data)
        mem_wipe(joined.data, joined.cap);
    buf_done(&joined);
}

static void unknown_key(struct loading *l, struct str place, struct str key)
{
    const struct option *near = option_near_key(key);
    char out[OPTION_NAME_MAX];

    if (near)
        report_fault(&l->report, place, "there is no such option; did you mean %.*s?",
                     STR_FMT(option_key(near, out)));
    else
        report_fault(&l->report, place, "there is no such option");
}

/* The option of a key, also of one that ends in _file; NULL when it is unknown. */
static const struct option *option_of_key(struct str key, bool *ret_is_file)
{
    const struct str suffix = STR("_file");
    const struct option *o = option_by_key(key);

    *ret_is_file = !o && str_ends(key, suffix);
    return *ret_is_file ? option_by_key(str_head(key, key.n - suffix.n)) : o;
}

static bool is_repeated(const struct yaml_file *file, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (str_eq(file->items[j].key, file->items[i].key))
            return true;
    return false;
}

static void take_item(struct loading *l, const struct yaml_item *item, struct str place)
{
    bool is_file;
    const struct option *o = option_of_key(item->key, &is_file);
    enum option_id id = o ? (enum option_id)(o - options) : OPTIONS;

    if (!o) {
        unknown_key(l, place, item->key);
        return;
    }
    if (id == OPT_config_file)
        report_fault(&l->report, place, "a configuration file cannot name another");
    else if (is_given(l, id) || (item->kind == YAML_VALUE && !item->value.n))
        return;
    else if (item->kind != YAML_VALUE)
        take_parts(l, id, item, place);
    else if (is_file)
        take_file(l, id, item->value, place);
    else
        give(l, id, GIVEN_YAML, item->value, place);
}

static void take_yaml(struct loading *l)
{
    const struct config_given *g = &l->c->given[OPT_config_file];
    struct yaml_file file;
    struct str text;

    if (!g->text.n || !read_file(l, g->text, g->where, &text))
        return;
    if (!yaml_read(text, &l->c->arena, &file)) {
        report_fault(&l->report, g->where, "%.*s:%u: %s", STR_FMT(g->text), file.error_line,
                     file.error);
        return;
    }
    for (size_t i = 0; i < file.n; i++) {
        struct str place = arena_printf(&l->c->arena, "%.*s:%u: %.*s", STR_FMT(g->text),
                                        file.items[i].line, STR_FMT(file.items[i].key));

        if (is_repeated(&file, i))
            report_fault(&l->report, place, "stands there twice");
        else
            take_item(l, &file.items[i], place);
    }
    mem_wipe((void *)(uintptr_t)text.p, text.n);
}

static void take_defaults(struct loading *l)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (!is_given(l, (enum option_id)i) && !l->c->given[i].where.n)
            give(l, (enum option_id)i, GIVEN_DEFAULT, options[i].def, options[i].name);
}

/* CCPROXY_MODEL_MAP=@/path: the file's content is the value. */
static bool follow_map(struct loading *l, enum option_id id, struct str *text)
{
    if (!is_json(id) || !str_starts(*text, STR("@")))
        return true;
    return read_file(l, str_skip(*text, 1), l->c->given[id].where, text);
}

static void wrong_value(struct loading *l, enum option_id id, const char *expected)
{
    const struct config_given *g = &l->c->given[id];
    bool hidden = option_is_secret(&options[id]) ||
                  (options[id].type == OPTION_URL && str_find(g->text, '@') < g->text.n);

    if (hidden)
        report_fault(&l->report, g->where, "the value is not %s", expected);
    else
        report_fault(&l->report, g->where, "\"%.*s\"%s is not %s",
                     STR_FMT(str_head(g->text, size_min(g->text.n, SHOWN_MAX))),
                     g->text.n > SHOWN_MAX ? "..." : "", expected);
}

static void parse(struct loading *l, enum option_id id)
{
    struct str text = l->c->given[id].text, place = l->c->given[id].where;
    char expected[PARSE_EXPECTED];

    if (!text.n || !follow_map(l, id, &text))
        return;
    /* JSON may have line ends, and refuses what is unclean by itself. */
    if (!is_json(id) && !(options[id].flags & OPTION_LINES) && !parse_is_clean(text))
        report_fault(&l->report, place, "the value holds control characters or is not UTF-8");
    else if (!parse_option(&options[id], text, l->c, expected))
        wrong_value(l, id, expected);
}

static void warn_unknown(struct loading *l, struct str name)
{
    const struct str suffix = STR("_FILE");
    bool is_file = str_ends(name, suffix);
    struct str stem = is_file ? str_head(name, name.n - suffix.n) : name;
    const struct option *near;

    if (option_by_name(name) || option_by_name(stem))
        return;
    near = option_near_name(stem);
    if (near)
        report_warning(&l->report, name, "there is no such option; did you mean %.*s%s?",
                       STR_FMT(near->name), is_file ? "_FILE" : "");
    else
        report_warning(&l->report, name, "there is no such option");
}

static void warn_all_unknown(struct loading *l)
{
    for (char *const *e = l->env; *e; e++) {
        struct str s = str_c(*e), name = str_head(s, str_find(s, '='));

        if (str_starts(name, STR("CCPROXY_")) && parse_is_clean(name))
            warn_unknown(l, name);
    }
}

struct config *config_load(char *const *env, struct buf *problems)
{
    struct config *c = mem_zalloc(sizeof(*c));
    struct loading l = {.c = c, .env = env, .report = {.out = problems}};

    arena_init(&c->arena);
    c->given = arena_zalloc(&c->arena, OPTIONS * sizeof(*c->given));
    for (size_t i = 0; i < OPTIONS; i++)
        take_env(&l, (enum option_id)i);
    take_yaml(&l);
    take_defaults(&l);
    for (size_t i = 0; i < OPTIONS; i++)
        parse(&l, (enum option_id)i);
    warn_all_unknown(&l);
    if (!l.report.n_faults)
        check_config(c, &l.report);
    if (!l.report.n_faults)
        return c;
    config_free(c);
    return NULL;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < OPTIONS; i++) {
        struct str text = c->given[i].text;

        if (option_is_secret(&options[i]) && text.n)
            mem_wipe((void *)(uintptr_t)text.p, text.n);
    }
    if (c->jwt_keys)
        jwt_keys_done(c->jwt_keys);
    tls_server_free(c->tls);
    arena_done(&c->arena);
    mem_free(c);
}

void config_use_demo(struct config *c, uint16_t port, struct str client_key)
{
    struct str address = arena_printf(&c->arena, "http://127.0.0.1:%u", port);

    ASSERT(c->demo);
    ASSERT(url_parse(address, &c->anthropic_base_url));
    c->upstream_keys = arena_zalloc(&c->arena, sizeof(*c->upstream_keys));
    c->upstream_keys[0] = STR("demo");
    c->n_upstream_keys = 1;
    struct sha256 hash = hash_sha256(client_key);
    char error[CLIENTS_ERROR];
    clients_init(&c->clients, 1, &c->arena);
    ASSERT(clients_add(&c->clients, STR("demo"), &hash, &c->arena, error));
    ASSERT(clients_seal(&c->clients, error));
}

void config_wipe_env(char *const *env)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        struct str value;

        if (!option_is_secret(&options[i]))
            continue;
        value = env_get(env, options[i].name);
        if (value.n)
            mem_wipe((void *)(uintptr_t)value.p, value.n);
    }
}
