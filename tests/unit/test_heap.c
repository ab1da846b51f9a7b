/* test_heap.c - the timer heap against a plain table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/mem.h"

enum { NODES = 300 };

static struct heap_node nodes[NODES];

static void check(const struct heap *h)
{
    const struct heap_node *least = NULL;
    size_t in = 0;

    for (size_t i = 0; i < NODES; i++) {
        if (nodes[i].pos == 0)
            continue;
        in++;
        assert_ptr_equal(h->nodes[nodes[i].pos], &nodes[i]);
        if (nodes[i].pos > 1)
            assert_true(h->nodes[nodes[i].pos / 2]->key <= nodes[i].key);
        if (!least || nodes[i].key < least->key)
            least = &nodes[i];
    }
    assert_int_equal(in, h->n);
    if (!least)
        assert_null(heap_peek(h));
    else
        assert_true(heap_peek(h)->key == least->key);
}

static void test_random(void **state)
{
    uint64_t seed = 3;
    struct heap h;

    (void)state;
    heap_init(&h);
    check(&h);
    for (int turn = 0; turn < 4000; turn++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        struct heap_node *node = &nodes[(seed >> 33) % NODES];
        uint64_t key = (seed >> 40) % 50;
        if (node->pos == 0) {
            node->key = key;
            heap_push(&h, node);
        } else if (seed >> 63) {
            heap_update(&h, node, key);
        } else {
            heap_remove(&h, node);
            heap_remove(&h, node);
        }
        check(&h);
    }
    heap_done(&h);
    check(&h);
    assert_int_equal(mem_live(), 0);
}

static void test_sorts(void **state)
{
    uint64_t last = 0;
    struct heap h;

    (void)state;
    heap_init(&h);
    for (size_t i = 0; i < NODES; i++) {
        nodes[i].key = i * 37 % NODES + (i == 5 ? UINT64_MAX - NODES : 0);
        heap_push(&h, &nodes[i]);
    }
    for (size_t i = 0; i < NODES; i++) {
        struct heap_node *node = heap_peek(&h);
        assert_true(node->key >= last);
        last = node->key;
        heap_remove(&h, node);
        assert_int_equal(node->pos, 0);
    }
    assert_null(heap_peek(&h));
    heap_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_sorts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
