"""What HTTP/2 lets a client do to a server, done to ours (CVE numbers in docs/http2.md): the attacker is
sent away, the worker's memory stays where it was within 16 MiB, and a bystander on the same worker gets
every answer meanwhile."""
import contextlib
import struct
import threading

import harness
from harness import (KEY, Gone, each_request, message_start, sse, text_delta, text_events, text_start,
                     until)
from http2 import (CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS,
                   PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, Http2, block, frame, length,
                   request_fields)
from test_metrics import Page

MOST = 16 << 20
ATTACKER = "sk-of-an-attacker-0123456789"
KEYS = f"tester:{KEY},attacker:{ATTACKER}"
FLOW_CONTROL_ERROR, STREAM_CLOSED = 3, 5
GET = block(request_fields("GET", "/livez"))
POST = block(request_fields("POST", "/v1/chat/completions", key=ATTACKER))
UNKNOWN = 0x77


def ids():
    return range(1, 1 << 31, 2)


def rapid_reset():
    for stream in ids():
        yield (frame(HEADERS, END_HEADERS | END_STREAM, stream, POST) +
               frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))


def resets_that_we_make():
    """CVE-2025-8671: a window that overflows is an error of the stream."""
    for stream in ids():
        yield (frame(HEADERS, END_HEADERS, stream, POST) +
               frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", (1 << 31) - 1)))


def bodies_unlike_their_length():
    for stream in ids():
        yield (frame(HEADERS, END_HEADERS, stream, block(request_fields(
            "POST", "/v1/chat/completions", key=ATTACKER, content_length=1))) +
               frame(DATA, END_STREAM, stream, b"more"))


def again(data):
    def flood():
        while True:
            yield data
    return flood


def header_block(piece):
    """One that never ends, in pieces."""
    def flood():
        yield frame(HEADERS, END_STREAM, 1, GET)
        while True:
            yield frame(CONTINUATION, 0, 1, piece)
    return flood


def open_stream_then(data):
    def flood():
        yield frame(HEADERS, END_HEADERS, 1, POST)
        while True:
            yield data
    return flood


def behind_the_end():
    for stream in ids():
        yield frame(HEADERS, END_HEADERS | END_STREAM, stream, GET)
        yield frame(DATA, END_STREAM, stream, b"more")


FLOODS = {
    "resets": (rapid_reset, "resets"),
    "resets_that_we_make": (resets_that_we_make, "resets"),
    "bodies_unlike_their_length": (bodies_unlike_their_length, "resets"),
    "ping": (again(frame(PING, payload=b"12345678")), "control"),
    "settings": (again(frame(SETTINGS)), "control"),
    "settings_full": (again(frame(SETTINGS, payload=struct.pack(">HI", 1, 0) * 30)), "control"),
    "goaway": (open_stream_then(frame(GOAWAY, payload=bytes(8))), "control"),
    "empty_continuations": (header_block(b""), "continuation"),
    "small_continuations": (header_block(block([("a", "b")])), "continuation"),
    "large_continuations": (header_block(block([("a", "b" * 16000)])), "head"),
    "empty_data": (open_stream_then(frame(DATA, 0, 1)), "empty"),
    "padding": (open_stream_then(frame(DATA, 8, 1, bytes([255]) + bytes(255))), "empty"),
    "window_updates": (open_stream_then(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1))), "updates"),
    "window_updates_of_all": (again(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1))), "updates"),
    "priority": (again(frame(PRIORITY, 0, 1, struct.pack(">IB", 3, 7))), "priority"),
    "unknown_frames": (again(frame(UNKNOWN, 0, 0, b"what")), "glitches"),
    "behind_the_end": (behind_the_end, "closed"),
}


class Worker:
    """Private memory of the only worker: the most of it since this was made."""

    def __init__(self, proxy):
        self.pid = proxy.workers()[0]
        self.over, self.most, self.first = threading.Event(), 0, self.private()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def private(self):
        with open(f"/proc/{self.pid}/smaps_rollup") as f:
            return sum(int(line.split()[1]) * 1024 for line in f if line.startswith("Private"))

    def watch(self):
        while not self.over.wait(0.005):
            self.most = max(self.most, self.private())

    def grown(self):
        self.over.set()
        self.thread.join()
        return max(self.most, self.private()) - self.first


class Bystander:
    """Asks one thing after the other on a connection of its own; counts what it got."""

    def __init__(self, proxy):
        self.over, self.answers, self.failures = threading.Event(), 0, []
        self.thread = threading.Thread(target=self.ask, args=(proxy,), daemon=True)
        self.thread.start()

    def ask(self, proxy):
        with contextlib.closing(proxy.client()) as client:
            while not self.over.is_set():
                try:
                    client.chat()
                    response = client.response()
                except (Gone, OSError) as e:
                    self.failures.append(e)
                    return
                if response.status != 200:
                    self.failures.append(response.body)
                self.answers += 1

    def end(self):
        self.over.set()
        self.thread.join()


class Case(harness.TestCase):
    def under_attack(self, proxy, attack, times=10):
        """Runs attack() that often, and until the bystander has been served, between what is measured."""
        self.assertEqual(proxy.chat().status, 200)  # what one request needs is there already
        worker, bystander = Worker(proxy), Bystander(proxy)
        while times > 0 or (bystander.answers < 3 and not bystander.failures):
            attack()
            times -= 1
        bystander.end()
        self.assertEqual(bystander.failures, [])
        self.assertLessEqual(worker.grown(), MOST)


class Floods(Case):
    @classmethod
    def setUpClass(cls):
        cls.proxy_ = cls.shared_proxy(cls.shared_upstream(each_request(lambda call: call.answer())),
                                     CCPROXY_API_KEYS=KEYS)

    def flood(self, make):
        """Sends until it is sent away; the code that it was told, None when that was lost."""
        client = Http2(self.proxy_.address)
        with contextlib.closing(client):
            with contextlib.suppress(Gone):
                for sent, piece in enumerate(make()):
                    if sent > 1000000:
                        raise AssertionError("it is let in for ever")
                    client.send(piece)
            return client.sent_away()

    def counted(self, label):
        return Page(self.proxy_).sum("ccproxy_http2_floods_total", flood=label)

    def check(self, make, label):
        expected = (STREAM_CLOSED if label == "closed" else ENHANCE_YOUR_CALM, None)
        before, logged = self.counted(label), len(self.proxy_.logs("connection ended", flood=label))
        self.under_attack(self.proxy_, lambda: self.assertIn(self.flood(make), expected))
        self.assertGreater(self.counted(label), before)  # sometimes nghttp2 is quicker, and names another
        line = self.proxy_.wait_log("connection ended", logged + 1, flood=label)
        self.assertEqual((line["level"], line["protocol"], line["address"]),
                         ("warn", "HTTP/2", "127.0.0.1"))


def add_floods():
    for name, (make, label) in FLOODS.items():
        def test(self, make=make, label=label):
            self.check(make, label)

        setattr(Floods, f"test_{name}", test)


add_floods()


MUCH = sse(text_delta("y" * 65536)).encode()


def much(call):
    """Thirteen megabytes for each answer, but little for a bystander."""
    while True:
        call.read_request()
        call.start()
        for event in (message_start(), text_start()):
            call.event(event)
        if b"much" in call.body:
            for _ in range(200):
                call.chunk(MUCH)
        for event in text_events()[-3:]:
            call.event(event)
        call.end()


class Games(Case):
    """What is no flood of frames gains nothing either."""

    def http2(self, proxy, **kwargs):
        client = Http2(proxy.address, **kwargs)
        self.addCleanup(client.close)
        return client

    def answering(self, **env):
        return self.proxy(self.upstream(each_request(lambda call: call.answer())), CCPROXY_API_KEYS=KEYS, **env)

    def test_hpack_bomb(self):
        """A field of the table, named again and again (CVE-2016-6581)."""
        value = b"b" * 3000
        head = (block(request_fields("GET", "/livez")) + b"\x40" + length(1) + b"a" + length(len(value)) +
                value + b"\xbe" * 4000)
        proxy = self.answering()

        def attack():
            client = self.http2(proxy)
            for _ in range(20):
                answer = client.answer(client.begin(head))
                self.assertEqual(answer.json()["error"]["type"], "invalid_request_error")
            client.close()

        self.under_attack(proxy, attack)
        proxy.wait_log("request", 200, status=431)

    def test_windows_that_stay_shut(self):
        """As many answers as there may be, none of which is taken (CVE-2019-9511, CVE-2019-9517)."""
        proxy = self.proxy(self.upstream(much, send_buffer=65536), CCPROXY_API_KEYS=KEYS,
                           CCPROXY_WRITE_TIMEOUT="1s")

        def attack():
            client = self.http2(proxy, window=0)
            asked = [client.ask("much", stream=True, key=ATTACKER) for _ in range(100)]
            for stream in asked:
                self.assertEqual(client.answer(stream).error, CANCEL)
            client.close()

        self.under_attack(proxy, attack, times=1)

    def test_nothing_is_read(self):
        """Windows are wide open, but the socket is not read."""
        proxy = self.proxy(self.upstream(much, send_buffer=65536), CCPROXY_API_KEYS=KEYS,
                           CCPROXY_WRITE_TIMEOUT="1s")

        def attack():
            client = self.http2(proxy, window=(1 << 31) - 1, receive_buffer=4096)
            client.more(0, 1 << 30)
            for _ in range(100):
                client.ask("much", stream=True, key=ATTACKER)
            until(lambda: Page(proxy).sum("ccproxy_client_requests_total", client="attacker") == 100,
                  "the connection to be given up")

        self.under_attack(proxy, attack, times=1)

    def test_windows_that_overflow(self):
        proxy = self.answering()
        client = self.http2(proxy)
        stream = client.open("POST", "/v1/chat/completions", ends=False)
        client.more(stream, (1 << 31) - 1)
        self.assertEqual(client.answer(stream).error, FLOW_CONTROL_ERROR)
        client.more(0, (1 << 31) - 1)
        self.assertEqual(client.sent_away(), FLOW_CONTROL_ERROR)

    def test_connections_that_do_nothing(self):
        proxy = self.answering(CCPROXY_MAX_CONNECTIONS="500")
        crowd = []

        def attack():
            for _ in range(1000):
                crowd.append(self.http2(proxy))

        self.under_attack(proxy, attack, times=1)
        for client in crowd[:400]:
            client.sent_away()
