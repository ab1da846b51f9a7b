"""What the gateway takes from its clients and what it refuses: framing, paths, methods, credentials."""
import json
import os
import re
import socket

import harness
from harness import KEY, Client, Gone, each_request

CASES = harness.ROOT / "tests" / "data" / "h1_cases.txt"
CHAT = "/v1/chat/completions"
BODY = {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "hello"}]}
SECURITY = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def chat_bytes(key=KEY):
    body = json.dumps(BODY).encode()
    return (f"POST {CHAT} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def unescape(text):
    named = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}
    return re.sub(r"\\(x[0-9A-Fa-f]{2}|.)",
                  lambda m: chr(int(m[1][1:], 16)) if m[1][0] == "x" else named[m[1]],
                  text).encode("latin-1")


def read_cases():
    lines = CASES.read_text(encoding="latin-1").split("\n")
    i = 0
    while i < len(lines):
        if not lines[i] or lines[i].startswith("#"):
            i += 1
            continue
        name, expect = lines[i].rsplit("|", 1)
        yield name.strip(), expect.strip().split(","), unescape(lines[i + 1])
        i += 2


def refuse_calls(call):
    call.read_request()
    raise AssertionError(f"a request reached the upstream: {call.line} {call.body!r}")


class Matrix(harness.TestCase):
    """Every case of h1_cases.txt, sent whole, in two halves and byte by byte. Behind what must be
    refused stands a good chat request, which must never be taken for one."""

    @classmethod
    def setUpClass(cls):
        cls.upstream_ = cls.shared_upstream(refuse_calls)
        cls.proxy_ = cls.shared_proxy(cls.upstream_)

    def exchange(self, expect, data, send):
        client = self.client(self.proxy_)
        refused = expect[-1] != "ok"
        n_calls = len(self.upstream_.calls)
        try:
            send(client, data + (chat_bytes() if refused else b""))
        except Gone:
            pass  # refused, and what follows is not wanted; the answer is there
        for word in expect:
            response = client.response(is_head=data.startswith(b"HEAD"))
            if word == "ok":
                self.assertIn(response.status, (200, 204), response.body)
                continue
            if data.startswith(b"HEAD"):
                self.assertEqual(response.status, int(word))
            else:
                self.assert_error(response, int(word))
            self.assertEqual(response.fields.get("connection"), "close")
        if not refused:
            client.end_write()
        self.assertEqual(client.rest(), b"")
        self.assertEqual(len(self.upstream_.calls), n_calls)


def add_cases():
    def halves(client, data):
        for part in (data[:len(data) // 2], data[len(data) // 2:]):
            client.send(part)

    ways = {"whole": Client.send, "halves": halves, "trickled": Client.trickle}
    for number, (name, expect, data) in enumerate(read_cases()):
        if data.startswith(b"PRI * HTTP/2.0"):
            continue  # a connection of HTTP/2 unless that is off: see Connections
        for way, send in ways.items():
            def test(self, expect=expect, data=data, send=send):
                self.exchange(expect, data, send)

            slug = re.sub(r"\W+", "_", name)
            test.__doc__ = name
            setattr(Matrix, f"test_{number:03}_{slug}_{way}", test)


add_cases()


class Connections(harness.TestCase):
    def setUp(self):
        self.up = self.upstream(each_request(lambda call: call.answer()))

    def test_both_connections_are_kept(self):
        client = self.client(self.proxy(self.up))
        for stream in (False, True, False):
            client.chat(stream=stream)
            self.assertEqual(client.response().status, 200)
        self.assertEqual(len(self.up.calls), 1)
        self.assertEqual(len(self.up.requests), 3)

    def test_connection_close_is_honoured(self):
        client = self.client(self.proxy(self.up))
        client.request("POST", CHAT, BODY, fields={"Connection": "close"})
        response = client.response()
        self.assertEqual((response.status, response.fields["connection"]), (200, "close"))
        self.assertEqual(client.rest(), b"")

    def test_http_1_0_streams_until_the_end(self):
        client = self.client(self.proxy(self.up))
        body = json.dumps({**BODY, "stream": True})
        client.send(f"POST {CHAT} HTTP/1.0\r\nAuthorization: Bearer {KEY}\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n{body}")
        response = client.response()
        self.assertNotIn("transfer-encoding", response.fields)
        self.assertEqual(response.frames()[-1], "[DONE]")

    def test_pipelined_requests_are_answered_in_order(self):
        client = self.client(self.proxy(self.up))
        get = b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n"
        client.send(get % b"/livez" + chat_bytes() + get % b"/readyz" + chat_bytes())
        self.assertEqual(client.response().json(), {"status": "alive"})
        self.assertEqual(client.response().json()["object"], "chat.completion")
        self.assertEqual(client.response().json(), {"status": "ready"})
        self.assertEqual(client.response().json()["object"], "chat.completion")

    def test_a_thousand_pipelined_requests(self):
        client = self.client(self.proxy(self.up))
        client.send(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n" * 1000)
        for _ in range(1000):
            self.assertEqual(client.response().status, 200)

    def test_chunked_request(self):
        client = self.client(self.proxy(self.up))
        body = json.dumps(BODY).encode()
        client.send(f"POST {CHAT} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {KEY}\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n")
        for i in range(0, len(body), 7):
            piece = body[i:i + 7]
            client.send(b"%x;a=b\r\n%s\r\n" % (len(piece), piece))
        client.send(b"0\r\nX-Trailer: dropped\r\n\r\n")
        self.assertEqual(client.response().status, 200)
        self.assertEqual(len(self.up.requests), 1)

    def test_body_byte_by_byte(self):
        client = self.client(self.proxy(self.up))
        client.trickle(chat_bytes())
        self.assertEqual(client.response().status, 200)

    def test_expect_continue(self):
        client = self.client(self.proxy(self.up))
        head, body = chat_bytes().split(b"\r\n\r\n")
        client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(client.head()[0], "HTTP/1.1 100 Continue")
        client.send(body)
        self.assertEqual(client.head()[0], "HTTP/1.1 200 OK")

    def test_expect_continue_with_the_body_already_there(self):
        client = self.client(self.proxy(self.up))
        client.send(chat_bytes().replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        self.assertEqual(client.head()[0], "HTTP/1.1 200 OK")

    def test_expect_continue_of_a_stranger_gets_the_refusal_only(self):
        client = self.client(self.proxy(self.up))
        head = chat_bytes(key="wrong-wrong").split(b"\r\n\r\n")[0]
        client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(client.head()[0], "HTTP/1.1 401 Unauthorized")

    def test_head_is_get_without_its_body(self):
        client = self.client(self.proxy(self.up))
        for path in ("/livez", "/v1/models"):
            client.request("GET", path)
            get = client.response()
            client.request("HEAD", path)
            head = client.response(is_head=True)
            self.assertEqual(head.status, 200)
            self.assertEqual(head.fields["content-length"], get.fields["content-length"])
            self.assertEqual(client.data, b"")

    def test_options_names_the_methods(self):
        client = self.client(self.proxy(self.up))
        for path, allow in ((CHAT, "POST, OPTIONS"), ("/v1/models", "GET, HEAD, OPTIONS")):
            client.request("OPTIONS", path, key=None)
            response = client.response()
            self.assertEqual((response.status, response.fields["allow"]), (204, allow))

    def test_half_a_request_and_away(self):
        proxy = self.proxy(self.up)
        for n in (1, 20, 90, len(chat_bytes()) - 1):
            client = self.client(proxy)
            client.send(chat_bytes()[:n])
            client.close()
        self.assertEqual(proxy.chat().status, 200)
        self.assertEqual(len(self.up.requests), 1)

    def test_tls_and_http2_where_there_is_neither(self):
        proxy = self.proxy(self.up, CCPROXY_HTTP2="false")
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            client = self.client(proxy)
            client.send(data)
            self.assertIn(client.response().status, (400, 505))
            self.assertEqual(client.rest(), b"")


class Listeners(harness.TestCase):
    def check(self, **env):
        upstream = self.upstream(each_request(lambda call: call.answer()))
        proxy = self.proxy(upstream, **env)
        self.assertEqual(proxy.chat().status, 200)
        return proxy

    def test_ipv6(self):
        proxy = self.check(CCPROXY_HOST="::1")
        self.assertTrue(proxy.text_address.startswith("[::1]:"))

    def test_any_address(self):
        proxy = self.proxy(None, CCPROXY_HOST="0.0.0.0")
        proxy.address = ("127.0.0.1", proxy.address[1])
        self.assertEqual(proxy.get("/livez").status, 200)

    def test_unix_socket(self):
        path = str(self.directory() / "socket")
        proxy = self.check(CCPROXY_HOST=f"unix:{path}", CCPROXY_WORKERS=2)
        proxy.stop()
        self.assertFalse(os.path.exists(path))

    def test_unix_socket_left_behind_is_replaced(self):
        path = str(self.directory() / "socket")
        old = socket.socket(socket.AF_UNIX)
        old.bind(path)
        old.close()
        self.check(CCPROXY_HOST=f"unix:{path}")

    def test_taken_port(self):
        proxy = self.check()
        second = harness.run(CCPROXY_PORT=proxy.address[1])
        self.assertEqual(second.returncode, 1)
        self.assertEqual(len(second.stderr.splitlines()), 1, second.stderr)
        self.assertIn(f"127.0.0.1:{proxy.address[1]}", second.stderr)


class Endpoints(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.up = cls.shared_upstream(each_request(lambda call: call.answer()))
        cls.proxy_ = cls.shared_proxy(cls.up)

    def ask(self, method, path, body=None, **kwargs):
        client = self.client(self.proxy_)
        client.request(method, path, body, **kwargs)
        return client.response(is_head=method == "HEAD")

    def test_spellings_of_a_path(self):
        for path in (CHAT, CHAT + "/", "/v1" + CHAT, "/chat/completions", "/chat/completions/",
                     "/v1/v1/v1/chat/completions", "/openai/v1/chat/completions",
                     "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
                     CHAT + "?beta=true"):
            self.assertEqual(self.ask("POST", path, BODY).status, 200, path)
        for path in ("/models", "/v1/models/", "/v1/v1/models", "/v1/models?limit=5"):
            self.assertEqual(self.ask("GET", path).status, 200, path)

    def test_absolute_form(self):
        client = self.client(self.proxy_)
        client.send("GET http://test/livez HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual(client.response().status, 200)
        client.send("GET http://other/livez HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assert_error(client.response(), 400, "bad_request")

    def test_unknown_urls(self):
        for path in ("/", "/v1", "/v1/", "/v1/chat", "/v2/models", "/v1/chat/completionsx", "/admin",
                     "/v1x/models", "/favicon.ico", "/%2e%2e/etc/passwd"):
            response = self.ask("GET", path)
            if response.status != 400:  # what looks like an attack may be called malformed
                self.assertIn(path, self.assert_error(response, 404, "unknown_url"))

    def test_what_claude_has_not(self):
        for path, word in (("/v1/embeddings", "embeddings"), ("/v1/audio/speech", "audio"),
                           ("/v1/images/generations", "image"), ("/v1/fine_tuning/jobs", "fine"),
                           ("/v1/moderations", "moderation"), ("/v1/threads/x/runs", "threads"),
                           ("/embeddings/", "embeddings")):
            message = self.assert_error(self.ask("POST", path, {}), 404, "unsupported_endpoint")
            self.assertIn(word, message)

    def test_wrong_methods(self):
        for method, path, allow in (("GET", CHAT, "POST, OPTIONS"), ("HEAD", CHAT, "POST, OPTIONS"),
                                    ("PUT", CHAT, "POST, OPTIONS"), ("DELETE", CHAT, "POST, OPTIONS"),
                                    ("TRACE", CHAT, "POST, OPTIONS"),
                                    ("POST", "/v1/models", "GET, HEAD, OPTIONS"),
                                    ("POST", "/health", "GET, HEAD, OPTIONS")):
            response = self.ask(method, path)
            self.assertEqual((response.status, response.fields["allow"]), (405, allow), method)
            if method != "HEAD":
                self.assert_error(response, 405, "method_not_allowed")

    def test_content_types(self):
        body = json.dumps(BODY).encode()
        good = ("application/json", "application/json; charset=utf-8", "APPLICATION/JSON",
                "application/x-www-form-urlencoded", "text/plain", "application/vnd.api+json", None)
        for kind in good + ("text/xml", "multipart/form-data; boundary=x", "application/jsonp"):
            client = self.client(self.proxy_)
            line = f"Content-Type: {kind}\r\n" if kind else ""
            client.send(f"POST {CHAT} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {KEY}\r\n{line}"
                        f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            if kind in good:
                self.assertEqual(client.response().status, 200, kind)
            else:
                self.assert_error(client.response(), 415, "unsupported_media_type")

    def test_content_encodings(self):
        for coding in ("gzip", "br", "deflate", "zstd", "gzip, identity"):
            response = self.ask("POST", CHAT, BODY, fields={"Content-Encoding": coding})
            self.assert_error(response, 415, "unsupported_media_type")
        response = self.ask("POST", CHAT, BODY, fields={"Content-Encoding": "identity"})
        self.assertEqual(response.status, 200)

    def test_request_ids(self):
        made = set()
        for given in ("abc", "x" * 128, "a-b_c:d/e=", "~!#$%&'()*+,-./:;<=>?@[]^_`{|}"):
            response = self.ask("GET", "/livez", fields={"X-Request-Id": given})
            self.assertEqual(response.fields["x-request-id"], given)
            self.proxy_.ended(id=given, path="/livez")
        for given in ("x" * 129, "a b", "\xe9", ""):
            response = self.ask("GET", "/livez", fields={"X-Request-Id": given})
            made.add(response.fields["x-request-id"])
        made.add(self.ask("GET", "/livez").fields["x-request-id"])
        self.assertEqual(len(made), 5)
        for x in made:
            self.assertRegex(x, r"^req_[0-9A-Za-z]{24}$")

    def test_security_headers_on_every_answer(self):
        answers = [
            self.ask("GET", "/livez"), self.ask("GET", "/health"), self.ask("GET", "/v1/models"),
            self.ask("HEAD", "/livez"), self.ask("OPTIONS", CHAT), self.ask("POST", CHAT, BODY),
            self.ask("POST", CHAT, {**BODY, "stream": True}), self.ask("GET", "/nowhere"),
            self.ask("GET", CHAT), self.ask("GET", "/v1/models", key="wrong-wrong"),
            self.ask("POST", CHAT, b"{"), self.ask("POST", CHAT, BODY, fields={"Expect": "magic"}),
            self.ask("POST", CHAT, BODY, fields={"Content-Encoding": "gzip"}),
            self.ask("POST", CHAT, BODY, fields={"Bad Name": "x"}),
            self.ask("GET", "/livez", fields={"X-Big": "x" * 40000}),
        ]
        statuses = [a.status for a in answers]
        self.assertEqual(statuses, [200, 200, 200, 200, 204, 200, 200, 404, 405, 401, 400, 417, 415,
                                    400, 431])
        for answer in answers:
            for name, value in SECURITY.items():
                self.assertEqual(answer.fields.get(name), value, (answer.line, name))
            self.assertIn("no-store", answer.fields["cache-control"])
            self.assertIn("x-request-id", answer.fields)
            self.assertIn("date", answer.fields)
            for name in ("server", "x-powered-by", "access-control-allow-origin"):
                self.assertNotIn(name, answer.fields)

    def test_bad_json(self):
        for body in (b"", b"{", b"[]", b"null", b"{}x", b'{"model":1}', b"\xff", b'{"a":"\xff"}',
                     b"[" * 100000):
            self.assert_error(self.ask("POST", CHAT, body), 400, kind="invalid_request_error")

    def test_what_was_dropped_is_named(self):
        response = self.ask("POST", CHAT, {**BODY, "frequency_penalty": 1, "logit_bias": {"1": 2}})
        self.assertEqual(response.status, 200)
        for name in ("frequency_penalty", "logit_bias"):
            self.assertIn(name, response.fields["x-ccproxy-dropped"])

    def test_retired_model_is_named(self):
        response = self.ask("POST", CHAT, {**BODY, "model": "claude-3-5-sonnet-20241022"})
        self.assertEqual(response.fields["x-ccproxy-retired-model"], "claude-3-5-sonnet-20241022")
        self.assertEqual(self.ask("POST", CHAT, {**BODY, "model": "gpt-nope"}).error["code"],
                         "model_not_found")

    def test_answer_headers(self):
        fields = self.ask("POST", CHAT, BODY).fields
        self.assertEqual(fields["openai-version"], "2020-10-01")
        self.assertRegex(fields["openai-processing-ms"], r"^\d+$")
        self.assertEqual(fields["request-id"], "req_upstream_1")
        fields = self.ask("POST", CHAT, {**BODY, "stream": True}).fields
        self.assertEqual(fields["content-type"], "text/event-stream; charset=utf-8")
        self.assertEqual(fields["x-accel-buffering"], "no")


class Privacy(harness.TestCase):
    """Nothing of one side's headers is handed to the other."""

    def test_upstream_gets_nothing_of_the_client(self):
        upstream = self.upstream(each_request(lambda call: call.answer()))
        client = self.client(self.proxy(upstream))
        client.request("POST", CHAT, BODY, fields={
            "Cookie": "canary", "X-Canary": "canary", "User-Agent": "canary",
            "X-Forwarded-For": "192.0.2.9", "Anthropic-Version": "canary", "X-Api-Key": KEY,
            "Connection": "keep-alive, x-canary"})
        self.assertEqual(client.response().status, 200)
        fields = upstream.calls[0].fields
        self.assertNotIn("canary", json.dumps(fields))
        self.assertNotIn(KEY, json.dumps(fields))
        self.assertEqual(fields["x-api-key"], harness.UPSTREAM_KEY)
        self.assertEqual(fields["host"], upstream.url[7:])
        self.assertEqual(fields["accept-encoding"], "identity")

    def test_client_gets_nothing_of_the_upstream(self):
        def script(call):
            call.read_request()
            call.start(anthropic_organization_id="canary", set_cookie="canary=1", cf_ray="canary",
                       server="canary", x_canary="canary")
            for event in harness.text_events("hi"):
                call.event(event)
            call.end()

        response = self.proxy(self.upstream(script)).chat()
        self.assertEqual(response.status, 200)
        self.assertNotIn("canary", json.dumps(response.fields))


class Credentials(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.up = cls.shared_upstream(each_request(lambda call: call.answer()))
        cls.proxy_ = cls.shared_proxy(cls.up, CCPROXY_API_KEYS=f"tester:{KEY},other-key-12345")

    def ask(self, **fields):
        client = self.client(self.proxy_)
        client.request("GET", "/v1/models", key=None,
                       fields={k.replace("_", "-"): v for k, v in fields.items()})
        return client.response()

    def test_ways_to_show_a_key(self):
        for fields in ({"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer {KEY}"},
                       {"Authorization": f"BEARER   {KEY}"}, {"X_API_Key": KEY}, {"api_key": KEY},
                       {"Authorization": f"Bearer {KEY}", "X_API_Key": KEY}):
            self.assertEqual(self.ask(**fields).status, 200, fields)

    def test_wrong_and_unknown_look_alike(self):
        bodies = set()
        for fields in ({}, {"Authorization": "Bearer wrong-wrong"}, {"X_API_Key": KEY[:-1]},
                       {"X_API_Key": KEY + "x"}, {"Authorization": KEY}, {"Authorization": "Bearer "},
                       {"Authorization": f"Basic {KEY}"}, {"api_key": "x" * 5000}):
            response = self.ask(**fields)
            self.assert_error(response, 401, "invalid_api_key", "invalid_request_error")
            self.assertEqual(response.fields["www-authenticate"], 'Bearer realm="ccproxy"')
            bodies.add(response.body)
        self.assertEqual(len(bodies), 1)

    def test_credentials_that_differ(self):
        response = self.ask(Authorization=f"Bearer {KEY}", X_API_Key="other-key-12345")
        self.assert_error(response, 400, "bad_request")

    def test_strangers_are_refused_before_their_body(self):
        client = self.client(self.proxy_)
        client.send(f"POST {CHAT} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer no-such-key\r\n"
                    "Content-Length: 1000000\r\n\r\n")
        response = client.response()
        self.assert_error(response, 401, "invalid_api_key")
        self.assertEqual(response.fields["connection"], "close")
        self.assertEqual(self.up.calls, [])

    def test_the_log_names_the_client(self):
        self.ask(X_API_Key="other-key-12345")
        self.assertEqual(self.proxy_.ended(client="client-2")["status"], 200)
