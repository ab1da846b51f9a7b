/* tokens.c - see tokens.h. The tokenizers are not public; these are rules of thumb, which whoever uses
 * them corrects by what answers report.
 *
 *   text       3.8 letters a token, 2.5 digits and signs, 3.2 bytes of other scripts, in the proportion of a
 *              sample; fitted to tests/data/tokens.json. Newer tokenizers make 30 % more of the same text
 *   picture    width * height / 750, where its size is known, and at most PICTURE_MAX
 *   document   its base64, of which most is fonts and pictures
 */
#include "llm/tokens.h"

#include "llm/picture.h"

enum {
    SAMPLE_BLOCKS = 128,
    SAMPLE_BYTES = 256, /* of each of them */
    LETTERS = 38,       /* and spaces, in ten tokens */
    SIGNS = 25,
    BEYOND = 32, /* bytes that are not ASCII */
    PICTURE_MAX = 1600,
    PICTURE_AREA = 750,
    PDF_BYTES = 40, /* of base64 */
    FINE_PERCENT = 130,
};

struct look {
    size_t n, sampled, letters, beyond; /* blocks of text; their bytes; of which kinds */
    size_t media;                       /* bytes of base64 */
    uint64_t tokens;                    /* of pictures and documents */
};

static uint64_t picture_tokens(struct str base64)
{
    struct picture p;
    uint64_t area = picture_read(base64, &p) ? (uint64_t)p.width * p.height : 0;
    return area > 0 && area < (uint64_t)PICTURE_MAX * PICTURE_AREA ? area / PICTURE_AREA + 1
                                                                   : PICTURE_MAX;
}

static void sample(struct look *k, struct str text)
{
    if (text.n == 0 || k->n++ >= SAMPLE_BLOCKS)
        return;
    text = str_head(text, size_min(text.n, SAMPLE_BYTES));
    for (size_t i = 0; i < text.n; i++) {
        unsigned char ch = (unsigned char)text.p[i];
        k->beyond += ch >> 7;
        k->letters += ch == ' ' || (unsigned)((ch | 0x20) - 'a') < 26;
    }
    k->sampled += text.n;
}

static void look_at(struct look *k, const struct block *b)
{
    for (; b; b = b->next) {
        bool inlined = b->source == SOURCE_BASE64;
        bool picture = b->type == BLOCK_IMAGE, document = b->type == BLOCK_DOCUMENT;
        if ((picture || document) && inlined)
            k->media += b->text.n;
        if (picture)
            k->tokens += inlined ? picture_tokens(b->text) : PICTURE_MAX;
        else if (document && inlined)
            k->tokens += b->text.n / PDF_BYTES;
        else if (document && b->source == SOURCE_URL)
            k->tokens += PICTURE_MAX;
        else
            sample(k, b->text);
        look_at(k, b->content);
    }
}

/* Of n bytes, as many as part of whole. */
static size_t share(size_t n, size_t part, size_t whole)
{
    return whole > 0 ? (size_t)((__uint128_t)n * part / whole) : 0;
}

uint64_t tokens_of_prompt(const struct messages_request *m, size_t bytes)
{
    struct look k = {.n = 0};
    look_at(&k, m->system.first);
    for (const struct turn *t = m->turns; t; t = t->next)
        look_at(&k, t->blocks.first);
    size_t text = bytes > k.media ? bytes - k.media : 0;
    size_t letters = share(text, k.letters, k.sampled), beyond = share(text, k.beyond, k.sampled);
    uint64_t tokens =
        letters * 10 / LETTERS + beyond * 10 / BEYOND + (text - letters - beyond) * 10 / SIGNS;
    if (m->model->can & FINE_TOKENS)
        tokens = tokens * FINE_PERCENT / 100;
    return tokens + k.tokens;
}
