/* h1_head.c - request and response heads (RFC 9112 sections 2 to 6 and 9).
 *
 *   GET /path HTTP/1.1 CRLF  name: value CRLF  name: value CRLF  CRLF  body ...
 *   |<---------------------------- text ------------------------>|     |
 *   start                                                              end
 *
 * Two passes. find_end looks for the empty line; it goes on where it stopped last time and ends at
 * the first bare CR, bare LF or NUL, so that garbage is refused without waiting for more of it.
 * Only a complete head is parsed. From then on every CR in text is known to be followed by LF, and
 * text to end in CRLF: the loops below run to the first byte outside a class and need no bounds.
 *
 * Nothing is allocated or copied; spans point into the input. Targets and Host are in h1_target.c.
 */
#include "base/scan.h"
#include "wire/h1_int.h"

enum { VERSION_LEN = 8 };

struct reader {
    const char *at, *end;
};

/* RFC 9112 section 2.2 forbids a bare CR, and lets us refuse a bare LF. H1_DONE: the line is empty,
 * which it may not be at the start. */
static enum h1_result end_line(struct str in, size_t start, size_t *i)
{
    if (in.p[*i + 1] != '\n' || *i == start)
        return H1_BAD;
    *i += 2;
    return in.p[*i - 3] == '\n' ? H1_DONE : H1_MORE;
}

/* Looks for the end of the head from in[*at] on. Leaves *at behind the end, at the byte that is
 * bad, or where to go on when there is more. */
static enum h1_result scan(struct str in, size_t start, size_t *at)
{
    size_t i = *at;
    enum h1_result result = H1_MORE;

    while (i < in.n && result == H1_MORE) {
        i = (size_t)(scan_low(in.p + i, in.p + in.n) - in.p);
        if (i == in.n)
            break;
        char c = in.p[i];
        if (c == '\r') {
            if (i + 1 == in.n)
                break;
            result = end_line(in, start, &i);
        } else if (c == '\n' || c == '\0') {
            result = H1_BAD;
        } else {
            i++;
        }
    }
    *at = i;
    return result;
}

static enum h1_result find_end(struct str in, size_t start, size_t head_max, size_t *scanned,
                               enum h1_error *ret_error)
{
    struct str head = str_head(in, size_min(in.n, head_max));
    enum h1_result result;

    ASSERT(*scanned <= in.n);
    *scanned = size_max(*scanned, start);
    result = scan(head, start, scanned);
    if (result == H1_BAD) {
        bool in_fields = memchr(head.p + start, '\n', *scanned - start) != NULL;
        *ret_error = in_fields ? H1_BAD_FIELD : H1_BAD_LINE;
    }
    if (result == H1_MORE && in.n >= head_max) {
        *ret_error = H1_HEAD_TOO_LONG;
        return H1_BAD;
    }
    return result;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* HTTP-version at p, of which at least VERSION_LEN bytes are there (RFC 9112 section 2.3). */
static enum h1_error read_version(const char *p, bool *ret_http10)
{
    if (memcmp(p, "HTTP/", 5) != 0 || !is_digit(p[5]) || p[6] != '.' || !is_digit(p[7]))
        return H1_BAD_LINE;
    if (p[5] != '1' || (p[7] != '0' && p[7] != '1'))
        return H1_BAD_VERSION;
    *ret_http10 = p[7] == '0';
    return H1_OK;
}

static enum h1_method method_of(struct str s)
{
    if (str_eq(s, STR("POST")))
        return H1_POST;
    if (str_eq(s, STR("GET")))
        return H1_GET;
    if (str_eq(s, STR("HEAD")))
        return H1_HEAD;
    return str_eq(s, STR("OPTIONS")) ? H1_OPTIONS : H1_OTHER;
}

static enum h1_error read_method(struct reader *r, struct h1_head *head)
{
    const char *start = r->at;

    while (class_of(*r->at) & CLASS_TOKEN)
        r->at++;
    head->method_text = str_of(start, (size_t)(r->at - start));
    if (*r->at == '\r')
        return H1_BAD_LINE;
    if (*r->at != ' ' || r->at == start || head->method_text.n > H1_METHOD_MAX)
        return H1_BAD_METHOD;
    r->at++;
    head->method = method_of(head->method_text);
    return H1_OK;
}

/* request-line = method SP request-target SP HTTP-version, with single spaces and nothing else:
 * RFC 9112 section 3 allows to split at any white space, and warns of what comes from it. */
static enum h1_error read_request_line(struct reader *r, struct h1_head *head)
{
    enum h1_error error = read_method(r, head);
    const char *start = r->at;

    if (error)
        return error;
    while (*r->at != ' ' && *r->at != '\r')
        r->at++;
    head->target = str_of(start, (size_t)(r->at - start));
    if (head->target.n == 0 || *r->at == '\r')
        return H1_BAD_LINE;
    r->at++;
    if (r->end - r->at < VERSION_LEN + 2 || r->at[VERSION_LEN] != '\r')
        return H1_BAD_LINE;
    error = read_version(r->at, &head->http10);
    if (error)
        return error;
    r->at += VERSION_LEN + 2;
    return h1_read_target(head);
}

/* status-line = HTTP-version SP 3DIGIT SP [ reason ], where the second SP is often forgotten. */
static enum h1_error read_status_line(struct reader *r, struct h1_head *head)
{
    uint64_t status;
    enum h1_error error;

    if (r->end - r->at < VERSION_LEN + 6)
        return H1_BAD_LINE;
    error = read_version(r->at, &head->http10);
    if (error)
        return error;
    r->at += VERSION_LEN;
    if (*r->at != ' ' || !str_to_u64(str_of(r->at + 1, 3), &status))
        return H1_BAD_LINE;
    r->at += 4;
    if (status < 100 || status > 599 || (*r->at != ' ' && *r->at != '\r'))
        return H1_BAD_LINE;
    head->status = (int)status;
    while (class_of(*r->at) & (CLASS_VALUE | CLASS_OBS))
        r->at++;
    if (*r->at != '\r')
        return H1_BAD_LINE;
    r->at += 2;
    return H1_OK;
}

/* The one known field that a name of this length and first letter can be, or H1_KNOWN_COUNT. */
static enum h1_known candidate(struct str name)
{
    char c = (char)(name.p[0] | 0x20);

    switch (name.n) {
    case 4: return H1_HOST;
    case 6: return H1_EXPECT;
    case 7: return H1_API_KEY;
    case 9: return H1_X_API_KEY;
    case 10: return c == 'c' ? H1_CONNECTION : H1_REQUEST_ID;
    case 11: return H1_RETRY_AFTER;
    case 12: return c == 'c' ? H1_CONTENT_TYPE : H1_X_REQUEST_ID;
    case 13: return H1_AUTHORIZATION;
    case 14: return c == 'c' ? H1_CONTENT_LENGTH : c == 'r' ? H1_RETRY_AFTER_MS : H1_X_SHOULD_RETRY;
    case 16: return H1_CONTENT_ENCODING;
    case 17: return H1_TRANSFER_ENCODING;
    default: return H1_KNOWN_COUNT;
    }
}

static enum h1_known known_of(struct str name)
{
    static const struct str names[H1_KNOWN_COUNT] = {
#define X(id, name) STR_INIT(name),
        H1_KNOWN_FIELDS(X)
#undef X
    };
    enum h1_known k = candidate(name);

    if (k == H1_KNOWN_COUNT)
        return k;
    /* Among token characters only letters turn into letters, and only '-' into '-', by this bit. */
    size_t i = 0;
    for (; i + 8 <= name.n; i += 8) {
        uint64_t theirs, ours;
        memcpy(&theirs, name.p + i, 8);
        memcpy(&ours, names[k].p + i, 8);
        if ((theirs | SCAN_ONES * 0x20) != ours)
            return H1_KNOWN_COUNT;
    }
    for (; i < name.n; i++) {
        if ((name.p[i] | 0x20) != names[k].p[i])
            return H1_KNOWN_COUNT;
    }
    return k;
}

static void add_field(struct h1_head *head, struct str name, struct str value)
{
    enum h1_known k = known_of(name);

    head->fields[head->n_fields++] = (struct h1_field){name, value};
    if (k == H1_KNOWN_COUNT)
        return;
    if (head->known[k].p)
        head->repeated[k] = true;
    else
        head->known[k] = value;
}

/* The first byte that is not of this class; there is one before r->end. */
static const char *skip_value(const struct reader *r, const char *p, unsigned value_class)
{
    p = scan_printable(p, r->end);
    while (class_of(*p) & value_class)
        p++;
    return p;
}

/* field-line = field-name ":" OWS field-value OWS CRLF. An empty name, white space before the colon
 * and folded lines (RFC 9112 sections 5.1 and 5.2) all end the name at something else than ':'. */
static enum h1_error read_field(struct reader *r, unsigned value_class, struct h1_head *head)
{
    const char *p = scan_name(r->at, r->end), *start;
    unsigned seen = 0, class;
    struct str name;

    for (; (class = class_of(*p)) & CLASS_TOKEN; p++)
        seen |= class;
    name = str_of(r->at, (size_t)(p - r->at));
    if (name.n == 0 || *p != ':')
        return H1_BAD_FIELD;
    do
        p++;
    while (*p == ' ' || *p == '\t');
    start = p;
    p = skip_value(r, p, value_class);
    if (*p != '\r')
        return H1_BAD_FIELD;
    r->at = p + 2;
    while (p > start && (p[-1] == ' ' || p[-1] == '\t'))
        p--;
    if (!(seen & CLASS_UNDERSCORE))
        add_field(head, name, str_of(start, (size_t)(p - start)));
    else if (h1_is_sensitive(name))
        return H1_BAD_FIELD;
    return H1_OK;
}

static enum h1_error read_fields(struct reader *r, unsigned value_class, struct h1_head *head)
{
    for (unsigned lines = 0; r->at < r->end; lines++) {
        if (lines == H1_FIELDS_MAX)
            return H1_TOO_MANY_FIELDS;
        enum h1_error error = read_field(r, value_class, head);
        if (error)
            return error;
    }
    return H1_OK;
}

/* RFC 9110 section 5.3: only fields defined as lists may come more than once. */
static enum h1_error check_repeated(const struct h1_head *head)
{
    static const struct {
        enum h1_known field;
        enum h1_error error;
    } once[] = {
        {H1_HOST, H1_BAD_HOST},
        {H1_EXPECT, H1_BAD_EXPECT},
        {H1_AUTHORIZATION, H1_REPEATED_FIELD},
        {H1_X_API_KEY, H1_REPEATED_FIELD},
        {H1_API_KEY, H1_REPEATED_FIELD},
        {H1_CONTENT_TYPE, H1_REPEATED_FIELD},
    };

    for (size_t i = 0; i < ARRAY_LEN(once); i++) {
        if (head->repeated[once[i].field])
            return once[i].error;
    }
    return H1_OK;
}

/* RFC 9112 section 6.3, without its repairs: one length, said once, in one way. */
static enum h1_error read_framing(struct h1_head *head)
{
    struct str encoding = head->known[H1_TRANSFER_ENCODING];
    struct str length = head->known[H1_CONTENT_LENGTH];

    if (head->repeated[H1_TRANSFER_ENCODING])
        return H1_BAD_ENCODING;
    if (head->repeated[H1_CONTENT_LENGTH])
        return H1_BAD_LENGTH;
    if (encoding.p) {
        if (length.p || head->http10 || !h1_is_token(encoding))
            return H1_BAD_ENCODING;
        if (!str_eq_nocase(encoding, STR("chunked")))
            return H1_UNKNOWN_ENCODING;
        head->framing = H1_CHUNKED;
        return H1_OK;
    }
    if (!length.p)
        return H1_OK;
    if (length.n > H1_LENGTH_DIGITS_MAX || !str_to_u64(length, &head->content_length))
        return H1_BAD_LENGTH;
    head->framing = H1_SIZED;
    return H1_OK;
}

/* RFC 9110 section 10.1.1. An HTTP/1.0 client cannot mean it, and without a body nothing waits. */
static enum h1_error read_expect(struct h1_head *head)
{
    struct str expect = head->known[H1_EXPECT];
    bool has_body = head->framing == H1_CHUNKED || head->content_length > 0;

    if (!expect.p)
        return H1_OK;
    if (!h1_is_token(expect))
        return H1_BAD_EXPECT;
    if (!str_eq_nocase(expect, STR("100-continue")))
        return H1_UNKNOWN_EXPECT;
    head->expect_continue = has_body && !head->http10;
    return H1_OK;
}

static bool read_options(struct str list, bool *close, bool *keep)
{
    struct str option;

    while (str_split(&list, ',', &option)) {
        option = str_trim(option);
        if (option.n > 0 && !h1_is_token(option))
            return false;
        *close |= str_eq_nocase(option, STR("close"));
        *keep |= str_eq_nocase(option, STR("keep-alive"));
    }
    return true;
}

/* RFC 9112 section 9.3: close wins; then HTTP/1.1 stays, HTTP/1.0 only when asked to. */
static enum h1_error read_connection(struct h1_head *head)
{
    bool close = false, keep = false;

    if (!head->repeated[H1_CONNECTION]) {
        if (!read_options(head->known[H1_CONNECTION], &close, &keep))
            return H1_BAD_FIELD;
    } else {
        for (size_t i = 0; i < head->n_fields; i++) {
            if (known_of(head->fields[i].name) == H1_CONNECTION &&
                !read_options(head->fields[i].value, &close, &keep))
                return H1_BAD_FIELD;
        }
    }
    head->keep_alive = !close && (keep || !head->http10);
    return H1_OK;
}

static enum h1_error read_request(struct reader *r, struct h1_head *head)
{
    enum h1_error error = read_request_line(r, head);

    if (!error)
        error = read_fields(r, CLASS_VALUE, head);
    if (!error)
        error = check_repeated(head);
    if (!error)
        error = h1_read_host(head);
    if (!error)
        error = read_framing(head);
    if (!error)
        error = read_expect(head);
    if (!error)
        error = read_connection(head);
    return error;
}

/* RFC 9112 section 6.3, items 1, 2 and 8: who has no body whatever the fields say, and whose body
 * ends with the connection. */
static void settle_response(struct h1_head *head, bool is_head)
{
    if (is_head || head->status < 200 || head->status == 204 || head->status == 304) {
        head->framing = H1_NO_BODY;
        return;
    }
    if (head->framing != H1_NO_BODY)
        return;
    head->framing = H1_UNTIL_CLOSE;
    head->keep_alive = false;
}

static enum h1_error read_response(struct reader *r, struct h1_head *head, bool is_head)
{
    enum h1_error error = read_status_line(r, head);

    if (!error)
        error = read_fields(r, CLASS_VALUE | CLASS_OBS, head);
    if (!error)
        error = read_framing(head);
    if (!error)
        error = read_connection(head);
    if (!error)
        settle_response(head, is_head);
    return error;
}

/* Everything but fields[], of which only n_fields count. */
static void reset(struct h1_head *head)
{
    head->method = H1_OTHER;
    head->method_text = head->target = head->path = head->query = head->authority = STR_NONE;
    head->status = 0;
    head->http10 = head->keep_alive = head->expect_continue = false;
    head->framing = H1_NO_BODY;
    head->content_length = 0;
    head->n_fields = 0;
    memset(head->known, 0, sizeof(head->known));
    memset(head->repeated, 0, sizeof(head->repeated));
}

/* The head between start and *scanned has been found; gives its lines without the empty one. */
static struct reader begin(struct str in, size_t start, size_t *scanned, struct h1_head *head,
                           size_t *ret_used)
{
    *ret_used = *scanned;
    *scanned = 0;
    reset(head);
    return (struct reader){in.p + start, in.p + *ret_used - 2};
}

/* RFC 9112 section 2.2: an empty line before a request is skipped, for clients that send CRLF
 * behind a body. H1_MORE: cannot be told yet. */
static enum h1_result skip_empty_line(struct str in, size_t *ret_start)
{
    *ret_start = 0;
    if (in.n == 0)
        return H1_MORE;
    if (in.p[0] != '\r')
        return H1_DONE;
    if (in.n == 1)
        return H1_MORE;
    *ret_start = 2;
    return in.p[1] == '\n' ? H1_DONE : H1_BAD;
}

enum h1_result h1_parse_request(struct str in, size_t head_max, size_t *scanned,
                                struct h1_head *ret, size_t *ret_used, enum h1_error *ret_error)
{
    enum h1_result result;
    struct reader r;
    size_t start;

    ASSERT(head_max >= 2);
    *ret_error = H1_BAD_LINE;
    result = skip_empty_line(in, &start);
    if (result == H1_DONE)
        result = find_end(in, start, head_max, scanned, ret_error);
    if (result != H1_DONE)
        return result;
    r = begin(in, start, scanned, ret, ret_used);
    *ret_error = read_request(&r, ret);
    return *ret_error ? H1_BAD : H1_DONE;
}

/* NOLINTNEXTLINE(readability-function-size): the request's parameters and one more */
enum h1_result h1_parse_response(struct str in, size_t head_max, bool is_head, size_t *scanned,
                                 struct h1_head *ret, size_t *ret_used, enum h1_error *ret_error)
{
    enum h1_result result;
    struct reader r;

    *ret_error = H1_BAD_LINE;
    if (in.n == 0)
        return H1_MORE;
    result = find_end(in, 0, head_max, scanned, ret_error);
    if (result != H1_DONE)
        return result;
    r = begin(in, 0, scanned, ret, ret_used);
    *ret_error = read_response(&r, ret, is_head);
    return *ret_error ? H1_BAD : H1_DONE;
}

struct str h1_field(const struct h1_head *head, struct str name)
{
    for (size_t i = 0; i < head->n_fields; i++) {
        if (str_eq_nocase(head->fields[i].name, name))
            return head->fields[i].value;
    }
    return STR_NONE;
}

struct str h1_field_list(const struct h1_head *head, struct str name, struct arena *a)
{
    size_t most = 1, n = 0;
    for (size_t i = 0; i < head->n_fields; i++)
        if (str_eq_nocase(head->fields[i].name, name))
            most += head->fields[i].value.n + 1;
    char *all = arena_alloc(a, most);
    for (size_t i = 0; i < head->n_fields; i++) {
        struct str value = head->fields[i].value;
        if (!str_eq_nocase(head->fields[i].name, name))
            continue;
        if (value.n)
            memcpy(all + n, value.p, value.n);
        all[n + value.n] = ',';
        n += value.n + 1;
    }
    return str_of(all, n > 0 ? n - 1 : 0);
}
