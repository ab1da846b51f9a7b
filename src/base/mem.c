/* mem.c - the one allocator: malloc with a count of live blocks.
 *
 * The count is a plain integer because every process has one thread. The count belongs to the
 * process: after a fork the child goes on from its parent's. Blocks may be freed by free(3) only
 * through mem_free(), or the count drifts.
 */
#include "base/mem.h"

#include <sys/mman.h>

static size_t live;

void *mem_alloc(size_t n)
{
    void *p = malloc(n ? n : 1);

    ASSERT(p);
    live++;
    return p;
}

void *mem_zalloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);

    ASSERT(p);
    live++;
    return p;
}

void *mem_realloc(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);

    ASSERT(q);
    live += !p;
    return q;
}

void mem_free(void *p)
{
    if (!p)
        return;
    ASSERT(live > 0);
    live--;
    free(p);
}

char *mem_strdup(const char *s)
{
    size_t n = strlen(s) + 1;

    return memcpy(mem_alloc(n), s, n);
}

size_t mem_live(void)
{
    return live;
}

void mem_wipe(void *p, size_t n)
{
    if (n)
        explicit_bzero(p, n);
}

void *mem_share(size_t n)
{
    void *p =
        mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    ASSERT(p != MAP_FAILED);
    return p;
}

void mem_unshare(void *p, size_t n)
{
    ASSERT(munmap(p, n) == 0);
}
