"""Spans: what a collector gets is what OpenTelemetry's own definitions can read, and it is what happened;
a collector that is away, slow or unwilling costs no request anything, and what it costs is counted."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import threading

import harness
from harness import each_request, free_port, message_delta, message_start, text_delta, text_events, text_start, until
from test_upstream_tls import Authority, server_context

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = HERE.parent.parent / "build/clients/venv/bin/python"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
RING = 2048


def take(call, status=200, body=b"{}", **fields):
    call.head(status, "OK", then=body, content_length=len(body), **{"content_type": "application/json", **fields})


class Case(harness.TestCase):
    def collector(self, answer=take, **kwargs):
        """Answers by answer(call); the bodies that it took are in its requests."""
        return self.upstream(each_request(answer), **kwargs)

    def tracing(self, collector, upstream=None, **env):
        url = collector if isinstance(collector, str) else collector.url
        if upstream is None:
            upstream = self.upstream(each_request(lambda call: call.answer()))
        return self.proxy(upstream, **{"OTEL_EXPORTER_OTLP_ENDPOINT": url, **env})

    def ask(self, proxy, n=1, traceparent=SAMPLED, **extra):
        fields = {"traceparent": traceparent} if traceparent else {}
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], **extra}
        with contextlib.closing(proxy.client()) as c:
            for _ in range(n):
                c.request("POST", "/v1/chat/completions", body, fields)
                response = c.response()
                self.assertEqual(response.status, 200, response.body)
        return response

    @staticmethod
    def count(bodies):
        return sum(len(json.loads(b)["resourceSpans"][0]["scopeSpans"][0]["spans"]) for b in bodies)

    def spans(self, collector, n):
        """The first n spans that came, when they have; no more may have."""
        with collector.changed:
            there = collector.changed.wait_for(lambda: self.count(collector.requests) >= n, harness.DEADLINE)
            bodies = list(collector.requests)
        self.assertTrue(there, f"{self.count(bodies)} of {n} spans came")
        read = subprocess.run([PYTHON, HERE / "clients/otlp_read.py"], input=b"\n".join(bodies), check=True,
                              stdout=subprocess.PIPE, timeout=harness.DEADLINE)
        spans = json.loads(read.stdout)
        self.assertEqual(len(spans), n)
        return spans

    @staticmethod
    def of_kind(spans, kind):
        return sorted((s for s in spans if s["kind"] == kind), key=lambda s: s["start"])

    @staticmethod
    def metric(proxy, name):
        page = proxy.get("/metrics", key=None).body.decode()
        return int(re.search(rf"^ccproxy_spans_{name} (\d+)$", page, re.M).group(1))

    def reaches(self, proxy, name, n):
        until(lambda: self.metric(proxy, name) >= n, f"{name} to be {n}")
        self.assertEqual(self.metric(proxy, name), n)


class Content(Case):
    def answer(self, call):
        events = text_events("ok")
        events[0] = message_start(input_tokens=33, cache_read_input_tokens=5, cache_creation_input_tokens=2)
        events[-2] = message_delta(output=7)
        self.sent_on = None
        call.answer(events)
        self.sent_on = call.fields["traceparent"]

    def test_a_request(self):
        collector, upstream = self.collector(), self.upstream(each_request(self.answer))
        proxy = self.tracing(collector, upstream, OTEL_SERVICE_NAME="gate",
                             OTEL_EXPORTER_OTLP_HEADERS="x-tenant=a%20b,authorization=Basic%20QTpC")
        self.ask(proxy, stream=True, max_tokens=99)
        server, client = (self.of_kind(self.spans(collector, 2), kind)[0] for kind in ("SERVER", "CLIENT"))
        post = collector.calls[0]
        self.assertEqual(post.line, "POST /v1/traces HTTP/1.1")
        self.assertEqual(post.fields["content-type"], "application/json")
        self.assertEqual((post.fields["x-tenant"], post.fields["authorization"]), ("a b", "Basic QTpC"))
        self.assertEqual(post.fields["host"], f"127.0.0.1:{collector.port}")
        for span in (server, client):
            self.assertEqual(span["trace"], TRACE)
            self.assertEqual(span["resource"]["service.name"], "gate")
            self.assertEqual(span["status"], "UNSET")
        self.assertEqual(server["parent"], PARENT)
        self.assertEqual(client["parent"], server["id"])
        self.assertEqual(self.sent_on, f"00-{TRACE}-{client['id']}-01")
        self.assertEqual((server["flags"], client["flags"]), (0x301, 0x101))
        self.assertEqual((server["name"], client["name"]), ("POST /chat/completions", "chat claude-sonnet-5-5"))
        self.assertEqual(client["attributes"] | {
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": "claude-sonnet-5-5", "gen_ai.response.model": "claude-sonnet-5-5",
            "gen_ai.request.max_tokens": 99, "gen_ai.response.id": "msg_01Test",
            "gen_ai.response.finish_reasons": ["end_turn"], "gen_ai.usage.input_tokens": 40,
            "gen_ai.usage.output_tokens": 7, "gen_ai.usage.cache_read.input_tokens": 5,
            "gen_ai.usage.cache_creation.input_tokens": 2, "server.address": "127.0.0.1",
            "server.port": upstream.port, "http.request.method": "POST", "http.response.status_code": 200,
            "ccproxy.upstream_request_id": "req_upstream_1"}, client["attributes"])
        line = proxy.ended()
        self.assertEqual(server["attributes"], {
            "http.request.method": "POST", "http.route": "/chat/completions", "url.path": "/v1/chat/completions",
            "http.response.status_code": 200, "ccproxy.request_id": line["id"], "ccproxy.client": "tester",
            "ccproxy.asked_model": "gpt-4o", "ccproxy.attempts": 1,
            "ccproxy.cost_micro_usd": line["cost_micro_usd"]})
        self.assertLessEqual(server["start"], client["start"])
        self.assertLessEqual(client["start"], client["events"]["first event"])
        self.assertLessEqual(client["events"]["first event"], client["events"]["first token"])
        self.assertLessEqual(client["events"]["first token"], client["end"])
        self.assertLessEqual(client["end"], server["end"])
        self.assertEqual(sorted(server["events"]), ["request received", "sent upstream"])

    def test_retries(self):
        """Each attempt has a span of its own, and is the parent that upstream sees."""
        parents = []

        def answer(call):
            parents.append(call.fields["traceparent"].split("-")[2])
            if len(parents) < 3:
                call.error(529, "overloaded_error", "full", retry_after="0", x_should_retry="true")
            else:
                call.answer()

        collector = self.collector()
        proxy = self.tracing(collector, self.upstream(each_request(answer)))
        self.ask(proxy, stream=True)
        spans = self.spans(collector, 4)
        clients, server = self.of_kind(spans, "CLIENT"), self.of_kind(spans, "SERVER")[0]
        self.assertEqual([c["id"] for c in clients], parents)
        self.assertEqual({c["parent"] for c in clients}, {server["id"]})
        self.assertEqual([c["status"] for c in clients], ["ERROR", "ERROR", "UNSET"])
        self.assertEqual([c["attributes"].get("error.type") for c in clients],
                         ["UPSTREAM_OVERLOADED", "UPSTREAM_OVERLOADED", None])
        self.assertEqual([c["attributes"]["http.response.status_code"] for c in clients], [529, 529, 200])
        self.assertEqual([c["attributes"].get("http.request.resend_count") for c in clients], [None, 1, 2])
        self.assertEqual([c["attributes"].get("gen_ai.usage.output_tokens") for c in clients], [None, None, 5])
        self.assertEqual((server["status"], server["attributes"]["ccproxy.attempts"]), ("UNSET", 3))

    def test_failures(self):
        """What the caller did wrong is no error of the server; a broken answer is one."""

        def answer(call):
            if b"refuse" in call.body:
                call.error(400, "invalid_request_error", "no")
                return
            call.start()
            call.event(message_start())
            raise harness.Gone("cut")

        collector = self.collector()
        proxy = self.tracing(collector, self.upstream(each_request(answer)))
        with contextlib.closing(proxy.client()) as c:
            c.request("POST", "/v1/chat/completions", {"model": "gpt-4o"}, {"traceparent": SAMPLED})
            self.assertEqual(c.response().status, 400)
            c.request("POST", "/v1/chat/completions",
                      {"model": "gpt-4o", "messages": [{"role": "user", "content": "refuse"}]},
                      {"traceparent": SAMPLED})
            self.assertEqual(c.response().status, 400)
            c.chat(stream=True)
            self.assertEqual(c.response().status, 200)
        spans = self.spans(collector, 5)
        servers, clients = self.of_kind(spans, "SERVER"), self.of_kind(spans, "CLIENT")
        self.assertEqual([(s["status"], s["attributes"]["ccproxy.attempts"]) for s in servers],
                         [("UNSET", 0), ("UNSET", 1), ("ERROR", 1)])
        self.assertEqual([c["status"] for c in clients], ["ERROR", "ERROR"])
        self.assertEqual(clients[1]["attributes"]["error.type"], "UPSTREAM_CUT")
        self.assertTrue(all("error.type" in s["attributes"] for s in servers))

    def test_rounds(self):
        """An answer that paused: each round has the tokens that were its own."""

        def answer(call):
            first = len(call.json()["messages"]) == 1
            events = text_events("One.")
            events[0] = message_start(input_tokens=11 if first else 31)
            events[-2] = message_delta("pause_turn" if first else "end_turn", output=4 if first else 6)
            call.answer(events)

        collector = self.collector()
        proxy = self.tracing(collector, self.upstream(each_request(answer)))
        usage = self.ask(proxy, web_search_options={}).json()["usage"]
        clients = self.of_kind(self.spans(collector, 3), "CLIENT")
        tokens = [(c["attributes"]["gen_ai.usage.input_tokens"], c["attributes"]["gen_ai.usage.output_tokens"])
                  for c in clients]
        self.assertEqual(tokens, [(11, 4), (31, 6)])
        self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), (42, 10))
        self.assertEqual([c["attributes"]["gen_ai.response.finish_reasons"] for c in clients],
                         [["pause_turn"], ["end_turn"]])
        self.assertEqual([c["status"] for c in clients], ["UNSET", "UNSET"])

    def test_client_leaves(self):
        """Both spans end, and nobody failed."""

        def answer(call):
            call.start()
            call.event(message_start())
            call.event(text_start())
            call.event(text_delta("begun"))
            call.wait_closed()

        collector = self.collector()
        proxy = self.tracing(collector, self.upstream(each_request(answer)))
        client = self.client(proxy)
        client.stream()
        client.text("begun")
        client.close()
        spans = self.spans(collector, 2)
        self.assertEqual({s["status"] for s in spans}, {"UNSET"})
        self.assertEqual({s["attributes"]["error.type"] for s in spans}, {proxy.ended()["ending"]})

    def test_our_own_trace(self):
        seen = []

        def answer(call):
            seen.append(call.fields["traceparent"])
            call.answer()

        collector = self.collector()
        proxy = self.tracing(collector, self.upstream(each_request(answer)))
        self.ask(proxy, 2, traceparent=None)
        spans = self.spans(collector, 4)
        servers, clients = self.of_kind(spans, "SERVER"), self.of_kind(spans, "CLIENT")
        self.assertEqual([s["parent"] for s in servers], ["", ""])
        self.assertEqual(seen, [f"00-{c['trace']}-{c['id']}-01" for c in clients])
        self.assertEqual([s["trace"] for s in servers], [proxy.ended(i)["trace_id"] for i in (1, 2)])
        self.assertNotEqual(servers[0]["trace"], servers[1]["trace"])

    def test_sampling(self):
        """The caller's flag decides; without a caller, the ratio."""
        seen = []

        def answer(call):
            seen.append(call.fields["traceparent"])
            call.answer()

        collector = self.collector()
        proxy = self.tracing(collector, self.upstream(each_request(answer)), OTEL_TRACES_SAMPLER_ARG="0.0")
        self.ask(proxy, traceparent=None)
        self.ask(proxy, traceparent=UNSAMPLED)
        self.ask(proxy)
        self.assertEqual([s["trace"] for s in self.spans(collector, 2)], [TRACE, TRACE])
        self.assertEqual([s[-2:] for s in seen], ["00", "00", "01"])
        self.assertTrue(seen[1].startswith(f"00-{TRACE}-"))

    def test_who_leaves_none(self):
        """Strangers, and what is not a call to Claude."""
        collector = self.collector()
        proxy = self.tracing(collector)
        for path in ("/health", "/v1/models"):
            self.assertEqual(proxy.get(path, fields={"traceparent": SAMPLED}).status, 200)
        with contextlib.closing(proxy.client()) as c:
            c.request("POST", "/v1/chat/completions", {"model": "x"}, {"traceparent": SAMPLED},
                      key="sk-stranger-0123456")
            self.assertEqual(c.response().status, 401)
        self.ask(proxy)
        self.spans(collector, 2)
        self.assertEqual(proxy.stop(), 0)
        self.spans(collector, 2)

    def test_nothing_secret(self):
        mark = "planted-7d1f"

        def answer(call):
            call.answer(text_events(f"the answer {mark}"))

        collector = self.collector()
        proxy = self.tracing(collector, self.upstream(each_request(answer)),
                             OTEL_EXPORTER_OTLP_HEADERS=f"x-key=header-{mark}")
        body = {"model": "gpt-4o", "user": f"user-{mark}", "stop": [f"stop {mark}"],
                "messages": [{"role": "system", "content": f"be {mark}"}, {"role": "user", "content": mark}]}
        with contextlib.closing(proxy.client()) as c:
            c.request("POST", f"/v1/chat/completions?key={mark}", body,
                      {"traceparent": SAMPLED, "tracestate": f"v={mark}", "cookie": mark, "user-agent": mark,
                       "x-forwarded-for": mark, "referer": mark, "baggage": f"k={mark}"})
            response = c.response()
        self.assertEqual(response.status, 200, response.body)
        self.spans(collector, 2)
        for body in collector.requests:
            for secret in (mark, harness.KEY, harness.UPSTREAM_KEY):
                self.assertNotIn(secret.encode(), body)
        self.assertNotIn(mark.encode(), proxy.raw)

    def test_off(self):
        """Nothing is sent, and no trace is begun."""
        seen = []

        def answer(call):
            seen.append(call.fields.get("traceparent"))
            call.answer()

        proxy = self.proxy(self.upstream(each_request(answer)), CCPROXY_LOG_LEVEL="DEBUG")
        self.ask(proxy, traceparent=None)
        self.assertEqual(seen, [None])
        self.assertEqual(proxy.logs("scribe started"), [])
        self.assertNotIn("trace_id", proxy.ended())


class Collectors(Case):
    """That do not do what one would wish."""

    def test_away_then_there(self):
        port = free_port()
        proxy = self.tracing(f"http://127.0.0.1:{port}/")
        self.ask(proxy, 3)
        proxy.wait_log("spans cannot be exported, they wait")
        self.ask(proxy, 2)
        collector = self.collector(port=port)
        self.assertEqual(len({s["id"] for s in self.spans(collector, 10)}), 10)
        self.reaches(proxy, "exported_total", 10)
        self.assertEqual(self.metric(proxy, "dropped_total"), 0)

    def test_busy(self):
        """Told to wait, it waits and sends the same again."""
        answers = iter([(429, {"retry_after": "0"}), (503, {}), (200, {})])

        def answer(call):
            status, fields = next(answers)
            take(call, status, **fields)

        collector = self.collector(answer)
        proxy = self.tracing(collector)
        self.ask(proxy)
        collector.wait_requests(3)
        self.assertEqual(len(set(collector.requests)), 1)
        self.reaches(proxy, "exported_total", 2)
        self.assertEqual(self.metric(proxy, "dropped_total"), 0)
        self.assertEqual(self.metric(proxy, "waiting"), 0)

    def test_unwilling(self):
        """What it refuses is not sent again, and counts as dropped."""
        answers = iter([(400, b"{}"), (200, b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no"}}'),
                        (200, b"{}")])
        collector = self.collector(lambda call: take(call, *next(answers)))
        proxy = self.tracing(collector)
        for n in (1, 2, 3):
            self.ask(proxy)
            collector.wait_requests(n)
        self.assertEqual(proxy.wait_log("the collector refused spans", status=400)["spans"], 2)
        self.assertEqual(proxy.wait_log("the collector refused spans", 2)["spans"], 1)
        self.reaches(proxy, "exported_total", 3)
        self.assertEqual(self.metric(proxy, "dropped_total"), 3)

    def test_silent(self):
        """It takes a batch and says nothing: requests go on, a bounded number of spans waits, the rest is
        counted; when it is gone and another one there, it gets what has waited."""
        silent = threading.Event()
        self.addCleanup(silent.set)

        def answer(call):
            if silent.is_set():
                take(call)
            else:
                silent.wait(harness.DEADLINE)
                raise harness.Gone("killed")

        collector = self.collector(answer)
        proxy = self.tracing(collector)
        self.ask(proxy)
        collector.wait_requests(1)
        self.ask(proxy, RING // 2 + 99)
        self.reaches(proxy, "dropped_total", 200)
        self.assertEqual(self.metric(proxy, "waiting"), RING)
        silent.set()
        self.reaches(proxy, "exported_total", RING)
        self.assertEqual(self.metric(proxy, "dropped_total"), 200)

    def test_scribe_killed(self):
        """What was not acknowledged is sent by the next one."""
        first = threading.Event()
        self.addCleanup(first.set)

        def answer(call):
            if first.is_set():
                take(call)
            else:
                first.wait(harness.DEADLINE)
                raise harness.Gone("with the scribe")

        collector = self.collector(answer)
        proxy = self.tracing(collector, CCPROXY_LOG_LEVEL="DEBUG")
        self.ask(proxy)
        collector.wait_requests(1)
        os.kill(proxy.wait_log("scribe started")["pid"], signal.SIGKILL)
        first.set()
        proxy.wait_log("scribe started", 2)
        collector.wait_requests(2)
        self.assertEqual(collector.requests[0], collector.requests[1])
        self.reaches(proxy, "exported_total", 2)

    def test_stop_sends_the_rest(self):
        collector = self.collector()
        proxy = self.tracing(collector)
        self.ask(proxy, 20)
        self.assertEqual(proxy.stop(), 0)
        self.spans(collector, 40)

    def test_stop_without_collector(self):
        """The end does not wait for it for long, and says what is lost."""
        port = free_port()
        proxy = self.tracing(f"http://127.0.0.1:{port}")
        self.ask(proxy)
        self.assertEqual(proxy.stop(), 0)
        self.assertEqual(proxy.wait_log("spans are lost")["spans"], 2)

    def test_https(self):
        folder = self.directory()
        authority = Authority(folder, "collectors")
        collector = self.collector(tls=server_context(authority.issue("collector", "DNS:localhost,IP:127.0.0.1")))
        proxy = self.tracing(collector, CCPROXY_CA_FILE=authority.pem)
        self.ask(proxy)
        self.spans(collector, 2)
        self.assertEqual(proxy.logs("spans cannot be exported, they wait"), [])

    def test_untrusted(self):
        folder = self.directory()
        mine, other = Authority(folder, "mine"), Authority(folder, "other")
        collector = self.collector(tls=server_context(other.issue("collector", "IP:127.0.0.1")))
        proxy = self.tracing(collector, CCPROXY_CA_FILE=mine.pem)
        self.ask(proxy)
        self.assertIn("certificate", proxy.wait_log("spans cannot be exported, they wait")["error"])
        self.assertEqual(collector.requests, [])

    def test_with_a_database(self):
        """The scribe does both, and a collector that is silent does not keep usage from being written."""
        silent = threading.Event()
        self.addCleanup(silent.set)
        collector = self.collector(lambda call: (silent.wait(harness.DEADLINE), take(call)))
        folder = self.directory()
        folder.chmod(0o777)
        proxy = self.tracing(collector, CCPROXY_DB=folder / "usage.db")
        self.ask(proxy)
        collector.wait_requests(1)
        self.ask(proxy, 2)

        def written():
            out = harness.run("usage", "--json", CCPROXY_DB=folder / "usage.db").stdout
            return sum(row["requests"] for row in json.loads(out)) if out else 0

        until(lambda: written() == 3, "usage to be written")
        silent.set()
        self.reaches(proxy, "exported_total", 6)


class Options(Case):
    def write(self, text):
        new = self.config.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.config)

    def reload(self, proxy, text):
        n = len(proxy.logs("reloaded"))
        self.write(text)
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("reloaded", n + 1)

    def test_reload(self):
        """Off, on, to another collector, and off."""
        first, second = self.collector(), self.collector()
        self.config = self.directory() / "ccproxy.yaml"
        self.write("workers: 1\n")
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())), CCPROXY_CONFIG=self.config,
                           CCPROXY_LOG_LEVEL="DEBUG")
        self.ask(proxy)
        self.reload(proxy, f"otel_exporter_otlp_endpoint: {first.url}\n")
        self.ask(proxy)
        self.spans(first, 2)
        self.reload(proxy, f"otel_exporter_otlp_traces_endpoint: {second.url}/here\n"
                           "otel_exporter_otlp_headers: [a=1, b=2]\n")
        proxy.wait_log("scribe started", 2)
        self.ask(proxy)
        self.spans(second, 2)
        self.assertEqual(second.calls[0].line, "POST /here HTTP/1.1")
        self.assertEqual((second.calls[0].fields["a"], second.calls[0].fields["b"]), ("1", "2"))
        self.reload(proxy, "workers: 1\n")
        self.ask(proxy)
        self.assertEqual(proxy.stop(), 0)
        self.spans(first, 2)
        self.spans(second, 2)

    def test_wrong(self):
        for name, value, word in (
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "address"),
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://x/v1", "address"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "no-value-9e2", "name=value"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "x=%0d%0ay: z", "name=value"),
                ("OTEL_TRACES_SAMPLER_ARG", "1.5", "from 0 to 1"),
                ("OTEL_TRACES_SAMPLER_ARG", "-1", "from 0 to 1"),
                ("OTEL_TRACES_SAMPLER_ARG", "half", "from 0 to 1")):
            done = harness.run("check", **{name: value})
            self.assertEqual(done.returncode, 1, (name, value))
            self.assertIn(name, done.stdout + done.stderr)
            self.assertIn(word, done.stdout + done.stderr)
            self.assertNotIn("9e2", done.stdout + done.stderr)
