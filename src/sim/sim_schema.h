/* sim_schema.h - JSON Schema: an example value that obeys one. Checks are in sim_rules.h. */
#ifndef CCPROXY_SIM_SIM_SCHEMA_H
#define CCPROXY_SIM_SIM_SCHEMA_H

#include "base/buf.h"
#include "wire/json.h"

/* Appends a value for the schema as JSON: the required properties, the first of what may be chosen,
 * and word where a string may be anything. Bounded in depth and size whatever the schema says. */
void schema_example(struct buf *out, struct jval schema, struct str word);

#endif
