/* ledger_url.c - see ledger_url.h. */
#include "store/ledger_url.h"

struct parts {
    struct str scheme; /* with "://" */
    struct str user;   /* with its password, and "@"; or empty */
    struct str hosts;
    struct str rest; /* the database and the parameters */
};

bool ledger_is_url(struct str s)
{
    return str_starts(s, STR("postgres://")) || str_starts(s, STR("postgresql://"));
}

static struct parts split(struct str s)
{
    struct parts p;
    size_t end = 0;
    p.scheme = str_head(s, str_find_str(s, STR("://")) + 3);
    s = str_skip(s, p.scheme.n);
    while (end < s.n && s.p[end] != '/' && s.p[end] != '?')
        end++;
    p.rest = str_skip(s, end);
    s = str_head(s, end);
    size_t at = str_find(s, '@');
    p.user = str_head(s, at < s.n ? at + 1 : 0);
    p.hosts = str_skip(s, p.user.n);
    return p;
}

static bool is_port(struct str s)
{
    uint64_t n;
    return str_to_u64(s, &n) && n > 0 && n <= UINT16_MAX;
}

/* "host", "host:5432", "[::1]:5432" */
static bool is_host(struct str s)
{
    if (str_starts(s, STR("["))) {
        s = str_skip(s, str_find(s, ']'));
        return s.n == 1 || (s.n > 2 && s.p[1] == ':' && is_port(str_skip(s, 2)));
    }
    size_t colon = str_find(s, ':');
    return colon == s.n || is_port(str_skip(s, colon + 1));
}

static bool are_hosts(struct str s)
{
    struct str host;
    while (str_split(&s, ',', &host))
        if (!is_host(host))
            return false;
    return true;
}

const char *ledger_url_fault(struct str s)
{
    const struct parts p = split(s);
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f)
            return "spaces and special characters must be percent-encoded";
    if (str_find(p.hosts, '@') < p.hosts.n || str_find(p.rest, '@') < p.rest.n)
        return "\"/\", \"?\" and \"@\" in a password must be percent-encoded";
    if (!are_hosts(p.hosts))
        return "expected postgresql://[user[:password]@][host[:port]][/database]";
    return NULL;
}

const char *ledger_shown(struct str where, char out[LEDGER_SHOWN])
{
    if (!ledger_is_url(where)) {
        (void)snprintf(out, LEDGER_SHOWN, "%.*s", STR_FMT(where));
        return out;
    }
    const struct parts p = split(where);
    if (ledger_url_fault(where)) { /* what is the password of it nobody knows */
        (void)snprintf(out, LEDGER_SHOWN, "%.*s...", STR_FMT(p.scheme));
        return out;
    }
    struct str rest = str_head(p.rest, str_find(p.rest, '?'));
    struct str user = str_head(p.user, str_find(p.user, ':'));
    bool cut = user.n < p.user.n; /* then so is the "@" */
    (void)snprintf(out, LEDGER_SHOWN, "%.*s%.*s%s%.*s%.*s", STR_FMT(p.scheme), STR_FMT(user),
                   cut ? "@" : "", STR_FMT(p.hosts), STR_FMT(rest));
    return out;
}
