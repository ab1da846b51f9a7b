/* client.h - one request to an upstream and its answer, on a pooled connection.
 *
 *   call_start --> (dial) --> request out --> on_head --> on_body ... --> on_end
 *                                    \------------- on_fail at any point before on_end
 *
 * Exactly one of on_end and on_fail ends a call, unless call_cancel did; then the call is gone. A
 * call that is cancelled closes its connection: with HTTP/1.1 there is no other way to tell the
 * upstream. While paused, nothing is read, and the upstream feels it. 1xx answers are skipped.
 */
#ifndef CCPROXY_HTTP_CLIENT_H
#define CCPROXY_HTTP_CLIENT_H

#include "base/rope.h"
#include "http/pool.h"
#include "wire/h1.h"

struct call;

/* How far a failed call got: what decides whether it may be sent again. */
enum call_failure {
    CALL_CONNECT_FAILED, /* no connection, no byte sent: safe on this or another target */
    CALL_UNSENT,         /* closed before the kernel had taken the whole request, so that the server
                            cannot have acted on it */
    CALL_BROKEN,         /* closed or reset after the request was sent, before a whole head */
    CALL_CUT,            /* closed inside the body */
    CALL_BAD_ANSWER,     /* not HTTP, or beyond a limit */
};

struct call_handler {
    /* Connected: the request is on its way. Optional. */
    void (*on_sent)(void *ctx);
    void (*on_head)(void *ctx, const struct h1_head *head);
    void (*on_body)(void *ctx, struct str bytes); /* writable in place; valid during the call */
    void (*on_end)(void *ctx);
    void (*on_fail)(void *ctx, enum call_failure why, const char *error);
};

/* head: the whole request head, up to and with the empty line; copied. body is borrowed until
 * on_end, on_fail or call_cancel; NULL for none. Callbacks never come before call_start returns. */
struct call *call_start(struct pool *p, struct str head, const struct rope *body,
                        const struct call_handler *handler, void *ctx);
void call_cancel(struct call *c); /* from anywhere, also inside its callbacks */
void call_pause(struct call *c);
void call_resume(struct call *c);
/* The body is no longer needed by the sender (all of it is in the kernel). */
bool call_sent(const struct call *c);

#endif
