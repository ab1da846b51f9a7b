"""Clients that leave: in every phase the upstream call ends at once, and the log says what it cost."""
import threading

import harness
from harness import (Gone, each_request, message_start, text_delta, text_events, text_start, until)
from test_upstream import Hole

CHAT = "/v1/chat/completions"


class Leaving(harness.TestCase):
    def start(self, action, **env):
        """An upstream that reads a request, does the action, and waits for the proxy to close."""
        self.closed = threading.Event()

        def script(call):
            call.read_request()
            try:
                action(call)
                call.wait_closed()
            except Gone:
                pass
            self.closed.set()

        self.up = self.upstream(script)
        self.proxy_ = self.proxy(self.up, **env)
        return self.client(self.proxy_)

    def assert_gone(self, **fields):
        """The upstream's connection has been closed, and one line tells of it."""
        self.assertTrue(self.closed.wait(harness.DEADLINE), "the upstream call was not cancelled")
        line = self.proxy_.ended(**fields)
        self.assertEqual((line["ending"], line["fault"]), ("CLIENT_GONE", "caller"))
        self.assertEqual(len(self.proxy_.logs("request", path=CHAT)), 1)
        return line

    def leave(self, client, how):
        {"close": client.close, "reset": client.reset}[how]()

    def test_while_waiting_for_the_first_byte(self):
        for how in ("close", "reset"):
            for stream in (False, True):
                client = self.start(lambda call: None)
                client.chat(stream=stream)
                self.up.wait_requests(1)
                self.leave(client, how)
                line = self.assert_gone()
                self.assertNotIn("output_tokens", line)
                self.assertEqual(line["attempts"], 1)

    def test_after_the_head_of_the_answer(self):
        client = self.start(lambda call: call.start())
        client.chat(stream=True)
        self.up.wait_requests(1)
        client.close()
        self.assert_gone()

    def test_mid_stream(self):
        """What was relayed is estimated where the upstream has not counted."""
        def action(call):
            call.start()
            for event in (message_start(), text_start(), text_delta("x" * 4000)):
                call.event(event)

        for how in ("close", "reset"):
            client = self.start(action)
            client.stream()
            client.text("xxxx")
            self.leave(client, how)
            line = self.assert_gone()
            self.assertEqual((line["prompt_tokens"], line["output_tokens"]), (10, 1000))
            self.assertIs(line["estimated"], True)

    def test_after_the_upstream_has_counted(self):
        def action(call):
            call.start()
            for event in text_events("counted")[:-1]:
                call.event(event)

        client = self.start(action)
        client.stream()
        client.text("counted")
        self.up.wait_requests(1)
        client.close()
        line = self.assert_gone()
        self.assertIn(line["output_tokens"], (1, 5))  # message_delta may not have been read yet
        self.assertNotIn("estimated", line)

    def test_mid_answer_that_does_not_stream(self):
        sent = threading.Event()

        def action(call):
            call.start()
            for event in text_events("y" * 400)[:3]:
                call.event(event)
            sent.set()

        client = self.start(action)
        client.chat()
        self.assertTrue(sent.wait(harness.DEADLINE))
        client.close()
        self.assert_gone()

    def test_answer_in_one_piece(self):
        client = self.start(lambda call: call.head(200, content_type="application/json",
                                                   content_length=1000))
        client.chat(max_completion_tokens=10)
        self.up.wait_requests(1)
        client.close()
        self.assert_gone()

    def test_while_the_upstream_talks_on(self):
        def action(call):
            call.start()
            call.event(message_start())
            call.event(text_start())
            while True:
                call.event(text_delta("on and on "))

        client = self.start(action)
        client.stream()
        client.text("on and on")
        client.close()
        self.assert_gone()

    def test_while_the_upstream_is_held_back(self):
        def action(call):
            call.start()
            call.event(message_start())
            call.event(text_start())
            while True:
                call.event(text_delta("z" * 60000))

        client = self.start(action)
        client.close()
        client = self.client(self.proxy_, receive_buffer=4096)
        client.stream()
        client.text("zzz")
        client.reset()
        self.assert_gone()

    def test_during_the_pause_before_a_retry(self):
        def script(call):
            while True:
                call.read_request()
                call.error(529, "overloaded_error", "busy", retry_after_ms="9000")

        up = self.upstream(script)
        proxy = self.proxy(up, CCPROXY_RETRIES=3)
        client = self.client(proxy)
        client.chat()
        proxy.wait_log("retry")
        client.close()
        self.assertEqual(proxy.ended()["ending"], "CLIENT_GONE")
        self.assertEqual(len(up.requests), 1)

    def test_before_the_upstream_is_connected(self):
        """Nothing is sent to the upstream any more, not even when it becomes reachable."""
        hole = Hole()
        self.addCleanup(hole.close)
        proxy = self.proxy(f"http://127.0.0.1:{hole.port}")
        worker = proxy.workers()[0]
        quiet = len(harness.descriptors(worker))
        client = self.client(proxy)
        client.chat()
        until(lambda: len(harness.descriptors(worker)) == quiet + 2, "the upstream is being dialled")
        client.close()
        line = proxy.ended()
        self.assertEqual((line["ending"], line["attempts"]), ("CLIENT_GONE", 1))
        until(lambda: len(harness.descriptors(worker)) == quiet, "the attempt is given up")
        self.assertEqual(hole.accepted(), b"")

    def test_while_the_body_is_sent_upstream(self):
        seen = threading.Event()
        closed = threading.Event()

        def script(call):
            call.until(b"\r\n\r\n")
            seen.set()
            call.wait_closed()
            closed.set()

        proxy = self.proxy(self.upstream(script))
        client = self.client(proxy)
        client.chat("x" * (16 << 20))
        self.assertTrue(seen.wait(harness.DEADLINE))
        client.close()
        self.assertTrue(closed.wait(harness.DEADLINE))
        self.assertEqual(proxy.ended()["ending"], "CLIENT_GONE")

    def test_before_the_body_is_whole(self):
        up = self.upstream(lambda call: self.fail("the upstream was called"))
        proxy = self.proxy(up)
        client = self.client(proxy)
        client.send(f"POST {CHAT} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {harness.KEY}\r\n"
                    "Content-Length: 100\r\n\r\n{")
        client.close()
        self.assertEqual(proxy.ended()["ending"], "CLIENT_GONE")
        self.assertEqual(up.calls, [])

    def test_others_are_not_touched(self):
        go_on = threading.Event()

        def script(call):
            call.read_request()
            call.start()
            for event in text_events("part")[:3]:
                call.event(event)
            go_on.wait(harness.DEADLINE)
            for event in text_events("part")[3:]:
                call.event(event)
            call.end()

        proxy = self.proxy(self.upstream(script))
        stays, leaves = self.client(proxy), self.client(proxy)
        for client in (stays, leaves):
            client.stream()
            client.text("part")
        leaves.close()
        self.assertEqual(proxy.ended()["ending"], "CLIENT_GONE")
        go_on.set()
        stays.text("[DONE]")

    def test_many_times(self):
        """No descriptor and no memory is lost, and no answer meant for one comes to another."""
        def script(call):
            while True:
                call.read_request()
                call.answer(text=call.json()["messages"][0]["content"][0]["text"])

        proxy = self.proxy(self.upstream(script), CCPROXY_UPSTREAM_IDLE="50ms")
        worker = proxy.workers()[0]
        proxy.chat()
        before = len(harness.descriptors(worker))
        for i in range(300):
            client = self.client(proxy)
            client.chat(f"number {i}", stream=bool(i & 1))
            if i % 5 == 4:
                self.assertIn(f"number {i}".encode(), client.response().body)
            elif i % 3 == 0:
                client.reset()
            client.close()
        proxy.ended(301, path=CHAT)
        until(lambda: len(harness.descriptors(worker)) <= before, "descriptors are closed")
        self.assertEqual({x["ending"] for x in proxy.logs("request")} - {"CLIENT_GONE", "DONE"}, set())

    def test_a_client_that_only_stops_sending(self):
        """Half-closing is taken for leaving: nothing tells the two apart before it is too late."""
        upstream = self.upstream(each_request(lambda call: call.wait_closed()))
        proxy = self.proxy(upstream)
        client = self.client(proxy)
        client.chat()
        client.end_write()
        self.assertEqual(client.rest(), b"")
        self.assertEqual(proxy.ended()["ending"], "CLIENT_GONE")
