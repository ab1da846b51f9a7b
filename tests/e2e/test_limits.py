"""The bounds on what one client can take: sizes, times, connections, memory."""
import json
import select
import socket
import struct
import threading

import harness
from harness import KEY, Gone, each_request, memory_kb, sse, until

CHAT = "/v1/chat/completions"


def padded(size):
    """A chat request of exactly so many bytes."""
    body = json.dumps({"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "hi"}]})
    return body.encode() + b" " * (size - len(body))


def head(length=None, **fields):
    lines = [f"POST {CHAT} HTTP/1.1", "Host: test", f"Authorization: Bearer {KEY}"]
    lines += [f"{k.replace('_', '-')}: {v}" for k, v in fields.items()]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Sizes(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.up = cls.shared_upstream(each_request(lambda call: call.answer()))
        cls.proxy_ = cls.shared_proxy(cls.up, CCPROXY_MAX_HEAD="2048B", CCPROXY_MAX_BODY="4096B")

    def ask(self, data):
        client = self.client(self.proxy_)
        client.send(data)
        return client, client.response()

    def test_head_at_the_limit(self):
        empty = len(b"GET /livez HTTP/1.1\r\nHost: t\r\nX-Big: \r\n\r\n")
        for extra, status in ((0, 200), (1, 431), (1000, 431), (100000, 431)):
            data = f"GET /livez HTTP/1.1\r\nHost: t\r\nX-Big: {'x' * (2048 - empty + extra)}\r\n\r\n"
            client, response = self.ask(data)
            self.assertEqual(response.status, status, extra)
            if status == 431:
                self.assert_error(response, 431, "request_header_fields_too_large")
                self.assertEqual(client.rest(), b"")

    def test_number_of_fields(self):
        for n, status in ((100, 200), (101, 431), (400, 431)):
            data = b"GET /livez HTTP/1.1\r\nHost: t\r\n" + b"a:b\r\n" * (n - 1) + b"\r\n"
            self.assertEqual(self.ask(data)[1].status, status, n)

    def test_sized_body_at_the_limit(self):
        self.assertEqual(self.ask(head(4096) + padded(4096))[1].status, 200)
        client, response = self.ask(head(4097))  # refused before a byte of it has come
        self.assert_error(response, 413, "request_too_large")
        self.assertEqual(response.fields["connection"], "close")
        client.send(padded(4097))
        self.assertEqual(client.rest(), b"")

    def test_length_that_was_waited_for(self):
        _, response = self.ask(head(4097, Expect="100-continue"))
        self.assert_error(response, 413, "request_too_large")

    def test_chunked_body_at_the_limit(self):
        for size, status in ((4096, 200), (4097, 413)):
            body = padded(size)
            data = head(Transfer_Encoding="chunked")
            data += b"".join(b"80\r\n%s\r\n" % body[i:i + 128] for i in range(0, 4096, 128))
            client, response = self.ask(data + (b"1\r\n \r\n" if size > 4096 else b"0\r\n\r\n"))
            self.assertEqual(response.status, status)
        self.assert_error(response, 413, "request_too_large")

    def test_endless_chunks_are_cut_off(self):
        client = self.client(self.proxy_)
        client.send(head(Transfer_Encoding="chunked"))
        with self.assertRaises((Gone, ConnectionError)):
            for _ in range(100000):
                client.send(b"400\r\n" + b" " * 1024 + b"\r\n")

    def test_answer_is_not_lost_while_the_client_still_sends(self):
        client = self.client(self.proxy_)
        client.send(head(60000))
        client.send(padded(60000))
        self.assert_error(client.response(), 413, "request_too_large")


class Memory(harness.TestCase):
    def assert_memory(self, pid, kb, what="VmRSS"):
        """Less than that; a sanitizer's own memory is not counted."""
        if not harness.is_sanitized():
            self.assertLess(memory_kb(pid, what), kb)

    def test_bodies_that_do_not_fit(self):
        upstream = self.upstream(each_request(lambda call: call.answer()))
        proxy = self.proxy(upstream, CCPROXY_MAX_BUFFERED="2MiB")
        held = self.client(proxy)
        held.send(head(600000) + padded(600000)[:-1])
        worker = proxy.workers()[0]
        until(lambda: memory_kb(worker) and self.is_read(held), "the body has been read")
        client = self.client(proxy)
        client.send(head(1500000) + padded(1500000))
        response = client.response()
        self.assert_error(response, 503, "server_is_overloaded")
        self.assertEqual(response.fields["retry-after"], "5")
        self.assertEqual(client.rest(), b"")
        self.assertEqual(proxy.get("/livez").status, 200)
        held.send(b" ")
        response = held.response()
        self.assertEqual(response.status, 200, (response.body, proxy.raw))
        self.assertEqual(proxy.chat(content="x" * 300000).status, 200)

    @staticmethod
    def is_read(client):
        """Whether the other end has taken all that was sent (SIOCOUTQ and its receive queue)."""
        ours, theirs = client.sock.getsockname()[1], client.sock.getpeername()[1]
        with open("/proc/net/tcp") as f:
            for line in f.readlines()[1:]:
                words = line.split()
                ports = [int(words[i].split(":")[1], 16) for i in (1, 2)]
                queued = [int(x, 16) for x in words[4].split(":")]
                if ports == [theirs, ours] and queued[1] or ports == [ours, theirs] and queued[0]:
                    return False
        return True

    def test_a_slow_reader_of_a_huge_stream(self):
        """The upstream is held back, the worker does not grow, and nothing is lost."""
        text, pieces = "y" * 16000, 4000
        blocked = threading.Event()
        sent = []

        def script(call):
            call.read_request()
            call.start()
            call.event(harness.message_start())
            call.event(harness.text_start())
            piece = sse(harness.text_delta(text)).encode()
            data = b"%x\r\n%s\r\n" % (len(piece), piece)
            call.sock.setblocking(False)
            for _ in range(pieces):
                rest = data
                while rest:
                    if not select.select([], [call.sock], [], 0.3)[1]:
                        blocked.set()
                        select.select([], [call.sock], [], harness.DEADLINE)
                    rest = rest[call.sock.send(rest):]
                sent.append(1)
            call.sock.settimeout(harness.DEADLINE)
            for event in harness.text_events()[-3:]:
                call.event(event)
            call.end()

        proxy = self.proxy(self.upstream(script, send_buffer=65536))
        worker = proxy.workers()[0]
        self.assertEqual(proxy.get("/livez").status, 200)
        before = memory_kb(worker)
        client = self.client(proxy, receive_buffer=65536)
        client.stream()
        self.assertTrue(blocked.wait(harness.DEADLINE))
        self.assertLess(len(sent), pieces * 3 // 4)  # the kernel's buffers, and no more
        self.assert_memory(worker, before + 4096)
        seen = 0
        while (piece := client.frame()):
            seen += piece.count(b"y")
            last = piece
        self.assertEqual(seen - last.count(b"y"), len(text) * pieces)
        self.assertTrue(last.endswith(b"data: [DONE]\n\n"), last)
        self.assert_memory(worker, before + 8192, "VmHWM")
        self.assertEqual(proxy.ended(path=CHAT)["ending"], "DONE")

    def test_memory_of_a_large_body_is_given_back(self):
        upstream = self.upstream(each_request(lambda call: call.answer()))
        proxy = self.proxy(upstream)
        worker = proxy.workers()[0]
        proxy.chat(content="x" * 1000)
        before = memory_kb(worker)
        for _ in range(5):
            self.assertEqual(proxy.chat(content="x" * (20 << 20)).status, 200)
        self.assert_memory(worker, before + 8192)
        # The body is held once and sent from where it lies.
        self.assert_memory(worker, before + (70 << 10), "VmHWM")


class Times(harness.TestCase):
    def drip(self, client, data):
        """Sends data byte by byte, slowly, until the answer comes."""
        for i in range(len(data)):
            client.send(data[i:i + 1])
            if select.select([client.sock], [], [], 0.03)[0]:
                return
        raise AssertionError("it was not stopped")

    def test_slow_head(self):
        proxy = self.proxy(None, CCPROXY_HEAD_TIMEOUT="200ms")
        client = self.client(proxy)
        client.send("GET /livez HTTP/1.1\r\nHost:")
        self.assert_error(client.response(), 408, "request_timeout")
        self.assertEqual(client.rest(), b"")
        client = self.client(proxy)
        self.drip(client, b"GET /livez HTTP/1.1\r\nX-A: " + b"a" * 1000)
        self.assertEqual(client.response().status, 408)

    def test_slow_body(self):
        proxy = self.proxy(None, CCPROXY_BODY_TIMEOUT="200ms")
        client = self.client(proxy)
        client.send(head(1000) + b"{")
        self.assert_error(client.response(), 408, "request_timeout")
        self.assertEqual(client.rest(), b"")
        client = self.client(proxy)
        client.send(head(1000))
        self.drip(client, b"{" + b" " * 999)
        self.assertEqual(client.response().status, 408)
        client = self.client(proxy)
        client.send(head(Transfer_Encoding="chunked"))
        self.drip(client, b"1\r\n \r\n" * 200)
        self.assertEqual(client.response().status, 408)

    def test_idle_connections_are_closed_without_a_word(self):
        proxy = self.proxy(None, CCPROXY_IDLE_TIMEOUT="200ms")
        fresh = self.client(proxy)
        used = self.client(proxy)
        used.request("GET", "/livez")
        self.assertEqual(used.response().status, 200)
        self.assertEqual(fresh.rest(), b"")
        self.assertEqual(used.rest(), b"")

    def test_an_open_answer_is_not_idle(self):
        def script(call):
            call.read_request()
            with self.assertRaises(socket.timeout):
                call.sock.settimeout(0.5)
                call.fill()
            call.answer()

        proxy = self.proxy(self.upstream(script), CCPROXY_IDLE_TIMEOUT="100ms",
                           CCPROXY_HEAD_TIMEOUT="100ms", CCPROXY_BODY_TIMEOUT="100ms")
        self.assertEqual(proxy.chat().status, 200)

    def test_a_client_that_takes_nothing(self):
        gone = threading.Event()

        def script(call):
            call.read_request()
            call.start()
            call.event(harness.message_start())
            call.event(harness.text_start())
            try:
                while True:
                    call.event(harness.text_delta("z" * 10000))
            except Gone:
                gone.set()

        proxy = self.proxy(self.upstream(script, send_buffer=65536), CCPROXY_WRITE_TIMEOUT="300ms")
        client = self.client(proxy, receive_buffer=4096)
        client.stream()
        self.assertTrue(gone.wait(harness.DEADLINE))
        self.assertEqual(proxy.ended(path=CHAT)["ending"], "CLIENT_GONE")


class Connections(harness.TestCase):
    def test_the_one_idle_longest_makes_room(self):
        proxy = self.proxy(None, CCPROXY_MAX_CONNECTIONS=3)
        clients = [self.client(proxy) for _ in range(3)]
        for client in clients:
            client.request("GET", "/livez")
            self.assertEqual(client.response().status, 200)
        clients[0].request("GET", "/livez")  # now the second one is idle longest
        self.assertEqual(clients[0].response().status, 200)
        self.assertEqual(proxy.get("/livez").status, 200)
        self.assertEqual(clients[1].rest(), b"")
        for client in (clients[0], clients[2]):
            client.request("GET", "/livez")
            self.assertEqual(client.response().status, 200)

    def test_open_answers_are_not_shed(self):
        release = threading.Event()

        def script(call):
            call.read_request()
            call.start()
            for event in harness.text_events("one")[:3]:
                call.event(event)
            release.wait(harness.DEADLINE)
            for event in harness.text_events("one")[3:]:
                call.event(event)
            call.end()

        proxy = self.proxy(self.upstream(script), CCPROXY_MAX_CONNECTIONS=2)
        streams = [self.client(proxy) for _ in range(2)]
        for client in streams:
            client.stream()
            client.text("one")
        extra = self.client(proxy)
        extra.send("GET /livez HTTP/1.1\r\nHost: t\r\n\r\n")
        self.assertEqual(extra.rest(), b"")  # closed, not kept waiting
        release.set()
        for client in streams:
            client.text("[DONE]")
        self.assertEqual(proxy.get("/livez").status, 200)

    def test_no_descriptor_is_left(self):
        upstream = self.upstream(each_request(lambda call: call.answer()))
        proxy = self.proxy(upstream, CCPROXY_UPSTREAM_IDLE="10ms")
        worker = proxy.workers()[0]
        proxy.chat()

        def open_now():
            return len(harness.descriptors(worker))

        before = open_now()
        for i in range(100):
            client = self.client(proxy)
            client.chat(stream=i % 2 == 0)
            if i % 3 == 0:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                client.response()
            client.close()
        until(lambda: open_now() <= before, "descriptors are closed")

    def test_descriptors_run_out(self):
        """Accepting pauses and goes on; those who are in are served."""
        proxy = self.proxy(None, descriptors=24)
        crowd = [self.client(proxy) for _ in range(40)]
        self.assertEqual(proxy.get("/livez").status, 200)
        last = crowd[-1]
        last.request("GET", "/livez")
        self.assertEqual(last.response().status, 200)
        for client in crowd:
            client.close()
        self.assertEqual(proxy.get("/livez").status, 200)
