/* sim_turns.c - the rules between messages of a request.
 *
 *   user -> assistant [tool_use A, tool_use B] -> user [tool_result A, tool_result B, text] -> ...
 *
 * One pass. What the next message must answer is kept in `pending`; ids of all calls in a table, so
 * that long conversations cost linear time.
 */
#include "sim/sim_turns.h"

#include "sim/sim_rules.h"

struct pending {
    struct str id;
    bool answered;
};

struct turns {
    struct check *c;
    const struct model *model;
    struct pending *pending; /* calls of the message before */
    size_t n_pending, cap_pending;
    uint32_t pending_at; /* that message's index */
    struct str *ids;     /* open addressing; every tool_use id so far */
    size_t n_ids, cap_ids;
    struct str role_before;  /* absent before the first message */
    bool server_result_last; /* the message before ended with a server tool's result */
    bool cited, uncited;     /* documents with and without citations */
    uint32_t at;             /* index of the message */
    bool final;              /* it is the last one */
};

static bool fail_message(struct turns *t, const char *text)
{
    struct shape_path path = {.name = STR("messages")};
    return check_fail(t->c, &path, "%s", text);
}

static bool fail_block(struct turns *t, uint32_t block, const char *text, struct str what)
{
    struct shape_path messages = {.name = STR("messages")};
    struct shape_path message = {.up = &messages, .index = t->at};
    struct shape_path content = {.up = &message, .name = STR("content")};
    struct shape_path path = {.up = &content, .index = block};
    return check_fail(t->c, &path, "%.*s%s", STR_FMT(what), text);
}

/* ---- tool calls and results ---- */

static size_t id_slot(const struct turns *t, struct str id)
{
    size_t at = prefix_bytes(0, id) & (t->cap_ids - 1);
    while (t->ids[at].p && !str_eq(t->ids[at], id))
        at = (at + 1) & (t->cap_ids - 1);
    return at;
}

static void ids_grow(struct turns *t)
{
    enum { FIRST = 16 };
    struct str *old = t->ids;
    size_t n = t->cap_ids;
    t->cap_ids = n ? n * 2 : FIRST;
    t->ids = arena_zalloc(t->c->a, t->cap_ids * sizeof(*t->ids));
    for (size_t i = 0; i < n; i++) {
        if (old[i].p)
            t->ids[id_slot(t, old[i])] = old[i];
    }
}

/* False when the id has been seen before. */
static bool ids_add(struct turns *t, struct str id)
{
    if (t->n_ids * 2 >= t->cap_ids)
        ids_grow(t);
    size_t at = id_slot(t, id);
    if (t->ids[at].p)
        return false;
    t->ids[at] = id;
    t->n_ids++;
    return true;
}

static void pending_add(struct turns *t, struct str id)
{
    enum { FIRST = 4 };

    if (t->n_pending == t->cap_pending) {
        struct pending *old = t->pending;
        t->cap_pending = t->cap_pending ? t->cap_pending * 2 : FIRST;
        t->pending = arena_alloc(t->c->a, t->cap_pending * sizeof(*t->pending));
        if (t->n_pending)
            memcpy(t->pending, old, t->n_pending * sizeof(*old));
    }
    t->pending[t->n_pending++] = (struct pending){.id = id};
}

static bool check_tool_use(struct turns *t, struct jval block, uint32_t i)
{
    struct str id = json_str(json_get(block, STR("id")), t->c->a);
    if (!ids_add(t, id))
        return fail_block(t, i, "", STR("`tool_use` ids must be unique"));
    pending_add(t, id);
    return true;
}

static bool check_tool_result(struct turns *t, struct jval block, uint32_t i)
{
    struct str id = json_str(json_get(block, STR("tool_use_id")), t->c->a);
    for (size_t k = 0; k < t->n_pending; k++) {
        struct pending *p = &t->pending[k];
        if (!str_eq(p->id, id))
            continue;
        if (p->answered)
            return fail_block(t, i, "",
                              arena_printf(t->c->a,
                                           "each tool_use must have a single result. Found "
                                           "multiple `tool_result` blocks with id: %.*s",
                                           STR_FMT(id)));
        p->answered = true;
        return true;
    }
    return fail_block(t, i,
                      ". Each `tool_result` block must have a corresponding `tool_use` block in "
                      "the previous message.",
                      arena_printf(t->c->a,
                                   "unexpected `tool_use_id` found in `tool_result` blocks: %.*s",
                                   STR_FMT(id)));
}

static bool check_answered(struct turns *t)
{
    struct str missing = STR("");
    for (size_t i = 0; i < t->n_pending; i++) {
        if (!t->pending[i].answered)
            missing = arena_printf(t->c->a, "%.*s%s%.*s", STR_FMT(missing), missing.n ? ", " : "",
                                   STR_FMT(t->pending[i].id));
    }
    if (missing.n == 0)
        return true;
    struct shape_path messages = {.name = STR("messages")};
    struct shape_path path = {.up = &messages, .index = t->pending_at};
    return check_fail(
        t->c, &path,
        "`tool_use` ids were found without `tool_result` blocks immediately after: "
        "%.*s. Each `tool_use` block must have a corresponding `tool_result` block in "
        "the next message.",
        STR_FMT(missing));
}

/* Results come first in the message behind the calls; a later one does not count as an answer. */
static bool check_results(struct turns *t, struct jval content)
{
    uint32_t i = 0;
    bool leading = true;
    if (json_is(content, JSON_ARRAY)) {
        json_each (b, content) {
            bool result = json_str_is(json_get(b, STR("type")), STR("tool_result"));
            if (leading && !result && !check_answered(t))
                return false;
            leading = leading && result;
            if (result && !check_tool_result(t, b, i))
                return false;
            i++;
        }
    }
    bool ok = check_answered(t);
    t->n_pending = 0;
    return ok;
}

/* ---- thinking ---- */

static bool check_thinking(struct turns *t, struct jval message, struct jval block, uint32_t i)
{
    struct arena *a = t->c->a;
    struct str signature = json_str(json_get(block, STR("signature")), a);
    bool bound = t->model->binds_thinking && signature_is_ours(signature, t->model->id);
    uint64_t prefix = bound ? prefix_before(t->c->request, message, a) : 0;
    struct str text = json_str(json_get(block, STR("thinking")), a);
    switch (signature_check(signature, t->model->id, prefix, bound, text)) {
    case SIGNATURE_GOOD:
    case SIGNATURE_FOREIGN: return true;
    case SIGNATURE_ALTERED:
        return fail_block(t, i, "", STR("Invalid `signature` in `thinking` block"));
    case SIGNATURE_MOVED: break;
    }
    struct jval binding = json_get(t->c->request->thinking, STR("block_binding"));
    if (json_str_is(json_get(binding, STR("prefix_mismatch_behavior")), STR("drop_block")))
        return true;
    return fail_block(
        t, i, "",
        STR("Invalid `signature` in `thinking` block. The block is bound to a different "
            "conversation. Remove the block, or set "
            "`thinking.block_binding.prefix_mismatch_behavior` to \"drop_block\". That setting "
            "requires the `thinking-binding-controls-2026-08-01` value in the `anthropic-beta` "
            "header."));
}

/* With a thinking budget, the turn that called the tools must start with its thinking. */
static bool check_starts_thinking(struct turns *t, struct jval assistant, uint32_t index)
{
    struct jval type = json_get(t->c->request->thinking, STR("type"));
    struct jval content = json_get(assistant, STR("content"));
    if (!json_str_is(type, STR("enabled")) || !json_is(content, JSON_ARRAY))
        return true;
    struct jval first = json_get(json_first(content), STR("type"));
    if (json_str_is(first, STR("thinking")) || json_str_is(first, STR("redacted_thinking")))
        return true;
    t->at = index;
    return fail_block(t, 0,
                      "`. When `thinking` is enabled, a final `assistant` message must start with "
                      "a thinking block (preceeding the lastmost set of `tool_use` and "
                      "`tool_result` blocks).",
                      arena_printf(t->c->a,
                                   "Expected `thinking` or `redacted_thinking`, but found `%.*s",
                                   STR_FMT(json_str(first, t->c->a))));
}

/* ---- blocks ---- */

/* Blocks that only one side may send. */
static const struct {
    struct str type;
    bool user, assistant;
} sides[] = {
    {STR_INIT("text"), true, true},
    {STR_INIT("tool_use"), false, true},
    {STR_INIT("tool_result"), true, false},
    {STR_INIT("thinking"), false, true},
    {STR_INIT("redacted_thinking"), false, true},
    {STR_INIT("image"), true, false},
    {STR_INIT("search_result"), true, false},
    {STR_INIT("server_tool_use"), false, true},
};

static bool check_side(struct turns *t, struct jval type, bool user, uint32_t i)
{
    for (size_t k = 0; k < ARRAY_LEN(sides); k++) {
        if (!json_str_is(type, sides[k].type))
            continue;
        if (user ? sides[k].user : sides[k].assistant)
            return true;
        return fail_block(t, i,
                          user ? "` blocks can only be in `assistant` messages"
                               : "` blocks can only be in `user` messages",
                          arena_printf(t->c->a, "`%.*s", STR_FMT(sides[k].type)));
    }
    return true;
}

/* What API version 2026-10-21 no longer takes. */
static bool check_version(struct turns *t, struct jval block, struct jval type, bool user,
                          uint32_t i)
{
    if (!str_eq(t->c->request->version, SIM_VERSION_NEW))
        return true;
    if (!user && json_str_is(type, STR("document")))
        return fail_block(t, i, "",
                          STR("`document` blocks are not permitted in `assistant` messages"));
    struct jval citations = json_get(block, STR("citations"));
    if (user && json_str_is(type, STR("text")) && json_is(citations, JSON_ARRAY) &&
        !json_empty(citations))
        return fail_block(t, i, "",
                          STR("`citations` are not permitted on `text` blocks in `user` messages"));
    return true;
}

static void note_document(struct turns *t, struct jval block)
{
    if (json_true(json_get(json_get(block, STR("citations")), STR("enabled"))))
        t->cited = true;
    else
        t->uncited = true;
}

static bool check_block(struct turns *t, struct jval message, struct jval block, bool user,
                        uint32_t i)
{
    struct jval type = json_get(block, STR("type"));
    if (!check_side(t, type, user, i) || !check_version(t, block, type, user, i))
        return false;
    if (json_str_is(type, STR("tool_use")))
        return check_tool_use(t, block, i);
    if (json_str_is(type, STR("thinking")))
        return check_thinking(t, message, block, i);
    if (json_str_is(type, STR("document")))
        note_document(t, block);
    struct str name = json_str_raw(type);
    t->server_result_last = !user && str_ends(name, STR("_tool_result"));
    return true;
}

/* ---- messages ---- */

static bool check_empty(struct turns *t, struct jval content, bool user)
{
    if (json_is(content, JSON_STRING) && json_str_raw(content).n != 0) {
        if (rule_is_blank(content))
            return fail_message(t, "text content blocks must contain non-whitespace text");
        return true;
    }
    if (json_is(content, JSON_ARRAY) && !json_empty(content))
        return true;
    if (!user && t->final)
        return true;
    struct shape_path messages = {.name = STR("messages")};
    struct shape_path path = {.up = &messages, .index = t->at};
    return check_fail(t->c, &path,
                      "all messages must have non-empty content except for the optional final "
                      "assistant message");
}

/* What may follow what: only entries of role system are bound to a place. */
static bool check_role(struct turns *t, struct str role)
{
    struct str before = t->role_before;
    bool system = str_eq(role, STR("system"));
    if (system && !(t->model->can & CAN_MID_SYSTEM))
        return fail_message(t, "Unexpected role \"system\". The Messages API accepts a top-level "
                               "`system` parameter, not \"system\" as an input message role.");
    if (!before.p && !str_eq(role, STR("user")))
        return fail_message(t, "first message must use the \"user\" role");
    if (system && str_eq(before, STR("assistant")) && !t->server_result_last)
        return fail_message(t, "a `system` message must follow a `user` message");
    if (!system && str_eq(before, STR("system")) && !str_eq(role, STR("assistant")))
        return fail_message(t, "a `system` message must be followed by an `assistant` message or "
                               "end the conversation");
    return true;
}

static bool check_system_blocks(struct turns *t, struct jval content)
{
    if (!json_is(content, JSON_ARRAY))
        return true;
    uint32_t i = 0;
    json_each (b, content) {
        if (!json_str_is(json_get(b, STR("type")), STR("text")))
            return fail_block(t, i, "",
                              STR("only `text` blocks are permitted in `system` messages"));
        i++;
    }
    return true;
}

static bool check_message(struct turns *t, struct jval message)
{
    struct str role = json_str(json_get(message, STR("role")), t->c->a);
    struct jval content = json_get(message, STR("content"));
    bool user = str_eq(role, STR("user"));
    if (!check_role(t, role) || !check_empty(t, content, !str_eq(role, STR("assistant"))))
        return false;
    t->role_before = role;
    t->server_result_last = false;
    if (str_eq(role, STR("system")))
        return check_system_blocks(t, content);
    if (user ? !check_results(t, content) : !check_answered(t))
        return false;
    t->n_pending = 0;
    t->pending_at = t->at;
    uint32_t i = 0;
    if (json_is(content, JSON_ARRAY)) {
        json_each (b, content) {
            if (!check_block(t, message, b, user, i++))
                return false;
        }
    }
    return true;
}

/* ---- the end of the conversation ---- */

static bool ends_with_space(struct jval message)
{
    struct jval content = json_get(message, STR("content"));
    struct jval text = content;
    if (json_is(content, JSON_ARRAY)) {
        json_each (b, content)
            text = json_get(b, STR("text"));
    }
    struct str raw = json_str_raw(text);
    return str_ends(raw, STR(" ")) || str_ends(raw, STR("\\n")) || str_ends(raw, STR("\\t"));
}

static bool check_prefill(struct turns *t, struct jval last)
{
    const struct sim_request *q = t->c->request;
    if (!str_eq(t->role_before, STR("assistant")))
        return true;
    if (!(t->model->can & CAN_PREFILL) || q->thinks != SIM_THINK_OFF || json_present(q->format))
        return check_fail(t->c, NULL,
                          "This model does not support assistant message prefill. The conversation "
                          "must end with a user message.");
    if (ends_with_space(last))
        return fail_message(t, "final assistant content cannot end with trailing whitespace");
    return true;
}

static bool check_citations(struct turns *t)
{
    if (t->cited && t->uncited)
        return fail_message(t, "citations must be enabled on all or none of the documents");
    if (t->cited && json_present(t->c->request->format))
        return check_fail(t->c, NULL,
                          "output_config.format: citations cannot be enabled when a structured "
                          "output format is set");
    return true;
}

static bool holds_results(struct jval message)
{
    struct jval content = json_get(message, STR("content"));
    struct jval first = json_is(content, JSON_ARRAY) ? json_first(content) : JVAL_NONE;
    return json_present(first) && json_str_is(json_get(first, STR("type")), STR("tool_result"));
}

bool turns_check(struct check *c)
{
    struct turns t = {.c = c, .model = c->request->model};
    struct jval messages = c->request->messages, last = JVAL_NONE, assistant = JVAL_NONE;
    uint32_t n = json_count(messages), assistant_at = 0;
    if (n == 0)
        return fail_message(&t, "at least one message is required");
    json_each (m, messages) {
        t.final = t.at + 1 == n;
        if (!check_message(&t, m))
            return false;
        if (str_eq(t.role_before, STR("assistant"))) {
            assistant = m;
            assistant_at = t.at;
        }
        last = m;
        t.at++;
    }
    if (!check_answered(&t) || !check_prefill(&t, last) || !check_citations(&t))
        return false;
    if (holds_results(last) && json_present(assistant))
        return check_starts_thinking(&t, assistant, assistant_at);
    return true;
}
