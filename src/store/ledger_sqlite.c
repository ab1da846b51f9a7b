/* ledger_sqlite.c - the ledger in a file. Statements are prepared once, texts bound, never pasted.
 *
 * WAL mode: readers never wait for the writer, nor it for them. A migration that has been released
 * is never edited: a change is a new one.
 */
#include <sqlite3.h>

#include "base/mem.h"
#include "store/ledger_db.h"

enum { BUSY_MS = 2000 };

#define NUMBER "INTEGER NOT NULL"
#define NAME   "TEXT NOT NULL"

/* clang-format off */
static const char *const migrations[LEDGER_VERSION] = {
    /* Requests. */
    "CREATE TABLE requests(" LEDGER_REQUESTS(NUMBER, NAME) ");"
    "CREATE INDEX requests_at ON requests(at_us);",
    /* Sums, with those of what is there. */
    "CREATE TABLE days(" LEDGER_DAYS(NUMBER, NAME) ") WITHOUT ROWID;"
    "INSERT INTO days SELECT date(at_us / 1000000, 'unixepoch') AS d, client, model, count(*),"
    " sum(NOT done), sum(input), sum(cache_read), sum(cache_write), sum(cache_write_1h),"
    " sum(output), sum(reasoning), sum(web_searches), sum(cost_micro_usd)"
    " FROM requests GROUP BY d, client, model;",
    /* Positions in the journals. */
    "CREATE TABLE positions(" LEDGER_POSITIONS(NUMBER) ") WITHOUT ROWID;",
};

/* clang-format on */

struct file {
    struct ledger_db db;
    sqlite3 *sqlite;
    sqlite3_stmt *statements[LEDGER_STATEMENTS];
};

static struct file *file_of(struct ledger_db *db)
{
    return CONTAINER_OF(db, struct file, db);
}

static bool check(struct file *f, bool ok)
{
    return ok || ledger_fail(&f->db, sqlite3_errmsg(f->sqlite));
}

static bool run(struct ledger_db *db, const char *sql)
{
    struct file *f = file_of(db);
    return check(f, sqlite3_exec(f->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK);
}

static void close_it(struct ledger_db *db)
{
    struct file *f = file_of(db);
    for (size_t i = 0; i < LEDGER_STATEMENTS; i++)
        (void)sqlite3_finalize(f->statements[i]);
    (void)sqlite3_close(f->sqlite);
    mem_free(f);
}

static struct ledger_db *open_it(const char *where, bool writing, char error[LEDGER_ERROR])
{
    struct file *f = mem_zalloc(sizeof(*f));
    int flags = writing ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    f->db.kind = &ledger_sqlite;
    bool ok = sqlite3_open_v2(where, &f->sqlite, flags | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK;
    if (ok)
        (void)sqlite3_busy_timeout(f->sqlite, BUSY_MS);
    if (check(f, ok) &&
        (!writing ||
         run(&f->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                     "PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;")))
        return &f->db;
    memcpy(error, f->db.error, LEDGER_ERROR);
    close_it(&f->db);
    return NULL;
}

static bool prepare(struct ledger_db *db, unsigned i, const char *sql)
{
    struct file *f = file_of(db);
    return check(f, sqlite3_prepare_v3(f->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                       &f->statements[i], NULL) == SQLITE_OK);
}

static void bind(sqlite3_stmt *s, const struct ledger_value *values, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct ledger_value *v = &values[i];
        int rc = v->text.p
                     ? sqlite3_bind_text(s, (int)i + 1, v->text.p, (int)v->text.n, SQLITE_STATIC)
                     : sqlite3_bind_int64(s, (int)i + 1, v->number);
        ASSERT(rc == SQLITE_OK);
    }
}

static bool put(struct ledger_db *db, unsigned i, const struct ledger_value *values, unsigned n)
{
    struct file *f = file_of(db);
    sqlite3_stmt *s = f->statements[i];
    bind(s, values, n);
    bool done = sqlite3_step(s) == SQLITE_DONE;
    if (!check(f, sqlite3_reset(s) == SQLITE_OK && done))
        return false;
    return sqlite3_changes(f->sqlite) > 0 || ledger_fail(db, "another has written the same");
}

static bool settle(struct ledger_db *db)
{
    (void)db;
    return true;
}

static void give_row(sqlite3_stmt *s, ledger_row_fn *fn, void *ctx)
{
    struct str cells[LEDGER_CELLS] = {0};
    for (int i = 0; i < sqlite3_column_count(s) && i < LEDGER_CELLS; i++) {
        const char *p = (const char *)sqlite3_column_text(s, i);
        cells[i] = str_of(p ? p : "", (size_t)sqlite3_column_bytes(s, i));
    }
    if (fn)
        fn(ctx, cells);
}

static bool ask(struct ledger_db *db, const char *sql, const struct ledger_value *values,
                unsigned n, ledger_row_fn *fn, void *ctx)
{
    struct file *f = file_of(db);
    sqlite3_stmt *s = NULL;
    int rc;
    if (!check(f, sqlite3_prepare_v2(f->sqlite, sql, -1, &s, NULL) == SQLITE_OK))
        return false;
    bind(s, values, n);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW)
        give_row(s, fn, ctx);
    return check(f, sqlite3_finalize(s) == SQLITE_OK && rc == SQLITE_DONE);
}

/* After some failures SQLite has rolled back by itself, and then this has nothing to do. */
static void undo(struct ledger_db *db)
{
    (void)sqlite3_exec(file_of(db)->sqlite, "ROLLBACK", NULL, NULL, NULL);
}

const struct ledger_kind ledger_sqlite = {
    .open = open_it,
    .close = close_it,
    .run = run,
    .prepare = prepare,
    .put = put,
    .settle = settle,
    .ask = ask,
    .undo = undo,
    .begin = "BEGIN IMMEDIATE",
    .begin_migration = "BEGIN IMMEDIATE",
    .migrations = migrations,
    .version = "PRAGMA user_version",
    .set_version = "PRAGMA user_version = ",
    .forget = "DELETE FROM requests WHERE rowid IN"
              " (SELECT rowid FROM requests WHERE at_us < ?1 LIMIT ?2)",
};
