/* test_tickets.c - when keys of session tickets are made, how long they open, and when they go. */
#include "io/tickets.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"

static uint64_t now;
static struct tickets *tickets;

static uint64_t fake_clock(void)
{
    return now;
}

static int setup(void **state)
{
    (void)state;
    now = 1000;
    clock_set_source(fake_clock, fake_clock);
    clock_refresh();
    tickets = tickets_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tickets_free(tickets);
    clock_set_source(NULL, NULL);
    clock_refresh();
    return 0;
}

static void pass(uint64_t us)
{
    now += us;
    clock_refresh();
}

static struct ticket_key sealing(void)
{
    struct ticket_key key;

    assert_true(tickets_seal(tickets, &key));
    return key;
}

static bool opens(const struct ticket_key *key)
{
    struct ticket_key found;

    if (!tickets_open(tickets, key->name, &found))
        return false;
    assert_memory_equal(&found, key, sizeof(found));
    return true;
}

static void test_none_at_first(void **state)
{
    struct ticket_key key = {.name = {0}};

    (void)state;
    assert_false(tickets_seal(tickets, &key));
    assert_false(tickets_open(tickets, key.name, &key));
}

static void test_keys_are_unlike(void **state)
{
    struct ticket_key first, second;

    (void)state;
    tickets_keep(tickets);
    first = sealing();
    pass(TICKET_LIFE_US);
    tickets_keep(tickets);
    second = sealing();
    assert_memory_not_equal(first.name, second.name, TICKET_NAME);
    assert_memory_not_equal(first.cipher, second.cipher, TICKET_SECRET);
    assert_memory_not_equal(first.mac, second.mac, TICKET_SECRET);
    assert_memory_not_equal(first.mac, first.cipher, TICKET_SECRET);
}

/* A key seals for one life, and opens until the last ticket that it sealed has ended. */
static void test_rotation(void **state)
{
    struct ticket_key first, second;

    (void)state;
    tickets_keep(tickets);
    first = sealing();
    pass(TICKET_LIFE_US - 1);
    tickets_keep(tickets);
    assert_memory_equal(sealing().name, first.name, TICKET_NAME);
    pass(1);
    tickets_keep(tickets);
    second = sealing();
    assert_memory_not_equal(second.name, first.name, TICKET_NAME);
    assert_true(opens(&first));
    assert_true(opens(&second));
    pass(TICKET_LIFE_US - 1);
    assert_true(opens(&first));
    pass(1);
    assert_false(opens(&first)); /* whether it was overwritten or not */
    assert_true(opens(&second));
    tickets_keep(tickets);
    assert_false(opens(&first));
    assert_true(opens(&second));
    assert_memory_not_equal(sealing().name, second.name, TICKET_NAME);
}

static void test_nobody_keeps_them(void **state)
{
    struct ticket_key key, other;

    (void)state;
    tickets_keep(tickets);
    key = sealing();
    pass(2 * TICKET_LIFE_US);
    assert_false(tickets_seal(tickets, &other));
    assert_false(opens(&key));
    tickets_keep(tickets);
    assert_false(opens(&key));
    other = sealing();
    assert_true(opens(&other));
}

/* What was forgotten is not in memory: there is one key, and zeros. */
static void test_old_keys_are_overwritten(void **state)
{
    enum { SIZE = 512 };

    const uint8_t *bytes = (const uint8_t *)tickets; /* a page, so there are more of them */
    struct ticket_key key;
    size_t seen = 0;

    (void)state;
    tickets_keep(tickets);
    key = sealing();
    for (size_t i = 0; i + TICKET_SECRET <= SIZE; i++)
        seen += memcmp(bytes + i, key.cipher, TICKET_SECRET) == 0;
    assert_int_equal(seen, 1);
    for (int i = 0; i < 2; i++) {
        pass(TICKET_LIFE_US);
        tickets_keep(tickets);
    }
    for (size_t i = 0; i + TICKET_SECRET <= SIZE; i++)
        assert_memory_not_equal(bytes + i, key.cipher, TICKET_SECRET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_none_at_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_are_unlike, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_keeps_them, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_keys_are_overwritten, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
