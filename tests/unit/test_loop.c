/* test_loop.c - the loop's order, its timers on a clock that only the test moves, and what happens
 * to events, timers and deferred calls that are taken back from inside callbacks. */
#include "io/loop.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/sys.h"

static uint64_t now_us;
static struct loop *loop;
static char trace[64]; /* what ran, in order */

static uint64_t fake_clock(void)
{
    return now_us;
}

static void note(char c)
{
    size_t n = strlen(trace);

    assert_true(n + 1 < sizeof(trace));
    trace[n] = c;
}

static int setup(void **state)
{
    (void)state;
    now_us = 1000 * 1000;
    clock_set_source(fake_clock, fake_clock);
    clock_refresh();
    memset(trace, 0, sizeof(trace));
    loop = loop_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(loop);
    clock_set_source(NULL, NULL);
    assert_int_equal(mem_live(), 0);
    return 0;
}

/* --- timers --- */

struct named_timer {
    struct timer timer;
    struct timer *stops, *sets;
    char name;
};

static void on_timer(struct timer *t)
{
    struct named_timer *n = CONTAINER_OF(t, struct named_timer, timer);

    assert_true(clock_us() >= t->node.key);
    assert_false(timer_is_set(t));
    note(n->name);
    if (n->stops)
        timer_stop(loop, n->stops);
    if (n->sets)
        timer_after(loop, n->sets, 0);
}

static struct named_timer named(char name)
{
    struct named_timer n = {.name = name};

    timer_init(&n.timer, "test", on_timer);
    return n;
}

static void advance(uint64_t us)
{
    now_us += us;
    loop_turn(loop, 0);
}

static void test_timers_in_order(void **state)
{
    struct named_timer a = named('a'), b = named('b'), c = named('c');

    (void)state;
    timer_after(loop, &a.timer, 300);
    timer_after(loop, &b.timer, 100);
    timer_after(loop, &c.timer, 200);
    advance(99);
    assert_string_equal(trace, "");
    advance(1);
    assert_string_equal(trace, "b");
    advance(1000);
    assert_string_equal(trace, "bca");
}

static void test_timer_moves_and_stops(void **state)
{
    struct named_timer a = named('a'), b = named('b');

    (void)state;
    timer_after(loop, &a.timer, 100);
    timer_after(loop, &b.timer, 200);
    timer_after(loop, &a.timer, 300);
    advance(250);
    assert_string_equal(trace, "b");
    timer_stop(loop, &a.timer);
    timer_stop(loop, &a.timer);
    advance(1000);
    assert_string_equal(trace, "b");
    timer_after(loop, &a.timer, UINT64_MAX);
    assert_true(a.timer.node.key == UINT64_MAX);
}

static void test_timer_stops_another(void **state)
{
    struct named_timer a = named('a'), b = named('b');

    (void)state;
    a.stops = &b.timer;
    timer_after(loop, &a.timer, 100);
    timer_after(loop, &b.timer, 100);
    advance(100);
    advance(100);
    assert_true(strcmp(trace, "a") == 0 || strcmp(trace, "ba") == 0);
}

static void test_timer_that_sets_itself_leaves_the_turn(void **state)
{
    struct named_timer a = named('a');

    (void)state;
    a.sets = &a.timer;
    timer_after(loop, &a.timer, 0);
    advance(0);
    assert_string_equal(trace, "a");
    advance(0);
    assert_string_equal(trace, "aa");
}

static void test_real_wait_ends_neither_early_nor_spinning(void **state)
{
    struct named_timer a = named('a');
    int turns = 0;

    (void)state;
    clock_set_source(NULL, NULL);
    clock_refresh();
    timer_after(loop, &a.timer, 1500);
    while (trace[0] == '\0') {
        loop_turn(loop, UINT64_MAX);
        turns++;
    }
    assert_in_range(turns, 1, 2);
}

/* --- deferred calls --- */

struct named_deferred {
    struct deferred deferred;
    struct deferred *defers, *cancels;
    char name;
};

static void on_deferred(struct deferred *d)
{
    struct named_deferred *n = CONTAINER_OF(d, struct named_deferred, deferred);

    note(n->name);
    if (n->defers)
        loop_defer(loop, n->defers);
    if (n->cancels)
        deferred_cancel(n->cancels);
}

static struct named_deferred named_deferred(char name)
{
    return (struct named_deferred){.name = name};
}

static void test_deferred_run_once_and_until_empty(void **state)
{
    struct named_deferred a = named_deferred('a'), b = named_deferred('b'), c = named_deferred('c');

    (void)state;
    deferred_init(&a.deferred, on_deferred);
    deferred_init(&b.deferred, on_deferred);
    deferred_init(&c.deferred, on_deferred);
    a.defers = &c.deferred;
    loop_defer(loop, &a.deferred);
    loop_defer(loop, &b.deferred);
    loop_defer(loop, &a.deferred);
    assert_string_equal(trace, "");
    loop_turn(loop, 0);
    assert_string_equal(trace, "abc");
    loop_turn(loop, 0);
    assert_string_equal(trace, "abc");
}

static void test_deferred_cancels_another(void **state)
{
    struct named_deferred a = named_deferred('a'), b = named_deferred('b');

    (void)state;
    deferred_init(&a.deferred, on_deferred);
    deferred_init(&b.deferred, on_deferred);
    a.cancels = &b.deferred;
    loop_defer(loop, &a.deferred);
    loop_defer(loop, &b.deferred);
    loop_turn(loop, 0);
    assert_string_equal(trace, "a");
    deferred_cancel(&b.deferred);
}

static void test_deferred_for_ever_leaves_the_turn(void **state)
{
    struct named_deferred a = named_deferred('a');

    (void)state;
    deferred_init(&a.deferred, on_deferred);
    a.defers = &a.deferred;
    loop_defer(loop, &a.deferred);
    loop_turn(loop, UINT64_MAX);
    assert_in_range(strlen(trace), 2, sizeof(trace) - 1);
    deferred_cancel(&a.deferred);
}

static void test_free_runs_what_is_deferred(void **state)
{
    struct named_deferred a = named_deferred('a');

    (void)state;
    deferred_init(&a.deferred, on_deferred);
    loop_defer(loop, &a.deferred);
    loop_free(loop);
    assert_string_equal(trace, "a");
    loop = loop_new();
}

/* --- descriptors --- */

struct end {
    struct io_watch watch;
    int fd;
    unsigned events;
    int calls;
    struct end *unwatches, *rewatches;
};

static void on_end(struct io_watch *w, unsigned events)
{
    struct end *e = CONTAINER_OF(w, struct end, watch);

    e->events |= events;
    e->calls++;
    note('e');
    if (e->unwatches)
        loop_unwatch(loop, &e->unwatches->watch);
    if (e->rewatches) {
        e->unwatches->watch.fd = e->rewatches->fd;
        assert_true(loop_watch(loop, &e->unwatches->watch));
    }
}

static void make_pair(struct end *a, struct end *b)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    *a = (struct end){.fd = fds[0], .watch = {.fd = fds[0], .fn = on_end, .name = "end"}};
    *b = (struct end){.fd = fds[1], .watch = {.fd = fds[1], .fn = on_end, .name = "end"}};
}

static void drop_pair(struct end *a, struct end *b)
{
    loop_unwatch(loop, &a->watch);
    loop_unwatch(loop, &b->watch);
    (void)sys_close(a->fd);
    (void)sys_close(b->fd);
}

static void test_edges(void **state)
{
    struct end a, b;

    (void)state;
    make_pair(&a, &b);
    assert_true(loop_watch(loop, &a.watch));
    b.watch.fd = -1;
    loop_turn(loop, 0);
    assert_int_equal(a.events, IO_WRITE);
    loop_turn(loop, 0);
    assert_int_equal(a.calls, 1);
    assert_int_equal(write(b.fd, "x", 1), 1);
    loop_turn(loop, 0);
    assert_int_equal(a.calls, 2);
    assert_true(a.events & IO_READ);
    loop_turn(loop, 0);
    assert_int_equal(a.calls, 2); /* not read, not told again */
    assert_int_equal(sys_shutdown_write(b.fd), 0);
    loop_turn(loop, 0);
    assert_true(a.events & IO_HUP);
    drop_pair(&a, &b);
}

static void test_level(void **state)
{
    struct end a, b;
    char c;

    (void)state;
    make_pair(&a, &b);
    assert_true(loop_watch_level(loop, &a.watch));
    b.watch.fd = -1;
    loop_turn(loop, 0);
    assert_int_equal(a.calls, 0);
    assert_int_equal(write(b.fd, "x", 1), 1);
    loop_turn(loop, 0);
    loop_turn(loop, 0);
    assert_int_equal(a.calls, 2);
    assert_int_equal(a.events, IO_READ);
    assert_int_equal(sys_recv(a.fd, &c, 1), 1);
    loop_turn(loop, 0);
    assert_int_equal(a.calls, 2);
    drop_pair(&a, &b);
}

/* Whichever is called first takes the other away; both had an event in this turn. */
static void test_unwatch_in_callback_drops_stale_event(void **state)
{
    struct end a, b;

    (void)state;
    make_pair(&a, &b);
    assert_true(loop_watch(loop, &a.watch) && loop_watch(loop, &b.watch));
    a.unwatches = &b;
    b.unwatches = &a;
    loop_turn(loop, 0);
    assert_int_equal(a.calls + b.calls, 1);
    assert_int_equal(a.calls ? b.watch.fd : a.watch.fd, -1);
    drop_pair(&a, &b);
}

/* The other watch gets a new descriptor; its old event must not come, the new one's comes later. */
static void test_rewatch_in_callback_gets_only_its_own_event(void **state)
{
    struct end a, b, c, d;

    (void)state;
    make_pair(&a, &b);
    make_pair(&c, &d);
    assert_true(loop_watch(loop, &a.watch) && loop_watch(loop, &b.watch));
    a.unwatches = &b;
    b.unwatches = &a;
    a.rewatches = b.rewatches = &c;
    c.watch.fd = d.watch.fd = -1;
    loop_turn(loop, 0);
    assert_int_equal(a.calls + b.calls, 1);
    a.unwatches = b.unwatches = a.rewatches = b.rewatches = NULL;
    loop_turn(loop, 0);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);
    drop_pair(&a, &b);
    drop_pair(&c, &d);
}

static void test_watch_failure(void **state)
{
    struct end a, b;

    (void)state;
    make_pair(&a, &b);
    drop_pair(&a, &b);
    a.watch.fd = a.fd;
    assert_false(loop_watch(loop, &a.watch));
    assert_int_equal(errno, EBADF);
    assert_int_equal(a.watch.fd, -1);
    loop_unwatch(loop, &a.watch);
}

/* --- the turn --- */

static void test_order_of_a_turn(void **state)
{
    struct named_deferred d = named_deferred('d');
    struct named_timer t = named('t');
    struct end a, b;

    (void)state;
    make_pair(&a, &b);
    b.watch.fd = -1;
    deferred_init(&d.deferred, on_deferred);
    loop_defer(loop, &d.deferred);
    timer_after(loop, &t.timer, 0);
    assert_true(loop_watch(loop, &a.watch));
    loop_turn(loop, UINT64_MAX);
    assert_string_equal(trace, "etd");
    drop_pair(&a, &b);
}

static void on_stop(struct timer *t)
{
    (void)t;
    note('s');
    loop_stop(loop);
}

static void test_run_until_stop(void **state)
{
    struct timer t;

    (void)state;
    timer_init(&t, "stop", on_stop);
    for (int i = 0; i < 2; i++) {
        timer_after(loop, &t, 0);
        loop_run(loop);
    }
    assert_string_equal(trace, "ss");
}

static const char *slow_name;
static uint64_t slow_us;

static void on_slow(const char *name, uint64_t us)
{
    slow_name = name;
    slow_us = us;
}

static void on_work(struct timer *t)
{
    (void)t;
    now_us += 20001;
}

static void test_watchdog_names_the_slow_one(void **state)
{
    struct named_timer quick = named('q');
    struct timer slow;

    (void)state;
    timer_init(&slow, "slow one", on_work);
    loop_set_watchdog(loop, 20000, on_slow);
    timer_after(loop, &quick.timer, 0);
    loop_turn(loop, 0);
    assert_null(slow_name);
    timer_after(loop, &slow, 0);
    loop_turn(loop, 0);
    assert_string_equal(slow_name, "slow one");
    assert_int_equal(slow_us, 20001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_timers_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_moves_and_stops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_stops_another, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_that_sets_itself_leaves_the_turn, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_real_wait_ends_neither_early_nor_spinning, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_deferred_run_once_and_until_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deferred_cancels_another, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deferred_for_ever_leaves_the_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_runs_what_is_deferred, setup, teardown),
        cmocka_unit_test_setup_teardown(test_edges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_level, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unwatch_in_callback_drops_stale_event, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_rewatch_in_callback_gets_only_its_own_event, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_watch_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_of_a_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_run_until_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watchdog_names_the_slow_one, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
