/* shared.c - see shared.h. */
#include "proxy/shared.h"

enum { LIMIT_VALUES = 65536 }; /* some six for each client: a megabyte */

void shared_init(struct shared *s, const struct config *c)
{
    *s = (struct shared){
        .stash = c->stash_size ? stash_new((size_t)c->stash_size) : NULL,
        .limits = limits_new(LIMIT_VALUES),
    };
}

void shared_done(struct shared *s)
{
    stash_free(s->stash);
    limits_free(s->limits);
}

unsigned shared_join(struct shared *s)
{
    unsigned owner = 0;
    while (owner < LIMIT_OWNERS - 1 && s->owners[owner]) /* too many share the last one */
        owner++;
    s->owners[owner] = true;
    return owner;
}

void shared_leave(struct shared *s, unsigned owner)
{
    s->owners[owner] = false;
    limits_bury(s->limits, owner);
}
