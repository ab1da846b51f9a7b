/* test_redis_url.c - addresses of Redis servers: what each form means, and what is refused. */
#include "store/redis_url.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"

static void test_accepted(void **state)
{
    static const struct {
        const char *text;
        enum url_scheme scheme;
        const char *host;
        uint16_t port;
        const char *user, *password;
        unsigned db;
    } cases[] = {
        {"redis://localhost", URL_HTTP, "localhost", 6379, NULL, NULL, 0},
        {"REDIS://localhost/", URL_HTTP, "localhost", 6379, NULL, NULL, 0},
        {"redis://localhost:80", URL_HTTP, "localhost", 80, NULL, NULL, 0},
        {"redis://cache.example:7000/3", URL_HTTP, "cache.example", 7000, NULL, NULL, 3},
        {"redis://h?db=4", URL_HTTP, "h", 6379, NULL, NULL, 4},
        {"redis://h/65535", URL_HTTP, "h", 6379, NULL, NULL, 65535},
        {"rediss://h", URL_HTTPS, "h", 6379, NULL, NULL, 0},
        {"rediss://h:443", URL_HTTPS, "h", 443, NULL, NULL, 0},
        {"redis://[::1]", URL_HTTP, "::1", 6379, NULL, NULL, 0},
        {"redis://[2001:db8::7]:6380/1", URL_HTTP, "2001:db8::7", 6380, NULL, NULL, 1},
        {"redis://:secret@h", URL_HTTP, "h", 6379, NULL, "secret", 0},
        {"redis://app:secret@h:1/2", URL_HTTP, "h", 1, "app", "secret", 2},
        {"redis://a%3Ab:p%40s%2Fs%3F%25@h", URL_HTTP, "h", 6379, "a:b", "p@s/s?%", 0},
        {"redis://u:a:b@h", URL_HTTP, "h", 6379, "u", "a:b", 0},
        {"redis://u:a@b@h", URL_HTTP, "h", 6379, "u", "a@b", 0},
        {"unix:/run/redis.sock", URL_UNIX, "/run/redis.sock", 0, NULL, NULL, 0},
        {"unix:///run/redis.sock", URL_UNIX, "/run/redis.sock", 0, NULL, NULL, 0},
        {"unix:///run/a%20b?db=7", URL_UNIX, "/run/a b", 0, NULL, NULL, 7},
        {"unix://u:p%20w@/run/r", URL_UNIX, "/run/r", 0, "u", "p w", 0},
        {"unix://:p@/run/r?db=1", URL_UNIX, "/run/r", 0, NULL, "p", 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a;
        struct redis_url u;
        const char *error = NULL;
        arena_init(&a);
        if (!redis_url_parse(&a, str_c(cases[i].text), &u, &error))
            fail_msg("%s: %s", cases[i].text, error);
        assert_int_equal(u.server.scheme, cases[i].scheme);
        assert_true(str_eq(u.server.host, str_c(cases[i].host)));
        assert_int_equal(u.server.port, cases[i].port);
        assert_true(str_eq(u.user, str_c(cases[i].user)) && !u.user.p == !cases[i].user);
        assert_true(str_eq(u.password, str_c(cases[i].password)));
        assert_true(!u.password.p == !cases[i].password);
        assert_int_equal(u.db, cases[i].db);
        assert_int_equal(u.server.path.n + u.server.userinfo.n, 0);
        arena_done(&a);
    }
    assert_int_equal(mem_live(), 0);
}

static void test_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "redis",
        "redis:",
        "redis://",
        "redis:///3",
        "redis:localhost",
        "redis://:6379",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:x",
        "redis://h/x",
        "redis://h/1/2",
        "redis://h/-1",
        "redis://h/65536",
        "redis://h?db=",
        "redis://h?db=x",
        "redis://h?ssl_cert_reqs=none",
        "redis://h?db=1&timeout=3",
        "redis://h?",
        "redis://h#frag",
        "redis://secret@h",
        "redis://user:@h",
        "redis://:@h",
        "redis://:%zz@h",
        "redis://:a%00b@h",
        "redis://:secret word@h",
        "redis://a b",
        "redis://h\\x",
        "http://h",
        "https://h",
        "valkey+tls://h",
        "redis+sentinel://h",
        "unix:",
        "unix:/",
        "unix:relative",
        "unix://relative/path",
        "unix://secret@/run/r",
        "unix:///run/%zz",
        "unix:///run/a%00b",
        "unix:///0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
        "23456789012345678901234567890",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a;
        struct redis_url u;
        const char *error = NULL;
        arena_init(&a);
        if (redis_url_parse(&a, str_c(cases[i]), &u, &error))
            fail_msg("%s was accepted", cases[i]);
        assert_non_null(error);
        assert_null(strstr(error, "secret"));
        arena_done(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
