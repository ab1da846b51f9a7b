/* worker.c - builds the proxy, gives up privileges, says that it is ready, and runs the loop.
 *
 *   serving --SIGTERM--> unready --delay--> draining --timeout or SIGUSR2--> aborting --> gone
 *       \----------------SIGQUIT, channel's end---^   \------- idle ------------------------^
 *
 * One writer, enter(), moves between these states and only ever forward. The process ends when the
 * proxy is idle; what it still holds then is freed, so that a leak shows in tests.
 */
#include "proc/worker.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/sock.h"
#include "proc/spawn.h"
#include "proxy/proxy.h"

enum {
    SLOW_US = 20 * 1000,
    ABORT_US = 1000 * 1000,
    LOG_DELAY_US = 20 * 1000,
    PREPARE_US = 3 * 1000 * 1000, /* less than the master waits for */
};

enum state { SERVING, UNREADY, DRAINING, ABORTING, GONE };

static struct {
    enum state state;
    unsigned n_terms; /* SIGTERMs so far */
    const struct config *config;
    struct loop *loop;
    struct proxy *proxy;
    struct io_watch signals, channel;
    struct timer timer; /* to the next state */
    struct timer log_timer;
} self;

static void enter(enum state next)
{
    if (next <= self.state)
        return;
    self.state = next;
    switch (next) {
    case SERVING: break;
    case UNREADY:
        proxy_unready(self.proxy);
        timer_after(self.loop, &self.timer, (uint64_t)self.config->drain_delay);
        break;
    case DRAINING:
        proxy_unready(self.proxy);
        proxy_drain(self.proxy);
        spawn_quiet(self.channel.fd);
        timer_after(self.loop, &self.timer, (uint64_t)self.config->drain_timeout);
        break;
    case ABORTING:
        if (!proxy_is_idle(self.proxy))
            LOG(LOG_WARN, "open answers are cut");
        proxy_drain(self.proxy);
        proxy_abort(self.proxy);
        timer_after(self.loop, &self.timer, ABORT_US); /* for what is still to be written */
        break;
    case GONE: timer_stop(self.loop, &self.timer); break;
    }
}

static void on_timer(struct timer *t)
{
    (void)t;
    enter(self.state + 1);
}

static void on_signal(struct io_watch *w, unsigned events)
{
    struct signalfd_siginfo info;

    (void)events;
    while (read(w->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        bool term = info.ssi_signo == SIGTERM;
        /* the master says it with SIGUSR2: a second SIGTERM might melt into the first */
        if (info.ssi_signo == SIGUSR2 || (term && self.n_terms++ > 0))
            enter(ABORTING);
        else if (term)
            enter(self.config->drain_delay ? UNREADY : DRAINING);
        else
            enter(DRAINING);
    }
}

/* Nothing is ever sent this way, so this is the end: the master is gone. */
static void on_channel(struct io_watch *w, unsigned events)
{
    (void)events;
    LOG(LOG_WARN, "the master is gone");
    loop_unwatch(self.loop, w);
    enter(DRAINING);
}

static void on_slow(const char *name, uint64_t us)
{
    LOG(LOG_WARN, "slow callback", LOG_CSTR("name", name), LOG_MS("ms", us));
}

static bool watch_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGUSR2);
    self.signals = (struct io_watch){.fn = on_signal, .name = "signals"};
    self.signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return self.signals.fd >= 0 && loop_watch_level(self.loop, &self.signals);
}

static int fail(const char *what, const char *why)
{
    LOG(LOG_ERROR, "worker cannot start", LOG_CSTR("step", what), LOG_CSTR("error", why));
    return 1;
}

static bool listen_all(const struct worker *w)
{
    for (size_t i = 0; i < w->n_fds; i++)
        if (!proxy_listen(self.proxy, w->fds[i], w->entries[i]))
            return false;
    return true;
}

/* Lines of requests leave together, a fiftieth of a second late at most. */
static void flush_log(struct timer *t)
{
    (void)t;
    log_flush();
}

static void flush_log_soon(void)
{
    timer_after(self.loop, &self.log_timer, LOG_DELAY_US);
}

/* No token is refused because the keys of its issuer are still on their way, unless it is slow. */
static void prepare(void)
{
    uint64_t end_us = clock_us() + PREPARE_US;

    while (!proxy_is_prepared(self.proxy) && self.state == SERVING && clock_us() < end_us)
        loop_turn(self.loop, end_us - clock_us());
}

/* 0, or the exit status of a worker that cannot work. */
static int set_up(const struct worker *w)
{
    char error[256] = "";

    self.config = w->config;
    self.loop = loop_new();
    loop_set_watchdog(self.loop, SLOW_US, on_slow);
    timer_init(&self.timer, "leaving", on_timer);
    timer_init(&self.log_timer, "log", flush_log);
    log_set_batching(flush_log_soon);
    self.channel = (struct io_watch){.fd = w->channel, .fn = on_channel, .name = "channel"};
    if (!watch_signals() || !loop_watch_level(self.loop, &self.channel))
        return fail("signals", sock_error_text(errno));
    self.proxy = proxy_new(self.loop, w->config, w->shared, w->owner, error, sizeof(error));
    if (!self.proxy)
        return fail("configuration", error);
    if (!sandbox_leave_root(&w->user))
        return fail("leaving root", sock_error_text(errno));
    spawn_follow_parent();
    if (w->config->sandbox && !sandbox_confine(SANDBOX_WORKER))
        return fail("sandbox", sock_error_text(errno));
    prepare();
    if (!listen_all(w))
        return fail("listening", sock_error_text(errno));
    return 0;
}

int worker_run(const struct worker *w)
{
    static char who[32];
    int status;

    (void)snprintf(who, sizeof(who), "worker %u", w->number);
    log_init(w->config->log_level, w->config->log_format, who);
    bool known = log_set_levels(w->config->log_levels); /* was checked with the configuration */
    ASSERT(known);
    config_wipe_env(environ);
    clock_refresh();
    status = set_up(w);
    if (status)
        return status;
    spawn_ready(w->channel);
    while (self.state != GONE) {
        loop_turn(self.loop, UINT64_MAX);
        if (self.state >= DRAINING && proxy_is_idle(self.proxy))
            enter(GONE);
    }
    proxy_free(self.proxy);
    log_set_batching(NULL);
    log_flush();
    loop_free(self.loop);
    return 0;
}
