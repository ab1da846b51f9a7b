/* parse.h - the text of one value into its type. Pure; the command line reads its options with it
 * too. */
#ifndef CCPROXY_CONFIG_PARSE_H
#define CCPROXY_CONFIG_PARSE_H

#include "base/str.h"

enum { PARSE_EXPECTED = 128 };

/* "10s", "250ms", "0": whole us, ms, s, m or h; up to a year. */
NODISCARD bool parse_duration(struct str s, int64_t *ret_us);
/* "32MiB", "1GB", "4096": a whole number of B, KB, MB, GB, KiB, MiB or GiB. */
NODISCARD bool parse_bytes(struct str s, int64_t *ret);
/* true, yes, on, 1 and their opposites, in any case. */
NODISCARD bool parse_bool(struct str s, bool *ret);

struct option;

/* Puts text, which is not empty, into the option's field in the struct config at base. On failure
 * expected says what it should have been: "a number from 0 to 65535". Strings are borrowed. */
NODISCARD bool parse_option(const struct option *o, struct str text, void *base,
                            char expected[PARSE_EXPECTED]);
/* Whether s holds nothing that could harm a line, a field or a terminal. */
bool parse_is_clean(struct str s);

#endif
