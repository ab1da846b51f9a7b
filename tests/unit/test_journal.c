/* test_journal.c - records come out as they went in, a full ring drops and counts, and what a broken
 * worker leaves in its ring hurts nobody.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/journal.h"

static struct journal_record record_of(int64_t n)
{
    struct journal_record r = {.input = n};
    journal_set(&r.client, STR("alice"));
    return r;
}

static void test_in_order(void **state)
{
    (void)state;
    struct journal *j = journal_new();
    for (int64_t i = 0; i < 3 * JOURNAL_RECORDS; i++) {
        struct journal_record r = record_of(i);
        assert_true(journal_put(j, 7, &r));
        assert_int_equal(journal_waiting(j), 1);
        uint64_t tail = journal_tail(j, 7);
        assert_int_equal(tail, i);
        assert_int_equal(journal_head(j, 7), i + 1);
        assert_int_equal(journal_at(j, 7, tail)->input, i);
        assert_true(str_eq(journal_str(&journal_at(j, 7, tail)->client), STR("alice")));
        journal_release(j, 7, tail + 1);
    }
    assert_int_equal(journal_waiting(j), 0);
    assert_int_equal(journal_lost(j), 0);
    journal_free(j);
}

static void test_full(void **state)
{
    (void)state;
    struct journal *j = journal_new();
    struct journal_record r = record_of(1), late = record_of(2);
    for (int i = 0; i < JOURNAL_RECORDS; i++)
        assert_true(journal_put(j, 0, &r));
    assert_false(journal_put(j, 0, &late));
    assert_true(journal_put(j, 1, &r)); /* the next ring has room */
    assert_int_equal(journal_lost(j), 1);
    assert_int_equal(journal_waiting(j), JOURNAL_RECORDS + 1);
    journal_release(j, 0, 1);
    assert_true(journal_put(j, 0, &late));
    assert_int_equal(journal_at(j, 0, JOURNAL_RECORDS)->input, 2);
    assert_int_equal(journal_at(j, 0, 1)->input, 1);
    assert_false(journal_put(j, JOURNAL_RINGS, &r)); /* more workers than rings */
    assert_int_equal(journal_lost(j), 2);
    journal_free(j);
}

static void test_texts_are_cut(void **state)
{
    char text[2 * JOURNAL_TEXT];
    struct journal_text t;
    (void)state;
    memset(text, 'x', sizeof(text));
    journal_set(&t, str_of(text, sizeof(text)));
    assert_int_equal(journal_str(&t).n, JOURNAL_TEXT);
    journal_set(&t, STR_NONE);
    assert_int_equal(journal_str(&t).n, 0);
    t.n = UINT8_MAX; /* as a worker that was taken over may leave it */
    assert_int_equal(journal_str(&t).n, JOURNAL_TEXT);
}

/* A process that is killed leaves what it had put, to be read by another. */
static void test_survives_its_writer(void **state)
{
    (void)state;
    struct journal *j = journal_new();
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (int64_t i = 0; i < 100; i++) {
            struct journal_record r = record_of(i);
            (void)journal_put(j, 3, &r);
        }
        (void)kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(journal_waiting(j), 100);
    assert_int_equal(journal_at(j, 3, 99)->input, 99);
    journal_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_texts_are_cut),
        cmocka_unit_test(test_survives_its_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
