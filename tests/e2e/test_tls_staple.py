"""OCSP stapling: what the authority says is fetched off the path of handshakes, shown to who asks, and nothing that the responder
does breaks a handshake. The responder is `openssl ocsp`, behind a little HTTP."""
import contextlib
import http.server
import os
import pathlib
import signal
import socket
import subprocess
import threading

import harness
from harness import until
from test_tls import Case as TlsCase
from test_upstream_tls import Authority

NOTHING = "OCSP response: no response sent"
GOOD = "Cert Status: good"
MUST = "tlsfeature=status_request"


class Responder:
    """Answers about the certificates of an authority, each by its serial number."""

    def __init__(self, ca, answer=None):
        self.ca, self.asked, self.hosts = ca, [], []
        self.changed, self.over = threading.Condition(), threading.Event()
        self.index = pathlib.Path(ca.directory) / f"index-{id(self)}"
        self.index.write_text("")
        self.signer = (ca.pem, f"{ca.directory}/{ca.name}.key")
        self.options = ("-ndays", "1")
        self.answer = answer or self.by_openssl
        responder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                with responder.changed:
                    responder.asked.append((self.path, self.headers["content-type"], body))
                    responder.hosts.append(self.headers["host"])
                    responder.changed.notify_all()
                status, answer = responder.answer(body)
                self.send_response(status)
                self.send_header("Content-Type", "application/ocsp-response")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                with contextlib.suppress(OSError):  # too long for whoever asked
                    self.wfile.write(answer)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def knows(self, pair, status="V"):
        """V: valid, R: revoked."""
        serial = subprocess.run(["openssl", "x509", "-in", pair[0], "-noout", "-serial"], check=True,
                                capture_output=True, text=True).stdout.strip().split("=")[1]
        revoked = "261101000000Z" if status == "R" else ""
        with self.index.open("a") as f:
            f.write(f"{status}\t991231235959Z\t{revoked}\t{serial}\tunknown\t/CN={serial}\n")

    def by_openssl(self, question):
        base = self.index.with_suffix(f".{threading.get_ident()}")
        base.write_bytes(question)
        subprocess.run(["openssl", "ocsp", "-reqin", base, "-index", self.index, "-CA", self.ca.pem, "-rsigner",
                        self.signer[0], "-rkey", self.signer[1], "-respout", f"{base}.out", *self.options],
                       check=True, capture_output=True)
        return 200, pathlib.Path(f"{base}.out").read_bytes()

    def hang(self, _):
        self.over.wait()
        return 500, b""

    def wait_asked(self, n=1):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) >= n, harness.DEADLINE), self.asked

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Case(TlsCase):
    def responder(self, answer=None):
        responder = Responder(self.ca, answer)
        self.addCleanup(responder.close)
        return responder

    def issue(self, responder, name, must=False, chain=True, path="/", knows="V"):
        """A certificate that names the responder, with its issuer behind it."""
        url = f"http://127.0.0.1:{responder.port}{path}"
        pair = self.ca.issue(name, "DNS:localhost", days="30", extensions=[
            f"authorityInfoAccess=OCSP;URI:{url}", *([MUST] if must else [])])
        if knows:
            responder.knows(pair, knows)
        if chain:
            with open(pair[0], "a") as f:
                f.write(open(self.ca.pem).read())
        return pair

    def status(self, proxy, *args):
        said = self.s_client(proxy, "-status", "-servername", "localhost", *args)
        self.assertIn("Verify return code: 0", said)
        return said


    def health(self, proxy):
        client = self.connect(proxy)
        client.request("GET", "/health", key=None)
        return client.response().json()


class Answers(Case):
    def test_stapled(self):
        responder = self.responder()
        proxy = self.serve(self.issue(responder, "good", path="/some/path/"), CCPROXY_WORKERS=3)
        self.assertEqual(proxy.wait_log("stapled")["certificate"], "localhost")
        for version in ("-tls1_2", "-tls1_3"):
            for _ in range(6):  # by whichever worker
                self.assertIn(GOOD, self.status(proxy, version))
        self.assertEqual([a[:2] for a in responder.asked], [("/some/path/", "application/ocsp-request")])
        self.assertEqual(responder.hosts, [f"127.0.0.1:{responder.port}"])
        self.ask(proxy)  # and who does not care gets none
        self.assertNotIn("OCSP", self.s_client(proxy, "-servername", "localhost").replace("OCSP - URI", ""))

    def test_named_by_the_issuer(self):
        """The answer is signed by somebody whom the authority has charged with that."""
        responder = self.responder()
        responder.signer = self.ca.issue("charged", extensions=["extendedKeyUsage=OCSPSigning"])
        proxy = self.serve(self.issue(responder, "good"))
        proxy.wait_log("stapled")
        self.assertIn(GOOD, self.status(proxy))

    def test_each_certificate_has_its_own(self):
        responder = self.responder()
        with_one, without = self.issue(responder, "asks"), self.ca.issue("quiet", "DNS:quiet.test")
        proxy = self.serve((f"{with_one[0]},{without[0]}", f"{with_one[1]},{without[1]}"))
        proxy.wait_log("stapled")
        self.assertIn(GOOD, self.status(proxy))
        self.assertIn(NOTHING, self.s_client(proxy, "-status", "-servername", "quiet.test"))

    def test_kept_over_reloads_and_crashes(self):
        responder = self.responder()
        pair = self.issue(responder, "kept", must=True)
        proxy = self.serve(pair)
        proxy.wait_log("stapled")
        for i in range(3):
            proxy.kill(signal.SIGHUP)
            proxy.wait_log("reloaded", i + 1)
            self.assertIn(GOOD, self.status(proxy))
        until(lambda: len(proxy.workers()) == 1, "the old worker to leave")
        worker = proxy.workers()[0]
        os.kill(worker, signal.SIGKILL)
        until(lambda: proxy.workers() and worker not in proxy.workers(), "another worker to be there")
        self.assertIn(GOOD, self.status(proxy))
        self.assertEqual(len(responder.asked), 1)
        self.assertEqual(self.health(proxy)["status"], "healthy")

    def test_a_new_certificate_is_asked_about(self):
        responder = self.responder()
        pairs = [self.issue(responder, f"turn{i}") for i in range(2)]
        path = self.directory() / "both.pem"
        path.write_text("".join(open(p).read() for p in pairs[0]))
        proxy = self.proxy(self.up, CCPROXY_TLS_CERT=path)
        proxy.wait_log("stapled")
        path.write_text("".join(open(p).read() for p in pairs[1]))
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("stapled", 2)
        self.assertIn(GOOD, self.status(proxy))
        self.assertEqual(len(responder.asked), 2)
        self.assertNotEqual(responder.asked[0][2], responder.asked[1][2])


class Trouble(Case):
    """Nothing is stapled, the log says why, and whoever does not insist is served."""

    def refused(self, responder, error, **fields):
        proxy = self.serve(self.issue(responder, "bad", **fields))
        self.assertIn(error, proxy.wait_log("nothing new to staple")["error"])
        self.assertIn(NOTHING, self.status(proxy))
        self.ask(proxy)
        return proxy

    def test_answers_that_say_nothing(self):
        for answer, error in (
                ((500, b"no"), "the responder refuses"), ((200, b""), "no OCSP response"),
                ((200, b"garbage"), "no OCSP response"), ((200, b"\0" * 9000), "no OCSP response"),
                ((200, b"\0" * 100000), "the answer is too long"),
                ((200, bytes.fromhex("30030a0103")), "trylater")):  # RFC 6960 section 4.2.1
            self.refused(self.responder(lambda _, a=answer: a), error)

    def test_revoked(self):
        self.refused(self.responder(), "revoked", knows="R")

    def test_unknown(self):
        self.refused(self.responder(), "does not know", knows=None)

    def test_wrong_signatures(self):
        responder = self.responder()
        responder.options += ("-badsig",)
        self.refused(responder, "not signed by the issuer")
        responder = self.responder()
        responder.signer = self.ca.issue("anybody")  # a certificate of the authority's, but not for this
        self.refused(responder, "not signed by the issuer")
        responder = self.responder()
        other = Authority(self.directory(), "other")
        responder.signer = (other.pem, f"{other.directory}/other.key")
        self.refused(responder, "not signed by the issuer")

    def test_about_another_certificate(self):
        responder = self.responder()
        one = self.issue(responder, "one")
        answers = []

        def replayed(question):
            answers.append(responder.by_openssl(question))
            return answers[0]

        responder.answer = replayed
        two = self.issue(responder, "two")
        proxy = self.serve((f"{one[0]},{two[0]}", f"{one[1]},{two[1]}"))
        proxy.wait_log("stapled")
        self.assertIn("another certificate", proxy.wait_log("nothing new to staple")["error"])

    def test_nobody_answers(self):
        """Away, or silent: handshakes do not wait, and the server stops when it is told to."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            gone = type("Gone", (), {"port": s.getsockname()[1], "knows": lambda *_: None})
            self.refused(gone, "no answer")
        responder = self.responder()
        responder.answer = responder.hang
        proxy = self.serve(self.issue(responder, "silent"))
        responder.wait_asked()
        for _ in range(5):
            self.assertIn(NOTHING, self.status(proxy))
            self.ask(proxy)

    def test_who_insists_is_told_of(self):
        """A certificate that must be stapled, and cannot be: /health is degraded; clients may refuse it."""
        responder = self.responder(lambda _: (500, b"no"))
        proxy = self.refused(responder, "refuses", must=True)
        health = self.health(proxy)
        self.assertEqual((health["status"], health["checks"]["certificates"]), ("degraded", False))
        proxy = self.refused(responder, "refuses")
        self.assertEqual(self.health(proxy)["status"], "healthy")

    def test_nobody_to_ask(self):
        responder = self.responder()
        for chain, env, why in ((False, {}, "its issuer is not in the file"),
                                (True, {"CCPROXY_TLS_STAPLING": "false"}, "CCPROXY_TLS_STAPLING is off")):
            proxy = self.serve(self.issue(responder, "alone", must=True, chain=chain), **env)
            self.assertIn(why, proxy.logs("configuration")[0]["problem"])
            self.assertIn(NOTHING, self.status(proxy))
        self.assertEqual(responder.asked, [])


del TlsCase  # it has no tests of its own, and is not to be found twice
