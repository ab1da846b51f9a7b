/* anthropic.c - see anthropic.h. */
#include "llm/anthropic.h"

#include "base/clock.h"

/* "claude-haiku-4-5-20251001" -> "Claude Haiku 4.5" */
static void put_display_name(struct str id, struct buf *out)
{
    enum { DATE = 8 };
    struct str rest = id, part;
    bool number_before = false;
    while (str_split(&rest, '-', &part)) {
        uint64_t n;
        bool number = str_to_u64(part, &n);
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

static void put_created(struct jsonw *w, int64_t seconds)
{
    enum { TO_SECONDS = 19 };

    char text[CLOCK_TEXT], stamp[CLOCK_TEXT];
    struct str t = clock_rfc3339((uint64_t)seconds * 1000000, text);
    int n = snprintf(stamp, sizeof(stamp), "%.*sZ", TO_SECONDS, t.p);
    jsonw_field_str(w, "created_at", str_of(stamp, (size_t)n));
}

void anthropic_model_fields(struct jsonw *w, struct str id, const struct model *m)
{
    enum { NAME_MAX_BYTES = 256 };
    struct buf name;
    buf_init(&name, NAME_MAX_BYTES);
    put_display_name(m->id, &name);
    jsonw_field_str(w, "id", id);
    jsonw_field_str(w, "type", STR("model"));
    jsonw_field_str(w, "display_name", buf_str(&name));
    put_created(w, m->created);
    jsonw_field_i64(w, "max_input_tokens", m->context);
    jsonw_field_i64(w, "max_tokens", m->max_output);
    buf_done(&name);
}

static void put_id(struct jsonw *w, const char *key, struct str id)
{
    jsonw_key(w, str_c(key));
    if (id.p)
        jsonw_str(w, id);
    else
        jsonw_null(w);
}

void anthropic_models_list(const struct models *m, struct buf *out)
{
    struct str first = STR_NONE, last = STR_NONE;
    struct jsonw w;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_key(&w, STR("data"));
    jsonw_array(&w);
    for (size_t i = 0; i < models_count(m); i++) {
        const struct model *row = models_at(m, i);
        if (row->lifecycle == MODEL_RETIRED)
            continue;
        jsonw_object(&w);
        anthropic_model_fields(&w, row->id, row);
        jsonw_object_end(&w);
        first = first.p ? first : row->id;
        last = row->id;
    }
    jsonw_array_end(&w);
    jsonw_field_bool(&w, "has_more", false);
    put_id(&w, "first_id", first);
    put_id(&w, "last_id", last);
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
    jsonw_object(&w);
    anthropic_model_fields(&w, name, row);
    jsonw_object_end(&w);
    return true;
}

void anthropic_error_body(struct str type, struct str message, struct buf *out)
{
    struct jsonw w;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_field_str(&w, "type", STR("error"));
    jsonw_key(&w, STR("error"));
    jsonw_object(&w);
    jsonw_field_str(&w, "type", type);
    jsonw_field_str(&w, "message", message);
    jsonw_object_end(&w);
    jsonw_object_end(&w);
}
