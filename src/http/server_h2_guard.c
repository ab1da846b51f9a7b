/* server_h2_guard.c - what the frames of one HTTP/2 client may cost before it is sent away.
 *
 * Every frame costs its sender nine bytes and us more. What honest clients need is known: it is
 * bound to a rate (resets, PING, SETTINGS), to what was served (WINDOW_UPDATE, PRIORITY), or is
 * simply few. A reset counts alike whoever sent it, since a client can make the server send them
 * (CVE-2023-44487, CVE-2025-8671).
 */
#include "base/clock.h"
#include "http/server_h2_int.h"

enum {
    SECOND_US = 1000 * 1000,
    UPDATES_AT_FIRST = 5, /* window updates of a connection that has no streams */
    BLOCK_SCALE = 2,      /* a block this many times the largest head is not even refused */
};

const char *server_flood_name(enum server_flood why)
{
    static const char *const names[FLOOD_COUNT] = {
        [FLOOD_NONE] = "none",
        [FLOOD_RESETS] = "resets",
        [FLOOD_CONTROL] = "control",
        [FLOOD_EMPTY] = "empty",
        [FLOOD_UPDATES] = "updates",
        [FLOOD_PRIORITY] = "priority",
        [FLOOD_CONTINUATION] = "continuation",
        [FLOOD_HEAD] = "head",
        [FLOOD_SLOW_HEAD] = "slow_head",
        [FLOOD_GLITCHES] = "glitches",
        [FLOOD_CLOSED] = "closed",
    };
    ASSERT((size_t)why < ARRAY_LEN(names));
    return names[why];
}

/* One more; false when it is beyond the burst. */
static bool take(struct h2_bucket *b, unsigned burst, unsigned per_second)
{
    uint64_t each_us = SECOND_US / size_max(per_second, 1);
    b->ahead_us = size_max(b->ahead_us, clock_us()) + each_us;
    return b->ahead_us <= clock_us() + burst * each_us;
}

enum server_flood h2_guard_reset(struct h2_guard *g, const struct server_limits *l)
{
    return take(&g->resets, l->h2.resets, l->h2.resets_per_s) ? FLOOD_NONE : FLOOD_RESETS;
}

enum server_flood h2_guard_empty(struct h2_guard *g, const struct server_limits *l)
{
    return ++g->empties > l->h2.empties ? FLOOD_EMPTY : FLOOD_NONE;
}

enum server_flood h2_guard_glitch(struct h2_guard *g, const struct server_limits *l)
{
    return ++g->glitches > l->h2.glitches ? FLOOD_GLITCHES : FLOOD_NONE;
}

static enum server_flood guard_control(struct h2_guard *g, const struct server_limits *l)
{
    return take(&g->controls, l->h2.controls, l->h2.controls_per_s) ? FLOOD_NONE : FLOOD_CONTROL;
}

/* A client that takes an answer updates two windows for each DATA frame at most. */
static enum server_flood guard_update(struct h2_guard *g, const struct server_limits *l)
{
    uint64_t most = UPDATES_AT_FIRST + 2 * (g->streams + l->h2.updates * g->data_sent);
    return ++g->updates > most ? FLOOD_UPDATES : FLOOD_NONE;
}

static enum server_flood guard_priority(struct h2_guard *g, const struct server_limits *l)
{
    return ++g->priorities > l->h2.priorities * (1 + g->streams) ? FLOOD_PRIORITY : FLOOD_NONE;
}

/* The block is counted by its heads' word, before it comes. */
static enum server_flood guard_block(struct h2_guard *g, const struct server_limits *l,
                                     const struct h2_frame *f)
{
    if (f->type == H2_HEADERS) {
        g->streams++;
        g->continuations = g->block = 0;
    } else if (++g->continuations > l->h2.continuations) {
        return FLOOD_CONTINUATION;
    }
    g->block += f->length;
    return g->block > BLOCK_SCALE * l->head_max ? FLOOD_HEAD : FLOOD_NONE;
}

enum server_flood h2_guard_frame(struct h2_guard *g, const struct server_limits *l,
                                 const struct h2_frame *f)
{
    if (f->type == H2_DATA && f->length == 0 && !(f->flags & H2_END_STREAM))
        return h2_guard_empty(g, l);
    switch (f->type) {
    case H2_DATA: return FLOOD_NONE;
    case H2_HEADERS:
    case H2_CONTINUATION: return guard_block(g, l, f);
    case H2_PRIORITY:
    case H2_PRIORITY_UPDATE: return guard_priority(g, l);
    case H2_RST_STREAM: return h2_guard_reset(g, l);
    case H2_SETTINGS:
    case H2_PING:
    case H2_GOAWAY: return guard_control(g, l);
    case H2_WINDOW_UPDATE: return guard_update(g, l);
    default: return h2_guard_glitch(g, l);
    }
}
