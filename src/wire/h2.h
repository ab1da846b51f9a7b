/* h2.h - the preface of HTTP/2 and the heads of its frames (RFC 9113 sections 3.4 and 4.1).
 *
 *   24 bytes of preface | 9 bytes: length, type, flags, stream | length bytes | 9 bytes ...
 *
 * nghttp2 reads the frames; here they are only walked, so that what they cost is counted before
 * they are read. Pure; nothing is allocated.
 */
#ifndef CCPROXY_WIRE_H2_H
#define CCPROXY_WIRE_H2_H

#include "base/str.h"

#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum { H2_FRAME_HEAD = 9, H2_PREFACE_LEN = sizeof(H2_PREFACE) - 1 };

enum h2_type {
    H2_DATA,
    H2_HEADERS,
    H2_PRIORITY,
    H2_RST_STREAM,
    H2_SETTINGS,
    H2_PUSH_PROMISE,
    H2_PING,
    H2_GOAWAY,
    H2_WINDOW_UPDATE,
    H2_CONTINUATION,
    H2_PRIORITY_UPDATE = 0x10, /* RFC 9218 section 7.1 */
};

enum { H2_END_STREAM = 1, H2_END_HEADERS = 4 };

struct h2_frame {
    uint32_t length, stream;
    uint8_t type, flags;
};

/* Where a connection's bytes stand between frames. */
struct h2_walk {
    uint32_t left; /* bytes until the next head */
    uint32_t have; /* bytes of that head */
    unsigned char head[H2_FRAME_HEAD];
};

/* Whether bytes from the start of a connection are the preface; MAYBE: there are too few yet. */
enum h2_preface { H2_NOT, H2_MAYBE, H2_YES };

enum h2_preface h2_preface(struct str in);

void h2_walk_init(struct h2_walk *w); /* the preface is still to come */

/* The next frame whose head is complete within in from *at on; *at is then behind that head. False
 * when there is none: *at is in.n. */
bool h2_walk_next(struct h2_walk *w, struct str in, size_t *at, struct h2_frame *ret);

#endif
