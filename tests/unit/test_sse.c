/* test_sse.c - streams whole, cut in two at every place, and byte by byte: the events are the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "wire/sse.h"

enum { ROOM = 4 * 1024 * 1024, EVENT_MAX = 1024 };

/* An event as text: "name|data;" with "-" for what is absent, and "#;" for a comment. */
static void note_event(struct buf *seen, const struct sse_event *e)
{
    if (e->comment) {
        assert_null(e->data.p);
        buf_lit(seen, "#;");
        return;
    }
    buf_append(seen, e->name.p ? e->name : STR("-"));
    buf_lit(seen, "|");
    buf_append(seen, e->data.p ? e->data : STR("-"));
    buf_lit(seen, ";");
}

/* Takes what events there are; what was not consumed stays in pending. */
static bool take_events(struct sse *s, struct buf *pending, struct buf *seen)
{
    for (;;) {
        size_t n = buf_len(pending), used = 0;
        char *copy = mem_alloc(n ? n : 1); /* in a block of its own size, for the sanitizers */
        struct sse_event e;
        enum sse_result result;
        if (n)
            memcpy(copy, buf_str(pending).p, n);
        result = sse_next(s, copy, n, &e, &used);
        if (result == SSE_EVENT)
            note_event(seen, &e);
        mem_free(copy);
        if (result != SSE_EVENT)
            return result == SSE_MORE;
        assert_true(used > 0 && used <= n);
        buf_consume(pending, used);
    }
}

/* Feeds the pieces [0, cut) and [cut, n) in steps of at most step bytes. */
static bool feed(struct str text, size_t cut, size_t step, size_t max, struct buf *seen)
{
    struct buf pending;
    struct sse s;
    bool ok = true;

    buf_clear(seen);
    buf_init(&pending, ROOM);
    sse_init(&s, max);
    for (size_t at = 0; ok && at < text.n;) {
        size_t end = at < cut ? size_min(cut, at + step) : size_min(text.n, at + step);
        buf_append(&pending, str_of(text.p + at, end - at));
        ok = take_events(&s, &pending, seen);
        at = end;
    }
    buf_done(&pending);
    return ok;
}

static void expect_events(struct str text, struct str wanted)
{
    struct buf seen;

    buf_init(&seen, ROOM);
    for (size_t cut = 0; cut <= text.n; cut++) {
        assert_true(feed(text, cut, text.n, EVENT_MAX, &seen));
        if (!str_eq(buf_str(&seen), wanted))
            fail_msg("cut at %zu of %.*s: %.*s", cut, STR_FMT(text), STR_FMT(buf_str(&seen)));
    }
    for (size_t step = 1; step <= 4; step++) {
        assert_true(feed(text, 0, step, EVENT_MAX, &seen));
        if (!str_eq(buf_str(&seen), wanted))
            fail_msg("by %zu of %.*s: %.*s", step, STR_FMT(text), STR_FMT(buf_str(&seen)));
    }
    buf_done(&seen);
}

static const struct {
    struct str text, wanted;
} streams[] = {
    {STR_INIT(""), STR_INIT("")},
    {STR_INIT("data: x\n\n"), STR_INIT("-|x;")},
    {STR_INIT("data:x\n\n"), STR_INIT("-|x;")},
    {STR_INIT("data:  x\n\n"), STR_INIT("-| x;")},
    {STR_INIT("data:\n\n"), STR_INIT("-|;")},
    {STR_INIT("data: \n\n"), STR_INIT("-|;")},
    {STR_INIT("data\n\n"), STR_INIT("-|;")},
    {STR_INIT("data\ndata\n\n"), STR_INIT("-|\n;")},
    {STR_INIT("data:a\ndata\ndata:\ndata: b\n\n"), STR_INIT("-|a\n\n\nb;")},
    {STR_INIT("data: {\"type\":\ndata: \"stop\"}\n\n"), STR_INIT("-|{\"type\":\n\"stop\"};")},
    {STR_INIT("data: a:b: c\n\n"), STR_INIT("-|a:b: c;")},
    {STR_INIT("event: ping\ndata: {}\n\n"), STR_INIT("ping|{};")},
    {STR_INIT("data: {}\nevent: ping\n\n"), STR_INIT("ping|{};")},
    {STR_INIT("event: a\nevent: b\ndata: x\n\n"), STR_INIT("b|x;")},
    {STR_INIT("event\ndata: x\n\n"), STR_INIT("|x;")},
    {STR_INIT("event: only\n\n"), STR_INIT("only|-;")},
    {STR_INIT("data: a\n\ndata: b\n\n"), STR_INIT("-|a;-|b;")},
    {STR_INIT("data: a\n\ndata: b\n"), STR_INIT("-|a;")},
    {STR_INIT("data: a"), STR_INIT("")},
    /* line ends */
    {STR_INIT("data: a\r\n\r\ndata: b\r\n\r\n"), STR_INIT("-|a;-|b;")},
    {STR_INIT("data: a\r\rdata: b\r\r"), STR_INIT("-|a;-|b;")},
    {STR_INIT("data: a\r\n\ndata: b\n\r\n"), STR_INIT("-|a;-|b;")},
    {STR_INIT("data: a\n\rdata: b\r\n\r"), STR_INIT("-|a;-|b;")},
    {STR_INIT("event: e\r\ndata: a\rdata: b\ndata: c\r\n\r\n"), STR_INIT("e|a\nb\nc;")},
    {STR_INIT("data: a\r\ndata: b\r\n\r\nevent: f\r\ndata: c\r\n\r\n"), STR_INIT("-|a\nb;f|c;")},
    /* comments and fields that mean nothing */
    {STR_INIT(": hello\n\n"), STR_INIT("#;")},
    {STR_INIT(":\n\ndata: a\n\n"), STR_INIT("#;-|a;")},
    {STR_INIT(": x\r\n\r\n: y\r\n\r\n"), STR_INIT("#;#;")},
    {STR_INIT(": x\ndata: a\n: y\ndata: b\n\n"), STR_INIT("-|a\nb;")},
    {STR_INIT("id: 7\nretry: 10\ndata: a\nnonsense\n\n"), STR_INIT("-|a;")},
    {STR_INIT("id: 7\n\ndata: a\n\n"), STR_INIT("-|-;-|a;")},
    {STR_INIT("Data: a\nDATA: b\ndata : c\n data: d\ndata: e\n\n"), STR_INIT("-|e;")},
    {STR_INIT("datax: a\ndat: b\ndata: c\n\n"), STR_INIT("-|c;")},
    {STR_INIT("\ndata: a\n\n"), STR_INIT("#;-|a;")},
    {STR_INIT("data: a\n\n\n\ndata: b\n\n"), STR_INIT("-|a;#;#;-|b;")},
    {STR_INIT("data: a\0b\n\n"), STR_INIT("-|a\0b;")},
    {STR_INIT("data: \xf0\x9f\x91\x8b\xff\n\n"), STR_INIT("-|\xf0\x9f\x91\x8b\xff;")},
    /* the byte order mark */
    {STR_INIT("\xef\xbb\xbf"
              "data: a\n\n"),
     STR_INIT("-|a;")},
    {STR_INIT("\xef\xbb\xbf: c\n\ndata: a\n\n"), STR_INIT("#;-|a;")},
    {STR_INIT("\xef\xbb\xbf\ndata: a\n\n"), STR_INIT("#;-|a;")},
    {STR_INIT("\xef\xbb\xbf"
              "data: a\r\n\r\n\xef\xbb\xbf"
              "data: b\r\n\r\n"),
     STR_INIT("-|a;-|-;")},
    {STR_INIT("\xef\xbb\xbf\xef\xbb\xbf"
              "data: a\n\n"),
     STR_INIT("-|-;")},
    {STR_INIT("\xef\xbb"
              "data: a\n\n"),
     STR_INIT("-|-;")},
    {STR_INIT("\xef\n\n"), STR_INIT("-|-;")},
    {STR_INIT("\xef\xbb\xbf"), STR_INIT("")},
    /* a stream as models send it, with all of that in it */
    {STR_INIT(
         ": keep-alive\n\nevent: message_start\ndata: {\"type\":\"message_start\"}\n\n"
         "data:{\"type\":\"ping\"}\n\nevent: content_block_delta\ndata: {\"text\":\" \\\"q\\\" "
         "\\\\ b\\nslash \xf0\x9f\x91\x8b\"}\n\nevent: message_stop\ndata: {\"type\":\ndata: "
         "\"message_stop\"}\n\ndata: [DONE]\n\n"),
     STR_INIT("#;message_start|{\"type\":\"message_start\"};-|{\"type\":\"ping\"};"
              "content_block_delta|{\"text\":\" \\\"q\\\" \\\\ b\\nslash \xf0\x9f\x91\x8b\"};"
              "message_stop|{\"type\":\n\"message_stop\"};-|[DONE];")},
};

static void test_streams(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(streams); i++)
        expect_events(streams[i].text, streams[i].wanted);
}

/* The same streams with each LF as CR and as CRLF. */
static void test_line_ends(void **state)
{
    static const char *const ends[] = {"\r", "\r\n"};
    struct buf text;

    (void)state;
    buf_init(&text, ROOM);
    for (size_t i = 0; i < ARRAY_LEN(streams); i++)
        for (size_t k = 0; k < ARRAY_LEN(ends); k++) {
            struct str lf = streams[i].text;
            if (str_find(lf, '\r') < lf.n)
                continue;
            buf_clear(&text);
            for (size_t at = 0; at < lf.n; at++)
                buf_append(&text, lf.p[at] == '\n' ? str_c(ends[k]) : str_of(lf.p + at, 1));
            expect_events(buf_str(&text), streams[i].wanted);
        }
    buf_done(&text);
}

/* An event of exactly max bytes (its last line end included) passes, one more does not. */
static void test_max(void **state)
{
    const struct str one = STR("data: 12345\n\n"), two = STR("data: 1\r\n\r\ndata: 12345\n\n");
    struct buf seen;

    (void)state;
    buf_init(&seen, ROOM);
    for (size_t step = 1; step <= two.n; step++) {
        assert_true(feed(one, 0, step, one.n, &seen));
        assert_false(feed(one, 0, step, one.n - 1, &seen));
        assert_true(feed(two, 0, step, one.n, &seen));
        assert_true(str_eq(buf_str(&seen), STR("-|1;-|12345;")));
        assert_false(feed(two, 0, step, one.n - 1, &seen));
        assert_true(str_eq(buf_str(&seen), STR("-|1;")));
        assert_false(feed(STR("data: and no end of it"), 0, step, 10, &seen));
        assert_false(feed(STR("\n: comment\n: comment"), 0, step, 10, &seen));
    }
    buf_done(&seen);
}

/* Megabytes byte by byte, and megabytes of line ends: linear, or this would not end. */
static void test_linear(void **state)
{
    char *text = mem_alloc(ROOM);
    struct sse_event e;
    size_t used = 0, at = 0, events = 0;
    struct sse s;

    (void)state;
    memset(text, 'x', ROOM);
    memcpy(text, "data: ", 6);
    memcpy(text + ROOM - 2, "\n\n", 2);
    sse_init(&s, ROOM);
    for (size_t n = 0; n < ROOM; n++)
        assert_int_equal(sse_next(&s, text, n, &e, &used), SSE_MORE);
    assert_int_equal(sse_next(&s, text, ROOM, &e, &used), SSE_EVENT);
    assert_int_equal(e.data.n, ROOM - 8);
    assert_int_equal(used, ROOM);

    memset(text, '\r', ROOM);
    sse_init(&s, ROOM);
    for (; sse_next(&s, text + at, ROOM - at, &e, &used) == SSE_EVENT; at += used)
        events++;
    assert_int_equal(events, ROOM);
    mem_free(text);
}

static int done(void **state)
{
    (void)state;
    return mem_live() == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_max),
        cmocka_unit_test(test_linear),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}
