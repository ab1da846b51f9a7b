"""Starting, draining, reloading, crashing, and what is said about it."""
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import threading

import harness
from harness import KEY, Gone, each_request, text_events, until

CHAT = "/v1/chat/completions"


class Gate:
    """An upstream script: every answer stops in the middle until the gate is opened."""

    def __init__(self):
        self.opened = threading.Event()

    def __call__(self, call):
        while True:
            call.read_request()
            call.start()
            for event in text_events("half")[:3]:
                call.event(event)
            while not self.opened.is_set():
                if select.select([call.sock], [], [], 0.01)[0]:
                    call.fill()
            call.event(harness.text_delta(" whole"))
            for event in text_events()[-3:]:
                call.event(event)
            call.end()


class Case(harness.TestCase):
    def stream(self, proxy, text="half"):
        client = self.client(proxy)
        client.stream()
        client.text(text)
        return client

    def gated(self, **env):
        self.gate = Gate()
        return self.proxy(self.upstream(self.gate), **env)

    def exited(self, proxy):
        proxy.process.wait(harness.DEADLINE)
        return proxy.process.returncode


class Starting(Case):
    def test_ready_line(self):
        proxy = self.proxy(None, CCPROXY_WORKERS=3)
        line = proxy.wait_log("ready")
        self.assertEqual((line["workers"], line["demo"], line["level"]), (3, False, "info"))
        self.assertEqual(len(proxy.workers()), 3)
        version = harness.run("--version").stdout
        self.assertIn(line["version"], version)

    def test_text_log(self):
        env = harness.environment({"CCPROXY_LOG_FORMAT": "text"})
        process = subprocess.Popen([harness.BINARY], env=env, stderr=subprocess.PIPE, text=True)
        line = process.stderr.readline()
        process.terminate()
        rest = process.communicate(timeout=harness.DEADLINE)[1]
        self.assertIn("ready", line)
        self.assertNotIn("{", line + rest)
        self.assertEqual(process.returncode, 0)

    def test_every_fault_has_its_line(self):
        done = harness.run(CCPROXY_PORT="99999", CCPROXY_IDLE_TIMEOUT="soon", CCPROXY_MAX_BODY="big",
                           ANTHROPIC_BASE_URL="ftp://x", CCPROXY_LOG_LEVEL="LOUD",
                           CCPROXY_WORKERS="-1", CCPROXY_STRICT="perhaps")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        lines = done.stderr.splitlines()
        for name, value in (("CCPROXY_PORT", "99999"), ("CCPROXY_IDLE_TIMEOUT", "soon"),
                            ("CCPROXY_MAX_BODY", "big"), ("ANTHROPIC_BASE_URL", "ftp://x"),
                            ("CCPROXY_LOG_LEVEL", "LOUD"), ("CCPROXY_WORKERS", "-1"),
                            ("CCPROXY_STRICT", "perhaps")):
            found = [x for x in lines if name in x]
            self.assertEqual(len(found), 1, done.stderr)
            self.assertIn(value, found[0])
        self.assertEqual(len(lines), 7, done.stderr)

    def test_wrong_values_that_belong_together(self):
        for env, name in (({"CCPROXY_API_KEYS": None}, "CCPROXY_API_KEYS"),
                          ({"ANTHROPIC_API_KEY": None}, "ANTHROPIC_API_KEY"),
                          ({"CCPROXY_API_KEYS": "short"}, "CCPROXY_API_KEYS"),
                          ({"CCPROXY_API_KEYS": "samesame,samesame"}, "CCPROXY_API_KEYS"),
                          ({"CCPROXY_HOST": "nowhere.test"}, "CCPROXY_HOST"),
                          ({"CCPROXY_CLIENT_CERT": "/dev/null"}, "CCPROXY_CLIENT_CERT"),
                          ({"CCPROXY_CA_FILE": "/no/such"}, "CCPROXY_CA_FILE"),
                          ({"HTTPS_PROXY": "socks5://x"}, "HTTPS_PROXY"),
                          ({"CCPROXY_DNS_SERVERS": "here"}, "CCPROXY_DNS_SERVERS"),
                          ({"CCPROXY_MODEL_MAP": "{"}, "CCPROXY_MODEL_MAP"),
                          ({"CCPROXY_CONFIG": "/no/such"}, "CCPROXY_CONFIG"),
                          ({"CCPROXY_API_KEYS": None, "CCPROXY_API_KEYS_FILE": "/no/such"},
                           "CCPROXY_API_KEYS_FILE")):
            done = harness.run(**env)
            self.assertEqual(done.returncode, 1, (env, done.stderr))
            self.assertIn(name, done.stderr)
            self.assertNotIn("short", done.stderr.replace("shorter", ""))
            self.assertNotIn("samesame", done.stderr)

    def test_unknown_names_are_warned_about(self):
        proxy = self.proxy(None, CCPROXY_WORKER="2", CCPROXY_API_KEY="canary-key", CCPROXY_X="1")
        problems = [x["problem"] for x in proxy.logs("configuration")]
        self.assertEqual(len(problems), 3)
        self.assertTrue(any("CCPROXY_WORKER:" in x and "CCPROXY_WORKERS?" in x for x in problems))
        self.assertTrue(any("CCPROXY_API_KEY:" in x and "CCPROXY_API_KEYS?" in x for x in problems))
        self.assertNotIn(b"canary-key", proxy.raw)

    def test_check(self):
        done = harness.run("check", CCPROXY_IDLE_TIMEOUT="7s", CCPROXY_WORKER="2")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"(?m)^CCPROXY_IDLE_TIMEOUT +7s +environment$")
        self.assertRegex(done.stdout, r"(?m)^CCPROXY_MAX_BODY +32MiB +default$")
        self.assertIn("CCPROXY_WORKERS?", done.stderr)
        for secret in (KEY, harness.UPSTREAM_KEY):
            self.assertNotIn(secret, done.stdout + done.stderr)
        self.assertEqual(harness.run("check", CCPROXY_PORT="x").returncode, 1)

    def test_help_and_version(self):
        for args in (("--help",), ("help",), ("-h",)):
            done = harness.run(*args)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            for word in ("usage:", "check", "simulate", "CCPROXY_API_KEYS", "ANTHROPIC_API_KEY"):
                self.assertIn(word, done.stdout)
        for args in (("--version",), ("version",), ("-V",)):
            done = harness.run(*args)
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stdout, r"^ccproxy \d+\.\d+\.\d+\S*\n$")

    def test_wrong_calls(self):
        for args, hint in ((("serv",), "serve"), (("chek",), "check"), (("--hlep",), "help"),
                           (("zzzzzzzz",), "--help"), (("check", "--what"), "--what"),
                           (("simulate", "--prot", "1"), "--port")):
            done = harness.run(*args)
            self.assertEqual((done.returncode, done.stdout), (2, ""), args)
            self.assertIn(hint, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_secrets_from_files(self):
        folder = self.directory()
        (folder / "up").write_text("sk-from-a-file\n")
        (folder / "down").write_text(f"filed:{KEY}\r\n")
        up = self.upstream(each_request(lambda call: call.answer()))
        proxy = self.proxy(up, ANTHROPIC_API_KEY=None, ANTHROPIC_API_KEY_FILE=folder / "up",
                           CCPROXY_API_KEYS=None, CCPROXY_API_KEYS_FILE=folder / "down")
        self.assertEqual(proxy.chat().status, 200)
        self.assertEqual(up.calls[0].fields["x-api-key"], "sk-from-a-file")
        self.assertEqual(proxy.ended()["client"], "filed")

    def test_port_zero_with_many_workers(self):
        """Every worker serves the same port."""
        proxy = self.proxy(None, CCPROXY_WORKERS=4)
        seen = set()
        for _ in range(200):
            client = self.client(proxy)
            client.request("GET", "/livez")
            self.assertEqual(client.response().status, 200)
            seen.add(proxy.worker_of(client))
        self.assertEqual(len(seen), 4)


class Demo(Case):
    def test_the_printed_line_works(self):
        none = {k: None for k in ("ANTHROPIC_API_KEY", "CCPROXY_API_KEYS", "CCPROXY_HOST",
                                  "CCPROXY_WORKERS", "CCPROXY_REFRESH_MODELS")}
        proxy = self.proxy(None, **none)
        self.assertIs(proxy.wait_log("ready")["demo"], True)
        with proxy.changed:
            proxy.changed.wait_for(lambda: b"-d '" in proxy.printed, harness.DEADLINE)
        text = proxy.printed.decode()
        self.assertIn("DEMO", text)
        self.assertIn("ANTHROPIC_API_KEY", text)
        command = text[text.index("curl "):]
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True,
                              timeout=harness.DEADLINE)
        answer = json.loads(done.stdout)
        self.assertTrue(answer["choices"][0]["message"]["content"])
        key = re.search(r"Bearer (\S+)'", text)[1]
        self.assertNotIn(key.encode(), proxy.raw)
        self.assertEqual(proxy.get("/v1/models", key="sk-wrong-wrong").status, 401)
        with contextlib.closing(harness.Client(("127.0.0.1", proxy.address[1]))) as client:
            client.request("POST", CHAT, {"model": "gpt-4o", "stream": True, "messages": [
                {"role": "user", "content": "hi"}]}, key=key)
            self.assertEqual(client.response().frames()[-1], "[DONE]")


class Draining(Case):
    def test_idle_ends_at_once(self):
        proxy = self.proxy(None, CCPROXY_WORKERS=2)
        client = self.client(proxy)
        client.request("GET", "/livez")
        client.response()
        self.assertEqual(proxy.stop(), 0)
        self.assertEqual(client.rest(), b"")
        self.assertTrue(proxy.logs("stopped"))

    def test_open_answers_finish(self):
        proxy = self.gated(CCPROXY_WORKERS=2)
        streams = [self.stream(proxy) for _ in range(8)]
        idle = self.client(proxy)
        idle.request("GET", "/livez")
        idle.response()
        waiting = self.client(proxy)
        waiting.chat()  # not streamed
        self.gate_calls(9)
        proxy.kill(signal.SIGTERM)
        self.assertEqual(idle.rest(), b"")
        with self.assertRaises(OSError):
            proxy.client()
        self.gate.opened.set()
        for client in streams:
            self.assertIn(" whole", client.text("[DONE]"))
            self.assertEqual(client.rest(), b"0\r\n\r\n")
        response = waiting.response()
        self.assertEqual(response.json()["choices"][0]["message"]["content"], "half whole")
        self.assertEqual(response.fields["connection"], "close")
        self.assertEqual(self.exited(proxy), 0)

    def gate_calls(self, n):
        harness.until(lambda: len(self._upstreams[-1].requests) >= n, "requests are upstream")

    def upstream(self, script, **kwargs):
        self._upstreams = [*getattr(self, "_upstreams", []), super().upstream(script, **kwargs)]
        return self._upstreams[-1]

    def test_delay(self):
        """Not ready at once, and served for as long as it is said, so that a balancer can follow."""
        proxy = self.gated(CCPROXY_DRAIN_DELAY="400ms")
        self.stream(proxy)
        kept = self.client(proxy)
        kept.request("GET", "/readyz", key=None)
        self.assertEqual(kept.response().status, 200)
        proxy.kill(signal.SIGTERM)
        proxy.wait_log("stopping")

        def unready():
            response = proxy.get("/readyz", key=None)
            return response.status == 503 and response.json()["status"] == "draining"

        until(unready, "/readyz says 503")
        health = proxy.get("/health", key=None)
        self.assertEqual((health.status, health.json()["status"]), (503, "unhealthy"))
        self.assertEqual(proxy.get("/livez", key=None).status, 200)
        late = self.stream(proxy)
        self.gate.opened.set()
        late.text("[DONE]")
        self.assertEqual(self.exited(proxy), 0)

    def test_timeout(self):
        """Answers that take too long end with an error that clients raise on."""
        proxy = self.gated(CCPROXY_DRAIN_TIMEOUT="300ms")
        client = self.stream(proxy)
        waiting = self.client(proxy)
        waiting.chat()
        self.gate_calls(2)
        proxy.kill(signal.SIGTERM)
        seen = client.text('"error"')
        self.assertIn("server_is_overloaded", seen)
        self.assertNotIn("[DONE]", seen)
        self.assert_error(waiting.response(), 503, "server_is_overloaded")
        self.assertEqual(self.exited(proxy), 0)
        self.assertEqual(proxy.ended(status=503)["ending"], "STOPPING")

    def test_second_signal(self):
        proxy = self.gated()
        client = self.stream(proxy)
        proxy.kill(signal.SIGTERM)
        proxy.wait_log("stopping")
        with self.assertRaises(OSError):  # the first one has reached the worker
            until(lambda: proxy.client() is None, "the port is closed")
        proxy.kill(signal.SIGTERM)
        self.assertIn("server_is_overloaded", client.text('"error"'))
        self.assertEqual(self.exited(proxy), 0)

    def test_interrupt(self):
        proxy = self.proxy(None)
        proxy.kill(signal.SIGINT)
        self.assertEqual(self.exited(proxy), 0)


class Reloading(Case):
    def configured(self, **env):
        """A proxy whose keys stand in a file."""
        self.config = self.directory() / "ccproxy.yaml"
        self.write(f"api_keys:\n  - one:{KEY}\n")
        self.gate = Gate()
        return self.proxy(self.upstream(self.gate), CCPROXY_API_KEYS=None, CCPROXY_CONFIG=self.config,
                          **env)

    def write(self, text):
        new = self.config.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.config)

    def test_new_keys(self):
        proxy = self.configured(CCPROXY_WORKERS=2)
        open_stream = self.stream(proxy)
        kept = self.client(proxy)
        kept.request("GET", "/v1/models")
        self.assertEqual(kept.response().status, 200)
        old = set(proxy.workers())
        self.write("api_keys: two:sk-the-second-key\n")
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("reloaded")
        # The old workers take connections until they have heard of it.
        until(lambda: all(proxy.get("/v1/models").status == 401 for _ in range(30)),
              "the old key is forgotten")
        for _ in range(30):
            self.assertEqual(proxy.get("/v1/models", key="sk-the-second-key").status, 200)
        self.assertEqual(proxy.ended(client="two")["status"], 200)
        self.assertEqual(kept.rest(), b"")
        self.gate.opened.set()
        self.assertIn(" whole", open_stream.text("[DONE]"))
        until(lambda: not old & set(proxy.workers()), "the old workers leave")
        self.assertEqual(len(proxy.workers()), 2)

    def test_wrong_configuration(self):
        proxy = self.configured(CCPROXY_HOST=None)
        before = proxy.workers()
        for text, word in (("api_keys: [", "ccproxy.yaml:"), ("api_kays: x", "did you mean api_keys"),
                           ("api_keys: one:short\n", "shorter"), ("idle_timeout: many\n", "idle_timeout"),
                           ("", "CCPROXY_API_KEYS"), (f"api_keys: {KEY}\nhost: 203.0.113.7\n", "listen")):
            n = len(proxy.logs("reload refused, the old configuration stays"))
            seen = len(proxy.lines)
            self.write(text)
            proxy.kill(signal.SIGHUP)
            proxy.wait_log("reload refused, the old configuration stays", n + 1)
            problems = [x.get("problem", "") for x in proxy.lines[seen:]]
            self.assertTrue(any(word in x for x in problems), (text, problems))
            self.assertEqual(proxy.get("/v1/models").status, 200)
        self.assertEqual(proxy.workers(), before)
        self.assertNotIn(b"one:short", proxy.raw)

    def test_file_gone(self):
        proxy = self.configured()
        self.config.unlink()
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("reload refused, the old configuration stays")
        self.assertEqual(proxy.get("/v1/models").status, 200)

    def test_number_of_workers(self):
        proxy = self.configured(CCPROXY_WORKERS=None)
        for n in (3, 1, 2):
            seen = len(proxy.logs("reloaded"))
            self.write(f"api_keys: one:{KEY}\nworkers: {n}\n")
            proxy.kill(signal.SIGHUP)
            self.assertEqual(proxy.wait_log("reloaded", seen + 1)["workers"], n)
            until(lambda n=n: len(proxy.workers()) == n, "the old workers leave")
            for _ in range(20):
                self.assertEqual(proxy.get("/v1/models").status, 200)

    def test_new_address(self):
        proxy = self.configured(CCPROXY_HOST=None)
        self.write(f"api_keys: one:{KEY}\nhost: ::1\n")
        proxy.kill(signal.SIGHUP)
        address = proxy.wait_log("reloaded")["address"]
        self.assertTrue(address.startswith("[::1]:"), address)
        with contextlib.closing(harness.Client(proxy._parse_address(address))) as client:
            client.request("GET", "/v1/models")
            self.assertEqual(client.response().status, 200)

    def test_log_level(self):
        proxy = self.configured()
        self.write(f"api_keys: one:{KEY}\nlog_level: WARN\n")
        proxy.kill(signal.SIGHUP)
        until(lambda: not proxy.workers() or self.is_quiet(proxy), "requests are not logged any more")

    def is_quiet(self, proxy):
        name = f"quiet-{os.urandom(4).hex()}"
        with contextlib.closing(proxy.client()) as client:
            client.request("GET", "/livez", fields={"X-Request-Id": name, "Connection": "close"})
            client.response()
        proxy.kill(signal.SIGHUP)  # a line that would stand behind
        return not proxy.logs("request", id=name)

    def test_fifty_times_under_load(self):
        """No request fails, on fresh connections and on kept ones; nothing is left behind."""
        up = self.upstream(each_request(lambda call: call.answer()))
        proxy = self.proxy(up, CCPROXY_WORKERS=2)
        master = proxy.process.pid
        stop = threading.Event()
        failures, served = [], []

        def ask(client, i):
            if i % 2:
                client.request("GET", "/v1/models")
            else:
                client.chat(stream=i % 4 == 0)
            response = client.response()
            if response.status != 200 or not response.complete:
                raise AssertionError(f"{response.line} {response.body!r}")
            served.append(1)
            return response.fields.get("connection") == "close"

        def fresh():
            i = 0
            while not stop.is_set():
                with contextlib.closing(proxy.client()) as client:
                    ask(client, i)
                i += 1

        def kept():
            i, client = 0, proxy.client()
            while not stop.is_set():
                if ask(client, i):
                    client.close()
                    client = proxy.client()
                i += 1
            client.close()

        def run(work):
            try:
                work()
            except Exception as e:
                failures.append((work.__name__, len(served), repr(e)))

        threads = [threading.Thread(target=run, args=(w,)) for w in (fresh, kept, fresh, kept)]
        for thread in threads:
            thread.start()
        sizes = []
        for i in range(50):
            proxy.kill(signal.SIGHUP)
            proxy.wait_log("reloaded", i + 1)
            sizes.append(len(harness.descriptors(master)))
        stop.set()
        for thread in threads:
            thread.join(harness.DEADLINE)
        self.assertEqual(failures, [])
        self.assertGreater(len(served), 50)
        until(lambda: len(proxy.workers()) == 2, "the old workers leave")
        self.assertLessEqual(len(harness.descriptors(master)), sizes[0] + 2)
        self.assertEqual(proxy.logs("worker died"), [])
        self.assertEqual({x["ending"] for x in proxy.logs("request")}, {"DONE"})


class Crashing(Case):
    def test_worker_killed(self):
        for number in (signal.SIGKILL, signal.SIGSEGV):
            proxy = self.gated(CCPROXY_WORKERS=2)
            streams = {}
            while len(streams) < 2:
                client = self.stream(proxy)
                streams.setdefault(proxy.worker_of(client), client)
            (victim, lost), (_, other) = streams.items()
            os.kill(victim, number)
            for _ in range(50):
                self.assertEqual(proxy.get("/livez").status, 200)
            line = proxy.wait_log("worker died")
            self.assertEqual(line["pid"], victim)
            if b"Sanitizer" in proxy.raw:  # it has taken the signal and reported it
                proxy.raw = proxy.raw.replace(b"Sanitizer", b"")
            else:
                self.assertIn(number.name, line["cause"])
            with self.assertRaises(Gone):
                lost.text("[DONE]")
            self.gate.opened.set()
            self.assertIn(" whole", other.text("[DONE]"))
            until(lambda: len(proxy.workers()) == 2, "the worker is replaced")
            self.assertNotIn(victim, proxy.workers())

    def test_only_worker_killed_again_and_again(self):
        """New connections wait for the next worker; none is refused."""
        proxy = self.proxy(None)
        for i in range(3):
            worker = proxy.workers()[0]
            os.kill(worker, signal.SIGKILL)
            proxy.wait_log("worker died", i + 1)
            self.assertEqual(proxy.get("/livez").status, 200)
            until(lambda worker=worker: proxy.workers() not in ([], [worker]), "the worker is replaced")

    def test_master_killed(self):
        proxy = self.gated(CCPROXY_WORKERS=2)
        proxy.exit_code = -signal.SIGKILL
        client = self.stream(proxy)
        workers = proxy.workers()
        proxy.kill(signal.SIGKILL)
        proxy.wait_log("the master is gone")
        with self.assertRaises(OSError):
            until(lambda: proxy.client() is None, "the port is closed")
        self.gate.opened.set()
        client.text("[DONE]")
        until(lambda: not any(self.is_alive(pid) for pid in workers), "the workers leave")

    @staticmethod
    def is_alive(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{pid}/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0] != "Z"
        return False

    def test_simulator_of_the_demo_killed(self):
        none = {k: None for k in ("ANTHROPIC_API_KEY", "CCPROXY_API_KEYS", "CCPROXY_HOST")}
        proxy = self.proxy(None, **none)
        with proxy.changed:
            proxy.changed.wait_for(lambda: b"-d '" in proxy.printed, harness.DEADLINE)
        key = re.search(rb"Bearer (\S+)'", proxy.printed)[1].decode()
        for pid in proxy.workers():
            os.kill(pid, signal.SIGKILL)  # its workers and the simulator alike
        proxy.wait_log("the simulator died")
        proxy.wait_log("worker died")

        def answers():
            with contextlib.closing(harness.Client(("127.0.0.1", proxy.address[1]))) as client:
                client.request("POST", CHAT, {"model": "gpt-4o", "messages": [
                    {"role": "user", "content": "hi"}]}, key=key)
                return client.response().status == 200

        until(answers, "the demo answers again")


class Secrets(Case):
    CANARIES = {"upstream": "sk-ant-canary-upstream", "client": "sk-canary-client-key",
                "wrong": "sk-canary-wrong-key", "prompt": "canary-prompt-text",
                "answer": "canary-answer-text", "query": "canary-query", "header": "canary-header",
                "proxy": "canary-proxy-password", "cookie": "canary-cookie", "body": "canary-body"}

    def test_canaries(self):
        """Through every kind of ending, at the most talkative level."""
        c = self.CANARIES
        answers = [lambda call: call.answer(text=c["answer"]),
                   lambda call: call.error(401, "authentication_error", c["upstream"]),
                   lambda call: call.error(402, "billing_error", "pay"),
                   lambda call: call.answer(text_events(c["answer"])[:3]),
                   lambda call: call.send("garbage " + c["answer"] + "\r\n\r\n")]

        def script(call):
            while True:
                call.read_request()
                answers[script.n % len(answers)](call)
                script.n += 1

        script.n = 0
        proxy = self.proxy(self.upstream(script), ANTHROPIC_API_KEY=c["upstream"], CCPROXY_DEBUG="true",
                           CCPROXY_API_KEYS=f"named:{c['client']}", CCPROXY_RETRIES=0,
                           HTTPS_PROXY=f"http://user:{c['proxy']}@127.0.0.1:1")
        bodies = []
        for i in range(10):
            with contextlib.closing(proxy.client()) as client:
                client.request("POST", f"{CHAT}?key={c['query']}", key=c["client"], body={
                    "model": "claude-sonnet-5-5", "stream": i >= 5,
                    "messages": [{"role": "user", "content": c["prompt"]}]},
                    fields={"X-Header": c["header"], "Cookie": c["cookie"]})
                bodies.append(client.response().body)
        for key, path, body in ((c["wrong"], "/v1/models", None), (c["client"], CHAT, c["body"]),
                                (c["client"], CHAT, {"model": "gpt-nope", "x": c["body"]}),
                                (c["client"], CHAT, {"messages": c["body"]})):
            with contextlib.closing(proxy.client()) as client:
                client.request("POST" if body else "GET", path, body, key=key)
                bodies.append(client.response().body)
        with contextlib.closing(proxy.client()) as client:
            client.request("GET", f"/livez?{c['query']}", key=None, fields={
                "Authorization": f"Bearer {c['wrong']}", "Bad Header": c["header"]})
            client.response()
        environments = b"".join(self.environ(pid) for pid in proxy.workers())
        arguments = b"".join(self.environ(pid, "cmdline") for pid in proxy.workers())
        check = harness.run("check", ANTHROPIC_API_KEY=c["upstream"], CCPROXY_API_KEYS=c["client"],
                            HTTPS_PROXY=f"http://user:{c['proxy']}@127.0.0.1:1")
        proxy.stop()
        said = proxy.raw + proxy.printed + (check.stdout + check.stderr).encode()
        for name, canary in c.items():
            self.assertNotIn(canary.encode(), said, name)
        for name in ("upstream", "client"):
            self.assertNotIn(c[name].encode(), b"".join(bodies) + environments + arguments, name)

    @staticmethod
    def environ(pid, what="environ"):
        with open(f"/proc/{pid}/{what}", "rb") as f:
            return f.read()

    def test_a_line_cannot_be_forged(self):
        """What a client chooses never breaks out of its field."""
        proxy = self.proxy(None)
        for path in ("/x%0a%7b", '/"},{"event":"forged', "/\\u0000", "/" + "x" * 5000, "/%e2%80%a8"):
            proxy.get(path)
        for name in ('"\\', "{}", "[31m"):
            proxy.get("/livez", fields={"X-Request-Id": name})
        proxy.stop()
        self.assertEqual(proxy.logs("unparsed"), [])
        self.assertEqual(proxy.logs("forged"), [])
        self.assertEqual(len(proxy.logs("request")), 8)
