"""The TLS listener: what is offered and refused, who gets in, and what the official clients make of it."""
import collections
import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading

import harness
from harness import KEY, each_request
from test_clients import INSTALLED, PROGRAMS, SETTINGS, Simulator
from test_upstream_tls import Authority

GOOD = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305"]
WEAK = ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-ECDSA-AES128-CCM", "AES128-GCM-SHA256", "AES128-SHA", "ECDHE-ECDSA-NULL-SHA"]


class Case(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = tempfile.mkdtemp(prefix="ccproxy-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.files)
        cls.ca = Authority(cls.files, "ours")
        cls.local = cls.ca.issue("local", "IP:127.0.0.1,DNS:localhost")
        cls.up = cls.shared_upstream(each_request(lambda call: call.answer()))

    def serve(self, pair=None, upstream=None, **env):
        cert, key = pair or self.local
        return self.proxy(upstream or self.up,
                          **{"CCPROXY_TLS_CERT": cert, "CCPROXY_TLS_KEY": key, **env})

    def context(self, version=None, alpn=("http/1.1",), ca=None):
        context = ssl.create_default_context(cafile=(ca or self.ca).pem)
        if version:
            context.minimum_version = context.maximum_version = version
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def connect(self, proxy, context=None, name="localhost", session=None):
        """A client whose handshake is done."""
        client = self.client(proxy)
        client.sock = (context or self.context()).wrap_socket(client.sock, server_hostname=name,
                                                              session=session)
        return client

    def ask(self, proxy, *args, **kwargs):
        client = self.connect(proxy, *args, **kwargs)
        client.chat()
        response = client.response()
        self.assertEqual(response.status, 200)
        return client, response

    def s_client(self, proxy, *args, text=""):
        done = subprocess.run(["openssl", "s_client", "-connect", proxy.text_address, "-CAfile",
                               self.ca.pem, *args], input=text, text=True, capture_output=True,
                              timeout=harness.DEADLINE, check=False)
        return done.stdout + done.stderr

    def counts(self, proxy):
        """Handshakes by what became of them, the one that asks among them."""
        client = self.client(proxy)
        client.sock = ssl._create_unverified_context().wrap_socket(client.sock)
        client.request("GET", "/metrics", key=None)
        return {how: int(n) for how, n in re.findall(
            r'(?m)^ccproxy_tls_handshakes_total{result="(\w+)"} (\d+)$', client.response().body.decode())}

    def refused(self, proxy, context=None):
        """What OpenSSL says of a handshake that comes to nothing."""
        with self.assertRaises(ssl.SSLError) as caught:
            self.connect(proxy, context)
        return str(caught.exception)


class Listener(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cert, key = cls.local
        cls.one = cls.shared_proxy(cls.up, CCPROXY_TLS_CERT=cert, CCPROXY_TLS_KEY=key)

    def test_both_versions(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client, response = self.ask(self.one, self.context(version))
            self.assertEqual(client.sock.selected_alpn_protocol(), "http/1.1")
            self.assertEqual(response.fields["strict-transport-security"], "max-age=63072000")
            client.stream()  # and once more on the same connection
            client.text("Hello!")

    def test_old_versions_are_refused(self):
        for version in ("-tls1", "-tls1_1"):
            self.assertIn("alert protocol version", self.s_client(self.one, version, "-cipher",
                                                                  "ALL:@SECLEVEL=0"))

    def test_suites(self):
        for suite in GOOD:
            self.assertIn(f"Cipher is {suite}",
                          self.s_client(self.one, "-tls1_2", "-cipher", suite))
        for suite in WEAK:
            self.assertIn("handshake failure", self.s_client(
                self.one, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0"), suite)

    def test_groups(self):
        for group in ("X25519", "P-256", "P-384"):
            self.assertIn("Verify return code: 0",
                          self.s_client(self.one, "-tls1_3", "-groups", group))
        self.assertIn("handshake failure", self.s_client(self.one, "-tls1_3", "-groups", "P-521"))

    def test_what_is_never_offered(self):
        said = self.s_client(self.one, "-tls1_2", "-legacy_renegotiation")
        self.assertIn("Compression: NONE", said)
        self.assertIn("Secure Renegotiation IS supported", said)
        self.assertIn("Max Early Data: 0", self.s_client(self.one, "-tls1_3", "-ign_eof",
                                                         text="GET / HTTP/1.0\r\n\r\n"))

    def test_renegotiation_is_refused(self):
        said = self.s_client(self.one, "-tls1_2", text="R\n")
        self.assertIn("RENEGOTIATING", said)
        self.assertIn("no renegotiation", said)

    def test_protocols(self):
        """Who names only protocols that are not served is told so; who names none gets HTTP/1.1."""
        self.assertIn("no application protocol",
                      self.refused(self.one, self.context(alpn=["spdy/3"])))
        client, _ = self.ask(self.one, self.context(alpn=None))
        self.assertIsNone(client.sock.selected_alpn_protocol())
        client, _ = self.ask(self.one, self.context(alpn=["spdy/3", "http/1.1"]))
        self.assertEqual(client.sock.selected_alpn_protocol(), "http/1.1")

    def test_plain_requests_get_nothing(self):
        client = self.client(self.one)
        client.chat()
        self.assertNotIn(b"HTTP/", client.rest())

    def test_bytes_one_by_one(self):
        """Records, handshake included, that come in segments of a byte."""
        self.assertIn(b"200 OK", harness.trickle_tls(self.client(self.one), self.context(), "/livez"))

    def test_curl(self):
        url = f"https://{self.one.text_address}/v1/models"
        for protocol, said_so in (("--http1.1", "1.1 200"), ("--http2", "2 200")):
            said = subprocess.run(["curl", "-sS", protocol, "--cacert", self.ca.pem, "-H",
                                   f"Authorization: Bearer {KEY}",
                                   "-w", "%{http_version} %{http_code}",
                                   "-o", os.devnull, url, "-o", os.devnull, url], text=True,
                                  capture_output=True, timeout=harness.DEADLINE, check=False)
            self.assertEqual(said.stdout, said_so * 2, said.stderr)


class Profiles(Case):
    def test_modern(self):
        proxy = self.serve(CCPROXY_TLS_PROFILE="modern")
        self.assertIn("alert protocol version",
                      self.refused(proxy, self.context(ssl.TLSVersion.TLSv1_2)))
        self.ask(proxy, self.context(ssl.TLSVersion.TLSv1_3))


class Files(Case):
    def refuses(self, **env):
        done = harness.run(**env)
        self.assertEqual(done.returncode, 1)
        return done.stderr

    def test_what_cannot_be_used(self):
        cert, key = self.local
        other = self.ca.issue("other")
        empty = os.path.join(self.files, "empty")
        open(empty, "w").close()
        for env, said in (
                ({"CCPROXY_TLS_CERT": "/nowhere", "CCPROXY_TLS_KEY": key},
                 "CCPROXY_TLS_CERT: cannot read certificates from /nowhere: no such file"),
                ({"CCPROXY_TLS_CERT": empty, "CCPROXY_TLS_KEY": key}, "no start line"),
                ({"CCPROXY_TLS_CERT": cert}, "cannot read a key from"),
                ({"CCPROXY_TLS_CERT": cert, "CCPROXY_TLS_KEY": other[1]}, "private key mismatch"),
                ({"CCPROXY_TLS_CERT": cert, "CCPROXY_TLS_KEY": f"{key},{key}"},
                 "CCPROXY_TLS_KEY: names 2 keys for 1 certificates"),
                ({"CCPROXY_TLS_KEY": key}, "CCPROXY_TLS_KEY: names 1 keys for 0 certificates"),
                ({"CCPROXY_TLS_PROFILE": "old"}, "CCPROXY_TLS_PROFILE: \"old\" is not")):
            self.assertIn(said, self.refuses(**env))

    def test_weak_keys(self):
        weak = os.path.join(self.files, "weak")
        Authority.openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=weak",
                          "-keyout", f"{weak}.key", "-out", f"{weak}.pem")
        self.assertIn("key too small", self.refuses(CCPROXY_TLS_CERT=f"{weak}.pem",
                                                    CCPROXY_TLS_KEY=f"{weak}.key"))

    def test_one_file_with_both(self):
        both = os.path.join(self.files, "both.pem")
        with open(both, "w") as f:
            for path in self.local:
                f.write(open(path).read())
        self.ask(self.proxy(self.up, CCPROXY_TLS_CERT=both))


class Sessions(Case):
    """What the client was given by one worker, any worker takes."""

    REQUEST = "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    def visit(self, proxy, version, *args):
        said = self.s_client(proxy, version, "-ign_eof", *args, text=self.REQUEST)
        self.assertIn("200 OK", said)
        self.assertIn("Verify return code: 0", said)
        return said

    def resumed(self, proxy, version, session):
        """Whether the session was resumed; the next visit takes what this one was given."""
        said = self.visit(proxy, version, "-sess_in", session, "-sess_out", session)
        self.assertEqual(said.count("\nReused, "), 1 - said.count("\nNew, "))
        return "\nReused, " in said

    def test_workers_and_reloads(self):
        proxy = self.serve(CCPROXY_WORKERS=4)
        for version in ("-tls1_2", "-tls1_3"):
            before = self.counts(proxy)
            session = str(self.directory() / "session")
            self.visit(proxy, version, "-sess_out", session)
            for _ in range(10):
                self.assertTrue(self.resumed(proxy, version, session))
            proxy.kill(signal.SIGHUP)
            proxy.wait_log("reloaded", 1 + (version == "-tls1_3"))
            for _ in range(10):
                self.assertTrue(self.resumed(proxy, version, session))
            after = self.counts(proxy)
            self.assertEqual(after["resumed"] - before["resumed"], 20)
            self.assertEqual(after["full"] - before["full"], 2)  # the first, and the one that counts

    def test_reconnecting(self):
        """TLS 1.2 with one ticket for all; to the worker that the kernel chooses, each time."""
        said = self.s_client(self.serve(CCPROXY_WORKERS=4), "-tls1_2", "-reconnect")
        self.assertEqual(said.count("\nReused, "), 5, said)

    def test_how_long(self):
        for version in ("-tls1_2", "-tls1_3"):
            said = self.visit(self.serve(), version)
            self.assertIn("ticket lifetime hint: 21600 (seconds)", said)

    def test_broken_tickets(self):
        """What cannot be opened is not looked at: a full handshake, and a ticket that works."""
        proxy = self.serve()
        session, other = (str(self.directory() / name) for name in ("session", "other"))
        self.visit(self.serve(), "-tls1_2", "-sess_out", other)  # a stranger's keys
        self.visit(proxy, "-tls1_2", "-sess_out", session)
        pem = open(session).read()
        ticket = ssl.PEM_cert_to_DER_cert(
            pem.replace("SSL SESSION PARAMETERS", "CERTIFICATE"))
        said = subprocess.run(["openssl", "sess_id", "-in", session, "-text", "-noout"], text=True,
                              capture_output=True, check=True).stdout
        row = re.search(r"0000 - ([0-9a-f -]{47})", said.split("TLS session ticket:")[1]).group(1)
        name = bytes.fromhex(re.sub(r"[ -]", "", row))
        at = ticket.index(name)
        for place in (at, at + 16, at + 40, at + 100):  # name, IV, session, and further on
            torn = bytearray(ticket)
            torn[place] ^= 1
            pem = ssl.DER_cert_to_PEM_cert(bytes(torn)).replace(
                "CERTIFICATE", "SSL SESSION PARAMETERS")
            with open(other + "torn", "w") as f:
                f.write(pem)
            self.assertFalse(self.resumed(proxy, "-tls1_2", other + "torn"))
            self.assertTrue(self.resumed(proxy, "-tls1_2", other + "torn"))
        self.assertFalse(self.resumed(proxy, "-tls1_2", other))
        self.assertTrue(self.resumed(proxy, "-tls1_2", session))

    def test_switched_off(self):
        proxy = self.serve(CCPROXY_TLS_TICKETS="false")
        session = str(self.directory() / "session")
        for version in ("-tls1_2", "-tls1_3"):
            self.assertNotIn("TLS session ticket:", self.visit(proxy, version, "-sess_out", session))
        self.assertEqual(self.counts(proxy)["resumed"], 0)

    def test_handshakes_are_counted(self):
        proxy = self.serve()
        self.refused(proxy, self.context(alpn=["spdy/3"]))
        self.ask(proxy)
        self.assertEqual(self.counts(proxy), {"full": 2, "resumed": 0, "failed": 1, "late": 0, "shed": 0})


class Slow(Case):
    """Who takes his time keeps nobody else waiting."""

    def hello(self):
        """The first record of a handshake."""
        out = ssl.MemoryBIO()
        tls = self.context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        return out.read()

    def stall(self, proxy, n):
        """Clients that have said nothing, half of what they should, or all, and then wait."""
        hello, clients = self.hello(), []
        for i in range(n):
            clients.append(self.client(proxy))
            clients[-1].send((b"", hello[:len(hello) // 2], hello)[i % 3])
        return clients

    def test_bystanders(self):
        proxy = self.serve(CCPROXY_HANDSHAKE_TIMEOUT="1s")
        stalled = self.stall(proxy, 150)
        for _ in range(20):
            self.ask(proxy)
        for client in stalled:
            client.rest()  # ends
        self.assertEqual(self.counts(proxy), {"full": 21, "resumed": 0, "failed": 0, "late": 150, "shed": 0})
        self.ask(proxy)

    def test_the_oldest_goes(self):
        proxy = self.serve(CCPROXY_HANDSHAKE_TIMEOUT="1h", CCPROXY_MAX_HANDSHAKES="30")
        stalled = self.stall(proxy, 40)
        for client in stalled[:10]:
            client.rest()
        for _ in range(5):  # the first takes a place, which is free again when it is through
            self.ask(proxy)
        stalled[10].rest()
        self.assertEqual(self.counts(proxy), {"full": 6, "resumed": 0, "failed": 0, "late": 0, "shed": 11})
        for client in stalled[11:]:
            client.sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.assertNotEqual(client.sock.recv(65536), b"")  # is still waited for

    def test_records_of_one_byte(self):
        """A request whose every byte is a record, and then another on the same connection."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client = self.connect(self.serve(), self.context(version))
            for _ in range(2):
                written = []
                client.send, send = written.append, client.send
                client.chat("hello " * 50)
                client.send = send
                client.trickle(b"".join(w if isinstance(w, bytes) else w.encode() for w in written))
                response = client.response()
                self.assertEqual(response.status, 200)
                self.assertEqual(response.json()["choices"][0]["message"]["content"], "Hello!")

    def test_a_body_of_tiny_records(self):
        """A client whose every read brings a byte takes its turn with others, who are not kept waiting for its end."""
        proxy = self.serve(CCPROXY_WORKERS=1)
        rude, other = self.connect(proxy), self.connect(proxy)
        worker = proxy.workers()[0]
        os.kill(worker, signal.SIGSTOP)
        try:
            rude.request("POST", "/v1/chat/completions", fields={"Content-Type": "application/json", "Content-Length": 2000})
            for _ in range(2000):
                rude.send(b"{")
            other.request("GET", "/v1/models")
        finally:
            os.kill(worker, signal.SIGCONT)
        self.assertEqual((rude.response().status, other.response().status), (400, 200))
        proxy.ended(2)
        self.assertEqual([line["status"] for line in proxy.logs("request")], [200, 400])


class Replaced(Case):
    """Certificates are replaced, as fast as it goes, while clients come and go and streams run on."""

    TIMES = 30 if harness.is_sanitized() else 1000

    def setUp(self):
        self.turn = threading.Condition()
        self.turns, self.over, self.done = 0, threading.Event(), collections.Counter()

    def script(self, call):
        """A stream ends only when two certificates more have come into force, or all have."""
        while True:
            call.read_request()
            if b"stay" not in call.body:
                call.answer()
                continue
            call.start()
            events = harness.text_events("Hello!")
            for event in events[:3]:
                call.event(event)
            with self.turn:
                until_turn = self.turns + 2
                self.turn.wait_for(lambda t=until_turn: self.turns >= t or self.over.is_set(), harness.DEADLINE)
            for event in events[3:]:
                call.event(event)
            call.end()

    def replace(self, proxy, paths, pair):
        """Puts a certificate in the place of the one that is served; whether new clients get it."""
        for path, by in zip(paths, pair):
            shutil.copyfile(by, path)
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("reloaded", self.turns + 1)
        with self.turn:
            self.turns += 1
            self.turn.notify_all()
        client = self.connect(proxy, self.contexts[ssl.TLSVersion.TLSv1_3])
        self.assertEqual(client.sock.getpeercert(True), ssl.PEM_cert_to_DER_cert(pathlib.Path(pair[0]).read_text()))
        client.close()

    def ask_again(self, proxy, version, resume, stay):
        """One client until the end; each request must have its whole answer."""
        session = None
        while not self.over.is_set():
            with contextlib.closing(proxy.client()) as client:
                client.sock = self.contexts[version].wrap_socket(
                    client.sock, server_hostname="localhost", session=session if resume else None)
                if stay:
                    client.chat("stay", stream=True)
                else:
                    client.chat()
                response = client.response()
                assert response.status == 200 and response.complete, response.body
                assert not stay or response.frames()[-1] == "[DONE]", response.body
                session = client.sock.session
                self.done[version, client.sock.session_reused, stay] += 1

    def counted(self, proxy):
        """Requests by their status, as the server has it: it forgets nothing in a reload."""
        with contextlib.closing(self.connect(proxy)) as client:
            client.request("GET", "/metrics", key=None)
            page = client.response().body.decode()
        return {status: int(n) for status, n in re.findall(
            r'(?m)^ccproxy_requests_total{.*chat/completions",status="(\d+)"} (\d+)$', page)}

    def test_under_load(self):
        self.contexts = {v: self.context(v) for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)}
        pairs = [self.ca.issue(f"turn{i}", "DNS:localhost") for i in range(2)]
        paths = [str(self.directory() / name) for name in ("served.pem", "served.key")]
        for path, by in zip(paths, pairs[1]):
            shutil.copyfile(by, path)
        proxy = self.serve(paths, self.upstream(self.script), CCPROXY_WORKERS=2,
                           CCPROXY_LOG_LEVELS="exchange:warn")
        kinds = [(v, resume, stay) for v in self.contexts for resume, stay in
                 ((False, False), (True, False), (True, True))]
        with concurrent.futures.ThreadPoolExecutor(len(kinds)) as pool:
            asking = [pool.submit(self.ask_again, proxy, *kind) for kind in kinds]
            try:
                for i in range(self.TIMES):
                    self.replace(proxy, paths, pairs[i % 2])
            finally:
                self.over.set()
                with self.turn:
                    self.turn.notify_all()
            for work in asking:
                work.result()
        for kind in kinds:
            self.assertGreater(self.done[kind], 1, self.done)
        harness.until(lambda: self.counted(proxy) == {"200": sum(self.done.values())}, f"{self.done} to be counted")


class Expiry(Case):
    """The end of certificates, in /health, in the metrics and in the log."""

    @staticmethod
    def ends(pair):
        said = subprocess.run(["openssl", "x509", "-in", pair[0], "-noout", "-enddate"], text=True,
                              capture_output=True, check=True).stdout
        return ssl.cert_time_to_seconds(said.strip().removeprefix("notAfter="))

    def get(self, proxy, path):
        client = self.client(proxy)
        client.sock = ssl._create_unverified_context().wrap_socket(client.sock)
        client.request("GET", path, key=None)
        return client.response()

    def health(self, proxy):
        response = self.get(proxy, "/health")
        self.assertEqual(response.status, 200)  # it serves, and other clients may not mind
        return response.json()["status"], response.json()["checks"]["certificates"]

    def gauges(self, proxy):
        page = self.get(proxy, "/metrics").body.decode()
        return {name: float(at) for name, at in re.findall(
            r'^ccproxy_tls_certificate_expiry_timestamp_seconds{certificate="(.*)"} (.*)$', page, re.M)}

    def test_told_in_time(self):
        proxy = self.serve(CCPROXY_TLS_EXPIRY_NOTICE="24h")
        self.assertEqual(self.health(proxy), ("healthy", True))
        self.assertEqual(proxy.logs("configuration"), [])
        proxy = self.serve(CCPROXY_TLS_EXPIRY_NOTICE="72h")
        self.assertEqual(self.health(proxy), ("degraded", False))
        self.assertIn("the certificate of 127.0.0.1 expires on", proxy.logs("configuration")[0]["problem"])

    def test_expired(self):
        proxy = self.serve(self.ca.issue("past", "DNS:past.test", days="-1"), CCPROXY_TLS_EXPIRY_NOTICE="0")
        self.assertEqual(self.health(proxy), ("degraded", False))
        self.assertIn("the certificate of past.test expired on", proxy.logs("configuration")[0]["problem"])

    def test_plain_servers_have_no_certificates(self):
        health = self.proxy(None).get("/health", key=None).json()
        self.assertNotIn("certificates", health["checks"])
        self.assertEqual(health["status"], "healthy")

    def test_a_reload_changes_what_is_told(self):
        pairs = {"a.test": self.ca.issue("a", "DNS:a.test,DNS:b.test", days="1"),
                 "c": self.ca.issue("c", days="20"),
                 "127.0.0.1": self.local, "::1": self.ca.issue("six", "IP:::1", days="9")}
        again = self.ca.issue("longer", "DNS:a.test", days="30")  # of two for one name the first to end counts
        config = self.directory() / "config.yaml"

        def write(pairs):
            config.write_text("\n".join(
                [f"tls_cert: [{', '.join(p[0] for p in pairs)}]", f"tls_key: [{', '.join(p[1] for p in pairs)}]",
                 "tls_expiry_notice: 25h"]))

        write([*pairs.values(), again])
        proxy = self.proxy(self.up, CCPROXY_CONFIG=config)
        self.assertEqual(self.gauges(proxy), {name: self.ends(pair) for name, pair in pairs.items()})
        self.assertEqual(self.health(proxy), ("degraded", False))
        write([self.local, again])
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("reloaded")
        self.assertEqual(self.gauges(proxy), {"127.0.0.1": self.ends(self.local), "a.test": self.ends(again)})
        self.assertEqual(self.health(proxy), ("healthy", True))


class OpenaiPython(Case):
    """Everything that the client does over plain HTTP."""

    def test_all(self):
        simulator = Simulator()
        self.addCleanup(simulator.close)
        proxy = self.serve(upstream=simulator.url, CCPROXY_REFRESH_MODELS="true", **SETTINGS)
        env = {"PATH": os.environ["PATH"], "CCPROXY_URL": f"https://{proxy.text_address}",
               "CCPROXY_KEY": KEY, "SIM_URL": simulator.url, "SSL_CERT_FILE": self.ca.pem}
        done = subprocess.run([INSTALLED / "venv/bin/python", PROGRAMS / "openai_python.py"], env=env,
                              text=True, capture_output=True, timeout=200, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreater(done.stdout.count("ok "), 10, done.stdout)
