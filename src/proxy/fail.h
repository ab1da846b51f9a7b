/* fail.h - the endings of fail.def as values, and what other layers' failures mean here. */
#ifndef CCPROXY_PROXY_FAIL_H
#define CCPROXY_PROXY_FAIL_H

#include "base/log.h"
#include "http/client.h"
#include "http/server.h"
#include "llm/dialect.h"
#include "llm/upstream_error.h"

enum fail {

#define FAIL(name, ...) FAIL_##name,
#include "proxy/fail.def"
#undef FAIL
    FAIL_COUNT
};

enum retry { RETRY_NEVER, RETRY_UNSENT, RETRY_ASK, RETRY_KEY };

enum fault { FAULT_NOBODY, FAULT_CALLER, FAULT_POLICY, FAULT_UPSTREAM, FAULT_GATEWAY };

struct fail_row {
    const char *name; /* "upstream_cut" */
    int status;
    const char *type, *code;
    enum retry retry;
    enum log_level level;
    enum fault fault;
    const char *text;
};

const struct fail_row *fail_row(enum fail f);
const char *fault_name(enum fault f);

enum fail fail_of_refusal(enum server_refusal why, enum h1_error error);
enum fail fail_of_fault(enum request_fault fault);
enum fail fail_of_call(enum call_failure why);
enum fail fail_of_upstream(enum upstream_error_kind kind);

/* The row as an error object; code, param and message replace the row's when present. */
struct api_error fail_error(enum fail f, struct str code, struct str param, struct str message);

#endif
