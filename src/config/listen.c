/* listen.c - see listen.h. Pure. */
#include "config/listen.h"

#include <sys/un.h>

#include "io/sock.h"

static const struct str unix_prefix = STR_INIT("unix:");

static bool is_ip(struct str s)
{
    struct sock_addr unused;
    return sock_addr_ip(s, 0, &unused);
}

bool listen_is_host(struct str host)
{
    struct sock_addr unused;
    if (str_starts(host, unix_prefix))
        return str_starts(host, STR("unix:/")) &&
               sock_addr_unix(str_skip(host, unix_prefix.n), &unused);
    return is_ip(host);
}

/* "127.0.0.1:80", "[::1]:80", "unix:/path" */
static bool read_address(struct str s, struct listen *ret)
{
    if (str_starts(s, unix_prefix)) {
        ret->host = s;
        return listen_is_host(s);
    }
    bool bracketed = str_starts(s, STR("["));
    size_t end = bracketed ? str_find(s, ']') : str_find(s, ':');
    if (end == s.n)
        return false;
    ret->host = bracketed ? str_of(s.p + 1, end - 1) : str_head(s, end);
    struct str rest = str_skip(s, end + bracketed);
    uint64_t port;
    if (!str_starts(rest, STR(":")) || !str_to_u64(str_skip(rest, 1), &port) || port > UINT16_MAX)
        return false;
    ret->port = (uint16_t)port;
    return is_ip(ret->host) && bracketed == (str_find(ret->host, ':') < ret->host.n);
}

static bool read_word(struct str word, struct listen *ret)
{
    if (str_eq(word, STR("tls")))
        ret->tls = true;
    else if (str_eq(word, STR("proxy_protocol")))
        ret->proxies = true;
    else if (str_eq(word, STR("clients")))
        ret->serves |= SERVES_CLIENTS;
    else if (str_eq(word, STR("operators")))
        ret->serves |= SERVES_OPERATORS;
    else
        return false;
    return true;
}

bool listen_parse(struct str entry, struct listen *ret, const char **ret_expected)
{
    struct str rest = str_trim(entry), word;
    *ret = (struct listen){.port = 0};
    *ret_expected = "an address like 0.0.0.0:8443, [::1]:8443 or unix:/path";
    if (!str_split(&rest, ' ', &word) || !read_address(word, ret))
        return false;
    *ret_expected =
        "an address with some of the words tls, proxy_protocol, clients and operators behind it";
    while (str_split(&rest, ' ', &word))
        if (word.n && !read_word(word, ret))
            return false;
    if (!ret->serves)
        ret->serves = SERVES_CLIENTS | SERVES_OPERATORS;
    return true;
}
