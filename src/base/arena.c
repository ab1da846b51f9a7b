/* arena.c - blocks of doubling size, filled from the front, freed together.
 *
 *      blocks -> [head|#########....]  -> [head|########] -> [head|#####]
 *                              at  end      full               full
 *
 * An object too large for what the next block would offer gets a block of exactly its own size,
 * put behind the newest one so that the space left there is still used.
 */
#include "base/arena.h"

#include <stdarg.h>

#include "base/mem.h"

struct arena_block {
    struct arena_block *next;
    size_t size; /* with this head */
};

enum { ALIGN = 16, HEAD = (sizeof(struct arena_block) + ALIGN - 1) / ALIGN * ALIGN };

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_done(struct arena *a)
{
    struct arena_block *next;

    for (struct arena_block *b = a->blocks; b; b = next) {
        next = b->next;
        mem_free(b);
    }
    arena_init(a);
}

static struct arena_block *take_block(struct arena *a, size_t size)
{
    struct arena_block *b = mem_alloc(size);

    b->size = size;
    a->size += size;
    return b;
}

static void *alloc_alone(struct arena *a, size_t n)
{
    struct arena_block *b = take_block(a, HEAD + n);
    struct arena_block **link = a->blocks ? &a->blocks->next : &a->blocks;

    b->next = *link;
    *link = b;
    if (link == &a->blocks)
        a->at = a->end = (char *)b + b->size;
    return (char *)b + HEAD;
}

static void add_block(struct arena *a, size_t size)
{
    struct arena_block *b = take_block(a, size);

    b->next = a->blocks;
    a->blocks = b;
    a->at = (char *)b + HEAD;
    a->end = (char *)b + size;
}

/* The size of the next block: double everything so far, so that a large arena has few blocks. */
static size_t next_size(const struct arena *a)
{
    size_t size = ARENA_FIRST;

    while (size <= a->size && size < ARENA_BLOCK)
        size *= 2;
    return size;
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p;
    size_t size;

    ASSERT(n <= SIZE_MAX / 2);
    n = n ? (n + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    if ((size_t)(a->end - a->at) < n) {
        size = next_size(a);
        if (n > (size - HEAD) / 2)
            return alloc_alone(a, n);
        add_block(a, size);
    }
    p = a->at;
    a->at += n;
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    return memset(arena_alloc(a, n), 0, n);
}

struct str arena_dup(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n);

    if (s.n)
        memcpy(p, s.p, s.n);
    return str_of(p, s.n);
}

struct str arena_join(struct arena *a, struct str head, struct str tail)
{
    char *p = arena_alloc(a, head.n + tail.n + 1);

    if (head.n)
        memcpy(p, head.p, head.n);
    if (tail.n)
        memcpy(p + head.n, tail.p, tail.n);
    return str_of(p, head.n + tail.n);
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    char *p;
    int n;

    va_start(args, fmt);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    p = arena_alloc(a, (size_t)n + 1);
    ASSERT(vsnprintf(p, (size_t)n + 1, fmt, again) == n);
    va_end(again);
    return str_of(p, (size_t)n);
}
