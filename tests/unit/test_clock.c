/* test_clock.c - cached clocks, and dates in both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

#define S UINT64_C(1000000)

static uint64_t mono_now = 5, wall_now = 1794580620 * S;

static uint64_t fake_mono(void)
{
    return mono_now;
}

static uint64_t fake_wall(void)
{
    return wall_now;
}

static void test_cache(void **state)
{
    (void)state;
    assert_true(clock_us() > 0); /* read at first use */
    assert_true(clock_precise_us() >= clock_us());
    clock_set_source(fake_mono, fake_wall);
    assert_true(clock_us() == 5);
    mono_now = 9;
    assert_true(clock_us() == 5);
    assert_true(clock_precise_us() == 9);
    clock_refresh();
    assert_true(clock_us() == 9);
    assert_true(clock_wall_us() == wall_now);
    clock_set_source(NULL, NULL);
    assert_true(clock_wall_us() > 1700000000 * S);
}

static const struct {
    uint64_t wall_us;
    const char *rfc3339, *http;
} dates[] = {
    {0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"},
    {999, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"},
    {68169600 * S, "1972-02-29T00:00:00.000Z", "Tue, 29 Feb 1972 00:00:00 GMT"},
    {784111777 * S, "1994-11-06T08:49:37.000Z", "Sun, 06 Nov 1994 08:49:37 GMT"},
    {946684799 * S + 999999, "1999-12-31T23:59:59.999Z", "Fri, 31 Dec 1999 23:59:59 GMT"},
    {951782400 * S, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT"},
    {1709251199 * S, "2024-02-29T23:59:59.000Z", "Thu, 29 Feb 2024 23:59:59 GMT"},
    {1795415820 * S + 123456, "2026-11-23T06:37:00.123Z", "Mon, 23 Nov 2026 06:37:00 GMT"},
    {4107542400 * S, "2100-03-01T00:00:00.000Z", "Mon, 01 Mar 2100 00:00:00 GMT"},
    {253402300799 * S, "9999-12-31T23:59:59.000Z", "Fri, 31 Dec 9999 23:59:59 GMT"},
    {UINT64_MAX, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 GMT"},
};

static void test_format(void **state)
{
    char out[CLOCK_TEXT];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(dates); i++) {
        assert_true(str_eq(clock_rfc3339(dates[i].wall_us, out), str_c(dates[i].rfc3339)));
        assert_true(str_eq(clock_http_date(dates[i].wall_us, out), str_c(dates[i].http)));
    }
}

/* Every day of the first 500 years, there and back. */
static void test_round_trip(void **state)
{
    char out[CLOCK_TEXT];
    uint64_t wall_us, back_us;

    (void)state;
    for (uint64_t day = 0; day < 366 * 500; day++) {
        wall_us = (day * 86400 + day % 86400) * S;
        assert_true(clock_parse_rfc3339(clock_rfc3339(wall_us, out), &back_us));
        assert_true(back_us == wall_us);
        assert_true(clock_parse_http_date(clock_http_date(wall_us, out), &back_us));
        assert_true(back_us == wall_us);
    }
}

enum { BAD = -1 };

static const struct {
    const char *s;
    int64_t wall_us;
} rfc3339[] = {
    {"2026-11-23T06:37:00Z", 1795415820 * (int64_t)S},
    {"2026-11-23t06:37:00z", 1795415820 * (int64_t)S},
    {"2026-11-23T06:37:00.5Z", 1795415820 * (int64_t)S + 500000},
    {"2026-11-23T06:37:00.123456789Z", 1795415820 * (int64_t)S + 123456},
    {"2026-11-23T07:37:00+01:00", 1795415820 * (int64_t)S},
    {"2026-11-22T23:07:00-07:30", 1795415820 * (int64_t)S},
    {"1972-06-30T23:59:60Z", 78796800 * (int64_t)S},
    {"1970-01-01T00:00:00+00:01", BAD},
    {"1969-12-31T23:59:59Z", BAD},
    {"", BAD},
    {"2026-11-23", BAD},
    {"2026-11-23T06:37:00", BAD},
    {"2026-11-23 06:37:00Z", BAD},
    {"2026-11-23T06:37:00.Z", BAD},
    {"2026-11-23T06:37:00ZZ", BAD},
    {"2026-11-23T06:37:00+0100", BAD},
    {"2026-11-23T06:37:00+24:00", BAD},
    {"2026-11-23T06:37:00+01:60", BAD},
    {"2026-11-23T06:37:00+01:00x", BAD},
    {"2026-02-29T00:00:00Z", BAD},
    {"2100-02-29T00:00:00Z", BAD},
    {"2026-00-10T00:00:00Z", BAD},
    {"2026-13-10T00:00:00Z", BAD},
    {"2026-01-00T00:00:00Z", BAD},
    {"2026-04-31T00:00:00Z", BAD},
    {"2026-04-30T24:00:00Z", BAD},
    {"2026-04-30T00:60:00Z", BAD},
    {"2026-04-30T00:00:61Z", BAD},
    {"+026-04-30T00:00:00Z", BAD},
    {"2026-4-30T00:00:00Z", BAD},
    {"12026-04-30T00:00:00Z", BAD},
};

static const struct {
    const char *s;
    int64_t wall_us;
} http[] = {
    {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777 * (int64_t)S},
    {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777 * (int64_t)S},
    {"Sun Nov  6 08:49:37 1994", 784111777 * (int64_t)S},
    {"Wed Nov 16 08:49:37 1994", 784975777 * (int64_t)S},
    {"Monday, 23-Nov-26 06:37:00 GMT", 1795415820 * (int64_t)S},
    {"Friday, 01-Jan-76 00:00:00 GMT", 3345062400 * (int64_t)S}, /* in 50 years: still ahead */
    {"Saturday, 01-Jan-77 00:00:00 GMT", 220924800 * (int64_t)S},
    {"Sun, 06 Nov 1994 08:49:37 UTC", BAD},
    {"Sun, 06 Nov 1994 08:49:37", BAD},
    {"Sun, 6 Nov 1994 08:49:37 GMT", BAD},
    {"sun, 06 Nov 1994 08:49:37 GMT", BAD},
    {"Sun, 06 Nop 1994 08:49:37 GMT", BAD},
    {"Sun, 31 Nov 1994 08:49:37 GMT", BAD},
    {"Sun, 06 Nov 1994 08:49:37 GMT ", BAD},
    {"Sun, 06 Nov 1969 08:49:37 GMT", BAD},
    {"Son, 06 Nov 1994 08:49:37 GMT", BAD},
    {"120", BAD},
    {"", BAD},
};

static void check_parse(bool (*parse)(struct str s, uint64_t *ret), const char *s,
                        int64_t expect_us)
{
    uint64_t got_us = 0;
    bool ok = parse(str_c(s), &got_us);

    if (ok != (expect_us != BAD) || (ok && got_us != (uint64_t)expect_us))
        fail_msg("%s: %d %llu", s, ok, (unsigned long long)got_us);
    /* No proper prefix is a whole date of the same moment's form; none may be read past its end. */
    for (size_t n = 0; n < strlen(s); n++)
        (void)!parse(str_head(str_c(s), n), &got_us);
}

static void test_parse(void **state)
{
    (void)state;
    clock_set_source(fake_mono, fake_wall);
    for (size_t i = 0; i < ARRAY_LEN(rfc3339); i++)
        check_parse(clock_parse_rfc3339, rfc3339[i].s, rfc3339[i].wall_us);
    for (size_t i = 0; i < ARRAY_LEN(http); i++)
        check_parse(clock_parse_http_date, http[i].s, http[i].wall_us);
    clock_set_source(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_parse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
