/* heap.c - the binary heap behind the loop's timers.
 *
 *            1              every node knows its place, so that any of them can be
 *         2     3           removed or moved in O(log n) without a search;
 *        4 5   6 7          the parent of i is i / 2, its key is never larger
 *
 * The heap owns only its table of pointers; the nodes live in their owners.
 */
#include "base/heap.h"

#include "base/mem.h"

enum { HEAP_FIRST = 64 };

void heap_init(struct heap *h)
{
    *h = (struct heap){0};
}

void heap_done(struct heap *h)
{
    for (size_t i = 1; i <= h->n; i++)
        h->nodes[i]->pos = 0;
    mem_free(h->nodes);
    heap_init(h);
}

static void put(struct heap *h, size_t pos, struct heap_node *node)
{
    h->nodes[pos] = node;
    node->pos = pos;
}

static void sift_up(struct heap *h, struct heap_node *node)
{
    size_t pos = node->pos;

    for (; pos > 1 && h->nodes[pos / 2]->key > node->key; pos /= 2)
        put(h, pos, h->nodes[pos / 2]);
    put(h, pos, node);
}

static void sift_down(struct heap *h, struct heap_node *node)
{
    size_t pos = node->pos, child;

    for (; (child = pos * 2) <= h->n; pos = child) {
        if (child < h->n && h->nodes[child + 1]->key < h->nodes[child]->key)
            child++;
        if (h->nodes[child]->key >= node->key)
            break;
        put(h, pos, h->nodes[child]);
    }
    put(h, pos, node);
}

void heap_push(struct heap *h, struct heap_node *node)
{
    ASSERT(node->pos == 0);
    if (h->n + 1 >= h->cap) {
        h->cap = h->cap ? h->cap * 2 : HEAP_FIRST;
        h->nodes = mem_realloc(h->nodes, h->cap * sizeof(struct heap_node *));
        h->nodes[0] = NULL;
    }
    put(h, ++h->n, node);
    sift_up(h, node);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    struct heap_node *last;
    size_t pos = node->pos;

    if (pos == 0)
        return;
    ASSERT(pos <= h->n && h->nodes[pos] == node);
    last = h->nodes[h->n--];
    node->pos = 0;
    if (last == node)
        return;
    put(h, pos, last);
    sift_up(h, last);
    sift_down(h, last);
}

void heap_update(struct heap *h, struct heap_node *node, uint64_t key)
{
    ASSERT(node->pos > 0 && node->pos <= h->n && h->nodes[node->pos] == node);
    node->key = key;
    sift_up(h, node);
    sift_down(h, node);
}

struct heap_node *heap_peek(const struct heap *h)
{
    return h->n ? h->nodes[1] : NULL;
}
