/* bench_json.c - microseconds per parse (and per written event) of the JSON layer alone.
 *
 * The documents are made in memory: a coding agent's request of 1 MB, full of \n escapes and small
 * values; a request of 5 MB that is one image; one streamed event. Prints per case: name, bytes,
 * minimum and median microseconds, budget, separated by tabs. Short cases are repeated inside one
 * measurement, since the clock counts whole microseconds.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "wire/json.h"
#include "wire/jsonw.h"
#include "wire/sse.h"

enum { RUNS = 101, SHORT_REPEATS = 10000, BODY_MAX = 16 * 1024 * 1024 };

struct bench {
    const char *name;
    struct str input;
    unsigned repeats;
    double budget_us;
    void (*run)(struct str input);
};

static struct json doc;
static struct buf out;

static const char lines[] =
    "static int read_head(struct reader *r)\\n{\\n    if (r->at >= r->end)\\n        return -1;\\n"
    "\\tlog(\\\"at %zu\\\", r->at);\\n}\\n";

static const char event[] =
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":"
    "\"and the gateway answers with a few words,\\nas models do, one after another, until it is "
    "done \"}}";

static void add_text(struct buf *b, size_t n)
{
    for (size_t end = buf_len(b) + n; buf_len(b) < end;)
        buf_append(b, str_c(lines));
}

static void add_turn(struct buf *b, int i)
{
    buf_lit(b, ",{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"");
    add_text(b, 3000);
    buf_printf(b,
               "\"}]},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_%d\","
               "\"type\":\"function\",\"function\":{\"name\":\"read_file\",\"arguments\":"
               "\"{\\\"path\\\":\\\"src/main.c\\\",\\\"line\\\":%d}\"}}]},"
               "{\"role\":\"tool\",\"tool_call_id\":\"call_%d\",\"content\":\"",
               i, i, i);
    add_text(b, 6500);
    buf_lit(b, "\"}");
}

static void make_agent_request(struct buf *b)
{
    buf_lit(b, "{\"model\":\"some-model\",\"stream\":true,\"messages\":[{\"role\":\"system\","
               "\"content\":\"Be brief.\"}");
    for (int i = 0; i < 100; i++)
        add_turn(b, i);
    buf_lit(b, "],\"tools\":[");
    for (int i = 0; i < 40; i++)
        buf_printf(b,
                   "%s{\"type\":\"function\",\"function\":{\"name\":\"tool_%d\",\"description\":"
                   "\"Reads a file.\",\"parameters\":{\"type\":\"object\",\"properties\":{\"path\":"
                   "{\"type\":\"string\"},\"line\":{\"type\":\"integer\",\"minimum\":1}},"
                   "\"required\":[\"path\"]}}}",
                   i ? "," : "", i);
    buf_lit(b, "]}");
}

/* The same size again, but of nothing except small values. */
static void make_small_values(struct buf *b)
{
    buf_lit(b, "{\"rows\":[");
    for (int i = 0; buf_len(b) < 1000 * 1000; i++)
        buf_printf(b, "%s{\"id\":%d,\"name\":\"row %d\",\"ok\":true,\"size\":[%d,1.5e3]}",
                   i ? "," : "", i, i, i % 7);
    buf_lit(b, "]}");
}

static void make_image_request(struct buf *b)
{
    buf_lit(b, "{\"model\":\"some-model\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
               "\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,");
    while (buf_len(b) < 5 * 1000 * 1000)
        buf_lit(b, "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD");
    buf_lit(b, "\"}}]}]}");
}

static void parse(struct str input)
{
    enum json_error e = json_parse(&doc, input);

    ASSERT(e == JSON_OK);
}

static void write_event(struct str input)
{
    struct jsonw w;

    buf_clear(&out);
    jsonw_to_buf(&w, &out);
    jsonw_object(&w);
    jsonw_field_str(&w, "id", STR("chatcmpl-0123456789abcdef"));
    jsonw_field_i64(&w, "created", 1700000000);
    jsonw_field_str(&w, "model", STR("some-model"));
    jsonw_key(&w, STR("choices"));
    jsonw_array(&w);
    jsonw_object(&w);
    jsonw_field_i64(&w, "index", 0);
    jsonw_key(&w, STR("delta"));
    jsonw_object(&w);
    jsonw_field_str_raw(&w, "content", input);
    jsonw_object_end(&w);
    jsonw_field_null(&w, "finish_reason");
    jsonw_object_end(&w);
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    ASSERT(jsonw_ok(&w));
}

static void escape(struct str input)
{
    bool ok;

    buf_clear(&out);
    ok = jsonw_escape(&out, input);
    ASSERT(ok);
}

static void split_events(struct str input)
{
    static char room[4096];
    struct sse_event found;
    struct sse s;
    size_t at = 0, used = 0;

    memcpy(room, input.p, input.n);
    sse_init(&s, sizeof(room));
    while (sse_next(&s, room + at, input.n - at, &found, &used) == SSE_EVENT)
        at += used;
    ASSERT(at == input.n);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void measure(const struct bench *m)
{
    static uint64_t runs[RUNS];

    for (size_t i = 0; i < RUNS; i++) {
        uint64_t before = clock_precise_us();
        for (unsigned k = 0; k < m->repeats; k++)
            m->run(m->input);
        runs[i] = clock_precise_us() - before;
    }
    qsort(runs, RUNS, sizeof(*runs), by_value);
    printf("%s\t%zu\t%.3f\t%.3f\t%.1f\n", m->name, m->input.n, (double)runs[0] / m->repeats,
           (double)runs[RUNS / 2] / m->repeats, m->budget_us);
}

int main(void)
{
    struct buf agent, values, image, stream;

    json_init(&doc);
    buf_init(&out, BODY_MAX);
    buf_init(&agent, BODY_MAX);
    buf_init(&values, BODY_MAX);
    buf_init(&image, BODY_MAX);
    buf_init(&stream, BODY_MAX);
    make_agent_request(&agent);
    make_small_values(&values);
    make_image_request(&image);
    for (int i = 0; i < 10; i++)
        buf_printf(&stream, "event: content_block_delta\ndata: %s\n\n", event);

    const struct bench benches[] = {
        {"parse agent request", buf_str(&agent), 1, 1000, parse},
        {"parse small values", buf_str(&values), 1, 0, parse},
        {"parse image request", buf_str(&image), 1, 1000, parse},
        {"parse event", str_c(event), SHORT_REPEATS, 0.4, parse},
        {"write event", STR("a few words "), SHORT_REPEATS, 0, write_event},
        {"escape agent request", buf_str(&agent), 1, 0, escape},
        {"split 10 events", buf_str(&stream), SHORT_REPEATS / 10, 0, split_events},
    };
    printf("case\tbytes\tmin us\tmedian us\tbudget us\n");
    for (size_t i = 0; i < ARRAY_LEN(benches); i++)
        measure(&benches[i]);
    buf_done(&agent);
    buf_done(&values);
    buf_done(&image);
    buf_done(&stream);
    buf_done(&out);
    json_done(&doc);
    ASSERT(mem_live() == 0);
    return 0;
}
