/* parse.c - one value at a time: units, words and addresses, each in its own small table.
 *
 * Numbers are refused rather than cut: a limit that silently became another one is worse than a
 * start that fails. Nothing here allocates or knows where a text came from.
 */
#include "config/parse.h"

#include "base/text.h"
#include "config/options.h"
#include "wire/json.h"

#define YEAR_US (INT64_C(365) * 24 * 3600 * 1000000)

struct unit {
    struct str name;
    int64_t factor;
};

static const struct unit durations[] = {
    {STR_INIT("us"), 1},
    {STR_INIT("ms"), 1000},
    {STR_INIT("s"), 1000000},
    {STR_INIT("m"), INT64_C(60000000)},
    {STR_INIT("h"), INT64_C(3600000000)},
};

static const struct unit sizes[] = {
    {STR_INIT(""), 1},
    {STR_INIT("B"), 1},
    {STR_INIT("KB"), 1000},
    {STR_INIT("MB"), 1000000},
    {STR_INIT("GB"), 1000000000},
    {STR_INIT("KiB"), 1024},
    {STR_INIT("MiB"), INT64_C(1) << 20},
    {STR_INIT("GiB"), INT64_C(1) << 30},
};

struct word {
    struct str name;
    int value;
};

static const struct word bools[] = {
    {STR_INIT("true"), 1},  {STR_INIT("yes"), 1}, {STR_INIT("on"), 1},  {STR_INIT("1"), 1},
    {STR_INIT("false"), 0}, {STR_INIT("no"), 0},  {STR_INIT("off"), 0}, {STR_INIT("0"), 0},
};

static const struct word levels[] = {
    {STR_INIT("ERROR"), LOG_ERROR},
    {STR_INIT("WARN"), LOG_WARN},
    {STR_INIT("INFO"), LOG_INFO},
    {STR_INIT("DEBUG"), LOG_DEBUG},
};

static const struct word formats[] = {
    {STR_INIT("json"), LOG_JSON},
    {STR_INIT("text"), LOG_TEXT},
};

static bool find_word(const struct word *words, size_t n, struct str s, int *ret)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_nocase(words[i].name, s)) {
            *ret = words[i].value;
            return true;
        }
    }
    return false;
}

static bool with_unit(const struct unit *units, size_t n, struct str s, int64_t *ret)
{
    size_t digits = 0;
    int64_t number;

    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    if (!str_to_i64(str_head(s, digits), &number))
        return false;
    for (size_t i = 0; i < n; i++)
        if (str_eq_nocase(units[i].name, str_skip(s, digits)))
            return !__builtin_mul_overflow(number, units[i].factor, ret);
    return false;
}

bool parse_duration(struct str s, int64_t *ret_us)
{
    if (str_eq(s, STR("0"))) {
        *ret_us = 0;
        return true;
    }
    return with_unit(durations, ARRAY_LEN(durations), s, ret_us) && *ret_us <= YEAR_US;
}

bool parse_bytes(struct str s, int64_t *ret)
{
    return with_unit(sizes, ARRAY_LEN(sizes), s, ret);
}

bool parse_bool(struct str s, bool *ret)
{
    int value;

    if (!find_word(bools, ARRAY_LEN(bools), s, &value))
        return false;
    *ret = value != 0;
    return true;
}

bool parse_is_clean(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return text_utf8_valid(s) == s.n;
}

static bool in_range(const struct option *o, int64_t n)
{
    return n >= o->min && (o->max == 0 || n <= o->max);
}

static bool parse_number(const struct option *o, struct str text, int64_t *ret)
{
    if (o->type == OPTION_BYTES)
        return parse_bytes(text, ret);
    if (o->type == OPTION_DURATION)
        return parse_duration(text, ret);
    return str_to_i64(text, ret);
}

/* A duration's bounds are told in milliseconds, which is what the table uses. */
static void say_range(const struct option *o, const char *what, char expected[PARSE_EXPECTED])
{
    const char *unit = o->type == OPTION_DURATION ? "ms" : "";
    int64_t scale = o->type == OPTION_DURATION ? 1000 : 1;
    long long min = (long long)(o->min / scale), max = (long long)(o->max / scale);

    if (o->max)
        (void)snprintf(expected, PARSE_EXPECTED, "%s from %lld%s to %lld%s", what, min, unit, max,
                       unit);
    else if (o->min)
        (void)snprintf(expected, PARSE_EXPECTED, "%s of at least %lld%s", what, min, unit);
    else
        (void)snprintf(expected, PARSE_EXPECTED, "%s", what);
}

static bool put_number(const struct option *o, struct str text, void *field,
                       char expected[PARSE_EXPECTED])
{
    static const char *const what[] = {
        [OPTION_INT] = "a number",
        [OPTION_BYTES] = "a size like 32MiB",
        [OPTION_DURATION] = "a duration like 10s or 250ms",
    };
    int64_t n;

    if (parse_number(o, text, &n) && in_range(o, n)) {
        memcpy(field, &n, sizeof(n));
        return true;
    }
    say_range(o, what[o->type], expected);
    return false;
}

static void say(char expected[PARSE_EXPECTED], const char *what)
{
    (void)snprintf(expected, PARSE_EXPECTED, "%s", what);
}

static bool put_bool(struct str text, void *field, char expected[PARSE_EXPECTED])
{
    bool b;

    say(expected, "true or false");
    if (!parse_bool(text, &b))
        return false;
    memcpy(field, &b, sizeof(b));
    return true;
}

static bool put_level(struct str text, void *field, char expected[PARSE_EXPECTED])
{
    enum log_level level;
    int value;

    say(expected, "ERROR, WARN, INFO or DEBUG");
    if (!find_word(levels, ARRAY_LEN(levels), text, &value))
        return false;
    level = (enum log_level)value;
    memcpy(field, &level, sizeof(level));
    return true;
}

static bool put_format(struct str text, void *field, char expected[PARSE_EXPECTED])
{
    enum log_format format;
    int value;

    say(expected, "json or text");
    if (!find_word(formats, ARRAY_LEN(formats), text, &value))
        return false;
    format = (enum log_format)value;
    memcpy(field, &format, sizeof(format));
    return true;
}

static bool put_url(struct str text, void *field, char expected[PARSE_EXPECTED])
{
    struct url url;

    say(expected, "an address like https://host[:port][/path]");
    if (!url_parse(text, &url) || url.userinfo.p)
        return false;
    memcpy(field, &url, sizeof(url));
    return true;
}

static bool is_string_map(struct jval map)
{
    if (!json_is(map, JSON_OBJECT))
        return false;
    json_each_member (key, map) {
        if (!json_str_raw(json_value(key)).n)
            return false;
    }
    return true;
}

static bool is_object(struct jval v)
{
    return json_is(v, JSON_OBJECT);
}

static bool put_map(struct str text, void *field, bool (*fits)(struct jval v),
                    char expected[PARSE_EXPECTED])
{
    struct json doc;
    enum json_error error;
    bool ok;

    json_init(&doc);
    error = json_parse(&doc, text);
    ok = error == JSON_OK && fits(json_root(&doc));
    if (error == JSON_OK)
        say(expected,
            fits == is_object ? "a JSON object" : "a JSON object whose values are all names");
    else
        (void)snprintf(expected, PARSE_EXPECTED, "a JSON object (%s at byte %zu)",
                       json_error_text(error), doc.error_at);
    json_done(&doc);
    if (ok)
        memcpy(field, &text, sizeof(text));
    return ok;
}

bool parse_option(const struct option *o, struct str text, void *base,
                  char expected[PARSE_EXPECTED])
{
    void *field = (char *)base + o->offset;

    switch (o->type) {
    case OPTION_INT:
    case OPTION_BYTES:
    case OPTION_DURATION: return put_number(o, text, field, expected);
    case OPTION_BOOL: return put_bool(text, field, expected);
    case OPTION_LEVEL: return put_level(text, field, expected);
    case OPTION_FORMAT: return put_format(text, field, expected);
    case OPTION_URL: return put_url(text, field, expected);
    case OPTION_MAP: return put_map(text, field, is_string_map, expected);
    case OPTION_JSON: return put_map(text, field, is_object, expected);
    case OPTION_STRING:
    case OPTION_SECRET:
    case OPTION_PATH: memcpy(field, &text, sizeof(text)); return true;
    }
    UNREACHABLE();
}
