/* test_sim.c - the simulator on a loop of its own, asked over sockets by this same thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/sock.h"
#include "sim/sim.h"

enum { ANSWER_MAX = 16 * 1024 * 1024, TURNS_MAX = 200000 };

struct bench {
    struct loop *loop;
    struct sim *sim;
    struct sock_addr addr;
    struct buf answer; /* of the last exchange */
    bool reset;        /* it ended with a reset */
};

static void bench_init(struct bench *b, struct sim_options o)
{
    b->loop = loop_new();
    b->sim = sim_new(b->loop, &o);
    buf_init(&b->answer, ANSWER_MAX);
    struct sock_addr any;
    assert_true(sock_addr_ip(STR("127.0.0.1"), 0, &any));
    int fd = sock_listen(&any, false, 16);
    assert_true(fd >= 0);
    assert_true(sock_local(fd, &b->addr));
    assert_true(sim_listen(b->sim, fd));
}

static void bench_done(struct bench *b)
{
    sim_free(b->sim);
    loop_turn(b->loop, 0);
    loop_free(b->loop);
    buf_done(&b->answer);
}

static int dial(struct bench *b)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &b->addr.sa, b->addr.len), 0);
    return fd;
}

static void send_all(struct bench *b, int fd, struct str s)
{
    while (s.n > 0) {
        ssize_t n = send(fd, s.p, s.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            assert_int_equal(errno, EAGAIN);
        else
            s = str_skip(s, (size_t)n);
        loop_turn(b->loop, 0);
    }
}

static void send_request(struct bench *b, int fd, const char *method, const char *path,
                         struct str body)
{
    struct buf out;
    buf_init(&out, ANSWER_MAX);
    buf_printf(&out,
               "%s %s HTTP/1.1\r\nHost: sim\r\nX-Api-Key: k\r\nAnthropic-Version: 2023-06-01\r\n"
               "Connection: close\r\nContent-Length: %zu\r\n\r\n",
               method, path, body.n);
    buf_append(&out, body);
    send_all(b, fd, buf_str(&out));
    buf_done(&out);
}

/* Reads until the simulator closes, or until stop has come. */
static void receive(struct bench *b, int fd, const char *stop)
{
    buf_clear(&b->answer);
    b->reset = false;
    for (int i = 0; i < TURNS_MAX; i++) {
        char *room = buf_reserve(&b->answer, 65536);
        assert_non_null(room);
        ssize_t n = recv(fd, room, 65536, MSG_DONTWAIT);
        if (n > 0)
            buf_commit(&b->answer, (size_t)n);
        struct str got = buf_str(&b->answer);
        if (stop && str_find_str(got, str_c(stop)) < got.n)
            return;
        if (n == 0)
            return;
        if (n < 0 && errno != EAGAIN) {
            b->reset = true;
            return;
        }
        loop_turn(b->loop, 1000);
    }
    fail_msg("no end of the answer");
}

static struct str ask(struct bench *b, const char *method, const char *path, struct str body)
{
    int fd = dial(b);
    send_request(b, fd, method, path, body);
    receive(b, fd, NULL);
    close(fd);
    return buf_str(&b->answer);
}

static bool has(struct str s, const char *what)
{
    return str_find_str(s, str_c(what)) < s.n;
}

static void assert_has(struct str s, const char *what)
{
    if (!has(s, what))
        fail_msg("no '%s' in\n%.*s", what, STR_FMT(s));
}

/* The events' names, in order, repeated ones once: "message_start,content_block_start,..." */
static void assert_events(struct str s, const char *expected)
{
    struct buf names;
    buf_init(&names, 65536);
    struct str before = STR("");
    for (size_t i; (i = str_find_str(s, STR("event: "))) < s.n;) {
        s = str_skip(s, i + 7);
        struct str name = str_head(s, str_find(s, '\n'));
        if (!str_eq(name, before))
            buf_printf(&names, "%s%.*s", buf_len(&names) ? "," : "", STR_FMT(name));
        before = name;
    }
    if (!str_eq(buf_str(&names), str_c(expected)))
        fail_msg("events %.*s", STR_FMT(buf_str(&names)));
    buf_done(&names);
}

#define REQUEST(rest)                                                                              \
    STR("{\"model\":\"claude-haiku-4-5\",\"max_tokens\":100000000" rest                            \
        ",\"messages\":[{\"role\":\"user\",\"content\":\"Weather in Paris?\"}]}")
#define ASK(rest)                                                                                  \
    STR("{\"model\":\"claude-haiku-4-5\",\"max_tokens\":64000" rest                                \
        ",\"messages\":[{\"role\":\"user\",\"content\":\"Weather in Paris?\"}]}")
#define TOOLS                                                                                      \
    ",\"tools\":[{\"name\":\"get_weather\",\"input_schema\":{\"type\":\"object\",\"properties\":"  \
    "{\"city\":{\"type\":\"string\"},\"unit\":{\"enum\":[\"c\",\"f\"]},\"days\":{\"type\":"        \
    "\"integer\"}},\"required\":[\"city\",\"unit\"]}}]"
#define TEXT_EVENTS                                                                                \
    "message_start,content_block_start,ping,content_block_delta,content_block_stop,"               \
    "message_delta,message_stop"

static void test_answers(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct sim_options){0});
    struct str s = ask(&b, "POST", "/v1/messages", ASK(""));
    assert_has(s, "HTTP/1.1 200");
    assert_has(s, "request-id: req_");
    assert_has(s, "anthropic-ratelimit-tokens-limit: 2400000");
    assert_has(s, "Weather in Paris?");
    assert_has(s, "\"model\":\"claude-haiku-4-5-20251001\"");
    assert_has(s, "\"stop_reason\":\"end_turn\"");
    s = ask(&b, "POST", "/v1/messages?beta=true", ASK(",\"stop_sequences\":[\"Paris\"]"));
    assert_has(s, "\"stop_sequence\":\"Paris\"");
    assert_false(has(s, "in Paris"));
    s = ask(&b, "POST", "/v1/messages", ASK(",\"stream\":true"));
    assert_has(s, "text/event-stream");
    assert_events(s, TEXT_EVENTS);
    s = ask(&b, "POST", "/v1/messages", ASK(TOOLS));
    assert_has(s, "\"input\":{\"city\":\"Paris\",\"unit\":\"c\"}");
    assert_has(s, "\"stop_reason\":\"tool_use\"");
    s = ask(&b, "POST", "/v1/messages", ASK(",\"stream\":true" TOOLS));
    assert_has(s, "\"partial_json\":\"\"");
    s = ask(&b, "GET", "/v1/models?limit=1", STR(""));
    assert_has(s, "\"has_more\":true");
    s = ask(&b, "GET", "/v1/models/claude-haiku-4-5", STR(""));
    assert_has(s, "\"display_name\":\"Claude Haiku 4.5\"");
    s = ask(&b, "HEAD", "/api/hello", STR(""));
    assert_true(str_ends(s, STR("\r\n\r\n")));
    bench_done(&b);
}

static void test_refusals(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct sim_options){0});
    struct str s = ask(&b, "POST", "/v1/messages", REQUEST(""));
    assert_has(s, "HTTP/1.1 400");
    assert_has(s, "max_tokens: 100000000 > 64000, which is the maximum");
    assert_has(s, "\"request_id\":\"req_");
    assert_has(ask(&b, "POST", "/v1/messages", STR("{")), "The request body is not valid JSON");
    assert_has(ask(&b, "GET", "/v1/messages", STR("")), "HTTP/1.1 405");
    assert_has(ask(&b, "GET", "/_sim/state", STR("")), "HTTP/1.1 404");
    assert_has(ask(&b, "GET", "/v1/models/gpt-4", STR("")), "model: gpt-4");

    static const struct {
        const char *head, *answer;
    } heads[] = {
        {"", "x-api-key header is required"},
        {"X-Api-Key: invalid\r\n", "invalid x-api-key"},
        {"Authorization: Bearer invalid\r\n", "Invalid bearer token"},
        {"Authorization: Bearer k\r\n", "anthropic-version: header is required"},
        {"X-Api-Key: k\r\nAnthropic-Version: 1\r\n", "is not a valid version"},
        {"X-Api-Key: k\r\nAnthropic-Version: 2026-10-21\r\nAnthropic-Beta: x\r\n",
         "Unexpected value(s) `x`"},
        {"X-Api-Key: k\r\nAnthropic-Version: 2026-10-21\r\nContent-Encoding: gzip\r\n",
         "request_body_encoding_unsupported"},
    };

    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct buf out;
        buf_init(&out, 4096);
        buf_printf(&out,
                   "POST /v1/messages HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n%s"
                   "Content-Length: 2\r\n\r\n{}",
                   heads[i].head);
        int fd = dial(&b);
        send_all(&b, fd, buf_str(&out));
        receive(&b, fd, NULL);
        assert_has(buf_str(&b.answer), heads[i].answer);
        close(fd);
        buf_done(&out);
    }
    bench_done(&b);
}

/* Long answers stop at the client's pace and go on; paced ones come event by event. */
static void test_pace(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct sim_options){.answer_tokens = 60000});
    struct str s = ask(&b, "POST", "/v1/messages", ASK(",\"stream\":true"));
    assert_events(s, TEXT_EVENTS);
    assert_has(s, "\"output_tokens\":60000,");
    assert_true(str_ends(s, STR("0\r\n\r\n")));
    bench_done(&b);

    bench_init(&b, (struct sim_options){.event_delay_us = 10, .first_delay_us = 10});
    s = ask(&b, "POST", "/v1/messages", ASK(",\"stream\":true"));
    assert_events(s, TEXT_EVENTS);
    assert_has(ask(&b, "POST", "/v1/messages", ASK("")), "\"stop_reason\":\"end_turn\"");
    bench_done(&b);
}

static struct str play(struct bench *b, const char *answer)
{
    char script[4096];
    int n = snprintf(script, sizeof(script), "{\"answers\":[%s]}", answer);
    assert_has(ask(b, "POST", "/_sim/script", str_of(script, (size_t)n)), "{\"queued\":1}");
    return ask(b, "POST", "/v1/messages", ASK(""));
}

static void test_script(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct sim_options){.control = true});

    static const struct {
        const char *answer, *part;
        bool ends_whole; /* the part is where it ends */
    } cases[] = {
        {"{\"body\":{\"x\":1}}", "\r\n\r\n{\"x\":1}", true},
        {"{\"status\":529,\"body\":\"no\"}", "HTTP/1.1 529", false},
        {"{\"status\":429,\"headers\":{\"retry-after\":\"7\"}}", "retry-after: 7", false},
        {"{\"headers\":[[\"a\",\"1\"],[\"a\",\"2\"]]}", "a: 1\r\na: 2\r\n", false},
        {"{\"body_base64\":\"aGVsbG8=\"}", "hello", true},
        {"{\"events\":[{\"type\":\"ping\"},{\"type\":\"x\",\n\"y\":2}]}",
         "event: x\ndata: {\"type\":\"x\", \"y\":2}\n\n", false},
        {"{\"sse\":\"data: 1\\n\\n\",\"delay_ms\":1}", "data: 1\n\n", false},
        {"{\"split\":1,\"body\":\"hello\"}", "hello", true},
        {"{\"chunks\":[3,9],\"delay_ms\":1,\"body\":\"hello\"}", "hello", true},
        {"{\"cut_after\":3,\"body\":\"hello\"}", "content-length: 5\r\n\r\nhel", true},
        {"{\"raw_head\":\"HTTP/1.1 200 OK\\r\\n\\r\\n\",\"body\":\"b\"}",
         "HTTP/1.1 200 OK\r\n\r\nb", true},
        {"{\"headers\":{\"Content-Length\":\"9\"},\"body\":\"b\"}", "Content-Length: 9\r\n\r\nb",
         true},
        {"{\"garbage\":\"\\u0001what\"}", "\x01what", true},
        {"{\"first_delay_ms\":1,\"body\":\"late\"}", "late", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str s = play(&b, cases[i].answer);
        assert_has(s, cases[i].part);
        assert_true(!cases[i].ends_whole || str_ends(s, str_c(cases[i].part)));
    }
    assert_int_equal(play(&b, "{\"close_before_answer\":true}").n, 0);
    play(&b, "{\"reset_after\":2,\"body\":\"hello\"}");
    assert_true(b.reset);
    bench_done(&b);
}

static void test_match_and_clear(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct sim_options){.control = true});
    struct str other = play(&b, "{\"match\":{\"contains\":\"Rome\"},\"body\":\"no\"}");
    assert_has(other, "\"stop_reason\":\"end_turn\"");
    assert_has(ask(&b, "POST", "/v1/messages",
                   STR("{\"messages\":[{\"role\":\"user\",\"content\":\"Rome\"}]}")),
               "\r\n\r\nno");
    assert_has(play(&b, "{\"match\":{\"contains\":\"Paris\"},\"body\":\"yes\"}"), "\r\n\r\nyes");
    assert_has(ask(&b, "POST", "/_sim/script", STR("[]")), "HTTP/1.1 400");
    assert_has(ask(&b, "POST", "/_sim/script", STR("{\"answers\":[{\"body\":\"z\"}]}")), "200");
    assert_has(ask(&b, "DELETE", "/_sim/script", STR("")), "200");
    assert_has(ask(&b, "POST", "/v1/messages", ASK("")), "\"stop_reason\":\"end_turn\"");
    bench_done(&b);
}

/* Waits until the simulator has noticed that a client left. */
static void assert_state(struct bench *b, const char *expected)
{
    for (int i = 0; i < 1000; i++) {
        if (has(ask(b, "GET", "/_sim/state", STR("")), expected))
            return;
    }
    fail_msg("state is not %s but %.*s", expected, STR_FMT(buf_str(&b->answer)));
}

static void test_clients_that_leave(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct sim_options){.control = true, .event_delay_us = 3600ull * 1000000});
    int fd = dial(&b);
    send_request(&b, fd, "POST", "/v1/messages", ASK(",\"stream\":true"));
    receive(&b, fd, "message_start");
    assert_state(&b, "\"open\":1,\"served\":0,\"aborted\":0");
    close(fd);
    assert_state(&b, "\"open\":0,\"served\":0,\"aborted\":1");

    assert_has(ask(&b, "POST", "/_sim/script", STR("{\"answers\":[{\"silence\":true}]}")), "200");
    fd = dial(&b);
    send_request(&b, fd, "POST", "/v1/messages", ASK(""));
    assert_state(&b, "\"open\":1,");
    close(fd);
    assert_state(&b, "\"open\":0,\"served\":0,\"aborted\":2");
    struct str log = ask(&b, "GET", "/_sim/requests", STR(""));
    assert_has(log, "\"client_closed_early\":true");
    assert_has(log, "\"x-api-key\":\"k\"");
    assert_has(log, "\"body\":{\"model\":\"claude-haiku-4-5\"");
    assert_has(ask(&b, "DELETE", "/_sim/requests", STR("")), "200");
    assert_has(ask(&b, "GET", "/_sim/requests", STR("")), "\r\n\r\n[]");

    /* And one that is still there when the simulator goes. */
    assert_has(
        ask(&b, "POST", "/_sim/script", STR("{\"answers\":[{\"keep_open\":true,\"body\":\"x\"}]}")),
        "200");
    fd = dial(&b);
    send_request(&b, fd, "POST", "/v1/messages", ASK(""));
    receive(&b, fd, "x\r\n");
    bench_done(&b);
    close(fd);
}

static void test_memory(void **state)
{
    (void)state;
    size_t before = mem_live();
    test_answers(state);
    test_script(state);
    test_clients_that_leave(state);
    assert_int_equal(mem_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_script),
        cmocka_unit_test(test_match_and_clear),
        cmocka_unit_test(test_clients_that_leave),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
