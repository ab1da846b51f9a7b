/* sim_record.h - what has been received, for tests that ask afterwards (GET /_sim/requests).
 *
 * A record is counted: the log holds it until it is cleared or too long, and so does the call that
 * is still being answered.
 */
#ifndef CCPROXY_SIM_SIM_RECORD_H
#define CCPROXY_SIM_SIM_RECORD_H

#include "http/server.h"

struct sim_log;
struct sim_record;

struct sim_log *log_new(void);
void log_free(struct sim_log *l);
void log_clear(struct sim_log *l);
/* Takes down the request's head (in on_head); the caller holds the record too and gives it back by
 * record_release. */
struct sim_record *log_add(struct sim_log *l, const struct request *r);
/* All of it as a JSON array. */
void log_write_json(const struct sim_log *l, struct buf *out);

void record_body(struct sim_record *r, struct str body); /* r may be NULL, here and below */
void record_sent(struct sim_record *r, size_t n);
void record_gone(struct sim_record *r);
void record_release(struct sim_record *r);

#endif
