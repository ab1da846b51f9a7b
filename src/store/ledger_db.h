/* ledger_db.h - what the ledger asks of a database, and what each kind of database answers.
 *
 *   ledger.c  --statements, one text for all-->  struct ledger_db  --+--> ledger_sqlite.c: a file
 *             <--rows, as texts----------------                      +--> ledger_pg.c: a server
 *
 * Parameters are ?1, ?2 and so on, in order. Every number is of 64 bits. A failed call leaves its
 * reason in `error`. put may only send: settle tells whether everything since begin was done.
 */
#ifndef CCPROXY_STORE_LEDGER_DB_H
#define CCPROXY_STORE_LEDGER_DB_H

#include "store/ledger.h"

enum { LEDGER_STATEMENTS = 8, LEDGER_VALUES = 18, LEDGER_CELLS = 12 };

/* Text where text.p is not NULL, else a number. */
struct ledger_value {
    struct str text;
    int64_t number;
};

typedef void ledger_row_fn(void *ctx, const struct str cells[LEDGER_CELLS]);

struct ledger_db {
    const struct ledger_kind *kind;
    char error[LEDGER_ERROR];
};

struct ledger_kind {
    struct ledger_db *(*open)(const char *where, bool writing, char error[LEDGER_ERROR]);
    void (*close)(struct ledger_db *db);
    /* Statements without parameters and rows. */
    bool (*run)(struct ledger_db *db, const char *sql);
    /* Keeps it as statement i. */
    bool (*prepare)(struct ledger_db *db, unsigned i, const char *sql);
    /* Runs statement i, which must change a row. */
    bool (*put)(struct ledger_db *db, unsigned i, const struct ledger_value *values, unsigned n);
    bool (*settle)(struct ledger_db *db);
    /* One statement at once; fn, which may be NULL, gets its rows. */
    bool (*ask)(struct ledger_db *db, const char *sql, const struct ledger_value *values,
                unsigned n, ledger_row_fn *fn, void *ctx);
    void (*undo)(struct ledger_db *db);

    const char *begin;
    const char *begin_migration; /* of several that start, one migrates */
    /* Migration n takes it from version n to n + 1, in one transaction with the number itself. */
    const char *const *migrations;
    const char *version;     /* asks for it */
    const char *set_version; /* before the number */
    const char *forget;      /* up to ?2 requests before ?1 */
};

enum { LEDGER_VERSION = 3 };

/* Columns of the tables, which both kinds share: NAME is the type of a text that is compared. */
#define LEDGER_COUNTS(NUMBER)                                                                      \
    " input " NUMBER ", cache_read " NUMBER ", cache_write " NUMBER ", cache_write_1h " NUMBER     \
    ", output " NUMBER ", reasoning " NUMBER ", web_searches " NUMBER ", cost_micro_usd " NUMBER
#define LEDGER_REQUESTS(NUMBER, NAME)                                                              \
    " at_us " NUMBER ", id " NAME ", client " NAME ", model " NAME ", endpoint " NAME              \
    ", status " NUMBER ", ending " NAME ", done " NUMBER ", estimated " NUMBER                     \
    ", duration_us " NUMBER "," LEDGER_COUNTS(NUMBER)
#define LEDGER_DAYS(NUMBER, NAME)                                                                  \
    " day " NAME ", client " NAME ", model " NAME ", requests " NUMBER ", failed " NUMBER          \
    "," LEDGER_COUNTS(NUMBER) ", PRIMARY KEY(day, client, model)"
#define LEDGER_POSITIONS(NUMBER)                                                                   \
    " server " NUMBER ", ring " NUMBER ", position " NUMBER ", at_us " NUMBER                      \
    ", PRIMARY KEY(server, ring)"

extern const struct ledger_kind ledger_sqlite, ledger_pg;

/* Says why, and is false. */
bool ledger_fail(struct ledger_db *db, const char *why);

#endif
