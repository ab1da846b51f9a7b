/* text.c - base64 (RFC 4648), hex, percent-encoding (RFC 3986) and UTF-8 (RFC 3629).
 *
 * Pure functions from bytes to bytes. UTF-8 is checked eight bytes at a time while they are ASCII,
 * because whole request bodies pass through it.
 */
#include "base/text.h"

#include <endian.h>

enum { B64_PAD = 64, B64_SPACE, B64_BAD };

static const char b64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";

/* The numbers below a hundred: one division gives two digits. */
static const char pairs[] = "00010203040506070809"
                            "10111213141516171819"
                            "20212223242526272829"
                            "30313233343536373839"
                            "40414243444546474849"
                            "50515253545556575859"
                            "60616263646566676869"
                            "70717273747576777879"
                            "80818283848586878889"
                            "90919293949596979899";

size_t text_u64(uint64_t n, char out[TEXT_U64])
{
    size_t size = 1, at;

    if (n < 10) {
        out[0] = (char)('0' + n);
        return 1;
    }
    for (uint64_t rest = n; rest >= 10; rest /= 100)
        size += rest >= 100 ? 2 : 1;
    for (at = size; at >= 2; at -= 2, n /= 100)
        memcpy(out + at - 2, pairs + 2 * (n % 100), 2);
    if (at == 1)
        out[0] = (char)('0' + n);
    return size;
}

void text_hex(const void *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = p;

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

static unsigned b64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0') + 52;
    switch (c) {
    case '+':
    case '-': return 62;
    case '/':
    case '_': return 63;
    case '=': return B64_PAD;
    case ' ':
    case '\t':
    case '\r':
    case '\n': return B64_SPACE;
    default: return B64_BAD;
    }
}

/* What may end the input: whole groups of four characters, or the last one cut without padding. */
static bool b64_ends_well(size_t digits, size_t pads)
{
    if (digits % 4 == 1)
        return false; /* six bits are no byte */
    return pads == 0 || (pads <= 2 && (digits + pads) % 4 == 0);
}

ssize_t text_base64_decode(struct str s, void *out, size_t out_max)
{
    uint8_t *bytes = out;
    size_t n = 0, digits = 0, pads = 0;
    uint32_t bits = 0;
    unsigned value;

    for (size_t i = 0; i < s.n && n < out_max; i++) {
        value = b64_value(s.p[i]);
        if (value == B64_SPACE)
            continue;
        if (value == B64_PAD) {
            pads++;
            continue;
        }
        if (value == B64_BAD || pads)
            return -1;
        bits = bits << 6 | value;
        /* The byte is whole with the second, third and fourth digit of each group. */
        if (digits % 4)
            bytes[n++] = (uint8_t)(bits >> (6 - 2 * (digits % 4)));
        digits++;
    }
    if (n < out_max && !b64_ends_well(digits, pads))
        return -1;
    return (ssize_t)n;
}

struct str text_base64_encode(struct arena *a, const void *p, size_t n)
{
    const uint8_t *in = p;
    char *out = arena_alloc(a, (n + 2) / 3 * 4);
    size_t len = 0, part;
    uint32_t bits;

    for (size_t i = 0; i < n; i += 3) {
        part = size_min(n - i, 3);
        bits = (uint32_t)in[i] << 16;
        if (part > 1)
            bits |= (uint32_t)in[i + 1] << 8;
        if (part > 2)
            bits |= in[i + 2];
        for (size_t digit = 0; digit < 4; digit++, bits = bits << 6 & 0xffffff)
            out[len++] = b64_alphabet[digit <= part ? bits >> 18 : B64_PAD];
    }
    return str_of(out, len);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool text_percent_decode(struct arena *a, struct str s, struct str *ret)
{
    char *out = arena_alloc(a, s.n);
    size_t n = 0;
    int high, low;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%') {
            out[n++] = s.p[i];
            continue;
        }
        if (s.n - i < 3)
            return false;
        high = hex_value(s.p[++i]);
        low = hex_value(s.p[++i]);
        if (high < 0 || low < 0 || (high | low) == 0)
            return false;
        out[n++] = (char)(high << 4 | low);
    }
    *ret = str_of(out, n);
    return true;
}

/* Length of the multi-byte sequence at p, or 0 when it is none. RFC 3629 section 4: the second
 * byte's range depends on the first, which shuts out overlong forms, surrogates and > U+10FFFF. */
static size_t utf8_sequence(const uint8_t *p, size_t n)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t len;

    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n < len)
        return 0;
    switch (p[0]) {
    case 0xe0: low = 0xa0; break;
    case 0xed: high = 0x9f; break;
    case 0xf0: low = 0x90; break;
    case 0xf4: high = 0x8f; break;
    default: break;
    }
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

/* How many of the eight bytes at p stand before the first that is not ASCII. */
static size_t ascii_of_eight(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    word = le64toh(word) & 0x8080808080808080U;
    return word ? (size_t)__builtin_ctzll(word) / 8 : 8;
}

size_t text_utf8_valid(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    size_t i = 0, len;

    while (i < s.n) {
        if (p[i] < 0x80) {
            i += s.n - i >= 8 ? ascii_of_eight(p + i) : 1;
            continue;
        }
        len = utf8_sequence(p + i, s.n - i);
        if (len == 0)
            break;
        i += len;
    }
    return i;
}

size_t text_utf8_encode(uint32_t rune, char out[4])
{
    ASSERT(rune <= 0x10ffff && (rune < 0xd800 || rune > 0xdfff));
    if (rune < 0x80) {
        out[0] = (char)rune;
        return 1;
    }
    if (rune < 0x800) {
        out[0] = (char)(0xc0 | rune >> 6);
        out[1] = (char)(0x80 | (rune & 63));
        return 2;
    }
    if (rune < 0x10000) {
        out[0] = (char)(0xe0 | rune >> 12);
        out[1] = (char)(0x80 | (rune >> 6 & 63));
        out[2] = (char)(0x80 | (rune & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | rune >> 18);
    out[1] = (char)(0x80 | (rune >> 12 & 63));
    out[2] = (char)(0x80 | (rune >> 6 & 63));
    out[3] = (char)(0x80 | (rune & 63));
    return 4;
}
