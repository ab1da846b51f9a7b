"""Several listeners: what each of them serves, and how a reload changes them."""
import os
import signal
import subprocess

import harness
from harness import Client, each_request
from test_upstream_tls import Authority

CLIENTS = ("/v1/models", "/v1/chat/completions")
OPERATORS = ("/metrics", "/stats", "/dashboard", "/dashboard.js")
PROBES = ("/health", "/livez", "/readyz")


class Case(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.up = cls.shared_upstream(each_request(lambda call: call.answer()))

    def listen(self, *entries, **env):
        return self.proxy(self.up, CCPROXY_LISTEN=",".join(entries), **env)

    def configured(self, text=""):
        """A YAML file that a reload reads anew, and a function that writes it."""
        path = self.directory() / "ccproxy.yaml"
        path.write_text(text)
        return path

    def served(self, proxy, at, path):
        method = "POST" if "completions" in path else "GET"
        client = Client(proxy.addresses[at])
        self.addCleanup(client.close)
        client.request(method, path, {} if method == "POST" else None)
        return client.response().status != 404


class Endpoints(Case):
    def test_words(self):
        proxy = self.listen("127.0.0.1:0", "127.0.0.1:0 clients", "[::1]:0 operators")
        self.assertEqual(len(set(proxy.addresses)), 3)
        for path in CLIENTS + OPERATORS + PROBES:
            wanted = [True, path not in OPERATORS, path not in CLIENTS]
            self.assertEqual([self.served(proxy, at, path) for at in range(3)], wanted, path)

    def test_what_is_not_served_looks_unknown(self):
        proxy = self.listen("127.0.0.1:0 clients")
        there, unknown = proxy.get("/stats"), proxy.get("/stats2")
        self.assertEqual(there.error["message"].replace("/stats", ""),
                         unknown.error["message"].replace("/stats2", ""))
        self.assert_error(there, 404)

    def test_unix_beside_tcp(self):
        path = str(self.directory() / "ccproxy.sock")
        proxy = self.listen("127.0.0.1:0 clients", f"unix:{path} operators", CCPROXY_WORKERS=2)
        self.assertEqual(proxy.addresses[1], path)
        self.assertEqual(proxy.chat().status, 200)
        self.assertEqual(proxy.get("/metrics", at=1, key=None).status, 200)
        self.assertEqual(proxy.get("/metrics").status, 404)

    def test_tls_beside_plain(self):
        files = self.directory()
        cert, key = Authority(files, "ours").issue("local", "IP:127.0.0.1")
        proxy = self.listen("127.0.0.1:0", "127.0.0.1:0 tls", CCPROXY_TLS_CERT=cert, CCPROXY_TLS_KEY=key)
        plain = proxy.get("/livez")
        self.assertEqual(plain.status, 200)
        self.assertNotIn("strict-transport-security", plain.fields)
        url = "https://127.0.0.1:%d/livez" % proxy.addresses[1][1]
        said = subprocess.run(["curl", "-sSi", "--cacert", str(files / "ours.pem"), url], text=True,
                              capture_output=True, timeout=harness.DEADLINE, check=True).stdout
        self.assertIn("HTTP/2 200", said)
        self.assertIn("strict-transport-security: max-age=63072000", said)

    def test_top_goes_to_the_operators(self):
        path = str(self.directory() / "top.sock")
        entries = f"127.0.0.1:1 clients,unix:{path} operators"
        self.proxy(self.up, CCPROXY_LISTEN=f"127.0.0.1:0 clients,unix:{path} operators")
        done = harness.run("top", "--once", CCPROXY_LISTEN=entries)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Faults(Case):
    def test_entries(self):
        for entries, said in (
                ("8000", 'CCPROXY_LISTEN: "8000" is not an address like 0.0.0.0:8443'),
                ("localhost:1", "is not an address like"), ("127.0.0.1:70000", "is not an address"),
                ("::1:80", "is not an address like"), ("unix:run", "is not an address like"),
                ("127.0.0.1:1 tsl", "words tls"),
                ("127.0.0.1:1,127.0.0.1:1 clients", '"127.0.0.1:1 clients" stands there twice'),
                ("127.0.0.1:1 tls", "needs a certificate: CCPROXY_TLS_CERT"),
                (",".join(["127.0.0.1:0"] * 9), "more than 8 addresses")):
            done = harness.run(CCPROXY_LISTEN=entries)
            self.assertEqual(done.returncode, 1)
            self.assertIn(said, done.stderr)

    def test_an_address_that_is_taken(self):
        taken = self.up.port
        done = harness.run(CCPROXY_LISTEN=f"127.0.0.1:0,127.0.0.1:{taken}")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"cannot listen on 127.0.0.1:{taken}: address already in use", done.stderr)


class Reload(Case):
    def reloaded(self, proxy, count):
        proxy.kill(signal.SIGHUP)
        text = proxy.wait_log("reloaded", count)["address"]
        proxy.addresses = [proxy._parse_address(a) for a in text.split(", ")]

    def test_listeners_come_and_go(self):
        files = self.directory()
        path = files / "ccproxy.sock"
        yaml = self.configured("listen:\n  - 127.0.0.1:0 clients\n")
        proxy = self.proxy(self.up, CCPROXY_CONFIG=str(yaml), CCPROXY_WORKERS=2)
        first = proxy.addresses[0]
        yaml.write_text(f"listen:\n  - 127.0.0.1:0 clients\n  - unix:{path} operators\n")
        self.reloaded(proxy, 1)
        self.assertEqual(proxy.addresses, [first, str(path)])
        self.assertEqual(proxy.get("/stats", at=1, key=None).status, 200)
        self.assertEqual(proxy.chat().status, 200)
        yaml.write_text("listen: [127.0.0.1:0 clients operators]\n")
        self.reloaded(proxy, 2)
        self.assertEqual(proxy.addresses, [first])
        self.assertEqual(proxy.get("/stats", key=None).status, 200)
        self.assertFalse(os.path.exists(path))

    def test_a_reload_that_fails_leaves_all_as_it_was(self):
        yaml = self.configured("listen: [127.0.0.1:0]\n")
        proxy = self.proxy(self.up, CCPROXY_CONFIG=str(yaml))
        before = len(harness.descriptors(proxy.process.pid))
        yaml.write_text("listen: [127.0.0.1:0, '192.0.2.1:80']\nworkers: 3\n")
        for count in (1, 2):
            proxy.kill(signal.SIGHUP)
            proxy.wait_log("reload refused, the old configuration stays", count)
        self.assertEqual(len(harness.descriptors(proxy.process.pid)), before)
        self.assertEqual(proxy.chat().status, 200)
