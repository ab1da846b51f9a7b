/* test_models.c - the table of models: names, maps, refresh, and what must hold for every row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "llm/dialect.h"
#include "llm/models.h"

static struct models *made(struct str map, struct str fallback)
{
    char why[MODELS_ERROR] = "";
    struct models *m =
        models_new(&(struct models_options){.map = map, .default_model = fallback}, why);
    assert_non_null(m);
    return m;
}

static const struct {
    struct str name;
    enum model_match match;
    struct str id;
} names[] = {
    {STR_INIT("gpt-4"), MODEL_FOUND, STR_INIT("claude-sonnet-5-5")},
    {STR_INIT("gpt-4-turbo"), MODEL_FOUND, STR_INIT("claude-sonnet-5-5")},
    {STR_INIT("gpt-4-0613"), MODEL_FOUND, STR_INIT("claude-sonnet-5-5")},
    {STR_INIT("gpt-4-turbo-2024-04-09"), MODEL_FOUND, STR_INIT("claude-sonnet-5-5")},
    {STR_INIT("gpt-4-turbo-preview"), MODEL_FOUND, STR_INIT("claude-sonnet-5-5")},
    {STR_INIT("gpt-4o"), MODEL_FOUND, STR_INIT("claude-sonnet-5-5")},
    {STR_INIT("gpt-4o-2024-08-06"), MODEL_FOUND, STR_INIT("claude-sonnet-5-5")},
    {STR_INIT("chatgpt-4o-latest"), MODEL_FOUND, STR_INIT("claude-sonnet-5-5")},
    {STR_INIT("gpt-4o-mini"), MODEL_FOUND, STR_INIT("claude-haiku-5-5")},
    {STR_INIT("gpt-4o-mini-2024-07-18"), MODEL_FOUND, STR_INIT("claude-haiku-5-5")},
    {STR_INIT("gpt-3.5-turbo"), MODEL_FOUND, STR_INIT("claude-haiku-5-5")},
    {STR_INIT("gpt-3.5-turbo-16k"), MODEL_FOUND, STR_INIT("claude-haiku-5-5")},
    {STR_INIT("gpt-5-nano"), MODEL_FOUND, STR_INIT("claude-haiku-5-5")},
    {STR_INIT("gpt-5-pro"), MODEL_FOUND, STR_INIT("claude-opus-5-5")},
    {STR_INIT("o3"), MODEL_FOUND, STR_INIT("claude-opus-5-5")},
    {STR_INIT("o4-mini"), MODEL_FOUND, STR_INIT("claude-haiku-5-5")},
    {STR_INIT("o1-2024-12-17"), MODEL_FOUND, STR_INIT("claude-opus-5-5")},
    {STR_INIT("claude-opus-5-5"), MODEL_FOUND, STR_INIT("claude-opus-5-5")},
    {STR_INIT("anthropic/claude-opus-5-5"), MODEL_FOUND, STR_INIT("claude-opus-5-5")},
    {STR_INIT("claude/claude-opus-5-5"), MODEL_FOUND, STR_INIT("claude-opus-5-5")},
    {STR_INIT("claude-haiku-4-5-20251001"), MODEL_FOUND, STR_INIT("claude-haiku-4-5-20251001")},
    {STR_INIT("claude-haiku-4-5"), MODEL_FOUND, STR_INIT("claude-haiku-4-5")},
    {STR_INIT("claude-3-5-sonnet-20241022"), MODEL_SUCCEEDED, STR_INIT("claude-sonnet-5-5")},
    {STR_INIT("claude-3-5-haiku-20241022"), MODEL_SUCCEEDED, STR_INIT("claude-haiku-5-5")},
    {STR_INIT("claude-3-5-sonnet-latest"), MODEL_SUCCEEDED, STR_INIT("claude-sonnet-5-5")},
    {STR_INIT("claude-sonnet-4-20250514"), MODEL_SUCCEEDED, STR_INIT("claude-sonnet-5-5")},
    {STR_INIT("claude-opus-4"), MODEL_SUCCEEDED, STR_INIT("claude-opus-5-5")},
    {STR_INIT("claude-opus-4-1"), MODEL_SUCCEEDED, STR_INIT("claude-opus-5-5")},
    {STR_INIT("claude-instant-1"), MODEL_SUCCEEDED, STR_INIT("claude-haiku-5-5")},
    {STR_INIT("claude-opus-9"), MODEL_ASSUMED, STR_INIT("claude-opus-9")},
    {STR_INIT("claude-opus-9[1m]"), MODEL_ASSUMED, STR_INIT("claude-opus-9[1m]")},
    {STR_INIT("claude-"), MODEL_UNKNOWN, {NULL, 0}},
    {STR_INIT("claude-opus-9\r\nX: y"), MODEL_UNKNOWN, {NULL, 0}},
    {STR_INIT("claude-opus-9/../x"), MODEL_UNKNOWN, {NULL, 0}},
    {STR_INIT("claude-\xc3\xa9"), MODEL_UNKNOWN, {NULL, 0}},
    {STR_INIT("gpt-99"), MODEL_UNKNOWN, {NULL, 0}},
    {STR_INIT("gpt-4x"), MODEL_UNKNOWN, {NULL, 0}},
    {STR_INIT("gpt-4-"), MODEL_UNKNOWN, {NULL, 0}},
    {STR_INIT("llama"), MODEL_UNKNOWN, {NULL, 0}},
    {STR_INIT(""), MODEL_UNKNOWN, {NULL, 0}},
};

static void test_names(void **state)
{
    (void)state;
    struct models *m = made(STR_NONE, STR_NONE);
    struct arena a;
    arena_init(&a);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct model *row = NULL;
        enum model_match match = models_resolve(m, names[i].name, &a, &row);
        if (match != names[i].match || (row && !str_eq(row->id, names[i].id)))
            fail_msg("%.*s: match %d", STR_FMT(names[i].name), (int)match);
        assert_int_equal(row == NULL, match == MODEL_UNKNOWN);
    }
    arena_done(&a);
    models_free(m);
}

/* What a row says must fit together, or requests are built that upstream refuses. */
static void test_rows(void **state)
{
    (void)state;
    struct models *m = made(STR_NONE, STR_NONE);
    bool retired_seen = false;
    for (size_t i = 0; i < models_count(m); i++) {
        const struct model *r = models_at(m, i);
        bool retired = r->lifecycle == MODEL_RETIRED;
        assert_true(!retired_seen || retired);
        retired_seen = retired;
        assert_int_equal(retired, r->successor.n > 0);
        assert_true(r->created > 0);
        if (retired)
            continue;
        assert_true(r->max_output > 0 && r->max_output < r->context);
        assert_true(r->price.read < r->price.input && r->price.input < r->price.write_5m);
        assert_true(r->price.write_5m < r->price.write_1h && r->price.input < r->price.output);
        assert_int_equal(r->tier_above > 0, r->price_high.input > 0);
        assert_true(!(r->can & CAN_SAMPLE) || !r->display_omitted);
        assert_true(r->think != THINK_ALWAYS || !(r->can & CAN_THINK_DISABLED));
        assert_true(r->can & (CAN_THINK_ADAPTIVE | CAN_THINK_ENABLED));
    }
    assert_true(retired_seen);
    models_free(m);
}

static void test_prices(void **state)
{
    (void)state;
    struct models *m = made(STR_NONE, STR_NONE);
    struct arena a;
    const struct model *row;
    arena_init(&a);
    assert_int_equal(models_resolve(m, STR("gpt-4o-mini"), &a, &row), MODEL_FOUND);
    assert_int_equal(row->price.input, 100000);
    assert_int_equal(row->price.write_5m, 125000);
    assert_int_equal(row->price.read, 10000);
    assert_int_equal(row->tier_above, 100000);
    assert_int_equal(row->price_high.write_5m, 625000);
    arena_done(&a);
    models_free(m);
}

static void test_assumed(void **state)
{
    (void)state;
    struct models *m = made(STR_NONE, STR_NONE);
    struct arena a;
    const struct model *row;
    arena_init(&a);
    assert_int_equal(models_resolve(m, STR("claude-haiku-9"), &a, &row), MODEL_ASSUMED);
    assert_int_equal(row->line, LINE_HAIKU);
    assert_int_equal(row->max_output, 128000);
    assert_false(row->can & (CAN_SAMPLE | CAN_FORCE_TOOL | CAN_PREFILL | CAN_THINK_DISABLED));
    arena_done(&a);
    models_free(m);
}

static void test_map(void **state)
{
    (void)state;

    static const struct {
        struct str map, fallback;
        bool ok;
    } cases[] = {
        {STR_INIT("{\"gpt-4o\":\"claude-opus-5-5\",\"mine\":\"anthropic/claude-3-opus\"}"),
         STR_INIT("gpt-4o"), true},
        {STR_INIT("{}"), STR_INIT("claude-future-1"), true},
        {STR_INIT("{\"a\":\"gpt-4\"}"), {NULL, 0}, false}, /* aliases do not chain */
        {STR_INIT("{\"a\":1}"), {NULL, 0}, false},
        {STR_INIT("{\"\":\"claude-opus-5\"}"), {NULL, 0}, false},
        {STR_INIT("[]"), {NULL, 0}, false},
        {STR_INIT("{"), {NULL, 0}, false},
        {{NULL, 0}, STR_INIT("llama"), false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char why[MODELS_ERROR] = "";
        struct models *m = models_new(
            &(struct models_options){.map = cases[i].map, .default_model = cases[i].fallback}, why);
        assert_int_equal(m != NULL, cases[i].ok);
        assert_int_equal(why[0] != 0, !cases[i].ok);
        models_free(m);
    }
    struct models *m = made(cases[0].map, cases[0].fallback);
    struct arena a;
    const struct model *row;
    arena_init(&a);
    assert_int_equal(models_resolve(m, STR("gpt-4o"), &a, &row), MODEL_FOUND);
    assert_true(str_eq(row->id, STR("claude-opus-5-5")));
    assert_int_equal(models_resolve(m, STR("gpt-4o-2024-08-06"), &a, &row), MODEL_FOUND);
    assert_true(str_eq(row->id, STR("claude-opus-5-5")));
    assert_int_equal(models_resolve(m, STR("mine"), &a, &row), MODEL_FOUND);
    assert_true(str_eq(row->id, STR("claude-opus-5-5")));
    assert_int_equal(models_resolve(m, STR("llama"), &a, &row), MODEL_DEFAULTED);
    arena_done(&a);
    models_free(m);
}

static void test_settings(void **state)
{
    (void)state;
    static const char text[] =
        "{\"claude-new-9\":{\"like\":\"claude-opus-5\",\"cannot\":[\"forced_tools\"],"
        "\"can\":[\"sampling\"],\"max_output\":64000,\"context\":300000,\"efforts\":[\"low\","
        "\"max\"],"
        "\"thinking\":\"off\",\"price\":{\"input\":4,\"cache_read\":0.25}},"
        "\"claude-sonnet-5-5\":{\"max_output\":1000},\"claude-haiku-4-5\":{\"cannot\":[\"prefill\"]"
        "},"
        "\"claude-sonnet-7\":{}}";
    char why[MODELS_ERROR] = "";
    struct models *m =
        models_new(&(struct models_options){.settings = str_c(text),
                                            .map = STR("{\"mine\":\"claude-new-9\"}")},
                   why);
    const struct model *row;
    struct arena a;
    arena_init(&a);
    assert_non_null(m);
    assert_int_equal(models_resolve(m, STR("mine"), &a, &row), MODEL_FOUND);
    assert_true(str_eq(row->id, STR("claude-new-9")));
    assert_int_equal(row->can & (CAN_FORCE_TOOL | CAN_SAMPLE | CAN_MID_SYSTEM),
                     CAN_SAMPLE | CAN_MID_SYSTEM);
    assert_int_equal(row->max_output, 64000);
    assert_int_equal(row->context, 300000);
    assert_int_equal(row->efforts, EFFORT_LOW | EFFORT_MAX);
    assert_int_equal(row->think, THINK_OFF);
    assert_int_equal(row->price.input, 4000000);
    assert_int_equal(row->price.output, 25000000);
    assert_int_equal(row->price.read, 250000);
    assert_int_equal(models_resolve(m, STR("claude-sonnet-7"), &a, &row), MODEL_FOUND);
    assert_int_equal(models_resolve(m, STR("claude-haiku-4-5"), &a, &row), MODEL_FOUND);
    assert_false(row->can & CAN_PREFILL);
    /* the upstream's list does not undo it */
    struct json doc;
    json_init(&doc);
    assert_int_equal(
        json_parse(&doc, STR("{\"data\":[{\"id\":\"claude-sonnet-5-5\",\"max_tokens\":5000,"
                             "\"max_input_tokens\":7000}]}")),
        JSON_OK);
    assert_int_equal(models_refresh(m, &doc), 1);
    assert_int_equal(models_resolve(m, STR("claude-sonnet-5-5"), &a, &row), MODEL_FOUND);
    assert_int_equal(row->max_output, 1000);
    assert_int_equal(row->context, 7000);
    /* and what was learnt stays as well, of names that are only assumed, too */
    models_learn_cannot(m, row, CAN_MID_SYSTEM);
    assert_false(row->can & CAN_MID_SYSTEM);
    assert_int_equal(models_resolve(m, STR("claude-opus-99"), &a, &row), MODEL_ASSUMED);
    models_learn_cannot(m, row, CAN_THINK_ADAPTIVE);
    assert_int_equal(models_resolve(m, STR("claude-opus-99"), &a, &row), MODEL_FOUND);
    assert_false(row->can & CAN_THINK_ADAPTIVE);
    json_done(&doc);
    arena_done(&a);
    models_free(m);
    assert_int_equal(mem_live(), 0);
}

static void test_settings_faults(void **state)
{
    (void)state;

    static const struct {
        const char *text, *part;
    } faults[] = {
        {"[]", "not a JSON object of models"},
        {"{\"gpt-4\":{}}", "\"gpt-4\": its id is not"},
        {"{\"claude-3-5-sonnet-20241022\":{}}", "still there"},
        {"{\"claude-x\":{\"like\":\"claude-nothing\"}}", "like is not the id"},
        {"{\"claude-x\":{\"can\":[\"fly\"]}}", "can is not a list of abilities"},
        {"{\"claude-x\":{\"cannot\":\"sampling\"}}", "cannot is not a list"},
        {"{\"claude-x\":{\"max_output\":0}}", "max_output is not a number of tokens"},
        {"{\"claude-x\":{\"efforts\":[\"huge\"]}}", "efforts is not"},
        {"{\"claude-x\":{\"thinking\":\"maybe\"}}", "thinking is not off, on or always"},
        {"{\"claude-x\":{\"price\":{\"inptu\":1}}}", "price is not made of"},
        {"{\"claude-x\":{\"colour\":1}}", "colour is not known here"},
    };

    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        char why[MODELS_ERROR] = "";
        assert_null(models_new(&(struct models_options){.settings = str_c(faults[i].text)}, why));
        if (!strstr(why, faults[i].part))
            fail_msg("%s: %s", faults[i].text, why);
    }
    assert_int_equal(mem_live(), 0);
}

static const char fresh[] =
    "{\"data\":[{\"id\":\"claude-opus-5\",\"lifecycle\":\"deprecated\",\"max_tokens\":64000,"
    "\"max_input_tokens\":null,\"capabilities\":{\"image_input\":{\"supported\":false},"
    "\"effort\":{\"supported\":true,\"max\":{\"supported\":false},\"xhigh\":null}}},"
    "{\"id\":\"claude-nova-1\",\"created_at\":\"2027-01-01T00:00:00Z\",\"max_tokens\":200000,"
    "\"capabilities\":{\"thinking\":{\"types\":{\"disabled\":{\"supported\":true}}}}},"
    "{\"id\":\"claude-old-1\",\"lifecycle\":\"retired\"},{\"id\":\"gpt-4\"},{\"id\":7},5,"
    "{\"id\":\"claude-\\u0061\"}]}";

static void test_refresh(void **state)
{
    (void)state;
    struct models *m = made(STR_NONE, STR_NONE);
    struct arena a;
    struct json doc;
    const struct model *before, *row;
    arena_init(&a);
    json_init(&doc);
    size_t n = models_count(m);
    models_resolve(m, STR("claude-opus-5"), &a, &before);
    assert_int_equal(json_parse(&doc, str_c(fresh)), JSON_OK);
    assert_int_equal(models_refresh(m, &doc), 2);
    assert_int_equal(models_count(m), n + 1);
    models_resolve(m, STR("claude-opus-5"), &a, &row);
    assert_ptr_equal(row, before); /* rows never move */
    assert_int_equal(row->lifecycle, MODEL_DEPRECATED);
    assert_int_equal(row->max_output, 64000);
    assert_int_equal(row->context, 1000000);
    assert_false(row->can & CAN_IMAGE);
    assert_true(row->can & CAN_PDF);
    assert_int_equal(row->efforts, EFFORT_LOW | EFFORT_MEDIUM | EFFORT_HIGH | EFFORT_XHIGH);
    assert_int_equal(models_resolve(m, STR("claude-nova-1"), &a, &row), MODEL_FOUND);
    assert_int_equal(row->max_output, 200000);
    assert_int_equal(row->created, 1798761600);
    assert_true(row->can & CAN_THINK_DISABLED);
    assert_false(row->can & CAN_SAMPLE);
    assert_int_equal(models_refresh(m, &doc), 2);
    assert_int_equal(models_count(m), n + 1);
    json_done(&doc);
    arena_done(&a);
    models_free(m);
}

static void test_lists(void **state)
{
    (void)state;
    struct models *m = made(STR_NONE, STR_NONE);
    struct arena a;
    struct json doc;
    struct buf out;
    arena_init(&a);
    json_init(&doc);
    buf_init(&out, 1 << 20);
    openai_models_list(m, &out);
    assert_int_equal(json_parse(&doc, buf_str(&out)), JSON_OK);
    struct jval root = json_root(&doc), data = json_get(root, STR("data"));
    assert_true(json_str_is(json_get(root, STR("object")), STR("list")));
    assert_true(json_count(data) > models_alias_count(m));
    json_each (entry, data) {
        assert_true(json_str_is(json_get(entry, STR("object")), STR("model")));
        assert_true(json_str_is(json_get(entry, STR("owned_by")), STR("anthropic")));
        assert_true(json_is(json_get(entry, STR("created")), JSON_NUMBER));
    }
    buf_clear(&out);
    assert_true(openai_models_one(m, STR("gpt-4o"), &a, &out));
    assert_int_equal(json_parse(&doc, buf_str(&out)), JSON_OK);
    assert_true(json_str_is(json_get(json_root(&doc), STR("id")), STR("gpt-4o")));
    assert_false(openai_models_one(m, STR("gpt-99"), &a, &out));
    assert_false(openai_models_one(m, STR("claude-none-1"), &a, &out));
    buf_done(&out);
    json_done(&doc);
    arena_done(&a);
    models_free(m);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_prices),
        cmocka_unit_test(test_assumed),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_settings_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
