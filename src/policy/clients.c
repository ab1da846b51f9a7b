/* clients.c - see clients.h: a table of the members that a client may have, each with its reader. */
#include "policy/clients.h"

#include "base/clock.h"
#include "policy/limit.h"
#include "wire/json.h"

struct reading {
    struct arena *arena;
    struct clients *clients;
    struct client *client;
    char *error;
    struct str name, member; /* where we are, for errors */
};

static bool fault(struct reading *r, const char *expected)
{
    (void)snprintf(r->error, CLIENTS_ERROR, "client \"%.*s\": %.*s is not %s", STR_FMT(r->name),
                   STR_FMT(r->member), expected);
    return false;
}

/* --- rights --- */

static const struct {
    struct str name;
    uint32_t right;
} rights[] = {
    {STR_INIT("chat"), RIGHT_CHAT},
    {STR_INIT("models"), RIGHT_MODELS},
    {STR_INIT("stats"), RIGHT_STATS},
    {STR_INIT("metrics"), RIGHT_METRICS},
    {STR_INIT("admin"), RIGHT_ADMIN | RIGHT_STATS | RIGHT_METRICS},
};

uint32_t right_of(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(rights); i++)
        if (str_eq(rights[i].name, name))
            return rights[i].right;
    return 0;
}

const char *right_name(uint32_t right)
{
    for (size_t i = 0; i < ARRAY_LEN(rights); i++)
        if (rights[i].right & right)
            return rights[i].name.p;
    return "none";
}

/* --- members --- */

static bool read_rights(struct reading *r, struct jval v, size_t at)
{
    static const char expected[] = "a list of chat, models, stats, metrics and admin";
    (void)at;
    if (!json_is(v, JSON_ARRAY))
        return fault(r, expected);
    r->client->rights = 0;
    json_each (e, v) {
        uint32_t right = right_of(json_str_raw(e));
        if (!right)
            return fault(r, expected);
        r->client->rights |= right;
    }
    return true;
}

static bool read_models(struct reading *r, struct jval v, size_t at)
{
    (void)at;
    if (!json_is(v, JSON_ARRAY) || json_empty(v))
        return fault(r, "a list of model names");
    struct str *names = arena_zalloc(r->arena, json_count(v) * sizeof(*names));
    r->client->models = names;
    json_each (e, v) {
        if (!json_is(e, JSON_STRING) || json_str_raw(e).n == 0)
            return fault(r, "a list of model names");
        names[r->client->n_models++] = arena_dup(r->arena, json_str(e, r->arena));
    }
    return true;
}

static bool read_aliases(struct reading *r, struct jval v, size_t at)
{
    (void)at;
    if (!json_is(v, JSON_OBJECT))
        return fault(r, "an object of names and models");
    struct model_alias *list = arena_zalloc(r->arena, size_max(json_count(v), 1) * sizeof(*list));
    r->client->aliases = list;
    json_each_member (key, v) {
        struct jval model = json_value(key);
        if (!json_is(model, JSON_STRING) || json_str_raw(model).n == 0)
            return fault(r, "an object of names and models");
        list[r->client->n_aliases++] = (struct model_alias){
            .name = arena_dup(r->arena, json_str(key, r->arena)),
            .model = arena_dup(r->arena, json_str(model, r->arena)),
        };
    }
    return true;
}

static bool read_model_limits(struct reading *r, struct jval v, size_t at)
{
    const char *expected;
    (void)at;
    return model_limits_read(v, r->arena, &r->client->model_limits, &expected) ||
           fault(r, expected);
}

static bool read_count(struct reading *r, struct jval v, size_t at)
{
    int64_t n;
    if (!json_i64(v, &n) || n < 0)
        return fault(r, "a whole number, 0 or more");
    memcpy((char *)r->client + at, &n, sizeof(n));
    return true;
}

static bool read_dollars(struct reading *r, struct jval v, size_t at)
{
    double usd;
    if (!json_f64(v, &usd) || !(usd >= 0) || usd > 1e9)
        return fault(r, "an amount of dollars");
    int64_t micro = (int64_t)(usd * 1e6 + 0.5);
    memcpy((char *)r->client + at, &micro, sizeof(micro));
    return true;
}

static bool read_time(struct reading *r, struct jval v, size_t at)
{
    uint64_t us;
    if (!json_is(v, JSON_STRING) || !clock_parse_rfc3339(json_str_raw(v), &us))
        return fault(r, "a time like 2027-01-31T00:00:00Z");
    int64_t s = (int64_t)(us / 1000000);
    memcpy((char *)r->client + at, &s, sizeof(s));
    return true;
}

static bool read_addresses(struct reading *r, struct jval v, size_t at)
{
    static const char expected[] = "a list of addresses, blocks like 10.0.0.0/8, and unix";
    struct str all = STR(""), bad;
    (void)at;
    if (!json_is(v, JSON_ARRAY) || json_empty(v))
        return fault(r, expected);
    json_each (e, v) {
        struct str one = json_str_raw(e);
        if (one.n == 0 || str_find(one, ',') < one.n)
            return fault(r, expected);
        all = arena_join(r->arena, arena_join(r->arena, all, all.n ? STR(",") : STR("")),
                         json_str(e, r->arena));
    }
    return address_blocks_parse(all, r->arena, &r->client->addresses, &bad) || fault(r, expected);
}

/* --- keys and certificates --- */

static int nibble(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    if (ch >= 'a' && ch <= 'f')
        return ch - 'a' + 10;
    return ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}

static bool parse_hash(struct str s, struct sha256 *ret)
{
    struct str prefix = STR("sha256:");
    if (!str_starts(s, prefix) || s.n != prefix.n + 2 * sizeof(ret->bytes))
        return false;
    for (size_t i = 0; i < sizeof(ret->bytes); i++) {
        int high = nibble(s.p[prefix.n + 2 * i]), low = nibble(s.p[prefix.n + 2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* Lists of the set grow by doubling; what they leave behind stays in the arena. */
static void *grown(struct arena *a, void *list, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return list;
    *cap = size_max(2 * n, 8);
    void *fresh = arena_zalloc(a, *cap * size);
    if (n > 0)
        memcpy(fresh, list, n * size);
    return fresh;
}

static void add_key(struct client_keys *keys, struct client *client, const struct sha256 *hash,
                    struct arena *a)
{
    keys->list = grown(a, keys->list, keys->n, &keys->cap, sizeof(*keys->list));
    keys->list[keys->n++] = (struct client_key){.hash = *hash, .client = client};
}

static bool read_one_hash(struct reading *r, struct jval v)
{
    struct sha256 hash;
    if (!json_is(v, JSON_STRING) || !parse_hash(json_str_raw(v), &hash))
        return fault(r, "like sha256: and 64 hex digits; ccproxy keys mint makes it");
    const struct sha256 of_nothing = hash_sha256(STR(""));
    if (hash_equal(&hash, &of_nothing))
        return fault(r, "that of a key: it is the hash of nothing");
    add_key(&r->clients->keys, r->client, &hash, r->arena);
    return true;
}

/* One value, or a list of them. */
static bool read_each(struct reading *r, struct jval v,
                      bool (*read)(struct reading *r, struct jval v))
{
    if (!json_is(v, JSON_ARRAY))
        return read(r, v);
    json_each (e, v)
        if (!read(r, e))
            return false;
    return true;
}

static bool read_hash(struct reading *r, struct jval v, size_t at)
{
    (void)at;
    return read_each(r, v, read_one_hash);
}

/* In the one form that tls.h writes: names of hosts and hex are lower case, and hex has no colons,
 * with which openssl prints it. */
static struct str plain_name(struct arena *a, struct str name)
{
    bool is_hash = str_starts(name, STR("sha256:")), is_host = str_starts(name, STR("dns:"));
    char *out = arena_alloc(a, name.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < name.n; i++) {
        char ch = name.p[i];
        if (is_hash && ch == ':' && i >= strlen("sha256:"))
            continue;
        out[n++] = (char)((is_hash || is_host) && ch >= 'A' && ch <= 'Z' ? ch | 0x20 : ch);
    }
    return str_of(out, n);
}

static bool is_certificate_name(struct str name)
{
    static const struct str kinds[] = {STR_INIT("subject:"), STR_INIT("dns:"), STR_INIT("email:"),
                                       STR_INIT("uri:")};
    struct sha256 unused;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_starts(name, kinds[i]))
            return name.n > kinds[i].n;
    return parse_hash(name, &unused);
}

static bool read_one_certificate(struct reading *r, struct jval v)
{
    struct str name = STR("");
    if (json_is(v, JSON_STRING))
        name = plain_name(r->arena, json_str(v, r->arena));
    if (!is_certificate_name(name))
        return fault(
            r, "like sha256: and 64 hex digits, or subject:, dns:, email: or uri: and a name");
    struct sha256 hash = hash_sha256(name);
    add_key(&r->clients->certificates, r->client, &hash, r->arena);
    return true;
}

static bool read_certificate(struct reading *r, struct jval v, size_t at)
{
    (void)at;
    return read_each(r, v, read_one_certificate);
}

/* --- the table of members --- */

static const struct member {
    struct str name;
    bool (*read)(struct reading *r, struct jval v, size_t at);
    size_t at; /* in struct client */
} members[] = {
    {STR_INIT("hash"), read_hash, 0},
    {STR_INIT("certificate"), read_certificate, 0},
    {STR_INIT("rights"), read_rights, 0},
    {STR_INIT("models"), read_models, 0},
    {STR_INIT("aliases"), read_aliases, 0},
    {STR_INIT("rpm"), read_count, offsetof(struct client, limits.rpm)},
    {STR_INIT("tpm"), read_count, offsetof(struct client, limits.tpm)},
    {STR_INIT("concurrent_requests"), read_count, offsetof(struct client, limits.concurrent)},
    {STR_INIT("tokens_per_day"), read_count, offsetof(struct client, limits.tokens_per_day)},
    {STR_INIT("usd_per_day"), read_dollars, offsetof(struct client, limits.usd_per_day)},
    {STR_INIT("usd_per_month"), read_dollars, offsetof(struct client, limits.usd_per_month)},
    {STR_INIT("model_limits"), read_model_limits, 0},
    {STR_INIT("not_before"), read_time, offsetof(struct client, not_before_s)},
    {STR_INIT("expires"), read_time, offsetof(struct client, expires_s)},
    {STR_INIT("addresses"), read_addresses, 0},
};

static const struct member *member_of(struct jval key)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (json_str_is(key, members[i].name))
            return &members[i];
    return NULL;
}

/* --- clients --- */

bool client_is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        bool ok = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
        if (!ok && !memchr("._-@", ch, 4))
            return false;
    }
    return s.n > 0 && s.n <= CLIENT_NAME_MAX;
}

static struct client *client_at(struct clients *c, struct str name)
{
    for (size_t i = 0; i < c->n; i++)
        if (str_eq(c->list[i].name, name))
            return &c->list[i];
    return NULL;
}

static struct client *new_client(struct clients *c, struct str name, struct arena *a,
                                 char error[CLIENTS_ERROR])
{
    if (!client_is_name(name)) {
        (void)snprintf(error, CLIENTS_ERROR,
                       "a client's name is not 1 to %d letters, digits, '.', '_', '-' or '@'",
                       CLIENT_NAME_MAX);
        return NULL;
    }
    ASSERT(c->n < c->cap); /* keys point to clients, so the list must not move */
    struct client *client = &c->list[c->n++];
    *client = (struct client){.name = arena_dup(a, name),
                              .limit_id = limit_id(name),
                              .rights = RIGHTS_DEFAULT,
                              .limits = {-1, -1, -1, -1, -1, -1}};
    return client;
}

void clients_init(struct clients *c, size_t n, struct arena *a)
{
    *c = (struct clients){.cap = n};
    c->list = arena_zalloc(a, size_max(n, 1) * sizeof(*c->list));
}

static bool read_client(struct reading *r, struct jval v)
{
    if (!json_is(v, JSON_OBJECT)) {
        r->member = STR("its description");
        return fault(r, "an object");
    }
    json_each_member (key, v) {
        const struct member *m = member_of(key);
        r->member = json_str_raw(key);
        bool lets_in = m && (m->read == read_hash || m->read == read_certificate);
        if (!m || (lets_in && !r->clients))
            return fault(r, "known here");
        if (!json_is(json_value(key), JSON_NULL) && !m->read(r, json_value(key), m->at))
            return false;
    }
    return true;
}

bool client_read_settings(struct client *c, struct jval v, struct arena *a,
                          char error[CLIENTS_ERROR])
{
    struct reading r = {.arena = a, .client = c, .name = c->name};
    r.error = error;
    return read_client(&r, v);
}

static bool read_all(struct clients *c, struct jval root, struct arena *a, char *error)
{
    struct clients given = *c;
    clients_init(c, given.cap + json_count(root), a); /* the list was empty: nothing points to it */
    ASSERT(given.n == 0);
    json_each_member (key, root) {
        struct str name = json_str(key, a);
        struct client *client = new_client(c, name, a, error);
        struct reading r = {
            .arena = a, .clients = c, .client = client, .error = error, .name = name};
        if (!client || !read_client(&r, json_value(key)))
            return false;
    }
    return true;
}

bool clients_read(struct clients *c, struct str text, struct arena *a, char error[CLIENTS_ERROR])
{
    struct json doc;
    json_init(&doc);
    enum json_error bad = json_parse(&doc, text);
    bool ok = bad == JSON_OK && json_is(json_root(&doc), JSON_OBJECT);
    if (!ok)
        (void)snprintf(error, CLIENTS_ERROR, "not a JSON object of clients (%s at byte %zu)",
                       bad == JSON_OK ? "another value" : json_error_text(bad), doc.error_at);
    ok = ok && read_all(c, json_root(&doc), a, error);
    json_done(&doc);
    return ok;
}

struct client *clients_add(struct clients *c, struct str name, const struct sha256 *hash,
                           struct arena *a, char error[CLIENTS_ERROR])
{
    struct client *client = client_at(c, name);
    if (!client)
        client = new_client(c, name, a, error);
    if (client)
        add_key(&c->keys, client, hash, a);
    return client;
}

static int by_hash(const void *a, const void *b)
{
    const struct client_key *x = a, *y = b;
    return memcmp(x->hash.bytes, y->hash.bytes, sizeof(x->hash.bytes));
}

static bool seal(struct client_keys *keys, const char *what, char error[CLIENTS_ERROR])
{
    if (keys->n > 1)
        qsort(keys->list, keys->n, sizeof(*keys->list), by_hash);
    for (size_t i = 1; i < keys->n; i++) {
        const struct client_key *one = &keys->list[i - 1], *next = &keys->list[i];
        if (by_hash(one, next) != 0)
            continue;
        (void)snprintf(error, CLIENTS_ERROR, "clients \"%.*s\" and \"%.*s\" have the same %s",
                       STR_FMT(one->client->name), STR_FMT(next->client->name), what);
        return false;
    }
    return true;
}

bool clients_seal(struct clients *c, char error[CLIENTS_ERROR])
{
    return seal(&c->keys, "key", error) && seal(&c->certificates, "certificate", error);
}

static const struct client *find(const struct client_keys *keys, const struct sha256 *hash)
{
    const struct client_key wanted = {.hash = *hash};
    const struct client_key *key =
        keys->n == 0 ? NULL : bsearch(&wanted, keys->list, keys->n, sizeof(*keys->list), by_hash);
    return key ? key->client : NULL;
}

const struct client *clients_find(const struct clients *c, const struct sha256 *hash)
{
    return find(&c->keys, hash);
}

const struct client *clients_certified(const struct clients *c, const struct str *names, size_t n)
{
    const struct client *found = NULL;
    for (size_t i = 0; i < n && c->certificates.n > 0; i++) {
        const struct sha256 hash = hash_sha256(names[i]);
        const struct client *client = find(&c->certificates, &hash);
        if (client && found && client != found)
            return NULL;
        found = client ? client : found;
    }
    return found;
}

bool client_may_come(const struct client *client, const struct address *from)
{
    const struct address_blocks *b = &client->addresses;
    return (b->n == 0 && !b->unix_sockets) || address_is_in(b, from);
}

bool client_is_current(const struct client *client, int64_t now_s)
{
    return now_s >= client->not_before_s && (client->expires_s == 0 || now_s < client->expires_s);
}

static bool matches(struct str pattern, struct str name)
{
    bool prefix = str_ends(pattern, STR("*"));
    return prefix ? str_starts(name, str_head(pattern, pattern.n - 1)) : str_eq(pattern, name);
}

bool client_may_use(const struct client *client, struct str model)
{
    for (size_t i = 0; i < client->n_models; i++)
        if (matches(client->models[i], model))
            return true;
    for (size_t i = 0; i < client->n_aliases; i++)
        if (str_eq(client->aliases[i].name, model))
            return true;
    return client->n_models == 0;
}
