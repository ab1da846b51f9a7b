/* demo.h - what makes a gateway without any keys answer: the simulator as its upstream, and one
 * key. */
#ifndef CCPROXY_PROC_DEMO_H
#define CCPROXY_PROC_DEMO_H

#include "config/config.h"
#include "proc/listeners.h"

enum { DEMO_KEY = 64 };

struct demo {
    struct listeners listeners; /* the simulator's, kept over its crashes */
    pid_t pid;                  /* 0: it does not run */
    int channel;
    char key[DEMO_KEY]; /* "sk-ccproxy-demo-..." */
};

/* Opens the address and makes the key. */
NODISCARD bool demo_open(struct demo *d, char error[LISTENERS_ERROR]);
/* Forks the simulator. */
NODISCARD bool demo_start(struct demo *d);
/* Gives a configuration that says demo its upstream and its key. */
void demo_apply(const struct demo *d, struct config *c);
/* On standard output: that this is the demo, and a line to paste. */
void demo_say(const struct demo *d, const struct sock_addr *gateway);

#endif
