/* mem.c - the one allocator: malloc with a count of live blocks, and spares of small sizes.
 *
 * The count is a plain integer because every process has one thread. The count belongs to the
 * process: after a fork the child goes on from its parent's. Blocks may be freed by free(3) only
 * through mem_free(), or the count drifts.
 *
 * The C library has seven freed blocks of each size at hand, up to 1032 bytes; what is more or
 * larger it merges, sorts and cuts again. A turn of the loop begins and ends dozens of exchanges,
 * so what they are made of waits here, by size. Not under sanitizers, which would not see that it is
 * free.
 */
#include "base/mem.h"

#include <malloc.h>
#include <sys/mman.h>

enum { GRAIN = 64, SPARE_MIN = 2 * GRAIN, SPARE_MAX = 4096, SPARES_EACH = 64 };

struct spare {
    struct spare *next;
};

static struct {
    struct spare *first;
    unsigned n;
} spares[SPARE_MAX / GRAIN + 1]; /* by room, in grains */

static size_t live;

#ifdef CCPROXY_SANITIZED /* by gcc or clang */
static const bool keeps_spares = false;
#else
static const bool keeps_spares = true;
#endif

static void *take_block(size_t n)
{
    size_t grains = (n + GRAIN - 1) / GRAIN;
    struct spare *spare;

    if (!keeps_spares || n <= SPARE_MIN - GRAIN || n > SPARE_MAX)
        return malloc(n ? n : 1);
    spare = spares[grains].first;
    if (!spare)
        return malloc(grains * GRAIN);
    spares[grains].first = spare->next;
    spares[grains].n--;
    return spare;
}

static bool keep_spare(void *p)
{
    size_t n = malloc_usable_size(p), grains = n / GRAIN;
    struct spare *spare = p;

    if (!keeps_spares || n < SPARE_MIN || grains > SPARE_MAX / GRAIN ||
        spares[grains].n == SPARES_EACH)
        return false;
    spare->next = spares[grains].first;
    spares[grains].first = spare;
    spares[grains].n++;
    return true;
}

void *mem_alloc(size_t n)
{
    void *p = take_block(n);

    ASSERT(p);
    live++;
    return p;
}

void *mem_zalloc(size_t n)
{
    if (n > SPARE_MAX) { /* fresh pages are zero, and calloc knows which are */
        void *p = calloc(1, n);
        ASSERT(p);
        live++;
        return p;
    }
    return memset(mem_alloc(n), 0, n);
}

/* What is small is moved by hand: the library's own way there passes by all that it has at hand. */
static void *resize_block(void *p, size_t n)
{
    size_t room = malloc_usable_size(p);
    void *q;

    if (!keeps_spares || n > SPARE_MAX || room > SPARE_MAX)
        return realloc(p, n ? n : 1);
    q = take_block(n);
    ASSERT(q);
    memcpy(q, p, size_min(room, n));
    if (!keep_spare(p))
        free(p);
    return q;
}

void *mem_realloc(void *p, size_t n)
{
    void *q = p ? resize_block(p, n) : take_block(n);

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
    if (!keep_spare(p))
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
