/* test_price.c - what answers cost: every kind of token, tiers, tariffs, rounding, absurd counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/models.h"
#include "llm/price.h"

/* Of a million tokens: 1, 5, 1.25, 2 and 0.1 dollars; above 1000 tokens of prompt, tenfold. */
static const struct model model = {
    .price = {1000000, 5000000, 1250000, 2000000, 100000},
    .tier_above = 1000,
    .price_high = {10000000, 50000000, 12500000, 20000000, 1000000},
};

static const struct {
    struct usage usage;
    int64_t micro_usd;
} costs[] = {
    {{.input = 0}, 0},
    {{.input = -1, .output = -1, .cache_read = -1, .web_searches = -1}, 0},
    {{.input = 100}, 100},
    {{.output = 100}, 500},
    {{.cache_read = 1000}, 100},
    {{.cache_write = 100}, 125},
    {{.cache_write = 100, .cache_write_1h = 100}, 200},
    {{.cache_write = 100, .cache_write_1h = 40}, 75 + 80},
    {{.cache_write_1h = 100}, 200},
    {{.output = 100, .thinking = 90}, 500}, /* a part of output */
    {{.web_searches = 3}, 30000},
    {{.input = 100, .output = 100, .cache_read = 100, .cache_write = 100, .web_searches = 1},
     100 + 500 + 10 + 125 + 10000},
    {{.cache_read = 1}, 1}, /* a tenth, rounded up */
    {{.input = 1000, .output = 1}, 1005},
    {{.input = 400, .cache_read = 400, .cache_write = 201, .output = 1}, 4000 + 400 + 2513 + 50},
    {{.input = 100, .output = 100, .tariffs = TARIFF_BATCH}, 300},
    {{.input = 100, .output = 100, .tariffs = TARIFF_FAST}, 1200},
    {{.input = 100, .output = 100, .tariffs = TARIFF_US}, 660},
    {{.input = 100, .output = 100, .tariffs = TARIFF_FAST | TARIFF_US}, 1320},
    {{.input = 100, .web_searches = 1, .tariffs = TARIFF_BATCH},
     10050}, /* searches cost the same */
    {{.output = INT64_MAX, .tariffs = TARIFF_FAST},
     INT64_C(10000000000)}, /* cut at a thousand million */
};

static void test_costs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(costs); i++)
        if (price_micro_usd(&model, &costs[i].usage) != costs[i].micro_usd)
            fail_msg("row %zu: %lld", i, (long long)price_micro_usd(&model, &costs[i].usage));
}

static const struct {
    struct usage usage;
    int64_t micro_usd;
} savings[] = {
    {{.input = 1000}, 0},
    {{.cache_read = 1000}, 900},
    {{.cache_write = 1000}, -250},
    {{.cache_write = 1000, .cache_write_1h = 1000}, -1000},
    {{.cache_read = 1000, .tariffs = TARIFF_BATCH}, 450},
};

static void test_savings(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(savings); i++)
        if (price_cache_saved_micro_usd(&model, &savings[i].usage) != savings[i].micro_usd)
            fail_msg("row %zu: %lld", i,
                     (long long)price_cache_saved_micro_usd(&model, &savings[i].usage));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_costs),
                                       cmocka_unit_test(test_savings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
