/* chat_fields.h - private to the decoders: a row of a table of top-level fields.
 *
 * chat_fields.c has the rows that all APIs of this family share; an API puts its own before them (see
 * struct chat_api), where they hide a shared row of the same name.
 */
#ifndef CCPROXY_LLM_CHAT_FIELDS_H
#define CCPROXY_LLM_CHAT_FIELDS_H

#include "llm/chat.h"

enum field_type { ANY, BOOLEAN, INTEGER, NUMBER, TEXT, LIST, OBJECT, TEXT_OR_LIST };

struct field {
    struct str name;
    enum field_type type;
    double min, max;
    bool (*apply)(struct chat *c, const struct field *f, struct jval v); /* NULL: ignored */
};

/* The handler of n and its kin: fields that ask for more than one answer. */
bool chat_only_one(struct chat *c, const struct field *f, struct jval v);

#endif
