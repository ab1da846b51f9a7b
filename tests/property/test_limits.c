/* test_limits.c - limits that many workers take from at once, on a clock of our own.
 *
 *   tick:  the clock jumps | every worker settles some of what it has open | every worker takes until it
 *          is refused | the books are compared
 *
 * Nobody knows in which order the workers come within a tick; what must come out does not depend on it:
 *
 *   - whatever was admitted, by what it turned out to have cost, never exceeds a burst and what time has
 *     paid, but for debts, which are known late: nothing is admitted before those are paid
 *   - nothing that is allowed is refused: what is left after a tick is less than any cost that was refused;
 *     and where reservations are right, as many are admitted as arithmetic says, to the last one
 *   - when all is settled and a period is over, all of it is there again
 *
 * test_limits [first seed] [number of seeds]
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "policy/limit.h"

enum { WORKERS = 4, TICKS = 200, OPEN_MAX = 20000, PERIOD_US = 60 * 1000 * 1000 };

__extension__ typedef __int128 wide;

static const uint64_t zero_us = UINT64_C(1000) * PERIOD_US;

/* What a worker asks for in a run: one rate or a whole request. */
struct ask {
    struct limit_item items[3];
    size_t n;
    uint64_t actual[3]; /* of the rate that is watched: the last one */
    unsigned tick;
};

struct run {
    bool exact; /* all costs are alike and reserved as they are; else one rate, and any */
    uint64_t limit, at_once; /* of the rate that is watched; requests at a time */
};

static struct world { /* shared by all workers */
    pthread_barrier_t barrier;
    uint64_t now_us, cost[WORKERS];
    _Atomic uint64_t charged[TICKS]; /* units admitted in a tick, by what is known of them */
    _Atomic uint64_t admitted[TICKS], settled, refused_least;
    uint64_t at_us[TICKS];
} * world;

static struct limits *limits;
static uint64_t random_state, seed_now;
static struct ask open_[OPEN_MAX];
static size_t n_open;

static uint64_t below(uint64_t n)
{
    random_state = random_state * 6364136223846793005 + 1442695040888963407;
    return (random_state >> 33) % n;
}

static void check(bool ok, const char *what, unsigned tick)
{
    if (ok)
        return;
    (void)fprintf(stderr, "seed %llu, tick %u: %s\n", (unsigned long long)seed_now, tick, what);
    _exit(1);
}

static struct limit_clock now(void)
{
    return (struct limit_clock){zero_us + world->now_us, world->now_us};
}

static struct limit_item rate(unsigned which, uint64_t limit, uint64_t cost)
{
    return (struct limit_item){.kind = LIMIT_RATE,
                               .key = limit_key(7, which),
                               .limit = limit,
                               .period_us = PERIOD_US,
                               .cost = cost};
}

static struct ask new_ask(const struct run *r, uint64_t cost, unsigned tick)
{
    struct ask a = {.n = 1, .tick = tick, .items = {rate(2, r->limit, cost)}};
    a.actual[0] = below(seed_now % 3 + 1) > 0 ? 0
                  : below(4) == 0             ? below(3 * cost)
                                              : below(cost + 1);
    if (!r->exact)
        return a;
    a.n = 3;
    a.items[0] = rate(1, 600, 1);
    a.items[1] = (struct limit_item){
        .kind = LIMIT_LEASE, .key = limit_key(7, 3), .limit = r->at_once, .cost = 1};
    a.items[2] = rate(2, r->limit, cost);
    a.actual[0] = 1;
    a.actual[2] = cost;
    return a;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void settle_some(unsigned worker, unsigned one_in)
{
    const struct limit_clock c = now();
    for (size_t i = n_open; i-- > 0;) {
        struct ask *a = &open_[i];
        uint64_t cost = a->items[a->n - 1].cost, actual = a->actual[a->n - 1];
        if (below(one_in) > 0)
            continue;
        limits_settle(limits, a->items, a->n, a->actual, &c, worker);
        atomic_fetch_add(&world->charged[a->tick], actual - least(actual, cost));
        atomic_fetch_add(&world->settled, 1);
        *a = open_[--n_open];
    }
}

static void take_all(const struct run *r, unsigned worker, unsigned tick)
{
    const struct limit_clock c = now();
    struct limit_result results[3];
    uint64_t cost = world->cost[worker];
    for (;;) {
        struct ask a = new_ask(r, cost, tick);
        if (!limits_take(limits, a.items, a.n, &c, worker, results))
            break;
        check(n_open < OPEN_MAX, "more is admitted than could ever be", tick);
        open_[n_open++] = a;
        atomic_fetch_add(&world->charged[tick], least(a.actual[a.n - 1], cost));
        atomic_fetch_add(&world->admitted[tick], 1);
    }
    uint64_t seen = atomic_load(&world->refused_least);
    while (cost < seen && !atomic_compare_exchange_weak(&world->refused_least, &seen, cost))
        ;
}

/* --- the books --- */

/* What is owed after a tick, or before what was admitted in it, in units of a period's microseconds. */
static wide owed(uint64_t limit, const _Atomic uint64_t *charged, unsigned tick, bool before)
{
    wide level = 0;
    for (unsigned i = 0; i <= tick; i++) {
        wide paid = i ? (wide)(world->at_us[i] - world->at_us[i - 1]) * limit : 0;
        level = level > paid ? level - paid : 0;
        if (i < tick || !before)
            level += (wide)charged[i] * PERIOD_US;
    }
    return level;
}

static uint64_t remaining(struct limit_item it)
{
    const struct limit_clock c = now();
    struct limit_result r;
    it.cost = 0;
    (void)limits_take(limits, &it, 1, &c, 0, &r);
    return r.remaining;
}

static void compare_any(const struct run *r, unsigned tick)
{
    if (atomic_load(&world->admitted[tick]) > 0)
        check(owed(r->limit, world->charged, tick, false) <= (wide)r->limit * PERIOD_US,
              "more was admitted than allowed", tick);
    check(remaining(rate(2, r->limit, 0)) < atomic_load(&world->refused_least),
          "something was refused that is allowed", tick);
}

static void compare_exact(const struct run *r, unsigned tick)
{
    uint64_t cost = world->cost[0], held = 0;
    wide room = (wide)r->limit * PERIOD_US - owed(r->limit, world->charged, tick, true);
    wide requests = (wide)600 * PERIOD_US - owed(600, world->admitted, tick, true);
    for (unsigned i = 0; i < tick; i++)
        held += atomic_load(&world->admitted[i]);
    held -= atomic_load(&world->settled);
    uint64_t n = least((uint64_t)(room / PERIOD_US) / cost, (uint64_t)(requests / PERIOD_US));
    check(atomic_load(&world->admitted[tick]) == least(n, r->at_once - held),
          "not as many were admitted as there is room for", tick);
}

/* --- the workers --- */

static uint64_t some_cost(const struct run *r)
{
    return 1 + r->limit / 1000 + below(r->limit / (2 + seed_now % 30));
}

static void begin_tick(const struct run *r, unsigned tick)
{
    uint64_t cost = some_cost(r);
    if (tick > 0)
        world->now_us += below(8) == 0 ? below(PERIOD_US) : below(PERIOD_US / (2 + seed_now % 50));
    world->at_us[tick] = world->now_us;
    for (unsigned i = 0; i < WORKERS; i++)
        world->cost[i] = r->exact ? cost : some_cost(r);
    atomic_store(&world->refused_least, UINT64_MAX);
}

static void all_of_it_comes_back(const struct run *r, unsigned worker)
{
    (void)pthread_barrier_wait(&world->barrier);
    settle_some(worker, 1);
    (void)pthread_barrier_wait(&world->barrier);
    if (worker > 0)
        return;
    world->now_us += 60 * (uint64_t)PERIOD_US; /* debts too */
    check(remaining(rate(2, r->limit, 0)) == r->limit, "something is lost for good", TICKS);
    check(limits_held(limits) == 0, "something is held", TICKS);
}

static void work(const struct run *r, unsigned worker)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    random_state = seed_now * WORKERS + worker;
    for (unsigned tick = 0; tick < TICKS; tick++) {
        if (worker == 0)
            begin_tick(r, tick);
        (void)pthread_barrier_wait(&world->barrier);
        settle_some(worker, 1 + (unsigned)(seed_now % 5));
        (void)pthread_barrier_wait(&world->barrier);
        take_all(r, worker, tick);
        (void)pthread_barrier_wait(&world->barrier);
        if (worker == 0)
            (r->exact ? compare_exact : compare_any)(r, tick);
    }
    all_of_it_comes_back(r, worker);
    _exit(0);
}

static void new_world(void)
{
    pthread_barrierattr_t shared;
    world = mem_share(sizeof(*world));
    limits = limits_new(64);
    bool ok = pthread_barrierattr_init(&shared) == 0 &&
              pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED) == 0 &&
              pthread_barrier_init(&world->barrier, &shared, WORKERS) == 0;
    ASSERT(ok);
}

/* One that fails leaves the others at the barrier. */
static bool wait_for(const pid_t *pids)
{
    bool good = true;
    for (unsigned i = 0; i < WORKERS; i++) {
        int status;
        pid_t pid = wait(&status);
        if (pid > 0 && status == 0)
            continue;
        for (unsigned k = 0; good && k < WORKERS; k++)
            if (pids[k] != pid)
                (void)kill(pids[k], SIGKILL);
        good = false;
    }
    return good;
}

static bool run(const struct run *r)
{
    pid_t pids[WORKERS];
    new_world();
    for (unsigned i = 0; i < WORKERS; i++) {
        pids[i] = fork();
        ASSERT(pids[i] >= 0);
        if (pids[i] == 0)
            work(r, i);
    }
    bool good = wait_for(pids);
    limits_free(limits);
    mem_unshare(world, sizeof(*world));
    return good;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
    static const uint64_t rates[] = {60, 1000, 100000, 60000000}; /* a microsecond is whole ticks */
    for (seed_now = first; seed_now < first + count; seed_now++) {
        const struct run any = {.limit = rates[seed_now % ARRAY_LEN(rates)]};
        const struct run exact = {true, any.limit, 1 + seed_now % 7 * 20};
        if (!run(&any) || !run(&exact))
            return 1;
    }
    printf("limits: %llu seeds from %llu\n", (unsigned long long)count, (unsigned long long)first);
    return 0;
}
