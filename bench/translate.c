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

/* A PNG of 1024 x 768, as far as its head says. */
static void image_request(struct buf *b)
{
    buf_lit(
        b, "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
           "\"text\":\"What is this?\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\""
           "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAABAAAAAMACAYAAAAA");
    while (buf_len(b) < 5 * 1024 * 1024)
        buf_lit(b, "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0");
    buf_lit(b, "\"}}]}]}");
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static struct turn *calling_turn(struct messages_request *m, int n)
{
    struct turn *t = m->turns;
    while (t && (t->role != ROLE_ASSISTANT || n-- > 0))
        t = t->next;
    return t;
}

/* Gives each call of the agent's conversation thinking in the stash, as if its answers had come this
 * way one by one. */
static void fill_stash(const struct recall *r, const struct models *m, struct str body)
{
    static struct json doc;
    const struct decode_options options = {.models = m, .recall = r};
    bool more = true;
    json_init(&doc);
    for (int i = 0; more; i++) {
        struct arena keep, scratch;
        struct decoded d = {0};
        struct request_error e;
        struct content content;
        static struct binding before;
        arena_init(&keep);
        arena_init(&scratch);
        content_init(&content, 65536);
        bool ok = dialect_chat.decode(&options, &doc, body, &keep, &scratch, &d, &e);
        ASSERT(ok);
        struct turn *said = calling_turn(d.request, i);
        more = said != NULL;
        binding_begin(&before, stash_secret(r->stash), d.request);
        for (struct turn *t = d.request->turns; more && t != said; t = t->next)
            binding_turn(&before, t);
        if (more) {
            const struct block *call = said->blocks.last;
            struct fingerprint hash = binding_hash(&before);
            buf_append(&content.call, call->id);
            buf_lit(&content.json, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"");
            for (int k = 0; k < 400; k++)
                buf_lit(&content.json, "EqQB");
            buf_printf(
                &content.json,
                "\"},{\"type\":\"tool_use\",\"id\":\"%.*s\",\"name\":\"%.*s\",\"input\":%.*s}",
                STR_FMT(call->id), STR_FMT(call->name), STR_FMT(call->input));
            content.has_thinking = true;
            recall_keep(r, d.model, &hash, &content);
        }
        content_done(&content);
        arena_done(&scratch);
        arena_done(&keep);
    }
    json_done(&doc);
}

static void measure(const char *name, const struct models *m, const struct recall *r,
                    struct str body, double budget_us)
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
        const struct decode_options options = {.models = m, .recall = r};
        arena_init(&keep);
        arena_init(&scratch);
        rope_init(&out, 64 * 1024 * 1024);
        uint64_t before = cpu_ns();
        bool ok = dialect_chat.decode(&options, &doc, body, &keep, &scratch, &d, &e);
        ASSERT(ok);
        if (recall_expects(d.request))
            (void)recall_binding(r, d.request, &scratch);
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
    char error[MODELS_ERROR];
    struct models *m = models_new(&(struct models_options){0}, error);
    struct buf agent, image;
    buf_init(&agent, 16 * 1024 * 1024);
    buf_init(&image, 16 * 1024 * 1024);
    agent_request(&agent);
    image_request(&image);
    const struct recall recall = {.stash = stash_new(32 * 1024 * 1024), .owner = STR("bench")};
    measure("1 MB agent request", m, &recall, buf_str(&agent), 1500);
    measure("5 MB image request", m, &recall, buf_str(&image), 2000);
    fill_stash(&recall, m, buf_str(&agent));
    measure("1 MB agent request, thinking of 100 turns recalled", m, &recall, buf_str(&agent),
            1500);
    stash_free(recall.stash);
    buf_done(&agent);
    buf_done(&image);
    models_free(m);
    return 0;
}
