/* translate.c - CPU of decoding a chat request and writing the Messages body, without any I/O.
 *
 * Prints per case: name, median microseconds, budget, separated by tabs.
 */
#include <time.h>

#include "base/mem.h"
#include "llm/dialect.h"

enum { RUNS = 41 };

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static const char filler[] =
    "static int parse_header(struct reader *r)\\n{\\n    if (r->pos >= r->len)\\n        return "
    "-1;\\n"
    "    \\\"quoted\\\" text, and more of it, so that lines look like an agent's work\\n}\\n";

static void add_filler(struct buf *b, size_t n)
{
    size_t start = buf_len(b);
    while (buf_len(b) - start < n)
        buf_append(b, str_c(filler));
}

/* 300 messages of a coding agent, a third of them tool calls with their results, and 40 tools. */
static void agent_request(struct buf *b)
{
    buf_lit(
        b,
        "{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{\"role\":\"system\",\"content\":\"");
    add_filler(b, 8000);
    buf_lit(b, "\"}");
    for (int i = 0; i < 100; i++) {
        buf_lit(b, ",{\"role\":\"user\",\"content\":\"");
        add_filler(b, 3000);
        buf_printf(
            b,
            "\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_%d\","
            "\"type\":\"function\",\"function\":{\"name\":\"tool_%d\",\"arguments\":\"{"
            "\\\"path\\\":"
            "\\\"src/main.c\\\",\\\"line\\\":%d}\"}}]},{\"role\":\"tool\",\"tool_call_id\":"
            "\"call_%d\",\"content\":\"",
            i, i % 40, i, i);
        add_filler(b, 6000);
        buf_lit(b, "\"}");
    }
    buf_lit(b, ",{\"role\":\"user\",\"content\":\"go on\"}],\"tools\":[");
    for (int i = 0; i < 40; i++)
        buf_printf(
            b,
            "%s{\"type\":\"function\",\"function\":{\"name\":\"tool_%d\",\"description\":\"Reads a "
            "file and returns its lines.\",\"parameters\":{\"type\":\"object\",\"properties\":{"
            "\"path\":{\"type\":\"string\"},\"line\":{\"type\":\"integer\"}},\"required\":"
            "[\"path\"]}}}",
            i ? "," : "", i);
    buf_lit(b, "]}");
}

static void image_request(struct buf *b)
{
    buf_lit(
        b, "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
           "\"text\":\"What is this?\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\""
           "data:image/png;base64,iVBORw0KGgoA");
    while (buf_len(b) < 5 * 1024 * 1024)
        buf_lit(b, "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0");
    buf_lit(b, "\"}}]}]}");
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void measure(const char *name, const struct models *m, struct str body, double budget_us)
{
    static struct json doc;
    static uint64_t runs[RUNS];
    json_init(&doc);
    size_t copied = 0;
    for (int i = 0; i < RUNS; i++) {
        struct arena keep, scratch;
        struct rope out;
        struct decoded d = {0};
        struct request_error e;
        const struct decode_options options = {.models = m};
        arena_init(&keep);
        arena_init(&scratch);
        rope_init(&out, 64 * 1024 * 1024);
        uint64_t before = cpu_ns();
        bool ok = dialect_chat.decode(&options, &doc, body, &keep, &scratch, &d, &e);
        ASSERT(ok);
        messages_write(d.request, &out);
        runs[i] = cpu_ns() - before;
        copied = buf_len(&out.text);
        rope_done(&out);
        arena_done(&scratch);
        arena_done(&keep);
    }
    json_done(&doc);
    qsort(runs, RUNS, sizeof(*runs), by_value);
    printf("%s, %zu bytes in, %zu bytes generated\t%.0f\t%.0f\n", name, body.n, copied,
           (double)runs[RUNS / 2] / 1000, budget_us);
}

int main(void)
{
    struct str error;
    struct models *m = models_new(STR_NONE, STR_NONE, &error);
    struct buf agent, image;
    buf_init(&agent, 16 * 1024 * 1024);
    buf_init(&image, 16 * 1024 * 1024);
    agent_request(&agent);
    image_request(&image);
    measure("1 MB agent request", m, buf_str(&agent), 1500);
    measure("5 MB image request", m, buf_str(&image), 2000);
    buf_done(&agent);
    buf_done(&image);
    models_free(m);
    return 0;
}
