/* master.c - signals in, crews out.
 *
 *   SIGHUP --> config_load --> new crew on the same listeners --ready--> it serves, the old one
 * drains |                        \--not ready in 5 s--> killed, the old one stays
 *                  \--faults--> logged, the old one stays
 *
 * At any time there is at most one crew that serves and one that starts; crews that leave are on
 * the list until their last worker is gone. The master itself serves nobody, waits only in its
 * loop, and does not end because a worker does. What workers do is worker.c's; how they are
 * replaced, crew.c's. The scribe leaves when they are gone: recorder.c.
 */
#include "proc/master.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ccproxy_version.h"
#include "proc/crew.h"
#include "proc/demo.h"
#include "proc/recorder.h"
#include "proc/spawn.h"
#include "proxy/count.h"

enum {
    PROBLEMS_MAX = 1024 * 1024,
    CREWS_MAX = 64, /* at once: one serving, one starting, the rest leaving */
    GRACE_US = 5 * 1000 * 1000,
    DEMO_AGAIN_US = 100 * 1000,
};

static struct {
    struct loop *loop;
    struct shared shared;
    struct io_watch signals;
    struct crew *crews[CREWS_MAX];
    struct crew *serving, *starting;
    struct doors *doors; /* of the serving crew */
    struct doors *fresh; /* of the starting one */
    struct demo demo;
    bool has_demo;
    struct timer demo_again, remember;
    struct recorder recorder;
    bool reload_again; /* asked for while a crew was starting */

    enum { RUNNING, STOPPING, ABORTING } state;

    int status;
} self;

/* --- crews ---------------------------------------------------------------------------------- */

static void remember(struct crew *c)
{
    for (size_t i = 0; i < CREWS_MAX; i++) {
        if (!self.crews[i]) {
            self.crews[i] = c;
            return;
        }
    }
    UNREACHABLE();
}

static bool has_room(void)
{
    for (size_t i = 0; i < CREWS_MAX; i++)
        if (!self.crews[i])
            return true;
    return false;
}

static bool has_crews(void)
{
    for (size_t i = 0; i < CREWS_MAX; i++)
        if (self.crews[i])
            return true;
    return false;
}

static void drop_doors(struct doors **d)
{
    if (*d)
        doors_close(*d);
    mem_free(*d);
    *d = NULL;
}

static void stop_if_done(void)
{
    if (self.state == RUNNING || has_crews())
        return;
    recorder_finish(&self.recorder);
    if (self.has_demo && self.demo.pid)
        (void)kill(self.demo.pid, SIGTERM); /* its end comes back here */
    else if (recorder_is_done(&self.recorder))
        loop_stop(self.loop);
}

static void reload(void);

static void say_ready(const struct crew *c, const char *event)
{
    char text[DOORS_TEXT];

    LOG(LOG_INFO, event, LOG_STR("address", doors_text(self.doors, text)),
        LOG_INT("workers", crew_size(c)), LOG_CSTR("version", CCPROXY_VERSION),
        LOG_BOOL("demo", crew_config(c)->demo));
}

static uint64_t patience_us(const struct config *c)
{
    return (uint64_t)c->drain_delay + (uint64_t)c->drain_timeout + GRACE_US;
}

static void count_reload(bool successful)
{
    const struct meter meter = shared_meter(&self.shared);

    metrics_set(&meter, METRIC_RELOADED, 0, successful);
    if (successful)
        metrics_set(&meter, METRIC_RELOADED_AT, 0, clock_wall_us());
}

static void count_certs(const struct crew *c)
{
    const struct meter meter = shared_meter(&self.shared);

    count_certificates(&meter, crew_config(c)->tls);
}

static void count_start(void)
{
    const struct meter meter = shared_meter(&self.shared);

    metrics_set(&meter, METRIC_BUILD,
                metrics_value(meter.metrics, LABEL_VERSION, STR(CCPROXY_VERSION)), 1);
}

/* From now on what the metrics were stays known for an hour. */
static void remember_metrics(struct timer *t)
{
    timer_after(self.loop, t, HISTORY_EVERY_US);
    shared_remember(&self.shared);
}

static void on_ready(struct crew *c)
{
    struct crew *old = self.serving;

    count_reload(true);
    count_certs(c);
    self.serving = c;
    self.starting = NULL;
    doors_serve(self.fresh);
    drop_doors(&self.doors);
    self.doors = self.fresh;
    self.fresh = NULL;
    recorder_adopt(&self.recorder, crew_config(c), crew_user(c));
    log_init(crew_config(c)->log_level, crew_config(c)->log_format, "master");
    if (!old)
        say_ready(c, "ready");
    if (old)
        crew_leave(old, SIGQUIT, patience_us(crew_config(old)));
    else if (crew_config(c)->demo)
        demo_say(&self.demo, &self.doors->list[0]->addr);
    if (self.reload_again)
        reload();
}

/* Only now does nobody serve by the old configuration any more: a key that was revoked is. */
static void on_quiet(struct crew *c)
{
    (void)c;
    if (self.state == RUNNING && self.serving)
        say_ready(self.serving, "reloaded");
}

/* Takes back what was opened for a crew that will not serve. */
static void forget_start(void)
{
    self.starting = NULL;
    drop_doors(&self.fresh);
}

static void on_failed(struct crew *c)
{
    (void)c;
    forget_start();
    if (self.state == RUNNING && !self.serving) {
        self.state = STOPPING;
        self.status = 1;
        return;
    }
    count_reload(false);
    LOG(LOG_ERROR, "reload failed, the old configuration stays");
    if (self.reload_again)
        reload();
}

static void on_gone(struct crew *c)
{
    for (size_t i = 0; i < CREWS_MAX; i++)
        if (self.crews[i] == c)
            self.crews[i] = NULL;
    if (self.serving == c)
        self.serving = NULL;
    if (self.starting == c)
        self.starting = NULL;
    crew_free(c);
    stop_if_done();
}

/* --- starting ------------------------------------------------------------------------------- */

static size_t workers_of(const struct config *c)
{
    cpu_set_t cpus;

    if (c->workers)
        return (size_t)c->workers;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
        return 1;
    return size_min((size_t)CPU_COUNT(&cpus), LISTENERS_MAX);
}

static bool find_user(const struct config *c, struct sandbox_user *ret, char error[LISTENERS_ERROR])
{
    *ret = (struct sandbox_user){0};
    if (geteuid() != 0 || sandbox_find_user(c->user, ret))
        return true;
    (void)snprintf(error, LISTENERS_ERROR,
                   "CCPROXY_USER: \"%.*s\" is not the name or number of a user other than root",
                   STR_FMT(c->user));
    return false;
}

/* The sockets for a configuration: those that are open, and fresh ones for other addresses. */
static bool open_doors(const struct config *c, char error[LISTENERS_ERROR])
{
    self.fresh = mem_zalloc(sizeof(*self.fresh));
    if (doors_open(self.fresh, c, self.doors, workers_of(c), !self.serving, error))
        return true;
    drop_doors(&self.fresh);
    return false;
}

static bool start_crew(struct config *c, char error[LISTENERS_ERROR])
{
    static const struct crew_handler handler = {
        .on_ready = on_ready, .on_failed = on_failed, .on_quiet = on_quiet, .on_gone = on_gone};
    struct crew_options o = {.loop = self.loop,
                             .config = c,
                             .shared = &self.shared,
                             .n = workers_of(c),
                             .life = self.recorder.life};

    if (c->demo && !self.has_demo) {
        (void)snprintf(error, LISTENERS_ERROR,
                       "keys are missing, and a reload cannot start a demo");
        return false;
    }
    if (!find_user(c, &o.user, error))
        return false;
    if (!open_doors(c, error))
        return false;
    o.doors = self.fresh;
    if (c->demo)
        demo_apply(&self.demo, c);
    shared_adopt(&self.shared, c);
    self.starting = crew_new(&o, &handler);
    if (self.starting) {
        remember(self.starting);
        return true;
    }
    (void)snprintf(error, LISTENERS_ERROR, "cannot fork: %s", sock_error_text(errno));
    forget_start();
    return false;
}

static void log_problems(enum log_level level, const struct buf *problems)
{
    struct str rest = buf_str(problems), line;

    while (str_split(&rest, '\n', &line))
        if (line.n)
            LOG(level, "configuration", LOG_STR("problem", line));
}

static void reload(void)
{
    char error[LISTENERS_ERROR] = "";
    struct config *c;
    struct buf problems;

    self.reload_again = self.starting != NULL;
    if (self.reload_again || self.state != RUNNING)
        return;
    buf_init(&problems, PROBLEMS_MAX);
    c = config_load(environ, &problems);
    log_problems(c ? LOG_WARN : LOG_ERROR, &problems);
    buf_done(&problems);
    if (c && !has_room())
        (void)snprintf(error, sizeof(error), "too many old workers are still leaving");
    if (c && (error[0] || !start_crew(c, error))) {
        LOG(LOG_ERROR, "configuration", LOG_CSTR("problem", error));
        config_free(c);
        c = NULL;
    }
    if (c)
        return;
    count_reload(false);
    LOG(LOG_ERROR, "reload refused, the old configuration stays");
}

/* --- leaving and signals -------------------------------------------------------------------- */

/* From now on no new connection finds us: workers hold the listeners until they have drained. */
static void stop(void)
{
    bool again = self.state != RUNNING;

    self.state = again ? ABORTING : STOPPING;
    LOG(LOG_INFO, again ? "stopping at once" : "stopping");
    timer_stop(self.loop, &self.demo_again);
    timer_stop(self.loop, &self.remember);
    drop_doors(&self.doors);
    drop_doors(&self.fresh);
    for (size_t i = 0; i < CREWS_MAX; i++) {
        struct crew *c = self.crews[i];

        if (c)
            crew_leave(c, again ? SIGUSR2 : SIGTERM,
                       again ? GRACE_US : patience_us(crew_config(c)));
    }
    stop_if_done();
}

static void on_demo_again(struct timer *t)
{
    if (!demo_start(&self.demo))
        timer_after(self.loop, t, DEMO_AGAIN_US);
}

static void reap_demo(int status)
{
    char text[SPAWN_TEXT];

    self.demo.pid = 0;
    if (self.state != RUNNING) {
        stop_if_done();
        return;
    }
    LOG(LOG_ERROR, "the simulator died", LOG_STR("cause", spawn_end_text(status, text)));
    timer_after(self.loop, &self.demo_again, DEMO_AGAIN_US);
}

static void reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        bool found = false;

        for (size_t i = 0; i < CREWS_MAX && !found; i++)
            found = self.crews[i] && crew_reap(self.crews[i], pid, status);
        if (!found && recorder_reap(&self.recorder, pid, status))
            stop_if_done();
        else if (!found && self.has_demo && pid == self.demo.pid)
            reap_demo(status);
    }
}

/* Workers write where they were started to: new ones take the place of those that are there. */
static void reopen_log(void)
{
    const struct config *c = self.serving ? crew_config(self.serving) : NULL;

    if (c && c->log_file.n && !log_open(c->log_file.p))
        LOG(LOG_ERROR, "log file cannot be opened, the old one stays", LOG_STR("path", c->log_file),
            LOG_CSTR("error", strerrordesc_np(errno)));
    else
        reload();
}

static void on_signals(struct io_watch *w, unsigned events)
{
    struct signalfd_siginfo info;

    (void)events;
    while (read(w->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        switch (info.ssi_signo) {
        case SIGCHLD: reap(); break;
        case SIGHUP:
            LOG(LOG_INFO, "reloading");
            reload();
            break;
        case SIGUSR1: reopen_log(); break;
        default: stop(); break;
        }
    }
}

static bool watch_signals(void)
{
    static const int signals[] = {SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        sigaddset(&set, signals[i]);
    self.signals = (struct io_watch){.fn = on_signals, .name = "signals"};
    self.signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    sigaddset(&set, SIGQUIT); /* for workers; here they do nothing */
    sigaddset(&set, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return self.signals.fd >= 0 && loop_watch_level(self.loop, &self.signals);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* --- the whole life ------------------------------------------------------------------------- */

static int fail(const char *why)
{
    (void)fprintf(stderr, "ccproxy: %s\n", why);
    return 1;
}

static struct config *load(void)
{
    struct buf problems;
    struct config *c;

    buf_init(&problems, PROBLEMS_MAX);
    c = config_load(environ, &problems);
    if (c && c->log_file.n && !log_open(c->log_file.p)) {
        buf_printf(&problems, "CCPROXY_LOG_FILE: %s: %s\n", c->log_file.p, strerrordesc_np(errno));
        config_free(c);
        c = NULL;
    }
    if (c) {
        log_init(c->log_level, c->log_format, "master");
        log_problems(LOG_WARN, &problems);
    } else {
        struct str rest = buf_str(&problems), line;

        while (str_split(&rest, '\n', &line))
            if (line.n)
                (void)fprintf(stderr, "ccproxy: %.*s\n", STR_FMT(line));
    }
    buf_done(&problems);
    return c;
}

static bool start_demo(char error[LISTENERS_ERROR])
{
    timer_init(&self.demo_again, "simulator again", on_demo_again);
    self.has_demo = demo_open(&self.demo, error);
    if (self.has_demo && demo_start(&self.demo))
        return true;
    if (self.has_demo)
        (void)snprintf(error, LISTENERS_ERROR, "cannot fork: %s", sock_error_text(errno));
    return false;
}

static void give_back(void)
{
    if (self.has_demo)
        listeners_close(&self.demo.listeners);
    recorder_close(&self.recorder);
    drop_doors(&self.doors);
    drop_doors(&self.fresh);
    shared_done(&self.shared);
    loop_free(self.loop);
}

int master_run(void)
{
    char error[LISTENERS_ERROR] = "";
    struct config *c = load();

    if (!c)
        return 1;
    raise_descriptor_limit();
    clock_refresh();
    self.loop = loop_new();
    shared_init(&self.shared, c);
    count_start();
    timer_init(&self.remember, "remember", remember_metrics);
    timer_after(self.loop, &self.remember, HISTORY_EVERY_US);
    if (!recorder_open(&self.recorder, self.loop, self.shared.journal, self.shared.spans) ||
        !watch_signals())
        return fail(sock_error_text(errno));
    if (c->sandbox && !sandbox_confine(SANDBOX_MASTER))
        return fail("the sandbox cannot be set up; CCPROXY_SANDBOX=false does without");
    if ((c->demo && !start_demo(error)) || !start_crew(c, error)) {
        if (self.demo.pid)
            (void)kill(self.demo.pid, SIGKILL);
        config_free(c);
        return fail(error);
    }
    loop_run(self.loop);
    give_back();
    LOG(LOG_INFO, "stopped");
    return self.status;
}
