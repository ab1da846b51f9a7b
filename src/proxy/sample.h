/* sample.h - what the metrics are at a moment, as far as operators are shown its past. */
#ifndef CCPROXY_PROXY_SAMPLE_H
#define CCPROXY_PROXY_SAMPLE_H

#include "obs/history.h"

/* Sums over all workers, at clock_us(). */
void sample_take(const struct metrics *m, struct sample *s);

#endif
