/* test_address.c - addresses, blocks, and whose request it is behind proxies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/address.h"

static const struct {
    const char *text, *same; /* NULL: it is none */
} literals[] = {
    {"192.0.2.1", "192.0.2.1"},
    {"192.0.2.1:4711", "192.0.2.1"},
    {"2001:db8::1", "2001:db8::1"},
    {"2001:DB8:0:0::1", "2001:db8::1"},
    {"[2001:db8::1]", "2001:db8::1"},
    {"[2001:db8::1]:65535", "2001:db8::1"},
    {"::ffff:192.0.2.1", "192.0.2.1"},
    {"[::ffff:192.0.2.1]:80", "192.0.2.1"},
    {"", NULL},
    {"unknown", NULL},
    {"_hidden", NULL},
    {"192.0.2", NULL},
    {"192.0.2.256", NULL},
    {"192.0.2.01", NULL},
    {"192.0.2.1:", NULL},
    {"192.0.2.1:65536", NULL},
    {"192.0.2.1:-1", NULL},
    {"[192.0.2.1]", NULL},
    {"[2001:db8::1", NULL},
    {"2001:db8::1]", NULL},
    {"[2001:db8::1]x", NULL},
    {"2001:db8::1%eth0", NULL},
    {"1:2:3:4:5:6:7:8:9", NULL},
    {"::1::", NULL},
    {"[]", NULL},
    {"[", NULL},
    {":", NULL},
    {"00000000000000000000000000000000000000000000000001", NULL},
};

static void test_literals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(literals); i++) {
        struct address a;
        char text[ADDRESS_TEXT];
        bool ok = address_parse(str_c(literals[i].text), &a);
        if (ok != (literals[i].same != NULL) ||
            (ok && !str_eq(address_text(&a, text), str_c(literals[i].same))))
            fail_msg("%s", literals[i].text);
    }
}

/* Whatever the bytes are: what is taken comes back as it was. */
static void test_every_byte(void **state)
{
    static const char good[] = "[2001:db8::1f]:80";
    (void)state;
    for (size_t at = 0; at < sizeof(good) - 1; at++) {
        for (int c = 0; c < 256; c++) {
            char text[sizeof(good)], out[ADDRESS_TEXT];
            struct address a, again;
            memcpy(text, good, sizeof(good));
            text[at] = (char)c;
            for (size_t n = 0; n < sizeof(good); n++) {
                if (!address_parse(str_of(text, n), &a))
                    continue;
                assert_true(address_parse(address_text(&a, out), &again));
                assert_memory_equal(a.bytes, again.bytes, ADDRESS_BYTES);
            }
        }
    }
}

static struct address_blocks blocks(struct arena *a, const char *list)
{
    struct address_blocks b;
    struct str bad;
    assert_true(address_blocks_parse(str_c(list), a, &b, &bad));
    return b;
}

static void test_blocks(void **state)
{
    static const struct {
        const char *list, *address;
        bool in;
    } cases[] = {
        {"10.0.0.0/8", "10.255.1.2", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"10.0.0.0/8", "2001:db8::1", false},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"unix", "192.0.2.1", false},
        {"192.0.2.9 , 2001:db8::/32", "2001:db8::1", true},
        {"", "192.0.2.1", false},
    };

    static const char *const bad[] = {"10.0.0.0/33", "::/129",  "10.0.0.0/", "10.0.0.0/x",
                                      "10.0.0.0/8,", "example", "10.0/8",    "1.2.3.4:80"};
    struct arena a;
    struct address_blocks b;
    struct str which;
    (void)state;
    arena_init(&a);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct address_blocks list = blocks(&a, cases[i].list);
        struct address address;
        assert_true(address_parse(str_c(cases[i].address), &address));
        if (address_is_in(&list, &address) != cases[i].in)
            fail_msg("%s %s", cases[i].list, cases[i].address);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (address_blocks_parse(str_c(bad[i]), &a, &b, &which))
            fail_msg("%s", bad[i]);
    arena_done(&a);
}

static void test_clients(void **state)
{
    static const struct {
        const char *peer, *forwarded, *client;
    } cases[] = {
        {"10.0.0.1", "", "10.0.0.1"},
        {"192.0.2.1", "203.0.113.9", "192.0.2.1"}, /* not trusted: it may say what it likes */
        {"10.0.0.1", "203.0.113.9", "203.0.113.9"},
        {"10.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"}, /* the first was made up */
        {"10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"},
        {"10.0.0.1", "203.0.113.9:1234,10.0.0.2", "203.0.113.9"},
        {"10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"}, /* all trusted: the first of them */
        {"10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"},
        {"10.0.0.1", "203.0.113.9, , 10.0.0.2", "10.0.0.2"},
        {"10.0.0.1", ",", "10.0.0.1"},
        {"10.0.0.1", "[2001:db8::7]:443", "2001:db8::7"},
    };
    struct arena a;
    (void)state;
    arena_init(&a);
    struct address_blocks trusted = blocks(&a, "10.0.0.0/8");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct address peer;
        char text[ADDRESS_TEXT];
        assert_true(address_parse(str_c(cases[i].peer), &peer));
        struct address client = address_of_client(&trusted, &peer, str_c(cases[i].forwarded));
        if (!str_eq(address_text(&client, text), str_c(cases[i].client)))
            fail_msg("%s by %s: %s", cases[i].forwarded, cases[i].peer, text);
    }
    const struct address nowhere = {.known = false};
    struct address_blocks sockets = blocks(&a, "unix");
    char text[ADDRESS_TEXT];
    struct address client = address_of_client(&sockets, &nowhere, STR("203.0.113.9"));
    assert_true(str_eq(address_text(&client, text), STR("203.0.113.9")));
    client = address_of_client(&trusted, &nowhere, STR("203.0.113.9"));
    assert_false(client.known);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_clients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
