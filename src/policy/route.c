/* route.c - see route.h. */
#include "policy/route.h"

void route_init(struct route *r, size_t n_keys)
{
    ASSERT(n_keys >= 1 && n_keys <= ROUTE_KEYS_MAX);
    *r = (struct route){.n = n_keys};
}

static bool is_tried(uint64_t tried, size_t key)
{
    return (tried >> key) & 1;
}

/* Smaller is better: untried before tried, then the one that is free first. */
static bool is_better(const struct route *r, uint64_t now_us, uint64_t tried, size_t a, size_t b)
{
    if (is_tried(tried, a) != is_tried(tried, b))
        return !is_tried(tried, a);
    uint64_t free_a = r->rests_until_us[a] > now_us ? r->rests_until_us[a] : 0;
    uint64_t free_b = r->rests_until_us[b] > now_us ? r->rests_until_us[b] : 0;
    return free_a < free_b;
}

size_t route_pick(struct route *r, uint64_t now_us, uint64_t home, uint64_t *tried)
{
    size_t first = home ? home % r->n : r->next, best = first;
    for (size_t i = 1; i < r->n; i++) {
        size_t key = (first + i) % r->n;
        if (is_better(r, now_us, *tried, key, best))
            best = key;
    }
    if (!home)
        r->next = (best + 1) % r->n;
    *tried |= (uint64_t)1 << best;
    return best;
}

void route_rest(struct route *r, size_t key, uint64_t until_us)
{
    ASSERT(key < r->n);
    if (r->rests_until_us[key] < until_us)
        r->rests_until_us[key] = until_us;
}

bool route_has_other(const struct route *r, uint64_t now_us, uint64_t tried)
{
    for (size_t key = 0; key < r->n; key++)
        if (!is_tried(tried, key) && r->rests_until_us[key] <= now_us)
            return true;
    return false;
}
