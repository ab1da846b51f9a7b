/* shared.c - see shared.h. */
#include "proxy/shared.h"

#include "base/clock.h"
#include "base/mem.h"
#include "io/tls.h"
#include "proxy/count.h"
#include "proxy/keyring.h"
#include "proxy/sample.h"

enum {
    LIMIT_VALUES = 65536, /* some six for each client: a megabyte and a half */
    PENALIZED = 65536,    /* addresses: half a megabyte */
};

enum { MASTER = 0 }; /* the shard of metrics; owner n has n + 1 */

void shared_init(struct shared *s, const struct config *c)
{
    *s = (struct shared){
        .board = mem_share(sizeof(struct board)),
        .stash = c->stash_size ? stash_new((size_t)c->stash_size) : NULL,
        .limits = limits_new(LIMIT_VALUES),
        .metrics = metrics_new(),
        .penalties = penalties_new(PENALIZED),
        .journal = journal_new(),
        .spans = spans_new(),
        .history = history_new(clock_us()),
        .recent = recent_new(),
        .tickets = tickets_new(),
        .staples = staples_new(),
        .keysets = keyring_shelf_new(),
    };
    tickets_keep(s->tickets);
    metrics_join(s->metrics, MASTER);
    const struct meter meter = shared_meter(s);
    count_init(&meter);
    shared_adopt(s, c);
    count_shared(&meter, s);
}

void shared_done(struct shared *s)
{
    mem_unshare(s->board, sizeof(struct board));
    stash_free(s->stash);
    limits_free(s->limits);
    metrics_free(s->metrics);
    penalties_free(s->penalties);
    journal_free(s->journal);
    spans_free(s->spans);
    history_free(s->history);
    recent_free(s->recent);
    tickets_free(s->tickets);
    shelf_free(s->staples);
    shelf_free(s->keysets);
}

void shared_adopt(struct shared *s, const struct config *c)
{
    count_adopt(s->metrics, c);
    tls_server_adopt_staples(c->tls, s->staples);
    keyring_adopt(s->keysets, c);
}

void shared_remember(struct shared *s)
{
    const struct meter meter = shared_meter(s);
    count_shared(&meter, s);
    struct sample *sample = mem_alloc(sizeof(*sample));
    sample_take(s->metrics, sample);
    history_add(s->history, sample, metrics_values(s->metrics, LABEL_CLIENT));
    mem_free(sample);
    tickets_keep(s->tickets);
}

struct meter shared_meter(struct shared *s)
{
    return (struct meter){s->metrics, MASTER};
}

unsigned shared_join(struct shared *s)
{
    unsigned owner = 0;
    while (owner < LIMIT_OWNERS - 1 && s->owners[owner]) /* too many share the last one */
        owner++;
    s->owners[owner] = true;
    metrics_join(s->metrics, owner + 1);
    return owner;
}

void shared_leave(struct shared *s, unsigned owner)
{
    s->owners[owner] = false;
    limits_bury(s->limits, owner);
    metrics_bury(s->metrics, owner + 1);
}
