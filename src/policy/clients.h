/* clients.h - who may come in: clients, their keys as hashes, and what each of them may do.
 *
 *   {"alice": {"hash": "sha256:<64 hex>", "rights": ["chat", "models"], "models": ["gpt-4o", "claude-*"],
 *              "aliases": {"fast": "claude-haiku-5-5"}, "rpm": 600, "tpm": 400000,
 *              "concurrent_requests": 20, "tokens_per_day": 5000000, "usd_per_day": 20,
 *              "usd_per_month": 300, "model_limits": {"claude-opus-5": {"rpm": 10}}, "not_before": "2026-11-01T00:00:00Z",
 *              "expires": "2027-05-01T00:00:00Z", "addresses": ["10.0.0.0/8", "unix"]}}
 *
 * Every member may be left out; "hash" may be a list, so that keys can be changed without a gap. So
 * may "certificate": what a client's TLS certificate calls it, "sha256:<64 hex>",
 * "subject:CN=alice,O=Example", "dns:alice.example", "email:..." or "uri:...". The set is made once,
 * at a load of the configuration, and never changed.
 */
#ifndef CCPROXY_POLICY_CLIENTS_H
#define CCPROXY_POLICY_CLIENTS_H

#include "base/arena.h"
#include "base/hash.h"
#include "llm/models.h"
#include "policy/address.h"
#include "policy/model_limits.h"

enum right {
    RIGHT_CHAT = 1 << 0,    /* everything that asks Claude */
    RIGHT_MODELS = 1 << 1,  /* the list of models */
    RIGHT_STATS = 1 << 2,   /* /stats */
    RIGHT_METRICS = 1 << 3, /* /metrics */
    RIGHT_ADMIN = 1 << 4,   /* the dashboard; includes the two before */
};

enum { RIGHTS_DEFAULT = RIGHT_CHAT | RIGHT_MODELS, CLIENTS_ERROR = 256, CLIENT_NAME_MAX = 64 };

/* A client's own limits; -1: the server's. Money in millionths of a dollar. */
struct client_limits {
    int64_t rpm, tpm, concurrent, tokens_per_day, usd_per_day, usd_per_month;
};

struct client {
    struct str name;
    uint64_t limit_id;        /* limit.h */
    uint32_t rights;          /* enum right */
    const struct str *models; /* names it may ask for, "claude-*" for all that begin so */
    size_t n_models;          /* 0: any */
    const struct model_alias *aliases;
    size_t n_aliases;
    struct client_limits limits;
    struct model_limits model_limits;
    int64_t not_before_s, expires_s; /* seconds since 1970; 0: none */
    struct address_blocks addresses; /* from which it may come; none: from any */
};

struct client_key {
    struct sha256 hash;
    struct client *client;
};

/* Sorted by hash once clients_seal was called. */
struct client_keys {
    struct client_key *list;
    size_t n, cap;
};

struct clients {
    struct client *list;
    size_t n, cap;
    struct client_keys keys;
    struct client_keys certificates; /* names of certificates, hashed */
};

/* A name that can stand in logs, labels and headers: 1 to 64 letters, digits, '.', '_', '-', '@'. */
bool client_is_name(struct str name);

/* Room for as many more clients, with one key each, as n says; texts go into a, too. */
void clients_init(struct clients *c, size_t n, struct arena *a);
/* Adds the clients of a JSON text (not null-terminated, see above). False with one line that says
 * which client and which member is wrong. */
NODISCARD bool clients_read(struct clients *c, struct str json, struct arena *a,
                            char error[CLIENTS_ERROR]);
/* What one client may do, from a JSON object like those above, but without keys and certificates: it
 * goes into c, over what is there. */
NODISCARD bool client_read_settings(struct client *c, struct jval v, struct arena *a,
                                    char error[CLIENTS_ERROR]);
/* Gives a key to the client of that name; a new client gets the default rights. NULL with a line
 * when the name is none. */
struct client *clients_add(struct clients *c, struct str name, const struct sha256 *hash,
                           struct arena *a, char error[CLIENTS_ERROR]);
/* After the last one was added. False with a line when two keys, or two certificates, are the same.
 */
NODISCARD bool clients_seal(struct clients *c, char error[CLIENTS_ERROR]);

/* The client of a key, or NULL. Time depends on hashes only, which tell nothing of keys. */
const struct client *clients_find(const struct clients *c, const struct sha256 *hash);
/* The client of a certificate by its names, as tls.h writes them; NULL when nobody has one of them,
 * or several clients have. */
const struct client *clients_certified(const struct clients *c, const struct str *names, size_t n);
/* Whether it may come from there. */
bool client_may_come(const struct client *client, const struct address *from);
/* Whether its dates admit it. */
bool client_is_current(const struct client *client, int64_t now_s);
/* Whether it may ask for a model by that name. */
bool client_may_use(const struct client *client, struct str model);
/* "chat" and so on; 0 when there is no such right. */
uint32_t right_of(struct str name);
const char *right_name(uint32_t right);

#endif
