/* anthropic.h - the list of models in Anthropic's own shape, for its clients and for the simulator. */
#ifndef CCPROXY_LLM_ANTHROPIC_H
#define CCPROXY_LLM_ANTHROPIC_H

#include "llm/models.h"
#include "wire/jsonw.h"

/* Members of an open object: id (as the client calls it), type, display_name, created_at and the
 * limits. */
void anthropic_model_fields(struct jsonw *w, struct str id, const struct model *m);

/* The body of GET /v1/models, all of it on one page, and of /v1/models/{id}. False: no such model. */
void anthropic_models_list(const struct models *m, struct buf *out);
bool anthropic_models_one(const struct models *m, struct str name, struct arena *scratch,
                          struct buf *out);
/* {"type":"error","error":{"type":..,"message":..}} */
void anthropic_error_body(struct str type, struct str message, struct buf *out);

#endif
