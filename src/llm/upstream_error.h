/* upstream_error.h - what an error of the upstream means, from its status and body.
 *
 * It only classifies; the statuses and words for the client stand in proxy/fail.def.
 */
#ifndef CCPROXY_LLM_UPSTREAM_ERROR_H
#define CCPROXY_LLM_UPSTREAM_ERROR_H

#include "base/arena.h"
#include "wire/json.h"

enum upstream_error_kind {
    UPSTREAM_INVALID_REQUEST,
    UPSTREAM_CONTEXT_LENGTH,
    UPSTREAM_IMAGE, /* too large, unreadable, wrong type */
    UPSTREAM_QUOTA, /* credit, spend limit, billing: never retried */
    UPSTREAM_AUTH,  /* our key is wrong */
    UPSTREAM_PERMISSION,
    UPSTREAM_MODEL_NOT_FOUND,
    UPSTREAM_NOT_FOUND,
    UPSTREAM_METHOD,
    UPSTREAM_CONFLICT,
    UPSTREAM_TOO_LARGE,
    UPSTREAM_RATE_LIMIT,
    UPSTREAM_TIMEOUT,
    UPSTREAM_OVERLOADED,   /* 529 */
    UPSTREAM_SERVER_ERROR, /* 500 */
    UPSTREAM_BAD_GATEWAY,  /* 502 */
    UPSTREAM_UNAVAILABLE,  /* 503, 52x, and bodies that are not the API's */
};

struct upstream_error {
    enum upstream_error_kind kind;
    struct str said;    /* the code for the client where the kind has several, or absent */
    struct str message; /* plain text made in the arena, or absent when there is none to show */
    struct str type;    /* upstream's error.type, or absent */
    struct str code;    /* error.details.error_code, or absent */
    struct str param;   /* of the client's request, when the message names a field; or absent */
    struct str request_id;
};

/* body may be anything, HTML included. For an error event in a stream, status is 0 and body its
 * data. */
void upstream_error_read(int status, struct str body, struct json *doc, struct arena *a,
                         struct upstream_error *ret);

#endif
