/* base.h - what every file needs: assertions, small macros, and the list of banned calls.
 *
 * ASSERT states what we promise and stays on in release; what peers send is checked, not asserted.
 */
#ifndef CCPROXY_BASE_BASE_H
#define CCPROXY_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define NODISCARD                       __attribute__((warn_unused_result))
#define NORETURN                        __attribute__((noreturn))
#define ALWAYS_INLINE                   static inline __attribute__((always_inline))
#define NOINLINE                        __attribute__((noinline))
#define PRINTF_LIKE(a, b)               __attribute__((format(printf, a, b)))
#define LIKELY(c)                       __builtin_expect(!!(c), 1)
#define UNLIKELY(c)                     __builtin_expect(!!(c), 0)
#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (UNLIKELY(!(cond)))                                                                     \
            assert_failed(#cond, __FILE__, __LINE__, __func__);                                    \
    } while (0)
#define UNREACHABLE() assert_failed("unreachable", __FILE__, __LINE__, __func__)

/* Prints what broke and where (and while doing what), then aborts. */
NORETURN void assert_failed(const char *what, const char *file, int line, const char *func);

/* What this process is about, in a word: the loop's callback, the step of an exchange. Log lines
 * and failed assertions tell it. Kept by reference; NULL: nothing to say. */
extern const char *doing;

static inline size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

#ifndef __clang__ /* for which the fortified headers make macros of some of these */
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets atoi
#endif

#endif
