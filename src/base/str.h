/* str.h - a borrowed span of bytes. It owns nothing and is not terminated by NUL.
 *
 * An absent span is {NULL, 0}; an empty one has a non-NULL pointer. Comparisons treat both as
 * empty.
 */
#ifndef CCPROXY_BASE_STR_H
#define CCPROXY_BASE_STR_H

#include "base/base.h"

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){("" literal ""), sizeof(literal) - 1})
#define STR_INIT(literal)                                                                          \
    {                                                                                              \
        ("" literal ""), sizeof(literal) - 1                                                       \
    } /* for static tables */
#define STR_NONE   ((struct str){NULL, 0})
/* For printf: ("%.*s", STR_FMT(s)) */
#define STR_FMT(s) (int)(s).n, (s).p

static inline struct str str_of(const char *p, size_t n)
{
    return (struct str){p, n};
}

static inline struct str str_c(const char *cstr) /* cstr may be NULL: absent */
{
    return (struct str){cstr, cstr ? strlen(cstr) : 0};
}

/* Copies s to where it has room, and returns the place behind it. Most pieces of text that are put
 * together are short: those cost two moves that may overlap, no call. */
ALWAYS_INLINE char *str_copy(char *to, struct str s)
{
    char *end = to + s.n;

    if (s.n > 32) {
        memcpy(to, s.p, s.n);
    } else if (s.n >= 16) {
        memcpy(to, s.p, 16);
        memcpy(end - 16, s.p + s.n - 16, 16);
    } else if (s.n >= 8) {
        memcpy(to, s.p, 8);
        memcpy(end - 8, s.p + s.n - 8, 8);
    } else if (s.n >= 4) {
        memcpy(to, s.p, 4);
        memcpy(end - 4, s.p + s.n - 4, 4);
    } else if (s.n > 0) {
        to[0] = s.p[0];
        to[s.n / 2] = s.p[s.n / 2];
        end[-1] = s.p[s.n - 1];
    }
    return end;
}

static inline bool str_eq(struct str a, struct str b)
{
    /* Different texts of one length nearly always differ in front already. */
    return a.n == b.n && (a.n == 0 || (a.p[0] == b.p[0] && memcmp(a.p, b.p, a.n) == 0));
}

bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix); /* ASCII letters only */

static inline bool str_eq_nocase(struct str a, struct str b)
{
    return a.n == b.n && str_starts_nocase(a, b);
}

bool str_ends(struct str s, struct str suffix);
int str_cmp(struct str a, struct str b); /* like memcmp, shorter first */

/* Index of the first c, or s.n when there is none. */
size_t str_find(struct str s, char c);
/* Index of the first needle, or s.n when there is none. */
size_t str_find_str(struct str s, struct str needle);

static inline struct str str_skip(struct str s, size_t n) /* without its first n bytes; n <= s.n */
{
    ASSERT(n <= s.n);
    return n ? str_of(s.p + n, s.n - n) : s;
}

static inline struct str str_head(struct str s, size_t n) /* its first n bytes; n <= s.n */
{
    ASSERT(n <= s.n);
    return str_of(s.p, n);
}

struct str str_trim(struct str s); /* without SP, HTAB, CR, LF at both ends */

/* Cuts *rest at the first sep: returns what stands before it and moves *rest behind it.
 * Returns false when *rest was absent (everything has been handed out). */
bool str_split(struct str *rest, char sep, struct str *ret_part);

/* The whole span as a decimal number: digits only, no sign, no overflow. */
NODISCARD bool str_to_u64(struct str s, uint64_t *ret);
/* With an optional minus sign. */
NODISCARD bool str_to_i64(struct str s, int64_t *ret);

/* Constant time in the contents for equal lengths. */
bool str_eq_secret(struct str a, struct str b);

/* Edits (insert, delete, replace, swap) between a and b, for "did you mean"; at most cap. */
size_t str_distance(struct str a, struct str b, size_t cap);

#endif
