/* sim_script.c - scripted answers; see sim_script.h for what a script may say.
 *
 * A play is one answer under way. It first writes all its bytes into one buffer and notes where
 * each piece ends; then it sends piece after piece, through the reply functions when the answer is
 * proper HTTP, else on the stream that it takes from the server.
 *
 *   wire:  head | chunk | chunk | ...          bounds: ^     ^     ^
 */
#include "sim/sim_script.h"

#include "base/mem.h"
#include "base/text.h"
#include "sim/sim_record.h"

enum { WIRE_MAX = 64 * 1024 * 1024 };

struct scripted {
    struct list node;
    struct json doc; /* of text */
    size_t n;
    char text[];
};

struct sim_script {
    struct list answers;
};

struct sim_play {
    struct sim_call *call;
    struct scripted *answer;
    struct jval a; /* the answer's object */
    struct arena arena;
    struct buf wire;
    size_t *bounds; /* ends of pieces in wire */
    size_t n_bounds, cap_bounds, piece;
    size_t at;             /* bytes sent */
    struct stream *stream; /* NULL: by reply functions */
};

/* ---- the queue ---- */

struct sim_script *script_new(void)
{
    struct sim_script *s = mem_alloc(sizeof(*s));
    list_init(&s->answers);
    return s;
}

static void scripted_free(struct scripted *x)
{
    json_done(&x->doc);
    mem_free(x);
}

void script_clear(struct sim_script *s)
{
    for (struct list *node; (node = list_pop(&s->answers));)
        scripted_free(CONTAINER_OF(node, struct scripted, node));
}

void script_free(struct sim_script *s)
{
    if (!s)
        return;
    script_clear(s);
    mem_free(s);
}

bool script_add(struct sim_script *s, const struct json *doc, size_t *ret_queued)
{
    struct jval answers = json_get(json_root(doc), STR("answers"));
    *ret_queued = 0;
    if (!json_is(answers, JSON_ARRAY))
        return false;
    json_each (a, answers) {
        if (!json_is(a, JSON_OBJECT))
            return false;
    }
    json_each (a, answers) {
        struct str raw = json_raw(a);
        struct scripted *x = mem_alloc(sizeof(*x) + raw.n);
        memcpy(x->text, raw.p, raw.n);
        x->n = raw.n;
        json_init(&x->doc);
        enum json_error e = json_parse(&x->doc, str_of(x->text, x->n));
        ASSERT(e == JSON_OK); /* a part of a good document */
        list_init(&x->node);
        list_push(&s->answers, &x->node);
        *ret_queued += 1;
    }
    return true;
}

static bool is_for(const struct scripted *x, struct str body, struct arena *a)
{
    struct jval match = json_get(json_root(&x->doc), STR("match"));
    struct jval contains = json_get(match, STR("contains"));
    if (!json_is(contains, JSON_STRING))
        return true;
    struct str text = json_str(contains, a);
    return text.n == 0 || str_find_str(body, text) < body.n;
}

static struct scripted *take_answer(struct sim_script *s, struct str body, struct arena *a)
{
    list_each (node, &s->answers) {
        struct scripted *x = CONTAINER_OF(node, struct scripted, node);
        if (!is_for(x, body, a))
            continue;
        list_remove(node);
        return x;
    }
    return NULL;
}

/* ---- members of an answer ---- */

static struct jval get(const struct sim_play *p, const char *name)
{
    return json_get(p->a, str_c(name));
}

static bool has(const struct sim_play *p, const char *name)
{
    struct jval v = get(p, name);
    return json_present(v) && !json_is(v, JSON_FALSE) && !json_is(v, JSON_NULL);
}

static int64_t number(const struct sim_play *p, const char *name, int64_t otherwise)
{
    int64_t n;
    return json_i64(get(p, name), &n) && n >= 0 ? n : otherwise;
}

static uint64_t delay_us(const struct sim_play *p, const char *name)
{
    return (uint64_t)number(p, name, 0) * 1000;
}

static bool is_events(const struct sim_play *p)
{
    return has(p, "events") || has(p, "sse");
}

/* ---- the content ---- */

static void bound(struct sim_play *p)
{
    enum { FIRST = 16 };

    if (p->n_bounds == p->cap_bounds) {
        p->cap_bounds = p->cap_bounds ? p->cap_bounds * 2 : FIRST;
        p->bounds = mem_realloc(p->bounds, p->cap_bounds * sizeof(*p->bounds));
    }
    if (p->n_bounds == 0 || p->bounds[p->n_bounds - 1] < buf_len(&p->wire))
        p->bounds[p->n_bounds++] = buf_len(&p->wire);
}

/* A JSON value on one line: line ends stand only between tokens. */
static struct str one_line(struct arena *a, struct str raw)
{
    struct str line = arena_dup(a, raw);
    char *out = arena_alloc(a, line.n + 1);
    for (size_t i = 0; i < line.n; i++)
        out[i] = line.p[i] == '\n' || line.p[i] == '\r' ? ' ' : line.p[i];
    return str_of(out, line.n);
}

static struct str event_frame(struct sim_play *p, struct jval event)
{
    struct str type = json_str(json_get(event, STR("type")), &p->arena);
    struct str data = one_line(&p->arena, json_raw(event));
    return arena_printf(&p->arena, "event: %.*s\ndata: %.*s\n\n", STR_FMT(type), STR_FMT(data));
}

static struct str whole_content(struct sim_play *p)
{
    struct jval sse = get(p, "sse"), body = get(p, "body"), encoded = get(p, "body_base64");
    if (json_is(sse, JSON_STRING))
        return json_str(sse, &p->arena);
    if (json_is(encoded, JSON_STRING)) {
        struct str text = json_str(encoded, &p->arena);
        char *out = arena_alloc(&p->arena, text.n + 1);
        ssize_t n = text_base64_decode(text, out, text.n);
        return str_of(out, n > 0 ? (size_t)n : 0);
    }
    if (json_is(body, JSON_STRING))
        return json_str(body, &p->arena);
    return json_is(body, JSON_NULL) ? STR("") : json_raw(body);
}

/* One piece of content into wire, as a chunk or as it is. */
static void put_content(struct sim_play *p, struct str s, bool chunked)
{
    if (s.n == 0)
        return;
    if (chunked)
        (void)h1_write_chunk(&p->wire, s);
    else
        (void)buf_append(&p->wire, s);
    bound(p);
}

static void put_all_content(struct sim_play *p, bool chunked)
{
    struct jval events = get(p, "events");
    if (!json_is(events, JSON_ARRAY)) {
        put_content(p, whole_content(p), chunked);
        return;
    }
    json_each (e, events)
        put_content(p, event_frame(p, e), chunked);
}

/* ---- the head ---- */

typedef void field_fn(struct sim_play *p, struct str name, struct str value, void *ctx);

static void each_field(struct sim_play *p, field_fn *fn, void *ctx)
{
    struct jval headers = get(p, "headers");
    if (json_is(headers, JSON_OBJECT)) {
        json_each_member (key, headers)
            fn(p, json_str(key, &p->arena), json_str(json_value(key), &p->arena), ctx);
    } else if (json_is(headers, JSON_ARRAY)) {
        json_each (pair, headers) {
            struct jval name = json_first(pair);
            if (json_count(pair) != 2)
                continue;
            fn(p, json_str(name, &p->arena), json_str(json_next(pair, name), &p->arena), ctx);
        }
    }
}

/* Whether the server's own writer could not send the field. */
static void look_for_raw(struct sim_play *p, struct str name, struct str value, void *ctx)
{
    static const struct str framing[] = {STR_INIT("content-length"), STR_INIT("transfer-encoding"),
                                         STR_INIT("connection")};
    (void)p;
    bool raw = name.n == 0 || !h1_is_field_value(value);
    for (size_t i = 0; i < name.n; i++)
        raw = raw || name.p[i] <= ' ' || name.p[i] == ':' || name.p[i] > '~';
    for (size_t i = 0; i < ARRAY_LEN(framing); i++)
        raw = raw || str_eq_nocase(name, framing[i]);
    *(bool *)ctx = *(bool *)ctx || raw;
}

static bool needs_stream(struct sim_play *p)
{
    static const char *const rude[] = {
        "raw_head",    "split",     "chunks",  "cut_after",
        "reset_after", "keep_open", "garbage", "close_before_answer",
    };
    for (size_t i = 0; i < ARRAY_LEN(rude); i++) {
        if (has(p, rude[i]))
            return true;
    }
    bool raw = false;
    each_field(p, look_for_raw, &raw);
    return raw;
}

static void put_field(struct sim_play *p, struct str name, struct str value, void *ctx)
{
    bool *framed = ctx;
    buf_append(&p->wire, name);
    buf_lit(&p->wire, ": ");
    buf_append(&p->wire, value);
    buf_lit(&p->wire, "\r\n");
    *framed = *framed || str_eq_nocase(name, STR("content-length")) ||
              str_eq_nocase(name, STR("transfer-encoding"));
}

/* The head on a stream of our own. Answers whether the content must be chunked. */
static bool put_head(struct sim_play *p)
{
    struct jval raw = get(p, "raw_head");
    if (json_is(raw, JSON_STRING)) {
        struct str head = json_str(raw, &p->arena);
        buf_append(&p->wire, head);
        return str_find_str(head, STR("chunked")) < head.n;
    }
    char id[SIM_ID];
    bool framed = false;
    buf_printf(&p->wire, "HTTP/1.1 %d %s\r\n", (int)number(p, "status", 200),
               h1_reason((int)number(p, "status", 200)));
    if (has(p, "headers")) {
        each_field(p, put_field, &framed);
    } else {
        put_field(p, STR("content-type"),
                  is_events(p) ? STR("text/event-stream; charset=utf-8") : STR("application/json"),
                  &framed);
        put_field(p, STR("request-id"), sim_new_id(p->call->sim, id), &framed);
        put_field(p, STR("connection"), STR("close"), &framed);
    }
    bool chunked = is_events(p) || has(p, "keep_open");
    if (!framed && chunked)
        buf_lit(&p->wire, "transfer-encoding: chunked\r\n");
    else if (!framed)
        buf_printf(&p->wire, "content-length: %zu\r\n", whole_content(p).n);
    buf_lit(&p->wire, "\r\n");
    struct str so_far = buf_str(&p->wire);
    return str_find_str(so_far, STR("chunked")) < so_far.n;
}

/* ---- the pieces ---- */

/* Pieces of fixed sizes instead of the natural ones; the last size goes on. */
static void cut_pieces(struct sim_play *p)
{
    struct jval chunks = get(p, "chunks");
    int64_t split = number(p, "split", 0);
    if (split == 0 && !json_is(chunks, JSON_ARRAY))
        return;
    size_t end = buf_len(&p->wire), at = 0;
    p->n_bounds = 0;
    struct jval size = json_is(chunks, JSON_ARRAY) ? json_first(chunks) : JVAL_NONE;
    while (at < end) {
        int64_t n = split ? split : (int64_t)end;
        if (json_present(size)) {
            if (!json_i64(size, &n) || n < 1)
                n = 1;
            size = json_next(chunks, size);
        }
        at = size_min(end, at + (size_t)n);
        struct buf whole = p->wire;
        p->wire.end = p->wire.start + at;
        bound(p);
        p->wire = whole;
    }
}

static void limit_wire(struct sim_play *p, size_t head)
{
    const char *name = has(p, "reset_after") ? "reset_after" : "cut_after";
    if (!has(p, name))
        return;
    size_t end = head + (size_t)number(p, name, 0);
    if (end < buf_len(&p->wire))
        p->wire.end = p->wire.start + end;
    while (p->n_bounds > 0 && p->bounds[p->n_bounds - 1] > buf_len(&p->wire))
        p->n_bounds--;
    bound(p);
}

static void build_wire(struct sim_play *p)
{
    struct jval garbage = get(p, "garbage");
    if (json_is(garbage, JSON_STRING)) {
        buf_append(&p->wire, json_str(garbage, &p->arena));
        bound(p);
    } else if (!has(p, "close_before_answer")) {
        bool chunked = put_head(p);
        size_t head = buf_len(&p->wire);
        bound(p);
        put_all_content(p, chunked);
        if (chunked && !has(p, "keep_open"))
            buf_lit(&p->wire, "0\r\n\r\n");
        bound(p);
        limit_wire(p, head);
    }
    cut_pieces(p);
}

/* ---- sending on a stream ---- */

static void play_end(struct sim_play *p, bool gone)
{
    call_end(p->call, gone);
}

static void finish_stream(struct sim_play *p)
{
    if (has(p, "keep_open"))
        return; /* until the client closes */
    if (has(p, "reset_after"))
        stream_reset(&p->stream);
    else
        stream_close(&p->stream);
    play_end(p, false);
}

static void pump_stream(struct sim_play *p)
{
    while (p->piece < p->n_bounds) {
        size_t n = p->bounds[p->piece] - p->at;
        struct str piece = str_head(str_skip(buf_str(&p->wire), p->at), n);
        struct iovec iov = {.iov_base = p->wire.data + p->wire.start + p->at, .iov_len = piece.n};
        ssize_t done = stream_writev(p->stream, &iov, 1);
        if (done == STREAM_AGAIN)
            return;
        if (done < 0) {
            play_end(p, true);
            return;
        }
        p->at += (size_t)done;
        record_sent(p->call->record, (size_t)done);
        if (p->at < p->bounds[p->piece])
            continue;
        if (++p->piece < p->n_bounds) {
            timer_after(p->call->sim->loop, &p->call->timer, delay_us(p, "delay_ms"));
            return;
        }
    }
    finish_stream(p);
}

/* What the client still sends is of no interest, except that it leaves. */
static void on_stream(struct stream *s, void *ctx, unsigned events)
{
    struct sim_play *p = ctx;
    char ignored[4096];
    ssize_t n;
    do {
        n = stream_read(s, ignored, sizeof(ignored));
    } while (n > 0);
    if (n == STREAM_EOF || n == STREAM_ERROR) {
        play_end(p, p->piece < p->n_bounds || has(p, "keep_open"));
        return;
    }
    bool writing = p->piece < p->n_bounds && !timer_is_set(&p->call->timer);
    if ((events & IO_WRITE) && writing)
        pump_stream(p);
}

static const struct stream_owner stream_owner = {.on_ready = on_stream, .name = "sim script"};

static void start_stream(struct sim_play *p)
{
    build_wire(p);
    struct request *r = p->call->request;
    r->user = NULL;
    p->call->request = NULL;
    p->stream = server_hijack(r);
    stream_set_owner(p->stream, &stream_owner, p);
    pump_stream(p);
}

/* ---- sending through the server ---- */

static void reply_script_field(struct sim_play *p, struct str name, struct str value, void *ctx)
{
    (void)ctx;
    reply_field(p->call->request, name, value);
}

static void start_reply(struct sim_play *p)
{
    struct sim_call *c = p->call;
    char id[SIM_ID];
    int status = (int)number(p, "status", 200);
    put_all_content(p, false);
    int64_t length = is_events(p) ? -1 : (int64_t)buf_len(&p->wire);
    if (has(p, "headers")) {
        reply_start(c->request, status);
        each_field(p, reply_script_field, NULL);
        reply_head_end(c->request, length);
        return;
    }
    sim_reply_head(c->sim, c->request, status,
                   is_events(p) ? STR("text/event-stream; charset=utf-8") : STR("application/json"),
                   length, sim_new_id(c->sim, id));
}

static void pump_reply(struct sim_play *p)
{
    struct sim_call *c = p->call;
    while (p->piece < p->n_bounds) {
        size_t end = p->bounds[p->piece];
        reply_body(c->request, str_head(str_skip(buf_str(&p->wire), p->at), end - p->at));
        record_sent(c->record, end - p->at);
        p->at = end;
        uint64_t delay = delay_us(p, "delay_ms");
        if (++p->piece < p->n_bounds && delay) {
            timer_after(c->sim->loop, &c->timer, delay);
            return;
        }
    }
    reply_end(c->request);
    play_end(p, false);
}

/* ---- plays ---- */

static void on_timer(struct timer *t)
{
    struct sim_play *p = CONTAINER_OF(t, struct sim_call, timer)->play;
    if (p->stream) {
        pump_stream(p);
        return;
    }
    if (reply_started(p->call->request)) {
        pump_reply(p);
        return;
    }
    if (needs_stream(p)) {
        start_stream(p);
        return;
    }
    start_reply(p);
    pump_reply(p);
}

bool script_play(struct sim_script *s, struct sim_call *c)
{
    struct scripted *x = take_answer(s, buf_str(&c->request->body), &c->sim->scratch);
    if (!x)
        return false;
    struct sim_play *p = mem_zalloc(sizeof(*p));
    p->call = c;
    p->answer = x;
    p->a = json_root(&x->doc);
    arena_init(&p->arena);
    buf_init(&p->wire, WIRE_MAX);
    c->play = p;
    timer_init(&c->timer, "sim script", on_timer);
    if (!has(p, "silence"))
        timer_after(c->sim->loop, &c->timer, delay_us(p, "first_delay_ms"));
    return true;
}

void play_drop(struct sim_play *p)
{
    if (!p)
        return;
    if (p->stream)
        stream_close(&p->stream);
    scripted_free(p->answer);
    arena_done(&p->arena);
    buf_done(&p->wire);
    mem_free(p->bounds);
    mem_free(p);
}
