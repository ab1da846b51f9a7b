/* redis_reply.c - see redis_reply.h. The only file that knows hiredis.
 *
 * Replies are built by our own functions, in an arena: hiredis 0.14 multiplies an array's announced
 * length unchecked before it allocates, and would allocate whatever a peer announces. Here a reply's
 * items are counted before there is memory for them, and its bytes as they come.
 */
#include "store/redis_reply.h"

#include <hiredis/hiredis.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/text.h"

struct redis_reader {
    redisReader *hiredis;
    struct arena arena;
    size_t bytes_max, items_max;
    size_t items; /* of the reply under way */
    size_t bytes; /* fed and not yet part of a whole reply */
    bool whole;   /* the arena holds a reply that was handed out */
    const char *error;
};

/* --- building --- */

static void *create(const redisReadTask *task, enum redis_type type)
{
    struct redis_reader *r = task->privdata;
    if (++r->items > r->items_max) {
        r->error = "reply has too many items";
        return NULL;
    }
    struct redis_reply *reply = ARENA_NEW(&r->arena, struct redis_reply);
    reply->type = type;
    if (task->parent) {
        struct redis_reply *array = task->parent->obj;
        array->items[task->idx] = reply;
    }
    return reply;
}

static void *create_string(const redisReadTask *task, char *p, size_t n)
{
    enum redis_type type = task->type == REDIS_REPLY_ERROR    ? REDIS_ERROR
                           : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
                                                              : REDIS_STRING;
    struct redis_reader *r = task->privdata;
    struct redis_reply *reply = create(task, type);
    if (reply)
        reply->text = arena_dup(&r->arena, str_of(p, n));
    return reply;
}

static void *create_array(const redisReadTask *task, int n)
{
    struct redis_reader *r = task->privdata;
    if (n < 0 || (size_t)n >= r->items_max - size_min(r->items, r->items_max)) {
        r->error = "reply has too many items";
        return NULL;
    }
    struct redis_reply *reply = create(task, REDIS_ARRAY);
    if (reply) {
        reply->n = (size_t)n;
        reply->items = arena_zalloc(&r->arena, size_max(reply->n, 1) * sizeof(*reply->items));
    }
    return reply;
}

static void *create_integer(const redisReadTask *task, long long n)
{
    struct redis_reply *reply = create(task, REDIS_INTEGER);
    if (reply)
        reply->integer = n;
    return reply;
}

static void *create_nil(const redisReadTask *task)
{
    return create(task, REDIS_NIL);
}

static void free_object(void *reply)
{
    (void)reply; /* the arena's */
}

static redisReplyObjectFunctions functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = free_object,
};

/* --- reading --- */

struct redis_reader *redis_reader_new(size_t bytes_max, size_t items_max)
{
    struct redis_reader *r = mem_zalloc(sizeof(*r));
    r->bytes_max = bytes_max;
    r->items_max = items_max;
    arena_init(&r->arena);
    r->hiredis = redisReaderCreateWithFunctions(&functions);
    ASSERT(r->hiredis);
    r->hiredis->privdata = r;
    return r;
}

void redis_reader_free(struct redis_reader *r)
{
    if (!r)
        return;
    redisReaderFree(r->hiredis);
    arena_done(&r->arena);
    mem_free(r);
}

void redis_reader_feed(struct redis_reader *r, struct str bytes)
{
    r->bytes += bytes.n;
    if (redisReaderFeed(r->hiredis, bytes.p, bytes.n) != REDIS_OK && !r->error)
        r->error = r->hiredis->errstr;
}

static enum redis_read bad(struct redis_reader *r)
{
    if (!r->error)
        r->error = r->hiredis->errstr;
    return REDIS_READ_BAD;
}

enum redis_read redis_reader_next(struct redis_reader *r, const struct redis_reply **ret)
{
    void *reply = NULL;
    if (r->error)
        return REDIS_READ_BAD;
    if (r->whole) {
        arena_done(&r->arena);
        r->items = 0;
        r->whole = false;
    }
    if (redisReaderGetReply(r->hiredis, &reply) != REDIS_OK)
        return bad(r);
    if (!reply) {
        if (r->bytes <= r->bytes_max)
            return REDIS_READ_MORE;
        r->error = "reply is too long";
        return REDIS_READ_BAD;
    }
    r->bytes = r->hiredis->len - r->hiredis->pos;
    r->whole = true;
    *ret = reply;
    return REDIS_READ_DONE;
}

const char *redis_reader_error(const struct redis_reader *r)
{
    return r->error ? r->error : "no error";
}

struct str redis_reply_code(const struct redis_reply *r)
{
    return r && r->type == REDIS_ERROR ? str_head(r->text, str_find(r->text, ' ')) : STR_NONE;
}

/* --- writing --- */

/* '*' or '$', a number, the end of a line. */
static char *put_size(char *at, char kind, size_t n)
{
    *at++ = kind;
    at += text_u64(n, at);
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

bool redis_format(struct buf *out, const struct str *words, size_t n)
{
    enum { SIZE_MAX_TEXT = 1 + TEXT_U64 + 2 };

    size_t room = SIZE_MAX_TEXT;
    ASSERT(n > 0 && n <= REDIS_WORDS_MAX);
    for (size_t i = 0; i < n; i++)
        room += SIZE_MAX_TEXT + words[i].n + 2;
    char *begin = buf_reserve(out, room);
    if (!begin)
        return false;
    char *at = put_size(begin, '*', n);
    for (size_t i = 0; i < n; i++) {
        at = put_size(at, '$', words[i].n);
        if (words[i].n > 0)
            memcpy(at, words[i].p, words[i].n);
        at += words[i].n;
        *at++ = '\r';
        *at++ = '\n';
    }
    buf_commit(out, (size_t)(at - begin));
    return true;
}
