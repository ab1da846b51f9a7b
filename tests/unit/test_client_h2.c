/* test_client_h2.c - calls over HTTP/2 by prior knowledge to a scripted server, which is nghttp2's
 * own server side over a plain socket: sharing, windows, resets, GOAWAY, limits, broken frames.
 */
#include "http/client.h"

#include <nghttp2/nghttp2.h>

#include "peer.h"

enum { SECOND_US = 1000 * 1000, KIB = 1024, BODY_MAX = 1024 * KIB, CALLS = 8, STREAMS = 16 };

#define REQUEST "POST /v1 HTTP/1.1\r\nHost: h\r\nX-Api-Key: k\r\nContent-Length: 5\r\n\r\n"
#define GET     "GET /v1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

static struct result {
    struct call *call;
    int sent, heads, ended, failed, status;
    enum call_failure why;
    bool pauses;
    struct buf body;
} results[CALLS];

/* The far end: one connection. */
static struct far {
    struct peer peer;
    nghttp2_session *ng;
    struct buf fields; /* of all requests: "name: value\n" */
    struct buf bodies;
    int32_t ids[STREAMS]; /* of requests, in order */
    size_t n_ids, n_whole, n_cancelled, n_pings;
} far;

static struct pool *pool;
static struct dns *dns;
static struct sock_addr address;
static int listener;
static const struct call_handler handler;

/* --- the near end --------------------------------------------------------------------------- */

static void on_sent(void *ctx)
{
    struct result *r = ctx;

    r->sent++;
}

static void on_head(void *ctx, const struct h1_head *head)
{
    struct result *r = ctx;

    r->heads++;
    r->status = head->status;
}

static void on_body(void *ctx, struct str bytes)
{
    struct result *r = ctx;

    assert_int_equal(r->heads, 1);
    assert_true(buf_append(&r->body, bytes));
    memset((char *)(uintptr_t)bytes.p, '#', bytes.n); /* it may be written to */
    if (r->pauses)
        call_pause(r->call);
}

static void on_end(void *ctx)
{
    struct result *r = ctx;

    r->call = NULL;
    r->ended++;
}

static void on_fail(void *ctx, enum call_failure why, const char *error)
{
    struct result *r = ctx;

    assert_true(strlen(error) > 0);
    r->call = NULL;
    r->failed++;
    r->why = why;
}

static const struct call_handler handler = {
    .on_sent = on_sent,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

static void get(size_t i)
{
    results[i].call = call_start(pool, STR(GET), NULL, &handler, &results[i]);
}

/* --- the far end ---------------------------------------------------------------------------- */

static int far_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                      size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *ctx)
{
    (void)ng;
    (void)frame;
    (void)ctx;
    assert_true(buf_printf(&far.fields, "%.*s: %.*s%s\n", (int)name_n, name, (int)value_n, value,
                           flags & NGHTTP2_NV_FLAG_NO_INDEX ? " (never indexed)" : ""));
    return 0;
}

static int far_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    (void)ng;
    (void)ctx;
    bool carries = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (frame->hd.type == NGHTTP2_HEADERS && far.n_ids < STREAMS)
        far.ids[far.n_ids++] = frame->hd.stream_id;
    if (carries && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        far.n_whole++;
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code == NGHTTP2_CANCEL)
        far.n_cancelled++;
    if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
        far.n_pings++;
    return 0;
}

static int far_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
                    void *ctx)
{
    (void)ng;
    (void)flags;
    (void)id;
    (void)ctx;
    assert_true(buf_append(&far.bodies, str_of((const char *)data, n)));
    return 0;
}

static void far_open(const nghttp2_settings_entry *settings, size_t n)
{
    nghttp2_session_callbacks *on;

    far.peer = peer_accept(listener);
    assert_int_equal(nghttp2_session_callbacks_new(&on), 0);
    nghttp2_session_callbacks_set_on_header_callback(on, far_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(on, far_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(on, far_data);
    assert_int_equal(nghttp2_session_server_new(&far.ng, on, NULL), 0);
    nghttp2_session_callbacks_del(on);
    assert_int_equal(nghttp2_submit_settings(far.ng, NGHTTP2_FLAG_NONE, settings, n), 0);
}

/* Takes what has come and sends what is submitted; true, for RUN_UNTIL. */
static bool pump(void)
{
    const uint8_t *data;
    ssize_t n;

    peer_poll(&far.peer);
    assert_true(nghttp2_session_mem_recv(far.ng, (uint8_t *)far.peer.text, far.peer.n) >= 0);
    peer_forget(&far.peer);
    while ((n = nghttp2_session_mem_send(far.ng, &data)) > 0)
        peer_send(&far.peer, str_of((const char *)data, (size_t)n));
    assert_true(n == 0);
    return true;
}

/* An answer of so many 'x', or without an end. */
struct answer {
    size_t left;
    bool endless;
};

static ssize_t far_read(nghttp2_session *ng, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                        nghttp2_data_source *source, void *ctx)
{
    struct answer *a = source->ptr;
    size_t n = size_min(room, a->left);

    (void)ng;
    (void)id;
    (void)ctx;
    memset(to, 'x', n);
    a->left -= n;
    if (n == 0 && a->endless)
        return NGHTTP2_ERR_DEFERRED;
    if (a->left == 0 && !a->endless)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static void answer(size_t i, struct answer *a)
{
    nghttp2_nv status = {(uint8_t *)(uintptr_t) ":status", (uint8_t *)(uintptr_t) "200", 7, 3, 0};
    nghttp2_data_provider body = {.source.ptr = a, .read_callback = far_read};

    assert_int_equal(nghttp2_submit_response(far.ng, far.ids[i], &status, 1, &body), 0);
}

static void far_close(void)
{
    if (far.ng)
        nghttp2_session_del(far.ng);
    far.ng = NULL;
    peer_close(&far.peer);
}

/* --- frame ---------------------------------------------------------------------------------- */

static int setup(void **state)
{
    (void)state;
    clock_begin();
    for (size_t i = 0; i < CALLS; i++) {
        results[i] = (struct result){0};
        buf_init(&results[i].body, BODY_MAX);
    }
    far = (struct far){.peer.fd = -1};
    buf_init(&far.fields, BODY_MAX);
    buf_init(&far.bodies, BODY_MAX);
    listener = peer_listen(&address);
    dns = dns_new(loop, NULL);
    const struct pool_options o = {
        .http = POOL_HTTP_2,
        .target.url = {.scheme = URL_HTTP,
                       .host = STR("127.0.0.1"),
                       .port = sock_addr_port(&address)},
        .connect_timeout_us = 5 * SECOND_US,
        .idle_timeout_us = 60 * SECOND_US,
        .head_max = 4 * KIB,
    };
    pool = pool_new(loop, dns, &o);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < CALLS; i++)
        if (results[i].call)
            call_cancel(results[i].call);
    pool_free(pool);
    dns_free(dns);
    far_close();
    (void)close(listener);
    buf_done(&far.fields);
    buf_done(&far.bodies);
    for (size_t i = 0; i < CALLS; i++)
        buf_done(&results[i].body);
    clock_end();
    return 0;
}

/* So many GETs have arrived on one connection. */
static void begin(size_t n)
{
    for (size_t i = 0; i < n; i++)
        get(i);
    far_open(NULL, 0);
    RUN_UNTIL(pump() && far.n_whole == n);
}

static bool says(const char *line)
{
    struct str all = buf_str(&far.fields);

    return str_find_str(all, str_c(line)) < all.n;
}

/* --- tests ---------------------------------------------------------------------------------- */

static void test_request_and_answer(void **state)
{
    struct answer a = {.left = 2};
    struct rope body;

    (void)state;
    rope_init(&body, 100);
    assert_true(rope_add(&body, STR("hello")));
    results[0].call = call_start(pool, STR(REQUEST), &body, &handler, &results[0]);
    far_open(NULL, 0);
    RUN_UNTIL(pump() && far.n_whole == 1);
    assert_true(says(":method: POST\n:scheme: http\n:authority: h\n:path: /v1\n"));
    assert_true(says("x-api-key: k (never indexed)\n"));
    assert_false(says("\nhost:"));
    assert_true(str_eq(buf_str(&far.bodies), STR("hello")));
    assert_int_equal(results[0].sent, 1);
    answer(0, &a);
    RUN_UNTIL(pump() && results[0].ended);
    assert_int_equal(results[0].status, 200);
    assert_true(str_eq(buf_str(&results[0].body), STR("xx")));
    assert_int_equal(pool_idle(pool), 1);
    rope_done(&body);
}

static void test_calls_share_a_connection(void **state)
{
    struct answer a[CALLS] = {0};

    (void)state;
    begin(CALLS);
    assert_false(says("connection:"));
    for (size_t i = 0; i < CALLS; i++) {
        a[i].left = 100 + i;
        answer(i, &a[i]);
    }
    for (size_t i = 0; i < CALLS; i++) {
        RUN_UNTIL(pump() && results[i].ended);
        assert_int_equal(buf_len(&results[i].body), 100 + i);
    }
    assert_int_equal(pool_idle(pool) + pool_busy(pool), 1);
}

static void test_cancel_resets_the_stream_alone(void **state)
{
    struct answer a = {.left = 10};

    (void)state;
    begin(2);
    call_cancel(results[0].call);
    results[0].call = NULL;
    RUN_UNTIL(pump() && far.n_cancelled == 1);
    answer(1, &a);
    RUN_UNTIL(pump() && results[1].ended);
    assert_int_equal(results[0].ended + results[0].failed, 0);
}

/* The paused call holds one window's worth and no more; its sibling gets far more than a window. */
static void test_paused_call_does_not_stall_its_sibling(void **state)
{
    struct answer much = {.left = 500 * KIB}, other = {.left = 500 * KIB};
    struct result *slow = &results[0];

    (void)state;
    begin(2);
    slow->pauses = true;
    answer(0, &much);
    answer(1, &other);
    RUN_UNTIL(pump() && results[1].ended);
    assert_int_equal(buf_len(&results[1].body), 500 * KIB);
    for (int i = 0; i < 50; i++) {
        pump();
        turns(1);
    }
    assert_true(much.left > 300 * KIB);
    slow->pauses = false;
    call_resume(slow->call);
    RUN_UNTIL(pump() && slow->ended);
    assert_int_equal(buf_len(&slow->body), 500 * KIB);
}

static void test_tiny_windows(void **state)
{
    const nghttp2_settings_entry tiny = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1};
    struct answer a = {.left = 2};
    struct rope body;

    (void)state;
    rope_init(&body, 100);
    assert_true(rope_add(&body, STR("hello")));
    results[0].call = call_start(pool, STR(REQUEST), &body, &handler, &results[0]);
    far_open(&tiny, 1);
    RUN_UNTIL(pump() && far.n_whole == 1);
    assert_true(str_eq(buf_str(&far.bodies), STR("hello")));
    answer(0, &a);
    RUN_UNTIL(pump() && results[0].ended);
    rope_done(&body);
}

static void test_refused_stream_is_unsent(void **state)
{
    (void)state;
    begin(1);
    (void)nghttp2_submit_rst_stream(far.ng, 0, far.ids[0], NGHTTP2_REFUSED_STREAM);
    RUN_UNTIL(pump() && results[0].failed);
    assert_int_equal(results[0].why, CALL_UNSENT);
}

static void test_reset_before_and_in_the_answer(void **state)
{
    struct answer a = {.left = 10, .endless = true};

    (void)state;
    begin(2);
    (void)nghttp2_submit_rst_stream(far.ng, 0, far.ids[0], NGHTTP2_INTERNAL_ERROR);
    answer(1, &a);
    RUN_UNTIL(pump() && results[0].failed && buf_len(&results[1].body) == 10);
    assert_int_equal(results[0].why, CALL_BROKEN);
    (void)nghttp2_submit_rst_stream(far.ng, 0, far.ids[1], NGHTTP2_INTERNAL_ERROR);
    RUN_UNTIL(pump() && results[1].failed);
    assert_int_equal(results[1].why, CALL_CUT);
}

/* What it did not process may be sent again; what it did goes on; what is new goes elsewhere. */
static void test_goaway(void **state)
{
    struct answer a = {.left = 10}, b = {.left = 5};

    (void)state;
    begin(2);
    (void)nghttp2_submit_goaway(far.ng, 0, far.ids[0], NGHTTP2_NO_ERROR, NULL, 0);
    RUN_UNTIL(pump() && results[1].failed);
    assert_int_equal(results[1].why, CALL_UNSENT);
    assert_int_equal(results[0].failed, 0);
    answer(0, &a);
    RUN_UNTIL(pump() && results[0].ended);
    RUN_UNTIL(peer_ended(&far.peer));
    far_close();
    far.n_ids = far.n_whole = 0;
    get(2);
    far_open(NULL, 0);
    RUN_UNTIL(pump() && far.n_whole == 1);
    answer(0, &b);
    RUN_UNTIL(pump() && results[2].ended);
}

static void test_full_connection_makes_another(void **state)
{
    const nghttp2_settings_entry two = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2};

    (void)state;
    get(0);
    far_open(&two, 1);
    RUN_UNTIL(pump() && far.n_whole == 1);
    turns(5);
    for (size_t i = 1; i < 3; i++)
        get(i);
    struct peer second = peer_accept(listener);
    RUN_UNTIL(pump() && far.n_whole == 2);
    RUN_UNTIL(pump() && pool_busy(pool) == 2);
    assert_int_equal(far.n_whole, 2);
    peer_close(&second);
    RUN_UNTIL(results[2].failed);
}

static void test_silent_upstream_is_asked_and_given_up(void **state)
{
    (void)state;
    begin(1);
    turns(5); /* whatever has come is read before time passes */
    advance(16 * SECOND_US);
    RUN_UNTIL(pump() && far.n_pings == 1);
    turns(5); /* the answer to it has been read */
    advance(16 * SECOND_US);
    RUN_UNTIL(pump() && far.n_pings == 2);
    assert_int_equal(results[0].failed, 0);
    turns(5);
    advance(16 * SECOND_US); /* asked a third time, and nobody answers */
    advance(16 * SECOND_US);
    advance(16 * SECOND_US);
    RUN_UNTIL(results[0].failed);
    assert_int_equal(results[0].why, CALL_BROKEN);
}

static void test_idle_connection_is_closed(void **state)
{
    struct answer a = {.left = 1};

    (void)state;
    begin(1);
    answer(0, &a);
    RUN_UNTIL(pump() && results[0].ended);
    for (int i = 0; i < 8; i++) { /* it answers each PING */
        advance(9 * SECOND_US);
        pump();
        turns(3);
    }
    RUN_UNTIL(peer_ended(&far.peer));
    assert_int_equal(pool_idle(pool), 0);
}

static void test_broken_frames(void **state)
{
    (void)state;
    begin(2);
    peer_say(&far.peer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    RUN_UNTIL(results[0].failed && results[1].failed);
    assert_int_equal(results[0].why, CALL_BAD_ANSWER);
    assert_int_equal(pool_idle(pool) + pool_busy(pool), 0);
}

static void test_too_long_a_head(void **state)
{
    static char value[8 * KIB];
    nghttp2_nv fields[] = {
        {(uint8_t *)(uintptr_t) ":status", (uint8_t *)(uintptr_t) "200", 7, 3, 0},
        {(uint8_t *)(uintptr_t) "x-long", (uint8_t *)value, 6, sizeof(value), 0},
    };
    struct answer a = {.left = 3};

    (void)state;
    memset(value, 'v', sizeof(value));
    begin(2);
    assert_int_equal(nghttp2_submit_response(far.ng, far.ids[0], fields, 2, NULL), 0);
    answer(1, &a);
    RUN_UNTIL(pump() && results[0].failed && results[1].ended);
    assert_int_equal(results[0].why, CALL_BAD_ANSWER);
}

static void test_connection_lost(void **state)
{
    struct answer a = {.left = 10, .endless = true};

    (void)state;
    begin(2);
    answer(0, &a);
    RUN_UNTIL(pump() && buf_len(&results[0].body) == 10);
    far_close();
    RUN_UNTIL(results[0].failed && results[1].failed);
    assert_int_equal(results[0].why, CALL_CUT);
    assert_int_equal(results[1].why, CALL_BROKEN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_request_and_answer),
        TEST(test_calls_share_a_connection),
        TEST(test_cancel_resets_the_stream_alone),
        TEST(test_paused_call_does_not_stall_its_sibling),
        TEST(test_tiny_windows),
        TEST(test_refused_stream_is_unsent),
        TEST(test_reset_before_and_in_the_answer),
        TEST(test_goaway),
        TEST(test_full_connection_makes_another),
        TEST(test_silent_upstream_is_asked_and_given_up),
        TEST(test_idle_connection_is_closed),
        TEST(test_broken_frames),
        TEST(test_too_long_a_head),
        TEST(test_connection_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
