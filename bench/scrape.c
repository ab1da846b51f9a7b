/* scrape.c - what a page of 10,000 series costs the worker that writes it, and its longest turn.
 *
 * Prints: series, all in microseconds, the longest piece in microseconds; separated by tabs.
 */
#include "base/clock.h"
#include "obs/metrics.h"

enum {
    SERIES = 10000,
    A_PIECE = 1000,
    PAGE_MAX = 64 * 1024 * 1024
}; /* a piece as in proxy/scrape.c */

static void name_values(struct metrics *m, enum metric_label label, unsigned most)
{
    char text[32];
    for (unsigned i = 1; i < most; i++) {
        int n = snprintf(text, sizeof(text), "value-%u", i);
        metrics_value(m, label, str_of(text, (size_t)n));
    }
}

static void count_all(const struct meter *t)
{
    unsigned n = 0;
    for (unsigned a = 0; a < MOST_METHOD; a++)
        for (unsigned b = 0; b < MOST_ENDPOINT; b++)
            for (unsigned c = 0; c < MOST_STATUS; c++, n++)
                metrics_add(t, METRIC_REQUESTS, a, b, c, n + 1);
    for (unsigned a = 0; a < MOST_ERROR; a++)
        for (unsigned b = 0; b < MOST_ENDPOINT; b++, n++)
            metrics_add(t, METRIC_ERRORS, a, b, 0, n + 1);
    for (unsigned a = 0; a < MOST_STATUS; a++)
        for (unsigned b = 0; b < MOST_MODEL; b++, n++)
            metrics_add(t, METRIC_UPSTREAM_REQUESTS, a, b, 0, n + 1);
    for (unsigned a = 0; a < MOST_CLIENT && n < SERIES; a++)
        for (unsigned b = 0; b < MOST_TOKENS; b++, n++)
            metrics_add(t, METRIC_CLIENT_TOKENS, a, b, 0, n + 1);
}

static size_t lines_of(struct str page)
{
    size_t n = 0;
    struct str line;
    while (str_split(&page, '\n', &line))
        n += line.n > 0 && line.p[0] != '#';
    return n;
}

int main(void)
{
    const enum metric_label labels[] = {LABEL_METHOD, LABEL_ENDPOINT, LABEL_STATUS, LABEL_ERROR,
                                        LABEL_MODEL,  LABEL_CLIENT,   LABEL_TOKENS};

    const unsigned most[] = {MOST_METHOD, MOST_ENDPOINT, MOST_STATUS, MOST_ERROR,
                             MOST_MODEL,  MOST_CLIENT,   MOST_TOKENS};
    struct metrics *m = metrics_new();
    struct meter meters[] = {{m, 1}, {m, 2}};
    struct metrics_cursor at = {.n = 0};
    struct buf page;
    uint64_t all = 0, longest = 0;
    bool more = true;
    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        name_values(m, labels[i], most[i]);
    for (size_t i = 0; i < ARRAY_LEN(meters); i++) {
        metrics_join(m, meters[i].shard);
        count_all(&meters[i]);
    }
    buf_init(&page, PAGE_MAX);
    while (more) {
        uint64_t began = clock_precise_us();
        more = metrics_write(m, &at, A_PIECE, &page);
        uint64_t took = clock_precise_us() - began;
        all += took;
        longest = took > longest ? took : longest;
    }
    (void)printf("%zu\t%llu\t%llu\n", lines_of(buf_str(&page)), (unsigned long long)all,
                 (unsigned long long)longest);
    buf_done(&page);
    metrics_free(m);
    return 0;
}
