"""HTTP/2 to the upstream: nghttpx ends it in front of a scripted one, over TLS and without."""
import contextlib
import shutil
import socket
import struct
import subprocess
import threading

import harness
from harness import (Gone, each_request, free_port, message_start, sse, text_delta, text_events, text_start,
                     until)
from http2 import (ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, HTTP_1_1_REQUIRED, PREFACE, REFUSED_STREAM,
                   RST_STREAM, SETTINGS, block, frame)
from test_upstream_tls import Case, server_context


def frames_of(call):
    """(kind, flags, stream) of each frame that comes."""
    while True:
        head = call.exactly(9)
        call.exactly(int.from_bytes(head[:3], "big"))
        yield head[3], head[4], struct.unpack(">I", head[5:])[0]


class Front:
    """nghttpx on a free port; its access log says what came by which connection."""

    def __init__(self, directory, backend, pair=None, *more):
        self.port = free_port()
        self.url = f"{'https' if pair else 'http'}://127.0.0.1:{self.port}"
        self.log = directory / f"access-{self.port}.log"
        frontend = f"127.0.0.1,{self.port}" + ("" if pair else ";no-tls")
        command = [shutil.which("nghttpx"), "--conf=/dev/null", "--workers=1",
                   f"--frontend={frontend}", f"--backend=127.0.0.1,{backend.port};;proto=http/1.1",
                   f"--accesslog-file={self.log}", "--accesslog-format=$alpn $remote_port $status",
                   f"--errorlog-file={directory}/error-{self.port}.log", *more]
        if pair:
            command += [pair[1], pair[0]]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        until(self._listens, "nghttpx listens")

    def _listens(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def lines(self):
        """(protocol, client's port, status) of each request that is over."""
        return [tuple(line.split()) for line in self.log.read_text().splitlines()]

    def close(self):
        self.process.terminate()
        self.process.wait(harness.DEADLINE)


class H2Case(Case):
    def front(self, backend, *more, tls=True):
        front = Front(self.directory(), backend, self.local if tls else None, *more)
        self.addCleanup(front.close)
        return front

    def http2(self, front, how="auto", **env):
        return self.https(front.url, CCPROXY_UPSTREAM_HTTP=how, **env)


class Shared(H2Case):
    def test_alpn_chooses_h2_and_many_share_a_connection(self):
        gate = threading.Barrier(20, timeout=harness.DEADLINE)

        def together(call):
            gate.wait()  # so that all twenty are in flight at a time
            call.answer()

        front = self.front(self.upstream(each_request(together)))
        proxy = self.http2(front)
        statuses = []
        threads = [threading.Thread(target=lambda: statuses.append(proxy.chat(stream=True).status))
                   for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(statuses, [200] * 20)
        until(lambda: len(front.lines()) == 20, "all are in the access log")
        self.assertEqual({line[0] for line in front.lines()}, {"h2"})
        self.assertEqual(len({line[1] for line in front.lines()}), 1)

    def test_without_tls_by_prior_knowledge(self):
        front = self.front(self.upstream(each_request(lambda call: call.answer())), tls=False)
        proxy = self.proxy(front.url, CCPROXY_UPSTREAM_HTTP="h2c")
        for stream in (False, True):
            self.assertEqual(proxy.chat(stream=stream).status, 200)
        until(lambda: len(front.lines()) == 2, "both are in the access log")
        self.assertEqual(len({line[1] for line in front.lines()}), 1)

    def test_streams_the_upstream_allows(self):
        gate = threading.Barrier(6, timeout=harness.DEADLINE)

        def together(call):
            gate.wait()
            call.answer()

        front = self.front(self.upstream(each_request(together)),
                           "--frontend-http2-max-concurrent-streams=2")
        proxy = self.http2(front, CCPROXY_RETRIES=3)
        statuses = []
        threads = [threading.Thread(target=lambda: statuses.append(proxy.chat().status))
                   for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(statuses, [200] * 6)
        until(lambda: sum(l[2] == "200" for l in front.lines()) == 6, "six in the access log")
        ports = [line[1] for line in front.lines() if line[2] == "200"]
        self.assertLessEqual(max(ports.count(p) for p in ports), 2)

    def test_large_request(self):
        up = self.upstream(each_request(lambda call: call.answer()))
        proxy = self.http2(self.front(up))
        text = "a long prompt " * 100000
        self.assertEqual(proxy.chat(messages=[{"role": "user", "content": text}]).status, 200)
        self.assertIn(text.encode(), up.requests[0])


class Fallback(H2Case):
    def test_upstream_without_h2(self):
        for offers in (None, ["http/1.1"]):
            context = server_context(self.local)
            if offers:
                context.set_alpn_protocols(offers)
            up = self.upstream(each_request(lambda call: call.answer()), tls=context)
            proxy = self.http2(up)
            for stream in (True, False):
                self.assertEqual(proxy.chat(stream=stream).status, 200)

    def test_h2_or_nothing(self):
        up = self.serve(each_request(lambda call: call.answer()))
        proxy = self.http2(up, "2")
        self.assert_refused(proxy, "does not speak HTTP/2")
        self.assertEqual(up.requests, [])

    def test_one_says_no_h2(self):
        front = self.front(self.upstream(each_request(lambda call: call.answer())))
        self.assertEqual(self.http2(front, "1.1").chat().status, 200)
        until(lambda: front.lines(), "it is in the access log")
        self.assertEqual(front.lines()[0][0], "http/1.1")

    def test_upstream_that_asks_for_http1(self):
        """By a reset stream or a GOAWAY: the request goes again over HTTP/1.1, and so do all after it."""
        for kind, payload in ((RST_STREAM, struct.pack(">I", HTTP_1_1_REQUIRED)),
                              (GOAWAY, struct.pack(">II", 0, HTTP_1_1_REQUIRED))):
            spoken = []

            def script(call, kind=kind, payload=payload, spoken=spoken):
                spoken.append(call.sock.selected_alpn_protocol())
                if spoken[-1] != "h2":
                    each_request(lambda call: call.answer())(call)
                    return
                call.exactly(len(PREFACE))
                call.send(frame(SETTINGS) + frame(SETTINGS, ACK))
                for kind_read, flags, stream in frames_of(call):
                    if kind_read == DATA and flags & END_STREAM:
                        call.send(frame(kind, 0, stream if kind == RST_STREAM else 0, payload))

            context = server_context(self.local)
            context.set_alpn_protocols(["h2", "http/1.1"])
            proxy = self.http2(self.upstream(script, tls=context), CCPROXY_RETRIES=1)
            self.assertEqual([proxy.chat(stream=stream).status for stream in (True, False, True)], [200] * 3)
            self.assertEqual(spoken, ["h2", "http/1.1"])
            self.assertEqual([proxy.ended(n)["attempts"] for n in (1, 2, 3)], [2, 1, 1])
            self.assertEqual(len(proxy.logs("the upstream asks for HTTP/1.1")), 1)

    def test_http1_is_asked_for_where_it_is_ruled_out(self):
        def script(call):
            call.exactly(len(PREFACE))
            call.send(frame(SETTINGS) + frame(SETTINGS, ACK))
            for kind, flags, stream in frames_of(call):
                if kind == DATA and flags & END_STREAM:
                    call.send(frame(RST_STREAM, 0, stream, struct.pack(">I", HTTP_1_1_REQUIRED)))

        proxy = self.proxy(self.upstream(script), CCPROXY_UPSTREAM_HTTP="h2c", CCPROXY_RETRIES=1)
        self.assert_error(proxy.chat(), 503, "upstream_unavailable")
        self.assertEqual(proxy.ended()["attempts"], 2)

    def test_words_that_do_not_fit(self):
        for url, word in (("https://localhost", "h2c"), ("http://localhost", "2"),
                          ("https://localhost", "3")):
            ran = harness.run("check", ANTHROPIC_BASE_URL=url, CCPROXY_UPSTREAM_HTTP=word)
            self.assertNotEqual(ran.returncode, 0)
            self.assertIn("CCPROXY_UPSTREAM_HTTP", ran.stdout + ran.stderr)


class Retries(harness.TestCase):
    """An upstream that does to each request what its turn says, frame by frame."""
    INTERNAL_ERROR = 2

    def answer(self, call, stream):
        head = block([(":status", "200"), ("content-type", "text/event-stream")])
        body = "".join(sse(event) for event in text_events("at last")).encode()
        call.send(frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, END_STREAM, stream, body))

    def reset(self, call, stream, code):
        call.send(frame(RST_STREAM, 0, stream, struct.pack(">I", code)))

    def leave(self, call, _, last):
        call.send(frame(GOAWAY, 0, 0, struct.pack(">II", last, 0)))

    def serve(self, *turns):
        """A proxy in front of it; each turn is a function and what it is called with beside call and stream."""
        turns, self.seen = list(turns), []

        def script(call):
            call.exactly(len(PREFACE))
            call.send(frame(SETTINGS))
            for kind, flags, stream in frames_of(call):
                if kind == SETTINGS and not flags & ACK:
                    call.send(frame(SETTINGS, ACK))
                if kind == DATA and flags & END_STREAM:
                    self.seen.append((call, stream))
                    act, *more = turns.pop(0)
                    act(call, stream, *more)

        return self.proxy(self.upstream(script), CCPROXY_UPSTREAM_HTTP="h2c")

    def check_answered(self, proxy, retries):
        response = proxy.chat(stream=True)
        self.assertEqual(response.status, 200)
        self.assertIn(b"at last", response.body)
        self.assertEqual(proxy.ended()["attempts"], 1 + retries)
        self.assertEqual(len(self.seen), 1 + retries)

    def test_a_refused_stream_is_sent_again(self):
        self.check_answered(self.serve((self.reset, REFUSED_STREAM), (self.answer,)), 1)
        self.assertIs(self.seen[0][0], self.seen[1][0])  # on the same connection
        self.assertEqual([stream for _, stream in self.seen], [1, 3])

    def test_what_goaway_leaves_out_is_sent_on_another_connection(self):
        self.check_answered(self.serve((self.leave, 0), (self.answer,)), 1)
        self.assertIsNot(self.seen[0][0], self.seen[1][0])

    def test_what_goaway_covers_is_waited_for(self):
        def leave_and_answer(call, stream):
            self.leave(call, stream, stream)
            self.answer(call, stream)

        self.check_answered(self.serve((leave_and_answer,)), 0)

    def test_what_may_have_been_processed_is_not_sent_again(self):
        proxy = self.serve((self.reset, self.INTERNAL_ERROR), (self.answer,))
        self.assertEqual(proxy.chat(stream=True).status, 503)
        self.assertEqual(len(self.seen), 1)


class Streams(H2Case):
    def begun(self, then):
        """An upstream that begins an answer and goes on with then(call), behind nghttpx."""
        def script(call):
            call.read_request()
            call.start()
            for event in (message_start(), text_start(), text_delta("begun")):
                call.event(event)
            then(call)

        self.up = self.upstream(script)
        self.front_ = self.front(self.up)
        return self.http2(self.front_)

    def assert_cut(self, client):
        rest = b""
        while piece := client.frame():
            rest += piece
        self.assertIn(b"upstream_incomplete", rest)

    def test_client_that_leaves_cancels_its_stream_alone(self):
        closed = threading.Event()

        def then(call):
            if b"leaves" not in call.body:
                call.event(text_delta("more"))
                call.wait_closed()
            with contextlib.suppress(Gone):
                call.wait_closed()
            closed.set()

        proxy = self.begun(then)
        stays, leaves = self.client(proxy), self.client(proxy)
        stays.stream(content="stays")
        leaves.stream(content="leaves")
        stays.text("more")
        leaves.text("begun")
        leaves.close()
        self.assertTrue(closed.wait(harness.DEADLINE), "the upstream call was not cancelled")
        self.assertEqual(proxy.ended(1)["ending"], "CLIENT_GONE")
        self.assertEqual(len(proxy.logs("request")), 1)

    def test_reader_that_stalls_does_not_stall_others(self):
        def then(call):
            if b"slow" in call.body:
                with contextlib.suppress(Gone):
                    while True:  # until nobody takes more
                        call.event(text_delta("x" * 10000))
            call.event(text_delta("quick"))
            call.wait_closed()

        proxy = self.begun(then)
        slow = self.client(proxy, receive_buffer=4096)
        slow.stream(content="slow")
        slow.text("begun")
        for _ in range(20):
            other = self.client(proxy)
            other.stream(content="other")
            other.text("quick")
            other.close()
        slow.close()

    def test_upstream_that_breaks_off(self):
        seen = threading.Event()

        def then(call):
            seen.wait(harness.DEADLINE)
            call.reset()

        proxy = self.begun(then)
        client = self.client(proxy)
        client.stream()
        client.text("begun")
        seen.set()
        self.assert_cut(client)

    def test_front_that_is_killed(self):
        proxy = self.begun(lambda call: call.wait_closed())
        client = self.client(proxy)
        client.stream()
        client.text("begun")
        self.front_.process.kill()
        self.assert_cut(client)
