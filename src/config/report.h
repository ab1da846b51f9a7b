/* report.h - what is wrong with a configuration: one line per fault or warning. Private to config.
 */
#ifndef CCPROXY_CONFIG_REPORT_H
#define CCPROXY_CONFIG_REPORT_H

#include "base/buf.h"

struct report {
    struct buf *out;
    size_t n_faults;
};

/* "where: text\n" */
void report_fault(struct report *r, struct str where, const char *fmt, ...) PRINTF_LIKE(3, 4);
void report_warning(struct report *r, struct str where, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
