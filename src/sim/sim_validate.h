/* sim_validate.h - what the Messages API refuses, as a pure function of the request.
 *
 * The order is the service's: the shape of the body (tables in sim_tables.c), the model's name,
 * what the model and the API version allow, the rules between messages. The first thing wrong is
 * reported, in the service's words. The proxy's differential fuzzing uses this as its oracle.
 */
#ifndef CCPROXY_SIM_SIM_VALIDATE_H
#define CCPROXY_SIM_SIM_VALIDATE_H

#include "base/arena.h"
#include "llm/models.h"
#include "sim/sim_prefix.h"

#define SIM_VERSION_OLD STR("2023-06-01")
#define SIM_VERSION_NEW STR("2026-10-21")

enum { SIM_BODY_MAX = 32 * 1024 * 1024 };

struct sim_error {
    int status;
    const char *type;   /* "invalid_request_error" */
    struct str message; /* a literal, or in the arena */
    struct str details; /* members of error.details as JSON, or absent */
};

enum sim_thinking { SIM_THINK_OFF, SIM_THINK_ON, SIM_THINK_BETWEEN };

/* An accepted request, for those who answer it. Values point into the document. */
struct sim_request {
    struct str version;
    struct str betas; /* the anthropic-beta header: names with commas, or absent */
    bool counting; /* count_tokens: max_tokens and what belongs to sampling are not fields of it */

    const struct model *model;
    struct jval root, messages, system, tools, tool_choice, thinking, output_config, format;
    int64_t max_tokens;
    enum sim_thinking thinks;
    bool show_thinking; /* summarized, not omitted */
    size_t media_bytes; /* of base64 data: they are not text and cost by size of the picture */
    size_t images, documents;
    size_t breakpoints;   /* cache_control objects */
    struct prefix prefix; /* digest of what stands before some message, as far as somebody asked */
    int64_t input_tokens; /* an estimate */
};

/* True: accepted. doc is a parsed body; a holds what messages are made of. */
bool sim_validate(const struct json *doc, struct str version, struct arena *a,
                  struct sim_error *ret);

/* The same with more said and more answered: q comes with version, betas and counting set. */
bool sim_validate_request(const struct json *doc, struct arena *a, struct sim_request *q,
                          struct sim_error *ret);

/* The header's value: NULL when it is a list of known betas, else the first unknown one. */
bool sim_betas_known(struct str betas, struct str *ret_unknown);

/* The table of models that the simulator serves, made on first use; freed by sim_models_done. */
const struct models *sim_models(void);
void sim_models_done(void);
/* An exact id or alias; NULL when there is none. Retired models are found. */
const struct model *sim_model_find(struct str name);

#endif
