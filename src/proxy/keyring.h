/* keyring.h - the keys that tokens are verified with: those of the configuration, and those that an
 * identity provider publishes, asked for at start, every ten minutes, and when a token names a key that
 * is not known, twice a minute at most. When it does not answer, the last keys stay.
 */
#ifndef CCPROXY_PROXY_KEYRING_H
#define CCPROXY_PROXY_KEYRING_H

#include "policy/clients.h"
#include "policy/jwt.h"

struct proxy;
struct keyring;

struct keyring *keyring_new(struct proxy *p);
void keyring_free(struct keyring *k); /* NULL is fine */

/* The client that a token makes, in a; NULL when it is refused. Whoever bears a name of the
 * configuration's clients has that one's settings. */
const struct client *keyring_client(struct keyring *k, struct str token, int64_t now_s,
                                    struct arena *a);

#endif
