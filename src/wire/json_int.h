/* json_int.h - what the JSON parser and its readers share. */
#ifndef CCPROXY_WIRE_JSON_INT_H
#define CCPROXY_WIRE_JSON_INT_H

#include "wire/json.h"

/* RFC 8259 section 7: what may stand behind a backslash, and what it means; \u is read apart. */
static const char json_escapes[256] = {
    ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
    ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
};

static inline bool json_hex4(const char *p, const char *end, uint32_t *ret)
{
    uint32_t v = 0;
    if (end - p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = p[i], letter = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint32_t)(c - '0');
        else if (letter >= 'a' && letter <= 'f')
            v = v << 4 | (uint32_t)(letter - 'a' + 10);
        else
            return false;
    }
    *ret = v;
    return true;
}

static inline bool json_is_high(uint32_t u)
{
    return u >= 0xd800 && u <= 0xdbff;
}

static inline bool json_is_low(uint32_t u)
{
    return u >= 0xdc00 && u <= 0xdfff;
}

static inline struct str json_node_text(const struct json *doc, uint32_t i)
{
    return str_of(doc->text.p + doc->nodes[i].at, doc->nodes[i].len);
}

static inline uint32_t json_next_key(const struct json *doc, uint32_t key)
{
    return doc->nodes[key + 1].next;
}

#endif
