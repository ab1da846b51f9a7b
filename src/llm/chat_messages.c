/* chat_messages.c - the conversation: OpenAI's flat list of messages becomes alternating turns.
 *
 *   system* | user, tool, system ... | assistant, assistant | tool, tool, user | ...
 *    system |       user turn        |    assistant turn    |    user turn     |
 *
 * Between two assistant turns lies a span: its tool results come first, then what the user said,
 * then late system messages. When the span closes, every call of the assistant turn before it has
 * exactly one result. All repairs depend only on the messages up to there, so that a longer
 * conversation begins with the same turns; system messages are never moved to the front.
 */
#include "base/hash.h"
#include "base/text.h"
#include "llm/chat.h"
#include "wire/jsonw.h"

enum { ID_MAX = 64, MESSAGES_MAX = 100000 };

struct chat_call {
    struct chat_call *next;  /* of the same assistant turn */
    struct chat_call *same;  /* the next one with the same client id in this turn */
    struct str id;           /* as sent upstream */
    size_t part;             /* in the content of which message, from 1; 0: in tool_calls */
    struct chat_call *below; /* an older open legacy call of the same function */
    struct block *result;
};

/* What is known of a client's tool call id. */
struct call_id {
    uint32_t count;          /* calls that had it */
    uint32_t epoch;          /* the turn that the calls belong to */
    struct chat_call *calls; /* the first without a result, or the last one */
    struct chat_call *last;
};

/* The open legacy calls of one function, newest first. */
struct function_calls {
    uint32_t epoch;
    struct chat_call *top;
};

static void append(struct blocks *to, const struct blocks *from)
{
    if (!from->first)
        return;
    if (to->last)
        to->last->next = from->first;
    else
        to->first = from->first;
    to->last = from->last;
}

static struct block *add_text(struct chat *c, struct blocks *to, struct str inside)
{
    struct block *b = blocks_add(c->scratch, to, BLOCK_TEXT);
    b->text = inside;
    return b;
}

/* Late system texts that cannot stay system messages become marked user text. Their text is copied:
 * they are short and rare. */
static void demote_late(struct chat *c)
{
    for (struct block *b = c->h.late.first; b; b = b->next) {
        buf_lit(&c->text, "<system-reminder>");
        buf_append(&c->text, b->text);
        buf_lit(&c->text, "</system-reminder>");
        b->text = chat_take_text(c);
    }
    append(&c->h.rest, &c->h.late);
    c->h.late = (struct blocks){0};
}

static void answer_open_calls(struct chat *c)
{
    for (struct chat_call *call = c->h.open; call; call = call->next) {
        if (call->result)
            continue;
        struct block *b = blocks_add(c->scratch, &c->h.results, BLOCK_TOOL_RESULT);
        b->id = call->id;
        b->text = STR("No result was provided for this tool call.");
        b->is_error = true;
    }
    c->h.open = c->h.last_open = NULL;
}

/* Ends a span: writes its user turn, and a system turn where the model takes one. */
static void close_span(struct chat *c)
{
    struct chat_history *h = &c->h;
    answer_open_calls(c);
    bool said = h->results.first || h->rest.first;
    if (h->late.first && !(said && (c->m->model->can & CAN_MID_SYSTEM)))
        demote_late(c);
    said = h->results.first || h->rest.first;
    if (!said && h->had_user)
        add_text(c, &h->rest, STR("(empty)"));
    append(&h->results, &h->rest);
    if (h->results.first)
        append(&messages_turn(c->scratch, c->m, ROLE_USER)->blocks, &h->results);
    if (h->late.first)
        append(&messages_turn(c->scratch, c->m, ROLE_SYSTEM)->blocks, &h->late);
    h->results = h->rest = h->late = (struct blocks){0};
    h->had_user = false;
}

static bool span_is_empty(const struct chat_history *h)
{
    return !h->results.first && !h->rest.first && !h->late.first && !h->had_user;
}

static void mark_message(struct jval message, const struct block *before, struct blocks *list)
{
    struct str cache = chat_cache_mark(json_get(message, STR("cache_control")));
    struct block *b = list->last;
    if (cache.p && b && b != before && !b->cache.p && b->type != BLOCK_THINKING &&
        b->type != BLOCK_REDACTED)
        b->cache = cache;
}

static bool read_system(struct chat *c, struct jval message)
{
    struct chat_history *h = &c->h;
    struct blocks *to = h->started ? &h->late : &c->m->system;
    const struct block *before = to->last;
    if (!h->started)
        h->system_before_last = to->last;
    if (!chat_read_content(c, json_get(message, STR("content")), IN_SYSTEM, to))
        return false;
    mark_message(message, before, to);
    return true;
}

static bool read_user(struct chat *c, struct jval message)
{
    struct chat_history *h = &c->h;
    struct blocks said = {0};
    const struct block *before = h->results.last;
    if (!chat_read_content(c, json_get(message, STR("content")), IN_USER, &said))
        return false;
    if (said.first)
        mark_message(message, NULL, &said);
    else
        mark_message(message, before, &h->results); /* it held nothing but results */
    h->had_user = true;
    if (said.first)
        demote_late(c);
    append(&h->rest, &said);
    return true;
}

/* The upstream id for the n-th call with a client's id: ^[a-zA-Z0-9_-]+$ and unique. */
static struct str clean_id(struct chat *c, struct str id)
{
    bool clean = id.n > 0 && id.n <= ID_MAX;
    for (size_t i = 0; clean && i < id.n; i++) {
        char ch = id.p[i];
        clean = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
                ch == '_' || ch == '-';
    }
    if (clean)
        return id;
    char *out = arena_alloc(c->scratch, 34);
    memcpy(out, "t_", 2);
    struct sha256 hash = hash_sha256(id);
    text_hex(hash.bytes, 16, out + 2);
    return str_of(out, 34);
}

static struct str unique_id(struct chat *c, struct call_id *known, struct str id)
{
    struct str base = clean_id(c, id), sent = base;
    for (;;) {
        known->count++;
        if (known->count > 1)
            sent = arena_printf(c->scratch, "%.*s_%u", STR_FMT(base), known->count);
        void **used = strmap_at(&c->h.sent, sent);
        if (!*used) {
            *used = c;
            return sent;
        }
    }
}

static struct call_id *call_id_at(struct chat *c, struct str id)
{
    void **slot = strmap_at(&c->h.ids, id);
    if (!*slot)
        *slot = ARENA_NEW(c->scratch, struct call_id);
    return *slot;
}

static struct chat_call *add_call(struct chat *c, struct str id, struct block *use)
{
    struct chat_history *h = &c->h;
    struct call_id *known = call_id_at(c, id);
    struct chat_call *call = ARENA_NEW(c->scratch, struct chat_call);
    use->id = call->id = unique_id(c, known, id);
    if (known->epoch != h->epoch)
        *known = (struct call_id){.count = known->count, .epoch = h->epoch};
    if (known->last)
        known->last->same = call;
    else
        known->calls = call;
    known->last = call;
    if (h->last_open)
        h->last_open->next = call;
    else
        h->open = call;
    h->last_open = call;
    void **named = strmap_at(&h->names, use->name);
    *named = *named ? *named : use;
    return call;
}

static struct str raw_arguments(struct chat *c, struct str inside)
{
    buf_lit(&c->text, "{\"_raw_arguments\":\"");
    buf_append(&c->text, inside);
    buf_lit(&c->text, "\"}");
    return chat_take_text(c);
}

/* Arguments are a JSON object inside of a string: its own text is spliced, order, number spelling
 * and all. What is no object (cut by max_tokens, a list) is wrapped, for upstream takes objects
 * only. So is one that has a member twice: nothing tells how upstream reads it, parsers keep either
 * value or refuse the body (RFC 8259 section 4), and wrapped nothing of it is lost. */
static struct str read_arguments(struct chat *c, struct str tool, struct jval arguments)
{
    if (json_is(arguments, JSON_OBJECT))
        return chat_keys_in_input(c, tool, json_raw(arguments));
    struct str inside = json_str_raw(arguments);
    if (chat_blank(inside))
        return STR("{}");
    struct str text = json_str(arguments, c->scratch);
    if (json_parse(&c->args, text) == JSON_OK && json_is(json_root(&c->args), JSON_OBJECT))
        return chat_keys_in_input(c, tool, str_trim(text));
    return raw_arguments(c, inside);
}

static struct str custom_input(struct chat *c, struct str inside)
{
    buf_lit(&c->text, "{\"input\":\"");
    buf_append(&c->text, inside);
    buf_lit(&c->text, "\"}");
    return chat_take_text(c);
}

static struct str call_param(struct chat *c, size_t i, const char *suffix)
{
    return arena_printf(c->scratch, "messages[%zu].tool_calls[%zu]%s", c->message, i, suffix);
}

/* Some clients hand a call back twice, as a part and in tool_calls: the part has its place among
 * the texts. Ids that repeat in tool_calls alone are other calls. */
static bool is_part_already(struct chat *c, struct str id)
{
    const struct call_id *known = strmap_get(&c->h.ids, id);
    return known && known->epoch == c->h.epoch && known->last->part == c->message + 1;
}

static bool read_call(struct chat *c, struct jval v, size_t i, struct blocks *uses)
{
    struct jval custom = json_get(v, STR("custom"));
    bool is_custom = json_is(custom, JSON_OBJECT);
    struct jval body = is_custom ? custom : json_get(v, STR("function"));
    struct jval id = json_get(v, STR("id")), name = json_get(body, STR("name"));
    if (!json_is(id, JSON_STRING))
        return chat_refuse_missing(c, call_param(c, i, ".id"));
    if (!json_is(name, JSON_STRING))
        return chat_refuse_missing(c,
                                   call_param(c, i, is_custom ? ".custom.name" : ".function.name"));
    struct str client_id = json_str(id, c->scratch);
    if (is_part_already(c, client_id))
        return true;
    struct block *use = blocks_add(c->scratch, uses, BLOCK_TOOL_USE);
    use->name = chat_tool_name(c, name);
    use->input = is_custom ? custom_input(c, json_str_raw(json_get(body, STR("input"))))
                           : read_arguments(c, use->name, json_get(body, STR("arguments")));
    add_call(c, client_id, use);
    return true;
}

/* Read while it is not yet clear whether a new turn begins: read_assistant enters it as a call. */
bool chat_read_tool_use(struct chat *c, struct jval part, struct blocks *into)
{
    struct jval id = json_get(part, STR("id")), name = json_get(part, STR("name"));
    struct jval input = json_get(part, STR("input"));
    if (!json_is(id, JSON_STRING) || !json_is(name, JSON_STRING))
        return chat_refuse_missing(
            c, chat_message_param(c, json_is(id, JSON_STRING) ? ".content.name" : ".content.id"));
    struct block *use = blocks_add(c->scratch, into, BLOCK_TOOL_USE);
    use->id = json_str(id, c->scratch);
    use->name = chat_tool_name(c, name);
    use->input = read_arguments(c, use->name, input);
    return true;
}

static void enter_calls(struct chat *c, const struct blocks *said)
{
    for (struct block *b = said->first; b; b = b->next)
        if (b->type == BLOCK_TOOL_USE)
            add_call(c, b->id, b)->part = c->message + 1;
}

static struct function_calls *function_calls_at(struct chat *c, struct str name)
{
    void **slot = strmap_at(&c->h.functions, name);
    if (!*slot)
        *slot = ARENA_NEW(c->scratch, struct function_calls);
    struct function_calls *open = *slot;
    if (open->epoch != c->h.epoch)
        *open = (struct function_calls){.epoch = c->h.epoch};
    return open;
}

static bool read_function_call(struct chat *c, struct jval v, struct blocks *uses)
{
    struct jval name = json_get(v, STR("name"));
    if (!json_is(name, JSON_STRING))
        return chat_refuse_missing(c, chat_message_param(c, ".function_call.name"));
    struct block *use = blocks_add(c->scratch, uses, BLOCK_TOOL_USE);
    use->name = chat_tool_name(c, name);
    use->input = read_arguments(c, use->name, json_get(v, STR("arguments")));
    struct chat_call *call =
        add_call(c, arena_printf(c->scratch, "call_fn_%u", ++c->h.n_functions), use);
    struct function_calls *open = function_calls_at(c, json_str(name, c->scratch));
    call->below = open->top;
    open->top = call;
    return true;
}

static bool read_calls(struct chat *c, struct jval calls, struct jval function, struct blocks *uses)
{
    size_t i = 0;
    json_each (call, calls)
        if (!read_call(c, call, i++, uses))
            return false;
    return !json_is(function, JSON_OBJECT) || read_function_call(c, function, uses);
}

/* A new assistant turn begins, unless this message follows another assistant message directly. */
static struct turn *assistant_turn(struct chat *c)
{
    struct chat_history *h = &c->h;
    bool adjacent = c->m->last_turn && c->m->last_turn->role == ROLE_ASSISTANT && span_is_empty(h);
    if (!adjacent) {
        if (!c->m->turns && span_is_empty(h))
            add_text(c, &h->rest,
                     STR("(start)")); /* upstream: the first message must be the user's */
        close_span(c);
        h->epoch++;
    }
    return messages_turn(c->scratch, c->m, ROLE_ASSISTANT);
}

/* An empty answer: the user's turn goes on behind it, but what was sent for that answer must stand as
 * it stood then. A system turn cannot have a user's behind it, so there the answer gets a word. */
static void pass_empty_answer(struct chat *c)
{
    if (span_is_empty(&c->h))
        return;
    if (c->h.late.first && (c->m->model->can & CAN_MID_SYSTEM)) {
        add_text(c, &assistant_turn(c)->blocks, STR("(empty)"));
        return;
    }
    answer_open_calls(c);
    demote_late(c);
    if (c->h.had_user && !c->h.results.first && !c->h.rest.first && !c->h.late.first)
        add_text(c, &c->h.rest, STR("(empty)"));
}

static bool read_assistant(struct chat *c, struct jval message)
{
    struct blocks said = {0}, whole = {0};
    struct jval calls = json_get(message, STR("tool_calls"));
    struct jval function = json_get(message, STR("function_call"));
    if (json_type(calls) != JSON_NULL && !json_is(calls, JSON_ARRAY))
        return chat_refuse_type(c, chat_message_param(c, ".tool_calls"), "an array of objects",
                                calls);
    if (!chat_read_content(c, json_get(message, STR("content")), IN_ASSISTANT, &said))
        return false;
    struct str refusal = json_str_raw(json_get(message, STR("refusal")));
    if (!chat_blank(refusal))
        add_text(c, &said, refusal);
    if (!said.first && json_empty(calls) && !json_is(function, JSON_OBJECT)) {
        pass_empty_answer(c);
        return true; /* nothing in it: its neighbours become one turn */
    }
    struct turn *turn = assistant_turn(c);
    enter_calls(c, &said);
    if (!read_calls(c, calls, function, &said))
        return false;
    mark_message(message, NULL, &said);
    chat_merge_thinking(c, message, &said, &whole);
    append(&turn->blocks, &whole);
    return true;
}

/* A cache mark may stand on the result, not on what is inside of it. */
static void lift_cache(struct block *result, struct block *first)
{
    for (struct block *b = first; b; b = b->next) {
        if (b->cache.p)
            result->cache = b->cache;
        b->cache = STR_NONE;
    }
}

static bool fill_result(struct chat *c, struct jval message, struct block *result)
{
    struct jval content = json_get(message, STR("content"));
    struct blocks inside = {0};
    result->text = STR_NONE;
    result->content = NULL;
    result->is_error = json_true(json_get(message, STR("is_error")));
    if (json_is(content, JSON_STRING)) {
        if (!chat_blank(json_str_raw(content)))
            result->text = json_str_raw(content);
    } else if (!chat_read_content(c, content, IN_TOOL, &inside)) {
        return false;
    }
    lift_cache(result, inside.first);
    result->content = inside.first;
    struct str cache = chat_cache_mark(json_get(message, STR("cache_control")));
    if (cache.p)
        result->cache = cache;
    return true;
}

/* A result that nothing asked for is still something the model should see. */
static bool read_orphan(struct chat *c, struct jval message, struct str id)
{
    struct blocks said = {0};
    struct jval content = json_get(message, STR("content"));
    buf_lit(&c->text, "[result of unknown tool call ");
    buf_append(&c->text, id);
    buf_lit(&c->text, "]\\n");
    if (json_is(content, JSON_STRING))
        buf_append(&c->text, json_str_raw(content));
    add_text(c, &said, chat_take_text(c));
    if (!json_is(content, JSON_STRING) && !chat_read_content(c, content, IN_TOOL, &said))
        return false;
    demote_late(c);
    append(&c->h.rest, &said);
    return true;
}

static bool read_result(struct chat *c, struct jval message, struct chat_call *call)
{
    if (!call->result) {
        call->result = blocks_add(c->scratch, &c->h.results, BLOCK_TOOL_RESULT);
        call->result->id = call->id;
    }
    return fill_result(c, message, call->result); /* a second one for the same call replaces it */
}

static bool read_result_of(struct chat *c, struct jval message, struct jval id)
{
    struct call_id *known = strmap_get(&c->h.ids, json_str(id, c->scratch));
    if (!known || known->epoch != c->h.epoch || !c->h.open)
        return read_orphan(c, message, json_str_raw(id));
    struct chat_call *call = known->calls;
    if (call->same)
        known->calls = call->same; /* the next result of that id is the next call's */
    return read_result(c, message, call);
}

static bool read_tool(struct chat *c, struct jval message)
{
    struct jval id = json_get(message, STR("tool_call_id"));
    if (!json_is(id, JSON_STRING))
        return chat_refuse_missing(c, chat_message_param(c, ".tool_call_id"));
    return read_result_of(c, message, id);
}

bool chat_read_tool_result(struct chat *c, struct jval part, struct blocks *into)
{
    (void)into; /* results stand in front of what else the user says */
    struct jval id = json_get(part, STR("tool_use_id"));
    if (!json_is(id, JSON_STRING))
        return chat_refuse_missing(c, chat_message_param(c, ".content.tool_use_id"));
    return read_result_of(c, part, id);
}

static bool read_function(struct chat *c, struct jval message)
{
    struct jval name = json_get(message, STR("name"));
    if (!json_is(name, JSON_STRING))
        return chat_refuse_missing(c, chat_message_param(c, ".name"));
    struct function_calls *open = function_calls_at(c, json_str(name, c->scratch));
    struct chat_call *call = c->h.open ? open->top : NULL;
    if (!call)
        return read_orphan(c, message, json_str_raw(name));
    open->top = call->below;
    return read_result(c, message, call);
}

static const struct {
    struct str name;
    bool (*read)(struct chat *c, struct jval message);
    bool leads; /* may stand before the conversation */
} roles[] = {
    {STR_INIT("user"), read_user, false},       {STR_INIT("assistant"), read_assistant, false},
    {STR_INIT("tool"), read_tool, false},       {STR_INIT("system"), read_system, true},
    {STR_INIT("developer"), read_system, true}, {STR_INIT("function"), read_function, false},
};

static bool read_message(struct chat *c, struct jval message)
{
    if (!json_is(message, JSON_OBJECT))
        return chat_refuse_type(c, chat_message_param(c, ""), "an object", message);
    struct jval role = json_get(message, STR("role"));
    if (json_type(role) == JSON_NULL)
        return chat_refuse_missing(c, chat_message_param(c, ".role"));
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (!json_str_is(role, roles[i].name))
            continue;
        c->h.started |= !roles[i].leads;
        return roles[i].read(c, message);
    }
    return chat_refuse_value(c, chat_message_param(c, ".role"), role,
                             "'system', 'assistant', 'user', 'function', 'tool', and 'developer'");
}

/* Nothing but system messages: the last one is what there is to answer. */
static void promote_system(struct chat *c)
{
    struct block *before = c->h.system_before_last;
    struct block *last = before ? before->next : c->m->system.first;
    struct blocks asked = {last, last ? c->m->system.last : NULL};
    if (before)
        before->next = NULL;
    c->m->system.last = before;
    if (!before)
        c->m->system.first = NULL;
    append(&c->h.rest, &asked);
    c->h.had_user = true;
}

bool chat_read_messages(struct chat *c)
{
    uint32_t n = json_count(chat_field(c, STR("messages")));
    if (n > MESSAGES_MAX)
        return chat_refuse(c, STR("array_above_max_length"), STR("messages"),
                           "Invalid 'messages': array too long. Expected an array with maximum "
                           "length %d, but got an array with length %u instead.",
                           MESSAGES_MAX, n);
    strmap_init(&c->h.ids, c->scratch);
    strmap_init(&c->h.sent, c->scratch);
    strmap_init(&c->h.functions, c->scratch);
    strmap_init(&c->h.names, c->scratch);
    c->h.system_before_last = c->m->system.last;
    c->message = 0;
    json_each (message, chat_field(c, STR("messages"))) {
        if (!read_message(c, message))
            return false;
        c->message++;
    }
    if (!c->m->turns && !c->h.started)
        promote_system(c);
    close_span(c);
    if (!c->m->turns) { /* assistant messages with nothing in them */
        c->h.had_user = true;
        close_span(c);
    }
    return true;
}

static struct str trim_end(struct str inside)
{
    size_t n = inside.n;
    while (n > 0 && inside.p[n - 1] == ' ')
        n--;
    while (n >= 2 && memchr("nrt", inside.p[n - 1], 3)) {
        size_t slashes = 0;
        while (slashes < n - 1 && inside.p[n - 2 - slashes] == '\\')
            slashes++;
        if (slashes % 2 == 0)
            break;
        n -= 2;
        while (n > 0 && inside.p[n - 1] == ' ')
            n--;
    }
    return str_head(inside, n);
}

void chat_end_conversation(struct chat *c)
{
    struct turn *last = c->m->last_turn;
    if (last->role != ROLE_ASSISTANT)
        return;
    bool thinks = c->m->thinking == THINKING_ENABLED || c->m->thinking == THINKING_ADAPTIVE;
    bool can = (c->m->model->can & CAN_PREFILL) && !thinks && !c->m->format.p;
    struct block *end = last->blocks.last;
    if (can && end && end->type == BLOCK_TEXT) {
        end->text = trim_end(end->text); /* upstream: no trailing whitespace at the very end */
        return;
    }
    add_text(c, &messages_turn(c->scratch, c->m, ROLE_USER)->blocks, STR("Continue."));
    chat_drop(c, STR("messages.prefill"));
}
