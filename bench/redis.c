/* redis.c - admissions against a Redis: how many a second, how long one takes, and what it costs here.
 *
 *   redis URL      (a server of its own, whose keys may be written)
 *
 * Prints per number of admissions under way: that number, admissions a second, mean microseconds from
 * call to answer, microseconds of our CPU an admission, round trips an admission; separated by tabs.
 * Each admission is two cells, a budget and a lease, and is settled, as a gateway's would be.
 */
#include <time.h>

#include "base/clock.h"
#include "store/redis_limit.h"

enum { ADMISSIONS = 20000, SECOND_US = 1000 * 1000 };

struct bench {
    struct redis *redis;
    struct redis_limit *limits;
    size_t depth, started, answered, unanswered;
};

static const struct redis_limit_item items[] = {
    {.kind = REDIS_LIMIT_CELL,
     .key = STR_INIT("bench/requests"),
     .limit = 100000000,
     .burst = 100000000,
     .period_us = 60 * SECOND_US,
     .cost = 1},
    {.kind = REDIS_LIMIT_CELL,
     .key = STR_INIT("bench/tokens"),
     .limit = 100000000,
     .burst = 100000000,
     .period_us = 60 * SECOND_US,
     .cost = 100},
    {.kind = REDIS_LIMIT_BUDGET,
     .key = STR_INIT("bench/month"),
     .limit = REDIS_LIMIT_BUDGET_MAX,
     .cost = 1000},
    {.kind = REDIS_LIMIT_LEASE, .key = STR_INIT("bench/leases"), .period_us = 600ull * SECOND_US},
};

static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * SECOND_US + (uint64_t)t.tv_nsec / 1000;
}

static void on_answer(void *ctx, const struct redis_limit_answer *a)
{
    static const uint64_t actual[] = {1, 50, 700, 0};
    struct bench *b = ctx;
    b->answered++;
    b->unanswered += a == NULL;
    if (a && a->admitted)
        redis_limit_settle(b->limits, &a->ticket, items, ARRAY_LEN(items), actual);
}

static void fill(struct bench *b)
{
    while (b->started < ADMISSIONS && b->started - b->answered < b->depth) {
        struct redis_limit_ticket t;
        redis_limit_ticket(&t);
        if (!redis_limit_admit(b->limits, &t, items, ARRAY_LEN(items), on_answer, b))
            return;
        b->started++;
    }
}

static void run(struct loop *l, struct bench *b, size_t depth)
{
    b->depth = depth;
    b->started = b->answered = b->unanswered = 0;
    struct redis_stats before = redis_health(b->redis).stats;
    uint64_t began = clock_precise_us(), cpu = cpu_us();
    while (b->answered < ADMISSIONS || redis_limit_stats(b->limits).waiting > 0) {
        fill(b);
        loop_turn(l, 1000);
    }
    uint64_t took = clock_precise_us() - began;
    cpu = cpu_us() - cpu;
    struct redis_stats after = redis_health(b->redis).stats;
    printf("%zu\t%.0f\t%.0f\t%.1f\t%.2f\n", depth, ADMISSIONS * 1e6 / (double)took,
           (double)(after.wait_us - before.wait_us) / (double)(after.answers - before.answers),
           (double)cpu / ADMISSIONS, (double)(after.calls - before.calls) / ADMISSIONS - 1);
    if (b->unanswered)
        printf("# %zu had no answer\n", b->unanswered);
}

int main(int argc, char **argv)
{
    static const size_t depths[] = {1, 8, 64, 256};
    struct loop *l = loop_new();
    struct dns *dns = dns_new(l, NULL);
    struct redis_options o = {.timeout_us = 5 * SECOND_US,
                              .connect_timeout_us = REDIS_CONNECT_TIMEOUT_US};
    struct arena a;
    const char *error = "usage: redis URL";
    struct bench b = {0};
    arena_init(&a);
    if (argc != 2 || !redis_url_parse(&a, str_c(argv[1]), &o.url, &error) ||
        o.url.server.scheme == URL_HTTPS) {
        (void)fprintf(stderr, "%s\n", error);
        return 2;
    }
    b.redis = redis_new(l, dns, &o);
    b.limits = redis_limit_new(l, b.redis, STR(REDIS_LIMIT_PREFIX));
    while (!redis_is_up(b.redis))
        loop_turn(l, 1000);
    for (size_t i = 0; i < ARRAY_LEN(depths); i++)
        run(l, &b, depths[i]);
    redis_limit_free(b.limits);
    redis_free(b.redis);
    dns_free(dns);
    loop_free(l);
    arena_done(&a);
    return 0;
}
