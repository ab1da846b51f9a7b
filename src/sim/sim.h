/* sim.h - the Claude simulator: the Messages API, well enough that official clients work against
 * it.
 *
 * It is the demo's upstream, the peer in tests, the target of load, and the place where faults are
 * scripted. It lives on one loop.
 */
#ifndef CCPROXY_SIM_SIM_H
#define CCPROXY_SIM_SIM_H

#include "io/loop.h"

struct sim;

struct sim_options {
    bool control;            /* serve /_sim/..., where answers are scripted */
    uint64_t event_delay_us; /* between two events of a stream */
    uint64_t first_delay_us; /* before an answer's head */
    size_t answer_tokens;    /* words of an answer that nothing else bounds; 0: as the answer is */
};

struct sim *sim_new(struct loop *l, const struct sim_options *o);
NODISCARD bool sim_listen(struct sim *s, int fd);
void sim_free(struct sim *s);

#endif
