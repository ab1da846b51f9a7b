/* clock.h - time, read once per turn of the loop, and replaceable in tests.
 *
 * Everything that waits uses clock_us(); only timestamps for people and peers use clock_wall_us().
 */
#ifndef CCPROXY_BASE_CLOCK_H
#define CCPROXY_BASE_CLOCK_H

#include "base/base.h"
#include "base/str.h"

enum { CLOCK_TEXT = 32 }; /* room for any text below */

/* Monotonic microseconds as of the last refresh. */
uint64_t clock_us(void);
/* Microseconds since 1970 as of the last refresh. */
uint64_t clock_wall_us(void);
/* Reads both clocks; the loop does so after each wait. */
void clock_refresh(void);
/* Monotonic microseconds now, not cached: for measuring work. */
uint64_t clock_precise_us(void);

/* Replaces the sources (a virtual clock); NULL restores the system's. */
void clock_set_source(uint64_t (*mono_us)(void), uint64_t (*wall_us)(void));

/* "2026-11-23T06:37:00.123Z" (RFC 3339). */
struct str clock_rfc3339(uint64_t wall_us, char out[CLOCK_TEXT]);
/* "Mon, 23 Nov 2026 06:37:00 GMT" (RFC 9110 section 5.6.7). */
struct str clock_http_date(uint64_t wall_us, char out[CLOCK_TEXT]);
/* Both directions of those: microseconds since 1970; false when it is not such a date. */
NODISCARD bool clock_parse_rfc3339(struct str s, uint64_t *ret_wall_us);
NODISCARD bool clock_parse_http_date(struct str s, uint64_t *ret_wall_us);

#endif
