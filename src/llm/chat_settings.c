/* chat_settings.c - settings that several fields decide together, or that depend on the model. */
#include "base/hash.h"
#include "base/text.h"
#include "llm/chat.h"

/* Small values pass as they are, as a reasoning model of OpenAI's would take them. */
bool chat_read_max_tokens(struct chat *c)
{
    static const struct str names[] = {STR_INIT("max_completion_tokens"), STR_INIT("max_tokens")};
    int64_t most = c->m->model->max_output;
    int64_t wanted = c->o->default_max_tokens > 0 ? c->o->default_max_tokens : most;
    c->m->max_tokens = wanted < most ? wanted : most;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!json_i64(chat_field(c, names[i]), &wanted))
            continue;
        c->m->max_tokens = wanted < most ? wanted : most;
        c->ret->max_tokens_name = names[i];
        if (wanted > most)
            chat_drop(c, names[i]);
        break;
    }
    return true;
}

/* Upstream refuses what looks like an address or a telephone number. */
static bool is_opaque(struct str s)
{
    size_t digits = 0, others = 0;
    if (s.n == 0 || s.n > 256)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        bool digit = ch >= '0' && ch <= '9';
        bool letter = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
        if (!digit && !letter && !memchr("_.:|-", ch, 5))
            return false;
        digits += digit;
        others += letter || ch == '_' || ch == ':' || ch == '|';
    }
    bool like_phone = others == 0 && digits >= 7 && digits <= 15;
    return !like_phone;
}

bool chat_read_user(struct chat *c)
{
    const struct jval places[] = {
        chat_field(c, STR("safety_identifier")),
        chat_field(c, STR("user")),
        json_get(chat_field(c, STR("metadata")), STR("user_id")),
    };
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (!json_is(places[i], JSON_STRING) || json_str_raw(places[i]).n == 0)
            continue;
        struct str id = json_str(places[i], c->scratch);
        if (is_opaque(id)) {
            c->m->user_id = id;
            return true;
        }
        char *hex = arena_alloc(c->scratch, 64);
        struct sha256 hash = hash_sha256(id);
        text_hex(hash.bytes, sizeof(hash.bytes), hex);
        c->m->user_id = str_of(hex, 64);
        return true;
    }
    return true;
}

bool chat_ask_fast(struct chat *c)
{
    c->m->fast = c->o->fast_mode && (c->m->model->can & CAN_FAST);
    return c->m->fast;
}

/* Betas that change how a request is read or answered in ways that this dialect carries through.
 * Unknown ones are refused by upstream, so they are dropped here. */
static bool is_known_beta(struct str name)
{
    static const struct str known[] = {
        STR_INIT("computer-use-2024-10-22"),
        STR_INIT("computer-use-2025-01-24"),
        STR_INIT("computer-use-2025-11-24"),
        STR_INIT("context-1m-2025-08-07"),
        STR_INIT("context-management-2025-06-27"),
        STR_INIT("extended-cache-ttl-2025-04-11"),
        STR_INIT("fast-mode-2026-02-01"),
        STR_INIT("files-api-2025-04-14"),
        STR_INIT("fine-grained-tool-streaming-2025-05-14"),
        STR_INIT("interleaved-thinking-2025-05-14"),
        STR_INIT("mid-conversation-system-clear-at-2026-08-21"),
        STR_INIT("output-128k-2025-02-19"),
        STR_INIT("output-300k-2026-03-24"),
        STR_INIT("pdfs-2024-09-25"),
        STR_INIT("prompt-caching-2024-07-31"),
        STR_INIT("structured-outputs-2025-11-13"),
        STR_INIT("thinking-binding-controls-2026-08-01"),
        STR_INIT("token-efficient-tools-2025-02-19"),
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (str_eq(known[i], name))
            return true;
    return false;
}

static void add_beta(struct chat *c, struct str name)
{
    if (name.n == 0)
        return;
    if (!is_known_beta(name)) {
        chat_drop(c, STR("anthropic_beta"));
        return;
    }
    if (buf_len(&c->text) > 0)
        buf_lit(&c->text, ",");
    buf_append(&c->text, name);
}

static void add_betas(struct chat *c, struct str list)
{
    struct str name;
    while (str_split(&list, ',', &name))
        add_beta(c, str_trim(name));
}

/* One that the request cannot do without, unless the client has named it. */
static void add_needed_beta(struct chat *c, struct str name)
{
    if (str_find_str(buf_str(&c->text), name) == buf_len(&c->text))
        add_beta(c, name);
}

/* What upstream shall do with thinking that does not fit: for models that check it, beside adaptive
 * thinking alone. */
static bool read_binding(struct chat *c)
{
    static const struct str words[] = {STR_INIT("error"), STR_INIT("drop_block")};
    struct jval controls = json_get(chat_field(c, STR("thinking")), STR("block_binding"));
    struct jval how = json_get(controls, STR("prefix_mismatch_behavior"));
    bool can = c->m->model->binds_thinking && c->m->thinking == THINKING_ADAPTIVE;
    for (size_t i = 0; can && i < ARRAY_LEN(words); i++)
        if (json_str_is(how, words[i]))
            c->m->block_binding = arena_printf(
                c->scratch, "{\"prefix_mismatch_behavior\":\"%.*s\"}", STR_FMT(words[i]));
    if (json_is(controls, JSON_OBJECT) && !c->m->block_binding.p)
        chat_drop(c, STR("thinking.block_binding"));
    return c->m->block_binding.p != NULL;
}

bool chat_read_betas(struct chat *c)
{
    static const struct str binding = STR_INIT("thinking-binding-controls-2026-08-01");
    struct jval own = chat_field(c, STR("anthropic_beta"));
    add_betas(c, c->o->betas);
    if (json_is(own, JSON_STRING))
        add_betas(c, json_str(own, c->scratch));
    json_each (e, own)
        add_betas(c, json_str(e, c->scratch));
    if (c->m->fast)
        add_needed_beta(c, STR("fast-mode-2026-02-01"));
    if (read_binding(c))
        add_needed_beta(c, binding);
    add_needed_beta(c, c->tool_beta);
    if (buf_len(&c->text) > 0)
        c->m->betas = chat_take_text(c);
    return true;
}

/* Temperature 1 is the same on both sides, so the range is cut, not scaled. */
bool chat_read_sampling(struct chat *c)
{
    struct jval temperature = chat_field(c, STR("temperature"));
    struct jval top_p = chat_field(c, STR("top_p")), top_k = chat_field(c, STR("top_k"));
    bool can = (c->m->model->can & CAN_SAMPLE) && !c->o->unsampled;
    bool thinks = c->m->thinking == THINKING_ADAPTIVE || c->m->thinking == THINKING_ENABLED;
    double n = 0;
    if (can && !thinks && json_f64(temperature, &n))
        c->m->temperature = n > 1 ? STR("1") : json_raw(temperature);
    else if (json_present(temperature))
        chat_drop(c, STR("temperature"));
    bool fits = json_f64(top_p, &n) && (!thinks || n >= 0.95);
    if (can && fits && !c->m->temperature.p)
        c->m->top_p = json_raw(top_p);
    else if (json_present(top_p))
        chat_drop(c, STR("top_p"));
    if (can && !thinks && json_present(top_k))
        c->m->top_k = json_raw(top_k);
    else if (json_present(top_k))
        chat_drop(c, STR("top_k"));
    return true;
}
