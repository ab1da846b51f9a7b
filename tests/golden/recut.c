/* recut.c - recorded streams, cut and disturbed in every way a network may.
 *
 * usage: recut FILE...  The stream cases among the golden files are taken. For each:
 *
 *   cut       in two at every byte, and into single bytes: the client's frames stay the same
 *   lines     CR LF or CR for LF: the same
 *   noise     comments, pings and unknown events between events: the same but for comments
 *   tail      everything behind some byte is lost: never [DONE] and never a finish_reason, unless
 *             the whole message had come by then
 *
 * The last line is "recut: N passed, N failed", by file.
 */
#include "base/mem.h"
#include "llm/dialect.h"
#include "wire/sse.h"

enum { TEXT_MAX = 4 * 1024 * 1024, EVENT_MAX = 1024 * 1024 };

struct subject {
    struct arena arena, keep;
    struct json doc;
    struct buf file, stream, clean, out;
    const struct dialect *dialect;
    struct decoded decoded;
    const struct models *models;
};

/* What relay.c does, on bytes. */
struct run {
    struct subject *s;
    struct sse sse;
    struct buf pending;
    struct json doc;
    struct encoder *encoder;
    struct answer answer;
    struct arena keep;
    bool over, complete;
};

static void end_badly(struct run *r)
{
    const struct api_error err = {
        .status = 502, .type = STR("server_error"), .code = STR("x"), .message = STR("broken")};
    r->s->dialect->error_frame(&err, &r->s->out);
    r->over = true;
}

static void take(struct run *r, struct str data)
{
    struct event ev;
    if (!event_parse(&r->doc, data, &ev) || ev.type == EVENT_ERROR ||
        !answer_track(&r->answer, &ev)) {
        end_badly(r);
        return;
    }
    if (ev.type == EVENT_PING) {
        if (r->answer.state != ANSWER_EMPTY)
            r->s->dialect->keepalive(&r->s->out);
        return;
    }
    bool ok = r->s->dialect->event(r->encoder, &r->answer, &ev, &r->s->out);
    if (ok && ev.type == EVENT_MESSAGE_STOP) {
        ok = r->s->dialect->finish(r->encoder, &r->answer, &r->s->out);
        r->over = r->complete = true;
    }
    ASSERT(ok);
}

static void feed(struct run *r, struct str bytes)
{
    ASSERT(buf_append(&r->pending, bytes));
    while (!r->over) {
        struct sse_event event;
        size_t used;
        enum sse_result result = sse_next(&r->sse, r->pending.data + r->pending.start,
                                          buf_len(&r->pending), &event, &used);
        if (result == SSE_MORE)
            return;
        if (result == SSE_BAD) {
            end_badly(r);
            return;
        }
        if (event.data.n)
            take(r, event.data);
        buf_consume(&r->pending, used);
    }
}

/* The client's frames for these bytes, which come in pieces of at most n bytes, the first one of
 * `first`. */
static struct str frames(struct subject *s, struct str bytes, size_t first, size_t n,
                         bool *ret_complete)
{
    struct run r = {.s = s};
    const struct encoder_options options = {
        .stream = true, .id = STR("1"), .created = 1, .whole_max = TEXT_MAX};
    buf_clear(&s->out);
    buf_init(&r.pending, TEXT_MAX);
    json_init(&r.doc);
    arena_init(&r.keep);
    sse_init(&r.sse, EVENT_MAX);
    answer_init(&r.answer);
    r.encoder = s->dialect->open(&r.keep, &s->decoded, &options);
    for (size_t at = 0, piece = first; at < bytes.n && !r.over; at += piece, piece = n) {
        piece = size_min(piece, bytes.n - at);
        feed(&r, str_of(bytes.p + at, piece));
    }
    if (!r.over)
        end_badly(&r);
    s->dialect->close(r.encoder);
    *ret_complete = r.complete;
    arena_done(&r.keep);
    json_done(&r.doc);
    buf_done(&r.pending);
    return buf_str(&s->out);
}

/* The frames that are no comments, in s->clean. */
static struct str told(struct subject *s, struct str out)
{
    buf_clear(&s->clean);
    while (out.n > 0) {
        struct str frame = str_head(out, size_min(str_find_str(out, STR("\n\n")) + 2, out.n));
        if (frame.p[0] != ':')
            ASSERT(buf_append(&s->clean, frame));
        out = str_skip(out, frame.n);
    }
    return buf_str(&s->clean);
}

static bool contains(struct str s, const char *word)
{
    return str_find_str(s, str_c(word)) < s.n;
}

/* The stream's events, each behind `between`, with these line ends. */
static void write_stream(struct subject *s, struct jval events, const char *between,
                         const char *eol)
{
    buf_clear(&s->stream);
    json_each (e, events) {
        struct str raw = json_raw(e);
        buf_printf(&s->stream, "%sevent: %.*s%sdata: ", between,
                   STR_FMT(json_str_raw(json_get(e, STR("type")))), eol);
        for (size_t i = 0; i < raw.n; i++) /* a line end may stand between tokens in the file */
            buf_append(&s->stream, raw.p[i] == '\n' ? STR(" ") : str_of(raw.p + i, 1));
        buf_printf(&s->stream, "%s%s", eol, eol);
    }
}

static bool check_cuts(struct subject *s, struct str clean)
{
    struct str stream = buf_str(&s->stream);
    bool complete, same = str_eq(frames(s, stream, 1, 1, &complete), clean);
    for (size_t at = 1; at < stream.n && same; at++)
        same = str_eq(frames(s, stream, at, stream.n, &complete), clean);
    return same;
}

static bool check_noise(struct subject *s, struct jval events, struct str clean)
{
    struct str want = arena_dup(&s->arena, told(s, clean));
    static const char *const noise[][2] = {
        {"", "\r\n"},
        {"", "\r"},
        {": a comment\n\n", "\n"},
        {"event: ping\ndata: {\"type\": \"ping\"}\n\n", "\n"},
        {"event: novelty\ndata: {\"type\": \"novelty\", \"x\": [1]}\n\n", "\n"},
        {"id: 7\nretry: 10\n\n", "\n"},
        {"\n\n\n", "\n"},
    };
    bool complete, same = true;
    for (size_t i = 0; i < ARRAY_LEN(noise) && same; i++) {
        write_stream(s, events, noise[i][0], noise[i][1]);
        struct str got = frames(s, buf_str(&s->stream), 7, 13, &complete);
        same = str_eq(told(s, got), want);
        if (contains(str_c(noise[i][0]), "ping")) /* between a start and an end there is one */
            same = same && (!complete || contains(got, ": ping\n\n"));
    }
    write_stream(s, events, "", "\n");
    return same;
}

static bool check_tails(struct subject *s)
{
    struct str stream = buf_str(&s->stream);
    for (size_t n = 0; n < stream.n; n++) {
        bool complete;
        struct str out = frames(s, str_head(stream, n), stream.n, stream.n, &complete);
        bool success = contains(out, "[DONE]") || contains(out, "\"finish_reason\":\"");
        if (success != complete || contains(out, "\"error\"") == complete)
            return false;
    }
    return true;
}

static bool decode(struct subject *s, struct jval root)
{
    static const struct str usual = STR_INIT(
        "{\"model\":\"claude-opus-5\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    struct jval request = json_get(root, STR("openai_request"));
    struct json doc;
    struct request_error error;
    const struct decode_options options = {.models = s->models};
    bool legacy = json_str_is(json_get(root, STR("dialect")), STR("completions"));
    s->dialect = legacy ? &dialect_completions : &dialect_chat;
    json_init(&doc);
    bool ok = s->dialect->decode(&options, &doc, json_present(request) ? json_raw(request) : usual,
                                 &s->keep, &s->arena, &s->decoded, &error);
    json_done(&doc);
    return ok;
}

static const char *check(struct subject *s, struct jval root)
{
    struct jval events = json_get(root, STR("anthropic_events"));
    bool complete;
    if (!decode(s, root))
        return "the request is refused";
    write_stream(s, events, "", "\n");
    struct str stream = buf_str(&s->stream);
    struct str clean = arena_dup(&s->arena, frames(s, stream, stream.n, stream.n, &complete));
    if (!check_cuts(s, clean))
        return "a cut changes the frames";
    if (!check_noise(s, events, clean))
        return "noise changes the frames";
    return check_tails(s) ? NULL : "a lost tail is taken for success";
}

static bool read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    buf_clear(out);
    for (size_t n = 1; f && n > 0;) {
        char *p = buf_reserve(out, 65536);
        n = p ? fread(p, 1, 65536, f) : 0;
        if (p)
            buf_commit(out, n);
    }
    return f && fclose(f) == 0;
}

int main(int argc, char **argv)
{
    static const struct models_options none;
    char why[MODELS_ERROR];
    struct subject s = {.models = models_new(&none, why)};
    int passed = 0, failed = 0;
    struct buf *const bufs[] = {&s.file, &s.stream, &s.clean, &s.out};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_init(bufs[i], TEXT_MAX);
    json_init(&s.doc);
    for (int i = 1; i < argc; i++) {
        arena_init(&s.arena);
        arena_init(&s.keep);
        bool ok = read_file(argv[i], &s.file) && json_parse(&s.doc, buf_str(&s.file)) == JSON_OK;
        struct jval root = json_root(&s.doc);
        if (!ok || json_str_is(json_get(root, STR("kind")), STR("stream"))) {
            const char *fault = ok ? check(&s, root) : "it cannot be read";
            if (fault)
                printf("%s: %s\n", argv[i], fault);
            passed += !fault;
            failed += fault != NULL;
        }
        arena_done(&s.keep);
        arena_done(&s.arena);
    }
    json_done(&s.doc);
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
    models_free((struct models *)(uintptr_t)s.models);
    printf("recut: %d passed, %d failed\n", passed, failed);
    return failed > 0;
}
