/* model_limits.h - limits that hold for single models, beside a client's general ones.
 *
 *   {"claude-opus-5": {"rpm": 10, "tpm": 40000, "concurrent_requests": 2}}
 *
 * A model is named by its id or by any name that means it.
 */
#ifndef CCPROXY_POLICY_MODEL_LIMITS_H
#define CCPROXY_POLICY_MODEL_LIMITS_H

#include "base/arena.h"
#include "wire/json.h"

struct model_limit {
    struct str model;             /* as it was named */
    int64_t rpm, tpm, concurrent; /* -1: not said; 0: no limit */
};

struct model_limits {
    const struct model_limit *list;
    size_t n;
};

/* Into a. False, and *ret_expected says what was expected of the first wrong value. */
NODISCARD bool model_limits_read(struct jval v, struct arena *a, struct model_limits *ret,
                                 const char **ret_expected);
/* The same of a text. */
NODISCARD bool model_limits_parse(struct str json, struct arena *a, struct model_limits *ret,
                                  const char **ret_expected);

#endif
