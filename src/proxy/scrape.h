/* scrape.h - GET /metrics and GET /stats; see scrape.c. Each ends the exchange when the page is out. */
#ifndef CCPROXY_PROXY_SCRAPE_H
#define CCPROXY_PROXY_SCRAPE_H

struct exchange;

void scrape_metrics(struct exchange *x);
void scrape_stats(struct exchange *x);
void scrape_drained(struct exchange *x);
void scrape_stop(struct exchange *x); /* the client has left */

#endif
