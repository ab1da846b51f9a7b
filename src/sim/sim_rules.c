/* sim_rules.c - see sim_rules.h. JSON schemas have a file of their own: sim_schema.c. */
#include "sim/sim_rules.h"

#include "base/text.h"

enum {
    IMAGE_MAX = 10 * 1024 * 1024, /* base64 bytes */
    IMAGE_SIDE_MAX = 8000,
    HEAD = 32, /* bytes of a picture that are looked at */
};

bool rule_is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* The first name of a path: "messages", "system". */
static struct str path_root(const struct shape_path *path)
{
    while (path->up)
        path = path->up;
    return path->name;
}

bool rule_is_blank(struct jval string)
{
    struct str raw = json_str_raw(string);
    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        if (c == ' ')
            continue;
        if (c != '\\')
            return false;
        i++; /* an escape is never cut short: the reader has seen to it */
        if (raw.p[i] != 'n' && raw.p[i] != 't' && raw.p[i] != 'r' && raw.p[i] != 'f')
            return false;
    }
    return true;
}

bool rule_text(struct check *c, struct jval v, const struct shape_path *path)
{
    struct jval text = json_get(v, STR("text"));
    struct shape_path root = {.name = path_root(path)};
    if (json_str_raw(text).n == 0) {
        if (json_is(json_get(v, STR("cache_control")), JSON_OBJECT))
            return check_fail(c, path, "cache_control cannot be set for empty text blocks");
        return check_fail(c, &root, "text content blocks must be non-empty");
    }
    if (rule_is_blank(text))
        return check_fail(c, &root, "text content blocks must contain non-whitespace text");
    return true;
}

/* ---- pictures and documents ---- */

struct str rule_image_type(struct str head)
{
    if (str_starts(head, str_of("\x89PNG\r\n\x1a\n", 8)))
        return STR("image/png");
    if (str_starts(head, str_of("\xff\xd8\xff", 3)))
        return STR("image/jpeg");
    if (str_starts(head, STR("GIF87a")) || str_starts(head, STR("GIF89a")))
        return STR("image/gif");
    if (str_starts(head, STR("RIFF")) && head.n >= 12 && memcmp(head.p + 8, "WEBP", 4) == 0)
        return STR("image/webp");
    return STR_NONE;
}

static bool is_base64(struct str s)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static bool known[256];
    if (!known['A']) {
        for (size_t i = 0; i < sizeof(alphabet) - 1; i++)
            known[(unsigned char)alphabet[i]] = true;
    }
    if (s.n % 4 != 0)
        return false;
    size_t n = s.n;
    while (n > 0 && s.n - n < 2 && s.p[n - 1] == '=')
        n--;
    bool ok = true;
    for (size_t i = 0; i < n; i++)
        ok = ok && known[(unsigned char)s.p[i]];
    return ok;
}

struct media {
    struct str data; /* base64 */
    char head[HEAD]; /* the first bytes, decoded */
    size_t head_n;
};

/* The data of a base64 source, checked. */
static bool read_data(struct check *c, struct jval v, const struct shape_path *path,
                      const char *what, struct media *ret)
{
    struct str data = json_str(json_get(v, STR("data")), c->a);
    if (data.n == 0)
        return check_fail(c, path, "%s cannot be empty", what);
    if (!is_base64(data))
        return check_fail(c, path, "invalid base64 data");
    ssize_t n = text_base64_decode(data, ret->head, HEAD);
    ret->head_n = n > 0 ? (size_t)n : 0;
    ret->data = data;
    c->request->media_bytes += data.n;
    return true;
}

static uint32_t big_endian(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

/* A PNG says its size at a fixed place; for the other types nobody asks. */
static bool check_dimensions(struct check *c, struct str head, const struct shape_path *path)
{
    if (head.n < 24 || !str_eq(rule_image_type(head), STR("image/png")))
        return true;
    if (big_endian(head.p + 16) <= IMAGE_SIDE_MAX && big_endian(head.p + 20) <= IMAGE_SIDE_MAX)
        return true;
    /* The block's place is three steps above: image, source, base64. */
    check_fail(c, path->up->up->up, "x");
    struct str at = str_head(c->error->message, c->error->message.n - 3);
    check_fail(c, NULL, "At least one image exceeds the maximum allowed size.");
    c->error->details = arena_printf(c->a,
                                     "\"error_code\":\"image_dimensions_too_large\","
                                     "\"max_side_length_pixels\":%d,\"paths\":[\"%.*s\"]",
                                     IMAGE_SIDE_MAX, STR_FMT(at));
    return false;
}

bool rule_image(struct check *c, struct jval v, const struct shape_path *path)
{
    struct media m = {0};
    if (!read_data(c, v, path, "image", &m))
        return false;
    if (m.data.n > IMAGE_MAX)
        return check_fail(c, path, "image exceeds 10 MB maximum: %zu bytes > %d bytes", m.data.n,
                          IMAGE_MAX);
    struct str is = rule_image_type(str_of(m.head, m.head_n));
    if (!is.p)
        return check_fail(c, NULL, "Could not process image");
    struct jval declared = json_get(v, STR("media_type"));
    if (!json_str_is(declared, is))
        return check_fail(c, path,
                          "The image was specified using the %.*s media type, but the image "
                          "appears to be a %.*s image",
                          STR_FMT(json_str(declared, c->a)), STR_FMT(is));
    return check_dimensions(c, str_of(m.head, m.head_n), path);
}

bool rule_pdf(struct check *c, struct jval v, const struct shape_path *path)
{
    struct media m = {0};
    if (!read_data(c, v, path, "PDF", &m))
        return false;
    if (!str_starts(str_of(m.head, m.head_n), STR("%PDF-")))
        return check_fail(c, path, "The PDF specified was not valid.");
    return true;
}

bool rule_url(struct check *c, struct jval v, const struct shape_path *path)
{
    struct str url = json_str(json_get(v, STR("url")), c->a);
    if (str_starts_nocase(url, STR("https://")) && url.n > 8)
        return true;
    return check_fail(c, path, "Only HTTPS URLs are supported.");
}

bool rule_count_image(struct check *c, struct jval v, const struct shape_path *path)
{
    (void)v;
    const struct model *m = c->request->model;

    enum { MAX_SMALL = 100, MAX_LARGE = 600, SMALL_CONTEXT = 200000 };

    bool small = m && m->context <= SMALL_CONTEXT;
    unsigned max = small ? MAX_SMALL : MAX_LARGE;
    if (++c->request->images > max)
        return check_fail(c, path, "too many images: the maximum is %u per request", max);
    return true;
}

bool rule_count_document(struct check *c, struct jval v, const struct shape_path *path)
{
    (void)v;
    (void)path;
    c->request->documents++;
    return true;
}

/* ---- the rest ---- */

bool rule_count_cache(struct check *c, struct jval v, const struct shape_path *path)
{
    (void)v;
    (void)path;
    c->request->breakpoints++;
    return true;
}

bool rule_metadata(struct check *c, struct jval v, const struct shape_path *path)
{
    struct str id = json_str(json_get(v, STR("user_id")), c->a);
    size_t at = str_find(id, '@');
    if (at == 0 || at == id.n)
        return true;
    struct str host = str_skip(id, at + 1);
    size_t dot = str_find(host, '.');
    bool one_word = str_find(id, ' ') == id.n && str_find(host, '@') == host.n;
    if (!one_word || dot == 0 || dot + 1 >= host.n)
        return true;
    struct shape_path where = {.up = path, .name = STR("user_id")};
    return check_fail(c, &where,
                      "user_id appears to contain an email address. Use an opaque identifier.");
}

bool rule_server_tool(struct check *c, struct jval v, const struct shape_path *path)
{
    if (json_is(json_get(v, STR("allowed_domains")), JSON_ARRAY) &&
        json_is(json_get(v, STR("blocked_domains")), JSON_ARRAY))
        return check_fail(c, path,
                          "Only one of `allowed_domains` and `blocked_domains` may be specified.");
    return true;
}
