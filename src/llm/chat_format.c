/* chat_format.c - response_format, by the best of three ways that the request allows.
 *
 *   1  output_config.format: upstream enforces the schema
 *   2  a tool of our own that must be called; its input is the answer
 *   3  words: a fixed last system block, and a code fence around the answer is taken off
 *
 * The added texts are fixed: a word that changed between turns would cost the prompt cache.
 */
#include "llm/chat.h"
#include "wire/jsonw.h"

static void ask_in_words(struct chat *c, struct jval schema)
{
    struct block *b = blocks_add(c->scratch, &c->m->system, BLOCK_TEXT);
    c->reply->unfence = true;
    b->text = STR("Respond with one valid JSON value, no prose, no code fence.");
    if (!json_present(schema))
        return;
    buf_append(&c->text, messages_schema_words);
    jsonw_escape(&c->text, json_raw(schema));
    b->text = chat_take_text(c);
}

static bool searches_web(struct chat *c)
{
    return json_present(chat_field(c, STR("web_search_options")));
}

static bool enforce(struct chat *c, struct jval schema)
{
    if (!(c->m->model->can & CAN_STRUCTURED) || searches_web(c) || c->cited)
        return false;
    c->m->format = chat_schema_closed(c, schema);
    return c->m->format.p != NULL;
}

/* With other tools beside it, or with a thinking budget, forcing ours would loop or be refused. */
static bool force_tool(struct chat *c, struct jval schema)
{
    struct str parameters, note;
    bool budget = c->wish.given && !c->wish.none && !(c->m->model->can & CAN_THINK_ADAPTIVE);
    if (c->m->tools || budget || !(c->m->model->can & CAN_FORCE_TOOL) || chat_has_odd_key(schema) ||
        !chat_schema_tool(c, schema, &parameters, &note))
        return false;
    struct tool *t = messages_add_tool(c->scratch, c->m);
    t->name = STR("json");
    t->description = note.p ? note : STR("Gives the answer.");
    t->schema = parameters;
    c->m->choice = CHOICE_TOOL;
    c->m->choice_name = t->name;
    c->reply->json_tool = true;
    return true;
}

static bool settle_schema(struct chat *c, struct jval schema, struct str param, struct str name)
{
    struct str fault;
    if (!chat_schema_modern(c, &schema, &fault))
        return chat_refuse(c, STR_NONE, param, "Invalid schema for %.*s '%.*s': %.*s.",
                           STR_FMT(param), STR_FMT(name), STR_FMT(fault));
    if (!enforce(c, schema) && !force_tool(c, schema))
        ask_in_words(c, schema);
    return true;
}

static bool read_schema(struct chat *c, struct jval v)
{
    struct jval wrapped = json_get(v, STR("json_schema"));
    if (!json_present(wrapped))
        return chat_refuse_missing(c, STR("response_format.json_schema"));
    if (!json_is(wrapped, JSON_OBJECT))
        return chat_refuse_type(c, STR("response_format.json_schema"), "an object", wrapped);
    struct jval schema = json_get(wrapped, STR("schema"));
    if (json_type(schema) == JSON_NULL) {
        ask_in_words(c, JVAL_NONE);
        return true;
    }
    if (!json_is(schema, JSON_OBJECT))
        return chat_refuse_type(c, STR("response_format.json_schema.schema"), "an object", schema);
    return settle_schema(c, schema, STR("response_format"),
                         json_str_raw(json_get(wrapped, STR("name"))));
}

/* Anthropic's own way of saying it. */
static bool read_own(struct chat *c)
{
    struct jval format = json_get(chat_field(c, STR("output_config")), STR("format"));
    struct jval schema = json_get(format, STR("schema"));
    if (json_type(format) == JSON_NULL)
        return true;
    if (!json_str_is(json_get(format, STR("type")), STR("json_schema")))
        return chat_refuse_value(c, STR("output_config.format.type"), json_get(format, STR("type")),
                                 "'json_schema'");
    if (!json_is(schema, JSON_OBJECT))
        return chat_refuse_type(c, STR("output_config.format.schema"), "an object", schema);
    return settle_schema(c, schema, STR("output_config.format"), STR(""));
}

bool chat_read_format(struct chat *c)
{
    if (c->cited_document && c->uncited_document)
        return chat_refuse(c, STR("invalid_value"), STR("messages"),
                           "Invalid value for 'messages': either all documents have citations "
                           "enabled or none.");
    struct jval v = chat_field(c, STR("response_format"));
    if (!json_present(v))
        return read_own(c);
    struct jval type = json_get(v, STR("type"));
    if (json_type(type) == JSON_NULL)
        return chat_refuse_missing(c, STR("response_format.type"));
    if (json_str_is(type, STR("json_schema")))
        return read_schema(c, v);
    if (json_str_is(type, STR("json_object")))
        ask_in_words(c, JVAL_NONE);
    else if (!json_str_is(type, STR("text")))
        return chat_refuse_value(c, STR("response_format.type"), type,
                                 "'json_object', 'json_schema', and 'text'");
    return true;
}
