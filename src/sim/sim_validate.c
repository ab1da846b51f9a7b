/* sim_validate.c - whether the Messages API would take a request; see sim_validate.h.
 *
 *   shape (sim_shape, sim_tables, sim_rules) -> model -> steps[] in order -> accepted
 *
 * Each step is one rule of the service about the request as a whole. What a model can do comes from
 * its row in the table of models, never from its name.
 */
#include "sim/sim_validate.h"

#include "sim/sim_rules.h"
#include "sim/sim_shape.h"
#include "sim/sim_turns.h"

enum {
    CACHE_POINTS_MAX = 4,
    STRICT_TOOLS_MAX = 20,
    OPTIONAL_MAX = 24,
    UNIONS_MAX = 16,
    BYTES_PER_TOKEN = 4,
    TOKENS_PER_IMAGE = 1568,
    TOKENS_PER_DOCUMENT = 3000,
};

/* ---- models ---- */

static struct models *table;

const struct models *sim_models(void)
{
    static const struct models_options none;
    char error[MODELS_ERROR];
    if (!table)
        table = models_new(&none, error);
    ASSERT(table);
    return table;
}

void sim_models_done(void)
{
    if (table)
        models_free(table);
    table = NULL;
}

const struct model *sim_model_find(struct str name)
{
    const struct models *m = sim_models();
    for (size_t i = 0; i < models_count(m); i++) {
        const struct model *row = models_at(m, i);
        if (str_eq(row->id, name) || (row->alias.n && str_eq(row->alias, name)))
            return row;
    }
    return NULL;
}

static bool check_model(struct check *c)
{
    const struct model *m = c->request->model;
    if (m && m->lifecycle != MODEL_RETIRED)
        return true;
    struct str name = json_str(json_get(c->request->root, STR("model")), c->a);
    struct shape_path path = {.name = STR("model")};
    check_fail(c, &path, "%.*s", STR_FMT(str_head(name, size_min(name.n, 256))));
    c->error->status = 404;
    c->error->type = "not_found_error";
    return false;
}

/* ---- what is sampled, and how much ---- */

static bool check_max_tokens(struct check *c)
{
    struct sim_request *q = c->request;
    if (q->counting || !json_i64(json_get(q->root, STR("max_tokens")), &q->max_tokens))
        return true;
    if (q->max_tokens <= q->model->max_output)
        return true;
    struct shape_path path = {.name = STR("max_tokens")};
    return check_fail(
        c, &path, "%lld > %lld, which is the maximum allowed number of output tokens for %.*s",
        (long long)q->max_tokens, (long long)q->model->max_output, STR_FMT(q->model->id));
}

static bool fail_deprecated(struct check *c, const char *name)
{
    return check_fail(c, NULL, "`%s` is deprecated for this model.", name);
}

static bool check_sampling_thinking(struct check *c, struct jval temperature, double top_p,
                                    struct jval top_k)
{
    double t;
    if (c->request->thinks == SIM_THINK_OFF)
        return true;
    if (json_f64(temperature, &t) && (t < 1.0 || t > 1.0))
        return check_fail(c, NULL,
                          "`temperature` may only be set to 1 when thinking is enabled or in "
                          "adaptive mode.");
    if (json_present(top_k))
        return check_fail(c, NULL, "`top_k` must be unset when thinking is enabled.");
    if (top_p < 0.95)
        return check_fail(c, NULL,
                          "`top_p` must be greater than or equal to 0.95 or unset when thinking is "
                          "enabled.");
    return true;
}

/* temperature, top_p, top_k: gone with 2026-10-21, and with the models since 4.7. */
static bool check_sampling(struct check *c)
{
    static const char *const names[] = {"temperature", "top_p", "top_k"};
    struct jval v[3];
    for (size_t i = 0; i < 3; i++) {
        v[i] = json_get(c->request->root, str_c(names[i]));
        struct shape_path path = {.name = str_c(names[i])};
        if (json_present(v[i]) && str_eq(c->request->version, SIM_VERSION_NEW))
            return check_fail(c, &path, "Extra inputs are not permitted");
    }
    double temperature = 1.0, top_p = 1.0;
    int64_t top_k = 0;
    bool has_temperature = json_present(v[0]) && json_f64(v[0], &temperature);
    bool has_top_p = json_present(v[1]) && json_f64(v[1], &top_p);
    if (json_present(v[2]) && json_i64(v[2], &top_k) && top_k < 0)
        return check_fail(c, NULL, "top_k: Input should be greater than or equal to 0");
    if (c->request->model->can & CAN_SAMPLE) {
        if (has_temperature && has_top_p)
            return check_fail(c, NULL,
                              "`temperature` and `top_p` cannot both be specified for this model. "
                              "Please use only one.");
        return check_sampling_thinking(c, v[0], top_p, v[2]);
    }
    if (has_temperature && temperature < 1.0)
        return fail_deprecated(c, "temperature");
    if (has_top_p && top_p < 0.99)
        return fail_deprecated(c, "top_p");
    return !json_present(v[2]) || fail_deprecated(c, "top_k");
}

static bool check_stops(struct check *c)
{
    struct shape_path path = {.name = STR("stop_sequences")};
    json_each (s, json_get(c->request->root, STR("stop_sequences"))) {
        if (rule_is_blank(s))
            return check_fail(c, &path, "each stop sequence must contain non-whitespace");
    }
    return true;
}

static bool check_geo(struct check *c)
{
    struct jval geo = json_get(c->request->root, STR("inference_geo"));
    /* Models with a 4.5 number are the last that sample after a prefill, and know no regions. */
    if (!json_is(geo, JSON_STRING) || !(c->request->model->can & CAN_PREFILL))
        return true;
    return check_fail(c, NULL, "inference_geo: not supported for this model");
}

/* ---- thinking, effort ---- */

static const struct thinking_type {
    struct str name;
    uint32_t bit;
    enum sim_thinking thinks;
} thinking_types[] = {
    {STR_INIT("adaptive"), CAN_THINK_ADAPTIVE, SIM_THINK_ON},
    {STR_INIT("enabled"), CAN_THINK_ENABLED, SIM_THINK_ON},
    {STR_INIT("disabled"), CAN_THINK_DISABLED, SIM_THINK_OFF},
    {STR_INIT("between_tools"), CAN_THINK_BETWEEN, SIM_THINK_BETWEEN},
};

static bool fail_thinking(struct check *c, const struct thinking_type *t)
{
    if (t->bit == CAN_THINK_ADAPTIVE)
        return check_fail(c, NULL, "adaptive thinking is not supported on this model");
    return check_fail(c, NULL,
                      "\"thinking.type.%.*s\" is not supported for this model. Use "
                      "\"thinking.type.adaptive\" and \"output_config.effort\" to control thinking "
                      "behavior.",
                      STR_FMT(t->name));
}

static bool check_budget(struct check *c)
{
    const struct sim_request *q = c->request;
    int64_t budget;
    if (!json_i64(json_get(q->thinking, STR("budget_tokens")), &budget) || q->counting)
        return true;
    if (budget < q->max_tokens || check_has_beta(c, "interleaved-thinking-2025-05-14"))
        return true;
    return check_fail(c, NULL, "`max_tokens` must be greater than `thinking.budget_tokens`.");
}

static bool check_thinking(struct check *c)
{
    struct sim_request *q = c->request;
    q->thinks = q->model->think == THINK_OFF ? SIM_THINK_OFF : SIM_THINK_ON;
    q->show_thinking = !q->model->display_omitted;
    if (!json_present(q->thinking))
        return true;
    struct jval type = json_get(q->thinking, STR("type"));
    for (size_t i = 0; i < ARRAY_LEN(thinking_types); i++) {
        if (!json_str_is(type, thinking_types[i].name))
            continue;
        if (!(q->model->can & thinking_types[i].bit))
            return fail_thinking(c, &thinking_types[i]);
        q->thinks = thinking_types[i].thinks;
    }
    struct jval display = json_get(q->thinking, STR("display"));
    if (json_str_is(display, STR("updates")) &&
        !check_has_beta(c, "thinking-display-updates-2026-08-18"))
        return check_fail(c, NULL, "thinking.display: Input should be 'summarized' or 'omitted'");
    if (json_is(display, JSON_STRING))
        q->show_thinking = !json_str_is(display, STR("omitted"));
    return check_budget(c);
}

static struct str supported_efforts(struct check *c)
{
    struct str out = STR("");
    for (unsigned bit = EFFORT_LOW; bit <= EFFORT_MAX; bit <<= 1) {
        if (c->request->model->efforts & bit)
            out = arena_printf(c->a, "%.*s%s'%s'", STR_FMT(out), out.n ? ", " : "",
                               model_effort_name((enum effort)bit));
    }
    return out;
}

static bool check_effort(struct check *c)
{
    /* 2026-07-24: models since then refuse much effort without thinking. */
    static const int64_t no_effort_without_thinking = 1784851200;
    const struct sim_request *q = c->request;
    struct jval v = json_get(q->output_config, STR("effort"));
    if (!json_is(v, JSON_STRING))
        return true;
    if (q->model->efforts == 0)
        return check_fail(c, NULL, "This model does not support the effort parameter.");
    unsigned effort = 0;
    for (unsigned bit = EFFORT_LOW; bit <= EFFORT_MAX; bit <<= 1) {
        if (json_str_is(v, str_c(model_effort_name((enum effort)bit))))
            effort = bit;
    }
    if (!(q->model->efforts & effort))
        return check_fail(
            c, NULL,
            "output_config.effort: '%.*s' is not supported for this model. Use one of: %.*s",
            STR_FMT(json_str(v, c->a)), STR_FMT(supported_efforts(c)));
    bool much = effort == EFFORT_XHIGH || effort == EFFORT_MAX;
    bool refused = q->thinks == SIM_THINK_BETWEEN ||
                   (q->thinks == SIM_THINK_OFF && q->model->created >= no_effort_without_thinking);
    if (much && refused)
        return check_fail(
            c, NULL, "output_config.effort: '%.*s' is not supported with \"thinking.type.%.*s\"",
            STR_FMT(json_str(v, c->a)),
            STR_FMT(json_str(json_get(q->thinking, STR("type")), c->a)));
    return true;
}

/* ---- structured output and tools ---- */

static bool check_counts(struct check *c, unsigned optional, unsigned unions)
{
    if (optional > OPTIONAL_MAX)
        return check_fail(c, NULL,
                          "Schemas contains too many optional parameters (%u), which would make "
                          "grammar compilation inefficient. Reduce the number of optional "
                          "parameters in your tool schemas (limit: %d).",
                          optional, OPTIONAL_MAX);
    if (unions > UNIONS_MAX)
        return check_fail(c, NULL,
                          "Schemas contains too many parameters with union types (%u parameters "
                          "with type arrays or anyOf). Reduce the number of nullable or "
                          "union-typed parameters (limit: %d).",
                          unions, UNIONS_MAX);
    return true;
}

static bool check_strict(struct check *c)
{
    struct sim_request *q = c->request;
    unsigned optional = 0, unions = 0, strict = 0;
    struct shape_path config = {.name = STR("output_config")};
    struct shape_path format = {.up = &config, .name = STR("format")};
    struct shape_path schema = {.up = &format, .name = STR("schema")};
    bool can = q->model->can & CAN_STRUCTURED;
    if (json_present(q->format) && !can)
        return check_fail(c, &format, "structured outputs are not supported for this model");
    if (json_present(q->format) &&
        !rule_strict_schema(c, json_get(q->format, STR("schema")), &schema, &optional, &unions))
        return false;
    struct shape_path tools = {.name = STR("tools")};
    struct shape_path tool = {.up = &tools};
    struct shape_path custom = {.up = &tool, .name = STR("custom")};
    json_each (t, q->tools) {
        struct jval input = json_get(t, STR("input_schema"));
        bool on = json_true(json_get(t, STR("strict"))) && json_present(input);
        if (on && !can)
            return check_fail(c, &custom, "strict tools are not supported for this model");
        if (on && !rule_strict_schema(c, input, &custom, &optional, &unions))
            return false;
        strict += on;
        tool.index++;
    }
    if (strict > STRICT_TOOLS_MAX)
        return check_fail(c, &tools, "Too many strict tools (%u). The maximum is %d.", strict,
                          STRICT_TOOLS_MAX);
    return check_counts(c, optional, unions);
}

static struct jval tool_by_name(const struct sim_request *q, struct jval name, struct jval before)
{
    json_each (t, q->tools) {
        if (json_present(before) && t.i == before.i)
            break;
        if (str_eq(json_str_raw(json_get(t, STR("name"))), json_str_raw(name)))
            return t;
    }
    return JVAL_NONE;
}

static bool check_tool_names(struct check *c)
{
    struct shape_path path = {.name = STR("tools")};
    json_each (t, c->request->tools) {
        struct jval name = json_get(t, STR("name"));
        if (json_present(name) && json_present(tool_by_name(c->request, name, t)))
            return check_fail(c, &path, "Tool names must be unique.");
    }
    return true;
}

static bool check_tool_choice(struct check *c)
{
    const struct sim_request *q = c->request;
    if (!json_present(q->tool_choice))
        return true;
    struct jval type = json_get(q->tool_choice, STR("type"));
    bool named = json_str_is(type, STR("tool")), forced = named || json_str_is(type, STR("any"));
    if (!json_present(q->tools) || json_empty(q->tools))
        return json_str_is(type, STR("none")) ||
               check_fail(c, NULL, "tool_choice may only be specified while providing tools");
    if (forced && !(q->model->can & CAN_FORCE_TOOL))
        return check_fail(
            c, NULL, "tool_choice: type \"tool\" and \"any\" are not supported for this model.");
    if (forced && json_str_is(json_get(q->thinking, STR("type")), STR("enabled")))
        return check_fail(c, NULL, "Thinking may not be enabled when tool_choice forces tool use.");
    struct jval name = json_get(q->tool_choice, STR("name"));
    if (named && !json_present(tool_by_name(q, name, JVAL_NONE)))
        return check_fail(c, NULL, "Tool '%.*s' not found in provided tools",
                          STR_FMT(json_str(name, c->a)));
    return true;
}

/* ---- cache, size ---- */

struct ttl_walk {
    bool short_seen, wrong;
};

static bool see_ttl(void *ctx, struct jval block, struct jval cache)
{
    (void)block;
    struct ttl_walk *w = ctx;
    if (!json_present(cache))
        return true;
    bool hour = json_str_is(json_get(cache, STR("ttl")), STR("1h"));
    w->wrong = w->wrong || (hour && w->short_seen);
    w->short_seen = w->short_seen || !hour;
    return !w->wrong;
}

static bool check_cache(struct check *c)
{
    size_t n = c->request->breakpoints;
    if (n == 0)
        return true;
    if (n > CACHE_POINTS_MAX)
        return check_fail(c, NULL,
                          "A maximum of %d blocks with cache_control may be provided. Found %zu.",
                          CACHE_POINTS_MAX, n);
    struct ttl_walk w = {0};
    if (prefix_each(c->request, see_ttl, &w))
        return true;
    return check_fail(c, NULL,
                      "cache_control.ttl: a ttl='1h' cache_control block must not come after a "
                      "ttl='5m' cache_control block. Note that blocks are processed in the "
                      "following order: `tools`, `system`, `messages`.");
}

static bool check_size(struct check *c)
{
    struct sim_request *q = c->request;
    size_t bytes = json_raw(q->system).n + json_raw(q->messages).n + json_raw(q->tools).n;
    bytes -= size_min(q->media_bytes, bytes);
    q->input_tokens = (int64_t)(bytes / BYTES_PER_TOKEN + q->images * TOKENS_PER_IMAGE +
                                q->documents * TOKENS_PER_DOCUMENT + 1);
    if (q->input_tokens <= q->model->context)
        return true;
    return check_fail(c, NULL, "prompt is too long: %lld tokens > %lld maximum",
                      (long long)q->input_tokens, (long long)q->model->context);
}

/* ---- the order ---- */

static bool (*const steps[])(struct check *c) = {
    check_model, check_max_tokens, check_thinking, check_sampling,   check_stops,
    check_geo,   check_effort,     check_strict,   check_tool_names, check_tool_choice,
    turns_check, check_cache,      check_size,
};

/* A member of the root; null is the same as absent. */
static struct jval member(struct jval root, struct str name)
{
    struct jval v = json_get(root, name);
    return json_type(v) == JSON_NULL ? JVAL_NONE : v;
}

static void take_members(struct sim_request *q)
{
    q->messages = member(q->root, STR("messages"));
    q->system = member(q->root, STR("system"));
    q->tools = member(q->root, STR("tools"));
    q->tool_choice = member(q->root, STR("tool_choice"));
    q->thinking = member(q->root, STR("thinking"));
    q->output_config = member(q->root, STR("output_config"));
    q->format = member(q->output_config, STR("format"));
    if (!json_present(q->format))
        q->format = member(q->root, STR("output_format"));
}

bool sim_validate_request(const struct json *doc, struct arena *a, struct sim_request *q,
                          struct sim_error *ret)
{
    struct check c = {.a = a, .request = q, .error = ret};
    q->root = json_root(doc);
    if (!json_is(q->root, JSON_OBJECT))
        return check_fail(&c, NULL, "Input should be a valid dictionary");
    q->model = sim_model_find(json_str(member(q->root, STR("model")), a));
    if (!shape_check(&c, &shape_request, q->root, NULL))
        return false;
    take_members(q);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        if (!steps[i](&c))
            return false;
    }
    return true;
}

bool sim_validate(const struct json *doc, struct str version, struct arena *a,
                  struct sim_error *ret)
{
    struct sim_request q = {.version = version};
    return sim_validate_request(doc, a, &q, ret);
}

/* ---- betas ---- */

bool sim_betas_known(struct str betas, struct str *ret_unknown)
{
    /* Prefixes: a feature's later editions are taken too. */
    static const struct str known[] = {
        STR_INIT("computer-use-"),
        STR_INIT("output-"),
        STR_INIT("mcp-client-"),
        STR_INIT("mcp-tunnels-"),
        STR_INIT("dev-full-thinking-"),
        STR_INIT("interleaved-thinking-"),
        STR_INIT("code-execution-"),
        STR_INIT("context-1m-"),
        STR_INIT("context-management-"),
        STR_INIT("model-context-window-exceeded-"),
        STR_INIT("fast-mode-"),
        STR_INIT("user-profiles-"),
        STR_INIT("advisor-tool-"),
        STR_INIT("managed-agents-"),
        STR_INIT("dreaming-"),
        STR_INIT("agent-memory-"),
        STR_INIT("thinking-"),
        STR_INIT("server-side-fallback-"),
        STR_INIT("fallback-credit-"),
        STR_INIT("mid-conversation-"),
        STR_INIT("inline-tools-"),
        STR_INIT("compact-"),
        STR_INIT("structured-outputs-"),
        STR_INIT("task-budgets-"),
        STR_INIT("message-threads-"),
        STR_INIT("message-batches-"),
        STR_INIT("prompt-caching-"),
        STR_INIT("pdfs-"),
        STR_INIT("token-counting-"),
        STR_INIT("token-efficient-tools-"),
        STR_INIT("files-api-"),
        STR_INIT("skills-"),
        STR_INIT("extended-cache-ttl-"),
        STR_INIT("cache-diagnosis-"),
        STR_INIT("oauth-"),
        STR_INIT("fine-grained-tool-streaming-"),
        STR_INIT("claude-code-"),
        STR_INIT("dangerous-tool-use-"),
    };
    struct str rest = betas, part;
    while (str_split(&rest, ',', &part)) {
        part = str_trim(part);
        bool found = part.n == 0;
        for (size_t i = 0; !found && i < ARRAY_LEN(known); i++)
            found = str_starts(part, known[i]);
        if (!found) {
            *ret_unknown = part;
            return false;
        }
    }
    return true;
}
