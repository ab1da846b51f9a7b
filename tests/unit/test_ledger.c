/* test_ledger.c - the usage database: from empty, from older versions, after crashes, and asked.
 *
 * SQLite is asked directly as well, so that what is written is seen with other eyes than ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/clock.h"
#include "store/ledger.h"

enum { SERVER = 77 };

#define DAY_US UINT64_C(86400000000)
#define FIRST  UINT64_C(1763856000000000) /* 2025-11-23T00:00:00Z */

static char folder[] = "/tmp/ccproxy-ledger-XXXXXX";
static char path[64];

static void remove_all(void)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char name[80];
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        (void)snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        (void)unlink(name);
    }
}

static int clean(void **state)
{
    (void)state;
    remove_all();
    return 0;
}

static sqlite3 *raw(void)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static void execute(const char *sql)
{
    sqlite3 *db = raw();
    char *error = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", sql, error);
    (void)sqlite3_close(db);
}

static int64_t number(const char *sql)
{
    sqlite3 *db = raw();
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(s, 0);
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db);
    return n;
}

static struct ledger *open_it(void)
{
    char error[LEDGER_ERROR];
    struct ledger *l = ledger_open(path, error);
    if (!l)
        fail_msg("%s", error);
    return l;
}

static struct journal_record record_of(uint64_t at_us, struct str client, struct str model)
{
    struct journal_record r = {
        .at_us = at_us,
        .duration_us = 1500,
        .input = 100,
        .cache_read = 20,
        .cache_write = 7,
        .cache_write_1h = 3,
        .output = 50,
        .reasoning = 10,
        .web_searches = 1,
        .cost_micro_usd = 1234,
        .status = 200,
        .done = true,
    };
    journal_set(&r.id, STR("req_1"));
    journal_set(&r.client, client);
    journal_set(&r.model, model);
    journal_set(&r.endpoint, STR("/chat/completions"));
    journal_set(&r.ending, STR("DONE"));
    return r;
}

/* Requests of two days, two clients and two models, each with counts of its own; one failed. */
static void add_some(struct ledger *l, int n)
{
    static const struct str clients[] = {STR_INIT("alice"), STR_INIT("bob's; DROP TABLE days")};
    static const struct str models[] = {STR_INIT("claude-a"), STR_INIT("claude-b")};
    for (int i = 0; i < n; i++) {
        struct journal_record r =
            record_of(FIRST + (uint64_t)(i % 2) * DAY_US, clients[i / 2 % 2], models[i / 4 % 2]);
        r.output += i;
        r.done = i % 5 != 0;
        assert_true(ledger_add(l, &r));
    }
}

static void assert_sums_agree(void)
{
    static const char *const columns[] = {"input",        "cache_read",    "cache_write",
                                          "output",       "reasoning",     "cache_write_1h",
                                          "web_searches", "cost_micro_usd"};
    char sql[512];
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        (void)snprintf(sql, sizeof(sql),
                       "SELECT (SELECT count(*) FROM (SELECT date(at_us/1000000,'unixepoch') d,"
                       " client c, model m, sum(%s) s FROM requests GROUP BY 1,2,3)"
                       " JOIN days ON day=d AND client=c AND model=m AND days.%s=s)"
                       " = (SELECT count(*) FROM days)",
                       columns[i], columns[i]);
        assert_int_equal(number(sql), 1);
    }
    assert_int_equal(number("SELECT sum(requests) = (SELECT count(*) FROM requests) FROM days"), 1);
    assert_int_equal(
        number("SELECT sum(failed) = (SELECT count(*) FROM requests WHERE NOT done) FROM days"), 1);
}

static void test_sums(void **state)
{
    (void)state;
    struct ledger *l = open_it();
    assert_true(ledger_begin(l));
    add_some(l, 100);
    assert_true(ledger_commit(l));
    ledger_close(l);
    assert_int_equal(number("SELECT count(*) FROM requests"), 100);
    assert_int_equal(number("SELECT count(*) FROM days"), 8);
    assert_int_equal(number("SELECT sum(output) FROM days"), 100 * 50 + 99 * 50);
    assert_int_equal(number("SELECT sum(failed) FROM days"), 20);
    assert_int_equal(number("SELECT cost_micro_usd FROM requests LIMIT 1"), 1234);
    assert_int_equal(number("SELECT count(*) FROM requests WHERE endpoint = '/chat/completions' AND"
                            " ending = 'DONE' AND id = 'req_1' AND status = 200"),
                     100);
    assert_sums_agree();
}

/* What was not committed never was; records come again from the position that is committed. */
static void test_position(void **state)
{
    uint64_t position;
    (void)state;
    struct ledger *l = open_it();
    assert_true(ledger_position(l, SERVER, 2, &position));
    assert_int_equal(position, 0);
    assert_true(ledger_begin(l));
    add_some(l, 10);
    assert_true(ledger_mark(l, SERVER, 2, 0, 10));
    assert_true(ledger_commit(l));
    assert_true(ledger_begin(l));
    add_some(l, 5);
    assert_true(ledger_mark(l, SERVER, 2, 10, 15));
    ledger_close(l); /* as if killed */

    l = open_it();
    assert_true(ledger_position(l, SERVER, 2, &position));
    assert_int_equal(position, 10);
    assert_true(ledger_position(l, SERVER, 3, &position));
    assert_int_equal(position, 0);
    assert_true(ledger_position(l, SERVER + 1, 2, &position));
    assert_int_equal(position, 0);
    assert_int_equal(number("SELECT sum(requests) FROM days"), 10);
    assert_true(ledger_begin(l));
    add_some(l, 1);
    ledger_undo(l);
    assert_true(ledger_begin(l));
    assert_true(ledger_commit(l));
    ledger_close(l);
    assert_int_equal(number("SELECT count(*) FROM requests"), 10);
}

/* A batch that begins where another has ended meanwhile is refused as a whole. */
static void test_written_meanwhile(void **state)
{
    (void)state;
    struct ledger *l = open_it();
    assert_true(ledger_begin(l));
    add_some(l, 10);
    assert_true(ledger_mark(l, SERVER, 2, 0, 10));
    assert_true(ledger_commit(l));
    assert_true(ledger_begin(l));
    assert_false(ledger_mark(l, SERVER, 2, 0, 10));
    assert_non_null(strstr(ledger_error(l), "another"));
    ledger_undo(l);
    assert_true(ledger_begin(l));
    add_some(l, 2);
    assert_true(ledger_mark(l, SERVER, 2, 10, 12));
    assert_true(ledger_commit(l));
    ledger_close(l);
    assert_int_equal(number("SELECT count(*) FROM requests"), 12);
    assert_int_equal(number("SELECT position FROM positions"), 12);
}

/* More clients in a batch than are summed up in memory at once. */
static void test_many_clients(void **state)
{
    enum { CLIENTS = 3000 };

    char name[16];
    (void)state;
    struct ledger *l = open_it();
    assert_true(ledger_begin(l));
    for (int i = 0; i < 2 * CLIENTS; i++) {
        (void)snprintf(name, sizeof(name), "c%d", i % CLIENTS);
        struct journal_record r = record_of(FIRST, str_c(name), STR("claude-a"));
        assert_true(ledger_add(l, &r));
    }
    assert_true(ledger_commit(l));
    ledger_close(l);
    assert_int_equal(number("SELECT count(*) FROM days WHERE requests = 2"), CLIENTS);
    assert_int_equal(number("SELECT count(*) FROM days"), CLIENTS);
    assert_sums_agree();
}

/* Version 1 had requests alone: their sums are made, and new ones added to them. */
static void test_from_version_1(void **state)
{
    (void)state;
    execute("CREATE TABLE requests("
            " at_us INTEGER NOT NULL, id TEXT NOT NULL, client TEXT NOT NULL, model TEXT NOT NULL,"
            " endpoint TEXT NOT NULL, status INTEGER NOT NULL, ending TEXT NOT NULL,"
            " done INTEGER NOT NULL, estimated INTEGER NOT NULL, duration_us INTEGER NOT NULL,"
            " input INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL,"
            " cache_write_1h INTEGER NOT NULL, output INTEGER NOT NULL, reasoning INTEGER NOT NULL,"
            " web_searches INTEGER NOT NULL, cost_micro_usd INTEGER NOT NULL);"
            "CREATE INDEX requests_at ON requests(at_us);"
            "INSERT INTO requests VALUES(1763856000000000,'a','alice','claude-a','/x',200,'DONE',"
            " 1,0,5, 1,2,3,4,5,6,7,8);"
            "INSERT INTO requests VALUES(1763942399999999,'b','alice','claude-a','/x',502,'X',"
            " 0,0,5, 10,20,30,40,50,60,70,80);"
            "INSERT INTO requests VALUES(1763942400000000,'c','alice','claude-a','/x',200,'DONE',"
            " 1,0,5, 1,1,1,1,1,1,1,1);"
            "PRAGMA user_version = 1;");
    struct ledger *l = open_it();
    assert_int_equal(number("PRAGMA user_version"), 3);
    assert_int_equal(number("SELECT count(*) FROM days"), 2);
    assert_int_equal(number("SELECT cost_micro_usd FROM days WHERE day = '2025-11-23'"), 88);
    assert_int_equal(number("SELECT failed FROM days WHERE day = '2025-11-23'"), 1);
    assert_true(ledger_begin(l));
    struct journal_record r = record_of(FIRST, STR("alice"), STR("claude-a"));
    assert_true(ledger_add(l, &r));
    assert_true(ledger_commit(l));
    ledger_close(l);
    assert_int_equal(number("SELECT cost_micro_usd FROM days WHERE day = '2025-11-23'"), 88 + 1234);
    assert_sums_agree();
    ledger_close(open_it()); /* opened again, nothing changes */
    assert_sums_agree();
}

static void test_refused(void **state)
{
    char error[LEDGER_ERROR];
    (void)state;
    ledger_close(open_it());
    execute("PRAGMA user_version = 99");
    assert_null(ledger_open(path, error));
    assert_non_null(strstr(error, "newer"));
    assert_null(ledger_open_reading(path, error));
    assert_non_null(strstr(error, "99"));
    remove_all();
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    (void)fprintf(f, "%01000d", 7);
    (void)fclose(f);
    assert_null(ledger_open(path, error));
    assert_non_null(strstr(error, "not a database"));
    assert_null(ledger_open("/nowhere/usage.db", error));
    assert_true(error[0]);
    assert_null(ledger_open_reading("/nowhere/usage.db", error));
    assert_true(error[0]);
}

static void test_forgetting(void **state)
{
    (void)state;
    struct ledger *l = open_it();
    assert_true(ledger_begin(l));
    add_some(l, 100); /* half of them on each day */
    assert_true(ledger_mark(l, SERVER, 1, 0, 100));
    assert_true(ledger_forget(l, FIRST + DAY_US, 20));
    assert_true(ledger_commit(l));
    assert_int_equal(number("SELECT count(*) FROM requests"), 80);
    assert_true(ledger_forget(l, FIRST + DAY_US, 1000));
    assert_int_equal(number("SELECT count(*) FROM requests"), 50);
    assert_int_equal(number("SELECT min(at_us) FROM requests"), (int64_t)(FIRST + DAY_US));
    assert_int_equal(number("SELECT sum(requests) FROM days"), 100); /* sums stay */
    assert_int_equal(number("SELECT count(*) FROM positions"), 1);
    ledger_close(l);
}

struct seen {
    size_t n;
    int64_t requests, output;
    char last[128];
};

static void on_row(void *ctx, const struct ledger_sums *s)
{
    struct seen *seen = ctx;
    seen->n++;
    seen->requests += s->requests;
    seen->output += s->output;
    (void)snprintf(seen->last, sizeof(seen->last), "%.*s|%.*s|%.*s", STR_FMT(s->day),
                   STR_FMT(s->client), STR_FMT(s->model));
}

static void test_report(void **state)
{
    static const struct {
        struct ledger_query query;
        size_t n;
        int64_t requests;
        const char *last;
    } cases[] = {
        {{.by = LEDGER_DAY}, 2, 96, "2025-11-24||"},
        {{.by = LEDGER_CLIENT}, 2, 96, "|bob's; DROP TABLE days|"},
        {{.by = LEDGER_MODEL}, 2, 96, "||claude-b"},
        {{.by = LEDGER_DAY | LEDGER_MODEL}, 4, 96, "2025-11-24||claude-b"},
        {{.by = LEDGER_DAY | LEDGER_CLIENT | LEDGER_MODEL},
         8,
         96,
         "2025-11-24|bob's; DROP TABLE days|claude-b"},
        {{.by = LEDGER_MODEL, .since = STR_INIT("2025-11-24")}, 2, 48, "||claude-b"},
        {{.by = LEDGER_DAY, .until = STR_INIT("2025-11-23")}, 1, 48, "2025-11-23||"},
        {{.by = LEDGER_DAY, .client = STR_INIT("alice")}, 2, 48, "2025-11-24||"},
        {{.by = LEDGER_CLIENT, .model = STR_INIT("claude-a"), .since = STR_INIT("2025-11-24")},
         2,
         24,
         "|bob's; DROP TABLE days|"},
        {{.by = LEDGER_CLIENT, .client = STR_INIT("nobody")}, 0, 0, ""},
        {{.by = 0}, 1, 96, "||"},
    };

    char error[LEDGER_ERROR];
    (void)state;
    struct ledger *writer = open_it();
    assert_true(ledger_begin(writer));
    add_some(writer, 96);
    assert_true(ledger_commit(writer));
    assert_true(ledger_begin(writer)); /* under way while it is read */
    add_some(writer, 4);
    struct ledger *l = ledger_open_reading(path, error);
    assert_non_null(l);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct seen seen = {.n = 0};
        assert_true(ledger_report(l, &cases[i].query, on_row, &seen));
        if (seen.n != cases[i].n || seen.requests != cases[i].requests)
            fail_msg("case %zu: %zu rows, %lld requests", i, seen.n, (long long)seen.requests);
        assert_string_equal(seen.last, cases[i].last);
    }
    ledger_close(l);
    ledger_close(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_sums, clean),
        cmocka_unit_test_teardown(test_position, clean),
        cmocka_unit_test_teardown(test_written_meanwhile, clean),
        cmocka_unit_test_teardown(test_many_clients, clean),
        cmocka_unit_test_teardown(test_from_version_1, clean),
        cmocka_unit_test_teardown(test_refused, clean),
        cmocka_unit_test_teardown(test_forgetting, clean),
        cmocka_unit_test_teardown(test_report, clean),
    };
    if (!mkdtemp(folder))
        return 1;
    (void)snprintf(path, sizeof(path), "%s/usage.db", folder);
    clock_refresh();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(folder);
    return failed;
}
