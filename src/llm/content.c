/* content.c - see content.h.
 *
 * Of the open block are kept, each as the text that it will be in the array:
 *
 *   block        head                    body                    extra
 *   text                                 inside of "text"        citations, comma-separated
 *   thinking                             inside of "thinking"    inside of "signature"
 *   redacted                             inside of "data"
 *   tool_use     id and name, members    the input, a value
 *   hidden       its members but input   the input, a value
 */
#include "llm/content.h"

static struct buf *const *parts_of(struct content *c, struct buf *list[5])
{
    struct buf *all[] = {&c->json, &c->head, &c->body, &c->extra, &c->call};
    memcpy(list, all, sizeof(all));
    return list;
}

void content_init(struct content *c, size_t max)
{
    struct buf *list[5];
    *c = (struct content){.kind = EVENT_BLOCK_HIDDEN};
    parts_of(c, list);
    for (size_t i = 0; i < ARRAY_LEN(list); i++)
        buf_init(list[i], max);
}

void content_done(struct content *c)
{
    struct buf *list[5];
    parts_of(c, list);
    for (size_t i = 0; i < ARRAY_LEN(list); i++)
        buf_done(list[i]);
}

void content_clear(struct content *c)
{
    size_t max = c->json.max;
    content_done(c);
    content_init(c, max);
}

static void add(struct content *c, struct buf *to, struct str s)
{
    if (!buf_append(to, s))
        c->spoiled = true;
}

#define ADD(c, to, literal) add((c), (to), STR(literal))

/* Members that stand in answers only, or say nothing. */
static bool is_for_replay(struct jval key)
{
    return !json_is(json_value(key), JSON_NULL) && !json_str_is(key, STR("input")) &&
           !json_str_is(key, STR("caller")) && !json_str_is(key, STR("parsed_output"));
}

static void keep_members(struct content *c, struct jval block)
{
    json_each_member (key, block) {
        if (!is_for_replay(key))
            continue;
        if (buf_len(&c->head) > 0)
            ADD(c, &c->head, ",");
        ADD(c, &c->head, "\"");
        add(c, &c->head, json_str_raw(key));
        ADD(c, &c->head, "\":");
        add(c, &c->head, json_raw(json_value(key)));
    }
}

static void keep_call(struct content *c, const struct event *e)
{
    ADD(c, &c->head, "\"type\":\"tool_use\",\"id\":\"");
    add(c, &c->head, e->id);
    ADD(c, &c->head, "\",\"name\":\"");
    add(c, &c->head, e->name);
    ADD(c, &c->head, "\"");
    if (buf_len(&c->call) == 0)
        add(c, &c->call, e->id);
}

static void start_block(struct content *c, const struct event *e)
{
    struct buf *const open[] = {&c->head, &c->body, &c->extra};
    for (size_t i = 0; i < ARRAY_LEN(open); i++)
        buf_clear(open[i]);
    c->kind = e->block;
    c->has_input = false;
    switch (e->block) {
    case EVENT_BLOCK_TOOL_USE: keep_call(c, e); break;
    case EVENT_BLOCK_HIDDEN:
        keep_members(c, e->content);
        add(c, &c->body, e->input);
        break;
    case EVENT_BLOCK_TEXT:
    case EVENT_BLOCK_THINKING:
    case EVENT_BLOCK_REDACTED: add(c, &c->body, e->text); break;
    }
}

/* Pieces of an input are pieces of a JSON text inside of strings. What stood in block_start was a
 * placeholder. */
static void add_input(struct content *c, struct str inside)
{
    if (!c->has_input)
        buf_clear(&c->body);
    c->has_input = true;
    char *p = buf_reserve(&c->body, size_max(inside.n, 1));
    if (p)
        buf_commit(&c->body, json_unescape(inside, p));
    else
        c->spoiled = true;
}

static void add_citation(struct content *c, struct str value)
{
    if (buf_len(&c->extra) > 0)
        ADD(c, &c->extra, ",");
    add(c, &c->extra, value);
}

static bool is_blank(struct str inside)
{
    for (size_t i = 0; inside.p && i < inside.n; i++) {
        bool escape = inside.p[i] == '\\' && i + 1 < inside.n && memchr("nrt", inside.p[i + 1], 3);
        if (inside.p[i] != ' ' && !escape)
            return false;
        i += escape;
    }
    return true;
}

static void write_text(struct content *c)
{
    ADD(c, &c->json, "\"type\":\"text\",\"text\":\"");
    add(c, &c->json, buf_str(&c->body));
    ADD(c, &c->json, "\"");
    if (buf_len(&c->extra) == 0)
        return;
    ADD(c, &c->json, ",\"citations\":[");
    add(c, &c->json, buf_str(&c->extra));
    ADD(c, &c->json, "]");
}

static void write_thinking(struct content *c)
{
    c->has_thinking = true;
    c->spoiled |= buf_len(&c->extra) == 0; /* unsigned: upstream would refuse it */
    ADD(c, &c->json, "\"type\":\"thinking\",\"thinking\":\"");
    add(c, &c->json, buf_str(&c->body));
    ADD(c, &c->json, "\",\"signature\":\"");
    add(c, &c->json, buf_str(&c->extra));
    ADD(c, &c->json, "\"");
}

static void write_redacted(struct content *c)
{
    c->has_thinking = true;
    ADD(c, &c->json, "\"type\":\"redacted_thinking\",\"data\":\"");
    add(c, &c->json, buf_str(&c->body));
    ADD(c, &c->json, "\"");
}

static void write_members(struct content *c)
{
    bool call = c->kind == EVENT_BLOCK_TOOL_USE;
    struct str input = buf_str(&c->body);
    add(c, &c->json, buf_str(&c->head));
    if (input.n == 0 && !call)
        return;
    ADD(c, &c->json, ",\"input\":");
    add(c, &c->json, input.n > 0 ? input : STR("{}"));
}

static void stop_block(struct content *c)
{
    static void (*const writers[])(struct content * c) = {
        [EVENT_BLOCK_TEXT] = write_text,         [EVENT_BLOCK_TOOL_USE] = write_members,
        [EVENT_BLOCK_THINKING] = write_thinking, [EVENT_BLOCK_REDACTED] = write_redacted,
        [EVENT_BLOCK_HIDDEN] = write_members,
    };
    if (c->kind == EVENT_BLOCK_TEXT && is_blank(buf_str(&c->body)))
        return; /* upstream itself produces empty texts, and refuses them */
    if (buf_len(&c->json) > 0)
        ADD(c, &c->json, ",");
    ADD(c, &c->json, "{");
    writers[c->kind](c);
    ADD(c, &c->json, "}");
}

static void add_delta(struct content *c, const struct event *e)
{
    if (e->type == EVENT_JSON)
        add_input(c, e->text);
    else if (c->kind == EVENT_BLOCK_HIDDEN)
        c->spoiled = true; /* a block that is not known, with a content that is not either */
    else if (e->type == EVENT_CITATION)
        add_citation(c, e->input);
    else
        add(c, e->type == EVENT_SIGNATURE ? &c->extra : &c->body, e->text);
}

void content_take(struct content *c, const struct event *e)
{
    if (c->spoiled)
        return;
    switch (e->type) {
    case EVENT_BLOCK_START: start_block(c, e); break;
    case EVENT_BLOCK_STOP: stop_block(c); break;
    case EVENT_TEXT:
    case EVENT_JSON:
    case EVENT_THINKING:
    case EVENT_SIGNATURE:
    case EVENT_CITATION: add_delta(c, e); break;
    case EVENT_MESSAGE_START:
    case EVENT_MESSAGE_DELTA:
    case EVENT_MESSAGE_STOP:
    case EVENT_PING:
    case EVENT_ERROR:
    case EVENT_UNKNOWN: break;
    }
    if (c->spoiled)
        content_done(c); /* nothing will come of it */
}

struct str content_blocks(const struct content *c)
{
    return c->spoiled || buf_len(&c->json) == 0 ? STR_NONE : buf_str(&c->json);
}
