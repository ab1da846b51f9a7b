/* test_append.c - translation only appends, for conversations with everything that chat_gen makes.
 *
 *   messages  u  a  t  t  s | a  u | a ...      a request is cut before each assistant message
 *   sent      user asst user | asst user | ...  and each must be the beginning of the next
 *
 * What is promised: when a request ends where the model is to answer, its tools, its system and all
 * its messages stand byte for byte at the beginning of every request that continues it with an
 * assistant message that says something. Not promised, since it cannot be: a request that ends with an
 * assistant message (what is put behind that, "Continue.", goes again), one of system messages only,
 * the four cache marks, and declarations made up for a client that sends none.
 *
 * usage: test_append [FIRST COUNT]. Prints the seed and both bodies of a failure. The last line is
 * "append: N passed, N failed", by conversation.
 */
#include "chat_gen.h"

#include "base/mem.h"
#include "llm/dialect.h"

enum { MESSAGES = 24, BODY_MAX = 16 * 1024 * 1024, FAILED_MAX = 5 };

#define TOOLS                                                                                      \
    ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\"}},{\"type\":"       \
    "\"custom\",\"custom\":{\"name\":\"apply_patch\"}}]"

struct sent { /* a request as it went upstream */
    struct arena keep, scratch;
    struct json in, doc;
    struct str body;
    bool ok;
};

static struct sent *send_request(const struct models *models, struct str request)
{
    struct sent *s = mem_zalloc(sizeof(*s));
    const struct decode_options options = {.models = models};
    struct request_error error;
    struct decoded d;
    struct rope rope;
    rope_init(&rope, BODY_MAX);
    s->ok = dialect_chat.decode(&options, &s->in, request, &s->keep, &s->scratch, &d, &error);
    if (s->ok) {
        messages_write(d.request, &rope);
        s->body = arena_dup(&s->scratch, rope_flatten(&rope, &s->scratch));
        ASSERT(json_parse(&s->doc, s->body) == JSON_OK);
    }
    rope_done(&rope);
    return s;
}

static void sent_free(struct sent *s)
{
    json_done(&s->in);
    json_done(&s->doc);
    arena_done(&s->keep);
    arena_done(&s->scratch);
    mem_free(s);
}

static bool is_beginning(const struct sent *a, const struct sent *b)
{
    static const struct str same[] = {STR_INIT("tools"), STR_INIT("system")};
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        if (!str_eq(json_raw(json_get(json_root(&a->doc), same[i])),
                    json_raw(json_get(json_root(&b->doc), same[i]))))
            return false;
    struct jval ours = json_get(json_root(&a->doc), STR("messages"));
    struct jval theirs = json_get(json_root(&b->doc), STR("messages"));
    struct jval m = json_first(theirs);
    json_each (o, ours) {
        if (!json_present(m) || !str_eq(json_raw(o), json_raw(m)))
            return false;
        m = json_next(theirs, m);
    }
    return true;
}

/* Whether the message is an assistant's that says something. */
static bool answers(struct jval message)
{
    struct jval content = json_get(message, STR("content"));
    struct str text = json_str_raw(content);
    bool says = json_is(content, JSON_STRING) && text.n > 0 && text.p[0] > ' ' && text.p[0] != '\\';
    return json_str_is(json_get(message, STR("role")), STR("assistant")) &&
           (says || !json_empty(json_get(message, STR("tool_calls"))));
}

/* Whether the message is the user's side: behind it the model is to answer. */
static bool asks(struct jval message)
{
    struct jval role = json_get(message, STR("role"));
    return json_str_is(role, STR("user")) || json_str_is(role, STR("tool")) ||
           json_str_is(role, STR("function"));
}

struct growing {
    uint64_t seed;
    const struct models *models;
    const char *model;
    struct sent *before; /* the last request at a cut, or NULL */
    struct buf body;
};

static void put_request(struct growing *g, struct str messages)
{
    buf_clear(&g->body);
    ASSERT(buf_printf(&g->body, "{\"model\":\"%s\"" TOOLS ",\"messages\":[", g->model));
    ASSERT(buf_append(&g->body, messages) && buf_lit(&g->body, "]}"));
}

/* A cut: what stands in `messages` is sent, and must continue what was sent before. */
static bool cut(struct growing *g, struct str messages)
{
    put_request(g, messages);
    struct sent *now = send_request(g->models, buf_str(&g->body));
    bool good = !now->ok || !g->before || is_beginning(g->before, now);
    if (!good)
        (void)printf("seed %llu: not append-only\n  in     %.*s\n  before %.*s\n  now    %.*s\n",
                     (unsigned long long)g->seed, STR_FMT(buf_str(&g->body)),
                     STR_FMT(g->before->body), STR_FMT(now->body));
    if (!now->ok) {
        sent_free(now);
        return good;
    }
    if (g->before)
        sent_free(g->before);
    g->before = now;
    return good;
}

static uint64_t cuts;

/* Adds one message; cuts in front of it when the model answers there. */
static bool grow(struct growing *g, struct gen *gen, struct json *doc, bool *asked)
{
    struct buf *all = &gen->out;
    size_t old = buf_len(all);
    if (old > 0)
        ASSERT(buf_lit(all, ","));
    size_t start = buf_len(all);
    chat_gen_message(gen);
    ASSERT(json_parse(doc, str_skip(buf_str(all), start)) == JSON_OK);
    bool cuts_here = *asked && answers(json_root(doc));
    struct str role = json_str_raw(json_get(json_root(doc), STR("role")));
    if (!str_eq(role, STR("system")) && !str_eq(role, STR("developer")))
        *asked = asks(json_root(doc));
    cuts += cuts_here;
    return !cuts_here || cut(g, str_head(buf_str(all), old));
}

static bool check(const struct models *models, uint64_t seed)
{
    struct gen gen;
    struct json doc;
    struct growing g = {.seed = seed, .models = models};
    bool good = true, asked = false;
    gen_init_seed(&gen, seed);
    gen.odd = 48;
    gen.unmarked = true;
    g.model = chat_gen_models[gen_below(&gen, chat_gen_n_models)];
    json_init(&doc);
    buf_init(&g.body, BODY_MAX);
    for (int i = 0; good && i < MESSAGES; i++)
        good = grow(&g, &gen, &doc, &asked);
    if (good && g.before) /* the whole continues the last cut, however it ends */
        good = cut(&g, buf_str(&gen.out));
    if (g.before)
        sent_free(g.before);
    buf_done(&g.body);
    json_done(&doc);
    gen_done(&gen);
    return good;
}

int main(int argc, char **argv)
{
    static const struct models_options none;
    char error[MODELS_ERROR];
    uint64_t first = 1, count = 5000, failed = 0;
    if (argc == 3 && (!str_to_u64(str_c(argv[1]), &first) || !str_to_u64(str_c(argv[2]), &count)))
        return 2;
    struct models *models = models_new(&none, error);
    for (uint64_t seed = first; seed < first + count && failed < FAILED_MAX; seed++)
        failed += !check(models, seed);
    models_free(models);
    ASSERT(mem_live() == 0);
    (void)printf("%llu cuts\n", (unsigned long long)cuts);
    (void)printf("append: %llu passed, %llu failed\n", (unsigned long long)(count - failed),
                 (unsigned long long)failed);
    return failed > 0;
}
