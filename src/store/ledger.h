/* ledger.h - the usage database: a row for each request, and sums by day, client and model.
 *
 *   requests    one row each, kept for a number of days
 *   days        sums, kept for good: a day in UTC, a client, a model
 *   positions   how far each ring of each server's journal has been written
 *
 * Rows, sums and positions are committed together, so whatever is killed and written again is
 * counted once. Money is whole millionths of a dollar. SQLite in WAL mode: readers never wait for
 * the writer, nor it for them. A commit survives every process; it is safe from a loss of power once
 * SQLite's next checkpoint has synced it.
 *
 * A failed call leaves its reason in ledger_error() and everything since ledger_begin undone by
 * ledger_undo(). One process at a time writes.
 */
#ifndef CCPROXY_STORE_LEDGER_H
#define CCPROXY_STORE_LEDGER_H

#include "store/journal.h"

enum { LEDGER_ERROR = 256 };

struct ledger;

/* Makes the database where there is none, and brings an older one up to date. NULL with a reason. */
struct ledger *ledger_open(const char *path, char error[LEDGER_ERROR]);
/* Only to read it; a server may be writing. */
struct ledger *ledger_open_reading(const char *path, char error[LEDGER_ERROR]);
void ledger_close(struct ledger *l); /* NULL is fine */
const char *ledger_error(const struct ledger *l);

NODISCARD bool ledger_begin(struct ledger *l);
NODISCARD bool ledger_add(struct ledger *l, const struct journal_record *r);
/* The position behind the last record of that ring. */
NODISCARD bool ledger_mark(struct ledger *l, int64_t server, unsigned ring, uint64_t position);
NODISCARD bool ledger_commit(struct ledger *l);
void ledger_undo(struct ledger *l);
/* What was marked last, or 0. */
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
