"""What tells of the gateway's health, and the list of models."""
import json
import re

import harness
from harness import each_request


class Health(harness.TestCase):
    def test_shape(self):
        response = self.proxy(None).get("/health", key=None)
        self.assertEqual(response.status, 200)
        self.assertEqual(response.fields["content-type"], "application/json")
        body = response.json()
        self.assertEqual(body["status"], "healthy")
        self.assertIsInstance(body["uptime_seconds"], int)
        self.assertIs(body["checks"]["claude_api"], True)
        self.assertIs(body["checks"]["auth"], True)
        self.assertRegex(body["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")

    def test_nothing_secret(self):
        proxy = self.proxy("http://127.0.0.1:1/hidden-prefix")
        for path in ("/health", "/livez", "/readyz"):
            for method in ("GET", "HEAD"):
                client = self.client(proxy)
                client.request(method, path, key=None)
                response = client.response(is_head=method == "HEAD")
                self.assertEqual(response.status, 200)
                for word in (b"hidden", b"127.0.0.1", harness.KEY.encode(), b"sk-", b"tester"):
                    self.assertNotIn(word, response.body)

    def test_probes(self):
        proxy = self.proxy(None)
        self.assertEqual(proxy.get("/livez", key=None).json(), {"status": "alive"})
        self.assertEqual(proxy.get("/readyz", key=None).json(), {"status": "ready"})
        self.assertEqual(proxy.get("/v1/health", key=None).status, 200)

    def test_degraded_while_the_upstream_fails(self):
        answers = []

        def script(call):
            while True:
                call.read_request()
                if answers and answers.pop():
                    call.answer()
                else:
                    call.error(529, "overloaded_error", "busy")

        proxy = self.proxy(self.upstream(script), CCPROXY_RETRIES=0)

        def health():
            response = proxy.get("/health", key=None)
            self.assertEqual(response.status, 200)  # it serves, so it is not taken out of rotation
            return response.json()["status"], response.json()["checks"]["claude_api"]

        for _ in range(4):
            self.assertEqual(proxy.chat().status, 503)
            self.assertEqual(health(), ("healthy", True))
        self.assertEqual(proxy.chat().status, 503)
        self.assertEqual(health(), ("degraded", False))
        self.assertEqual(proxy.get("/readyz", key=None).status, 200)
        answers.append(True)
        self.assertEqual(proxy.chat().status, 200)
        self.assertEqual(health(), ("healthy", True))

    def test_workers_agree(self):
        """What one worker has seen of the upstream, all of them say."""
        up = self.upstream(each_request(lambda call: call.error(529, "overloaded_error", "busy")))
        proxy = self.proxy(up, CCPROXY_RETRIES=0, CCPROXY_WORKERS=4)
        for _ in range(5):
            self.assertEqual(proxy.chat().status, 503)
        seen = set()
        while len(seen) < 4:
            client = self.client(proxy)
            client.request("GET", "/health")
            self.assertEqual(client.response().json()["status"], "degraded")
            seen.add(proxy.worker_of(client))

    def test_models_tell_without_traffic(self):
        """No client asks anything: the list of models, which costs nothing, is asked for again and again."""
        proxy = self.proxy("http://127.0.0.1:1", CCPROXY_REFRESH_MODELS="true", CCPROXY_WORKERS=5)
        harness.until(lambda: proxy.get("/health").json()["status"] == "degraded", "it to be noticed")

    def test_callers_faults_do_not_count(self):
        up = self.upstream(each_request(lambda call: call.error(400, "invalid_request_error", "no")))
        proxy = self.proxy(up)
        for _ in range(6):
            self.assertEqual(proxy.chat().status, 400)
        self.assertEqual(proxy.get("/health").json()["status"], "healthy")

    def test_no_probe_costs_anything(self):
        up = self.upstream(lambda call: self.fail("the upstream was called"))
        proxy = self.proxy(up)
        for path in ("/health", "/livez", "/readyz", "/v1/models"):
            proxy.get(path)
        self.assertEqual(up.calls, [])


class Models(harness.TestCase):
    def test_list(self):
        proxy = self.proxy(None)
        body = proxy.get("/v1/models").json()
        self.assertEqual(body["object"], "list")
        ids = [m["id"] for m in body["data"]]
        self.assertEqual(len(ids), len(set(ids)))
        for name in ("gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-4o-mini", "gpt-3.5-turbo",
                     "claude-sonnet-5-5"):
            self.assertIn(name, ids)
        for m in body["data"]:
            self.assertEqual(m["object"], "model")
            self.assertIsInstance(m["created"], int)
            self.assertTrue(m["owned_by"])
            one = proxy.get(f"/v1/models/{m['id']}")
            self.assertEqual((one.status, one.json()["id"]), (200, m["id"]))

    def test_unknown(self):
        proxy = self.proxy(None)
        for name in ("nope", "gpt-999", "%2e%2e", "a%20b", "x" * 500, "%zz"):
            response = proxy.get(f"/v1/models/{name}")
            if name not in ("%2e%2e", "%zz") or response.status != 400:
                self.assert_error(response, 404, "model_not_found")
                self.assertEqual(response.error["param"], "model")

    def test_escaped_name(self):
        self.assertEqual(self.proxy(None).get("/v1/models/gpt%2d4o").json()["id"], "gpt-4o")

    def test_needs_a_key(self):
        proxy = self.proxy(None)
        for path in ("/v1/models", "/v1/models/gpt-4o", "/v1/models/nope"):
            self.assert_error(proxy.get(path, key=None), 401, "invalid_api_key")

    def test_own_names(self):
        up = self.upstream(each_request(lambda call: call.answer()))
        proxy = self.proxy(up, CCPROXY_MODEL_MAP='{"house":"claude-sonnet-5-5"}')
        self.assertIn("house", [m["id"] for m in proxy.get("/v1/models").json()["data"]])
        response = proxy.chat(model="house")
        self.assertEqual(response.json()["model"], "claude-sonnet-5-5")
        self.assertIn(b'"model":"claude-sonnet-5-5"', up.requests[0])

    def test_default_model(self):
        up = self.upstream(each_request(lambda call: call.answer()))
        proxy = self.proxy(up, CCPROXY_DEFAULT_MODEL="claude-sonnet-5-5")
        self.assertEqual(proxy.chat(model="whatever").status, 200)
        self.assertIn(b'"model":"claude-sonnet-5-5"', up.requests[0])

    def test_unknown_model_of_a_chat_names_the_known(self):
        response = self.proxy(None).chat(model="gpt-nope")
        message = self.assert_error(response, 404, "model_not_found")
        self.assertEqual(response.error["param"], "model")
        self.assertTrue(re.search(r"gpt-4o\b", message), message)

    def test_refresh(self):
        """What the upstream has is known soon after the start, and what it says wrong is not."""
        model = {"type": "model", "id": "claude-next-9", "display_name": "Next",
                 "created_at": "2026-01-01T00:00:00Z", "max_input_tokens": 200000, "max_tokens": 1000}

        def script(call):
            call.read_request()
            self.assertTrue(call.line.startswith("GET /v1/models"), call.line)
            self.assertEqual(call.fields["x-api-key"], harness.UPSTREAM_KEY)
            body = json.dumps({"data": [model, {"id": 5}, "x"], "has_more": False}).encode()
            call.head(200, content_type="application/json", content_length=len(body), then=body)

        proxy = self.proxy(self.upstream(script), CCPROXY_REFRESH_MODELS="true",
                           CCPROXY_LOG_LEVEL="DEBUG")
        self.assertEqual(proxy.wait_log("models refreshed")["status"], 200)
        self.assertEqual(proxy.get("/v1/models/claude-next-9").status, 200)

    def test_refresh_that_fails(self):
        for action in (lambda call: None, lambda call: call.error(500, "api_error", "x"),
                       lambda call: call.head(200, then=b"{", content_length=1),
                       lambda call: call.head(200, then=b'{"data":5}', content_length=10)):
            def script(call, action=action):
                call.read_request()
                action(call)

            proxy = self.proxy(self.upstream(script), CCPROXY_REFRESH_MODELS="true",
                               CCPROXY_LOG_LEVEL="DEBUG")
            harness.until(lambda: proxy.logs("models refreshed") or proxy.logs("models not refreshed"),
                          "the refresh ends")
            self.assertEqual(proxy.get("/v1/models/gpt-4o").status, 200)
            proxy.stop()
