/* fuzz_event.c - any lines as the events of an answer, encoded streamed and whole.
 *
 * Every frame must be a comment, [DONE] or a JSON object with choices; a whole body must be a JSON
 * object. The first line chooses the request: its features change how answers are written.
 */
#include "base/mem.h"
#include "llm/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 16 * 1024 * 1024 };

static const char *const requests[] = {
    "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
    "\"stream_options\":{\"include_usage\":true},\"service_tier\":\"auto\","
    "\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"sh\"}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"x.y\"}}]}",
    "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
    "\"response_format\":{\"type\":\"json_object\"}}",
    "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
    "\"functions\":[{\"name\":\"f\"}]}",
    "{\"model\":\"claude-opus-5\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
    "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":"
    "{\"type\":\"object\"}}}}",
    "{\"model\":\"claude-opus-5\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
    "\"stop\":[\"\\n\",\" \\n \"]}",
};

static void check_json(struct str text, bool chunk)
{
    struct json doc;
    json_init(&doc);
    ASSERT(json_parse(&doc, text) == JSON_OK);
    ASSERT(!chunk || json_is(json_get(json_root(&doc), STR("choices")), JSON_ARRAY));
    json_done(&doc);
}

static void check_frames(struct str out)
{
    while (out.n > 0) {
        size_t end = str_find_str(out, STR("\n\n"));
        ASSERT(end < out.n);
        struct str frame = str_head(out, end);
        out = str_skip(out, end + 2);
        if (str_starts(frame, STR(":")) || str_eq(frame, STR("data: [DONE]")))
            continue;
        ASSERT(str_starts(frame, STR("data: ")));
        check_json(str_skip(frame, 6), true);
    }
}

static void play(const struct decoded *d, struct str lines, bool stream)
{
    struct arena keep;
    struct json doc;
    struct buf out;
    struct answer a;
    struct event ev;
    struct str line;
    struct encoder_options o = {
        .stream = stream,
        .id = STR("x"),
        .created = 1,
        .whole_max = OUT_MAX / 2,
    };
    arena_init(&keep);
    json_init(&doc);
    buf_init(&out, OUT_MAX);
    answer_init(&a);
    struct encoder *e = dialect_chat.open(&keep, d, &o);
    struct content content; /* what would be sent back */
    content_init(&content, OUT_MAX);
    bool ok = true;
    while (ok && str_split(&lines, '\n', &line)) {
        ok = event_parse(&doc, line, &ev) && answer_track(&a, &ev) && ev.type != EVENT_ERROR &&
             dialect_chat.event(e, &a, &ev, &out);
        if (ok)
            content_take(&content, &ev);
    }
    ASSERT(content_blocks(&content).n <= OUT_MAX);
    content_done(&content);
    bool whole = a.state == ANSWER_DONE && dialect_chat.finish(e, &a, &out);
    if (stream)
        check_frames(buf_str(&out));
    else if (whole)
        check_json(buf_str(&out), true);
    dialect_chat.close(e);
    buf_done(&out);
    json_done(&doc);
    arena_done(&keep);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[MODELS_ERROR] = "";
    struct str in = str_of((const char *)data, size);
    struct arena keep, scratch;
    struct json doc;
    struct decoded d;
    struct request_error error;
    if (size == 0)
        return 0;
    struct models *models = models_new(&(struct models_options){0}, why);
    struct decode_options o = {.models = models};
    struct str request = str_c(requests[data[0] % ARRAY_LEN(requests)]);
    arena_init(&keep);
    arena_init(&scratch);
    json_init(&doc);
    ASSERT(dialect_chat.decode(&o, &doc, request, &keep, &scratch, &d, &error));
    play(&d, str_skip(in, 1), true);
    play(&d, str_skip(in, 1), false);
    json_done(&doc);
    arena_done(&keep);
    arena_done(&scratch);
    models_free(models);
    ASSERT(mem_live() == 0);
    return 0;
}
