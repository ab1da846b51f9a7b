/* url.c - see url.h. */
#include "wire/url.h"

#include <arpa/inet.h>

static bool has_bad_char(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c >= 0x7f || c == '?' || c == '#' || c == '\\')
            return true;
    }
    return false;
}

static bool parse_port(struct str s, uint16_t *ret)
{
    uint64_t port;
    if (!str_to_u64(s, &port) || port < 1 || port > 65535)
        return false;
    *ret = (uint16_t)port;
    return true;
}

static bool is_ipv6_text(struct str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr a;
    if (s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(AF_INET6, text, &a) == 1;
}

static bool is_host_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '.' || c == '_';
        if (!ok)
            return false;
    }
    return s.n > 0 && s.n <= 253;
}

/* host[:port] or [v6][:port] */
static bool parse_host_port(struct str s, struct url *u)
{
    struct str port = STR_NONE;
    if (s.n && s.p[0] == '[') {
        size_t close = str_find(s, ']');
        if (close == s.n)
            return false;
        u->host = str_of(s.p + 1, close - 1);
        u->is_ipv6 = true;
        struct str rest = str_skip(s, close + 1);
        if (rest.n && rest.p[0] != ':')
            return false;
        if (rest.n)
            port = str_skip(rest, 1);
        if (!is_ipv6_text(u->host))
            return false;
    } else {
        size_t colon = str_find(s, ':');
        u->host = str_head(s, colon);
        if (colon < s.n)
            port = str_skip(s, colon + 1);
        if (!is_host_name(u->host))
            return false;
    }
    return !port.p || parse_port(port, &u->port);
}

static bool parse_unix(struct str rest, struct url *u)
{
    if (str_starts(rest, STR("//")))
        rest = str_skip(rest, 2);
    u->scheme = URL_UNIX;
    u->host = rest;
    u->path = STR("");
    return rest.n > 1 && rest.p[0] == '/';
}

bool url_parse(struct str s, struct url *ret)
{
    struct url u = {0};
    if (has_bad_char(s))
        return false;
    if (str_starts_nocase(s, STR("unix:"))) {
        if (!parse_unix(str_skip(s, 5), &u))
            return false;
        *ret = u;
        return true;
    }
    bool https = str_starts_nocase(s, STR("https://"));
    if (!https && !str_starts_nocase(s, STR("http://")))
        return false;
    u.scheme = https ? URL_HTTPS : URL_HTTP;
    u.port = https ? 443 : 80;
    struct str rest = str_skip(s, https ? 8 : 7);
    struct str authority = str_head(rest, str_find(rest, '/'));
    u.path = str_skip(rest, authority.n);
    while (u.path.n && u.path.p[u.path.n - 1] == '/')
        u.path.n--;
    for (size_t i = authority.n; i > 0; i--)
        if (authority.p[i - 1] == '@') {
            u.userinfo = str_head(authority, i - 1);
            authority = str_skip(authority, i);
            break;
        }
    if (!parse_host_port(authority, &u))
        return false;
    *ret = u;
    return true;
}

/* --- NO_PROXY ------------------------------------------------------------------------------- */

struct ip {
    size_t n; /* 4 or 16 bytes; 0: not an address */
    unsigned char bytes[16];
};

static struct ip parse_ip(struct str s)
{
    struct ip ip = {0};
    char text[INET6_ADDRSTRLEN];
    if (s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
        s = str_of(s.p + 1, s.n - 2);
    if (s.n >= sizeof(text))
        return ip;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (inet_pton(AF_INET, text, ip.bytes) == 1)
        ip.n = 4;
    else if (inet_pton(AF_INET6, text, ip.bytes) == 1)
        ip.n = 16;
    return ip;
}

static bool in_block(const struct ip *ip, struct str cidr)
{
    size_t slash = str_find(cidr, '/');
    uint64_t bits;
    if (slash == cidr.n || !str_to_u64(str_skip(cidr, slash + 1), &bits))
        return false;
    struct ip net = parse_ip(str_head(cidr, slash));
    if (net.n == 0 || net.n != ip->n || bits > net.n * 8)
        return false;
    for (size_t i = 0; i < bits; i++) {
        unsigned mask = 0x80u >> (i % 8);
        if ((net.bytes[i / 8] ^ ip->bytes[i / 8]) & mask)
            return false;
    }
    return true;
}

static bool is_covered(struct str name, struct str host)
{
    if (name.n && name.p[0] == '.')
        name = str_skip(name, 1);
    if (name.n == 0 || host.n < name.n)
        return false;
    struct str tail = str_skip(host, host.n - name.n);
    bool whole = host.n == name.n || host.p[host.n - name.n - 1] == '.';
    return whole && str_eq_nocase(tail, name);
}

/* Cuts ":port" off an entry that is no IPv6 address; false when it names another port. */
static bool match_port(struct str *entry, uint16_t port)
{
    size_t colon = str_find(*entry, ':');
    if (entry->p[0] == '[') {
        size_t close = str_find(*entry, ']');
        colon = close + 1 < entry->n && entry->p[close + 1] == ':' ? close + 1 : entry->n;
    } else if (colon < entry->n &&
               str_find(str_skip(*entry, colon + 1), ':') + colon + 1 < entry->n) {
        return true; /* a bare IPv6 address or block */
    }
    if (colon >= entry->n)
        return true;
    uint16_t wanted;
    bool ok = parse_port(str_skip(*entry, colon + 1), &wanted) && wanted == port;
    *entry = str_head(*entry, colon);
    return ok;
}

bool url_no_proxy(struct str list, struct str host, uint16_t port)
{
    struct ip ip = parse_ip(host);
    struct str entry;
    while (str_split(&list, ',', &entry)) {
        entry = str_trim(entry);
        if (entry.n == 0)
            continue;
        if (str_eq(entry, STR("*")))
            return true;
        if (!match_port(&entry, port))
            continue;
        struct ip other = parse_ip(entry);
        if (ip.n && other.n == ip.n && memcmp(ip.bytes, other.bytes, ip.n) == 0)
            return true;
        if (ip.n ? in_block(&ip, entry) : is_covered(entry, host))
            return true;
    }
    return false;
}

/* "127.1", "2130706433" and "0x7f000001" are addresses to many programs, and to nobody are they names. */
static bool is_odd_number(struct str host)
{
    size_t at = host.n;
    while (at > 0 && host.p[at - 1] != '.')
        at--;
    return at < host.n && host.p[at] >= '0' && host.p[at] <= '9' && parse_ip(host).n == 0;
}

bool url_is_public(const struct url *u)
{
    static const struct str inside = STR_INIT(
        "localhost,local,internal,0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,"
        "172.16.0.0/12,192.0.0.0/24,192.168.0.0/16,198.18.0.0/15,224.0.0.0/3,"
        "::/96,::ffff:0:0/96,64:ff9b::/96,64:ff9b:1::/48,2002::/16,fc00::/7,fe80::/10,ff00::/8");
    struct str host = u->host;
    if (str_ends(host, STR(".")))
        host.n--;
    return u->scheme != URL_UNIX && !is_odd_number(host) && !url_no_proxy(inside, host, u->port);
}
