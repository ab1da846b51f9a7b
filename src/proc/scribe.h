/* scribe.h - the process that writes the usage database, the only one that touches it, and exports
 * spans; each of them when it is wanted.
 *
 *   journal --every 100 ms, a transaction--> database
 *        \--it cannot: again every second, from where it stood; said in log and /health
 *   spans   --exporter.h--> collector
 *
 *   life's end   no worker is left, nor the master: writes what still waits, then leaves
 *   SIGQUIT      leaves after one more write, and the answer to a post that is under way: another
 *                one follows
 *
 * SIGTERM and SIGINT, which a whole group gets, mean nothing to it.
 */
#ifndef CCPROXY_PROC_SCRIBE_H
#define CCPROXY_PROC_SCRIBE_H

#include "proc/exporter.h"
#include "proc/sandbox.h"
#include "store/journal.h"

struct scribe {
    struct journal *journal;
    const char *path; /* or address: ledger.h; NULL: no database */
    int64_t days;     /* that requests are kept; 0: for good */
    struct spans *spans;
    const struct export_settings *export;
    struct sandbox_user user;
    bool sandbox;
    int life; /* at its end when every process that writes the journal is gone */
};

/* Returns the exit status: 0 when nothing waits any more, or another one will write it. */
int scribe_run(const struct scribe *s);

#endif
