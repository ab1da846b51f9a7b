/* handler.h - a server on a loopback socket whose handler does what the test says, and tells what it
 * saw. */
#ifndef CCPROXY_TESTS_HANDLER_H
#define CCPROXY_TESTS_HANDLER_H

#include "http/server.h"
#include "peer.h"

enum { SECOND_US = 1000 * 1000, HEAD_MAX = 4096, BODY_MAX = 1024 * 1024, KIB = 1024, HELD = 128 };

/* What the handler does with a request. */
enum mode {
    ANSWER,      /* "ok", at once */
    ECHO,        /* the body, at once */
    HOLD,        /* the test answers */
    REFUSE_HEAD, /* 401 in on_head */
    BIG,         /* a kilobyte, at once */
};

static struct {
    enum mode mode;
    int heads, requests, refused, gone, drained;
    enum server_refusal why;
    enum h1_error error;
    enum server_flood flood;
    struct request *held[HELD]; /* by number, from 0 */
    struct request *last;       /* held, and not gone */
    char head[2 * HEAD_MAX];    /* "GET /path authority framing|name: value|..." */
    char path[64];
    char protocol[16];
    struct buf body;
} seen;

static struct server *server;
static struct sock_addr address;

static void answer(struct request *r, int status, struct str text)
{
    reply_start(r, status);
    reply_head_end(r, (int64_t)text.n);
    reply_body(r, text);
    reply_end(r);
}

static void on_head(void *ctx, struct request *r)
{
    const struct h1_head *h = r->head;
    int n = snprintf(seen.head, sizeof(seen.head), "%.*s %.*s %.*s %d", STR_FMT(h->method_text),
                     STR_FMT(h->path), STR_FMT(h->authority), (int)h->framing);

    assert_ptr_equal(ctx, &seen);
    for (size_t i = 0; i < h->n_fields; i++)
        n += snprintf(seen.head + n, sizeof(seen.head) - (size_t)n, "|%.*s: %.*s",
                      STR_FMT(h->fields[i].name), STR_FMT(h->fields[i].value));
    snprintf(seen.path, sizeof(seen.path), "%.*s", STR_FMT(h->path));
    snprintf(seen.protocol, sizeof(seen.protocol), "%.*s", STR_FMT(request_protocol(r)));
    seen.heads++;
    r->user = &seen;
    if (seen.mode == REFUSE_HEAD)
        answer(r, 401, STR("who?"));
}

static void on_request(void *ctx, struct request *r)
{
    static const char big[KIB];

    (void)ctx;
    buf_clear(&seen.body);
    assert_true(buf_append(&seen.body, buf_str(&r->body)));
    seen.held[seen.requests++ % HELD] = r;
    switch (seen.mode) {
    case ANSWER: answer(r, 200, STR("ok")); return;
    case ECHO: answer(r, 200, buf_str(&r->body)); return;
    case BIG: answer(r, 200, str_of(big, sizeof(big))); return;
    case HOLD: seen.last = r; return;
    case REFUSE_HEAD: break;
    }
    fail_msg("not to be called");
}

static void on_refused(void *ctx, struct request *r, enum server_refusal why, enum h1_error error)
{
    (void)ctx;
    seen.refused++;
    seen.why = why;
    seen.error = error;
    answer(r, 400 + (int)why, STR("refused"));
}

static void on_gone(void *ctx, struct request *r)
{
    (void)ctx;
    seen.gone++;
    if (seen.last == r)
        seen.last = NULL;
}

static void on_drained(void *ctx, struct request *r)
{
    (void)ctx;
    (void)r;
    seen.drained++;
}

static void on_flood(void *ctx, const struct sock_addr *peer, enum server_flood why)
{
    (void)ctx;
    assert_int_equal(peer->sa.sa_family, AF_INET);
    assert_int_equal(seen.flood, FLOOD_NONE);
    seen.flood = why;
}

/* What a test changes before it begins. */
static struct server_limits handler_limits(void)
{
    return (struct server_limits){
        .head_max = HEAD_MAX,
        .body_max = BODY_MAX,
        .total_max = 64 * BODY_MAX,
        .connections_max = 16,
        .head_timeout_us = 10 * SECOND_US,
        .body_timeout_us = 60 * SECOND_US,
        .idle_timeout_us = 75 * SECOND_US,
        .write_timeout_us = 30 * SECOND_US,
    };
}

static void begin(const struct server_limits *l)
{
    static const struct server_handler handler = {
        .ctx = &seen,
        .on_head = on_head,
        .on_request = on_request,
        .on_refused = on_refused,
        .on_gone = on_gone,
        .on_drained = on_drained,
        .on_flood = on_flood,
    };

    server = server_new(loop, l, &handler);
    assert_true(server_listen(server, peer_listen(&address)));
}

static void restart(const struct server_limits *l)
{
    server_free(server);
    begin(l);
}

static void handler_setup(const struct server_limits *l)
{
    clock_begin();
    memset(&seen, 0, sizeof(seen));
    buf_init(&seen.body, 4 * BODY_MAX);
    begin(l);
}

static void handler_teardown(void)
{
    server_free(server);
    buf_done(&seen.body);
    clock_end();
}

#endif
