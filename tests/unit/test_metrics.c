/* test_metrics.c - series over processes, and the page that they make. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "obs/metrics.h"

enum { PAGE_MAX = 16 * 1024 * 1024 };

static struct metrics *m;

static int begin(void **state)
{
    (void)state;
    m = metrics_new();
    for (unsigned shard = 0; shard < 4; shard++)
        metrics_join(m, shard);
    return 0;
}

static int end(void **state)
{
    (void)state;
    metrics_free(m);
    assert_int_equal(mem_live(), 0);
    return 0;
}

/* The page, in pieces of so many series. */
static struct buf page(bool openmetrics, unsigned most)
{
    struct metrics_cursor at = {.openmetrics = openmetrics};
    struct buf b;
    buf_init(&b, PAGE_MAX);
    while (metrics_write(m, &at, most, &b))
        ;
    return b;
}

static bool says(struct str text, const char *line)
{
    size_t at = str_find_str(text, str_c(line));
    return at < text.n && (at == 0 || text.p[at - 1] == '\n');
}

static void assert_says(bool openmetrics, const char *line, bool wanted)
{
    struct buf b = page(openmetrics, 1000);
    if (says(buf_str(&b), line) != wanted)
        fail_msg("%s: %s", wanted ? "missing" : "unwanted", line);
    buf_done(&b);
}

static void test_values(void **state)
{
    (void)state;
    assert_int_equal(metrics_find(m, LABEL_MODEL, STR("a")), 0);
    assert_int_equal(metrics_value(m, LABEL_MODEL, STR("a")), 1);
    assert_int_equal(metrics_value(m, LABEL_MODEL, STR("b")), 2);
    assert_int_equal(metrics_value(m, LABEL_MODEL, STR("a")), 1);
    assert_int_equal(metrics_find(m, LABEL_MODEL, STR("b")), 2);
    assert_int_equal(metrics_find(m, LABEL_CLIENT, STR("b")), 0);
    assert_int_equal(metrics_values(m, LABEL_MODEL), 3);
    assert_true(str_eq(metrics_name(m, LABEL_MODEL, 2), STR("b")));
    assert_true(str_eq(metrics_name(m, LABEL_MODEL, 0), STR("other")));
}

/* What has no room any more, or is too long, is "other"; what was there stays. */
static void test_values_full(void **state)
{
    char name[80];
    unsigned i = 0, value;
    (void)state;
    do {
        int n = snprintf(name, sizeof(name), "client-%u", ++i);
        value = metrics_value(m, LABEL_CLIENT, str_of(name, (size_t)n));
        assert_true(value == i || value == 0);
    } while (value);
    assert_int_equal(i, metrics_values(m, LABEL_CLIENT));
    assert_int_equal(metrics_find(m, LABEL_CLIENT, STR("client-1")), 1);
    memset(name, 'x', sizeof(name));
    assert_int_equal(metrics_value(m, LABEL_MODEL, str_of(name, sizeof(name))), 0);
}

static void test_sums(void **state)
{
    const struct meter one = {m, 1}, two = {m, 2};
    (void)state;
    metrics_add(&one, METRIC_TOKENS, 1, 0, 0, 5);
    metrics_add(&two, METRIC_TOKENS, 1, 0, 0, 7);
    metrics_add(&two, METRIC_TOKENS, 2, 0, 0, 1);
    metrics_set(&one, METRIC_ACTIVE, 0, 3);
    metrics_set(&two, METRIC_ACTIVE, 0, 4);
    assert_int_equal(metrics_sum(m, METRIC_TOKENS, 1, 0, 0), 12);
    assert_int_equal(metrics_total(m, METRIC_TOKENS), 13);
    assert_int_equal(metrics_total(m, METRIC_ACTIVE), 7);
    metrics_bury(m, 1);
    assert_int_equal(metrics_total(m, METRIC_ACTIVE), 4);
    assert_int_equal(metrics_total(m, METRIC_TOKENS), 13);
}

static void test_page(void **state)
{
    const struct meter t = {m, 1};
    (void)state;
    unsigned odd = metrics_value(m, LABEL_CLIENT, STR("a\"b\\c\nd"));
    unsigned input = metrics_value(m, LABEL_TOKENS, STR("input"));
    metrics_add(&t, METRIC_CLIENT_TOKENS, odd, input, 0, 17);
    metrics_add(&t, METRIC_COST, 0, 0, 0, 1350);
    assert_says(false, "# TYPE ccproxy_client_tokens_total counter\n", true);
    assert_says(
        false, "ccproxy_client_tokens_total{client=\"a\\\"b\\\\c\\nd\",type=\"input\"} 17\n", true);
    assert_says(false, "ccproxy_cost_usd_total{model=\"other\"} 0.00135\n", true);
    assert_says(false, "ccproxy_active_requests 0\n", true);
    assert_says(false, "ccproxy_errors_total{", false);
    assert_says(false, "# EOF\n", false);
    assert_says(true, "# TYPE ccproxy_client_tokens counter\n", true);
    assert_says(true, "# EOF\n", true);
}

static void test_histogram(void **state)
{
    static const uint64_t values[] = {0, 50, 51, 1000000, 1000001, 7000000};
    const struct meter t = {m, 1};
    (void)state;
    assert_says(false, "ccproxy_overhead_seconds_bucket{", false);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        metrics_observe(&t, METRIC_OVERHEAD, 0, values[i]);
    assert_says(false, "ccproxy_overhead_seconds_bucket{endpoint=\"other\",le=\"0.00005\"} 2\n",
                true);
    assert_says(false, "ccproxy_overhead_seconds_bucket{endpoint=\"other\",le=\"0.0001\"} 3\n",
                true);
    assert_says(false, "ccproxy_overhead_seconds_bucket{endpoint=\"other\",le=\"1.0\"} 4\n", true);
    assert_says(false, "ccproxy_overhead_seconds_bucket{endpoint=\"other\",le=\"+Inf\"} 6\n", true);
    assert_says(false, "ccproxy_overhead_seconds_sum{endpoint=\"other\"} 9.000102\n", true);
    assert_says(false, "ccproxy_overhead_seconds_count{endpoint=\"other\"} 6\n", true);
}

static uint64_t wall_us;

static uint64_t fixed_wall(void)
{
    return wall_us;
}

static void pass_to(uint64_t us)
{
    wall_us = us;
    clock_set_source(NULL, fixed_wall);
    clock_refresh();
}

/* The latest one of a bucket, for OpenMetrics only. */
static void test_examples(void **state)
{
    static const char trace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
    const struct meter one = {m, 1}, two = {m, 2};
    (void)state;
    pass_to(UINT64_C(1795415820240000));
    metrics_observe_traced(&one, METRIC_DURATION, 0, 7000, STR("00000000000000000000000000000001"));
    pass_to(UINT64_C(1795415820250000));
    metrics_observe_traced(&two, METRIC_DURATION, 0, 8000, str_of(trace, 32));
    clock_set_source(NULL, NULL);
    clock_refresh();
    assert_says(true,
                "ccproxy_request_duration_seconds_bucket{endpoint=\"other\",le=\"0.01\"} 2 # "
                "{trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"} 0.008 1795415820.25\n",
                true);
    assert_says(
        false, "ccproxy_request_duration_seconds_bucket{endpoint=\"other\",le=\"0.01\"} 2\n", true);
    assert_says(true, "ccproxy_request_duration_seconds_bucket{endpoint=\"other\",le=\"0.02\"} 2\n",
                true);
}

/* The page is the same however it is cut, and says how many series it has. */
static void test_pieces(void **state)
{
    const struct meter t = {m, 3};
    (void)state;
    metrics_value(m, LABEL_MODEL, STR("a"));
    metrics_add(&t, METRIC_TOKENS, 0, 1, 0, 1);
    metrics_observe(&t, METRIC_SPEED, 1, 33);
    struct buf whole = page(false, UINT32_MAX), cut = page(false, 1);
    assert_true(str_eq(buf_str(&whole), buf_str(&cut)));
    struct str rest = buf_str(&whole), line;
    unsigned series = 0;
    while (str_split(&rest, '\n', &line))
        series += line.n > 0 && line.p[0] != '#' &&
                  (str_find_str(line, STR("_bucket")) == line.n &&
                   str_find_str(line, STR("_sum{")) == line.n);
    char said[64];
    (void)snprintf(said, sizeof(said), "ccproxy_metric_series %u\n", series);
    assert_true(says(buf_str(&whole), said));
    buf_done(&whole);
    buf_done(&cut);
}

/* Four processes count, each in its shard, while names are added and the page is read. */
static void test_processes(void **state)
{
    enum { PROCESSES = 4, EACH = 200000 };

    pid_t pids[PROCESSES];
    (void)state;
    for (unsigned i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            const struct meter t = {m, i};
            for (unsigned n = 0; n < EACH; n++) {
                metrics_add(&t, METRIC_TOKENS, n % 3, metrics_find(m, LABEL_MODEL, STR("late")), 0,
                            1);
                metrics_observe(&t, METRIC_BETWEEN, 0, n);
            }
            _exit(0);
        }
    }
    for (unsigned i = 0; i < 20; i++) {
        struct buf b = page(false, 1000);
        metrics_value(m, LABEL_MODEL, i == 10 ? STR("late") : STR("early"));
        buf_done(&b);
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(metrics_total(m, METRIC_TOKENS), PROCESSES * EACH);
    assert_says(false, "ccproxy_inter_token_latency_seconds_count{model=\"other\"} 800000\n", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, begin, end),
        cmocka_unit_test_setup_teardown(test_values_full, begin, end),
        cmocka_unit_test_setup_teardown(test_sums, begin, end),
        cmocka_unit_test_setup_teardown(test_page, begin, end),
        cmocka_unit_test_setup_teardown(test_histogram, begin, end),
        cmocka_unit_test_setup_teardown(test_examples, begin, end),
        cmocka_unit_test_setup_teardown(test_pieces, begin, end),
        cmocka_unit_test_setup_teardown(test_processes, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
