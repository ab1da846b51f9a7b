/* openai.c - what all of OpenAI's APIs share: the error object and the list of models. */
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

void openai_error_frame(const struct api_error *err, struct buf *out)
{
    buf_lit(out, "data: ");
    openai_error_body(err, out);
    buf_lit(out, "\n\n");
}

void openai_keepalive(struct buf *out)
{
    buf_lit(out, ": ping\n\n");
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
