/* door.h - who comes in: from which address, with which credential, from which page; see door.c. */
#ifndef CCPROXY_PROXY_DOOR_H
#define CCPROXY_PROXY_DOOR_H

#include "proxy/exchange.h"

/* The address of a connection's other end. */
struct address door_peer(const struct sock_addr *peer);
/* The client's own address, if trusted proxies tell it, and the page that calls, if it may. */
void door_read(struct exchange *x, const struct h1_head *head);
/* A refusal that is held back is given up: the exchange ends. */
void door_let_go(struct exchange *x);

/* Fields that let a page of an allowed origin read the answer; nothing for others. */
void door_reply_origin(struct exchange *x);
/* Those that allow it to ask: in the answer to its OPTIONS. */
void door_reply_preflight(struct exchange *x, struct str methods);

#endif
