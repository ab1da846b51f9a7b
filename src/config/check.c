/* check.c - the rules that no option can keep alone, and what is worked out from the options.
 *
 *   upstream key | base URL   | client keys | then
 *   -------------+------------+-------------+---------------------------------------
 *   none         | default    | none        | demo
 *   none         | any        | any         | fault: ANTHROPIC_API_KEY
 *   some         | any        | none        | fault: CCPROXY_API_KEYS
 *
 * All faults are reported, not only the first, so that an operator mends a file in one go. Upstream
 * keys stay spans of the option's text, which config_free wipes; client keys are kept as hashes
 * only.
 */
#include "config/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/options.h"
#include "policy/route.h"

enum { KEY_MIN = 8, NAME_MAX_BYTES = 64 };

static struct str where(const struct config *c, enum option_id id)
{
    return c->given[id].where;
}

static size_t count_parts(struct str rest)
{
    struct str part;
    size_t n = 0;

    while (str_split(&rest, ',', &part))
        n++;
    return n;
}

/* What an HTTP field can carry between spaces. */
static bool is_visible(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    return true;
}

static void check_upstream_keys(struct config *c, struct report *r)
{
    struct str rest = c->anthropic_api_key, part;
    struct str at = where(c, OPT_anthropic_api_key);

    c->upstream_keys = arena_zalloc(&c->arena, count_parts(rest) * sizeof(struct str));
    while (str_split(&rest, ',', &part)) {
        struct str key = str_trim(part);
        size_t n = c->n_upstream_keys;

        if (!key.n || !is_visible(key))
            report_fault(r, at, "key %zu is empty or no key", n + 1);
        for (size_t i = 0; i < n; i++)
            if (str_eq_secret(c->upstream_keys[i], key))
                report_fault(r, at, "keys %zu and %zu are the same", i + 1, n + 1);
        c->upstream_keys[c->n_upstream_keys++] = key;
    }
    if (c->n_upstream_keys > ROUTE_KEYS_MAX)
        report_fault(r, at, "has %zu keys, at most %d are possible", c->n_upstream_keys,
                     ROUTE_KEYS_MAX);
}

static bool is_name(struct str s)
{
    if (!s.n || s.n > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];

        if (!(ch >= 'a' && ch <= 'z') && !(ch >= 'A' && ch <= 'Z') && !(ch >= '0' && ch <= '9') &&
            ch != '.' && ch != '_' && ch != '-')
            return false;
    }
    return true;
}

static void add_client_key(struct config *c, struct report *r, struct str part)
{
    struct str at = where(c, OPT_api_keys);
    size_t colon = str_find(part, ':'), n = c->n_client_keys + 1;
    bool named = colon < part.n;
    struct str key = named ? str_trim(str_skip(part, colon + 1)) : part;
    struct auth_key *k = &c->client_keys[c->n_client_keys++];

    k->name = named ? str_trim(str_head(part, colon)) : arena_printf(&c->arena, "client-%zu", n);
    k->hash = hash_sha256(key);
    if (!is_name(k->name))
        report_fault(r, at, "the name of key %zu is not 1 to %d letters, digits, '.', '_' or '-'",
                     n, NAME_MAX_BYTES);
    if (key.n < KEY_MIN)
        report_fault(r, at, "key %zu is shorter than %d characters", n, KEY_MIN);
    if (!is_visible(key))
        report_fault(r, at, "key %zu holds a space or a character that no header can carry", n);
    for (size_t i = 0; i + 1 < n; i++)
        if (hash_equal(&c->client_keys[i].hash, &k->hash))
            report_fault(r, at, "keys %zu and %zu are the same", i + 1, n);
}

static void check_client_keys(struct config *c, struct report *r)
{
    struct str rest = c->api_keys, part;

    c->client_keys = arena_zalloc(&c->arena, count_parts(rest) * sizeof(struct auth_key));
    while (str_split(&rest, ',', &part))
        add_client_key(c, r, str_trim(part));
}

static void check_keys(struct config *c, struct report *r)
{
    const struct str base = c->given[OPT_anthropic_base_url].text;

    check_upstream_keys(c, r);
    check_client_keys(c, r);
    if (c->n_upstream_keys && c->n_client_keys)
        return;
    c->demo = !c->n_upstream_keys && !c->n_client_keys &&
              str_eq(base, options[OPT_anthropic_base_url].def);
    if (c->demo)
        return;
    if (!c->n_upstream_keys)
        report_fault(r, where(c, OPT_anthropic_api_key), "is required: the upstream's key");
    if (!c->n_client_keys)
        report_fault(r, where(c, OPT_api_keys),
                     "is required: keys for your clients, separated by commas");
}

static bool is_ip(struct str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr unused;

    if (s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(AF_INET, text, &unused) == 1 || inet_pton(AF_INET6, text, &unused) == 1;
}

static void check_host(const struct config *c, struct report *r)
{
    const struct str prefix = STR("unix:/");
    bool ok = is_ip(c->host);

    if (str_starts(c->host, prefix))
        ok = c->host.n > prefix.n &&
             c->host.n - (prefix.n - 1) < sizeof(((struct sockaddr_un *)0)->sun_path);
    if (!ok)
        report_fault(r, where(c, OPT_host), "\"%.*s\" is not an IPv4 or IPv6 address or unix:/path",
                     STR_FMT(c->host));
}

/* 1.2.3.4, 1.2.3.4:53, 2001:db8::1 or [2001:db8::1]:53 */
static bool is_server(struct str s)
{
    bool bracketed = str_starts(s, STR("["));
    size_t end = bracketed ? str_find(s, ']') : str_find(s, ':');
    struct str host, port;
    uint64_t number;

    if (is_ip(s))
        return true;
    if (end == s.n)
        return false;
    host = bracketed ? str_of(s.p + 1, end - 1) : str_head(s, end);
    port = str_skip(s, end + bracketed);
    if (!is_ip(host))
        return false;
    return !port.n || (port.p[0] == ':' && str_to_u64(str_skip(port, 1), &number) && number > 0 &&
                       number <= UINT16_MAX);
}

static void check_dns_servers(const struct config *c, struct report *r)
{
    struct str rest = c->dns_servers, part;

    while (str_split(&rest, ',', &part))
        if (!is_server(str_trim(part)))
            report_fault(r, where(c, OPT_dns_servers), "\"%.*s\" is not an address[:port]",
                         STR_FMT(part));
}

static void check_proxy(const struct config *c, struct report *r)
{
    struct url url;

    if (!c->https_proxy.n)
        return;
    if (!url_parse(c->https_proxy, &url) || url.scheme != URL_HTTP || url.path.n)
        report_fault(r, where(c, OPT_https_proxy),
                     "is not an address like http://[user:password@]host:port");
}

static void check_file(const struct config *c, struct report *r, enum option_id id, struct str path)
{
    char name[4096];

    if (!path.n)
        return;
    if (path.n < sizeof(name)) {
        memcpy(name, path.p, path.n);
        name[path.n] = '\0';
        if (access(name, R_OK) == 0)
            return;
    }
    report_fault(r, where(c, id), "\"%.*s\" cannot be read: %s", STR_FMT(path),
                 path.n < sizeof(name) ? strerrordesc_np(errno) : "the name is too long");
}

static void check_files(const struct config *c, struct report *r)
{
    check_file(c, r, OPT_ca_file, c->ca_file);
    check_file(c, r, OPT_client_cert, c->client_cert);
    check_file(c, r, OPT_client_key, c->client_key);
    if (c->client_cert.n && !c->client_key.n)
        report_fault(r, where(c, OPT_client_cert), "needs CCPROXY_CLIENT_KEY as well");
    if (c->client_key.n && !c->client_cert.n)
        report_fault(r, where(c, OPT_client_key), "needs CCPROXY_CLIENT_CERT as well");
}

void check_config(struct config *c, struct report *r)
{
    check_keys(c, r);
    check_host(c, r);
    check_dns_servers(c, r);
    check_proxy(c, r);
    check_files(c, r);
    if (c->debug)
        c->log_level = LOG_DEBUG;
}
