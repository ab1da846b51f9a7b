/* sim_answer.c - what the simulator answers.
 *
 *   request -> what is asked (struct ask) -> blocks: thinking? text? calls?
 *           -> stop sequences and max_tokens cut -> usage
 *
 * A token is a word here. Thinking counts even when its text is left out, so a small max_tokens is
 * eaten by it, as with the real models.
 */
#include "sim/sim_answer.h"

#include "base/text.h"
#include "sim/sim_schema.h"

enum {
    QUOTE_MAX = 200, /* bytes of the user's words that are quoted */
    NAMED_MAX = 4,   /* results and pictures that are described one by one */
    INPUT_MAX = 64 * 1024,
};

/* What the last user turn holds. */
struct ask {
    struct str text; /* raw inside of its last text */
    struct jval results[NAMED_MAX];
    struct str media[NAMED_MAX];
    size_t n_results, n_images, n_documents, n_media;
};

struct making {
    struct sim_request *q;
    const struct sim_setting *setting;
    struct arena *a;
    struct sim_answer *answer;
    struct ask ask;
    uint64_t seed;
};

struct str sim_words(struct str s, size_t n, size_t *ret_words)
{
    size_t i = 0, words = 0;
    while (words < n) {
        size_t start = i;
        while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\n'))
            i++;
        if (i == s.n) {
            i = start;
            break;
        }
        while (i < s.n && s.p[i] != ' ' && s.p[i] != '\n')
            i++;
        words++;
    }
    *ret_words = words;
    return words < n ? s : str_head(s, i);
}

/* "msg_01" and 22 characters that depend on seed and n. */
static struct str make_id(struct making *m, const char *prefix, unsigned n)
{
    static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

    enum { LENGTH = 22 };

    char out[LENGTH];
    uint64_t h = prefix_bytes(m->seed + n, str_c(prefix));
    for (size_t i = 0; i < LENGTH; i++) {
        if (i == LENGTH / 2)
            h = prefix_bytes(h, STR("more"));
        out[i] = digits[h % (sizeof(digits) - 1)];
        h /= 31;
        h = h ? h : prefix_bytes(m->seed, str_of(out, i));
    }
    return arena_printf(m->a, "%s%.*s", prefix, LENGTH, out);
}

/* ---- what is asked ---- */

/* At most max bytes of the inside of a JSON string, unescaped; nothing is cut in the middle. */
static struct str quote(struct arena *a, struct str raw, size_t max)
{
    size_t n = 0;
    while (n < raw.n) {
        size_t step = 1;
        if (raw.p[n] == '\\')
            step = raw.p[n + 1] == 'u' ? 6 : 2;
        if (step == 6 && (raw.p[n + 2] == 'd' || raw.p[n + 2] == 'D') && raw.p[n + 3] > '7')
            step = 12; /* a surrogate pair: the reader refuses anything else */
        while (n + step < raw.n && ((unsigned char)raw.p[n + step] & 0xc0) == 0x80)
            step++;
        if (n + step > max)
            break;
        n += step;
    }
    char *out = arena_alloc(a, n + 1);
    size_t len = json_unescape(str_head(raw, n), out);
    return str_of(out, len);
}

static size_t base64_size(struct str data)
{
    size_t pad = str_ends(data, STR("==")) ? 2 : str_ends(data, STR("=")) ? 1 : 0;
    return data.n / 4 * 3 - size_min(pad, data.n / 4 * 3);
}

static void see_media(struct making *m, struct jval block, bool image)
{
    struct ask *ask = &m->ask;
    *(image ? &ask->n_images : &ask->n_documents) += 1;
    if (ask->n_media == NAMED_MAX)
        return;
    struct jval source = json_get(block, STR("source"));
    struct jval type = json_get(source, STR("type"));
    struct str what;
    if (json_str_is(type, STR("base64")))
        what = arena_printf(m->a, "%.*s (%zu bytes)",
                            STR_FMT(json_str(json_get(source, STR("media_type")), m->a)),
                            base64_size(json_str_raw(json_get(source, STR("data")))));
    else if (json_str_is(type, STR("url")))
        what = arena_printf(m->a, "%s at a URL", image ? "an image" : "a document");
    else if (json_str_is(type, STR("file")))
        what = STR("an uploaded file");
    else
        what = arena_printf(m->a, "text (%zu bytes)", json_raw(source).n);
    ask->media[ask->n_media++] = what;
}

static void see_block(struct making *m, struct jval block)
{
    struct jval type = json_get(block, STR("type"));
    if (json_str_is(type, STR("text"))) {
        m->ask.text = json_str_raw(json_get(block, STR("text")));
    } else if (json_str_is(type, STR("image"))) {
        see_media(m, block, true);
    } else if (json_str_is(type, STR("document"))) {
        see_media(m, block, false);
    } else if (json_str_is(type, STR("tool_result"))) {
        if (m->ask.n_results < NAMED_MAX)
            m->ask.results[m->ask.n_results++] = block;
        struct jval content = json_get(block, STR("content"));
        if (!json_is(content, JSON_ARRAY))
            return;
        json_each (b, content) {
            if (json_str_is(json_get(b, STR("type")), STR("image")))
                see_media(m, b, true);
        }
    }
}

/* The messages since the last turn of the assistant; a prefill is no turn yet. */
static void see_turn(struct making *m)
{
    struct jval start = JVAL_NONE;
    bool after_assistant = true;
    json_each (msg, m->q->messages) {
        bool user = json_str_is(json_get(msg, STR("role")), STR("user"));
        if (user && after_assistant)
            start = msg;
        after_assistant = json_str_is(json_get(msg, STR("role")), STR("assistant"));
    }
    for (struct jval msg = start; json_present(msg); msg = json_next(m->q->messages, msg)) {
        if (!json_str_is(json_get(msg, STR("role")), STR("user")))
            continue;
        struct jval content = json_get(msg, STR("content"));
        if (json_is(content, JSON_STRING)) {
            m->ask.text = json_str_raw(content);
            continue;
        }
        json_each (b, content)
            see_block(m, b);
    }
}

/* A word of the user's that looks like a name, for arguments: "Weather in Paris?" -> Paris. */
static struct str salient_word(struct making *m)
{
    struct str s = str_head(m->ask.text, size_min(m->ask.text.n, 2000)), found = STR("example");
    size_t i = str_find(s, ' ');
    while (i < s.n) {
        i++;
        size_t start = i;
        while (i < s.n && ((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z')))
            i++;
        if (i - start > 1 && s.p[start] >= 'A' && s.p[start] <= 'Z')
            found = str_of(s.p + start, i - start);
        while (i < s.n && s.p[i] != ' ')
            i++;
    }
    return found;
}

/* ---- blocks ---- */

static struct sim_block *add_block(struct making *m, struct sim_block b)
{
    ASSERT(m->answer->n_blocks < SIM_BLOCKS_MAX);
    struct sim_block *at = &m->answer->blocks[m->answer->n_blocks++];
    *at = b;
    return at;
}

static struct str sign(struct making *m, struct str text)
{
    uint64_t prefix = m->q->model->binds_thinking ? prefix_before(m->q, JVAL_NONE, m->a) : 0;
    return signature_make(m->a, m->q->model->id, prefix, text);
}

static void add_thinking(struct making *m)
{
    const struct sim_request *q = m->q;
    bool between = q->thinks == SIM_THINK_BETWEEN;
    if (q->thinks == SIM_THINK_OFF || (between && m->ask.n_results == 0))
        return;
    struct str about = quote(m->a, m->ask.text, 40);
    struct str text = m->ask.n_results
                          ? STR("The tool has answered. I will report what it said.")
                          : arena_printf(m->a, "The user writes \"%.*s\". A short answer will do.",
                                         STR_FMT(about));
    size_t words;
    (void)sim_words(text, SIZE_MAX, &words);
    m->answer->usage.thinking = (int64_t)words;
    if (!q->show_thinking && !between)
        text = STR("");
    add_block(m,
              (struct sim_block){.type = SIM_THINKING, .text = text, .signature = sign(m, text)});
}

static bool is_callable(struct jval tool)
{
    static const struct str typed[] = {STR_INIT("bash_"), STR_INIT("text_editor_"),
                                       STR_INIT("memory_")};
    if (json_is(json_get(tool, STR("input_schema")), JSON_OBJECT))
        return true;
    struct str type = json_str_raw(json_get(tool, STR("type")));
    for (size_t i = 0; i < ARRAY_LEN(typed); i++) {
        if (str_starts(type, typed[i]))
            return true;
    }
    return false;
}

static void add_call(struct making *m, struct jval tool)
{
    struct buf input;
    buf_init(&input, INPUT_MAX);
    struct jval schema = json_get(tool, STR("input_schema"));
    struct str type = json_str_raw(json_get(tool, STR("type")));
    if (json_is(schema, JSON_OBJECT))
        schema_example(&input, schema, salient_word(m));
    else if (str_starts(type, STR("bash_")))
        buf_lit(&input, "{\"command\":\"echo hello\"}");
    else
        buf_lit(&input, "{\"command\":\"view\",\"path\":\"/memories\"}");
    add_block(m, (struct sim_block){
                     .type = SIM_TOOL,
                     .name = json_str(json_get(tool, STR("name")), m->a),
                     .id = make_id(m, "toolu_01", (unsigned)m->answer->n_blocks),
                     .text = arena_dup(m->a, buf_str(&input)),
                 });
    buf_done(&input);
}

/* The tool to call: the one that tool_choice names, or that the user mentions, or the first. */
static struct jval pick_tool(struct making *m, struct jval not_this)
{
    struct jval wanted = json_get(m->q->tool_choice, STR("name")), first = JVAL_NONE;
    json_each (t, m->q->tools) {
        struct str name = json_str_raw(json_get(t, STR("name")));
        if (!is_callable(t) || (json_present(not_this) && t.i == not_this.i))
            continue;
        if (json_present(wanted) ? str_eq(name, json_str_raw(wanted))
                                 : str_find_str(m->ask.text, name) < m->ask.text.n)
            return t;
        if (!json_present(first))
            first = t;
    }
    return first;
}

static bool wants_call(const struct making *m)
{
    struct jval type = json_get(m->q->tool_choice, STR("type"));
    if (!json_present(m->q->tools) || json_str_is(type, STR("none")))
        return false;
    bool forced = json_str_is(type, STR("any")) || json_str_is(type, STR("tool"));
    return forced || m->ask.n_results == 0;
}

/* False when no tool of the request can be called by us. */
static bool add_calls(struct making *m)
{
    struct jval tool = pick_tool(m, JVAL_NONE);
    if (!json_present(tool))
        return false;
    struct jval type = json_get(m->q->tool_choice, STR("type"));
    if (!json_present(type) || json_str_is(type, STR("auto")))
        add_block(m, (struct sim_block){
                         .type = SIM_TEXT,
                         .text = arena_printf(m->a, "I will use %.*s.",
                                              STR_FMT(json_str(json_get(tool, STR("name")), m->a))),
                     });
    add_call(m, tool);
    bool one = json_true(json_get(m->q->tool_choice, STR("disable_parallel_tool_use")));
    if (!one && str_find_str(m->ask.text, STR("parallel")) < m->ask.text.n) {
        struct jval named = json_get(m->q->tool_choice, STR("name"));
        struct jval other = json_present(named) ? tool : pick_tool(m, tool);
        add_call(m, json_present(other) ? other : tool);
    }
    m->answer->stop_reason = "tool_use";
    return true;
}

/* ---- text ---- */

static struct str result_text(struct making *m, struct jval result)
{
    struct jval content = json_get(result, STR("content"));
    if (json_is(content, JSON_ARRAY)) {
        struct jval first = JVAL_NONE;
        json_each (b, content) {
            if (!json_present(first) && json_str_is(json_get(b, STR("type")), STR("text")))
                first = json_get(b, STR("text"));
        }
        content = first;
    }
    struct str text = quote(m->a, json_str_raw(content), QUOTE_MAX);
    const char *said = json_true(json_get(result, STR("is_error"))) ? "failed" : "answered";
    if (text.n == 0)
        return arena_printf(m->a, "The tool %s without a word. ", said);
    return arena_printf(m->a, "The tool %s: \"%.*s\". ", said, STR_FMT(text));
}

static struct str media_text(struct making *m)
{
    const struct ask *ask = &m->ask;
    struct str list = STR("");
    for (size_t i = 0; i < ask->n_media; i++)
        list =
            arena_printf(m->a, "%.*s%s%.*s", STR_FMT(list), i ? ", " : "", STR_FMT(ask->media[i]));
    const char *more = ask->n_images + ask->n_documents > ask->n_media ? ", and more" : "";
    return arena_printf(m->a, "I see %zu image%s and %zu document%s: %.*s%s. ", ask->n_images,
                        ask->n_images == 1 ? "" : "s", ask->n_documents,
                        ask->n_documents == 1 ? "" : "s", STR_FMT(list), more);
}

static struct str echo_text(struct making *m)
{
    struct str said = quote(m->a, m->ask.text, QUOTE_MAX);
    const char *more = said.n && m->ask.text.n > QUOTE_MAX ? "\xe2\x80\xa6" : "";
    if (said.n == 0)
        return STR("I am the simulator.");
    switch (m->seed % 3) {
    case 0:
        return arena_printf(m->a,
                            "Hello! You said: \"%.*s%s\". I am only the simulator, but this answer "
                            "came to you the way a real one would.",
                            STR_FMT(said), more);
    case 1:
        return arena_printf(
            m->a,
            "You wrote \xe2\x80\x9c%.*s%s\xe2\x80\x9d \xe2\x80\x94 thank you. This is "
            "the simulator speaking in place of Claude.",
            STR_FMT(said), more);
    default:
        return arena_printf(m->a,
                            "I read this from you:\n\n> %.*s%s\n\nThe simulator has nothing wiser "
                            "to add.",
                            STR_FMT(said), more);
    }
}

static void add_text(struct making *m)
{
    struct str text = STR("");
    if (json_present(m->q->format)) {
        struct buf out;
        buf_init(&out, INPUT_MAX);
        schema_example(&out, json_get(m->q->format, STR("schema")), salient_word(m));
        text = arena_dup(m->a, buf_str(&out));
        buf_done(&out);
        add_block(m, (struct sim_block){.type = SIM_TEXT, .text = text});
        return;
    }
    for (size_t i = 0; i < m->ask.n_results; i++)
        text = arena_printf(m->a, "%.*s%.*s", STR_FMT(text),
                            STR_FMT(result_text(m, m->ask.results[i])));
    if (m->ask.n_media)
        text = arena_printf(m->a, "%.*s%.*s", STR_FMT(text), STR_FMT(media_text(m)));
    struct str echo = echo_text(m);
    text = text.n ? arena_printf(m->a, "%.*s%.*s", STR_FMT(text), STR_FMT(echo)) : echo;
    struct str tail = STR("");
    if (m->setting->answer_tokens) {
        size_t words, more;
        text = sim_words(text, m->setting->answer_tokens, &words);
        tail = sim_words(m->setting->filler, m->setting->answer_tokens - words, &more);
    }
    add_block(m, (struct sim_block){.type = SIM_TEXT, .text = text, .tail = tail});
}

/* ---- where it ends ---- */

/* Cuts *s before the first stop sequence in it. */
static bool cut_at_stop(struct making *m, struct str *s)
{
    size_t at = s->n;
    struct str found = STR_NONE;
    json_each (v, json_get(m->q->root, STR("stop_sequences"))) {
        struct str stop = json_str(v, m->a);
        size_t i = str_find_str(*s, stop);
        if (i < at) {
            at = i;
            found = stop;
        }
    }
    if (!found.p)
        return false;
    *s = str_head(*s, at);
    m->answer->stop_reason = "stop_sequence";
    m->answer->stop_sequence = found;
    return true;
}

static void apply_stops(struct making *m)
{
    struct sim_answer *an = m->answer;
    for (size_t i = 0; i < an->n_blocks; i++) {
        struct sim_block *b = &an->blocks[i];
        if (b->type != SIM_TEXT)
            continue;
        bool cut = cut_at_stop(m, &b->text);
        if (cut)
            b->tail = STR("");
        if (cut || cut_at_stop(m, &b->tail)) {
            an->n_blocks = b->text.n ? i + 1 : i;
            return;
        }
    }
}

static int64_t block_tokens(const struct making *m, const struct sim_block *b)
{
    enum { CALL_TOKENS = 6 };

    size_t words = 0, more = 0;
    switch (b->type) {
    case SIM_TEXT:
        (void)sim_words(b->text, SIZE_MAX, &words);
        (void)sim_words(b->tail, SIZE_MAX, &more);
        return (int64_t)(words + more);
    case SIM_THINKING: return m->answer->usage.thinking;
    case SIM_TOOL: return CALL_TOKENS + (int64_t)b->text.n / 4;
    }
    UNREACHABLE();
}

static void cut_block(struct making *m, struct sim_block *b, int64_t left)
{
    size_t words = 0, more = 0;
    switch (b->type) {
    case SIM_TEXT:
        b->text = sim_words(b->text, (size_t)left, &words);
        b->tail = sim_words(b->tail, (size_t)left - words, &more);
        return;
    case SIM_THINKING:
        m->answer->usage.thinking = left;
        b->text = sim_words(b->text, (size_t)left, &words);
        b->signature = sign(m, b->text);
        return;
    case SIM_TOOL: b->text = STR("{}"); return;
    }
}

static void apply_max_tokens(struct making *m)
{
    struct sim_answer *an = m->answer;
    int64_t left = m->q->max_tokens;
    for (size_t i = 0; i < an->n_blocks; i++) {
        int64_t need = block_tokens(m, &an->blocks[i]);
        if (need <= left) {
            left -= need;
            continue;
        }
        an->stop_reason = "max_tokens";
        an->stop_sequence = STR_NONE;
        an->n_blocks = left > 0 ? i + 1 : i;
        if (left > 0)
            cut_block(m, &an->blocks[i], left);
        left = 0;
    }
    an->usage.output = m->q->max_tokens - left;
}

void sim_answer_make(struct sim_request *q, const struct sim_setting *s, struct arena *a,
                     struct sim_answer *ret)
{
    *ret = (struct sim_answer){.model = q->model->id, .stop_reason = "end_turn"};
    struct making m = {.q = q, .setting = s, .a = a, .answer = ret};
    m.seed = prefix_bytes(1, json_raw(q->root));
    ret->id = make_id(&m, "msg_01", 0);
    see_turn(&m);
    add_thinking(&m);
    if (!wants_call(&m) || !add_calls(&m))
        add_text(&m);
    apply_stops(&m);
    apply_max_tokens(&m);
    ret->usage.cache = prompt_cache_use(s->cache, q, s->now_us, a);
    const struct cache_usage *c = &ret->usage.cache;
    ret->usage.input = q->input_tokens - c->read - c->write_5m - c->write_1h;
}
