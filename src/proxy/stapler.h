/* stapler.h - asks authorities about our certificates, off the path of any handshake.
 *
 *   due --claim--> ask the responder --good--> staples, for all workers; asked again at half its life
 *                                  \--else---> what there was stays until it ends; again in a minute
 *
 * One question at a time. Handshakes take what is there: a responder that is slow, away or wrong
 * costs them nothing.
 */
#ifndef CCPROXY_PROXY_STAPLER_H
#define CCPROXY_PROXY_STAPLER_H

struct proxy;
struct stapler;

/* NULL: no certificate asks for it. */
struct stapler *stapler_new(struct proxy *p);
void stapler_free(struct stapler *s); /* NULL is fine */

#endif
