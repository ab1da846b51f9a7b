"""GET /stats: what happened since the start and lately, in total, by client and by model."""
import hashlib
import json
import os
import signal

import harness
from harness import each_request, text_events, until

BASE = ("total_requests", "successful_requests", "failed_requests", "average_response_time",
        "current_active_requests", "rate_limit_hits", "uptime_seconds")


class Stats(harness.TestCase):
    def start(self, **env):
        return self.proxy(self.upstream(each_request(lambda call: call.answer())), **env)

    def read(self, proxy, **kwargs):
        response = proxy.get("/stats", key=None, **kwargs)
        self.assertEqual(response.status, 200)
        self.assertEqual(response.fields["content-type"], "application/json")
        return response.json()

    def test_what_clients_saw(self):
        proxy = self.start(CCPROXY_RATE_LIMIT_RPM=6)
        self.assertEqual([proxy.chat(stream=True).status for _ in range(4)], [200] * 4)
        self.assertEqual(proxy.chat(temperature="warm").status, 400)
        self.assertEqual([proxy.chat(model="claude-opus-5", stream=True).status for _ in range(3)], [200, 200, 429])
        until(lambda: self.read(proxy)["total_requests"] == 8, "all to be counted")
        stats = self.read(proxy)
        self.assertEqual([stats[name] for name in ("successful_requests", "failed_requests", "current_active_requests",
                                                   "rate_limit_hits")], [6, 2, 0, 1])
        for name in BASE:
            self.assertIsInstance(stats[name], (int, float), name)
        self.assertGreater(stats["average_response_time"], 0)
        for name in ("1m", "5m", "1h", "total"):
            window = stats["windows"][name]
            self.assertEqual((window["requests"], window["failed_requests"]), (8, 2))
            self.assertEqual(window["errors"], {"caller": 1, "policy": 1, "upstream": 0, "gateway": 0})
            self.assertEqual((window["tokens"]["input"], window["tokens"]["output"]), (60, 30))
            self.assertEqual((window["duration_seconds"]["count"], window["answer_seconds"]["count"]), (8, 6))
            client = window["clients"][0]
            self.assertEqual((client["requests"], client["failed_requests"], client["answer_seconds"]["count"]), (8, 2, 6))
            self.assertLessEqual(client["answer_seconds"]["p50"], client["answer_seconds"]["p99"])
            self.assertEqual([c["client"] for c in window["clients"]], ["tester"])
            self.assertEqual({m["model"]: m["calls"] for m in window["models"]},
                             {"claude-sonnet-5-5": 4, "claude-opus-5": 2})
            cost = sum(m["cost_usd"] for m in window["models"])
            self.assertAlmostEqual(cost, window["cost_usd"], 9)
            self.assertGreater(cost, 0)

    def test_at_this_moment(self):
        """Streams, who waits, what is used of budgets, keys of the upstream."""
        def answer(call):
            if b"refused" in call.body:
                call.error(401, "authentication_error", "no")
                return
            call.start()
            for event in text_events("half")[:3]:
                call.event(event)
            call.wait_closed()

        proxy = self.proxy(self.upstream(each_request(answer)), CCPROXY_CONCURRENT_REQUESTS=1, CCPROXY_QUEUE_TIMEOUT="60s",
                           CCPROXY_TOKENS_PER_DAY=100000, CCPROXY_RETRIES=0)
        stats = self.read(proxy)
        self.assertEqual([stats[f"current_{name}"] for name in ("active_requests", "active_streams", "queued_requests")],
                         [0, 0, 0])
        self.assertEqual((stats["upstream"]["keys"], stats["upstream"]["keys_up"]), (1, 1))
        client, second = self.client(proxy), self.client(proxy)
        client.stream(max_tokens=30000)
        client.text("half")
        second.chat("refused")
        until(lambda: self.read(proxy)["current_queued_requests"] == 1, "the second to wait")
        stats = self.read(proxy)
        self.assertEqual((stats["current_active_requests"], stats["current_active_streams"]), (2, 1))
        client.close()
        self.assertEqual(second.response().status, 502)
        until(lambda: self.read(proxy)["upstream"]["keys_up"] == 0, "its key to rest")
        window = self.read(proxy)["windows"]["1m"]
        self.assertGreater(window["clients"][0]["budget_used_ratio"], 0)
        until(lambda: self.read(proxy)["history"]["minutes"]["upstream_errors"] == [1], "a sample")
        minutes = self.read(proxy)["history"]["minutes"]
        self.assertEqual([minutes[f"{fault}_errors"] for fault in ("caller", "policy", "gateway")], [[1], [0], [0]])

    def test_watching_changes_nothing(self):
        proxy = self.start()
        for path in ("/stats", "/metrics", "/health", "/livez"):
            proxy.get(path, key=None)
        self.assertEqual(self.read(proxy)["total_requests"], 0)

    def test_all_workers_and_dead_ones(self):
        proxy = self.start(CCPROXY_WORKERS=3)
        for _ in range(30):
            self.assertEqual(proxy.chat().status, 200)
        until(lambda: self.read(proxy)["total_requests"] == 30, "all to be counted")
        os.kill(proxy.workers()[0], signal.SIGKILL)
        proxy.wait_log("worker died")
        until(lambda: self.read(proxy)["processes"]["workers"] == 3, "a new worker")
        stats = self.read(proxy)
        self.assertEqual((stats["total_requests"], stats["processes"]["worker_restarts"]), (30, 1))

    def test_who_may(self):
        clients = {right: {"hash": "sha256:" + hashlib.sha256(f"key-of-{right}".encode()).hexdigest(), "rights": [right]}
                   for right in ("stats", "admin", "metrics", "chat")}
        proxy = self.start(CCPROXY_CLIENTS=json.dumps(clients))
        for right, status in {"stats": 200, "admin": 200, "metrics": 403, "chat": 403}.items():
            self.assertEqual(proxy.get("/stats", key=f"key-of-{right}").status, status, right)
        self.assertEqual(proxy.get("/stats", key="wrong").status, 401)
        self.assertEqual(proxy.get("/stats", key=None, fields={"X-Forwarded-For": "127.0.0.1"}).status, 401)
