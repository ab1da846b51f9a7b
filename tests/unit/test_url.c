/* test_url.c - addresses of upstreams and proxies, and the list of hosts that need no proxy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wire/url.h"

static const struct {
    const char *text, *userinfo, *host, *path;
    enum url_scheme scheme;
    uint16_t port;
    bool is_ipv6;
} good[] = {
    {"http://h", NULL, "h", "", URL_HTTP, 80, false},
    {"https://h", NULL, "h", "", URL_HTTPS, 443, false},
    {"HTTPS://Api.Example.COM", NULL, "Api.Example.COM", "", URL_HTTPS, 443, false},
    {"http://h/", NULL, "h", "", URL_HTTP, 80, false},
    {"http://h//", NULL, "h", "", URL_HTTP, 80, false},
    {"http://h/v1", NULL, "h", "/v1", URL_HTTP, 80, false},
    {"http://h/v1/", NULL, "h", "/v1", URL_HTTP, 80, false},
    {"http://h/a/b%20c/~d", NULL, "h", "/a/b%20c/~d", URL_HTTP, 80, false},
    {"http://h/a@b:c", NULL, "h", "/a@b:c", URL_HTTP, 80, false},
    {"http://h:1", NULL, "h", "", URL_HTTP, 1, false},
    {"https://h:80", NULL, "h", "", URL_HTTPS, 80, false},
    {"http://h:65535/x", NULL, "h", "/x", URL_HTTP, 65535, false},
    {"http://h:08080", NULL, "h", "", URL_HTTP, 8080, false},
    {"http://127.0.0.1:8080", NULL, "127.0.0.1", "", URL_HTTP, 8080, false},
    {"http://my_host-1.internal.", NULL, "my_host-1.internal.", "", URL_HTTP, 80, false},
    {"http://[::1]", NULL, "::1", "", URL_HTTP, 80, true},
    {"https://[2001:db8::7]:8443/p", NULL, "2001:db8::7", "/p", URL_HTTPS, 8443, true},
    {"http://[::ffff:10.0.0.1]:1", NULL, "::ffff:10.0.0.1", "", URL_HTTP, 1, true},
    {"http://u:p@h:3128", "u:p", "h", "", URL_HTTP, 3128, false},
    {"http://u@h", "u", "h", "", URL_HTTP, 80, false},
    {"http://u:p%40q@h", "u:p%40q", "h", "", URL_HTTP, 80, false},
    {"http://u:p@q@h", "u:p@q", "h", "", URL_HTTP, 80, false},
    {"http://u:p@[::1]:81/x", "u:p", "::1", "/x", URL_HTTP, 81, true},
    {"http://@h", "", "h", "", URL_HTTP, 80, false},
    {"unix:/run/a.sock", NULL, "/run/a.sock", "", URL_UNIX, 0, false},
    {"unix:///run/a.sock", NULL, "/run/a.sock", "", URL_UNIX, 0, false},
    {"unix:////run/a.sock", NULL, "//run/a.sock", "", URL_UNIX, 0, false},
    {"UNIX:/a:b@c", NULL, "/a:b@c", "", URL_UNIX, 0, false},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct url u;
        if (!url_parse(str_c(good[i].text), &u))
            fail_msg("refused: %s", good[i].text);
        assert_int_equal(u.scheme, good[i].scheme);
        assert_int_equal(u.port, good[i].port);
        assert_int_equal(u.is_ipv6, good[i].is_ipv6);
        assert_true(str_eq(u.host, str_c(good[i].host)));
        assert_true(str_eq(u.path, str_c(good[i].path)));
        assert_non_null(u.path.p);
        assert_int_equal(u.userinfo.p != NULL, good[i].userinfo != NULL);
        assert_true(str_eq(u.userinfo, str_c(good[i].userinfo)));
    }
}

static const struct str bad[] = {
    /* schemes */
    STR_INIT(""),
    STR_INIT("h"),
    STR_INIT("h:80"),
    STR_INIT("/path"),
    STR_INIT("//h"),
    STR_INIT("http"),
    STR_INIT("http:"),
    STR_INIT("http:h"),
    STR_INIT("http:/h"),
    STR_INIT("https:/h"),
    STR_INIT("httpss://h"),
    STR_INIT("ftp://h"),
    STR_INIT("socks5://h"),
    STR_INIT("file:///etc/x"),
    STR_INIT("javascript:alert(1)"),
    /* hosts */
    STR_INIT("http://"),
    STR_INIT("http:///"),
    STR_INIT("http:///path"),
    STR_INIT("http://:80"),
    STR_INIT("http://u@"),
    STR_INIT("http://u:p@/x"),
    STR_INIT("http://u:p@:80"),
    STR_INIT("http://a%41"),
    STR_INIT("http://a,b"),
    STR_INIT("http://a*b"),
    STR_INIT("http://a;b"),
    STR_INIT("http://::1"),
    STR_INIT("http://[::1"),
    STR_INIT("http://[]"),
    STR_INIT("http://[h]"),
    STR_INIT("http://[127.0.0.1]"),
    STR_INIT("http://[::1%lo]"),
    STR_INIT("http://[:::1]"),
    STR_INIT("http://[::1]80"),
    STR_INIT("http://[::1]x"),
    STR_INIT("http://[::1]]"),
    STR_INIT("http://::1]"),
    STR_INIT("http://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]"),
    /* ports */
    STR_INIT("http://h:"),
    STR_INIT("http://h:/x"),
    STR_INIT("http://h:0"),
    STR_INIT("http://h:65536"),
    STR_INIT("http://h:99999999999999999999"),
    STR_INIT("http://h:-1"),
    STR_INIT("http://h:+1"),
    STR_INIT("http://h:8o"),
    STR_INIT("http://h:80:80"),
    STR_INIT("http://[::1]:"),
    STR_INIT("http://[::1]:0"),
    /* characters */
    STR_INIT("http://h?q"),
    STR_INIT("http://h/?q"),
    STR_INIT("http://h/x#f"),
    STR_INIT("http://h#"),
    STR_INIT("http://h/a b"),
    STR_INIT(" http://h"),
    STR_INIT("http://h "),
    STR_INIT("http://h\r\nX: y"),
    STR_INIT("http://h\t"),
    STR_INIT("http://h\0"),
    STR_INIT("http://h/\0x"),
    STR_INIT("http://h\\x"),
    STR_INIT("http://h/\x7f"),
    STR_INIT("http://h\xc3\xa9"),
    STR_INIT("http://u\x01@h"),
    /* sockets */
    STR_INIT("unix:"),
    STR_INIT("unix:/"),
    STR_INIT("unix://"),
    STR_INIT("unix:///"),
    STR_INIT("unix:a.sock"),
    STR_INIT("unix://a.sock"),
    STR_INIT("unix:/a b"),
    STR_INIT("unix:/a\n"),
    STR_INIT("unix:/a?b"),
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct url u;
        if (url_parse(bad[i], &u))
            fail_msg("accepted: %.*s", STR_FMT(bad[i]));
    }
}

static void test_long_host(void **state)
{
    char text[7 + 254] = "http://";
    struct url u;

    (void)state;
    memset(text + 7, 'a', sizeof(text) - 7);
    assert_true(url_parse(str_of(text, 7 + 253), &u)); /* RFC 1035 section 2.3.4 */
    assert_false(url_parse(str_of(text, 7 + 254), &u));
}

static const struct {
    const char *list, *host;
    uint16_t port;
    bool exempt;
} lists[] = {
    {"", "h", 80, false},
    {",", "h", 80, false},
    {" , ,", "h", 80, false},
    {"*", "h", 80, true},
    {"*", "10.0.0.1", 80, true},
    {"a,*", "h", 80, true},
    {"* ", "h", 80, true},
    /* names */
    {"example.com", "example.com", 443, true},
    {"example.com", "EXAMPLE.com", 443, true},
    {"Example.Com", "example.com", 443, true},
    {"example.com", "api.example.com", 443, true},
    {"example.com", "a.b.example.com", 443, true},
    {".example.com", "api.example.com", 443, true},
    {".example.com", "example.com", 443, true},
    {"example.com", "notexample.com", 443, false},
    {"example.com", "example.com.evil.org", 443, false},
    {"example.com", "example.co", 443, false},
    {"api.example.com", "example.com", 443, false},
    {"com", "example.com", 443, true},
    {".", "example.com", 443, false},
    {"localhost, example.com ,x", "example.com", 443, true},
    {"localhost\t,\texample.com", "example.com", 443, true},
    {"foo,bar", "baz", 80, false},
    {"foo bar", "bar", 80, false},
    /* ports */
    {"example.com:443", "example.com", 443, true},
    {"example.com:443", "api.example.com", 443, true},
    {"example.com:443", "example.com", 80, false},
    {"example.com:x", "example.com", 80, false},
    {"example.com:", "example.com", 80, false},
    {"example.com:0", "example.com", 0, false},
    {":443", "example.com", 443, false},
    {"127.0.0.1:8080", "127.0.0.1", 8080, true},
    {"127.0.0.1:8080", "127.0.0.1", 80, false},
    {"[::1]:8080", "::1", 8080, true},
    {"[::1]:8080", "::1", 80, false},
    /* addresses */
    {"127.0.0.1", "127.0.0.1", 80, true},
    {"127.0.0.1", "127.0.0.11", 80, false},
    {"0.0.1", "127.0.0.1", 80, false}, /* no name covers an address */
    {"1", "127.0.0.1", 80, false},
    {"::1", "::1", 80, true},
    {"[::1]", "::1", 80, true},
    {"[::1", "::1", 80, false},
    {"0:0::1", "::1", 80, true},
    {"2001:DB8::1", "2001:db8:0::1", 80, true},
    {"::1", "::2", 80, false},
    {"::1", "[::1]", 80, true},
    /* blocks */
    {"10.0.0.0/8", "10.255.1.2", 80, true},
    {"10.0.0.0/8", "11.0.0.0", 80, false},
    {"10.1.0.0/15", "10.1.2.3", 80, true},
    {"10.1.0.0/15", "10.0.2.3", 80, true},
    {"10.1.0.0/15", "10.2.0.0", 80, false},
    {"192.168.1.128/25", "192.168.1.127", 80, false},
    {"192.168.1.128/25", "192.168.1.200", 80, true},
    {"1.2.3.4/32", "1.2.3.4", 80, true},
    {"1.2.3.4/32", "1.2.3.5", 80, false},
    {"0.0.0.0/0", "9.9.9.9", 80, true},
    {"0.0.0.0/0", "::1", 80, false},
    {"0.0.0.0/0", "example.com", 80, false},
    {"10.0.0.0/33", "10.0.0.0", 80, false},
    {"10.0.0.0/", "10.0.0.0", 80, false},
    {"10.0.0.0/-1", "10.0.0.0", 80, false},
    {"10.0.0/8", "10.0.0.0", 80, false},
    {"/8", "10.0.0.0", 80, false},
    {"fd00::/8", "fd12::1", 80, true},
    {"fd00::/8", "fe80::1", 80, false},
    {"::/0", "2001:db8::1", 80, true},
    {"2001:db8::/129", "2001:db8::", 80, false},
};

static void test_no_proxy(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (url_no_proxy(str_c(lists[i].list), str_c(lists[i].host), lists[i].port) !=
            lists[i].exempt)
            fail_msg("\"%s\" on %s:%u", lists[i].list, lists[i].host, lists[i].port);
    assert_false(url_no_proxy(STR_NONE, STR("h"), 80));
}

static void test_public(void **state)
{
    static const struct {
        const char *url;
        bool is_public;
    } hosts[] = {
        {"https://a.example", true},
        {"https://8.8.8.8", true},
        {"https://[2606:4700::1111]", true},
        {"https://localhost.example", true},
        {"https://1.2.3.a1", true},
        {"https://100.63.255.255", true},
        {"https://100.128.0.0", true},
        {"https://172.32.0.1", true},
        {"https://localhost", false},
        {"https://LocalHost.:80", false},
        {"https://x.localhost", false},
        {"https://db.internal.", false},
        {"https://p.local", false},
        {"https://127.0.0.1", false},
        {"https://127.255.0.1:8443", false},
        {"https://127.1", false},
        {"https://2130706433", false},
        {"https://0x7f.1", false},
        {"https://1.2.3.4.5", false},
        {"https://10.255.255.255", false},
        {"https://172.31.255.255", false},
        {"https://192.168.0.0", false},
        {"https://169.254.169.254", false},
        {"https://100.64.0.1", false},
        {"https://0.0.0.0", false},
        {"https://239.1.1.1", false},
        {"https://[::1]", false},
        {"https://[::]", false},
        {"https://[::ffff:8.8.8.8]", false},
        {"https://[fe80::1]", false},
        {"https://[fdff::1]", false},
        {"https://[64:ff9b::a00:1]", false},
        {"https://[2002:a00:1::]", false},
        {"unix:/run/x", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct url u;
        if (url_parse(str_c(hosts[i].url), &u) && url_is_public(&u) == hosts[i].is_public)
            continue;
        fail_msg("%s", hosts[i].url);
    }
}

/* Every start of every text stands alone in its block: nothing behind it is read. */
static void test_cut_short(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct str text = str_c(good[i].text);
        for (size_t n = 1; n <= text.n; n++) {
            char *copy = mem_alloc(n);
            struct url u;
            memcpy(copy, text.p, n);
            if (url_parse(str_of(copy, n), &u))
                assert_true(u.host.n > 0 && (u.path.n == 0 || u.path.p[0] == '/'));
            (void)url_no_proxy(str_of(copy, n), STR("::1"), 80);
            (void)url_no_proxy(STR("a.b,::1/64"), str_of(copy, n), 80);
            mem_free(copy);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),      cmocka_unit_test(test_bad),
        cmocka_unit_test(test_long_host), cmocka_unit_test(test_no_proxy),
        cmocka_unit_test(test_cut_short), cmocka_unit_test(test_public),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
