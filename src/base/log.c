/* log.c - builds one line on the stack and writes it in one go, or not at all.
 *
 *      {"ts":..,"level":..,"who":..,"event":..,"key":value,...,"dropped":n}\n
 *       |-------- always fits --------------| |- as fits -| |--- reserved ---|
 *
 * A field that does not fit into the line is left out whole. A line is at most PIPE_BUF bytes, so
 * that a pipe that polls writable takes all of it at once and lines of several processes never mix.
 * Standard error is not made non-blocking: the open file is shared with whoever started us.
 */
#include "base/log.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

enum {
    LINE_MAX_BYTES = 4096,
    TAIL_BYTES = 48, /* room kept for "dropped" and the end of the line */
    NAME_MAX_BYTES = 128,
    VALUE_MAX_BYTES = 512,
};

_Static_assert(LINE_MAX_BYTES <= PIPE_BUF, "a line is written atomically");

struct line {
    size_t n, max;
    bool cut; /* something did not fit since this was cleared */
    char text[LINE_MAX_BYTES];
};

static enum log_level threshold = LOG_INFO;
static enum log_format line_format = LOG_JSON;
static const char *process = "ccproxy";
static void (*sink)(struct str line);
static uint64_t dropped;

static const char *const level_names[] = {
    [LOG_ERROR] = "error",
    [LOG_WARN] = "warn",
    [LOG_INFO] = "info",
    [LOG_DEBUG] = "debug",
};

void log_init(enum log_level level, enum log_format format, const char *who)
{
    threshold = level;
    line_format = format;
    process = who;
    dropped = 0;
}

void log_set_who(const char *who)
{
    process = who;
}

void log_set_sink(void (*new_sink)(struct str line))
{
    sink = new_sink;
}

bool log_enabled(enum log_level level)
{
    return level <= threshold;
}

static void put(struct line *l, struct str s)
{
    if (l->cut || s.n > l->max - l->n) {
        l->cut = true;
        return;
    }
    if (s.n)
        memcpy(l->text + l->n, s.p, s.n);
    l->n += s.n;
}

static void put_control(struct line *l, uint8_t c)
{
    char escape[] = {'\\', 'u', '0', '0', 0, 0};

    text_hex(&c, 1, escape + 4);
    put(l, str_of(escape, sizeof(escape)));
}

static void put_ascii(struct line *l, char c)
{
    switch (c) {
    case '"': put(l, STR("\\\"")); return;
    case '\\': put(l, STR("\\\\")); return;
    case '\n': put(l, STR("\\n")); return;
    case '\r': put(l, STR("\\r")); return;
    case '\t': put(l, STR("\\t")); return;
    default: break;
    }
    if ((uint8_t)c < 0x20 || c == 0x7f)
        put_control(l, (uint8_t)c);
    else
        put(l, str_of(&c, 1));
}

/* At most max bytes of s, without the first bytes of a character that would be cut in two. */
static struct str cut_at(struct str s, size_t max)
{
    size_t n = max;

    if (s.n <= max)
        return s;
    while (n > max - 4 && ((uint8_t)s.p[n] & 0xc0) == 0x80)
        n--;
    return str_head(s, n);
}

/* The inside of a JSON string: valid whatever the bytes are. */
static void put_escaped(struct line *l, struct str s, size_t max)
{
    size_t valid;

    for (s = cut_at(s, max); s.n; s = str_skip(s, 1)) {
        valid = text_utf8_valid(s);
        for (size_t i = 0; i < valid; i++)
            put_ascii(l, s.p[i]);
        s = str_skip(s, valid);
        if (!s.n)
            break;
        put(l, STR("\xef\xbf\xbd"));
    }
}

static void put_quoted(struct line *l, struct str s, size_t max)
{
    put(l, STR("\""));
    put_escaped(l, s, max);
    put(l, STR("\""));
}

/* Text lines quote only what could be misread. */
static bool needs_quotes(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((uint8_t)s.p[i] <= ' ' || s.p[i] == '"' || s.p[i] == '=' || s.p[i] == '\\')
            return true;
    }
    return s.n == 0;
}

static void put_i64(struct line *l, int64_t i)
{
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%lld", (long long)i);

    put(l, str_of(digits, (size_t)n));
}

/* Microseconds as milliseconds with three decimals. */
static void put_ms(struct line *l, int64_t us)
{
    uint64_t magnitude = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    char digits[32];
    int n = snprintf(digits, sizeof(digits), "%s%llu.%03u", us < 0 ? "-" : "",
                     (unsigned long long)(magnitude / 1000), (unsigned)(magnitude % 1000));

    put(l, str_of(digits, (size_t)n));
}

static void put_value(struct line *l, const struct log_field *f)
{
    switch (f->type) {
    case LOG_FIELD_STR:
        if (line_format == LOG_JSON || needs_quotes(f->s))
            put_quoted(l, f->s, VALUE_MAX_BYTES);
        else
            put_escaped(l, f->s, VALUE_MAX_BYTES);
        break;
    case LOG_FIELD_INT: put_i64(l, f->i); break;
    case LOG_FIELD_BOOL: put(l, f->i ? STR("true") : STR("false")); break;
    case LOG_FIELD_MS: put_ms(l, f->i); break;
    }
}

/* All of the field or nothing of it. */
static void put_field(struct line *l, const struct log_field *f)
{
    size_t mark = l->n;

    if (!f->key)
        return;
    if (line_format == LOG_JSON) {
        put(l, STR(","));
        put_quoted(l, str_c(f->key), NAME_MAX_BYTES);
        put(l, STR(":"));
    } else {
        put(l, STR(" "));
        put_escaped(l, str_c(f->key), NAME_MAX_BYTES);
        put(l, STR("="));
    }
    put_value(l, f);
    if (l->cut)
        l->n = mark;
    l->cut = false;
}

static void put_head(struct line *l, enum log_level level, const char *event)
{
    char date[CLOCK_TEXT];
    struct str ts = clock_rfc3339(clock_wall_us(), date);
    bool json = line_format == LOG_JSON;

    put(l, json ? STR("{\"ts\":\"") : STR(""));
    put(l, ts);
    put(l, json ? STR("\",\"level\":\"") : STR(" "));
    put(l, str_c(level_names[level]));
    put(l, json ? STR("\",\"who\":\"") : STR(" "));
    put_escaped(l, str_c(process), NAME_MAX_BYTES);
    put(l, json ? STR("\",\"event\":\"") : STR(" "));
    put_escaped(l, str_c(event), NAME_MAX_BYTES);
    put(l, json ? STR("\"") : STR(""));
}

/* False when the reader is behind, or gone (then write(2) would raise SIGPIPE). */
static bool write_line(struct str line)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (sink) {
        sink(line);
        return true;
    }
    if (poll(&fd, 1, 0) != 1 || fd.revents != POLLOUT)
        return false;
    return write(STDERR_FILENO, line.p, line.n) == (ssize_t)line.n;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    struct line l;
    struct log_field lost = LOG_INT("dropped", dropped);

    l.n = 0;
    l.max = LINE_MAX_BYTES - TAIL_BYTES;
    l.cut = false;
    put_head(&l, level, event);
    for (size_t i = 0; i < n; i++)
        put_field(&l, &fields[i]);
    l.max = LINE_MAX_BYTES;
    if (dropped)
        put_field(&l, &lost);
    put(&l, line_format == LOG_JSON ? STR("}\n") : STR("\n"));
    if (write_line(str_of(l.text, l.n)))
        dropped = 0;
    else
        dropped++;
}
