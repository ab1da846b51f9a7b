/* redis_reply.h - RESP2 in both directions; hiredis reads.
 *
 *   bytes --redis_reader_feed--> reader --redis_reader_next--> reply, reply, ...
 *   words --redis_format--> bytes
 *
 * What a reply may be is bounded when the reader is made: bytes and items; hiredis itself goes no
 * deeper than seven arrays. A reply lives in the reader's arena until the next call.
 */
#ifndef CCPROXY_STORE_REDIS_REPLY_H
#define CCPROXY_STORE_REDIS_REPLY_H

#include "base/buf.h"
#include "base/str.h"

enum { REDIS_WORDS_MAX = 96 }; /* of one command */

enum redis_type { REDIS_NIL, REDIS_INTEGER, REDIS_STRING, REDIS_STATUS, REDIS_ERROR, REDIS_ARRAY };

struct redis_reply {
    enum redis_type type;
    int64_t integer; /* INTEGER */
    struct str text; /* STRING, STATUS, ERROR */
    size_t n;        /* ARRAY */
    const struct redis_reply **items;
};

enum redis_read { REDIS_READ_MORE, REDIS_READ_DONE, REDIS_READ_BAD };

struct redis_reader;

struct redis_reader *redis_reader_new(size_t bytes_max, size_t items_max);
void redis_reader_free(struct redis_reader *r);

/* After BAD only freeing is left; redis_reader_error says why (our own text or hiredis', which
 * quotes at most the first wrong byte). */
void redis_reader_feed(struct redis_reader *r, struct str bytes);
enum redis_read redis_reader_next(struct redis_reader *r, const struct redis_reply **ret);
const char *redis_reader_error(const struct redis_reader *r);

/* The first word of an error, "NOSCRIPT"; absent for every other reply. */
struct str redis_reply_code(const struct redis_reply *r);

/* Appends one command; false, and nothing appended, when out has no room for it and some more. Leaves no
 * copy behind: it may hold a password. */
NODISCARD bool redis_format(struct buf *out, const struct str *words, size_t n);

#endif
