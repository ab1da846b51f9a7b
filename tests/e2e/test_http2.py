"""HTTP/2 from clients: tools and official clients as they come, and what a raw client sees of streams,
windows, refusals, reloads and the end."""
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import threading

import harness
from harness import KEY, Gone, each_request, message_start, sse, text_delta, text_events, text_start
from http2 import NO_ERROR, Http2
from test_clients import PROGRAMS, SETTINGS, Simulator, command
from test_metrics import Page
from test_tls import Case as TlsCase

CHAT = "/v1/chat/completions"


class Case(harness.TestCase):
    def http2(self, proxy, **kwargs):
        client = Http2(proxy.address, **kwargs)
        self.addCleanup(client.close)
        return client


class Clients(TlsCase):
    """Everything that these clients do over HTTP/1.1, with HTTP/2 chosen by ALPN."""

    def check(self, program):
        simulator = Simulator()
        self.addCleanup(simulator.close)
        proxy = self.serve(upstream=simulator.url, CCPROXY_REFRESH_MODELS="true", **SETTINGS)
        env = {"PATH": os.environ["PATH"], "CCPROXY_URL": f"https://{proxy.text_address}",
               "CCPROXY_KEY": KEY, "SIM_URL": simulator.url, "SSL_CERT_FILE": self.ca.pem,
               "NODE_EXTRA_CA_CERTS": self.ca.pem, "CCPROXY_CLIENT_HTTP2": "1"}
        done = subprocess.run([str(c) for c in command(PROGRAMS / program)], env=env, text=True,
                              capture_output=True, timeout=200, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreater(done.stdout.count("ok "), 10, done.stdout)
        spoken = {line["protocol"] for line in proxy.logs("request", path=CHAT)}
        self.assertEqual(spoken, {"HTTP/2"})

    def test_openai_python(self):
        self.check("openai_python.py")

    def test_openai_node(self):
        self.check("openai_node.mjs")


class Tools(TlsCase):
    def run_tool(self, *args, **kwargs):
        return subprocess.run(args, capture_output=True, text=True, check=False,
                              timeout=harness.DEADLINE, **kwargs)

    def test_curl(self):
        up = self.upstream(each_request(lambda call: call.answer(text="Hi.")))
        body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 3000000}]})
        for proxy, scheme, options in (
                (self.proxy(up), "http", ["--http2-prior-knowledge"]),
                (self.serve(upstream=up), "https", ["--http2", "--cacert", self.ca.pem])):
            said = self.run_tool("curl", "-sS", *options, "-H", f"Authorization: Bearer {KEY}",
                                 "-H", "Content-Type: application/json", "--data-binary", "@-",
                                 "-w", "\n%{http_version} %{http_code}",
                                 f"{scheme}://{proxy.text_address}{CHAT}", input=body)
            answer, status = said.stdout.rsplit("\n", 1)
            self.assertEqual(status, "2 200", said.stderr)
            self.assertEqual(json.loads(answer)["choices"][0]["message"]["content"], "Hi.")
            self.assertEqual(proxy.ended()["protocol"], "HTTP/2")

    def test_an_upgrade_is_not_taken(self):
        """RFC 9113 section 3.1: nobody has to take it, and what it led to was abused."""
        proxy = self.proxy(self.up)
        said = self.run_tool("curl", "-sS", "--http2", "-o", os.devnull, "-w", "%{http_version}",
                             f"http://{proxy.text_address}/livez")
        self.assertEqual(said.stdout, "1.1", said.stderr)

    def test_nghttp(self):
        proxy = self.proxy(self.up)
        said = self.run_tool("nghttp", "-v", f"http://{proxy.text_address}/livez",
                             f"http://{proxy.text_address}/nowhere")
        self.assertIn(":status: 200", said.stdout)
        self.assertIn(":status: 404", said.stdout)
        self.assertIn('{"status":"alive"}', said.stdout)

    def test_h2load(self):
        """Many connections of many streams, as many as are allowed."""
        up = self.upstream(each_request(lambda call: call.answer()))
        proxy = self.proxy(up, CCPROXY_H2_STREAMS=20, CCPROXY_WORKERS=2)
        body = self.directory() / "body"
        body.write_text(json.dumps({"model": "gpt-4o", "stream": True,
                                    "messages": [{"role": "user", "content": "hello"}]}))
        said = self.run_tool("h2load", "-n", "1000", "-c", "10", "-m", "20", "-d", str(body),
                             "-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json",
                             f"http://{proxy.text_address}{CHAT}")
        self.assertIn("1000 succeeded, 0 failed", said.stdout)
        self.assertIn("1000 2xx", said.stdout)
        proxy.ended(1000, protocol="HTTP/2", status=200)


class Streams(Case):
    def test_off(self):
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())), CCPROXY_HTTP2="false")
        client = self.http2(proxy)
        with self.assertRaises(Gone):
            client.rest()
            client.turn()

    def test_errors_are_those_of_http_1(self):
        """But for the request's id, which an error repeats."""
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())), CCPROXY_MAX_BODY="2KiB")
        client, old = self.http2(proxy), self.client(proxy)
        chat = {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "hello"}]}
        cases = (("POST", CHAT, b"{", KEY), ("POST", CHAT, {**chat, "model": "nope"}, KEY),
                 ("POST", CHAT, chat, "sk-wrong-0123456789"), ("GET", "/nowhere", None, KEY),
                 ("GET", CHAT, None, KEY), ("POST", "/v1/embeddings", chat, KEY),
                 ("POST", CHAT, {**chat, "n": 3}, KEY), ("POST", CHAT, b"x" * 2049, KEY))
        for number, (method, path, body, key) in enumerate(cases):
            old = self.client(proxy)
            old.request(method, path, body, key=key)
            expected = old.response()
            got = client.answer(client.open(method, path, body, key=key, x_request_id=f"case-{number}",
                                            content_type="application/json"))
            logged = proxy.ended(protocol="HTTP/2", id=f"case-{number}")
            self.assertEqual(logged["status"], expected.status)
            ours, theirs = got.json(), expected.json()
            for answer in (ours, theirs):
                answer["error"].pop("request_id", None)
            self.assertEqual(ours, theirs)

    def test_the_protocol_is_a_label(self):
        """Everything else is counted as one."""
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())))
        client, old = self.http2(proxy), self.client(proxy)
        for _ in range(3):
            self.assertEqual(client.answer(client.ask()).status, 200)
        old.chat()
        self.assertEqual(old.response().status, 200)
        proxy.ended(4)
        page, name = Page(proxy), "ccproxy_protocol_requests_total"
        self.assertEqual([page.sum(name, protocol=f"HTTP/{version}") for version in ("1.0", "1.1", "2")], [0, 1, 3])
        self.assertEqual(page.sum("ccproxy_requests_total"), 4)

    def test_many_answers_at_once(self):
        opened = threading.Event()

        def late(call):
            call.start()
            call.event(message_start())
            opened.wait(harness.DEADLINE)
            for event in text_events(re.search(rb"number \d+", call.body)[0].decode())[1:]:
                call.event(event)
            call.end()

        proxy = self.proxy(self.upstream(each_request(late)))
        client = self.http2(proxy)
        asked = [client.ask(f"number {i}", stream=i % 2 == 0) for i in range(50)]
        opened.set()
        for i, stream in enumerate(asked):
            answer = client.answer(stream)
            self.assertEqual(answer.status, 200, answer.body)
            self.assertIn(f"number {i}", answer.body.decode())

    def test_cancelled(self):
        """The upstream's call ends with the stream; its sibling goes on."""
        closed, go_on = threading.Event(), threading.Event()

        def script(call):
            call.read_request()
            call.start()
            for event in (message_start(), text_start(), text_delta("x" * 4000)):
                call.event(event)
            if b"leave" in call.body:
                call.wait_closed()
                closed.set()
                return
            go_on.wait(harness.DEADLINE)
            for event in text_events("after all")[2:]:
                call.event(event)
            call.end()
            call.wait_closed()

        proxy = self.proxy(self.upstream(script))
        client = self.http2(proxy)
        leaves, stays = client.ask("leave", stream=True), client.ask("stay", stream=True)
        client.until_text(leaves, "xxxx")
        client.until_text(stays, "xxxx")
        client.reset_stream(leaves)
        self.assertTrue(closed.wait(harness.DEADLINE), "the upstream call was not cancelled")
        line = proxy.ended(ending="CLIENT_GONE")
        self.assertEqual((line["protocol"], line["fault"], line["output_tokens"]), ("HTTP/2", "caller", 1000))
        go_on.set()
        self.assertIn(b"after all", client.answer(stays).body)

    def test_a_slow_reader_holds_up_itself(self):
        """A stream whose window is shut is not read upstream beyond a mark; its sibling is served."""
        stuck = threading.Event()
        big = "y" * 65536
        piece = sse(text_delta(big)).encode()
        piece = b"%x\r\n%s\r\n" % (len(piece), piece)

        def push(call, data):
            while data:
                if not select.select([], [call.sock], [], 1)[1]:
                    stuck.set()
                with contextlib.suppress(BlockingIOError):
                    data = data[call.sock.send(data, socket.MSG_DONTWAIT):]

        def script(call):
            while True:
                call.read_request()
                call.start()
                if b"quick" in call.body:
                    for event in text_events("served"):
                        call.event(event)
                else:
                    for event in (message_start(), text_start()):
                        call.event(event)
                    for _ in range(400):
                        push(call, piece)
                    for event in text_events()[-3:]:
                        call.event(event)
                call.end()

        proxy = self.proxy(self.upstream(script, send_buffer=65536))
        client = self.http2(proxy, window=1000, opens=False)
        slow = client.ask("slow", stream=True)
        self.assertTrue(stuck.wait(harness.DEADLINE), "all of the answer was read")
        quick = client.ask("quick")
        client.until_true(lambda: client.streams[quick].ended)
        self.assertIn(b"served", client.streams[quick].body)
        self.assertEqual(len(client.streams[slow].body), 1000)
        client.more(0, 100 << 20)
        client.more(slow, 100 << 20)
        body = client.answer(slow).body
        self.assertEqual(body.count(b"y"), 400 * len(big))
        self.assertTrue(body.endswith(b"data: [DONE]\n\n"))

    def test_refused_before_the_body(self):
        """The answer comes, and the rest of the request is not wanted, without blame."""
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())))
        client = self.http2(proxy)
        stream = client.open("POST", CHAT, b"{", ends=False, key="sk-wrong-0123456789", content_length=100000)
        self.assertIn("error", client.answer(stream).json())
        client.push(stream, b"x" * 60000, ends=False)
        client.push(stream, b"x" * 5000, ends=False)
        client.until_true(lambda: client.streams[stream].error is not None)
        self.assertEqual(client.streams[stream].error, NO_ERROR)
        self.assertEqual(client.answer(client.ask()).status, 200)


class Lifecycle(Case):
    def test_reloads_under_load(self):
        """Clients that do as RFC 9113 says of GOAWAY lose nothing: what it does not cover is sent again."""
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())), CCPROXY_WORKERS=2)
        over, failures, counts = threading.Event(), [], []

        def ask_on():
            client, done = Http2(proxy.address), 0
            while not over.is_set():
                if client.goaway:
                    client.close()
                    client = Http2(proxy.address)
                try:
                    stream = client.ask()
                    answer = client.answer(stream)
                    if answer.status == 200:
                        done += 1
                    else:
                        failures.append((answer.status, answer.error, answer.body))
                except Gone as e:
                    if not client.goaway or stream <= client.goaway[0]:
                        failures.append(e)
                        return
            client.close()
            counts.append(done)

        threads = [threading.Thread(target=ask_on) for _ in range(8)]
        for thread in threads:
            thread.start()
        for i in range(1, 6):
            proxy.kill(signal.SIGHUP)
            proxy.wait_log("reloaded", i)
        over.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertTrue(all(counts), counts)

    def test_stop_lets_streams_finish(self):
        go_on = threading.Event()

        def script(call):
            call.read_request()
            call.start()
            for event in text_events("half")[:3]:
                call.event(event)
            go_on.wait(harness.DEADLINE)
            for event in text_events(" whole")[2:]:
                call.event(event)
            call.end()
            call.wait_closed()

        proxy = self.proxy(self.upstream(script))
        client = self.http2(proxy)
        stream = client.ask(stream=True)
        client.until_text(stream, "half")
        proxy.kill(signal.SIGTERM)
        client.until_true(lambda: client.goaway)
        go_on.set()
        self.assertIn(b"[DONE]", client.answer(stream).body)
        self.assertEqual(client.sent_away(), NO_ERROR)
        proxy.process.wait(harness.DEADLINE)
        self.assertEqual(proxy.process.returncode, 0)


del TlsCase
