"""A raw HTTP/2 client over prior knowledge, frame by frame (RFC 9113): it keeps no rules but those that a
test wants kept. Heads are sent without compression and not read, but for a status that HPACK's static
table has."""
import json
import struct

from harness import KEY, Client, Gone

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
PRIORITY_UPDATE = 16
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0, 1, 3, 5, 6
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED = 7, 8, 9, 11, 13
INITIAL_WINDOW_SIZE = 4
STATUS = {0x88: 200, 0x89: 204, 0x8a: 206, 0x8b: 304, 0x8c: 400, 0x8d: 404, 0x8e: 500}


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def length(n):
    """HPACK's integer with a prefix of seven bits (RFC 7541 section 5.1)."""
    if n < 127:
        return bytes([n])
    out, n = bytes([127]), n - 127
    while n >= 128:
        out, n = out + bytes([n % 128 + 128]), n // 128
    return out + bytes([n])


def status_in(fields):
    """Of a block that begins with it, or with sizes for the table (RFC 7541 section 6.3)."""
    while fields[0] & 0xe0 == 0x20:
        more = fields[0] & 0x1f == 0x1f
        while more:
            fields, more = fields[1:], fields[1] & 0x80
        fields = fields[1:]
    return STATUS.get(fields[0])


def block(fields):
    """Literal fields that are not indexed."""
    out = b""
    for pair in fields:
        name, value = (x.encode() if isinstance(x, str) else x for x in pair)
        out += b"\x00" + length(len(name)) + name + length(len(value)) + value
    return out


def request_fields(method, path, key=KEY, **more):
    fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test")]
    if key:
        fields.append(("authorization", f"Bearer {key}"))
    return fields + [(k.replace("_", "-"), str(v)) for k, v in more.items()]


class Stream:
    def __init__(self):
        self.status, self.body, self.ended, self.error = None, b"", False, None

    def json(self):
        return json.loads(self.body)


class Http2(Client):
    """One connection, over TLS by a context. Windows of answers open as they are read, unless opens is false."""

    def __init__(self, address, window=65535, opens=True, tls=None, **kwargs):
        super().__init__(address, **kwargs)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.opens, self.next_id, self.streams = opens, 1, {}
        self.goaway = None  # (last stream, code)
        self.room = 65535  # of the connection, for what is sent
        self.send(PREFACE + frame(SETTINGS, payload=struct.pack(">HI", INITIAL_WINDOW_SIZE, window)))

    def open(self, method, path, body=None, ends=True, **fields):
        """Begins a request; returns its stream's id."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        last = ends and not body
        if body and ends:
            fields["content_length"] = len(body)
        stream = self.begin(block(request_fields(method, path, **fields)), last)
        if body:
            self.push(stream, body, ends)
        return stream

    def begin(self, head, ends=True):
        stream, self.next_id = self.next_id, self.next_id + 2
        self.streams[stream] = Stream()
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if ends else 0), stream, head))
        return stream

    def push(self, stream, body, ends=True):
        """A body that fits into the first windows."""
        for at in range(0, len(body), 16384):
            piece = body[at:at + 16384]
            self.send(frame(DATA, END_STREAM if ends and at + 16384 >= len(body) else 0, stream, piece))

    def ask(self, content="hello", stream=False, **fields):
        return self.open("POST", "/v1/chat/completions", {
            "model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": content}],
            "stream": stream}, content_type="application/json", **fields)

    def more(self, stream, n):
        self.send(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", n)))

    def reset_stream(self, stream, code=CANCEL):
        self.send(frame(RST_STREAM, 0, stream, struct.pack(">I", code)))

    def turn(self):
        """Reads one frame and acts on it; returns it."""
        head = self.exactly(9)
        kind, flags = head[3], head[4]
        stream = struct.unpack(">I", head[5:])[0]
        payload = self.exactly(int.from_bytes(head[:3], "big"))
        s = self.streams.get(stream)
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, payload=payload))
        elif kind == GOAWAY:
            self.goaway = struct.unpack(">II", payload[:8])
        elif kind == RST_STREAM and s:
            s.error = struct.unpack(">I", payload)[0]
        elif kind == HEADERS and s:
            s.status = status_in(payload)
        elif kind == DATA and s:
            s.body += payload
            if payload and self.opens:
                self.more(0, len(payload))
                if not flags & END_STREAM:
                    self.more(stream, len(payload))
        if s and kind in (HEADERS, DATA) and flags & END_STREAM:
            s.ended = True
        return kind, flags, stream, payload

    def until_true(self, condition):
        while not condition():
            self.turn()

    def answer(self, stream):
        """Waits for the end of a stream."""
        s = self.streams[stream]
        self.until_true(lambda: s.ended or s.error is not None)
        return s

    def until_text(self, stream, wanted):
        s = self.streams[stream]
        self.until_true(lambda: wanted.encode() in s.body)

    def sent_away(self):
        """Reads until the server closes; the code of its last GOAWAY."""
        try:
            while True:
                self.turn()
        except Gone:
            return self.goaway and self.goaway[1]
