/* redis.c - see redis.h.
 *
 *   redis_send --> out ==(end of turn, one write)==> stream
 *        |
 *        v
 *      calls: oldest ... newest      each answer belongs to the oldest; late ones are dropped
 *
 * The state changes in enter() only. The stream, the dial, and the calls belong to the client; a
 * call frees itself when its last answer came or the connection ended. What the server says is
 * repeated in errors by its first word only, because servers quote commands, passwords included.
 */
#include "store/redis.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rand.h"

enum {
    OUT_MAX = 4 * 1024 * 1024,
    REPLY_BYTES_MAX = 64 * 1024,
    REPLY_ITEMS_MAX = 1024,
    READ_SIZE = 8 * 1024,
    MISSED_MAX = 5,
    SILENCE_US = 100 * 1000,
    BACKOFF_MIN_US = 50 * 1000,
    BACKOFF_DOUBLINGS = 7, /* 50 ms, then up to 6.4 s */
    BACKOFF_MAX_US = 5 * 1000 * 1000,
    IDLE_US = 1000 * 1000,
    ERROR_SIZE = 160,
};

struct redis_call {
    struct list node; /* in calls */
    struct redis *redis;
    struct timer deadline;
    redis_fn *fn;
    void *ctx;
    uint64_t sent_us;
    unsigned n_replies; /* still to come */
    bool late;
};

struct redis {
    struct loop *loop;
    struct dns *dns;
    struct arena arena; /* holds what url points to */
    struct redis_url url;
    struct tls_ctx *tls;
    uint64_t timeout_us, connect_timeout_us;
    void (*on_change)(void *ctx, bool up);
    void *ctx;

    enum redis_state state;
    bool told; /* by on_change: that it is up, or could not be reached */
    struct dial *dial;
    struct stream *stream;
    struct redis_reader *reader;
    struct buf out;
    struct deferred flush;
    struct list calls;
    size_t n_calls, n_late;
    unsigned greetings; /* answers still to come before UP */
    struct timer timer; /* WAITING: retry; CONNECTING: give up; UP: idle */
    struct timer silence;
    unsigned attempts; /* without a timely answer since */
    unsigned missed;
    uint64_t idle_mark; /* stats.calls a second ago */

    char moved_host[256]; /* "" for none */
    uint16_t moved_port;
    char error[ERROR_SIZE];
    struct redis_stats stats;
};

static void start_dial(struct redis *r);

/* --- calls ---------------------------------------------------------------------------------- */

static void free_call(struct redis_call *c)
{
    struct redis *r = c->redis;
    timer_stop(r->loop, &c->deadline);
    list_remove(&c->node);
    r->n_calls--;
    if (c->late && --r->n_late == 0)
        timer_stop(r->loop, &r->silence);
    mem_free(c);
}

static void tell(struct redis_call *c, enum redis_outcome how, const struct redis_reply *reply)
{
    redis_fn *fn = c->fn;
    c->fn = NULL;
    if (fn)
        fn(c->ctx, how, reply);
}

static void lose_calls(struct redis *r)
{
    struct list lost; /* whoever is told may call again */
    list_init(&lost);
    while (!list_empty(&r->calls))
        list_push(&lost, list_pop(&r->calls));
    while (!list_empty(&lost)) {
        struct redis_call *c = CONTAINER_OF(lost.next, struct redis_call, node);
        redis_fn *fn = c->fn;
        void *ctx = c->ctx;
        r->stats.lost += !c->late;
        free_call(c);
        if (fn)
            fn(ctx, REDIS_LOST, NULL);
    }
}

/* --- states --------------------------------------------------------------------------------- */

static void enter(struct redis *r, enum redis_state next)
{
    static const unsigned allowed[] = {
        [REDIS_WAITING] = 1U << REDIS_CONNECTING,
        [REDIS_CONNECTING] = 1U << REDIS_UP | 1U << REDIS_WAITING,
        [REDIS_UP] = 1U << REDIS_WAITING,
    };
    enum redis_state was = r->state;
    ASSERT(allowed[was] & 1U << next);
    r->state = next;
    bool fails_at_first = next == REDIS_WAITING && !r->told;
    if (!r->on_change || (was != REDIS_UP && next != REDIS_UP && !fails_at_first))
        return;
    r->told = true;
    r->on_change(r->ctx, next == REDIS_UP);
}

static uint64_t backoff_us(unsigned attempts)
{
    unsigned doublings = attempts < BACKOFF_DOUBLINGS ? attempts : BACKOFF_DOUBLINGS;
    uint64_t us = (uint64_t)BACKOFF_MIN_US << doublings;
    if (us > BACKOFF_MAX_US)
        us = BACKOFF_MAX_US;
    return us / 2 + rand_below(us / 2 + 1);
}

static void disconnect(struct redis *r)
{
    if (r->dial)
        dial_cancel(r->dial);
    r->dial = NULL;
    stream_close(&r->stream);
    deferred_cancel(&r->flush);
    struct str left = buf_str(&r->out);
    mem_wipe((char *)(uintptr_t)left.p, left.n); /* AUTH may not have been sent */
    buf_clear(&r->out);
    timer_stop(r->loop, &r->silence);
    r->greetings = 0;
}

/* Ends the connection, or the attempt, and waits. The reader stays: its reply may be in use. */
static void fail(struct redis *r, const char *what, const char *why)
{
    (void)snprintf(r->error, sizeof(r->error), "%s: %s", what, why);
    disconnect(r);
    r->stats.failures++;
    r->missed = 0;
    timer_after(r->loop, &r->timer, backoff_us(r->attempts++));
    enter(r, REDIS_WAITING);
    lose_calls(r);
}

/* --- what error replies mean for the connection --------------------------------------------- */

enum remedy {
    PASS,    /* the caller's */
    COUNT,   /* the server cannot just now: like a missed deadline */
    REPLACE, /* no command on this connection would do better */
    FOLLOW,  /* another server has it */
};

static enum remedy remedy_for(struct str code)
{
    static const struct {
        struct str code;
        enum remedy remedy;
    } table[] = {
        {STR_INIT("OOM"), COUNT},          {STR_INIT("BUSY"), COUNT},
        {STR_INIT("MISCONF"), COUNT},      {STR_INIT("NOREPLICAS"), COUNT},
        {STR_INIT("TRYAGAIN"), COUNT},     {STR_INIT("ASK"), COUNT},
        {STR_INIT("LOADING"), REPLACE},    {STR_INIT("READONLY"), REPLACE},
        {STR_INIT("NOAUTH"), REPLACE},     {STR_INIT("WRONGPASS"), REPLACE},
        {STR_INIT("MASTERDOWN"), REPLACE}, {STR_INIT("CLUSTERDOWN"), REPLACE},
        {STR_INIT("UNBLOCKED"), REPLACE},  {STR_INIT("MOVED"), FOLLOW},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (str_eq(code, table[i].code))
            return table[i].remedy;
    return PASS;
}

/* The first word of an error; other words may repeat what we sent. */
static const char *code_text(struct str code, char out[32])
{
    size_t n = 0;
    while (n < code.n && n < 31 && code.p[n] >= 'A' && code.p[n] <= 'Z') {
        out[n] = code.p[n];
        n++;
    }
    out[n] = '\0';
    return n ? out : "error";
}

/* "MOVED 3999 127.0.0.1:6381"; without a host it is the same one. */
static bool note_move(struct redis *r, struct str text)
{
    uint64_t port;
    struct str at;
    struct str rest = text;
    for (int i = 0; i < 3; i++)
        if (!str_split(&rest, ' ', &at))
            return false;
    size_t colon = at.n;
    while (colon > 0 && at.p[colon - 1] != ':')
        colon--;
    if (colon == 0 || r->url.server.scheme == URL_UNIX || !str_to_u64(str_skip(at, colon), &port) ||
        port < 1 || port > 65535)
        return false;
    struct str host = str_head(at, colon - 1);
    if (host.n == 0)
        host = r->moved_host[0] ? str_c(r->moved_host) : r->url.server.host;
    if (host.n >= sizeof(r->moved_host))
        return false;
    memmove(r->moved_host, host.p, host.n);
    r->moved_host[host.n] = '\0';
    r->moved_port = (uint16_t)port;
    return true;
}

static void miss(struct redis *r, const char *why)
{
    r->missed++;
    if (r->missed >= MISSED_MAX || r->attempts > 0)
        fail(r, "too many failures", why);
}

static void apply_remedy(struct redis *r, struct str text, struct str code)
{
    char word[32];
    switch (remedy_for(code)) {
    case PASS: return;
    case COUNT: miss(r, code_text(code, word)); return;
    case FOLLOW:
        if (!note_move(r, text))
            r->moved_host[0] = '\0';
        fail(r, "the server answers", "MOVED");
        return;
    case REPLACE:
        r->moved_host[0] = '\0';
        fail(r, "the server answers", code_text(code, word));
        return;
    }
}

/* --- answers -------------------------------------------------------------------------------- */

static void greet_back(struct redis *r, const struct redis_reply *reply)
{
    static const char *const steps[] = {"PING", "SELECT", "AUTH"}; /* from the last */
    struct str code = redis_reply_code(reply);
    char word[32];
    unsigned left = --r->greetings;
    bool is_auth = left >= 1 && (left == 2 || r->url.db == 0);
    const char *step = steps[left == 0 ? 0 : is_auth ? 2 : 1];
    /* Who may not PING has at least been answered. */
    if (code.p && !(left == 0 && str_eq(code, STR("NOPERM")))) {
        fail(r, step, code_text(code, word));
        return;
    }
    if (left > 0)
        return;
    r->stats.connects++;
    r->idle_mark = r->stats.calls;
    timer_after(r->loop, &r->timer, IDLE_US);
    enter(r, REDIS_UP);
}

/* A timely answer closes the breaker, unless it says that the server cannot. */
static void judge(struct redis *r, const struct redis_reply *reply)
{
    struct str code = redis_reply_code(reply);
    r->stats.errors += code.p != NULL;
    if (code.p && remedy_for(code) != PASS)
        return;
    r->missed = 0;
    r->attempts = 0;
}

static void answer(struct redis *r, const struct redis_reply *reply)
{
    if (r->greetings > 0) {
        greet_back(r, reply);
        return;
    }
    if (list_empty(&r->calls)) {
        fail(r, "protocol", "an answer to nothing");
        return;
    }
    struct redis_call *c = CONTAINER_OF(r->calls.next, struct redis_call, node);
    struct str code = redis_reply_code(reply);
    if (--c->n_replies > 0) {
        if (code.p) /* inside MULTI: the last answer will only be EXECABORT */
            apply_remedy(r, reply->text, code);
        return;
    }
    if (c->late) {
        r->stats.late++;
    } else {
        r->stats.answers++;
        r->stats.wait_us += clock_us() - c->sent_us;
        judge(r, reply);
    }
    redis_fn *fn = c->fn;
    void *ctx = c->ctx;
    free_call(c);
    if (fn)
        fn(ctx, REDIS_ANSWERED, reply);
    if (code.p && r->state == REDIS_UP)
        apply_remedy(r, reply->text, code);
}

static void answers(struct redis *r)
{
    const struct redis_reply *reply;
    while (r->stream) {
        switch (redis_reader_next(r->reader, &reply)) {
        case REDIS_READ_MORE: return;
        case REDIS_READ_DONE: answer(r, reply); break;
        case REDIS_READ_BAD: fail(r, "protocol", redis_reader_error(r->reader)); return;
        }
    }
}

/* --- the stream ----------------------------------------------------------------------------- */

static void receive(struct redis *r)
{
    char room[READ_SIZE];
    while (r->stream) {
        ssize_t n = stream_read(r->stream, room, sizeof(room));
        if (n == STREAM_AGAIN)
            return;
        if (n == STREAM_EOF || n == STREAM_ERROR) {
            char why[ERROR_SIZE];
            (void)snprintf(why, sizeof(why), "%s",
                           n == STREAM_EOF ? "closed by the server" : stream_error_text(r->stream));
            fail(r, "connection", why);
            return;
        }
        redis_reader_feed(r->reader, str_of(room, (size_t)n));
        answers(r);
    }
}

static void transmit(struct redis *r)
{
    while (r->stream && buf_len(&r->out) > 0) {
        struct str s = buf_str(&r->out);
        struct iovec iov = {.iov_base = (char *)(uintptr_t)s.p, .iov_len = s.n};
        ssize_t n = stream_writev(r->stream, &iov, 1);
        if (n == STREAM_AGAIN)
            return;
        if (n < 0) { /* reading tells the cause, and first what was answered before it */
            receive(r);
            if (r->stream)
                fail(r, "connection", "the server takes no more");
            return;
        }
        if (r->greetings > 0)
            mem_wipe(iov.iov_base, (size_t)n);
        buf_consume(&r->out, (size_t)n);
    }
}

static void on_flush(struct deferred *d)
{
    transmit(CONTAINER_OF(d, struct redis, flush));
}

static void on_ready(struct stream *s, void *ctx, unsigned events)
{
    struct redis *r = ctx;
    (void)s;
    (void)events;
    receive(r);
    transmit(r);
}

static const struct stream_owner owner = {.on_ready = on_ready, .name = "redis"};

/* --- connecting ----------------------------------------------------------------------------- */

static void add(struct redis *r, const struct str *words, size_t n)
{
    bool ok = redis_format(&r->out, words, n);
    ASSERT(ok); /* an empty buffer, and few words */
    r->greetings++;
}

/* AUTH and SELECT have meant the same in all versions; RESP2 is what a connection starts with, so
 * that HELLO would add nothing but a way to fail. PING is what LOADING and NOAUTH answer to. */
static void greet(struct redis *r)
{
    char db[16];
    int n = snprintf(db, sizeof(db), "%u", r->url.db);
    const struct str auth[] = {STR("AUTH"), r->url.user, r->url.password};
    const struct str auth_default[] = {STR("AUTH"), r->url.password};
    const struct str ping[] = {STR("PING")};
    if (r->url.user.p)
        add(r, auth, 3);
    else if (r->url.password.p)
        add(r, auth_default, 2);
    if (r->url.db)
        add(r, (const struct str[]){STR("SELECT"), str_of(db, (size_t)n)}, 2);
    add(r, ping, 1);
}

static void on_dialed(void *ctx, struct stream *s, const char *error)
{
    struct redis *r = ctx;
    r->dial = NULL;
    if (!s) {
        r->moved_host[0] = '\0';
        fail(r, "connect", error);
        return;
    }
    r->stream = s;
    stream_set_owner(s, &owner, r);
    redis_reader_free(r->reader);
    r->reader = redis_reader_new(REPLY_BYTES_MAX, REPLY_ITEMS_MAX);
    greet(r);
    transmit(r);
}

static void start_dial(struct redis *r)
{
    struct dial_target target = {.url = r->url.server, .tls = r->tls};
    if (r->moved_host[0]) {
        target.url.host = str_c(r->moved_host);
        target.url.port = r->moved_port;
        target.url.is_ipv6 = false;
    }
    timer_after(r->loop, &r->timer, r->connect_timeout_us);
    r->dial = dial_start(r->loop, r->dns, &target, r->connect_timeout_us, on_dialed, r);
}

/* --- time ----------------------------------------------------------------------------------- */

static void on_silence(struct timer *t)
{
    fail(CONTAINER_OF(t, struct redis, silence), "the server", "no answer");
}

static void on_deadline(struct timer *t)
{
    struct redis_call *c = CONTAINER_OF(t, struct redis_call, deadline);
    struct redis *r = c->redis;
    bool first = r->n_late++ == 0;
    c->late = true;
    r->stats.timeouts++;
    tell(c, REDIS_TIMED_OUT, NULL);
    if (!first || r->state != REDIS_UP) /* the rest of a pipeline waits for the same server */
        return;
    timer_after(r->loop, &r->silence, SILENCE_US);
    miss(r, "deadlines missed");
}

static void check_idle(struct redis *r)
{
    static const struct str ping[] = {STR_INIT("PING")};
    struct buf command;
    if (r->stats.calls == r->idle_mark) {
        buf_init(&command, 64);
        if (redis_format(&command, ping, 1))
            (void)redis_send(r, buf_str(&command), 1, 0, NULL, NULL);
        buf_done(&command);
    }
    r->idle_mark = r->stats.calls;
    timer_after(r->loop, &r->timer, IDLE_US);
}

static void on_timer(struct timer *t)
{
    struct redis *r = CONTAINER_OF(t, struct redis, timer);
    switch (r->state) {
    case REDIS_WAITING:
        enter(r, REDIS_CONNECTING);
        start_dial(r);
        return;
    case REDIS_CONNECTING:
        r->moved_host[0] = '\0';
        fail(r, "connect", "timed out");
        return;
    case REDIS_UP: check_idle(r); return;
    }
}

/* --- the client ----------------------------------------------------------------------------- */

struct redis *redis_new(struct loop *l, struct dns *dns, const struct redis_options *o)
{
    struct redis *r = mem_zalloc(sizeof(*r));
    ASSERT(o->timeout_us > 0 && o->connect_timeout_us > 0);
    ASSERT(o->tls || o->url.server.scheme != URL_HTTPS);
    r->loop = l;
    r->dns = dns;
    arena_init(&r->arena);
    r->url = o->url;
    r->url.server.host = arena_dup(&r->arena, o->url.server.host);
    if (o->url.user.p)
        r->url.user = arena_dup(&r->arena, o->url.user);
    if (o->url.password.p)
        r->url.password = arena_dup(&r->arena, o->url.password);
    r->tls = o->tls;
    r->timeout_us = o->timeout_us;
    r->connect_timeout_us = o->connect_timeout_us;
    r->on_change = o->on_change;
    r->ctx = o->ctx;
    buf_init(&r->out, OUT_MAX);
    list_init(&r->calls);
    deferred_init(&r->flush, on_flush);
    timer_init(&r->timer, "redis", on_timer);
    timer_init(&r->silence, "redis silence", on_silence);
    r->state = REDIS_CONNECTING;
    start_dial(r);
    return r;
}

void redis_free(struct redis *r)
{
    if (!r)
        return;
    disconnect(r);
    timer_stop(r->loop, &r->timer);
    while (!list_empty(&r->calls))
        free_call(CONTAINER_OF(r->calls.next, struct redis_call, node));
    redis_reader_free(r->reader);
    buf_done(&r->out);
    mem_wipe((char *)(uintptr_t)r->url.password.p, r->url.password.n);
    arena_done(&r->arena);
    mem_free(r);
}

struct redis_call *redis_send(struct redis *r, struct str commands, unsigned n_replies,
                              uint64_t timeout_us, redis_fn *fn, void *ctx)
{
    ASSERT(n_replies > 0);
    r->stats.calls++;
    if (r->state != REDIS_UP || r->n_late > 0 || r->n_calls >= REDIS_CALLS_MAX ||
        !buf_append(&r->out, commands)) {
        r->stats.refused++;
        return NULL;
    }
    struct redis_call *c = mem_zalloc(sizeof(*c));
    c->redis = r;
    c->fn = fn;
    c->ctx = ctx;
    c->n_replies = n_replies;
    c->sent_us = clock_us();
    timer_init(&c->deadline, "redis call", on_deadline);
    timer_after(r->loop, &c->deadline, timeout_us ? timeout_us : r->timeout_us);
    list_push(&r->calls, &c->node);
    r->n_calls++;
    loop_defer(r->loop, &r->flush);
    return c;
}

void redis_cancel(struct redis_call *c)
{
    c->fn = NULL;
}

bool redis_is_up(const struct redis *r)
{
    return r->state == REDIS_UP && r->n_late == 0;
}

uint64_t redis_timeout_us(const struct redis *r)
{
    return r->timeout_us;
}

struct redis_health redis_health(const struct redis *r)
{
    uint64_t now = clock_us();
    return (struct redis_health){
        .state = r->state,
        .missed = r->missed,
        .retry_us =
            r->state == REDIS_WAITING && r->timer.node.key > now ? r->timer.node.key - now : 0,
        .last_error = r->error,
        .stats = r->stats,
    };
}
