/* config.h - the configuration: read once, checked whole, never changed afterwards.
 *
 * Sources, the first that has a value wins: the environment variable NAME; the file named by
 * NAME_FILE (for every option, meant for secrets; one trailing newline is cut); the YAML file; the
 * default. A worker is born with one struct config and dies with it; a reload makes a new one.
 */
#ifndef CCPROXY_CONFIG_CONFIG_H
#define CCPROXY_CONFIG_CONFIG_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "config/listen.h"
#include "policy/address.h"
#include "policy/auth.h"
#include "policy/jwt.h"
#include "store/redis_url.h"
#include "wire/url.h"

struct config_given;
struct tls_server;

enum fallback { FALLBACK_LOCAL, FALLBACK_OPEN, FALLBACK_CLOSED };

struct fallbacks {
    enum fallback rates, budgets, concurrency;
};

enum reserve {
    RESERVE_USUAL, /* the client's bound; without one, what such answers take */
    RESERVE_BOUND, /* whatever the answer may take */
    RESERVE_LOWER, /* that, and it may take no more than is left */
};

enum upstream_protocol { UPSTREAM_HTTP_1, UPSTREAM_HTTP_AUTO, UPSTREAM_HTTP_2 };

enum auth_method {
    AUTH_BY_KEY,   /* api_key: keys of clients */
    AUTH_BY_TOKEN, /* bearer_token: one token for all */
    AUTH_BY_JWT,   /* oauth2: tokens that an identity provider has signed */
};

struct config {
    struct arena arena; /* owns everything below */

    /* options.def, in its types: str for STRING, SECRET, PATH, MAP and JSON (its text); int64_t for
     * INT, BYTES and DURATION (microseconds); bool; struct url; enum log_level; enum log_format. */
#define CONFIG_STRING   struct str
#define CONFIG_SECRET   struct str
#define CONFIG_PATH     struct str
#define CONFIG_MAP      struct str
#define CONFIG_JSON     struct str
#define CONFIG_INT      int64_t
#define CONFIG_BYTES    int64_t
#define CONFIG_DURATION int64_t
#define CONFIG_BOOL     bool
#define CONFIG_URL      struct url
#define CONFIG_LEVEL    enum log_level
#define CONFIG_FORMAT   enum log_format
#define GROUP(title)
#define OPTION(field, name, type, def, min, max, flags, text) CONFIG_##type field;
#include "config/options.def"
#undef OPTION
#undef GROUP

    /* Worked out from the options. */
    struct str *upstream_keys; /* at most ROUTE_KEYS_MAX */
    size_t n_upstream_keys;
    struct clients clients; /* named "client-1" and so on where no name is given */
    enum auth_method auth;
    enum upstream_protocol protocol;  /* of the upstream */
    struct redis_url redis;           /* when redis_url is given */
    struct listen listen[LISTEN_MAX]; /* at least one */
    size_t n_listen;
    struct address_blocks proxies;     /* whose X-Forwarded-For is believed */
    struct address_blocks header_from; /* who must begin with a PROXY header */
    struct tls_server *tls;            /* NULL: no certificate */
    struct model_limits model_limits;
    struct fallbacks fallbacks;
    enum reserve reserve;
    struct jwt_keys *jwt_keys; /* of the configuration itself; NULL: none */
    uint32_t jwt_algs;         /* that tokens may be signed with (enum verify_alg) */
    bool records;              /* there is a usage database */
    bool spans;                /* are exported */
    struct str spans_url;      /* to there */
    uint32_t span_ppm;         /* of the requests that begin their trace here, in a million */
    bool demo; /* no upstream key and the default address: the simulator is the upstream */

    struct config_given *given; /* each option's text and where it came from (options.h) */
};

enum {
    OPTION_SECRET_URL = 1, /* a user and password in it are not shown */
    OPTION_LIST = 2,       /* comma-separated; a list in the YAML file */
    OPTION_LINES = 4,      /* may have line ends */
};

/* Reads and checks everything. On failure NULL, with one line per fault appended to problems; on
 * success problems may hold warnings (unknown names). env is a NULL-terminated list "NAME=value".
 */
struct config *config_load(char *const *env, struct buf *problems);
void config_free(struct config *c); /* wipes secrets; NULL is fine */

/* Points a configuration that says demo at a simulator on the loopback's port, and lets in the
 * bearer of client_key. */
void config_use_demo(struct config *c, uint16_t port, struct str client_key);
/* Overwrites the secrets in env: a process that will not load again has no use for them. */
void config_wipe_env(char *const *env);

/* The text of `ccproxy --help`'s options, and docs/configuration.md. */
void config_help(struct buf *out);
void config_markdown(struct buf *out);
/* Every option with its value and where it came from, secrets hidden: `ccproxy check`. */
void config_print(const struct config *c, struct buf *out);

#endif
