/* top_page.c - the page of `ccproxy top`: pieces of text in columns, cut where the terminal ends.
 *
 *   ccproxy 0.1.0  healthy  up 2 h 5 min  2 workers  http://127.0.0.1:8000       last minute
 *   requests        3.91 /s  ▁▂▃▅▂▁▃    3 in progress ...
 *   CLIENT                REQUESTS   FAILED   PROMPT   OUTPUT      COST
 */
#include <stdarg.h>

#include "base/text.h"
#include "proc/top.h"

enum { PIECE = 256, SPARKS = 40, NAME = 26, MANY = 64 };

enum style { PLAIN, BOLD, QUIET, GOOD, WARN, BAD, HEAD, ACCENT };

static const char *const styles[] = {
    [PLAIN] = "",          [BOLD] = "\x1b[1m",   [QUIET] = "\x1b[2m", [GOOD] = "\x1b[1;32m",
    [WARN] = "\x1b[1;33m", [BAD] = "\x1b[1;31m", [HEAD] = "\x1b[7m",  [ACCENT] = "\x1b[36m",
};

struct page {
    const struct top_view *view;
    struct buf *out;
    unsigned column, row;
};

/* --- pieces --------------------------------------------------------------------------------- */

static bool has_room(const struct page *p)
{
    return p->view->rows == 0 || p->row < p->view->rows;
}

/* The next character and how long it is: what would move the cursor is not let through. */
static struct str next_char(struct str s)
{
    uint8_t first = (uint8_t)s.p[0];
    size_t n = 1;
    while (n < s.n && ((uint8_t)s.p[n] & 0xc0) == 0x80)
        n++;
    struct str one = str_head(s, n);
    bool control = first < 0x20 || first == 0x7f || (first == 0xc2 && (uint8_t)s.p[n - 1] < 0xa0);
    return control || text_utf8_valid(one) != n ? str_of("?", 1) : one;
}

static size_t length_of_next(struct str s)
{
    size_t n = 1;
    while (n < s.n && ((uint8_t)s.p[n] & 0xc0) == 0x80)
        n++;
    return n;
}

static void put_cut(struct page *p, struct str text)
{
    while (text.n > 0 && p->column < p->view->columns) {
        buf_append(p->out, next_char(text));
        text = str_skip(text, length_of_next(text));
        p->column++;
    }
}

static void put_str(struct page *p, enum style style, struct str text)
{
    bool styled = p->view->live && style != PLAIN;
    if (!has_room(p))
        return;
    if (styled)
        buf_append(p->out, str_c(styles[style]));
    put_cut(p, text);
    if (styled)
        buf_lit(p->out, "\x1b[0m");
}

PRINTF_LIKE(3, 4)

static void put(struct page *p, enum style style, const char *format, ...)
{
    char text[PIECE];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    put_str(p, style, str_of(text, size_min((size_t)n, sizeof(text) - 1)));
}

static void put_to(struct page *p, unsigned column)
{
    while (has_room(p) && p->column < column && p->column < p->view->columns) {
        buf_lit(p->out, " ");
        p->column++;
    }
}

/* Ends at a column, as numbers in tables do. */
static void put_right(struct page *p, unsigned column, const char *text)
{
    size_t n = strlen(text);
    put_to(p, n < column ? column - (unsigned)n : 0);
    put_str(p, PLAIN, str_of(text, n));
}

/* What stands in the last column would be erased with the rest of the row; a line end below the last
 * row would move the page. */
static void end_row(struct page *p)
{
    const struct top_view *view = p->view;
    bool shown = has_room(p);
    p->row++;
    if (shown && !view->live)
        buf_lit(p->out, "\n");
    if (shown && view->live && p->column < view->columns)
        buf_lit(p->out, "\x1b[K");
    if (view->live && has_room(p))
        buf_lit(p->out, "\r\n");
    p->column = 0;
}

/* --- values --------------------------------------------------------------------------------- */

static struct jval at(struct jval object, const char *key)
{
    return json_is(object, JSON_OBJECT) ? json_get(object, str_c(key)) : JVAL_NONE;
}

static double number(struct jval object, const char *key)
{
    double n;
    struct jval v = at(object, key);
    return json_present(v) && json_f64(v, &n) ? n : 0;
}

static bool has(struct jval object, const char *key)
{
    return json_is(at(object, key), JSON_NUMBER);
}

/* As it is written: names of ours need no escapes. */
static struct str word(struct jval object, const char *key)
{
    struct str s = json_str_raw(at(object, key));
    return s.p ? s : STR("-");
}

static double prompt(struct jval tokens)
{
    return number(tokens, "input") + number(tokens, "cache_read") + number(tokens, "cache_write");
}

enum { VALUE = 32 };

static const char *count_text(double n, char out[VALUE])
{
    static const struct {
        double size;
        const char *unit;
    } units[] = {{1e9, "G"}, {1e6, "M"}, {1e4, "k"}};

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        double unit = units[i].size < 1e6 ? 1e3 : units[i].size;
        if (n >= units[i].size) {
            (void)snprintf(out, VALUE, "%.1f%s", n / unit, units[i].unit);
            return out;
        }
    }
    (void)snprintf(out, VALUE, "%.0f", n);
    return out;
}

static const char *rate_text(double n, char out[VALUE])
{
    if (n >= 100)
        return count_text(n, out);
    (void)snprintf(out, VALUE, n >= 10 ? "%.1f" : "%.2f", n);
    return out;
}

static const char *time_text(struct jval object, const char *key, char out[VALUE])
{
    double s = number(object, key);
    if (!has(object, key))
        return "-";
    if (s < 1)
        (void)snprintf(out, VALUE, "%.0f ms", s * 1000);
    else
        (void)snprintf(out, VALUE, s < 100 ? "%.2f s" : "%.0f s", s);
    return out;
}

static const char *usd_text(double n, char out[VALUE])
{
    if (n > 0 && n < 1e-4)
        return "<$0.0001";
    (void)snprintf(out, VALUE, n > 0 && n < 1 ? "$%.4f" : "$%.2f", n);
    return out;
}

static const char *span_text(double s, char out[VALUE])
{
    unsigned long n = s > 0 && s < 1e12 ? (unsigned long)s : 0;
    if (n >= 86400)
        (void)snprintf(out, VALUE, "%lu d %lu h", n / 86400, n / 3600 % 24);
    else if (n >= 3600)
        (void)snprintf(out, VALUE, "%lu h %lu min", n / 3600, n / 60 % 60);
    else if (n >= 60)
        (void)snprintf(out, VALUE, "%lu min %lu s", n / 60, n % 60);
    else
        (void)snprintf(out, VALUE, "%lu s", n);
    return out;
}

/* --- the head ------------------------------------------------------------------------------- */

static const struct {
    const char *key, *text;
} windows[TOP_WINDOWS] = {
    {"1m", "last minute"}, {"5m", "last 5 minutes"}, {"1h", "last hour"}, {"total", "since start"}};

static enum style style_of_state(struct str state)
{
    if (str_eq(state, STR("healthy")))
        return GOOD;
    return str_eq(state, STR("idle")) ? QUIET : str_eq(state, STR("degraded")) ? WARN : BAD;
}

static void put_title(struct page *p, struct jval stats, double covered)
{
    char up[VALUE], window[VALUE];
    struct str state = word(at(stats, "upstream"), "state");
    put(p, BOLD, "ccproxy %.*s", STR_FMT(word(stats, "version")));
    put(p, PLAIN, "  ");
    put_str(p, style_of_state(state), state);
    put(p, PLAIN, "  up %s", span_text(number(stats, "uptime_seconds"), up));
    put(p, PLAIN, "  %.0f workers", number(at(stats, "processes"), "workers"));
    put(p, QUIET, "  %.*s", STR_FMT(p->view->from));
    put(p, ACCENT, "  %s (%s)", windows[p->view->window].text, span_text(covered, window));
    end_row(p);
}

static void put_trouble(struct page *p, struct jval stats)
{
    struct jval processes = at(stats, "processes");
    double down = number(processes, "workers") - number(processes, "redis_up_workers");
    if (p->view->trouble.n) {
        put_str(p, BAD, p->view->trouble);
        end_row(p);
    }
    if (!json_present(stats))
        return;
    if (!json_true(at(processes, "last_reload_successful"))) {
        put(p, WARN, "the last reload failed: the configuration before it is in force");
        end_row(p);
    }
    if (has(processes, "redis_up_workers") && down > 0) {
        put(p, WARN, "redis is away for %.0f workers", down);
        end_row(p);
    }
}

/* A column of the last minutes as little bars, the latest on the right. */
static void put_sparks(struct page *p, struct jval stats, const char *key)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    struct jval column = at(at(at(stats, "history"), "minutes"), key);
    double values[SPARKS] = {0}, most = 0, n;
    unsigned count = 0;
    json_each (v, column) {
        memmove(values, values + 1, sizeof(values) - sizeof(values[0]));
        values[SPARKS - 1] = json_f64(v, &n) && n > 0 ? n : 0;
        count++;
    }
    for (size_t i = 0; i < SPARKS; i++)
        most = values[i] > most ? values[i] : most;
    for (size_t i = 0; i < SPARKS; i++) {
        bool known = count >= SPARKS - i;
        size_t height = most > 0 ? (size_t)(values[i] / most * 7 + 0.5) : 0;
        put(p, ACCENT, "%s", known ? bars[size_min(height, 7)] : " ");
    }
}

enum { LABEL = 14, RATE = 26, BESIDE = RATE + 2 + SPARKS + 3 };

static void put_rate(struct page *p, struct jval stats, const char *label, double per_second,
                     const char *history)
{
    char text[VALUE], rate[VALUE + 8];
    (void)snprintf(rate, sizeof(rate), "%s /s", rate_text(per_second, text));
    put(p, QUIET, "%s", label);
    put_right(p, RATE, rate);
    put(p, PLAIN, "  ");
    put_sparks(p, stats, history);
    put_to(p, BESIDE);
}

static void put_rates(struct page *p, struct jval stats, struct jval w)
{
    double seconds = number(w, "seconds") > 1 ? number(w, "seconds") : 1;
    struct jval tokens = at(w, "tokens");
    char a[VALUE], b[VALUE];
    put_rate(p, stats, "requests", number(w, "requests") / seconds, "requests");
    put(p, BOLD, "%.0f in progress", number(stats, "current_active_requests"));
    put(p, PLAIN, ", %.0f streams", number(stats, "current_active_streams"));
    end_row(p);
    put_rate(p, stats, "output tokens", number(tokens, "output") / seconds, "output_tokens");
    put(p, PLAIN, "%.0f waiting, %.0f connections", number(stats, "current_queued_requests"),
        number(at(stats, "processes"), "client_connections"));
    end_row(p);
    put_rate(p, stats, "prompt tokens", prompt(tokens) / seconds, "input_tokens");
    put(p, PLAIN, "%s, %s an hour", usd_text(number(w, "cost_usd"), a),
        usd_text(number(w, "cost_usd") / seconds * 3600, b));
    end_row(p);
}

static void put_upstream(struct page *p, struct jval upstream)
{
    double keys = number(upstream, "keys"), up = number(upstream, "keys_up");
    put(p, QUIET, "upstream");
    put_to(p, LABEL + 2);
    put(p, PLAIN, "connections %.0f busy, %.0f idle   ", number(upstream, "connections_busy"),
        number(upstream, "connections_idle"));
    put(p, up < keys ? WARN : PLAIN, "keys %.0f of %.0f", up, keys);
    end_row(p);
}

static void put_times(struct page *p, const char *label, struct jval times)
{
    char a[VALUE], b[VALUE], c[VALUE], d[VALUE];
    put(p, QUIET, "%s", label);
    put_to(p, LABEL + 2);
    put(p, PLAIN, "p50 %s   p90 %s   p99 %s   average %s", time_text(times, "p50", a),
        time_text(times, "p90", b), time_text(times, "p99", c), time_text(times, "average", d));
    end_row(p);
}

static void put_errors(struct page *p, struct jval w)
{
    static const struct {
        const char *key;
        enum style style;
    } faults[] = {{"caller", PLAIN}, {"policy", WARN}, {"upstream", BAD}, {"gateway", BAD}};
    struct jval errors = at(w, "errors");
    put(p, QUIET, "errors");
    put_to(p, LABEL + 2);
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        double n = number(errors, faults[i].key);
        put(p, n > 0 ? faults[i].style : PLAIN, "%s %.0f", faults[i].key, n);
        put(p, PLAIN, "   ");
    }
    put(p, PLAIN, "limits hit %.0f   retries %.0f   left %.0f", number(w, "rate_limit_hits"),
        number(w, "retries"), number(w, "cancelled"));
    end_row(p);
}

/* --- tables --------------------------------------------------------------------------------- */

/* The rows of a table, those that cost most first. */
static unsigned sorted(struct jval table, const char *key, struct jval rows[MANY])
{
    unsigned n = 0;
    json_each (row, table) {
        unsigned i = n < MANY ? n++ : MANY - 1;
        if (n == MANY && i == MANY - 1 && number(rows[i], key) >= number(row, key))
            continue;
        for (; i > 0 && number(rows[i - 1], key) < number(row, key); i--)
            rows[i] = rows[i - 1];
        rows[i] = row;
    }
    return n;
}

static void put_headings(struct page *p, const char *name, const char *const *headings, size_t n,
                         unsigned width)
{
    char line[PIECE];
    int len = snprintf(line, sizeof(line), "%-*s", NAME, name);
    for (size_t i = 0; i < n; i++)
        len += snprintf(line + len, sizeof(line) - (size_t)len, "%*s", (int)width, headings[i]);
    end_row(p);
    put(p, HEAD, "%s", line);
    end_row(p);
}

static void put_name(struct page *p, struct str name)
{
    put_str(p, PLAIN, str_head(name, size_min(name.n, NAME - 1)));
}

static const char *share_text(double n, double of, char out[VALUE])
{
    if (n <= 0 || of <= 0)
        return "-";
    (void)snprintf(out, VALUE, "%.1f%%", 100 * n / of);
    return out;
}

static void put_clients(struct page *p, struct jval w)
{
    enum { WIDTH = 10 };

    static const char *const headings[] = {"REQUESTS", "FAILED", "P90",   "PROMPT",
                                           "OUTPUT",   "COST",   "BUDGET"};
    struct jval rows[MANY];
    unsigned n = sorted(at(w, "clients"), "cost_usd", rows);
    char text[VALUE];
    if (n == 0)
        return;
    put_headings(p, "CLIENT", headings, ARRAY_LEN(headings), WIDTH);
    for (unsigned i = 0; i < n; i++) {
        struct jval row = rows[i], tokens = at(row, "tokens");
        double requests = number(row, "requests");
        put_name(p, word(row, "client"));
        put_right(p, NAME + WIDTH, count_text(requests, text));
        put_right(p, NAME + 2 * WIDTH, share_text(number(row, "failed_requests"), requests, text));
        put_right(p, NAME + 3 * WIDTH, time_text(at(row, "answer_seconds"), "p90", text));
        put_right(p, NAME + 4 * WIDTH, count_text(prompt(tokens), text));
        put_right(p, NAME + 5 * WIDTH, count_text(number(tokens, "output"), text));
        put_right(p, NAME + 6 * WIDTH, usd_text(number(row, "cost_usd"), text));
        put_right(p, NAME + 7 * WIDTH, share_text(number(row, "budget_used_ratio"), 1, text));
        end_row(p);
    }
}

static void put_models(struct page *p, struct jval w)
{
    enum { WIDTH = 11 };

    static const char *const headings[] = {"CALLS",     "FAILED", "CALL P50",
                                           "FIRST TOK", "OUTPUT", "COST"};
    struct jval rows[MANY];
    unsigned n = sorted(at(w, "models"), "cost_usd", rows);
    char text[VALUE];
    if (n == 0)
        return;
    put_headings(p, "MODEL", headings, ARRAY_LEN(headings), WIDTH);
    for (unsigned i = 0; i < n; i++) {
        struct jval row = rows[i];
        double calls = number(row, "calls");
        put_name(p, word(row, "model"));
        put_right(p, NAME + WIDTH, count_text(calls, text));
        put_right(p, NAME + 2 * WIDTH, share_text(number(row, "failed_calls"), calls, text));
        put_right(p, NAME + 3 * WIDTH, time_text(at(row, "call_seconds"), "p50", text));
        put_right(p, NAME + 4 * WIDTH,
                  time_text(at(row, "time_to_first_token_seconds"), "p50", text));
        put_right(p, NAME + 5 * WIDTH, count_text(number(at(row, "tokens"), "output"), text));
        put_right(p, NAME + 6 * WIDTH, usd_text(number(row, "cost_usd"), text));
        end_row(p);
    }
}

static void put_error_types(struct page *p, struct jval w)
{
    enum { WIDTH = 22 };

    static const char *const headings[] = {"REQUESTS"};
    struct jval types = at(w, "error_types");
    char text[VALUE];
    double n;
    if (json_empty(types))
        return;
    put_headings(p, "ERROR", headings, ARRAY_LEN(headings), WIDTH);
    json_each_member (key, types) {
        put_str(p, PLAIN, json_str_raw(key));
        put_right(p, NAME + WIDTH, json_f64(json_value(key), &n) ? count_text(n, text) : "-");
        end_row(p);
    }
}

/* --- the page ------------------------------------------------------------------------------- */

void top_page(const struct json *stats, const struct top_view *view, struct buf *out)
{
    struct page p = {.view = view, .out = out};
    struct jval root = stats->n ? json_root(stats) : JVAL_NONE;
    struct jval w = at(at(root, "windows"), windows[view->window].key);
    if (view->live)
        buf_lit(out, "\x1b[H");
    put_trouble(&p, root);
    if (json_present(root)) {
        put_title(&p, root, number(w, "seconds"));
        put_rates(&p, root, w);
        put_times(&p, "answers", at(w, "answer_seconds"));
        put_times(&p, "first token", at(w, "time_to_first_token_seconds"));
        put_upstream(&p, at(root, "upstream"));
        put_errors(&p, w);
        put_clients(&p, w);
        put_models(&p, w);
        put_error_types(&p, w);
    }
    if (view->live)
        buf_lit(out, "\x1b[J");
}
