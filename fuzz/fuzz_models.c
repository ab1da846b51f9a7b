/* fuzz_models.c - any bytes as the three inputs of the table of models.
 *
 * The input is cut at zero bytes: a map of aliases, an answer of GET /v1/models, and a name.
 * Whatever they are, a name that resolves has a living model with limits behind it.
 */
#include "base/mem.h"
#include "llm/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_names(const struct models *m, struct str name)
{
    struct arena a;
    const struct model *row = NULL;
    arena_init(&a);
    enum model_match match = models_resolve(m, name, &a, &row);
    ASSERT((match == MODEL_UNKNOWN) == (row == NULL));
    ASSERT(!row || (row->lifecycle != MODEL_RETIRED && row->max_output > 0 && row->id.n > 0));
    for (size_t i = 0; i < models_alias_count(m); i++) {
        models_alias_at(m, i, &row);
        ASSERT(row && row->lifecycle != MODEL_RETIRED);
    }
    arena_done(&a);
}

static void check_list(const struct models *m)
{
    struct buf out;
    struct json doc;
    buf_init(&out, 16 * 1024 * 1024);
    json_init(&doc);
    openai_models_list(m, &out);
    ASSERT(json_parse(&doc, buf_str(&out)) == JSON_OK);
    json_done(&doc);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_of((const char *)data, size), map, list = STR_NONE, name = STR_NONE;
    char why[MODELS_ERROR] = "";
    struct json doc;
    if (!data || !str_split(&rest, '\0', &map))
        return 0;
    (void)str_split(&rest, '\0', &list);
    (void)str_split(&rest, '\0', &name);
    /* the same text as settings: refused with a reason, or a table that can be used */
    struct models *m = models_new(&(struct models_options){.settings = map}, why);
    ASSERT(m || why[0]);
    models_free(m);
    m = models_new(&(struct models_options){.map = map}, why);
    if (m) {
        json_init(&doc);
        if (list.n > 0 && json_parse(&doc, list) == JSON_OK) {
            size_t n = models_refresh(m, &doc), rows = models_count(m);
            ASSERT(models_refresh(m, &doc) == n && models_count(m) == rows);
        }
        json_done(&doc);
        check_names(m, name);
        check_list(m);
        models_free(m);
    }
    ASSERT(mem_live() == 0);
    return 0;
}
