/* test_penalty.c - failures of addresses, on a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/penalty.h"

enum { SECOND = 1000 * 1000, PER_MINUTE = 30 };

static struct address at(const char *text)
{
    struct address a;
    assert_true(address_parse(str_c(text), &a));
    return a;
}

static void test_slowed_refused_forgotten(void **state)
{
    struct penalties *p = penalties_new(64);
    struct address a = at("192.0.2.1"), other = at("192.0.2.2");
    uint64_t now = 1000 * (uint64_t)SECOND, wait;
    (void)state;
    for (unsigned i = 0; i < PER_MINUTE; i++)
        assert_int_equal(penalty_add(p, &a, PER_MINUTE, now, &wait),
                         i < PER_MINUTE / 2 ? PENALTY_NONE : PENALTY_SLOW);
    assert_int_equal(penalty_add(p, &a, PER_MINUTE, now, &wait), PENALTY_REFUSE);
    assert_int_equal(wait, 2 * SECOND);
    assert_int_equal(penalty_of(p, &other, PER_MINUTE, now, &wait), PENALTY_NONE);
    for (unsigned i = 0; i < 1000; i++) /* being refused costs no more */
        assert_int_equal(penalty_add(p, &a, PER_MINUTE, now, &wait), PENALTY_REFUSE);
    assert_int_equal(penalty_of(p, &a, PER_MINUTE, now + 2 * SECOND - 1000, &wait), PENALTY_REFUSE);
    assert_int_equal(penalty_of(p, &a, PER_MINUTE, now + 2 * SECOND, &wait), PENALTY_SLOW);
    assert_int_equal(penalty_of(p, &a, PER_MINUTE, now + 31 * SECOND, &wait), PENALTY_NONE);
    now += 60 * (uint64_t)SECOND;
    for (unsigned i = 0; i < PER_MINUTE; i++)
        assert_int_not_equal(penalty_add(p, &a, PER_MINUTE, now, &wait), PENALTY_REFUSE);
    penalties_free(p);
}

static void test_switched_off(void **state)
{
    struct penalties *p = penalties_new(64);
    struct address a = at("192.0.2.1");
    uint64_t wait;
    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(penalty_add(p, &a, 0, SECOND, &wait), PENALTY_NONE);
    penalties_free(p);
}

/* A /64 is one, whatever its addresses are; the next one is another. */
static void test_neighbourhood(void **state)
{
    struct penalties *p = penalties_new(1024);
    struct address next = at("2001:db8:0:2::1");
    uint64_t wait;
    (void)state;
    for (unsigned i = 0; i <= PER_MINUTE; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "2001:db8:0:1::%x", i);
        struct address a = at(text);
        assert_int_equal(penalty_add(p, &a, PER_MINUTE, SECOND, &wait) == PENALTY_REFUSE,
                         i == PER_MINUTE);
    }
    assert_int_equal(penalty_of(p, &next, PER_MINUTE, SECOND, &wait), PENALTY_NONE);
    penalties_free(p);
}

/* More addresses than there is room for: those that owe most stay. */
static void test_full(void **state)
{
    struct penalties *p = penalties_new(64);
    struct address bad = at("192.0.2.1");
    uint64_t wait;
    (void)state;
    for (unsigned i = 0; i <= PER_MINUTE; i++)
        (void)penalty_add(p, &bad, PER_MINUTE, SECOND, &wait);
    for (unsigned i = 0; i < 100000; i++) {
        struct address a = at("198.51.0.0");
        memcpy(a.bytes + 13, &i, 3);
        (void)penalty_add(p, &a, PER_MINUTE, SECOND, &wait);
    }
    assert_int_equal(penalty_of(p, &bad, PER_MINUTE, SECOND, &wait), PENALTY_REFUSE);
    penalties_free(p);
}

/* Four processes fail from one address at once: together they may what one may. */
static void test_processes(void **state)
{
    enum { PROCESSES = 4 };

    struct penalties *p = penalties_new(64);
    struct address a = at("192.0.2.1");
    unsigned total = 0;
    pid_t pids[PROCESSES];
    (void)state;
    for (unsigned i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            unsigned n = 0;
            uint64_t wait;
            for (unsigned j = 0; j < 1000; j++)
                n += penalty_add(p, &a, PER_MINUTE, SECOND, &wait) != PENALTY_REFUSE;
            _exit((int)n);
        }
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        total += (unsigned)WEXITSTATUS(status);
    }
    assert_int_equal(total, PER_MINUTE);
    penalties_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slowed_refused_forgotten),
        cmocka_unit_test(test_switched_off),
        cmocka_unit_test(test_neighbourhood),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_processes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
