/* chat_decode.c - a Chat Completions request becomes a Messages request, step by step.
 *
 *   body --collect--> fields --check--> types, ranges --model--> row --apply--> messages_request
 *
 * The steps up to the model are OpenAI's own order of checking. Behind it, each step may look at
 * what the ones before it decided: tools before the choice among them, the format before thinking.
 */
#include "base/text.h"
#include "llm/chat.h"

enum { DROPPED_MAX = 1024, TEXT_MAX = 256 * 1024 * 1024, VALUE_SHOWN_MAX = 64 };

static bool model_unknown(struct chat *c, struct str name)
{
    struct str shown = str_head(name, size_min(name.n, VALUE_SHOWN_MAX));
    shown = str_head(shown, text_utf8_valid(shown));
    buf_printf(&c->text, "The model `%.*s` does not exist or you do not have access to it. Known: ",
               STR_FMT(shown));
    for (size_t i = 0; i < models_alias_count(c->o->models); i++) {
        const struct model *row;
        struct str alias = models_alias_at(c->o->models, i, &row);
        buf_printf(&c->text, "%s%.*s", i > 0 ? ", " : "", STR_FMT(alias));
    }
    for (size_t i = 0; i < models_count(c->o->models); i++) {
        const struct model *row = models_at(c->o->models, i);
        if (row->lifecycle != MODEL_RETIRED)
            buf_printf(&c->text, ", %.*s", STR_FMT(row->id));
    }
    buf_lit(&c->text, ".");
    *c->error = (struct request_error){
        .fault = REQUEST_MODEL_NOT_FOUND,
        .code = STR("model_not_found"),
        .param = STR("model"),
        .message = chat_take_text(c),
    };
    return false;
}

static bool resolve_model(struct chat *c)
{
    struct jval given = chat_field(c, STR("model"));
    struct str name = json_present(given) ? json_str(given, c->scratch) : c->o->path_model;
    c->ret->asked_model = arena_dup(c->keep, name);
    for (size_t i = 0; i < c->o->n_aliases; i++) {
        if (!str_eq(c->o->aliases[i].name, c->ret->asked_model))
            continue;
        name = c->o->aliases[i].model;
        break;
    }
    c->ret->match = models_resolve(c->o->models, name, c->keep, &c->m->model);
    c->ret->model = c->m->model;
    return c->ret->match != MODEL_UNKNOWN || model_unknown(c, name);
}

static bool end_conversation(struct chat *c)
{
    chat_end_conversation(c);
    return true;
}

static bool history_tools(struct chat *c)
{
    if (!c->m->tools)
        chat_declare_history(c);
    return true;
}

static bool recall(struct chat *c)
{
    recall_thinking(c->o->recall, c->m, c->scratch);
    return true;
}

static bool think(struct chat *c)
{
    chat_apply_wish(c);
    return true;
}

static bool cache_marks(struct chat *c)
{
    chat_settle_cache_marks(c);
    return true;
}

static bool settle_dropped(struct chat *c)
{
    struct str names = buf_str(&c->dropped);
    if (names.n == 0)
        return true;
    if (c->o->strict) {
        struct str first = arena_dup(c->scratch, str_head(names, str_find(names, ',')));
        return chat_refuse(c, STR("unsupported_parameter"), first,
                           "Unsupported parameter: '%.*s' is not supported with this model.",
                           STR_FMT(first));
    }
    c->ret->dropped = arena_dup(c->keep, names);
    return true;
}

typedef bool chat_step(struct chat *c);

static chat_step *const chat_steps[] = {
    chat_collect_fields,
    chat_check_required,
    chat_check_types,
    resolve_model,
    chat_read_max_tokens,
    chat_apply_fields,
    chat_read_user,
    chat_read_wish,
    chat_read_tools,
    chat_read_web_search,
    chat_read_messages,
    history_tools,
    chat_read_choice,
    chat_read_format,
    recall,
    think,
    chat_read_sampling,
    end_conversation,
    chat_read_betas,
    chat_read_caching,
    cache_marks,
    settle_dropped,
};

static chat_step *const completion_steps[] = {
    chat_collect_fields,  completion_check_required, chat_check_types, resolve_model,
    chat_read_max_tokens, chat_apply_fields,         chat_read_user,   completion_read_prompt,
    chat_read_sampling,   chat_read_betas,           settle_dropped,
};

static bool run(struct chat *c)
{
    bool is_chat = c->api == CHAT;
    chat_step *const *steps = is_chat ? chat_steps : completion_steps;
    size_t n = is_chat ? ARRAY_LEN(chat_steps) : ARRAY_LEN(completion_steps);
    for (size_t i = 0; i < n; i++)
        if (!steps[i](c))
            return false;
    return true;
}

static bool decode_body(struct chat *c, struct json *doc, struct str body)
{
    if (body.n == 0 || json_parse(doc, body) != JSON_OK || !json_is(json_root(doc), JSON_OBJECT)) {
        *c->error = (struct request_error){
            .fault = REQUEST_UNPARSABLE,
            .message = STR("We could not parse the JSON body of your request. (HINT: This likely "
                           "means you aren't using your HTTP library correctly. The API expects a "
                           "JSON object, but what was sent was not valid JSON.)"),
        };
        return false;
    }
    c->body = json_root(doc);
    return run(c);
}

/* NOLINTNEXTLINE(readability-function-size): the parameters are the dialect's interface */
static bool decode(enum chat_api api, const struct decode_options *o, struct json *doc,
                   struct str body, struct arena *keep, struct arena *scratch, struct decoded *ret,
                   struct request_error *ret_error)
{
    struct chat c = {
        .o = o,
        .api = api,
        .keep = keep,
        .scratch = scratch,
        .ret = ret,
        .error = ret_error,
    };
    *ret = (struct decoded){0};
    *ret_error = (struct request_error){0};
    c.m = ARENA_NEW(scratch, struct messages_request);
    c.reply = ARENA_NEW(keep, struct chat_reply);
    json_init(&c.args);
    json_init(&c.draft);
    buf_init(&c.text, TEXT_MAX);
    buf_init(&c.dropped, DROPPED_MAX);
    strmap_init(&c.tools, scratch);
    strmap_init(&c.keyed, scratch);
    bool ok = decode_body(&c, doc, body);
    json_done(&c.draft);
    json_done(&c.args);
    buf_done(&c.text);
    buf_done(&c.dropped);
    ret->request = c.m;
    ret->state = c.reply;
    return ok;
}

/* NOLINTBEGIN(readability-function-size): the parameters are the dialect's interface */
static bool chat_decode(const struct decode_options *o, struct json *doc, struct str body,
                        struct arena *keep, struct arena *scratch, struct decoded *ret,
                        struct request_error *ret_error)
{
    return decode(CHAT, o, doc, body, keep, scratch, ret, ret_error);
}

static bool completion_decode(const struct decode_options *o, struct json *doc, struct str body,
                              struct arena *keep, struct arena *scratch, struct decoded *ret,
                              struct request_error *ret_error)
{
    return decode(COMPLETIONS, o, doc, body, keep, scratch, ret, ret_error);
}

/* NOLINTEND(readability-function-size) */

static void error_frame(const struct api_error *err, struct buf *out)
{
    buf_lit(out, "data: ");
    openai_error_body(err, out);
    buf_lit(out, "\n\n");
}

static void keepalive(struct buf *out)
{
    buf_lit(out, ": ping\n\n");
}

const struct dialect dialect_chat = {
    .name = "chat",
    .stream_type = STR_INIT("text/event-stream; charset=utf-8"),
    .decode = chat_decode,
    .open = chat_open,
    .event = chat_event,
    .finish = chat_finish,
    .close = chat_close,
    .error_frame = error_frame,
    .keepalive = keepalive,
    .error_body = openai_error_body,
};

const struct dialect dialect_completions = {
    .name = "completions",
    .stream_type = STR_INIT("text/event-stream; charset=utf-8"),
    .decode = completion_decode,
    .open = chat_open,
    .event = chat_event,
    .finish = chat_finish,
    .close = chat_close,
    .error_frame = error_frame,
    .keepalive = keepalive,
    .error_body = openai_error_body,
};
