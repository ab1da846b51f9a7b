/* test_tls_clients.c - what is read of a client's certificate, also of strange ones. Handshakes are
 * tested end to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "io/tls_int.h"

enum { ENDS_S = 1893456000 }; /* 2030 */

static X509 *begin(void)
{
    X509 *cert = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(cert);
    assert_non_null(key);
    assert_int_equal(X509_set_version(cert, 2), 1);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert), 0));
    assert_non_null(ASN1_TIME_set(X509_getm_notAfter(cert), ENDS_S));
    EVP_PKEY_free(key);
    return cert;
}

static void add_to_subject(X509 *cert, const char *field, const char *value)
{
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), field, MBSTRING_UTF8,
                                                (const unsigned char *)value, -1, -1, 0),
                     1);
}

static void add_name(GENERAL_NAMES *names, int type, struct str text)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();
    assert_int_equal(ASN1_STRING_set(s, text.p, (int)text.n), 1);
    GENERAL_NAME_set0_value(name, type, s);
    assert_true(sk_GENERAL_NAME_push(names, name) > 0);
}

/* Signed, so that it has bytes, and read. */
static struct tls_identity *read_as(X509 *cert, GENERAL_NAMES *names)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (names)
        assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0), 1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    struct tls_identity *id = tls_identity_new(cert);
    GENERAL_NAMES_free(names);
    EVP_PKEY_free(key);
    return id;
}

static void assert_name(const struct tls_identity *id, size_t at, struct str expected)
{
    assert_true(at < id->n);
    if (!str_eq(id->names[at], expected))
        fail_msg("%.*s", STR_FMT(id->names[at]));
}

static void end(struct tls_identity *id, X509 *cert)
{
    tls_identity_free(id);
    X509_free(cert);
    assert_int_equal(ERR_peek_error(), 0);
    assert_int_equal(mem_live(), 0);
}

static void test_all_kinds(void **state)
{
    X509 *cert = begin();
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    unsigned char hash[32];
    unsigned size;
    char text[72] = "sha256:";
    (void)state;
    add_to_subject(cert, "C", "DE");
    add_to_subject(cert, "O", "S\xc3\xb6hne, + Co");
    add_to_subject(cert, "CN", "Ann");
    add_name(names, GEN_DNS, STR("Ann.EXAMPLE"));
    add_name(names, GEN_EMAIL, STR("Ann@Example"));
    add_name(names, GEN_URI, STR("spiffe://Example/Ann"));
    struct tls_identity *id = read_as(cert, names);
    assert_int_equal(id->n, 5);
    assert_int_equal(id->ends_s, ENDS_S);
    assert_int_equal(X509_digest(cert, EVP_sha256(), hash, &size), 1);
    for (size_t i = 0; i < sizeof(hash); i++)
        (void)snprintf(text + 7 + 2 * i, 3, "%02x", hash[i]);
    assert_name(id, 0, str_of(text, 71));
    assert_name(id, 1, STR("subject:CN=Ann,O=S\\C3\\B6hne\\, \\+ Co,C=DE"));
    assert_name(id, 2, STR("dns:ann.example"));
    assert_name(id, 3, STR("email:Ann@Example"));
    assert_name(id, 4, STR("uri:spiffe://Example/Ann"));
    end(id, cert);
}

/* What is empty or too long is left out; a NUL is a byte like others, and ends nothing. */
static void test_strange_names(void **state)
{
    static char longest[513];
    X509 *cert = begin();
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    (void)state;
    memset(longest, 'a', sizeof(longest));
    add_name(names, GEN_DNS, STR(""));
    add_name(names, GEN_DNS, str_of(longest, sizeof(longest)));
    add_name(names, GEN_DNS, STR("ann.example\0.evil.example"));
    add_name(names, GEN_URI, str_of(longest, sizeof(longest) - 1));
    struct tls_identity *id = read_as(cert, names);
    assert_int_equal(id->n, 3); /* no subject, either */
    assert_name(id, 1, STR("dns:ann.example\0.evil.example"));
    assert_int_equal(id->names[2].n, 4 + 512);
    end(id, cert);
}

static void test_more_names_than_are_read(void **state)
{
    X509 *cert = begin();
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    (void)state;
    add_to_subject(cert, "CN", "ann");
    for (int i = 0; i < 100; i++)
        add_name(names, GEN_DNS, STR("a.example"));
    struct tls_identity *id = read_as(cert, names);
    assert_int_equal(id->n, TLS_NAMES_MAX);
    assert_name(id, 1, STR("subject:CN=ann"));
    end(id, cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_kinds),
        cmocka_unit_test(test_strange_names),
        cmocka_unit_test(test_more_names_than_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
