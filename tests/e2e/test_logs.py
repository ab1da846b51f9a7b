"""What stands in the log, and what never does."""
import concurrent.futures
import contextlib
import json
import signal
import stat
import subprocess
import threading

import harness
from harness import KEY, UPSTREAM_KEY, Gone, each_request, text_events, until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CHAT = "/v1/chat/completions"


def good(call):
    call.answer()


class Lines(harness.TestCase):
    def ask(self, proxy, fields=(), **extra):
        with contextlib.closing(proxy.client()) as c:
            c.request("POST", CHAT, {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}],
                                     **extra}, fields)
            return c.response()

    def test_a_line_for_each_request(self):
        proxy = self.proxy(self.upstream(each_request(good)), CCPROXY_RATE_LIMIT_RPM=50,
                           CCPROXY_RATE_LIMIT_TPM=50000)
        response = self.ask(proxy, {"x-request-id": "mine-1"}, stream=True)
        line = proxy.ended(id="mine-1")
        for name, want in {"event": "request", "level": "info", "client": "tester", "method": "POST",
                           "path": CHAT, "endpoint": "/chat/completions", "protocol": "HTTP/1.1", "status": 200, "doing": "settle",
                           "ending": "DONE",
                           "fault": "nobody", "asked_model": "gpt-4o", "model": "claude-sonnet-5-5", "platform": "anthropic",
                           "attempts": 1, "upstream_status": 200, "prompt_tokens": 10, "output_tokens": 5,
                           "requests_left": 49, "bytes_out": len(response.body)}.items():
            self.assertEqual(line[name], want, name)
        self.assertGreater(line["cost_micro_usd"], 0)
        self.assertGreater(line["bytes_in"], 0)
        self.assertLess(line["tokens_left"], 50000)
        times = [line[name] for name in ("received_ms", "sent_ms", "first_event_ms", "first_token_ms", "duration_ms")]
        self.assertEqual(times, sorted(times))
        for name in ("trace_id", "waited_ms", "budget_used_percent"):
            self.assertNotIn(name, line)

    def test_what_was_left_and_waited_for(self):
        """Budgets, and the queue."""
        release = threading.Event()

        def answer(call):
            if b"first" in call.body:
                release.wait(harness.DEADLINE)
            call.answer()

        proxy = self.proxy(self.upstream(each_request(answer)), CCPROXY_CONCURRENT_REQUESTS=1, CCPROXY_QUEUE_TIMEOUT="60s",
                           CCPROXY_TOKENS_PER_DAY=100000)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            pool.submit(proxy.chat, "first", max_tokens=20000)
            until(lambda: b"ccproxy_active_requests 2\n" in proxy.get("/metrics", key=None).body, "the first")
            second = pool.submit(proxy.chat, "second")
            until(lambda: b"ccproxy_queued_requests 1\n" in proxy.get("/metrics", key=None).body, "the second to wait")
            release.set()
            self.assertEqual(second.result().status, 200)
        first, second = (proxy.ended(i, endpoint="/chat/completions") for i in (1, 2))
        self.assertNotIn("waited_ms", first)
        self.assertEqual(first["budget_used_percent"], 20)
        self.assertLess(second["received_ms"], second["waited_ms"])
        self.assertLessEqual(second["waited_ms"], second["sent_ms"])

    def test_what_was_being_done(self):
        """Each line says it: the step of an exchange, or the callback."""
        def answer(call):
            if b"broken" not in call.body:
                call.error(500, "api_error", "no")
                return
            call.start()
            for event in text_events("half")[:3]:
                call.event(event)
            raise Gone("in the middle")

        proxy = self.proxy(self.upstream(each_request(answer)), CCPROXY_RETRIES=0, CCPROXY_LOG_LEVEL="DEBUG")
        self.ask(proxy)
        self.ask(proxy, user="broken", stream=True)
        self.ask(proxy, temperature="warm")
        self.assertEqual(proxy.wait_log("ready")["doing"], "channel")
        self.assertEqual(proxy.wait_log("upstream error")["doing"], "send")
        self.assertEqual([proxy.ended(i)["doing"] for i in (1, 2, 3)], ["send", "relay", "decode"])
        self.assertEqual(proxy.stop(), 0)
        lines = [json.loads(line) for line in proxy.raw.decode().splitlines()]
        self.assertEqual([line for line in lines if not line.get("doing")], [])

    def test_a_line_for_a_refusal(self):
        proxy = self.proxy(self.upstream(each_request(good)))
        self.ask(proxy, temperature="warm")
        line = proxy.ended()
        self.assertEqual((line["status"], line["ending"], line["fault"]), (400, "INVALID_REQUEST", "caller"))
        for name in ("model", "platform", "attempts", "prompt_tokens", "cost_micro_usd", "sent_ms"):
            self.assertNotIn(name, line)

    def test_trace_context(self):
        up = self.upstream(each_request(good))
        proxy = self.proxy(up)
        self.ask(proxy, {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "tracestate": "a=1,b=2"})
        self.assertEqual(proxy.ended()["trace_id"], TRACE)
        version, trace, span, flags = up.calls[0].fields["traceparent"].split("-")
        self.assertEqual((version, trace, flags, len(span)), ("00", TRACE, "01", 16))
        self.assertNotEqual(span, "00f067aa0ba902b7")
        self.assertEqual(up.calls[0].fields["tracestate"], "a=1,b=2")
        self.ask(proxy, {"traceparent": f"00-{TRACE}-0000000000000000-01", "tracestate": "a=1"})
        self.assertNotIn("trace_id", proxy.ended(count=2))
        self.assertNotIn("traceparent", up.calls[-1].fields)
        self.assertNotIn("tracestate", up.calls[-1].fields)


class Files(harness.TestCase):
    def lines(self, path):
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def requests(self, path):
        return [line for line in self.lines(path) if line["event"] == "request"]

    def start(self, log, **env):
        """A server that writes there, and a way to ask it something."""
        place = str(log.parent / "socket")
        process = subprocess.Popen([harness.BINARY], env=harness.environment({
            "CCPROXY_LOG_FILE": log, "CCPROXY_HOST": "unix:" + place, **env}), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        until(lambda: log.exists() and " ready" in log.read_text().replace('"ready"', " ready"), "it to be ready")

        def ask(fields=()):
            with contextlib.closing(harness.Client(place)) as c:
                c.request("GET", "/livez", fields=fields)
                self.assertEqual(c.response().status, 200)
        return process, ask

    def test_reopened(self):
        """logrotate's way: the file is renamed, and what comes after SIGUSR1 is in a new one."""
        log = self.directory() / "log"
        old = log.with_suffix(".1")
        process, ask = self.start(log)
        self.assertEqual(stat.S_IMODE(log.stat().st_mode), 0o640)
        ask()
        until(lambda: len(self.requests(log)) == 1, "a line")
        log.rename(old)
        process.send_signal(signal.SIGUSR1)
        until(lambda: any(line["event"] == "reloaded" for line in self.lines(log)), "the new file")
        ask()
        until(lambda: len(self.requests(log)) == 1, "a line in the new file")
        self.assertEqual(len(self.requests(old)), 1)

    def test_as_text(self):
        log = self.directory() / "log"
        _, ask = self.start(log, CCPROXY_LOG_FORMAT="text")
        ask({"x-request-id": "mine-1"})
        until(lambda: "id=mine-1" in log.read_text(), "the line")
        line = next(line for line in log.read_text().splitlines() if "id=mine-1" in line)
        self.assertRegex(line, r'^\S+Z info worker 1 request doing=answer id=mine-1 address="?\S* method=GET path=/livez '
                               r'endpoint=/livez protocol="?HTTP/1.1"? status=200 ending=DONE fault=nobody .*duration_ms=[\d.]+$')

    def test_cannot_be_opened(self):
        done = harness.run(CCPROXY_LOG_FILE="/no/such/directory/log")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "ccproxy: CCPROXY_LOG_FILE: /no/such/directory/log: No such file or directory\n")

    def test_levels_of_modules(self):
        config = self.directory() / "ccproxy.yaml"
        config.write_text("log_level: ERROR\nlog_levels: [master:info, relay:info]\n")
        proxy = self.proxy(self.upstream(each_request(lambda call: call.error(500, "api_error", "no"))),
                           CCPROXY_CONFIG=config, CCPROXY_RETRIES="0")
        self.assertEqual(proxy.chat().status, 500)
        proxy.wait_log("upstream error")
        self.assertEqual(proxy.logs("request"), [])
        config.write_text("log_level: ERROR\nlog_levels: [master:info, exchange:info]\n")
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("reloaded")
        self.assertEqual(proxy.chat().status, 500)
        proxy.ended()
        self.assertEqual(len(proxy.logs("upstream error")), 1)
        done = harness.run("check", CCPROXY_LOG_LEVELS="relay=info")
        self.assertIn("CCPROXY_LOG_LEVELS", done.stdout + done.stderr)
        self.assertEqual(done.returncode, 1)


class Secrets(harness.TestCase):
    """Something that nobody may read is put everywhere; then everything that is written is searched."""

    MARK = "PLANTED"

    def mark(self, where):
        self.marks.append(f"{self.MARK}-{where}")
        return self.marks[-1]

    def fields(self):
        names = ("cookie", "x-forwarded-for", "user-agent", "referer", "x-stainless-lang", "openai-organization",
                 "tracestate", "traceparent", "idempotency-key", "anthropic-beta", "x-odd", "accept", "via")
        return {name: self.mark(name) for name in names}

    def bodies(self):
        m = self.mark
        user = {"role": "user", "content": m("prompt")}
        tool = {"type": "function", "function": {"name": m("tool"), "description": m("description")}}
        base = {"model": "gpt-4o", "messages": [user]}
        yield {**base, "stream": True, "user": m("user"), "tools": [tool]}
        yield {**base, "metadata": {m("key"): m("value")}, "stop": m("stop")}
        yield {**base, "temperature": m("temperature")}
        yield {**base, "messages": [{"role": m("role"), "content": "x"}]}
        yield {**base, "tools": [{"type": m("type")}]}
        yield {**base, "messages": [user, {"role": "assistant", "tool_calls": [
            {"id": m("id"), "type": "function", "function": {"name": "f", "arguments": m("arguments")}}]},
            {"role": "tool", "tool_call_id": m("other"), "content": m("result")}]}
        yield {**base, "response_format": {"type": "json_schema", "json_schema": {
            "name": m("name"), "schema": {"type": m("schema")}}}}
        yield '{"model": "gpt-4o", "' + m("broken")

    def script(self, call):
        n = 0
        while True:
            call.read_request()
            n += 1
            if n % 4 == 1:
                call.answer(text_events(self.mark("answer")), **{"x-odd": self.mark("answer-field")})
            elif n % 4 == 2:
                call.error(400, "invalid_request_error", self.mark("error"))
            elif n % 4 == 3:
                call.error(500, self.mark("kind"), self.mark("message"))
            else:
                call.start()
                call.event({"type": "error", "error": {"type": "api_error", "message": self.mark("event")}})
                call.end()

    def place(self):
        folder = self.directory()
        folder.chmod(0o777)  # the scribe runs as another user
        return folder

    def test_nothing_leaks(self):
        """In the log, on operators' pages, in the usage database, in spans, in what the commands print. Answers to a client may
        quote what it said, but no credential and no field of its head."""
        self.marks = []
        wrong, heads, spans = self.mark("wrong-key"), [], []

        def collect(call):
            spans.append(call.body.decode())
            call.head(200, content_type="application/json", content_length=2, then=b"{}")

        collector, database = self.upstream(each_request(collect)), self.place() / "usage.db"
        proxy = self.proxy(self.upstream(self.script), CCPROXY_LOG_LEVEL="DEBUG", CCPROXY_RETRIES="2", CCPROXY_DB=database,
                           OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
                           OTEL_EXPORTER_OTLP_HEADERS="x-key=" + self.mark("header-of-ours"))
        sent, told = 0, b""

        def take(response):
            nonlocal sent, told
            sent += 1
            told += repr(response.fields).encode() + response.body
            return response

        for _ in range(3):
            for body in self.bodies():
                with contextlib.closing(proxy.client()) as c:
                    fields = self.fields()
                    heads = list(fields.values())
                    c.request("POST", CHAT + "?key=" + self.mark("query"), body, fields)
                    take(c.response())
        for key in (wrong, KEY):
            for path in ("/v1/models", "/metrics", "/health", "/v1/odd"):
                take(proxy.get(path, key=key, fields={"x-api-key": wrong}))
        proxy.ended(count=sent)
        pages = [proxy.get(path, key=None, fields=fields).body.decode() for fields in ({}, {"accept": "application/openmetrics-text"})
                 for path in ("/metrics", "/health", "/stats", "/dashboard", "/livez", "/readyz")]
        self.assertIn('"recent":[{', pages[2])
        url = "http://%s:%d" % proxy.address
        done = [harness.run("top", "--once", "--url", url), harness.run("check", ANTHROPIC_API_KEY=UPSTREAM_KEY,
                                                                       CCPROXY_API_KEYS="tester:" + KEY)]
        proxy.stop()
        done.append(harness.run("usage", "--json", "--by", "client,model", CCPROXY_DB=database))
        self.assertEqual([one.returncode for one in done], [0, 0, 0])
        kept = b"".join(path.read_bytes() for path in database.parent.iterdir()).decode(errors="replace")
        written = {"log": proxy.raw.decode(), "printed": proxy.printed.decode(), "pages": "".join(pages), "database": kept,
                   "spans": "".join(spans), "commands": "".join(one.stdout + one.stderr for one in done)}
        self.assertGreater(len(self.marks), 300)
        for name in ("database", "spans", "commands"):
            self.assertIn("tester", written[name])
        for name, text in written.items():
            for secret in (self.MARK, KEY, UPSTREAM_KEY):
                at = text.find(secret)
                self.assertEqual(at, -1, f"{name}: {text[max(0, at - 200):at + 100]}")
        for secret in (KEY, UPSTREAM_KEY, wrong, *heads):
            at = told.find(secret.encode())
            self.assertEqual(at, -1, told[max(0, at - 200):at + 100])
