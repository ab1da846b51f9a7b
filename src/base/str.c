/* str.c - comparing, searching and cutting borrowed spans.
 *
 * Nothing here allocates or looks past s.n. An absent span (NULL, 0) is accepted everywhere, which
 * is why lengths are tested before memcmp and friends see a pointer.
 */
#include "base/str.h"

enum { DISTANCE_MAX = 64 }; /* longer names are not what someone mistyped */

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq(str_head(s, prefix.n), prefix);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
    if (s.n < prefix.n)
        return false;
    if (prefix.n == 0)
        return true;
    /* Most differ in front already, and of the others most are spelled alike. */
    if (s.p[0] != prefix.p[0] && lower(s.p[0]) != lower(prefix.p[0]))
        return false;
    if (memcmp(s.p, prefix.p, prefix.n) == 0)
        return true;
    for (size_t i = 1; i < prefix.n; i++) {
        if (lower(s.p[i]) != lower(prefix.p[i]))
            return false;
    }
    return true;
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_skip(s, s.n - suffix.n), suffix);
}

int str_cmp(struct str a, struct str b)
{
    size_t n = size_min(a.n, b.n);
    int order = n ? memcmp(a.p, b.p, n) : 0;

    if (order)
        return order;
    return (a.n > b.n) - (a.n < b.n);
}

size_t str_find(struct str s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : s.n;
}

size_t str_find_str(struct str s, struct str needle)
{
    const char *at;

    if (needle.n == 0)
        return 0;
    at = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

struct str str_trim(struct str s)
{
    while (s.n && is_blank(s.p[0]))
        s = str_skip(s, 1);
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool str_split(struct str *rest, char sep, struct str *ret_part)
{
    size_t at;

    if (!rest->p)
        return false;
    at = str_find(*rest, sep);
    *ret_part = str_head(*rest, at);
    *rest = at < rest->n ? str_skip(*rest, at + 1) : STR_NONE;
    return true;
}

bool str_to_u64(struct str s, uint64_t *ret)
{
    enum { ALWAYS_FIT = 19 /* digits */ };

    uint64_t value = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';
        if (digit > 9 || (i >= ALWAYS_FIT && value > (UINT64_MAX - digit) / 10))
            return false;
        value = value * 10 + digit;
    }
    *ret = value;
    return true;
}

bool str_to_i64(struct str s, int64_t *ret)
{
    bool negative = s.n && s.p[0] == '-';
    uint64_t magnitude;

    if (!str_to_u64(str_skip(s, negative), &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

bool str_eq_secret(struct str a, struct str b)
{
    unsigned char differ = 0;

    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        differ |= (unsigned char)(a.p[i] ^ b.p[i]);
        __asm__ volatile("" : "+r"(differ)); /* or the compiler may leave at the first difference */
    }
    return differ == 0;
}

static size_t min3(size_t a, size_t b, size_t c)
{
    return size_min(size_min(a, b), c);
}

/* Optimal string alignment over the last three rows of the table of prefixes. */
static size_t distance(struct str a, struct str b)
{
    uint8_t rows[3][DISTANCE_MAX + 1];
    uint8_t *before = rows[0], *above = rows[1], *row = rows[2], *oldest;

    for (size_t j = 0; j <= b.n; j++)
        above[j] = (uint8_t)j;
    for (size_t i = 1; i <= a.n; i++) {
        row[0] = (uint8_t)i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t best = min3(above[j] + 1U, row[j - 1] + 1U,
                               above[j - 1] + (size_t)(a.p[i - 1] != b.p[j - 1]));
            bool swapped = i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1];
            row[j] = (uint8_t)(swapped ? size_min(best, before[j - 2] + 1U) : best);
        }
        oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[b.n];
}

size_t str_distance(struct str a, struct str b, size_t cap)
{
    if (size_max(a.n, b.n) - size_min(a.n, b.n) >= cap)
        return cap;
    if (size_max(a.n, b.n) > DISTANCE_MAX)
        return str_eq(a, b) ? 0 : cap;
    return size_min(distance(a, b), cap);
}
