/* tls_tickets.c - sessions that clients resume: sealed with the workers' common keys, for so long and no
 * longer.
 *
 *   ticket: [ key's name | IV | AES-256-CBC of (session, when its full handshake was) | HMAC-SHA256 ]
 *
 * A ticket lives as long as its key seals. TLS 1.3 gives new ones whenever a session is resumed, so
 * one that is resumed again and again would never end: when it began stands in the ticket, and a day
 * later the handshake is a full one. Whatever is wrong with a ticket, that is all that comes of it.
 */
#include <openssl/core_names.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "io/tls_int.h"

#define US_PER_S UINT64_C(1000000)

enum { SESSION_LIFE_S = 24 * 3600, IV_SIZE = 16 };

/* --- the seal --- */

static bool start_mac(EVP_MAC_CTX *mac, struct ticket_key *key)
{
    static char sha256[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* Answers 1: sealed or opened; 0: there is no key; 2: opened, and the client needs a new one, since it
 * uses a ticket of TLS 1.3 only once. */
static int on_seal(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int seals)
{
    const struct tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key key;
    bool ok = seals ? tickets_seal(t, &key) : tickets_open(t, name, &key);

    if (ok && seals) {
        memcpy(name, key.name, TICKET_NAME);
        rand_bytes(iv, IV_SIZE);
    }
    ok = ok && EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv, seals) == 1 &&
         start_mac(mac, &key);
    mem_wipe(&key, sizeof(key));
    return ok && !seals && SSL_version(ssl) >= TLS1_3_VERSION ? 2 : ok;
}

/* --- a session's age --- */

/* Before a ticket is sealed: what it was resumed from says when it began, or it begins here. */
static int on_ticket(SSL *ssl, void *ctx)
{
    SSL_SESSION *session = SSL_get_session(ssl);
    uint64_t now = clock_wall_us() / US_PER_S;
    void *known = NULL;
    size_t n = 0;

    (void)ctx;
    (void)SSL_SESSION_get0_ticket_appdata(session, &known, &n);
    return n == sizeof(now) || SSL_SESSION_set1_ticket_appdata(session, &now, sizeof(now)) == 1;
}

static bool is_young(SSL_SESSION *session)
{
    uint64_t began, now = clock_wall_us() / US_PER_S;
    void *known = NULL;
    size_t n = 0;

    (void)SSL_SESSION_get0_ticket_appdata(session, &known, &n);
    if (n != sizeof(began))
        return false;
    memcpy(&began, known, sizeof(began));
    return now - began < SESSION_LIFE_S; /* a clock that was set back: none is young */
}

static SSL_TICKET_RETURN on_ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                          size_t name_n, SSL_TICKET_STATUS status, void *ctx)
{
    (void)ssl;
    (void)name;
    (void)name_n;
    (void)ctx;
    if (status == SSL_TICKET_SUCCESS && is_young(session))
        return SSL_TICKET_RETURN_USE;
    if (status == SSL_TICKET_SUCCESS_RENEW && is_young(session))
        return SSL_TICKET_RETURN_USE_RENEW;
    return SSL_TICKET_RETURN_IGNORE_RENEW;
}

void tls_use_tickets(SSL_CTX *ssl, struct tickets *t)
{
    static const unsigned char context[] = "ccproxy";

    enum { TICKETS_EACH = 2 }; /* of TLS 1.3: a client opens connections side by side */

    (void)SSL_CTX_set_app_data(ssl, t);
    (void)SSL_CTX_set_session_id_context(ssl, context, sizeof(context) - 1);
    (void)SSL_CTX_set_timeout(ssl, (long)(TICKET_LIFE_US / US_PER_S));
    (void)SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_seal);
    (void)SSL_CTX_set_session_ticket_cb(ssl, on_ticket, on_ticket_opened, NULL);
    (void)SSL_CTX_set_num_tickets(ssl, TICKETS_EACH);
    (void)SSL_CTX_clear_options(ssl, SSL_OP_NO_TICKET);
}
