/* simulate.c - the simulator on a loop of its own, confined like a worker.
 *
 * It holds nothing worth finishing, so every signal ends it at once. It runs as "nobody" when it
 * was started as root and there is such a user. What it answers is sim.h's.
 */
#include "proc/simulate.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proc/listeners.h"
#include "proc/sandbox.h"
#include "proc/spawn.h"
#include "sim/sim.h"

enum { DEMO_EVENT_US = 10 * 1000 }; /* slow enough to be seen streaming */

static struct loop *loop;

static void on_end(struct io_watch *w, unsigned events)
{
    (void)events;
    loop_unwatch(loop, w);
    loop_stop(loop);
}

/* A child leaves Ctrl-C, which reaches the whole group, to its master. */
static int signals_fd(bool is_child)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    if (!is_child)
        sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static bool confine(bool is_child)
{
    struct sandbox_user user;

    if (sandbox_find_user(STR("nobody"), &user) && !sandbox_leave_root(&user))
        return false;
    if (is_child)
        spawn_follow_parent();
    return sandbox_confine(SANDBOX_SIMULATOR);
}

/* Everything after the options: 0 after an orderly end. ready is called when it serves. */
static int run(const struct sim_options *options, int fd, int channel, void (*ready)(int fd))
{
    bool is_child = channel >= 0;
    struct io_watch signals = {.fd = signals_fd(is_child), .fn = on_end, .name = "signals"};
    struct io_watch end = {.fd = channel, .fn = on_end, .name = "channel"};
    struct sim *sim;

    clock_refresh();
    loop = loop_new();
    sim = sim_new(loop, options);
    if (signals.fd < 0 || !loop_watch_level(loop, &signals) || !sim_listen(sim, fd) ||
        (is_child && !loop_watch_level(loop, &end)) || !confine(is_child)) {
        LOG(LOG_ERROR, "the simulator cannot start", LOG_CSTR("error", sock_error_text(errno)));
        return 1;
    }
    ready(is_child ? channel : fd);
    loop_run(loop);
    sim_free(sim);
    loop_free(loop);
    return 0;
}

static void say_ready(int fd)
{
    struct sock_addr addr;
    char text[SOCK_TEXT];

    ASSERT(sock_local(fd, &addr));
    LOG(LOG_INFO, "ready", LOG_STR("address", sock_addr_text(&addr, text)));
}

int simulate_command(const struct cli *cli)
{
    const struct sim_options options = {
        .control = cli->control,
        .event_delay_us = (uint64_t)cli->event_delay_us,
        .first_delay_us = (uint64_t)cli->first_delay_us,
        .answer_tokens = (size_t)cli->answer_tokens,
    };
    struct listeners listeners;
    char error[LISTENERS_ERROR];

    log_init(LOG_INFO, LOG_JSON, "simulator");
    if (!listeners_open(&listeners, cli->host, (uint16_t)cli->port, 1, true, error)) {
        (void)fprintf(stderr, "ccproxy: %s\n", error);
        return 1;
    }
    return run(&options, listeners.fds[0], -1, say_ready);
}

int simulate_child(int fd, int channel)
{
    const struct sim_options options = {.event_delay_us = DEMO_EVENT_US};

    log_set_who("simulator");
    return run(&options, fd, channel, spawn_ready);
}
