/* chat_thinking.c - reasoning, in both directions of a conversation.
 *
 * What an earlier answer thought comes back in whichever shape the client's framework knows, often
 * cut into the pieces it was streamed in; it is put together again and returned to its place, for
 * upstream checks both. Thinking without its signature is dropped: it is neither thinking nor text.
 *
 * How much shall be thought now is asked for in many fields; one wish comes out of them, and the
 * model's row says how near to it we can come.
 */
#include "llm/chat.h"

enum { BUDGET_MIN = 1024, BUDGET_DEFAULT = 8192 };

/* One block that is being put together. */
struct thought {
    struct thought *next;
    bool redacted;
    bool many; /* text stands in c->text, not in `text` */
    int64_t index;
    struct str text, signature;
};

struct thoughts {
    struct thought *first, *last;
};

static void finish_text(struct chat *c, struct thought *t)
{
    if (t && t->many) {
        t->text = chat_take_text(c);
        t->many = false;
    }
}

static void add_piece(struct chat *c, struct thought *t, struct str text)
{
    if (text.n == 0)
        return;
    if (t->text.n == 0 && !t->many) {
        t->text = text;
        return;
    }
    if (!t->many)
        buf_append(&c->text, t->text);
    t->many = true;
    buf_append(&c->text, text);
}

static int64_t index_of(struct jval entry)
{
    int64_t n;
    return json_i64(json_get(entry, STR("index")), &n) && n >= 0 ? n : -1;
}

/* Pieces belong together when their index is the same, or, without one, until a signature came. */
static bool continues(const struct thought *t, bool redacted, int64_t index)
{
    if (!t || t->redacted || redacted || t->index != index)
        return false;
    return index >= 0 || t->signature.n == 0;
}

static void add_entry(struct chat *c, struct thoughts *list, struct jval entry, struct str text_key,
                      bool redacted)
{
    struct thought *t = list->last;
    int64_t index = index_of(entry);
    if (!continues(t, redacted, index)) {
        finish_text(c, t);
        t = ARENA_NEW(c->scratch, struct thought);
        t->redacted = redacted;
        t->index = index;
        if (list->last)
            list->last->next = t;
        else
            list->first = t;
        list->last = t;
    }
    add_piece(c, t, json_str_raw(json_get(entry, text_key)));
    struct str signature = json_str_raw(json_get(entry, STR("signature")));
    if (signature.n > 0)
        t->signature = signature;
}

static void read_blocks(struct chat *c, struct jval entries, struct thoughts *list)
{
    json_each (e, entries) {
        struct jval type = json_get(e, STR("type"));
        if (json_str_is(type, STR("thinking")))
            add_entry(c, list, e, STR("thinking"), false);
        else if (json_str_is(type, STR("redacted_thinking")))
            add_entry(c, list, e, STR("data"), true);
    }
}

static void read_details(struct chat *c, struct jval entries, struct thoughts *list)
{
    json_each (e, entries) {
        struct jval type = json_get(e, STR("type")), format = json_get(e, STR("format"));
        if (json_type(format) != JSON_NULL && !json_str_is(format, STR("anthropic-claude-v1")))
            continue; /* another vendor's */
        if (json_str_is(type, STR("reasoning.text")))
            add_entry(c, list, e, STR("text"), false);
        else if (json_str_is(type, STR("reasoning.encrypted")))
            add_entry(c, list, e, STR("data"), true);
    }
}

static void read_content(struct chat *c, struct jval message, struct thoughts *list)
{
    struct str signature = json_str_raw(json_get(message, STR("reasoning_signature")));
    struct str text = json_str_raw(json_get(message, STR("reasoning_content")));
    if (signature.n == 0)
        return;
    struct thought *t = ARENA_NEW(c->scratch, struct thought);
    *t = (struct thought){.index = -1, .text = text, .signature = signature};
    list->first = list->last = t;
}

static void emit(struct chat *c, const struct thought *t, struct blocks *into)
{
    if (t->redacted) {
        if (t->text.n > 0)
            blocks_add(c->scratch, into, BLOCK_REDACTED)->text = t->text;
        return;
    }
    if (t->signature.n == 0)
        return;
    struct block *b = blocks_add(c->scratch, into, BLOCK_THINKING);
    b->text = t->text.p ? t->text : STR(""); /* signed and empty is valid state */
    b->signature = t->signature;
}

static bool holds_thinking(const struct blocks *list)
{
    for (const struct block *b = list->first; b; b = b->next)
        if (b->type == BLOCK_THINKING || b->type == BLOCK_REDACTED)
            return true;
    return false;
}

void chat_merge_thinking(struct chat *c, struct jval message, struct blocks *others,
                         struct blocks *into)
{
    struct thoughts list = {0};
    bool placed = holds_thinking(others); /* content had it, where it belongs */
    struct jval blocks = placed ? JVAL_NONE : json_get(message, STR("thinking_blocks"));
    struct jval details = json_get(message, STR("reasoning_details"));
    if (!json_empty(blocks))
        read_blocks(c, blocks, &list);
    else if (!placed && !json_empty(details))
        read_details(c, details, &list);
    else if (!placed)
        read_content(c, message, &list);
    finish_text(c, list.last);
    int64_t slot = 0;
    for (const struct thought *t = list.first; t; t = t->next, slot++) {
        for (; t->index > slot && others->first; slot++)
            blocks_move_first(others, into);
        emit(c, t, into);
    }
    while (others->first)
        blocks_move_first(others, into);
}

static const struct level {
    struct str name;
    uint32_t effort;
    int64_t budget;
} levels[] = {
    {STR_INIT("minimal"), EFFORT_LOW, 1024},   {STR_INIT("low"), EFFORT_LOW, 2048},
    {STR_INIT("medium"), EFFORT_MEDIUM, 8192}, {STR_INIT("high"), EFFORT_HIGH, 16384},
    {STR_INIT("xhigh"), EFFORT_XHIGH, 24576},  {STR_INIT("max"), EFFORT_MAX, 32000},
};

static bool read_effort(struct chat *c, struct jval v, struct str param, struct str from)
{
    struct chat_wish *w = &c->wish;
    if (json_type(v) == JSON_NULL || w->given)
        return true;
    w->given = true;
    w->from = from;
    w->none = json_str_is(v, STR("none"));
    if (w->none)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (json_str_is(v, levels[i].name)) {
            w->effort = levels[i].effort;
            w->budget = levels[i].budget;
            return true;
        }
    }
    return chat_refuse_value(c, param, v, CHAT_EFFORTS);
}

/* A budget in tokens, and the effort that comes nearest for models that take no budget. */
static void wish_budget(struct chat *c, int64_t budget, struct str from)
{
    c->wish.given = c->wish.exact = true;
    c->wish.from = from;
    c->wish.budget = budget < BUDGET_MIN ? BUDGET_MIN : budget;
    c->wish.effort = budget <= 2048    ? EFFORT_LOW
                     : budget <= 8192  ? EFFORT_MEDIUM
                     : budget <= 24576 ? EFFORT_HIGH
                     : budget <= 32000 ? EFFORT_XHIGH
                                       : EFFORT_MAX;
}

static void wish_switch(struct chat *c, struct jval v, struct str from)
{
    if (c->wish.given || (!json_is(v, JSON_TRUE) && !json_is(v, JSON_FALSE)))
        return;
    c->wish.given = true;
    c->wish.none = !json_true(v);
    c->wish.from = from;
}

static bool read_reasoning(struct chat *c, struct jval v)
{
    int64_t budget;
    c->wish.hidden |= json_true(json_get(v, STR("exclude")));
    c->wish.shown |= json_is(json_get(v, STR("summary")), JSON_STRING);
    if (!read_effort(c, json_get(v, STR("effort")), STR("reasoning.effort"), STR("reasoning")))
        return false;
    if (!c->wish.given && json_i64(json_get(v, STR("max_tokens")), &budget))
        wish_budget(c, budget, STR("reasoning"));
    wish_switch(c, json_get(v, STR("enabled")), STR("reasoning"));
    return true;
}

static bool read_thinking(struct chat *c, struct jval v)
{
    int64_t budget;
    struct jval type = json_get(v, STR("type"));
    if (c->wish.given || !json_present(v))
        return true;
    c->wish.omitted = json_str_is(json_get(v, STR("display")), STR("omitted"));
    if (json_str_is(type, STR("enabled")) && json_i64(json_get(v, STR("budget_tokens")), &budget)) {
        wish_budget(c, budget, STR("thinking"));
        return true;
    }
    c->wish.given = true;
    c->wish.from = STR("thinking");
    c->wish.none = json_str_is(type, STR("disabled")) || json_str_is(type, STR("between_tools"));
    return true;
}

/* Anthropic's own effort goes beside whatever is said about thinking. */
static bool read_own_effort(struct chat *c, struct jval v, struct str param)
{
    struct chat_wish own = c->wish;
    if (json_type(v) == JSON_NULL)
        return true;
    c->wish.given = false;
    if (!read_effort(c, v, param, param))
        return false;
    own.effort = c->wish.none ? EFFORT_LOW : c->wish.effort;
    c->wish = own;
    return true;
}

bool chat_read_wish(struct chat *c)
{
    struct jval config = chat_field(c, STR("output_config"));
    struct jval include = chat_field(c, STR("include_reasoning"));
    struct jval kwargs = chat_field(c, STR("chat_template_kwargs"));
    c->wish.hidden = json_is(include, JSON_FALSE);
    c->wish.shown = json_is(include, JSON_TRUE);
    if (!read_effort(c, chat_field(c, STR("reasoning_effort")), STR("reasoning_effort"),
                     STR("reasoning_effort")) ||
        !read_reasoning(c, chat_field(c, STR("reasoning"))) ||
        !read_thinking(c, chat_field(c, STR("thinking"))))
        return false;
    wish_switch(c, chat_field(c, STR("enable_thinking")), STR("enable_thinking"));
    wish_switch(c, chat_field(c, STR("think")), STR("think"));
    wish_switch(c, json_get(kwargs, STR("enable_thinking")), STR("chat_template_kwargs"));
    c->reply->hide_reasoning = c->wish.hidden;
    return read_own_effort(c, chat_field(c, STR("effort")), STR("effort")) &&
           read_own_effort(c, json_get(config, STR("effort")), STR("output_config.effort"));
}

/* The wished effort, or the next one below that the model has. */
static uint32_t nearest_effort(uint32_t effort, uint32_t supported)
{
    if (effort > EFFORT_HIGH && !(supported & effort))
        effort = EFFORT_HIGH;
    return supported & effort;
}

static void think_not(struct chat *c)
{
    const struct model *model = c->m->model;
    uint32_t effort =
        c->m->effort > EFFORT_HIGH ? EFFORT_HIGH : c->m->effort; /* more needs thinking */
    if ((model->can & CAN_THINK_DISABLED) && (model->can & CAN_THINK_ADAPTIVE)) {
        c->m->thinking = THINKING_DISABLED;
        c->m->effort = effort;
    } else if (model->can & CAN_THINK_BETWEEN) {
        c->m->thinking = THINKING_BETWEEN;
        c->m->effort = effort;
    } else if (model->think != THINK_OFF) {
        c->m->effort = nearest_effort(EFFORT_LOW, model->efforts);
        chat_drop(c, c->wish.from);
    }
}

/* With a budget, a turn that is still in its tool loop must begin with the thinking it had. */
static bool loop_lacks_thinking(const struct messages_request *m)
{
    const struct turn *last = NULL;
    for (const struct turn *t = m->turns; t; t = t->next)
        if (t->role == ROLE_ASSISTANT)
            last = t;
    if (!last || last->blocks.first->type == BLOCK_THINKING ||
        last->blocks.first->type == BLOCK_REDACTED)
        return false;
    for (const struct block *b = last->blocks.first; b; b = b->next)
        if (b->type == BLOCK_TOOL_USE)
            return true;
    return false;
}

/* Room is left for the answer: a fifth of the tokens, and at least a thousand. */
static void think_with_budget(struct chat *c)
{
    int64_t most = c->m->max_tokens;
    int64_t answer = most / 5 > BUDGET_MIN ? most / 5 : BUDGET_MIN;
    int64_t budget = c->wish.budget > 0 ? c->wish.budget : BUDGET_DEFAULT;
    if (budget > most - answer)
        budget = most - answer;
    bool forced = c->m->choice == CHOICE_ANY || c->m->choice == CHOICE_TOOL;
    if (budget < BUDGET_MIN || forced || loop_lacks_thinking(c->m)) {
        chat_drop(c, c->wish.from);
        return;
    }
    c->m->thinking = THINKING_ENABLED;
    c->m->thinking_budget = budget;
}

void chat_apply_wish(struct chat *c)
{
    const struct model *model = c->m->model;
    bool budget = c->wish.exact && (model->can & CAN_THINK_ENABLED);
    if (!budget)
        c->m->effort = nearest_effort(c->wish.effort, model->efforts);
    if (!c->wish.given && !(c->wish.shown && model->think != THINK_OFF))
        return;
    if (c->wish.none) {
        think_not(c);
    } else if (!budget && (model->can & CAN_THINK_ADAPTIVE)) {
        c->m->thinking = THINKING_ADAPTIVE;
        c->m->show_thinking = model->display_omitted && !c->wish.hidden && !c->wish.omitted;
    } else if (model->can & CAN_THINK_ENABLED) {
        think_with_budget(c);
    }
}
