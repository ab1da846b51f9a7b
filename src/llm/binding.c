/* binding.c - see binding.h. Every piece is preceded by its length, every list by a mark, so that
 * no two different conversations give the same bytes.
 */
#include "llm/binding.h"

struct fingerprint binding_hash(const struct binding *b)
{
    struct fingerprint f = b->hash;
    if (b->n > 0)
        fingerprint_chain(b->key, &f, str_of(b->held, b->n));
    return f;
}

static void flush(struct binding *b)
{
    b->hash = binding_hash(b);
    b->n = 0;
}

static void take_bytes(struct binding *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    ASSERT(p);
    if (b->n + n > BINDING_HELD)
        flush(b);
    if (n > BINDING_HELD) {
        fingerprint_chain(b->key, &b->hash, str_of(p, n));
        return;
    }
    memcpy(b->held + b->n, p, n);
    b->n += n;
}

static void take_mark(struct binding *b, char mark)
{
    take_bytes(b, &mark, 1);
}

static void take(struct binding *b, struct str s)
{
    uint64_t n = s.p ? s.n + 1 : 0; /* absent is not empty */
    take_bytes(b, &n, sizeof(n));
    take_bytes(b, s.p, s.n);
}

static void take_blocks(struct binding *b, const struct block *first)
{
    take_mark(b, '[');
    for (const struct block *k = first; k; k = k->next) {
        take_mark(b, (char)('a' + (int)k->type));
        take_mark(b, k->is_error ? '!' : (char)('0' + (int)k->source));
        const struct str parts[] = {k->text,  k->id,        k->name,  k->input,
                                    k->value, k->signature, k->title, k->media_type};
        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            if (parts[i].p) {
                take_mark(b, (char)('0' + (int)i));
                take(b, parts[i]);
            }
        if (k->content)
            take_blocks(b, k->content);
    }
    take_mark(b, ']');
}

void binding_begin(struct binding *b, const uint8_t *key, const struct messages_request *m)
{
    *b = (struct binding){.key = key};
    for (const struct tool *t = m->tools; t; t = t->next) {
        const struct str parts[] = {t->name, t->description, t->schema, t->value, t->extras};
        take_mark(b, t->strict ? 'T' : 't');
        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            take(b, parts[i]);
    }
    take_blocks(b, m->system.first);
}

void binding_turn(struct binding *b, const struct turn *t)
{
    take_mark(b, (char)('A' + (int)t->role));
    take_blocks(b, t->blocks.first);
}
