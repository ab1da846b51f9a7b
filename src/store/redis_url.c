/* redis_url.c - see redis_url.h.
 *
 *   scheme | query (db) | userinfo (decoded) | host, port, path (url.h)
 *
 * A password without a user and a colon is refused rather than guessed: clients disagree whether
 * "redis://word@host" names a user or holds a password.
 */
#include "store/redis_url.h"

#include "base/text.h"
#include "io/sock.h"

static bool fail(const char **ret_error, const char *why)
{
    *ret_error = why;
    return false;
}

static bool parse_db(struct str s, unsigned *ret)
{
    uint64_t n;
    if (!str_to_u64(s, &n) || n > REDIS_DB_MAX)
        return false;
    *ret = (unsigned)n;
    return true;
}

static bool parse_query(struct str query, struct redis_url *ret, const char **ret_error)
{
    struct str part;
    while (str_split(&query, '&', &part)) {
        if (!str_starts(part, STR("db=")))
            return fail(ret_error, "the only parameter may be db");
        if (!parse_db(str_skip(part, 3), &ret->db))
            return fail(ret_error, "the database must be a number");
    }
    return true;
}

static bool parse_userinfo(struct arena *a, struct str s, struct redis_url *ret,
                           const char **ret_error)
{
    size_t colon = str_find(s, ':');
    if (colon == s.n)
        return fail(ret_error, "credentials must be user:password or :password");
    if (!text_percent_decode(a, str_head(s, colon), &ret->user) ||
        !text_percent_decode(a, str_skip(s, colon + 1), &ret->password))
        return fail(ret_error, "broken percent-encoding in the credentials");
    if (ret->password.n == 0)
        return fail(ret_error, "the password is empty");
    if (ret->user.n == 0)
        ret->user = STR_NONE;
    return true;
}

/* s: behind "unix:" */
static bool parse_unix(struct arena *a, struct str s, struct redis_url *ret, const char **ret_error)
{
    if (str_starts(s, STR("//"))) {
        s = str_skip(s, 2);
        struct str authority = str_head(s, str_find(s, '/'));
        s = str_skip(s, authority.n);
        if (authority.n && !str_ends(authority, STR("@")))
            return fail(ret_error, "the socket's path must be absolute");
        if (authority.n && !parse_userinfo(a, str_head(authority, authority.n - 1), ret, ret_error))
            return false;
    }
    ret->server.scheme = URL_UNIX;
    struct sock_addr unused;
    if (s.n < 2 || s.p[0] != '/')
        return fail(ret_error, "the socket's path must be absolute");
    if (!text_percent_decode(a, s, &ret->server.host))
        return fail(ret_error, "broken percent-encoding in the path");
    if (!sock_addr_unix(ret->server.host, &unused))
        return fail(ret_error, "the socket's path is too long");
    return true;
}

/* Behind the host stands a port, or url.h has put in its own scheme's default. */
static bool has_port(struct str s, const struct url *u)
{
    const char *end = u->host.p + u->host.n + (u->is_ipv6 ? 1 : 0);
    return end < s.p + s.n && *end == ':';
}

/* s: from "://" on */
static bool parse_inet(struct arena *a, struct str s, bool tls, struct redis_url *ret,
                       const char **ret_error)
{
    struct str as_http = arena_join(a, tls ? STR("https") : STR("http"), s);
    struct url *u = &ret->server;
    if (!url_parse(as_http, u))
        return fail(ret_error, "expected redis://[user:password@]host[:port][/db]");
    if (!has_port(as_http, u))
        u->port = REDIS_PORT;
    if (u->userinfo.p && !parse_userinfo(a, u->userinfo, ret, ret_error))
        return false;
    if (u->path.n && !parse_db(str_skip(u->path, 1), &ret->db))
        return fail(ret_error, "the database must be a number");
    u->userinfo = STR_NONE;
    u->path = STR("");
    return true;
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f)
            return true;
    return false;
}

bool redis_url_parse(struct arena *a, struct str s, struct redis_url *ret, const char **ret_error)
{
    *ret = (struct redis_url){0};
    if (has_control(s))
        return fail(ret_error, "spaces and special characters must be percent-encoded");
    size_t mark = str_find(s, '?');
    if (mark < s.n && !parse_query(str_skip(s, mark + 1), ret, ret_error))
        return false;
    s = str_head(s, mark);
    if (str_starts_nocase(s, STR("redis://")))
        return parse_inet(a, str_skip(s, strlen("redis")), false, ret, ret_error);
    if (str_starts_nocase(s, STR("rediss://")))
        return parse_inet(a, str_skip(s, strlen("rediss")), true, ret, ret_error);
    if (str_starts_nocase(s, STR("unix:")))
        return parse_unix(a, str_skip(s, strlen("unix:")), ret, ret_error);
    return fail(ret_error, "expected redis://, rediss:// or unix:/path");
}
