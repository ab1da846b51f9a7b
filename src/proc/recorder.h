/* recorder.h - the master's side of the scribe: starts it, replaces it, lets it end last.
 *
 *   life: a socket pair. The master and every worker hold one end, scribes read the other. It is at
 *   its end when the master has let go and the last worker is gone, however each of them ended.
 */
#ifndef CCPROXY_PROC_RECORDER_H
#define CCPROXY_PROC_RECORDER_H

#include "config/config.h"
#include "io/loop.h"
#include "proc/exporter.h"
#include "proc/sandbox.h"
#include "store/journal.h"

struct recorder {
    struct loop *loop;
    struct journal *journal;
    struct spans *spans;
    int life, life_out; /* what workers hold; what scribes read */
    char *path;         /* NULL: nothing is recorded */
    struct export_settings export;
    int64_t days;
    bool sandbox;
    struct sandbox_user user;
    pid_t pid; /* 0: none runs */
    int channel;
    struct timer again, limit;
    uint64_t born_us;
    uint64_t wait_us; /* before the next one: 0 unless this one died young */
    unsigned n_last;  /* deaths since recorder_finish */
};

NODISCARD bool recorder_open(struct recorder *r, struct loop *l, struct journal *j,
                             struct spans *spans);
void recorder_close(struct recorder *r);
/* A configuration is in force: starts a scribe, or one in the place of the old one, or none. */
void recorder_adopt(struct recorder *r, const struct config *c, const struct sandbox_user *user);
/* The last worker is gone: the scribe writes what there is and ends, or is killed
 * after ten seconds. Once is enough. */
void recorder_finish(struct recorder *r);
/* No scribe runs, nor will one. */
bool recorder_is_done(const struct recorder *r);
/* A child has ended: true when it was the scribe. */
bool recorder_reap(struct recorder *r, pid_t pid, int status);

#endif
