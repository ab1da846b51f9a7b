/* keys.h - `ccproxy keys`: making keys for clients, and seeing who has some. */
#ifndef CCPROXY_PROC_KEYS_H
#define CCPROXY_PROC_KEYS_H

#include "policy/clients.h"
#include "proc/cli.h"

/* Exit statuses. What is printed goes to standard output, complaints to standard error. */
int keys_mint(const struct cli *cli);
int keys_hash(void);
int keys_list(void);

/* "chat,models" */
void keys_write_rights(struct buf *out, uint32_t rights);
/* " rpm=600 usd/day=20.00": those that are the client's own. */
void keys_write_limits(struct buf *out, const struct client *c);

#endif
