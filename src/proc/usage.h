/* usage.h - `ccproxy usage`: what is in the usage database, for people and for programs. */
#ifndef CCPROXY_PROC_USAGE_H
#define CCPROXY_PROC_USAGE_H

#include "proc/cli.h"

/* Exit status. */
int usage_command(const struct cli *cli);

#endif
