/* shelf.h - what was learned from others, by name, in memory that is mapped before the first fork.
 *
 *   worker --shelf_claim, asks, shelf_put--> [ place | place | ... ] --shelf_get--> all workers
 *
 * So an answer outlives the worker that fetched it, and a reload. The master gives each name a place;
 * of the workers one at a time claims it, and only for a while: if it dies or is told nothing, somebody
 * asks again.
 */
#ifndef CCPROXY_BASE_SHELF_H
#define CCPROXY_BASE_SHELF_H

#include "base/base.h"

enum { SHELF_NAME = 32 }; /* a SHA-256 of whatever it is */

struct shelf;

/* Values have size bytes each, a multiple of 8, and begin with their name: whoever still holds the
 * number of a place that has been given away finds nothing there. */
struct shelf *shelf_new(size_t n_places, size_t size);
void shelf_free(struct shelf *s);

/* For the master: a name will be asked for; if it has no place, it gets that of whichever was
 * adopted longest ago. */
void shelf_adopt(struct shelf *s, const uint8_t name[SHELF_NAME]);
/* Its place, or the number of places. */
size_t shelf_place(const struct shelf *s, const uint8_t name[SHELF_NAME]);

/* Until when nobody need or may ask, by clock_us(); 0 at first; never, when the place is another
 * name's by now. */
uint64_t shelf_due(const struct shelf *s, size_t place, const uint8_t name[SHELF_NAME]);
/* False: it is not due, or somebody else was faster. Else it is not due for so long. */
NODISCARD bool shelf_claim(struct shelf *s, size_t place, const uint8_t name[SHELF_NAME],
                           uint64_t for_us);
/* By whoever has claimed it. */
void shelf_put(struct shelf *s, size_t place, const void *value, uint64_t due_us);
NODISCARD bool shelf_get(const struct shelf *s, size_t place, const uint8_t name[SHELF_NAME],
                         void *ret);
/* Changes with every put. */
uint64_t shelf_version(const struct shelf *s, size_t place);

#endif
