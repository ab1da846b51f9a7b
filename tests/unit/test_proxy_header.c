/* test_proxy_header.c - the PROXY protocol: every form, every cut, every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "wire/proxy_header.h"

#define MARK  "\r\n\r\n\0\r\nQUIT\n"
#define IP4   "\xc0\0\2\1\xc6\x33\x64\7\xdc\4\1\xbb" /* 192.0.2.1:56324 to 198.51.100.7:443 */
#define NET   "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0"  /* 2001:db8:: without its last byte */
#define IP6   NET "\1" NET "\2\xdc\4\1\xbb"
#define ZEROS "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define PATHS ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS /* 8 * 27 = 216 */

static const struct {
    struct str bytes;
    enum proxy_source source;
    const char *address; /* NULL: none */
} good[] = {
    {STR_INIT("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"), PROXY_SOURCE_IP4, "192.0.2.1"},
    {STR_INIT("PROXY TCP4 255.255.255.255 255.255.255.255 56324 65535\r\n"), PROXY_SOURCE_IP4,
     "255.255.255.255"},
    {STR_INIT("PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n"), PROXY_SOURCE_IP6, "2001:db8::1"},
    {STR_INIT("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 56324 65535\r\n"),
     PROXY_SOURCE_IP6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {STR_INIT("PROXY UNKNOWN\r\n"), PROXY_SOURCE_NONE, NULL},
    {STR_INIT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"), /* 107, the longest */
     PROXY_SOURCE_NONE, NULL},
    {STR_INIT(MARK "\x21\x11\0\xc" IP4), PROXY_SOURCE_IP4, "192.0.2.1"},
    {STR_INIT(MARK "\x21\x12\0\xc" IP4), PROXY_SOURCE_IP4, "192.0.2.1"}, /* QUIC at the proxy */
    {STR_INIT(MARK "\x21\x21\0\x24" IP6), PROXY_SOURCE_IP6, "2001:db8::1"},
    {STR_INIT(MARK "\x21\x31\0\xd8" PATHS), PROXY_SOURCE_UNIX, NULL},
    {STR_INIT(MARK "\x20\0\0\0"), PROXY_SOURCE_NONE, NULL},
    {STR_INIT(MARK "\x20\x11\0\xc" IP4), PROXY_SOURCE_NONE, NULL}, /* LOCAL: whatever it says */
    {STR_INIT(MARK "\x20\xff\0\3xyz"), PROXY_SOURCE_NONE, NULL},
    {STR_INIT(MARK "\x21\0\0\0"), PROXY_SOURCE_NONE, NULL},
    {STR_INIT(MARK "\x21\0\0\3xyz"), PROXY_SOURCE_NONE, NULL},
    {STR_INIT(MARK "\x21\x10\0\xc" IP4), PROXY_SOURCE_NONE, NULL},
    {STR_INIT(MARK "\x21\x11\0\x16" IP4 "\4\0\0\x20\0\4abcd"), PROXY_SOURCE_IP4, "192.0.2.1"},
};

static const struct {
    struct str bytes;
    const char *fault;
} wrong[] = {
    {STR_INIT("PROXY \r\n"), "family"},
    {STR_INIT("PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n"), "family"},
    {STR_INIT("PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n"), "family"},
    {STR_INIT("PROXY UNKNOWNS\r\n"), "family"},
    {STR_INIT("PROXY TCP4\r\n"), "addresses"},
    {STR_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"), "addresses"},
    {STR_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n"), "addresses"},
    {STR_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n"), "addresses"},
    {STR_INIT("PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n"), "addresses"},
    {STR_INIT("PROXY TCP4 1.2.3.4\t1.2.3.4 1 1\r\n"), "addresses"},
    {STR_INIT("PROXY TCP4 1.2.3.04 1.2.3.4 1 1\r\n"), "addresses"},
    {STR_INIT("PROXY TCP4 1.2.3.4 1.2.3 1 1\r\n"), "addresses"},
    {STR_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n"), "addresses"},
    {STR_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"), "addresses"},
    {STR_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n"), "addresses"},
    {STR_INIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n\r\n"), "addresses"},
    {STR_INIT("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 1\r\n"), "addresses"},
    {STR_INIT("PROXY TCP4 ::1 ::1 1 1\r\n"), "addresses"},
    {STR_INIT("PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n"), "addresses"},
    {STR_INIT("PROXY TCP6 ::1%lo ::1 1 1\r\n"), "addresses"},
    {STR_INIT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535 \r\n"), /* 108 */
     "107"},
    {STR_INIT(MARK "\x11\x11\0\xc" IP4), "version"},
    {STR_INIT(MARK "\x22\x11\0\xc" IP4), "command"},
    {STR_INIT(MARK "\x21\x41\0\xc" IP4), "family"},
    {STR_INIT(MARK "\x21\x13\0\xc" IP4), "transport"},
    {STR_INIT(MARK "\x21\x11\0\xb" IP4), "too short"},
    {STR_INIT(MARK "\x21\x21\0\xc" IP4), "too short"},
    {STR_INIT(MARK "\x21\x31\0\xc" IP4), "too short"},
    {STR_INIT(MARK "\x21\x11\0\0"), "too short"},
    {STR_INIT(MARK "\x21\x11\0\xd" IP4 "\4"), "over the end"},
    {STR_INIT(MARK "\x21\x11\0\xf" IP4 "\4\0\1"), "over the end"},
    {STR_INIT(MARK "\x21\x11\0\x12" IP4 "\3\0\3abc"), "four bytes"},
    {STR_INIT(MARK "\x21\x11\0\x13" IP4 "\3\0\4abcd"), "does not fit"},
    {STR_INIT(MARK "\x21\x11\x0f\xf1"), "4096"},
};

static void assert_address(const struct proxy_header *h, const char *expected)
{
    char text[INET6_ADDRSTRLEN] = "";
    int family = h->source == PROXY_SOURCE_IP4 ? AF_INET : AF_INET6;
    assert_non_null(inet_ntop(family, h->address, text, sizeof(text)));
    assert_string_equal(text, expected);
    assert_int_equal(h->port, 56324);
}

/* Whatever follows it is not its business. */
static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char more[512];
        struct proxy_header h;
        struct str s = good[i].bytes;
        memcpy(more, s.p, s.n);
        memset(more + s.n, '\r', sizeof(more) - s.n);
        for (size_t n = s.n; n <= sizeof(more); n += 37) {
            assert_int_equal(proxy_header_read(str_of(more, n), &h), PROXY_HEADER_DONE);
            assert_int_equal(h.size, s.n);
            assert_int_equal(h.source, good[i].source);
            if (good[i].address)
                assert_address(&h, good[i].address);
        }
    }
}

/* A header is known as one by its mark, and as right or wrong by nothing that comes behind it. */
static void test_cut_everywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct str s = good[i].bytes;
        size_t mark = s.p[0] == 'P' ? 6 : 12;
        struct proxy_header h;
        for (size_t n = 0; n < s.n; n++) {
            assert_int_equal(proxy_header_read(str_head(s, n), &h), PROXY_HEADER_MORE);
            assert_int_equal(h.marked, n >= mark);
        }
    }
}

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct proxy_header h;
        enum proxy_header_result result = proxy_header_read(wrong[i].bytes, &h);
        if (result != PROXY_HEADER_BAD || !strstr(h.fault, wrong[i].fault))
            fail_msg("%zu: %d %s", i, result, h.fault ? h.fault : "");
    }
}

/* A line that never ends is not waited for, nor is one byte more than may come. */
static void test_without_end(void **state)
{
    char line[PROXY_V1_MAX + 1] = "PROXY UNKNOWN ";
    struct proxy_header h;
    (void)state;
    memset(line + 14, 'x', sizeof(line) - 14);
    assert_int_equal(proxy_header_read(str_of(line, PROXY_V1_MAX - 1), &h), PROXY_HEADER_MORE);
    assert_int_equal(proxy_header_read(str_of(line, PROXY_V1_MAX), &h), PROXY_HEADER_BAD);
    line[PROXY_V1_MAX - 1] = '\r';
    line[PROXY_V1_MAX] = '\n';
    assert_int_equal(proxy_header_read(str_of(line, sizeof(line)), &h), PROXY_HEADER_BAD);
}

static void test_something_else(void **state)
{
    static const char *const others[] = {"GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n",
                                         "PROXY\r\n",          "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                                         "\x16\x03\x01",       "\r\n\r\nGET /",
                                         "proxy TCP4"};
    struct proxy_header h;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_int_equal(proxy_header_read(str_c(others[i]), &h), PROXY_HEADER_NONE);
        assert_false(h.marked);
    }
}

/* The longest one is taken, and fits the room that whoever reads it has. */
static void test_the_longest(void **state)
{
    static char bytes[PROXY_V2_MAX] = MARK "\x21\x11\x0f\xf0" IP4;
    const size_t at = 16 + 12, value = sizeof(bytes) - at - 3;
    struct proxy_header h;
    (void)state;
    bytes[at] = 4;
    bytes[at + 1] = (char)(value >> 8);
    bytes[at + 2] = (char)value;
    assert_int_equal(proxy_header_read(str_of(bytes, sizeof(bytes) - 1), &h), PROXY_HEADER_MORE);
    assert_int_equal(proxy_header_read(str_of(bytes, sizeof(bytes)), &h), PROXY_HEADER_DONE);
    assert_int_equal(h.size, sizeof(bytes));
}

/* CRC-32C by its definition: the polynomial's remainder, a bit at a time from a shift register. */
static uint32_t remainder_of(const uint8_t *p, size_t n)
{
    uint32_t reg = UINT32_MAX, out = 0;
    for (size_t i = 0; i < 8 * n; i++) {
        uint32_t bit = (uint32_t)p[i / 8] >> (i % 8) & 1;
        bool carry = (reg >> 31 ^ bit) & 1;
        reg = reg << 1 ^ (carry ? 0x1edc6f41 : 0);
    }
    for (int i = 0; i < 32; i++)
        out |= (reg >> i & 1) << (31 - i);
    return ~out;
}

/* Every bit of the header is covered, and the checksum may stand anywhere among the TLVs. */
static void test_checksum(void **state)
{
    static const uint8_t with[] = MARK "\x21\x11\0\x1c" IP4 "\4\0\2ab\3\0\4\0\0\0\0\xe0\0\1c";
    uint8_t bytes[sizeof(with) - 1];
    const size_t at = 16 + 12 + 5 + 3;
    struct proxy_header h;
    (void)state;
    assert_int_equal(remainder_of((const uint8_t *)"123456789", 9),
                     0xe3069283); /* as is published */
    memcpy(bytes, with, sizeof(bytes));
    uint32_t crc = remainder_of(bytes, sizeof(bytes));
    for (size_t i = 0; i < 4; i++)
        bytes[at + i] = (uint8_t)(crc >> (24 - 8 * i));
    struct str all = str_of((const char *)bytes, sizeof(bytes));
    assert_int_equal(proxy_header_read(all, &h), PROXY_HEADER_DONE);
    assert_address(&h, "192.0.2.1");
    for (size_t bit = 8 * 16; bit < 8 * sizeof(bytes); bit++) {
        bool type_of_crc = bit / 8 == at - 3;
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (!type_of_crc) /* which is then another TLV */
            assert_int_equal(proxy_header_read(all, &h), PROXY_HEADER_BAD);
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

/* Any byte in any place: the result never depends on what stands behind the header. */
static void test_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char bytes[512] = {0};
        struct str s = good[i].bytes;
        for (size_t at = 0; at < s.n; at++) {
            memcpy(bytes, s.p, s.n);
            for (int c = 0; c < 256; c++) {
                struct proxy_header h, again;
                bytes[at] = (char)c;
                if (proxy_header_read(str_of(bytes, s.n), &h) != PROXY_HEADER_DONE)
                    continue;
                assert_true(h.size <= s.n);
                assert_int_equal(proxy_header_read(str_of(bytes, h.size), &again),
                                 PROXY_HEADER_DONE);
                assert_int_equal(proxy_header_read(str_of(bytes, h.size - 1), &again),
                                 PROXY_HEADER_MORE);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),           cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_wrong),          cmocka_unit_test(test_without_end),
        cmocka_unit_test(test_something_else), cmocka_unit_test(test_the_longest),
        cmocka_unit_test(test_checksum),       cmocka_unit_test(test_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
