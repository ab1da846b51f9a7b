"""What RFC 9113 and RFC 7541 say of a server, case by case, frame by frame, without TLS and over it. Each case
has its section: of RFC 9113, or of HPACK (RFC 7541) if an h stands before it."""
import json
import re
import shutil
import ssl
import struct
import tempfile
import threading

import harness
from harness import KEY, each_request
from http2 import (ACK, CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR,
                   FRAME_SIZE_ERROR, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE,
                   REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, Http2, Stream, block, frame,
                   request_fields)
from test_upstream_tls import Authority

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "hello"}]}).encode()
HOLD = BODY.replace(b"hello", b"hold")
MORE, LAST, OPEN = END_HEADERS, END_HEADERS | END_STREAM, 0
WITH_PRIORITY = 0x20
LARGEST = 0x7fffffff


def u32(n):
    return struct.pack(">I", n)


def fields(*pairs, method="GET", path="/livez", leave=(), **more):
    """A whole request's, but for those that are left out; pairs come last."""
    return block([f for f in request_fields(method, path, KEY, **more) if f[0] not in leave] + list(pairs))


GET = fields()
POST = fields(method="POST", path=CHAT, content_type="application/json")
TRAILER = block([("x-checksum", "1")])


def head(payload=GET, flags=LAST, stream=1):
    return frame(HEADERS, flags, stream, payload)


def data(payload=BODY, flags=END_STREAM, stream=1):
    return frame(DATA, flags, stream, payload)


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *p) for p in pairs))


def update(n, stream=0):
    return frame(WINDOW_UPDATE, 0, stream, u32(n))


def priority(stream, on=0, weight=15):
    return frame(PRIORITY, 0, stream, u32(on) + bytes([weight]))


def post(**more):
    return fields(method="POST", path=CHAT, content_type="application/json", **more)


HELD = head(POST, MORE) + data(HOLD)  # half closed by the client, and not answered

# What comes of it: a stream is answered; a stream is reset, and the connection goes on; the connection ends.


def served(stream=1):
    return "served", stream


def refused(code, stream=1):
    return "refused", code, stream


def reset(*codes, stream=1):
    return "reset", codes, stream


def ended(*codes):
    return "ended", codes


def read_frames(data):
    """Types and payloads."""
    while data:
        n = int.from_bytes(data[:3], "big")
        yield data[3], data[9:9 + n]
        data = data[9 + n:]


class Await:
    """Until the stream is answered."""

    def __init__(self, stream=1):
        self.stream = stream


CASES = [
    # --- starting, frames
    ("3.4", "settings come first and are acknowledged", [settings(), head()], served()),
    ("4.1", "unknown type", [frame(0x16, 0xff, 0, b"?" * 8), head()], served()),
    ("4.1", "undefined flags", [frame(PING, 0x16, 0, bytes(8)), head()], served()),
    ("4.1", "reserved bit", [frame(PING, 0, 1 << 31, bytes(8)), head()], served()),
    ("4.2", "largest frame", [head(POST, MORE), data(BODY.ljust(16384))], served()),
    ("4.2", "larger data", [head(POST, MORE), data(BODY.ljust(16385))], ended(FRAME_SIZE_ERROR)),
    ("4.2", "larger head", [head(GET + block([("a", "b" * 16384)]))], ended(FRAME_SIZE_ERROR)),
    ("4.2", "larger settings", [frame(SETTINGS, payload=bytes(6 * 2731))], ended(FRAME_SIZE_ERROR)),
    ("4.3", "a block that cannot be read", [head(b"\x40\x01")], ended(COMPRESSION_ERROR)),
    ("4.3", "priority within a block", [head(GET, END_STREAM), priority(1), frame(CONTINUATION, MORE, 1)],
     ended(PROTOCOL_ERROR)),
    ("4.3", "head within a block", [head(GET, END_STREAM), head(stream=3)], ended(PROTOCOL_ERROR)),
    # --- streams
    ("5.1", "idle: data", [data()], ended(PROTOCOL_ERROR)),
    ("5.1", "idle: reset", [frame(RST_STREAM, 0, 1, u32(CANCEL))], ended(PROTOCOL_ERROR)),
    ("5.1", "idle: window update", [update(1, 1)], ended(PROTOCOL_ERROR)),
    ("5.1", "idle: continuation", [frame(CONTINUATION, MORE, 1, GET)], ended(PROTOCOL_ERROR)),
    ("5.1", "idle: priority", [priority(1), head()], served()),
    ("5.1", "half closed: data", [HELD, data()], ended(STREAM_CLOSED)),
    ("5.1", "half closed: head", [HELD, head()], ended(STREAM_CLOSED)),
    ("5.1", "half closed: continuation", [HELD, frame(CONTINUATION, MORE, 1, GET)], ended(PROTOCOL_ERROR)),
    ("5.1", "half closed: window update", [head(GET), update(1, 1)], served()),
    ("5.1", "half closed: priority", [head(GET), priority(1)], served()),
    ("5.1", "half closed: reset", [HELD, frame(RST_STREAM, 0, 1, u32(CANCEL)), head(stream=3)], served(3)),
    ("5.1", "closed by a reset: data", [head(POST, MORE), frame(RST_STREAM, 0, 1, u32(CANCEL)), data()],
     ended(STREAM_CLOSED)),
    ("5.1", "closed by a reset: head", [head(POST, MORE), frame(RST_STREAM, 0, 1, u32(CANCEL)), head()],
     ended(STREAM_CLOSED)),
    ("5.1", "closed by a reset: continuation",
     [head(POST, MORE), frame(RST_STREAM, 0, 1, u32(CANCEL)), frame(CONTINUATION, MORE, 1, GET)],
     ended(PROTOCOL_ERROR)),
    ("5.1", "closed: data", [head(), Await(), data()], ended(STREAM_CLOSED)),
    ("5.1", "closed: head", [head(), Await(), head()], ended(STREAM_CLOSED)),
    ("5.1", "closed: continuation", [head(), Await(), frame(CONTINUATION, MORE, 1, GET)], ended(PROTOCOL_ERROR)),
    ("5.1", "closed: priority", [head(), Await(), priority(1), head(stream=3)], served(3)),
    ("5.1", "closed: window update", [head(), Await(), update(1, 1), head(stream=3)], served(3)),
    ("5.1", "closed: reset", [head(), Await(), frame(RST_STREAM, 0, 1, u32(CANCEL)), head(stream=3)], served(3)),
    ("5.1.1", "even id", [head(stream=2)], ended(PROTOCOL_ERROR)),
    ("5.1.1", "id below the last", [head(stream=5), Await(5), head(stream=3)], ended(PROTOCOL_ERROR, STREAM_CLOSED)),
    ("5.1.1", "ids left out", [head(stream=7), Await(7), head(stream=4001)], served(4001)),
    ("5.1.1", "the highest id", [head(stream=LARGEST)], served(LARGEST)),
    ("5.1.2", "more than at a time", [head(POST, MORE, 1), head(POST, MORE, 3), head(POST, MORE, 5)],
     reset(REFUSED_STREAM, stream=5)),
    ("5.3.1", "head that depends on itself", [head(u32(1) + b"\x0f" + GET, LAST | WITH_PRIORITY)],
     ended(PROTOCOL_ERROR)),
    ("5.3.1", "priority over itself", [priority(1, 1)], ended(PROTOCOL_ERROR)),
    ("5.3.2", "weights", [priority(1, 0, 0), priority(1, 0, 255), head()], served()),
    ("5.3.2", "exclusive", [priority(1, 1 << 31), head()], served()),
    ("5.3.2", "on a stream to come", [priority(3, 5), head(u32(7) + b"\xff" + GET, LAST | WITH_PRIORITY)], served()),
    ("5.4.1", "goaway before the end", [frame(PING, 0, 3, bytes(8))], ended(PROTOCOL_ERROR)),
    ("5.5", "unknown frame", [frame(0xee, 0, 0, b"extension"), head()], served()),
    ("5.5", "unknown frame of a stream", [head(POST, MORE), frame(0xee, 0, 1, b"extension"), data()], served()),
    ("5.5", "unknown frame within a block", [head(GET, END_STREAM), frame(0xee, 0, 1), frame(CONTINUATION, MORE, 1)],
     ended(PROTOCOL_ERROR)),
    ("5.5", "unknown setting", [settings((0xeeee, 1)), head()], served()),
    # --- DATA
    ("6.1", "data on stream 0", [data(stream=0)], ended(PROTOCOL_ERROR)),
    ("6.1", "data in pieces", [head(POST, MORE), data(BODY[:9], 0), data(BODY[9:], 0), data(b"")], served()),
    ("6.1", "padding", [head(POST, MORE), data(b"\x03" + BODY + bytes(3), END_STREAM | PADDED)], served()),
    ("6.1", "as much padding as payload", [head(POST, MORE), data(b"\x05" + bytes(5), PADDED), data()], served()),
    ("6.1", "more padding than payload", [head(POST, MORE), data(b"\x06" + bytes(5), PADDED)], ended(PROTOCOL_ERROR)),
    ("6.1", "padded and empty", [head(POST, MORE), data(b"", PADDED)], ended(PROTOCOL_ERROR, FRAME_SIZE_ERROR)),
    # --- HEADERS
    ("6.2", "head on stream 0", [head(stream=0)], ended(PROTOCOL_ERROR)),
    ("6.2", "padding", [head(b"\x03" + GET + bytes(3), LAST | PADDED)], served()),
    ("6.2", "padding and priority", [head(b"\x03" + u32(0) + b"\x0f" + GET + bytes(3), LAST | PADDED | WITH_PRIORITY)],
     served()),
    ("6.2", "more padding than payload", [head(b"\xff" + GET[:50], LAST | PADDED)], ended(PROTOCOL_ERROR)),
    ("6.2", "too short for its priority", [head(b"\0\0", LAST | WITH_PRIORITY)],
     ended(PROTOCOL_ERROR, FRAME_SIZE_ERROR)),
    # --- PRIORITY, RST_STREAM
    ("6.3", "priority on stream 0", [priority(0)], ended(PROTOCOL_ERROR)),
    ("6.3", "wrong length", [frame(PRIORITY, 0, 1, bytes(4))], ended(FRAME_SIZE_ERROR)),
    ("6.4", "reset on stream 0", [frame(RST_STREAM, 0, 0, u32(CANCEL))], ended(PROTOCOL_ERROR)),
    ("6.4", "wrong length", [head(POST, MORE), frame(RST_STREAM, 0, 1, bytes(3))], ended(FRAME_SIZE_ERROR)),
    # --- SETTINGS
    ("6.5", "acknowledgement with payload", [frame(SETTINGS, ACK, 0, bytes(6))], ended(FRAME_SIZE_ERROR)),
    ("6.5", "settings of a stream", [frame(SETTINGS, 0, 1)], ended(PROTOCOL_ERROR)),
    ("6.5", "wrong length", [frame(SETTINGS, 0, 0, bytes(5))], ended(FRAME_SIZE_ERROR)),
    ("6.5.2", "push neither on nor off", [settings((2, 2))], ended(PROTOCOL_ERROR)),
    ("6.5.2", "window above the largest", [settings((4, 1 << 31))], ended(FLOW_CONTROL_ERROR)),
    ("6.5.2", "frame size below the least", [settings((5, 16383))], ended(PROTOCOL_ERROR)),
    ("6.5.2", "frame size above the largest", [settings((5, 1 << 24))], ended(PROTOCOL_ERROR)),
    ("6.5.2", "all at their bounds", [settings((1, 0), (2, 0), (3, 0), (4, LARGEST), (5, 16777215), (6, 0)), head()],
     served()),
    ("6.5.2", "no table", [settings((1, 0)), head(), Await(), head(stream=3)], served(3)),
    ("6.5.2", "a table of any size", [settings((1, 0xffffffff)), head(), Await(), head(stream=3)], served(3)),
    ("6.5.3", "the last of two values", [settings((4, 0), (4, 65535)), head()], served()),
    # --- PUSH_PROMISE, PING, GOAWAY
    ("6.6", "push from a client", [head(POST, MORE), frame(PUSH_PROMISE, MORE, 1, u32(2) + GET)],
     ended(PROTOCOL_ERROR)),
    ("6.7", "unasked acknowledgement", [frame(PING, ACK, 0, bytes(8)), head()], served()),
    ("6.7", "ping of a stream", [frame(PING, 0, 1, bytes(8))], ended(PROTOCOL_ERROR)),
    ("6.7", "wrong length", [frame(PING, 0, 0, bytes(6))], ended(FRAME_SIZE_ERROR)),
    ("6.8", "goaway of a stream", [frame(GOAWAY, 0, 1, bytes(8))], ended(PROTOCOL_ERROR)),
    ("6.8", "goaway too short", [frame(GOAWAY, 0, 0, bytes(7))], ended(FRAME_SIZE_ERROR)),
    ("6.8", "goaway behind a request", [head(POST, MORE) + data(), frame(GOAWAY, 0, 0, bytes(8) + b"bye")],
     served()),
    # --- WINDOW_UPDATE and flow control
    ("6.9", "update by nothing", [update(0)], ended(PROTOCOL_ERROR)),
    ("6.9", "update of a stream by nothing", [head(POST, MORE), update(0, 1)], ended(PROTOCOL_ERROR)),
    ("6.9", "wrong length", [frame(WINDOW_UPDATE, 0, 0, bytes(3))], ended(FRAME_SIZE_ERROR)),
    ("6.9", "data beyond the window", [head(fields(method="POST", leave=("authorization",)), MORE),
                                       *[data(bytes(16384), 0)] * 5], reset(FLOW_CONTROL_ERROR)),
    ("6.9.1", "a window of one byte", [settings((4, 1)), head(), update(1 << 20, 1)], served()),
    ("6.9.1", "overflow", [update(LARGEST), update(LARGEST)], ended(FLOW_CONTROL_ERROR)),
    ("6.9.1", "overflow of a stream", [head(POST, MORE), update(LARGEST, 1), update(LARGEST, 1)],
     reset(FLOW_CONTROL_ERROR)),
    ("6.9.2", "windows change under a stream", [settings((4, 0)), head(), settings((4, 65535))], served()),
    ("6.9.2", "a window below zero", [settings((4, 9)), head(), settings((4, 2)), update(1 << 20, 1)], served()),
    # nghttp2 ends that stream, where it should end the connection
    ("6.9.2", "a change that overflows", [head(POST, MORE), update(LARGEST - 65535, 1), settings((4, 65536))],
     reset(FLOW_CONTROL_ERROR)),
    # --- CONTINUATION
    ("6.10", "a block in pieces", [head(GET[:9], END_STREAM), frame(CONTINUATION, 0, 1, GET[9:20]),
                                   frame(CONTINUATION, MORE, 1, GET[20:])], served()),
    ("6.10", "another frame within", [head(GET, END_STREAM), frame(CONTINUATION, 0, 1), data()],
     ended(PROTOCOL_ERROR)),
    ("6.10", "on stream 0", [head(GET, END_STREAM), frame(CONTINUATION, MORE, 0)], ended(PROTOCOL_ERROR)),
    ("6.10", "on another stream", [head(GET, END_STREAM), frame(CONTINUATION, MORE, 3)], ended(PROTOCOL_ERROR)),
    ("6.10", "behind the end of a head", [head(POST, MORE), frame(CONTINUATION, MORE, 1)], ended(PROTOCOL_ERROR)),
    ("6.10", "behind the end of a block", [head(POST, OPEN), frame(CONTINUATION, MORE, 1),
                                           frame(CONTINUATION, MORE, 1)], ended(PROTOCOL_ERROR)),
    ("6.10", "behind data", [head(POST, MORE), data(BODY, 0), frame(CONTINUATION, MORE, 1)], ended(PROTOCOL_ERROR)),
    # --- codes
    ("7", "unknown code of a reset", [HELD, frame(RST_STREAM, 0, 1, u32(0xff)), head(stream=3)], served(3)),
    ("7", "unknown code of goaway", [head(), frame(GOAWAY, 0, 0, u32(0) + u32(0xff))], served()),
    # --- messages
    ("8.1", "second head, not the last", [head(POST, MORE), head(TRAILER, MORE)], reset(PROTOCOL_ERROR)),
    ("8.1", "trailers, which are not taken", [head(POST, MORE), data(BODY, 0), head(TRAILER)],
     refused("bad_request")),
    ("8.1", "HEAD", [head(fields(method="HEAD"))], served()),
    ("8.1.1", "length above the body", [head(post(content_length=len(BODY) + 1), MORE), data()], reset(PROTOCOL_ERROR)),
    ("8.1.1", "length below the body", [head(post(content_length=len(BODY) - 1), MORE), data()], reset(PROTOCOL_ERROR)),
    ("8.1.1", "length of pieces", [head(post(content_length=5), MORE), data(b"123", 0), data(b"456")],
     reset(PROTOCOL_ERROR)),
    ("8.1.1", "length without a body", [head(post(content_length=5), LAST)], reset(PROTOCOL_ERROR)),
    ("8.1.1", "two lengths", [head(post(content_length=5) + block([("content-length", "5")]), MORE)],
     reset(PROTOCOL_ERROR)),
    ("8.1.1", "length that is no number", [head(post(content_length="+5"), MORE)], reset(PROTOCOL_ERROR)),
    ("8.2", "capital letters", [head(fields(("X-Test", "1")))], reset(PROTOCOL_ERROR)),
    ("8.2.1", "empty name", [head(fields(("", "1")))], reset(PROTOCOL_ERROR)),
    ("8.2.1", "colon in a name", [head(fields(("x:y", "1")))], reset(PROTOCOL_ERROR)),
    ("8.2.1", "space in a name", [head(fields(("x y", "1")))], reset(PROTOCOL_ERROR)),
    ("8.2.1", "NUL in a value", [head(fields(("x", "a\0b")))], reset(PROTOCOL_ERROR)),
    ("8.2.1", "line end in a value", [head(fields(("x", "a\r\ny: b")))], reset(PROTOCOL_ERROR)),
    ("8.2.1", "line end in a name", [head(fields(("x\r\ny", "b")))], reset(PROTOCOL_ERROR)),
    ("8.2.1", "line end in a path", [head(fields(path="/livez HTTP/1.1\r\nx: y"))], reset(PROTOCOL_ERROR)),
    *[("8.2.2", name, [head(fields((name, value)))], reset(PROTOCOL_ERROR)) for name, value in
      (("connection", "keep-alive"), ("keep-alive", "1"), ("proxy-connection", "close"),
       ("transfer-encoding", "chunked"), ("upgrade", "h2c"))],
    ("8.2.2", "te, but not trailers", [head(fields(("te", "trailers, deflate")))], reset(PROTOCOL_ERROR)),
    ("8.2.2", "te: trailers", [head(fields(("te", "trailers")))], served()),
    ("8.2.3", "cookies in pieces", [head(fields(("cookie", "a=b"), ("x", "y"), ("cookie", "c=d")))], served()),
    ("8.3", "unknown pseudo field", [head(block([(":test", "1")]) + GET)], reset(PROTOCOL_ERROR)),
    ("8.3", "pseudo field of an answer", [head(block([(":status", "200")]) + GET)], reset(PROTOCOL_ERROR)),
    ("8.3", "pseudo field behind another", [head(fields((":method", "GET"), leave=(":method",)))],
     reset(PROTOCOL_ERROR)),
    ("8.3", "pseudo field in a trailer", [head(POST, MORE), data(BODY, 0), head(block([(":method", "POST")]))],
     reset(PROTOCOL_ERROR)),
    ("8.3.1", "empty path", [head(fields(path=""))], reset(PROTOCOL_ERROR)),
    ("8.3.1", "path that is none", [head(fields(path="livez"))], reset(PROTOCOL_ERROR)),
    *[("8.3.1", f"no {name[1:]}", [head(fields(leave=(name,)))], reset(PROTOCOL_ERROR))
      for name in (":method", ":scheme", ":path")],
    *[("8.3.1", f"two of {name[1:]}", [head(block([(name, value)]) + GET)], reset(PROTOCOL_ERROR))
      for name, value in ((":method", "GET"), (":scheme", "http"), (":path", "/livez"), (":authority", "test"))],
    ("8.3.1", "host instead of authority", [head(fields(("host", "test"), leave=(":authority",)))], served()),
    ("8.3.1", "host unlike authority", [head(fields(("host", "other")))], refused("bad_request")),
    ("8.3.1", "neither", [head(fields(leave=(":authority",)))], reset(PROTOCOL_ERROR)),
    ("8.3.1", "authority with a user", [head(block([(":authority", "user@test")]) + fields(leave=(":authority",)))],
     refused("bad_request")),
    ("8.5", "connect", [head(block([(":method", "CONNECT"), (":authority", "test:443")]))],
     refused("method_not_allowed")),
    ("8.5", "connect with a path", [head(fields(method="CONNECT"))], reset(PROTOCOL_ERROR)),
    # --- HPACK
    ("h2.3.3", "index beyond the tables", [head(b"\xc0")], ended(COMPRESSION_ERROR)),
    ("h2.3.3", "index beyond the tables, behind good ones", [head(GET + b"\xfe")], ended(COMPRESSION_ERROR)),
    ("h2.3.3", "name beyond the tables", [head(GET + b"\x7f\x40\x01x")], ended(COMPRESSION_ERROR)),
    ("h4.2", "size behind a field", [head(GET + b"\x20")], ended(COMPRESSION_ERROR)),
    ("h5.1", "an integer without end", [head(b"\xff" + b"\x80" * 9)], ended(COMPRESSION_ERROR)),
    ("h5.1", "an integer too large", [head(b"\xff" + b"\xff" * 5 + b"\x7f")], ended(COMPRESSION_ERROR)),
    ("h5.2", "more padding than seven bits", [head(GET + b"\x00\x01x\x82\x07\xff")], ended(COMPRESSION_ERROR)),
    ("h5.2", "by Huffman's code", [head(GET + b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4")], served()),
    ("h5.2", "padding of zeros", [head(GET + b"\x00\x01x\x81\x00")], ended(COMPRESSION_ERROR)),
    ("h5.2", "end of string", [head(GET + b"\x00\x01x\x84\xff\xff\xff\xff")], ended(COMPRESSION_ERROR)),
    ("h5.2", "a string longer than its block", [head(GET + b"\x00\x01x\x7fabc")], ended(COMPRESSION_ERROR)),
    ("h6.1", "index 0", [head(GET + b"\x80")], ended(COMPRESSION_ERROR)),
    ("h6.1", "indexed", [head(b"\x82\x86" + fields(leave=(":method", ":scheme")))], served()),
    ("h6.2.1", "a field before the pseudo fields", [head(GET + b"\x40\x01x\x01y"), Await(), head(b"\xbe" + GET, stream=3)],
     reset(PROTOCOL_ERROR, stream=3)),
    ("h6.2.1", "indexing, and its use", [head(GET + b"\x40\x01x\x01y"), Await(), head(GET + b"\xbe", stream=3)],
     served(3)),
    ("h6.2.2", "without indexing", [head(GET + b"\x0f\x04\x01x" + b"\x00\x01x\x01y")], served()),
    ("h6.2.3", "never indexed", [head(GET + b"\x10\x01x\x01y" + b"\x1f\x04\x01x")], served()),
    ("h6.3", "a smaller table", [head(b"\x20\x3f\x01" + GET)], served()),
    ("h6.3", "a larger table", [head(b"\x3f\xe2\x1f" + GET)], ended(COMPRESSION_ERROR)),
]


class Cases(harness.TestCase):
    tls = None

    @classmethod
    def setUpClass(cls, **env):
        go_on = threading.Event()

        def answer(call):
            if b"hold" in call.body:
                go_on.wait(harness.DEADLINE)
            call.answer()

        upstream = cls.shared_upstream(each_request(answer))
        cls.addClassCleanup(go_on.set)
        cls.proxy_ = cls.shared_proxy(upstream, CCPROXY_H2_STREAMS=2, **env)

    def connect(self):
        client = Http2(self.proxy_.address, tls=self.tls)
        self.addCleanup(client.close)
        return client

    def check(self, steps, verdict):
        client = self.connect()
        client.streams = {stream: Stream() for stream in (1, 3, 5, 7, 4001, LARGEST)}
        for step in steps:
            if isinstance(step, Await):
                self.assertEqual(client.answer(step.stream).status, 200)
            else:
                client.send(step)
        getattr(self, f"assert_{verdict[0]}")(client, *verdict[1:])

    def assert_served(self, client, stream):
        self.assertEqual(client.answer(stream).status, 200, client.goaway)

    def assert_refused(self, client, code, stream):
        self.assertEqual(client.answer(stream).json()["error"]["code"], code)

    def assert_reset(self, client, codes, stream):
        client.until_true(lambda: client.streams[stream].error is not None)
        self.assertIn(client.streams[stream].error, codes)
        if FLOW_CONTROL_ERROR not in codes:
            self.assertIsNone(client.streams[stream].status)  # it may have been answered before its body was too long
        client.next_id = 101
        if client.streams[stream].error != REFUSED_STREAM:
            self.assertEqual(client.answer(client.ask()).status, 200)

    def assert_ended(self, client, codes):
        self.assertIn(client.sent_away(), codes)

    def test_3_4_a_preface_that_is_none(self):
        """It is HTTP/1.1, then, of a version that there is not."""
        client = self.client(self.proxy_)
        client.send(PREFACE.replace(b"SM", b"XX"))
        self.assertIn(b"HTTP/1.1 505 ", client.rest())

    def test_6_7_ping_is_answered_with_its_bytes(self):
        client = self.connect()
        client.send(frame(PING, payload=b"ping1234"))
        while True:
            kind, flags, _, payload = client.turn()
            if kind == PING:
                break
        self.assertEqual((flags, payload), (ACK, b"ping1234"))

    def test_6_5_3_settings_are_acknowledged_in_order(self):
        client = self.connect()
        client.send(settings((4, 1)) + settings((4, 2)) + frame(PING, payload=bytes(8)))
        seen = []
        while PING not in seen:
            kind, flags, _, _ = client.turn()
            if flags & ACK:
                seen.append(kind)
        self.assertEqual(seen.count(SETTINGS), 3)


class OverTls(Cases):
    """The same, behind a handshake."""

    @classmethod
    def setUpClass(cls, **env):
        files = tempfile.mkdtemp(prefix="ccproxy-e2e-")
        cls.addClassCleanup(shutil.rmtree, files)
        ca = Authority(files, "ours")
        cert, key = ca.issue("local", "DNS:localhost")
        cls.tls = ssl.create_default_context(cafile=ca.pem)
        cls.tls.set_alpn_protocols(["h2"])
        super().setUpClass(CCPROXY_TLS_CERT=cert, CCPROXY_TLS_KEY=key, **env)

    def test_3_4_a_preface_that_is_none(self):
        client = self.client(self.proxy_)
        client.sock = self.tls.wrap_socket(client.sock, server_hostname="localhost")
        client.send(PREFACE.replace(b"SM", b"XX"))
        *_, goaway = read_frames(client.rest())
        self.assertEqual(goaway, (GOAWAY, u32(0) + u32(PROTOCOL_ERROR)))


def add_tests():
    for section, what, steps, verdict in CASES:
        name = re.sub(r"\W+", "_", f"test_{section} {what}")
        assert not hasattr(Cases, name), name
        setattr(Cases, name, lambda self, s=steps, v=verdict: self.check(s, v))


add_tests()
