/* simulate.h - a process that is the Claude simulator: `ccproxy simulate`, and the demo's upstream.
 */
#ifndef CCPROXY_PROC_SIMULATE_H
#define CCPROXY_PROC_SIMULATE_H

#include "proc/cli.h"

/* `ccproxy simulate`: opens the address, says "ready", and runs until SIGTERM or SIGINT. */
int simulate_command(const struct cli *cli);

/* The demo's child: serves fd until SIGTERM, or until the master's end of the channel closes. */
int simulate_child(int fd, int channel);

#endif
