/* crew.h - one generation of workers: all born from one configuration, watched until the last is
 * gone.
 *
 *   starting --all ready--> serving --crew_leave--> leaving --last one gone--> on_gone
 *       \--one died, or 5 s passed: on_failed--------^
 *
 * While it serves, a worker that dies is replaced at once (later when they die young). The owner is
 * told through the handler and frees the crew in on_gone.
 */
#ifndef CCPROXY_PROC_CREW_H
#define CCPROXY_PROC_CREW_H

#include "config/config.h"
#include "io/loop.h"
#include "proc/doors.h"
#include "proc/sandbox.h"
#include "proxy/shared.h"

struct crew;

struct crew_handler {
    void (*on_ready)(struct crew *c);  /* every worker listens; called once */
    void (*on_failed)(struct crew *c); /* it never will; those that did are being killed */
    void (*on_quiet)(struct crew *c);  /* leaving, and none of it takes anything new */
    void (*on_gone)(struct crew *c);   /* after on_quiet */
};

struct crew_options {
    struct loop *loop;
    struct config *config;     /* the crew's from now on */
    struct shared *shared;     /* of all crews */
    const struct doors *doors; /* must live while the crew is not leaving */
    struct sandbox_user user;
    int life; /* kept open by every worker while it lives (recorder.h) */
    size_t n;
};

/* Forks n workers. NULL with errno, and the configuration untouched, when not even one can be. */
struct crew *crew_new(const struct crew_options *o, const struct crew_handler *handler);
void crew_free(struct crew *c);
const struct config *crew_config(const struct crew *c);
const struct sandbox_user *crew_user(const struct crew *c);
size_t crew_size(const struct crew *c);

/* Tells all workers to leave by a signal (worker.h); who is not gone after limit_us is killed. May
 * be called again, with a harder signal. */
void crew_leave(struct crew *c, int signal, uint64_t limit_us);
/* A child has ended: true when it was one of this crew's. The crew may be freed on return. */
bool crew_reap(struct crew *c, pid_t pid, int status);

#endif
