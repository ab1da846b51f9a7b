/* fuzz_url.c - addresses on arbitrary bytes: what is accepted lies in the input and comes back.
 *
 * The first line is an address, the rest a NO_PROXY list. An accepted address, written again from
 * its parts, must be accepted with the same parts.
 */
#include "base/arena.h"
#include "base/mem.h"
#include "wire/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_parts(struct str s, const struct url *u)
{
    ASSERT(u->host.n > 0 && u->host.p >= s.p && u->host.p + u->host.n <= s.p + s.n);
    ASSERT(u->path.n == 0 || (u->path.p[0] == '/' && u->path.p[u->path.n - 1] != '/'));
    ASSERT((u->port == 0) == (u->scheme == URL_UNIX));
    ASSERT(!u->is_ipv6 || u->scheme != URL_UNIX);
    for (size_t i = 0; i < s.n; i++)
        ASSERT((unsigned char)s.p[i] > ' ' && (unsigned char)s.p[i] < 0x7f);
}

static struct str write_url(struct arena *a, const struct url *u)
{
    if (u->scheme == URL_UNIX)
        return arena_printf(a, "unix://%.*s", STR_FMT(u->host));
    return arena_printf(a, "%s://%.*s%s%s%.*s%s:%u%.*s", u->scheme == URL_HTTP ? "http" : "https",
                        STR_FMT(u->userinfo), u->userinfo.p ? "@" : "", u->is_ipv6 ? "[" : "",
                        STR_FMT(u->host), u->is_ipv6 ? "]" : "", u->port, STR_FMT(u->path));
}

static void try_address(struct str s)
{
    struct arena a;
    struct url u, again;
    bool ok;

    if (!url_parse(s, &u))
        return;
    check_parts(s, &u);
    arena_init(&a);
    ok = url_parse(write_url(&a, &u), &again);
    ASSERT(ok && u.scheme == again.scheme && u.port == again.port && u.is_ipv6 == again.is_ipv6);
    ASSERT(str_eq(u.host, again.host) && str_eq(u.path, again.path));
    ASSERT(str_eq(u.userinfo, again.userinfo));
    if (u.scheme != URL_UNIX) {
        ASSERT(url_no_proxy(u.host, u.host, u.port) || u.host.p[0] == '.');
        ASSERT(!url_no_proxy(STR(""), u.host, u.port));
        ASSERT(!url_is_public(&u) || !url_no_proxy(STR("localhost,127.0.0.0/8,::1"), u.host, 1));
    }
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_of((const char *)data, size);
    struct str list, address;

    if (size == 0)
        return 0;
    address = str_head(s, str_find(s, '\n'));
    list = str_skip(s, size_min(s.n, address.n + 1));
    try_address(address);
    (void)url_no_proxy(list, STR("api.example.com"), 443);
    (void)url_no_proxy(list, STR("10.1.2.3"), 80);
    (void)url_no_proxy(list, STR("2001:db8::7"), 8080);
    (void)url_no_proxy(STR("10.0.0.0/8,[::1]:80,a.b:443,fd00::/8"), address, 443);
    ASSERT(mem_live() == 0);
    return 0;
}
