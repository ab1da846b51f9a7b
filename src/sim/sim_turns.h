/* sim_turns.h - the rules between messages: whose turn it is, what answers what. */
#ifndef CCPROXY_SIM_SIM_TURNS_H
#define CCPROXY_SIM_SIM_TURNS_H

#include "sim/sim_shape.h"

/* c->request has its model, thinking and tools already; shapes have been checked. */
bool turns_check(struct check *c);

#endif
