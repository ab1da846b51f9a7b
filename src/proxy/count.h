/* count.h - what exchanges add to the metrics, and which values the metrics' labels have. */
#ifndef CCPROXY_PROXY_COUNT_H
#define CCPROXY_PROXY_COUNT_H

#include "config/config.h"
#include "obs/metrics.h"
#include "proxy/exchange.h"
#include "proxy/shared.h"

/* For the master, with its meter: values from tables and what never changes; then the values of a
 * configuration, at each load. */
void count_init(const struct meter *t);
void count_adopt(struct metrics *m, const struct config *c);

/* The number of the model of a request among those of the configuration, the same in all workers; 0: of
 * any other. */
unsigned count_model(struct exchange *x);

/* For the master, now and then: what is seen in the memory that workers share. */
void count_shared(const struct meter *t, const struct shared *s);

/* For the master, when a configuration comes into force; tls may be NULL. */
void count_certificates(const struct meter *t, const struct tls_server *tls);

/* What is open and held, now and every GAUGES_EVERY_US: also when nobody asks this worker anything. */
void count_gauges(struct proxy *p);

enum { GAUGES_EVERY_US = 2 * 1000 * 1000 };

/* What came of asking about a certificate. */
enum count_staple { STAPLE_GOOD, STAPLE_UNANSWERED, STAPLE_UNUSABLE, STAPLE_REVOKED };

/* Somebody came to wait for a place, or left. */
void count_queue(struct proxy *p);
void count_waited(struct proxy *p, uint64_t us);
void count_auth(struct exchange *x, enum auth_result result);
void count_flood(struct proxy *p, enum server_flood why); /* a connection was ended for that */
void count_glitches(struct proxy *p, unsigned n);         /* of a connection that is over */
void count_handshake(struct proxy *p, enum server_handshake how);
void count_rejection(struct proxy *p,
                     enum server_rejection what); /* ended before its first request */
void count_staple(struct proxy *p, enum count_staple what);
void count_penalty(struct exchange *x); /* refused for where it came from */
/* The request is on its way upstream; what came back of that attempt. Each attempt is counted once. */
void count_attempt(struct exchange *x);
void count_attempt_end(struct exchange *x);
/* A prompt's tokens as they were expected, and as the answer says. */
void count_guess(struct exchange *x, uint64_t expected, uint64_t actual);
/* What is left of one of the client's budgets, in the order of struct board. */
void count_budget(struct exchange *x, unsigned which, uint64_t limit, uint64_t left);
/* Tokens that an admitted request had reserved, and has taken. */
void count_settled(struct exchange *x, uint64_t reserved, uint64_t taken);
/* An upstream key was refused, or told to wait, and rests for so long. */
void count_key_rest(struct exchange *x, size_t key, uint64_t rest_us);
void count_retry(struct exchange *x, enum fail why);
/* A piece of content has come; before x->progress_us is moved. */
void count_progress(struct exchange *x);
/* Once, from exchange_end. */
void count_end(struct exchange *x);

#endif
