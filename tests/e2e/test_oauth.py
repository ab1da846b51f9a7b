"""Tokens of an identity provider: every source of keys, rights from scopes, and refusals that tell
nothing."""
import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import signal
import subprocess
import threading
import time

import harness

SECRET = "0123456789abcdef0123456789abcdef"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """An RSA key made by openssl."""

    def __init__(self, directory, kid):
        self.kid, self.path = kid, f"{directory}/{kid}.pem"
        self.openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.path)
        self.pem = self.openssl("pkey", "-in", self.path, "-pubout").decode()
        modulus = self.openssl("rsa", "-in", self.path, "-noout", "-modulus").decode().strip()
        self.n = bytes.fromhex(modulus.split("=")[1])

    @staticmethod
    def openssl(*args, data=None):
        return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout

    def sign(self, text):
        return self.openssl("dgst", "-sha256", "-sign", self.path, data=text)

    def jwk(self):
        return {"kty": "RSA", "kid": self.kid, "use": "sig", "n": b64(self.n), "e": "AQAB"}


def token(claims, key=None, **header):
    claims = {"sub": "ann", "exp": int(time.time()) + 300, **claims}
    claims = {k: v for k, v in claims.items() if v is not None}
    head = {"alg": "RS256" if key else "HS256", "typ": "JWT", **header}
    text = b64(json.dumps(head).encode()) + "." + b64(json.dumps(claims).encode())
    mac = key.sign(text.encode()) if key else hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()
    return text + "." + b64(mac)


class Provider:
    """An identity provider on the loopback: its answers by path, and how often it was asked."""

    def __init__(self):
        provider = self
        self.pages, self.asked = {}, []
        self.moved = {}  # where a path has moved to

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                provider.asked.append(self.path)
                page, moved = provider.pages.get(self.path), provider.moved.get(self.path)
                body = json.dumps(page).encode()
                self.send_response(302 if moved else 200 if page else 500)
                if moved:
                    self.send_header("location", moved)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Oauth(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        import tempfile
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.key, cls.other = Key(directory.name, "one"), Key(directory.name, "two")

    def start(self, **env):
        up = self.upstream(harness.each_request(lambda call: call.answer()))
        return self.proxy(up, CCPROXY_API_KEYS=None, CCPROXY_AUTH_METHOD="oauth2", **env)

    def ask(self, proxy, bearer, method="POST", path="/v1/chat/completions"):
        client = proxy.client()
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
        client.request(method, path, body if method == "POST" else None, key=bearer)
        response = client.response()
        client.close()
        return response

    def test_secret(self):
        proxy = self.start(CCPROXY_JWT_SECRET=SECRET, CCPROXY_JWT_ISSUER="https://idp",
                           CCPROXY_JWT_AUDIENCE="ccproxy")
        good = {"iss": "https://idp", "aud": ["ccproxy"]}
        for _ in range(3):  # verified, then remembered
            self.assertEqual(self.ask(proxy, token(good)).status, 200)
        self.assertEqual(proxy.ended(1)["client"], "ann")
        self.assertEqual(self.ask(proxy, token({**good, "sub": "auth0|5f7"})).status, 200)
        self.assertRegex(proxy.ended(4)["client"], "^sub-[0-9a-f]{16}$")
        refused = [token({**good, "exp": int(time.time()) - 60}), token({**good, "iss": "https://idp/"}),
                   token({**good, "aud": "other"}), token({**good, "sub": None}), token(good).rsplit(".", 1)[0] + ".AAAA",
                   token(good, alg="none"), token(good, self.key), "nonsense", ""]
        answers = [self.ask(proxy, t or None) for t in refused]
        self.assertEqual({(a.status, a.body, a.fields["www-authenticate"]) for a in answers},
                         {(401, answers[0].body, answers[0].fields["www-authenticate"])})
        proxy.wait_log("token refused", len(refused))
        why = [line["why"] for line in proxy.logs("token refused")]
        self.assertEqual(why, ["expired", "bad_issuer", "bad_audience", "no_subject", "bad_signature",
                               "bad_algorithm", "bad_algorithm", "malformed", "malformed"])

    def test_public_key_and_rights(self):
        clients = {"bob": {"rights": ["models"], "rpm": 7}}
        proxy = self.start(CCPROXY_JWT_PUBLIC_KEY=self.key.pem, CCPROXY_CLIENTS=json.dumps(clients))
        for claims, chat, models in (({}, 200, 200), ({"scope": "openid email"}, 200, 200),
                                     ({"scope": "ccproxy:models"}, 403, 200),
                                     ({"scp": ["ccproxy:chat"]}, 200, 403),
                                     ({"scope": "ccproxy:nothing"}, 403, 403),
                                     ({"sub": "bob"}, 403, 200)):
            with self.subTest(**claims):
                bearer = token(claims, self.key)
                self.assertEqual(self.ask(proxy, bearer).status, chat)
                self.assertEqual(self.ask(proxy, bearer, "GET", "/v1/models").status, models)
        self.assertEqual(self.ask(proxy, token({}, self.other)).status, 401)

    def test_settings_in_a_claim(self):
        """A token says what its client may do, as the configuration does for its own clients."""
        clients = {"bob": {"rights": ["models"]}}
        proxy = self.start(CCPROXY_JWT_PUBLIC_KEY=self.key.pem, CCPROXY_CLIENTS=json.dumps(clients))
        own = {"rights": ["chat", "stats"], "models": ["claude-haiku-*"], "aliases": {"gpt-4o": "claude-haiku-5-5"}, "rpm": 3}
        bearer = token({"ccproxy": own, "scope": "ccproxy:models"}, self.key)
        answers = [self.ask(proxy, bearer) for _ in range(4)]
        self.assertEqual([a.status for a in answers], [200, 200, 200, 429])
        self.assertEqual(answers[0].fields["x-ratelimit-limit-requests"], "3")
        self.assertEqual(proxy.ended(1)["asked_model"], "gpt-4o")
        self.assertEqual(self.ask(proxy, bearer, "GET", "/v1/models").status, 403)
        self.assertEqual(self.ask(proxy, bearer, "GET", "/stats").status, 200)
        only = token({"sub": "eve", "ccproxy": {"models": ["claude-opus-*"]}}, self.key)
        self.assertEqual([self.ask(proxy, only).status for _ in range(2)], [403, 403])
        # The configuration knows better, and null is nothing.
        self.assertEqual(self.ask(proxy, token({"sub": "bob", "ccproxy": {"rights": ["chat"]}}, self.key)).status, 403)
        self.assertEqual(self.ask(proxy, token({"sub": "sue", "ccproxy": None}, self.key)).status, 200)

    def test_settings_that_are_not_understood(self):
        proxy = self.start(CCPROXY_JWT_SECRET=SECRET, CCPROXY_JWT_CLAIM="https://idp.example/ccproxy", CCPROXY_AUTH_FAILURES="0")
        nobody = self.ask(proxy, None)
        odd = ([], "chat", 5, {"rmp": 5}, {"rpm": "5"}, {"rights": "chat"}, {"hash": "sha256:" + "0" * 64}, {"certificate": "dns:a"},
               {"models": []}, {"addresses": ["10.0.0.0/8"]}, {"expires": "2020-01-01T00:00:00Z"}, {"models": ["x" * 3000]})
        for settings in odd:
            for _ in range(2):
                answer = self.ask(proxy, token({"https://idp.example/ccproxy": settings}))
                self.assertEqual((answer.status, answer.body), (401, nobody.body), settings)
        self.assertEqual(self.ask(proxy, token({"https://idp.example/ccproxy": {"rpm": 5}, "ccproxy": []})).status, 200)

    def test_algorithms(self):
        """Keys may be for more than tokens are to be signed with."""
        provider = Provider()
        self.addCleanup(provider.close)
        provider.pages["/k"] = {"keys": [self.key.jwk()]}
        for algorithms, status in (("RS256", 200), ("PS256, RS256", 200), ("PS256,ES256", 401), ("RS512", 401)):
            proxy = self.start(CCPROXY_JWKS_URL=provider.url + "/k", CCPROXY_JWT_ALGORITHMS=algorithms)
            proxy.wait_log("keys of the identity provider")
            self.assertEqual(self.ask(proxy, token({}, self.key, kid="one")).status, status, algorithms)
        proxy = self.start(CCPROXY_JWT_SECRET=SECRET, CCPROXY_JWT_ALGORITHMS="HS256")
        self.assertEqual(self.ask(proxy, token({})).status, 200)

    def test_salt(self):
        """RFC 7518 section 3.5: the salt of PS256 is as long as the hash."""
        proxy = self.start(CCPROXY_JWT_PUBLIC_KEY=self.key.pem)
        text = token({}, self.key, alg="PS256").rsplit(".", 1)[0]
        for salt, status in (("32", 200), ("20", 401), ("0", 401), ("max", 401)):
            mac = Key.openssl("dgst", "-sha256", "-sign", self.key.path, "-sigopt", "rsa_padding_mode:pss", "-sigopt",
                              f"rsa_pss_saltlen:{salt}", data=text.encode())
            self.assertEqual(self.ask(proxy, f"{text}.{b64(mac)}").status, status, salt)

    def test_dates_of_a_client(self):
        """What the configuration says of a client holds for its tokens, too: fresh and remembered ones."""
        clients = {"bob": {"expires": "2020-01-01T00:00:00Z"}, "eve": {"not_before": "2999-01-01T00:00:00Z"}}
        proxy = self.start(CCPROXY_JWT_SECRET=SECRET, CCPROXY_CLIENTS=json.dumps(clients))
        unknown = self.ask(proxy, "nonsense")
        for bearer in (token({"sub": "bob"}), token({"sub": "eve"})):
            for _ in range(2):
                answer = self.ask(proxy, bearer)
                self.assertEqual((answer.status, answer.body), (401, unknown.body))
        proxy.wait_log("token refused", 4, why="client_dates")
        self.assertEqual(self.ask(proxy, token({"sub": "ann"})).status, 200)

    def test_published_keys_change(self):
        provider = Provider()
        self.addCleanup(provider.close)
        provider.pages["/keys"] = {"keys": [self.key.jwk()]}
        proxy = self.start(CCPROXY_JWKS_URL=provider.url + "/keys", CCPROXY_AUTH_FAILURES="0")
        proxy.wait_log("keys of the identity provider")
        self.assertEqual(self.ask(proxy, token({}, self.key, kid="one")).status, 200)
        provider.pages["/keys"] = {"keys": [self.other.jwk()]}
        for _ in range(50):  # an unknown key is asked for, but not by every token
            self.assertEqual(self.ask(proxy, token({}, self.other, kid="two")).status, 401)
        self.assertLessEqual(len(provider.asked), 2)

    def test_a_dead_provider_does_not_stop_known_keys(self):
        provider = Provider()
        provider.pages["/keys"] = {"keys": [self.key.jwk()]}
        proxy = self.start(CCPROXY_JWKS_URL=provider.url + "/keys")
        proxy.wait_log("keys of the identity provider")
        provider.close()
        self.assertEqual(self.ask(proxy, token({}, self.key, kid="one")).status, 200)
        self.assertEqual(self.ask(proxy, token({}, self.other, kid="two")).status, 401)
        self.assertEqual(self.ask(proxy, token({}, self.key, kid="one")).status, 200)

    def test_health(self):
        """Degraded while the provider has no keys to give; a secret needs no provider."""
        provider = Provider()
        self.addCleanup(provider.close)
        proxy = self.start(CCPROXY_JWKS_URL=provider.url + "/keys")
        proxy.wait_log("no keys from the identity provider, the last ones stay")
        health = proxy.get("/health", key=None)
        self.assertEqual((health.status, health.json()["status"], health.json()["checks"]["auth"]), (200, "degraded", False))
        provider.pages["/keys"] = {"keys": [self.key.jwk()]}
        for env in ({"CCPROXY_JWKS_URL": provider.url + "/keys"}, {"CCPROXY_JWT_SECRET": SECRET}):
            health = self.start(**env).get("/health", key=None).json()
            self.assertEqual((health["status"], health["checks"]["auth"]), ("healthy", True))

    def test_known_keys_outlive_the_provider_and_the_workers(self):
        """A dead provider, then killed workers and reloads: tokens of known keys come in, always."""
        provider = Provider()
        provider.pages["/keys"] = {"keys": [self.key.jwk()]}
        proxy = self.start(CCPROXY_JWKS_URL=provider.url + "/keys", CCPROXY_WORKERS=2)
        self.assertEqual(provider.asked, ["/keys"])  # for both
        provider.close()
        known, unknown = token({}, self.key, kid="one"), token({}, self.other, kid="two")
        for n in range(1, 4):
            for pid in proxy.workers():
                with contextlib.suppress(ProcessLookupError):  # one from before the reload, which has ended by now
                    os.kill(pid, signal.SIGKILL)
                self.assertEqual([self.ask(proxy, known).status for _ in range(4)], [200] * 4)
            proxy.kill(signal.SIGHUP)
            proxy.wait_log("reloaded", n)
            self.assertEqual([self.ask(proxy, known).status for _ in range(4)], [200] * 4)
            self.assertEqual(self.ask(proxy, unknown).status, 401)
        self.assertIs(proxy.get("/health", key=None).json()["checks"]["auth"], True)

    def test_nobody_is_refused_because_keys_are_on_their_way(self):
        """A worker takes requests when it knows the keys, and soon when it is not told; health says so."""
        provider = Provider()
        provider.pages["/keys"] = {"keys": [self.key.jwk()]}
        proxy = self.start(CCPROXY_JWKS_URL=provider.url + "/keys")
        self.assertEqual(self.ask(proxy, token({}, self.key, kid="one")).status, 200)
        provider.close()
        proxy = self.start(CCPROXY_JWKS_URL=provider.url + "/keys")
        self.assertEqual(self.ask(proxy, token({}, self.key, kid="one")).status, 401)
        health = proxy.get("/health", key=None).json()
        self.assertEqual((health["status"], health["checks"]["auth"]), ("degraded", False))

    def test_discovery(self):
        provider = Provider()
        self.addCleanup(provider.close)
        provider.pages = {
            "/.well-known/openid-configuration": {"issuer": provider.url, "jwks_uri": provider.url + "/k"},
            "/k": {"keys": [self.key.jwk()]}}
        proxy = self.start(CCPROXY_OIDC_ISSUER=provider.url)
        proxy.wait_log("keys of the identity provider")
        self.assertEqual(self.ask(proxy, token({"iss": provider.url}, self.key)).status, 200)
        self.assertEqual(self.ask(proxy, token({"iss": "https://other"}, self.key)).status, 401)

    def test_discovery_of_another(self):
        provider = Provider()
        self.addCleanup(provider.close)
        provider.pages = {
            "/.well-known/openid-configuration": {"issuer": "https://other", "jwks_uri": provider.url + "/k"},
            "/k": {"keys": [self.key.jwk()]}}
        proxy = self.start(CCPROXY_OIDC_ISSUER=provider.url)
        proxy.wait_log("the issuer says nothing of its keys")
        self.assertEqual(self.ask(proxy, token({"iss": provider.url}, self.key)).status, 401)
        self.assertNotIn("/k", provider.asked)

    def test_configuration(self):
        weak = subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
                              capture_output=True, check=True).stdout
        pem = Key.openssl("pkey", "-pubout", data=weak).decode()
        for env, line in (({}, "oauth2 needs a key"),
                          ({"CCPROXY_JWT_SECRET": "short"}, "CCPROXY_JWT_SECRET: the secret is shorter than 32"),
                          ({"CCPROXY_JWT_SECRET": "ab" * 32}, "CCPROXY_JWT_SECRET: is too simple"),
                          ({"CCPROXY_JWT_PUBLIC_KEY": "x"}, "CCPROXY_JWT_PUBLIC_KEY: not a public key in PEM"),
                          ({"CCPROXY_JWT_PUBLIC_KEY": pem}, "CCPROXY_JWT_PUBLIC_KEY: the RSA key has less than 2048"),
                          ({"CCPROXY_JWKS": '{"keys":[]}'}, "CCPROXY_JWKS: holds no key"),
                          ({"CCPROXY_JWT_SECRET": SECRET, "CCPROXY_JWT_ALGORITHMS": "HS256,none"}, '"none" is not HS256'),
                          ({"CCPROXY_JWT_SECRET": SECRET, "CCPROXY_JWT_ALGORITHMS": "RS256"},
                           "CCPROXY_JWT_SECRET: is for none of CCPROXY_JWT_ALGORITHMS"),
                          ({"CCPROXY_JWKS_URL": "ftp://x"}, "CCPROXY_JWKS_URL: is not an address")):
            done = harness.run("check", ANTHROPIC_API_KEY="sk-test", CCPROXY_API_KEYS=None,
                               CCPROXY_AUTH_METHOD="oauth2", **env)
            self.assertEqual(done.returncode, 1, env)
            self.assertIn(line, done.stderr)
        for url, warned in (("http://idp.example/k", True), ("https://idp.example/k", False), ("http://127.0.0.1:9/k", False),
                            ("http://localhost/k", False)):
            for name in ("CCPROXY_JWKS_URL", "CCPROXY_OIDC_ISSUER"):
                done = harness.run("check", ANTHROPIC_API_KEY="sk-test", CCPROXY_API_KEYS=None,
                                   CCPROXY_AUTH_METHOD="oauth2", **{name: url})
                self.assertEqual((done.returncode, f"{name}: is not https" in done.stdout + done.stderr), (0, warned), url)
