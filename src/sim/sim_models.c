/* sim_models.c - the table of models in the shape of the Models API, newest first. */
#include "sim/sim_models.h"

#include "base/clock.h"
#include "base/text.h"
#include "wire/jsonw.h"

static const char *const lines[] = {
    [LINE_HAIKU] = "haiku", [LINE_SONNET] = "sonnet", [LINE_OPUS] = "opus",
    [LINE_FABLE] = "fable", [LINE_MYTHOS] = "mythos",
};

static const char *const lifecycles[] = {
    [MODEL_ACTIVE] = "active",
    [MODEL_DEPRECATED] = "deprecated",
    [MODEL_RETIRED] = "retired",
};

static bool is_number(struct str s)
{
    uint64_t n;
    return str_to_u64(s, &n);
}

/* "claude-haiku-4-5-20251001" -> "Claude Haiku 4.5" */
static void put_display_name(struct str id, struct buf *out)
{
    enum { DATE = 8 };
    struct str rest = id, part;
    bool number_before = false;
    while (str_split(&rest, '-', &part)) {
        bool number = is_number(part);
        if (part.n == 0 || (number && part.n == DATE))
            continue;
        if (buf_len(out) != 0)
            buf_append(out, number && number_before ? STR(".") : STR(" "));
        char first = part.p[0] >= 'a' && part.p[0] <= 'z' ? (char)(part.p[0] - 32) : part.p[0];
        buf_append(out, str_of(&first, 1));
        buf_append(out, str_skip(part, 1));
        number_before = number;
    }
}

static void put_flag(struct jsonw *w, const char *name, bool on)
{
    jsonw_key(w, str_c(name));
    jsonw_object(w);
    jsonw_field_bool(w, "supported", on);
    jsonw_object_end(w);
}

/* Starts a group: {"supported":on, ... */
static void put_group(struct jsonw *w, const char *name, bool on)
{
    jsonw_key(w, str_c(name));
    jsonw_object(w);
    jsonw_field_bool(w, "supported", on);
}

static void put_capabilities(struct jsonw *w, const struct model *m)
{
    static const char *const everywhere[] = {"batch", "citations", "code_execution"};
    static const char *const edits[] = {"clear_thinking_20251015", "clear_tool_uses_20250919",
                                        "compact_20260112"};

    static const struct {
        const char *name;
        uint32_t bit;
    } thinking[] = {{"adaptive", CAN_THINK_ADAPTIVE},
                    {"between_tools", CAN_THINK_BETWEEN},
                    {"disabled", CAN_THINK_DISABLED},
                    {"enabled", CAN_THINK_ENABLED}};

    jsonw_key(w, STR("capabilities"));
    jsonw_object(w);
    for (size_t i = 0; i < ARRAY_LEN(everywhere); i++)
        put_flag(w, everywhere[i], true);
    put_group(w, "context_management", true);
    for (size_t i = 0; i < ARRAY_LEN(edits); i++)
        put_flag(w, edits[i], true);
    jsonw_object_end(w);
    put_group(w, "effort", m->efforts != 0);
    for (unsigned e = EFFORT_LOW; e <= EFFORT_MAX; e <<= 1)
        put_flag(w, model_effort_name((enum effort)e), m->efforts & e);
    jsonw_object_end(w);
    put_flag(w, "image_input", m->can & CAN_IMAGE);
    put_flag(w, "pdf_input", m->can & CAN_PDF);
    put_group(w, "server_tools", true);
    put_flag(w, "code_execution", true);
    put_flag(w, "web_search", true);
    jsonw_object_end(w);
    put_flag(w, "structured_outputs", m->can & CAN_STRUCTURED);
    put_group(w, "thinking", true);
    jsonw_key(w, STR("types"));
    jsonw_object(w);
    for (size_t i = 0; i < ARRAY_LEN(thinking); i++)
        put_flag(w, thinking[i].name, m->can & thinking[i].bit);
    jsonw_object_end(w);
    jsonw_object_end(w);
    jsonw_object_end(w);
}

static void put_created(struct jsonw *w, int64_t seconds)
{
    enum { TO_SECONDS = 19 };

    char text[CLOCK_TEXT], stamp[CLOCK_TEXT];
    struct str t = clock_rfc3339((uint64_t)seconds * 1000000, text);
    int n = snprintf(stamp, sizeof(stamp), "%.*sZ", TO_SECONDS, t.p);
    jsonw_field_str(w, "created_at", str_of(stamp, (size_t)n));
}

void sim_model_write(const struct model *m, struct buf *out)
{
    enum { NAME_MAX_BYTES = 256 };
    struct buf name;
    buf_init(&name, NAME_MAX_BYTES);
    put_display_name(m->id, &name);
    struct jsonw w;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_field_str(&w, "id", m->id);
    jsonw_field_str(&w, "type", STR("model"));
    jsonw_field_str(&w, "display_name", buf_str(&name));
    put_created(&w, m->created);
    jsonw_field_i64(&w, "max_input_tokens", m->context);
    jsonw_field_i64(&w, "max_tokens", m->max_output);
    jsonw_field_str(&w, "lifecycle", str_c(lifecycles[m->lifecycle]));
    jsonw_field_null(&w, "deprecated_at");
    jsonw_field_null(&w, "retires_at");
    jsonw_field_str(&w, "line", str_c(lines[m->line]));
    put_capabilities(&w, m);
    jsonw_object_end(&w);
    buf_done(&name);
}

/* ---- the list ---- */

struct list_query {
    uint64_t limit;
    struct str after, before;
    unsigned lifecycles; /* bits by enum model_lifecycle */
};

static bool take_parameter(struct list_query *q, struct str name, struct str value)
{
    if (str_eq(name, STR("limit")))
        return str_to_u64(value, &q->limit) && q->limit >= 1 && q->limit <= 1000;
    if (str_eq(name, STR("after_id")))
        q->after = value;
    else if (str_eq(name, STR("before_id")))
        q->before = value;
    else if (str_eq(name, STR("lifecycle[]")) || str_eq(name, STR("lifecycle")))
        for (unsigned i = 0; i < ARRAY_LEN(lifecycles); i++)
            q->lifecycles |= str_eq(value, str_c(lifecycles[i])) ? 1u << i : 0;
    return true;
}

static bool parse_query(struct list_query *q, struct str query, struct arena *a)
{
    enum { DEFAULT_LIMIT = 20 };

    *q = (struct list_query){.limit = DEFAULT_LIMIT};
    struct str rest = query, part;
    while (str_split(&rest, '&', &part)) {
        struct str value = part, name, decoded;
        if (!str_split(&value, '=', &name) || !text_percent_decode(a, name, &name))
            return false;
        if (!text_percent_decode(a, value.p ? value : STR(""), &decoded) ||
            !take_parameter(q, name, decoded))
            return false;
    }
    if (q->lifecycles == 0)
        q->lifecycles = 1u << MODEL_ACTIVE | 1u << MODEL_DEPRECATED;
    return true;
}

static size_t select_models(const struct list_query *q, const struct model **out, size_t max)
{
    const struct models *all = sim_models();
    size_t n = 0;
    for (size_t i = 0; i < models_count(all) && n < max; i++) {
        const struct model *m = models_at(all, i);
        if (!(q->lifecycles & 1u << m->lifecycle))
            continue;
        size_t at = n++;
        for (; at > 0 && out[at - 1]->created < m->created; at--)
            out[at] = out[at - 1];
        out[at] = m;
    }
    return n;
}

bool sim_models_write(struct str query, struct arena *a, struct buf *out, struct sim_error *error)
{
    enum { MODELS_MAX = 256 };
    const struct model *rows[MODELS_MAX];
    struct list_query q;
    if (!parse_query(&q, query, a)) {
        *error = (struct sim_error){
            .status = 400,
            .type = "invalid_request_error",
            .message = STR("limit: Input should be between 1 and 1000"),
        };
        return false;
    }
    size_t n = select_models(&q, rows, MODELS_MAX), first = 0, end = n;
    for (size_t i = 0; i < n; i++) {
        if (q.after.n && str_eq(rows[i]->id, q.after))
            first = i + 1;
        if (q.before.n && str_eq(rows[i]->id, q.before))
            end = i;
    }
    size_t last = size_min(end, first + q.limit);
    buf_lit(out, "{\"data\":[");
    for (size_t i = first; i < last; i++) {
        if (i > first)
            buf_lit(out, ",");
        sim_model_write(rows[i], out);
    }
    buf_printf(out, "],\"has_more\":%s", last < end ? "true" : "false");
    if (first < last)
        buf_printf(out, ",\"first_id\":\"%.*s\",\"last_id\":\"%.*s\"}", STR_FMT(rows[first]->id),
                   STR_FMT(rows[last - 1]->id));
    else
        buf_lit(out, ",\"first_id\":null,\"last_id\":null}");
    return true;
}
