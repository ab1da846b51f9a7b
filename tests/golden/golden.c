/* golden.c - runs one golden case through the translation, without a server.
 *
 *   golden request < case    {"ok":true,"dropped":"a, b","betas":"c","names":{..},"body":{..}}
 *                            {"ok":false,"status":400,"body":{"error":{..}}}
 *   golden stream  < case    the bytes a streaming client would get
 *   golden response < case   the body a client would get
 *
 * A case is a JSON object: "openai_request" (or "raw_request", a string, for what is no JSON),
 * "config" and, for answers, "anthropic_response" or "anthropic_events". Comparing is run.py's
 * work.
 */
#include <stdlib.h>
#include <unistd.h>

#include "llm/chat.h"
#include "llm/upstream_error.h"
#include "wire/jsonw.h"

enum { CASE_MAX = 64 * 1024 * 1024 };

struct run {
    struct json in, doc, event;
    struct arena keep, scratch;
    struct models *models;
    const struct dialect *dialect;
    struct decoded d;
    struct request_error error;
    struct buf out;
};

static bool read_all(struct buf *b)
{
    for (;;) {
        char *p = buf_reserve(b, 65536);
        ssize_t n = p ? read(STDIN_FILENO, p, 65536) : -1;
        if (n <= 0)
            return n == 0;
        buf_commit(b, (size_t)n);
    }
}

static void write_all(struct str s)
{
    while (s.n > 0) {
        ssize_t n = write(STDOUT_FILENO, s.p, s.n);
        if (n <= 0)
            exit(1);
        s = str_skip(s, (size_t)n);
    }
}

static struct str request_body(struct run *r)
{
    struct jval root = json_root(&r->in), raw = json_get(root, STR("raw_request"));
    if (json_is(raw, JSON_STRING))
        return json_str(raw, &r->scratch);
    return json_raw(json_get(root, STR("openai_request")));
}

static bool decode(struct run *r)
{
    struct jval config = json_get(json_root(&r->in), STR("config"));
    struct jval map = json_get(config, STR("model_map"));
    struct str default_model = json_str(json_get(config, STR("default_model")), &r->keep);
    struct jval settings = json_get(config, STR("models"));
    char why[MODELS_ERROR] = "";
    const struct models_options options = {
        .settings = json_present(settings) ? json_raw(settings) : STR_NONE,
        .map = json_present(map) ? json_raw(map) : STR_NONE,
        .default_model = default_model,
    };
    int64_t max = 0;
    if (!json_i64(json_get(config, STR("default_max_tokens")), &max))
        max = 0;
    bool legacy = json_str_is(json_get(json_root(&r->in), STR("dialect")), STR("completions"));
    r->dialect = legacy ? &dialect_completions : &dialect_chat;
    r->models = models_new(&options, why);
    if (!r->models) {
        fprintf(stderr, "%s\n", why);
        exit(2);
    }
    struct decode_options o = {
        .models = r->models,
        .default_max_tokens = max,
        .strict = json_true(json_get(config, STR("strict"))),
        .auto_cache = json_true(json_get(config, STR("auto_cache"))),
        .fast_mode = json_true(json_get(config, STR("fast_mode"))),
        .unsampled = json_true(json_get(config, STR("unsampled"))),
        .betas = json_str(json_get(config, STR("anthropic_beta")), &r->keep),
    };
    return r->dialect->decode(&o, &r->doc, request_body(r), &r->keep, &r->scratch, &r->d,
                              &r->error);
}

static void print_error(struct run *r)
{
    bool missing = r->error.fault == REQUEST_MODEL_NOT_FOUND;
    const struct api_error e = {
        .status = missing ? 404 : 400,
        .type = STR("invalid_request_error"),
        .code = r->error.code,
        .param = r->error.param,
        .message = r->error.message,
    };
    buf_printf(&r->out, "{\"ok\":false,\"status\":%d,\"body\":", e.status);
    openai_error_body(&e, &r->out);
    buf_lit(&r->out, "}\n");
}

static void print_request(struct run *r)
{
    struct rope body;
    struct jsonw w;
    const struct chat_reply *reply = r->d.state;
    jsonw_to_buf(&w, &r->out);
    jsonw_object(&w);
    jsonw_field_bool(&w, "ok", true);
    jsonw_field_bool(&w, "stream", r->d.stream);
    jsonw_field_str(&w, "dropped", r->d.dropped);
    jsonw_field_str(&w, "betas", r->d.request->betas);
    jsonw_key(&w, STR("names"));
    jsonw_object(&w);
    for (const struct chat_name *n = reply->names; n; n = n->next) {
        jsonw_key(&w, n->sent);
        jsonw_str_raw(&w, n->theirs);
    }
    jsonw_object_end(&w);
    rope_init(&body, CASE_MAX);
    messages_write(r->d.request, &body);
    jsonw_field_raw(&w, "body", rope_flatten(&body, &r->scratch));
    jsonw_object_end(&w);
    rope_done(&body);
    buf_lit(&r->out, "\n");
}

static void print_broken(struct run *r, struct str message, bool stream)
{
    const struct api_error e = {
        .status = 502,
        .type = STR("server_error"),
        .code = STR("upstream_unavailable"),
        .message = message,
    };
    if (stream)
        r->dialect->error_frame(&e, &r->out);
    else
        r->dialect->error_body(&e, &r->out);
}

struct telling {
    struct run *r;
    struct encoder *e;
    struct answer a;
    struct str broken;
};

static bool tell(void *ctx, const struct event *ev)
{
    struct telling *t = ctx;
    if (!answer_track(&t->a, ev))
        t->broken = STR("The upstream broke its protocol.");
    else if (ev->type == EVENT_ERROR)
        t->broken = STR("The upstream failed.");
    else if (!t->r->dialect->event(t->e, &t->a, ev, &t->r->out))
        t->broken = STR("The answer is too long.");
    return !t->broken.p;
}

static void tell_events(struct telling *t, struct jval events)
{
    json_each (data, events) {
        struct event ev;
        if (!event_parse(&t->r->event, json_raw(data), &ev))
            t->broken = STR("The upstream broke its protocol.");
        if (t->broken.p || !tell(t, &ev))
            return;
    }
}

static void print_answer(struct run *r, bool stream)
{
    const struct encoder_options o = {
        .stream = stream,
        .id = STR("golden"),
        .created = 1790000000,
        .whole_max = CASE_MAX,
    };
    struct jval message = json_get(json_root(&r->in), STR("anthropic_response"));
    struct telling t = {.r = r, .e = r->dialect->open(&r->keep, &r->d, &o)};
    answer_init(&t.a);
    if (!json_present(message))
        tell_events(&t, json_get(json_root(&r->in), STR("anthropic_events")));
    else if (!event_replay(&r->event, json_raw(message), tell, &t) && !t.broken.p)
        t.broken = STR("The upstream sent no message.");
    if (!t.broken.p && t.a.state != ANSWER_DONE)
        t.broken = STR("The upstream closed the connection before the answer was complete.");
    if (t.broken.p)
        print_broken(r, t.broken, stream);
    else if (!r->dialect->finish(t.e, &t.a, &r->out))
        exit(3);
    r->dialect->close(t.e);
}

int main(int argc, char **argv)
{
    struct run r = {0};
    struct buf in;
    buf_init(&in, CASE_MAX);
    buf_init(&r.out, CASE_MAX);
    json_init(&r.in);
    json_init(&r.doc);
    json_init(&r.event);
    struct str command = argc == 2 ? str_c(argv[1]) : STR("");
    bool stream = str_eq(command, STR("stream"));
    bool known = stream || str_eq(command, STR("request")) || str_eq(command, STR("response"));
    if (!known || !read_all(&in) || json_parse(&r.in, buf_str(&in)) != JSON_OK) {
        fprintf(stderr, "usage: golden request|stream|response < case.json\n");
        return 2;
    }
    bool ok = decode(&r);
    if (!ok)
        print_error(&r);
    else if (str_eq(command, STR("request")))
        print_request(&r);
    else
        print_answer(&r, stream);
    write_all(buf_str(&r.out));
    models_free(r.models);
    arena_done(&r.keep);
    arena_done(&r.scratch);
    json_done(&r.in);
    json_done(&r.doc);
    json_done(&r.event);
    buf_done(&r.out);
    buf_done(&in);
    return 0;
}
