"""Everything that can go wrong, or be odd, between the gateway and its upstream."""
import contextlib
import datetime
import json
import socket
import struct
import threading
import unittest.mock

import harness
from harness import (MESSAGE_STOP, PING, Gone, each_request, message_delta, message_start, sse,
                     text_delta, text_events)

CHAT = "/v1/chat/completions"
EVENTS = text_events("Hello!")


def after_request(action):
    """A script for one connection: reads a request, then does the action and closes."""

    def script(call):
        call.read_request()
        action(call)

    return script


def raw(data):
    return after_request(lambda call: call.send(data))


def body_of(events):
    return "".join(sse(e) for e in events).encode()


def http(status, body=b"", kind="text/event-stream", *fields):
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def chunks(*pieces):
    return (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces))


def sometimes(*answers):
    """A script: the n-th request is given to the n-th answer, later ones to the last."""
    lock = threading.Lock()
    seen = []

    def script(call):
        while True:
            call.read_request()
            with lock:
                n = min(len(seen), len(answers) - 1)
                seen.append(1)
            answers[n](call)

    return script


def good(call):
    call.answer()


def error(status, kind, message="no", **fields):
    return lambda call: call.error(status, kind, message, **fields)


class Case(harness.TestCase):
    def start(self, script, **env):
        """An upstream and a proxy for it that does not retry, unless told."""
        self.up = self.upstream(script)
        self.proxy_ = self.proxy(self.up, **{"CCPROXY_RETRIES": 0, **env})
        return self.proxy_

    def text_of(self, response):
        self.assertEqual(response.status, 200, response.body)
        return response.json()["choices"][0]["message"]["content"]

    def assert_good(self, response, text="Hello!"):
        """A complete stream with that text."""
        self.assertEqual(response.status, 200, response.body)
        self.assertTrue(response.complete)
        frames = response.frames()
        self.assertEqual(frames[-1], "[DONE]", response.body[-300:])
        parts = [f["choices"][0]["delta"].get("content") or "" for f in frames[:-1]]
        self.assertEqual("".join(parts), text)
        self.assertEqual(frames[-2]["choices"][0]["finish_reason"], "stop")

    def assert_cut(self, response, code, kind="server_error"):
        """A stream that ends in an error frame and nothing that could be taken for an end."""
        self.assertEqual(response.status, 200, response.body)
        frames = response.frames()
        self.assertNotIn("[DONE]", frames)
        self.assertEqual(sorted(frames[-1]["error"]), ["code", "message", "param", "type"])
        self.assertEqual(frames[-1]["error"]["code"], code)
        self.assertEqual(frames[-1]["error"]["type"], kind)
        for frame in frames[:-1]:
            self.assertIsNone(frame["choices"][0]["finish_reason"])


class Connecting(Case):
    def refused_port(self):
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.bind(("127.0.0.1", 0))  # bound and not listening
        return sock.getsockname()[1]

    def test_refused(self):
        proxy = self.proxy(f"http://127.0.0.1:{self.refused_port()}", CCPROXY_RETRIES=2)
        response = proxy.chat()
        self.assert_error(response, 503, "upstream_unavailable", "server_error")
        self.assertEqual(response.fields["retry-after"], "5")
        line = proxy.ended()
        self.assertEqual((line["ending"], line["attempts"]), ("UPSTREAM_CONNECT", 3))
        self.assertIn("refused", proxy.wait_log("upstream call failed")["error"].lower())

    def test_unreachable(self):
        hole = Hole()
        self.addCleanup(hole.close)
        proxy = self.proxy(f"http://127.0.0.1:{hole.port}", CCPROXY_CONNECT_TIMEOUT="200ms",
                           CCPROXY_RETRIES=0)
        self.assert_error(proxy.chat(), 503, "upstream_unavailable")
        self.assertEqual(proxy.ended()["ending"], "UPSTREAM_CONNECT")

    def test_unix_socket(self):
        path = str(self.directory() / "upstream")
        up = harness.Upstream(each_request(good), address=path)
        self.addCleanup(up.close)
        proxy = self.proxy(f"unix:{path}")
        self.assertEqual(proxy.chat().status, 200)

    def test_base_path(self):
        up = self.upstream(each_request(good))
        proxy = self.proxy(up.url + "/some/prefix/")
        self.assertEqual(proxy.chat().status, 200)
        self.assertEqual(up.calls[0].line, "POST /some/prefix/v1/messages HTTP/1.1")

    def test_betas_of_several_fields(self):
        up = self.upstream(each_request(good))
        client = self.client(self.proxy(up.url))
        client.request("POST", CHAT, {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]},
                       {"anthropic-beta": "output-128k-2025-02-19", "Anthropic-Beta": "pdfs-2024-09-25, odd"})
        response = client.response()
        self.assertEqual((response.status, response.fields["x-ccproxy-dropped"]), (200, "anthropic_beta"))
        self.assertEqual(up.calls[0].fields["anthropic-beta"], "output-128k-2025-02-19,pdfs-2024-09-25")

    def test_many_at_once(self):
        """Each call that waits gets a connection, and they are used again."""
        barrier = threading.Barrier(20)

        def script(call):
            call.read_request()
            barrier.wait(harness.DEADLINE)
            call.answer()
            each_request(good)(call)

        proxy = self.start(script)
        for _ in range(2):
            clients = [self.client(proxy) for _ in range(20)]
            for client in clients:
                client.chat()
            for client in clients:
                self.assertEqual(client.response().status, 200)
        self.assertEqual(len(self.up.calls), 20)


class Hole:
    """An address that never answers a connection attempt: its queue is full."""

    def __init__(self, address="127.0.0.1", port=0):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socks = [socket.socket(family)]
        self.socks[0].bind((address, port))
        self.socks[0].listen(0)
        self.port = self.socks[0].getsockname()[1]
        while True:
            sock = socket.socket(family)
            self.socks.append(sock)
            sock.settimeout(0.2)
            try:
                sock.connect((address, self.port))
            except TimeoutError:
                return

    def close(self):
        for sock in self.socks:
            sock.close()

    def accepted(self):
        """What those who had come so far have sent."""
        data = []
        for _ in self.socks[1:]:
            self.socks[0].settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                sock = self.socks[0].accept()[0]
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    data.append(sock.recv(1000))
                sock.close()
        return b"".join(data)


class Dns:
    """A name server: answer(name, type) gives addresses, or a number (the response code), or None for
    silence, or bytes to be sent as they are."""

    A, AAAA, TTL = 1, 28, 60

    def __init__(self, answer):
        self.answer = answer
        self.asked = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.server = f"127.0.0.1:{self.sock.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                query, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            end = query.index(b"\0", 12) + 5
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            kind = struct.unpack(">H", query[end - 4:end - 2])[0]
            self.asked.append((".".join(labels), kind))
            reply = self.reply(query, end, kind, self.answer(".".join(labels), kind))
            if reply is not None:
                self.sock.sendto(reply, peer)

    @staticmethod
    def reply(query, end, kind, answer):
        if answer is None or isinstance(answer, bytes):
            return answer
        code = answer if isinstance(answer, int) else 0
        records = b""
        addresses = [] if isinstance(answer, int) else answer
        for address in addresses:
            family = socket.AF_INET6 if kind == Dns.AAAA else socket.AF_INET
            data = socket.inet_pton(family, address)
            records += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, Dns.TTL, len(data)) + data
        return (query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(addresses), 0, 0)
                + query[12:end] + records)

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Names(Case):
    def named(self, answer, port, **env):
        self.dns = Dns(answer)
        self.addCleanup(self.dns.close)
        return self.proxy(f"http://claude.test:{port}", CCPROXY_DNS_SERVERS=self.dns.server,
                          **{"CCPROXY_RETRIES": 0, **env})

    def test_a_name(self):
        up = self.upstream(each_request(lambda c: c.head(200, connection="close", then=body_of(EVENTS))
                                        or c.sock.shutdown(socket.SHUT_RDWR)))
        proxy = self.named(lambda name, kind: ["127.0.0.1"] if kind == Dns.A else [], up.port)
        for _ in range(3):
            self.assertEqual(proxy.chat().status, 200)
        self.assertEqual(up.calls[0].fields["host"], f"claude.test:{up.port}")
        self.assertEqual(len(up.calls), 3)
        self.assertLessEqual(len(self.dns.asked), 2)  # remembered for its time to live
        self.assertEqual({name for name, _ in self.dns.asked}, {"claude.test"})

    def test_last_good_address_outlives_the_name_server(self):
        up = self.upstream(each_request(lambda call: call.answer(connection="close")))
        answers = []
        with unittest.mock.patch.object(Dns, "TTL", 0):
            proxy = self.named(lambda name, kind: ["127.0.0.1"] if kind == Dns.A and not answers
                               else 2 if answers else [], up.port)
            self.assertEqual(proxy.chat().status, 200)
            answers.append("gone")
            n = len(self.dns.asked)
            while len(self.dns.asked) == n:
                self.assertEqual(proxy.chat().status, 200)
            for _ in range(3):
                self.assertEqual(proxy.chat().status, 200)

    def test_no_such_name(self):
        for answer in (3, 2, 5, []):  # NXDOMAIN, SERVFAIL, REFUSED, no data
            proxy = self.named(lambda name, kind, answer=answer: answer, 1)
            self.assert_error(proxy.chat(), 503, "upstream_unavailable")
            self.assertEqual(proxy.ended()["ending"], "UPSTREAM_CONNECT")
            proxy.stop()

    def test_silent_and_talking_nonsense(self):
        for answer in (None, b"", b"\0" * 5, b"\xff" * 600):
            proxy = self.named(lambda name, kind, answer=answer: answer, 1,
                               CCPROXY_CONNECT_TIMEOUT="200ms")
            self.assert_error(proxy.chat(), 503, "upstream_unavailable")
            proxy.stop()

    def both(self):
        """An IPv4 upstream, and the same port of IPv6, free."""
        while True:
            up = self.upstream(each_request(good))
            with contextlib.suppress(OSError):
                sock = socket.socket(socket.AF_INET6)
                self.addCleanup(sock.close)
                sock.bind(("::1", up.port))
                sock.close()
                return up

    @staticmethod
    def two(name, kind):
        return ["127.0.0.1"] if kind == Dns.A else ["::1"]

    def test_one_family_refuses(self):
        up = self.both()
        self.assertEqual(self.named(self.two, up.port).chat().status, 200)

    def test_one_family_hangs(self):
        up = self.both()
        hole = Hole("::1", up.port)
        self.addCleanup(hole.close)
        self.assertEqual(self.named(self.two, up.port).chat().status, 200)

    def test_an_address_that_hangs_among_others(self):
        hole = Hole("127.0.0.2")
        self.addCleanup(hole.close)
        up = self.upstream(each_request(good), address="127.0.0.3", port=hole.port)
        addresses = ["127.0.0.2", "127.0.0.4", "127.0.0.3"]
        proxy = self.named(lambda name, kind: addresses if kind == Dns.A else [], up.port)
        self.assertEqual(proxy.chat().status, 200)


class Broken(Case):
    """Connections that end where they should not; never retried once the request was taken."""

    def check(self, action, code, stream_code=None, requests=2):
        def script(call):
            call.read_request()
            action(call)
            with contextlib.suppress(OSError):
                call.sock.shutdown(socket.SHUT_RDWR)

        proxy = self.start(script, CCPROXY_RETRIES=2)
        response = proxy.chat()
        self.assert_error(response, 503 if code == "upstream_unavailable" else 502, code,
                          "server_error")
        response = proxy.chat(stream=True)
        if stream_code:
            self.assert_cut(response, stream_code)
        else:
            self.assert_error(response, 503 if code == "upstream_unavailable" else 502, code)
        self.assertEqual(len(self.up.requests), requests)
        return proxy

    def test_closed_before_the_head(self):
        proxy = self.check(lambda call: None, "upstream_unavailable")
        self.assertEqual(proxy.ended()["ending"], "UPSTREAM_BROKEN")

    def test_reset_before_the_head(self):
        self.check(lambda call: call.reset(), "upstream_unavailable")

    def test_closed_inside_the_head(self):
        self.check(lambda call: call.send("HTTP/1.1 200 OK\r\nContent-"), "upstream_unavailable")

    def test_closed_after_the_head(self):
        self.check(lambda call: call.start(), "upstream_incomplete")

    def test_ended_after_the_head(self):
        self.check(lambda call: call.start(then=b"0\r\n\r\n", connection="close"),
                   "upstream_incomplete")

    def test_closed_mid_stream(self):
        self.check(lambda call: call.send(chunks(body_of(EVENTS[:3]))), "upstream_incomplete",
                   "upstream_incomplete")

    def test_reset_mid_stream(self):
        def action(call):
            call.send(chunks(body_of(EVENTS[:3])))
            release.wait(harness.DEADLINE)
            call.reset()

        release = threading.Event()
        proxy = self.start(after_request(action))
        client = self.client(proxy)
        client.stream()
        seen = client.text("Hello!")
        release.set()
        seen += client.text('"error"')
        self.assertNotIn("[DONE]", seen)
        self.assertEqual(client.frame(), b"")

    def test_ended_mid_stream(self):
        """The chunks end well, the message does not."""
        self.check(lambda call: call.answer(EVENTS[:3], connection="close"), "upstream_incomplete",
                   "upstream_incomplete")

    def test_closed_inside_an_event(self):
        piece = body_of(EVENTS[:4])[:-30]
        self.check(lambda call: call.send(chunks(piece)), "upstream_incomplete", "upstream_incomplete")

    def test_closed_inside_a_chunk(self):
        data = chunks(body_of(EVENTS[:4]))[:-30]
        self.check(lambda call: call.send(data), "upstream_incomplete", "upstream_incomplete")

    def test_ended_before_message_stop(self):
        self.check(lambda call: call.answer(EVENTS[:-1], connection="close"), "upstream_incomplete",
                   "upstream_incomplete")

    def test_message_stop_without_an_end(self):
        """The client has its answer at once; the upstream connection is not waited for forever."""
        closed = threading.Event()

        def action(call):
            call.send(chunks(body_of(EVENTS)))
            call.wait_closed()
            closed.set()

        proxy = self.start(after_request(action))
        self.assertEqual(self.text_of(proxy.chat()), "Hello!")
        self.assertTrue(closed.wait(harness.DEADLINE))
        self.assert_good(proxy.chat(stream=True))
        self.assertEqual(proxy.ended(2)["ending"], "DONE")

    def test_content_length_too_long(self):
        data = http("200 OK", body_of(EVENTS[:-1]) + b"x" * 50)[:-50]
        self.check(lambda call: call.send(data), "upstream_incomplete", "upstream_incomplete")

    def test_garbage(self):
        for data in (b"garbage\r\n\r\n", b"\x16\x03\x01\x00\x05", b"HTTP/2 200\r\n\r\n", b"\r\n\r\n\r\n",
                     b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
                     b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                     b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                     b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                     b"HTTP/1.1 101 Switching Protocols\r\n\r\n"):
            up = self.upstream(raw(data))
            proxy = self.proxy(up, CCPROXY_RETRIES=2)
            self.assert_error(proxy.chat(), 502, "upstream_invalid", "server_error")
            self.assertEqual(len(up.requests), 1, data)
            self.assertNotIn(b"garbage", proxy.raw)
            proxy.stop()

    def test_bad_chunk(self):
        data = chunks(body_of(EVENTS[:3])) + b"xyz\r\n"
        self.check(lambda call: call.send(data), "upstream_invalid", "upstream_invalid")

    def test_huge_head(self):
        data = b"HTTP/1.1 200 OK\r\n" + b"X-Big: " + b"x" * 100000 + b"\r\n\r\n"
        self.check(lambda call: call.send(data), "upstream_invalid")

    def test_many_fields(self):
        data = b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 5000 + b"\r\n"
        self.check(lambda call: call.send(data), "upstream_invalid")

    def test_not_an_event_stream(self):
        for kind, body in (("application/json", b"{}"), ("text/html", b"<html>secret</html>"),
                           ("text/plain", body_of(EVENTS))):
            up = self.upstream(raw(http("200 OK", body, kind)))
            proxy = self.proxy(up)
            response = proxy.chat(stream=True)
            self.assert_error(response, 502, "upstream_invalid")
            self.assertNotIn(b"secret", response.body)
            proxy.stop()

    def test_redirects_are_not_followed(self):
        for status in ("301 Moved", "302 Found", "307 Temporary", "304 Not Modified", "204 No Content"):
            up = self.upstream(raw(http(status, b"", "text/html", "Location: http://127.0.0.1:1/")))
            proxy = self.proxy(up)
            self.assert_error(proxy.chat(), 502, "upstream_invalid")
            proxy.stop()

    def test_compressed_answer(self):
        self.start(raw(http("200 OK", b"\x1f\x8b" + bytes(200), "text/event-stream",
                            "Content-Encoding: gzip")))
        self.assertEqual(self.proxy_.chat().status, 502)

    def test_interim_answers_are_skipped(self):
        storm = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1000
        self.start(each_request(lambda call: (call.send(storm), call.answer())))
        self.assertEqual(self.text_of(self.proxy_.chat()), "Hello!")
        self.assert_good(self.proxy_.chat(stream=True))

    def test_interim_answers_without_end(self):
        def action(call):
            with contextlib.suppress(Gone):
                while True:
                    call.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)

        self.start(after_request(action), CCPROXY_FIRST_BYTE_TIMEOUT="200ms")
        self.assert_error(self.proxy_.chat(), 504, "timeout", "timeout")

    def test_second_answer_behind_the_first(self):
        """It is nobody's: the connection is not used again."""
        poison = http("200 OK", body_of(text_events("poison")))

        def script(call):
            call.read_request()
            call.send(http("200 OK", body_of(EVENTS)) + poison)
            call.wait_closed()

        self.start(script)
        for _ in range(3):
            self.assertEqual(self.text_of(self.proxy_.chat()), "Hello!")
        self.assertEqual(len(self.up.calls), 3)

    def test_answer_out_of_turn(self):
        """Bytes on an idle connection are not the next request's answer."""
        def script(call):
            call.read_request()
            call.answer()
            idle.acquire()
            call.send(http("200 OK", body_of(text_events("poison"))))
            poisoned.release()
            call.wait_closed()

        idle, poisoned = threading.Semaphore(0), threading.Semaphore(0)
        self.start(script)
        for _ in range(3):
            self.assertEqual(self.text_of(self.proxy_.chat()), "Hello!")
            idle.release()
            poisoned.acquire()


class Whole(Case):
    """Short answers are asked for in one piece."""

    MESSAGE = {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5",
               "content": [{"type": "text", "text": "Short."}], "stop_reason": "end_turn",
               "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 2}}

    def ask(self, action, **env):
        self.start(after_request(action), **env)
        return self.proxy_.chat(max_completion_tokens=100)

    def test_one_piece(self):
        body = json.dumps(self.MESSAGE).encode()
        response = self.ask(lambda call: call.send(http("200 OK", body, "application/json")))
        self.assertNotIn(b'"stream":true', self.up.requests[0])
        self.assertEqual(self.text_of(response), "Short.")
        self.assertEqual(response.json()["usage"]["total_tokens"], 5)
        line = self.proxy_.ended()
        self.assertEqual((line["prompt_tokens"], line["output_tokens"]), (3, 2))

    def test_cut(self):
        data = http("200 OK", json.dumps(self.MESSAGE).encode(), "application/json")
        self.assert_error(self.ask(lambda call: call.send(data[:-20])), 502, "upstream_incomplete")

    def test_no_message(self):
        for body in (b"", b"{", b"[]", b"{}", b'{"type":"message"}', b"<html>", b'{"type":"error"}'):
            up = self.upstream(raw(http("200 OK", body, "application/json")))
            proxy = self.proxy(up)
            response = proxy.chat(max_completion_tokens=100)
            self.assert_error(response, 502, "upstream_invalid")
            proxy.stop()

    def test_a_stream_that_was_not_asked_for(self):
        response = self.ask(lambda call: call.answer())
        self.assert_error(response, 502, "upstream_invalid")

    def test_error(self):
        response = self.ask(lambda call: call.error(529, "overloaded_error", "busy"))
        self.assert_error(response, 503, "server_is_overloaded")

    def test_slow(self):
        closed = threading.Event()

        def action(call):
            call.head(200, content_type="application/json", content_length=500)
            call.wait_closed()
            closed.set()

        response = self.ask(action, CCPROXY_FIRST_BYTE_TIMEOUT="200ms")
        self.assert_error(response, 504, "timeout")
        self.assertTrue(closed.wait(harness.DEADLINE))


class Errors(Case):
    """What the upstream says, in the words that OpenAI's clients know."""

    ROWS = [
        # status, type, message -> status, type, code, param
        (400, "invalid_request_error", "nope", 400, "invalid_request_error", None, None),
        (400, "invalid_request_error", "max_tokens: too big", 400, "invalid_request_error", None,
         "max_tokens"),
        (400, "invalid_request_error", "messages.3.content.0: bad", 400, "invalid_request_error",
         None, "messages"),
        (400, "invalid_request_error", "tools.2.custom.name: bad", 400, "invalid_request_error",
         None, "tools[2]"),
        (400, "invalid_request_error", "prompt is too long: 9 tokens > 5 maximum", 400,
         "invalid_request_error", "context_length_exceeded", "messages"),
        (400, "invalid_request_error", "Your credit balance is too low to access the API", 429,
         "insufficient_quota", "insufficient_quota", None),
        (400, "invalid_request_error", "Could not process image", 400, "invalid_request_error",
         "invalid_image", None),
        (400, "invalid_request_error", "At least one image exceeds the maximum allowed size.", 400,
         "invalid_request_error", "image_too_large", None),
        (400, "invalid_request_error", "The image was specified using the image/jpeg media type", 400,
         "invalid_request_error", "invalid_image_format", None),
        (400, "invalid_request_error", "max_tokens: 9 > 8, which is the maximum", 400,
         "invalid_request_error", None, "max_tokens"),
        (400, "invalid_request_error", "You have reached your specified API usage limits.", 429,
         "insufficient_quota", "insufficient_quota", None),
        (401, "authentication_error", "invalid x-api-key", 502, "server_error",
         "upstream_auth_error", None),
        (402, "billing_error", "pay", 429, "insufficient_quota", "insufficient_quota", None),
        (403, "permission_error", "no", 403, "permission_error", "permission_denied", None),
        (404, "not_found_error", "model: claude-x", 404, "invalid_request_error", "model_not_found",
         "model"),
        (404, "not_found_error", "nothing", 404, "invalid_request_error", "not_found", None),
        (409, "conflict_error", "again", 409, "invalid_request_error", "conflict", None),
        (413, "request_too_large", "big", 413, "invalid_request_error", "request_too_large", None),
        (429, "rate_limit_error", "slow down", 429, "rate_limit_error", "rate_limit_exceeded", None),
        (500, "api_error", "oops", 500, "server_error", None, None),
        (504, "timeout_error", "late", 504, "timeout", "timeout", None),
        (529, "overloaded_error", "Overloaded", 503, "server_error", "server_is_overloaded", None),
    ]

    def test_rows(self):
        rows = list(self.ROWS)
        self.start(each_request(lambda call: call.error(*row[:3])))
        for row in rows:
            for stream in (False, True):
                response = self.proxy_.chat(stream=stream)
                self.assert_error(response, row[3])
                said = response.error
                self.assertEqual((said["type"], said["code"], said["param"]), row[4:], row)
                hidden = row[5] == "insufficient_quota" or row[0] == 401
                self.assertEqual(row[2] in said["message"], not hidden, row)
                hopeless = response.status in (400, 403, 404, 413) or hidden
                self.assertEqual(response.fields.get("x-should-retry"), "false" if hopeless else None, row)
        self.assertEqual(len(self.up.requests), 2 * len(rows))

    def test_limits_in_openai_s_fields(self):
        """anthropic-ratelimit-* of any answer, resets as durations, and which bucket was empty."""
        def limit(kind, limit, remaining, seconds):
            reset = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
            return {f"anthropic_ratelimit_{kind}_limit": limit,
                    f"anthropic_ratelimit_{kind}_remaining": remaining,
                    f"anthropic_ratelimit_{kind}_reset": reset.strftime("%Y-%m-%dT%H:%M:%SZ")}

        for empty, kind in ((("requests", 0, 5), "requests"), (("requests", 5, 0), "tokens"),
                            (("requests", 5, 5), "rate_limit_error")):
            fields = {**limit("requests", 50, empty[1], 13), **limit("tokens", 80000, empty[2], 361),
                      "retry_after": "12", "anthropic_organization_id": "org-1", "set_cookie": "a=b",
                      "cf_ray": "x"}
            up = self.upstream(each_request(lambda call, fields=fields: call.error(
                429, "rate_limit_error", "Too many", **fields)))
            response = self.proxy(up, CCPROXY_RETRIES=0).chat()
            self.assert_error(response, 429, "rate_limit_exceeded", kind)
            got = response.fields
            self.assertEqual([got[f"x-ratelimit-{a}-{b}"] for b in ("requests", "tokens")
                              for a in ("limit", "remaining")],
                             ["50", str(empty[1]), "80000", str(empty[2])])
            self.assertRegex(got["x-ratelimit-reset-requests"], r"^1[0-3](\.\d+)?s$")
            self.assertRegex(got["x-ratelimit-reset-tokens"], r"^(6m[01]s|5m5\ds)$")
            self.assertEqual((got["retry-after"], got["retry-after-ms"]), ("12", "12000"))
            for name in ("anthropic-organization-id", "set-cookie", "cf-ray"):
                self.assertNotIn(name, got)

    def test_limits_of_a_success(self):
        up = self.upstream(each_request(lambda call: call.answer(
            EVENTS, anthropic_ratelimit_input_tokens_limit="7",
            anthropic_ratelimit_input_tokens_remaining="6")))
        for stream in (False, True):
            got = self.proxy(up).chat(stream=stream).fields
            self.assertEqual((got["x-ratelimit-limit-tokens"], got["x-ratelimit-remaining-tokens"],
                              got["x-ratelimit-reset-tokens"]), ("7", "6", "0s"))
            self.assertNotIn("x-ratelimit-limit-requests", got)

    def test_ids_of_the_account_are_not_told(self):
        message = ("Workspace wrkspc_01AbCd of organization 0f3a5e2c-1111-4222-8333-abcdefabcdef "
                   "(org_01XyZ) exceeds its limit")
        up = self.upstream(each_request(lambda call: call.error(429, "rate_limit_error", message)))
        response = self.proxy(up, CCPROXY_RETRIES=0).chat()
        self.assertEqual(response.error["message"], "Workspace * of organization * (*) exceeds its limit")

    def test_max_tokens_is_named_as_the_client_did(self):
        up = self.upstream(each_request(lambda call: call.error(
            400, "invalid_request_error", "max_tokens: 9 > 8, which is the maximum")))
        proxy = self.proxy(up)
        for name in ("max_tokens", "max_completion_tokens"):
            self.assertEqual(proxy.chat(**{name: 9}).error["param"], name)

    def test_spend_limits_are_not_retried(self):
        body = json.dumps({"type": "error", "error": {
            "type": "rate_limit_error", "message": "spend limit",
            "details": {"error_code": "enforced_spend_limit_reached"}}}).encode()
        for data in (http("429 Too Many", body, "application/json", "retry-after: 1"),
                     http("400 Bad", body.replace(b"spend limit", b"Your credit balance is too low")
                          .replace(b"enforced_spend_limit_reached", b"x"), "application/json")):
            up = self.upstream(each_request(lambda call, data=data: call.send(data)))
            proxy = self.proxy(up, CCPROXY_RETRIES=3)
            response = proxy.chat()
            self.assert_error(response, 429, "insufficient_quota", "insufficient_quota")
            self.assertEqual(response.fields["x-should-retry"], "false")
            self.assertEqual(len(up.requests), 1)
            proxy.stop()

    def test_html_from_an_edge(self):
        """Never handed on, and never the upstream's strange status."""
        html = b"<html><title>502 Bad Gateway</title><center>cloudflare</center></html>"
        for status in (502, 503, 520, 522, 524, 500, 429, 403):
            up = self.upstream(raw(http(f"{status} Edge", html, "text/html; charset=UTF-8")))
            proxy = self.proxy(up, CCPROXY_RETRIES=0)
            response = proxy.chat()
            expected = {500: 500, 429: 429, 403: 403}.get(status, 502 if status == 502 else 503)
            self.assert_error(response, expected)
            self.assertNotIn(b"cloudflare", response.body)
            proxy.stop()

    def test_error_bodies_that_are_no_use(self):
        for body in (b"", b"{", b"null", b"[]", b'"x"', b'{"error":"text"}', b'{"error":{"message":5}}',
                     b"\xff\xfe", b'{"error":{"message":"' + b"x" * 100000 + b'"}}'):
            up = self.upstream(raw(http("500 Oops", body, "application/json")))
            proxy = self.proxy(up, CCPROXY_RETRIES=0)
            response = proxy.chat()
            self.assert_error(response, 500)
            self.assertLess(len(response.body), 4096)
            proxy.stop()

    def test_endless_error_body(self):
        def action(call):
            call.head(500, "Oops", content_type="text/plain", transfer_encoding="chunked")
            with contextlib.suppress(Gone):
                while True:
                    call.chunk(b"x" * 65536)

        self.start(after_request(action), CCPROXY_FIRST_BYTE_TIMEOUT="300ms")
        self.assertIn(self.proxy_.chat().status, (500, 504))
        if not harness.is_sanitized():
            self.assertLess(harness.memory_kb(self.proxy_.workers()[0], "VmHWM"), 64 << 10)

    def test_error_whose_body_breaks_off(self):
        data = http("529 Overloaded", b"x" * 100, "application/json")[:-50]
        self.start(raw(data))
        self.assert_error(self.proxy_.chat(), 503, "server_is_overloaded")

    def test_wait_is_made_up_when_overloaded(self):
        self.start(each_request(error(529, "overloaded_error")))
        fields = self.proxy_.chat().fields
        self.assertGreaterEqual(int(fields["retry-after"]), 1)
        self.assertEqual(int(fields["retry-after-ms"]), 1000 * int(fields["retry-after"]))

    def test_what_the_upstream_says_about_retrying(self):
        self.start(each_request(error(529, "overloaded_error", x_should_retry="false",
                                      retry_after="7")))
        fields = self.proxy_.chat().fields
        self.assertEqual((fields["x-should-retry"], fields["retry-after"], fields["retry-after-ms"]),
                         ("false", "7", "7000"))

    def test_error_event_first_is_a_real_status(self):
        event = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        for events in ([event], [PING, event]):
            self.start(each_request(lambda call, events=events: call.answer(events)))
            for stream in (False, True):
                response = self.proxy_.chat(stream=stream)
                self.assert_error(response, 503, "server_is_overloaded", "server_error")

    def test_error_event_mid_stream(self):
        for kind, code, shown in (("overloaded_error", "server_is_overloaded", "server_error"),
                                  ("api_error", None, "server_error"),
                                  ("rate_limit_error", "rate_limit_exceeded", "rate_limit_error"),
                                  ("some_new_error", None, "server_error")):
            event = {"type": "error", "error": {"type": kind, "message": "it broke"}}
            self.start(each_request(lambda call, event=event: call.answer([*EVENTS[:3], event])))
            response = self.proxy_.chat(stream=True)
            self.assert_cut(response, code, shown)
            self.assertIn("it broke", response.frames()[-1]["error"]["message"])
            self.assertGreaterEqual(self.proxy_.chat().status, 429)


class Retries(Case):
    def test_limit_then_good(self):
        for answer in (error(429, "rate_limit_error", retry_after_ms="20"),
                       error(429, "rate_limit_error", retry_after="0.02"),
                       error(529, "overloaded_error", retry_after_ms="20"),
                       error(500, "api_error", x_should_retry="true", retry_after_ms="1"),
                       error(409, "conflict_error", x_should_retry="true", retry_after_ms="1"),
                       lambda call: call.answer([{"type": "error", "error": {
                           "type": "overloaded_error", "message": "x"}}])):
            self.start(sometimes(answer, good), CCPROXY_RETRIES=2)
            self.assertEqual(self.text_of(self.proxy_.chat()), "Hello!")
            self.assertEqual(len(self.up.requests), 2)
            self.assertEqual(self.up.requests[0], self.up.requests[1])
            line = self.proxy_.ended()
            self.assertEqual((line["ending"], line["attempts"]), ("DONE", 2))
            self.assertEqual(len(self.proxy_.logs("retry")), 1)

    def test_limit_for_good(self):
        self.start(each_request(error(429, "rate_limit_error", "slow", retry_after_ms="30")),
                   CCPROXY_RETRIES=2)
        response = self.proxy_.chat()
        self.assert_error(response, 429, "rate_limit_exceeded", "rate_limit_error")
        self.assertEqual((response.fields["retry-after"], response.fields["retry-after-ms"]), ("1", "30"))
        self.assertEqual(len(self.up.requests), 3)

    def test_what_is_not_retried(self):
        for answer in (error(500, "api_error"), error(400, "invalid_request_error"),
                       error(529, "overloaded_error", x_should_retry="false", retry_after_ms="1"),
                       error(429, "rate_limit_error", retry_after="3600"),
                       error(429, "rate_limit_error", retry_after_ms="1", x_should_retry="false"),
                       error(401, "authentication_error"), error(504, "timeout_error"),
                       error(403, "permission_error", x_should_retry="true", retry_after_ms="1")):
            self.start(each_request(answer), CCPROXY_RETRIES=3)
            response = self.proxy_.chat()
            self.assertGreaterEqual(response.status, 400)
            self.assertEqual(len(self.up.requests), 1, response.body)

    def test_a_long_wait_is_the_clients(self):
        self.start(each_request(error(429, "rate_limit_error", retry_after="3600")), CCPROXY_RETRIES=3)
        fields = self.proxy_.chat().fields
        self.assertEqual((fields["retry-after"], fields["retry-after-ms"]), ("3600", "3600000"))

    def test_never_after_the_first_event(self):
        self.start(sometimes(lambda call: (call.answer(EVENTS[:2]), call.sock.shutdown(2)), good),
                   CCPROXY_RETRIES=3)
        self.assert_cut(self.proxy_.chat(stream=True), "upstream_incomplete")
        self.assertEqual(len(self.up.requests), 1)

    def test_another_key(self):
        def script(call):
            while True:
                call.read_request()
                keys.append(call.fields["x-api-key"])
                good(call) if call.fields["x-api-key"] == "key-good" else answer(call)

        for answer in (error(401, "authentication_error"), error(402, "billing_error"),
                       error(429, "rate_limit_error", retry_after="3600")):
            keys = []
            self.start(script, CCPROXY_RETRIES=2, ANTHROPIC_API_KEY="key-bad,key-good")
            for _ in range(4):
                self.assertEqual(self.text_of(self.proxy_.chat()), "Hello!")
            self.assertEqual(keys.count("key-bad"), 1)  # and then it rests
            self.assertEqual(keys.count("key-good"), 4)

    def test_keys_take_turns(self):
        self.start(each_request(good), ANTHROPIC_API_KEY="key-a,key-b,key-c")
        used = []
        for _ in range(6):
            self.proxy_.chat()
            used.append(self.up.calls[-1].fields["x-api-key"])
        self.assertEqual(sorted(used), ["key-a"] * 2 + ["key-b"] * 2 + ["key-c"] * 2)

    def test_a_cache_key_stays_with_one_upstream_key(self):
        """Prompt caches are an upstream key's; also over workers, and while others take turns."""
        seen = []
        self.start(each_request(lambda call: (seen.append(call.fields["x-api-key"]), good(call))),
                   ANTHROPIC_API_KEY="key-a,key-b,key-c", CCPROXY_WORKERS=2)
        used = {f"conversation {n}": set() for n in range(8)}
        for _ in range(3):
            for name, keys in used.items():
                self.proxy_.chat()
                self.proxy_.chat(prompt_cache_key=name)
                keys.add(seen[-1])
        self.assertEqual({len(keys) for keys in used.values()}, {1})
        self.assertGreater(len(set.union(*used.values())), 1)

    def test_no_key_is_left(self):
        self.start(each_request(error(401, "authentication_error", "invalid x-api-key")),
                   CCPROXY_RETRIES=5, ANTHROPIC_API_KEY="key-a,key-b")
        response = self.proxy_.chat()
        self.assert_error(response, 502, "upstream_auth_error", "server_error")
        self.assertNotIn(b"x-api-key", response.body)
        self.assertEqual(len(self.up.requests), 2)

    def test_budget(self):
        """Ten are always allowed; after that they are a part of the requests."""
        self.start(each_request(error(529, "overloaded_error", retry_after_ms="1")),
                   CCPROXY_RETRIES=2, CCPROXY_RETRY_BUDGET=0)
        for _ in range(20):
            self.assert_error(self.proxy_.chat(), 503, "server_is_overloaded")
        self.assertEqual(len(self.up.requests), 30)

    def test_budget_that_is_earned(self):
        self.start(each_request(error(529, "overloaded_error", retry_after_ms="1")),
                   CCPROXY_RETRIES=1, CCPROXY_RETRY_BUDGET=20)
        for _ in range(100):
            self.proxy_.chat()
        self.assertLessEqual(len(self.up.requests), 130)
        self.assertGreaterEqual(len(self.up.requests), 120)

    def test_stale_connections(self):
        """The upstream closes after each answer without a word: no request is lost to it."""
        self.start(after_request(good), CCPROXY_RETRIES=0)
        for i in range(50):
            self.assertEqual(self.text_of(self.proxy_.chat()), "Hello!")
            call = self.up.calls[i]
            harness.until(lambda: call.sock.fileno() < 0, "the upstream has closed")
        self.assertEqual(len(self.up.requests), 50)

    def test_not_retried_on_a_used_connection(self):
        """The second request was taken, and nobody knows what became of it."""
        self.start(sometimes(good, lambda call: call.sock.shutdown(2)), CCPROXY_RETRIES=2)
        self.assertEqual(self.proxy_.chat().status, 200)
        self.assert_error(self.proxy_.chat(), 503, "upstream_unavailable")
        self.assertEqual((len(self.up.calls), len(self.up.requests)), (1, 2))

    def test_retried_when_the_request_was_not_taken(self):
        """Closed while the request was still on its way: it cannot have been acted on."""
        first = []

        def script(call):
            if not first:
                first.append(1)
                call.exactly(1000)
                call.reset()
                return
            each_request(good)(call)

        self.start(script, CCPROXY_RETRIES=1)
        self.assertEqual(self.text_of(self.proxy_.chat("x" * (16 << 20))), "Hello!")
        self.assertEqual((len(self.up.calls), len(self.up.requests)), (2, 1))
        self.assertGreater(len(self.up.requests[0]), 16 << 20)

    def test_not_taken_again_and_again(self):
        def script(call):
            call.exactly(1000)
            call.reset()

        self.start(script, CCPROXY_RETRIES=2)
        self.assert_error(self.proxy_.chat("x" * (16 << 20)), 503, "upstream_unavailable")
        self.assertEqual(len(self.up.calls), 3)


class Times(Case):
    def hang(self, *events):
        """A script that sends these events and waits for the end; self.closed tells of it."""
        self.closed = threading.Event()

        def action(call):
            if events:
                call.send(chunks(body_of(events)))
            call.wait_closed()
            self.closed.set()

        return after_request(action)

    def test_first_byte(self):
        self.start(self.hang(), CCPROXY_FIRST_BYTE_TIMEOUT="200ms", CCPROXY_RETRIES=2)
        for stream in (False, True):
            self.assert_error(self.proxy_.chat(stream=stream), 504, "timeout", "timeout")
            self.assertTrue(self.closed.wait(harness.DEADLINE))
        self.assertEqual(len(self.up.requests), 2)
        self.assertEqual(self.proxy_.ended()["ending"], "UPSTREAM_FIRST_BYTE")

    def test_pings_are_not_a_first_byte(self):
        self.start(self.hang(PING, PING), CCPROXY_FIRST_BYTE_TIMEOUT="200ms")
        self.assert_error(self.proxy_.chat(stream=True), 504, "timeout")

    def test_upstream_that_does_not_read(self):
        release = threading.Event()
        self.start(lambda call: release.wait(harness.DEADLINE), CCPROXY_FIRST_BYTE_TIMEOUT="200ms",
                   CCPROXY_CONNECT_TIMEOUT="200ms")
        self.addCleanup(release.set)
        self.assert_error(self.proxy_.chat("x" * (16 << 20)), 504, "timeout")

    def pinging(self, every):
        def action(call):
            call.send(chunks(body_of(EVENTS[:3])))
            call.sock.settimeout(every)
            with contextlib.suppress(Gone):
                while True:
                    with contextlib.suppress(TimeoutError):
                        call.fill()
                    call.event(PING)

        return after_request(action)

    def test_silence_that_pings_do_not_break(self):
        self.start(self.pinging(0.02), CCPROXY_SILENCE_TIMEOUT="300ms")
        response = self.proxy_.chat(stream=True)
        self.assert_cut(response, "timeout", "timeout")
        self.assertIn(b"\n: ping\n", response.body)
        self.assertEqual(self.proxy_.ended()["ending"], "UPSTREAM_SILENT")
        self.assert_error(self.proxy_.chat(), 504, "timeout")

    def test_an_event_that_drips(self):
        """Bytes that never become an event are no progress."""
        def action(call):
            call.send(chunks(body_of(EVENTS[:3])))
            call.sock.settimeout(0.02)
            with contextlib.suppress(Gone):
                while True:
                    with contextlib.suppress(TimeoutError):
                        call.fill()
                    call.chunk(b"d")

        self.start(after_request(action), CCPROXY_SILENCE_TIMEOUT="300ms")
        self.assert_cut(self.proxy_.chat(stream=True), "timeout", "timeout")
        self.assertEqual(self.proxy_.ended()["ending"], "UPSTREAM_SILENT")

    def test_total(self):
        def action(call):
            call.send(chunks(body_of(EVENTS[:3])))
            call.sock.settimeout(0.02)
            with contextlib.suppress(Gone):
                while True:
                    with contextlib.suppress(TimeoutError):
                        call.fill()
                    call.event(text_delta("more "))

        self.start(after_request(action), CCPROXY_TOTAL_TIMEOUT="400ms")
        self.assert_cut(self.proxy_.chat(stream=True), "timeout", "timeout")
        self.assertEqual(self.proxy_.ended()["ending"], "TOTAL_TIMEOUT")
        self.assert_error(self.proxy_.chat(), 504, "timeout")

    def test_total_covers_pauses(self):
        self.start(each_request(error(529, "overloaded_error", retry_after_ms="9000")),
                   CCPROXY_RETRIES=3, CCPROXY_TOTAL_TIMEOUT="300ms")
        self.assert_error(self.proxy_.chat(), 504, "timeout")
        self.assertEqual(len(self.up.requests), 1)

    def test_a_silent_stream_gets_comments(self):
        release = threading.Event()

        def action(call):
            call.send(chunks(body_of(EVENTS[:2])))
            release.wait(harness.DEADLINE)
            for event in EVENTS[2:]:
                call.event(event)
            call.end()

        self.start(after_request(action), CCPROXY_KEEPALIVE_INTERVAL="50ms")
        client = self.client(self.proxy_)
        client.stream()
        comments = 0
        while comments < 3:
            comments += client.frame().count(b": ")
        release.set()
        self.assertIn("Hello!", client.text("[DONE]"))

    def test_pings_are_comments(self):
        events = [EVENTS[0], PING, EVENTS[1], PING, *EVENTS[2:]]
        self.start(each_request(lambda call: call.answer(events)))
        response = self.proxy_.chat(stream=True)
        self.assert_good(response)
        self.assertEqual(response.body.count(b": ping\n\n"), 2)
        self.assertEqual(self.text_of(self.proxy_.chat()), "Hello!")

    def test_idle_connections_are_let_go(self):
        closed = threading.Event()

        def script(call):
            call.read_request()
            call.answer()
            call.wait_closed()
            closed.set()

        self.start(script, CCPROXY_UPSTREAM_IDLE="100ms")
        self.assertEqual(self.proxy_.chat().status, 200)
        self.assertTrue(closed.wait(harness.DEADLINE))


class Framing(Case):
    """The same answer in every way in which it may be cut up."""

    def check(self, action, text="Hello!"):
        self.start(each_request(action))
        self.assert_good(self.proxy_.chat(stream=True), text)
        self.assertEqual(self.text_of(self.proxy_.chat()), text)

    def check_body(self, body, text="Hello!"):
        self.check(lambda call: call.send(chunks(body) + b"0\r\n\r\n"), text)

    def test_line_ends(self):
        for eol in (b"\r\n", b"\r", b"\n"):
            self.check_body(body_of(EVENTS).replace(b"\n", eol))

    def test_mixed_line_ends(self):
        pieces = [sse(e).encode().replace(b"\n", (b"\r\n", b"\r", b"\n")[i % 3])
                  for i, e in enumerate(EVENTS)]
        self.check_body(b"".join(pieces))

    def test_byte_by_byte(self):
        for eol in (b"\n", b"\r\n", b"\r"):
            body = body_of(EVENTS).replace(b"\n", eol)
            data = chunks(*[body[i:i + 1] for i in range(len(body))]) + b"0\r\n\r\n"
            self.check(lambda call, data=data: call.trickle(data))

    def test_cut_at_every_place(self):
        body = body_of(EVENTS).replace(b"\n", b"\r\n")
        places = iter(range(1, len(body), 7))

        def script(call):
            while True:
                call.read_request()
                at = next(places, 1)
                call.send(chunks(body[:at]))
                call.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body) - at, body[at:]))

        self.start(script)
        for _ in range(1, len(body), 7):
            self.assert_good(self.proxy_.chat(stream=True))

    def test_content_length_and_until_close(self):
        self.check(lambda call: call.send(http("200 OK", body_of(EVENTS))))
        until_close = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + body_of(EVENTS)
        self.check(lambda call: (call.send(until_close), call.sock.shutdown(2)))
        self.check(lambda call: (call.send(until_close.replace(b"1.1", b"1.0")), call.sock.shutdown(2)))

    def test_until_close_and_cut(self):
        data = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + body_of(EVENTS[:4])
        self.start(raw(data))
        self.assert_cut(self.proxy_.chat(stream=True), "upstream_incomplete")

    def test_odd_but_allowed(self):
        body = b"\xef\xbb\xbf: a comment\n\n:\n\nid: 7\nretry: 10\n\nnonsense\n\n"
        for event in EVENTS:
            data = json.dumps(event).encode()
            body += b"data:%s\nevent:%s\nid\n: c\n\n" % (data, event["type"].encode())
        self.check_body(body)

    def test_data_over_several_lines(self):
        body = b"".join(b"".join(b"data: %s\n" % line.encode()
                                 for line in json.dumps(e, indent=1).split("\n")) + b"\n" for e in EVENTS)
        self.check_body(body)

    def test_no_event_names(self):
        self.check_body(b"".join(b"data: %s\n\n" % json.dumps(e).encode() for e in EVENTS))

    def test_chunk_extensions_and_trailers(self):
        data = chunks().replace(b"chunked", b"Chunked")
        data += b"".join(b"%x;name=value\r\n%s\r\n" % (len(sse(e)), sse(e).encode()) for e in EVENTS)
        self.check(lambda call: call.send(data + b"0\r\nX-Checksum: 1\r\n\r\n"))

    def test_unknown_things_are_skipped(self):
        strange = [{"type": "new_event", "x": [1, {}]},
                   {"type": "content_block_start", "index": 9, "content_block": {"type": "hologram"}},
                   {"type": "content_block_delta", "index": 9, "delta": {"type": "beam", "x": 1}},
                   {"type": "content_block_stop", "index": 9}]
        events = [EVENTS[0], *strange, PING, *EVENTS[1:3], strange[0],
                  {"type": "content_block_delta", "index": 0, "delta": {"type": "glow", "text": "no"}},
                  *EVENTS[3:]]
        self.check_body(body_of(events))

    def test_an_event_of_many_megabytes(self):
        text = "m" * (6 << 20)
        self.check_body(body_of(text_events(text)), text)

    def test_an_event_without_end(self):
        def action(call):
            call.send(chunks(body_of(EVENTS[:2])))
            with contextlib.suppress(Gone):
                while True:
                    call.chunk(b"data: " + b"x" * 100000)

        self.start(after_request(action))
        self.assert_cut(self.proxy_.chat(stream=True), "upstream_invalid")
        if not harness.is_sanitized():
            self.assertLess(harness.memory_kb(self.proxy_.workers()[0], "VmHWM"), 128 << 10)

    def test_text_of_all_kinds(self):
        text = "\x00\x1f\"\\/\u20ac\U0001f600\u2028</script>\r\n\t\x7f\ufeff"
        for ascii_only in (True, False):
            body = b"".join(b"data: %s\n\n" % json.dumps(e, ensure_ascii=ascii_only).encode()
                            for e in text_events(text))
            self.check_body(body, text)

    def test_many_small_deltas(self):
        words = [f"w{i} " for i in range(5000)]
        self.check(lambda call: call.answer(text_events(*words)), "".join(words))

    def test_broken_events(self):
        """Each ends the answer as an error, mid-stream as a frame."""
        start, block, delta = EVENTS[:3]
        for bad in (b"data: {\n\n", b"data: []\n\n", b"data: 5\n\n", b'data: {"type":5}\n\n',
                    b'data: {"no":"type"}\n\n', b'data: {"type":"ping"\xff}\n\n',
                    body_of([start]), body_of([block]), body_of([text_delta("x", index=5)]),
                    body_of([{"type": "content_block_stop", "index": 3}]),
                    body_of([message_delta()]), body_of([MESSAGE_STOP])):
            self.start(raw(chunks(body_of([start, block, delta]) + bad)))
            self.assert_cut(self.proxy_.chat(stream=True), "upstream_invalid")
            self.assert_error(self.proxy_.chat(), 502, "upstream_invalid")

    def test_answers_that_begin_wrong(self):
        for events in (EVENTS[1:], EVENTS[2:], [MESSAGE_STOP], [message_delta()]):
            self.start(each_request(lambda call, events=events: call.answer(events)))
            self.assert_error(self.proxy_.chat(stream=True), 502, "upstream_invalid")


class Early(Case):
    """The upstream answers before it has read the whole request."""

    BIG = "b" * (16 << 20)

    def test_error(self):
        def script(call):
            call.until(b"\r\n\r\n")
            call.error(413, "request_too_large", "too large")
            call.end_write()
            call.wait_closed()

        self.start(script)
        self.assert_error(self.proxy_.chat(self.BIG), 413, "request_too_large")

    def test_error_and_close(self):
        def script(call):
            call.until(b"\r\n\r\n")
            call.error(429, "rate_limit_error", "slow", retry_after="60", connection="close")

        self.start(script)
        response = self.proxy_.chat(self.BIG)
        self.assertIn(response.status, (429, 503))  # the reset may overtake the answer

    def test_answer_then_the_rest_is_read(self):
        """Timers of the phases must not meet each other."""
        def script(call):
            length = int(harness.parse_head(call.until(b"\r\n\r\n"))[1]["content-length"])
            call.send(chunks(body_of(EVENTS[:3])))
            go_on.wait(harness.DEADLINE)
            call.exactly(length)
            with contextlib.suppress(TimeoutError):  # longer than the first byte may take
                call.sock.settimeout(0.4)
                call.fill()
            call.sock.settimeout(harness.DEADLINE)
            for event in EVENTS[3:]:
                call.event(event)
            call.end()

        go_on = threading.Event()
        self.start(script, CCPROXY_FIRST_BYTE_TIMEOUT="200ms")
        client = self.client(self.proxy_)
        client.stream(content=self.BIG)
        client.text("Hello!")
        go_on.set()
        client.text("[DONE]")
        self.assertEqual(self.proxy_.logs("worker died"), [])

    def test_whole_answer_at_once(self):
        def script(call):
            while True:
                length = int(harness.parse_head(call.until(b"\r\n\r\n"))[1]["content-length"])
                call.answer()
                call.exactly(length)

        self.start(script, CCPROXY_FIRST_BYTE_TIMEOUT="5s")
        self.assertEqual(self.text_of(self.proxy_.chat(self.BIG)), "Hello!")
        self.assert_good(self.proxy_.chat(self.BIG, stream=True))


class SeenElsewhere(Case):
    """Wrong behaviour of other gateways, each as a request or an answer; what is not here is in
    test_cancel.py (clients that leave), Errors and Framing."""

    def sent(self, **body):
        """The upstream request that a chat request becomes, and the client's answer."""
        self.start(each_request(good))
        response = self.proxy_.chat(**body)
        self.assertEqual(response.status, 200, response.body)
        return json.loads(self.up.requests[0]), response

    def test_stop_becomes_a_list(self):
        self.assertEqual(self.sent(stop="X")[0]["stop_sequences"], ["X"])
        self.assertEqual(self.sent(stop=["X", "Y"])[0]["stop_sequences"], ["X", "Y"])

    def test_pdf_without_its_url_prefix(self):
        pdf = "JVBERi0xLjQK"
        content = [{"type": "file", "file": {"filename": "a.pdf",
                                             "file_data": f"data:application/pdf;base64,{pdf}"}},
                   {"type": "text", "text": "sum up"}]
        document = self.sent(content=content)[0]["messages"][0]["content"][0]
        self.assertEqual(document["type"], "document")
        self.assertEqual(document["source"], {"type": "base64", "media_type": "application/pdf",
                                              "data": pdf})

    def test_nothing_is_dropped_without_a_word(self):
        schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
                  "additionalProperties": False}
        request, response = self.sent(
            reasoning_effort="high", seed=1, parallel_tool_calls=False,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
            tools=[{"type": "function", "function": {"name": "f", "strict": True,
                                                     "parameters": schema}}])
        text = json.dumps(request)
        dropped = response.fields.get("x-ccproxy-dropped", "")
        self.assertTrue('"effort"' in text or "reasoning_effort" in dropped, text)
        self.assertTrue('"disable_parallel_tool_use": true' in text
                        or "parallel_tool_calls" in dropped, text)
        self.assertTrue("output_config" in text or "response_format" in dropped, text)
        self.assertTrue('"strict": true' in text or "strict" in dropped, text)

    def test_more_than_one_choice_is_refused(self):
        self.start(each_request(good))
        response = self.proxy_.chat(n=2)
        self.assert_error(response, 400)
        self.assertEqual(response.error["param"], "n")
        self.assertEqual(self.up.requests, [])

    def test_tool_schemas_get_nothing_added(self):
        schema = {"type": "object", "properties": {"q": {"type": "string"}}}
        tools = [{"type": "function", "function": {"name": "find", "parameters": schema}}]
        self.assertEqual(self.sent(tools=tools)[0]["tools"][0]["input_schema"], schema)

    def test_usage_adds_up(self):
        events = [message_start(input_tokens=25, cache_read_input_tokens=7,
                                cache_creation_input_tokens=10, output_tokens=1),
                  *EVENTS[1:-2], message_delta(output=9), MESSAGE_STOP]
        self.start(each_request(lambda call: call.answer(events)))
        usage = self.proxy_.chat().json()["usage"]
        self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]),
                         (42, 9, 51))
        self.assertEqual(usage["prompt_tokens_details"]["cached_tokens"], 7)
        response = self.proxy_.chat(stream=True, stream_options={"include_usage": True})
        self.assertEqual(response.frames()[-2]["usage"]["total_tokens"], 51)
        self.assertEqual(response.frames()[-2]["choices"], [])
        line = self.proxy_.ended(2)
        self.assertEqual((line["prompt_tokens"], line["output_tokens"]), (42, 9))

    def test_the_same_request_gives_the_same_bytes(self):
        self.start(each_request(good))
        for _ in range(3):
            self.proxy_.chat(tools=[{"type": "function", "function": {
                "name": "f", "parameters": {"b": 1, "a": {"z": 1.50, "y": 1e2}}}}], stop=["x"])
        self.assertEqual(len(set(self.up.requests)), 1)
        self.assertIn(b'"b":1,"a":{"z": 1.5, "y": 100.0}', self.up.requests[0])
