/* check.h - what is right only together: keys, files, addresses, the demo. Private to config. */
#ifndef CCPROXY_CONFIG_CHECK_H
#define CCPROXY_CONFIG_CHECK_H

#include "config/config.h"
#include "config/report.h"

/* Every option has been parsed. Fills in what struct config works out from them. */
void check_config(struct config *c, struct report *r);

#endif
