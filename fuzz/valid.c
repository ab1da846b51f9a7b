/* valid.c - the differential check of fuzz_chat_valid.c over seeds.
 *
 *   valid FIRST COUNT [CASE...]     seeds FIRST .. FIRST+COUNT-1
 *
 * A seed makes a request by chat_gen, and every other one mangles it; or, with golden cases, it takes
 * the request of one of them and mangles that. Prints the first case of each kind of disagreement with its seed, then how many seeds ended how.
 */
#include "fuzz_chat_valid.h"

#include "base/mem.h"
#include "sim/sim_validate.h"
#include "wire/json.h"

enum { KINDS_MAX = 64, KIND_LEN = 160, CASE_MAX = 16 * 1024 * 1024 };

struct kind { /* disagreements that differ in numbers only are one kind */
    char text[KIND_LEN];
    uint64_t n;
};

static struct kind kinds[KINDS_MAX];

static void normalise(struct str why, char out[KIND_LEN])
{
    size_t n = 0;
    for (size_t i = 0; i < why.n && n + 1 < KIND_LEN; i++) {
        bool digit = why.p[i] >= '0' && why.p[i] <= '9';
        if (!digit || n == 0 || out[n - 1] != '#')
            out[n++] = digit ? '#' : why.p[i];
    }
    out[n] = '\0';
}

/* True when it is the first of its kind. */
static bool count_kind(struct str why)
{
    char text[KIND_LEN];
    normalise(why, text);
    for (size_t i = 0; i < KINDS_MAX; i++) {
        if (kinds[i].n == 0)
            memcpy(kinds[i].text, text, KIND_LEN);
        if (strcmp(kinds[i].text, text) == 0)
            return kinds[i].n++ == 0;
    }
    return false;
}

static bool read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "r");
    char piece[4096];
    size_t n;
    while (f && (n = fread(piece, 1, sizeof(piece), f)) > 0)
        ASSERT(buf_append(out, str_of(piece, n)));
    return f && fclose(f) == 0;
}

/* The request of a golden case; false when it has none. */
static bool take_case(struct gen *g, const char *path)
{
    struct buf text;
    struct json doc;
    buf_init(&text, CASE_MAX);
    json_init(&doc);
    bool ok = read_file(path, &text) && json_parse(&doc, buf_str(&text)) == JSON_OK;
    struct jval request = ok ? json_get(json_root(&doc), STR("openai_request")) : JVAL_NONE;
    ok = json_is(request, JSON_OBJECT) && buf_append(&g->out, json_raw(request));
    json_done(&doc);
    buf_done(&text);
    return ok;
}

static enum valid_result run(const struct models *models, uint64_t seed, char **paths,
                             size_t n_paths)
{
    struct gen g;
    struct arena scratch;
    struct str body, why;
    gen_init_seed(&g, seed);
    g.odd = seed % 4 == 0 ? 96 : 24;
    g.native = seed % 8 == 0;
    bool own = n_paths > 0 && take_case(&g, paths[seed % n_paths]);
    if (!own)
        chat_gen_request(&g);
    if (own || seed % 2 == 1)
        chat_mangle(&g);
    arena_init(&scratch);
    enum valid_result result =
        valid_check(models, (unsigned)(seed / 2 % 8), buf_str(&g.out), &scratch, &body, &why);
    if (result == VALID_BROKEN && count_kind(why))
        (void)printf("seed %llu: %.*s\n  in  %.*s\n  out %.*s\n", (unsigned long long)seed,
                     STR_FMT(why), STR_FMT(buf_str(&g.out)), STR_FMT(body));
    arena_done(&scratch);
    gen_done(&g);
    return result;
}

int main(int argc, char **argv)
{
    uint64_t first = 0, count = 0, n[3] = {0};
    static const struct models_options none;
    char error[MODELS_ERROR];
    if (argc < 3 || !str_to_u64(str_c(argv[1]), &first) || !str_to_u64(str_c(argv[2]), &count)) {
        (void)fprintf(stderr, "usage: valid FIRST COUNT [CASE...]\n");
        return 2;
    }
    struct models *models = models_new(&none, error);
    for (uint64_t seed = first; seed < first + count; seed++)
        n[run(models, seed, argv + 3, (size_t)argc - 3)]++;
    for (size_t i = 0; i < KINDS_MAX && kinds[i].n > 0; i++)
        (void)printf("%8llu  %s\n", (unsigned long long)kinds[i].n, kinds[i].text);
    (void)printf("%llu requests: %llu taken, %llu refused by us\n", (unsigned long long)count,
                 (unsigned long long)n[VALID_TAKEN], (unsigned long long)n[VALID_REFUSED]);
    (void)printf("valid: %llu passed, %llu failed\n",
                 (unsigned long long)(n[VALID_TAKEN] + n[VALID_REFUSED]),
                 (unsigned long long)n[VALID_BROKEN]);
    models_free(models);
    sim_models_done();
    ASSERT(mem_live() == 0);
    return n[VALID_BROKEN] > 0;
}
