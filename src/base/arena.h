/* arena.h - a bump allocator: many small objects, one free.
 *
 * An arena belongs to one owner and dies with it; nothing in it is freed alone. Memory comes in
 * blocks that double from ARENA_FIRST up to ARENA_BLOCK; a larger object gets its own block.
 * Allocation never fails; the owner bounds what it puts in, and looks at arena_size() where a peer
 * decides how much that is.
 */
#ifndef CCPROXY_BASE_ARENA_H
#define CCPROXY_BASE_ARENA_H

#include "base/base.h"
#include "base/str.h"

enum { ARENA_FIRST = 1024, ARENA_BLOCK = 64 * 1024 };

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    char *at, *end;             /* free space in the newest block */
    size_t size;                /* bytes taken from the allocator */
};

void arena_init(struct arena *a); /* takes no memory until first use */
void arena_done(struct arena *a); /* gives all back; the arena may be used again */

NODISCARD void *arena_alloc(struct arena *a, size_t n);  /* 16-byte aligned, uninitialised */
NODISCARD void *arena_zalloc(struct arena *a, size_t n); /* zeroed */
#define ARENA_NEW(a, type) ((type *)arena_zalloc((a), sizeof(type)))

struct str arena_dup(struct arena *a, struct str s);
struct str arena_join(struct arena *a, struct str head, struct str tail);
struct str arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

static inline size_t arena_size(const struct arena *a)
{
    return a->size;
}

#endif
