"""`ccproxy token verify`: what it says is what the server does, and the reason is told to operators only."""
import contextlib
import json
import subprocess
import tempfile
import time

import harness
from test_auth import ANN, BOB, CLIENTS, OLD
from test_oauth import SECRET, Key, Provider, token

LET_IN, REFUSED, UNDECIDED = 0, 1, 3


def verify(text, *args, **env):
    return subprocess.run([harness.BINARY, "token", "verify", *args], input=text, text=True, capture_output=True,
                          env=harness.environment(env), timeout=harness.DEADLINE, check=False)


class TokenVerify(harness.TestCase):
    def check(self, done, status, *words):
        self.assertEqual(done.returncode, status, done)
        for word in words:
            self.assertRegex(done.stdout, word)

    def test_keys(self):
        env = {"CCPROXY_API_KEYS": "carol:sk-carol-01", "CCPROXY_CLIENTS": json.dumps(CLIENTS)}
        self.check(verify(ANN + "\n", **env), LET_IN, r"^let in\n  client   ann\n",
                   r"rights   chat,models\n", r"models   gpt-4o, claude-haiku-\*\n", r"expires  never\n")
        self.check(verify(f"  Bearer {BOB}\r\n", **env), LET_IN, "client   bob", r"rights   models\n")
        self.check(verify("sk-carol-01", **env), LET_IN, "client   carol", r"models   any\n")
        self.check(verify(OLD, **env), REFUSED, "^refused: its client has expired")
        self.check(verify("key-of-soon-04", **env), REFUSED, "^refused: its client's not_before has not come")
        self.check(verify("key-of-ann-0002", **env), REFUSED, "^refused: no client has this key")
        for hashed in (json.loads(env["CCPROXY_CLIENTS"])["bob"]["hash"],):  # what is stored opens nothing
            self.check(verify(hashed, **env), REFUSED)
            self.check(verify(hashed.removeprefix("sha256:"), **env), REFUSED)

    def test_one_token_for_all(self):
        env = {"CCPROXY_API_KEYS": None, "CCPROXY_AUTH_METHOD": "bearer_token",
               "CCPROXY_BEARER_TOKEN": "the-one-token"}
        self.check(verify("the-one-token\n", **env), LET_IN, "client   bearer", "method   bearer_token")
        self.check(verify("the-one-toke", **env), REFUSED, "not the token of CCPROXY_BEARER_TOKEN")

    def oauth(self, text, **env):
        return verify(text, CCPROXY_API_KEYS=None, CCPROXY_AUTH_METHOD="oauth2", **env)

    def test_every_reason(self):
        env = {"CCPROXY_JWT_SECRET": SECRET, "CCPROXY_JWT_ISSUER": "https://idp", "CCPROXY_JWT_AUDIENCE": "ccproxy",
               "CCPROXY_CLIENTS": json.dumps({"old": {"expires": "2020-01-01T00:00:00Z"}})}
        good = {"iss": "https://idp", "aud": "ccproxy"}
        now = int(time.time())
        self.check(self.oauth(token({**good, "scope": "ccproxy:stats ccproxy:models"}), **env), LET_IN,
                   "client   ann", "rights   models,stats", r"expires  20\d\d-", "1 in the configuration")
        right, wrong = "its signature is right", "its signature was not verified"
        for text, words in (
                ("nonsense", ("three parts of base64url",)),
                (token(good, crit=["exp"]), ("its header has crit", wrong)),
                (token(good, alg="none"), ("its alg is none", '"alg": "none"', wrong)),
                (token(good)[:-3] + "AAA", ("its signature is not that of the key", wrong)),
                (token({**good, "exp": None}), ("exp is missing", right)),
                (token({**good, "exp": now - 60}), ("its exp is past", right)),
                (token({**good, "nbf": now + 60}), ("its nbf or iat is to come", right)),
                (token({**good, "exp": now + 90000}), ("longer than CCPROXY_JWT_LIFETIME", right)),
                (token({**good, "iss": "https://idp/"}), ("its iss is not exactly", '"iss": "https://idp/"', right)),
                (token({**good, "aud": "x"}), ("its aud does not name", right)),
                (token({**good, "sub": None}), ("it has no sub", right)),
                (token({**good, "sub": "old"}), ("its client has expired", right))):
            with self.subTest(words[0]):
                self.check(self.oauth(text, **env), REFUSED, "^refused: ", *words)

    def test_terminal_is_safe(self):
        done = self.oauth(token({"aud": "\u009b31m\u001b[2J", "exp": 1}), CCPROXY_JWT_SECRET=SECRET)
        self.assertEqual(done.returncode, REFUSED)
        self.assertTrue(all(c == "\n" or " " <= c <= "~" for c in done.stdout), done.stdout)

    def test_provider(self):
        with tempfile.TemporaryDirectory() as directory, contextlib.closing(Provider()) as provider:
            one, two = Key(directory, "one"), Key(directory, "two")
            provider.pages = {
                "/.well-known/openid-configuration": {"issuer": provider.url, "jwks_uri": provider.url + "/k"},
                "/k": {"keys": [one.jwk()]}}
            claims = {"iss": provider.url}
            for env in ({"CCPROXY_JWKS_URL": provider.url + "/k"}, {"CCPROXY_OIDC_ISSUER": provider.url}):
                self.check(self.oauth(token(claims, one, kid="one"), **env), LET_IN, "client   ann",
                           "0 in the configuration, 1 from the identity provider")
                self.check(self.oauth(token(claims, two, kid="two"), **env), REFUSED, "no key has its kid")
            provider.pages["/.well-known/openid-configuration"]["issuer"] = "https://other"
            done = self.oauth(token(claims, one, kid="one"), CCPROXY_OIDC_ISSUER=provider.url)
            self.check(done, UNDECIDED, "^not to be told, the identity provider gave no keys")
            self.assertIn("the issuer says nothing of its keys", done.stderr)
        # Nobody there: what needs its keys is not to be told, what can be judged without them is.
        env = {"CCPROXY_JWKS_URL": provider.url + "/k"}
        self.check(self.oauth(token({}), **env), UNDECIDED, "^not to be told", "0 from the identity provider")
        self.check(self.oauth("a.b", **env), REFUSED, "three parts")
        self.check(self.oauth(token({}), CCPROXY_JWT_SECRET=SECRET, **env), LET_IN, "client   ann")

    def test_where_it_is_read(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(harness.KEY + "\n")
            file.flush()
            self.check(verify("", "--file", file.name), LET_IN, "client   tester")
        self.check(verify("", "--file", "/nowhere"), UNDECIDED)
        self.check(verify(" \n"), UNDECIDED)
        self.check(verify("x" * 20000), UNDECIDED)
        self.check(verify("x", CCPROXY_PORT="many"), UNDECIDED)
        done = verify("", harness.KEY)  # the command line is for all to read
        self.assertEqual(done.returncode, 2)
