/* test_server_h2.c - HTTP/2 over loopback sockets, frame by frame: requests and replies, windows,
 * clients that leave, what is refused and in which words, every timer, every flood, draining. */
#include <netinet/tcp.h>

#include "h2_peer.h"
#include "handler.h"

static struct buf out;

static struct server_limits limits(void)
{
    struct server_limits l = handler_limits();

    l.body_timeout_us = 20 * SECOND_US;
    l.h2 = (struct h2_limits){
        .on = true,
        .streams = 20,
        .stream_window = 64 * KIB,
        .window = 256 * KIB,
        .table = 4096,
        .fields = 20,
        .continuations = 8,
        .resets = 10,
        .resets_per_s = 2,
        .controls = 10,
        .controls_per_s = 2,
        .empties = 1,
        .priorities = 5,
        .updates = 3,
        .glitches = 10,
    };
    return l;
}

static int setup(void **state)
{
    const struct server_limits l = limits();

    (void)state;
    handler_setup(&l);
    out = frames_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_done(&out);
    handler_teardown();
    return 0;
}

static struct peer connect_peer(void)
{
    size_t before = server_connections(server);
    struct peer p = peer_connect(&address);
    const int yes = 1; /* or a small piece waits for the acknowledgement of the one before */

    assert_int_equal(setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)), 0);
    RUN_UNTIL(server_connections(server) != before);
    return p;
}

/* A client that has said its preface, and acknowledged the server's SETTINGS. */
static struct peer client(void)
{
    struct peer p = connect_peer();

    assert_true(buf_append(&out, STR(H2_PREFACE)));
    put_frame(&out, H2_SETTINGS, 0, 0, STR(""));
    put_frame(&out, H2_SETTINGS, 1, 0, STR(""));
    send_frames(&p, &out);
    RUN_UNTIL(has_frame(&p, H2_SETTINGS, 0));
    return p;
}

#define GET  ":method=GET|:scheme=http|:path=/a|:authority=h"
#define POST ":method=POST|:scheme=http|:path=/a|:authority=h"

enum { LAST = H2_END_STREAM | H2_END_HEADERS, MORE = H2_END_HEADERS };

static void get(struct peer *p, uint32_t stream)
{
    put_headers(&out, stream, LAST, GET);
    send_frames(p, &out);
}

/* It is answered as ever: the connection is well. */
static void assert_well(struct peer *p, uint32_t stream)
{
    enum mode mode = seen.mode;

    seen.mode = ANSWER;
    get(p, stream);
    RUN_UNTIL(has_body(p, stream, "ok"));
    assert_int_equal(status_of(p, stream, 0), 200);
    seen.mode = mode;
}

static void assert_sent_away(struct peer *p, enum server_flood why, int64_t code)
{
    RUN_UNTIL(error_of(p, 0) >= 0);
    assert_int_equal(error_of(p, 0), code);
    assert_int_equal(seen.flood, why);
    RUN_UNTIL(peer_ended(p));
    peer_close(p);
    RUN_UNTIL(server_connections(server) == 0);
}

/* --- messages ------------------------------------------------------------------------------- */

static void test_one_request(void **state)
{
    struct peer p = client();

    (void)state;
    put_headers(&out, 1, LAST, GET "|x-a=b|cookie=a=1|cookie=b=2");
    send_frames(&p, &out);
    RUN_UNTIL(has_body(&p, 1, "ok"));
    assert_int_equal(status_of(&p, 1, 0), 200);
    assert_string_equal(seen.head, "GET /a h 0|Host: h|x-a: b|cookie: a=1; b=2");
    put_headers(&out, 3, LAST, ":method=GET|:scheme=https|:path=/a?b|host=h"); /* as good */
    send_frames(&p, &out);
    RUN_UNTIL(has_body(&p, 3, "ok"));
    assert_string_equal(seen.head, "GET /a h 0|host: h");
    assert_false(peer_ended(&p));
    assert_true(error_of(&p, 1) == -1);
    peer_close(&p);
    RUN_UNTIL(server_connections(server) == 0);
    assert_int_equal(seen.gone, 0);
}

static void test_byte_by_byte(void **state)
{
    struct peer p = connect_peer();

    (void)state;
    seen.mode = ECHO;
    assert_true(buf_append(&out, STR(H2_PREFACE)));
    put_frame(&out, H2_SETTINGS, 0, 0, STR(""));
    for (uint32_t id = 1; id <= 5; id += 2) {
        put_headers(&out, id, MORE, POST "|content-length=5");
        put_frame(&out, H2_DATA, 0, id, STR("he"));
        put_frame(&out, H2_DATA, H2_END_STREAM, id, STR("llo"));
    }
    while (buf_len(&out) > 0) {
        peer_send(&p, str_head(buf_str(&out), 1));
        buf_consume(&out, 1);
        turns(1);
    }
    for (uint32_t id = 1; id <= 5; id += 2)
        RUN_UNTIL(has_body(&p, id, "hello"));
    peer_close(&p);
}

static void test_bodies_of_any_shape(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = ECHO;
    put_headers(&out, 1, MORE, POST); /* no length */
    put_frame(&out, H2_DATA, 0, 1, STR("hello "));
    put_frame(&out, H2_DATA, H2_END_STREAM | 8, 1, STR("\3world\0\0\0")); /* padded */
    put_headers(&out, 3, MORE, POST "|content-length=0");
    put_frame(&out, H2_DATA, H2_END_STREAM, 3, STR(""));
    put_headers(&out, 5, LAST, POST);
    send_frames(&p, &out);
    RUN_UNTIL(has_body(&p, 1, "hello world") && has_body(&p, 3, "") && has_body(&p, 5, ""));
    assert_int_equal(seen.refused, 0);
    put_headers(&out, 7, MORE, POST);
    send_frames(&p, &out);
    RUN_UNTIL(seen.heads == 4);
    assert_string_equal(seen.head, "POST /a h 2|Host: h"); /* a body of no known length */
    peer_close(&p);
    RUN_UNTIL(seen.gone == 1);
}

static void test_head_has_no_body(void **state)
{
    struct peer p = client();

    (void)state;
    put_headers(&out, 1, LAST, ":method=HEAD|:scheme=http|:path=/a|:authority=h");
    send_frames(&p, &out);
    RUN_UNTIL(status_of(&p, 1, 0) == 200);
    assert_well(&p, 3);
    assert_false(has_frame(&p, H2_DATA, 1));
    peer_close(&p);
}

static void test_continue(void **state)
{
    struct peer p = client();

    (void)state;
    put_headers(&out, 1, MORE, POST "|expect=100-continue|content-length=2");
    send_frames(&p, &out);
    RUN_UNTIL(status_of(&p, 1, 0) == 100);
    put_frame(&out, H2_DATA, H2_END_STREAM, 1, STR("hi"));
    send_frames(&p, &out);
    RUN_UNTIL(has_body(&p, 1, "ok"));
    assert_int_equal(status_of(&p, 1, 1), 200);
    peer_close(&p);
}

static void test_many_at_a_time(void **state)
{
    struct peer p = client();
    char text[16];

    (void)state;
    seen.mode = HOLD;
    for (uint32_t i = 0; i < 20; i++)
        put_headers(&out, 2 * i + 1, LAST, GET);
    send_frames(&p, &out);
    RUN_UNTIL(seen.requests == 20);
    for (int i = 19; i >= 0; i--) {
        snprintf(text, sizeof(text), "answer %d", i);
        answer(seen.held[i], 200, str_c(text));
        RUN_UNTIL(has_body(&p, 2 * (uint32_t)i + 1, text));
    }
    peer_close(&p);
}

/* RFC 9113 section 5.1.2. Who has not read our SETTINGS yet cannot know better. */
static void test_more_than_at_a_time(void **state)
{
    struct peer p = connect_peer(), knows = client();

    (void)state;
    seen.mode = HOLD;
    assert_true(buf_append(&out, STR(H2_PREFACE)));
    put_frame(&out, H2_SETTINGS, 0, 0, STR(""));
    for (uint32_t i = 0; i < 21; i++)
        put_headers(&out, 2 * i + 1, LAST, GET);
    send_frames(&p, &out);
    RUN_UNTIL(error_of(&p, 41) == NGHTTP2_REFUSED_STREAM);
    assert_int_equal(seen.requests, 20);
    for (uint32_t i = 0; i < 21; i++)
        put_headers(&out, 2 * i + 1, LAST, GET);
    send_frames(&knows, &out);
    RUN_UNTIL(error_of(&knows, 0) == NGHTTP2_PROTOCOL_ERROR);
    peer_close(&p);
    peer_close(&knows);
    RUN_UNTIL(server_connections(server) == 0);
    assert_int_equal(seen.gone, seen.heads);
}

static void test_streamed_reply(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    get(&p, 1);
    RUN_UNTIL(seen.requests == 1);
    reply_start(seen.held[0], 200);
    reply_field(seen.held[0], STR("X-Name"), STR("value: 1"));
    reply_head_end(seen.held[0], -1);
    RUN_UNTIL(status_of(&p, 1, 0) == 200);
    for (int i = 0; i < 3; i++) {
        reply_body(seen.held[0], STR("tick "));
        reply_body(seen.held[0], STR("tack "));
        RUN_UNTIL(strlen(body_of(&p, 1, false)) == 10 * ((size_t)i + 1));
    }
    assert_int_equal(seen.held[0]->body_bytes, 30);
    reply_end(seen.held[0]);
    RUN_UNTIL(has_body(&p, 1, "tick tack tick tack tick tack "));
    peer_close(&p);
}

static void test_abort_resets(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    get(&p, 1);
    RUN_UNTIL(seen.requests == 1);
    reply_start(seen.held[0], 200);
    reply_head_end(seen.held[0], -1);
    reply_body(seen.held[0], STR("half"));
    reply_abort(seen.held[0]);
    RUN_UNTIL(error_of(&p, 1) == NGHTTP2_INTERNAL_ERROR);
    assert_null(body_of(&p, 1, true));
    assert_well(&p, 3);
    assert_int_equal(seen.gone, 0);
    peer_close(&p);
}

/* --- clients that leave --------------------------------------------------------------------- */

static void test_cancelled_stream(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    get(&p, 1);
    get(&p, 3);
    RUN_UNTIL(seen.requests == 2);
    put_number(&out, H2_RST_STREAM, 1, NGHTTP2_CANCEL);
    send_frames(&p, &out);
    RUN_UNTIL(seen.gone == 1);
    answer(seen.held[1], 200, STR("other"));
    RUN_UNTIL(has_body(&p, 3, "other"));
    assert_int_equal(seen.gone, 1);
    peer_close(&p);
}

static void test_reset_at_once_is_never_served(void **state)
{
    struct peer p = client();
    char long_fields[800] = GET "|x="; /* so that all are more than one piece of reading */

    (void)state;
    memset(long_fields + strlen(long_fields), 'x', 700);
    for (uint32_t id = 1; id < 17; id += 2) {
        put_headers(&out, id, LAST, long_fields);
        put_number(&out, H2_RST_STREAM, id, NGHTTP2_CANCEL);
    }
    send_frames(&p, &out);
    assert_well(&p, 17);
    assert_int_equal(seen.heads, 9);
    assert_int_equal(seen.gone, 8);
    assert_int_equal(seen.requests, 1);
    peer_close(&p);
}

/* What one client asks at once does not go before all of what another asked at the same time. */
static void test_clients_take_turns(void **state)
{
    struct peer many = client(), one = client();
    struct sockaddr_in name;
    socklen_t n = sizeof(name);
    char long_fields[2000] = GET "|x=";
    int at = -1;

    (void)state;
    seen.mode = HOLD;
    memset(long_fields + strlen(long_fields), 'x', 1900);
    assert_int_equal(getsockname(one.fd, (struct sockaddr *)&name, &n), 0);
    for (uint32_t i = 0; i < 19; i++)
        put_headers(&out, 2 * i + 1, LAST, long_fields);
    send_frames(&many, &out);
    get(&one, 1);
    RUN_UNTIL(seen.requests == 20);
    for (int i = 0; i < 20; i++)
        if (seen.held[i]->peer.in4.sin_port == name.sin_port)
            at = i;
    assert_in_range(at, 0, 9);
    peer_close(&many);
    peer_close(&one);
}

static void test_lost_connection(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    get(&p, 1);
    put_headers(&out, 3, MORE, POST);
    send_frames(&p, &out);
    RUN_UNTIL(seen.heads == 2);
    peer_reset(&p);
    RUN_UNTIL(server_connections(server) == 0);
    assert_int_equal(seen.gone, 2);
}

/* --- windows -------------------------------------------------------------------------------- */

static void put_setting(uint16_t id, uint32_t value)
{
    const char bytes[] = {(char)(id >> 8),     (char)id,           (char)(value >> 24),
                          (char)(value >> 16), (char)(value >> 8), (char)value};

    put_frame(&out, H2_SETTINGS, 0, 0, str_of(bytes, 6));
}

static void test_reply_waits_for_windows(void **state)
{
    static char big[SERVER_HIGH_MARK + 1];
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    memset(big, 'x', sizeof(big));
    put_setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 100);
    put_headers(&out, 1, LAST, GET);
    send_frames(&p, &out);
    RUN_UNTIL(seen.requests == 1);
    reply_start(seen.held[0], 200);
    reply_head_end(seen.held[0], -1);
    reply_body(seen.held[0], str_of(big, sizeof(big)));
    RUN_UNTIL(strlen(body_of(&p, 1, false)) == 100);
    assert_well(&p, 3); /* another is not held up */
    assert_int_equal(reply_queued(seen.held[0]), sizeof(big) - 100);
    assert_int_equal(seen.drained, 0);
    put_number(&out, H2_WINDOW_UPDATE, 0, 1 << 20);
    put_number(&out, H2_WINDOW_UPDATE, 1, 1 << 20);
    send_frames(&p, &out);
    RUN_UNTIL(seen.drained == 1);
    assert_int_equal(reply_queued(seen.held[0]), 0);
    reply_end(seen.held[0]);
    RUN_UNTIL(body_of(&p, 1, true));
    assert_int_equal(strlen(body_of(&p, 1, true)), sizeof(big));
    peer_close(&p);
}

/* Replies of that size on streams 1, 3, ..., for which the client has room; it has not read them. */
static struct peer many_replies(size_t n, size_t size)
{
    char *big = mem_alloc(size);
    struct peer p = client();

    memset(big, 'x', size);
    seen.mode = HOLD;
    put_setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INT32_MAX);
    put_number(&out, H2_WINDOW_UPDATE, 0, INT32_MAX - 65535);
    for (uint32_t i = 0; i < n; i++)
        put_headers(&out, 2 * i + 1, LAST, GET);
    send_frames(&p, &out);
    RUN_UNTIL((size_t)seen.requests == n);
    for (size_t i = 0; i < n; i++) {
        reply_start(seen.held[i], 200);
        reply_head_end(seen.held[i], -1);
        reply_body(seen.held[i], str_of(big, size));
    }
    turns(10);
    mem_free(big);
    return p;
}

/* Far more than is gathered for one write. */
static void test_many_large_replies(void **state)
{
    struct peer p = many_replies(12, 1024 * KIB);

    (void)state;
    assert_true(reply_queued(seen.held[11]) > 0);
    for (uint32_t i = 0; i < 12; i++) {
        reply_end(seen.held[i]);
        RUN_UNTIL(body_of(&p, 2 * i + 1, true));
        assert_int_equal(strlen(body_of(&p, 2 * i + 1, true)), 1024 * KIB);
    }
    assert_int_equal(seen.gone, 0);
    peer_close(&p);
}

/* One of them has a frame that waits for the socket. */
static void test_large_replies_are_broken_off(void **state)
{
    struct peer p = many_replies(12, 1024 * KIB);

    (void)state;
    assert_true(reply_queued(seen.held[11]) > 0);
    for (size_t i = 0; i < 11; i++)
        reply_abort(seen.held[i]);
    reply_end(seen.held[11]);
    RUN_UNTIL(body_of(&p, 23, true));
    assert_int_equal(strlen(body_of(&p, 23, true)), 1024 * KIB);
    for (uint32_t i = 0; i < 11; i++)
        assert_true(error_of(&p, 2 * i + 1) == NGHTTP2_INTERNAL_ERROR);
    peer_close(&p);
}

static void test_large_replies_are_left(void **state)
{
    struct peer p = many_replies(12, 1024 * KIB);

    (void)state;
    for (int i = 0; i < 20; i++)
        put_frame(&out, H2_PING, 0, 0, STR("12345678"));
    send_frames(&p, &out);
    RUN_UNTIL(seen.flood == FLOOD_CONTROL);
    assert_int_equal(seen.gone, 12);
    RUN_UNTIL(error_of(&p, 0) == NGHTTP2_ENHANCE_YOUR_CALM);
    peer_close(&p);
}

/* Sends DATA as the windows allow, which start at these sizes; ends the stream. */
static void send_body(struct peer *p, uint32_t stream, size_t total, int64_t window, int64_t all)
{
    static char piece[8 * KIB];
    size_t seen_updates = 0, seen_all = 0;
    struct h2_frame f;
    struct str payload;

    for (int turn = 0; total > 0 && turn < PEER_TURNS; turn++) {
        size_t n = size_min(total, sizeof(piece));

        for (; find_frame(p, H2_WINDOW_UPDATE, stream, seen_updates, &f, &payload); seen_updates++)
            window += number_at(payload, 0);
        for (; find_frame(p, H2_WINDOW_UPDATE, 0, seen_all, &f, &payload); seen_all++)
            all += number_at(payload, 0);
        if ((int64_t)n > window || (int64_t)n > all) {
            turns(1);
            continue;
        }
        put_frame(&out, H2_DATA, n == total ? H2_END_STREAM : 0, stream, str_of(piece, n));
        send_frames(p, &out);
        total -= n;
        window -= (int64_t)n;
        all -= (int64_t)n;
    }
    assert_int_equal(total, 0);
}

static void test_large_body(void **state)
{
    struct peer p = client();

    (void)state;
    put_headers(&out, 1, MORE, POST);
    send_frames(&p, &out);
    send_body(&p, 1, BODY_MAX, 64 * KIB, 65535);
    RUN_UNTIL(has_body(&p, 1, "ok"));
    assert_int_equal(buf_len(&seen.body), BODY_MAX);
    peer_close(&p);
}

static void test_body_beyond_its_window(void **state)
{
    struct peer p = client();
    static char piece[16 * KIB];

    (void)state;
    seen.mode = REFUSE_HEAD; /* so that it stays as it was */
    put_headers(&out, 1, MORE, POST);
    for (int i = 0; i < 5; i++)
        put_frame(&out, H2_DATA, 0, 1, str_of(piece, sizeof(piece)));
    send_frames(&p, &out);
    RUN_UNTIL(error_of(&p, 1) == NGHTTP2_FLOW_CONTROL_ERROR);
    seen.mode = ANSWER;
    assert_well(&p, 3);
    peer_close(&p);
}

/* --- what is refused ------------------------------------------------------------------------ */

/* Violations of HTTP that HTTP/1.1 knows too: the same words. */
static void test_refused_as_in_http1(void **state)
{
    static const struct {
        const char *fields;
        enum h1_error error;
    } cases[] = {
        {GET "|host=other", H1_BAD_HOST},
        {":method=GET|:scheme=http|:path=/a|:authority=u@h", H1_BAD_HOST},
        {":method=GET|:scheme=ftp|:path=/a|:authority=h", H1_BAD_TARGET},
        {":method=GET|:scheme=http|:path=/a#b|:authority=h", H1_BAD_TARGET},
        {":method=GET|:scheme=http|:path=/%00|:authority=h", H1_BAD_TARGET},
        {":method=AVERYLONGMETHODNAME|:scheme=http|:path=/|:authority=h", H1_BAD_METHOD},
        {GET "|authorization=a|authorization=b", H1_REPEATED_FIELD},
        {GET "|x_api_key=a", H1_BAD_FIELD},
        {GET "|x-a=\xff", H1_BAD_FIELD},
        {GET "|expect=something", H1_UNKNOWN_EXPECT},
        {GET "|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1|a=1",
         H1_TOO_MANY_FIELDS},
    };
    struct peer p = client();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t id = 4 * (uint32_t)i + 1;

        put_headers(&out, id, LAST, cases[i].fields);
        send_frames(&p, &out);
        RUN_UNTIL(status_of(&p, id, 0) > 0 || error_of(&p, id) >= 0);
        if (!has_body(&p, id, "refused") || seen.error != cases[i].error)
            fail_msg("%s: error %d, reset %d", cases[i].fields, (int)seen.error,
                     (int)error_of(&p, id));
        assert_int_equal(seen.why, SERVER_BAD_MESSAGE);
        assert_well(&p, id + 2);
    }
    assert_int_equal(seen.refused, ARRAY_LEN(cases));
    peer_close(&p);
}

/* Violations of HTTP/2 itself: the stream is reset, nobody hears of it. */
static void test_malformed(void **state)
{
    static const char *const cases[] = {
        GET "|X-A=b",
        GET "|connection=close",
        GET "|keep-alive=1",
        GET "|proxy-connection=a",
        GET "|transfer-encoding=chunked",
        GET "|upgrade=h2c",
        GET "|te=gzip",
        GET "|x-a=b\r\nc: d",
        GET "|x a=b",
        GET "|:path=/b",
        GET "|x-a=b|:path=/b",
        ":method=GET|:scheme=http|:path=/a",
        ":method=GET|:scheme=http|:path=/a|host=h|host=h",
        GET "|:unknown=a",
        GET "|:status=200",
        ":scheme=http|:path=/a|:authority=h",
        ":method=GET|:path=/a|:authority=h",
        ":method=GET|:scheme=http|:authority=h",
        ":method=GET|:scheme=http|:path=|:authority=h",
        ":method=GET|:scheme=http|:path=a|:authority=h",
        ":method=GET|:scheme=http|:path=/a b|:authority=h",
        POST "|content-length=1|content-length=1",
        POST "|content-length=1", /* and no body */
        POST "|content-length=a",
    };
    struct server_limits l = limits();

    (void)state;
    l.h2.resets = l.h2.glitches = 100;
    restart(&l);
    struct peer p = client();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t id = 4 * (uint32_t)i + 1;

        put_headers(&out, id, LAST, cases[i]);
        send_frames(&p, &out);
        RUN_UNTIL(error_of(&p, id) == NGHTTP2_PROTOCOL_ERROR);
        assert_well(&p, id + 2);
    }
    assert_int_equal(seen.heads, ARRAY_LEN(cases));
    peer_close(&p);
}

static void test_length_unlike_the_body(void **state)
{
    struct peer p = client();

    (void)state;
    put_headers(&out, 1, MORE, POST "|content-length=3");
    put_frame(&out, H2_DATA, H2_END_STREAM, 1, STR("ab"));
    put_headers(&out, 3, MORE, POST "|content-length=3");
    put_frame(&out, H2_DATA, H2_END_STREAM, 3, STR("abcd"));
    send_frames(&p, &out);
    RUN_UNTIL(error_of(&p, 1) == NGHTTP2_PROTOCOL_ERROR);
    RUN_UNTIL(error_of(&p, 3) == NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(seen.requests, 0);
    assert_int_equal(seen.gone, 2);
    assert_well(&p, 5);
    peer_close(&p);
}

static void test_connect_is_a_method_like_others(void **state)
{
    struct peer p = client();

    (void)state;
    put_headers(&out, 1, LAST, ":method=CONNECT|:authority=h:443");
    send_frames(&p, &out);
    RUN_UNTIL(has_body(&p, 1, "ok"));
    assert_non_null(strstr(seen.head, "CONNECT "));
    assert_well(&p, 3);
    peer_close(&p);
}

static void test_trailers(void **state)
{
    struct peer p = client();

    (void)state;
    put_headers(&out, 1, MORE, POST);
    put_frame(&out, H2_DATA, 0, 1, STR("body"));
    put_headers(&out, 1, LAST, "x-trailer=1");
    send_frames(&p, &out);
    RUN_UNTIL(has_body(&p, 1, "refused"));
    assert_int_equal(seen.error, H1_BAD_FIELD);
    assert_int_equal(seen.requests, 0);
    assert_well(&p, 3);
    peer_close(&p);
}

static void test_large_head(void **state)
{
    static char value[HEAD_MAX];
    struct peer p = client();
    struct buf block = frames_new();

    (void)state;
    memset(value, 'v', sizeof(value));
    for (int over = 0; over < 2; over++) {
        uint32_t id = over ? 5 : 1;
        const size_t around = sizeof("GET /a HTTP/1.1\r\nHost: h\r\nx: \r\n\r\n") - 1;

        buf_clear(&block);
        put_fields(&block, GET);
        put_field(&block, STR("x"), str_of(value, HEAD_MAX - around + (size_t)over));
        put_frame(&out, H2_HEADERS, LAST, id, buf_str(&block));
        send_frames(&p, &out);
        RUN_UNTIL(has_body(&p, id, over ? "refused" : "ok"));
        assert_well(&p, id + 2);
    }
    assert_int_equal(seen.error, H1_HEAD_TOO_LONG);
    buf_done(&block);
    peer_close(&p);
}

static void test_large_bodies_are_refused(void **state)
{
    struct server_limits l = limits();

    (void)state;
    l.body_max = 1000;
    restart(&l);
    struct peer p = client();
    static char piece[1001];
    put_headers(&out, 1, MORE, POST "|content-length=1001"); /* by its word */
    put_headers(&out, 3, MORE, POST);                        /* when it is there */
    put_frame(&out, H2_DATA, H2_END_STREAM, 3, str_of(piece, sizeof(piece)));
    put_headers(&out, 5, MORE, POST);
    put_frame(&out, H2_DATA, H2_END_STREAM, 5, str_of(piece, 1000));
    send_frames(&p, &out);
    RUN_UNTIL(has_body(&p, 1, "refused") && has_body(&p, 3, "refused") && has_body(&p, 5, "ok"));
    assert_int_equal(seen.why, SERVER_BODY_TOO_LONG);
    assert_int_equal(seen.refused, 2);
    peer_close(&p);
}

/* So much of it comes behind the refusal that the stream is reset: not before the reply is out. */
static void test_a_refusal_outruns_its_reset(void **state)
{
    static char piece[16 * KIB];
    struct server_limits l = limits();

    (void)state;
    l.body_max = 1000;
    restart(&l);
    struct peer p = client();
    put_headers(&out, 1, MORE, POST);
    for (int i = 0; i < 6; i++)
        put_frame(&out, H2_DATA, 0, 1, str_of(piece, sizeof(piece)));
    send_frames(&p, &out);
    RUN_UNTIL(error_of(&p, 1) == NGHTTP2_NO_ERROR);
    assert_true(has_body(&p, 1, "refused"));
    assert_int_equal(seen.refused, 1);
    assert_well(&p, 3);
    peer_close(&p);
}

static void test_no_memory_for_bodies(void **state)
{
    struct server_limits l = limits();

    (void)state;
    l.total_max = 1;
    restart(&l);
    struct peer p = client();
    put_headers(&out, 1, MORE, POST);
    put_frame(&out, H2_DATA, H2_END_STREAM, 1, STR("body"));
    send_frames(&p, &out);
    RUN_UNTIL(has_body(&p, 1, "refused"));
    assert_int_equal(seen.why, SERVER_OVERLOADED);
    assert_well(&p, 3);
    peer_close(&p);
}

/* --- a reply before its request is over ----------------------------------------------------- */

static void test_early_reply(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = REFUSE_HEAD;
    put_headers(&out, 1, MORE, POST);
    put_headers(&out, 3, MORE, POST);
    send_frames(&p, &out);
    RUN_UNTIL(has_body(&p, 1, "who?") && has_body(&p, 3, "who?"));
    put_frame(&out, H2_DATA, H2_END_STREAM, 3, STR("it comes after all"));
    send_frames(&p, &out);
    turns(5);
    assert_true(error_of(&p, 1) == -1);
    advance(3 * SECOND_US);
    RUN_UNTIL(error_of(&p, 1) == NGHTTP2_NO_ERROR); /* it does not */
    assert_true(error_of(&p, 3) == -1);
    assert_well(&p, 5);
    peer_close(&p);
}

/* --- time ----------------------------------------------------------------------------------- */

static void test_idle(void **state)
{
    struct peer p = client();

    (void)state;
    assert_well(&p, 1);
    advance(74 * SECOND_US);
    put_frame(&out, H2_PING, 0, 0, STR("12345678")); /* is no work */
    send_frames(&p, &out);
    RUN_UNTIL(has_frame(&p, H2_PING, 0));
    assert_true(error_of(&p, 0) == -1);
    advance(2 * SECOND_US);
    assert_sent_away(&p, FLOOD_NONE, NGHTTP2_NO_ERROR);
}

static void test_busy_is_not_idle(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    get(&p, 1);
    RUN_UNTIL(seen.requests == 1);
    for (int i = 0; i < 10; i++)
        advance(60 * SECOND_US);
    answer(seen.held[0], 200, STR("late"));
    RUN_UNTIL(has_body(&p, 1, "late"));
    peer_close(&p);
}

static void test_half_a_preface(void **state)
{
    struct peer p = connect_peer();

    (void)state;
    peer_say(&p, "PRI * HTTP/2.0\r\n");
    turns(5);
    advance(11 * SECOND_US);
    RUN_UNTIL(seen.refused == 1);
    assert_int_equal(seen.why, SERVER_SLOW_HEAD);
    peer_close(&p);
}

static void test_slow_head(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    get(&p, 1);
    put_headers(&out, 3, 0, GET);
    send_frames(&p, &out);
    RUN_UNTIL(seen.requests == 1);
    turns(5);
    advance(11 * SECOND_US);
    assert_sent_away(&p, FLOOD_SLOW_HEAD, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(seen.gone, 1);
}

static void test_slow_body(void **state)
{
    struct peer p = client();

    (void)state;
    put_headers(&out, 1, MORE, POST);
    put_frame(&out, H2_DATA, 0, 1, STR("slow"));
    send_frames(&p, &out);
    RUN_UNTIL(seen.heads == 1);
    for (int i = 0; i < 9; i++) {
        advance(2 * SECOND_US);
        put_frame(&out, H2_DATA, 0, 1, STR("!")); /* drops do not help */
        send_frames(&p, &out);
        turns(3);
    }
    assert_int_equal(seen.refused, 0);
    assert_well(&p, 3);
    advance(3 * SECOND_US);
    RUN_UNTIL(has_body(&p, 1, "refused"));
    assert_int_equal(seen.why, SERVER_SLOW_BODY);
    assert_well(&p, 5);
    peer_close(&p);
}

static void test_stalled_reader(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    put_setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 10);
    put_headers(&out, 1, LAST, GET);
    send_frames(&p, &out);
    RUN_UNTIL(seen.requests == 1);
    reply_start(seen.held[0], 200);
    reply_head_end(seen.held[0], -1);
    reply_body(seen.held[0], STR("more than the ten bytes that fit"));
    RUN_UNTIL(strlen(body_of(&p, 1, false)) == 10);
    advance(29 * SECOND_US);
    put_number(&out, H2_WINDOW_UPDATE, 1, 1); /* a byte is progress */
    send_frames(&p, &out);
    RUN_UNTIL(strlen(body_of(&p, 1, false)) == 11);
    advance(29 * SECOND_US);
    assert_int_equal(seen.gone, 0);
    assert_well(&p, 3);
    advance(2 * SECOND_US);
    RUN_UNTIL(error_of(&p, 1) == NGHTTP2_CANCEL);
    assert_int_equal(seen.gone, 1);
    assert_null(body_of(&p, 1, true));
    assert_well(&p, 5);
    peer_close(&p);
}

/* --- floods --------------------------------------------------------------------------------- */

static void put_ping(uint32_t i)
{
    (void)i;
    put_frame(&out, H2_PING, 0, 0, STR("12345678"));
}

static void put_settings(uint32_t i)
{
    put_setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, i);
}

static void put_goaway(uint32_t i)
{
    (void)i;
    put_frame(&out, H2_GOAWAY, 0, 0, STR("\0\0\0\0\0\0\0\0"));
}

static void put_empty(uint32_t i)
{
    if (i == 0)
        put_headers(&out, 1, MORE, POST);
    put_frame(&out, H2_DATA, i % 2 ? 8 : 0, 1, i % 2 ? STR("\2\0\0") : STR(""));
}

static void put_update(uint32_t i)
{
    (void)i;
    put_number(&out, H2_WINDOW_UPDATE, 0, 1);
}

static void put_priority(uint32_t i)
{
    put_frame(&out, i % 2 ? H2_PRIORITY : H2_PRIORITY_UPDATE, 0, i % 2 ? 101 : 0,
              STR("\0\0\0\1\2"));
}

static void put_reset(uint32_t i)
{
    put_headers(&out, 2 * i + 1, LAST, GET);
    put_number(&out, H2_RST_STREAM, 2 * i + 1, NGHTTP2_CANCEL);
}

static void put_unknown(uint32_t i)
{
    put_frame(&out, 0x20 + (int)i, 0, 0, STR("what?"));
}

static void put_continuation(uint32_t i)
{
    if (i == 0)
        put_headers(&out, 1, 0, GET);
    put_frame(&out, H2_CONTINUATION, 0, 1, STR(""));
}

static void put_bad_update(uint32_t i) /* RFC 9113 section 6.9: the server has to reset */
{
    put_headers(&out, 2 * i + 1, MORE, POST);
    put_number(&out, H2_WINDOW_UPDATE, 2 * i + 1, 0);
}

static void put_overflow(uint32_t i)
{
    put_headers(&out, 2 * i + 1, MORE, POST);
    put_number(&out, H2_WINDOW_UPDATE, 2 * i + 1, INT32_MAX);
}

static void put_malformed(uint32_t i)
{
    put_headers(&out, 2 * i + 1, LAST, GET "|connection=close");
}

static void put_big_head(uint32_t i)
{
    static char piece[4 * KIB];

    put_frame(&out, i == 0 ? H2_HEADERS : H2_CONTINUATION, 0, 1, str_of(piece, sizeof(piece)));
}

static const struct {
    const char *name;
    void (*put)(uint32_t i);
    uint32_t good; /* so many are fine; 0: not looked at */
    enum server_flood why;
} floods[] = {
    {"ping", put_ping, 8, FLOOD_CONTROL}, /* two of SETTINGS came before */
    {"settings", put_settings, 8, FLOOD_CONTROL},
    {"goaway", put_goaway, 0, FLOOD_CONTROL},
    {"empty", put_empty, 1, FLOOD_EMPTY},
    {"window update", put_update, 5, FLOOD_UPDATES},
    {"priority", put_priority, 5, FLOOD_PRIORITY},
    {"rapid reset", put_reset, 10, FLOOD_RESETS},
    {"unknown", put_unknown, 10, FLOOD_GLITCHES},
    {"continuation", put_continuation, 0, FLOOD_CONTINUATION},
    {"update by nothing", put_bad_update, 0, FLOOD_NONE}, /* nghttp2 forgives none of it */
    {"window overflow", put_overflow, 0, FLOOD_RESETS},
    {"malformed", put_malformed, 10, FLOOD_RESETS},
    {"big head", put_big_head, 0, FLOOD_HEAD},
};

/* With as many as are fine it goes on; with more it is sent away, and another client is served. */
static void test_floods(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(floods); i++) {
        struct server_limits l = limits();

        if (floods[i].why == FLOOD_RESETS)
            l.h2.glitches = l.h2.updates = l.h2.streams = 1000;
        restart(&l);
        memset(&seen, 0, offsetof(__typeof__(seen), body));
        seen.mode = HOLD;
        struct peer good = client(), bad = client();

        for (uint32_t n = 0; n < floods[i].good; n++)
            floods[i].put(n);
        send_frames(&bad, &out);
        if (floods[i].good) {
            assert_well(&bad, 201);
            peer_close(&bad);
            RUN_UNTIL(server_connections(server) == 1);
            bad = client();
        }
        for (uint32_t n = 0; n < 100; n++)
            floods[i].put(n);
        send_frames(&bad, &out);
        RUN_UNTIL(peer_ended(&bad) || error_of(&bad, 0) >= 0);
        int64_t code = floods[i].why ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR;
        if (seen.flood != floods[i].why || error_of(&bad, 0) != code)
            fail_msg("%s: %s, %d", floods[i].name, server_flood_name(seen.flood),
                     (int)error_of(&bad, 0));
        assert_well(&good, 1);
        RUN_UNTIL(peer_ended(&bad));
        peer_close(&bad);
        peer_close(&good);
        RUN_UNTIL(server_connections(server) == 0);
        assert_int_equal(seen.heads - 1 - (floods[i].good > 0), seen.gone);
    }
}

static void test_rates_are_forgiven(void **state)
{
    struct peer p = client();

    (void)state;
    for (int i = 0; i < 50; i++) {
        put_ping(0);
        send_frames(&p, &out);
        advance(SECOND_US / 2);
    }
    assert_well(&p, 1);
    peer_close(&p);
}

static void test_frames_behind_the_end(void **state)
{
    static const int types[] = {H2_HEADERS, H2_DATA};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct peer p = client();

        seen.flood = FLOOD_NONE;
        assert_well(&p, 1);
        if (types[i] == H2_HEADERS)
            put_headers(&out, 1, LAST, GET);
        else
            put_frame(&out, H2_DATA, H2_END_STREAM, 1, STR("more"));
        send_frames(&p, &out);
        assert_sent_away(&p, FLOOD_CLOSED, NGHTTP2_STREAM_CLOSED);
    }
}

/* What crosses with our reset is nobody's fault. */
static void test_frames_that_cross(void **state)
{
    struct peer p = client();

    (void)state;
    put_headers(&out, 1, MORE, POST "|connection=close");
    send_frames(&p, &out);
    RUN_UNTIL(error_of(&p, 1) == NGHTTP2_PROTOCOL_ERROR);
    put_frame(&out, H2_DATA, H2_END_STREAM, 1, STR("body"));
    send_frames(&p, &out);
    assert_well(&p, 3);
    peer_close(&p);
}

/* One entry of the table, named again and again: a kilobyte for each byte (CVE-2016-6581). */
static void test_hpack_bomb(void **state)
{
    static char value[3 * KIB];
    struct peer p = client();
    struct buf block = frames_new();

    (void)state;
    memset(value, 'b', sizeof(value));
    put_fields(&block, GET);
    assert_true(buf_lit(&block, "\x40")); /* to be indexed */
    put_length(&block, 1);
    assert_true(buf_lit(&block, "x"));
    put_length(&block, sizeof(value));
    assert_true(buf_append(&block, str_of(value, sizeof(value))));
    for (int i = 0; i < 4 * KIB; i++)
        assert_true(buf_lit(&block, "\xbe"));
    put_frame(&out, H2_HEADERS, LAST, 1, buf_str(&block));
    size_t before = buf_total();
    send_frames(&p, &out);
    RUN_UNTIL(has_body(&p, 1, "refused"));
    assert_true(seen.error == H1_HEAD_TOO_LONG || seen.error == H1_TOO_MANY_FIELDS);
    assert_true(buf_total() <= before + 4 * (size_t)HEAD_MAX);
    assert_well(&p, 3);
    buf_done(&block);
    peer_close(&p);
}

/* --- draining ------------------------------------------------------------------------------- */

static void test_drain(void **state)
{
    struct peer p = client();
    struct h2_frame f;
    struct str first, second;

    (void)state;
    seen.mode = HOLD;
    get(&p, 1);
    RUN_UNTIL(seen.requests == 1);
    server_drain(server);
    RUN_UNTIL(find_frame(&p, H2_GOAWAY, 0, 0, &f, &first));
    assert_int_equal(number_at(first, 0), INT32_MAX);
    assert_int_equal(number_at(first, 4), NGHTTP2_NO_ERROR);
    get(&p, 3); /* was on its way */
    RUN_UNTIL(seen.requests == 2);
    put_frame(&out, H2_PING, 1, 0, STR("\0\0\0\0\0\0\0\0"));
    send_frames(&p, &out);
    RUN_UNTIL(find_frame(&p, H2_GOAWAY, 0, 1, &f, &second));
    assert_int_equal(number_at(second, 0), 3);
    get(&p, 5); /* is passed over */
    turns(5);
    answer(seen.held[0], 200, STR("one"));
    RUN_UNTIL(has_body(&p, 1, "one"));
    assert_false(peer_ended(&p));
    answer(seen.held[1], 200, STR("two"));
    RUN_UNTIL(has_body(&p, 3, "two"));
    RUN_UNTIL(peer_ended(&p));
    assert_int_equal(seen.requests, 2);
    peer_close(&p);
    RUN_UNTIL(server_connections(server) == 0);
}

static void test_drain_without_an_answer_to_ping(void **state)
{
    struct peer p = client();
    struct h2_frame f;
    struct str payload;

    (void)state;
    assert_well(&p, 1);
    server_drain(server);
    turns(5);
    assert_false(find_frame(&p, H2_GOAWAY, 0, 1, &f, &payload));
    advance(2 * SECOND_US);
    RUN_UNTIL(find_frame(&p, H2_GOAWAY, 0, 1, &f, &payload));
    assert_int_equal(number_at(payload, 0), 1);
    RUN_UNTIL(peer_ended(&p));
    peer_close(&p);
    RUN_UNTIL(server_connections(server) == 0);
}

static void test_free_with_open_requests(void **state)
{
    const struct server_limits l = limits();
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    get(&p, 1);
    put_headers(&out, 3, MORE, POST);
    put_headers(&out, 5, 0, GET);
    send_frames(&p, &out);
    RUN_UNTIL(seen.heads == 2);
    restart(&l);
    assert_int_equal(seen.gone, 2);
    peer_close(&p);
}

/* --- connections ---------------------------------------------------------------------------- */

static void test_idle_ones_are_shed(void **state)
{
    struct server_limits l = limits();

    (void)state;
    l.connections_max = 2;
    restart(&l);
    struct peer busy = client(), idle = client();
    seen.mode = HOLD;
    get(&busy, 1);
    RUN_UNTIL(seen.requests == 1);
    struct peer third = peer_connect(&address);
    RUN_UNTIL(peer_ended(&idle));
    assert_int_equal(error_of(&idle, 0), NGHTTP2_NO_ERROR);
    assert_int_equal(server_connections(server), 2);
    answer(seen.held[0], 200, STR("still here"));
    RUN_UNTIL(has_body(&busy, 1, "still here"));
    peer_close(&busy);
    peer_close(&idle);
    peer_close(&third);
}

static void test_off(void **state)
{
    struct server_limits l = limits();

    (void)state;
    l.h2.on = false;
    restart(&l);
    struct peer p = connect_peer();
    peer_say(&p, H2_PREFACE);
    RUN_UNTIL(peer_has(&p, "HTTP/1.1 400 "));
    assert_int_equal(seen.error, H1_BAD_VERSION);
    peer_close(&p);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_one_request),
        T(test_byte_by_byte),
        T(test_bodies_of_any_shape),
        T(test_head_has_no_body),
        T(test_continue),
        T(test_many_at_a_time),
        T(test_more_than_at_a_time),
        T(test_streamed_reply),
        T(test_abort_resets),
        T(test_cancelled_stream),
        T(test_reset_at_once_is_never_served),
        T(test_clients_take_turns),
        T(test_lost_connection),
        T(test_reply_waits_for_windows),
        T(test_many_large_replies),
        T(test_large_replies_are_broken_off),
        T(test_large_replies_are_left),
        T(test_large_body),
        T(test_body_beyond_its_window),
        T(test_refused_as_in_http1),
        T(test_malformed),
        T(test_length_unlike_the_body),
        T(test_connect_is_a_method_like_others),
        T(test_trailers),
        T(test_large_head),
        T(test_large_bodies_are_refused),
        T(test_a_refusal_outruns_its_reset),
        T(test_no_memory_for_bodies),
        T(test_early_reply),
        T(test_idle),
        T(test_busy_is_not_idle),
        T(test_half_a_preface),
        T(test_slow_head),
        T(test_slow_body),
        T(test_stalled_reader),
        T(test_floods),
        T(test_rates_are_forgiven),
        T(test_frames_behind_the_end),
        T(test_frames_that_cross),
        T(test_hpack_bomb),
        T(test_drain),
        T(test_drain_without_an_answer_to_ping),
        T(test_free_with_open_requests),
        T(test_idle_ones_are_shed),
        T(test_off),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
