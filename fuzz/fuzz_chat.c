/* fuzz_chat.c - any bytes as a Chat Completions request, or as one of the legacy API.
 *
 * What is accepted must write a JSON object that our own strict reader takes, and twice the same
 * bytes; what is refused must say why. The first byte chooses strict mode, a default model, or the legacy API.
 */
#include "base/mem.h"
#include "llm/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[MODELS_ERROR] = "";
    struct str in = str_of((const char *)data, size);
    struct json check;
    struct once first, second;
    if (size == 0)
        return 0;
    bool strict = in.p[0] == 's', fallback = in.p[0] == 'd';
    bool legacy = in.p[0] == 'c';
    const struct dialect *dialect = legacy ? &dialect_completions : &dialect_chat;
    if (strict || fallback || legacy)
        in = str_skip(in, 1);
    struct models *models = models_new(
        &(struct models_options){.default_model = fallback ? STR("claude-sonnet-4-5") : STR_NONE},
        why);
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
    return 0;
}
