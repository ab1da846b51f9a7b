/* fuzz_certificate.c - what a certificate calls a client, from bytes that OpenSSL takes for one.
 *
 * Each name has its kind before it, the first is the hash of all bytes, and whoever all of them lead
 * to is also who any of them leads to.
 */
#include <openssl/err.h>
#include <openssl/x509.h>

#include "base/mem.h"
#include "io/tls_int.h"
#include "policy/clients.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_kind(struct str name)
{
    static const struct str kinds[] = {STR_INIT("sha256:"), STR_INIT("subject:"), STR_INIT("dns:"),
                                       STR_INIT("email:"), STR_INIT("uri:")};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_starts(name, kinds[i]))
            return name.n > kinds[i].n;
    return false;
}

static void check(const struct tls_identity *id)
{
    static const char set[] = "{\"ann\":{\"certificate\":[\"dns:ann.example\",\"subject:CN=ann\"]},"
                              "\"bob\":{\"certificate\":\"email:ann@example.com\"}}";
    char error[CLIENTS_ERROR];
    struct clients c;
    struct arena a;
    arena_init(&a);
    clients_init(&c, 0, &a);
    bool ok = clients_read(&c, str_c(set), &a, error) && clients_seal(&c, error);
    ASSERT(ok && id->n > 0 && id->n <= TLS_NAMES_MAX);
    const struct client *all = clients_certified(&c, id->names, id->n);
    for (size_t i = 0; i < id->n; i++) {
        ASSERT(has_kind(id->names[i]));
        const struct client *one = clients_certified(&c, &id->names[i], 1);
        ASSERT(!all || !one || one == all);
    }
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const unsigned char *p = data;
    X509 *cert = d2i_X509(NULL, &p, (long)size);
    if (cert) {
        struct tls_identity *id = tls_identity_new(cert);
        check(id);
        tls_identity_free(id);
        X509_free(cert);
    }
    ERR_clear_error();
    ASSERT(mem_live() == 0);
    return 0;
}
