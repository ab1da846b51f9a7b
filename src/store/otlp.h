/* otlp.h - spans as OTLP/HTTP wants them: one ExportTraceServiceRequest in JSON, and what comes back.
 *
 *   resourceSpans [ resource, scopeSpans [ scope, spans [ SERVER "POST /chat/completions"
 *                                                         CLIENT "chat claude-..." ... ] ] ]
 *
 * Attributes are named by OpenTelemetry's conventions (http.*, server.*, error.type, gen_ai.*), our own
 * begin with ccproxy. Token counts stand on CLIENT spans only, so that sums over spans are right.
 *
 * Sources: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 *          https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
 */
#ifndef CCPROXY_STORE_OTLP_H
#define CCPROXY_STORE_OTLP_H

#include "store/spans.h"
#include "wire/json.h"
#include "wire/jsonw.h"

/* Who sends them. */
struct otlp_source {
    struct str service, version;
    uint64_t instance;
};

void otlp_begin(struct jsonw *w, const struct otlp_source *source);
void otlp_add(struct jsonw *w, const struct span *span);
void otlp_end(struct jsonw *w);

/* How many spans a collector says it refused, in the body of its 200. */
uint64_t otlp_refused(struct json *doc, struct str body);

/* OTEL_EXPORTER_OTLP_HEADERS, "name=value,name=value" with percent-encoded values, as lines of a
 * request's head. False when it is no such list, or names what is not the operator's to set. */
NODISCARD bool otlp_headers(struct str list, struct buf *out);

#endif
