/* metrics_int.h - the tables and the memory of metrics, for its files only. */
#ifndef CCPROXY_OBS_METRICS_INT_H
#define CCPROXY_OBS_METRICS_INT_H

#include "obs/metrics.h"

enum metric_kind { COUNTER, GAUGE, HISTOGRAM };

enum metric_unit { ONE, MICRO };

enum { METRICS_BOUNDS_MAX = METRICS_CELLS_MAX - 2 };

struct metric_row {
    enum metric_kind kind;
    enum metric_unit unit;
    struct str name, help;
    enum metric_label labels[METRICS_LABELS_MAX];
    const uint64_t *bounds; /* of a histogram, in the cells' units; the last is 0 */
};

struct metric_label_row {
    const char *name;
    unsigned most;
};

extern const struct metric_row metric_rows[METRICS];
extern const struct metric_label_row metric_labels[LABELS];

/* Series of a metric, and cells of one of its series. */
unsigned metrics_series(enum metric id);
unsigned metrics_width(enum metric id);
/* One cell of a series, over all shards. */
uint64_t metrics_cell(const struct metrics *m, enum metric id, unsigned series, unsigned cell);

/* The latest example of a bucket, over all shards: what OpenMetrics calls an exemplar. */
struct metrics_example {
    char trace[32];
    uint64_t value, wall_us; /* 0: there is none */
};

struct metrics_example metrics_example(const struct metrics *m, enum metric id, unsigned series,
                                       unsigned bucket);

#endif
