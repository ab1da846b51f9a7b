/* rand.h - unpredictable bytes from the kernel, replaceable by a seeded source in tests. */
#ifndef CCPROXY_BASE_RAND_H
#define CCPROXY_BASE_RAND_H

#include "base/base.h"

void rand_bytes(void *p, size_t n);
uint64_t rand_u64(void);
uint64_t rand_below(uint64_t n); /* 0 .. n-1, n > 0 */

/* n characters of [A-Za-z0-9] into out (not terminated). */
void rand_alnum(char *out, size_t n);

/* Drops what is buffered, so that a forked child does not repeat its parent. */
void rand_reseed(void);
/* Replaces the source; NULL restores the kernel's. */
void rand_set_source(void (*fill)(void *p, size_t n));

#endif
