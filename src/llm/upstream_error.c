/* upstream_error.c - classifies what the upstream refused, in three steps, each a table.
 *
 *   error_code (made for machines)  ->  words in the message (only where the API has no code)
 *      ->  error.type  ->  status
 *
 * Bodies of Anthropic, of AWS ({"message"}) and of Google ({"error":{"status"}}, sometimes in an
 * array) are read; anything else, such as an edge's HTML, is judged by its status alone. Messages
 * are cut at 2000 bytes: they travel to the client.
 */
#include "llm/upstream_error.h"

#include "base/text.h"

enum { MESSAGE_MAX = 2000 };

struct rule {
    struct str word;
    enum upstream_error_kind kind;
    struct str said; /* to the client: a code of its own, or absent */
};

static const struct rule codes[] = {
    {STR_INIT("enforced_spend_limit_reached"), UPSTREAM_QUOTA, {NULL, 0}},
    {STR_INIT("contract_spend_limit_reached"), UPSTREAM_QUOTA, {NULL, 0}},
    {STR_INIT("linked_organization_spend_limit_reached"), UPSTREAM_QUOTA, {NULL, 0}},
    {STR_INIT("linked_organization_billing_unavailable"), UPSTREAM_QUOTA, {NULL, 0}},
    {STR_INIT("ramp_limit_exceeded"), UPSTREAM_RATE_LIMIT, {NULL, 0}},
    {STR_INIT("organization_on_hold"), UPSTREAM_AUTH, {NULL, 0}},
    {STR_INIT("image_dimensions_too_large"), UPSTREAM_IMAGE, STR_INIT("image_too_large")},
    {STR_INIT("request_body_too_large_after_decoding"), UPSTREAM_TOO_LARGE, {NULL, 0}},
};

/* Looked for in messages of status 400 only. */
static const struct rule phrases[] = {
    {STR_INIT("prompt is too long"), UPSTREAM_CONTEXT_LENGTH, {NULL, 0}},
    {STR_INIT("exceed context limit"), UPSTREAM_CONTEXT_LENGTH, {NULL, 0}},
    {STR_INIT("credit balance is too low"), UPSTREAM_QUOTA, {NULL, 0}},
    {STR_INIT("specified API usage limits"), UPSTREAM_QUOTA, {NULL, 0}},
    {STR_INIT("organization has been disabled"), UPSTREAM_AUTH, {NULL, 0}},
    {STR_INIT("Could not process image"), UPSTREAM_IMAGE, STR_INIT("invalid_image")},
    {STR_INIT("image.source.base64.media_type"), UPSTREAM_IMAGE, STR_INIT("invalid_image_format")},
    {STR_INIT("image exceeds"), UPSTREAM_IMAGE, STR_INIT("image_too_large")},
    {STR_INIT("image was specified using"), UPSTREAM_IMAGE, STR_INIT("invalid_image_format")},
    {STR_INIT("image dimensions"), UPSTREAM_IMAGE, STR_INIT("image_too_large")},
};

static const struct rule types[] = {
    {STR_INIT("invalid_request_error"), UPSTREAM_INVALID_REQUEST, {NULL, 0}},
    {STR_INIT("authentication_error"), UPSTREAM_AUTH, {NULL, 0}},
    {STR_INIT("billing_error"), UPSTREAM_QUOTA, {NULL, 0}},
    {STR_INIT("permission_error"), UPSTREAM_PERMISSION, {NULL, 0}},
    {STR_INIT("not_found_error"), UPSTREAM_NOT_FOUND, {NULL, 0}},
    {STR_INIT("conflict_error"), UPSTREAM_CONFLICT, {NULL, 0}},
    {STR_INIT("request_too_large"), UPSTREAM_TOO_LARGE, {NULL, 0}},
    {STR_INIT("rate_limit_error"), UPSTREAM_RATE_LIMIT, {NULL, 0}},
    {STR_INIT("timeout_error"), UPSTREAM_TIMEOUT, {NULL, 0}},
    {STR_INIT("overloaded_error"), UPSTREAM_OVERLOADED, {NULL, 0}},
    {STR_INIT("api_error"), UPSTREAM_SERVER_ERROR, {NULL, 0}},
    {STR_INIT("RESOURCE_EXHAUSTED"), UPSTREAM_RATE_LIMIT, {NULL, 0}},
};

static const struct {
    int status;
    enum upstream_error_kind kind;
} statuses[] = {
    {400, UPSTREAM_INVALID_REQUEST}, {401, UPSTREAM_AUTH},       {402, UPSTREAM_QUOTA},
    {403, UPSTREAM_PERMISSION},      {404, UPSTREAM_NOT_FOUND},  {405, UPSTREAM_METHOD},
    {408, UPSTREAM_TIMEOUT},         {409, UPSTREAM_CONFLICT},   {413, UPSTREAM_TOO_LARGE},
    {422, UPSTREAM_INVALID_REQUEST}, {429, UPSTREAM_RATE_LIMIT}, {500, UPSTREAM_SERVER_ERROR},
    {502, UPSTREAM_BAD_GATEWAY},     {504, UPSTREAM_TIMEOUT},    {529, UPSTREAM_OVERLOADED},
};

/* Message beginnings that name a field, and the client's name for it. Indices of messages are not
 * handed on: theirs count turns, the client's count messages. */
static const struct {
    struct str prefix, param;
} params[] = {
    {STR_INIT("messages"), STR_INIT("messages")},
    {STR_INIT("system"), STR_INIT("messages")},
    {STR_INIT("max_tokens"), STR_INIT("max_tokens")},
    {STR_INIT("temperature"), STR_INIT("temperature")},
    {STR_INIT("top_p"), STR_INIT("top_p")},
    {STR_INIT("model"), STR_INIT("model")},
    {STR_INIT("tool_choice"), STR_INIT("tool_choice")},
    {STR_INIT("tools"), STR_INIT("tools")},
    {STR_INIT("stop_sequences"), STR_INIT("stop")},
    {STR_INIT("thinking"), STR_INIT("reasoning_effort")},
    {STR_INIT("output_config"), STR_INIT("response_format")},
    {STR_INIT("metadata"), STR_INIT("user")},
};

static const struct rule *find_exact(const struct rule *rules, size_t n, struct str word)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(rules[i].word, word))
            return &rules[i];
    return NULL;
}

static const struct rule *find_words(struct str message)
{
    for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
        if (str_find_str(message, phrases[i].word) < message.n)
            return &phrases[i];
    return NULL;
}

static bool is_hex(char ch)
{
    return (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f') || (ch >= 'A' && ch <= 'F');
}

/* Bytes of a UUID at the start of s, or 0. */
static size_t uuid_at(struct str s)
{
    enum { UUID = 36 };

    for (size_t i = 0; i < UUID; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (i == s.n || (dash ? s.p[i] != '-' : !is_hex(s.p[i])))
            return 0;
    }
    return UUID;
}

/* Organisations and workspaces are the operator's business: their ids (UUIDs, org_..., wrkspc_...) do
 * not reach a client. */
static struct str without_ids(struct str message, struct arena *a)
{
    static const struct str prefixes[] = {STR_INIT("org_"), STR_INIT("org-"), STR_INIT("wrkspc_")};
    char *out = arena_alloc(a, size_max(message.n, 1));
    size_t n = 0;
    for (size_t i = 0; i < message.n;) {
        struct str rest = str_skip(message, i);
        size_t id = uuid_at(rest);
        for (size_t k = 0; id == 0 && k < ARRAY_LEN(prefixes); k++)
            for (size_t at = prefixes[k].n;
                 str_starts(rest, prefixes[k]) && at < rest.n &&
                 (is_hex(rest.p[at]) || (rest.p[at] >= 'g' && rest.p[at] <= 'z') ||
                  (rest.p[at] >= 'G' && rest.p[at] <= 'Z'));
                 at++)
                id = at + 1;
        if (id > 0)
            out[n++] = '*';
        else
            out[n++] = message.p[i];
        i += size_max(id, 1);
    }
    return str_of(out, n);
}

/* The client would take it for its own key, which upstream has never seen. */
static bool speaks_of_key(struct str message)
{
    static const struct str words[] = {
        STR_INIT("your api key"),
        STR_INIT("this api key"),
        STR_INIT("the api key"),
        STR_INIT("x-api-key"),
    };

    for (size_t i = 0; i < message.n; i++)
        for (size_t k = 0; k < ARRAY_LEN(words); k++)
            if (str_starts_nocase(str_skip(message, i), words[k]))
                return true;
    return false;
}

/* "tools.3.custom.name: ..." is tools[3]; any other path is its first word. */
static struct str param_of(struct str message, struct arena *a)
{
    if (message.n == 0)
        return STR_NONE;
    for (size_t i = 0; i < ARRAY_LEN(params); i++) {
        struct str prefix = params[i].prefix;
        if (!str_starts(message, prefix) || message.n == prefix.n)
            continue;
        char next = message.p[prefix.n];
        if (next != '.' && next != ':')
            continue;
        struct str rest = str_skip(message, prefix.n + 1), index;
        uint64_t n;
        index = str_head(rest, size_min(str_find(rest, '.'), str_find(rest, ':')));
        if (next == '.' && str_eq(prefix, STR("tools")) && str_to_u64(index, &n))
            return arena_printf(a, "tools[%llu]", (unsigned long long)n);
        return params[i].param;
    }
    return STR_NONE;
}

static struct str copy_text(struct jval v, struct arena *a)
{
    if (!json_is(v, JSON_STRING))
        return STR_NONE;
    struct str text = json_str(v, a);
    text = str_head(text, size_min(text.n, MESSAGE_MAX));
    return arena_dup(a, str_head(text, text_utf8_valid(text))); /* not inside a character */
}

static void read_body(struct str body, struct json *doc, struct arena *a,
                      struct upstream_error *ret)
{
    if (body.n == 0 || json_parse(doc, body) != JSON_OK)
        return;
    struct jval root = json_root(doc);
    if (json_is(root, JSON_ARRAY))
        root = json_first(root);
    if (!json_is(root, JSON_OBJECT))
        return;
    struct jval error = json_get(root, STR("error"));
    struct jval from = json_is(error, JSON_OBJECT) ? error : root;
    ret->message = copy_text(json_get(from, STR("message")), a);
    if (ret->message.n)
        ret->message = without_ids(ret->message, a);
    struct jval type = json_get(error, STR("type"));
    ret->type = copy_text(json_present(type) ? type : json_get(error, STR("status")), a);
    ret->code = copy_text(json_get(json_get(error, STR("details")), STR("error_code")), a);
    ret->request_id = copy_text(json_get(root, STR("request_id")), a);
}

static enum upstream_error_kind kind_of_status(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].kind;
    if (status >= 400 && status < 500)
        return UPSTREAM_INVALID_REQUEST;
    return UPSTREAM_UNAVAILABLE;
}

static enum upstream_error_kind kind_of(int status, struct upstream_error *e)
{
    const struct rule *rule = find_exact(codes, ARRAY_LEN(codes), e->code);
    if (!rule && (status == 400 || status == 0))
        rule = find_words(e->message);
    if (rule) {
        e->said = rule->said;
        return rule->kind;
    }
    bool edge = status == 502 || status == 503 || (status >= 520 && status <= 527);
    rule = edge ? NULL : find_exact(types, ARRAY_LEN(types), e->type);
    if (!rule)
        return status == 0 ? UPSTREAM_SERVER_ERROR : kind_of_status(status);
    if (rule->kind == UPSTREAM_INVALID_REQUEST && status > 400)
        return kind_of_status(status); /* the status says more: 405, 413 */
    bool of_model = rule->kind == UPSTREAM_NOT_FOUND
                        ? str_starts(e->message, STR("model:"))
                        : rule->kind == UPSTREAM_PERMISSION &&
                              str_find_str(e->message, STR(" model")) < e->message.n;
    if (of_model) /* OpenAI does not tell the two apart */
        return UPSTREAM_MODEL_NOT_FOUND;
    return rule->kind;
}

void upstream_error_read(int status, struct str body, struct json *doc, struct arena *a,
                         struct upstream_error *ret)
{
    *ret = (struct upstream_error){0};
    read_body(body, doc, a, ret);
    ret->kind = kind_of(status, ret);
    if (ret->kind == UPSTREAM_CONTEXT_LENGTH)
        ret->param = STR("messages");
    else if (ret->kind == UPSTREAM_INVALID_REQUEST)
        ret->param = param_of(ret->message, a);
    else if (ret->kind == UPSTREAM_MODEL_NOT_FOUND)
        ret->param = STR("model");
    if (ret->kind == UPSTREAM_AUTH || ret->kind == UPSTREAM_QUOTA || speaks_of_key(ret->message))
        ret->message = STR_NONE; /* the operator's business */
}
