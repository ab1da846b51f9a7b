/* rope.c - generated text with borrowed spans noted in it.
 *
 * refs are in the order of the message; each notes where it starts in the whole, so that a sender
 * that goes on from an offset finds its place by binary search. Text between refs i and i + 1 is
 * text[refs[i].at .. refs[i + 1].at). The rope owns the text and the table, never the spans.
 */
#include "base/rope.h"

#include "base/mem.h"

enum { REFS_FIRST = 16 };

void rope_init(struct rope *r, size_t text_max)
{
    *r = (struct rope){0};
    buf_init(&r->text, text_max);
}

void rope_done(struct rope *r)
{
    buf_done(&r->text);
    mem_free(r->refs);
    r->refs = NULL;
    r->n_refs = r->cap_refs = r->borrowed = 0;
}

bool rope_add(struct rope *r, struct str s)
{
    if (s.n < ROPE_BORROW_MIN)
        return buf_append(&r->text, s);
    if (r->n_refs == r->cap_refs) {
        r->cap_refs = r->cap_refs ? r->cap_refs * 2 : REFS_FIRST;
        r->refs = mem_realloc(r->refs, r->cap_refs * sizeof(*r->refs));
    }
    r->refs[r->n_refs++] =
        (struct rope_ref){.at = buf_len(&r->text), .start = rope_len(r), .span = s};
    r->borrowed += s.n;
    return true;
}

/* How many refs start at or before offset. */
static size_t refs_before(const struct rope *r, size_t offset)
{
    size_t low = 0, high = r->n_refs, middle;

    while (low < high) {
        middle = low + (high - low) / 2;
        if (r->refs[middle].start <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest contiguous piece at offset, when n_before refs start at or before it. */
static struct str piece_at(const struct rope *r, size_t offset, size_t n_before)
{
    const struct rope_ref *ref = n_before ? &r->refs[n_before - 1] : NULL;
    size_t text_at = offset, text_end = buf_len(&r->text);

    if (ref && offset - ref->start < ref->span.n)
        return str_skip(ref->span, offset - ref->start);
    if (ref)
        text_at = ref->at + (offset - ref->start - ref->span.n);
    if (n_before < r->n_refs)
        text_end = r->refs[n_before].at;
    return str_of(buf_str(&r->text).p + text_at, text_end - text_at);
}

int rope_iov(const struct rope *r, size_t offset, struct iovec *iov, int max)
{
    size_t i = refs_before(r, offset);
    struct str piece;

    union { /* an iovec serves readv as well, so it has no const */
        const char *from;
        void *to;
    } writable;

    int n = 0;

    while (n < max && offset < rope_len(r)) {
        while (i < r->n_refs && r->refs[i].start <= offset)
            i++;
        piece = piece_at(r, offset, i);
        ASSERT(piece.p && piece.n > 0);
        writable.from = piece.p;
        iov[n].iov_base = writable.to;
        iov[n++].iov_len = piece.n;
        offset += piece.n;
    }
    return n;
}

struct str rope_flatten(const struct rope *r, struct arena *a)
{
    size_t done = 0, total = rope_len(r);
    char *out = arena_alloc(a, total);
    struct iovec piece;

    while (rope_iov(r, done, &piece, 1) == 1) {
        memcpy(out + done, piece.iov_base, piece.iov_len);
        done += piece.iov_len;
    }
    ASSERT(done == total);
    return str_of(out, total);
}
