/* sock.h - addresses and sockets: listening, accepting, options. */
#ifndef CCPROXY_IO_SOCK_H
#define CCPROXY_IO_SOCK_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/str.h"

enum { SOCK_TEXT = 128 };

struct sock_addr {
    socklen_t len;

    union {
        struct sockaddr sa;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage storage;
    };
};

/* An IPv4 or IPv6 literal (no brackets) with a port; false when it is none. */
NODISCARD bool sock_addr_ip(struct str ip, uint16_t port, struct sock_addr *ret);
NODISCARD bool sock_addr_unix(struct str path, struct sock_addr *ret);
/* "127.0.0.1:8000", "[::1]:8000", "unix:/path". */
struct str sock_addr_text(const struct sock_addr *a, char out[SOCK_TEXT]);
/* Only the address, for logs and limits: "127.0.0.1", "::1", "unix". */
struct str sock_addr_host(const struct sock_addr *a, char out[SOCK_TEXT]);
bool sock_addr_is_loopback(const struct sock_addr *a); /* also unix sockets */
uint16_t sock_addr_port(const struct sock_addr *a);

/* A listening, non-blocking, close-on-exec socket, or -1 with errno. reuse_port: several processes
 * may listen on the same address. A stale unix socket is replaced; its mode becomes 0660. */
int sock_listen(const struct sock_addr *a, bool reuse_port, int backlog);
/* The address a socket is bound to (for port 0). */
NODISCARD bool sock_local(int fd, struct sock_addr *ret);

/* TCP_NODELAY and keep-alive probes, where the socket has them. What sock_listen made is tuned, and
 * so is what it accepts. */
void sock_tune(int fd, int family);

/* An errno of a socket call, for logs: "connection refused". Static text, never NULL. */
const char *sock_error_text(int err);

#endif
