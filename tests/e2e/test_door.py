"""Addresses: failures that cost the address they came from, trusted proxies. Pages: CORS. Headers: what is on
every answer, and what never goes upstream."""
import contextlib
import hashlib
import socket
import subprocess

import harness
from harness import KEY, each_request, until

CHAT = "/v1/chat/completions"
CLAIM = {"X-Forwarded-For": "203.0.113.9"}


def good(call):
    call.answer()


class Penalties(harness.TestCase):
    def statuses(self, proxy, n, key="wrong", **kwargs):
        return [proxy.get("/v1/models", key=key, **kwargs).status for _ in range(n)]

    def test_refused_and_let_in(self):
        """An address that owes too many failures is refused, but not those behind it who have a key."""
        proxy = self.proxy(None, CCPROXY_AUTH_FAILURES=2)
        self.assertEqual(self.statuses(proxy, 2), [401, 401])
        response = proxy.get("/v1/models", key="wrong")
        self.assert_error(response, 429, "rate_limit_exceeded")
        self.assertGreater(int(response.fields["retry-after"]), 0)
        self.assertGreater(int(response.fields["retry-after-ms"]), 0)
        self.assertEqual(self.statuses(proxy, 3, key=None), [429] * 3)
        self.assertEqual(self.statuses(proxy, 3, key=KEY), [200] * 3)
        self.assertEqual(proxy.get("/livez", key=None).status, 200)
        line = proxy.ended(ending="PENALTY")
        self.assertEqual((line["address"], line["fault"]), ("127.0.0.1", "caller"))
        page = proxy.get("/metrics", key=None, fields={}).body.decode()
        self.assertIn('ccproxy_auth_total{result="penalized"} 4\n', page)

    def test_held_back(self):
        """Half way there, refusals wait; whoever leaves meanwhile, or has a body to send, breaks nothing."""
        proxy = self.proxy(None, CCPROXY_AUTH_FAILURES=8)
        self.assertEqual(self.statuses(proxy, 5), [401] * 5)
        client = self.client(proxy)
        client.request("GET", "/v1/models", key="wrong")
        client.close()
        proxy.ended(ending="CLIENT_GONE")
        with contextlib.closing(proxy.client()) as c:
            c.request("POST", CHAT, {"model": "gpt-4o"}, key="wrong")
            self.assertEqual(c.response().status, 401)
        line = proxy.ended(status=401, path=CHAT)
        self.assertGreaterEqual(line["duration_ms"], 1000)

    def test_all_workers_share_it(self):
        proxy = self.proxy(None, CCPROXY_AUTH_FAILURES=8, CCPROXY_WORKERS=4)
        self.assertEqual(self.statuses(proxy, 12).count(401), 8)

    def test_each_address_behind_a_proxy(self):
        proxy = self.proxy(None, CCPROXY_AUTH_FAILURES=1, CCPROXY_TRUSTED_PROXIES="127.0.0.0/8")
        for n in range(5):
            fields = {"X-Forwarded-For": f"198.51.100.1, 203.0.113.{n}"}
            self.assertEqual(self.statuses(proxy, 2, fields=fields), [401, 429])
        for n in range(5):
            fields = {"X-Forwarded-For": f"2001:db8:0:7::{n:x}"}
            self.assertEqual(self.statuses(proxy, 1, fields=fields), [429 if n else 401])
        self.assertEqual(self.statuses(proxy, 3), [401] * 3)  # a proxy that names nobody is not to blame

    def test_a_claim_of_nobody_trusted(self):
        proxy = self.proxy(None, CCPROXY_AUTH_FAILURES=1, CCPROXY_TRUSTED_PROXIES="10.0.0.0/8")
        self.assertEqual(self.statuses(proxy, 2, fields=CLAIM), [401, 429])
        self.assertEqual(proxy.ended()["address"], "127.0.0.1")

    def test_unix_socket(self):
        path = str(self.directory() / "socket")
        proxy = self.proxy(None, CCPROXY_AUTH_FAILURES=1, CCPROXY_HOST="unix:" + path,
                           CCPROXY_TRUSTED_PROXIES="unix")
        self.assertEqual(self.statuses(proxy, 3), [401] * 3)
        self.assertEqual(proxy.ended()["address"], "unix")
        self.assertEqual(self.statuses(proxy, 2, fields=CLAIM), [401, 429])

    def test_wrong_settings(self):
        for value in ("10.0.0.0/33", "example.com"):
            done = harness.run("check", CCPROXY_TRUSTED_PROXIES=value)
            self.assertEqual(done.returncode, 1)
            self.assertIn("CCPROXY_TRUSTED_PROXIES", done.stdout + done.stderr)


class Pages(harness.TestCase):
    ORIGIN = "https://app.example.com"

    def ask(self, proxy, method="POST", path=CHAT, key=KEY, **fields):
        with contextlib.closing(proxy.client()) as c:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]} if method == "POST" else None
            c.request(method, path, body, {k.replace("_", "-"): v for k, v in fields.items()}, key=key)
            return c.response()

    def start(self, origins):
        return self.proxy(self.upstream(each_request(good)), CCPROXY_CORS_ORIGINS=origins)

    def test_off(self):
        response = self.ask(self.start(""), Origin=self.ORIGIN)
        self.assertEqual([f for f in response.fields if f.startswith("access-control") or f == "vary"], [])

    def test_preflight(self):
        proxy = self.start(f"https://other.example, {self.ORIGIN}")
        response = self.ask(proxy, "OPTIONS", key=None, Origin=self.ORIGIN, Access_Control_Request_Method="POST",
                            Access_Control_Request_Headers="authorization,content-type,x-stainless-lang")
        self.assertEqual(response.status, 204)
        self.assertEqual(response.fields["access-control-allow-origin"], self.ORIGIN)
        self.assertEqual(response.fields["access-control-allow-headers"],
                         "authorization,content-type,x-stainless-lang")
        self.assertIn("POST", response.fields["access-control-allow-methods"])
        self.assertEqual(response.fields["vary"], "Origin")
        self.assertNotIn("access-control-allow-credentials", response.fields)

    def test_answers_and_errors(self):
        proxy = self.start(self.ORIGIN)
        for response in (self.ask(proxy, Origin=self.ORIGIN), self.ask(proxy, key="wrong", Origin=self.ORIGIN),
                         self.ask(proxy, "GET", "/v1/nothing", Origin=self.ORIGIN)):
            self.assertEqual(response.fields["access-control-allow-origin"], self.ORIGIN)
            self.assertIn("X-Request-Id", response.fields["access-control-expose-headers"])
        for origin in ("https://evil.example", self.ORIGIN + ".evil.example", "null", ""):
            response = self.ask(proxy, Origin=origin)
            self.assertEqual(response.status, 200)
            self.assertNotIn("access-control-allow-origin", response.fields)
            self.assertEqual(response.fields["vary"], "Origin")

    def test_any(self):
        response = self.ask(self.start("*"), Origin="https://anything.example")
        self.assertEqual(response.fields["access-control-allow-origin"], "https://anything.example")

    def test_wrong_settings(self):
        for value in ("app.example.com", "https://a.example/path", "https://"):
            done = harness.run("check", CCPROXY_CORS_ORIGINS=value)
            self.assertEqual(done.returncode, 1)
            self.assertIn("CCPROXY_CORS_ORIGINS", done.stdout + done.stderr)


class Operators(harness.TestCase):
    def test_this_machine_by_its_own_names(self):
        """Whoever makes his own name mean this machine, for a browser on it, reads nothing without a key."""
        proxy = self.proxy(None, CCPROXY_API_KEYS=None, CCPROXY_AUTH_FAILURES="0", CCPROXY_CLIENTS=(
            '{"ops":{"hash":"sha256:%s","rights":["stats","metrics"]}}' % hashlib.sha256(KEY.encode()).hexdigest()))
        for host, status in (("localhost", 200), ("LOCALHOST:8000", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("ccproxy", 200),
                             ("a.localhost", 200), ("evil.example", 401), ("evil.example.:8000", 401), ("localhost.evil.example", 401),
                             ("127.0.0.1.evil.example", 401), ("evillocalhost.x", 401), ("xlocalhost.", 200)):
            for path in ("/metrics", "/stats"):
                for key, wanted in ((None, status), (KEY, 200)):
                    with contextlib.closing(proxy.client()) as c:
                        credential = f"X-API-Key: {key}\r\n" if key else ""
                        c.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{credential}\r\n")
                        self.assertEqual(c.response().status, wanted, (host, key))


class Headers(harness.TestCase):
    SECURITY = {"x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "no-referrer",
                "cross-origin-resource-policy": "same-origin",
                "permissions-policy": "camera=(), geolocation=(), microphone=()", "cache-control": "no-cache, no-store",
                "content-security-policy": "default-src 'none'; frame-ancestors 'none'"}

    def test_on_every_answer(self):
        def script(call):
            while True:
                call.read_request()
                if b"overloaded" in call.body:
                    call.error(529, "overloaded_error", "no")
                else:
                    call.answer()

        proxy = self.proxy(self.upstream(script), CCPROXY_RETRIES=0, CCPROXY_MAX_BODY="2KiB", CCPROXY_MAX_HEAD="2KiB",
                           CCPROXY_RATE_LIMIT_RPM=6)
        seen = {}
        asked = [("GET", path, None) for path in ("/health", "/livez", "/readyz", "/metrics", "/v1/models",
                                                  "/v1/models/gpt-4o", "/v1/models/no", "/v1/nothing", "/v1/embeddings")]
        chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
        asked += [("POST", CHAT, chat), ("POST", CHAT, {**chat, "stream": True}), ("GET", CHAT, None), ("OPTIONS", CHAT, None),
                  ("POST", CHAT, {**chat, "temperature": "x"}), ("POST", CHAT, "{"), ("POST", CHAT, "x" * 3000),
                  ("POST", CHAT, {**chat, "messages": [{"role": "user", "content": "overloaded"}]}),
                  ("DELETE", "/v1/models/gpt-4o", None), ("POST", "/v1/completions", {"model": "gpt-4o", "prompt": "x"})]
        asked += [("POST", CHAT, chat)] * 6
        for method, path, body in asked:
            for key in (KEY, "wrong"):
                with contextlib.closing(proxy.client()) as c:
                    c.request(method, path, body, key=key)
                    response = c.response()
                seen[response.status] = response
        for raw in (b"GET / HTTP/9.9\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 3000 + b"\r\n\r\n",
                    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: odd\r\n\r\n"):
            with contextlib.closing(proxy.client()) as c:
                c.send(raw)
                response = c.response()
            seen[response.status] = response
            self.assertEqual({k: response.fields.get(k) for k in self.SECURITY}, self.SECURITY, raw[:40])
        for status, response in seen.items():
            self.assertEqual({k: response.fields.get(k) for k in self.SECURITY}, self.SECURITY, status)
            self.assertRegex(response.fields["x-request-id"], r"^[!-~]{1,128}$")
        self.assertLessEqual({200, 204, 400, 401, 403, 404, 405, 413, 429, 431, 501, 503, 505}, set(seen))

    def test_on_every_answer_over_http2(self):
        """The same answers carry the same fields over either protocol, whoever makes them."""
        proxy = self.proxy(self.upstream(each_request(good)), CCPROXY_AUTH_FAILURES="0")
        key, chat = ["-H", f"Authorization: Bearer {KEY}"], '{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]%s}'
        for args in (["/health"], ["/metrics"], ["/dashboard"], ["/nothing"], ["/%00"], ["-I", "/livez"], ["/v1/models"], [*key, "/v1/models"],
                     ["-X", "OPTIONS", "/v1/models"], ["-X", "TRACE", "/v1/models"], ["-H", f"X: {'y' * 40000}", "/livez"],
                     [*key, "-H", "Expect: x", "-d", "{}", CHAT], [*key, "-H", "Content-Encoding: gzip", "-d", "{}", CHAT], [*key, "-d", "{", CHAT],
                     [*key, "-d", chat % "", CHAT], [*key, "-d", chat % ',"stream":true', CHAT]):
            seen = []
            for version in ("--http1.1", "--http2-prior-knowledge"):
                done = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-D", "-", version, *args[:-1], f"http://{proxy.text_address}{args[-1]}"],
                                      capture_output=True, timeout=harness.DEADLINE, check=True)
                line, fields = harness.parse_head(done.stdout)
                policy = fields.pop("content-security-policy", "none")
                self.assertIn("frame-ancestors 'none'", policy, (version, args, done.stdout))
                self.assertLessEqual(self.SECURITY.items(), {**fields, "content-security-policy": self.SECURITY[
                    "content-security-policy"]}.items(), (version, args))
                self.assertIn("x-request-id", fields)
                self.assertNotIn("server", fields)
                seen.append(line.split(" ")[1])
            self.assertEqual(seen[0], seen[1], args)

    def test_nothing_of_the_client_goes_upstream(self):
        """Who it is, where it comes from, and what it claims to be: the upstream learns none of it."""
        up = self.upstream(each_request(good))
        proxy = self.proxy(up, CCPROXY_TRUSTED_PROXIES="127.0.0.1")
        names = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "via", "cookie",
                 "x-user-id", "x-remote-user", "remote-user", "x-auth-request-email", "x-client-ip", "true-client-ip",
                 "openai-organization", "openai-project", "x-stainless-lang", "proxy-authorization", "origin", "referer",
                 "x-request-id", "idempotency-key", "x-amz-security-token", "anthropic-workspace-id", "te", "priority")
        with contextlib.closing(proxy.client()) as c:
            c.request("POST", CHAT, {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]},
                      {name: "203.0.113.9" for name in names})
            self.assertEqual(c.response().status, 200)
        fields = up.calls[0].fields
        self.assertEqual(set(fields), {"host", "x-api-key", "anthropic-version", "user-agent", "accept", "accept-encoding",
                                       "content-type", "content-length"})
        self.assertEqual(fields["x-api-key"], harness.UPSTREAM_KEY)
        for value in fields.values():
            self.assertNotIn("203.0.113.9", value)
            self.assertNotIn(KEY, value)

    def test_request_ids(self):
        proxy = self.proxy(None)
        for given, kept in (("abc-1", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("\u00e9", False)):
            with contextlib.closing(proxy.client()) as c:
                c.request("GET", "/livez", fields={"x-request-id": given})
                self.assertEqual(c.response().fields["x-request-id"] == given, kept, given)
