/* test_config.c - the configuration from every source, and every way in which it can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/config.h"
#include "config/options.h"
#include "config/parse.h"

#define KEYS "ANTHROPIC_API_KEY=sk-ant-1234", "CCPROXY_API_KEYS=client-key-1"

static char said[65536]; /* by the last load */

static struct config *load(char *const *env)
{
    struct buf problems;
    struct config *c;

    buf_init(&problems, sizeof(said) - 1);
    c = config_load(env, &problems);
    memcpy(said, buf_str(&problems).p ? buf_str(&problems).p : "", buf_len(&problems));
    said[buf_len(&problems)] = '\0';
    buf_done(&problems);
    return c;
}

static struct config *load_const(const char *const *env)
{
    char *copy[32];
    size_t n = 0;

    for (; env[n]; n++)
        copy[n] = (char *)(uintptr_t)env[n];
    copy[n] = NULL;
    return load(copy);
}

#define LOAD(...) load_const((const char *const[]){__VA_ARGS__, NULL})

/* A file with the text, removed at the end of the test. */
static const char *file(const char *text, size_t n)
{
    static char path[64];
    int fd;

    (void)snprintf(path, sizeof(path), "/tmp/ccproxy-test-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), (ssize_t)n);
    (void)close(fd);
    return path;
}

static char *variable(const char *name, const char *value)
{
    static char room[256];

    (void)snprintf(room, sizeof(room), "%s=%s", name, value);
    return room;
}

static struct config *load_yaml(const char *text)
{
    const char *path = file(text, strlen(text));
    char *const env[] = {variable("CCPROXY_CONFIG", path), NULL};
    struct config *c = load(env);

    (void)unlink(path);
    return c;
}

static void assert_text(struct str s, const char *expected)
{
    if (!str_eq(s, str_c(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", STR_FMT(s), expected);
}

static void test_defaults_parse(void **state)
{
    struct config c;
    char expected[PARSE_EXPECTED];

    (void)state;
    for (size_t i = 0; i < OPTIONS; i++)
        if (options[i].def.n && !parse_option(&options[i], options[i].def, &c, expected))
            fail_msg("%.*s is not %s", STR_FMT(options[i].name), expected);
}

static void test_defaults(void **state)
{
    struct config *c = LOAD(KEYS);

    (void)state;
    assert_non_null(c);
    assert_string_equal(said, "");
    assert_int_equal(c->port, 8000);
    assert_text(c->host, "0.0.0.0");
    assert_text(c->anthropic_base_url.host, "api.anthropic.com");
    assert_int_equal(c->anthropic_base_url.port, 443);
    assert_true(c->connect_timeout == 5000000);
    assert_true(c->max_body == 32 * 1024 * 1024);
    assert_true(c->sandbox);
    assert_false(c->strict);
    assert_null(c->ca_file.p);
    assert_int_equal(c->log_level, LOG_INFO);
    assert_int_equal(c->n_upstream_keys, 1);
    assert_text(c->upstream_keys[0], "sk-ant-1234");
    assert_int_equal(c->clients.n, 1);
    assert_text(c->clients.list[0].name, "client-1");
    assert_false(c->demo);
    config_free(c);
}

static void test_demo(void **state)
{
    struct config *c = LOAD("PATH=/bin");
    struct sha256 hash = hash_sha256(STR("sk-demo"));

    (void)state;
    assert_non_null(c);
    assert_true(c->demo);
    config_use_demo(c, 4711, STR("sk-demo"));
    assert_int_equal(c->anthropic_base_url.port, 4711);
    assert_int_equal(c->n_upstream_keys, 1);
    assert_true(clients_find(&c->clients, &hash) == &c->clients.list[0]);
    config_free(c);
}

static void test_empty_is_absent(void **state)
{
    struct config *c = LOAD("ANTHROPIC_API_KEY=", "CCPROXY_PORT=", "CCPROXY_API_KEYS=");

    (void)state;
    assert_non_null(c);
    assert_true(c->demo);
    assert_int_equal(c->port, 8000);
    config_free(c);
}

static void test_keys(void **state)
{
    struct config *c =
        LOAD("ANTHROPIC_API_KEY=key-one, key-two", "CCPROXY_API_KEYS=alice:secret-1 ,secret-22");
    struct sha256 first = hash_sha256(STR("secret-1")), second = hash_sha256(STR("secret-22"));

    (void)state;
    assert_non_null(c);
    assert_int_equal(c->n_upstream_keys, 2);
    assert_text(c->upstream_keys[1], "key-two");
    assert_int_equal(c->clients.n, 2);
    assert_text(c->clients.list[0].name, "alice");
    assert_text(c->clients.list[1].name, "client-2");
    assert_true(clients_find(&c->clients, &first) == &c->clients.list[0]);
    assert_true(clients_find(&c->clients, &second) == &c->clients.list[1]);
    config_free(c);
}

static void test_reserve(void **state)
{
    static const struct {
        const char *given;
        enum reserve reserve;
    } cases[] = {{"CCPROXY_RESERVE=usual", RESERVE_USUAL},
                 {"CCPROXY_RESERVE=bound", RESERVE_BOUND},
                 {"CCPROXY_RESERVE=lower", RESERVE_LOWER},
                 {"CCPROXY_PORT=8000", RESERVE_USUAL}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *c = LOAD(KEYS, cases[i].given);
        assert_non_null(c);
        assert_int_equal(c->reserve, cases[i].reserve);
        config_free(c);
    }
    assert_null(LOAD(KEYS, "CCPROXY_RESERVE=Bound"));
}

static void test_values(void **state)
{
    struct config *c = LOAD(KEYS, "CCPROXY_CONNECT_TIMEOUT=250ms", "CCPROXY_TOTAL_TIMEOUT=2h",
                            "CCPROXY_MAX_BODY=1MB", "CCPROXY_STRICT=YES", "CCPROXY_SANDBOX=off",
                            "CCPROXY_LOG_LEVEL=warn", "CCPROXY_LOG_FORMAT=text",
                            "CCPROXY_MODEL_MAP={\"a\": \"b\"}", "CCPROXY_HOST=unix:/run/x.sock");

    (void)state;
    assert_non_null(c);
    assert_true(c->connect_timeout == 250000);
    assert_true(c->total_timeout == INT64_C(7200000000));
    assert_true(c->max_body == 1000000);
    assert_true(c->strict);
    assert_false(c->sandbox);
    assert_int_equal(c->log_level, LOG_WARN);
    assert_int_equal(c->log_format, LOG_TEXT);
    assert_text(c->model_map, "{\"a\": \"b\"}");
    config_free(c);
}

static void test_debug_wins(void **state)
{
    struct config *c = LOAD(KEYS, "CCPROXY_DEBUG=1", "CCPROXY_LOG_LEVEL=ERROR");

    (void)state;
    assert_non_null(c);
    assert_int_equal(c->log_level, LOG_DEBUG);
    config_free(c);
}

static void test_other_programs_variables(void **state)
{
    struct config *c = LOAD(KEYS, "https_proxy=http://u:p@proxy:3128", "no_proxy=localhost");

    (void)state;
    assert_non_null(c);
    assert_text(c->https_proxy, "http://u:p@proxy:3128");
    assert_text(c->no_proxy, "localhost");
    config_free(c);
    c = LOAD(KEYS, "https_proxy=http://lower:1", "HTTPS_PROXY=http://upper:1", "ccproxy_port=1");
    assert_non_null(c);
    assert_text(c->https_proxy, "http://upper:1");
    assert_int_equal(c->port, 8000);
    config_free(c);
}

static void test_secret_file(void **state)
{
    const char *path = file("key-from-file\n", 14);
    struct config *c = LOAD("ANTHROPIC_API_KEY=k", variable("CCPROXY_API_KEYS_FILE", path));
    struct sha256 hash = hash_sha256(STR("key-from-file"));

    (void)state;
    assert_non_null(c);
    assert_int_equal(c->clients.n, 1);
    assert_true(clients_find(&c->clients, &hash) == &c->clients.list[0]);
    config_free(c);
    c = LOAD("ANTHROPIC_API_KEY=k", "CCPROXY_API_KEYS=alice:direct-key",
             variable("CCPROXY_API_KEYS_FILE", path));
    assert_non_null(c);
    assert_text(c->clients.list[0].name, "alice");
    config_free(c);
    (void)unlink(path);
}

static void test_map_file(void **state)
{
    const char *path = file("{\n\"gpt-4\": \"claude-x\"\n}\n", 24);
    char at[64];
    struct config *c;

    (void)state;
    (void)snprintf(at, sizeof(at), "@%s", path);
    c = LOAD(KEYS, variable("CCPROXY_MODEL_MAP", at));
    assert_non_null(c);
    assert_text(c->model_map, "{\n\"gpt-4\": \"claude-x\"\n}\n");
    config_free(c);
    (void)unlink(path);
}

static void test_yaml(void **state)
{
    struct config *c = load_yaml("# all kinds\n"
                                 "anthropic_api_key: [k1, k2]\n"
                                 "api_keys:\n"
                                 "  - alice:secret-11\n"
                                 "  - bob: secret-22\n"
                                 "port: 0\n"
                                 "strict: yes\n"
                                 "ca_file: ~\n"
                                 "https_proxy: http://proxy:1\n"
                                 "model_map: {gpt-4: claude-x, 'a\"b': claude-y}\n");

    (void)state;
    assert_string_equal(said, "");
    assert_non_null(c);
    assert_int_equal(c->n_upstream_keys, 2);
    assert_int_equal(c->clients.n, 2);
    assert_text(c->clients.list[0].name, "alice");
    assert_text(c->clients.list[1].name, "bob");
    assert_int_equal(c->port, 0);
    assert_true(c->strict);
    assert_null(c->ca_file.p);
    assert_text(c->model_map, "{\"gpt-4\":\"claude-x\",\"a\\\"b\":\"claude-y\"}");
    config_free(c);
}

static void test_empty_yaml(void **state)
{
    struct config *c = load_yaml("# nothing\n");

    (void)state;
    assert_non_null(c);
    assert_true(c->demo);
    config_free(c);
}

static void test_environment_wins(void **state)
{
    const char *path = file("port: 1\nretries: 3\n", 19);
    struct config *c = LOAD(KEYS, "CCPROXY_PORT=2", variable("CCPROXY_CONFIG", path));

    (void)state;
    assert_non_null(c);
    assert_int_equal(c->port, 2);
    assert_int_equal(c->retries, 3);
    config_free(c);
    (void)unlink(path);
}

/* The fault is one line, and the whole of it is given. */
static void test_faults(void **state)
{
    static const struct {
        const char *env, *line;
    } cases[] = {
        {"CCPROXY_PORT=70000", "CCPROXY_PORT: \"70000\" is not a number from 0 to 65535\n"},
        {"CCPROXY_PORT=-1", "CCPROXY_PORT: \"-1\" is not a number from 0 to 65535\n"},
        {"CCPROXY_PORT=80 ", "CCPROXY_PORT: \"80 \" is not a number from 0 to 65535\n"},
        {"CCPROXY_MAX_BODY=1",
         "CCPROXY_MAX_BODY: \"1\" is not a size like 32MiB of at least 1024\n"},
        {"CCPROXY_MAX_BODY=9999999999GiB",
         "CCPROXY_MAX_BODY: \"9999999999GiB\" is not a size like 32MiB of at least 1024\n"},
        {"CCPROXY_CONNECT_TIMEOUT=5",
         "CCPROXY_CONNECT_TIMEOUT: \"5\" is not a duration like 10s or 250ms of at least 1ms\n"},
        {"CCPROXY_DRAIN_DELAY=400000h",
         "CCPROXY_DRAIN_DELAY: \"400000h\" is not a duration like 10s or 250ms\n"},
        {"CCPROXY_STRICT=maybe", "CCPROXY_STRICT: \"maybe\" is not true or false\n"},
        {"CCPROXY_LOG_LEVEL=LOUD",
         "CCPROXY_LOG_LEVEL: \"LOUD\" is not ERROR, WARN, INFO or DEBUG\n"},
        {"CCPROXY_LOG_FORMAT=xml", "CCPROXY_LOG_FORMAT: \"xml\" is not json or text\n"},
        {"ANTHROPIC_BASE_URL=ftp://x",
         "ANTHROPIC_BASE_URL: \"ftp://x\" is not an address like https://host[:port][/path]\n"},
        {"ANTHROPIC_BASE_URL=https://u:pw@x",
         "ANTHROPIC_BASE_URL: the value is not an address like https://host[:port][/path]\n"},
        {"CCPROXY_HOST=localhost",
         "CCPROXY_HOST: \"localhost\" is not an IPv4 or IPv6 address or unix:/path\n"},
        {"CCPROXY_DNS_SERVERS=1.1.1.1,x", "CCPROXY_DNS_SERVERS: \"x\" is not an address[:port]\n"},
        {"CCPROXY_DNS_SERVERS=1.1.1.1:0",
         "CCPROXY_DNS_SERVERS: \"1.1.1.1:0\" is not an address[:port]\n"},
        {"HTTPS_PROXY=https://x",
         "HTTPS_PROXY: is not an address like http://[user:password@]host:port\n"},
        {"CCPROXY_MODEL_MAP=[]",
         "CCPROXY_MODEL_MAP: \"[]\" is not a JSON object whose values are all names\n"},
        {"CCPROXY_MODEL_MAP={\"a\":1}",
         "CCPROXY_MODEL_MAP: \"{\"a\":1}\" is not a JSON object whose values are all names\n"},
        {"CCPROXY_DEFAULT_MODEL=a\x1b[0m",
         "CCPROXY_DEFAULT_MODEL: the value holds control characters or is not UTF-8\n"},
        {"CCPROXY_DEFAULT_MODEL=\xff",
         "CCPROXY_DEFAULT_MODEL: the value holds control characters or is not UTF-8\n"},
        {"CCPROXY_CA_FILE=/no/such/file",
         "CCPROXY_CA_FILE: \"/no/such/file\" cannot be read: No such file or directory\n"},
        {"CCPROXY_CLIENT_CERT=/dev/null",
         "CCPROXY_CLIENT_CERT: needs CCPROXY_CLIENT_KEY as well\n"},
        {"CCPROXY_CLIENT_KEY=/dev/null", "CCPROXY_CLIENT_KEY: needs CCPROXY_CLIENT_CERT as well\n"},
        {"CCPROXY_USER_FILE=/no/such/file",
         "CCPROXY_USER_FILE: \"/no/such/file\" cannot be read: No such file or directory\n"},
        {"CCPROXY_CONFIG=/no/such/file",
         "CCPROXY_CONFIG: \"/no/such/file\" cannot be read: No such file or directory\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_null(LOAD(KEYS, cases[i].env));
        assert_string_equal(said, cases[i].line);
    }
}

static void test_key_faults(void **state)
{
    static const struct {
        const char *upstream, *clients, *line;
    } cases[] = {
        {"", "a-client-key", "ANTHROPIC_API_KEY: is required: the upstream's key\n"},
        {"k", "", "CCPROXY_API_KEYS: is required: keys for your clients, separated by commas\n"},
        {"k", "short", "CCPROXY_API_KEYS: key 1 is shorter than 8 characters\n"},
        {"k", "12345678,a:12345678",
         "CCPROXY_API_KEYS: clients \"client-1\" and \"a\" have the same key\n"},
        {"k", "12345678,", "CCPROXY_API_KEYS: key 2 is shorter than 8 characters\n"},
        {"k", "a b:12345678",
         "CCPROXY_API_KEYS: key 1: a client's name is not 1 to 64 letters, digits, '.', '_', "
         "'-' or '@'\n"},
        {"k", ":12345678",
         "CCPROXY_API_KEYS: key 1: a client's name is not 1 to 64 letters, digits, '.', '_', "
         "'-' or '@'\n"},
        {"k", "1234 5678",
         "CCPROXY_API_KEYS: key 1 holds a space or a character that no header can carry\n"},
        {"k,,l", "12345678", "ANTHROPIC_API_KEY: key 2 is empty or no key\n"},
        {"k,k", "12345678", "ANTHROPIC_API_KEY: keys 1 and 2 are the same\n"},
        {"k\xc3\xa4", "12345678", "ANTHROPIC_API_KEY: key 1 is empty or no key\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char upstream[64], clients[64];

        (void)snprintf(upstream, sizeof(upstream), "ANTHROPIC_API_KEY=%s", cases[i].upstream);
        (void)snprintf(clients, sizeof(clients), "CCPROXY_API_KEYS=%s", cases[i].clients);
        assert_null(LOAD(upstream, clients));
        assert_string_equal(said, cases[i].line);
    }
}

/* Another upstream is not the demo: both keys are asked for, in one go. */
static void test_own_upstream_needs_keys(void **state)
{
    (void)state;
    assert_null(LOAD("ANTHROPIC_BASE_URL=http://127.0.0.1:9"));
    assert_string_equal(said, "ANTHROPIC_API_KEY: is required: the upstream's key\n"
                              "CCPROXY_API_KEYS: is required: keys for your clients, separated by "
                              "commas\n");
}

static void test_yaml_faults(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"prt: 1\n", ":1: prt: there is no such option; did you mean port?\n"},
        {"zzzzzzzzz: 1\n", ":1: zzzzzzzzz: there is no such option\n"},
        {"port: 1\nport: 2\n", ":2: port: stands there twice\n"},
        {"\nport: x\n", ":2: port: \"x\" is not a number from 0 to 65535\n"},
        {"port: [1]\n", ":1: port: one value was expected, not a list or a mapping\n"},
        {"- port\n", ":1: the file must be lines of \"option: value\"\n"},
        {"port: {\n", "CCPROXY_CONFIG: /tmp/"},
        {"port: 1\n---\nport: 2\n", ": a second document begins here\n"},
        {"api_keys: [[a]]\n", ":1: one value was expected here\n"},
        {"api_keys: ['a,b']\n", ":1: api_keys: an entry is empty, holds a comma or is too long\n"},
        {"config: /etc/x\n", ":1: config: a configuration file cannot name another\n"},
        {"api_keys_file: /no/such\n",
         ":1: api_keys_file: \"/no/such\" cannot be read: No such file or directory\n"},
        {"model_map: {a: []}\n",
         ":1: model_map: \"{\"a\":[]}\" is not a JSON object whose values are all names\n"},
        {"clients: {a: {b: {c: {d: {e: {f: {g: {h: {i: {j: 1}}}}}}}}}}\n",
         ":1: nested too deeply\n"},
        {"clients: [a]\n", ":1: clients: one value was expected, not a list or a mapping\n"},
        {"clients: {a: {hash: x}}\n",
         ":1: clients: client \"a\": hash is not like sha256: and 64 hex digits; ccproxy keys mint "
         "makes it\n"},
        {"model_map: {a: ~}\n", ":1: model_map: "},
        {"\xff\xfe: 1\n", "CCPROXY_CONFIG: /tmp/"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_null(load_yaml(cases[i].text));
        if (!strstr(said, cases[i].part))
            fail_msg("case %zu said: %s", i, said);
    }
}

static void test_yaml_size(void **state)
{
    size_t n = 1024 * 1024 + 1;
    char *text = mem_alloc(n + 1);

    (void)state;
    memset(text, '#', n);
    text[n] = '\0';
    assert_null(load_yaml(text));
    assert_non_null(strstr(said, "cannot be read: it is larger than 1 MiB\n"));
    mem_free(text);
}

static void test_file_with_nul(void **state)
{
    const char *path = file("long-enough\0key", 15);

    (void)state;
    assert_null(LOAD("ANTHROPIC_API_KEY=k", variable("CCPROXY_API_KEYS_FILE", path)));
    assert_string_equal(said, "CCPROXY_API_KEYS_FILE: the value holds control characters or is not "
                              "UTF-8\n");
    (void)unlink(path);
}

static void test_unknown_names(void **state)
{
    static const struct {
        const char *env, *line;
    } cases[] = {
        {"CCPROXY_PROT=1", "CCPROXY_PROT: there is no such option; did you mean CCPROXY_PORT?\n"},
        {"CCPROXY_API_KEY_FILE=x",
         "CCPROXY_API_KEY_FILE: there is no such option; did you mean CCPROXY_API_KEYS_FILE?\n"},
        {"CCPROXY_COMPLETELY_DIFFERENT_THING=1",
         "CCPROXY_COMPLETELY_DIFFERENT_THING: there is no such option\n"},
        {"CCPROXYX=1", ""},
        {"OTHER=1", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *c = LOAD(KEYS, cases[i].env);

        assert_non_null(c);
        assert_string_equal(said, cases[i].line);
        config_free(c);
    }
}

/* All faults at once, and none of them tells a secret. */
static void test_no_secret_is_told(void **state)
{
    static const char *const secrets[] = {"tell\x01me", "hunter2", "word"};

    (void)state;
    assert_null(LOAD("ANTHROPIC_API_KEY=tell\x01me", "HTTPS_PROXY=http://u:hunter2\x02@x",
                     "ANTHROPIC_BASE_URL=gopher://u:word@x", "CCPROXY_PORT=x"));
    assert_non_null(strstr(said, "CCPROXY_PORT: "));
    assert_non_null(strstr(said, "ANTHROPIC_API_KEY: "));
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
        assert_null(strstr(said, secrets[i]));
}

static void test_print(void **state)
{
    struct config *c = LOAD(KEYS, "CCPROXY_PORT=99", "HTTPS_PROXY=http://u:hunter2@x:1");
    struct buf out;

    (void)state;
    assert_non_null(c);
    buf_init(&out, 65536);
    config_print(c, &out);
    buf_append(&out, str_of("", 1));
    assert_non_null(strstr(buf_str(&out).p, "CCPROXY_PORT                 99  "));
    assert_non_null(strstr(buf_str(&out).p, "(hidden)                     environment\n"));
    assert_null(strstr(buf_str(&out).p, "hunter2"));
    assert_null(strstr(buf_str(&out).p, "client-key-1"));
    buf_done(&out);
    config_free(c);
}

static void test_help_names_everything(void **state)
{
    struct buf help, markdown;

    (void)state;
    buf_init(&help, 65536);
    buf_init(&markdown, 65536);
    config_help(&help);
    config_markdown(&markdown);
    for (size_t i = 0; i < OPTIONS; i++) {
        assert_true(str_find_str(buf_str(&help), options[i].name) < buf_len(&help));
        assert_true(str_find_str(buf_str(&markdown), options[i].text) < buf_len(&markdown));
    }
    buf_done(&help);
    buf_done(&markdown);
}

static void test_wipe_env(void **state)
{
    char key[] = "ANTHROPIC_API_KEY=secret", port[] = "CCPROXY_PORT=1";
    char *const env[] = {key, port, NULL};

    (void)state;
    config_wipe_env(env);
    assert_null(memmem(key, sizeof(key), "secret", 6));
    assert_string_equal(port, "CCPROXY_PORT=1");
}

static int nothing_is_left(void **state)
{
    (void)state;
    return mem_live() == 0 ? 0 : -1;
}

#define TEST(fn) cmocka_unit_test_teardown(fn, nothing_is_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults_parse),
        TEST(test_defaults),
        TEST(test_demo),
        TEST(test_empty_is_absent),
        TEST(test_keys),
        TEST(test_reserve),
        TEST(test_values),
        TEST(test_debug_wins),
        TEST(test_other_programs_variables),
        TEST(test_secret_file),
        TEST(test_map_file),
        TEST(test_yaml),
        TEST(test_empty_yaml),
        TEST(test_environment_wins),
        TEST(test_faults),
        TEST(test_key_faults),
        TEST(test_own_upstream_needs_keys),
        TEST(test_yaml_faults),
        TEST(test_yaml_size),
        TEST(test_file_with_nul),
        TEST(test_unknown_names),
        TEST(test_no_secret_is_told),
        TEST(test_print),
        TEST(test_help_names_everything),
        TEST(test_wipe_env),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
