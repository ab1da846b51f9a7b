/* staples.c - see staples.h. An answer is a box, and names its certificate: whoever still holds the
 * number of a place that has been given away finds nothing there.
 */
#include "io/staples.h"

#include "base/box.h"
#include "base/clock.h"
#include "base/mem.h"

_Static_assert(sizeof(struct staple) == 8 * 1024, "words, and all of them used");

enum { LEAST_US = 10 * 1000 * 1000 };

struct place {
    uint8_t cert[STAPLE_CERT]; /* the master writes it, before those who look are forked */
    uint64_t adopted;          /* its turn; 0: free */
    _Atomic uint64_t due_us;
    box_word box[BOX_WORDS(struct staple)];
};

struct staples {
    uint64_t turns; /* the master's */
    struct place places[STAPLES_MAX];
};

struct staples *staples_new(void)
{
    return mem_share(sizeof(struct staples));
}

void staples_free(struct staples *s)
{
    mem_unshare(s, sizeof(*s));
}

size_t staples_place(const struct staples *s, const uint8_t cert[STAPLE_CERT])
{
    for (size_t i = 0; i < STAPLES_MAX; i++)
        if (s->places[i].adopted && memcmp(s->places[i].cert, cert, STAPLE_CERT) == 0)
            return i;
    return STAPLES_MAX;
}

static size_t oldest(const struct staples *s)
{
    size_t found = 0;

    for (size_t i = 1; i < STAPLES_MAX; i++)
        if (s->places[i].adopted < s->places[found].adopted)
            found = i;
    return found;
}

void staples_adopt(struct staples *s, const uint8_t cert[STAPLE_CERT])
{
    size_t i = staples_place(s, cert);

    if (i == STAPLES_MAX) {
        i = oldest(s);
        memcpy(s->places[i].cert, cert, STAPLE_CERT);
        atomic_store_explicit(&s->places[i].due_us, 0, memory_order_relaxed);
    }
    s->places[i].adopted = ++s->turns;
}

uint64_t staples_due(const struct staples *s, size_t place, const uint8_t cert[STAPLE_CERT])
{
    if (memcmp(s->places[place].cert, cert, STAPLE_CERT) != 0)
        return UINT64_MAX;
    return atomic_load_explicit(&s->places[place].due_us, memory_order_relaxed);
}

bool staples_claim(struct staples *s, size_t place, const uint8_t cert[STAPLE_CERT],
                   uint64_t for_us)
{
    uint64_t now = clock_us(), due = staples_due(s, place, cert);

    return now >= due &&
           atomic_compare_exchange_strong(&s->places[place].due_us, &due, now + for_us);
}

uint64_t staples_wait_us(const struct staple *staple)
{
    uint64_t now = clock_wall_us(), begins = staple->begins_us, ends = staple->ends_us;
    uint64_t half = begins + (ends - begins) / 2;
    uint64_t wait = half > now ? half - now : ends > now ? (ends - now) / 2 : 0;

    return wait > LEAST_US ? wait : LEAST_US;
}

void staples_put(struct staples *s, size_t place, const struct staple *staple, uint64_t due_us)
{
    box_put(s->places[place].box, staple, sizeof(*staple));
    atomic_store_explicit(&s->places[place].due_us, due_us, memory_order_relaxed);
}

bool staples_get(const struct staples *s, size_t place, const uint8_t cert[STAPLE_CERT],
                 struct staple *ret)
{
    return place < STAPLES_MAX && box_get(s->places[place].box, ret, sizeof(*ret)) &&
           memcmp(ret->cert, cert, STAPLE_CERT) == 0 && clock_wall_us() < ret->ends_us;
}
