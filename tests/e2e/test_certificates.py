"""Certificates of clients: who gets through the handshake, whose request it is, and what a key changes."""
import hashlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile

import harness
from harness import each_request
from test_upstream_tls import Authority

ANN_KEY, BOB_KEY = "ann-0123456789", "bob-0123456789"


def sha256(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


class Case(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = tempfile.mkdtemp(prefix="ccproxy-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.files)
        cls.web = Authority(cls.files, "web")
        cls.cert, cls.key = cls.web.issue("local", "IP:127.0.0.1,DNS:localhost")
        cls.staff = Authority(cls.files, "staff")
        cls.others = Authority(cls.files, "others")
        cls.ann = cls.staff.issue("ann", "DNS:Ann.Example,email:ann@example.com,URI:spiffe://example/ann")
        cls.bob = cls.staff.issue("bob")
        cls.eve = cls.staff.issue("eve", "DNS:eve.example")  # whom nobody knows
        cls.mallory = cls.others.issue("ann", "DNS:ann.example")  # by whom nobody trusts
        cls.up = cls.shared_upstream(each_request(lambda call: call.answer()))

    def fingerprint(self, pair):
        """As openssl prints it."""
        said = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", pair[0]],
                              check=True, capture_output=True, text=True).stdout
        return "sha256:" + said.strip().split("=")[1]

    def serve(self, clients=None, ca=None, **env):
        if clients is None:
            clients = {"ann": {"hash": sha256(ANN_KEY), "certificate": "dns:ann.example", "rights": ["chat", "models"]},
                       "bob": {"hash": sha256(BOB_KEY), "certificate": self.fingerprint(self.bob)}}
        return self.proxy(self.up, **{
            "CCPROXY_TLS_CERT": self.cert, "CCPROXY_TLS_KEY": self.key, "CCPROXY_API_KEYS": None,
            "CCPROXY_TLS_CLIENT_CA": ca or self.staff.pem, "CCPROXY_CLIENTS": json.dumps(clients), **env})

    def context(self, pair=None, version=None):
        context = ssl.create_default_context(cafile=self.web.pem)
        context.set_alpn_protocols(["http/1.1"])
        if pair:
            context.load_cert_chain(*pair)
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def connect(self, proxy, pair=None, context=None, session=None):
        client = self.client(proxy)
        client.sock = (context or self.context(pair)).wrap_socket(
            client.sock, server_hostname="localhost", session=session)
        return client

    def ask(self, proxy, pair=None, key=None, **kwargs):
        client = self.connect(proxy, pair, **kwargs)
        client.request("GET", "/v1/models", key=key)
        return client.response()

    def chat(self, proxy, pair):
        client = self.connect(proxy, pair)
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
        client.request("POST", "/v1/chat/completions", body, key=None)
        return client.response().status

    def assert_refused(self, proxy, pair=None, context=None):
        """No handshake; with TLS 1.3 a client hears of it when it reads. Returns the alert."""
        with self.assertRaises((ssl.SSLError, harness.Gone)) as caught:
            client = self.connect(proxy, pair, context)
            client.request("GET", "/v1/models", key=ANN_KEY)
            client.sock.recv(1)
        return str(caught.exception)


class Mapping(Case):
    def clients_of(self, names, pair=None):
        """Who a certificate is for clients with these names; None for nobody."""
        clients = {f"c{n}": {"certificate": name} for n, name in enumerate(names)}
        proxy = self.serve(clients)
        status = self.chat(proxy, pair or self.ann)
        line = proxy.ended()
        self.assertEqual(status, 200 if "client" in line else 401)
        return line.get("client")

    def test_each_kind_of_name(self):
        for name in ("dns:ann.example", "dns:ANN.example", "email:ann@example.com",
                     "uri:spiffe://example/ann", "subject:CN=ann", self.fingerprint(self.ann),
                     self.fingerprint(self.ann).replace(":", "").replace("sha256", "sha256:").lower()):
            self.assertEqual(self.clients_of(["dns:nobody.example", name]), "c1", name)

    def test_what_is_not_its_name(self):
        for name in ("dns:example", "dns:nn.example", "dns:*.example", "email:Ann@example.com",
                     "email:ann@example.co", "uri:spiffe://example/an", "uri:spiffe://example/anna",
                     "subject:CN=Ann", "subject:ann", "subject:CN=ann,O=x", "dns:ann",
                     self.fingerprint(self.bob)):
            self.assertIsNone(self.clients_of([name]), name)

    def test_several_names(self):
        """A client may have several; a certificate that is two clients' is nobody's."""
        self.assertEqual(self.clients_of([["dns:nobody.example", "dns:ann.example"]]), "c0")
        self.assertEqual(self.clients_of([["dns:ann.example", "email:ann@example.com"]]), "c0")
        self.assertIsNone(self.clients_of(["dns:ann.example", "email:ann@example.com"]))

    def test_a_long_subject(self):
        base = os.path.join(self.files, "long")
        subject = r"/C=DE/O=Ex\, Ample \+ Söhne/CN=carol"
        Authority.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8",
                          "-subj", subject, "-keyout", f"{base}.key", "-out", f"{base}.csr")
        Authority.openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.staff.pem, "-CAkey",
                          os.path.join(self.files, "staff.key"), "-CAcreateserial", "-days", "2",
                          "-out", f"{base}.pem")
        said = subprocess.run(["openssl", "x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in",
                               f"{base}.pem"], check=True, capture_output=True, text=True).stdout
        name = said.strip().removeprefix("subject=").strip()
        self.assertIn("carol", name)
        self.assertEqual(self.clients_of([f"subject:{name}"], (f"{base}.pem", f"{base}.key")), "c0")


class Credentials(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.one = cls.serve(cls)

    # serve() above, for a whole class
    @classmethod
    def proxy(cls, *args, **kwargs):
        return cls.shared_proxy(*args, **kwargs)

    @classmethod
    def fingerprint(cls, pair):
        return Case.fingerprint(cls, pair)

    def who(self, *args):
        response = self.ask(self.one, *args)
        return response.status, self.one.ended(id=response.fields["x-request-id"]).get("client")

    def test_certificate_alone(self):
        self.assertEqual(self.who(self.ann), (200, "ann"))
        self.assertEqual(self.who(self.bob), (200, "bob"))

    def test_key_alone(self):
        self.assertEqual(self.who(None, ANN_KEY), (200, "ann"))

    def test_both(self):
        """The key is what counts, and must not be somebody else's."""
        self.assertEqual(self.who(self.ann, ANN_KEY), (200, "ann"))
        self.assertEqual(self.who(self.ann, BOB_KEY), (401, None))
        self.assertEqual(self.who(self.bob, ANN_KEY), (401, None))
        self.assertEqual(self.who(self.ann, "wrong-key-of-nobody"), (401, None))

    def test_one_that_nobody_has(self):
        self.assertEqual(self.who(self.eve), (401, None))
        self.assertEqual(self.who(self.eve, BOB_KEY), (200, "bob"))

    def test_every_refusal_is_the_same(self):
        def plain(response):
            fields = {k: v for k, v in response.fields.items()
                      if k not in ("date", "x-request-id", "request-id")}
            body = response.body.decode().replace(response.fields["x-request-id"], "ID")
            return response.line, fields, body

        wanted = plain(self.ask(self.one))
        for pair, key in ((self.eve, None), (self.ann, BOB_KEY), (self.eve, "wrong-key"),
                          (None, "wrong-key"), (self.ann, "wrong-key")):
            self.assertEqual(plain(self.ask(self.one, pair, key)), wanted)

    def test_two_keys_that_differ(self):
        client = self.connect(self.one, self.ann)
        client.request("GET", "/v1/models", key=ANN_KEY, fields={"X-Api-Key": BOB_KEY})
        self.assertEqual(client.response().status, 400)

    def test_rights(self):
        client = self.connect(self.one, self.ann)
        client.request("GET", "/stats", key=None, fields={"Via": "1.1 elsewhere"})
        self.assert_error(client.response(), 403)

    def test_whole_life_of_a_connection(self):
        """Each request of it, both versions of TLS, and a resumed session."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(self.ann, version)
            client = self.connect(self.one, context=context)
            for _ in range(3):
                client.request("GET", "/v1/models", key=None)
                self.assertEqual(client.response().status, 200)
            again = self.ask(self.one, context=context, session=client.sock.session)
            self.assertEqual(again.status, 200)

    def test_a_session_without_brings_none(self):
        """What was begun without a certificate is not made better by resuming it with one, nor worse."""
        context = self.context()
        client = self.connect(self.one, context=context)
        client.request("GET", "/v1/models", key=None)
        self.assertEqual(client.response().status, 401)
        self.assertEqual(self.ask(self.one, context=context, session=client.sock.session).status, 401)

    def test_http2(self):
        url = f"https://{self.one.text_address}/v1/models"
        said = subprocess.run(["curl", "-sS", "--http2", "--cacert", self.web.pem, "--cert", self.ann[0],
                               "--key", self.ann[1], "-w", "%{http_version} %{http_code}\n", "-o", "/dev/null", url,
                               "-o", "/dev/null", url], text=True, capture_output=True,
                              timeout=harness.DEADLINE, check=False)
        self.assertEqual(said.stdout, "2 200\n2 200\n", said.stderr)


class Handshakes(Case):
    def rejected(self, proxy, count=1):
        line = proxy.wait_log("connection ended", count, reason="certificate")
        self.assertEqual((line["level"], line["address"]), ("info", "127.0.0.1"))
        return line["error"]

    def test_optional(self):
        proxy = self.serve()
        self.assertEqual(self.ask(proxy, None, ANN_KEY).status, 200)
        self.assertIn("unknown ca", self.assert_refused(proxy, self.mallory))
        self.assertIn("certificate verify failed: unable to get local issuer", self.rejected(proxy))
        self.assertEqual(self.ask(proxy, self.ann).status, 200)

    def test_required(self):
        proxy = self.serve(CCPROXY_TLS_CLIENT_AUTH="required", CCPROXY_API_KEYS="op:operator-key")
        self.assertIn("certificate required", self.assert_refused(proxy))
        self.assertIn("peer did not return a certificate", self.rejected(proxy))
        old = self.context(version=ssl.TLSVersion.TLSv1_2)
        self.assertIn("handshake failure", self.assert_refused(proxy, context=old))
        self.assertIn("unknown ca", self.assert_refused(proxy, self.mallory))
        self.rejected(proxy, 3)
        self.assertEqual(self.ask(proxy, self.ann).status, 200)
        self.assertEqual(self.ask(proxy, self.eve).status, 401)
        self.assertEqual(self.ask(proxy, self.eve, "operator-key").status, 200)
        client = self.connect(proxy, self.eve)
        client.request("GET", "/metrics", key=None)
        self.assertIn(b'ccproxy_connections_rejected_total{reason="certificate"} 3\n', client.response().body)

    def test_expired_and_not_for_clients(self):
        proxy = self.serve({"ann": {"certificate": ["subject:CN=late", "subject:CN=server"]}})
        late = self.staff.issue("late", days="0")
        self.assertIn("expired", self.assert_refused(proxy, late))
        base = os.path.join(self.files, "staff-server")
        with open(f"{base}.ext", "w") as f:
            f.write("extendedKeyUsage=serverAuth\n")
        cert, key = self.staff.issue("server")
        Authority.openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.staff.pem, "-CAkey",
                          os.path.join(self.files, "staff.key"), "-CAcreateserial", "-days", "2", "-extfile",
                          f"{base}.ext", "-out", cert)
        self.assertIn("certificate", self.assert_refused(proxy, (cert, key)))
        self.assertIn("certificate purpose", self.rejected(proxy, 2))

    def test_an_authority_between(self):
        """A chain through an authority of which only the root, or only itself, is in the file."""
        base = os.path.join(self.files, "between")
        Authority.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                          "/CN=between", "-keyout", f"{base}.key", "-out", f"{base}.csr")
        with open(f"{base}.ext", "w") as f:
            f.write("basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n")
        Authority.openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.staff.pem, "-CAkey",
                          os.path.join(self.files, "staff.key"), "-CAcreateserial", "-days", "2",
                          "-extfile", f"{base}.ext", "-out", f"{base}.pem")
        between = Authority.__new__(Authority)
        between.directory, between.name, between.pem = self.staff.directory, "between", f"{base}.pem"
        dora, key = between.issue("dora")
        chain = os.path.join(self.files, "chain.pem")
        with open(chain, "w") as f:
            f.write(open(dora).read() + open(between.pem).read())
        clients = {"dora": {"certificate": "subject:CN=dora"}}
        for ca in (self.staff.pem, between.pem):
            self.assertEqual(self.ask(self.serve(clients, ca), (chain, key)).status, 200)
        proxy = self.serve(clients)
        self.assert_refused(proxy, (dora, key))  # without the one between
        pinned = self.serve(clients, dora)  # the file may hold the client's own
        self.assertEqual(self.ask(pinned, (dora, key)).status, 200)
        self.assert_refused(pinned, self.ann)

    def test_names_of_authorities_are_sent(self):
        proxy = self.serve()
        said = subprocess.run(["openssl", "s_client", "-connect", proxy.text_address, "-CAfile", self.web.pem],
                              input="", text=True, capture_output=True, timeout=harness.DEADLINE, check=False)
        self.assertIn("Acceptable client certificate CA names\nCN = staff\n", said.stdout)

    def test_none_are_asked_for_by_default(self):
        proxy = self.proxy(self.up, CCPROXY_TLS_CERT=self.cert, CCPROXY_TLS_KEY=self.key)
        said = subprocess.run(["openssl", "s_client", "-connect", proxy.text_address, "-CAfile", self.web.pem],
                              input="", text=True, capture_output=True, timeout=harness.DEADLINE, check=False)
        self.assertIn("No client certificate CA names sent", said.stdout)

    def test_the_first_bytes_one_by_one(self):
        said = harness.trickle_tls(self.client(self.serve()), self.context(self.ann), "/v1/models")
        self.assertIn(b"200 OK", said)


class Methods(Case):
    def test_dates_of_the_client(self):
        proxy = self.serve({"ann": {"certificate": "dns:ann.example", "expires": "2020-01-01T00:00:00Z"},
                            "bob": {"hash": sha256(BOB_KEY)}})
        self.assertEqual(self.ask(proxy, self.ann).status, 401)
        self.assertEqual(self.ask(proxy, self.ann, BOB_KEY).status, 200)  # as if it had shown none

    def test_limits(self):
        proxy = self.serve({"ann": {"certificate": "dns:ann.example", "rpm": 1}})
        self.assertEqual([self.chat(proxy, self.ann) for _ in range(2)], [200, 429])

    def test_penalties(self):
        """Certificates that nobody has are failures like others; one that is known is let in all the same."""
        proxy = self.serve(CCPROXY_AUTH_FAILURES="1")
        self.assertEqual([self.ask(proxy, self.eve).status for _ in range(2)], [401, 429])
        self.assertEqual(self.ask(proxy, self.ann).status, 200)

    def test_tokens(self):
        """With oauth2 a certificate is a client of the map, and a token must be for the same one."""
        secret = "0123456789abcdef0123456789abcdef"
        proxy = self.serve({"ann": {"certificate": "dns:ann.example"}}, CCPROXY_AUTH_METHOD="oauth2",
                           CCPROXY_JWT_SECRET=secret)
        self.assertEqual(self.ask(proxy, self.ann).status, 200)
        self.assertEqual(self.ask(proxy, self.ann, "no.to.ken").status, 401)
        self.assertEqual(self.ask(proxy, self.eve).status, 401)
        for subject, status in (("ann", 200), ("bob", 401)):
            self.assertEqual(self.ask(proxy, self.ann, token(secret, subject)).status, status)
            self.assertEqual(self.ask(proxy, None, token(secret, subject)).status, 200)

    def test_plain_listeners_have_none(self):
        proxy = self.serve(CCPROXY_LISTEN="127.0.0.1:0 tls,127.0.0.1:0")
        self.assertEqual(self.ask(proxy, self.ann).status, 200)
        self.assertEqual(proxy.get("/v1/models", at=1, key=None).status, 401)
        self.assertEqual(proxy.get("/v1/models", at=1, key=ANN_KEY).status, 200)


def token(secret, subject):
    import base64
    import hmac
    import time

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"sub": subject, "exp": int(time.time()) + 600, "iat": int(time.time())}
    text = part(b'{"alg":"HS256"}') + b"." + part(json.dumps(claims).encode())
    return (text + b"." + part(hmac.new(secret.encode(), text, "sha256").digest())).decode()


class Reload(Case):
    def reload(self, proxy, count, event="reloaded"):
        proxy.kill(signal.SIGHUP)
        proxy.wait_log(event, count)

    def test_clients_and_authorities(self):
        files = self.directory()
        clients, ca = files / "clients.json", files / "ca.pem"
        clients.write_text('{"ann": {"certificate": "dns:ann.example"}}')
        ca.write_text(open(self.staff.pem).read())
        proxy = self.serve(ca=str(ca), CCPROXY_CLIENTS=f"@{clients}")
        context = self.context(self.ann)
        kept = self.connect(proxy, context=context)
        kept.request("GET", "/v1/models", key=None)
        self.assertEqual(kept.response().status, 200)
        session = kept.sock.session
        clients.write_text('{"eve": {"certificate": "dns:eve.example"}}')
        self.reload(proxy, 1)
        self.assertEqual(self.ask(proxy, self.ann).status, 401)
        self.assertEqual(self.ask(proxy, context=context, session=session).status, 401)
        self.assertEqual(self.ask(proxy, self.eve).status, 200)
        clients.write_text('{"ann": {"certificate": "dns:ann.example"}}')
        ca.write_text(open(self.others.pem).read())
        self.reload(proxy, 2)
        self.assert_refused(proxy, self.eve)
        self.assertEqual(self.ask(proxy, self.mallory).status, 200)
        ca.write_text("")  # what cannot be used changes nothing
        self.reload(proxy, 1, "reload refused, the old configuration stays")
        self.assertEqual(self.ask(proxy, self.mallory).status, 200)

    def test_a_session_of_other_authorities_is_none(self):
        """What was verified against a file counts nothing when another file is asked for."""
        ca = self.directory() / "ca.pem"
        ca.write_text(open(self.staff.pem).read())
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            proxy = self.serve(ca=str(ca))
            context = self.context(self.ann, version)
            client = self.connect(proxy, context=context)
            client.request("GET", "/v1/models", key=None)
            self.assertEqual(client.response().status, 200)
            ca.write_text(open(self.others.pem).read())
            self.reload(proxy, 1)
            with self.assertRaises((ssl.SSLError, harness.Gone)):
                again = self.connect(proxy, context=context, session=client.sock.session)
                again.request("GET", "/v1/models", key=None)
                again.response()
            ca.write_text(open(self.staff.pem).read())


class Faults(Case):
    def test_settings(self):
        tls = {"CCPROXY_TLS_CERT": self.cert, "CCPROXY_TLS_KEY": self.key}
        ours = {**tls, "CCPROXY_TLS_CLIENT_CA": self.staff.pem}
        empty = os.path.join(self.files, "empty")
        open(empty, "w").close()
        for env, said in (
                ({**ours, "CCPROXY_TLS_CLIENT_AUTH": "maybe"},
                 'CCPROXY_TLS_CLIENT_AUTH: "maybe" is not optional or required'),
                ({**tls, "CCPROXY_TLS_CLIENT_AUTH": "required"}, "required needs CCPROXY_TLS_CLIENT_CA"),
                ({"CCPROXY_TLS_CLIENT_CA": self.staff.pem}, "needs a listener with TLS: CCPROXY_TLS_CERT"),
                ({**tls, "CCPROXY_TLS_CLIENT_CA": "/nowhere"},
                 "cannot read certificates from /nowhere: no such file"),
                ({**tls, "CCPROXY_TLS_CLIENT_CA": empty}, "cannot read certificates from"),
                ({"CCPROXY_CLIENTS": '{"a": {"certificate": "dns:a"}}'},
                 "CCPROXY_CLIENTS: certificates of clients need CCPROXY_TLS_CLIENT_CA"),
                ({**ours, "CCPROXY_CLIENTS": '{"a": {"certificate": "dns:a"}, "b": {"certificate": "dns:A"}}'},
                 "have the same certificate"),
                ({**ours, "CCPROXY_CLIENTS": '{"a": {"certificate": "cn:a"}}'},
                 'client "a": certificate is not like sha256: and 64 hex digits')):
            done = harness.run("check", **env)
            self.assertEqual(done.returncode, 1, said)
            self.assertIn(said, done.stdout + done.stderr)

    def test_list(self):
        done = harness.run("keys", "list", CCPROXY_TLS_CERT=self.cert, CCPROXY_TLS_KEY=self.key,
                           CCPROXY_TLS_CLIENT_CA=self.staff.pem,
                           CCPROXY_CLIENTS='{"ann": {"certificate": ["dns:a", "dns:b"]}}')
        self.assertRegex(done.stdout, r"client +keys certs")
        self.assertRegex(done.stdout, r"ann +0 +2 +chat")
