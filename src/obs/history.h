/* history.h - what the sums of the metrics were, so that a reader can say what happened since.
 *
 *   every 5 s    |5:00 ... |0:15|0:10|0:05|          the last five minutes
 *   every 60 s   |60:00 ... |3:00|2:00|1:00|         the last hour
 *                                          ^ now: what a reader sums up himself
 *
 * A window is the difference of two samples: now, and the newest one that is old enough. So it is
 * right however long nobody has read, and says itself how long it is: up to one step longer than
 * asked for, or shorter while the server is young. Counters are never taken back, so workers may
 * come and go between two samples.
 *
 * One process, the master, adds; all read. Memory is shared and bounded, there are no locks.
 */
#ifndef CCPROXY_OBS_HISTORY_H
#define CCPROXY_OBS_HISTORY_H

#include "obs/metrics.h"

/* Sums since the start, or what was added between two moments. Nothing but 64-bit words; money in
 * millionths of a dollar, histograms as metrics_read gives them. */
struct sample {
    uint64_t at_us; /* clock_us(); of a difference: how long */

    /* The node. */
    struct sample_node {
        uint64_t requests; /* by clients: without probes and operators' pages */
        uint64_t active;   /* a gauge: of the later moment in a difference */
        uint64_t limited, cancelled, retries;
        uint64_t cost, saved;
        uint64_t tokens[MOST_TOKENS];
        uint64_t errors[MOST_ERROR];
        uint64_t duration[METRICS_CELLS_MAX], first_token[METRICS_CELLS_MAX];
        uint64_t answered[METRICS_CELLS_MAX]; /* durations of those with a whole answer */
    } node;

    struct sample_model {
        uint64_t calls, failed_calls; /* attempts upstream */
        uint64_t cost;
        uint64_t tokens[MOST_TOKENS];
        uint64_t duration[METRICS_CELLS_MAX], first_token[METRICS_CELLS_MAX];
    } models[MOST_MODEL];

    struct sample_client {
        uint64_t requests, failures;
        uint64_t cost;
        uint64_t tokens[MOST_TOKENS];
        uint64_t answered[METRICS_CELLS_MAX];
    } clients[MOST_CLIENT];
};

enum history_ring { HISTORY_MINUTES, HISTORY_HOUR, HISTORY_RINGS };

enum { HISTORY_EVERY_US = 5 * 1000 * 1000, HISTORY_SLOTS = 62 };

struct history;

/* The start is its first sample: nothing had been counted then. */
struct history *history_new(uint64_t now_us);
void history_free(struct history *h); /* NULL is fine */
uint64_t history_started_us(const struct history *h);
/* How far apart the samples of a ring are. */
uint64_t history_step_us(enum history_ring ring);

/* Every HISTORY_EVERY_US; n_clients: those of s->clients that are not zero come first. */
void history_add(struct history *h, const struct sample *s, unsigned n_clients);
/* Turns *ret into what was added to now since span_us ago, or since the oldest sample; since the
 * start when span_us is 0. */
void history_since(const struct history *h, const struct sample *now, uint64_t span_us,
                   struct sample *ret);
/* *ret -= *earlier, but for what is no sum. */
void sample_subtract(struct sample_node *ret, const struct sample_node *earlier);

struct history_point {
    uint64_t at_us;
    struct sample_node node; /* sums */
};

/* Samples of a ring, the oldest first; returns how many. */
unsigned history_points(const struct history *h, enum history_ring ring,
                        struct history_point out[HISTORY_SLOTS]);

#endif
