/* metrics.c - see metrics.h.
 *
 *   [ names of values | shard 0 | shard 1 | ... ]
 *   shard: for each metric, for each series, its cells
 *
 * Where a metric's cells begin follows from the tables alone, so it is the same in all processes.
 * Pages of shards that nobody has used are never touched: `used` says how many there are.
 */
#include "obs/metrics_int.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/mem.h"

enum { NAME_LEN = 64, NAMES = 1024, VALUES_MAX = 256 };

/* Of durations in microseconds; 0 ends a list. Where OpenTelemetry's conventions for generative AI have
 * buckets, they are those, and what an answer of Claude may take beyond. */
static const uint64_t durations[] = {10000,    20000,    40000,     80000,     160000,    320000,
                                     640000,   1280000,  2560000,   5120000,   10240000,  20480000,
                                     40960000, 81920000, 163840000, 327680000, 655360000, 0};
static const uint64_t first_tokens[] = {1000,    5000,    10000,   20000,    40000,    60000,
                                        80000,   100000,  250000,  500000,   750000,   1000000,
                                        2500000, 5000000, 7500000, 10000000, 30000000, 0};
static const uint64_t gaps[] = {1000,   5000,   10000,   20000,   40000,   80000, 160000,
                                320000, 640000, 1000000, 2500000, 5000000, 0};
static const uint64_t overheads[] = {50,   100,   200,   400,    800,     1600, 3200,
                                     6400, 12800, 50000, 200000, 1000000, 0};
/* Of tokens, and of tokens per second. */
static const uint64_t counts[] = {1,     4,      16,      64,      256,      1024,     4096, 16384,
                                  65536, 262144, 1048576, 4194304, 16777216, 67108864, 0};
static const uint64_t speeds[] = {5, 10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000, 0};

#define NO_BOUNDS    NULL
#define DURATIONS    durations
#define FIRST_TOKENS first_tokens
#define COUNTS       counts
#define GAPS         gaps
#define OVERHEADS    overheads
#define SPEEDS       speeds

const struct metric_label_row metric_labels[LABELS] = {
#define LABEL(id, name, most) [LABEL_##id] = {name, most},
    METRIC_LABELS(LABEL)
#undef LABEL
};

const struct metric_row metric_rows[METRICS] = {
#define METRIC(id, kind, unit, bounds, name, a, b, c, help)                                        \
    [METRIC_##id] = {                                                                              \
        kind, unit, STR_INIT(name), STR_INIT(help), {LABEL_##a, LABEL_##b, LABEL_##c}, bounds},
#include "obs/metrics.def"
#undef METRIC
};

/* A place of the hash table; its hash is written last. */
struct name {
    _Atomic uint32_t hash; /* 0: free */
    uint8_t label, value, n;
    char text[NAME_LEN];
};

/* One writer; `turn` is odd while it writes, so that a reader never takes halves of two. */
struct example {
    _Atomic uint32_t turn;
    _Atomic uint64_t words[6]; /* value, time, and the trace's 32 characters */
};

enum {
    EXAMPLE_WORDS = 6,
    EXAMPLES = 24 * (METRICS_BOUNDS_MAX + 1)
}; /* of METRIC_DURATION alone: a shard has so many */

struct metrics {
    _Atomic unsigned used; /* shards */
    _Atomic unsigned n_values[LABELS];
    uint16_t places[LABELS][VALUES_MAX]; /* of a value's name */
    struct name names[NAMES];
    unsigned first[METRICS], width[METRICS]; /* cells of a shard, of a series */
    unsigned cells;                          /* of a shard */
    struct example examples[METRICS_SHARDS][EXAMPLES];
    _Atomic uint64_t shards[];
};

/* --- the tables ----------------------------------------------------------------------------- */

static unsigned n_bounds(enum metric id)
{
    unsigned n = 0;
    while (metric_rows[id].bounds && metric_rows[id].bounds[n])
        n++;
    return n;
}

unsigned metrics_series(enum metric id)
{
    unsigned n = 1;
    for (size_t i = 0; i < METRICS_LABELS_MAX; i++)
        n *= metric_labels[metric_rows[id].labels[i]].most;
    return n;
}

/* A histogram: its buckets, what is above them, and the sum. */
unsigned metrics_width(enum metric id)
{
    return metric_rows[id].kind == HISTOGRAM ? n_bounds(id) + 2 : 1;
}

static unsigned cells_of_shard(void)
{
    unsigned n = 0;
    for (unsigned id = 0; id < METRICS; id++)
        n += metrics_series(id) * metrics_width(id);
    return n;
}

static size_t size_of(unsigned cells)
{
    return sizeof(struct metrics) + sizeof(uint64_t) * cells * METRICS_SHARDS;
}

struct metrics *metrics_new(void)
{
    unsigned cells = cells_of_shard(), at = 0;
    struct metrics *m = mem_share(size_of(cells));
    m->cells = cells;
    for (unsigned id = 0; id < METRICS; id++) {
        m->first[id] = at;
        m->width[id] = metrics_width(id);
        at += metrics_series(id) * m->width[id];
    }
    for (unsigned label = 0; label < LABELS; label++)
        metrics_value(m, label, label == LABEL_NONE ? STR("") : STR("other"));
    return m;
}

void metrics_free(struct metrics *m)
{
    if (m)
        mem_unshare(m, size_of(m->cells));
}

/* --- names ---------------------------------------------------------------------------------- */

/* Names come from the configuration, so nobody can choose them to collide. 0 means a free place, so
 * it is never a hash. */
static uint32_t hash_of(enum metric_label label, struct str name)
{
    uint64_t h = label, word;
    for (; name.n > 8; name = str_skip(name, 8)) {
        memcpy(&word, name.p, 8);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    word = name.n;
    (void)str_copy((char *)&word, name);
    h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    h >>= 32;
    return h ? (uint32_t)h : 1;
}

static bool is_name(const struct name *n, enum metric_label label, struct str name)
{
    return n->label == label && str_eq(str_of(n->text, n->n), name);
}

/* The place of a name, or the free one where it would stand. The table is never full: labels have
 * fewer values between them. */
static unsigned place_of(const struct metrics *m, enum metric_label label, struct str name)
{
    uint32_t hash = hash_of(label, name), there;
    unsigned at = hash % NAMES;
    while ((there = atomic_load_explicit(&m->names[at].hash, memory_order_acquire)) != 0) {
        if (there == hash && is_name(&m->names[at], label, name))
            return at;
        at = (at + 1) % NAMES;
    }
    return at;
}

unsigned metrics_values(const struct metrics *m, enum metric_label label)
{
    return atomic_load_explicit(&m->n_values[label], memory_order_acquire);
}

unsigned metrics_find(const struct metrics *m, enum metric_label label, struct str name)
{
    const struct name *n = &m->names[place_of(m, label, name)];
    return n->hash ? n->value : 0;
}

unsigned metrics_value(struct metrics *m, enum metric_label label, struct str name)
{
    unsigned at = place_of(m, label, name), n = metrics_values(m, label);
    struct name *place = &m->names[at];
    if (place->hash)
        return place->value;
    if (n == metric_labels[label].most || name.n > NAME_LEN)
        return 0;
    place->label = (uint8_t)label;
    place->value = (uint8_t)n;
    place->n = (uint8_t)name.n;
    if (name.n)
        memcpy(place->text, name.p, name.n);
    m->places[label][n] = (uint16_t)at;
    atomic_store_explicit(&place->hash, hash_of(label, name), memory_order_release);
    atomic_store_explicit(&m->n_values[label], n + 1, memory_order_release);
    return n;
}

struct str metrics_name(const struct metrics *m, enum metric_label label, unsigned value)
{
    const struct name *n = &m->names[m->places[label][value]];
    return str_of(n->text, n->n);
}

/* --- cells ---------------------------------------------------------------------------------- */

static unsigned series_of(enum metric id, unsigned a, unsigned b, unsigned c)
{
    const enum metric_label *labels = metric_rows[id].labels;
    unsigned most_b = metric_labels[labels[1]].most, most_c = metric_labels[labels[2]].most;
    ASSERT(a < metric_labels[labels[0]].most && b < most_b && c < most_c);
    return (a * most_b + b) * most_c + c;
}

static size_t place_of_cell(const struct metrics *m, unsigned shard, enum metric id,
                            unsigned series, unsigned cell)
{
    return (size_t)shard * m->cells + m->first[id] + series * m->width[id] + cell;
}

static _Atomic uint64_t *cell_of(const struct meter *t, enum metric id, unsigned series,
                                 unsigned cell)
{
    return &t->metrics->shards[place_of_cell(t->metrics, t->shard, id, series, cell)];
}

/* One writer, so a load and a store are enough. */
static void grow(_Atomic uint64_t *cell, uint64_t n)
{
    uint64_t was = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, was + n, memory_order_relaxed);
}

void metrics_add(const struct meter *t, enum metric id, unsigned a, unsigned b, unsigned c,
                 uint64_t n)
{
    if (n)
        grow(cell_of(t, id, series_of(id, a, b, c), 0), n);
}

void metrics_set(const struct meter *t, enum metric id, unsigned a, uint64_t n)
{
    _Atomic uint64_t *cell = cell_of(t, id, series_of(id, a, 0, 0), 0);
    atomic_store_explicit(cell, n, memory_order_relaxed);
}

static unsigned bucket_of(enum metric id, uint64_t value)
{
    const uint64_t *bounds = metric_rows[id].bounds;
    unsigned bucket = 0;
    while (bounds[bucket] && value > bounds[bucket])
        bucket++;
    return bucket;
}

void metrics_observe(const struct meter *t, enum metric id, unsigned a, uint64_t value)
{
    grow(cell_of(t, id, a, bucket_of(id, value)), 1);
    grow(cell_of(t, id, a, t->metrics->width[id] - 1), value);
}

/* --- examples ------------------------------------------------------------------------------- */

static size_t place_of_example(const struct metrics *m, enum metric id, unsigned series,
                               unsigned bucket)
{
    size_t at = series * (m->width[id] - 1) + bucket;
    ASSERT(id == METRIC_DURATION && at < EXAMPLES);
    return at;
}

void metrics_observe_traced(const struct meter *t, enum metric id, unsigned a, uint64_t value,
                            struct str trace)
{
    uint64_t words[EXAMPLE_WORDS] = {value, clock_wall_us()};
    struct metrics *m = t->metrics;
    struct example *e = &m->examples[t->shard][place_of_example(m, id, a, bucket_of(id, value))];
    ASSERT(trace.n == sizeof(words) - 2 * sizeof(uint64_t));
    memcpy(words + 2, trace.p, trace.n);
    metrics_observe(t, id, a, value);
    atomic_fetch_add_explicit(&e->turn, 1, memory_order_acquire);
    for (size_t i = 0; i < EXAMPLE_WORDS; i++)
        atomic_store_explicit(&e->words[i], words[i], memory_order_relaxed);
    atomic_fetch_add_explicit(&e->turn, 1, memory_order_release);
}

/* None, when it is being written at the moment: an example is worth no waiting. */
static struct metrics_example read_example(const struct example *e)
{
    uint64_t words[EXAMPLE_WORDS];
    uint32_t before = atomic_load_explicit(&e->turn, memory_order_acquire);
    for (size_t i = 0; i < EXAMPLE_WORDS; i++)
        words[i] = atomic_load_explicit(&e->words[i], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    uint32_t after = atomic_load_explicit(&e->turn, memory_order_relaxed);
    struct metrics_example got = {.value = words[0], .wall_us = words[1]};
    if (before != after || before % 2 == 1)
        return (struct metrics_example){.wall_us = 0};
    memcpy(got.trace, words + 2, sizeof(got.trace));
    return got;
}

struct metrics_example metrics_example(const struct metrics *m, enum metric id, unsigned series,
                                       unsigned bucket)
{
    struct metrics_example latest = {.wall_us = 0};
    size_t at = place_of_example(m, id, series, bucket);
    for (unsigned shard = 0; shard < m->used; shard++) {
        struct metrics_example one = read_example(&m->examples[shard][at]);
        if (one.wall_us > latest.wall_us)
            latest = one;
    }
    return latest;
}

/* --- processes ------------------------------------------------------------------------------ */

void metrics_join(struct metrics *m, unsigned shard)
{
    ASSERT(shard < METRICS_SHARDS);
    if (shard >= m->used)
        m->used = shard + 1;
}

void metrics_bury(struct metrics *m, unsigned shard)
{
    const struct meter t = {m, shard};
    for (unsigned id = 0; id < METRICS; id++)
        for (unsigned i = 0; metric_rows[id].kind == GAUGE && i < metrics_series(id); i++)
            atomic_store_explicit(cell_of(&t, id, i, 0), 0, memory_order_relaxed);
}

uint64_t metrics_cell(const struct metrics *m, enum metric id, unsigned series, unsigned cell)
{
    uint64_t n = 0;
    for (unsigned shard = 0; shard < m->used; shard++)
        n += atomic_load_explicit(&m->shards[place_of_cell(m, shard, id, series, cell)],
                                  memory_order_relaxed);
    return n;
}

uint64_t metrics_sum(const struct metrics *m, enum metric id, unsigned a, unsigned b, unsigned c)
{
    return metrics_cell(m, id, series_of(id, a, b, c), 0);
}

uint64_t metrics_total(const struct metrics *m, enum metric id)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < metrics_series(id); i++)
        n += metrics_cell(m, id, i, 0);
    return n;
}

/* --- histograms ----------------------------------------------------------------------------- */

void metrics_read(const struct metrics *m, enum metric id, unsigned a,
                  uint64_t cells[METRICS_CELLS_MAX])
{
    ASSERT(metric_rows[id].kind == HISTOGRAM && m->width[id] <= METRICS_CELLS_MAX);
    for (unsigned i = 0; i < m->width[id]; i++)
        cells[i] += metrics_cell(m, id, a, i);
}

uint64_t metrics_count(enum metric id, const uint64_t cells[METRICS_CELLS_MAX])
{
    uint64_t n = 0;
    for (unsigned i = 0; i + 1 < metrics_width(id); i++)
        n += cells[i];
    return n;
}

uint64_t metrics_cells_sum(enum metric id, const uint64_t cells[METRICS_CELLS_MAX])
{
    return cells[metrics_width(id) - 1];
}

uint64_t metrics_quantile(enum metric id, const uint64_t cells[METRICS_CELLS_MAX],
                          unsigned permille)
{
    const uint64_t *bounds = metric_rows[id].bounds;
    double rank = (double)metrics_count(id, cells) * permille / 1000, below = 0;
    uint64_t from = 0;
    for (unsigned i = 0; bounds[i]; i++) {
        double n = (double)cells[i];
        if (n > 0 && below + n >= rank)
            return from + (uint64_t)((double)(bounds[i] - from) * (rank - below) / n);
        below += n;
        from = bounds[i];
    }
    return below < rank ? from : 0;
}
