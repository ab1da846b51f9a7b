/* box.h - a value that one process writes and all may read, whole or not at all.
 *
 *   | count | word | word | ... |      count is odd while the words are written
 *
 * A sequence lock without waiting: who reads while it is written gets nothing, and a writer that dies in the
 * middle leaves a box that cannot be read until the next one writes it. For shared memory, which
 * is zero at first: such a box is empty.
 */
#ifndef CCPROXY_BASE_BOX_H
#define CCPROXY_BASE_BOX_H

#include <stdatomic.h>

#include "base/base.h"

/* Memory of a box for a value: an array of so many words. */
#define BOX_WORDS(type) (1 + sizeof(type) / sizeof(uint64_t))

typedef _Atomic uint64_t box_word;

/* n bytes, a multiple of 8. */
void box_put(box_word *box, const void *value, size_t n);
/* False, with anything in value, when the box is empty or is written just now. */
NODISCARD bool box_get(const box_word *box, void *value, size_t n);

#endif
