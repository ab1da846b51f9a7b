/* sim_rules.h - rules for single values that a table cannot say: pictures, schemas, addresses.
 *
 * Each is called when its value has the right shape, and reports through check_fail.
 */
#ifndef CCPROXY_SIM_SIM_RULES_H
#define CCPROXY_SIM_SIM_RULES_H

#include "sim/sim_shape.h"

bool rule_is_name_char(char c); /* [a-zA-Z0-9_-] */

shape_rule rule_text;  /* not empty, not only white space */
shape_rule rule_image; /* a base64 source: its type, size, and first bytes */
shape_rule rule_pdf;
shape_rule rule_url;
shape_rule rule_count_image;
shape_rule rule_count_document;
shape_rule rule_count_cache;
shape_rule rule_metadata;    /* no e-mail address as user id */
shape_rule rule_tool_schema; /* input_schema of a custom tool */
shape_rule rule_server_tool;

/* An output format, or the schema of a strict tool: what constrained decoding can follow. optional
 * and unions are counted over all schemas of a request. */
bool rule_strict_schema(struct check *c, struct jval schema, const struct shape_path *path,
                        unsigned *optional, unsigned *unions);

/* Whether a string is nothing but white space, escaped or not. */
bool rule_is_blank(struct jval string);

/* What a picture's first bytes say it is ("image/png"), or absent. */
struct str rule_image_type(struct str head);

#endif
