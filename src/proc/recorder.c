/* recorder.c - see recorder.h.
 *
 * A scribe that dies is replaced at once, one that dies young after a pause that doubles, as a worker
 * is. What is not written then stands in the journal and waits.
 */
#include "proc/recorder.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proc/scribe.h"
#include "proc/spawn.h"

enum {
    YOUNG_US = 1000 * 1000,
    WAIT_FIRST_US = 100 * 1000,
    WAIT_MAX_US = 5 * 1000 * 1000,
    LAST_DEATHS = 5,
    LIMIT_US = 10 * 1000 * 1000,
};

static bool is_finishing(const struct recorder *r)
{
    return r->life < 0;
}

/* Whether there is anything for a scribe to do. */
static bool is_wanted(const struct recorder *r)
{
    return r->path || export_settings_on(&r->export);
}

NORETURN static void become_scribe(const struct recorder *r)
{
    const struct scribe s = {
        .journal = r->journal,
        .path = r->path,
        .spans = r->spans,
        .export = &r->export,
        .days = r->days,
        .user = r->user,
        .sandbox = r->sandbox,
        .life = r->life_out,
    };
    config_wipe_env(environ);
    exit(scribe_run(&s));
}

static bool start(struct recorder *r)
{
    int channel;
    pid_t pid = spawn(&r->life_out, 1, &channel);
    if (pid < 0)
        return false;
    if (pid == 0)
        become_scribe(r);
    r->pid = pid;
    r->channel = channel;
    r->born_us = clock_us();
    LOG(LOG_DEBUG, "scribe started", LOG_INT("pid", pid));
    return true;
}

static void on_again(struct timer *t)
{
    struct recorder *r = CONTAINER_OF(t, struct recorder, again);
    if (r->pid || !is_wanted(r) || start(r))
        return;
    LOG(LOG_ERROR, "cannot fork", LOG_CSTR("error", strerrordesc_np(errno)));
    timer_after(r->loop, t, YOUNG_US);
}

static void on_limit(struct timer *t)
{
    struct recorder *r = CONTAINER_OF(t, struct recorder, limit);
    r->n_last = LAST_DEATHS;
    if (r->pid)
        (void)kill(r->pid, SIGKILL);
}

bool recorder_open(struct recorder *r, struct loop *l, struct journal *j, struct spans *spans)
{
    int pair[2];
    *r = (struct recorder){
        .loop = l, .journal = j, .spans = spans, .life = -1, .life_out = -1, .channel = -1};
    timer_init(&r->again, "scribe again", on_again);
    timer_init(&r->limit, "scribe's end", on_limit);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return false;
    r->life = pair[0];
    r->life_out = pair[1];
    return true;
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void recorder_close(struct recorder *r)
{
    timer_stop(r->loop, &r->again);
    timer_stop(r->loop, &r->limit);
    close_one(&r->life);
    close_one(&r->life_out);
    close_one(&r->channel);
    mem_free(r->path);
    r->path = NULL;
    export_settings_done(&r->export);
}

static bool is_same(const struct recorder *r, const struct config *c,
                    const struct sandbox_user *user)
{
    return c->records == (r->path != NULL) && (!r->path || str_eq(str_c(r->path), c->db)) &&
           export_settings_fit(&r->export, c) && c->db_days == r->days &&
           c->sandbox == r->sandbox && user->uid == r->user.uid;
}

void recorder_adopt(struct recorder *r, const struct config *c, const struct sandbox_user *user)
{
    if (is_same(r, c, user))
        return;
    mem_free(r->path);
    r->path = c->records ? mem_strdup(c->db.p) : NULL;
    export_settings_take(&r->export, c);
    r->days = c->db_days;
    r->sandbox = c->sandbox;
    r->user = *user;
    if (r->pid)
        (void)kill(r->pid, SIGQUIT); /* its end starts the next one */
    else if (is_wanted(r))
        timer_after(r->loop, &r->again, 0);
}

void recorder_finish(struct recorder *r)
{
    if (is_finishing(r))
        return;
    close_one(&r->life);
    timer_after(r->loop, &r->limit, LIMIT_US);
    if (is_wanted(r) && !r->pid) /* it is being replaced */
        timer_after(r->loop, &r->again, 0);
}

bool recorder_is_done(const struct recorder *r)
{
    return !r->pid && !timer_is_set(&r->again);
}

static uint64_t next_wait(const struct recorder *r, bool orderly)
{
    if (orderly || clock_us() - r->born_us >= YOUNG_US)
        return 0;
    if (!r->wait_us)
        return WAIT_FIRST_US;
    return 2 * r->wait_us < WAIT_MAX_US ? 2 * r->wait_us : WAIT_MAX_US;
}

/* What nobody will write any more. */
static void say_lost(const struct recorder *r)
{
    uint64_t requests = journal_waiting(r->journal), spans = spans_waiting(r->spans);
    if (requests)
        LOG(LOG_ERROR, "usage is lost", LOG_INT("requests", requests));
    if (spans)
        LOG(LOG_WARN, "spans are lost", LOG_INT("spans", spans));
}

bool recorder_reap(struct recorder *r, pid_t pid, int status)
{
    char text[SPAWN_TEXT];
    bool orderly = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (pid != r->pid)
        return false;
    r->pid = 0;
    r->wait_us = next_wait(r, orderly);
    close_one(&r->channel);
    if (!orderly)
        LOG(LOG_ERROR, "the scribe died", LOG_STR("cause", spawn_end_text(status, text)),
            LOG_INT("waiting", journal_waiting(r->journal)));
    if (!r->path)
        journal_say(r->journal, JOURNAL_OFF);
    if (!is_wanted(r))
        return true;
    if (!is_finishing(r) || (!orderly && ++r->n_last < LAST_DEATHS))
        timer_after(r->loop, &r->again, r->wait_us);
    else
        say_lost(r);
    return true;
}
