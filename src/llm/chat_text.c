/* chat_text.c - refusals in OpenAI's words, names of what was dropped, and what is blank.
 *
 * Texts for the client live in scratch. What a client wrote is shown in a message cut short and
 * whole in its characters; in a header it is shown only when it is a plain word.
 */
#include <stdarg.h>

#include "base/text.h"
#include "llm/chat.h"
#include "wire/url.h"

enum { WEB_URL_MAX = 8192 };

enum { VALUE_SHOWN_MAX = 64 };

bool chat_refuse(struct chat *c, struct str code, struct str param, const char *fmt, ...)
{
    va_list ap;
    char text[1024];
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    size_t len = size_min(n > 0 ? (size_t)n : 0, sizeof(text) - 1);
    struct str message = str_of(text, len);
    message = arena_dup(c->scratch, str_head(message, text_utf8_valid(message)));
    *c->error = (struct request_error){REQUEST_INVALID, code, param, message};
    return false;
}

bool chat_refuse_missing(struct chat *c, struct str param)
{
    return chat_refuse(c, STR("missing_required_parameter"), param,
                       "Missing required parameter: '%.*s'.", STR_FMT(param));
}

static const char *type_name(struct jval v)
{
    static const char *const names[] = {
        [JSON_NULL] = "null",        [JSON_FALSE] = "a boolean", [JSON_TRUE] = "a boolean",
        [JSON_NUMBER] = "a number",  [JSON_STRING] = "a string", [JSON_ARRAY] = "an array",
        [JSON_OBJECT] = "an object",
    };
    if (json_is(v, JSON_NUMBER))
        return json_is_whole(v) ? "an integer" : "a decimal";
    return names[json_type(v)];
}

bool chat_refuse_type(struct chat *c, struct str param, const char *expected, struct jval got)
{
    return chat_refuse(c, STR("invalid_type"), param,
                       "Invalid type for '%.*s': expected %s, but got %s instead.", STR_FMT(param),
                       expected, type_name(got));
}

bool chat_refuse_value(struct chat *c, struct str param, struct jval got, const char *supported)
{
    struct str value = json_is(got, JSON_STRING) ? json_str(got, c->scratch) : json_raw(got);
    value = str_head(value, size_min(value.n, VALUE_SHOWN_MAX));
    value = str_head(value, text_utf8_valid(value));
    return chat_refuse(c, STR("invalid_value"), param,
                       "Invalid value: '%.*s'. Supported values are: %s.", STR_FMT(value),
                       supported);
}

/* The name goes into a header: whatever is not a plain word is left out of it. */
void chat_drop(struct chat *c, struct str name)
{
    if (name.n == 0 || name.n > VALUE_SHOWN_MAX)
        return;
    for (size_t i = 0; i < name.n; i++) {
        char ch = name.p[i];
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                     (ch >= '0' && ch <= '9') || ch == '_' || ch == '.' || ch == '-';
        if (!plain)
            return;
    }
    if (buf_len(&c->dropped) + name.n + 2 > c->dropped.max)
        return;
    if (buf_len(&c->dropped) > 0)
        buf_lit(&c->dropped, ", ");
    buf_append(&c->dropped, name);
}

struct str chat_take_text(struct chat *c)
{
    struct str s = arena_dup(c->scratch, buf_str(&c->text));
    buf_clear(&c->text);
    return s;
}

bool chat_is_web_url(struct str url)
{
    static const struct str scheme = STR_INIT("https://");
    if (!str_starts_nocase(url, scheme))
        return false;
    size_t n = scheme.n;
    while (n < url.n && !memchr("/?#", url.p[n], 3))
        n++;
    for (size_t i = n; i < url.n; i++)
        if ((unsigned char)url.p[i] <= ' ' || url.p[i] == 0x7f)
            return false;
    struct url parsed;
    return url.n <= WEB_URL_MAX && url_parse(str_head(url, n), &parsed) && !parsed.userinfo.p &&
           url_is_public(&parsed);
}

/* Bytes of the white space character at the start of the inside of a JSON string, or 0. */
static size_t space_at(struct str s)
{
    static const struct str spaces[] = {
        STR_INIT(" "),
        STR_INIT("\\n"),
        STR_INIT("\\t"),
        STR_INIT("\\r"),
        STR_INIT("\\f"),
        STR_INIT("\\u000b"),
        STR_INIT("\\u000B"),
        STR_INIT("\\u0020"),
        STR_INIT("\\u000a"),
        STR_INIT("\\u000A"),
        STR_INIT("\\u0009"),
        STR_INIT("\\u000d"),
        STR_INIT("\\u000D"),
        STR_INIT("\\u00a0"),
        STR_INIT("\\u00A0"),
        STR_INIT("\\u3000"),
        STR_INIT("\\u2028"),
        STR_INIT("\\u2029"),
        STR_INIT("\xc2\xa0"),
        STR_INIT("\xe3\x80\x80"),
        STR_INIT("\xc2\x85"),
        STR_INIT("\\u0085"),
        STR_INIT("\xe1\x9a\x80"),
        STR_INIT("\xe2\x80\xa8"),
        STR_INIT("\xe2\x80\xa9"),
        STR_INIT("\xe2\x80\xaf"),
        STR_INIT("\xe2\x81\x9f"),
    };
    if (s.p[0] > ' ' && s.p[0] != '\\') /* ASCII that means itself */
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(spaces); i++)
        if (str_starts(s, spaces[i]))
            return spaces[i].n;
    bool en_to_hair_space = s.n >= 3 && memcmp(s.p, "\xe2\x80", 2) == 0 &&
                            (unsigned char)s.p[2] >= 0x80 && (unsigned char)s.p[2] <= 0x8a;
    return en_to_hair_space ? 3 : 0;
}

bool chat_blank(struct str inside)
{
    while (inside.n > 0) {
        size_t n = space_at(inside);
        if (n == 0)
            return false;
        inside = str_skip(inside, n);
    }
    return true;
}
