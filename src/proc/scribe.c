/* scribe.c - see scribe.h.
 *
 * A batch is one transaction: records of all rings and how far each ring was read. Only then are they
 * released. Killed between the two, the next scribe finds the positions in the database and goes on
 * behind them. After any failure the database is closed and opened anew: whatever was wrong with it,
 * an operator can mend without a restart.
 */
#include "proc/scribe.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/loop.h"
#include "store/ledger.h"
#include "store/ledger_url.h"

enum {
    TURN_US = 100 * 1000,
    AGAIN_US = 1000 * 1000,
    LEAVE_US = 5 * 1000 * 1000, /* for the last records, when the database cannot be written */
    BATCH = 2048,
    FORGET_EVERY_US = 60 * 1000 * 1000,
    FORGET_AT_ONCE = 5000,
    SAY_LOST_EVERY_US = 10 * 1000 * 1000,
    NOT_OTHERS = 027, /* umask */
};

static const uint64_t day_us = UINT64_C(86400) * 1000000;

static struct {
    const struct scribe *s;
    char shown[LEDGER_SHOWN];
    struct loop *loop;
    struct io_watch life, signals;
    struct timer timer;
    struct ledger *ledger;     /* NULL: to be opened */
    struct exporter *exporter; /* NULL: no spans are exported */
    uint64_t at[JOURNAL_RINGS];
    uint64_t marked[JOURNAL_RINGS]; /* what the database says */
    uint64_t forget_at_us;
    uint64_t lost, say_lost_at_us;
    enum journal_state said; /* OFF: nothing yet */
    uint64_t leave_at_us;    /* 0: somebody writes still */
    bool quits;
} self;

/* --- the database --------------------------------------------------------------------------- */

/* Each scribe tells once how it does, and again when that changes. */
static bool is_new(enum journal_state state)
{
    if (self.said == state)
        return false;
    self.said = state;
    journal_say(self.s->journal, state);
    return true;
}

static void say_writes(void)
{
    if (!is_new(JOURNAL_WRITES))
        return;
    LOG(LOG_INFO, "usage is recorded", LOG_CSTR("path", self.shown),
        LOG_INT("dropped", journal_lost(self.s->journal)));
}

static void say_fails(const char *error)
{
    if (!is_new(JOURNAL_FAILS))
        return;
    LOG(LOG_ERROR, "usage cannot be recorded", LOG_CSTR("path", self.shown),
        LOG_CSTR("error", error), LOG_INT("waiting", journal_waiting(self.s->journal)));
}

/* Records that found their ring full: the database has been away for too long. */
static void say_lost(void)
{
    uint64_t lost = journal_lost(self.s->journal);
    if (lost == self.lost || clock_us() < self.say_lost_at_us)
        return;
    self.lost = lost;
    self.say_lost_at_us = clock_us() + SAY_LOST_EVERY_US;
    LOG(LOG_WARN, "usage is dropped", LOG_INT("dropped", lost));
}

static bool fail(void)
{
    say_fails(ledger_error(self.ledger));
    ledger_undo(self.ledger);
    ledger_close(self.ledger);
    self.ledger = NULL;
    return false;
}

/* Where to go on: behind what is committed, which may be more than was released. */
static bool find_positions(void)
{
    for (unsigned i = 0; i < JOURNAL_RINGS; i++) {
        uint64_t tail = journal_tail(self.s->journal, i), written = 0;
        if (!ledger_position(self.ledger, journal_server(self.s->journal), i, &written))
            return false;
        self.marked[i] = written;
        bool ahead = written > tail && written <= journal_head(self.s->journal, i);
        self.at[i] = ahead ? written : tail;
        journal_release(self.s->journal, i, self.at[i]);
    }
    return true;
}

static bool open_ledger(void)
{
    char error[LEDGER_ERROR];
    if (self.ledger)
        return true;
    self.ledger = ledger_open(self.s->path, error);
    if (!self.ledger) {
        say_fails(error);
        return false;
    }
    return find_positions() || fail();
}

/* --- writing -------------------------------------------------------------------------------- */

/* Marks where the batch will end, and adds at most *left records of a ring. The mark comes first:
 * one that a lost commit still holds is waited for before anything else. */
static bool write_ring(unsigned ring, uint64_t *left)
{
    const struct journal *j = self.s->journal;
    uint64_t end = self.at[ring] + size_min(*left, journal_head(j, ring) - self.at[ring]);
    if (end == self.at[ring])
        return true;
    if (!ledger_mark(self.ledger, journal_server(j), ring, self.marked[ring], end))
        return false;
    *left -= end - self.at[ring];
    for (; self.at[ring] < end; self.at[ring]++)
        if (!ledger_add(self.ledger, journal_at(j, ring, self.at[ring])))
            return false;
    return true;
}

static bool write_batch(void)
{
    uint64_t left = BATCH;
    if (!ledger_begin(self.ledger))
        return false;
    for (unsigned i = 0; i < JOURNAL_RINGS; i++)
        if (!write_ring(i, &left))
            return false;
    return ledger_commit(self.ledger);
}

static void release(void)
{
    for (unsigned i = 0; i < JOURNAL_RINGS; i++) {
        if (self.at[i] == journal_tail(self.s->journal, i))
            continue;
        self.marked[i] = self.at[i];
        journal_release(self.s->journal, i, self.at[i]);
    }
}

/* A few at a time, so that no transaction is long. */
static bool forget(void)
{
    uint64_t kept_us = (uint64_t)self.s->days * day_us, now = clock_wall_us();
    if (!self.s->days || clock_us() < self.forget_at_us || now < kept_us)
        return true;
    self.forget_at_us = clock_us() + FORGET_EVERY_US;
    return ledger_begin(self.ledger) && ledger_forget(self.ledger, now - kept_us, FORGET_AT_ONCE) &&
           ledger_commit(self.ledger);
}

/* Everything that waits. False: it waits still. */
static bool write_all(void)
{
    if (!self.s->path)
        return true;
    if (!open_ledger())
        return false;
    while (journal_waiting(self.s->journal)) {
        if (!write_batch())
            return fail();
        release();
    }
    if (!forget())
        return fail();
    say_writes();
    return true;
}

static void on_turn(struct timer *t)
{
    bool wrote = write_all();
    say_lost();
    bool leaves = self.leave_at_us != 0, late = leaves && clock_us() >= self.leave_at_us;
    bool done = wrote && exporter_is_done(self.exporter);
    if (late || (self.quits && !exporter_is_posting(self.exporter)) || (leaves && done))
        loop_stop(self.loop);
    else
        timer_after(self.loop, t, wrote ? TURN_US : AGAIN_US);
}

/* --- the process ---------------------------------------------------------------------------- */

static void on_life(struct io_watch *w, unsigned events)
{
    (void)events;
    loop_unwatch(self.loop, w);
    self.leave_at_us = clock_us() + LEAVE_US;
    exporter_hurry(self.exporter);
    timer_after(self.loop, &self.timer, 0);
}

static void on_signal(struct io_watch *w, unsigned events)
{
    struct signalfd_siginfo info;
    (void)events;
    while (read(w->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        self.quits = true;
    self.leave_at_us = clock_us() + LEAVE_US;
    exporter_finish(self.exporter);
    timer_after(self.loop, &self.timer, 0);
}

/* Without it, usage is recorded all the same. */
static void set_up_exporter(void)
{
    char error[EXPORTER_ERROR];
    if (!self.s->export || !export_settings_on(self.s->export))
        return;
    self.exporter = exporter_new(self.loop, self.s->spans, self.s->export, error);
    if (!self.exporter)
        LOG(LOG_ERROR, "spans cannot be exported", LOG_CSTR("error", error));
}

/* Nothing that is switched off may be done. */
static enum sandbox_kind kind(void)
{
    if (ledger_is_url(str_c(self.s->path)))
        return SANDBOX_REMOTE_SCRIBE;
    if (!self.exporter)
        return SANDBOX_SCRIBE;
    return self.s->path ? SANDBOX_SCRIBE_EXPORTING : SANDBOX_EXPORTER;
}

static bool set_up(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGQUIT);
    self.signals = (struct io_watch){.fn = on_signal, .name = "signals"};
    self.signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    self.life = (struct io_watch){.fd = self.s->life, .fn = on_life, .name = "life"};
    timer_init(&self.timer, "usage", on_turn);
    timer_after(self.loop, &self.timer, 0);
    set_up_exporter();
    (void)umask(NOT_OTHERS);
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error like a full disk */
    return self.signals.fd >= 0 && loop_watch_level(self.loop, &self.signals) &&
           loop_watch_level(self.loop, &self.life) && sandbox_leave_root(&self.s->user) &&
           (!self.s->sandbox || sandbox_confine(kind()));
}

int scribe_run(const struct scribe *s)
{
    self.s = s;
    (void)ledger_shown(str_c(s->path), self.shown);
    log_set_who("scribe");
    clock_refresh();
    self.loop = loop_new();
    if (!set_up()) {
        LOG(LOG_ERROR, "the scribe cannot start", LOG_CSTR("error", strerrordesc_np(errno)));
        return 1;
    }
    loop_run(self.loop);
    ledger_close(self.ledger);
    exporter_free(self.exporter);
    loop_free(self.loop);
    return 0;
}
