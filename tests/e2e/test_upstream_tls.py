"""HTTPS upstreams: trust, names, client certificates, resumption, and the way through a proxy."""
import base64
import contextlib
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading

import harness
from harness import each_request, text_events
from test_upstream import body_of, chunks


class Authority:
    """A certificate authority of the openssl command, in a directory."""

    def __init__(self, directory, name):
        self.directory = pathlib.Path(directory)
        self.name = name
        self.pem = str(self.directory / f"{name}.pem")
        self.openssl("req", "-x509", *self.new_key(name), "-subj", f"/CN={name}", "-days", "2",
                     "-addext", "keyUsage=critical,keyCertSign", "-out", self.pem)

    def new_key(self, name):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", str(self.directory / f"{name}.key"))

    @staticmethod
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True)

    def issue(self, name, alternatives="", days="2", extensions=(), rsa=False):
        """Returns the paths of a certificate and its key."""
        base = self.directory / f"{self.name}-{name}"
        key = ("-newkey", "rsa:2048", "-nodes", "-keyout", f"{base}.key") if rsa else self.new_key(base.name)
        self.openssl("req", *key, "-subj", f"/CN={name}", "-out", f"{base}.csr")
        more = []
        if alternatives:
            extensions = (f"subjectAltName={alternatives}", *extensions)
        if extensions:
            (self.directory / f"{base.name}.ext").write_text("\n".join(extensions) + "\n")
            more = ["-extfile", f"{base}.ext"]
        self.openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.pem, "-CAkey",
                     str(self.directory / f"{self.name}.key"), "-CAcreateserial", "-days", days,
                     "-out", f"{base}.pem", *more)
        return f"{base}.pem", f"{base}.key"


def server_context(pair, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def one_answer(call):
    """Answers once and closes, so that each request needs a connection."""
    call.read_request()
    call.answer(connection="close")
    with contextlib.suppress(OSError, ValueError):  # the test may be over by now
        call.sock.unwrap()


class Case(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = tempfile.mkdtemp(prefix="ccproxy-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.files)
        cls.ca = Authority(cls.files, "ours")
        cls.local = cls.ca.issue("local", "IP:127.0.0.1,DNS:localhost,DNS:claude.test")

    def serve(self, script=one_answer, pair=None, name=None, **kwargs):
        return self.upstream(script, tls=server_context(pair or self.local, **kwargs), name=name)

    def https(self, upstream, **env):
        return self.proxy(upstream, **{"CCPROXY_CA_FILE": self.ca.pem, "CCPROXY_RETRIES": 0, **env})

    def assert_refused(self, proxy, why):
        self.assert_error(proxy.chat(), 503, "upstream_unavailable")
        self.assertIn(why, proxy.wait_log("upstream call failed")["error"])


class Tls(Case):
    def test_own_authority(self):
        for name in (None, "localhost"):
            proxy = self.https(self.serve(each_request(lambda call: call.answer()), name=name))
            for stream in (False, True, False):
                self.assertEqual(proxy.chat(stream=stream).status, 200)

    def test_both_versions(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertEqual(self.https(self.serve(version=version)).chat().status, 200)

    def test_unknown_authority(self):
        up = self.serve()
        self.assert_refused(self.proxy(up, CCPROXY_RETRIES=0), "certificate verify failed")
        self.assertEqual(up.requests, [])

    def test_another_authority(self):
        other = Authority(self.files, "other")
        up = self.serve(pair=other.issue("local", "IP:127.0.0.1"))
        self.assert_refused(self.https(up), "certificate verify failed")
        self.assertEqual(up.requests, [])

    def test_wrong_names(self):
        for pair, name in ((self.ca.issue("elsewhere", "DNS:elsewhere.test"), "localhost"),
                           (self.ca.issue("named", "DNS:localhost"), None),
                           (self.ca.issue("localhost"), "localhost"),  # a common name is no name
                           (self.ca.issue("wild", "DNS:*.localhost"), "localhost")):
            up = self.serve(pair=pair, name=name)
            self.assert_refused(self.https(up), "certificate verify failed")
            self.assertEqual(up.requests, [])

    def test_expired(self):
        up = self.serve(pair=self.ca.issue("old", "IP:127.0.0.1", days="-1"))
        self.assert_refused(self.https(up), "certificate verify failed")

    def test_not_tls_at_all(self):
        up = self.upstream(lambda call: (call.fill(), call.send("HTTP/1.1 400 Bad\r\n\r\n")))
        self.assert_refused(self.https(up.url.replace("http:", "https:")), "tls")

    def test_handshake_that_hangs(self):
        up = self.upstream(lambda call: call.wait_closed())
        proxy = self.https(up.url.replace("http:", "https:"), CCPROXY_CONNECT_TIMEOUT="200ms")
        self.assert_refused(proxy, "timed out")

    def client_certificate(self, **env):
        context = server_context(self.local)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.ca.pem)
        up = self.upstream(one_answer, tls=context)
        return up, self.https(up, **env)

    def test_client_certificate(self):
        pair = self.ca.issue("gateway")
        up, proxy = self.client_certificate(CCPROXY_CLIENT_CERT=pair[0], CCPROXY_CLIENT_KEY=pair[1])
        self.assertEqual(proxy.chat().status, 200)

    def test_client_certificate_is_missing(self):
        up, proxy = self.client_certificate()
        self.assertEqual(proxy.chat().status, 503)
        self.assertEqual(up.requests, [])

    def test_client_certificate_of_a_stranger(self):
        pair = Authority(self.files, "strange").issue("gateway")
        up, proxy = self.client_certificate(CCPROXY_CLIENT_CERT=pair[0], CCPROXY_CLIENT_KEY=pair[1])
        self.assertEqual(proxy.chat().status, 503)
        self.assertEqual(up.requests, [])

    def test_resumption(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            up = self.serve(version=version)
            proxy = self.https(up)
            for _ in range(3):
                self.assertEqual(proxy.chat().status, 200)
            self.assertEqual(up.handshakes, [False, True, True], version)

    def test_cut_without_a_farewell(self):
        """The end of the connection is not the end of the answer, unless the message has ended."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        for events, good in ((text_events("hi"), True), (text_events("hi")[:3], False)):
            data = head + body_of(events)

            def script(call, data=data):
                call.read_request()
                call.send(data)
                socket.socket(fileno=call.sock.detach()).close()  # no close_notify

            proxy = self.https(self.serve(script))
            response = proxy.chat(stream=True)
            self.assertEqual(response.frames()[-1] == "[DONE]", good, response.body)
            if not good:
                self.assertEqual(response.frames()[-1]["error"]["code"], "upstream_incomplete")

    def test_large_both_ways(self):
        text = "t" * (3 << 20)

        def script(call):
            call.read_request()
            call.answer(text=text)

        up = self.serve(script)
        response = self.https(up).chat("q" * (9 << 20))
        self.assertEqual(response.json()["choices"][0]["message"]["content"], text)
        self.assertGreater(len(up.requests[0]), 9 << 20)

    def test_client_leaves(self):
        closed = threading.Event()

        def script(call):
            call.read_request()
            call.send(chunks(body_of(text_events("hi")[:3])))
            call.wait_closed()
            closed.set()

        proxy = self.https(self.serve(script))
        client = self.client(proxy)
        client.stream()
        client.text("hi")
        client.close()
        self.assertTrue(closed.wait(harness.DEADLINE))
        self.assertEqual(proxy.ended()["ending"], "CLIENT_GONE")

    def test_files_that_are_no_use(self):
        nonsense = pathlib.Path(self.files) / "nonsense"
        nonsense.write_text("nothing")
        for env in ({"CCPROXY_CA_FILE": nonsense}, {"CCPROXY_CA_FILE": "/no/such/file"},
                    {"CCPROXY_CLIENT_CERT": self.local[0]},
                    {"CCPROXY_CLIENT_CERT": nonsense, "CCPROXY_CLIENT_KEY": nonsense}):
            done = harness.run(ANTHROPIC_BASE_URL="https://127.0.0.1:1", **env)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertTrue(any(x in done.stderr for name in env for x in (name, str(env[name]))),
                            done.stderr)


class Tunnel(Case):
    """A proxy that does as it is told; self.connects are the heads that it got."""

    def tunnel(self, answer=b"HTTP/1.1 200 Connection established\r\n\r\n"):
        self.connects = []

        def script(call):
            self.connects.append(call.until(b"\r\n\r\n").decode())
            if answer is None:
                call.wait_closed()
                return
            call.send(answer)
            if b" 200 " not in answer:
                return
            with contextlib.closing(socket.create_connection(("127.0.0.1", self.target.port))) as far:
                there = threading.Thread(target=self.pump, args=(call.sock, far), daemon=True)
                there.start()
                self.pump(far, call.sock)

        return self.upstream(script)

    @staticmethod
    def pump(a, b):
        with contextlib.suppress(OSError):
            while (data := a.recv(65536)):
                b.sendall(data)
        with contextlib.suppress(OSError):
            b.shutdown(socket.SHUT_WR)

    def through(self, proxy_url, name="claude.test", **env):
        self.target = self.serve(each_request(lambda call: call.answer()), name=name)
        return self.https(self.target, HTTPS_PROXY=proxy_url, **env)

    def test_connect(self):
        tunnel = self.tunnel()
        proxy = self.through(tunnel.url)
        for stream in (False, True):
            self.assertEqual(proxy.chat(stream=stream).status, 200)
        authority = f"claude.test:{self.target.port}"
        self.assertEqual(len(self.connects), 1)
        self.assertTrue(self.connects[0].startswith(f"CONNECT {authority} HTTP/1.1\r\n"))
        self.assertIn(f"\r\nhost: {authority}\r\n", self.connects[0].lower())
        self.assertNotIn("proxy-authorization", self.connects[0].lower())
        self.assertNotIn(harness.UPSTREAM_KEY, self.connects[0])

    def test_credentials(self):
        tunnel = self.tunnel()
        proxy = self.through(tunnel.url.replace("//", "//user:p%40ss%3A@"))
        self.assertEqual(proxy.chat().status, 200)
        token = base64.b64encode(b"user:p@ss:").decode()
        self.assertIn(f"proxy-authorization: basic {token}\r\n".lower(), self.connects[0].lower())
        for secret in (b"p%40ss", b"p@ss", token.encode()):
            self.assertNotIn(secret, proxy.raw)

    def test_lower_case_variable(self):
        tunnel = self.tunnel()
        self.target = self.serve(name="claude.test")
        proxy = self.https(self.target, https_proxy=tunnel.url)
        self.assertEqual(proxy.chat().status, 200)
        self.assertEqual(len(self.connects), 1)

    def test_no_proxy(self):
        tunnel = self.tunnel()
        for value in ("localhost", "other.test,localhost", "*", "127.0.0.1, localhost"):
            proxy = self.through(tunnel.url, name="localhost", NO_PROXY=value)
            self.assertEqual(proxy.chat().status, 200)
        self.assertEqual(self.connects, [])
        proxy = self.through(tunnel.url, name="localhost", NO_PROXY="other.test")
        self.assertEqual(proxy.chat().status, 200)
        self.assertEqual(len(self.connects), 1)

    def test_plain_upstreams_go_directly(self):
        tunnel = self.tunnel()
        up = self.upstream(each_request(lambda call: call.answer()))
        self.assertEqual(self.proxy(up, HTTPS_PROXY=tunnel.url).chat().status, 200)
        self.assertEqual(self.connects, [])

    def test_refusals(self):
        for answer in (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
                       b"HTTP/1.1 403 Forbidden\r\n\r\n<html>secret</html>", b"HTTP/1.1 502 Bad\r\n\r\n",
                       b"garbage\r\n\r\n", b"", b"HTTP/1.1 302 Found\r\n\r\n",
                       b"HTTP/1.1 201 Created\r\n" + b"x: y\r\n" * 3000 + b"\r\n"):
            proxy = self.through(self.tunnel(answer).url)
            response = proxy.chat()
            self.assert_error(response, 503, "upstream_unavailable")
            self.assertNotIn(b"secret", response.body)
            self.assertEqual(self.target.calls, [])

    def test_silence(self):
        proxy = self.through(self.tunnel(None).url, CCPROXY_CONNECT_TIMEOUT="200ms")
        self.assert_refused(proxy, "timed out")

    def test_proxy_is_gone(self):
        with contextlib.closing(socket.socket()) as sock:
            sock.bind(("127.0.0.1", 0))
            proxy = self.through(f"http://127.0.0.1:{sock.getsockname()[1]}")
            self.assert_error(proxy.chat(), 503, "upstream_unavailable")

    def test_the_name_is_still_checked(self):
        """A proxy that leads elsewhere is found out."""
        tunnel = self.tunnel()
        self.target = self.serve(pair=self.ca.issue("evil", "DNS:evil.test"), name="claude.test")
        proxy = self.https(self.target, HTTPS_PROXY=tunnel.url)
        self.assert_refused(proxy, "certificate verify failed")
        self.assertEqual(self.target.requests, [])
