/* listeners.c - see listeners.h. Workers get descriptors by being forked; nothing is sent around.
 */
#include "proc/listeners.h"

#include <errno.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static bool is_unix(const struct listeners *l)
{
    return l->addr.sa.sa_family == AF_UNIX;
}

static bool parse(struct str host, uint16_t port, struct sock_addr *ret)
{
    const struct str prefix = STR("unix:");

    if (str_starts(host, prefix))
        return sock_addr_unix(str_skip(host, prefix.n), ret);
    return sock_addr_ip(host, port, ret);
}

static bool fail(const struct sock_addr *a, int err, char error[LISTENERS_ERROR])
{
    char text[SOCK_TEXT];

    (void)snprintf(error, LISTENERS_ERROR, "cannot listen on %.*s: %s",
                   STR_FMT(sock_addr_text(a, text)), sock_error_text(err));
    return false;
}

/* SO_REUSEPORT would let a second ccproxy of the same user in, to share the port unnoticed. Without
 * it bind(2) tells. */
static bool is_free(const struct sock_addr *a)
{
    const int on = 1;
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), err;
    bool ok;

    if (fd < 0)
        return false;
    ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
         bind(fd, &a->sa, a->len) == 0;
    err = errno;
    (void)close(fd);
    errno = err;
    return ok;
}

bool listeners_open(struct listeners *l, struct str host, uint16_t port, size_t n, bool alone,
                    char error[LISTENERS_ERROR])
{
    *l = (struct listeners){.n = 0};
    if (!parse(host, port, &l->addr)) {
        (void)snprintf(error, LISTENERS_ERROR, "cannot listen on \"%.*s\": no address",
                       STR_FMT(host));
        return false;
    }
    l->asked = l->addr;
    if (alone && !is_unix(l) && port && !is_free(&l->addr))
        return fail(&l->addr, errno, error);
    if (listeners_grow(l, n, error))
        return true;
    listeners_close(l);
    return false;
}

bool listeners_are_for(const struct listeners *l, struct str host, uint16_t port)
{
    struct sock_addr addr;

    return parse(host, port, &addr) && addr.len == l->asked.len &&
           memcmp(&addr.sa, &l->asked.sa, addr.len) == 0;
}

bool listeners_grow(struct listeners *l, size_t n, char error[LISTENERS_ERROR])
{
    size_t wanted = is_unix(l) ? 1 : n;

    ASSERT(wanted <= LISTENERS_MAX);
    while (l->n < wanted) {
        int fd = sock_listen(&l->addr, true, BACKLOG);

        if (fd < 0)
            return fail(&l->addr, errno, error);
        l->fds[l->n++] = fd;
        /* The first one may have been given a port, which the others share. */
        if (l->n == 1 && !is_unix(l) && !sock_local(fd, &l->addr))
            return fail(&l->addr, errno, error);
    }
    return true;
}

void listeners_shrink(struct listeners *l, size_t n)
{
    while (l->n > n)
        (void)close(l->fds[--l->n]);
}

void listeners_close(struct listeners *l)
{
    if (l->n && is_unix(l))
        (void)unlink(l->addr.un.sun_path);
    listeners_shrink(l, 0);
}

size_t listeners_of(const struct listeners *l, size_t place, size_t n_places,
                    int out[LISTENERS_MAX])
{
    size_t n = 0;

    if (is_unix(l)) {
        out[0] = l->fds[0];
        return l->n;
    }
    for (size_t i = place; i < l->n; i += n_places)
        out[n++] = l->fds[i];
    return n;
}
