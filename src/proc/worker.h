/* worker.h - the life of one worker process: the gateway on a loop, until it is told to leave.
 *
 *   SIGTERM   unready; after drain_delay drain; after drain_timeout abort
 *   SIGTERM   again: abort at once
 *   SIGQUIT   drain at once: others have taken over. So does the end of the channel.
 */
#ifndef CCPROXY_PROC_WORKER_H
#define CCPROXY_PROC_WORKER_H

#include "config/config.h"
#include "proc/sandbox.h"
#include "proxy/shared.h"

struct worker {
    unsigned number; /* 1 is the first */
    const struct config *config;
    const struct shared *shared;
    unsigned owner;           /* of what it takes of the shared memory */
    struct sandbox_user user; /* to become, when started as root */
    const int *fds;           /* listening sockets; the worker's from now on */
    const uint8_t *entries;   /* of config->listen that they are for */
    size_t n_fds;
    int channel; /* spawn.h */
};

/* Returns the exit status: 0 after an orderly end. */
int worker_run(const struct worker *w);

#endif
