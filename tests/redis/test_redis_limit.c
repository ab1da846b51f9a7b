/* test_redis_limit.c - limits inside a real redis-server, held against a second opinion.
 *
 *   processes --admit, settle--> Redis            every decision, in the order of Redis' clock, must be
 *        \--- records ---> oracle (GCRA as TAT, in 128 bits)                  the one the oracle makes
 */
#include <time.h>

#include "server.h"
#include "store/redis_script.h"

enum { MINUTE_US = 60 * 1000 * 1000, PROCESSES = 4, REQUESTS = 600, DEPTH = 8 };

static struct server server;
static struct redis *redis;
static struct redis_limit *limits;

/* --- the second opinion --- */

__extension__ typedef __int128 wide;

struct oracle {
    wide tat; /* microseconds x limit */
    uint64_t limit, burst, period_us;
};

static wide later(wide a, wide b)
{
    return a > b ? a : b;
}

static bool oracle_admits(struct oracle *o, uint64_t now_us, uint64_t cost)
{
    wide now = (wide)now_us * o->limit;
    wide tat = later(now, o->tat) + (wide)cost * o->period_us;
    if (tat - now > (wide)o->burst * o->period_us)
        return false;
    o->tat = tat;
    return true;
}

static void oracle_settles(struct oracle *o, uint64_t now_us, int64_t change)
{
    wide now = (wide)now_us * o->limit;
    o->tat = later(now, later(now, o->tat) + (wide)change * o->period_us);
}

static uint64_t oracle_remaining(const struct oracle *o, uint64_t now_us)
{
    wide owed = later(0, o->tat - (wide)now_us * o->limit);
    wide room = (wide)o->burst * o->period_us - owed;
    return room > 0 ? (uint64_t)(room / o->period_us) : 0;
}

/* --- asking --- */

static struct redis_limit_answer got;
static int answers, nothings;

static void on_answer(void *ctx, const struct redis_limit_answer *a)
{
    (void)ctx;
    answers++;
    nothings += a == NULL;
    if (a)
        got = *a;
}

static struct redis_limit_item cell_of(const char *key, uint64_t limit, uint64_t burst,
                                       uint64_t cost)
{
    return (struct redis_limit_item){.kind = REDIS_LIMIT_CELL,
                                     .key = str_c(key),
                                     .limit = limit,
                                     .burst = burst,
                                     .period_us = MINUTE_US,
                                     .cost = cost};
}

static struct redis_limit_item lease_of(const char *key, uint64_t limit)
{
    return (struct redis_limit_item){.kind = REDIS_LIMIT_LEASE,
                                     .key = str_c(key),
                                     .limit = limit,
                                     .period_us = 600ull * 1000 * 1000};
}

static struct redis_limit_item budget_of(const char *key, uint64_t limit, uint64_t period_us,
                                         int64_t offset_s, uint64_t cost)
{
    return (struct redis_limit_item){.kind = REDIS_LIMIT_BUDGET,
                                     .key = str_c(key),
                                     .limit = limit,
                                     .period_us = period_us,
                                     .offset_s = offset_s,
                                     .cost = cost};
}

/* One admission, waited for; got is its answer. */
static bool admit(const struct redis_limit_item *items, size_t n)
{
    struct redis_limit_ticket t;
    redis_limit_ticket(&t);
    RUN_UNTIL(redis_is_up(redis));
    int before = answers;
    assert_non_null(redis_limit_admit(limits, &t, items, n, on_answer, NULL));
    RUN_UNTIL(answers > before);
    assert_int_equal(nothings, 0);
    return got.admitted;
}

static void settle(const struct redis_limit_ticket *t, const struct redis_limit_item *items,
                   size_t n, const uint64_t *actual)
{
    uint64_t before = redis_limit_stats(limits).settled;
    redis_limit_settle(limits, t, items, n, actual);
    RUN_UNTIL(redis_limit_stats(limits).settled > before);
}

static int open_client(const char *url)
{
    dns = dns_new(loop, NULL);
    redis = client_of(url, NULL, PATIENT_US);
    limits = redis_limit_new(loop, redis, STR(REDIS_LIMIT_PREFIX));
    return 0;
}

static void close_client(void)
{
    redis_limit_free(limits);
    redis_free(redis);
    dns_free(dns);
    redis = NULL;
    limits = NULL;
}

static int setup(void **state)
{
    (void)state;
    answers = nothings = 0;
    loop = loop_new();
    (void)open_client(server.url);
    (void)ask(redis, "FLUSHALL");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_client();
    loop_free(loop);
    assert_int_equal(mem_live(), 0);
    return 0;
}

/* --- one client --- */

static void test_all_or_nothing(void **state)
{
    const struct redis_limit_item items[] = {
        lease_of("c/at-once", 2),
        cell_of("c/requests", 60, 3, 1),
        budget_of("c/day", 1000, 86400ull * 1000 * 1000, 0, 400),
        cell_of("c/tokens", 100000, 100000, 10),
    };
    (void)state;
    assert_true(admit(items, 4));
    struct redis_limit_ticket first = got.ticket;
    assert_int_equal(got.n, 4);
    assert_int_equal(got.items[0].remaining, 1);
    assert_int_equal(got.items[1].remaining, 2);
    assert_in_range(got.items[1].reset_us, 1, 1000000);
    assert_int_equal(got.items[2].remaining, 600);
    assert_in_range(got.items[2].reset_us, 1, 86400ull * 1000 * 1000);
    assert_int_equal(got.items[3].remaining, 99990);
    assert_true(admit(items, 4));
    assert_int_equal(got.items[2].remaining, 200);
    assert_false(admit(items, 4)); /* there are no leases; of the day something is left */
    assert_false(got.items[0].fits);
    assert_true(got.items[1].fits);
    assert_true(got.items[2].fits);
    assert_true(got.items[3].fits);
    assert_true(got.items[3].remaining >= 99980); /* nothing was taken */
    assert_int_equal(got.items[2].remaining, 200);
    settle(&first, items, 4, (const uint64_t[]){0, 1, 600, 10});
    assert_false(admit(items, 4)); /* 600 + 400 of the day */
    assert_true(got.items[0].fits);
    assert_false(got.items[2].fits);
    assert_int_equal(got.items[2].remaining, 0);
    assert_in_range(got.items[2].retry_us, 1, 86400ull * 1000 * 1000);
}

static void test_refusal_says_when(void **state)
{
    const struct redis_limit_item items[] = {lease_of("l", 0), cell_of("c", 60, 2, 1)};
    (void)state;
    assert_true(admit(items, 2));
    uint64_t t0 = got.ticket.at_us;
    assert_true(admit(items, 2));
    assert_false(admit(items, 2));
    /* the third has room a second after the first */
    assert_int_equal(got.ticket.at_us + got.items[1].retry_us, t0 + 1000000);
    assert_int_equal(got.ticket.at_us + got.items[1].reset_us, t0 + 2000000);
}

static void test_settles_once(void **state)
{
    const struct redis_limit_item items[] = {lease_of("l", 1), cell_of("c", 1, 1000, 100)};
    const uint64_t actual[] = {0, 600};
    (void)state;
    assert_true(admit(items, 2));
    for (int i = 0; i < 3; i++)
        settle(&got.ticket, items, 2, actual);
    assert_true(admit(items, 2));
    assert_int_equal(got.items[1].remaining, 300);
    settle(&got.ticket, items, 2, (const uint64_t[]){0, 0});
    const struct redis_limit_item look[] = {lease_of("l", 1), cell_of("c", 1, 1000, 0)};
    assert_true(admit(look, 2));
    assert_int_equal(got.items[1].remaining, 400);
}

/* What time has paid of a reservation is not given back, and one that is moves up those behind it. */
static void test_settles_late(void **state)
{
    struct redis_limit_item items[] = {lease_of("l", 0), cell_of("c", 6000, 6000, 50)};
    const uint64_t nothing[] = {0, 0};
    (void)state;
    assert_true(admit(items, 2));
    struct redis_limit_ticket early = got.ticket;
    do { /* half a second: 50 are a hundredth of a minute's 6000, twice */
        items[1].cost = 0;
        assert_true(admit(items, 2));
    } while (got.items[1].remaining < 6000);
    items[1].cost = 6000;
    assert_true(admit(items, 2));
    struct redis_limit_ticket full = got.ticket;
    items[1].cost = 50;
    settle(&early, items, 2, nothing);
    items[1].cost = 0;
    assert_true(admit(items, 2));
    assert_true(got.items[1].remaining <= (got.ticket.at_us - full.at_us) / 10000);
    items[1].cost = 6000;
    settle(&full, items, 2, nothing); /* the last in line: nobody is moved */
    items[1].cost = 0;
    assert_true(admit(items, 2));
    assert_int_equal(got.items[1].remaining, 6000);
    assert_int_equal(got.ticket.line[1].given, 0);
}

static void test_settles_in_line(void **state)
{
    struct redis_limit_item items[] = {lease_of("l", 0), cell_of("c", 600, 600, 400)};
    struct redis_limit_ticket tickets[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        items[1].cost = i ? 100 : 400;
        assert_true(admit(items, 2));
        tickets[i] = got.ticket;
    }
    items[1].cost = 400;
    settle(&tickets[0], items, 2, (const uint64_t[]){0, 10});
    items[1].cost = 0;
    assert_true(admit(items, 2));
    assert_true(got.ticket.line[1].given >= UINT64_C(390) * MINUTE_US);
    assert_true(got.ticket.line[1].owed <= UINT64_C(110) * MINUTE_US);
    items[1].cost = 100;
    settle(&tickets[1], items, 2, (const uint64_t[]){0, 0});
    items[1].cost = 0;
    assert_true(admit(items, 2));
    assert_true(got.items[1].remaining >= 590);
}

/* Debt beyond the burst is paid before anything passes. */
static void test_debt(void **state)
{
    const struct redis_limit_item items[] = {lease_of("l", 0), cell_of("c", 60, 60, 1)};
    (void)state;
    assert_true(admit(items, 2));
    settle(&got.ticket, items, 2, (const uint64_t[]){0, 600});
    assert_false(admit(items, 2));
    assert_int_equal(got.items[1].remaining, 0);
    assert_in_range(got.items[1].retry_us, 530ull * 1000 * 1000, 541ull * 1000 * 1000);
}

static void test_extremes(void **state)
{
    const uint64_t most = REDIS_LIMIT_COUNT_MAX;
    struct redis_limit_item items[] = {lease_of("l", 0), cell_of("c", most, most, most)};
    (void)state;
    assert_true(admit(items, 2));
    uint64_t t0 = got.ticket.at_us;
    assert_int_equal(got.items[1].reset_us, MINUTE_US);
    items[1].cost = 1;
    assert_true(admit(items, 2)); /* at least a microsecond later, 2.5 tokens are there again */
    assert_int_equal(got.items[1].remaining, (got.ticket.at_us - t0) * 5 / 2 - 1);
    for (int i = 0; i < 4; i++)
        settle(&got.ticket, items, 2, (const uint64_t[]){0, UINT64_MAX});
    items[1].cost = UINT64_MAX;
    assert_false(admit(items, 2));
}

static uint64_t month_end_us(uint64_t us, int64_t offset_s)
{
    time_t t = (time_t)(us / 1000000) - offset_s;
    struct tm tm;
    assert_non_null(gmtime_r(&t, &tm));
    tm = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon + 1, .tm_mday = 1};
    return (uint64_t)(timegm(&tm) + offset_s) * 1000000;
}

static void test_calendar(void **state)
{
    static const int64_t offsets[] = {0, -7200, 5 * 3600 + 1800, 4 * 86400, -40 * 86400};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(offsets); i++) {
        const struct redis_limit_item items[] = {
            lease_of("l", 0),
            budget_of("month", REDIS_LIMIT_BUDGET_MAX, 0, offsets[i], 1),
            budget_of("hour", 5, 3600ull * 1000 * 1000, offsets[i], 1),
        };
        assert_true(admit(items, 3));
        uint64_t at = got.ticket.at_us;
        assert_int_equal(at + got.items[1].reset_us, month_end_us(at, offsets[i]));
        assert_int_equal((int64_t)(at + got.items[2].reset_us) / 1000000 % 3600,
                         ((offsets[i] % 3600) + 3600) % 3600);
        (void)ask(redis, "DEL {ccproxy}:month {ccproxy}:hour");
    }
}

/* All months of many years: the script's calendar against the library's. */
static void test_months(void **state)
{
    static char lua[16384];
    struct str prelude = str_head(redis_script_admit,
                                  str_find_str(redis_script_admit, STR("local items, admitted")));
    struct str words[] = {STR("EVAL"), STR_NONE, STR("0"), STR("x"), STR("0"),
                          STR("0"),    STR("0"), STR("0"), STR_NONE};
    struct buf out;
    char day[32];
    (void)state;
    (void)snprintf(lua, sizeof(lua),
                   "%.*s local s, e = window(tonumber(ARGV[6]), 0, 0) return {s, e}",
                   STR_FMT(prelude));
    words[1] = str_c(lua);
    RUN_UNTIL(redis_is_up(redis));
    for (int64_t d = 0; d < 366 * 240; d += 13) {
        uint64_t us = (uint64_t)d * 86400 * 1000000 + 1;
        char expected[64];
        time_t t = (time_t)(d * 86400);
        struct tm tm;
        assert_non_null(gmtime_r(&t, &tm));
        tm = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = 1};
        (void)snprintf(expected, sizeof(expected), "%lld %llu", (long long)timegm(&tm) * 1000000,
                       (unsigned long long)month_end_us(us, 0));
        words[8] = str_of(day, (size_t)snprintf(day, sizeof(day), "%llu", (unsigned long long)us));
        buf_init(&out, 65536);
        assert_true(redis_format(&out, words, ARRAY_LEN(words)));
        has_said = false;
        assert_non_null(redis_send(redis, buf_str(&out), 1, PATIENT_US, on_said, NULL));
        buf_done(&out);
        RUN_UNTIL(has_said);
        assert_string_equal(said, expected);
    }
}

/* Admissions and settlings at random, each decision and what remains as the oracle has it. */
static void test_agrees_with_oracle(void **state)
{
    static const struct {
        uint64_t limit, burst, cost_max;
    } cases[] = {
        {60, 5, 2},           {60000, 100, 40}, {100000, 100000, 9000},
        {7777777, 3333, 999}, {1, 10, 3},       {REDIS_LIMIT_COUNT_MAX, 100000, 70000},
    };

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
        struct oracle o = {
            .limit = cases[k].limit, .burst = cases[k].burst, .period_us = MINUTE_US};
        int admitted = 0;
        (void)ask(redis, "FLUSHALL");
        for (int i = 0; i < 150; i++) {
            uint64_t cost = rand_below(cases[k].cost_max + 1);
            const struct redis_limit_item items[] = {
                cell_of("c", o.limit, o.burst, cost),
                lease_of("l", 0),
            };
            bool ok = admit(items, 2);
            uint64_t now = got.ticket.at_us;
            assert_int_equal(ok, oracle_admits(&o, now, cost));
            assert_int_equal(got.items[0].remaining, oracle_remaining(&o, now));
            admitted += ok;
            if (!ok || rand_below(2))
                continue;
            /* settling has no time of its own to compare; so it is asked of both at one */
            uint64_t actual = rand_below(2 * cases[k].cost_max);
            settle(&got.ticket, items, 2, (const uint64_t[]){actual, 0});
            const struct redis_limit_item look[] = {cell_of("c", o.limit, o.burst, 0),
                                                    lease_of("l", 0)};
            struct oracle early = o, late = o;
            oracle_settles(&early, now, (int64_t)actual - (int64_t)cost);
            (void)admit(look, 2); /* refused when more is owed than the burst */
            oracle_settles(&late, got.ticket.at_us, (int64_t)actual - (int64_t)cost);
            assert_in_range(got.items[0].remaining, oracle_remaining(&late, got.ticket.at_us),
                            oracle_remaining(&early, got.ticket.at_us) + 1);
            (void)ask(redis, "DEL {ccproxy}:c");
            o.tat = 0;
        }
        assert_true(admitted > 0);
    }
}

/* What costs more than there ever is fits when nothing is owed, and is paid in time. */
static void test_larger_than_the_burst(void **state)
{
    struct redis_limit_item items[] = {lease_of("l", 0), cell_of("c", 60, 60, 300)};
    (void)state;
    assert_true(admit(items, 2));
    assert_int_equal(got.items[1].remaining, 0);
    items[1].cost = 1;
    assert_false(admit(items, 2));
    assert_in_range(got.items[1].retry_us, 230ull * 1000 * 1000, 241ull * 1000 * 1000);
}

static void test_limit_may_change(void **state)
{
    struct redis_limit_item items[] = {lease_of("l", 0), cell_of("c", 60, 100, 50)};
    (void)state;
    assert_true(admit(items, 2));
    items[1] = cell_of("c", 600000, 200, 150);
    assert_true(admit(items, 2)); /* 50 stay owed, whatever the rate */
    assert_in_range(got.items[1].remaining, 0, 49);
    assert_false(admit(items, 2));
}

static void test_foreign_values(void **state)
{
    const struct redis_limit_item items[] = {lease_of("l", 3), cell_of("c", 60, 5, 1),
                                             budget_of("b", 10, 0, 0, 1)};
    (void)state;
    (void)ask(redis, "SET {ccproxy}:c garbage");
    (void)ask(redis, "LPUSH {ccproxy}:b x");
    assert_true(admit(items, 3)); /* SET overwrites */
    assert_int_equal(got.items[1].remaining, 4);
    (void)ask(redis, "DEL {ccproxy}:l");
    (void)ask(redis, "SET {ccproxy}:l text");
    struct redis_limit_ticket t;
    redis_limit_ticket(&t);
    assert_non_null(redis_limit_admit(limits, &t, items, 3, on_answer, NULL));
    RUN_UNTIL(nothings > 0); /* an error of the script: no answer, and no harm */
    nothings = 0;
    (void)ask(redis, "DEL {ccproxy}:l");
    assert_true(admit(items, 3));
}

static void test_nothing_stays(void **state)
{
    const struct redis_limit_item items[] = {lease_of("l", 3), cell_of("c", 60, 5, 1),
                                             cell_of("slow", 1, 5, 1), budget_of("b", 10, 0, 0, 1)};
    char line[128];
    (void)state;
    assert_true(admit(items, 4));
    static const char *const keys[] = {"l", "c", "slow", "b"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        (void)snprintf(line, sizeof(line), "PTTL {ccproxy}:%s", keys[i]);
        assert_true(strtoll(ask(redis, line), NULL, 10) > 0);
    }
    settle(&got.ticket, items, 4, (const uint64_t[]){0, 0, 0, 0});
    assert_string_equal(ask(redis, "DBSIZE"), "0");
}

static void test_script_flush(void **state)
{
    const struct redis_limit_item items[] = {lease_of("l", 0), cell_of("c", 60, 1000, 1)};
    (void)state;
    for (int i = 0; i < 20; i++) {
        uint64_t scripts = redis_limit_stats(limits).scripts_sent;
        assert_string_equal(ask(redis, "SCRIPT FLUSH"), "OK");
        assert_true(admit(items, 2));
        assert_true(admit(items, 2));
        assert_int_equal(redis_limit_stats(limits).scripts_sent, scripts + 1);
    }
}

static void test_cancel(void **state)
{
    const struct redis_limit_item items[] = {lease_of("l", 1), cell_of("c", 60, 1, 1)};
    struct redis_limit_ticket t;
    (void)state;
    RUN_UNTIL(redis_is_up(redis));
    for (int i = 0; i < 20; i++) {
        redis_limit_ticket(&t);
        struct redis_limit_call *c = redis_limit_admit(limits, &t, items, 2, on_answer, NULL);
        assert_non_null(c);
        if (i % 2)
            loop_turn(loop, 0); /* it is on its way */
        uint64_t before = redis_limit_stats(limits).settled;
        if (answers == 0)
            redis_limit_cancel(c);
        RUN_UNTIL(redis_limit_stats(limits).settled > before || answers > 0);
        assert_int_equal(answers, 0);
    }
    assert_true(admit(items, 2));
}

/* A node that dies leaves its leases; they end by themselves. */
static void test_leases_end(void **state)
{
    struct redis_limit_item items[] = {lease_of("l", 1), cell_of("c", 60000, 60000, 1)};
    unsigned tries = 1;
    (void)state;
    items[0].period_us = 50 * 1000;
    assert_true(admit(items, 2));
    uint64_t until_us = got.ticket.at_us + items[0].period_us;
    while (!admit(items, 2))
        tries++;
    assert_true(tries > 1 && got.ticket.at_us / 1000 >= until_us / 1000);
    assert_int_equal(got.items[0].remaining, 0);
}

static void test_long_keys(void **state)
{
    static char name[5000];
    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    const struct redis_limit_item items[] = {lease_of(name, 1), cell_of("c", 60, 5, 1)};
    assert_true(admit(items, 2));
    struct redis_limit_ticket t = got.ticket;
    assert_false(admit(items, 2));
    settle(&t, items, 2, (const uint64_t[]){0, 1});
    assert_true(admit(items, 2));
}

/* --- without scripts --- */

static void test_without_scripts(void **state)
{
    struct redis *admin = redis;
    struct redis_limit *admin_limits = limits;
    char url[192];
    (void)state;
    (void)ask(admin, "ACL SETUSER plain on >pw ~* +@all -@scripting");
    (void)snprintf(url, sizeof(url), "unix://plain:pw@%s", server.socket_path);
    redis = client_of(url, NULL, PATIENT_US);
    limits = redis_limit_new(loop, redis, STR(REDIS_LIMIT_PREFIX));
    const struct redis_limit_item items[] = {
        lease_of("l", 3),
        cell_of("c", 5, 5, 1),
        budget_of("b", 1000, 0, 0, 1),
    };
    struct redis_limit_ticket tickets[3];
    for (int i = 0; i < 3; i++) {
        assert_true(admit(items, 3));
        assert_true(got.ticket.approximate);
        tickets[i] = got.ticket;
        assert_int_equal(got.items[1].remaining, 4 - i);
    }
    assert_false(admit(items, 3));
    assert_false(got.items[0].fits);
    assert_true(got.items[1].fits);
    for (int i = 0; i < 3; i++)
        settle(&tickets[i], items, 3, (const uint64_t[]){0, 1, 5});
    assert_true(admit(items, 3)); /* what the refused one took has been given back */
    assert_int_equal(got.items[1].remaining, 1);
    assert_int_equal(got.items[2].remaining, 1000 - 15 - 1);
    const struct redis_limit_item large[] = {lease_of("l2", 3), cell_of("c2", 5, 5, 9),
                                             budget_of("b2", 10, 0, 0, 9)};
    assert_true(admit(large, 3)); /* more than there ever is, but nothing else is owed */
    settle(&got.ticket, large, 3, (const uint64_t[]){0, 0, 9});
    assert_true(admit(large, 3)); /* something is left of the budget */
    assert_false(admit(large, 3));
    assert_false(got.items[1].fits);
    assert_false(got.items[2].fits);
    assert_true(redis_limit_stats(limits).approximate);
    assert_true(strtoll(ask(admin, "PTTL {ccproxy}:c:w"), NULL, 10) > 0);
    assert_true(strtoll(ask(admin, "PTTL {ccproxy}:l:w"), NULL, 10) > 0);
    redis_limit_free(limits);
    redis_free(redis);
    redis = admin;
    limits = admin_limits;
    (void)ask(admin, "ACL DELUSER plain");
}

/* --- many processes --- */

struct record {
    uint64_t now_us, cost;
    int64_t admitted;
};

struct load {
    struct redis_limit_item items[2];
    struct record records[REQUESTS];
    size_t started, done;
    uint64_t cost_max;
};

static struct load load;

struct request {
    uint64_t cost;
};

static struct request requests[REQUESTS];

static void on_load(void *ctx, const struct redis_limit_answer *a)
{
    const struct request *q = ctx;
    assert_non_null(a);
    load.records[load.done++] =
        (struct record){.now_us = a->ticket.at_us, .cost = q->cost, .admitted = a->admitted};
}

/* A child: DEPTH admissions at a time; what came of them goes to the pipe. */
static void run_load(int out)
{
    RUN_UNTIL(redis_is_up(redis));
    while (load.done < REQUESTS) {
        while (load.started < REQUESTS && load.started - load.done < DEPTH) {
            struct redis_limit_ticket t;
            struct request *q = &requests[load.started];
            q->cost = 1 + rand_below(load.cost_max);
            load.items[0].cost = q->cost;
            redis_limit_ticket(&t);
            if (!redis_limit_admit(limits, &t, load.items, 2, on_load, q))
                break;
            load.started++;
        }
        loop_turn(loop, 1000);
    }
    if (write(out, load.records, sizeof(load.records)) != sizeof(load.records))
        _exit(3);
}

static int by_time(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    if (x->now_us != y->now_us)
        return x->now_us < y->now_us ? -1 : 1;
    return (int)(y->admitted - x->admitted);
}

static void read_all(int in, void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got_now = read(in, (char *)p + at, n - at);
        assert_true(got_now > 0);
        at += (size_t)got_now;
    }
}

/* Every process for itself, and yet together they admit what one would. disturb is said meanwhile by
 * another client. Returns how many were admitted. */
static size_t run_processes(uint64_t limit, uint64_t burst, uint64_t cost_max, const char *disturb,
                            bool compare)
{
    static struct record all[PROCESSES][REQUESTS];
    int pipes[PROCESSES][2];
    pid_t pids[PROCESSES];
    size_t admitted = 0;
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(pipe(pipes[i]), 0);
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            rand_reseed();
            loop = loop_new();
            (void)open_client(server.url);
            memset(&load, 0, sizeof(load));
            load.items[0] = cell_of("shared", limit, burst, 0);
            load.items[1] = lease_of("leases", 0);
            load.cost_max = cost_max;
            run_load(pipes[i][1]);
            _exit(0);
        }
        (void)close(pipes[i][1]);
    }
    for (int i = 0; disturb && i < 20; i++)
        (void)ask(redis, disturb);
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        read_all(pipes[i][0], all[i], sizeof(all[i]));
        (void)close(pipes[i][0]);
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    struct oracle o = {.limit = limit, .burst = burst, .period_us = MINUTE_US};
    struct record *r = all[0];
    qsort(r, PROCESSES * REQUESTS, sizeof(*r), by_time);
    for (size_t i = 0; i < PROCESSES * REQUESTS; i++) {
        admitted += r[i].admitted != 0;
        if (compare && r[i].admitted != oracle_admits(&o, r[i].now_us, r[i].cost))
            fail_msg("request %zu at %llu: Redis said %d", i, (unsigned long long)r[i].now_us,
                     (int)r[i].admitted);
    }
    return admitted;
}

static void test_processes_admit_what_one_would(void **state)
{
    (void)state;
    assert_int_equal(run_processes(1, 1000, 1, NULL, true), 1000);
    (void)ask(redis, "FLUSHALL");
    size_t n = run_processes(600000, 500, 20, NULL, true);
    assert_true(n > 50 && n < PROCESSES * REQUESTS);
}

static void test_scripts_flushed_under_load(void **state)
{
    (void)state;
    assert_int_equal(run_processes(1, 700, 1, "SCRIPT FLUSH", true), 700);
}

/* What is forgotten may be admitted again, and nobody stumbles. */
static void test_flushed_under_load(void **state)
{
    (void)state;
    assert_true(run_processes(1, 100, 1, "FLUSHALL", false) >= 100);
}

/* Leases of several processes: never more than the limit, none left in the end. */
static void run_leases(int out)
{
    const struct redis_limit_item items[] = {lease_of("slots", 3),
                                             cell_of("c", 6000000, 6000000, 1)};
    long long most = 0;
    RUN_UNTIL(redis_is_up(redis));
    for (int i = 0; i < 300; i++) {
        if (!admit(items, 2))
            continue;
        struct redis_limit_ticket t = got.ticket;
        long long now = strtoll(ask(redis, "ZCARD {ccproxy}:slots"), NULL, 10);
        most = now > most ? now : most;
        settle(&t, items, 2, (const uint64_t[]){0, 1});
    }
    if (write(out, &most, sizeof(most)) != sizeof(most))
        _exit(3);
}

static void test_leases_of_processes(void **state)
{
    int fds[2];
    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            rand_reseed();
            loop = loop_new();
            (void)open_client(server.url);
            run_leases(fds[1]);
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        long long most;
        int status;
        read_all(fds[0], &most, sizeof(most));
        assert_in_range(most, 1, 3);
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    (void)close(fds[0]);
    (void)close(fds[1]);
    assert_string_equal(ask(redis, "EXISTS {ccproxy}:slots"), "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_or_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusal_says_when, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settles_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settles_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settles_in_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_debt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_extremes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_calendar, setup, teardown),
        cmocka_unit_test_setup_teardown(test_months, setup, teardown),
        cmocka_unit_test_setup_teardown(test_agrees_with_oracle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_larger_than_the_burst, setup, teardown),
        cmocka_unit_test_setup_teardown(test_larger_than_the_burst, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit_may_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_script_flush, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leases_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_scripts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_processes_admit_what_one_would, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scripts_flushed_under_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flushed_under_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leases_of_processes, setup, teardown),
    };
    if (server_missing())
        return 77;
    server_start(&server, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    server_end(&server);
    return failed;
}
