"""/metrics: what is counted, who may read it, and that nothing is lost or made up."""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import threading

import harness
from harness import Gone, each_request, text_events, until

SERIES = re.compile(r'^(\w+)(?:\{(.*)\})? (\S+)$')


def parse(text):
    """{(name, frozenset of labels): value}"""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = SERIES.match(line).groups()
            pairs = frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))
            assert (name, pairs) not in found, line
            found[name, pairs] = float(value)
    return found


class Page:
    def __init__(self, proxy, **kwargs):
        self.response = proxy.get("/metrics", key=None, **kwargs)
        assert self.response.status == 200, self.response.body
        self.text = self.response.body.decode()
        self.series = parse(self.text)

    def sum(self, name, **labels):
        wanted = set(labels.items())
        return sum(v for (n, pairs), v in self.series.items() if n == name and wanted <= pairs)


class Case(harness.TestCase):
    def counts(self, proxy, want, name, **labels):
        """An answer is counted when its upstream has ended, which may be after the client knows."""
        until(lambda: Page(proxy).sum(name, **labels) == want, f"{name} {labels} to be {want}")


class Counting(Case):
    def test_a_success(self):
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())))
        self.assertEqual(proxy.chat(stream=True).status, 200)
        self.counts(proxy, 1, "ccproxy_requests_total", method="POST", endpoint="/chat/completions",
                    status="200")
        page, model = Page(proxy), "claude-sonnet-5-5"
        for name, want, labels in [
                ("ccproxy_auth_total", 1, {"result": "accepted"}),
                ("ccproxy_tokens_total", 10, {"type": "input", "model": model}),
                ("ccproxy_tokens_total", 5, {"type": "output", "model": model}),
                ("ccproxy_client_tokens_total", 5, {"type": "output", "client": "tester"}),
                ("ccproxy_client_requests_total", 1, {"outcome": "success", "client": "tester"}),
                ("ccproxy_claude_api_requests_total", 1, {"status": "200", "model": model}),
                ("ccproxy_request_duration_seconds_count", 1, {"endpoint": "/chat/completions"}),
                ("ccproxy_time_to_first_token_seconds_count", 1, {"model": model}),
                ("ccproxy_upstream_duration_seconds_count", 1, {"model": model}),
                ("ccproxy_client_answer_duration_seconds_count", 1, {"client": "tester"}),
                ("ccproxy_request_prompt_tokens_sum", 10, {"model": model}),
                ("ccproxy_request_output_tokens_bucket", 1, {"model": model, "le": "16.0"}),
                ("ccproxy_request_output_tokens_bucket", 0, {"model": model, "le": "4.0"}),
                ("ccproxy_overhead_seconds_count", 1, {}),
                ("ccproxy_errors_total", 0, {}),
                ("ccproxy_workers", 1, {}),
                ("ccproxy_config_last_reload_successful", 1, {}),
                ("ccproxy_build_info", 1, {}),
                ("ccproxy_active_requests", 1, {}),  # the scrape itself
                ("ccproxy_active_streams", 0, {}),
        ]:
            self.assertEqual(page.sum(name, **labels), want, (name, labels))
        self.assertGreater(page.sum("ccproxy_cost_usd_total", model=model), 0)
        self.assertGreater(page.sum("ccproxy_start_time_seconds"), 1.7e9)

    def test_failures_and_whose_they_were(self):
        def script(call):
            if b"overloaded" in call.body:
                call.error(529, "overloaded_error", "no")
            else:
                call.answer()

        proxy = self.proxy(self.upstream(each_request(script)), CCPROXY_RETRIES="1", CCPROXY_RATE_LIMIT_RPM="3")
        self.assertEqual(proxy.chat("overloaded").status, 503)
        self.assertEqual(proxy.chat(temperature="warm").status, 400)
        self.assertEqual(proxy.get("/v1/chat/completions").status, 405)
        self.assertEqual(proxy.get("/v1/odd").status, 404)
        self.assertEqual(proxy.get("/v1/models", key="wrong").status, 401)
        self.assertEqual([proxy.chat().status for _ in range(3)], [200, 200, 429])
        self.counts(proxy, 1, "ccproxy_errors_total", type="policy_limit_requests")
        page = Page(proxy)
        for kind in ("upstream_overloaded", "caller_invalid_request", "caller_method", "caller_unknown_url",
                     "caller_unauthenticated"):
            self.assertEqual(page.sum("ccproxy_errors_total", type=kind), 1, kind)
        for name, want, labels in [
                ("ccproxy_upstream_retries_total", 1, {"type": "upstream_overloaded"}),
                ("ccproxy_claude_api_requests_total", 2, {"status": "529"}),
                ("ccproxy_rate_limit_hits_total", 1, {"limit": "requests"}),
                ("ccproxy_auth_total", 1, {"result": "refused"}),
                ("ccproxy_client_requests_total", 3, {"outcome": "failure"}),
                ("ccproxy_client_answer_duration_seconds_count", 2, {"client": "tester"}),
                ("ccproxy_requests_total", 1, {"endpoint": "other", "status": "404"}),
        ]:
            self.assertEqual(page.sum(name, **labels), want, (name, labels))

    def test_first_steps_are_seen(self):
        """Counters with few series stand there before they count, so that rate() sees them move."""
        page = Page(self.proxy(None))
        for name, labels in [("ccproxy_auth_total", {"result": "refused"}),
                             ("ccproxy_rate_limit_hits_total", {"limit": "requests"}),
                             ("ccproxy_upstream_retries_total", {"type": "upstream_overloaded"}),
                             ("ccproxy_upstream_key_rests_total", {"key": "1"}),
                             ("ccproxy_client_cost_usd_total", {"client": "tester"}),
                             ("ccproxy_worker_restarts_total", {}), ("ccproxy_usage_lost_total", {})]:
            self.assertEqual(page.series[name, frozenset(labels.items())], 0, (name, labels))

    def test_budgets_and_reservations(self):
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())), CCPROXY_TOKENS_PER_DAY=200)
        self.assertEqual(proxy.chat(stream=True, max_tokens=20).status, 200)
        self.counts(proxy, 15, "ccproxy_settled_tokens_total")
        self.assertGreaterEqual(Page(proxy).sum("ccproxy_reserved_tokens_total"), 20)
        self.assertEqual(proxy.chat(stream=True, max_tokens=20).status, 200)
        self.counts(proxy, 30, "ccproxy_settled_tokens_total")
        until(lambda: 0.07 < Page(proxy).sum("ccproxy_client_budget_used_ratio", client="tester") < 1, "its gauge")
        while proxy.chat(stream=True, max_tokens=20).status == 200:
            pass
        self.counts(proxy, 1, "ccproxy_client_budget_used_ratio", client="tester")

    def test_waiting(self):
        release = threading.Event()

        def answer(call):
            if b"first" in call.body:
                release.wait(harness.DEADLINE)
            call.answer()

        proxy = self.proxy(self.upstream(each_request(answer)), CCPROXY_CONCURRENT_REQUESTS=1, CCPROXY_QUEUE_TIMEOUT="60s")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            first = pool.submit(proxy.chat, "first")
            self.counts(proxy, 2, "ccproxy_active_requests")  # the scrape, and it
            second = pool.submit(proxy.chat, "second")
            self.counts(proxy, 1, "ccproxy_queued_requests")
            release.set()
            self.assertEqual([first.result().status, second.result().status], [200, 200])
        page = Page(proxy)
        self.assertEqual(page.sum("ccproxy_queue_wait_seconds_count"), 1)
        self.assertGreater(page.sum("ccproxy_queue_wait_seconds_sum"), 0)

    def test_an_upstream_that_is_away(self):
        refused = threading.Event()

        def answer(call):
            if refused.is_set():
                call.error(401, "authentication_error", "no")
            else:
                call.error(500, "api_error", "no")

        proxy = self.proxy(self.upstream(each_request(answer)), CCPROXY_RETRIES=0, CCPROXY_AUTH_FAILURES=0)
        self.assertEqual(Page(proxy).sum("ccproxy_upstream_up"), 1)
        self.assertEqual(Page(proxy).sum("ccproxy_upstream_key_up", key="1"), 1)
        for _ in range(5):
            self.assertEqual(proxy.chat().status, 500)
        self.counts(proxy, 0, "ccproxy_upstream_up")
        refused.set()
        self.assertEqual(proxy.chat().status, 502)
        self.counts(proxy, 1, "ccproxy_upstream_key_rests_total", key="1")
        self.counts(proxy, 0, "ccproxy_upstream_key_up", key="1")

    def test_redis_that_was_never_there(self):
        proxy = self.proxy(None, CCPROXY_REDIS_URL=f"unix:{self.directory()}/none", CCPROXY_WORKERS=2)
        self.counts(proxy, 2, "ccproxy_redis_down_workers")
        self.assertEqual(Page(proxy).sum("ccproxy_redis_up_workers"), 0)
        self.assertEqual(Page(self.proxy(None)).sum("ccproxy_redis_down_workers"), 0)

    def test_a_client_that_leaves(self):
        with contextlib.ExitStack() as stack:
            def script(call):
                call.read_request()
                call.start()
                for event in text_events("half")[:3]:
                    call.event(event)
                with contextlib.suppress(Gone):
                    call.wait_closed()

            proxy = self.proxy(self.upstream(script))
            client = stack.enter_context(contextlib.closing(proxy.client()))
            client.stream()
            client.text("half")
            self.counts(proxy, 1, "ccproxy_active_streams")
        self.counts(proxy, 0, "ccproxy_active_streams")
        self.counts(proxy, 1, "ccproxy_client_cancelled_total")
        page = Page(proxy)
        self.assertEqual(page.sum("ccproxy_errors_total", type="caller_client_gone"), 1)
        self.assertEqual(page.sum("ccproxy_active_requests"), 1)

    def test_connections_of_workers_that_nobody_asks(self):
        """Gauges are right without a request that would bring them up to date."""
        proxy = self.proxy(None, CCPROXY_WORKERS=3)
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                client = stack.enter_context(contextlib.closing(proxy.client()))
                client.request("GET", "/livez")
                client.response()
            self.counts(proxy, 21, "ccproxy_connections", side="client")  # and the scrape's
        self.counts(proxy, 1, "ccproxy_connections", side="client")

    def test_nobody_makes_a_series(self):
        """Methods, paths, models and ids of a client's making are all "other"."""
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())))

        def poke(n):
            proxy.chat(model=f"claude-odd-{n}")
            proxy.get(f"/v1/odd/{n}")
            with contextlib.closing(proxy.client()) as c:
                c.request(f"ODD{n}", "/v1/models")
                c.response()

        poke(0)
        self.counts(proxy, 1, "ccproxy_claude_api_requests_total", model="other")
        before = {key for key in Page(proxy).series}
        for n in range(1, 10):
            poke(n)
        self.counts(proxy, 10, "ccproxy_claude_api_requests_total", model="other")
        self.assertEqual({key for key in Page(proxy).series}, before)

    def test_nothing_is_lost(self):
        """Under load, over a worker that dies and a reload: every request that was answered counts."""
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())), CCPROXY_WORKERS=2)
        done = 0

        def load(n):
            for _ in range(n):
                self.assertEqual(proxy.chat().status, 200)
            return n

        def phase():
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                return sum(pool.map(load, [25] * 8))

        def settled():
            self.counts(proxy, done, "ccproxy_requests_total", endpoint="/chat/completions")
            page = Page(proxy)
            self.assertEqual(page.sum("ccproxy_tokens_total", type="output"), 5 * done)
            self.assertEqual(page.sum("ccproxy_claude_api_requests_total"), done)
            return page

        done += phase()
        settled()
        os.kill(proxy.workers()[0], signal.SIGKILL)
        proxy.wait_log("worker died")
        until(lambda: Page(proxy).sum("ccproxy_workers") == 2, "the worker's successor")
        done += phase()
        self.assertEqual(settled().sum("ccproxy_worker_restarts_total"), 1)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            busy = pool.submit(phase)
            proxy.kill(signal.SIGHUP)
            proxy.wait_log("reloaded")
            done += busy.result()
        page = settled()
        self.assertEqual(page.sum("ccproxy_client_requests_total", client="tester", outcome="success"), done)

    def test_a_reload_that_fails(self):
        path = self.directory() / "map.json"
        path.write_text("{}")
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())),
                           CCPROXY_MODEL_MAP=f"@{path}")
        read_at = Page(proxy).sum("ccproxy_config_last_reload_success_timestamp_seconds")
        path.write_text("{")
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("reload refused, the old configuration stays")
        page = Page(proxy)
        self.assertEqual(page.sum("ccproxy_config_last_reload_successful"), 0)
        self.assertEqual(page.sum("ccproxy_config_last_reload_success_timestamp_seconds"), read_at)
        path.write_text("{}")
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("reloaded")
        self.assertEqual(Page(proxy).sum("ccproxy_config_last_reload_successful"), 1)


class Reading(Case):
    def test_who_may(self):
        keys = {right: f"sk-of-an-operator-{right}" for right in ("stats", "metrics", "admin")}
        clients = {name: {"hash": "sha256:" + hashlib.sha256(key.encode()).hexdigest(), "rights": [name]}
                   for name, key in keys.items()}
        proxy = self.proxy(CCPROXY_CLIENTS=json.dumps(clients))
        for key in keys.values():
            self.assertEqual(proxy.get("/metrics", key=key).status, 200)
        self.assertEqual(proxy.get("/metrics", key=None).status, 200)
        for field in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
            self.assertEqual(proxy.get("/metrics", key=None, fields={field: "for=1.2.3.4"}).status, 401)
        self.assertEqual(proxy.get("/metrics").status, 403)
        self.assertEqual(proxy.get("/metrics", key="wrong").status, 401)

    def test_formats(self):
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())))
        proxy.chat(stream=True)
        self.assertEqual(Page(proxy).response.fields["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        page = Page(proxy, fields={"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
        self.assertEqual(page.response.fields["content-type"],
                         "application/openmetrics-text; version=1.0.0; charset=utf-8")
        self.assertTrue(page.text.endswith("# EOF\n"))

    def test_exemplars(self):
        """A bucket of durations names the latest trace in it, to readers of OpenMetrics."""
        proxy, trace = self.proxy(None), "4bf92f3577b34da6a3ce929d0e0e4736"
        proxy.get("/livez", fields={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
        text = proxy.get("/metrics", key=None,
                         fields={"Accept": "application/openmetrics-text"}).body.decode()
        lines = [line for line in text.splitlines() if "trace_id" in line]
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines[0], r'^ccproxy_request_duration_seconds_bucket\{endpoint="/livez",le="[0-9.]+"\} 1 '
                                   r'# \{trace_id="%s"\} 0\.\d+ \d+\.\d+$' % trace)
        self.assertNotIn("trace_id", Page(proxy).text)

    def test_promtool(self):
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())))
        proxy.chat(stream=True)
        done = subprocess.run(["promtool", "check", "metrics"], input=Page(proxy).text, capture_output=True,
                              text=True, timeout=harness.DEADLINE, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
