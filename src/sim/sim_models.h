/* sim_models.h - GET /v1/models and GET /v1/models/{id}. */
#ifndef CCPROXY_SIM_SIM_MODELS_H
#define CCPROXY_SIM_SIM_MODELS_H

#include "base/buf.h"
#include "sim/sim_validate.h"

/* One model's description. */
void sim_model_write(const struct model *m, struct buf *out);
/* The list as the query asks for it: limit, after_id, before_id, lifecycle[]. False with a message
 * in error when the query is bad. */
bool sim_models_write(struct str query, struct arena *a, struct buf *out, struct sim_error *error);

#endif
