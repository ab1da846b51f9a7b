/* test_recent.c - boxes that many read while one writes, and the last requests in them. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/box.h"
#include "base/mem.h"
#include "obs/recent.h"

struct value {
    uint64_t words[64];
};

static void test_box(void **state)
{
    box_word box[BOX_WORDS(struct value)] = {0};
    struct value in = {{1, 2, 3}}, out;
    (void)state;
    assert_false(box_get(box, &out, sizeof(out)));
    box_put(box, &in, sizeof(in));
    assert_true(box_get(box, &out, sizeof(out)));
    assert_memory_equal(&in, &out, sizeof(in));
    box[0]++; /* its writer has died in the middle */
    assert_false(box_get(box, &out, sizeof(out)));
    in.words[0] = 9;
    box_put(box, &in, sizeof(in));
    assert_true(box_get(box, &out, sizeof(out)));
    assert_int_equal(out.words[0], 9);
}

static void write_for_ever(box_word *box)
{
    struct value v;
    for (uint64_t n = 1;; n++) {
        for (size_t i = 0; i < ARRAY_LEN(v.words); i++)
            v.words[i] = n;
        box_put(box, &v, sizeof(v));
    }
}

/* Whatever is read was written at once, and nothing older than before. */
static void test_box_processes(void **state)
{
    enum { READINGS = 20000 };

    box_word *box = mem_share(BOX_WORDS(struct value) * sizeof(box_word));
    struct value v;
    uint64_t last = 0;
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        write_for_ever(box);
    for (unsigned read = 0; read < READINGS;) {
        if (!box_get(box, &v, sizeof(v)))
            continue;
        for (size_t i = 1; i < ARRAY_LEN(v.words); i++)
            assert_int_equal(v.words[i], v.words[0]);
        assert_true(v.words[0] >= last);
        last = v.words[0];
        read++;
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    mem_unshare(box, BOX_WORDS(struct value) * sizeof(box_word));
}

static void test_recent(void **state)
{
    enum { N = 50 };

    struct recent *r = recent_new();
    struct recent_entry out[N];
    (void)state;
    assert_int_equal(recent_read(r, out, N), 0);
    for (unsigned i = 1; i <= 100; i++) {
        struct recent_entry e = {.ended_us = i, .status = 200 + i, .n_id = 2, .id = "id"};
        recent_add(r, i % 2 ? 1 : 512, &e);
    }
    assert_int_equal(recent_read(r, out, N), N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(out[i].ended_us, 100 - i); /* each ring keeps more than half of them */
        assert_int_equal(out[i].status, 300 - i);
    }
    assert_memory_equal(out[0].id, "id", 2);
    assert_int_equal(recent_read(r, out, 3), 3);
    assert_int_equal(out[2].ended_us, 98);
    recent_free(r);
}

/* What came first is gone, however few are asked for. */
static void test_recent_ring(void **state)
{
    struct recent *r = recent_new();
    struct recent_entry out[2 * RECENT_KEPT];
    (void)state;
    for (unsigned i = 1; i <= 1000; i++) {
        struct recent_entry e = {.ended_us = i};
        recent_add(r, 7, &e);
    }
    assert_int_equal(recent_read(r, out, ARRAY_LEN(out)), RECENT_KEPT);
    assert_int_equal(out[0].ended_us, 1000);
    assert_int_equal(out[RECENT_KEPT - 1].ended_us, 1001 - RECENT_KEPT);
    recent_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_box),
        cmocka_unit_test(test_box_processes),
        cmocka_unit_test(test_recent),
        cmocka_unit_test(test_recent_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
