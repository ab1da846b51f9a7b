"""Every known way to come in without the right token or key: each gives the one 401, to the byte."""
import base64
import contextlib
import hashlib
import hmac
import json
import tempfile
import time

import harness
from test_auth import ANN, BOB, CLIENTS, OLD, sha
from test_oauth import SECRET, Key, Provider, b64, token

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
# What differs between any two answers.
OWN = ("date", "x-request-id", "openai-processing-ms")
# Of the Big List of Naughty Strings and its kin: what breaks SQL, Redis, shells, logs, paths, decoders.
NAUGHTY = ["undefined", "null", "None", "true", "0", "-1", "NaN", "1/0", "0x0", "1e400", "\\", "'", '"', "';--",
           "' OR 1=1 -- 1", "1;DROP TABLE users", "'; EXEC sp_MSForEachTable 'DROP TABLE ?'; --", "%00", "%0d%0a",
           "../../../../etc/passwd", "..\\..\\win.ini", "$HOME", "`id`", "$(id)", "{{7*7}}", "${jndi:ldap://x}",
           "<script>alert(0)</script>", "()", "[]", "{}", '{"$gt":""}', "*", "\\r\\nFLUSHALL\\r\\n",
           "*1\\r\\n$8\\r\\nFLUSHALL", "%s%s%s%n", "%x%x", "A" * 7000, "." * 100, "=" * 43, "a.b.c", "a.b.c.d.e",
           "eyJ.eyJ.eyJ", "..", "undefined.undefined.undefined", "Bearer", "Basic YTpi", "sk-", "ccp_", "sha256:"]


def seal(header, payload, secret=SECRET):
    """A token with a header and a payload of any bytes, and the right MAC."""
    text = ".".join(b64(p if isinstance(p, bytes) else json.dumps(p).encode()) for p in (header, payload))
    mac = hmac.new(secret if isinstance(secret, bytes) else secret.encode(), text.encode(), hashlib.sha256)
    return text + "." + b64(mac.digest())


class Attacks(harness.TestCase):
    def start(self, **env):
        self.upstream_calls = up = self.upstream(harness.each_request(lambda call: call.answer()))
        return self.proxy(up, CCPROXY_AUTH_FAILURES="0", **env)  # the test's own are many

    def oauth(self, **env):
        return self.start(CCPROXY_API_KEYS=None, CCPROXY_AUTH_METHOD="oauth2", **env)

    def ask(self, proxy, bearer=None, path="/v1/chat/completions", method="POST", **fields):
        with contextlib.closing(proxy.client()) as client:
            if bearer is not None:
                fields = {"Authorization": f"Bearer {bearer}", **fields}
            client.request(method, path, CHAT if method == "POST" else None, fields=fields, key=None)
            return client.response()

    @staticmethod
    def seen(answer):
        """All that tells one answer from another."""
        fields = tuple(sorted((k, v) for k, v in answer.fields.items() if k not in OWN))
        return answer.status, answer.body, fields

    def all_alike(self, proxy, attacks):
        """attacks: by name, a bearer or an answer. None of them gets the upstream asked."""
        nobody = self.seen(self.ask(proxy))
        self.assertEqual(nobody[0], 401)
        self.assertEqual(json.loads(nobody[1])["error"]["code"], "invalid_api_key")
        before = len(self.upstream_calls.requests)
        for name, attack in attacks.items():
            with self.subTest(name):
                answer = attack if isinstance(attack, harness.Response) else self.ask(proxy, attack)
                self.assertEqual(self.seen(answer), nobody)
        self.assertEqual(len(self.upstream_calls.requests), before)


class Tokens(Attacks):
    GOOD = {"sub": "ann", "iss": "https://idp", "aud": "ccproxy"}
    RULES = {"CCPROXY_JWT_ISSUER": "https://idp", "CCPROXY_JWT_AUDIENCE": "ccproxy"}

    def good(self, **changes):
        claims = {**self.GOOD, "exp": int(time.time()) + 300, **changes}
        return {k: v for k, v in claims.items() if v is not None}

    def test_headers(self):
        with contextlib.closing(Provider()) as evil:
            proxy = self.oauth(CCPROXY_JWT_SECRET=SECRET, **self.RULES)
            claims = self.good()
            alg = {"alg": "HS256"}
            heads = {
                **{f"alg {a!r}": {"alg": a} for a in ("none", "None", "nOnE", "NONE", "", " HS256", "hs256", "HS257",
                                                       "RS256", "ES256", "EdDSA", ["HS256"], None, 256, {})},
                "no alg": {"typ": "JWT"}, "alg twice": b'{"alg":"HS256","alg":"none"}',
                "alg twice, escaped": b'{"alg":"HS256","\\u0061lg":"HS256"}',
                "kid twice": b'{"alg":"HS256","kid":"a","kid":"b"}', "crit": {**alg, "crit": ["exp"]},
                "crit empty": {**alg, "crit": []}, "b64": {**alg, "b64": False}, "zip": {**alg, "zip": "DEF"},
                "nested": {**alg, "cty": "JWT"}, "typ": {**alg, "typ": "JWE"}, "typ number": {**alg, "typ": 1},
                "array": ["HS256"], "text": "HS256", "nothing": b"", "no json": b"{", "two": b"{}{}",
                "bom": b"\xef\xbb\xbf" + json.dumps(alg).encode(), "no utf-8": b'{"alg":"HS256","x":"\xff"}',
                "nul": b'{"alg":"HS256\x00"}', "trailing": json.dumps(alg).encode() + b"\x00",
            }
            self.all_alike(proxy, {k: seal(h, claims) for k, h in heads.items()})
            # Looked at by nobody, and fetched by nobody; a secret fits every kid.
            for odd in ({"jku": evil.url}, {"x5u": evil.url}, {"jwk": {"kty": "oct", "k": "AAAA"}}, {"x5c": ["AAAA"]},
                        {"x5t": "AAAA"}, {"kid": "../../../dev/null"}, {"kid": "' UNION SELECT 'k"}, {"kid": "a\0b"},
                        {"kid": evil.url}, {"kid": "k" * 4096}):
                self.assertEqual(self.ask(proxy, seal({**alg, **odd}, claims)).status, 200, odd)
                self.all_alike(proxy, {str(odd)[:30]: seal({**alg, **odd}, claims, b"\0")})
            self.assertEqual(evil.asked, [])

    def test_claims(self):
        proxy = self.oauth(CCPROXY_JWT_SECRET=SECRET, **self.RULES)
        now = int(time.time())
        odd = {
            **{f"exp {e!r}": {"exp": e} for e in (None, -1, 0, str(now + 300), True, [now + 300], 2**63, 1e300, now - 31)},
            **{f"nbf {n!r}": {"nbf": n} for n in (now + 90, "0", -1, 2**64)},
            **{f"iat {i!r}": {"iat": i} for i in (now + 90, "0", -1)},
            "lives two days": {"exp": now + 2 * 86400}, "lives two days by iat": {"iat": now - 2 * 86400},
            **{f"iss {i!r}": {"iss": i} for i in (None, "", "https://idp/", "https://IDP", "https://id", "https://idp2",
                                                  ["https://idp"], "https://idp\0")},
            **{f"aud {a!r}": {"aud": a} for a in (None, "", "ccproxy2", "ccprox", "CCPROXY", [], [[]], ["x"], {"ccproxy": 1},
                                                  "x ccproxy")},
            **{f"sub {s!r}": {"sub": s} for s in (None, "", 7, ["ann"], {})},
        }
        attacks = {k: seal({"alg": "HS256"}, self.good(**c)) for k, c in odd.items()}
        for name, payload in (("twice", b'{"sub":"ann","sub":"eve"}'), ("array", b"[]"), ("empty", b""), ("number", b"1"),
                              ("bom", b"\xef\xbb\xbf" + json.dumps(self.good()).encode()),
                              ("no utf-8", json.dumps(self.good(x="Q")).encode().replace(b'"Q"', b'"\xff"')),
                              ("NaN", json.dumps(self.good(exp=float("nan"))).encode())):
            attacks["payload " + name] = seal({"alg": "HS256"}, payload)
        self.all_alike(proxy, attacks)
        self.assertEqual(self.ask(proxy, token(self.good(exp=now + 300.5, nbf=now - 1.5))).status, 200)
        for scope in ("ccproxy:models ccproxy:chatter", "ccproxy:models xccproxy:chat", "ccproxy:models,ccproxy:chat",
                      "ccproxy:models CCPROXY:CHAT", "ccproxy:", "ccproxy:chat\u00a0ccproxy:stats"):
            self.assertEqual(self.ask(proxy, token(self.good(scope=scope))).status, 403, scope)

    def test_spelling(self):
        proxy = self.oauth(CCPROXY_JWT_SECRET=SECRET, **self.RULES)
        good = token(self.good())
        self.assertEqual(self.ask(proxy, good).status, 200)  # and is remembered from here on
        head, payload, mac = good.split(".")
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        spare = letters[letters.index(mac[-1]) ^ 1]
        attacks = {
            "padding": good + "=", "padding inside": f"{head}=.{payload}.{mac}", "spare bits": good[:-1] + spare,
            "a dot before": "." + good, "a dot behind": good + ".", "a part more": good + ".e30", "jwe": good + ".a.b",
            "a part less": f"{head}.{payload}", "no signature": f"{head}.{payload}.", "no payload": f"{head}..{mac}",
            "no header": f".{payload}.{mac}", "a byte less": good[:-1], "a byte more": good + "A", "truncated": good[:-22],
            "space": f"{head}. {payload}.{mac}", "plus": good.replace("-", "+").replace("_", "/") + "+",
            "twice": good + "," + good, "over 8 KiB": seal({"alg": "HS256"}, self.good(pad="x" * 8000)),
            "quoted": f'"{good}"', "case": good.swapcase(),
            **{f"byte {i} is another": good[:i] + ("A" if good[i] != "A" else "B") + good[i + 1:]
               for i in range(0, len(good), 5)},
            **{f"its first {n}": good[:n] for n in (1, 20, 64, len(head), len(good) - 43, len(good) - 1)},
        }
        self.all_alike(proxy, attacks)
        self.assertEqual(self.ask(proxy, good).status, 200)

    def test_confused_keys(self):
        """A public key is no secret, in whichever form its bytes are taken for one."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        key, other = Key(directory.name, "one"), Key(directory.name, "two")
        der = base64.b64decode("".join(key.pem.splitlines()[1:-1]))
        with contextlib.closing(Provider()) as provider:
            provider.pages["/k"] = {"keys": [key.jwk()]}
            jwk = json.dumps(key.jwk()).encode()
            forms = {"pem": key.pem.encode(), "pem without its end": key.pem.encode().strip(), "der": der, "n": key.n,
                     "n as text": b64(key.n).encode(), "jwk": jwk, "jwk, packed": jwk.replace(b" ", b""), "empty": b"",
                     "set": json.dumps(provider.pages["/k"]).encode()}
            for env in ({"CCPROXY_JWT_PUBLIC_KEY": key.pem}, {"CCPROXY_JWKS": provider.pages["/k"]},
                        {"CCPROXY_JWKS_URL": provider.url + "/k"}):
                env = {k: v if isinstance(v, str) else json.dumps(v) for k, v in env.items()}
                proxy = self.oauth(**env, **self.RULES)
                if "CCPROXY_JWKS_URL" in env:
                    proxy.wait_log("keys of the identity provider")
                self.all_alike(proxy, {
                    **{f"{form}, {kid}": seal({"alg": "HS256", **kid}, self.good(), secret)
                       for form, secret in forms.items() for kid in ({}, {"kid": "one"})},
                    "none": seal({"alg": "none"}, self.good())[:-43]})
            good = self.signed(key)
            self.assertEqual(self.ask(proxy, good).status, 200)
            text, mac = good.rsplit(".", 1)
            ps = b64(json.dumps({"alg": "PS256", "kid": "one"}).encode()) + "." + text.split(".")[1] + "." + mac
            es = b64(json.dumps({"alg": "ES256", "kid": "one"}).encode()) + "." + text.split(".")[1] + "." + mac
            self.all_alike(proxy, {"RS256 called PS256": ps, "RS256 called ES256": es,
                                   "another's key": self.signed(other, kid="one"),
                                   "its own key in it": self.signed(other, kid="one", jwk=other.jwk())})

    def signed(self, key, **header):
        return token(self.good(), key, **{"kid": key.kid, **header})

    def test_stampede_and_provider(self):
        """Unknown kids make one question, its answers are held to their size, and nothing is followed."""
        with tempfile.TemporaryDirectory() as directory, contextlib.closing(Provider()) as provider:
            key = Key(directory, "one")
            provider.pages["/k"] = {"keys": [key.jwk()]}
            proxy = self.oauth(CCPROXY_JWKS_URL=provider.url + "/k")
            proxy.wait_log("keys of the identity provider")
            self.all_alike(proxy, {f"kid {i}": token({}, kid=f"k{i}", alg="RS256") for i in range(300)})
            self.assertLessEqual(len(provider.asked), 2)
            provider.pages["/big"] = {"keys": [key.jwk()], "pad": "x" * 300000}
            provider.pages["/private"] = {"keys": [{**key.jwk(), "d": "AQAB"}]}
            provider.pages["/secret"] = {"keys": [{"kty": "oct", "k": b64(SECRET.encode()), "alg": "HS256"}]}
            provider.moved["/moved"] = provider.url + "/k"
            asked = provider.asked.count("/k")
            for path in ("/big", "/private", "/secret", "/moved", "/none"):
                proxy = self.oauth(CCPROXY_JWKS_URL=provider.url + path)
                proxy.wait_log("no keys from the identity provider, the last ones stay")
                self.all_alike(proxy, {path: token({}, key), path + ", HMAC": token({})})
            self.assertEqual(provider.asked.count("/k"), asked)

    def test_where_a_token_is_not_looked_for(self):
        proxy = self.oauth(CCPROXY_JWT_SECRET=SECRET, **self.RULES)
        good = token(self.good())
        paths = [f"/v1/chat/completions?{name}={good}" for name in ("access_token", "token", "key", "api_key", "api-key")]
        self.all_alike(proxy, {
            **{p[:35]: self.ask(proxy, path=p) for p in paths},
            "cookie": self.ask(proxy, Cookie=f"token={good}"), "scheme": self.ask(proxy, Authorization=f"Token {good}"),
            "no scheme": self.ask(proxy, Authorization=good), "basic": self.ask(proxy, Authorization=f"Basic {good}"),
            "joined": self.ask(proxy, Authorization=f"Bearer{good}"),
            "proxy": self.ask(proxy, **{"Proxy-Authorization": f"Bearer {good}"}),
            "forwarded": self.ask(proxy, **{"X-Forwarded-User": "ann", "X-User": "ann", "Remote-User": "ann"})})
        for odd in ({"X-API-Key": "another"}, {"Api-Key": "another"}, {"X_API_KEY": good}):
            self.assertEqual(self.ask(proxy, good, **odd).status, 400, odd)
        self.assertEqual(self.ask(proxy, good, **{"X-API-Key": good, "Api-Key": good}).status, 200)

    def test_nothing_of_a_token_is_logged(self):
        proxy = self.oauth(CCPROXY_JWT_SECRET=SECRET, **self.RULES)
        good, bad = token(self.good()), token(self.good(aud="x"))
        for bearer in (good, bad, "canary-4711-" + "x" * 30):
            self.ask(proxy, bearer)
        proxy.stop()
        for secret in (good, bad, good.split(".")[2], "canary-4711", SECRET):
            self.assertNotIn(secret.encode(), proxy.raw)


class Keys(Attacks):
    def start(self, **env):
        return super().start(CCPROXY_CLIENTS=json.dumps(CLIENTS), CCPROXY_API_KEYS=f"carol:{harness.KEY}", **env)

    def test_keys(self):
        proxy = self.start()
        hashed = hashlib.sha256(ANN.encode())
        self.all_alike(proxy, {
            "expired": OLD, "to come": "key-of-soon-04", "unknown": "key-of-none-05", "a byte less": ANN[:-1],
            "a byte more": ANN + "1", "case": ANN.upper(), "named": f"ann:{ANN}", "its name": "ann",
            "its hash": hashed.hexdigest(), "its hash as stored": sha(ANN), "its hash in base64": b64(hashed.digest()),
            "the upstream's": harness.UPSTREAM_KEY, "two": f"{ANN},{BOB}", "a token": token({}), **{n: n for n in NAUGHTY}})
        self.assertEqual(self.ask(proxy, ANN).status, 200)
        proxy.stop()
        for secret in (ANN, OLD, hashed.hexdigest(), harness.KEY, harness.UPSTREAM_KEY, "etc/passwd"):
            self.assertNotIn(secret.encode(), proxy.raw)

    def test_rights_by_endpoint(self):
        """Each right opens its endpoints and no other, however the path is written."""
        rights = {"chat": ("/chat/completions", "/completions"), "models": ("/models", "/models/claude-sonnet-5-5"),
                  "stats": (), "metrics": (), "admin": ()}
        clients = {r: {"hash": sha(f"key-of-{r}-0001"), "rights": [r]} for r in rights}
        clients["none"] = {"hash": sha("key-of-none-0001"), "rights": []}
        proxy = Attacks.start(self, CCPROXY_CLIENTS=json.dumps(clients), CCPROXY_API_KEYS="")
        spellings = ("/v1{}", "{}", "/openai{}", "/openai/v1{}", "//v1/{}", "/v1/v1{}", "/v1{}/", "/v1{}?x=/health")
        body = {"model": "gpt-4o", "prompt": "hi", **CHAT}
        for right, paths in rights.items():
            for path in paths:
                for spelling in spellings:
                    full = spelling.format(path)
                    method = "POST" if right == "chat" else "GET"
                    given = {k: self.with_body(proxy, f"key-of-{k}-0001", full, method, path, body) for k in clients}
                    self.assertEqual(given, {k: 200 if k == right else 403 for k in clients}, full)
                    self.assertEqual(self.ask(proxy, path=full, method=method).status, 401, full)
        for path in ("/metrics", "/stats", "/admin", "/v1/metrics", "/v1/admin/keys", "/health/../v1/models", "/.%2e/v1/models",
                     "/v1/%6dodels", "/v1/models;/health", "/v1/chat/completions/x", "/health/v1/models"):
            for key in (None, "key-of-none-0001"):
                answer = self.ask(proxy, key, path=path, method="GET", **{"X-Forwarded-For": "192.0.2.1"})
                self.assertGreaterEqual(answer.status, 400, path)

    def with_body(self, proxy, key, path, method, plain, body):
        body = dict(body)
        body.pop("prompt" if plain == "/chat/completions" else "messages")
        with contextlib.closing(proxy.client()) as client:
            client.request(method, path, body if method == "POST" else None, key=key)
            return client.response().status
