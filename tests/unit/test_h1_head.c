/* test_h1_head.c - what the parts of HTTP/1.1 heads mean: tables of targets, errors, framing,
 * fields and responses.
 */
#include "h1_feed.h"

/* ---- requests ---- */

#define NO STR_INIT("\x01") /* for: absent */

static bool span_is(struct str s, struct str expect)
{
    if (str_eq(expect, STR("\x01")))
        return s.p == NULL;
    return s.p && str_eq(s, expect);
}

static const struct {
    struct str in;
    enum h1_method method;
    struct str path, query, authority;
} targets[] = {
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), H1_GET, STR_INIT("/"), NO, STR_INIT("a")},
    {STR_INIT("HEAD /v1 HTTP/1.1\r\nHost: a:1\r\n\r\n"), H1_HEAD, STR_INIT("/v1"), NO,
     STR_INIT("a:1")},
    {STR_INIT("POST /v1?a=b?c HTTP/1.1\r\nHost: a\r\n\r\n"), H1_POST, STR_INIT("/v1"),
     STR_INIT("a=b?c"), STR_INIT("a")},
    {STR_INIT("GET /? HTTP/1.1\r\nHost: a\r\n\r\n"), H1_GET, STR_INIT("/"), STR_INIT(""),
     STR_INIT("a")},
    {STR_INIT("GET /%41%2f HTTP/1.0\r\n\r\n"), H1_GET, STR_INIT("/%41%2f"), NO, NO},
    {STR_INIT("GET //a/b HTTP/1.0\r\n\r\n"), H1_GET, STR_INIT("//a/b"), NO, NO},
    {STR_INIT("GET /a/./b HTTP/1.0\r\n\r\n"), H1_GET, STR_INIT("/a/./b"), NO, NO},
    {STR_INIT("GET /a/.../..b/c.. HTTP/1.0\r\n\r\n"), H1_GET, STR_INIT("/a/.../..b/c.."), NO, NO},
    {STR_INIT("GET /%252e%252e/ HTTP/1.0\r\n\r\n"), H1_GET, STR_INIT("/%252e%252e/"), NO, NO},
    {STR_INIT("GET /a?b[]={c}|^`~ HTTP/1.0\r\n\r\n"), H1_GET, STR_INIT("/a"),
     STR_INIT("b[]={c}|^`~"), NO},
    {STR_INIT("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), H1_OPTIONS, STR_INIT("*"), NO,
     STR_INIT("a")},
    {STR_INIT("OPTIONS /a HTTP/1.1\r\nHost: a\r\n\r\n"), H1_OPTIONS, STR_INIT("/a"), NO,
     STR_INIT("a")},
    {STR_INIT("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n"), H1_OPTIONS, STR_INIT("*"), NO,
     STR_INIT("a")},
    {STR_INIT("OPTIONS http://a?b HTTP/1.1\r\nHost: a\r\n\r\n"), H1_OPTIONS, STR_INIT("/"),
     STR_INIT("b"), STR_INIT("a")},
    {STR_INIT("GET http://A/b?c HTTP/1.1\r\nHost: a:80\r\n\r\n"), H1_GET, STR_INIT("/b"),
     STR_INIT("c"), STR_INIT("A")},
    {STR_INIT("GET HTTPS://a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), H1_GET, STR_INIT("/"), NO,
     STR_INIT("a:443")},
    {STR_INIT("GET http://[::1]:0080/ HTTP/1.1\r\nHost: [::1]\r\n\r\n"), H1_GET, STR_INIT("/"), NO,
     STR_INIT("[::1]:0080")},
    {STR_INIT("GET http://b/ HTTP/1.0\r\n\r\n"), H1_GET, STR_INIT("/"), NO, STR_INIT("b")},
    {STR_INIT("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"), H1_OTHER, STR_INIT("a:443"), NO,
     STR_INIT("a:443")},
    {STR_INIT("PATCH /a HTTP/1.1\r\nHost: a\r\n\r\n"), H1_OTHER, STR_INIT("/a"), NO, STR_INIT("a")},
    {STR_INIT("get /a HTTP/1.1\r\nHost: a\r\n\r\n"), H1_OTHER, STR_INIT("/a"), NO, STR_INIT("a")},
};

static void test_targets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct str in = targets[i].in;
        struct outcome o = parse_head(REQUEST, in);
        if (o.result != H1_DONE || head.method != targets[i].method ||
            !span_is(head.path, targets[i].path) || !span_is(head.query, targets[i].query) ||
            !span_is(head.authority, targets[i].authority))
            fail_msg("%.*s", STR_FMT(in));
        assert_int_equal(o.used, in.n);
        assert_int_equal(head.method_text.n, str_find(in, ' '));
        assert_true(str_starts(str_skip(in, head.method_text.n + 1), head.target));
    }
}

/* Errors by name, where the shared table only knows the status. */
static const struct {
    struct str in;
    enum h1_error error;
} refused[] = {
    {STR_INIT("GET / HTTP/1.1\r\n\r\n"), H1_BAD_HOST},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), H1_BAD_HOST},
    {STR_INIT("GET / HTTP/1.0\r\nHost: a b\r\n\r\n"), H1_BAD_HOST},
    {STR_INIT("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_HOST},
    {STR_INIT("GET http://a:8/ HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_HOST},
    {STR_INIT("GET http://a:80/ HTTP/1.1\r\nHost: a:443\r\n\r\n"), H1_BAD_HOST},
    {STR_INIT("GET http://x@a/ HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_TARGET},
    {STR_INIT("GET ws://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_TARGET},
    {STR_INIT("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_TARGET},
    {STR_INIT("POST /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_TARGET},
    {STR_INIT("GET /a%0 HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_TARGET},
    {STR_INIT("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_TARGET},
    {STR_INIT("GET /.%2e HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_TARGET},
    {STR_INIT("GET /\t HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_TARGET},
    {STR_INIT("GE\x7f / HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_METHOD},
    {STR_INIT("\r\nGET(/ HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_METHOD},
    {STR_INIT(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), H1_BAD_METHOD},
    {STR_INIT("\r\n\r\n"), H1_BAD_LINE},
    {STR_INIT("\r\r"), H1_BAD_LINE},
    {STR_INIT("\n"), H1_BAD_LINE},
    {STR_INIT("GET\r\n\r\n"), H1_BAD_LINE},
    {STR_INIT("GET /\r\n\r\n"), H1_BAD_LINE},
    {STR_INIT("GET  / HTTP/1.1\r\n\r\n"), H1_BAD_LINE},
    {STR_INIT("GET / HTTP/1.1 \r\n\r\n"), H1_BAD_LINE},
    {STR_INIT("GET / HTTP/1.\r\n\r\n"), H1_BAD_LINE},
    {STR_INIT("GET / HTTP/1.12\r\n\r\n"), H1_BAD_LINE},
    {STR_INIT("GET / http/1.1\r\n\r\n"), H1_BAD_LINE},
    {STR_INIT("GET / H\r\n\r\n"), H1_BAD_LINE},
    {STR_INIT("GET / HTTP/2.0\r\n\r\n"), H1_BAD_VERSION},
    {STR_INIT("GET /\0"), H1_BAD_LINE},
    {STR_INIT("GET / HTTP/1.1\n"), H1_BAD_LINE},
    {STR_INIT("\r\nGET / HTTP/1.1\n"), H1_BAD_LINE},
    {STR_INIT("GET / HTTP/1.1\r\nA\n"), H1_BAD_FIELD},
    {STR_INIT("GET / HTTP/1.1\r\n\rA"), H1_BAD_FIELD},
    {STR_INIT("GET / HTTP/1.1\r\n\0"), H1_BAD_FIELD},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n"), H1_BAD_FIELD},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n"), H1_BAD_FIELD},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nb: \xc3\xa9\r\n\r\n"), H1_BAD_FIELD},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nX__Api_Key: c\r\n\r\n"), H1_BAD_FIELD},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nConnection: a b\r\n\r\n"), H1_BAD_FIELD},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nConnection: a\r\nConnection: (\r\n\r\n"), H1_BAD_FIELD},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: a\r\n\r\n"), H1_BAD_LENGTH},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
     H1_BAD_LENGTH},
    {STR_INIT("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_BAD_ENCODING},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: a\r\n\r\n"),
     H1_BAD_ENCODING},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: a\r\nTransfer-Encoding: a\r\n\r\n"),
     H1_BAD_ENCODING},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"), H1_UNKNOWN_ENCODING},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nExpect: a\r\n\r\n"), H1_UNKNOWN_EXPECT},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nExpect: a=b\r\n\r\n"), H1_BAD_EXPECT},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: a\r\n\r\n"),
     H1_BAD_EXPECT},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: a\r\nX-API-KEY: a\r\n\r\n"),
     H1_REPEATED_FIELD},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nAPI-key: a\r\napi-key: a\r\n\r\n"), H1_REPEATED_FIELD},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n"),
     H1_REPEATED_FIELD},
    {STR_INIT("GET / HTTP/1.1\r\nHost: a\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n"),
     H1_REPEATED_FIELD},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct outcome o = parse_head(REQUEST, refused[i].in);
        if (o.result != H1_BAD || o.error != refused[i].error)
            fail_msg("%d, error %d: %.*s", o.result, o.error, STR_FMT(refused[i].in));
    }
}

/* What follows from version, Connection, Expect and the lengths. */
static const struct {
    struct str fields;
    bool http10, keep_alive, expect_continue;
    enum h1_framing framing;
    uint64_t length;
} meanings[] = {
    {STR_INIT(""), false, true, false, H1_NO_BODY, 0},
    {STR_INIT(""), true, false, false, H1_NO_BODY, 0},
    {STR_INIT("Connection: close\r\n"), false, false, false, H1_NO_BODY, 0},
    {STR_INIT("Connection: CLOSE\r\n"), false, false, false, H1_NO_BODY, 0},
    {STR_INIT("Connection: closed\r\n"), false, true, false, H1_NO_BODY, 0},
    {STR_INIT("Connection: a,\tclose\r\n"), false, false, false, H1_NO_BODY, 0},
    {STR_INIT("Connection:\r\n"), false, true, false, H1_NO_BODY, 0},
    {STR_INIT("Connection: ,,\r\n"), false, true, false, H1_NO_BODY, 0},
    {STR_INIT("Connection: keep-alive\r\n"), true, true, false, H1_NO_BODY, 0},
    {STR_INIT("Connection: Keep-Alive, close\r\n"), true, false, false, H1_NO_BODY, 0},
    {STR_INIT("Connection: keep-alive\r\nConnection: close\r\n"), false, false, false, H1_NO_BODY,
     0},
    {STR_INIT("Connection: a\r\nX-A: b\r\nconnection: keep-alive\r\n"), true, true, false,
     H1_NO_BODY, 0},
    {STR_INIT("Content-Length: 0\r\n"), false, true, false, H1_SIZED, 0},
    {STR_INIT("Content-Length: 999999999999999\r\n"), false, true, false, H1_SIZED,
     999999999999999},
    {STR_INIT("Content-Length: 5\r\nExpect: 100-Continue\r\n"), false, true, true, H1_SIZED, 5},
    {STR_INIT("Content-Length: 5\r\nExpect: 100-continue\r\n"), true, false, false, H1_SIZED, 5},
    {STR_INIT("Content-Length: 0\r\nExpect: 100-continue\r\n"), false, true, false, H1_SIZED, 0},
    {STR_INIT("Expect: 100-continue\r\n"), false, true, false, H1_NO_BODY, 0},
    {STR_INIT("Transfer-Encoding: Chunked\r\nExpect: 100-continue\r\n"), false, true, true,
     H1_CHUNKED, 0},
};

static void test_meanings(void **state)
{
    char text[512];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++) {
        bool http10 = meanings[i].http10;
        int n = snprintf(text, sizeof(text), "POST / HTTP/1.%d\r\nHost: a\r\n%.*s\r\n",
                         http10 ? 0 : 1, STR_FMT(meanings[i].fields));
        struct outcome o = parse_head(REQUEST, str_of(text, (size_t)n));
        assert_int_equal(o.result, H1_DONE);
        if (head.http10 != http10 || head.keep_alive != meanings[i].keep_alive ||
            head.expect_continue != meanings[i].expect_continue ||
            head.framing != meanings[i].framing || head.content_length != meanings[i].length)
            fail_msg("%s", text);
    }
}

/* ---- fields ---- */

static void test_known_fields(void **state)
{
    static const struct str names[] = {
#define X(id, name) STR_INIT(name),
        H1_KNOWN_FIELDS(X)
#undef X
    };

    (void)state;
    for (size_t k = 0; k < H1_KNOWN_COUNT; k++) {
        for (unsigned variant = 0; variant < 4; variant++) {
            char text[256], name[64];
            memcpy(name, names[k].p, names[k].n);
            if (variant == 1) /* other case */
                for (size_t i = 0; i < names[k].n; i++)
                    name[i] = name[i] >= 'a' && name[i] <= 'z' ? (char)(name[i] - 32) : name[i];
            if (variant == 2)
                name[0] = 'q';
            if (variant == 3)
                name[names[k].n - 1] = '0';
            int n = snprintf(text, sizeof(text), "HTTP/1.1 204\r\n%.*s: 1\r\n\r\n", (int)names[k].n,
                             name);
            struct outcome o = parse_head(RESPONSE, str_of(text, (size_t)n));
            bool framing = k == H1_TRANSFER_ENCODING && variant < 2;
            assert_int_equal(o.result, framing ? H1_BAD : H1_DONE);
            assert_int_equal(head.n_fields, 1);
            for (size_t j = 0; j < H1_KNOWN_COUNT; j++) {
                assert_true(span_is(head.known[j], j == k && variant < 2 ? STR("1") : STR("\x01")));
                assert_false(head.repeated[j]);
            }
        }
    }
}

static void test_fields(void **state)
{
    struct str in = STR("GET / HTTP/1.1\r\nHost:a\r\nX-A: \t b c\t \r\nx-a:d\r\nX_A: e\r\n"
                        "Empty:\r\nBlank:  \t\r\nX-Request-Id: 1\r\nX-Request-Id: 2\r\n\r\nbody");
    struct outcome o = parse_head(REQUEST, in);

    (void)state;
    assert_int_equal(o.result, H1_DONE);
    assert_int_equal(o.used, in.n - 4);
    assert_int_equal(head.n_fields, 7);
    assert_true(str_eq(head.fields[1].name, STR("X-A")));
    assert_true(str_eq(head.fields[1].value, STR("b c")));
    assert_true(span_is(h1_field(&head, STR("X-a")), STR("b c")));
    assert_true(span_is(h1_field(&head, STR("empty")), STR("")));
    assert_true(span_is(h1_field(&head, STR("blank")), STR("")));
    assert_true(span_is(h1_field(&head, STR("x_a")), STR("\x01")));
    assert_true(span_is(h1_field(&head, STR("x-b")), STR("\x01")));
    assert_true(span_is(head.known[H1_X_REQUEST_ID], STR("1")));
    assert_true(head.repeated[H1_X_REQUEST_ID]);
    assert_false(head.repeated[H1_HOST]);
}

/* A head is used again and again; nothing of the last message may be left in it. */
static void test_nothing_is_left(void **state)
{
    struct outcome o =
        parse_head(REQUEST, STR("POST http://a/b?c HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n"
                                "Connection: keep-alive\r\nContent-Length: 5\r\nX-Request-Id: 1\r\n"
                                "X-Request-Id: 2\r\nAuthorization: x\r\n\r\n"));

    (void)state;
    assert_int_equal(o.result, H1_DONE);
    o = parse_head(REQUEST, STR("GET / HTTP/1.0\r\n\r\n"));
    assert_int_equal(o.result, H1_DONE);
    assert_null(head.query.p);
    assert_null(head.authority.p);
    assert_false(head.keep_alive);
    assert_int_equal(head.framing, H1_NO_BODY);
    assert_int_equal(head.content_length, 0);
    assert_int_equal(head.n_fields, 0);
    for (size_t k = 0; k < H1_KNOWN_COUNT; k++) {
        assert_null(head.known[k].p);
        assert_false(head.repeated[k]);
    }
}

/* ---- responses ---- */

static const struct {
    struct str in;
    enum kind kind;
    enum h1_result result;
    enum h1_error error;
    int status;
    enum h1_framing framing;
    bool keep_alive;
} responses[] = {

#define GOOD(in, status, framing, keep)                                                            \
    {                                                                                              \
        STR_INIT(in), RESPONSE, H1_DONE, H1_OK, (status), (framing), (keep)                        \
    }
#define TO_HEAD(in, status, keep)                                                                  \
    {                                                                                              \
        STR_INIT(in), RESPONSE_TO_HEAD, H1_DONE, H1_OK, (status), H1_NO_BODY, (keep)               \
    }
#define WRONG(in, error)                                                                           \
    {                                                                                              \
        STR_INIT(in), RESPONSE, H1_BAD, (error), 0, H1_NO_BODY, false                              \
    }
    GOOD("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, H1_SIZED, true),
    GOOD("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, H1_SIZED, true),
    GOOD("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, H1_SIZED, true),
    GOOD("HTTP/1.1 529 Overloaded \t\xe9\r\ncontent-length:5\r\n\r\n", 529, H1_SIZED, true),
    GOOD("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, H1_CHUNKED, true),
    GOOD("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", 200,
         H1_CHUNKED, false),
    GOOD("HTTP/1.1 200 OK\r\n\r\n", 200, H1_UNTIL_CLOSE, false),
    GOOD("HTTP/1.0 200 OK\r\n\r\n", 200, H1_UNTIL_CLOSE, false),
    GOOD("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", 200, H1_SIZED, false),
    GOOD("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", 200, H1_SIZED,
         true),
    GOOD("HTTP/1.1 200 OK\r\nServer: caf\xc3\xa9\r\nContent-Length: 5\r\n\r\n", 200, H1_SIZED,
         true),
    GOOD("HTTP/1.1 200 OK\r\nX_A: b\r\nContent-Length: 5\r\n\r\n", 200, H1_SIZED, true),
    GOOD("HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Type: a\r\nContent-Length: 5\r\n\r\n", 200,
         H1_SIZED, true),
    GOOD("HTTP/1.1 200 OK\r\nHost: a b\r\nExpect: x y\r\nContent-Length: 5\r\n\r\n", 200, H1_SIZED,
         true),
    GOOD("HTTP/1.1 100 Continue\r\n\r\n", 100, H1_NO_BODY, true),
    GOOD("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", 103, H1_NO_BODY, true),
    GOOD("HTTP/1.1 204 No Content\r\n\r\n", 204, H1_NO_BODY, true),
    GOOD("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, H1_NO_BODY, true),
    TO_HEAD("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, true),
    TO_HEAD("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, true),
    TO_HEAD("HTTP/1.1 200 OK\r\n\r\n", 200, true),
    WRONG("\r\nHTTP/1.1 200 OK\r\n\r\n", H1_BAD_LINE),
    WRONG("\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1 200 OK\n\n", H1_BAD_LINE),
    WRONG("HTTP/1.1 200 O\0K\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1 200 O\x01K\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1 200 O\x7fK\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1  200 OK\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1\t200 OK\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1 200\tOK\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1 20 OK\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1 20\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1 2000 OK\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1 099 OK\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1 600 OK\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1 +20 OK\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.10 200 OK\r\n\r\n", H1_BAD_LINE),
    WRONG("http/1.1 200 OK\r\n\r\n", H1_BAD_LINE),
    WRONG("ICY 200 OK\r\nA: b\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/2.0 200 OK\r\n\r\n", H1_BAD_VERSION),
    WRONG("<html>\r\n<body>\r\n\r\n", H1_BAD_LINE),
    WRONG("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", H1_BAD_FIELD),
    WRONG("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", H1_BAD_FIELD),
    WRONG("HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n", H1_BAD_FIELD),
    WRONG("HTTP/1.1 200 OK\r\nA\xe9: b\r\n\r\n", H1_BAD_FIELD),
    WRONG("HTTP/1.1 200 OK\r\nTransfer_Encoding: chunked\r\n\r\n", H1_BAD_FIELD),
    WRONG("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", H1_BAD_LENGTH),
    WRONG("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", H1_BAD_LENGTH),
    WRONG("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", H1_BAD_LENGTH),
    WRONG("HTTP/1.1 200 OK\r\nContent-Length: 5\xa0\r\n\r\n", H1_BAD_LENGTH),
    WRONG("HTTP/1.1 204 OK\r\nContent-Length: x\r\n\r\n", H1_BAD_LENGTH),
    WRONG("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
          H1_BAD_ENCODING),
    WRONG("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", H1_BAD_ENCODING),
    WRONG("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\xa0\r\n\r\n", H1_BAD_ENCODING),
    WRONG("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", H1_UNKNOWN_ENCODING),
    WRONG("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", H1_BAD_ENCODING),
    WRONG("HTTP/1.1 200 OK\r\nConnection: a b\r\n\r\n", H1_BAD_FIELD),
};

static void test_responses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
        struct str in = responses[i].in;
        struct outcome o = parse_head(responses[i].kind, in);
        if (o.result != responses[i].result)
            fail_msg("%d, error %d: %.*s", o.result, o.error, STR_FMT(in));
        if (o.result == H1_BAD) {
            if (o.error != responses[i].error)
                fail_msg("error %d: %.*s", o.error, STR_FMT(in));
            continue;
        }
        if (head.status != responses[i].status || head.framing != responses[i].framing ||
            head.keep_alive != responses[i].keep_alive || o.used != in.n)
            fail_msg("%.*s", STR_FMT(in));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_meanings),  cmocka_unit_test(test_known_fields),
        cmocka_unit_test(test_fields),    cmocka_unit_test(test_nothing_is_left),
        cmocka_unit_test(test_responses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
