/* test_upstream_limits.c - Anthropic's rate limit fields, and durations as OpenAI writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/upstream_limits.h"

#define A "anthropic-ratelimit-"
#define NONE                                                                                       \
    {                                                                                              \
        0, 0, 0, false                                                                             \
    }

static const struct {
    const char *fields;
    struct upstream_limit requests, tokens;
} cases[] = {
    {"", NONE, NONE},
    {"x-other: 1\r\n", NONE, NONE},
    {A "requests-limit: 50\r\n" A "requests-remaining: 0\r\n"
       "Anthropic-RateLimit-Requests-Reset: 2026-11-22T12:00:12Z\r\n",
     {50, 0, 1795348812000000, true},
     NONE},
    {A "requests-limit: 50\r\n", NONE, NONE},
    {A "requests-limit: x\r\n" A "requests-remaining: 1\r\n", NONE, NONE},
    {A "requests-limit: 99999999999999999999\r\n" A "requests-remaining: 1\r\n", NONE, NONE},
    {A "requests-limit: 1\r\n" A "requests-remaining: 1\r\n" A "requests-reset: soon\r\n",
     {1, 1, 0, true},
     NONE},
    {A "input-tokens-limit: 5\r\n" A "input-tokens-remaining: 4\r\n", NONE, {5, 4, 0, true}},
    {A "tokens-limit: 9\r\n" A "tokens-remaining: 8\r\n" A "input-tokens-limit: 5\r\n" A
       "input-tokens-remaining: 4\r\n",
     NONE,
     {9, 8, 0, true}},
    {A "output-tokens-limit: 9\r\n" A "output-tokens-remaining: 8\r\n", NONE, NONE},
};

static void assert_limit(const struct upstream_limit *got, const struct upstream_limit *want)
{
    assert_int_equal(got->known, want->known);
    assert_int_equal(got->limit, want->limit);
    assert_int_equal(got->remaining, want->remaining);
    assert_int_equal(got->reset_us, want->reset_us);
}

static void test_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static struct h1_head head;
        struct upstream_limits got;
        char text[1024];
        size_t scanned = 0, used;
        enum h1_error error;
        int n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n%s\r\n", cases[i].fields);
        assert_int_equal(h1_parse_response(str_of(text, (size_t)n), sizeof(text), false, &scanned,
                                           &head, &used, &error),
                         H1_DONE);
        upstream_limits_read(&head, &got);
        assert_limit(&got.requests, &cases[i].requests);
        assert_limit(&got.tokens, &cases[i].tokens);
        assert_int_equal(got.known, cases[i].requests.known || cases[i].tokens.known);
    }
}

static void test_durations(void **state)
{
    (void)state;

    static const struct {
        uint64_t us;
        const char *text;
    } durations[] = {
        {0, "0s"},
        {999, "0s"},
        {120000, "120ms"},
        {999999, "999ms"},
        {1000000, "1s"},
        {1500000, "1.500s"},
        {59999000, "59.999s"},
        {60000000, "1m0s"},
        {360000000, "6m0s"},
        {3600000000, "1h0m0s"},
        {3723900000, "1h2m3s"},
    };

    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        char out[UPSTREAM_DURATION];
        struct str got = upstream_duration(durations[i].us, out);
        if (!str_eq(got, str_c(durations[i].text)))
            fail_msg("%s: %.*s", durations[i].text, STR_FMT(got));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
