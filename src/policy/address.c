/* address.c - see address.h. */
#include "policy/address.h"

#include <arpa/inet.h>

#include "base/text.h"

enum { V4_AT = 12, V4_BITS = 96, HOPS_MAX = 32, NEIGHBOURHOOD = 8 };

static const uint8_t v4_prefix[V4_AT] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_v4(const struct address *a)
{
    return memcmp(a->bytes, v4_prefix, sizeof(v4_prefix)) == 0;
}

/* A literal, without a port. */
static bool parse_literal(struct str s, struct address *ret)
{
    char text[ADDRESS_TEXT];
    *ret = (struct address){.known = true};
    if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (inet_pton(AF_INET6, text, ret->bytes) == 1)
        return true;
    memcpy(ret->bytes, v4_prefix, sizeof(v4_prefix));
    return inet_pton(AF_INET, text, ret->bytes + V4_AT) == 1;
}

/* Nothing, or ":" and a number. */
static bool is_port(struct str s)
{
    uint64_t port;
    return s.n == 0 || (s.p[0] == ':' && str_to_u64(str_skip(s, 1), &port) && port <= UINT16_MAX);
}

bool address_parse(struct str s, struct address *ret)
{
    size_t colon = str_find(s, ':');
    bool bracketed = s.n > 0 && s.p[0] == '[';
    bool several = colon < s.n && str_find(str_skip(s, colon + 1), ':') < s.n - colon - 1;
    struct str literal = s, port = STR("");
    if (bracketed) {
        size_t end = str_find(s, ']');
        if (end == s.n)
            return false;
        literal = str_head(str_skip(s, 1), end - 1);
        port = str_skip(s, end + 1);
    } else if (!several) {
        literal = str_head(s, colon);
        port = str_skip(s, colon);
    }
    bool is_v6 = str_find(literal, ':') < literal.n;
    return is_port(port) && (is_v6 || !bracketed) && parse_literal(literal, ret);
}

struct address address_v4(const struct in_addr *in)
{
    struct address a = {.known = true};
    memcpy(a.bytes, v4_prefix, sizeof(v4_prefix));
    memcpy(a.bytes + V4_AT, in, sizeof(*in));
    return a;
}

struct address address_v6(const struct in6_addr *in)
{
    struct address a = {.known = true};
    memcpy(a.bytes, in, sizeof(*in));
    return a;
}

/* It stands in every log line, so it is not left to printf. */
static struct str v4_text(const struct address *a, char out[ADDRESS_TEXT])
{
    size_t n = 0;
    for (size_t i = V4_AT; i < ADDRESS_BYTES; i++) {
        if (n > 0)
            out[n++] = '.';
        n += text_u64(a->bytes[i], out + n);
    }
    return str_of(out, n);
}

struct str address_text(const struct address *a, char out[ADDRESS_TEXT])
{
    if (!a->known)
        return STR("unix");
    if (is_v4(a))
        return v4_text(a, out);
    const char *text = inet_ntop(AF_INET6, a->bytes, out, ADDRESS_TEXT);
    ASSERT(text);
    return str_c(text);
}

/* --- blocks --- */

static bool parse_block(struct str s, struct address_block *ret)
{
    size_t slash = str_find(s, '/');
    uint64_t bits;
    if (!parse_literal(str_head(s, slash), &ret->address))
        return false;
    unsigned before = is_v4(&ret->address) && str_find(s, ':') == s.n ? V4_BITS : 0;
    ret->bits = 128;
    if (slash == s.n)
        return true;
    if (!str_to_u64(str_skip(s, slash + 1), &bits) || bits > 128 - before)
        return false;
    ret->bits = (unsigned)bits + before;
    return true;
}

bool address_blocks_parse(struct str list, struct arena *a, struct address_blocks *ret,
                          struct str *ret_bad)
{
    struct str rest = list.n ? list : STR_NONE, part;
    size_t most = 1;
    for (size_t i = 0; i < list.n; i++)
        most += list.p[i] == ',';
    *ret = (struct address_blocks){.list = arena_alloc(a, most * sizeof(*ret->list))};
    while (str_split(&rest, ',', &part)) {
        *ret_bad = part = str_trim(part);
        if (str_eq(part, STR("unix")))
            ret->unix_sockets = true;
        else if (!parse_block(part, &ret->list[ret->n++]))
            return false;
    }
    return true;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

bool address_is_in(const struct address_blocks *b, const struct address *a)
{
    if (!a->known)
        return b->unix_sockets;
    for (size_t i = 0; i < b->n; i++)
        if (same_bits(b->list[i].address.bytes, a->bytes, b->list[i].bits))
            return true;
    return false;
}

/* --- clients --- */

/* Takes the last entry of a list. */
static struct str last_of(struct str *list)
{
    size_t at = list->n;
    while (at > 0 && list->p[at - 1] != ',')
        at--;
    struct str last = str_skip(*list, at);
    *list = str_head(*list, at > 0 ? at - 1 : 0);
    return str_trim(last);
}

struct address address_of_client(const struct address_blocks *trusted, const struct address *peer,
                                 struct str forwarded)
{
    struct address client = *peer, next;
    for (unsigned hops = 0; hops < HOPS_MAX && forwarded.n > 0; hops++) {
        if (!address_is_in(trusted, &client) || !address_parse(last_of(&forwarded), &next))
            break;
        client = next;
    }
    return client;
}

struct address address_neighbourhood(const struct address *a)
{
    struct address n = *a;
    if (!is_v4(a))
        memset(n.bytes + NEIGHBOURHOOD, 0, ADDRESS_BYTES - NEIGHBOURHOOD);
    return n;
}
