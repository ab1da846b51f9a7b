/* tls_staple.c - what an authority is asked about a certificate, and whether its answer may be shown
 * (OCSP, RFC 6960; stapling, RFC 6066 section 8).
 *
 *   certificate, issuer --> question (DER) --> responder --> answer (DER) --judged--> staple
 *
 * An answer is good when the issuer has signed it, or somebody whom the issuer has named for that; when
 * it is about this certificate, says that it is not revoked, and holds at the moment. How it is fetched
 * is no matter of TLS: proxy/stapler.c.
 */
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "io/tls_int.h"

#define US_PER_S       UINT64_C(1000000)
#define SKEW_US        (300 * US_PER_S)
#define UNSAID_LIFE_US (3600 * US_PER_S)

enum { STATUS_REQUEST = 5 }; /* RFC 7633: the feature that must be there */

static bool must_be_stapled(X509 *cert)
{
    TLS_FEATURE *features = X509_get_ext_d2i(cert, NID_tlsfeature, NULL, NULL);
    bool found = false;

    for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++)
        found = found || ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == STATUS_REQUEST;
    TLS_FEATURE_free(features);
    return found;
}

static void write_question(struct tls_staple *s, X509 *cert, X509 *issuer)
{
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, cert, issuer);

    ASSERT(request);
    if (id && OCSP_request_add0_id(request, id))
        s->request_n = i2d_OCSP_REQUEST(request, &s->request);
    OCSP_REQUEST_free(request);
}

void tls_staple_read(struct tls_staple *s, X509 *cert, X509 *issuer)
{
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(cert);

    s->must = must_be_stapled(cert);
    ASSERT(X509_digest(cert, EVP_sha256(), s->cert, NULL) == 1);
    if (issuer && sk_OPENSSL_STRING_num(urls) > 0) {
        s->url = OPENSSL_strdup(sk_OPENSSL_STRING_value(urls, 0));
        write_question(s, cert, issuer);
    }
    X509_email_free(urls);
}

void tls_staple_drop(struct tls_staple *s)
{
    OPENSSL_free(s->url);
    OPENSSL_free(s->request);
}

/* --- the answer --- */

/* The issuer alone is trusted for it, whether it is a root or not. */
static bool is_signed(OCSP_BASICRESP *answer, X509 *issuer)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *certs = sk_X509_new_null();
    bool ok;

    ASSERT(store && certs && sk_X509_push(certs, issuer) > 0);
    ASSERT(X509_STORE_add_cert(store, issuer) == 1);
    (void)X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    ok = OCSP_basic_verify(answer, certs, store, 0) == 1;
    sk_X509_free(certs);
    X509_STORE_free(store);
    return ok;
}

/* What it says of the certificate: until when, and a reason when that is nothing good. */
static enum tls_verdict read_status(OCSP_BASICRESP *answer, OCSP_CERTID *id, struct staple *ret,
                                    const char **ret_why)
{
    ASN1_GENERALIZEDTIME *from = NULL, *until = NULL;
    uint64_t now = clock_wall_us();
    int status;

    if (OCSP_resp_find_status(answer, id, &status, NULL, NULL, &from, &until) != 1 || !from) {
        *ret_why = "it is about another certificate";
        return TLS_STAPLE_UNUSABLE;
    }
    ret->begins_us = tls_time_us(from);
    ret->ends_us = until ? tls_time_us(until) : now + UNSAID_LIFE_US;
    *ret_why = status == V_OCSP_CERTSTATUS_REVOKED ? "the certificate is revoked"
               : status != V_OCSP_CERTSTATUS_GOOD  ? "it does not know the certificate"
               : ret->begins_us > now + SKEW_US    ? "it does not hold yet"
               : ret->ends_us <= now               ? "it does not hold any more"
                                                   : NULL;
    if (status == V_OCSP_CERTSTATUS_REVOKED)
        return TLS_STAPLE_REVOKED;
    return *ret_why ? TLS_STAPLE_UNUSABLE : TLS_STAPLE_GOOD;
}

static enum tls_verdict judge(OCSP_BASICRESP *answer, X509 *cert, X509 *issuer, struct staple *ret,
                              const char **ret_why)
{
    enum tls_verdict verdict = TLS_STAPLE_UNUSABLE;
    OCSP_CERTID *id;

    *ret_why = "it is not signed by the issuer";
    if (!is_signed(answer, issuer))
        return verdict;
    id = OCSP_cert_to_id(NULL, cert, issuer);
    ASSERT(id);
    verdict = read_status(answer, id, ret, ret_why);
    OCSP_CERTID_free(id);
    return verdict;
}

enum tls_verdict tls_staple_judge(X509 *cert, X509 *issuer, struct str der, struct staple *ret,
                                  const char **ret_why)
{
    const unsigned char *p = (const unsigned char *)der.p;
    enum tls_verdict verdict = TLS_STAPLE_UNUSABLE;
    OCSP_RESPONSE *response =
        der.n && der.n <= STAPLE_SIZE ? d2i_OCSP_RESPONSE(NULL, &p, (long)der.n) : NULL;
    OCSP_BASICRESP *answer = response ? OCSP_response_get1_basic(response) : NULL;

    *ret_why = response ? OCSP_response_status_str(OCSP_response_status(response))
                        : "it is no OCSP response";
    if (answer)
        verdict = judge(answer, cert, issuer, ret, ret_why);
    OCSP_BASICRESP_free(answer);
    OCSP_RESPONSE_free(response);
    if (verdict == TLS_STAPLE_GOOD) {
        ret->n = der.n;
        memset(ret->der, 0, sizeof(ret->der));
        memcpy(ret->der, der.p, der.n);
    }
    return verdict;
}
