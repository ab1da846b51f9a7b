/* h1.h - HTTP/1.1 heads and chunked bodies (RFC 9112), parsed strictly.
 *
 * A parser answers consumed, more or bad, and points into the input; nothing is allocated. A head
 * is re-scanned from its start when more bytes have come; it is bounded, and the caller remembers
 * how far the end was looked for. What the RFC lets a recipient repair (bare LF, folding, white
 * space before a colon, two equal lengths) is refused: a gateway that guesses is how requests are
 * smuggled.
 */
#ifndef CCPROXY_WIRE_H1_H
#define CCPROXY_WIRE_H1_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

enum {
    H1_FIELDS_MAX = 100, /* field lines in a head, dropped ones included */
    H1_METHOD_MAX = 16,
    H1_LENGTH_DIGITS_MAX = 15,
    H1_CHUNK_DIGITS_MAX = 8,
    H1_EXTENSION_MAX = 256,   /* bytes of extensions in one chunk, from its first ';' */
    H1_EXTENSIONS_MAX = 4096, /* in all chunks of a body */
    H1_TRAILER_MAX = 4096,    /* bytes of trailer field lines, line ends included */
    H1_TRAILER_LINES_MAX = 16,
    H1_TRAILER_NAME_KEPT = 24, /* longer than any name that a trailer may not have */
};

/* Fields that are looked up by more than one reader have a slot of their own. */
#define H1_KNOWN_FIELDS(X)                                                                         \
    X(API_KEY, "api-key")                                                                          \
    X(AUTHORIZATION, "authorization")                                                              \
    X(CONNECTION, "connection")                                                                    \
    X(CONTENT_ENCODING, "content-encoding")                                                        \
    X(CONTENT_LENGTH, "content-length")                                                            \
    X(CONTENT_TYPE, "content-type")                                                                \
    X(EXPECT, "expect")                                                                            \
    X(HOST, "host")                                                                                \
    X(RETRY_AFTER, "retry-after")                                                                  \
    X(RETRY_AFTER_MS, "retry-after-ms")                                                            \
    X(REQUEST_ID, "request-id")                                                                    \
    X(TRANSFER_ENCODING, "transfer-encoding")                                                      \
    X(X_API_KEY, "x-api-key")                                                                      \
    X(X_REQUEST_ID, "x-request-id")                                                                \
    X(X_SHOULD_RETRY, "x-should-retry")

enum h1_known {

#define X(id, name) H1_##id,
    H1_KNOWN_FIELDS(X)
#undef X
        H1_KNOWN_COUNT
};

struct h1_field {
    struct str name, value; /* value without surrounding white space */
};

enum h1_method { H1_GET, H1_HEAD, H1_POST, H1_OPTIONS, H1_OTHER };

enum h1_framing {
    H1_NO_BODY,
    H1_SIZED, /* content-length bytes follow */
    H1_CHUNKED,
    H1_UNTIL_CLOSE, /* responses only */
};

struct h1_head {
    enum h1_method method; /* requests */
    struct str method_text;
    struct str target;    /* as written */
    struct str path;      /* the target's path, percent-escapes as written; "*" for OPTIONS * */
    struct str query;     /* behind the '?', or absent */
    struct str authority; /* of an absolute-form target, else of Host */
    int status;           /* responses */
    bool http10;
    bool keep_alive; /* after version and Connection */
    bool expect_continue;
    enum h1_framing framing;
    uint64_t content_length;
    struct h1_field fields[H1_FIELDS_MAX];
    size_t n_fields;
    struct str known[H1_KNOWN_COUNT]; /* absent when not sent */
    bool repeated[H1_KNOWN_COUNT];    /* sent more than once (the first value is kept) */
};

/* Why a head or body was refused; the row in proxy/fail.def gives the status and the words. */
enum h1_error {
    H1_OK,
    H1_BAD_LINE,    /* request or status line */
    H1_BAD_VERSION, /* not HTTP/1.0 or HTTP/1.1: 505 */
    H1_BAD_METHOD,  /* not a token, or over 16 bytes */
    H1_BAD_TARGET,
    H1_BAD_FIELD, /* name, colon, value, folding, line end */
    H1_BAD_HOST,  /* missing, repeated, malformed, or unlike an absolute target */
    H1_BAD_LENGTH,
    H1_BAD_ENCODING,     /* transfer-encoding with anything odd about it */
    H1_UNKNOWN_ENCODING, /* a well-formed coding other than chunked: 501 */
    H1_BAD_EXPECT,       /* repeated or obfuscated */
    H1_UNKNOWN_EXPECT,   /* well-formed, not 100-continue: 417 */
    H1_REPEATED_FIELD,   /* a field that must come once, such as authorization */
    H1_TOO_MANY_FIELDS,  /* 431 */
    H1_HEAD_TOO_LONG,    /* 431 */
    H1_BAD_CHUNK,
    H1_BODY_TOO_LONG, /* 413 */
};

enum h1_result { H1_DONE, H1_MORE, H1_BAD };

/* Parses the request head at the start of in, which may be at most head_max bytes long. On H1_DONE
 * *ret_used is its length. On H1_BAD *ret_error says why. Leading empty lines (CRLF) are skipped,
 * at most one. *scanned starts at 0 for a new head and is kept by the caller between calls; it is 0
 * again after H1_DONE. Fields with '_' in their name are checked and dropped, as nobody may mistake
 * them for the ones with '-'; those that look like framing or credentials are refused.
 * expect_continue is set only when a body follows. Whether content_length is too much is for the
 * caller to say. */
enum h1_result h1_parse_request(struct str in, size_t head_max, size_t *scanned,
                                struct h1_head *ret, size_t *ret_used, enum h1_error *ret_error);

/* The same for a response, without leading empty lines. is_head: the request was HEAD, so no body
 * follows. 1xx heads are returned like others; the caller skips them. keep_alive is false for
 * H1_UNTIL_CLOSE. */
enum h1_result h1_parse_response(struct str in, size_t head_max, bool is_head, size_t *scanned,
                                 struct h1_head *ret, size_t *ret_used, enum h1_error *ret_error);

/* The first field of that name (any case), or absent. */
struct str h1_field(const struct h1_head *head, struct str name);
/* A list that may come in several fields: all values, with commas between them. */
struct str h1_field_list(const struct h1_head *head, struct str name, struct arena *a);

/* Decoder of a chunked body (RFC 9112 section 7.1). Extensions and trailer are checked and dropped.
 */
struct h1_chunked {
    enum {
        CHUNK_SIZE,
        CHUNK_EXT_NAME,
        CHUNK_EXT_VALUE,
        CHUNK_EXT_QUOTED,
        CHUNK_EXT_ESCAPE, /* behind a backslash in a quoted value */
        CHUNK_EXT_END,    /* behind the closing quote */
        CHUNK_SIZE_LF,
        CHUNK_DATA,
        CHUNK_DATA_CR,
        CHUNK_DATA_LF,
        CHUNK_TRAILER, /* at the start of a trailer line */
        CHUNK_TRAILER_NAME,
        CHUNK_TRAILER_VALUE,
        CHUNK_TRAILER_LF,
        CHUNK_END_LF,
        CHUNK_END,
        CHUNK_BAD,
    } state;

    uint64_t left;       /* of the current chunk */
    uint64_t total;      /* of data so far */
    unsigned digits;     /* of the size being read */
    unsigned part;       /* bytes in the extension name or value being read */
    unsigned extension;  /* bytes of extension in this chunk */
    unsigned extensions; /* in all chunks */
    unsigned trailer;    /* bytes */
    unsigned trailer_lines;
    unsigned name_n;
    char name[H1_TRAILER_NAME_KEPT]; /* of the trailer field, without '-' and '_', cut */
};

void h1_chunked_init(struct h1_chunked *c);

/* Decodes from in: *ret_used bytes were consumed, of which *ret_data (a span inside in, possibly
 * empty) is body. H1_MORE: call again with the rest, or with more; H1_DONE: the last chunk and the
 * trailer have been read; H1_BAD: close the connection. Any call with input makes progress. */
enum h1_result h1_chunked_next(struct h1_chunked *c, struct str in, size_t *ret_used,
                               struct str *ret_data);

/* Writers. All return false, with nothing written, when out is full. Values are asserted to be free
 * of CR, LF and NUL. */
bool h1_write_request_line(struct buf *out, struct str method, struct str path);
bool h1_write_status_line(struct buf *out, int status);
bool h1_write_field(struct buf *out, struct str name, struct str value);
bool h1_write_field_u64(struct buf *out, struct str name, uint64_t value);
bool h1_write_chunk(struct buf *out, struct str data); /* data may not be empty */
const char *h1_reason(int status);

/* Whether a name, or another token, and a value may stand in a field line (RFC 9110 section 5.6.2): not empty;
 * no control characters but HTAB. */
bool h1_is_token(struct str s);
bool h1_is_field_value(struct str s);

#endif
