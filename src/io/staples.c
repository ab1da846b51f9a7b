/* staples.c - see staples.h. */
#include "io/staples.h"

#include "base/clock.h"

_Static_assert(sizeof(struct staple) == 8 * 1024, "words, and all of them used");

enum { LEAST_US = 10 * 1000 * 1000 };

struct shelf *staples_new(void)
{
    return shelf_new(STAPLES_MAX, sizeof(struct staple));
}

uint64_t staples_wait_us(const struct staple *staple)
{
    uint64_t now = clock_wall_us(), begins = staple->begins_us, ends = staple->ends_us;
    uint64_t half = begins + (ends - begins) / 2;
    uint64_t wait = half > now ? half - now : ends > now ? (ends - now) / 2 : 0;

    return wait > LEAST_US ? wait : LEAST_US;
}

bool staples_get(const struct shelf *s, size_t place, const uint8_t cert[SHELF_NAME],
                 struct staple *ret)
{
    return shelf_get(s, place, cert, ret) && clock_wall_us() < ret->ends_us;
}
