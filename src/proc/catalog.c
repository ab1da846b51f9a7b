/* catalog.c - see catalog.h. The configuration's own models and names are in it when there is a
 * configuration; prices are dollars per million tokens.
 */
#include "proc/catalog.h"

#include <unistd.h>

#include "config/config.h"
#include "llm/models.h"

enum { OUT_MAX = 1024 * 1024 };

static double usd(int64_t micro)
{
    return (double)micro / 1e6;
}

static void print_row(struct buf *out, const struct model *row)
{
    static const char *const thinks[] = {
        [THINK_OFF] = "off", [THINK_ON] = "on", [THINK_ALWAYS] = "always"};
    uint32_t bit;

    buf_printf(out, "%-28.*s %8lld %7lld %8g %8g %8g  %-7s", STR_FMT(row->id),
               (long long)row->context, (long long)row->max_output, usd(row->price.input),
               usd(row->price.output), usd(row->price.read), thinks[row->think]);
    for (size_t i = 0; model_ability(i, &bit).p; i++)
        if (row->can & bit)
            buf_printf(out, " %.*s", STR_FMT(model_ability(i, &bit)));
    buf_lit(out, "\n");
}

static void print_names(struct buf *out, const struct models *m)
{
    const struct model *row;

    buf_printf(out, "\n%-28s %s\n", "name", "means");
    for (size_t i = 0; i < models_alias_count(m); i++) {
        struct str name = models_alias_at(m, i, &row);

        buf_printf(out, "%-28.*s %.*s\n", STR_FMT(name), STR_FMT(row->id));
    }
    for (size_t i = 0; i < models_count(m); i++) {
        row = models_at(m, i);
        if (row->lifecycle == MODEL_RETIRED)
            buf_printf(out, "%-28.*s %.*s (retired)\n", STR_FMT(row->id), STR_FMT(row->successor));
    }
}

static void print_all(struct buf *out, const struct models *m)
{
    buf_printf(out, "%-28s %8s %7s %8s %8s %8s  %-7s %s\n", "model", "context", "output", "$ in",
               "$ out", "$ cached", "thinks", "can");
    for (size_t i = 0; i < models_count(m); i++)
        if (models_at(m, i)->lifecycle != MODEL_RETIRED)
            print_row(out, models_at(m, i));
    print_names(out, m);
}

int catalog_print(void)
{
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct config *c = config_load(environ, &out);
    struct models_options options = {.settings = STR_NONE};
    char error[MODELS_ERROR];

    if (c)
        options = (struct models_options){c->models, c->model_map, c->default_model};
    else
        (void)fprintf(stderr, "%.*s", STR_FMT(buf_str(&out)));
    buf_clear(&out);
    struct models *m = models_new(&options, error);
    if (m)
        print_all(&out, m);
    else
        (void)fprintf(stderr, "ccproxy: %s\n", error);
    printf("%.*s", STR_FMT(buf_str(&out)));
    buf_done(&out);
    models_free(m);
    config_free(c);
    return m ? 0 : 1;
}
