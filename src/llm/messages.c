/* messages.c - builds the hub's lists and writes them as the body of POST /v1/messages.
 *
 *   {"model":..,"max_tokens":..,"stream":true, settings,
 * "system":[..],"tools":[..],"messages":[..]}
 *
 * The conversation stands last, so that the body of the next turn begins with the bytes of this
 * one. system and content are always arrays: one spelling for one meaning. Strings are spliced as
 * they came; the rope borrows the long ones.
 */
#include "llm/messages.h"

#include "wire/jsonw.h"

const struct str messages_schema_words =
    STR_INIT("Respond with one valid JSON value that matches this JSON schema, no prose, no code "
             "fence:\\n");

struct block *blocks_add(struct arena *a, struct blocks *list, enum block_type type)
{
    struct block *b = ARENA_NEW(a, struct block);
    b->type = type;
    if (list->last)
        list->last->next = b;
    else
        list->first = b;
    list->last = b;
    return b;
}

void blocks_move_first(struct blocks *from, struct blocks *into)
{
    struct block *b = from->first;
    from->first = b->next;
    b->next = NULL;
    if (into->last)
        into->last->next = b;
    else
        into->first = b;
    into->last = b;
}

struct turn *messages_turn(struct arena *a, struct messages_request *m, enum role role)
{
    if (m->last_turn && m->last_turn->role == role)
        return m->last_turn;
    struct turn *t = ARENA_NEW(a, struct turn);
    t->role = role;
    if (m->last_turn)
        m->last_turn->next = t;
    else
        m->turns = t;
    m->last_turn = t;
    return t;
}

struct tool *messages_add_tool(struct arena *a, struct messages_request *m)
{
    struct tool *t = ARENA_NEW(a, struct tool);
    if (m->last_tool)
        m->last_tool->next = t;
    else
        m->tools = t;
    m->last_tool = t;
    return t;
}

bool messages_has_server_tools(const struct messages_request *m)
{
    const struct tool *t = m->tools;
    while (t && !t->server)
        t = t->next;
    return t != NULL;
}

void turn_strip_thinking(struct turn *t, struct arena *a)
{
    struct blocks kept = {0}, all = t->blocks;
    while (all.first) {
        if (all.first->type == BLOCK_THINKING || all.first->type == BLOCK_REDACTED)
            all.first = all.first->next;
        else
            blocks_move_first(&all, &kept);
    }
    if (!kept.first)
        blocks_add(a, &kept, BLOCK_TEXT)->text = STR("(empty)");
    t->blocks = kept;
}

void messages_strip_thinking(struct messages_request *m, struct arena *a)
{
    m->hashed = NULL;
    for (struct turn *t = m->turns; t; t = t->next)
        if (t->role == ROLE_ASSISTANT)
            turn_strip_thinking(t, a);
}

static void write_cache(struct jsonw *w, struct str cache)
{
    if (cache.p)
        jsonw_field_raw(w, "cache_control", cache);
}

/* An object as it came, with the mark put in before its end. */
static void write_raw(struct jsonw *w, struct str object, struct str cache)
{
    if (!cache.p) {
        jsonw_raw(w, object);
        return;
    }
    jsonw_raw(w, str_head(object, object.n - 1));
    rope_add(w->rope, STR(",\"cache_control\":"));
    rope_add(w->rope, cache);
    rope_add(w->rope, STR("}"));
}

static void write_source(struct jsonw *w, const struct block *b)
{
    static const struct {
        struct str type, key;
    } sources[] = {
        [SOURCE_BASE64] = {STR_INIT("base64"), STR_INIT("data")},
        [SOURCE_URL] = {STR_INIT("url"), STR_INIT("url")},
        [SOURCE_TEXT] = {STR_INIT("text"), STR_INIT("data")},
        [SOURCE_FILE] = {STR_INIT("file"), STR_INIT("file_id")},
    };

    jsonw_key(w, STR("source"));
    jsonw_object(w);
    jsonw_field_str_raw(w, "type", sources[b->source].type);
    if (b->media_type.p)
        jsonw_field_str_raw(w, "media_type", b->media_type);
    jsonw_key(w, sources[b->source].key);
    jsonw_str_raw(w, b->text);
    jsonw_object_end(w);
}

static void write_block(struct jsonw *w, const struct block *b);

static void write_blocks(struct jsonw *w, const struct block *first)
{
    jsonw_array(w);
    for (const struct block *b = first; b; b = b->next)
        write_block(w, b);
    jsonw_array_end(w);
}

static void write_text(struct jsonw *w, const struct block *b)
{
    jsonw_field_str_raw(w, "text", b->text);
}

static void write_document(struct jsonw *w, const struct block *b)
{
    write_source(w, b);
    if (b->title.n > 0)
        jsonw_field_str_raw(w, "title", b->title);
}

static void write_tool_use(struct jsonw *w, const struct block *b)
{
    jsonw_field_str_raw(w, "id", b->id);
    jsonw_field_str_raw(w, "name", b->name);
    jsonw_field_raw(w, "input", b->input);
}

static void write_tool_result(struct jsonw *w, const struct block *b)
{
    jsonw_field_str_raw(w, "tool_use_id", b->id);
    if (b->text.p)
        jsonw_field_str_raw(w, "content", b->text);
    if (b->content) {
        jsonw_key(w, STR("content"));
        write_blocks(w, b->content);
    }
    if (b->is_error)
        jsonw_field_bool(w, "is_error", true);
}

static void write_thinking(struct jsonw *w, const struct block *b)
{
    jsonw_field_str_raw(w, "thinking", b->text);
    jsonw_field_str_raw(w, "signature", b->signature);
}

static void write_redacted(struct jsonw *w, const struct block *b)
{
    jsonw_field_str_raw(w, "data", b->text);
}

static void write_block(struct jsonw *w, const struct block *b)
{
    static const struct {
        struct str type;
        void (*write)(struct jsonw *w, const struct block *b);
    } kinds[] = {
        [BLOCK_TEXT] = {STR_INIT("text"), write_text},
        [BLOCK_IMAGE] = {STR_INIT("image"), write_source},
        [BLOCK_DOCUMENT] = {STR_INIT("document"), write_document},
        [BLOCK_TOOL_USE] = {STR_INIT("tool_use"), write_tool_use},
        [BLOCK_TOOL_RESULT] = {STR_INIT("tool_result"), write_tool_result},
        [BLOCK_THINKING] = {STR_INIT("thinking"), write_thinking},
        [BLOCK_REDACTED] = {STR_INIT("redacted_thinking"), write_redacted},
        [BLOCK_RAW] = {STR_INIT(""), NULL},
    };

    if (b->type == BLOCK_RAW) {
        write_raw(w, b->value, b->cache);
        return;
    }
    jsonw_object(w);
    jsonw_field_str_raw(w, "type", kinds[b->type].type);
    kinds[b->type].write(w, b);
    write_cache(w, b->cache);
    jsonw_object_end(w);
}

static void write_tool(struct jsonw *w, const struct tool *t)
{
    if (t->value.p) {
        write_raw(w, t->value, t->cache);
        return;
    }
    jsonw_object(w);
    jsonw_field_str_raw(w, "name", t->name);
    if (t->description.p)
        jsonw_field_str_raw(w, "description", t->description);
    jsonw_field_raw(w, "input_schema", t->schema);
    if (t->strict)
        jsonw_field_bool(w, "strict", true);
    write_cache(w, t->cache);
    if (t->extras.p)
        rope_add(w->rope, t->extras);
    jsonw_object_end(w);
}

static void write_tools(struct jsonw *w, const struct messages_request *m)
{
    static const struct str choices[] = {
        [CHOICE_NONE_GIVEN] = STR_INIT(""), [CHOICE_AUTO] = STR_INIT("auto"),
        [CHOICE_ANY] = STR_INIT("any"),     [CHOICE_TOOL] = STR_INIT("tool"),
        [CHOICE_NONE] = STR_INIT("none"),
    };
    if (m->tools) {
        jsonw_key(w, STR("tools"));
        jsonw_array(w);
        for (const struct tool *t = m->tools; t; t = t->next)
            write_tool(w, t);
        jsonw_array_end(w);
    }
    if (m->choice == CHOICE_NONE_GIVEN)
        return;
    jsonw_key(w, STR("tool_choice"));
    jsonw_object(w);
    jsonw_field_str_raw(w, "type", choices[m->choice]);
    if (m->choice == CHOICE_TOOL)
        jsonw_field_str_raw(w, "name", m->choice_name);
    if (m->no_parallel && m->choice != CHOICE_NONE)
        jsonw_field_bool(w, "disable_parallel_tool_use", true);
    jsonw_object_end(w);
}

static void write_thinking_mode(struct jsonw *w, const struct messages_request *m)
{
    static const struct str modes[] = {
        [THINKING_NONE_GIVEN] = STR_INIT(""),           [THINKING_ADAPTIVE] = STR_INIT("adaptive"),
        [THINKING_ENABLED] = STR_INIT("enabled"),       [THINKING_DISABLED] = STR_INIT("disabled"),
        [THINKING_BETWEEN] = STR_INIT("between_tools"),
    };
    if (m->thinking == THINKING_NONE_GIVEN)
        return;
    jsonw_key(w, STR("thinking"));
    jsonw_object(w);
    jsonw_field_str_raw(w, "type", modes[m->thinking]);
    if (m->thinking == THINKING_ENABLED)
        jsonw_field_i64(w, "budget_tokens", m->thinking_budget);
    if (m->show_thinking)
        jsonw_field_str_raw(w, "display", STR("summarized"));
    if (m->block_binding.p)
        jsonw_field_raw(w, "block_binding", m->block_binding);
    jsonw_object_end(w);
}

static void write_output_config(struct jsonw *w, const struct messages_request *m)
{
    if (m->effort == 0 && !m->format.p)
        return;
    jsonw_key(w, STR("output_config"));
    jsonw_object(w);
    if (m->effort != 0)
        jsonw_field_str_raw(w, "effort", str_c(model_effort_name((enum effort)m->effort)));
    if (m->format.p) {
        jsonw_key(w, STR("format"));
        jsonw_object(w);
        jsonw_field_str(w, "type", STR("json_schema"));
        jsonw_field_raw(w, "schema", m->format);
        jsonw_object_end(w);
    }
    jsonw_object_end(w);
}

static void write_settings(struct jsonw *w, const struct messages_request *m)
{
    if (m->n_stops > 0) {
        jsonw_key(w, STR("stop_sequences"));
        jsonw_array(w);
        for (size_t i = 0; i < m->n_stops; i++)
            jsonw_str_raw(w, m->stops[i]);
        jsonw_array_end(w);
    }
    if (m->temperature.p)
        jsonw_field_raw(w, "temperature", m->temperature);
    if (m->top_p.p)
        jsonw_field_raw(w, "top_p", m->top_p);
    if (m->top_k.p)
        jsonw_field_raw(w, "top_k", m->top_k);
    if (m->user_id.p) {
        jsonw_key(w, STR("metadata"));
        jsonw_object(w);
        jsonw_field_str_raw(w, "user_id", m->user_id);
        jsonw_object_end(w);
    }
    if (m->service_tier.p)
        jsonw_field_str_raw(w, "service_tier", m->service_tier);
    if (m->fast)
        jsonw_field_str_raw(w, "speed", STR("fast"));
}

static void write_turn(struct jsonw *w, const struct turn *t)
{
    static const struct str roles[] = {
        [ROLE_USER] = STR_INIT("user"),
        [ROLE_ASSISTANT] = STR_INIT("assistant"),
        [ROLE_SYSTEM] = STR_INIT("system"),
    };
    jsonw_object(w);
    jsonw_field_str_raw(w, "role", roles[t->role]);
    jsonw_key(w, STR("content"));
    write_blocks(w, t->blocks.first);
    jsonw_object_end(w);
}

void messages_write(const struct messages_request *m, struct rope *out)
{
    struct jsonw w;
    jsonw_to_rope(&w, out);
    jsonw_object(&w);
    jsonw_field_str(&w, "model", m->model->id);
    jsonw_field_i64(&w, "max_tokens", m->max_tokens);
    jsonw_field_bool(&w, "stream", !m->whole);
    write_settings(&w, m);
    write_thinking_mode(&w, m);
    write_output_config(&w, m);
    write_cache(&w, m->cache);
    write_tools(&w, m);
    if (m->system.first) {
        jsonw_key(&w, STR("system"));
        write_blocks(&w, m->system.first);
    }
    jsonw_key(&w, STR("messages"));
    jsonw_array(&w);
    for (const struct turn *t = m->turns; t; t = t->next)
        write_turn(&w, t);
    jsonw_array_end(&w);
    jsonw_object_end(&w);
}
