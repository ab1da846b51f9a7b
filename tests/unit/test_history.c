/* test_history.c - what happened lately, on a clock of our own; and quantiles of histograms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "obs/history.h"

static const uint64_t second = 1000 * 1000, start = 1000 * (uint64_t)1000 * 1000;

static struct history *h;
static struct sample *now, *window;

static int begin(void **state)
{
    (void)state;
    h = history_new(start);
    now = mem_zalloc(sizeof(*now));
    window = mem_zalloc(sizeof(*window));
    return 0;
}

static int end(void **state)
{
    (void)state;
    history_free(h);
    mem_free(now);
    mem_free(window);
    assert_int_equal(mem_live(), 0);
    return 0;
}

/* One request a second, two tokens each, of the first client; sampled every five. */
static void pass(uint64_t seconds)
{
    for (uint64_t i = 1; i <= seconds; i++) {
        now->at_us = now->at_us ? now->at_us + second : start + second;
        now->node.requests++;
        now->node.tokens[1] += 2;
        now->clients[1].requests++;
        if ((now->at_us - start) / second % 5 == 0)
            history_add(h, now, 2);
    }
}

/* A window is as long as asked for, or up to one step longer. */
static void assert_window(uint64_t seconds, uint64_t step)
{
    history_since(h, now, seconds * second, window);
    uint64_t long_s = window->at_us / second;
    assert_true(long_s >= seconds && long_s < seconds + step);
    assert_int_equal(window->node.requests, long_s);
    assert_int_equal(window->node.tokens[1], 2 * long_s);
    assert_int_equal(window->clients[1].requests, long_s);
}

static void test_young(void **state)
{
    (void)state;
    pass(3);
    history_since(h, now, 60 * second, window);
    assert_int_equal(window->at_us, 3 * second);
    assert_int_equal(window->node.requests, 3);
    history_since(h, now, 0, window);
    assert_int_equal(window->node.requests, 3);
}

static void test_windows(void **state)
{
    (void)state;
    pass(3 * 3600 + 17);
    assert_window(60, 5);
    assert_window(300, 5);
    assert_window(3600, 60);
    history_since(h, now, 0, window);
    assert_int_equal(window->node.requests, 3 * 3600 + 17);
}

/* Nobody came for an hour: windows are empty, the total is not. */
static void test_quiet(void **state)
{
    (void)state;
    pass(100);
    for (unsigned i = 0; i < 3600 / 5; i++) {
        now->at_us += 5 * second;
        history_add(h, now, 2);
    }
    history_since(h, now, 300 * second, window);
    assert_int_equal(window->node.requests, 0);
    history_since(h, now, 0, window);
    assert_int_equal(window->node.requests, 100);
}

static void test_points(void **state)
{
    struct history_point *points = mem_alloc(HISTORY_SLOTS * sizeof(*points));
    (void)state;
    pass(1000);
    unsigned n = history_points(h, HISTORY_MINUTES, points);
    assert_int_equal(n, HISTORY_SLOTS);
    for (unsigned i = 1; i < n; i++) {
        assert_int_equal(points[i].at_us - points[i - 1].at_us, 5 * second);
        assert_int_equal(points[i].node.requests - points[i - 1].node.requests, 5);
    }
    mem_free(points);
}

/* Even within a bucket, as Prometheus' histogram_quantile has it; 0 without values. */
static void test_quantiles(void **state)
{
    uint64_t cells[METRICS_CELLS_MAX] = {0};
    (void)state;
    assert_int_equal(metrics_quantile(METRIC_SPEED, cells, 500), 0);
    cells[1] = 10; /* 5 to 10 */
    assert_int_equal(metrics_quantile(METRIC_SPEED, cells, 500), 7);
    assert_int_equal(metrics_quantile(METRIC_SPEED, cells, 1000), 10);
    cells[3] = 10; /* 20 to 30 */
    assert_int_equal(metrics_quantile(METRIC_SPEED, cells, 500), 10);
    assert_int_equal(metrics_quantile(METRIC_SPEED, cells, 750), 25);
    cells[14] = 80; /* above 1000 */
    assert_int_equal(metrics_quantile(METRIC_SPEED, cells, 990), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_young, begin, end),
        cmocka_unit_test_setup_teardown(test_windows, begin, end),
        cmocka_unit_test_setup_teardown(test_quiet, begin, end),
        cmocka_unit_test_setup_teardown(test_points, begin, end),
        cmocka_unit_test_setup_teardown(test_quantiles, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
