/* ledger_pg.c - the ledger on a PostgreSQL server, through libpq.
 *
 *   begin   put put put put ...   settle             COMMIT
 *     |      \---one pipeline, sent as it fills---/    |
 *   answer                      all answers          answer
 *
 * Every exchange has a limit of time, of ours by poll and of the server's by statement_timeout, so
 * a server that hangs stops nobody; the server lets go of a gateway that hangs in a transaction.
 * After the first failure nothing more is sent: the scribe connects anew.
 *
 * Parameters go in binary, numbers as int8. A text the server would refuse, which is not UTF-8, is
 * written with "?" in its place, since one such record would hold up all others for good.
 */
#include <endian.h>
#include <libpq-fe.h>
#include <poll.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/ledger_db.h"
#include "store/ledger_url.h"

enum {
    WRITE_MS = 3000,
    READ_MS = 30000,
    BINARY = 1,
    SQL_MAX = 2048,
};

#define NUMBER "BIGINT NOT NULL"
#define NAME   "TEXT COLLATE \"C\" NOT NULL"

/* The numbers are those of the SQLite file's; there never was a server of the first two. */
/* clang-format off */
static const char *const migrations[LEDGER_VERSION] = {
    "CREATE TABLE requests(" LEDGER_REQUESTS(NUMBER, NAME) ");"
    "CREATE INDEX requests_at ON requests USING brin(at_us);",
    "CREATE TABLE days(" LEDGER_DAYS(NUMBER, NAME) ");",
    "CREATE TABLE positions(" LEDGER_POSITIONS(NUMBER) ");",
};
/* clang-format on */

/* The lock comes before the table, since two that make one table at once fail. Where the tables are there, no
 * right to make any is needed. */
static const char begin_migration[] = "BEGIN; SELECT pg_advisory_xact_lock(7163520418);"
                                      "DO $$BEGIN IF to_regclass('ccproxy_version') IS NULL THEN"
                                      " CREATE TABLE ccproxy_version(version BIGINT NOT NULL);"
                                      " INSERT INTO ccproxy_version VALUES(0); END IF; END$$";

struct server {
    struct ledger_db db;
    PGconn *c;
    unsigned put; /* whose answers are awaited */
    int limit_ms;
    uint64_t until_us; /* of the exchange */
    bool broken;
};

static struct server *server_of(struct ledger_db *db)
{
    return CONTAINER_OF(db, struct server, db);
}

/* --- failing -------------------------------------------------------------------------------- */

/* libpq's are of several lines, of which the first says it. */
static bool fail(struct server *s, const char *why)
{
    struct str line = str_c(why);
    if (str_starts(line, STR("ERROR:  ")))
        line = str_skip(line, strlen("ERROR:  "));
    line = str_head(line, str_find(line, '\n'));
    if (!s->broken)
        (void)snprintf(s->db.error, sizeof(s->db.error), "%.*s", STR_FMT(line));
    s->broken = true;
    return false;
}

static bool fail_connection(struct server *s)
{
    return fail(s, PQerrorMessage(s->c));
}

static bool check(struct server *s, bool ok)
{
    return ok ? !s->broken : fail_connection(s);
}

/* --- waiting -------------------------------------------------------------------------------- */

static void start_clock(struct server *s)
{
    clock_refresh();
    s->until_us = clock_us() + (uint64_t)s->limit_ms * 1000;
}

/* A signal may come early; whoever waits asks again. */
static bool wait_for(struct server *s, short events)
{
    struct pollfd p = {.fd = PQsocket(s->c), .events = events};
    clock_refresh();
    if (clock_us() >= s->until_us)
        return fail(s, "the server does not answer");
    (void)poll(&p, 1, (int)((s->until_us - clock_us()) / 1000) + 1);
    return true;
}

/* Until an answer is there, sending meanwhile what is not sent yet. */
static bool await(struct server *s)
{
    for (;;) {
        int unsent = PQflush(s->c);
        if (unsent < 0 || !PQconsumeInput(s->c))
            return fail_connection(s);
        if (!PQisBusy(s->c))
            return true;
        if (!wait_for(s, (short)(unsent ? POLLIN | POLLOUT : POLLIN)))
            return false;
    }
}

static bool next(struct server *s, PGresult **ret)
{
    *ret = NULL;
    if (!await(s))
        return false;
    *ret = PQgetResult(s->c);
    return true;
}

static bool is_good(PGresult *r)
{
    ExecStatusType status = PQresultStatus(r);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static bool take(struct server *s, PGresult *r, ledger_row_fn *fn, void *ctx)
{
    if (!is_good(r))
        return fail(s, PQresultErrorMessage(r));
    for (int row = 0; fn && row < PQntuples(r); row++) {
        struct str cells[LEDGER_CELLS] = {0};
        for (int i = 0; i < PQnfields(r) && i < LEDGER_CELLS; i++)
            cells[i] = str_of(PQgetvalue(r, row, i), (size_t)PQgetlength(r, row, i));
        fn(ctx, cells);
    }
    return true;
}

/* All results of what was sent. */
static bool finish(struct server *s, ledger_row_fn *fn, void *ctx)
{
    PGresult *r;
    bool ok = true;
    while (next(s, &r) && r) {
        ok = take(s, r, fn, ctx) && ok;
        PQclear(r);
    }
    return ok && !s->broken;
}

/* --- opening -------------------------------------------------------------------------------- */

static bool run(struct ledger_db *db, const char *sql)
{
    struct server *s = server_of(db);
    start_clock(s);
    return !s->broken && check(s, PQsendQuery(s->c, sql)) && finish(s, NULL, NULL);
}

static void close_it(struct ledger_db *db)
{
    struct server *s = server_of(db);
    PQfinish(s->c);
    mem_free(s);
}

/* Kerberos would load code and read files, and nothing asks for it. */
static PGconn *start(const char *where)
{
    const char *const keys[] = {"fallback_application_name",
                                "keepalives_idle",
                                "keepalives_interval",
                                "keepalives_count",
                                "dbname",
                                "gssencmode",
                                "client_encoding",
                                NULL};
    const char *const values[] = {"ccproxy", "10", "5", "3", where, "disable", "UTF8", NULL};
    return PQconnectStartParams(keys, values, 1);
}

static bool connect_it(struct server *s)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    start_clock(s);
    if (PQstatus(s->c) == CONNECTION_BAD)
        return fail_connection(s);
    while (state != PGRES_POLLING_OK) {
        if (!wait_for(s, state == PGRES_POLLING_READING ? POLLIN : POLLOUT))
            return false;
        state = PQconnectPoll(s->c);
        if (state == PGRES_POLLING_FAILED)
            return fail_connection(s);
    }
    return check(s, PQsetnonblocking(s->c, 1) == 0);
}

static void say_nothing(void *ctx, const char *message)
{
    (void)ctx;
    (void)message;
}

static bool set_up(struct server *s, bool writing)
{
    (void)PQsetNoticeProcessor(s->c, say_nothing, NULL);
    return connect_it(s) && run(&s->db, writing ? "SET statement_timeout = 3000;"
                                                  "SET idle_in_transaction_session_timeout = 10000"
                                                : "SET statement_timeout = 30000;"
                                                  "SET default_transaction_read_only = on");
}

static struct ledger_db *open_it(const char *where, bool writing, char error[LEDGER_ERROR])
{
    const char *fault = ledger_url_fault(str_c(where));
    if (fault) {
        (void)snprintf(error, LEDGER_ERROR, "%s", fault);
        return NULL;
    }
    struct server *s = mem_zalloc(sizeof(*s));
    s->db.kind = &ledger_pg;
    s->limit_ms = writing ? WRITE_MS : READ_MS;
    s->c = start(where);
    ASSERT(s->c != NULL);
    if (set_up(s, writing))
        return &s->db;
    memcpy(error, s->db.error, LEDGER_ERROR);
    close_it(&s->db);
    return NULL;
}

/* --- statements ----------------------------------------------------------------------------- */

/* ?1 is $1 here. */
static void to_dialect(const char *sql, char out[SQL_MAX])
{
    (void)snprintf(out, SQL_MAX, "%s", sql);
    for (char *p = out; *p; p++)
        if (*p == '?')
            *p = '$';
}

/* The room of parameters on their way. */
struct parameters {
    uint64_t numbers[LEDGER_VALUES];
    char texts[LEDGER_VALUES][JOURNAL_TEXT];
    const char *values[LEDGER_VALUES];
    int lengths[LEDGER_VALUES], formats[LEDGER_VALUES];
};

static bool is_storable(struct str s)
{
    return text_utf8_valid(s) == s.n && str_find(s, '\0') == s.n;
}

static struct str made_storable(struct str s, char room[JOURNAL_TEXT])
{
    size_t n = size_min(s.n, JOURNAL_TEXT);
    for (size_t i = 0; i < n; i++)
        room[i] = s.p[i] != '\0' && (unsigned char)s.p[i] < 0x80 ? s.p[i] : '?';
    return str_of(room, n);
}

static void fill(struct parameters *p, const struct ledger_value *values, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct str s = values[i].text;
        p->formats[i] = BINARY;
        if (s.p) {
            s = is_storable(s) ? s : made_storable(s, p->texts[i]);
        } else {
            p->numbers[i] = htobe64((uint64_t)values[i].number);
            s = str_of((const char *)&p->numbers[i], sizeof(p->numbers[i]));
        }
        p->values[i] = s.p;
        p->lengths[i] = (int)s.n;
    }
}

static void name_of(unsigned i, char name[8])
{
    (void)snprintf(name, 8, "s%u", i);
}

static bool prepare(struct ledger_db *db, unsigned i, const char *sql)
{
    struct server *s = server_of(db);
    char text[SQL_MAX], name[8];
    to_dialect(sql, text);
    name_of(i, name);
    start_clock(s);
    return !s->broken && check(s, PQsendPrepare(s->c, name, text, 0, NULL)) &&
           finish(s, NULL, NULL);
}

static bool put(struct ledger_db *db, unsigned i, const struct ledger_value *values, unsigned n)
{
    struct server *s = server_of(db);
    struct parameters p;
    char name[8];
    name_of(i, name);
    fill(&p, values, n);
    if (s->broken || !check(s, PQenterPipelineMode(s->c)))
        return false;
    s->put++;
    return check(s, PQsendQueryPrepared(s->c, name, (int)n, p.values, p.lengths, p.formats, 0));
}

/* The answer of one put, which ends with a NULL. */
static bool settle_one(struct server *s)
{
    PGresult *r, *end = NULL;
    if (!next(s, &r))
        return false;
    bool ok = take(s, r, NULL, NULL);
    if (ok && str_eq(str_c(PQcmdTuples(r)), STR("0")))
        ok = fail(s, "another has written the same");
    PQclear(r);
    if (ok && next(s, &end))
        PQclear(end);
    return ok && !s->broken;
}

static bool settle(struct ledger_db *db)
{
    struct server *s = server_of(db);
    PGresult *sync = NULL;
    if (!s->put)
        return !s->broken;
    start_clock(s);
    if (!check(s, PQpipelineSync(s->c)))
        return false;
    for (; s->put; s->put--)
        if (!settle_one(s))
            return false;
    bool ok = next(s, &sync) && PQresultStatus(sync) == PGRES_PIPELINE_SYNC;
    PQclear(sync);
    return check(s, ok && PQexitPipelineMode(s->c));
}

static bool ask(struct ledger_db *db, const char *sql, const struct ledger_value *values,
                unsigned n, ledger_row_fn *fn, void *ctx)
{
    struct server *s = server_of(db);
    struct parameters p;
    char text[SQL_MAX];
    to_dialect(sql, text);
    fill(&p, values, n);
    start_clock(s);
    return !s->broken &&
           check(s,
                 PQsendQueryParams(s->c, text, (int)n, NULL, p.values, p.lengths, p.formats, 0)) &&
           finish(s, fn, ctx);
}

/* A transaction ends with its connection, too, which is what a broken one leads to. */
static void undo(struct ledger_db *db)
{
    if (settle(db))
        (void)run(db, "ROLLBACK");
}

const struct ledger_kind ledger_pg = {
    .open = open_it,
    .close = close_it,
    .run = run,
    .prepare = prepare,
    .put = put,
    .settle = settle,
    .ask = ask,
    .undo = undo,
    .begin = "BEGIN",
    .begin_migration = begin_migration,
    .migrations = migrations,
    .version = "SELECT version FROM ccproxy_version",
    .set_version = "UPDATE ccproxy_version SET version = ",
    .forget = "DELETE FROM requests WHERE ctid = ANY(ARRAY(SELECT ctid FROM requests"
              " WHERE at_us < ?1 LIMIT ?2 FOR UPDATE SKIP LOCKED))",
};
