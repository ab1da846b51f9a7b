/* buf.h - a growable queue of bytes that declares its maximum when it is made.
 *
 *      data                start               end                 cap
 *       |--- consumed ------|----- content -----|------ room -------|
 *
 * Bytes are appended at end and consumed at start; room in front is reused before memory grows.
 * A buffer that is emptied keeps its memory until buf_release() or buf_done().
 * All buffers of a process are counted together: buf_total() is what the global limit is held to.
 */
#ifndef CCPROXY_BASE_BUF_H
#define CCPROXY_BASE_BUF_H

#include "base/base.h"
#include "base/str.h"

struct buf {
    char *data;
    size_t start, end, cap;
    size_t max; /* content never exceeds this */
};

void buf_init(struct buf *b, size_t max); /* max > 0; takes no memory until first use */
void buf_done(struct buf *b);
/* Moves the content out: *b is empty afterwards and the result owns the memory. */
NODISCARD struct buf buf_take(struct buf *b);
/* Gives back the memory of an empty buffer; the buffer stays usable. */
void buf_release(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
    return b->end - b->start;
}

static inline struct str buf_str(const struct buf *b)
{
    return str_of(b->data ? b->data + b->start : NULL, b->end - b->start);
}

NODISCARD char *buf_grow(struct buf *b, size_t n); /* of buf_reserve, when there is no room */

/* Room for at least n more bytes at the returned place, or NULL when that would exceed max.
 * What is written there counts after buf_commit(). */
NODISCARD static inline char *buf_reserve(struct buf *b, size_t n)
{
    if (b->data && n <= b->cap - b->end) /* cap never exceeds max */
        return b->data + b->end;
    return buf_grow(b, n);
}

void buf_commit(struct buf *b, size_t n);
/* About n more bytes will come: takes the memory for them in one piece. Only a hint. */
void buf_expect(struct buf *b, size_t n);

static inline size_t buf_room(const struct buf *b) /* bytes that fit without growing */
{
    return b->cap - b->end;
}

/* False, and nothing appended, when it would exceed max. */
bool buf_append(struct buf *b, struct str s);
bool buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool buf_append_u64(struct buf *b, uint64_t n); /* decimal */
#define buf_lit(b, literal) buf_append((b), STR(literal))

void buf_consume(struct buf *b, size_t n); /* n <= buf_len */
void buf_clear(struct buf *b);             /* drops the content, keeps the memory */

/* Bytes of memory held by all buffers of this process. */
size_t buf_total(void);

#endif
