/* estimate.c - how far the guess of a prompt's tokens is off, before and after answers have corrected it.
 *
 * Prints per text of tests/data/tokens.json: kind, its tokens, the guess, the guess after twenty answers;
 * separated by tabs.
 */
#include "base/mem.h"
#include "llm/tokens.h"
#include "policy/limit.h"

enum { ANSWERS = 20, EXACT = 1024, TEXT_MAX = 1024 * 1024 };

static struct str read_file(const char *path, char *out)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        perror(path);
        exit(1);
    }
    struct str s = str_of(out, fread(out, 1, TEXT_MAX, f));
    (void)fclose(f);
    return s;
}

static uint64_t guess(struct arena *a, struct str text)
{
    static const struct model model = {.can = 0};
    struct messages_request m = {.model = &model};
    struct turn *t = messages_turn(a, &m, ROLE_USER);
    blocks_add(a, &t->blocks, BLOCK_TEXT)->text = text;
    return tokens_of_prompt(&m, text.n);
}

static void print_one(struct limits *l, struct arena *a, uint64_t key, struct jval v)
{
    int64_t tokens = 0;
    bool ok = json_i64(json_get(v, STR("tokens")), &tokens);
    ASSERT(ok && tokens > 0);
    uint64_t first = guess(a, json_str_raw(json_get(v, STR("text")))), right = (uint64_t)tokens;
    for (unsigned i = 0; i < ANSWERS; i++)
        limits_learn_mean(l, key, EXACT, right * EXACT / first);
    (void)printf("%.*s\t%llu\t%llu\t%llu\n", STR_FMT(json_str_raw(json_get(v, STR("kind")))),
                 (unsigned long long)right, (unsigned long long)first,
                 (unsigned long long)(first * limits_learnt(l, key, EXACT) / EXACT));
}

int main(int argc, char **argv)
{
    char *memory = mem_alloc(TEXT_MAX);
    struct limits *l = limits_new(1024);
    struct arena a;
    struct json doc;
    uint64_t key = 0;
    arena_init(&a);
    json_init(&doc);
    if (json_parse(&doc, read_file(argc > 1 ? argv[1] : "tests/data/tokens.json", memory)) !=
        JSON_OK)
        return 1;
    json_each (v, json_get(json_root(&doc), STR("texts")))
        print_one(l, &a, limit_key(0, (unsigned)++key), v);
    json_done(&doc);
    arena_done(&a);
    limits_free(l);
    mem_free(memory);
    return 0;
}
