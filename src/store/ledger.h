/* ledger.h - the usage database: a row for each request, and sums by day, client and model.
 *
 *   requests    one row each, kept for a number of days
 *   days        sums, kept for good: a day in UTC, a client, a model
 *   positions   how far each ring of each server's journal has been written
 *
 * Rows, sums and positions are committed together, so whatever is killed and written again is
 * counted once. Money is whole millionths of a dollar.
 *
 * It is a SQLite file, which one process at a time writes: a commit survives every process, and is
 * safe from a loss of power once SQLite's next checkpoint has synced it. Or it is on a PostgreSQL
 * server, to which any number of gateways write; no call waits for it for long.
 *
 * A failed call leaves its reason in ledger_error() and everything since ledger_begin undone by
 * ledger_undo().
 */
#ifndef CCPROXY_STORE_LEDGER_H
#define CCPROXY_STORE_LEDGER_H

#include "store/journal.h"

enum { LEDGER_ERROR = 256 };

struct ledger;

/* Where: a path, or postgresql:// (ledger_url.h). Makes the tables where there are none, and
 * brings older ones up to date. NULL with a reason, which holds no password. */
struct ledger *ledger_open(const char *where, char error[LEDGER_ERROR]);
/* Only to read it; a server may be writing. */
struct ledger *ledger_open_reading(const char *where, char error[LEDGER_ERROR]);
void ledger_close(struct ledger *l); /* NULL is fine */
const char *ledger_error(const struct ledger *l);

NODISCARD bool ledger_begin(struct ledger *l);
NODISCARD bool ledger_add(struct ledger *l, const struct journal_record *r);
/* The position behind the last record of that ring; it was the other one, or 0 for none, when this
 * batch was begun. Fails, at once or at ledger_commit, when it is not any more: a commit whose answer
 * was lost has come through after all. */
NODISCARD bool ledger_mark(struct ledger *l, int64_t server, unsigned ring, uint64_t was,
                           uint64_t position);
NODISCARD bool ledger_commit(struct ledger *l);
void ledger_undo(struct ledger *l);
/* What was committed last, or 0. */
NODISCARD bool ledger_position(struct ledger *l, int64_t server, unsigned ring, uint64_t *ret);
/* Deletes up to `most` requests that ended before then, and positions of servers silent since. */
NODISCARD bool ledger_forget(struct ledger *l, uint64_t before_us, int64_t most);

enum { LEDGER_DAY = 1, LEDGER_CLIENT = 2, LEDGER_MODEL = 4 };

struct ledger_query {
    unsigned by;              /* of those: a row for each combination */
    struct str since, until;  /* days "2026-11-23", both included; absent: all */
    struct str client, model; /* absent: all */
};

struct ledger_sums {
    struct str day, client, model; /* empty where not asked for by it; until the next row */
    int64_t requests, failed;
    int64_t input, cache_read, cache_write, output, reasoning, web_searches;
    int64_t cost_micro_usd;
};

NODISCARD bool ledger_report(struct ledger *l, const struct ledger_query *q,
                             void (*row)(void *ctx, const struct ledger_sums *sums), void *ctx);

#endif
