/* openai.c - what all of OpenAI's APIs share: the error object and the list of models; the list also in
 * Anthropic's shape, for its clients ask the same URL.
 */
#include "base/clock.h"
#include "llm/dialect.h"
#include "wire/jsonw.h"

static void field_or_null(struct jsonw *w, struct str key, struct str value)
{
    jsonw_key(w, key);
    if (value.p)
        jsonw_str(w, value);
    else
        jsonw_null(w);
}

/* All four members, always: readers index them without looking. */
void openai_error_body(const struct api_error *err, struct buf *out)
{
    struct jsonw w;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_key(&w, STR("error"));
    jsonw_object(&w);
    jsonw_field_str(&w, "message", err->message);
    jsonw_field_str(&w, "type", err->type);
    field_or_null(&w, STR("param"), err->param);
    field_or_null(&w, STR("code"), err->code);
    jsonw_object_end(&w);
    jsonw_object_end(&w);
}

static void write_model(struct jsonw *w, struct str name, const struct model *row)
{
    jsonw_object(w);
    jsonw_field_str(w, "id", name);
    jsonw_field_str(w, "object", STR("model"));
    jsonw_field_i64(w, "created", row->created);
    jsonw_field_str(w, "owned_by", STR("anthropic"));
    jsonw_field_str(w, "root", row->id);
    jsonw_field_i64(w, "context_length", row->context);
    jsonw_field_i64(w, "max_output_tokens", row->max_output);
    jsonw_object_end(w);
}

static void write_models(struct jsonw *w, const struct models *m)
{
    for (size_t i = 0; i < models_count(m); i++) {
        const struct model *row = models_at(m, i);
        if (row->lifecycle != MODEL_RETIRED)
            write_model(w, row->id, row);
    }
    for (size_t i = 0; i < models_alias_count(m); i++) {
        const struct model *row;
        struct str name = models_alias_at(m, i, &row);
        write_model(w, name, row);
    }
}

void openai_models_list(const struct models *m, struct buf *out)
{
    struct jsonw w;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_field_str(&w, "object", STR("list"));
    jsonw_key(&w, STR("data"));
    jsonw_array(&w);
    write_models(&w, m);
    jsonw_array_end(&w);
    jsonw_object_end(&w);
}

bool openai_models_one(const struct models *m, struct str name, struct arena *scratch,
                       struct buf *out)
{
    const struct model *row;
    enum model_match match = models_resolve(m, name, scratch, &row);
    if (match != MODEL_FOUND && match != MODEL_SUCCEEDED)
        return false;
    struct jsonw w;
    jsonw_to_buf(&w, out);
    write_model(&w, name, row);
    return true;
}

static void write_anthropic_model(struct jsonw *w, struct str id, const struct model *row)
{
    char when[CLOCK_TEXT];
    jsonw_object(w);
    jsonw_field_str(w, "type", STR("model"));
    jsonw_field_str(w, "id", id);
    jsonw_field_str(w, "display_name", row->id);
    jsonw_field_str(w, "created_at", clock_rfc3339((uint64_t)row->created * 1000000, when));
    jsonw_field_i64(w, "max_input_tokens", row->context);
    jsonw_field_i64(w, "max_tokens", row->max_output);
    jsonw_object_end(w);
}

void anthropic_models_list(const struct models *m, struct buf *out)
{
    struct jsonw w;
    struct str last = STR_NONE;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_key(&w, STR("data"));
    jsonw_array(&w);
    for (size_t i = 0; i < models_count(m); i++) {
        const struct model *row = models_at(m, i);
        if (row->lifecycle == MODEL_RETIRED)
            continue;
        write_anthropic_model(&w, row->id, row);
        last = row->id;
    }
    jsonw_array_end(&w);
    jsonw_field_bool(&w, "has_more", false);
    jsonw_field_str(&w, "first_id", models_at(m, 0)->id);
    jsonw_field_str(&w, "last_id", last);
    jsonw_object_end(&w);
}

bool anthropic_models_one(const struct models *m, struct str name, struct arena *scratch,
                          struct buf *out)
{
    const struct model *row;
    enum model_match match = models_resolve(m, name, scratch, &row);
    if (match != MODEL_FOUND && match != MODEL_SUCCEEDED)
        return false;
    struct jsonw w;
    jsonw_to_buf(&w, out);
    write_anthropic_model(&w, name, row);
    return true;
}

void anthropic_error_body(const struct api_error *err, struct buf *out)
{
    struct str type = err->status == 404 ? STR("not_found_error") : STR("permission_error");
    struct jsonw w;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_field_str(&w, "type", STR("error"));
    jsonw_key(&w, STR("error"));
    jsonw_object(&w);
    jsonw_field_str(&w, "type", type);
    jsonw_field_str(&w, "message", err->message);
    jsonw_object_end(&w);
    jsonw_object_end(&w);
}
