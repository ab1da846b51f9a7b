/* spawn.c - fork with a channel, and with nothing else left open.
 *
 * Descriptors are closed by what is kept, not by what is known to be open, so that no channel of a
 * sibling survives in a child: it would hide the parent's death from that sibling.
 */
#include "proc/spawn.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rand.h"

enum { KEEP_MAX = 2304 };

static int by_number(const void *a, const void *b)
{
    const int *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Closes the gaps between what is kept. */
static void close_others(const int *keep, size_t n_keep, int channel)
{
    int kept[KEEP_MAX];
    unsigned from = STDERR_FILENO + 1;
    size_t n = 0;

    ASSERT(n_keep < KEEP_MAX);
    for (; n < n_keep; n++)
        kept[n] = keep[n];
    kept[n++] = channel;
    qsort(kept, n, sizeof(kept[0]), by_number);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned)kept[i] > from)
            (void)close_range(from, (unsigned)kept[i] - 1, 0);
        from = (unsigned)kept[i] + 1;
    }
    (void)close_range(from, ~0U, 0);
}

pid_t spawn(const int *keep, size_t n_keep, int *ret_channel)
{
    int pair[2], error;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    pid = fork();
    error = errno;
    if (pid == 0) {
        close_others(keep, n_keep, pair[1]);
        rand_reseed();
        doing = "start";
        *ret_channel = pair[1];
        return 0;
    }
    (void)close(pair[1]);
    if (pid < 0)
        (void)close(pair[0]);
    *ret_channel = pair[0];
    errno = error;
    return pid;
}

void spawn_ready(int channel)
{
    /* When nobody listens any more, the channel's end says so too. */
    (void)send(channel, "r", 1, MSG_NOSIGNAL);
}

void spawn_quiet(int channel)
{
    (void)send(channel, "q", 1, MSG_NOSIGNAL);
}

enum spawn_word spawn_hear(int channel)
{
    char said;

    if (read(channel, &said, 1) != 1)
        return SPAWN_ENDED;
    return said == 'r' ? SPAWN_READY : SPAWN_QUIET;
}

void spawn_follow_parent(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
}

struct str spawn_end_text(int status, char out[SPAWN_TEXT])
{
    const char *name = WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : NULL;
    int n;

    if (WIFSIGNALED(status))
        n = snprintf(out, SPAWN_TEXT, "signal SIG%s", name ? name : "?");
    else
        n = snprintf(out, SPAWN_TEXT, "exit status %d", WEXITSTATUS(status));
    return str_of(out, size_min((size_t)n, SPAWN_TEXT - 1));
}
