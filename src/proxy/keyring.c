/* keyring.c - see keyring.h.
 *
 *   IDLE --timer, or an unknown key--> DISCOVERING --jwks_uri--> FETCHING --key set--> IDLE
 *     ^          and claimed           (with an issuer only)                  |
 *     +-------------- taken from the shelf by the other workers <-------------+
 *
 * Verified tokens are remembered by the hash of the whole token until they expire: checking a
 * signature costs as much as translating a request.
 */
#include "proxy/keyring.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "http/client.h"
#include "policy/limit.h"
#include "wire/json.h"

enum {
    PROVIDERS = 4, /* whose keys are kept: of this configuration, and of those before it */
    KEYSET_TEXT = 256 * 1024 - SHELF_NAME - 2 * sizeof(uint64_t),
    REQUEST_MAX = 16 * 1024,
    REMEMBERED = 1024,
    REFRESH_US = 600 * 1000 * 1000,
    AGAIN_US = 30 * 1000 * 1000,
    TIMEOUT_US = 5 * 1000 * 1000,
    LOOK_US = 20 * 1000, /* at what another worker is being told, as long as there are no keys */
};

static const uint64_t KEEP_US = 86400ull * 1000 * 1000;

/* A key set as the provider wrote it. */
struct keyset {
    uint8_t provider[SHELF_NAME];
    uint64_t at_us; /* when it came */
    uint64_t n;
    char text[KEYSET_TEXT];
};

struct remembered {
    struct sha256 token;
    int64_t expires_s;
    uint32_t rights; /* by scope */
    uint8_t name_n;
    char name[CLIENT_NAME_MAX];
    struct str settings; /* what its claim says, or absent; owned */
};

struct keyring {
    struct loop *loop;
    struct dns *dns;
    struct tls_ctx *tls;
    const struct config *config;
    struct shelf *shelf;
    size_t place;       /* of the provider's keys there */
    struct sha256 name; /* of the provider */
    uint64_t version;   /* of what was last looked at */
    struct jwt_keys published;
    uint64_t published_at_us;
    struct jwt_rules rules;
    struct pool *pool; /* for one answer */
    struct call *call;
    struct buf request, answer;
    struct json doc;
    struct str url; /* of the key set, as discovered; owned */
    int status;
    bool answered; /* a question has ended, well or not, or its answer was there */
    bool looked;   /* a new worker asks again: a reload may be about new keys */
    uint64_t began_us;
    struct timer timer; /* to the next question; while one is open, its end */

    enum { IDLE, DISCOVERING, FETCHING } state;

    struct remembered seen[REMEMBERED];
};

static struct str provider_of(const struct config *c)
{
    return c->jwks_url.n ? c->jwks_url : c->oidc_issuer;
}

/* --- asking --- */

static const struct call_handler handler;

static bool ask(struct keyring *k, struct str text, struct str path)
{
    struct url url;
    if (!url_parse(text, &url))
        return false;
    const struct pool_options options = {
        .target = {.url = url, .tls = k->tls},
        .connect_timeout_us = (uint64_t)k->config->connect_timeout,
        .idle_timeout_us = 1000,
        .idle_max = 1,
        .head_max = 64 * 1024,
    };
    k->pool = pool_new(k->loop, k->dns, &options);
    buf_clear(&k->request);
    buf_printf(&k->request,
               "GET %.*s%.*s HTTP/1.1\r\nhost: %.*s\r\naccept: application/json\r\n"
               "user-agent: ccproxy\r\nconnection: close\r\n\r\n",
               STR_FMT(url.path), STR_FMT(path.n || url.path.n ? path : STR("/")),
               STR_FMT(url.host));
    k->status = 0;
    buf_clear(&k->answer);
    k->call = call_start(k->pool, buf_str(&k->request), NULL, &handler, k);
    timer_after(k->loop, &k->timer, TIMEOUT_US);
    return true;
}

static void forget_pool(struct keyring *k)
{
    if (k->call)
        call_cancel(k->call);
    k->call = NULL;
    if (k->pool)
        pool_free(k->pool);
    k->pool = NULL;
}

static void rest(struct keyring *k, uint64_t us)
{
    k->state = IDLE;
    k->answered = true;
    timer_after(k->loop, &k->timer, us);
}

static void begin(struct keyring *k)
{
    const struct config *c = k->config;
    bool direct = c->jwks_url.n > 0;
    k->state = direct ? FETCHING : DISCOVERING;
    if (!ask(k, provider_of(c), direct ? STR("") : STR("/.well-known/openid-configuration")))
        rest(k, AGAIN_US);
}

/* --- keys --- */

static void forget(struct remembered *r)
{
    mem_free((void *)(uintptr_t)r->settings.p);
    *r = (struct remembered){.expires_s = 0};
}

static void forget_all(struct keyring *k)
{
    for (size_t i = 0; i < REMEMBERED; i++)
        forget(&k->seen[i]);
}

static void replace(struct keyring *k, struct jwt_keys *fresh, uint64_t at_us)
{
    jwt_keys_done(&k->published);
    k->published = *fresh;
    k->published_at_us = at_us;
    forget_all(k); /* keys that are gone vouch for nothing */
}

static void share(struct keyring *k)
{
    struct str text = buf_str(&k->answer);
    ASSERT(text.p && text.n <= KEYSET_TEXT); /* it was read as a key set */
    struct keyset *set = mem_zalloc(sizeof(*set));
    memcpy(set->provider, k->name.bytes, SHELF_NAME);
    set->at_us = k->published_at_us;
    set->n = text.n;
    memcpy(set->text, text.p, text.n);
    shelf_put(k->shelf, k->place, set, clock_us() + AGAIN_US);
    k->version = shelf_version(k->shelf, k->place);
    mem_free(set);
}

/* What another worker has been given since, perhaps before this one was there. */
static bool take_shared(struct keyring *k)
{
    struct jwt_keys fresh;
    uint64_t version = shelf_version(k->shelf, k->place);
    if (version == k->version)
        return false;
    struct keyset *set = mem_alloc(sizeof(*set));
    bool ok =
        shelf_get(k->shelf, k->place, k->name.bytes, set) && clock_us() - set->at_us < KEEP_US;
    jwt_keys_init(&fresh);
    ok = ok && jwt_keys_read(&fresh, str_of(set->text, set->n));
    if (ok) {
        replace(k, &fresh, set->at_us);
        k->version = version;
    } else {
        jwt_keys_done(&fresh);
    }
    mem_free(set);
    return ok;
}

static void forget_old(struct keyring *k)
{
    struct jwt_keys none;
    if (!k->published.n || clock_us() - k->published_at_us < KEEP_US)
        return;
    LOG(LOG_ERROR, "the keys of the identity provider are too old");
    jwt_keys_init(&none);
    replace(k, &none, 0);
}

static void take_keys(struct keyring *k)
{
    struct jwt_keys fresh;
    jwt_keys_init(&fresh);
    if (k->status != 200 || !jwt_keys_read(&fresh, buf_str(&k->answer))) {
        jwt_keys_done(&fresh);
        LOG(LOG_WARN, "no keys from the identity provider, the last ones stay",
            LOG_INT("status", k->status));
        rest(k, AGAIN_US);
        return;
    }
    LOG(LOG_INFO, "keys of the identity provider", LOG_INT("keys", fresh.n));
    replace(k, &fresh, clock_us());
    share(k);
    rest(k, REFRESH_US);
}

/* Whether this worker is to ask now, which no other does then. */
static bool is_to_ask(struct keyring *k)
{
    return shelf_claim(k->shelf, k->place, k->name.bytes, AGAIN_US);
}

/* Time to look at the shelf, and to ask when what is there is old. */
static void look(struct keyring *k)
{
    uint64_t most_us = k->looked ? REFRESH_US : AGAIN_US, waited_us = clock_us() - k->began_us;
    (void)take_shared(k);
    forget_old(k);
    uint64_t age_us = clock_us() - k->published_at_us;
    k->looked = true;
    if (k->published.n && age_us < most_us)
        rest(k, REFRESH_US - age_us);
    else if (is_to_ask(k))
        begin(k);
    else if (k->published.n || waited_us > 2 * TIMEOUT_US)
        rest(k, AGAIN_US);
    else
        timer_after(k->loop, &k->timer, LOOK_US);
}

/* The document must be the issuer's own, and the key set as safe to fetch as it (OpenID Connect
 * Discovery 1.0 section 4.3). */
static bool take_document(struct keyring *k)
{
    struct str issuer = k->config->oidc_issuer;
    struct url url;
    bool https = str_starts(issuer, STR("https://"));
    if (k->status != 200 || json_parse(&k->doc, buf_str(&k->answer)) != JSON_OK)
        return false;
    struct jval root = json_root(&k->doc), uri = json_get(root, STR("jwks_uri"));
    if (!json_str_is(json_get(root, STR("issuer")), issuer) || !json_is(uri, JSON_STRING) ||
        json_is_escaped(uri))
        return false;
    struct str text = json_str_raw(uri);
    if (!url_parse(text, &url) || (https && url.scheme != URL_HTTPS) || url.scheme == URL_UNIX)
        return false;
    mem_free((void *)(uintptr_t)k->url.p);
    char *copy = mem_alloc(text.n);
    memcpy(copy, text.p, text.n);
    k->url = str_of(copy, text.n);
    return true;
}

/* A question has ended, or it is time for the next one. */
static void on_timer(struct timer *t)
{
    struct keyring *k = CONTAINER_OF(t, struct keyring, timer);
    forget_pool(k);
    switch (k->state) {
    case IDLE: look(k); break;
    case DISCOVERING:
        if (!take_document(k)) {
            LOG(LOG_WARN, "the issuer says nothing of its keys", LOG_INT("status", k->status));
            rest(k, AGAIN_US);
            break;
        }
        k->state = FETCHING;
        if (!ask(k, k->url, STR("")))
            rest(k, AGAIN_US);
        break;
    case FETCHING: take_keys(k); break;
    }
}

static void on_head(void *ctx, const struct h1_head *head)
{
    struct keyring *k = ctx;
    k->status = head->status;
}

static void on_body(void *ctx, struct str bytes)
{
    struct keyring *k = ctx;
    if (!buf_append(&k->answer, bytes))
        k->status = 0;
}

static void on_end(void *ctx)
{
    struct keyring *k = ctx;
    k->call = NULL;
    timer_after(k->loop, &k->timer, 0); /* a pool is not freed inside its own callback */
}

static void on_fail(void *ctx, enum call_failure why, const char *error)
{
    struct keyring *k = ctx;
    (void)why;
    LOG(LOG_WARN, "identity provider", LOG_CSTR("error", error));
    k->status = 0;
    on_end(k);
}

static const struct call_handler handler = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

struct shelf *keyring_shelf_new(void)
{
    return shelf_new(PROVIDERS, sizeof(struct keyset));
}

void keyring_adopt(struct shelf *s, const struct config *c)
{
    struct sha256 name = hash_sha256(provider_of(c));
    if (provider_of(c).n)
        shelf_adopt(s, name.bytes);
}

struct keyring *keyring_new(struct loop *l, struct dns *dns, struct tls_ctx *tls,
                            const struct config *c, struct shelf *s)
{
    struct keyring *k = mem_zalloc(sizeof(*k));
    k->shelf = s;
    k->name = hash_sha256(provider_of(c));
    k->place = shelf_place(s, k->name.bytes);
    k->began_us = clock_us();
    k->loop = l;
    k->dns = dns;
    k->tls = tls;
    k->config = c;
    k->rules = (struct jwt_rules){
        .issuer = c->jwt_issuer.n ? c->jwt_issuer : c->oidc_issuer,
        .audience = c->jwt_audience,
        .algs = c->jwt_algs,
        .leeway_s = c->jwt_leeway / (1000 * 1000),
        .lifetime_max_s = c->jwt_lifetime / (1000 * 1000),
        .settings = c->jwt_claim,
    };
    jwt_keys_init(&k->published);
    buf_init(&k->request, REQUEST_MAX);
    buf_init(&k->answer, KEYSET_TEXT);
    json_init(&k->doc);
    timer_init(&k->timer, "keyring", on_timer);
    if (provider_of(c).n) {
        k->answered = take_shared(k);
        timer_after(l, &k->timer, 0);
    }
    return k;
}

void keyring_free(struct keyring *k)
{
    if (!k)
        return;
    timer_stop(k->loop, &k->timer);
    forget_pool(k);
    forget_all(k);
    jwt_keys_done(&k->published);
    buf_done(&k->request);
    buf_done(&k->answer);
    json_done(&k->doc);
    mem_free((void *)(uintptr_t)k->url.p);
    mem_free(k);
}

/* --- tokens --- */

/* A name for logs and limits: the subject's, when it can be one. */
static struct str name_of(struct str subject, struct arena *a)
{
    enum { SHOWN = 8 };

    char hex[2 * SHOWN];
    if (client_is_name(subject))
        return subject;
    struct sha256 hash = hash_sha256(subject);
    text_hex(hash.bytes, SHOWN, hex);
    return arena_join(a, STR("sub-"), str_of(hex, sizeof(hex)));
}

/* "openid ccproxy:chat ccproxy:stats": scopes of ours decide; without any, the usual rights. */
static uint32_t rights_of(struct str scope)
{
    static const struct str prefix = STR_INIT("ccproxy:");
    struct str word;
    uint32_t rights = 0;
    bool any = false;
    while (str_split(&scope, ' ', &word)) {
        if (!str_starts(word, prefix))
            continue;
        any = true;
        rights |= right_of(str_skip(word, prefix.n));
    }
    return any ? rights : RIGHTS_DEFAULT;
}

/* Its own settings, over those of its scope; false when they are not to be understood, since whoever
 * wrote them may have meant less than they seem to say. */
static bool read_settings(struct keyring *k, struct client *c, struct str settings, struct arena *a)
{
    char error[CLIENTS_ERROR];
    if (settings.n == 0)
        return true;
    if (json_parse(&k->doc, settings) == JSON_OK &&
        client_read_settings(c, json_root(&k->doc), a, error))
        return true;
    LOG(LOG_DEBUG, "settings of a token", LOG_CSTR("error", error));
    return false;
}

/* NULL: what the token says of it is not to be understood. */
static const struct client *client_of(struct keyring *k, const struct remembered *r,
                                      struct arena *a)
{
    const struct clients *known = &k->config->clients;
    struct str name = str_of(r->name, r->name_n);
    for (size_t i = 0; i < known->n; i++)
        if (str_eq(known->list[i].name, name))
            return &known->list[i];
    struct client *c = ARENA_NEW(a, struct client);
    *c = (struct client){
        .name = arena_dup(a, name),
        .limit_id = limit_id(name),
        .rights = r->rights,
        .limits = {-1, -1, -1, -1, -1, -1},
    };
    return read_settings(k, c, r->settings, a) ? c : NULL;
}

static struct remembered *place_of(struct keyring *k, const struct sha256 *hash)
{
    uint32_t i;
    memcpy(&i, hash->bytes, sizeof(i));
    return &k->seen[i % REMEMBERED];
}

/* Whether another key could make it right. */
static bool is_of_the_key(enum jwt_result r)
{
    return r == JWT_UNKNOWN_KEY || r == JWT_BAD_ALGORITHM || r == JWT_BAD_SIGNATURE;
}

static bool has_provider(const struct keyring *k)
{
    return provider_of(k->config).n > 0;
}

static enum jwt_result verify(struct keyring *k, struct str token, int64_t now_s, struct arena *a,
                              struct jwt_claims *claims)
{
    const struct jwt_keys *own = k->config->jwt_keys;
    bool has_own = own && own->n;
    enum jwt_result r = JWT_UNKNOWN_KEY;
    if (has_own)
        r = jwt_verify(own, &k->rules, token, now_s, a, claims);
    if (is_of_the_key(r) && (k->published.n || !has_own))
        r = jwt_verify(&k->published, &k->rules, token, now_s, a, claims);
    return r;
}

/* A key that is not known may be on the shelf by now, or is to be asked for. */
static enum jwt_result verify_anew(struct keyring *k, struct str token, int64_t now_s,
                                   struct arena *a, struct jwt_claims *claims)
{
    enum jwt_result r = verify(k, token, now_s, a, claims);
    if (r != JWT_UNKNOWN_KEY || !has_provider(k))
        return r;
    if (take_shared(k))
        return verify(k, token, now_s, a, claims);
    if (k->state == IDLE && is_to_ask(k))
        begin(k);
    return r;
}

static void remember(struct remembered *r, const struct sha256 *hash,
                     const struct jwt_claims *claims, struct arena *a)
{
    struct str name = name_of(claims->subject, a), settings = claims->settings;
    forget(r);
    r->token = *hash;
    r->expires_s = claims->expires_s;
    r->rights = rights_of(claims->scope);
    r->name_n = (uint8_t)name.n;
    memcpy(r->name, name.p, name.n);
    if (settings.n > 0)
        r->settings = str_of(memcpy(mem_alloc(settings.n), settings.p, settings.n), settings.n);
}

enum jwt_result keyring_judge(struct keyring *k, struct str token, int64_t now_s, struct arena *a,
                              struct judgement *ret)
{
    struct jwt_claims claims;
    struct sha256 hash = hash_sha256(token);
    struct remembered *r = place_of(k, &hash);
    enum jwt_result result = JWT_OK;
    *ret = (struct judgement){.client = NULL};
    if (!hash_equal(&r->token, &hash) || now_s >= r->expires_s) {
        result = verify_anew(k, token, now_s, a, &claims);
        if (result != JWT_OK)
            return result;
        remember(r, &hash, &claims, a);
    }
    ret->client = client_of(k, r, a);
    ret->expires_s = r->expires_s;
    if (ret->client)
        return JWT_OK;
    forget(r);
    return JWT_BAD_SETTINGS;
}

bool keyring_knows(struct keyring *k, struct str token, int64_t now_s)
{
    struct sha256 hash = hash_sha256(token);
    const struct remembered *r = place_of(k, &hash);
    return hash_equal(&r->token, &hash) && now_s < r->expires_s;
}

const struct client *keyring_client(struct keyring *k, struct str token, int64_t now_s,
                                    struct arena *a)
{
    struct judgement j;
    enum jwt_result result = keyring_judge(k, token, now_s, a, &j);
    if (result == JWT_OK && client_is_current(j.client, now_s))
        return j.client;
    LOG(LOG_INFO, "token refused",
        LOG_CSTR("why", result == JWT_OK ? "client_dates" : jwt_result_name(result)));
    return NULL;
}

bool keyring_settled(const struct keyring *k)
{
    return k->answered || !has_provider(k);
}

size_t keyring_published(const struct keyring *k)
{
    return k->published.n;
}

bool keyring_works(const struct keyring *k)
{
    const struct jwt_keys *own = k->config->jwt_keys;
    return k->published.n || (own && own->n);
}
