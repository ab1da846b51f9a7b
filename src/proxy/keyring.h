/* keyring.h - the keys that tokens are verified with: those of the configuration, and those that an
 * identity provider publishes, asked for at start, every ten minutes, and when a token names a key that
 * is not known, twice a minute at most, by one worker for all. When it does not answer, the last keys stay
 * for a day; they lie on a shelf, where workers find them that are started later.
 */
#ifndef CCPROXY_PROXY_KEYRING_H
#define CCPROXY_PROXY_KEYRING_H

#include "base/shelf.h"
#include "config/config.h"
#include "io/dns.h"
#include "io/tls.h"

struct keyring;

struct shelf *keyring_shelf_new(void);
/* The provider of a configuration, if it has one, gets a place. For the master. */
void keyring_adopt(struct shelf *s, const struct config *c);

/* tls is NULL when nothing is fetched over it. */
struct keyring *keyring_new(struct loop *l, struct dns *dns, struct tls_ctx *tls,
                            const struct config *c, struct shelf *s);
void keyring_free(struct keyring *k); /* NULL is fine */

/* The client that a token makes, in a; NULL when it is refused. Whoever bears a name of the
 * configuration's clients has that one's settings, dates included. */
const struct client *keyring_client(struct keyring *k, struct str token, int64_t now_s,
                                    struct arena *a);

/* Whether the token was verified before, and its time is not over: no signature is looked at. */
bool keyring_knows(struct keyring *k, struct str token, int64_t now_s);

/* The same step by step, for whoever has to explain it. On JWT_OK the client still has to be
 * current (client_is_current). */
struct judgement {
    const struct client *client;
    int64_t expires_s; /* of the token */
};

enum jwt_result keyring_judge(struct keyring *k, struct str token, int64_t now_s, struct arena *a,
                              struct judgement *ret);

/* Whether the provider's first answer has come, or failed to; true when there is none to ask. */
bool keyring_settled(const struct keyring *k);
/* The number of keys the provider has given. */
size_t keyring_published(const struct keyring *k);
/* Whether there is any key, so that a token could be right. */
bool keyring_works(const struct keyring *k);

#endif
