/* h2.c - see h2.h. */
#include "wire/h2.h"

enum h2_preface h2_preface(struct str in)
{
    size_t n = size_min(in.n, H2_PREFACE_LEN);
    if (n > 0 && memcmp(in.p, H2_PREFACE, n) != 0)
        return H2_NOT;
    return n == H2_PREFACE_LEN ? H2_YES : H2_MAYBE;
}

void h2_walk_init(struct h2_walk *w)
{
    *w = (struct h2_walk){.left = H2_PREFACE_LEN};
}

static uint32_t read_u32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool h2_walk_next(struct h2_walk *w, struct str in, size_t *at, struct h2_frame *ret)
{
    size_t skip = size_min(w->left, in.n - *at);
    *at += skip;
    w->left -= (uint32_t)skip;
    size_t take = size_min(H2_FRAME_HEAD - w->have, in.n - *at);
    if (w->left > 0 || take == 0)
        return false;
    memcpy(w->head + w->have, in.p + *at, take);
    *at += take;
    w->have += (uint32_t)take;
    if (w->have < H2_FRAME_HEAD)
        return false;
    *ret = (struct h2_frame){
        .length = read_u32(w->head) >> 8,
        .type = w->head[3],
        .flags = w->head[4],
        .stream = read_u32(w->head + 5) & INT32_MAX, /* the first bit is reserved */
    };
    w->left = ret->length;
    w->have = 0;
    return true;
}
