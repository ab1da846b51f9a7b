/* test_upstream_error.c - what errors of the upstream mean, by code, words, type and status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "llm/upstream_error.h"

#define ERROR(type, message)                                                                       \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" message                  \
    "\"},\"request_id\":\"req_1\"}"
#define CODED(type, code)                                                                          \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type                                              \
    "\",\"message\":\"m\",\"details\":{\"error_code\":\"" code "\"}}}"
#define INVALID "invalid_request_error"

static const struct {
    int status;
    const char *body;
    enum upstream_error_kind kind;
    const char *param;
} cases[] = {
    {400, ERROR(INVALID, "tools.3.custom.name: bad"), UPSTREAM_INVALID_REQUEST, "tools[3]"},
    {400, ERROR(INVALID, "tools: Tool names must be unique."), UPSTREAM_INVALID_REQUEST, "tools"},
    {400, ERROR(INVALID, "messages.3.content.0: x"), UPSTREAM_INVALID_REQUEST, "messages"},
    {400, ERROR(INVALID, "max_tokens: 9 > 8"), UPSTREAM_INVALID_REQUEST, "max_tokens"},
    {400, ERROR(INVALID, "toolsmith is busy"), UPSTREAM_INVALID_REQUEST, ""},
    {400, ERROR(INVALID, "something"), UPSTREAM_INVALID_REQUEST, ""},
    {400, ERROR(INVALID, "prompt is too long: 2 tokens > 1 maximum"), UPSTREAM_CONTEXT_LENGTH,
     "messages"},
    {400, ERROR(INVALID, "input length and `max_tokens` exceed context limit: 1"),
     UPSTREAM_CONTEXT_LENGTH, "messages"},
    {400, ERROR(INVALID, "Your credit balance is too low to access the Anthropic API."),
     UPSTREAM_QUOTA, ""},
    {400, ERROR(INVALID, "You have reached your specified API usage limits."), UPSTREAM_QUOTA, ""},
    {400, ERROR(INVALID, "messages.0.content.1.image.source.base64: Could not process image"),
     UPSTREAM_IMAGE, ""},
    {400, CODED(INVALID, "image_dimensions_too_large"), UPSTREAM_IMAGE, ""},
    {401, ERROR("authentication_error", "invalid x-api-key"), UPSTREAM_AUTH, ""},
    {402, ERROR("billing_error", "m"), UPSTREAM_QUOTA, ""},
    {402, "{}", UPSTREAM_QUOTA, ""},
    {400, CODED(INVALID, "organization_on_hold"), UPSTREAM_AUTH, ""},
    {400, ERROR(INVALID, "This organization has been disabled."), UPSTREAM_AUTH, ""},
    {403, ERROR("permission_error", "m"), UPSTREAM_PERMISSION, ""},
    {404, ERROR("not_found_error", "model: claude-x"), UPSTREAM_MODEL_NOT_FOUND, "model"},
    {404, ERROR("not_found_error", "Not found"), UPSTREAM_NOT_FOUND, ""},
    {405, ERROR(INVALID, "Method Not Allowed"), UPSTREAM_METHOD, ""},
    {409, ERROR("conflict_error", "m"), UPSTREAM_CONFLICT, ""},
    {413, ERROR("request_too_large", "m"), UPSTREAM_TOO_LARGE, ""},
    {413, "<html>413</html>", UPSTREAM_TOO_LARGE, ""},
    {429, ERROR("rate_limit_error", "m"), UPSTREAM_RATE_LIMIT, ""},
    {429, CODED("rate_limit_error", "enforced_spend_limit_reached"), UPSTREAM_QUOTA, ""},
    {429, CODED("rate_limit_error", "contract_spend_limit_reached"), UPSTREAM_QUOTA, ""},
    {429, CODED("rate_limit_error", "ramp_limit_exceeded"), UPSTREAM_RATE_LIMIT, ""},
    {429, CODED("rate_limit_error", "unheard_of"), UPSTREAM_RATE_LIMIT, ""},
    {429, "{\"message\":\"Too many requests\"}", UPSTREAM_RATE_LIMIT, ""},
    {429, "[{\"error\":{\"code\":429,\"message\":\"Quota\",\"status\":\"RESOURCE_EXHAUSTED\"}}]",
     UPSTREAM_RATE_LIMIT, ""},
    {500, ERROR("api_error", "Internal"), UPSTREAM_SERVER_ERROR, ""},
    {502, "<html><body>Bad Gateway</body></html>", UPSTREAM_BAD_GATEWAY, ""},
    {503, ERROR("api_error", "m"), UPSTREAM_UNAVAILABLE, ""},
    {504, ERROR("timeout_error", "m"), UPSTREAM_TIMEOUT, ""},
    {408, "", UPSTREAM_TIMEOUT, ""},
    {520, "", UPSTREAM_UNAVAILABLE, ""},
    {529, ERROR("overloaded_error", "Overloaded"), UPSTREAM_OVERLOADED, ""},
    {529, "", UPSTREAM_OVERLOADED, ""},
    {418, "", UPSTREAM_INVALID_REQUEST, ""},
    {302, "", UPSTREAM_UNAVAILABLE, ""},
    {0, ERROR("overloaded_error", "Overloaded"), UPSTREAM_OVERLOADED, ""},
    {0, ERROR("rate_limit_error", "m"), UPSTREAM_RATE_LIMIT, ""},
    {0, ERROR("api_error", "m"), UPSTREAM_SERVER_ERROR, ""},
    {0, ERROR(INVALID, "m"), UPSTREAM_INVALID_REQUEST, ""},
    {0, "{\"type\":\"error\"}", UPSTREAM_SERVER_ERROR, ""},
};

static void test_kinds(void **state)
{
    (void)state;
    struct json doc;
    struct arena a;
    json_init(&doc);
    arena_init(&a);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct upstream_error e;
        upstream_error_read(cases[i].status, str_c(cases[i].body), &doc, &a, &e);
        if (e.kind != cases[i].kind || !str_eq(e.param, str_c(cases[i].param)))
            fail_msg("%d %s: kind %d, param %.*s", cases[i].status, cases[i].body, (int)e.kind,
                     STR_FMT(e.param));
    }
    arena_done(&a);
    json_done(&doc);
}

static void test_members(void **state)
{
    (void)state;
    struct json doc;
    struct arena a;
    struct upstream_error e;
    json_init(&doc);
    arena_init(&a);
    upstream_error_read(400, STR(ERROR(INVALID, "a \\\"b\\\" \\u00e9")), &doc, &a, &e);
    assert_true(str_eq(e.message, STR("a \"b\" \xc3\xa9")));
    assert_true(str_eq(e.type, STR(INVALID)));
    assert_true(str_eq(e.request_id, STR("req_1")));
    assert_null(e.code.p);
    upstream_error_read(502, STR("<html>"), &doc, &a, &e);
    assert_null(e.message.p);
    char body[5000];
    int n = snprintf(body, sizeof(body), "{\"error\":{\"message\":\"%0*d\"}}", 4000, 7);
    upstream_error_read(500, str_of(body, (size_t)n), &doc, &a, &e);
    assert_int_equal(e.message.n, 2000);
    arena_done(&a);
    json_done(&doc);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
