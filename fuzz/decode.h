/* decode.h - any bytes as a request of a dialect; for the fuzzers of decoders.
 *
 * What is accepted must write a JSON object that our own strict reader takes, and twice the same
 * bytes; what is refused must say why. The first byte chooses strict mode and a default model.
 */
#ifndef CCPROXY_FUZZ_DECODE_H
#define CCPROXY_FUZZ_DECODE_H

#include "base/mem.h"
#include "llm/dialect.h"

enum { BODY_MAX = 64 * 1024 * 1024 };

struct once {
    struct arena keep, scratch;
    struct json doc;
    struct rope rope;
    struct str body;
    bool ok;
};

static void translate(struct once *o, const struct dialect *dialect, const struct models *models,
                      struct str in, bool strict)
{
    struct decode_options options = {.models = models, .strict = strict};
    struct decoded d;
    struct request_error error;
    arena_init(&o->keep);
    arena_init(&o->scratch);
    json_init(&o->doc);
    rope_init(&o->rope, BODY_MAX);
    o->ok = dialect->decode(&options, &o->doc, in, &o->keep, &o->scratch, &d, &error);
    ASSERT(o->ok || error.message.n > 0);
    if (!o->ok)
        return;
    messages_write(d.request, &o->rope);
    o->body = rope_flatten(&o->rope, &o->scratch);
}

static void done(struct once *o)
{
    rope_done(&o->rope);
    json_done(&o->doc);
    arena_done(&o->keep);
    arena_done(&o->scratch);
}

static void fuzz_decode(const struct dialect *dialect, struct str in)
{
    struct str why;
    struct json check;
    struct once first, second;
    if (in.n == 0)
        return;
    bool strict = in.p[0] == 's', fallback = in.p[0] == 'd';
    if (strict || fallback)
        in = str_skip(in, 1);
    struct models *models =
        models_new(STR_NONE, fallback ? STR("claude-sonnet-4-5") : STR_NONE, &why);
    translate(&first, dialect, models, in, strict);
    translate(&second, dialect, models, in, strict);
    ASSERT(first.ok == second.ok);
    if (first.ok) {
        ASSERT(str_eq(first.body, second.body));
        json_init(&check);
        ASSERT(json_parse(&check, first.body) == JSON_OK);
        ASSERT(!json_empty(json_get(json_root(&check), STR("messages"))));
        json_done(&check);
    }
    done(&first);
    done(&second);
    models_free(models);
    ASSERT(mem_live() == 0);
}

#endif
