/* cli.h - the command line: which command, with which options. */
#ifndef CCPROXY_PROC_CLI_H
#define CCPROXY_PROC_CLI_H

#include "base/buf.h"

enum cli_command {
    CLI_SERVE,
    CLI_CHECK,
    CLI_KEYS_MINT,
    CLI_KEYS_HASH,
    CLI_KEYS_LIST,
    CLI_TOKEN_VERIFY,
    CLI_MODELS,
    CLI_USAGE,
    CLI_TOP,
    CLI_SIMULATE,
    CLI_HELP,
    CLI_VERSION,
};

struct cli {
    enum cli_command command;
    /* simulate */
    struct str host;
    int64_t port, answer_tokens;
    int64_t event_delay_us, first_delay_us;
    bool control;
    /* keys mint */
    struct str name, rights, expires;
    /* token verify */
    struct str file; /* absent: standard input */
    /* usage */
    struct str by, since, until, client, model, db;
    bool json, csv;
    /* top */
    struct str url;
    bool once;
    /* help */
    bool markdown;
};

enum { CLI_ERROR = 256 };

/* False, and one line in error, for what is no command or option; the texts stay argv's. */
NODISCARD bool cli_parse(int argc, char *const *argv, struct cli *ret, char error[CLI_ERROR]);
/* `ccproxy --help`: commands, their options, and the configuration. */
void cli_help(struct buf *out);

#endif
