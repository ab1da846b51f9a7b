/* rand.c - the kernel's random bytes, fetched 1024 at a time.
 *
 * Bytes are wiped from the store as they are handed out, so that what was given can not be read
 * from memory later. A forked child must call rand_reseed(): the store is copied by fork.
 */
#include "base/rand.h"

#include <errno.h>
#include <sys/random.h>

#include "base/mem.h"

enum { STORE = 1024 };

static uint8_t store[STORE];
static size_t left; /* unused bytes, at the end of store */
static void (*source)(void *p, size_t n);

static void fill(uint8_t *p, size_t n)
{
    ssize_t got;

    if (source) {
        source(p, n);
        return;
    }
    for (size_t at = 0; at < n; at += (size_t)got) {
        do
            got = getrandom(p + at, n - at, 0);
        while (got < 0 && errno == EINTR);
        ASSERT(got > 0);
    }
}

void rand_bytes(void *p, size_t n)
{
    uint8_t *out = p;

    while (n) {
        if (left == 0) {
            fill(store, STORE);
            left = STORE;
        }
        size_t part = size_min(n, left);
        uint8_t *from = store + STORE - left;
        memcpy(out, from, part);
        mem_wipe(from, part);
        left -= part;
        out += part;
        n -= part;
    }
}

uint64_t rand_u64(void)
{
    uint64_t value;

    rand_bytes(&value, sizeof(value));
    return value;
}

uint64_t rand_below(uint64_t n)
{
    uint64_t value, uneven;

    ASSERT(n > 0);
    /* 2^64 mod n values at the bottom would make small results likelier: draw again. */
    uneven = (0 - n) % n;
    do
        value = rand_u64();
    while (value < uneven);
    return value % n;
}

void rand_alnum(char *out, size_t n)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    enum { LETTERS = sizeof(letters) - 1, AT_ONCE = 32 };

    uint8_t bytes[AT_ONCE];

    for (size_t i = 0; i < n;) {
        size_t want = size_min(n - i, AT_ONCE);
        rand_bytes(bytes, want);
        for (size_t b = 0; b < want; b++)
            if ((bytes[b] & 63) < LETTERS) /* else it is drawn again: none is likelier */
                out[i++] = letters[bytes[b] & 63];
    }
    mem_wipe(bytes, sizeof(bytes));
}

void rand_reseed(void)
{
    mem_wipe(store, STORE);
    left = 0;
}

void rand_set_source(void (*fill_bytes)(void *p, size_t n))
{
    source = fill_bytes;
    rand_reseed();
}
