/* test_queue.c - waiting for places on a virtual clock: who is first, who gets his share, who leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proxy/queue.h"

enum { PERIOD = 5000, CLIENTS = 6, EACH = 40, SEEDS = 300, MAX = CLIENTS * EACH };

struct job {
    struct waiter waiter;
    unsigned client, number; /* the client's n-th */
    bool served, left;
};

static uint64_t now_us, random_state;
static struct loop *loop;
static struct queue *queue;
static struct job jobs[CLIENTS][EACH];
static unsigned places, own_places[CLIENTS]; /* free ones */
static unsigned served[CLIENTS], next_number[CLIENTS], tries;
static struct job *asked;
static bool asks, always_asks;

static uint64_t fake_clock(void)
{
    return now_us;
}

static unsigned below(unsigned n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % n;
}

static void turn(uint64_t us)
{
    now_us += us;
    clock_refresh();
    loop_turn(loop, 0);
}

static unsigned standing(unsigned client)
{
    unsigned n = 0;
    for (unsigned i = 0; i < EACH; i++)
        n += jobs[client][i].waiter.line != NULL;
    return n;
}

/* In its client's order. */
static void serve(struct job *j)
{
    unsigned *next = &next_number[j->client];
    while (*next < EACH && jobs[j->client][*next].left)
        ++*next;
    assert_int_equal(j->number, *next);
    ++*next;
    j->served = true;
    queue_leave(queue, &j->waiter);
    served[j->client]++;
    places--;
    own_places[j->client]--;
}

static enum queue_try try_job(struct waiter *w)
{
    struct job *j = CONTAINER_OF(w, struct job, waiter);
    tries++;
    if (!places)
        return QUEUE_STUCK;
    if (!own_places[j->client])
        return QUEUE_FULL;
    if (asks && !asked && (always_asks || below(2))) {
        asked = j;
        return QUEUE_ASKED;
    }
    serve(j);
    return QUEUE_GONE;
}

static int setup(void **state)
{
    (void)state;
    now_us = 1000 * 1000;
    clock_set_source(fake_clock, fake_clock);
    clock_refresh();
    loop = loop_new();
    queue = queue_new(loop, MAX, PERIOD, try_job);
    memset(jobs, 0, sizeof(jobs));
    memset(served, 0, sizeof(served));
    memset(next_number, 0, sizeof(next_number));
    places = 0;
    tries = 0;
    asked = NULL;
    asks = false;
    for (unsigned c = 0; c < CLIENTS; c++)
        own_places[c] = MAX;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(queue_length(queue), 0);
    queue_free(queue);
    loop_free(loop);
    clock_set_source(NULL, NULL);
    assert_int_equal(mem_live(), 0);
    return 0;
}

static void join(unsigned client, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct job *j = &jobs[client][i];
        j->client = client;
        j->number = i;
        assert_true(queue_join(queue, &j->waiter, client + 1));
    }
}

static void leave(struct job *j)
{
    j->left = !j->served;
    queue_leave(queue, &j->waiter);
    if (asked == j)
        asked = NULL;
}

static void empty(void)
{
    for (unsigned c = 0; c < CLIENTS; c++)
        for (unsigned i = 0; i < EACH; i++)
            leave(&jobs[c][i]);
}

static void test_turns(void **state)
{
    (void)state;
    join(0, 20);
    join(1, 3);
    for (unsigned i = 1; i <= 6; i++) {
        places = 1;
        queue_poke(queue);
        turn(0);
        assert_int_equal(served[0], (i + 1) / 2);
        assert_int_equal(served[1], i / 2);
    }
    places = 4;
    queue_poke(queue);
    turn(0);
    assert_int_equal(served[0], 7); /* nobody else waits */
    empty();
}

/* Whose own places are taken holds up nobody. */
static void test_own_places(void **state)
{
    (void)state;
    join(0, 5);
    join(1, 5);
    own_places[0] = 0;
    places = 3;
    queue_poke(queue);
    turn(0);
    assert_int_equal(served[1], 3);
    own_places[0] = 1;
    places = 2;
    queue_poke(queue);
    turn(0);
    assert_int_equal(served[0], 1);
    assert_int_equal(served[1], 4);
    empty();
}

/* Places that others free are found within a period; with nobody waiting nothing is done. */
static void test_period(void **state)
{
    (void)state;
    join(0, 1);
    turn(PERIOD);
    assert_int_equal(tries, 1);
    places = 1;
    turn(PERIOD - 1);
    assert_int_equal(served[0], 0);
    turn(1);
    assert_int_equal(served[0], 1);
    unsigned before = tries;
    turn(PERIOD * 10);
    queue_poke(queue);
    turn(PERIOD);
    assert_int_equal(tries, before);
}

static void test_bound(void **state)
{
    (void)state;
    struct waiter one_more = {0};
    for (unsigned c = 0; c < CLIENTS; c++)
        join(c, EACH);
    assert_false(queue_join(queue, &one_more, 1));
    leave(&jobs[3][7]);
    assert_true(queue_join(queue, &one_more, 1));
    queue_leave(queue, &one_more);
    queue_leave(queue, &one_more);
    empty();
}

/* While the first of a line is asked about, the others go on; if it leaves, the next one is tried. */
static void test_asked(void **state)
{
    (void)state;
    asks = always_asks = true;
    join(0, 2);
    join(1, 1);
    places = 2;
    queue_poke(queue);
    turn(0);
    assert_ptr_equal(asked, &jobs[0][0]);
    assert_int_equal(served[1], 1);
    leave(asked);
    always_asks = asks = false;
    turn(PERIOD);
    assert_int_equal(served[0], 1);
    assert_true(jobs[0][1].served);
}

/* Nobody who waited all the time gets less than another by more than one. */
static void assert_fair(const unsigned *before, const bool *waited)
{
    unsigned least = UINT32_MAX, most = 0;
    for (unsigned c = 0; c < CLIENTS; c++) {
        unsigned got = served[c] - before[c];
        if (waited[c] && got < least)
            least = got;
        if (got > most)
            most = got;
    }
    assert_true(least == UINT32_MAX || most <= least + 1);
}

/* One free place after the other, or several at once; some leave, some are asked about. */
static void run_seed(uint64_t seed)
{
    random_state = seed;
    asks = seed % 2;
    for (unsigned c = 0; c < CLIENTS; c++)
        join(c, 1 + below(EACH));
    for (unsigned round = 0; queue_length(queue) > 0; round++) {
        assert_true(round < MAX * 10);
        unsigned before[CLIENTS];
        bool waited[CLIENTS];
        memcpy(before, served, sizeof(before));
        if (below(3) == 0)
            leave(&jobs[below(CLIENTS)][below(EACH)]);
        places = 1 + below(8);
        queue_poke(queue);
        turn(0);
        while (asked) {
            struct job *j = asked;
            asked = NULL;
            bool fits = places > 0;
            if (fits)
                serve(j);
            queue_told(queue, &j->waiter, fits ? QUEUE_GONE : QUEUE_STUCK);
            turn(0);
        }
        for (unsigned c = 0; c < CLIENTS; c++)
            waited[c] = standing(c) > 0;
        if (!asks)
            assert_fair(before, waited);
    }
}

static void test_fair(void **state)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(seed);
        unsigned all = 0;
        for (unsigned c = 0; c < CLIENTS; c++)
            all += served[c];
        assert_true(all > 0);
        teardown(state);
        setup(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_period, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fair, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
