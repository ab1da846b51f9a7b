/* fuzz_h2_server.c - a client that speaks HTTP/2, or anything behind its preface, to a server.
 *
 * The first byte says in which pieces the rest comes, and what the handler does with requests.
 * However it goes, a request is told of once, ends once, and nothing is left behind.
 */
#include <unistd.h>

#include "base/mem.h"
#include "far.h"
#include "http/server_int.h"
#include "wire/h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HELD = 64 };

static const struct server_door plain = {.tls = NULL};
static const struct stream_owner nobody = {.name = "fuzz"};

static char big[96 * 1024]; /* some of them do not fit the socket */

static struct {
    int open; /* requests that were told of and are not over */
    struct request *held[HELD];
    size_t n_held;
    uint8_t how;
} seen;

static void answer(struct request *r, int status)
{
    seen.open--;
    reply_start(r, status);
    reply_field(r, STR("X-Name"), STR("value"));
    bool is_big = seen.how & 64;
    reply_head_end(r, seen.how & 1 || is_big ? -1 : 2);
    reply_body(r, is_big ? str_of(big, sizeof(big)) : STR("ok"));
    if (seen.how & 1 && status == 429)
        reply_abort(r);
    else
        reply_end(r);
}

static void on_head(void *ctx, struct request *r)
{
    const struct h1_head *h = r->head;
    (void)ctx;
    ASSERT(!r->user && h->path.n > 0 && h->n_fields <= H1_FIELDS_MAX);
    for (size_t i = 0; i < h->n_fields; i++)
        ASSERT(h->fields[i].name.n > 0 && h1_is_field_value(h->fields[i].value));
    r->user = &seen;
    seen.open++;
    if (seen.how & 2 && h->method == H1_POST)
        answer(r, 401);
}

static void on_request(void *ctx, struct request *r)
{
    (void)ctx;
    ASSERT(r->user == &seen && !reply_started(r));
    if (seen.how & 4 && seen.n_held < HELD)
        seen.held[seen.n_held++] = r;
    else
        answer(r, buf_len(&r->body) > 4 ? 429 : 200);
}

static void on_refused(void *ctx, struct request *r, enum server_refusal why, enum h1_error error)
{
    (void)ctx;
    ASSERT(why != SERVER_BAD_MESSAGE || error != H1_OK);
    seen.open += !r->user;
    answer(r, 400);
}

static void on_gone(void *ctx, struct request *r)
{
    (void)ctx;
    ASSERT(r->user == &seen);
    seen.open--;
    for (size_t i = 0; i < seen.n_held; i++)
        if (seen.held[i] == r)
            seen.held[i] = NULL;
}

static void on_drained(void *ctx, struct request *r)
{
    (void)ctx;
    ASSERT(r->user == &seen);
}

static struct server *new_server(struct loop *l)
{
    static const struct server_handler handler = {
        .on_head = on_head,
        .on_request = on_request,
        .on_refused = on_refused,
        .on_gone = on_gone,
        .on_drained = on_drained,
    };
    static const struct server_limits limits = {
        .head_max = 2048,
        .body_max = 1024,
        .total_max = 1 << 20,
        .connections_max = 2,
        .head_timeout_us = 1 << 30,
        .body_timeout_us = 1 << 30,
        .idle_timeout_us = 1 << 30,
        .write_timeout_us = 1 << 30,
        .h2 = {.on = true,
               .streams = 8,
               .stream_window = 1024,
               .window = 64 * 1024,
               .table = 4096,
               .fields = 16,
               .continuations = 8,
               .resets = 100,
               .resets_per_s = 33,
               .controls = 100,
               .controls_per_s = 10,
               .empties = 1,
               .priorities = 100,
               .updates = 10,
               .glitches = 100},
    };
    return server_new(l, &limits, &handler);
}

static void run(struct loop *l, struct server *s, int far, struct str bytes)
{
    if (!(seen.how & 8))
        far_say(l, far, STR(H2_PREFACE), SIZE_MAX);
    far_say(l, far, bytes, seen.how & 16 ? 1 + (size_t)seen.how / 32 : SIZE_MAX);
    for (size_t i = 0; i < seen.n_held; i++)
        if (seen.held[i])
            answer(seen.held[i], 200);
    far_turns(l, far);
    if (seen.how & 32)
        server_drain(s);
    far_turns(l, far);
    (void)close(far);
    for (int i = 0; i < FAR_TURNS; i++)
        loop_turn(l, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct sock_addr peer = {0};
    int ends[2];
    int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
    ASSERT(rc == 0);
    memset(&seen, 0, sizeof(seen));
    seen.how = data[0];
    struct loop *l = loop_new();
    struct server *s = new_server(l);
    h1_begin(s, stream_accept(l, ends[0], &peer, &nobody, NULL), &plain);
    run(l, s, ends[1], str_of((const char *)data + 1, size - 1));
    server_free(s);
    ASSERT(seen.open == 0);
    loop_free(l);
    ASSERT(mem_live() == 0);
    return 0;
}
