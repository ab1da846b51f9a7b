/* dashboard.h - GET /dashboard: the page that shows /stats in a browser; its files are in
 * src/obs/dashboard and are part of the program. Nothing in them is secret: what they show comes
 * from /stats, which asks for a key. Each replies and does not end x. */
#ifndef CCPROXY_PROXY_DASHBOARD_H
#define CCPROXY_PROXY_DASHBOARD_H

struct exchange;

void dashboard_html(struct exchange *x);
void dashboard_css(struct exchange *x);
void dashboard_js(struct exchange *x);

#endif
