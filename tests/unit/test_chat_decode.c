/* test_chat_decode.c - what golden cases cannot show: that requests grow by appending, that prompts
 * are not copied, and what the decoder says beside the body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "llm/dialect.h"

struct fixture {
    struct models *models;
    struct json doc;
    struct arena keep, scratch;
    struct decoded d;
    struct request_error error;
    struct rope out;
};

static void open_fixture(struct fixture *f)
{
    static const struct models_options none;
    char why[MODELS_ERROR];
    *f = (struct fixture){.models = models_new(&none, why)};
    json_init(&f->doc);
    rope_init(&f->out, 64 << 20);
}

static void close_fixture(struct fixture *f)
{
    rope_done(&f->out);
    json_done(&f->doc);
    arena_done(&f->keep);
    arena_done(&f->scratch);
    models_free(f->models);
    assert_int_equal(mem_live(), 0);
}

static bool decode(struct fixture *f, struct str body, bool strict)
{
    struct decode_options o = {.models = f->models, .strict = strict};
    return dialect_chat.decode(&o, &f->doc, body, &f->keep, &f->scratch, &f->d, &f->error);
}

static struct str translated(struct fixture *f, struct str body)
{
    rope_done(&f->out);
    rope_init(&f->out, 64 << 20);
    if (!decode(f, body, false))
        fail_msg("%.*s", STR_FMT(f->error.message));
    messages_write(f->d.request, &f->out);
    return rope_flatten(&f->out, &f->scratch);
}

static const struct {
    const char *body;
    bool stream;
    enum model_match match;
    const char *asked, *dropped;
} said[] = {
    {"{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
     true, MODEL_FOUND, "gpt-4o", ""},
    {"{\"model\":\"claude-3-opus-20240229\",\"temperature\":0,\"x-y\":1,\"a b\":2,\"\\u0000z\":1,"
     "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
     false, MODEL_SUCCEEDED, "claude-3-opus-20240229", "x-y, temperature"},
    {"{\"model\":\"claude-\\u0078\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", false,
     MODEL_ASSUMED, "claude-x", ""},
};

static void test_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(said); i++) {
        struct fixture f;
        open_fixture(&f);
        bool ok = decode(&f, str_c(said[i].body), false);
        if (i == 1 && !ok) { /* NUL in a key is refused by the parser already */
            assert_int_equal(f.error.fault, REQUEST_UNPARSABLE);
            close_fixture(&f);
            continue;
        }
        assert_true(ok);
        assert_int_equal(f.d.stream, said[i].stream);
        assert_int_equal(f.d.match, said[i].match);
        assert_true(str_eq(f.d.asked_model, str_c(said[i].asked)));
        assert_true(str_eq(f.d.dropped, str_c(said[i].dropped)));
        close_fixture(&f);
    }
}

/* A conversation that holds every repair; each line is what one more round appends. */
static const char *const rounds[] = {
    "{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"a\"}",
    "{\"role\":\"assistant\",\"content\":\"t\",\"tool_calls\":[{\"id\":\"call_0\",\"type\":"
    "\"function\","
    "\"function\":{\"name\":\"x.y\",\"arguments\":\"{\\\"a\\\":1.0}\"}},{\"id\":\"a:b\",\"type\":"
    "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\"}}]},"
    "{\"role\":\"tool\",\"tool_call_id\":\"a:b\",\"content\":\"\"},"
    "{\"role\":\"tool\",\"tool_call_id\":\"call_0\",\"content\":\"r\"}",
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_0\",\"type\":"
    "\"function\","
    "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},{\"role\":\"user\",\"content\":\"stop\"}",
    "{\"role\":\"assistant\",\"content\":\"ok\"},{\"role\":\"tool\",\"tool_call_id\":\"z\","
    "\"content\":\"late\"},{\"role\":\"system\",\"content\":\"now short\"}",
    "{\"role\":\"assistant\",\"content\":\"done\"},{\"role\":\"user\",\"content\":\"\"}",
};

/* A prompt cache, and thinking that is bound to its prefix, need the bytes of turn n at the start
 * of turn n+1. */
static void test_append_only(void **state)
{
    (void)state;
    static const char *const models[] = {"claude-opus-5", "claude-sonnet-5", "claude-haiku-4-5"};
    for (size_t k = 0; k < ARRAY_LEN(models); k++) {
        struct fixture f;
        struct buf body;
        struct str before = STR_NONE;
        open_fixture(&f);
        buf_init(&body, 1 << 20);
        buf_printf(
            &body,
            "{\"model\":\"%s\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
            "\"f\"}},{\"type\":\"function\",\"function\":{\"name\":\"x.y\"}}],\"messages\":[",
            models[k]);
        for (size_t i = 0; i < ARRAY_LEN(rounds); i++) {
            struct buf whole;
            buf_init(&whole, 1 << 20);
            buf_printf(&body, "%s%s", i > 0 ? "," : "", rounds[i]);
            buf_append(&whole, buf_str(&body));
            buf_lit(&whole, "]}");
            struct str now = arena_dup(&f.keep, translated(&f, buf_str(&whole)));
            assert_true(str_ends(now, STR("]}]}")));
            if (before.p && !str_starts(now, str_head(before, before.n - 2)))
                fail_msg("%.*s\n%.*s", STR_FMT(before), STR_FMT(now));
            before = now;
            buf_done(&whole);
        }
        buf_done(&body);
        close_fixture(&f);
    }
}

static void test_not_copied(void **state)
{
    (void)state;
    struct fixture f;
    struct buf body;
    open_fixture(&f);
    buf_init(&body, 1 << 22);
    buf_lit(&body, "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                   "\"image_url\",\"image_url\":{\"url\":\"data:image/x;base64,iVBORw0K");
    for (size_t i = 0; i < 100000; i++)
        buf_lit(&body, "AAAAAAAA");
    buf_lit(&body, "\"}},{\"type\":\"text\",\"text\":\"");
    for (size_t i = 0; i < 100000; i++)
        buf_lit(&body, "text\\n");
    buf_lit(&body, "\"}]}]}");
    assert_true(decode(&f, buf_str(&body), false));
    messages_write(f.d.request, &f.out);
    assert_true(f.out.borrowed >= 1400000);
    assert_true(arena_size(&f.scratch) < 16384);
    assert_true(arena_size(&f.keep) < 4096);
    for (size_t i = 0; i < f.out.n_refs; i++)
        assert_true(f.out.refs[i].span.p > body.data &&
                    f.out.refs[i].span.p < body.data + body.end);
    buf_done(&body);
    close_fixture(&f);
}

/* Anthropic's own shapes are not copied either, as long as nothing has to go from them. */
static void test_own_not_copied(void **state)
{
    (void)state;
    struct fixture f;
    struct buf body;
    open_fixture(&f);
    buf_init(&body, 1 << 22);
    buf_lit(&body, "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                   "\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\","
                   "\"data\":\"iVBORw0K");
    for (size_t i = 0; i < 100000; i++)
        buf_lit(&body, "AAAAAAAA");
    buf_lit(&body, "\"}},{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":"
                   "\"text/plain\",\"data\":\"");
    for (size_t i = 0; i < 100000; i++)
        buf_lit(&body, "text\\n");
    buf_lit(&body, "\"}}]}]}");
    assert_true(decode(&f, buf_str(&body), false));
    messages_write(f.d.request, &f.out);
    assert_true(f.out.borrowed >= 1400000);
    assert_true(arena_size(&f.scratch) < 16384);
    buf_done(&body);
    close_fixture(&f);
}

/* An image of n bytes of base64. */
static bool decode_image(struct fixture *f, size_t n)
{
    struct buf body;
    buf_init(&body, n + 4096);
    buf_lit(&body, "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                   "\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0K");
    memset(buf_reserve(&body, n - 8), 'A', n - 8);
    buf_commit(&body, n - 8);
    buf_lit(&body, "\"}}]}]}");
    bool ok = decode(f, buf_str(&body), false);
    buf_done(&body);
    return ok;
}

static void test_image_too_large(void **state)
{
    enum { MOST = 10 * 1024 * 1024 };

    (void)state;
    struct fixture f;
    open_fixture(&f);
    assert_true(decode_image(&f, MOST));
    assert_false(decode_image(&f, MOST + 4));
    assert_true(str_eq(f.error.code, STR("image_too_large")));
    assert_true(str_eq(f.error.param, STR("messages[0].content[0].image_url.url")));
    close_fixture(&f);
}

/* Of several upstream keys one is for the conversation, on every node. */
static void test_home(void **state)
{
    (void)state;
    uint64_t homes[3];
    for (size_t i = 0; i < ARRAY_LEN(homes); i++) {
        static const char *const members[] = {"", "\"prompt_cache_key\":\"a\",",
                                              "\"prompt_cache_key\":\"b\","};
        struct fixture f;
        open_fixture(&f);
        struct str body = arena_printf(
            &f.scratch,
            "{%s\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
            members[i]);
        assert_true(decode(&f, body, false));
        homes[i] = f.d.home;
        close_fixture(&f);
    }
    assert_true(homes[0] == 0);
    assert_true(homes[1] != 0 && homes[1] != homes[2]);
}

/* n properties whose names upstream refuses, in one tool. */
static bool decode_odd_names(struct fixture *f, unsigned n)
{
    struct buf body;
    buf_init(&body, 1 << 20);
    buf_lit(&body, "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                   "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{"
                   "\"type\":\"object\",\"properties\":{");
    for (unsigned i = 0; i < n; i++)
        buf_printf(&body, "%s\"a %u\":{}", i > 0 ? "," : "", i);
    buf_lit(&body, "}}}}]}");
    bool ok = decode(f, buf_str(&body), false);
    buf_done(&body);
    return ok;
}

static void test_odd_names(void **state)
{
    (void)state;

    static const struct {
        unsigned n;
        bool ok;
    } cases[] = {{1, true}, {128, true}, {129, false}, {5000, false}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture f;
        open_fixture(&f);
        assert_int_equal(decode_odd_names(&f, cases[i].n), cases[i].ok);
        if (!cases[i].ok) {
            assert_true(str_eq(f.error.code, STR("invalid_function_parameters")));
            assert_true(str_eq(f.error.param, STR("tools[0].function.parameters")));
        }
        close_fixture(&f);
    }
}

static void test_strict(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    assert_false(decode(&f,
                        STR("{\"model\":\"gpt-4o\",\"foo\":1,\"temperature\":0,\"messages\":[{"
                            "\"role\":\"user\",\"content\":\"x\"}]}"),
                        true));
    assert_int_equal(f.error.fault, REQUEST_INVALID);
    assert_true(str_eq(f.error.param, STR("foo")));
    assert_true(str_eq(f.error.code, STR("unsupported_parameter")));
    close_fixture(&f);
}

/* Every prefix of a valid request is refused, and never read past its end. */
static void test_cut(void **state)
{
    (void)state;
    struct str whole = str_c(said[0].body);
    for (size_t n = 0; n < whole.n; n++) {
        struct fixture f;
        open_fixture(&f);
        char *copy = mem_alloc(n > 0 ? n : 1);
        memcpy(copy, whole.p, n);
        assert_false(decode(&f, str_of(copy, n), false));
        assert_int_equal(f.error.fault, REQUEST_UNPARSABLE);
        mem_free(copy);
        close_fixture(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_said),       cmocka_unit_test(test_append_only),
        cmocka_unit_test(test_not_copied), cmocka_unit_test(test_strict),
        cmocka_unit_test(test_cut),        cmocka_unit_test(test_own_not_copied),
        cmocka_unit_test(test_odd_names),  cmocka_unit_test(test_image_too_large),
        cmocka_unit_test(test_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
