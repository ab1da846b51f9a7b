/* redis_script.c - see redis_script.h. Lua 5.1; Redis 5 and later, which replicate what a script
 * writes and not the script (TIME may then come before a write).
 */
#include "store/redis_script.h"

/* clang-format off */
#define PRELUDE \
    "local call, floor, max, min = redis.call, math.floor, math.max, math.min\n" \
    "local time = call('TIME')\n" \
    "local now = time[1] * 1000000 + time[2]\n" \
    "local place = 1\n" \
    "local function arg()\n" \
      "place = place + 1\n" \
      "return tonumber(ARGV[place])\n" \
    "end\n" \
    "local function whole(x) return string.format('%.0f', x) end\n" \
    "local function up(a, b) return floor((a + b - 1) / b) end\n" \
    "local MOST = 9000000000000000\n" \
    "local id, cells, budgets, leases, at = ARGV[1], arg(), arg(), arg(), arg()\n" \
    "local held = {}\n" \
    "if cells + budgets > 0 then\n" \
      "held = call('MGET', unpack(KEYS, 1, cells + budgets))\n" \
    "end\n" \
    /* what another program left under the key counts as nothing */ \
    "local function kept(i)\n" \
      "local a, b, c = string.match(held[i] or '', '^(%d+) (%d+) ?(%d*)$')\n" \
      "return tonumber(a) or 0, tonumber(b) or 0, tonumber(c) or 0\n" \
    "end\n" \
    "local function keep(i, a, b, us, c)\n" \
      "if a == 0 then\n" \
        "if held[i] then call('DEL', KEYS[i]) end\n" \
      "else\n" \
        "local ms = min(us / 1000 + 1000, 300000000000)\n" \
        "local third = c and ' ' .. whole(c) or ''\n" \
        "call('SET', KEYS[i], whole(a) .. ' ' .. whole(b) .. third, 'PX', whole(ms))\n" \
      "end\n" \
    "end\n" \
    \
    "local function read_cell(i)\n" \
      "local c = {limit = arg(), burst = arg(), ticks = arg(), tick = arg(), cost = arg()}\n" \
      "local owed, since, given = kept(i)\n" \
      "c.now, c.given = floor(now / c.tick), given\n" \
    /* a product beyond 2^53 is rounded, but beyond anything owed too */ \
      "c.owed = max(0, owed - max(0, c.now - since) * c.limit)\n" \
      "return c\n" \
    "end\n" \
    "local function rest_us(c, owed) return min(up(owed, c.limit) * c.tick, MOST) end\n" \
    "local function keep_cell(i, c) keep(i, c.owed, c.now, rest_us(c, c.owed), c.given) end\n" \
    \
    /* of 400 years, which begin in March, each has as many days */ \
    "local function month_start(day)\n" \
      "local d = (day + 719468) % 146097\n" \
      "local y = floor((d - floor(d / 1460) + floor(d / 36524) - floor(d / 146096)) / 365)\n" \
      "d = d - 365 * y - floor(y / 4) + floor(y / 100)\n" \
      "return day - d + floor((153 * floor((5 * d + 2) / 153) + 2) / 5)\n" \
    "end\n" \
    "local function window(t, period, offset)\n" \
      "offset = offset * 1000000\n" \
      "if period > 0 then\n" \
        "period = period * 1000000\n" \
        "local start = floor((t - offset) / period) * period + offset\n" \
        "return start, start + period\n" \
      "end\n" \
      "local day = 86400000000\n" \
      "local first = month_start(floor((t - offset) / day))\n" \
      "return first * day + offset, month_start(first + 31) * day + offset\n" \
    "end\n" \
    /* a window that lies ahead was begun before the clock stepped back */ \
    "local function read_budget(i)\n" \
      "local b = {limit = arg(), period = arg(), offset = arg(), cost = arg()}\n" \
      "local used, start = kept(i)\n" \
      "b.start, b.stop = window(now, b.period, b.offset)\n" \
      "b.used = start >= b.start and used or 0\n" \
      "b.start = max(b.start, b.used > 0 and start or 0)\n" \
      "return b\n" \
    "end\n" \
    "local function keep_budget(i, b) keep(i, b.used, b.start, b.stop - now) end\n" \
    "local now_ms = floor(now / 1000)\n"

#define ADMIT \
    "local items, admitted = {}, 1\n" \
    "for i = 1, cells do\n" \
      "local c = read_cell(i)\n" \
    /* what costs more than the burst fits when nothing is owed */ \
      "c.excess = (min(c.cost, c.burst) - c.burst) * c.ticks + c.owed\n" \
      "c.retry = c.excess > 0 and rest_us(c, c.excess) or -1\n" \
      "items[i] = c\n" \
    "end\n" \
    "for i = cells + 1, cells + budgets do\n" \
      "local b = read_budget(i)\n" \
      "b.retry = b.used >= b.limit and b.stop - now or -1\n" \
      "items[i] = b\n" \
    "end\n" \
    "for i = cells + budgets + 1, cells + budgets + leases do\n" \
      "local l = {limit = arg(), ms = arg()}\n" \
      "call('ZREMRANGEBYSCORE', KEYS[i], '-inf', whole(now_ms))\n" \
      "l.count = call('ZCARD', KEYS[i])\n" \
      "l.retry = l.limit > 0 and l.count >= l.limit and 0 or -1\n" \
      "items[i] = l\n" \
    "end\n" \
    "for _, item in ipairs(items) do\n" \
      "if item.retry >= 0 then admitted = 0 end\n" \
    "end\n" \
    "local reply = {admitted, now}\n" \
    "local function tell(remaining, reset, retry)\n" \
      "reply[#reply + 1] = max(0, remaining)\n" \
      "reply[#reply + 1] = reset\n" \
      "reply[#reply + 1] = retry\n" \
    "end\n" \
    "for i, item in ipairs(items) do\n" \
      "if i <= cells then\n" \
        "if admitted == 1 and item.cost > 0 then\n" \
          "item.owed = item.owed + item.cost * item.ticks\n" \
          "keep_cell(i, item)\n" \
        "end\n" \
        "tell(floor((item.burst * item.ticks - item.owed) / item.ticks),\n" \
             "rest_us(item, item.owed), item.retry)\n" \
      "elseif i <= cells + budgets then\n" \
        "if admitted == 1 and item.cost > 0 then\n" \
          "item.used = item.used + item.cost\n" \
          "keep_budget(i, item)\n" \
        "end\n" \
        "tell(item.limit - item.used, item.stop - now, item.retry)\n" \
      "else\n" \
        "if admitted == 1 then\n" \
          "call('ZADD', KEYS[i], whole(now_ms + item.ms), id)\n" \
          "if call('PTTL', KEYS[i]) < item.ms then\n" \
            "call('PEXPIRE', KEYS[i], whole(item.ms))\n" \
          "end\n" \
          "item.count = item.count + 1\n" \
        "end\n" \
        "tell(item.limit - item.count, 0, item.retry)\n" \
      "end\n" \
    "end\n" \
    "for i = 1, cells do\n" \
      "reply[#reply + 1] = items[i].owed\n" \
      "reply[#reply + 1] = items[i].given\n" \
    "end\n" \
    "return reply\n"

#define SETTLE \
    "local ours = 1\n" \
    "for i = cells + budgets + leases, cells + budgets + 1, -1 do\n" \
      "ours = call('ZREM', KEYS[i], id)\n" \
    "end\n" \
    "if ours == 0 then return {0, now} end\n" \
    /* as much of what was reserved in vain as time has not paid, see policy/limit.c; given goes round */ \
    "local ROUND = 4503599627370496\n" \
    "for i = 1, cells do\n" \
      "local c = read_cell(i)\n" \
      "local stood, seen, change = arg(), arg(), c.cost * c.ticks\n" \
      "if change < 0 and at > 0 then\n" \
        "local paid = max(0, c.now - floor(at / c.tick)) * c.limit\n" \
        "local left = stood - paid - (c.given - seen) % ROUND\n" \
        "change = -max(0, min(-change, left, ROUND - 1))\n" \
        "if left < c.owed then c.given = (c.given - change) % ROUND end\n" \
      "end\n" \
      "c.owed = max(0, min(c.owed + change, MOST))\n" \
      "if change ~= 0 then keep_cell(i, c) end\n" \
    "end\n" \
    "for i = cells + 1, cells + budgets do\n" \
      "local b = read_budget(i)\n" \
      "local same = at == 0 or b.start == window(at, b.period, b.offset)\n" \
    /* what is given back was taken from a window that may have ended */ \
      "if b.cost > 0 or (b.cost < 0 and same) then\n" \
        "b.used = max(0, min(b.used + b.cost, MOST))\n" \
        "keep_budget(i, b)\n" \
      "end\n" \
    "end\n" \
    "return {1, now}\n"
/* clang-format on */

const struct str redis_script_admit = STR_INIT(PRELUDE ADMIT);
const struct str redis_script_settle = STR_INIT(PRELUDE SETTLE);
