"""Limits of clients and of the node: what is admitted, what is told, and what is given back."""
import json
import os
import signal
import threading

import harness
from harness import message_delta, message_start, text_delta, text_start

CHAT = "/v1/chat/completions"
USED = [message_start(input_tokens=100), text_start(), text_delta("a"), harness.block_stop(),
        message_delta(output=50), harness.MESSAGE_STOP]


class Rates(harness.TestCase):
    def start(self, script=None, **env):
        self.up = self.upstream(script or harness.each_request(lambda call: call.answer(USED)))
        return self.proxy(self.up, **env)

    def test_requests(self):
        proxy = self.start(CCPROXY_RATE_LIMIT_RPM=3, CCPROXY_RATE_LIMIT_TPM=1000000)
        left = []
        for _ in range(3):
            response = proxy.chat()
            self.assertEqual(response.status, 200)
            self.assertEqual(response.fields["x-ratelimit-limit-requests"], "3")
            left.append(response.fields["x-ratelimit-remaining-requests"])
        self.assertEqual(left, ["2", "1", "0"])
        response = proxy.chat()
        self.assert_error(response, 429, "rate_limit_exceeded", "requests")
        self.assertIn("requests per min (RPM): Limit 3", response.error["message"])
        wait = int(response.fields["retry-after-ms"])
        self.assertTrue(15000 < wait <= 20000, wait)
        self.assertEqual(int(response.fields["retry-after"]), -(-wait // 1000))
        self.assertGreater(int(response.fields["x-ratelimit-remaining-tokens"]), 900000)
        self.assertEqual(len(self.up.requests), 3)
        line = proxy.ended(4)
        self.assertEqual((line["ending"], line["fault"]), ("LIMIT_REQUESTS", "policy"))

    def test_of_single_models(self):
        """A model's own limit, by any name of it, beside the client's; other models are not concerned."""
        clients = {"tester": {"model_limits": {"claude-haiku-4-5": {"rpm": 2}}}}
        limits = {"gpt-4o": {"rpm": 1}, "claude-haiku-4-5": {"rpm": 1, "concurrent_requests": 5}}
        proxy = self.start(CCPROXY_CLIENTS=json.dumps(clients), CCPROXY_MODEL_LIMITS=json.dumps(limits),
                           CCPROXY_RATE_LIMIT_RPM=10)
        self.assertEqual(proxy.chat(model="claude-sonnet-5-5").status, 200)
        for name in ("gpt-4o", "claude-sonnet-5-5"):
            response = proxy.chat(model=name)
            self.assert_error(response, 429, "rate_limit_exceeded", "requests")
            self.assertIn("requests per min (RPM) of claude-sonnet-5-5: Limit 1", response.error["message"])
            self.assertEqual(response.fields["x-ratelimit-limit-requests"], "10")
        self.assertEqual([proxy.chat(model="claude-haiku-4-5").status for _ in range(3)], [200, 200, 429])
        self.assertEqual(proxy.chat(model="claude-opus-5").status, 200)
        self.assertEqual(proxy.get("/metrics", key=None).body.decode().count(
            'ccproxy_rate_limit_hits_total{limit="requests"} 3\n'), 1)

    def test_tokens_of_a_single_model(self):
        proxy = self.start(CCPROXY_MODEL_LIMITS='{"gpt-4o": {"tpm": 1000}}')
        self.assertEqual(proxy.chat(max_tokens=500, stream=True).status, 200)
        response = proxy.chat(max_tokens=900, stream=True)
        self.assert_error(response, 429, "rate_limit_exceeded", "tokens")
        self.assertIn("tokens per min (TPM) of claude-sonnet-5-5: Limit 1000", response.error["message"])
        self.assertEqual(proxy.chat(max_tokens=500, stream=True).status, 200)  # settled by the 150 that were used

    def test_wrong_limits_of_models(self):
        for value in ("[]", '{"gpt-4o": 5}', '{"gpt-4o": {"rpm": -1}}', '{"gpt-4o": {"rps": 1}}', "{"):
            done = harness.run("check", CCPROXY_MODEL_LIMITS=value)
            self.assertEqual(done.returncode, 1)
            self.assertIn("CCPROXY_MODEL_LIMITS", done.stdout + done.stderr)

    def test_the_guess_of_a_prompt_is_learnt(self):
        """Of each model for itself: what answers report corrects what is reserved."""
        used = [message_start(input_tokens=2000), *USED[1:]]
        proxy = self.start(harness.each_request(lambda call: call.answer(used)), CCPROXY_RATE_LIMIT_TPM=10**6)
        text, reserved = "word " * 800, []
        for model in ["claude-sonnet-5-5"] * 60 + ["claude-opus-4-5"]:
            response = proxy.chat(text, stream=True, max_tokens=16, model=model)
            self.assertEqual(response.status, 200)
            reserved.append(self.expected(proxy))  # settled before the client knows
        guesses = [b - a for a, b in zip([0, *reserved], reserved)]
        self.assertTrue(1000 < guesses[0] < 1500, guesses)  # 4000 bytes, and a newer tokenizer
        self.assertTrue(1900 < guesses[59] <= 2000, guesses)
        self.assertTrue(800 < guesses[60] < 1200, guesses)

    def test_what_answers_take_is_learnt(self):
        """Of each client and model for itself, for those that set no bound."""
        used = [*USED[:4], message_delta(output=3000), harness.MESSAGE_STOP]
        proxy = self.start(harness.each_request(lambda call: call.answer(used)), CCPROXY_RATE_LIMIT_TPM=10**7,
                           CCPROXY_RATE_LIMIT_RPM=0, CCPROXY_API_KEYS=f"tester:{harness.KEY},other:key-of-other-0000")
        reserved = [self.reserved(proxy)]
        def ask(**more):
            client = proxy.client()
            client.request("POST", CHAT, {"model": "gpt-4o", "stream": True, "messages": [
                {"role": "user", "content": "hi"}], **more.pop("body", {})}, **more)
            self.assertEqual(client.response().status, 200)
            reserved.append(self.reserved(proxy) - sum(reserved))
        for _ in range(20):
            ask()
        ask(key="key-of-other-0000")
        ask(body={"model": "claude-haiku-4-5"})
        ask(body={"max_tokens": 100})
        self.assertTrue(1000 < reserved[1] < 1100, reserved)  # the prior, and the prompt
        self.assertTrue(3000 <= reserved[20] < 3800, reserved)
        for i in (21, 22):
            self.assertTrue(1000 < reserved[i] < 1100, reserved)
        self.assertTrue(100 < reserved[23] < 250, reserved)

    def reserved(self, proxy):
        page = proxy.get("/metrics", key=None).body.decode().splitlines()
        return sum(int(line.rsplit(" ", 1)[1]) for line in page if line.startswith("ccproxy_reserved_tokens_total "))

    def expected(self, proxy):
        page = proxy.get("/metrics", key=None).body.decode().splitlines()
        return sum(int(line.rsplit(" ", 1)[1]) for line in page
                   if line.startswith("ccproxy_prompt_tokens_expected_total{"))

    def test_bad_requests_cost_nothing(self):
        proxy = self.start(CCPROXY_RATE_LIMIT_RPM=1)
        for _ in range(5):
            self.assertEqual(proxy.chat(temperature=9).status, 400)
        self.assertEqual(proxy.chat().status, 200)

    def test_tokens_are_settled_by_what_the_answer_took(self):
        proxy = self.start(CCPROXY_RATE_LIMIT_TPM=1000)
        client = proxy.client()
        left = []
        for _ in range(3):
            client.chat(max_tokens=500, stream=True)
            left.append(int(client.response().fields["x-ratelimit-remaining-tokens"]))
        # reserved 500 and a few for the prompt, of which 150 were used each time
        for i, n in enumerate(left):
            self.assertTrue(1000 - 150 * i - 560 < n <= 1000 - 150 * i - 500, left)
        client.chat(max_tokens=900, stream=True)
        response = client.response()
        self.assert_error(response, 429, "rate_limit_exceeded", "tokens")
        self.assertIn("tokens per min (TPM): Limit 1000", response.error["message"])

    def test_no_bound_is_not_the_maximum(self):
        proxy = self.start(CCPROXY_RATE_LIMIT_TPM=5000)
        self.assertEqual(proxy.chat().status, 200)  # the model's maximum is 128,000

    def test_the_whole_bound_is_reserved(self):
        left = {}
        for reserve in ("usual", "bound"):
            proxy = self.start(CCPROXY_RATE_LIMIT_TPM=5000, CCPROXY_RESERVE=reserve,
                               CCPROXY_DEFAULT_MAX_TOKENS=3000)
            response = proxy.chat(stream=True)
            self.assertEqual(response.status, 200)
            self.assertNotIn("x-ccproxy-max-tokens", response.fields)
            left[reserve] = int(response.fields["x-ratelimit-remaining-tokens"])
        self.assertTrue(3900 < left["usual"] < 4000, left)  # 1000 are what answers take at first
        self.assertTrue(1900 < left["bound"] < 2000, left)

    def lowering(self, output, **env):
        used = [*USED[:4], message_delta(output=output), harness.MESSAGE_STOP]
        return self.start(harness.each_request(lambda call: call.answer(used)), CCPROXY_RESERVE="lower", **env)

    def lowered(self, response):
        """The bound that upstream got, which the client was told."""
        self.assertEqual(response.status, 200)
        sent = json.loads(self.up.requests[-1])["max_tokens"]
        self.assertEqual(response.fields["x-ccproxy-max-tokens"], str(sent))
        return sent

    def test_the_bound_is_lowered_to_what_is_left(self):
        for limits in ({"CCPROXY_RATE_LIMIT_TPM": 5000, "CCPROXY_NODE_CONCURRENT": 1}, {"CCPROXY_NODE_TPM": 5000},
                       {"CCPROXY_MODEL_LIMITS": '{"gpt-4o": {"tpm": 5000}}'}):
            with self.subTest(limits):
                proxy = self.lowering(3000, **limits)
                response = proxy.chat(max_tokens=4000, stream=True)
                self.assertEqual(response.status, 200)  # there is room for all of it
                self.assertNotIn("x-ccproxy-max-tokens", response.fields)
                self.assertEqual(json.loads(self.up.requests[-1])["max_tokens"], 4000)
                sent = self.lowered(proxy.chat(max_tokens=4000, stream=True))
                self.assertTrue(1800 < sent < 4000, sent)  # 3100 of 5000 are used, some have come back
                response = proxy.chat(max_tokens=4000, stream=True)
                self.assertEqual(response.status, 429)
                self.assertNotIn("x-ccproxy-max-tokens", response.fields)
                self.assertRegex(response.error["message"], r"Limit 5000, Requested 10[2-9]\d\.")  # the least
                self.assertEqual(len(self.up.requests), 2)

    def test_the_whole_limit_is_the_most_that_is_left(self):
        proxy = self.lowering(50, CCPROXY_RATE_LIMIT_TPM=5000)
        self.assertTrue(4900 < self.lowered(proxy.chat(stream=True)) < 5000)

    def test_a_budget_for_thinking_stays_below_the_lowered_bound(self):
        proxy = self.lowering(2200, CCPROXY_RATE_LIMIT_TPM=6000)
        for thinks in (False, True, True):
            thinking = {"thinking": {"type": "enabled", "budget_tokens": 2000}} if thinks else {}
            response = proxy.chat(max_tokens=5000, stream=True, model="claude-haiku-4-5", **thinking)
            if thinks and response.status == 200:
                sent = self.lowered(response)
                self.assertTrue(2000 + 1024 <= sent < 5000, sent)
                self.assertEqual(json.loads(self.up.requests[-1])["thinking"]["budget_tokens"], 2000)
        self.assertEqual(len(self.up.requests), 2)
        self.assertRegex(response.error["message"], r"Limit 6000, Requested 30[2-9]\d\.")

    def test_wrong_words_for_the_reservation(self):
        done = harness.run("check", CCPROXY_RESERVE="all")
        self.assertEqual(done.returncode, 1)
        self.assertIn("is not usual, bound or lower", done.stdout + done.stderr)

    def test_given_back_when_nothing_was_answered(self):
        answers = [lambda call: call.error(500, "api_error", "no"), lambda call: call.answer(USED)]
        proxy = self.start(harness.each_request(lambda call: answers.pop(0)(call)),
                           CCPROXY_RATE_LIMIT_TPM=1000, CCPROXY_RETRIES=0)
        self.assertEqual(proxy.chat(max_tokens=950, stream=True).status, 500)
        self.assertEqual(proxy.chat(max_tokens=950, stream=True).status, 200)

    def test_at_a_time(self):
        gate = threading.Event()
        proxy = self.start(harness.held(gate, USED), CCPROXY_CONCURRENT_REQUESTS=2, CCPROXY_WORKERS=2)
        open_ = [proxy.client() for _ in range(2)]
        for client in open_:
            client.stream()
        response = proxy.chat()
        self.assert_error(response, 429, "rate_limit_exceeded", "requests")
        self.assertIn("concurrent requests: Limit 2", response.error["message"])
        self.assertEqual(response.fields["retry-after"], "1")
        open_[0].close()  # its place is free as soon as it has left
        proxy.ended(ending="CLIENT_GONE")
        gate.set()
        self.assertEqual(proxy.chat().status, 200)

    def test_a_dead_worker_gives_its_places_back(self):
        def script(call):
            call.read_request()
            call.start()
            call.event(USED[0])
            call.wait_closed()
        proxy = self.start(script, CCPROXY_CONCURRENT_REQUESTS=2)
        clients = [proxy.client() for _ in range(2)]
        for client in clients:
            client.stream()
        self.assertEqual(proxy.chat().status, 429)
        os.kill(proxy.workers()[0], signal.SIGKILL)
        proxy.wait_log("worker died")
        client = proxy.client()
        client.stream()

    def test_across_workers_and_reloads(self):
        proxy = self.start(CCPROXY_RATE_LIMIT_RPM=20, CCPROXY_WORKERS=4)
        status = [proxy.chat().status for _ in range(10)]
        proxy.process.send_signal(signal.SIGHUP)
        proxy.wait_log("reloaded")
        status += [proxy.chat().status for _ in range(15)]
        self.assertEqual(status, [200] * 20 + [429] * 5)

    def test_own_limits_and_budgets(self):
        clients = {"few": {"rpm": 1}, "many": {"rpm": 0}, "poor": {"usd_per_day": 0.001},
                   "short": {"tokens_per_day": 200}}
        keys = ",".join(f"{name}:key-of-{name}-0000" for name in clients)
        proxy = self.start(CCPROXY_RATE_LIMIT_RPM=5, CCPROXY_API_KEYS=keys,
                           CCPROXY_CLIENTS=json.dumps(clients))
        got = {}
        for name in clients:
            client = proxy.client()
            for _ in range(8):
                client.request("POST", CHAT, {"model": "gpt-4o", "max_tokens": 10, "stream": True,
                                              "messages": [{"role": "user", "content": "hi"}]},
                               key=f"key-of-{name}-0000")
                got.setdefault(name, []).append(client.response())
        count = {name: sum(r.status == 200 for r in answers) for name, answers in got.items()}
        # an answer costs 100 * $2 + 50 * $10 a million: 700 micro-dollars; 150 tokens
        self.assertEqual(count, {"few": 1, "many": 8, "poor": 2, "short": 2})
        for name in ("poor", "short"):
            self.assert_error(got[name][-1], 429, "insufficient_quota", "insufficient_quota")
            self.assertEqual(got[name][-1].fields["x-should-retry"], "false")

    def test_a_budget_is_reserved(self):
        """Many at once pass a budget no more often than one after the other."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        clients = {"tester": {"usd_per_day": 0.01}}
        proxy = self.start(harness.held(gate, USED), CCPROXY_CLIENTS=json.dumps(clients), CCPROXY_CONCURRENT_REQUESTS=100,
                           CCPROXY_WORKERS=2)
        open_, status = [proxy.client() for _ in range(30)], []
        for client in open_:
            client.chat(max_tokens=100, stream=True)
            status.append(int(client.head()[0].split(" ")[1]))
        # 100 tokens of an answer are a tenth of a cent, and the prompt a bit of one
        self.assertEqual(status, [200] * 10 + [429] * 20)
        gate.set()
        for client in open_[:10]:
            client.text("[DONE]")
        self.assertEqual(proxy.chat(stream=True).status, 200)  # 700 micro-dollars each were enough

    def test_limits_are_told_with_every_answer(self):
        """Whatever came of a request whose client is known."""
        def script(call):
            if b"broken" in call.body:
                call.start()
                call.event(USED[0])
                call.event(USED[1])
                call.event(USED[2])
                call.close()
            elif b"failing" in call.body:
                call.error(500, "api_error", "no")
            else:
                call.answer(USED)
        proxy = self.start(harness.each_request(script), CCPROXY_RATE_LIMIT_RPM=9, CCPROXY_RATE_LIMIT_TPM=100000,
                           CCPROXY_RETRIES=0)
        for more, status, left in (({}, 200, 8), ({"stream": True}, 200, 7), ({"content": "failing"}, 500, 6),
                                   ({"content": "broken", "stream": True}, 200, 5), ({"temperature": 9}, 400, 5),
                                   ({"model": "none"}, 404, 5), ({"max_tokens": 0}, 400, 5)):
            response = proxy.chat(**more)
            self.assertEqual(response.status, status, more)
            for what, limit in (("requests", "9"), ("tokens", "100000")):
                self.assertEqual(response.fields[f"x-ratelimit-limit-{what}"], limit, more)
                self.assertIn(f"x-ratelimit-reset-{what}", response.fields)
            self.assertEqual(response.fields["x-ratelimit-remaining-requests"], str(left), more)
            self.assertLessEqual(int(response.fields["x-ratelimit-remaining-tokens"]), 100000)
        client = proxy.client()
        client.request("POST", CHAT, {}, key="wrong")
        self.assertNotIn("x-ratelimit-limit-requests", client.response().fields)

    def test_the_node(self):
        proxy = self.start(CCPROXY_NODE_RPM=3, CCPROXY_API_KEYS="a:key-of-a-0000,b:key-of-b-0000")
        status = []
        for i in range(4):
            client = proxy.client()
            client.request("POST", CHAT, {"model": "gpt-4o", "messages": [
                {"role": "user", "content": "hi"}]}, key=f"key-of-{'ab'[i % 2]}-0000")
            status.append(client.response().status)
        self.assertEqual(status, [200, 200, 200, 429])

    def test_the_node_at_a_time(self):
        def script(call):
            call.read_request()
            call.start()
            call.event(USED[0])
            call.wait_closed()
        proxy = self.start(script, CCPROXY_NODE_CONCURRENT=1)
        client = proxy.client()
        client.stream()
        response = proxy.chat()
        self.assertEqual(response.status, 429)
        self.assertIn("on concurrent requests of the gateway: Limit 1", response.error["message"])

    def test_the_tighter_of_both_is_told(self):
        def script(call):
            call.answer(USED, anthropic_ratelimit_requests_limit="50",
                        anthropic_ratelimit_requests_remaining="1")
        proxy = self.start(harness.each_request(script), CCPROXY_RATE_LIMIT_RPM=100)
        fields = proxy.chat().fields
        self.assertEqual((fields["x-ratelimit-limit-requests"], fields["x-ratelimit-remaining-requests"]),
                         ("50", "1"))

    def test_defaults(self):
        proxy = self.start(CCPROXY_RATE_LIMIT_RPM=None, CCPROXY_RATE_LIMIT_TPM=None)
        fields = proxy.chat().fields
        self.assertEqual((fields["x-ratelimit-limit-requests"], fields["x-ratelimit-limit-tokens"]),
                         ("60", "100000"))
