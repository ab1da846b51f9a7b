/* dns.c - names to addresses: c-ares asks, this file remembers, shares and orders.
 *
 *   dns_lookup --literal, localhost, hosts file, fresh entry--> fn, at once
 *        |
 *        +--> entry: IDLE --ask--> ASKING --answer--> TELLING --end of the turn--> IDLE
 *             (a name)               all lookups of the name wait on the entry's one question
 *
 * c-ares calls back in the middle of its own work, so its answers are passed on by a deferred call:
 * the users' functions may look up, cancel and close what they like. An entry is never dropped
 * while it is not IDLE. A query belongs to this file until its fn is called or it is cancelled.
 * Choosing among the addresses is left to the dialler.
 */
#include "io/dns.h"

#include <ares.h>
#include <netdb.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    ENTRIES_MAX = 256,
    HOSTS_MAX = 1024,
    HOSTS_LINE = 1024,
    NAME_MAX_LEN = 254, /* RFC 1035 section 2.3.4 as text, and a trailing dot */
    TRY_TIMEOUT_MS = 2000,
    TRIES = 3,
    SECOND_US = 1000 * 1000,
    TTL_MIN_S = 1,
    TTL_MAX_S = 3600,
    FAILURE_TTL_S = 1,
    STALE_S = 3600,
};

struct dns {
    struct loop *loop;
    ares_channel channel;
    struct timer timer;  /* c-ares' next time-out */
    struct list entries; /* the last used first */
    size_t n_entries;
    struct list hosts;   /* struct host, from the hosts file */
    struct list sockets; /* struct socket, c-ares' own */
    bool closing;
};

struct host {
    struct list node;
    struct sock_addr addr;
    char name[];
};

struct socket {
    struct list node;
    struct io_watch watch;
    struct deferred later; /* frees it */
    struct dns *dns;
    int fd;
    bool writing;
};

enum state { DNS_IDLE, DNS_ASKING, DNS_TELLING };

struct entry {
    struct list node;
    struct dns *dns;
    struct list queries;
    struct deferred tell;
    enum state state;
    uint64_t fresh_until_us;
    uint64_t stale_until_us; /* of addrs */
    const char *error;       /* static; NULL when addrs can be used */
    struct sock_addr *addrs;
    size_t n;
    char name[];
};

struct dns_query {
    struct list node; /* on entry->queries */
    uint16_t port;
    dns_fn *fn;
    void *ctx;
};

/* --- c-ares' sockets and time-outs --- */

static void schedule(struct dns *d)
{
    struct timeval tv;

    if (!ares_timeout(d->channel, NULL, &tv)) {
        timer_stop(d->loop, &d->timer);
        return;
    }
    /* A millisecond more than asked for: c-ares compares with a clock of its own. */
    timer_after(d->loop, &d->timer,
                (uint64_t)tv.tv_sec * SECOND_US + (uint64_t)tv.tv_usec + SECOND_US / 1000);
}

static void on_timer(struct timer *t)
{
    struct dns *d = CONTAINER_OF(t, struct dns, timer);

    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    schedule(d);
}

/* c-ares expects levels. For reading the loop has them; while it wants to write (TCP only) the
 * edges are armed anew after each event, which comes to the same. */
static void arm(struct socket *s)
{
    bool ok;

    loop_unwatch(s->dns->loop, &s->watch);
    s->watch.fd = s->fd;
    ok = s->writing ? loop_watch(s->dns->loop, &s->watch)
                    : loop_watch_level(s->dns->loop, &s->watch);
    (void)ok; /* without a watch the question times out */
}

static void on_socket(struct io_watch *w, unsigned events)
{
    struct socket *s = CONTAINER_OF(w, struct socket, watch);
    struct dns *d = s->dns;

    ares_process_fd(d->channel, events & IO_READ ? s->fd : ARES_SOCKET_BAD,
                    events & IO_WRITE ? s->fd : ARES_SOCKET_BAD);
    if (s->fd >= 0 && s->writing)
        arm(s);
    schedule(d);
}

static void free_socket(struct deferred *later)
{
    mem_free(CONTAINER_OF(later, struct socket, later));
}

static struct socket *find_socket(struct dns *d, int fd)
{
    struct socket *s;

    list_each (it, &d->sockets) {
        s = CONTAINER_OF(it, struct socket, node);
        if (s->fd == fd)
            return s;
    }
    s = mem_zalloc(sizeof(*s));
    s->dns = d;
    s->fd = fd;
    s->watch = (struct io_watch){.fd = -1, .fn = on_socket, .name = "dns"};
    deferred_init(&s->later, free_socket);
    list_push(&d->sockets, &s->node);
    return s;
}

static void on_socket_state(void *ctx, ares_socket_t fd, int readable, int writable)
{
    struct socket *s = find_socket(ctx, fd);

    if (!readable && !writable) { /* c-ares is about to close it */
        loop_unwatch(s->dns->loop, &s->watch);
        list_remove(&s->node);
        s->fd = -1;
        loop_defer(s->dns->loop, &s->later);
        return;
    }
    if (s->watch.fd >= 0 && s->writing == (writable != 0))
        return;
    s->writing = writable != 0;
    arm(s);
}

/* --- the hosts file --- */

static void add_host(struct dns *d, const struct sock_addr *addr, struct str name)
{
    struct host *h = mem_zalloc(sizeof(*h) + name.n + 1);

    h->addr = *addr;
    memcpy(h->name, name.p, name.n);
    list_push(&d->hosts, &h->node);
}

/* The next word of *rest; false at the end of the line or at a comment. */
static bool next_word(struct str *rest, struct str *ret)
{
    size_t n = 0;

    *rest = str_trim(*rest);
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t' && rest->p[n] != '#')
        n++;
    *ret = str_head(*rest, n);
    *rest = str_skip(*rest, n);
    return n > 0;
}

static void read_hosts(struct dns *d)
{
    FILE *f = fopen("/etc/hosts", "re");
    char line[HOSTS_LINE];
    size_t n = 0;

    while (f && fgets(line, sizeof(line), f)) {
        struct str rest = str_c(line), word;
        struct sock_addr addr;

        if (!next_word(&rest, &word) || !sock_addr_ip(word, 0, &addr))
            continue;
        while (n < HOSTS_MAX && next_word(&rest, &word)) {
            add_host(d, &addr, word);
            n++;
        }
    }
    if (f)
        (void)fclose(f);
}

/* --- answers --- */

static void set_port(struct sock_addr *a, uint16_t port)
{
    if (a->sa.sa_family == AF_INET)
        a->in4.sin_port = htons(port);
    else
        a->in6.sin6_port = htons(port);
}

static void tell(const struct sock_addr *from, size_t n, const char *error, uint16_t port,
                 dns_fn *fn, void *ctx)
{
    struct sock_addr addrs[DNS_ADDRS_MAX];

    for (size_t i = 0; i < n; i++) {
        addrs[i] = from[i];
        set_port(&addrs[i], port);
    }
    fn(ctx, addrs, n, error);
}

static void tell_entry(const struct entry *e, uint16_t port, dns_fn *fn, void *ctx)
{
    tell(e->addrs, e->error ? 0 : e->n, e->error, port, fn, ctx);
}

static void on_tell(struct deferred *later)
{
    struct entry *e = CONTAINER_OF(later, struct entry, tell);
    struct list *node;

    while ((node = list_pop(&e->queries)) != NULL) {
        struct dns_query q = *CONTAINER_OF(node, struct dns_query, node);

        mem_free(CONTAINER_OF(node, struct dns_query, node));
        tell_entry(e, q.port, q.fn, q.ctx);
    }
    e->state = DNS_IDLE;
}

static const char *error_text(int status)
{
    switch (status) {
    case ARES_ENOTFOUND: return "no such host name";
    case ARES_ENODATA: return "host name has no address";
    case ARES_ETIMEOUT: return "name server did not answer";
    case ARES_ECONNREFUSED: /* c-ares says so after any refusal by the last server */
        return "name servers failed or cannot be reached";
    case ARES_EBADNAME: return "not a host name";
    default: return ares_strerror(status);
    }
}

static const struct ares_addrinfo_node *next_of(const struct ares_addrinfo_node *at, int family)
{
    while (at && at->ai_family != family)
        at = at->ai_next;
    return at;
}

static void copy_addr(struct sock_addr *to, const struct ares_addrinfo_node *from)
{
    memset(to, 0, sizeof(*to));
    to->len = from->ai_addrlen;
    memcpy(&to->storage, from->ai_addr, size_min(from->ai_addrlen, sizeof(to->storage)));
}

/* "a client SHOULD interleave address families" (RFC 8305 section 4), IPv6 first. */
static size_t interleave(const struct ares_addrinfo_node *nodes, struct sock_addr *ret)
{
    const struct ares_addrinfo_node *v6 = next_of(nodes, AF_INET6), *v4 = next_of(nodes, AF_INET);
    bool turn_v6 = true;
    size_t n;

    for (n = 0; n < DNS_ADDRS_MAX && (v6 || v4); n++) {
        bool take_v6 = v6 && (turn_v6 || !v4);
        const struct ares_addrinfo_node **from = take_v6 ? &v6 : &v4;

        copy_addr(&ret[n], *from);
        *from = next_of((*from)->ai_next, (*from)->ai_family);
        turn_v6 = !take_v6;
    }
    return n;
}

static uint64_t seconds(int s)
{
    return (uint64_t)s * SECOND_US;
}

static uint64_t ttl_us(const struct ares_addrinfo *info)
{
    int ttl_s = TTL_MAX_S;

    for (const struct ares_addrinfo_node *at = info->nodes; at; at = at->ai_next)
        ttl_s = at->ai_ttl < ttl_s ? at->ai_ttl : ttl_s;
    for (const struct ares_addrinfo_cname *at = info->cnames; at; at = at->next)
        ttl_s = at->ttl < ttl_s ? at->ttl : ttl_s;
    return seconds(ttl_s > TTL_MIN_S ? ttl_s : TTL_MIN_S);
}

static void forget_addrs(struct entry *e)
{
    mem_free(e->addrs);
    e->addrs = NULL;
    e->n = 0;
}

static void accept_answer(struct entry *e, const struct ares_addrinfo *info)
{
    struct sock_addr addrs[DNS_ADDRS_MAX];

    forget_addrs(e);
    e->n = interleave(info->nodes, addrs);
    if (e->n == 0) {
        e->error = error_text(ARES_ENODATA);
        e->fresh_until_us = clock_us() + seconds(FAILURE_TTL_S);
        return;
    }
    e->addrs = mem_alloc(e->n * sizeof(*e->addrs));
    memcpy(e->addrs, addrs, e->n * sizeof(*e->addrs));
    e->error = NULL;
    e->fresh_until_us = clock_us() + ttl_us(info);
    e->stale_until_us = e->fresh_until_us + seconds(STALE_S);
}

static void accept_failure(struct entry *e, int status)
{
    /* "no such name" is the truth and ends what was known before (RFC 8767 section 4). */
    bool authoritative = status == ARES_ENOTFOUND || status == ARES_ENODATA;

    if (authoritative || clock_us() >= e->stale_until_us)
        forget_addrs(e);
    e->error = e->n ? NULL : error_text(status);
    e->fresh_until_us = clock_us() + seconds(FAILURE_TTL_S);
}

static void on_answer(void *ctx, int status, int timeouts, struct ares_addrinfo *info)
{
    struct entry *e = ctx;

    (void)timeouts;
    if (!e->dns->closing) {
        if (status == ARES_SUCCESS)
            accept_answer(e, info);
        else
            accept_failure(e, status);
        e->state = DNS_TELLING;
        loop_defer(e->dns->loop, &e->tell);
    }
    if (info)
        ares_freeaddrinfo(info);
}

/* --- entries --- */

static void free_entry(struct entry *e)
{
    struct list *node;

    while ((node = list_pop(&e->queries)) != NULL)
        mem_free(CONTAINER_OF(node, struct dns_query, node));
    deferred_cancel(&e->tell);
    list_remove(&e->node);
    e->dns->n_entries--;
    forget_addrs(e);
    mem_free(e);
}

static void evict_one(struct dns *d)
{
    for (struct list *it = d->entries.prev; it != &d->entries; it = it->prev) {
        struct entry *e = CONTAINER_OF(it, struct entry, node);

        if (e->state == DNS_IDLE) {
            free_entry(e);
            return;
        }
    }
}

static struct entry *find_entry(struct dns *d, struct str name)
{
    struct entry *e;

    list_each (it, &d->entries) {
        e = CONTAINER_OF(it, struct entry, node);
        if (str_eq_nocase(str_c(e->name), name)) {
            list_remove(&e->node);
            list_push_front(&d->entries, &e->node);
            return e;
        }
    }
    if (d->n_entries >= ENTRIES_MAX)
        evict_one(d);
    e = mem_zalloc(sizeof(*e) + name.n + 1);
    e->dns = d;
    memcpy(e->name, name.p, name.n);
    list_init(&e->queries);
    deferred_init(&e->tell, on_tell);
    list_push_front(&d->entries, &e->node);
    d->n_entries++;
    return e;
}

static void ask(struct entry *e)
{
    const struct ares_addrinfo_hints hints = {
        /* c-ares would sort by opening a socket to every address; the dialler races them instead.
         */
        .ai_flags = ARES_AI_NOSORT,
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };

    e->state = DNS_ASKING;
    ares_getaddrinfo(e->dns->channel, e->name, NULL, &hints, on_answer, e);
    schedule(e->dns);
}

/* --- the interface --- */

struct dns *dns_new(struct loop *l, const char *servers)
{
    struct dns *d = mem_zalloc(sizeof(*d));
    char lookups[] = "b"; /* not "f": that would open the hosts file for every question */
    struct ares_options options = {
        .flags = ARES_FLAG_NOALIASES, /* no file there either */
        .timeout = TRY_TIMEOUT_MS,
        .tries = TRIES,
        .lookups = lookups,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = d,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
               ARES_OPT_SOCK_STATE_CB;

    d->loop = l;
    list_init(&d->entries);
    list_init(&d->hosts);
    list_init(&d->sockets);
    timer_init(&d->timer, "dns", on_timer);
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        mem_free(d);
        return NULL;
    }
    if (ares_init_options(&d->channel, &options, mask) != ARES_SUCCESS) {
        ares_library_cleanup();
        mem_free(d);
        return NULL;
    }
    read_hosts(d);
    if (!servers || ares_set_servers_ports_csv(d->channel, servers) == ARES_SUCCESS)
        return d;
    dns_free(d);
    return NULL;
}

void dns_free(struct dns *d)
{
    struct list *node;

    if (!d)
        return;
    d->closing = true;
    ares_destroy(d->channel); /* answers what is under way, which on_answer then ignores */
    ares_library_cleanup();
    timer_stop(d->loop, &d->timer);
    while (!list_empty(&d->entries))
        free_entry(CONTAINER_OF(d->entries.next, struct entry, node));
    while ((node = list_pop(&d->hosts)) != NULL)
        mem_free(CONTAINER_OF(node, struct host, node));
    mem_free(d);
}

static struct str without_brackets(struct str host)
{
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        return str_of(host.p + 1, host.n - 2);
    return host;
}

/* RFC 6761 section 6.3: names in "localhost" are the loopback addresses and are never asked for. */
static bool is_localhost(struct str host)
{
    struct str suffix = STR(".localhost");

    if (str_ends(host, STR(".")))
        host = str_head(host, host.n - 1);
    return str_eq_nocase(host, STR("localhost")) ||
           (host.n > suffix.n && str_eq_nocase(str_skip(host, host.n - suffix.n), suffix));
}

/* What is known without asking: fills ret and returns how many. */
static size_t known(const struct dns *d, struct str host, struct sock_addr ret[DNS_ADDRS_MAX])
{
    size_t n = 0;

    if (sock_addr_ip(host, 0, &ret[0]))
        return 1;
    if (is_localhost(host))
        return sock_addr_ip(STR("::1"), 0, &ret[0]) + sock_addr_ip(STR("127.0.0.1"), 0, &ret[1]);
    list_each (it, &d->hosts) {
        const struct host *h = CONTAINER_OF(it, struct host, node);

        if (n < DNS_ADDRS_MAX && str_eq_nocase(str_c(h->name), host))
            ret[n++] = h->addr;
    }
    return n;
}

struct dns_query *dns_lookup(struct dns *d, struct str host, uint16_t port, dns_fn *fn, void *ctx)
{
    struct str name = without_brackets(host);
    struct sock_addr addrs[DNS_ADDRS_MAX];
    struct dns_query *q;
    struct entry *e;
    size_t n;

    if (name.n == 0 || name.n > NAME_MAX_LEN || str_find(name, '\0') != name.n) {
        tell(NULL, 0, "not a host name", port, fn, ctx);
        return NULL;
    }
    n = known(d, name, addrs);
    if (n > 0) {
        tell(addrs, n, NULL, port, fn, ctx);
        return NULL;
    }
    e = find_entry(d, name);
    if (e->state != DNS_ASKING && clock_us() < e->fresh_until_us) {
        tell_entry(e, port, fn, ctx);
        return NULL;
    }
    q = mem_alloc(sizeof(*q));
    *q = (struct dns_query){.port = port, .fn = fn, .ctx = ctx};
    list_push(&e->queries, &q->node);
    if (e->state == DNS_IDLE)
        ask(e);
    return q;
}

void dns_cancel(struct dns_query *q)
{
    list_remove(&q->node);
    mem_free(q);
}
