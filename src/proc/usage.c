/* usage.c - see usage.h.
 *
 *   day         requests failed    input   cached   output      cost
 *   2026-11-22       812      3  1204331   981022   240981   $7.1034  ████████████████▌
 *   2026-11-23      1530     11  2393310  1200311   471120  $13.8210  ████████████████████████████████
 *
 * Input is all of the prompt, cached what of it was read from the cache. Bars are of the cost, or of the
 * requests where nothing has cost anything. Rows are printed once all are there, since widths and bars
 * depend on the largest.
 */
#include "proc/usage.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "config/config.h"
#include "store/ledger.h"
#include "store/ledger_url.h"
#include "wire/jsonw.h"

enum {
    OUT_MAX = 64 * 1024 * 1024,
    CELL = 32,
    DAYS_SHOWN = 30,
    BAR_MIN = 10,
    BAR_MAX = 60,
    DAY_TEXT = 10,
    KEYS = 3,
    COLUMNS = 9,
    EIGHTHS = 8,
};

static const char *const key_names[KEYS] = {"day", "client", "model"};
static const char *const headings[COLUMNS] = {"day",   "client", "model",  "requests", "failed",
                                              "input", "cached", "output", "cost"};

struct line {
    struct str keys[KEYS]; /* in the report's arena */
    struct ledger_sums sums;
};

struct report {
    struct arena arena;
    struct ledger_query query;
    struct line *lines;
    size_t n, cap;
    struct ledger_sums total;
    struct buf out;
};

static bool complain(const char *what, struct str which, const char *why)
{
    (void)fprintf(stderr, "ccproxy: %s%.*s%s%s\n", what, STR_FMT(which), why[0] ? ": " : "", why);
    return false;
}

/* --- what is asked for ---------------------------------------------------------------------- */

static bool read_by(struct str list, unsigned *ret)
{
    struct str part;
    *ret = list.n ? 0 : LEDGER_DAY;
    while (str_split(&list, ',', &part)) {
        size_t i = 0;
        while (i < KEYS && !str_eq(str_trim(part), str_c(key_names[i])))
            i++;
        if (i == KEYS)
            return false;
        *ret |= 1u << i;
    }
    return true;
}

static struct str days_ago(struct arena *a, uint64_t days)
{
    char text[CLOCK_TEXT];
    uint64_t past_us = days * 86400 * 1000000, now_us = clock_wall_us();
    struct str when = clock_rfc3339(now_us > past_us ? now_us - past_us : 0, text);
    return arena_dup(a, str_head(when, DAY_TEXT));
}

/* "2026-11-23", or "7d": so many days ago. */
static bool read_day(struct arena *a, struct str s, struct str *ret)
{
    uint64_t days, unused;
    if (s.n > 1 && s.p[s.n - 1] == 'd' && str_to_u64(str_head(s, s.n - 1), &days) &&
        days <= 100000) {
        *ret = days_ago(a, days);
        return true;
    }
    *ret = s;
    return s.n == DAY_TEXT &&
           clock_parse_rfc3339(arena_printf(a, "%.*sT00:00:00Z", STR_FMT(s)), &unused);
}

static bool read_query(const struct cli *cli, struct report *r)
{
    struct ledger_query *q = &r->query;
    q->client = cli->client;
    q->model = cli->model;
    q->since = days_ago(&r->arena, DAYS_SHOWN - 1);
    if (!read_by(cli->by, &q->by))
        return complain("--by: ", cli->by, "not a list of day, client and model");
    if (cli->since.n && !read_day(&r->arena, cli->since, &q->since))
        return complain("--since: ", cli->since, "not a day like 2026-11-23 or 7d");
    if (cli->until.n && !read_day(&r->arena, cli->until, &q->until))
        return complain("--until: ", cli->until, "not a day like 2026-11-23 or 7d");
    return true;
}

/* --- what there is -------------------------------------------------------------------------- */

static void add(struct ledger_sums *to, const struct ledger_sums *s)
{
    to->requests += s->requests;
    to->failed += s->failed;
    to->input += s->input;
    to->cache_read += s->cache_read;
    to->cache_write += s->cache_write;
    to->output += s->output;
    to->reasoning += s->reasoning;
    to->web_searches += s->web_searches;
    to->cost_micro_usd += s->cost_micro_usd;
}

static void take_row(void *ctx, const struct ledger_sums *sums)
{
    struct report *r = ctx;
    const struct str keys[KEYS] = {sums->day, sums->client, sums->model};
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 64;
        r->lines = mem_realloc(r->lines, r->cap * sizeof(*r->lines));
    }
    struct line *line = &r->lines[r->n++];
    line->sums = *sums;
    for (size_t i = 0; i < KEYS; i++)
        line->keys[i] = arena_dup(&r->arena, keys[i]);
    add(&r->total, sums);
}

/* --- for programs --------------------------------------------------------------------------- */

struct number {
    const char *name;
    size_t offset;
};

static const struct number numbers[] = {
    {"requests", offsetof(struct ledger_sums, requests)},
    {"failed", offsetof(struct ledger_sums, failed)},
    {"input_tokens", offsetof(struct ledger_sums, input)},
    {"cache_read_tokens", offsetof(struct ledger_sums, cache_read)},
    {"cache_write_tokens", offsetof(struct ledger_sums, cache_write)},
    {"output_tokens", offsetof(struct ledger_sums, output)},
    {"reasoning_tokens", offsetof(struct ledger_sums, reasoning)},
    {"web_searches", offsetof(struct ledger_sums, web_searches)},
    {"cost_micro_usd", offsetof(struct ledger_sums, cost_micro_usd)},
};

static int64_t number_of(const struct ledger_sums *s, size_t i)
{
    int64_t n;
    memcpy(&n, (const char *)s + numbers[i].offset, sizeof(n));
    return n;
}

static void print_json(struct report *r)
{
    struct jsonw w;
    jsonw_to_buf(&w, &r->out);
    jsonw_array(&w);
    for (const struct line *line = r->lines; line < r->lines + r->n; line++) {
        jsonw_object(&w);
        for (unsigned i = 0; i < KEYS; i++) {
            if (!(r->query.by & 1u << i))
                continue;
            jsonw_key(&w, str_c(key_names[i]));
            jsonw_str(&w, line->keys[i]);
        }
        for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
            jsonw_key(&w, str_c(numbers[i].name));
            jsonw_i64(&w, number_of(&line->sums, i));
        }
        jsonw_object_end(&w);
    }
    jsonw_array_end(&w);
    buf_lit(&r->out, "\n");
}

/* RFC 4180; names hold nothing that would need quotes. */
static void print_csv(struct report *r)
{
    for (unsigned i = 0; i < KEYS; i++)
        if (r->query.by & 1u << i)
            buf_printf(&r->out, "%s,", key_names[i]);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        buf_printf(&r->out, "%s%s", i ? "," : "", numbers[i].name);
    for (const struct line *line = r->lines; line < r->lines + r->n; line++) {
        buf_lit(&r->out, "\r\n");
        for (unsigned i = 0; i < KEYS; i++)
            if (r->query.by & 1u << i)
                buf_printf(&r->out, "%.*s,", STR_FMT(line->keys[i]));
        for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
            buf_printf(&r->out, "%s%lld", i ? "," : "", (long long)number_of(&line->sums, i));
    }
    buf_lit(&r->out, "\r\n");
}

/* --- for people ----------------------------------------------------------------------------- */

struct cells {
    char text[COLUMNS][JOURNAL_TEXT + 1];
};

static void put_int(char *cell, int64_t n)
{
    (void)snprintf(cell, CELL, "%lld", (long long)n);
}

static void fill(struct cells *c, const struct str keys[KEYS], const struct ledger_sums *s)
{
    for (size_t i = 0; i < KEYS; i++)
        (void)snprintf(c->text[i], sizeof(c->text[i]), "%.*s", STR_FMT(keys[i]));
    put_int(c->text[3], s->requests);
    put_int(c->text[4], s->failed);
    put_int(c->text[5], s->input + s->cache_read + s->cache_write);
    put_int(c->text[6], s->cache_read);
    put_int(c->text[7], s->output);
    (void)snprintf(c->text[8], CELL, "$%lld.%04lld", (long long)(s->cost_micro_usd / 1000000),
                   (long long)(s->cost_micro_usd % 1000000 / 100));
}

static bool is_shown(const struct report *r, size_t column)
{
    return column >= KEYS || r->query.by & 1u << column;
}

static void widen(int widths[COLUMNS], const struct cells *c)
{
    for (size_t i = 0; i < COLUMNS; i++)
        if ((int)strlen(c->text[i]) > widths[i])
            widths[i] = (int)strlen(c->text[i]);
}

static void print_cells(struct report *r, const struct cells *c, const int widths[COLUMNS])
{
    for (size_t i = 0; i < COLUMNS; i++)
        if (is_shown(r, i))
            buf_printf(&r->out, i < KEYS ? "%-*s  " : "%*s  ", widths[i], c->text[i]);
}

static bool speaks_utf8(void)
{
    const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct str value = str_c(getenv(names[i]));
        if (value.n)
            return str_find_str(value, STR("UTF-8")) < value.n ||
                   str_find_str(value, STR("utf8")) < value.n;
    }
    return false;
}

/* Blocks in eighths where the terminal has them. */
static void print_bar(struct buf *out, int64_t value, int64_t most, int width, bool utf8)
{
    static const char *const parts[EIGHTHS] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    __int128_t steps = most > 0 ? (__int128_t)value * width * EIGHTHS / most : 0;
    int eighths = (int)steps;
    for (int i = 0; i < eighths / EIGHTHS; i++)
        (void)buf_append(out, utf8 ? STR("█") : STR("#"));
    if (utf8)
        (void)buf_append(out, str_c(parts[eighths % EIGHTHS]));
}

static int bar_width(int taken)
{
    struct winsize size = {.ws_col = 0};
    int columns = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 100;
    int left = columns - taken;
    return left < BAR_MIN ? BAR_MIN : left > BAR_MAX ? BAR_MAX : left;
}

static int64_t weight(const struct report *r, const struct ledger_sums *s)
{
    return r->total.cost_micro_usd ? s->cost_micro_usd : s->requests;
}

static int row_width(const struct report *r, const int widths[COLUMNS])
{
    int n = 0;
    for (size_t i = 0; i < COLUMNS; i++)
        n += is_shown(r, i) ? widths[i] + 2 : 0;
    return n;
}

static void print_heading(struct report *r, const int widths[COLUMNS])
{
    struct cells c = {0};
    for (size_t i = 0; i < COLUMNS; i++)
        (void)snprintf(c.text[i], sizeof(c.text[i]), "%s", headings[i]);
    print_cells(r, &c, widths);
    buf_lit(&r->out, "\n");
}

static void print_table(struct report *r)
{
    static const struct str none[KEYS];
    int widths[COLUMNS];
    int64_t most = 0;
    bool utf8 = speaks_utf8();
    struct cells c;
    fill(&c, none, &r->total);
    for (size_t i = 0; i < COLUMNS; i++)
        widths[i] = (int)strlen(headings[i]);
    widen(widths, &c);
    for (const struct line *line = r->lines; line < r->lines + r->n; line++) {
        fill(&c, line->keys, &line->sums);
        widen(widths, &c);
        most = weight(r, &line->sums) > most ? weight(r, &line->sums) : most;
    }
    int width = bar_width(row_width(r, widths));
    print_heading(r, widths);
    for (const struct line *line = r->lines; line < r->lines + r->n; line++) {
        fill(&c, line->keys, &line->sums);
        print_cells(r, &c, widths);
        print_bar(&r->out, weight(r, &line->sums), most, width, utf8);
        buf_lit(&r->out, "\n");
    }
    fill(&c, none, &r->total);
    print_cells(r, &c, widths);
    buf_lit(&r->out, "total\n");
}

/* --- the command ---------------------------------------------------------------------------- */

static int print(const struct buf *out)
{
    struct str s = buf_str(out);
    return fwrite(s.p, 1, s.n, stdout) == s.n && fflush(stdout) == 0 ? 0 : 1;
}

static int show(const struct cli *cli, struct report *r, const char *path)
{
    char error[LEDGER_ERROR], shown[LEDGER_SHOWN];
    struct ledger *l = ledger_open_reading(path, error);
    (void)ledger_shown(str_c(path), shown);
    if (!l) {
        (void)complain("cannot read ", str_c(shown), error);
        return 1;
    }
    bool ok = ledger_report(l, &r->query, take_row, r);
    if (!ok)
        (void)complain("cannot read ", str_c(shown), ledger_error(l));
    ledger_close(l);
    if (!ok)
        return 1;
    if (cli->json)
        print_json(r);
    else if (cli->csv)
        print_csv(r);
    else
        print_table(r);
    return print(&r->out);
}

/* The file that the configuration names, which need not be right otherwise: "" when there is none. */
static struct str configured(struct arena *a)
{
    struct buf problems;
    buf_init(&problems, OUT_MAX);
    struct config *c = config_load(environ, &problems);
    struct str path = arena_printf(a, "%.*s", STR_FMT(c && c->records ? c->db : STR("")));
    if (!c)
        (void)fprintf(stderr, "%.*s", STR_FMT(buf_str(&problems)));
    config_free(c);
    buf_done(&problems);
    return path;
}

int usage_command(const struct cli *cli)
{
    struct report r = {.n = 0};
    int status = 1;
    clock_refresh();
    arena_init(&r.arena);
    buf_init(&r.out, OUT_MAX);
    struct str path =
        cli->db.n ? arena_printf(&r.arena, "%.*s", STR_FMT(cli->db)) : configured(&r.arena);
    if (!path.n)
        (void)complain("there is no usage database: set CCPROXY_DB, or name it with --db", STR(""),
                       "");
    else if (read_query(cli, &r))
        status = show(cli, &r, path.p);
    mem_free(r.lines);
    buf_done(&r.out);
    arena_done(&r.arena);
    return status;
}
