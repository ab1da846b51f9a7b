/* options.c - the table of options, looked up by name and printed for people.
 *
 * Everything that is said about options comes from options.def through here, so that the help, the
 * documentation and `ccproxy check` cannot drift from what is parsed. No state. Reading values is
 * left to config.c and parse.c.
 */
#include "config/options.h"

#include "config/parse.h"

enum { NEAR = 7 }; /* edits; further away is another word */

const struct option options[OPTIONS] = {
#define GROUP(title)
#define OPTION(field, name, type, def, min, max, flags, text)                                      \
    [OPT_##field] = {STR_INIT(name),                                                               \
                     OPTION_##type,                                                                \
                     STR_INIT(def),                                                                \
                     min,                                                                          \
                     max,                                                                          \
                     flags,                                                                        \
                     offsetof(struct config, field),                                               \
                     STR_INIT(text)},
#include "config/options.def"
#undef OPTION
#undef GROUP
};

struct str option_key(const struct option *o, char out[OPTION_NAME_MAX])
{
    const struct str prefix = STR("CCPROXY_");
    struct str s = str_starts(o->name, prefix) ? str_skip(o->name, prefix.n) : o->name;

    ASSERT(s.n <= OPTION_NAME_MAX);
    for (size_t i = 0; i < s.n; i++)
        out[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] + ('a' - 'A')) : s.p[i];
    return str_of(out, s.n);
}

bool option_is_secret(const struct option *o)
{
    return o->type == OPTION_SECRET || o->flags & OPTION_SECRET_URL;
}

const struct option *option_by_name(struct str name)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (str_eq(options[i].name, name))
            return &options[i];
    return NULL;
}

const struct option *option_by_key(struct str key)
{
    char out[OPTION_NAME_MAX];

    for (size_t i = 0; i < OPTIONS; i++)
        if (str_eq(option_key(&options[i], out), key))
            return &options[i];
    return NULL;
}

/* Short names are near to everything, so a third of the letters must be right. */
static size_t near(struct str name)
{
    return size_min(NEAR, 1 + name.n / 3);
}

const struct option *option_near_name(struct str name)
{
    const struct option *best = NULL;
    size_t best_distance = near(name);

    for (size_t i = 0; i < OPTIONS; i++) {
        size_t d = str_distance(name, options[i].name, best_distance);

        if (d < best_distance) {
            best = &options[i];
            best_distance = d;
        }
    }
    return best;
}

const struct option *option_near_key(struct str key)
{
    const struct option *best = NULL;
    size_t best_distance = near(key);
    char out[OPTION_NAME_MAX];

    for (size_t i = 0; i < OPTIONS; i++) {
        size_t d = str_distance(key, option_key(&options[i], out), best_distance);

        if (d < best_distance) {
            best = &options[i];
            best_distance = d;
        }
    }
    return best;
}

static void help_option(struct buf *out, const struct option *o)
{
    buf_printf(out, "  %.*s", STR_FMT(o->name));
    if (o->def.n)
        buf_printf(out, " (%.*s)", STR_FMT(o->def));
    buf_printf(out, "\n      %.*s\n", STR_FMT(o->text));
}

void config_help(struct buf *out)
{
#define GROUP(title)       buf_printf(out, "\n%s:\n", title);
#define OPTION(field, ...) help_option(out, &options[OPT_##field]);
#include "config/options.def"
#undef OPTION
#undef GROUP
}

static void markdown_option(struct buf *out, const struct option *o)
{
    char key[OPTION_NAME_MAX];

    buf_printf(out, "| `%.*s` | `%.*s` | %.*s | ", STR_FMT(o->name), STR_FMT(option_key(o, key)),
               STR_FMT(o->text));
    if (o->def.n)
        buf_printf(out, "`%.*s` |\n", STR_FMT(o->def));
    else
        buf_lit(out, "- |\n");
}

void config_markdown(struct buf *out)
{
    buf_lit(
        out,
        "# Configuration\n\n"
        "Every option is an environment variable. Instead of a variable, a file that holds the\n"
        "value can be named by the same variable with `_FILE` behind it, which is meant for\n"
        "secrets. `CCPROXY_CONFIG` names a YAML file with any of the options under the names in\n"
        "the second column; what is separated by commas may be a list there. A variable wins\n"
        "over a file, a file over the YAML file. `ccproxy check` says what is in force.\n");
#define GROUP(title)                                                                               \
    buf_printf(out,                                                                                \
               "\n## %s\n\n| variable | in the file | meaning | default |\n|---|---|---|---|\n",   \
               title);
#define OPTION(field, ...) markdown_option(out, &options[OPT_##field]);
#include "config/options.def"
#undef OPTION
#undef GROUP
}

/* A path is no address. */
static bool is_hidden(const struct option *o, struct str text)
{
    return option_is_secret(o) &&
           (o->type != OPTION_PATH || str_find_str(text, STR("://")) < text.n);
}

static struct str shown(const struct config *c, const struct option *o)
{
    struct str text = c->given[o - options].text;

    if (!text.n)
        return STR("-");
    if (is_hidden(o, text))
        return STR("(hidden)");
    return parse_is_clean(text) ? text : STR("(several lines)");
}

static void print_option(const struct config *c, struct buf *out, const struct option *o)
{
    static const char *const by[] = {
        [GIVEN_DEFAULT] = "default",
        [GIVEN_ENV] = "environment",
        [GIVEN_FILE] = "file",
        [GIVEN_YAML] = "yaml",
    };

    buf_printf(out, "%-28.*s %-28.*s %s\n", STR_FMT(o->name), STR_FMT(shown(c, o)),
               by[c->given[o - options].by]);
}

void config_print(const struct config *c, struct buf *out)
{
    for (size_t i = 0; i < OPTIONS; i++)
        print_option(c, out, &options[i]);
    buf_lit(out, "\nclients:");
    for (size_t i = 0; i < c->clients.n; i++)
        buf_printf(out, " %.*s", STR_FMT(c->clients.list[i].name));
    buf_printf(out, "\nupstream keys: %zu\nmode: %s\n", c->n_upstream_keys,
               c->demo ? "demo (the built-in simulator answers)" : "serve");
}
