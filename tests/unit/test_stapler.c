/* test_stapler.c - when authorities are asked about a certificate, by which worker, and how long what
 * they say is shown. The responder is scripted, the clock virtual.
 */
#include "proxy/stapler.h"

#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <fcntl.h>

#include "peer.h"
#include "proxy/proxy_int.h"

#define SECOND_US UINT64_C(1000000)
#define HOUR_US   (3600 * SECOND_US)

enum { WORKERS = 2, LIFE_H = 24 };

static struct config config;
static struct shared shared;
static struct proxy workers[WORKERS];
static struct tls_server *servers[WORKERS]; /* as each worker has it */
static struct dns *dns;
static int listener;
static EVP_PKEY *key;
static X509 *ca, *cert;
static struct peer peer;

/* --- the authority --- */

static void add_extension(X509 *to, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx(&ctx, to, to, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(ext);
    assert_int_equal(X509_add_ext(to, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static X509 *make_cert(const char *name, long serial)
{
    X509 *made = X509_new();

    assert_non_null(made);
    assert_int_equal(X509_set_version(made, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(made), serial), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(made), -3600));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(made), 24L * 3600));
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                                                (const unsigned char *)name, -1, -1, 0),
                     1);
    assert_int_equal(X509_set_pubkey(made, key), 1);
    assert_int_equal(X509_set_issuer_name(made, X509_get_subject_name(ca ? ca : made)), 1);
    return made;
}

static void sign(X509 *made)
{
    assert_true(X509_sign(made, key, EVP_sha256()) > 0);
}

/* One key for both: what matters is whose name stands where. */
static void make_authority(uint16_t port)
{
    char access[64];

    (void)snprintf(access, sizeof(access), "OCSP;URI:http://127.0.0.1:%u/", (unsigned)port);
    key = EVP_EC_gen("P-256");
    assert_non_null(key);
    ca = make_cert("ca", 1);
    add_extension(ca, NID_basic_constraints, "critical,CA:TRUE");
    sign(ca);
    cert = make_cert("served", 2);
    add_extension(cert, NID_info_access, access);
    sign(cert);
}

static struct tls_server *make_server(void)
{
    char path[] = P_tmpdir "/test_stapler.XXXXXX", error[TLS_ERROR];
    FILE *f = fdopen(mkstemp(path), "w");
    const struct tls_files files = {.cert = path};
    const struct tls_server_options o = {.files = &files, .n = 1};
    struct tls_server *s;

    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, cert), 1);
    assert_int_equal(PEM_write_X509(f, ca), 1);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(f);
    s = tls_server_new(&o, error, sizeof(error));
    assert_non_null(s);
    assert_int_equal(unlink(path), 0);
    return s;
}

/* Good for a day from now on. */
static int make_answer(unsigned char **ret_der)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, cert, ca);
    ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(now_us / SECOND_US));
    ASN1_TIME *until = ASN1_TIME_set(NULL, (time_t)(now_us / SECOND_US) + LIFE_H * 3600L);
    OCSP_RESPONSE *response;
    int n;

    assert_non_null(
        OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, NULL, from, until));
    assert_int_equal(OCSP_basic_sign(basic, ca, key, EVP_sha256(), NULL, 0), 1);
    response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    n = i2d_OCSP_RESPONSE(response, ret_der);
    assert_true(n > 0);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    return n;
}

/* --- its responder --- */

/* Somebody has begun to ask. */
static void expect_question(void)
{
    peer = peer_accept(listener);
    RUN_UNTIL(peer_has(&peer, "\r\n\r\n"));
    assert_true(peer_has(&peer, "POST / HTTP/1.1\r\n"));
}

static void expect_silence(void)
{
    turns(20);
    assert_int_equal(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), -1);
    assert_int_equal(errno, EAGAIN);
}

static void answer(void)
{
    unsigned char *der = NULL;
    int n = make_answer(&der);
    char head[64];

    (void)snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", n);
    peer_send(&peer, str_c(head));
    peer_send(&peer, str_of((const char *)der, (size_t)n));
    OPENSSL_free(der);
    RUN_UNTIL(peer_ended(&peer));
    peer_close(&peer);
}

static void refuse(void)
{
    peer_say(&peer, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    RUN_UNTIL(peer_ended(&peer));
    peer_close(&peer);
}

static bool is_stapled(void)
{
    struct tls_question q;
    struct staple s;

    assert_true(tls_server_question(servers[0], 0, &q));
    return staples_get(shared.staples, q.place, q.cert, &s);
}

/* --- workers --- */

static void begin_worker(int i)
{
    static struct config configs[WORKERS];

    servers[i] = make_server();
    if (i == 0)
        tls_server_adopt_staples(servers[0], shared.staples);
    configs[i] = config;
    configs[i].tls = servers[i];
    workers[i] = (struct proxy){
        .loop = loop,
        .config = &configs[i],
        .shared = &shared,
        .dns = dns,
        .meter = {shared.metrics, (unsigned)i + 1},
    };
    workers[i].stapler = stapler_new(&workers[i]);
    assert_non_null(workers[i].stapler);
}

static void end_worker(int i)
{
    stapler_free(workers[i].stapler);
    workers[i].stapler = NULL;
    tls_server_free(servers[i]);
    servers[i] = NULL;
}

static int setup(void **state)
{
    struct sock_addr address;

    (void)state;
    clock_begin();
    listener = peer_listen(&address);
    assert_int_equal(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
    make_authority(sock_addr_port(&address));
    shared = (struct shared){.staples = staples_new(), .metrics = metrics_new()};
    config = (struct config){.connect_timeout = (int64_t)(5 * SECOND_US), .tls_stapling = true};
    dns = dns_new(loop, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < WORKERS; i++)
        end_worker(i);
    dns_free(dns);
    shelf_free(shared.staples);
    metrics_free(shared.metrics);
    X509_free(ca);
    X509_free(cert);
    ca = cert = NULL;
    EVP_PKEY_free(key);
    (void)close(listener);
    clock_end();
    return 0;
}

/* --- tests --- */

static void test_asked_again_in_time(void **state)
{
    (void)state;
    begin_worker(0);
    for (int day = 0; day < 3; day++) {
        expect_question();
        answer();
        assert_true(is_stapled());
        advance((LIFE_H / 2) * HOUR_US - 2 * SECOND_US);
        expect_silence();
        assert_true(is_stapled());
        advance(2 * SECOND_US + 60 * SECOND_US); /* it looks every minute */
    }
    expect_question();
    peer_close(&peer);
}

static void test_a_failure_is_followed_by_another_try(void **state)
{
    (void)state;
    begin_worker(0);
    for (int i = 0; i < 3; i++) {
        expect_question();
        refuse();
        assert_false(is_stapled());
        advance(58 * SECOND_US);
        expect_silence();
        advance(3 * SECOND_US);
    }
    expect_question();
    answer();
    assert_true(is_stapled());
}

static void test_the_last_answer_serves_until_it_ends(void **state)
{
    (void)state;
    begin_worker(0);
    expect_question();
    answer();
    for (int h = 0; h < LIFE_H; h++) {
        assert_true(is_stapled());
        advance(HOUR_US);
        if (h + 1 >= LIFE_H / 2) {
            expect_question();
            refuse();
        }
    }
    assert_false(is_stapled());
}

static void test_who_says_nothing_is_left(void **state)
{
    (void)state;
    begin_worker(0);
    expect_question();
    advance(9 * SECOND_US);
    turns(20);
    assert_false(peer_ended(&peer));
    advance(SECOND_US);
    RUN_UNTIL(peer_ended(&peer));
    peer_close(&peer);
    advance(51 * SECOND_US); /* a minute after it was asked */
    expect_question();
    answer();
    assert_true(is_stapled());
}

static void test_one_asks_for_all(void **state)
{
    (void)state;
    begin_worker(0);
    begin_worker(1);
    expect_question();
    expect_silence();
    answer();
    assert_true(is_stapled());
    advance((LIFE_H / 2) * HOUR_US + 61 * SECOND_US);
    expect_question();
    expect_silence();
    answer();
}

/* Whoever was asking dies: another does it, a minute later. */
static void test_another_goes_on(void **state)
{
    (void)state;
    begin_worker(0);
    expect_question();
    end_worker(0);
    RUN_UNTIL(peer_ended(&peer));
    peer_close(&peer);
    begin_worker(0);
    expect_silence();
    advance(61 * SECOND_US);
    expect_question();
    answer();
    assert_true(is_stapled());
}

/* --- places --- */

static void name(uint8_t out[SHELF_NAME], unsigned i)
{
    memset(out, (int)i, SHELF_NAME);
}

static void test_places(void **state)
{
    uint8_t id[SHELF_NAME];
    size_t first;

    (void)state;
    name(id, 1);
    assert_int_equal(shelf_place(shared.staples, id), STAPLES_MAX);
    for (unsigned i = 1; i <= STAPLES_MAX; i++) {
        name(id, i);
        shelf_adopt(shared.staples, id);
    }
    name(id, 1);
    first = shelf_place(shared.staples, id);
    shelf_adopt(shared.staples, id); /* still served: the second is the oldest now */
    assert_int_equal(shelf_place(shared.staples, id), first);
    assert_true(shelf_claim(shared.staples, first, id, SECOND_US));
    assert_false(shelf_claim(shared.staples, first, id, SECOND_US));
    name(id, 100);
    shelf_adopt(shared.staples, id);
    size_t taken = shelf_place(shared.staples, id);
    assert_int_equal(shelf_due(shared.staples, taken, id), 0);
    name(id, 2);
    assert_int_equal(shelf_place(shared.staples, id), STAPLES_MAX);
    assert_false(shelf_claim(shared.staples, taken, id, SECOND_US)); /* who has it still by heart */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_asked_again_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failure_is_followed_by_another_try, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_last_answer_serves_until_it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_says_nothing_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_asks_for_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
    };

    log_init(LOG_ERROR, LOG_JSON, "test");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
