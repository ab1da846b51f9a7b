/* ledger.c - see ledger.h.
 *
 *   ledger_add --> a row for each record, at once
 *             \--> sums of the batch, in memory --ledger_commit--> one addition for each of them
 *
 * Sums are added in one order by every server, so that two which write to one database wait for
 * each other and never in a circle.
 */
#include "store/ledger.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/ledger_db.h"
#include "store/ledger_url.h"

enum { DAY_TEXT = 10, SUMS_MAX = 512, SLOTS = 1024, COUNTS = 8 };

static const uint64_t day_us = UINT64_C(86400) * 1000000;

enum statement { ADD_REQUEST, ADD_TO_DAY, MARK, ALL };

static const char *const texts[ALL] = {
    [ADD_REQUEST] = "INSERT INTO requests VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,"
                    " ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    [ADD_TO_DAY] =
        "INSERT INTO days VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        " ON CONFLICT(day, client, model) DO UPDATE SET"
        " requests = days.requests + excluded.requests, failed = days.failed + excluded.failed,"
        " input = days.input + excluded.input, cache_read = days.cache_read + excluded.cache_read,"
        " cache_write = days.cache_write + excluded.cache_write,"
        " cache_write_1h = days.cache_write_1h + excluded.cache_write_1h,"
        " output = days.output + excluded.output, reasoning = days.reasoning + excluded.reasoning,"
        " web_searches = days.web_searches + excluded.web_searches,"
        " cost_micro_usd = days.cost_micro_usd + excluded.cost_micro_usd",
    [MARK] = "INSERT INTO positions VALUES(?1, ?2, ?3, ?4) ON CONFLICT(server, ring)"
             " DO UPDATE SET position = excluded.position, at_us = excluded.at_us"
             " WHERE positions.position = ?5",
};

static const char ask_position[] = "SELECT position FROM positions WHERE server = ?1 AND ring = ?2";
static const char forget_positions[] = "DELETE FROM positions WHERE at_us < ?1";

struct sums {
    uint64_t day; /* since 1970 */
    struct journal_text client, model;
    int64_t requests, failed, counts[COUNTS];
};

struct ledger {
    struct ledger_db *db;
    size_t n;
    struct sums sums[SUMS_MAX];
    uint16_t slots[SLOTS]; /* index + 1; 0: free */
};

const char *ledger_error(const struct ledger *l)
{
    return l->db->error;
}

bool ledger_fail(struct ledger_db *db, const char *why)
{
    (void)snprintf(db->error, sizeof(db->error), "%s", why);
    return false;
}

static bool run(struct ledger *l, const char *sql)
{
    return l->db->kind->run(l->db, sql);
}

static struct ledger_value number(int64_t n)
{
    return (struct ledger_value){.number = n};
}

static struct ledger_value text(struct str s)
{
    return (struct ledger_value){.text = s.p ? s : STR("")};
}

static int64_t number_of(struct str cell)
{
    int64_t n = 0;
    return str_to_i64(cell, &n) ? n : 0;
}

static void take_number(void *ctx, const struct str cells[LEDGER_CELLS])
{
    *(int64_t *)ctx = number_of(cells[0]);
}

/* --- opening -------------------------------------------------------------------------------- */

static bool read_version(struct ledger *l, int64_t *ret)
{
    *ret = 0;
    return l->db->kind->ask(l->db, l->db->kind->version, NULL, 0, take_number, ret);
}

static bool migrate(struct ledger *l, int64_t from)
{
    char sql[64];
    for (int v = (int)from; v < LEDGER_VERSION; v++) {
        (void)snprintf(sql, sizeof(sql), "%s%d", l->db->kind->set_version, v + 1);
        if (!run(l, l->db->kind->migrations[v]) || !run(l, sql))
            return false;
    }
    return true;
}

/* The version is read inside the transaction: of two servers that start, one migrates. */
static bool update(struct ledger *l)
{
    int64_t version;
    if (!run(l, l->db->kind->begin_migration) || !read_version(l, &version))
        return false;
    if (version <= LEDGER_VERSION)
        return migrate(l, version) && run(l, "COMMIT");
    (void)snprintf(l->db->error, LEDGER_ERROR, "it is of version %d, made by a newer ccproxy",
                   (int)version);
    return false;
}

static bool prepare(struct ledger *l)
{
    for (unsigned i = 0; i < ALL; i++)
        if (!l->db->kind->prepare(l->db, i, texts[i]))
            return false;
    return true;
}

static bool check_version(struct ledger *l)
{
    int64_t version;
    if (!read_version(l, &version))
        return false;
    if (version == LEDGER_VERSION)
        return true;
    (void)snprintf(l->db->error, LEDGER_ERROR, "it is of version %d, this ccproxy reads %d",
                   (int)version, LEDGER_VERSION);
    return false;
}

static struct ledger *open_with(const char *where, bool writing, char error[LEDGER_ERROR])
{
    const struct ledger_kind *kind = ledger_is_url(str_c(where)) ? &ledger_pg : &ledger_sqlite;
    struct ledger_db *db = kind->open(where, writing, error);
    if (!db)
        return NULL;
    struct ledger *l = mem_zalloc(sizeof(*l));
    l->db = db;
    if (writing ? update(l) && prepare(l) : check_version(l))
        return l;
    memcpy(error, db->error, LEDGER_ERROR);
    ledger_close(l);
    return NULL;
}

struct ledger *ledger_open(const char *where, char error[LEDGER_ERROR])
{
    return open_with(where, true, error);
}

struct ledger *ledger_open_reading(const char *where, char error[LEDGER_ERROR])
{
    return open_with(where, false, error);
}

void ledger_close(struct ledger *l)
{
    if (!l)
        return;
    l->db->kind->close(l->db);
    mem_free(l);
}

/* --- sums ----------------------------------------------------------------------------------- */

/* Counts of both tables have one order. */
static void counts_of(const struct journal_record *r, int64_t counts[COUNTS])
{
    counts[0] = r->input;
    counts[1] = r->cache_read;
    counts[2] = r->cache_write;
    counts[3] = r->cache_write_1h;
    counts[4] = r->output;
    counts[5] = r->reasoning;
    counts[6] = r->web_searches;
    counts[7] = r->cost_micro_usd;
}

static int compare(const void *a, const void *b)
{
    const struct sums *x = a, *y = b;
    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    int order = str_cmp(journal_str(&x->client), journal_str(&y->client));
    return order ? order : str_cmp(journal_str(&x->model), journal_str(&y->model));
}

static bool is_of(const struct sums *s, uint64_t day, const struct journal_record *r)
{
    return s->day == day && str_eq(journal_str(&s->client), journal_str(&r->client)) &&
           str_eq(journal_str(&s->model), journal_str(&r->model));
}

/* The sums that r belongs to; there is room for new ones. */
static struct sums *find(struct ledger *l, const struct journal_record *r)
{
    uint64_t day = r->at_us / day_us;
    size_t at =
        (day + hash_sip(journal_str(&r->client)) + 31 * hash_sip(journal_str(&r->model))) % SLOTS;
    for (; l->slots[at]; at = (at + 1) % SLOTS)
        if (is_of(&l->sums[l->slots[at] - 1], day, r))
            return &l->sums[l->slots[at] - 1];
    struct sums *s = &l->sums[l->n++];
    l->slots[at] = (uint16_t)l->n;
    *s = (struct sums){.day = day};
    journal_set(&s->client, journal_str(&r->client));
    journal_set(&s->model, journal_str(&r->model));
    return s;
}

static void forget_sums(struct ledger *l)
{
    l->n = 0;
    memset(l->slots, 0, sizeof(l->slots));
}

static bool add_to_day(struct ledger *l, const struct sums *s)
{
    char when[CLOCK_TEXT];
    struct ledger_value values[5 + COUNTS] = {
        text(str_head(clock_rfc3339(s->day * day_us, when), DAY_TEXT)),
        text(journal_str(&s->client)),
        text(journal_str(&s->model)),
        number(s->requests),
        number(s->failed),
    };
    for (size_t i = 0; i < COUNTS; i++)
        values[5 + i] = number(s->counts[i]);
    return l->db->kind->put(l->db, ADD_TO_DAY, values, ARRAY_LEN(values));
}

static bool write_sums(struct ledger *l)
{
    qsort(l->sums, l->n, sizeof(l->sums[0]), compare);
    for (size_t i = 0; i < l->n; i++)
        if (!add_to_day(l, &l->sums[i]))
            return false;
    forget_sums(l);
    return true;
}

/* --- writing -------------------------------------------------------------------------------- */

bool ledger_begin(struct ledger *l)
{
    forget_sums(l);
    return run(l, l->db->kind->begin);
}

bool ledger_commit(struct ledger *l)
{
    return write_sums(l) && l->db->kind->settle(l->db) && run(l, "COMMIT");
}

void ledger_undo(struct ledger *l)
{
    forget_sums(l);
    l->db->kind->undo(l->db);
}

static bool add_request(struct ledger *l, const struct journal_record *r,
                        const int64_t counts[COUNTS])
{
    struct ledger_value values[10 + COUNTS] = {
        number((int64_t)r->at_us),
        text(journal_str(&r->id)),
        text(journal_str(&r->client)),
        text(journal_str(&r->model)),
        text(journal_str(&r->endpoint)),
        number(r->status),
        text(journal_str(&r->ending)),
        number(r->done),
        number(r->estimated),
        number((int64_t)r->duration_us),
    };
    for (size_t i = 0; i < COUNTS; i++)
        values[10 + i] = number(counts[i]);
    return l->db->kind->put(l->db, ADD_REQUEST, values, ARRAY_LEN(values));
}

bool ledger_add(struct ledger *l, const struct journal_record *r)
{
    int64_t counts[COUNTS];
    if (l->n == SUMS_MAX && !write_sums(l))
        return false;
    struct sums *s = find(l, r);
    counts_of(r, counts);
    s->requests++;
    s->failed += !r->done;
    for (size_t i = 0; i < COUNTS; i++)
        s->counts[i] += counts[i];
    return add_request(l, r, counts);
}

bool ledger_mark(struct ledger *l, int64_t server, unsigned ring, uint64_t was, uint64_t position)
{
    const struct ledger_value values[] = {number(server), number(ring), number((int64_t)position),
                                          number((int64_t)clock_wall_us()), number((int64_t)was)};
    return l->db->kind->put(l->db, MARK, values, ARRAY_LEN(values));
}

bool ledger_position(struct ledger *l, int64_t server, unsigned ring, uint64_t *ret)
{
    const struct ledger_value values[] = {number(server), number(ring)};
    int64_t position = 0;
    bool ok =
        l->db->kind->ask(l->db, ask_position, values, ARRAY_LEN(values), take_number, &position);
    *ret = (uint64_t)position;
    return ok;
}

bool ledger_forget(struct ledger *l, uint64_t before_us, int64_t most)
{
    const struct ledger_value values[] = {number((int64_t)before_us), number(most)};
    return l->db->kind->ask(l->db, l->db->kind->forget, values, 2, NULL, NULL) &&
           l->db->kind->ask(l->db, forget_positions, values, 1, NULL, NULL);
}

/* --- reading -------------------------------------------------------------------------------- */

struct asker {
    void (*row)(void *ctx, const struct ledger_sums *sums);
    void *ctx;
};

static void give_sums(void *ctx, const struct str cells[LEDGER_CELLS])
{
    const struct asker *a = ctx;
    const struct ledger_sums sums = {
        .day = cells[0],
        .client = cells[1],
        .model = cells[2],
        .requests = number_of(cells[3]),
        .failed = number_of(cells[4]),
        .input = number_of(cells[5]),
        .cache_read = number_of(cells[6]),
        .cache_write = number_of(cells[7]),
        .output = number_of(cells[8]),
        .reasoning = number_of(cells[9]),
        .web_searches = number_of(cells[10]),
        .cost_micro_usd = number_of(cells[11]),
    };
    a->row(a->ctx, &sums);
}

bool ledger_report(struct ledger *l, const struct ledger_query *q,
                   void (*row)(void *ctx, const struct ledger_sums *sums), void *ctx)
{
    struct asker a = {row, ctx};
    const struct ledger_value values[] = {text(q->since), text(q->until), text(q->client),
                                          text(q->model)};
    char sql[1024];
    (void)snprintf(sql, sizeof(sql),
                   "SELECT %s, %s, %s, sum(requests), sum(failed), sum(input), sum(cache_read),"
                   " sum(cache_write), sum(output), sum(reasoning), sum(web_searches),"
                   " sum(cost_micro_usd) FROM days"
                   " WHERE (?1 = '' OR day >= ?1) AND (?2 = '' OR day <= ?2)"
                   " AND (?3 = '' OR client = ?3) AND (?4 = '' OR model = ?4)"
                   " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
                   q->by & LEDGER_DAY ? "day" : "''", q->by & LEDGER_CLIENT ? "client" : "''",
                   q->by & LEDGER_MODEL ? "model" : "''");
    return l->db->kind->ask(l->db, sql, values, ARRAY_LEN(values), give_sums, &a);
}
