/* local.h - endpoints that are answered without the upstream. Each replies and does not end x. */
#ifndef CCPROXY_PROXY_LOCAL_H
#define CCPROXY_PROXY_LOCAL_H

struct exchange;

void local_models(struct exchange *x);  /* GET /v1/models */
void local_model(struct exchange *x);   /* GET, DELETE /v1/models/{id} */
void local_health(struct exchange *x);  /* GET /health */
void local_livez(struct exchange *x);   /* GET /livez: the process runs */
void local_readyz(struct exchange *x);  /* GET /readyz: new requests are welcome */
void local_options(struct exchange *x); /* OPTIONS of any endpoint */

#endif
