/* sandbox.h - giving up what a process does not need: user, capabilities, system calls.
 *
 *   sandbox_leave_root  ->  (descriptors, files, everything that takes rights)  ->  sandbox_confine
 *
 * A filter is inherited by children and only ever narrows, so the master's list holds what the
 * others need to start.
 */
#ifndef CCPROXY_PROC_SANDBOX_H
#define CCPROXY_PROC_SANDBOX_H

#include "base/str.h"

enum sandbox_kind {
    SANDBOX_MASTER,
    SANDBOX_WORKER,
    SANDBOX_SCRIBE,           /* with a database that is a file */
    SANDBOX_EXPORTER,         /* a scribe that exports spans */
    SANDBOX_SCRIBE_EXPORTING, /* one that does both */
    SANDBOX_REMOTE_SCRIBE,    /* with a database on a server; it may export too */
    SANDBOX_SIMULATOR,
};

struct sandbox_user {
    uid_t uid;
    gid_t gid;
};

/* A name or number in /etc/passwd, or any number; false when it is neither, or root. */
NODISCARD bool sandbox_find_user(struct str name, struct sandbox_user *ret);

/* As root: becomes the user, without groups and capabilities. Otherwise there is nothing to leave.
 * False with errno. */
NODISCARD bool sandbox_leave_root(const struct sandbox_user *user);

/* From here on a system call that is not on the kind's list ends the process (SIGSYS). No
 * privileges can come back, nothing of the memory goes into a core or to a debugger. False with
 * errno. */
NODISCARD bool sandbox_confine(enum sandbox_kind kind);

#endif
