/* test_chat_encode.c - the encoder's promises: exact bytes, little memory, full buffers, error
 * frames. What answers mean is covered by the golden cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "llm/dialect.h"

static const char request[] =
    "{\"model\":\"gpt-4o\",\"stream_options\":{\"include_usage\":true},\"messages\":[{\"role\":"
    "\"user\",\"content\":\"x\"}]}";

#define START "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\"}}"
#define BLOCK                                                                                      \
    "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":" \
    "\"\"}}"
#define DELTA                                                                                      \
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":"   \
    "\"h\\u00e9\"}}"
#define BLOCK_END "{\"type\":\"content_block_stop\",\"index\":0}"
#define END                                                                                        \
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{"             \
    "\"input_tokens\":2,\"output_tokens\":1}}"
#define STOP "{\"type\":\"message_stop\"}"

static const char *const story[] = {START, BLOCK, DELTA, BLOCK_END, END, STOP};

struct fixture {
    struct models *models;
    struct json doc;
    struct arena keep, answer_keep, scratch;
    struct decoded d;
    struct answer a;
    struct encoder *e;
    struct buf out;
};

static void open_fixture(struct fixture *f, bool stream, size_t whole_max, size_t out_max)
{
    static const struct models_options none;
    char why[MODELS_ERROR];
    struct request_error error;
    *f = (struct fixture){.models = models_new(&none, why)};
    struct decode_options o = {.models = f->models};
    struct encoder_options eo = {
        .stream = stream,
        .id = STR("own"),
        .created = 1700000000,
        .whole_max = whole_max,
    };
    json_init(&f->doc);
    assert_true(
        dialect_chat.decode(&o, &f->doc, str_c(request), &f->keep, &f->scratch, &f->d, &error));
    f->e = dialect_chat.open(&f->answer_keep, &f->d, &eo);
    arena_done(&f->scratch); /* the encoder may hold on to keep alone */
    answer_init(&f->a);
    buf_init(&f->out, out_max);
}

static void close_fixture(struct fixture *f)
{
    dialect_chat.close(f->e);
    buf_done(&f->out);
    json_done(&f->doc);
    arena_done(&f->keep);
    arena_done(&f->answer_keep);
    models_free(f->models);
    assert_int_equal(mem_live(), 0);
}

static bool feed(struct fixture *f, const char *data)
{
    struct event ev;
    assert_true(event_parse(&f->doc, str_c(data), &ev));
    assert_true(answer_track(&f->a, &ev));
    return dialect_chat.event(f->e, &f->a, &ev, &f->out);
}

static bool feed_all(struct fixture *f)
{
    for (size_t i = 0; i < ARRAY_LEN(story); i++)
        if (!feed(f, story[i]))
            return false;
    return dialect_chat.finish(f->e, &f->a, &f->out);
}

#define CHUNK(delta, finish)                                                                       \
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"    \
    "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":" delta                                   \
    ",\"logprobs\":null,\"finish_reason\":" finish "}]}\n\n"

static void test_stream_bytes(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, true, 1, 1 << 16);
    assert_true(feed_all(&f));
    struct str want =
        STR(CHUNK("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null")
                CHUNK("{\"content\":\"h\\u00e9\"}", "null") CHUNK("{}", "\"stop\""));
    struct str got = buf_str(&f.out);
    assert_true(str_starts(got, want));
    assert_true(str_starts(str_skip(got, want.n), STR("data: {\"id\":\"chatcmpl-1\"")));
    assert_true(str_ends(got, STR("}\n\ndata: [DONE]\n\n")));
    close_fixture(&f);
}

static void test_whole_bytes(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, false, 1 << 16, 1 << 16);
    assert_true(feed_all(&f));
    assert_true(str_starts(
        buf_str(&f.out),
        STR("{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,"
            "\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
            "\"content\":\"h\\u00e9\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":"
            "\"stop\"}],\"usage\":{\"prompt_tokens\":2,")));
    close_fixture(&f);
}

/* However long it gets, a streamed answer keeps no more than its head. */
static void test_stream_memory(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, true, 1, 1 << 16);
    feed(&f, START);
    feed(&f, BLOCK);
    size_t blocks = mem_live(), size = arena_size(&f.answer_keep);
    for (int i = 0; i < 1000; i++) {
        assert_true(feed(&f, DELTA));
        buf_clear(&f.out);
    }
    assert_int_equal(mem_live(), blocks);
    assert_int_equal(arena_size(&f.answer_keep), size);
    assert_true(size <= 1024 + 64);
    close_fixture(&f);
}

/* At every size of the output something refuses cleanly, and at one it all fits. */
static void test_full(void **state)
{
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        bool fitted = false;
        for (size_t max = 1; max < 2000 && !fitted; max += 7) {
            struct fixture f;
            open_fixture(&f, stream == 1, 1 << 16, max);
            fitted = feed_all(&f);
            close_fixture(&f);
        }
        assert_true(fitted);
    }
}

static void test_whole_max(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, false, 20, 1 << 16);
    assert_true(feed(&f, START) && feed(&f, BLOCK) && feed(&f, DELTA) && feed(&f, DELTA));
    assert_false(feed(&f, DELTA));
    close_fixture(&f);
}

static void test_own_id(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, true, 1, 1 << 16);
    assert_true(feed(&f, "{\"type\":\"message_start\",\"message\":{}}"));
    struct str got = buf_str(&f.out);
    assert_true(str_find_str(got, STR("\"id\":\"chatcmpl-own\"")) < got.n);
    assert_true(str_find_str(got, STR("\"model\":\"claude-sonnet-5-5\"")) < got.n);
    close_fixture(&f);
}

static void test_errors(void **state)
{
    (void)state;
    const struct api_error e = {
        .status = 400,
        .type = STR("t"),
        .param = STR("p"),
        .message = STR("say \"x\"\n"),
    };
    struct buf out;
    buf_init(&out, 1000);
    dialect_chat.error_frame(&e, &out);
    assert_true(str_eq(buf_str(&out), STR("data: {\"error\":{\"message\":\"say \\\"x\\\"\\n\","
                                          "\"type\":\"t\",\"param\":\"p\",\"code\":null}}\n\n")));
    buf_clear(&out);
    dialect_chat.keepalive(&out);
    assert_true(str_eq(buf_str(&out), STR(": ping\n\n")));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_bytes),  cmocka_unit_test(test_whole_bytes),
        cmocka_unit_test(test_stream_memory), cmocka_unit_test(test_full),
        cmocka_unit_test(test_whole_max),     cmocka_unit_test(test_own_id),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
