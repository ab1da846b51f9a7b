/* proxy_int.h - what one worker's exchanges share. */
#ifndef CCPROXY_PROXY_PROXY_INT_H
#define CCPROXY_PROXY_PROXY_INT_H

#include "http/client.h"
#include "http/server.h"
#include "llm/models.h"
#include "llm/platform.h"
#include "policy/route.h"
#include "proxy/keyring.h"
#include "proxy/proxy.h"
#include "proxy/queue.h"
#include "proxy/retry.h"
#include "proxy/stapler.h"
#include "store/redis_limit.h"
#include "wire/json.h"

/* GET /v1/models of the upstream, now and then. */
struct refresh {
    struct timer timer;
    struct call *call;
    struct buf answer;
    int status;
};

struct proxy {
    struct loop *loop;
    const struct config *config;
    const struct shared *shared;
    unsigned owner;
    struct meter meter;
    uint64_t log_lost; /* lines, as far as they are counted */
    struct timer gauges;
    struct server *server;
    struct server_door doors[LISTEN_MAX]; /* as config->listen */
    struct dns *dns;
    struct tls_ctx *tls;
    struct pool *pool;
    struct models *models;
    const struct platform *platform;
    struct platform_call upstream; /* all but key and length */
    struct route route;
    struct retry_budget retries;
    struct refresh refresh;
    struct redis *redis; /* NULL: limits are the node's own */
    struct redis_limit *redis_limit;
    struct tls_ctx *redis_tls;
    struct queue *queue;     /* NULL: nobody waits for a place */
    struct keyring *keyring; /* NULL: clients have keys */
    struct stapler *stapler; /* NULL: there is nothing to ask about certificates */
    struct json doc;         /* parser memory, used within one callback at a time */
    struct buf scratch;      /* heads and answers that are written whole, likewise */
    struct buf authority;
    struct list open; /* exchanges */
    size_t n_open, n_streams;
    size_t n_held; /* refusals held back */
    uint64_t started_wall_us;

    enum { PROXY_READY, PROXY_UNREADY, PROXY_DRAINING } state;
};

/* proxy.c: what a call to the upstream says of it. */
void proxy_saw_upstream(struct proxy *p, bool works);
bool proxy_upstream_works(const struct proxy *p);

/* refresh.c */
void refresh_start(struct proxy *p);
void refresh_stop(struct proxy *p);

#endif
