/* fuzz_chat_valid.c - differential: what the translation lets through, the Messages API must take.
 *
 *   bytes --chat_gen--> OpenAI request --decode, write--> Messages request --sim_validate--> taken?
 *
 * The simulator's validator is the oracle: it was written from the API's side and shares nothing with
 * the decoder. Refusing a request ourselves is always right here; letting one through that upstream
 * refuses is not. valid.c runs the same over seeds.
 */
#include "fuzz_chat_valid.h"

#include "base/mem.h"
#include "llm/dialect.h"
#include "sim/sim_validate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_MAX = 64 * 1024 * 1024 };

/* What only upstream can know: whether a signature is its own, and which models it has. */
static bool is_unknowable(struct str why)
{
    return str_starts(why, STR("model: ")) || str_find_str(why, STR("Invalid `signature`")) < why.n;
}

static enum valid_result judge(struct str body, struct sim_request q, struct arena *scratch,
                               struct str *ret_why)
{
    struct json doc;
    struct sim_error error;
    json_init(&doc);
    enum valid_result result = VALID_TAKEN;
    if (json_parse(&doc, body) != JSON_OK) {
        *ret_why = STR("not JSON");
        result = VALID_BROKEN;
    } else if (!sim_validate_request(&doc, scratch, &q, &error)) {
        *ret_why = error.message;
        result = is_unknowable(error.message) ? VALID_TAKEN : VALID_BROKEN;
    }
    json_done(&doc);
    return result;
}

enum valid_result valid_check(const struct models *models, unsigned settings, struct str request,
                              struct arena *scratch, struct str *ret_body, struct str *ret_why)
{
    struct decode_options options = {
        .models = models,
        .auto_cache = settings & 1,
        .fast_mode = settings & 2,
        .unsampled = settings & 4,
    };
    struct arena keep;
    struct decoded d;
    struct request_error error;
    struct json doc;
    struct rope rope;
    arena_init(&keep);
    json_init(&doc);
    rope_init(&rope, BODY_MAX);
    enum valid_result result = VALID_REFUSED;
    *ret_body = STR_NONE;
    if (dialect_chat.decode(&options, &doc, request, &keep, scratch, &d, &error)) {
        messages_write(d.request, &rope);
        *ret_body = arena_dup(scratch, rope_flatten(&rope, scratch));
        const struct sim_request q = {
            .version = settings & 4 ? SIM_VERSION_NEW : SIM_VERSION_OLD,
            .betas = d.request->betas,
        };
        result = judge(*ret_body, q, scratch, ret_why);
    } else {
        *ret_why = arena_dup(scratch, error.message);
    }
    rope_done(&rope);
    json_done(&doc);
    arena_done(&keep);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gen g;
    struct arena scratch;
    struct str body, why;
    static const struct models_options none;
    char error[MODELS_ERROR];
    struct models *models = models_new(&none, error);
    (void)sim_models();
    gen_init_bytes(&g, str_of((const char *)data, size));
    g.native = true;
    chat_gen_request(&g);
    if (size > 0 && data[0] & 8)
        chat_mangle(&g);
    arena_init(&scratch);
    if (valid_check(models, size > 0 ? data[0] % 8 : 0, buf_str(&g.out), &scratch, &body, &why) ==
        VALID_BROKEN) {
        (void)fprintf(stderr, "%.*s\n%.*s\n%.*s\n", STR_FMT(buf_str(&g.out)), STR_FMT(body),
                      STR_FMT(why));
        UNREACHABLE();
    }
    arena_done(&scratch);
    gen_done(&g);
    models_free(models);
    sim_models_done();
    ASSERT(mem_live() == 0);
    return 0;
}
