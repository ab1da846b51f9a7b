/* sock.c - socket addresses as text and back, and the sockets that listen.
 *
 * Listening sockets are made once, at start, outside of what a simulated kernel covers, so they use
 * the system directly; options on connections go through sys.h. A listener is tuned like a
 * connection: Linux hands its options down to what it accepts, which saves calls on each accept.
 * Accepting and connecting are left to stream.c and its users.
 */
#include "io/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/sys.h"

enum {
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_INTERVAL_S = 15,
    KEEPALIVE_PROBES = 4,
    UNIX_MODE = 0660,
};

bool sock_addr_ip(struct str ip, uint16_t port, struct sock_addr *ret)
{
    char text[INET6_ADDRSTRLEN];

    if (ip.n == 0 || ip.n >= sizeof(text) || str_find(ip, '\0') != ip.n)
        return false;
    memcpy(text, ip.p, ip.n);
    text[ip.n] = '\0';
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &ret->in4.sin_addr) == 1) {
        ret->in4.sin_family = AF_INET;
        ret->in4.sin_port = htons(port);
        ret->len = sizeof(ret->in4);
        return true;
    }
    if (inet_pton(AF_INET6, text, &ret->in6.sin6_addr) == 1) {
        ret->in6.sin6_family = AF_INET6;
        ret->in6.sin6_port = htons(port);
        ret->len = sizeof(ret->in6);
        return true;
    }
    return false;
}

bool sock_addr_unix(struct str path, struct sock_addr *ret)
{
    if (path.n == 0 || path.n >= sizeof(ret->un.sun_path) || str_find(path, '\0') != path.n)
        return false;
    memset(ret, 0, sizeof(*ret));
    ret->un.sun_family = AF_UNIX;
    memcpy(ret->un.sun_path, path.p, path.n);
    ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
    return true;
}

/* A peer that did not bind has no path, and its address ends before it. */
static struct str unix_path(const struct sock_addr *a)
{
    size_t start = offsetof(struct sockaddr_un, sun_path);

    if (a->len <= start)
        return STR("");
    return str_of(a->un.sun_path, strnlen(a->un.sun_path, a->len - start));
}

static struct str printed(const char *out, int n)
{
    return str_of(out, n < 0 ? 0 : size_min((size_t)n, SOCK_TEXT - 1));
}

struct str sock_addr_text(const struct sock_addr *a, char out[SOCK_TEXT])
{
    char ip[INET6_ADDRSTRLEN];

    switch (a->sa.sa_family) {
    case AF_INET:
        (void)inet_ntop(AF_INET, &a->in4.sin_addr, ip, sizeof(ip));
        return printed(out, snprintf(out, SOCK_TEXT, "%s:%u", ip, sock_addr_port(a)));
    case AF_INET6:
        (void)inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof(ip));
        return printed(out, snprintf(out, SOCK_TEXT, "[%s]:%u", ip, sock_addr_port(a)));
    case AF_UNIX: return printed(out, snprintf(out, SOCK_TEXT, "unix:%.*s", STR_FMT(unix_path(a))));
    default: return STR("unknown");
    }
}

struct str sock_addr_host(const struct sock_addr *a, char out[SOCK_TEXT])
{
    const struct in6_addr *in6 = &a->in6.sin6_addr;

    switch (a->sa.sa_family) {
    case AF_INET: return str_c(inet_ntop(AF_INET, &a->in4.sin_addr, out, SOCK_TEXT));
    case AF_INET6:
        /* The same client must look the same through a listener on "::" (RFC 4291 2.5.5.2). */
        if (IN6_IS_ADDR_V4MAPPED(in6))
            return str_c(inet_ntop(AF_INET, &in6->s6_addr[12], out, SOCK_TEXT));
        return str_c(inet_ntop(AF_INET6, in6, out, SOCK_TEXT));
    case AF_UNIX: return STR("unix");
    default: return STR("unknown");
    }
}

bool sock_addr_is_loopback(const struct sock_addr *a)
{
    const struct in6_addr *in6 = &a->in6.sin6_addr;

    switch (a->sa.sa_family) {
    case AF_INET: return ntohl(a->in4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(in6) ||
               (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == IN_LOOPBACKNET);
    case AF_UNIX: return true;
    default: return false;
    }
}

uint16_t sock_addr_port(const struct sock_addr *a)
{
    switch (a->sa.sa_family) {
    case AF_INET: return ntohs(a->in4.sin_port);
    case AF_INET6: return ntohs(a->in6.sin6_port);
    default: return 0;
    }
}

/* Somebody listens behind the path; EAGAIN says that his queue is full. */
static bool is_alive(const struct sock_addr *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool alive;

    if (fd < 0)
        return true; /* unknown: do not take the path away from anybody */
    alive = connect(fd, &a->sa, a->len) == 0 || errno == EAGAIN;
    (void)close(fd);
    return alive;
}

static void remove_stale(const struct sock_addr *a)
{
    struct stat st;

    if (lstat(a->un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode) && !is_alive(a))
        (void)unlink(a->un.sun_path);
}

static bool bind_unix(int fd, const struct sock_addr *a)
{
    remove_stale(a);
    /* Before bind this is the mode that the file is made with (less the umask), so there is no
     * moment in which others can connect; after it the umask does not count. */
    return fchmod(fd, UNIX_MODE) == 0 && bind(fd, &a->sa, a->len) == 0 &&
           chmod(a->un.sun_path, UNIX_MODE) == 0;
}

static bool bind_tcp(int fd, const struct sock_addr *a, bool reuse_port)
{
    const int on = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return false;
    if (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
        return false;
    sock_tune(fd, a->sa.sa_family);
    return bind(fd, &a->sa, a->len) == 0;
}

int sock_listen(const struct sock_addr *a, bool reuse_port, int backlog)
{
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool bound;
    int err;

    if (fd < 0)
        return -1;
    bound = a->sa.sa_family == AF_UNIX ? bind_unix(fd, a) : bind_tcp(fd, a, reuse_port);
    if (bound && listen(fd, backlog) == 0)
        return fd;
    err = errno;
    (void)close(fd);
    errno = err;
    return -1;
}

bool sock_local(int fd, struct sock_addr *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->len = sizeof(ret->storage);
    return getsockname(fd, &ret->sa, &ret->len) == 0;
}

void sock_tune(int fd, int family)
{
    if (family != AF_INET && family != AF_INET6)
        return;
    (void)sys_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    (void)sys_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    (void)sys_set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    (void)sys_set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    (void)sys_set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

const char *sock_error_text(int err)
{
    const char *text;

    switch (err) {
    case 0: return "no error";
    case ECONNREFUSED: return "connection refused";
    case ECONNRESET: return "connection reset by peer";
    case ECONNABORTED: return "connection aborted";
    case EPIPE: return "broken pipe";
    case ETIMEDOUT: return "connection timed out";
    case EHOSTUNREACH: return "no route to host";
    case ENETUNREACH: return "network is unreachable";
    case EADDRNOTAVAIL: return "cannot assign requested address";
    case EADDRINUSE: return "address already in use";
    case EACCES: return "permission denied";
    case ENOENT: return "no such file or directory";
    case EMFILE: return "too many open files";
    default: text = strerrordesc_np(err); return text ? text : "unknown error";
    }
}
