/* event.c - reads the events of a Messages stream and keeps the running state of an answer.
 *
 *   EMPTY --message_start--> OPEN --message_delta--> DELTA_SEEN --message_stop--> DONE
 *                            |  ^                        (may come again)
 *                 block_start v  | block_stop
 *                           block open: deltas of its kind only
 *
 * Events and deltas of unknown kinds are skipped wherever they stand (the API reserves the right to
 * add some). Nothing is copied: an event borrows from the text it was read from.
 */
#include "llm/event.h"

#include "wire/jsonw.h"

enum { INPUT_MAX = 32 * 1024 * 1024 };

static int64_t count_of(struct jval v)
{
    int64_t n;
    return json_i64(v, &n) && n >= 0 ? n : -1;
}

static uint32_t tariff_of(struct jval key, struct jval value)
{
    static const struct {
        struct str name, value;
        enum tariff tariff;
    } tariffs[] = {
        {STR_INIT("service_tier"), STR_INIT("batch"), TARIFF_BATCH},
        {STR_INIT("speed"), STR_INIT("fast"), TARIFF_FAST},
        {STR_INIT("inference_geo"), STR_INIT("us"), TARIFF_US},
    };

    for (size_t i = 0; i < ARRAY_LEN(tariffs); i++)
        if (json_str_is(value, tariffs[i].value) && json_str_is(key, tariffs[i].name))
            return tariffs[i].tariff;
    return 0;
}

/* One pass over the members: this is read for every answer, twice. */
static void read_usage(struct jval v, struct event *e)
{
    struct usage *u = &e->usage;

    const struct {
        struct str name;
        int64_t *count;
        struct str inner; /* the count is a member of this one's object */
    } counts[] = {
        {STR("input_tokens"), &u->input, STR_NONE},
        {STR("output_tokens"), &u->output, STR_NONE},
        {STR("cache_read_input_tokens"), &u->cache_read, STR_NONE},
        {STR("cache_creation_input_tokens"), &u->cache_write, STR_NONE},
        {STR("cache_creation"), &u->cache_write_1h, STR("ephemeral_1h_input_tokens")},
        {STR("output_tokens_details"), &u->thinking, STR("thinking_tokens")},
        {STR("server_tool_use"), &u->web_searches, STR("web_search_requests")},
    };

    if (!json_is(v, JSON_OBJECT))
        return;
    json_each_member (key, v) {
        struct jval value = json_value(key);
        uint32_t tariff = json_is(value, JSON_STRING) ? tariff_of(key, value) : 0;
        u->tariffs |= tariff;
        if (json_str_is(key, STR("service_tier")) && !e->service_tier.p)
            e->service_tier = json_str_raw(value);
        if (tariff == TARIFF_FAST)
            e->service_tier = json_str_raw(value); /* which says more */
        for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
            if (!json_str_is(key, counts[i].name))
                continue;
            *counts[i].count =
                count_of(counts[i].inner.n ? json_get(value, counts[i].inner) : value);
            break;
        }
    }
}

static void read_message(struct jval message, struct event *e)
{
    e->id = json_str_raw(json_get(message, STR("id")));
    e->model = json_str_raw(json_get(message, STR("model")));
    read_usage(json_get(message, STR("usage")), e);
}

static void read_message_start(struct jval root, struct event *e)
{
    read_message(json_get(root, STR("message")), e);
}

static enum event_block block_kind(struct jval block)
{
    static const struct {
        struct str name;
        enum event_block kind;
    } kinds[] = {
        {STR_INIT("text"), EVENT_BLOCK_TEXT},
        {STR_INIT("tool_use"), EVENT_BLOCK_TOOL_USE},
        {STR_INIT("thinking"), EVENT_BLOCK_THINKING},
        {STR_INIT("redacted_thinking"), EVENT_BLOCK_REDACTED},
    };
    struct jval type = json_get(block, STR("type"));
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (json_str_is(type, kinds[i].name))
            return kinds[i].kind;
    return EVENT_BLOCK_HIDDEN;
}

static void read_block(struct jval block, struct event *e)
{
    static const struct str text_keys[] = {
        [EVENT_BLOCK_TEXT] = STR_INIT("text"),         [EVENT_BLOCK_TOOL_USE] = STR_INIT(""),
        [EVENT_BLOCK_THINKING] = STR_INIT("thinking"), [EVENT_BLOCK_REDACTED] = STR_INIT("data"),
        [EVENT_BLOCK_HIDDEN] = STR_INIT(""),
    };
    e->content = block;
    e->block = block_kind(block);
    e->id = json_str_raw(json_get(block, STR("id")));
    e->name = json_str_raw(json_get(block, STR("name")));
    struct jval input = json_get(block, STR("input"));
    if (json_present(input))
        e->input = json_raw(input);
    if (text_keys[e->block].n > 0)
        e->text = json_str_raw(json_get(block, text_keys[e->block]));
}

static void read_block_start(struct jval root, struct event *e)
{
    read_block(json_get(root, STR("content_block")), e);
}

static void read_delta(struct jval root, struct event *e)
{
    static const struct {
        struct str name, key;
        enum event_type type;
    } kinds[] = {
        {STR_INIT("text_delta"), STR_INIT("text"), EVENT_TEXT},
        {STR_INIT("input_json_delta"), STR_INIT("partial_json"), EVENT_JSON},
        {STR_INIT("thinking_delta"), STR_INIT("thinking"), EVENT_THINKING},
        {STR_INIT("signature_delta"), STR_INIT("signature"), EVENT_SIGNATURE},
    };
    struct jval delta = json_get(root, STR("delta"));
    struct jval type = json_get(delta, STR("type"));
    e->type = EVENT_UNKNOWN;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (json_str_is(type, kinds[i].name)) {
            e->type = kinds[i].type;
            e->text = json_str_raw(json_get(delta, kinds[i].key));
            return;
        }
    }
    struct jval citation = json_get(delta, STR("citation"));
    if (json_str_is(type, STR("citations_delta")) && json_is(citation, JSON_OBJECT)) {
        e->type = EVENT_CITATION;
        e->input = json_raw(citation);
    }
}

static enum stop_reason stop_of(struct jval v)
{
    static const struct {
        struct str name;
        enum stop_reason stop;
    } stops[] = {
        {STR_INIT("end_turn"), STOP_END_TURN},
        {STR_INIT("tool_use"), STOP_TOOL_USE},
        {STR_INIT("max_tokens"), STOP_MAX_TOKENS},
        {STR_INIT("stop_sequence"), STOP_SEQUENCE},
        {STR_INIT("refusal"), STOP_REFUSAL},
        {STR_INIT("pause_turn"), STOP_PAUSE_TURN},
        {STR_INIT("model_context_window_exceeded"), STOP_CONTEXT_FULL},
    };

    if (!json_is(v, JSON_STRING))
        return STOP_NONE;
    for (size_t i = 0; i < ARRAY_LEN(stops); i++)
        if (json_str_is(v, stops[i].name))
            return stops[i].stop;
    return STOP_OTHER;
}

static void read_stop(struct jval delta, struct event *e)
{
    struct jval reason = json_get(delta, STR("stop_reason"));
    e->stop = stop_of(reason);
    e->stop_word = json_str_raw(reason);
    e->stop_sequence = json_str_raw(json_get(delta, STR("stop_sequence")));
    struct jval details = json_get(delta, STR("stop_details"));
    e->refusal_category = json_str_raw(json_get(details, STR("category")));
    e->refusal_text = json_str_raw(json_get(details, STR("explanation")));
}

static void read_message_delta(struct jval root, struct event *e)
{
    read_stop(json_get(root, STR("delta")), e);
    read_usage(json_get(root, STR("usage")), e);
}

static void read_error(struct jval root, struct event *e)
{
    struct jval error = json_get(root, STR("error"));
    e->error_type = json_str_raw(json_get(error, STR("type")));
    e->error_code = json_str_raw(json_get(json_get(error, STR("details")), STR("error_code")));
    e->text = json_str_raw(json_get(error, STR("message")));
}

static void blank_event(struct event *e, enum event_type type, int64_t index)
{
    *e = (struct event){
        .type = type, .index = index, .usage = (struct usage){-1, -1, -1, -1, -1, -1, -1, 0}};
}

bool event_parse(struct json *doc, struct str data, struct event *ret)
{
    static const struct {
        struct str name;
        enum event_type type;
        void (*read)(struct jval root, struct event *e);
    } types[] = {
        {STR_INIT("content_block_delta"), EVENT_UNKNOWN, read_delta},
        {STR_INIT("content_block_start"), EVENT_BLOCK_START, read_block_start},
        {STR_INIT("content_block_stop"), EVENT_BLOCK_STOP, NULL},
        {STR_INIT("message_start"), EVENT_MESSAGE_START, read_message_start},
        {STR_INIT("message_delta"), EVENT_MESSAGE_DELTA, read_message_delta},
        {STR_INIT("message_stop"), EVENT_MESSAGE_STOP, NULL},
        {STR_INIT("ping"), EVENT_PING, NULL},
        {STR_INIT("error"), EVENT_ERROR, read_error},
    };

    blank_event(ret, EVENT_UNKNOWN, -1);
    if (data.n == 0 || json_parse(doc, data) != JSON_OK)
        return false;
    struct jval root = json_root(doc);
    struct jval type = json_get(root, STR("type"));
    if (!json_is(type, JSON_STRING))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (!json_str_is(type, types[i].name))
            continue;
        ret->type = types[i].type;
        ret->index = count_of(json_get(root, STR("index")));
        if (types[i].read)
            types[i].read(root, ret);
        break;
    }
    return true;
}

struct replay {
    bool (*take)(void *ctx, const struct event *e);
    void *ctx;
    struct buf input; /* of a tool, as a stream would have it: escaped */
    bool ok;
};

static void replay(struct replay *r, const struct event *e)
{
    r->ok = r->ok && r->take(r->ctx, e);
}

static void replay_text(struct replay *r, enum event_type type, int64_t index, struct str text)
{
    struct event e;
    blank_event(&e, type, index);
    e.text = text;
    if (text.n > 0)
        replay(r, &e);
}

/* A tool's input is a value here; in a stream it comes as pieces of a string. */
static void replay_input(struct replay *r, int64_t index, struct str value)
{
    buf_clear(&r->input);
    if (value.n > 0 && !str_eq(value, STR("{}")))
        r->ok = r->ok && jsonw_escape(&r->input, value);
    replay_text(r, EVENT_JSON, index, buf_str(&r->input));
}

static void replay_block(struct replay *r, struct jval block, int64_t index)
{
    struct event e;
    blank_event(&e, EVENT_BLOCK_START, index);
    read_block(block, &e);
    struct str text = e.text;
    if (e.block == EVENT_BLOCK_TEXT || e.block == EVENT_BLOCK_THINKING)
        e.text = STR("");
    replay(r, &e);
    if (e.block == EVENT_BLOCK_TEXT)
        replay_text(r, EVENT_TEXT, index, text);
    if (e.block == EVENT_BLOCK_TOOL_USE)
        replay_input(r, index, e.input);
    if (e.block == EVENT_BLOCK_THINKING) {
        replay_text(r, EVENT_THINKING, index, text);
        replay_text(r, EVENT_SIGNATURE, index, json_str_raw(json_get(block, STR("signature"))));
    }
    json_each (citation, json_get(block, STR("citations"))) {
        struct event c;
        blank_event(&c, EVENT_CITATION, index);
        c.input = json_raw(citation);
        replay(r, &c);
    }
    blank_event(&e, EVENT_BLOCK_STOP, index);
    replay(r, &e);
}

bool event_replay(struct json *doc, struct str body, bool (*take)(void *ctx, const struct event *e),
                  void *ctx)
{
    if (body.n == 0 || json_parse(doc, body) != JSON_OK)
        return false;
    struct jval message = json_root(doc);
    struct jval content = json_get(message, STR("content"));
    if (!json_str_is(json_get(message, STR("type")), STR("message")) ||
        !json_is(content, JSON_ARRAY))
        return false;

    struct replay r = {.take = take, .ctx = ctx, .ok = true};
    buf_init(&r.input, INPUT_MAX);
    struct event e;
    blank_event(&e, EVENT_MESSAGE_START, -1);
    read_message(message, &e);
    replay(&r, &e);
    int64_t index = 0;
    json_each (block, content) {
        replay_block(&r, block, index++);
    }
    e.type = EVENT_MESSAGE_DELTA; /* usage is the same; counts replace, they do not add */
    read_stop(message, &e);
    replay(&r, &e);
    blank_event(&e, EVENT_MESSAGE_STOP, -1);
    replay(&r, &e);
    buf_done(&r.input);
    return r.ok;
}

void answer_init(struct answer *a)
{
    *a = (struct answer){.block_index = -1};
    a->usage = a->before = (struct usage){-1, -1, -1, -1, -1, -1, -1, 0};
}

void answer_resume(struct answer *a)
{
    ASSERT(a->state == ANSWER_DONE);
    a->before = a->usage;
    a->index_base = a->n_blocks;
    a->state = ANSWER_EMPTY;
    a->stop = STOP_NONE;
}

/* What this round says replaces what it said before; earlier rounds stand. */
static void take_count(int64_t *known, int64_t before, int64_t said)
{
    if (said < 0)
        return;
    if (before > 0 && __builtin_add_overflow(said, before, &said))
        said = INT64_MAX;
    *known = said;
}

static void take_usage(struct answer *a, const struct usage *said)
{
    struct usage *known = &a->usage;
    const struct usage *before = &a->before;
    take_count(&known->input, before->input, said->input);
    take_count(&known->output, before->output, said->output);
    take_count(&known->cache_read, before->cache_read, said->cache_read);
    take_count(&known->cache_write, before->cache_write, said->cache_write);
    take_count(&known->cache_write_1h, before->cache_write_1h, said->cache_write_1h);
    take_count(&known->thinking, before->thinking, said->thinking);
    take_count(&known->web_searches, before->web_searches, said->web_searches);
    known->tariffs |= said->tariffs;
}

static bool track_start(struct answer *a, const struct event *e)
{
    if (a->state != ANSWER_EMPTY)
        return false;
    a->state = ANSWER_OPEN;
    take_usage(a, &e->usage);
    return true;
}

static bool track_block_start(struct answer *a, const struct event *e)
{
    if (a->state != ANSWER_OPEN || a->block_index >= 0 || e->index < 0)
        return false;
    a->block_index = e->index;
    a->block = e->block;
    a->n_blocks++;
    a->tool_uses += e->block == EVENT_BLOCK_TOOL_USE;
    return true;
}

static bool track_block_stop(struct answer *a, const struct event *e)
{
    if (a->block_index < 0 || a->block_index != e->index)
        return false;
    a->block_index = -1;
    return true;
}

/* A delta belongs into the open block, and into one of its own kind. */
static bool track_delta(const struct answer *a, const struct event *e, enum event_block block)
{
    if (a->block_index < 0 || a->block_index != e->index)
        return false;
    return a->block == EVENT_BLOCK_HIDDEN || a->block == block;
}

static bool track_message_delta(struct answer *a, const struct event *e)
{
    if ((a->state != ANSWER_OPEN && a->state != ANSWER_DELTA_SEEN) || a->block_index >= 0)
        return false;
    a->state = ANSWER_DELTA_SEEN;
    take_usage(a, &e->usage);
    if (e->stop != STOP_NONE)
        a->stop = e->stop;
    return true;
}

static bool track_message_stop(struct answer *a)
{
    if ((a->state != ANSWER_OPEN && a->state != ANSWER_DELTA_SEEN) || a->block_index >= 0)
        return false;
    a->state = ANSWER_DONE;
    return true;
}

bool answer_track(struct answer *a, const struct event *e)
{
    if (a->state == ANSWER_DONE)
        return false;
    switch (e->type) {
    case EVENT_MESSAGE_START: return track_start(a, e);
    case EVENT_BLOCK_START: return track_block_start(a, e);
    case EVENT_BLOCK_STOP: return track_block_stop(a, e);
    case EVENT_TEXT:
    case EVENT_CITATION: return track_delta(a, e, EVENT_BLOCK_TEXT);
    case EVENT_JSON: return track_delta(a, e, EVENT_BLOCK_TOOL_USE);
    case EVENT_THINKING:
    case EVENT_SIGNATURE: return track_delta(a, e, EVENT_BLOCK_THINKING);
    case EVENT_MESSAGE_DELTA: return track_message_delta(a, e);
    case EVENT_MESSAGE_STOP: return track_message_stop(a);
    case EVENT_PING:
    case EVENT_ERROR:
    case EVENT_UNKNOWN: return true;
    }
    UNREACHABLE();
}

bool event_is_progress(const struct event *e)
{
    return e->type == EVENT_TEXT || e->type == EVENT_JSON || e->type == EVENT_THINKING;
}

int64_t usage_prompt_tokens(const struct usage *u)
{
    int64_t sum = 0;
    const int64_t parts[] = {u->input, u->cache_read, u->cache_write};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[i] > 0 && __builtin_add_overflow(sum, parts[i], &sum))
            return INT64_MAX;
    return sum;
}
