/* fuzz_h2_client.c - an upstream that speaks HTTP/2, or anything: its bytes to two calls.
 *
 * The first byte says in which pieces the rest comes and what the calls do meanwhile. However it
 * goes, each call ends at most once and has its head before its body, and nothing is left behind.
 */
#include <unistd.h>

#include "base/mem.h"
#include "far.h"
#include "http/pool_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GET "GET /v1 HTTP/1.1\r\nHost: h\r\n\r\n"

enum { CALLS = 2 };

static struct result {
    struct call *call;
    int heads, over;
    bool pauses;
} results[CALLS];

static void on_head(void *ctx, const struct h1_head *head)
{
    struct result *r = ctx;
    ASSERT(r->call && r->heads++ == 0 && head->status >= 200 && head->status <= 599);
}

static void on_body(void *ctx, struct str bytes)
{
    struct result *r = ctx;
    ASSERT(r->call && r->heads == 1 && bytes.n > 0);
    memset((char *)(uintptr_t)bytes.p, '#', bytes.n);
    if (r->pauses)
        call_pause(r->call);
}

static void on_end(void *ctx)
{
    struct result *r = ctx;
    ASSERT(r->call && r->heads == 1 && r->over++ == 0);
    r->call = NULL;
}

static void on_fail(void *ctx, enum call_failure why, const char *error)
{
    struct result *r = ctx;
    ASSERT(r->call && r->over++ == 0 && error[0] && (why != CALL_CUT || r->heads == 1));
    r->call = NULL;
}

static const struct call_handler handler = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

static void run(struct loop *l, struct pool *p, const int ends[2], uint8_t how, struct str bytes)
{
    struct sock_addr peer = {0};
    (void)session_new(
        p, stream_accept(l, ends[0], &peer, &(struct stream_owner){.name = "fuzz"}, NULL));
    for (size_t i = 0; i < CALLS; i++) {
        results[i] = (struct result){.pauses = how & 1U << i};
        results[i].call = call_start(p, STR(GET), NULL, &handler, &results[i]);
    }
    far_turns(l, ends[1]);
    far_say(l, ends[1], bytes, how & 4 ? 1 + (size_t)how / 8 : SIZE_MAX);
    for (size_t i = 0; i < CALLS; i++)
        if (results[i].call && results[i].pauses)
            call_resume(results[i].call);
    far_turns(l, ends[1]);
    (void)close(ends[1]);
    for (int i = 0; i < FAR_TURNS; i++)
        loop_turn(l, 0);
    for (size_t i = 0; i < CALLS; i++)
        if (results[i].call)
            call_cancel(results[i].call);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct pool_options o = {
        .http = POOL_HTTP_2,
        .target.url = {.scheme = URL_UNIX, .host = STR("/nowhere")},
        .connect_timeout_us = 1000,
        .idle_timeout_us = 1000 * 1000,
        .head_max = 2048,
    };
    int ends[2];
    int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
    ASSERT(rc == 0);
    struct loop *l = loop_new();
    struct dns *dns = dns_new(l, NULL);
    struct pool *p = pool_new(l, dns, &o);
    run(l, p, ends, data[0], str_of((const char *)data + 1, size - 1));
    loop_turn(l, 0);
    pool_free(p);
    dns_free(dns);
    loop_free(l);
    ASSERT(mem_live() == 0);
    return 0;
}
