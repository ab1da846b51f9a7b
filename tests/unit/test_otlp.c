/* test_otlp.c - spans wait in their rings and drop when there is no room, become the JSON that OTLP
 * names, and what comes back from a collector is understood.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/otlp.h"

static const struct otlp_source source = {
    .service = STR_INIT("gate \"way\""), .version = STR_INIT("9.9"), .instance = 1};

static void test_ring(void **state)
{
    (void)state;
    struct spans *s = spans_new();
    struct span one = {.attempt = 0};
    for (uint32_t i = 0; i < SPANS_EACH; i++) {
        one.attempt = i;
        assert_true(spans_put(s, 3, &one));
    }
    assert_false(spans_put(s, 3, &one));
    assert_true(spans_put(s, 4, &one)); /* another worker's has room */
    assert_false(spans_put(s, SPANS_RINGS, &one));
    assert_int_equal(spans_dropped(s), 2);
    assert_int_equal(spans_waiting(s), SPANS_EACH + 1);
    spans_release(s, 3, 1);
    one.attempt = SPANS_EACH;
    assert_true(spans_put(s, 3, &one));
    assert_int_equal(spans_at(s, 3, 1)->attempt, 1);
    assert_int_equal(spans_at(s, 3, SPANS_EACH)->attempt, SPANS_EACH);
    spans_count(s, 5, 7);
    assert_int_equal(spans_exported(s), 5);
    assert_int_equal(spans_dropped(s), 9);
    spans_release(s, 3, UINT64_MAX / 2); /* a position that cannot be: an empty ring */
    assert_int_equal(spans_head(s, 3), spans_tail(s, 3));
    spans_free(s);
}

/* --- encoding ------------------------------------------------------------------------------- */

static struct buf out;
static struct json doc;

/* Writes the spans, and returns them as they are read back. */
static struct jval write_and_read(const struct span *spans, size_t n)
{
    struct jsonw w;
    buf_clear(&out);
    jsonw_to_buf(&w, &out);
    otlp_begin(&w, &source);
    for (size_t i = 0; i < n; i++)
        otlp_add(&w, &spans[i]);
    otlp_end(&w);
    assert_true(jsonw_ok(&w));
    assert_int_equal(json_parse(&doc, buf_str(&out)), JSON_OK);
    return json_first(json_get(json_root(&doc), STR("resourceSpans")));
}

static struct jval spans_of(struct jval resource_spans)
{
    return json_get(json_first(json_get(resource_spans, STR("scopeSpans"))), STR("spans"));
}

/* The value of an attribute, without its type. */
static struct jval attribute(struct jval of, const char *key)
{
    json_each (a, json_get(of, STR("attributes"))) {
        if (json_str_is(json_get(a, STR("key")), str_c(key)))
            return json_value(json_first_key(json_get(a, STR("value"))));
    }
    return JVAL_NONE;
}

static void assert_text(struct jval v, const char *text)
{
    if (!json_str_is(v, str_c(text)))
        fail_msg("%.*s is not \"%s\"", STR_FMT(json_raw(v)), text);
}

static struct span some_span(enum span_kind kind)
{
    struct span s = {.kind = kind,
                     .has_parent = true,
                     .start_us = 1700000000000001,
                     .end_us = 1700000000000002,
                     .status = 200,
                     .attempt = 1,
                     .max_tokens = 64,
                     .input = 12,
                     .output = 0,
                     .cache_read = -1,
                     .cache_write = -1,
                     .reasoning = -1,
                     .cost_micro_usd = -1};
    memcpy(s.trace, "0af7651916cd43dd8448eb211c80319c", SPAN_TRACE);
    memcpy(s.id, "b7ad6b7169203331", SPAN_ID);
    memcpy(s.parent, "00f067aa0ba902b7", SPAN_ID);
    journal_set(&s.method, STR("POST"));
    journal_set(&s.route, STR("/chat/completions"));
    journal_set(&s.model, STR("claude-x"));
    return s;
}

static void test_server_span(void **state)
{
    (void)state;
    struct span s = some_span(SPAN_SERVER);
    journal_set(&s.client, STR("a\"b\\c\n\xff"));
    s.received_us = s.start_us;
    struct jval resource_spans = write_and_read(&s, 1);
    struct jval resource = json_get(resource_spans, STR("resource"));
    struct jval span = json_first(spans_of(resource_spans));
    assert_text(attribute(resource, "service.name"), "gate \"way\"");
    assert_text(attribute(resource, "service.version"), "9.9");
    assert_text(json_get(span, STR("traceId")), "0af7651916cd43dd8448eb211c80319c");
    assert_text(json_get(span, STR("spanId")), "b7ad6b7169203331");
    assert_text(json_get(span, STR("parentSpanId")), "00f067aa0ba902b7");
    assert_text(json_get(span, STR("name")), "POST /chat/completions");
    assert_text(json_get(span, STR("startTimeUnixNano")), "1700000000000001000");
    assert_text(json_get(span, STR("endTimeUnixNano")), "1700000000000002000");
    int64_t n;
    assert_true(json_i64(json_get(span, STR("kind")), &n) && n == 2);
    assert_true(json_i64(json_get(span, STR("flags")), &n) && n == 0x301);
    assert_text(attribute(span, "ccproxy.client"), "a\"b\\c\n\xef\xbf\xbd");
    assert_text(attribute(span, "http.response.status_code"), "200");
    assert_false(json_present(attribute(span, "error.type")));
    assert_false(json_present(attribute(span, "ccproxy.cost_micro_usd")));
    assert_true(json_empty(json_get(span, STR("status"))));
    assert_int_equal(json_count(json_get(span, STR("events"))), 1);
}

static void test_client_span(void **state)
{
    (void)state;
    struct span both[] = {some_span(SPAN_CLIENT), some_span(SPAN_CLIENT)};
    journal_set(&both[0].finish, STR("end_turn"));
    both[1].failed = true;
    both[1].attempt = 3;
    both[1].status = 0;
    both[1].has_parent = false;
    both[1].input = both[1].output = -1;
    journal_set(&both[1].error, STR("UPSTREAM_CONNECT"));
    struct jval list = spans_of(write_and_read(both, 2));
    struct jval well = json_first(list), ill = json_next(list, well);
    int64_t n;
    assert_text(json_get(well, STR("name")), "chat claude-x");
    assert_text(attribute(well, "gen_ai.operation.name"), "chat");
    assert_text(attribute(well, "gen_ai.usage.input_tokens"), "12");
    assert_text(attribute(well, "gen_ai.usage.output_tokens"), "0");
    assert_false(json_present(attribute(well, "gen_ai.usage.cache_read.input_tokens")));
    assert_false(json_present(attribute(well, "http.request.resend_count")));
    struct jval reasons =
        json_get(attribute(well, "gen_ai.response.finish_reasons"), STR("values"));
    assert_text(json_get(json_first(reasons), STR("stringValue")), "end_turn");
    assert_true(json_i64(json_get(well, STR("flags")), &n) && n == 0x101);
    assert_true(json_i64(json_get(json_get(ill, STR("status")), STR("code")), &n) && n == 2);
    assert_text(attribute(ill, "error.type"), "UPSTREAM_CONNECT");
    assert_text(attribute(ill, "http.request.resend_count"), "2");
    assert_false(json_present(json_get(ill, STR("parentSpanId"))));
    assert_false(json_present(attribute(ill, "http.response.status_code")));
    assert_false(json_present(attribute(ill, "gen_ai.usage.input_tokens")));
}

/* --- a collector ---------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    (void)state;
    assert_int_equal(otlp_refused(&doc, STR("{}")), 0);
    assert_int_equal(otlp_refused(&doc, STR("")), 0);
    assert_int_equal(otlp_refused(&doc, STR("[3]")), 0);
    assert_int_equal(otlp_refused(&doc, STR("{\"partialSuccess\":{}}")), 0);
    assert_int_equal(otlp_refused(&doc, STR("{\"partialSuccess\":{\"rejectedSpans\":\"3\"}}")), 3);
    assert_int_equal(otlp_refused(&doc, STR("{\"partialSuccess\":{\"rejectedSpans\":4}}")), 4);
    assert_int_equal(otlp_refused(&doc, STR("{\"partialSuccess\":{\"rejectedSpans\":-4}}")), 0);
}

static void assert_headers(struct str list, const char *lines)
{
    buf_clear(&out);
    assert_true(otlp_headers(list, &out));
    assert_true(str_eq(buf_str(&out), str_c(lines)));
}

static void test_headers(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "x",
        "=v",
        "x=",
        "x=1,",
        "x y=1",
        "x=%0d%0aevil: 1",
        "x=%4",
        "Host=h",
        "content-length=1",
        "transfer-encoding=chunked",
    };
    assert_headers(STR(""), "");
    assert_headers(STR("api-key=se%20cret, b = c=d "), "api-key: se cret\r\nb: c=d\r\n");
    assert_headers(STR("authorization=Basic%20QTpC,x=1"), "authorization: Basic QTpC\r\nx: 1\r\n");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (otlp_headers(str_c(wrong[i]), &out))
            fail_msg("%s is taken", wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring),    cmocka_unit_test(test_server_span),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_client_span),
        cmocka_unit_test(test_headers),
    };
    buf_init(&out, 1 << 20);
    json_init(&doc);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_done(&out);
    json_done(&doc);
    return failed;
}
