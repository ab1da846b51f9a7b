/* check_int.h - what the files of the rules share. Private to src/config/check*.c. */
#ifndef CCPROXY_CONFIG_CHECK_INT_H
#define CCPROXY_CONFIG_CHECK_INT_H

#include "config/check.h"
#include "config/options.h"

/* What an operator calls the place in which an option was given. */
static inline struct str where(const struct config *c, enum option_id id)
{
    return c->given[id].where;
}

size_t check_count_parts(struct str rest); /* between commas */
/* A fault unless the text is absent or an address that may be asked. */
void check_url(const struct config *c, struct report *r, enum option_id id, struct str text);

/* check_keys.c: the upstream's and the clients', how these are known, and whether it is the demo. */
void check_keys(struct config *c, struct report *r);

#endif
