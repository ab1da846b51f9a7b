/* exporter.h - posts spans to an OpenTelemetry collector (OTLP/HTTP, JSON); part of the scribe.
 *
 *   RESTING --spans wait--> POSTING --2xx--> released, counted as exported --> RESTING
 *      ^                       | \---any other answer--> released, counted as dropped --> RESTING
 *      +--after a pause--------+ 429, 502, 503, 504, no answer: they stay, and are sent again
 *
 * One request at a time, with a bounded batch and a deadline. Spans wait in their rings meanwhile;
 * what finds no room there is dropped and counted, so a collector that is away costs no worker anything.
 */
#ifndef CCPROXY_PROC_EXPORTER_H
#define CCPROXY_PROC_EXPORTER_H

#include "config/config.h"
#include "io/loop.h"
#include "store/spans.h"

enum export_text {
    EXPORT_URL, /* where to; empty: nothing is exported */
    EXPORT_HEADERS,
    EXPORT_SERVICE,
    EXPORT_PROXY,
    EXPORT_NO_PROXY,
    EXPORT_CA_FILE,
    EXPORT_DNS_SERVERS,
    EXPORT_TEXTS
};

/* What it needs of a configuration, which may be gone before it is. */
struct export_settings {
    char *texts[EXPORT_TEXTS]; /* owned; NULL is empty */
};

void export_settings_take(struct export_settings *s, const struct config *c);
void export_settings_done(struct export_settings *s); /* wiped: headers hold credentials */
bool export_settings_fit(const struct export_settings *s, const struct config *c);
bool export_settings_on(const struct export_settings *s);

enum { EXPORTER_ERROR = 256 };

struct exporter;

/* NULL with a reason. Needs files: before the sandbox. */
struct exporter *exporter_new(struct loop *l, struct spans *spans, const struct export_settings *s,
                              char error[EXPORTER_ERROR]);
void exporter_free(struct exporter *e); /* NULL is fine, here and below; what waits stays */
/* No more spans will come: does not rest until all are gone. */
void exporter_hurry(struct exporter *e);
/* No further batch is begun. */
void exporter_finish(struct exporter *e);
bool exporter_is_posting(const struct exporter *e);
bool exporter_is_done(const struct exporter *e); /* and nothing waits */

#endif
