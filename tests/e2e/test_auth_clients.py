"""The official clients and curl with every method of authentication, let in and refused as they report it."""
import json
import os
import pathlib
import subprocess
import tempfile
import time

import harness
from test_auth import ANN, BOB, CLIENTS, OLD
from test_clients import INSTALLED
from test_oauth import SECRET, Key, Provider, token

PROGRAMS = pathlib.Path(__file__).resolve().parent / "clients" / "auth"
REFUSED = {"class": "AuthenticationError", "status": 401, "code": "invalid_api_key", "type": "invalid_request_error"}
FORBIDDEN = {"class": "PermissionDeniedError", "status": 403, "code": "permission_denied"}
ALL = {"models": "ok", "chat": "ok", "stream": "ok"}
NONE = {"models": REFUSED, "chat": REFUSED, "stream": REFUSED}
MODELS_ONLY = {"models": "ok", "chat": FORBIDDEN, "stream": FORBIDDEN}


class AuthClients(harness.TestCase):
    def serve(self, **env):
        proxy = self.proxy(self.up, **{"CCPROXY_API_KEYS": None, **env})
        if "CCPROXY_JWKS_URL" in env or "CCPROXY_OIDC_ISSUER" in env:
            proxy.wait_log("keys of the identity provider")
        return "http://" + proxy.text_address

    def setUp(self):
        super().setUp()
        self.up = self.upstream(harness.each_request(lambda call: call.answer()))
        self.cases, self.expected = [], {}

    def case(self, name, url, key, outcome):
        self.cases.append({"name": name, "url": url, "key": key})
        self.expected[name] = outcome

    def keys(self):
        url = self.serve(CCPROXY_API_KEYS=f"tester:{harness.KEY}")
        self.case("environment", url, harness.KEY, ALL)
        self.case("environment, wrong", url, harness.KEY[:-1], NONE)
        file = tempfile.NamedTemporaryFile("w", suffix=".yaml")
        self.addCleanup(file.close)
        json.dump({"clients": CLIENTS}, file)  # which is YAML
        file.flush()
        os.chmod(file.name, 0o644)
        url = self.serve(CCPROXY_CONFIG=file.name)
        self.case("file", url, ANN, ALL)
        self.case("file, models only", url, BOB, MODELS_ONLY)
        self.case("file, expired", url, OLD, NONE)
        self.case("file, the hash", url, CLIENTS["bob"]["hash"], NONE)

    def one_token(self):
        url = self.serve(CCPROXY_AUTH_METHOD="bearer_token", CCPROXY_BEARER_TOKEN="the-one-token")
        self.case("bearer", url, "the-one-token", ALL)
        self.case("bearer, wrong", url, "the-one-tokem", NONE)

    def tokens(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        provider = Provider()
        self.addCleanup(provider.close)
        key, other = Key(directory.name, "one"), Key(directory.name, "two")
        provider.pages = {
            "/.well-known/openid-configuration": {"issuer": provider.url, "jwks_uri": provider.url + "/k"},
            "/k": {"keys": [key.jwk()]}}
        past = int(time.time()) - 3600
        claims = {"iss": provider.url}
        for name, env, made, forged in (
                ("hmac", {"CCPROXY_JWT_SECRET": SECRET}, None, key),
                ("pem", {"CCPROXY_JWT_PUBLIC_KEY": key.pem}, key, other),
                ("jwks url", {"CCPROXY_JWKS_URL": provider.url + "/k"}, key, other),
                ("discovery", {"CCPROXY_OIDC_ISSUER": provider.url}, key, other)):
            url = self.serve(CCPROXY_AUTH_METHOD="oauth2", **env)
            self.case(name, url, token(claims, made), ALL)
            self.case(name + ", models only", url, token({**claims, "scope": "ccproxy:models"}, made), MODELS_ONLY)
            self.case(name + ", expired", url, token({**claims, "exp": past}, made), NONE)
            self.case(name + ", forged", url, token(claims, forged), NONE)
            self.case(name + ", none", url, token(claims, made, alg="none"), NONE)

    def run_program(self, *command):
        done = subprocess.run([str(c) for c in command], input=json.dumps(self.cases), text=True, capture_output=True,
                              env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}, timeout=120,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def curl(self):
        outcomes = {}
        for case in self.cases:
            outcome = {}
            for what, path, data in (("models", "/v1/models", None), ("chat", "/v1/chat/completions", {}),
                                     ("stream", "/v1/chat/completions", {"stream": True})):
                body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], **(data or {})}
                done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", "--oauth2-bearer", case["key"],
                                       case["url"] + path, *([] if data is None else ["-d", json.dumps(body)])],
                                      text=True, capture_output=True, timeout=harness.DEADLINE, check=True)
                text, status = done.stdout.rsplit("\n", 1)
                outcome[what] = "ok" if status == "200" else {"status": int(status), **json.loads(text)["error"]}
            outcomes[case["name"]] = outcome
        return outcomes

    def check(self, outcomes):
        self.assertEqual(set(outcomes), set(self.expected))
        for name, by_call in self.expected.items():
            for call, wanted in by_call.items():
                with self.subTest(f"{name}: {call}"):
                    got = outcomes[name][call]
                    if wanted == "ok" or got == "ok":
                        self.assertEqual(got, wanted)
                    else:  # curl knows no classes
                        self.assertEqual({k: got.get(k, wanted["class"]) for k in wanted}, wanted)

    def all_cases(self):
        self.keys()
        self.one_token()
        self.tokens()

    def test_openai_python(self):
        self.all_cases()
        self.check(self.run_program(INSTALLED / "venv/bin/python", PROGRAMS / "auth_python.py"))

    def test_openai_node(self):
        self.all_cases()
        there = INSTALLED / "node" / "auth_node.mjs"  # packages are looked for beside the importing file
        there.write_text((PROGRAMS / "auth_node.mjs").read_text())
        self.check(self.run_program("node", there))

    def test_curl(self):
        self.all_cases()
        self.check(self.curl())
