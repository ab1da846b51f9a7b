/* base.c - the end of the road: a broken promise is reported and the process aborts.
 *
 * Runs in an unknown state, so it takes no lock and no memory of ours: text goes to standard error
 * straight through dprintf, and the backtrace is written by address, to be read with addr2line; log
 * lines that wait for company go out last.
 * Restarting the process is left to its parent.
 */
#include "base/base.h"

#include <execinfo.h>
#include <unistd.h>

#include "base/log.h"

enum { FRAMES_MAX = 64 };

const char *doing = "start";

void assert_failed(const char *what, const char *file, int line, const char *func)
{
    void *frames[FRAMES_MAX];

    (void)dprintf(STDERR_FILENO, "assertion failed: %s at %s:%d in %s\n", what, file, line, func);
    if (doing)
        (void)dprintf(STDERR_FILENO, "while: %s\n", doing);
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
    log_flush();
    abort();
}
