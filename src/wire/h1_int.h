/* h1_int.h - what the files of the HTTP/1.1 parser share: one table of character classes, and the
 * few questions that both heads and trailers ask. Private to src/wire/h1_*.c.
 */
#ifndef CCPROXY_WIRE_H1_INT_H
#define CCPROXY_WIRE_H1_INT_H

#include "wire/h1.h"

enum {
    CLASS_TOKEN = 1,       /* tchar, RFC 9110 section 5.6.2 */
    CLASS_VALUE = 2,       /* HTAB, SP and VCHAR: what a field value may hold, section 5.5 */
    CLASS_TARGET = 4,      /* visible ASCII that may stand in a request target */
    CLASS_HOST = 8,        /* of a registered name or IPv4 address */
    CLASS_UNDERSCORE = 16, /* '_' alone */
    CLASS_OBS = 32,        /* obs-text, 0x80 and above */
};

extern const unsigned char h1_classes[256];

static inline unsigned class_of(char c)
{
    return h1_classes[(unsigned char)c];
}

static inline int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether a name is one of framing or credentials, wherever its '-' and '_' stand. */
bool h1_is_sensitive(struct str name);

/* Splits head->target into path, query and authority. */
enum h1_error h1_read_target(struct h1_head *head);

/* Checks Host, holds it against an absolute target, and fills in head->authority. */
enum h1_error h1_read_host(struct h1_head *head);

#endif
