/* proxy_header.c - see proxy_header.h. Strict: proxies write these, no people. */
#include "wire/proxy_header.h"

#include <arpa/inet.h>

enum {
    HEAD = 16, /* of version 2: signature, version and command, family, length */
    AT_COMMAND = 12,
    AT_FAMILY = 13,
    AT_LENGTH = 14,
    COMMAND_LOCAL = 0,
    COMMAND_PROXY = 1,
    TRANSPORT_DATAGRAM = 2,
    TLV_HEAD = 3,
    TLV_CRC32C = 3,
    CRC_SIZE = 4,
};

static const struct str v1_mark = STR_INIT("PROXY ");
static const struct str v2_mark = STR_INIT("\r\n\r\n\0\r\nQUIT\n");

static enum proxy_header_result bad(struct proxy_header *ret, const char *fault)
{
    ret->fault = fault;
    return PROXY_HEADER_BAD;
}

/* --- version 1 --- */

static bool read_ip(struct str s, int family, uint8_t *ret)
{
    char text[INET6_ADDRSTRLEN];
    if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(family, text, ret) == 1;
}

/* "heading zeroes are not permitted in order to avoid any possible confusion with octal numbers" */
static bool read_port(struct str s, uint16_t *ret)
{
    uint64_t port;
    if (!str_to_u64(s, &port) || port > UINT16_MAX || (s.n > 1 && s.p[0] == '0'))
        return false;
    *ret = (uint16_t)port;
    return true;
}

/* "192.0.2.1 198.51.100.7 56324 443": the client's address is the first, its port the third. */
static bool read_line(struct str rest, int family, struct proxy_header *ret)
{
    uint8_t own_address[sizeof(ret->address)];
    uint16_t own_port;
    struct str from, to, from_port, to_port;
    return str_split(&rest, ' ', &from) && str_split(&rest, ' ', &to) &&
           str_split(&rest, ' ', &from_port) && str_split(&rest, ' ', &to_port) && !rest.p &&
           read_ip(from, family, ret->address) && read_ip(to, family, own_address) &&
           read_port(from_port, &ret->port) && read_port(to_port, &own_port);
}

static enum proxy_header_result read_v1(struct str bytes, struct proxy_header *ret)
{
    struct str line = str_head(bytes, size_min(bytes.n, PROXY_V1_MAX)), family;
    size_t end = str_find_str(line, STR("\r\n"));
    if (end == line.n && line.n < PROXY_V1_MAX)
        return PROXY_HEADER_MORE;
    if (end == line.n)
        return bad(ret, "a line is longer than 107 bytes");
    ret->size = end + 2;
    struct str rest = str_skip(str_head(line, end), v1_mark.n);
    (void)str_split(&rest, ' ', &family);
    if (str_eq(family, STR("UNKNOWN"))) /* "anything presented before the CRLF" is ignored */
        return PROXY_HEADER_DONE;
    bool is_v4 = str_eq(family, STR("TCP4"));
    if (!is_v4 && !str_eq(family, STR("TCP6")))
        return bad(ret, "a family is not TCP4, TCP6 or UNKNOWN");
    if (!read_line(rest, is_v4 ? AF_INET : AF_INET6, ret))
        return bad(ret, "addresses or ports are wrong");
    ret->source = is_v4 ? PROXY_SOURCE_IP4 : PROXY_SOURCE_IP6;
    return PROXY_HEADER_DONE;
}

/* --- version 2 --- */

static uint8_t byte_at(struct str s, size_t at)
{
    return (uint8_t)s.p[at];
}

static size_t u16_at(struct str s, size_t at)
{
    return (size_t)byte_at(s, at) << 8 | byte_at(s, at + 1);
}

/* CRC-32C (RFC 4960 appendix B) of s, with zeros in the place of the CRC itself. */
static uint32_t crc32c(struct str s, size_t crc_at)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < s.n; i++) {
        crc ^= i - crc_at < CRC_SIZE ? 0 : byte_at(s, i);
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

/* Types, lengths and values to the end. Only the checksum is looked at: the others tell nothing that
 * is not asked of the client itself. */
static const char *tlv_fault(struct str header, size_t at)
{
    bool has_crc = false;
    while (at < header.n) {
        size_t left = header.n - at, length = left < TLV_HEAD ? 0 : u16_at(header, at + 1);
        if (left < TLV_HEAD || length > left - TLV_HEAD)
            return "a TLV goes over the end";
        size_t value = at + TLV_HEAD;
        if (byte_at(header, at) == TLV_CRC32C) {
            if (length != CRC_SIZE || has_crc)
                return "a checksum is not one of four bytes";
            uint32_t said = (uint32_t)(u16_at(header, value) << 16 | u16_at(header, value + 2));
            if (said != crc32c(header, value))
                return "the checksum does not fit";
            has_crc = true;
        }
        at = value + length;
    }
    return NULL;
}

static enum proxy_header_result read_addresses(struct str header, struct proxy_header *ret)
{
    static const struct {
        enum proxy_source source;
        size_t size, all; /* of one address; of both, with their ports */
    } families[] = {{PROXY_SOURCE_NONE, 0, 0},
                    {PROXY_SOURCE_IP4, 4, 12},
                    {PROXY_SOURCE_IP6, 16, 36},
                    {PROXY_SOURCE_UNIX, 0, 216}};

    size_t family = byte_at(header, AT_FAMILY) >> 4;
    unsigned transport = byte_at(header, AT_FAMILY) & 15;
    if (family >= ARRAY_LEN(families) || transport > TRANSPORT_DATAGRAM)
        return bad(ret, "a family or transport is unknown");
    if (family == 0 || transport == 0) /* unspecified: how long its addresses are nobody knows */
        return PROXY_HEADER_DONE;
    if (header.n - HEAD < families[family].all)
        return bad(ret, "it is too short for its addresses");
    const char *fault = tlv_fault(header, HEAD + families[family].all);
    if (fault)
        return bad(ret, fault);
    size_t size = families[family].size;
    ret->source = families[family].source;
    memcpy(ret->address, header.p + HEAD, size);
    if (size)
        ret->port = (uint16_t)u16_at(header, HEAD + 2 * size);
    return PROXY_HEADER_DONE;
}

static enum proxy_header_result read_v2(struct str bytes, struct proxy_header *ret)
{
    unsigned version = bytes.n > AT_COMMAND ? byte_at(bytes, AT_COMMAND) >> 4 : 2;
    unsigned command = bytes.n > AT_COMMAND ? byte_at(bytes, AT_COMMAND) & 15 : COMMAND_LOCAL;
    if (version != 2)
        return bad(ret, "a version is not 2");
    if (command > COMMAND_PROXY)
        return bad(ret, "a command is not LOCAL or PROXY");
    if (bytes.n < HEAD)
        return PROXY_HEADER_MORE;
    ret->size = HEAD + u16_at(bytes, AT_LENGTH);
    if (ret->size > PROXY_V2_MAX)
        return bad(ret, "it is longer than 4096 bytes");
    if (bytes.n < ret->size)
        return PROXY_HEADER_MORE;
    if (command == COMMAND_LOCAL) /* "must discard the protocol block including the family" */
        return PROXY_HEADER_DONE;
    return read_addresses(str_head(bytes, ret->size), ret);
}

/* --- either --- */

enum proxy_header_result proxy_header_read(struct str bytes, struct proxy_header *ret)
{
    bool is_v1 = str_starts(bytes, v1_mark), is_v2 = str_starts(bytes, v2_mark);
    *ret = (struct proxy_header){.marked = is_v1 || is_v2};
    if (ret->marked)
        return is_v1 ? read_v1(bytes, ret) : read_v2(bytes, ret);
    bool begins = str_starts(v1_mark, bytes) || str_starts(v2_mark, bytes);
    return begins ? PROXY_HEADER_MORE : PROXY_HEADER_NONE;
}
