/* redis_script.h - the two functions that run inside Redis: admit, and settle.
 *
 *   KEYS  cells, then budgets, then leases; all with one {tag}
 *   ARGV  id, number of cells, of budgets, of leases, time of the admission (settle; 0: unknown),
 *         cell:   limit per period, burst, ticks in a period, microseconds in a tick, cost;
 *                 settle: what was owed and what had been given back, as admit said
 *         budget: limit, seconds in a window (0: a calendar month), seconds from UTC, cost
 *         lease:  limit (0: none), milliseconds to live
 *   admit returns   {admitted, now, then per key: remaining, reset, retry} in microseconds,
 *                   then per cell: what is owed now, what was given back}; retry is -1 where there was
 *                   room. Nothing is taken unless all have room.
 *   settle returns  {settled, now}; costs are differences. Settled is 0, and nothing changes, when
 *                   the first lease is gone: so settling twice is settling once.
 *
 * The clock is Redis' own: the nodes' clocks differ by more than a request takes, and a bucket that
 * two clocks drain is drained twice. Should it step back, a bucket goes on from there.
 *
 * Numbers are whole and below 2^53, where Lua's are exact:
 *   - a cell holds what is owed in tokens x ticks: a cost of c owes c x ticks at once, and each tick
 *     pays `limit` of it, so that no rate leaves a remainder. Ticks are at most 60 000 000 a period
 *     (a microsecond of a minute), limits, bursts and costs at most 150 000 000: 9 x 10^15 < 2^53.
 *   - this is GCRA: TAT = now + owed / limit, and owed does not depend on the limit, which may change.
 *   - the floor of a quotient of such numbers is exact: a / b differs from the whole number above it
 *     by 1 / b or more, and its rounding by less than (a / b) / 2^53.
 *   - now is microseconds since 1970, 2 x 10^15 until the year 2033 and 2^53 in 2255.
 * They are stored with "%.0f", for Lua's own conversion keeps 14 digits.
 *
 * Each key has a time to live: a cell until it owes nothing, a budget until its window ends, a set
 * of leases as long as its last lease.
 */
#ifndef CCPROXY_STORE_REDIS_SCRIPT_H
#define CCPROXY_STORE_REDIS_SCRIPT_H

#include "base/str.h"

extern const struct str redis_script_admit, redis_script_settle;

#endif
