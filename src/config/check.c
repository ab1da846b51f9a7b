/* check.c - the rules that no option can keep alone, and what is worked out from the options; those of
 * keys are in check_keys.c.
 *
 * All faults are reported, not only the first, so that an operator mends a file in one go.
 */
#include "config/check_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/tls.h"
#include "store/ledger_url.h"
#include "store/otlp.h"

enum { HEADERS_MAX = 32 * 1024 };

size_t check_count_parts(struct str rest)
{
    struct str part;
    size_t n = 0;

    while (str_split(&rest, ',', &part))
        n++;
    return n;
}

void check_url(const struct config *c, struct report *r, enum option_id id, struct str text)
{
    struct url url;
    if (text.n && (!url_parse(text, &url) || url.userinfo.p || url.scheme == URL_UNIX))
        report_fault(r, where(c, id), "is not an address like https://host/path");
}

static void check_protocol(struct config *c, struct report *r)
{
    static const struct {
        struct str name;
        enum upstream_protocol protocol;
    } words[] = {
        {STR_INIT("1.1"), UPSTREAM_HTTP_1},
        {STR_INIT("auto"), UPSTREAM_HTTP_AUTO},
        {STR_INIT("2"), UPSTREAM_HTTP_2},
        {STR_INIT("h2c"), UPSTREAM_HTTP_2},
    };

    bool tls = c->anthropic_base_url.scheme == URL_HTTPS;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!str_eq(c->upstream_http, words[i].name))
            continue;
        c->protocol = words[i].protocol;
        bool clear = str_eq(c->upstream_http, STR("h2c"));
        if (c->protocol == UPSTREAM_HTTP_2 && clear == tls)
            report_fault(r, where(c, OPT_upstream_http),
                         clear ? "h2c is for an upstream without TLS"
                               : "2 needs an https upstream; h2c is for one without TLS");
        return;
    }
    report_fault(r, where(c, OPT_upstream_http), "\"%.*s\" is not 1.1, 2, auto or h2c",
                 STR_FMT(c->upstream_http));
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

static bool is_listened_at(const struct config *c, const struct listen *l)
{
    for (size_t i = 0; i < c->n_listen; i++)
        if (str_eq(c->listen[i].host, l->host) && c->listen[i].port == l->port)
            return l->port || str_starts(l->host, STR("unix:"));
    return false;
}

static void add_listen(struct config *c, struct report *r, struct str entry)
{
    struct str at = where(c, OPT_listen_list);
    const char *expected;
    struct listen l;

    if (!listen_parse(entry, &l, &expected))
        report_fault(r, at, "\"%.*s\" is not %s", STR_FMT(entry), expected);
    else if (l.tls && !c->tls_cert.n)
        report_fault(r, at, "\"%.*s\" needs a certificate: CCPROXY_TLS_CERT", STR_FMT(entry));
    else if (is_listened_at(c, &l))
        report_fault(r, at, "\"%.*s\" stands there twice", STR_FMT(entry));
    else if (c->n_listen == LISTEN_MAX)
        report_fault(r, at, "has more than %d addresses", LISTEN_MAX);
    else
        c->listen[c->n_listen++] = l;
}

static void check_listen(struct config *c, struct report *r)
{
    struct str rest = c->listen_list, entry;

    while (rest.n && str_split(&rest, ',', &entry))
        add_listen(c, r, str_trim(entry));
    if (c->listen_list.n)
        return;
    if (!listen_is_host(c->host))
        report_fault(r, where(c, OPT_host), "\"%.*s\" is not an IPv4 or IPv6 address or unix:/path",
                     STR_FMT(c->host));
    c->n_listen = 1;
    c->listen[0] = (struct listen){.host = c->host,
                                   .port = (uint16_t)c->port,
                                   .tls = c->tls_cert.n > 0,
                                   .proxies = c->proxy_protocol_from.n > 0,
                                   .serves = SERVES_CLIENTS | SERVES_OPERATORS};
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

static void read_blocks(struct config *c, struct report *r, enum option_id id, struct str list,
                        struct address_blocks *ret)
{
    struct str bad;

    if (!address_blocks_parse(list, &c->arena, ret, &bad))
        report_fault(r, where(c, id),
                     "\"%.*s\" is not an address, a block like 10.0.0.0/8, or unix", STR_FMT(bad));
}

/* Whom to believe, and where: neither half means anything alone. */
static void check_proxies(struct config *c, struct report *r)
{
    bool listens = false;

    read_blocks(c, r, OPT_trusted_proxies, c->trusted_proxies, &c->proxies);
    read_blocks(c, r, OPT_proxy_protocol_from, c->proxy_protocol_from, &c->header_from);
    for (size_t i = 0; i < c->n_listen; i++)
        listens = listens || c->listen[i].proxies;
    if (listens && !c->proxy_protocol_from.n)
        report_fault(r, where(c, OPT_listen_list),
                     "proxy_protocol needs the proxies: CCPROXY_PROXY_PROTOCOL_FROM");
    if (c->proxy_protocol_from.n && !listens)
        report_fault(r, where(c, OPT_proxy_protocol_from),
                     "no entry of CCPROXY_LISTEN has the word proxy_protocol");
}

static void check_model_limits(struct config *c, struct report *r)
{
    const char *expected;

    if (c->model_limits_map.n &&
        !model_limits_parse(c->model_limits_map, &c->arena, &c->model_limits, &expected))
        report_fault(r, where(c, OPT_model_limits_map), "is not %s", expected);
}

/* scheme://host[:port], as browsers write it. */
static bool is_origin(struct str s)
{
    size_t at = str_find_str(s, STR("://"));
    struct str host = at < s.n ? str_skip(s, at + 3) : STR("");

    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] <= ' ' || host.p[i] > '~' || strchr("/?#@,", host.p[i]))
            return false;
    return at > 0 && host.n > 0;
}

static void check_origins(const struct config *c, struct report *r)
{
    struct str rest = c->cors_origins.n ? c->cors_origins : STR_NONE, part;

    while (str_split(&rest, ',', &part))
        if (!str_eq(str_trim(part), STR("*")) && !is_origin(str_trim(part)))
            report_fault(r, where(c, OPT_cors_origins),
                         "\"%.*s\" is not an origin like https://app.example.com, or *",
                         STR_FMT(str_trim(part)));
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

/* The parts of a list of paths, terminated. */
static const char **split_paths(struct config *c, struct str list, size_t *ret_n)
{
    size_t n = list.n ? check_count_parts(list) : 0;
    const char **paths = arena_zalloc(&c->arena, (n + 1) * sizeof(*paths));
    struct str part;
    *ret_n = 0;
    while (list.n && str_split(&list, ',', &part))
        paths[(*ret_n)++] = arena_printf(&c->arena, "%.*s", STR_FMT(str_trim(part))).p;
    return paths;
}

/* It is served even so: whoever is told can do something about it, and some clients look away. */
static void warn_of_expiry(const struct config *c, struct report *r)
{
    uint64_t now = clock_wall_us(), notice = (uint64_t)c->tls_expiry_notice;
    char when[CLOCK_TEXT];

    for (size_t i = 0; i < tls_server_certs(c->tls); i++) {
        struct tls_about about = tls_server_about(c->tls, i);
        bool early = now < about.begins_us, late = now >= about.ends_us;

        if (about.must_staple && !(about.asks && c->tls_stapling))
            report_warning(r, where(c, OPT_tls_cert),
                           "the certificate of %.*s must be stapled, but %s", STR_FMT(about.name),
                           about.asks ? "CCPROXY_TLS_STAPLING is off"
                                      : "names no responder, or its issuer is not in the file");

        if (early || now + notice >= about.ends_us)
            report_warning(r, where(c, OPT_tls_cert), "the certificate of %.*s %s %.*s",
                           STR_FMT(about.name),
                           early  ? "is not valid before"
                           : late ? "expired on"
                                  : "expires on",
                           STR_FMT(clock_rfc3339(early ? about.begins_us : about.ends_us, when)));
    }
}

static void read_tls(struct config *c, struct report *r)
{
    struct tls_server_options o = {
        .modern = str_eq(c->tls_profile, STR("modern")),
        .http2 = c->http2,
    };
    size_t n_keys;
    const char **certs = split_paths(c, c->tls_cert, &o.n);
    const char **keys = split_paths(c, c->tls_key, &n_keys);
    struct tls_files *files = arena_zalloc(&c->arena, (o.n + 1) * sizeof(*files));
    char error[TLS_ERROR];
    if (n_keys && n_keys != o.n) {
        report_fault(r, where(c, OPT_tls_key), "names %zu keys for %zu certificates", n_keys, o.n);
        return;
    }
    if (!o.n)
        return;
    for (size_t i = 0; i < o.n; i++)
        files[i] = (struct tls_files){.cert = certs[i], .key = n_keys ? keys[i] : NULL};
    o.files = files;
    o.client_ca = c->tls_client_ca.p;
    o.client_required = str_eq(c->tls_client_auth, STR("required"));
    c->tls = tls_server_new(&o, error, sizeof(error));
    if (!c->tls)
        report_fault(r, where(c, OPT_tls_cert), "%s", error);
    warn_of_expiry(c, r);
}

/* What is asked of clients, and what is known of them. */
static void check_client_certificates(const struct config *c, struct report *r)
{
    bool required = str_eq(c->tls_client_auth, STR("required"));

    if (!required && !str_eq(c->tls_client_auth, STR("optional")))
        report_fault(r, where(c, OPT_tls_client_auth), "\"%.*s\" is not optional or required",
                     STR_FMT(c->tls_client_auth));
    if (c->tls_client_ca.n && !c->tls_cert.n)
        report_fault(r, where(c, OPT_tls_client_ca), "needs a listener with TLS: CCPROXY_TLS_CERT");
    if (required && !c->tls_client_ca.n)
        report_fault(r, where(c, OPT_tls_client_auth), "required needs CCPROXY_TLS_CLIENT_CA");
    if (c->clients.certificates.n && !c->tls_client_ca.n)
        report_fault(r, where(c, OPT_clients_map),
                     "certificates of clients need CCPROXY_TLS_CLIENT_CA");
}

static void check_tls(struct config *c, struct report *r)
{
    check_client_certificates(c, r);
    if (!str_eq(c->tls_profile, STR("modern")) && !str_eq(c->tls_profile, STR("intermediate")))
        report_fault(r, where(c, OPT_tls_profile), "\"%.*s\" is not intermediate or modern",
                     STR_FMT(c->tls_profile));
    else
        read_tls(c, r);
}

static bool read_fallback(struct str word, enum fallback *ret)
{
    static const struct {
        struct str word;
        enum fallback fallback;
    } words[] = {{STR_INIT("local"), FALLBACK_LOCAL},
                 {STR_INIT("open"), FALLBACK_OPEN},
                 {STR_INIT("closed"), FALLBACK_CLOSED}};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!str_eq(words[i].word, word))
            continue;
        *ret = words[i].fallback;
        return true;
    }
    return false;
}

/* "closed", for all, or "budgets:closed". */
static bool read_fallback_of(struct fallbacks *f, struct str item)
{
    struct str word = item, kind;
    if (!str_split(&word, ':', &kind) || !word.p) {
        bool ok = read_fallback(item, &f->rates);
        f->budgets = f->concurrency = f->rates;
        return ok;
    }
    word = str_trim(word);
    if (str_eq(kind, STR("rates")))
        return read_fallback(word, &f->rates);
    if (str_eq(kind, STR("budgets")))
        return read_fallback(word, &f->budgets);
    return str_eq(kind, STR("concurrency")) && read_fallback(word, &f->concurrency);
}

static void check_fallbacks(struct config *c, struct report *r)
{
    struct str rest = c->redis_fallback, item;
    while (str_split(&rest, ',', &item)) {
        item = str_trim(item);
        if (!read_fallback_of(&c->fallbacks, item))
            report_fault(r, where(c, OPT_redis_fallback),
                         "\"%.*s\" is not local, open or closed, alone or behind rates:, budgets: "
                         "or concurrency:",
                         STR_FMT(item));
    }
}

static void check_reserve(struct config *c, struct report *r)
{
    static const struct str words[] = {[RESERVE_USUAL] = STR_INIT("usual"),
                                       [RESERVE_BOUND] = STR_INIT("bound"),
                                       [RESERVE_LOWER] = STR_INIT("lower")};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!str_eq(words[i], c->reserve_word))
            continue;
        c->reserve = (enum reserve)i;
        return;
    }
    report_fault(r, where(c, OPT_reserve_word), "\"%.*s\" is not usual, bound or lower",
                 STR_FMT(c->reserve_word));
}

static void check_redis(struct config *c, struct report *r)
{
    const char *error;
    check_fallbacks(c, r);
    if (c->redis_url.n && !redis_url_parse(&c->arena, c->redis_url, &c->redis, &error))
        report_fault(r, where(c, OPT_redis_url), "%s", error);
}

/* A password may be in it, which a complaint about a path would repeat. */
static bool is_nearly_address(struct str s)
{
    return str_starts_nocase(s, STR("postgres:")) || str_starts_nocase(s, STR("postgresql:"));
}

/* Whether the file can be written is seen when it is opened, by the user who will. */
static void check_db(struct config *c, struct report *r)
{
    char folder[4096];
    size_t end = c->db.n;

    c->records = c->db.n && !str_eq_nocase(c->db, STR("off"));
    if (!c->records)
        return;
    if (ledger_is_url(c->db)) {
        const char *fault = ledger_url_fault(c->db);
        if (fault)
            report_fault(r, where(c, OPT_db), "%s", fault);
        return;
    }
    while (end > 0 && c->db.p[end - 1] != '/')
        end--;
    (void)snprintf(folder, sizeof(folder), "%.*s", (int)(end ? end : 1), end ? c->db.p : ".");
    if (str_find_str(c->db, STR("://")) < c->db.n || is_nearly_address(c->db))
        report_fault(r, where(c, OPT_db),
                     "is an address; expected off, the path of a file or postgresql://");
    else if (end == c->db.n || c->db.n >= sizeof(folder))
        report_fault(r, where(c, OPT_db), "\"%.*s\" is not the path of a file", STR_FMT(c->db));
    else if (access(folder, F_OK) < 0)
        report_fault(r, where(c, OPT_db), "\"%s\": %s", folder, strerrordesc_np(errno));
}

/* "1", "0.25": millionths; further digits are nothing. */
static bool read_ratio(struct str s, uint32_t *ret_ppm)
{
    enum { DIGITS = 6 };

    size_t dot = str_find(s, '.');
    struct str digits = dot < s.n ? str_skip(s, dot + 1) : STR("");
    uint64_t whole, ppm = 0;
    if (!str_to_u64(str_head(s, dot), &whole) || whole > 1)
        return false;
    for (size_t i = 0; i < digits.n; i++)
        if (digits.p[i] < '0' || digits.p[i] > '9' || (whole && digits.p[i] != '0'))
            return false;
    for (size_t i = 0; i < DIGITS; i++)
        ppm = 10 * ppm + (i < digits.n ? (uint64_t)(digits.p[i] - '0') : 0);
    *ret_ppm = (uint32_t)(whole * 1000000 + ppm);
    return true;
}

static void check_headers(const struct config *c, struct report *r)
{
    struct buf lines;
    buf_init(&lines, HEADERS_MAX);
    if (!otlp_headers(c->otlp_headers, &lines))
        report_fault(r, where(c, OPT_otlp_headers),
                     "is not a list like name=value,name=value with percent-encoded values");
    if (lines.data)
        mem_wipe(lines.data, lines.cap);
    buf_done(&lines);
}

static void check_spans(struct config *c, struct report *r)
{
    bool whole = c->otlp_traces.n > 0;
    struct str base = whole ? c->otlp_traces : c->otlp_endpoint;
    c->spans = base.n > 0;
    check_headers(c, r);
    if (!read_ratio(c->span_ratio, &c->span_ppm))
        report_fault(r, where(c, OPT_span_ratio), "\"%.*s\" is not a number from 0 to 1",
                     STR_FMT(c->span_ratio));
    if (!c->spans)
        return;
    check_url(c, r, whole ? OPT_otlp_traces : OPT_otlp_endpoint, base);
    while (!whole && str_ends(base, STR("/")))
        base.n--;
    c->spans_url = arena_printf(&c->arena, "%.*s%s", STR_FMT(base), whole ? "" : "/v1/traces");
}

void check_config(struct config *c, struct report *r)
{
    check_keys(c, r);
    check_protocol(c, r);
    check_listen(c, r);
    check_dns_servers(c, r);
    check_proxies(c, r);
    check_model_limits(c, r);
    check_origins(c, r);
    check_proxy(c, r);
    check_files(c, r);
    check_tls(c, r);
    check_reserve(c, r);
    check_redis(c, r);
    check_db(c, r);
    check_spans(c, r);
    if (!log_set_levels(c->log_levels))
        report_fault(r, where(c, OPT_log_levels), "is not a list like relay:debug,keyring:error");
    if (c->debug)
        c->log_level = LOG_DEBUG;
}
