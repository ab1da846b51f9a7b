/* text.h - encodings: base64, hex, percent, UTF-8. All pure. */
#ifndef CCPROXY_BASE_TEXT_H
#define CCPROXY_BASE_TEXT_H

#include "base/arena.h"
#include "base/str.h"

enum { TEXT_U64 = 20 };

/* n in decimal into out; returns the digits written. */
size_t text_u64(uint64_t n, char out[TEXT_U64]);

/* Lower-case hex of n bytes into out, which has room for 2 * n. */
void text_hex(const void *p, size_t n, char *out);

/* Decodes up to out_max bytes of base64 (either alphabet, padding optional, white space skipped).
 * Returns the number decoded, or -1 at the first character that is neither, or when the text ends
 * in the middle of a byte. Nothing is looked at behind what fills out. */
ssize_t text_base64_decode(struct str s, void *out, size_t out_max);
/* Standard alphabet with padding. */
struct str text_base64_encode(struct arena *a, const void *p, size_t n);

/* Percent-decodes; false on a broken escape or an encoded NUL. */
NODISCARD bool text_percent_decode(struct arena *a, struct str s, struct str *ret);

/* Length of the longest prefix of s that is valid UTF-8 (no overlongs, no surrogates). */
size_t text_utf8_valid(struct str s);
/* Bytes written (1 to 4) for a scalar value. */
size_t text_utf8_encode(uint32_t rune, char out[4]);

#endif
