/* test_ledger_url.c - addresses of databases: which are taken, and that none is shown with its
 * password. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/ledger_url.h"

static void test_shown(void **state)
{
    static const char *const cases[][2] = {
        {"postgresql://alice:secret@db.example:5432/usage?sslmode=require&password=secret",
         "postgresql://alice@db.example:5432/usage"},
        {"postgres://alice@db.example/usage", "postgres://alice@db.example/usage"},
        {"postgres://:secret@one:1,two:2/usage", "postgres://@one:1,two:2/usage"},
        {"postgresql://a:b%40c@[::1]:5432", "postgresql://a@[::1]:5432"},
        {"postgresql:///usage?host=/run/postgresql", "postgresql:///usage"},
        {"postgresql://u:secret@[::1]", "postgresql://u@[::1]"},
        {"/var/lib/ccproxy/usage.db", "/var/lib/ccproxy/usage.db"},
    };
    char out[LEDGER_SHOWN];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (ledger_is_url(str_c(cases[i][0])))
            assert_null(ledger_url_fault(str_c(cases[i][0])));
        assert_string_equal(ledger_shown(str_c(cases[i][0]), out), cases[i][1]);
    }
}

/* Whatever of these is a password, no complaint repeats it. */
static void test_faults(void **state)
{
    static const char *const cases[] = {
        "postgres://u:secret@x@host/db",   "postgres://u:secret/x@host/db",
        "postgres://u:secret?x@host/db",   "postgres://host:secret/db",
        "postgres://u:se cret@host/db",    "postgres://u:secret\n@host/db",
        "postgres://u:p@host:0/secret",    "postgres://u:p@host:65536/secret",
        "postgres://u:p@[::1]secret/db",   "postgres://u:p@[::1/secret",
        "postgres://u:p@one:1,two:secret", "postgres://u:secr\xc3\xa9t@host",
    };
    char out[LEDGER_SHOWN];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *fault = ledger_url_fault(str_c(cases[i]));
        if (!fault)
            fail_msg("%s is taken", cases[i]);
        assert_null(strstr(fault, "secr"));
        assert_string_equal(ledger_shown(str_c(cases[i]), out), "postgres://...");
    }
}

static void test_kinds(void **state)
{
    (void)state;
    assert_true(ledger_is_url(STR("postgres://")));
    assert_true(ledger_is_url(STR("postgresql://host/db")));
    assert_false(ledger_is_url(STR("postgresql:/host/db")));
    assert_false(ledger_is_url(STR("mysql://host/db")));
    assert_false(ledger_is_url(STR("/postgres://")));
    assert_false(ledger_is_url(STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shown),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
