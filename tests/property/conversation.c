/* conversation.c - see conversation.h. */
#include "conversation.h"

static void add(struct conversation *c, const char *text)
{
    bool fits = buf_append(&c->messages, str_c(text));
    ASSERT(fits);
}

unsigned pick(struct conversation *c, unsigned n)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return (unsigned)((c->random >> 11) % n);
}

const char *pick_of(struct conversation *c, const char *const *list)
{
    unsigned n = 0;
    while (list[n])
        n++;
    return list[pick(c, n)];
}

void conversation_init(struct conversation *c, uint64_t seed, bool wild)
{
    *c = (struct conversation){.random = seed * 0x9e3779b97f4a7c15 + 1, .wild = wild};
    buf_init(&c->messages, CONVERSATION_MAX);
}

void conversation_done(struct conversation *c)
{
    buf_done(&c->messages);
}

static const char *const texts[] = {"hi",
                                    "Weather in Oslo?",
                                    "a\\nb  ",
                                    "\\u00e9\\ud83d\\ude00 \\\"q\\\"",
                                    " leading",
                                    "x",
                                    "```json\\n{}\\n```",
                                    "42",
                                    NULL};
static const char *const blanks[] = {"", " ", "\\n", "\\t \\n", "\\u00a0", NULL};

static const char *any_text(struct conversation *c)
{
    return c->wild && pick(c, 6) == 0 ? pick_of(c, blanks) : pick_of(c, texts);
}

static void begin(struct conversation *c, const char *role)
{
    if (buf_len(&c->messages) > 0)
        add(c, ",");
    add(c, "{\"role\":\"");
    add(c, role);
    add(c, "\"");
}

static void add_text(struct conversation *c, const char *key)
{
    add(c, ",\"");
    add(c, key);
    add(c, "\":\"");
    add(c, any_text(c));
    add(c, "\"");
}

static void add_mark(struct conversation *c)
{
    static const char *const marks[] = {
        ",\"cache_control\":{\"type\":\"ephemeral\"}",
        ",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}", ",\"cache_control\":null",
        ",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"24h\",\"scope\":\"global\"}", NULL};
    if (c->marks && pick(c, 4) == 0)
        add(c, pick_of(c, marks));
}

static void add_part(struct conversation *c)
{
    static const char *const parts[] = {
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://a.example/x.png\"}}",
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
        "jpg;base64,iVBORw0KGgoAAAANSUhE"
        "UgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==\"}}",
        "{\"type\":\"file\",\"file\":{\"filename\":\"a.txt\",\"file_data\":\"data:text/"
        "plain;base64,"
        "aGVsbG8=\"}}",
        "{\"type\":\"file\",\"file\":{\"filename\":\"a.pdf\",\"file_data\":"
        "\"JVBERi0xLjQKJSBoZWxsbwo=\"}}",
        "{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://a.example/y.png\"}}",
        NULL};
    static const char *const own[] = {
        "{\"type\":\"image\",\"detail\":\"low\",\"source\":{\"type\":\"base64\",\"media_type\":"
        "\"image/"
        "jpg\",\"data\":\"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
        "hgGAWjR9awAAAABJRU5ErkJggg==\"}}",
        "{\"type\":\"document\",\"source\":{\"type\":\"content\",\"content\":[{\"type\":\"text\","
        "\"text\":\"d\",\"cache_control\":{\"type\":\"ephemeral\"}}]},\"citations\":null,\"x\":1}",
        "{\"type\":\"search_result\",\"source\":\"s\",\"title\":\"t\",\"content\":[{\"type\":"
        "\"text\","
        "\"text\":\"d\",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}],\"title_url\":"
        "1}",
        NULL};
    if (c->marks && pick(c, 8) == 0) {
        add(c, pick_of(c, own));
    } else if (pick(c, 2)) {
        add(c, "{\"type\":\"text\",\"text\":\"");
        add(c, any_text(c));
        add(c, "\"");
        add_mark(c);
        add(c, pick(c, 5) ? "}" : ",\"prompt_cache_breakpoint\":null}");
    } else {
        add(c, pick_of(c, parts));
    }
}

static void add_parts(struct conversation *c)
{
    unsigned n = 1 + pick(c, 3);
    add(c, ",\"content\":[");
    for (unsigned i = 0; i < n; i++) {
        add(c, i ? "," : "");
        add_part(c);
    }
    add(c, "]");
}

static void say_user(struct conversation *c)
{
    begin(c, "user");
    add_mark(c);
    if (pick(c, 3))
        add_text(c, "content");
    else
        add_parts(c);
    if (pick(c, 8) == 0)
        add(c, ",\"name\":\"ann\"");
    add(c, "}");
}

static void say_system(struct conversation *c)
{
    begin(c, pick(c, 2) ? "system" : "developer");
    add_mark(c);
    add_text(c, "content");
    add(c, "}");
}

static void say_result(struct conversation *c, const char *id)
{
    if (c->marks && pick(c, 6) == 0) { /* as Anthropic's clients write it */
        begin(c, "user");
        add(c, ",\"content\":[{\"type\":\"text\",\"text\":\"and\"},{\"type\":\"tool_result\","
               "\"tool_use_id\":\"");
        add(c, id);
        add(c, "\"");
        add_mark(c);
        add(c, ",\"content\":[{\"type\":\"text\",\"text\":\"r\",\"cache_control\":{\"type\":"
               "\"ephemeral\"}}]}]}");
        return;
    }
    begin(c, "tool");
    add_mark(c);
    add(c, ",\"tool_call_id\":\"");
    add(c, id);
    add(c, "\"");
    if (pick(c, 5))
        add_text(c, "content");
    else
        add(c,
            pick(c, 2) ? ",\"content\":[{\"type\":\"text\",\"text\":\"r\"}]" : ",\"content\":null");
    if (pick(c, 6) == 0)
        add(c, ",\"is_error\":true");
    add(c, "}");
}

static void answer_calls(struct conversation *c)
{
    for (unsigned i = 0; i < c->n_open; i++) {
        if (c->wild && pick(c, 5) == 0)
            continue; /* never answered */
        say_result(c, c->open[i]);
        if (c->wild && pick(c, 10) == 0)
            say_result(c, c->open[i]); /* answered twice */
        if (c->wild && pick(c, 6) == 0)
            (pick(c, 2) ? say_system : say_user)(c);
    }
    c->n_open = 0;
    if (c->wild && pick(c, 10) == 0)
        say_result(c, "call_nobody_made");
}

void conversation_user(struct conversation *c)
{
    size_t before = buf_len(&c->messages);
    bool first = before == 0;
    answer_calls(c);
    bool had_calls = !first && buf_len(&c->messages) > before;
    if (first)
        for (unsigned i = pick(c, 3); i > 0; i--)
            say_system(c);
    if (!had_calls || pick(c, 3) == 0)
        say_user(c);
    if (c->wild && pick(c, 4) == 0)
        say_user(c);
    if (!first && pick(c, 5) == 0)
        say_system(c);
}

static void make_id(struct conversation *c, char out[48])
{
    unsigned n = c->n_calls++;
    if (c->wild && pick(c, 3) == 0)
        (void)snprintf(out, 48, "call_%u", n % 2); /* the same in every turn */
    else if (pick(c, 3) == 0)
        (void)snprintf(out, 48, "functions.f:%u", n);
    else if (pick(c, 3) == 0)
        (void)snprintf(out, 48, "\\u00e9|%u", n);
    else
        (void)snprintf(out, 48, "toolu_%u", n);
}

static void add_calls(struct conversation *c)
{
    static const char *const arguments[] = {"{}",
                                            "",
                                            "{\\\"city\\\":\\\"Oslo\\\"}",
                                            "{ \\\"b\\\": 1e2, \\\"a\\\":[1, 2]}",
                                            "{\\\"cut\\\": \\\"",
                                            "[1]",
                                            "null",
                                            NULL};
    static const char *const names[] = {"weather", "a.b/c", "search", NULL};
    unsigned n = 1 + pick(c, 3);
    add(c, ",\"tool_calls\":[");
    for (c->n_open = 0; c->n_open < n; c->n_open++) {
        char *id = c->open[c->n_open];
        make_id(c, id);
        add(c, c->n_open ? ",{\"id\":\"" : "{\"id\":\"");
        add(c, id);
        add(c, "\",\"type\":\"function\",\"function\":{\"name\":\"");
        add(c, pick_of(c, names));
        add(c, "\",\"arguments\":\"");
        add(c, pick_of(c, arguments));
        add(c, "\"}}");
    }
    add(c, "]");
}

static void add_thinking(struct conversation *c)
{
    static const char *const shapes[] = {
        ",\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"c2ln\"}]",
        ",\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"c2ln\"}]",
        ",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"a\",\"index\":0},{"
        "\"type\":"
        "\"reasoning.text\",\"text\":\"b\",\"index\":0},{\"type\":\"reasoning.text\",\"signature\":"
        "\"c2ln\",\"index\":0}]",
        ",\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"cmVk\",\"index\":0}]",
        ",\"reasoning_content\":\"unsigned\"",
        ",\"reasoning_content\":\"t\",\"reasoning_signature\":\"c2ln\"",
        ",\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"\"}]",
        NULL};
    add(c, pick_of(c, shapes));
}

void conversation_assistant(struct conversation *c)
{
    static const char *const own[] = {
        ",\"content\":[{\"type\":\"text\",\"text\":\"t\"},{\"type\":\"server_tool_use\",\"id\":"
        "\"srvtoolu_1\",\"name\":\"web_search\",\"input\":{\"query\":\"q\"},\"caller\":{\"type\":"
        "\"direct\"}},{\"type\":\"web_search_tool_result\",\"tool_use_id\":\"srvtoolu_1\","
        "\"content\":[]}]}",
        ",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"c2ln\"},{\"type\":"
        "\"tool_use\",\"id\":\"toolu_own\",\"name\":\"weather\",\"input\":{},\"caller\":null}]}",
        ",\"content\":null,\"function_call\":{\"name\":\"weather\",\"arguments\":\"{}\"}},{"
        "\"role\":"
        "\"function\",\"name\":\"weather\",\"content\":\"sun\"},{\"role\":\"assistant\","
        "\"content\":"
        "\"ok\"}",
        ",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}],\"refusal\":\"no\"}",
        ",\"content\":[{\"type\":\"server_tool_use\",\"id\":\"foreign-1\",\"name\":\"web_search\","
        "\"input\":{}},{\"type\":\"text\",\"text\":\"t\",\"citations\":null}]}",
        ",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"c2ln\"},{\"type\":"
        "\"tool_use\",\"id\":\"toolu_both\",\"name\":\"weather\",\"input\":{\"my city\":1}}],"
        "\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"c2ln\"}],"
        "\"tool_calls\":[{\"id\":\"toolu_both\",\"type\":\"function\",\"function\":{\"name\":"
        "\"weather\",\"arguments\":\"{}\"}}]}",
        NULL};
    bool calls = pick(c, 2);
    begin(c, "assistant");
    add_mark(c);
    if (c->marks && pick(c, 6) == 0) {
        add(c, pick_of(c, own));
        return;
    }
    if (calls && pick(c, 2))
        add(c, ",\"content\":null");
    else
        add_text(c, "content");
    if (pick(c, 4) == 0)
        add_thinking(c);
    if (calls)
        add_calls(c);
    add(c, "}");
}
