/* box.c - see box.h. The fences order the words, which are relaxed, against the count. */
#include "base/box.h"

void box_put(box_word *box, const void *value, size_t n)
{
    const uint64_t *words = value;
    uint64_t count = atomic_load_explicit(&box[0], memory_order_relaxed) | 1;
    atomic_store_explicit(&box[0], count, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < n / sizeof(*words); i++)
        atomic_store_explicit(&box[i + 1], words[i], memory_order_relaxed);
    atomic_store_explicit(&box[0], count + 1, memory_order_release);
}

bool box_get(const box_word *box, void *value, size_t n)
{
    uint64_t *words = value, count = atomic_load_explicit(&box[0], memory_order_acquire);
    if (count == 0 || count & 1)
        return false;
    for (size_t i = 0; i < n / sizeof(*words); i++)
        words[i] = atomic_load_explicit(&box[i + 1], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&box[0], memory_order_relaxed) == count;
}
