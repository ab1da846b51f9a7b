/* models_int.h - private to the table of models: what its files share.
 *
 *   models.c           rows, names, the upstream's own list
 *   model_settings.c   what the operator says of models
 */
#ifndef CCPROXY_LLM_MODELS_INT_H
#define CCPROXY_LLM_MODELS_INT_H

#include "llm/models.h"

enum { MODELS_MAX = 512, ALIASES_MAX = 4096 };

struct models_alias {
    struct str name;
    const struct model *model;
};

struct models {
    struct arena arena;
    struct model *rows[MODELS_MAX];
    size_t n_rows, n_living;
    struct models_alias *aliases;
    size_t n_aliases, cap_aliases;
    const struct model *fallback; /* for unknown names, or NULL */
};

/* A new row, behind the other living or retired ones; NULL when the table is full. */
struct model *models_row_add(struct models *m, const struct model *like, bool living);
struct model *models_row(const struct models *m, struct str id);
struct model *models_row_by_alias(const struct models *m, struct str name);
/* A row for an id that nobody knows. */
struct model models_assumed(const struct models *m, struct str id);
/* The bit of an effort's name, or 0. */
uint32_t models_effort(struct str name);

/* model_settings.c: false with a line that says which model and which member is wrong. */
bool models_read_settings(struct models *m, struct str json, struct str *ret_error);

#endif
