/* heap.h - a binary min-heap of nodes that live inside their owners, for timers. */
#ifndef CCPROXY_BASE_HEAP_H
#define CCPROXY_BASE_HEAP_H

#include "base/base.h"

struct heap_node {
    uint64_t key;
    size_t pos; /* 1-based place in the heap; 0: not in it */
};

struct heap {
    struct heap_node **nodes; /* nodes[0] is unused */
    size_t n, cap;
};

void heap_init(struct heap *h);
void heap_done(struct heap *h);
void heap_push(struct heap *h, struct heap_node *node);
void heap_remove(struct heap *h, struct heap_node *node); /* harmless when not in it */
void heap_update(struct heap *h, struct heap_node *node, uint64_t key);
struct heap_node *heap_peek(const struct heap *h); /* the smallest, or NULL */

#endif
