/* sys.h - the only way to the kernel from the data path, so that a test can be the kernel.
 *
 * sys.c makes the system calls; tests/sim links its own implementation with sockets in memory, a
 * virtual clock and faults from a seed. All calls are non-blocking; results are the system's, with
 * -1 and errno for errors. EINTR never comes out.
 */
#ifndef CCPROXY_IO_SYS_H
#define CCPROXY_IO_SYS_H

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/base.h"

int sys_epoll_create(void);
int sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int sys_epoll_wait(int epfd, struct epoll_event *evs, int max, int timeout_ms); /* EINTR: 0 */

/* Close-on-exec and non-blocking. */
int sys_socket(int family, int type);
int sys_connect(int fd, const struct sockaddr *addr, socklen_t len);
int sys_accept(int fd, struct sockaddr_storage *ret_addr, socklen_t *len);
ssize_t sys_recv(int fd, void *p, size_t n);
ssize_t sys_peek(int fd, void *p, size_t n);                /* the same bytes come again */
ssize_t sys_writev(int fd, const struct iovec *iov, int n); /* never raises SIGPIPE */
int sys_shutdown_write(int fd);
int sys_close(int fd);
int sys_socket_error(int fd); /* SO_ERROR, taken */
int sys_set_option(int fd, int level, int option, int value);
/* Makes close() send a reset instead of a FIN. */
void sys_set_reset_on_close(int fd);

#endif
