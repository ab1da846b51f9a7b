/* tickets.c - see tickets.h. Both keys are one box, so a worker sees them as they are or not at all. */
#include "io/tickets.h"

#include "base/box.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"

/* The newest first. Never made: all zero. */
struct pair {
    struct ticket_key keys[2];
};

_Static_assert(sizeof(struct pair) % sizeof(uint64_t) == 0, "a box is words");

struct tickets {
    box_word box[BOX_WORDS(struct pair)];
};

struct tickets *tickets_new(void)
{
    return mem_share(sizeof(struct tickets));
}

void tickets_free(struct tickets *t)
{
    mem_unshare(t, sizeof(*t));
}

static uint64_t age_us(const struct ticket_key *k)
{
    return k->made_us ? clock_us() - k->made_us : UINT64_MAX;
}

static bool is_usable(const struct ticket_key *k)
{
    return age_us(k) < 2 * TICKET_LIFE_US;
}

static struct ticket_key new_key(void)
{
    struct ticket_key k = {.made_us = clock_us()};

    rand_bytes(k.name, sizeof(k.name));
    rand_bytes(k.cipher, sizeof(k.cipher));
    rand_bytes(k.mac, sizeof(k.mac));
    return k;
}

void tickets_keep(struct tickets *t)
{
    struct pair p;

    if (!box_get(t->box, &p, sizeof(p)))
        p = (struct pair){0};
    if (age_us(&p.keys[0]) >= TICKET_LIFE_US) {
        p.keys[1] = is_usable(&p.keys[0]) ? p.keys[0] : (struct ticket_key){0};
        p.keys[0] = new_key();
        box_put(t->box, &p, sizeof(p));
    }
    mem_wipe(&p, sizeof(p));
}

static bool take(const struct pair *p, const uint8_t *name, struct ticket_key *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(p->keys); i++) {
        if (!is_usable(&p->keys[i]) || (name && memcmp(p->keys[i].name, name, TICKET_NAME) != 0))
            continue;
        *ret = p->keys[i];
        return true;
    }
    return false;
}

static bool find(const struct tickets *t, const uint8_t *name, struct ticket_key *ret)
{
    struct pair p;
    bool found = box_get(t->box, &p, sizeof(p)) && take(&p, name, ret);

    mem_wipe(&p, sizeof(p));
    return found;
}

bool tickets_seal(const struct tickets *t, struct ticket_key *ret)
{
    return find(t, NULL, ret);
}

bool tickets_open(const struct tickets *t, const uint8_t name[TICKET_NAME], struct ticket_key *ret)
{
    return find(t, name, ret);
}
