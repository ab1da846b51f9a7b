/* record.c - see record.h.
 *
 * Strangers leave no record: who has no key could fill the database with refusals. Metrics and the
 * log have them.
 */
#include "proxy/record.h"

#include "base/clock.h"
#include "proxy/endpoint.h"
#include "proxy/proxy_int.h"

static int64_t known(int64_t n)
{
    return n > 0 ? n : 0;
}

static void set_usage(struct journal_record *r, const struct exchange *x)
{
    const struct usage *u = &x->answer.usage;
    r->input = known(u->input);
    r->cache_read = known(u->cache_read);
    r->cache_write = known(u->cache_write);
    r->cache_write_1h = known(u->cache_write_1h);
    r->output = known(exchange_output_tokens(x, &r->estimated));
    r->reasoning = known(u->thinking);
    r->web_searches = known(u->web_searches);
    r->cost_micro_usd = known(exchange_cost(x));
}

void record_end(const struct exchange *x)
{
    if (!x->proxy->config->records || !x->client || !x->endpoint->dialect)
        return;
    struct journal_record r = {
        .at_us = clock_wall_us(),
        .duration_us = clock_us() - x->started_us,
        .status = x->status,
        .done = x->ending == FAIL_DONE,
    };
    journal_set(&r.id, x->id);
    journal_set(&r.client, x->client->name);
    journal_set(&r.model, x->decoded.model ? x->decoded.model->id : STR(""));
    journal_set(&r.endpoint, x->endpoint->path);
    journal_set(&r.ending, str_c(fail_row(x->ending)->name));
    if (x->answer.state != ANSWER_EMPTY)
        set_usage(&r, x);
    (void)journal_put(x->proxy->shared->journal, x->proxy->owner, &r); /* the loss is counted */
}
