/* price.c - see price.h. Prices are micro-dollars per million tokens, so products are divided once, at
 * the end. Counts are bounded by what models can produce; absurd ones are cut, not wrapped.
 */
#include "llm/price.h"

enum { MILLION = 1000 * 1000, SEARCH_MICRO_USD = 10 * 1000 };

static int64_t count(int64_t n)
{
    const int64_t most = INT64_C(1000000000);
    return n < 0 ? 0 : n > most ? most : n;
}

static const struct model_price *price_of(const struct model *m, const struct usage *u)
{
    return m->tier_above > 0 && usage_prompt_tokens(u) > m->tier_above ? &m->price_high : &m->price;
}

/* In percent of the model's prices; several go on top of each other. */
static __int128_t at_tariffs(__int128_t sum, uint32_t tariffs)
{
    static const struct {
        enum tariff tariff;
        int percent;
    } rows[] = {{TARIFF_BATCH, 50}, {TARIFF_FAST, 200}, {TARIFF_US, 110}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (tariffs & rows[i].tariff)
            sum = sum * rows[i].percent / 100;
    return sum;
}

int64_t price_micro_usd(const struct model *model, const struct usage *u)
{
    const struct model_price *p = price_of(model, u);
    int64_t hour = count(u->cache_write_1h), written = count(u->cache_write);
    __int128_t sum =
        (__int128_t)count(u->input) * p->input + (__int128_t)count(u->output) * p->output;
    sum += (__int128_t)count(u->cache_read) * p->read + (__int128_t)hour * p->write_1h;
    sum += (__int128_t)(written > hour ? written - hour : 0) * p->write_5m;
    sum = at_tariffs(sum, u->tariffs);
    return (int64_t)((sum + MILLION - 1) / MILLION) + count(u->web_searches) * SEARCH_MICRO_USD;
}

int64_t price_cache_saved_micro_usd(const struct model *model, const struct usage *u)
{
    const struct model_price *p = price_of(model, u);
    int64_t hour = count(u->cache_write_1h), written = count(u->cache_write);
    __int128_t saved = (__int128_t)count(u->cache_read) * (p->input - p->read);
    saved -= (__int128_t)hour * (p->write_1h - p->input);
    saved -= (__int128_t)(written > hour ? written - hour : 0) * (p->write_5m - p->input);
    return (int64_t)(at_tariffs(saved, u->tariffs) / MILLION);
}
