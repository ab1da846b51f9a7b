/* log.c - builds lines in a batch and writes whole lines, or drops them.
 *
 *      {"ts":..,"level":..,"who":..,"event":..,"doing":..,"key":value,...,"dropped":n}\n
 *       |-------- always fits --------------------------| |- as fits -| |--- reserved ---|
 *
 * A field that does not fit into the line is left out whole. Lines are written in pieces of at
 * most PIPE_BUF bytes, so that a pipe that polls writable takes all of a piece at once and lines
 * of several processes never mix. Standard error is not made non-blocking: the open file is shared
 * with whoever started us. Without batching, each line is written at once.
 */
#include "base/log.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scan.h"
#include "base/text.h"

enum {
    LINE_MAX_BYTES = 4096,
    BATCH_MAX_BYTES = 32 * 1024,
    TAIL_BYTES = 48, /* room kept for "dropped" and the end of the line */
    NAME_MAX_BYTES = 128,
    VALUE_MAX_BYTES = 512,
    NUMBER_MAX_BYTES = 1 + TEXT_U64 + 4,
};

_Static_assert(LINE_MAX_BYTES <= PIPE_BUF, "a line is written atomically");

struct line {
    size_t n, max;
    bool cut; /* something did not fit since this was cleared */
    char *text;
};

static char batch[BATCH_MAX_BYTES];
static size_t batch_n;
static void (*on_pending)(void);

static enum log_level threshold = LOG_INFO;

static struct module {
    char name[LOG_MODULE_NAME];
    enum log_level level;
} modules[LOG_MODULES_MAX];

static size_t n_modules;
static enum log_format line_format = LOG_JSON;
static const char *process = "ccproxy";
static void (*sink)(struct str line);
static uint64_t dropped; /* lines lost that nobody has been told of */
static uint64_t told;    /* of those, how many the first line of the batch tells of */
static uint64_t lost;    /* lines dropped since the start */

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

/* The file of a module; one without a row has the threshold of all. */
static enum log_level level_of(const char *file)
{
    for (size_t i = 0; i < n_modules; i++) {
        size_t n = strlen(modules[i].name);
        if (strncmp(file, modules[i].name, n) == 0 && strcmp(file + n, ".c") == 0)
            return modules[i].level;
    }
    return threshold;
}

bool log_enabled(enum log_level level, const char *file)
{
    return level <= (n_modules ? level_of(file) : threshold);
}

static bool read_module(struct str text, struct module *ret)
{
    size_t colon = str_find(text, ':');
    struct str name = str_trim(str_head(text, colon)), level;
    if (colon == text.n || name.n == 0 || name.n >= LOG_MODULE_NAME)
        return false;
    level = str_trim(str_skip(text, colon + 1));
    memcpy(ret->name, name.p, name.n);
    ret->name[name.n] = '\0';
    for (unsigned i = 0; i < ARRAY_LEN(level_names); i++) {
        ret->level = (enum log_level)i;
        if (str_eq_nocase(level, str_c(level_names[i])))
            return true;
    }
    return false;
}

bool log_set_levels(struct str list)
{
    struct str rest = list.n ? list : STR_NONE, one;
    n_modules = 0;
    while (str_split(&rest, ',', &one)) {
        if (n_modules == LOG_MODULES_MAX || !read_module(one, &modules[n_modules])) {
            n_modules = 0;
            return false;
        }
        n_modules++;
    }
    return true;
}

bool log_open(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    bool ok = fd >= 0 && dup2(fd, STDERR_FILENO) >= 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

/* Where so many bytes can be written; NULL: the line is cut here. */
static char *room_for(struct line *l, size_t n)
{
    char *p = l->text + l->n;

    if (l->cut || n > l->max - l->n) {
        l->cut = true;
        return NULL;
    }
    l->n += n;
    return p;
}

static void put(struct line *l, struct str s)
{
    char *p = room_for(l, s.n);

    if (p)
        (void)str_copy(p, s);
}

/* Bytes that cannot stand as they are in a JSON string, or should not in a terminal. */
static bool is_special(char c)
{
    return (uint8_t)c < 0x20 || c == '"' || c == '\\' || c == 0x7f;
}

static void put_special(struct line *l, char c)
{
    static const char from[] = "\"\\\n\r\t", to[] = "\"\\nrt";
    char escape[] = {'\\', 'u', '0', '0', 0, 0};
    const char *known = memchr(from, c, sizeof(from) - 1);

    if (known) {
        escape[1] = to[known - from];
        put(l, str_of(escape, 2));
        return;
    }
    text_hex(&c, 1, escape + 4);
    put(l, str_of(escape, sizeof(escape)));
}

/* Valid UTF-8, in runs that need no escape. */
static void put_valid(struct line *l, struct str s)
{
    while (s.n) {
        size_t run = 0;

        while (run < s.n && !is_special(s.p[run]))
            run++;
        put(l, str_head(s, run));
        s = str_skip(s, run);
        if (s.n) {
            put_special(l, s.p[0]);
            s = str_skip(s, 1);
        }
    }
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

/* Printable ASCII that stands as it is in a JSON string, as nearly all values are. */
static bool is_plain(struct str s)
{
    return scan_all_quiet(s.p, s.n);
}

/* The inside of a JSON string: valid whatever the bytes are. Apart, for few fields need it. */
NOINLINE static void put_escaped(struct line *l, struct str s, size_t max)
{
    size_t valid;

    if (s.n > 0 && s.n <= max && is_plain(s)) {
        put(l, s);
        return;
    }
    for (s = cut_at(s, max); s.n; s = str_skip(s, 1)) {
        valid = text_utf8_valid(s);
        put_valid(l, str_head(s, valid));
        s = str_skip(s, valid);
        if (!s.n)
            break;
        put(l, STR("\xef\xbf\xbd"));
    }
}

static void put_quoted(struct line *l, struct str s, size_t max)
{
    if (s.n > 0 && s.n <= max && is_plain(s)) {
        char *p = room_for(l, s.n + 2);
        if (!p)
            return;
        *p = '"';
        *str_copy(p + 1, s) = '"';
        return;
    }
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

/* Whole; microseconds as milliseconds with three decimals. Room for NUMBER_MAX_BYTES is there. */
static char *write_number(char *p, const struct log_field *f)
{
    uint64_t magnitude = f->i < 0 ? 0 - (uint64_t)f->i : (uint64_t)f->i;
    unsigned rest = (unsigned)(magnitude % 1000);

    if (f->i < 0)
        *p++ = '-';
    if (f->type == LOG_FIELD_INT)
        return p + text_u64(magnitude, p);
    p += text_u64(magnitude / 1000, p);
    p[0] = '.';
    p[1] = (char)('0' + rest / 100);
    p[2] = (char)('0' + rest / 10 % 10);
    p[3] = (char)('0' + rest % 10);
    return p + 4;
}

static void put_number(struct line *l, const struct log_field *f)
{
    char *p = l->text + l->n;

    if (l->cut || l->max - l->n < NUMBER_MAX_BYTES)
        l->cut = true;
    else
        l->n += (size_t)(write_number(p, f) - p);
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
    case LOG_FIELD_BOOL: put(l, f->i ? STR("true") : STR("false")); break;
    case LOG_FIELD_INT:
    case LOG_FIELD_MS: put_number(l, f); break;
    }
}

/* With what stands around it. */
static void put_key(struct line *l, struct str key)
{
    if (line_format == LOG_JSON) {
        put(l, key);
        return;
    }
    put(l, STR(" "));
    put(l, str_of(key.p + 2, key.n - 4)); /* without its comma, quotes and colon */
    put(l, STR("="));
}

/* All of the field or nothing of it. */
static void put_field(struct line *l, const struct log_field *f)
{
    size_t mark = l->n;

    put_key(l, f->key);
    put_value(l, f);
    if (l->cut)
        l->n = mark;
    l->cut = false;
}

static void put_head(struct line *l, enum log_level level, const char *event)
{
    char date[CLOCK_TEXT];
    struct str ts = clock_rfc3339(clock_wall_us(), date);
    struct log_field about = LOG_CSTR("doing", doing);
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
    if (doing)
        put_field(l, &about);
}

/* False when the reader is behind, or gone (then write(2) would raise SIGPIPE). */
static bool write_piece(struct str piece)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (poll(&fd, 1, 0) != 1 || fd.revents != POLLOUT)
        return false;
    return write(STDERR_FILENO, piece.p, piece.n) == (ssize_t)piece.n;
}

/* The longest run of whole lines that a pipe takes at once. */
static struct str next_piece(struct str lines)
{
    size_t n = size_min(lines.n, LINE_MAX_BYTES);

    return str_head(lines, (size_t)((const char *)memrchr(lines.p, '\n', n) + 1 - lines.p));
}

static uint64_t count_lines(struct str lines)
{
    uint64_t n = 0;

    for (size_t i = 0; i < lines.n; i++)
        n += lines.p[i] == '\n';
    return n;
}

void log_flush(void)
{
    struct str lines = str_of(batch, batch_n);

    batch_n = 0;
    while (lines.n) {
        struct str piece = next_piece(lines);

        if (sink)
            sink(piece);
        else if (!write_piece(piece))
            break;
        lines = str_skip(lines, piece.n);
        dropped -= told;
        told = 0;
    }
    dropped += count_lines(lines);
    lost += count_lines(lines);
    told = 0;
}

uint64_t log_lost(void)
{
    return lost;
}

void log_set_batching(void (*pending)(void))
{
    on_pending = pending;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    struct line l = {.max = LINE_MAX_BYTES - TAIL_BYTES, .text = batch + batch_n};
    struct log_field gap = LOG_INT("dropped", dropped);
    bool was_empty = batch_n == 0;

    put_head(&l, level, event);
    for (size_t i = 0; i < n; i++)
        if (fields[i].key.n)
            put_field(&l, &fields[i]);
    l.max = LINE_MAX_BYTES;
    if (dropped && was_empty) {
        put_field(&l, &gap);
        told = dropped;
    }
    put(&l, line_format == LOG_JSON ? STR("}\n") : STR("\n"));
    batch_n += l.n;
    if (!on_pending || level <= LOG_WARN || batch_n + LINE_MAX_BYTES > BATCH_MAX_BYTES)
        log_flush();
    else if (was_empty)
        on_pending();
}
