/* test_log.c - the two formats, escaping, cutting, and lines that find no room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#define HEAD                                                                                       \
    "{\"ts\":\"2026-11-23T06:37:00.000Z\",\"level\":\"info\",\"who\":\"test\",\"event\":\"e\""

static char last[5000];
static size_t last_n, lines;

static void keep(struct str line)
{
    assert_true(line.n < sizeof(last));
    memcpy(last, line.p, line.n);
    last[line.n] = 0;
    last_n = line.n;
    lines++;
}

static uint64_t fixed_us(void)
{
    return UINT64_C(1795415820000000);
}

static void test_levels(void **state)
{
    (void)state;
    lines = 0;
    log_init(LOG_WARN, LOG_JSON, "test");
    LOG(LOG_INFO, "e");
    LOG(LOG_DEBUG, "e");
    assert_int_equal(lines, 0);
    LOG(LOG_WARN, "e");
    LOG(LOG_ERROR, "e");
    assert_int_equal(lines, 2);
    assert_non_null(strstr(last, "\"level\":\"error\""));
    assert_false(log_enabled(LOG_INFO, "any.c"));
}

static void test_modules(void **state)
{
    static const char *const bad[] = {
        "relay",    "relay:",       ":debug",  "relay:loud",
        "a:info,,", "a:info,b:odd", "a:info;", "123456789012345678901234567890123:info"};
    (void)state;
    log_init(LOG_WARN, LOG_JSON, "test");
    assert_true(log_set_levels(STR("relay:debug, test_log:Info")));
    assert_true(log_enabled(LOG_DEBUG, "relay.c"));
    assert_false(log_enabled(LOG_INFO, "relays.c"));
    assert_false(log_enabled(LOG_INFO, "rela.c"));
    lines = 0;
    LOG(LOG_DEBUG, "e");
    LOG(LOG_INFO, "e");
    assert_int_equal(lines, 1);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (log_set_levels(str_c(bad[i])))
            fail_msg("%s", bad[i]);
        assert_false(log_enabled(LOG_INFO, "relay.c"));
    }
    assert_true(log_set_levels(STR("")));
}

static void test_who(void **state)
{
    (void)state;
    log_init(LOG_INFO, LOG_JSON, "test");
    log_set_who("worker 2");
    LOG(LOG_INFO, "e");
    assert_non_null(strstr(last, "\"who\":\"worker 2\""));
}

static void test_doing(void **state)
{
    (void)state;
    log_init(LOG_INFO, LOG_JSON, "test");
    doing = "relay";
    LOG(LOG_INFO, "e", LOG_INT("k", 1));
    assert_string_equal(last, HEAD ",\"doing\":\"relay\",\"k\":1}\n");
    log_init(LOG_INFO, LOG_TEXT, "test");
    LOG(LOG_INFO, "e", LOG_INT("k", 1));
    assert_string_equal(last, "2026-11-23T06:37:00.000Z info test e doing=relay k=1\n");
    doing = NULL;
}

static const struct {
    struct log_field field;
    const char *json, *text;
} fields[] = {
    {{.key = {NULL, 0}}, "", ""},
    {{LOG_KEY("k"), LOG_FIELD_INT, {NULL, 0}, INT64_MIN},
     ",\"k\":-9223372036854775808",
     " k=-9223372036854775808"},
    {{LOG_KEY("k"), LOG_FIELD_BOOL, {NULL, 0}, 1}, ",\"k\":true", " k=true"},
    {{LOG_KEY("k"), LOG_FIELD_BOOL, {NULL, 0}, 0}, ",\"k\":false", " k=false"},
    {{LOG_KEY("k"), LOG_FIELD_MS, {NULL, 0}, 0}, ",\"k\":0.000", " k=0.000"},
    {{LOG_KEY("k"), LOG_FIELD_MS, {NULL, 0}, 1234567}, ",\"k\":1234.567", " k=1234.567"},
    {{LOG_KEY("k"), LOG_FIELD_MS, {NULL, 0}, -1005}, ",\"k\":-1.005", " k=-1.005"},
    {{LOG_KEY("k"), LOG_FIELD_STR, {NULL, 0}, 0}, ",\"k\":\"\"", " k=\"\""},
    {{LOG_KEY("k"), LOG_FIELD_STR, STR_INIT("plain"), 0}, ",\"k\":\"plain\"", " k=plain"},
    {{LOG_KEY("k"), LOG_FIELD_STR, STR_INIT("a b"), 0}, ",\"k\":\"a b\"", " k=\"a b\""},
    {{LOG_KEY("k"), LOG_FIELD_STR, STR_INIT("a=b"), 0}, ",\"k\":\"a=b\"", " k=\"a=b\""},
    {{LOG_KEY("k"), LOG_FIELD_STR, STR_INIT("\"\\"), 0}, ",\"k\":\"\\\"\\\\\"", " k=\"\\\"\\\\\""},
    {{LOG_KEY("k"), LOG_FIELD_STR, STR_INIT("\n\r\t"), 0},
     ",\"k\":\"\\n\\r\\t\"",
     " k=\"\\n\\r\\t\""},
    {{LOG_KEY("k"), LOG_FIELD_STR, STR_INIT("\0\x1b\x7f"), 0},
     ",\"k\":\"\\u0000\\u001b\\u007f\"",
     " k=\"\\u0000\\u001b\\u007f\""},
    {{LOG_KEY("k"), LOG_FIELD_STR, STR_INIT("\xc3\xa4"), 0}, ",\"k\":\"\xc3\xa4\"", " k=\xc3\xa4"},
    {{LOG_KEY("k"), LOG_FIELD_STR, STR_INIT("a\xff\xc3"), 0},
     ",\"k\":\"a\xef\xbf\xbd\xef\xbf\xbd\"",
     " k=a\xef\xbf\xbd\xef\xbf\xbd"},
    {{LOG_KEY("k"), LOG_FIELD_STR, STR_INIT("\xed\xa0\x80"), 0},
     ",\"k\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"",
     " k=\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
};

static void test_fields(void **state)
{
    char expect[1000];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        log_init(LOG_INFO, LOG_JSON, "test");
        LOG(LOG_INFO, "e", fields[i].field);
        snprintf(expect, sizeof(expect), HEAD "%s}\n", fields[i].json);
        assert_string_equal(last, expect);
        log_init(LOG_INFO, LOG_TEXT, "test");
        LOG(LOG_INFO, "e", fields[i].field);
        snprintf(expect, sizeof(expect), "2026-11-23T06:37:00.000Z info test e%s\n",
                 fields[i].text);
        assert_string_equal(last, expect);
    }
}

static void test_macros(void **state)
{
    (void)state;
    log_init(LOG_INFO, LOG_JSON, "test");
    LOG(LOG_INFO, "e", LOG_CSTR("a", "x"), LOG_INT("b", 3), LOG_BOOL("c", true), LOG_MS("d", 1500),
        LOG_STR("f", STR("y")));
    assert_string_equal(last, HEAD ",\"a\":\"x\",\"b\":3,\"c\":true,\"d\":1.500,\"f\":\"y\"}\n");
}

/* A value of 512 bytes is whole; a longer one is cut, but never inside a character. */
static void test_value_cut(void **state)
{
    static const char *const endings[] = {"x", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    char value[600];

    (void)state;
    log_init(LOG_INFO, LOG_JSON, "test");
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        size_t width = strlen(endings[i]);
        for (size_t at = 500; at <= 514; at++) {
            memset(value, 'v', sizeof(value));
            memcpy(value + at, endings[i], width);
            LOG(LOG_INFO, "e", LOG_STR("k", str_of(value, at + width)));
            size_t expect = at + width <= 512 ? at + width : size_min(at, 512);
            assert_int_equal(last_n, strlen(HEAD ",\"k\":\"\"}\n") + expect);
            assert_int_equal(text_utf8_valid(str_of(last, last_n)), last_n);
        }
    }
    memset(value, 0x80, sizeof(value)); /* no character begins anywhere */
    LOG(LOG_INFO, "e", LOG_STR("k", str_of(value, sizeof(value))));
    assert_int_equal(text_utf8_valid(str_of(last, last_n)), last_n);
    assert_string_equal(last + last_n - 3, "\"}\n");
}

/* What does not fit is left out whole; what still fits behind it stands. */
static void test_line_cut(void **state)
{
    char controls[512] = {0};
    struct log_field large = LOG_STR("large", str_of(controls, sizeof(controls)));
    char longest[700];

    (void)state;
    memset(longest, '"', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    log_init(LOG_INFO, LOG_JSON, longest);
    LOG(LOG_INFO, longest, large, LOG_INT("one", 1), large, LOG_INT("two", 2));
    assert_true(last_n <= 4096);
    assert_non_null(strstr(last, ",\"large\":\"\\u0000"));
    assert_non_null(strstr(last, "\",\"one\":1,\"two\":2}\n"));
}

static int stderr_saved;

/* Puts a pipe in the place of standard error; returns the end to read from. */
static int take_stderr(void)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    stderr_saved = dup(STDERR_FILENO);
    assert_true(stderr_saved >= 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    return ends[0];
}

static void give_stderr_back(void)
{
    dup2(stderr_saved, STDERR_FILENO);
    close(stderr_saved);
}

static void test_full_pipe(void **state)
{
    static char got[1 << 20];
    char pad[400];
    ssize_t n;
    int reader;

    (void)state;
    memset(pad, 'p', sizeof(pad));
    log_init(LOG_INFO, LOG_JSON, "test");
    log_set_sink(NULL);
    reader = take_stderr();
    for (int i = 0; i < 4000; i++) /* far more than a pipe holds, and it returns */
        LOG(LOG_INFO, "e", LOG_INT("i", i), LOG_STR("pad", str_of(pad, sizeof(pad))));
    n = read(reader, got, sizeof(got) - 1);
    LOG(LOG_INFO, "after");
    give_stderr_back();
    assert_true(n > 4096);
    assert_int_equal(got[n - 1], '\n'); /* only whole lines */
    size_t whole = 0;
    for (ssize_t i = 0; i < n; i++)
        whole += got[i] == '\n';
    n = read(reader, got, sizeof(got) - 1);
    assert_true(n > 0);
    got[n] = 0;
    snprintf(pad, sizeof(pad), "\"event\":\"after\",\"dropped\":%zu}\n", 4000 - whole);
    assert_non_null(strstr(got, pad));
    close(reader);
    log_set_sink(keep);
    LOG(LOG_INFO, "e");
    assert_string_equal(last, HEAD "}\n"); /* told once */
}

static void test_reader_gone(void **state)
{
    (void)state;
    log_set_sink(NULL);
    close(take_stderr());
    LOG(LOG_INFO, "e"); /* no SIGPIPE */
    close(STDERR_FILENO);
    LOG(LOG_INFO, "e");
    give_stderr_back();
    log_set_sink(keep);
    LOG(LOG_INFO, "e");
    assert_string_equal(last, HEAD ",\"dropped\":2}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),      cmocka_unit_test(test_modules),
        cmocka_unit_test(test_who),         cmocka_unit_test(test_fields),
        cmocka_unit_test(test_macros),      cmocka_unit_test(test_value_cut),
        cmocka_unit_test(test_line_cut),    cmocka_unit_test(test_full_pipe),
        cmocka_unit_test(test_reader_gone), cmocka_unit_test(test_doing),
    };

    clock_set_source(fixed_us, fixed_us);
    log_set_sink(keep);
    doing = NULL; /* but where it is what is tested */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
