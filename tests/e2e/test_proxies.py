"""Proxies in front: PROXY headers of both versions, X-Forwarded-For through several hops, and both at once."""
import contextlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess

import harness
from harness import KEY, Client, each_request, free_port, until
from test_upstream_tls import Authority

MARK = b"\r\n\r\n\0\r\nQUIT\n"
PROXY = "127.0.0.2"  # Linux has all of 127.0.0.0/8
LINE = b"PROXY TCP4 203.0.113.9 198.51.100.7 56324 443\r\n"
ASK = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer wrong\r\n\r\n"
STREAM_IP4, STREAM_IP6, STREAM_UNIX = 0x11, 0x21, 0x31


def binary(family=STREAM_IP4, body=None, command=0x21, more=b""):
    if body is None:
        body = (socket.inet_aton("203.0.113.9") + socket.inet_aton("198.51.100.7") +
                struct.pack(">HH", 56324, 443))
    return MARK + bytes([command, family]) + struct.pack(">H", len(body + more)) + body + more


def ip6(address):
    return socket.inet_pton(socket.AF_INET6, address) * 2 + struct.pack(">HH", 1, 2)


class Case(harness.TestCase):
    def listen(self, upstream=None, **env):
        return self.proxy(upstream, **{"CCPROXY_PROXY_PROTOCOL_FROM": PROXY, **env})

    def connect(self, proxy, source=PROXY, at=0):
        """A connection from that address; what is sent on it is up to the test."""
        client = Client.__new__(Client)
        sock = socket.socket(socket.AF_INET)
        sock.bind((source, 0))
        sock.connect(proxy.addresses[at])
        harness.Wire.__init__(client, sock)
        self.addCleanup(client.close)
        return client

    def address_of(self, proxy, first, source=PROXY, ask=ASK):
        """The address that the log has for a request behind those bytes."""
        client = self.connect(proxy, source)
        client.send(first + ask)
        self.assertEqual(client.response().status, 401)
        self.seen = getattr(self, "seen", 0) + 1
        return proxy.ended(self.seen)["address"]

    def rejected(self, proxy, reason, first, source=PROXY, end=False, count=1):
        """The connection ends without an answer; the log and a counter say why."""
        client = self.connect(proxy, source)
        client.send(first)
        if end:
            client.end_write()
        self.assertEqual(client.rest(), b"")
        line = proxy.wait_log("connection ended", count, reason=reason)
        self.assertEqual((line["level"], line["address"]), ("warn", source))
        return line["error"]

    def counted(self, proxy, reason, at=0, source="127.0.0.1"):
        client = self.connect(proxy, source, at)
        client.request("GET", "/metrics", key=None)
        for line in client.response().body.decode().splitlines():
            if line.startswith(f'ccproxy_connections_rejected_total{{reason="{reason}"}} '):
                return int(line.split()[1])
        return 0


class Headers(Case):
    def test_addresses(self):
        proxy = self.listen()
        for header, address in (
                (LINE, "203.0.113.9"),
                (b"PROXY TCP6 2001:db8::9 2001:db8::1 1 2\r\n", "2001:db8::9"),
                (b"PROXY UNKNOWN\r\n", PROXY),
                (b"PROXY UNKNOWN what ever it is\r\n", PROXY),
                (binary(), "203.0.113.9"),
                (binary(STREAM_IP6, ip6("2001:db8::9")), "2001:db8::9"),
                (binary(STREAM_IP6, ip6("::ffff:203.0.113.9")), "203.0.113.9"),
                (binary(STREAM_UNIX, bytes(216)), "unix"),
                (binary(command=0x20), PROXY),  # LOCAL
                (binary(0, b""), PROXY),  # unspecified
                (binary(more=b"\x04\0\x08" + bytes(8)), "203.0.113.9"),
                (binary(more=b"\xee\x0f\x00" + bytes(3840)), "203.0.113.9")):
            self.assertEqual(self.address_of(proxy, header), address, header)
        self.assertEqual(self.address_of(proxy, b"", source="127.0.0.3"), "127.0.0.3")

    def test_cut_everywhere(self):
        """Each header with its request in two segments, wherever it is cut; and byte by byte."""
        proxy = self.listen()
        for header in (LINE, binary(more=b"\x04\0\2ab")):
            for cut in range(1, len(header) + 2):
                client = self.connect(proxy)
                client.send((header + ASK)[:cut])
                client.send((header + ASK)[cut:])
                self.assertEqual(client.response().status, 401)
            client = self.connect(proxy)
            client.trickle(header + ASK)
            self.assertEqual(client.response().status, 401)
        stop = proxy.ended(len(LINE) + len(binary()) + 5 + 2 + 2)
        self.assertEqual({line["address"] for line in proxy.logs("request")}, {"203.0.113.9"}, stop)

    def test_requests_behind_it(self):
        """Several on the connection, and HTTP/2: nothing of what follows the header is lost or taken twice."""
        proxy = self.listen(self.upstream(each_request(lambda call: call.answer())))
        client = self.connect(proxy)
        client.send(LINE)
        for _ in range(3):
            client.chat()
            self.assertEqual(client.response().status, 200)
        client.stream()
        client.text("Hello!")
        url = f"http://{proxy.text_address}/livez"
        said = subprocess.run(["curl", "-sS", "--haproxy-protocol", "--interface", PROXY,
                               "--http2-prior-knowledge", "-o", "/dev/null", "-w",
                               "%{http_version} %{http_code}", url], text=True, capture_output=True, timeout=harness.DEADLINE, check=False)
        self.assertEqual(said.stdout, "2 200", said.stderr)

    def test_who_leaves_at_once(self):
        """The end of a client that comes with its first bytes is seen as later ones are."""
        up = self.upstream(lambda call: (call.read_request(), call.wait_closed()))
        proxy = self.listen(up)
        client = self.connect(proxy)
        body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}'
        client.send(LINE + b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " +
                    KEY.encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        client.end_write()
        proxy.ended(ending="CLIENT_GONE")

    def test_refused(self):
        proxy = self.listen()
        for n, (first, error) in enumerate((
                (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n" + ASK, "addresses or ports are wrong"),
                (b"PROXY TCP9 1.2.3.4 1.2.3.4 1 1\r\n", "a family is not TCP4, TCP6 or UNKNOWN"),
                (b"PROXY UNKNOWN " + b"x" * 100, "a line is longer than 107 bytes"),
                (binary(body=b"short") + ASK, "it is too short for its addresses"),
                (binary(more=b"\3\0\4abcd") + ASK, "the checksum does not fit"),
                (binary(command=0x31), "a version is not 2"),
                (MARK + b"\x21\x11\xff\xff", "it is longer than 4096 bytes")), 1):
            self.assertEqual(self.rejected(proxy, "proxy_header_bad", first, count=n), error)
        self.assertEqual(self.rejected(proxy, "proxy_header_bad", LINE[:-1], end=True, count=n + 1),
                         "it breaks off")
        self.assertEqual(self.counted(proxy, "proxy_header_bad"), n + 1)

    def test_who_must_and_does_not(self):
        proxy = self.listen()
        self.rejected(proxy, "proxy_header_missing", ASK)
        self.rejected(proxy, "proxy_header_missing", b"\x16\x03\x01", count=2)
        self.rejected(proxy, "proxy_header_missing", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", count=3)
        self.assertEqual(self.counted(proxy, "proxy_header_missing"), 3)

    def test_who_may_not_and_does(self):
        proxy = self.listen()
        self.rejected(proxy, "proxy_header_unexpected", LINE + ASK, source="127.0.0.1")
        self.rejected(proxy, "proxy_header_unexpected", binary() + ASK, source="127.0.0.1", count=2)
        self.rejected(proxy, "proxy_header_unexpected", b"PROXY ", source="127.0.0.3", count=3)
        self.assertEqual(self.counted(proxy, "proxy_header_unexpected"), 3)
        self.assertEqual(proxy.logs("request", status=401), [])

    def test_others_lose_nothing(self):
        """What is looked at to see that it is no header is still there: also when it begins like one."""
        proxy = self.listen()
        for first in (ASK, b"\r\n" + ASK):
            client = self.connect(proxy, "127.0.0.1")
            client.trickle(first)
            self.assertEqual(client.response().status, 401)
        client = self.connect(proxy, "127.0.0.1")
        client.send(b"P")
        client.end_write()
        client.rest()
        self.assertEqual(proxy.logs("connection ended"), [])

    def test_deadline(self):
        proxy = self.listen(CCPROXY_HANDSHAKE_TIMEOUT="200ms")
        for count, first in enumerate((b"", b"PROXY TCP4 ", binary()[:20]), 1):
            self.rejected(proxy, "proxy_header_late", first, count=count)
        client = self.connect(proxy, "127.0.0.1")  # from whom nothing is due
        self.assertEqual(client.rest(), b"")
        self.assertEqual(self.counted(proxy, "proxy_header_late"), 3)

    def test_who_only_looks_whether_somebody_listens(self):
        proxy = self.listen(CCPROXY_LOG_LEVEL="debug")
        client = self.connect(proxy)
        client.end_write()
        self.assertEqual(client.rest(), b"")
        proxy.wait_log("handshake failed")
        self.connect(proxy).reset()
        proxy.wait_log("handshake failed", 2)
        self.assertEqual(proxy.logs("connection ended"), [])

    def test_penalties_fall_on_the_client(self):
        proxy = self.listen(CCPROXY_AUTH_FAILURES=1)

        def statuses(header):
            client = self.connect(proxy)
            client.send(header)
            found = []
            for _ in range(2):
                client.send(ASK)
                found.append(client.response().status)
            return found

        for n in range(3):
            line = b"PROXY TCP4 203.0.113.%d 198.51.100.7 1 2\r\n" % n
            self.assertEqual(statuses(line), [401, 429])
        self.assertEqual(statuses(b"PROXY UNKNOWN\r\n"), [401, 401])  # it names nobody

    def test_what_a_proxy_calls_this_machine_is_its_own(self):
        proxy = self.listen()
        ask = b"GET /stats HTTP/1.1\r\nHost: a\r\n\r\n"
        for header in (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", b"PROXY UNKNOWN\r\n",
                       binary(STREAM_UNIX, bytes(216)), binary(command=0x20)):
            client = self.connect(proxy)
            client.send(header + ask)
            self.assertEqual(client.response().status, 401, header)
        client = self.connect(proxy, "127.0.0.1")
        client.send(ask)
        self.assertEqual(client.response().status, 200)

    def test_over_a_unix_socket(self):
        path = str(self.directory() / "socket")
        proxy = self.listen(CCPROXY_HOST="unix:" + path, CCPROXY_PROXY_PROTOCOL_FROM="unix")
        for header in (LINE, binary(more=b"\x04\0\2ab")):
            client = self.client(proxy)
            client.trickle(header + ASK)
            self.assertEqual(client.response().status, 401)
        client = self.client(proxy)
        client.send(ASK)
        self.assertEqual(client.rest(), b"")
        proxy.wait_log("connection ended", reason="proxy_header_missing", address="unix")
        self.assertEqual([line["address"] for line in proxy.logs("request")], ["203.0.113.9"] * 2)


class Listeners(Case):
    def test_word(self):
        """Only where the listener has it; elsewhere a header is no request."""
        proxy = self.listen(CCPROXY_LISTEN="127.0.0.1:0 proxy_protocol,127.0.0.1:0")
        self.assertEqual(self.address_of(proxy, LINE), "203.0.113.9")
        client = self.connect(proxy, at=1)
        client.send(LINE + ASK)
        self.assertEqual(client.response().status, 400)
        client = self.connect(proxy, at=1)
        client.send(ASK)
        self.assertEqual(client.response().status, 401)

    def test_faults(self):
        for env, said in (
                ({"CCPROXY_PROXY_PROTOCOL_FROM": "10.0.0.0/33"},
                 'CCPROXY_PROXY_PROTOCOL_FROM: "10.0.0.0/33" is not an address, a block'),
                ({"CCPROXY_LISTEN": "127.0.0.1:0 proxy_protocol"},
                 "CCPROXY_LISTEN: proxy_protocol needs the proxies: CCPROXY_PROXY_PROTOCOL_FROM"),
                ({"CCPROXY_LISTEN": "127.0.0.1:0", "CCPROXY_PROXY_PROTOCOL_FROM": "unix"},
                 "no entry of CCPROXY_LISTEN has the word proxy_protocol")):
            done = harness.run("check", **env)
            self.assertEqual(done.returncode, 1)
            self.assertIn(said, done.stdout + done.stderr)

    def test_top_goes_where_no_header_is_asked_for(self):
        path = str(self.directory() / "top.sock")
        env = {"CCPROXY_PROXY_PROTOCOL_FROM": "127.0.0.0/8"}
        self.proxy(None, CCPROXY_LISTEN=f"127.0.0.1:0 proxy_protocol,unix:{path}", **env)
        done = harness.run("top", "--once", CCPROXY_LISTEN=f"127.0.0.1:1 proxy_protocol,unix:{path}", **env)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_reload(self):
        yaml = self.directory() / "ccproxy.yaml"
        yaml.write_text("proxy_protocol_from: [127.0.0.9]\n")
        proxy = self.proxy(None, CCPROXY_CONFIG=str(yaml))
        self.rejected(proxy, "proxy_header_unexpected", LINE + ASK)
        yaml.write_text(f"proxy_protocol_from: [127.0.0.9, {PROXY}]\n")
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("reloaded")
        self.assertEqual(self.address_of(proxy, LINE), "203.0.113.9")

    def test_drain(self):
        """A header that is under way when the server is told to stop still brings its answer."""
        proxy = self.listen()
        client = self.connect(proxy)
        client.send(LINE[:20])
        proxy.kill(signal.SIGTERM)
        proxy.wait_log("stopping")
        client.send(LINE[20:] + ASK)
        self.assertEqual(client.response().status, 401)
        client.close()


class Tls(Case):
    def setUp(self):
        self.files = self.directory()
        self.ca = Authority(self.files, "ours")
        self.cert, self.key = self.ca.issue("local", "IP:127.0.0.1,DNS:localhost")

    def serve(self, upstream=None, **env):
        return self.listen(upstream, CCPROXY_TLS_CERT=self.cert, CCPROXY_TLS_KEY=self.key, **env)

    def wrap(self, client, alpn="http/1.1"):
        context = ssl.create_default_context(cafile=self.ca.pem)
        context.set_alpn_protocols([alpn])
        client.sock = context.wrap_socket(client.sock, server_hostname="localhost")

    def test_header_before_the_handshake(self):
        proxy = self.serve()
        for count, header in enumerate((LINE, binary(), binary(more=b"\xee\x04\x00" + bytes(1024))), 1):
            client = self.connect(proxy)
            client.trickle(header) if len(header) < 100 else client.send(header)
            self.wrap(client)
            client.send(ASK)
            self.assertEqual(client.response().status, 401)
            self.assertEqual(proxy.ended(count)["address"], "203.0.113.9")

    def test_in_one_segment_with_the_hello(self):
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = ssl.create_default_context(cafile=self.ca.pem).wrap_bio(into, out, server_hostname="localhost")
        proxy = self.serve()
        client = self.connect(proxy)
        client.send(LINE + self.step(tls, out))
        while True:
            into.write(client.sock.recv(65536))
            more = self.step(tls, out)
            if more:
                client.send(more)
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
        tls.write(ASK)
        client.send(out.read())
        self.assertEqual(proxy.ended()["address"], "203.0.113.9")

    @staticmethod
    def step(tls, out):
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return out.read()

    def test_without_and_inside(self):
        proxy = self.serve(CCPROXY_LOG_LEVEL="debug")
        client = self.connect(proxy)
        with self.assertRaises((OSError, ssl.SSLError)):
            self.wrap(client)
        proxy.wait_log("connection ended", reason="proxy_header_missing")
        client = self.connect(proxy)  # one in TLS is a request, and none that can be read
        client.send(LINE)
        self.wrap(client)
        client.send(LINE + ASK)
        self.assertEqual(client.response().status, 400)
        client = self.connect(proxy, "127.0.0.1")
        self.wrap(client)
        client.send(ASK)
        self.assertEqual(client.response().status, 401)

    def test_one_deadline_for_both(self):
        proxy = self.serve(CCPROXY_HANDSHAKE_TIMEOUT="300ms", CCPROXY_LOG_LEVEL="debug")
        client = self.connect(proxy)
        client.send(LINE)
        self.assertEqual(client.rest(), b"")
        line = proxy.wait_log("handshake failed", error="it takes too long")
        self.assertEqual(line["address"], "203.0.113.9")

    def test_curl(self):
        proxy = self.serve()
        for protocol in ("--http1.1", "--http2"):
            said = subprocess.run(
                ["curl", "-sS", "--haproxy-protocol", "--interface", PROXY, protocol, "--cacert",
                 self.ca.pem, "-w", "%{http_code}", "-o", "/dev/null",
                 f"https://{proxy.text_address}/livez"],
                text=True, capture_output=True, timeout=harness.DEADLINE, check=False)
            self.assertEqual(said.stdout, "200", said.stderr)


class Haproxy(Case):
    """HAProxy itself before us, passing connections on: who connects to it is who is seen."""

    def start(self, text):
        """Runs haproxy on a configuration until the test ends."""
        path = self.directory() / "haproxy.cfg"
        path.write_text("global\n maxconn 100\ndefaults\n mode tcp\n timeout connect 10s\n"
                        " timeout client 30s\n timeout server 30s\n" + text)
        process = subprocess.Popen(["haproxy", "-db", "-q", "-f", str(path)], stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def reached(self, path, source):
        """A connection to haproxy's socket once it is there."""
        until(lambda: self.is_there(path), "haproxy listens")
        sock = socket.socket(socket.AF_INET)
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", path))
        client = Client.__new__(Client)
        harness.Wire.__init__(client, sock)
        self.addCleanup(client.close)
        return client

    @staticmethod
    def is_there(port):
        with contextlib.closing(socket.socket()) as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    def test_both_versions(self):
        proxy = self.listen(self.upstream(each_request(lambda call: call.answer())))
        host, port = proxy.addresses[0]
        text, ports = "", {}
        for word in ("send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id",
                     "send-proxy-v2-ssl-cn"):
            ports[word] = free_port()
            text += (f"listen l{ports[word]}\n bind 127.0.0.1:{ports[word]}\n unique-id-format %[uuid]\n"
                     f" server s {host}:{port} source {PROXY} {word}\n")
        self.start(text)
        for n, (word, at) in enumerate(ports.items(), 1):
            client = self.reached(at, f"127.0.0.{10 + n}")
            client.chat()
            self.assertEqual(client.response().status, 200, word)
            proxy.wait_log("request", address=f"127.0.0.{10 + n}", status=200)
        self.assertEqual(proxy.logs("connection ended", reason="proxy_header_bad"), [])

    def test_through_tls_and_checks(self):
        """Its checks say LOCAL; TLS goes through it untouched."""
        files = self.directory()
        ca = Authority(files, "ours")
        cert, key = ca.issue("local", "IP:127.0.0.1,DNS:localhost")
        proxy = self.listen(CCPROXY_TLS_CERT=cert, CCPROXY_TLS_KEY=key, CCPROXY_LOG_LEVEL="debug")
        host, port = proxy.addresses[0]
        at = free_port()
        self.start(f"listen l\n bind 127.0.0.1:{at}\n option httpchk GET /livez\n"
                   f" server s {host}:{port} source {PROXY} send-proxy-v2 check inter 100ms "
                   f"check-ssl verify none check-send-proxy\n")
        proxy.wait_log("request", path="/livez", status=200, address=PROXY)
        client = self.reached(at, "127.0.0.20")
        context = ssl.create_default_context(cafile=ca.pem)
        client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
        client.request("GET", "/v1/models")
        self.assertEqual(client.response().status, 200)
        proxy.wait_log("request", path="/v1/models", address="127.0.0.20")


class Forwarded(Case):
    """X-Forwarded-For, read from the right through everybody who is trusted."""

    def seen_as(self, proxy, fields, first=b"", client=None):
        client = client or self.connect(proxy)
        lines = "".join(f"X-Forwarded-For: {value}\r\n" for value in fields).encode()
        client.send(first + b"GET /livez HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
        self.assertEqual(client.response().status, 200)
        self.count = getattr(self, "count", 0) + 1
        return proxy.ended(self.count)["address"]

    HOPS = (
        (["203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9, 10.0.0.3, 10.0.0.2"], "203.0.113.9"),
        (["198.51.100.1", "203.0.113.9, 10.0.0.3", "10.0.0.2"], "203.0.113.9"),  # a field a hop
        (["203.0.113.9:4711, [2001:db8::1]:80"], "203.0.113.9"),
        (["203.0.113.9, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),  # who is not trusted
        (["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
        (["10.0.0.4, 10.0.0.3, 10.0.0.2"], "10.0.0.4"),
    )

    def test_several_hops(self):
        proxy = self.proxy(None, CCPROXY_TRUSTED_PROXIES=f"{PROXY},10.0.0.0/8,2001:db8::/32", CCPROXY_LOG_LEVEL="debug")
        for fields, address in self.HOPS:
            self.assertEqual(self.seen_as(proxy, fields), address, fields)

    def test_several_hops_over_a_unix_socket(self):
        path = str(self.directory() / "socket")
        proxy = self.proxy(None, CCPROXY_HOST="unix:" + path, CCPROXY_LOG_LEVEL="debug",
                           CCPROXY_TRUSTED_PROXIES="unix,10.0.0.0/8,2001:db8::/32")
        for fields, address in (*self.HOPS, ([], "unix"), (["unknown"], "unix")):
            self.assertEqual(self.seen_as(proxy, fields, client=self.client(proxy)), address, fields)

    def test_a_unix_socket_that_is_not_trusted(self):
        path = str(self.directory() / "socket")
        proxy = self.proxy(None, CCPROXY_HOST="unix:" + path, CCPROXY_TRUSTED_PROXIES="10.0.0.0/8",
                           CCPROXY_LOG_LEVEL="debug")
        self.assertEqual(self.seen_as(proxy, ["203.0.113.9"], client=self.client(proxy)), "unix")

    def test_behind_a_header(self):
        """What the header says is the peer; it is believed about others only if it is trusted itself."""
        proxy = self.listen(CCPROXY_TRUSTED_PROXIES="10.0.0.0/8", CCPROXY_LOG_LEVEL="debug")
        cdn = b"PROXY TCP4 10.0.0.2 198.51.100.7 1 2\r\n"
        for first, fields, address in (
                (cdn, ["203.0.113.9"], "203.0.113.9"),
                (cdn, ["198.51.100.1, 203.0.113.9, 10.0.0.3"], "203.0.113.9"),
                (cdn, [], "10.0.0.2"),
                (LINE, ["198.51.100.1"], "203.0.113.9"),
                (b"PROXY UNKNOWN\r\n", ["198.51.100.1"], PROXY)):
            self.assertEqual(self.seen_as(proxy, fields, first), address, (first, fields))

    def test_penalties_over_a_unix_socket_and_several_hops(self):
        path = str(self.directory() / "socket")
        proxy = self.proxy(None, CCPROXY_AUTH_FAILURES=1, CCPROXY_HOST="unix:" + path,
                           CCPROXY_TRUSTED_PROXIES="unix,10.0.0.0/8")
        for n in range(3):
            fields = {"X-Forwarded-For": f"198.51.100.1, 203.0.113.{n}, 10.0.0.3"}
            statuses = [proxy.get("/v1/models", key="wrong", fields=fields).status for _ in range(2)]
            self.assertEqual(statuses, [401, 429])
