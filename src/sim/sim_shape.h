/* sim_shape.h - tables that say what a JSON value must look like, and the walk that holds it to
 * them.
 *
 *   shape OBJECT --members--> { name, shape, required? nullable? beta? }
 *         TAGGED --variants-> { tag, OBJECT }     told apart by their "type"
 *         LIST   --of-------> shape
 *         STR_OR --of-------> shape               a string, or what of says
 *
 * Errors name the place as the service does: messages.0.content.1.tool_use.id. A path is a chain of
 * frames on the stack; its text is made only when there is something to report.
 */
#ifndef CCPROXY_SIM_SIM_SHAPE_H
#define CCPROXY_SIM_SIM_SHAPE_H

#include "sim/sim_validate.h"

enum shape_kind {
    SHAPE_STR, /* choices, or matches, or min..max bytes */
    SHAPE_INT, /* min..max, when max > min */
    SHAPE_NUM,
    SHAPE_BOOL,
    SHAPE_DICT, /* any object */
    SHAPE_ANY,
    SHAPE_OBJECT,
    SHAPE_TAGGED,
    SHAPE_LIST, /* min..max items, when max > min */
    SHAPE_STR_OR,
};

struct shape_path { /* name absent: an index */
    const struct shape_path *up;
    struct str name;
    uint32_t index;
};

struct check {
    struct arena *a;
    struct sim_request *request;
    struct sim_error *error;
};

/* What a table cannot say: called when the value has its shape. */
typedef bool shape_rule(struct check *c, struct jval v, const struct shape_path *path);

struct shape {
    enum shape_kind kind;
    const struct shape *of;
    const struct shape_member *members;
    const struct shape_variant *variants;
    const struct str *choices;
    size_t n; /* of members, variants or choices */
    int64_t min, max;
    bool (*matches)(struct str raw);
    const char *pattern; /* what matches checks, as the service writes it */
    shape_rule *rule;
    const char *default_tag; /* TAGGED: the variant when "type" is absent or null */
};

enum { MEMBER_REQUIRED = 1, MEMBER_NULLABLE = 2, MEMBER_NO_COUNT = 4 /* not in count_tokens */ };

struct shape_member {
    struct str name;
    const struct shape *shape;
    unsigned flags;
    const char *beta; /* a prefix of the beta that permits it, or NULL */
};

struct shape_variant {
    struct str tag;
    const struct shape *shape;
    const char *beta;
};

bool shape_check(struct check *c, const struct shape *s, struct jval v,
                 const struct shape_path *path);

/* Reports a 400 "path: message" (without a path: "message"); always false. */
bool check_fail(struct check *c, const struct shape_path *path, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* Whether the request came with a beta of that prefix. */
bool check_has_beta(const struct check *c, const char *prefix);

/* sim_tables.c: the bodies of the API. */
extern const struct shape shape_request;

#endif
