/* history.c - see history.h. The slots of a ring are taken in turn; who reads goes by the times in
 * them, so an index that moves meanwhile does no harm.
 */
#include "obs/history.h"

#include "base/box.h"
#include "base/mem.h"

enum { SAMPLE_WORDS = sizeof(struct sample) / sizeof(uint64_t) };

#define POINT_SIZE offsetof(struct sample, models)

_Static_assert(sizeof(struct history_point) == POINT_SIZE, "a point is how a sample begins");

struct ring {
    uint64_t next_us; /* the next sample is due; the writer's, as next */
    unsigned next;
};

struct history {
    uint64_t started_us;
    struct ring rings[HISTORY_RINGS];

    box_word slots[HISTORY_RINGS][HISTORY_SLOTS][BOX_WORDS(struct sample)];
};

uint64_t history_step_us(enum history_ring ring)
{
    return ring == HISTORY_MINUTES ? HISTORY_EVERY_US : UINT64_C(60) * 1000 * 1000;
}

struct history *history_new(uint64_t now_us)
{
    struct history *h = mem_share(sizeof(*h));
    struct sample *start = mem_zalloc(sizeof(*start));
    h->started_us = now_us;
    start->at_us = now_us;
    history_add(h, start, 0);
    mem_free(start);
    return h;
}

void history_free(struct history *h)
{
    if (h)
        mem_unshare(h, sizeof(*h));
}

uint64_t history_started_us(const struct history *h)
{
    return h->started_us;
}

void history_add(struct history *h, const struct sample *s, unsigned n_clients)
{
    size_t n = offsetof(struct sample, clients) + n_clients * sizeof(s->clients[0]);
    ASSERT(n_clients <= MOST_CLIENT);
    for (unsigned i = 0; i < HISTORY_RINGS; i++) {
        struct ring *r = &h->rings[i];
        if (s->at_us < r->next_us)
            continue;
        box_put(h->slots[i][r->next], s, n);
        r->next = (r->next + 1) % HISTORY_SLOTS;
        r->next_us = s->at_us + history_step_us(i);
    }
}

/* The box of the newest sample that is from at_us or before; of the oldest one if none is. */
static const box_word *find(const struct history *h, uint64_t at_us)
{
    const box_word *best = NULL;
    uint64_t best_us = 0;
    for (unsigned i = 0; i < HISTORY_RINGS * HISTORY_SLOTS; i++) {
        const box_word *box = h->slots[i / HISTORY_SLOTS][i % HISTORY_SLOTS];
        uint64_t us;
        if (!box_get(box, &us, sizeof(us)))
            continue;
        bool old_enough = us <= at_us;
        bool better = best_us > at_us ? us < best_us : old_enough && us > best_us;
        if (!best || better) {
            best = box;
            best_us = us;
        }
    }
    return best;
}

void sample_subtract(struct sample_node *ret, const struct sample_node *earlier)
{
    uint64_t active = ret->active, *words = (void *)ret;
    const uint64_t *what = (const void *)earlier;
    for (size_t i = 0; i < sizeof(*ret) / sizeof(*words); i++)
        words[i] -= what[i];
    ret->active = active;
}

/* What was at that time, or at the start. A sample that is overwritten while it is read was the
 * oldest of its ring: another one is found then. */
static void read_base(const struct history *h, uint64_t at_us, struct sample *ret)
{
    enum { TRIES = 3 };

    for (unsigned i = 0; at_us > h->started_us && i < TRIES; i++) {
        const box_word *box = find(h, at_us);
        if (box && box_get(box, ret, sizeof(*ret)))
            return;
    }
    memset(ret, 0, sizeof(*ret));
    ret->at_us = h->started_us;
}

void history_since(const struct history *h, const struct sample *now, uint64_t span_us,
                   struct sample *ret)
{
    bool young = span_us == 0 || now->at_us - h->started_us <= span_us;
    const uint64_t *later = (const void *)now;
    uint64_t *words = (void *)ret;
    read_base(h, young ? 0 : now->at_us - span_us, ret);
    for (size_t i = 0; i < SAMPLE_WORDS; i++)
        words[i] = later[i] - words[i];
    ret->node.active = now->node.active;
}

static int by_time(const void *a, const void *b)
{
    const struct history_point *one = a, *two = b;
    return one->at_us < two->at_us ? -1 : one->at_us > two->at_us;
}

unsigned history_points(const struct history *h, enum history_ring ring,
                        struct history_point out[HISTORY_SLOTS])
{
    unsigned n = 0;
    for (unsigned i = 0; i < HISTORY_SLOTS; i++)
        n += box_get(h->slots[ring][i], &out[n], sizeof(out[n]));
    qsort(out, n, sizeof(*out), by_time);
    return n;
}
