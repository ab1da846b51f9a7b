/* h1_class.c - which byte may stand where (RFC 9110 section 5.6), and the names that must never be
 * taken for one another.
 *
 * The target class is wider than RFC 3986: brackets, braces, '|', '^' and '`' reach servers
 * unescaped from ordinary clients and mean nothing here. What other parsers treat as the end or as
 * a separator ('#', '\\') or carry into markup ('"', '<', '>') is left out.
 */
#include "base/scan.h"
#include "wire/h1_int.h"

enum {
    V = CLASS_VALUE,
    T = CLASS_VALUE | CLASS_TOKEN,
    G = CLASS_VALUE | CLASS_TARGET,
    A = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET,
    H = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET | CLASS_HOST,
    U = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET | CLASS_HOST | CLASS_UNDERSCORE,
    O = CLASS_OBS,
};

/* clang-format off */
const unsigned char h1_classes[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, V, 0, 0, 0, 0, 0, 0, /* 00: HTAB */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 10 */
    V, A, V, T, A, A, A, A, G, G, A, A, G, H, H, G, /* 20: SP ! " # $ % & ' ( ) * + , - . / */
    H, H, H, H, H, H, H, H, H, H, G, G, V, G, V, G, /* 30: 0 ... 9 : ; < = > ? */
    G, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, /* 40: @ A ... O */
    H, H, H, H, H, H, H, H, H, H, H, G, V, G, A, U, /* 50: P ... Z [ \ ] ^ _ */
    A, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, /* 60: ` a ... o */
    H, H, H, H, H, H, H, H, H, H, H, G, A, G, H, 0, /* 70: p ... z { | } ~ DEL */
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, /* 80 */
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, /* f0 */
};
/* clang-format on */

/* Lower case, without '-' and '_'. All are shorter than H1_TRAILER_NAME_KEPT. */
static const struct str sensitive[] = {
    STR_INIT("transferencoding"),
    STR_INIT("contentlength"),
    STR_INIT("connection"),
    STR_INIT("host"),
    STR_INIT("expect"),
    STR_INIT("authorization"),
    STR_INIT("proxyauthorization"),
    STR_INIT("xapikey"),
    STR_INIT("apikey"),
};

bool h1_is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!(class_of(s.p[i]) & CLASS_TOKEN))
            return false;
    }
    return s.n > 0;
}

bool h1_is_field_value(struct str s)
{
    if (scan_all_printable(s.p, s.n)) /* as nearly all are */
        return true;
    for (size_t i = 0; i < s.n; i++) {
        if (!(class_of(s.p[i]) & (CLASS_VALUE | CLASS_OBS)))
            return false;
    }
    return true;
}

bool h1_is_sensitive(struct str name)
{
    char flat[H1_TRAILER_NAME_KEPT];
    size_t n = 0;

    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '-' || name.p[i] == '_')
            continue;
        if (n == sizeof(flat))
            return false;
        flat[n++] = name.p[i];
    }
    for (size_t i = 0; i < ARRAY_LEN(sensitive); i++) {
        if (str_eq_nocase(str_of(flat, n), sensitive[i]))
            return true;
    }
    return false;
}
