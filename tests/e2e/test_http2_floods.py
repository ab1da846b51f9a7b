"""HTTP/2 floods: each costs its client the connection, is counted and logged, leaves the worker its memory
and the upstream in peace, and meanwhile others are served. Reasons are those of ccproxy_http2_floods_total."""
import contextlib
import select
import struct
import threading

import harness
from harness import Gone, each_request, message_start, text_delta, text_events, text_start, until
from http2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, GOAWAY, HEADERS,
                   INITIAL_WINDOW_SIZE, PADDED, PING, PRIORITY, PRIORITY_UPDATE, PROTOCOL_ERROR, RST_STREAM, SETTINGS,
                   STREAM_CLOSED, WINDOW_UPDATE, FRAME_SIZE_ERROR, Http2, block, frame, request_fields)
from test_metrics import Page

CHAT = "/v1/chat/completions"
RUDE = "sk-rude-0123456789abcdef"
GET = block(request_fields("GET", "/v1/models", RUDE))
POST = block(request_fields("POST", CHAT, RUDE, content_type="application/json"))
MORE = END_HEADERS
LAST = END_HEADERS | END_STREAM
GROWTH_KB = 16 * 1024
LARGEST = 0x7fffffff


def u32(n):
    return struct.pack(">I", n)


def stream_of(i):
    return 2 * i + 1


def headers(i, flags, fields):
    return frame(HEADERS, flags, stream_of(i), fields)


def with_body(i, *then):
    """A request that waits for its body, and what comes instead of it."""
    return headers(i, MORE, POST) + b"".join(then)


def after(i, first, then):
    """What begins with one frame and goes on with others."""
    return (first if i == 0 else b"") + then


# What the i-th piece of each flood is, why its connection ends (None: by a rule of the protocol, at once), and the code
# of the GOAWAY.
FLOODS = {
    "rapid_reset": (lambda i: headers(i, LAST, GET) + frame(RST_STREAM, 0, stream_of(i), u32(8)),
                    "resets", ENHANCE_YOUR_CALM),
    "rapid_reset_of_chats": (lambda i: with_body(i, frame(DATA, END_STREAM, stream_of(i), b"{}"),
                                                 frame(RST_STREAM, 0, stream_of(i), u32(8))),
                             "resets", ENHANCE_YOUR_CALM),
    "reset_before_the_body": (lambda i: with_body(i, frame(RST_STREAM, 0, stream_of(i), u32(8))),
                              "resets", ENHANCE_YOUR_CALM),
    "too_many_streams": (with_body, "resets", ENHANCE_YOUR_CALM),
    "made_to_reset_by_an_overflow": (lambda i: with_body(i, frame(WINDOW_UPDATE, 0, stream_of(i), u32(LARGEST))),
                                     "resets", ENHANCE_YOUR_CALM),
    "made_to_reset_by_a_length": (lambda i: headers(i, LAST, block(request_fields("GET", "/", content_length=5))),
                                  "resets", ENHANCE_YOUR_CALM),
    "made_to_reset_by_a_field": (lambda i: headers(i, LAST, GET + block([("Upper", "x")])),
                                 "resets", ENHANCE_YOUR_CALM),
    "made_to_reset_by_no_path": (lambda i: headers(i, LAST, block([(":method", "GET")])),
                                 "resets", ENHANCE_YOUR_CALM),
    "empty_heads": (lambda i: headers(i, LAST, b""), "resets", ENHANCE_YOUR_CALM),
    "update_by_nothing": (lambda i: with_body(i, frame(WINDOW_UPDATE, 0, stream_of(i), u32(0))),
                          None, PROTOCOL_ERROR),
    "data_behind_the_end": (lambda i: headers(i, LAST, GET) + frame(DATA, 0, stream_of(i), b"x"),
                            None, STREAM_CLOSED),
    "priority_of_wrong_length": (lambda i: frame(PRIORITY, 0, stream_of(i), b"1234"), None, FRAME_SIZE_ERROR),
    "priority_over_itself": (lambda i: frame(PRIORITY, 0, stream_of(i), u32(stream_of(i)) + b"\x01"),
                             None, PROTOCOL_ERROR),
    "continuation": (lambda i: after(i, headers(0, 0, GET), frame(CONTINUATION, 0, 1, block([("a", "b" * 99)]))),
                     "continuation", ENHANCE_YOUR_CALM),
    "empty_continuation": (lambda i: after(i, headers(0, 0, GET), frame(CONTINUATION, 0, 1)),
                           "continuation", ENHANCE_YOUR_CALM),
    "endless_head": (lambda i: frame(CONTINUATION if i else HEADERS, 0, 1, block([("a", "b" * 16000)])),
                     "head", ENHANCE_YOUR_CALM),
    "ping": (lambda i: frame(PING, payload=b"12345678"), "control", ENHANCE_YOUR_CALM),
    "settings": (lambda i: frame(SETTINGS, payload=struct.pack(">HI", 1, 4096 + i)), "control", ENHANCE_YOUR_CALM),
    "windows_of_all_streams": (lambda i: after(i, b"".join(headers(n, MORE, POST) for n in range(50)),
                                               frame(SETTINGS, payload=struct.pack(">HI", INITIAL_WINDOW_SIZE, i % 2))),
                               "control", ENHANCE_YOUR_CALM),
    "settings_of_many_entries": (lambda i: frame(SETTINGS, payload=33 * struct.pack(">HI", 1, 4096)),
                                 None, ENHANCE_YOUR_CALM),
    "goaway": (lambda i: frame(GOAWAY, payload=bytes(8)), "control", ENHANCE_YOUR_CALM),
    "empty_data": (lambda i: after(i, headers(0, MORE, POST), frame(DATA, 0, 1)), "empty", ENHANCE_YOUR_CALM),
    "padding": (lambda i: after(i, headers(0, MORE, POST), frame(DATA, PADDED, 1, b"\x09" + bytes(9))),
                "empty", ENHANCE_YOUR_CALM),
    "window_update": (lambda i: frame(WINDOW_UPDATE, 0, 0, u32(1)), "updates", ENHANCE_YOUR_CALM),
    "window_update_of_a_stream": (lambda i: after(i, headers(0, MORE, POST), frame(WINDOW_UPDATE, 0, 1, u32(1))),
                                  "updates", ENHANCE_YOUR_CALM),
    "window_overflow": (lambda i: frame(WINDOW_UPDATE, 0, 0, u32(LARGEST)), None, FLOW_CONTROL_ERROR),
    "priority": (lambda i: frame(PRIORITY, 0, stream_of(i), u32(0) + b"\x10"), "priority", ENHANCE_YOUR_CALM),
    "priority_update": (lambda i: frame(PRIORITY_UPDATE, 0, 0, u32(1) + b"u=1"), "priority", ENHANCE_YOUR_CALM),
    "unknown_frames": (lambda i: frame(0x20 + i % 100, 0, 0, b"what?"), "glitches", ENHANCE_YOUR_CALM),
}


class Bystander:
    """Asks on, over HTTP/2 and HTTP/1.1, until the end of its block; every answer must be good."""

    def __init__(self, proxy):
        self.proxy, self.over, self.served, self.error = proxy, threading.Event(), 0, None
        self.thread = threading.Thread(target=self.run)

    def ask_on(self, new, old):
        while not self.over.is_set() or self.served < 2:
            answer = new.answer(new.ask())
            old.chat()
            if answer.status != 200 or old.response().status != 200:
                raise AssertionError(f"{answer.status} {answer.body}")
            self.served += 2

    def run(self):
        try:
            with contextlib.closing(Http2(self.proxy.address)) as new, contextlib.closing(self.proxy.client()) as old:
                self.ask_on(new, old)
        except Exception as e:  # raised where the block ends
            self.error = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        if self.error:
            raise self.error


class Case(harness.TestCase):
    def begin(self, script=each_request(lambda call: call.answer()), **env):
        """A proxy that has done all that it does once."""
        self.up = self.upstream(script)
        self.to = self.proxy(self.up, CCPROXY_API_KEYS=f"tester:{harness.KEY},rude:{RUDE}", **env)
        with Bystander(self.to) as bystander:
            pass
        self.warm = bystander.served
        self.worker = self.to.workers()[0]
        self.before_kb = harness.memory_kb(self.worker)

    def assert_unharmed(self):
        """The same worker, which was never much larger."""
        self.assertEqual(self.to.workers(), [self.worker])
        if not harness.is_sanitized():
            self.assertLess(harness.memory_kb(self.worker, "VmHWM") - self.before_kb, GROWTH_KB)

    def http2(self, **kwargs):
        client = Http2(self.to.address, **kwargs)
        self.addCleanup(client.close)
        return client


class Floods(Case):
    CONNECTIONS = 20

    def pour(self, piece):
        """Until no more is taken; nothing is read."""
        with contextlib.closing(Http2(self.to.address)) as client, contextlib.suppress(Gone):
            for at in range(0, 50000, 500):
                client.send(b"".join(piece(i) for i in range(at, at + 500)))
            self.fail("all of it was taken")

    def enough(self, piece, why):
        """So much that its client is sent away, and so little that it lives to read that."""
        count = {"glitches": 1100, "priority": 150, "head": 6}.get(why, 220)
        client = self.http2()
        with contextlib.suppress(Gone):
            client.send(b"".join(piece(i) for i in range(count)))
        return client.sent_away()

    def assert_told(self, why):
        """What is wrong and makes the server reset may have come in such numbers before the first reset went out that
        this is the reason."""
        if not why:
            return
        reasons = (why, "glitches") if why == "resets" else (why,)
        self.to.wait_log("connection ended", 1 + self.CONNECTIONS)
        for line in self.to.logs("connection ended"):
            self.assertIn(line["flood"], reasons)
            self.assertEqual((line["level"], line["protocol"], line["address"]), ("warn", "HTTP/2", "127.0.0.1"))
        page = Page(self.to)
        self.assertEqual(sum(page.sum("ccproxy_http2_floods_total", flood=reason) for reason in reasons),
                         1 + self.CONNECTIONS)

    def check(self, piece, why, code):
        self.begin()
        with Bystander(self.to) as bystander:
            self.assertEqual(self.enough(piece, why), code)
            for _ in range(self.CONNECTIONS):
                self.pour(piece)
        self.assert_told(why)
        self.assertEqual(len(self.up.requests), self.warm + bystander.served)
        self.assert_unharmed()


def add_tests():
    for name, flood in FLOODS.items():
        setattr(Floods, f"test_{name}", lambda self, flood=flood: self.check(*flood))


add_tests()
