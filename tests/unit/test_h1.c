/* test_h1.c - HTTP/1.1 against those who smuggle: the case table that the end-to-end tests share,
 * generated gadgets, and every limit at cap - 1, cap and cap + 1.
 */
#include "h1_feed.h"

enum {
    BODY_MAX = 32 * 1024 * 1024,
    LINE_MAX_BYTES = 16 * 1024,
    ANSWERS_MAX = 8,
    UNFINISHED = -1,
};

/* ---- the shared case table ---- */

/* A client's connection: what is answered to the bytes so far. */
struct talk {
    size_t at, scanned;

    enum { AT_HEAD, AT_SIZED, AT_CHUNKED, AT_END } state;

    uint64_t left;
    struct h1_chunked chunked;
    int answers[ANSWERS_MAX];
    size_t n_answers;
};

/* The same statuses as the proxy's table of endings gives. */
static int status_of(enum h1_error error)
{
    switch (error) {
    case H1_OK: return 0;
    case H1_BAD_VERSION: return 505;
    case H1_UNKNOWN_ENCODING: return 501;
    case H1_UNKNOWN_EXPECT: return 417;
    case H1_TOO_MANY_FIELDS:
    case H1_HEAD_TOO_LONG: return 431;
    case H1_BODY_TOO_LONG: return 413;
    case H1_BAD_LINE:
    case H1_BAD_METHOD:
    case H1_BAD_TARGET:
    case H1_BAD_FIELD:
    case H1_BAD_HOST:
    case H1_BAD_LENGTH:
    case H1_BAD_ENCODING:
    case H1_BAD_EXPECT:
    case H1_REPEATED_FIELD:
    case H1_BAD_CHUNK: break;
    }
    return 400;
}

static void answer(struct talk *t, int status)
{
    assert_true(t->n_answers < ANSWERS_MAX);
    t->answers[t->n_answers++] = status;
    t->state = status || !head.keep_alive ? AT_END : AT_HEAD;
}

static bool talk_head(struct talk *t, struct str in)
{
    enum h1_error error = H1_OK;
    size_t used = 0;
    enum h1_result result = h1_parse_request(in, HEAD_MAX, &t->scanned, &head, &used, &error);

    if (result == H1_MORE)
        return false;
    if (result == H1_BAD) {
        assert_int_not_equal(error, H1_OK);
        answer(t, status_of(error));
        return true;
    }
    t->at += used;
    if (head.method == H1_OTHER) {
        answer(t, 405);
    } else if (head.content_length > BODY_MAX) {
        answer(t, status_of(H1_BODY_TOO_LONG));
    } else if (head.framing == H1_SIZED) {
        t->state = AT_SIZED;
        t->left = head.content_length;
    } else if (head.framing == H1_CHUNKED) {
        t->state = AT_CHUNKED;
        h1_chunked_init(&t->chunked);
    } else {
        answer(t, 0);
    }
    return true;
}

static bool talk_sized(struct talk *t, struct str in)
{
    size_t n = in.n < t->left ? in.n : (size_t)t->left;

    t->at += n;
    t->left -= n;
    if (t->left > 0)
        return false;
    answer(t, 0);
    return true;
}

static bool talk_chunked(struct talk *t, struct str in)
{
    struct str data;
    size_t used;
    enum h1_result result = h1_chunked_next(&t->chunked, in, &used, &data);

    t->at += used;
    if (result == H1_MORE)
        return used < in.n;
    answer(t, result == H1_DONE ? 0 : status_of(H1_BAD_CHUNK));
    return true;
}

/* Goes on with everything that has come; head is of the message that t is in. */
static void talk_on(struct talk *t, struct str in)
{
    bool more = true;

    while (more && t->state != AT_END) {
        struct str rest = str_skip(in, t->at);
        if (t->state == AT_HEAD)
            more = talk_head(t, rest);
        else if (t->state == AT_SIZED)
            more = talk_sized(t, rest);
        else
            more = talk_chunked(t, rest);
    }
}

static void talk_end(struct talk *t, struct str in)
{
    if (t->state != AT_END && (t->state != AT_HEAD || t->at < in.n))
        answer(t, UNFINISHED);
}

static struct talk talk_whole(struct str in)
{
    struct talk t = {.state = AT_HEAD};
    char *copy = mem_alloc(in.n + 1);

    memcpy(copy + 1, in.p, in.n);
    talk_on(&t, str_of(copy + 1, in.n));
    mem_free(copy);
    talk_end(&t, in);
    return t;
}

static struct talk talk_bytes(struct str in)
{
    struct talk t = {.state = AT_HEAD};

    for (size_t n = 1; n <= in.n; n++) {
        char *copy = mem_alloc(n + 1);
        memcpy(copy + 1, in.p, n);
        talk_on(&t, str_of(copy + 1, n));
        mem_free(copy);
    }
    talk_end(&t, in);
    return t;
}

static void expect_answers(const char *name, const char *how, const struct talk *t,
                           struct str expect)
{
    struct str word;
    size_t i = 0;

    for (; str_split(&expect, ',', &word); i++) {
        uint64_t status = 0;
        if (!str_eq(word, STR("ok")) && !str_to_u64(word, &status))
            fail_msg("%s: bad expectation", name);
        if (i >= t->n_answers)
            fail_msg("%s, %s: %zu answers", name, how, t->n_answers);
        if (t->answers[i] != (int)status)
            fail_msg("%s, %s: answer %zu is %d", name, how, i + 1, t->answers[i]);
    }
    if (i != t->n_answers)
        fail_msg("%s, %s: %zu answers", name, how, t->n_answers);
}

static unsigned hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;

    assert_non_null(at);
    return (unsigned)(at - digits);
}

static size_t unescape(const char *s, char *out)
{
    size_t n = 0;

    for (; *s; s++) {
        char c = *s;
        if (c == '\\') {
            switch (*++s) {
            case 'r': c = '\r'; break;
            case 'n': c = '\n'; break;
            case 't': c = '\t'; break;
            case '\\': break;
            case 'x':
                c = (char)(hex_digit(s[1]) * 16 + hex_digit(s[2]));
                s += 2;
                break;
            default: fail_msg("unknown escape \\%c", *s);
            }
        }
        out[n++] = c;
    }
    return n;
}

static bool read_line(FILE *f, char line[LINE_MAX_BYTES])
{
    size_t n;

    if (!fgets(line, LINE_MAX_BYTES, f))
        return false;
    n = strlen(line);
    assert_true(n > 0 && line[n - 1] == '\n');
    line[n - 1] = '\0';
    return true;
}

static void test_shared_cases(void **state)
{
    static char name[LINE_MAX_BYTES], line[LINE_MAX_BYTES], bytes[LINE_MAX_BYTES];
    const char *dir = getenv("CCPROXY_TEST_DATA");
    unsigned cases = 0;
    char path[4096];
    FILE *f;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/h1_cases.txt", dir ? dir : "tests/data");
    f = fopen(path, "r");
    if (!f)
        fail_msg("cannot open %s", path);
    while (read_line(f, name)) {
        if (name[0] == '\0' || name[0] == '#')
            continue;
        char *bar = strrchr(name, '|');
        struct talk t;
        assert_non_null(bar);
        assert_true(read_line(f, line));
        struct str in = str_of(bytes, unescape(line, bytes));
        struct str expect = str_trim(str_c(bar + 1));
        *bar = '\0';
        t = talk_whole(in);
        expect_answers(name, "whole", &t, expect);
        t = talk_bytes(in);
        expect_answers(name, "byte by byte", &t, expect);
        cases++;
    }
    (void)fclose(f);
    assert_true(cases >= 500);
}

/* ---- gadgets ---- */

static const unsigned char gadget_bytes[] = {
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c,
    0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19,
    0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x7f, 0x85, 0xa0, 0xff,
};

/* What stands before and behind the gadget; a message with two lengths is bad in any case. */
static const struct {
    const char *before, *behind;
    bool plain;
} surroundings[] = {
    {"", "", true},
    {"X-A: b\r\n", "", true},
    {"", "X-A: b\r\n", true},
    {"Content-Length: 5\r\n", "", false},
    {"", "Content-Length: 5\r\n", false},
    {"Transfer-Encoding: chunked\r\n", "", false},
    {"", "Transfer-Encoding: chunked\r\n", false},
};

/* may_pass: the line is a plain one with other white space in the places that allow it. */
static void try_gadget(struct str line, bool may_pass, unsigned *tried)
{
    for (size_t i = 0; i < ARRAY_LEN(surroundings); i++) {
        char text[256];
        int before = snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a\r\n%s",
                              surroundings[i].before);
        size_t n = (size_t)before;
        memcpy(text + n, line.p, line.n);
        n += line.n;
        n += (size_t)snprintf(text + n, sizeof(text) - n, "\r\n%s\r\n5\r\nhello\r\n0\r\n\r\n",
                              surroundings[i].behind);
        bool pass = may_pass && surroundings[i].plain;
        struct outcome o = parse_head(REQUEST, str_of(text, n));
        if (o.result != (pass ? H1_DONE : H1_BAD))
            fail_msg("%d: %.*s", o.result, (int)n, text);
        if (pass)
            assert_int_not_equal(head.framing, H1_NO_BODY);
        (*tried)++;
    }
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* c put in before line[at]. */
static void insert(struct str line, size_t at, char c, unsigned *tried)
{
    char text[64];
    size_t value = str_find(line, ':') + 1;
    bool may_pass = is_blank(c) && (at == value || at == value + 1 || at == line.n);

    memcpy(text, line.p, at);
    text[at] = c;
    memcpy(text + at + 1, line.p + at, line.n - at);
    try_gadget(str_of(text, line.n + 1), may_pass, tried);
}

static void replace(struct str line, size_t at, char c, unsigned *tried)
{
    char text[64];

    memcpy(text, line.p, line.n);
    text[at] = c;
    try_gadget(str_of(text, line.n), is_blank(c) && at == str_find(line, ':') + 1, tried);
}

/* c on both sides of the value, of the name, or of the colon. */
static void wrap(struct str line, char c, unsigned *tried)
{
    struct str rest = line, name;
    char text[64];
    int n;

    (void)str_split(&rest, ':', &name);
    rest = str_trim(rest);
    n = snprintf(text, sizeof(text), "%.*s:%c%.*s%c", STR_FMT(name), c, STR_FMT(rest), c);
    try_gadget(str_of(text, (size_t)n), is_blank(c), tried);
    n = snprintf(text, sizeof(text), "%c%.*s%c: %.*s", c, STR_FMT(name), c, STR_FMT(rest));
    try_gadget(str_of(text, (size_t)n), false, tried);
    n = snprintf(text, sizeof(text), "%.*s%c:%c%.*s", STR_FMT(name), c, c, STR_FMT(rest));
    try_gadget(str_of(text, (size_t)n), false, tried);
}

static void test_gadgets(void **state)
{
    static const struct str lines[] = {
        STR_INIT("Transfer-Encoding: chunked"),
        STR_INIT("Content-Length: 5"),
    };
    unsigned tried = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        for (size_t b = 0; b < sizeof(gadget_bytes); b++) {
            char c = (char)gadget_bytes[b];
            for (size_t at = 0; at <= lines[i].n; at++)
                insert(lines[i], at, c, &tried);
            for (size_t at = 0; at < lines[i].n; at++)
                replace(lines[i], at, c, &tried);
            wrap(lines[i], c, &tried);
        }
    }
    assert_true(tried >= 1768 * 2);
}

/* Every byte in every place of a small head: the same answer whole and byte by byte (parse_head
 * sees to it), and never a body where the head was changed inside the name of its length. */
static void test_every_byte_everywhere(void **state)
{
    struct str in = STR("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    size_t name = str_find_str(in, STR("Content")), colon = name + 14;
    char text[64];

    (void)state;
    for (size_t at = 0; at < in.n; at++) {
        for (unsigned c = 0; c < 256; c++) {
            memcpy(text, in.p, in.n);
            text[at] = (char)c;
            struct outcome o = parse_head(REQUEST, str_of(text, in.n));
            bool same = (text[at] | 0x20) == (in.p[at] | 0x20) && in.p[at] != '-';
            if (at >= name && at <= colon && !same && text[at] != in.p[at])
                assert_true(o.result == H1_BAD || head.framing == H1_NO_BODY);
            if (o.result == H1_DONE)
                assert_int_equal(o.used, in.n);
        }
    }
}

/* ---- limits ---- */

static struct outcome parse_printed(size_t n, const char *text)
{
    return parse_head(REQUEST, str_of(text, n));
}

static void test_head_max(void **state)
{
    struct str in = STR("GET / HTTP/1.1\r\nHost: a\r\n\r\nmore");
    size_t n = in.n - 4;

    (void)state;
    assert_int_equal(parse_head_max(REQUEST, in, n + 1).result, H1_DONE);
    assert_int_equal(parse_head_max(REQUEST, in, n).result, H1_DONE);
    for (size_t max = 2; max < n; max++) {
        struct outcome o = parse_head_max(REQUEST, in, max);
        assert_int_equal(o.result, H1_BAD);
        assert_int_equal(o.error, H1_HEAD_TOO_LONG);
    }
    assert_int_equal(parse_head_max(RESPONSE, STR("HTTP/1.1 200\r\n\r\n"), 16).result, H1_DONE);
    assert_int_equal(parse_head_max(RESPONSE, STR("HTTP/1.1 200\r\n\r\n"), 15).error,
                     H1_HEAD_TOO_LONG);
    assert_int_equal(parse_head(REQUEST, str_head(in, n - 1)).result, H1_MORE);
}

static void test_field_count(void **state)
{
    (void)state;
    for (unsigned fields = H1_FIELDS_MAX - 1; fields <= H1_FIELDS_MAX + 1; fields++) {
        char text[2048];
        size_t n = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n");
        for (unsigned i = 1; i < fields; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "X%cA: b\r\n", i % 2 ? '-' : '_');
        n += (size_t)snprintf(text + n, sizeof(text) - n, "\r\n");
        struct outcome o = parse_printed(n, text);
        if (fields > H1_FIELDS_MAX)
            assert_int_equal(o.error, H1_TOO_MANY_FIELDS);
        else
            assert_int_equal(o.result, H1_DONE);
    }
}

static void test_method_length(void **state)
{
    (void)state;
    for (size_t len = H1_METHOD_MAX - 1; len <= H1_METHOD_MAX + 1; len++) {
        char text[128];
        int n = snprintf(text, sizeof(text), "%.*s / HTTP/1.0\r\n\r\n", (int)len,
                         "AAAAAAAAAAAAAAAAAAAAAAAA");
        struct outcome o = parse_printed((size_t)n, text);
        if (len > H1_METHOD_MAX)
            assert_int_equal(o.error, H1_BAD_METHOD);
        else
            assert_int_equal(o.result, H1_DONE);
    }
}

static void test_length_digits(void **state)
{
    (void)state;
    for (size_t len = H1_LENGTH_DIGITS_MAX - 1; len <= H1_LENGTH_DIGITS_MAX + 1; len++) {
        char text[128];
        int n = snprintf(text, sizeof(text), "GET / HTTP/1.0\r\nContent-Length: %.*s\r\n\r\n",
                         (int)len, "99999999999999999999");
        struct outcome o = parse_printed((size_t)n, text);
        if (len > H1_LENGTH_DIGITS_MAX)
            assert_int_equal(o.error, H1_BAD_LENGTH);
        else
            assert_int_equal(o.result, H1_DONE);
    }
}

static void test_host_limits(void **state)
{
    static char name[300], text[512];

    (void)state;
    memset(name, 'a', sizeof(name));
    for (unsigned port = 65534; port <= 65536; port++) {
        int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a:%u\r\n\r\n", port);
        assert_int_equal(parse_printed((size_t)n, text).result, port > 65535 ? H1_BAD : H1_DONE);
    }
    for (int len = 254; len <= 256; len++) {
        int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %.*s\r\n\r\n", len, name);
        assert_int_equal(parse_printed((size_t)n, text).result, len > 255 ? H1_BAD : H1_DONE);
    }
    for (int len = 1; len <= 64; len++) { /* in brackets, but no address */
        int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: [%.*s]\r\n\r\n", len, name);
        assert_int_equal(parse_printed((size_t)n, text).result, H1_BAD);
    }
}

/* The scan goes on where it stopped: no byte of an unfinished head is looked at twice. */
static void test_scan_goes_on(void **state)
{
    char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n";
    size_t n = sizeof(text) - 1, scanned = 0, used = 0;
    enum h1_error error;

    (void)state;
    assert_int_equal(
        h1_parse_request(str_of(text, n - 3), HEAD_MAX, &scanned, &head, &used, &error), H1_MORE);
    assert_int_equal(scanned, n - 4); /* before the CR whose LF has not come */
    text[3] = '\0';                   /* behind scanned: only seen by the parse of the whole head */
    assert_int_equal(
        h1_parse_request(str_of(text, n - 1), HEAD_MAX, &scanned, &head, &used, &error), H1_MORE);
    assert_int_equal(h1_parse_request(str_of(text, n), HEAD_MAX, &scanned, &head, &used, &error),
                     H1_BAD);
    assert_int_equal(error, H1_BAD_METHOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_cases),          cmocka_unit_test(test_gadgets),
        cmocka_unit_test(test_every_byte_everywhere), cmocka_unit_test(test_head_max),
        cmocka_unit_test(test_field_count),           cmocka_unit_test(test_method_length),
        cmocka_unit_test(test_length_digits),         cmocka_unit_test(test_host_limits),
        cmocka_unit_test(test_scan_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
