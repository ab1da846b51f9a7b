/* server_h2_head.c - a header block of HTTP/2 becomes the text of a head.
 *
 *   pseudo fields --> values --\
 *   fields ----------------------> text --> h1_parse_request
 *   Cookie, in pieces --> cookie --/
 *
 * A request's fields become the text that HTTP/1.1 would have had, and go through its parser: what a
 * path, a host, a length or a credential may be is said in one place, and refused in the same words.
 * nghttp2 has checked what is particular to HTTP/2: pseudo fields, small letters, no Connection.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "http/server_h2_int.h"

void h2_drop_head(struct h2_conn *c)
{
    if (!c->head)
        return;
    buf_done(&c->head->values);
    buf_done(&c->head->text);
    buf_done(&c->head->cookie);
    mem_free(c->head);
    c->head = NULL;
    c->head_began_us = 0;
}

static int on_head_begin(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    (void)ng;
    struct h2_conn *c = ctx;
    const struct server_limits *l = &c->server->limits;
    h2_drop_head(c);
    c->head_began_us = clock_us();
    h2_watch(c, c->head_began_us + l->head_timeout_us);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* a trailer, which is not read */
    c->head = mem_zalloc(sizeof(*c->head));
    buf_init(&c->head->values, l->head_max);
    buf_init(&c->head->text, l->head_max);
    buf_init(&c->head->cookie, l->head_max);
    return 0;
}

static struct str pseudo(const struct h2_head *h, size_t which)
{
    if (!h->pseudo[which].said)
        return STR_NONE;
    return str_of(buf_str(&h->values).p + h->pseudo[which].at, h->pseudo[which].n);
}

static bool keep_pseudo(struct h2_head *h, struct str name, struct str value)
{
    static const struct str names[PSEUDO_COUNT] = {
        [PSEUDO_METHOD] = STR_INIT(":method"),
        [PSEUDO_PATH] = STR_INIT(":path"),
        [PSEUDO_AUTHORITY] = STR_INIT(":authority"),
        [PSEUDO_SCHEME] = STR_INIT(":scheme"),
    };
    for (size_t i = 0; i < PSEUDO_COUNT; i++) {
        if (!str_eq(name, names[i]))
            continue;
        h->pseudo[i].at = buf_len(&h->values);
        h->pseudo[i].n = value.n;
        h->pseudo[i].said = true;
        return buf_append(&h->values, value) && buf_reserve(&h->values, 1);
    }
    return true;
}

static bool write_field(struct h2_head *h, struct str name, struct str value)
{
    return buf_append(&h->text, name) && buf_lit(&h->text, ": ") && buf_append(&h->text, value) &&
           buf_lit(&h->text, "\r\n");
}

/* All pseudo fields have come (RFC 9113 section 8.3). CONNECT has no path. */
static bool write_line(struct h2_head *h)
{
    struct str path = pseudo(h, PSEUDO_PATH), authority = pseudo(h, PSEUDO_AUTHORITY);
    h->has_line = true;
    return buf_append(&h->text, pseudo(h, PSEUDO_METHOD)) && buf_lit(&h->text, " ") &&
           buf_append(&h->text, path.p ? path : authority) && buf_lit(&h->text, " HTTP/1.1\r\n") &&
           (!authority.p || write_field(h, STR("Host"), authority));
}

/* RFC 9113 section 8.2.3: the pieces of a Cookie are one field to everybody else. */
static bool keep_cookie(struct h2_head *h, struct str value)
{
    return (buf_len(&h->cookie) == 0 || buf_lit(&h->cookie, "; ")) && buf_append(&h->cookie, value);
}

/* RFC 9113 section 8.3.1: Host and :authority say the same, or somebody is to be misled. */
static bool keep_field(struct h2_head *h, struct str name, struct str value)
{
    struct str authority = pseudo(h, PSEUDO_AUTHORITY);
    if (str_eq(name, STR("cookie")))
        return keep_cookie(h, value);
    if (authority.p && str_eq(name, STR("host"))) {
        if (!str_eq_nocase(authority, value))
            h->error = H1_BAD_HOST;
        return true;
    }
    return write_field(h, name, value);
}

static void take_field(struct h2_head *h, struct str name, struct str value, size_t most)
{
    bool fits;
    if (name.p[0] == ':') {
        fits = keep_pseudo(h, name, value);
    } else {
        fits = h->has_line || write_line(h);
        if (++h->n_fields > most)
            h->error = H1_TOO_MANY_FIELDS;
        fits = fits && keep_field(h, name, value);
    }
    if (!fits)
        h->error = H1_HEAD_TOO_LONG;
}

/* NOLINTNEXTLINE(readability-function-size): the parameters are nghttp2's */
static int on_field(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                    size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *ctx)
{
    (void)ng;
    (void)frame;
    (void)flags;
    struct h2_conn *c = ctx;
    struct h2_head *h = c->head;
    if (h && (h->error == H1_OK || h->error == H1_BAD_HOST))
        take_field(h, str_of((const char *)name, name_n), str_of((const char *)value, value_n),
                   c->server->limits.h2.fields);
    return 0;
}

/* NOLINTNEXTLINE(readability-function-size): the parameters are nghttp2's */
static int on_bad_field(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                        size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                        void *ctx)
{
    (void)ng;
    (void)frame;
    (void)name;
    (void)name_n;
    (void)value;
    (void)value_n;
    (void)flags;
    (void)ctx;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* or it would be dropped in silence */
}

static bool is_http(struct str scheme)
{
    return !scheme.p || str_eq_nocase(scheme, STR("http")) || str_eq_nocase(scheme, STR("https"));
}

static enum h1_error finish_text(struct h2_head *h)
{
    if (h->error)
        return h->error;
    if (!is_http(pseudo(h, PSEUDO_SCHEME)))
        return H1_BAD_TARGET;
    bool fits = (h->has_line || write_line(h)) &&
                (buf_len(&h->cookie) == 0 || write_field(h, STR("cookie"), buf_str(&h->cookie))) &&
                buf_lit(&h->text, "\r\n");
    return fits ? H1_OK : H1_HEAD_TOO_LONG;
}

enum h1_error h2_parse_head(struct h2_conn *c, struct h1_head *head)
{
    size_t scanned = 0, used;
    enum h1_error error = finish_text(c->head);
    if (error)
        return error;
    struct str text = buf_str(&c->head->text);
    switch (h1_parse_request(text, c->server->limits.head_max, &scanned, head, &used, &error)) {
    case H1_DONE: return used == text.n ? H1_OK : H1_BAD_FIELD;
    case H1_MORE: return H1_BAD_FIELD;
    case H1_BAD: return error;
    }
    UNREACHABLE();
}

void h2_set_head_callbacks(nghttp2_session_callbacks *on)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(on, on_head_begin);
    nghttp2_session_callbacks_set_on_header_callback(on, on_field);
    nghttp2_session_callbacks_set_on_invalid_header_callback(on, on_bad_field);
}
