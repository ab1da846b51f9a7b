/* journal.h - records of requests on their way from the workers to the database.
 *
 *   worker --journal_put--> its ring (rings.h) --> scribe --commit--> database
 *                                                       \--> journal_release
 *
 * A worker puts a record before its exchange is over, so one that is killed loses nothing it had put.
 * Records stay until the database has them; positions are committed with them, which is what keeps a
 * record from being written twice (ledger.h).
 */
#ifndef CCPROXY_STORE_JOURNAL_H
#define CCPROXY_STORE_JOURNAL_H

#include "base/str.h"
#include "store/rings.h"

enum { JOURNAL_RINGS = RINGS_MAX, JOURNAL_RECORDS = 4096, JOURNAL_TEXT = 64 };

struct journal_text {
    uint8_t n;
    char p[JOURNAL_TEXT];
};

/* One request. It holds names and numbers only: nothing of what was said, and no credential. */
struct journal_record {
    uint64_t at_us; /* of its end, since 1970 */
    uint64_t duration_us;
    int64_t input, cache_read, cache_write, cache_write_1h; /* tokens; cache_write holds the 1h's */
    int64_t output, reasoning;                              /* tokens; output holds the reasoning */
    int64_t web_searches;
    int64_t cost_micro_usd;
    int32_t status;
    bool done;      /* the client got the whole answer */
    bool estimated; /* the output, of an answer that broke off */
    struct journal_text id, client, model, endpoint, ending;
};

enum journal_state { JOURNAL_OFF, JOURNAL_WRITES, JOURNAL_FAILS };

struct journal;

struct journal *journal_new(void);
void journal_free(struct journal *j);
/* A number for this server's life, not negative: positions belong to it. */
int64_t journal_server(const struct journal *j);

/* Cut at JOURNAL_TEXT bytes. */
void journal_set(struct journal_text *t, struct str s);
struct str journal_str(const struct journal_text *t);

/* For the one process that writes this ring. False: there was no room, and it is counted. */
bool journal_put(struct journal *j, unsigned ring, const struct journal_record *r);

/* For the scribe: records from tail to head wait; they may be read until they are released. */
uint64_t journal_tail(const struct journal *j, unsigned ring);
uint64_t journal_head(const struct journal *j,
                      unsigned ring); /* at most JOURNAL_RECORDS behind tail */
const struct journal_record *journal_at(const struct journal *j, unsigned ring, uint64_t position);
void journal_release(struct journal *j, unsigned ring, uint64_t tail);

/* How the scribe does, for everybody to see. */
void journal_say(struct journal *j, enum journal_state state);
enum journal_state journal_state(const struct journal *j);
/* Over all rings: records that wait, and those dropped since the start. */
uint64_t journal_waiting(const struct journal *j);
uint64_t journal_lost(const struct journal *j);

#endif
