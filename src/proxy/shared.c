/* shared.c - see shared.h. */
#include "proxy/shared.h"

void shared_init(struct shared *s, const struct config *c)
{
    *s = (struct shared){.stash = c->stash_size ? stash_new((size_t)c->stash_size) : NULL};
}

void shared_done(struct shared *s)
{
    stash_free(s->stash);
}
