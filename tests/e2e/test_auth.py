"""Who may come in, and what each may do: keys with rights, models and dates; a token for all."""
import hashlib
import json
import os
import signal
import subprocess
import tempfile
import threading

import harness

ANN, BOB, OLD = "key-of-ann-0001", "key-of-bob-0002", "key-of-old-0003"


def sha(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


CLIENTS = {
    "ann": {"hash": [sha(ANN), sha("second-key-of-ann")], "models": ["gpt-4o", "claude-haiku-*"],
            "aliases": {"fast": "claude-haiku-5-5"}},
    "bob": {"hash": sha(BOB), "rights": ["models"]},
    "old": {"hash": sha(OLD), "expires": "2020-01-01T00:00:00Z"},
    "soon": {"hash": sha("key-of-soon-04"), "not_before": "2999-01-01T00:00:00Z"},
}


class Clients(harness.TestCase):
    def start(self, **env):
        upstream = self.upstream(harness.each_request(lambda call: call.answer()))
        return self.proxy(upstream.url, CCPROXY_API_KEYS="", **env)

    def chat(self, proxy, key, model="gpt-4o"):
        client = proxy.client()
        client.request("POST", "/v1/chat/completions",
                       {"model": model, "messages": [{"role": "user", "content": "hi"}]}, key=key)
        response = client.response()
        client.close()
        return response

    def test_rights_models_and_dates(self):
        proxy = self.start(CCPROXY_CLIENTS=json.dumps(CLIENTS))
        for key, model, status, code in (
                (ANN, "gpt-4o", 200, None), ("second-key-of-ann", "gpt-4o", 200, None),
                (ANN, "claude-haiku-5-5", 200, None), (ANN, "fast", 200, None),
                (ANN, "claude-opus-5-5", 403, "model_not_found"),
                (ANN, "gpt-4", 403, "model_not_found"), (ANN, "nonsense", 404, "model_not_found"),
                (BOB, "gpt-4o", 403, "permission_denied"), (OLD, "gpt-4o", 401, "invalid_api_key"),
                ("key-of-soon-04", "gpt-4o", 401, "invalid_api_key"),
                ("key-of-ann-0002", "gpt-4o", 401, "invalid_api_key")):
            with self.subTest(key=key, model=model):
                response = self.chat(proxy, key, model)
                self.assertEqual(response.status, status, response.body)
                if code:
                    self.assertEqual(response.error["code"], code)
        self.assertEqual(proxy.get("/v1/models", key=BOB).status, 200)
        self.assertEqual(proxy.ended(1)["client"], "ann")

    def test_addresses(self):
        """A key that is used elsewhere is no key, and nothing tells that it is one."""
        clients = {"ann": {"hash": sha(ANN), "addresses": ["10.0.0.0/8", "2001:db8::/32"]}, "bob": {"hash": sha(BOB)}}
        proxy = self.start(CCPROXY_CLIENTS=json.dumps(clients), CCPROXY_TRUSTED_PROXIES="127.0.0.1")
        unknown = proxy.get("/v1/models", key="nonsense")
        for key, address, status in ((ANN, "10.9.8.7", 200), (ANN, "2001:db8::1", 200), (ANN, "11.0.0.1", 401), (ANN, None, 401),
                                     (ANN, "10.0.0.1, 192.0.2.1", 401), (BOB, "11.0.0.1", 200), (BOB, None, 200)):
            answer = proxy.get("/v1/models", key=key, fields={"X-Forwarded-For": address} if address else {})
            self.assertEqual(answer.status, status, (key, address))
            if status == 401:
                self.assertEqual(answer.body, unknown.body)

    def test_expired_and_unknown_are_not_told_apart(self):
        proxy = self.start(CCPROXY_CLIENTS=json.dumps(CLIENTS))
        answers = [self.chat(proxy, key) for key in (OLD, "not-a-key-at-all", "key-of-soon-04")]
        self.assertEqual(len({(a.status, a.body, a.fields["www-authenticate"]) for a in answers}), 1)

    def test_alias_goes_before_the_map(self):
        clients = {"ann": {"hash": sha(ANN), "aliases": {"gpt-4o": "claude-opus-5-5"}}}
        seen = []
        upstream = self.upstream(harness.each_request(lambda c: (seen.append(c.json()["model"]), c.answer())))
        proxy = self.proxy(upstream.url, CCPROXY_API_KEYS=f"bob:{BOB}", CCPROXY_CLIENTS=json.dumps(clients))
        for key in (ANN, BOB):
            self.assertEqual(self.chat(proxy, key).status, 200)
        self.assertEqual(seen, ["claude-opus-5-5", "claude-sonnet-5-5"])

    def test_yaml_and_reload(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            def write(text):
                file.seek(0)
                file.truncate()
                file.write(text)
                file.flush()

            os.chmod(file.name, 0o644)
            write(f"clients:\n  ann:\n    hash: {sha(ANN)}\n    rpm: 600\n    rights: [chat]\n")
            proxy = self.start(CCPROXY_CONFIG=file.name)
            self.assertEqual(self.chat(proxy, ANN).status, 200)
            self.assertEqual(self.chat(proxy, BOB).status, 401)
            write(f"clients:\n  bob: {{hash: '{sha(BOB)}'}}\n")
            proxy.process.send_signal(signal.SIGHUP)
            proxy.wait_log("reloaded")
            self.assertEqual(self.chat(proxy, BOB).status, 200)
            self.assertEqual(self.chat(proxy, ANN).status, 401)  # revoked
            write("clients:\n  bob: {hash: nonsense}\n")
            proxy.process.send_signal(signal.SIGHUP)
            proxy.wait_log("reload refused, the old configuration stays")
            self.assertEqual(self.chat(proxy, BOB).status, 200)

    def hold(self, call):
        """Answers; a request that says "hold" gets the first half only, until self.opened."""
        while True:
            call.read_request()
            if b"hold" not in call.body:
                call.answer()
                continue
            events = harness.text_events("first ", "second")
            call.start()
            for event in events[:3]:
                call.event(event)
            self.opened.wait(harness.DEADLINE)
            for event in events[3:]:
                call.event(event)
            call.end()

    def test_keys_change_while_requests_run(self):
        """Ten times a key is added and another revoked; whoever keeps his notices nothing, nor does a request
        that was let in by a key that is gone since."""
        carol = "key-of-carol-05"
        sets = [{"ann": {"hash": sha(ANN)}, "bob": {"hash": sha(BOB)}},
                {"bob": {"hash": sha(BOB)}, "carol": {"hash": sha(carol)}}]
        self.opened, stop, failures, served = threading.Event(), threading.Event(), [], []
        file = tempfile.NamedTemporaryFile("w", suffix=".yaml")
        self.addCleanup(file.close)

        def write(clients):  # whole or not at all, as a reader sees it
            with open(file.name + ".new", "w") as new:
                json.dump({"clients": clients}, new)
            os.chmod(new.name, 0o644)
            os.rename(new.name, file.name)

        write(sets[0])
        proxy = self.proxy(self.upstream(self.hold), CCPROXY_API_KEYS=None, CCPROXY_CONFIG=file.name, CCPROXY_WORKERS=2,
                           CCPROXY_AUTH_FAILURES="0")

        def run(is_kept):
            client = proxy.client()
            while not stop.is_set():
                body = {"model": "gpt-4o", "stream": len(served) % 2 == 0, "messages": [{"role": "user", "content": "hi"}]}
                client.request("POST", "/v1/chat/completions", body, key=BOB)
                answer = client.response()
                if answer.status != 200 or not answer.complete:
                    raise AssertionError(f"{answer.line} {answer.body!r}")
                served.append(1)
                if not is_kept or answer.fields.get("connection") == "close":
                    client.close()
                    client = proxy.client()
            client.close()

        def load(is_kept):
            try:
                run(is_kept)
            except Exception as e:
                failures.append(e)

        held = proxy.client()
        self.addCleanup(held.close)
        held.request("POST", "/v1/chat/completions", {"model": "gpt-4o", "stream": True, "messages": [
            {"role": "user", "content": "hold"}]}, key=ANN)
        self.assertIn(" 200 ", held.head()[0])
        held.text("first")
        threads = [threading.Thread(target=load, args=(kept,)) for kept in (False, True)]
        for thread in threads:
            thread.start()
        for i in range(1, 11):
            write(sets[i % 2])
            proxy.kill(signal.SIGHUP)
            proxy.wait_log("reloaded", i)
            come, gone = (carol, ANN) if i % 2 else (ANN, carol)
            harness.until(lambda: all(self.chat(proxy, gone).status == 401 for _ in range(4)), "the key is revoked")
            for _ in range(4):
                self.assertEqual(self.chat(proxy, come).status, 200)
        stop.set()
        for thread in threads:
            thread.join(harness.DEADLINE)
        self.assertEqual(failures, [])
        self.assertGreater(len(served), 20)
        self.opened.set()
        self.assertIn("second", held.text("[DONE]"))

    def test_bearer_token(self):
        proxy = self.start(CCPROXY_AUTH_METHOD="bearer_token", CCPROXY_BEARER_TOKEN="the-one-token")
        self.assertEqual(self.chat(proxy, "the-one-token").status, 200)
        self.assertEqual(self.chat(proxy, "the-one-tokem").status, 401)
        self.assertEqual(proxy.ended(1)["client"], "bearer")

    def test_method_and_token_are_checked(self):
        for env, line in (
                ({"CCPROXY_AUTH_METHOD": "basic"}, 'CCPROXY_AUTH_METHOD: "basic" is not'),
                ({"CCPROXY_AUTH_METHOD": "bearer_token"}, "CCPROXY_BEARER_TOKEN: is required"),
                ({"CCPROXY_AUTH_METHOD": "bearer_token", "CCPROXY_BEARER_TOKEN": "short"},
                 "CCPROXY_BEARER_TOKEN: is not at least"),
                ({"CCPROXY_AUTH_METHOD": "bearer_token", "CCPROXY_BEARER_TOKEN": "a" * 40}, "CCPROXY_BEARER_TOKEN: is too simple"),
                ({"CCPROXY_AUTH_METHOD": "bearer_token", "CCPROXY_BEARER_TOKEN": "sk-upstream"},
                 "CCPROXY_BEARER_TOKEN: is the upstream's key"),
                ({"CCPROXY_API_KEYS": "ann:sk-0123456789,sk-upstream"}, "CCPROXY_API_KEYS: key 2 is the upstream's"),
                ({"CCPROXY_API_KEYS": "ann:aaaaaaaaaaaaaaaa"}, "CCPROXY_API_KEYS: key 1 is too simple"),
                ({"CCPROXY_API_KEYS": "ann:"}, "CCPROXY_API_KEYS: key 1 is shorter"),
                ({"CCPROXY_API_KEYS": "a:sk-0123456789,b:sk-0123456789"}, "have the same key"),
                ({"CCPROXY_CLIENTS": json.dumps({"a": {"hash": sha("")}})}, "it is the hash of nothing")):
            done = harness.run("check", ANTHROPIC_API_KEY="sk-upstream", **env)
            self.assertEqual(done.returncode, 1)
            self.assertIn(line, done.stderr)

    def test_minted_key_works(self):
        minted = harness.run("keys", "mint", "--name", "carol", "--rights", "chat,models").stdout
        key = minted.splitlines()[0]
        yaml = minted[minted.index("clients:"):minted.index("Then send")]
        hashed = subprocess.run([harness.BINARY, "keys", "hash"], input=key + "\n", text=True,
                                capture_output=True, check=True).stdout.strip()
        self.assertIn(hashed, yaml)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            os.chmod(file.name, 0o644)
            file.write(yaml)
            file.flush()
            proxy = self.start(CCPROXY_CONFIG=file.name)
            self.assertEqual(self.chat(proxy, key).status, 200)
            listed = harness.run("keys", "list", ANTHROPIC_API_KEY="sk-test", CCPROXY_API_KEYS="",
                                 CCPROXY_CONFIG=file.name).stdout
        self.assertRegex(listed, r"carol +1 +0 +chat,models")
        self.assertNotIn(key, listed)


class Urls(harness.TestCase):
    def test_model_of_the_path(self):
        """Azure's clients name the model in the URL; a model in the body goes before it."""
        seen = []
        upstream = self.upstream(harness.each_request(lambda c: (seen.append(c.json()["model"]), c.answer())))
        proxy = self.proxy(upstream)
        client = proxy.client()
        for path, model in (("gpt-4o-mini", None), ("claude%2Fclaude-opus-5", None), ("gpt-4o", "gpt-4o-mini")):
            body = {"messages": [{"role": "user", "content": "hi"}], **({"model": model} if model else {})}
            client.request("POST", f"/openai/deployments/{path}/chat/completions?api-version=1", body,
                           fields={"api-key": harness.KEY}, key=None)
            self.assertEqual(client.response().status, 200)
        self.assertEqual(seen, ["claude-haiku-5-5", "claude-opus-5", "claude-haiku-5-5"])

    def test_models_for_anthropic_clients(self):
        proxy = self.proxy(self.upstream(harness.each_request(lambda c: c.answer())))
        client = proxy.client()
        client.request("GET", "/v1/models", fields={"anthropic-version": "2023-06-01"})
        body = client.response().json()
        self.assertEqual((body["data"][0]["type"], body["has_more"]), ("model", False))
        self.assertNotIn("gpt-4o", [m["id"] for m in body["data"]])
        self.assertEqual(body["last_id"], body["data"][-1]["id"])
