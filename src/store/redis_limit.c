/* redis_limit.c - see redis_limit.h.
 *
 *   admit:  BY_NAME --NOSCRIPT--> BY_TEXT          settle:  the same; what got no answer waits in
 *              \                    /                       `waiting` and is sent again
 *               +--scripts refused-+--> PLAIN (MULTI)
 *
 * A call is on one list, under_way or waiting, or being told; it is freed where it leaves them.
 */
#include "store/redis_limit.h"

#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/text.h"
#include "store/redis_script.h"

enum {
    SETTLE_TIMEOUT_US = 100 * 1000, /* nobody waits for it */
    RESEND_US = 100 * 1000,
    RESEND_BATCH = 256,
    WAITING_MAX = 16 * 1024,
    ERRORS_MAX = 3, /* error replies to one settling */
    TICKS_MAX = 60 * 1000 * 1000,
    COMMAND_MAX = 16 * 1024,
    SHA_TEXT = 2 * SHA1_SIZE,
};

enum step { BY_NAME, BY_TEXT, PLAIN };

struct redis_limit_call {
    struct list node;
    struct redis_limit *limits;
    struct redis_call *wire; /* while under way */
    struct arena arena;      /* whole keys */
    struct redis_limit_ticket ticket;
    struct redis_limit_item items[REDIS_LIMIT_ITEMS_MAX];
    int64_t change[REDIS_LIMIT_ITEMS_MAX]; /* settle: difference of cost */
    size_t n;
    enum step step;
    bool settles, sent;
    unsigned errors;
    uint64_t began_us;
    redis_limit_fn *fn; /* NULL: canceled */
    void *ctx;
};

struct redis_limit {
    struct loop *loop;
    struct redis *redis;
    struct str prefix;
    struct list under_way, waiting;
    struct timer resend;
    char sha[2][SHA_TEXT];  /* admit, settle */
    uint64_t plain_connect; /* the connection, by number, that refuses scripts */
    struct redis_limit_stats stats;
};

static void on_reply(void *ctx, enum redis_outcome how, const struct redis_reply *reply);

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
            if ((int)c->items[i].kind == kind)
                item_args(&cmd, &c->items[i],
                          c->settles ? c->change[i] : (int64_t)c->items[i].cost);
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

/* --- sending -------------------------------------------------------------------------------- */

static bool send_call(struct redis_limit_call *c, uint64_t timeout_us)
{
    struct buf out;
    unsigned n = 0;
    buf_init(&out, COMMAND_MAX);
    bool ok = c->step == PLAIN ? write_plain(c, &out, &n) : write_script(c, &out);
    ASSERT(ok); /* few items, short keys */
    c->wire = redis_send(c->limits->redis, buf_str(&out), c->step == PLAIN ? n : 1, timeout_us,
                         on_reply, c);
    buf_done(&out);
    if (!c->wire)
        return false;
    c->sent = true;
    list_remove(&c->node);
    list_push(&c->limits->under_way, &c->node);
    return true;
}

static void free_call(struct redis_limit_call *c)
{
    list_remove(&c->node);
    arena_done(&c->arena);
    mem_free(c);
}

static bool scripts_refused(const struct redis_limit *l)
{
    return l->plain_connect == redis_health(l->redis).stats.connects;
}

static uint64_t at_most(uint64_t n, uint64_t most)
{
    return n < most ? n : most;
}

/* What is longer than anything an operator writes goes by its hash. */
static struct str whole_key(struct redis_limit_call *c, struct str key)
{
    char hex[2 * sizeof(struct sha256)];
    if (c->limits->prefix.n + key.n <= REDIS_LIMIT_KEY_MAX)
        return arena_join(&c->arena, c->limits->prefix, key);
    struct sha256 sum = hash_sha256(key);
    text_hex(sum.bytes, sizeof(sum.bytes), hex);
    return arena_join(&c->arena, c->limits->prefix, str_of(hex, sizeof(hex)));
}

static struct redis_limit_item within_bounds(struct redis_limit_item it)
{
    uint64_t most = REDIS_LIMIT_BUDGET_MAX;
    switch (it.kind) {
    case REDIS_LIMIT_CELL:
        ASSERT(it.limit > 0 && it.period_us > 0);
        most = REDIS_LIMIT_COUNT_MAX;
        break;
    case REDIS_LIMIT_BUDGET: ASSERT(it.period_us % 1000000 == 0); break;
    case REDIS_LIMIT_LEASE: ASSERT(it.period_us >= 1000); break;
    }
    it.limit = at_most(it.limit, most);
    it.burst = at_most(it.burst, most);
    it.cost = at_most(it.cost, most);
    return it;
}

static struct redis_limit_call *make_call(struct redis_limit *l, const struct redis_limit_ticket *t,
                                          const struct redis_limit_item *items, size_t n)
{
    struct redis_limit_call *c = mem_zalloc(sizeof(*c));
    ASSERT(n > 0 && n <= REDIS_LIMIT_ITEMS_MAX);
    c->limits = l;
    c->ticket = *t;
    c->n = n;
    c->began_us = clock_us();
    c->step = scripts_refused(l) ? PLAIN : BY_NAME;
    list_init(&c->node);
    arena_init(&c->arena);
    for (size_t i = 0; i < n; i++) {
        c->items[i] = within_bounds(items[i]);
        c->items[i].key = whole_key(c, items[i].key);
    }
    ASSERT(count_of(c, REDIS_LIMIT_LEASE) > 0);
    return c;
}

/* --- settling ------------------------------------------------------------------------------- */

static void wait_to_resend(struct redis_limit_call *c)
{
    struct redis_limit *l = c->limits;
    list_remove(&c->node);
    list_push(&l->waiting, &c->node);
    if (++l->stats.waiting > WAITING_MAX) {
        free_call(CONTAINER_OF(l->waiting.next, struct redis_limit_call, node));
        l->stats.waiting--;
        l->stats.dropped++;
    }
    if (!timer_is_set(&l->resend))
        timer_after(l->loop, &l->resend, RESEND_US);
}

static void drop(struct redis_limit_call *c)
{
    c->limits->stats.dropped++;
    free_call(c);
}

/* Its leases have ended by themselves, so that it would change nothing any more. */
static bool is_stale(const struct redis_limit_call *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->items[i].kind == REDIS_LIMIT_LEASE)
            return clock_us() - c->began_us > c->items[i].period_us;
    return true;
}

static void on_resend(struct timer *t)
{
    struct redis_limit *l = CONTAINER_OF(t, struct redis_limit, resend);
    for (int i = 0; i < RESEND_BATCH && !list_empty(&l->waiting); i++) {
        struct redis_limit_call *c = CONTAINER_OF(l->waiting.next, struct redis_limit_call, node);
        if (is_stale(c)) {
            l->stats.waiting--;
            drop(c);
            continue;
        }
        if (!redis_is_up(l->redis) || !send_call(c, SETTLE_TIMEOUT_US))
            break;
        l->stats.waiting--;
        l->stats.resent++;
    }
    if (!list_empty(&l->waiting))
        timer_after(l->loop, &l->resend, RESEND_US);
}

static void settle(struct redis_limit *l, const struct redis_limit_ticket *ticket,
                   const struct redis_limit_item *items, size_t n, const int64_t *change)
{
    struct redis_limit_call *c = make_call(l, ticket, items, n);
    c->settles = true;
    if (ticket->at_us) /* admission and settling speak the same way, of the same keys */
        c->step = ticket->approximate ? PLAIN : BY_NAME;
    memcpy(c->change, change, n * sizeof(*change));
    if (!send_call(c, SETTLE_TIMEOUT_US))
        wait_to_resend(c);
}

static int64_t difference(uint64_t actual, const struct redis_limit_item *it)
{
    uint64_t most =
        it->kind == REDIS_LIMIT_CELL ? (uint64_t)REDIS_LIMIT_COUNT_MAX : REDIS_LIMIT_BUDGET_MAX;
    return (int64_t)at_most(actual, most) - (int64_t)at_most(it->cost, most);
}

void redis_limit_settle(struct redis_limit *l, const struct redis_limit_ticket *ticket,
                        const struct redis_limit_item *items, size_t n, const uint64_t *actual)
{
    int64_t change[REDIS_LIMIT_ITEMS_MAX] = {0};
    ASSERT(n <= REDIS_LIMIT_ITEMS_MAX);
    for (size_t i = 0; i < n; i++)
        if (items[i].kind != REDIS_LIMIT_LEASE)
            change[i] = difference(actual[i], &items[i]);
    settle(l, ticket, items, n, change);
}

/* Takes back what an admission has taken, or may have taken. Its keys have the prefix already. */
static void undo(struct redis_limit_call *admission)
{
    struct redis_limit *l = admission->limits;
    struct redis_limit_item items[REDIS_LIMIT_ITEMS_MAX];
    int64_t change[REDIS_LIMIT_ITEMS_MAX] = {0};
    for (size_t i = 0; i < admission->n; i++) {
        items[i] = admission->items[i];
        items[i].key = str_skip(items[i].key, l->prefix.n);
        if (items[i].kind != REDIS_LIMIT_LEASE)
            change[i] = -(int64_t)items[i].cost;
    }
    settle(l, &admission->ticket, items, admission->n, change);
}

/* --- answers -------------------------------------------------------------------------------- */

static bool integer_at(const struct redis_reply *r, size_t i, uint64_t *ret)
{
    if (i >= r->n || r->items[i]->type != REDIS_INTEGER)
        return false;
    *ret = r->items[i]->integer > 0 ? (uint64_t)r->items[i]->integer : 0;
    return true;
}

static bool read_scripted(struct redis_limit_call *c, const struct redis_reply *r,
                          struct redis_limit_answer *a)
{
    uint64_t admitted;
    size_t at = 2;
    if (r->type != REDIS_ARRAY || r->n != 2 + 3 * c->n || !integer_at(r, 0, &admitted) ||
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
    return true;
}

static bool read_plain(struct redis_limit_call *c, const struct redis_reply *r,
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
        res->fits = used <= it->limit || (it->kind == REDIS_LIMIT_LEASE && it->limit == 0);
        res->remaining = used < it->limit ? it->limit - used : 0;
        res->reset_us = left_ms * 1000;
        res->retry_us = res->fits ? 0 : left_ms * 1000;
        a->admitted = a->admitted && res->fits;
    }
    return at == r->n;
}

static void tell(struct redis_limit_call *c, const struct redis_limit_answer *a)
{
    struct redis_limit_stats *s = &c->limits->stats;
    redis_limit_fn *fn = c->fn;
    void *ctx = c->ctx;
    *(!a ? &s->unanswered : a->admitted ? &s->admitted : &s->refused) += 1;
    if (!fn && (!a || a->admitted))
        undo(c);
    free_call(c);
    if (fn)
        fn(ctx, a);
}

static void admission_answered(struct redis_limit_call *c, const struct redis_reply *reply)
{
    struct redis_limit_answer a = {.ticket = c->ticket, .n = c->n};
    if (!(c->step == PLAIN ? read_plain(c, reply, &a) : read_scripted(c, reply, &a))) {
        tell(c, NULL);
        return;
    }
    c->ticket = a.ticket;
    if (c->step == PLAIN && !a.admitted)
        undo(c);
    tell(c, &a);
}

static void settling_failed(struct redis_limit_call *c, bool replied)
{
    if (c->step == PLAIN || (replied && ++c->errors >= ERRORS_MAX) || is_stale(c))
        drop(c);
    else
        wait_to_resend(c);
}

static void settling_answered(struct redis_limit_call *c, const struct redis_reply *reply)
{
    uint64_t unused;
    if (reply->type != REDIS_ARRAY || (c->step != PLAIN && !integer_at(reply, 0, &unused))) {
        settling_failed(c, true);
        return;
    }
    c->limits->stats.settled++;
    free_call(c);
}

/* The next way to say it, after an error; false when there is none. */
static bool say_otherwise(struct redis_limit_call *c, const struct redis_reply *reply)
{
    struct str code = redis_reply_code(reply);
    uint64_t spent = clock_us() - c->began_us, timeout = redis_timeout_us(c->limits->redis);
    bool unknown =
        str_eq(code, STR("NOPERM")) ||
        (str_eq(code, STR("ERR")) && str_starts(reply->text, STR("ERR unknown command")));
    if (c->step == BY_NAME && str_eq(code, STR("NOSCRIPT"))) {
        c->step = BY_TEXT;
        c->limits->stats.scripts_sent++;
    } else if (c->step != PLAIN && unknown) {
        c->step = PLAIN;
        c->limits->plain_connect = redis_health(c->limits->redis).stats.connects;
    } else {
        return false;
    }
    if (c->settles)
        return send_call(c, SETTLE_TIMEOUT_US);
    return spent < timeout && send_call(c, timeout - spent);
}

static void on_reply(void *ctx, enum redis_outcome how, const struct redis_reply *reply)
{
    struct redis_limit_call *c = ctx;
    c->wire = NULL;
    bool is_error = how == REDIS_ANSWERED && reply->type == REDIS_ERROR;
    if (is_error && say_otherwise(c, reply))
        return;
    bool answered = how == REDIS_ANSWERED && !is_error;
    if (c->settles && answered)
        settling_answered(c, reply);
    else if (c->settles)
        settling_failed(c, is_error);
    else if (answered)
        admission_answered(c, reply);
    else
        tell(c, NULL);
}

/* --- the limits ----------------------------------------------------------------------------- */

void redis_limit_ticket(struct redis_limit_ticket *ret)
{
    *ret = (struct redis_limit_ticket){0};
    rand_alnum(ret->id, sizeof(ret->id));
}

struct redis_limit_call *redis_limit_admit(struct redis_limit *l,
                                           const struct redis_limit_ticket *ticket,
                                           const struct redis_limit_item *items, size_t n,
                                           redis_limit_fn *fn, void *ctx)
{
    if (!redis_is_up(l->redis)) {
        l->stats.unanswered++;
        return NULL;
    }
    struct redis_limit_call *c = make_call(l, ticket, items, n);
    c->fn = fn;
    c->ctx = ctx;
    if (send_call(c, 0))
        return c;
    l->stats.unanswered++;
    free_call(c);
    return NULL;
}

void redis_limit_cancel(struct redis_limit_call *c)
{
    c->fn = NULL;
}

static void name_script(struct str text, char out[SHA_TEXT])
{
    uint8_t sha[SHA1_SIZE];
    hash_sha1(text, sha);
    text_hex(sha, sizeof(sha), out);
}

struct redis_limit *redis_limit_new(struct loop *loop, struct redis *r, struct str prefix)
{
    struct redis_limit *l = mem_zalloc(sizeof(*l));
    char *copy = mem_alloc(prefix.n + 1);
    memcpy(copy, prefix.p, prefix.n);
    l->loop = loop;
    l->redis = r;
    l->prefix = str_of(copy, prefix.n);
    l->plain_connect = UINT64_MAX;
    list_init(&l->under_way);
    list_init(&l->waiting);
    timer_init(&l->resend, "redis resend", on_resend);
    name_script(redis_script_admit, l->sha[0]);
    name_script(redis_script_settle, l->sha[1]);
    return l;
}

void redis_limit_free(struct redis_limit *l)
{
    if (!l)
        return;
    struct list *lists[] = {&l->under_way, &l->waiting};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        while (!list_empty(lists[i])) {
            struct redis_limit_call *c =
                CONTAINER_OF(lists[i]->next, struct redis_limit_call, node);
            if (c->wire)
                redis_cancel(c->wire);
            free_call(c);
        }
    timer_stop(l->loop, &l->resend);
    mem_free((char *)(uintptr_t)l->prefix.p);
    mem_free(l);
}

struct redis_limit_stats redis_limit_stats(const struct redis_limit *l)
{
    struct redis_limit_stats s = l->stats;
    s.approximate = redis_is_up(l->redis) && scripts_refused(l);
    return s;
}
