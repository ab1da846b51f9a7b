"""Requests that wait for a free place: in turn, for so long, and no longer than their client stays."""
import json
import signal
import threading

import harness
from harness import message_delta, message_start, text_delta, text_start

USED = [message_start(input_tokens=100), text_start(), text_delta("a"), harness.block_stop(),
        message_delta(output=50), harness.MESSAGE_STOP]
BODY = {"model": "gpt-4o", "stream": True, "max_tokens": 10,
        "messages": [{"role": "user", "content": "hi"}]}


class Queue(harness.TestCase):
    def start(self, **env):
        """An upstream that answers when it is told to, call by call."""
        self.clients = []
        self.let_go = threading.Semaphore(0)
        def answer(call):
            call.start()
            call.event(USED[0])
            self.assertTrue(self.let_go.acquire(timeout=harness.DEADLINE))
            for event in USED[1:]:
                call.event(event)
            call.end()
        self.up = self.upstream(harness.each_request(answer))
        proxy = self.proxy(self.up, **{"CCPROXY_QUEUE_TIMEOUT": "60s", "CCPROXY_CONCURRENT_REQUESTS": 1, **env})
        self.addCleanup(self.let_go.release, 100)  # before anything is taken apart
        return proxy

    def ask(self, proxy, key=harness.KEY, content="hi"):
        client = proxy.client()
        self.clients.append(client)  # who is forgotten has left
        body = {**BODY, "messages": [{"role": "user", "content": content}]}
        client.request("POST", "/v1/chat/completions", body, key=key)
        return client

    def wait_queued(self, proxy, n):
        def there():
            page = proxy.get("/metrics", key=None).body.decode()
            return f"ccproxy_queued_requests {n}\n" in page
        harness.until(there, f"{n} waiting")

    def test_waits_for_its_place(self):
        proxy = self.start(CCPROXY_WORKERS=2)
        clients = [self.ask(proxy)]
        self.up.wait_requests(1)
        for i in range(4):
            clients.append(self.ask(proxy))
            self.wait_queued(proxy, i + 1)
        for i in range(5):  # never two at a time
            self.up.wait_requests(i + 1)
            self.assertEqual(len(self.up.requests), i + 1)
            self.let_go.release()
        self.assertEqual([c.response().status for c in clients], [200] * 5)
        self.wait_queued(proxy, 0)

    def test_the_time_is_over(self):
        proxy = self.start(CCPROXY_QUEUE_TIMEOUT="50ms")
        first = self.ask(proxy)
        self.up.wait_requests(1)
        response = self.ask(proxy).response()
        self.assert_error(response, 429, "rate_limit_exceeded", "requests")
        self.assertIn("concurrent requests: Limit 1", response.error["message"])
        self.let_go.release(2)
        self.assertEqual(first.response().status, 200)
        self.assertEqual(self.ask(proxy).response().status, 200)

    def test_bounded(self):
        proxy = self.start(CCPROXY_QUEUE_MAX=1)
        self.ask(proxy)
        self.up.wait_requests(1)
        self.ask(proxy)
        self.wait_queued(proxy, 1)
        self.assertEqual(self.ask(proxy).response().status, 429)

    def test_who_leaves_costs_nothing(self):
        proxy = self.start(CCPROXY_RATE_LIMIT_RPM=3)
        first = self.ask(proxy)
        self.up.wait_requests(1)
        for _ in range(4):
            waiting = self.ask(proxy)
            self.wait_queued(proxy, 1)
            waiting.close()
            self.wait_queued(proxy, 0)
        self.let_go.release(3)
        self.assertEqual(first.response().status, 200)
        self.assertEqual([self.ask(proxy).response().status for _ in range(3)], [200, 200, 429])
        self.assertEqual(len(self.up.requests), 3)

    def test_fair_between_clients(self):
        proxy = self.start(CCPROXY_CONCURRENT_REQUESTS=100, CCPROXY_NODE_CONCURRENT=1,
                           CCPROXY_API_KEYS=f"me:{harness.KEY},a:key-of-a-0000,b:key-of-b-0000")
        held = self.ask(proxy)
        self.up.wait_requests(1)
        clients = []
        for name in "aaaaab":
            clients.append(self.ask(proxy, key=f"key-of-{name}-0000", content=name))
            self.wait_queued(proxy, len(clients))
        self.let_go.release(3)  # the one that is held, one of a's and b's
        self.assertEqual(clients[-1].response().status, 200)
        self.let_go.release(10)
        self.assertEqual([c.response().status for c in [held, *clients[:-1]]], [200] * 6)
        asked = [json.loads(request)["messages"][0]["content"][0]["text"] for request in self.up.requests]
        self.assertEqual("".join(asked), "hiabaaaa")  # in the order in which they were let go

    def test_stopped_while_waiting(self):
        proxy = self.start(CCPROXY_DRAIN_TIMEOUT="100ms")
        self.ask(proxy)
        self.up.wait_requests(1)
        waiting = self.ask(proxy)
        self.wait_queued(proxy, 1)
        proxy.process.send_signal(signal.SIGTERM)
        self.assert_error(waiting.response(), 503, "server_is_overloaded")

    def test_a_reload_keeps_who_waits(self):
        proxy = self.start()
        first = self.ask(proxy)
        self.up.wait_requests(1)
        waiting = self.ask(proxy)
        self.wait_queued(proxy, 1)
        proxy.process.send_signal(signal.SIGHUP)
        self.let_go.release(2)
        self.assertEqual([first.response().status, waiting.response().status], [200, 200])

    def test_bodies_of_one_client(self):
        proxy = self.start(CCPROXY_CLIENT_BUFFERED="64KiB", CCPROXY_CONCURRENT_REQUESTS=9)
        def begin(*fields):
            client = proxy.client()
            head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {harness.KEY}",
                    *fields]
            client.send("\r\n".join(head) + "\r\n\r\n")
            return client
        first = begin("Content-Length: 60000", "Expect: 100-continue")
        self.assertIn(b"100", first.until(b"\r\n\r\n"))
        for field in ("Content-Length: 60000", "Transfer-Encoding: chunked"):  # no byte of a body is sent
            response = begin(field).response()
            self.assert_error(response, 429, "rate_limit_exceeded", "requests")
            self.assertEqual(response.fields["retry-after"], "1")
        first.close()
        proxy.ended(ending="CLIENT_GONE")
        self.let_go.release(1)
        self.assertEqual(self.ask(proxy).response().status, 200)
        again = begin("Content-Length: 65536", "Expect: 100-continue")  # nothing is held any more
        self.assertIn(b"100", again.until(b"\r\n\r\n"))
