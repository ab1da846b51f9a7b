/* metrics.h - counters, gauges and histograms in memory that all processes share.
 *
 *   worker --metrics_add--> its own shard --+
 *   worker --metrics_add--> its own shard --+-- summed when read --> /metrics, /stats, top
 *   master --metrics_add--> its own shard --+
 *
 * A series is a metric and one value of each of its labels; it has one 64-bit cell in each shard (a
 * histogram has one for each bucket, and their sum). Values of labels are numbered; the master adds
 * them from tables and from the configuration, so a client can never make one, and what has no number
 * is number 0, "other". Cells of counters are never taken back: not when their worker dies, nor
 * when a reload changes the configuration. What is zero is printed only where it costs little: metrics
 * without labels, and counters with one, whose first step Prometheus' rate() then sees.
 *
 * All of it is mapped before the first fork. No locks: cells are atomics, one writer each.
 */
#ifndef CCPROXY_OBS_METRICS_H
#define CCPROXY_OBS_METRICS_H

#include "base/buf.h"

enum metric {

#define METRIC(id, ...) METRIC_##id,
#include "obs/metrics.def"
#undef METRIC
    METRICS
};

/* LABEL(ID, name, most): most values, "other" among them */
#define METRIC_LABELS(LABEL)                                                                       \
    LABEL(NONE, "", 1)                                                                             \
    LABEL(METHOD, "method", 6)                                                                     \
    LABEL(ENDPOINT, "endpoint", 24)                                                                \
    LABEL(STATUS, "status", 32)                                                                    \
    LABEL(PROTOCOL, "protocol", 4)                                                                 \
    LABEL(ERROR, "type", 96)                                                                       \
    LABEL(AUTH, "result", 5)                                                                       \
    LABEL(LIMIT, "limit", 8)                                                                       \
    LABEL(CLIENT, "client", 256)                                                                   \
    LABEL(OUTCOME, "outcome", 3)                                                                   \
    LABEL(TOKENS, "type", 6)                                                                       \
    LABEL(MODEL, "model", 64)                                                                      \
    LABEL(KEY, "key", 65)                                                                          \
    LABEL(SIDE, "side", 4)                                                                         \
    LABEL(REJECTION, "reason", 8)                                                                  \
    LABEL(FLOOD, "flood", 12)                                                                      \
    LABEL(CERTIFICATE, "certificate", 33)                                                          \
    LABEL(HANDSHAKE, "result", 6)                                                                  \
    LABEL(STAPLE, "result", 5)                                                                     \
    LABEL(VERSION, "version", 2)

enum metric_label {

#define LABEL(id, ...) LABEL_##id,
    METRIC_LABELS(LABEL)
#undef LABEL
        LABELS
};

/* MOST_CLIENT and so on. */
enum {

#define LABEL(id, name, most) MOST_##id = (most),
    METRIC_LABELS(LABEL)
#undef LABEL
};

/* Of a histogram's series: its buckets, what is above them, and the sum. */
enum { METRICS_CELLS_MAX = 19 };

enum { METRICS_LABELS_MAX = 3, METRICS_SHARDS = 513 }; /* the first is the master's */

struct metrics;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m); /* NULL is fine */

/* The number of a value, which is added when it is new and there is room. For the master; names of
 * values keep their numbers for good. */
unsigned metrics_value(struct metrics *m, enum metric_label label, struct str name);
/* Its number, or 0. */
unsigned metrics_find(const struct metrics *m, enum metric_label label, struct str name);
/* Values that a label has, 0 among them; and the name of one. */
unsigned metrics_values(const struct metrics *m, enum metric_label label);
struct str metrics_name(const struct metrics *m, enum metric_label label, unsigned value);

/* Where one process counts. */
struct meter {
    struct metrics *metrics;
    unsigned shard; /* below METRICS_SHARDS, its alone */
};

/* Labels that the metric does not have are 0. */
void metrics_add(const struct meter *t, enum metric id, unsigned a, unsigned b, unsigned c,
                 uint64_t n);
void metrics_set(const struct meter *t, enum metric id, unsigned a, uint64_t n);
/* Takes a value, in cells' units, into a histogram. */
void metrics_observe(const struct meter *t, enum metric id, unsigned a, uint64_t value);
/* The same, and remembers whose trace it was (32 hex digits) as the bucket's example. */
void metrics_observe_traced(const struct meter *t, enum metric id, unsigned a, uint64_t value,
                            struct str trace);
/* For the master: a process will count there; it is gone, and its gauges with it. */
void metrics_join(struct metrics *m, unsigned shard);
void metrics_bury(struct metrics *m, unsigned shard);

/* Over all shards. */
uint64_t metrics_sum(const struct metrics *m, enum metric id, unsigned a, unsigned b, unsigned c);
/* Over all shards and all series of a metric that is no histogram. */
uint64_t metrics_total(const struct metrics *m, enum metric id);

/* Adds the cells of a histogram's series to *cells. */
void metrics_read(const struct metrics *m, enum metric id, unsigned a,
                  uint64_t cells[METRICS_CELLS_MAX]);
/* Of such cells: how many values were taken in, and their sum. */
uint64_t metrics_count(enum metric id, const uint64_t cells[METRICS_CELLS_MAX]);
uint64_t metrics_cells_sum(enum metric id, const uint64_t cells[METRICS_CELLS_MAX]);
/* The value that so many of a thousand are not above, as Prometheus' histogram_quantile has it:
 * even within a bucket, and the highest bound for what is above it. 0 when there are none. */
uint64_t metrics_quantile(enum metric id, const uint64_t cells[METRICS_CELLS_MAX],
                          unsigned permille);

/* --- metrics_text.c: Prometheus' text format 0.0.4, or OpenMetrics 1.0.0 --- */

struct metrics_cursor {
    enum metric metric;
    unsigned series; /* of that metric: the next one */
    uint64_t n;      /* printed so far */
    bool open;       /* the metric's HELP and TYPE are printed */
    bool openmetrics;
};

/* Appends about `most` series from the cursor on. False when that was all. */
bool metrics_write(const struct metrics *m, struct metrics_cursor *at, unsigned most,
                   struct buf *out);

#endif
