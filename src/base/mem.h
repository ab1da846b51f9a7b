/* mem.h - the one allocator. Failure aborts: exhaustion is prevented earlier, by limits.
 *
 * mem_live() is what tests hold against zero after a run; nothing in the product reads it.
 */
#ifndef CCPROXY_BASE_MEM_H
#define CCPROXY_BASE_MEM_H

#include "base/base.h"

NODISCARD void *mem_alloc(size_t n);  /* uninitialised */
NODISCARD void *mem_zalloc(size_t n); /* zeroed */
NODISCARD void *mem_realloc(void *p, size_t n);
void mem_free(void *p); /* NULL is fine */
char *mem_strdup(const char *s);

/* n zeroed bytes that this process and all it forks later see alike; pages cost memory when first
 * written. Not counted by mem_live. */
NODISCARD void *mem_share(size_t n);
void mem_unshare(void *p, size_t n);

/* Blocks handed out and not yet freed, in this process. */
size_t mem_live(void);

/* Overwrites n bytes with zeros in a way that the compiler keeps. For secrets. */
void mem_wipe(void *p, size_t n);

#endif
