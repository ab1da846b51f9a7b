/* test_server.c - the server over loopback sockets, with scripted clients and a scripted handler:
 * framing both ways, every refusal, every timer, clients that leave in every phase, limits. */
#include <sys/resource.h>

#include "handler.h"

#define DATE "Date: Thu, 01 Jan 1970 00:00:01 GMT\r\n"

static int setup(void **state)
{
    const struct server_limits l = handler_limits();

    (void)state;
    handler_setup(&l);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    handler_teardown();
    return 0;
}

static struct peer client(void)
{
    size_t before = server_connections(server);
    struct peer p = peer_connect(&address);

    RUN_UNTIL(server_connections(server) != before);
    return p;
}

#define GET   "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
#define GET_B "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK    "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 2\r\n\r\nok"

/* --- messages ------------------------------------------------------------------------------- */

static void test_one_request(void **state)
{
    struct peer p = client();

    (void)state;
    peer_say(&p, GET);
    RUN_UNTIL(peer_has(&p, "ok"));
    assert_string_equal(p.text, OK);
    assert_string_equal(seen.path, "/a");
    turns(5);
    assert_false(peer_ended(&p));
    peer_close(&p);
    RUN_UNTIL(server_connections(server) == 0);
    assert_int_equal(seen.gone, 0);
}

static void send_slowly(struct peer *p, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        peer_send(p, str_of(s.p + i, 1));
        turns(1);
    }
}

static void test_keep_alive_byte_by_byte(void **state)
{
    struct peer p = client();

    (void)state;
    for (int i = 1; i <= 3; i++) {
        peer_forget(&p);
        send_slowly(&p, STR(GET));
        RUN_UNTIL(peer_has(&p, "ok"));
        assert_string_equal(p.text, OK);
        assert_int_equal(seen.requests, i);
    }
    peer_close(&p);
}

static void test_bodies(void **state)
{
    static const struct {
        struct str message;
        const char *body;
    } cases[] = {
        {STR_INIT("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"), "hello"},
        {STR_INIT("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"), ""},
        {STR_INIT("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nA: b\r\n\r\n"),
         "hello world"},
        {STR_INIT("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), ""},
        {STR_INIT("POST / HTTP/1.1\r\nHost: h\r\n\r\n"), ""},
    };
    struct peer p = client();

    (void)state;
    seen.mode = ECHO;
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        size_t at = i / 2;
        int before = seen.requests;

        if (i % 2)
            send_slowly(&p, cases[at].message);
        else
            peer_send(&p, cases[at].message);
        RUN_UNTIL(seen.requests == before + 1);
        assert_int_equal(buf_len(&seen.body), strlen(cases[at].body));
        assert_memory_equal(seen.body.data, cases[at].body, strlen(cases[at].body));
    }
    assert_int_equal(seen.refused, 0);
    assert_false(peer_ended(&p));
    peer_close(&p);
}

static void test_large_body(void **state)
{
    enum { N = 700 * KIB };
    struct peer p = client();
    char *text = mem_alloc(N);

    (void)state;
    seen.mode = ECHO;
    for (size_t i = 0; i < N; i++)
        text[i] = (char)('a' + i * 7 % 26);
    peer_say(&p, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 716800\r\n\r\n");
    turns(5);
    assert_true(buf_total() < 256 * KIB); /* nothing on the strength of a promise */
    peer_send(&p, str_of(text, N));
    RUN_UNTIL(seen.requests == 1);
    assert_int_equal(buf_len(&seen.body), N);
    assert_memory_equal(buf_str(&seen.body).p, text, N);
    peer_say(&p, GET_B);
    RUN_UNTIL(peer_poll(&p)->n > N);
    RUN_UNTIL(seen.requests == 2);
    assert_string_equal(seen.path, "/b");
    mem_free(text);
    peer_close(&p);
}

static void test_pipelining(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    peer_say(&p, GET GET_B GET);
    RUN_UNTIL(seen.last);
    turns(5);
    assert_int_equal(seen.heads, 1);
    answer(seen.last, 200, STR("one"));
    seen.last = NULL;
    RUN_UNTIL(seen.last);
    assert_string_equal(seen.path, "/b");
    assert_int_equal(seen.heads, 2);
    assert_true(peer_has(&p, "one"));
    answer(seen.last, 200, STR("two"));
    seen.mode = ANSWER;
    RUN_UNTIL(peer_count(&p, "HTTP/1.1 200") == 3);
    peer_close(&p);
}

/* A client that pipelines and does not read is made to wait; it cannot fill our memory. */
static void test_pipelining_without_reading(void **state)
{
    struct peer p = client();
    size_t sent = 0;

    (void)state;
    seen.mode = BIG;
    for (int i = 0; i < 60000; i++) {
        sent += peer_offer(&p, STR(GET)) == sizeof(GET) - 1;
        if (i % 64 == 0) {
            turns(1);
            assert_true(buf_total() < 1024 * KIB);
        }
    }
    assert_true(sent > 1000);
    peer_close(&p);
    RUN_UNTIL(server_connections(server) == 0);
}

static void test_expect_continue(void **state)
{
    struct peer p = client();

    (void)state;
    peer_say(&p, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    RUN_UNTIL(peer_has(&p, "\r\n\r\n"));
    assert_string_equal(p.text, "HTTP/1.1 100 Continue\r\n\r\n");
    peer_forget(&p);
    peer_say(&p, "hi");
    RUN_UNTIL(peer_has(&p, "ok"));
    assert_string_equal(p.text, OK);
    peer_forget(&p);
    peer_say(&p, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
                 "Expect: 100-continue\r\n\r\nhi");
    RUN_UNTIL(peer_has(&p, "ok"));
    assert_string_equal(p.text, OK);
    peer_forget(&p);
    seen.mode = REFUSE_HEAD;
    peer_say(&p, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    RUN_UNTIL(peer_ended(&p));
    assert_null(strstr(p.text, "100 Continue"));
    assert_non_null(strstr(p.text, "HTTP/1.1 401"));
    peer_close(&p);
}

static void test_head_has_no_body(void **state)
{
    struct peer p = client();

    (void)state;
    peer_say(&p, "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n" GET_B);
    RUN_UNTIL(peer_has(&p, "ok"));
    assert_string_equal(p.text, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 2\r\n\r\n" OK);
    peer_close(&p);
}

static void test_stream_in_chunks(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    peer_say(&p, GET);
    RUN_UNTIL(seen.last);
    reply_start(seen.last, 200);
    reply_field(seen.last, STR("X-A"), STR("b"));
    reply_field_u64(seen.last, STR("X-N"), 42);
    assert_true(reply_started(seen.last));
    reply_head_end(seen.last, -1);
    buf_lit(reply_body_begin(seen.last), "first");
    reply_body_end(seen.last);
    RUN_UNTIL(peer_has(&p, "first"));
    assert_string_equal(p.text, "HTTP/1.1 200 OK\r\n" DATE "X-A: b\r\nX-N: 42\r\n"
                                "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    peer_forget(&p);
    (void)reply_body_begin(seen.last); /* nothing to say: no chunk */
    reply_body_end(seen.last);
    turns(3);
    assert_int_equal(peer_poll(&p)->n, 0);
    reply_body(seen.last, STR("0123456789abcdef"));
    reply_end(seen.last);
    RUN_UNTIL(peer_has(&p, "0\r\n\r\n"));
    assert_string_equal(p.text, "10\r\n0123456789abcdef\r\n0\r\n\r\n");
    seen.mode = ANSWER;
    peer_say(&p, GET);
    RUN_UNTIL(peer_has(&p, "ok"));
    peer_close(&p);
}

static void test_http10(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    peer_say(&p, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    RUN_UNTIL(seen.last);
    answer(seen.last, 200, STR("one"));
    seen.last = NULL;
    RUN_UNTIL(peer_has(&p, "one"));
    assert_true(peer_has(&p, "Connection: keep-alive\r\n"));
    peer_forget(&p);
    peer_say(&p, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    RUN_UNTIL(seen.last);
    reply_start(seen.last, 200);
    reply_head_end(seen.last, -1);
    reply_body(seen.last, STR("bare"));
    reply_end(seen.last);
    RUN_UNTIL(peer_ended(&p));
    assert_true(p.eof);
    assert_string_equal(p.text, "HTTP/1.1 200 OK\r\n" DATE "Connection: close\r\n\r\nbare");
    peer_close(&p);
}

static void test_connection_close(void **state)
{
    struct peer p = client();

    (void)state;
    peer_say(&p, "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" GET_B);
    RUN_UNTIL(peer_ended(&p));
    assert_true(p.eof);
    assert_int_equal(seen.requests, 1);
    assert_non_null(strstr(p.text, "Connection: close\r\n"));
    peer_close(&p);
    RUN_UNTIL(server_connections(server) == 0);
}

/* --- refusals ------------------------------------------------------------------------------- */

#define POST(n) "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " n "\r\n\r\n"
#define CHUNKED "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

static void test_refusals(void **state)
{
    static const struct {
        struct str message;
        enum server_refusal why;
        enum h1_error error;
    } cases[] = {
        {STR_INIT("GET /a\r\n\r\n" GET_B), SERVER_BAD_MESSAGE, H1_BAD_LINE},
        {STR_INIT("GET /a HTTP/1.1\r\n\r\n" GET_B), SERVER_BAD_MESSAGE, H1_BAD_HOST},
        {STR_INIT("GET /a HTTP/2.0\r\nHost: h\r\n\r\n" GET_B), SERVER_BAD_MESSAGE, H1_BAD_VERSION},
        {STR_INIT(CHUNKED "zz\r\n" GET_B), SERVER_BAD_MESSAGE, H1_BAD_CHUNK},
        {STR_INIT(CHUNKED "3\r\nabcX\r\n" GET_B), SERVER_BAD_MESSAGE, H1_BAD_CHUNK},
        {STR_INIT(POST("1048577") GET_B), SERVER_BODY_TOO_LONG, H1_BODY_TOO_LONG},
    };

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        size_t at = i / 2;
        struct peer p = client();

        seen.refused = seen.requests = 0;
        if (i % 2)
            send_slowly(&p, cases[at].message);
        else
            peer_send(&p, cases[at].message);
        RUN_UNTIL(peer_has(&p, "refused"));
        peer_half_close(&p);
        RUN_UNTIL(peer_ended(&p));
        assert_true(p.eof);
        assert_non_null(strstr(p.text, "Connection: close\r\n"));
        assert_int_equal(seen.refused, 1);
        assert_int_equal(seen.requests, 0);
        assert_int_equal(seen.why, cases[at].why);
        assert_int_equal(seen.error, cases[at].error);
        peer_close(&p);
        RUN_UNTIL(server_connections(server) == 0);
    }
    assert_int_equal(seen.gone, 0);
}

static void fill(struct buf *b, size_t n, char c)
{
    char *room = buf_reserve(b, n);

    assert_non_null(room);
    memset(room, c, n);
    buf_commit(b, n);
}

static void test_head_too_long(void **state)
{
    struct peer p = client();
    struct buf text;

    (void)state;
    buf_init(&text, 8 * KIB);
    buf_lit(&text, "GET / HTTP/1.1\r\nHost: h\r\nA: ");
    fill(&text, 5 * KIB, 'x');
    peer_send(&p, buf_str(&text));
    RUN_UNTIL(peer_has(&p, "refused"));
    assert_int_equal(seen.error, H1_HEAD_TOO_LONG);
    assert_int_equal(seen.refused, 1);
    buf_done(&text);
    peer_close(&p);
}

static void test_endless_chunks(void **state)
{
    struct peer p = client();
    struct buf chunk;

    (void)state;
    buf_init(&chunk, 8 * KIB);
    buf_lit(&chunk, "1000\r\n");
    fill(&chunk, 4 * KIB, 'x');
    buf_lit(&chunk, "\r\n");
    peer_say(&p, CHUNKED);
    for (int i = 0; i < 300 && !seen.refused; i++) {
        (void)peer_offer(&p, buf_str(&chunk));
        turns(1);
    }
    assert_int_equal(seen.refused, 1);
    assert_int_equal(seen.why, SERVER_BODY_TOO_LONG);
    assert_true(buf_total() < 3 * BODY_MAX);
    buf_done(&chunk);
    peer_close(&p);
}

/* Who sends as fast as it is read does not keep others waiting, however little each byte brings. */
static void test_clients_take_turns(void **state)
{
    enum { CHUNKS = 100 * KIB, ROOM = 4 * 1024 * KIB };
    struct peer much = client(), little = client();
    struct buf body;
    size_t offered;

    (void)state;
    seen.mode = HOLD;
    buf_init(&body, ROOM);
    for (int i = 0; i < CHUNKS; i++)
        buf_lit(&body, "1\r\nx\r\n");
    buf_lit(&body, "0\r\n\r\n");
    assert_int_equal(setsockopt(much.fd, SOL_SOCKET, SO_SNDBUF, &(int){ROOM}, sizeof(int)), 0);
    peer_say(&much, CHUNKED);
    offered = peer_offer(&much, buf_str(&body));
    peer_say(&little, GET_B);
    RUN_UNTIL(seen.requests == 1);
    assert_int_equal(buf_len(&seen.held[0]->body), 0);
    peer_send(&much, str_skip(buf_str(&body), offered));
    RUN_UNTIL(seen.requests == 2);
    assert_int_equal(buf_len(&seen.held[1]->body), CHUNKS);
    buf_done(&body);
    peer_close(&much);
    peer_close(&little);
}

static void test_overloaded(void **state)
{
    struct server_limits l = handler_limits();
    struct peer p;
    struct buf text;

    (void)state;
    l.total_max = 128 * KIB;
    restart(&l);
    p = client();
    buf_init(&text, 300 * KIB);
    buf_lit(&text, POST("262144"));
    fill(&text, 256 * KIB, 'x');
    for (size_t done = 0; done < buf_len(&text) && !seen.refused; turns(1))
        done += peer_offer(&p, str_skip(buf_str(&text), done));
    RUN_UNTIL(seen.refused);
    assert_int_equal(seen.why, SERVER_OVERLOADED);
    RUN_UNTIL(peer_has(&p, "refused"));
    buf_done(&text);
    peer_close(&p);
}

/* The client goes on sending for a while: it must see the answer, and no reset before it. */
static void test_answer_is_not_lost_in_a_reset(void **state)
{
    struct peer p = client();
    char some[4 * KIB];

    (void)state;
    seen.mode = REFUSE_HEAD;
    memset(some, 'x', sizeof(some));
    peer_say(&p, POST("1000000"));
    for (int i = 0; i < 8; i++) {
        peer_send(&p, str_of(some, sizeof(some)));
        turns(1);
    }
    RUN_UNTIL(peer_has(&p, "who?"));
    assert_false(p.reset);
    peer_half_close(&p);
    RUN_UNTIL(peer_ended(&p));
    assert_true(p.eof);
    assert_int_equal(seen.requests, 0);
    assert_int_equal(seen.gone, 0);
    peer_close(&p);
}

static void test_linger_ends(void **state)
{
    struct peer p = client();

    (void)state;
    peer_say(&p, "nonsense\r\n\r\n");
    RUN_UNTIL(peer_has(&p, "refused"));
    turns(5);
    assert_int_equal(server_connections(server), 1); /* the client has not closed yet */
    advance(3 * SECOND_US);
    assert_int_equal(server_connections(server), 0);
    peer_close(&p);
}

/* --- time ----------------------------------------------------------------------------------- */

static void test_slow_head(void **state)
{
    struct peer p = client();

    (void)state;
    peer_say(&p, "GET / HT");
    turns(3);
    for (int i = 0; i < 9; i++) {
        advance(1 * SECOND_US);
        peer_say(&p, "x"); /* a byte now and then does not help */
        turns(2);
    }
    assert_int_equal(seen.refused, 0);
    advance(2 * SECOND_US);
    assert_int_equal(seen.refused, 1);
    assert_int_equal(seen.why, SERVER_SLOW_HEAD);
    RUN_UNTIL(peer_has(&p, "refused"));
    peer_close(&p);
}

static void test_slow_body(void **state)
{
    struct peer p = client();

    (void)state;
    peer_say(&p, POST("100"));
    turns(3);
    for (int i = 0; i < 59; i++) {
        advance(1 * SECOND_US);
        peer_say(&p, "x");
        turns(2);
    }
    assert_int_equal(seen.refused, 0);
    advance(2 * SECOND_US);
    assert_int_equal(seen.refused, 1);
    assert_int_equal(seen.why, SERVER_SLOW_BODY);
    RUN_UNTIL(peer_has(&p, "refused"));
    peer_close(&p);
}

static void test_idle(void **state)
{
    struct peer p = client();

    (void)state;
    advance(60 * SECOND_US);
    peer_say(&p, GET);
    RUN_UNTIL(seen.requests == 1);
    advance(60 * SECOND_US);
    assert_int_equal(server_connections(server), 1);
    advance(20 * SECOND_US);
    assert_int_equal(server_connections(server), 0);
    RUN_UNTIL(peer_ended(&p));
    assert_int_equal(seen.refused, 0);
    peer_close(&p);
}

static void test_a_held_request_may_last(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    peer_say(&p, GET);
    RUN_UNTIL(seen.last);
    advance(3600ull * SECOND_US);
    assert_non_null(seen.last);
    answer(seen.last, 200, STR("late"));
    RUN_UNTIL(peer_has(&p, "late"));
    peer_close(&p);
}

/* Begins a stream and fills it until the socket takes no more. */
static void stuff(struct request *r)
{
    static const char some[16 * KIB];

    reply_start(r, 200);
    reply_head_end(r, -1);
    for (int i = 0; i < 2000 && reply_queued(r) < SERVER_HIGH_MARK; i++) {
        reply_body(r, str_of(some, sizeof(some)));
        turns(1);
    }
    while (reply_queued(r) < SERVER_HIGH_MARK)
        reply_body(r, str_of(some, sizeof(some)));
}

/* Over a unix socket, where bytes move at once and buffers are small. */
static struct peer narrow_client(void)
{
    char path[64];
    struct sock_addr unix_address;
    struct peer p;
    int fd;

    snprintf(path, sizeof(path), P_tmpdir "/test_server.%d", (int)getpid());
    assert_true(sock_addr_unix(str_c(path), &unix_address));
    fd = sock_listen(&unix_address, false, 4);
    assert_true(fd >= 0);
    assert_true(server_listen(server, fd));
    p = peer_connect(&unix_address);
    RUN_UNTIL(server_connections(server) == 1);
    (void)unlink(path);
    return p;
}

static void test_marks(void **state)
{
    struct peer p = narrow_client();

    (void)state;
    seen.mode = HOLD;
    peer_say(&p, GET);
    RUN_UNTIL(seen.last);
    stuff(seen.last);
    turns(3);
    seen.drained = 0;
    assert_true(reply_queued(seen.last) >= SERVER_HIGH_MARK / 2);
    RUN_UNTIL(peer_poll(&p)->n > 0 && seen.drained > 0);
    assert_int_equal(seen.drained, 1);
    assert_true(reply_queued(seen.last) <= SERVER_LOW_MARK);
    reply_end(seen.last);
    RUN_UNTIL(peer_poll(&p)->n > 5 && memcmp(p.text + p.n - 5, "0\r\n\r\n", 5) == 0);
    peer_close(&p);
}

static void test_client_that_does_not_read(void **state)
{
    struct peer p = narrow_client();

    (void)state;
    seen.mode = HOLD;
    peer_say(&p, GET);
    RUN_UNTIL(seen.last);
    stuff(seen.last);
    turns(3);
    advance(29 * SECOND_US);
    assert_int_equal(seen.gone, 0);
    advance(2 * SECOND_US);
    assert_int_equal(seen.gone, 1);
    assert_int_equal(server_connections(server), 0);
    peer_close(&p);
}

/* The reply is complete, but not yet with the client, who is slow and reads on: no timer may cut
 * it, neither that for writing nor that for idleness. */
static void test_slow_reader_gets_all(void **state)
{
    enum { N = 3 * BODY_MAX };
    struct peer p = narrow_client();
    char *text = mem_zalloc(N);

    (void)state;
    seen.mode = HOLD;
    peer_say(&p, GET);
    RUN_UNTIL(seen.last);
    answer(seen.last, 200, str_of(text, N));
    turns(2);
    for (int i = 0; i < 3; i++) {
        for (size_t before = p.n; p.n < before + 256 * KIB;) {
            ssize_t n = recv(p.fd, p.text + p.n, 32 * KIB, MSG_DONTWAIT);
            p.n += n > 0 ? (size_t)n : 0;
            loop_turn(loop, 1000);
        }
        advance(28 * SECOND_US);
    }
    RUN_UNTIL(peer_poll(&p)->n > N);
    assert_false(p.eof || p.reset);
    mem_free(text);
    peer_close(&p);
}

/* --- clients that leave --------------------------------------------------------------------- */

enum leave { CLOSE, HALF, RESET, LEAVES };

static void leave(struct peer *p, enum leave how)
{
    if (how == HALF)
        peer_half_close(p);
    else if (how == RESET)
        peer_reset(p);
    else
        peer_close(p);
}

static void test_gone_in_every_phase(void **state)
{
    static const struct {
        struct str sent;
        enum mode mode;
        bool streaming;
        int gone;
    } cases[] = {
        {STR_INIT(""), HOLD, false, 0},
        {STR_INIT("GET / HT"), HOLD, false, 0},
        {STR_INIT(POST("100")), HOLD, false, 1},
        {STR_INIT(POST("100") "abc"), HOLD, false, 1},
        {STR_INIT(CHUNKED "a\r\nabc"), HOLD, false, 1},
        {STR_INIT(GET), HOLD, false, 1},
        {STR_INIT(GET GET_B), HOLD, false, 1},
        {STR_INIT(GET), HOLD, true, 1},
        {STR_INIT(GET GET_B), HOLD, true, 1},
        {STR_INIT(GET), ANSWER, false, 0},
    };

    (void)state;
    /* together: what was sent and the end of it come in one event */
    for (size_t i = 0; i < ARRAY_LEN(cases) * LEAVES * 2; i++) {
        size_t at = i / (LEAVES * 2);
        bool together = i % 2;
        struct peer p = client();

        seen.mode = cases[at].mode;
        seen.gone = seen.heads = 0;
        seen.last = NULL;
        peer_send(&p, cases[at].sent);
        if (!together)
            turns(3);
        if (cases[at].streaming && seen.last) {
            reply_start(seen.last, 200);
            reply_head_end(seen.last, -1);
            reply_body(seen.last, STR("event"));
            turns(1);
        }
        leave(&p, i / 2 % LEAVES);
        RUN_UNTIL(server_connections(server) == 0);
        if (!together || i / 2 % LEAVES != RESET)
            assert_int_equal(seen.gone, cases[at].gone);
        assert_int_equal(seen.refused, 0);
        if (p.fd >= 0)
            peer_close(&p);
    }
}

/* Unread pipelined bytes stand between us and the FIN; it is noticed all the same. */
static void test_gone_behind_unread_bytes(void **state)
{
    struct peer p = client();
    size_t taken, sent = 0;

    (void)state;
    seen.mode = HOLD;
    peer_say(&p, GET);
    RUN_UNTIL(seen.last);
    while ((taken = peer_offer(&p, STR(GET GET GET GET GET GET GET GET))) > 0 && sent < 32 * KIB) {
        sent += taken;
        turns(1);
    }
    assert_true(sent >= 32 * KIB);
    assert_true(buf_total() < 256 * KIB);
    assert_int_equal(seen.heads, 1);
    peer_half_close(&p);
    RUN_UNTIL(seen.gone == 1);
    RUN_UNTIL(server_connections(server) == 0);
    peer_close(&p);
}

/* The client ends its side while the first reply is still on its way: it gets that one, and the
 * request behind it ends with nobody to answer to. */
static void test_gone_with_pipelined_requests(void **state)
{
    struct peer p = narrow_client();
    char *text = mem_zalloc(BODY_MAX);

    (void)state;
    seen.mode = HOLD;
    peer_say(&p, GET GET_B);
    RUN_UNTIL(seen.last);
    answer(seen.last, 200, str_of(text, BODY_MAX));
    seen.last = NULL;
    turns(3);
    peer_half_close(&p);
    turns(3);
    assert_int_equal(seen.gone, 0);
    RUN_UNTIL(peer_poll(&p)->n > BODY_MAX && seen.heads == 2);
    RUN_UNTIL(server_connections(server) == 0);
    assert_int_equal(seen.gone, 1);
    mem_free(text);
    peer_close(&p);
}

static void test_abort_is_noticed(void **state)
{
    struct peer p = client();

    (void)state;
    seen.mode = HOLD;
    peer_say(&p, GET);
    RUN_UNTIL(seen.last);
    reply_start(seen.last, 200);
    reply_head_end(seen.last, -1);
    reply_body(seen.last, STR("half"));
    turns(1);
    reply_abort(seen.last);
    RUN_UNTIL(peer_ended(&p));
    assert_null(strstr(p.text, "\r\n0\r\n"));
    assert_int_equal(seen.gone, 0);
    assert_int_equal(server_connections(server), 0);
    peer_close(&p);
}

static void test_body_may_be_taken(void **state)
{
    struct peer p = client();
    struct buf body;

    (void)state;
    seen.mode = HOLD;
    peer_say(&p, POST("5") "hello");
    RUN_UNTIL(seen.last);
    body = buf_take(&seen.last->body);
    answer(seen.last, 200, STR("ok"));
    RUN_UNTIL(peer_has(&p, "ok"));
    assert_true(str_eq(buf_str(&body), STR("hello")));
    buf_done(&body);
    peer_close(&p);
}

static void test_hijack(void **state)
{
    struct peer p = client();
    struct stream *s;
    char one[1] = "x";

    (void)state;
    seen.mode = HOLD;
    peer_say(&p, GET);
    RUN_UNTIL(seen.last);
    s = server_hijack(seen.last);
    assert_int_equal(server_connections(server), 0);
    assert_int_equal(stream_writev(s, &(struct iovec){one, 1}, 1), 1);
    RUN_UNTIL(peer_has(&p, "x"));
    stream_close(&s);
    RUN_UNTIL(peer_ended(&p));
    assert_int_equal(seen.gone, 0);
    peer_close(&p);
}

/* --- the set of connections ----------------------------------------------------------------- */

static void test_drain(void **state)
{
    struct peer idle = client(), busy = client(), coming = client(), late = client();

    (void)state;
    seen.mode = HOLD;
    peer_say(&coming, "POST / HTTP/1.1\r\nHo");
    peer_say(&busy, GET);
    RUN_UNTIL(seen.last);
    server_drain(server);
    seen.mode = ANSWER;
    turns(3);
    assert_false(peer_ended(&idle));
    peer_say(&late, GET);
    RUN_UNTIL(peer_ended(&late));
    assert_non_null(strstr(late.text, "Connection: close\r\n"));
    peer_close(&late);
    advance(1 * SECOND_US);
    RUN_UNTIL(peer_ended(&idle));
    assert_int_equal(server_connections(server), 2);
    assert_false(peer_ended(&busy));
    answer(seen.last, 200, STR("last"));
    seen.last = NULL;
    RUN_UNTIL(peer_ended(&busy));
    assert_non_null(strstr(busy.text, "Connection: close\r\n"));
    assert_non_null(strstr(busy.text, "last"));
    seen.mode = ANSWER;
    peer_say(&coming, "st: h\r\n\r\n");
    RUN_UNTIL(peer_ended(&coming));
    assert_non_null(strstr(coming.text, "Connection: close\r\n"));
    peer_close(&idle);
    peer_close(&busy);
    peer_close(&coming);
    RUN_UNTIL(server_connections(server) == 0);
}

static void test_shedding(void **state)
{
    struct server_limits l = handler_limits();
    struct peer a, b, c;

    (void)state;
    l.connections_max = 2;
    restart(&l);
    a = client();
    b = client();
    peer_say(&a, GET); /* b is idle longer now */
    RUN_UNTIL(peer_has(&a, "ok"));
    c = peer_connect(&address);
    RUN_UNTIL(peer_ended(&b));
    assert_int_equal(server_connections(server), 2);
    assert_false(peer_ended(&a));
    peer_say(&c, GET);
    RUN_UNTIL(peer_has(&c, "ok"));
    peer_close(&a);
    peer_close(&b);
    peer_close(&c);
}

/* Nobody can be shed who has a request open; then it is the new one that goes. */
static void test_too_many_at_work(void **state)
{
    struct server_limits l = handler_limits();
    struct peer a, b, c;

    (void)state;
    l.connections_max = 1;
    restart(&l);
    a = client();
    seen.mode = HOLD;
    peer_say(&a, GET);
    RUN_UNTIL(seen.last);
    b = peer_connect(&address);
    RUN_UNTIL(peer_ended(&b));
    assert_int_equal(server_connections(server), 1);
    answer(seen.last, 200, STR("still here"));
    RUN_UNTIL(peer_has(&a, "still here"));
    peer_say(&a, "GET / HT"); /* but who only dawdles over a head can */
    turns(3);
    c = peer_connect(&address);
    RUN_UNTIL(peer_ended(&a));
    peer_close(&a);
    peer_close(&b);
    peer_close(&c);
}

static void test_no_descriptors_left(void **state)
{
    struct rlimit before, none;
    struct peer p;
    int spare = dup(0);

    (void)state;
    assert_true(spare >= 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    p = peer_connect(&address);
    none.rlim_cur = (rlim_t)spare; /* none above what is open, and the gap is not there yet */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    turns(20);
    assert_int_equal(server_connections(server), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    turns(20); /* accepting rests ... */
    advance(1 * SECOND_US);
    RUN_UNTIL(server_connections(server) == 1); /* ... and goes on */
    peer_say(&p, GET);
    RUN_UNTIL(peer_has(&p, "ok"));
    peer_close(&p);
    (void)close(spare);
}

static void test_free_with_open_requests(void **state)
{
    const struct server_limits l = handler_limits();
    struct peer a = client(), b = client(), c = client();

    (void)state;
    seen.mode = HOLD;
    peer_say(&a, GET);
    RUN_UNTIL(seen.last);
    peer_say(&b, POST("10") "abc");
    RUN_UNTIL(seen.heads == 2);
    restart(&l);
    assert_int_equal(seen.gone, 2);
    peer_close(&a);
    peer_close(&b);
    peer_close(&c);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_request),
        TEST(test_keep_alive_byte_by_byte),
        TEST(test_bodies),
        TEST(test_large_body),
        TEST(test_pipelining),
        TEST(test_pipelining_without_reading),
        TEST(test_expect_continue),
        TEST(test_head_has_no_body),
        TEST(test_stream_in_chunks),
        TEST(test_http10),
        TEST(test_connection_close),
        TEST(test_refusals),
        TEST(test_head_too_long),
        TEST(test_endless_chunks),
        TEST(test_clients_take_turns),
        TEST(test_overloaded),
        TEST(test_answer_is_not_lost_in_a_reset),
        TEST(test_linger_ends),
        TEST(test_slow_head),
        TEST(test_slow_body),
        TEST(test_idle),
        TEST(test_a_held_request_may_last),
        TEST(test_marks),
        TEST(test_client_that_does_not_read),
        TEST(test_slow_reader_gets_all),
        TEST(test_gone_in_every_phase),
        TEST(test_gone_behind_unread_bytes),
        TEST(test_gone_with_pipelined_requests),
        TEST(test_abort_is_noticed),
        TEST(test_body_may_be_taken),
        TEST(test_hijack),
        TEST(test_drain),
        TEST(test_shedding),
        TEST(test_too_many_at_work),
        TEST(test_no_descriptors_left),
        TEST(test_free_with_open_requests),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
