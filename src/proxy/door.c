/* door.c - who comes in: the step authenticate, and what browsers want to know.
 *
 *   key, token or certificate -> let in
 *              -> wrong: the address owes a failure -> 401, at once or a second later
 *                                                   -> 429, when it owes too many
 *
 * An address that owes too many is refused before the signature of a token is looked at, which is what
 * an attacker could make expensive. A key is always looked up, and a token that was verified before is
 * always let in: behind one address there may be a whole company, and keys cannot be guessed.
 */
#include "proxy/door.h"

#include "base/clock.h"
#include "io/tls.h"
#include "proxy/count.h"
#include "proxy/endpoint.h"
#include "proxy/proxy_int.h"

enum { HOLD_US = 1000 * 1000, HELD_MAX = 256, ORIGIN_MAX = 512, WANTED_MAX = 2048 };

/* --- addresses ------------------------------------------------------------------------------ */

struct address door_peer(const struct sock_addr *peer)
{
    switch (peer->sa.sa_family) {
    case AF_INET: return address_v4(&peer->in4.sin_addr);
    case AF_INET6: return address_v6(&peer->in6.sin6_addr);
    default: return (struct address){.known = false};
    }
}

static bool may_call(const struct config *c, struct str origin)
{
    struct str rest = c->cors_origins.n ? c->cors_origins : STR_NONE, part;
    while (str_split(&rest, ',', &part))
        if (str_eq(str_trim(part), STR("*")) || str_eq_nocase(str_trim(part), origin))
            return origin.n > 0 && origin.n <= ORIGIN_MAX;
    return false;
}

void door_read(struct exchange *x, const struct h1_head *head)
{
    const struct config *c = x->proxy->config;
    if (c->trusted_proxies.n)
        x->address = address_of_client(&c->proxies, &x->address,
                                       h1_field_list(head, STR("x-forwarded-for"), &x->keep));
    struct str origin = c->cors_origins.n ? h1_field(head, STR("origin")) : STR_NONE;
    if (may_call(c, origin))
        x->origin = arena_dup(&x->keep, origin);
    if (x->origin.n && head->method == H1_OPTIONS)
        x->wanted = arena_dup(&x->keep, h1_field(head, STR("access-control-request-headers")));
}

/* --- credentials ---------------------------------------------------------------------------- */

/* A page of somebody's can make its own name mean this machine, and a browser here read ours for it (DNS
 * rebinding). Such a name has a dot, since nobody else's names here have none. */
static bool is_named_by_us(struct str authority)
{
    struct address literal;
    struct str host = str_head(authority, str_find(authority, ':'));
    if (str_ends(host, STR(".")))
        host.n--;
    return str_find(host, '.') == host.n || address_parse(authority, &literal) ||
           (host.n > 10 && str_eq_nocase(str_skip(host, host.n - 10), STR(".localhost")));
}

/* Operators' pages are open to this machine itself: no proxy has brought the request from elsewhere.
 * What a PROXY header calls this machine is the proxy's own. */
static bool is_operator_here(const struct exchange *x, const struct auth_fields *fields)
{
    static const struct str forwarded[] = {STR_INIT("x-forwarded-for"), STR_INIT("forwarded"),
                                           STR_INIT("via"), STR_INIT("x-real-ip")};
    struct str credential;
    bool operators = x->endpoint->right & (RIGHT_STATS | RIGHT_METRICS);
    if (!operators || x->request->proxied || !sock_addr_is_loopback(&x->request->peer) ||
        !auth_presented(fields, &credential) || credential.n ||
        !is_named_by_us(x->request->head->authority))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++)
        if (h1_field(x->request->head, forwarded[i]).p)
            return false;
    return true;
}

/* Nobody can be told apart behind a unix socket, or behind a proxy that names no client. */
static bool is_penalized(const struct exchange *x)
{
    const struct config *c = x->proxy->config;
    bool names_nobody = address_is_in(&c->proxies, &x->address) ||
                        (x->request->proxied && address_is_in(&c->header_from, &x->address));
    return c->auth_failures > 0 && x->address.known && !names_nobody;
}

static enum step_result fail_penalty(struct exchange *x, uint64_t wait_us)
{
    x->retry_after_us = (int64_t)wait_us;
    count_penalty(x);
    return exchange_fail(x, FAIL_PENALTY);
}

struct door {
    struct exchange *exchange;
    struct timer timer;
};

static void on_time(struct timer *t)
{
    struct door *d = CONTAINER_OF(t, struct door, timer);
    exchange_fail(d->exchange, FAIL_UNAUTHENTICATED);
}

static enum step_result hold_back(struct exchange *x)
{
    struct proxy *p = x->proxy;
    struct door *d = x->door = ARENA_NEW(&x->keep, struct door);
    *d = (struct door){.exchange = x};
    timer_init(&d->timer, "door", on_time);
    timer_after(p->loop, &d->timer, HOLD_US);
    p->n_held++;
    return STEP_WAIT;
}

void door_let_go(struct exchange *x)
{
    timer_stop(x->proxy->loop, &x->door->timer);
    x->proxy->n_held--;
}

static enum step_result fail_credential(struct exchange *x)
{
    struct proxy *p = x->proxy;
    uint64_t wait_us = 0, most = (uint64_t)p->config->auth_failures;
    enum penalty penalty = PENALTY_NONE;
    if (is_penalized(x))
        penalty = penalty_add(p->shared->penalties, &x->address, most, clock_us(), &wait_us);
    if (penalty == PENALTY_REFUSE)
        return fail_penalty(x, wait_us);
    count_auth(x, AUTH_REFUSED);
    if (penalty == PENALTY_SLOW && p->n_held < HELD_MAX)
        return hold_back(x);
    return exchange_fail(x, FAIL_UNAUTHENTICATED);
}

/* Whether a token is new, and its address may not have another one looked at. */
static bool is_barred(struct exchange *x, struct str token, int64_t now_s, uint64_t *ret_wait_us)
{
    struct proxy *p = x->proxy;
    return token.n > 0 && is_penalized(x) &&
           penalty_of(p->shared->penalties, &x->address, (uint64_t)p->config->auth_failures,
                      clock_us(), ret_wait_us) == PENALTY_REFUSE &&
           !keyring_knows(p->keyring, token, now_s);
}

static enum auth_result check_token(struct exchange *x, struct str token, int64_t now_s)
{
    x->client = keyring_client(x->proxy->keyring, token, now_s, &x->keep);
    return x->client ? AUTH_OK : AUTH_REFUSED;
}

/* Whose certificate the connection has shown; NULL: none that counts. */
static const struct client *certified(const struct exchange *x, int64_t now_s)
{
    const struct tls_identity *id = x->request->identity;
    if (!id)
        return NULL;
    const struct auth_certificate c = {.names = id->names, .n = id->n, .ends_s = id->ends_s};
    return auth_certified(&x->proxy->config->clients, &c, now_s);
}

/* A key or token goes before a certificate, but it must not be somebody else's. */
static enum auth_result check_both(struct exchange *x, enum auth_result result,
                                   const struct client *certified)
{
    if (result != AUTH_OK || !certified || str_eq(certified->name, x->client->name))
        return result;
    x->client = NULL;
    return AUTH_REFUSED;
}

static enum step_result judge(struct exchange *x, enum auth_result result)
{
    if (result == AUTH_OK && !client_may_come(x->client, &x->address)) {
        x->client = NULL;
        result = AUTH_REFUSED;
    }
    if (result == AUTH_REFUSED)
        return fail_credential(x);
    count_auth(x, result);
    if (result == AUTH_CONFLICT)
        return exchange_fail(x, FAIL_CREDENTIALS_DIFFER);
    if ((x->client->rights & x->endpoint->right) == 0)
        return exchange_fail_with(x, FAIL_FORBIDDEN, STR_NONE, STR_NONE,
                                  arena_printf(&x->keep, "This client lacks the right \"%s\".",
                                               right_name(x->endpoint->right)));
    return STEP_NEXT;
}

enum step_result step_authenticate(struct exchange *x)
{
    struct proxy *p = x->proxy;
    const struct h1_head *head = x->request->head;
    const int64_t now_s = (int64_t)(clock_wall_us() / 1000000);
    const struct auth_fields fields = auth_fields_of(head);
    struct str credential;
    uint64_t wait_us;
    if (x->endpoint->right == 0 || head->method == H1_OPTIONS || is_operator_here(x, &fields))
        return STEP_NEXT;
    if (!auth_presented(&fields, &credential))
        return judge(x, AUTH_CONFLICT);
    const struct client *shown = certified(x, now_s);
    if (shown && credential.n == 0) {
        x->client = shown;
        return judge(x, AUTH_OK);
    }
    if (p->keyring && is_barred(x, credential, now_s, &wait_us))
        return fail_penalty(x, wait_us);
    enum auth_result result = p->keyring
                                  ? check_token(x, credential, now_s)
                                  : auth_check(&p->config->clients, &fields, now_s, &x->client);
    return judge(x, check_both(x, result, shown));
}

/* --- pages ---------------------------------------------------------------------------------- */

void door_reply_origin(struct exchange *x)
{
    static const struct str exposed = STR_INIT(
        "X-Request-Id, Request-Id, Retry-After, Retry-After-Ms, X-Should-Retry, Openai-Version, "
        "Openai-Processing-Ms, X-Ratelimit-Limit-Requests, X-Ratelimit-Remaining-Requests, "
        "X-Ratelimit-Reset-Requests, X-Ratelimit-Limit-Tokens, X-Ratelimit-Remaining-Tokens, "
        "X-Ratelimit-Reset-Tokens, X-Ccproxy-Dropped, X-Ccproxy-Retired-Model");
    struct request *r = x->request;
    if (!x->proxy->config->cors_origins.n)
        return;
    reply_field(r, STR("Vary"), STR("Origin"));
    if (!x->origin.n)
        return;
    reply_field(r, STR("Access-Control-Allow-Origin"), x->origin);
    reply_field(r, STR("Access-Control-Expose-Headers"), exposed);
}

void door_reply_preflight(struct exchange *x, struct str methods)
{
    struct request *r = x->request;
    if (!x->origin.n)
        return;
    reply_field(r, STR("Access-Control-Allow-Methods"), methods);
    if (x->wanted.n && x->wanted.n <= WANTED_MAX) /* no cookie is ever a credential here */
        reply_field(r, STR("Access-Control-Allow-Headers"), x->wanted);
    reply_field(r, STR("Access-Control-Max-Age"), STR("600"));
}
