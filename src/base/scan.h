/* scan.h - finds the next byte that matters among many that do not, 16 or 8 at a time.
 *
 * Each scan answers the first byte it stops at, or end. There are two of each, one
 * for SSE2 and one in plain C that takes eight bytes as one word; both are always compiled where
 * they can be, so that tests hold one against the other. Nothing is read behind end.
 */
#ifndef CCPROXY_BASE_SCAN_H
#define CCPROXY_BASE_SCAN_H

#include "base/base.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define SCAN_ONES  UINT64_C(0x0101010101010101)
#define SCAN_HIGHS UINT64_C(0x8080808080808080)

/* What ends a run of plain characters in a JSON string: the quote, the backslash, control
 * characters, and whatever is not ASCII. */
static inline bool scan_is_plain(char c)
{
    return (signed char)c >= 0x20 && c != '"' && c != '\\';
}

static inline const char *scan_plain_swar(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t v, quote, slash;
        memcpy(&v, p, 8);
        quote = v ^ SCAN_ONES * '"';
        slash = v ^ SCAN_ONES * '\\';
        /* A byte below what is taken from it borrows, and so sets its highest bit. The borrow may
         * run on into higher bytes, but never begins without such a byte. */
        if (((v - SCAN_ONES * 0x20) | (quote - SCAN_ONES) | (slash - SCAN_ONES) | v) & SCAN_HIGHS)
            break;
    }
    while (p < end && scan_is_plain(*p))
        p++;
    return p;
}

static inline const char *scan_eol_swar(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t v, lf, cr;
        memcpy(&v, p, 8);
        lf = v ^ SCAN_ONES * '\n';
        cr = v ^ SCAN_ONES * '\r';
        if ((((lf - SCAN_ONES) & ~lf) | ((cr - SCAN_ONES) & ~cr)) & SCAN_HIGHS)
            break;
    }
    while (p < end && *p != '\n' && *p != '\r')
        p++;
    return p;
}

/* The first byte below 0x0e: CR, LF, NUL, or something to look at closely. */
static inline const char *scan_low_swar(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        if ((v - SCAN_ONES * 0x0e) & ~v & SCAN_HIGHS)
            break;
    }
    while (p < end && (unsigned char)*p >= 0x0e)
        p++;
    return p;
}

/* Whether one of eight bytes is outside SP to '~'. */
static inline bool scan_has_unprintable(uint64_t v)
{
    return ((v - SCAN_ONES * ' ') | v | (v + SCAN_ONES)) & SCAN_HIGHS;
}

/* The first byte outside SP to '~'. */
static inline const char *scan_printable_swar(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        if (scan_has_unprintable(v))
            break;
    }
    while (p < end && *p >= ' ' && *p <= '~')
        p++;
    return p;
}

/* What names of header fields are made of, but for rare signs: letters, digits and '-'. */
static inline bool scan_is_name(char c)
{
    return (c >= 'a' && c <= 'z') || c == '-' || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static inline const char *scan_name_bytes(const char *p, const char *end)
{
    while (p < end && scan_is_name(*p))
        p++;
    return p;
}

#ifdef __SSE2__

static inline const char *scan_plain_sse2(const char *p, const char *end)
{
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(0x20);

    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* The comparison is signed: bytes from 0x80 on are below a space as well. */
        __m128i stop =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
                         _mm_cmplt_epi8(v, space));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask)
            return p + __builtin_ctz(mask);
    }
    return scan_plain_swar(p, end);
}

static inline const char *scan_eol_sse2(const char *p, const char *end)
{
    const __m128i lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r');

    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        unsigned mask =
            (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, lf), _mm_cmpeq_epi8(v, cr)));
        if (mask)
            return p + __builtin_ctz(mask);
    }
    return scan_eol_swar(p, end);
}

static inline const char *scan_low_sse2(const char *p, const char *end)
{
    const __m128i below = _mm_set1_epi8(0x0d);

    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        unsigned mask = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(v, below), v));
        if (mask)
            return p + __builtin_ctz(mask);
    }
    return scan_low_swar(p, end);
}

static inline const char *scan_printable_sse2(const char *p, const char *end)
{
    const __m128i space = _mm_set1_epi8(' '), del = _mm_set1_epi8(0x7f);

    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* signed, as in scan_plain */
        __m128i stop = _mm_or_si128(_mm_cmplt_epi8(v, space), _mm_cmpeq_epi8(v, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask)
            return p + __builtin_ctz(mask);
    }
    return scan_printable_swar(p, end);
}

/* Which bytes of v are among the n from c on. */
static inline __m128i scan_among_sse2(__m128i v, char c, char n)
{
    __m128i place = _mm_sub_epi8(v, _mm_set1_epi8(c)), last = _mm_set1_epi8((char)(n - 1));

    return _mm_cmpeq_epi8(_mm_min_epu8(place, last), place);
}

static inline const char *scan_name_sse2(const char *p, const char *end)
{
    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i letter = scan_among_sse2(_mm_or_si128(v, _mm_set1_epi8(0x20)), 'a', 26);
        __m128i other =
            _mm_or_si128(scan_among_sse2(v, '0', 10), _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));
        unsigned mask = ~(unsigned)_mm_movemask_epi8(_mm_or_si128(letter, other)) & 0xffff;
        if (mask)
            return p + __builtin_ctz(mask);
    }
    return scan_name_bytes(p, end);
}

#define scan_plain     scan_plain_sse2
#define scan_eol       scan_eol_sse2
#define scan_low       scan_low_sse2
#define scan_printable scan_printable_sse2
#define scan_name      scan_name_sse2
#else
#define scan_plain     scan_plain_swar
#define scan_eol       scan_eol_swar
#define scan_low       scan_low_swar
#define scan_printable scan_printable_swar
#define scan_name      scan_name_bytes
#endif

/* n bytes, 1 to 8, as a word, in which some stand more than once when they are fewer than 8. */
static inline uint64_t scan_word(const char *p, size_t n)
{
    uint64_t v;
    uint32_t head, tail;

    if (n == 8) {
        memcpy(&v, p, 8);
        return v;
    }
    if (n < 4)
        return ((SCAN_ONES >> 24) * (uint8_t)p[0]) | (uint64_t)(uint8_t)p[n / 2] << 40 |
               (uint64_t)(uint8_t)p[n - 1] << 48 | (uint64_t)(uint8_t)p[0] << 56;
    memcpy(&head, p, 4);
    memcpy(&tail, p + n - 4, 4);
    return head | (uint64_t)tail << 32;
}

/* Whether two texts of n bytes are the same: quicker than a call for those that are short. */
static inline bool scan_same(const char *a, const char *b, size_t n)
{
    for (; n > 8; a += 8, b += 8, n -= 8)
        if (scan_word(a, 8) != scan_word(b, 8))
            return false;
    return n == 0 || scan_word(a, n) == scan_word(b, n);
}

/* Whether one of eight bytes is outside SP to '~', a quote or a backslash. */
static inline bool scan_has_loud(uint64_t v)
{
    uint64_t quote = v ^ SCAN_ONES * '"', slash = v ^ SCAN_ONES * '\\';

    return scan_has_unprintable(v) || (((quote - SCAN_ONES) | (slash - SCAN_ONES)) & SCAN_HIGHS);
}

/* Whether a whole text is so, not where it ceases to be: quicker for texts that are short. */
static inline bool scan_all_printable(const char *p, size_t n)
{
    for (; n > 8; p += 8, n -= 8)
        if (scan_has_unprintable(scan_word(p, 8)))
            return false;
    return n == 0 || !scan_has_unprintable(scan_word(p, n));
}

static inline bool scan_all_quiet(const char *p, size_t n) /* printable, no quote, no backslash */
{
    for (; n > 8; p += 8, n -= 8)
        if (scan_has_loud(scan_word(p, 8)))
            return false;
    return n == 0 || !scan_has_loud(scan_word(p, n));
}

/* Behind a character that is not ASCII, or NULL when the bytes at p are no well-formed UTF-8.
 * RFC 3629 section 4: the second byte's range depends on the first, which shuts out overlong forms,
 * surrogates and what is above U+10FFFF. */
static inline const char *scan_rune(const char *p, const char *end)
{
    unsigned char first = (unsigned char)p[0], second;
    ptrdiff_t n = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    if (first < 0xc2 || first > 0xf4 || end - p < n)
        return NULL;
    second = (unsigned char)p[1];
    if (second < (first == 0xe0   ? 0xa0
                  : first == 0xf0 ? 0x90
                                  : 0x80) ||
        second > (first == 0xed   ? 0x9f
                  : first == 0xf4 ? 0x8f
                                  : 0xbf))
        return NULL;
    for (ptrdiff_t i = 2; i < n; i++)
        if (((unsigned char)p[i] & 0xc0) != 0x80)
            return NULL;
    return p + n;
}

#endif
