/* test_cli.c - the command line: every command, every option, and what is said to the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/cli.h"

enum { ARGS_MAX = 12 };

static bool parse(const char *line, struct cli *cli, char error[CLI_ERROR])
{
    static char text[256];
    char *argv[ARGS_MAX + 1] = {(char *)(uintptr_t) "ccproxy"};
    struct str rest, arg;
    int argc = 1;

    (void)snprintf(text, sizeof(text), "%s", line);
    rest = text[0] ? str_c(text) : STR_NONE;
    while (str_split(&rest, ' ', &arg)) {
        argv[argc] = (char *)(uintptr_t)arg.p;
        argv[argc++][arg.n] = '\0';
        assert_true(argc < ARGS_MAX);
    }
    return cli_parse(argc, argv, cli, error);
}

static void test_commands(void **state)
{
    static const struct {
        const char *line;
        enum cli_command command;
    } cases[] = {
        {"", CLI_SERVE},
        {"serve", CLI_SERVE},
        {"check", CLI_CHECK},
        {"help", CLI_HELP},
        {"--help", CLI_HELP},
        {"-h", CLI_HELP},
        {"version", CLI_VERSION},
        {"--version", CLI_VERSION},
        {"-V", CLI_VERSION},
        {"simulate", CLI_SIMULATE},
        {"models", CLI_MODELS},
        {"keys list", CLI_KEYS_LIST},
        {"keys hash", CLI_KEYS_HASH},
        {"keys mint --name=a", CLI_KEYS_MINT},
        {"token verify", CLI_TOKEN_VERIFY},
        {"token verify --file /run/token", CLI_TOKEN_VERIFY},
    };
    struct cli cli;
    char error[CLI_ERROR];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(parse(cases[i].line, &cli, error));
        assert_int_equal(cli.command, cases[i].command);
    }
}

static void test_simulate(void **state)
{
    struct cli cli;
    char error[CLI_ERROR];

    (void)state;
    assert_true(parse("simulate", &cli, error));
    assert_true(str_eq(cli.host, STR("127.0.0.1")));
    assert_int_equal(cli.port, 0);
    assert_true(parse("simulate --port=99 --host ::1 --event-delay 10ms --first-delay=1s "
                      "--answer-tokens 5 --control",
                      &cli, error));
    assert_int_equal(cli.port, 99);
    assert_true(str_eq(cli.host, STR("::1")));
    assert_int_equal(cli.event_delay_us, 10000);
    assert_int_equal(cli.first_delay_us, 1000000);
    assert_int_equal(cli.answer_tokens, 5);
    assert_true(cli.control);
}

static void test_errors(void **state)
{
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"chekc", "there is no command \"chekc\"; did you mean check?"},
        {"frobnicate", "there is no command \"frobnicate\"; see ccproxy --help"},
        {"--port", "there is no option \"--port\"; see ccproxy --help"},
        {"check --port", "there is no option \"--port\"; see ccproxy --help"},
        {"simulate --prot 1", "there is no option \"--prot\"; did you mean --port?"},
        {"simulate --port", "--port: \"\" is not a number from 0 to 65535"},
        {"simulate --port 65536", "--port: \"65536\" is not a number from 0 to 65535"},
        {"simulate --event-delay 10", "--event-delay: \"10\" is not a duration like 10s or 250ms"},
        {"simulate --host=", "--host: \"\" is not a text"},
        {"simulate --control=yes", "--control takes no value"},
        /* a token on the command line could be read by anybody on the machine */
        {"token verify eyJ0b2tlbg", "there is no option \"eyJ0b2tlbg\"; see ccproxy --help"},
    };
    struct cli cli;
    char error[CLI_ERROR];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_false(parse(cases[i].line, &cli, error));
        assert_string_equal(error, cases[i].error);
    }
}

static void test_help(void **state)
{
    static const char *const words[] = {"simulate", "--event-delay TIME", "CCPROXY_PORT (8000)"};
    struct buf out;

    (void)state;
    buf_init(&out, 65536);
    cli_help(&out);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        assert_true(str_find_str(buf_str(&out), str_c(words[i])) < buf_len(&out));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_simulate),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_help),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
