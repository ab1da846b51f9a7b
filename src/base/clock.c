/* clock.c - cached clocks, and dates as text.
 *
 * The calendar is our own arithmetic on days since 1970 (proleptic Gregorian, UTC), because
 * gmtime(3) reads the time zone files and strptime(3) the locale. Dates before 1970 or after 9999
 * do not exist here: parsing refuses them, formatting stops at the last moment of 9999.
 *
 * HTTP's dates are read by patterns. A letter stands for a field (see scan_field), all else for itself.
 */
#include "base/clock.h"

#include <time.h>

enum { TIMESTAMP = 19 }; /* "YYYY-MM-DDThh:mm:ss" */

#define US_PER_S    UINT64_C(1000000)
#define S_PER_DAY   UINT64_C(86400)
#define WALL_US_MAX (UINT64_C(253402300800) * US_PER_S - 1)

struct date {
    unsigned year, month, day; /* month and day from 1 */
    unsigned hour, minute, second;
};

static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char day_names[] = "SunMonTueWedThuFriSat";
static const struct str long_day_names[] = {
    STR_INIT("Sunday"),   STR_INIT("Monday"), STR_INIT("Tuesday"),  STR_INIT("Wednesday"),
    STR_INIT("Thursday"), STR_INIT("Friday"), STR_INIT("Saturday"),
};

static uint64_t read_clock(clockid_t id)
{
    struct timespec ts;

    ASSERT(clock_gettime(id, &ts) == 0);
    return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t system_mono_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

static uint64_t system_wall_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

static uint64_t (*mono_source)(void) = system_mono_us;
static uint64_t (*wall_source)(void) = system_wall_us;
static uint64_t mono_cached_us, wall_cached_us;
static bool cached;

void clock_refresh(void)
{
    mono_cached_us = mono_source();
    wall_cached_us = wall_source();
    cached = true;
}

uint64_t clock_us(void)
{
    if (UNLIKELY(!cached))
        clock_refresh();
    return mono_cached_us;
}

uint64_t clock_wall_us(void)
{
    if (UNLIKELY(!cached))
        clock_refresh();
    return wall_cached_us;
}

uint64_t clock_precise_us(void)
{
    return mono_source();
}

void clock_set_source(uint64_t (*mono_us)(void), uint64_t (*wall_us)(void))
{
    mono_source = mono_us ? mono_us : system_mono_us;
    wall_source = wall_us ? wall_us : system_wall_us;
    clock_refresh();
}

static bool is_leap(unsigned year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap(year) ? 1U : 0U);
}

/* Days from 1970-01-01 to the first of January of a year. */
static uint64_t days_before_year(unsigned year)
{
    unsigned y = year - 1;

    return (uint64_t)365 * (year - 1970) + (y / 4 - y / 100 + y / 400) -
           (1969 / 4 - 1969 / 100 + 1969 / 400);
}

static struct date date_of(uint64_t wall_us, unsigned *ret_weekday)
{
    uint64_t s = (wall_us < WALL_US_MAX ? wall_us : WALL_US_MAX) / US_PER_S;
    uint64_t days = s / S_PER_DAY;
    struct date d = {.year = 1970 + (unsigned)(days / 366), .month = 1};

    s %= S_PER_DAY;
    d.hour = (unsigned)(s / 3600);
    d.minute = (unsigned)(s / 60 % 60);
    d.second = (unsigned)(s % 60);
    *ret_weekday = (unsigned)((days + 4) % 7); /* 1970 began on a Thursday */
    while (days_before_year(d.year + 1) <= days)
        d.year++;
    days -= days_before_year(d.year);
    while (days >= days_in_month(d.year, d.month))
        days -= days_in_month(d.year, d.month++);
    d.day = (unsigned)days + 1;
    return d;
}

static bool date_valid(const struct date *d)
{
    /* RFC 3339 section 5.7 allows second 60, a leap second; it is counted as the next one. */
    return d->year >= 1970 && d->year <= 9999 && d->month >= 1 && d->month <= 12 && d->day >= 1 &&
           d->day <= days_in_month(d->year, d->month) && d->hour <= 23 && d->minute <= 59 &&
           d->second <= 60;
}

static uint64_t date_to_s(const struct date *d)
{
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    uint64_t days = days_before_year(d->year) + before[d->month - 1] + d->day - 1;

    days += d->month > 2 && is_leap(d->year);
    return ((days * 24 + d->hour) * 60 + d->minute) * 60 + d->second;
}

/* The text of the second asked for last: log lines and answers ask for the same one many times. */
struct second_text {
    uint64_t second;
    int n;
    char text[CLOCK_TEXT];
};

struct str clock_rfc3339(uint64_t wall_us, char out[CLOCK_TEXT])
{
    static struct second_text last;
    uint64_t us = wall_us < WALL_US_MAX ? wall_us : WALL_US_MAX;
    unsigned ms = (unsigned)(us / 1000 % 1000);

    if (last.n == 0 || last.second != us / 1000000) {
        unsigned weekday;
        struct date d = date_of(us, &weekday);

        last.second = us / 1000000;
        last.n =
            snprintf(last.text, CLOCK_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u.000Z", d.year % 10000,
                     d.month % 100, d.day % 100, d.hour % 100, d.minute % 100, d.second % 100);
    }
    memcpy(out, last.text, (size_t)last.n);
    out[last.n - 4] = (char)('0' + ms / 100);
    out[last.n - 3] = (char)('0' + ms / 10 % 10);
    out[last.n - 2] = (char)('0' + ms % 10);
    return str_of(out, (size_t)last.n);
}

static int format_http_date(uint64_t wall_us, char out[CLOCK_TEXT])
{
    unsigned weekday;
    struct date d = date_of(wall_us, &weekday);

    return snprintf(out, CLOCK_TEXT, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                    day_names + (size_t)3 * weekday, d.day % 100,
                    month_names + (size_t)3 * (d.month - 1), d.year % 10000, d.hour % 100,
                    d.minute % 100, d.second % 100);
}

struct str clock_http_date(uint64_t wall_us, char out[CLOCK_TEXT])
{
    static struct second_text last;

    if (last.n == 0 || last.second != wall_us / 1000000) {
        last.second = wall_us / 1000000;
        last.n = format_http_date(wall_us, last.text);
    }
    memcpy(out, last.text, (size_t)last.n);
    return str_of(out, (size_t)last.n);
}

static bool read_digits(const char *p, size_t digits, unsigned *ret)
{
    unsigned value = 0;

    for (size_t i = 0; i < digits; i++) {
        unsigned digit = (unsigned char)p[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    *ret = value;
    return true;
}

static bool scan_number(struct str *s, size_t digits, unsigned *ret)
{
    if (s->n < digits || !read_digits(s->p, digits, ret))
        return false;
    *s = str_skip(*s, digits);
    return true;
}

/* One of the three-letter names in a row, its place from 0. */
static bool scan_name(struct str *s, struct str names, unsigned *ret)
{
    for (unsigned i = 0; s->n >= 3 && i < names.n / 3; i++) {
        if (memcmp(s->p, names.p + (size_t)3 * i, 3) == 0) {
            *s = str_skip(*s, 3);
            *ret = i;
            return true;
        }
    }
    return false;
}

static bool scan_long_day(struct str *s)
{
    for (size_t i = 0; i < ARRAY_LEN(long_day_names); i++) {
        if (str_starts(*s, long_day_names[i])) {
            *s = str_skip(*s, long_day_names[i].n);
            return true;
        }
    }
    return false;
}

static bool scan_month_name(struct str *s, struct date *d)
{
    if (!scan_name(s, str_c(month_names), &d->month))
        return false;
    d->month++;
    return true;
}

/* RFC 9110 section 5.6.7: a two-digit year that appears to be more than 50 years in the future
 * stands for the most recent year in the past that had the same last two digits. */
static bool scan_short_year(struct str *s, struct date *d)
{
    unsigned weekday, now = date_of(clock_wall_us(), &weekday).year;

    if (!scan_number(s, 2, &d->year))
        return false;
    d->year += now / 100 * 100;
    if (d->year > now + 50)
        d->year -= 100;
    return true;
}

static bool scan_field(struct str *s, char field, struct date *d)
{
    unsigned weekday;

    switch (field) {
    case 'Y': return scan_number(s, 4, &d->year);
    case 'y': return scan_short_year(s, d);
    case 'b': return scan_month_name(s, d);
    case 'd': return scan_number(s, 2, &d->day);
    case 'e': /* padded with a space */
        if (!s->n || s->p[0] != ' ')
            return scan_number(s, 2, &d->day);
        *s = str_skip(*s, 1);
        return scan_number(s, 1, &d->day);
    case 'H': return scan_number(s, 2, &d->hour);
    case 'M': return scan_number(s, 2, &d->minute);
    case 'S': return scan_number(s, 2, &d->second);
    case 'a': return scan_name(s, str_c(day_names), &weekday);
    case 'A': return scan_long_day(s);
    default: return false;
    }
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Reads s by a pattern and cuts off what was read. */
static bool scan_date(struct str *s, const char *pattern, struct date *d)
{
    for (; *pattern; pattern++) {
        if (is_letter(*pattern)) {
            if (!scan_field(s, *pattern, d))
                return false;
            continue;
        }
        if (!s->n || s->p[0] != *pattern)
            return false;
        *s = str_skip(*s, 1);
    }
    return true;
}

/* ".123" as microseconds, rounded down; absent is 0. RFC 3339: time-secfrac = "." 1*DIGIT */
static bool scan_fraction(struct str *s, uint64_t *ret_us)
{
    uint64_t unit = US_PER_S / 10;
    size_t n = 1;

    *ret_us = 0;
    if (!s->n || s->p[0] != '.')
        return true;
    for (; n < s->n && s->p[n] >= '0' && s->p[n] <= '9'; n++, unit /= 10)
        *ret_us += (uint64_t)(s->p[n] - '0') * unit;
    *s = str_skip(*s, n);
    return n > 1;
}

/* RFC 3339: time-offset = "Z" / ("+" / "-") time-hour ":" time-minute; ends the text. */
static bool scan_offset(struct str *s, int64_t *ret_s)
{
    struct date d = {0};
    bool negative;

    *ret_s = 0;
    if (str_eq_nocase(*s, STR("Z")))
        return true;
    if (!s->n || (s->p[0] != '+' && s->p[0] != '-'))
        return false;
    negative = s->p[0] == '-';
    *s = str_skip(*s, 1);
    if (!scan_date(s, "H:M", &d) || s->n || d.hour > 23 || d.minute > 59)
        return false;
    *ret_s = ((int64_t)d.hour * 60 + d.minute) * 60;
    if (negative)
        *ret_s = -*ret_s;
    return true;
}

/* Each field has its place. Every answer of the upstream has some. */
static bool read_timestamp(struct str s, struct date *d)
{
    const char *p = s.p;

    return s.n >= TIMESTAMP && p[4] == '-' && p[7] == '-' && (p[10] == 'T' || p[10] == 't') &&
           p[13] == ':' && p[16] == ':' && read_digits(p, 4, &d->year) &&
           read_digits(p + 5, 2, &d->month) && read_digits(p + 8, 2, &d->day) &&
           read_digits(p + 11, 2, &d->hour) && read_digits(p + 14, 2, &d->minute) &&
           read_digits(p + 17, 2, &d->second) && date_valid(d);
}

bool clock_parse_rfc3339(struct str s, uint64_t *ret_wall_us)
{
    struct date d = {0};
    int64_t offset_s, since_1970_s;
    uint64_t fraction_us;

    if (!read_timestamp(s, &d))
        return false;
    s = str_skip(s, TIMESTAMP);
    if (!scan_fraction(&s, &fraction_us) || !scan_offset(&s, &offset_s))
        return false;
    since_1970_s = (int64_t)date_to_s(&d) - offset_s;
    if (since_1970_s < 0)
        return false;
    *ret_wall_us = (uint64_t)since_1970_s * US_PER_S + fraction_us;
    return true;
}

bool clock_parse_http_date(struct str s, uint64_t *ret_wall_us)
{
    /* RFC 9110 section 5.6.7: a recipient MUST accept all three HTTP-date formats. "GMT" is no part
     * of the patterns, where its letters would be fields. */
    static const struct {
        const char *pattern;
        struct str tail;
    } formats[] = {
        {"a, d b Y H:M:S", STR_INIT(" GMT")}, /* IMF-fixdate */
        {"A, d-b-y H:M:S", STR_INIT(" GMT")}, /* RFC 850 */
        {"a b e H:M:S Y", STR_INIT("")},      /* asctime */
    };

    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        struct date d = {0};
        struct str rest = s;
        if (scan_date(&rest, formats[i].pattern, &d) && str_eq(rest, formats[i].tail) &&
            date_valid(&d)) {
            *ret_wall_us = date_to_s(&d) * US_PER_S;
            return true;
        }
    }
    return false;
}
