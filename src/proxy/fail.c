/* fail.c - see fail.def for the table itself. */
#include "proxy/fail.h"

#define NOBODY   FAULT_NOBODY
#define CALLER   FAULT_CALLER
#define POLICY   FAULT_POLICY
#define UPSTREAM FAULT_UPSTREAM
#define GATEWAY  FAULT_GATEWAY

static const struct fail_row rows[FAIL_COUNT] = {
#define FAIL(id, status_, type_, code_, retry_, level_, fault_, text_)                             \
    [FAIL_##id] = {#id, status_, type_, code_, retry_, level_, fault_, text_},
#include "proxy/fail.def"
#undef FAIL
};

const struct fail_row *fail_row(enum fail f)
{
    ASSERT(f < FAIL_COUNT);
    return &rows[f];
}

const char *fault_name(enum fault f)
{
    static const char *const names[] = {"nobody", "caller", "policy", "upstream", "gateway"};
    return names[f];
}

static enum fail fail_of_h1(enum h1_error error)
{
    switch ((int)error) {
    case H1_BAD_VERSION: return FAIL_BAD_VERSION;
    case H1_UNKNOWN_ENCODING: return FAIL_UNKNOWN_ENCODING;
    case H1_UNKNOWN_EXPECT: return FAIL_UNKNOWN_EXPECT;
    case H1_TOO_MANY_FIELDS:
    case H1_HEAD_TOO_LONG: return FAIL_HEAD_TOO_LARGE;
    case H1_BODY_TOO_LONG: return FAIL_BODY_TOO_LARGE;
    default: return FAIL_BAD_MESSAGE;
    }
}

enum fail fail_of_refusal(enum server_refusal why, enum h1_error error)
{
    switch (why) {
    case SERVER_BAD_MESSAGE: return fail_of_h1(error);
    case SERVER_BODY_TOO_LONG: return FAIL_BODY_TOO_LARGE;
    case SERVER_OVERLOADED: return FAIL_OVERLOADED;
    case SERVER_SLOW_HEAD:
    case SERVER_SLOW_BODY: return FAIL_SLOW_REQUEST;
    }
    UNREACHABLE();
}

enum fail fail_of_fault(enum request_fault fault)
{
    switch (fault) {
    case REQUEST_INVALID: return FAIL_INVALID_REQUEST;
    case REQUEST_MODEL_NOT_FOUND: return FAIL_MODEL_NOT_FOUND;
    case REQUEST_UNPARSABLE: return FAIL_UNPARSABLE;
    }
    UNREACHABLE();
}

enum fail fail_of_call(enum call_failure why)
{
    switch (why) {
    case CALL_CONNECT_FAILED: return FAIL_UPSTREAM_CONNECT;
    case CALL_UNSENT: return FAIL_UPSTREAM_UNSENT;
    case CALL_BROKEN: return FAIL_UPSTREAM_BROKEN;
    case CALL_CUT: return FAIL_UPSTREAM_CUT;
    case CALL_BAD_ANSWER: return FAIL_UPSTREAM_BAD_ANSWER;
    }
    UNREACHABLE();
}

enum fail fail_of_upstream(enum upstream_error_kind kind)
{
    static const enum fail map[] = {
        [UPSTREAM_INVALID_REQUEST] = FAIL_UPSTREAM_INVALID_REQUEST,
        [UPSTREAM_CONTEXT_LENGTH] = FAIL_UPSTREAM_CONTEXT_LENGTH,
        [UPSTREAM_IMAGE] = FAIL_UPSTREAM_IMAGE,
        [UPSTREAM_QUOTA] = FAIL_UPSTREAM_QUOTA,
        [UPSTREAM_AUTH] = FAIL_UPSTREAM_AUTH,
        [UPSTREAM_PERMISSION] = FAIL_UPSTREAM_PERMISSION,
        [UPSTREAM_MODEL_NOT_FOUND] = FAIL_UPSTREAM_MODEL_NOT_FOUND,
        [UPSTREAM_NOT_FOUND] = FAIL_UPSTREAM_NOT_FOUND,
        [UPSTREAM_METHOD] = FAIL_UPSTREAM_METHOD,
        [UPSTREAM_CONFLICT] = FAIL_UPSTREAM_CONFLICT,
        [UPSTREAM_TOO_LARGE] = FAIL_UPSTREAM_TOO_LARGE,
        [UPSTREAM_RATE_LIMIT] = FAIL_UPSTREAM_RATE_LIMIT,
        [UPSTREAM_TIMEOUT] = FAIL_UPSTREAM_TIMEOUT,
        [UPSTREAM_OVERLOADED] = FAIL_UPSTREAM_OVERLOADED,
        [UPSTREAM_SERVER_ERROR] = FAIL_UPSTREAM_SERVER_ERROR,
        [UPSTREAM_BAD_GATEWAY] = FAIL_UPSTREAM_BAD_GATEWAY,
        [UPSTREAM_UNAVAILABLE] = FAIL_UPSTREAM_UNAVAILABLE,
    };

    ASSERT((size_t)kind < ARRAY_LEN(map));
    return map[kind];
}

struct api_error fail_error(enum fail f, struct str code, struct str param, struct str message)
{
    const struct fail_row *row = fail_row(f);
    return (struct api_error){
        .status = row->status,
        .type = str_c(row->type),
        .code = code.p ? code : str_c(row->code),
        .param = param,
        .message = message.n ? message : str_c(row->text),
    };
}
