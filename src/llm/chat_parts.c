/* chat_parts.c - the content of a message: text, images, files, and the table of all kinds.
 *
 * Data of images and files is borrowed from the body whenever upstream takes it as it is written;
 * only odd base64 (escaped, URL-safe, unpadded, with white space) is rewritten. Whatever media type
 * a client declares, the first bytes decide, since upstream compares them.
 */
#include "base/text.h"
#include "llm/chat.h"
#include "llm/picture.h"
#include "wire/jsonw.h"

enum { IMAGE_MAX = 10 * 1024 * 1024, SIDE_MAX = 8000, SNIFF = 12 };

struct part_kind {
    struct str type;
    unsigned places; /* where it may stand: bits of enum chat_place */
    bool (*read)(struct chat *c, struct jval part, struct blocks *into);
};

struct str chat_message_param(struct chat *c, const char *suffix)
{
    return arena_printf(c->scratch, "messages[%zu]%s", c->message, suffix);
}

struct str chat_part_param(struct chat *c, const char *suffix)
{
    return arena_printf(c->scratch, "messages[%zu].content[%zu]%s", c->message, c->part, suffix);
}

static bool read_text(struct chat *c, struct jval part, struct blocks *into)
{
    struct jval text = json_get(part, STR("text"));
    if (!json_present(text))
        return chat_refuse_missing(c, chat_part_param(c, ".text"));
    if (!json_is(text, JSON_STRING))
        return chat_refuse_type(c, chat_part_param(c, ".text"), "a string", text);
    if (!chat_blank(json_str_raw(text))) /* upstream: text must contain non-whitespace */
        blocks_add(c->scratch, into, BLOCK_TEXT)->text = json_str_raw(text);
    return true;
}

static bool read_refusal(struct chat *c, struct jval part, struct blocks *into)
{
    struct str text = json_str_raw(json_get(part, STR("refusal")));
    if (!chat_blank(text))
        blocks_add(c->scratch, into, BLOCK_TEXT)->text = text;
    return true;
}

/* Base64 that upstream takes: standard alphabet, padded, nothing else. Text that came unescaped is
 * free of quotes and backslashes, so it may be spliced; anything else is rebuilt. */
static bool clean_base64(struct chat *c, struct str s, bool escaped, struct str *ret)
{
    *ret = s;
    if (!escaped && s.n % 4 == 0 && !memchr(s.p, '-', s.n) && !memchr(s.p, '_', s.n) &&
        !memchr(s.p, ' ', s.n))
        return s.n > 0;
    char *out = arena_alloc(c->scratch, s.n + 4);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        bool digit =
            (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
        if (digit || ch == '+' || ch == '/')
            out[n++] = ch;
        else if (ch == '-' || ch == '_')
            out[n++] = ch == '-' ? '+' : '/';
        else if (!memchr("= \n\r\t", ch, 5))
            return false;
    }
    if (n == 0 || n % 4 == 1)
        return false;
    while (n % 4 != 0)
        out[n++] = '=';
    *ret = str_of(out, n);
    return true;
}

struct str chat_base64_type(struct str base64)
{
    static const struct {
        struct str magic, media_type;
    } kinds[] = {
        {STR_INIT("\x89PNG"), STR_INIT("image/png")},
        {STR_INIT("\xff\xd8\xff"), STR_INIT("image/jpeg")},
        {STR_INIT("GIF8"), STR_INIT("image/gif")},
        {STR_INIT("%PDF"), STR_INIT("application/pdf")},
    };

    char bytes[SNIFF];
    ssize_t n = text_base64_decode(str_head(base64, size_min(base64.n, 16)), bytes, sizeof(bytes));
    struct str head = str_of(bytes, n > 0 ? (size_t)n : 0);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_starts(head, kinds[i].magic))
            return kinds[i].media_type;
    if (head.n == SNIFF && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0)
        return STR("image/webp");
    return STR_NONE;
}

/* "data:image/png;name=x;base64,AAAA": media type and data. False when it is not of that form. */
static bool split_data_url(struct str url, struct str *ret_type, struct str *ret_data)
{
    struct str rest = str_skip(url, sizeof("data:") - 1);
    size_t comma = str_find(rest, ',');
    if (comma == rest.n)
        return false;
    struct str head = str_head(rest, comma);
    *ret_type = str_head(head, str_find(head, ';'));
    *ret_data = str_skip(rest, comma + 1);
    return str_ends(head, STR(";base64"));
}

static void add_source(struct chat *c, struct blocks *into, enum block_type type,
                       struct str media_type, struct str data)
{
    struct block *b = blocks_add(c->scratch, into, type);
    b->source = SOURCE_BASE64;
    b->media_type = media_type;
    b->text = data;
}

static bool refuse_image(struct chat *c, const char *code, const char *suffix, const char *why)
{
    return chat_refuse(c, str_c(code), chat_part_param(c, suffix), "Invalid image: %s", why);
}

bool chat_count_image(struct chat *c)
{
    enum { MOST = 600, MOST_SMALL = 100, SMALL_CONTEXT = 200000, MANY = 20, MANY_SIDE = 2000 };

    if (c->n_images >= MANY && c->largest_side > MANY_SIDE)
        return chat_refuse(c, STR("image_too_large"), STR("messages"),
                           "Invalid image: of more than %d images none may have over %d pixels in "
                           "width or height.",
                           MANY, MANY_SIDE);

    unsigned most = c->m->model->context <= SMALL_CONTEXT ? MOST_SMALL : MOST;
    return ++c->n_images <= most ||
           chat_refuse(c, STR("too_many_images"), STR("messages"),
                       "Too many images: the maximum is %u per request for this model.", most);
}

bool chat_add_base64(struct chat *c, struct str data, bool escaped, const char *suffix,
                     struct blocks *into)
{
    if (!clean_base64(c, data, escaped, &data))
        return refuse_image(c, "invalid_image_format", suffix, "expected base64 content.");
    struct str media_type = chat_base64_type(data);
    if (str_eq(media_type, STR("application/pdf"))) {
        add_source(c, into, BLOCK_DOCUMENT, media_type, data);
        return true;
    }
    if (!media_type.p)
        return refuse_image(c, "invalid_image_format", suffix,
                            "supported formats are PNG, JPEG, GIF and WEBP.");
    if (data.n > IMAGE_MAX)
        return refuse_image(c, "image_too_large", suffix, "it exceeds 10 MB of base64.");
    struct picture size;
    uint32_t side = picture_read(data, &size) ? (uint32_t)size_max(size.width, size.height) : 0;
    if (side > SIDE_MAX)
        return refuse_image(c, "image_too_large", suffix,
                            "its width or height exceeds 8000 pixels.");
    c->largest_side = (uint32_t)size_max(c->largest_side, side);
    add_source(c, into, BLOCK_IMAGE, media_type, data);
    return chat_count_image(c);
}

static bool read_image_data(struct chat *c, struct str url, bool escaped, const char *suffix,
                            struct blocks *into)
{
    struct str declared, data;
    if (!split_data_url(url, &declared, &data))
        return refuse_image(c, "invalid_image_format", suffix,
                            "expected a data URL with base64 content.");
    return chat_add_base64(c, data, escaped, suffix, into);
}

static bool is_pdf_url(struct str url)
{
    struct str path = str_head(url, size_min(str_find(url, '?'), str_find(url, '#')));
    return path.n > 4 && str_eq_nocase(str_skip(path, path.n - 4), STR(".pdf"));
}

static bool read_image_url(struct chat *c, struct jval part, struct blocks *into)
{
    static const char *const suffix = ".image_url.url";
    struct jval image = json_get(part, STR("image_url"));
    struct jval value = json_is(image, JSON_STRING) ? image : json_get(image, STR("url"));
    if (!json_present(value))
        return chat_refuse_missing(c, chat_part_param(c, suffix));
    if (!json_is(value, JSON_STRING))
        return chat_refuse_type(c, chat_part_param(c, suffix), "a string", value);
    struct str url = json_str(value, c->scratch);
    if (str_starts_nocase(url, STR("data:")))
        return read_image_data(c, url, json_is_escaped(value), suffix, into);
    if (!chat_is_web_url(url))
        return refuse_image(c, "invalid_image_url", suffix, "expected an https or data URL.");
    enum block_type type = is_pdf_url(url) ? BLOCK_DOCUMENT : BLOCK_IMAGE;
    struct block *b = blocks_add(c->scratch, into, type);
    b->source = SOURCE_URL;
    b->text = json_str_raw(value);
    return type != BLOCK_IMAGE || chat_count_image(c);
}

static bool is_text_type(struct str type)
{
    static const struct str types[] = {
        STR_INIT("application/json"),   STR_INIT("application/xml"),
        STR_INIT("application/x-yaml"), STR_INIT("application/yaml"),
        STR_INIT("application/toml"),   STR_INIT("application/javascript"),
        STR_INIT("application/sql"),    STR_INIT("application/x-sh"),
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(type, types[i]))
            return true;
    return str_starts(type, STR("text/"));
}

/* The meaning of the base64 as the inside of a JSON string; false when it is no UTF-8 text. */
static bool decode_text(struct chat *c, struct str base64, struct str *ret)
{
    size_t room = base64.n / 4 * 3 + 3;
    char *bytes = arena_alloc(c->scratch, room);
    ssize_t n = text_base64_decode(base64, bytes, room);
    struct str text = str_of(bytes, n > 0 ? (size_t)n : 0);
    if (n < 0 || text_utf8_valid(text) != text.n || !jsonw_escape(&c->text, text))
        return false;
    *ret = chat_take_text(c);
    return !chat_blank(*ret);
}

static bool read_file_data(struct chat *c, struct jval value, struct str title, struct blocks *into)
{
    struct str data = json_str(value, c->scratch), declared = STR_NONE, text;
    bool is_url = str_starts_nocase(data, STR("data:"));
    bool form_ok = !is_url || split_data_url(data, &declared, &data);
    struct str media_type = STR_NONE;
    if (form_ok && clean_base64(c, data, json_is_escaped(value), &data))
        media_type = chat_base64_type(data);
    else
        form_ok = false;
    if (str_starts(media_type, STR("image/"))) {
        add_source(c, into, BLOCK_IMAGE, media_type, data);
        return chat_count_image(c);
    }
    if (media_type.p) {
        add_source(c, into, BLOCK_DOCUMENT, media_type, data);
        into->last->title = title;
    } else if (form_ok && is_text_type(declared) && decode_text(c, data, &text)) {
        add_source(c, into, BLOCK_DOCUMENT, STR("text/plain"), text);
        into->last->source = SOURCE_TEXT;
        into->last->title = title;
    } else {
        return chat_refuse(c, STR("unsupported_file"), chat_part_param(c, ".file"),
                           "Unsupported file: expected a PDF, an image or text, in base64.");
    }
    return true;
}

static bool read_file(struct chat *c, struct jval part, struct blocks *into)
{
    struct jval file = json_get(part, STR("file"));
    struct jval data = json_get(file, STR("file_data")), id = json_get(file, STR("file_id"));
    struct str title = json_str_raw(json_get(file, STR("filename")));
    if (json_is(data, JSON_STRING))
        return read_file_data(c, data, title, into);
    if (!json_is(id, JSON_STRING))
        return chat_refuse_missing(c, chat_part_param(c, ".file.file_data"));
    struct str name = json_str(id, c->scratch);
    if (!str_starts(name, STR("file_"))) /* theirs are file-..., ours file_... */
        return chat_refuse(c, STR("file_not_found"), chat_part_param(c, ".file.file_id"),
                           "No such File object: %.*s",
                           STR_FMT(str_head(name, size_min(name.n, 64))));
    struct block *b = blocks_add(c->scratch, into, BLOCK_DOCUMENT);
    b->source = SOURCE_FILE;
    b->text = json_str_raw(id);
    b->title = title;
    return true;
}

static bool read_audio(struct chat *c, struct jval part, struct blocks *into)
{
    (void)part;
    (void)into;
    return chat_refuse(c, STR("unsupported_value"), chat_part_param(c, ".type"),
                       "Unsupported value: 'input_audio' is not supported with this model.");
}

/* Thinking counts only with its signature; without, it is neither thinking nor text. */
static bool read_thinking(struct chat *c, struct jval part, struct blocks *into)
{
    struct str signature = json_str_raw(json_get(part, STR("signature")));
    if (signature.n == 0)
        return true;
    struct block *b = blocks_add(c->scratch, into, BLOCK_THINKING);
    struct str text = json_str_raw(json_get(part, STR("thinking")));
    b->text = text.p ? text : STR("");
    b->signature = signature;
    return true;
}

static bool read_redacted(struct chat *c, struct jval part, struct blocks *into)
{
    struct str data = json_str_raw(json_get(part, STR("data")));
    if (data.n > 0)
        blocks_add(c->scratch, into, BLOCK_REDACTED)->text = data;
    return true;
}

static const struct part_kind kinds[] = {
    {STR_INIT("text"), IN_SYSTEM | IN_USER | IN_ASSISTANT | IN_TOOL, read_text},
    {STR_INIT("image_url"), IN_USER | IN_TOOL, read_image_url},
    {STR_INIT("file"), IN_USER | IN_TOOL, read_file},
    {STR_INIT("input_audio"), IN_USER, read_audio},
    {STR_INIT("refusal"), IN_ASSISTANT, read_refusal},
    /* Anthropic's own */
    {STR_INIT("image"), IN_USER | IN_TOOL, chat_read_own_image},
    {STR_INIT("document"), IN_USER | IN_TOOL, chat_read_own},
    {STR_INIT("search_result"), IN_USER | IN_TOOL, chat_read_own},
    {STR_INIT("container_upload"), IN_USER, chat_read_own},
    {STR_INIT("thinking"), IN_ASSISTANT, read_thinking},
    {STR_INIT("redacted_thinking"), IN_ASSISTANT, read_redacted},
    {STR_INIT("tool_use"), IN_ASSISTANT, chat_read_tool_use},
    {STR_INIT("tool_result"), IN_USER, chat_read_tool_result},
    {STR_INIT("server_tool_use"), IN_ASSISTANT, chat_read_server_part},
    {STR_INIT("web_search_tool_result"), IN_ASSISTANT, chat_read_server_part},
    {STR_INIT("web_fetch_tool_result"), IN_ASSISTANT, chat_read_server_part},
    {STR_INIT("code_execution_tool_result"), IN_ASSISTANT, chat_read_server_part},
    {STR_INIT("bash_code_execution_tool_result"), IN_ASSISTANT, chat_read_server_part},
    {STR_INIT("text_editor_code_execution_tool_result"), IN_ASSISTANT, chat_read_server_part},
    {STR_INIT("tool_search_tool_result"), IN_ASSISTANT, chat_read_server_part},
};

static const char *supported_in(enum chat_place place)
{
    switch (place) {
    case IN_SYSTEM: return "'text'";
    case IN_USER: return "'text', 'image_url', and 'file'";
    case IN_ASSISTANT: return "'text' and 'refusal'";
    case IN_TOOL: return "'text', 'image_url', and 'file'";
    }
    UNREACHABLE();
}

static struct str cache_of(struct jval part)
{
    struct str own = chat_cache_mark(json_get(part, STR("cache_control")));
    return own.p ? own : chat_cache_breakpoint(json_get(part, STR("prompt_cache_breakpoint")));
}

static bool can_be_marked(const struct block *b)
{
    return b->type != BLOCK_THINKING && b->type != BLOCK_REDACTED;
}

/* The mark of a part that left no block moves to the block before it, within the same message. */
static void mark_cache(struct jval part, const struct block *before_message, struct blocks *into)
{
    struct str cache = cache_of(part);
    struct block *b = into->last;
    if (cache.p && b && b != before_message && can_be_marked(b) && !b->cache.p)
        b->cache = cache;
}

static const struct part_kind *kind_of(struct jval type, enum chat_place place)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if ((kinds[i].places & place) && json_str_is(type, kinds[i].type))
            return &kinds[i];
    return NULL;
}

static bool read_part(struct chat *c, struct jval part, enum chat_place place, struct blocks *into)
{
    if (!json_is(part, JSON_OBJECT))
        return chat_refuse_type(c, chat_part_param(c, ""), "an object", part);
    struct jval type = json_get(part, STR("type"));
    if (!json_present(type))
        return chat_refuse_missing(c, chat_part_param(c, ".type"));
    const struct part_kind *kind = kind_of(type, place);
    if (!kind)
        return chat_refuse_value(c, chat_part_param(c, ".type"), type, supported_in(place));
    if (!kind->read(c, part, into))
        return false;
    c->uncited_document |= into->last && into->last->type == BLOCK_DOCUMENT;
    return true;
}

bool chat_read_content(struct chat *c, struct jval content, enum chat_place place,
                       struct blocks *into)
{
    if (json_type(content) == JSON_NULL)
        return true;
    if (json_is(content, JSON_STRING)) {
        if (!chat_blank(json_str_raw(content)))
            blocks_add(c->scratch, into, BLOCK_TEXT)->text = json_str_raw(content);
        return true;
    }
    if (!json_is(content, JSON_ARRAY))
        return chat_refuse_type(c, chat_message_param(c, ".content"),
                                "a string or an array of objects", content);
    const struct block *before = into->last;
    size_t i = 0, outer = c->part;
    c->part = 0;
    json_each (part, content) {
        if (!read_part(c, part, place, into))
            return false;
        if (!json_str_is(json_get(part, STR("type")), STR("tool_result"))) /* it has its own */
            mark_cache(part, before, into);
        c->part = ++i;
    }
    c->part = outer;
    return true;
}
