/* crew.c - see crew.h. A member is a place at the listeners; the processes in it come and go.
 *
 * A member that dies young waits before the next one takes its place: 100 ms, doubling up to 5 s,
 * so that a fault that kills every worker does not keep the machine busy with forking.
 */
#include "proc/crew.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proc/spawn.h"
#include "proc/worker.h"

enum {
    READY_LIMIT_US = 5 * 1000 * 1000,
    YOUNG_US = 1000 * 1000,
    WAIT_FIRST_US = 100 * 1000,
    WAIT_MAX_US = 5 * 1000 * 1000,
};

struct member {
    struct crew *crew;
    unsigned number; /* 1 is the first */
    pid_t pid;       /* 0: nobody there */
    struct io_watch channel;
    struct timer again;
    uint64_t born_us;
    uint64_t wait_us; /* before the next one: 0 unless this one died young */
    unsigned owner;   /* shared.h */
    bool ready, quiet;
};

struct crew {
    struct crew_options o;
    struct crew_handler handler;

    enum { STARTING, SERVING, LEAVING } state;
    struct timer limit;
    size_t n_ready, n_alive;
    bool is_quiet;
    struct member members[];
};

static void on_again(struct timer *t);
static void on_limit(struct timer *t);

NORETURN static void become_worker(const struct member *m, const int *fds, const uint8_t *entries,
                                   size_t n_fds, int channel)
{
    const struct worker w = {
        .number = m->number,
        .config = m->crew->o.config,
        .shared = m->crew->o.shared,
        .owner = m->owner,
        .user = m->crew->o.user,
        .fds = fds,
        .entries = entries,
        .n_fds = n_fds,
        .channel = channel,
    };

    exit(worker_run(&w));
}

static void close_channel(struct member *m)
{
    int fd = m->channel.fd;

    loop_unwatch(m->crew->o.loop, &m->channel);
    if (fd >= 0)
        (void)close(fd);
}

static void set_ready(struct member *m)
{
    struct crew *c = m->crew;

    if (m->ready)
        return;
    m->ready = true;
    c->n_ready++;
    if (c->state != STARTING || c->n_ready < c->o.n)
        return;
    c->state = SERVING;
    timer_stop(c->o.loop, &c->limit);
    c->handler.on_ready(c);
}

/* Tells once that the last of a leaving crew has stopped taking requests, or is gone. */
static void check_quiet(struct crew *c)
{
    if (c->state != LEAVING || c->is_quiet)
        return;
    for (size_t i = 0; i < c->o.n; i++)
        if (c->members[i].pid && !c->members[i].quiet)
            return;
    c->is_quiet = true;
    c->handler.on_quiet(c);
}

static void on_channel(struct io_watch *w, unsigned events)
{
    struct member *m = CONTAINER_OF(w, struct member, channel);

    (void)events;
    switch (spawn_hear(w->fd)) {
    case SPAWN_READY: set_ready(m); break;
    case SPAWN_QUIET:
        m->quiet = true;
        check_quiet(m->crew);
        break;
    case SPAWN_ENDED: close_channel(m); break; /* SIGCHLD tells the rest */
    }
}

static bool start(struct member *m)
{
    struct crew *c = m->crew;
    int fds[DOORS_SOCKETS + 1], channel;
    uint8_t entries[DOORS_SOCKETS];
    size_t n_fds = doors_of(c->o.doors, m->number - 1, c->o.n, fds, entries);
    m->owner = shared_join(c->o.shared);
    fds[n_fds] = c->o.life;
    pid_t pid = spawn(fds, n_fds + 1, &channel);

    if (pid < 0) {
        shared_leave(c->o.shared, m->owner);
        return false;
    }
    if (pid == 0)
        become_worker(m, fds, entries, n_fds, channel);
    m->pid = pid;
    m->born_us = clock_us();
    m->channel.fd = channel;
    c->n_alive++;
    LOG(LOG_DEBUG, "worker started", LOG_INT("worker", m->number), LOG_INT("pid", pid));
    return loop_watch_level(c->o.loop, &m->channel);
}

static void start_later(struct member *m, uint64_t delay_us)
{
    timer_after(m->crew->o.loop, &m->again, delay_us);
}

static void on_again(struct timer *t)
{
    struct member *m = CONTAINER_OF(t, struct member, again);

    if (start(m))
        return;
    LOG(LOG_ERROR, "cannot fork", LOG_INT("worker", m->number),
        LOG_CSTR("error", sock_error_text(errno)));
    start_later(m, WAIT_MAX_US);
}

static void signal_all(const struct crew *c, int signal)
{
    for (size_t i = 0; i < c->o.n; i++)
        if (c->members[i].pid)
            (void)kill(c->members[i].pid, signal);
}

struct crew *crew_new(const struct crew_options *o, const struct crew_handler *handler)
{
    struct crew *c = mem_zalloc(sizeof(*c) + o->n * sizeof(struct member));

    c->o = *o;
    c->handler = *handler;
    timer_init(&c->limit, "crew", on_limit);
    for (size_t i = 0; i < o->n; i++) {
        struct member *m = &c->members[i];

        m->crew = c;
        m->number = (unsigned)i + 1;
        m->channel = (struct io_watch){.fd = -1, .fn = on_channel, .name = "channel"};
        timer_init(&m->again, "worker again", on_again);
        if (!start(m))
            break; /* the limit will end it, or nobody is there */
    }
    timer_after(o->loop, &c->limit, READY_LIMIT_US);
    if (c->n_alive)
        return c;
    timer_stop(o->loop, &c->limit);
    mem_free(c);
    return NULL;
}

void crew_free(struct crew *c)
{
    if (!c)
        return;
    ASSERT(c->n_alive == 0);
    timer_stop(c->o.loop, &c->limit);
    config_free(c->o.config);
    mem_free(c);
}

const struct config *crew_config(const struct crew *c)
{
    return c->o.config;
}

const struct sandbox_user *crew_user(const struct crew *c)
{
    return &c->o.user;
}

size_t crew_size(const struct crew *c)
{
    return c->o.n;
}

void crew_leave(struct crew *c, int signal, uint64_t limit_us)
{
    c->state = LEAVING;
    for (size_t i = 0; i < c->o.n; i++)
        timer_stop(c->o.loop, &c->members[i].again);
    signal_all(c, signal);
    timer_after(c->o.loop, &c->limit, limit_us);
    check_quiet(c);
    if (!c->n_alive)
        c->handler.on_gone(c);
}

static void fail(struct crew *c)
{
    c->state = LEAVING;
    signal_all(c, SIGKILL);
    timer_stop(c->o.loop, &c->limit);
    c->is_quiet = true; /* it never took anything */
    c->handler.on_failed(c);
    if (!c->n_alive)
        c->handler.on_gone(c);
}

static void on_limit(struct timer *t)
{
    struct crew *c = CONTAINER_OF(t, struct crew, limit);

    if (c->state == STARTING) {
        LOG(LOG_ERROR, "workers do not become ready");
        fail(c);
        return;
    }
    LOG(LOG_WARN, "workers do not leave and are killed", LOG_INT("workers", c->n_alive));
    signal_all(c, SIGKILL);
}

static void log_death(const struct member *m, pid_t pid, int status, uint64_t delay_us)
{
    char text[SPAWN_TEXT];

    LOG(LOG_ERROR, "worker died", LOG_INT("worker", m->number), LOG_INT("pid", pid),
        LOG_STR("cause", spawn_end_text(status, text)), LOG_MS("again_in_ms", delay_us));
}

/* The next one at once, unless this one died young as well. */
static void replace(struct member *m, pid_t pid, int status)
{
    bool young = clock_us() - m->born_us < YOUNG_US;

    if (!young)
        m->wait_us = 0;
    else
        m->wait_us = m->wait_us ? m->wait_us * 2 : WAIT_FIRST_US;
    if (m->wait_us > WAIT_MAX_US)
        m->wait_us = WAIT_MAX_US;
    log_death(m, pid, status, m->wait_us);
    const struct meter meter = shared_meter(m->crew->o.shared);
    metrics_add(&meter, METRIC_RESTARTS, 0, 0, 0, 1);
    start_later(m, m->wait_us);
}

bool crew_reap(struct crew *c, pid_t pid, int status)
{
    struct member *m = NULL;

    for (size_t i = 0; i < c->o.n; i++)
        if (c->members[i].pid == pid)
            m = &c->members[i];
    if (!m)
        return false;
    m->pid = 0;
    shared_leave(c->o.shared, m->owner);
    c->n_alive--;
    c->n_ready -= m->ready;
    m->ready = m->quiet = false;
    close_channel(m);
    check_quiet(c);
    if (c->state == SERVING) {
        replace(m, pid, status);
    } else if (c->state == STARTING) {
        log_death(m, pid, status, 0);
        fail(c);
    } else if (!c->n_alive) {
        c->handler.on_gone(c);
    } else {
        LOG(LOG_DEBUG, "worker left", LOG_INT("worker", m->number));
    }
    return true;
}
