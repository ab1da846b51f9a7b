/* token.h - `ccproxy token verify`: would this key or token be let in, as whom, and if not, why?
 *
 * Judged by the configuration in force and by the server's own code; the keys of an identity provider
 * are asked for as a server would. Clients get one 401 for everything; the reasons are for operators.
 */
#ifndef CCPROXY_PROC_TOKEN_H
#define CCPROXY_PROC_TOKEN_H

#include "proc/cli.h"

/* An exit status. UNDECIDED: the configuration or the token cannot be read, or the identity provider
 * gave no keys and no other key fits. */
enum { TOKEN_LET_IN = 0, TOKEN_REFUSED = 1, TOKEN_UNDECIDED = 3 };

int token_verify(const struct cli *cli);

#endif
