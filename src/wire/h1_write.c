/* h1_write.c - the lines and chunks that we send. Each call writes its piece whole or not at all.
 *
 * What is written comes from our own tables and was checked on its way in; a CR, LF or NUL in it
 * would be our bug, hence the assertions.
 */
#include "base/text.h"
#include "wire/h1_int.h"

static bool is_path(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!(class_of(s.p[i]) & CLASS_TARGET))
            return false;
    }
    return s.n > 0;
}

static bool write_parts(struct buf *out, const struct str *parts, size_t n_parts)
{
    size_t n = 0;
    char *p;

    for (size_t i = 0; i < n_parts; i++)
        n += parts[i].n;
    p = buf_reserve(out, n);
    if (!p)
        return false;
    for (size_t i = 0; i < n_parts; i++) {
        if (parts[i].n)
            memcpy(p, parts[i].p, parts[i].n);
        p += parts[i].n;
    }
    buf_commit(out, n);
    return true;
}

bool h1_write_request_line(struct buf *out, struct str method, struct str path)
{
    const struct str parts[] = {method, STR(" "), path, STR(" HTTP/1.1\r\n")};

    ASSERT(h1_is_token(method) && is_path(path));
    return write_parts(out, parts, ARRAY_LEN(parts));
}

bool h1_write_status_line(struct buf *out, int status)
{
    char digits[TEXT_U64];
    const struct str parts[] = {STR("HTTP/1.1 "),
                                str_of(digits, text_u64((uint64_t)status, digits)), STR(" "),
                                str_c(h1_reason(status)), STR("\r\n")};

    ASSERT(status >= 100 && status <= 599);
    return write_parts(out, parts, ARRAY_LEN(parts));
}

/* By hand: a reply has twenty of them. */
bool h1_write_field(struct buf *out, struct str name, struct str value)
{
    size_t n = name.n + value.n + 4;
    char *p = buf_reserve(out, n);

    ASSERT(name.n > 0 && h1_is_field_value(value)); /* names are constants */
    if (!p)
        return false;
    p = str_copy(p, name);
    *p++ = ':';
    *p++ = ' ';
    p = str_copy(p, value);
    *p++ = '\r';
    *p = '\n';
    buf_commit(out, n);
    return true;
}

bool h1_write_field_u64(struct buf *out, struct str name, uint64_t value)
{
    char digits[TEXT_U64];

    return h1_write_field(out, name, str_of(digits, text_u64(value, digits)));
}

bool h1_write_chunk(struct buf *out, struct str data)
{
    char size[24];
    int n = snprintf(size, sizeof(size), "%zx\r\n", data.n);
    const struct str parts[] = {str_of(size, (size_t)n), data, STR("\r\n")};

    ASSERT(data.n > 0); /* an empty chunk would end the body */
    return write_parts(out, parts, ARRAY_LEN(parts));
}

const char *h1_reason(int status)
{
    switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 411: return "Length Required";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 424: return "Failed Dependency";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 529: return "Overloaded";
    default: return "Unknown";
    }
}
