/* test_scribe.c - one scribe in a child, with what another has left behind.
 *
 * Its life's end is there from the beginning, so it writes what waits and leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "proc/scribe.h"
#include "store/ledger.h"

enum { RINGS = 3, EACH = 50, WRITTEN = 20, NOBODY = 65534 };

static char folder[] = "/tmp/ccproxy-scribe-XXXXXX";
static char path[64];

/* As root, the scribe becomes another user. */
static bool give_away(const char *name)
{
    return geteuid() != 0 || chown(name, NOBODY, NOBODY) == 0;
}

static int clean(void **state)
{
    (void)state;
    (void)unlink(path);
    return 0;
}

static struct ledger *open_it(void)
{
    char error[LEDGER_ERROR];
    struct ledger *l = ledger_open(path, error);
    if (!l)
        fail_msg("%s", error);
    return l;
}

static struct journal *with_records(void)
{
    struct journal *j = journal_new();
    for (unsigned ring = 0; ring < RINGS; ring++) {
        for (int i = 0; i < EACH; i++) {
            struct journal_record r = {.at_us = clock_wall_us(), .input = 1 << ring, .done = true};
            journal_set(&r.client, STR("alice"));
            assert_true(journal_put(j, ring, &r));
        }
    }
    return j;
}

static void run(struct journal *j)
{
    int pair[2], status;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    (void)close(pair[1]);
    const struct scribe s = {
        .journal = j, .path = path, .user = {NOBODY, NOBODY}, .sandbox = true, .life = pair[0]};
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(scribe_run(&s));
    (void)close(pair[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void on_row(void *ctx, const struct ledger_sums *s)
{
    *(struct ledger_sums *)ctx = *s;
}

static void assert_sums(int64_t requests, int64_t input)
{
    const struct ledger_query query = {.by = LEDGER_CLIENT};
    struct ledger_sums sums = {.requests = 0};
    struct ledger *l = open_it();
    assert_true(ledger_report(l, &query, on_row, &sums));
    assert_int_equal(sums.requests, requests);
    assert_int_equal(sums.input, input);
    ledger_close(l);
}

static void test_writes_all(void **state)
{
    (void)state;
    struct journal *j = with_records();
    run(j);
    assert_int_equal(journal_waiting(j), 0);
    assert_int_equal(journal_state(j), JOURNAL_WRITES);
    assert_sums(RINGS * EACH, 7 * EACH);
    run(j); /* nothing new, nothing again */
    assert_sums(RINGS * EACH, 7 * EACH);
    journal_free(j);
}

/* The one before was killed when it had committed, and had not released yet. */
static void test_goes_on_behind_a_commit(void **state)
{
    (void)state;
    struct journal *j = with_records();
    struct ledger *l = open_it();
    assert_true(ledger_begin(l));
    for (int i = 0; i < WRITTEN; i++)
        assert_true(ledger_add(l, journal_at(j, 1, (uint64_t)i)));
    assert_true(ledger_mark(l, journal_server(j), 1, 0, WRITTEN));
    assert_true(ledger_mark(l, journal_server(j) ^ 1, 0, 0, WRITTEN)); /* another server's */
    assert_true(ledger_commit(l));
    ledger_close(l);
    assert_true(give_away(path));
    assert_int_equal(journal_waiting(j), RINGS * EACH);
    run(j);
    assert_int_equal(journal_waiting(j), 0);
    assert_sums(RINGS * EACH, 7 * EACH);
    journal_free(j);
}

/* A database that is new while the server is not: what was released is not asked for again. */
static void test_new_database(void **state)
{
    (void)state;
    struct journal *j = with_records();
    journal_release(j, 2, EACH);
    run(j);
    assert_sums((RINGS - 1) * EACH, 3 * EACH);
    journal_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_writes_all, clean),
        cmocka_unit_test_teardown(test_goes_on_behind_a_commit, clean),
        cmocka_unit_test_teardown(test_new_database, clean),
    };
    if (!mkdtemp(folder) || !give_away(folder))
        return 1;
    (void)snprintf(path, sizeof(path), "%s/usage.db", folder);
    log_init(LOG_ERROR, LOG_JSON, "test");
    clock_refresh();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(folder);
    return failed;
}
