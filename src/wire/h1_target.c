/* h1_target.c - request targets (RFC 9112 section 3.2) and Host (RFC 9110 section 7.2).
 *
 *      origin    /v1/models?limit=2             every method but CONNECT
 *      absolute  http://host:8000/v1/models     its authority must be what Host says
 *      asterisk  *                              OPTIONS only
 *      authority host:443                       CONNECT only, which nobody here serves
 *
 * Nothing is decoded or normalised: what two readers could read differently is refused, so that
 * the path can be compared as written. All spans point into the target, or into Host, except the
 * path of an absolute target that has none.
 */
#include <arpa/inet.h>

#include "wire/h1_int.h"

enum { PORT_DIGITS_MAX = 5, PORT_MAX = 65535, HOST_MAX = 255 };

struct authority {
    struct str host;
    unsigned port; /* 0: not given */
};

static bool read_port(struct str s, unsigned *ret)
{
    uint64_t port;

    if (s.n > PORT_DIGITS_MAX || !str_to_u64(s, &port) || port == 0 || port > PORT_MAX)
        return false;
    *ret = (unsigned)port;
    return true;
}

/* A registered name or IPv4 address. RFC 3986 also lets percent escapes and sub-delims stand here;
 * no real host has them, but a list in Host does. Labels are not empty, except behind a last dot.
 */
static bool is_host_name(struct str s)
{
    char before = '.';

    for (size_t i = 0; i < s.n; i++) {
        if (!(class_of(s.p[i]) & CLASS_HOST) || (s.p[i] == '.' && before == '.'))
            return false;
        before = s.p[i];
    }
    return s.n > 0 && s.n <= HOST_MAX;
}

static bool is_ipv6(struct str s) /* without the brackets */
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

/* uri-host [ ":" port ]; userinfo fails on its '@'. */
static bool read_authority(struct str s, struct authority *ret)
{
    bool is_literal = s.n > 0 && s.p[0] == '[';
    size_t n = is_literal ? str_find(s, ']') + 1 : str_find(s, ':');

    if (n > s.n)
        return false;
    *ret = (struct authority){.host = str_head(s, n)};
    if (is_literal ? !is_ipv6(str_of(s.p + 1, n - 2)) : !is_host_name(ret->host))
        return false;
    if (n == s.n)
        return true;
    return s.p[n] == ':' && read_port(str_skip(s, n + 1), &ret->port);
}

static bool is_clean(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!(class_of(s.p[i]) & CLASS_TARGET))
            return false;
        if (s.p[i] != '%')
            continue;
        if (s.n - i < 3 || hex_value(s.p[i + 1]) < 0 || hex_value(s.p[i + 2]) < 0)
            return false;
        if (s.p[i + 1] == '0' && s.p[i + 2] == '0')
            return false;
        i += 2;
    }
    return true;
}

/* Whether a ".." segment shows once escapes are decoded; escaped separators count as such, because
 * somebody behind a decoder would split there. */
static bool has_parent_segment(struct str path)
{
    size_t dots = 0, others = 0;

    for (size_t i = 0; i < path.n; i++) {
        int c = (unsigned char)path.p[i];
        if (c == '%') {
            c = hex_value(path.p[i + 1]) * 16 + hex_value(path.p[i + 2]);
            i += 2;
        }
        if (c == '/' || c == '\\') {
            if (dots == 2 && others == 0)
                return true;
            dots = others = 0;
        } else if (c == '.') {
            dots++;
        } else {
            others++;
        }
    }
    return dots == 2 && others == 0;
}

/* What follows the authority: "/path?query", both optional behind an absolute target's host. */
static enum h1_error read_path(struct h1_head *head, struct str s)
{
    size_t n = str_find(s, '?');

    if (!is_clean(s))
        return H1_BAD_TARGET;
    head->path = str_head(s, n);
    if (n < s.n)
        head->query = str_skip(s, n + 1);
    if (has_parent_segment(head->path))
        return H1_BAD_TARGET;
    return H1_OK;
}

static enum h1_error read_absolute(struct h1_head *head)
{
    struct str s = head->target;
    struct authority authority;
    size_t n = 0;

    if (str_starts_nocase(s, STR("http://")))
        s = str_skip(s, 7);
    else if (str_starts_nocase(s, STR("https://")))
        s = str_skip(s, 8);
    else
        return H1_BAD_TARGET;
    while (n < s.n && s.p[n] != '/' && s.p[n] != '?')
        n++;
    head->authority = str_head(s, n);
    if (!read_authority(head->authority, &authority) || read_path(head, str_skip(s, n)) != H1_OK)
        return H1_BAD_TARGET;
    /* RFC 9112 section 3.2.4: OPTIONS of a URI without path and query asks about the server. */
    if (head->path.n == 0)
        head->path = head->method == H1_OPTIONS && !head->query.p ? STR("*") : STR("/");
    return H1_OK;
}

static enum h1_error read_connect(struct h1_head *head)
{
    struct authority authority;

    if (!read_authority(head->target, &authority) || authority.port == 0)
        return H1_BAD_TARGET;
    head->path = head->target;
    return H1_OK;
}

enum h1_error h1_read_target(struct h1_head *head)
{
    if (head->method == H1_OTHER && str_eq(head->method_text, STR("CONNECT")))
        return read_connect(head);
    if (head->target.p[0] == '/')
        return read_path(head, head->target);
    if (!str_eq(head->target, STR("*")))
        return read_absolute(head);
    if (head->method != H1_OPTIONS)
        return H1_BAD_TARGET;
    head->path = head->target;
    return H1_OK;
}

/* RFC 9112 section 3.2.2: an absolute target replaces Host. A peer that sends two different ones
 * means to be read differently by somebody, and is refused. */
static bool agrees(const struct h1_head *head, const struct authority *host)
{
    unsigned standard_port = str_starts_nocase(head->target, STR("https:")) ? 443 : 80;
    struct authority target;
    bool was_checked = read_authority(head->authority, &target);

    ASSERT(was_checked);
    if (!str_eq_nocase(target.host, host->host))
        return false;
    return (target.port ? target.port : standard_port) == (host->port ? host->port : standard_port);
}

enum h1_error h1_read_host(struct h1_head *head)
{
    struct str text = head->known[H1_HOST];
    struct authority host;

    /* RFC 9112 section 3.2: 400 to any HTTP/1.1 request that lacks Host, has two or a bad one. */
    if (!text.p)
        return head->http10 ? H1_OK : H1_BAD_HOST;
    if (!read_authority(text, &host))
        return H1_BAD_HOST;
    if (!head->authority.p)
        head->authority = text;
    else if (!agrees(head, &host))
        return H1_BAD_HOST;
    return H1_OK;
}
