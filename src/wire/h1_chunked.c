/* h1_chunked.c - decoder of chunked bodies (RFC 9112 section 7.1).
 *
 *   size [;ext] CRLF data CRLF ... 0 [;ext] CRLF [name: value CRLF]... CRLF
 *
 * One byte at a time through an enum and a switch, except data, which is handed out in whole spans.
 * Extensions and trailer fields are checked like everything else and dropped. White space around an
 * extension (BWS) is refused: it is where parsers disagree. A decoder that said bad stays bad.
 */
#include "wire/h1_int.h"

enum { CHUNK_MAX = 0x7fffffff };

void h1_chunked_init(struct h1_chunked *c)
{
    memset(c, 0, sizeof(*c));
    c->state = CHUNK_SIZE;
}

static bool count_extension(struct h1_chunked *c)
{
    return ++c->extension <= H1_EXTENSION_MAX && ++c->extensions <= H1_EXTENSIONS_MAX;
}

/* Behind the size, or a complete extension: the line ends or the next extension begins. */
static bool end_part(struct h1_chunked *c, char b)
{
    c->part = 0;
    if (b == '\r') {
        c->state = CHUNK_SIZE_LF;
        return true;
    }
    c->state = CHUNK_EXT_NAME;
    return b == ';' && count_extension(c);
}

static bool read_size(struct h1_chunked *c, char b)
{
    int digit = hex_value(b);

    if (digit < 0)
        return c->digits > 0 && end_part(c, b);
    c->left = c->left * 16 + (unsigned)digit;
    return ++c->digits <= H1_CHUNK_DIGITS_MAX && c->left <= CHUNK_MAX;
}

/* chunk-ext-name and chunk-ext-val are tokens; a value may also be a quoted string. */
static bool read_extension_token(struct h1_chunked *c, char b)
{
    if (class_of(b) & CLASS_TOKEN) {
        c->part++;
        return count_extension(c);
    }
    if (b == '"' && c->state == CHUNK_EXT_VALUE && c->part == 0) {
        c->state = CHUNK_EXT_QUOTED;
        return count_extension(c);
    }
    if (c->part == 0)
        return false;
    if (b != '=' || c->state != CHUNK_EXT_NAME)
        return end_part(c, b);
    c->state = CHUNK_EXT_VALUE;
    c->part = 0;
    return count_extension(c);
}

static bool read_quoted(struct h1_chunked *c, char b)
{
    if (!(class_of(b) & CLASS_VALUE))
        return false;
    if (c->state == CHUNK_EXT_ESCAPE)
        c->state = CHUNK_EXT_QUOTED;
    else if (b == '\\')
        c->state = CHUNK_EXT_ESCAPE;
    else if (b == '"')
        c->state = CHUNK_EXT_END;
    return count_extension(c);
}

static bool end_size_line(struct h1_chunked *c, char b)
{
    c->state = c->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
    c->digits = c->extension = 0;
    return b == '\n';
}

/* Letters of a trailer's name, as h1_is_sensitive wants them; behind the cut it can match nothing.
 */
static bool add_name(struct h1_chunked *c, char b)
{
    if (b != '-' && b != '_' && c->name_n < sizeof(c->name))
        c->name[c->name_n++] = b;
    return class_of(b) & CLASS_TOKEN;
}

static bool start_trailer_line(struct h1_chunked *c, char b)
{
    if (b == '\r') {
        c->state = CHUNK_END_LF;
        return true;
    }
    c->state = CHUNK_TRAILER_NAME;
    c->name_n = 0;
    return ++c->trailer_lines <= H1_TRAILER_LINES_MAX && add_name(c, b);
}

/* RFC 9110 section 6.5.1: framing, routing and credentials may not come in a trailer. */
static bool read_trailer_name(struct h1_chunked *c, char b)
{
    if (b != ':')
        return add_name(c, b);
    c->state = CHUNK_TRAILER_VALUE;
    return !h1_is_sensitive(str_of(c->name, c->name_n));
}

static bool read_trailer(struct h1_chunked *c, char b)
{
    if ((c->state != CHUNK_TRAILER || b != '\r') && ++c->trailer > H1_TRAILER_MAX)
        return false;
    if (c->state == CHUNK_TRAILER)
        return start_trailer_line(c, b);
    if (c->state == CHUNK_TRAILER_NAME)
        return read_trailer_name(c, b);
    if (c->state == CHUNK_TRAILER_LF) {
        c->state = CHUNK_TRAILER;
        return b == '\n';
    }
    if (b == '\r')
        c->state = CHUNK_TRAILER_LF;
    return b == '\r' || class_of(b) & CLASS_VALUE;
}

static bool step(struct h1_chunked *c, char b)
{
    switch (c->state) {
    case CHUNK_SIZE: return read_size(c, b);
    case CHUNK_EXT_NAME:
    case CHUNK_EXT_VALUE: return read_extension_token(c, b);
    case CHUNK_EXT_QUOTED:
    case CHUNK_EXT_ESCAPE: return read_quoted(c, b);
    case CHUNK_EXT_END: return end_part(c, b);
    case CHUNK_SIZE_LF: return end_size_line(c, b);
    case CHUNK_DATA_CR: c->state = CHUNK_DATA_LF; return b == '\r';
    case CHUNK_DATA_LF: c->state = CHUNK_SIZE; return b == '\n';
    case CHUNK_TRAILER:
    case CHUNK_TRAILER_NAME:
    case CHUNK_TRAILER_VALUE:
    case CHUNK_TRAILER_LF: return read_trailer(c, b);
    case CHUNK_END_LF: c->state = CHUNK_END; return b == '\n';
    case CHUNK_DATA:
    case CHUNK_END:
    case CHUNK_BAD: break;
    }
    UNREACHABLE();
}

static struct str take_data(struct h1_chunked *c, struct str in)
{
    struct str data = str_head(in, in.n < c->left ? in.n : (size_t)c->left);

    c->left -= data.n;
    c->total += data.n;
    if (c->left == 0)
        c->state = CHUNK_DATA_CR;
    return data;
}

enum h1_result h1_chunked_next(struct h1_chunked *c, struct str in, size_t *ret_used,
                               struct str *ret_data)
{
    size_t i = 0;

    *ret_data = STR_NONE;
    while (i < in.n && c->state != CHUNK_END && c->state != CHUNK_BAD) {
        if (c->state == CHUNK_DATA) {
            *ret_data = take_data(c, str_skip(in, i));
            i += ret_data->n;
            break;
        }
        if (!step(c, in.p[i++]))
            c->state = CHUNK_BAD;
    }
    *ret_used = i;
    if (c->state == CHUNK_BAD)
        return H1_BAD;
    return c->state == CHUNK_END ? H1_DONE : H1_MORE;
}
