/* master.h - the process that owns the others: starts, watches, reloads and stops them.
 *
 *   SIGHUP           load the configuration anew; workers are replaced without losing a request
 *   SIGTERM, SIGINT  drain and leave; a second one leaves at once
 */
#ifndef CCPROXY_PROC_MASTER_H
#define CCPROXY_PROC_MASTER_H

/* `ccproxy`: returns the exit status. */
int master_run(void);

#endif
