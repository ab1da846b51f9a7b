/* test_clients.c - the set of clients: what is read, what is refused, who is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/auth.h"

#define HASH_A "sha256:3a3e0ba9eb0dee1ef7a2c0f9dd6b4d4bc0ec4a1ab0b76e3ee5a2d4a4d9a60f3a"

static struct clients read_all(const char *json, struct arena *a)
{
    struct clients c;
    char error[CLIENTS_ERROR] = "";
    clients_init(&c, 2, a);
    if (!clients_read(&c, str_c(json), a, error) || !clients_seal(&c, error))
        fail_msg("%s", error);
    return c;
}

static void test_reads_everything(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    struct clients c = read_all(
        "{\"ann\":{\"hash\":\"" HASH_A "\",\"rights\":[\"chat\",\"admin\"],"
        "\"models\":[\"gpt-4o\",\"claude-haiku-*\"],\"aliases\":{\"fast\":\"claude-haiku-5-5\"},"
        "\"rpm\":1,\"tpm\":2,\"concurrent_requests\":3,\"tokens_per_day\":4,\"usd_per_day\":1.5,"
        "\"usd_per_month\":20,\"not_before\":\"2026-01-01T00:00:00Z\","
        "\"expires\":\"2027-01-01T00:00:00Z\"},\"bob\":{\"rpm\":null}}",
        &a);
    assert_int_equal(c.n, 2);
    const struct client *ann = &c.list[0], *bob = &c.list[1];
    assert_int_equal(ann->rights, RIGHT_CHAT | RIGHT_STATS | RIGHT_METRICS | RIGHT_ADMIN);
    assert_int_equal(ann->limits.rpm, 1);
    assert_int_equal(ann->limits.tpm, 2);
    assert_int_equal(ann->limits.concurrent, 3);
    assert_int_equal(ann->limits.tokens_per_day, 4);
    assert_int_equal(ann->limits.usd_per_day, 1500000);
    assert_int_equal(ann->limits.usd_per_month, 20000000);
    assert_true(client_may_use(ann, STR("gpt-4o")));
    assert_true(client_may_use(ann, STR("claude-haiku-5-5")));
    assert_true(client_may_use(ann, STR("fast")));
    assert_false(client_may_use(ann, STR("gpt-4")));
    assert_false(client_may_use(ann, STR("claude-opus-5-5")));
    assert_true(client_may_use(bob, STR("anything")));
    assert_int_equal(bob->rights, RIGHTS_DEFAULT);
    assert_int_equal(bob->limits.rpm, -1);
    assert_int_equal(c.keys.n, 1);
    const int64_t jan_2026 = 1767225600, jan_2027 = 1798761600;
    assert_false(client_is_current(ann, jan_2026 - 1));
    assert_true(client_is_current(ann, jan_2026));
    assert_true(client_is_current(ann, jan_2027 - 1));
    assert_false(client_is_current(ann, jan_2027));
    arena_done(&a);
}

static struct address address_of(const char *text)
{
    struct address a = {.known = false}; /* a unix socket */
    assert_true(strcmp(text, "unix") == 0 || address_parse(str_c(text), &a));
    return a;
}

static void test_addresses(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    struct clients c = read_all("{\"ann\":{\"addresses\":[\"10.0.0.0/8\",\"2001:db8::/32\"]},"
                                "\"bob\":{\"addresses\":[\"unix\"]},\"eve\":{}}",
                                &a);

    static const struct {
        const char *from;
        bool ann, bob;
    } cases[] = {
        {"10.255.0.1", true, false}, {"11.0.0.1", false, false},   {"2001:db8::9", true, false},
        {"::1", false, false},       {"2001:db9::", false, false}, {"unix", false, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct address from = address_of(cases[i].from);
        assert_int_equal(client_may_come(&c.list[0], &from), cases[i].ann);
        assert_int_equal(client_may_come(&c.list[1], &from), cases[i].bob);
        assert_true(client_may_come(&c.list[2], &from));
    }
    arena_done(&a);
}

/* As of a token: what lets a client in is not for it to say. */
static void test_one_client(void **state)
{
    static const struct {
        const char *json, *part;
    } faults[] = {
        {"{\"hash\":\"" HASH_A "\"}", "hash is not known here"},
        {"{\"certificate\":\"dns:a\"}", "certificate is not known here"},
        {"{\"rpm\":\"5\"}", "rpm is not"},
        {"{\"rmp\":5}", "rmp is not known here"},
        {"[]", "is not an object"},
        {"\"chat\"", "is not an object"},
    };

    char error[CLIENTS_ERROR];
    struct arena a;
    struct json doc;
    (void)state;
    arena_init(&a);
    json_init(&doc);
    struct client c = {.name = STR("ann"), .rights = RIGHT_CHAT, .limits.rpm = 7, .limits.tpm = 8};
    assert_int_equal(
        json_parse(&doc, STR("{\"rights\":[\"models\"],\"models\":[\"gpt-*\"],\"rpm\":5}")),
        JSON_OK);
    assert_true(client_read_settings(&c, json_root(&doc), &a, error));
    assert_int_equal(c.rights, RIGHT_MODELS);
    assert_true(c.limits.rpm == 5 && c.limits.tpm == 8);
    assert_true(client_may_use(&c, STR("gpt-4o")) && !client_may_use(&c, STR("claude-opus-5")));
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        assert_int_equal(json_parse(&doc, str_c(faults[i].json)), JSON_OK);
        if (client_read_settings(&c, json_root(&doc), &a, error) || !strstr(error, faults[i].part))
            fail_msg("%s: %s", faults[i].json, error);
    }
    json_done(&doc);
    arena_done(&a);
}

static void test_faults(void **state)
{
    (void)state;

    static const struct {
        const char *json, *part;
    } cases[] = {
        {"[]", "not a JSON object of clients"},
        {"{", "not a JSON object of clients"},
        {"{\"a b\":{}}", "name is not"},
        {"{\"\":{}}", "name is not"},
        {"{\"a\":1}", "\"a\": its description is not an object"},
        {"{\"a\":{\"colour\":1}}", "colour is not known here"},
        {"{\"a\":{\"hash\":\"sha256:12\"}}", "hash is not"},
        {"{\"a\":{\"hash\":\"plain key\"}}", "hash is not"},
        {"{\"a\":{\"hash\":[1]}}", "hash is not"},
        {"{\"a\":{\"hash\":\"sha256:"
         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}}",
         "hash is not that of a key: it is the hash of nothing"},
        {"{\"a\":{\"rights\":[\"chatt\"]}}", "rights is not a list of chat"},
        {"{\"a\":{\"rights\":\"chat\"}}", "rights is not a list of chat"},
        {"{\"a\":{\"models\":[]}}", "models is not"},
        {"{\"a\":{\"models\":[\"\"]}}", "models is not"},
        {"{\"a\":{\"aliases\":[]}}", "aliases is not"},
        {"{\"a\":{\"aliases\":{\"x\":1}}}", "aliases is not"},
        {"{\"a\":{\"rpm\":-1}}", "rpm is not a whole number"},
        {"{\"a\":{\"rpm\":1.5}}", "rpm is not a whole number"},
        {"{\"a\":{\"model_limits\":[]}}", "model_limits is not an object of models"},
        {"{\"a\":{\"model_limits\":{\"m\":1}}}", "model_limits is not"},
        {"{\"a\":{\"model_limits\":{\"m\":{\"rpm\":-1}}}}", "model_limits is not"},
        {"{\"a\":{\"model_limits\":{\"m\":{\"colour\":1}}}}", "model_limits is not"},
        {"{\"a\":{\"model_limits\":{\"\":{\"rpm\":1}}}}", "model_limits is not"},
        {"{\"a\":{\"usd_per_day\":-1}}", "usd_per_day is not an amount"},
        {"{\"a\":{\"usd_per_day\":1e400}}", "usd_per_day is not an amount"},
        {"{\"a\":{\"expires\":\"tomorrow\"}}", "expires is not a time"},
        {"{\"a\":{\"expires\":1}}", "expires is not a time"},
        {"{\"a\":{\"addresses\":[]}}", "addresses is not a list"},
        {"{\"a\":{\"addresses\":\"10.0.0.0/8\"}}", "addresses is not a list"},
        {"{\"a\":{\"addresses\":[\"10.0.0.0/33\"]}}", "addresses is not a list"},
        {"{\"a\":{\"addresses\":[\"10.0.0.1,10.0.0.2\"]}}", "addresses is not a list"},
        {"{\"a\":{\"addresses\":[\"\"]}}", "addresses is not a list"},
        {"{\"a\":{\"addresses\":[1]}}", "addresses is not a list"},
        {"{\"a\":{\"hash\":\"" HASH_A "\"},\"b\":{\"hash\":\"" HASH_A "\"}}", "have the same key"},
        {"{\"a\":{\"certificate\":\"\"}}", "certificate is not like"},
        {"{\"a\":{\"certificate\":1}}", "certificate is not like"},
        {"{\"a\":{\"certificate\":[[]]}}", "certificate is not like"},
        {"{\"a\":{\"certificate\":\"dns:\"}}", "certificate is not like"},
        {"{\"a\":{\"certificate\":\"DNS:a\"}}", "certificate is not like"},
        {"{\"a\":{\"certificate\":\"CN=a\"}}", "certificate is not like"},
        {"{\"a\":{\"certificate\":\"sha256:12\"}}", "certificate is not like"},
        {"{\"a\":{\"certificate\":\"" HASH_A ":0\"}}", "certificate is not like"},
        {"{\"a\":{\"certificate\":\"dns:A\"},\"b\":{\"certificate\":\"dns:a\"}}",
         "\"a\" and \"b\" have the same certificate"},
        {"{\"a\":{\"certificate\":\"uri:A\"},\"b\":{\"certificate\":\"uri:A\"}}",
         "have the same certificate"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a;
        struct clients c;
        char error[CLIENTS_ERROR] = "";
        arena_init(&a);
        clients_init(&c, 0, &a);
        bool ok = clients_read(&c, str_c(cases[i].json), &a, error) && clients_seal(&c, error);
        if (ok || !strstr(error, cases[i].part))
            fail_msg("%s: %s", cases[i].json, error);
        arena_done(&a);
    }
}

static void add(struct clients *c, const char *name, const char *key, struct arena *a)
{
    char error[CLIENTS_ERROR];
    struct sha256 hash = hash_sha256(str_c(key));
    assert_non_null(clients_add(c, str_c(name), &hash, a, error));
}

static void test_finds(void **state)
{
    (void)state;
    struct arena a;
    struct clients c;
    char error[CLIENTS_ERROR], name[16], key[16];
    arena_init(&a);
    clients_init(&c, 500, &a);
    for (int i = 0; i < 1000; i++) { /* two keys each */
        (void)snprintf(name, sizeof(name), "c%d", i / 2);
        (void)snprintf(key, sizeof(key), "key-%d", i);
        add(&c, name, key, &a);
    }
    assert_true(clients_seal(&c, error));
    for (int i = 0; i < 1000; i++) {
        const struct client *got = NULL;
        char bearer[32];
        (void)snprintf(bearer, sizeof(bearer), "Bearer key-%d", i);
        (void)snprintf(name, sizeof(name), "c%d", i / 2);
        const struct auth_fields fields = {.authorization = str_c(bearer)};
        assert_int_equal(auth_check(&c, &fields, 0, &got), AUTH_OK);
        assert_true(str_eq(got->name, str_c(name)));
    }
    arena_done(&a);
}

static void test_credentials(void **state)
{
    (void)state;

    static const struct {
        const char *authorization, *x_api_key, *api_key;
        enum auth_result result;
    } cases[] = {
        {"Bearer key-one", "", "", AUTH_OK},
        {"bearer   key-one ", "", "", AUTH_OK},
        {"", "key-one", "", AUTH_OK},
        {"", "", "key-one", AUTH_OK},
        {"Bearer key-one", "key-one", "key-one", AUTH_OK},
        {"Bearer key-one", "key-two", "", AUTH_CONFLICT},
        {"Bearer key-one", "", "x", AUTH_CONFLICT},
        {"", "", "", AUTH_REFUSED},
        {"Bearer ", "", "", AUTH_REFUSED},
        {"Basic key-one", "", "", AUTH_REFUSED},
        {"key-one", "", "", AUTH_REFUSED},
        {"Bearer key-on", "", "", AUTH_REFUSED},
        {"Bearer key-one1", "", "", AUTH_REFUSED},
        {"Bearer KEY-ONE", "", "", AUTH_REFUSED},
        {"Bearer late", "", "", AUTH_REFUSED},
    };
    struct arena a;
    struct clients c;
    char error[CLIENTS_ERROR];
    arena_init(&a);
    clients_init(&c, 3, &a);
    add(&c, "one", "key-one", &a);
    add(&c, "two", "key-two", &a);
    add(&c, "late", "late", &a);
    c.list[2].expires_s = 100;
    assert_true(clients_seal(&c, error));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct client *got = NULL;
        const struct auth_fields fields = {str_c(cases[i].authorization), str_c(cases[i].x_api_key),
                                           str_c(cases[i].api_key)};
        assert_int_equal(auth_check(&c, &fields, 100, &got), cases[i].result);
        assert_true((got != NULL) == (cases[i].result == AUTH_OK));
    }
    arena_done(&a);
}

/* Names of certificates: in which forms they are given, and whose they are. */
static void test_certificates(void **state)
{
    (void)state;

    static const struct {
        struct str names[3];
        const char *client; /* NULL: nobody */
    } cases[] = {
        {{STR_INIT(HASH_A), STR_INIT("subject:CN=x")}, "ann"},
        {{STR_INIT("sha256:00"), STR_INIT("dns:bob.example")}, "bob"},
        {{STR_INIT("dns:BOB.example")}, NULL}, /* tls.h writes them in lower case */
        {{STR_INIT("subject:CN=Bob,O=Example")}, "bob"},
        {{STR_INIT("subject:cn=bob,o=example")}, NULL},
        {{STR_INIT("dns:bob.example"), STR_INIT("subject:CN=Bob,O=Example")}, "bob"},
        {{STR_INIT("dns:bob.example"), STR_INIT("uri:spiffe://Ann")}, NULL}, /* two clients' */
        {{STR_INIT("uri:spiffe://ann")}, NULL},
        {{STR_INIT("email:spiffe://Ann")}, NULL},
        {{STR_INIT("dns:bob.example\0x")}, NULL},
        {{STR_INIT("")}, NULL},
    };
    struct arena a;
    arena_init(&a);
    struct clients none = read_all("{\"ann\":{}}", &a);
    struct clients c =
        read_all("{\"ann\":{\"certificate\":[\"sha256:3A:"
                 "3e0ba9eb0dee1ef7a2c0f9dd6b4d4bc0ec4a1ab0b76e3ee5a2d4a4d9a6"
                 "0F3A\",\"uri:spiffe://Ann\"]},\"bob\":{\"certificate\":[\"dns:Bob.Example\","
                 "\"subject:CN=Bob,O=Example\"]}}",
                 &a);
    assert_int_equal(c.certificates.n, 4);
    assert_int_equal(c.keys.n, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct client *got = clients_certified(&c, cases[i].names, 3);
        if ((got != NULL) != (cases[i].client != NULL) ||
            (got && !str_eq(got->name, str_c(cases[i].client))))
            fail_msg("%zu", i);
        assert_null(clients_certified(&none, cases[i].names, 3));
        assert_null(clients_certified(&c, cases[i].names, 0));
    }
    arena_done(&a);
}

/* A certificate counts until its last second, and while its client's dates admit it. */
static void test_certificates_in_time(void **state)
{
    static const struct str ann = STR_INIT("dns:ann.example");
    struct auth_certificate shown = {.names = &ann, .n = 1, .ends_s = 500};
    struct arena a;
    (void)state;
    arena_init(&a);
    struct clients c = read_all("{\"ann\":{\"certificate\":\"dns:ann.example\"}}", &a);
    assert_ptr_equal(auth_certified(&c, &shown, 0), &c.list[0]);
    assert_ptr_equal(auth_certified(&c, &shown, 500), &c.list[0]);
    assert_null(auth_certified(&c, &shown, 501));
    c.list[0].not_before_s = 100;
    c.list[0].expires_s = 200;
    assert_null(auth_certified(&c, &shown, 99));
    assert_ptr_equal(auth_certified(&c, &shown, 100), &c.list[0]);
    assert_ptr_equal(auth_certified(&c, &shown, 199), &c.list[0]);
    assert_null(auth_certified(&c, &shown, 200));
    shown.n = 0;
    assert_null(auth_certified(&c, &shown, 150));
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_everything),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_one_client),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_finds),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_certificates_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
