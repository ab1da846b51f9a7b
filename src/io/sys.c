/* sys.c - the kernel behind sys.h: each function is one system call.
 *
 * What is added: EINTR never comes out, descriptors are born non-blocking and close-on-exec, and a
 * write to a dead peer answers EPIPE instead of raising SIGPIPE. No state, no memory. tests/sim
 * links another file in this one's place, so nothing here may be relied on beyond what sys.h says.
 */
#include "io/sys.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

int sys_epoll_create(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

int sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
    return epoll_ctl(epfd, op, fd, ev);
}

int sys_epoll_wait(int epfd, struct epoll_event *evs, int max, int timeout_ms)
{
    int n = epoll_wait(epfd, evs, max, timeout_ms);

    return n < 0 && errno == EINTR ? 0 : n;
}

int sys_socket(int family, int type)
{
    return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int sys_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    int rc = connect(fd, addr, len);

    /* An interrupted connect goes on by itself; asking again would answer EALREADY. */
    if (rc < 0 && errno == EINTR)
        errno = EINPROGRESS;
    return rc;
}

int sys_accept(int fd, struct sockaddr_storage *ret_addr, socklen_t *len)
{
    int conn;

    do {
        *len = sizeof(*ret_addr);
        conn = accept4(fd, (struct sockaddr *)ret_addr, len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (conn < 0 && errno == EINTR);
    return conn;
}

static ssize_t receive(int fd, void *p, size_t n, int flags)
{
    ssize_t got;

    do
        got = recv(fd, p, n, flags);
    while (got < 0 && errno == EINTR);
    return got;
}

ssize_t sys_recv(int fd, void *p, size_t n)
{
    return receive(fd, p, n, 0);
}

ssize_t sys_peek(int fd, void *p, size_t n)
{
    return receive(fd, p, n, MSG_PEEK);
}

ssize_t sys_writev(int fd, const struct iovec *iov, int n)
{
    /* sendmsg only reads the vectors, though its type cannot say so. */
    const union {
        const struct iovec *in;
        struct iovec *out;
    } vectors = {.in = iov};
    struct msghdr msg = {.msg_iov = vectors.out};
    ssize_t sent;

    ASSERT(n >= 0);
    if (n == 1) { /* the common case; it saves the kernel a copy of the vectors */
        do
            sent = send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        return sent;
    }
    msg.msg_iovlen = size_min((size_t)n, IOV_MAX);
    do
        sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

int sys_shutdown_write(int fd)
{
    return shutdown(fd, SHUT_WR);
}

int sys_close(int fd)
{
    int rc = close(fd);

    return rc < 0 && errno == EINTR ? 0 : rc; /* Linux has let go of it in any case */
}

int sys_socket_error(int fd)
{
    int err = 0;
    socklen_t len = sizeof(err);

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? errno : err;
}

int sys_set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

void sys_set_reset_on_close(int fd)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}
