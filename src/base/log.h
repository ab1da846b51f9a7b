/* log.h - one structured line per event, as JSON or as text, with what was being done.
 *
 *   LOG(LOG_WARN, "upstream connect failed", LOG_STR("target", name), LOG_INT("errno", err));
 *
 * Lines go to standard error. A line never blocks the caller: when the reader is behind it is
 * dropped and counted, and the count stands in the next line that gets through ("dropped").
 * Values are escaped and cut at 512 bytes, a line at 4096. There is no way to log a secret type;
 * what is logged is chosen field by field.
 */
#ifndef CCPROXY_BASE_LOG_H
#define CCPROXY_BASE_LOG_H

#include "base/base.h"
#include "base/str.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum log_format { LOG_JSON, LOG_TEXT };

enum { LOG_MODULES_MAX = 16, LOG_MODULE_NAME = 32 };

struct log_field {
    struct str key; /* as it stands in a JSON line, ,"key": and all; empty: this field is skipped */

    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_BOOL, LOG_FIELD_MS } type;
    struct str s;
    int64_t i; /* also the truth of a bool; microseconds for LOG_MS, printed as milliseconds */
};

/* Keys are string literals. */
#define LOG_KEY(k)     STR_INIT(",\"" k "\":")
#define LOG_STR(k, v)  ((struct log_field){.key = LOG_KEY(k), .type = LOG_FIELD_STR, .s = (v)})
#define LOG_CSTR(k, v) LOG_STR(k, str_c(v))
#define LOG_INT(k, v)                                                                              \
    ((struct log_field){.key = LOG_KEY(k), .type = LOG_FIELD_INT, .i = (int64_t)(v)})
#define LOG_BOOL(k, v) ((struct log_field){.key = LOG_KEY(k), .type = LOG_FIELD_BOOL, .i = (v)})
#define LOG_MS(k, us)                                                                              \
    ((struct log_field){.key = LOG_KEY(k), .type = LOG_FIELD_MS, .i = (int64_t)(us)})
#define LOG_NOTHING ((struct log_field){.key = {NULL, 0}})

/* A field that is there only when it says something. */
static inline struct log_field log_if(bool says, struct log_field f)
{
    return says ? f : LOG_NOTHING;
}

/* Fields may be none: a skipped one in front keeps the table from being empty, and the comma that
 * LOG adds keeps the variable arguments of LOG_LINE from being none. */
#define LOG(level, ...) LOG_LINE(level, __VA_ARGS__, )
#define LOG_FIELDS(...) ((const struct log_field[]){LOG_NOTHING, __VA_ARGS__})
#define LOG_LINE(level, event, ...)                                                                \
    do {                                                                                           \
        if (log_enabled((level), __FILE_NAME__))                                                   \
            log_write((level), (event), LOG_FIELDS(__VA_ARGS__),                                   \
                      sizeof(LOG_FIELDS(__VA_ARGS__)) / sizeof(struct log_field));                 \
    } while (0)

/* who: the process ("master", "worker 2"), put into every line; kept by reference. */
void log_init(enum log_level level, enum log_format format, const char *who);
void log_set_who(const char *who);
/* Whether a line of that level from that source file is written. */
bool log_enabled(enum log_level level, const char *file);
/* "relay:debug,keyring:error": levels of single modules, which are source files without ".c", instead
 * of log_init's. False, and none is set, when it is not that, or has more than LOG_MODULES_MAX. */
NODISCARD bool log_set_levels(struct str list);
/* Lines go to the end of this file, which is opened anew; standard error is it from then on. False
 * with errno. */
NODISCARD bool log_open(const char *path);
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n);

/* From now on lines wait for log_flush, which pending() must see to soon; it is called when the
 * first line of a batch waits. Warnings and errors never wait. NULL: every line is written at once.
 */
void log_set_batching(void (*pending)(void));
void log_flush(void);

/* Lines dropped by this process so far. */
uint64_t log_lost(void);

/* Replaces the sink (tests); NULL restores standard error. */
void log_set_sink(void (*sink)(struct str line));

#endif
