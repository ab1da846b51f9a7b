/* test_limit.c - rates, budgets and leases: exact bounds on a virtual clock, settling, all or nothing,
 * and many processes at once, some of which die.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "policy/limit.h"

enum { MINUTE = 60 * 1000 * 1000 };

static const struct limit_clock zero = {.now_us = 1000 * (uint64_t)MINUTE,
                                        .wall_us = UINT64_C(1795348812000000)};

static struct limit_clock after(uint64_t us)
{
    return (struct limit_clock){zero.now_us + us, zero.wall_us + us};
}

static struct limit_item rate(const char *what, uint64_t limit, uint64_t cost)
{
    return (struct limit_item){.kind = LIMIT_RATE,
                               .key = limit_key(limit_id(str_c(what)), 0),
                               .limit = limit,
                               .period_us = MINUTE,
                               .cost = cost};
}

static struct limit_item of_kind(enum limit_kind kind, const char *what, uint64_t limit,
                                 uint64_t cost)
{
    return (struct limit_item){
        .kind = kind, .key = limit_key(limit_id(str_c(what)), 1), .limit = limit, .cost = cost};
}

static bool take_it(struct limits *l, struct limit_item *it, uint64_t at_us, struct limit_result *r)
{
    struct limit_clock c = after(at_us);
    struct limit_result unused;
    return limits_take(l, it, 1, &c, 0, r ? r : &unused);
}

static bool take(struct limits *l, struct limit_item it, uint64_t at_us, struct limit_result *r)
{
    return take_it(l, &it, at_us, r);
}

static void test_rate(void **state)
{
    (void)state;
    struct limits *l = limits_new(64);
    struct limit_result r;
    for (int i = 0; i < 60; i++) {
        assert_true(take(l, rate("rpm", 60, 1), 0, &r));
        assert_int_equal(r.remaining, 59 - i);
        assert_int_equal(r.reset_us, (i + 1) * 1000000);
    }
    assert_false(take(l, rate("rpm", 60, 1), 0, &r));
    assert_int_equal(r.remaining, 0);
    assert_int_equal(r.retry_us, 1000000);
    assert_false(take(l, rate("rpm", 60, 1), 999999, &r));
    assert_int_equal(r.retry_us, 1);
    assert_true(take(l, rate("rpm", 60, 1), 1000000, &r)); /* exactly when it said */
    assert_false(take(l, rate("rpm", 60, 1), 1000000, &r));
    assert_true(take(l, rate("tpm", 60, 1), 0, &r)); /* another value */
    limits_free(l);
}

static void settle(struct limits *l, struct limit_item it, uint64_t actual, uint64_t at_us)
{
    struct limit_clock c = after(at_us);
    limits_settle(l, &it, 1, &actual, &c, 0);
}

static void test_settling(void **state)
{
    (void)state;
    struct limits *l = limits_new(64);
    struct limit_result r;
    struct limit_item first = rate("tpm", 1000, 900), second = first;
    assert_true(take_it(l, &first, 0, &r));
    assert_false(take(l, rate("tpm", 1000, 200), 0, &r));
    settle(l, first, 100, 0); /* less: given back */
    assert_true(take_it(l, &second, 0, &r));
    assert_int_equal(r.remaining, 0);
    settle(l, second, 2900, 0); /* more: a debt of two minutes */
    assert_false(take(l, rate("tpm", 1000, 1), 2 * (uint64_t)MINUTE, &r));
    assert_true(take(l, rate("tpm", 1000, 1), 2 * (uint64_t)MINUTE + 60000, &r));
    limits_free(l);
}

/* What time has paid of a reservation is not given back: it would come on top of a whole burst. */
static void test_settling_late(void **state)
{
    (void)state;
    struct limits *l = limits_new(64);
    struct limit_result r;
    struct limit_item early = rate("tpm", 1000, 900), half = early, full = rate("tpm", 1000, 1000);
    assert_true(take_it(l, &early, 0, &r));
    assert_true(take_it(l, &full, MINUTE, &r));
    settle(l, early, 0, MINUTE); /* all of it has been paid meanwhile */
    assert_false(take(l, rate("tpm", 1000, 1), MINUTE, &r));
    settle(l, full, 1000, MINUTE);
    assert_true(take_it(l, &half, 2 * (uint64_t)MINUTE, &r));
    settle(l, half, 0, 2 * (uint64_t)MINUTE + MINUTE / 2); /* of 900, 500 have been paid */
    assert_true(take(l, rate("tpm", 1000, 1), 2 * (uint64_t)MINUTE + MINUTE / 2, &r));
    assert_int_equal(r.remaining, 999);
    limits_free(l);
}

/* One that is given back moves up those behind it. */
static void test_settling_in_line(void **state)
{
    (void)state;
    struct limits *l = limits_new(64);
    struct limit_result r;
    struct limit_item a = rate("tpm", 1000, 400), b = a, c = rate("tpm", 1000, 100);
    assert_true(take_it(l, &a, 0, &r) && take_it(l, &b, 0, &r) && take_it(l, &c, 0, &r));
    settle(l, a, 0, 0);          /* b is paid from now on, c after 24 s */
    settle(l, b, 0, MINUTE / 5); /* 200 of it were */
    assert_true(take(l, rate("tpm", 1000, 0), MINUTE / 5, &r));
    assert_int_equal(r.remaining, 900);
    settle(l, c, 0, MINUTE / 5); /* it stands last, and nothing of it is paid */
    assert_true(take(l, rate("tpm", 1000, 0), MINUTE / 5, &r));
    assert_in_range(r.remaining, 900,
                    1000); /* not all: b may have been behind it, for all it knows */
    limits_free(l);
}

/* Larger than the limit: when nothing is owed, and then for as long as it costs. */
static void test_larger_than_the_burst(void **state)
{
    (void)state;
    struct limits *l = limits_new(64);
    assert_true(take(l, rate("tpm", 1000, 5000), 0, NULL));
    assert_false(take(l, rate("tpm", 1000, 5000), 4 * (uint64_t)MINUTE, NULL));
    assert_true(take(l, rate("tpm", 1000, 5000), 5 * (uint64_t)MINUTE, NULL));
    limits_free(l);
}

/* For any limit: in t, never more than burst + t * rate; and never less when it is asked for. */
static void test_rate_bounds(void **state)
{
    (void)state;
    static const uint64_t limit_values[] = {1, 3, 7, 60, 61, 999, 100000, 150000000};
    for (size_t i = 0; i < ARRAY_LEN(limit_values); i++) {
        struct limits *l = limits_new(64);
        uint64_t limit = limit_values[i], admitted = 0, seed = 88172645463325252u, t = 0;
        for (int n = 0; n < 20000; n++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            t += seed % 5000;
            uint64_t cost = 1 + seed / 5000 % (limit / 20 + 1);
            admitted += take(l, rate("x", limit, cost), t, NULL) ? cost : 0;
            __uint128_t allowed = limit + (__uint128_t)t * limit / MINUTE;
            assert_true(admitted <= allowed);
        }
        /* after a pause all of it is there */
        t += MINUTE;
        for (uint64_t n = 0; n < (limit < 1000 ? limit : 10); n++)
            assert_true(take(l, rate("x", limit, limit < 1000 ? 1 : limit / 10), t, NULL));
        limits_free(l);
    }
}

static void test_budget(void **state)
{
    (void)state;
    struct limits *l = limits_new(64);
    struct limit_result r;
    struct limit_item day = of_kind(LIMIT_DAY, "day", 100, 0);
    struct limit_item month = of_kind(LIMIT_MONTH, "month", 1000, 0);
    assert_true(take(l, day, 0, &r));
    settle(l, day, 99, 0);
    assert_true(take(l, day, 0, &r));
    assert_int_equal(r.remaining, 1);
    settle(l, day, 50, 0); /* overdrawn */
    assert_false(take(l, day, 0, &r));
    /* the clock stands at 12:00:12; midnight is the end of it */
    assert_int_equal(r.retry_us, (uint64_t)(12 * 3600 - 12) * 1000000);
    assert_true(take(l, day, r.retry_us, &r));
    assert_int_equal(r.remaining, 100);
    settle(l, month, 1000, 0);
    assert_false(take(l, month, 0, &r));
    assert_int_equal(r.retry_us, ((uint64_t)(8 * 86400 + 12 * 3600) - 12) * 1000000);
    assert_true(take(l, month, r.retry_us, &r));
    limits_free(l);
}

/* Every day of sixty years, beside the library's calendar. */
static void test_months(void **state)
{
    (void)state;
    struct limits *l = limits_new(64);
    struct limit_item it = of_kind(LIMIT_MONTH, "month", 1, 1);
    int month = -1;
    for (time_t day = 20000; day < 20000 + 60 * 366; day++) {
        struct limit_clock c = {.wall_us = (uint64_t)day * 86400 * 1000000};
        struct limit_result r;
        struct tm tm;
        time_t t = day * 86400;
        assert_non_null(gmtime_r(&t, &tm));
        assert_int_equal(limits_take(l, &it, 1, &c, 0, &r), tm.tm_mon != month);
        month = tm.tm_mon;
    }
    limits_free(l);
}

static void test_lease(void **state)
{
    (void)state;
    struct limits *l = limits_new(64);
    struct limit_item it = of_kind(LIMIT_LEASE, "open", 2, 1);
    struct limit_result r;
    uint64_t none = 0;
    assert_true(limits_take(l, &it, 1, &zero, 3, &r));
    assert_true(limits_take(l, &it, 1, &zero, 4, &r));
    assert_false(limits_take(l, &it, 1, &zero, 3, &r));
    limits_settle(l, &it, 1, &none, &zero, 3);
    assert_true(limits_take(l, &it, 1, &zero, 4, &r));
    assert_false(limits_take(l, &it, 1, &zero, 4, &r));
    limits_bury(l, 4); /* it died with two */
    assert_true(limits_take(l, &it, 1, &zero, 5, &r));
    assert_true(limits_take(l, &it, 1, &zero, 5, &r));
    assert_false(limits_take(l, &it, 1, &zero, 5, &r));
    limits_free(l);
}

/* When the last of several does not fit, the others are as before. */
static void test_all_or_nothing(void **state)
{
    (void)state;
    struct limits *l = limits_new(64);
    struct limit_result r[3];
    struct limit_item items[3] = {rate("rpm", 10, 1), rate("tpm", 1000, 500),
                                  of_kind(LIMIT_LEASE, "open", 1, 1)};
    uint64_t actual[3] = {1, 0, 0};
    assert_true(limits_take(l, items, 3, &zero, 0, r));
    for (int i = 0; i < 100; i++) {
        assert_false(limits_take(l, items, 3, &zero, 0, r));
        assert_true(r[0].fits && r[1].fits && !r[2].fits);
        assert_int_equal(r[0].remaining, 9); /* and say so */
        assert_int_equal(r[1].remaining, 500);
    }
    limits_settle(l, items, 3, actual, &zero, 0);
    assert_true(limits_take(l, items, 3, &zero, 0, r));
    assert_int_equal(r[0].remaining, 8);
    assert_int_equal(r[1].remaining, 500);
    limits_free(l);
}

/* What stands behind the one that does not fit is told as well. */
static void test_first_of_several(void **state)
{
    (void)state;
    struct limits *l = limits_new(64);
    struct limit_result r[3];
    struct limit_item items[3] = {rate("rpm", 1, 1), rate("tpm", 1000, 400),
                                  of_kind(LIMIT_DAY, "d", 900, 400)};
    assert_true(limits_take(l, items, 3, &zero, 0, r));
    assert_false(limits_take(l, items, 3, &zero, 0, r));
    assert_true(!r[0].fits && r[1].fits && r[2].fits);
    assert_int_equal(r[1].remaining, 600);
    assert_int_equal(r[2].remaining, 500);
    assert_true(r[0].retry_us > 0 && r[1].retry_us == 0);
    limits_free(l);
}

static void test_full_table(void **state)
{
    (void)state;
    struct limits *l = limits_new(64);
    char name[16];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof(name), "c%d", i);
        assert_true(take(l, rate(name, 5, 1), 0, NULL));
    }
    limits_free(l);
}

static void test_learning(void **state)
{
    (void)state;
    struct limits *l = limits_new(64);
    uint64_t key = limit_key(limit_id(STR("output")), 1), seed = 1;
    assert_int_equal(limits_learnt(l, key, 1000), 1000);
    for (int i = 0; i < 5000; i++) { /* evenly up to 2000: nine of ten are below 1800 */
        seed = seed * 6364136223846793005 + 1442695040888963407;
        limits_learn(l, key, 1000, (seed >> 33) % 2000);
    }
    assert_in_range(limits_learnt(l, key, 1000), 1500, 2100);
    limits_free(l);
}

/* Processes on one clock that jumps: together they admit what one would, leases never exceed their
 * limit, and after some have died in the middle nothing is held. */
static void test_processes(void **state)
{
    (void)state;

    enum { WORKERS = 4, ROUNDS = 5000, RPM = 600, AT_ONCE = 5 };

    struct shared {
        _Atomic uint64_t now, admitted, most;
        _Atomic int64_t open;
    } *s = mem_share(sizeof(*s));
    struct limits *l = limits_new(64);
    for (unsigned w = 0; w < WORKERS; w++) {
        if (fork() != 0)
            continue;
        uint64_t seed = w + 1;
        for (int i = 0; i < ROUNDS; i++) {
            struct limit_clock c = after(atomic_fetch_add(&s->now, 1000));
            struct limit_result r[2];
            struct limit_item items[2] = {rate("rpm", RPM, 1),
                                          of_kind(LIMIT_LEASE, "open", AT_ONCE, 1)};
            uint64_t actual[2] = {1, 0};
            seed = seed * 6364136223846793005 + 1442695040888963407;
            if (!limits_take(l, items, 2, &c, w, r))
                continue;
            atomic_fetch_add(&s->admitted, 1);
            uint64_t open = (uint64_t)atomic_fetch_add(&s->open, 1) + 1;
            if (open > atomic_load(&s->most))
                atomic_store(&s->most, open);
            if (w == 0 && i > ROUNDS / 2 && seed >> 60 == 0)
                _exit(0); /* while it holds one */
            atomic_fetch_sub(&s->open, 1);
            limits_settle(l, items, 2, actual, &c, w);
        }
        _exit(0);
    }
    for (int w = 0; w < WORKERS; w++)
        (void)wait(NULL);
    uint64_t t = atomic_load(&s->now);
    assert_true(atomic_load(&s->admitted) <= RPM + (t * RPM + MINUTE - 1) / MINUTE);
    assert_true(atomic_load(&s->admitted) >= RPM);
    assert_true(atomic_load(&s->most) <= AT_ONCE);
    limits_bury(l, 0);
    struct limit_item it = of_kind(LIMIT_LEASE, "open", AT_ONCE, 1);
    struct limit_result r;
    for (int i = 0; i < AT_ONCE; i++)
        assert_true(limits_take(l, &it, 1, &zero, 9, &r));
    assert_false(limits_take(l, &it, 1, &zero, 9, &r));
    limits_free(l);
    mem_unshare(s, sizeof(*s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_settling),
        cmocka_unit_test(test_settling_late),
        cmocka_unit_test(test_settling_in_line),
        cmocka_unit_test(test_months),
        cmocka_unit_test(test_larger_than_the_burst),
        cmocka_unit_test(test_rate_bounds),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_lease),
        cmocka_unit_test(test_all_or_nothing),
        cmocka_unit_test(test_first_of_several),
        cmocka_unit_test(test_full_table),
        cmocka_unit_test(test_learning),
        cmocka_unit_test(test_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
