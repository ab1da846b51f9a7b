/* chat_stop.c - stop sequences that are all white space: upstream refuses them, so the text of the
 * answer is looked through for them on its way out.
 *
 *   "one\ntw" --> "one" may go, the stop "\n" is met, the rest of the answer is swallowed
 *   "one\n"   --> with the stop "\n\n": "one" may go, "\n" waits for what comes behind it
 *
 * The text is the inside of a JSON string and goes out as it came; only for the comparison is it
 * unescaped, a character at a time. What ends first wins, however the text was cut into deltas.
 * Upstream goes on to the end of its answer, which is what the usage counts.
 */
#include "llm/chat_answer.h"

enum { STOP_BYTES_MAX = 64, STOPS_MAX = 16 };

void chat_add_stop(struct chat *c, struct jval stop)
{
    struct str text = json_str(stop, c->scratch);
    size_t n = 0;
    struct chat_stop **end = &c->reply->stops;
    for (; *end; end = &(*end)->next)
        n++;
    if (text.n == 0)
        return;
    if (text.n > STOP_BYTES_MAX || n == STOPS_MAX) {
        chat_drop(c, STR("stop"));
        return;
    }
    *end = ARENA_NEW(c->keep, struct chat_stop);
    (*end)->text = arena_dup(c->keep, text);
}

/* Bytes of the first character of an inside, or of a part of it when it is not ASCII. */
static size_t unit_at(struct str s)
{
    if (s.p[0] != '\\')
        return 1;
    if (s.p[1] != 'u')
        return 2;
    bool is_pair = (s.p[2] | 0x20) == 'd' && memchr("89abAB", s.p[3], 6);
    return is_pair ? 12 : 6;
}

enum match { MATCH_NOT, MATCH_SO_FAR, MATCH_WHOLE };

/* Whether an inside begins with a stop sequence, in *ret_n bytes; or is the beginning of one. */
static enum match match_at(struct str stop, struct str inside, size_t *ret_n)
{
    struct str rest = inside;
    while (stop.n > 0) {
        char plain[12];
        if (rest.n == 0)
            return MATCH_SO_FAR;
        struct str unit = str_head(rest, unit_at(rest));
        size_t n = json_unescape(unit, plain);
        if (!str_starts(stop, str_of(plain, n)))
            return MATCH_NOT;
        stop = str_skip(stop, n);
        rest = str_skip(rest, unit.n);
    }
    *ret_n = inside.n - rest.n;
    return MATCH_WHOLE;
}

size_t chat_stop_find(struct stop_watch *w)
{
    struct str text = buf_str(&w->text);
    size_t first = 0, end = SIZE_MAX, wait = text.n;
    for (size_t i = 0; i < text.n && i < end; i += unit_at(str_skip(text, i))) {
        for (const struct chat_stop *s = w->stops; s; s = s->next) {
            size_t n = 0;
            enum match m = match_at(s->text, str_skip(text, i), &n);
            if (m == MATCH_SO_FAR && i < wait)
                wait = i;
            if (m == MATCH_WHOLE && i + n < end) {
                first = i;
                end = i + n;
            }
        }
    }
    w->met = end != SIZE_MAX;
    return w->met ? first : wait;
}
