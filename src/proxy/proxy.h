/* proxy.h - the gateway as one object: what a worker runs.
 *
 * It owns the server side, the upstream pools, the table of models and every exchange. It lives on
 * one loop and knows nothing of processes, so that a test can run it whole.
 */
#ifndef CCPROXY_PROXY_PROXY_H
#define CCPROXY_PROXY_PROXY_H

#include "config/config.h"
#include "io/loop.h"
#include "proxy/shared.h"

struct proxy;

/* NULL with a reason when the configuration cannot be put to work (a certificate that cannot be
 * read). */
struct proxy *proxy_new(struct loop *l, const struct config *c, const struct shared *s,
                        unsigned owner, char *ret_error, size_t error_size);
/* Whether it knows what it has to ask others for at its start, or has been told nothing. */
bool proxy_is_prepared(const struct proxy *p);
/* A socket that listens for that entry of the configuration's list. */
NODISCARD bool proxy_listen(struct proxy *p, int fd, size_t entry);
/* From now on /readyz fails. */
void proxy_unready(struct proxy *p);
/* Stops accepting and lets open exchanges finish. */
void proxy_drain(struct proxy *p);
/* Nothing open any more. */
bool proxy_is_idle(const struct proxy *p);
/* Ends every open exchange with an error its client understands. */
void proxy_abort(struct proxy *p);
/* Everything must be idle or aborted. */
void proxy_free(struct proxy *p);

#endif
