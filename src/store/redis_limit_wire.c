/* redis_limit_wire.c - limits as commands: a script's keys and arguments, or MULTI; and the answers.
 *
 *   items in the caller's order  --->  cells, budgets, leases on the wire  --->  results in that order
 */
#include "store/redis_limit_int.h"

#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "store/redis_script.h"

enum { TICKS_MAX = 60 * 1000 * 1000 }; /* of a cell's period, see redis_script.h */

/* --- words of a command --------------------------------------------------------------------- */

struct command {
    struct str words[REDIS_WORDS_MAX];
    char digits[REDIS_WORDS_MAX][TEXT_U64 + 1];
    size_t n;
};

static void word(struct command *c, struct str s)
{
    ASSERT(c->n < REDIS_WORDS_MAX);
    c->words[c->n++] = s;
}

static void number(struct command *c, int64_t value)
{
    ASSERT(c->n < REDIS_WORDS_MAX);
    char *at = c->digits[c->n];
    size_t sign = value < 0;
    at[0] = '-';
    uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    word(c, str_of(at, sign + text_u64(size, at + sign)));
}

/* --- scripts -------------------------------------------------------------------------------- */

static uint64_t tick_us(uint64_t period_us)
{
    return (period_us + TICKS_MAX - 1) / TICKS_MAX;
}

static void item_args(struct command *c, const struct redis_limit_item *it, int64_t cost)
{
    switch (it->kind) {
    case REDIS_LIMIT_CELL: {
        uint64_t tick = tick_us(it->period_us);
        number(c, (int64_t)it->limit);
        number(c, (int64_t)it->burst);
        number(c, (int64_t)(it->period_us / tick));
        number(c, (int64_t)tick);
        number(c, cost);
        return;
    }
    case REDIS_LIMIT_BUDGET:
        number(c, (int64_t)it->limit);
        number(c, (int64_t)(it->period_us / 1000000));
        number(c, it->offset_s);
        number(c, cost);
        return;
    case REDIS_LIMIT_LEASE:
        number(c, (int64_t)it->limit);
        number(c, (int64_t)(it->period_us / 1000));
        return;
    }
}

static int64_t count_of(const struct redis_limit_call *c, enum redis_limit_kind kind)
{
    int64_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += c->items[i].kind == kind;
    return n;
}

static void line_args(struct command *c, const struct redis_limit_call *call, size_t i)
{
    if (call->settles && call->items[i].kind == REDIS_LIMIT_CELL) {
        number(c, (int64_t)call->ticket.line[i].owed);
        number(c, (int64_t)call->ticket.line[i].given);
    }
}

static bool write_script(const struct redis_limit_call *c, struct buf *out)
{
    struct command cmd;
    cmd.n = 0;
    if (c->step == BY_NAME) {
        word(&cmd, STR("EVALSHA"));
        word(&cmd, str_of(c->limits->sha[c->settles], SHA_TEXT));
    } else {
        word(&cmd, STR("EVAL"));
        word(&cmd, c->settles ? redis_script_settle : redis_script_admit);
    }
    number(&cmd, (int64_t)c->n);
    for (int kind = REDIS_LIMIT_CELL; kind <= REDIS_LIMIT_LEASE; kind++)
        for (size_t i = 0; i < c->n; i++)
            if ((int)c->items[i].kind == kind)
                word(&cmd, c->items[i].key);
    word(&cmd, str_of(c->ticket.id, sizeof(c->ticket.id)));
    number(&cmd, count_of(c, REDIS_LIMIT_CELL));
    number(&cmd, count_of(c, REDIS_LIMIT_BUDGET));
    number(&cmd, count_of(c, REDIS_LIMIT_LEASE));
    number(&cmd, (int64_t)c->ticket.at_us);
    for (int kind = REDIS_LIMIT_CELL; kind <= REDIS_LIMIT_LEASE; kind++)
        for (size_t i = 0; i < c->n; i++)
            if ((int)c->items[i].kind == kind) {
                item_args(&cmd, &c->items[i],
                          c->settles ? c->change[i] : (int64_t)c->items[i].cost);
                line_args(&cmd, c, i);
            }
    return redis_format(out, cmd.words, cmd.n);
}

/* --- without scripts ------------------------------------------------------------------------ */

static uint64_t month_left_us(uint64_t wall_us, int64_t offset_s)
{
    time_t t = (time_t)(wall_us / 1000000) - offset_s;
    struct tm tm;
    ASSERT(gmtime_r(&t, &tm));
    tm = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon + 1, .tm_mday = 1};
    return (uint64_t)(timegm(&tm) - t) * 1000000;
}

/* How long a window that starts now lasts. */
static uint64_t window_us(const struct redis_limit_item *it)
{
    if (it->kind != REDIS_LIMIT_BUDGET)
        return it->period_us;
    uint64_t wall = clock_wall_us();
    if (it->period_us == 0)
        return month_left_us(wall, it->offset_s);
    int64_t period = (int64_t)it->period_us;
    int64_t into = ((int64_t)wall - it->offset_s * 1000000) % period;
    return (uint64_t)(period - (into < 0 ? into + period : into));
}

static bool put(struct buf *out, struct command *cmd, unsigned *n)
{
    bool ok = redis_format(out, cmd->words, cmd->n);
    cmd->n = 0;
    ++*n;
    return ok;
}

/* SET NX begins a window where there is none; INCRBY answers with what is used by then. */
static bool write_window(struct redis_limit_call *c, size_t i, struct buf *out, unsigned *n)
{
    const struct redis_limit_item *it = &c->items[i];
    struct str key = arena_join(&c->arena, it->key, STR(":w"));
    struct command cmd;
    cmd.n = 0;
    word(&cmd, STR("SET"));
    word(&cmd, key);
    word(&cmd, STR("0"));
    word(&cmd, STR("PX"));
    number(&cmd, (int64_t)(window_us(it) / 1000 + 1));
    word(&cmd, STR("NX"));
    bool ok = put(out, &cmd, n);
    word(&cmd, STR("INCRBY"));
    word(&cmd, key);
    number(&cmd, c->settles ? c->change[i] : (int64_t)it->cost);
    ok = put(out, &cmd, n) && ok;
    word(&cmd, STR("PTTL"));
    word(&cmd, key);
    return put(out, &cmd, n) && ok;
}

static bool write_lease(struct redis_limit_call *c, size_t i, struct buf *out, unsigned *n)
{
    const struct redis_limit_item *it = &c->items[i];
    struct str key = arena_join(&c->arena, it->key, STR(":w"));
    struct str id = str_of(c->ticket.id, sizeof(c->ticket.id));
    int64_t now_ms = (int64_t)(clock_wall_us() / 1000), life_ms = (int64_t)(it->period_us / 1000);
    struct command cmd;
    cmd.n = 0;
    if (c->settles) {
        word(&cmd, STR("ZREM"));
        word(&cmd, key);
        word(&cmd, id);
        return put(out, &cmd, n);
    }
    word(&cmd, STR("ZREMRANGEBYSCORE"));
    word(&cmd, key);
    word(&cmd, STR("-inf"));
    number(&cmd, now_ms);
    bool ok = put(out, &cmd, n);
    word(&cmd, STR("ZADD"));
    word(&cmd, key);
    number(&cmd, now_ms + life_ms);
    word(&cmd, id);
    ok = put(out, &cmd, n) && ok;
    word(&cmd, STR("PEXPIRE"));
    word(&cmd, key);
    number(&cmd, life_ms);
    ok = put(out, &cmd, n) && ok;
    word(&cmd, STR("ZCARD"));
    word(&cmd, key);
    return put(out, &cmd, n) && ok;
}

static bool write_plain(struct redis_limit_call *c, struct buf *out, unsigned *ret_n)
{
    struct command cmd;
    cmd.n = 0;
    word(&cmd, STR("MULTI"));
    bool ok = put(out, &cmd, ret_n);
    for (size_t i = 0; i < c->n; i++)
        ok = (c->items[i].kind == REDIS_LIMIT_LEASE ? write_lease(c, i, out, ret_n)
                                                    : write_window(c, i, out, ret_n)) &&
             ok;
    word(&cmd, STR("EXEC"));
    return put(out, &cmd, ret_n) && ok;
}

bool redis_limit_write(struct redis_limit_call *c, struct buf *out, unsigned *ret_n)
{
    *ret_n = 0;
    if (c->step == PLAIN)
        return write_plain(c, out, ret_n);
    *ret_n = 1;
    return write_script(c, out);
}

/* --- answers -------------------------------------------------------------------------------- */

static bool integer_at(const struct redis_reply *r, size_t i, uint64_t *ret)
{
    if (i >= r->n || r->items[i]->type != REDIS_INTEGER)
        return false;
    *ret = r->items[i]->integer > 0 ? (uint64_t)r->items[i]->integer : 0;
    return true;
}

static bool read_scripted(const struct redis_limit_call *c, const struct redis_reply *r,
                          struct redis_limit_answer *a)
{
    uint64_t admitted;
    size_t at = 2;
    size_t wanted = 2 + 3 * c->n + 2 * (size_t)count_of(c, REDIS_LIMIT_CELL);
    if (r->type != REDIS_ARRAY || r->n != wanted || !integer_at(r, 0, &admitted) ||
        !integer_at(r, 1, &a->ticket.at_us))
        return false;
    a->admitted = admitted == 1;
    for (int kind = REDIS_LIMIT_CELL; kind <= REDIS_LIMIT_LEASE; kind++)
        for (size_t i = 0; i < c->n; i++) {
            struct redis_limit_result *res = &a->items[i];
            if ((int)c->items[i].kind != kind)
                continue;
            if (!integer_at(r, at, &res->remaining) || !integer_at(r, at + 1, &res->reset_us) ||
                !integer_at(r, at + 2, &res->retry_us))
                return false;
            res->fits = r->items[at + 2]->integer < 0;
            at += 3;
        }
    for (size_t i = 0; i < c->n; i++)
        if (c->items[i].kind == REDIS_LIMIT_CELL) {
            if (!integer_at(r, at, &a->ticket.line[i].owed) ||
                !integer_at(r, at + 1, &a->ticket.line[i].given))
                return false;
            at += 2;
        }
    return true;
}

/* With this request counted already. */
static bool fits(const struct redis_limit_item *it, uint64_t used)
{
    switch (it->kind) {
    case REDIS_LIMIT_CELL: return used <= it->limit || used <= it->cost;
    case REDIS_LIMIT_BUDGET: return used < it->limit + it->cost;
    case REDIS_LIMIT_LEASE: return used <= it->limit || it->limit == 0;
    }
    UNREACHABLE();
}

static bool read_plain(const struct redis_limit_call *c, const struct redis_reply *r,
                       struct redis_limit_answer *a)
{
    size_t at = 0;
    if (r->type != REDIS_ARRAY)
        return false;
    a->admitted = true;
    a->ticket.approximate = true;
    a->ticket.at_us = clock_wall_us();
    for (size_t i = 0; i < c->n; i++) {
        const struct redis_limit_item *it = &c->items[i];
        struct redis_limit_result *res = &a->items[i];
        uint64_t used, left_ms = 0;
        if (it->kind == REDIS_LIMIT_LEASE) {
            if (!integer_at(r, at + 3, &used))
                return false;
            at += 4;
        } else {
            if (!integer_at(r, at + 1, &used) || !integer_at(r, at + 2, &left_ms))
                return false;
            at += 3;
        }
        res->fits = fits(it, used);
        res->remaining = used < it->limit ? it->limit - used : 0;
        res->reset_us = left_ms * 1000;
        res->retry_us = res->fits ? 0 : left_ms * 1000;
        a->admitted = a->admitted && res->fits;
    }
    return at == r->n;
}

bool redis_limit_read(const struct redis_limit_call *c, const struct redis_reply *r,
                      struct redis_limit_answer *a)
{
    return c->step == PLAIN ? read_plain(c, r, a) : read_scripted(c, r, a);
}
