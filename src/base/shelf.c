/* shelf.c - see shelf.h. Places have the size that the values need; each value is a box. */
#include "base/shelf.h"

#include "base/box.h"
#include "base/clock.h"
#include "base/mem.h"

struct place {
    uint8_t name[SHELF_NAME]; /* the master writes it, before those who look are forked */
    uint64_t adopted;         /* its turn; 0: free */
    _Atomic uint64_t due_us;
    box_word box[];
};

struct shelf {
    size_t n_places, size; /* of a value */
    uint64_t turns;        /* the master's */
    char places[];
};

static size_t place_size(size_t size)
{
    return sizeof(struct place) + sizeof(box_word) + size;
}

static struct place *at(const struct shelf *s, size_t i)
{
    ASSERT(i < s->n_places);
    return (struct place *)(uintptr_t)(s->places + i * place_size(s->size));
}

struct shelf *shelf_new(size_t n_places, size_t size)
{
    ASSERT(size % sizeof(box_word) == 0 && size >= SHELF_NAME);
    struct shelf *s = mem_share(sizeof(*s) + n_places * place_size(size));
    s->n_places = n_places;
    s->size = size;
    return s;
}

void shelf_free(struct shelf *s)
{
    mem_unshare(s, sizeof(*s) + s->n_places * place_size(s->size));
}

static bool is_called(const struct place *p, const uint8_t name[SHELF_NAME])
{
    return memcmp(p->name, name, SHELF_NAME) == 0;
}

size_t shelf_place(const struct shelf *s, const uint8_t name[SHELF_NAME])
{
    for (size_t i = 0; i < s->n_places; i++)
        if (at(s, i)->adopted && is_called(at(s, i), name))
            return i;
    return s->n_places;
}

static size_t oldest(const struct shelf *s)
{
    size_t found = 0;

    for (size_t i = 1; i < s->n_places; i++)
        if (at(s, i)->adopted < at(s, found)->adopted)
            found = i;
    return found;
}

void shelf_adopt(struct shelf *s, const uint8_t name[SHELF_NAME])
{
    size_t i = shelf_place(s, name);

    if (i == s->n_places) {
        i = oldest(s);
        memcpy(at(s, i)->name, name, SHELF_NAME);
        atomic_store_explicit(&at(s, i)->due_us, 0, memory_order_relaxed);
    }
    at(s, i)->adopted = ++s->turns;
}

uint64_t shelf_due(const struct shelf *s, size_t place, const uint8_t name[SHELF_NAME])
{
    if (!is_called(at(s, place), name))
        return UINT64_MAX;
    return atomic_load_explicit(&at(s, place)->due_us, memory_order_relaxed);
}

bool shelf_claim(struct shelf *s, size_t place, const uint8_t name[SHELF_NAME], uint64_t for_us)
{
    uint64_t now = clock_us(), due = shelf_due(s, place, name);

    return now >= due && atomic_compare_exchange_strong(&at(s, place)->due_us, &due, now + for_us);
}

void shelf_put(struct shelf *s, size_t place, const void *value, uint64_t due_us)
{
    box_put(at(s, place)->box, value, s->size);
    atomic_store_explicit(&at(s, place)->due_us, due_us, memory_order_relaxed);
}

bool shelf_get(const struct shelf *s, size_t place, const uint8_t name[SHELF_NAME], void *ret)
{
    return place < s->n_places && box_get(at(s, place)->box, ret, s->size) &&
           memcmp(ret, name, SHELF_NAME) == 0;
}

uint64_t shelf_version(const struct shelf *s, size_t place)
{
    return atomic_load_explicit(&at(s, place)->box[0], memory_order_relaxed);
}
