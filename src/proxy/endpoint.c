/* endpoint.c - see endpoint.h. */
#include "proxy/endpoint.h"

#include "proxy/local.h"

static const struct endpoint endpoints[] = {
    {STR_INIT("/chat/completions"), METHOD_POST, ACCESS_CLIENT, &dialect_chat, NULL, false},
    {STR_INIT("/completions"), METHOD_POST, ACCESS_CLIENT, &dialect_completions, NULL, false},
    {STR_INIT("/models"), METHOD_GET, ACCESS_CLIENT, NULL, local_models_anthropic, true},
    {STR_INIT("/models"), METHOD_GET, ACCESS_CLIENT, NULL, local_models, false},
    {STR_INIT("/models/"), METHOD_GET, ACCESS_CLIENT, NULL, local_model_anthropic, true},
    {STR_INIT("/models/"), METHOD_GET | METHOD_DELETE, ACCESS_CLIENT, NULL, local_model, false},
    {STR_INIT("/health"), METHOD_GET, ACCESS_OPEN, NULL, local_health, false},
    {STR_INIT("/livez"), METHOD_GET, ACCESS_OPEN, NULL, local_livez, false},
    {STR_INIT("/readyz"), METHOD_GET, ACCESS_OPEN, NULL, local_readyz, false},
};

/* Parts of OpenAI's API that Claude has nothing behind; each covers the paths below it. */
static const struct {
    struct str path;
    const char *what;
} unsupported[] = {
    {STR_INIT("/embeddings"), "embeddings"},
    {STR_INIT("/audio"), "audio"},
    {STR_INIT("/images"), "image generation"},
    {STR_INIT("/moderations"), "moderation"},
    {STR_INIT("/fine_tuning"), "fine-tuning"},
    {STR_INIT("/assistants"), "assistants"},
    {STR_INIT("/threads"), "threads"},
    {STR_INIT("/vector_stores"), "vector stores"},
    {STR_INIT("/realtime"), "the realtime API"},
    {STR_INIT("/files"), "files in OpenAI's format"},
    {STR_INIT("/uploads"), "uploads"},
    {STR_INIT("/batches"), "batches in OpenAI's format"},
    {STR_INIT("/evals"), "evals"},
    {STR_INIT("/containers"), "containers"},
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

static bool skip_version(struct str *path)
{
    struct str rest = skip_prefix(*path, STR("/v1"));
    bool was_there = rest.n != path->n;
    *path = rest;
    return was_there;
}

/* /deployments/{id}/...: the id. */
static struct str skip_deployment(struct str *path)
{
    static const struct str top = STR_INIT("/deployments/");
    if (!str_starts(*path, top))
        return STR_NONE;
    struct str rest = str_skip(*path, top.n);
    struct str id = str_head(rest, str_find(rest, '/'));
    *path = skip_slashes(str_skip(rest, id.n));
    return id;
}

static struct str canonical(struct str path, struct str *ret_deployment)
{
    path = skip_slashes(path);
    struct str rest = skip_prefix(path, STR("/openai"));
    if (rest.n != path.n)
        *ret_deployment = skip_deployment(&rest);
    path = rest;
    while (skip_version(&path))
        continue;
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

struct endpoint_match endpoint_find(struct str path, bool anthropic)
{
    struct endpoint_match m = {0};
    path = canonical(path, &m.id);
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        const struct endpoint *e = &endpoints[i];
        bool takes_id = e->path.p[e->path.n - 1] == '/';
        if (e->anthropic && !anthropic)
            continue;
        if (takes_id ? str_starts(path, e->path) && path.n > e->path.n : str_eq(path, e->path)) {
            m.endpoint = e;
            m.id = takes_id ? str_skip(path, e->path.n) : m.id;
            return m;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(unsupported); i++)
        if (is_below(path, unsupported[i].path))
            m.unsupported = unsupported[i].what;
    return m;
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
