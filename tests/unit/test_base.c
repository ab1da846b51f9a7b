/* test_base.c - broken promises end the process, and say where and during what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/text.h"

static void break_plainly(void)
{
    int one = 1;

    ASSERT(one == 2);
}

static void break_unreachable(void)
{
    UNREACHABLE();
}

static void break_str_head(void)
{
    str_head(STR("ab"), 3);
}

static void break_str_skip(void)
{
    str_skip(STR("ab"), 3);
}

static void break_buf_consume(void)
{
    struct buf b;

    buf_init(&b, 10);
    buf_consume(&b, 1);
}

static void break_buf_commit(void)
{
    struct buf b;

    buf_init(&b, 10);
    buf_commit(&b, 1);
}

static void break_buf_release(void)
{
    struct buf b;

    buf_init(&b, 10);
    buf_lit(&b, "x");
    buf_release(&b);
}

static void break_buf_init(void)
{
    struct buf b;

    buf_init(&b, 0);
}

static void break_heap_push(void)
{
    struct heap_node node = {0};
    struct heap h;

    heap_init(&h);
    heap_push(&h, &node);
    heap_push(&h, &node);
}

static void break_heap_update(void)
{
    struct heap_node node = {0};
    struct heap h;

    heap_init(&h);
    heap_update(&h, &node, 1);
}

static void break_mem_free(void)
{
    char c;

    ASSERT(mem_live() == 0);
    mem_free(&c);
}

static void break_rand_below(void)
{
    ASSERT(rand_below(0) > 0);
}

static void break_utf8_encode(void)
{
    char out[4];

    text_utf8_encode(0xd800, out);
}

static const struct {
    const char *name; /* the function that should be named */
    void (*run)(void);
} promises[] = {
    {"break_plainly", break_plainly},
    {"break_unreachable", break_unreachable},
    {"str_head", break_str_head},
    {"str_skip", break_str_skip},
    {"buf_consume", break_buf_consume},
    {"buf_commit", break_buf_commit},
    {"buf_release", break_buf_release},
    {"buf_init", break_buf_init},
    {"heap_push", break_heap_push},
    {"heap_update", break_heap_update},
    {"mem_free", break_mem_free},
    {"rand_below", break_rand_below},
    {"text_utf8_encode", break_utf8_encode},
};

/* Runs it in a child; what the child wrote stands in out. Returns the signal that ended it. */
static int run_in_child(void (*run)(void), char *out, size_t max)
{
    int ends[2], status;
    size_t n = 0;
    ssize_t got;
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        doing = "trying the promise";
        run();
        _exit(0);
    }
    close(ends[1]);
    while (n < max - 1 && (got = read(ends[0], out + n, max - 1 - n)) > 0)
        n += (size_t)got;
    out[n] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_promises(void **state)
{
    char said[8192], in[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(promises); i++) {
        assert_int_equal(run_in_child(promises[i].run, said, sizeof(said)), SIGABRT);
        snprintf(in, sizeof(in), " in %s\n", promises[i].name);
        if (!strstr(said, in) || !strstr(said, "assertion failed: "))
            fail_msg("%s: said %s", promises[i].name, said);
        assert_non_null(strstr(said, "while: trying the promise\n"));
        assert_non_null(strstr(said, "[0x")); /* a frame of the backtrace */
    }
}

static void test_list(void **state)
{
    struct list head, a, b, c;
    struct list *order[] = {&c, &a, &b};
    size_t n = 0;

    (void)state;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_pop(&head));
    list_push(&head, &a);
    list_push(&head, &b);
    list_push_front(&head, &c);
    list_each (it, &head)
        assert_ptr_equal(it, order[n++]);
    assert_int_equal(n, 3);
    list_remove(&a);
    list_remove(&a);
    assert_true(list_empty(&a));
    list_each_safe (it, &head)
        list_remove(it);
    assert_true(list_empty(&head));
    list_push(&head, &b);
    assert_ptr_equal(list_pop(&head), &b);
    assert_null(list_pop(&head));
}

static void test_macros(void **state)
{
    struct {
        int first;
        struct list node;
    } owner;

    (void)state;
    assert_ptr_equal(CONTAINER_OF(&owner.node, __typeof__(owner), node), &owner);
    assert_int_equal(size_min(1, 2), 1);
    assert_int_equal(size_max(1, 2), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promises),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_macros),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
