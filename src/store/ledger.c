/* ledger.c - see ledger.h. Statements are prepared once; texts are bound, never pasted.
 *
 * Migration n takes a database from version n to n + 1, in one transaction with the number itself
 * (PRAGMA user_version). One that has been released is never edited: a change is a new one.
 */
#include "store/ledger.h"

#include <sqlite3.h>

#include "base/clock.h"
#include "base/mem.h"

enum { BUSY_MS = 2000, DAY_TEXT = 10 };

static const char *const migrations[] = {
    /* Requests. */
    "CREATE TABLE requests("
    " at_us INTEGER NOT NULL, id TEXT NOT NULL, client TEXT NOT NULL, model TEXT NOT NULL,"
    " endpoint TEXT NOT NULL, status INTEGER NOT NULL, ending TEXT NOT NULL,"
    " done INTEGER NOT NULL, estimated INTEGER NOT NULL, duration_us INTEGER NOT NULL,"
    " input INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL,"
    " cache_write_1h INTEGER NOT NULL, output INTEGER NOT NULL, reasoning INTEGER NOT NULL,"
    " web_searches INTEGER NOT NULL, cost_micro_usd INTEGER NOT NULL);"
    "CREATE INDEX requests_at ON requests(at_us);",
    /* Sums, with those of what is there. */
    "CREATE TABLE days("
    " day TEXT NOT NULL, client TEXT NOT NULL, model TEXT NOT NULL,"
    " requests INTEGER NOT NULL, failed INTEGER NOT NULL,"
    " input INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL,"
    " cache_write_1h INTEGER NOT NULL, output INTEGER NOT NULL, reasoning INTEGER NOT NULL,"
    " web_searches INTEGER NOT NULL, cost_micro_usd INTEGER NOT NULL,"
    " PRIMARY KEY(day, client, model)) WITHOUT ROWID;"
    "INSERT INTO days SELECT date(at_us / 1000000, 'unixepoch') AS d, client, model, count(*),"
    " sum(NOT done), sum(input), sum(cache_read), sum(cache_write), sum(cache_write_1h),"
    " sum(output), sum(reasoning), sum(web_searches), sum(cost_micro_usd)"
    " FROM requests GROUP BY d, client, model;",
    /* Positions in the journals. */
    "CREATE TABLE positions("
    " server INTEGER NOT NULL, ring INTEGER NOT NULL, position INTEGER NOT NULL,"
    " at_us INTEGER NOT NULL, PRIMARY KEY(server, ring)) WITHOUT ROWID;",
};

enum { VERSION = ARRAY_LEN(migrations) };

enum statement { ADD_REQUEST, ADD_TO_DAY, MARK, POSITION, FORGET_REQUESTS, FORGET_POSITIONS, ALL };

static const char *const texts[ALL] = {
    [ADD_REQUEST] = "INSERT INTO requests VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,"
                    " ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    [ADD_TO_DAY] =
        "INSERT INTO days VALUES(?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
        " ON CONFLICT DO UPDATE SET requests = requests + 1, failed = failed + excluded.failed,"
        " input = input + excluded.input, cache_read = cache_read + excluded.cache_read,"
        " cache_write = cache_write + excluded.cache_write,"
        " cache_write_1h = cache_write_1h + excluded.cache_write_1h,"
        " output = output + excluded.output, reasoning = reasoning + excluded.reasoning,"
        " web_searches = web_searches + excluded.web_searches,"
        " cost_micro_usd = cost_micro_usd + excluded.cost_micro_usd",
    [MARK] = "INSERT OR REPLACE INTO positions VALUES(?1, ?2, ?3, ?4)",
    [POSITION] = "SELECT position FROM positions WHERE server = ?1 AND ring = ?2",
    [FORGET_REQUESTS] = "DELETE FROM requests WHERE rowid IN"
                        " (SELECT rowid FROM requests WHERE at_us < ?1 LIMIT ?2)",
    [FORGET_POSITIONS] = "DELETE FROM positions WHERE at_us < ?1",
};

struct ledger {
    sqlite3 *db;
    sqlite3_stmt *statements[ALL];
};

const char *ledger_error(const struct ledger *l)
{
    return sqlite3_errmsg(l->db);
}

static bool run(struct ledger *l, const char *sql)
{
    return sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

/* --- opening -------------------------------------------------------------------------------- */

static bool read_version(struct ledger *l, int *ret)
{
    sqlite3_stmt *s = NULL;
    bool ok = sqlite3_prepare_v2(l->db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK &&
              sqlite3_step(s) == SQLITE_ROW;
    if (ok)
        *ret = sqlite3_column_int(s, 0);
    return sqlite3_finalize(s) == SQLITE_OK && ok;
}

static bool migrate(struct ledger *l, int from)
{
    char number[64];
    for (int v = from; v < VERSION; v++) {
        (void)snprintf(number, sizeof(number), "PRAGMA user_version = %d", v + 1);
        if (!run(l, migrations[v]) || !run(l, number))
            return false;
    }
    return true;
}

/* The version is read inside the transaction: of two servers that start, one migrates. */
static bool update(struct ledger *l, char error[LEDGER_ERROR])
{
    int version = 0;
    if (!run(l, "BEGIN IMMEDIATE") || !read_version(l, &version))
        return false;
    if (version > VERSION) {
        (void)snprintf(error, LEDGER_ERROR, "it is of version %d, made by a newer ccproxy",
                       version);
        ledger_undo(l);
        return false;
    }
    if (migrate(l, version) && run(l, "COMMIT"))
        return true;
    (void)snprintf(error, LEDGER_ERROR, "%s", ledger_error(l));
    ledger_undo(l);
    return false;
}

static bool prepare(struct ledger *l)
{
    for (size_t i = 0; i < ALL; i++)
        if (sqlite3_prepare_v3(l->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &l->statements[i],
                               NULL) != SQLITE_OK)
            return false;
    return true;
}

static struct ledger *open_with(const char *path, int flags)
{
    struct ledger *l = mem_zalloc(sizeof(*l));
    if (sqlite3_open_v2(path, &l->db, flags | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK)
        (void)sqlite3_busy_timeout(l->db, BUSY_MS);
    return l;
}

static struct ledger *give_up(struct ledger *l, char error[LEDGER_ERROR])
{
    if (!error[0])
        (void)snprintf(error, LEDGER_ERROR, "%s", ledger_error(l));
    ledger_close(l);
    return NULL;
}

struct ledger *ledger_open(const char *path, char error[LEDGER_ERROR])
{
    struct ledger *l = open_with(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    error[0] = '\0';
    if (!run(l, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                "PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;") ||
        !update(l, error) || !prepare(l))
        return give_up(l, error);
    return l;
}

struct ledger *ledger_open_reading(const char *path, char error[LEDGER_ERROR])
{
    struct ledger *l = open_with(path, SQLITE_OPEN_READONLY);
    int version = 0;
    error[0] = '\0';
    if (!read_version(l, &version))
        return give_up(l, error);
    if (version != VERSION) {
        (void)snprintf(error, LEDGER_ERROR, "it is of version %d, this ccproxy reads %d", version,
                       VERSION);
        return give_up(l, error);
    }
    return l;
}

void ledger_close(struct ledger *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < ALL; i++)
        (void)sqlite3_finalize(l->statements[i]);
    (void)sqlite3_close(l->db);
    mem_free(l);
}

/* --- writing -------------------------------------------------------------------------------- */

static void bind_int(sqlite3_stmt *s, int at, int64_t n)
{
    ASSERT(sqlite3_bind_int64(s, at, n) == SQLITE_OK);
}

static void bind_str(sqlite3_stmt *s, int at, struct str text)
{
    ASSERT(sqlite3_bind_text(s, at, text.p ? text.p : "", (int)text.n, SQLITE_STATIC) == SQLITE_OK);
}

/* Runs a statement that gives no rows. */
static bool finish(sqlite3_stmt *s)
{
    bool done = sqlite3_step(s) == SQLITE_DONE;
    return sqlite3_reset(s) == SQLITE_OK && done;
}

bool ledger_begin(struct ledger *l)
{
    return run(l, "BEGIN IMMEDIATE");
}

bool ledger_commit(struct ledger *l)
{
    return run(l, "COMMIT");
}

/* After some failures SQLite has rolled back by itself, and then this has nothing to do. */
void ledger_undo(struct ledger *l)
{
    (void)run(l, "ROLLBACK");
}

/* Counts of both tables have one order. */
static void bind_counts(sqlite3_stmt *s, int at, const struct journal_record *r)
{
    const int64_t counts[] = {r->input,  r->cache_read, r->cache_write,  r->cache_write_1h,
                              r->output, r->reasoning,  r->web_searches, r->cost_micro_usd};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        bind_int(s, at + (int)i, counts[i]);
}

static bool add_request(struct ledger *l, const struct journal_record *r)
{
    sqlite3_stmt *s = l->statements[ADD_REQUEST];
    bind_int(s, 1, (int64_t)r->at_us);
    bind_str(s, 2, journal_str(&r->id));
    bind_str(s, 3, journal_str(&r->client));
    bind_str(s, 4, journal_str(&r->model));
    bind_str(s, 5, journal_str(&r->endpoint));
    bind_int(s, 6, r->status);
    bind_str(s, 7, journal_str(&r->ending));
    bind_int(s, 8, r->done);
    bind_int(s, 9, r->estimated);
    bind_int(s, 10, (int64_t)r->duration_us);
    bind_counts(s, 11, r);
    return finish(s);
}

static bool add_to_day(struct ledger *l, const struct journal_record *r)
{
    sqlite3_stmt *s = l->statements[ADD_TO_DAY];
    char when[CLOCK_TEXT];
    bind_str(s, 1, str_head(clock_rfc3339(r->at_us, when), DAY_TEXT));
    bind_str(s, 2, journal_str(&r->client));
    bind_str(s, 3, journal_str(&r->model));
    bind_int(s, 4, !r->done);
    bind_counts(s, 5, r);
    return finish(s);
}

bool ledger_add(struct ledger *l, const struct journal_record *r)
{
    return add_request(l, r) && add_to_day(l, r);
}

bool ledger_mark(struct ledger *l, int64_t server, unsigned ring, uint64_t position)
{
    sqlite3_stmt *s = l->statements[MARK];
    bind_int(s, 1, server);
    bind_int(s, 2, ring);
    bind_int(s, 3, (int64_t)position);
    bind_int(s, 4, (int64_t)clock_wall_us());
    return finish(s);
}

bool ledger_position(struct ledger *l, int64_t server, unsigned ring, uint64_t *ret)
{
    sqlite3_stmt *s = l->statements[POSITION];
    bind_int(s, 1, server);
    bind_int(s, 2, ring);
    int rc = sqlite3_step(s);
    *ret = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
    return sqlite3_reset(s) == SQLITE_OK && (rc == SQLITE_ROW || rc == SQLITE_DONE);
}

bool ledger_forget(struct ledger *l, uint64_t before_us, int64_t most)
{
    sqlite3_stmt *requests = l->statements[FORGET_REQUESTS];
    sqlite3_stmt *positions = l->statements[FORGET_POSITIONS];
    bind_int(requests, 1, (int64_t)before_us);
    bind_int(requests, 2, most);
    bind_int(positions, 1, (int64_t)before_us);
    return finish(requests) && finish(positions);
}

/* --- reading -------------------------------------------------------------------------------- */

static struct str column_str(sqlite3_stmt *s, int at)
{
    const char *p = (const char *)sqlite3_column_text(s, at);
    return str_of(p ? p : "", (size_t)sqlite3_column_bytes(s, at));
}

static struct ledger_sums sums_of(sqlite3_stmt *s)
{
    return (struct ledger_sums){
        .day = column_str(s, 0),
        .client = column_str(s, 1),
        .model = column_str(s, 2),
        .requests = sqlite3_column_int64(s, 3),
        .failed = sqlite3_column_int64(s, 4),
        .input = sqlite3_column_int64(s, 5),
        .cache_read = sqlite3_column_int64(s, 6),
        .cache_write = sqlite3_column_int64(s, 7),
        .output = sqlite3_column_int64(s, 8),
        .reasoning = sqlite3_column_int64(s, 9),
        .web_searches = sqlite3_column_int64(s, 10),
        .cost_micro_usd = sqlite3_column_int64(s, 11),
    };
}

static sqlite3_stmt *prepare_report(struct ledger *l, unsigned by)
{
    sqlite3_stmt *s = NULL;
    char sql[1024];
    (void)snprintf(sql, sizeof(sql),
                   "SELECT %s, %s, %s, sum(requests), sum(failed), sum(input), sum(cache_read),"
                   " sum(cache_write), sum(output), sum(reasoning), sum(web_searches),"
                   " sum(cost_micro_usd) FROM days"
                   " WHERE (?1 = '' OR day >= ?1) AND (?2 = '' OR day <= ?2)"
                   " AND (?3 = '' OR client = ?3) AND (?4 = '' OR model = ?4)"
                   " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
                   by & LEDGER_DAY ? "day" : "''", by & LEDGER_CLIENT ? "client" : "''",
                   by & LEDGER_MODEL ? "model" : "''");
    (void)sqlite3_prepare_v2(l->db, sql, -1, &s, NULL);
    return s;
}

bool ledger_report(struct ledger *l, const struct ledger_query *q,
                   void (*row)(void *ctx, const struct ledger_sums *sums), void *ctx)
{
    sqlite3_stmt *s = prepare_report(l, q->by);
    int rc;
    if (!s)
        return false;
    bind_str(s, 1, q->since);
    bind_str(s, 2, q->until);
    bind_str(s, 3, q->client);
    bind_str(s, 4, q->model);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        const struct ledger_sums sums = sums_of(s);
        row(ctx, &sums);
    }
    return sqlite3_finalize(s) == SQLITE_OK && rc == SQLITE_DONE;
}
