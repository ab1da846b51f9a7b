/* buf.c - the growable byte queue.
 *
 * Memory doubles from BUF_FIRST and never passes max. Before it grows, content is moved to the
 * front when that alone makes the room. It grows by realloc, so that the C library can move a large
 * buffer by remapping its pages instead of copying them. `total` sums cap over all buffers.
 */
#include "base/buf.h"

#include <stdarg.h>

#include "base/mem.h"
#include "base/text.h"

enum { BUF_FIRST = 256, PRINTF_FEW = 512 };

static size_t total;

void buf_init(struct buf *b, size_t max)
{
    ASSERT(max > 0);
    *b = (struct buf){.max = max};
}

static void drop_memory(struct buf *b)
{
    ASSERT(total >= b->cap);
    total -= b->cap;
    mem_free(b->data);
    b->data = NULL;
    b->start = b->end = b->cap = 0;
}

void buf_done(struct buf *b)
{
    drop_memory(b);
}

struct buf buf_take(struct buf *b)
{
    struct buf taken = *b;

    buf_init(b, taken.max);
    return taken;
}

void buf_release(struct buf *b)
{
    ASSERT(buf_len(b) == 0);
    drop_memory(b);
}

static void compact(struct buf *b)
{
    if (b->start == 0)
        return;
    memmove(b->data, b->data + b->start, buf_len(b));
    b->end -= b->start;
    b->start = 0;
}

static void grow(struct buf *b, size_t need)
{
    size_t cap = size_max(b->cap, BUF_FIRST);

    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    cap = size_max(size_min(cap, b->max), need);
    b->data = mem_realloc(b->data, cap);
    total += cap - b->cap;
    b->cap = cap;
}

char *buf_grow(struct buf *b, size_t n)
{
    size_t len = buf_len(b);

    if (n > b->max - len)
        return NULL;
    if (b->data)
        compact(b);
    if (!b->data || n > buf_room(b))
        grow(b, len + n);
    return b->data + b->end;
}

void buf_expect(struct buf *b, size_t n)
{
    char *room = buf_reserve(b, n);

    (void)room;
}

void buf_commit(struct buf *b, size_t n)
{
    ASSERT(n <= buf_room(b) && buf_len(b) + n <= b->max);
    b->end += n;
}

bool buf_append(struct buf *b, struct str s)
{
    char *p = buf_reserve(b, s.n);

    if (!p)
        return false;
    (void)str_copy(p, s);
    b->end += s.n;
    return true;
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    char few[PRINTF_FEW], *many;
    va_list args, again;
    bool ok;
    int n;

    va_start(args, fmt);
    va_copy(again, args);
    n = vsnprintf(few, sizeof(few), fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    if ((size_t)n < sizeof(few)) {
        ok = buf_append(b, str_of(few, (size_t)n));
    } else {
        /* Not straight into the buffer: the NUL behind the text may be one byte too much for it. */
        many = mem_alloc((size_t)n + 1);
        n = vsnprintf(many, (size_t)n + 1, fmt, again);
        ok = buf_append(b, str_of(many, (size_t)n));
        mem_free(many);
    }
    va_end(again);
    return ok;
}

bool buf_append_u64(struct buf *b, uint64_t n)
{
    char digits[TEXT_U64];

    return buf_append(b, str_of(digits, text_u64(n, digits)));
}

void buf_consume(struct buf *b, size_t n)
{
    ASSERT(n <= buf_len(b));
    b->start += n;
    if (b->start == b->end)
        b->start = b->end = 0;
}

void buf_clear(struct buf *b)
{
    b->start = b->end = 0;
}

size_t buf_total(void)
{
    return total;
}
