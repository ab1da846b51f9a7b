/* report.c - appends lines to a buffer; a warning differs from a fault only in not being counted.
 */
#include "config/report.h"

#include <stdarg.h>

enum { REPORT_TEXT = 512 };

static void line(struct report *r, struct str where, const char *text)
{
    buf_printf(r->out, "%.*s: %s\n", STR_FMT(where), text);
}

void report_fault(struct report *r, struct str where, const char *fmt, ...)
{
    char text[REPORT_TEXT];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    line(r, where, text);
    r->n_faults++;
}

void report_warning(struct report *r, struct str where, const char *fmt, ...)
{
    char text[REPORT_TEXT];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    line(r, where, text);
}
