/* cli.c - one table of commands and one of their options; the help is those tables read aloud.
 *
 * Everything that belongs to the gateway itself is configuration (options.def), not command line,
 * so that there is one way to set it. Values are read with the configuration's own parsers.
 */
#include "proc/cli.h"

#include "config/config.h"
#include "config/parse.h"

enum { NEAR = 4 };

struct command {
    struct str name;
    enum cli_command id;
    const char *text;
};

static const struct command commands[] = {
    {STR_INIT("serve"), CLI_SERVE, "Run the gateway; also without any command."},
    {STR_INIT("check"), CLI_CHECK, "Check the configuration, and print what is in force."},
    {STR_INIT("keys mint"), CLI_KEYS_MINT,
     "Make a key: it is printed once, and what to write into CCPROXY_CLIENTS."},
    {STR_INIT("keys hash"), CLI_KEYS_HASH, "Read a key from standard input, print its hash."},
    {STR_INIT("keys list"), CLI_KEYS_LIST, "Print the clients of the configuration."},
    {STR_INIT("token verify"), CLI_TOKEN_VERIFY,
     "Read a key or token from standard input, say whether it lets in, whom, and why not."},
    {STR_INIT("models"), CLI_MODELS, "Print the table of models and the names that mean them."},
    {STR_INIT("usage"), CLI_USAGE,
     "Print requests, tokens and cost from the usage database, days in UTC."},
    {STR_INIT("top"), CLI_TOP, "Show a running server, live; q quits, w changes the window."},
    {STR_INIT("simulate"), CLI_SIMULATE,
     "Run the Claude simulator alone, as an upstream for tests."},
    {STR_INIT("help"), CLI_HELP, "Print this text; also --help."},
    {STR_INIT("version"), CLI_VERSION, "Print the version; also --version."},
};

struct alias {
    struct str name;
    enum cli_command id;
};

static const struct alias aliases[] = {
    {STR_INIT("--help"), CLI_HELP},
    {STR_INIT("-h"), CLI_HELP},
    {STR_INIT("--version"), CLI_VERSION},
    {STR_INIT("-V"), CLI_VERSION},
};

struct cli_option {
    enum cli_command command;
    struct str name;

    enum { FLAG, NUMBER, DURATION, TEXT } type;

    int64_t min, max;
    size_t offset;
    const char *value, *text;
};

static const struct cli_option cli_options[] = {
    {CLI_KEYS_MINT, STR_INIT("--name"), TEXT, 0, 0, offsetof(struct cli, name), " NAME",
     "The client's name, in logs and records."},
    {CLI_KEYS_MINT, STR_INIT("--rights"), TEXT, 0, 0, offsetof(struct cli, rights), " LIST",
     "Of chat, models, stats, metrics, admin; chat,models."},
    {CLI_KEYS_MINT, STR_INIT("--expires"), TEXT, 0, 0, offsetof(struct cli, expires), " TIME",
     "Like 2027-01-31T00:00:00Z; never."},
    {CLI_TOKEN_VERIFY, STR_INIT("--file"), TEXT, 0, 0, offsetof(struct cli, file), " PATH",
     "Read it from a file. Exit: 0 let in, 1 refused, 3 not to be told."},
    {CLI_TOP, STR_INIT("--url"), TEXT, 0, 0, offsetof(struct cli, url), " URL",
     "Where it is; by default where the configuration says."},
    {CLI_TOP, STR_INIT("--once"), FLAG, 0, 0, offsetof(struct cli, once), "",
     "One page of plain text; also where there is no terminal."},
    {CLI_SIMULATE, STR_INIT("--host"), TEXT, 0, 0, offsetof(struct cli, host), " ADDRESS",
     "Address to listen on; 127.0.0.1."},
    {CLI_SIMULATE, STR_INIT("--port"), NUMBER, 0, 65535, offsetof(struct cli, port), " N",
     "Port to listen on; 0, the default, takes a free one."},
    {CLI_SIMULATE, STR_INIT("--event-delay"), DURATION, 0, 0, offsetof(struct cli, event_delay_us),
     " TIME", "Between two events of a stream, like 10ms."},
    {CLI_SIMULATE, STR_INIT("--first-delay"), DURATION, 0, 0, offsetof(struct cli, first_delay_us),
     " TIME", "Before the head of an answer."},
    {CLI_SIMULATE, STR_INIT("--answer-tokens"), NUMBER, 0, 1000000,
     offsetof(struct cli, answer_tokens), " N", "Words of an answer; 0 is as the answer is."},
    {CLI_SIMULATE, STR_INIT("--control"), FLAG, 0, 0, offsetof(struct cli, control), "",
     "Serve /_sim/, where answers and faults are scripted."},
    {CLI_USAGE, STR_INIT("--by"), TEXT, 0, 0, offsetof(struct cli, by), " LIST",
     "A row for each day, client, model, or combination: day,client; day."},
    {CLI_USAGE, STR_INIT("--since"), TEXT, 0, 0, offsetof(struct cli, since), " DAY",
     "From that day on, like 2026-11-23, or 7d for days ago; 29d."},
    {CLI_USAGE, STR_INIT("--until"), TEXT, 0, 0, offsetof(struct cli, until), " DAY",
     "Up to that day."},
    {CLI_USAGE, STR_INIT("--client"), TEXT, 0, 0, offsetof(struct cli, client), " NAME",
     "Only that client's."},
    {CLI_USAGE, STR_INIT("--model"), TEXT, 0, 0, offsetof(struct cli, model), " ID",
     "Only that model's."},
    {CLI_USAGE, STR_INIT("--db"), TEXT, 0, 0, offsetof(struct cli, db), " PATH|URL",
     "The database; what CCPROXY_DB says."},
    {CLI_USAGE, STR_INIT("--json"), FLAG, 0, 0, offsetof(struct cli, json), "",
     "For programs, costs in millionths of a dollar."},
    {CLI_USAGE, STR_INIT("--csv"), FLAG, 0, 0, offsetof(struct cli, csv), "", "For spreadsheets."},
    {CLI_HELP, STR_INIT("--markdown"), FLAG, 0, 0, offsetof(struct cli, markdown), "",
     "The configuration as docs/configuration.md."},
};

static void print_options(struct buf *out, enum cli_command command)
{
    for (size_t i = 0; i < ARRAY_LEN(cli_options); i++) {
        const struct cli_option *o = &cli_options[i];
        char left[64];

        if (o->command != command)
            continue;
        (void)snprintf(left, sizeof(left), "%.*s%s", STR_FMT(o->name), o->value);
        buf_printf(out, "      %-22s %s\n", left, o->text);
    }
}

void cli_help(struct buf *out)
{
    buf_lit(out, "ccproxy - any OpenAI client, answered by Claude.\n\n"
                 "usage: ccproxy [command] [options]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        buf_printf(out, "  %-12.*s %s\n", STR_FMT(commands[i].name), commands[i].text);
        print_options(out, commands[i].id);
    }
    buf_lit(out,
            "\nWithout an upstream key and client keys it runs a demo on the simulator.\n"
            "Configuration: these environment variables; NAME_FILE names a file that holds the\n"
            "value; CCPROXY_CONFIG names a YAML file. In brackets is the default.\n");
    config_help(out);
}

static bool fail(char error[CLI_ERROR], const char *what, struct str name, struct str near)
{
    if (near.n)
        (void)snprintf(error, CLI_ERROR, "there is no %s \"%.*s\"; did you mean %.*s?", what,
                       STR_FMT(name), STR_FMT(near));
    else
        (void)snprintf(error, CLI_ERROR, "there is no %s \"%.*s\"; see ccproxy --help", what,
                       STR_FMT(name));
    return false;
}

/* The first command of two words that begins with this one, or absent. */
static struct str with_second_word(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (str_starts(commands[i].name, name) && commands[i].name.n > name.n &&
            commands[i].name.p[name.n] == ' ')
            return commands[i].name;
    return STR_NONE;
}

static bool find_command(struct str name, enum cli_command *ret, char error[CLI_ERROR])
{
    struct str near = with_second_word(name);
    size_t near_distance = NEAR;

    for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
        if (str_eq(aliases[i].name, name)) {
            *ret = aliases[i].id;
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        size_t d = str_distance(name, commands[i].name, near_distance);

        if (str_eq(commands[i].name, name)) {
            *ret = commands[i].id;
            return true;
        }
        if (d < near_distance) {
            near = commands[i].name;
            near_distance = d;
        }
    }
    return fail(error, str_starts(name, STR("-")) ? "option" : "command", name, near);
}

static const struct cli_option *find_option(enum cli_command command, struct str name,
                                            char error[CLI_ERROR])
{
    struct str near = STR_NONE;
    size_t near_distance = NEAR;

    for (size_t i = 0; i < ARRAY_LEN(cli_options); i++) {
        const struct cli_option *o = &cli_options[i];
        size_t d = str_distance(name, o->name, near_distance);

        if (o->command != command)
            continue;
        if (str_eq(o->name, name))
            return o;
        if (d < near_distance) {
            near = o->name;
            near_distance = d;
        }
    }
    (void)fail(error, "option", name, near);
    return NULL;
}

static bool put(const struct cli_option *o, struct str value, struct cli *cli)
{
    char *field = (char *)cli + o->offset;
    int64_t n = 0;
    bool on = true;

    switch (o->type) {
    case FLAG: memcpy(field, &on, sizeof(on)); return true;
    case TEXT: memcpy(field, &value, sizeof(value)); return value.n > 0;
    case DURATION:
        if (!parse_duration(value, &n))
            return false;
        break;
    case NUMBER:
        if (!str_to_i64(value, &n) || n < o->min || n > o->max)
            return false;
        break;
    }
    memcpy(field, &n, sizeof(n));
    return true;
}

static bool wrong_value(const struct cli_option *o, struct str value, char error[CLI_ERROR])
{
    char what[64];

    if (o->type == NUMBER)
        (void)snprintf(what, sizeof(what), "a number from %lld to %lld", (long long)o->min,
                       (long long)o->max);
    else
        (void)snprintf(what, sizeof(what), "%s",
                       o->type == DURATION ? "a duration like 10s or 250ms" : "a text");
    (void)snprintf(error, CLI_ERROR, "%.*s: \"%.*s\" is not %s", STR_FMT(o->name), STR_FMT(value),
                   what);
    return false;
}

/* "--name value" or "--name=value"; *at moves behind what was used. */
static bool take_option(int argc, char *const *argv, int *at, struct cli *cli,
                        char error[CLI_ERROR])
{
    struct str arg = str_c(argv[(*at)++]);
    size_t equals = str_find(arg, '=');
    const struct cli_option *o = find_option(cli->command, str_head(arg, equals), error);
    struct str value = STR_NONE;

    if (!o)
        return false;
    if (equals < arg.n)
        value = str_skip(arg, equals + 1);
    else if (o->type != FLAG && *at < argc)
        value = str_c(argv[(*at)++]);
    if (o->type == FLAG && value.p) {
        (void)snprintf(error, CLI_ERROR, "%.*s takes no value", STR_FMT(o->name));
        return false;
    }
    return put(o, value, cli) || wrong_value(o, value, error);
}

bool cli_parse(int argc, char *const *argv, struct cli *ret, char error[CLI_ERROR])
{
    int at = 1;

    *ret = (struct cli){.command = CLI_SERVE, .host = STR("127.0.0.1")};
    if (argc <= 1)
        return true;
    struct str name = str_c(argv[at++]);
    char words[64];
    if (with_second_word(name).p && at < argc) {
        int n = snprintf(words, sizeof(words), "%.*s %s", STR_FMT(name), argv[at++]);
        name = str_of(words, size_min((size_t)n, sizeof(words) - 1));
    }
    if (!find_command(name, &ret->command, error))
        return false;
    while (at < argc)
        if (!take_option(argc, argv, &at, ret, error))
            return false;
    return true;
}
