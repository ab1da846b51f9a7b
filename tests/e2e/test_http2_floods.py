"""HTTP/2 floods: each costs its client the connection, is counted and logged, leaves the worker its memory
and the upstream in peace, and meanwhile others are served. Reasons are those of ccproxy_http2_floods_total."""
import contextlib
import select
import struct
import threading

import harness
from harness import Gone, each_request, message_start, text_delta, text_start, until
from http2 import (CANCEL, COMPRESSION_ERROR, CONTINUATION, END_STREAM, ENHANCE_YOUR_CALM, HEADERS,
                   INITIAL_WINDOW_SIZE, NO_ERROR, PING, PREFACE, SETTINGS, Http2, Stream, block, frame, length)
from http2_floods import FLOODS, GET, LARGEST, LAST, RUDE, with_body
from test_metrics import Page

CHAT = "/v1/chat/completions"
GROWTH_KB = 16 * 1024


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
            self.over.wait(0.005)  # more of them would say no more

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
        self.up = self.upstream(script, send_buffer=65536)
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
        # one may slip through where what the socket held was at its end before the reset
        slipped = len(self.up.requests) - self.warm - bystander.served
        self.assertLessEqual(slipped, self.CONNECTIONS if piece is FLOODS["rapid_reset_of_chats"][0] else 0)
        self.assert_unharmed()


def add_tests():
    for name, flood in FLOODS.items():
        setattr(Floods, f"test_{name}", lambda self, flood=flood: self.check(*flood))


add_tests()


def table_bomb():
    """A large entry of HPACK's table, named for each byte that follows (CVE-2016-6581)."""
    value = b"b" * 3900
    return GET + b"\x40" + length(1) + b"x" + length(len(value)) + value + b"\xbe" * 12000


class Heads(Case):
    def test_hpack_bomb(self):
        """Refused like any other head that is too long, before it is unpacked; the connection goes on."""
        self.begin()
        client = self.http2()
        with Bystander(self.to):
            for i in range(50):
                stream, client.next_id = client.next_id, client.next_id + 2
                client.streams[stream] = Stream()
                client.send(frame(HEADERS, LAST, stream, table_bomb()))
                self.assertIn(b"header", client.answer(stream).body.lower())
                self.assertEqual(self.to.ended(i + 1, status=431)["protocol"], "HTTP/2")
            self.assertEqual(client.answer(client.ask()).status, 200)
        self.assert_unharmed()

    def test_a_table_larger_than_was_offered(self):
        """RFC 7541 section 6.3."""
        self.begin()
        client = self.http2()
        client.send(frame(HEADERS, LAST, 1, b"\x3f\xe2\x1f" + GET))
        self.assertEqual(client.sent_away(), COMPRESSION_ERROR)

    def assert_slow(self, *frames):
        """They come, and then nothing does."""
        client = self.http2()
        self.assertEqual(client.answer(client.ask()).status, 200)
        for piece in frames:
            client.send(piece)
        self.assertEqual(client.sent_away(), ENHANCE_YOUR_CALM)
        self.to.wait_log("connection ended", flood="slow_head")

    def test_slow_head(self):
        """Its time begins with the head and not with each frame of it; bystanders know nothing of it."""
        self.begin(CCPROXY_HEAD_TIMEOUT="300ms")
        with Bystander(self.to):
            self.assert_slow(frame(HEADERS, 0, 3, GET), frame(CONTINUATION, 0, 3, block([("a", "b")])))

    def test_slow_head_within_a_frame(self):
        self.begin(CCPROXY_HEAD_TIMEOUT="300ms")
        self.assert_slow(frame(HEADERS, LAST, 3, GET)[:-1])

    def test_slow_trailer(self):
        self.begin(CCPROXY_HEAD_TIMEOUT="300ms")
        self.assert_slow(with_body(1), frame(HEADERS, END_STREAM, 3, block([("a", "b")])))

    def test_half_a_preface(self):
        self.begin(CCPROXY_HEAD_TIMEOUT="300ms", CCPROXY_IDLE_TIMEOUT="300ms")
        client = self.client(self.to)
        client.send(PREFACE[:20])
        client.rest()
        self.assert_unharmed()


class Glitches(Case):
    def test_counted(self):
        """Few of them cost nothing, and are counted when the connection is over."""
        self.begin()
        client = self.http2()
        client.send(frame(0x20, 0, 0, b"what?") * 3)
        client.begin(GET + block([("Upper", "x")]))
        self.assertEqual(client.answer(client.ask()).status, 200)
        client.close()
        until(lambda: Page(self.to).sum("ccproxy_http2_glitches_total") == 4, "them to be counted")


class Bodies(Case):
    def test_slow_body(self):
        """A stream that does not get its body in time is answered with 408; its sibling never notices."""
        self.begin(CCPROXY_BODY_TIMEOUT="300ms")
        client = self.http2()
        slow = client.open("POST", CHAT, b"{", ends=False, key=RUDE, content_length=1000)
        self.assertEqual(client.answer(client.ask()).status, 200)
        self.assertIn("error", client.answer(slow).json())
        line = self.to.ended(ending="SLOW_REQUEST")
        self.assertEqual((line["status"], line["protocol"]), (408, "HTTP/2"))
        self.assertEqual(client.answer(client.ask()).status, 200)

    def test_dribbled_body(self):
        """Bytes that come one by one buy no time."""
        self.begin(CCPROXY_BODY_TIMEOUT="500ms")
        client = self.http2()
        slow = client.open("POST", CHAT, b"{", ends=False, key=RUDE, content_length=100000)
        while not client.streams[slow].ended:
            client.push(slow, b" ", ends=False)
            if select.select([client.sock], [], [], 0.01)[0]:
                client.turn()
        self.assertEqual(self.to.ended(ending="SLOW_REQUEST")["status"], 408)

    def test_many_bodies_at_a_time(self):
        """What all of a connection hold is no more than its window lets in and their client may have."""
        self.begin(CCPROXY_CLIENT_BUFFERED="2MiB", CCPROXY_BODY_TIMEOUT="60s")
        with Bystander(self.to):
            clients = [self.http2() for _ in range(20)]
            for client in clients:
                for _ in range(4):
                    client.open("POST", CHAT, b"x" * 16000, ends=False, key=RUDE, content_length=30 << 20)
            self.to.ended(20, ending="CLIENT_BYTES", status=429)
        self.assert_unharmed()


class Readers(Case):
    STREAMS = 100

    def begin_big(self, **env):
        """An upstream that writes on for as long as it is read; it counts whom nobody reads, and who was left."""
        self.stuck, self.left = [], threading.Semaphore(0)
        big = "y" * 16384

        def script(call):
            while True:
                call.read_request()
                if b"hello" in call.body:
                    call.answer()
                    continue
                try:
                    call.start()
                    for event in (message_start(), text_start()):
                        call.event(event)
                    while True:
                        if not select.select([], [call.sock], [], 0.5)[1] and call not in self.stuck:
                            self.stuck.append(call)
                        call.event(text_delta(big))
                finally:
                    self.left.release()

        self.begin(script, CCPROXY_SILENCE_TIMEOUT="60s", **env)

    def open_all(self, client):
        for _ in range(self.STREAMS):
            client.ask("much", stream=True, key=RUDE)
        until(lambda: len(self.stuck) == self.STREAMS, "all to be held up")

    def all_left(self):
        for _ in range(self.STREAMS):
            self.assertTrue(self.left.acquire(timeout=harness.DEADLINE), "an upstream call was not cancelled")

    def test_windows_without_reading(self):
        """CVE-2019-9517: all windows are open, and nothing is read from the socket."""
        self.begin_big(CCPROXY_WRITE_TIMEOUT="3s")
        with Bystander(self.to):
            client = self.http2(window=LARGEST, receive_buffer=4096)
            client.more(0, LARGEST - 65535)
            self.open_all(client)
            self.assert_unharmed()
            self.all_left()
        self.to.ended(self.STREAMS, ending="CLIENT_GONE", fault="caller")

    def test_closed_windows(self):
        """CVE-2019-9511: streams that may not send are reset when nothing has moved; the connection lives."""
        self.begin_big(CCPROXY_WRITE_TIMEOUT="3s")
        with Bystander(self.to):
            client = self.http2(window=0)
            self.open_all(client)
            self.assert_unharmed()
            self.all_left()
            client.until_true(lambda: all(s.error == CANCEL for s in client.streams.values()))
            client.send(frame(SETTINGS, payload=struct.pack(">HI", INITIAL_WINDOW_SIZE, 65535)))
            self.assertEqual(client.answer(client.ask()).status, 200)
        self.to.ended(self.STREAMS, ending="CLIENT_GONE", fault="caller")

    def test_byte_by_byte(self):
        """CVE-2019-9511 again: each byte costs its reader more than us, and keeps only its own stream waiting."""
        self.begin()
        client = self.http2(window=0, opens=False)
        stream = client.ask(key=RUDE)
        client.until_true(lambda: client.streams[stream].status == 200)
        with Bystander(self.to):
            while not client.streams[stream].ended:
                had = len(client.streams[stream].body)
                client.more(stream, 1)
                client.until_true(lambda had=had: len(client.streams[stream].body) == had + 1)
                if not had % 50:
                    self.assertIsNone(client.goaway)
        self.assertEqual(client.streams[stream].json()["choices"][0]["message"]["content"], "Hello!")


class Idle(Case):
    CONNECTIONS = 500

    def test_many_connections(self):
        """None of them costs much, and beyond the most there may be the one idle longest makes room."""
        self.begin(CCPROXY_MAX_CONNECTIONS=self.CONNECTIONS)
        with Bystander(self.to):
            clients = [self.http2() for _ in range(self.CONNECTIONS)]
            for client in clients[10:]:  # the bystander's are at work, most of the time
                client.send(frame(PING, payload=b"12345678"))
            for client in clients[10:]:
                while client.turn()[0] != PING:
                    pass
            if not harness.is_sanitized():
                each_kb = (harness.memory_kb(self.worker) - self.before_kb) / self.CONNECTIONS
                self.assertLess(each_kb, 32)
            self.assertEqual(clients[0].sent_away(), NO_ERROR)
        self.assert_unharmed()
