/* strmap.c - open addressing with linear probing, at most half full, never deleted from. */
#include "llm/strmap.h"

#include "base/hash.h"

enum { FIRST_CAP = 16 };

void strmap_init(struct strmap *m, struct arena *a)
{
    *m = (struct strmap){.arena = a};
}

static struct strmap_slot *find(const struct strmap *m, struct str key)
{
    size_t i = (size_t)hash_sip(key) & (m->cap - 1);
    while (m->slots[i].key.p && !str_eq(m->slots[i].key, key))
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

static void grow(struct strmap *m)
{
    struct strmap old = *m;
    m->cap = old.cap > 0 ? old.cap * 2 : FIRST_CAP;
    m->slots = arena_zalloc(m->arena, m->cap * sizeof(*m->slots));
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].key.p)
            *find(m, old.slots[i].key) = old.slots[i];
}

void *strmap_get(const struct strmap *m, struct str key)
{
    return m->n > 0 ? find(m, key)->value : NULL;
}

void **strmap_at(struct strmap *m, struct str key)
{
    if (m->n * 2 >= m->cap)
        grow(m);
    struct strmap_slot *slot = find(m, key);
    if (!slot->key.p) {
        slot->key = key.p ? key : STR("");
        m->n++;
    }
    return &slot->value;
}
