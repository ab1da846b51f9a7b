/* yaml.h - a YAML file as a flat list of keys and values; the only file that knows libyaml.
 *
 *   port: 8000                      key "port", value "8000"
 *   api_keys: [alice:k1, bob:k2]    key "api_keys", parts "alice:k1", "bob:k2"
 *   model_map: {gpt-4: claude-x}    key "model_map", value {"gpt-4":"claude-x"}; at any depth
 *
 * Lists of anything but texts, several documents, and a file that is not a mapping are refused.
 */
#ifndef CCPROXY_CONFIG_YAML_H
#define CCPROXY_CONFIG_YAML_H

#include "base/arena.h"

enum { YAML_ERROR = 160 };

struct yaml_part {
    struct str key; /* of "- key: value"; mostly absent */
    struct str value;
};

struct yaml_item {
    struct str key;
    unsigned line;

    enum { YAML_VALUE, YAML_LIST, YAML_MAP } kind;
    struct str value; /* absent when null; the JSON text of a mapping */
    struct yaml_part *parts;
    size_t n_parts;
};

struct yaml_file {
    struct yaml_item *items;
    size_t n;
    unsigned error_line;
    char error[YAML_ERROR]; /* after a failure */
};

/* Everything in ret is made in a. An empty file has no items. */
NODISCARD bool yaml_read(struct str text, struct arena *a, struct yaml_file *ret);

#endif
