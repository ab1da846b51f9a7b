/* stash.c - a ring of sealed entries and an index of where they stand, without locks.
 *
 *   index    bucket of 4 slots: where an entry stands, and 8 bits of its key's hash
 *   ring     ... | length, expiry, box | length, expiry, box | free
 *                                                            ^ head, only ever grows
 *
 * A writer claims room by adding to head, fills it, and then puts its position into a slot. Whoever
 * reads copies first and asks afterwards: an entry that was overwritten meanwhile, torn by a dead
 * worker, or is another key's does not open, for the box is authenticated together with key,
 * length and expiry. So every race ends as a miss, and nothing a worker does can block another.
 */
#include "llm/stash.h"

#include <stdatomic.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"

enum {
    WAYS = 4,
    ALIGN = 16,
    TAG_BITS = 8,
    BYTES_PER_BUCKET = 4096, /* entries are about a kilobyte */
    SHARE = 8,               /* the largest entry is this part of the ring */
    DAY_S = 24 * 60 * 60,
};

struct entry { /* in front of the box */
    uint64_t expires_s;
    uint32_t len, zero;
};

struct ring {
    _Atomic uint64_t head;
    _Atomic uint64_t slots[];
};

struct stash {
    struct ring *ring; /* shared; everything else is each process's own copy */
    char *bytes;       /* the entries: behind the slots */
    size_t size, n_buckets, shared_size;
    uint8_t key[SEAL_KEY];
};

struct label { /* what a box is bound to */
    struct sha256 key;
    struct entry entry;
};

struct stash *stash_new(size_t size)
{
    struct stash *s = mem_zalloc(sizeof(*s));
    s->size = size_max(size, STASH_MIN) / ALIGN * ALIGN;
    s->n_buckets = s->size / BYTES_PER_BUCKET;
    size_t slots = s->n_buckets * WAYS * sizeof(uint64_t);
    s->shared_size = sizeof(struct ring) + slots + s->size;
    s->ring = mem_share(s->shared_size);
    s->bytes = (char *)s->ring + sizeof(struct ring) + slots;
    rand_bytes(s->key, sizeof(s->key));
    return s;
}

void stash_free(struct stash *s)
{
    if (!s)
        return;
    mem_unshare(s->ring, s->shared_size);
    mem_wipe(s->key, sizeof(s->key));
    mem_free(s);
}

const uint8_t *stash_secret(const struct stash *s)
{
    return s->key;
}

/* The owner is hashed first: no owner and call can spell another pair. */
static struct sha256 hash_key(const struct stash_key *key)
{
    struct sha256 h = hash_sha256(key->owner);
    hash_chain(&h, key->call);
    return h;
}

/* What stands in a slot; 0 is an empty one. Later entries compare as larger. */
static uint64_t slot_of(const struct sha256 *key, uint64_t at)
{
    return (at + ALIGN) << TAG_BITS | key->bytes[sizeof(key->bytes) - 1];
}

static _Atomic uint64_t *bucket_of(const struct stash *s, const struct sha256 *key)
{
    uint64_t h;
    memcpy(&h, key->bytes, sizeof(h));
    return s->ring->slots + h % s->n_buckets * WAYS;
}

/* Room for n bytes in one piece. What is left over at the ring's end stays unused. */
static uint64_t claim(struct stash *s, size_t n)
{
    uint64_t at = atomic_fetch_add(&s->ring->head, n);
    while (at % s->size + n > s->size)
        at = atomic_fetch_add(&s->ring->head, n);
    return at;
}

/* The slot of the oldest entry gives way. Two that write at once may lose one: a miss later. */
static void publish(struct stash *s, const struct sha256 *key, uint64_t at)
{
    _Atomic uint64_t *slots = bucket_of(s, key), *oldest = slots;
    for (size_t i = 1; i < WAYS; i++)
        if (atomic_load(&slots[i]) < atomic_load(oldest))
            oldest = &slots[i];
    atomic_store(oldest, slot_of(key, at));
}

bool stash_put(struct stash *s, const struct stash_key *key, struct str value, int64_t now_s)
{
    size_t n = sizeof(struct entry) + value.n + SEAL_EXTRA;
    n = (n + ALIGN - 1) / ALIGN * ALIGN;
    if (n > s->size / SHARE)
        return false;
    struct label label = {
        .key = hash_key(key),
        .entry = {.expires_s = (uint64_t)now_s + STASH_DAYS * DAY_S, .len = (uint32_t)value.n},
    };
    uint64_t at = claim(s, n);
    char *p = s->bytes + at % s->size;
    memcpy(p, &label.entry, sizeof(label.entry));
    seal_close(s->key, str_of((char *)&label, sizeof(label)), value, p + sizeof(label.entry));
    publish(s, &label.key, at);
    return true;
}

/* The entry at a position, when it is there and this key's. */
static struct str read_entry(const struct stash *s, uint64_t at, struct label *label,
                             uint64_t now_s, struct arena *a)
{
    if (atomic_load(&s->ring->head) - at > s->size)
        return STR_NONE; /* overwritten */
    const char *p = s->bytes + at % s->size;
    memcpy(&label->entry, p, sizeof(label->entry));
    size_t room = s->size - at % s->size - sizeof(label->entry);
    size_t len = label->entry.len;
    if (len + SEAL_EXTRA > room || len > s->size / SHARE || label->entry.expires_s < now_s)
        return STR_NONE;
    char *box = arena_alloc(a, len + SEAL_EXTRA);
    struct str plain;
    memcpy(box, p + sizeof(label->entry), len + SEAL_EXTRA);
    bool ours =
        seal_open(s->key, str_of((char *)label, sizeof(*label)), box, len + SEAL_EXTRA, &plain);
    return ours ? plain : STR_NONE;
}

struct str stash_get(struct stash *s, const struct stash_key *key, int64_t now_s, struct arena *a)
{
    struct label label = {.key = hash_key(key)};
    _Atomic uint64_t *slots = bucket_of(s, &label.key);
    struct str found = STR_NONE;
    uint64_t newest = 0;
    for (size_t i = 0; i < WAYS; i++) {
        uint64_t slot = atomic_load(&slots[i]), at = (slot >> TAG_BITS) - ALIGN;
        if (slot <= newest || slot != slot_of(&label.key, at))
            continue;
        struct str value = read_entry(s, at, &label, (uint64_t)now_s, a);
        if (!value.p)
            continue;
        found = value;
        newest = slot;
    }
    return found;
}
