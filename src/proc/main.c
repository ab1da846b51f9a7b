/* main.c - picks the command. Exit status: 0 done, 1 failed, 2 wrongly called; token.h has one more.
 */
#include <signal.h>
#include <unistd.h>

#include "ccproxy_version.h"
#include "config/config.h"
#include "proc/catalog.h"
#include "proc/cli.h"
#include "proc/keys.h"
#include "proc/master.h"
#include "proc/simulate.h"
#include "proc/token.h"
#include "proc/top.h"
#include "proc/usage.h"

enum { TEXT_MAX = 1024 * 1024 };

static int print(struct buf *text)
{
    struct str s = buf_str(text);
    bool ok = fwrite(s.p, 1, s.n, stdout) == s.n && fflush(stdout) == 0;

    buf_done(text);
    return ok ? 0 : 1;
}

static int help(bool markdown)
{
    struct buf text;

    buf_init(&text, TEXT_MAX);
    if (markdown)
        config_markdown(&text);
    else
        cli_help(&text);
    return print(&text);
}

static int check(void)
{
    struct buf problems, text;
    struct config *c;

    buf_init(&problems, TEXT_MAX);
    buf_init(&text, TEXT_MAX);
    c = config_load(environ, &problems);
    (void)fprintf(stderr, "%.*s", STR_FMT(buf_str(&problems)));
    buf_done(&problems);
    if (!c)
        return 1;
    config_print(c, &text);
    config_free(c);
    return print(&text);
}

int main(int argc, char **argv)
{
    struct cli cli;
    char error[CLI_ERROR];

    (void)signal(SIGPIPE, SIG_IGN);
    if (!cli_parse(argc, argv, &cli, error)) {
        (void)fprintf(stderr, "ccproxy: %s\n", error);
        return 2;
    }
    switch (cli.command) {
    case CLI_SERVE: return master_run();
    case CLI_CHECK: return check();
    case CLI_KEYS_MINT: return keys_mint(&cli);
    case CLI_KEYS_HASH: return keys_hash();
    case CLI_KEYS_LIST: return keys_list();
    case CLI_TOKEN_VERIFY: return token_verify(&cli);
    case CLI_MODELS: return catalog_print();
    case CLI_USAGE: return usage_command(&cli);
    case CLI_TOP: return top_command(&cli);
    case CLI_SIMULATE: return simulate_command(&cli);
    case CLI_HELP: return help(cli.markdown);
    case CLI_VERSION: return printf("ccproxy %s\n", CCPROXY_VERSION) > 0 ? 0 : 1;
    }
    UNREACHABLE();
}
