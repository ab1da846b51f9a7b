/* endpoint.c - see endpoint.h. */
#include "proxy/endpoint.h"

#include "config/listen.h"
#include "proxy/dashboard.h"
#include "proxy/local.h"
#include "proxy/scrape.h"

enum {
    OPERATORS_STATS = RIGHT_STATS | RIGHT_ADMIN,
    OPERATORS_METRICS = RIGHT_METRICS | RIGHT_STATS | RIGHT_ADMIN,
};

static const struct endpoint endpoints[] = {
    {STR_INIT("/chat/completions"), METHOD_POST, RIGHT_CHAT, &dialect_chat, NULL, false},
    {STR_INIT("/completions"), METHOD_POST, RIGHT_CHAT, &dialect_completions, NULL, false},
    {STR_INIT("/models"), METHOD_GET, RIGHT_MODELS, NULL, local_models, false},
    {STR_INIT("/models/"), METHOD_GET | METHOD_DELETE, RIGHT_MODELS, NULL, local_model, false},
    {STR_INIT("/health"), METHOD_GET, 0, NULL, local_health, false},
    {STR_INIT("/livez"), METHOD_GET, 0, NULL, local_livez, false},
    {STR_INIT("/readyz"), METHOD_GET, 0, NULL, local_readyz, false},
    {STR_INIT("/metrics"), METHOD_GET, OPERATORS_METRICS, NULL, scrape_metrics, true},
    {STR_INIT("/stats"), METHOD_GET, OPERATORS_STATS, NULL, scrape_stats, true},
    {STR_INIT("/dashboard"), METHOD_GET, 0, NULL, dashboard_html, false},
    {STR_INIT("/dashboard.css"), METHOD_GET, 0, NULL, dashboard_css, false},
    {STR_INIT("/dashboard.js"), METHOD_GET, 0, NULL, dashboard_js, false},
};

/* Parts of both APIs that are not here, and why; each covers the paths below it. */
static const struct {
    struct str path;
    const char *why;
} unsupported[] = {
    {STR_INIT("/embeddings"), "Claude has no embeddings"},
    {STR_INIT("/audio"), "Claude has no audio"},
    {STR_INIT("/images"), "Claude has no image generation"},
    {STR_INIT("/videos"), "Claude has no video generation"},
    {STR_INIT("/moderations"), "Claude has no moderation"},
    {STR_INIT("/fine_tuning"), "Claude has no fine-tuning"},
    {STR_INIT("/fine-tunes"), "Claude has no fine-tuning"},
    {STR_INIT("/assistants"), "Claude has no assistants"},
    {STR_INIT("/threads"), "Claude has no threads"},
    {STR_INIT("/vector_stores"), "Claude has no vector stores"},
    {STR_INIT("/realtime"), "Claude has no realtime API"},
    {STR_INIT("/live"), "Claude has no realtime API"},
    {STR_INIT("/files"), "Claude has no files in OpenAI's format"},
    {STR_INIT("/uploads"), "Claude has no uploads"},
    {STR_INIT("/batches"), "Claude has no batches in OpenAI's format"},
    {STR_INIT("/evals"), "Claude has no evals"},
    {STR_INIT("/graders"), "Claude has no graders"},
    {STR_INIT("/containers"), "Claude has no containers in OpenAI's format"},
    {STR_INIT("/skills"), "Claude has no skills in OpenAI's format"},
    {STR_INIT("/conversations"), "Claude has no stored conversations"},
    {STR_INIT("/chat/completions"), "Claude has no stored answers"},
    {STR_INIT("/edits"), "Claude has no edits API; use /v1/chat/completions"},
    {STR_INIT("/engines"), "engines are no more; use /v1/models and /v1/chat/completions"},
    {STR_INIT("/chatkit"), "Claude has no ChatKit"},
    {STR_INIT("/agents"), "Claude has no agents in OpenAI's format"},
    {STR_INIT("/organization"), "this is not OpenAI's administration"},
    {STR_INIT("/responses"), "the Responses API is not served here; use /v1/chat/completions"},
    {STR_INIT("/messages"), "the Messages API is not served here; use /v1/chat/completions"},
};

static bool is_below(struct str path, struct str top)
{
    return str_starts(path, top) && (path.n == top.n || path.p[top.n] == '/');
}

static struct str skip_slashes(struct str path)
{
    while (str_starts(path, STR("//")))
        path = str_skip(path, 1);
    return path;
}

static struct str skip_prefix(struct str path, struct str prefix)
{
    return is_below(path, prefix) ? skip_slashes(str_skip(path, prefix.n)) : path;
}

/* Azure's form, /openai/deployments/{model}/chat/completions: the model is part of the path. */
static struct str skip_deployment(struct str path, struct str *ret_model)
{
    static const struct str prefix = STR_INIT("/deployments/");
    struct str rest = skip_prefix(path, STR("/openai"));
    if (rest.n == path.n || !str_starts(rest, prefix))
        return rest;
    rest = str_skip(rest, prefix.n);
    *ret_model = str_head(rest, str_find(rest, '/'));
    return skip_slashes(str_skip(rest, ret_model->n));
}

static struct str canonical(struct str path, struct str *ret_model)
{
    path = skip_deployment(skip_slashes(path), ret_model);
    while (is_below(path, STR("/v1")))
        path = skip_prefix(path, STR("/v1"));
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

const struct endpoint *endpoint_find(struct str path, struct str *ret_rest,
                                     const char **ret_unsupported)
{
    *ret_rest = STR_NONE;
    path = canonical(path, ret_rest);
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        const struct endpoint *e = &endpoints[i];
        bool takes_id = e->path.p[e->path.n - 1] == '/';
        if (takes_id ? str_starts(path, e->path) && path.n > e->path.n : str_eq(path, e->path)) {
            if (takes_id)
                *ret_rest = str_skip(path, e->path.n);
            return e;
        }
    }
    *ret_unsupported = NULL;
    for (size_t i = 0; i < ARRAY_LEN(unsupported); i++)
        if (is_below(path, unsupported[i].path))
            *ret_unsupported = unsupported[i].why;
    return NULL;
}

size_t endpoint_count(void)
{
    return ARRAY_LEN(endpoints);
}

const struct endpoint *endpoint_at(size_t i)
{
    return &endpoints[i];
}

size_t endpoint_index(const struct endpoint *e)
{
    return (size_t)(e - endpoints);
}

bool endpoint_is_clients(const struct endpoint *e)
{
    return !e || e->right & (RIGHT_CHAT | RIGHT_MODELS);
}

static unsigned whose(const struct endpoint *e)
{
    if (endpoint_is_clients(e))
        return SERVES_CLIENTS;
    bool operators = e->right || str_starts(e->path, STR("/dashboard"));
    return operators ? SERVES_OPERATORS : SERVES_CLIENTS | SERVES_OPERATORS;
}

bool endpoint_is_at(const struct endpoint *e, unsigned serves)
{
    return whose(e) & serves;
}

bool endpoint_allows(const struct endpoint *e, const struct h1_head *head)
{
    switch (head->method) {
    case H1_GET:
    case H1_HEAD: return e->methods & METHOD_GET;
    case H1_POST: return e->methods & METHOD_POST;
    case H1_OPTIONS: return true;
    case H1_OTHER:
        return e && e->methods & METHOD_DELETE && str_eq(head->method_text, STR("DELETE"));
    }
    UNREACHABLE();
}

const char *endpoint_allow_list(const struct endpoint *e)
{
    if (!e)
        return "GET, HEAD, POST, OPTIONS";
    return e->methods & METHOD_GET ? "GET, HEAD, OPTIONS" : "POST, OPTIONS";
}
