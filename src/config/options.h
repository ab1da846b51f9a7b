/* options.h - options.def as a table, and what was given for each of its rows. Private to config.
 */
#ifndef CCPROXY_CONFIG_OPTIONS_H
#define CCPROXY_CONFIG_OPTIONS_H

#include "config/config.h"

enum option_id {

#define GROUP(title)
#define OPTION(field, ...) OPT_##field,
#include "config/options.def"
#undef OPTION
#undef GROUP
    OPTIONS
};

enum option_type {
    OPTION_STRING,
    OPTION_SECRET,
    OPTION_PATH,
    OPTION_MAP,
    OPTION_JSON,
    OPTION_INT,
    OPTION_BYTES,
    OPTION_DURATION,
    OPTION_BOOL,
    OPTION_URL,
    OPTION_LEVEL,
    OPTION_FORMAT,
};

enum { OPTION_NAME_MAX = 64 };

struct option {
    struct str name; /* environment variable */
    enum option_type type;
    struct str def;
    int64_t min, max; /* a maximum of 0 is none */
    unsigned flags;
    size_t offset; /* of the field in struct config */
    struct str text;
};

/* The text that was given for an option, before it was parsed. */
struct config_given {
    enum given_by { GIVEN_DEFAULT, GIVEN_ENV, GIVEN_FILE, GIVEN_YAML } by;
    struct str text;  /* absent when the default is "" */
    struct str where; /* as the operator knows it: "CCPROXY_PORT", "/etc/ccproxy.yaml:3: port" */
};

extern const struct option options[OPTIONS];

/* The name in the YAML file: lower case, without CCPROXY_. */
struct str option_key(const struct option *o, char out[OPTION_NAME_MAX]);
/* Whether the value, or a part of it, must not be shown. */
bool option_is_secret(const struct option *o);
/* The row whose variable is name; NULL when there is none. */
const struct option *option_by_name(struct str name);
const struct option *option_by_key(struct str key);
/* The row whose name or key somebody may have meant; NULL when none is near. */
const struct option *option_near_name(struct str name);
const struct option *option_near_key(struct str key);

#endif
