/* metrics_text.c - metrics as Prometheus' text format 0.0.4 and as OpenMetrics 1.0.0 want them.
 *
 *   # HELP ccproxy_tokens_total Tokens as answers report them.
 *   # TYPE ccproxy_tokens_total counter
 *   ccproxy_tokens_total{type="input",model="claude-sonnet-5-5"} 17
 *
 * Sources: https://prometheus.io/docs/instrumenting/exposition_formats/
 *          https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
 */
#include "base/text.h"
#include "obs/metrics_int.h"

enum { MILLION = 1000000 };

/* --- values --------------------------------------------------------------------------------- */

enum { VALUE = 32 };

/* A value, or a bound; decimals without zeros behind, but one: le of OpenMetrics is a float. */
static struct str value_text(enum metric_unit unit, bool bound, uint64_t n, char out[VALUE])
{
    size_t len = text_u64(unit == MICRO ? n / MILLION : n, out);
    uint64_t rest = unit == MICRO ? n % MILLION : 0;
    if (unit == ONE && !bound)
        return str_of(out, len);
    out[len++] = '.';
    do {
        rest *= 10;
        out[len++] = (char)('0' + rest / MILLION);
        rest %= MILLION;
    } while (rest);
    return str_of(out, len);
}

static void put_value(struct buf *b, enum metric_unit unit, uint64_t n)
{
    char text[VALUE];
    buf_append(b, value_text(unit, false, n, text));
    buf_lit(b, "\n");
}

/* --- names ---------------------------------------------------------------------------------- */

static void put_escaped(struct buf *b, struct str s)
{
    static const char special[] = {'\n', '"', '\\'};
    while (s.n) {
        size_t plain = 0;
        while (plain < s.n && !memchr(special, s.p[plain], sizeof(special)))
            plain++;
        buf_append(b, str_head(s, plain));
        s = str_skip(s, plain);
        if (s.n == 0)
            break;
        buf_lit(b, "\\");
        buf_append(b, s.p[0] == '\n' ? STR("n") : str_head(s, 1));
        s = str_skip(s, 1);
    }
}

/* The values of the labels that make a series. */
static void values_of(enum metric id, unsigned series, unsigned values[METRICS_LABELS_MAX])
{
    for (size_t i = METRICS_LABELS_MAX; i-- > 0;) {
        unsigned most = metric_labels[metric_rows[id].labels[i]].most;
        values[i] = series % most;
        series /= most;
    }
}

/* Whether all of its values are there. */
static bool is_series(const struct metrics *m, enum metric id, unsigned series)
{
    unsigned values[METRICS_LABELS_MAX];
    values_of(id, series, values);
    for (size_t i = 0; i < METRICS_LABELS_MAX; i++)
        if (values[i] >= metrics_values(m, metric_rows[id].labels[i]))
            return false;
    return true;
}

/* name suffix{label="value",le="bound"} and a space */
static void put_name(const struct metrics *m, enum metric id, unsigned series, const char *suffix,
                     struct str le, struct buf *b)
{
    const struct metric_row *row = &metric_rows[id];
    unsigned values[METRICS_LABELS_MAX], n = 0;
    values_of(id, series, values);
    buf_append(b, row->name);
    buf_append(b, str_c(suffix));
    for (size_t i = 0; i < METRICS_LABELS_MAX && row->labels[i] != LABEL_NONE; i++) {
        buf_append(b, n++ ? STR(",") : STR("{"));
        buf_append(b, str_c(metric_labels[row->labels[i]].name));
        buf_lit(b, "=\"");
        put_escaped(b, metrics_name(m, row->labels[i], values[i]));
        buf_lit(b, "\"");
    }
    if (le.n) {
        buf_append(b, n++ ? STR(",le=\"") : STR("{le=\""));
        buf_append(b, le);
        buf_lit(b, "\"");
    }
    buf_append(b, n ? STR("} ") : STR(" "));
}

/* --- series --------------------------------------------------------------------------------- */

/* A bucket's exemplar: the number is its value, and when it was. */
static void put_example(const struct metrics *m, enum metric id, unsigned series, unsigned bucket,
                        struct buf *b)
{
    char value[VALUE], when[VALUE];
    struct metrics_example e = metrics_example(m, id, series, bucket);
    if (!e.wall_us)
        return;
    buf_printf(b, " # {trace_id=\"%.32s\"} %.*s %.*s", e.trace,
               STR_FMT(value_text(metric_rows[id].unit, false, e.value, value)),
               STR_FMT(value_text(MICRO, false, e.wall_us, when)));
}

static void put_bucket(const struct metrics *m, enum metric id, unsigned series, unsigned bucket,
                       uint64_t below, struct buf *b)
{
    const struct metric_row *row = &metric_rows[id];
    char text[VALUE];
    uint64_t bound = row->bounds[bucket];
    put_name(m, id, series, "_bucket",
             bound ? value_text(row->unit, true, bound, text) : STR("+Inf"), b);
    buf_append_u64(b, below);
}

static bool put_histogram(const struct metrics *m, enum metric id, unsigned series, bool examples,
                          struct buf *b)
{
    unsigned sum = metrics_width(id) - 1;
    uint64_t below = 0, cells[METRICS_BOUNDS_MAX + 2];
    for (unsigned i = 0; i <= sum; i++)
        cells[i] = metrics_cell(m, id, series, i);
    for (unsigned i = 0; i < sum; i++)
        below += cells[i];
    if (below == 0)
        return false;
    below = 0;
    for (unsigned i = 0; i < sum; i++) {
        put_bucket(m, id, series, i, below += cells[i], b);
        if (examples && id == METRIC_DURATION)
            put_example(m, id, series, i, b);
        buf_lit(b, "\n");
    }
    put_name(m, id, series, "_sum", STR_NONE, b);
    put_value(b, metric_rows[id].unit, cells[sum]);
    put_name(m, id, series, "_count", STR_NONE, b);
    put_value(b, ONE, below);
    return true;
}

/* Even as a zero; of the values of a label, "other" is not expected. */
static bool is_always_there(const struct metric_row *row, unsigned series)
{
    return row->labels[0] == LABEL_NONE ||
           (row->kind == COUNTER && row->labels[1] == LABEL_NONE && series != 0);
}

static bool put_series(const struct metrics *m, const struct metrics_cursor *at, struct buf *b)
{
    enum metric id = at->metric;
    unsigned series = at->series;
    const struct metric_row *row = &metric_rows[id];
    if (row->kind == HISTOGRAM)
        return put_histogram(m, id, series, at->openmetrics, b);
    uint64_t n = id == METRIC_SERIES ? at->n + 1 : metrics_cell(m, id, series, 0);
    if (n == 0 && !is_always_there(row, series))
        return false;
    put_name(m, id, series, "", STR_NONE, b);
    put_value(b, row->unit, n);
    return true;
}

/* OpenMetrics names a family of counters without the suffix that its samples have. */
static void put_family(enum metric id, bool openmetrics, struct buf *b)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    static const struct str total = STR_INIT("_total");
    const struct metric_row *row = &metric_rows[id];
    struct str name = row->name;
    if (openmetrics && str_ends(name, total))
        name = str_head(name, name.n - total.n);
    buf_printf(b, "# HELP %.*s %.*s\n", STR_FMT(name), STR_FMT(row->help));
    buf_printf(b, "# TYPE %.*s %s\n", STR_FMT(name), kinds[row->kind]);
}

/* Goes on to the next series, or the next metric. */
static void advance(struct metrics_cursor *at)
{
    if (++at->series < metrics_series(at->metric))
        return;
    at->metric++;
    at->series = 0;
    at->open = false;
}

bool metrics_write(const struct metrics *m, struct metrics_cursor *at, unsigned most,
                   struct buf *out)
{
    for (unsigned looked = 0; at->metric < METRICS && looked < most; looked++) {
        if (!at->open)
            put_family(at->metric, at->openmetrics, out);
        at->open = true;
        if (is_series(m, at->metric, at->series))
            at->n += put_series(m, at, out);
        advance(at);
    }
    if (at->metric < METRICS)
        return true;
    if (at->openmetrics)
        buf_lit(out, "# EOF\n");
    return false;
}
