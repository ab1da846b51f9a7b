/* doors.c - see doors.h. */
#include "proc/doors.h"

#include "base/mem.h"

static bool has(const struct doors *d, const struct listeners *l)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->list[i] == l)
            return true;
    return false;
}

/* What old has for an entry, unless d has taken it already: there may be several with port 0. */
static struct listeners *find(const struct doors *old, const struct doors *d,
                              const struct listen *at)
{
    for (size_t i = 0; old && i < old->n; i++)
        if (listeners_are_for(old->list[i], at->host, at->port) && !has(d, old->list[i]))
            return old->list[i];
    return NULL;
}

static void let_go(struct listeners *l)
{
    if (--l->held > 0) {
        listeners_shrink(l, l->n_served);
        return;
    }
    listeners_close(l);
    mem_free(l);
}

/* One entry's: the old ones, or fresh ones. */
static struct listeners *take(struct listeners *old, const struct listen *at, size_t n, bool first,
                              char error[LISTENERS_ERROR])
{
    struct listeners *l = old ? old : mem_zalloc(sizeof(*l));
    bool ok =
        old ? listeners_grow(l, n, error) : listeners_open(l, at->host, at->port, n, first, error);

    l->held++;
    if (ok)
        return l;
    let_go(l);
    return NULL;
}

bool doors_open(struct doors *d, const struct config *c, const struct doors *old, size_t n,
                bool first, char error[LISTENERS_ERROR])
{
    *d = (struct doors){.n = 0};
    for (size_t i = 0; i < c->n_listen; i++) {
        struct listeners *l = take(find(old, d, &c->listen[i]), &c->listen[i], n, first, error);

        if (!l) {
            doors_close(d);
            return false;
        }
        d->list[d->n++] = l;
    }
    return true;
}

void doors_serve(const struct doors *d)
{
    for (size_t i = 0; i < d->n; i++)
        d->list[i]->n_served = d->list[i]->n;
}

void doors_close(struct doors *d)
{
    for (size_t i = 0; i < d->n; i++)
        let_go(d->list[i]);
    d->n = 0;
}

size_t doors_of(const struct doors *d, size_t place, size_t n_places, int fds[DOORS_SOCKETS],
                uint8_t entries[DOORS_SOCKETS])
{
    size_t n = 0;

    for (size_t i = 0; i < d->n; i++) {
        size_t more = listeners_of(d->list[i], place, n_places, fds + n);

        memset(entries + n, (int)i, more);
        n += more;
    }
    return n;
}

struct str doors_text(const struct doors *d, char out[DOORS_TEXT])
{
    size_t n = 0;

    for (size_t i = 0; i < d->n; i++) {
        char text[SOCK_TEXT];
        struct str one = sock_addr_text(&d->list[i]->addr, text);
        int more = snprintf(out + n, DOORS_TEXT - n, "%s%.*s", i ? ", " : "", STR_FMT(one));

        n += (size_t)more;
    }
    return str_of(out, n);
}
