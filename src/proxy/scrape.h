/* scrape.h - GET /metrics; see scrape.c. */
#ifndef CCPROXY_PROXY_SCRAPE_H
#define CCPROXY_PROXY_SCRAPE_H

struct exchange;

void scrape_begin(struct exchange *x); /* ends the exchange when the page is out */
void scrape_drained(struct exchange *x);
void scrape_stop(struct exchange *x); /* the client has left */

#endif
